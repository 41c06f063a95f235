/* gelu and silu with their backward ops, elementwise on f32. Called through the table in
 * ops/table.c. */
#include "ops/kernels/attrs.h"
#include "ops/ops.h"
#include "ops/rules.h"

#include <math.h>

static const struct op_input x_inputs[] = {
    {"x", IN_F32, 0, "f32 [...]", DOMAIN_ANY},
    {0},
};

static const struct op_input backward_inputs[] = {
    {"x", IN_F32, 0, "f32 [...]", DOMAIN_ANY},
    {"dy", IN_F32, 0, "f32 [...], of the shape of x", DOMAIN_ANY},
    {0},
};

static const char *const dx_results[] = {"dx", NULL};

static bool backward_shape(struct op_call *call)
{
    if (!type_same_shape(&call->in[0], &call->in[1]))
        return op_error(call, "%s and %s must have one shape", rule_print(call, 0),
                        rule_print(call, 1));
    return rule_like_first(call);
}

static void map_cost(const struct op_call *call, struct op_cost *out)
{
    double n = (double)type_count(&call->in[0]);
    out->flop = GELU_FLOP * n;
    out->bytes = 4 * n * (call->in_count + 1);
}

static const struct op_case silu_cases[] = {
    {"f32[2,3,8]", NULL, NULL},
    {"f32[1]", NULL, NULL},
    {"f32[7,131]", NULL, NULL},
    {0},
};

static const struct op_case silu_backward_cases[] = {
    {"f32[2,3,8] f32[2,3,8]", NULL, NULL},
    {"f32[1] f32[1]", NULL, NULL},
    {"f32[7,131] f32[7,131]", NULL, NULL},
    {0},
};

static const struct op_case gelu_cases[] = {
    {"f32[2,3,8]", NULL, NULL},
    {"f32[1]", "form=erf", NULL},
    {"f32[7,131]", "form=erf", NULL},
    {"f32[5,67]", "form=tanh", NULL},
    {0},
};

static const struct op_case gelu_backward_cases[] = {
    {"f32[2,3,8] f32[2,3,8]", NULL, NULL},
    {"f32[1] f32[1]", "form=erf", NULL},
    {"f32[7,131] f32[7,131]", "form=erf", NULL},
    {"f32[5,67] f32[5,67]", "form=tanh", NULL},
    {0},
};

/* gelu (Hendrycks, Gimpel 2016): y = x Phi(x), Phi the normal distribution function.
 *   erf    Phi(x) = (1 + erf(x / sqrt 2)) / 2,   dy/dx = Phi(x) + x exp(-x^2/2) / sqrt(2 pi)
 *   tanh   Phi(x) ~ (1 + tanh u) / 2,  u = c (x + a x^3),   dy/dx = Phi + x (1 - tanh^2 u) u' / 2
 * with c = sqrt(2/pi), a = 0.044715. The derivative is that of the form chosen. */
static const struct op_attr gelu_attrs[] = {
    [GELU_FORM] = {"form", ATTR_CHOICE, "tanh", "tanh: the approximation GPT-2 uses; erf: exact",
                   rule_gelu_forms},
    {0},
};

static void gelu_grad(struct grad_call *call)
{
    const struct node *n = call->node;
    call->din[0] = graph_emit(call->graph, &op_gelu_backward, (uint32_t[]){n->in[0], call->dout[0]},
                              2, n->attr, n);
}

double gelu_phi(double x, int64_t form, double *slope)
{
    const double c = 0.79788456080286535588, a = 0.044715;
    if (form == GELU_ERF) {
        *slope = exp(-x * x / 2) * 0.39894228040143267794;
        return (1 + erf(x * 0.70710678118654752440)) / 2;
    }
    double t = tanh(c * (x + a * x * x * x));
    *slope = (1 - t * t) * c * (1 + 3 * a * x * x) / 2;
    return (1 + t) / 2;
}

static void gelu_reference(const struct ref_call *call)
{
    int64_t n = ref_size(&call->in[0]);
    for (int64_t i = 0; i < n; i++) {
        double x = call->in[0].data[i], slope;
        call->out[0].data[i] = x * gelu_phi(x, call->attr[GELU_FORM].integer, &slope);
    }
}

const struct op op_gelu = {
    .name = "gelu",
    .doc = "x times the normal distribution function of x.",
    .inputs = x_inputs,
    .attrs = gelu_attrs,
    .results = rule_result_y,
    .result_count = 1,
    .rows = ROWS_EACH,
    .shape = rule_like_first,
    .grad = gelu_grad,
    .cost = map_cost,
    .inplace = 1,
    .reference = gelu_reference,
    .cases = gelu_cases,
};

static void gelu_backward_reference(const struct ref_call *call)
{
    int64_t n = ref_size(&call->in[0]);
    for (int64_t i = 0; i < n; i++) {
        double x = call->in[0].data[i], slope;
        double p = gelu_phi(x, call->attr[GELU_FORM].integer, &slope);
        call->out[0].data[i] = call->in[1].data[i] * (p + x * slope);
    }
}

const struct op op_gelu_backward = {
    .name = "gelu_backward",
    .doc = "Gradient of gelu.",
    .inputs = backward_inputs,
    .attrs = gelu_attrs,
    .results = dx_results,
    .result_count = 1,
    .flags = OP_INTERNAL | OP_ZERO_GRAD_TWICE,
    .rows = ROWS_EACH,
    .shape = backward_shape,
    .cost = map_cost,
    .inplace = 1 | 2,
    .reference = gelu_backward_reference,
    .cases = gelu_backward_cases,
};

/* silu: y = x s(x), s(x) = 1 / (1 + exp(-x)).   dy/dx = s (1 + x (1 - s)) */
static void silu_grad(struct grad_call *call)
{
    const struct node *n = call->node;
    call->din[0] = emit2(call->graph, &op_silu_backward, n->in[0], call->dout[0], n);
}

static void silu_reference(const struct ref_call *call)
{
    int64_t n = ref_size(&call->in[0]);
    for (int64_t i = 0; i < n; i++) {
        double x = call->in[0].data[i];
        call->out[0].data[i] = x / (1 + exp(-x));
    }
}

const struct op op_silu = {
    .name = "silu",
    .doc = "x times the logistic function of x.",
    .inputs = x_inputs,
    .results = rule_result_y,
    .result_count = 1,
    .rows = ROWS_EACH,
    .shape = rule_like_first,
    .grad = silu_grad,
    .cost = map_cost,
    .inplace = 1,
    .reference = silu_reference,
    .cases = silu_cases,
};

static void silu_backward_reference(const struct ref_call *call)
{
    int64_t n = ref_size(&call->in[0]);
    for (int64_t i = 0; i < n; i++) {
        double x = call->in[0].data[i], s = 1 / (1 + exp(-x));
        call->out[0].data[i] = call->in[1].data[i] * s * (1 + x * (1 - s));
    }
}

const struct op op_silu_backward = {
    .name = "silu_backward",
    .doc = "Gradient of silu.",
    .inputs = backward_inputs,
    .results = dx_results,
    .result_count = 1,
    .flags = OP_INTERNAL | OP_ZERO_GRAD_TWICE,
    .rows = ROWS_EACH,
    .shape = backward_shape,
    .cost = map_cost,
    .inplace = 1 | 2,
    .reference = silu_backward_reference,
    .cases = silu_backward_cases,
};
