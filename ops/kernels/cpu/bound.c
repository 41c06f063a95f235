/* The terms at the two ends of the likelihood bound, and where sampling starts; ops/bound.c says
 * what they are. */
#include "ops/kernels/cpu/law.h"

static void base_draw(const struct kernel_call *call)
{
    const struct chain *chain = call->chain;
    const int32_t *x = call->in[0].data;
    const float *log_score = call_has(call, 2) ? call->in[2].data : NULL;
    int32_t *out = call->out[0].data;
    struct positions at = positions_of(&call->in[0]);
    int64_t states = chain->states;
#pragma omp parallel for schedule(static)                                                          \
    num_threads(call->threads) if (at.count * states > LAW_PARALLEL)
    for (int64_t p = 0; p < at.count; p++) {
        if (!chain_carries_over(chain)) {
            out[p] = x[p];
            continue;
        }
        int64_t row = p / at.length;
        struct chain_noise noise = chain_noise(chain, time_at(&call->in[1], row));
        struct block_sums sums;
        sum_scores(chain, log_score + p * states, chain->mask, &sums);
        struct weight_row weights = {.count = states, .log_score = log_score + p * states};
        weights.law = law_base(chain, &noise, sums.total);
        sums_to_weights(&weights, &sums);
        out[p] = (int32_t)draw_weights(&weights, &sums, uniform_at(call, row, p % at.length),
                                       chain->mask);
    }
}

static void base_cost(const struct kernel_call *call)
{
    const struct chain *chain = call->chain;
    const int32_t *x0 = call->in[0].data;
    const float *log_score = call_has(call, 2) ? call->in[2].data : NULL;
    double *out = call->out[0].data;
    struct positions at = positions_of(&call->in[0]);
    int64_t states = chain->states;
#pragma omp parallel for schedule(static)                                                          \
    num_threads(call->threads) if (at.count * states > LAW_PARALLEL)
    for (int64_t p = 0; p < at.count; p++) {
        struct chain_noise noise = chain_noise(chain, time_at(&call->in[1], p / at.length));
        if (!chain_carries_over(chain)) {
            out[p] = chain_uniform_divergence(chain, &noise);
            continue;
        }
        struct block_sums sums;
        sum_scores(chain, log_score + p * states, chain->mask, &sums);
        double log_p = (double)log_score[p * states + x0[p]] - log(sums.total);
        out[p] = noise.alpha > 0 ? -noise.alpha * log_p : 0;
    }
}

static double decoder_cost(const struct kernel_call *call, int64_t row, int32_t x, int32_t x0,
                           const float *log_score)
{
    const struct chain *chain = call->chain;
    struct block_sums sums;
    sum_scores(chain, log_score, x, &sums);
    double others = sums.total, sigma = time_at(&call->in[3], row);
    struct weight_row weights = {.count = chain->states, .log_score = log_score};
    weights.law = law_decoder(chain, x, sigma, others);
    sums_to_weights(&weights, &sums);
    make_positive(chain, sigma, others, &weights, &sums);
    return log(sums.total) - log(law_weight(&weights.law, x0, exp((double)log_score[x0])));
}

static void reconstruction(const struct kernel_call *call)
{
    const struct chain *chain = call->chain;
    const int32_t *x = call->in[0].data, *x0 = call->in[1].data;
    const float *log_score = call->in[2].data;
    double *out = call->out[0].data;
    struct positions at = positions_of(&call->in[0]);
#pragma omp parallel for schedule(static)                                                          \
    num_threads(call->threads) if (at.count * chain->states > LAW_PARALLEL)
    for (int64_t p = 0; p < at.count; p++) {
        if (chain_frozen(chain, x[p]))
            out[p] = x[p] == x0[p] ? 0 : (double)INFINITY;
        else
            out[p] = decoder_cost(call, p / at.length, x[p], x0[p], log_score + p * chain->states);
    }
}

KERNEL_LIST(bound) = {
    {"base_draw", "td*>t", base_draw},
    {"base_cost", "td*>d", base_cost},
    {"reconstruction", "ttfd>d", reconstruction},
    {0},
};
