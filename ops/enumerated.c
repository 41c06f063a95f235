/* Losses over a space of sequences small enough to list: each of the states^length sequences is a
 * row, in lexicographic order (the last position runs fastest), with its probability p and its
 * scores. They are what denoising score entropy stands in for, and what it is tested by.
 *
 * A pair is a sequence x and the sequence y that differs from it in one position, from state a to
 * state b. Both are rows; the score of the pair is entry (x, position, b). */
#include "ops/chain.h"
#include "ops/kernels/attrs.h"
#include "ops/kernels/enumerated_pairs.h"
#include "ops/ops.h"
#include "ops/rules.h"

static const char *const result_loss[] = {"loss", NULL};
static const char *const result_backward[] = {"dlog_score", "dp", NULL};

static const struct op_input enumerated_inputs[] = {
    {"log_score", IN_F32, 0, "f32 [states^length, length, states]: log scores of every sequence",
     DOMAIN_ANY},
    {"p", IN_F64, 0, "f64 [states^length]: the probability of every sequence", DOMAIN_POSITIVE},
    {0},
};

static bool enumerated_check(struct op_call *call)
{
    const struct type *score = &call->in[0], *p = &call->in[1];
    int64_t states = call->chain->states, rows = 1;
    if (score->rank != 3 || score->dim[2].size != states)
        return op_error(call, "`log_score` must be [%d^length, length, %d], not %s", (int)states,
                        (int)states, rule_print(call, 0));
    for (int64_t i = 0; i < score->dim[1].size && rows < INT32_MAX; i++)
        rows *= states;
    if (score->dim[0].size != rows || score->dim[0].axis)
        return op_error(call,
                        "every sequence of %lld positions over %d states must be a row: %lld "
                        "rows, not those of %s",
                        (long long)score->dim[1].size, (int)states, (long long)rows,
                        rule_print(call, 0));
    if (p->rank != 1 || p->dim[0].size != rows || p->dim[0].axis)
        return op_error(call, "`p` must hold one number for each of the %lld sequences, not be %s",
                        (long long)rows, rule_print(call, 1));
    return true;
}

static bool enumerated_shape(struct op_call *call)
{
    call->out[0] = type_scalar(DT_F64);
    return enumerated_check(call);
}

static void enumerated_grad(struct grad_call *call, const struct op *backward)
{
    const struct node *node = call->node;
    struct graph *graph = call->graph;
    uint32_t in[] = {node->in[0], node->in[1], call->dout[0]};
    if (!call->need[0] && !call->need[1])
        return;
    uint32_t dscore = graph_emit(graph, backward, in, 3, NULL, node);
    call->din[0] = dscore;
    if (call->need[1])
        call->din[1] = graph->nodes[graph->values[dscore].node].out[1];
}
static void plain_grad(struct grad_call *call)
{
    enumerated_grad(call, &op_plain_score_entropy_backward);
}
static void implicit_grad(struct grad_call *call)
{
    enumerated_grad(call, &op_implicit_score_entropy_backward);
}

static void enumerated_cost(const struct op_call *call, struct op_cost *out)
{
    chain_cost(call, 40, out);
}

static double pair_sum(const struct ref_call *call, pair_term *term)
{
    struct pair pair = {.chain = call->chain, .length = call->in[0].dim[1]};
    double sum = 0;
    for (int64_t i = 0; i < ref_size(&call->in[0]); i++)
        if (pair_at(&pair, i, call->in[1].data))
            sum += term(&pair, call->in[0].data[i]);
    return sum;
}

/* plain_score_entropy: the sum over pairs of p(x) Q[x][y] (s - r log s + K(r)), r = p(y) / p(x),
 * K(r) = r (log r - 1): score entropy itself (Lou, Meng, Ermon 2024, eq. 5). */
static void plain_reference(const struct ref_call *call)
{
    call->out[0].data[0] = pair_sum(call, pair_plain);
}
/* implicit_score_entropy: E_x sum over y of Q[x][y] s(x)_y - Q[y][x] log s(y)_x, which the sequence
 * alone and no p(y) is asked for (eq. 6); here summed by pairs: p(x) Q[x][y] s - p(y) Q[x][y] log
 * s. It is the plain one but for a constant, with the same gradient. */
static void implicit_reference(const struct ref_call *call)
{
    call->out[0].data[0] = pair_sum(call, pair_implicit);
}

static const struct op_case enumerated_cases[] = {
    {"f32[9,2,3] f64[9]", NULL, "absorb 2"},
    {"f32[27,3,3] f64[27]", NULL, "uniform 3"},
    {"f32[16,2,4] f64[16]", NULL, "mix 3 0.9 0.1 0.1"},
    {"f32[25,2,5] f64[25]", NULL, "table 5 0 3"},
    {"f32[5,1,5] f64[5]", NULL, "band 5 1"},
    {0},
};

const struct op op_plain_score_entropy = {
    .name = "plain_score_entropy",
    .doc = "Score entropy against known probabilities of all sequences of a small space.",
    .inputs = enumerated_inputs,
    .results = result_loss,
    .result_count = 1,
    .flags = OP_PROCESS,
    .rows = ROWS_ALL,
    .shape = enumerated_shape,
    .grad = plain_grad,
    .cost = enumerated_cost,
    .reference = plain_reference,
    .cases = enumerated_cases,
};

const struct op op_implicit_score_entropy = {
    .name = "implicit_score_entropy",
    .doc =
        "Implicit score entropy over all sequences of a small space: no ratio of p is asked for.",
    .inputs = enumerated_inputs,
    .results = result_loss,
    .result_count = 1,
    .flags = OP_PROCESS,
    .rows = ROWS_ALL,
    .shape = enumerated_shape,
    .grad = implicit_grad,
    .cost = enumerated_cost,
    .reference = implicit_reference,
    .cases = enumerated_cases,
};

/* Backward of both, by pairs: d log s = Q[x][y] (p(x) s - p(y)), and
 *   plain     d p(x) += Q[x][y] (s - p(y) / p(x)),  d p(y) += Q[x][y] (log p(y) / p(x) - log s)
 *   implicit  d p(x) += Q[x][y] s,                  d p(y) -= Q[x][y] log s. */
static const struct op_input enumerated_backward_inputs[] = {
    {"log_score", IN_F32, 0, "f32 [states^length, length, states]", DOMAIN_ANY},
    {"p", IN_F64, 0, "f64 [states^length]", DOMAIN_POSITIVE},
    {"dloss", IN_F64, 0, "f64 []: gradient of the loss", DOMAIN_ANY},
    {0},
};

static bool enumerated_backward_shape(struct op_call *call)
{
    call->out[0] = call->in[0];
    call->out[1] = call->in[1];
    return enumerated_check(call);
}

static void backward_reference(const struct ref_call *call, bool plain)
{
    struct pair pair = {.chain = call->chain, .length = call->in[0].dim[1]};
    double g = call->in[2].data[0], *dp = call->out[1].data;
    for (int64_t i = 0; i < ref_size(&call->out[1]); i++)
        dp[i] = 0;
    for (int64_t i = 0; i < ref_size(&call->in[0]); i++) {
        double log_score = call->in[0].data[i];
        call->out[0].data[i] = 0;
        if (!pair_at(&pair, i, call->in[1].data))
            continue;
        call->out[0].data[i] = g * pair_slope(&pair, log_score);
        dp[pair.x] += g * pair.rate * (exp(log_score) - (plain ? pair.py / pair.px : 0));
        dp[pair.y] += g * pair.rate * ((plain ? log(pair.py / pair.px) : 0) - log_score);
    }
}
static void plain_backward_reference(const struct ref_call *call)
{
    backward_reference(call, true);
}
static void implicit_backward_reference(const struct ref_call *call)
{
    backward_reference(call, false);
}

static const struct op_case enumerated_backward_cases[] = {
    {"f32[9,2,3] f64[9] f64[]", NULL, "absorb 2"},
    {"f32[27,3,3] f64[27] f64[]", NULL, "uniform 3"},
    {"f32[25,2,5] f64[25] f64[]", NULL, "table 5 0 3"},
    {0},
};

const struct op op_plain_score_entropy_backward = {
    .name = "plain_score_entropy_backward",
    .doc = "Gradient of plain_score_entropy.",
    .inputs = enumerated_backward_inputs,
    .results = result_backward,
    .result_count = 2,
    .flags = OP_PROCESS | OP_INTERNAL | OP_ZERO_GRAD_TWICE,
    .rows = ROWS_ALL,
    .shape = enumerated_backward_shape,
    .cost = enumerated_cost,
    .reference = plain_backward_reference,
    .cases = enumerated_backward_cases,
};

const struct op op_implicit_score_entropy_backward = {
    .name = "implicit_score_entropy_backward",
    .doc = "Gradient of implicit_score_entropy.",
    .inputs = enumerated_backward_inputs,
    .results = result_backward,
    .result_count = 2,
    .flags = OP_PROCESS | OP_INTERNAL | OP_ZERO_GRAD_TWICE,
    .rows = ROWS_ALL,
    .shape = enumerated_backward_shape,
    .cost = enumerated_cost,
    .reference = implicit_backward_reference,
    .cases = enumerated_backward_cases,
};
