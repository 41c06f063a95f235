/* The laws that reverse steps draw from, in double; kernels and references share this one copy.
 * P, s and the other names: ops/kernels/transition.h. Campbell et al. 2022 for the reverse rates,
 * Lou, Meng, Ermon 2024 for the Tweedie step.
 *
 * Flat chains: a law is a function of the score row, `struct chain_law`. Table chains: a row of
 * weights. */
#ifndef SEDGE_REVERSE_LAW_H
#define SEDGE_REVERSE_LAW_H

#include "ops/kernels/transition.h"

/* An unnormalised law over the states: a state y that is neither AT nor MASK has the weight
 * max(0, scale s_y + shift) + mix s_y; those two have their own numbers.
 *
 * Where a law is CLOSED, a token of score 0 has the weight 0, whatever the shift: a token that
 * cannot be there at sigma_t cannot at less noise either. The caller gives that score to tokens
 * that it does not allow. */
struct chain_law {
    int32_t at;   /* the current state; -1: there is none */
    int32_t mask; /* the mask where it is not the current state, else -1 */
    double at_weight, at_mix;
    double mask_weight;
    double scale, shift, mix;
    bool closed;
};

/* Before clamping; what the tests compare, and may be negative. Laws with a mix have no such
 * form. */
static inline double law_raw(const struct chain_law *law, int32_t y, double score)
{
    if (y == law->at)
        return law->at_weight;
    if (y == law->mask)
        return law->mask_weight;
    return law->scale * score + (law->closed && score == 0 ? 0.0 : law->shift);
}

static inline double law_weight(const struct chain_law *law, int32_t y, double score)
{
    double raw = law_raw(law, y, score);
    double mix = y == law->at ? law->at_mix : y == law->mask ? 0.0 : law->mix * score;
    return (raw > 0.0 ? raw : 0.0) + mix;
}

/* What a law needs of a score row besides its entries: the sum over the tokens y != x, and s_M
 * (anything where x is the mask or there is none). */
struct score_sums {
    double others, mask;
};

static inline struct chain_law law_at(const struct chain *chain, int32_t x, double weight)
{
    return (struct chain_law){
        .at = x, .mask = x == chain->mask ? -1 : chain->mask, .at_weight = weight};
}

/* s_y itself at every state but the current one: what the sums of a row are made of. */
static inline struct chain_law law_at_each(const struct chain *chain, int32_t x)
{
    struct chain_law law = law_at(chain, x, 0);
    law.scale = 1;
    return law;
}

/* Tweedie: p(x_s = y | x_t = x) ~ [exp(-D Q) s]_y P_D[x][y] with D = sigma_t - sigma_s. All weights
 * are multiplied by exp(-k D), k = transition_back_rate, which keeps them finite at any D. */
static inline struct chain_law law_tweedie(const struct chain *chain, int32_t x, double delta,
                                           struct score_sums sums, bool exclude_mask)
{
    struct transition to = transition_flat(chain, delta), back = transition_back(chain, delta);
    if (chain_frozen(chain, x))
        return law_at(chain, x, to.stay);
    const bool from_mask = x == chain->mask;
    double sum = sums.others + (from_mask ? 0.0 : 1.0), mask = from_mask ? 1.0 : sums.mask;
    double shift = back.other * sum + back.freed * (chain->mask >= 0 ? mask : 0.0);
    double before = chain->mask >= 0 && !exclude_mask ? back.masked * sum + back.kept * mask : 0.0;
    double each = from_mask ? to.masked : to.other;
    struct chain_law law = law_at(chain, x, 0);
    law.at_weight = from_mask ? before * to.kept : (back.stay + shift) * to.same;
    law.mask_weight = from_mask ? 0.0 : before * to.freed;
    law.scale = back.stay * each;
    law.shift = shift * each;
    law.closed = true;
    return law;
}

/* Q[x][y] of the tokens y != x: the reverse rate x -> y is Q[x][y] s_y. */
static inline double chain_entry_rate(const struct chain *chain, int32_t x)
{
    return x == chain->mask ? chain->absorb : chain->uniform / chain->tokens;
}
/* Q[x][M] s_M. */
static inline double chain_mask_rate(const struct chain *chain, int32_t x, struct score_sums sums)
{
    return x != chain->mask && chain->release > 0 ? chain->release / chain->tokens * sums.mask : 0;
}

/* One-hot at x plus STEP times the reverse rate: the first-order step, whose weight of staying is
 * negative when STEP is too long. */
static inline struct chain_law law_euler_linear(const struct chain *chain, int32_t x, double step,
                                                struct score_sums sums)
{
    double rate = chain_entry_rate(chain, x), masked = chain_mask_rate(chain, x, sums);
    struct chain_law law = law_at(chain, x, 1.0 - step * (rate * sums.others + masked));
    if (chain_frozen(chain, x))
        return law_at(chain, x, 1.0);
    law.mask_weight = step * masked;
    law.scale = step * rate;
    return law;
}

/* At most one jump in a step of frozen rates: it happens with 1 - exp(-R STEP), to y in proportion
 * to the rates. */
static inline struct chain_law law_euler(const struct chain *chain, int32_t x, double step,
                                         struct score_sums sums)
{
    double rate = chain_entry_rate(chain, x), masked = chain_mask_rate(chain, x, sums);
    if (chain_frozen(chain, x))
        return law_at(chain, x, 1.0);
    double total = rate * sums.others + masked;
    struct chain_law law = law_at(chain, x, exp(-total * step));
    double jump = total * step > 0.0 ? -expm1(-total * step) / total : 0.0;
    law.scale = jump * rate;
    law.mask_weight = jump * masked;
    return law;
}

/* The last step, from SIGMA to clean data, before it is made positive: Tweedie without the mask.
 * From a mask all tokens have one factor P[M][y], which is left out: absorb draws from the score
 * row itself, at any sigma. */
static inline struct chain_law law_decoder(const struct chain *chain, int32_t x, double sigma,
                                           struct score_sums sums)
{
    if (chain_frozen(chain, x))
        return law_at(chain, x, 1.0);
    if (x != chain->mask)
        return law_tweedie(chain, x, sigma, sums, true);
    struct chain_law law = law_at(chain, x, 0);
    law.scale = 1;
    if (chain_carries_over(chain))
        return law;
    struct transition back = transition_back(chain, sigma);
    law.scale = back.stay;
    law.shift = back.other * sums.others + back.freed;
    law.closed = true;
    return law;
}

/* Whether every token has a positive weight in a decoder whose smallest score is LEAST. */
static inline bool law_positive(const struct chain *chain, const struct chain_law *law,
                                double least)
{
    return chain_frozen(chain, law->at) || ((law->at == chain->mask || law->at_weight > 0.0) &&
                                            law->scale * least + law->shift > 0.0);
}

/* Repairs a decoder that gives some token no chance: 1e-3 of the law s_y P_sigma[x][y] is mixed
 * into the clamped weights, of which TOTAL is the sum; where that is nothing, it is all there is.
 * The result sums to one. */
#define DECODER_MIX 1e-3
static inline struct chain_law law_soften(const struct chain *chain, struct chain_law law,
                                          double sigma, double total, double others)
{
    struct transition p = transition_flat(chain, sigma);
    double share = total > 0.0 ? DECODER_MIX : 1.0;
    double keep = total > 0.0 ? (1.0 - share) / total : 0.0;
    double away = law.at == chain->mask ? 1.0 : p.other;
    double stay = law.at == chain->mask ? 0.0 : p.same;
    double mix = share / (stay + away * others);
    law.at_weight *= keep;
    law.scale *= keep;
    law.shift *= keep;
    law.at_mix = mix * stay;
    law.mix = mix * away;
    return law;
}

/* Where sampling starts when the forward chain has not all come to the mask (chain_leaks): a token
 * of the score row with the probability of that, else the mask. */
static inline struct chain_law law_base(const struct chain *chain, double sigma, double others)
{
    struct chain_law law = law_at(chain, chain->mask, -expm1(-chain->absorb * sigma));
    law.scale = exp(-chain->absorb * sigma) / others;
    return law;
}

/* Table chains. SCORE is the row of s_y, with 1 at x; WEIGHTS, TERM and NEXT have room for as
 * many. */
struct table_law {
    double *score, *weights, *term, *next;
};

/* exp(-delta Q) s of BACK_GROUP positions side by side, [states][BACK_GROUP]: BACK holds the
 * scores first and the result afterwards; TERM and NEXT are room. */
#define BACK_GROUP TABLE_SIDE
struct back_group {
    double *back, *term, *next;
};

/* Position I of the group. */
static inline void back_put(const struct back_group *group, int i, const double *row,
                            int32_t states)
{
    for (int32_t y = 0; y < states; y++)
        group->back[y * BACK_GROUP + i] = row[y];
}
static inline void back_take(const struct back_group *group, int i, double *row, int32_t states)
{
    for (int32_t y = 0; y < states; y++)
        row[y] = group->back[y * BACK_GROUP + i];
}

/* By its series: |Q| delta of 2 costs a digit, 20 all of them, and beyond BACK_MOST it would not
 * even be finite: the scores then stay as they are, so that what follows goes by s_y P[x][y]. How
 * many terms there are is a matter of delta alone, so that a position has the same digits in any
 * company. */
#define BACK_MOST 300.0
static inline void table_back(const struct rates *rates, double delta,
                              const struct back_group *group)
{
    const double lambda = 2 * delta * rates->fastest; /* |Q| delta */
    double last, *term = group->term, *next = group->next;
    const int64_t terms = lambda < BACK_MOST ? table_terms(lambda, &last) : 0;
    memcpy(term, group->back, (size_t)rates->states * sizeof(table_side));
    for (int64_t k = 1; k <= terms && delta > 0; k++) {
        for (int32_t y = 0; y < rates->states; y++) {
            const int64_t at = (int64_t)y * BACK_GROUP;
            table_side back, moved;
            table_side_product(rates, term, y, -rates->leave[y], &moved);
            moved *= -delta / (double)k;
            memcpy(next + at, &moved, sizeof moved);
            memcpy(&back, group->back + at, sizeof back);
            back += moved;
            memcpy(group->back + at, &back, sizeof back);
        }
        double *swap = term;
        term = next;
        next = swap;
    }
}

/* What `closed` is to a flat chain: whether Y, of score SCORE, has no weight. */
static inline bool table_closed(const struct chain *chain, int32_t y, double score)
{
    return score == 0 && y != chain->mask;
}

/* The Tweedie weights. TO is P_D, of which every column is needed; WEIGHTS are exp(-D Q) s. */
static inline void table_tweedie(const struct transition *to, int32_t x, bool exclude_mask,
                                 const struct table_law *law)
{
    const struct chain *chain = to->chain;
    for (int32_t y = 0; y < chain->states; y++)
        law->weights[y] *= table_closed(chain, y, law->score[y]) ? 0 : transition_at(to, x, y);
    if (exclude_mask && chain->mask >= 0)
        law->weights[chain->mask] = 0;
}

/* The reverse rates out of x, 0 at x; returns their sum. */
static inline double table_rates(const struct chain *chain, int32_t x, const struct table_law *law)
{
    const struct rates *rates = chain->rates;
    double total = 0;
    for (int32_t y = 0; y < chain->states; y++)
        law->weights[y] = 0;
    for (int64_t k = rates->into_start[x]; k < rates->into_start[x + 1]; k++)
        total += law->weights[rates->of[k]] = rates->into_rate[k] * law->score[rates->of[k]];
    return total;
}

static inline void table_euler_linear(const struct chain *chain, int32_t x, double step,
                                      const struct table_law *law)
{
    double total = table_rates(chain, x, law);
    for (int32_t y = 0; y < chain->states; y++)
        law->weights[y] *= step;
    law->weights[x] = 1 - step * total;
}

static inline void table_euler(const struct chain *chain, int32_t x, double step,
                               const struct table_law *law)
{
    double total = table_rates(chain, x, law), stay = exp(-total * step);
    for (int32_t y = 0; y < chain->states; y++)
        law->weights[y] *= total > 0 ? -expm1(-total * step) / total : 0;
    law->weights[x] = stay;
}

/* The decoder, clamped, repaired where a token that could have led to x has no chance, summing to
 * one. P is P_sigma, of which every column is needed; WEIGHTS are exp(-sigma Q) s. */
static inline void table_decoder(const struct transition *p, int32_t x, const struct table_law *law)
{
    const struct chain *chain = p->chain;
    double total = 0, mixed = 0;
    bool positive = true;
    table_tweedie(p, x, true, law);
    for (int32_t y = 0; y < chain->tokens; y++) {
        double prior = law->score[y] * transition_at(p, x, y);
        positive = positive && (law->weights[y] > 0 || !(prior > 0));
        law->weights[y] = law->weights[y] > 0 ? law->weights[y] : 0;
        total += law->weights[y];
        mixed += prior;
    }
    double share = positive || !(mixed > 0) ? 0 : total > 0 ? DECODER_MIX : 1;
    double mix = share > 0 ? share / mixed : 0, keep = total > 0 ? (1 - share) / total : 0;
    for (int32_t y = 0; y < chain->tokens; y++)
        law->weights[y] = keep * law->weights[y] + mix * law->score[y] * transition_at(p, x, y);
}

/* KL(P_sigma[., x0] || base) for chains that do not leak: the sum over y of base_y h(P / base - 1),
 * h(e) = (1 + e) log(1 + e) - e, whose terms are never negative. Infinite where the base rules out
 * a state that is reached. */
static inline double base_excess(double p, double base)
{
    if (!(base > 0))
        return p > 0 ? INFINITY : 0;
    double e = p / base - 1;
    return base * (e > -1.0 ? (1.0 + e) * log1p(e) - e : 1.0);
}
static inline double base_divergence(const struct transition *p, int32_t x0)
{
    const struct chain *chain = p->chain;
    if (chain->kind == CHAIN_FLAT && !chain->base) { /* all tokens but x0 are alike */
        double others = chain->tokens - 1, each = chain_base(chain, 0);
        double sum = base_excess(p->same, each) + others * base_excess(p->other, each);
        return chain->mask < 0 ? sum : sum + base_excess(p->masked, chain_base(chain, chain->mask));
    }
    double sum = 0;
    for (int32_t y = 0; y < chain->states; y++)
        sum += base_excess(transition_at(p, y, x0), chain_base(chain, y));
    return sum;
}

/* The same for chains that leak, against law_base: the mask has its share in both; what has not
 * come to it, eps = exp(-absorb sigma), costs the divergence of where it is from the score row q:
 *     eps (sum over y of k_y log k_y - k_y log q_y),   k_y = P[y][x0] / eps.
 * LOG_Q0 is that of x0, LOG_SUM the sum over the tokens. */
static inline double leak_divergence(const struct transition *p, double log_q0, double log_sum)
{
    const struct chain *chain = p->chain;
    double eps = exp(-chain->absorb * p->sigma);
    double same = p->same / eps, other = p->other / eps;
    if (!(eps > 0))
        return 0;
    if (!(other > 0))
        return -eps * log_q0;
    return eps * (same * log(same) + (chain->tokens - 1) * other * log(other) -
                  (same - other) * log_q0 - other * log_sum);
}

#endif
