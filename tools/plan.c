/* sedge plan: what will run and what it needs, before it runs. */
#include "graph/base/clock.h"
#include "graph/draw.h"
#include "graph/loop.h"
#include "tools/budget.h"
#include "tools/document.h"
#include "tools/draw_graph.h"
#include "tools/json_print.h"
#include "tools/plan_map.h"
#include "tools/project_bound.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static const struct option_spec options[] = {
    {"dump", 'd', OPTION_TEXT, "after:PASS", "print what stands after a pass instead", NULL},
    {"json", 'j', OPTION_FLAG, NULL, "the report as JSON", NULL},
    {"svg", 's', OPTION_FILE, "FILE", "draw the graph (needs dot, of Debian's graphviz)", NULL},
    {"buffers", 'b', OPTION_FLAG, NULL, "list every buffer of the arena, not the largest only",
     NULL},
    {"map", 'm', OPTION_FILE, "FILE", "draw the arena: steps by addresses (SVG)", NULL},
    {"memory", 0, OPTION_KEY, "SIZE", "plan within so much: what does not fit is computed twice",
     "memory"},
    {"program", 'p', OPTION_FLAG, NULL, "print the program as written, blocks expanded", NULL},
    SESSION_OPTIONS,
    {0}};

#define FRONTIER 5 /* points */
struct point {
    int64_t arena, all;
    double flop, effort; /* of a step, the update included */
};

struct planning {
    struct command_line *line;
    struct session *s;
    const struct recipe *recipe; /* or NULL */
    struct project *project;     /* of the recipe */
    const char *program;
    struct compile_options options;
    struct update_options update;
    struct elaborate_request request;
    struct named_size batch;
    bool trains; /* what the recipe trains */
    struct gradient_program training;
    /* The program's; that of an update that is one of its own; those of evaluation on the way. */
    struct plan *plans[2 + BOUND_PLANS];
    uint32_t plan_count, all_count;
    struct bound_plan_set evaluation;
    struct plan *unlimited; /* the former without a limit of memory */
    struct budget budget;
    struct point frontier[FRONTIER]; /* of programs that minimise */
    double milliseconds;
};

/* --- what to compile ---------------------------------------------------------------------- */

static bool loop_calls_program(struct planning *p)
{
    const struct sections *loops = &p->s->model->loops;
    for (uint32_t i = 0; i < loops->count; i++) {
        const struct loop *l = loop_read(p->s->model, loops->items[i].name);
        for (uint32_t k = 0; l && k < l->body_count; k++)
            if (strcmp(l->body[k].program, p->program) == 0)
                return true;
        for (uint32_t k = 0; l && k < l->carry_count; k++)
            if (l->carry[k].start == START_CALL && strcmp(l->carry[k].program, p->program) == 0)
                return true;
    }
    return false;
}

/* The batch with which a recipe runs the program. */
static int64_t recipe_batch(struct planning *p)
{
    if (p->options.gradients)
        return p->recipe->train.batch;
    return loop_calls_program(p) ? p->recipe->sample.batch : p->recipe->eval.batch;
}

/* Of what a recipe trains as `sedge train` asks for it. */
static void request(struct planning *p)
{
    p->request = (struct elaborate_request){.program = p->program};
    if (!p->recipe)
        return;
    if (p->trains) {
        project_gradient_program(p->project, &p->training);
        p->request = p->training.request;
        return;
    }
    p->batch = (struct named_size){"batch", recipe_batch(p)};
    p->request.dims = &p->batch;
    p->request.dim_count = 1;
}

/* Of a model without a recipe the update is that of the defaults. */
static struct update_options update_options(const struct planning *p)
{
    return p->recipe ? project_update(p->recipe)
                     : (struct update_options){0.9, 0.999, 1e-8, 0, 1, 1, 0.999};
}

/* The limit of a recipe, or the one given beside a model. */
static bool fit(struct planning *p)
{
    p->budget = (struct budget){.s = p->s,
                                .request = &p->request,
                                .options = &p->options,
                                .plans = p->plans,
                                .plan_count = p->all_count};
    return p->recipe ? budget_fit(&p->budget, p->recipe->memory, p->recipe->memory_span)
                     : budget_fit(&p->budget, p->s->memory, p->s->memory_span);
}

/* The bound that training is evaluated by on its way needs memory too. */
static bool add_evaluation(struct planning *p)
{
    p->all_count = p->plan_count;
    if (!p->trains || !project_evaluates(p->project))
        return true;
    const struct eval_recipe *q = &p->recipe->eval;
    if (!project_tell_label(p->project, q->label) ||
        !project_bound_plans(p->project, q->batch, &p->evaluation))
        return false;
    p->all_count += project_bound_list(&p->evaluation, p->plans + p->plan_count);
    return true;
}

static bool compile(struct planning *p)
{
    const struct section *section = section_find(&p->s->model->programs, p->program);
    p->options.gradients = section && yaml_get(section->body, "minimize");
    p->options.accumulate = p->options.gradients && p->recipe && p->recipe->train.accumulate > 1;
    p->trains = p->options.gradients && p->recipe && strcmp(p->program, "train") == 0;
    request(p);
    double started = clock_seconds();
    p->update = update_options(p);
    if (p->options.gradients) {
        p->plan_count = session_training(p->s, &p->request, &p->options, &p->update, p->plans);
    } else {
        p->plans[0] = session_compile(p->s, &p->request, &p->options);
        p->plan_count = p->plans[0] != NULL;
    }
    p->unlimited = p->plans[0];
    p->milliseconds = 1000 * (clock_seconds() - started);
    if (!p->plan_count || !add_evaluation(p))
        return false;
    started = clock_seconds();
    if (!fit(p))
        return false;
    p->milliseconds += 1000 * (clock_seconds() - started);
    return true;
}

/* --- frontier ----------------------------------------------------------------------------- */

/* In MiB, rounded up: what is read off as a limit is enough. */
static double enough(int64_t bytes)
{
    return ceil((double)bytes / (1024 * 1024) * 10) / 10;
}

/* From all kept to the least memory there is, what lies between in even parts of the arena. */
static bool find_frontier(struct planning *p)
{
    struct certificate none = {0}, *update = p->plan_count > 1 ? &p->plans[1]->certificate : &none;
    struct plan *ends[2] = {p->unlimited, budget_compile(&p->budget, 1)};
    if (!ends[1])
        return false;
    for (int i = 0; i < FRONTIER; i++) {
        int64_t full = ends[0]->arena_bytes, least = ends[1]->arena_bytes;
        int64_t bytes = least + (full - least) / (FRONTIER - 1) * (FRONTIER - 1 - i);
        struct plan *at = i == 0 ? ends[0] : ends[1];
        if (i > 0 && i < FRONTIER - 1 && !(at = budget_compile(&p->budget, bytes)))
            return false;
        double flop = at->certificate.flop + update->flop;
        double effort = plan_effort(flop, at->certificate.bytes + update->bytes);
        p->frontier[i] = (struct point){at->arena_bytes, budget_need(&p->budget, at), flop, effort};
    }
    return true;
}

static double flop_added(const struct planning *p, int point)
{
    return p->frontier[point].flop / p->frontier[0].flop - 1;
}

/* An estimate. */
static double time_added(const struct planning *p, int point)
{
    return p->frontier[point].effort / p->frontier[0].effort - 1;
}

static void print_frontier(const struct planning *p)
{
    const double mib = 1024 * 1024;
    printf("memory against time: what does not fit is computed twice (the key `memory`)\n");
    for (int i = 0; i < FRONTIER; i++)
        printf(
            "  %12.1f MiB in all, arena %10.1f MiB: about %+5.1f%% time, %+5.1f%% FLOP a step%s\n",
            enough(p->frontier[i].all), (double)p->frontier[i].arena / mib, 100 * time_added(p, i),
            100 * flop_added(p, i),
            i == 0              ? " (all kept)"
            : i == FRONTIER - 1 ? " (the least)"
                                : "");
}

static json_t *frontier_json(const struct planning *p)
{
    json_t *list = json_array();
    for (int i = 0; i < FRONTIER; i++)
        json_array_append_new(list, json_pack("{s:I, s:I, s:f, s:f}", "total_bytes",
                                              (json_int_t)p->frontier[i].all, "arena_bytes",
                                              (json_int_t)p->frontier[i].arena, "flop_added",
                                              flop_added(p, i), "time_added", time_added(p, i)));
    return list;
}

/* --- report ------------------------------------------------------------------------------- */

static const char *const class_words[] = {"parameters", "moments",   "averages",
                                          "gradients",  "constants", "cursors"};

/* What training needs in all: rows of all plans, the largest arena, inputs and literals. */
static struct plan_total sum_up(const struct planning *p)
{
    struct plan_total t;
    plan_sum(p->plans, p->all_count, &t);
    return t;
}

static void print_total(const struct planning *p)
{
    const double mib = 1024 * 1024;
    struct plan_total t = sum_up(p);
    const struct plan *u = p->plan_count > 1 ? p->plans[1] : NULL;
    printf("\n");
    if (u)
        printf("program update: %u steps, %.3f GFLOP, %.1f MiB moved, arena %.3f MiB\n",
               u->step_count, u->certificate.flop / 1e9, u->certificate.bytes / mib,
               (double)u->arena_bytes / mib);
    printf("training in all %19.1f MiB\n", enough(t.all));
    printf("  %-12s %20.1f MiB   %s%s\n", "arena", (double)t.arena / mib,
           u ? "shared by both programs" : "gradients included",
           p->all_count > p->plan_count ? ", and shared by evaluation" : "");
    for (int i = 0; i < 6; i++)
        if (t.state[i])
            printf("  %-12s %20.1f MiB\n", class_words[i], (double)t.state[i] / mib);
    printf("  %-12s %20.1f MiB\n", "inputs", (double)(t.inputs + t.literals) / mib);
}

static json_t *classes_json(const int64_t *bytes)
{
    json_t *map = json_object();
    for (int i = 0; i < 6; i++)
        json_object_set_new(map, class_words[i], json_integer(bytes[i]));
    return map;
}

/* Each buffer with the value that it holds first, and where that was written. */
static json_t *buffers_json(struct arena *arena, const struct diags *diags, const struct plan *plan)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < plan->buffer_count; i++) {
        const struct plan_buffer *b = &plan->buffers[i];
        const struct plan_step *maker = &plan->steps[b->first];
        json_t *o = json_pack(
            "{s:s, s:s, s:s, s:I, s:I, s:i, s:i}", "name", plan_buffer_name(arena, plan, b), "type",
            plan_buffer_type(arena, plan, b), "op", maker->op, "offset", (json_int_t)b->offset,
            "bytes", (json_int_t)b->bytes, "first_step", (int)b->first, "last_step", (int)b->last);
        if (maker->block)
            json_object_set_new(o, "block", json_string(maker->block));
        if (maker->span.file) {
            json_object_set_new(o, "file", json_string(diags_file_name(diags, maker->span.file)));
            json_object_set_new(o, "line", json_integer(maker->span.line));
        }
        json_array_append_new(list, o);
    }
    return list;
}

static json_t *plan_json(struct arena *arena, const struct diags *diags, const struct plan *plan)
{
    const struct certificate *c = &plan->certificate;
    json_t *candidates = json_array(), *axes = json_object();
    for (uint32_t i = 0; i < c->candidate_count; i++)
        json_array_append_new(candidates,
                              json_pack("{s:s, s:I, s:b}", "name", c->candidates[i].name,
                                        "bound_bytes", (json_int_t)c->candidates[i].bound, "chosen",
                                        c->candidates[i].chosen));
    for (uint32_t i = 1; i < plan->axis_count; i++)
        json_object_set_new(axes, plan->axes[i].name, json_integer(plan->axes[i].size));
    return json_pack("{s:s, s:o, s:i, s:f, s:f, s:I, s:I, s:i, s:s, s:o, s:b, s:o, s:I, s:I, s:o}",
                     "program", plan->program, "axes", axes, "steps", (int)plan->step_count, "flop",
                     c->flop, "bytes_moved", c->bytes, "peak_bytes", (json_int_t)c->peak_bytes,
                     "bound_bytes", (json_int_t)c->bound_bytes, "peak_step", (int)c->peak_step,
                     "placement", c->placement, "candidates", candidates, "checked", c->checked,
                     "state_bytes", classes_json(c->state_bytes), "const_bytes",
                     (json_int_t)c->const_bytes, "input_bytes", (json_int_t)c->input_bytes,
                     "buffers", buffers_json(arena, diags, plan));
}

static void print_json(const struct planning *p)
{
    json_t *root = plan_json(p->line->arena, p->line->diags, p->plans[0]);
    json_object_set_new(root, "model", json_string(p->s->model->path));
    json_object_set_new(root, "compile_ms", json_real(p->milliseconds));
    if (p->plan_count > 1)
        json_object_set_new(root, "update", plan_json(p->line->arena, p->line->diags, p->plans[1]));
    if (p->options.gradients) {
        struct plan_total t = sum_up(p);
        json_object_set_new(root, "total_state_bytes", classes_json(t.state));
        json_object_set_new(root, "total_bytes", json_integer(t.all));
        json_object_set_new(root, "frontier", frontier_json(p));
    }
    json_print(p->line->diags, root, 9);
}

/* --- dumps and drawings ------------------------------------------------------------------- */

static bool find_pass(struct planning *p)
{
    const char *text = option_text(p->line, "dump");
    if (option_given(p->line, "program"))
        text = "after:elaborate";
    if (!text)
        return true;
    const char *name = strncmp(text, "after:", 6) == 0 ? text + 6 : text, *names[32];
    char *all = arena_strdup(p->line->arena, "");
    for (uint32_t i = 0; i < pipeline_count; i++) {
        names[i] = pipeline[i].name;
        all = arena_printf(p->line->arena, "%s%s%s", all, i ? ", " : "", names[i]);
        if (strcmp(names[i], name) == 0)
            p->options.dump_after = names[i];
    }
    if (p->options.dump_after)
        return true;
    diag_error(p->line->diags, FAULT_CONFIG, (struct span){0}, "no pass is called `%s`", name);
    const char *near = diag_nearest(name, names, pipeline_count);
    if (near)
        diag_hint(p->line->diags, "did you mean --dump after:%s? There are: %s", near, all);
    else
        diag_hint(p->line->diags, "--dump after:PASS, one of: %s", all);
    return false;
}

static bool write_map(struct planning *p, const char *path)
{
    char *svg = plan_map(p->line->arena, p->line->diags, p->plans[0]);
    FILE *file = fopen(path, "w");
    bool good = file && fputs(svg, file) != EOF;
    if (file && fclose(file) != 0)
        good = false;
    if (!good)
        diag_error(p->line->diags, FAULT_RUN, (struct span){0}, "cannot write `%s`: %s", path,
                   strerror(errno));
    return good;
}

/* The graph as written: passes rewrite the one they get, so this is another. */
static bool write_drawing(struct planning *p, const char *path)
{
    struct graph *g = elaborate(p->s->model, &p->request);
    return g && draw_graph(p->line->diags, p->line->arena, graph_dot(p->line->arena, g), path);
}

static int report(struct planning *p)
{
    const char *svg = option_text(p->line, "svg"), *map = option_text(p->line, "map");
    if (!find_pass(p) || !compile(p) ||
        (p->options.gradients && !p->options.dump_after && !find_frontier(p)) ||
        (map && !write_map(p, map)) || (svg && !write_drawing(p, svg)))
        return diags_exit_code(p->line->diags);
    if (p->options.dump_after)
        fputs(p->options.dump, stdout);
    else if (option_given(p->line, "json"))
        print_json(p);
    else {
        fputs(plan_report(p->line->arena, p->line->diags, p->plans[0],
                          option_given(p->line, "buffers")),
              stdout);
        if (p->options.gradients) {
            print_total(p);
            print_frontier(p);
        }
        printf("compiled in %.0f ms\n", p->milliseconds);
    }
    return diags_exit_code(p->line->diags);
}

static int run(struct command_line *line)
{
    struct session s = {.limited = true};
    struct project project;
    struct planning p = {.line = line,
                         .s = &s,
                         .program = line->positional_count > 1 ? line->positional[1] : "train"};
    enum document kind;
    const char *path = document_find(line, line->positional[0], &kind);
    if (!path)
        return diags_exit_code(line->diags);
    if (kind == DOCUMENT_RECIPE) {
        if (!document_recipe(&project, line, path, true))
            return diags_exit_code(line->diags);
        p.s = &project.s;
        p.recipe = project.recipe;
        p.project = &project;
    } else if (!session_model(&s, line, path) || !session_machine(&s))
        return diags_exit_code(line->diags);
    return report(&p);
}

const struct command command_plan = {
    .name = "plan",
    .usage = "MODEL|RECIPE [PROGRAM] [key=value…] [--dump after:PASS] [--json] [--buffers] [--svg "
             "F] [--map F]",
    .doc = "what a program will run and the memory it needs, with the lower bound",
    .detail =
        "The program is `train` unless another is named; one that minimises is planned with its\n"
        "gradients and the update that follows. A recipe gives batch, accumulation and params;\n"
        "for a model write them: sedge plan sedd-absorb batch=4 preset=tiny.\n"
        "With a limit of memory (the key `memory`, or --memory) values are dropped and computed\n"
        "twice; the results stay the same, bit for bit.",
    .least = 1,
    .most = 2,
    .overrides = true,
    .options = options,
    .run = run,
};
