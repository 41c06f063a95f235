/* What the shape rules refuse where only the text form can ask: the ops that passes emit, and what
 * the reader of models gets right by itself. What a model can get wrong is in tests/bad/op. */
#include "tests/graph/fixture.h"

TestSuite(rules, .init = open_fixture, .fini = close_fixture);

/* The line NODE after three values: %1 f32 [2, 3, 4], %2 f32 [4], %3 f64 [] and %4 f32 [2, 3]. */
static void refuse(const char *node, const char *message)
{
    char *text = arena_printf(arena,
                              "graph g\naxis batch 8\nprocess main absorb 5 2 * t\n"
                              "%%1: f32 [2, 3, 4] = input\n%%2: f32 [4] = input\n"
                              "%%3: f64 [] = input\n%%4: f32 [2, 3] = input\n%s\n",
                              node);
    cr_assert_null(try_graph(text), "%s", node);
    char *said = diags_render(diags, false);
    char *line = arena_printf(arena, "error: %s\n", message);
    cr_assert(strstr(said, line), "%s\nsays\n%snot\n%s", node, said, line);
}

Test(rules, activations_and_attention)
{
    refuse("%5: f32 [2, 3, 4] = gelu_backward %1, %2",
           "`gelu_backward`: f32 [2, 3, 4] and f32 [4] must have one shape");
    refuse("%5: f32 [2, 3, 4], %6: f32 [2, 3, 4], %7: f32 [2, 3, 4] ="
           " attention_backward %1, %1, %1, %1, %4, %1 {heads=2}",
           "`attention_backward`: lse must be f32 [rows, heads, m], not f32 [2, 3]");
}

Test(rules, linear_maps_and_tables)
{
    refuse("%5: f32 [2, 3, 6] = linear %1, %2, _ {out=6, bias=false}",
           "`linear`: weight must be f32 [6, 4]");
    refuse("%9: f32 [6, 4] = input\n%5: f32 [2, 3, 6] = linear %1, %9, _ {out=6}",
           "`linear`: bias: true, but there is none");
    refuse("%9: f32 [6, 4] = input\n%5: f32 [2, 3, 6] = linear %1, %9, %2 {out=6}",
           "`linear`: bias must be f32 [6], not f32 [4]");
    refuse("%5: f32 [4, 4] = linear_weight_grad %1, %2",
           "`linear_weight_grad`: f32 [2, 3, 4] and f32 [4] must have the same number of axes, at "
           "least one");
    refuse("%9: i32 [2] = input\n%5: f32 [2, 4] = embedding %9, %2 {out=4, rows=5}",
           "`embedding`: the table must be f32 [5, 4]");
    refuse("%9: i32 [2] = input\n%5: f32 [5, 4] = embedding_backward %9, %2 {rows=5}",
           "`embedding_backward`: dy must have one axis more than i32 [2], not be f32 [4]");
    refuse("%5: f32 [2, 3, 4], %6: f32 [2, 3], %7: f32 [2, 3] = layer_norm %1, %2, %2 {bias=false}",
           "`layer_norm`: bias: false, but there is one");
    refuse("%9: f32 [6, 4] = input\n"
           "%5: f32 [2, 3, 6] = linear_then %1, %9, %1, _, _ {then=add}",
           "`linear_then`: no add after a linear map: x f32 [2, 3, 4], weight f32 [6, 4], aside "
           "f32 [2, 3, 4]");
}

Test(rules, fused_heads)
{
    refuse("%9: i32 [2, 3] = input\n%5: f64 [2, 3] = head_entropy %1, %4, %9, _",
           "`head_entropy`: no head: h f32 [2, 3, 4], weight f32 [2, 3], target i32 [2, 3]");
    refuse("%9: token main [2, 3] = input\n%8: f32 [7, 4] = input\n"
           "%5: f64 [2, 3] = head_loss %1, %8, %9, %9, %3, _ process main",
           "`head_loss`: no head of form `score` under this process: h f32 [2, 3, 4], weight "
           "f32 [7, 4]");
}

Test(rules, state_and_optimizer)
{
    refuse("%5: f32 [4] = accumulate %2, %4, %3",
           "`accumulate`: cannot add f32 [2, 3] to a row f32 [4]");
    refuse("%9: f64 [2] = input\n%5: f32 [4] = accumulate %2, %2, %9",
           "`accumulate`: `keep` must be a scalar, not f64 [2]");
    refuse("%9: f64 [2] = input\n%5: f64 [], %6: f64 [] = clip_scale %9",
           "`clip_scale`: `sum_squares` must be a scalar, not f64 [2]");
    refuse("%5: f32 [4], %6: f32 [4], %7: f32 [4] = adamw %2, %4, %2, %2, %3, %3, %3",
           "`adamw`: input `m` cannot be f32 [2, 3] beside a parameter f32 [4]");
}

Test(rules, shapes)
{
    refuse("%5: f32 [3] = sum_to %1 {shape=[3]}",
           "`sum_to`: f32 [3] does not broadcast to f32 [2, 3, 4]");
    refuse("%5: f32 [3] = broadcast_to %2 {shape=[3]}",
           "`broadcast_to`: f32 [4] does not broadcast to f32 [3]");
    refuse("%5: f32 [4] = gelu _", "`gelu`: input `x` is missing: f32 [...]");
    refuse("%5: f32 [4] = gelu %2, %2", "`gelu`: takes 1 inputs, not 2");
}
