/* sedge bench MODEL --sampling: how much of a reverse step is the network, and how much the
 * sampler. */
#include "graph/base/clock.h"
#include "graph/loop.h"
#include "tools/bench.h"
#include "tools/json_print.h"
#include "tools/signals.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#define PROGRAMS_MAX 64
#define LEAST_CALLS 3
#define MOST_CALLS 100

struct sampling { /* one program */
    struct plan *plan;
    struct loaded *loaded;
    bool *network; /* per step: what the output of the last layer depends on */
    struct step_time *times;
    double call, share; /* median seconds of a call; of the calls in the network */
};

struct job {
    struct session s;
    struct sampling programs[PROGRAMS_MAX];
    uint32_t count;
};

/* --- which steps are the network's ---------------------------------------------------------- */

/* The last map of a network, with the draw in it. */
static bool is_head(const char *op)
{
    return strcmp(op, "head_draw") == 0;
}

static bool is_layer(const char *op)
{
    return strcmp(op, "linear") == 0 || strcmp(op, "attention") == 0 || is_head(op);
}

/* Steps that a layer depends on, without those that ask the chain, of which a fused head is most of
 * all its map. Returns whether there are any. */
static bool mark_network(struct arena *arena, struct sampling *p)
{
    bool *needed = arena_new_array(arena, bool, p->plan->tensor_count), any = false;
    p->network = arena_new_array(arena, bool, p->plan->step_count + 1);
    for (uint32_t i = p->plan->step_count; i-- > 0;) {
        const struct plan_step *s = &p->plan->steps[i];
        bool leads = is_layer(s->op);
        for (uint32_t k = 0; k < s->out_count; k++)
            leads |= needed[s->out[k]];
        for (uint32_t k = 0; leads && k < s->in_count; k++)
            needed[s->in[k]] = s->in[k] != 0;
        p->network[i] = leads && (!s->chain || is_head(s->op));
        any |= p->network[i];
    }
    return any;
}

/* --- inputs --------------------------------------------------------------------------------- */

/* Real tokens and masks by turns, a time or a place in the middle, and what follows a time a little
 * below. */
static void *make_input(struct job *j, const struct plan *plan, uint32_t i)
{
    const struct type *type = &plan->tensors[plan->inputs[i].tensor].type;
    const struct chain *chain = &j->s.model->processes[0].chain;
    const char *name = plan->inputs[i].name;
    int64_t count = type_count(type);
    void *data = arena_alloc(j->s.arena, (size_t)type_bytes(type));
    bool later = strcmp(name, "s") == 0 || strcmp(name, "end") == 0;
    struct random_key key = random_key(1, "bench");
    const struct param *length = model_param(j->s.model, "length");
    bool place = strcmp(name, "at") == 0 && length;
    for (int64_t k = 0; k < count; k++) {
        double u = random_uniform(key, 0, i, 0, (uint32_t)k);
        if (type->dtype == DT_F64)
            ((double *)data)[k] = place ? (double)(length->value.i / 2) : later ? 0.49 : 0.5;
        else if (type->dtype == DT_F32)
            ((float *)data)[k] = 0.5f;
        else if (type->dtype == DT_TOKEN)
            ((int32_t *)data)[k] =
                chain->mask >= 0 && k % 2 ? chain->mask : (int32_t)(u * chain->tokens);
    }
    return data; /* integers and truths are zero */
}

/* --- programs ------------------------------------------------------------------------------- */

static bool add_program(struct job *j, const char *name)
{
    for (uint32_t i = 0; i < j->count; i++)
        if (strcmp(j->programs[i].plan->program, name) == 0)
            return true;
    if (j->count == PROGRAMS_MAX)
        return true;
    struct sampling *p = &j->programs[j->count];
    struct elaborate_request q = {.program = name, .weights = WEIGHTS_RAW};
    *p = (struct sampling){.plan = session_compile(&j->s, &q, NULL)};
    if (!p->plan)
        return false;
    j->count += mark_network(j->s.arena, p);
    return true;
}

/* Every program that a loop calls, but those that ask no network. */
static bool find_programs(struct job *j)
{
    const struct model *m = j->s.model;
    for (uint32_t i = 0; i < m->loops.count; i++) {
        const struct loop *loop = loop_read(m, m->loops.items[i].name);
        if (!loop)
            return false;
        for (uint32_t k = 0; k < loop->body_count; k++)
            if (!add_program(j, loop->body[k].program))
                return false;
    }
    if (j->count > 0 && m->process_count > 0)
        return true;
    diag_error(j->s.diags, FAULT_CONFIG, (struct span){0},
               "%s has no loop that calls a network: there is no sampler to measure", m->path);
    diag_hint(j->s.diags, "models that can be sampled include samplers.yaml");
    return false;
}

static bool load(struct job *j)
{
    struct session *s = &j->s;
    struct plan *plans[PROGRAMS_MAX];
    for (uint32_t i = 0; i < j->count; i++)
        plans[i] = j->programs[i].plan;
    if (!session_machine(s) || !session_state(s, plans, j->count, NO_ROW))
        return false;
    state_init(&s->state, 1);
    for (uint32_t i = 0; i < j->count; i++) {
        struct sampling *p = &j->programs[i];
        p->loaded = executor_load(s->diags, s->arena, &s->engine, p->plan);
        if (!p->loaded)
            return false;
        p->times = arena_new_array(s->arena, struct step_time, p->plan->step_count + 1);
    }
    return true;
}

static void measure(struct job *j, struct sampling *p, double limit)
{
    const void **inputs = arena_new_array(j->s.arena, const void *, p->plan->input_count + 1);
    double took[MOST_CALLS], total = 0, all = 0, network = 0;
    int64_t calls = 0;
    uint32_t unused;
    for (uint32_t i = 0; i < p->plan->input_count; i++)
        inputs[i] = make_input(j, p->plan, i);
    struct run run = {.inputs = inputs, .key = random_key(1, "bench")};
    executor_run(p->loaded, &run, &unused);
    executor_measure(p->loaded, p->times);
    while (calls < MOST_CALLS && (calls < LEAST_CALLS || total < limit) && !signals_caught()) {
        double start = clock_seconds();
        run.iteration++;
        executor_run(p->loaded, &run, &unused);
        total += took[calls++] = clock_seconds() - start;
    }
    for (uint32_t i = 0; i < p->plan->step_count; i++) {
        all += p->times[i].seconds;
        network += p->network[i] ? p->times[i].seconds : 0;
    }
    p->call = bench_median(took, calls);
    p->share = all > 0 ? network / all : 0;
}

/* --- printing ------------------------------------------------------------------------------- */

static void print_text(const struct job *j)
{
    printf("%s, %s kernels, %d thread%s\n\n", j->s.model->path, j->s.engine.isa,
           j->s.engine.threads, j->s.engine.threads == 1 ? "" : "s");
    printf("%-24s %12s %16s %12s\n", "program", "ms a call", "in the network", "sampler");
    for (uint32_t i = 0; i < j->count; i++)
        printf("%-24s %12.2f %15.1f%% %11.1f%%\n", j->programs[i].plan->program,
               1000 * j->programs[i].call, 100 * j->programs[i].share,
               100 * (1 - j->programs[i].share));
}

static void print_json(struct diags *diags, const struct job *j)
{
    json_t *o = json_object();
    for (uint32_t i = 0; i < j->count; i++)
        json_object_set_new(o, j->programs[i].plan->program,
                            json_pack("{s:f, s:f}", "ms_per_call", 1000 * j->programs[i].call,
                                      "share_of_network", j->programs[i].share));
    json_print(diags, o, 9);
}

int bench_sampling(struct command_line *line, double seconds)
{
    struct job *j = arena_alloc(line->arena, sizeof *j);
    if (!session_model(&j->s, line, line->positional[0]) || !find_programs(j) || !load(j))
        return diags_exit_code(line->diags);
    signals_catch(NULL);
    for (uint32_t i = 0; i < j->count; i++)
        measure(j, &j->programs[i], seconds / j->count);
    if (signals_caught())
        return signals_exit_code();
    if (option_given(line, "json"))
        print_json(line->diags, j);
    else
        print_text(j);
    state_close(&j->s.state);
    return diags_exit_code(line->diags);
}
