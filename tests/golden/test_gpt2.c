/* The shipped GPT-2 against the transformers library: logits, loss, gradients, twenty steps of
 * training, and greedy continuation with a cache and without. tests/golden/README.md says what the
 * file holds, where it comes from and how closely single precision agrees. */
#include "tests/support/golden.h"
#include "tests/support/play.h"

#include "runtime/train.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#define STEPS 20
#define SETTINGS 10

static const char path[] = "models/gpt2.yaml";

struct vectors {
    struct golden g;
    int64_t batch, length;
};

/* The hyperparameters of the file, for windows of MORE symbols than it has, as settings. */
static void read_settings(struct arena *arena, int64_t more, const char *settings[SETTINGS])
{
    static const char *const names[][2] = {{"vocab", "vocab"},
                                           {"dim", "width"},
                                           {"heads", "heads"},
                                           {"layers", "layers"},
                                           {"positions", "positions"}};
    struct tensor_file *file = golden_file(arena, "gpt2");
    int n = 0;
    for (; n < 5; n++)
        settings[n] = arena_printf(arena, "%s=%s", names[n][0], golden_meta(file, names[n][1]));
    settings[n++] = "dropout=0";
    settings[n++] = "top_k=1"; /* greedy */
    settings[n++] = arena_printf(arena, "length=%lld",
                                 (long long)golden_number(file, "length") + (long long)more);
    settings[n] = NULL;
    cr_assert_eq(golden_number(file, "steps"), STEPS);
    cr_assert_eq(golden_number(file, "ln_eps"), 1e-5, "the op fixes it");
    tensor_file_close(file);
}

static void vectors_open(struct vectors *v, int64_t more)
{
    struct arena *arena = arena_new();
    const char *settings[SETTINGS];
    read_settings(arena, more, settings);
    golden_open(&v->g, "gpt2", path, settings);
    v->batch = (int64_t)golden_number(v->g.file, "batch");
    v->length = (int64_t)golden_number(v->g.file, "length");
    arena_free(arena);
}

static void check_near(const struct tensor *ours, const struct tensor *theirs, double tolerance,
                       const char *what)
{
    cr_assert_eq(tensor_size(ours), tensor_size(theirs));
    for (int64_t i = 0; i < tensor_size(ours); i++) {
        double x = rig_element(ours, i), y = rig_element(theirs, i);
        cr_assert(fabs(x - y) <= tolerance, "%s %lld: %.9g, not %.9g", what, (long long)i, x, y);
    }
}

/* The last symbol of a window is a target only: windows of one more have the file's as inputs. */
Test(golden, gpt2_logits)
{
    static const char *const bind[] = {"x0", "scored", NULL}, *const want[] = {"logits", NULL};
    struct vectors v;
    vectors_open(&v, 1);
    struct rig_program likelihood = {"likelihood", v.batch, bind, want};
    struct plan *plan = rig_compile(&v.g.rig, &likelihood, NULL);
    golden_state(&v.g);
    const int32_t *x = golden_get(&v.g, "x")->data;
    int32_t window[3 * 13];
    bool scored[3 * 13];
    cr_assert(v.batch == 3 && v.length == 12);
    for (int i = 0; i < 3 * 13; i++) {
        window[i] = i % 13 < 12 ? x[i / 13 * 12 + i % 13] : 0;
        scored[i] = true;
    }
    struct rig_value values[] = {{"x0", window}, {"scored", scored}};
    struct loaded *loaded = rig_load(&v.g.rig, plan);
    rig_run(loaded, values, 2, 0, NULL);
    struct tensor logits = rig_output(loaded, "logits");
    check_near(&logits, golden_get(&v.g, "logits"), 2e-5, "logit");
    golden_close(&v.g);
}

struct training {
    struct vectors v;
    struct loaded *gradient, *update;
};

static void training_open(struct training *t)
{
    static const char *const bind[] = {"x0", NULL}, *const want[] = {"nats", NULL};
    struct vectors *v = &t->v;
    vectors_open(v, 0);
    const struct tensor_file *file = v->g.file;
    struct rig_program train = {"train", v->batch, bind, want};
    struct compile_options gradients = {.gradients = true};
    struct update_options o = {.beta1 = golden_number(file, "beta1"),
                               .beta2 = golden_number(file, "beta2"),
                               .eps = golden_number(file, "eps"),
                               .weight_decay = golden_number(file, "weight_decay"),
                               .clip = golden_number(file, "grad_clip"),
                               .scale = 1};
    struct plan *gradient = rig_compile(&v->g.rig, &train, &gradients);
    struct plan *update = compile_graph(update_graph(v->g.rig.model, &o), NULL);
    cr_assert_not_null(update, "%s", diags_render(v->g.rig.diags, false));
    golden_state(&v->g);
    t->gradient = rig_load(&v->g.rig, gradient);
    t->update = rig_load(&v->g.rig, update);
}

static void run_gradient(struct training *t, int64_t step)
{
    const int32_t *x = golden_get(&t->v.g, "x")->data;
    struct rig_value values[] = {{"x0", x + step * t->v.batch * t->v.length}};
    rig_run(t->gradient, values, 1, 0, NULL);
}

Test(golden, gpt2_first_batch)
{
    struct training t;
    training_open(&t);
    const struct golden *g = &t.v.g;
    run_gradient(&t, 0);
    struct tensor nats = rig_output(t.gradient, "nats");
    check_near(&nats, golden_get(g, "nll_per_token"), 2e-5, "nats of token");
    golden_relative(golden_scalar(t.gradient, "mean_nats"), rig_element(golden_get(g, "loss"), 0),
                    1e-5, "the loss");
    golden_rows(&t.v.g, "grad/", "grad/", 1, 1e-4);
    golden_close(&t.v.g);
}

Test(golden, gpt2_training)
{
    struct training t;
    training_open(&t);
    const struct golden *g = &t.v.g;
    struct train_config config = {.lr = golden_number(g->file, "lr"),
                                  .warmup = (int64_t)golden_number(g->file, "warmup"),
                                  .schedule = LR_CONSTANT};
    for (int64_t step = 0; step < STEPS; step++) {
        double number = (double)(step + 1), lr = train_lr(&config, step + 1, 0);
        run_gradient(&t, step);
        golden_relative(golden_scalar(t.gradient, "mean_nats"),
                        rig_element(golden_get(g, "train_loss"), step), 1e-3, "a training loss");
        struct rig_value values[] = {{"lr", &lr}, {"step", &number}};
        rig_run(t.update, values, 2, 0, NULL);
    }
    golden_rows(&t.v.g, "final/", "", 1, 1e-3);
    golden_close(&t.v.g);
}

/* The likeliest token each time, after the prompt of the file. */
static void check_greedy(const char *loop)
{
    struct arena *arena = arena_new();
    const char *settings[SETTINGS];
    struct play p;
    uint8_t fixed[12] = {0};
    int32_t known[12] = {0};
    read_settings(arena, 0, settings);
    struct tensor_file *file = golden_file(arena, "gpt2");
    const struct tensor *prompt = tensor_file_get(file, "prompt");
    const struct tensor *greedy = tensor_file_get(file, "greedy");
    cr_assert(prompt && greedy && tensor_size(greedy) == 12 && tensor_size(prompt) == 5);
    for (int i = 0; i < 5; i++) {
        fixed[i] = 1;
        known[i] = ((const int32_t *)prompt->data)[i];
    }
    struct loop_overlay given = {.fixed = fixed, .known = known, .length = 12, .mask = -1};
    play_open(&p, path, settings, loop, 1, &given);
    cr_assert(state_load(p.rig.diags, &p.rig.state, file, FILL_WEIGHTS), "%s",
              diags_render(p.rig.diags, false));
    const int32_t *x = play_turn(&p, 0, 0);
    for (int i = 0; i < 12; i++)
        cr_expect_eq(x[i], ((const int32_t *)greedy->data)[i], "%s, token %d: %d, not %d", loop, i,
                     x[i], ((const int32_t *)greedy->data)[i]);
    play_close(&p);
    tensor_file_close(file);
    arena_free(arena);
}

Test(golden, gpt2_greedy_with_a_cache)
{
    check_greedy("left-to-right");
}

Test(golden, gpt2_greedy_without)
{
    check_greedy("left-to-right-uncached");
}
