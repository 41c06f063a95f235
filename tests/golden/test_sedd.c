/* The shipped SEDD models against the reference implementation: forward, loss, gradients and thirty
 * steps of training, by the plans that `sedge train` runs. tests/golden/README.md says what the
 * files hold, where they come from and how closely single precision agrees. Reads the folder
 * $SEDGE_GOLDEN, or tests/golden. */
#include "tests/support/rig.h"

#include "runtime/train.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define BATCHES 30

struct vectors {
    struct rig rig;
    struct tensor_file *file;
    int64_t batch, length;
    struct plan *gradient, *update;
    struct loaded *gradient_run, *update_run;
};

static const char *const files[] = {"sedd_absorb", "sedd_uniform"};
static const char *const models[] = {"models/sedd-absorb.yaml", "models/sedd-uniform.yaml"};

static const char *meta(const struct vectors *v, const char *key)
{
    const char *text = tensor_file_meta(v->file, key);
    cr_assert_not_null(text, "no metadata %s", key);
    return text;
}

static double meta_number(const struct vectors *v, const char *key)
{
    return strtod(meta(v, key), NULL);
}

/* The number after "KEY": in a metadata value that is JSON. */
static double json_number(const char *json, const char *key)
{
    const char *at = strstr(json, key);
    cr_assert_not_null(at, "no %s in %s", key, json);
    return strtod(strchr(at, ':') + 1, NULL);
}

/* The file says geometric with its ends, or loglinear, whose eps is 1e-3 in the reference. */
static const char *noise_setting(const struct vectors *v, struct arena *arena)
{
    const char *noise = meta(v, "noise");
    if (strstr(noise, "loglinear"))
        return "process.noise={loglinear: {eps: 1.0e-3}}";
    return arena_printf(arena, "process.noise={geometric: {min: %.17f, max: %.17f}}",
                        json_number(noise, "sigma_min"), json_number(noise, "sigma_max"));
}

/* Opens file I and its model at the hyperparameters of the file. */
static void vectors_open(struct vectors *v, int i)
{
    static const char *const names[][2] = {{"vocab", "tokens"},    {"dim", "hidden_size"},
                                           {"heads", "n_heads"},   {"cond", "cond_dim"},
                                           {"layers", "n_blocks"}, {"length", "length"}};
    const char *folder = getenv("SEDGE_GOLDEN"), *settings[10] = {NULL};
    struct arena *arena = arena_new();
    struct diags *diags = diags_new(arena);
    *v = (struct vectors){0};
    v->file = tensor_file_open(
        diags, arena,
        arena_printf(arena, "%s/%s.safetensors", folder ? folder : "tests/golden", files[i]));
    cr_assert_not_null(v->file, "%s", diags_render(diags, false));
    v->batch = (int64_t)meta_number(v, "batch");
    v->length = (int64_t)meta_number(v, "length");
    for (int k = 0; k < 6; k++)
        settings[k] = arena_printf(arena, "%s=%s", names[k][0], meta(v, names[k][1]));
    settings[6] = "dropout=0";
    settings[7] = noise_setting(v, arena);
    bool absorb = i == 0;
    cr_assert_eq(strcmp(meta(v, "scale_by_sigma"), absorb ? "True" : "False"), 0,
                 "the models fix it");
    cr_assert_eq(meta_number(v, "steps"), BATCHES);
    rig_model(&v->rig, models[i], settings);
    tensor_file_close(v->file); /* again, where the rig's arena holds its names */
    v->file = tensor_file_open(v->rig.diags, v->rig.arena,
                               arena_printf(v->rig.arena, "%s/%s.safetensors",
                                            folder ? folder : "tests/golden", files[i]));
    arena_free(arena);
}

static void vectors_close(struct vectors *v)
{
    tensor_file_close(v->file);
    rig_close(&v->rig);
}

static const struct tensor *get(const struct vectors *v, const char *name)
{
    const struct tensor *t = tensor_file_get(v->file, name);
    cr_assert_not_null(t, "no tensor %s", name);
    return t;
}

/* The gradient plan of `train` with the noise of the file: for BATCH sequences at once, of
 * ACCUMULATE such batches. */
static struct plan *gradient_plan(struct vectors *v, int64_t batch, bool accumulate)
{
    static const char *const bind[] = {"x0", "t", "x", NULL};
    static const char *const want[] = {"log_score", "score_entropy", "loss_per_sequence", NULL};
    struct rig_program train = {"train", batch, bind, want};
    struct compile_options o = {.gradients = true, .accumulate = accumulate};
    return rig_compile(&v->rig, &train, &o);
}

/* Both plans, and the parameters of the file. */
static void vectors_ready(struct vectors *v, int64_t batch)
{
    int64_t parts = v->batch / batch;
    struct update_options o = {.beta1 = meta_number(v, "beta1"),
                               .beta2 = meta_number(v, "beta2"),
                               .eps = meta_number(v, "eps"),
                               .weight_decay = meta_number(v, "weight_decay"),
                               .clip = meta_number(v, "grad_clip"),
                               .scale = 1.0 / (double)parts,
                               .ema = meta_number(v, "ema")};
    v->gradient = gradient_plan(v, batch, parts > 1);
    v->update = compile_graph(update_graph(v->rig.model, &o), NULL);
    cr_assert_not_null(v->update, "%s", diags_render(v->rig.diags, false));
    rig_state(&v->rig, &v->rig.model->states, 1);
    cr_assert(state_load(v->rig.diags, &v->rig.state, v->file, FILL_WEIGHTS), "%s",
              diags_render(v->rig.diags, false));
    v->gradient_run = rig_load(&v->rig, v->gradient);
    v->update_run = rig_load(&v->rig, v->update);
}

/* Sequences FIRST .. of batch STEP, as the inputs of the plan: tokens, and times in double. */
static void run_gradient(struct vectors *v, int64_t step, int64_t first, int64_t count, double keep)
{
    int64_t row = step * v->batch + first;
    const struct tensor *t = get(v, "t");
    double times[16];
    cr_assert(count <= 16);
    for (int64_t i = 0; i < count; i++)
        times[i] = rig_element(t, row + i);
    struct rig_value values[] = {
        {"x0", (const int32_t *)get(v, "x0")->data + row * v->length},
        {"x", (const int32_t *)get(v, "xt")->data + row * v->length},
        {"t", times},
        {"accumulate.keep", &keep},
    };
    rig_run(v->gradient_run, values, 4, 0, NULL);
}

static double scalar(const struct loaded *loaded, const char *name)
{
    struct tensor t = rig_output(loaded, name);
    return rig_element(&t, 0);
}

/* Every tensor PREFIX/NAME of the file against the row ROWS NAME, times SCALE. */
static void check_rows(struct vectors *v, const char *prefix, const char *rows, double scale,
                       double tolerance)
{
    size_t n = strlen(prefix);
    uint32_t seen = 0;
    for (uint32_t e = 0; e < v->file->count; e++) {
        const char *name = v->file->entries[e].name;
        if (strncmp(name, prefix, n) != 0)
            continue;
        struct tensor ours =
            rig_row_tensor(&v->rig, arena_printf(v->rig.arena, "%s%s", rows, name + n));
        float *scaled = arena_new_array(v->rig.arena, float, (size_t)tensor_size(&ours));
        for (int64_t i = 0; i < tensor_size(&ours); i++)
            scaled[i] = (float)(scale * rig_element(&ours, i));
        ours.data = scaled;
        double apart = rig_distance(&ours, &v->file->entries[e].tensor);
        cr_expect(apart <= tolerance, "%s: off by %.3g of its norm", name, apart);
        seen++;
    }
    uint32_t parameters = 0;
    for (uint32_t r = 0; r < v->rig.state.count; r++)
        parameters += v->rig.state.table->rows[r].class == STATE_PARAMETER;
    cr_assert_eq(seen, parameters, "%s: %u of %u parameters", prefix, seen, parameters);
}

static void check_relative(double ours, double theirs, double tolerance, const char *what)
{
    cr_assert(fabs(ours - theirs) <= tolerance * fabs(theirs), "%s is %.9g, not %.9g", what, ours,
              theirs);
}

/* The score entropy is a small difference of terms of the size of (|log r| + 1) / (r N), or
 * (|log E| + 1) / E for absorb, which the reference adds and takes away in single precision (see
 * test_ctmc.c): its own rounding, per position, before the factor dsigma. */
static double reference_rounding(const struct vectors *v, int i, double sigma)
{
    double e = expm1(sigma), n = meta_number(v, "tokens");
    if (i == 0)
        return 0x1p-22 * (1 + (fabs(log(e)) + 1) / e);
    double r = e / (e + n), constant = (1 - log(r)) / (r * n);
    return 0x1p-23 * (1 + constant / r);
}

static void check_losses(struct vectors *v, int i)
{
    struct tensor entropy = rig_output(v->gradient_run, "score_entropy");
    struct tensor loss = rig_output(v->gradient_run, "loss_per_sequence");
    const struct tensor *theirs = get(v, "score_entropy"), *sums = get(v, "loss_per_sequence");
    for (int64_t row = 0; row < v->batch; row++) {
        double rounding = reference_rounding(v, i, rig_element(get(v, "sigma"), row));
        for (int64_t p = row * v->length; p < (row + 1) * v->length; p++) {
            double x = rig_element(&entropy, p), y = rig_element(theirs, p);
            cr_assert(fabs(x - y) <= 1e-5 * fabs(y) + rounding, "%s, position %lld: %.9g, not %.9g",
                      files[i], (long long)p, x, y);
        }
        double x = rig_element(&loss, row), y = rig_element(sums, row);
        double allowed = rounding * (double)v->length * rig_element(get(v, "dsigma"), row);
        cr_assert(fabs(x - y) <= 1e-5 * fabs(y) + allowed, "%s, sequence %lld: %.9g, not %.9g",
                  files[i], (long long)row, x, y);
    }
}

static void check_first_batch(int i)
{
    struct vectors v;
    vectors_open(&v, i);
    vectors_ready(&v, v.batch);
    run_gradient(&v, 0, 0, v.batch, 0);
    struct tensor ours = rig_output(v.gradient_run, "log_score");
    const struct tensor *theirs = get(&v, "log_score");
    cr_assert_eq(tensor_size(&ours), tensor_size(theirs));
    for (int64_t k = 0; k < tensor_size(theirs); k++) {
        double x = rig_element(&ours, k), y = rig_element(theirs, k);
        cr_assert(fabs(x - y) <= 2e-5, "%s, log score %lld: %.9g, not %.9g", files[i], (long long)k,
                  x, y);
    }
    check_losses(&v, i);
    check_relative(scalar(v.gradient_run, "loss"), rig_element(get(&v, "train_loss"), 0), 1e-5,
                   "the loss");
    check_rows(&v, "grad/", "grad/", 1, 1e-4);
    vectors_close(&v);
}

Test(golden, sedd_absorb_first_batch)
{
    check_first_batch(0);
}

Test(golden, sedd_uniform_first_batch)
{
    check_first_batch(1);
}

/* Trains on the thirty batches, each in parts of BATCH sequences. */
static void check_training(int i, int64_t batch)
{
    struct vectors v;
    vectors_open(&v, i);
    if (!batch)
        batch = v.batch;
    int64_t parts = v.batch / batch;
    vectors_ready(&v, batch);
    struct train_config config = {.lr = meta_number(&v, "lr"),
                                  .warmup = (int64_t)meta_number(&v, "warmup"),
                                  .schedule = LR_CONSTANT};
    for (int64_t step = 0; step < BATCHES; step++) {
        double loss = 0, number = (double)(step + 1), lr = train_lr(&config, step + 1, 0);
        for (int64_t part = 0; part < parts; part++) {
            run_gradient(&v, step, part * batch, batch, part > 0);
            loss += scalar(v.gradient_run, "loss") / (double)parts;
        }
        check_relative(loss, rig_element(get(&v, "train_loss"), step), 1e-3, "a training loss");
        if (step == 0)
            check_rows(&v, "grad/", "grad/", 1.0 / (double)parts, 1e-4);
        struct rig_value values[] = {{"lr", &lr}, {"step", &number}};
        rig_run(v.update_run, values, 2, 0, NULL);
        if (step == 0)
            check_relative(scalar(v.update_run, "grad_norm"), rig_element(get(&v, "grad_norm"), 0),
                           1e-4, "the norm of the gradient");
    }
    check_rows(&v, "final/", "", 1, 1e-3);
    check_rows(&v, "ema/", "ema/", 1, 1e-3);
    vectors_close(&v);
}

Test(golden, sedd_absorb_training)
{
    check_training(0, 0);
}

Test(golden, sedd_uniform_training)
{
    check_training(1, 0);
}

/* One sequence at a time, three of them to an update: the same run but for rounding. */
Test(golden, sedd_accumulated_training)
{
    check_training(0, 1);
    check_training(1, 1);
}
