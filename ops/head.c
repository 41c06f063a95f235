/* What a network puts out, as the log law of the clean token: the posterior given all noisy tokens
 * (x0_output), or given all but the position's own (cavity_output). The column of the mask, and of
 * tokens that cannot have led to x, is -INFINITY. Scores of such laws: ops/head_score.c. */
#include "ops/chain.h"
#include "ops/ops.h"
#include "ops/rules.h"
#include "ops/sampler.h"

#include "graph/base/check.h"

#include <stdlib.h>

static const char *const result_log_p[] = {"log_p", NULL};
static const char *const result_draw[] = {"draw", NULL};

static void head_cost(const struct op_call *call, struct op_cost *out)
{
    chain_cost(call, 12, out); /* an exponential, a sum and a difference */
}

/* Tables: P, for the support of its row x. */
static int64_t head_workspace(const struct op_call *call)
{
    return transition_bytes(call->chain);
}

/* ROW over the tokens that COUNT, minus the log of the sum of its exponentials; -INFINITY
 * elsewhere. */
static void normalise_row(const double *row, const bool *counts, int32_t states, double *out)
{
    double most = -INFINITY, sum = 0;
    for (int32_t y = 0; y < states; y++)
        if (counts[y])
            most = fmax(most, row[y]);
    for (int32_t y = 0; y < states; y++)
        if (counts[y])
            sum += exp(row[y] - most);
    for (int32_t y = 0; y < states; y++)
        out[y] = counts[y] ? row[y] - most - log(sum) : -INFINITY;
}

/* The gradient of all of them is that of a log-softmax over what is finite. */
static void head_grad(struct grad_call *call)
{
    if (call->need[0])
        call->din[0] = emit2(call->graph, &op_x0_output_backward, call->node->out[0], call->dout[0],
                             call->node);
}

/* x0_output: log p(x0) = raw - logsumexp of raw, over the tokens with P_sigma[x][x0] > 0. Under
 * absorb that is SUBS (Sahoo et al. 2024): no mask, and what is not masked is itself. */
static const struct op_input x0_output_inputs[] = {
    {"raw", IN_F32, 0, "f32 [rows, length, states]: what the network put out", DOMAIN_ANY},
    {"x", IN_TOKEN, 0, "token [rows, length]: the noisy tokens it saw", DOMAIN_ANY},
    {"sigma", IN_F64, INPUT_SEQUENCE, "f64 [rows] or []: total noise", DOMAIN_POSITIVE},
    {0},
};

static bool x0_output_shape(struct op_call *call)
{
    call->out[0] = call->in[0];
    return chain_expect_tokens(call, 1, 1) && chain_expect_scores(call, 0, 1) &&
           chain_expect_times(call, 2, 1);
}

static void x0_output_reference(const struct ref_call *call)
{
    const struct chain *chain = call->chain;
    struct chain_walk walk = ref_walk(&call->in[1]);
    bool *counts = calloc((size_t)chain->states, sizeof *counts);
    BUG_ON(!counts);
    for (int64_t p = 0; p < walk.rows * walk.length; p++) {
        struct transition noise = ref_transition(chain, ref_time(&call->in[2], p / walk.length));
        int32_t x = (int32_t)call->in[1].data[p];
        for (int32_t y = 0; y < chain->states; y++)
            counts[y] = y < chain->tokens && transition_at(&noise, x, y) > 0;
        normalise_row(call->in[0].data + p * chain->states, counts, chain->states,
                      call->out[0].data + p * chain->states);
        ref_transition_release(&noise);
    }
    free(counts);
}

static const struct op_case x0_output_cases[] = {
    {"f32[2,3,6] token[2,3] f64[2]", NULL, "absorb 5"},
    {"f32[3,5,7] token[3,5] f64[]", NULL, "uniform 7"},
    {"f32[3,5,6] token[3,5] f64[3]", NULL, "mix 5 0.9 0.1 0"},
    {"f32[3,7,5] token[3,7] f64[3]", NULL, "table 5 0 3"},
    {"f32[1,7,5] token[1,7] f64[]", NULL, "band 5 1"},
    {"f32[2,301] token[2] f64[2]", NULL, "absorb 300"},
    {0},
};

const struct op op_x0_output = {
    .name = "x0_output",
    .doc = "Turns what a network put out into the log law of the clean token given the noisy ones.",
    .inputs = x0_output_inputs,
    .results = result_log_p,
    .result_count = 1,
    .flags = OP_PROCESS,
    .rows = ROWS_POSITION,
    .shape = x0_output_shape,
    .grad = head_grad,
    .cost = head_cost,
    .inplace = 1,
    .workspace = head_workspace,
    .reference = x0_output_reference,
    .cases = x0_output_cases,
};

/* cavity_output: log p(x0) = raw - logsumexp of raw, over all tokens (not the mask). */
static const struct op_input cavity_output_inputs[] = {
    {"raw", IN_F32, 0, "f32 [rows, length, states]: what the network put out", DOMAIN_ANY},
    {0},
};

static bool cavity_output_shape(struct op_call *call)
{
    const struct type *raw = &call->in[0];
    call->out[0] = *raw;
    if (raw->rank > 0 && raw->dim[raw->rank - 1].size == call->chain->states)
        return true;
    return op_error(call, "the last axis of `raw`, %s, must have the %d states of the process",
                    rule_print(call, 0), (int)call->chain->states);
}

static void cavity_output_reference(const struct ref_call *call)
{
    const struct chain *chain = call->chain;
    bool *counts = calloc((size_t)chain->states, sizeof *counts);
    BUG_ON(!counts);
    for (int32_t y = 0; y < chain->states; y++)
        counts[y] = y < chain->tokens;
    for (int64_t at = 0; at < ref_size(&call->in[0]); at += chain->states)
        normalise_row(call->in[0].data + at, counts, chain->states, call->out[0].data + at);
    free(counts);
}

static const struct op_case cavity_output_cases[] = {
    {"f32[2,3,6]", NULL, "absorb 5"},
    {"f32[3,5,7]", NULL, "uniform 7"},
    {"f32[1,1]", NULL, "uniform 1"},
    {"f32[5,6]", NULL, "table 5 1 4"},
    {0},
};

const struct op op_cavity_output = {
    .name = "cavity_output",
    .doc = "Turns what a network put out into the log law of the clean token given the other "
           "positions.",
    .inputs = cavity_output_inputs,
    .results = result_log_p,
    .result_count = 1,
    .flags = OP_PROCESS,
    .rows = ROWS_EACH,
    .shape = cavity_output_shape,
    .grad = head_grad,
    .cost = head_cost,
    .inplace = 1,
    .reference = cavity_output_reference,
    .cases = cavity_output_cases,
};

/* score_posterior: the posterior that log scores imply, p(x0) ~ s_x0 E at a mask and x itself
 * elsewhere. Absorb only: there the score of a mask is the posterior over E, so that to normalise
 * is all there is to do. Other chains would have to be inverted. */
static const struct op_input score_posterior_inputs[] = {
    {"log_score", IN_F32, 0, "f32 [rows, length, states]: log scores at x", DOMAIN_LOG_SCORE},
    {"x", IN_TOKEN, 0, "token [rows, length]: the noisy tokens", DOMAIN_ANY},
    {"sigma", IN_F64, INPUT_SEQUENCE, "f64 [rows] or []: total noise", DOMAIN_POSITIVE},
    {0},
};

static bool score_posterior_shape(struct op_call *call)
{
    return sampler_expect_masked(call, "a posterior from scores") && x0_output_shape(call);
}

static const struct op_case score_posterior_cases[] = {
    {"f32[2,3,6] token[2,3] f64[2]", NULL, "absorb 5"},
    {"f32[1,7,4] token[1,7] f64[]", NULL, "absorb 3"},
    {"f32[5,2] token[5] f64[5]", NULL, "absorb 1"},
    {0},
};

const struct op op_score_posterior = {
    .name = "score_posterior",
    .doc = "The log law of the clean token that log scores imply; absorb only.",
    .inputs = score_posterior_inputs,
    .results = result_log_p,
    .result_count = 1,
    .flags = OP_PROCESS,
    .rows = ROWS_POSITION,
    .shape = score_posterior_shape,
    .grad = head_grad,
    .cost = head_cost,
    .inplace = 1,
    .reference = x0_output_reference,
    .cases = score_posterior_cases,
};

/* x0_output_backward: d raw_y = d log p_y - p_y sum of d log p, over what is finite; 0
 * elsewhere. */
static const struct op_input x0_output_backward_inputs[] = {
    {"log_p", IN_F32, 0, "f32 [..., states]: the log law", DOMAIN_ANY},
    {"dlog_p", IN_F32, 0, "f32 [..., states]: its gradient", DOMAIN_ANY},
    {0},
};

static bool x0_output_backward_shape(struct op_call *call)
{
    return rule_same_axes(call, 0, 1, call->in[0].rank) && rule_like_first(call);
}

static void x0_output_backward_reference(const struct ref_call *call)
{
    const struct ref_tensor *t = &call->in[0];
    int64_t n = t->dim[t->rank - 1];
    for (int64_t at = 0; at < ref_size(t); at += n) {
        const double *log_p = t->data + at, *g = call->in[1].data + at;
        double sum = 0;
        for (int64_t y = 0; y < n; y++)
            sum += log_p[y] > -INFINITY ? g[y] : 0;
        for (int64_t y = 0; y < n; y++)
            call->out[0].data[at + y] = log_p[y] > -INFINITY ? g[y] - exp(log_p[y]) * sum : 0;
    }
}

static const struct op_case x0_output_backward_cases[] = {
    {"f32[2,3,6] f32[2,3,6]", NULL, NULL},
    {"f32[1,1] f32[1,1]", NULL, NULL},
    {"f32[5,301] f32[5,301]", NULL, NULL},
    {0},
};

const struct op op_x0_output_backward = {
    .name = "x0_output_backward",
    .doc = "Gradient of x0_output, cavity_output and score_posterior.",
    .inputs = x0_output_backward_inputs,
    .results = result_draw,
    .result_count = 1,
    .flags = OP_INTERNAL | OP_ZERO_GRAD_TWICE,
    .rows = ROWS_EACH,
    .shape = x0_output_backward_shape,
    .cost = head_cost,
    .inplace = 1,
    .reference = x0_output_backward_reference,
    .cases = x0_output_backward_cases,
};
