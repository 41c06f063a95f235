/* linear and its weight gradient. Called through the table in ops/table.c. */
#include "ops/kernels/attrs.h"
#include "ops/kernels/product_room.h"
#include "ops/ops.h"
#include "ops/rules.h"

#include <math.h>

static const char *const inits[] = {"fan_in", "zeros", "normal", NULL};
enum { FAN_IN, ZEROS, NORMAL };

static const struct op_attr linear_attrs[] = {
    [LINEAR_OUT] = {"out", ATTR_INT, NULL, "size of the last axis of the result", NULL},
    [LINEAR_BIAS] = {"bias", ATTR_BOOL, "true", "add a bias [out]", NULL},
    [LINEAR_LAYOUT] = {"layout", ATTR_CHOICE, "out_in",
                       "how the weight is stored: [out, in], or [in, out] as in GPT-2",
                       rule_layouts},
    [LINEAR_INIT] = {"init", ATTR_CHOICE, "fan_in",
                     "fan_in: weight and bias uniform on +-1/sqrt(in); zeros; normal: weight with "
                     "standard deviation std, bias zero",
                     inits},
    [LINEAR_STD] = {"std", ATTR_REAL, "0.02", "standard deviation for init: normal", NULL},
    {0},
};

/* The type of a matrix [OUT, IN] in LAYOUT. */
static struct type weight_type(int64_t layout, int64_t out, int64_t in)
{
    struct type type = {.dtype = DT_F32, .rank = 2};
    type.dim[0].size = layout == LAYOUT_OUT_IN ? out : in;
    type.dim[1].size = layout == LAYOUT_OUT_IN ? in : out;
    return type;
}

/* linear: y = x W^T + b on the last axis.   x [..., in], W [out, in], b [out] -> y [..., out]
 *
 *   dx = dy W,   dW = sum over rows of dy^T x,   db = sum over rows of dy */
static const struct op_input linear_inputs[] = {
    {"x", IN_F32, 0, "f32 [..., in]", DOMAIN_ANY},
    {"weight", IN_F32, INPUT_PARAM | INPUT_OPTIONAL, "f32 [out, in], or [in, out]", DOMAIN_ANY},
    {"bias", IN_F32, INPUT_PARAM | INPUT_OPTIONAL, "f32 [out], with bias: true", DOMAIN_ANY},
    {0},
};

static uint32_t linear_params(const struct op_call *call, struct op_param *out)
{
    const struct type *x = &call->in[0];
    int64_t size = call->attr[LINEAR_OUT].integer, init = call->attr[LINEAR_INIT].integer;
    if (x->rank == TYPE_ABSENT || x->rank == 0 || size < 1)
        return 0; /* the shape rule says what is wrong */
    double bound = 1 / sqrt((double)rule_last(x));
    struct type weight = weight_type(call->attr[LINEAR_LAYOUT].integer, size, rule_last(x));
    struct type bias = {.dtype = DT_F32, .rank = 1, .dim = {{size, 0}}};
    out[0] = (struct op_param){"weight", weight, INIT_UNIFORM, bound};
    out[1] = (struct op_param){"bias", bias, INIT_UNIFORM, bound};
    if (init == ZEROS)
        out[0].init = out[1].init = INIT_ZERO, out[0].scale = out[1].scale = 0;
    if (init == NORMAL) {
        out[0].init = INIT_NORMAL, out[0].scale = call->attr[LINEAR_STD].real;
        out[1].init = INIT_ZERO, out[1].scale = 0;
    }
    return call->attr[LINEAR_BIAS].flag ? 2 : 1;
}

static bool linear_shape(struct op_call *call)
{
    const struct type *x = &call->in[0];
    int64_t size = call->attr[LINEAR_OUT].integer;
    if (x->rank == 0)
        return op_error(call, "x must have at least one axis, not be a scalar");
    if (size < 1)
        return op_error(call, "out must be at least 1, not %lld", (long long)size);
    struct type weight = weight_type(call->attr[LINEAR_LAYOUT].integer, size, rule_last(x));
    if (!op_has(call, 1) || !type_same_shape(&call->in[1], &weight))
        return op_error(call, "weight must be %s",
                        type_print(call->graph->arena, call->graph, &weight));
    bool bias = call->attr[LINEAR_BIAS].flag;
    if (bias != op_has(call, 2))
        return op_error(call, "bias: %s, but %s", bias ? "true" : "false",
                        bias ? "there is none" : "there is one");
    if (bias && (call->in[2].rank != 1 || rule_last(&call->in[2]) != size))
        return op_error(call, "bias must be f32 [%lld], not %s", (long long)size,
                        rule_print(call, 2));
    call->out[0] = *x;
    call->out[0].dim[x->rank - 1] = (struct dim){size, 0};
    return true;
}

/* x W^T for a weight stored in LAYOUT. */
static uint32_t emit_product(struct graph *graph, uint32_t x, uint32_t weight, int64_t layout,
                             const struct node *like)
{
    const struct type *w = graph_type(graph, weight);
    union attr attr[] = {
        [LINEAR_OUT] = {.integer = w->dim[layout == LAYOUT_OUT_IN ? 0 : 1].size},
        [LINEAR_BIAS] = {.flag = false},
        [LINEAR_LAYOUT] = {.integer = layout},
        [LINEAR_INIT] = {.integer = FAN_IN},
        [LINEAR_STD] = {.real = 0},
    };
    return graph_emit(graph, &op_linear, (uint32_t[]){x, weight}, 2, attr, like);
}

static int64_t other(int64_t layout)
{
    return layout == LAYOUT_OUT_IN ? LAYOUT_IN_OUT : LAYOUT_OUT_IN;
}

static void linear_grad(struct grad_call *call)
{
    const struct node *n = call->node;
    uint32_t x = n->in[0], dy = call->dout[0];
    int64_t layout = n->attr[LINEAR_LAYOUT].integer;
    if (call->need[0])
        call->din[0] = emit_product(call->graph, dy, n->in[1], other(layout), n);
    if (call->need[1]) {
        union attr attr[] = {[WEIGHT_GRAD_LAYOUT] = {.integer = layout}};
        call->din[1] =
            graph_emit(call->graph, &op_linear_weight_grad, (uint32_t[]){x, dy}, 2, attr, n);
    }
    if (n->in_count > 2 && n->in[2] && call->need[2]) {
        struct type bias = *graph_type(call->graph, n->in[2]);
        call->din[2] = emit_shaped(call->graph, &op_sum_to, dy, &bias, n);
    }
}

static void linear_cost(const struct op_call *call, struct op_cost *out)
{
    double weight = (double)type_count(&call->in[1]);
    cost_product(out, type_count(&call->in[0]) / rule_last(&call->in[0]), rule_last(&call->out[0]),
                 rule_last(&call->in[0]));
    out->flop = out->model;
    out->bytes =
        4 * (weight + (double)type_count(&call->in[0]) + (double)type_count(&call->out[0]));
}

static int64_t linear_workspace(const struct op_call *call)
{
    const struct type *x = &call->in[0];
    return product_room_bytes(type_count(x) / rule_last(x), rule_last(&call->out[0]), rule_last(x));
}

static void linear_reference(const struct ref_call *call)
{
    const struct ref_tensor *x = &call->in[0], *w = &call->in[1], *y = &call->out[0];
    const double *bias = call->in_count > 2 ? call->in[2].data : NULL;
    bool out_in = call->attr[LINEAR_LAYOUT].integer == LAYOUT_OUT_IN;
    int64_t rows = ref_lead(x, x->rank - 1), in = x->dim[x->rank - 1], out = y->dim[y->rank - 1];
    for (int64_t r = 0; r < rows; r++)
        for (int64_t o = 0; o < out; o++) {
            double sum = bias ? bias[o] : 0;
            for (int64_t i = 0; i < in; i++)
                sum += x->data[r * in + i] * w->data[out_in ? o * in + i : i * out + o];
            y->data[r * out + o] = sum;
        }
}

static const struct op_case linear_cases[] = {
    {"f32[2,3,8]", "out=7", NULL},
    {"f32[1,1,1]", "out=1 bias=false", NULL},
    {"f32[5,7]", "out=3 layout=in_out", NULL},
    {"f32[13]", "out=37 bias=false layout=in_out", NULL},
    {"f32[3,13,31]", "out=67", NULL},
    {"f32[3,13,31]", "out=33 layout=in_out bias=false", NULL},
    {"f32[2,2]", "out=301", NULL},
    {0},
};

const struct op op_linear = {
    .name = "linear",
    .doc = "Affine map of the last axis, y = x W^T + b.",
    .inputs = linear_inputs,
    .attrs = linear_attrs,
    .results = rule_result_y,
    .result_count = 1,
    .rows = ROWS_EACH,
    .params = linear_params,
    .shape = linear_shape,
    .grad = linear_grad,
    .cost = linear_cost,
    .workspace = linear_workspace,
    .reference = linear_reference,
    .cases = linear_cases,
};

/* linear_weight_grad: the contraction of two tensors over all but their last axes.
 *   x [..., in], dy [..., out] -> dW = dy^T x [out, in], or x^T dy [in, out]
 *
 * It is bilinear, so that its own gradients are linear maps of the other input:
 *   d x = dy G,   d dy = x G^T   for the gradient G [out, in] of dW. */
static const struct op_input weight_grad_inputs[] = {
    {"x", IN_F32, 0, "f32 [..., in]", DOMAIN_ANY},
    {"dy", IN_F32, 0, "f32 [..., out]", DOMAIN_ANY},
    {0},
};

static const struct op_attr weight_grad_attrs[] = {
    [WEIGHT_GRAD_LAYOUT] = {"layout", ATTR_CHOICE, "out_in", "as of the linear map", rule_layouts},
    {0},
};

static const char *const weight_grad_results[] = {"dweight", NULL};

static bool weight_grad_shape(struct op_call *call)
{
    const struct type *x = &call->in[0], *dy = &call->in[1];
    if (x->rank == 0 || dy->rank != x->rank)
        return op_error(call, "%s and %s must have the same number of axes, at least one",
                        rule_print(call, 0), rule_print(call, 1));
    if (!rule_same_axes(call, 0, 1, x->rank - 1))
        return false;
    call->out[0] = weight_type(call->attr[WEIGHT_GRAD_LAYOUT].integer, rule_last(dy), rule_last(x));
    return true;
}

static void weight_grad_grad(struct grad_call *call)
{
    const struct node *n = call->node;
    int64_t layout = n->attr[WEIGHT_GRAD_LAYOUT].integer;
    uint32_t g = call->dout[0];
    if (call->need[0])
        call->din[0] = emit_product(call->graph, n->in[1], g, other(layout), n);
    if (call->need[1])
        call->din[1] = emit_product(call->graph, n->in[0], g, layout, n);
}

static void weight_grad_cost(const struct op_call *call, struct op_cost *out)
{
    double x = (double)type_count(&call->in[0]), dy = (double)type_count(&call->in[1]);
    cost_product(out, call->out[0].dim[0].size, call->out[0].dim[1].size,
                 type_count(&call->in[0]) / rule_last(&call->in[0]));
    out->flop = out->model;
    out->bytes = 4 * (x + dy + (double)type_count(&call->out[0]));
}

static int64_t weight_grad_workspace(const struct op_call *call)
{
    const struct type *x = &call->in[0], *dw = &call->out[0];
    return product_room_bytes(dw->dim[0].size, dw->dim[1].size, type_count(x) / rule_last(x));
}

static void weight_grad_reference(const struct ref_call *call)
{
    const struct ref_tensor *x = &call->in[0], *dy = &call->in[1], *dw = &call->out[0];
    bool out_in = call->attr[WEIGHT_GRAD_LAYOUT].integer == LAYOUT_OUT_IN;
    int64_t rows = ref_lead(x, x->rank - 1);
    int64_t in = x->dim[x->rank - 1], out = dy->dim[dy->rank - 1];
    for (int64_t o = 0; o < out; o++)
        for (int64_t i = 0; i < in; i++) {
            double sum = 0;
            for (int64_t r = 0; r < rows; r++)
                sum += dy->data[r * out + o] * x->data[r * in + i];
            dw->data[out_in ? o * in + i : i * out + o] = sum;
        }
}

static const struct op_case weight_grad_cases[] = {
    {"f32[2,3,8] f32[2,3,7]", NULL, NULL},           {"f32[1,1] f32[1,1]", NULL, NULL},
    {"f32[37,5] f32[37,41]", "layout=in_out", NULL}, {"f32[11] f32[3]", NULL, NULL},
    {"f32[5,13,67] f32[5,13,35]", NULL, NULL},       {0},
};

const struct op op_linear_weight_grad = {
    .name = "linear_weight_grad",
    .doc = "Contraction of x and dy over all axes but the last: the gradient of a linear weight.",
    .inputs = weight_grad_inputs,
    .attrs = weight_grad_attrs,
    .results = weight_grad_results,
    .result_count = 1,
    .flags = OP_INTERNAL,
    .rows = ROWS_ALL,
    .shape = weight_grad_shape,
    .grad = weight_grad_grad,
    .cost = weight_grad_cost,
    .workspace = weight_grad_workspace,
    .reference = weight_grad_reference,
    .cases = weight_grad_cases,
};
