/* Reductions and their inverse. f32 is added up in double, whatever the result's dtype; a short
 * axis counts as many elements as the run gives it. */
#include "ops/kernels/attrs.h"
#include "ops/ops.h"
#include "ops/rules.h"

#include <math.h>

static const struct op_input reduce_inputs[] = {
    {"x", IN_REAL, 0, "f32 or f64 of any shape", DOMAIN_ANY},
    {0},
};
static const struct op_attr reduce_attrs[] = {
    [REDUCE_AXIS] = {"axis", ATTR_INT, "-999",
                     "the axis that is added up; negative: from the end; all when not given", NULL},
    [REDUCE_KEEP] = {"keep", ATTR_BOOL, "false", "leaves the axis in place, with size 1", NULL},
    {0},
};
static const struct op_case reduce_cases[] = {
    {"f32[3,5]", NULL, NULL},
    {"f32[2,3,5]", "axis=-1", NULL},
    {"f32[3,7,17]", "axis=1", NULL},
    {"f64[2,5]", "axis=0 keep=true", NULL},
    {"f64[1]", NULL, NULL},
    {"f32[2,1,3,1]", "axis=2 keep=true", NULL},
    {"f32[1,70,131]", "axis=1", NULL},
    {"f32[7,1301]", "keep=true", NULL},
    {"f32[131,137]", NULL, NULL},
    {"f32[131,137]", "axis=0", NULL},
    {"f32[131,137]", "axis=1", NULL},
    {0},
};

static bool reduce_shape(struct op_call *call)
{
    int64_t axis = call->attr[REDUCE_AXIS].integer;
    bool keep = call->attr[REDUCE_KEEP].flag;
    uint32_t at;
    struct type *y = &call->out[0];
    *y = call->in[0];
    if (axis != AXIS_ALL) {
        if (!rule_axis(call, axis, y->rank, &at))
            return false;
        rule_drop_axis(y, at, keep);
    } else if (keep) {
        for (at = 0; at < y->rank; at++)
            rule_drop_axis(y, at, true);
    } else {
        *y = type_scalar(y->dtype);
    }
    return true;
}

static void reduce_cost(const struct op_call *call, struct op_cost *out)
{
    out->flop = (double)type_count(&call->in[0]);
    out->bytes = (double)(type_bytes(&call->in[0]) + type_bytes(&call->out[0]));
}

/* DY, one number for each sum, back over the elements of x. */
static uint32_t spread(struct grad_call *call, uint32_t dy)
{
    struct type x = *graph_type(call->graph, call->node->in[0]);
    int64_t axis = call->node->attr[REDUCE_AXIS].integer;
    if (axis != AXIS_ALL && !call->node->attr[REDUCE_KEEP].flag)
        dy = emit_expand(call->graph, dy, (uint32_t)(axis < 0 ? axis + (int64_t)x.rank : axis),
                         call->node);
    return emit_shaped(call->graph, &op_broadcast_to, dy, &x, call->node);
}

static void add_up(const struct ref_call *call)
{
    struct ref_cut cut = ref_cut(&call->in[0], call->attr[REDUCE_AXIS].integer);
    for (int64_t o = 0; o < cut.outer; o++)
        for (int64_t i = 0; i < cut.inner; i++) {
            double sum = 0;
            for (int64_t m = 0; m < cut.mid; m++)
                sum += call->in[0].data[(o * cut.mid + m) * cut.inner + i];
            call->out[0].data[o * cut.inner + i] = sum;
        }
}

/* sum: y = sum of x over an axis, or all; dx = dy everywhere. */
static void sum_grad(struct grad_call *call)
{
    call->din[0] = spread(call, call->dout[0]);
}

const struct op op_sum = {
    .name = "sum",
    .doc = "The sum over one axis, or over all elements.",
    .inputs = reduce_inputs,
    .attrs = reduce_attrs,
    .results = rule_result_y,
    .result_count = 1,
    .rows = ROWS_ALL,
    .shape = reduce_shape,
    .grad = sum_grad,
    .cost = reduce_cost,
    .reference = add_up,
    .cases = reduce_cases,
};

/* mean: y = sum of x / count; dx = dy / count. The count is a second result because that of a short
 * axis is known to the run only, and reading it from x would keep x alive for the gradient. */
static bool mean_shape(struct op_call *call)
{
    call->out[1] = type_scalar(call->in[0].dtype);
    return reduce_shape(call);
}

static void mean_grad(struct grad_call *call)
{
    uint32_t share = emit2(call->graph, &op_div, call->dout[0], call->node->out[1], call->node);
    call->din[0] = spread(call, share);
}

static void mean_reference(const struct ref_call *call)
{
    double count = (double)ref_cut(&call->in[0], call->attr[REDUCE_AXIS].integer).mid;
    add_up(call);
    for (int64_t i = 0; i < ref_size(&call->out[0]); i++)
        call->out[0].data[i] /= count;
    call->out[1].data[0] = count;
}

static const char *const mean_results[] = {"y", "count", NULL};

const struct op op_mean = {
    .name = "mean",
    .doc = "The mean over one axis, or over all elements.",
    .inputs = reduce_inputs,
    .attrs = reduce_attrs,
    .results = mean_results,
    .result_count = 2,
    .visible = 1,
    .rows = ROWS_ALL,
    .shape = mean_shape,
    .grad = mean_grad,
    .cost = reduce_cost,
    .by_shape = 2,
    .reference = mean_reference,
    .cases = reduce_cases,
};

/* sum_to: the sum over the axes along which SHAPE would be broadcast to x's. dx = dy broadcast. */
static const struct op_attr shape_attrs[] = {
    [SHAPE_DIMS] = {"shape", ATTR_DIMS, NULL, "axes of the result", NULL},
    {0},
};

/* Whether SMALL is broadcast to LARGE. */
static bool broadcasts(const struct type *small, const struct type *large)
{
    if (small->rank > large->rank)
        return false;
    for (uint32_t i = 0; i < small->rank; i++) {
        const struct dim *s = &small->dim[i], *l = &large->dim[large->rank - small->rank + i];
        bool same = s->size == l->size && s->axis == l->axis;
        if (!same && (s->size != 1 || s->axis))
            return false;
    }
    return true;
}

static bool shaped(struct op_call *call)
{
    const union attr *shape = &call->attr[SHAPE_DIMS];
    if (shape->dims.count > TENSOR_RANK_MAX)
        return op_error(call, "a shape has at most %d axes", TENSOR_RANK_MAX);
    call->out[0] = type_scalar(call->in[0].dtype);
    call->out[0].rank = shape->dims.count;
    for (uint32_t i = 0; i < shape->dims.count; i++)
        call->out[0].dim[i] = shape->dims.items[i];
    return true;
}

static const char *result_print(const struct op_call *call)
{
    return type_print(call->graph->arena, call->graph, &call->out[0]);
}

static bool sum_to_shape(struct op_call *call)
{
    if (!shaped(call))
        return false;
    if (!broadcasts(&call->out[0], &call->in[0]))
        return op_error(call, "%s does not broadcast to %s", result_print(call),
                        rule_print(call, 0));
    return true;
}

static void sum_to_grad(struct grad_call *call)
{
    call->din[0] = emit_shaped(call->graph, &op_broadcast_to, call->dout[0],
                               graph_type(call->graph, call->node->in[0]), call->node);
}

static void sum_to_reference(const struct ref_call *call)
{
    const struct ref_tensor *x = &call->in[0], *y = &call->out[0];
    for (int64_t i = 0; i < ref_size(y); i++)
        y->data[i] = 0;
    for (int64_t i = 0; i < ref_size(x); i++)
        y->data[ref_broadcast_at(x, y, i)] += x->data[i];
}

static const struct op_case sum_to_cases[] = {
    {"f32[2,3,5]", "shape=5", NULL},
    {"f32[2,3,5]", "shape=2,1,5", NULL},
    {"f64[3,7]", "shape=", NULL},
    {"f32[2,3,5]", "shape=2,3,1", NULL},
    {"f32[2,3,5,7]", "shape=3,1,7", NULL},
    {"f32[67,131]", "shape=131", NULL},
    {"f32[3,5]", "shape=3,5", NULL},
    {"f64[3,2,5]", "shape=1,2,1", NULL},
    {"f32[3,47,5,37]", "shape=47,1,37", NULL},
    {0},
};

const struct op op_sum_to = {
    .name = "sum_to",
    .doc = "The sum over the axes that broadcasting would stretch: what a gradient needs.",
    .inputs = reduce_inputs,
    .attrs = shape_attrs,
    .results = rule_result_y,
    .result_count = 1,
    .flags = OP_INTERNAL,
    .rows = ROWS_ALL,
    .shape = sum_to_shape,
    .grad = sum_to_grad,
    .cost = reduce_cost,
    .reference = sum_to_reference,
    .cases = sum_to_cases,
};

/* broadcast_to: x stretched to SHAPE. dx = the sum over what was stretched, which the walker of the
 * grad pass does for every gradient that is larger than its input. */
static bool broadcast_to_shape(struct op_call *call)
{
    if (!shaped(call))
        return false;
    if (!broadcasts(&call->in[0], &call->out[0]))
        return op_error(call, "%s does not broadcast to %s", rule_print(call, 0),
                        result_print(call));
    return true;
}

static void broadcast_to_grad(struct grad_call *call)
{
    call->din[0] = call->dout[0];
}

static void broadcast_to_reference(const struct ref_call *call)
{
    const struct ref_tensor *x = &call->in[0], *y = &call->out[0];
    for (int64_t i = 0; i < ref_size(y); i++)
        y->data[i] = x->data[ref_broadcast_at(y, x, i)];
}

static const struct op_case broadcast_to_cases[] = {
    {"f32[5]", "shape=3,5", NULL},
    {"f32[3,1]", "shape=3,7", NULL},
    {"f64[]", "shape=2,3,5", NULL},
    {"f32[2,1,5]", "shape=2,3,5", NULL},
    {"f32[3,1,7]", "shape=2,3,5,7", NULL},
    {"f32[131,1]", "shape=131,137", NULL},
    {0},
};

static void copy_cost(const struct op_call *call, struct op_cost *out)
{
    out->flop = 0;
    out->bytes = (double)(type_bytes(&call->in[0]) + type_bytes(&call->out[0]));
}

const struct op op_broadcast_to = {
    .name = "broadcast_to",
    .doc = "A tensor stretched along axes of size 1 and new leading axes.",
    .inputs = reduce_inputs,
    .attrs = shape_attrs,
    .results = rule_result_y,
    .result_count = 1,
    .flags = OP_INTERNAL,
    .rows = ROWS_ALL,
    .shape = broadcast_to_shape,
    .grad = broadcast_to_grad,
    .cost = copy_cost,
    .reference = broadcast_to_reference,
    .cases = broadcast_to_cases,
};

/* logsumexp: y = log sum_i exp(x_i) over the last axis; dx_i = dy exp(x_i - y). */
static const struct op_input logsumexp_inputs[] = {
    {"x", IN_REAL, 0, "f32 or f64 [..., n]", DOMAIN_ANY},
    {0},
};

static bool logsumexp_shape(struct op_call *call)
{
    uint32_t last;
    if (!rule_axis(call, -1, call->in[0].rank, &last))
        return false;
    call->out[0] = call->in[0];
    rule_drop_axis(&call->out[0], last, false);
    return true;
}

static void logsumexp_grad(struct grad_call *call)
{
    struct graph *g = call->graph;
    uint32_t x = call->node->in[0], last = graph_type(g, x)->rank - 1;
    uint32_t y = emit_expand(g, call->node->out[0], last, call->node);
    uint32_t dy = emit_expand(g, call->dout[0], last, call->node);
    uint32_t share = emit1(g, &op_exp, emit2(g, &op_sub, x, y, call->node), call->node);
    call->din[0] = emit2(g, &op_mul, dy, share, call->node);
}

static void logsumexp_cost(const struct op_call *call, struct op_cost *out)
{
    reduce_cost(call, out);
    out->flop *= 12; /* an exponential each */
}

static void logsumexp_reference(const struct ref_call *call)
{
    struct ref_cut cut = ref_cut(&call->in[0], -1);
    for (int64_t o = 0; o < cut.outer; o++) {
        const double *x = call->in[0].data + o * cut.mid;
        double most = -INFINITY, sum = 0;
        for (int64_t i = 0; i < cut.mid; i++)
            most = fmax(most, x[i]);
        for (int64_t i = 0; i < cut.mid; i++)
            sum += exp(x[i] - most);
        call->out[0].data[o] = most == -INFINITY ? most : most + log(sum);
    }
}

static const struct op_case logsumexp_cases[] = {
    {"f32[3,5]", NULL, NULL},
    {"f64[7]", NULL, NULL},
    {"f32[2,3,1]", NULL, NULL},
    {"f32[1,2,37]", NULL, NULL},
    {"f64[2,3,17]", NULL, NULL},
    {"f32[131,137]", NULL, NULL},
    {0},
};

const struct op op_logsumexp = {
    .name = "logsumexp",
    .doc = "The logarithm of the sum of exponentials over the last axis.",
    .inputs = logsumexp_inputs,
    .results = rule_result_y,
    .result_count = 1,
    .rows = ROWS_EACH,
    .shape = logsumexp_shape,
    .grad = logsumexp_grad,
    .cost = logsumexp_cost,
    .reference = logsumexp_reference,
    .cases = logsumexp_cases,
};
