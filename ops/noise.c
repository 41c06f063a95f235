/* The noise clock of a process, and the weight of its masks, as ordinary nodes of t. */
#include "graph/expr.h"
#include "ops/ops.h"
#include "ops/rules.h"

/* --- noise --------------------------------------------------------------------------------
 *
 * sigma(t), the total noise, from the process's expression, and its rate
 *
 *     dsigma = g(t) = d sigma / d t
 *
 * which the compiler derives itself. Everything in f64: 1 - (1 - eps) t in f32 is wrong by 6e-5
 * near t = 1, where the log-linear schedule needs it most. */

static const struct op_input noise_inputs[] = {
    {"t", IN_F64, 0, "f64 [rows]: times in (0, 1]", DOMAIN_UNIT}, {0}};
static const char *const noise_results[] = {"sigma", "dsigma", NULL};

/* The schedule of the process is given by the test: sigma is any expression in t. */
static const struct op_case noise_cases[] = {
    {"f64[3]", NULL, "absorb 5"}, {"f64[1]", NULL, "uniform 4"}, {"f64[]", NULL, "absorb 2"}, {0}};

static bool noise_shape(struct op_call *c)
{
    c->out[0] = c->out[1] = c->in[0];
    return true;
}

static bool noise_expand(const struct op_call *c, const uint32_t *in, uint32_t *out)
{
    struct graph *g = c->graph;
    const struct process *p = &g->processes[c->process - 1];
    out[0] = expr_emit(g, p->sigma, "t", in[0], c->origin);
    if (!out[0])
        return false;
    const uint32_t of[] = {out[0], in[0]};
    struct node like = {.origin = c->origin};
    out[1] = graph_emit(g, &op_gradient, of, 2, NULL, &like);
    return true;
}

const struct op op_noise = {
    .name = "noise",
    .doc = "Total noise sigma(t) of the process and its rate d sigma / d t.",
    .inputs = noise_inputs,
    .results = noise_results,
    .result_count = 2,
    .flags = OP_PROCESS | OP_MACRO,
    .rows = ROWS_EACH,
    .shape = noise_shape,
    .expand = noise_expand,
    .cases = noise_cases,
};

/* --- mask_weight --------------------------------------------------------------------------
 *
 * What turns the cross entropy of the masked positions into the integrand of the bound: with
 * alpha = exp(-a sigma) the share of tokens that are left, a the rate of masking,
 *
 *     weight = -alpha' / (1 - alpha) = a dsigma / expm1(a sigma).
 *
 * The score of a mask's posterior is then log p(x0) by score entropy, to the last digit. Under any
 * other chain tokens move that are no masks and the score is another function of the law: the cross
 * entropy is then no bound under any weight. */

static const struct op_input mask_weight_inputs[] = {
    {"sigma", IN_F64, 0, "f64 [rows] or []: total noise", DOMAIN_POSITIVE},
    {"dsigma", IN_F64, 0, "f64 the same: its rate d sigma / d t", DOMAIN_POSITIVE},
    {0},
};
static const char *const mask_weight_results[] = {"weight", NULL};

static const struct op_case mask_weight_cases[] = {
    {"f64[3] f64[3]", NULL, "absorb 5"},
    {"f64[1] f64[1]", NULL, "absorb 1"},
    {"f64[] f64[]", NULL, "absorb 2"},
    {0},
};

/* The rate at which tokens turn into a mask that is final, where they do nothing else, by a flat
 * chain or by a table that holds the same; 0: they do, or not at one rate. */
static double masking_rate(const struct chain *chain)
{
    const struct rates *r = chain->rates;
    if (chain->kind == CHAIN_FLAT)
        return chain_carries_over(chain) ? chain->absorb : 0;
    if (chain->mask < 0 || r->count != chain->tokens)
        return 0;
    for (int32_t x = 0; x < chain->tokens; x++) {
        int64_t only = r->from_start[x];
        if (r->from_start[x + 1] != only + 1 || r->to[only] != chain->mask ||
            r->from_rate[only] != r->fastest)
            return 0;
    }
    return r->fastest;
}

static bool mask_weight_shape(struct op_call *c)
{
    if (masking_rate(c->chain) == 0)
        return op_error(c,
                        "masked cross entropy is the bound of chains that do nothing but mask, as "
                        "`rate: absorb`: train under this rate by score entropy (include "
                        "score-entropy.yaml, not masked.yaml)");
    c->out[0] = c->in[0];
    if (c->in[0].rank != c->in[1].rank || !rule_same_axes(c, 0, 1, c->in[0].rank))
        return op_error(c, "`sigma` and `dsigma` must have the same axes: %s against %s",
                        rule_print(c, 0), rule_print(c, 1));
    return true;
}

static bool mask_weight_expand(const struct op_call *c, const uint32_t *in, uint32_t *out)
{
    struct graph *g = c->graph;
    struct node like = {.origin = c->origin};
    const double rate = masking_rate(&g->processes[c->process - 1].chain);
    uint32_t sigma = in[0], dsigma = in[1];
    if (rate != 1) {
        uint32_t a = emit_const(g, DT_F64, rate, &like);
        sigma = emit2(g, &op_mul, sigma, a, &like);
        dsigma = emit2(g, &op_mul, dsigma, a, &like);
    }
    out[0] = emit2(g, &op_div, dsigma, emit1(g, &op_expm1, sigma, &like), &like);
    return true;
}

const struct op op_mask_weight = {
    .name = "mask_weight",
    .doc = "What the cross entropy of masks is weighed by to be the bound; absorb only.",
    .inputs = mask_weight_inputs,
    .results = mask_weight_results,
    .result_count = 1,
    .flags = OP_PROCESS | OP_MACRO,
    .rows = ROWS_EACH,
    .shape = mask_weight_shape,
    .expand = mask_weight_expand,
    .cases = mask_weight_cases,
};
