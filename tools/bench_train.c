/* Training steps on random tokens, for the measurements of sedge bench: those of the training loop
 * itself, one at a time. */
#include "graph/base/clock.h"
#include "tools/bench.h"
#include "tools/budget.h"

#define UPDATE_INPUTS 2 /* lr, step */

static bool compile(struct training *t, struct command_line *line)
{
    struct model *m = t->s.model;
    struct elaborate_request q = {.program = "train"};
    struct compile_options o = {0};
    struct plan *plans[2];
    t->update = (struct update_options){.beta1 = 0.9,
                                        .beta2 = 0.999,
                                        .eps = 1e-8,
                                        .clip = 1,
                                        .scale = 1,
                                        .ema = option_given(line, "ema") ? 0.999 : 0};
    double start = clock_seconds();
    uint32_t count = session_training(&t->s, &q, &o, &t->update, plans);
    const struct budget budget = {
        .s = &t->s, .request = &q, .options = &o, .plans = plans, .plan_count = count};
    if (!count || !budget_fit(&budget, t->s.memory, t->s.memory_span))
        return false;
    t->compile_ms = 1000 * (clock_seconds() - start);
    t->plan = plans[0];
    uint32_t x0 = plan_input(t->plan, "x0");
    const struct type *type = &t->plan->tensors[x0].type;
    if (!x0 || type->rank != 2 || !m->process_count || t->plan->input_count != 1 + UPDATE_INPUTS) {
        diag_error(t->s.diags, FAULT_CONFIG, (struct span){0},
                   "`bench` runs models whose program `train` takes x0 [batch, length]");
        return false;
    }
    t->batch = type->dim[0].size;
    t->length = type->dim[1].size;
    t->tokens = m->processes[0].chain.tokens;
    return true;
}

static bool load(struct training *t)
{
    struct session *s = &t->s;
    if (!session_machine(s) || !session_state(s, &t->plan, 1, NO_ROW))
        return false;
    state_init(&s->state, 1);
    t->times = arena_new_array(s->arena, struct step_time, t->plan->step_count + 1);
    t->trainer.gradient = executor_load(s->diags, s->arena, &s->engine, t->plan);
    t->trainer.step = &t->step;
    return t->trainer.gradient != NULL;
}

bool training_open(struct training *t, struct command_line *line)
{
    t->s.limited = true;
    return session_model(&t->s, line, line->positional[0]) && compile(t, line) && load(t);
}

static int64_t random_window(void *context, uint32_t iteration, uint32_t sequence, int32_t *out)
{
    const struct training *t = context;
    struct random_key key = random_key(1, "bench");
    for (int64_t i = 0; i < t->length; i++)
        out[i] =
            (int32_t)(random_uniform(key, iteration, 0, sequence, (uint32_t)i) * (double)t->tokens);
    return t->length;
}

bool training_step(struct training *t, bool measured, double *seconds)
{
    struct train_config config = {.steps = t->step + 1,
                                  .batch = t->batch,
                                  .accumulate = 1,
                                  .length = t->length,
                                  .lr = 3e-4,
                                  .seed = 1};
    struct train_hooks hooks = {.context = t, .window = random_window};
    executor_measure(t->trainer.gradient, measured ? t->times : NULL);
    double start = clock_seconds();
    enum train_end end = train_run(t->s.diags, t->s.arena, &t->trainer, &config, &hooks);
    *seconds = clock_seconds() - start;
    t->measured += end == TRAIN_DONE && measured;
    return end == TRAIN_DONE;
}
