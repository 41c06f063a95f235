/* Runs plans: resolves each step to a kernel once, then only computes. A run allocates nothing. */
#ifndef SEDGE_RUNTIME_EXECUTOR_H
#define SEDGE_RUNTIME_EXECUTOR_H

#include "ops/kernels/kernel.h"
#include "passes/plan.h"
#include "runtime/memory.h"
#include "runtime/state.h"

/* What all plans of a process share. */
struct engine {
    const char *isa;
    int threads;
    struct state *state;
    struct region arena; /* scratch, as large as the largest plan needs */
};

struct loaded; /* a plan, ready to run */

/* Finds kernels and fills constants; grows the engine's arena if this plan needs more. NULL after
 * reporting. Lives in ARENA until executor_unload. */
struct loaded *executor_load(struct diags *diags, struct arena *arena, struct engine *engine,
                             const struct plan *plan);
void executor_unload(struct loaded *loaded);

/* What a step of a plan took, added up over runs. */
struct step_time {
    double seconds;
    double rows; /* that it ran on, as a share of those planned: 1 a run where no axis is short */
};
/* From now on each run adds to TIMES, one for each step of the plan; NULL: not measured. */
void executor_measure(struct loaded *loaded, struct step_time *times);

struct run {
    const void *const *inputs;    /* per input of the plan, in its order; each of the run's size */
    int64_t count[PLAN_AXES_MAX]; /* per axis of the plan: rows of this run; 0: as planned */
    struct random_key key;
    uint32_t iteration;
    uint32_t sequence;  /* global index of the first sequence */
    uint32_t sequences; /* of one iteration over all its batches; 0: those of this run */
    bool checked;       /* stop at the first value that is not finite */
    /* Added to: floats that are NaN or +infinity among those that steps draw tokens by, which are
     * those of positions that can change where only these are computed. Kernels draw all the same,
     * a NaN being no weight: some token comes out, or the one that was there, and it means nothing.
     * NULL: not looked at. */
    int64_t *lawless;
};

/* False only in checked runs: then *STEP is the step that made a value that is not finite. */
bool executor_run(struct loaded *loaded, const struct run *run, uint32_t *step);

/* Where an output lies after a run, with the run's dims; valid until the next run of any plan. */
struct tensor executor_output(const struct loaded *loaded, uint32_t tensor);
const struct plan *executor_plan(const struct loaded *loaded);

#endif
