/* Draws of the forward process; ops/perturb.c says of what. */
#include "ops/kernels/cpu/law.h"

static void perturb_one(const struct kernel_call *call, const struct transition *p, int64_t row,
                        int64_t i, int64_t at)
{
    const int32_t *x0 = call->in[0].data;
    int32_t *x = call->out[0].data;
    double u = uniform_at(call, row, i);
    if (call_has(call, 2)) {
        u += time_at(&call->in[2], row);
        u -= floor(u);
    }
    x[at] = transition_draw(p, x0[at], u);
}

/* A row of a table chain needs P at the tokens that it holds. */
static void perturb_table(const struct kernel_call *call, struct positions at)
{
    const int32_t *x0 = call->in[0].data;
    for (int64_t row = 0; row < at.rows; row++) {
        int64_t first = row * at.length;
        struct transition p = room_transition(call->chain, time_at(&call->in[1], row), x0 + first,
                                              at.length, call->workspace, call->threads);
        for (int64_t i = 0; i < at.length; i++)
            perturb_one(call, &p, row, i, first + i);
    }
}

static void perturb(const struct kernel_call *call)
{
    struct positions at = positions_of(&call->in[0]);
    if (call->chain->kind == CHAIN_TABLE) {
        perturb_table(call, at);
        return;
    }
#pragma omp parallel for schedule(static) num_threads(call->threads) if (at.count > DRAW_PARALLEL)
    for (int64_t row = 0; row < at.rows; row++) {
        struct transition p = transition_flat(call->chain, time_at(&call->in[1], row));
        for (int64_t i = 0; i < at.length; i++)
            perturb_one(call, &p, row, i, row * at.length + i);
    }
}

static void stationary(const struct kernel_call *call)
{
    int32_t *x = call->out[0].data;
    struct positions at = positions_of(&call->out[0]);
#pragma omp parallel for schedule(static) num_threads(call->threads) if (at.count > DRAW_PARALLEL)
    for (int64_t row = 0; row < at.rows; row++)
        for (int64_t i = 0; i < at.length; i++)
            x[row * at.length + i] = chain_base_draw(call->chain, uniform_at(call, row, i));
}

KERNEL_LIST(perturb) = {
    {"perturb", "td_>t", perturb},
    {"perturb", "tdd>t", perturb},
    {"stationary", ">t", stationary},
    {0},
};
