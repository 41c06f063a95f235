/* The score that a law of the clean token comes to, with its gradient.
 *
 * Two laws of x0 differ unless the chain is absorbing: the posterior, given all of x_t, and the
 * cavity, given x_t but for the position itself; the posterior is ~ P[x][x0] times the cavity. One
 * taken for the other gives wrong scores. */
#include "ops/chain.h"
#include "ops/kernels/attrs.h"
#include "ops/ops.h"
#include "ops/rules.h"
#include "ops/sampler.h"

static const char *const result_log_score[] = {"log_score", NULL};
static const char *const result_backward[] = {"dlog_p", "dsigma", NULL};

/* posterior_score, cavity_score: with v(x0) = p(x0) / P[x][x0] (a posterior; x0 that cannot lead to
 * x count for nothing) or v = p (a cavity), and u = P v,
 *   posterior  log s_y = log u_y            (D3PM, Austin et al. 2021, eq. 4)
 *   cavity     log s_y = log u_y - log u_x  (UDLM, Schiff et al. 2024; DUO, Sahoo et al. 2025)
 * and 0 at y = x. -INFINITY where y cannot be reached. */
static const struct op_input head_score_inputs[] = {
    {"log_p", IN_F32, 0, "f32 [rows, length, states]: log law of the clean token", DOMAIN_ANY},
    {"x", IN_TOKEN, 0, "token [rows, length]: the noisy tokens", DOMAIN_ANY},
    {"sigma", IN_F64, INPUT_SEQUENCE, "f64 [rows] or []: total noise", DOMAIN_POSITIVE},
    {0},
};

static bool head_score_shape(struct op_call *call)
{
    call->out[0] = call->in[0];
    return chain_expect_tokens(call, 1, 1) && chain_expect_scores(call, 0, 1) &&
           chain_expect_times(call, 2, 1);
}

static void head_score_cost(const struct op_call *call, struct op_cost *out)
{
    double states = call->chain->states;
    chain_cost(call, call->chain->kind == CHAIN_TABLE ? 4 * states : 40, out);
}

/* Tables: P, and rows over the states for each position of a sequence. */
static int64_t head_score_workspace(const struct op_call *call)
{
    const struct type *x = &call->in[1];
    if (call->chain->kind != CHAIN_TABLE)
        return 0;
    int64_t length = type_count(x) / (x->dim[0].size ? x->dim[0].size : 1);
    return transition_bytes(call->chain) +
           5 * length * call->chain->states * (int64_t)sizeof(double);
}

static void grad_by(struct grad_call *call, const struct op *backward)
{
    const struct node *node = call->node;
    struct graph *graph = call->graph;
    uint32_t in[] = {node->in[0], node->in[1], node->in[2], call->dout[0]};
    if (!call->need[0] && !call->need[2])
        return;
    uint32_t dlog_p = graph_emit(graph, backward, in, 4, NULL, node);
    call->din[0] = dlog_p;
    if (call->need[2])
        call->din[2] = emit_row_sums(graph, graph->nodes[graph->values[dlog_p].node].out[1], node);
}
static void posterior_score_grad(struct grad_call *call)
{
    grad_by(call, &op_posterior_score_backward);
}
static void cavity_score_grad(struct grad_call *call)
{
    grad_by(call, &op_cavity_score_backward);
}

/* v(x0) of the law LOG_P at state X. */
static double ref_weight_of(const struct transition *p, const double *log_p, int32_t x, int32_t x0,
                            bool cavity)
{
    double reach = transition_at(p, x, x0);
    return cavity ? exp(log_p[x0]) : reach > 0 ? exp(log_p[x0]) / reach : 0;
}

static double ref_reached(const struct transition *p, const double *log_p, int32_t x, int32_t y,
                          bool cavity)
{
    double sum = 0;
    for (int32_t x0 = 0; x0 < p->chain->tokens; x0++)
        sum += transition_at(p, y, x0) * ref_weight_of(p, log_p, x, x0, cavity);
    return sum;
}

static void score_reference(const struct ref_call *call, bool cavity)
{
    const struct chain *chain = call->chain;
    struct chain_walk walk = ref_walk(&call->in[1]);
    for (int64_t at = 0; at < walk.rows * walk.length; at++) {
        struct transition p = ref_transition(chain, ref_time(&call->in[2], at / walk.length));
        const double *log_p = call->in[0].data + at * chain->states;
        int32_t x = (int32_t)call->in[1].data[at];
        double here = cavity ? log(ref_reached(&p, log_p, x, x, true)) : 0;
        for (int32_t y = 0; y < chain->states; y++)
            call->out[0].data[at * chain->states + y] =
                y == x ? 0 : log(ref_reached(&p, log_p, x, y, cavity)) - here;
        ref_transition_release(&p);
    }
}
static void posterior_score_reference(const struct ref_call *call)
{
    score_reference(call, false);
}
static void cavity_score_reference(const struct ref_call *call)
{
    score_reference(call, true);
}

static const struct op_case head_score_cases[] = {
    {"f32[2,3,6] token[2,3] f64[2]", NULL, "absorb 5"},
    {"f32[3,5,7] token[3,5] f64[]", NULL, "uniform 7"},
    {"f32[3,5,6] token[3,5] f64[3]", NULL, "mix 5 0.9 0.1 0"},
    {"f32[3,5,6] token[3,5] f64[3]", NULL, "mix 5 0.7 0.3 0.3"},
    {"f32[3,5,5] token[3,5] f64[3]", NULL, "table 5 0 3"},
    {"f32[2,5,6] token[2,5] f64[]", NULL, "table 5 1 4"},
    {"f32[1,7,5] token[1,7] f64[]", NULL, "band 5 1"},
    {"f32[2,301] token[2] f64[2]", NULL, "uniform 301"},
    {0},
};

const struct op op_posterior_score = {
    .name = "posterior_score",
    .doc = "Log scores of a log law of the clean token given all noisy tokens.",
    .inputs = head_score_inputs,
    .results = result_log_score,
    .result_count = 1,
    .flags = OP_PROCESS,
    .rows = ROWS_POSITION,
    .shape = head_score_shape,
    .grad = posterior_score_grad,
    .cost = head_score_cost,
    .inplace = 1,
    .workspace = head_score_workspace,
    .reference = posterior_score_reference,
    .cases = head_score_cases,
};

const struct op op_cavity_score = {
    .name = "cavity_score",
    .doc = "Log scores of a log law of the clean token given the tokens at other positions.",
    .inputs = head_score_inputs,
    .results = result_log_score,
    .result_count = 1,
    .flags = OP_PROCESS,
    .rows = ROWS_POSITION,
    .shape = head_score_shape,
    .grad = cavity_score_grad,
    .cost = head_score_cost,
    .inplace = 1,
    .workspace = head_score_workspace,
    .reference = cavity_score_reference,
    .cases = head_score_cases,
};

/* Backward, with g_y the gradient at y != x and g_x = -(sum of the others) for a cavity, else 0:
 *   d log p(x0) = v(x0) sum over y of P[y][x0] g_y / u_y
 *   d sigma     = sum over y of g_y (d u_y / d sigma) / u_y,
 * the latter for each position; u of a posterior depends on sigma through v as well. */
static const struct op_input head_score_backward_inputs[] = {
    {"log_p", IN_F32, 0, "f32 [rows, length, states]: log law of the clean token", DOMAIN_ANY},
    {"x", IN_TOKEN, 0, "token [rows, length]: the noisy tokens", DOMAIN_ANY},
    {"sigma", IN_F64, INPUT_SEQUENCE, "f64 [rows] or []: total noise", DOMAIN_POSITIVE},
    {"dlog_score", IN_F32, 0, "f32 [rows, length, states]: gradient of the log scores", DOMAIN_ANY},
    {0},
};

static bool head_score_backward_shape(struct op_call *call)
{
    call->out[0] = call->in[0];
    call->out[1] = call->in[1];
    call->out[1].dtype = DT_F64;
    call->out[1].process = 0;
    return chain_expect_tokens(call, 1, 1) && chain_expect_scores(call, 0, 1) &&
           chain_expect_times(call, 2, 1) && chain_expect_scores(call, 3, 1);
}

/* d u_y / d sigma. */
static double ref_reached_slope(const struct transition *p, const double *log_p, int32_t x,
                                int32_t y, bool cavity)
{
    double sum = 0;
    for (int32_t x0 = 0; x0 < p->chain->tokens; x0++) {
        double v = ref_weight_of(p, log_p, x, x0, cavity), reach = transition_at(p, x, x0);
        sum += v * transition_slope(p, y, x0);
        if (!cavity && reach > 0)
            sum -= v * transition_at(p, y, x0) * transition_slope(p, x, x0) / reach;
    }
    return sum;
}

/* One position; returns d sigma. */
static double ref_backward(const struct transition *p, const double *log_p, int32_t x,
                           const double *g, bool cavity, double *out)
{
    double total = 0, dsigma = 0;
    for (int32_t x0 = 0; x0 < p->chain->states; x0++) {
        out[x0] = 0;
        total += x0 == x ? 0 : g[x0];
    }
    for (int32_t y = 0; y < p->chain->states; y++) {
        double u = ref_reached(p, log_p, x, y, cavity);
        double slope = y != x ? g[y] : cavity ? -total : 0;
        if (!(u > 0))
            continue;
        dsigma += slope * ref_reached_slope(p, log_p, x, y, cavity) / u;
        for (int32_t x0 = 0; x0 < p->chain->tokens; x0++)
            out[x0] += ref_weight_of(p, log_p, x, x0, cavity) * transition_at(p, y, x0) * slope / u;
    }
    return dsigma;
}

static void backward_reference(const struct ref_call *call, bool cavity)
{
    struct chain_walk walk = ref_walk(&call->in[1]);
    int64_t states = call->chain->states;
    for (int64_t at = 0; at < walk.rows * walk.length; at++) {
        struct transition p = ref_transition(call->chain, ref_time(&call->in[2], at / walk.length));
        call->out[1].data[at] =
            ref_backward(&p, call->in[0].data + at * states, (int32_t)call->in[1].data[at],
                         call->in[3].data + at * states, cavity, call->out[0].data + at * states);
        ref_transition_release(&p);
    }
}
static void posterior_score_backward_reference(const struct ref_call *call)
{
    backward_reference(call, false);
}
static void cavity_score_backward_reference(const struct ref_call *call)
{
    backward_reference(call, true);
}

static const struct op_case head_score_backward_cases[] = {
    {"f32[2,3,6] token[2,3] f64[2] f32[2,3,6]", NULL, "absorb 5"},
    {"f32[3,5,7] token[3,5] f64[] f32[3,5,7]", NULL, "uniform 7"},
    {"f32[3,5,6] token[3,5] f64[3] f32[3,5,6]", NULL, "mix 5 0.9 0.1 0"},
    {"f32[3,5,6] token[3,5] f64[3] f32[3,5,6]", NULL, "mix 5 0.7 0.3 0.3"},
    {"f32[3,5,5] token[3,5] f64[3] f32[3,5,5]", NULL, "table 5 0 3"},
    {"f32[2,5,6] token[2,5] f64[] f32[2,5,6]", NULL, "table 5 1 4"},
    {"f32[2,301] token[2] f64[2] f32[2,301]", NULL, "uniform 301"},
    {0},
};

const struct op op_posterior_score_backward = {
    .name = "posterior_score_backward",
    .doc = "Gradient of posterior_score with respect to the log law, and to sigma by position.",
    .inputs = head_score_backward_inputs,
    .results = result_backward,
    .result_count = 2,
    .flags = OP_PROCESS | OP_INTERNAL | OP_ZERO_GRAD_TWICE,
    .rows = ROWS_POSITION,
    .shape = head_score_backward_shape,
    .cost = head_score_cost,
    .inplace = 1,
    .workspace = head_score_workspace,
    .reference = posterior_score_backward_reference,
    .cases = head_score_backward_cases,
};

const struct op op_cavity_score_backward = {
    .name = "cavity_score_backward",
    .doc = "Gradient of cavity_score with respect to the log law, and to sigma by position.",
    .inputs = head_score_backward_inputs,
    .results = result_backward,
    .result_count = 2,
    .flags = OP_PROCESS | OP_INTERNAL | OP_ZERO_GRAD_TWICE,
    .rows = ROWS_POSITION,
    .shape = head_score_backward_shape,
    .cost = head_score_cost,
    .inplace = 1,
    .workspace = head_score_workspace,
    .reference = cavity_score_backward_reference,
    .cases = head_score_backward_cases,
};
