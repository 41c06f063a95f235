/* Uniform draws. Who draws, and when, is told by the run: see graph/base/random.h. */
#include "ops/kernels/attrs.h"
#include "ops/ops.h"
#include "ops/rules.h"

/* random_uniform: y = low + (high - low) u, u uniform on [0, 1) with 53 bits.
 * Stratified (rank 1: one number per sequence): u_i = (g + v_i) / N, where g = sequence mod N is
 * the place of the sequence among the N of an iteration, so that each of N equal parts of the
 * interval gets one draw whatever the batch sizes are. */
static const struct op_attr uniform_attrs[] = {
    [UNIFORM_SHAPE] = {"shape", ATTR_DIMS, NULL, "axes of the result", NULL},
    [UNIFORM_LOW] = {"low", ATTR_REAL, "0", "least value", NULL},
    [UNIFORM_HIGH] = {"high", ATTR_REAL, "1", "upper end, excluded", NULL},
    [UNIFORM_STRATIFIED] = {"stratified", ATTR_BOOL, "false",
                            "one draw in each of as many equal parts as an iteration has sequences",
                            NULL},
    {0},
};

static bool uniform_shape(struct op_call *call)
{
    const union attr *shape = &call->attr[UNIFORM_SHAPE];
    struct type type = type_scalar(DT_F64);
    if (shape->dims.count > TENSOR_RANK_MAX)
        return op_error(call, "a shape has at most %d axes", TENSOR_RANK_MAX);
    type.rank = shape->dims.count;
    for (uint32_t i = 0; i < type.rank; i++) {
        if (i > 0 && shape->dims.items[i].axis)
            return op_error(call, "only the first axis of a shape may be short");
        type.dim[i] = shape->dims.items[i];
    }
    if (call->attr[UNIFORM_STRATIFIED].flag && type.rank != 1)
        return op_error(call, "stratified draws need a shape of one axis, the sequences");
    if (!(call->attr[UNIFORM_LOW].real < call->attr[UNIFORM_HIGH].real))
        return op_error(call, "low (%g) must be less than high (%g)", call->attr[UNIFORM_LOW].real,
                        call->attr[UNIFORM_HIGH].real);
    call->out[0] = type;
    return true;
}

static void uniform_cost(const struct op_call *call, struct op_cost *out)
{
    double n = (double)type_count(&call->out[0]);
    out->flop = 30 * n; /* ten Philox rounds for two numbers */
    out->bytes = 8 * n;
}

static void uniform_reference(const struct ref_call *call)
{
    const struct ref_tensor *y = &call->out[0];
    const struct draw *draw = &call->draw;
    double low = call->attr[UNIFORM_LOW].real;
    double width = call->attr[UNIFORM_HIGH].real - low;
    int64_t rows = y->rank ? y->dim[0] : 1;
    int64_t size = rows ? ref_size(y) / rows : 0;
    for (int64_t row = 0; row < rows; row++)
        for (int64_t i = 0; i < size; i++) {
            uint32_t sequence = draw->sequence + (uint32_t)row;
            double u =
                random_uniform(draw->key, draw->iteration, draw->stream, sequence, (uint32_t)i);
            if (call->attr[UNIFORM_STRATIFIED].flag)
                u = (sequence % draw->sequences + u) / draw->sequences;
            y->data[row * size + i] = low + width * u;
        }
}

static const struct op_case uniform_cases[] = {
    {"", "shape=5", NULL},
    {"", "shape=7 low=1e-3 stratified=true", NULL},
    {"", "shape=3,1,5 low=-2 high=3", NULL},
    {"", "shape=2,7", NULL},
    {0},
};

const struct op op_random_uniform = {
    .name = "random_uniform",
    .doc = "Uniform random numbers in [low, high), f64.",
    .inputs = rule_no_inputs,
    .attrs = uniform_attrs,
    .results = rule_result_y,
    .result_count = 1,
    .flags = OP_RANDOM | OP_NO_GRAD,
    .rows = ROWS_NONE,
    .shape = uniform_shape,
    .cost = uniform_cost,
    .reference = uniform_reference,
    .cases = uniform_cases,
};
