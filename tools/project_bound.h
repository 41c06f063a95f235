/* The likelihood bound of a project: its programs, what they are told, and the held-out windows
 * that they are summed over. What `train`, `eval`, `compare` and `bench` share. */
#ifndef SEDGE_TOOLS_PROJECT_BOUND_H
#define SEDGE_TOOLS_PROJECT_BOUND_H

#include "tools/project.h"

/* Which class bounds are told, from the key eval.label: of each window its own by default, if the
 * data has classes and the program `bound_integrand` takes one. False after reporting that it takes
 * none. */
bool project_tell_label(struct project *p, const char *label);

/* The programs of the bound, compiled for BATCH; then loaded, once the state is open. */
struct bound_plan_set {
    struct plan *integrand, *base, *reconstruction;
    struct plan *conditional; /* instead of these three, or NULL */
    struct plan *exact;       /* instead of all, of an autoregressive model */
};
bool project_bound_plans(struct project *p, int64_t batch, struct bound_plan_set *set);
/* The same with what a bound may need besides; false after reporting that the model cannot. */
struct bound_wish {
    bool terms;       /* integrand, base and reconstruction */
    bool conditional; /* what tokens cost where positions are masked: the program `order_step` */
    bool given;       /* positions may be given */
    bool label;       /* a class is told */
    bool by_position;
};
bool project_bound_wish(struct project *p, int64_t batch, const struct bound_wish *wish,
                        struct bound_plan_set *set);
bool project_bound_load(struct project *p, const struct bound_plan_set *set,
                        struct bound_plans *out);
/* Those that there are, for PLANS to hold; how many, at most BOUND_PLANS. */
#define BOUND_PLANS 5
uint32_t project_bound_list(const struct bound_plan_set *set, struct plan **plans);
/* Whether the likelihood of the model is known: its program `likelihood` takes the place of all of
 * these, and the first symbol of a window is given. */
bool project_exact(const struct project *p);
/* Whether the model has the programs of the bound; and whether it is taken while training. */
bool project_has_bound(const struct project *p);
bool project_evaluates(const struct project *p);
/* Where the integral of the bound starts; 0 in a model without it, of which no bound is planned. */
double project_t_min(const struct project *p);

/* Whether times of an estimate are placed by the share of tokens that noise has reached; else
 * evenly. */
bool project_has_clock(const struct project *p);
/* How SEQUENCES of the held-out windows, or all where there are fewer, are evaluated, by the keys
 * eval.…; what is asked for besides is the caller's to add, a seed first. */
struct bound_config project_bound_config(struct project *p, int64_t sequences);

/* COUNT of the held-out windows, spread evenly over all of them, as a source for bound_evaluate;
 * the context is the project. */
struct bound_source project_valid_source(struct project *p, int64_t count);

#endif
