/* fuse: a vocabulary head and the draw of a reverse step, or a term of the bound, as text, and that
 * what comes out draws, or costs, what went in, on double references. */
#include "tests/passes/fixture.h"

#include "ops/reference.h"
#include "ops/rules.h"
#include "passes/fuse.h"
#include "tests/support/rig.h"

#include <math.h>

TestSuite(fuse_draw, .init = open_fixture, .fini = close_fixture);

#define HEAD_UNDER(CHAIN)                                                                          \
    "graph p\nprocess main " CHAIN " 2 * t\n"                                                      \
    "state w parameter f32 [4, 2] zero\n"                                                          \
    "state b parameter f32 [4] zero\n"                                                             \
    "%1: f32 [5, 3, 2] = input\n"                                                                  \
    "%2: f32 [4, 2] = state w\n"                                                                   \
    "%3: f32 [4] = state b\n"                                                                      \
    "%4: token main [5, 3] = input\n"                                                              \
    "%5: f64 [5] = input\n"                                                                        \
    "%6: f64 [5] = input\n"                                                                        \
    "%7: f64 [5, 3] = input\n"
#define HEAD HEAD_UNDER("absorb 3")
#define INPUTS "input x %4\ninput h %1\ninput sigma %5\ninput to %6\ninput u %7\n"
#define LOGITS "%8: f32 [5, 3, 4] = linear %1, %2, %3 {out=4}\n"
#define SCALED                                                                                     \
    LOGITS "%9: f32 [5, 3, 4] = score_output %8, %4, %5 {scale_by_sigma=true} process main\n"
#define SCORE SCALED "%10: f32 [5, 3, 4] = project_score %9, %4, %5 process main\n"
#define LAW LOGITS "%9: f32 [5, 3, 4] = x0_output %8, %4, %5 process main\n"
#define LAW_SCORE LAW "%10: f32 [5, 3, 4] = posterior_score %9, %4, %5 process main\n"
#define IMPLIED SCALED "%10: f32 [5, 3, 4] = score_posterior %9, %4, %5 process main\n"
#define STREAM "process main stream 0x00000007\n"

static bool supply(void *context, const struct graph *graph, uint32_t value,
                   const struct ref_tensor *out)
{
    const struct type *type = graph_type(graph, value);
    (void)context;
    for (int64_t i = 0; i < ref_size(out); i++) {
        double x = sin(1.7 * (double)i + (double)type->rank + (double)type->dim[0].size);
        if (type->dtype == DT_TOKEN) /* the first are noisy, others clean */
            x = graph->inputs[0].value == value && i % 4 ? 3 : (double)(i % 3);
        else if (type->dtype == DT_F64 && type->rank == 2)
            x = 0.5 + 0.5 * x;
        else if (type->dtype == DT_F64) /* less where it is the end of a step */
            x = (graph->inputs[3].value == value ? 0.2 : 0.9) + 0.1 * x;
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

/* IN becomes OUT, nothing more can be done with that, and both draw the same. */
static void becomes(const char *in, const char *out)
{
    expect_pass(pass_fuse, in, out);
    expect_pass(pass_fuse, out, out);
    struct graph *before = read_graph(in), *after = read_graph(out);
    const struct ref_tensor *a = outputs(before), *b = outputs(after);
    for (uint32_t i = 0; i < before->output_count; i++) {
        const struct ref_tensor *x = &a[before->outputs[i].value];
        const struct ref_tensor *y = &b[after->outputs[i].value];
        cr_assert_arr_eq(x->data, y->data, (size_t)ref_size(x) * sizeof *x->data, "%s", in);
    }
}

static void stays(const char *text)
{
    expect_pass(pass_fuse, text, graph_print(arena, read_graph(text)));
}

Test(fuse_draw, by_scores)
{
    becomes(HEAD SCORE
            "%11: token main [5, 3], %12: f64 [5] = tweedie %4, %10, %5, %6, _, %7 " STREAM INPUTS
            "output x %11\noutput clamped %12\n",
            HEAD "%8: token main [5, 3], %9: f64 [5] = head_draw %1, %2, %4, %5, %7, %6, %3 "
                 "{scale_by_sigma=true, project=true} process main\n" INPUTS
                 "output x %8\noutput clamped %9\n");
    becomes(HEAD SCORE "%11: token main [5, 3] = euler %4, %10, %6, _, %7 " STREAM INPUTS
                       "output x %11\n",
            HEAD "%8: token main [5, 3] = head_draw %1, %2, %4, %5, %7, %6, %3 "
                 "{step=euler, scale_by_sigma=true, project=true} process main\n" INPUTS
                 "output x %8\n");
    becomes(HEAD SCORE
            "%11: token main [5, 3], %12: f64 [5] = euler_linear %4, %10, %6, _, %7 " STREAM INPUTS
            "output x %11\noutput clamped %12\n",
            HEAD "%8: token main [5, 3], %9: f64 [5] = head_draw %1, %2, %4, %5, %7, %6, %3 "
                 "{step=euler_linear, scale_by_sigma=true, project=true} process main\n" INPUTS
                 "output x %8\noutput clamped %9\n");
    becomes(HEAD SCORE "%11: token main [5, 3] = denoise %4, %10, %5, _, %7 " STREAM INPUTS
                       "output x %11\n",
            HEAD "%8: token main [5, 3] = head_draw %1, %2, %4, %5, %7, _, %3 "
                 "{step=denoise, scale_by_sigma=true, project=true} process main\n" INPUTS
                 "output x %8\n");
}

Test(fuse_draw, by_scores_of_a_law)
{
    becomes(HEAD LAW_SCORE
            "%11: token main [5, 3], %12: f64 [5] = tweedie %4, %10, %5, %6, _, %7 " STREAM INPUTS
            "output x %11\noutput clamped %12\n",
            HEAD "%8: token main [5, 3], %9: f64 [5] = head_draw %1, %2, %4, %5, %7, %6, %3 "
                 "{form=law} process main\n" INPUTS "output x %8\noutput clamped %9\n");
    becomes(HEAD LAW_SCORE "%11: token main [5, 3] = denoise %4, %10, %5, _, %7 " STREAM INPUTS
                           "output x %11\n",
            HEAD "%8: token main [5, 3] = head_draw %1, %2, %4, %5, %7, _, %3 "
                 "{form=law, step=denoise} process main\n" INPUTS "output x %8\n");
}

Test(fuse_draw, by_laws)
{
    becomes(HEAD LAW "%11: token main [5, 3] = ancestral %4, %9, %5, %6, _, %7 " STREAM INPUTS
                     "output x %11\n",
            HEAD "%8: token main [5, 3] = head_draw %1, %2, %4, %5, %7, %6, %3 "
                 "{form=law, step=ancestral} process main\n" INPUTS "output x %8\n");
    becomes(HEAD IMPLIED "%11: token main [5, 3] = ancestral %4, %10, %5, %6, _, %7 " STREAM INPUTS
                         "output x %11\n",
            HEAD "%8: token main [5, 3] = head_draw %1, %2, %4, %5, %7, %6, %3 "
                 "{step=ancestral, scale_by_sigma=true} process main\n" INPUTS "output x %8\n");
}

Test(fuse_draw, that_masks_again)
{
    becomes(HEAD LAW "%11: f64 [] = const {value=0.1}\n"
                     "%12: token main [5, 3] = remask %4, %9, %5, %6, %11, _, %7 " STREAM INPUTS
                     "output x %12\n",
            HEAD "%8: f64 [] = const {value=0.1}\n"
                 "%9: token main [5, 3] = head_draw %1, %2, %4, %5, %7, %6, %3, %8 "
                 "{form=law, step=remask} process main\n" INPUTS "output x %9\n");
}

Test(fuse_draw, that_corrects)
{
    becomes(HEAD SCORE "%11: token main [5, 3] = corrector %4, %10, %6, _, %7 " STREAM INPUTS
                       "output x %11\n",
            HEAD "%8: token main [5, 3] = head_draw %1, %2, %4, %5, %7, %6, %3 "
                 "{step=correct, scale_by_sigma=true, project=true} process main\n" INPUTS
                 "output x %8\n");
}

Test(fuse_draw, where_sampling_starts)
{
    becomes(HEAD SCALED "%11: token main [5, 3] = base_draw %4, %5, %9, %7 " STREAM INPUTS
                        "output x %11\n",
            HEAD "%8: token main [5, 3] = head_draw %1, %2, %4, %5, %7, _, %3 "
                 "{step=base, scale_by_sigma=true} process main\n" INPUTS "output x %8\n");
    becomes(HEAD LAW_SCORE "%11: token main [5, 3] = base_draw %4, %5, %10, %7 " STREAM INPUTS
                           "output x %11\n",
            HEAD "%8: token main [5, 3] = head_draw %1, %2, %4, %5, %7, _, %3 "
                 "{form=law, step=base} process main\n" INPUTS "output x %8\n");
}

/* Of a sequence the one position that was picked; among others nothing says which. */
Test(fuse_draw, that_was_picked)
{
#define PICKED                                                                                     \
    "graph p\nprocess main absorb 3 2 * t\n"                                                       \
    "state w parameter f32 [4, 2] zero\n"                                                          \
    "%1: f32 [5, 2] = input\n"                                                                     \
    "%2: f32 [4, 2] = state w\n"                                                                   \
    "%3: token main [5] = input\n"                                                                 \
    "%4: f64 [5] = input\n"                                                                        \
    "%5: f64 [5] = input\n"
#define PICKED_INPUTS "input x %3\ninput h %1\ninput sigma %4\ninput u %5\n"
    becomes(PICKED "%6: f32 [5, 4] = linear %1, %2, _ {out=4, bias=false}\n"
                   "%7: f32 [5, 4] = x0_output %6, %3, %4 process main\n"
                   "%8: token main [5] = reveal_one %3, %7, %5 " STREAM PICKED_INPUTS
                   "output x %8\n",
            PICKED "%6: token main [5] = head_draw %1, %2, %3, %4, %5, _, _ "
                   "{form=law, step=reveal} process main\n" PICKED_INPUTS "output x %6\n");
    stays(HEAD LAW "%11: token main [5, 3] = reveal_one %4, %9, %7 " STREAM INPUTS
                   "output x %11\n");
}

/* Numbers of its own become an input. */
Test(fuse_draw, by_its_own_numbers)
{
    expect_pass(pass_fuse,
                HEAD SCORE "%11: token main [5, 3] = denoise %4, %10, %5 " STREAM INPUTS
                           "output x %11\n",
                HEAD "%8: f64 [5, 3] = random_uniform {shape=[5, 3]} stream 0x00000007\n"
                     "%9: token main [5, 3] = head_draw %1, %2, %4, %5, %8, _, %3 "
                     "{step=denoise, scale_by_sigma=true, project=true} process main\n" INPUTS
                     "output x %9\n");
}

/* Scores as the network gives them, where the process or the program says so. */
Test(fuse_draw, without_projection)
{
#define TWEEDIE                                                                                    \
    SCALED "%11: token main [5, 3], %12: f64 [5] = tweedie %4, %9, %5, %6, _, %7 " STREAM INPUTS   \
           "output x %11\noutput clamped %12\n"
#define FUSED                                                                                      \
    "%8: token main [5, 3], %9: f64 [5] = head_draw %1, %2, %4, %5, %7, %6, %3 "                   \
    "{scale_by_sigma=true} process main\n" INPUTS "output x %8\noutput clamped %9\n"
    becomes(HEAD_UNDER("absorb 3 raw") TWEEDIE, HEAD_UNDER("absorb 3 raw") FUSED);
    becomes(HEAD TWEEDIE, HEAD FUSED);
}

Test(fuse_draw, not_what_the_op_does_not_do)
{
    /* positions that are kept, no mask */
    stays(HEAD SCORE "%11: bool [5, 3] = const {value=1}\n"
                     "%12: token main [5, 3] = denoise %4, %10, %5, %11, %7 " STREAM INPUTS
                     "output x %12\n");
    stays(HEAD SCORE "%11: token main [5, 3], %12: f64 [5] = tweedie %4, %10, %5, %6, _, %7 "
                     "{exclude=mask} " STREAM INPUTS "output x %11\noutput clamped %12\n");
    stays(HEAD LAW
          "%11: token main [5, 3] = ancestral %4, %9, %5, %6, _, %7 {head=cavity} " STREAM INPUTS
          "output x %11\n");
    /* at other noise */
    stays(HEAD SCORE "%11: token main [5, 3] = denoise %4, %10, %6, _, %7 " STREAM INPUTS
                     "output x %11\n");
    /* a law that is cut */
    stays(HEAD LAW "%10: f32 [5, 3, 4] = restrict %9 {top_k=2}\n"
                   "%11: token main [5, 3] = ancestral %4, %10, %5, %6, _, %7 " STREAM INPUTS
                   "output x %11\n");
}

Test(fuse_draw, not_what_is_wanted)
{
    stays(HEAD LAW "%11: token main [5, 3] = ancestral %4, %9, %5, %6, _, %7 " STREAM INPUTS
                   "output x %11\noutput law %9\n");
    stays(HEAD LAW "%11: token main [5, 3] = ancestral %4, %9, %5, %6, _, %7 " STREAM INPUTS
                   "output x %11\noutput raw %8\n");
}

/* Under chains that move every token, and by a law that is given the other tokens alone. */
#define UNIFORM HEAD_UNDER("uniform 4")
#define MIX HEAD_UNDER("{mix: {absorb: 0.7, uniform: 0.3, mask_leaves: false}} 3")
#define UNSCALED                                                                                   \
    LOGITS "%9: f32 [5, 3, 4] = score_output %8, %4, %5 process main\n"                            \
           "%10: f32 [5, 3, 4] = project_score %9, %4, %5 process main\n"
#define CAVITY LOGITS "%9: f32 [5, 3, 4] = cavity_output %8 process main\n"
#define CAVITY_SCORE                                                                               \
    CAVITY "%10: f32 [5, 3, 4] = cavity_score %9, %4, %5 process main\n"                           \
           "%11: f32 [5, 3, 4] = project_score %10, %4, %5 process main\n"

Test(fuse_draw, under_any_flat_chain)
{
    becomes(UNIFORM UNSCALED
            "%11: token main [5, 3], %12: f64 [5] = tweedie %4, %10, %5, %6, _, %7 " STREAM INPUTS
            "output x %11\noutput clamped %12\n",
            UNIFORM "%8: token main [5, 3], %9: f64 [5] = head_draw %1, %2, %4, %5, %7, %6, %3 "
                    "{project=true} process main\n" INPUTS "output x %8\noutput clamped %9\n");
    becomes(UNIFORM LAW_SCORE "%11: token main [5, 3] = euler %4, %10, %6, _, %7 " STREAM INPUTS
                              "output x %11\n",
            UNIFORM "%8: token main [5, 3] = head_draw %1, %2, %4, %5, %7, %6, %3 "
                    "{form=law, step=euler} process main\n" INPUTS "output x %8\n");
    becomes(UNIFORM LAW "%10: token main [5, 3] = ancestral %4, %9, %5, %6, _, %7 " STREAM INPUTS
                        "output x %10\n",
            UNIFORM "%8: token main [5, 3] = head_draw %1, %2, %4, %5, %7, %6, %3 "
                    "{form=law, step=ancestral} process main\n" INPUTS "output x %8\n");
}

Test(fuse_draw, by_cavities)
{
    becomes(UNIFORM CAVITY_SCORE
            "%12: token main [5, 3] = denoise %4, %11, %5, _, %7 " STREAM INPUTS "output x %12\n",
            UNIFORM "%8: token main [5, 3] = head_draw %1, %2, %4, %5, %7, _, %3 "
                    "{form=cavity, step=denoise, project=true} process main\n" INPUTS
                    "output x %8\n");
    becomes(MIX CAVITY
            "%10: token main [5, 3] = ancestral %4, %9, %5, %6, _, %7 {head=cavity} " STREAM INPUTS
            "output x %10\n",
            MIX "%8: token main [5, 3] = head_draw %1, %2, %4, %5, %7, %6, %3 "
                "{form=cavity, step=ancestral} process main\n" INPUTS "output x %8\n");
    becomes(MIX CAVITY_SCORE "%12: token main [5, 3] = base_draw %4, %5, %11, %7 " STREAM INPUTS
                             "output x %12\n",
            MIX "%8: token main [5, 3] = head_draw %1, %2, %4, %5, %7, _, %3 "
                "{form=cavity, step=base, project=true} process main\n" INPUTS "output x %8\n");
    /* one law taken for the other */
    stays(UNIFORM CAVITY "%10: token main [5, 3] = ancestral %4, %9, %5, %6, _, %7 " STREAM INPUTS
                         "output x %10\n");
}

/* --- terms of the bound ------------------------------------------------------------------- */

#define CLEAN "%20: token main [5, 3] = input\n"
#define COSTS(head, scores, cost, out)                                                             \
    becomes(head CLEAN scores "%12: f64 [5, 3] = " cost " process main\n" INPUTS                   \
                              "input x0 %20\noutput nats %12\n",                                   \
            head "%8: token main [5, 3] = input\n"                                                 \
                 "%9: f64 [5, 3] = head_bound %1, %2, %4, %5, %8, %3 " out                         \
                 " process main\n" INPUTS "input x0 %8\noutput nats %9\n")

Test(fuse_draw, terms_of_the_bound)
{
    COSTS(UNIFORM, UNSCALED, "score_entropy %10, %4, %20, %5", "{project=true}");
    COSTS(UNIFORM, LAW_SCORE, "score_entropy %10, %4, %20, %5", "{form=law}");
    COSTS(HEAD, SCORE, "base_cost %20, %5, %10", "{term=base, scale_by_sigma=true, project=true}");
    COSTS(HEAD, LAW_SCORE, "base_cost %20, %5, %10", "{form=law, term=base}");
    COSTS(MIX, CAVITY_SCORE, "base_cost %20, %5, %11", "{form=cavity, term=base, project=true}");
    COSTS(HEAD, SCORE, "reconstruction %4, %20, %10, %5",
          "{term=reconstruction, scale_by_sigma=true, project=true}");
    COSTS(UNIFORM, LAW_SCORE, "reconstruction %4, %20, %10, %5", "{form=law, term=reconstruction}");
    COSTS(MIX, CAVITY_SCORE, "reconstruction %4, %20, %11, %5",
          "{form=cavity, term=reconstruction, project=true}");
}

/* Scores of other tokens, or at other noise; and a base that no network has a part in. */
Test(fuse_draw, not_what_is_no_such_term)
{
    stays(UNIFORM CLEAN UNSCALED "%12: f64 [5, 3] = score_entropy %10, %20, %4, %5"
                                 " process main\n" INPUTS "input x0 %20\noutput nats %12\n");
    stays(UNIFORM CLEAN UNSCALED "%12: f64 [5, 3] = reconstruction %4, %20, %10, %6"
                                 " process main\n" INPUTS "input x0 %20\noutput nats %12\n");
    stays(UNIFORM CLEAN UNSCALED "%12: f64 [5, 3] = base_cost %20, %5, %10"
                                 " process main\n" INPUTS "input x0 %20\noutput nats %12\n");
}

/* A table's step is a product with P, for sequences. A mask that comes and goes is no start. */
Test(fuse_draw, not_under_every_chain)
{
    stays(HEAD_UNDER("{band: {width: 1}} 4") UNSCALED
          "%11: token main [5, 3] = denoise %4, %10, %5, _, %7 " STREAM INPUTS "output x %11\n");
    stays(HEAD_UNDER("{mix: {absorb: 0.7, uniform: 0.3, mask_leaves: true}} 3") CAVITY_SCORE
          "%12: token main [5, 3] = base_draw %4, %5, %11, %7 " STREAM INPUTS "output x %12\n");
}

/* What is no state names no logit and stays, as it does in the op by itself, where every state
 * would jump. */
Test(fuse_draw, leaves_what_is_no_state)
{
    static const char text[] = UNIFORM LOGITS
        "%9: f32 [5, 3, 4] = score_output %8, %4, %5 process main\n"
        "%10: token main [5, 3] = corrector %4, %9, %6, _, %7 " STREAM INPUTS "output x %10\n";
    static const int32_t x[15] = {2, 4, -1, 1, 1 << 20};
    static const float h[30] = {0};
    static const double sigma[5] = {1, 1, 1, 1, 1}, u[15] = {0};
    const struct rig_value values[] = {
        {"x", x}, {"h", h}, {"sigma", sigma}, {"to", sigma}, {"u", u}};
    struct compile_options o = {.verify = true};
    struct rig rig;
    rig_open(&rig);
    struct graph *g = read_graph(text);
    struct plan *plan = compile_graph(g, &o);
    cr_assert_not_null(plan, "%s", diags_render(diags, false));
    cr_assert_str_eq(plan->steps[plan->step_count - 1].op, "head_draw");
    rig_state(&rig, g->states, 1);
    struct loaded *loaded = rig_load(&rig, plan);
    rig_run(loaded, values, 5, 0, NULL);
    struct tensor drawn = rig_output(loaded, "x");
    for (int64_t i = 0; i < 15; i++) {
        bool state = x[i] >= 0 && x[i] < 4;
        cr_expect((rig_element(&drawn, i) == x[i]) != state, "%d to %g", x[i],
                  rig_element(&drawn, i));
    }
    rig_close(&rig);
}
