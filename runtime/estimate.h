/* How the integral of the bound is estimated from few noisy copies of each sequence.
 *
 * An estimator is one value: where its draws lie. Draw k of n of a sequence lies at place(u, k, n)
 * in [0, 1), u uniform. Averaged over u and k that place is uniform, so each estimator is unbiased;
 * they differ in variance. A place is then a time, by the clock below, or, for estimators that
 * COUNT, a number of masked positions, 1 + floor(free place), FREE being the positions that are not
 * given.
 *
 * Estimators that are TURNED share one uniform number for each position of a sequence between its
 * draws. Draw k adds to it, around the unit circle, minus the sum of the noised shares 1 - alpha of
 * the draws before it; as it is small numbers that noise, each position is then noised about as
 * often as the mean says, at noises that are spread evenly: systematic sampling (Madow 1949). Every
 * draw by itself has the law of independent noise, so that nothing is biased.
 *
 * By times (Lou, Meng, Ermon 2024):  integral over [low, 1] of g(t) E[score entropy] dt
 * By counts (Ou et al. 2024, RADD):  L E_k[(1/k) sum over exactly k masked of -log p(x0 | x)], the
 *   cost of the sampler that reveals one masked position after the other, chosen uniformly. It is
 *   the whole bound: the base is all masks and the last token is revealed like all others. */
#ifndef SEDGE_RUNTIME_ESTIMATE_H
#define SEDGE_RUNTIME_ESTIMATE_H

#include "graph/base/random.h"

#include <stdbool.h>
#include <stdint.h>

struct estimator {
    const char *name; /* as `eval.estimator` says it */
    double (*place)(double u, int64_t k, int64_t n);
    bool shared;    /* one u for all draws of a sequence and replicate */
    bool counts;    /* draws numbers of masked positions */
    bool even;      /* places are times, without a clock */
    bool turned;    /* draws of a sequence share their noise, turned */
    bool published; /* the protocol of the reference code: no strict bound */
};
extern const struct estimator estimators[]; /* the first is the default */
extern const uint32_t estimator_count;

/* NULL: there is none of that name. A NULL name is the default. */
const struct estimator *estimator_find(const char *name);

/* A piecewise linear map of places to times, dense where noise is little: most of its density is
 * even in the square root of the noised share 1 - alpha(t), the rest in t. A token that is noised
 * alone costs of order 1 / (1 - alpha), so that the second moment of what a draw adds is of that
 * order too, and the density of least variance of the order of its root. The slope of a linear
 * piece is known exactly, whatever its ends: no estimate is biased by it. */
#define CLOCK_PARTS 256
struct estimate_clock {
    double at[CLOCK_PARTS + 1]; /* times, from low to 1 */
};
/* NOISED gives 1 - alpha at a time, non-decreasing; NULL: all places are times. */
void clock_init(struct estimate_clock *clock, double low, double (*noised)(void *context, double t),
                void *context);
/* The time of a place in [0, 1), and in *SLOPE the derivative there. */
double clock_time(const struct estimate_clock *clock, double place, double *slope);

/* Where draw K of N of a sequence lies, in [0, 1). REPLICATE tells independent repetitions
 * apart. */
double estimator_place(const struct estimator *e, struct random_key key, uint32_t replicate,
                       uint32_t sequence, int64_t k, int64_t n);

/* Chooses COUNT of the positions where GIVEN is false (GIVEN may be NULL), each set of that size as
 * likely as any other, and marks them in HIDDEN [LENGTH]. */
void hide_positions(struct random_key key, uint32_t iteration, uint32_t sequence, int64_t count,
                    const bool *given, int64_t length, bool *hidden);

/* A uniformly drawn order of FREE positions: OUT holds a permutation of what it held. */
void shuffle_positions(struct random_key key, uint32_t iteration, uint32_t sequence, int32_t *out,
                       int64_t count);

#endif
