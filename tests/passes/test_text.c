/* simplify and grad, text in and text out. Each expected text was derived by hand from the rules:
 * which constants fold, which nodes are equal, and the chain rule. */
#include "graph/text.h"
#include "graph/verify.h"
#include "ops/ops.h"
#include "passes/compile.h"

#include <criterion/criterion.h>
#include <string.h>

/* TEXT after the passes named (NULL ends the list) must be WANT. */
static void expect(const char *const *passes, const char *text, const char *want)
{
    struct arena *arena = arena_new();
    struct diags *diags = diags_new(arena);
    struct state_table states = {0};
    struct graph *g = graph_read(arena, diags, &ops_table, &states, "in", text, strlen(text));
    cr_assert_not_null(g, "%s", diags_render(diags, false));
    struct compile_options options = {.gradients = true};
    struct compile c = {.arena = arena, .diags = diags, .graph = g, .options = &options};
    for (; *passes; passes++) {
        bool done = false;
        for (uint32_t i = 0; i < pipeline_count; i++) {
            if (strcmp(pipeline[i].name, *passes) != 0)
                continue;
            cr_assert(pipeline[i].run(&c), "%s", diags_render(diags, false));
            done = true;
        }
        cr_assert(done, "there is no pass %s", *passes);
        cr_assert(graph_verify(g, diags), "%s", diags_render(diags, false));
    }
    cr_assert_str_eq(graph_print(arena, g), want);
    arena_free(arena);
}

static const char *const simplify[] = {"simplify", NULL};
static const char *const grad[] = {"grad", "simplify", NULL};

/* 2 x 3 is known; a factor of one goes; equal nodes are one; what nobody reads goes. */
Test(simplify, folds_merges_and_drops)
{
    expect(simplify,
           "graph g\n"
           "axis batch 4\n"
           "%1 \"x\": f32 [batch, 3] = input\n"
           "%2: f32 [] = const {value=2}\n"
           "%3: f32 [] = const {value=3}\n"
           "%4: f32 [] = mul %2, %3\n"
           "%5: f32 [batch, 3] = mul %1, %4\n"
           "%6: f32 [] = const {value=1}\n"
           "%7: f32 [batch, 3] = mul %5, %6\n"
           "%8: f32 [batch, 3] = exp %7\n"
           "%9: f32 [batch, 3] = exp %7\n"
           "%10: f32 [batch, 3] = add %8, %9\n"
           "%11: f32 [batch, 3] = tanh %10\n"
           "%12: f32 [] = sum %10\n"
           "input x %1\n"
           "output y %12\n",
           "graph g\n"
           "axis batch 4\n"
           "%1 \"x\": f32 [batch, 3] = input\n"
           "%2: f32 [] = const {value=6}\n"
           "%3: f32 [batch, 3] = mul %1, %2\n"
           "%4: f32 [batch, 3] = exp %3\n"
           "%5: f32 [batch, 3] = add %4, %4\n"
           "%6: f32 [] = sum %5\n"
           "input x %1\n"
           "output y %6\n");
}

/* Two draws are two draws, also when they look the same. */
Test(simplify, never_merges_draws)
{
    const char *text = "graph g\n"
                       "axis batch 4\n"
                       "%1: f64 [batch] = random_uniform {shape=[batch]} stream 0x00000001\n"
                       "%2: f64 [batch] = random_uniform {shape=[batch]} stream 0x00000001\n"
                       "%3: f64 [batch] = sub %1, %2\n"
                       "output d %3\n";
    expect(simplify, text, text);
}

/* Clones of one node, which differ in their epoch, stay apart. */
Test(simplify, never_merges_clones)
{
    const char *text = "graph g\n"
                       "axis batch 4\n"
                       "%1 \"x\": f32 [batch] = input\n"
                       "%2: f32 [batch] = exp %1\n"
                       "%3: f32 [batch] = exp %1 epoch 1\n"
                       "%4: f32 [batch] = add %2, %3\n"
                       "input x %1\n"
                       "output y %4\n";
    expect(simplify, text, text);
}

/* A literal that is not finite is left where a message can name it. */
Test(simplify, leaves_what_is_not_finite)
{
    const char *text = "graph g\n"
                       "%1: f64 [] = const {value=0}\n"
                       "%2: f64 [] = log %1\n"
                       "output y %2\n";
    expect(simplify, text, text);
}

/* The rate of the log-linear schedule: d/dt -log1p(-a t) = a / (1 - a t), here as -1/(1 - a t) x
 * -a. */
Test(grad, of_a_noise_schedule)
{
    expect(grad,
           "graph g\n"
           "axis batch 4\n"
           "%1 \"t\": f64 [batch] = input\n"
           "%2: f64 [] = const {value=-0.999}\n"
           "%3: f64 [batch] = mul %2, %1\n"
           "%4: f64 [batch] = log1p %3\n"
           "%5: f64 [batch] = neg %4\n"
           "%6: f64 [batch] = gradient %5, %1\n"
           "input t %1\n"
           "output g %6\n",
           "graph g\n"
           "axis batch 4\n"
           "%1 \"t\": f64 [batch] = input\n"
           "%2: f64 [] = const {value=-0.999}\n"
           "%3: f64 [batch] = mul %2, %1\n"
           "%4: f64 [] = const {value=1}\n"
           "%5: f64 [batch] = add %3, %4\n"
           "%6: f64 [batch] = const {value=-1}\n"
           "%7: f64 [batch] = div %6, %5\n"
           "%8: f64 [batch] = mul %7, %2\n"
           "input t %1\n"
           "output g %8\n");
}

/* loss = sum(tanh(a) a), a = x w with w broadcast over the batch: fan-out of a adds up,
 * tanh(a) + a (1 - tanh(a)^2), times x, summed over the batch, and stored as the gradient of w. */
Test(grad, adds_fan_out_and_reduces_broadcasts)
{
    expect(grad,
           "graph g\n"
           "axis batch 4\n"
           "state w parameter f32 [3] one\n"
           "%1 \"x\": f32 [batch, 3] = input\n"
           "%2: f32 [3] = state w\n"
           "%3: f32 [batch, 3] = mul %1, %2\n"
           "%4: f32 [batch, 3] = tanh %3\n"
           "%5: f32 [batch, 3] = mul %4, %3\n"
           "%6: f32 [] = sum %5\n"
           "input x %1\n"
           "output loss %6\n"
           "minimize %6\n",
           "graph g\n"
           "axis batch 4\n"
           "state w parameter f32 [3] one\n"
           "state grad/w gradient f32 [3] zero of w\n"
           "%1 \"x\": f32 [batch, 3] = input\n"
           "%2: f32 [3] = state w\n"
           "%3: f32 [batch, 3] = mul %1, %2\n"
           "%4: f32 [batch, 3] = tanh %3\n"
           "%5: f32 [batch, 3] = mul %4, %3\n"
           "%6: f32 [] = sum %5\n"
           "%7: f32 [] = const {value=1}\n"
           "%8: f32 [batch, 3] = mul %4, %4\n"
           "%9: f32 [batch, 3] = sub %7, %8\n"
           "%10: f32 [batch, 3] = mul %3, %9\n"
           "%11: f32 [batch, 3] = add %4, %10\n"
           "%12: f32 [batch, 3] = mul %11, %1\n"
           "%13: f32 [3] = sum_to %12 {shape=[3]}\n"
           "%14 \"grad/w\": f32 [3] -> grad/w v1 = store %13\n"
           "input x %1\n"
           "output loss %6\n"
           "minimize %6\n");
}
