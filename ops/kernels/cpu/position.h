/* The positions of a batch: how they are walked, and the time, the uniform number and exp(sigma Q)
 * of each. Used by the kernels of ops that name a process. */
#ifndef SEDGE_CPU_POSITION_H
#define SEDGE_CPU_POSITION_H

#include "ops/kernels/cpu/vector.h"

#include "ops/kernels/kernel.h"
#include "ops/kernels/transition.h"

/* Positions times states below which waking the threads costs more than it saves. */
#define LAW_PARALLEL 16384
/* Positions below which it does where a draw has a closed form: one takes some 20 ns. */
#define DRAW_PARALLEL 2048

static inline bool call_has(const struct kernel_call *call, uint32_t i)
{
    return i < call->in_count && call->in[i].data;
}

/* Positions of token tensor X: rows of the first axis, and entries in each. */
struct positions {
    int64_t rows, length, count;
};
static inline struct positions positions_of(const struct tensor *x)
{
    struct positions at = {.rows = x->rank ? x->dim[0] : 1, .count = tensor_size(x)};
    at.length = at.rows ? at.count / at.rows : 0;
    return at;
}
static inline double time_at(const struct tensor *time, int64_t row)
{
    return ((const double *)time->data)[time->rank ? row : 0];
}
static inline double uniform_at(const struct kernel_call *call, int64_t row, int64_t position)
{
    return random_uniform(call->key, call->iteration, call->stream, call->sequence + (uint32_t)row,
                          (uint32_t)position);
}

/* The uniform of a position: given by input I, or drawn. */
static inline double uniform_of(const struct kernel_call *call, uint32_t i, int64_t row,
                                int64_t position, int64_t length)
{
    return call_has(call, i) ? ((const double *)call->in[i].data)[row * length + position]
                             : uniform_at(call, row, position);
}
/* Whether input I holds position P back. */
static inline bool position_kept(const struct kernel_call *call, uint32_t i, int64_t p)
{
    return call_has(call, i) && ((const uint8_t *)call->in[i].data)[p];
}

/* P with all columns at SIGMA, for row ROW of a batch: P of the row before, where both share a
 * sigma. */
static inline void next_transition(const struct kernel_call *call, int64_t row, double sigma,
                                   struct transition *p)
{
    if (row == 0 || sigma != p->sigma)
        *p = transition_make(call->chain, sigma, NULL, 0, call->workspace, call->threads);
}

#endif
