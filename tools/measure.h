/* One run measured on held-out data: what `eval`, `compare` and `bench` share. */
#ifndef SEDGE_TOOLS_MEASURE_H
#define SEDGE_TOOLS_MEASURE_H

#include "tools/project_bound.h"

struct measured {
    struct project p;
    struct bound_plans plans;
    const char *run; /* the folder */
    char *weights;   /* path of the checkpoint */
    bool averaged;
    const struct estimator *estimator;
    bool time_free;       /* the network does not look at sigma */
    const bool *given;    /* [length]; NULL: nothing */
    bool but_one;         /* each window gives all but one position */
    const int32_t *order; /* positions in the order in which they are revealed; NULL: none */
    bool exact;           /* the likelihood is known, and estimators are not asked */
    bool apart;           /* draws do not share their noise, as those of another run cannot */
    bool all;             /* load what every estimator needs that the model can serve */
    struct bound b;
    struct bound strict; /* of the published protocol: the strict bound beside it */
};

/* Opens the run, with its data or with that of `--data`; warns where the data has changed. */
bool measure_open(struct measured *m, struct command_line *line, const char *run);
/* Reads what is asked for (the keys eval.…, the option `--order` where the command has it),
 * compiles and loads. BY_POSITION: costs of each position too. */
bool measure_load(struct measured *m, bool by_position);
/* What of each window is given, [length], the first symbol where the likelihood is exact; NULL:
 * nothing, or not the same of each. */
const bool *measure_given(struct measured *m);
/* Evaluates; false after reporting, or when a signal came. */
bool measure_run(struct measured *m, const struct estimator *estimator, bool by_position,
                 struct bound *out);

/* Network and rule, for print: "exact-k (sigma_k)". */
const char *measure_rule_name(const struct measured *m, const struct estimator *estimator);
/* The same of what was asked for, which may be an order. */
const char *measure_estimator_name(const struct measured *m);
/* What was measured and how, in a sentence. */
char *measure_protocol(const struct measured *m);

#endif
