/* One position of a score network under a flat chain: its log scores, its score entropy and the
 * slope of that. Shared by the kernels of score.c and by the fused heads of head_loss.c and
 * head_draw.c. Sums over states are in double. */
#ifndef SEDGE_CPU_SCORE_ROW_H
#define SEDGE_CPU_SCORE_ROW_H

#include "ops/kernels/cpu/law.h"
#include "ops/kernels/score_entropy.h"

/* Log scores at X from what the network put out, which may be OUT itself. SCALED: less log E and
 * log N. */
static inline void score_output_row(const struct transition *p, bool scaled, const float *raw,
                                    int32_t x, float *out)
{
    const struct chain *chain = p->chain;
    float shift = scaled ? (float)(log((double)chain->tokens) - transition_log_unmasked(p)) : 0.0f;
#pragma omp simd
    for (int64_t y = 0; y < chain->states; y++)
        out[y] = raw[y] - shift;
    out[x] = 0;
}

/* Sum of s_y, of which each has a true ratio of 0. */
static inline double sum_scores_plain(const float *log_score, int64_t n)
{
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t y = 0; y < n; y++)
        sum += (double)expf(log_score[y]);
    return sum;
}

/* Sum of exp(d) - 1 - d, d = log s_y - log rho: pairs of one common ratio, over that ratio. The
 * exponentials come first, in a loop of their own: beside a choice they would not be vectors. */
static inline double sum_excess(const float *log_score, int64_t n, double log_rho)
{
    double sum = 0, tile[LAW_TILE];
    for (int64_t first = 0; first < n; first += LAW_TILE) {
        const float *at = log_score + first;
        int64_t size = n - first < LAW_TILE ? n - first : LAW_TILE;
#pragma omp simd
        for (int64_t i = 0; i < size; i++)
            tile[i] = exp((double)at[i] - log_rho);
#pragma omp simd reduction(+ : sum)
        for (int64_t i = 0; i < size; i++)
            sum += excess_of((double)at[i] - log_rho, tile[i]);
    }
    return sum;
}

/* The pairs of one position of a flat chain: tokens other than x and x0 have one ratio; x0 where it
 * is not x, and the mask where x is a token, have their own. */
struct flat_pairs {
    double rate, rho, log_rho; /* tokens */
    double rho0, log_rho0;
    double mask_rate, mask_rho, mask_log_rho;
    int32_t low, high; /* x and x0, or x0 twice, ascending: tokens not in the sum */
    int32_t x0;        /* -1: x itself */
};

static inline struct flat_pairs flat_pairs(const struct transition *p, int32_t x, int32_t x0)
{
    const struct chain *chain = p->chain;
    const bool masked = x == chain->mask;
    double at = transition_at(p, x, x0), log_at = log(at);
    struct flat_pairs pairs = {.rate = chain_entry_rate(chain, x),
                               .rho = p->other / at,
                               .log_rho = log(p->other) - log_at,
                               .rho0 = p->same / at,
                               .log_rho0 = log(p->same) - log_at,
                               .x0 = x0 == x ? -1 : x0};
    pairs.low = masked || x0 < x ? x0 : x;
    pairs.high = masked || x0 > x ? x0 : x;
    if (!masked && chain->release > 0) {
        pairs.mask_rate = chain->release / chain->tokens;
        pairs.mask_rho = p->masked / at;
        pairs.mask_log_rho = log(p->masked) - log_at;
    }
    return pairs;
}

/* Of the tokens but x and x0, over their rate. */
static inline double listed_entropy(const struct flat_pairs *q, const float *row, int32_t tokens)
{
    const float *middle = row + q->low + 1, *last = row + q->high + 1;
    int64_t between = q->high - q->low - 1, after = tokens - q->high - 1;
    if (!(q->rho > 0))
        return sum_scores_plain(row, q->low) + sum_scores_plain(middle, between) +
               sum_scores_plain(last, after);
    return q->rho * (sum_excess(row, q->low, q->log_rho) + sum_excess(middle, between, q->log_rho) +
                     sum_excess(last, after, q->log_rho));
}

/* Of all, given LISTED of those, and log scores AT_X0 and AT_MASK where x0 and the mask count. */
static inline double whole_entropy(const struct flat_pairs *q, double listed, double at_x0,
                                   double at_mask)
{
    double sum = listed;
    if (q->x0 >= 0)
        sum += entropy_term(at_x0, q->rho0, q->log_rho0);
    sum *= q->rate;
    if (q->mask_rate > 0)
        sum += q->mask_rate * entropy_term(at_mask, q->mask_rho, q->mask_log_rho);
    return sum;
}
static inline double row_entropy(const struct flat_pairs *q, double listed, const float *row,
                                 int32_t x0, int32_t mask)
{
    return whole_entropy(q, listed, row[x0], mask < 0 ? 0 : row[mask]);
}

static inline double flat_entropy(const struct transition *p, const float *row, int32_t x,
                                  int32_t x0)
{
    const struct chain *chain = p->chain;
    const struct flat_pairs q = flat_pairs(p, x, x0);
    return row_entropy(&q, listed_entropy(&q, row, chain->tokens), row, x0, chain->mask);
}

/* d log s_y = G s_y: where the true ratio is 0. */
static inline void entropy_slope_plain(const float *log_score, int64_t n, float g, float *out)
{
#pragma omp simd
    for (int64_t y = 0; y < n; y++)
        out[y] = g * expf(log_score[y]);
}

/* d log s_y = G (s_y - RHO), the difference in double. */
static inline void entropy_slope(const float *log_score, int64_t n, double g, double rho,
                                 float *out)
{
#pragma omp simd
    for (int64_t y = 0; y < n; y++)
        out[y] = (float)(g * (exp((double)log_score[y]) - rho));
}

/* The sum of s_y, each of which becomes G s_y: both where the true ratio is 0. */
static inline double sum_and_slope_plain(float *row, int64_t n, float g)
{
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t y = 0; y < n; y++) {
        float score = expf(row[y]);
        sum += (double)score;
        row[y] = g * score;
    }
    return sum;
}

/* Slopes that are not those of the listed tokens: of x0, and of the mask where there is one. */
struct end_slopes {
    float at_x0, at_mask;
};
static inline struct end_slopes end_slopes(const struct flat_pairs *q, const float *row, double g,
                                           int32_t x0, int32_t mask)
{
    struct end_slopes ends = {.at_x0 = (float)(g * q->rate * (exp((double)row[x0]) - q->rho0))};
    if (q->mask_rate > 0)
        ends.at_mask = (float)(g * q->mask_rate * (exp((double)row[mask]) - q->mask_rho));
    return ends;
}
static inline void put_ends(struct end_slopes ends, int32_t x, int32_t x0, int32_t mask,
                            float *slope)
{
    slope[x0] = ends.at_x0;
    if (mask >= 0)
        slope[mask] = ends.at_mask;
    slope[x] = 0;
}

/* G times the slope of flat_entropy. SLOPE may be ROW. */
static inline void flat_entropy_slope(const struct transition *p, const float *row, double g,
                                      int32_t x, int32_t x0, float *slope)
{
    const struct chain *chain = p->chain;
    const struct flat_pairs q = flat_pairs(p, x, x0);
    const struct end_slopes ends = end_slopes(&q, row, g, x0, chain->mask);
    if (q.rho > 0)
        entropy_slope(row, chain->states, g * q.rate, q.rho, slope);
    else
        entropy_slope_plain(row, chain->states, (float)(g * q.rate), slope);
    put_ends(ends, x, x0, chain->mask, slope);
}

/* Both at once: the entropy, and ROW becomes its slope. */
static inline double flat_entropy_and_slope(const struct transition *p, float *row, double g,
                                            int32_t x, int32_t x0)
{
    const int32_t tokens = p->chain->tokens, mask = p->chain->mask;
    const struct flat_pairs q = flat_pairs(p, x, x0);
    const struct end_slopes ends = end_slopes(&q, row, g, x0, mask);
    const float factor = (float)(g * q.rate);
    double sum;
    if (q.rho > 0) {
        sum = row_entropy(&q, listed_entropy(&q, row, tokens), row, x0, mask);
        entropy_slope(row, tokens, g * q.rate, q.rho, row);
    } else {
        sum = sum_and_slope_plain(row, q.low, factor) +
              sum_and_slope_plain(row + q.low + 1, q.high - q.low - 1, factor) +
              sum_and_slope_plain(row + q.high + 1, tokens - q.high - 1, factor);
        sum = row_entropy(&q, sum, row, x0, mask); /* which reads what is left of the row */
    }
    put_ends(ends, x, x0, mask, row);
    return sum;
}

#endif
