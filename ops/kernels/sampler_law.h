/* Laws of one position that samplers beside the reverse steps draw from, for flat chains, each a
 * `struct chain_law` over exp(log_p) or a score row; and the bounds of rates that thinning needs.
 * Kernels of ancestral, event, corrector, reveal use it; references compute by the definitions. */
#ifndef SEDGE_SAMPLER_LAW_H
#define SEDGE_SAMPLER_LAW_H

#include "ops/kernels/reverse_law.h"

/* What a reverse step needs of the chain: P at its start, at its end, and over it. */
struct step_transitions {
    struct transition t, s, d;
};

/* The step sigma_t -> sigma_s at x, of a flat chain. OTHERS: sum over real tokens x0 != x of the
 * law of x0; OWN: its share at x0 = x.
 *   posterior  w_y = P_d[x][y] (P_s v)_y, v = law / P_t[x][.]
 *   cavity     the same with v = law */
static inline struct chain_law ancestral_law(const struct step_transitions *p, int32_t x,
                                             bool cavity, double others, double own)
{
    bool masked = x == p->t.chain->mask;
    double from_other = cavity ? 1 : masked ? p->t.masked : p->t.other;
    double from_own = cavity ? 1 : p->t.same;
    double inverse = from_other > 0 ? 1 / from_other : 0;
    double at_own = masked || !(from_own > 0) ? 0 : own / from_own;
    double sum = others * inverse + at_own, shift = p->s.other * sum;
    double into = masked ? p->d.masked : p->d.other; /* P_d[x][y] */
    struct chain_law law = law_at(p->t.chain, x, p->d.kept * p->s.masked * sum);
    law.scale = into * p->s.stay * inverse;
    law.shift = into * shift;
    law.mask_weight = p->d.freed * p->s.masked * sum;
    if (!masked)
        law.at_weight = p->d.same * (p->s.stay * at_own + shift);
    return law;
}

/* The rates of the corrector at x, of a flat chain: Q[y][x] + Q[x][y] s_y. MASK: s at the mask.
 * Closed: each pair of states is in balance by itself, so that the law given a set of them is
 * left, too. */
static inline struct chain_law corrector_law(const struct chain *chain, int32_t x, double mask)
{
    const bool masked = x == chain->mask;
    struct chain_law law = law_at(chain, x, 0);
    law.scale = chain_entry_rate(chain, x);
    law.shift = (masked ? chain->release : chain->uniform) / chain->tokens;
    law.mask_weight = chain->absorb + chain->release / chain->tokens * mask;
    law.closed = true;
    return law;
}

/* The reverse rates Q[x][y] s_y alone. */
static inline struct chain_law rates_law(const struct chain *chain, int32_t x, double mask)
{
    struct chain_law law = law_at(chain, x, 0);
    law.scale = chain_entry_rate(chain, x);
    law.mask_weight = chain->release / chain->tokens * mask;
    return law;
}

/* The weight of staying that makes a jump happen with probability 1 - exp(-rate step). */
static inline double stay_weight(double rate, double step)
{
    return step > 0 ? rate / expm1(rate * step) : INFINITY;
}

/* A step of ReMDM (Wang, Schiff, Sahoo, Kuleshov 2025) at x of pure absorption, with the share
 * of tokens that are masked again bounded as it must be: R <= min(1, (1 - alpha_s) / alpha_t).
 * OTHERS: sum of the law of x0, which is 1 but for rounding. */
static inline struct chain_law remask_law(const struct step_transitions *p, int32_t x, double r,
                                          double others)
{
    double most = p->t.stay > 0 ? p->s.masked / p->t.stay : 1;
    r = r < 0 ? 0 : r > 1 ? 1 : r;
    r = r > most ? most : r;
    struct chain_law law = law_at(p->t.chain, x, 1 - r);
    law.mask_weight = r;
    if (x != p->t.chain->mask)
        return law;
    double stay = p->s.masked - r * p->t.stay;
    law.at_weight = (stay > 0 ? stay : 0) / p->t.masked * others;
    law.scale = (p->s.stay - p->t.stay + r * p->t.stay) / p->t.masked;
    return law;
}

/* An antiderivative over sigma of the largest total reverse rate at x, the largest over all x0 that
 * can lead to x, of a flat chain. For one x0
 *     sum_{y != x} Q[x][y] P[y][x0] / P[x][x0] = d/dsigma log P[x][x0] + leave(x),
 * and the largest is at a real token x0 != x, at every sigma. 0 where x never moves. */
static inline double hazard_integral(const struct transition *p, bool masked)
{
    const struct chain *chain = p->chain;
    if (masked)
        return log(p->masked) + chain->release * p->sigma;
    double n = chain->tokens, leave = chain->absorb + chain->uniform * (n - 1) / n;
    if (chain->uniform == 0)
        return 0;
    return log(n > 1 ? p->other : p->same) + leave * p->sigma;
}
/* Its derivative: the rate itself. */
static inline double hazard_rate(const struct transition *p, bool masked)
{
    const struct chain *chain = p->chain;
    if (masked)
        return chain->absorb * (1 - p->masked) / p->masked;
    if (chain->uniform == 0)
        return 0;
    double n = chain->tokens, freed = chain->release / n * p->masked;
    return n > 1 ? chain->uniform / n * (p->same / p->other + n - 2) + freed / p->other
                 : freed / p->same;
}

/* Rates above the bound by less are rounding of f32 scores: with a mask that nothing leads out of
 * the total rate is the bound itself. */
#define VIOLATION (1 + 1e-5)

/* How many positions of a sequence can have candidates: real tokens, and masks. */
struct hazard_counts {
    double tokens, masks;
};
static inline double hazard_total(const struct chain *chain, struct hazard_counts n, double sigma,
                                  bool rate)
{
    struct transition p = transition_flat(chain, sigma);
    double token = rate ? hazard_rate(&p, false) : hazard_integral(&p, false);
    double sum = n.tokens > 0 ? n.tokens * token : 0;
    if (n.masks > 0)
        sum += n.masks * (rate ? hazard_rate(&p, true) : hazard_integral(&p, true));
    return sum;
}

/* The next candidate below SIGMA: sigma' with the integral of the total rate over [sigma', sigma]
 * equal to TARGET, by Newton's method in log sigma' inside a bracket. A rate of 0, or a candidate
 * below 1e-300, gives 0. */
static inline double hazard_solve(const struct chain *chain, struct hazard_counts n, double sigma,
                                  double target)
{
    if (!(sigma > 0) || !(hazard_total(chain, n, sigma, true) > 0))
        return 0;
    double from = hazard_total(chain, n, sigma, false);
    double high = log(sigma), low = high - 1;
    for (double width = 1; from - hazard_total(chain, n, exp(low), false) < target; low -= width) {
        if (low < -690)
            return 0;
        high = low;
        width *= 2;
    }
    double z = (low + high) / 2;
    for (int i = 0; i < 200 && high - low > 1e-14 * (1 + fabs(z)); i++) {
        double at = exp(z), miss = from - hazard_total(chain, n, at, false) - target;
        if (miss < 0)
            high = z;
        else
            low = z;
        double next = z + miss / (at * hazard_total(chain, n, at, true));
        if (fabs(next - z) < 1e-15 * (1 + fabs(z)))
            break;
        z = next > low && next < high ? next : (low + high) / 2;
    }
    return exp(z);
}

/* The largest total reverse rate of each state of a table chain at P, over all x0 that can lead to
 * it, into MOST[states]. */
static inline void table_rate_limits(const struct transition *p, double *most)
{
    const struct rates *rates = p->chain->rates;
    for (int32_t x = 0; x < rates->states; x++) {
        most[x] = 0;
        for (int32_t x0 = 0; x0 < p->chain->tokens; x0++) {
            const double *column = p->p + (int64_t)x0 * rates->states;
            double sum = 0;
            if (!(column[x] > 0))
                continue;
            for (int64_t k = rates->into_start[x]; k < rates->into_start[x + 1]; k++)
                sum += rates->into_rate[k] * column[rates->of[k]];
            most[x] = sum / column[x] > most[x] ? sum / column[x] : most[x];
        }
    }
}

#endif
