/* The reader of YAML: text in, a tree of nodes with spans out. Called by everything that reads a
 * model, a recipe, a grammar or a `key=value` of the command line.
 *
 * In the order of the file: the text is checked byte by byte, so that libyaml only ever sees what
 * it can read; an error of libyaml is told in our own words; and libyaml's events become nodes,
 * which yaml_check.c looks over. Only an error of libyaml ends the reading, all others are
 * collected. */
#include "graph/base/yaml.h"
#include "graph/base/check.h"
#include "graph/base/yaml_check.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <yaml.h>

#define FILE_LIMIT ((size_t)16 << 20)
#define DEPTH_LIMIT 64u

struct reader {
    struct diags *diags;
    struct arena *arena;
    uint32_t file;
    const char *text;
    size_t length;
    uint32_t *lines; /* where each line starts, in bytes */
    uint32_t line_count;
    yaml_parser_t parser;
    uint32_t depth;
};

/* Checking the text. */

/* Decodes the character at AT into *CODE and returns its bytes, or 0 when it is not UTF-8. */
static size_t decode(const unsigned char *at, size_t left, uint32_t *code)
{
    if (at[0] < 0x80) {
        *code = at[0];
        return 1;
    }
    size_t size = at[0] >= 0xf0 ? 4 : at[0] >= 0xe0 ? 3 : 2;
    if (at[0] < 0xc2 || at[0] > 0xf4 || left < size)
        return 0;
    *code = at[0] & (0x7fu >> size);
    for (size_t i = 1; i < size; i++) {
        if ((at[i] & 0xc0) != 0x80)
            return 0;
        *code = *code << 6 | (at[i] & 0x3f);
    }
    static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    bool surrogate = *code >= 0xd800 && *code <= 0xdfff;
    return *code < smallest[size] || *code > 0x10ffff || surrogate ? 0 : size;
}

/* Characters that libyaml refuses without saying where, and three more that it takes for line
 * breaks while editors and our line numbers do not: U+0085, U+2028 and U+2029. */
static bool forbidden(uint32_t code)
{
    return (code < ' ' && code != '\t' && code != '\n' && code != '\r') ||
           (code >= 0x7f && code < 0xa0) || code == 0x2028 || code == 0x2029 || code == 0xfffe ||
           code == 0xffff;
}

static void report_bytes(struct reader *r, struct span span, unsigned char byte)
{
    diag_error(r->diags, FAULT_CONFIG, span, "byte 0x%02x here is not UTF-8", byte);
    bool utf16 = r->length >= 2 &&
                 (memcmp(r->text, "\xff\xfe", 2) == 0 || memcmp(r->text, "\xfe\xff", 2) == 0);
    diag_hint(r->diags,
              utf16 ? "this is a UTF-16 file; save it as UTF-8" : "save the file as UTF-8");
}

static void report_character(struct reader *r, struct span span, uint32_t code)
{
    if (code == 0) {
        diag_error(r->diags, FAULT_CONFIG, span, "a NUL byte: this is no text file");
        return;
    }
    diag_error(r->diags, FAULT_CONFIG, span, "the character U+%04X may not stand here", code);
    diag_hint(r->diags, "inside double quotes it can be written `\\u%04x`", code);
}

static bool check_text(struct reader *r)
{
    struct span span = {.file = r->file, .line = 1, .column = 1, .length = 1};
    for (size_t i = 0, size; i < r->length; i += size) {
        const unsigned char *at = (const unsigned char *)r->text + i;
        uint32_t code;
        size = decode(at, r->length - i, &code);
        if (size == 0) {
            report_bytes(r, span, *at);
            return false;
        }
        if (forbidden(code)) {
            report_character(r, span, code);
            return false;
        }
        span.column++;
        if (code == '\n' || (code == '\r' && (i + 1 == r->length || at[1] != '\n'))) {
            span.line++;
            span.column = 1;
        }
    }
    r->line_count = span.line;
    r->lines = arena_new_array(r->arena, uint32_t, r->line_count + 1);
    for (uint32_t i = 0, line = 0; i < r->length; i++)
        if (r->text[i] == '\n' || (r->text[i] == '\r' && r->text[i + 1] != '\n'))
            r->lines[++line] = i + 1;
    return true;
}

/* Spans and source lines from libyaml's marks, which count from 0. */

static struct span span_at(const struct reader *r, yaml_mark_t mark, uint32_t length)
{
    return (struct span){.file = r->file,
                         .line = (uint32_t)mark.line + 1,
                         .column = (uint32_t)mark.column + 1,
                         .length = length};
}

/* The byte at a mark, and the end of its line; past the last line both are the end of the text. */
static const char *locate(const struct reader *r, yaml_mark_t mark, const char **end)
{
    const char *stop = r->text + r->length;
    const char *at = mark.line < r->line_count ? r->text + r->lines[mark.line] : stop;
    *end = at;
    while (*end < stop && **end != '\n' && **end != '\r')
        ++*end;
    for (size_t column = 0; column < mark.column && at < *end; column++)
        do
            at++;
        while (at < *end && ((unsigned char)*at & 0xc0) == 0x80);
    return at;
}

/* From START to END, cut at the end of the first line. */
static struct span span_between(const struct reader *r, yaml_mark_t start, yaml_mark_t end)
{
    if (start.line == end.line)
        return span_at(r, start, (uint32_t)(end.column - start.column));
    const char *stop;
    uint32_t length = 0;
    for (const char *at = locate(r, start, &stop); at < stop; at++)
        length += ((unsigned char)*at & 0xc0) != 0x80;
    return span_at(r, start, length);
}

/* Telling libyaml's errors. */

struct phrase {
    const char *problem; /* what libyaml says */
    const char *context; /* what it was doing, or NULL for anything */
    bool at_context;     /* the fault lies where that began, not where it was noticed */
    const char *says;
    const char *hint; /* or NULL */
};

#define ESCAPES "in double quotes a backslash starts an escape; in single quotes it is a backslash"
#define INDENTATION "keys of one map start in the same column; what belongs to a key stands deeper"

static const struct phrase phrases[] = {
    {"found unexpected end of stream", "while scanning a quoted scalar", true,
     "this quote is never closed", NULL},
    {"found unexpected document indicator", "while scanning a quoted scalar", true,
     "this quote is never closed", NULL},
    {"found unknown escape character", NULL, false, "an unknown escape", ESCAPES},
    {"did not find expected hexdecimal number", NULL, false, "an escape lacks digits", ESCAPES},
    {"found invalid Unicode character escape code", NULL, false, "no character has this number",
     NULL},
    {"did not find expected ',' or '}'", NULL, false, "a comma or `}` is missing before this",
     "pairs in braces are separated by commas; a text with `{}[],` or `: ` in it needs quotes"},
    {"did not find expected ',' or ']'", NULL, false, "a comma or `]` is missing before this",
     "items in brackets are separated by commas; a text with `{}[],` or `: ` in it needs quotes"},
    {"did not find expected '-' indicator", NULL, false, "no item of the list above starts here",
     "items of one list start with `- ` in the same column"},
    {"did not find expected key", NULL, false, "no key of the map above starts here", INDENTATION},
    {"did not find expected node content", NULL, false, "a value is missing before this", NULL},
    {"mapping values are not allowed in this context", NULL, false,
     "a second `key: value` where none can start",
     "a text with `: ` in it needs quotes; a map on the same line needs braces"},
    {"mapping keys are not allowed in this context", NULL, false, "no key can start here",
     "a text that starts with `?` needs quotes"},
    {"block sequence entries are not allowed in this context", NULL, false,
     "no list item can start here",
     "write the list in brackets, or its items on lines of their own"},
    {"could not find expected ':'", NULL, true, "this is no `key: value`", INDENTATION},
    {"found unexpected ':'", NULL, false, "no space after the colon", "write `key: value`"},
    {"did not find expected alphabetic or numeric character", "while scanning an alias", true,
     "`*` starts a YAML alias, and sedge files have none",
     "a text that starts with `*` needs quotes"},
    {"did not find expected alphabetic or numeric character", "while scanning an anchor", true,
     "`&` starts a YAML anchor, and sedge files have none",
     "a text that starts with `&` needs quotes"},
    {NULL, "while scanning a tag", true, "`!` starts a YAML tag, and sedge files have none",
     "a text that starts with `!` needs quotes"},
    {NULL, "while parsing a tag", true, "`!` starts a YAML tag, and sedge files have none",
     "a text that starts with `!` needs quotes"},
    {"found undefined tag handle", NULL, false, "`!` starts a YAML tag, and sedge files have none",
     "a text that starts with `!` needs quotes"},
    {NULL, "while scanning a directive", true,
     "`%` starts a YAML directive, and sedge files have none",
     "a text that starts with `%` needs quotes"},
    {NULL, "while scanning a %YAML directive", true, "a broken %YAML directive",
     "sedge files need none: leave it out"},
    {"found incompatible YAML document", NULL, false, "this version of YAML is not known",
     "sedge files need no %YAML line: leave it out"},
    {"did not find expected <document start>", NULL, false, "the document ended before this",
     INDENTATION},
    {"did not find expected comment or line break", "while scanning a block scalar", false,
     "only a comment can follow `|` or `>` on its line",
     "the text starts on the next line, deeper"},
};

static const struct phrase *find_phrase(const char *problem, const char *context)
{
    for (size_t i = 0; i < sizeof phrases / sizeof *phrases; i++) {
        const struct phrase *p = &phrases[i];
        bool same_problem = !p->problem || strcmp(problem, p->problem) == 0;
        bool same_context = !p->context || (context && strcmp(context, p->context) == 0);
        if (same_problem && same_context)
            return p;
    }
    return NULL;
}

/* A tab before the first character of the line: what libyaml says about it helps nobody. */
static bool explain_tab(struct reader *r, yaml_mark_t mark)
{
    mark.column = 0;
    const char *end, *at = locate(r, mark, &end);
    while (at < end && (*at == ' ' || *at == '-'))
        at++, mark.column++;
    if (at == end || *at != '\t')
        return false;
    diag_error(r->diags, FAULT_CONFIG, span_at(r, mark, 1), "a tab in the indentation");
    diag_hint(r->diags, "YAML is indented with spaces");
    return true;
}

/* A line that starts `key:value`. */
static bool explain_colon(struct reader *r, yaml_mark_t mark)
{
    mark.column = 0;
    const char *end, *at = locate(r, mark, &end);
    while (at < end && (*at == ' ' || *at == '-'))
        at++, mark.column++;
    const char *key = at;
    while (at < end && !strchr(" :#'\"[]{},", *at))
        at++;
    if (at == key || end - at < 2 || at[0] != ':' || at[1] == ' ')
        return false;
    uint32_t length = (uint32_t)(at - key) + 1;
    diag_error(r->diags, FAULT_CONFIG, span_at(r, mark, length), "no space after the colon");
    diag_hint(r->diags, "write `%.*s: …`", (int)(at - key), key);
    return true;
}

/* A character that libyaml lets no text start with. */
static bool explain_character(struct reader *r, yaml_mark_t mark)
{
    const char *end, *at = locate(r, mark, &end);
    if (at == end || !strchr("@`%>|", *at))
        return false;
    diag_error(r->diags, FAULT_CONFIG, span_at(r, mark, 1), "no text can start with this");
    diag_hint(r->diags, "a text that starts with '%c' needs quotes", *at);
    return true;
}

/* A colon where a key should start. */
static bool explain_key(struct reader *r, yaml_mark_t mark)
{
    const char *end, *at = locate(r, mark, &end);
    if (at == end || *at != ':')
        return false;
    diag_error(r->diags, FAULT_CONFIG, span_at(r, mark, 1), "a key is missing before the colon");
    return true;
}

/* A brace or bracket that is still open where the text ends. */
static bool explain_end(struct reader *r, yaml_mark_t opened, yaml_mark_t mark)
{
    const char *end;
    if (locate(r, mark, &end) != r->text + r->length)
        return false;
    diag_error(r->diags, FAULT_CONFIG, span_at(r, opened, 1), "this `%c` is never closed",
               *locate(r, opened, &end));
    return true;
}

static bool missing_comma(const yaml_parser_t *p)
{
    return p->context && strstr(p->problem, "did not find expected ','");
}

/* What the source shows more clearly than libyaml's message does. */
static bool explain_source(struct reader *r)
{
    const yaml_parser_t *p = &r->parser;
    if (explain_tab(r, p->problem_mark))
        return true;
    if (strcmp(p->problem, "found character that cannot start any token") == 0)
        return explain_character(r, p->problem_mark);
    if (strcmp(p->problem, "mapping values are not allowed in this context") == 0)
        return explain_colon(r, p->problem_mark);
    if (strcmp(p->problem, "could not find expected ':'") == 0)
        return (p->context && explain_colon(r, p->context_mark)) ||
               explain_colon(r, p->problem_mark);
    if (strcmp(p->problem, "did not find expected key") == 0 ||
        strcmp(p->problem, "did not find expected node content") == 0)
        return explain_key(r, p->problem_mark);
    if (missing_comma(p))
        return explain_end(r, p->context_mark, p->problem_mark);
    return false;
}

/* Reports why libyaml stopped. */
static void explain(struct reader *r)
{
    const yaml_parser_t *p = &r->parser;
    if (p->error == YAML_MEMORY_ERROR || !p->problem) {
        diag_error(r->diags, FAULT_RUN, (struct span){.file = r->file}, "out of memory");
        return;
    }
    if (explain_source(r))
        return;
    const struct phrase *phrase = find_phrase(p->problem, p->context);
    if (!phrase) {
        struct span span = span_at(r, p->problem_mark, 1);
        diag_error(r->diags, FAULT_CONFIG, span, "no YAML: %s", p->problem);
        return;
    }
    yaml_mark_t mark = phrase->at_context && p->context ? p->context_mark : p->problem_mark;
    diag_error(r->diags, FAULT_CONFIG, span_at(r, mark, 1), "%s", phrase->says);
    if (phrase->hint)
        diag_hint(r->diags, "%s", phrase->hint);
    if (missing_comma(p))
        diag_trail(r->diags, span_at(r, p->context_mark, 1), "opened here");
}

/* Events to nodes. */

static bool next_event(struct reader *r, yaml_event_t *event)
{
    if (yaml_parser_parse(&r->parser, event))
        return true;
    explain(r);
    return false;
}

static struct yaml *node_new(struct reader *r, enum yaml_kind kind, struct span span)
{
    struct yaml *node = arena_new_array(r->arena, struct yaml, 1);
    node->kind = kind;
    node->span = span;
    return node;
}

static void refuse_anchor(struct reader *r, const yaml_event_t *event, const yaml_char_t *anchor)
{
    if (!anchor)
        return;
    diag_error(r->diags, FAULT_CONFIG, span_at(r, event->start_mark, 1),
               "`&` starts a YAML anchor, and sedge files have none");
    diag_hint(r->diags,
              "name what is used twice as a block or a param (blocks do that job); a text "
              "that starts with `&` needs quotes");
}

static void refuse_tag(struct reader *r, const yaml_event_t *event, const yaml_char_t *tag)
{
    if (!tag)
        return;
    diag_error(r->diags, FAULT_CONFIG, span_at(r, event->start_mark, 1),
               "`!` starts a YAML tag, and sedge files have none");
    diag_hint(r->diags, "types follow from the key; a text that starts with `!` needs quotes");
}

static struct yaml *read_alias(struct reader *r, const yaml_event_t *event)
{
    struct span span = span_between(r, event->start_mark, event->end_mark);
    diag_error(r->diags, FAULT_CONFIG, span, "`*` starts a YAML alias, and sedge files have none");
    diag_hint(r->diags, "call a block or use a param by its name (blocks do that job); a text that "
                        "starts with `*` needs quotes");
    struct yaml *node = node_new(r, YAML_SCALAR, span);
    node->text = "";
    node->quoted = true; /* nothing more to be said about it */
    return node;
}

static struct yaml *read_scalar(struct reader *r, const yaml_event_t *event)
{
    struct span span = span_between(r, event->start_mark, event->end_mark);
    struct yaml *node = node_new(r, YAML_SCALAR, span);
    refuse_anchor(r, event, event->data.scalar.anchor);
    refuse_tag(r, event, event->data.scalar.tag);
    const char *value = (const char *)event->data.scalar.value;
    size_t length = event->data.scalar.length;
    /* With a tag or an anchor enough has been said about it, should it be empty too. */
    node->quoted = event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE || event->data.scalar.tag ||
                   event->data.scalar.anchor;
    node->text = arena_strndup(r->arena, value, length);
    if (memchr(value, '\0', length))
        diag_error(r->diags, FAULT_CONFIG, span, "a text cannot hold a NUL character");
    return node;
}

static struct yaml *read_node(struct reader *r, yaml_event_t *event);

/* Where a collection is too deep, it is not read on: the stack would be the next thing to go. */
static bool enter(struct reader *r, const yaml_event_t *event)
{
    if (r->depth++ < DEPTH_LIMIT)
        return true;
    diag_error(r->diags, FAULT_CONFIG, span_at(r, event->start_mark, 1), "nested deeper than %u",
               DEPTH_LIMIT);
    diag_hint(r->diags, "give inner parts names of their own");
    return false;
}

/* Collections. */

static struct yaml *read_list(struct reader *r, const yaml_event_t *start)
{
    if (!enter(r, start))
        return NULL;
    struct yaml *list = node_new(r, YAML_LIST, span_at(r, start->start_mark, 1));
    refuse_anchor(r, start, start->data.sequence_start.anchor);
    refuse_tag(r, start, start->data.sequence_start.tag);
    for (uint32_t capacity = 0;;) {
        yaml_event_t event;
        if (!next_event(r, &event))
            return NULL;
        if (event.type == YAML_SEQUENCE_END_EVENT) {
            yaml_event_delete(&event);
            break;
        }
        struct yaml *item = read_node(r, &event);
        if (!item)
            return NULL;
        list->items = arena_grow(r->arena, list->items, list->count, &capacity, sizeof item);
        list->items[list->count++] = item;
    }
    if (start->data.sequence_start.style == YAML_FLOW_SEQUENCE_STYLE)
        yaml_check_list(r->diags, r->arena, list);
    r->depth--;
    return list;
}

/* Adds the pair that starts with the event KEY_EVENT. */
static bool read_pair(struct reader *r, struct yaml *map, yaml_event_t *key_event,
                      uint32_t *key_capacity, uint32_t *item_capacity)
{
    struct yaml *key = read_node(r, key_event);
    yaml_event_t event;
    if (!key || !next_event(r, &event))
        return false;
    struct yaml *item = read_node(r, &event);
    if (!item)
        return false;
    if (!yaml_check_key(r->diags, key))
        return true;
    map->keys = arena_grow(r->arena, map->keys, map->count, key_capacity, sizeof key);
    map->items = arena_grow(r->arena, map->items, map->count, item_capacity, sizeof item);
    map->keys[map->count] = key;
    map->items[map->count++] = item;
    return true;
}

static struct yaml *read_map(struct reader *r, const yaml_event_t *start)
{
    if (!enter(r, start))
        return NULL;
    struct yaml *map = node_new(r, YAML_MAP, span_at(r, start->start_mark, 1));
    refuse_anchor(r, start, start->data.mapping_start.anchor);
    refuse_tag(r, start, start->data.mapping_start.tag);
    for (uint32_t key_capacity = 0, item_capacity = 0;;) {
        yaml_event_t event;
        if (!next_event(r, &event))
            return NULL;
        if (event.type == YAML_MAPPING_END_EVENT) {
            yaml_event_delete(&event);
            break;
        }
        if (!read_pair(r, map, &event, &key_capacity, &item_capacity))
            return NULL;
    }
    bool flow = start->data.mapping_start.style == YAML_FLOW_MAPPING_STYLE;
    yaml_check_map(r->diags, r->arena, map, flow);
    r->depth--;
    return map;
}

/* Reads the node that starts with EVENT, and releases EVENT. NULL: nothing more can be read. */
static struct yaml *read_node(struct reader *r, yaml_event_t *event)
{
    struct yaml *node = NULL;
    switch (event->type) {
    case YAML_SCALAR_EVENT:
        node = read_scalar(r, event);
        break;
    case YAML_SEQUENCE_START_EVENT:
        node = read_list(r, event);
        break;
    case YAML_MAPPING_START_EVENT:
        node = read_map(r, event);
        break;
    case YAML_ALIAS_EVENT:
        node = read_alias(r, event);
        break;
    default:
        BUG_ON(true);
    }
    yaml_event_delete(event);
    return node;
}

/* Documents and files. */

/* The next event when it must be one that holds no node; its type, or YAML_NO_EVENT. */
static yaml_event_type_t next_type(struct reader *r, yaml_mark_t *mark)
{
    yaml_event_t event;
    if (!next_event(r, &event))
        return YAML_NO_EVENT;
    yaml_event_type_t type = event.type;
    *mark = event.start_mark;
    yaml_event_delete(&event);
    return type;
}

static struct yaml *read_document(struct reader *r)
{
    yaml_mark_t mark;
    yaml_event_type_t type = next_type(r, &mark); /* the start of the stream */
    if (type != YAML_NO_EVENT)
        type = next_type(r, &mark);
    struct yaml *root = NULL;
    bool empty = true;
    if (type == YAML_DOCUMENT_START_EVENT) {
        yaml_event_t event;
        if (!next_event(r, &event))
            return NULL;
        root = read_node(r, &event);
        if (!root || next_type(r, &mark) == YAML_NO_EVENT) /* the end of the document */
            return NULL;
        empty = yaml_is_empty(root);
        type = next_type(r, &mark);
    }
    if (type == YAML_DOCUMENT_START_EVENT) {
        diag_error(r->diags, FAULT_CONFIG, span_at(r, mark, 3), "a second document starts here");
        diag_hint(r->diags, "put it into a file of its own (models `include` files)");
    } else if (type == YAML_STREAM_END_EVENT && empty) {
        diag_error(r->diags, FAULT_CONFIG, (struct span){.file = r->file},
                   "there is nothing in it");
    }
    return root;
}

/* The text of source FILE. */
static struct yaml *read_source(struct diags *diags, struct arena *arena, uint32_t file,
                                const char *text, size_t length)
{
    uint32_t before = diags_errors(diags);
    struct reader r = {.diags = diags, .arena = arena, .length = length, .file = file};
    char *copy = arena_alloc(arena, length + 1); /* ends with a NUL, which TEXT may lack */
    if (length)
        memcpy(copy, text, length);
    r.text = copy;
    if (!check_text(&r))
        return NULL;
    if (!yaml_parser_initialize(&r.parser)) {
        diag_error(diags, FAULT_RUN, (struct span){.file = r.file}, "out of memory");
        return NULL;
    }
    yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)r.text, r.length);
    struct yaml *root = read_document(&r);
    yaml_parser_delete(&r.parser);
    return diags_errors(diags) == before ? root : NULL;
}

struct yaml *yaml_read_text(struct diags *diags, struct arena *arena, const char *name,
                            const char *text, size_t length)
{
    if (length >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) { /* a byte order mark */
        text += 3;
        length -= 3;
    }
    if (length > FILE_LIMIT) {
        diag_error(diags, FAULT_CONFIG, (struct span){0}, "`%s` is larger than %zu MiB", name,
                   FILE_LIMIT >> 20);
        return NULL;
    }
    return read_source(diags, arena, diags_source(diags, name, text, length), text, length);
}

struct yaml *yaml_read_typed(struct diags *diags, struct arena *arena, const char *key,
                             const char *before, const char *text)
{
    size_t length = strlen(text); /* systems allow words of some 100 KiB */
    uint32_t file = diags_typed(diags, key, before, text, length);
    return read_source(diags, arena, file, text, length);
}

/* Reads what FD gives, at most one byte more than FILE_LIMIT; false with errno set. */
static bool read_all(struct arena *arena, int fd, char **text, size_t *length)
{
    size_t capacity = (size_t)64 << 10;
    *text = arena_alloc(arena, capacity);
    *length = 0;
    while (*length <= FILE_LIMIT) {
        if (*length == capacity) {
            char *larger = arena_alloc(arena, capacity * 2);
            memcpy(larger, *text, capacity);
            *text = larger;
            capacity *= 2;
        }
        ssize_t got = read(fd, *text + *length, capacity - *length);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return false;
        if (got == 0)
            return true;
        *length += (size_t)got;
    }
    return true;
}

struct yaml *yaml_read_file(struct diags *diags, struct arena *arena, const char *path,
                            struct span where)
{
    int fd =
        open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe without a writer must not hang */
    if (fd < 0 && errno == ENOENT) {
        diag_error(diags, FAULT_CONFIG, where, "there is no file `%s`", path);
        return NULL;
    }
    struct stat status;
    char *text = NULL;
    size_t length = 0;
    bool done = false;
    if (fd >= 0 && fstat(fd, &status) == 0 && S_ISDIR(status.st_mode))
        errno = EISDIR;
    else if (fd >= 0)
        done = read_all(arena, fd, &text, &length);
    int error = errno;
    if (fd >= 0)
        close(fd);
    if (!done) {
        const char *why = error == EISDIR ? "it is a folder" : strerror(error);
        diag_error(diags, FAULT_CONFIG, where, "cannot read `%s`: %s", path, why);
        return NULL;
    }
    if (length > FILE_LIMIT) {
        diag_error(diags, FAULT_CONFIG, where, "`%s` is larger than %zu MiB", path,
                   FILE_LIMIT >> 20);
        return NULL;
    }
    return yaml_read_text(diags, arena, path, text, length);
}
