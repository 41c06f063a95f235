/* Opens, compiles and runs models for tests; see rig.h. */
#include "tests/support/rig.h"

#include "graph/recipe.h"
#include "ops/ops.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *rig_isa(void)
{
    const char *wanted = getenv("SEDGE_ISA");
    const char *isa = kernel_isa(wanted && wanted[0] ? wanted : NULL);
    cr_assert_not_null(isa, "SEDGE_ISA=%s: no such instruction set here", wanted);
    return isa;
}

void rig_open(struct rig *rig)
{
    *rig = (struct rig){.arena = arena_new()};
    rig->diags = diags_new(rig->arena);
    rig->engine.isa = rig_isa();
    rig->engine.threads = 1;
}

void rig_model(struct rig *rig, const char *path, const char *const *settings)
{
    struct setting set[32];
    struct model_request q = {.path = path, .settings = set};
    rig_open(rig);
    for (; settings && *settings; settings++) {
        struct override o;
        cr_assert(override_parse(rig->diags, rig->arena, *settings, &o));
        if (strcmp(o.key, "preset") == 0)
            q.preset = o.value->text;
        else
            set[q.setting_count++] = (struct setting){o.key, o.value, LAYER_COMMAND};
    }
    rig->model = model_read(rig->arena, rig->diags, &ops_table, &q);
    cr_assert_not_null(rig->model, "%s", diags_render(rig->diags, false));
}

void rig_model_text(struct rig *rig, const char *text)
{
    char folder[] = "/tmp/sedge-test-XXXXXX", here[4096];
    cr_assert(getcwd(here, sizeof here) && mkdtemp(folder) && chdir(folder) == 0);
    FILE *file = fopen("m.yaml", "w");
    cr_assert(file && fputs(text, file) >= 0 && fclose(file) == 0);
    rig_model(rig, "m.yaml", NULL);
    cr_assert(unlink("m.yaml") == 0 && chdir(here) == 0 && rmdir(folder) == 0);
}

void rig_close(struct rig *rig)
{
    for (uint32_t i = 0; i < rig->loaded_count; i++)
        executor_unload(rig->loaded[i]);
    region_unmap(&rig->engine.arena);
    state_close(&rig->state);
    arena_free(rig->arena);
}

void rig_quiet(struct rig *rig)
{
    cr_assert_str_eq(diags_render(rig->diags, false), "");
}

void rig_expect(struct rig *rig, const char *message)
{
    char *text = diags_render(rig->diags, false), *at = strstr(text, "error: ");
    cr_assert_not_null(at, "nothing was reported, not %s", message);
    at[strcspn(at, "\n")] = 0;
    cr_assert_str_eq(at + strlen("error: "), message);
    cr_assert_null(strstr(at + strlen(at) + 1, "error: "));
}

/* --- compiling ---------------------------------------------------------------------------- */

static uint32_t list_count(const char *const *list)
{
    uint32_t n = 0;
    while (list && list[n])
        n++;
    return n;
}

static struct elaborate_request request_for(const struct rig_program *p, struct named_size *batch)
{
    *batch = (struct named_size){"batch", p->batch};
    return (struct elaborate_request){.program = p->name,
                                      .dims = batch,
                                      .dim_count = p->batch > 0,
                                      .bind = p->bind,
                                      .bind_count = list_count(p->bind),
                                      .want = p->want,
                                      .want_count = list_count(p->want)};
}

struct graph *rig_elaborate(struct rig *rig, const struct rig_program *program)
{
    struct named_size batch;
    struct elaborate_request q = request_for(program, &batch);
    struct graph *g = elaborate(rig->model, &q);
    cr_assert_not_null(g, "%s: %s", program->name, diags_render(rig->diags, false));
    return g;
}

struct plan *rig_compile(struct rig *rig, const struct rig_program *program,
                         const struct compile_options *options)
{
    struct compile_options o = options ? *options : (struct compile_options){0};
    o.verify = true;
    struct plan *plan = compile_graph(rig_elaborate(rig, program), &o);
    cr_assert_not_null(plan, "%s: %s", program->name, diags_render(rig->diags, false));
    return plan;
}

/* --- state -------------------------------------------------------------------------------- */

void rig_state(struct rig *rig, const struct state_table *table, uint64_t seed)
{
    cr_assert(state_open(rig->diags, rig->arena, table, NULL, &rig->state));
    rig->engine.state = &rig->state;
    state_init(&rig->state, seed);
}

static double normal(const char *name, int64_t i)
{
    struct random_key key = random_key(3, "rig");
    uint32_t stream = random_stream(name), at = (uint32_t)i * 2;
    double u = random_uniform(key, 0, stream, 0, at), v = random_uniform(key, 0, stream, 0, at + 1);
    return sqrt(-2 * log1p(-u)) * cos(6.283185307179586 * v);
}

void rig_fill(struct rig *rig, double scale)
{
    for (uint32_t r = 0; r < rig->state.count; r++) {
        const struct state_row *row = &rig->state.table->rows[r];
        float *data = (float *)(void *)rig->state.row[r];
        for (int64_t i = 0; row->type.dtype == DT_F32 && i < type_count(&row->type); i++) {
            double x = scale * normal(row->name, i);
            data[i] = (float)(strncmp(row->name, "adam_v/", 7) == 0 ? x * x : x);
        }
    }
}

struct tensor rig_row_tensor(const struct rig *rig, const char *name)
{
    uint32_t r = state_find(rig->state.table, name);
    cr_assert(r < rig->state.count, "there is no row %s", name);
    const struct type *type = &rig->state.table->rows[r].type;
    struct tensor t = {.dtype = type->dtype, .rank = type->rank, .data = rig->state.row[r]};
    for (uint32_t k = 0; k < type->rank; k++)
        t.dim[k] = type->dim[k].size;
    return t;
}

float *rig_row(const struct rig *rig, const char *name)
{
    return rig_row_tensor(rig, name).data;
}

/* --- running ------------------------------------------------------------------------------ */

struct loaded *rig_load(struct rig *rig, const struct plan *plan)
{
    struct loaded *l = executor_load(rig->diags, rig->arena, &rig->engine, plan);
    cr_assert_not_null(l, "%s", diags_render(rig->diags, false));
    cr_assert(rig->loaded_count < RIG_PLANS);
    return rig->loaded[rig->loaded_count++] = l;
}

static const void *find_value(const struct rig_value *values, uint32_t count, const char *name)
{
    for (uint32_t i = 0; i < count; i++)
        if (strcmp(values[i].name, name) == 0)
            return values[i].data;
    cr_assert_fail("the test gives no value for %s", name);
    return NULL;
}

void rig_run(struct loaded *loaded, const struct rig_value *values, uint32_t count, int64_t batch,
             const struct run *how)
{
    const struct plan *plan = executor_plan(loaded);
    const void *inputs[64];
    struct run run = how ? *how : (struct run){.key = random_key(1, "rig")};
    cr_assert(plan->input_count <= 64);
    for (uint32_t i = 0; i < plan->input_count; i++)
        inputs[i] = find_value(values, count, plan->inputs[i].name);
    run.inputs = inputs;
    for (uint32_t a = 1; a < plan->axis_count; a++)
        run.count[a] = plan->axes[a].counter ? 0 : batch;
    uint32_t step;
    bool clean = executor_run(loaded, &run, &step);
    cr_assert(clean, "%s: step %u, `%s`, made a value that is not finite", plan->program, step,
              plan->steps[step].op);
}

double rig_element(const struct tensor *t, int64_t i)
{
    switch (t->dtype) {
    case DT_F32:
        return ((const float *)t->data)[i];
    case DT_F64:
        return ((const double *)t->data)[i];
    case DT_BOOL:
        return ((const uint8_t *)t->data)[i];
    case DT_I64:
        return (double)((const int64_t *)t->data)[i];
    default:
        return ((const int32_t *)t->data)[i];
    }
}

struct supplier {
    struct rig *rig;
    const struct rig_value *values;
    uint32_t count;
};

static bool supply(void *context, const struct graph *graph, uint32_t value,
                   const struct ref_tensor *out)
{
    const struct supplier *s = context;
    const struct value *v = &graph->values[value];
    struct tensor from = {.dtype = v->type.dtype};
    if (v->state)
        from.data = s->rig->state.row[v->state - 1];
    for (uint32_t i = 0; i < graph->input_count; i++)
        if (graph->inputs[i].value == value)
            from.data = (void *)(uintptr_t)find_value(s->values, s->count, graph->inputs[i].name);
    int64_t n = 1;
    for (uint32_t k = 0; k < out->rank; k++)
        n *= out->dim[k];
    for (int64_t i = 0; from.data && i < n; i++)
        out->data[i] = rig_element(&from, i);
    return from.data != NULL;
}

struct ref_tensor *rig_reference(struct rig *rig, const struct graph *graph,
                                 const struct rig_value *values, uint32_t count, int64_t batch,
                                 const struct run *how)
{
    struct run run = how ? *how : (struct run){.key = random_key(1, "rig")};
    struct supplier s = {rig, values, count};
    int64_t counts[16] = {0};
    cr_assert(graph->axis_count <= 16);
    for (uint32_t a = 1; a < graph->axis_count; a++)
        counts[a] = batch ? batch : graph->axes[a].size;
    struct reference_io io = {.supply = supply,
                              .context = &s,
                              .draw = {.key = run.key,
                                       .iteration = run.iteration,
                                       .sequence = run.sequence,
                                       .sequences = run.sequences},
                              .axis_count = counts};
    if (!io.draw.sequences) /* as the executor: those of this run */
        io.draw.sequences = graph->axis_count > 1 ? (uint32_t)counts[1] : 1;
    struct ref_tensor *out = arena_new_array(rig->arena, struct ref_tensor, graph->value_count);
    cr_assert(reference_run(graph, &io, rig->arena, out), "%s", diags_render(rig->diags, false));
    return out;
}

/* --- results ------------------------------------------------------------------------------ */

struct tensor rig_output(const struct loaded *loaded, const char *name)
{
    const struct plan *plan = executor_plan(loaded);
    uint32_t t = plan_output(plan, name);
    cr_assert(t, "%s has no output %s", plan->program, name);
    return executor_output(loaded, t);
}

double rig_distance(const struct tensor *a, const struct tensor *b)
{
    int64_t n = tensor_size(b);
    double apart = 0, norm = 0;
    cr_assert_eq(tensor_size(a), n);
    for (int64_t i = 0; i < n; i++) {
        double x = rig_element(a, i), y = rig_element(b, i);
        apart += (x - y) * (x - y);
        norm += y * y;
    }
    return norm > 0 ? sqrt(apart / norm) : sqrt(apart);
}
