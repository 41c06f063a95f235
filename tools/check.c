/* sedge check: everything that can be said of a model, a recipe or a grammar before it runs, or
 * every error at once. */
#include "graph/loop.h"
#include "graph/writer.h"
#include "tools/document.h"
#include "tools/process_show.h"

#include <stdio.h>
#include <string.h>

static const struct option_spec options[] = {{0}};

struct checking {
    struct command_line *line;
    struct session *s;
    const struct recipe *recipe;         /* or NULL */
    const struct vocabulary *vocabulary; /* of the recipe's data; NULL: none */
    struct writer head, w;               /* printed when all is well */
};

/* --- parameters --------------------------------------------------------------------------- */

static int64_t row_elements(const struct state_row *row)
{
    return type_count(&row->type);
}

/* By the first component of their names: "blocks" for blocks.0.norm1.weight. */
static void write_parameters(struct checking *c)
{
    const struct state_table *t = &c->s->model->states;
    int64_t total = 0;
    for (uint32_t i = 0; i < t->count; i++)
        if (t->rows[i].class == STATE_PARAMETER)
            total += row_elements(&t->rows[i]);
    write_text(&c->head, "parameters: %lld (%.1f MiB)\n", (long long)total,
               (double)total * 4 / (1024 * 1024));
    bool *done = arena_new_array(c->line->arena, bool, t->count + 1);
    for (uint32_t i = 0; i < t->count; i++) {
        if (done[i] || t->rows[i].class != STATE_PARAMETER)
            continue;
        size_t n = strcspn(t->rows[i].name, ".");
        int64_t sum = 0;
        uint32_t tensors = 0;
        for (uint32_t k = i; k < t->count; k++) {
            const char *name = t->rows[k].name;
            if (t->rows[k].class != STATE_PARAMETER || strcspn(name, ".") != n ||
                strncmp(name, t->rows[i].name, n) != 0)
                continue;
            done[k] = true;
            tensors++;
            sum += row_elements(&t->rows[k]);
        }
        write_text(&c->head, "  %-20.*s %12lld   %u tensor%s\n", (int)n, t->rows[i].name,
                   (long long)sum, tensors, tensors == 1 ? "" : "s");
    }
}

/* --- programs ----------------------------------------------------------------------------- */

static void write_bindings(struct checking *c, const struct plan *p, const char *what,
                           const struct plan_binding *list, uint32_t count)
{
    struct graph axes = {.axes = (struct axis *)p->axes, .axis_count = p->axis_count};
    for (uint32_t i = 0; i < count; i++)
        write_text(&c->w, "%s%s: %s", i ? ", " : what, list[i].name,
                   type_print(c->line->arena, &axes, &p->tensors[list[i].tensor].type));
    write_text(&c->w, count ? "\n" : "");
}

/* Inputs with a default, which the plan does not ask for. */
static void write_optional(struct checking *c, const struct plan *p)
{
    bool any = false;
    for (const char **name = program_inputs(c->s->model, p->program); *name; name++) {
        if (plan_input(p, *name))
            continue;
        write_text(&c->w, "%s%s", any ? ", " : "    optional ", *name);
        any = true;
    }
    write_text(&c->w, any ? "\n" : "");
}

/* Costs are known for a planned batch; what is said is for one token of it. */
static void write_cost(struct checking *c, const struct plan *p, int64_t batch, bool gradients)
{
    const struct param *length = model_param(c->s->model, "length");
    bool tokens = length && length->value.kind == NUMBER_INT && length->value.i > 0;
    double units = (double)batch * (tokens ? (double)length->value.i : 1);
    write_text(&c->w, "    %.4g MFLOP a %s%s, %.1f MiB of memory at batch %lld\n",
               p->certificate.flop / units / 1e6, tokens ? "token" : "sequence",
               gradients ? " with gradients" : "", (double)p->arena_bytes / (1024 * 1024),
               (long long)batch);
}

static int64_t planned_batch(const struct plan *p)
{
    for (uint32_t i = 1; i < p->axis_count; i++)
        if (strcmp(p->axes[i].name, "batch") == 0)
            return p->axes[i].size;
    return 1;
}

static void check_programs(struct checking *c)
{
    struct model *m = c->s->model;
    write_text(&c->w, m->programs.count ? "programs\n"
                                        : "programs: none; a fragment, for models to include\n");
    for (uint32_t i = 0; i < m->programs.count; i++) {
        const struct section *s = &m->programs.items[i];
        struct elaborate_request q = {.program = s->name};
        struct compile_options o = {.gradients = yaml_get(s->body, "minimize") != NULL,
                                    .verify = true};
        struct named_size dims[] = {{"batch", c->recipe ? c->recipe->train.batch : 0}};
        if (c->recipe && o.gradients) {
            q.dims = dims;
            q.dim_count = 1;
        }
        struct plan *p = session_compile(c->s, &q, &o);
        if (!p)
            continue;
        write_text(&c->w, "  %s%s\n", s->name,
                   o.gradients ? arena_printf(c->line->arena, ": minimises %s",
                                              yaml_get(s->body, "minimize")->text)
                               : "");
        write_bindings(c, p, "    in  ", p->inputs, p->input_count);
        write_optional(c, p);
        write_bindings(c, p, "    out ", p->outputs, p->output_count);
        write_cost(c, p, planned_batch(p), o.gradients);
    }
}

/* --- loops -------------------------------------------------------------------------------- */

/* The programs that a loop names must exist: reading a loop checks that, running it the types. */
static void check_loops(struct checking *c)
{
    struct model *m = c->s->model;
    if (m->loops.count)
        write_text(&c->w, "loops\n");
    for (uint32_t i = 0; i < m->loops.count; i++) {
        const struct loop *l = loop_read(m, m->loops.items[i].name);
        if (!l)
            continue;
        write_text(&c->w, "  %s: ", l->name);
        if (l->grid)
            write_text(&c->w, "%lld %ssteps from t = %g to %g; ", (long long)l->steps,
                       l->spacing == SPACING_LOG ? "log-spaced " : "", l->from, l->to);
        else
            write_text(&c->w, "until its condition holds%s; ",
                       l->max ? arena_printf(m->arena, " or %lld turns", (long long)l->max) : "");
        for (uint32_t k = 0; k < l->body_count; k++)
            write_text(&c->w, "%s%s%s", k ? ", " : "calls ", l->body[k].program,
                       l->body[k].when ? arena_printf(m->arena, " when %s",
                                                      expr_print(m->arena, l->body[k].when))
                                       : "");
        write_text(&c->w, "\n");
    }
    if (c->recipe && c->recipe->sample.sampler && m->loops.count &&
        !section_find(&m->loops, c->recipe->sample.sampler)) {
        diag_error(m->diags, FAULT_CONFIG, (struct span){0},
                   "the model has no loop `%s` to sample with", c->recipe->sample.sampler);
        const char *near = section_nearest(m->arena, &m->loops, c->recipe->sample.sampler);
        if (near)
            diag_hint(m->diags, "sample.sampler: did you mean `%s`?", near);
        else
            diag_hint(m->diags, "sedge explain sample.sampler");
    }
}

/* --- the command -------------------------------------------------------------------------- */

static void write_params(struct checking *c)
{
    const struct model *m = c->s->model;
    write_text(&c->w, "params:");
    for (uint32_t i = 0; i < m->param_count; i++)
        write_text(&c->w, "%s %s %s", i ? "," : "", m->params[i].name,
                   m->params[i].value.kind == NUMBER_REAL
                       ? real_print(m->arena, m->params[i].value.r)
                       : arena_printf(m->arena, "%lld", (long long)m->params[i].value.i));
    write_text(&c->w, "\n");
}

/* By token; NULL where no data gives them, or fewer than the chain has. */
static const char *const *state_names(const struct checking *c, const struct chain *chain)
{
    const struct vocabulary *v = c->vocabulary;
    return v && v->size >= (uint32_t)chain->tokens ? v->symbols : NULL;
}

static int check_model(struct checking *c)
{
    struct model *m = c->s->model;
    write_params(c);
    for (uint32_t i = 0; i < m->process_count; i++)
        process_show(&c->w, &m->processes[i], state_names(c, &m->processes[i].chain),
                     section_find(&m->programs, "bound_base") != NULL);
    check_programs(c);
    check_loops(c);
    int code = diags_exit_code(c->line->diags);
    if (code)
        return code;
    write_parameters(c); /* known only now, but what is asked for first */
    printf("%s%s", c->head.text, c->w.text);
    return 0;
}

static int check_recipe(struct checking *c, const char *path)
{
    struct project p;
    if (!document_recipe(&p, c->line, path, false))
        return diags_exit_code(c->line->diags);
    c->s = &p.s;
    c->recipe = p.recipe;
    c->vocabulary = p.vocabulary;
    if (p.data)
        write_text(&c->head, "%s: recipe of %s\ndata: %s\n", path, p.s.model->path,
                   dataset_description(p.data));
    return check_model(c);
}

static int check_grammar(struct command_line *line, const char *path)
{
    struct dataset_options o = {
        .files = &path, .file_count = 1, .valid = 0, .seed = 1, .length = 1};
    struct dataset *data = dataset_open(line->diags, line->arena, &o);
    if (!data)
        return diags_exit_code(line->diags);
    const struct grammar *g = dataset_grammar(data);
    printf("%s: grammar, %u states, %u arcs, %u symbols (words)\n", path, g->state_count,
           g->arc_count, dataset_vocab_size(data));
    dataset_close(data);
    return 0;
}

static int run(struct command_line *line)
{
    struct session s = {0};
    struct checking c = {
        .line = line, .s = &s, .head = {.arena = line->arena}, .w = {.arena = line->arena}};
    enum document kind;
    const char *path = document_find(line, line->positional[0], &kind);
    if (!path)
        return diags_exit_code(line->diags);
    if (kind == DOCUMENT_GRAMMAR)
        return check_grammar(line, path);
    if (kind == DOCUMENT_RECIPE)
        return check_recipe(&c, path);
    if (!session_model(&s, line, path))
        return diags_exit_code(line->diags);
    write_text(&c.head, "%s: model%s%s\n", path, s.model->doc ? ", " : "",
               s.model->doc ? s.model->doc : "");
    return check_model(&c);
}

const struct command command_check = {
    .name = "check",
    .usage = "FILE [key=value…]",
    .doc = "parameters, programs, cost and noise of a model or recipe, or every error at once",
    .detail =
        "FILE is a model, a recipe or a grammar, by path or by name. Every program is compiled,\n"
        "so that all that can be found before a run is found; a recipe's data is opened.",
    .least = 1,
    .most = 1,
    .overrides = true,
    .options = options,
    .run = run,
};
