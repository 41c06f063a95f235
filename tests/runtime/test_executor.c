/* The executor and the loop on top of it: results depend on the weights, the seed and the sequence,
 * and on nothing else. */
#include "tests/support/rig.h"

#include "runtime/loop.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#define BATCH 8
#define LENGTH 5
#define DIM 6
#define ROW (LENGTH * DIM)

struct bench {
    struct rig rig;
    struct loop *loop;
    struct loop_program programs[3];
    struct looper *looper;
};

static const char *const names[] = {"begin", "turn", "finish"};

/* The skeleton with plans for BATCH sequences. */
static void bench_open(struct bench *b, int64_t batch, int threads)
{
    struct plan *plans[3];
    *b = (struct bench){0};
    rig_model(&b->rig, "tests/support/skeleton.yaml", NULL);
    for (int i = 0; i < 3; i++) {
        struct rig_program p = {names[i], batch, NULL, NULL};
        plans[i] = rig_compile(&b->rig, &p, NULL);
    }
    rig_state(&b->rig, &b->rig.model->states, 5);
    b->rig.engine.threads = threads;
    for (int i = 0; i < 3; i++)
        b->programs[i] = (struct loop_program){names[i], rig_load(&b->rig, plans[i])};
    b->loop = loop_read(b->rig.model, "go");
    cr_assert_not_null(b->loop, "%s", diags_render(b->rig.diags, false));
    b->looper = loop_open(b->rig.diags, b->rig.arena, b->loop, b->programs, 3, NULL, 0, batch);
    cr_assert_not_null(b->looper, "%s", diags_render(b->rig.diags, false));
}

static void bench_close(struct bench *b)
{
    rig_quiet(&b->rig);
    loop_close(b->looper);
    rig_close(&b->rig);
}

/* Sequences FIRST .. FIRST + COUNT - 1 of the loop into OUT. */
static void run_loop(struct bench *b, uint32_t first, int64_t count, float *out)
{
    struct loop_request q = {.count = count, .sequence = first, .key = random_key(9, "sample")};
    cr_assert(loop_run(b->looper, &q));
    memcpy(out, loop_carry_data(b->looper, "h"), (size_t)count * ROW * sizeof *out);
}

Test(executor, threads_change_nothing)
{
    float one[BATCH * ROW], other[BATCH * ROW], total = 0;
    static const int threads[] = {1, 2, 3, 7};
    for (int i = 0; i < 4; i++) {
        struct bench b;
        bench_open(&b, BATCH, threads[i]);
        run_loop(&b, 0, BATCH, i ? other : one);
        float now = *(const float *)loop_carry_data(b.looper, "total");
        cr_assert(i == 0 || memcmp(one, other, sizeof one) == 0, "%d threads", threads[i]);
        cr_assert(i == 0 || now == total, "%d threads", threads[i]);
        total = now;
        bench_close(&b);
    }
    cr_assert(isfinite(total) && total > 0);
}

/* Twelve sequences in batches of 8, 3, 1 and the plan's size or less. */
Test(executor, a_sequence_does_not_know_its_batch)
{
    static const int64_t sizes[] = {1, 3, 8};
    float one[12 * ROW], other[12 * ROW];
    for (int i = 0; i < 3; i++) {
        struct bench b;
        bench_open(&b, sizes[i], 2);
        for (int64_t at = 0; at < 12; at += sizes[i]) {
            int64_t left = 12 - at, n = left < sizes[i] ? left : sizes[i];
            run_loop(&b, (uint32_t)at, n, (i ? other : one) + at * ROW);
        }
        /* A GEMM of another height may add in another order. */
        for (int k = 0; i && k < 12 * ROW; k++)
            cr_assert_float_eq(one[k], other[k], 1e-5, "batches of %d, element %d", (int)sizes[i],
                               k);
        bench_close(&b);
    }
}

/* The draws themselves are bitwise the same, in any batch and at any place in it. */
Test(executor, draws_do_not_know_their_batch)
{
    struct bench b;
    float whole[BATCH * ROW];
    double t[BATCH] = {0};
    struct rig_value values[] = {{"t", t}};
    bench_open(&b, BATCH, 2);
    struct run how = {.key = random_key(1, "draws"), .iteration = 6, .sequence = 100};
    rig_run(b.programs[0].loaded, values, 1, BATCH, &how);
    struct tensor h = rig_output(b.programs[0].loaded, "h");
    memcpy(whole, h.data, sizeof whole);
    for (uint32_t first = 0; first < BATCH; first += 3) {
        int64_t n = BATCH - first < 3 ? BATCH - first : 3;
        how.sequence = 100 + first;
        rig_run(b.programs[0].loaded, values, 1, n, &how);
        h = rig_output(b.programs[0].loaded, "h");
        cr_assert_eq(h.dim[0], n);
        cr_assert_eq(memcmp(h.data, whole + first * ROW, (size_t)n * ROW * sizeof *whole), 0);
    }
    for (int i = 1; i < BATCH * ROW; i++)
        cr_assert_neq(whole[i], whole[0]);
    how.iteration = 7;
    rig_run(b.programs[0].loaded, values, 1, 1, &how);
    h = rig_output(b.programs[0].loaded, "h");
    cr_assert_neq(((const float *)h.data)[0], whole[6 * ROW], "another iteration draws anew");
    bench_close(&b);
}

/* Rows found while running: against a sum by hand. */
Test(executor, counts_what_a_flag_picks)
{
    struct bench b;
    float h[BATCH * ROW];
    struct rig_value values[] = {{"h", h}};
    bench_open(&b, BATCH, 2);
    for (int64_t batch = BATCH; batch > 0; batch -= 3) {
        double total = 0;
        for (int i = 0; i < BATCH * ROW; i++)
            h[i] = (float)(sin(i * 1.7 + (double)batch));
        for (int r = 0; r < batch * LENGTH; r++) {
            double squares = 0;
            for (int k = 0; k < DIM; k++)
                squares += (double)h[r * DIM + k] * h[r * DIM + k];
            total += h[r * DIM] > 0 ? sqrt(squares) : 0;
        }
        rig_run(b.programs[2].loaded, values, 1, batch, NULL);
        struct tensor t = rig_output(b.programs[2].loaded, "total");
        cr_assert_float_eq(rig_element(&t, 0), total, 1e-4 * total);
    }
    bench_close(&b);
}

/* --- checked runs ------------------------------------------------------------------------- */

/* Runs `turn` with H, checked: the step that stopped it, or NULL. */
static const struct plan_step *checked(struct bench *b, const float *h, const double *t)
{
    const struct plan *plan = executor_plan(b->programs[1].loaded);
    const void *inputs[2];
    for (uint32_t i = 0; i < plan->input_count; i++)
        inputs[i] = strcmp(plan->inputs[i].name, "h") == 0 ? (const void *)h : t;
    struct run run = {.inputs = inputs, .key = random_key(1, "checked"), .checked = true};
    uint32_t step = UINT32_MAX;
    return executor_run(b->programs[1].loaded, &run, &step) ? NULL : &plan->steps[step];
}

Test(executor, checked_runs_name_the_first_bad_step)
{
    struct bench b;
    float h[BATCH * ROW];
    double t[BATCH];
    bench_open(&b, BATCH, 2);
    for (int i = 0; i < BATCH * ROW; i++)
        h[i] = (float)cos(i);
    for (int i = 0; i < BATCH; i++)
        t[i] = 0.5;
    cr_assert_null(checked(&b, h, t));
    h[77] = NAN;
    cr_assert_str_eq(checked(&b, h, t)->op, "add", "where h is first read");
    h[77] = 0;
    t[3] = INFINITY;
    cr_assert_str_eq(checked(&b, h, t)->op, "mul", "where t is first read");
    t[3] = 1e300;
    const struct plan_step *push = checked(&b, h, t);
    cr_assert_str_eq(push->op, "cast", "which cannot hold it");
    cr_assert_str_eq(push->name, "push");
    t[3] = 0.5;
    rig_row(&b.rig, "down.weight")[4] = INFINITY;
    const struct plan_step *bad = checked(&b, h, t);
    cr_assert_str_eq(bad->op, "linear_then");
    cr_assert_not_null(strstr(diags_file_name(b.rig.diags, bad->span.file), "skeleton.yaml"));
    cr_assert_eq(bad->span.line, 17, "the line of `down`");
    rig_row(&b.rig, "down.weight")[4] = 0;
    cr_assert_null(checked(&b, h, t), "nothing is left behind");
    bench_close(&b);
}

/* --- the loop against its own programs ------------------------------------------------------ */

Test(executor, a_loop_is_its_calls)
{
    struct bench b;
    float h[3 * ROW], ours[3 * ROW];
    double t[BATCH];
    struct rig_value values[] = {{"h", h}, {"t", t}};
    bench_open(&b, BATCH, 2);
    run_loop(&b, 20, 3, ours);
    cr_assert_eq(loop_calls(b.looper), 6, "begin, four turns, finish");
    struct run how = {.key = random_key(9, "sample"), .sequence = 20};
    for (int i = 0; i < BATCH; i++)
        t[i] = 1;
    rig_run(b.programs[0].loaded, values, 2, 3, &how);
    struct tensor out = rig_output(b.programs[0].loaded, "h");
    memcpy(h, out.data, sizeof h);
    for (int turn = 0; turn < 4; turn++) {
        for (int i = 0; i < BATCH; i++) /* 1 to 1/16 in four equal factors */
            t[i] = pow(0.5, turn);
        how.iteration = (uint32_t)turn * 2 + 1; /* call 1 of 2 in that turn */
        rig_run(b.programs[1].loaded, values, 2, 3, &how);
        out = rig_output(b.programs[1].loaded, "h");
        memcpy(h, out.data, sizeof h);
    }
    rig_run(b.programs[2].loaded, values, 2, 3, &how);
    out = rig_output(b.programs[2].loaded, "h");
    cr_assert_eq(memcmp(out.data, ours, sizeof ours), 0);
    bench_close(&b);
}

/* --- axes --------------------------------------------------------------------------------- */

/* All sizes are fixed, and the short axis is one that a step counts: it is no batch. */
#define FIXED                                                                                      \
    "sedge: 1\n"                                                                                   \
    "params: {vocab: 3}\n"                                                                         \
    "process: {rate: absorb, noise: {loglinear: {eps: 1.0e-3}}}\n"                                 \
    "programs:\n"                                                                                  \
    "  p:\n"                                                                                       \
    "    in: {x0: [token, 4, 6]}\n"                                                                \
    "    nodes:\n"                                                                                 \
    "      t: {random_uniform: {shape: [4]}, low: 0.1, high: 0.9, stratified: true}\n"             \
    "      sigma: {noise: t, want: sigma}\n"                                                       \
    "      x: {perturb: [x0, sigma]}\n"                                                            \
    "      raw: {linear: {embedding: x, out: 3}, out: states}\n"                                   \
    "      e: {score_entropy: [{score_output: [raw, x, sigma]}, x, x0, sigma]}\n"                  \
    "    out: {t: t, e: e}\n"

Test(executor, a_selection_is_no_batch)
{
    static const int32_t x0[24] = {0, 1, 2, 1, 0, 2};
    double first[4] = {0};
    for (int i = 0; i < 3; i++) {
        struct rig rig;
        struct rig_value values[] = {{"x0", x0}};
        struct rig_program p = {"p", 0, NULL, NULL};
        const struct compile_options o = {.unfused = i == 0};
        struct run how = {.key = random_key(2, "fixed")};
        rig_model_text(&rig, FIXED);
        struct plan *plan = rig_compile(&rig, &p, &o);
        cr_assert_eq(plan->axis_count, i == 0 ? 1 : 2);
        rig_state(&rig, &rig.model->states, 1);
        struct loaded *loaded = rig_load(&rig, plan);
        for (int turn = 0; turn < 2; turn++) {
            rig_run(loaded, values, 1, 0, &how);
            struct tensor t = rig_output(loaded, "t");
            for (int k = 0; k < 4; k++) {
                first[k] = i == 0 ? rig_element(&t, k) : first[k];
                cr_assert_eq(rig_element(&t, k), first[k], "run %d, turn %d", i, turn);
            }
        }
        rig_close(&rig);
    }
}
