/* softmax, log_softmax, cross_entropy and their backward ops, all on the last axis. Called through
 * the table in ops/table.c. */
#include "ops/chain.h"
#include "ops/kernels/attrs.h"
#include "ops/ops.h"
#include "ops/rules.h"

#include <math.h>

static const struct op_input x_inputs[] = {
    {"x", IN_F32, 0, "f32 [..., n]", DOMAIN_ANY},
    {0},
};

static const struct op_input y_inputs[] = {
    {"y", IN_F32, 0, "f32 [..., n]", DOMAIN_ANY},
    {"dy", IN_F32, 0, "f32 [..., n]", DOMAIN_ANY},
    {0},
};

static const char *const dx_results[] = {"dx", NULL};

static bool like_x(struct op_call *call)
{
    if (call->in[0].rank == 0)
        return op_error(call, "x must have at least one axis, not be a scalar");
    return rule_like_first(call);
}

static bool like_y(struct op_call *call)
{
    return rule_same_axes(call, 0, 1, call->in[0].rank) && like_x(call);
}

static void map_cost(const struct op_call *call, struct op_cost *out)
{
    double n = (double)type_count(&call->in[0]);
    out->flop = 20 * n; /* an exp is about 15 */
    out->bytes = 4 * n * (call->in_count + 1);
}

/* Rows of T and their length. */
static int64_t rows_of(const struct ref_tensor *t, int64_t *n)
{
    *n = t->dim[t->rank - 1];
    return ref_lead(t, t->rank - 1);
}

static double row_lse(const double *x, int64_t n)
{
    double most = -INFINITY, sum = 0;
    for (int64_t i = 0; i < n; i++)
        most = fmax(most, x[i]);
    for (int64_t i = 0; i < n; i++)
        sum += exp(x[i] - most);
    return most + log(sum);
}

static const struct op_case map_cases[] = {
    {"f32[2,3,8]", NULL, NULL},
    {"f32[5,1]", NULL, NULL},
    {"f32[7]", NULL, NULL},
    {"f32[3,257]", NULL, NULL},
    {0},
};

static const struct op_case map_backward_cases[] = {
    {"f32[2,3,8] f32[2,3,8]", NULL, NULL},
    {"f32[5,1] f32[5,1]", NULL, NULL},
    {"f32[7] f32[7]", NULL, NULL},
    {"f32[3,257] f32[3,257]", NULL, NULL},
    {0},
};

/* softmax: y_i = exp(x_i) / sum_j exp(x_j).   dx = y (dy - sum_j y_j dy_j) */
static void softmax_grad(struct grad_call *call)
{
    const struct node *n = call->node;
    call->din[0] = emit2(call->graph, &op_softmax_backward, n->out[0], call->dout[0], n);
}

static void softmax_reference(const struct ref_call *call)
{
    int64_t n, rows = rows_of(&call->in[0], &n);
    for (int64_t r = 0; r < rows; r++) {
        const double *x = call->in[0].data + r * n;
        double lse = row_lse(x, n);
        for (int64_t i = 0; i < n; i++)
            call->out[0].data[r * n + i] = exp(x[i] - lse);
    }
}

const struct op op_softmax = {
    .name = "softmax",
    .doc = "Probabilities from logits, on the last axis.",
    .inputs = x_inputs,
    .results = rule_result_y,
    .result_count = 1,
    .rows = ROWS_EACH,
    .shape = like_x,
    .grad = softmax_grad,
    .cost = map_cost,
    .inplace = 1,
    .reference = softmax_reference,
    .cases = map_cases,
};

static void softmax_backward_reference(const struct ref_call *call)
{
    int64_t n, rows = rows_of(&call->in[0], &n);
    for (int64_t r = 0; r < rows; r++) {
        const double *y = call->in[0].data + r * n, *dy = call->in[1].data + r * n;
        double dot = 0;
        for (int64_t i = 0; i < n; i++)
            dot += y[i] * dy[i];
        for (int64_t i = 0; i < n; i++)
            call->out[0].data[r * n + i] = y[i] * (dy[i] - dot);
    }
}

const struct op op_softmax_backward = {
    .name = "softmax_backward",
    .doc = "Gradient of softmax, from its result.",
    .inputs = y_inputs,
    .results = dx_results,
    .result_count = 1,
    .flags = OP_INTERNAL | OP_ZERO_GRAD_TWICE,
    .rows = ROWS_EACH,
    .shape = like_y,
    .cost = map_cost,
    .inplace = 1 | 2,
    .reference = softmax_backward_reference,
    .cases = map_backward_cases,
};

/* log_softmax: y_i = x_i - log sum_j exp(x_j).   dx = dy - exp(y) sum_j dy_j */
static void log_softmax_grad(struct grad_call *call)
{
    const struct node *n = call->node;
    call->din[0] = emit2(call->graph, &op_log_softmax_backward, n->out[0], call->dout[0], n);
}

static void log_softmax_reference(const struct ref_call *call)
{
    int64_t n, rows = rows_of(&call->in[0], &n);
    for (int64_t r = 0; r < rows; r++) {
        const double *x = call->in[0].data + r * n;
        double lse = row_lse(x, n);
        for (int64_t i = 0; i < n; i++)
            call->out[0].data[r * n + i] = x[i] - lse;
    }
}

const struct op op_log_softmax = {
    .name = "log_softmax",
    .doc = "Logarithms of probabilities from logits, on the last axis.",
    .inputs = x_inputs,
    .results = rule_result_y,
    .result_count = 1,
    .rows = ROWS_EACH,
    .shape = like_x,
    .grad = log_softmax_grad,
    .cost = map_cost,
    .inplace = 1,
    .reference = log_softmax_reference,
    .cases = map_cases,
};

static void log_softmax_backward_reference(const struct ref_call *call)
{
    int64_t n, rows = rows_of(&call->in[0], &n);
    for (int64_t r = 0; r < rows; r++) {
        const double *y = call->in[0].data + r * n, *dy = call->in[1].data + r * n;
        double sum = 0;
        for (int64_t i = 0; i < n; i++)
            sum += dy[i];
        for (int64_t i = 0; i < n; i++)
            call->out[0].data[r * n + i] = dy[i] - exp(y[i]) * sum;
    }
}

const struct op op_log_softmax_backward = {
    .name = "log_softmax_backward",
    .doc = "Gradient of log_softmax, from its result.",
    .inputs = y_inputs,
    .results = dx_results,
    .result_count = 1,
    .flags = OP_INTERNAL | OP_ZERO_GRAD_TWICE,
    .rows = ROWS_EACH,
    .shape = like_y,
    .cost = map_cost,
    .inplace = 1 | 2,
    .reference = log_softmax_backward_reference,
    .cases = map_backward_cases,
};

/* cross_entropy: logits [..., n], target [...] -> loss f64 [...], lse f64 [...]
 *   lse = log sum_j exp(logits_j),   loss = lse - logits[target]
 *   dlogits_i = dloss (exp(logits_i - lse) - [i = target])
 * A target outside 0 .. n - 1 gives NaN. */
static const struct op_input entropy_inputs[] = {
    {"logits", IN_F32, 0, "f32 [..., n]", DOMAIN_ANY},
    {"target", IN_IDS, 0, "token or i32 [...], below n", DOMAIN_ANY},
    {0},
};

static const char *const entropy_results[] = {"loss", "lse", NULL};

/* logits and target agree, and the alphabet of the target has at most n states. */
static bool check_target(const struct op_call *call)
{
    const struct type *x = &call->in[0], *target = &call->in[1];
    if (x->rank == 0 || target->rank + 1 != x->rank)
        return op_error(call, "target must have one axis less than %s, not be %s",
                        rule_print(call, 0), rule_print(call, 1));
    if (!rule_same_axes(call, 0, 1, target->rank))
        return false;
    if (target->dtype != DT_TOKEN || !target->process)
        return true;
    int64_t states = call->graph->processes[target->process - 1].chain.states;
    if (states > x->dim[x->rank - 1].size)
        return op_error(call, "%s is too narrow for an alphabet of %lld states",
                        rule_print(call, 0), (long long)states);
    return true;
}

static bool entropy_shape(struct op_call *call)
{
    if (!check_target(call))
        return false;
    struct type loss = call->in[1];
    loss.dtype = DT_F64;
    loss.process = 0;
    call->out[0] = call->out[1] = loss;
    return true;
}

static void entropy_grad(struct grad_call *call)
{
    const struct node *n = call->node;
    uint32_t in[] = {n->in[0], n->in[1], n->out[1], call->dout[0]};
    call->din[0] = graph_emit(call->graph, &op_cross_entropy_backward, in, 4, NULL, n);
}

/* Of a law that is the token itself wherever there is one: a target that it came from costs nothing
 * there. */
static bool entropy_idle(const struct graph *graph, const struct node *node, struct op_idle *out)
{
    const struct node *law = &graph->nodes[graph->values[node->in[0]].node];
    if (law->op != &op_x0_output && law->op != &op_score_posterior)
        return false;
    *out = (struct op_idle){.tokens = law->in[1]};
    return chain_carries_over(&graph->processes[law->process - 1].chain) &&
           chain_noised_from(graph, law->in[1], node->in[1]);
}

static void entropy_reference(const struct ref_call *call)
{
    int64_t n, rows = rows_of(&call->in[0], &n);
    for (int64_t r = 0; r < rows; r++) {
        const double *x = call->in[0].data + r * n;
        double lse = row_lse(x, n);
        call->out[0].data[r] = lse - x[(int64_t)call->in[1].data[r]];
        call->out[1].data[r] = lse;
    }
}

static const struct op_case entropy_cases[] = {
    {"f32[2,3,6] token[2,3]", NULL, "absorb 5"},
    {"f32[5,7] token[5]", NULL, "uniform 3"},
    {"f32[1,2] token[1]", NULL, "uniform 2"},
    {"f32[3,5,131] token[3,5]", NULL, "absorb 130"},
    {0},
};

const struct op op_cross_entropy = {
    .name = "cross_entropy",
    .doc = "Minus the log-probability of a target under logits, in f64.",
    .inputs = entropy_inputs,
    .results = entropy_results,
    .result_count = 2,
    .visible = 1,
    .rows = ROWS_EACH,
    .shape = entropy_shape,
    .grad = entropy_grad,
    .idle = entropy_idle,
    .cost = map_cost,
    .reference = entropy_reference,
    .cases = entropy_cases,
};

static const struct op_input entropy_backward_inputs[] = {
    {"logits", IN_F32, 0, "f32 [..., n]", DOMAIN_ANY},
    {"target", IN_IDS, 0, "token or i32 [...], below n", DOMAIN_ANY},
    {"lse", IN_F64, 0, "f64 [...]", DOMAIN_ANY},
    {"dloss", IN_F64, 0, "f64 [...]", DOMAIN_ANY},
    {0},
};

static const char *const entropy_backward_results[] = {"dlogits", NULL};

static bool entropy_backward_shape(struct op_call *call)
{
    uint32_t lead = call->in[1].rank;
    return check_target(call) && rule_same_axes(call, 0, 2, lead) &&
           rule_same_axes(call, 0, 3, lead) && rule_like_first(call);
}

static void entropy_backward_reference(const struct ref_call *call)
{
    int64_t n, rows = rows_of(&call->in[0], &n);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = 0; i < n; i++) {
            double p = exp(call->in[0].data[r * n + i] - call->in[2].data[r]);
            double here = i == (int64_t)call->in[1].data[r];
            call->out[0].data[r * n + i] = call->in[3].data[r] * (p - here);
        }
}

static const struct op_case entropy_backward_cases[] = {
    {"f32[2,3,6] token[2,3] f64[2,3] f64[2,3]", NULL, "absorb 5"},
    {"f32[5,7] token[5] f64[5] f64[5]", NULL, "uniform 3"},
    {"f32[1,2] token[1] f64[1] f64[1]", NULL, "uniform 2"},
    {"f32[3,131] token[3] f64[3] f64[3]", NULL, "absorb 130"},
    {0},
};

const struct op op_cross_entropy_backward = {
    .name = "cross_entropy_backward",
    .doc = "Gradient of cross_entropy, from the saved log-sum-exp.",
    .inputs = entropy_backward_inputs,
    .results = entropy_backward_results,
    .result_count = 1,
    .flags = OP_INTERNAL | OP_ZERO_GRAD_TWICE,
    .rows = ROWS_EACH,
    .shape = entropy_backward_shape,
    .cost = map_cost,
    .inplace = 1,
    .reference = entropy_backward_reference,
    .cases = entropy_backward_cases,
};
