/* Loops: the grid of times, conditions, ends, how carries start, and what does not fit. */
#include "tests/support/rig.h"

#include "runtime/loop.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define BATCH 4

/* Programs whose results tell what they were called with. */
#define PROGRAMS                                                                                   \
    "sedge: 1\n"                                                                                   \
    "params: {n: 5}\n"                                                                             \
    "programs:\n"                                                                                  \
    "  log:\n"                                                                                     \
    "    in: {now: [f64, batch], next: [f64, batch], sum: [f64, batch], turns: [f64]}\n"           \
    "    nodes:\n"                                                                                 \
    "      y: {add: [{mul: [sum, 100]}, {add: [{mul: [now, 10]}, next]}]}\n"                       \
    "      more: {add: [turns, 1]}\n"                                                              \
    "    out: {sum: y, turns: more}\n"                                                             \
    "  count:\n"                                                                                   \
    "    in: {k: [f64]}\n"                                                                         \
    "    nodes: {y: {add: [k, 1]}}\n"                                                              \
    "    out: {k: y}\n"                                                                            \
    "  first:\n"                                                                                   \
    "    in: {t: [f64, batch]}\n"                                                                  \
    "    nodes: {y: {mul: [t, 3]}}\n"                                                              \
    "    out: {sum: y}\n"                                                                          \
    "  wide:\n"                                                                                    \
    "    in: {sum: [f64, batch, 2]}\n"                                                             \
    "    nodes: {y: {neg: sum}}\n"                                                                 \
    "    out: {sum: y}\n"                                                                          \
    "  narrow:\n"                                                                                  \
    "    in: {x: [f32, batch], flag: [bool, batch]}\n"                                             \
    "    nodes: {y: {where: [flag, x, 0]}}\n"                                                      \
    "    out: {x: y}\n"                                                                            \
    "  place:\n"                                                                                   \
    "    in: {kept: [f64, batch, 2, 3], at: [f64]}\n"                                              \
    "    nodes:\n"                                                                                 \
    "      sum: {sum: kept, axis: 2}\n"                                                            \
    "      y: {add: [{mul: [sum, 0]}, {add: [at, 1]}]}\n"                                          \
    "      all: {sum: {sum: kept, axis: 2}, axis: 1}\n"                                            \
    "    out: {y: y, all: all}\n"                                                                  \
    "loops:\n"                                                                                     \
    "  go:\n"

static const char *const programs[] = {"log", "count", "first", "wide", "narrow", "place"};

#define PLACES (sizeof programs / sizeof *programs)

struct bench {
    struct rig rig;
    struct loop *loop;
    struct loop_program programs[PLACES];
    struct looper *looper; /* NULL: refused */
};

static void bench_open(struct bench *b, const char *body)
{
    char text[4096];
    struct plan *plans[PLACES];
    *b = (struct bench){0};
    cr_assert(strlen(PROGRAMS) + strlen(body) < sizeof text);
    strcpy(text, PROGRAMS);
    strcat(text, body);
    rig_model_text(&b->rig, text);
    b->loop = loop_read(b->rig.model, "go");
    cr_assert_not_null(b->loop, "%s", diags_render(b->rig.diags, false));
    for (size_t i = 0; i < PLACES; i++) {
        struct rig_program p = {programs[i], i == 1 ? 0 : BATCH, NULL, NULL};
        plans[i] = rig_compile(&b->rig, &p, NULL);
    }
    rig_state(&b->rig, &b->rig.model->states, 1);
    for (size_t i = 0; i < PLACES; i++)
        b->programs[i] = (struct loop_program){programs[i], rig_load(&b->rig, plans[i])};
    b->looper = loop_open(b->rig.diags, b->rig.arena, b->loop, b->programs, PLACES,
                          (const char *const[]){"flag"}, 1, BATCH);
}

static void bench_close(struct bench *b)
{
    loop_close(b->looper);
    rig_close(&b->rig);
}

static const double *run(struct bench *b, int64_t steps, const char *carry)
{
    static const uint8_t flags[BATCH] = {1, 0, 1, 0};
    struct loop_field field = {"flag", flags};
    struct loop_request q = {
        .count = 3, .key = random_key(1, "loop"), .steps = steps, .fields = &field};
    cr_assert_not_null(b->looper, "%s", diags_render(b->rig.diags, false));
    cr_assert(loop_run(b->looper, &q));
    rig_quiet(&b->rig);
    return loop_carry_data(b->looper, carry);
}

/* --- places -------------------------------------------------------------------------------- */

/* An output that becomes one place of a carry: the others stay, rows beyond the run's count too,
 * and a place that there is not is left alone. The program sees what was put before. */
Test(loop, places_are_put)
{
    struct bench b;
    bench_open(&b, "    carry: {kept: {f64: [batch, 2, 3]}, all: {f64: [batch, 4]}}\n"
                   "    max: 4\n"
                   "    body:\n"
                   "      - {call: place, with: {kept: kept, at: grid.index}, set: {kept: {put: y, "
                   "at: grid.index + 1, axis: 2}, all: {put: all, at: grid.index}}}\n");
    const double *kept = run(&b, 0, "kept"), *all = loop_carry_data(b.looper, "all");
    for (int i = 0; i < BATCH * 6; i++)
        cr_assert_eq(kept[i], i < 3 * 6 ? i % 3 : 0, "%d: %g", i, kept[i]);
    static const double sums[] = {0, 2, 6, 6};
    for (int i = 0; i < BATCH * 4; i++)
        cr_assert_eq(all[i], i < 3 * 4 ? sums[i % 4] : 0, "%d: %g", i, all[i]);
    bench_close(&b);
}

/* What is put has the shape of the carry but for the axis. */
Test(loop, what_is_put_fits)
{
    struct bench b;
    bench_open(&b, "    carry: {kept: {f64: [batch, 2, 3]}}\n"
                   "    max: 1\n"
                   "    body:\n"
                   "      - {call: place, with: {kept: kept, at: grid.index}, set: {kept: {put: y, "
                   "at: 0, axis: 1}}}\n");
    cr_assert_null(b.looper);
    rig_expect(&b.rig, "it does not fit what is carried: `y` is f64 [4, 2] in the program");
    bench_close(&b);
}

/* --- grids -------------------------------------------------------------------------------- */

#define LOG                                                                                        \
    "      - {call: log, with: {now: grid.now, next: grid.next, sum: sum, turns: turns}, "         \
    "set: {sum: sum, turns: turns}}\n"
#define CARRY "    carry: {sum: {f64: [batch]}, turns: {f64: []}}\n"

/* What LOG makes of the times FROM = time[0], time[1], …, TO. */
static double logged(const double *time, int turns)
{
    double sum = 0;
    for (int i = 0; i < turns; i++)
        sum = 100 * sum + 10 * time[i] + time[i + 1];
    return sum;
}

Test(loop, uniform_grid)
{
    static const double four[] = {1, 0.8125, 0.625, 0.4375, 0.25}, two[] = {1, 0.625, 0.25};
    struct bench b;
    bench_open(&b, CARRY "    grid: {from: 1, to: 0.25, steps: 4}\n    body:\n" LOG);
    const double *sum = run(&b, 0, "sum");
    for (int i = 0; i < 3; i++)
        cr_assert_eq(sum[i], logged(four, 4));
    cr_assert_eq(sum[3], 0, "a row beyond the run's count stays as it started");
    cr_assert_eq(run(&b, 2, "sum")[0], logged(two, 2), "the run chooses the steps");
    cr_assert_eq(*run(&b, 2, "turns"), 2, "and it starts anew");
    bench_close(&b);
}

Test(loop, log_grid)
{
    static const double time[] = {1, 0.1, 0.01, 0.001};
    struct bench b;
    bench_open(&b,
               CARRY "    grid: {from: 1, to: 1.0e-3, steps: 3, spacing: log}\n    body:\n" LOG);
    double want = logged(time, 3);
    cr_assert_float_eq(run(&b, 0, "sum")[2], want, 1e-9 * want);
    bench_close(&b);
}

Test(loop, cosine_and_quadratic_grids)
{
    /* to + (from - to) cos(pi u / 2) and to + (from - to) (1 - u)^2 at u = 0, 1/3, 2/3, 1. */
    static const double cosine[] = {0.9, 0.1 + 0.8 * 0.86602540378443865, 0.5, 0.1};
    static const double quadratic[] = {0.9, 0.1 + 0.8 * 4 / 9, 0.1 + 0.8 / 9, 0.1};
    struct bench b;
    bench_open(&b, CARRY "    grid: {from: 0.9, to: 0.1, steps: 3, spacing: cosine}\n"
                         "    body:\n" LOG);
    cr_assert_float_eq(run(&b, 0, "sum")[1], logged(cosine, 3), 1e-9);
    bench_close(&b);
    bench_open(&b, CARRY "    grid: {from: 0.9, to: 0.1, steps: 3, spacing: quadratic}\n"
                         "    body:\n" LOG);
    cr_assert_float_eq(run(&b, 0, "sum")[1], logged(quadratic, 3), 1e-9);
    bench_close(&b);
}

Test(loop, a_grid_of_given_times)
{
    static const double own[] = {1, 0.3, 0.25}, other[] = {0.5, 0.4};
    struct bench b;
    bench_open(&b, CARRY "    grid: {times: [1, 0.3, 0.25]}\n    body:\n" LOG);
    cr_assert_eq(run(&b, 0, "sum")[0], logged(own, 2));
    cr_assert_eq(run(&b, 7, "sum")[0], logged(own, 2), "steps do not stretch given times");
    struct loop_request q = {.count = 1, .steps = 1, .time = other};
    cr_assert(loop_run(b.looper, &q));
    cr_assert_eq(*(const double *)loop_carry_data(b.looper, "sum"), logged(other, 1));
    bench_close(&b);
}

/* sigma = 8 t under the uniform chain of 4 tokens, whose fastest rate is 3/4: a step of 1/4 in t is
 * 2 in sigma and 1.5 in rate times sigma. */
Test(loop, a_limit_inserts_times)
{
    struct rig r;
    struct loop_times times;
    rig_model_text(&r, "sedge: 1\n"
                       "params: {vocab: 4}\n"
                       "process: {rate: uniform, noise: {sigma: \"8 * t\"}}\n"
                       "programs:\n"
                       "  p: {in: {x: [f32]}, nodes: {y: {neg: x}}, out: {x: y}}\n"
                       "loops:\n"
                       "  go:\n"
                       "    carry: {x: {f32: []}}\n"
                       "    grid: {from: 1, to: 0.25, steps: 3, limit: 0.5}\n"
                       "    body: [{call: p, with: {x: x}, set: {x: x}}]\n");
    struct loop *loop = loop_read(r.model, "go");
    cr_assert_not_null(loop, "%s", diags_render(r.diags, false));
    cr_assert(loop_grid(r.model, loop, 0, &times));
    cr_assert_eq(times.steps, 9, "%lld", (long long)times.steps);
    cr_assert_eq(times.inserted, 6);
    for (int i = 0; i <= 9; i++)
        cr_assert_float_eq(times.time[i], 1 - i / 12.0, 1e-12, "%d", i);
    loop->limit = 1.6;
    cr_assert(loop_grid(r.model, loop, 3, &times));
    cr_assert_eq(times.inserted, 0);
    loop->limit = 4.5e-6; /* a million parts: 4.5 of rate times sigma in all */
    cr_assert(loop_grid(r.model, loop, 3, &times));
    cr_assert_eq(times.inserted, 999999);
    loop->limit = 4.49e-6; /* 334,076 parts a step */
    cr_assert_not(loop_grid(r.model, loop, 3, &times));
    cr_assert(strstr(diags_render(r.diags, false), "1002225 steps beyond the grid"));
    rig_close(&r);
}

/* A table limit is none of a flat chain, and of a table the smaller of the two. Two states that
 * swap at rate 1: a step of 2 in sigma is one of 2. */
Test(loop, a_limit_of_tables_is_none_of_a_flat_chain)
{
    static const char *const rate[] = {"uniform", "{matrix: [[-1, 1], [1, -1]]}"};
    static const char *const limit[] = {"table_limit: 0.5", "limit: 9, table_limit: 0.5",
                                        "limit: 0.5, table_limit: 9"};
    static const int64_t inserted[2][3] = {{0, 0, 3}, {9, 9, 9}};
    for (int k = 0; k < 2; k++)
        for (int i = 0; i < 3; i++) {
            struct rig r;
            struct loop_times times;
            char text[512];
            snprintf(text, sizeof text,
                     "sedge: 1\n"
                     "params: {vocab: 2}\n"
                     "process: {rate: %s, noise: {sigma: \"8 * t\"}}\n"
                     "programs:\n"
                     "  p: {in: {x: [f32]}, nodes: {y: {neg: x}}, out: {x: y}}\n"
                     "loops:\n"
                     "  go:\n"
                     "    carry: {x: {f32: []}}\n"
                     "    grid: {from: 1, to: 0.25, steps: 3, %s}\n"
                     "    body: [{call: p, with: {x: x}, set: {x: x}}]\n",
                     rate[k], limit[i]);
            rig_model_text(&r, text);
            struct loop *loop = loop_read(r.model, "go");
            cr_assert_not_null(loop, "%s", diags_render(r.diags, false));
            cr_assert(loop_grid(r.model, loop, 0, &times));
            cr_expect_eq(times.inserted, inserted[k][i], "%s, %s: %lld inserted", rate[k], limit[i],
                         (long long)times.inserted);
            rig_close(&r);
        }
}

/* --- conditions and ends --------------------------------------------------------------------- */

#define COUNT "{call: count, with: {k: k}, set: {k: k}"

static double counted(const char *body)
{
    struct bench b;
    bench_open(&b, body);
    double k = *run(&b, 0, "k");
    bench_close(&b);
    return k;
}

Test(loop, when)
{
#define GRID "    carry: {k: {f64: []}}\n    grid: {from: 1, to: 0.5, steps: 6}\n    body:\n"
    cr_assert_eq(counted(GRID "      - " COUNT "}\n"), 6);
    cr_assert_eq(counted(GRID "      - " COUNT ", when: grid.last}\n"), 1);
    cr_assert_eq(counted(GRID "      - " COUNT ", when: grid.first}\n"), 1);
    cr_assert_eq(counted(GRID "      - " COUNT ", when: grid.index < 2}\n"), 2);
    cr_assert_eq(counted(GRID "      - " COUNT ", when: grid.now > 0.7}\n"), 4,
                 "1, .917, .833, .75");
    cr_assert_eq(counted(GRID "      - " COUNT ", when: grid.index + 1 < grid.steps}\n"), 5);
    cr_assert_eq(counted(GRID "      - " COUNT ", when: k < n - 2}\n"), 3, "params and carries");
}

Test(loop, until_and_max)
{
#define UNTIL "    carry: {k: {f64: []}}\n    body:\n      - " COUNT "}\n"
    cr_assert_eq(counted(UNTIL "    max: 7\n"), 7);
    cr_assert_eq(counted(UNTIL "    max: 7\n    until: k >= 3\n"), 3, "checked after each turn");
    cr_assert_eq(counted(UNTIL "    max: 2\n    until: k >= 3\n"), 2);
    cr_assert_eq(counted(UNTIL "    grid: {from: 1, to: 0.5, steps: 9}\n    max: 4\n"), 4);
    cr_assert_eq(counted(UNTIL "    grid: {from: 1, to: 0.5, steps: 9}\n    until: k >= 8\n"), 8);
    /* The last turn is the last that runs, not that of the grid. */
    cr_assert_eq(
        counted("    carry: {k: {f64: []}}\n    body:\n      - " COUNT
                ", when: grid.last}\n    grid: {from: 1, to: 0.5, steps: 9}\n    max: 4\n"),
        1);
}

static bool stop_at(void *context, struct looper *looper, int64_t turn, int64_t turns)
{
    int64_t *seen = context;
    cr_assert_eq(turns, 9);
    cr_assert_eq(turn, seen[0]++);
    cr_assert_eq(*(const double *)loop_carry_data(looper, "k"), (double)turn);
    return turn < 5;
}

Test(loop, a_watcher_sees_each_turn_and_may_stop)
{
    struct bench b;
    int64_t seen[1] = {0};
    bench_open(&b, UNTIL "    max: 9\n");
    struct loop_request q = {.count = 1, .watch = stop_at, .context = seen};
    cr_assert(!loop_run(b.looper, &q));
    cr_assert_eq(seen[0], 6);
    cr_assert_eq(loop_calls(b.looper), 5);
    bench_close(&b);
}

/* --- starts --------------------------------------------------------------------------------- */

Test(loop, starts)
{
    struct bench b;
    bench_open(&b, "    carry:\n"
                   "      k: {f64: [], start: 2.5}\n"
                   "      sum: {f64: [batch], start: first}\n"
                   "      given: {f32: [batch], start: given}\n"
                   "      tokens: {i32: [batch, 2], start: 6}\n"
                   "      flags: {bool: [3], start: 1}\n"
                   "      zero: {f32: [2], start: zero}\n"
                   "    grid: {from: 0.75, to: 0.5, steps: 1}\n"
                   "    body:\n      - " COUNT "}\n");
    float *given = loop_carry_data(b.looper, "given");
    given[1] = 9;
    const double *sum = run(&b, 0, "sum");
    cr_assert_eq(sum[2], 2.25, "its t is grid.from");
    cr_assert_eq(*(double *)loop_carry_data(b.looper, "k"), 3.5);
    cr_assert_eq(given[1], 9);
    cr_assert_eq(((int32_t *)loop_carry_data(b.looper, "tokens"))[5], 6);
    cr_assert_eq(((uint8_t *)loop_carry_data(b.looper, "flags"))[2], 1);
    cr_assert_eq(((float *)loop_carry_data(b.looper, "zero"))[1], 0);
    cr_assert_null(loop_carry_data(b.looper, "nothing"));
    bench_close(&b);
}

Test(loop, without_a_grid_it_starts_where_reverse_chains_do)
{
    struct bench b;
    bench_open(&b, "    carry: {k: {f64: []}, sum: {f64: [batch], start: first}}\n"
                   "    max: 2\n"
                   "    body:\n      - " COUNT "}\n");
    cr_assert_eq(run(&b, 0, "sum")[2], 3, "three times its t, which is 1");
    bench_close(&b);
}

Test(loop, a_field_is_the_same_in_each_call)
{
    struct bench b;
    bench_open(&b, "    carry: {x: {f32: [batch], start: 4}}\n    max: 2\n"
                   "    body:\n      - {call: narrow, with: {x: x}, set: {x: x}}\n");
    const float *x = (const float *)(const void *)run(&b, 0, "x");
    cr_assert(x[0] == 4 && x[1] == 0 && x[2] == 4);
    bench_close(&b);
}

/* A loop over tokens 0 .. 4, the last one meaning nothing of its own, whose program adds 1 to
 * all. */
#define TOKENS                                                                                     \
    "sedge: 1\n"                                                                                   \
    "params: {vocab: 5, length: 3}\n"                                                              \
    "process: {rate: uniform, noise: {sigma: t}}\n"                                                \
    "programs:\n"                                                                                  \
    "  same:\n"                                                                                    \
    "    in: {x: [token, batch, length]}\n"                                                        \
    "    nodes: {y: {where: [{less: [0, 1]}, x, x]}}\n"                                            \
    "    out: {x: y}\n"                                                                            \
    "  place:\n"                                                                                   \
    "    in: {kept: [f64, batch, 2, 3], at: [f64]}\n"                                              \
    "    nodes:\n"                                                                                 \
    "      sum: {sum: kept, axis: 2}\n"                                                            \
    "      y: {add: [{mul: [sum, 0]}, {add: [at, 1]}]}\n"                                          \
    "      all: {sum: {sum: kept, axis: 2}, axis: 1}\n"                                            \
    "    out: {y: y, all: all}\n"                                                                  \
    "loops:\n"                                                                                     \
    "  go:\n"                                                                                      \
    "    carry: {x: {token: [batch, length], start: 2}}\n"                                         \
    "    max: 1\n"                                                                                 \
    "    body: [{call: same, with: {x: x}, set: {x: x}}]\n"

static const int32_t *overlaid(struct rig *r, const struct loop_overlay *overlay, bool set)
{
    rig_model_text(r, TOKENS);
    struct loop *loop = loop_read(r->model, "go");
    cr_assert_not_null(loop, "%s", diags_render(r->diags, false));
    struct rig_program p = {"same", 2, NULL, NULL};
    struct plan *plan = rig_compile(r, &p, NULL);
    rig_state(r, &r->model->states, 1);
    struct loop_program program = {"same", rig_load(r, plan)};
    loop->body_count = set;
    struct looper *l = loop_open(r->diags, r->arena, loop, &program, 1, NULL, 0, 2);
    cr_assert_not_null(l, "%s", diags_render(r->diags, false));
    struct loop_request q = {.count = 2, .key = random_key(1, "loop"), .overlay = overlay};
    cr_assert(loop_run(l, &q));
    int32_t *copy = arena_new_array(r->arena, int32_t, 6);
    memcpy(copy, loop_carry_data(l, "x"), 6 * sizeof *copy);
    loop_close(l);
    return copy;
}

Test(loop, known_positions_hold)
{
    static const uint8_t fixed[] = {1, 0, 0, 0, 0, 1};
    static const int32_t known[] = {4, 0, 0, 0, 0, 0};
    struct loop_overlay o = {.fixed = fixed, .known = known, .length = 3, .states = 5, .mask = -1};
    for (int set = 0; set < 2; set++) {
        struct rig r;
        const int32_t *x = overlaid(&r, &o, set);
        cr_assert(x[0] == 4 && x[1] == 2 && x[2] == 2 && x[3] == 2 && x[4] == 2 && x[5] == 0);
        rig_close(&r);
    }
}

Test(loop, a_start_outside_the_allowed_states)
{
    static const uint8_t allowed[] = {1, 1, 1, 1, 1, 0, 0, 0, 1, 0, 1, 1, 1, 1, 1,
                                      0, 1, 0, 1, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    struct loop_overlay o = {.allowed = allowed, .length = 3, .states = 5, .mask = -1};
    struct rig r;
    const int32_t *x = overlaid(&r, &o, true);
    cr_assert(x[0] == 2 && x[1] == 3 && x[2] == 2 && x[4] == 2 && x[5] == 2);
    cr_assert(x[3] == 1 || x[3] == 3);
    rig_close(&r);
    o.mask = 4;
    x = overlaid(&r, &o, true);
    cr_assert(x[0] == 2 && x[1] == 4 && x[3] == 4, "a mask where there is one");
    rig_close(&r);
}

/* --- what does not fit ------------------------------------------------------------------------ */

static void refused(const char *body, const char *message)
{
    struct bench b;
    bench_open(&b, body);
    cr_assert_null(b.looper, "%s", message);
    rig_expect(&b.rig, message);
    bench_close(&b);
}

Test(loop, types_must_fit)
{
#define SUM "    carry: {sum: {f64: [batch]}}\n    max: 1\n    body:\n      - "
    refused(SUM "{call: wide, with: {sum: sum}}\n",
            "what is carried does not fit: input `sum` is f64 [4, 2] in the program");
    refused(SUM "{call: first, with: {t: sum}, set: {sum: y}}\n", "`first` returns no `y`");
    refused("    carry: {sum: {f32: [batch]}}\n    max: 1\n    body:\n"
            "      - {call: first, with: {t: 1}, set: {sum: sum}}\n",
            "it does not fit what is carried: `sum` is f64 [4] in the program");
    refused("    carry: {sum: {f64: [7]}}\n    max: 1\n    body:\n"
            "      - {call: first, with: {t: sum}}\n",
            "what is carried does not fit: input `t` is f64 [4] in the program");
    refused(SUM "{call: narrow, with: {x: 1, flag: 1}}\n",
            "an expression is a real number, but input `flag` is bool [4] in the program");
    refused("    carry: {k: {f64: [], start: first}}\n    max: 1\n    body:\n"
            "      - {call: first, with: {t: 1}}\n",
            "`first` returns no `k`");
}

Test(loop, inputs_must_be_given)
{
    refused(SUM "{call: first, set: {sum: sum}}\n", "`first` is not given its input `t`");
    refused(SUM "{call: first, with: {t: 1, u: 1}}\n", "`first` has no input `u`");
}
