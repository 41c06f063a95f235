/* Gradient rules against central differences of the double references.
 *
 * For random weights w, d/dx sum(w y(x)) is measured by moving each element of x, and computed by
 * running the nodes that the gradient rule emits for dout = w on their references. */
#include "ops/kernels/attrs.h"
#include "ops/reference.h"
#include "ops/rules.h"
#include "tests/support/op_case.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <math.h>
#include <string.h>

/* With doubles the error of a central difference is about h^2 f'''/6 + 1e-16 |f| / h: 1e-9 here for
 * values of order 1; the tolerance leaves room for steep functions. */
#define STEP 1e-5
#define TOLERANCE 1e-6
#define PROBES 24 /* elements of one input that are moved */

struct trial {
    struct case_graph g;
    struct ref_tensor in[CASE_INPUTS];
    uint32_t dout[OP_RESULT_MAX]; /* input values of the graph, or VALUE_NONE */
    uint32_t din[CASE_INPUTS];
    struct arena *arena; /* of one run */
};

static double weight(uint32_t value, int64_t element)
{
    return random_uniform(random_key(9, "weights"), 0, value, 0, (uint32_t)element) - 0.4;
}

static bool supply(void *context, const struct graph *graph, uint32_t value,
                   const struct ref_tensor *out)
{
    struct trial *t = context;
    (void)graph;
    for (uint32_t i = 0; i < t->g.in_count; i++)
        if (t->g.in[i] == value) {
            memcpy(out->data, t->in[i].data, (size_t)ref_size(out) * sizeof *out->data);
            return true;
        }
    for (int64_t i = 0; i < ref_size(out); i++)
        out->data[i] = weight(value, i);
    return true;
}

static struct ref_tensor *run(struct trial *t)
{
    struct reference_io io = {.supply = supply, .context = t, .draw = op_case_draw()};
    arena_free(t->arena);
    t->arena = arena_new();
    struct ref_tensor *values =
        arena_new_array(t->arena, struct ref_tensor, t->g.graph->value_count);
    cr_assert(reference_run(t->g.graph, &io, t->arena, values), "%s",
              diags_render(t->g.diags, false));
    return values;
}

/* sum(w y) over the results that have weights; a logarithm of nothing stays what it is. */
static double objective(struct trial *t)
{
    struct ref_tensor *values = run(t);
    const struct node *node = op_case_node(&t->g);
    double sum = 0;
    for (uint32_t k = 0; k < node->out_count; k++) {
        const struct ref_tensor *y = &values[node->out[k]];
        for (int64_t i = 0; t->dout[k] && i < ref_size(y); i++)
            if (y->data[i] != -INFINITY)
                sum += y->data[i] * values[t->dout[k]].data[i];
    }
    return sum;
}

/* Weights for the results in MASK (bit k: result k) that are real and visible. */
static bool add_douts(struct trial *t, uint64_t mask)
{
    struct graph *g = t->g.graph;
    struct node node = *op_case_node(&t->g); /* a copy: the graph grows */
    uint32_t visible = node.op->visible ? node.op->visible : node.out_count;
    cr_assert(visible <= node.out_count, "%s: %u of %u results are visible", node.op->name, visible,
              node.out_count);
    bool any = false;
    for (uint32_t k = 0; k < visible; k++) {
        struct type type = *graph_type(g, node.out[k]);
        if (!(mask >> k & 1) || !dtype_real(type.dtype))
            continue;
        struct node_call leaf = {.op = &op_input, .types = &type};
        uint32_t id = graph_call(g, &leaf); /* which may move the nodes */
        t->dout[k] = g->nodes[id].out[0];
        any = true;
    }
    return any;
}

/* What the walker does with the gradient of an input: its shape and dtype are those of the
 * input. */
static uint32_t reduced(struct trial *t, uint32_t din, uint32_t input, const struct node *like)
{
    struct graph *g = t->g.graph;
    struct type type = *graph_type(g, input);
    if (!type_same_shape(graph_type(g, din), &type))
        din = emit_shaped(g, &op_sum_to, din, &type, like);
    if (graph_type(g, din)->dtype != type.dtype) {
        union attr attr[] = {[CAST_TO] = {.integer = type.dtype == DT_F64}};
        din = graph_emit(g, &op_cast, &din, 1, attr, like);
    }
    return din;
}

static void apply_rule(struct trial *t)
{
    struct node node = *op_case_node(&t->g);
    bool need[CASE_INPUTS] = {false};
    for (uint32_t i = 0; i < node.in_count; i++)
        need[i] = node.in[i] && dtype_real(graph_type(t->g.graph, node.in[i])->dtype);
    struct grad_call call = {t->g.graph, &node, t->dout, need, t->din};
    node.op->grad(&call);
    for (uint32_t i = 0; i < node.in_count; i++) {
        if (!need[i])
            t->din[i] = VALUE_NONE;
        if (t->din[i])
            t->din[i] = reduced(t, t->din[i], node.in[i], &node);
    }
}

/* Compares the gradient of input I with differences, at up to PROBES of its elements. */
static void check_input(struct trial *t, uint32_t i, const struct op_case *c)
{
    const struct ref_tensor *x = &t->in[i];
    int64_t size = ref_size(x), stride = size > PROBES ? size / PROBES : 1;
    double *found = arena_new_array(t->g.arena, double, (size_t)size), most = 1;
    struct ref_tensor *values = run(t);
    for (int64_t e = 0; t->din[i] && e < size; e++) {
        found[e] = values[t->din[i]].data[e];
        most = fmax(most, fabs(found[e]));
    }
    for (int64_t e = 0; e < size; e += stride) {
        double here = x->data[e];
        x->data[e] = here + STEP;
        double up = objective(t);
        x->data[e] = here - STEP;
        double down = objective(t);
        x->data[e] = here;
        double measured = (up - down) / (2 * STEP);
        if (fabs(measured - found[e]) <= TOLERANCE * most)
            continue;
        cr_expect(false,
                  "%s \"%s\" \"%s\": d/d%s[%lld] is %.9g by differences and %.9g by the rule",
                  op_case_node(&t->g)->op->name, c->in, c->attr ? c->attr : "",
                  op_case_input(&t->g, i)->name, (long long)e, measured, found[e]);
        break; /* one report is enough */
    }
}

/* One case, with gradients flowing back through the results in MASK. */
static void check_case(const struct op *op, const struct op_case *c, uint64_t mask)
{
    struct trial *t = calloc(1, sizeof *t);
    cr_assert(op_case_build(&t->g, op, c, false), "%s", op_case_refusal(&t->g));
    op_case_fill(&t->g, 5, 0, t->in);
    if (add_douts(t, mask)) {
        apply_rule(t);
        graph_order(t->g.graph);
        for (uint32_t i = 0; i < t->g.in_count; i++)
            if (t->in[i].data && dtype_real(graph_type(t->g.graph, t->g.in[i])->dtype))
                check_input(t, i, c);
    }
    arena_free(t->arena);
    op_case_free(&t->g);
    free(t);
}

ParameterizedTestParameters(gradients, agree_with_differences)
{
    static uint32_t index[256];
    cr_assert(ops_table.count <= 256);
    for (uint32_t i = 0; i < ops_table.count; i++)
        index[i] = i;
    return cr_make_param_array(uint32_t, index, ops_table.count);
}

ParameterizedTest(uint32_t *index, gradients, agree_with_differences)
{
    const struct op *op = ops_table.ops[*index];
    if (!op->grad)
        return;
    for (const struct op_case *c = op->cases; c->in; c++) {
        check_case(op, c, UINT64_MAX);
        if (op->result_count != 1) {
            check_case(op, c, 1);
            check_case(op, c, 2);
        }
    }
}
