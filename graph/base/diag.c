/* Diagnostics: kept in the order in which they were reported, turned into text on request. Called
 * by every reader and pass that can find a user's fault; tools/ prints what comes out.
 *
 * Sources may be anything (a file that is not UTF-8 is one of the faults reported), so the lines
 * shown are cleaned: one cell for each character, no control characters. */
#include "graph/base/diag.h"
#include "graph/base/check.h"

#include <stdarg.h>
#include <string.h>

#define INDENT "    "
#define WINDOW 100u    /* characters of a source line shown */
#define NAME_LIMIT 64u /* names longer than this are not compared */

struct source {
    const char *name;
    const char *text;
    size_t length;
    bool typed;     /* in the command line */
    uint32_t shift; /* characters of TEXT that stand before its first column */
};

struct trail {
    struct span span;
    const char *text;
};

struct diag {
    bool warning;
    struct span span;
    const char *text;
    const char **hints;
    uint32_t hint_count, hint_capacity;
    struct trail *trails;
    uint32_t trail_count, trail_capacity;
};

struct diags {
    struct arena *arena;
    struct source *sources; /* number 0 is the command line */
    uint32_t source_count, source_capacity;
    struct diag *kept;
    uint32_t count, capacity;
    uint32_t rendered; /* of kept */
    uint32_t errors;
    uint32_t fresh;   /* errors since the last rendering, those not kept included */
    bool last_kept;   /* hints and trails of an error that was not kept are dropped */
    enum fault first; /* decides the exit code */
};

/* A growing text. */
struct text {
    struct arena *arena;
    char *bytes;
    uint32_t count, capacity;
};

struct diags *diags_new(struct arena *arena)
{
    struct diags *diags = arena_new_array(arena, struct diags, 1);
    diags->arena = arena;
    diags_source(diags, "sedge", "", 0);
    return diags;
}

static uint32_t add_source(struct diags *diags, const char *name, const char *before,
                           const char *text, size_t length)
{
    diags->sources = arena_grow(diags->arena, diags->sources, diags->source_count,
                                &diags->source_capacity, sizeof *diags->sources);
    size_t ahead = strlen(before);
    char *copy = arena_alloc(diags->arena, ahead + length + 1);
    memcpy(copy, before, ahead);
    if (length)
        memcpy(copy + ahead, text, length);
    diags->sources[diags->source_count] = (struct source){
        .name = arena_strdup(diags->arena, name), .text = copy, .length = ahead + length};
    return diags->source_count++;
}

uint32_t diags_source(struct diags *diags, const char *name, const char *text, size_t length)
{
    return add_source(diags, name, "", text, length);
}

uint32_t diags_typed(struct diags *diags, const char *name, const char *before, const char *text,
                     size_t length)
{
    uint32_t file = add_source(diags, name, before, text, length);
    diags->sources[file].typed = true;
    for (; *before; before++)
        diags->sources[file].shift += ((unsigned char)*before & 0xc0) != 0x80;
    return file;
}

const char *diags_file_name(const struct diags *diags, uint32_t file)
{
    BUG_ON(file >= diags->source_count);
    return diags->sources[file].name;
}

/* Reporting. */

static void keep(struct diags *diags, bool warning, struct span span, const char *format,
                 va_list args)
{
    BUG_ON(span.file >= diags->source_count);
    diags->kept =
        arena_grow(diags->arena, diags->kept, diags->count, &diags->capacity, sizeof *diags->kept);
    struct diag *diag = &diags->kept[diags->count++];
    *diag = (struct diag){
        .warning = warning,
        .span = span,
        .text = arena_vprintf(diags->arena, format, args),
    };
    diags->last_kept = true;
}

void diag_error(struct diags *diags, enum fault fault, struct span span, const char *format, ...)
{
    if (diags->errors++ == 0)
        diags->first = fault;
    if (diags->fresh++ >= DIAG_LIMIT) {
        diags->last_kept = false;
        return;
    }
    va_list args;
    va_start(args, format);
    keep(diags, false, span, format, args);
    va_end(args);
}

void diag_warning(struct diags *diags, struct span span, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    keep(diags, true, span, format, args);
    va_end(args);
}

void diag_hint(struct diags *diags, const char *format, ...)
{
    BUG_ON(diags->errors == 0 && diags->count == 0);
    if (!diags->last_kept)
        return;
    struct diag *diag = &diags->kept[diags->count - 1];
    diag->hints = arena_grow(diags->arena, diag->hints, diag->hint_count, &diag->hint_capacity,
                             sizeof *diag->hints);
    va_list args;
    va_start(args, format);
    diag->hints[diag->hint_count++] = arena_vprintf(diags->arena, format, args);
    va_end(args);
}

void diag_trail(struct diags *diags, struct span span, const char *format, ...)
{
    BUG_ON(diags->errors == 0 && diags->count == 0);
    BUG_ON(span.file >= diags->source_count);
    if (!diags->last_kept)
        return;
    struct diag *diag = &diags->kept[diags->count - 1];
    diag->trails = arena_grow(diags->arena, diag->trails, diag->trail_count, &diag->trail_capacity,
                              sizeof *diag->trails);
    va_list args;
    va_start(args, format);
    diag->trails[diag->trail_count++] =
        (struct trail){.span = span, .text = arena_vprintf(diags->arena, format, args)};
    va_end(args);
}

const char *diags_last(const struct diags *diags)
{
    return diags->count ? diags->kept[diags->count - 1].text : NULL;
}

uint32_t diags_errors(const struct diags *diags)
{
    return diags->errors;
}

int diags_exit_code(const struct diags *diags)
{
    static const int code[] = {[FAULT_RUN] = 1, [FAULT_CONFIG] = 2, [FAULT_DATA] = 3};
    return diags->errors ? code[diags->first] : 0;
}

/* Near names. */

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Edit distance in bytes, two swapped neighbours counting as one edit. */
static size_t distance(const char *a, size_t m, const char *b, size_t n)
{
    size_t rows[3][NAME_LIMIT + 1];
    size_t *before = rows[0], *above = rows[1], *row = rows[2];
    for (size_t j = 0; j <= n; j++)
        above[j] = j;
    for (size_t i = 1; i <= m; i++) {
        row[0] = i;
        for (size_t j = 1; j <= n; j++) {
            size_t replace = above[j - 1] + (a[i - 1] != b[j - 1]);
            row[j] = least(replace, least(above[j], row[j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                row[j] = least(row[j], before[j - 2] + 1);
        }
        size_t *oldest = before;
        before = above;
        above = row;
        row = oldest;
    }
    return above[n];
}

const char *diag_nearest(const char *name, const char *const *names, size_t count)
{
    size_t length = strlen(name);
    if (length > NAME_LIMIT)
        return NULL;
    size_t best = length / 3 > 1 ? length / 3 : 1;
    const char *nearest = NULL;
    for (size_t i = 0; i < count; i++) {
        size_t other = strlen(names[i]);
        size_t apart = other > length ? other - length : length - other;
        if (other > NAME_LIMIT || apart > best)
            continue; /* it takes at least as many edits as the lengths differ by */
        size_t edits = distance(name, length, names[i], other);
        /* As many edits as letters: the two have nothing in common (`x` and `t`). */
        if (edits >= length && edits >= other && edits > 0)
            continue;
        if (edits < best || (edits == best && !nearest)) {
            best = edits;
            nearest = names[i];
        }
    }
    return nearest;
}

/* Rendering. */

static void put_byte(struct text *out, char byte)
{
    out->bytes = arena_grow(out->arena, out->bytes, out->count, &out->capacity, 1);
    out->bytes[out->count++] = byte;
}

static void put(struct text *out, const char *text)
{
    for (; *text; text++)
        put_byte(out, *text);
}

/* Words for people: a line break goes on at the same indentation, and other control characters,
 * which may come from a file, do not reach the terminal. */
static void put_words(struct text *out, const char *text)
{
    for (; *text; text++) {
        unsigned char byte = (unsigned char)*text;
        if (byte == '\n')
            put(out, "\n" INDENT);
        else
            put_byte(out, byte < ' ' || byte == 0x7f ? '?' : *text);
    }
}

static void put_place(struct text *out, const struct diags *diags, struct span span)
{
    if (diags->sources[span.file].typed)
        span.file = 0; /* the words below say where */
    put_words(out, diags->sources[span.file].name);
    if (span.file && span.line)
        put(out, arena_printf(out->arena, ":%u", span.line));
    if (span.file && span.line && span.column)
        put(out, arena_printf(out->arena, ":%u", span.column));
    put(out, ": ");
}

/* Finds line number LINE, counted from 1; it ends before \n, \r\n or \r. */
static bool find_line(const struct source *source, uint32_t line, const char **start,
                      const char **end)
{
    const char *at = source->text, *stop = source->text + source->length;
    for (uint32_t n = 1;; n++) {
        const char *tail = at;
        while (tail < stop && *tail != '\n' && *tail != '\r')
            tail++;
        if (n == line) {
            *start = at;
            *end = tail;
            return true;
        }
        if (tail == stop)
            return false;
        at = tail + (tail[0] == '\r' && tail[1] == '\n' ? 2 : 1);
    }
}

/* Bytes of the character at AT; a byte that starts none counts as one. */
static size_t character(const char *at, const char *end)
{
    unsigned char first = (unsigned char)*at;
    size_t size = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : first >= 0xc2 ? 2 : 1;
    if (first > 0xf4 || (size_t)(end - at) < size)
        return 1;
    for (size_t i = 1; i < size; i++)
        if (((unsigned char)at[i] & 0xc0) != 0x80)
            return 1;
    return size;
}

/* One cell: tabs become a space so that the caret stays below its character. */
static void put_character(struct text *out, const char *at, size_t size)
{
    unsigned char first = (unsigned char)*at, second = size > 1 ? (unsigned char)at[1] : 0;
    if (*at == '\t')
        put_byte(out, ' ');
    else if (size == 1 && (first < ' ' || first >= 0x7f))
        put(out, "\xef\xbf\xbd");
    else if (size == 2 && first == 0xc2 && second < 0xa0) /* U+0080 to U+009F */
        put(out, "\xef\xbf\xbd");
    else
        for (size_t i = 0; i < size; i++)
            put_byte(out, at[i]);
}

/* The part of a line that is shown, in characters counted from 0. */
struct window {
    uint32_t from, to;
    bool cut_before, cut_after;
};

/* The line without its indentation, and no wider than WINDOW around the caret. */
static struct window window_choose(const char *start, const char *end, uint32_t *caret)
{
    uint32_t blanks = 0, count = 0;
    bool leading = true;
    for (const char *at = start; at < end; at += character(at, end), count++) {
        leading = leading && (*at == ' ' || *at == '\t');
        blanks += leading;
    }
    if (*caret > count)
        *caret = count;
    struct window window = {.from = blanks < *caret ? blanks : *caret, .to = count};
    if (count - window.from <= WINDOW)
        return window;
    uint32_t first = window.from;
    if (*caret - first > WINDOW * 3 / 4)
        window.from = *caret - WINDOW / 2;
    if (window.from > count - WINDOW)
        window.from = count - WINDOW;
    window.to = window.from + WINDOW;
    window.cut_before = window.from > first;
    window.cut_after = window.to < count;
    return window;
}

/* The source line, and below it a caret with a tilde for each further character of the span. */
static void put_source(struct text *out, const struct diags *diags, struct span span, bool colour)
{
    const char *start, *end;
    const struct source *source = &diags->sources[span.file];
    if (!span.file || !span.line)
        return;
    if (!find_line(source, span.line, &start, &end)) {
        if (!source->typed)
            return;
        span = (struct span){span.file, 1, (uint32_t)source->length + 1, 1}; /* behind its end */
        find_line(source, 1, &start, &end);
    }
    if (start == end)
        return;
    uint32_t caret = span.column ? span.column - 1 : 0, count = 0;
    caret += span.line == 1 ? source->shift : 0;
    struct window window = window_choose(start, end, &caret);
    put(out, window.cut_before ? INDENT "…" : INDENT);
    for (const char *at = start; at < end; count++) {
        size_t size = character(at, end);
        if (count >= window.from && count < window.to)
            put_character(out, at, size);
        at += size;
    }
    put(out, window.cut_after ? "…\n" : "\n");
    if (!span.column)
        return;
    put(out, window.cut_before ? INDENT " " : INDENT);
    for (uint32_t i = window.from; i < caret; i++)
        put_byte(out, ' ');
    put(out, colour ? "\x1b[1;32m^" : "^");
    for (uint32_t i = 1; i < span.length && caret + i < window.to; i++)
        put_byte(out, '~');
    put(out, colour ? "\x1b[0m\n" : "\n");
}

static void put_diag(struct text *out, const struct diags *diags, const struct diag *diag,
                     bool colour)
{
    put(out, colour ? "\x1b[1m" : "");
    put_place(out, diags, diag->span);
    if (diag->warning)
        put(out, colour ? "\x1b[35mwarning:\x1b[0m " : "warning: ");
    else
        put(out, colour ? "\x1b[31merror:\x1b[0m " : "error: ");
    put_words(out, diag->text);
    put_byte(out, '\n');
    put_source(out, diags, diag->span, colour);
    for (uint32_t i = 0; i < diag->hint_count; i++) {
        put(out, INDENT);
        put_words(out, diag->hints[i]);
        put_byte(out, '\n');
    }
    for (uint32_t i = 0; i < diag->trail_count; i++) {
        put_place(out, diags, diag->trails[i].span);
        put_words(out, diag->trails[i].text);
        put_byte(out, '\n');
    }
}

char *diags_render(struct diags *diags, bool colour)
{
    struct text out = {.arena = diags->arena};
    for (; diags->rendered < diags->count; diags->rendered++)
        put_diag(&out, diags, &diags->kept[diags->rendered], colour);
    if (diags->fresh > DIAG_LIMIT) {
        uint32_t more = diags->fresh - DIAG_LIMIT;
        put(&out, arena_printf(diags->arena, "… and %u more error%s\n", more, more > 1 ? "s" : ""));
    }
    diags->fresh = 0;
    put_byte(&out, '\0');
    return out.bytes;
}
