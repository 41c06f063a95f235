/* timestep_features. Called through the table in ops/table.c. */
#include "ops/kernels/attrs.h"
#include "ops/ops.h"
#include "ops/rules.h"

#include <math.h>

/* timestep_features: a noise level as a vector of waves, as in the score network of Lou, Meng and
 * Ermon 2024, cosines first.   sigma f64 [rows] -> y f32 [rows, size], h = size / 2
 *
 *   y_i = cos(sigma f_i),  y_(h+i) = sin(sigma f_i),  f_i = period^(-i/h)
 *
 * Nothing flows back into sigma: it is drawn, or given by the loop. */
static const struct op_attr features_attrs[] = {
    [FEATURES_SIZE] = {"size", ATTR_INT, "256", "number of features, even", NULL},
    [FEATURES_PERIOD] = {"period", ATTR_REAL, "1e4", "ratio of the longest period to the shortest",
                         NULL},
    {0},
};

static const struct op_input features_inputs[] = {
    {"sigma", IN_F64, 0, "f64 [rows]", DOMAIN_POSITIVE},
    {0},
};

static bool features_shape(struct op_call *call)
{
    int64_t size = call->attr[FEATURES_SIZE].integer;
    if (call->in[0].rank != 1)
        return op_error(call, "sigma must be f64 [rows], not %s", rule_print(call, 0));
    if (size < 2 || size % 2)
        return op_error(call, "size must be even and at least 2, not %lld", (long long)size);
    if (!(call->attr[FEATURES_PERIOD].real > 0))
        return op_error(call, "period must be positive, not %g", call->attr[FEATURES_PERIOD].real);
    struct type y = {.dtype = DT_F32, .rank = 2};
    y.dim[0] = call->in[0].dim[0];
    y.dim[1].size = size;
    call->out[0] = y;
    return true;
}

static void features_cost(const struct op_call *call, struct op_cost *out)
{
    double n = (double)type_count(&call->out[0]);
    out->flop = 30 * n; /* a cosine or sine, and an exp for each pair */
    out->bytes = 4 * n;
}

static void features_reference(const struct ref_call *call)
{
    const struct ref_tensor *y = &call->out[0];
    int64_t rows = y->dim[0], size = y->dim[1], half = size / 2;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = 0; i < half; i++) {
            double f = pow(call->attr[FEATURES_PERIOD].real, -(double)i / (double)half);
            y->data[r * size + i] = cos(call->in[0].data[r] * f);
            y->data[r * size + half + i] = sin(call->in[0].data[r] * f);
        }
}

static const struct op_case features_cases[] = {
    {"f64[3]", "size=8", NULL},
    {"f64[1]", "size=2 period=100", NULL},
    {"f64[7]", NULL, NULL},
    {0},
};

const struct op op_timestep_features = {
    .name = "timestep_features",
    .doc = "Cosines and sines of a noise level at frequencies in geometric progression.",
    .inputs = features_inputs,
    .attrs = features_attrs,
    .results = rule_result_y,
    .result_count = 1,
    .flags = OP_NO_GRAD,
    .rows = ROWS_EACH,
    .shape = features_shape,
    .cost = features_cost,
    .reference = features_reference,
    .cases = features_cases,
};
