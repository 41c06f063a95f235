/* A text that grows piece by piece in an arena: what the printers of this folder write to. */
#ifndef SEDGE_GRAPH_WRITER_H
#define SEDGE_GRAPH_WRITER_H

#include "graph/base/arena.h"

#include <stdbool.h>

struct writer {
    struct arena *arena;
    char *text; /* ends with NUL; NULL until something is written */
    size_t length, capacity;
};

void write_text(struct writer *writer, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* A name as it is when it has only letters, digits and `_ . / -`, else in quotes. */
void write_name(struct writer *writer, const char *name);
/* TEXT in quotes; `"` and `\` with a backslash, control characters as \xNN. */
void write_quoted(struct writer *writer, const char *text);
/* Whether a character may stand in a name without quotes. */
bool writer_bare(char c);

#endif
