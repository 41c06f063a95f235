/* embedding, its backward op, and one_hot. Called through the table in ops/table.c. */
#include "ops/kernels/attrs.h"
#include "ops/kernels/product_room.h"
#include "ops/ops.h"
#include "ops/rules.h"

#include <math.h>
#include <string.h>

static const char *const inits[] = {"uniform", "normal", NULL};
enum { UNIFORM, NORMAL };

/* embedding: rows of a table W [rows, out].
 *
 *   ids [...]              y = W[id]          dW[r] = sum of dy where id = r
 *   weights [..., rows]    y = weights W      dW = weights^T dy,   d weights = dy W^T
 *
 * The second form takes one-hot or soft rows over the alphabet in place of ids, so that a gradient
 * can flow into tokens. The default initialiser is torch's kaiming_uniform(a = sqrt 5) on the
 * table, whose fan-in is out: uniform on +-1/sqrt(out). An id outside the table gives NaN. */
static const struct op_attr embedding_attrs[] = {
    [EMBEDDING_OUT] = {"out", ATTR_INT, NULL, "size of a row of the table", NULL},
    [EMBEDDING_INIT] = {"init", ATTR_CHOICE, "uniform",
                        "uniform on +-1/sqrt(out), or normal with standard deviation std", inits},
    [EMBEDDING_STD] = {"std", ATTR_REAL, "0.02", "standard deviation for init: normal", NULL},
    [EMBEDDING_NAME] = {"name", ATTR_TEXT, "embedding", "component of the table's name", NULL},
    [EMBEDDING_ROWS] = {"rows", ATTR_INT, "0",
                        "rows of the table; 0: as many as the alphabet of the ids has states",
                        NULL},
    {0},
};

static const struct op_input embedding_inputs[] = {
    {"ids", IN_ANY, 0, "token or i32 [...], or f32 [..., rows]: weights over the rows", DOMAIN_ANY},
    {"table", IN_F32, INPUT_PARAM | INPUT_OPTIONAL, "f32 [rows, out]", DOMAIN_ANY},
    {0},
};

static bool soft(const struct type *ids)
{
    return ids->dtype == DT_F32;
}

/* States of the alphabet of X, or 0 where X is no token. */
static int64_t alphabet(const struct op_call *call, const struct type *x)
{
    if (x->dtype != DT_TOKEN || !x->process)
        return 0;
    return call->graph->processes[x->process - 1].chain.states;
}

/* Rows of the table, or 0 where nothing tells. */
static int64_t table_rows(const struct op_call *call)
{
    const struct type *x = &call->in[0];
    int64_t rows = call->attr[EMBEDDING_ROWS].integer;
    if (x->rank == TYPE_ABSENT || rows)
        return rows;
    if (soft(x))
        return x->rank ? x->dim[x->rank - 1].size : 0;
    return alphabet(call, x);
}

static uint32_t embedding_params(const struct op_call *call, struct op_param *out)
{
    int64_t rows = table_rows(call), size = call->attr[EMBEDDING_OUT].integer;
    if (rows < 1 || size < 1)
        return 0; /* the shape rule says what is wrong */
    struct type table = {.dtype = DT_F32, .rank = 2, .dim = {{rows, 0}, {size, 0}}};
    *out = (struct op_param){call->attr[EMBEDDING_NAME].text, table, INIT_UNIFORM,
                             1 / sqrt((double)size)};
    if (call->attr[EMBEDDING_INIT].integer == NORMAL) {
        out->init = INIT_NORMAL;
        out->scale = call->attr[EMBEDDING_STD].real;
    }
    return 1;
}

/* What the first input must be, and that it fits ROWS. */
static bool check_ids(const struct op_call *call, int64_t rows)
{
    const struct type *x = &call->in[0];
    if (x->dtype != DT_TOKEN && x->dtype != DT_I32 && !soft(x))
        return op_error(call, "ids must be token, i32 or f32, not %s", rule_print(call, 0));
    if (rows < 1)
        return op_error(call, "rows must be given: %s says nothing about the size of the table",
                        rule_print(call, 0));
    if (soft(x) && (x->rank == 0 || x->dim[x->rank - 1].size != rows))
        return op_error(call, "weights over %lld rows must be f32 [..., %lld], not %s",
                        (long long)rows, (long long)rows, rule_print(call, 0));
    if (alphabet(call, x) > rows)
        return op_error(call, "a table of %lld rows is too small for an alphabet of %lld states",
                        (long long)rows, (long long)alphabet(call, x));
    return true;
}

static bool embedding_shape(struct op_call *call)
{
    const struct type *x = &call->in[0];
    int64_t rows = table_rows(call), size = call->attr[EMBEDDING_OUT].integer;
    if (size < 1)
        return op_error(call, "out must be at least 1, not %lld", (long long)size);
    if (!check_ids(call, rows))
        return false;
    struct type table = {.dtype = DT_F32, .rank = 2, .dim = {{rows, 0}, {size, 0}}};
    if (!op_has(call, 1) || !type_same_shape(&call->in[1], &table))
        return op_error(call, "the table must be f32 [%lld, %lld]", (long long)rows,
                        (long long)size);
    struct type y = *x;
    if (!soft(x) && y.rank++ == TENSOR_RANK_MAX)
        return op_error(call, "%s has no room for one more axis", rule_print(call, 0));
    y.dtype = DT_F32;
    y.process = 0;
    y.dim[y.rank - 1] = (struct dim){size, 0};
    call->out[0] = y;
    return true;
}

static void soft_grad(struct grad_call *call)
{
    const struct node *n = call->node;
    uint32_t dy = call->dout[0];
    if (call->need[0]) {
        union attr attr[] = {
            [LINEAR_OUT] = {.integer = graph_type(call->graph, n->in[1])->dim[0].size},
            [LINEAR_BIAS] = {.flag = false},
            [LINEAR_LAYOUT] = {.integer = LAYOUT_OUT_IN},
            [LINEAR_INIT] = {.integer = 0},
            [LINEAR_STD] = {.real = 0},
        };
        call->din[0] = graph_emit(call->graph, &op_linear, (uint32_t[]){dy, n->in[1]}, 2, attr, n);
    }
    if (call->need[1]) {
        union attr attr[] = {[WEIGHT_GRAD_LAYOUT] = {.integer = LAYOUT_IN_OUT}};
        call->din[1] =
            graph_emit(call->graph, &op_linear_weight_grad, (uint32_t[]){n->in[0], dy}, 2, attr, n);
    }
}

static void embedding_grad(struct grad_call *call)
{
    const struct node *n = call->node;
    if (soft(graph_type(call->graph, n->in[0]))) {
        soft_grad(call);
        return;
    }
    if (!call->need[1])
        return;
    union attr attr[] = {
        [EMBEDDING_BACKWARD_ROWS] = {.integer = graph_type(call->graph, n->in[1])->dim[0].size}};
    call->din[1] = graph_emit(call->graph, &op_embedding_backward,
                              (uint32_t[]){n->in[0], call->dout[0]}, 2, attr, n);
}

static void embedding_cost(const struct op_call *call, struct op_cost *out)
{
    double y = (double)type_count(&call->out[0]), x = (double)type_count(&call->in[0]);
    bool dense = soft(&call->in[0]);
    out->flop = dense ? 2 * x * (double)call->attr[EMBEDDING_OUT].integer : 0;
    out->bytes = 4 * (x + y + (dense ? (double)type_count(&call->in[1]) : y));
}

static int64_t embedding_workspace(const struct op_call *call)
{
    const struct type *x = &call->in[0], *table = &call->in[1];
    int64_t rows = table->dim[0].size;
    return soft(x) ? product_room_bytes(type_count(x) / rows, table->dim[1].size, rows) : 0;
}

static void embedding_reference(const struct ref_call *call)
{
    const struct ref_tensor *x = &call->in[0], *table = &call->in[1], *y = &call->out[0];
    int64_t rows = table->dim[0], size = table->dim[1], count = ref_size(y) / size;
    for (int64_t r = 0; r < count; r++)
        for (int64_t j = 0; j < size; j++) {
            if (x->rank < y->rank) {
                int64_t id = (int64_t)x->data[r];
                bool inside = id >= 0 && id < rows;
                y->data[r * size + j] = inside ? table->data[id * size + j] : NAN;
                continue;
            }
            double sum = 0;
            for (int64_t i = 0; i < rows; i++)
                sum += x->data[r * rows + i] * table->data[i * size + j];
            y->data[r * size + j] = sum;
        }
}

static const struct op_case embedding_cases[] = {
    {"token[3,5]", "out=7", "absorb 5"},
    {"token[1,1]", "out=1", "uniform 2"},
    {"token[2,3]", "out=16 rows=9 init=normal", "uniform 4"},
    {"f32[2,3,5]", "out=7", NULL},
    {"f32[1,1]", "out=3", NULL},
    {0},
};

const struct op op_embedding = {
    .name = "embedding",
    .doc = "Looks rows of a table up by id, or mixes them by weights.",
    .inputs = embedding_inputs,
    .attrs = embedding_attrs,
    .results = rule_result_y,
    .result_count = 1,
    .rows = ROWS_EACH,
    .params = embedding_params,
    .shape = embedding_shape,
    .grad = embedding_grad,
    .cost = embedding_cost,
    .workspace = embedding_workspace,
    .reference = embedding_reference,
    .cases = embedding_cases,
};

/* embedding_backward: ids [...], dy [..., out] -> dW [rows, out], dW[r] = sum of dy where id = r,
 * added in the order of the ids. */
static const struct op_input backward_inputs[] = {
    {"ids", IN_IDS, 0, "token or i32 [...]", DOMAIN_ANY},
    {"dy", IN_F32, 0, "f32 [..., out]", DOMAIN_ANY},
    {0},
};

static const struct op_attr backward_attrs[] = {
    [EMBEDDING_BACKWARD_ROWS] = {"rows", ATTR_INT, NULL, "rows of the table", NULL},
    {0},
};

static const char *const backward_results[] = {"dtable", NULL};

static bool backward_shape(struct op_call *call)
{
    const struct type *ids = &call->in[0], *dy = &call->in[1];
    if (dy->rank != ids->rank + 1)
        return op_error(call, "dy must have one axis more than %s, not be %s", rule_print(call, 0),
                        rule_print(call, 1));
    if (!rule_same_axes(call, 0, 1, ids->rank))
        return false;
    int64_t rows = call->attr[EMBEDDING_BACKWARD_ROWS].integer;
    struct type out = {.dtype = DT_F32, .rank = 2};
    out.dim[0].size = rows;
    out.dim[1] = dy->dim[ids->rank];
    call->out[0] = out;
    return true;
}

static void backward_cost(const struct op_call *call, struct op_cost *out)
{
    double dy = (double)type_count(&call->in[1]);
    out->flop = dy;
    out->bytes = 4 * (3 * dy + (double)type_count(&call->out[0]));
}

static void backward_reference(const struct ref_call *call)
{
    const struct ref_tensor *ids = &call->in[0], *dy = &call->in[1], *dw = &call->out[0];
    int64_t size = dw->dim[1], count = ref_size(ids);
    memset(dw->data, 0, (size_t)ref_size(dw) * sizeof *dw->data);
    for (int64_t r = 0; r < count; r++)
        for (int64_t j = 0; j < size; j++)
            dw->data[(int64_t)ids->data[r] * size + j] += dy->data[r * size + j];
}

static const struct op_case backward_cases[] = {
    {"token[3,5] f32[3,5,7]", "rows=6", "absorb 5"},
    {"token[1,1] f32[1,1,1]", "rows=2", "uniform 2"},
    {"token[7] f32[7,131]", "rows=11", "uniform 4"},
    {0},
};

const struct op op_embedding_backward = {
    .name = "embedding_backward",
    .doc = "Gradient of a table: sums the rows of dy by id.",
    .inputs = backward_inputs,
    .attrs = backward_attrs,
    .results = backward_results,
    .result_count = 1,
    .flags = OP_INTERNAL | OP_ZERO_GRAD_TWICE,
    .rows = ROWS_ALL,
    .shape = backward_shape,
    .cost = backward_cost,
    .reference = backward_reference,
    .cases = backward_cases,
};

/* one_hot: ids [...] -> y [..., rows], 1 at the id and 0 elsewhere. It is where a gradient with
 * respect to tokens is taken: to first order, y_id' - y_id of that gradient is what another token
 * changes. An id outside the rows gives zeros. */
static const struct op_attr one_hot_attrs[] = {
    [ONE_HOT_ROWS] = {"rows", ATTR_INT, "0",
                      "size of a row; 0: as many as the alphabet of the ids has states", NULL},
    {0},
};

static const struct op_input one_hot_inputs[] = {
    {"ids", IN_IDS, 0, "token or i32 [...]", DOMAIN_ANY},
    {0},
};

static bool one_hot_shape(struct op_call *call)
{
    struct type y = call->in[0];
    int64_t states = alphabet(call, &y), rows = call->attr[ONE_HOT_ROWS].integer;
    rows = rows ? rows : states;
    if (rows < 1)
        return op_error(call, "rows must be given: %s says nothing about their size",
                        rule_print(call, 0));
    if (states > rows)
        return op_error(call, "%lld rows are too few for an alphabet of %lld states",
                        (long long)rows, (long long)states);
    if (y.rank == TENSOR_RANK_MAX)
        return op_error(call, "%s has no room for one more axis", rule_print(call, 0));
    y.dtype = DT_F32;
    y.process = 0;
    y.dim[y.rank++] = (struct dim){rows, 0};
    call->out[0] = y;
    return true;
}

static void one_hot_reference(const struct ref_call *call)
{
    const struct ref_tensor *x = &call->in[0], *y = &call->out[0];
    int64_t rows = y->dim[y->rank - 1];
    for (int64_t i = 0; i < ref_size(y); i++)
        y->data[i] = (int64_t)x->data[i / rows] == i % rows;
}

static const struct op_case one_hot_cases[] = {
    {"token[3,5]", NULL, "absorb 5"},
    {"token[1,1]", "rows=4", "uniform 2"},
    {"token[7]", "rows=0", "uniform 4"},
    {0},
};

const struct op op_one_hot = {
    .name = "one_hot",
    .doc = "Rows of zeros with a one at each id: where a gradient by tokens is taken.",
    .inputs = one_hot_inputs,
    .attrs = one_hot_attrs,
    .results = rule_result_y,
    .result_count = 1,
    .flags = OP_NO_GRAD,
    .rows = ROWS_EACH,
    .shape = one_hot_shape,
    .reference = one_hot_reference,
    .cases = one_hot_cases,
};
