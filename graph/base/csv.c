/* The reader of CSV tables. Called by the reader of `process:`. */
#include "graph/base/csv.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* 4096 x 4096 numbers of 24 characters. */
#define CSV_LIMIT ((size_t)400 << 20)

struct reader {
    struct diags *diags;
    struct arena *arena;
    struct csv *csv;
    const char *at, *start, *end; /* of the text; START of the line in hand */
    uint32_t line;
    int32_t columns_max;
    size_t capacity; /* of the values */
};

struct cell {
    const char *from;
    size_t length;
    bool quoted;
};

/* Columns count characters, not bytes. */
static struct span span_of(const struct reader *r, const char *from, size_t length)
{
    struct span span = {.file = r->csv->file, .line = r->line, .column = 1};
    for (const char *c = r->start; c < from; c++)
        span.column += ((unsigned char)*c & 0xc0) != 0x80;
    for (size_t i = 0; i < length; i++)
        span.length += ((unsigned char)from[i] & 0xc0) != 0x80;
    span.length += span.length == 0;
    return span;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

static void skip_blanks(struct reader *r)
{
    while (r->at < r->end && is_blank(*r->at))
        r->at++;
}

static bool read_quoted(struct reader *r, struct cell *cell)
{
    const char *from = r->at++;
    *cell = (struct cell){.from = from, .quoted = true};
    for (; r->at < r->end && *r->at != '\n'; r->at++) {
        if (*r->at != '"')
            continue;
        if (r->at + 1 < r->end && r->at[1] == '"') {
            r->at++;
            continue;
        }
        r->at++;
        cell->length = (size_t)(r->at - from);
        return true;
    }
    diag_error(r->diags, FAULT_CONFIG, span_of(r, from, 1), "this quote is not closed");
    return false;
}

/* One cell, with the comma behind it; *LAST where the line ends instead. */
static bool read_cell(struct reader *r, struct cell *cell, bool *last)
{
    skip_blanks(r);
    if (r->at < r->end && *r->at == '"') {
        if (!read_quoted(r, cell))
            return false;
    } else {
        *cell = (struct cell){.from = r->at};
        while (r->at < r->end && *r->at != ',' && *r->at != '\n')
            r->at++;
        cell->length = (size_t)(r->at - cell->from);
        while (cell->length && is_blank(cell->from[cell->length - 1]))
            cell->length--;
    }
    skip_blanks(r);
    *last = r->at == r->end || *r->at == '\n';
    if (!*last && *r->at != ',') {
        diag_error(r->diags, FAULT_CONFIG, span_of(r, r->at, 1),
                   "a comma is missing behind the quoted name");
        return false;
    }
    if (cell->length == 0) {
        diag_error(r->diags, FAULT_CONFIG, span_of(r, cell->from, 1), "a cell is empty");
        return false;
    }
    r->at += r->at < r->end;
    return true;
}

static const char *cell_text(struct reader *r, const struct cell *cell)
{
    if (!cell->quoted)
        return arena_strndup(r->arena, cell->from, cell->length);
    char *text = arena_strndup(r->arena, cell->from + 1, cell->length - 2), *to = text;
    for (const char *from = text; *from; from++) {
        *to++ = *from;
        from += from[0] == '"' && from[1] == '"';
    }
    *to = 0;
    return text;
}

/* A decimal number, finite: what strtod reads, less its words and hexadecimal. */
static bool cell_number(const struct cell *cell, double *out)
{
    char text[64], *end;
    if (cell->quoted || cell->length >= sizeof text)
        return false;
    memcpy(text, cell->from, cell->length);
    text[cell->length] = 0;
    if (strspn(text, "0123456789+-.eE") != cell->length)
        return false;
    *out = strtod(text, &end);
    return *end == 0 && end != text && isfinite(*out);
}

/* What a cell that should be a number was meant to be. */
static bool no_number(struct reader *r, const struct cell *cell, int32_t column)
{
    diag_error(r->diags, FAULT_CONFIG, span_of(r, cell->from, cell->length),
               "this is no finite number");
    if (cell->quoted)
        diag_hint(r->diags, "numbers have a decimal point, and no quotes");
    else if (memchr(cell->from, ';', cell->length) || memchr(cell->from, '\t', cell->length))
        diag_hint(r->diags, "cells are divided by commas");
    else if (column == 0 && r->csv->header)
        diag_hint(r->diags, "rows have no names: they are in the order of the header");
    return false;
}

static bool keep_first(struct reader *r, const struct cell *cell, int32_t column, double *value)
{
    if (column == r->columns_max) {
        diag_error(r->diags, FAULT_CONFIG, span_of(r, cell->from, cell->length),
                   "more than %d columns", (int)r->columns_max);
        return false;
    }
    r->csv->first[column] = cell_text(r, cell);
    if (!cell_number(cell, value))
        r->csv->header = true;
    return true;
}

static void keep_value(struct reader *r, size_t at, double value)
{
    if (at == r->capacity) {
        size_t capacity = 2 * r->capacity + 256;
        double *values = arena_new_array(r->arena, double, capacity);
        if (at)
            memcpy(values, r->csv->values, at * sizeof *values);
        r->csv->values = values;
        r->capacity = capacity;
    }
    r->csv->values[at] = value;
}

static bool read_row(struct reader *r, bool first)
{
    struct csv *csv = r->csv;
    int32_t column = 0;
    for (bool last = false; !last; column++) {
        struct cell cell;
        double value = 0;
        if (!read_cell(r, &cell, &last))
            return false;
        if (first) {
            if (!keep_first(r, &cell, column, &value))
                return false;
        } else if (column >= csv->columns) {
            diag_error(r->diags, FAULT_CONFIG, span_of(r, cell.from, cell.length),
                       "this row is longer than the first, which has %d cells", (int)csv->columns);
            return false;
        } else if (!cell_number(&cell, &value)) {
            return no_number(r, &cell, column);
        }
        keep_value(r, (size_t)csv->rows * (size_t)(first ? 0 : csv->columns) + (size_t)column,
                   value);
    }
    if (first)
        csv->columns = column;
    if (column == csv->columns)
        return true;
    diag_error(r->diags, FAULT_CONFIG, span_of(r, r->start, 1),
               "this row has %d cells, the first has %d", (int)column, (int)csv->columns);
    return false;
}

/* A table is text, whatever its encoding is; a spreadsheet or UTF-16 is none. */
static bool check_text(struct reader *r)
{
    const char *nul = memchr(r->at, 0, (size_t)(r->end - r->at));
    if (!nul)
        return true;
    diag_error(r->diags, FAULT_CONFIG, (struct span){.file = r->csv->file},
               "this is no table: byte %zu is zero", (size_t)(nul - r->at));
    diag_hint(r->diags, "export it as CSV, in UTF-8");
    return false;
}

/* Skips lines without a cell; whether another line is there. */
static bool next_line(struct reader *r)
{
    while (r->at < r->end) {
        r->start = r->at;
        r->line++;
        skip_blanks(r);
        if (r->at < r->end && *r->at != '\n') {
            r->at = r->start;
            return true;
        }
        r->at += r->at < r->end;
    }
    return false;
}

struct csv *csv_read_text(struct diags *diags, struct arena *arena, const char *name,
                          const char *text, size_t length, int32_t columns_max)
{
    struct csv *csv = arena_alloc(arena, sizeof *csv);
    if (length >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) { /* a byte order mark */
        text += 3;
        length -= 3;
    }
    csv->file = diags_source(diags, name, text, length);
    csv->first = arena_new_array(arena, const char *, (size_t)columns_max);
    struct reader r = {.diags = diags,
                       .arena = arena,
                       .csv = csv,
                       .at = text,
                       .end = text + length,
                       .columns_max = columns_max};
    if (!check_text(&r))
        return NULL;
    for (bool first = true; next_line(&r); first = false) {
        if (!read_row(&r, first))
            return NULL;
        csv->rows += !(first && csv->header);
    }
    if (csv->rows > 0)
        return csv;
    diag_error(diags, FAULT_CONFIG, (struct span){csv->file, 1, 1, 1}, "the table has no numbers");
    return NULL;
}

/* All of a regular file; NULL with errno. */
static char *read_whole(struct arena *arena, const char *path, size_t *length)
{
    struct stat status;
    FILE *f = fopen(path, "rb");
    char *text = NULL;
    if (!f)
        return NULL;
    if (fstat(fileno(f), &status) != 0 || !S_ISREG(status.st_mode)) {
        errno = EISDIR;
    } else if ((size_t)status.st_size > CSV_LIMIT) {
        errno = EFBIG;
    } else {
        text = arena_alloc(arena, (size_t)status.st_size + 1);
        *length = fread(text, 1, (size_t)status.st_size, f);
        text = ferror(f) ? NULL : text;
    }
    int error = errno;
    fclose(f);
    errno = error;
    return text;
}

struct csv *csv_read_file(struct diags *diags, struct arena *arena, const char *path,
                          int32_t columns_max, struct span where)
{
    size_t length = 0;
    char *text = read_whole(arena, path, &length);
    if (text)
        return csv_read_text(diags, arena, path, text, length, columns_max);
    diag_error(diags, FAULT_CONFIG, where, "cannot read the table `%s`: %s", path, strerror(errno));
    return NULL;
}
