/* The scanner below text_read.c. A line is a NUL-terminated copy; columns count characters. */
#include "graph/text_scan.h"
#include "graph/base/check.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static uint32_t column_of(const struct reader *r, const char *at)
{
    uint32_t column = 1;
    for (const char *c = r->start; c < at; c++)
        column += ((unsigned char)*c & 0xc0) != 0x80;
    return column;
}

struct span scan_span(const struct reader *r, const char *from)
{
    uint32_t first = column_of(r, from);
    const char *end = r->at;
    while (end > from && (end[-1] == ' ' || end[-1] == '\t'))
        end--;
    uint32_t last = end > from ? column_of(r, end) : first + 1;
    return (struct span){r->file, r->line, first, last - first};
}

static void report(struct reader *r, struct span span, const char *format, va_list args)
{
    diag_error(r->diags, FAULT_CONFIG, span, "%s", arena_vprintf(r->arena, format, args));
    r->failed = true;
}

bool scan_error(struct reader *r, const char *from, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    report(r, scan_span(r, from), format, args);
    va_end(args);
    return false;
}

bool scan_error_at(struct reader *r, struct span span, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    report(r, span, format, args);
    va_end(args);
    return false;
}

static void skip_blanks(struct reader *r)
{
    r->at += strspn(r->at, " \t");
}

bool scan_line(struct reader *r, const char **text, size_t *length)
{
    if (!*length)
        return false;
    const char *newline = memchr(*text, '\n', *length);
    size_t size = newline ? (size_t)(newline - *text) : *length;
    const char *nul = memchr(*text, 0, size);
    r->line++;
    r->start = r->at = arena_strndup(r->arena, *text, size);
    if (nul) {
        r->at += nul - *text;
        return scan_error(r, r->at, "a NUL byte stands here");
    }
    if (size && r->start[size - 1] == '\r')
        r->start = r->at = arena_strndup(r->arena, *text, size - 1);
    *text += size + (newline != NULL);
    *length -= size + (newline != NULL);
    skip_blanks(r);
    return true;
}

bool scan_end(struct reader *r)
{
    return !*r->at || *r->at == '#';
}

bool scan_take(struct reader *r, const char *token)
{
    size_t n = strlen(token);
    if (strncmp(r->at, token, n) != 0)
        return false;
    r->at += n;
    skip_blanks(r);
    return true;
}

bool scan_word(struct reader *r, const char *word)
{
    size_t n = strlen(word);
    if (strncmp(r->at, word, n) != 0 || writer_bare(r->at[n]))
        return false;
    return scan_take(r, word);
}

bool scan_expect(struct reader *r, const char *token)
{
    return scan_take(r, token) || scan_error(r, r->at, "`%s` is missing here", token);
}

static int hex_digit(char c)
{
    static const char digits[] = "0123456789abcdef";
    const char *found = c ? strchr(digits, c) : NULL;
    return found ? (int)(found - digits) : -1;
}

/* Behind the opening quote; \" \\ and \xNN. */
static bool quoted(struct reader *r, const char **out)
{
    const char *from = r->at++;
    char *text = arena_new_array(r->arena, char, strlen(from) + 1), *to = text;
    while (*r->at != '"') {
        if (!*r->at)
            return scan_error(r, from, "this quote is not closed");
        if (*r->at != '\\') {
            *to++ = *r->at++;
            continue;
        }
        if (r->at[1] == '"' || r->at[1] == '\\') {
            *to++ = r->at[1];
            r->at += 2;
            continue;
        }
        int high = r->at[1] == 'x' ? hex_digit(r->at[2]) : -1;
        int low = high >= 0 ? hex_digit(r->at[3]) : -1;
        if (low < 0 || high + low == 0)
            return scan_error(r, r->at, "only \\\", \\\\ and \\xNN are known behind a backslash");
        *to++ = (char)(high * 16 + low);
        r->at += 4;
    }
    r->at++;
    skip_blanks(r);
    *out = text;
    return true;
}

bool scan_name(struct reader *r, const char **out)
{
    const char *from = r->at;
    if (*from == '"')
        return quoted(r, out);
    while (writer_bare(*r->at))
        r->at++;
    if (r->at == from)
        return scan_error(r, from, "a name is missing here");
    *out = arena_strndup(r->arena, from, (size_t)(r->at - from));
    skip_blanks(r);
    return true;
}

bool scan_choice(struct reader *r, const char *what, const char *const *words, uint32_t *out)
{
    const char *from = r->at, *name;
    if (!scan_name(r, &name))
        return false;
    for (*out = 0; words[*out]; (*out)++)
        if (strcmp(words[*out], name) == 0)
            return true;
    return scan_error(r, from, "%s is never `%s`", what, name);
}

bool scan_int(struct reader *r, int64_t low, int64_t high, int64_t *out)
{
    const char *from = r->at;
    char *end;
    bool digits = from[*from == '-'] >= '0' && from[*from == '-'] <= '9';
    errno = 0;
    *out = digits ? strtoll(from, &end, 10) : 0;
    if (!digits)
        return scan_error(r, from, "a whole number is missing here");
    r->at = end;
    if (errno || *out < low || *out > high)
        return scan_error(r, from, "this number must be from %lld to %lld", (long long)low,
                          (long long)high);
    skip_blanks(r);
    return true;
}

bool scan_hex(struct reader *r, uint32_t *out)
{
    const char *from = r->at;
    uint64_t value = 0;
    if (strncmp(from, "0x", 2) != 0 || hex_digit(from[2]) < 0)
        return scan_error(r, from, "a number such as 0x1f is missing here");
    for (r->at += 2; hex_digit(*r->at) >= 0 && value <= UINT32_MAX; r->at++)
        value = value * 16 + (uint64_t)hex_digit(*r->at);
    if (value > UINT32_MAX)
        return scan_error(r, from, "this number has more than 32 bits");
    *out = (uint32_t)value;
    skip_blanks(r);
    return true;
}

bool scan_real(struct reader *r, double *out)
{
    const char *from = r->at;
    char *end;
    *out = strtod(from, &end);
    if (end == from)
        return scan_error(r, from, "a number is missing here");
    r->at = end;
    skip_blanks(r);
    return true;
}

/* The number of a file that nodes came from; its text is not at hand. */
static uint32_t origin_file(struct reader *r, const char *name)
{
    for (uint32_t i = 0; i < r->origin_count; i++)
        if (strcmp(r->origin_names[i], name) == 0)
            return r->origin_files[i];
    r->origin_names = arena_grow(r->arena, r->origin_names, r->origin_count, &r->origin_capacity,
                                 sizeof *r->origin_names);
    r->origin_files = arena_grow(r->arena, r->origin_files, r->origin_count,
                                 &r->origin_file_capacity, sizeof *r->origin_files);
    r->origin_names[r->origin_count] = name;
    return r->origin_files[r->origin_count++] = diags_source(r->diags, name, "", 0);
}

bool scan_origin(struct reader *r, const struct origin **out)
{
    const char *name;
    int64_t line, column;
    if (!scan_name(r, &name) || !scan_expect(r, ":") || !scan_int(r, 0, UINT32_MAX, &line) ||
        !scan_expect(r, ":") || !scan_int(r, 0, UINT32_MAX, &column))
        return false;
    struct origin *o = arena_alloc(r->arena, sizeof *o);
    o->span = (struct span){origin_file(r, name), (uint32_t)line, (uint32_t)column, 1};
    *out = o;
    return true;
}

/* --- types -------------------------------------------------------------------------------- */

uint32_t scan_find_process(const struct reader *r, const char *name)
{
    for (uint32_t i = 0; i < r->graph->process_count; i++)
        if (strcmp(r->graph->processes[i].name, name) == 0)
            return i + 1;
    return 0;
}

static bool read_dim(struct reader *r, struct dim *out)
{
    const char *from = r->at, *name;
    *out = (struct dim){0};
    if (*from >= '0' && *from <= '9')
        return scan_int(r, 1, SIZE_LIMIT, &out->size);
    if (!scan_name(r, &name))
        return false;
    for (uint32_t i = 1; i < r->graph->axis_count; i++)
        if (strcmp(r->graph->axes[i].name, name) == 0)
            out->axis = i;
    if (!out->axis)
        return scan_error(r, from, "no axis is called `%s`", name);
    out->size = r->graph->axes[out->axis].size;
    return !scan_take(r, ":") || scan_int(r, 1, SIZE_LIMIT, &out->size);
}

bool scan_dims(struct reader *r, struct dim *dims, uint32_t *count)
{
    *count = 0;
    if (!scan_expect(r, "["))
        return false;
    while (!scan_take(r, "]")) {
        const char *from = r->at;
        if (*count && !scan_expect(r, ","))
            return false;
        if (*count == TENSOR_RANK_MAX)
            return scan_error(r, from, "a shape has at most %d axes", TENSOR_RANK_MAX);
        if (!read_dim(r, &dims[*count]))
            return false;
        if ((*count)++ && dims[*count - 1].axis)
            return scan_error(r, from, "only the first axis may be short");
    }
    return true;
}

bool scan_type(struct reader *r, struct type *out)
{
    const char *from = r->at, *word;
    *out = (struct type){.dtype = DT_COUNT};
    if (!scan_name(r, &word))
        return false;
    for (int d = 0; d < DT_COUNT; d++)
        if (strcmp(dtype_name((enum dtype)d), word) == 0)
            out->dtype = (enum dtype)d;
    if (out->dtype == DT_COUNT)
        return scan_error(r, from, "`%s` is no element type", word);
    from = r->at;
    if (*from != '[') {
        if (!scan_name(r, &word))
            return false;
        out->process = scan_find_process(r, word);
        if (!out->process)
            return scan_error(r, from, "no process is called `%s`", word);
    }
    return scan_dims(r, out->dim, &out->rank);
}
