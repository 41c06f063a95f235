/* The gradients that the fused heads give, on the references, against central differences of their
 * own losses. (That the losses are those of the nodes they stand for: tests/passes/test_fuse.c and
 * test_models.c; that kernels agree with the references: test_kernels.c.) */
#include "ops/ops.h"
#include "ops/reference.h"
#include "ops/rules.h"
#include "tests/support/op_case.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* As in test_gradients.c. */
#define STEP 1e-5
#define TOLERANCE 1e-6
#define PROBES 24

#define DLOSS 3 /* input of both ops */

struct trial {
    struct case_graph g;
    struct ref_tensor in[CASE_INPUTS];
    struct arena *arena; /* of one run */
    struct ref_tensor *values;
};

static const struct ref_tensor *result(const struct trial *t, uint32_t k)
{
    return &t->values[op_case_node(&t->g)->out[k]];
}

/* The sum of the losses times what the gradient of each is said to be: where a loss is infinite, as
 * that of a token under a law that is certain of another, it does not move. */
static double objective(struct trial *t)
{
    struct case_values inputs = {&t->g, t->in};
    struct reference_io io = {.supply = op_case_supply, .context = &inputs};
    arena_free(t->arena);
    t->arena = arena_new();
    t->values = arena_new_array(t->arena, struct ref_tensor, t->g.graph->value_count);
    cr_assert(reference_run(t->g.graph, &io, t->arena, t->values));
    const struct ref_tensor *loss = result(t, 0);
    double sum = 0;
    for (int64_t i = 0; i < ref_size(loss); i++)
        if (isfinite(loss->data[i]))
            sum += loss->data[i] * t->in[DLOSS].data[i];
    return sum;
}

/* Result K is the gradient of input I. */
static void check_input(struct trial *t, uint32_t i, uint32_t k, const struct op_case *c)
{
    int64_t size = ref_size(&t->in[i]), stride = size > PROBES ? size / PROBES : 1;
    objective(t);
    cr_assert_eq(ref_size(result(t, k)), size);
    double *found = arena_new_array(t->g.arena, double, (size_t)size), most = 1;
    memcpy(found, result(t, k)->data, (size_t)size * sizeof *found);
    for (int64_t e = 0; e < size; e++)
        most = fmax(most, fabs(found[e]));
    for (int64_t e = 0; e < size; e += stride) {
        double *x = &t->in[i].data[e], here = *x;
        *x = here + STEP;
        double up = objective(t);
        *x = here - STEP;
        double measured = (up - objective(t)) / (2 * STEP);
        *x = here;
        cr_assert(fabs(measured - found[e]) <= TOLERANCE * most,
                  "%s \"%s\": d/d%s[%lld] is %.9g by differences and %.9g by the op",
                  op_case_node(&t->g)->op->name, c->in, op_case_input(&t->g, i)->name, (long long)e,
                  measured, found[e]);
    }
}

static void check_op(const struct op *op)
{
    for (const struct op_case *c = op->cases; c->in; c++) {
        struct trial *t = calloc(1, sizeof *t);
        cr_assert(op_case_build(&t->g, op, c, false), "%s", op_case_refusal(&t->g));
        op_case_fill(&t->g, 8, 0, t->in);
        uint32_t bias = t->g.in_count - 1;
        check_input(t, 0, 1, c);
        check_input(t, 1, 2, c);
        if (t->in[bias].data)
            check_input(t, bias, 3, c);
        arena_free(t->arena);
        op_case_free(&t->g);
        free(t);
    }
}

Test(head_loss, gradients_of_cross_entropy_agree_with_differences)
{
    check_op(&op_head_entropy_backward);
}

Test(head_loss, gradients_of_processes_agree_with_differences)
{
    check_op(&op_head_loss_backward);
}
