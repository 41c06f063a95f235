/* What one position costs at either end of the likelihood bound, under a flat chain, by its log
 * scores: shared by the kernels of bound.c and by the fused head of head_draw.c. */
#ifndef SEDGE_CPU_COST_ROW_H
#define SEDGE_CPU_COST_ROW_H

#include "ops/kernels/cpu/law.h"

/* The base, of a chain that leaks the mask. */
static inline double leak_cost(const struct chain *chain, double sigma, int32_t x0,
                               const float *log_score)
{
    struct transition p = transition_flat(chain, sigma);
    struct block_sums sums;
    struct weight_row row = row_of_logs(log_score, chain->tokens);
    double log_total = log(sum_scores(&row, &sums).others), sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t y = 0; y < chain->tokens; y++)
        sum += (double)log_score[y];
    return leak_divergence(&p, (double)log_score[x0] - log_total, sum - chain->tokens * log_total);
}

/* The reconstruction, at SIGMA. */
static inline double decoder_cost(const struct chain *chain, double sigma, int32_t x, int32_t x0,
                                  const float *log_score)
{
    struct block_sums sums;
    struct weight_row weights = row_of_law(log_score, chain->tokens, law_at_each(chain, x));
    if (chain_frozen(chain, x))
        return x == x0 ? 0 : (double)INFINITY;
    struct score_sums scores = sum_scores(&weights, &sums);
    weights.law = law_decoder(chain, x, sigma, scores);
    sums_to_weights(&weights, &sums);
    make_positive(chain, sigma, scores.others, &weights, &sums);
    return log(sums.moves + sums.stays) -
           log(law_weight(&weights.law, x0, exp((double)log_score[x0])));
}

#endif
