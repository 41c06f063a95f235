/* The strict likelihood bound of a model on held-out sequences.
 *
 *     -log p(x0) <= integral over [t_min, 1] of g(t) E[score entropy] dt + base + reconstruction
 *
 * in nats a sequence, where p is the law of the reverse process in continuous time that starts from
 * the same base as the samplers, follows the same projected scores and ends with the same decoder (math of Lou, Meng, Ermon 2024, with the
 * pieces that the published estimator leaves out). The integral is estimated by stratified times:
 * one draw in each of TIMES equal parts of [t_min, 1], in two replicates of their own, whose
 * difference gives the Monte Carlo error; the error over sequences contains it. */
#ifndef SEDGE_RUNTIME_EVALUATE_H
#define SEDGE_RUNTIME_EVALUATE_H

#include "runtime/executor.h"

struct bound_plans {
    struct loaded *integrand;      /* inputs x0, t; output nats */
    struct loaded *base;           /* at t = 1 */
    struct loaded *reconstruction; /* at t = t_min */
};

struct bound_config {
    int64_t batch;     /* at most what the plans were made for */
    int64_t sequences; /* how many */
    int64_t times;
    int64_t length;
    double t_min;
    uint64_t seed;
};

/* Means a symbol, in nats, each with its standard error over sequences where that is known. */
struct bound {
    int64_t sequences, length;
    double integral, base, reconstruction;
    double nats;  /* their sum */
    double error; /* standard error of NATS: over sequences and Monte Carlo together */
    double
        error_noise;   /* the part of it that more noise draws on the same sequences would remove */
    double error_data; /* what remains: sqrt(error^2 - error_noise^2) */
    bool known;        /* the true likelihood is known */
    double truth;
    double gap, gap_error; /* NATS - TRUTH, paired */
    double *per_sequence;  /* nats a sequence, SEQUENCES of them */
};

/* Where the sequences come from. TRUTH may be NULL; it returns false where nothing is known. */
struct bound_source {
    void (*window)(void *context, int64_t index, int32_t *out);
    bool (*truth)(void *context, const int32_t *window, double *nats);
    bool (*stop)(void *context); /* asked between runs of a program; may be NULL */
    void *context;
};

/* False after reporting (a value that is not finite), or when it was stopped. */
bool bound_evaluate(struct diags *diags, struct arena *arena, const struct bound_plans *plans,
                    const struct bound_config *config, const struct bound_source *source,
                    struct bound *out);

#endif
