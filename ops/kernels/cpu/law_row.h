/* One position of a law of the clean token, and of the score that it comes to. Shared by the
 * kernels of head.c and head_score.c, and by the fused head of head_draw.c. Sums over states are in
 * double. */
#ifndef SEDGE_CPU_LAW_ROW_H
#define SEDGE_CPU_LAW_ROW_H

#include "ops/kernels/cpu/law.h"
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

#endif
