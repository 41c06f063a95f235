/* Jumps at forward plus reverse rates; ops/corrector.c says which. */
#include "ops/kernels/cpu/step_row.h"

/* WEIGHT: a row over the states. */
static int32_t jump_table(const struct chain *chain, const float *log_score, int32_t x, double step,
                          double u, double *weight)
{
    const struct rates *r = chain->rates;
    for (int32_t y = 0; y < chain->states; y++)
        weight[y] = 0;
    for (int64_t k = r->from_start[x]; k < r->from_start[x + 1]; k++)
        weight[r->to[k]] = r->from_rate[k];
    for (int64_t k = r->into_start[x]; k < r->into_start[x + 1]; k++)
        weight[r->of[k]] += r->into_rate[k] * exp((double)log_score[r->of[k]]);
    for (int64_t k = r->from_start[x]; k < r->from_start[x + 1]; k++)
        if (table_closed(chain, r->to[k], exp((double)log_score[r->to[k]])))
            weight[r->to[k]] = 0;
    struct weight_row row = row_of_array(weight, chain->states, x);
    struct block_sums sums;
    sum_array(&row, &sums);
    sums.stays = stay_weight(sums.moves, step);
    return draw_row(&row, &sums, u);
}

static void corrector(const struct kernel_call *call)
{
    struct positions at = positions_of(&call->in[0]);
    const struct chain *chain = call->chain;
    const int32_t *x = call->in[0].data;
    int32_t *out = call->out[0].data;
    for (int64_t row = 0; row < at.rows; row++) {
        double step = time_at(&call->in[2], row);
#pragma omp parallel for schedule(static)                                                          \
    num_threads(call->threads) if (at.length * chain->states > LAW_PARALLEL)
        for (int64_t i = 0; i < at.length; i++) {
            int64_t p = row * at.length + i;
            const float *log_score = (const float *)call->in[1].data + p * chain->states;
            double u = uniform_of(call, 4, row, i, at.length);
            if (position_kept(call, 3, p) || x[p] < 0 || x[p] >= chain->states)
                out[p] = x[p];
            else if (chain->kind == CHAIN_FLAT)
                out[p] = corrector_draw(chain, log_score, x[p], step, u);
            else
                out[p] = jump_table(chain, log_score, x[p], step, u,
                                    (double *)call->workspace + i * chain->states);
        }
    }
}

KERNEL_LIST(corrector) = {{"corrector", "tfd**>t", corrector}, {0}};
