/* Models over spaces of sequences small enough to list, so that every expectation is a sum: the
 * terms of the likelihood bound by the programs of models/, and the law of the sampler that the
 * bound is of. Used by tests of bounds and of exact samplers.
 *
 * A sequence is a number whose digits are its tokens, the first position lowest: base `tokens` for
 * clean sequences, base `states` for noisy ones. */
#ifndef SEDGE_TESTS_LITTLE_H
#define SEDGE_TESTS_LITTLE_H

#include "graph/process.h"
#include "runtime/loop.h"
#include "tests/ops/enumeration.h"
#include "tests/support/rig.h"

#define LITTLE_CLEAN 32 /* at most so many clean sequences */
#define LITTLE_NOISY 64

/* Rates that several tests are about. Matrices that are not symmetric: dense ones without and with
 * a mask, and a cycle. With them Q[x][y] and Q[y][x] cannot be confused. */
#define LITTLE_DENSE "{matrix: [[-0.9, 0.5, 0.2], [0.6, -0.8, 1.1], [0.3, 0.3, -1.3]]}"
#define LITTLE_MASKED "{matrix: [[-1.1, 0.2, 0.1], [0.3, -0.9, 0.3], [0.8, 0.7, -0.4]]}"
#define LITTLE_CYCLE "{matrix: [[-1, 0, 1], [1, -1, 0], [0, 1, -1]]}"
#define LITTLE_LEAVES "{mix: {absorb: 0.7, uniform: 0.3, mask_leaves: true}}"
#define LITTLE_STAYS "{mix: {absorb: 0.8, uniform: 0.2, mask_leaves: false}}"

enum little_head { HEAD_SCORE, HEAD_POSTERIOR, HEAD_CAVITY };

struct little_setup {
    const char *shipped;   /* a model of models/; NULL: a small network on the shipped fragments */
    enum little_head head; /* of the latter */
    const char *rate, *base; /* as in YAML; base NULL: what the chain ends in */
    int tokens, length;
    double low, high;  /* noise: geometric from low to high */
    const char *noise; /* another schedule, as in YAML, that ends at high; or NULL */
    bool scores_given; /* the test gives the projected scores, by little_scores */
    bool raw;          /* scores are not projected */
    bool first_known;  /* the first position is given: the bound is that of the others */
    bool train;        /* the program `train` is wanted, with gradients */
    int64_t batch;     /* sequences that the sampler draws at once; 0: none is compiled */
};

struct little {
    struct rig rig;
    struct little_setup setup;
    const struct chain *chain;
    int clean, noisy; /* numbers of sequences */
    double t_min;     /* where the integral ends */
    int32_t *all;     /* the noisy sequences */
    int32_t *x, *x0;  /* of all pairs: row x0 * noisy + x */
    uint8_t *fixed;   /* of those rows: positions that are given */
    float *log_score; /* with scores_given: of every row */
    struct loaded *integrand, *base, *reconstruction, *scores, *train;
    struct looper *looper;
};

void little_open(struct little *w, const struct little_setup *setup);
void little_close(struct little *w);

double little_sigma(const struct little *w, double t);
/* exp(sigma Q) of all positions, P that of one: from X0 (clean) to X (noisy). */
double little_moved(const struct little *w, const struct matrix *p, int x, int x0);
/* Where p0 goes: OUT over the noisy sequences. */
void little_noised(const struct little *w, double sigma, const double *p0, double *out);
/* Gives all rows the exact log scores of P, a law over the noisy sequences. */
void little_scores(struct little *w, const double *p);

/* For each x0, the expectation of a program's nats over the noisy sequences at time T. With the law
 * P0 of the clean sequences, and scores_given, at its exact score. */
void little_expect(struct little *w, struct loaded *program, double t, const double *p0,
                   double *out);
/* The integral over [t_min, 1] by 8-point Gauss-Legendre quadrature on PANELS even stretches. */
void little_integral(struct little *w, int panels, const double *p0, double *out);
/* Its three terms, by the model's own scores. */
void little_bound(struct little *w, int panels, double *out);

/* The law of the clean sequences that the model generates: its base, carried back by the reverse
 * rates of its scores (Kolmogorov's equation by STEPS steps of Runge and Kutta), then
 * decoded. Geometric noise. */
void little_law(struct little *w, int steps, double *out);
/* How often the loop `exact` ends in each clean sequence, of RUNS batches; rates above the bound of
 * a thinning sampler are asserted not to occur. */
void little_histogram(struct little *w, int runs, int64_t *count);

/* The mean loss of `train` over all pairs at time T; gradients are in the rows grad/NAME. Needs
 * `train`. */
double little_train(struct little *w, double t);

#endif
