/* The training loop. Called by `train` and `bench`. */
#include "runtime/train.h"
#include "graph/base/check.h"
#include "graph/base/clock.h"

#include <math.h>
#include <string.h>

#define INPUTS_MAX 7 /* of a plan */

struct training {
    struct diags *diags;
    struct trainer *trainer;
    const struct train_config *config;
    const struct train_hooks *hooks;
    struct random_key key;
    int32_t *x0, *label;
    float *weight;           /* 0 where a window has padding, else 1 */
    bool *fixed;             /* the other way round */
    int64_t symbols;         /* of the step so far, without padding */
    double keep, lr, number; /* scalars that a step is given: of accumulation, rate, its number */
    double started;          /* on the monotonic clock, less what was trained before */
};

double train_lr(const struct train_config *config, int64_t step, double progress)
{
    double warm = config->warmup > 0 ? (double)step / (double)config->warmup : 1;
    double lr = config->lr * (warm < 1 ? warm : 1);
    if (config->schedule == LR_CONSTANT || warm < 1)
        return lr;
    double p = progress < 1 ? progress : 1;
    return config->schedule == LR_LINEAR ? lr * (1 - p)
                                         : lr * 0.5 * (1 + cos(3.141592653589793 * p));
}

/* How far the run is when STEP begins: by steps or by time, whichever is further. */
static double progress_at(const struct training *t, int64_t step, double seconds)
{
    const struct train_config *c = t->config;
    double by_steps = 0, by_time = 0;
    if (c->steps > c->warmup)
        by_steps = (double)(step - 1 - c->warmup) / (double)(c->steps - c->warmup);
    if (c->minutes > 0)
        by_time = seconds / (60 * c->minutes);
    double p = by_steps > by_time ? by_steps : by_time;
    return p > 0 ? p : 0;
}

static struct run run_of(const struct training *t, const void *const *inputs, int64_t step,
                         int64_t micro)
{
    const struct train_config *c = t->config;
    return (struct run){.inputs = inputs,
                        .key = t->key,
                        .iteration = (uint32_t)step,
                        .sequence = (uint32_t)(micro * c->batch),
                        .sequences = (uint32_t)(c->batch * c->accumulate)};
}

/* The inputs of a plan, by name. */
static void find_inputs(const struct training *t, const struct plan *plan, const void **inputs)
{
    const struct {
        const char *name;
        const void *data;
    } known[INPUTS_MAX] = {
        {"x0", t->x0},       {"label", t->label},           {"weight", t->weight},
        {"fixed", t->fixed}, {"accumulate.keep", &t->keep}, {"lr", &t->lr},
        {"step", &t->number}};
    for (uint32_t i = 0; i < plan->input_count; i++) {
        uint32_t k = 0;
        while (k < INPUTS_MAX && strcmp(known[k].name, plan->inputs[i].name) != 0)
            k++;
        BUG_ON(k == INPUTS_MAX);
        inputs[i] = known[k].data;
    }
}

static void fill_windows(struct training *t, int64_t step, int64_t micro)
{
    const struct train_config *c = t->config;
    for (int64_t i = 0; i < c->batch; i++) {
        uint32_t sequence = (uint32_t)(micro * c->batch + i);
        int64_t first = i * c->length;
        int64_t tokens =
            t->hooks->window(t->hooks->context, (uint32_t)step, sequence, t->x0 + first);
        for (int64_t k = 0; k < c->length; k++) {
            t->weight[first + k] = k < tokens;
            t->fixed[first + k] = k >= tokens;
        }
        t->symbols += tokens;
        if (t->hooks->label)
            t->label[i] = t->hooks->label(t->hooks->context, (uint32_t)step, sequence);
    }
}

/* The batch MICRO of a step through the gradient plan; false only where CHECKED (executor_run). */
static bool run_gradient(struct training *t, int64_t step, int64_t micro, bool checked,
                         uint32_t *at)
{
    const void *inputs[INPUTS_MAX];
    fill_windows(t, step, micro);
    t->keep = micro > 0;
    find_inputs(t, executor_plan(t->trainer->gradient), inputs);
    struct run run = run_of(t, inputs, step, micro);
    run.checked = checked;
    return executor_run(t->trainer->gradient, &run, at);
}

/* Runs the step again, looking at each result: names the first op that made a bad value. */
static void explain_failure(struct training *t, int64_t step, const char *what)
{
    const struct plan *plan = executor_plan(t->trainer->gradient);
    bool clean = true;
    uint32_t at = 0;
    for (int64_t micro = 0; clean && micro < t->config->accumulate; micro++)
        clean = run_gradient(t, step, micro, true, &at);
    if (clean) {
        diag_error(t->diags, FAULT_RUN, (struct span){0},
                   "step %lld: %s is not finite, though each value before it is: a sum overflows",
                   (long long)step, what);
        return;
    }
    const struct plan_step *s = &plan->steps[at];
    diag_error(t->diags, FAULT_RUN, s->span,
               "step %lld: %s is not finite; the first bad value comes from the op `%s`%s%s%s",
               (long long)step, what, s->op, s->name ? ", as `" : "", s->name ? s->name : "",
               s->name ? "`" : "");
}

static double scalar_output(const struct loaded *loaded, const char *name)
{
    struct tensor out = executor_output(loaded, plan_output(executor_plan(loaded), name));
    return out.dtype == DT_F64 ? *(const double *)out.data : *(const float *)out.data;
}

static bool gradient_steps(struct training *t, int64_t step, double *loss)
{
    const struct train_config *c = t->config;
    *loss = 0;
    t->symbols = 0;
    for (int64_t micro = 0; micro < c->accumulate; micro++) {
        uint32_t unused;
        run_gradient(t, step, micro, false, &unused);
        *loss += scalar_output(t->trainer->gradient, "loss") / (double)c->accumulate;
    }
    if (isfinite(*loss))
        return true;
    explain_failure(t, step, "the loss");
    return false;
}

/* The update leaves everything as it is when the norm is not finite (see the op clip_scale). */
static bool update_step(struct training *t, int64_t step, double *norm)
{
    struct loaded *update = t->trainer->update;
    if (update) {
        const void *inputs[INPUTS_MAX];
        find_inputs(t, executor_plan(update), inputs);
        struct run run = run_of(t, inputs, step, 0);
        uint32_t unused;
        executor_run(update, &run, &unused);
    }
    *norm = scalar_output(update ? update : t->trainer->gradient, OUTPUT_GRAD_NORM);
    if (isfinite(*norm))
        return true;
    explain_failure(t, step, "the gradient");
    return false;
}

bool train_is_over(const struct train_config *config, int64_t step, double seconds)
{
    return (config->steps > 0 && step >= config->steps) ||
           (config->minutes > 0 && seconds >= 60 * config->minutes);
}

static bool due(int64_t step, int64_t every)
{
    return every > 0 && step % every == 0;
}

static bool one_step(struct training *t, struct train_report *r)
{
    r->step = *t->trainer->step + 1;
    r->seconds = clock_seconds() - t->started;
    r->lr = train_lr(t->config, r->step, progress_at(t, r->step, r->seconds));
    t->lr = r->lr;
    t->number = (double)r->step;
    if (!gradient_steps(t, r->step, &r->loss) || !update_step(t, r->step, &r->grad_norm))
        return false;
    *t->trainer->step = r->step;
    r->symbols = (double)t->symbols / (double)(t->config->batch * t->config->accumulate);
    r->seconds = clock_seconds() - t->started;
    r->progress = progress_at(t, r->step + 1, r->seconds);
    return true;
}

static bool stopped(const struct training *t)
{
    return t->hooks->stop && t->hooks->stop(t->hooks->context);
}

/* The validation and the checkpoint that are due after the step that R tells of. */
static bool look_and_save(struct training *t, const struct train_report *r, bool over)
{
    const struct train_config *config = t->config;
    const struct train_hooks *hooks = t->hooks;
    if (hooks->validate && (over || due(r->step, config->eval_every))) {
        double before = clock_seconds();
        if (!hooks->validate(hooks->context, r))
            return false;
        t->started += clock_seconds() - before; /* validation is no training */
    }
    return !hooks->checkpoint || !(over || due(r->step, config->checkpoint_every)) ||
           hooks->checkpoint(hooks->context, r);
}

enum train_end train_run(struct diags *diags, struct arena *arena, struct trainer *trainer,
                         const struct train_config *config, const struct train_hooks *hooks)
{
    struct training t = {.diags = diags,
                         .trainer = trainer,
                         .config = config,
                         .hooks = hooks,
                         .key = random_key(config->seed, "train"),
                         .x0 = arena_new_array(arena, int32_t, config->batch * config->length),
                         .label = arena_new_array(arena, int32_t, config->batch),
                         .weight = arena_new_array(arena, float, config->batch * config->length),
                         .fixed = arena_new_array(arena, bool, config->batch * config->length),
                         .started = clock_seconds() - config->seconds};
    struct train_report r = {.step = *trainer->step, .seconds = config->seconds};
    bool over = train_is_over(config, r.step, config->seconds);
    /* A run that was stopped during a validation makes up for it. */
    if (r.step > config->validated && !look_and_save(&t, &r, over))
        return TRAIN_FAILED;
    while (!over && !stopped(&t)) {
        if (!one_step(&t, &r))
            return TRAIN_NOT_FINITE;
        over = train_is_over(config, r.step, r.seconds);
        if ((hooks->report && !hooks->report(hooks->context, &r)) || !look_and_save(&t, &r, over))
            return TRAIN_FAILED;
    }
    if (!stopped(&t))
        return TRAIN_DONE;
    bool saved = r.step == 0 || !hooks->checkpoint || hooks->checkpoint(hooks->context, &r);
    return saved ? TRAIN_STOPPED : TRAIN_FAILED;
}
