/* Expressions: `6 * dim`, `-log1p(-(1 - eps) * t)`, `grid.last or count == 0`.
 *
 * One parser serves numbers over params (evaluated while compiling: integers exact, a `/` that does
 * not divide is an error), conditions of loops (evaluated while running), and expressions over
 * values (emitted as nodes). From loose to tight: or, and, not, comparisons, + -, * /, unary -,
 * ^. */
#ifndef SEDGE_GRAPH_EXPR_H
#define SEDGE_GRAPH_EXPR_H

#include "graph/base/diag.h"

struct graph;
struct origin;

struct number {
    enum { NUMBER_INT, NUMBER_REAL, NUMBER_BOOL } kind;
    int64_t i; /* INT, BOOL */
    double r;  /* REAL */
};
static inline double number_real(struct number n)
{
    return n.kind == NUMBER_REAL ? n.r : (double)n.i;
}

struct expr {
    enum { EXPR_NUMBER, EXPR_NAME, EXPR_CALL } kind;
    struct span span;
    struct number number;
    const char
        *name; /* NAME: may be dotted; CALL: the op: add sub mul div pow neg less equal and … */
    uint32_t count;
    const struct expr *args[2];
};

/* TEXT stands at SPAN, whose column is that of its first character. NULL after reporting. */
const struct expr *expr_parse(struct diags *diags, struct arena *arena, const char *text,
                              struct span span);

/* Looks a name up; false: there is none of that name (expr_eval reports it). */
struct expr_scope {
    bool (*lookup)(const void *context, const char *name, struct number *out);
    const char *(*nearest)(const void *context, const char *name); /* for the hint; may be NULL */
    const void *context;
};
/* DIAGS may be NULL where the expression was checked before; false after reporting. */
bool expr_eval(struct diags *diags, const struct expr *expr, const struct expr_scope *scope,
               struct number *out);

/* Emits f64 nodes: NAME stands for VALUE, any other name is an error. VALUE_NONE after
 * reporting. */
uint32_t expr_emit(struct graph *graph, const struct expr *expr, const char *name, uint32_t value,
                   const struct origin *origin);

/* The expression as text that parses back. */
char *expr_print(struct arena *arena, const struct expr *expr);

/* The shortest decimal that reads back as VALUE. */
char *real_print(struct arena *arena, double value);

#endif
