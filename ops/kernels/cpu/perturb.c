/* Draws of the forward process; ops/perturb.c says of what. */
#include "ops/kernels/cpu/law.h"

/* Positions below which waking the threads costs more than it saves: a draw takes some 20 ns. */
#define DRAW_PARALLEL 2048

static void perturb(const struct kernel_call *call)
{
    const int32_t *x0 = call->in[0].data;
    int32_t *x = call->out[0].data;
    struct positions at = positions_of(&call->in[0]);
#pragma omp parallel for schedule(static) num_threads(call->threads) if (at.count > DRAW_PARALLEL)
    for (int64_t row = 0; row < at.rows; row++) {
        struct chain_noise noise = chain_noise(call->chain, time_at(&call->in[1], row));
        for (int64_t i = 0; i < at.length; i++) {
            int64_t p = row * at.length + i;
            x[p] = chain_draw(call->chain, &noise, x0[p], uniform_at(call, row, i));
        }
    }
}

static void stationary(const struct kernel_call *call)
{
    int32_t *x = call->out[0].data;
    struct positions at = positions_of(&call->out[0]);
#pragma omp parallel for schedule(static) num_threads(call->threads) if (at.count > DRAW_PARALLEL)
    for (int64_t row = 0; row < at.rows; row++)
        for (int64_t i = 0; i < at.length; i++)
            x[row * at.length + i] = chain_stationary(call->chain, uniform_at(call, row, i));
}

KERNEL_LIST(perturb) = {
    {"perturb", "td>t", perturb},
    {"stationary", ">t", stationary},
    {0},
};
