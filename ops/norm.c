/* layer_norm and its backward op. Called through the table in ops/table.c. */
#include "ops/kernels/attrs.h"
#include "ops/ops.h"
#include "ops/rules.h"

#include <math.h>

/* layer_norm on the last axis, of n numbers (Ba, Kiros, Hinton 2016).
 *   x [..., n], w [n], b [n] -> y [..., n], mean [...], rstd [...]
 *
 *   mean = sum x / n,  rstd = 1 / sqrt(sum (x - mean)^2 / n + eps),  xhat = (x - mean) rstd
 *   y = w xhat + b
 *
 * With g = w dy:  dx = rstd (g - mean(g) - xhat mean(g xhat)),  dw = sum dy xhat,  db = sum dy */
static const struct op_attr norm_attrs[] = {
    [NORM_BIAS] = {"bias", ATTR_BOOL, "true", "add a bias [n]", NULL},
    [NORM_EPS] = {"eps", ATTR_REAL, "1e-5", "added to the variance", NULL},
    {0},
};

static const struct op_input norm_inputs[] = {
    {"x", IN_F32, 0, "f32 [..., n]", DOMAIN_ANY},
    {"weight", IN_F32, INPUT_PARAM | INPUT_OPTIONAL, "f32 [n]", DOMAIN_ANY},
    {"bias", IN_F32, INPUT_PARAM | INPUT_OPTIONAL, "f32 [n], with bias: true", DOMAIN_ANY},
    {0},
};

static const char *const norm_results[] = {"y", "mean", "rstd", NULL};

static uint32_t norm_params(const struct op_call *call, struct op_param *out)
{
    const struct type *x = &call->in[0];
    if (x->rank == TYPE_ABSENT || x->rank == 0)
        return 0; /* the shape rule says what is wrong */
    struct type row = {.dtype = DT_F32, .rank = 1, .dim = {{x->dim[x->rank - 1].size, 0}}};
    out[0] = (struct op_param){"weight", row, INIT_ONE, 0};
    out[1] = (struct op_param){"bias", row, INIT_ZERO, 0};
    return call->attr[NORM_BIAS].flag ? 2 : 1;
}

/* Whether input I is a row as long as the last axis of x. */
static bool check_row(const struct op_call *call, uint32_t i)
{
    const struct type *x = &call->in[0];
    int64_t n = x->dim[x->rank - 1].size;
    if (op_has(call, i) && call->in[i].rank == 1 && call->in[i].dim[0].size == n)
        return true;
    return op_error(call, "`%s` must be f32 [%lld]", call->op->inputs[i].name, (long long)n);
}

static bool norm_shape(struct op_call *call)
{
    const struct type *x = &call->in[0];
    if (x->rank == 0)
        return op_error(call, "x must have at least one axis, not be a scalar");
    if (!check_row(call, 1) || (call->attr[NORM_BIAS].flag && !check_row(call, 2)))
        return false;
    if (!call->attr[NORM_BIAS].flag && op_has(call, 2))
        return op_error(call, "bias: false, but there is one");
    if (!(call->attr[NORM_EPS].real > 0))
        return op_error(call, "eps must be positive, not %g", call->attr[NORM_EPS].real);
    call->out[0] = call->out[1] = call->out[2] = *x;
    call->out[1].rank = call->out[2].rank = x->rank - 1;
    return true;
}

static void norm_grad(struct grad_call *call)
{
    const struct node *n = call->node;
    uint32_t in[] = {n->in[0], n->in[1], n->out[1], n->out[2], call->dout[0]};
    uint32_t dx = graph_emit(call->graph, &op_layer_norm_backward, in, 5, NULL, n);
    const uint32_t *out = call->graph->nodes[call->graph->values[dx].node].out;
    for (uint32_t i = 0; i < n->in_count; i++)
        if (n->in[i] && call->need[i])
            call->din[i] = out[i];
}

static void norm_cost(const struct op_call *call, struct op_cost *out)
{
    double n = (double)type_count(&call->in[0]);
    out->flop = 8 * n;
    out->bytes = 8 * n;
}

static void norm_reference(const struct ref_call *call)
{
    const struct ref_tensor *x = &call->in[0];
    const double *weight = call->in[1].data, *bias = call->in_count > 2 ? call->in[2].data : NULL;
    int64_t n = x->dim[x->rank - 1], rows = ref_lead(x, x->rank - 1);
    for (int64_t r = 0; r < rows; r++) {
        const double *from = x->data + r * n;
        double mean = 0, square = 0;
        for (int64_t i = 0; i < n; i++)
            mean += from[i] / (double)n;
        for (int64_t i = 0; i < n; i++)
            square += (from[i] - mean) * (from[i] - mean) / (double)n;
        double rstd = 1 / sqrt(square + call->attr[NORM_EPS].real);
        for (int64_t i = 0; i < n; i++)
            call->out[0].data[r * n + i] =
                weight[i] * (from[i] - mean) * rstd + (bias ? bias[i] : 0);
        call->out[1].data[r] = mean;
        call->out[2].data[r] = rstd;
    }
}

static const struct op_case norm_cases[] = {
    {"f32[2,3,8]", "bias=false", NULL}, {"f32[5,7]", NULL, NULL},
    {"f32[3,2,1]", NULL, NULL},         {"f32[13]", "bias=false eps=1e-3", NULL},
    {"f32[3,37,67]", NULL, NULL},       {0},
};

const struct op op_layer_norm = {
    .name = "layer_norm",
    .doc = "Makes the last axis have mean 0 and variance 1, then scales and shifts it.",
    .inputs = norm_inputs,
    .attrs = norm_attrs,
    .results = norm_results,
    .result_count = 3,
    .visible = 1,
    .rows = ROWS_EACH,
    .params = norm_params,
    .shape = norm_shape,
    .grad = norm_grad,
    .cost = norm_cost,
    .inplace = 1,
    .reference = norm_reference,
    .cases = norm_cases,
};

/* layer_norm_backward: the formulas above, from the saved mean and rstd.
 *   x, w, mean, rstd, dy -> dx [..., n], dw [n], db [n]
 *
 * The sums over rows are made in NORM_BLOCKS blocks of rows, added up in order. */
static const struct op_input backward_inputs[] = {
    {"x", IN_F32, 0, "f32 [..., n]", DOMAIN_ANY},
    {"weight", IN_F32, 0, "f32 [n]", DOMAIN_ANY},
    {"mean", IN_F32, 0, "f32 [...]", DOMAIN_ANY},
    {"rstd", IN_F32, 0, "f32 [...]", DOMAIN_POSITIVE},
    {"dy", IN_F32, 0, "f32 [..., n]", DOMAIN_ANY},
    {0},
};

static const char *const backward_results[] = {"dx", "dweight", "dbias", NULL};

static bool backward_shape(struct op_call *call)
{
    const struct type *x = &call->in[0];
    if (x->rank == 0 || !check_row(call, 1))
        return false;
    if (!rule_same_axes(call, 0, 2, x->rank - 1) || !rule_same_axes(call, 0, 3, x->rank - 1) ||
        !rule_same_axes(call, 0, 4, x->rank))
        return false;
    call->out[0] = *x;
    call->out[1] = call->out[2] = call->in[1];
    return true;
}

static void backward_cost(const struct op_call *call, struct op_cost *out)
{
    double n = (double)type_count(&call->in[0]);
    out->flop = 14 * n;
    out->bytes = 12 * n;
}

static int64_t backward_workspace(const struct op_call *call)
{
    return 2 * NORM_BLOCKS * type_bytes(&call->in[1]);
}

static void backward_reference(const struct ref_call *call)
{
    const struct ref_tensor *x = &call->in[0];
    const double *w = call->in[1].data;
    int64_t n = x->dim[x->rank - 1], rows = ref_lead(x, x->rank - 1);
    double *dw = call->out[1].data, *db = call->out[2].data;
    for (int64_t i = 0; i < n; i++)
        dw[i] = db[i] = 0;
    for (int64_t r = 0; r < rows; r++) {
        const double *from = x->data + r * n, *dy = call->in[4].data + r * n;
        double mean = call->in[2].data[r], rstd = call->in[3].data[r], g = 0, gx = 0;
        for (int64_t i = 0; i < n; i++) {
            double xhat = (from[i] - mean) * rstd;
            g += w[i] * dy[i] / (double)n;
            gx += w[i] * dy[i] * xhat / (double)n;
            dw[i] += dy[i] * xhat;
            db[i] += dy[i];
        }
        for (int64_t i = 0; i < n; i++)
            call->out[0].data[r * n + i] = rstd * (w[i] * dy[i] - g - (from[i] - mean) * rstd * gx);
    }
}

static const struct op_case backward_cases[] = {
    {"f32[2,3,8] f32[8] f32[2,3] f32[2,3] f32[2,3,8]", NULL, NULL},
    {"f32[3,1] f32[1] f32[3] f32[3] f32[3,1]", NULL, NULL},
    {"f32[7] f32[7] f32[] f32[] f32[7]", NULL, NULL},
    {"f32[3,37,67] f32[67] f32[3,37] f32[3,37] f32[3,37,67]", NULL, NULL},
    {0},
};

const struct op op_layer_norm_backward = {
    .name = "layer_norm_backward",
    .doc = "Gradients of layer_norm.",
    .inputs = backward_inputs,
    .results = backward_results,
    .result_count = 3,
    .flags = OP_INTERNAL | OP_ZERO_GRAD_TWICE,
    .rows = ROWS_ALL,
    .shape = backward_shape,
    .cost = backward_cost,
    .inplace = 1 | 16,
    .workspace = backward_workspace,
    .reference = backward_reference,
    .cases = backward_cases,
};
