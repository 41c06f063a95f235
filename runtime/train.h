/* The training loop: make gradients and update the parameters, until it is time to stop.
 *
 * A step is a function of the state alone: data, noise and dropout are drawn for (seed, step,
 * sequence), the step's number is a row of the state, and the state is what a checkpoint holds. So
 * a run that was stopped anywhere and resumed from its last checkpoint is the same run, bit for
 * bit; only a time limit (`minutes`) depends on the machine. */
#ifndef SEDGE_RUNTIME_TRAIN_H
#define SEDGE_RUNTIME_TRAIN_H

#include "runtime/executor.h"

enum lr_schedule { LR_CONSTANT, LR_COSINE, LR_LINEAR };

struct train_config {
    int64_t steps;  /* 0: no limit */
    double minutes; /* 0: no limit */
    int64_t batch, accumulate, length;
    double lr;
    int64_t warmup;
    enum lr_schedule schedule;
    int64_t eval_every, checkpoint_every; /* 0: never */
    uint64_t seed;
    /* Of a resumed run: */
    double seconds;    /* trained before this start */
    int64_t validated; /* step of the newest validation */
};

/* What a step found. */
struct train_report {
    int64_t step; /* counted from 1 */
    double loss, grad_norm, lr;
    double symbols;  /* tokens a sequence of the step, without padding */
    double seconds;  /* of training so far, resumed parts included */
    double progress; /* 0 .. 1 towards the end */
};

enum train_end {
    TRAIN_DONE,
    TRAIN_STOPPED, /* asked to; saved, unless nothing was done yet */
    /* Loss or gradient; reported, and that step changed nothing: without clipping, nothing whose
     * own gradient was not finite. The report names an op by a second run of the step, which then
     * begins where those that were finite have gone. */
    TRAIN_NOT_FINITE,
    TRAIN_FAILED, /* a hook did; reported */
};

/* What the caller supplies. Those that return bool return false after reporting. */
struct train_hooks {
    void *context;
    /* Returns how many tokens the window has: padding follows them, which is not noised and counts
     * for nothing, by the inputs `fixed` and `weight`; a plan without these has windows without. */
    int64_t (*window)(void *context, uint32_t iteration, uint32_t sequence, int32_t *out);
    bool (*report)(void *context, const struct train_report *report);
    bool (*validate)(void *context, const struct train_report *report);
    bool (*checkpoint)(void *context, const struct train_report *report); /* once a step or twice */
    bool (*stop)(void *context); /* asked between steps; VALIDATE may give up when it is true */
    /* The class of that window, for the input `label`; may be NULL where the plan has none. */
    int32_t (*label)(void *context, uint32_t iteration, uint32_t sequence);
};

struct trainer {
    /* Inputs x0, label, weight and fixed where it takes them and, when accumulating,
     * accumulate.keep; output loss. */
    struct loaded *gradient;
    /* Inputs lr, step; output grad_norm. NULL: the gradient plan has these, and updates as well. */
    struct loaded *update;
    int64_t *step; /* the row cursor/step: updates done */
};

/* The learning rate of step STEP (from 1) at PROGRESS: up to its highest over WARMUP steps, then by
 * the schedule over what is left. */
double train_lr(const struct train_config *config, int64_t step, double progress);

/* Whether STEP updates in SECONDS are all that CONFIG asks for. */
bool train_is_over(const struct train_config *config, int64_t step, double seconds);

enum train_end train_run(struct diags *diags, struct arena *arena, struct trainer *trainer,
                         const struct train_config *config, const struct train_hooks *hooks);

#endif
