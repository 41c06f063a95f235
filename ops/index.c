/* The numbers of the positions of a sequence, and one of them taken or put. What a program that
 * goes from position to position reads and writes; a model with a table of positions looks them up
 * by these numbers. */
#include "ops/kernels/attrs.h"
#include "ops/ops.h"
#include "ops/rules.h"

#include <string.h>

/* positions: y = 0, 1, .. size - 1, i32 [size]. */
static const struct op_attr positions_attrs[] = {
    [POSITIONS_SIZE] = {"size", ATTR_INT, NULL, "how many", NULL},
    [POSITIONS_MOST] = {"most", ATTR_INT, "0",
                        "how many there can be, as rows of a table; 0: any number", NULL},
    {0},
};

static bool positions_shape(struct op_call *call)
{
    int64_t size = call->attr[POSITIONS_SIZE].integer, most = call->attr[POSITIONS_MOST].integer;
    if (size < 1 || size > INT32_MAX)
        return op_error(call, "size must be a number of positions, at least 1, not %lld",
                        (long long)size);
    if (most && size > most) {
        op_error(call, "%lld positions are more than the %lld that there can be", (long long)size,
                 (long long)most);
        diag_hint(call->graph->diags, "shorten the sequence, as by `length`: a model has as many "
                                      "positions as it was made with");
        return false;
    }
    call->out[0] = (struct type){.dtype = DT_I32, .rank = 1, .dim = {{size, 0}}};
    return true;
}

static void positions_reference(const struct ref_call *call)
{
    for (int64_t i = 0; i < ref_size(&call->out[0]); i++)
        call->out[0].data[i] = (double)i;
}

static const struct op_case positions_cases[] = {
    {"", "size=1", NULL},
    {"", "size=7 most=7", NULL},
    {"", "size=1301 most=2000", NULL},
    {0},
};

const struct op op_positions = {
    .name = "positions",
    .doc = "The numbers of the positions of a sequence, from 0.",
    .inputs = rule_no_inputs,
    .attrs = positions_attrs,
    .results = rule_result_y,
    .result_count = 1,
    .flags = OP_NO_GRAD,
    .rows = ROWS_NONE,
    .shape = positions_shape,
    .reference = positions_reference,
    .cases = positions_cases,
};

/* Whether the axis is one behind the rows, and input AT a number. */
static bool check_index(const struct op_call *call, uint32_t at, uint32_t *axis)
{
    if (!rule_axis(call, call->attr[INDEX_AXIS].integer, call->in[0].rank, axis))
        return false;
    if (*axis == 0)
        return op_error(call, "axis 0 of %s is that of the rows", rule_print(call, 0));
    return call->in[at].rank == 0 ||
           op_error(call, "`at` must be one i32, not %s", rule_print(call, at));
}

static const struct op_attr index_attrs[] = {
    [INDEX_AXIS] = {"axis", ATTR_INT, "1", "along which axis; negative: from the end", NULL},
    {0},
};

/* Elements before the axis, along it, and behind it, of the tensor that has it. */
static struct ref_cut index_cut(const struct ref_call *call, const struct ref_tensor *t)
{
    return ref_cut(t, call->attr[INDEX_AXIS].integer);
}

/* take: y = x at index `at` of an axis, which y lacks; zeros where there is no such index.
 *   x [rows, .., n, ..], at [] -> y [rows, .., ..];   dx = put of dy into zeros */
static const struct op_input take_inputs[] = {
    {"x", IN_ANY, 0, "any dtype [rows, ..., n, ...]", DOMAIN_ANY},
    {"at", IN_INT, INPUT_SHARED, "i32 []: which", DOMAIN_ANY},
    {0},
};

static bool take_shape(struct op_call *call)
{
    uint32_t axis;
    if (!check_index(call, 1, &axis))
        return false;
    call->out[0] = call->in[0];
    rule_drop_axis(&call->out[0], axis, false);
    return true;
}

static void take_grad(struct grad_call *call)
{
    const struct node *n = call->node;
    const struct type x = *graph_type(call->graph, n->in[0]);
    uint32_t in[] = {emit_full(call->graph, &x, 0, n), call->dout[0], n->in[1]};
    call->din[0] = graph_emit(call->graph, &op_put, in, 3, n->attr, n);
}

static void take_cost(const struct op_call *call, struct op_cost *out)
{
    out->flop = 0;
    out->bytes = 2 * (double)type_bytes(&call->out[0]);
}

static void take_reference(const struct ref_call *call)
{
    struct ref_cut cut = index_cut(call, &call->in[0]);
    double at = call->in[1].data[0];
    for (int64_t o = 0; o < cut.outer; o++)
        for (int64_t i = 0; i < cut.inner; i++)
            call->out[0].data[o * cut.inner + i] =
                at >= 0 && at < (double)cut.mid
                    ? call->in[0].data[(o * cut.mid + (int64_t)at) * cut.inner + i]
                    : 0;
}

static const struct op_case take_cases[] = {
    {"f32[2,7,3] i32[]", NULL, NULL},
    {"token[3,7] i32[]", NULL, "absorb 5"},
    {"f64[3,2,5] i32[]", "axis=2", NULL},
    {"bool[1,1] i32[]", "axis=-1", NULL},
    {"f32[13,5,331] i32[]", NULL, NULL},
    {"f32[2,3] i32[]", NULL, NULL},
    {0},
};

const struct op op_take = {
    .name = "take",
    .doc = "What a tensor holds at one index of an axis.",
    .inputs = take_inputs,
    .attrs = index_attrs,
    .results = rule_result_y,
    .result_count = 1,
    .rows = ROWS_SEQUENCE,
    .shape = take_shape,
    .grad = take_grad,
    .cost = take_cost,
    .reference = take_reference,
    .cases = take_cases,
};

/* put: x with `row` at index `at` of an axis; x itself where there is no such index.
 *   x [rows, .., n, ..], row [rows, .., ..], at [] -> y as x
 *   dx = put of zeros into dy,   drow = take of dy */
static const struct op_input put_inputs[] = {
    {"x", IN_ANY, 0, "any dtype [rows, ..., n, ...]", DOMAIN_ANY},
    {"row", IN_ANY, 0, "of that dtype, [rows, ..., ...]: without the axis", DOMAIN_ANY},
    {"at", IN_INT, INPUT_SHARED, "i32 []: where", DOMAIN_ANY},
    {0},
};

static bool put_shape(struct op_call *call)
{
    uint32_t axis;
    if (!check_index(call, 2, &axis))
        return false;
    struct type row = call->in[0];
    rule_drop_axis(&row, axis, false);
    if (!type_equal(&row, &call->in[1]))
        return op_error(call, "what is put into %s along axis %u must be %s, not %s",
                        rule_print(call, 0), axis,
                        type_print(call->graph->arena, call->graph, &row), rule_print(call, 1));
    return rule_like_first(call);
}

static void put_grad(struct grad_call *call)
{
    const struct node *n = call->node;
    const struct type row = *graph_type(call->graph, n->in[1]);
    const uint32_t dy = call->dout[0], at = n->in[2];
    if (call->need[0]) {
        uint32_t in[] = {dy, emit_full(call->graph, &row, 0, n), at};
        call->din[0] = graph_emit(call->graph, &op_put, in, 3, n->attr, n);
    }
    if (call->need[1])
        call->din[1] = graph_emit(call->graph, &op_take, (uint32_t[]){dy, at}, 2, n->attr, n);
}

static void put_cost(const struct op_call *call, struct op_cost *out)
{
    out->flop = 0;
    out->bytes = 2 * (double)(type_bytes(&call->in[0]) + type_bytes(&call->in[1]));
}

static void put_reference(const struct ref_call *call)
{
    const struct ref_tensor *x = &call->in[0], *y = &call->out[0];
    struct ref_cut cut = index_cut(call, x);
    double at = call->in[2].data[0];
    memcpy(y->data, x->data, (size_t)ref_size(x) * sizeof *x->data);
    for (int64_t o = 0; at >= 0 && at < (double)cut.mid && o < cut.outer; o++)
        for (int64_t i = 0; i < cut.inner; i++)
            y->data[(o * cut.mid + (int64_t)at) * cut.inner + i] =
                call->in[1].data[o * cut.inner + i];
}

static const struct op_case put_cases[] = {
    {"f32[2,7,3] f32[2,3] i32[]", NULL, NULL},
    {"token[3,7] token[3] i32[]", NULL, "absorb 5"},
    {"f64[3,2,5] f64[3,2] i32[]", "axis=2", NULL},
    {"bool[1,1] bool[1] i32[]", "axis=-1", NULL},
    {"f32[13,5,331] f32[13,331] i32[]", NULL, NULL},
    {"f32[2,3] f32[2] i32[]", NULL, NULL},
    {0},
};

const struct op op_put = {
    .name = "put",
    .doc = "A tensor with something else at one index of an axis.",
    .inputs = put_inputs,
    .attrs = index_attrs,
    .results = rule_result_y,
    .result_count = 1,
    .rows = ROWS_SEQUENCE,
    .shape = put_shape,
    .grad = put_grad,
    .cost = put_cost,
    .inplace = 1,
    .reference = put_reference,
    .cases = put_cases,
};
