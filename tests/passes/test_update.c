/* update: the optimizer joins the program whose gradients it consumes. What it computes is tried by
 * the random graphs and by training; here are its place in the program, and the memory that
 * gradients take. */
#include "tests/passes/fixture.h"
#include "tests/support/rig.h"

#include <math.h>

TestSuite(update_pass, .init = open_fixture, .fini = close_fixture);

/* The loss is w x; that w was found is returned as well. */
#define PROGRAM                                                                                    \
    "graph t\n"                                                                                    \
    "state w parameter f32 [3] normal 1\n"                                                         \
    "state grad/w gradient f32 [3] zero of w\n"                                                    \
    "%1: f32 [3] = input\n"                                                                        \
    "%2: f32 [3] = state w\n"                                                                      \
    "%3: f32 [3] = mul %1, %2\n"                                                                   \
    "%4: f32 [] = sum %3\n"                                                                        \
    "%5: f32 [3] = neg %1\n"                                                                       \
    "%6: f32 [3] = neg %2\n"                                                                       \
    "%7: f32 [3] -> grad/w v1 = store %5\n"                                                        \
    "input x %1\n"                                                                                 \
    "output loss %4\n"                                                                             \
    "output old %2\n"                                                                              \
    "output twice %6\n"                                                                            \
    "minimize %4\n"

static char *updated(double clip, double ema)
{
    struct update_options u = {0.9, 0.99, 1e-8, 0, clip, 1, ema};
    struct graph *g = run_pass(pass_update, PROGRAM, (struct compile_options){.update = &u});
    return graph_print(arena, g);
}

/* The gradient of a b by a is b itself: both updates read what was found. */
Test(update_pass, a_gradient_that_is_a_parameter_is_copied)
{
    for (int clip = 0; clip < 2; clip++) {
        struct update_options u = {0.9, 0.99, 1e-8, 0, clip, 1, 0};
        struct graph *g = run_pass(pass_update,
                                   "graph t\n"
                                   "state a parameter f32 [3] normal 1\n"
                                   "state b parameter f32 [3] normal 1\n"
                                   "state grad/a gradient f32 [3] zero of a\n"
                                   "state grad/b gradient f32 [3] zero of b\n"
                                   "%1: f32 [3] = state a\n"
                                   "%2: f32 [3] = state b\n"
                                   "%3: f32 [3] = mul %1, %2\n"
                                   "%4: f32 [] = sum %3\n"
                                   "%5: f32 [3] -> grad/a v1 = store %2\n"
                                   "%6: f32 [3] -> grad/b v1 = store %1\n"
                                   "output loss %4\n"
                                   "minimize %4\n",
                                   (struct compile_options){.update = &u});
        uint32_t updates = 0;
        for (uint32_t i = 0; i < g->order_count; i++) {
            const struct node *n = &g->nodes[g->order[i]];
            if (strcmp(n->op->name, "adamw") != 0)
                continue;
            cr_expect_eq(g->values[n->in[3]].state, 0, "the gradient is a row");
            updates++;
        }
        cr_assert_eq(updates, 2);
    }
}

/* The store is gone. The norm waits for nothing but the gradient, the update for the norm. */
Test(update_pass, clipped)
{
    cr_assert_str_eq(
        updated(1, 0),
        "graph t\n"
        "state w parameter f32 [3] normal 1\n"
        "state adam_m/w moment f32 [3] zero of w\n"
        "state adam_v/w moment f32 [3] zero of w\n"
        "%1 \"lr\": f64 [] = input\n"
        "%2 \"step\": f64 [] = input\n"
        "%3: f32 [3] = input\n"
        "%4: f32 [3] = state w\n"
        "%5: f32 [3] = cast %4 {to=f32}\n"
        "%6: f32 [3] = mul %3, %4\n"
        "%7: f32 [] = sum %6\n"
        "%8: f64 [] = cast %7 {to=f64}\n"
        "%9 \"grad/w\": f32 [3] = neg %3\n"
        "%10: f64 [] = sum_squares %9\n"
        "%11: f32 [3] = neg %4\n"
        "%12: f64 [], %13: f64 [] = clip_scale %10, %8 {norm=1}\n"
        "%14: f32 [3] = state adam_m/w\n"
        "%15: f32 [3] = state adam_v/w\n"
        "%16 \"w\": f32 [3] -> w v1, %17: f32 [3] -> adam_m/w v1, %18: f32 [3] -> adam_v/w v1 = "
        "adamw %4, %14, %15, %9, %12, %1, %2 {beta2=0.99}\n"
        "input x %3\n"
        "input lr %1\n"
        "input step %2\n"
        "output loss %7\n"
        "output old %5\n"
        "output twice %11\n"
        "output grad_norm %13\n"
        "minimize %7\n");
}

/* Behind all that read the parameter as it was, and scaled by its own gradient alone. */
Test(update_pass, not_clipped)
{
    char *out = updated(0, 0.5);
    const char *want =
        "%10: f32 [3] = neg %4\n"
        "%11: f64 [] = sum_squares %9\n"
        "%12: f64 [], %13: f64 [] = clip_scale %11, %8\n"
        "%14: f32 [3] = state adam_m/w\n"
        "%15: f32 [3] = state adam_v/w\n"
        "%16: f32 [3] = state ema/w\n"
        "%17 \"w\": f32 [3] -> w v1, %18: f32 [3] -> adam_m/w v1, %19: f32 [3] -> adam_v/w v1, "
        "%20: "
        "f32 [3] -> ema/w v1 = adamw_ema %4, %14, %15, %16, %9, %12, %1, %2 {beta2=0.99, "
        "ema_decay=0.5}\n";
    cr_assert_not_null(strstr(out, want), "%s", out);
}

/* Without `update`, or a program that minimises nothing, nothing is done. */
Test(update_pass, leaves_others_alone)
{
    struct update_options u = {.beta1 = 0.9};
    expect_pass(pass_update, PROGRAM, PROGRAM);
    const char *plain = "graph t\n"
                        "%1: f32 [3] = input\n"
                        "%2: f32 [3] = neg %1\n"
                        "input x %1\n"
                        "output y %2\n";
    struct graph *g = run_pass(pass_update, plain, (struct compile_options){.update = &u});
    cr_assert_str_eq(graph_print(arena, g), plain);
}

/* --- what is not finite ------------------------------------------------------------------- */

/* Two parameters whose gradients the caller gives: whether a step changes the rows of either. */
struct trial {
    struct rig rig;
    struct state_table states;
    struct loaded *loaded;
};

static void trial_open(struct trial *t, double clip)
{
    static const char text[] = "graph t\n"
                               "state w parameter f32 [3] normal 1\n"
                               "state u parameter f32 [3] normal 1\n"
                               "state grad/w gradient f32 [3] zero of w\n"
                               "state grad/u gradient f32 [3] zero of u\n"
                               "%1: f64 [] = input\n"
                               "%2: f32 [3] = input\n"
                               "%3: f32 [3] = input\n"
                               "%4: f32 [3] -> grad/w v1 = store %2\n"
                               "%5: f32 [3] -> grad/u v1 = store %3\n"
                               "input loss %1\n"
                               "input gw %2\n"
                               "input gu %3\n"
                               "output loss %1\n"
                               "minimize %1\n";
    struct update_options u = {0.9, 0.99, 1e-8, 0, clip, 1, 0.5};
    struct compile_options o = {.update = &u, .verify = true};
    *t = (struct trial){0};
    rig_open(&t->rig);
    struct graph *g =
        graph_read(t->rig.arena, t->rig.diags, &ops_table, &t->states, "t", text, strlen(text));
    cr_assert_not_null(g, "%s", diags_render(t->rig.diags, false));
    struct plan *plan = compile_graph(g, &o);
    cr_assert_not_null(plan, "%s", diags_render(t->rig.diags, false));
    rig_state(&t->rig, &t->states, 1);
    rig_fill(&t->rig, 1);
    t->loaded = rig_load(&t->rig, plan);
}

/* Bit 0: something of w changed; bit 1: of u. */
static unsigned changed_by(struct trial *t, double loss, float w, float u)
{
    static const char *const rows[] = {"w", "adam_m/w", "adam_v/w", "ema/w",
                                       "u", "adam_m/u", "adam_v/u", "ema/u"};
    const float gw[] = {1, w, 1}, gu[] = {1, 1, u};
    double lr = 0.1, step = 2;
    float before[8][3];
    unsigned changed = 0;
    for (int r = 0; r < 8; r++)
        memcpy(before[r], rig_row(&t->rig, rows[r]), sizeof before[r]);
    struct rig_value values[] = {
        {"loss", &loss}, {"gw", gw}, {"gu", gu}, {"lr", &lr}, {"step", &step}};
    rig_run(t->loaded, values, 5, 0, NULL);
    for (int r = 0; r < 8; r++)
        if (memcmp(before[r], rig_row(&t->rig, rows[r]), sizeof before[r]) != 0)
            changed |= 1u << r / 4;
    return changed;
}

Test(update_pass, what_is_not_finite_changes_nothing)
{
    struct trial t;
    trial_open(&t, 1);
    cr_assert_eq(changed_by(&t, NAN, 1, 1), 0);
    cr_assert_eq(changed_by(&t, INFINITY, 1, 1), 0);
    cr_assert_eq(changed_by(&t, 1, NAN, 1), 0);
    cr_assert_eq(changed_by(&t, 1, 1, INFINITY), 0);
    cr_assert_eq(changed_by(&t, 1, 1, 1), 3);
    rig_close(&t.rig);
}

/* Without clipping no parameter waits for the gradient of another. */
Test(update_pass, without_clipping_each_is_judged_alone)
{
    struct trial t;
    trial_open(&t, 0);
    cr_assert_eq(changed_by(&t, NAN, 1, 1), 0);
    cr_assert_eq(changed_by(&t, 1, NAN, 1), 2);
    cr_assert_eq(changed_by(&t, 1, 1, INFINITY), 1);
    cr_assert_eq(changed_by(&t, 1, 1, 1), 3);
    rig_close(&t.rig);
}

/* --- memory ------------------------------------------------------------------------------- */

/* The arena of a training step of one short sequence, whose gradients are larger than what else it
 * needs: with the update apart, and joined with clipping or without. */
static int64_t arena_bytes(struct rig *rig, const struct update_options *update, int64_t limit)
{
    struct rig_program p = {"train", 1, NULL, NULL};
    struct compile_options o = {.gradients = true, .update = update, .arena_limit = limit};
    const struct plan *plan = rig_compile(rig, &p, &o);
    cr_assert(plan->certificate.checked);
    cr_assert_eq(plan->certificate.state_bytes[STATE_GRADIENT] == 0, update != NULL);
    return plan->arena_bytes;
}

static int64_t gradient_bytes(const struct rig *rig)
{
    int64_t sum = 0;
    for (uint32_t r = 0; r < rig->model->states.count; r++)
        if (rig->model->states.rows[r].class == STATE_PARAMETER)
            sum += type_bytes(&rig->model->states.rows[r].type);
    return sum;
}

Test(update_pass, gradients_are_consumed_at_once_unless_clipped)
{
    static const char *const settings[] = {"dim=128", "heads=2",   "layers=8",  "cond=16",
                                           "vocab=5", "length=16", "dropout=0", NULL};
    const struct update_options clipped = {0.9, 0.99, 1e-8, 0, 1, 1, 0.9},
                                free = {0.9, 0.99, 1e-8, 0, 0, 1, 0.9};
    struct rig rig;
    rig_model(&rig, "models/sedd-absorb.yaml", settings);
    int64_t apart = arena_bytes(&rig, NULL, 0), all = gradient_bytes(&rig);
    int64_t with = arena_bytes(&rig, &clipped, 0), without = arena_bytes(&rig, &free, 0);
    /* All of them live at the end, when no activations do; they share that memory. */
    cr_assert_geq(with, all);
    cr_assert_lt(with, all + apart / 2);
    /* The largest are those of two products of 128 x 512; there are 8 blocks of these. */
    cr_assert_lt(without, apart + all / 8);
    cr_assert_lt(4 * without, 3 * with);
    rig_close(&rig);
}
