/* Leaves of the graph (what the run, the state table or a number supplies), the writes of state
 * that passes append, and the node `gradient`, which the grad pass expands. */
#include "ops/kernels/attrs.h"
#include "ops/ops.h"
#include "ops/rules.h"

/* Whoever makes a leaf says its type, which graph_call has put in place. */
static bool leaf_shape(struct op_call *call)
{
    (void)call;
    return true;
}

const struct op op_input = {
    .name = "input",
    .doc = "A value that the run supplies.",
    .inputs = rule_no_inputs,
    .results = rule_result_y,
    .result_count = 1,
    .flags = OP_LEAF | OP_INTERNAL,
    .rows = ROWS_NONE,
    .shape = leaf_shape,
};

const struct op op_state = {
    .name = "state",
    .doc = "A row of the state table, as found when the program starts.",
    .inputs = rule_no_inputs,
    .results = rule_result_y,
    .result_count = 1,
    .flags = OP_LEAF | OP_INTERNAL,
    .rows = ROWS_NONE,
    .shape = leaf_shape,
};

static const struct op_attr const_attrs[] = {
    [CONST_VALUE] = {"value", ATTR_REAL, NULL, "the number that every element has", NULL},
    {0},
};

const struct op op_const = {
    .name = "const",
    .doc = "A number, or a tensor whose elements are all that number.",
    .inputs = rule_no_inputs,
    .attrs = const_attrs,
    .results = rule_result_y,
    .result_count = 1,
    .flags = OP_LEAF | OP_INTERNAL,
    .rows = ROWS_NONE,
    .shape = leaf_shape,
};

/* store: row := value. The caller sets which row on the result. */
static const struct op_input store_inputs[] = {
    {"value", IN_ANY, 0, "any shape: what the state row becomes", DOMAIN_ANY},
    {0},
};

static void store_reference(const struct ref_call *call)
{
    for (int64_t i = 0; i < ref_size(&call->out[0]); i++)
        call->out[0].data[i] = call->in[0].data[i];
}

static const struct op_case store_cases[] = {
    {"f32[3,5]", NULL, NULL},         {"f64[]", NULL, NULL},
    {"i32[7]", NULL, NULL},           {"bool[1,3]", NULL, NULL},
    {"token[2,3]", NULL, "absorb 5"}, {0},
};

const struct op op_store = {
    .name = "store",
    .doc = "Writes a value to a row of the state table.",
    .inputs = store_inputs,
    .results = rule_result_y,
    .result_count = 1,
    .flags = OP_EFFECT | OP_INTERNAL | OP_NO_GRAD,
    .rows = ROWS_EACH,
    .shape = rule_like_first,
    .reference = store_reference,
    .cases = store_cases,
};

/* accumulate: row := value where keep = 0 (the first of several batches; what the row held does not
 * matter), row + value otherwise. */
static const struct op_input accumulate_inputs[] = {
    {"row", IN_F32, 0, "f32 of any shape: the sum so far", DOMAIN_ANY},
    {"value", IN_F32, 0, "f32 of that shape: what is added", DOMAIN_ANY},
    {"keep", IN_F64, 0, "f64 []: 0 starts a new sum", DOMAIN_ANY},
    {0},
};

static bool accumulate_shape(struct op_call *call)
{
    if (!type_same_shape(&call->in[0], &call->in[1]))
        return op_error(call, "cannot add %s to a row %s", rule_print(call, 1),
                        rule_print(call, 0));
    if (call->in[2].rank != 0)
        return op_error(call, "`keep` must be a scalar, not %s", rule_print(call, 2));
    return rule_like_first(call);
}

static void accumulate_reference(const struct ref_call *call)
{
    bool keep = call->in[2].data[0] != 0;
    for (int64_t i = 0; i < ref_size(&call->out[0]); i++)
        call->out[0].data[i] = (keep ? call->in[0].data[i] : 0) + call->in[1].data[i];
}

static const struct op_case accumulate_cases[] = {
    {"f32[3,5] f32[3,5] f64[]", NULL, NULL},
    {"f32[1] f32[1] f64[]", NULL, NULL},
    {"f32[] f32[] f64[]", NULL, NULL},
    {"f32[131,137] f32[131,137] f64[]", NULL, NULL},
    {0},
};

const struct op op_accumulate = {
    .name = "accumulate",
    .doc = "Adds a gradient to its row of the state table, or starts a new sum there.",
    .inputs = accumulate_inputs,
    .results = rule_result_y,
    .result_count = 1,
    .flags = OP_EFFECT | OP_INTERNAL | OP_NO_GRAD,
    .rows = ROWS_ALL,
    .shape = accumulate_shape,
    .inplace = 1,
    .updates = 1,
    .reference = accumulate_reference,
    .cases = accumulate_cases,
};

/* gradient: d (sum of y) / d of[i], one result for each `of`. The grad pass replaces the node. */
static const struct op_input gradient_inputs[] = {
    {"y", IN_REAL, 0, "f32 or f64 of any shape: what is differentiated, summed over its elements",
     DOMAIN_ANY},
    {"of", IN_REAL, INPUT_NAMED | INPUT_VARIADIC, "the values y is differentiated by", DOMAIN_ANY},
    {0},
};

static bool gradient_shape(struct op_call *call)
{
    call->out_count = call->in_count - 1;
    if (call->out_count > OP_RESULT_MAX)
        return op_error(call, "at most %d values can stand in `of`", OP_RESULT_MAX);
    for (uint32_t i = 0; i < call->out_count; i++)
        call->out[i] = call->in[i + 1];
    return true;
}

static const char *const gradient_results[] = {"gradient", NULL};

static const struct op_case gradient_cases[] = {
    {"f32[] f32[3,5]", NULL, NULL},
    {"f64[3] f64[3]", NULL, NULL},
    {"f32[1] f32[1,7] f64[2]", NULL, NULL},
    {0},
};

const struct op op_gradient = {
    .name = "gradient",
    .doc = "The gradient of the sum of a value by each of the values in `of`.",
    .inputs = gradient_inputs,
    .results = gradient_results,
    .flags = OP_MACRO,
    .rows = ROWS_ALL,
    .shape = gradient_shape,
    .cases = gradient_cases,
};
