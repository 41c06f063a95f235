/* grad: what the walker adds around the rules of the ops, as text and as numbers. Numbers are
 * central differences of the same graph without its gradient, all on double references. */
#include "tests/passes/fixture.h"

#include "ops/reference.h"

#include <math.h>

TestSuite(grad_pass, .init = open_fixture, .fini = close_fixture);

/* --- text --------------------------------------------------------------------------------- */

#define FIT                                                                                        \
    "graph p\n"                                                                                    \
    "state w parameter f32 [3] zero\n"                                                             \
    "state unused parameter f32 [] zero\n"

/* Fan-out is added up, broadcasting summed, promotion cast back, and what does not depend on a
 * parameter is left alone. */
Test(grad_pass, text_of_minimize)
{
    static const char in[] = FIT "%1: f64 [2, 3] = input\n"
                                 "%2: f32 [3] = state w\n"
                                 "%3: f64 [2, 3] = mul %2, %1\n"
                                 "%4: f64 [] = sum %3\n"
                                 "input x %1\n"
                                 "output loss %4\n"
                                 "minimize %4\n";
    struct graph *g = run_pass(pass_grad, in, (struct compile_options){.gradients = true});
    cr_assert_str_eq(graph_print(arena, g), "graph p\n"
                                            "state w parameter f32 [3] zero\n"
                                            "state grad/w gradient f32 [3] zero of w\n"
                                            "%1: f64 [2, 3] = input\n"
                                            "%2: f32 [3] = state w\n"
                                            "%3: f64 [2, 3] = mul %2, %1\n"
                                            "%4: f64 [] = sum %3\n"
                                            "%5: f64 [] = const {value=1}\n"
                                            "%6: f64 [2, 3] = broadcast_to %5 {shape=[2, 3]}\n"
                                            "%7: f64 [2, 3] = mul %6, %1\n"
                                            "%8: f64 [3] = sum_to %7 {shape=[3]}\n"
                                            "%9: f32 [3] = cast %8 {to=f32}\n"
                                            "%10 \"grad/w\": f32 [3] -> grad/w v1 = store %9\n"
                                            "input x %1\n"
                                            "output loss %4\n"
                                            "minimize %4\n");
}

/* A parameter that the loss does not see has gradient zero. When accumulating, rows are read, and
 * an input says whether they start anew. */
Test(grad_pass, text_when_accumulating)
{
    static const char in[] = FIT "%1: f32 [3] = state w\n"
                                 "%2: f32 [] = state unused\n"
                                 "%3: f32 [] = sum %1\n"
                                 "minimize %3\n";
    struct compile_options o = {.gradients = true, .accumulate = true, .grad_outputs = true};
    struct graph *g = run_pass(pass_grad, in, o);
    cr_assert_str_eq(graph_print(arena, g),
                     "graph p\n"
                     "state w parameter f32 [3] zero\n"
                     "state unused parameter f32 [] zero\n"
                     "state grad/w gradient f32 [3] zero of w\n"
                     "state grad/unused gradient f32 [] zero of unused\n"
                     "%1: f32 [3] = state w\n"
                     "%2: f32 [] = state unused\n"
                     "%3: f32 [] = sum %1\n"
                     "%4: f32 [] = const {value=1}\n"
                     "%5: f32 [3] = broadcast_to %4 {shape=[3]}\n"
                     "%6: f64 [] = input\n"
                     "%7: f32 [3] = state grad/w\n"
                     "%8 \"grad/w\": f32 [3] -> grad/w v1 = accumulate %7, %5, %6\n"
                     "%9: f32 [] = const {value=0}\n"
                     "%10: f32 [] = state grad/unused\n"
                     "%11 \"grad/unused\": f32 [] -> grad/unused v1 = accumulate %10, %9, %6\n"
                     "input accumulate.keep %6\n"
                     "output grad/w %8\n"
                     "output grad/unused %11\n"
                     "minimize %3\n");
}

/* Without `gradients`, nothing of it is made; gradient nodes are expanded all the same. */
Test(grad_pass, only_what_is_asked_for)
{
    static const char text[] = FIT "%1: f32 [3] = state w\n"
                                   "%2: f32 [] = sum %1\n"
                                   "output loss %2\n"
                                   "minimize %2\n";
    struct graph *g = run_pass(pass_grad, text, (struct compile_options){0});
    cr_assert_eq(g->order_count, 2);
}

Test(grad_pass, a_value_that_does_not_depend_has_gradient_zero)
{
    expect_pass(pass_grad,
                "graph p\n"
                "%1: f64 [2] = input\n"
                "%2: f64 [3] = input\n"
                "%3: f64 [2] = exp %1\n"
                "%4: f64 [3] = gradient %3, %2\n"
                "input x %1\n"
                "input y %2\n"
                "output g %4\n",
                "graph p\n"
                "%1: f64 [2] = input\n"
                "%2: f64 [3] = input\n"
                "%3: f64 [2] = exp %1\n"
                "%4: f64 [3] = const {value=0}\n"
                "input x %1\n"
                "input y %2\n"
                "output g %4\n");
}

/* An op whose gradient rule made backward nodes has no rule for those. */
Test(grad_pass, not_twice_through_a_backward_op)
{
    struct compile_options none = {0};
    struct compile c = {.arena = arena, .diags = diags, .options = &none};
    c.graph = read_graph("graph p\n"
                         "%1: f32 [2, 4] = input\n"
                         "%2: f32 [2, 4] = softmax %1\n"
                         "%3: f32 [2, 4] = mul %2, %2\n"
                         "%4: f32 [2, 4] = gradient %3, %1\n"
                         "%5: f32 [2, 4] = gradient %4, %1\n"
                         "input x %1\n"
                         "output y %5\n");
    cr_assert(!pass_grad(&c));
    cr_assert_not_null(strstr(diags_render(diags, false),
                              "nothing can be differentiated through it a second time"));
}

/* --- numbers ---------------------------------------------------------------------------------- */

#define MOST 64

struct point {
    const struct graph *graph;
    double in[8][MOST]; /* per input of the graph */
};

static bool supply(void *context, const struct graph *graph, uint32_t value,
                   const struct ref_tensor *out)
{
    const struct point *p = context;
    int64_t n = 1;
    for (uint32_t k = 0; k < out->rank; k++)
        n *= out->dim[k];
    cr_assert(n <= MOST);
    for (uint32_t i = 0; i < graph->input_count; i++)
        if (graph->inputs[i].value == value)
            memcpy(out->data, p->in[i], (size_t)n * sizeof *out->data);
    return true;
}

/* Output K at the point, summed with fixed weights where SUM; or its elements into OUT. */
static double run(struct point *p, uint32_t k, double *out)
{
    struct reference_io io = {.supply = supply, .context = p};
    struct arena *own = arena_new();
    struct ref_tensor *values = arena_new_array(own, struct ref_tensor, p->graph->value_count);
    cr_assert(reference_run(p->graph, &io, own, values));
    const struct ref_tensor *y = &values[p->graph->outputs[k].value];
    double sum = 0;
    int64_t n = 1;
    for (uint32_t i = 0; i < y->rank; i++)
        n *= y->dim[i];
    for (int64_t i = 0; i < n; i++) {
        sum += y->data[i];
        if (out)
            out[i] = y->data[i];
    }
    arena_free(own);
    return sum;
}

/* TEXT has y as output 0, and as output 1 + i the gradient of y's sum by input i. */
static void check_numbers(const char *text, double tolerance)
{
    struct point p = {.graph = run_pass(pass_grad, text, (struct compile_options){0})};
    for (uint32_t i = 0; i < p.graph->input_count; i++)
        for (int e = 0; e < MOST; e++)
            p.in[i][e] = 0.55 + 0.35 * sin(2.3 * e + 5 * i + 1);
    for (uint32_t i = 0; i + 1 < p.graph->output_count; i++) {
        const struct type *type = graph_type(p.graph, p.graph->inputs[i].value);
        double found[MOST], step = 1e-5;
        cr_assert(type_equal(type, graph_type(p.graph, p.graph->outputs[i + 1].value)));
        run(&p, i + 1, found);
        for (int64_t e = 0; e < type_count(type); e++) {
            double here = p.in[i][e];
            p.in[i][e] = here + step;
            double up = run(&p, 0, NULL);
            p.in[i][e] = here - step;
            double measured = (up - run(&p, 0, NULL)) / (2 * step);
            p.in[i][e] = here;
            cr_assert_float_eq(found[e], measured, tolerance * (1 + fabs(measured)),
                               "input %u, element %d: %.9g, not %.9g", i, (int)e, found[e],
                               measured);
        }
    }
}

/* A value used five times, once twice by the same node, on paths of different length. */
Test(grad_pass, fan_out)
{
    check_numbers("graph p\n"
                  "%1: f64 [3] = input\n"
                  "%2: f64 [3] = mul %1, %1\n"
                  "%3: f64 [3] = sin %1\n"
                  "%4: f64 [3] = mul %2, %3\n"
                  "%5: f64 [3] = exp %4\n"
                  "%6: f64 [3] = add %5, %1\n"
                  "%7: f64 [3] = mul %6, %2\n"
                  "%8: f64 [3] = gradient %7, %1\n"
                  "input x %1\n"
                  "output y %7\n"
                  "output g %8\n",
                  1e-8);
}

/* Axes of size 1, missing axes, scalars, on both sides. */
Test(grad_pass, broadcasting)
{
    check_numbers(
        "graph p\n"
        "%1: f64 [2, 1, 3] = input\n"
        "%2: f64 [4, 1] = input\n"
        "%3: f64 [] = input\n"
        "%4: f64 [1] = input\n"
        "%5: f64 [2, 4, 3] = mul %1, %2\n"
        "%6: f64 [2, 4, 3] = div %5, %3\n"
        "%7: f64 [2, 4, 3] = pow %6, %4\n"
        "%8: f64 [4, 1] = sub %2, %3\n"
        "%9: f64 [2, 4, 3] = mul %7, %8\n"
        "%10: f64 [2, 1, 3], %11: f64 [4, 1], %12: f64 [], %13: f64 [1] = gradient %9, %1, "
        "%2, %3, %4\n"
        "input a %1\n"
        "input b %2\n"
        "input c %3\n"
        "input d %4\n"
        "output y %9\n"
        "output e %10\n"
        "output f %11\n"
        "output g %12\n"
        "output h %13\n",
        1e-7);
}

/* f32 and f64 meet; each gradient is of its own input's type. The references compute all of it in
 * double. */
Test(grad_pass, promotion)
{
    check_numbers("graph p\n"
                  "%1: f32 [3] = input\n"
                  "%2: f64 [2, 3] = input\n"
                  "%3: f64 [2, 3] = mul %1, %2\n"
                  "%4: f32 [2, 3] = cast %3 {to=f32}\n"
                  "%5: f32 [2, 3] = mul %4, %1\n"
                  "%6: f64 [2, 3] = add %5, %2\n"
                  "%7: f32 [3], %8: f64 [2, 3] = gradient %6, %1, %2\n"
                  "input a %1\n"
                  "input b %2\n"
                  "output y %6\n"
                  "output c %7\n"
                  "output d %8\n",
                  1e-8);
}

/* The rate of a noise schedule is the gradient of sigma; a gradient of it is a second one. */
Test(grad_pass, gradient_of_a_gradient)
{
    check_numbers("graph p\n"
                  "%1: f64 [4] = input\n"
                  "%2: f64 [] = const {value=-0.999}\n"
                  "%3: f64 [4] = mul %1, %2\n"
                  "%4: f64 [4] = log1p %3\n"
                  "%5: f64 [4] = neg %4\n"
                  "%6: f64 [4] = gradient %5, %1\n" /* 0.999 / (1 - 0.999 t) */
                  "%7: f64 [4] = mul %6, %5\n"
                  "%8: f64 [4] = gradient %7, %1\n"
                  "input t %1\n"
                  "output y %7\n"
                  "output g %8\n",
                  1e-7);
}

/* Nothing flows through draws, comparisons and ids; only the chosen side of `where` gets it. */
Test(grad_pass, what_stops_it)
{
    check_numbers("graph p\n"
                  "%1: f64 [3, 4] = input\n"
                  "%2: f64 [4] = input\n"
                  "%3: bool [3, 4] = less %1, %2\n"
                  "%4: f64 [3, 4] = where %3, %1, %2\n"
                  "%5: f64 [3, 4] = mul %4, %1\n"
                  "%6: f64 [3, 4], %7: f64 [4] = gradient %5, %1, %2\n"
                  "input a %1\n"
                  "input b %2\n"
                  "output y %5\n"
                  "output c %6\n"
                  "output d %7\n",
                  1e-8);
}

/* Only some results of a node carry a gradient. */
Test(grad_pass, results_that_are_not_used)
{
    check_numbers("graph p\n"
                  "%1: f64 [2, 6] = input\n"
                  "%2: f64 [2, 2], %3: f64 [2, 2], %4: f64 [2, 2] = split %1 {parts=3}\n"
                  "%5: f64 [2, 2] = mul %2, %4\n"
                  "%6: f64 [2, 6] = gradient %5, %1\n"
                  "input a %1\n"
                  "output y %5\n"
                  "output g %6\n",
                  1e-8);
}
