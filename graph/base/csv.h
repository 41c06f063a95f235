/* Tables of numbers as CSV: cells apart by commas, one row a line, all rows of one length, blanks
 * around a cell and blank lines allowed. The first row may hold names instead; a name with a comma,
 * a quote or blanks at its ends stands in double quotes, a quote in it is doubled. Nothing else is
 * allowed: no empty cells, no comments. A byte order mark before the table is none of it. Called by
 * the reader of `process:`. */
#ifndef SEDGE_BASE_CSV_H
#define SEDGE_BASE_CSV_H

#include "graph/base/diag.h"

struct csv {
    uint32_t file; /* of diagnostics, for spans */
    int32_t rows, columns;
    /* The first row as text. Whether it is one of names is known (HEADER) where a cell of it is no
     * number or quoted; else it is also the first row of VALUES, and the caller may know better. */
    const char **first;
    bool header;
    double *values; /* rows x columns, finite */
};

/* NULL after reporting, with line and column: FAULT_CONFIG at WHERE where the file cannot be read.
 * At most COLUMNS_MAX columns. */
struct csv *csv_read_file(struct diags *diags, struct arena *arena, const char *path,
                          int32_t columns_max, struct span where);
struct csv *csv_read_text(struct diags *diags, struct arena *arena, const char *name,
                          const char *text, size_t length, int32_t columns_max);

#endif
