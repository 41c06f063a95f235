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

/* Completes REQUEST for BATCH sequences, compiles it and remembers the plan; NULL after
 * reporting. */
struct plan *project_compile(struct project *p, const struct elaborate_request *request,
                             int64_t batch);
/* The same of a program with the inputs BIND. */
struct plan *project_plan(struct project *p, const char *program, int64_t batch,
                          const char *const *bind, uint32_t bind_count);
/* The chain of the first process; NULL: the model has none. */
const struct chain *project_chain(const struct project *p);
/* Whether its scores are taken as the network gives them: `project: off`. */
bool project_raw(const struct project *p);
/* Whether the network sees no noise level: its block `trunk` takes none. */
bool project_time_free(const struct project *p);
/* Whether PROGRAM has the input. */
bool project_takes(const struct project *p, const char *program, const char *input);
/* Whether PROGRAM, or a block that it calls, has the KEY, such as an op, or the SCALAR, such as a
 * param; either may be NULL. By its text, so that it need not be compiled. */
bool project_mentions(const struct project *p, const char *program, const char *key,
                      const char *scalar);
/* How a recipe has parameters updated. */
struct update_options project_update(const struct recipe *recipe);
/* The plan of `train`, and where gradients accumulate that of the update. Their number; 0 after
 * reporting. */
uint32_t project_training_plans(struct project *p, struct plan *plans[2]);
/* What is asked for of the program `train`; it is compiled twice where memory is short. */
struct gradient_program {
    struct named_size batch;
    struct elaborate_request request;
    struct compile_options options;
    struct update_options update;
};
void project_gradient_program(const struct project *p, struct gradient_program *out);
/* Replaces the plan of `train`, the first of PLANS, by one that needs less, where it and those that
 * run in turns with it would need more than the key `memory` says. False after reporting. */
bool project_fit(struct project *p, struct plan **plans, uint32_t count);

/* After all plans are compiled: maps the state that they use, and with CURSOR the row of the step,
 * all zero. */
bool project_state(struct project *p, bool cursor);
/* The file of a run's checkpoint: WHICH is `last`, `best`, or a file itself. NULL after reporting
 * that there is none of that name yet. */
char *project_checkpoint(struct diags *diags, struct arena *arena, const char *run,
                         const char *which);
/* Fills the state from such a checkpoint. *PATH: which one. Weights that are
 * not finite are an error: they draw tokens and add up to bounds all the same, which mean nothing.
 */
bool project_weights(struct project *p, const char *run, const char *which, char **path);

void project_close(struct project *p);

#endif
