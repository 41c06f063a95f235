/* Reads templates of texts. Called by `sedge sample`. */
#include "runtime/template.h"

#include <string.h>

#define PLACES_MAX (1u << 20) /* as many as a model may have positions */

struct template_reader {
    struct diags *diags;
    struct arena *arena;
    const struct vocabulary *vocabulary;
    struct source source; /* the whole text, for messages */
    struct template *out;
};

static bool template_fault(const struct template_reader *r, size_t at, size_t length,
                           const char *message, const char *about, const char *hint)
{
    struct span span = source_span(r->diags, &r->source, at, (uint32_t)(length ? length : 1));
    diag_error(r->diags, source_fault(&r->source), span, message, about);
    diag_hint(r->diags, "%s", hint);
    return false;
}

static void add_place(struct arena *arena, struct template *out, int32_t token,
                      const uint8_t *allowed)
{
    out->places = arena_grow(arena, out->places, out->count, &out->capacity, sizeof *out->places);
    out->places[out->count++] = (struct template_place){token, allowed};
}

void template_free(struct arena *arena, struct template *out, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        add_place(arena, out, -1, NULL);
}

bool template_has_sets(const struct template *text)
{
    for (uint32_t i = 0; i < text->count; i++)
        if (text->places[i].allowed)
            return true;
    return false;
}

/* --- literal text ------------------------------------------------------------------------- */

/* Three low lines or more that the vocabulary does not know are meant as a hole. */
static bool check_lines(const struct template_reader *r, size_t from, size_t to)
{
    size_t run = 0;
    for (size_t i = from; i <= to; i++) {
        if (i < to && r->source.text[i] == '_') {
            run++;
            continue;
        }
        const char *line = r->source.text + i - run;
        bool known = r->vocabulary->tokenizer == TOKENIZER_WORDS
                         ? run && vocabulary_find(r->vocabulary, line, run) >= 0
                         : vocabulary_find(r->vocabulary, "_", 1) >= 0;
        if (run >= 3 && !known)
            return template_fault(
                r, i - run, run, "%s is no mask: its length in symbols must be said",
                arena_printf(r->arena, "`%.*s`", (int)run, line),
                arena_printf(r->arena, "write {mask:%zu} for %zu symbols", run, run));
        run = 0;
    }
    return true;
}

/* A part of the text that starts at FROM: what goes before it, for messages. */
static struct source part(const struct template_reader *r, size_t from)
{
    struct source piece = r->source;
    const char *start = piece.text;
    for (size_t i = 0; i < from; i++)
        if (r->source.text[i] == '\n') {
            piece.lines++;
            start = r->source.text + i + 1;
        }
    piece.before = arena_strndup(r->arena, start, (size_t)(r->source.text + from - start));
    return piece;
}

/* The text between two holes, FROM to TO, with doubled braces as one. */
static bool add_text(const struct template_reader *r, size_t from, size_t to, unsigned edges)
{
    char *text = arena_alloc(r->arena, to - from + 1);
    size_t size = 0, count;
    int32_t *ids;
    for (size_t i = from; i < to; i++) {
        text[size++] = r->source.text[i];
        i += r->source.text[i] == '{' || r->source.text[i] == '}';
    }
    if (size == 0)
        return true;
    struct source piece = part(r, from);
    piece.text = text;
    piece.size = size;
    if (!check_lines(r, from, to))
        return false;
    if (!vocabulary_encode(r->vocabulary, r->diags, r->arena, &piece, edges, &ids, &count)) {
        if (strstr(text, "mask") || strstr(text, "MASK") || strchr(text, '_'))
            diag_hint(r->diags, "a symbol to draw is written {mask}, twelve of them {mask:12}");
        return false;
    }
    for (size_t i = 0; i < count; i++)
        add_place(r->arena, r->out, ids[i], NULL);
    return true;
}

/* --- holes -------------------------------------------------------------------------------- */

/* {mask:12}: TEXT is what follows the colon, or NULL. */
static bool add_masks(const struct template_reader *r, size_t at, size_t size, const char *text)
{
    uint32_t count = text ? 0 : 1;
    while (text && *text == ' ')
        text++;
    for (const char *c = text; c && *c; c++) {
        if (*c < '0' || *c > '9' || count > PLACES_MAX)
            return template_fault(r, at, size, "`%s` is no number of symbols", text,
                                  "write {mask:12}");
        count = count * 10 + (uint32_t)(*c - '0');
    }
    if (count < 1 || count > PLACES_MAX)
        return template_fault(r, at, size, "`%s` is no number of symbols", text, "write {mask:12}");
    template_free(r->arena, r->out, count);
    return true;
}

/* One symbol of a set, of LENGTH bytes. */
static bool mark(const struct template_reader *r, size_t at, const char *symbol, size_t length,
                 bool wanted, uint8_t *allowed)
{
    int32_t id = vocabulary_find(r->vocabulary, symbol, length);
    if (id < 0)
        return template_fault(r, at, 1, "the model's vocabulary has no symbol `%s`",
                              arena_strndup(r->arena, symbol, length),
                              "a set holds symbols of the vocabulary; words are divided by |");
    allowed[id] = wanted;
    return true;
}

/* {set:…} (WANTED) and {not:…}. */
static bool add_set(const struct template_reader *r, size_t at, size_t size, const char *text,
                    bool wanted)
{
    const struct vocabulary *v = r->vocabulary;
    uint8_t *allowed = arena_alloc(r->arena, v->size);
    memset(allowed, !wanted, v->size);
    for (size_t i = 0, n = text ? strlen(text) : 0; i < n;) {
        size_t length = !tokenizer_single(v->tokenizer)     ? strcspn(text + i, "|")
                        : tokenizer_any_bytes(v->tokenizer) ? 1
                                                            : utf8_decode(text + i, n - i, NULL);
        length = length ? length : 1;
        if (!mark(r, at, text + i, length, wanted, allowed))
            return false;
        i += length + !tokenizer_single(v->tokenizer);
    }
    if (!memchr(allowed, 1, v->size))
        return template_fault(r, at, size, "%s", "the set of allowed symbols is empty",
                              "write {set:abc}, or {mask} for any symbol");
    add_place(r->arena, r->out, -1, allowed);
    return true;
}

/* What stands between the braces at AT, SIZE bytes with them. */
static bool add_hole(const struct template_reader *r, size_t at, size_t size)
{
    char *name = arena_strndup(r->arena, r->source.text + at + 1, size - 2);
    char *colon = strchr(name, ':');
    const char *text = colon ? colon + 1 : NULL;
    bool whole = !memchr(r->source.text + at, 0, size); /* NULs are bytes of a text as others are */
    if (colon)
        *colon = 0;
    if (whole && (strcmp(name, "mask") == 0 || strcmp(name, "any") == 0))
        return add_masks(r, at, size, text);
    if (whole && (strcmp(name, "set") == 0 || strcmp(name, "not") == 0))
        return add_set(r, at, size, text, name[0] == 's');
    return template_fault(r, at, size, "`{%s}` is no hole", name,
                          "write {mask:12}, {set:abc}, {not:abc}; {{ and }} are the braces");
}

/* --- the whole ---------------------------------------------------------------------------- */

bool template_read(struct diags *diags, struct arena *arena, const struct vocabulary *vocabulary,
                   const struct source *source, unsigned edges, struct template *out)
{
    struct template_reader r = {diags, arena, vocabulary, *source, out};
    const char *text = source->text;
    size_t from = 0, size = source->size;
    unsigned before = edges & EDGES_OPEN_BEFORE;
    if (!tokenizer_any_bytes(vocabulary->tokenizer) && !source_check_utf8(diags, &r.source))
        return false;
    for (size_t i = 0; i < size; i++) {
        if (text[i] != '{' && text[i] != '}')
            continue;
        if (i + 1 < size && text[i + 1] == text[i]) {
            i++;
            continue;
        }
        const char *end = text[i] == '{' ? memchr(text + i, '}', size - i) : NULL;
        if (!end)
            return template_fault(&r, i, 1, "%s", "this brace has no partner",
                                  "{{ and }} are the braces themselves");
        if (!add_text(&r, from, i, before | EDGES_OPEN_AFTER) ||
            !add_hole(&r, i, (size_t)(end - text) - i + 1))
            return false;
        before = EDGES_OPEN_BEFORE;
        i = (size_t)(end - text);
        from = i + 1;
    }
    return add_text(&r, from, size, before | (edges & EDGES_OPEN_AFTER));
}
