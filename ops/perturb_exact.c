/* Noise by count: exactly so many positions masked, for losses and estimators in k form. */
#include "ops/chain.h"
#include "ops/ops.h"
#include "ops/rules.h"
#include "ops/sampler.h"

static const char *const results[] = {"x", "masked", NULL};

/* mask_exactly: x = x0 with k positions masked, all choices of k alike; k is rounded down, and cut
 * to 0 .. length. Each position in turn is chosen with probability (left to choose) / (left to look
 * at), by one uniform (selection sampling: Fan, Muller, Rezucha 1962). */
static const struct op_input mask_exactly_inputs[] = {
    {"x0", IN_TOKEN, 0, "token [rows, length]: clean tokens", DOMAIN_REAL_TOKEN},
    {"k", IN_F64, 0, "f64 [rows] or []: how many positions to mask", DOMAIN_POSITIVE},
    {0},
};

static bool mask_exactly_shape(struct op_call *call)
{
    call->out[0] = call->in[0];
    call->out[1] = sampler_rows(call, 0);
    return sampler_expect_masked(call, "masking exactly k positions") &&
           chain_expect_tokens(call, 0, 0) && chain_expect_times(call, 1, 0);
}

static void mask_exactly_cost(const struct op_call *call, struct op_cost *out)
{
    chain_cost(call, 60, out); /* ten Philox rounds */
}

static void mask_exactly_reference(const struct ref_call *call)
{
    struct chain_walk walk = ref_walk(&call->in[0]);
    for (int64_t row = 0; row < walk.rows; row++) {
        double k = fmin(floor(fmax(ref_time(&call->in[1], row), 0)), (double)walk.length);
        double left = k;
        for (int64_t i = 0; i < walk.length; i++) {
            bool chosen = ref_uniform(call, row, i) * (double)(walk.length - i) < left;
            int64_t at = row * walk.length + i;
            call->out[0].data[at] = chosen ? call->chain->mask : call->in[0].data[at];
            left -= chosen;
        }
        call->out[1].data[row] = k;
    }
}

static const struct op_case mask_exactly_cases[] = {
    {"token[3,5] f64[3]", NULL, "absorb 5"},
    {"token[1,7] f64[]", NULL, "absorb 1"},
    {"token[2,11] f64[2]", NULL, "absorb 7"},
    {"token[5] f64[5]", NULL, "absorb 3"},
    {0},
};

const struct op op_mask_exactly = {
    .name = "mask_exactly",
    .doc = "Masks exactly k positions of each sequence, and says how many those are; absorb only.",
    .inputs = mask_exactly_inputs,
    .results = results,
    .result_count = 2,
    .flags = OP_PROCESS | OP_RANDOM | OP_NO_GRAD,
    .rows = ROWS_SEQUENCE,
    .shape = mask_exactly_shape,
    .cost = mask_exactly_cost,
    .inplace = 1,
    .reference = mask_exactly_reference,
    .cases = mask_exactly_cases,
};
