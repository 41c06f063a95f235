/* A space of sequences small enough to list, and losses over it: each of the states^length
 * sequences is a row, in lexicographic order (the last position runs fastest), with its probability
 * p and its scores. They are what denoising score entropy stands in for, and what it is tested by;
 * models/enumerated-entropy.yaml trains by them.
 *
 * A pair is a sequence x and the sequence y that differs from it in one position, from state a to
 * state b. Both are rows; the score of the pair is entry (x, position, b). */
#include "ops/chain.h"
#include "ops/kernels/attrs.h"
#include "ops/kernels/enumerated_pairs.h"
#include "ops/ops.h"
#include "ops/rules.h"
#include "ops/sampler.h"

#define LISTED_MOST (1 << 20) /* sequences: a network computes the scores of each at every update */

static const char *const result_listed[] = {"x", "sigma_of_x", NULL};
static const char *const result_p[] = {"p", NULL};
static const char *const result_loss[] = {"loss", NULL};
static const char *const result_backward[] = {"dlog_score", "dp", NULL};

/* all_sequences: every sequence of so many positions, a row each; and the noise, which is the same
 * for all, said for each of them. */
static const struct op_input all_sequences_inputs[] = {
    {"sigma", IN_F64, 0, "f64 []: total noise, the same for every row", DOMAIN_POSITIVE},
    {0},
};
static const struct op_attr all_sequences_attrs[] = {
    [LISTED_LENGTH] = {"length", ATTR_INT, NULL, "positions of a sequence", NULL},
    {0},
};

static bool all_sequences_shape(struct op_call *call)
{
    const int64_t length = call->attr[LISTED_LENGTH].integer, states = call->chain->states;
    int64_t rows = 1;
    if (call->in[0].rank != 0)
        return op_error(call, "`sigma` must be one number for all sequences, not %s",
                        rule_print(call, 0));
    if (length < 1)
        return op_error(call, "length (%lld) must be at least 1", (long long)length);
    for (int64_t i = 0; i < length && states > 1 && rows <= LISTED_MOST; i++)
        rows *= states;
    if (rows > LISTED_MOST)
        return op_error(call,
                        "%lld positions over %d states have %.3g sequences, more than the %d that "
                        "can be listed: train by score_entropy, which draws them "
                        "(score-entropy.yaml), or take a smaller `length` or alphabet",
                        (long long)length, (int)states, pow((double)states, (double)length),
                        LISTED_MOST);
    call->out[0] = type_scalar(DT_TOKEN);
    call->out[0].process = call->process;
    call->out[0].rank = 2;
    call->out[0].dim[0] = (struct dim){rows, 0};
    call->out[0].dim[1] = (struct dim){length, 0};
    call->out[1] = type_scalar(DT_F64);
    call->out[1].rank = 1;
    call->out[1].dim[0] = call->out[0].dim[0];
    return true;
}

static void all_sequences_reference(const struct ref_call *call)
{
    const int64_t rows = call->out[0].dim[0], length = call->out[0].dim[1];
    for (int64_t row = 0; row < rows; row++) {
        int64_t rest = row;
        for (int64_t i = length - 1; i >= 0; i--, rest /= call->chain->states)
            call->out[0].data[row * length + i] = (double)(rest % call->chain->states);
        call->out[1].data[row] = call->in[0].data[0];
    }
}

static const struct op_case all_sequences_cases[] = {
    {"f64[]", "length=1", "absorb 4"},  {"f64[]", "length=3", "uniform 3"},
    {"f64[]", "length=7", "uniform 1"}, {"f64[]", "length=5", "mix 2 0.6 0.5 0.5"},
    {"f64[]", "length=2", "band 5 1"},  {0},
};

const struct op op_all_sequences = {
    .name = "all_sequences",
    .doc = "Every sequence of a small space, a row each, the last position running fastest.",
    .inputs = all_sequences_inputs,
    .attrs = all_sequences_attrs,
    .results = result_listed,
    .result_count = 2,
    .flags = OP_PROCESS | OP_NO_GRAD,
    .rows = ROWS_NONE,
    .shape = all_sequences_shape,
    .reference = all_sequences_reference,
    .cases = all_sequences_cases,
};

/* noised_law: the probability of x when a row of x0, any alike, is noised:
 *     p(x) = mean over the rows x0 of the product over positions i of P_sigma[x_i][x0_i]
 * exactly, for any list of sequences x. Over a batch that is drawn from p0 its mean is p_sigma, so
 * that what is linear in p, such as the gradient of either loss below, has the mean that it would
 * have with p_sigma itself. */
static const struct op_input noised_law_inputs[] = {
    {"x", IN_TOKEN, 0, "token [rows, length]: the sequences asked about", DOMAIN_ANY},
    {"x0", IN_TOKEN, 0, "token [batch, length]: clean sequences, of which one is noised",
     DOMAIN_ANY},
    {"sigma", IN_F64, 0, "f64 [rows] or []: total noise", DOMAIN_POSITIVE},
    {0},
};

static bool noised_law_shape(struct op_call *call)
{
    call->out[0] = sampler_rows(call, 0);
    if (!chain_expect_tokens(call, 0, 0) || !chain_expect_tokens(call, 1, 1))
        return false;
    if (call->in[0].rank != 2 || call->in[1].rank != 2 ||
        call->in[0].dim[1].size != call->in[1].dim[1].size)
        return op_error(call, "`x` and `x0` must be sequences of one length, not %s and %s",
                        rule_print(call, 0), rule_print(call, 1));
    return chain_expect_times(call, 2, 0);
}

static void noised_law_reference(const struct ref_call *call)
{
    const int64_t length = call->in[0].dim[1], batch = call->in[1].dim[0];
    for (int64_t row = 0; row < call->in[0].dim[0]; row++) {
        const double *x = call->in[0].data + row * length;
        struct transition p = ref_transition(call->chain, ref_time(&call->in[2], row));
        double sum = 0;
        for (int64_t k = 0; k < batch; k++) {
            double product = 1;
            for (int64_t i = 0; i < length; i++)
                product *=
                    transition_at(&p, (int32_t)x[i], (int32_t)call->in[1].data[k * length + i]);
            sum += product;
        }
        call->out[0].data[row] = batch ? sum / (double)batch : 0;
        ref_transition_release(&p);
    }
}

static void noised_law_cost(const struct op_call *call, struct op_cost *out)
{
    chain_cost(call, 0, out);
    out->flop = (double)type_count(&call->in[0]) * (double)call->in[1].dim[0].size;
}

static const struct op_case noised_law_cases[] = {
    {"token[3,5] token[7,5] f64[]", NULL, "absorb 5"},
    {"token[27,3] token[3,3] f64[27]", NULL, "uniform 3"},
    {"token[1,1] token[1,1] f64[1]", NULL, "uniform 1"},
    {"token[5,3] token[2,3] f64[5]", NULL, "mix 3 0.6 0.5 0.5"},
    {"token[5,2] token[3,2] f64[5]", NULL, "band 5 1"},
    {"token[16,2] token[11,2] f64[]", NULL, "table 4 1 3"},
    {0},
};

const struct op op_noised_law = {
    .name = "noised_law",
    .doc = "The probability of each sequence after one of a batch was noised.",
    .inputs = noised_law_inputs,
    .results = result_p,
    .result_count = 1,
    .flags = OP_PROCESS | OP_NO_GRAD,
    .rows = ROWS_ALL,
    .shape = noised_law_shape,
    .cost = noised_law_cost,
    .workspace = chain_workspace,
    .reference = noised_law_reference,
    .cases = noised_law_cases,
};

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
