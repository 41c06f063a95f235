/* What the descriptors of the diffusion families (score, perturb, reverse, bound) share: shape
 * rules over tokens, score rows and times, and access for their references.
 *
 * A position is one entry of a token tensor [rows, ...]; its score row is the last axis of
 * log_score [rows, ..., states]. Times (sigma, or the length of a step) are f64, one for each row
 * or a scalar for all. */
#ifndef SEDGE_OPS_CHAIN_H
#define SEDGE_OPS_CHAIN_H

#include "graph/op.h"
#include "ops/kernels/chain_room.h"

/* Each reports and returns false where input I is not as said; absent optional inputs pass. */

/* Tokens of the node's process, with at least one axis; the same shape as LIKE (itself: any). */
bool chain_expect_tokens(const struct op_call *call, uint32_t i, uint32_t like);
/* The axes of X, then as many states as the chain has. */
bool chain_expect_scores(const struct op_call *call, uint32_t i, uint32_t x);
/* A scalar, or one number for each row of X. */
bool chain_expect_times(const struct op_call *call, uint32_t i, uint32_t x);
/* Exactly the axes of X (the bools of `keep`). */
bool chain_expect_keep(const struct op_call *call, uint32_t i, uint32_t x);

/* FLOP operations for each element of the widest input or result, every byte once. */
void chain_cost(const struct op_call *call, double flop, struct op_cost *out);

/* Whether tokens X came from X0 by noise alone, so that under absorption each is a mask or that of
 * X0; rule of losses that are zero at the latter. */
bool chain_noised_from(const struct graph *graph, uint32_t x, uint32_t x0);

/* For gradients with respect to sigma: sums X over its last axes until one number a row is left. A
 * scalar sigma is then summed by the walker. */
uint32_t emit_row_sums(struct graph *graph, uint32_t x, const struct node *like);

/* The workspace rule of ops that need P of a table chain. */
int64_t chain_workspace(const struct op_call *call);
/* That of those that apply exp(-D Q) to scores as well. */
int64_t chain_back_workspace(const struct op_call *call);

/* How token tensor X is walked: rows of the first axis, and positions in each. */
struct chain_walk {
    int64_t rows, length;
};
struct chain_walk ref_walk(const struct ref_tensor *x);
/* The time of row ROW, and the uniform number of a position. */
double ref_time(const struct ref_tensor *time, int64_t row);
double ref_uniform(const struct ref_call *call, int64_t row, int64_t position);
/* Room as of chain_back_workspace for a reference, which has no workspace: to be freed; NULL where
 * a flat chain needs none. */
void *ref_room(const struct ref_call *call);
static inline bool ref_has(const struct ref_call *call, uint32_t i)
{
    return i < call->in_count && call->in[i].data;
}

#endif
