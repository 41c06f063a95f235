/* Diagnostics: what a user did wrong, where, and what to write instead.
 *
 * A function that finds a user's fault reports it here and returns false; its callers pass the
 * false up. Only tools/ prints. A diagnostic reads
 *
 *     models/my.yaml:9:14: error: no op or block is called `liner`
 *         h: {liner: x, out: dim}
 *             ^~~~~
 *         did you mean `linear`?
 *
 * All text is copied into the arena given to diags_new. */
#ifndef SEDGE_BASE_DIAG_H
#define SEDGE_BASE_DIAG_H

#include "graph/base/arena.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A stretch of one line of a source. FILE is 0 where there is none; LINE and COLUMN count from 1,
 * COLUMN and LENGTH in characters (not bytes). */
struct span {
    uint32_t file;
    uint32_t line;
    uint32_t column;
    uint32_t length;
};

/* What kind of fault it is decides the exit code of the command. */
enum fault {
    FAULT_RUN,    /* 1: failed while running (disk full, non-finite loss) */
    FAULT_CONFIG, /* 2: usage, model or recipe */
    FAULT_DATA,   /* 3: data, weights or a checkpoint */
};

#define DIAG_LIMIT 20 /* further errors are counted, not kept */

struct diags;

struct diags *diags_new(struct arena *arena);

/* Registers a source whose lines can be shown; TEXT is copied. Returns its number for spans.
 * diags_file_name(0) is "sedge". */
uint32_t diags_source(struct diags *diags, const char *name, const char *text, size_t length);
/* The same for a part of the command line: messages show it behind what was typed BEFORE it
 * ("batch=", "--steps "), and no line number. NAME is what diags_file_name gives. */
uint32_t diags_typed(struct diags *diags, const char *name, const char *before, const char *text,
                     size_t length);
const char *diags_file_name(const struct diags *diags, uint32_t file);

/* Reports a fault. FAULT_CONFIG with a span of file 0 is one about the command line. */
void diag_error(struct diags *diags, enum fault fault, struct span span, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Attach to what was reported last: what to write instead; and where it was called from. */
void diag_hint(struct diags *diags, const char *format, ...) __attribute__((format(printf, 2, 3)));
void diag_trail(struct diags *diags, struct span span, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* A remark that does not stop anything. */
void diag_warning(struct diags *diags, struct span span, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The nearest of COUNT names to NAME (edit distance at most a third of its length, at least 1, and
 * a letter in common), or NULL. */
const char *diag_nearest(const char *name, const char *const *names, size_t count);

/* The words of what was reported last, in the arena, without place and hints; NULL: nothing was. */
const char *diags_last(const struct diags *diags);

uint32_t diags_errors(const struct diags *diags);
/* 0 when there is no error, else the exit code of the first one. */
int diags_exit_code(const struct diags *diags);
/* All diagnostics as text, one after the other, in the order in which they were reported; with
 * COLOUR, terminal escapes. Calling it again shows only what came since. */
char *diags_render(struct diags *diags, bool colour);

#endif
