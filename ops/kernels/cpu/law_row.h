/* One position of a law of the clean token, of the score that it comes to, and of scores made ones
 * of a law. Shared by the kernels of head.c, head_score.c and projection.c, and by the fused head
 * of head_draw.c. Sums over states are in double. */
#ifndef SEDGE_CPU_LAW_ROW_H
#define SEDGE_CPU_LAW_ROW_H

#include "ops/kernels/cpu/law.h"
#include "ops/kernels/projection.h"
#include "ops/kernels/transition.h"

/* Minus log sum exp over N entries. */
static inline double law_shift(const float *row, int64_t n)
{
    double sum = 0;
    float most = -INFINITY;
#pragma omp simd reduction(max : most)
    for (int64_t y = 0; y < n; y++)
        most = row[y] > most ? row[y] : most;
#pragma omp simd reduction(+ : sum)
    for (int64_t y = 0; y < n; y++)
        sum += exp((double)row[y] - (double)most);
    return -((double)most + log(sum));
}

/* Over all tokens. */
static inline void law_normalise(const struct chain *chain, const float *row, float *out)
{
    double shift = law_shift(row, chain->tokens);
#pragma omp simd
    for (int32_t y = 0; y < chain->tokens; y++)
        out[y] = (float)((double)row[y] + shift);
    if (chain->mask >= 0)
        out[chain->mask] = -INFINITY;
}

/* Over the tokens that P can take to X. */
static inline void law_normalise_support(const struct transition *p, int32_t x, const float *row,
                                         float *out)
{
    const struct chain *chain = p->chain;
    for (int32_t y = 0; y < chain->tokens; y++)
        out[y] = transition_at(p, x, y) > 0 ? row[y] : -INFINITY;
    law_normalise(chain, out, out);
}

static inline void law_output_row(const struct transition *p, int32_t x, const float *row,
                                  float *out)
{
    const struct chain *chain = p->chain;
    bool all = chain->kind == CHAIN_FLAT && (x == chain->mask ? p->masked > 0 : p->other > 0);
    if (all)
        law_normalise(chain, row, out);
    else
        law_normalise_support(p, x, row, out);
}

/* One position of a flat chain. The weights v are exp(log_p) times WEIGHT, at y = x OWN; all zero
 * but the own one under an absorbing chain's token. */
struct flat_row {
    const struct transition *p;
    const float *log_p;
    int32_t x;
    bool cavity;
    double weight, own;
    double sum; /* of v */
    double own_v;
};

static inline double inverse_of(double reach)
{
    return reach > 0 ? 1 / reach : 0;
}

static inline struct flat_row flat_open(const struct transition *p, const float *log_p, int32_t x,
                                        bool cavity)
{
    const int32_t n = p->chain->tokens;
    struct flat_row row = {p, log_p, x, cavity, 1, 1, 0, 0};
    if (!cavity && x == p->chain->mask)
        row.weight = row.own = inverse_of(p->masked);
    else if (!cavity) {
        row.weight = inverse_of(p->other);
        row.own = inverse_of(p->same);
    }
    double sum = 0, here = x < n ? exp((double)log_p[x]) : 0;
#pragma omp simd reduction(+ : sum)
    for (int32_t y = 0; y < n; y++)
        sum += exp((double)log_p[y]);
    /* The sum without x is made by itself where x is nearly all of it. */
    double others = sum - here;
    if (x < n && others < 1e-3 * sum) {
        others = 0;
        for (int32_t y = 0; y < n; y++)
            others += y == x ? 0 : exp((double)log_p[y]);
    }
    row.own_v = x < n ? row.own * here : 0;
    row.sum = row.weight * others + row.own_v;
    return row;
}

/* Absorb: u_y = stay v_y exactly, so that no logarithm needs an exponential. */
static inline void score_absorb(const struct flat_row *row, float *out)
{
    const struct transition *p = row->p;
    const int32_t n = p->chain->tokens, mask = p->chain->mask;
    bool frozen = row->x != mask;
    double at_x = frozen ? (double)row->log_p[row->cavity ? row->x : 0] + log(p->same)
                         : log(p->masked) + log(row->sum);
    double shift = log(p->stay) + log(row->weight) - (row->cavity ? at_x : 0);
    double to_mask = log(p->masked) + log(row->sum) - (row->cavity ? at_x : 0);
#pragma omp simd
    for (int32_t y = 0; y < n; y++)
        out[y] = (float)((double)row->log_p[y] + shift);
    out[mask] = (float)to_mask;
}

static inline void score_flat(const struct flat_row *row, float *out)
{
    const struct transition *p = row->p;
    const int32_t n = p->chain->tokens, mask = p->chain->mask;
    const double shift = p->other * row->sum, slope = p->stay * row->weight;
    double at_x = p->stay * row->own_v + shift;
    at_x = row->x == mask ? p->masked * row->sum : at_x;
    double here = row->cavity ? log(at_x) : 0;
    if (chain_carries_over(p->chain))
        score_absorb(row, out);
    else {
#pragma omp simd
        for (int32_t y = 0; y < n; y++)
            out[y] = (float)(log(slope * exp((double)row->log_p[y]) + shift) - here);
        if (mask >= 0)
            out[mask] = (float)(log(p->masked * row->sum) - here);
    }
    out[row->x] = 0;
}

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
