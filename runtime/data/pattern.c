/* Pieces of a text by a regular expression: the only file that knows PCRE2. Called by bpe.c and
 * bpe_learn.c. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "runtime/data/pattern.h"

#include "graph/base/check.h"
#include "runtime/data/source.h"

#include <pcre2.h>
#include <stdlib.h>
#include <string.h>

/* What an expression from a file may do for one match before it is given up: far above what the
 * known ones need for a piece of any length. */
#define MATCH_LIMIT 10000000
#define STACK_LIMIT ((size_t)8 << 20)

const char pattern_gpt2[] = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|"
                            "\\s+(?!\\S)|\\s+";

struct pattern {
    const char *text;
    pcre2_code *code;
    bool known; /* GPT-2's own, of which it is known where it must cut */
};

struct splitter {
    const struct pattern *pattern;
    pcre2_match_data *data;
    pcre2_match_context *context;
    pcre2_jit_stack *stack;
    const char *text;
    size_t size;
    size_t at;
    size_t from, valid; /* the text is UTF-8 between */
    size_t begin, end;  /* the match that lies ahead; none when END is not after AT */
    bool failed;
};

/* --- reading the expression --- */

static void *take(PCRE2_SIZE size, void *arena)
{
    return arena_alloc(arena, size);
}

/* The arena frees at once. */
static void leave(void *memory, void *arena)
{
    (void)memory;
    (void)arena;
}

static char *append(char *to, const char *text)
{
    size_t size = strlen(text);
    memcpy(to, text, size);
    return to + size;
}

/* `\s` and `\S` as Unicode's White_Space, also within a class; a `\S` there stays PCRE2's. */
static char *rewrite_blanks(struct arena *arena, const char *text)
{
#define BLANKS "\\t-\\r\\x{85}\\p{Z}"
    char *out = arena_alloc(arena, strlen(text) * sizeof "[^" BLANKS "]" + 1), *to = out;
    bool class = false;
    for (const char *at = text; *at; at++) {
        bool escape = *at == '\\' && at[1];
        if (escape && at[1] == 's')
            to = append(to, class ? BLANKS : "[" BLANKS "]");
        else if (escape && at[1] == 'S' && !class)
            to = append(to, "[^" BLANKS "]");
        else if (escape)
            to = append(to, (const char[]){'\\', at[1], 0});
        else
            *to++ = *at;
        class = escape ? class : *at == '[' || (class && *at != ']');
        at += escape;
    }
    return out;
}

struct pattern *pattern_new(struct diags *diags, struct arena *arena, const char *text,
                            struct span where)
{
    struct pattern *p = arena_alloc(arena, sizeof *p);
    p->text = arena_strdup(arena, text);
    p->known = strcmp(text, pattern_gpt2) == 0;
    const char *rewritten = rewrite_blanks(arena, text);
    pcre2_general_context *memory = pcre2_general_context_create(take, leave, arena);
    pcre2_compile_context *context = pcre2_compile_context_create(memory);
    int error;
    PCRE2_SIZE at;
    p->code = pcre2_compile((PCRE2_SPTR)rewritten, PCRE2_ZERO_TERMINATED, PCRE2_UTF | PCRE2_UCP,
                            &error, &at, context);
    if (!p->code) {
        char message[256];
        pcre2_get_error_message(error, (PCRE2_UCHAR *)message, sizeof message);
        diag_error(diags, FAULT_DATA, where, "its pattern is no regular expression: %s", message);
        diag_hint(diags, "%s", text);
        return NULL;
    }
    /* Where there is no compiler for the processor, matching interprets, slower. What it makes
     * stays until the process ends, as vocabularies do. */
    pcre2_jit_compile(p->code, PCRE2_JIT_COMPLETE);
    return p;
}

const char *pattern_text(const struct pattern *pattern)
{
    return pattern->text;
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

size_t pattern_cut(const struct pattern *pattern, const char *text, size_t size, size_t at)
{
    /* A space between two letters: a word takes the space before it and none after. */
    for (size_t i = at > 0 ? at : 1; pattern->known && i + 1 < size; i++)
        if (text[i] == ' ' && is_letter(text[i - 1]) && is_letter(text[i + 1]))
            return i;
    return size;
}

/* --- matching --- */

struct splitter *splitter_new(const struct pattern *pattern)
{
    struct splitter *s = heap_zeroed(1, sizeof *s);
    s->pattern = pattern;
    s->data = pcre2_match_data_create(1, NULL);
    s->context = pcre2_match_context_create(NULL);
    s->stack = pcre2_jit_stack_create((size_t)32 << 10, STACK_LIMIT, NULL);
    BUG_ON(!s->data || !s->context);
    pcre2_set_match_limit(s->context, MATCH_LIMIT);
    pcre2_set_heap_limit(s->context, STACK_LIMIT >> 10);
    pcre2_jit_stack_assign(s->context, NULL, s->stack);
    return s;
}

void splitter_free(struct splitter *s)
{
    pcre2_jit_stack_free(s->stack);
    pcre2_match_context_free(s->context);
    pcre2_match_data_free(s->data);
    free(s);
}

void splitter_start(struct splitter *s, const char *text, size_t size)
{
    s->text = text;
    s->size = size;
    s->at = s->from = s->valid = s->begin = s->end = 0;
    s->failed = false;
}

bool splitter_failed(const struct splitter *s)
{
    return s->failed;
}

/* Finds the next match from AT on, none behind VALID: then it is empty and there. An empty match,
 * which an expression from a file may have, is as none. One that says of itself that it began
 * before AT (by \K in a group that a lookbehind calls) fails: no piece would come of it. */
static void match(struct splitter *s)
{
    int found =
        pcre2_match(s->pattern->code, (PCRE2_SPTR)s->text + s->from, s->valid - s->from,
                    s->at - s->from, PCRE2_NO_UTF_CHECK | PCRE2_NOTEMPTY, s->data, s->context);
    s->begin = s->end = s->valid;
    if (found < 0) {
        s->failed = found != PCRE2_ERROR_NOMATCH;
        return;
    }
    const PCRE2_SIZE *place = pcre2_get_ovector_pointer(s->data);
    s->begin = s->from + place[0];
    s->end = s->from + place[1];
    s->failed = s->begin < s->at || s->end <= s->begin;
}

/* From FROM on, eight bytes of ASCII at a time. */
static size_t utf8_end(const char *text, size_t size, size_t from)
{
    size_t at = from;
    while (at < size) {
        uint64_t eight;
        uint32_t length = 1;
        if (size - at >= sizeof eight &&
            (memcpy(&eight, text + at, sizeof eight), (eight & 0x8080808080808080u) == 0))
            length = sizeof eight;
        else if ((length = utf8_decode(text + at, size - at, NULL)) == 0)
            break;
        at += length;
    }
    return at;
}

bool splitter_next(struct splitter *s, const char **piece, size_t *length)
{
    if (s->at == s->size || s->failed)
        return false;
    if (s->at >= s->valid) {
        s->from = s->at;
        s->valid = utf8_end(s->text, s->size, s->at);
    }
    size_t end = s->at + 1; /* of a byte that is no UTF-8 */
    if (s->at < s->valid) {
        if (s->end <= s->at)
            match(s);
        end = s->begin > s->at ? s->begin : s->end;
    }
    *piece = s->text + s->at;
    *length = end - s->at;
    s->at = end;
    return !s->failed;
}
