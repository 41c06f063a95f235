/* The vocabulary head and its loss as one op: logits are made, used and forgotten a chunk of rows
 * at a time, so that no more of them than a chunk is ever in memory. Emitted by passes/fuse_head.c.
 *
 *   z = h W^T + b,   loss = L(z; target),   d z = d loss L'(z; target)
 *   d h = d z W,   d W = sum over rows of d z^T h,   d b = sum over rows of d z
 *
 * Each L' is a exp(z - c) + d + e [y = target], but for that of a cavity, which is stated below: no
 * row needs another. The gradient of the loss is known before the loss is: what is minimised is a
 * sum of losses with weights that do not depend on them. Its op gives losses and gradients in one
 * sweep. */
#include "ops/chain.h"
#include "ops/head_rows.h"
#include "ops/kernels/attrs.h"
#include "ops/kernels/head_room.h"
#include "ops/kernels/score_entropy.h"
#include "ops/ops.h"
#include "ops/rules.h"

#include "graph/base/check.h"

#include <stdlib.h>
#include <string.h>

static const char *const forms[] = {"score", "law", "law_score", "cavity", NULL};
static const char *const loss_results[] = {"loss", NULL};
static const char *const backward_results[] = {"loss", "dh", "dweight", "dbias", NULL};

/* --- what all four share ------------------------------------------------------------------ */

int64_t head_states(const struct op_call *call, int64_t layout)
{
    return call->in[1].dim[layout == LAYOUT_OUT_IN ? 0 : 1].size;
}

static int64_t rows_of(const struct op_call *call)
{
    return type_count(&call->in[0]) / rule_last(&call->in[0]);
}

bool head_fits(struct op_call *call, int64_t layout, uint32_t bias)
{
    const struct type *h = &call->in[0], *w = &call->in[1], *target = &call->in[2];
    bool fits = h->rank >= 2 && w->rank == 2 && !w->dim[0].axis && target->rank + 1 == h->rank &&
                w->dim[layout == LAYOUT_OUT_IN ? 1 : 0].size == rule_last(h);
    if (fits && op_has(call, bias))
        fits = call->in[bias].rank == 1 && rule_last(&call->in[bias]) == head_states(call, layout);
    if (!fits)
        return op_error(call, "no head: h %s, weight %s, %s %s", rule_print(call, 0),
                        rule_print(call, 1), call->op->inputs[2].name, rule_print(call, 2));
    return rule_same_axes(call, 0, 2, target->rank);
}

/* Results: the loss, and with gradients those of h, weight and bias. */
static bool head_shape(struct op_call *call, int64_t layout, uint32_t bias, bool gradients)
{
    const struct type *h = &call->in[0], *w = &call->in[1], *target = &call->in[2];
    if (!head_fits(call, layout, bias))
        return false;
    call->out_count = gradients ? (op_has(call, bias) ? 4 : 3) : 1;
    call->out[0] = *target;
    call->out[0].dtype = DT_F64;
    call->out[0].process = 0;
    if (!gradients)
        return true;
    call->out[1] = *h;
    call->out[2] = *w;
    if (op_has(call, bias))
        call->out[3] = call->in[bias];
    return rule_same_axes(call, 3, 2, target->rank);
}

void head_cost(const struct op_call *call, int64_t layout, bool gradients, struct op_cost *out)
{
    int64_t rows = rows_of(call), states = head_states(call, layout), dim = rule_last(&call->in[0]);
    int64_t chunk = head_chunk(rows, states), chunks = chunk ? (rows + chunk - 1) / chunk : 0;
    double weight = (double)type_bytes(&call->in[1]), h = (double)type_bytes(&call->in[0]);
    cost_product(out, rows, states, dim);
    if (gradients) {
        cost_product(out, rows, dim, states);
        cost_product(out, states, dim, rows);
    }
    out->flop = out->model + 20.0 * (double)rows * (double)states; /* an exp is about 15 */
    out->bytes = (double)chunks * (gradients ? 4 : 1) * weight + (gradients ? 3 : 1) * h;
}

int64_t head_workspace(const struct op_call *call, int64_t layout, bool gradients)
{
    int64_t rows = rows_of(call), states = head_states(call, layout);
    return head_logits_bytes(rows, states) + (gradients ? head_sums_bytes(states) : 0) +
           head_product_bytes(rows, states, rule_last(&call->in[0]), gradients);
}

struct head head_open(const struct ref_call *call, int64_t layout, uint32_t bias, bool gradients)
{
    const struct ref_tensor *h = &call->in[0], *w = &call->in[1];
    bool out_in = layout == LAYOUT_OUT_IN;
    struct head t = {.call = call,
                     .h = h->data,
                     .weight = w->data,
                     .bias = ref_has(call, bias) ? call->in[bias].data : NULL,
                     .dloss = gradients ? call->in[3].data : NULL,
                     .rows = ref_lead(h, h->rank - 1),
                     .dim = h->dim[h->rank - 1],
                     .states = w->dim[out_in ? 0 : 1]};
    t.out_step = out_in ? t.dim : 1;
    t.in_step = out_in ? 1 : t.states;
    t.z = calloc((size_t)t.states, sizeof *t.z);
    BUG_ON(!t.z);
    for (uint32_t k = 1; k < call->out_count; k++)
        memset(call->out[k].data, 0, (size_t)ref_size(&call->out[k]) * sizeof *call->out[k].data);
    return t;
}

void head_logits(struct head *t, int64_t row)
{
    for (int64_t y = 0; y < t->states; y++) {
        t->z[y] = t->bias ? t->bias[y] : 0;
        for (int64_t i = 0; i < t->dim; i++)
            t->z[y] += t->h[row * t->dim + i] * t->weight[y * t->out_step + i * t->in_step];
    }
}

/* Row ROW has the gradients Z of its logits. */
static void head_back(struct head *t, int64_t row)
{
    struct ref_tensor *out = t->call->out;
    for (int64_t y = 0; y < t->states; y++) {
        for (int64_t i = 0; i < t->dim; i++) {
            int64_t at = y * t->out_step + i * t->in_step;
            out[1].data[row * t->dim + i] += t->z[y] * t->weight[at];
            out[2].data[at] += t->z[y] * t->h[row * t->dim + i];
        }
        if (t->bias)
            out[3].data[y] += t->z[y];
    }
}

/* -log of the softmax of the first N logits at TARGET; Z becomes G times its slope. */
static double entropy_of(double *z, int64_t states, int64_t n, int64_t target, double g)
{
    double most = -INFINITY, sum = 0, loss = z[target];
    for (int64_t y = 0; y < n; y++)
        most = fmax(most, z[y]);
    for (int64_t y = 0; y < n; y++)
        sum += exp(z[y] - most);
    loss = most + log(sum) - loss;
    for (int64_t y = 0; y < states; y++)
        z[y] = y < n ? g * (exp(z[y] - most) / sum - (y == target)) : 0;
    return loss;
}

/* --- cross entropy ------------------------------------------------------------------------ */

static const struct op_attr entropy_attrs[] = {
    [HEAD_ENTROPY_LAYOUT] = {"layout", ATTR_CHOICE, "out_in", "as of the linear map", rule_layouts},
    {0},
};

/* head_entropy: cross_entropy of linear.
 *   h [..., dim], weight [n, dim], target [...], bias [n] -> loss f64 [...] */
static const struct op_input entropy_inputs[] = {
    {"h", IN_F32, 0, "f32 [..., dim]", DOMAIN_ANY},
    {"weight", IN_F32, 0, "f32 [n, dim], or [dim, n]", DOMAIN_ANY},
    {"target", IN_IDS, 0, "token or i32 [...], below n", DOMAIN_ANY},
    {"bias", IN_F32, INPUT_OPTIONAL, "f32 [n]", DOMAIN_ANY},
    {0},
};

static bool entropy_shape(struct op_call *call)
{
    return head_shape(call, call->attr[HEAD_ENTROPY_LAYOUT].integer, 3, false);
}

static void entropy_cost(const struct op_call *call, struct op_cost *out)
{
    head_cost(call, call->attr[HEAD_ENTROPY_LAYOUT].integer, false, out);
}

static int64_t entropy_workspace(const struct op_call *call)
{
    return head_workspace(call, call->attr[HEAD_ENTROPY_LAYOUT].integer, false);
}

static void entropy_rows(struct head *t)
{
    for (int64_t r = 0; r < t->rows; r++) {
        int64_t target = (int64_t)t->call->in[2].data[r];
        head_logits(t, r);
        t->call->out[0].data[r] =
            entropy_of(t->z, t->states, t->states, target, t->dloss ? t->dloss[r] : 0);
        if (t->dloss)
            head_back(t, r);
    }
    free(t->z);
}

static void entropy_reference(const struct ref_call *call)
{
    struct head t = head_open(call, call->attr[HEAD_ENTROPY_LAYOUT].integer, 3, false);
    entropy_rows(&t);
}

static const struct op_case entropy_cases[] = {
    {"f32[2,3,8] f32[7,8] i32[2,3] f32[7]", NULL, NULL},
    {"f32[3,1,1] f32[5,1] i32[3,1] _", NULL, NULL},
    {"f32[1,3,5] f32[5,11] token[1,3] f32[11]", "layout=in_out", "uniform 11"},
    {"f32[1,7,3] f32[1,3] token[1,7] f32[1]", NULL, "uniform 1"},
    {"f32[1,2,5] f32[5,131] i32[1,2] _", "layout=in_out", NULL},
    {"f32[3,347,5] f32[13,5] token[3,347] f32[13]", NULL, "absorb 12"}, /* three chunks */
    {"f32[521,3] f32[7,3] i32[521] _", NULL, NULL},
    {0},
};

const struct op op_head_entropy = {
    .name = "head_entropy",
    .doc = "Cross entropy of a linear map of the last axis, whose logits are not kept.",
    .inputs = entropy_inputs,
    .attrs = entropy_attrs,
    .results = loss_results,
    .result_count = 1,
    .flags = OP_INTERNAL | OP_ZERO_GRAD_TWICE,
    .rows = ROWS_EACH,
    .shape = entropy_shape,
    .cost = entropy_cost,
    .workspace = entropy_workspace,
    .reference = entropy_reference,
    .cases = entropy_cases,
};

/* head_entropy_backward: the same, and its gradients. */
static const struct op_input entropy_backward_inputs[] = {
    {"h", IN_F32, 0, "f32 [..., dim]", DOMAIN_ANY},
    {"weight", IN_F32, 0, "f32 [n, dim], or [dim, n]", DOMAIN_ANY},
    {"target", IN_IDS, 0, "token or i32 [...], below n", DOMAIN_ANY},
    {"dloss", IN_F64, 0, "f64 [...]: gradient of the loss", DOMAIN_ANY},
    {"bias", IN_F32, INPUT_OPTIONAL, "f32 [n]", DOMAIN_ANY},
    {0},
};

static bool entropy_backward_shape(struct op_call *call)
{
    return head_shape(call, call->attr[HEAD_ENTROPY_LAYOUT].integer, 4, true);
}

static void entropy_backward_cost(const struct op_call *call, struct op_cost *out)
{
    head_cost(call, call->attr[HEAD_ENTROPY_LAYOUT].integer, true, out);
}

static int64_t entropy_backward_workspace(const struct op_call *call)
{
    return head_workspace(call, call->attr[HEAD_ENTROPY_LAYOUT].integer, true);
}

static void entropy_backward_reference(const struct ref_call *call)
{
    struct head t = head_open(call, call->attr[HEAD_ENTROPY_LAYOUT].integer, 4, true);
    entropy_rows(&t);
}

static const struct op_case entropy_backward_cases[] = {
    {"f32[2,3,8] f32[7,8] i32[2,3] f64[2,3] f32[7]", NULL, NULL},
    {"f32[3,1,1] f32[5,1] i32[3,1] f64[3,1] _", NULL, NULL},
    {"f32[1,3,5] f32[5,11] token[1,3] f64[1,3] f32[11]", "layout=in_out", "uniform 11"},
    {"f32[1,7,3] f32[1,3] token[1,7] f64[1,7] f32[1]", NULL, "uniform 1"},
    {"f32[1,2,5] f32[5,131] i32[1,2] f64[1,2] _", "layout=in_out", NULL},
    {"f32[3,347,5] f32[13,5] token[3,347] f64[3,347] f32[13]", NULL, "absorb 12"},
    {"f32[521,3] f32[7,3] i32[521] f64[521] _", NULL, NULL},
    {0},
};

const struct op op_head_entropy_backward = {
    .name = "head_entropy_backward",
    .doc = "Cross entropy of a linear map with its gradients, from that of the loss.",
    .inputs = entropy_backward_inputs,
    .attrs = entropy_attrs,
    .results = backward_results,
    .flags = OP_INTERNAL | OP_ZERO_GRAD_TWICE,
    .rows = ROWS_ALL,
    .shape = entropy_backward_shape,
    .cost = entropy_backward_cost,
    .workspace = entropy_backward_workspace,
    .reference = entropy_backward_reference,
    .cases = entropy_backward_cases,
};

/* --- losses of a process ------------------------------------------------------------------ */

static const struct op_attr loss_attrs[] = {
    [HEAD_LOSS_LAYOUT] = {"layout", ATTR_CHOICE, "out_in", "as of the linear map", rule_layouts},
    [HEAD_LOSS_FORM] = {"form", ATTR_CHOICE, "score", "what the logits are", forms},
    [HEAD_LOSS_SCALE] = {"scale_by_sigma", ATTR_BOOL, "false", "as of score_output", NULL},
    {0},
};

/* head_loss: the loss of noisy tokens. By form:
 *   score      score_entropy of score_output, under a flat chain
 *   law        cross_entropy of x0_output, where the chain does nothing but mask: at a mask the law
 *              is over all tokens at any noise, and elsewhere it is certain of x
 *   law_score  score_entropy of the score that this law comes to: Q rho (-log p(x0)), with the rate
 *              Q and the ratio rho of x0, as the scores sum to rho whatever the law
 *   cavity     score_entropy of cavity_score of cavity_output, under a flat chain. With the law q
 *              that z comes to, u = P q and s = u / u_x,
 *                g_y = d loss Q[x][y] (s_y - rho_y) at y != x, g_x = - the sum of these
 *                d z_y = q_y (v_y - sum over tokens k of q_k v_k), v = P^T (g / u)
 *   h [..., dim], weight [states, dim], x0, x token [...], sigma f64 [rows] or [] (not of `law`),
 *   bias [states] -> loss f64 [...] */
static const struct op_input loss_inputs[] = {
    {"h", IN_F32, 0, "f32 [..., dim]", DOMAIN_ANY},
    {"weight", IN_F32, 0, "f32 [states, dim], or [dim, states]", DOMAIN_ANY},
    {"x0", IN_TOKEN, 0, "token [...]: the clean tokens", DOMAIN_REAL_TOKEN},
    {"x", IN_TOKEN, 0, "token [...]: noisy tokens", DOMAIN_ANY},
    {"sigma", IN_F64, INPUT_OPTIONAL | INPUT_SEQUENCE, "f64 [rows] or []: total noise",
     DOMAIN_POSITIVE},
    {"bias", IN_F32, INPUT_OPTIONAL, "f32 [states]", DOMAIN_ANY},
    {0},
};

/* X is input X, sigma the next, then the bias. */
static bool loss_checks(struct op_call *call, uint32_t x, bool gradients)
{
    const int64_t form = call->attr[HEAD_LOSS_FORM].integer;
    const bool law = form == FORM_LAW, flat = form == FORM_SCORE || form == FORM_CAVITY;
    const struct chain *chain = call->chain;
    int64_t layout = call->attr[HEAD_LOSS_LAYOUT].integer;
    if (!head_shape(call, layout, x + 2, gradients) || !chain_expect_tokens(call, x, x) ||
        !chain_expect_tokens(call, 2, x) || (!law && !chain_expect_times(call, x + 1, x)))
        return false;
    if (head_states(call, layout) != chain->states || op_has(call, x + 1) == law ||
        !(flat ? chain->kind == CHAIN_FLAT : chain_carries_over(chain)))
        return op_error(call, "no head of form `%s` under this process: h %s, weight %s",
                        forms[form], rule_print(call, 0), rule_print(call, 1));
    return true;
}

static bool loss_shape(struct op_call *call)
{
    return loss_checks(call, 3, false);
}

static void loss_cost(const struct op_call *call, struct op_cost *out)
{
    head_cost(call, call->attr[HEAD_LOSS_LAYOUT].integer, false, out);
}

static int64_t loss_workspace(const struct op_call *call)
{
    return head_workspace(call, call->attr[HEAD_LOSS_LAYOUT].integer, false);
}

/* Score entropy of the logits Z at P, each pair by its definition; Z becomes G times its slope. */
static double entropy_of_scores(const struct transition *p, bool scaled, double *z, int32_t x,
                                int32_t x0, double g)
{
    double shift = scaled ? log(p->chain->tokens) - transition_log_unmasked(p) : 0, loss = 0;
    for (int32_t y = 0; y < p->chain->states; y++) {
        double rate = y == x ? 0 : chain_rate(p->chain, x, y), log_score = z[y] - shift;
        double log_rho = rate > 0 ? transition_log_ratio(p, y, x, x0) : -INFINITY;
        z[y] = 0;
        if (!(rate > 0))
            continue;
        loss += rate * entropy_term(log_score, exp(log_rho), log_rho);
        z[y] = g * rate * (exp(log_score) - exp(log_rho));
    }
    return loss;
}

/* Score entropy of the cavity that logits Z come to at P, each pair by its definition; Z becomes G
 * times its slope. */
static double entropy_of_cavity(const struct transition *p, double *z, int32_t x, int32_t x0,
                                double g)
{
    const int32_t states = p->chain->states, tokens = p->chain->tokens;
    double *q = calloc(4 * (size_t)states, sizeof *q);
    double *u = q + states, *slope = u + states, *v = slope + states;
    double most = -INFINITY, sum = 0, change = 0, mean = 0, loss = 0;
    BUG_ON(!q);
    for (int32_t y = 0; y < tokens; y++)
        most = fmax(most, z[y]);
    for (int32_t y = 0; y < tokens; y++)
        sum += exp(z[y] - most);
    for (int32_t y = 0; y < tokens; y++)
        q[y] = exp(z[y] - most) / sum;
    transition_apply(p, q, u);
    for (int32_t y = 0; y < states; y++) { /* SLOPE: g / u */
        double rate = y == x ? 0 : chain_rate(p->chain, x, y);
        if (!(rate > 0))
            continue;
        double log_rho = transition_log_ratio(p, y, x, x0);
        loss += rate * entropy_term(log(u[y] / u[x]), exp(log_rho), log_rho);
        slope[y] = rate * (1 / u[x] - exp(log_rho) / u[y]);
        change += slope[y] * u[y];
    }
    slope[x] = -change / u[x];
    transition_apply_transposed(p, slope, v);
    for (int32_t y = 0; y < tokens; y++)
        mean += q[y] * v[y];
    for (int32_t y = 0; y < states; y++)
        z[y] = g * q[y] * (v[y] - mean);
    free(q);
    return loss;
}

/* One row; X and SIGMA are inputs X and X + 1. */
static double loss_row(struct head *t, uint32_t x_input, int64_t r, double g)
{
    const struct ref_call *call = t->call;
    const struct chain *chain = call->chain;
    struct chain_walk walk = ref_walk(&call->in[x_input]);
    int64_t form = call->attr[HEAD_LOSS_FORM].integer;
    int32_t x = (int32_t)call->in[x_input].data[r], x0 = (int32_t)call->in[2].data[r];
    if (chain_frozen(chain, x)) {
        memset(t->z, 0, (size_t)t->states * sizeof *t->z);
        return form == FORM_LAW && x != x0 ? (double)INFINITY : 0;
    }
    if (form == FORM_LAW)
        return entropy_of(t->z, t->states, chain->tokens, x0, g);
    struct transition p = transition_flat(chain, ref_time(&call->in[x_input + 1], r / walk.length));
    if (form == FORM_SCORE)
        return entropy_of_scores(&p, call->attr[HEAD_LOSS_SCALE].flag, t->z, x, x0, g);
    if (form == FORM_CAVITY)
        return entropy_of_cavity(&p, t->z, x, x0, g);
    double scale = chain_rate(chain, x, x0) * transition_at(&p, x0, x0) / transition_at(&p, x, x0);
    return scale * entropy_of(t->z, t->states, chain->tokens, x0, g * scale);
}

static void loss_rows(struct head *t, uint32_t x)
{
    for (int64_t r = 0; r < t->rows; r++) {
        head_logits(t, r);
        t->call->out[0].data[r] = loss_row(t, x, r, t->dloss ? t->dloss[r] : 0);
        if (t->dloss)
            head_back(t, r);
    }
    free(t->z);
}

static void loss_reference(const struct ref_call *call)
{
    struct head t = head_open(call, call->attr[HEAD_LOSS_LAYOUT].integer, 5, false);
    loss_rows(&t, 3);
}

static const struct op_case loss_cases[] = {
    {"f32[2,3,8] f32[6,8] token[2,3] token[2,3] f64[2] f32[6]", "scale_by_sigma=true", "absorb 5"},
    {"f32[3,1,1] f32[2,1] token[3,1] token[3,1] f64[] _", NULL, "absorb 1"},
    {"f32[3,7,5] f32[7,5] token[3,7] token[3,7] f64[3] f32[7]", NULL, "uniform 7"},
    {"f32[5,3] f32[3,2] token[5] token[5] f64[5] _", "layout=in_out", "uniform 2"},
    {"f32[1,3,7] f32[1,7] token[1,3] token[1,3] f64[] f32[1]", NULL, "uniform 1"},
    {"f32[2,7,3] f32[5,3] token[2,7] token[2,7] f64[2] f32[5]", NULL, "mix 4 0.7 0.3 0"},
    {"f32[2,7,3] f32[4,3] token[2,7] token[2,7] f64[] f32[4]", NULL, "mix 3 0.6 0.5 0.5"},
    {"f32[2,3,8] f32[6,8] token[2,3] token[2,3] f64[2] f32[6]", "form=law_score", "absorb 5"},
    {"f32[3,11] f32[11,2] token[3] token[3] f64[3] f32[2]", "form=law_score layout=in_out",
     "absorb 1"},
    {"f32[2,3,8] f32[6,8] token[2,3] token[2,3] _ f32[6]", "form=law", "absorb 5"},
    {"f32[13,3] f32[2,3] token[13] token[13] _ _", "form=law", "absorb 1"},
    {"f32[3,347,2] f32[8,2] token[3,347] token[3,347] f64[3] f32[8]", "scale_by_sigma=true",
     "absorb 7"},
    {"f32[3,7,5] f32[7,5] token[3,7] token[3,7] f64[3] f32[7]", "form=cavity", "uniform 7"},
    {"f32[5,3] f32[3,2] token[5] token[5] f64[5] _", "form=cavity layout=in_out", "uniform 2"},
    {"f32[1,3,7] f32[1,7] token[1,3] token[1,3] f64[] f32[1]", "form=cavity", "uniform 1"},
    {"f32[2,7,3] f32[5,3] token[2,7] token[2,7] f64[2] f32[5]", "form=cavity", "mix 4 0.7 0.3 0"},
    {"f32[2,7,3] f32[4,3] token[2,7] token[2,7] f64[] f32[4]", "form=cavity", "mix 3 0.6 0.5 0.5"},
    {"f32[2,3,8] f32[6,8] token[2,3] token[2,3] f64[2] f32[6]", "form=cavity", "absorb 5"},
    {"f32[2,5,3] f32[601,3] token[2,5] token[2,5] f64[2] _", "form=cavity", "uniform 601"},
    {"f32[3,347,2] f32[8,2] token[3,347] token[3,347] f64[3] f32[8]", "form=cavity",
     "mix 7 0.9 0.1 0"},
    {0},
};

const struct op op_head_loss = {
    .name = "head_loss",
    .doc = "Loss of a process whose scores or laws are a linear map; its result is not kept.",
    .inputs = loss_inputs,
    .attrs = loss_attrs,
    .results = loss_results,
    .result_count = 1,
    .flags = OP_PROCESS | OP_INTERNAL | OP_ZERO_GRAD_TWICE,
    .rows = ROWS_POSITION,
    .shape = loss_shape,
    .cost = loss_cost,
    .workspace = loss_workspace,
    .reference = loss_reference,
    .cases = loss_cases,
};

/* head_loss_backward: the same, and its gradients. */
static const struct op_input loss_backward_inputs[] = {
    {"h", IN_F32, 0, "f32 [..., dim]", DOMAIN_ANY},
    {"weight", IN_F32, 0, "f32 [states, dim], or [dim, states]", DOMAIN_ANY},
    {"x0", IN_TOKEN, 0, "token [...]: the clean tokens", DOMAIN_REAL_TOKEN},
    {"dloss", IN_F64, 0, "f64 [...]: gradient of the loss", DOMAIN_ANY},
    {"x", IN_TOKEN, 0, "token [...]: noisy tokens", DOMAIN_ANY},
    {"sigma", IN_F64, INPUT_OPTIONAL, "f64 [rows] or []: total noise", DOMAIN_POSITIVE},
    {"bias", IN_F32, INPUT_OPTIONAL, "f32 [states]", DOMAIN_ANY},
    {0},
};

static bool loss_backward_shape(struct op_call *call)
{
    return loss_checks(call, 4, true);
}

static void loss_backward_cost(const struct op_call *call, struct op_cost *out)
{
    head_cost(call, call->attr[HEAD_LOSS_LAYOUT].integer, true, out);
}

static int64_t loss_backward_workspace(const struct op_call *call)
{
    return head_workspace(call, call->attr[HEAD_LOSS_LAYOUT].integer, true);
}

static void loss_backward_reference(const struct ref_call *call)
{
    struct head t = head_open(call, call->attr[HEAD_LOSS_LAYOUT].integer, 6, true);
    loss_rows(&t, 4);
}

static const struct op_case loss_backward_cases[] = {
    {"f32[2,3,8] f32[6,8] token[2,3] f64[2,3] token[2,3] f64[2] f32[6]", "scale_by_sigma=true",
     "absorb 5"},
    {"f32[3,1,1] f32[2,1] token[3,1] f64[3,1] token[3,1] f64[] _", NULL, "absorb 1"},
    {"f32[3,7,5] f32[7,5] token[3,7] f64[3,7] token[3,7] f64[3] f32[7]", NULL, "uniform 7"},
    {"f32[5,3] f32[3,2] token[5] f64[5] token[5] f64[5] _", "layout=in_out", "uniform 2"},
    {"f32[1,3,7] f32[1,7] token[1,3] f64[1,3] token[1,3] f64[] f32[1]", NULL, "uniform 1"},
    {"f32[2,7,3] f32[5,3] token[2,7] f64[2,7] token[2,7] f64[2] f32[5]", NULL, "mix 4 0.7 0.3 0"},
    {"f32[2,7,3] f32[4,3] token[2,7] f64[2,7] token[2,7] f64[] f32[4]", NULL, "mix 3 0.6 0.5 0.5"},
    {"f32[2,3,8] f32[6,8] token[2,3] f64[2,3] token[2,3] f64[2] f32[6]", "form=law_score",
     "absorb 5"},
    {"f32[3,11] f32[11,2] token[3] f64[3] token[3] f64[3] f32[2]", "form=law_score layout=in_out",
     "absorb 1"},
    {"f32[2,3,8] f32[6,8] token[2,3] f64[2,3] token[2,3] _ f32[6]", "form=law", "absorb 5"},
    {"f32[13,3] f32[2,3] token[13] f64[13] token[13] _ _", "form=law", "absorb 1"},
    {"f32[3,347,2] f32[8,2] token[3,347] f64[3,347] token[3,347] f64[3] f32[8]",
     "scale_by_sigma=true", "absorb 7"},
    {"f32[3,7,5] f32[7,5] token[3,7] f64[3,7] token[3,7] f64[3] f32[7]", "form=cavity",
     "uniform 7"},
    {"f32[5,3] f32[3,2] token[5] f64[5] token[5] f64[5] _", "form=cavity layout=in_out",
     "uniform 2"},
    {"f32[1,3,7] f32[1,7] token[1,3] f64[1,3] token[1,3] f64[] f32[1]", "form=cavity", "uniform 1"},
    {"f32[2,7,3] f32[5,3] token[2,7] f64[2,7] token[2,7] f64[2] f32[5]", "form=cavity",
     "mix 4 0.7 0.3 0"},
    {"f32[2,7,3] f32[4,3] token[2,7] f64[2,7] token[2,7] f64[] f32[4]", "form=cavity",
     "mix 3 0.6 0.5 0.5"},
    {"f32[2,3,8] f32[6,8] token[2,3] f64[2,3] token[2,3] f64[2] f32[6]", "form=cavity", "absorb 5"},
    {"f32[2,5,3] f32[601,3] token[2,5] f64[2,5] token[2,5] f64[2] _", "form=cavity", "uniform 601"},
    {"f32[3,347,2] f32[8,2] token[3,347] f64[3,347] token[3,347] f64[3] f32[8]", "form=cavity",
     "mix 7 0.9 0.1 0"},
    {0},
};

const struct op op_head_loss_backward = {
    .name = "head_loss_backward",
    .doc = "Loss of a process at a linear map with its gradients, from that of the loss.",
    .inputs = loss_backward_inputs,
    .attrs = loss_attrs,
    .results = backward_results,
    .flags = OP_PROCESS | OP_INTERNAL | OP_ZERO_GRAD_TWICE,
    .rows = ROWS_ALL,
    .shape = loss_backward_shape,
    .cost = loss_backward_cost,
    .workspace = loss_backward_workspace,
    .reference = loss_backward_reference,
    .cases = loss_backward_cases,
};
