/* One position of scores made ones that some law has, under a flat chain. Shared by the kernel of
 * projection.c and the fused head of head_draw.c. Sums over states are in double. */
#ifndef SEDGE_CPU_PROJECTION_ROW_H
#define SEDGE_CPU_PROJECTION_ROW_H

#include "ops/kernels/cpu/law.h"
#include "ops/kernels/projection.h"
#include "ops/kernels/transition.h"

/* Tokens at a mask: scaled to the sum that all laws have. */
static inline void project_masked(const struct transition *p, const float *row, float *out)
{
    const struct chain *chain = p->chain;
    float most = -INFINITY;
    double sum = 0;
#pragma omp simd reduction(max : most)
    for (int64_t y = 0; y < chain->tokens; y++)
        most = row[y] > most ? row[y] : most;
#pragma omp simd reduction(+ : sum)
    for (int64_t y = 0; y < chain->tokens; y++)
        sum += exp((double)row[y] - most); /* guided scores are as large as asked for */
    float shift = (float)(log(sum) - transition_log_unmasked(p));
#pragma omp simd
    for (int64_t y = 0; y < chain->tokens; y++)
        out[y] = row[y] - most - shift;
}

/* What one factor C makes of the entries y != x: the sum of the scores that stay above r / C, and
 * how many do not. FLOOR = log(r / C). */
static inline void sum_open(const float *row, int64_t n, int64_t skip, double low, double floor,
                            double *open, double *fixed)
{
    double sum = 0, count = 0, least = exp(floor), tile[LAW_TILE];
    for (int64_t first = 0; first < n; first += LAW_TILE) {
        const float *at = row + first;
        int64_t size = n - first < LAW_TILE ? n - first : LAW_TILE;
#pragma omp simd
        for (int64_t i = 0; i < size; i++)
            tile[i] = exp(limited((double)at[i], low, -low));
        if (skip >= first && skip < first + size)
            tile[skip - first] = 0;
#pragma omp simd reduction(+ : sum, count)
        for (int64_t i = 0; i < size; i++) {
            sum += tile[i] < least ? 0.0 : tile[i];
            count += tile[i] < least ? 1.0 : 0.0;
        }
    }
    *open = sum;
    *fixed = count;
}

/* Log of the factor C for which the total rate is at its limit, entries of max(C s_y, low) with s_y
 * clipped; 0 where it is below it. Each round fixes the entries that the last C took below their
 * least, so that C only falls. MASK: the clipped log score of the mask. */
static inline double project_factor(const struct chain *chain, const struct score_limits *limits,
                                    const float *row, int32_t x, double mask)
{
    double log_c = 0;
    for (;;) {
        double open, fixed;
        sum_open(row, chain->tokens, x, limits->low, limits->low - log_c, &open, &fixed);
        fixed = limits->rate * (fixed - 1) * exp(limits->low); /* x itself is among them */
        open *= limits->rate;
        if (limits->mask_rate > 0 && mask + log_c < limits->mask_low)
            fixed += limits->mask_rate * exp(limits->mask_low);
        else if (limits->mask_rate > 0)
            open += limits->mask_rate * exp(mask);
        double next = log((limits->total - fixed) / open);
        if (!(next < log_c - 1e-12))
            return log_c;
        log_c = next;
    }
}

static inline void project_token(const struct transition *p, int32_t x, const float *row,
                                 float *out)
{
    const struct chain *chain = p->chain;
    const struct score_limits limits = flat_limits(p);
    double mask = 0;
    if (chain->mask >= 0)
        mask = limited((double)row[chain->mask], limits.mask_low, limits.mask_high);
    double log_c = project_factor(chain, &limits, row, x, mask);
    double low = limits.low, high = limits.high;
    if (chain->mask >= 0) {
        double scaled = limits.mask_rate > 0 ? mask + log_c : mask;
        out[chain->mask] = (float)limited(scaled, limits.mask_low, limits.mask_high);
    }
#pragma omp simd
    for (int64_t y = 0; y < chain->tokens; y++)
        out[y] = (float)limited(limited((double)row[y], low, high) + log_c, low, high);
}

/* Of a flat chain. OUT may be ROW. */
static inline void project_row(const struct transition *p, int32_t x, const float *row, float *out)
{
    const struct chain *chain = p->chain;
    if (x == chain->mask)
        project_masked(p, row, out);
    else if (!chain_frozen(chain, x))
        project_token(p, x, row, out);
    else if (out != row)
        memcpy(out, row, (size_t)chain->states * sizeof *out);
    out[x] = 0;
}

#endif
