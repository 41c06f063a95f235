/* fuse: graphs in, graphs out, as text; and that what comes out computes what went in. */
#include "tests/passes/fixture.h"

#include "ops/reference.h"
#include "passes/fuse.h"

#include <math.h>

TestSuite(fuse_pass, .init = open_fixture, .fini = close_fixture);

/* IN becomes OUT, and nothing more can be done with that. */
static void becomes(const char *in, const char *out)
{
    expect_pass(pass_fuse, in, out);
    expect_pass(pass_fuse, out, out);
}

static void stays(const char *text)
{
    expect_pass(pass_fuse, text, text);
}

/* What stands before fuse in the pipeline, with gradients. */
static struct graph *prepare(const char *text, struct compile_options *options)
{
    struct compile c = {
        .arena = arena, .diags = diags, .graph = read_graph(text), .options = options};
    cr_assert(pass_simplify(&c) && pass_grad(&c) && pass_simplify(&c), "%s",
              diags_render(diags, false));
    return c.graph;
}

/* The graph after it. */
static struct graph *train(const char *text)
{
    struct compile_options o = {.gradients = true};
    struct compile c = {.arena = arena, .diags = diags, .options = &o};
    c.graph = prepare(text, &o);
    cr_assert(pass_fuse(&c));
    cr_assert(graph_verify(c.graph, diags), "%s%s", graph_print(arena, c.graph),
              diags_render(diags, false));
    return c.graph;
}

static bool has(const struct graph *g, const struct op *op)
{
    for (uint32_t i = 0; i < g->order_count; i++)
        if (g->nodes[g->order[i]].op == op)
            return true;
    return false;
}

#define HEAD                                                                                       \
    "graph p\n"                                                                                    \
    "process main absorb 3 2 * t\n"                                                                \
    "state w parameter f32 [4, 2] zero\n"                                                          \
    "state b parameter f32 [4] zero\n"                                                             \
    "%1: f32 [5, 3, 2] = input\n"                                                                  \
    "%2: f32 [4, 2] = state w\n"                                                                   \
    "%3: f32 [4] = state b\n"                                                                      \
    "%4: token main [5, 3] = input\n"                                                              \
    "%5: token main [5, 3] = input\n"                                                              \
    "%6: f64 [5] = input\n"
#define INPUTS                                                                                     \
    "input h %1\n"                                                                                 \
    "input x %4\n"                                                                                 \
    "input x0 %5\n"                                                                                \
    "input sigma %6\n"
#define LOGITS "%7: f32 [5, 3, 4] = linear %1, %2, %3 {out=4}\n"

#define CAVITY                                                                                     \
    "%8: f32 [5, 3, 4] = cavity_output %7 process main\n"                                          \
    "%9: f32 [5, 3, 4] = cavity_score %8, %4, %6 process main\n"

/* --- without gradients -------------------------------------------------------------------- */

Test(fuse_pass, cross_entropy)
{
    becomes(HEAD LOGITS "%8: f64 [5, 3], %9: f64 [5, 3] = cross_entropy %7, %5\n" INPUTS
                        "output nats %8\n",
            HEAD "%7: f64 [5, 3] = head_entropy %1, %2, %5, %3\n" INPUTS "output nats %7\n");
}

Test(fuse_pass, law)
{
    becomes(HEAD LOGITS "%8: f32 [5, 3, 4] = x0_output %7, %4, %6 process main\n"
                        "%9 \"nats\": f64 [5, 3], %10: f64 [5, 3] = cross_entropy %8, %5\n" INPUTS
                        "output nats %9\n",
            HEAD "%7 \"nats\": f64 [5, 3] = head_loss %1, %2, %5, %4, _, %3 {form=law}"
                 " process main\n" INPUTS "output nats %7\n");
}

/* The scale of a score does not move the law that it comes to. */
Test(fuse_pass, law_of_a_score)
{
    becomes(HEAD LOGITS "%8: f32 [5, 3, 4] = score_output %7, %4, %6 {scale_by_sigma=true}"
                        " process main\n"
                        "%9: f32 [5, 3, 4] = score_posterior %8, %4, %6 process main\n"
                        "%10: f64 [5, 3], %11: f64 [5, 3] = cross_entropy %9, %5\n" INPUTS
                        "output nats %10\n",
            HEAD "%7: f64 [5, 3] = head_loss %1, %2, %5, %4, _, %3 {form=law} process main\n" INPUTS
                 "output nats %7\n");
}

Test(fuse_pass, score)
{
    becomes(HEAD LOGITS "%8: f32 [5, 3, 4] = score_output %7, %4, %6 {scale_by_sigma=true}"
                        " process main\n"
                        "%9: f64 [5, 3] = score_entropy %8, %4, %5, %6 process main\n" INPUTS
                        "output entropy %9\n",
            HEAD "%7: f64 [5, 3] = head_loss %1, %2, %5, %4, %6, %3 {scale_by_sigma=true}"
                 " process main\n" INPUTS "output entropy %7\n");
}

Test(fuse_pass, score_of_a_law)
{
    static const char out[] =
        HEAD "%7: f64 [5, 3] = head_loss %1, %2, %5, %4, %6, %3 {form=law_score}"
             " process main\n" INPUTS "output entropy %7\n";
    becomes(HEAD LOGITS "%8: f32 [5, 3, 4] = score_output %7, %4, %6 process main\n"
                        "%9: f32 [5, 3, 4] = project_score %8, %4, %6 process main\n"
                        "%10: f64 [5, 3] = score_entropy %9, %4, %5, %6 process main\n" INPUTS
                        "output entropy %10\n",
            out);
    becomes(HEAD LOGITS "%8: f32 [5, 3, 4] = x0_output %7, %4, %6 process main\n"
                        "%9: f32 [5, 3, 4] = posterior_score %8, %4, %6 process main\n"
                        "%10: f64 [5, 3] = score_entropy %9, %4, %5, %6 process main\n" INPUTS
                        "output entropy %10\n",
            out);
}

/* Projected or not: it is the score of a law. */
Test(fuse_pass, score_of_a_cavity)
{
    static const char out[] = HEAD "%7: f64 [5, 3] = head_loss %1, %2, %5, %4, %6, %3 {form=cavity}"
                                   " process main\n" INPUTS "output entropy %7\n";
    becomes(HEAD LOGITS CAVITY
            "%10: f64 [5, 3] = score_entropy %9, %4, %5, %6 process main\n" INPUTS
            "output entropy %10\n",
            out);
    becomes(HEAD LOGITS CAVITY
            "%10: f32 [5, 3, 4] = project_score %9, %4, %6 process main\n"
            "%11: f64 [5, 3] = score_entropy %10, %4, %5, %6 process main\n" INPUTS
            "output entropy %11\n",
            out);
}

/* Rows of a short axis, each with its own noise; and a weight that lies the other way round. */
Test(fuse_pass, rows_that_were_picked)
{
    becomes("graph p\n"
            "process main absorb 3 2 * t\n"
            "axis some 15 counter %4\n"
            "state w parameter f32 [2, 4] zero\n"
            "%1: f32 [15, 2] = input\n"
            "%2: f32 [2, 4] = state w\n"
            "%3: bool [15] = input\n"
            "%4: i32 [some] = nonzero %3\n"
            "%5: token main [15] = input\n"
            "%6: f64 [15] = input\n"
            "%7: f32 [some, 2] = gather %1, %4\n"
            "%8: token main [some] = gather %5, %4\n"
            "%9: f64 [some] = gather %6, %4\n"
            "%10: f32 [some, 4] = linear %7, %2, _ {out=4, bias=false, layout=in_out}\n"
            "%11: f32 [some, 4] = score_output %10, %8, %9 process main\n"
            "%12: f64 [some] = score_entropy %11, %8, %8, %9 process main\n"
            "%13: f64 [] = sum %12\n"
            "input h %1\ninput which %3\ninput x %5\ninput sigma %6\n"
            "output entropy %13\n",
            "graph p\n"
            "process main absorb 3 2 * t\n"
            "axis some 15 counter %4\n"
            "state w parameter f32 [2, 4] zero\n"
            "%1: f32 [15, 2] = input\n"
            "%2: f32 [2, 4] = state w\n"
            "%3: bool [15] = input\n"
            "%4: i32 [some] = nonzero %3\n"
            "%5: token main [15] = input\n"
            "%6: f64 [15] = input\n"
            "%7: f32 [some, 2] = gather %1, %4\n"
            "%8: token main [some] = gather %5, %4\n"
            "%9: f64 [some] = gather %6, %4\n"
            "%10: f64 [some] = head_loss %7, %2, %8, %8, %9, _ {layout=in_out} process main\n"
            "%11: f64 [] = sum %10\n"
            "input h %1\ninput which %3\ninput x %5\ninput sigma %6\n"
            "output entropy %11\n");
}

/* --- with gradients ----------------------------------------------------------------------- */

#define TRAINED TRAINED_UNDER("absorb 3")
#define TRAINED_UNDER(chain)                                                                       \
    "graph p\n"                                                                                    \
    "process main " chain " 2 * t\n"                                                               \
    "state e parameter f32 [5, 3, 2] zero\n"                                                       \
    "state w parameter f32 [4, 2] zero\n"                                                          \
    "state b parameter f32 [4] zero\n"                                                             \
    "%1: f32 [5, 3, 2] = state e\n"                                                                \
    "%2: f32 [4, 2] = state w\n"                                                                   \
    "%3: f32 [4] = state b\n"                                                                      \
    "%4: token main [5, 3] = input\n"                                                              \
    "%5: token main [5, 3] = input\n"                                                              \
    "%6: f64 [5] = input\n"
#define TOKENS                                                                                     \
    "input x %4\n"                                                                                 \
    "input x0 %5\n"                                                                                \
    "input sigma %6\n"

Test(fuse_pass, text_of_a_training_step)
{
    struct graph *g =
        train(TRAINED LOGITS "%8: f32 [5, 3, 4] = score_output %7, %4, %6 {scale_by_sigma=true}"
                             " process main\n"
                             "%9: f64 [5, 3] = score_entropy %8, %4, %5, %6 process main\n"
                             "%10: f64 [] = sum %9\n" TOKENS "output loss %10\nminimize %10\n");
    cr_assert_str_eq(
        graph_print(arena, g),
        "graph p\n"
        "process main absorb 3 2 * t\n"
        "state e parameter f32 [5, 3, 2] zero\n"
        "state w parameter f32 [4, 2] zero\n"
        "state b parameter f32 [4] zero\n"
        "state grad/e gradient f32 [5, 3, 2] zero of e\n"
        "state grad/w gradient f32 [4, 2] zero of w\n"
        "state grad/b gradient f32 [4] zero of b\n"
        "%1: f32 [5, 3, 2] = state e\n"
        "%2: f32 [4, 2] = state w\n"
        "%3: f32 [4] = state b\n"
        "%4: token main [5, 3] = input\n"
        "%5: token main [5, 3] = input\n"
        "%6: f64 [5] = input\n"
        "%7: f64 [5, 3] = const {value=1}\n"
        "%8: f64 [5, 3], %9: f32 [5, 3, 2], %10: f32 [4, 2], %11: f32 [4] = head_loss_backward"
        " %1, %2, %5, %7, %4, %6, %3 {scale_by_sigma=true} process main\n"
        "%12: f64 [] = sum %8\n"
        "%13 \"grad/e\": f32 [5, 3, 2] -> grad/e v1 = store %9\n"
        "%14 \"grad/w\": f32 [4, 2] -> grad/w v1 = store %10\n"
        "%15 \"grad/b\": f32 [4] -> grad/b v1 = store %11\n" TOKENS "output loss %12\n"
        "minimize %12\n");
}
/* The gradient of a mean divides by how many there were, a result of the mean of the losses: it is
 * taken from a mean of other numbers of that type, or of zeros. */
Test(fuse_pass, a_mean_of_losses)
{
    static const char in[] = TRAINED LOGITS
        "%8: f64 [5, 3], %9: f64 [5, 3] = cross_entropy %7, %4\n"
        "%10: f64 [5] = sum %8 {axis=1}\n"
        "%11: f64 [5] = mul %10, %6\n"
        "%12: f64 [], %13: f64 [] = mean %11\n" TOKENS "output loss %12\nminimize %12\n";
    struct graph *g = train(in);
    cr_assert(has(g, &op_head_entropy_backward) && !has(g, &op_linear_weight_grad));
    cr_assert(strstr(graph_print(arena, g), " = mean %6\n"), "%s", graph_print(arena, g));
    static const char alone[] = TRAINED LOGITS
        "%8: f64 [5, 3], %9: f64 [5, 3] = cross_entropy %7, %4\n"
        "%10: f64 [], %11: f64 [] = mean %8\n" TOKENS "output loss %10\nminimize %10\n";
    g = train(alone);
    cr_assert(has(g, &op_head_entropy_backward) && !has(g, &op_linear_weight_grad));
    cr_assert(strstr(graph_print(arena, g), ": f64 [5, 3] = const {value=0}\n"), "%s",
              graph_print(arena, g));
}

/* A weight that the network uses elsewhere too gets both parts of its gradient. */
Test(fuse_pass, a_tied_weight)
{
    struct graph *g = train("graph p\n"
                            "process main absorb 3 2 * t\n"
                            "state w parameter f32 [4, 2] zero\n"
                            "%1: f32 [4, 2] = state w\n"
                            "%2: token main [5, 3] = input\n"
                            "%3: token main [5, 3] = input\n"
                            "%4: f32 [5, 3, 2] = embedding %2, %1 {out=2}\n"
                            "%5: f32 [5, 3, 4] = linear %4, %1, _ {out=4, bias=false}\n"
                            "%6: f64 [5, 3], %7: f64 [5, 3] = cross_entropy %5, %3\n"
                            "%8: f64 [] = sum %6\n"
                            "input x %2\n"
                            "input x0 %3\n"
                            "output loss %8\n"
                            "minimize %8\n");
    cr_assert_str_eq(graph_print(arena, g),
                     "graph p\n"
                     "process main absorb 3 2 * t\n"
                     "state w parameter f32 [4, 2] zero\n"
                     "state grad/w gradient f32 [4, 2] zero of w\n"
                     "%1: f32 [4, 2] = state w\n"
                     "%2: token main [5, 3] = input\n"
                     "%3: token main [5, 3] = input\n"
                     "%4: f32 [5, 3, 2] = embedding %2, %1 {out=2}\n"
                     "%5: f64 [5, 3] = const {value=1}\n"
                     "%6: f64 [5, 3], %7: f32 [5, 3, 2], %8: f32 [4, 2] = head_entropy_backward"
                     " %4, %1, %3, %5, _\n"
                     "%9: f64 [] = sum %6\n"
                     "%10: f32 [4, 2] = embedding_backward %2, %7 {rows=4}\n"
                     "%11: f32 [4, 2] = add %8, %10\n"
                     "%12 \"grad/w\": f32 [4, 2] -> grad/w v1 = store %11\n"
                     "input x %2\n"
                     "input x0 %3\n"
                     "output loss %9\n"
                     "minimize %9\n");
}

/* --- what does not fuse ------------------------------------------------------------------- */

#define SCORE "%8: f32 [5, 3, 4] = score_output %7, %4, %6 process main\n"
#define ENTROPY "%9: f64 [5, 3] = score_entropy %8, %4, %5, %6 process main\n"

/* Values that are wanted: somebody looks at them. */
Test(fuse_pass, not_what_is_wanted)
{
    stays(HEAD LOGITS SCORE ENTROPY INPUTS "output entropy %9\noutput raw %7\n");
    stays(HEAD LOGITS SCORE ENTROPY INPUTS "output entropy %9\noutput score %8\n");
}

Test(fuse_pass, not_what_another_node_reads)
{
    stays(HEAD LOGITS SCORE ENTROPY "%10: f32 [] = sum %7\n" INPUTS
                                    "output entropy %9\noutput sum %10\n");
}

/* The scores of other tokens, or at other noise, than the loss is of. */
Test(fuse_pass, not_what_does_not_belong_together)
{
    stays(HEAD LOGITS "%8: f32 [5, 3, 4] = score_output %7, %5, %6 process main\n" ENTROPY INPUTS
                      "output entropy %9\n");
    stays(HEAD LOGITS "%8: f64 [] = const {value=1}\n"
                      "%9: f32 [5, 3, 4] = score_output %7, %4, %8 process main\n"
                      "%10: f64 [5, 3] = score_entropy %9, %4, %5, %6 process main\n" INPUTS
                      "output entropy %10\n");
}

/* A cavity at other noise than the loss is of: what nothing normalises tells which noise it is. */
Test(fuse_pass, not_a_cavity_at_other_noise)
{
    stays(HEAD LOGITS "%8: f64 [] = const {value=1}\n"
                      "%9: f32 [5, 3, 4] = cavity_output %7 process main\n"
                      "%10: f32 [5, 3, 4] = cavity_score %9, %4, %8 process main\n"
                      "%11: f32 [5, 3, 4] = project_score %10, %4, %6 process main\n"
                      "%12: f64 [5, 3] = score_entropy %11, %4, %5, %6 process main\n" INPUTS
                      "output entropy %12\n");
}

/* A law that depends on the noise. */
Test(fuse_pass, not_a_law_under_every_chain)
{
    stays("graph p\n"
          "process main uniform 4 2 * t\n"
          "state w parameter f32 [4, 2] zero\n"
          "%1: f32 [5, 2] = input\n"
          "%2: f32 [4, 2] = state w\n"
          "%3: token main [5] = input\n"
          "%4: f64 [5] = input\n"
          "%5: f32 [5, 4] = linear %1, %2, _ {out=4, bias=false}\n"
          "%6: f32 [5, 4] = x0_output %5, %3, %4 process main\n"
          "%7: f64 [5], %8: f64 [5] = cross_entropy %6, %3\n"
          "input h %1\ninput x %3\ninput sigma %4\n"
          "output nats %7\n");
}

Test(fuse_pass, not_when_it_is_off)
{
    static const char text[] = HEAD LOGITS SCORE ENTROPY INPUTS "output entropy %9\n";
    struct graph *g = run_pass(pass_fuse, text, (struct compile_options){.unfused = true});
    cr_assert_str_eq(graph_print(arena, g), text);
}

/* What the losses count for depends on the losses, so that none is known before all are. */
Test(fuse_pass, not_where_gradients_depend_on_losses)
{
    struct graph *g = train(TRAINED LOGITS SCORE ENTROPY "%10: f64 [5, 3] = mul %9, %9\n"
                                                         "%11: f64 [] = sum %10\n" TOKENS
                                                         "output loss %11\nminimize %11\n");
    cr_assert(has(g, &op_linear_weight_grad) && has(g, &op_score_entropy_backward));
}

/* The gradient of the noise is wanted: nothing but score_entropy makes it. */
Test(fuse_pass, not_where_noise_is_trained)
{
    struct graph *g =
        train(TRAINED LOGITS "state s parameter f32 [5] zero\n"
                             "%8: f32 [5] = state s\n"
                             "%9: f64 [5] = cast %8 {to=f64}\n"
                             "%10: f32 [5, 3, 4] = score_output %7, %4, %9"
                             " process main\n"
                             "%11: f64 [5, 3] = score_entropy %10, %4, %5, %9"
                             " process main\n"
                             "%12: f64 [] = sum %11\n" TOKENS "output loss %12\nminimize %12\n");
    cr_assert(has(g, &op_linear_weight_grad) && has(g, &op_score_entropy_backward));
}

/* Nothing below the head is trained: it has no gradient. */
Test(fuse_pass, not_half_of_the_gradients)
{
    struct graph *g = train(HEAD LOGITS SCORE ENTROPY "%10: f64 [] = sum %9\n" INPUTS
                                                      "output loss %10\nminimize %10\n");
    cr_assert(has(g, &op_linear_weight_grad) && has(g, &op_score_entropy_backward));
}

/* --- numbers ------------------------------------------------------------------------------ */

static bool supply(void *context, const struct graph *graph, uint32_t value,
                   const struct ref_tensor *out)
{
    const struct type *type = graph_type(graph, value);
    int64_t n = type_count(type);
    (void)context;
    for (int64_t i = 0; i < n; i++) {
        double x = sin(1.7 * (double)i + (double)type->rank + (double)type->dim[0].size);
        if (type->dtype == DT_TOKEN) /* some masks among what the first tokens are not */
            x = graph->inputs[0].value == value && i % 3 ? 3 : (double)(i * 7 % 3);
        else if (type->dtype == DT_F64)
            x = 0.5 + x * x;
        out->data[i] = x;
    }
    return true;
}

static const struct ref_tensor *outputs(const struct graph *g)
{
    struct reference_io io = {.supply = supply};
    struct ref_tensor *values = arena_new_array(arena, struct ref_tensor, g->value_count);
    cr_assert(reference_run(g, &io, arena, values));
    return values;
}

/* The graph of TEXT, with gradients, computes on double references what it does with its head
 * fused: to rounding, as both are the same sums. */
static void computes_the_same(const char *text)
{
    struct compile_options o = {.gradients = true, .grad_outputs = true};
    struct compile c = {.arena = arena, .diags = diags, .options = &o};
    struct graph *apart = prepare(text, &o);
    c.graph = prepare(text, &o);
    cr_assert(pass_fuse(&c));
    cr_assert(has(c.graph, &op_head_loss_backward) || has(c.graph, &op_head_entropy_backward));
    cr_assert(!has(c.graph, &op_linear_weight_grad));
    const struct ref_tensor *a = outputs(apart), *b = outputs(c.graph);
    cr_assert_eq(apart->output_count, 4);
    for (uint32_t i = 0; i < 4; i++) {
        const struct ref_tensor *x = &a[apart->outputs[i].value];
        const struct ref_tensor *y = &b[c.graph->outputs[i].value];
        double norm = 0;
        for (int64_t e = 0; e < type_count(graph_type(apart, apart->outputs[i].value)); e++) {
            norm += fabs(x->data[e]);
            cr_assert_float_eq(x->data[e], y->data[e], 1e-12 * (1 + fabs(x->data[e])),
                               "%s[%d]: %.17g and %.17g", apart->outputs[i].name, (int)e,
                               x->data[e], y->data[e]);
        }
        cr_assert(norm > 0, "%s is zero", apart->outputs[i].name);
    }
}

#define SUM(loss)                                                                                  \
    "%20: f64 [5, 3] = mul " loss ", %30\n"                                                        \
    "%21: f64 [] = sum %20\n" TOKENS "input weight %30\noutput loss %21\nminimize %21\n"
#define MIX(leaves) "{mix: {absorb: 0.7, uniform: 0.3, mask_leaves: " leaves "}} 3"
#define ENTROPY_OF_CAVITY "%10: f64 [5, 3] = score_entropy %9, %4, %5, %6 process main\n"
#define WEIGHTS "%30: f64 [5, 3] = input\n"

Test(fuse_pass, computes_what_the_nodes_did)
{
    computes_the_same(TRAINED LOGITS WEIGHTS
                      "%8: f64 [5, 3], %9: f64 [5, 3] = cross_entropy %7, %4\n" SUM("%8"));
    computes_the_same(TRAINED LOGITS WEIGHTS
                      "%8: f32 [5, 3, 4] = x0_output %7, %4, %6 process main\n"
                      "%9: f64 [5, 3], %10: f64 [5, 3] = cross_entropy %8, %5\n" SUM("%9"));
    computes_the_same(TRAINED LOGITS WEIGHTS
                      "%8: f32 [5, 3, 4] = score_output %7, %4, %6 process main\n"
                      "%9: f32 [5, 3, 4] = score_posterior %8, %4, %6 process main\n"
                      "%10: f64 [5, 3], %11: f64 [5, 3] = cross_entropy %9, %5\n" SUM("%10"));
    computes_the_same(TRAINED LOGITS WEIGHTS
                      "%8: f32 [5, 3, 4] = x0_output %7, %4, %6 process main\n"
                      "%9: f32 [5, 3, 4] = posterior_score %8, %4, %6 process main\n"
                      "%10: f64 [5, 3] = score_entropy %9, %4, %5, %6 process main\n" SUM("%10"));
    computes_the_same(TRAINED LOGITS WEIGHTS CAVITY ENTROPY_OF_CAVITY SUM("%10"));
    computes_the_same(TRAINED_UNDER(MIX("false"))
                          LOGITS WEIGHTS CAVITY ENTROPY_OF_CAVITY SUM("%10"));
    computes_the_same(TRAINED_UNDER(MIX("true"))
                          LOGITS WEIGHTS CAVITY ENTROPY_OF_CAVITY SUM("%10"));
    computes_the_same(TRAINED LOGITS WEIGHTS SCORE ENTROPY SUM("%9"));
    computes_the_same(TRAINED LOGITS WEIGHTS
                      "%8: f32 [5, 3, 4] = score_output %7, %4, %6 {scale_by_sigma=true}"
                      " process main\n" ENTROPY SUM("%9"));
}
