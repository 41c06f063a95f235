/* Shape rules, emission and reference helpers shared by the op families; see rules.h. */
#include "ops/rules.h"

#include "graph/base/check.h"
#include "ops/kernels/attrs.h"
#include "ops/ops.h"

#include <string.h>

const char *const rule_layouts[] = {"out_in", "in_out", NULL};
const char *const rule_gelu_forms[] = {"tanh", "erf", NULL};
const char *const rule_result_y[] = {"y", NULL};
const struct op_input rule_no_inputs[] = {{0}};

bool rule_like_first(struct op_call *call)
{
    call->out[0] = call->in[0];
    return true;
}

int64_t rule_last(const struct type *type)
{
    return type->dim[type->rank - 1].size;
}

const char *rule_print(const struct op_call *call, uint32_t i)
{
    return type_print(call->graph->arena, call->graph, &call->in[i]);
}

bool rule_axis(const struct op_call *call, int64_t axis, uint32_t rank, uint32_t *out)
{
    int64_t from_start = axis < 0 ? axis + (int64_t)rank : axis;
    if (from_start < 0 || from_start >= (int64_t)rank)
        return op_error(call, "axis %lld is outside the %u axes of %s", (long long)axis, rank,
                        rule_print(call, 0));
    *out = (uint32_t)from_start;
    return true;
}

/* Joins one axis of the result so far with the axis of another input. */
static bool join_dim(struct dim *into, const struct dim *other)
{
    if (into->size == other->size && into->axis == other->axis)
        return true;
    if (other->size == 1 && !other->axis)
        return true;
    if (into->size != 1 || into->axis)
        return false;
    *into = *other;
    return true;
}

/* Joins the shape of input I into *OUT; a short axis must stay the first one. */
static bool join_shape(struct type *out, const struct type *in)
{
    struct type joined = *out;
    if (in->rank > out->rank) {
        uint32_t more = in->rank - out->rank;
        joined.rank = in->rank;
        memcpy(joined.dim, in->dim, more * sizeof joined.dim[0]);
        memcpy(joined.dim + more, out->dim, out->rank * sizeof joined.dim[0]);
    }
    uint32_t skip = joined.rank - in->rank;
    for (uint32_t i = 0; i < in->rank; i++)
        if (!join_dim(&joined.dim[skip + i], &in->dim[i]))
            return false;
    for (uint32_t i = 1; i < joined.rank; i++)
        if (joined.dim[i].axis)
            return false;
    *out = joined;
    return true;
}

bool rule_broadcast(struct op_call *call, uint32_t first, uint32_t count)
{
    struct type *out = &call->out[0];
    uint32_t widest = first;
    out->rank = call->in[first].rank;
    memcpy(out->dim, call->in[first].dim, sizeof out->dim);
    for (uint32_t i = first + 1; i < first + count; i++) {
        if (!join_shape(out, &call->in[i]))
            return op_error(call,
                            "%s and %s do not broadcast: aligned from the last axis, sizes must "
                            "be equal or 1 (`expand` inserts an axis of size 1)",
                            rule_print(call, widest), rule_print(call, i));
        if (call->in[i].rank > call->in[widest].rank)
            widest = i;
    }
    return true;
}

bool rule_same_axes(const struct op_call *call, uint32_t i, uint32_t j, uint32_t axes)
{
    const struct type *a = &call->in[i], *b = &call->in[j];
    bool same = a->rank >= axes && b->rank >= axes;
    for (uint32_t k = 0; same && k < axes; k++)
        same = a->dim[k].size == b->dim[k].size && a->dim[k].axis == b->dim[k].axis;
    if (same)
        return true;
    return op_error(call, "%s and %s must agree in their first %u axes", rule_print(call, i),
                    rule_print(call, j), axes);
}

void rule_drop_axis(struct type *type, uint32_t axis, bool keep)
{
    if (keep) {
        type->dim[axis] = (struct dim){1, 0};
        return;
    }
    for (uint32_t i = axis + 1; i < type->rank; i++)
        type->dim[i - 1] = type->dim[i];
    type->rank--;
}

uint32_t emit1(struct graph *graph, const struct op *op, uint32_t a, const struct node *like)
{
    return graph_emit(graph, op, &a, 1, NULL, like);
}

uint32_t emit2(struct graph *graph, const struct op *op, uint32_t a, uint32_t b,
               const struct node *like)
{
    return graph_emit(graph, op, (uint32_t[]){a, b}, 2, NULL, like);
}

uint32_t emit3(struct graph *graph, const struct op *op, uint32_t a, uint32_t b, uint32_t c,
               const struct node *like)
{
    return graph_emit(graph, op, (uint32_t[]){a, b, c}, 3, NULL, like);
}

uint32_t emit_const(struct graph *graph, enum dtype dtype, double value, const struct node *like)
{
    union attr attr[] = {[CONST_VALUE] = {.real = value}};
    struct type type = type_scalar(dtype);
    struct node_call call = {.op = &op_const, .attr = attr, .origin = like->origin, .types = &type};
    uint32_t node = graph_call(graph, &call);
    BUG_ON(node == NODE_NONE);
    return graph->nodes[node].out[0];
}

uint32_t emit_full(struct graph *graph, const struct type *type, double value,
                   const struct node *like)
{
    struct type copy = *type; /* of a value, which emission may move */
    uint32_t scalar = emit_const(graph, copy.dtype, value, like);
    return copy.rank == 0 ? scalar : emit_shaped(graph, &op_broadcast_to, scalar, &copy, like);
}

union attr rule_dims(struct graph *graph, const struct dim *items, uint32_t count)
{
    struct dim *copy = arena_new_array(graph->arena, struct dim, count);
    if (count)
        memcpy(copy, items, count * sizeof *copy);
    union attr attr = {.dims = {count, copy}};
    return attr;
}

uint32_t emit_shaped(struct graph *graph, const struct op *op, uint32_t x, const struct type *type,
                     const struct node *like)
{
    union attr attr[] = {[SHAPE_DIMS] = rule_dims(graph, type->dim, type->rank)};
    return graph_emit(graph, op, &x, 1, attr, like);
}

uint32_t emit_expand(struct graph *graph, uint32_t x, uint32_t axis, const struct node *like)
{
    union attr attr[] = {[EXPAND_AXIS] = {.integer = axis}};
    return graph_emit(graph, &op_expand, &x, 1, attr, like);
}

uint32_t emit_uniform(struct graph *graph, uint32_t tokens, const struct node *draw)
{
    const struct type *type = graph_type(graph, tokens);
    const struct node like = {.origin = draw->origin, .stream = draw->stream};
    union attr attr[] = {[UNIFORM_SHAPE] = rule_dims(graph, type->dim, type->rank),
                         [UNIFORM_LOW] = {.real = 0},
                         [UNIFORM_HIGH] = {.real = 1},
                         [UNIFORM_STRATIFIED] = {.flag = false}};
    return graph_emit(graph, &op_random_uniform, NULL, 0, attr, &like);
}

void cost_product(struct op_cost *cost, int64_t m, int64_t n, int64_t k)
{
    BUG_ON(cost->product_count == OP_PRODUCTS_MAX);
    cost->product[cost->product_count++] = (struct op_product){m, n, k};
    cost->model += 2.0 * (double)m * (double)n * (double)k;
}

int64_t ref_lead(const struct ref_tensor *t, uint32_t count)
{
    int64_t n = 1;
    for (uint32_t i = 0; i < count; i++)
        n *= t->dim[i];
    return n;
}

int64_t ref_size(const struct ref_tensor *t)
{
    return ref_lead(t, t->rank);
}

int64_t ref_broadcast_at(const struct ref_tensor *out, const struct ref_tensor *in, int64_t at)
{
    int64_t found = 0, step = 1;
    uint32_t skip = out->rank - in->rank;
    for (uint32_t i = out->rank; i-- > 0;) {
        int64_t here = at % out->dim[i];
        at /= out->dim[i];
        if (i < skip)
            continue;
        if (in->dim[i - skip] != 1)
            found += here * step;
        step *= in->dim[i - skip];
    }
    return found;
}

struct ref_cut ref_cut(const struct ref_tensor *t, int64_t axis)
{
    if (axis == AXIS_ALL)
        return (struct ref_cut){1, ref_size(t), 1};
    uint32_t at = (uint32_t)(axis < 0 ? axis + (int64_t)t->rank : axis);
    int64_t inner = 1;
    for (uint32_t i = at + 1; i < t->rank; i++)
        inner *= t->dim[i];
    return (struct ref_cut){ref_lead(t, at), t->dim[at], inner};
}
