/* Ops that move elements and compute nothing: views, cutting and joining along an axis, and rows
 * picked by index. */
#include "ops/kernels/attrs.h"
#include "ops/ops.h"
#include "ops/rules.h"

static const struct op_input any_x[] = {
    {"x", IN_ANY, 0, "any dtype and shape", DOMAIN_ANY},
    {0},
};

/* Bytes read and written; elements stay what they are. */
static void move_cost(const struct op_call *call, struct op_cost *out)
{
    out->flop = out->bytes = 0;
    for (uint32_t i = 0; i < call->out_count; i++)
        out->bytes += 2 * (double)type_bytes(&call->out[i]);
}

static void view_cost(const struct op_call *call, struct op_cost *out)
{
    (void)call;
    *out = (struct op_cost){0};
}

static void view_reference(const struct ref_call *call)
{
    for (int64_t i = 0; i < ref_size(&call->out[0]); i++)
        call->out[0].data[i] = call->in[0].data[i];
}

static void view_grad(struct grad_call *call)
{
    call->din[0] = emit_shaped(call->graph, &op_reshape, call->dout[0],
                               graph_type(call->graph, call->node->in[0]), call->node);
}

/* reshape: the same elements in row-major order. A short first axis stays what it is: how many
 * elements it has is known to the run only. */
static const struct op_attr reshape_attrs[] = {
    [SHAPE_DIMS] = {"shape", ATTR_DIMS, NULL, "axes of the result", NULL},
    {0},
};

static bool reshape_shape(struct op_call *call)
{
    const union attr *shape = &call->attr[SHAPE_DIMS];
    const struct type *x = &call->in[0];
    struct type *y = &call->out[0];
    *y = *x;
    if (shape->dims.count > TENSOR_RANK_MAX)
        return op_error(call, "a shape has at most %d axes", TENSOR_RANK_MAX);
    y->rank = shape->dims.count;
    for (uint32_t i = 0; i < y->rank; i++)
        y->dim[i] = shape->dims.items[i];
    uint32_t from = x->rank ? x->dim[0].axis : 0, to = y->rank ? y->dim[0].axis : 0;
    if (from != to || (from && x->dim[0].size != y->dim[0].size))
        return op_error(call,
                        "%s cannot become %s: a first axis whose size the run decides must "
                        "stay the first axis",
                        rule_print(call, 0), type_print(call->graph->arena, call->graph, y));
    if (type_count(x) != type_count(y))
        return op_error(call, "%s has %lld elements and %s has %lld", rule_print(call, 0),
                        (long long)type_count(x), type_print(call->graph->arena, call->graph, y),
                        (long long)type_count(y));
    return true;
}

static const struct op_case reshape_cases[] = {
    {"f32[2,3,5]", "shape=2,15", NULL},
    {"f64[3,7]", "shape=3,1,7", NULL},
    {"token[2,6]", "shape=2,2,3", "absorb 5"},
    {"f32[1]", "shape=", NULL},
    {0},
};

const struct op op_reshape = {
    .name = "reshape",
    .doc = "The same elements, in the same order, with other axes.",
    .inputs = any_x,
    .attrs = reshape_attrs,
    .results = rule_result_y,
    .result_count = 1,
    .flags = OP_VIEW,
    .rows = ROWS_ALL,
    .shape = reshape_shape,
    .grad = view_grad,
    .cost = view_cost,
    .reference = view_reference,
    .cases = reshape_cases,
};

/* expand: an axis of size 1 before axis AXIS of x; -1 puts it last. */
static const struct op_attr expand_attrs[] = {
    [EXPAND_AXIS] = {"axis", ATTR_INT, "-1",
                     "which axis of the result the new one is; negative: from the end", NULL},
    {0},
};

static bool expand_shape(struct op_call *call)
{
    const struct type *x = &call->in[0];
    struct type *y = &call->out[0];
    uint32_t at;
    if (x->rank == TENSOR_RANK_MAX)
        return op_error(call, "%s has as many axes as there can be", rule_print(call, 0));
    if (!rule_axis(call, call->attr[EXPAND_AXIS].integer, x->rank + 1, &at))
        return false;
    if (at == 0 && x->rank && x->dim[0].axis)
        return op_error(call,
                        "no axis can stand before the first one of %s, whose size the run "
                        "decides",
                        rule_print(call, 0));
    *y = *x;
    y->rank++;
    y->dim[at] = (struct dim){1, 0};
    for (uint32_t i = at; i < x->rank; i++)
        y->dim[i + 1] = x->dim[i];
    return true;
}

static const struct op_case expand_cases[] = {
    {"f32[2,3]", "axis=1", NULL},
    {"f64[7]", NULL, NULL},
    {"bool[3,5,1]", "axis=-2", NULL},
    {"f32[]", "axis=0", NULL},
    {0},
};

const struct op op_expand = {
    .name = "expand",
    .doc = "The same elements with an axis of size 1 more, for broadcasting.",
    .inputs = any_x,
    .attrs = expand_attrs,
    .results = rule_result_y,
    .result_count = 1,
    .flags = OP_VIEW,
    .rows = ROWS_ALL,
    .shape = expand_shape,
    .grad = view_grad,
    .cost = view_cost,
    .reference = view_reference,
    .cases = expand_cases,
};

/* later: the same elements, but not before AFTER has been made. What is computed a second time
 * reads through it: no order of the nodes can then compute it where it was computed first. */
static const struct op_input later_inputs[] = {
    {"x", IN_ANY, 0, "any dtype and shape", DOMAIN_ANY},
    {"after", IN_ANY, 0, "what must have been made; its elements are not read", DOMAIN_ANY},
    {0},
};

static bool later_shape(struct op_call *call)
{
    call->out[0] = call->in[0];
    return true;
}

static void later_grad(struct grad_call *call)
{
    call->din[0] = call->dout[0];
}

static const struct op_case later_cases[] = {
    {"f32[2,3] f32[5]", NULL, NULL},
    {"f64[7] f64[7]", NULL, NULL},
    {"token[3,1] f32[]", NULL, "absorb 5"},
    {0},
};

const struct op op_later = {
    .name = "later",
    .doc = "The same elements, not before another value has been made.",
    .inputs = later_inputs,
    .results = rule_result_y,
    .result_count = 1,
    .flags = OP_VIEW | OP_INTERNAL,
    .rows = ROWS_ALL,
    .shape = later_shape,
    .grad = later_grad,
    .cost = view_cost,
    .reference = view_reference,
    .cases = later_cases,
};

/* The axis of an op that cuts or joins; it cannot be short. */
static bool cut_axis(const struct op_call *call, int64_t axis, uint32_t *out)
{
    if (!rule_axis(call, axis, call->in[0].rank, out))
        return false;
    if (call->in[0].dim[*out].axis)
        return op_error(call,
                        "the first axis of %s has a size that the run decides: it can be "
                        "neither cut nor joined",
                        rule_print(call, 0));
    return true;
}

/* What is cut along the last axis has its rows whole; along another, its sequences. */
static enum op_rows cut_rows(const struct graph *g, const struct node *n, int64_t axis)
{
    int64_t rank = graph_type(g, n->in[0])->rank, at = axis < 0 ? axis + rank : axis;
    return at == 0 ? ROWS_ALL : at == rank - 1 ? ROWS_EACH : ROWS_SEQUENCE;
}

/* Copies elements FROM .. of X along the axis of CUT to all of Y, in doubles: what `split` and
 * `slice` read. */
static void take(const struct ref_tensor *x, struct ref_cut cut, int64_t from,
                 const struct ref_tensor *y, int64_t size)
{
    for (int64_t o = 0; o < cut.outer; o++)
        for (int64_t i = 0; i < size * cut.inner; i++)
            y->data[o * size * cut.inner + i] = x->data[(o * cut.mid + from) * cut.inner + i];
}

/* split: x cut along an axis into equal parts. dx = the gradients of the parts, joined. */
static const struct op_attr split_attrs[] = {
    [SPLIT_PARTS] = {"parts", ATTR_INT, NULL, "number of results; divides the axis", NULL},
    [SPLIT_AXIS] = {"axis", ATTR_INT, "-1", "which axis is cut; negative: from the end", NULL},
    {0},
};

static bool split_shape(struct op_call *call)
{
    int64_t parts = call->attr[SPLIT_PARTS].integer;
    uint32_t at;
    if (!cut_axis(call, call->attr[SPLIT_AXIS].integer, &at))
        return false;
    if (parts < 1 || parts > OP_RESULT_MAX)
        return op_error(call, "the number of parts must be 1 to %d, not %lld", OP_RESULT_MAX,
                        (long long)parts);
    if (call->in[0].dim[at].size % parts)
        return op_error(call, "axis %u of %s cannot be cut into %lld equal parts", at,
                        rule_print(call, 0), (long long)parts);
    call->out_count = (uint32_t)parts;
    for (uint32_t i = 0; i < call->out_count; i++) {
        call->out[i] = call->in[0];
        call->out[i].dim[at].size /= parts;
    }
    return true;
}

static void split_grad(struct grad_call *call)
{
    uint32_t part[OP_RESULT_MAX];
    for (uint32_t i = 0; i < call->node->out_count; i++) {
        part[i] = call->dout[i];
        if (part[i] == VALUE_NONE)
            part[i] =
                emit_full(call->graph, graph_type(call->graph, call->node->out[i]), 0, call->node);
    }
    union attr attr[] = {[CONCAT_AXIS] = call->node->attr[SPLIT_AXIS]};
    call->din[0] =
        graph_emit(call->graph, &op_concat, part, call->node->out_count, attr, call->node);
}

static void split_reference(const struct ref_call *call)
{
    struct ref_cut cut = ref_cut(&call->in[0], call->attr[SPLIT_AXIS].integer);
    int64_t size = cut.mid / call->out_count;
    for (uint32_t i = 0; i < call->out_count; i++)
        take(&call->in[0], cut, i * size, &call->out[i], size);
}

static enum op_rows split_rows(const struct graph *graph, const struct node *node)
{
    return cut_rows(graph, node, node->attr[SPLIT_AXIS].integer);
}

static const struct op_case split_cases[] = {
    {"f32[2,3,6]", "parts=3", NULL},
    {"f32[3,4,5]", "parts=2 axis=1", NULL},
    {"f64[7]", "parts=7", NULL},
    {"f32[1,5]", "parts=1", NULL},
    {"token[2,6]", "parts=2", "absorb 5"},
    {"f32[131,138]", "parts=3", NULL},
    {0},
};

static const char *const split_results[] = {"part", NULL};

const struct op op_split = {
    .name = "split",
    .doc = "A tensor cut along an axis into equal parts.",
    .inputs = any_x,
    .attrs = split_attrs,
    .results = split_results,
    .rows = ROWS_ALL,
    .rows_of = split_rows,
    .shape = split_shape,
    .grad = split_grad,
    .cost = move_cost,
    .reference = split_reference,
    .cases = split_cases,
};

/* slice: elements FROM .. FROM + SIZE - 1 along an axis. dx = dy between zeros. */
static const struct op_attr slice_attrs[] = {
    [SLICE_AXIS] = {"axis", ATTR_INT, "-1", "which axis is cut; negative: from the end", NULL},
    [SLICE_FROM] = {"from", ATTR_INT, "0", "first element taken, counted from 0", NULL},
    [SLICE_SIZE] = {"size", ATTR_INT, NULL, "number of elements taken", NULL},
    {0},
};

static bool slice_shape(struct op_call *call)
{
    int64_t from = call->attr[SLICE_FROM].integer, size = call->attr[SLICE_SIZE].integer;
    uint32_t at;
    if (!cut_axis(call, call->attr[SLICE_AXIS].integer, &at))
        return false;
    if (from < 0 || size < 1 || from > call->in[0].dim[at].size - size)
        return op_error(call, "axis %u of %s has no elements %lld to %lld", at, rule_print(call, 0),
                        (long long)from, (long long)(from + size - 1));
    call->out[0] = call->in[0];
    call->out[0].dim[at].size = size;
    return true;
}

static void slice_grad(struct grad_call *call)
{
    const union attr *attr = call->node->attr;
    struct type x = *graph_type(call->graph, call->node->in[0]);
    int64_t axis = attr[SLICE_AXIS].integer;
    struct dim *dim = &x.dim[axis < 0 ? axis + (int64_t)x.rank : axis];
    int64_t after = dim->size - attr[SLICE_FROM].integer - attr[SLICE_SIZE].integer;
    uint32_t part[3], count = 0;
    dim->size = attr[SLICE_FROM].integer;
    if (dim->size)
        part[count++] = emit_full(call->graph, &x, 0, call->node);
    part[count++] = call->dout[0];
    dim->size = after;
    if (dim->size)
        part[count++] = emit_full(call->graph, &x, 0, call->node);
    union attr join[] = {[CONCAT_AXIS] = attr[SLICE_AXIS]};
    call->din[0] = graph_emit(call->graph, &op_concat, part, count, join, call->node);
}

static void slice_reference(const struct ref_call *call)
{
    take(&call->in[0], ref_cut(&call->in[0], call->attr[SLICE_AXIS].integer),
         call->attr[SLICE_FROM].integer, &call->out[0], call->attr[SLICE_SIZE].integer);
}

static enum op_rows slice_rows(const struct graph *graph, const struct node *node)
{
    return cut_rows(graph, node, node->attr[SLICE_AXIS].integer);
}

static const struct op_case slice_cases[] = {
    {"f32[2,3,7]", "from=2 size=3", NULL},
    {"f64[3,5]", "size=5", NULL},
    {"f32[2,5,3]", "axis=1 from=4 size=1", NULL},
    {"token[2,7]", "from=1 size=6", "absorb 5"},
    {0},
};

const struct op op_slice = {
    .name = "slice",
    .doc = "A stretch of a tensor along one axis.",
    .inputs = any_x,
    .attrs = slice_attrs,
    .results = rule_result_y,
    .result_count = 1,
    .rows = ROWS_ALL,
    .rows_of = slice_rows,
    .shape = slice_shape,
    .grad = slice_grad,
    .cost = move_cost,
    .reference = slice_reference,
    .cases = slice_cases,
};

/* concat: tensors joined along an axis. The gradient of each is its slice of dy. */
static const struct op_input concat_inputs[] = {
    {"x", IN_ANY, INPUT_VARIADIC, "tensors of one dtype that differ in the joined axis only",
     DOMAIN_ANY},
    {0},
};
static const struct op_attr concat_attrs[] = {
    [CONCAT_AXIS] = {"axis", ATTR_INT, "-1", "which axis grows; negative: from the end", NULL},
    {0},
};

static bool concat_shape(struct op_call *call)
{
    struct type *y = &call->out[0];
    uint32_t at;
    if (!cut_axis(call, call->attr[CONCAT_AXIS].integer, &at))
        return false;
    *y = call->in[0];
    for (uint32_t i = 1; i < call->in_count; i++) {
        struct type other = call->in[i];
        int64_t more = at < other.rank ? other.dim[at].size : 0;
        bool fixed = at < other.rank && !other.dim[at].axis;
        if (at < other.rank)
            other.dim[at] = y->dim[at];
        if (!fixed || !type_equal(&other, y))
            return op_error(call, "%s and %s cannot be joined along axis %u", rule_print(call, 0),
                            rule_print(call, i), at);
        y->dim[at].size += more;
    }
    return true;
}

static void concat_grad(struct grad_call *call)
{
    const struct node *node = call->node;
    int64_t axis = node->attr[CONCAT_AXIS].integer, from = 0;
    for (uint32_t i = 0; i < node->in_count; i++) {
        const struct type *x = graph_type(call->graph, node->in[i]);
        int64_t size = x->dim[axis < 0 ? axis + (int64_t)x->rank : axis].size;
        union attr attr[] = {[SLICE_AXIS] = {.integer = axis},
                             [SLICE_FROM] = {.integer = from},
                             [SLICE_SIZE] = {.integer = size}};
        if (call->need[i])
            call->din[i] = graph_emit(call->graph, &op_slice, call->dout, 1, attr, node);
        from += size;
    }
}

static void concat_reference(const struct ref_call *call)
{
    struct ref_cut to = ref_cut(&call->out[0], call->attr[CONCAT_AXIS].integer);
    int64_t at = 0;
    for (uint32_t k = 0; k < call->in_count; k++) {
        struct ref_cut cut = ref_cut(&call->in[k], call->attr[CONCAT_AXIS].integer);
        for (int64_t o = 0; o < cut.outer; o++)
            for (int64_t i = 0; i < cut.mid * cut.inner; i++)
                call->out[0].data[(o * to.mid + at) * to.inner + i] =
                    call->in[k].data[o * cut.mid * cut.inner + i];
        at += cut.mid;
    }
}

static enum op_rows concat_rows(const struct graph *graph, const struct node *node)
{
    return cut_rows(graph, node, node->attr[CONCAT_AXIS].integer);
}

static const struct op_case concat_cases[] = {
    {"f32[2,3,5] f32[2,3,1] f32[2,3,7]", NULL, NULL},
    {"f64[3,2,5] f64[3,1,5]", "axis=1", NULL},
    {"f32[7]", NULL, NULL},
    {"bool[2,3] bool[2,3]", NULL, NULL},
    {"token[2,3] token[2,5]", "axis=-1", "absorb 5"},
    {"f32[131,137] f32[131,5]", NULL, NULL},
    {0},
};

const struct op op_concat = {
    .name = "concat",
    .doc = "Tensors joined along an axis.",
    .inputs = concat_inputs,
    .attrs = concat_attrs,
    .results = rule_result_y,
    .result_count = 1,
    .rows = ROWS_ALL,
    .rows_of = concat_rows,
    .shape = concat_shape,
    .grad = concat_grad,
    .cost = move_cost,
    .reference = concat_reference,
    .cases = concat_cases,
};
