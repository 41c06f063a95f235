/* What a chain is to everything else: rates of jumps, exp(sigma Q) at one sigma, applied to a
 * vector or transposed, ratios of its entries with their logarithms and slopes, and the law that
 * reverse chains start from. In double; kernels and references share this one copy.
 *
 * A chain of other rates needs no code: it is a table, or a flat one with other absorb, uniform and
 * release. A third *kind* of chain does, here and where a kind has a form of its own:
 *   - laws of steps and limits of scores: reverse_law.h, sampler_law.h, projection.h;
 *   - ops over all states of a position, for which a flat chain takes a sum over the tokens and a
 *     table a product with P: kernels and references of the families head, head_score, score,
 *     reverse, ancestral, event, corrector and bound, their workspace (chain_room.h), and perturb;
 *     what their references free is in ops/sampler.c;
 *   - graph/process*.c and tools/process_show.c, which read a chain, tell its ends, write it down
 *     and draw it. reveal, mask_exactly and first hitting are for absorption alone.
 * All else asks what graph/base/chain.h answers, such as chain_forgets_alike.
 * Losses are expressions over these ops and ask no chain.
 *
 * Notation as in graph/base/chain.h: P[y][x0] = p(x_sigma = y | x0), N real tokens, M the mask,
 * s_y = p(y) / p(x) the score at the current state x, s_x = 1. */
#ifndef SEDGE_TRANSITION_H
#define SEDGE_TRANSITION_H

#include "ops/kernels/table_chain.h"

#include <math.h>
#include <stddef.h>

/* P at one sigma. Flat chains: tokens y != x0, and the mask M. */
struct transition {
    const struct chain *chain;
    double sigma;
    double same;   /* P[x0][x0] */
    double other;  /* P[y][x0] */
    double masked; /* P[M][x0] */
    double kept;   /* P[M][M] */
    double freed;  /* P[y][M] */
    double stay;   /* same - other: exp(-(absorb + uniform) sigma) */
    /* Table chains: P[y][x0] at p[x0 * states + y]; columns that were not asked for hold
     * garbage. */
    const double *p;
    double *scratch;
};

/* Workspace of one transition of a table chain: P and what computing it needs. 0 for flat
 * chains. */
static inline int64_t transition_bytes(const struct chain *chain)
{
    return chain->kind == CHAIN_TABLE ? table_bytes(chain->rates) : 0;
}

static inline struct transition transition_flat(const struct chain *chain, double sigma)
{
    const double a = chain->absorb, u = chain->uniform, w = chain->release, n = chain->tokens;
    struct transition p = {.chain = chain, .sigma = sigma};
    p.stay = exp(-(a + u) * sigma);
    if (w > 0) {
        p.masked = a / (a + w) * -expm1(-(a + w) * sigma);
        p.kept = (a + w * exp(-(a + w) * sigma)) / (a + w);
        p.freed = w / (a + w) * -expm1(-(a + w) * sigma) / n;
        p.other = (-expm1(-(a + u) * sigma) - p.masked) / n;
        p.other = p.other > 0 ? p.other : 0;
    } else {
        p.masked = a > 0 ? -expm1(-a * sigma) : 0;
        p.kept = 1;
        p.other = u > 0 ? exp(-a * sigma) * -expm1(-u * sigma) / n : 0;
    }
    p.same = p.stay + p.other;
    return p;
}

/* ROOM: transition_bytes() of it, 64-aligned, which the transition keeps using. For table chains
 * COLUMNS lists the x0 that are needed, ascending; NULL: all. THREADS share the work. */
static inline struct transition transition_make(const struct chain *chain, double sigma,
                                                const int32_t *columns, int32_t column_count,
                                                void *room, int threads)
{
    if (chain->kind == CHAIN_FLAT)
        return transition_flat(chain, sigma);
    struct transition p = {.chain = chain, .sigma = sigma, .p = room};
    p.scratch = table_exponential(chain->rates, sigma, columns, column_count, room, threads);
    return p;
}

/* The k of transition_back. */
static inline double transition_back_rate(const struct chain *chain)
{
    return chain->absorb + (chain->uniform > chain->release ? chain->uniform : chain->release);
}

/* exp(-delta Q) for flat chains, times exp(-k delta) for a k that keeps every entry finite. Entries
 * may be negative: this is the inverse of a transition. */
static inline struct transition transition_back(const struct chain *chain, double delta)
{
    const double a = chain->absorb, u = chain->uniform, w = chain->release, n = chain->tokens;
    struct transition p = {.chain = chain, .sigma = -delta};
    if (w == 0) { /* k = a + u */
        p.stay = 1;
        p.masked = a > 0 ? exp(-u * delta) * expm1(-a * delta) : 0;
        p.kept = exp(-(a + u) * delta);
        p.other = u > 0 ? expm1(-u * delta) / n : 0;
    } else {
        double k = transition_back_rate(chain), grown = exp((a + w - k) * delta);
        double lost = grown * expm1(-(a + w) * delta); /* exp(-k delta) - grown */
        p.stay = exp((a + u - k) * delta);
        p.masked = a / (a + w) * lost;
        p.kept = (a * exp(-k * delta) + w * grown) / (a + w);
        p.freed = w / (a + w) * lost / n;
        p.other = (p.stay * expm1(-(a + u) * delta) - p.masked) / n;
    }
    p.same = p.stay + p.other;
    return p;
}

/* Q[y][x], the rate of the jump x -> y; the diagonal is minus the rate of leaving. */
static inline double chain_rate(const struct chain *chain, int32_t y, int32_t x)
{
    if (chain->kind == CHAIN_TABLE)
        return table_rate(chain->rates, y, x);
    double each = (x == chain->mask ? chain->release : chain->uniform) / chain->tokens;
    if (x == chain->mask)
        return y == chain->mask ? -chain->release : each;
    return y == chain->mask ? chain->absorb : y == x ? each - chain->absorb - chain->uniform : each;
}

/* P[y][x0]. */
static inline double transition_at(const struct transition *p, int32_t y, int32_t x0)
{
    const struct chain *chain = p->chain;
    if (chain->kind == CHAIN_TABLE)
        return p->p[(int64_t)x0 * chain->states + y];
    if (x0 == chain->mask)
        return y == chain->mask ? p->kept : p->freed;
    return y == chain->mask ? p->masked : y == x0 ? p->same : p->other;
}

/* log of sum over tokens y of P[y][x0] / P[M][x0], the same for every x0: what the scores of a
 * masked position sum to (absorb: 1 / expm1(sigma)). Flat chains with a mask. */
static inline double transition_log_unmasked(const struct transition *p)
{
    const double a = p->chain->absorb, w = p->chain->release;
    double log_tokens = w > 0 ? log((w + a * exp(-(a + w) * p->sigma)) / (a + w)) : -a * p->sigma;
    return log_tokens - log(p->masked);
}

/* d P[y][x0] / d sigma = (Q P)[y][x0]. */
static inline double transition_slope(const struct transition *p, int32_t y, int32_t x0)
{
    const struct chain *chain = p->chain;
    if (chain->kind == CHAIN_TABLE)
        return table_slope(chain->rates, p->p + (int64_t)x0 * chain->states, y);
    const double a = chain->absorb, u = chain->uniform, w = chain->release, n = chain->tokens;
    double mixing = exp(-(a + w) * p->sigma);
    if (x0 == chain->mask)
        return y == chain->mask ? -w * mixing : w * mixing / n;
    if (y == chain->mask)
        return a * mixing;
    double other = w > 0 ? ((a + u) * p->stay - a * mixing) / n
                         : (u * p->stay - a * n * p->other) / n; /* of leaving, less of masking */
    return y == x0 ? other - (a + u) * p->stay : other;
}

/* log rho_y, rho_y = P[y][x0] / P[x][x0]: what the log score at y would be if x0 were known.
 * -INFINITY where y cannot be reached; x must be reachable. */
static inline double transition_log_ratio(const struct transition *p, int32_t y, int32_t x,
                                          int32_t x0)
{
    return y == x ? 0.0 : log(transition_at(p, y, x0)) - log(transition_at(p, x, x0));
}

/* d log rho_y / d sigma; 0 where y cannot be reached. */
static inline double transition_log_ratio_slope(const struct transition *p, int32_t y, int32_t x,
                                                int32_t x0)
{
    double to = transition_at(p, y, x0), at = transition_at(p, x, x0);
    if (y == x || !(to > 0))
        return 0.0;
    return transition_slope(p, y, x0) / to - transition_slope(p, x, x0) / at;
}

/* P V of a flat chain, or with the shares of the mask exchanged its transpose: TO_TOKEN of what the
 * mask has comes to each token, TO_MASK of what each token has to the mask. */
static inline void flat_apply(const struct transition *p, double to_token, double to_mask,
                              const double *v, double *out)
{
    const struct chain *chain = p->chain;
    double sum = 0, at_mask = chain->mask >= 0 ? v[chain->mask] : 0;
    for (int32_t y = 0; y < chain->tokens; y++)
        sum += v[y];
    double shift = p->other * sum + to_token * at_mask;
    for (int32_t y = 0; y < chain->tokens; y++)
        out[y] = p->stay * v[y] + shift;
    if (chain->mask >= 0)
        out[chain->mask] = to_mask * sum + p->kept * at_mask;
}

/* OUT = P V over the states; V and OUT are different vectors. */
static inline void transition_apply(const struct transition *p, const double *v, double *out)
{
    if (p->chain->kind == CHAIN_TABLE)
        table_apply(p->p, p->chain->states, v, out);
    else
        flat_apply(p, p->freed, p->masked, v, out);
}

/* OUT = transpose(P) V. */
static inline void transition_apply_transposed(const struct transition *p, const double *v,
                                               double *out)
{
    if (p->chain->kind == CHAIN_TABLE)
        table_apply_transposed(p->p, p->chain->states, v, out);
    else
        flat_apply(p, p->masked, p->freed, v, out);
}

/* A draw from column X0 of P by inverse CDF, U in [0, 1). What may happen is laid out as: mask, a
 * redrawn token (which may be the same again), X0 itself; so that rare events have small u. */
static inline int32_t transition_draw(const struct transition *p, int32_t x0, double u)
{
    const struct chain *chain = p->chain;
    if (chain->kind == CHAIN_TABLE)
        return table_draw(p->p + (int64_t)x0 * chain->states, chain->states, x0, u);
    bool from_mask = x0 == chain->mask;
    double each = from_mask ? p->freed : p->other;
    double to_mask = from_mask ? 0 : p->masked; /* a mask that stays comes last */
    if (u < to_mask)
        return chain->mask;
    double moved = each * chain->tokens;
    if (!(u < to_mask + moved)) /* also where the noise is not a number: no state is made up */
        return x0;
    int32_t y = (int32_t)((u - to_mask) / each);
    return y < chain->tokens ? y : chain->tokens - 1;
}

/* The mask's share of the law that a flat chain ends in. */
static inline double chain_end_mask(const struct chain *chain)
{
    return chain->absorb > 0 ? chain->absorb / (chain->absorb + chain->release) : 0.0;
}

/* The law that the forward chain ends in: the stationary law, of a chain that leaks the mask. A
 * table must have one recurrent class. */
static inline double chain_end(const struct chain *chain, int32_t y)
{
    if (chain->kind == CHAIN_TABLE)
        return chain->stationary[y];
    double at_mask = chain_end_mask(chain);
    return y == chain->mask ? at_mask : (1 - at_mask) / chain->tokens;
}

/* The law that reverse chains start from where it does not depend on noise: the base that was
 * given, else the law that the chain ends in. */
static inline double chain_base(const struct chain *chain, int32_t y)
{
    return chain->base ? chain->base[y] : chain_end(chain, y);
}

static inline int32_t chain_base_draw(const struct chain *chain, double u)
{
    const double *law = chain->base ? chain->base : chain->stationary;
    if (law)
        return table_draw(law, chain->states, chain->states - 1, u);
    double at_mask = chain_end_mask(chain);
    if (u < at_mask)
        return chain->mask;
    int32_t y = (int32_t)((u - at_mask) / (1 - at_mask) * chain->tokens);
    return y < chain->tokens ? y : chain->tokens - 1;
}

/* Whether a position in state X can move in the reverse chain at all. */
static inline bool chain_frozen(const struct chain *chain, int32_t x)
{
    return chain_carries_over(chain) && x != chain->mask;
}

#endif
