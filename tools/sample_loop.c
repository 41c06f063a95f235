/* The loop that `sedge sample` runs: its programs, compiled with what is given, and its times. */
#include "ops/ops.h"
#include "tools/classes.h"
#include "tools/sample.h"

#include <stdlib.h>
#include <string.h>

/* --- which loop --------------------------------------------------------------------------- */

/* What shipped samplers need that not every model has. */
struct sampler_need {
    const char *name, *what;
};
#define POSTERIOR "a mask and a block `log_posterior`"
static const struct sampler_need sampler_needs[] = {
    {"ancestral", "a block `log_posterior` or `log_cavity`"},
    {"remask", POSTERIOR},
    {"confidence-position", POSTERIOR},
    {"confidence-keep-best", POSTERIOR},
};

static bool read_loop(struct sample_job *j)
{
    struct model *m = j->p.s.model;
    const char *asked = j->p.recipe->sample.sampler, *first = loop_default(m);
    const char *name = asked ? asked : first ? first : "tweedie";
    for (size_t i = 0; i < sizeof sampler_needs / sizeof *sampler_needs; i++) {
        const struct sampler_need *need = &sampler_needs[i];
        if (strcmp(need->name, name) != 0 || section_find(&m->loops, name))
            continue;
        diag_error(j->p.diags, FAULT_CONFIG, (struct span){0},
                   "this model has no sampler `%s`, which needs %s", name, need->what);
        diag_hint(j->p.diags, "this one samples by: %s", loop_names(m));
        return false;
    }
    j->loop = loop_read(m, name);
    j->by_place = j->loop && loop_puts(j->loop, "x");
    return j->loop != NULL;
}

/* --- programs ----------------------------------------------------------------------------- */

/* A program with the inputs that its calls give and those that are fields. */
static struct plan *compile_call(struct sample_job *j, const struct loop_need *need)
{
    const char **bind =
        arena_new_array(j->p.arena, const char *, need->input_count + j->field_count + 1);
    uint32_t n = 0;
    for (uint32_t k = 0; k < need->input_count; k++)
        bind[n++] = need->inputs[k];
    for (uint32_t k = 0; k < j->field_count; k++) {
        bool given = false;
        for (uint32_t i = 0; i < need->input_count; i++)
            given |= strcmp(need->inputs[i], j->names[k]) == 0;
        if (!given && project_takes(&j->p, need->program, j->names[k]))
            bind[n++] = j->names[k];
    }
    return project_plan(&j->p, need->program, j->batch, bind, n);
}

/* The name of the program that call or start I of the loop runs; NULL: a start without one. */
static const char *called(const struct loop *l, uint32_t i)
{
    if (i < l->body_count)
        return l->body[i].program;
    const struct loop_carry *carry = &l->carry[i - l->body_count];
    return carry->start == START_CALL ? carry->program : NULL;
}

/* The programs that the loop calls, each compiled once. */
static bool compile_calls(struct sample_job *j, struct plan **plans, const char **names,
                          uint32_t *count)
{
    struct loop_need *needs;
    uint32_t n = loop_needs(j->p.arena, j->loop, &needs);
    for (; *count < n; (*count)++) {
        names[*count] = needs[*count].program;
        plans[*count] = compile_call(j, &needs[*count]);
        if (!plans[*count])
            return false;
    }
    return true;
}

/* --- what is given, against what is taken ------------------------------------------------- */

/* Elements of a field of the run: what its data holds. */
static struct type field_type(const struct sample_job *j, const char *name)
{
    struct type t = {.dtype = DT_BOOL,
                     .rank = 2,
                     .dim = {{.size = j->batch}, {.size = j->p.length}, {.size = j->states}}};
    if (strcmp(name, "known") == 0)
        t.dtype = DT_TOKEN;
    else if (strcmp(name, "allowed") == 0)
        t.rank = 3;
    else if (strcmp(name, "label") == 0)
        t = (struct type){.dtype = DT_I32, .rank = 1, .dim = {{.size = j->batch}}};
    else if (strcmp(name, "gamma") == 0)
        t = (struct type){.dtype = DT_F64};
    return t;
}

/* Whether a call of the loop's body takes INPUT; a start that does is not enough. */
static bool body_takes(const struct sample_job *j, const struct loop *l, const char *input)
{
    for (uint32_t i = 0; i < l->body_count; i++)
        if (project_takes(&j->p, l->body[i].program, input))
            return true;
    return false;
}

/* The loops of the model that HAVE the name, whatever that is; NULL: none has. */
static const char *loops_that(const struct sample_job *j,
                              bool (*have)(const struct sample_job *, const struct loop *,
                                           const char *),
                              const char *name)
{
    const struct sections *loops = &j->p.s.model->loops;
    const char *list = NULL;
    for (uint32_t i = 0; i < loops->count; i++) {
        const struct loop *l = loop_read(j->p.s.model, loops->items[i].name);
        if (l && have(j, l, name))
            list = list ? arena_printf(j->p.arena, "%s, %s", list, l->name) : l->name;
    }
    return list;
}

static bool unused(const struct sample_job *j, const char *name, const char *what)
{
    bool class = strcmp(name, "label") == 0 || strcmp(name, "gamma") == 0;
    const char *others = loops_that(j, body_takes, name);
    diag_error(j->p.diags, FAULT_CONFIG, j->loop->span, "the sampler `%s` does not use %s",
               j->loop->name, what);
    if (others)
        diag_hint(j->p.diags, "samplers of this model that do: %s", others);
    else if (class)
        diag_hint(j->p.diags, "this model has no classes; models that have: labelled, guided, "
                              "trained on data.classes");
    else
        diag_hint(j->p.diags, "a program of the loop takes it as the input `%s`", name);
    return false;
}

/* A loop that takes a label draws from a class, which must be said where the model has some. */
static bool check_label(struct sample_job *j)
{
    if (j->label || !body_takes(j, j->loop, "label") || !model_param(j->p.s.model, "classes"))
        return true;
    diag_error(j->p.diags, FAULT_CONFIG, (struct span){0},
               "the sampler `%s` draws from a class: it needs --label", j->loop->name);
    diag_hint(j->p.diags, "classes: %s; from all of them draw other samplers, such as tweedie",
              class_list(&j->p));
    return false;
}

static bool same_sizes(const struct type *a, const struct type *b)
{
    bool same = a->dtype == b->dtype && a->rank == b->rank;
    for (uint32_t i = 0; same && i < a->rank; i++)
        same = a->dim[i].size == b->dim[i].size;
    return same;
}

/* Each field is taken by a program of the loop, with its type. Known positions need none: the loop
 * itself puts them back. */
static bool check_fields(struct sample_job *j, struct plan *const *plans, const char *const *names,
                         uint32_t count)
{
    for (uint32_t f = 0; f < j->field_count; f++) {
        const char *name = j->names[f];
        struct type type = field_type(j, name);
        bool taken = strcmp(name, "fixed") == 0 || strcmp(name, "known") == 0 ||
                     body_takes(j, j->loop, name);
        for (uint32_t i = 0; i < count; i++) {
            uint32_t input = plan_input(plans[i], name);
            const struct type *has = input ? &plans[i]->tensors[input].type : NULL;
            if (!has || same_sizes(&type, has))
                continue;
            diag_error(j->p.diags, FAULT_CONFIG, j->loop->span,
                       "the input `%s` of `%s` is %s, and `sample` gives %s", name, names[i],
                       type_print(j->p.arena, NULL, has), type_print(j->p.arena, NULL, &type));
            return false;
        }
        if (taken)
            continue;
        return unused(j, name,
                      type.rank == 3   ? "allowed sets"
                      : type.rank == 1 ? "a label"
                                       : "gamma");
    }
    return true;
}

/* Whether a program that the loop calls has the KEY or the SCALAR. */
static bool loop_mentions(const struct sample_job *j, const struct loop *l, const char *key,
                          const char *scalar)
{
    for (uint32_t i = 0; i < l->body_count + l->carry_count; i++) {
        const char *program = called(l, i);
        if (program && project_mentions(&j->p, program, key, scalar))
            return true;
    }
    return false;
}

static bool use_law(const struct sample_job *j, const struct loop *l, const char *law)
{
    return loop_mentions(j, l, NULL, law);
}

static bool does_without(const struct sample_job *j, const struct loop *l, const char *op)
{
    return !loop_mentions(j, l, op, NULL);
}

/* Scores that are not projected are no law of the clean token: a sampler that takes one out of them
 * would draw from another model than the one whose bound is reported. */
static bool check_scores(struct sample_job *j)
{
    const char *op = op_score_posterior.name;
    if (!project_raw(&j->p) || does_without(j, j->loop, op))
        return true;
    diag_error(j->p.diags, FAULT_CONFIG, j->loop->span,
               "the sampler `%s` draws from a law of the clean token, which scores that are not "
               "projected (process.project: off) do not give",
               j->loop->name);
    const char *others = loops_that(j, does_without, op);
    diag_hint(j->p.diags, "set process.project=on%s%s", others ? ", or sample by " : "",
              others ? others : "");
    return false;
}

/* A law that is asked for on the command line must be used by what the loop calls. */
static bool check_law(struct sample_job *j)
{
    static const char *const laws[][2] = {
        {"temperature", "temperature"}, {"top-p", "top_p"}, {"top-k", "top_k"}};
    for (size_t i = 0; i < sizeof laws / sizeof *laws; i++) {
        if (!option_given(j->p.line, laws[i][0]) || use_law(j, j->loop, laws[i][1]))
            continue;
        const char *others = loops_that(j, use_law, laws[i][1]);
        diag_error(j->p.diags, FAULT_CONFIG, j->loop->span, "the sampler `%s` does not use --%s",
                   j->loop->name, laws[i][0]);
        if (others)
            diag_hint(j->p.diags, "samplers of this model that do: %s", others);
        else
            diag_hint(j->p.diags, "it changes the law of a clean token, which no sampler of this "
                                  "model draws from");
        return false;
    }
    return true;
}

/* No cut can leave more tokens than there are. */
static bool check_top_k(struct sample_job *j)
{
    const struct param *top_k = model_param(j->p.s.model, "top_k");
    if (!top_k || top_k->value.i <= j->p.vocabulary->size)
        return true;
    diag_error(j->p.diags, FAULT_CONFIG, (struct span){0},
               "top_k is %lld, and there are %u symbols", (long long)top_k->value.i,
               j->p.vocabulary->size);
    diag_hint(j->p.diags, "0 is all of them");
    return false;
}

/* From left to right what is given comes first. */
static bool check_given_first(struct sample_job *j)
{
    for (uint32_t i = 0; j->by_place && i < j->text_count; i++) {
        const struct template *text = &j->texts[i];
        for (uint32_t k = 1; k < text->count; k++) {
            if (text->places[k].token < 0 || text->places[k - 1].token >= 0)
                continue;
            diag_error(j->p.diags, FAULT_CONFIG, j->loop->span,
                       "the sampler `%s` goes from left to right: what follows a free symbol "
                       "cannot be given",
                       j->loop->name);
            diag_hint(j->p.diags, "give how the text begins, as --prefix does; diffusion models "
                                  "fill in");
            return false;
        }
    }
    return true;
}

/* --- times -------------------------------------------------------------------------------- */

/* The numbers of TEXT, divided by blanks or commas. */
static bool read_numbers(struct sample_job *j, const char *name, const char *text, double *out,
                         int64_t *count)
{
    while (*(text += strspn(text, " \t\r\n,"))) {
        char *end;
        out[*count] = strtod(text, &end);
        if (end == text) {
            diag_error(j->p.diags, FAULT_DATA, (struct span){0}, "%s: `%.*s` is no time", name,
                       (int)strcspn(text, " \t\r\n,"), text);
            diag_hint(j->p.diags, "a grid is falling times, as in 1, 0.5, 0.1");
            return false;
        }
        (*count)++;
        text = end;
    }
    return true;
}

static bool read_grid_file(struct sample_job *j, const char *name)
{
    const char *path = project_data_file(&j->p, name);
    struct source source;
    int64_t count = 0;
    if (!source_open(j->p.diags, path, &source)) {
        diag_hint(j->p.diags, "a grid is uniform, log, cosine or quadratic, falling times as in "
                              "[1, 0.5, 0.1], or a file of such times");
        return false;
    }
    char *text = arena_strndup(j->p.arena, source.text, source.size);
    double *times = arena_new_array(j->p.arena, double, source.size + 1);
    source_close(&source);
    return read_numbers(j, path, text, times, &count) &&
           loop_set_times(j->p.diags, j->loop, times, count, (struct span){0});
}

/* sample.grid in place of the loop's own: a spacing, a file, or times. */
static bool read_grid(struct sample_job *j)
{
    const struct texts *grid = &j->p.recipe->sample.grid;
    int64_t count = 0;
    if (!grid->count && !option_given(j->p.line, "steps"))
        return true;
    if (!j->loop->grid)
        return loop_no_grid(j->p.diags, j->loop, "leave --grid and --steps out");
    if (!grid->count)
        return true;
    for (int i = 0; grid->count == 1 && i < SPACING_COUNT; i++) {
        if (strcmp(grid->items[0], loop_spacings[i]) != 0)
            continue;
        j->loop->spacing = (enum loop_spacing)i;
        j->loop->times = NULL;
        return true;
    }
    char *end;
    bool one_time = grid->count == 1 && (strtod(grid->items[0], &end), !*end);
    if (grid->count == 1 && !one_time)
        return read_grid_file(j, grid->items[0]);
    double *times = arena_new_array(j->p.arena, double, grid->count);
    for (uint32_t i = 0; i < grid->count; i++) {
        int64_t one = 0;
        if (!read_numbers(j, "sample.grid", grid->items[i], times + i, &one))
            return false;
        count++;
    }
    return loop_set_times(j->p.diags, j->loop, times, count, (struct span){0});
}

/* A grid of times has its own number of steps. */
static void warn_of_steps(struct sample_job *j)
{
    int64_t steps = j->p.recipe->sample.steps, has = j->loop->steps;
    if (j->p.recipe->sample.grid.count && j->loop->times && option_given(j->p.line, "steps") &&
        steps != has)
        diag_warning(j->p.diags, (struct span){0},
                     "--steps %lld is not used: the times of the grid make %lld", (long long)steps,
                     (long long)has);
}

static bool has_no_limit(const struct sample_job *j, const struct loop *l, const char *name)
{
    (void)j, (void)name;
    return !(l->limit > 0);
}

/* The times of the grid, with those that its limit asks for. */
static bool make_grid(struct sample_job *j, int64_t steps)
{
    if (loop_grid(j->p.s.model, j->loop, steps, &j->times))
        return true;
    const char *others = loops_that(j, has_no_limit, NULL);
    if (others)
        diag_hint(j->p.diags, "raise the limit, or take a sampler that has none: %s", others);
    else
        diag_hint(j->p.diags, "raise the limit, or let the noise end earlier");
    return false;
}

static bool make_times(struct sample_job *j)
{
    int64_t steps = j->p.recipe->sample.steps;
    if (option_given(j->p.line, "steps") && steps == 0) {
        diag_error(j->p.diags, FAULT_CONFIG, (struct span){0}, "--steps 0 draws nothing");
        diag_hint(j->p.diags, "at least 1; without --steps, as the recipe or the loop says");
        return false;
    }
    if (!read_grid(j))
        return false;
    warn_of_steps(j);
    if (j->loop->grid)
        return make_grid(j, steps);
    j->times.steps = j->loop->max;
    return true;
}

/* --- opening ------------------------------------------------------------------------------ */

static bool check_carries(struct sample_job *j)
{
    for (uint32_t i = 0; i < j->loop->carry_count; i++) {
        if (j->loop->carry[i].start != START_GIVEN)
            continue;
        diag_error(j->p.diags, FAULT_CONFIG, j->loop->carry[i].span,
                   "loop `%s` waits for `%s` to be given, and `sample` gives nothing",
                   j->loop->name, j->loop->carry[i].name);
        return false;
    }
    for (uint32_t i = 0; i < j->loop->carry_count; i++) {
        const struct loop_carry *c = &j->loop->carry[i];
        bool total = false;
        for (int k = 0; k < TOTAL_COUNT; k++)
            total |= strcmp(c->name, sample_totals[k]) == 0;
        if (!total || (c->dtype == DT_F64 && c->rank == 1 && c->dim[0] < 0))
            continue;
        diag_error(j->p.diags, FAULT_CONFIG, c->span, "`%s` is a count of each sequence", c->name);
        diag_hint(j->p.diags, "write %s: {f64: [batch], start: 0}", c->name);
        return false;
    }
    if (loop_carry_data(j->looper, "x"))
        return true;
    diag_error(j->p.diags, FAULT_CONFIG, j->loop->span, "loop `%s` carries no `x` to print",
               j->loop->name);
    return false;
}

bool sample_open_loop(struct sample_job *j, const char *run)
{
    struct project *p = &j->p;
    const char *which = option_text(p->line, "checkpoint");
    uint32_t count = 0;
    char *weights;
    if (!read_loop(j) || !make_times(j))
        return false;
    uint32_t most = j->loop->body_count + j->loop->carry_count;
    struct plan **plans = arena_new_array(p->arena, struct plan *, most + 1);
    const char **names = arena_new_array(p->arena, const char *, most + 1);
    struct loop_program *programs = arena_new_array(p->arena, struct loop_program, most + 1);
    if (!check_given_first(j) || !check_top_k(j) || !check_label(j) || !check_scores(j) ||
        !compile_calls(j, plans, names, &count) || !check_fields(j, plans, names, count) ||
        !check_law(j) || !project_state(p, false) ||
        !project_weights(p, run, which ? which : "last", &weights))
        return false;
    j->steered = loop_mentions(j, j->loop, op_gradient.name, NULL);
    j->by_thinning = loop_mentions(j, j->loop, op_thin_next.name, NULL);
    j->by_event = j->by_thinning || loop_mentions(j, j->loop, op_first_hit.name, NULL);
    j->by_order = loop_mentions(j, j->loop, op_reveal.name, NULL);
    for (uint32_t i = 0; i < count; i++) {
        programs[i].name = names[i];
        programs[i].loaded = executor_load(p->diags, p->arena, &p->s.engine, plans[i]);
        if (!programs[i].loaded)
            return false;
    }
    j->looper =
        loop_open(p->diags, p->arena, j->loop, programs, count, j->names, j->field_count, j->batch);
    return j->looper && check_carries(j);
}
