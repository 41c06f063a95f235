/* Elementwise ops of two inputs, and `where`. Inputs broadcast by numpy's rule: trailing axes
 * align, an axis of size 1 stretches. f32 with f64 gives f64. The walker of the grad pass reduces a
 * gradient to the shape and dtype of its input, so that rules here write it at the full shape. */
#include "ops/kernels/attrs.h"
#include "ops/ops.h"
#include "ops/rules.h"

#include <math.h>

static const struct op_input real_pair[] = {
    {"a", IN_REAL, 0, "f32 or f64 of any shape", DOMAIN_ANY},
    {"b", IN_REAL, 0, "f32 or f64, broadcast with a", DOMAIN_ANY},
    {0},
};
static const struct op_input positive_pair[] = {
    {"a", IN_REAL, 0, "f32 or f64 of any shape", DOMAIN_POSITIVE},
    {"b", IN_REAL, 0, "f32 or f64, broadcast with a; not 0 where it divides", DOMAIN_POSITIVE},
    {0},
};
static const struct op_case pair_cases[] = {
    {"f32[2,3,5] f32[2,3,5]", NULL, NULL},
    {"f32[2,3,5] f32[5]", NULL, NULL},
    {"f32[] f32[3,7]", NULL, NULL},
    {"f32[2,1,5] f32[2,3,1]", NULL, NULL},
    {"f64[7] f64[7]", NULL, NULL},
    {"f32[3,1] f64[3,5]", NULL, NULL},
    {"f64[3] f32[]", NULL, NULL},
    {"f32[131,137] f32[137]", NULL, NULL},
    {"f32[131,137] f64[131,1]", NULL, NULL},
    {0},
};

/* The dtype of numbers A and B together; false when they do not go together. */
static bool promote(const struct type *a, const struct type *b, struct type *out)
{
    out->process = a->process ? a->process : b->process;
    if (dtype_real(a->dtype) && dtype_real(b->dtype)) {
        out->dtype = a->dtype == DT_F64 ? DT_F64 : b->dtype;
        return true;
    }
    out->dtype = a->dtype;
    return a->dtype == b->dtype && (a->process == b->process || !a->process || !b->process);
}

/* Two numbers in, the promoted dtype out. */
static bool pair_shape(struct op_call *call)
{
    return promote(&call->in[0], &call->in[1], &call->out[0]) && rule_broadcast(call, 0, 2);
}

static void pairs(const struct ref_call *call, double (*f)(double, double))
{
    const struct ref_tensor *a = &call->in[0], *b = &call->in[1], *y = &call->out[0];
    for (int64_t i = 0; i < ref_size(y); i++)
        y->data[i] = f(a->data[ref_broadcast_at(y, a, i)], b->data[ref_broadcast_at(y, b, i)]);
}

/* The nodes that derivatives are made of. */
static uint32_t neg(struct grad_call *call, uint32_t a)
{
    return emit1(call->graph, &op_neg, a, call->node);
}
static uint32_t mul(struct grad_call *call, uint32_t a, uint32_t b)
{
    return emit2(call->graph, &op_mul, a, b, call->node);
}
static uint32_t quotient(struct grad_call *call, uint32_t a, uint32_t b)
{
    return emit2(call->graph, &op_div, a, b, call->node);
}
static uint32_t zero(struct grad_call *call)
{
    enum dtype dtype = graph_type(call->graph, call->dout[0])->dtype;
    return emit_const(call->graph, dtype, 0, call->node);
}
/* dy where FLAG holds, and where it does not, for the two inputs A and B. */
static void choose(struct grad_call *call, uint32_t flag, uint32_t a, uint32_t b)
{
    if (call->need[a])
        call->din[a] = emit3(call->graph, &op_where, flag, call->dout[0], zero(call), call->node);
    if (call->need[b])
        call->din[b] = emit3(call->graph, &op_where, flag, zero(call), call->dout[0], call->node);
}

/* add: y = a + b. */
static void add_grad(struct grad_call *call)
{
    call->din[0] = call->dout[0];
    call->din[1] = call->dout[0];
}
static double add_of(double a, double b)
{
    return a + b;
}
static void add_reference(const struct ref_call *call)
{
    pairs(call, add_of);
}
const struct op op_add = {
    .name = "add",
    .doc = "The sum of two tensors.",
    .inputs = real_pair,
    .results = rule_result_y,
    .result_count = 1,
    .rows = ROWS_EACH,
    .shape = pair_shape,
    .grad = add_grad,
    .inplace = 3,
    .reference = add_reference,
    .cases = pair_cases,
};

/* sub: y = a - b. */
static void sub_grad(struct grad_call *call)
{
    call->din[0] = call->dout[0];
    if (call->need[1])
        call->din[1] = neg(call, call->dout[0]);
}
static double sub_of(double a, double b)
{
    return a - b;
}
static void sub_reference(const struct ref_call *call)
{
    pairs(call, sub_of);
}
const struct op op_sub = {
    .name = "sub",
    .doc = "The difference of two tensors.",
    .inputs = real_pair,
    .results = rule_result_y,
    .result_count = 1,
    .rows = ROWS_EACH,
    .shape = pair_shape,
    .grad = sub_grad,
    .inplace = 3,
    .reference = sub_reference,
    .cases = pair_cases,
};

/* mul: y = a b; da = dy b, db = dy a. */
static void mul_grad(struct grad_call *call)
{
    if (call->need[0])
        call->din[0] = mul(call, call->dout[0], call->node->in[1]);
    if (call->need[1])
        call->din[1] = mul(call, call->dout[0], call->node->in[0]);
}
static double mul_of(double a, double b)
{
    return a * b;
}
static void mul_reference(const struct ref_call *call)
{
    pairs(call, mul_of);
}
const struct op op_mul = {
    .name = "mul",
    .doc = "The product of two tensors.",
    .inputs = real_pair,
    .results = rule_result_y,
    .result_count = 1,
    .rows = ROWS_EACH,
    .shape = pair_shape,
    .grad = mul_grad,
    .inplace = 3,
    .reference = mul_reference,
    .cases = pair_cases,
};

/* div: y = a / b; da = dy / b, db = -dy y / b. */
static void div_grad(struct grad_call *call)
{
    uint32_t share = quotient(call, call->dout[0], call->node->in[1]);
    if (call->need[0])
        call->din[0] = share;
    if (call->need[1])
        call->din[1] = neg(call, mul(call, share, call->node->out[0]));
}
static double div_of(double a, double b)
{
    return a / b;
}
static void div_reference(const struct ref_call *call)
{
    pairs(call, div_of);
}
const struct op op_div = {
    .name = "div",
    .doc = "The quotient of two tensors.",
    .inputs = positive_pair,
    .results = rule_result_y,
    .result_count = 1,
    .rows = ROWS_EACH,
    .shape = pair_shape,
    .grad = div_grad,
    .inplace = 3,
    .reference = div_reference,
    .cases = pair_cases,
};

/* pow: y = a^b; da = dy b a^(b - 1), db = dy y log a. */
static void pow_grad(struct grad_call *call)
{
    uint32_t a = call->node->in[0], b = call->node->in[1];
    if (call->need[0]) {
        uint32_t one = emit_const(call->graph, graph_type(call->graph, b)->dtype, 1, call->node);
        uint32_t less = emit2(call->graph, &op_sub, b, one, call->node);
        uint32_t power = emit2(call->graph, &op_pow, a, less, call->node);
        call->din[0] = mul(call, call->dout[0], mul(call, b, power));
    }
    if (call->need[1]) {
        uint32_t log_a = emit1(call->graph, &op_log, a, call->node);
        call->din[1] = mul(call, call->dout[0], mul(call, call->node->out[0], log_a));
    }
}
static double pow_of(double a, double b)
{
    return pow(a, b);
}
static void pow_reference(const struct ref_call *call)
{
    pairs(call, pow_of);
}
const struct op op_pow = {
    .name = "pow",
    .doc = "Each element of a raised to the power b.",
    .inputs = positive_pair,
    .results = rule_result_y,
    .result_count = 1,
    .rows = ROWS_EACH,
    .shape = pair_shape,
    .grad = pow_grad,
    .inplace = 3,
    .reference = pow_reference,
    .cases = pair_cases,
};

/* max: y = the larger of a and b, NaN where either is; dy goes to the larger, to a where they
 * are equal. */
static void max_grad(struct grad_call *call)
{
    uint32_t b_larger =
        emit2(call->graph, &op_less, call->node->in[0], call->node->in[1], call->node);
    choose(call, b_larger, 1, 0);
}
static double max_of(double a, double b)
{
    return a < b || isnan(b) ? b : a;
}
static void max_reference(const struct ref_call *call)
{
    pairs(call, max_of);
}
const struct op op_max = {
    .name = "max",
    .doc = "The larger of two elements.",
    .inputs = real_pair,
    .results = rule_result_y,
    .result_count = 1,
    .rows = ROWS_EACH,
    .shape = pair_shape,
    .grad = max_grad,
    .inplace = 3,
    .reference = max_reference,
    .cases = pair_cases,
};

/* min: y = the smaller of a and b, NaN where either is; dy goes to the smaller, to a where they
 * are equal. */
static void min_grad(struct grad_call *call)
{
    uint32_t b_smaller =
        emit2(call->graph, &op_less, call->node->in[1], call->node->in[0], call->node);
    choose(call, b_smaller, 1, 0);
}
static double min_of(double a, double b)
{
    return b < a || isnan(b) ? b : a;
}
static void min_reference(const struct ref_call *call)
{
    pairs(call, min_of);
}
const struct op op_min = {
    .name = "min",
    .doc = "The smaller of two elements.",
    .inputs = real_pair,
    .results = rule_result_y,
    .result_count = 1,
    .rows = ROWS_EACH,
    .shape = pair_shape,
    .grad = min_grad,
    .inplace = 3,
    .reference = min_reference,
    .cases = pair_cases,
};

/* less, equal: bools. Numbers compare with numbers, ids (token or i32) with ids. */
static const struct op_input comparable[] = {
    {"a", IN_ANY, 0, "numbers, ids (token or i32) or bools, of any shape", DOMAIN_ANY},
    {"b", IN_ANY, 0, "the same kind, broadcast with a", DOMAIN_ANY},
    {0},
};

static bool dtype_ids(enum dtype dtype)
{
    return dtype == DT_I32 || dtype == DT_TOKEN;
}

static bool compare_shape(struct op_call *call)
{
    const struct type *a = &call->in[0], *b = &call->in[1];
    struct type promoted;
    bool ids = dtype_ids(a->dtype) && dtype_ids(b->dtype) && a->dtype != b->dtype;
    if (!ids && !promote(a, b, &promoted))
        return op_error(call, "cannot compare %s with %s", rule_print(call, 0),
                        rule_print(call, 1));
    call->out[0].dtype = DT_BOOL;
    call->out[0].process = 0;
    return rule_broadcast(call, 0, 2);
}

static const struct op_case compare_cases[] = {
    {"f32[2,3,5] f32[2,3,5]", NULL, NULL},
    {"f32[3,1] f64[5]", NULL, NULL},
    {"f64[7] f64[]", NULL, NULL},
    {"i32[2,7] i32[7]", NULL, NULL},
    {"token[3,5] token[3,5]", NULL, "absorb 5"},
    {"token[3,5] i32[]", NULL, "uniform 2"},
    {"bool[2,3] bool[2,3]", NULL, NULL},
    {"f32[131,137] f32[131,1]", NULL, NULL},
    {0},
};

static double less_of(double a, double b)
{
    return a < b;
}
static void less_reference(const struct ref_call *call)
{
    pairs(call, less_of);
}
const struct op op_less = {
    .name = "less",
    .doc = "True where a is less than b.",
    .inputs = comparable,
    .results = rule_result_y,
    .result_count = 1,
    .flags = OP_NO_GRAD,
    .rows = ROWS_EACH,
    .shape = compare_shape,
    .reference = less_reference,
    .cases = compare_cases,
};

static double equal_of(double a, double b)
{
    return a == b;
}
static void equal_reference(const struct ref_call *call)
{
    pairs(call, equal_of);
}
const struct op op_equal = {
    .name = "equal",
    .doc = "True where a and b are equal.",
    .inputs = comparable,
    .results = rule_result_y,
    .result_count = 1,
    .flags = OP_NO_GRAD,
    .rows = ROWS_EACH,
    .shape = compare_shape,
    .reference = equal_reference,
    .cases = compare_cases,
};

static const struct op_input bool_pair[] = {
    {"a", IN_BOOL, 0, "bool of any shape", DOMAIN_ANY},
    {"b", IN_BOOL, 0, "bool, broadcast with a", DOMAIN_ANY},
    {0},
};
static const struct op_case bool_cases[] = {
    {"bool[2,3,5] bool[2,3,5]", NULL, NULL},
    {"bool[3,1] bool[7]", NULL, NULL},
    {"bool[] bool[5]", NULL, NULL},
    {0},
};

static double and_of(double a, double b)
{
    return a != 0 && b != 0;
}
static void and_reference(const struct ref_call *call)
{
    pairs(call, and_of);
}
const struct op op_and = {
    .name = "and",
    .doc = "True where both inputs are.",
    .inputs = bool_pair,
    .results = rule_result_y,
    .result_count = 1,
    .flags = OP_NO_GRAD,
    .rows = ROWS_EACH,
    .shape = pair_shape,
    .inplace = 3,
    .reference = and_reference,
    .cases = bool_cases,
};

static double or_of(double a, double b)
{
    return a != 0 || b != 0;
}
static void or_reference(const struct ref_call *call)
{
    pairs(call, or_of);
}
const struct op op_or = {
    .name = "or",
    .doc = "True where either input is.",
    .inputs = bool_pair,
    .results = rule_result_y,
    .result_count = 1,
    .flags = OP_NO_GRAD,
    .rows = ROWS_EACH,
    .shape = pair_shape,
    .inplace = 3,
    .reference = or_reference,
    .cases = bool_cases,
};

/* where: y = a where the flag holds, else b. The input that is not taken gets gradient 0. */
static const struct op_input where_inputs[] = {
    {"flag", IN_BOOL, 0, "bool, broadcast with a and b", DOMAIN_ANY},
    {"a", IN_ANY, 0, "taken where the flag is true", DOMAIN_ANY},
    {"b", IN_ANY, 0, "taken where the flag is false; of a's dtype, or both are numbers",
     DOMAIN_ANY},
    {0},
};

static bool where_shape(struct op_call *call)
{
    if (!promote(&call->in[1], &call->in[2], &call->out[0]))
        return op_error(call, "cannot choose between %s and %s", rule_print(call, 1),
                        rule_print(call, 2));
    return rule_broadcast(call, 0, 3);
}

static void where_grad(struct grad_call *call)
{
    choose(call, call->node->in[0], 1, 2);
}

static void where_reference(const struct ref_call *call)
{
    const struct ref_tensor *y = &call->out[0];
    for (int64_t i = 0; i < ref_size(y); i++) {
        bool flag = call->in[0].data[ref_broadcast_at(y, &call->in[0], i)] != 0;
        const struct ref_tensor *from = &call->in[flag ? 1 : 2];
        y->data[i] = from->data[ref_broadcast_at(y, from, i)];
    }
}

static const struct op_case where_cases[] = {
    {"bool[2,3,5] f32[2,3,5] f32[2,3,5]", NULL, NULL},
    {"bool[3,1] f32[3,5] f32[]", NULL, NULL},
    {"bool[7] f64[] f32[7]", NULL, NULL},
    {"bool[2,7] f64[2,7] f64[7]", NULL, NULL},
    {"bool[2,3] token[2,3] token[2,3]", NULL, "absorb 5"},
    {"bool[5] i32[5] i32[]", NULL, NULL},
    {"bool[1,3] bool[3] bool[1,1]", NULL, NULL},
    {"bool[131,1] f32[131,137] f32[137]", NULL, NULL},
    {0},
};

const struct op op_where = {
    .name = "where",
    .doc = "One tensor where a flag is true, another where it is false.",
    .inputs = where_inputs,
    .results = rule_result_y,
    .result_count = 1,
    .rows = ROWS_EACH,
    .shape = where_shape,
    .grad = where_grad,
    .inplace = 6,
    .reference = where_reference,
    .cases = where_cases,
};
