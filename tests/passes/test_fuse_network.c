/* fuse: the patterns of networks, as text; and that what comes out computes what went in, gradients
 * included, on double references. */
#include "tests/passes/fixture.h"

#include "ops/reference.h"
#include "ops/rules.h"

#include <math.h>

TestSuite(fuse_network, .init = open_fixture, .fini = close_fixture);

#define QKV "graph p\n%1: f32 [2, 5, 12] = input\n"
#define PARTS "%2: f32 [2, 5, 4], %3: f32 [2, 5, 4], %4: f32 [2, 5, 4] = split %1 {parts=3}\n"
#define ENDS "input x %1\noutput y "

Test(fuse_network, attention_with_rotation)
{
    expect_pass(pass_fuse_written,
                QKV PARTS "%5: f32 [2, 5, 4] = rope %2 {heads=2, base=100}\n"
                          "%6: f32 [2, 5, 4] = rope %3 {heads=2, base=100}\n"
                          "%7: f32 [2, 5, 4], %8: f32 [2, 2, 5] = attention %5, %6, %4 "
                          "{heads=2, causal=true}\n" ENDS "%7\n",
                QKV "%2: f32 [2, 5, 4], %3: f32 [2, 2, 5] = attention_packed %1 "
                    "{heads=2, causal=true, rope=100}\n" ENDS "%2\n");
}

Test(fuse_network, attention_without_rotation)
{
    expect_pass(pass_fuse_written,
                QKV PARTS "%5: f32 [2, 5, 4], %6: f32 [2, 1, 5] = attention %2, %3, %4 "
                          "{heads=1}\n" ENDS "%5\n",
                QKV "%2: f32 [2, 5, 4], %3: f32 [2, 1, 5] = attention_packed %1 {heads=1}\n" ENDS
                    "%2\n");
}

static void stays(const char *text)
{
    expect_pass(pass_fuse_written, text, text);
}

/* Rotations that differ, parts in another order, a part that another node reads, a cut along
 * another axis. */
Test(fuse_network, not_what_attention_does_otherwise)
{
    stays(QKV PARTS "%5: f32 [2, 5, 4] = rope %2 {heads=2, base=100}\n"
                    "%6: f32 [2, 5, 4] = rope %3 {heads=2}\n"
                    "%7: f32 [2, 5, 4], %8: f32 [2, 2, 5] = attention %5, %6, %4 {heads=2}\n" ENDS
                    "%7\n");
    stays(QKV PARTS "%5: f32 [2, 5, 4] = rope %2 {heads=2}\n"
                    "%6: f32 [2, 5, 4], %7: f32 [2, 2, 5] = attention %5, %3, %4 {heads=2}\n" ENDS
                    "%6\n");
    stays(QKV PARTS "%5: f32 [2, 5, 4], %6: f32 [2, 2, 5] = attention %3, %2, %4 {heads=2}\n" ENDS
                    "%5\n");
    stays(QKV PARTS "%5: f32 [2, 5, 4], %6: f32 [2, 2, 5] = attention %2, %3, %4 {heads=2}\n" ENDS
                    "%5\noutput v %4\n");
    stays("graph p\n%1: f32 [2, 6, 4] = input\n"
          "%2: f32 [2, 2, 4], %3: f32 [2, 2, 4], %4: f32 [2, 2, 4] = split %1 {parts=3, axis=1}\n"
          "%5: f32 [2, 2, 4], %6: f32 [2, 2, 2] = attention %2, %3, %4 {heads=2}\n" ENDS "%5\n");
}

#define NORM                                                                                       \
    "graph p\nstate n parameter f32 [4] one\n"                                                     \
    "%1: f32 [2, 5, 4] = input\n"                                                                  \
    "%2: f32 [2, 4] = input\n"                                                                     \
    "%3: f32 [2, 4] = input\n"                                                                     \
    "%4: f32 [4] = state n\n"
#define NORM_ENDS "input x %1\ninput b %2\ninput a %3\noutput y "

Test(fuse_network, a_norm_and_its_modulation)
{
    expect_pass(pass_fuse_written,
                NORM "%5: f32 [2, 5, 4], %6: f32 [2, 5], %7: f32 [2, 5] = layer_norm %1, %4, _ "
                     "{bias=false, eps=0.001}\n"
                     "%8 \"m\": f32 [2, 5, 4] = modulate %5, %2, %3\n" NORM_ENDS "%8\n",
                NORM "%5 \"m\": f32 [2, 5, 4], %6: f32 [2, 5], %7: f32 [2, 5] = norm_modulate %1, "
                     "%2, %3, %4 {eps=0.001}\n" NORM_ENDS "%5\n");
}

/* A norm that is wanted, and one with a bias. */
Test(fuse_network, not_a_norm_that_is_read_elsewhere)
{
    stays(NORM "%5: f32 [2, 5, 4], %6: f32 [2, 5], %7: f32 [2, 5] = layer_norm %1, %4, _ "
               "{bias=false}\n"
               "%8: f32 [2, 5, 4] = modulate %5, %2, %3\n" NORM_ENDS "%8\noutput h %5\n");
    stays(NORM "%5: f32 [2, 5, 4], %6: f32 [2, 5], %7: f32 [2, 5] = layer_norm %1, %4, %4\n"
               "%8: f32 [2, 5, 4] = modulate %5, %2, %3\n" NORM_ENDS "%8\n");
}

/* --- numbers ------------------------------------------------------------------------------ */

static bool supply(void *context, const struct graph *graph, uint32_t value,
                   const struct ref_tensor *out)
{
    (void)context;
    for (int64_t i = 0; i < ref_size(out); i++)
        out->data[i] = sin(1.7 * (double)i + (double)graph_type(graph, value)->rank);
    return true;
}

/* A block of a transformer with its residual path, as it is and after all patterns, both with
 * gradients by its input and its parameters. */
#define BLOCK                                                                                      \
    "graph p\nstate n parameter f32 [4] one\nstate w parameter f32 [12, 4] zero\n"                 \
    "%1: f32 [2, 5, 4] = input\n"                                                                  \
    "%2: f32 [2, 4] = input\n"                                                                     \
    "%3: f32 [2, 4] = input\n"                                                                     \
    "%4: f32 [4] = state n\n"                                                                      \
    "%5: f32 [12, 4] = state w\n"                                                                  \
    "%6: f32 [2, 5, 4], %7: f32 [2, 5], %8: f32 [2, 5] = layer_norm %1, %4, _ {bias=false}\n"      \
    "%9: f32 [2, 5, 4] = modulate %6, %2, %3\n"                                                    \
    "%10: f32 [2, 5, 12] = linear %9, %5 {out=12, bias=false}\n"                                   \
    "%11: f32 [2, 5, 4], %12: f32 [2, 5, 4], %13: f32 [2, 5, 4] = split %10 {parts=3}\n"           \
    "%14: f32 [2, 5, 4] = rope %11 {heads=2}\n"                                                    \
    "%15: f32 [2, 5, 4] = rope %12 {heads=2}\n"                                                    \
    "%16: f32 [2, 5, 4], %17: f32 [2, 2, 5] = attention %14, %15, %13 {heads=2}\n"                 \
    "%18: f32 [2, 5, 4] = gated_add %1, %16, %3 stream 0x00000001\n"                               \
    "%19: f32 [2, 5, 4] = mul %18, %18\n"                                                          \
    "%20: f32 [] = sum %19\n"                                                                      \
    "%21: f32 [2, 5, 4], %22: f32 [2, 4], %23: f32 [2, 4] = gradient %20, %1, %2, %3\n"            \
    "input x %1\ninput b %2\ninput a %3\n"                                                         \
    "output y %18\noutput dx %21\noutput db %22\noutput da %23\nminimize %20\n"

Test(fuse_network, keeps_a_block_and_its_gradients)
{
    struct compile_options o = {.gradients = true, .grad_outputs = true};
    struct compile a = {arena, diags, read_graph(BLOCK), &o, NULL, NULL};
    struct compile b = {arena, diags, read_graph(BLOCK), &o, NULL, NULL};
    cr_assert(pass_grad(&a));
    cr_assert(pass_fuse_written(&b) && pass_grad(&b) && pass_simplify(&b) && pass_fuse(&b));
    const char *text = graph_print(arena, b.graph);
    cr_assert(graph_verify(b.graph, diags), "%s%s", text, diags_render(diags, false));
    cr_assert_null(strstr(text, "= split"), "%s", text);
    cr_assert_null(strstr(text, "= layer_norm"), "%s", text);
    struct reference_io io = {.supply = supply};
    struct ref_tensor *before = arena_new_array(arena, struct ref_tensor, a.graph->value_count);
    struct ref_tensor *after = arena_new_array(arena, struct ref_tensor, b.graph->value_count);
    cr_assert(reference_run(a.graph, &io, arena, before));
    cr_assert(reference_run(b.graph, &io, arena, after));
    cr_assert_eq(a.graph->output_count, 6);
    for (uint32_t i = 0; i < a.graph->output_count; i++) {
        const struct ref_tensor *x = &before[a.graph->outputs[i].value];
        const struct ref_tensor *y = &after[b.graph->outputs[i].value];
        double size = 0;
        for (int64_t k = 0; k < ref_size(x); k++) {
            size += fabs(x->data[k]);
            cr_assert_float_eq(x->data[k], y->data[k], 1e-12 * (1 + fabs(x->data[k])),
                               "%s[%lld]: %.15g, fused %.15g", a.graph->outputs[i].name,
                               (long long)k, x->data[k], y->data[k]);
        }
        cr_assert(size > 0, "%s is zero and shows nothing", a.graph->outputs[i].name);
    }
}

/* The gradient of the residual path comes in; not one that is made of the norm's own. */
#define BACK                                                                                       \
    "graph p\n"                                                                                    \
    "%1: f32 [2, 5, 4] = input\n"                                                                  \
    "%2: f32 [4] = input\n"                                                                        \
    "%3: f32 [2, 5] = input\n"                                                                     \
    "%4: f32 [2, 4] = input\n"
#define BACK_ENDS "input x %1\ninput w %2\ninput m %3\ninput a %4\noutput y "

Test(fuse_network, the_residual_path)
{
    expect_pass(pass_fuse,
                BACK "%5: f32 [2, 5, 4], %6: f32 [2, 4], %7: f32 [2, 4], %8: f32 [4] = "
                     "norm_modulate_backward %1, %2, %3, %3, %4, %1\n"
                     "%9: f32 [2, 5, 4] = add %1, %5\n" BACK_ENDS "%9\noutput s %7\n",
                BACK "%5: f32 [2, 5, 4], %6: f32 [2, 4], %7: f32 [2, 4], %8: f32 [4] = "
                     "norm_modulate_backward %1, %2, %3, %3, %4, %1, %1\n" BACK_ENDS
                     "%5\noutput s %7\n");
    static const char own[] =
        BACK "%5: f32 [2, 5, 4], %6: f32 [2, 4], %7: f32 [2, 4], %8: f32 [4] = "
             "norm_modulate_backward %1, %2, %3, %3, %4, %1\n"
             "%9: f32 [2, 5, 4] = modulate %1, %6, %7\n"
             "%10: f32 [2, 5, 4] = add %9, %5\n" BACK_ENDS "%10\n";
    expect_pass(pass_fuse, own, own);
}

/* A sum that stretches the gradient, or makes it double. */
Test(fuse_network, not_a_sum_of_another_type)
{
    static const char wide[] = "graph p\n"
                               "%1: f32 [1, 5, 4] = input\n"
                               "%2: f32 [4] = input\n"
                               "%3: f32 [1, 5] = input\n"
                               "%4: f32 [1, 4] = input\n"
                               "%5: f32 [8, 5, 4] = input\n"
                               "%6: f32 [1, 5, 4], %7: f32 [1, 4], %8: f32 [1, 4], %9: f32 [4] = "
                               "norm_modulate_backward %1, %2, %3, %3, %4, %1\n"
                               "%10: f32 [8, 5, 4] = add %5, %6\n" BACK_ENDS "%10\ninput z %5\n";
    static const char precise[] =
        BACK "%5: f64 [2, 5, 4] = input\n"
             "%6: f32 [2, 5, 4], %7: f32 [2, 4], %8: f32 [2, 4], %9: f32 [4] = "
             "norm_modulate_backward %1, %2, %3, %3, %4, %1\n"
             "%10: f64 [2, 5, 4] = add %5, %6\n" BACK_ENDS "%10\ninput z %5\n";
    cr_assert_null(strstr(
        graph_print(arena, run_pass(pass_fuse, wide, (struct compile_options){0})), "%4, %1, %5"));
    cr_assert_null(
        strstr(graph_print(arena, run_pass(pass_fuse, precise, (struct compile_options){0})),
               "%4, %1, %5"));
}
