/* norm_modulate and its backward op: layer_norm without bias, then modulate, in one sweep. Put by
 * the fuse pass in the place of the two: the normed rows are in no memory, and are made again from
 * x, mean and rstd on the way back. */
#include "ops/kernels/attrs.h"
#include "ops/ops.h"
#include "ops/rules.h"

#include <math.h>

/* norm_modulate: x [rows, ..., n], shift, scale [rows, n], w [n] -> y [rows, ..., n], mean, rstd
 * [rows, ...]
 *
 *   xhat = (x - mean) rstd,  u = w xhat,  y = u (1 + scale) + shift
 *
 * With e = dy (1 + scale) and g = w e:
 *   dshift = sum over positions of dy,  dscale = sum of dy u,  dw = sum over all rows of e xhat
 *   dx = rstd (g - mean(g) - xhat mean(g xhat)) */
static const struct op_attr norm_modulate_attrs[] = {
    [NORM_MODULATE_EPS] = {"eps", ATTR_REAL, "1e-5", "added to the variance", NULL},
    {0},
};

static const struct op_input norm_modulate_inputs[] = {
    {"x", IN_F32, 0, "f32 [rows, ..., n]", DOMAIN_ANY},
    {"shift", IN_F32, INPUT_SEQUENCE, "f32 [rows, n]", DOMAIN_ANY},
    {"scale", IN_F32, INPUT_SEQUENCE, "f32 [rows, n]", DOMAIN_ANY},
    {"weight", IN_F32, INPUT_SHARED, "f32 [n]", DOMAIN_ANY},
    {0},
};

static const char *const norm_modulate_results[] = {"y", "mean", "rstd", NULL};

/* Inputs VECTOR are [rows, n] and input ROW is [n], for x = input 0. */
static bool check_shapes(const struct op_call *call, uint32_t vector, uint32_t count, uint32_t row)
{
    const struct type *x = &call->in[0];
    if (x->rank < 2)
        return op_error(call, "x must be [rows, ..., n], not %s", rule_print(call, 0));
    int64_t n = x->dim[x->rank - 1].size;
    for (uint32_t i = vector; i < vector + count; i++)
        if (call->in[i].rank != 2 || !rule_same_axes(call, 0, i, 1) || call->in[i].dim[1].size != n)
            return op_error(call, "`%s` must be [rows, %lld], not %s", call->op->inputs[i].name,
                            (long long)n, rule_print(call, i));
    if (call->in[row].rank != 1 || call->in[row].dim[0].size != n)
        return op_error(call, "`%s` must be [%lld], not %s", call->op->inputs[row].name,
                        (long long)n, rule_print(call, row));
    return true;
}

static bool norm_modulate_shape(struct op_call *call)
{
    if (!check_shapes(call, 1, 2, 3))
        return false;
    call->out[0] = call->out[1] = call->out[2] = call->in[0];
    call->out[1].rank = call->out[2].rank = call->in[0].rank - 1;
    return true;
}

static void norm_modulate_grad(struct grad_call *call)
{
    const struct node *n = call->node;
    uint32_t in[] = {n->in[0], n->in[3], n->out[1], n->out[2], n->in[2], call->dout[0]};
    uint32_t dx = graph_emit(call->graph, &op_norm_modulate_backward, in, 6, NULL, n);
    const uint32_t *out = call->graph->nodes[call->graph->values[dx].node].out;
    for (uint32_t i = 0; i < 4; i++)
        if (call->need[i])
            call->din[i] = out[i];
}

static void norm_modulate_cost(const struct op_call *call, struct op_cost *out)
{
    out->flop = 11 * (double)type_count(&call->in[0]);
    out->bytes = 2 * (double)type_bytes(&call->in[0]);
}

/* Rows of x, how many of them a sequence has, and columns. */
struct walk {
    int64_t rows, length, n;
};
static struct walk walk_of(const struct ref_tensor *x)
{
    struct walk w = {.rows = ref_lead(x, x->rank - 1), .n = x->dim[x->rank - 1]};
    w.length = x->dim[0] ? w.rows / x->dim[0] : 1;
    return w;
}

static void norm_modulate_reference(const struct ref_call *call)
{
    struct walk w = walk_of(&call->in[0]);
    for (int64_t r = 0; r < w.rows; r++) {
        const double *x = call->in[0].data + r * w.n;
        const double *shift = call->in[1].data + r / w.length * w.n;
        const double *scale = call->in[2].data + r / w.length * w.n;
        double mean = 0, square = 0;
        for (int64_t i = 0; i < w.n; i++)
            mean += x[i] / (double)w.n;
        for (int64_t i = 0; i < w.n; i++)
            square += (x[i] - mean) * (x[i] - mean) / (double)w.n;
        double rstd = 1 / sqrt(square + call->attr[NORM_MODULATE_EPS].real);
        for (int64_t i = 0; i < w.n; i++)
            call->out[0].data[r * w.n + i] =
                call->in[3].data[i] * (x[i] - mean) * rstd * (1 + scale[i]) + shift[i];
        call->out[1].data[r] = mean;
        call->out[2].data[r] = rstd;
    }
}

static const struct op_case norm_modulate_cases[] = {
    {"f32[2,3,8] f32[2,8] f32[2,8] f32[8]", NULL, NULL},
    {"f32[3,1] f32[3,1] f32[3,1] f32[1]", NULL, NULL},
    {"f32[5,7] f32[5,7] f32[5,7] f32[7]", "eps=1e-3", NULL},
    {"f32[3,2,5,67] f32[3,67] f32[3,67] f32[67]", NULL, NULL},
    {0},
};

const struct op op_norm_modulate = {
    .name = "norm_modulate",
    .doc = "layer_norm without bias, then modulate, in one sweep.",
    .inputs = norm_modulate_inputs,
    .attrs = norm_modulate_attrs,
    .results = norm_modulate_results,
    .result_count = 3,
    .visible = 1,
    .flags = OP_INTERNAL,
    .rows = ROWS_POSITION,
    .shape = norm_modulate_shape,
    .grad = norm_modulate_grad,
    .cost = norm_modulate_cost,
    .inplace = 1,
    .reference = norm_modulate_reference,
    .cases = norm_modulate_cases,
};

/* norm_modulate_backward: x, w, mean, rstd, scale, dy (, dsum) -> dx, dshift, dscale, dw. DSUM is a
 * gradient of x from elsewhere, such as that of the residual path, to be added to dx. */
static const struct op_input backward_inputs[] = {
    {"x", IN_F32, 0, "f32 [rows, ..., n]", DOMAIN_ANY},
    {"weight", IN_F32, 0, "f32 [n]", DOMAIN_ANY},
    {"mean", IN_F32, 0, "f32 [rows, ...]", DOMAIN_ANY},
    {"rstd", IN_F32, 0, "f32 [rows, ...]", DOMAIN_POSITIVE},
    {"scale", IN_F32, 0, "f32 [rows, n]", DOMAIN_ANY},
    {"dy", IN_F32, 0, "f32 [rows, ..., n]", DOMAIN_ANY},
    {"dsum", IN_F32, INPUT_OPTIONAL, "f32 [rows, ..., n]: added to dx", DOMAIN_ANY},
    {0},
};

static const char *const backward_results[] = {"dx", "dshift", "dscale", "dweight", NULL};

static bool backward_shape(struct op_call *call)
{
    const uint32_t rank = call->in[0].rank;
    if (!check_shapes(call, 4, 1, 1) || !rule_same_axes(call, 0, 2, rank - 1) ||
        !rule_same_axes(call, 0, 3, rank - 1) || !rule_same_axes(call, 0, 5, rank) ||
        (op_has(call, 6) && !rule_same_axes(call, 0, 6, rank)))
        return false;
    call->out[0] = call->in[0];
    call->out[1] = call->out[2] = call->in[4];
    call->out[3] = call->in[1];
    return true;
}

static void backward_cost(const struct op_call *call, struct op_cost *out)
{
    out->flop = 20 * (double)type_count(&call->in[0]);
    out->bytes = (op_has(call, 6) ? 4 : 3) * (double)type_bytes(&call->in[0]);
}

static int64_t backward_workspace(const struct op_call *call)
{
    return 3 * NORM_BLOCKS * type_bytes(&call->in[1]);
}

static void backward_row(const struct ref_call *call, struct walk w, int64_t r)
{
    const double *x = call->in[0].data + r * w.n, *weight = call->in[1].data;
    const double *scale = call->in[4].data + r / w.length * w.n, *dy = call->in[5].data + r * w.n;
    const double *more = call->in_count > 6 ? call->in[6].data : NULL;
    double mean = call->in[2].data[r], rstd = call->in[3].data[r], g = 0, gx = 0;
    for (int64_t i = 0; i < w.n; i++) {
        double xhat = (x[i] - mean) * rstd, e = dy[i] * (1 + scale[i]);
        g += weight[i] * e / (double)w.n;
        gx += weight[i] * e * xhat / (double)w.n;
        call->out[1].data[r / w.length * w.n + i] += dy[i];
        call->out[2].data[r / w.length * w.n + i] += dy[i] * weight[i] * xhat;
        call->out[3].data[i] += e * xhat;
    }
    for (int64_t i = 0; i < w.n; i++)
        call->out[0].data[r * w.n + i] =
            rstd * (weight[i] * dy[i] * (1 + scale[i]) - g - (x[i] - mean) * rstd * gx) +
            (more ? more[r * w.n + i] : 0);
}

static void backward_reference(const struct ref_call *call)
{
    struct walk w = walk_of(&call->in[0]);
    for (uint32_t k = 1; k < 4; k++)
        for (int64_t i = 0; i < ref_size(&call->out[k]); i++)
            call->out[k].data[i] = 0;
    for (int64_t r = 0; r < w.rows; r++)
        backward_row(call, w, r);
}

static const struct op_case backward_cases[] = {
    {"f32[2,3,8] f32[8] f32[2,3] f32[2,3] f32[2,8] f32[2,3,8] _", NULL, NULL},
    {"f32[3,1] f32[1] f32[3] f32[3] f32[3,1] f32[3,1] f32[3,1]", NULL, NULL},
    {"f32[71,7] f32[7] f32[71] f32[71] f32[71,7] f32[71,7] _", NULL, NULL},
    {"f32[3,67,37] f32[37] f32[3,67] f32[3,67] f32[3,37] f32[3,67,37] f32[3,67,37]", NULL, NULL},
    {0},
};

const struct op op_norm_modulate_backward = {
    .name = "norm_modulate_backward",
    .doc = "Gradients of norm_modulate.",
    .inputs = backward_inputs,
    .results = backward_results,
    .result_count = 4,
    .flags = OP_INTERNAL | OP_ZERO_GRAD_TWICE,
    .rows = ROWS_ALL,
    .shape = backward_shape,
    .cost = backward_cost,
    .inplace = 1 | 32 | 64,
    .workspace = backward_workspace,
    .reference = backward_reference,
    .cases = backward_cases,
};
