/* The output of a score network, and its loss.
 *
 * s_y = p(x with this position set to y) / p(x); networks return log s, with 0 at y = x. Rows of
 * the score that cannot be used (absorb: positions that are not masked) carry no loss. */
#include "ops/chain.h"
#include "ops/kernels/attrs.h"
#include "ops/kernels/score_entropy.h"
#include "ops/ops.h"
#include "ops/rules.h"

#include <stdlib.h>

static const char *const result_log_score[] = {"log_score", NULL};
static const char *const result_loss[] = {"loss", NULL};
static const char *const result_dscore[] = {"dlog_score", NULL};
static const char *const result_dentropy[] = {"dlog_score", "dsigma", NULL};

/* score_output: log s_y = raw_y (- log E - log N with scale_by_sigma), 0 at y = x. Under absorb the
 * true score is p(y | rest) / E: with the two logarithms taken off, what is left for the network to
 * learn stays of order one at every sigma. */
static const struct op_input score_output_inputs[] = {
    {"raw", IN_F32, 0, "f32 [rows, length, states]: what the network put out", DOMAIN_ANY},
    {"x", IN_TOKEN, 0, "token [rows, length]: the noisy tokens it saw", DOMAIN_ANY},
    {"sigma", IN_F64, INPUT_SEQUENCE, "f64 [rows] or []: total noise", DOMAIN_POSITIVE},
    {0},
};
static const struct op_attr score_output_attrs[] = {
    [SCORE_OUTPUT_SCALE] = {"scale_by_sigma", ATTR_BOOL, "false",
                            "take off log(expm1(sigma)) + log(tokens); absorb only", NULL},
    {0},
};

static bool score_output_shape(struct op_call *call)
{
    if (call->attr[SCORE_OUTPUT_SCALE].flag && !chain_carries_over(call->chain))
        return op_error(call, "scale_by_sigma is for the absorbing process only: leave it out "
                              "(sedd-uniform.yaml)");
    call->out[0] = call->in[0];
    return chain_expect_tokens(call, 1, 1) && chain_expect_scores(call, 0, 1) &&
           chain_expect_times(call, 2, 1);
}

/* d sigma = - (sum of d raw) d log E / d sigma, where d log E / d sigma = -1 / expm1(-sigma). */
static uint32_t scale_grad(struct graph *graph, uint32_t draw, const struct node *node)
{
    uint32_t sum = emit_cast(graph, emit_row_sums(graph, draw, node), DT_F64, node);
    uint32_t back = emit1(graph, &op_neg, node->in[2], node);
    return emit2(graph, &op_div, sum, emit1(graph, &op_expm1, back, node), node);
}

static void score_output_grad(struct grad_call *call)
{
    const struct node *node = call->node;
    bool scaled = call->need[2] && node->attr[SCORE_OUTPUT_SCALE].flag;
    if (!call->need[0] && !scaled)
        return;
    uint32_t draw = emit2(call->graph, &op_score_output_backward, call->dout[0], node->in[1], node);
    call->din[0] = draw;
    if (scaled)
        call->din[2] = scale_grad(call->graph, draw, node);
}

static void score_output_cost(const struct op_call *call, struct op_cost *out)
{
    chain_cost(call, 1, out);
}

static void score_output_reference(const struct ref_call *call)
{
    const struct ref_tensor *x = &call->in[1];
    struct chain_walk walk = ref_walk(x);
    int64_t states = call->chain->states;
    for (int64_t p = 0; p < walk.rows * walk.length; p++) {
        struct transition at =
            transition_flat(call->chain, ref_time(&call->in[2], p / walk.length));
        double shift = 0;
        if (call->attr[SCORE_OUTPUT_SCALE].flag)
            shift = log(call->chain->tokens) - transition_log_unmasked(&at);
        for (int64_t y = 0; y < states; y++)
            call->out[0].data[p * states + y] =
                y == (int64_t)x->data[p] ? 0 : call->in[0].data[p * states + y] - shift;
    }
}

static const struct op_case score_output_cases[] = {
    {"f32[2,3,6] token[2,3] f64[2]", "scale_by_sigma=true", "absorb 5"},
    {"f32[3,1,4] token[3,1] f64[]", NULL, "absorb 3"},
    {"f32[1,7,5] token[1,7] f64[1]", NULL, "uniform 5"},
    {"f32[5,8] token[5] f64[5]", "scale_by_sigma=true", "absorb 7"},
    {"f32[2,3,5] token[2,3] f64[2]", NULL, "mix 4 0.7 0.3 0"},
    {0},
};

const struct op op_score_output = {
    .name = "score_output",
    .doc = "Turns what a score network put out into log scores: zero at the current token.",
    .inputs = score_output_inputs,
    .attrs = score_output_attrs,
    .results = result_log_score,
    .result_count = 1,
    .flags = OP_PROCESS,
    .rows = ROWS_POSITION,
    .shape = score_output_shape,
    .grad = score_output_grad,
    .cost = score_output_cost,
    .inplace = 1,
    .reference = score_output_reference,
    .cases = score_output_cases,
};

/* score_output_backward: d raw = d log_score, 0 at y = x. */
static const struct op_input score_output_backward_inputs[] = {
    {"dlog_score", IN_F32, 0, "f32 [rows, length, states]: gradient of the log scores", DOMAIN_ANY},
    {"x", IN_TOKEN, 0, "token [rows, length]: the noisy tokens", DOMAIN_ANY},
    {0},
};

static bool score_output_backward_shape(struct op_call *call)
{
    call->out[0] = call->in[0];
    return chain_expect_tokens(call, 1, 1) && chain_expect_scores(call, 0, 1);
}

static void score_output_backward_reference(const struct ref_call *call)
{
    int64_t states = call->chain->states;
    for (int64_t i = 0; i < ref_size(&call->in[0]); i++)
        call->out[0].data[i] =
            i % states == (int64_t)call->in[1].data[i / states] ? 0 : call->in[0].data[i];
}

static const struct op_case score_output_backward_cases[] = {
    {"f32[2,3,6] token[2,3]", NULL, "absorb 5"},
    {"f32[1,1,2] token[1,1]", NULL, "absorb 1"},
    {"f32[3,5,7] token[3,5]", NULL, "uniform 7"},
    {"f32[2,3,5] token[2,3]", NULL, "band 5 1"},
    {0},
};

const struct op op_score_output_backward = {
    .name = "score_output_backward",
    .doc = "Gradient of score_output with respect to what the network put out.",
    .inputs = score_output_backward_inputs,
    .results = result_dscore,
    .result_count = 1,
    .flags = OP_PROCESS | OP_INTERNAL | OP_ZERO_GRAD_TWICE,
    .rows = ROWS_POSITION,
    .shape = score_output_backward_shape,
    .cost = score_output_cost,
    .inplace = 1,
    .reference = score_output_backward_reference,
    .cases = score_output_backward_cases,
};

/* score_entropy: for each position
 *     sum over y != x of Q[x][y] (s_y - rho_y log s_y + K(rho_y)),   K(a) = a (log a - 1),
 * with rho_y = P[y][x0] / P[x][x0]: the denoising score entropy of Lou, Meng, Ermon 2024, without
 * the factor dsigma/dt that makes it the integrand of the likelihood bound. Each term is computed
 * as rho (exp(d) - 1 - d), d = log s - log rho. */
static const struct op_input score_entropy_inputs[] = {
    {"log_score", IN_F32, 0, "f32 [rows, length, states]: log scores at x", DOMAIN_LOG_SCORE},
    {"x", IN_TOKEN, 0, "token [rows, length]: noisy tokens", DOMAIN_ANY},
    {"x0", IN_TOKEN, 0, "token [rows, length]: the clean tokens they came from", DOMAIN_REAL_TOKEN},
    {"sigma", IN_F64, INPUT_SEQUENCE, "f64 [rows] or []: total noise", DOMAIN_POSITIVE},
    {0},
};

static bool score_entropy_shape(struct op_call *call)
{
    call->out[0] = call->in[1];
    call->out[0].dtype = DT_F64;
    call->out[0].process = 0;
    return chain_expect_tokens(call, 1, 1) && chain_expect_tokens(call, 2, 1) &&
           chain_expect_scores(call, 0, 1) && chain_expect_times(call, 3, 1);
}

static void score_entropy_grad(struct grad_call *call)
{
    struct graph *graph = call->graph;
    const struct node *node = call->node;
    uint32_t in[] = {node->in[0], node->in[1], node->in[2], node->in[3], call->dout[0]};
    if (!call->need[0] && !call->need[3])
        return;
    uint32_t dscore = graph_emit(graph, &op_score_entropy_backward, in, 5, NULL, node);
    call->din[0] = dscore;
    if (call->need[3])
        call->din[3] = emit_row_sums(graph, graph->nodes[graph->values[dscore].node].out[1], node);
}

static bool score_entropy_idle(const struct graph *graph, const struct node *node,
                               struct op_idle *out)
{
    *out = (struct op_idle){.tokens = node->in[1]};
    return chain_carries_over(&graph->processes[node->process - 1].chain);
}

static void score_entropy_cost(const struct op_call *call, struct op_cost *out)
{
    chain_cost(call, 20, out); /* an exponential and a few products in double */
}

/* may_move: whether the reverse chain can move a token. Under absorption it moves a mask, and under
 * other chains any state. */
static const struct op_input may_move_inputs[] = {
    {"x", IN_TOKEN, 0, "token of any shape: noisy tokens", DOMAIN_ANY},
    {0},
};

static bool may_move_shape(struct op_call *call)
{
    call->out[0] = call->in[0];
    call->out[0].dtype = DT_BOOL;
    call->out[0].process = 0;
    return chain_expect_tokens(call, 0, 0);
}

static void may_move_reference(const struct ref_call *call)
{
    for (int64_t i = 0; i < ref_size(&call->in[0]); i++)
        call->out[0].data[i] = !chain_frozen(call->chain, (int32_t)call->in[0].data[i]);
}

static const char *const result_flags[] = {"flags", NULL};
static const struct op_case may_move_cases[] = {
    {"token[3,5]", NULL, "absorb 3"},  {"token[7]", NULL, "absorb 1"},
    {"token[2,3]", NULL, "uniform 2"}, {"token[1,5]", NULL, "mix 3 0.6 0.5 0"},
    {"token[3,3]", NULL, "band 5 1"},  {0},
};

const struct op op_may_move = {
    .name = "may_move",
    .doc = "Whether the reverse chain can move a token: a mask under absorb, any under others.",
    .inputs = may_move_inputs,
    .results = result_flags,
    .result_count = 1,
    .flags = OP_PROCESS | OP_INTERNAL | OP_NO_GRAD,
    .rows = ROWS_EACH,
    .shape = may_move_shape,
    .reference = may_move_reference,
    .cases = may_move_cases,
};

/* What pair (x, y) counts for: the rate of the jump y -> x and log rho_y. False where y = x or the
 * rate is zero: such a pair adds nothing. */
static bool pair_ratio(const struct transition *p, int32_t y, int32_t x, int32_t x0, double *rate,
                       double *log_rho)
{
    if (y == x || chain_frozen(p->chain, x))
        return false;
    *rate = chain_rate(p->chain, x, y);
    *log_rho = *rate > 0 ? transition_log_ratio(p, y, x, x0) : -INFINITY;
    return *rate > 0;
}

static void score_entropy_reference(const struct ref_call *call)
{
    struct chain_walk walk = ref_walk(&call->in[1]);
    int32_t states = call->chain->states;
    void *room = ref_room(call);
    for (int64_t p = 0; p < walk.rows * walk.length; p++) {
        int32_t x = (int32_t)call->in[1].data[p], x0 = (int32_t)call->in[2].data[p];
        struct transition at =
            transition_make(call->chain, ref_time(&call->in[3], p / walk.length), &x0, 1, room, 1);
        double sum = 0, rate, log_rho;
        for (int32_t y = 0; y < states; y++)
            if (pair_ratio(&at, y, x, x0, &rate, &log_rho))
                sum += rate * entropy_term(call->in[0].data[p * states + y], exp(log_rho), log_rho);
        call->out[0].data[p] = sum;
    }
    free(room);
}

static const struct op_case score_entropy_cases[] = {
    {"f32[2,3,6] token[2,3] token[2,3] f64[2]", NULL, "absorb 5"},
    {"f32[1,7,4] token[1,7] token[1,7] f64[]", NULL, "absorb 3"},
    {"f32[3,5,7] token[3,5] token[3,5] f64[3]", NULL, "uniform 7"},
    {"f32[5,2] token[5] token[5] f64[5]", NULL, "uniform 2"},
    {"f32[1,3,1] token[1,3] token[1,3] f64[]", NULL, "uniform 1"},
    {"f32[2,5,5] token[2,5] token[2,5] f64[2]", NULL, "mix 4 0.7 0.3 0"},
    {"f32[2,7,4] token[2,7] token[2,7] f64[]", NULL, "mix 3 0.6 0.5 0.5"},
    {"f32[2,5,5] token[2,5] token[2,5] f64[2]", NULL, "band 5 1"},
    {"f32[3,7,5] token[3,7] token[3,7] f64[]", NULL, "table 4 1 3"},
    {0},
};

const struct op op_score_entropy = {
    .name = "score_entropy",
    .doc = "Denoising score entropy of each position, f64, without the rate of the noise clock.",
    .inputs = score_entropy_inputs,
    .results = result_loss,
    .result_count = 1,
    .flags = OP_PROCESS,
    .rows = ROWS_POSITION,
    .shape = score_entropy_shape,
    .grad = score_entropy_grad,
    .idle = score_entropy_idle,
    .cost = score_entropy_cost,
    .workspace = chain_workspace,
    .reference = score_entropy_reference,
    .cases = score_entropy_cases,
};

/* score_entropy_backward:
 *   d log s_y = d loss Q[x][y] (s_y - rho_y), 0 at y = x
 *   d sigma   = d loss sum over y != x of Q[x][y] (log rho_y - log s_y) d rho_y / d sigma,
 * the latter for each position, to be summed over those that share a sigma. */
static const struct op_input score_entropy_backward_inputs[] = {
    {"log_score", IN_F32, 0, "f32 [rows, length, states]: log scores at x", DOMAIN_LOG_SCORE},
    {"x", IN_TOKEN, 0, "token [rows, length]: noisy tokens", DOMAIN_ANY},
    {"x0", IN_TOKEN, 0, "token [rows, length]: the clean tokens they came from", DOMAIN_REAL_TOKEN},
    {"sigma", IN_F64, INPUT_SEQUENCE, "f64 [rows] or []: total noise", DOMAIN_POSITIVE},
    {"dloss", IN_F64, 0, "f64 [rows, length]: gradient of the loss of each position", DOMAIN_ANY},
    {0},
};

static bool score_entropy_backward_shape(struct op_call *call)
{
    call->out[0] = call->in[0];
    call->out[1] = call->in[4];
    return chain_expect_tokens(call, 1, 1) && chain_expect_tokens(call, 2, 1) &&
           chain_expect_scores(call, 0, 1) && chain_expect_times(call, 3, 1) &&
           chain_expect_keep(call, 4, 1);
}

static void score_entropy_backward_reference(const struct ref_call *call)
{
    const struct chain *chain = call->chain;
    struct chain_walk walk = ref_walk(&call->in[1]);
    void *room = ref_room(call);
    for (int64_t p = 0; p < walk.rows * walk.length; p++) {
        int32_t x = (int32_t)call->in[1].data[p], x0 = (int32_t)call->in[2].data[p];
        struct transition at =
            transition_make(chain, ref_time(&call->in[3], p / walk.length), &x0, 1, room, 1);
        const double *log_score = call->in[0].data + p * chain->states;
        double *slope = call->out[0].data + p * chain->states, g = call->in[4].data[p];
        double sum = 0, rate, log_rho;
        for (int32_t y = 0; y < chain->states; y++) {
            slope[y] = 0;
            if (!pair_ratio(&at, y, x, x0, &rate, &log_rho))
                continue;
            double rho = exp(log_rho);
            slope[y] = g * rate * (exp(log_score[y]) - rho);
            if (rho > 0)
                sum += rate * (log_rho - log_score[y]) * rho *
                       transition_log_ratio_slope(&at, y, x, x0);
        }
        call->out[1].data[p] = g * sum;
    }
    free(room);
}

static const struct op_case score_entropy_backward_cases[] = {
    {"f32[2,3,6] token[2,3] token[2,3] f64[2] f64[2,3]", NULL, "absorb 5"},
    {"f32[1,7,4] token[1,7] token[1,7] f64[] f64[1,7]", NULL, "absorb 3"},
    {"f32[3,5,7] token[3,5] token[3,5] f64[3] f64[3,5]", NULL, "uniform 7"},
    {"f32[5,2] token[5] token[5] f64[5] f64[5]", NULL, "uniform 2"},
    {"f32[2,5,5] token[2,5] token[2,5] f64[2] f64[2,5]", NULL, "mix 4 0.7 0.3 0"},
    {"f32[2,7,4] token[2,7] token[2,7] f64[] f64[2,7]", NULL, "mix 3 0.6 0.5 0.5"},
    {"f32[2,5,5] token[2,5] token[2,5] f64[2] f64[2,5]", NULL, "band 5 1"},
    {"f32[3,7,5] token[3,7] token[3,7] f64[] f64[3,7]", NULL, "table 4 1 3"},
    {0},
};

const struct op op_score_entropy_backward = {
    .name = "score_entropy_backward",
    .doc = "Gradient of score_entropy with respect to the log scores, and to sigma by position.",
    .inputs = score_entropy_backward_inputs,
    .results = result_dentropy,
    .result_count = 2,
    .flags = OP_PROCESS | OP_INTERNAL | OP_ZERO_GRAD_TWICE,
    .rows = ROWS_POSITION,
    .shape = score_entropy_backward_shape,
    .cost = score_entropy_cost,
    .inplace = 1,
    .workspace = chain_workspace,
    .reference = score_entropy_backward_reference,
    .cases = score_entropy_backward_cases,
};
