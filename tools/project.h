/* A recipe brought to life: its data, its model at the right vocabulary, the plans and the state.
 * What `train`, `eval`, `sample` and `bench` share. */
#ifndef SEDGE_TOOLS_PROJECT_H
#define SEDGE_TOOLS_PROJECT_H

#include "runtime/data/dataset.h"
#include "runtime/evaluate.h"
#include "runtime/folder.h"
#include "runtime/train.h"
#include "tools/session.h"

struct project {
    struct command_line *line;
    struct arena *arena;
    struct diags *diags;
    struct recipe *recipe;
    struct session s;
    struct dataset *data; /* NULL when it was not asked for (then VOCABULARY is given) */
    const struct vocabulary *vocabulary;
    int64_t length;
    int64_t *step; /* the row cursor/step, once the state is open */
    uint32_t cursor;
    struct plan *plans[24];
    uint32_t plan_count;
    int64_t spread; /* of how many windows a held-out sample consists */
    bool told;      /* bounds are given a label: */
    int32_t label;  /* this one, or -1: of each window its own */
};

/* Reads the recipe at PATH with the overrides of the command line, opens its data unless
 * WITHOUT_DATA (VOCABULARY then gives the alphabet; with data it may be NULL), and reads the model
 * at that vocabulary. False after reporting. */
bool project_open(struct project *p, struct command_line *line, const char *path,
                  const struct vocabulary *vocabulary, bool without_data);

/* Where a data file named by the recipe lies: from here, beside the recipe, or among what is
 * installed; NAME itself when it is nowhere. Needs the arena and the recipe only. */
const char *project_data_file(const struct project *p, const char *name);

/* Opens the run folder PATH: its config.yaml and vocabulary.json. */
bool project_open_run(struct project *p, struct command_line *line, const char *path);
/* Then its data, or DATA_FILES instead (NULL-terminated; or NULL). */
bool project_run_data(struct project *p, const char *const *data_files);
/* Or only the language that it learns, or those of its classes, if all are known and still those of
 * HASH (of the record): text is not read to sample. */
bool project_run_grammar(struct project *p, const char *hash);

/* Compile one program and remember its plan; NULL after reporting. */
struct plan *project_plan(struct project *p, const char *program, int64_t batch,
                          const char *const *bind, uint32_t bind_count);
/* The gradient plan of `train` and the update plan. */
bool project_training_plans(struct project *p, struct plan **gradient, struct plan **update);

/* After all plans are compiled: maps and initialises the state that they use, and with CURSOR the
 * row of the step. */
bool project_state(struct project *p, bool cursor);
/* Fills it from a run's checkpoint: `last`, `best`, or a file. *PATH: which one. Weights that are
 * not finite are an error: they draw tokens and add up to bounds all the same, which mean nothing.
 */
bool project_weights(struct project *p, const char *run, const char *which, char **path);

/* Which class bounds are told, from the key eval.label: of each window its own by default, if the
 * data has classes and the program `bound_integrand` takes one. False after reporting that it takes
 * none. */
bool project_tell_label(struct project *p, const char *label);

/* The programs of the bound, compiled for BATCH; then loaded, once the state is open. */
struct bound_plan_set {
    struct plan *integrand, *base, *reconstruction;
    struct plan *conditional; /* instead of these three, or NULL */
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
/* Where the integral of the bound starts; 0 in a model without it, of which no bound is planned. */
double project_t_min(const struct project *p);
/* Whether the network sees no noise level: its block `trunk` takes none. */
bool project_time_free(const struct project *p);
/* The share of tokens that noise has reached at time T, for bound_config; CONTEXT is the
 * project. */
double project_noised(void *context, double t);

/* COUNT of the held-out windows, spread evenly over all of them, as a source for bound_evaluate;
 * the context is the project. */
struct bound_source project_valid_source(struct project *p, int64_t count);

void project_close(struct project *p);

#endif
