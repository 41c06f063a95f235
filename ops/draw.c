/* Draws of one state a row, from its weights or from their logarithms. */
#include "ops/ops.h"
#include "ops/rules.h"
#include "ops/sampler.h"

static void draw_cost(const struct op_call *call, struct op_cost *out)
{
    chain_cost(call, 20, out); /* at most an exponential in double, and a sum */
}

/* categorical: a token in proportion to max(0, weight); 0 where no weight is positive. */
static const struct op_input categorical_inputs[] = {
    {"weights", IN_REAL, 0, "f32 or f64 [rows, length, n]: n at most the states", DOMAIN_UNIT},
    {0},
};

static bool categorical_shape(struct op_call *call)
{
    struct type *out = &call->out[0];
    *out = call->in[0];
    if (out->rank < 2)
        return op_error(call, "`weights` must be [rows, length, n], not %s", rule_print(call, 0));
    out->rank--;
    if (out->dim[out->rank].size > call->chain->states || out->dim[out->rank].size < 1)
        return op_error(call, "the last axis of %s must have 1 to %d entries, one a state",
                        rule_print(call, 0), (int)call->chain->states);
    out->dtype = DT_TOKEN;
    out->process = call->process;
    return true;
}

static void categorical_reference(const struct ref_call *call)
{
    const struct ref_tensor *weights = &call->in[0];
    struct chain_walk walk = ref_walk(&call->out[0]);
    int64_t count = weights->dim[weights->rank - 1];
    for (int64_t p = 0; p < walk.rows * walk.length; p++)
        call->out[0].data[p] = ref_draw(weights->data + p * count, (int32_t)count, -1,
                                        ref_uniform(call, p / walk.length, p % walk.length));
}

static const struct op_case categorical_cases[] = {
    {"f32[2,3,6]", NULL, "absorb 5"},
    {"f64[3,5,2]", NULL, "absorb 3"},
    {"f64[1,7,7]", NULL, "uniform 7"},
    {"f32[11,1]", NULL, "uniform 2"},
    {0},
};

const struct op op_categorical = {
    .name = "categorical",
    .doc = "Draws tokens in proportion to weights; negative ones count as zero.",
    .inputs = categorical_inputs,
    .results = sampler_result_x,
    .result_count = 1,
    .flags = OP_PROCESS | OP_RANDOM | OP_NO_GRAD,
    .rows = ROWS_SEQUENCE,
    .shape = categorical_shape,
    .cost = draw_cost,
    .reference = categorical_reference,
    .cases = categorical_cases,
};

/* draw_law: a token of each row from exp(log_p), which need not add up to 1. */
static const struct op_input draw_law_inputs[] = {
    {"log_p", IN_F32, 0, "f32 [..., n]: log law over the first n states", DOMAIN_ANY},
    {"u", IN_F64, INPUT_OPTIONAL | INPUT_NAMED,
     "f64 of the axes before the last: uniform numbers to draw by", DOMAIN_UNIT},
    {0},
};

static bool draw_law_shape(struct op_call *call)
{
    const struct type *law = &call->in[0];
    struct type *out = &call->out[0];
    if (law->rank < 2 || law->dim[law->rank - 1].size > call->chain->states)
        return op_error(call,
                        "`log_p` must be rows of logs of at most the %d states of the process, "
                        "not %s",
                        (int)call->chain->states, rule_print(call, 0));
    *out = *law;
    out->rank--;
    out->dtype = DT_TOKEN;
    out->process = call->process;
    if (op_has(call, 1) && call->in[1].rank != out->rank)
        return op_error(call, "`u` must have the axes of `log_p` but the last: %s against %s",
                        rule_print(call, 1), rule_print(call, 0));
    return !op_has(call, 1) || rule_same_axes(call, 0, 1, out->rank);
}

static double law_weight_of(const void *context, int32_t y)
{
    return exp(((const double *)context)[y]);
}

static void draw_law_reference(const struct ref_call *call)
{
    struct chain_walk walk = ref_walk(&call->out[0]);
    int64_t n = call->in[0].dim[call->in[0].rank - 1];
    for (int64_t p = 0; p < walk.rows * walk.length; p++)
        call->out[0].data[p] =
            ref_pick(law_weight_of, call->in[0].data + p * n, (int32_t)n, -1,
                     ref_position_uniform(call, 1, p / walk.length, p % walk.length, walk.length));
}

static const struct op_case draw_law_cases[] = {
    {"f32[3,5,6] _", NULL, "absorb 5"},
    {"f32[11,7] f64[11]", NULL, "uniform 7"},
    {"f32[3,5,601] f64[3,5]", NULL, "uniform 601"},
    {"f32[2,3,3] _", NULL, "absorb 5"},
    {0},
};

const struct op op_draw_law = {
    .name = "draw_law",
    .doc = "Draws a token of each row by its log probabilities.",
    .inputs = draw_law_inputs,
    .results = sampler_result_x,
    .result_count = 1,
    .flags = OP_PROCESS | OP_RANDOM | OP_NO_GRAD,
    .rows = ROWS_SEQUENCE,
    .shape = draw_law_shape,
    .cost = draw_cost,
    .reference = draw_law_reference,
    .cases = draw_law_cases,
};
