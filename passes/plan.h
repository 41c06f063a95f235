/* The plan: a flat array of steps with resolved addresses, ready to run. All that runtime/ sees.
 *
 * Memory is of four kinds. STATE rows outlive the plan and are shared by all plans of a model; the
 * ARENA is scratch of one run, shared by plans that do not run at once; CONSTANTS are filled once
 * when a plan is loaded; INPUT buffers belong to the caller. Everything lives in the arena the plan
 * was compiled in. */
#ifndef SEDGE_PLAN_H
#define SEDGE_PLAN_H

#include "graph/base/attr.h"
#include "graph/base/chain.h"
#include "graph/base/diag.h"
#include "graph/base/tensor.h"
#include "graph/op.h"

#define PLAN_AXES_MAX 16 /* entry 0 is unused: so many less one short axes can be counted */

enum memory { MEMORY_NONE, MEMORY_ARENA, MEMORY_STATE, MEMORY_CONST, MEMORY_INPUT };

/* Where a value lies. */
struct plan_tensor {
    enum memory memory;
    uint32_t index;   /* STATE: row; INPUT: number of the input */
    int64_t offset;   /* ARENA, CONST: bytes from its start, a multiple of 64 */
    int64_t bytes;    /* at the planned size */
    struct type type; /* axis of dim 0: which run-time count cuts it */
    uint32_t value;   /* in the graph: what the checker compares */
    const char *name; /* declared path, or NULL */
    struct span span; /* where it was written */
};

struct plan_step {
    const char *op;
    uint32_t node;
    uint32_t in_count, out_count;
    const uint32_t *in; /* tensors; 0: absent */
    const uint32_t *out;
    const union attr *attr;
    const struct chain *chain;
    uint32_t stream;
    uint32_t epoch;    /* above 0: computes a second time what was dropped to save memory */
    int64_t workspace; /* bytes, at WORKSPACE_OFFSET of the arena */
    int64_t workspace_offset;
    uint32_t counts; /* axis whose run-time count this step sets, or 0 */
    const char *name;
    const char *block; /* path of the block instance, "" in the program itself; NULL: not known */
    struct span span;
    double flop, bytes; /* at the planned sizes */
    double model;       /* of FLOP: what any implementation must do */
    uint32_t product_count;
    const struct op_product *products; /* of matrices, as wholes */
};

/* A stretch of the arena, and the steps over which what it holds is needed. Values that follow one
 * another in it (views, results made in place) are one buffer. */
struct plan_buffer {
    int64_t offset, bytes;
    uint32_t first, last; /* steps, both inclusive; FIRST makes it */
    uint32_t tensor;      /* the first value that it holds; 0: scratch of the step */
};

struct plan_const {
    uint32_t tensor;
    double value; /* every element */
};

struct plan_binding {
    const char *name;
    uint32_t tensor;
};

/* One order of the steps that was tried, and the peak it would need. */
struct plan_candidate {
    const char *name;
    int64_t bound; /* largest sum of buffers alive at one step: no placement can be below it */
    bool chosen;
};

/* What so much work takes, in FLOP: a byte that is moved takes as long as 5 of them, for matrix
 * products run at some 200 GFLOP/s where memory gives 40 GB/s. An estimate, to weigh one plan of a
 * program against another. */
static inline double plan_effort(double flop, double bytes)
{
    return flop + 5 * bytes;
}

struct certificate {
    int64_t peak_bytes;    /* of the arena, as placed */
    int64_t bound_bytes;   /* max-live lower bound of the chosen order */
    const char *placement; /* which placement won */
    struct plan_candidate candidates[4];
    uint32_t candidate_count;
    uint32_t peak_step; /* the first at which as many bytes as BOUND_BYTES are needed */
    bool checked;       /* the symbolic walk proved that each read sees the value the graph names */
    double flop, bytes;
    double again_flop;      /* of what is computed a second time */
    int64_t state_bytes[6]; /* by enum state_class */
    int64_t const_bytes, input_bytes;
};

struct plan {
    const char *program;
    struct plan_tensor *tensors; /* [0] is none */
    uint32_t tensor_count;
    struct plan_step *steps;
    uint32_t step_count;
    struct plan_buffer *buffers; /* of the arena, by their first step */
    uint32_t buffer_count;
    struct plan_const *consts;
    uint32_t const_count;
    struct plan_binding *inputs, *outputs;
    uint32_t input_count, output_count;
    const struct axis *axes; /* [0] unused; size is the most a run may ask for */
    uint32_t axis_count;
    const struct state_table *states;
    uint32_t row_count; /* rows of the table when the plan was made: later ones are not its own */
    bool *writes;       /* per state row: this plan writes it */
    bool *reads;
    int64_t arena_bytes, const_bytes;
    struct certificate certificate;
};

/* The output of an update that is the norm of all gradients, before they are clipped. */
#define OUTPUT_GRAD_NORM "grad_norm"

/* The input or output of that name: its tensor number, or 0. */
uint32_t plan_input(const struct plan *plan, const char *name);
uint32_t plan_output(const struct plan *plan, const char *name);

#endif
