/* Every shipped model through the whole pipeline: what the plan promises at the sizes people use,
 * and what it computes at a size where the double references can run everything. */
#include "graph/base/check.h"
#include "graph/base/sanitize.h"
#include "ops/kernels/transition.h"
#include "passes/storage.h"
#include "tests/support/rig.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- which models there are --------------------------------------------------------------- */

#define MODELS 32

/* Copied as they are from the process that lists them to those that run a test. */
struct which {
    char path[300], preset[20];
};

/* A file in models/ is a model where it says a process; all others are parts of some. */
static int is_model(const struct dirent *entry)
{
    const char *dot = strrchr(entry->d_name, '.');
    char path[300], line[4096];
    bool found = false;
    if (!dot || strcmp(dot, ".yaml") != 0)
        return false;
    snprintf(path, sizeof path, "models/%s", entry->d_name);
    FILE *file = fopen(path, "r");
    BUG_ON(!file);
    while (!found && fgets(line, sizeof line, file))
        found = strncmp(line, "process", 7) == 0;
    fclose(file);
    return found;
}

/* One for each model, in the order of their names, and each of COUNT presets (NULL: none). */
static struct criterion_test_params every_model(const char *const *presets, uint32_t count)
{
    static struct which cases[3 * MODELS];
    struct dirent **entries;
    uint32_t n = 0;
    int files = scandir("models", &entries, is_model, alphasort);
    BUG_ON(files <= 0 || files > MODELS || count > 3);
    for (int i = 0; i < files; i++) {
        for (uint32_t k = 0; k < count; k++) {
            struct which *w = &cases[n++];
            snprintf(w->path, sizeof w->path, "models/%s", entries[i]->d_name);
            snprintf(w->preset, sizeof w->preset, "%s", presets ? presets[k] : "");
        }
        free(entries[i]);
    }
    free(entries);
    return cr_make_param_array(struct which, cases, n);
}

/* --- plans at real sizes ------------------------------------------------------------------ */

static bool alive(const struct plan_buffer *b, uint32_t step)
{
    return b->first <= step && step <= b->last;
}

static bool holds(const struct plan_buffer *b, int64_t offset, int64_t bytes)
{
    return b->offset <= offset && offset + bytes <= b->offset + b->bytes;
}

/* Bytes of the arena that a step uses lie in exactly one buffer that is alive then. */
static bool is_listed(const struct plan *p, uint32_t step, int64_t offset, int64_t bytes)
{
    uint32_t found = 0;
    for (uint32_t b = 0; b < p->buffer_count; b++)
        found += alive(&p->buffers[b], step) && holds(&p->buffers[b], offset, bytes);
    return found == 1;
}

/* The buffers that the plan lists are those that its steps use, from the step that makes them; at
 * the peak they add up to the bound, and at no step to more. */
static bool buffers_are_right(const struct plan *p)
{
    int64_t most = 0, peak = 0;
    for (uint32_t i = 0; i < p->step_count; i++) {
        const struct plan_step *s = &p->steps[i];
        int64_t sum = 0;
        for (uint32_t b = 0; b < p->buffer_count; b++)
            sum += alive(&p->buffers[b], i) ? aligned(p->buffers[b].bytes) : 0;
        most = sum > most ? sum : most;
        peak = i == p->certificate.peak_step ? sum : peak;
        if (s->workspace && !is_listed(p, i, s->workspace_offset, s->workspace))
            return false;
        for (uint32_t k = 0; k < s->in_count + s->out_count; k++) {
            uint32_t t = k < s->in_count ? s->in[k] : s->out[k - s->in_count];
            const struct plan_tensor *at = &p->tensors[t];
            if (at->memory == MEMORY_ARENA && !is_listed(p, i, at->offset, at->bytes))
                return false;
        }
    }
    for (uint32_t b = 0; b < p->buffer_count; b++) {
        const struct plan_buffer *one = &p->buffers[b];
        const struct plan_step *maker = &p->steps[one->first];
        bool made = !one->tensor && maker->workspace_offset == one->offset &&
                    maker->workspace == one->bytes;
        for (uint32_t k = 0; k < maker->out_count; k++)
            made |= maker->out[k] == one->tensor;
        if (!made || one->last >= p->step_count || one->last < one->first)
            return false;
    }
    return most == p->certificate.bound_bytes && peak == most;
}

#ifdef SANITIZED
#define RED_ZONES true
#else
#define RED_ZONES false
#endif

static void check_plan(struct rig *rig, const char *what, const char *program)
{
    struct rig_program p = {program, 8, NULL, NULL};
    struct compile_options o = {.gradients = strcmp(program, "train") == 0};
    const struct plan *plan = rig_compile(rig, &p, &o);
    const struct certificate *c = &plan->certificate;
    cr_expect(buffers_are_right(plan), "%s, %s", what, program);
    cr_expect(c->checked, "%s, %s", what, program);
    cr_expect(c->bound_bytes > 0 && c->flop > 0, "%s, %s", what, program);
    if (!RED_ZONES) /* they change all sizes: what users run is placed by other builds */
        cr_expect_eq(c->peak_bytes, c->bound_bytes, "%s, %s: peak %lld, bound %lld (placed %s)",
                     what, program, (long long)c->peak_bytes, (long long)c->bound_bytes,
                     c->placement);
    for (uint32_t i = 0; i < c->candidate_count; i++)
        cr_expect(c->candidates[i].bound >= c->bound_bytes, "%s, %s: a better order was not taken",
                  what, program);
}

/* A training step with its update. Gradients that wait for the last one come while activations go,
 * which placement does not always solve to the byte. */
static void check_update(struct rig *rig, const char *what)
{
    static const struct update_options update = {0.9, 0.999, 1e-8, 0, 1, 1, 0.999};
    struct rig_program p = {"train", 8, NULL, NULL};
    struct compile_options o = {.gradients = true, .update = &update};
    const struct plan *plan = rig_compile(rig, &p, &o);
    const struct certificate *c = &plan->certificate;
    cr_expect(buffers_are_right(plan) && c->checked, "%s with its update", what);
    cr_expect_eq(c->state_bytes[STATE_GRADIENT], 0, "%s", what);
    cr_expect_leq((double)c->peak_bytes, 1.005 * (double)c->bound_bytes,
                  "%s with its update: peak %lld, bound %lld", what, (long long)c->peak_bytes,
                  (long long)c->bound_bytes);
}

/* Every program of every model at every preset: the placement reaches the lower bound of its order,
 * exactly; nothing the models hold today misses it. */
ParameterizedTestParameters(models, plans)
{
    static const char *const presets[] = {"preset=tiny", "preset=mini", "preset=small"};
    return every_model(presets, 3);
}

ParameterizedTest(struct which *which, models, plans)
{
    const char *settings[] = {which->preset, NULL};
    struct rig rig;
    rig_model(&rig, which->path, settings);
    const char *what = arena_printf(rig.arena, "%s %s", which->path, which->preset);
    cr_assert(rig.model->programs.count >= 5);
    for (uint32_t i = 0; i < rig.model->programs.count; i++)
        check_plan(&rig, what, rig.model->programs.items[i].name);
    check_update(&rig, what);
    rig_close(&rig);
}

static double training_arena(const char *path, const char *length)
{
    bool places = strstr(path, "gpt2") != NULL; /* whose table is as long as they are */
    const char *settings[] = {
        "preset=tiny", "vocab=256", "dropout=0", length, places ? "positions=4096" : NULL, NULL};
    struct rig rig;
    rig_model(&rig, path, settings);
    struct rig_program p = {"train", 1, NULL, NULL};
    struct compile_options o = {.gradients = true};
    double bytes = (double)rig_compile(&rig, &p, &o)->certificate.peak_bytes;
    rig_close(&rig);
    return bytes;
}

/* Eight times the length, eight times the memory, attention included, full or causal. */
Test(models, memory_is_linear_in_the_length)
{
    static const char *const paths[] = {"models/sedd-absorb.yaml", "models/gpt2.yaml"};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        double a = training_arena(paths[i], "length=512");
        double b = training_arena(paths[i], "length=4096");
        cr_expect(b > 4 * a && b <= 8 * a, "%s: %g and %g bytes", paths[i], a, b);
    }
}

/* Whether a buffer holds what is of the shape of a parameter: its gradient. */
static bool is_gradient(const struct plan *p, const struct plan_buffer *b)
{
    for (uint32_t r = 0; b->tensor && r < p->row_count; r++)
        if (p->states->rows[r].class == STATE_PARAMETER &&
            type_equal(&p->states->rows[r].type, &p->tensors[b->tensor].type))
            return true;
    return false;
}

/* MiB of the arena without gradients, at the step that needs most. */
static double without_gradients(const struct plan *p)
{
    double most = 0;
    for (uint32_t i = 0; i < p->step_count; i++) {
        double sum = 0;
        for (uint32_t b = 0; b < p->buffer_count; b++)
            if (alive(&p->buffers[b], i) && !is_gradient(p, &p->buffers[b]))
                sum += (double)p->buffers[b].bytes / (1 << 20);
        most = sum > most ? sum : most;
    }
    return most;
}

/* GPT-2 of 124M parameters at 4 x 1024: what a step needs besides gradients, all kept, and under
 * a limit of 400 MiB and the gradient of the vocabulary; others are consumed at once. */
Test(models, a_large_model_fits)
{
    static const struct update_options update = {0.9, 0.95, 1e-8, 0.1, 0, 1, 0};
    struct rig rig;
    rig_model(&rig, "models/gpt2.yaml", (const char *[]){"dropout=0", NULL});
    struct rig_program p = {"train", 4, NULL, NULL};
    struct compile_options all = {.gradients = true, .update = &update};
    struct compile_options least = {.gradients = true,
                                    .update = &update,
                                    .arena_limit = ((int64_t)400 << 20) + 4 * 50257 * 768};
    const struct plan *whole = rig_compile(&rig, &p, &all);
    const struct plan *small = rig_compile(&rig, &p, &least);
    double work = small->certificate.flop / whole->certificate.flop;
    cr_log_info("%g and %g MiB, %g of the work", without_gradients(whole), without_gradients(small),
                work);
    cr_expect(without_gradients(whole) <= 2400, "%g MiB", without_gradients(whole));
    cr_expect(without_gradients(small) <= 400, "%g MiB", without_gradients(small));
    cr_expect(work > 1 && work <= 1.35, "%g of the work", work);
    rig_close(&rig);
}

static int64_t limited_arena(struct rig *rig, uint32_t batch, int64_t limit)
{
    static const struct update_options update = {0.9, 0.999, 1e-8, 0, 1, 1, 0};
    struct rig_program p = {"train", batch, NULL, NULL};
    struct compile_options o = {.gradients = true, .update = &update, .arena_limit = limit};
    return rig_compile(rig, &p, &o)->certificate.peak_bytes;
}

/* Between what a step needs with all kept and with as much computed twice as can be, limits are
 * held, by all passes together; but for the lowest, which it takes a limit of nothing to reach. */
static void limits_hold(const char *path, uint32_t batch, const char *const *settings)
{
    struct rig rig;
    rig_model(&rig, path, settings);
    int64_t most = limited_arena(&rig, batch, 0), least = limited_arena(&rig, batch, 1);
    cr_assert_lt(least, most);
    for (int i = 3; i < 12; i++) {
        int64_t limit = least + (most - least) * i / 12, arena = limited_arena(&rig, batch, limit);
        cr_expect_leq(arena, limit, "%s: %lld bytes under a limit of %lld", path, (long long)arena,
                      (long long)limit);
    }
    rig_close(&rig);
}

Test(models, limits_of_memory_hold)
{
    limits_hold("models/sedd-absorb.yaml", 1,
                (const char *[]){"preset=tiny", "vocab=66", "length=64", NULL});
}

/* FLOP that the model asks of a training step, at the planned sizes. */
static double model_flop(struct rig *rig, bool unfused)
{
    struct rig_program p = {"train", 8, NULL, NULL};
    struct compile_options o = {.gradients = true, .unfused = unfused};
    const struct plan *plan = rig_compile(rig, &p, &o);
    double sum = 0;
    for (uint32_t i = 0; i < plan->step_count; i++)
        sum += plan->steps[i].epoch ? 0 : plan->steps[i].model;
    return sum;
}

/* What `sedge bench` counts as work does not depend on which steps are one. */
ParameterizedTestParameters(models, work)
{
    return every_model(NULL, 1);
}

ParameterizedTest(struct which *which, models, work)
{
    static const char *const settings[] = {"preset=tiny", NULL};
    struct rig rig;
    rig_model(&rig, which->path, settings);
    double fused = model_flop(&rig, false), unfused = model_flop(&rig, true);
    cr_expect(fused > 1e6 && fabs(fused / unfused - 1) < 1e-12, "%s: %g fused, %g unfused",
              which->path, fused, unfused);
    rig_close(&rig);
}

/* --- results at a small size -------------------------------------------------------------- */

#define BATCH 3
#define LENGTH 6
#define STATES 6 /* the most */

#define SMALL "dim=16", "heads=2", "layers=2", "vocab=5", "length=6", "dropout=0"
static const char *const small[] = {SMALL, "cond=8", NULL};
static const char *const time_free[] = {SMALL, NULL};
/* exp(-sigma Q) of a table loses a digit with every 2 of |Q| sigma: at 2 single precision is
 * left. */
#define LITTLE_NOISE "process.noise={geometric: {min: 1.0e-4, max: 1}}"
static const char *const table[] = {SMALL, "cond=8", LITTLE_NOISE, NULL};
/* Three symbols, as many as the matrix has, and sequences of four, as the model says. */
static const char *const matrix[] = {"dim=16",    "heads=2", "layers=2",   "vocab=3",
                                     "dropout=0", "cond=8",  LITTLE_NOISE, NULL};

/* The settings for a model that is made small by others than most are. */
static const char *const *settings_of(const char *path)
{
    static const struct {
        const char *path;
        const char *const *settings;
    } others[] = {{"models/radd.yaml", time_free},      {"models/gpt2.yaml", time_free},
                  {"models/ordinal.yaml", table},       {"models/enumerated.yaml", matrix},
                  {"models/three-states.yaml", matrix}, {"models/four-states.yaml", matrix}};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (strcmp(others[i].path, path) == 0)
            return others[i].settings;
    return small;
}

/* Two layers of two heads of eight columns. */
#define CACHE (BATCH * 4 * LENGTH * 8)

#define VALUES 19
#define PROGRAMS 24

struct fields {
    int32_t x0[BATCH * LENGTH], x[BATCH * LENGTH];
    double t[BATCH], s[BATCH], sigma[BATCH], none[BATCH];
    float weight[BATCH * LENGTH];
    uint8_t fixed[BATCH * LENGTH], hidden[BATCH * LENGTH], allowed[BATCH * LENGTH * STATES];
    int32_t label[BATCH];
    float all[BATCH * LENGTH * STATES];
    double at;
    float keys[CACHE], values[CACHE];
};

/* Tokens that are partly masked or, where that can happen, changed; times in the middle of the
 * range. They serve sequences that are shorter as well. */
static void fill_fields(struct fields *f, const struct chain *chain)
{
    cr_assert(chain->states <= STATES);
    for (int i = 0; i < BATCH * LENGTH; i++) {
        f->x0[i] = i * 7 % chain->tokens;
        int32_t last = chain->states - 1, next = (f->x0[i] + 1) % chain->tokens;
        int32_t changed = i % 2 || chain_rate(chain, next, f->x0[i]) == 0 ? last : next;
        f->x[i] = i % 3 ? f->x0[i] : changed;
        f->weight[i] = i % 5 ? 1 : 0.5f;
        f->fixed[i] = i % 4 == 1;
        f->hidden[i] = i % 3 == 0;
    }
    for (int i = 0; i < BATCH * LENGTH * chain->states; i++) {
        int place = i / chain->states, y = i % chain->states;
        f->allowed[i] = y == f->x[place] || y == chain->tokens || (place + y) % 4;
    }
    for (int i = 0; i < BATCH * LENGTH * STATES; i++)
        f->all[i] = (float)(i % 7) / 3 - 1;
    f->at = 3;
    for (int i = 0; i < CACHE; i++) {
        f->keys[i] = (float)(i % 11) / 5 - 1;
        f->values[i] = (float)(i % 13) / 6 - 1;
    }
    for (int i = 0; i < BATCH; i++) {
        f->t[i] = 0.3 + 0.2 * i;
        f->s[i] = f->t[i] - 0.1;
        f->sigma[i] = 0.4 + 0.2 * i;
        f->none[i] = 0;
        f->label[i] = i % 2;
    }
}

static bool is_whole(enum dtype dtype)
{
    return dtype != DT_F32 && dtype != DT_F64;
}

/* In single precision against double: relative to the largest of the tensor, as sums cancel. Tokens
 * are drawn from the same numbers in double on both sides, from scores that differ in the last
 * bits: a draw within 1e-5 of a border could fall on either side, and none here does. */
static void compare(const char *what, const char *name, const struct tensor *ours,
                    const struct ref_tensor *theirs, double tolerance)
{
    double most = 1e-30;
    for (int64_t i = 0; i < tensor_size(ours); i++)
        most = fmax(most, fabs(theirs->data[i]));
    for (int64_t i = 0; i < tensor_size(ours); i++) {
        double x = rig_element(ours, i), y = theirs->data[i];
        double allowed = is_whole(ours->dtype) ? 0 : tolerance * most;
        cr_assert(fabs(x - y) <= allowed, "%s, %s[%lld]: %.9g by kernels, %.9g in double", what,
                  name, (long long)i, x, y);
    }
}

struct trial {
    struct rig *rig;
    struct rig_value values[VALUES];
    const struct rig_program *program;
    struct graph *graph; /* not simplified, with its gradients */
    struct loaded *loaded;
};

static void run_trial(struct trial *t, const char *what)
{
    struct run how = {.key = random_key(11, "models"), .iteration = 3, .sequence = 40};
    rig_run(t->loaded, t->values, VALUES, BATCH, &how);
    struct ref_tensor *theirs = rig_reference(t->rig, t->graph, t->values, VALUES, BATCH, &how);
    what = arena_printf(t->rig->arena, "%s, %s", what, t->program->name);
    uint32_t gradients = 0;
    for (uint32_t i = 0; i < t->graph->output_count; i++) {
        const char *name = t->graph->outputs[i].name;
        struct tensor ours = rig_output(t->loaded, name);
        bool gradient = strncmp(name, "grad/", 5) == 0;
        gradients += gradient;
        compare(what, name, &ours, &theirs[t->graph->outputs[i].value], gradient ? 1e-4 : 2e-5);
        if (gradient) {
            double norm = 0;
            for (int64_t k = 0; k < tensor_size(&ours); k++)
                norm += fabs(rig_element(&ours, k));
            cr_assert(norm > 0, "%s, %s: a gradient that is zero shows nothing", what, name);
        }
    }
    cr_assert_eq(gradients > 0, strcmp(t->program->name, "train") == 0);
}

/* Whether `train` has noise that can be given: a time, tokens, and a weight for each. */
static bool takes_noise(const char *path)
{
    struct rig rig;
    struct rig_program p = {"train", BATCH, NULL, NULL};
    rig_model(&rig, path, settings_of(path));
    const struct graph *g = rig_elaborate(&rig, &p);
    bool takes = graph_find(g, "t") && graph_find(g, "x") && graph_find(g, "weight");
    rig_close(&rig);
    return takes;
}

/* Every program: the graph as elaborated, with its gradients and nothing else done to it, on double
 * references against the compiled plan on kernels. */
static void check_programs(const char *path, const char *const *bind, int64_t limit, bool unfused)
{
    struct rig rig;
    struct fields f;
    struct trial trials[PROGRAMS] = {0};
    rig_model(&rig, path, settings_of(path));
    fill_fields(&f, &rig.model->processes[0].chain);
    uint32_t count = rig.model->programs.count;
    cr_assert(count <= PROGRAMS);
    struct plan *plans[PROGRAMS];
    for (uint32_t i = 0; i < count; i++) {
        struct rig_program *p = arena_alloc(rig.arena, sizeof *p);
        const char *name = rig.model->programs.items[i].name;
        bool train = strcmp(name, "train") == 0;
        struct compile_options o = {
            .gradients = train, .grad_outputs = train, .arena_limit = limit, .unfused = unfused};
        *p = (struct rig_program){name, BATCH, train ? bind : NULL, NULL};
        plans[i] = rig_compile(&rig, p, &o);
        trials[i] = (struct trial){&rig,
                                   {{"x0", f.x0},
                                    {"x", f.x},
                                    {"t", f.t},
                                    {"s", f.s},
                                    {"end", f.s},
                                    {"sigma", f.sigma},
                                    {"clamped", f.none},
                                    {"violations", f.none},
                                    {"weight", f.weight},
                                    {"fixed", f.fixed},
                                    {"hidden", f.hidden},
                                    {"scored", f.hidden},
                                    {"allowed", f.allowed},
                                    {"label", f.label},
                                    {"all", f.all},
                                    {"at", &f.at},
                                    {"u", f.t},
                                    {"keys", f.keys},
                                    {"values", f.values}},
                                   p,
                                   rig_elaborate(&rig, p),
                                   NULL};
        struct compile c = {rig.arena, rig.diags, trials[i].graph, &o, NULL, NULL};
        cr_assert(pass_grad(&c), "%s", diags_render(rig.diags, false));
    }
    rig_state(&rig, &rig.model->states, 1);
    rig_fill(&rig, 0.3);
    for (uint32_t i = 0; i < count; i++) {
        trials[i].loaded = rig_load(&rig, plans[i]);
        run_trial(&trials[i], unfused ? arena_printf(rig.arena, "%s unfused", path) : path);
    }
    rig_quiet(&rig);
    rig_close(&rig);
}

ParameterizedTestParameters(models, compute_what_the_references_do)
{
    return every_model(NULL, 1);
}

/* `train` on its own draws, and on noise that is given; every program fused, and each node a step
 * of its own. */
ParameterizedTest(struct which *which, models, compute_what_the_references_do)
{
    static const char *const bind[] = {"x0", "t", "x", "weight", NULL};
    for (int unfused = 0; unfused < 2; unfused++) {
        check_programs(which->path, NULL, 0, unfused);
        if (takes_noise(which->path))
            check_programs(which->path, bind, 0, unfused);
    }
}

ParameterizedTestParameters(models, compute_the_same_in_little_memory)
{
    return every_model(NULL, 1);
}

/* The least arena there is: what can be computed twice, is. */
ParameterizedTest(struct which *which, models, compute_the_same_in_little_memory)
{
    check_programs(which->path, NULL, 1, false);
}

/* --- the same bits in less memory ---------------------------------------------------------- */

/* Deeper, and with dropout, whose draws are made twice. */
static const char **deeper(struct rig *rig, const char *const *settings)
{
    uint32_t n = 0;
    while (settings[n])
        n++;
    const char **out = arena_new_array(rig->arena, const char *, n + 1);
    for (uint32_t i = 0; i < n; i++)
        out[i] = strncmp(settings[i], "layers=", 7) == 0    ? "layers=5"
                 : strncmp(settings[i], "dropout=", 8) == 0 ? "dropout=0.2"
                                                            : settings[i];
    return out;
}

static void run_train(struct rig *rig, const struct plan *plan, struct fields *f,
                      unsigned char **outputs)
{
    struct run how = {.key = random_key(11, "models"), .iteration = 3, .sequence = 40};
    const struct rig_value values[] = {{"x0", f->x0}, {"label", f->label}};
    struct loaded *loaded = rig_load(rig, plan);
    rig_run(loaded, values, 2, BATCH, &how);
    for (uint32_t i = 0; i < plan->output_count; i++) {
        struct tensor t = rig_output(loaded, plan->outputs[i].name);
        size_t bytes = (size_t)tensor_size(&t) * dtype_size(t.dtype);
        outputs[i] = arena_alloc(rig->arena, bytes);
        memcpy(outputs[i], t.data, bytes);
    }
}

ParameterizedTestParameters(models, memory_changes_no_bit)
{
    return every_model(NULL, 1);
}

ParameterizedTest(struct which *which, models, memory_changes_no_bit)
{
    struct rig rig, names;
    struct fields f;
    rig_open(&names);
    rig_model(&rig, which->path, deeper(&names, settings_of(which->path)));
    fill_fields(&f, &rig.model->processes[0].chain);
    struct rig_program p = {"train", BATCH, NULL, NULL};
    struct compile_options all = {.gradients = true, .grad_outputs = true}, least = all;
    least.arena_limit = 1;
    const struct plan *plans[] = {rig_compile(&rig, &p, &all), rig_compile(&rig, &p, &least)};
    int64_t most = plans[0]->arena_bytes, less = plans[1]->arena_bytes;
    cr_assert(less < most && plans[1]->certificate.again_flop > 0, "%s: %lld bytes, then %lld",
              which->path, (long long)most, (long long)less);
    rig_state(&rig, &rig.model->states, 1);
    rig_fill(&rig, 0.3);
    uint32_t count = plans[0]->output_count;
    unsigned char **outputs[2];
    for (int i = 0; i < 2; i++) {
        outputs[i] = arena_new_array(rig.arena, unsigned char *, count);
        run_train(&rig, plans[i], &f, outputs[i]);
    }
    for (uint32_t i = 0; i < count; i++) {
        size_t bytes = (size_t)plans[0]->tensors[plans[0]->outputs[i].tensor].bytes;
        cr_assert_str_eq(plans[0]->outputs[i].name, plans[1]->outputs[i].name);
        cr_assert(memcmp(outputs[0][i], outputs[1][i], bytes) == 0, "%s: %s differs", which->path,
                  plans[0]->outputs[i].name);
    }
    rig_quiet(&rig);
    rig_close(&rig);
    rig_close(&names);
}
