/* The strict likelihood bound of a model on held-out sequences.
 *
 *     -log p(x0) <= integral over [t_min, 1] of g(t) E[score entropy] dt + base + reconstruction
 *
 * in nats a sequence, where p is the law of the reverse process in continuous time that starts from
 * the same base as the samplers, follows the same projected scores and ends with the same decoder
 * (math of Lou, Meng, Ermon 2024, with the pieces that the published estimator leaves out). How the
 * integral is estimated is the estimator's (runtime/estimate.h). Everything is done in two
 * replicates of their own, whose difference gives the Monte Carlo error; the error over sequences
 * contains it.
 *
 * Positions may be GIVEN: they are never noised and cost nothing, and the bound is that of the rest
 * given them. What is counted as a symbol is then a position that is not given. */
#ifndef SEDGE_RUNTIME_EVALUATE_H
#define SEDGE_RUNTIME_EVALUATE_H

#include "runtime/estimate.h"
#include "runtime/executor.h"

struct bound_plans {
    /* Inputs x0 and t, fixed where something is given, label where one is told, and turn where
     * there is one; output nats, and by_position if wanted. */
    struct loaded *integrand;
    struct loaded *base;           /* at t = 1 */
    struct loaded *reconstruction; /* at t = t_min */
    /* Inputs x0, hidden, scored, sigma: the network sees masks where HIDDEN; nats are minus the
     * log-probabilities of the tokens where SCORED. For estimators that count, and orders. */
    struct loaded *conditional;
    /* Instead of all these, of an autoregressive model: inputs x0 and scored; nats are minus the
     * log-probabilities of the tokens where SCORED, each given all before it. */
    struct loaded *exact;
};

struct bound_config {
    int64_t batch;     /* at most what the plans were made for */
    int64_t sequences; /* how many */
    int64_t times;     /* draws of a sequence and replicate */
    int64_t length;
    double t_min;
    uint64_t seed;
    const struct estimator *estimator; /* NULL: the default */
    const bool *given;                 /* [length]; NULL: none */
    /* Instead: given is all but one position, which moves from sequence to sequence. */
    bool but_one;
    bool by_position;
    /* 1 - alpha at a time, which says where times are best placed; NULL: not known. */
    double (*noised)(void *context, double t);
    void *noised_context;
    bool evenly; /* times are placed evenly all the same */
    /* Draws of a sequence do not share their noise: for what is compared with plans that cannot. */
    bool apart;
};

/* Means a symbol, in nats, each with its standard error over sequences where that is known: sums
 * over sequences divided by the symbols that they have, and errors to first order. */
struct bound {
    int64_t sequences, length;
    double free;   /* symbols of a sequence that are not given, on average */
    int64_t calls; /* network calls for a sequence */
    double integral, base, reconstruction;
    double integral_error, base_error, reconstruction_error; /* each over sequences */
    double nats;                                             /* their sum */
    double error; /* standard error of NATS: over sequences and Monte Carlo together */
    /* The part of it that more noise draws on the same sequences would remove, and what remains:
     * sqrt(error^2 - error_noise^2). Both are estimates: where noise seems to be all there is, the
     * second is NAN. */
    double error_noise, error_data;
    double integral_noise; /* ERROR_NOISE of the integral alone */
    bool known;            /* the true likelihood is known */
    double truth;
    double gap, gap_error;      /* NATS - TRUTH, paired */
    double *per_sequence;       /* nats a sequence, SEQUENCES of them */
    double *per_sequence_noise; /* standard errors of noise of these */
    double *integral_squares;   /* nats^2 a sequence: squares of the errors of its integral alone */
    double *truths;             /* per sequence; meaningful where KNOWN */
    double *symbols;            /* of each sequence, not given */
    /* Mean nats over the sequences in which the position is not given, LENGTH of them; NAN: there
     * is none. NULL: not asked for. */
    double *per_position;
};

/* Whether draws of a sequence may share their noise: the plans take an input `turn`, or do not draw
 * times. */
bool bound_may_turn(const struct bound_plans *plans);

/* Where the sequences come from. TRUTH is that of what is not GIVEN (NULL: nothing is); it may be
 * NULL, and returns false where nothing is known. LABEL may be NULL; else it is the class that the
 * programs are told, and what is known is CLASS_TRUTH. */
struct bound_source {
    void (*window)(void *context, int64_t index, int32_t *out);
    bool (*truth)(void *context, const int32_t *window, const bool *given, double *nats);
    bool (*stop)(void *context); /* asked between runs of a program; may be NULL */
    void *context;
    int32_t (*label)(void *context, int64_t index);
    bool (*class_truth)(void *context, int32_t label, const int32_t *window, const bool *given,
                        double *nats);
    /* Marks what of the sequence is given besides, as padding is; may be NULL. */
    void (*given)(void *context, int64_t index, bool *given);
};

/* False after reporting (a value that is not finite: FAULT_RUN; every symbol is given: FAULT_DATA),
 * or when it was stopped. With an EXACT plan it
 * is the likelihood itself, by one network call: NATS is the only term, and there is no noise in
 * it. The first position must then be given, as nothing says how likely it is. */
bool bound_evaluate(struct diags *diags, struct arena *arena, const struct bound_plans *plans,
                    const struct bound_config *config, const struct bound_source *source,
                    struct bound *out);

/* The exact -log p of the sampler that reveals positions in a fixed ORDER, one network call for
 * each: minus the sum over k of log p(x0 at order[k] | x0 at order[0 .. k-1], the rest masked).
 * ORDER lists the positions that are not given. It is a density: over all x0 exp(-nats) adds up to
 * 1. NATS is the only term of OUT; there is no noise in it. */
bool order_evaluate(struct diags *diags, struct arena *arena, const struct bound_plans *plans,
                    const struct bound_config *config, const int32_t *order,
                    const struct bound_source *source, struct bound *out);

/* Of two bounds of the same sequences with the same noise: the mean of B - A a symbol, and its
 * standard error from the differences of each sequence. */
void bound_compare(const struct bound *a, const struct bound *b, double *difference, double *error);

/* Of two estimates of the integrals of the same sequences, with as many calls each: the calls of A
 * for the noise of B, as a share of those of B. That is the ratio of their noise squared. *ERROR:
 * its standard error, to first order, by how the squares vary from sequence to sequence. */
double bound_share_of_calls(const struct bound *a, const struct bound *b, double *error);

#endif
