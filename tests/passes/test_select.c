/* select: which nodes move to the short axis of rows that carry loss, as text; and that what is
 * computed stays what it was, on double references. */
#include "tests/passes/fixture.h"

#include "ops/reference.h"
#include "ops/rules.h"

#include <math.h>

TestSuite(select_pass, .init = open_fixture, .fini = close_fixture);

#define ABSORB "graph p\nprocess main absorb 4 1.0 * t\n"
#define WEIGHT "state w parameter f32 [5, 3] zero\n"

/* --- text --------------------------------------------------------------------------------- */

/* The head and its loss move; what they read is gathered, one number a sequence by the sequence. */
Test(select_pass, text_of_score_entropy)
{
    expect_pass(
        pass_select,
        ABSORB WEIGHT
        "%1: token main [2, 7] = input\n"
        "%2: token main [2, 7] = input\n"
        "%3: f32 [2, 7, 3] = input\n"
        "%4: f64 [2] = input\n"
        "%5: f32 [5, 3] = state w\n"
        "%6 \"raw\": f32 [2, 7, 5] = linear %3, %5 {out=5, bias=false}\n"
        "%7: f32 [2, 7, 5] = score_output %6, %1, %4 {scale_by_sigma=true} process main\n"
        "%8 \"loss\": f64 [2, 7] = score_entropy %7, %1, %2, %4 process main\n"
        "input x %1\ninput x0 %2\ninput h %3\ninput sigma %4\n"
        "output y %8\n",
        ABSORB
        "axis some1 14 counter %7\n" WEIGHT "%1: token main [2, 7] = input\n"
        "%2: token main [2, 7] = input\n"
        "%3: f32 [2, 7, 3] = input\n"
        "%4: f64 [2] = input\n"
        "%5: f32 [5, 3] = state w\n"
        "%6: bool [2, 7] = may_move %1 process main\n"
        "%7: i32 [some1] = nonzero %6\n"
        "%8: i32 [some1] = row_owner %7 {of=7}\n"
        "%9: f32 [some1, 3] = gather %3, %7 {axes=2}\n"
        "%10 \"raw\": f32 [some1, 5] = linear %9, %5 {out=5, bias=false}\n"
        "%11: token main [some1] = gather %1, %7 {axes=2}\n"
        "%12: f64 [some1] = gather %4, %8\n"
        "%13: f32 [some1, 5] = score_output %10, %11, %12 {scale_by_sigma=true} process main\n"
        "%14: token main [some1] = gather %2, %7 {axes=2}\n"
        "%15: f64 [some1] = score_entropy %13, %11, %14, %12 process main\n"
        "%16 \"loss\": f64 [2, 7] = scatter_add %15, %7 {rows=[2, 7]}\n"
        "input x %1\ninput x0 %2\ninput h %3\ninput sigma %4\n"
        "output y %16\n");
}

/* As far as the ops act on each position by itself: through the modulation of a norm, and a gate
 * that drops nothing, up to attention. */
Test(select_pass, text_of_a_last_block)
{
    expect_pass(pass_select,
                ABSORB WEIGHT
                "state n parameter f32 [3] one\n"
                "%1: token main [2, 7] = input\n"
                "%2: token main [2, 7] = input\n"
                "%3: f32 [2, 7, 3] = input\n"
                "%4: f64 [] = input\n"
                "%5: f32 [5, 3] = state w\n"
                "%6: f32 [3] = state n\n"
                "%7: f32 [2, 3] = input\n"
                "%8: f32 [2, 7, 3], %9: f32 [2, 1, 7] = attention %3, %3, %3 {heads=1}\n"
                "%10: f32 [2, 7, 3] = gated_add %3, %8, %7\n"
                "%11: f32 [2, 7, 3], %12: f32 [2, 7], %13: f32 [2, 7] = layer_norm %10, %6, _ "
                "{bias=false}\n"
                "%14: f32 [2, 7, 3] = modulate %11, %7, %7\n"
                "%15: f32 [2, 7, 5] = linear %14, %5 {out=5, bias=false}\n"
                "%16: f64 [2, 7] = score_entropy %15, %1, %2, %4 process main\n"
                "input x %1\ninput x0 %2\ninput h %3\ninput sigma %4\ninput c %7\n"
                "output y %16\n",
                ABSORB
                "axis some1 14 counter %11\n" WEIGHT "state n parameter f32 [3] one\n"
                "%1: token main [2, 7] = input\n"
                "%2: token main [2, 7] = input\n"
                "%3: f32 [2, 7, 3] = input\n"
                "%4: f64 [] = input\n"
                "%5: f32 [5, 3] = state w\n"
                "%6: f32 [3] = state n\n"
                "%7: f32 [2, 3] = input\n"
                "%8: f32 [2, 7, 3], %9: f32 [2, 1, 7] = attention %3, %3, %3 {heads=1}\n"
                "%10: bool [2, 7] = may_move %1 process main\n"
                "%11: i32 [some1] = nonzero %10\n"
                "%12: i32 [some1] = row_owner %11 {of=7}\n"
                "%13: f32 [some1, 3] = gather %3, %11 {axes=2}\n"
                "%14: f32 [some1, 3] = gather %8, %11 {axes=2}\n"
                "%15: f32 [some1, 3] = gather %7, %12\n"
                "%16: f32 [some1, 3] = gated_add %13, %14, %15\n"
                "%17: f32 [some1, 3], %18: f32 [some1], %19: f32 [some1] = layer_norm %16, %6, _ "
                "{bias=false}\n"
                "%20: f32 [some1, 3] = modulate %17, %15, %15\n"
                "%21: f32 [some1, 5] = linear %20, %5 {out=5, bias=false}\n"
                "%22: token main [some1] = gather %1, %11 {axes=2}\n"
                "%23: token main [some1] = gather %2, %11 {axes=2}\n"
                "%24: f64 [some1] = score_entropy %21, %22, %23, %4 process main\n"
                "%25: f64 [2, 7] = scatter_add %24, %11 {rows=[2, 7]}\n"
                "input x %1\ninput x0 %2\ninput h %3\ninput sigma %4\ninput c %7\n"
                "output y %25\n");
}

/* --- what stays --------------------------------------------------------------------------- */

static void stays(const char *text)
{
    struct graph *g = run_pass(pass_select, text, (struct compile_options){0});
    cr_expect_null(strstr(graph_print(arena, g), "may_move"), "%s", graph_print(arena, g));
}

#define TOKENS                                                                                     \
    "%1: token main [2, 7] = input\n"                                                              \
    "%2: token main [2, 7] = input\n"                                                              \
    "%3: f32 [2, 7, 3] = input\n"                                                                  \
    "%4: f64 [2] = input\n"                                                                        \
    "%5: f32 [5, 3] = state w\n"
#define BIND "input x %1\ninput x0 %2\ninput h %3\ninput sigma %4\n"
#define HEAD "%6: f32 [2, 7, 5] = linear %3, %5 {out=5, bias=false}\n"

/* Under a chain that moves every token each row carries loss. */
Test(select_pass, leaves_other_chains)
{
    stays("graph p\nprocess main uniform 5 1.0 * t\n" WEIGHT TOKENS HEAD
          "%7: f64 [2, 7] = score_entropy %6, %1, %2, %4 process main\n" BIND "output y %7\n");
    stays("graph p\nprocess main {mix: {absorb: 0.9, uniform: 0.1, mask_leaves: false}} 4 1.0 * "
          "t\n" WEIGHT TOKENS HEAD
          "%7: f64 [2, 7] = score_entropy %6, %1, %2, %4 process main\n" BIND "output y %7\n");
}

/* What is asked for at all positions is computed at all positions. */
Test(select_pass, leaves_what_has_other_uses)
{
    stays(ABSORB WEIGHT TOKENS HEAD
          "%7: f64 [2, 7] = score_entropy %6, %1, %2, %4 process main\n" BIND
          "output y %7\noutput raw %6\n");
}

/* A cross entropy at tokens that are given, and need not have come from the target. */
Test(select_pass, leaves_tokens_of_unknown_origin)
{
    stays(ABSORB WEIGHT TOKENS HEAD "%7: f32 [2, 7, 5] = x0_output %6, %1, %4 process main\n"
                                    "%8: f64 [2, 7], %9: f64 [2, 7] = cross_entropy %7, %2\n" BIND
                                    "output y %8\n");
}

/* Nothing is gathered for a loss whose network is a number away: no product would get shorter. */
Test(select_pass, leaves_what_costs_nothing)
{
    stays(ABSORB "%1: token main [2, 7] = input\n"
                 "%2: f32 [2, 7, 5] = input\n"
                 "%3: f64 [] = input\n"
                 "%4: f64 [2, 7] = score_entropy %2, %1, %1, %3 process main\n"
                 "input x %1\ninput s %2\ninput sigma %3\noutput y %4\n");
}

Test(select_pass, is_off_without_fusion)
{
    static const char in[] = ABSORB WEIGHT TOKENS HEAD
        "%7: f64 [2, 7] = score_entropy %6, %1, %2, %4 process main\n" BIND "output y %7\n";
    struct graph *g = run_pass(pass_select, in, (struct compile_options){.unfused = true});
    cr_expect_str_eq(graph_print(arena, g), in);
}

/* --- numbers ------------------------------------------------------------------------------ */

/* Clean tokens, numbers of both signs, and positive ones for times. */
static bool supply(void *context, const struct graph *graph, uint32_t value,
                   const struct ref_tensor *out)
{
    const struct type *type = graph_type(graph, value);
    (void)context;
    for (int64_t i = 0; i < ref_size(out); i++)
        out->data[i] = type->dtype == DT_TOKEN ? (double)(i * 7 % 4)
                       : type->dtype == DT_F64 ? 0.7 + 0.4 * (double)i
                                               : sin(1.7 * (double)i + (double)type->rank);
    return true;
}

/* Which positions are masked already, where tokens are those of a step. */
static bool supply_step(void *context, const struct graph *graph, uint32_t value,
                        const struct ref_tensor *out)
{
    bool good = supply(context, graph, value, out);
    for (int64_t i = 0; graph_type(graph, value)->dtype == DT_TOKEN && i < ref_size(out); i++)
        out->data[i] = i % 3 ? 4 : out->data[i];
    for (int64_t i = 0; graph_type(graph, value)->dtype == DT_BOOL && i < ref_size(out); i++)
        out->data[i] = i % 4 == 1;
    return good;
}

/* The same, where the second of sequences of 7 has no masks. */
static bool supply_some(void *context, const struct graph *graph, uint32_t value,
                        const struct ref_tensor *out)
{
    bool good = supply_step(context, graph, value, out);
    for (int64_t i = 7; graph_type(graph, value)->dtype == DT_TOKEN && i < 14; i++)
        if (i < ref_size(out))
            out->data[i] = (double)(i % 4);
    return good;
}

enum { CLEAN, STEP_OF_ALL, STEP_OF_SOME };

static struct ref_tensor *outputs(const struct graph *g, const int64_t *counts, int kind)
{
    struct reference_io io = {.supply = kind == CLEAN         ? supply
                                        : kind == STEP_OF_ALL ? supply_step
                                                              : supply_some,
                              .draw = {random_key(3, "select"), 2, 0, 5, 8},
                              .axis_count = counts};
    struct ref_tensor *values = arena_new_array(arena, struct ref_tensor, g->value_count);
    cr_assert(reference_run(g, &io, arena, values), "%s", diags_render(diags, false));
    return values;
}

/* The graph as it is and after the pass, both with gradients, for BATCH sequences of 7. Returns how
 * many axes the pass put in. */
static uint32_t computes_the_same(const char *text, int64_t batch, int kind)
{
    struct compile_options o = {.gradients = true, .grad_outputs = true};
    struct compile a = {arena, diags, read_graph(text), &o, NULL, NULL};
    struct compile b = {arena, diags, read_graph(text), &o, NULL, NULL};
    int64_t counts[8] = {0, batch};
    uint32_t axes = b.graph->axis_count;
    const char *written = graph_print(arena, b.graph);
    cr_assert(pass_grad(&a) && pass_select(&b));
    cr_assert_str_neq(graph_print(arena, b.graph), written);
    axes = b.graph->axis_count - axes;
    cr_assert(pass_grad(&b));
    cr_assert(graph_verify(b.graph, diags), "%s", diags_render(diags, false));
    struct ref_tensor *before = outputs(a.graph, counts, kind);
    struct ref_tensor *after = outputs(b.graph, counts, kind);
    cr_assert_eq(a.graph->output_count, b.graph->output_count);
    for (uint32_t i = 0; i < a.graph->output_count; i++) {
        const struct ref_tensor *x = &before[a.graph->outputs[i].value];
        const struct ref_tensor *y = &after[b.graph->outputs[i].value];
        double size = 0;
        cr_assert_eq(ref_size(x), ref_size(y));
        for (int64_t k = 0; k < ref_size(x); k++) {
            size += fabs(x->data[k]);
            cr_assert_float_eq(x->data[k], y->data[k], 1e-12 * (1 + fabs(x->data[k])),
                               "%s[%lld]: %.15g, selected %.15g", a.graph->outputs[i].name,
                               (long long)k, x->data[k], y->data[k]);
        }
        cr_assert(size > 0, "%s is zero and shows nothing", a.graph->outputs[i].name);
    }
    return axes;
}

#define SHORT                                                                                      \
    ABSORB                                                                                         \
    "axis batch 3\n" WEIGHT "state n parameter f32 [3] one\n"                                      \
    "%1: token main [batch, 7] = input\n"                                                          \
    "%2: f64 [batch] = input\n"                                                                    \
    "%3: f32 [batch, 7, 3] = input\n"                                                              \
    "%4: f32 [batch, 3] = input\n"                                                                 \
    "%5: f32 [5, 3] = state w\n"                                                                   \
    "%6: f32 [3] = state n\n"                                                                      \
    "%7: token main [batch, 7] = perturb %1, %2 process main stream 0x00000009\n"                  \
    "%8: f32 [batch, 7, 3], %9: f32 [batch, 7], %10: f32 [batch, 7] = layer_norm %3, %6, _ "       \
    "{bias=false}\n"                                                                               \
    "%11: f32 [batch, 7, 3] = modulate %8, %4, %4\n"                                               \
    "%12: f32 [batch, 7, 5] = linear %11, %5 {out=5, bias=false}\n"
#define SHORT_BIND                                                                                 \
    "input x0 %1\ninput sigma %2\ninput h %3\ninput c %4\noutput y %14\nminimize %14\n"

Test(select_pass, keeps_score_entropy_and_its_gradient)
{
    for (int64_t batch = 1; batch <= 3; batch++)
        computes_the_same(SHORT "%13: f64 [batch, 7] = score_entropy %12, %7, %1, %2 process main\n"
                                "%14: f64 [] = sum %13\n" SHORT_BIND,
                          batch, CLEAN);
}

Test(select_pass, keeps_masked_cross_entropy_and_its_gradient)
{
    for (int64_t batch = 1; batch <= 3; batch++)
        computes_the_same(SHORT "%13: f32 [batch, 7, 5] = x0_output %12, %7, %2 process main\n"
                                "%15: f64 [batch, 7], %16: f64 [batch, 7] = cross_entropy %13, %1\n"
                                "%14: f64 [] = sum %15\n" SHORT_BIND,
                          batch, CLEAN);
}

/* Steps: the same tokens, by numbers that are drawn or given, with positions that are kept, and the
 * same count of clamped weights. */
#define STEP_BIND                                                                                  \
    "input x %1\ninput sigma %2\ninput h %3\ninput keep %4\ninput u %6\noutput y %14\n"
#define STEP STEP_UNDER(ABSORB)
#define STEP_UNDER(CHAIN)                                                                          \
    CHAIN "axis batch 3\n" WEIGHT "%1: token main [batch, 7] = input\n"                            \
          "%2: f64 [batch] = input\n"                                                              \
          "%3: f32 [batch, 7, 3] = input\n"                                                        \
          "%4: bool [batch, 7] = input\n"                                                          \
          "%5: f32 [5, 3] = state w\n"                                                             \
          "%6: f64 [batch, 7] = input\n"                                                           \
          "%7: f64 [] = const {value=0.3}\n"                                                       \
          "%8: f64 [batch] = mul %2, %7\n"                                                         \
          "%9: f64 [batch, 7] = mul %6, %7\n"                                                      \
          "%12: f32 [batch, 7, 5] = linear %3, %5 {out=5, bias=false}\n"

Test(select_pass, keeps_steps_by_scores)
{
    for (int64_t batch = 1; batch <= 3; batch++) {
        computes_the_same(STEP "%14: token main [batch, 7] = euler %1, %12, %8 process main "
                               "stream 0x00000007\n" STEP_BIND,
                          batch, STEP_OF_ALL);
        computes_the_same(STEP
                          "%14: token main [batch, 7] = denoise %1, %12, %8, %4, %9 process main "
                          "stream 0x00000007\n" STEP_BIND,
                          batch, STEP_OF_ALL);
        computes_the_same(
            STEP "%14: token main [batch, 7], %15: f64 [batch] = tweedie %1, %12, %2, "
                 "%8, %4 process main stream 0x00000007\n" STEP_BIND "output clamped %15\n",
            batch, STEP_OF_ALL);
    }
}

/* Here the coin that keeps a mask comes before the network: the law sums to one. */
Test(select_pass, keeps_steps_by_laws)
{
    for (int64_t batch = 1; batch <= 3; batch++) {
        computes_the_same(STEP "%13: f32 [batch, 7, 5] = x0_output %12, %1, %2 process main\n"
                               "%14: token main [batch, 7] = ancestral %1, %13, %2, %8, %4 "
                               "process main stream 0x00000007\n" STEP_BIND,
                          batch, STEP_OF_ALL);
        computes_the_same(STEP "%13: f32 [batch, 7, 5] = x0_output %12, %1, %2 process main\n"
                               "%14: token main [batch, 7] = ancestral %1, %13, %2, %8, _, %9 "
                               "process main stream 0x00000007\n" STEP_BIND,
                          batch, STEP_OF_ALL);
    }
}

/* The same of scores whose total at a mask is known; the coin is the one chance that is asked. */
Test(select_pass, keeps_steps_by_scores_of_a_law)
{
    for (int64_t batch = 1; batch <= 3; batch++) {
        computes_the_same(STEP "%13: f32 [batch, 7, 5] = project_score %12, %1, %2 process main\n"
                               "%14: token main [batch, 7], %15: f64 [batch] = tweedie %1, %13, "
                               "%2, %8, %4 process main stream 0x00000007\n" STEP_BIND,
                          batch, STEP_OF_ALL);
        computes_the_same(STEP "%16: f32 [batch, 7, 5] = x0_output %12, %1, %2 process main\n"
                               "%13: f32 [batch, 7, 5] = posterior_score %16, %1, %2 process main\n"
                               "%14: token main [batch, 7], %15: f64 [batch] = tweedie %1, %13, "
                               "%2, %8, _, %9 process main stream 0x00000007\n" STEP_BIND,
                          batch, STEP_OF_ALL);
        computes_the_same(STEP "%16: f32 [batch, 7, 5] = project_score %12, %1, %2 process main\n"
                               "%17: bool [batch, 7, 1] = expand %4 {axis=2}\n"
                               "%18: f32 [] = const {value=-1e+30}\n"
                               "%13: f32 [batch, 7, 5] = where %17, %16, %18\n"
                               "%14: token main [batch, 7], %15: f64 [batch] = tweedie %1, %13, "
                               "%2, %8, _, %9 process main stream 0x00000007\n" STEP_BIND,
                          batch, STEP_OF_ALL);
    }
}

/* Whether the coin comes first: what it is compared with is drawn by all positions. */
static bool tosses_first(const char *text)
{
    struct graph *g = run_pass(pass_select, text, (struct compile_options){0});
    const char *after = graph_print(arena, g);
    return strstr(after, "may_move") && strstr(after, "= less ");
}

/* Of scores whose total is not known, or to which something is added, there is no coin; nor of a
 * step that never stays. */
Test(select_pass, tosses_no_coin_that_it_does_not_know)
{
    static const char tweedie[] = "%14: token main [batch, 7], %15: f64 [batch] = tweedie %1, %13, "
                                  "%2, %8 process main stream 0x00000007\n" STEP_BIND;
    cr_expect(tosses_first(arena_printf(
        arena, "%s%s%s", STEP, "%13: f32 [batch, 7, 5] = project_score %12, %1, %2 process main\n",
        tweedie)));
    cr_expect(!tosses_first(arena_printf(
        arena, "%s%s%s", STEP, "%13: f32 [batch, 7, 5] = project_score %12, %1, %8 process main\n",
        tweedie)));
    cr_expect(!tosses_first(arena_printf(
        arena, "%s%s%s", STEP,
        "%13: f32 [batch, 7, 5] = score_output %12, %1, %2 {scale_by_sigma=true} process main\n",
        tweedie)));
    cr_expect(!tosses_first(
        arena_printf(arena, "%s%s%s", STEP,
                     "%16: f32 [batch, 7, 5] = project_score %12, %1, %2 process main\n"
                     "%17: bool [batch, 7, 1] = expand %4 {axis=2}\n"
                     "%18: f32 [] = const {value=-1}\n"
                     "%13: f32 [batch, 7, 5] = where %17, %16, %18\n",
                     tweedie)));
    cr_expect(
        !tosses_first(STEP "%13: f32 [batch, 7, 5] = project_score %12, %1, %2 process main\n"
                           "%14: token main [batch, 7], %15: f64 [batch] = tweedie %1, %13, %2, %8 "
                           "{exclude=mask} process main stream 0x00000007\n" STEP_BIND));
}

/* Where sampling starts: the coin says which positions are no masks. */
Test(select_pass, keeps_the_base)
{
    for (int64_t batch = 1; batch <= 3; batch++)
        computes_the_same(
            STEP "%13: token main [batch, 7] = stationary {shape=[batch, 7]} process main stream "
                 "0x00000005\n"
                 "%14: token main [batch, 7] = base_draw %13, %8, %12 process main stream "
                 "0x00000007\n" STEP_BIND,
            batch, STEP_OF_ALL);
}

/* A network in which positions look at each other: sequences without masks need none of it, and
 * what it makes of a sequence (a map of its noise) goes with those that have some. */
#define NETWORK                                                                                    \
    ABSORB "axis batch 3\n" WEIGHT "state e parameter f32 [5, 3] zero\n"                           \
           "state m parameter f32 [3, 3] zero\n"                                                   \
           "%1: token main [batch, 7] = input\n"                                                   \
           "%2: f64 [batch] = input\n"                                                             \
           "%3: f32 [batch, 3] = input\n"                                                          \
           "%4: f32 [5, 3] = state e\n"                                                            \
           "%5: f32 [5, 3] = state w\n"                                                            \
           "%6: f32 [3, 3] = state m\n"                                                            \
           "%7: f64 [] = const {value=0.3}\n"                                                      \
           "%8: f64 [batch] = mul %2, %7\n"                                                        \
           "%9: f32 [batch, 7, 3] = embedding %1, %4 {out=3} process main\n"                       \
           "%10: f32 [batch, 3] = linear %3, %6 {out=3, bias=false}\n"                             \
           "%11: f32 [batch, 7, 3] = modulate %9, %10, %3\n"                                       \
           "%12: f32 [batch, 7, 3] = linear %11, %6 {out=3, bias=false}\n"                         \
           "%13: f32 [batch, 7, 3], %14: f32 [batch, 1, 7] = attention %12, %11, %9 {heads=1}\n"   \
           "%15: f32 [batch, 7, 5] = linear %13, %5 {out=5, bias=false}\n"
#define NETWORK_BIND "input x %1\ninput sigma %2\ninput c %3\noutput y %16\n"

Test(select_pass, keeps_steps_of_some_sequences)
{
    for (int64_t batch = 1; batch <= 3; batch++) {
        cr_expect_eq(computes_the_same(NETWORK "%16: token main [batch, 7] = euler %1, %15, %8 "
                                               "process main stream 0x00000007\n" NETWORK_BIND,
                                       batch, STEP_OF_SOME),
                     2);
        cr_expect_eq(computes_the_same(NETWORK
                                       "%16: token main [batch, 7], %17: f64 [batch] = tweedie %1, "
                                       "%15, %2, %8 process main stream 0x00000007\n" NETWORK_BIND
                                       "output clamped %17\n",
                                       batch, STEP_OF_SOME),
                     2);
    }
}

/* Tokens that are masked again need no network, and a mask is revealed by a coin that knows of
 * them. */
Test(select_pass, keeps_steps_that_mask_again)
{
#define REMASK(AT) AT ": token main [batch, 7] = remask %1, "
    for (int64_t batch = 1; batch <= 3; batch++) {
        computes_the_same(STEP
                          "%13: f32 [batch, 7, 5] = x0_output %12, %1, %2 process main\n" REMASK(
                              "%14") "%13, %2, %8, %7, %4 "
                                     "process main stream 0x00000007\n" STEP_BIND,
                          batch, STEP_OF_ALL);
        computes_the_same(STEP REMASK("%14") "%12, %2, %8, %7, _, %9 "
                                             "process main stream 0x00000007\n" STEP_BIND,
                          batch, STEP_OF_ALL);
        cr_expect_eq(
            computes_the_same(NETWORK REMASK("%16") "%15, %2, %8, %7 "
                                                    "process main stream 0x00000007\n" NETWORK_BIND,
                              batch, STEP_OF_SOME),
            2);
    }
}

/* One position of each sequence that has masks, picked before the network is asked. */
Test(select_pass, keeps_first_hitting)
{
    for (int64_t batch = 1; batch <= 3; batch++) {
        computes_the_same(STEP
                          "%13: f32 [batch, 7, 5] = x0_output %12, %1, %2 process main\n"
                          "%14: token main [batch, 7] = reveal_one %1, %13 process main stream "
                          "0x00000007\n" STEP_BIND,
                          batch, STEP_OF_ALL);
        cr_expect_eq(computes_the_same(NETWORK "%16: token main [batch, 7] = reveal_one %1, %15 "
                                               "process main stream 0x00000007\n" NETWORK_BIND,
                                       batch, STEP_OF_SOME),
                     2);
    }
}

/* Under other flat chains than absorption positions that are kept; there are no others, and no
 * coin. A table has its P for sequences. */
Test(select_pass, keeps_what_is_kept_under_flat_chains)
{
#define UNIFORM "graph p\nprocess main uniform 5 1.0 * t\n"
#define BAND "graph p\nprocess main {band: {width: 1}} 5 1.0 * t\n"
#define TWEEDIE                                                                                    \
    "%13: f32 [batch, 7, 5] = project_score %12, %1, %2 process main\n"                            \
    "%14: token main [batch, 7], %15: f64 [batch] = tweedie %1, %13, %2, %8"
#define TWEEDIE_BIND " process main stream 0x00000007\n" STEP_BIND "output clamped %15\n"
    for (int64_t batch = 1; batch <= 3; batch++)
        computes_the_same(STEP_UNDER(UNIFORM) TWEEDIE ", %4" TWEEDIE_BIND, batch, STEP_OF_ALL);
    cr_expect(!tosses_first(STEP_UNDER(UNIFORM) TWEEDIE ", %4" TWEEDIE_BIND));
    cr_expect(tosses_first(STEP TWEEDIE ", %4" TWEEDIE_BIND));
    stays(STEP_UNDER(UNIFORM) TWEEDIE TWEEDIE_BIND);
    stays(STEP_UNDER(BAND) TWEEDIE ", %4" TWEEDIE_BIND);
}

/* What else is asked of the network than the draw is asked of all sequences. */
Test(select_pass, leaves_sequences_that_are_read)
{
    cr_expect_eq(computes_the_same(NETWORK "%16: token main [batch, 7] = euler %1, %15, %8 "
                                           "process main stream 0x00000007\n" NETWORK_BIND
                                           "output look %14\noutput h %12\n",
                                   3, STEP_OF_SOME),
                 1);
}

/* The nodes of the network read gathered tokens, and a map that needs no network those of all. */
Test(select_pass, text_of_sequences)
{
    expect_pass(
        pass_select,
        ABSORB WEIGHT "%1: token main [2, 7] = input\n"
                      "%2: f64 [2] = input\n"
                      "%3: f32 [5, 3] = state w\n"
                      "%4: f32 [2, 7, 3] = embedding %1, %3 {out=3} process main\n"
                      "%5: f32 [2, 7, 5] = linear %4, %3 {out=5, bias=false}\n"
                      "%6: f32 [2, 7, 5], %7: f32 [2, 1, 7] = attention %5, %5, %5 {heads=1}\n"
                      "%8: f32 [5, 5] = const {value=1}\n"
                      "%9: f32 [2, 7, 5] = linear %6, %8 {out=5, bias=false}\n"
                      "%10: token main [2, 7] = euler %1, %9, %2 process main stream 0x00000007\n"
                      "input x %1\ninput step %2\noutput y %10\n",
        ABSORB
        "axis some1 2 counter %12\n"
        "axis some2 14 counter %14\n" WEIGHT "%1: token main [2, 7] = input\n"
        "%2: f64 [2] = input\n"
        "%3: f32 [5, 3] = state w\n"
        "%4: f32 [2, 7, 3] = embedding %1, %3 {out=3} process main\n"
        "%5: f32 [5, 5] = const {value=1}\n"
        "%6: f64 [2, 7] = random_uniform {shape=[2, 7]} stream 0x00000007\n"
        "%7: bool [2, 7] = may_move %1 process main\n"
        "%8: f64 [2, 7] = cast %7 {to=f64}\n"
        "%9: f64 [2] = sum %8 {axis=1}\n"
        "%10: f64 [] = const {value=0}\n"
        "%11: bool [2] = less %10, %9\n"
        "%12: i32 [some1] = nonzero %11\n"
        "%13: bool [some1, 7] = gather %7, %12\n"
        "%14: i32 [some2] = nonzero %13\n"
        "%15: i32 [some2] = row_owner %14 {of=7}\n"
        "%16: f32 [some1, 7, 3] = gather %4, %12\n"
        "%17: f32 [some1, 7, 5] = linear %16, %3 {out=5, bias=false}\n"
        "%18: f32 [some1, 7, 5], %19: f32 [some1, 1, 7] = attention %17, %17, %17 {heads=1}\n"
        "%20: f32 [some2, 5] = gather %18, %14 {axes=2}\n"
        "%21: f32 [some2, 5] = linear %20, %5 {out=5, bias=false}\n"
        "%22: token main [some1, 7] = gather %1, %12\n"
        "%23: token main [some2] = gather %22, %14 {axes=2}\n"
        "%24: f64 [some1] = gather %2, %12\n"
        "%25: f64 [some2] = gather %24, %15\n"
        "%26: f64 [some1, 7] = gather %6, %12\n"
        "%27: f64 [some2] = gather %26, %14 {axes=2}\n"
        "%28: token main [some2] = euler %23, %21, %25, _, %27 process main stream 0x00000007\n"
        "%29: token main [some1, 7] = replace %22, %28, %14\n"
        "%30: token main [2, 7] = replace %1, %29, %12\n"
        "input x %1\n"
        "input step %2\n"
        "output y %30\n");
}

/* Rows that a model gathers itself: what makes them is made of gathered rows. */
#define FLAGGED(RATE)                                                                              \
    "graph p\nprocess main " RATE " 4 1.0 * t\n"                                                   \
    "axis batch 3\naxis some 21 counter %5\n" WEIGHT "%1: f32 [batch, 7, 3] = input\n"             \
    "%2: f32 [batch, 3] = input\n"                                                                 \
    "%3: bool [batch, 7] = input\n"                                                                \
    "%4: f32 [5, 3] = state w\n"                                                                   \
    "%5: i32 [some] = nonzero %3\n"
#define GATHERED                                                                                   \
    "%6: f32 [batch, 7, 3] = modulate %1, %2, %2\n"                                                \
    "%7: f32 [batch, 7, 5] = linear %6, %4 {out=5, bias=false}\n"                                  \
    "%8: f32 [batch, 7, 5] = gelu %7\n"                                                            \
    "%9: f32 [some, 5] = gather %8, %5 {axes=2}\n"
#define GATHERED_BIND "input h %1\ninput c %2\ninput flags %3\noutput y %9\n"

Test(select_pass, text_of_gathered_rows)
{
    expect_pass(pass_select, FLAGGED("uniform") GATHERED GATHERED_BIND,
                FLAGGED("uniform") "%6: i32 [some] = row_owner %5 {of=7}\n"
                                   "%7: f32 [some, 3] = gather %1, %5 {axes=2}\n"
                                   "%8: f32 [some, 3] = gather %2, %6\n"
                                   "%9: f32 [some, 3] = modulate %7, %8, %8\n"
                                   "%10: f32 [some, 5] = linear %9, %4 {out=5, bias=false}\n"
                                   "%11: f32 [some, 5] = gelu %10\n"
                                   "input h %1\n"
                                   "input c %2\n"
                                   "input flags %3\n"
                                   "output y %11\n");
}

Test(select_pass, keeps_gathered_rows)
{
    for (int64_t batch = 1; batch <= 3; batch++)
        computes_the_same(FLAGGED("absorb") GATHERED GATHERED_BIND, batch, STEP_OF_ALL);
}

/* An index of another origin may name a row twice; and rows that are read elsewhere are there. */
Test(select_pass, leaves_rows_of_other_gathers)
{
    static const char given[] = "graph p\naxis batch 3\n" WEIGHT "%1: f32 [batch, 7, 3] = input\n"
                                "%2: i32 [50] = input\n"
                                "%3: f32 [5, 3] = state w\n"
                                "%4: f32 [batch, 7, 5] = linear %1, %3 {out=5, bias=false}\n"
                                "%5: f32 [50, 5] = gather %4, %2 {axes=2}\n"
                                "input h %1\ninput index %2\noutput y %5\n";
    static const char read[] = FLAGGED("uniform") GATHERED GATHERED_BIND "output all %8\n";
    expect_pass(pass_select, given, given);
    expect_pass(pass_select, read, read);
}

/* What is cut and joined along the last axis goes along, by whichever number that axis is named. */
Test(select_pass, keeps_rows_that_are_cut)
{
    for (int64_t batch = 1; batch <= 3; batch++)
        computes_the_same(
            FLAGGED("absorb") "%6: f32 [batch, 7, 5] = linear %1, %4 {out=5, bias=false}\n"
                              "%7: f32 [batch, 7, 4] = slice %6 {axis=2, from=1, size=4}\n"
                              "%8: f32 [batch, 7, 2], %10: f32 [batch, 7, 2] = split %7 "
                              "{parts=2, axis=2}\n"
                              "%11: f32 [batch, 7, 4] = concat %10, %8 {axis=2}\n"
                              "%9: f32 [some, 4] = gather %11, %5 {axes=2}\n" GATHERED_BIND,
            batch, STEP_OF_ALL);
}

/* What reads a row of the state that is written later stays before that. */
Test(select_pass, leaves_what_reads_a_row_before_it_is_written)
{
    static const char text[] =
        "graph p\naxis some 14 counter %5\n" WEIGHT "state r constant f32 [2, 7, 3] zero\n"
        "%1: f32 [2, 7, 3] = state r\n"
        "%2: f64 [] = const {value=1}\n"
        "%3: bool [2, 7] = input\n"
        "%4: f32 [5, 3] = state w\n"
        "%5: i32 [some] = nonzero %3\n"
        "%6: f32 [2, 7, 5] = linear %1, %4 {out=5, bias=false}\n"
        "%7: f32 [2, 7, 3] -> r v1 = accumulate %1, %1, %2\n"
        "%8: f32 [some, 5] = gather %6, %5 {axes=2}\n"
        "input flags %3\noutput y %8\n";
    expect_pass(pass_select, text, text);
}

/* Tokens of three axes, and a noise for each sequence: its chance goes with all positions of it. */
Test(select_pass, keeps_steps_of_three_axes)
{
    for (int64_t batch = 1; batch <= 3; batch++)
        computes_the_same(
            ABSORB "axis batch 3\n" WEIGHT "%1: token main [batch, 3, 4] = input\n"
                   "%2: f64 [batch] = input\n"
                   "%3: f32 [batch, 3, 4, 3] = input\n"
                   "%4: bool [batch, 3, 4] = input\n"
                   "%5: f32 [5, 3] = state w\n"
                   "%6: f64 [batch, 3, 4] = input\n"
                   "%7: f64 [] = const {value=0.3}\n"
                   "%8: f64 [batch] = mul %2, %7\n"
                   "%12: f32 [batch, 3, 4, 5] = linear %3, %5 {out=5, bias=false}\n"
                   "%13: f32 [batch, 3, 4, 5] = x0_output %12, %1, %2 process main\n"
                   "%14: token main [batch, 3, 4] = ancestral %1, %13, %2, %8, %4 process main "
                   "stream 0x00000007\n" STEP_BIND,
            batch, STEP_OF_ALL);
}

/* What moves is read by rows alone: a shift that is one of each sequence stays, though it has as
 * many numbers as there are positions. */
Test(select_pass, leaves_what_a_sequence_is_told)
{
    computes_the_same(ABSORB WEIGHT
                      "%1: token main [2, 3] = input\n"
                      "%2: f64 [2] = input\n"
                      "%3: f32 [2, 3, 3] = input\n"
                      "%5: f32 [5, 3] = state w\n"
                      "%6: f32 [2, 3, 5] = linear %3, %5 {out=5, bias=false}\n"
                      "%7: f32 [2, 3] = logsumexp %6\n"
                      "%8: f32 [2, 3, 3] = modulate %3, %7, %7\n"
                      "%9: f32 [2, 3, 5] = linear %8, %5 {out=5, bias=false}\n"
                      "%13: token main [2, 3] = perturb %1, %2 process main stream 0x00000009\n"
                      "%14: f64 [2, 3] = score_entropy %9, %13, %1, %2 process main\n"
                      "input x0 %1\ninput sigma %2\ninput h %3\noutput y %14\n",
                      0, CLEAN);
}

/* A plan can count so many axes: beyond that ends stay as they are. */
Test(select_pass, stops_where_axes_run_out)
{
    char *text = arena_strdup(arena, ABSORB WEIGHT TOKENS HEAD), *outputs = arena_strdup(arena, "");
    for (int i = 0; i < 20; i++) {
        text = arena_printf(arena,
                            "%s%%%d: f32 [2, 7, 5] = linear %%3, %%5 {out=5, bias=false}\n"
                            "%%%d: f64 [2, 7] = score_entropy %%%d, %%1, %%2, %%4 process main\n",
                            text, 10 + 2 * i, 11 + 2 * i, 10 + 2 * i);
        outputs = arena_printf(arena, "%soutput y%d %%%d\n", outputs, i, 11 + 2 * i);
    }
    text = arena_printf(arena, "%s%s%s", text, BIND, outputs);
    struct graph *g = run_pass(pass_select, text, (struct compile_options){0});
    cr_assert_eq(g->axis_count, PLAN_AXES_MAX);
}
