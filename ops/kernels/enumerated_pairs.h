/* Pairs of neighbours in the list of all sequences; ops/enumerated.c says what they are for.
 * Kernels and references share this copy: what they add up is in double in both. */
#ifndef SEDGE_ENUMERATED_PAIRS_H
#define SEDGE_ENUMERATED_PAIRS_H

#include "ops/kernels/transition.h"

struct pair {
    const struct chain *chain;
    int64_t length;
    int64_t x, y;  /* rows */
    double px, py; /* their probabilities */
    double rate;   /* Q[x][y] of the position in which they differ: of the jump y -> x */
};

/* The pair of entry AT of log_score; false where x = y or the rate is zero: it adds nothing. */
static inline bool pair_at(struct pair *pair, int64_t at, const double *p)
{
    const int64_t states = pair->chain->states;
    int64_t b = at % states, i = at / states % pair->length, stride = 1;
    pair->x = at / states / pair->length;
    for (int64_t k = i + 1; k < pair->length; k++)
        stride *= states;
    int64_t a = pair->x / stride % states;
    pair->y = pair->x + (b - a) * stride;
    pair->px = p[pair->x];
    pair->py = p[pair->y];
    pair->rate = a == b ? 0 : chain_rate(pair->chain, (int32_t)a, (int32_t)b);
    return pair->rate > 0;
}

typedef double pair_term(const struct pair *pair, double log_score);

static inline double pair_implicit(const struct pair *pair, double log_score)
{
    return pair->rate * (pair->px * exp(log_score) - (pair->py > 0 ? pair->py * log_score : 0));
}
static inline double pair_plain(const struct pair *pair, double log_score)
{
    double constant = pair->py > 0 ? pair->py * (log(pair->py / pair->px) - 1) : 0;
    return pair_implicit(pair, log_score) + pair->rate * constant;
}
static inline double pair_slope(const struct pair *pair, double log_score)
{
    return pair->rate * (pair->px * exp(log_score) - pair->py);
}

#endif
