/* From a graph to a plan, by the passes of pipeline.c. */
#ifndef SEDGE_COMPILE_H
#define SEDGE_COMPILE_H

#include "graph/elaborate.h"
#include "passes/plan.h"

/* How parameters are updated, by AdamW. */
struct update_options {
    double beta1, beta2, eps, weight_decay;
    double clip;  /* global norm; 0: none */
    double scale; /* of the gradients before anything else: 1 / accumulate */
    double ema;   /* decay; 0: no average */
};

struct compile_options {
    bool gradients; /* of `minimize`, stored in state rows grad/NAME */
    /* The update joins the program: it consumes the gradients, which are values of the program then
     * and no rows. NULL: it is a program of its own (update_graph), as it must be where gradients
     * accumulate. */
    const struct update_options *update;
    bool accumulate;        /* add to those rows unless the input `accumulate.keep` is 0 */
    bool grad_outputs;      /* return them as outputs grad/NAME as well */
    int64_t arena_limit;    /* bytes that `recompute` tries to stay within; 0: as many as needed */
    const char *dump_after; /* name of a pass: print the graph (or, from lower on, the plan) */
    char *dump;             /* set to that text when the pass has run */
    bool verify;            /* run the verifier between passes */
    bool unfused;           /* `--fuse off`: the program node by node, as derived */
};

/* What one compilation carries from pass to pass. */
struct compile {
    struct arena *arena;
    struct diags *diags;
    struct graph *graph;
    struct compile_options *options;
    struct storage *storage; /* from `order` on */
    struct plan *plan;
};

/* A pass of the pipeline: false after reporting. */
struct pass {
    const char *name;
    const char *doc;
    bool (*run)(struct compile *c);
};
extern const struct pass pipeline[];
extern const uint32_t pipeline_count;

/* NULL after reporting. OPTIONS may be NULL. */
struct plan *compile_graph(struct graph *graph, struct compile_options *options);

/* Elaborates and compiles one program. */
struct plan *compile_program(struct model *model, const struct elaborate_request *request,
                             struct compile_options *options);

/* The passes. */
bool pass_simplify(struct compile *c);
bool pass_select(struct compile *c);
bool pass_grad(struct compile *c);
bool pass_fuse_written(struct compile *c);
bool pass_fuse(struct compile *c);
bool pass_fuse_last(struct compile *c);
bool pass_update(struct compile *c);
bool pass_recompute(struct compile *c);
bool pass_order(struct compile *c);
bool pass_place(struct compile *c);
bool pass_lower(struct compile *c);
bool pass_check(struct compile *c);

/* Per value: inputs of nodes that read it, outputs and `minimize`. */
uint32_t *graph_uses(const struct graph *g);

/* The value whose bytes V is: views followed. */
uint32_t value_base(const struct graph *g, uint32_t v);
/* Per state row, counted from 1: whether the program writes it. */
bool *graph_written_rows(const struct graph *g);
/* Whether V lies in one of these, through views: then what reads it has its place among those who
 * read and write the row. */
bool value_may_change(const struct graph *g, const bool *written, uint32_t v);

/* The optimizer as a program: reads grad/NAME, clips by global norm, updates NAME with AdamW, its
 * moments adam_m/NAME and adam_v/NAME, and ema/NAME where there is an average. Inputs: `lr` and
 * `step` (f64, counted from 1). Output: `grad_norm`. A program that it joins has these as well.
 *
 * Where the norm is not finite, or the loss of a program that it joins, nothing is changed. Without
 * clipping each parameter is judged by its own gradient. */
struct graph *update_graph(struct model *model, const struct update_options *options);

/* Bytes of memory that COUNT plans of a model need together: rows that any of them reads, the
 * largest arena, and the inputs and literals of each. */
struct plan_total {
    int64_t state[6]; /* by enum state_class */
    int64_t arena, inputs, literals, all;
};
void plan_sum(struct plan *const *plans, uint32_t count, struct plan_total *out);

/* The report that `sedge plan` prints, with the largest buffers or ALL of them; its JSON form is
 * made in tools/. */
char *plan_report(struct arena *arena, const struct diags *diags, const struct plan *plan,
                  bool all);
/* What a buffer is called: the first value that it holds, by its name or by the op that makes
 * it. */
char *plan_buffer_name(struct arena *arena, const struct plan *plan,
                       const struct plan_buffer *buffer);
/* The type of that value; "" for scratch. */
char *plan_buffer_type(struct arena *arena, const struct plan *plan,
                       const struct plan_buffer *buffer);
/* "12.3 MiB" */
char *plan_size(struct arena *arena, int64_t bytes);
char *plan_print(struct arena *arena, const struct plan *plan);

#endif
