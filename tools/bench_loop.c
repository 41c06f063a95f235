/* sedge bench MODEL --sampling --steps N: tokens a second of a loop, from its start to the last
 * token. */
#include "graph/base/clock.h"
#include "runtime/loop.h"
#include "tools/bench.h"
#include "tools/json_print.h"
#include "tools/signals.h"

#include <stdio.h>
#include <string.h>

#define LEAST_RUNS 3
#define MOST_RUNS 100

struct job {
    struct session s;
    struct loop *loop;
    struct looper *looper;
    struct loop_times grid;
    struct plan **plans;
    struct loop_program *programs;
    struct step_time **times; /* of each plan, of runs that are measured */
    uint32_t count;
    struct machine machine;
    int64_t batch, length;
    double took[MOST_RUNS], seconds; /* SECONDS: the median */
    int64_t runs, calls;
    double resident; /* MiB */
};

static bool read_steps(struct job *j, struct command_line *line, int64_t *steps)
{
    const char *text = option_text(line, "steps");
    struct yaml number = {.kind = YAML_SCALAR, .text = text};
    *steps = 0;
    if (!text || (yaml_int(&number, steps) && *steps >= 1 && *steps <= LOOP_INSERTED_MAX))
        return true;
    diag_error(j->s.diags, FAULT_CONFIG, (struct span){0},
               "--steps is a whole number from 1 to %d, not `%s`", LOOP_INSERTED_MAX, text);
    return false;
}

/* The loop of that name; without one `tweedie`, or what the model has. */
static bool read_loop(struct job *j, struct command_line *line)
{
    const struct model *m = j->s.model;
    const char *name = option_text(line, "sampler");
    int64_t steps;
    if (!name)
        name = loop_default(m) ? loop_default(m) : "tweedie";
    j->loop = read_steps(j, line, &steps) ? loop_read(m, name) : NULL;
    if (!j->loop)
        return false;
    if (j->loop->grid)
        return loop_grid(m, j->loop, steps, &j->grid);
    j->grid.steps = j->loop->max;
    return !steps || loop_no_grid(j->s.diags, j->loop, "leave --steps out");
}

/* What is sampled: the carry x [batch, length]. */
static bool find_text(struct job *j)
{
    for (uint32_t i = 0; i < j->loop->carry_count; i++) {
        const struct loop_carry *c = &j->loop->carry[i];
        if (strcmp(c->name, "x") == 0 && c->rank == 2 && c->dim[0] < 0) {
            j->length = c->dim[1];
            return true;
        }
    }
    diag_error(j->s.diags, FAULT_CONFIG, j->loop->span,
               "loop `%s` carries no tokens `x` [batch, length] to count", j->loop->name);
    return false;
}

static bool compile(struct job *j)
{
    struct session *s = &j->s;
    struct loop_need *needs;
    j->count = loop_needs(s->arena, j->loop, &needs);
    j->plans = arena_new_array(s->arena, struct plan *, j->count + 1);
    j->programs = arena_new_array(s->arena, struct loop_program, j->count + 1);
    for (uint32_t i = 0; i < j->count; i++) {
        struct elaborate_request q = {.program = needs[i].program,
                                      .bind = needs[i].inputs,
                                      .bind_count = needs[i].input_count,
                                      .weights = WEIGHTS_RAW};
        struct plan *plan = j->plans[i] = session_compile(s, &q, NULL);
        if (!plan)
            return false;
        j->programs[i].name = needs[i].program;
        machine_add_plan(&j->machine, plan);
        for (uint32_t a = 1; a < plan->axis_count; a++)
            if (strcmp(plan->axes[a].name, "batch") == 0)
                j->batch = plan->axes[a].size;
    }
    return true;
}

static bool load(struct job *j)
{
    struct session *s = &j->s;
    j->times = arena_new_array(s->arena, struct step_time *, j->count + 1);
    if (!session_machine(s) || !session_state(s, j->plans, j->count, NO_ROW))
        return false;
    state_init(&s->state, 1);
    for (uint32_t i = 0; i < j->count; i++) {
        j->programs[i].loaded = executor_load(s->diags, s->arena, &s->engine, j->plans[i]);
        if (!j->programs[i].loaded)
            return false;
        j->times[i] = arena_new_array(s->arena, struct step_time, j->plans[i]->step_count + 1);
    }
    j->looper = loop_open(s->diags, s->arena, j->loop, j->programs, j->count, NULL, 0, j->batch);
    return j->looper != NULL;
}

static bool go_on(void *context, struct looper *looper, int64_t turn, int64_t turns)
{
    (void)context, (void)looper, (void)turn, (void)turns;
    return !signals_caught();
}

static bool run_once(struct job *j, uint32_t sequence, double *seconds)
{
    struct loop_request q = {.count = j->batch,
                             .sequence = sequence,
                             .key = random_key(1, "bench"),
                             .steps = j->grid.steps,
                             .time = j->grid.time,
                             .watch = go_on};
    double start = clock_seconds();
    bool whole = loop_run(j->looper, &q);
    *seconds = clock_seconds() - start;
    return whole;
}

static bool measure_machine(struct job *j)
{
    return machine_measure_products(&j->machine, j->s.diags) &&
           machine_measure_memory(&j->machine, j->s.diags);
}

/* The first run touches all memory and is not counted. */
static bool measure(struct job *j, double limit)
{
    double total = 0;
    if (!run_once(j, 0, &j->took[0]))
        return false;
    j->resident = bench_resident();
    for (uint32_t i = 0; i < j->count; i++)
        executor_measure(j->programs[i].loaded, j->times[i]);
    j->machine.threads = j->s.engine.threads;
    if (!machine_warn(j->s.diags) || !measure_machine(j))
        return false;
    while (j->runs < MOST_RUNS && (j->runs < LEAST_RUNS || total < limit)) {
        if (!run_once(j, (uint32_t)((j->runs + 1) * j->batch), &j->took[j->runs]))
            return false;
        total += j->took[j->runs++];
    }
    if (!measure_machine(j))
        return false;
    j->calls = loop_calls(j->looper);
    j->seconds = bench_median(j->took, j->runs);
    return true;
}

static void print(struct command_line *line, const struct job *j)
{
    double tokens = (double)(j->batch * j->length) / j->seconds;
    struct profile profile = {.arena = j->s.arena,
                              .diags = j->s.diags,
                              .plans = j->plans,
                              .times = j->times,
                              .count = j->count,
                              .turns = (double)j->runs,
                              .turn = "run"};
    double memory = work_bytes(&profile) / j->seconds;
    double share = memory / j->machine.read; /* of what passes, next to nothing is written */
    if (option_given(line, "json")) {
        json_t *o = json_pack("{s:s, s:s, s:I, s:I, s:I, s:s, s:i, s:f, s:f, s:I, s:I, s:f, s:o}",
                              "model", j->s.model->path, "sampler", j->loop->name, "batch",
                              (json_int_t)j->batch, "length", (json_int_t)j->length, "steps",
                              (json_int_t)j->grid.steps, "isa", j->s.engine.isa, "threads",
                              j->s.engine.threads, "tokens_per_s", tokens, "seconds", j->seconds,
                              "calls", (json_int_t)j->calls, "runs", (json_int_t)j->runs,
                              "peak_rss_mib", j->resident, "machine", machine_json(&j->machine));
        json_object_set_new(o, "memory_gbs", json_real(memory / 1e9));
        json_object_set_new(o, "share_of_memory", json_real(share));
        work_json(&profile, &j->machine, o);
        json_print(line->diags, o, 9);
        return;
    }
    printf("%s, sampler %s, %lld x %lld, %s kernels, %d thread%s\n", j->s.model->path,
           j->loop->name, (long long)j->batch, (long long)j->length, j->s.engine.isa,
           j->s.engine.threads, j->s.engine.threads == 1 ? "" : "s");
    machine_print(&j->machine);
    printf("sample: %.1f tokens/s, %.3f s for %lld calls of programs (median of %lld runs), %.0f "
           "MiB resident at most\n",
           tokens, j->seconds, (long long)j->calls, (long long)j->runs, j->resident);
    printf("        %.1f GB/s of what its ops read and write: %.1f%% of the rate at which memory "
           "is read\n\n",
           memory / 1e9, 100 * share);
    work_print(&profile, &j->machine);
}

int bench_loop(struct command_line *line, double seconds)
{
    struct job *j = arena_alloc(line->arena, sizeof *j);
    if (!session_model(&j->s, line, line->positional[0]) || !read_loop(j, line) || !find_text(j) ||
        !compile(j) || !load(j))
        return diags_exit_code(line->diags);
    signals_catch(NULL);
    if (!measure(j, seconds))
        return signals_exit_code();
    print(line, j);
    loop_close(j->looper);
    state_close(&j->s.state);
    return diags_exit_code(line->diags);
}
