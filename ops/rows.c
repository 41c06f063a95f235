/* Rows picked by index: `nonzero` finds them, `gather` takes them, `scatter_add` and `replace` put
 * them back.
 *
 * Together they let a program compute on some rows only, in a short axis whose count the run finds
 * out. Rows may run over several leading axes (`axes`, `rows`): tensors are row major, so row
 * (i, j) of [m, n, ...] has index i n + j, also when the first axis is short. */
#include "ops/kernels/attrs.h"
#include "ops/ops.h"
#include "ops/rules.h"

#include <math.h>

static void copy_cost(const struct op_call *call, struct op_cost *out)
{
    out->flop = 0;
    out->bytes = 2 * (double)type_bytes(&call->out[0]);
}

/* nonzero: the indices, in order, at which flags holds. */
static const struct op_input nonzero_inputs[] = {
    {"flags", IN_BOOL, 0, "bool [n, ...]", DOMAIN_ANY},
    {0},
};

static bool nonzero_shape(struct op_call *call)
{
    if (call->in[0].rank == 0)
        return op_error(call, "a scalar has no rows");
    int64_t size = type_count(&call->in[0]);
    if (size > INT32_MAX)
        return op_error(call, "%s has more rows than an i32 can count", rule_print(call, 0));
    struct graph *g = call->graph;
    struct type *y = &call->out[0];
    *y = type_scalar(DT_I32);
    y->rank = 1;
    y->dim[0].size = size;
    y->dim[0].axis = graph_axis(g, arena_printf(g->arena, "some%u", g->axis_count), size);
    return true;
}

static void nonzero_reference(const struct ref_call *call)
{
    int64_t count = 0;
    for (int64_t i = 0; i < ref_size(&call->in[0]); i++)
        if (call->in[0].data[i] != 0)
            call->out[0].data[count++] = (double)i;
    *call->count = count;
}

static const struct op_case nonzero_cases[] = {
    {"bool[7]", NULL, NULL},
    {"bool[3,5]", NULL, NULL},
    {"bool[1,1]", NULL, NULL},
    {0},
};

static const char *const nonzero_results[] = {"index", NULL};

const struct op op_nonzero = {
    .name = "nonzero",
    .doc = "The indices of the true elements, in order, on an axis of their own.",
    .inputs = nonzero_inputs,
    .results = nonzero_results,
    .result_count = 1,
    .flags = OP_COUNTS | OP_NO_GRAD,
    .rows = ROWS_ALL,
    .shape = nonzero_shape,
    .cost = copy_cost,
    .reference = nonzero_reference,
    .cases = nonzero_cases,
};

/* gather: y_k = row index_k of x; zeros where there is no such row. dx = scatter_add of dy. */
static const struct op_input gather_inputs[] = {
    {"x", IN_ANY, 0, "any dtype [n, ...]", DOMAIN_ANY},
    {"index", IN_INT, 0, "i32 [m]: which rows", DOMAIN_INDEX},
    {0},
};
static const struct op_attr gather_attrs[] = {
    [GATHER_AXES] = {"axes", ATTR_INT, "1", "how many leading axes of x an index runs over", NULL},
    {0},
};

static bool gather_shape(struct op_call *call)
{
    const struct type *x = &call->in[0];
    struct type *y = &call->out[0];
    int64_t axes = call->attr[GATHER_AXES].integer;
    if (call->in[1].rank != 1)
        return op_error(call, "an index must be i32 [m], not %s", rule_print(call, 1));
    if (axes < 1 || axes > (int64_t)x->rank)
        return op_error(call, "%s has no %lld leading axes", rule_print(call, 0), (long long)axes);
    *y = *x;
    y->rank = x->rank - (uint32_t)axes + 1;
    y->dim[0] = call->in[1].dim[0];
    for (uint32_t i = 1; i < y->rank; i++)
        y->dim[i] = x->dim[(uint32_t)axes - 1 + i];
    return true;
}

static void gather_grad(struct grad_call *call)
{
    const struct type *x = graph_type(call->graph, call->node->in[0]);
    uint32_t axes = (uint32_t)call->node->attr[GATHER_AXES].integer;
    union attr attr[] = {[SCATTER_ROWS] = rule_dims(call->graph, x->dim, axes)};
    call->din[0] = graph_emit(call->graph, &op_scatter_add,
                              (uint32_t[]){call->dout[0], call->node->in[1]}, 2, attr, call->node);
}

static void gather_reference(const struct ref_call *call)
{
    int64_t rows = ref_lead(&call->in[0], (uint32_t)call->attr[GATHER_AXES].integer);
    int64_t width = rows ? ref_size(&call->in[0]) / rows : 0;
    for (int64_t k = 0; k < call->in[1].dim[0]; k++) {
        int64_t row = (int64_t)call->in[1].data[k];
        bool there = row >= 0 && row < rows;
        for (int64_t i = 0; i < width; i++)
            call->out[0].data[k * width + i] = there ? call->in[0].data[row * width + i] : 0;
    }
}

static const struct op_case gather_cases[] = {
    {"f32[5,3] i32[7]", NULL, NULL},
    {"f64[3] i32[2]", NULL, NULL},
    {"f32[2,3,5] i32[4]", "axes=2", NULL},
    {"token[3,7] i32[1]", NULL, "absorb 5"},
    {"f32[2,3,5] i32[3]", NULL, NULL},
    {"f32[131,137] i32[149]", NULL, NULL},
    {0},
};

const struct op op_gather = {
    .name = "gather",
    .doc = "The rows of a tensor that an index names.",
    .inputs = gather_inputs,
    .attrs = gather_attrs,
    .results = rule_result_y,
    .result_count = 1,
    .rows = ROWS_ALL,
    .shape = gather_shape,
    .grad = gather_grad,
    .cost = copy_cost,
    .reference = gather_reference,
    .cases = gather_cases,
};

/* scatter_add: y_r = sum of x_k over the k with index_k = r, added in the order of k; rows that do
 * not exist are dropped. dx = gather of dy. */
static const struct op_input scatter_inputs[] = {
    {"x", IN_REAL, 0, "f32 or f64 [m, ...]", DOMAIN_ANY},
    {"index", IN_INT, 0, "i32 [m]: which row each is added to", DOMAIN_INDEX},
    {0},
};
static const struct op_attr scatter_attrs[] = {
    [SCATTER_ROWS] = {"rows", ATTR_DIMS, NULL, "the leading axes of the result", NULL},
    {0},
};

static bool scatter_shape(struct op_call *call)
{
    const union attr *rows = &call->attr[SCATTER_ROWS];
    const struct type *x = &call->in[0];
    struct type *y = &call->out[0];
    if (call->in[1].rank != 1)
        return op_error(call, "an index must be i32 [m], not %s", rule_print(call, 1));
    if (!rule_same_axes(call, 0, 1, 1))
        return false;
    if (rows->dims.count < 1 || rows->dims.count + x->rank - 1 > TENSOR_RANK_MAX)
        return op_error(call, "the result would have %u axes", rows->dims.count + x->rank - 1);
    *y = *x;
    y->rank = rows->dims.count + x->rank - 1;
    for (uint32_t i = 0; i < y->rank; i++)
        y->dim[i] = i < rows->dims.count ? rows->dims.items[i] : x->dim[i - rows->dims.count + 1];
    return true;
}

static void scatter_cost(const struct op_call *call, struct op_cost *out)
{
    out->flop = (double)type_count(&call->in[0]);
    out->bytes = (double)(2 * type_bytes(&call->in[0]) + type_bytes(&call->out[0]));
}

static void scatter_grad(struct grad_call *call)
{
    union attr attr[] = {[GATHER_AXES] = {.integer = call->node->attr[SCATTER_ROWS].dims.count}};
    call->din[0] = graph_emit(call->graph, &op_gather,
                              (uint32_t[]){call->dout[0], call->node->in[1]}, 2, attr, call->node);
}

static void scatter_reference(const struct ref_call *call)
{
    const struct ref_tensor *x = &call->in[0], *y = &call->out[0];
    int64_t rows = ref_lead(y, call->attr[SCATTER_ROWS].dims.count);
    int64_t width = rows ? ref_size(y) / rows : 0;
    for (int64_t i = 0; i < rows * width; i++)
        y->data[i] = 0;
    for (int64_t k = 0; k < x->dim[0]; k++) {
        int64_t row = (int64_t)call->in[1].data[k];
        if (row >= 0 && row < rows)
            for (int64_t i = 0; i < width; i++)
                y->data[row * width + i] += x->data[k * width + i];
    }
}

static const struct op_case scatter_cases[] = {
    {"f32[5,3] i32[5]", "rows=7", NULL},         {"f64[3] i32[3]", "rows=2", NULL},
    {"f32[7,5] i32[7]", "rows=2,3", NULL},       {"f32[1,131] i32[1]", "rows=1", NULL},
    {"f32[131,601] i32[131]", "rows=151", NULL}, {0},
};

const struct op op_scatter_add = {
    .name = "scatter_add",
    .doc = "Zeros, with rows added to where an index says.",
    .inputs = scatter_inputs,
    .attrs = scatter_attrs,
    .results = rule_result_y,
    .result_count = 1,
    .rows = ROWS_ALL,
    .shape = scatter_shape,
    .grad = scatter_grad,
    .cost = scatter_cost,
    .reference = scatter_reference,
    .cases = scatter_cases,
};

/* replace: y_r = row x_k where index_k = r, of several the last; row r of base where there is none.
 * Rows that do not exist are dropped. An index runs over as many leading axes of base as x leaves
 * open. */
static const struct op_input replace_inputs[] = {
    {"base", IN_IDS, 0, "token or i32 [n, ...]", DOMAIN_ANY},
    {"x", IN_IDS, 0, "the same dtype [m, ...]: rows of base", DOMAIN_ANY},
    {"index", IN_INT, 0, "i32 [m]: which row each takes the place of", DOMAIN_INDEX},
    {0},
};

static bool replace_shape(struct op_call *call)
{
    const struct type *base = &call->in[0], *x = &call->in[1];
    if (base->dtype != x->dtype || base->process != x->process)
        return op_error(call, "rows of %s cannot be %s", rule_print(call, 0), rule_print(call, 1));
    if (call->in[2].rank != 1)
        return op_error(call, "an index must be i32 [m], not %s", rule_print(call, 2));
    if (x->rank < 1 || base->rank < x->rank)
        return op_error(call, "%s has no rows like those of %s", rule_print(call, 0),
                        rule_print(call, 1));
    for (uint32_t i = 1; i < x->rank; i++) {
        const struct dim *mine = &x->dim[i], *its = &base->dim[base->rank - x->rank + i];
        if (mine->size != its->size || mine->axis != its->axis)
            return op_error(call, "%s has no rows like those of %s", rule_print(call, 0),
                            rule_print(call, 1));
    }
    call->out[0] = *base;
    return rule_same_axes(call, 1, 2, 1);
}

static void replace_reference(const struct ref_call *call)
{
    const struct ref_tensor *base = &call->in[0], *x = &call->in[1];
    int64_t rows = ref_lead(base, base->rank - x->rank + 1);
    int64_t width = rows ? ref_size(base) / rows : 0;
    for (int64_t i = 0; i < rows * width; i++)
        call->out[0].data[i] = base->data[i];
    for (int64_t k = 0; k < x->dim[0]; k++) {
        int64_t row = (int64_t)call->in[2].data[k];
        if (row >= 0 && row < rows)
            for (int64_t i = 0; i < width; i++)
                call->out[0].data[row * width + i] = x->data[k * width + i];
    }
}

static const struct op_case replace_cases[] = {
    {"token[7,3] token[5,3] i32[5]", NULL, "absorb 5"},
    {"token[3,5] token[4] i32[4]", NULL, "absorb 5"},
    {"i32[5] i32[2] i32[2]", NULL, NULL},
    {"token[1,1] token[1,1] i32[1]", NULL, "absorb 1"},
    {"i32[149,131] i32[131,131] i32[131]", NULL, NULL},
    {0},
};

const struct op op_replace = {
    .name = "replace",
    .doc = "Tokens or ids with rows of others put where an index says.",
    .inputs = replace_inputs,
    .results = rule_result_y,
    .result_count = 1,
    .flags = OP_NO_GRAD,
    .rows = ROWS_ALL,
    .shape = replace_shape,
    .cost = copy_cost,
    .inplace = 1,
    .reference = replace_reference,
    .cases = replace_cases,
};

/* row_owner: which row of the first axis row k lies in, where rows run over several axes:
 * index / of, with the size OF of the axes after the first. */
static const struct op_input owner_inputs[] = {
    {"index", IN_INT, 0, "i32 [m]: rows, as nonzero finds them", DOMAIN_INDEX},
    {0},
};
static const struct op_attr owner_attrs[] = {
    [OWNER_OF] = {"of", ATTR_INT, NULL, "rows of each entry of the first axis", NULL},
    {0},
};

static bool owner_shape(struct op_call *call)
{
    if (call->attr[OWNER_OF].integer < 1)
        return op_error(call, "`of` (%lld) must be at least 1",
                        (long long)call->attr[OWNER_OF].integer);
    return rule_like_first(call);
}

static void owner_reference(const struct ref_call *call)
{
    for (int64_t k = 0; k < ref_size(&call->in[0]); k++)
        call->out[0].data[k] = floor(call->in[0].data[k] / (double)call->attr[OWNER_OF].integer);
}

static const char *const owner_results[] = {"owner", NULL};
static const struct op_case owner_cases[] = {
    {"i32[7]", "of=3", NULL},
    {"i32[1]", "of=1", NULL},
    {"i32[5]", "of=2", NULL},
    {0},
};

const struct op op_row_owner = {
    .name = "row_owner",
    .doc = "Which entry of the first axis each row lies in, where rows run over several axes.",
    .inputs = owner_inputs,
    .attrs = owner_attrs,
    .results = owner_results,
    .result_count = 1,
    .flags = OP_INTERNAL | OP_NO_GRAD,
    .rows = ROWS_EACH,
    .shape = owner_shape,
    .inplace = 1,
    .reference = owner_reference,
    .cases = owner_cases,
};
