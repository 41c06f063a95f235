/* The shipped SEDD models against the reference implementation: forward, loss, gradients and thirty
 * steps of training, by the plans that `sedge train` runs. tests/golden/README.md says what the
 * files hold, where they come from and how closely single precision agrees. */
#include "tests/support/golden.h"

#include "runtime/train.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define BATCHES 30

struct vectors {
    struct golden g;
    int64_t batch, length;
    struct plan *gradient, *update;
    struct loaded *gradient_run, *update_run;
};

static const char *const files[] = {"sedd_absorb", "sedd_uniform"};
static const char *const models[] = {"models/sedd-absorb.yaml", "models/sedd-uniform.yaml"};

/* The number after "KEY": in a metadata value that is JSON. */
static double json_number(const char *json, const char *key)
{
    const char *at = strstr(json, key);
    cr_assert_not_null(at, "no %s in %s", key, json);
    return strtod(strchr(at, ':') + 1, NULL);
}

/* The file says geometric with its ends, or loglinear, whose eps is 1e-3 in the reference. */
static const char *noise_setting(const struct tensor_file *file, struct arena *arena)
{
    const char *noise = golden_meta(file, "noise");
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
    const char *settings[10] = {NULL};
    struct arena *arena = arena_new();
    struct tensor_file *file = golden_file(arena, files[i]);
    *v = (struct vectors){.batch = (int64_t)golden_number(file, "batch"),
                          .length = (int64_t)golden_number(file, "length")};
    for (int k = 0; k < 6; k++)
        settings[k] = arena_printf(arena, "%s=%s", names[k][0], golden_meta(file, names[k][1]));
    settings[6] = "dropout=0";
    settings[7] = noise_setting(file, arena);
    bool absorb = i == 0;
    cr_assert_eq(strcmp(golden_meta(file, "scale_by_sigma"), absorb ? "True" : "False"), 0,
                 "the models fix it");
    cr_assert_eq(golden_number(file, "steps"), BATCHES);
    golden_open(&v->g, files[i], models[i], settings);
    tensor_file_close(file);
    arena_free(arena);
}

/* The gradient plan of `train` with the noise of the file: for BATCH sequences at once, of
 * ACCUMULATE such batches. */
static struct plan *gradient_plan(struct vectors *v, int64_t batch, bool accumulate)
{
    static const char *const bind[] = {"x0", "t", "x", NULL};
    static const char *const want[] = {"log_score", "score_entropy", "loss_per_sequence", NULL};
    struct rig_program train = {"train", batch, bind, want};
    struct compile_options o = {.gradients = true, .accumulate = accumulate};
    return rig_compile(&v->g.rig, &train, &o);
}

/* Both plans, and the parameters of the file. */
static void vectors_ready(struct vectors *v, int64_t batch)
{
    int64_t parts = v->batch / batch;
    struct update_options o = {.beta1 = golden_number(v->g.file, "beta1"),
                               .beta2 = golden_number(v->g.file, "beta2"),
                               .eps = golden_number(v->g.file, "eps"),
                               .weight_decay = golden_number(v->g.file, "weight_decay"),
                               .clip = golden_number(v->g.file, "grad_clip"),
                               .scale = 1.0 / (double)parts,
                               .ema = golden_number(v->g.file, "ema")};
    v->gradient = gradient_plan(v, batch, parts > 1);
    v->update = compile_graph(update_graph(v->g.rig.model, &o), NULL);
    cr_assert_not_null(v->update, "%s", diags_render(v->g.rig.diags, false));
    golden_state(&v->g);
    v->gradient_run = rig_load(&v->g.rig, v->gradient);
    v->update_run = rig_load(&v->g.rig, v->update);
}

/* Sequences FIRST .. of batch STEP, as the inputs of the plan: tokens, and times in double. */
static void run_gradient(struct vectors *v, int64_t step, int64_t first, int64_t count, double keep)
{
    int64_t row = step * v->batch + first;
    const struct tensor *t = golden_get(&v->g, "t");
    double times[16];
    cr_assert(count <= 16);
    for (int64_t i = 0; i < count; i++)
        times[i] = rig_element(t, row + i);
    struct rig_value values[] = {
        {"x0", (const int32_t *)golden_get(&v->g, "x0")->data + row * v->length},
        {"x", (const int32_t *)golden_get(&v->g, "xt")->data + row * v->length},
        {"t", times},
        {"accumulate.keep", &keep},
    };
    rig_run(v->gradient_run, values, 4, 0, NULL);
}

/* The score entropy is a small difference of terms of the size of (|log r| + 1) / (r N), or
 * (|log E| + 1) / E for absorb, which the reference adds and takes away in single precision (see
 * test_ctmc.c): its own rounding, per position, before the factor dsigma. */
static double reference_rounding(const struct vectors *v, int i, double sigma)
{
    double e = expm1(sigma), n = golden_number(v->g.file, "tokens");
    if (i == 0)
        return 0x1p-22 * (1 + (fabs(log(e)) + 1) / e);
    double r = e / (e + n), constant = (1 - log(r)) / (r * n);
    return 0x1p-23 * (1 + constant / r);
}

static void check_losses(struct vectors *v, int i)
{
    struct tensor entropy = rig_output(v->gradient_run, "score_entropy");
    struct tensor loss = rig_output(v->gradient_run, "loss_per_sequence");
    const struct tensor *theirs = golden_get(&v->g, "score_entropy"),
                        *sums = golden_get(&v->g, "loss_per_sequence");
    for (int64_t row = 0; row < v->batch; row++) {
        double rounding = reference_rounding(v, i, rig_element(golden_get(&v->g, "sigma"), row));
        for (int64_t p = row * v->length; p < (row + 1) * v->length; p++) {
            double x = rig_element(&entropy, p), y = rig_element(theirs, p);
            cr_assert(fabs(x - y) <= 1e-5 * fabs(y) + rounding, "%s, position %lld: %.9g, not %.9g",
                      files[i], (long long)p, x, y);
        }
        double x = rig_element(&loss, row), y = rig_element(sums, row);
        double allowed =
            rounding * (double)v->length * rig_element(golden_get(&v->g, "dsigma"), row);
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
    const struct tensor *theirs = golden_get(&v.g, "log_score");
    cr_assert_eq(tensor_size(&ours), tensor_size(theirs));
    for (int64_t k = 0; k < tensor_size(theirs); k++) {
        double x = rig_element(&ours, k), y = rig_element(theirs, k);
        cr_assert(fabs(x - y) <= 2e-5, "%s, log score %lld: %.9g, not %.9g", files[i], (long long)k,
                  x, y);
    }
    check_losses(&v, i);
    golden_relative(golden_scalar(v.gradient_run, "loss"),
                    rig_element(golden_get(&v.g, "train_loss"), 0), 1e-5, "the loss");
    golden_rows(&v.g, "grad/", "grad/", 1, 1e-4);
    golden_close(&v.g);
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
    struct train_config config = {.lr = golden_number(v.g.file, "lr"),
                                  .warmup = (int64_t)golden_number(v.g.file, "warmup"),
                                  .schedule = LR_CONSTANT};
    for (int64_t step = 0; step < BATCHES; step++) {
        double loss = 0, number = (double)(step + 1), lr = train_lr(&config, step + 1, 0);
        for (int64_t part = 0; part < parts; part++) {
            run_gradient(&v, step, part * batch, batch, part > 0);
            loss += golden_scalar(v.gradient_run, "loss") / (double)parts;
        }
        golden_relative(loss, rig_element(golden_get(&v.g, "train_loss"), step), 1e-3,
                        "a training loss");
        if (step == 0)
            golden_rows(&v.g, "grad/", "grad/", 1.0 / (double)parts, 1e-4);
        struct rig_value values[] = {{"lr", &lr}, {"step", &number}};
        rig_run(v.update_run, values, 2, 0, NULL);
        if (step == 0)
            golden_relative(golden_scalar(v.update_run, "grad_norm"),
                            rig_element(golden_get(&v.g, "grad_norm"), 0), 1e-4,
                            "the norm of the gradient");
    }
    golden_rows(&v.g, "final/", "", 1, 1e-3);
    golden_rows(&v.g, "ema/", "ema/", 1, 1e-3);
    golden_close(&v.g);
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
