/* Training steps on random tokens, for the measurements of sedge bench. */
#include "graph/base/clock.h"
#include "runtime/train.h"
#include "tools/bench.h"

#include <stdlib.h>
#include <string.h>

static bool compile(struct training *t, struct command_line *line)
{
    struct model *m = t->s.model;
    struct elaborate_request q = {.program = "train"};
    struct compile_options o = {.gradients = true};
    struct update_options u = {.beta1 = 0.9,
                               .beta2 = 0.999,
                               .eps = 1e-8,
                               .clip = 1,
                               .scale = 1,
                               .ema = option_given(line, "ema") ? 0.999 : 0};
    double start = clock_seconds();
    t->gradient = session_compile(&t->s, &q, &o);
    t->update = t->gradient ? compile_graph(update_graph(m, &u), NULL) : NULL;
    t->compile_ms = 1000 * (clock_seconds() - start);
    if (!t->update)
        return false;
    uint32_t x0 = plan_input(t->gradient, "x0");
    const struct type *type = &t->gradient->tensors[x0].type;
    if (!x0 || type->rank != 2 || !m->process_count || t->gradient->input_count != 1) {
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
    const struct state_table *table = &s->model->states;
    bool *used = arena_new_array(s->arena, bool, table->count + 1);
    for (uint32_t r = 0; r < table->count; r++)
        used[r] = (r < t->gradient->row_count && t->gradient->reads[r]) ||
                  (r < t->update->row_count && t->update->reads[r]);
    if (!session_machine(s) || !state_open(s->diags, s->arena, table, used, &s->state))
        return false;
    s->engine.state = &s->state;
    state_init(&s->state, 1);
    t->run_gradient = executor_load(s->diags, s->arena, &s->engine, t->gradient);
    t->run_update =
        t->run_gradient ? executor_load(s->diags, s->arena, &s->engine, t->update) : NULL;
    t->x0 = arena_new_array(s->arena, int32_t, t->batch * t->length);
    t->gradient_seconds = arena_new_array(s->arena, double, t->gradient->step_count + 1);
    t->update_seconds = arena_new_array(s->arena, double, t->update->step_count + 1);
    return t->run_update != NULL;
}

double training_step(struct training *t, bool measured)
{
    struct random_key key = random_key(1, "bench");
    double step = (double)++t->step, lr = 3e-4;
    for (int64_t i = 0; i < t->batch * t->length; i++)
        t->x0[i] = (int32_t)(random_uniform(key, (uint32_t)t->step, 0, 0, (uint32_t)i) *
                             (double)t->tokens);
    const void *data[] = {t->x0}, *scalars[2];
    for (uint32_t i = 0; i < 2; i++)
        scalars[i] = strcmp(t->update->inputs[i].name, "lr") == 0 ? &lr : &step;
    struct run gradient = {.inputs = data,
                           .key = key,
                           .iteration = (uint32_t)t->step,
                           .seconds = measured ? t->gradient_seconds : NULL};
    struct run update = {.inputs = scalars, .seconds = measured ? t->update_seconds : NULL};
    uint32_t unused;
    double start = clock_seconds();
    executor_run(t->run_gradient, &gradient, &unused);
    executor_run(t->run_update, &update, &unused);
    return clock_seconds() - start;
}

bool training_open(struct training *t, struct command_line *line)
{
    return session_model(&t->s, line, line->positional[0]) && compile(t, line) && load(t);
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

double bench_median(double *seconds, int64_t count)
{
    qsort(seconds, (size_t)count, sizeof *seconds, compare);
    return count ? seconds[count / 2] : 0;
}
