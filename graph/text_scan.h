/* Words and numbers of the text form of a graph, with their places. For text_read.c only. */
#ifndef SEDGE_GRAPH_TEXT_SCAN_H
#define SEDGE_GRAPH_TEXT_SCAN_H

#include "graph/expr.h"
#include "graph/op.h"
#include "graph/text.h"
#include "graph/writer.h"

#define TEXT_ID_MAX 1000000 /* so that a wild number cannot ask for much memory */

/* An axis whose count a value sets: known when all lines are read. */
struct counter {
    uint32_t axis, id;
    struct span span;
};

struct reader {
    struct arena *arena;
    struct diags *diags;
    struct graph *graph;
    uint32_t file, line;
    const char *start, *at; /* of the line in hand */
    bool failed;
    uint32_t *ids; /* value by number in the text; 0: not defined yet */
    uint32_t id_capacity;
    struct counter *counters;
    uint32_t counter_count, counter_capacity;
    const char **origin_names; /* files that nodes came from, and their numbers */
    uint32_t *origin_files;
    uint32_t origin_count, origin_capacity, origin_file_capacity;
};

/* Takes the next line off *TEXT; false at the end, and after reporting a NUL byte. */
bool scan_line(struct reader *r, const char **text, size_t *length);

/* The place from FROM to where the reader stands, at least one character. */
struct span scan_span(const struct reader *r, const char *from);
/* Reports at FROM; always false. */
bool scan_error(struct reader *r, const char *from, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

bool scan_error_at(struct reader *r, struct span span, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Nothing but blanks or a comment is left. All below skip blanks behind what they take. */
bool scan_end(struct reader *r);
bool scan_take(struct reader *r, const char *token);
bool scan_word(struct reader *r, const char *word);
bool scan_expect(struct reader *r, const char *token);
/* A bare or quoted name. */
bool scan_name(struct reader *r, const char **out);
/* One of a NULL-terminated list; WHAT names the list. */
bool scan_choice(struct reader *r, const char *what, const char *const *words, uint32_t *out);
bool scan_int(struct reader *r, int64_t low, int64_t high, int64_t *out);
bool scan_hex(struct reader *r, uint32_t *out);
bool scan_real(struct reader *r, double *out);
/* FILE:LINE:COLUMN. */
bool scan_origin(struct reader *r, const struct origin **out);

/* 1 + the index of a process, or 0. */
uint32_t scan_find_process(const struct reader *r, const char *name);
/* [batch, 12], up to TENSOR_RANK_MAX dims. */
bool scan_dims(struct reader *r, struct dim *dims, uint32_t *count);
bool scan_type(struct reader *r, struct type *out);

#endif
