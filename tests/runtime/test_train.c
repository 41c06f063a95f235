/* The training loop: the learning rate, stopping and resuming, and a step whose numbers are not
 * finite. A small SEDD model trains on windows that are a function of (step, sequence). */
#include "tests/support/rig.h"

#include "runtime/train.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LENGTH 6
#define VOCAB 5
#define STEPS 6

/* --- the learning rate
 * ------------------------------------------------------------------------- */

Test(train, constant_rate)
{
    struct train_config c = {.lr = 0.5, .warmup = 4, .schedule = LR_CONSTANT};
    cr_assert_eq(train_lr(&c, 1, 0), 0.125, "counted from 1");
    cr_assert_eq(train_lr(&c, 3, 0), 0.375);
    cr_assert_eq(train_lr(&c, 4, 0), 0.5);
    cr_assert_eq(train_lr(&c, 400, 1), 0.5);
    c.warmup = 0;
    cr_assert_eq(train_lr(&c, 1, 0), 0.5);
}

Test(train, linear_rate)
{
    struct train_config c = {.lr = 0.5, .warmup = 4, .schedule = LR_LINEAR};
    cr_assert_eq(train_lr(&c, 2, 0), 0.25, "warm-up is not scheduled");
    cr_assert_eq(train_lr(&c, 4, 0), 0.5);
    cr_assert_eq(train_lr(&c, 5, 0.25), 0.375);
    cr_assert_eq(train_lr(&c, 5, 1), 0);
    cr_assert_eq(train_lr(&c, 5, 1.5), 0, "never below");
}

Test(train, cosine_rate)
{
    struct train_config c = {.lr = 0.5, .warmup = 4, .schedule = LR_COSINE};
    cr_assert_float_eq(train_lr(&c, 5, 0), 0.5, 1e-15);
    cr_assert_float_eq(train_lr(&c, 5, 1.0 / 3), 0.375, 1e-15, "(1 + cos 60 degrees) / 2");
    cr_assert_float_eq(train_lr(&c, 5, 0.5), 0.25, 1e-15);
    cr_assert_float_eq(train_lr(&c, 5, 2), 0, 1e-15);
}

/* --- a run
 * --------------------------------------------------------------------------------------- */

struct bench {
    struct rig rig;
    struct trainer trainer;
    struct train_config config;
    struct train_report reports[STEPS + 1]; /* by step */
    int64_t stop_at;                        /* updates after which it is asked to stop; -1: never */
    int64_t asked, saved, validated;
    int64_t padding; /* of each window */
    char path[64];
};

static int64_t window(void *context, uint32_t iteration, uint32_t sequence, int32_t *out)
{
    const struct bench *b = context;
    for (uint32_t i = 0; i < LENGTH; i++)
        out[i] = (int32_t)((iteration * 7 + sequence * 3 + i * i) % VOCAB);
    return LENGTH - b->padding;
}

static bool report(void *context, const struct train_report *r)
{
    struct bench *b = context;
    cr_assert(r->step >= 1 && r->step <= STEPS);
    b->reports[r->step] = *r;
    return true;
}

static bool validate(void *context, const struct train_report *r)
{
    struct bench *b = context;
    b->validated = b->validated * 10 + r->step;
    return true;
}

static bool checkpoint(void *context, const struct train_report *r)
{
    struct bench *b = context;
    b->saved = r->step;
    return state_save(b->rig.diags, b->rig.arena, &b->rig.state, b->path, NULL, NULL, 0);
}

static bool stop(void *context)
{
    struct bench *b = context;
    return *b->trainer.step == b->stop_at;
}

/* With APART the update is a program of its own, as it always is when accumulating. */
static void bench_open_as(struct bench *b, int64_t accumulate, double lr, double clip, bool apart,
                          const char *const *bind)
{
    static const char *const settings[] = {"dim=8",   "heads=2",  "layers=1",    "cond=4",
                                           "vocab=5", "length=6", "dropout=0.1", NULL};
    *b = (struct bench){.stop_at = -1};
    rig_model(&b->rig, "models/sedd-absorb.yaml", settings);
    b->config = (struct train_config){.steps = STEPS,
                                      .batch = 4 / accumulate,
                                      .accumulate = accumulate,
                                      .length = LENGTH,
                                      .lr = lr,
                                      .warmup = 2,
                                      .schedule = LR_COSINE,
                                      .seed = 3};
    struct rig_program p = {"train", b->config.batch, bind, NULL};
    struct update_options u = {0.9, 0.999, 1e-8, 0.01, clip, 1.0 / (double)accumulate, 0.9};
    struct compile_options o = {
        .gradients = true, .accumulate = accumulate > 1, .update = apart ? NULL : &u};
    struct plan *gradient = rig_compile(&b->rig, &p, &o), *update = NULL;
    if (apart)
        update = compile_graph(update_graph(b->rig.model, &u), NULL);
    struct state_row cursor = {.name = "cursor/step",
                               .class = STATE_CURSOR,
                               .type = {.dtype = DT_I64, .rank = 1, .dim = {{1, 0}}}};
    uint32_t at;
    cr_assert(state_declare(&b->rig.model->states, b->rig.arena, b->rig.diags, &cursor, &at));
    rig_state(&b->rig, &b->rig.model->states, 3);
    b->trainer = (struct trainer){.gradient = rig_load(&b->rig, gradient),
                                  .update = apart ? rig_load(&b->rig, update) : NULL,
                                  .step = (int64_t *)(void *)b->rig.state.row[at]};
    strcpy(b->path, "/tmp/sedge-train-XXXXXX");
    int file = mkstemp(b->path);
    cr_assert_geq(file, 0);
    close(file);
}

static void bench_open(struct bench *b, int64_t accumulate, double lr)
{
    bench_open_as(b, accumulate, lr, 1, accumulate > 1, NULL);
}

static enum train_end run(struct bench *b)
{
    struct train_hooks hooks = {b, window, report, validate, checkpoint, stop, NULL};
    return train_run(b->rig.diags, b->rig.arena, &b->trainer, &b->config, &hooks);
}

static void bench_close(struct bench *b)
{
    unlink(b->path);
    rig_close(&b->rig);
}

/* --- stopping and resuming
 * ----------------------------------------------------------------------- */

static void resume_everywhere(int64_t accumulate)
{
    struct bench whole;
    bench_open(&whole, accumulate, 1e-2);
    uint64_t start = state_digest(&whole.rig.state);
    cr_assert_eq(run(&whole), TRAIN_DONE);
    uint64_t digest = state_digest(&whole.rig.state);
    cr_assert_neq(digest, start);
    for (int64_t at = 0; at <= STEPS; at++) {
        struct bench first, second;
        bench_open(&first, accumulate, 1e-2);
        first.stop_at = at;
        cr_assert_eq(run(&first), TRAIN_STOPPED);
        cr_assert_eq(first.saved, at, "what was done is saved");
        bench_open(&second, accumulate, 1e-2);
        if (at > 0) {
            struct tensor_file *file =
                tensor_file_open(second.rig.diags, second.rig.arena, first.path);
            cr_assert(file && state_load(second.rig.diags, &second.rig.state, file, FILL_EXACT));
            tensor_file_close(file);
        }
        cr_assert_eq(*second.trainer.step, at);
        cr_assert_eq(run(&second), TRAIN_DONE);
        cr_assert_eq(state_digest(&second.rig.state), digest, "stopped after %d", (int)at);
        for (int64_t s = at + 1; s <= STEPS; s++) {
            cr_assert_eq(second.reports[s].loss, whole.reports[s].loss);
            cr_assert_eq(second.reports[s].lr, whole.reports[s].lr);
            cr_assert_eq(second.reports[s].grad_norm, whole.reports[s].grad_norm);
        }
        bench_close(&first);
        bench_close(&second);
    }
    bench_close(&whole);
}

Test(train, stopped_and_resumed_is_the_same_run)
{
    resume_everywhere(1);
}

Test(train, stopped_and_resumed_when_accumulating)
{
    resume_everywhere(2);
}

/* Two batches of two are one of four, but for the order of sums: draws belong to sequences. */
Test(train, accumulating_is_a_larger_batch)
{
    struct bench one, two;
    bench_open(&one, 1, 1e-3);
    bench_open(&two, 2, 1e-3);
    cr_assert(run(&one) == TRAIN_DONE && run(&two) == TRAIN_DONE);
    for (int s = 1; s <= STEPS; s++) {
        double loss = one.reports[s].loss;
        cr_assert_float_eq(two.reports[s].loss, loss, 1e-3 * fabs(loss), "step %d", s);
    }
    double norm = one.reports[1].grad_norm;
    cr_assert_float_eq(two.reports[1].grad_norm, norm, 1e-5 * norm);
    bench_close(&one);
    bench_close(&two);
}

/* Gradients that are values of the program and those that are rows between two programs make the
 * same run. The norm is summed in another order, and with it the factor that clips. */
static void joined_and_apart(double clip)
{
    struct bench joined, apart;
    bench_open_as(&joined, 1, 1e-2, clip, false, NULL);
    bench_open_as(&apart, 1, 1e-2, clip, true, NULL);
    cr_assert(run(&joined) == TRAIN_DONE && run(&apart) == TRAIN_DONE);
    for (int s = 1; s <= STEPS; s++) {
        double norm = apart.reports[s].grad_norm, loss = apart.reports[s].loss;
        cr_assert_float_eq(joined.reports[s].loss, loss, 1e-6 * fabs(loss), "step %d", s);
        cr_assert_float_eq(joined.reports[s].grad_norm, norm, 1e-6 * norm, "step %d", s);
    }
    for (uint32_t r = 0; r < joined.rig.state.count; r++) {
        const struct state_row *row = &joined.rig.state.table->rows[r];
        if (row->class == STATE_GRADIENT || row->class == STATE_CURSOR)
            continue;
        struct tensor a = rig_row_tensor(&joined.rig, row->name),
                      b = rig_row_tensor(&apart.rig, row->name);
        cr_assert_leq(rig_distance(&a, &b), 1e-6, "%s", row->name);
    }
    bench_close(&joined);
    bench_close(&apart);
}

static void run_padded(struct bench *b, int64_t padding, const char *const *bind)
{
    bench_open_as(b, 1, 1e-3, 1, false, bind);
    b->padding = padding;
    cr_assert_eq(run(b), TRAIN_DONE);
    cr_assert_eq(b->reports[1].symbols, (double)(LENGTH - padding));
    bench_close(b);
}

/* Without padding the inputs change nothing but roundings, and all padding is no loss. What is
 * padding is never noised: under a chain that masks it then costs nothing even if it is counted. */
Test(train, padding_counts_for_nothing)
{
    static const char *const both[] = {"weight", "fixed", NULL}, *const fixed[] = {"fixed", NULL};
    struct bench plain, whole, none, part, counted;
    run_padded(&plain, 0, NULL);
    run_padded(&whole, 0, both);
    run_padded(&none, LENGTH, both);
    run_padded(&part, 2, both);
    run_padded(&counted, 2, fixed);
    for (int s = 1; s <= STEPS; s++) {
        double loss = plain.reports[s].loss, less = part.reports[s].loss;
        cr_assert_float_eq(whole.reports[s].loss, loss, 1e-4 * fabs(loss), "step %d", s);
        cr_assert_float_eq(counted.reports[s].loss, less, 1e-4 * fabs(less), "step %d", s);
        cr_assert_eq(none.reports[s].loss, 0);
        cr_assert_eq(none.reports[s].grad_norm, 0);
        cr_assert_neq(less, loss);
    }
}

Test(train, an_update_that_joins_is_the_same_update)
{
    joined_and_apart(1);
    joined_and_apart(0);
}

Test(train, hooks_are_called_when_due)
{
    struct bench b;
    bench_open(&b, 1, 1e-2);
    b.config.eval_every = 4;
    cr_assert_eq(run(&b), TRAIN_DONE);
    cr_assert_eq(b.validated, 46, "at step 4, and at the end");
    cr_assert_eq(b.saved, 6);
    cr_assert_eq(b.reports[1].lr, 0.5e-2);
    cr_assert_eq(b.reports[2].lr, 1e-2);
    /* Of the four steps after the warm-up, the second: a quarter of the way. */
    cr_assert_float_eq(b.reports[4].lr, 1e-2 * (1 + sqrt(0.5)) / 2, 1e-12);
    cr_assert_eq(b.reports[STEPS].progress, 1);
    for (int s = 1; s <= STEPS; s++)
        cr_assert(isfinite(b.reports[s].loss) && b.reports[s].grad_norm > 0);
    bench_close(&b);
}

/* --- not finite
 * ---------------------------------------------------------------------------------- */

/* Poisons one weight: the step says where, and changes nothing. */
static void poisoned(int64_t accumulate, const char *row, int64_t at, float value,
                     const char *message)
{
    struct bench b;
    bench_open(&b, accumulate, 1e-2);
    b.stop_at = 2;
    cr_assert_eq(run(&b), TRAIN_STOPPED);
    rig_row(&b.rig, row)[at] = value;
    uint64_t before = state_digest(&b.rig.state);
    b.stop_at = -1;
    b.config.validated = 2; /* nothing to make up for */
    cr_assert_eq(run(&b), TRAIN_NOT_FINITE);
    cr_assert_eq(state_digest(&b.rig.state), before, "a bad step changes nothing");
    cr_assert_eq(*b.trainer.step, 2);
    cr_assert_eq(b.saved, 2);
    rig_expect(&b.rig, message);
    bench_close(&b);
}

Test(train, an_infinite_weight_is_named)
{
#define MESSAGE                                                                                    \
    "step 3: the loss is not finite; the first bad value comes from the op `head_loss_backward`"
    poisoned(1, "output_layer.linear.weight", 5, INFINITY,
             MESSAGE ", as `grad/output_layer.linear.weight`");
    poisoned(2, "output_layer.linear.weight", 5, INFINITY, MESSAGE);
#undef MESSAGE
}

Test(train, a_nan_inside_a_block_is_named)
{
    struct bench b;
    bench_open(&b, 1, 1e-2);
    rig_row(&b.rig, "blocks.0.mlp.0.bias")[3] = NAN;
    cr_assert_eq(run(&b), TRAIN_NOT_FINITE);
    char *text = diags_render(b.rig.diags, false);
    cr_assert_eq(strncmp(text, "models/sedd-network.yaml:", 25), 0, "%s", text);
    cr_assert_not_null(strstr(text, "{linear: m, out: 4 * dim, as: mlp.0}"), "%s", text);
    cr_assert_not_null(strstr(text, "step 1: the loss is not finite; the first bad value comes "
                                    "from the op `linear_then`"));
    bench_close(&b);
}

/* Weights of 1e30 after the first update: what they make of the next batch overflows. */
Test(train, a_huge_rate_ends_in_a_message)
{
    struct bench b;
    bench_open(&b, 1, 1e30);
    cr_assert_eq(run(&b), TRAIN_NOT_FINITE);
    int64_t done = *b.trainer.step;
    cr_assert(done >= 1 && done < STEPS, "the first update is finite, and ruins the weights");
    cr_assert_not_null(strstr(diags_render(b.rig.diags, false),
                              arena_printf(b.rig.arena, "step %d: the ", (int)done + 1)));
    bench_close(&b);
}
