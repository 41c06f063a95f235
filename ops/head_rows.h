/* What the descriptors of the fused vocabulary heads share (head_loss.c, head_draw.c): inputs are h
 * [..., dim], weight [states, dim] or, by LAYOUT, [dim, states], and one token or id for each row;
 * input BIAS is [states], and may be absent. */
#ifndef SEDGE_OPS_HEAD_ROWS_H
#define SEDGE_OPS_HEAD_ROWS_H

#include "graph/op.h"

/* How many logits a row has. */
int64_t head_states(const struct op_call *call, int64_t layout);
/* Whether these inputs fit each other; false after reporting. */
bool head_fits(struct op_call *call, int64_t layout, uint32_t bias);
/* The weight, and its gradient, are read (and written) once a chunk; logits do not count: they are
 * what is saved. */
void head_cost(const struct op_call *call, int64_t layout, bool gradients, struct op_cost *out);
int64_t head_workspace(const struct op_call *call, int64_t layout, bool gradients);

/* The reference: row by row. It is that of linear_then.c as well, whose inputs begin alike. */
struct head {
    const struct ref_call *call;
    const double *h, *weight, *bias, *dloss;
    int64_t rows, dim, states;
    int64_t out_step, in_step; /* in the weight */
    double *z;                 /* the logits of a row, then their gradient */
};

/* With room for the logits of a row, to be freed; results after the first become zeros. */
struct head head_open(const struct ref_call *call, int64_t layout, uint32_t bias, bool gradients);
/* Makes those of row ROW. */
void head_logits(struct head *t, int64_t row);

#endif
