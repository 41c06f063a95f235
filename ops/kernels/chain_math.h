/* The mathematics of one jump chain at one position, in double: transition probabilities, ratios,
 * and the laws that reverse steps draw from. Kernels and references share this one copy.
 *
 * Notation as in graph/base/chain.h: column x0 of P_sigma = exp(sigma Q) is p(x_sigma = . | x0).
 * E = expm1(sigma), alpha = exp(-sigma), N real tokens, M the mask, s_y = p(y) / p(x) the score at
 * the current token x, with s_x = 1. Sources: Lou, Meng, Ermon 2024 (SEDD) for the score entropy
 * and the Tweedie step; Campbell et al. 2022 for the reverse rates. */
#ifndef SEDGE_CHAIN_MATH_H
#define SEDGE_CHAIN_MATH_H

#include "graph/base/chain.h"
#include <math.h>
#include <stdbool.h>

/* What depends on sigma alone, in forms that neither overflow nor cancel. */
struct chain_noise {
    double alpha;     /* exp(-sigma): no jump yet */
    double moved;     /* 1 - alpha */
    double inv_e;     /* 1 / E */
    double log_e;     /* log E */
    double ratio;     /* r = E / (E + N): uniform, P(another token) / P(the same token) */
    double log_ratio; /* log E - log(E + N) */
};

static inline struct chain_noise chain_noise(const struct chain *chain, double sigma)
{
    struct chain_noise noise = {.alpha = exp(-sigma), .moved = -expm1(-sigma)};
    noise.inv_e = noise.alpha / noise.moved;
    noise.log_e = sigma + log(noise.moved);
    noise.ratio = 1.0 / (1.0 + chain->tokens * noise.inv_e);
    noise.log_ratio = -log1p(chain->tokens * noise.inv_e);
    return noise;
}

/* Q[y][x], the rate of the jump x -> y; the diagonal is minus the rate of leaving. */
static inline double chain_rate(const struct chain *chain, int32_t y, int32_t x)
{
    if (!chain_carries_over(chain))
        return 1.0 / chain->tokens - (x == y);
    if (x == chain->mask)
        return 0.0;
    return y == chain->mask ? 1.0 : y == x ? -1.0 : 0.0;
}

/* P_sigma[y][x0]. */
static inline double chain_move(const struct chain *chain, const struct chain_noise *noise,
                                int32_t y, int32_t x0)
{
    if (!chain_carries_over(chain))
        return noise->moved / chain->tokens + (y == x0 ? noise->alpha : 0.0);
    if (x0 == chain->mask)
        return y == chain->mask;
    return y == x0 ? noise->alpha : y == chain->mask ? noise->moved : 0.0;
}

/* log rho, rho = P_sigma[y][x0] / P_sigma[x][x0]: what the score at y would be if x0 were known.
 * For absorb, X must be a state that can be reached from X0. */
static inline double chain_log_ratio(const struct chain *chain, const struct chain_noise *noise,
                                     int32_t y, int32_t x, int32_t x0)
{
    if (y == x)
        return 0.0;
    if (!chain_carries_over(chain))
        return x == x0 ? noise->log_ratio : y == x0 ? -noise->log_ratio : 0.0;
    if (x == chain->mask)
        return y == x0 ? -noise->log_e : -INFINITY;
    return y == chain->mask ? noise->log_e : -INFINITY;
}

/* d log rho / d sigma. */
static inline double chain_log_ratio_slope(const struct chain *chain,
                                           const struct chain_noise *noise, int32_t y, int32_t x,
                                           int32_t x0)
{
    if (y == x || (y != x0 && x != x0))
        return 0.0;
    if (chain_carries_over(chain))
        return (y == x0 ? -1.0 : 1.0) / noise->moved;
    double rest = chain->tokens * noise->inv_e * noise->ratio; /* 1 - r */
    return (x == x0 ? rest : -rest) / noise->moved;
}

/* exp(d) - 1 - d, never negative, with exp(d) handed in. Below 0.05 the power series: its first
 * missing term is 1.3e-10 of the sum there, while the difference would lose half its digits. */
static inline double excess_of(double d, double exp_d)
{
    double series = d * d * (1.0 / 2 + d * (1.0 / 6 + d * (1.0 / 24 + d * (1.0 / 120 + d / 720))));
    double direct = exp_d - 1.0 - d;
    return fabs(d) < 0.05 ? series : direct;
}
static inline double entropy_excess(double d)
{
    return excess_of(d, exp(d));
}

/* s - rho log s + rho (log rho - 1): the score entropy of one pair, as rho (exp(d) - 1 - d) with
 * d = log s - log rho, so that its three huge pieces need not cancel. */
static inline double entropy_term(double log_score, double rho, double log_rho)
{
    return rho > 0.0 ? rho * entropy_excess(log_score - log_rho) : exp(log_score);
}

/* Draws by inverse CDF from one uniform U in [0, 1): of column x0 of P_sigma, and of the
 * stationary law. "Moving" under uniform may draw the same token again. */
static inline int32_t chain_draw(const struct chain *chain, const struct chain_noise *noise,
                                 int32_t x0, double u)
{
    if (!(u < noise->moved)) /* also where the noise is not a number: no state is made up */
        return x0;
    if (chain_carries_over(chain))
        return chain->mask;
    int32_t y = (int32_t)(u / noise->moved * chain->tokens);
    return y < chain->tokens ? y : chain->tokens - 1;
}

static inline int32_t chain_stationary(const struct chain *chain, double u)
{
    return chain_carries_over(chain) ? chain->mask : (int32_t)(u * chain->tokens);
}

/* KL(P_sigma[., x0] || stationary) of the uniform chain, the same for every x0: the mean of
 * h(v) = v log v - v + 1 at v = N P, whose terms are never negative. */
static inline double chain_excess_at(double e)
{
    return e > -1.0 ? (1.0 + e) * log1p(e) - e : 1.0;
}
static inline double chain_uniform_divergence(const struct chain *chain,
                                              const struct chain_noise *noise)
{
    double others = chain->tokens - 1;
    return (chain_excess_at(others * noise->alpha) + others * chain_excess_at(-noise->alpha)) /
           chain->tokens;
}

/* The largest sum over y != x of a score under uniform: that of a mixture over x0 != x. */
static inline double chain_score_limit(const struct chain *chain, const struct chain_noise *noise)
{
    return 1.0 + chain->tokens * noise->inv_e + (chain->tokens - 2);
}

/* An unnormalised law over the states, as a function of the score row: state y != at has the
 * weight max(0, scale s_y + shift) + mix s_y, state AT has max(0, at_weight) + at_mix. */
struct chain_law {
    int32_t at;
    double at_weight, at_mix;
    double scale, shift, mix;
};

/* Before clamping; what the tests compare, and may be negative. Laws with a mix have no such form. */
static inline double law_raw(const struct chain_law *law, int32_t y, double score)
{
    return y == law->at ? law->at_weight : law->scale * score + law->shift;
}

static inline double law_weight(const struct chain_law *law, int32_t y, double score)
{
    double raw = law_raw(law, y, score);
    return (raw > 0.0 ? raw : 0.0) + (y == law->at ? law->at_mix : law->mix * score);
}

/* Whether a position can move at all: under absorb only a masked one can. */
static inline bool chain_frozen(const struct chain *chain, int32_t x)
{
    return chain_carries_over(chain) && x != chain->mask;
}

/* Tweedie: p(x_s = y | x_t = x) ~ [exp(-D Q) s]_y P_D[x][y] with D = sigma_t - sigma_s. All weights
 * are multiplied by exp(-D), which keeps them finite at any D. OTHERS is the sum of s_y, y != x. */
static inline struct chain_law law_tweedie(const struct chain *chain, int32_t x, double delta,
                                           double others, bool exclude_mask)
{
    double moved = -expm1(-delta), alpha = exp(-delta);
    if (chain_frozen(chain, x))
        return (struct chain_law){.at = x, .at_weight = alpha};
    if (chain_carries_over(chain))
        return (struct chain_law){
            .at = x, .at_weight = exclude_mask ? 0.0 : alpha - moved * others, .scale = moved};
    double spread = moved / chain->tokens; /* P_D[x][y] */
    double pull = spread * (1.0 + others); /* what exp(-D Q) takes from each entry of s */
    return (struct chain_law){.at = x,
                              .at_weight = (1.0 - pull) * (alpha + spread),
                              .scale = spread,
                              .shift = -pull * spread};
}

/* Q[x][y], the same for every y != x that is a token: the reverse rate x -> y is Q[x][y] s_y. */
static inline double chain_entry_rate(const struct chain *chain, int32_t x)
{
    if (chain_frozen(chain, x))
        return 0.0;
    return chain_carries_over(chain) ? 1.0 : 1.0 / chain->tokens;
}

/* One-hot at x plus STEP times the reverse rate: the first-order step, whose weight of staying is
 * negative when STEP is too long. */
static inline struct chain_law law_euler_linear(const struct chain *chain, int32_t x, double step,
                                                double others)
{
    double rate = chain_entry_rate(chain, x);
    return (struct chain_law){
        .at = x, .at_weight = 1.0 - step * rate * others, .scale = step * rate};
}

/* At most one jump in a step of frozen rates: it happens with 1 - exp(-R STEP), to y in proportion
 * to the rates. */
static inline struct chain_law law_euler(const struct chain *chain, int32_t x, double step,
                                         double others)
{
    double total = step * chain_entry_rate(chain, x) * others;
    return (struct chain_law){
        .at = x, .at_weight = exp(-total), .scale = total > 0.0 ? -expm1(-total) / others : 0.0};
}

/* The last step, from SIGMA to clean data, before it is made positive: Tweedie without the mask,
 * which for a masked position is the score row itself. */
static inline struct chain_law law_decoder(const struct chain *chain, int32_t x, double sigma,
                                           double others)
{
    if (chain_carries_over(chain))
        return (struct chain_law){
            .at = x, .at_weight = x != chain->mask, .scale = x == chain->mask};
    return law_tweedie(chain, x, sigma, others, false);
}

/* Whether every token has a positive weight in a decoder of the uniform chain whose smallest score
 * is LEAST; the decoder of absorb needs no repair, being the score row itself. */
static inline bool law_positive(const struct chain_law *law, double least)
{
    return law->at_weight > 0.0 && law->scale * least + law->shift > 0.0;
}

/* Repairs a decoder that gives some token no chance: 1e-3 of the law s_y P_sigma[x][y] is mixed
 * into the clamped weights, of which TOTAL is the sum. The result sums to one. */
#define DECODER_MIX 1e-3
static inline struct chain_law law_soften(const struct chain *chain, struct chain_law law,
                                          const struct chain_noise *noise, double total,
                                          double others)
{
    double keep = total > 0.0 ? (1.0 - DECODER_MIX) / total : 0.0;
    double away = noise->moved / chain->tokens, stay = away + noise->alpha;
    double mix = DECODER_MIX / (stay + away * others);
    law.at_weight *= keep;
    law.scale *= keep;
    law.shift *= keep;
    law.at_mix = mix * stay;
    law.mix = mix * away;
    return law;
}

/* Where sampling under absorb starts when alpha(T) is not 0: a token of the score row with
 * probability alpha, else the mask. */
static inline struct chain_law law_base(const struct chain *chain, const struct chain_noise *noise,
                                        double others)
{
    return (struct chain_law){
        .at = chain->mask, .at_weight = noise->moved, .scale = noise->alpha / others};
}

#endif
