/* One position's reverse step under a flat chain: its law, and the state that it draws. Shared by
 * the kernels of reverse.c, ancestral.c, reveal.c, corrector.c and bound.c, and by the fused head
 * of head_draw.c. */
#ifndef SEDGE_CPU_STEP_ROW_H
#define SEDGE_CPU_STEP_ROW_H

#include "ops/kernels/attrs.h"
#include "ops/kernels/cpu/law.h"
#include "ops/kernels/sampler_law.h"

/* TIME: by how much the noise falls (tweedie), the length of the step (Euler), or the noise. */
static inline struct chain_law step_law(const struct chain *chain, enum draw_step step, double time,
                                        bool exclude_mask, int32_t x, struct score_sums sums)
{
    switch (step) {
    case DRAW_TWEEDIE:
        return law_tweedie(chain, x, time, sums, exclude_mask);
    case DRAW_EULER:
        return law_euler(chain, x, time, sums);
    case DRAW_EULER_LINEAR:
        return law_euler_linear(chain, x, time, sums);
    default: /* DRAW_DENOISE */
        break;
    }
    return law_decoder(chain, x, time, sums);
}

static inline int32_t step_draw(const struct chain *chain, enum draw_step step, double time,
                                bool exclude_mask, int32_t x, const float *log_score, double u,
                                double *clamped)
{
    struct weight_row weights = row_of_law(log_score, chain->tokens, law_at_each(chain, x));
    struct block_sums sums;
    struct score_sums scores = sum_scores(&weights, &sums);
    weights.law = step_law(chain, step, time, exclude_mask, x, scores);
    sums_to_weights(&weights, &sums);
    if (step == DRAW_DENOISE)
        make_positive(chain, time, scores.others, &weights, &sums);
    *clamped = sums.clamped;
    return draw_row(&weights, &sums, u);
}

/* By a law of the clean token. */
static inline int32_t ancestral_draw(const float *log_p, const struct step_transitions *p,
                                     int32_t x, bool cavity, double u)
{
    const struct chain *chain = p->t.chain;
    struct weight_row row = row_of_law(log_p, chain->tokens, law_at_each(chain, x));
    struct block_sums sums;
    double others = sum_scores(&row, &sums).others;
    double own = x < chain->tokens ? exp((double)log_p[x]) : 0;
    row.law = ancestral_law(p, x, cavity, others, own);
    sums_to_weights(&row, &sums);
    return draw_row(&row, &sums, u);
}

/* A step at which tokens may be masked again; LOG_P is asked of masks only. */
static inline int32_t remask_draw(const float *log_p, const struct step_transitions *p, int32_t x,
                                  double r, double u)
{
    const struct chain *chain = p->t.chain;
    if (x != chain->mask) {
        struct chain_law law = remask_law(p, x, r, 0);
        return u * (law.mask_weight + law.at_weight) < law.mask_weight ? chain->mask : x;
    }
    struct weight_row row = row_of_law(log_p, chain->tokens, law_at_each(chain, x));
    struct block_sums sums;
    double others = sum_scores(&row, &sums).others;
    row.law = remask_law(p, x, r, others);
    sums_to_weights(&row, &sums);
    return draw_row(&row, &sums, u);
}

/* A jump at forward plus reverse rates. */
static inline int32_t corrector_draw(const struct chain *chain, const float *log_score, int32_t x,
                                     double step, double u)
{
    double mask = chain->mask >= 0 ? exp((double)log_score[chain->mask]) : 0;
    struct weight_row row = row_of_law(log_score, chain->tokens, corrector_law(chain, x, mask));
    struct block_sums sums;
    sum_law(&row, &sums);
    sums.stays = stay_weight(sums.moves, step);
    return draw_row(&row, &sums, u);
}

/* Where sampling starts, of a mask at noise SIGMA. */
static inline int32_t base_token(const struct chain *chain, double sigma, const float *log_score,
                                 double u)
{
    struct weight_row weights =
        row_of_law(log_score, chain->tokens, law_at_each(chain, chain->mask));
    struct block_sums sums;
    double others = sum_scores(&weights, &sums).others;
    weights.law = law_base(chain, sigma, others);
    sums_to_weights(&weights, &sums);
    return draw_row(&weights, &sums, u);
}

#endif
