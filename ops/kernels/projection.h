/* What scores some law over x0 could have: limits of each entry and of their sum. In double;
 * kernels and references share this one copy.
 *
 * s_y is a mean of P[y][x0] / P[x][x0] over x0, so it lies between the smallest and the largest of
 * these, and the total reverse rate sum_y Q[x][y] s_y below the largest of theirs. */
#ifndef SEDGE_PROJECTION_H
#define SEDGE_PROJECTION_H

#include "ops/kernels/transition.h"

/* Limits of the log scores at a token x of a flat chain. At a mask there is one condition only: the
 * tokens sum to exp(transition_log_unmasked). */
struct score_limits {
    double low, high;           /* tokens y != x */
    double mask_low, mask_high; /* the mask */
    double rate, mask_rate;     /* Q[x][y] of the tokens y != x, Q[x][M] */
    double total;               /* of sum_y Q[x][y] s_y */
};

static inline struct score_limits flat_limits(const struct transition *p)
{
    const struct chain *chain = p->chain;
    double n = chain->tokens;
    struct score_limits limits = {.rate = chain->uniform / n, .mask_rate = chain->release / n};
    limits.low = log(p->other) - log(p->same);
    limits.high = -limits.low;
    limits.mask_low = log(p->masked) - log(p->same);
    limits.mask_high = log(p->masked) - log(p->other);
    limits.total = limits.rate * (exp(limits.high) + n - 2);
    if (limits.mask_rate > 0)
        limits.total += limits.mask_rate * exp(limits.mask_high);
    return limits;
}

/* Of the total rate out of a state of a table chain. */
struct total_limits {
    double least, most;
};

/* Of a table chain, at one x: by state, with P at every column. LOW and HIGH are ratios. */
static inline struct total_limits table_limits(const struct transition *p, int32_t x, double *low,
                                               double *high)
{
    const struct chain *chain = p->chain;
    struct total_limits total = {INFINITY, 0};
    for (int32_t y = 0; y < chain->states; y++) {
        low[y] = INFINITY;
        high[y] = 0;
    }
    for (int32_t x0 = 0; x0 < chain->tokens; x0++) {
        const double *column = p->p + (int64_t)x0 * chain->states;
        if (!(column[x] > 0))
            continue;
        const double own = 1 / column[x];
#pragma omp simd
        for (int32_t y = 0; y < chain->states; y++) {
            double ratio = column[y] * own;
            low[y] = ratio < low[y] ? ratio : low[y];
            high[y] = ratio > high[y] ? ratio : high[y];
        }
        double rate = table_slope(chain->rates, column, x) / column[x] + chain->rates->leave[x];
        total.most = fmax(rate, total.most);
        total.least = fmin(rate, total.least);
    }
    return total;
}

/* V between LOW and HIGH. What is not a number stays so, as it would not by fmin and fmax: a
 * network that has diverged is not hidden. */
static inline double limited(double v, double low, double high)
{
    double above = v < low ? low : v;
    return above > high ? high : above;
}

/* What to take off the log scores at a mask, of which MOST is the largest that counts, before they
 * are exponentiated: their total is scaled to the limits whatever they are, so only those that an
 * exponential has no room for, as strong guidance makes them, are moved to where it has. */
static inline double table_shift(double most)
{
    const double room = 600;
    double shift = most > room ? most - room : most < -room ? most + room : 0;
    return isfinite(shift) ? shift : 0;
}

/* At a mask, before entries are clipped: scales those that count so that the total lies between the
 * limits. Under absorption those are one number, and this is all that there is to do, as for the
 * flat chain. */
static inline void table_scale(const struct rates *rates, int32_t x, struct total_limits limits,
                               double *score)
{
    double total = 0;
    for (int64_t k = rates->into_start[x]; k < rates->into_start[x + 1]; k++)
        total += rates->into_rate[k] * score[rates->of[k]];
    double factor = fmax(limits.least, fmin(total, limits.most)) / total;
    for (int64_t k = rates->into_start[x]; total > 0 && k < rates->into_start[x + 1]; k++)
        score[rates->of[k]] *= factor;
}

/* Clips SCORE to LOW .. HIGH, then scales down the entries that count, those with a rate, where the
 * total is above LIMIT: those that come to LOW stay there, so that each round may find more of
 * them. */
static inline void table_project(const struct rates *rates, int32_t x, const double *low,
                                 const double *high, double limit, double *score)
{
    double factor = 1, before;
    for (int32_t y = 0; y < rates->states; y++)
        score[y] = y == x ? 1 : limited(score[y], low[y] <= high[y] ? low[y] : 0, high[y]);
    do {
        double open = 0, fixed = 0;
        for (int64_t k = rates->into_start[x]; k < rates->into_start[x + 1]; k++) {
            int32_t y = rates->of[k];
            bool down = factor * score[y] < low[y];
            open += down ? 0 : rates->into_rate[k] * score[y];
            fixed += down ? rates->into_rate[k] * low[y] : 0;
        }
        before = factor;
        factor = open > 0 ? fmin(before, (limit - fixed) / open) : before;
    } while (factor < before * (1 - 1e-12));
    for (int64_t k = rates->into_start[x]; k < rates->into_start[x + 1]; k++) {
        int32_t y = rates->of[k];
        score[y] = limited(factor * score[y], low[y], INFINITY);
    }
}

#endif
