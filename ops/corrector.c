/* The corrector: jumps that leave the law at one noise level as it is. */
#include "ops/ops.h"
#include "ops/rules.h"
#include "ops/sampler.h"

/* corrector: rates R_y = Q[y][x] + Q[x][y] s_y, forward plus reverse, leave p_sigma invariant
 * (Campbell et al. 2022). Held over `step` of sigma: a jump with probability 1 - exp(-step sum R),
 * to y in proportion to R_y, to no token of score 0. All positions at once, so the invariance is of
 * second order in the step. */
static const struct op_input corrector_inputs[] = {
    SAMPLER_INPUT_X,
    {"log_score", IN_F32, 0, "f32 [rows, length, states]: log scores at x", DOMAIN_ANY},
    {"step", IN_F64, 0, "f64 [rows] or []: length of the step in sigma", DOMAIN_UNIT},
    SAMPLER_INPUT_KEEP,
    SAMPLER_INPUT_U,
    {0},
};

static bool corrector_shape(struct op_call *call)
{
    call->out[0] = call->in[0];
    return chain_expect_tokens(call, 0, 0) && chain_expect_scores(call, 1, 0) &&
           chain_expect_times(call, 2, 0) && chain_expect_keep(call, 3, 0) &&
           chain_expect_keep(call, 4, 0);
}

static void corrector_cost(const struct op_call *call, struct op_cost *out)
{
    chain_cost(call, 40, out);
}

/* Tables: a row over the states for each position of a sequence. */
static int64_t corrector_workspace(const struct op_call *call)
{
    const struct type *x = &call->in[0];
    if (call->chain->kind != CHAIN_TABLE)
        return 0;
    return type_count(x) / (x->dim[0].size ? x->dim[0].size : 1) * call->chain->states *
           (int64_t)sizeof(double);
}

struct corrector_context {
    const struct chain *chain;
    const double *log_score;
    int32_t x;
    double step;
};

static double corrector_weight(const void *context, int32_t y)
{
    const struct corrector_context *c = context;
    if (y != c->x && y != c->chain->mask && exp(c->log_score[y]) == 0)
        return 0;
    if (y != c->x)
        return chain_rate(c->chain, y, c->x) + chain_rate(c->chain, c->x, y) * exp(c->log_score[y]);
    double rate = 0;
    for (int32_t z = 0; z < c->chain->states; z++)
        rate += z == y ? 0 : corrector_weight(context, z);
    return c->step > 0 ? rate / expm1(rate * c->step) : INFINITY;
}

static void corrector_reference(const struct ref_call *call)
{
    struct chain_walk walk = ref_walk(&call->in[0]);
    for (int64_t p = 0; p < walk.rows * walk.length; p++) {
        int64_t row = p / walk.length;
        int32_t x = (int32_t)call->in[0].data[p];
        struct corrector_context c = {call->chain, call->in[1].data + p * call->chain->states, x,
                                      ref_time(&call->in[2], row)};
        double u = ref_position_uniform(call, 4, row, p % walk.length, walk.length);
        call->out[0].data[p] =
            ref_kept(call, 3, p) ? x : ref_pick(corrector_weight, &c, call->chain->states, x, u);
    }
}

static const struct op_case corrector_cases[] = {
    {"token[2,3] f32[2,3,6] f64[2] _ _", NULL, "absorb 5"},
    {"token[3,7] f32[3,7,4] f64[] bool[3,7] f64[3,7]", NULL, "absorb 3"},
    {"token[3,5] f32[3,5,7] f64[3] bool[3,5] _", NULL, "uniform 7"},
    {"token[2,5] f32[2,5,601] f64[2] _ _", NULL, "uniform 601"},
    {"token[11] f32[11,2] f64[11] _ f64[11]", NULL, "uniform 2"},
    {"token[3,5] f32[3,5,6] f64[3] _ _", NULL, "mix 5 0.9 0.1 0"},
    {"token[3,5] f32[3,5,6] f64[3] _ _", NULL, "mix 5 0.7 0.3 0.3"},
    {"token[3,5] f32[3,5,5] f64[3] bool[3,5] _", NULL, "table 5 0 3"},
    {"token[3,5] f32[3,5,6] f64[] _ f64[3,5]", NULL, "table 5 1 4"},
    {"token[2,7] f32[2,7,5] f64[2] _ _", NULL, "band 5 1"},
    {0},
};

const struct op op_corrector = {
    .name = "corrector",
    .doc =
        "Jumps at the forward plus the reverse rates, which leave the law at this noise as it is.",
    .inputs = corrector_inputs,
    .results = sampler_result_x,
    .result_count = 1,
    .flags = OP_PROCESS | OP_RANDOM | OP_NO_GRAD,
    .rows = ROWS_SEQUENCE,
    .shape = corrector_shape,
    .cost = corrector_cost,
    .inplace = 1,
    .workspace = corrector_workspace,
    .reference = corrector_reference,
    .cases = corrector_cases,
};
