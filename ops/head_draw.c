/* The vocabulary head and the draw of a reverse step as one op: logits are made, drawn from and
 * forgotten a chunk of rows at a time, so that no more of them than a chunk is ever in memory.
 * Emitted by passes/fuse_draw.c, for chains that do nothing but mask.
 *
 *   z = h W^T + b,   the law of a step at a mask, by z;   a token that is there stays
 *
 * By form, z is what score_output takes (`score`) or x0_output (`law`). By step, as the ops of
 * these names draw from what is made of it:
 *   tweedie, euler, euler_linear, denoise
 *               scores: those of `score`, projected where the process says so, or those that the
 *               law comes to
 *   ancestral   a law: that of `law`, or the one that the scores imply
 *   base        base_draw, from scores that need no projection
 * The arithmetic is that of the separate ops, row by row, and so are the tokens. */
#include "ops/chain.h"
#include "ops/head_rows.h"
#include "ops/kernels/attrs.h"
#include "ops/ops.h"
#include "ops/reverse.h"
#include "ops/rules.h"
#include "ops/sampler.h"

#include "graph/base/check.h"

#include <math.h>
#include <stdlib.h>

static const char *const layouts[] = {"out_in", "in_out", NULL};
static const char *const forms[] = {"score", "law", NULL};
static const char *const steps[] = {"tweedie", "euler", "euler_linear", "denoise", "ancestral",
                                    "base",    NULL};
static const char *const results[] = {"x", "clamped", NULL};

static const struct op_attr draw_attrs[] = {
    [HEAD_DRAW_LAYOUT] = {"layout", ATTR_CHOICE, "out_in", "as of the linear map", layouts},
    [HEAD_DRAW_FORM] = {"form", ATTR_CHOICE, "score", "what the logits are", forms},
    [HEAD_DRAW_STEP] = {"step", ATTR_CHOICE, "tweedie", "what is drawn", steps},
    [HEAD_DRAW_SCALE] = {"scale_by_sigma", ATTR_BOOL, "false", "as of score_output", NULL},
    {0},
};

enum { IN_X = 2, IN_SIGMA, IN_U, IN_TO, IN_BIAS };

static const struct op_input draw_inputs[] = {
    {"h", IN_F32, 0, "f32 [..., dim]", DOMAIN_ANY},
    {"weight", IN_F32, INPUT_SHARED, "f32 [states, dim], or [dim, states]", DOMAIN_ANY},
    [IN_X] = {"x", IN_TOKEN, 0, "token [...]: at the start of the step", DOMAIN_ANY},
    [IN_SIGMA] = {"sigma", IN_F64, INPUT_SEQUENCE, "f64 [rows] or []: total noise there",
                  DOMAIN_POSITIVE},
    [IN_U] = {"u", IN_F64, 0, "f64 of the axes of x: uniform numbers to draw by", DOMAIN_UNIT},
    [IN_TO] = {"to", IN_F64, INPUT_OPTIONAL | INPUT_SEQUENCE,
               "f64 [rows] or []: total noise after the step (tweedie, ancestral), or its length "
               "(Euler)",
               DOMAIN_UNIT},
    [IN_BIAS] = {"bias", IN_F32, INPUT_OPTIONAL | INPUT_SHARED, "f32 [states]", DOMAIN_ANY},
    {0},
};

static bool has_to(int64_t step)
{
    return step != DRAW_DENOISE && step != DRAW_BASE;
}

/* Whether weights may be negative: then a second result counts them, by row. */
static bool has_count(int64_t step)
{
    return step == DRAW_TWEEDIE || step == DRAW_EULER_LINEAR;
}

static bool draw_shape(struct op_call *call)
{
    const struct chain *chain = call->chain;
    int64_t layout = call->attr[HEAD_DRAW_LAYOUT].integer;
    int64_t step = call->attr[HEAD_DRAW_STEP].integer;
    if (!head_fits(call, layout, IN_BIAS) || !chain_expect_tokens(call, IN_X, IN_X) ||
        !chain_expect_times(call, IN_SIGMA, IN_X) || !chain_expect_keep(call, IN_U, IN_X) ||
        (op_has(call, IN_TO) && !chain_expect_times(call, IN_TO, IN_X)))
        return false;
    if (head_states(call, layout) != chain->states || !chain_carries_over(chain) ||
        op_has(call, IN_TO) != has_to(step))
        return op_error(call, "no step `%s` under this process: h %s, weight %s", steps[step],
                        rule_print(call, 0), rule_print(call, 1));
    call->out_count = has_count(step) ? 2 : 1;
    call->out[0] = call->in[IN_X];
    call->out[1] = sampler_rows(call, IN_X);
    return true;
}

static void draw_cost(const struct op_call *call, struct op_cost *out)
{
    double rows = (double)type_count(&call->in[IN_X]), states = call->chain->states;
    head_cost(call, call->attr[HEAD_DRAW_LAYOUT].integer, false, out);
    out->flop += 60 * rows * states; /* an exponential in single precision, and two in double */
}

static int64_t draw_workspace(const struct op_call *call)
{
    return head_workspace(call, call->attr[HEAD_DRAW_LAYOUT].integer, false);
}

/* --- the reference ------------------------------------------------------------------------ */

/* Z, over the N tokens, plus what makes their exponentials sum to that of LOG_TOTAL. */
static void normalise(double *z, int32_t n, double log_total)
{
    double most = -INFINITY, sum = 0;
    for (int32_t y = 0; y < n; y++)
        most = fmax(most, z[y]);
    for (int32_t y = 0; y < n; y++)
        sum += exp(z[y] - most);
    for (int32_t y = 0; y < n; y++)
        z[y] += log_total - most - log(sum);
}

/* Logits at a mask, at the noise of P, become what the step takes. */
static void make_row(const struct ref_call *call, const struct transition *p, double *z)
{
    const struct chain *chain = p->chain;
    int64_t step = call->attr[HEAD_DRAW_STEP].integer;
    bool scores = call->attr[HEAD_DRAW_FORM].integer == FORM_SCORE;
    bool own = scores && (step == DRAW_BASE || (chain->raw && step != DRAW_ANCESTRAL));
    if (own && call->attr[HEAD_DRAW_SCALE].flag)
        for (int32_t y = 0; y < chain->tokens; y++)
            z[y] -= log((double)chain->tokens) - transition_log_unmasked(p);
    if (!own)
        normalise(z, chain->tokens, step == DRAW_ANCESTRAL ? 0 : transition_log_unmasked(p));
    z[chain->mask] = 0;
}

/* The weights of the ancestral step by its definition: masked until the end of the step, or not. */
static void weigh_ancestral(const struct chain *chain, double from, double to, const double *log_p,
                            double *weights)
{
    struct transition t = transition_flat(chain, from), s = transition_flat(chain, fmin(from, to));
    struct transition d = transition_flat(chain, from - fmin(from, to));
    const int32_t mask = chain->mask;
    weights[mask] = 0;
    for (int32_t y = 0; y < chain->tokens; y++) {
        double p = exp(log_p[y]) / transition_at(&t, mask, y);
        weights[y] = transition_at(&d, mask, y) * transition_at(&s, y, y) * p;
        weights[mask] += transition_at(&d, mask, mask) * transition_at(&s, mask, y) * p;
    }
}

/* The weights of a mask in row ROW; returns how many were negative. */
static double weigh(const struct ref_call *call, int64_t row, double *z, double *weights)
{
    const struct chain *chain = call->chain;
    const double sigma = ref_time(&call->in[IN_SIGMA], row);
    const double to = ref_has(call, IN_TO) ? ref_time(&call->in[IN_TO], row) : 0;
    const int32_t x = chain->mask;
    struct transition p = transition_flat(chain, sigma);
    double negative = 0;
    make_row(call, &p, z);
    struct score_sums sums = ref_sums(chain, x, z);
    struct chain_law law = law_base(chain, sigma, sums.others);
    switch (call->attr[HEAD_DRAW_STEP].integer) {
    case DRAW_DENOISE:
        ref_decoder(&p, x, z, NULL, weights);
        return 0;
    case DRAW_ANCESTRAL:
        weigh_ancestral(chain, sigma, to, z, weights);
        return 0;
    case DRAW_TWEEDIE:
        law = law_tweedie(chain, x, fmax(0, sigma - to), sums, false);
        break;
    case DRAW_EULER:
        law = law_euler(chain, x, to, sums);
        break;
    case DRAW_EULER_LINEAR:
        law = law_euler_linear(chain, x, to, sums);
        break;
    default:
        break;
    }
    for (int32_t y = 0; y < chain->states; y++) {
        weights[y] = law_raw(&law, y, exp(z[y]));
        negative += weights[y] < 0;
    }
    return negative;
}

static void draw_reference(const struct ref_call *call)
{
    const struct chain *chain = call->chain;
    const struct ref_tensor *x = &call->in[IN_X];
    struct chain_walk walk = ref_walk(x);
    struct head t = head_open(call, call->attr[HEAD_DRAW_LAYOUT].integer, IN_BIAS, false);
    double *weights = calloc((size_t)chain->states, sizeof *weights);
    BUG_ON(!weights);
    for (int64_t p = 0; p < walk.rows * walk.length; p++) {
        int64_t row = p / walk.length;
        call->out[0].data[p] = x->data[p];
        if (chain_frozen(chain, (int32_t)x->data[p]))
            continue;
        head_logits(&t, p);
        double negative = weigh(call, row, t.z, weights);
        call->out[0].data[p] =
            ref_draw(weights, chain->states, chain->mask, call->in[IN_U].data[p]);
        if (call->out_count > 1)
            call->out[1].data[row] += negative;
    }
    free(weights);
    free(t.z);
}

static const struct op_case draw_cases[] = {
    {"f32[2,3,8] f32[6,8] token[2,3] f64[2] f64[2,3] f64[2] f32[6]", "scale_by_sigma=true",
     "absorb 5"},
    {"f32[3,1,1] f32[2,1] token[3,1] f64[] f64[3,1] f64[] _", NULL, "absorb 1"},
    {"f32[2,7,5] f32[6,5] token[2,7] f64[2] f64[2,7] f64[] f32[6]", "scale_by_sigma=true",
     "raw absorb 5"},
    {"f32[11,3] f32[3,8] token[11] f64[11] f64[11] f64[11] f32[8]", "form=law layout=in_out",
     "absorb 7"},
    {"f32[3,5,4] f32[6,4] token[3,5] f64[3] f64[3,5] f64[3] _", "step=euler", "absorb 5"},
    {"f32[3,5,4] f32[6,4] token[3,5] f64[3] f64[3,5] f64[] _", "step=euler form=law", "absorb 5"},
    {"f32[3,5,4] f32[6,4] token[3,5] f64[3] f64[3,5] f64[3] _", "step=euler_linear", "absorb 5"},
    {"f32[13,4] f32[6,4] token[13] f64[13] f64[13] f64[] f32[6]", "step=euler_linear form=law",
     "absorb 5"},
    {"f32[3,5,4] f32[6,4] token[3,5] f64[3] f64[3,5] _ f32[6]", "step=denoise", "absorb 5"},
    {"f32[13,4] f32[6,4] token[13] f64[] f64[13] _ _", "step=denoise form=law", "absorb 5"},
    {"f32[3,7,4] f32[6,4] token[3,7] f64[3] f64[3,7] f64[3] f32[6]", "step=ancestral", "absorb 5"},
    {"f32[17,4] f32[6,4] token[17] f64[17] f64[17] f64[17] _", "step=ancestral form=law",
     "absorb 5"},
    {"f32[3,7,4] f32[6,4] token[3,7] f64[3] f64[3,7] _ f32[6]", "step=base scale_by_sigma=true",
     "absorb 5"},
    {"f32[11,4] f32[6,4] token[11] f64[11] f64[11] _ _", "step=base form=law", "absorb 5"},
    {"f32[3,347,2] f32[12,2] token[3,347] f64[3] f64[3,347] f64[3] _", NULL, "absorb 11"},
    {"f32[2,5,3] f32[602,3] token[2,5] f64[2] f64[2,5] f64[2] _", "form=law", "absorb 601"},
    {0},
};

const struct op op_head_draw = {
    .name = "head_draw",
    .doc = "A reverse step by a linear map, whose logits are not kept.",
    .inputs = draw_inputs,
    .attrs = draw_attrs,
    .results = results,
    .flags = OP_PROCESS | OP_INTERNAL | OP_NO_GRAD,
    .rows = ROWS_POSITION,
    .shape = draw_shape,
    .cost = draw_cost,
    .workspace = draw_workspace,
    .reference = draw_reference,
    .cases = draw_cases,
};
