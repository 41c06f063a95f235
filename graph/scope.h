/* Inside elaboration: what a name means at one place. Shared by elaborate.c, scope.c, call.c,
 * block.c and arguments.c only. */
#ifndef SEDGE_GRAPH_SCOPE_H
#define SEDGE_GRAPH_SCOPE_H

#include "graph/elaborate.h"
#include "graph/op.h"

struct owner {
    uint32_t row;
    struct span span;
};

struct elaborator {
    struct model *model;
    struct graph *graph;
    const struct elaborate_request *request;
    const struct yaml *with; /* params that the program changes */
    bool ema;
    bool full;            /* the program was found to be too large, which is said once */
    struct owner *owners; /* parameters that have an owner in this program */
    uint32_t owner_count, owner_capacity;
    uint32_t *row_values; /* value that reads a state row, by row; 0: not read yet */
    uint32_t row_capacity;
    bool *bound; /* which of request->bind was met */
};

struct named_dim {
    const char *name;
    struct dim dim;
};

/* A block instance or the program itself. */
struct scope {
    struct elaborator *e;
    const char *path;  /* of values: "" or "raw.trunk" */
    const char *state; /* of parameters: "" or "blocks.0" */
    const struct origin *caller;
    const struct scope *outer; /* where the call stands; NULL for the program */
    const struct section *block;
    bool tie; /* a call on the way here said `tie: true` */
    struct binding *names;
    uint32_t name_count, name_capacity;
    struct named_dim *dims;
    uint32_t dim_count, dim_capacity;
    uint32_t depth;
};

char *join_path(struct arena *arena, const char *a, const char *b);
const struct origin *origin_at(struct scope *s, struct span span);
/* Reports at SPAN with the trail of calls; always false. */
bool scope_error(struct scope *s, struct span span, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* As yaml_expect, with the trail of calls. */
const struct yaml *scope_expect(struct scope *s, const struct yaml *node, enum yaml_kind kind,
                                const char *what);

/* What a name stands for when the call that was to define it failed: uses of it fail silently, so
 * that one mistake is reported once. */
#define VALUE_FAILED UINT32_MAX

/* The value of that name, VALUE_NONE or VALUE_FAILED. */
uint32_t scope_find(const struct scope *s, const char *name);
/* The same for the places that need a value: false after reporting that there is none, with the
 * given message, or silently when the value failed. */
bool scope_lookup(struct scope *s, const struct yaml *name, uint32_t *out, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* Gives VALUE a name; a name that is taken, or bound by the run, is handled here. */
bool scope_define(struct scope *s, const char *name, struct span span, uint32_t value);
void scope_fail(struct scope *s, const char *name);
bool scope_number(struct scope *s, const struct yaml *scalar, struct number *out);
bool scope_bind_dim(struct scope *s, const char *name, struct dim dim);
/* A dimension in a type or a shape: number, param, expression, or dimension name. */
bool scope_dim(struct scope *s, const struct yaml *item, struct dim *out);
/* [f32, rows, length]; with ACTUAL, unknown dimensions are bound to its sizes, and it must fit. */
bool scope_type(struct scope *s, const struct yaml *list, const struct type *actual,
                struct type *out, const char *what);

/* One argument: a value, or a number that waits for its type. */
struct argument {
    uint32_t value;
    bool literal, absent;
    struct number number;
    struct span span;
};
bool scope_argument(struct scope *s, const struct yaml *item, const char *path,
                    struct argument *out);
/* The arguments of a call, in the order of the op's inputs (parameters excluded). */
bool op_arguments(struct scope *s, const struct op *op, const struct yaml *map, const char *path,
                  uint32_t *in, uint32_t *count);
bool op_attributes(struct scope *s, const struct op *op, const struct yaml *map, union attr *out);
uint32_t literal_value(struct scope *s, struct number n, enum dtype dtype, struct span span);
/* The path of a nested call: after the outer call and the op, numbered from the second one on. */
const char *nested_path(struct scope *s, const char *path, const struct yaml *item,
                        uint32_t *count);

/* A call to an op, a block or `repeat`: fills OUT (up to MAX values). */
bool scope_call(struct scope *s, const struct yaml *map, const char *path, uint32_t *out,
                uint32_t max, uint32_t *count);
/* The component of names that `as:` gives, and whether `tie: true` allows a second owner. */
bool call_naming(struct scope *s, const struct yaml *map, const char **as, bool *tied);
bool call_block(struct scope *s, const struct section *block, const struct yaml *map,
                const char *path, uint32_t *out, uint32_t max, uint32_t *count);
bool call_repeat(struct scope *s, const struct yaml *map, const char *path, uint32_t *out,
                 uint32_t max, uint32_t *count);
/* The nodes of a program or block, in order. */
bool scope_nodes(struct scope *s, const struct yaml *nodes);

#endif
