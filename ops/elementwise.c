/* Elementwise ops of one input. The result has the shape and dtype of the input; `cast` changes the
 * dtype. Gradient rules read: dx = dy * (derivative at x, from x or from y = f(x)). */
#include "graph/base/check.h"
#include "ops/kernels/attrs.h"
#include "ops/ops.h"
#include "ops/rules.h"

#include <math.h>

static const struct op_input real_x[] = {
    {"x", IN_REAL, 0, "f32 or f64 of any shape", DOMAIN_ANY},
    {0},
};
static const struct op_input positive_x[] = {
    {"x", IN_REAL, 0, "f32 or f64 of any shape, positive", DOMAIN_POSITIVE},
    {0},
};
static const struct op_case real_cases[] = {
    {"f32[2,3,5]", NULL, NULL},
    {"f64[7]", NULL, NULL},
    {"f32[]", NULL, NULL},
    {"f32[3,1,17]", NULL, NULL},
    {"f64[2,1]", NULL, NULL},
    {"f32[131,137]", NULL, NULL},
    {0},
};

static void each(const struct ref_call *call, double (*f)(double))
{
    for (int64_t i = 0; i < ref_size(&call->out[0]); i++)
        call->out[0].data[i] = f(call->in[0].data[i]);
}

/* The nodes that derivatives are made of. */
static uint32_t mul(struct grad_call *call, uint32_t a, uint32_t b)
{
    return emit2(call->graph, &op_mul, a, b, call->node);
}
static uint32_t quotient(struct grad_call *call, uint32_t a, uint32_t b)
{
    return emit2(call->graph, &op_div, a, b, call->node);
}
static uint32_t one(struct grad_call *call)
{
    enum dtype dtype = graph_type(call->graph, call->node->in[0])->dtype;
    return emit_const(call->graph, dtype, 1, call->node);
}
static uint32_t plus_one(struct grad_call *call, uint32_t x)
{
    return emit2(call->graph, &op_add, x, one(call), call->node);
}

/* A library function of one number: what a vector of libmvec costs, and the traffic. */
static void function_cost(const struct op_call *call, struct op_cost *out)
{
    out->flop = 10 * (double)type_count(&call->out[0]);
    out->bytes = 2 * (double)type_bytes(&call->out[0]);
}

/* neg: y = -x. */
static void neg_grad(struct grad_call *call)
{
    call->din[0] = emit1(call->graph, &op_neg, call->dout[0], call->node);
}
static double neg_of(double x)
{
    return -x;
}
static void neg_reference(const struct ref_call *call)
{
    each(call, neg_of);
}
const struct op op_neg = {
    .name = "neg",
    .doc = "The negative of each element.",
    .inputs = real_x,
    .results = rule_result_y,
    .result_count = 1,
    .rows = ROWS_EACH,
    .shape = rule_like_first,
    .grad = neg_grad,
    .inplace = 1,
    .reference = neg_reference,
    .cases = real_cases,
};

/* exp: y = exp(x); dx = dy y. */
static void exp_grad(struct grad_call *call)
{
    call->din[0] = mul(call, call->dout[0], call->node->out[0]);
}
static void exp_reference(const struct ref_call *call)
{
    each(call, exp);
}
const struct op op_exp = {
    .name = "exp",
    .doc = "The exponential of each element.",
    .inputs = real_x,
    .results = rule_result_y,
    .result_count = 1,
    .rows = ROWS_EACH,
    .shape = rule_like_first,
    .grad = exp_grad,
    .cost = function_cost,
    .inplace = 1,
    .reference = exp_reference,
    .cases = real_cases,
};

/* log: y = log(x); dx = dy / x. */
static void log_grad(struct grad_call *call)
{
    call->din[0] = quotient(call, call->dout[0], call->node->in[0]);
}
static void log_reference(const struct ref_call *call)
{
    each(call, log);
}
const struct op op_log = {
    .name = "log",
    .doc = "The natural logarithm of each element.",
    .inputs = positive_x,
    .results = rule_result_y,
    .result_count = 1,
    .rows = ROWS_EACH,
    .shape = rule_like_first,
    .grad = log_grad,
    .cost = function_cost,
    .inplace = 1,
    .reference = log_reference,
    .cases = real_cases,
};

/* log1p: y = log(1 + x); dx = dy / (1 + x). */
static void log1p_grad(struct grad_call *call)
{
    call->din[0] = quotient(call, call->dout[0], plus_one(call, call->node->in[0]));
}
static void log1p_reference(const struct ref_call *call)
{
    each(call, log1p);
}
const struct op op_log1p = {
    .name = "log1p",
    .doc = "The natural logarithm of one plus each element, exact near zero.",
    .inputs = positive_x,
    .results = rule_result_y,
    .result_count = 1,
    .rows = ROWS_EACH,
    .shape = rule_like_first,
    .grad = log1p_grad,
    .cost = function_cost,
    .inplace = 1,
    .reference = log1p_reference,
    .cases = real_cases,
};

/* expm1: y = exp(x) - 1; dx = dy (1 + y). */
static void expm1_grad(struct grad_call *call)
{
    call->din[0] = mul(call, call->dout[0], plus_one(call, call->node->out[0]));
}
static void expm1_reference(const struct ref_call *call)
{
    each(call, expm1);
}
const struct op op_expm1 = {
    .name = "expm1",
    .doc = "The exponential of each element less one, exact near zero.",
    .inputs = real_x,
    .results = rule_result_y,
    .result_count = 1,
    .rows = ROWS_EACH,
    .shape = rule_like_first,
    .grad = expm1_grad,
    .cost = function_cost,
    .inplace = 1,
    .reference = expm1_reference,
    .cases = real_cases,
};

/* sqrt: y = sqrt(x); dx = dy / 2y. */
static void sqrt_grad(struct grad_call *call)
{
    uint32_t y = call->node->out[0];
    uint32_t twice = emit2(call->graph, &op_add, y, y, call->node);
    call->din[0] = quotient(call, call->dout[0], twice);
}
static void sqrt_reference(const struct ref_call *call)
{
    each(call, sqrt);
}
const struct op op_sqrt = {
    .name = "sqrt",
    .doc = "The square root of each element.",
    .inputs = positive_x,
    .results = rule_result_y,
    .result_count = 1,
    .rows = ROWS_EACH,
    .shape = rule_like_first,
    .grad = sqrt_grad,
    .inplace = 1,
    .reference = sqrt_reference,
    .cases = real_cases,
};

/* sin: y = sin(x); dx = dy cos(x). */
static void sin_grad(struct grad_call *call)
{
    uint32_t slope = emit1(call->graph, &op_cos, call->node->in[0], call->node);
    call->din[0] = mul(call, call->dout[0], slope);
}
static void sin_reference(const struct ref_call *call)
{
    each(call, sin);
}
const struct op op_sin = {
    .name = "sin",
    .doc = "The sine of each element.",
    .inputs = real_x,
    .results = rule_result_y,
    .result_count = 1,
    .rows = ROWS_EACH,
    .shape = rule_like_first,
    .grad = sin_grad,
    .cost = function_cost,
    .inplace = 1,
    .reference = sin_reference,
    .cases = real_cases,
};

/* cos: y = cos(x); dx = -dy sin(x). */
static void cos_grad(struct grad_call *call)
{
    uint32_t slope = emit1(call->graph, &op_sin, call->node->in[0], call->node);
    uint32_t product = mul(call, call->dout[0], slope);
    call->din[0] = emit1(call->graph, &op_neg, product, call->node);
}
static void cos_reference(const struct ref_call *call)
{
    each(call, cos);
}
const struct op op_cos = {
    .name = "cos",
    .doc = "The cosine of each element.",
    .inputs = real_x,
    .results = rule_result_y,
    .result_count = 1,
    .rows = ROWS_EACH,
    .shape = rule_like_first,
    .grad = cos_grad,
    .cost = function_cost,
    .inplace = 1,
    .reference = cos_reference,
    .cases = real_cases,
};

/* tanh: y = tanh(x); dx = dy (1 - y^2). */
static void tanh_grad(struct grad_call *call)
{
    uint32_t y = call->node->out[0];
    uint32_t slope = emit2(call->graph, &op_sub, one(call), mul(call, y, y), call->node);
    call->din[0] = mul(call, call->dout[0], slope);
}
static void tanh_reference(const struct ref_call *call)
{
    each(call, tanh);
}
const struct op op_tanh = {
    .name = "tanh",
    .doc = "The hyperbolic tangent of each element.",
    .inputs = real_x,
    .results = rule_result_y,
    .result_count = 1,
    .rows = ROWS_EACH,
    .shape = rule_like_first,
    .grad = tanh_grad,
    .cost = function_cost,
    .inplace = 1,
    .reference = tanh_reference,
    .cases = real_cases,
};

/* not: y = 1 where x = 0, else 0. */
static const struct op_input not_inputs[] = {
    {"x", IN_BOOL, 0, "bool of any shape", DOMAIN_ANY},
    {0},
};
static double not_of(double x)
{
    return x == 0;
}
static void not_reference(const struct ref_call *call)
{
    each(call, not_of);
}
static const struct op_case not_cases[] = {
    {"bool[2,3,5]", NULL, NULL},
    {"bool[]", NULL, NULL},
    {"bool[1,17]", NULL, NULL},
    {0},
};
const struct op op_not = {
    .name = "not",
    .doc = "True where the input is false.",
    .inputs = not_inputs,
    .results = rule_result_y,
    .result_count = 1,
    .flags = OP_NO_GRAD,
    .rows = ROWS_EACH,
    .shape = rule_like_first,
    .inplace = 1,
    .reference = not_reference,
    .cases = not_cases,
};

/* cast: the nearest value of another dtype. To i32: towards zero, held within its range, NaN gives
 * 0. To bool: true where x != 0. Gradients pass between f32 and f64 only. */
static const struct op_input cast_inputs[] = {
    {"x", IN_ANY, 0, "any dtype and shape", DOMAIN_ANY},
    {0},
};
static const char *const cast_choices[] = {"f32", "f64", "i32", "bool", NULL};
static const enum dtype cast_dtype[] = {DT_F32, DT_F64, DT_I32, DT_BOOL};
static const struct op_attr cast_attrs[] = {
    [CAST_TO] = {"to", ATTR_CHOICE, NULL, "dtype of the result", cast_choices},
    {0},
};

static bool cast_shape(struct op_call *call)
{
    rule_like_first(call);
    call->out[0].dtype = cast_dtype[call->attr[CAST_TO].integer];
    call->out[0].process = 0;
    return true;
}

uint32_t emit_cast(struct graph *graph, uint32_t x, enum dtype to, const struct node *like)
{
    int64_t choice = 0, choices = sizeof cast_dtype / sizeof *cast_dtype;
    while (choice < choices && cast_dtype[choice] != to)
        choice++;
    BUG_ON(choice == choices);
    union attr attr[] = {[CAST_TO] = {.integer = choice}};
    return graph_emit(graph, &op_cast, &x, 1, attr, like);
}

static void cast_grad(struct grad_call *call)
{
    enum dtype from = graph_type(call->graph, call->node->in[0])->dtype;
    enum dtype to = graph_type(call->graph, call->node->out[0])->dtype;
    if (!dtype_real(from) || !dtype_real(to))
        return;
    call->din[0] = emit_cast(call->graph, call->dout[0], from, call->node);
}

static double to_int(double x)
{
    if (isnan(x))
        return 0;
    return trunc(fmin(fmax(x, INT32_MIN), INT32_MAX));
}
static double to_bool(double x)
{
    return x != 0;
}
static double to_real(double x)
{
    return x;
}
static void cast_reference(const struct ref_call *call)
{
    static double (*const of[])(double) = {to_real, to_real, to_int, to_bool};
    each(call, of[call->attr[CAST_TO].integer]);
}

static const struct op_case cast_cases[] = {
    {"f32[2,3,5]", "to=f64", NULL},
    {"f64[7]", "to=f32", NULL},
    {"f32[3,1]", "to=i32", NULL},
    {"f64[5]", "to=bool", NULL},
    {"bool[3,5]", "to=f32", NULL},
    {"token[2,3]", "to=i32", "absorb 5"},
    {"token[7]", "to=f64", "uniform 4"},
    {"i32[]", "to=f32", NULL},
    {"f32[1,7]", "to=f32", NULL},
    {"f32[131,137]", "to=f64", NULL},
    {0},
};
const struct op op_cast = {
    .name = "cast",
    .doc = "The same values in another dtype.",
    .inputs = cast_inputs,
    .attrs = cast_attrs,
    .results = rule_result_y,
    .result_count = 1,
    .rows = ROWS_EACH,
    .shape = cast_shape,
    .grad = cast_grad,
    .inplace = 1,
    .reference = cast_reference,
    .cases = cast_cases,
};
