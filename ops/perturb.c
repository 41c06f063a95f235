/* Draws of the forward process: noisy tokens from clean ones, and from the stationary law. */
#include "ops/chain.h"
#include "ops/kernels/attrs.h"
#include "ops/ops.h"
#include "ops/rules.h"

#include <math.h>
#include <stdlib.h>

static const char *const result_x[] = {"x", NULL};

/* perturb: x ~ P_sigma[. | x0] at each position by itself, from one 53-bit uniform.
 *   absorb   the mask with probability 1 - exp(-sigma), else x0
 *   uniform  with probability 1 - exp(-sigma) a token redrawn among all N (x0 too), else x0
 * With turn the numbers are u + turn less its whole part, uniform too: several noisy copies from
 * the same u (one iteration) that need not be independent of each other. */
static const struct op_input perturb_inputs[] = {
    {"x0", IN_TOKEN, 0, "token [rows, length]: clean tokens (a mask stays a mask)", DOMAIN_ANY},
    {"sigma", IN_F64, 0, "f64 [rows] or []: total noise", DOMAIN_POSITIVE},
    {"turn", IN_F64, INPUT_OPTIONAL | INPUT_NAMED,
     "f64 [rows] or []: added to the uniform numbers, around the unit circle", DOMAIN_UNIT},
    {0},
};

static bool perturb_shape(struct op_call *call)
{
    call->out[0] = call->in[0];
    return chain_expect_tokens(call, 0, 0) && chain_expect_times(call, 1, 0) &&
           (!op_has(call, 2) || chain_expect_times(call, 2, 0));
}

static void perturb_cost(const struct op_call *call, struct op_cost *out)
{
    chain_cost(call, 60, out); /* ten Philox rounds */
}

static void perturb_reference(const struct ref_call *call)
{
    struct chain_walk walk = ref_walk(&call->in[0]);
    void *room = ref_room(call);
    for (int64_t p = 0; p < walk.rows * walk.length; p++) {
        int64_t row = p / walk.length;
        int32_t x0 = (int32_t)call->in[0].data[p];
        struct transition at =
            transition_make(call->chain, ref_time(&call->in[1], row), &x0, 1, room, 1);
        double u = ref_uniform(call, row, p % walk.length);
        u = ref_has(call, 2) ? u + ref_time(&call->in[2], row) : u;
        call->out[0].data[p] = transition_draw(&at, x0, u - floor(u));
    }
    free(room);
}

static const struct op_case perturb_cases[] = {
    {"token[3,5] f64[3]", NULL, "absorb 5"},
    {"token[3,5] f64[3] f64[3]", NULL, "absorb 5"},
    {"token[1,7] f64[]", NULL, "absorb 1"},
    {"token[2,11] f64[2]", NULL, "uniform 7"},
    {"token[5] f64[5]", NULL, "uniform 3"},
    {"token[3,5] f64[3]", NULL, "mix 4 0.7 0.3 0"},
    {"token[3,5] f64[3]", NULL, "mix 3 0.6 0.5 0.5"},
    {"token[3,5] f64[3]", NULL, "band 5 1"},
    {"token[2,7] f64[]", NULL, "table 4 1 3"},
    {"token[2,7] f64[2] f64[]", NULL, "table 4 1 3"},
    {0},
};

const struct op op_perturb = {
    .name = "perturb",
    .doc = "Draws noisy tokens from clean ones, at the given total noise.",
    .inputs = perturb_inputs,
    .results = result_x,
    .result_count = 1,
    .flags = OP_PROCESS | OP_RANDOM | OP_NO_GRAD,
    .rows = ROWS_SEQUENCE,
    .shape = perturb_shape,
    .cost = perturb_cost,
    .inplace = 1,
    .workspace = chain_workspace,
    .reference = perturb_reference,
    .cases = perturb_cases,
};

/* stationary: x from the law that the process forgets everything into (absorb: all masks), or from
 * the base of a process that names one. */
static const struct op_attr stationary_attrs[] = {
    [STATIONARY_SHAPE] = {"shape", ATTR_DIMS, NULL, "axes of the result", NULL},
    {0},
};

static bool stationary_shape(struct op_call *call)
{
    const union attr *shape = &call->attr[STATIONARY_SHAPE];
    if (shape->dims.count == 0 || shape->dims.count >= TENSOR_RANK_MAX)
        return op_error(call, "a shape of tokens has 1 to %d axes", TENSOR_RANK_MAX - 1);
    struct type type = type_scalar(DT_TOKEN);
    type.process = call->process;
    type.rank = shape->dims.count;
    for (uint32_t i = 0; i < type.rank; i++) {
        if (i > 0 && shape->dims.items[i].axis)
            return op_error(call, "only the first axis of a shape may be short");
        type.dim[i] = shape->dims.items[i];
    }
    call->out[0] = type;
    return true;
}

static void stationary_reference(const struct ref_call *call)
{
    struct chain_walk walk = ref_walk(&call->out[0]);
    for (int64_t p = 0; p < walk.rows * walk.length; p++)
        call->out[0].data[p] =
            chain_base_draw(call->chain, ref_uniform(call, p / walk.length, p % walk.length));
}

static const struct op_case stationary_cases[] = {
    {"", "shape=3,5", "absorb 5"},    {"", "shape=2,7", "uniform 7"},
    {"", "shape=11", "uniform 1"},    {"", "shape=3,5", "mix 3 0.6 0.5 0.5"},
    {"", "shape=3,5", "table 4 1 3"}, {0},
};

const struct op op_stationary = {
    .name = "stationary",
    .doc = "Draws tokens from the stationary law of the process: where sampling starts.",
    .attrs = stationary_attrs,
    .results = result_x,
    .result_count = 1,
    .flags = OP_PROCESS | OP_RANDOM | OP_NO_GRAD,
    .rows = ROWS_NONE,
    .shape = stationary_shape,
    .cost = perturb_cost,
    .reference = stationary_reference,
    .cases = stationary_cases,
};
