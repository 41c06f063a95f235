/* A walk turns broadcasting into runs: stretches of the result along which each input either moves
 * with it (step 1) or stands still (step 0). Tensors of one shape are a single run; a bias or a
 * scalar gives one run per row. Runs are cut at chunks of a fixed size, which threads share.
 * Used by the kernels of elementwise ops with several inputs. */
#ifndef SEDGE_CPU_WALK_H
#define SEDGE_CPU_WALK_H

#include "ops/kernels/kernel.h"

#define WALK_CHUNK 8192
#define WALK_INPUTS 3

struct walk {
    uint32_t rank; /* at least 1; axis 0 is the innermost */
    int64_t size;
    int64_t dim[TENSOR_RANK_MAX];
    int64_t step[WALK_INPUTS][TENSOR_RANK_MAX];
};

/* Whether axis D of the walk continues its axis D - 1, for all inputs. */
static inline bool walk_joins(const struct walk *w, const int64_t *step, uint32_t inputs)
{
    uint32_t last = w->rank - 1;
    for (uint32_t k = 0; k < inputs; k++)
        if (step[k] != w->step[k][last] * w->dim[last])
            return false;
    return true;
}

static inline struct walk walk_make(const struct kernel_call *call)
{
    const struct tensor *y = &call->out[0];
    struct walk w = {.rank = 0, .size = tensor_size(y)};
    int64_t place[WALK_INPUTS] = {1, 1, 1}, step[WALK_INPUTS];
    for (uint32_t d = 0; d < y->rank; d++) { /* from the last axis */
        int64_t size = y->dim[y->rank - 1 - d];
        for (uint32_t k = 0; k < call->in_count; k++) {
            const struct tensor *x = &call->in[k];
            int64_t own = d < x->rank ? x->dim[x->rank - 1 - d] : 1;
            step[k] = own == 1 ? 0 : place[k];
            place[k] *= own;
        }
        if (size == 1)
            continue;
        if (w.rank && walk_joins(&w, step, call->in_count)) {
            w.dim[w.rank - 1] *= size;
            continue;
        }
        for (uint32_t k = 0; k < call->in_count; k++)
            w.step[k][w.rank] = step[k];
        w.dim[w.rank++] = size;
    }
    if (w.rank == 0)
        w.dim[w.rank++] = 1;
    return w;
}

/* The run that starts at element AT: its length, at most to END, and where the inputs are. */
static inline int64_t walk_run(const struct walk *w, int64_t at, int64_t end,
                               int64_t from[WALK_INPUTS])
{
    int64_t inner = at % w->dim[0], rest = at / w->dim[0];
    for (uint32_t k = 0; k < WALK_INPUTS; k++)
        from[k] = inner * w->step[k][0];
    for (uint32_t d = 1; d < w->rank; d++) {
        for (uint32_t k = 0; k < WALK_INPUTS; k++)
            from[k] += rest % w->dim[d] * w->step[k][d];
        rest /= w->dim[d];
    }
    int64_t n = w->dim[0] - inner;
    return n < end - at ? n : end - at;
}

static inline int64_t walk_chunks(const struct walk *w)
{
    return (w->size + WALK_CHUNK - 1) / WALK_CHUNK;
}
/* One past the last element of chunk C. */
static inline int64_t walk_end(const struct walk *w, int64_t c)
{
    int64_t end = (c + 1) * WALK_CHUNK;
    return end < w->size ? end : w->size;
}

#endif
