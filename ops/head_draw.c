/* The vocabulary head and what is read off its logits row by row, as one op: the draw of a reverse
 * step (head_draw), or a term of the likelihood bound (head_bound). Logits are made, read and
 * forgotten a chunk of rows at a time, so that no more of them than a chunk is ever in memory.
 * Emitted by passes/fuse_draw.c, for flat chains: the law of a table's step is a product with P,
 * which is made for sequences, not for rows.
 *
 *   z = h W^T + b,   the law of a step at x, or a cost of x0 and x, by z;   what cannot move stays
 *
 * By form, z is what score_output takes (`score`), x0_output (`law`) or cavity_output (`cavity`).
 * By step, as the ops of these names draw from what is made of it:
 *   tweedie, euler, euler_linear, denoise, correct
 *               scores: those of `score`, or those that the law comes to; projected where asked
 *   ancestral, remask, reveal
 *               a law: that of the form, or under absorption the one that the scores imply; reveal
 *               is reveal_one of positions that are sequences of their own
 *   base        base_draw, from scores, where the forward chain ends in the mask
 * By term, from scores as well: score_entropy (`entropy`), base_cost (`base`, where the chain ends
 * in the mask), reconstruction.
 * The arithmetic is that of the separate ops, row by row, and so are the results. */
#include "ops/head_draw.h"
#include "ops/chain.h"
#include "ops/head_rows.h"
#include "ops/kernels/attrs.h"
#include "ops/ops.h"
#include "ops/rules.h"
#include "ops/sampler.h"

#include "graph/base/check.h"

#include <stdlib.h>

const struct draw_places draw_steps[DRAW_STEPS] = {
    [DRAW_TWEEDIE] = {&op_tweedie, .from = 1, .sigma = 2, .to = 3, .keep = 4, .u = 5},
    [DRAW_EULER] = {&op_euler, .from = 1, .to = 2, .keep = 3, .u = 4},
    [DRAW_EULER_LINEAR] = {&op_euler_linear, .from = 1, .to = 2, .keep = 3, .u = 4},
    [DRAW_DENOISE] = {&op_denoise, .from = 1, .sigma = 2, .keep = 3, .u = 4},
    [DRAW_ANCESTRAL] = {&op_ancestral, true, .from = 1, .sigma = 2, .to = 3, .keep = 4, .u = 5},
    [DRAW_REMASK] = {&op_remask, true, .from = 1, .sigma = 2, .to = 3, .share = 4, .keep = 5,
                     .u = 6},
    [DRAW_CORRECT] = {&op_corrector, .from = 1, .to = 2, .keep = 3, .u = 4},
    [DRAW_BASE] = {&op_base_draw, .sigma = 1, .from = 2, .u = 3},
    [DRAW_REVEAL] = {&op_reveal_one, true, .from = 1, .u = 2},
};

const struct term_places bound_terms[BOUND_TERMS] = {
    [TERM_ENTROPY] = {&op_score_entropy, .from = 0, .x = 1, .x0 = 2, .sigma = 3, .takes_x = true},
    [TERM_BASE] = {&op_base_cost, .x0 = 0, .sigma = 1, .from = 2},
    [TERM_RECONSTRUCTION] = {&op_reconstruction, .x = 0, .x0 = 1, .from = 2, .sigma = 3,
                             .takes_x = true},
};

const struct draw_ops draw_forms[DRAW_FORMS] = {
    [DRAW_BY_SCORE] = {{&op_score_output}, {&op_score_posterior, &op_score_output}},
    [DRAW_BY_LAW] = {{&op_posterior_score, &op_x0_output}, {&op_x0_output}},
    [DRAW_BY_CAVITY] = {{&op_cavity_score, &op_cavity_output}, {&op_cavity_output}},
};

static const char *const forms[] = {"score", "law", "cavity", NULL};
static const char *const steps[] = {"tweedie", "euler",   "euler_linear", "denoise", "ancestral",
                                    "remask",  "correct", "base",         "reveal",  NULL};
static const char *const terms[] = {"entropy", "base", "reconstruction", NULL};
static const char *const draw_results[] = {"x", "clamped", NULL};
static const char *const bound_results[] = {"cost", NULL};

static const struct op_attr draw_attrs[] = {
    [HEAD_DRAW_LAYOUT] = {"layout", ATTR_CHOICE, "out_in", "as of the linear map", rule_layouts},
    [HEAD_DRAW_FORM] = {"form", ATTR_CHOICE, "score", "what the logits are", forms},
    [HEAD_DRAW_STEP] = {"step", ATTR_CHOICE, "tweedie", "what is drawn", steps},
    [HEAD_DRAW_SCALE] = {"scale_by_sigma", ATTR_BOOL, "false", "as of score_output", NULL},
    [HEAD_DRAW_PROJECT] = {"project", ATTR_BOOL, "false", "by project_score", NULL},
    {0},
};

enum { IN_X = 2, IN_SIGMA, IN_U, IN_TO, IN_BIAS, IN_SHARE };

static const struct op_input draw_inputs[] = {
    {"h", IN_F32, 0, "f32 [..., dim]", DOMAIN_ANY},
    {"weight", IN_F32, INPUT_SHARED, "f32 [states, dim], or [dim, states]", DOMAIN_ANY},
    [IN_X] = {"x", IN_TOKEN, 0, "token [...]: at the start of the step", DOMAIN_ANY},
    [IN_SIGMA] = {"sigma", IN_F64, INPUT_SEQUENCE, "f64 [rows] or []: total noise there",
                  DOMAIN_POSITIVE},
    [IN_U] = {"u", IN_F64, 0, "f64 of the axes of x: uniform numbers to draw by", DOMAIN_UNIT},
    [IN_TO] =
        {"to", IN_F64, INPUT_OPTIONAL | INPUT_SEQUENCE,
         "f64 [rows] or []: total noise after the step (tweedie, ancestral, remask), or its length "
         "(Euler, correct)",
         DOMAIN_UNIT},
    [IN_BIAS] = {"bias", IN_F32, INPUT_OPTIONAL | INPUT_SHARED, "f32 [states]", DOMAIN_ANY},
    [IN_SHARE] = {"r", IN_F64, INPUT_OPTIONAL | INPUT_SEQUENCE, "f64 [rows] or []: as of remask",
                  DOMAIN_UNIT},
    {0},
};

/* Whether weights may be negative: then a second result counts them, by row. */
static bool has_count(int64_t step)
{
    return step == DRAW_TWEEDIE || step == DRAW_EULER_LINEAR;
}

/* Whether the chain has such a step by such a head. */
static bool has_step(const struct chain *chain, int64_t step, int64_t form)
{
    if (step == DRAW_REMASK || step == DRAW_REVEAL ||
        (step == DRAW_ANCESTRAL && form == DRAW_BY_SCORE))
        return chain_carries_over(chain);
    return step == DRAW_BASE ? chain_leaks(chain) : chain->kind == CHAIN_FLAT;
}

/* Inputs that both ops have. */
static bool reads_rows(struct op_call *call, uint32_t bias)
{
    return head_fits(call, call->attr[HEAD_DRAW_LAYOUT].integer, bias) &&
           chain_expect_tokens(call, IN_X, IN_X) && chain_expect_times(call, IN_SIGMA, IN_X);
}

static bool draw_shape(struct op_call *call)
{
    const struct chain *chain = call->chain;
    int64_t layout = call->attr[HEAD_DRAW_LAYOUT].integer;
    int64_t step = call->attr[HEAD_DRAW_STEP].integer;
    if (!reads_rows(call, IN_BIAS) || !chain_expect_keep(call, IN_U, IN_X) ||
        (op_has(call, IN_TO) && !chain_expect_times(call, IN_TO, IN_X)) ||
        (op_has(call, IN_SHARE) && !chain_expect_times(call, IN_SHARE, IN_X)))
        return false;
    if (head_states(call, layout) != chain->states ||
        !has_step(chain, step, call->attr[HEAD_DRAW_FORM].integer) ||
        op_has(call, IN_TO) != (draw_steps[step].to > 0) ||
        op_has(call, IN_SHARE) != (draw_steps[step].share > 0))
        return op_error(call, "no step `%s` under this process: h %s, weight %s", steps[step],
                        rule_print(call, 0), rule_print(call, 1));
    call->out_count = has_count(step) ? 2 : 1;
    call->out[0] = call->in[IN_X];
    call->out[1] = sampler_rows(call, IN_X);
    return true;
}

static void rows_cost(const struct op_call *call, struct op_cost *out)
{
    double rows = (double)type_count(&call->in[IN_X]), states = call->chain->states;
    head_cost(call, call->attr[HEAD_DRAW_LAYOUT].integer, false, out);
    out->flop += 60 * rows * states; /* an exponential in single precision, and two in double */
}

static int64_t rows_workspace(const struct op_call *call)
{
    return head_workspace(call, call->attr[HEAD_DRAW_LAYOUT].integer, false);
}

/* --- the reference ------------------------------------------------------------------------ */

/* A number or a row of them, as a tensor of one position. */
static struct ref_tensor one(double *data)
{
    return (struct ref_tensor){.rank = 1, .dim = {1}, .data = data};
}
static struct ref_tensor row_of(double *data, int64_t states)
{
    return (struct ref_tensor){.rank = 2, .dim = {1, states}, .data = data};
}

/* A position: its tensors, of which Z goes from logits to what is drawn from. */
struct position {
    const struct ref_call *call;
    double x, sigma, to, share, u;
    double *z, *made; /* rows over the states: OP makes the latter of the former */
};

static void make(struct position *t, const struct op *op)
{
    const int64_t states = t->call->chain->states;
    const union attr attr[] = {[SCORE_OUTPUT_SCALE] = t->call->attr[HEAD_DRAW_SCALE]};
    const struct ref_tensor in[] = {row_of(t->z, states), one(&t->x), one(&t->sigma)};
    struct ref_tensor out = row_of(t->made, states);
    const struct ref_call call = {.in_count = 3,
                                  .out_count = 1,
                                  .in = in,
                                  .out = &out,
                                  .attr = attr,
                                  .chain = t->call->chain};
    op->reference(&call);
    double *made = t->made;
    t->made = t->z;
    t->z = made;
}

/* The token that is drawn; CLAMPED: how many weights were negative, where that is counted. */
static double draw(struct position *t, int64_t step, bool cavity, double *clamped)
{
    const struct draw_places *at = &draw_steps[step];
    const union attr attr[] = {[ANCESTRAL_HEAD] = {.integer = cavity && step == DRAW_ANCESTRAL
                                                                  ? ANCESTRAL_CAVITY
                                                                  : ANCESTRAL_POSTERIOR}};
    double y;
    struct ref_tensor in[7] = {one(&t->x)}, out[] = {one(&y), one(clamped)};
    in[at->from] = row_of(t->z, t->call->chain->states);
    in[at->u] = one(&t->u);
    if (at->sigma)
        in[at->sigma] = one(&t->sigma);
    if (at->to)
        in[at->to] = one(&t->to);
    if (at->share)
        in[at->share] = one(&t->share);
    const struct ref_call call = {.in_count = at->u + 1,
                                  .out_count = has_count(step) ? 2 : 1,
                                  .in = in,
                                  .out = out,
                                  .attr = attr,
                                  .chain = t->call->chain};
    at->op->reference(&call);
    return y;
}

/* From logits to what the ops of FORM make of them: a law, or scores. */
static void make_all(struct position *t, bool law)
{
    const union attr *attr = t->call->attr;
    const struct draw_ops *form = &draw_forms[attr[HEAD_DRAW_FORM].integer];
    const struct op *const *ops = law ? form->law : form->score;
    for (int i = DRAW_OPS_MOST; i-- > 0;)
        if (ops[i])
            make(t, ops[i]);
    if (attr[HEAD_DRAW_PROJECT].flag)
        make(t, &op_project_score);
}

/* Row by row what the ops that it stands for do: READ gives the result from what is made. */
static void read_rows(const struct ref_call *call, uint32_t bias, bool law,
                      void (*read)(struct position *t, int64_t p, int64_t row))
{
    const struct chain_walk walk = ref_walk(&call->in[IN_X]);
    struct head head = head_open(call, call->attr[HEAD_DRAW_LAYOUT].integer, bias, false);
    double *rows = calloc(2 * (size_t)head.states, sizeof *rows);
    BUG_ON(!rows);
    for (int64_t p = 0; p < walk.rows * walk.length; p++) {
        const int64_t row = p / walk.length;
        struct position t = {.call = call,
                             .x = call->in[IN_X].data[p],
                             .sigma = ref_time(&call->in[IN_SIGMA], row),
                             .z = rows,
                             .made = rows + head.states};
        head_logits(&head, p);
        memcpy(t.z, head.z, (size_t)head.states * sizeof *t.z);
        make_all(&t, law);
        read(&t, p, row);
    }
    free(rows);
    free(head.z);
}

static void read_draw(struct position *t, int64_t p, int64_t row)
{
    const struct ref_call *call = t->call;
    double clamped = 0;
    t->u = call->in[IN_U].data[p];
    t->to = ref_has(call, IN_TO) ? ref_time(&call->in[IN_TO], row) : 0;
    t->share = ref_has(call, IN_SHARE) ? ref_time(&call->in[IN_SHARE], row) : 0;
    call->out[0].data[p] = draw(t, call->attr[HEAD_DRAW_STEP].integer,
                                call->attr[HEAD_DRAW_FORM].integer == DRAW_BY_CAVITY, &clamped);
    if (call->out_count > 1)
        call->out[1].data[row] += clamped;
}

static void draw_reference(const struct ref_call *call)
{
    read_rows(call, IN_BIAS, draw_steps[call->attr[HEAD_DRAW_STEP].integer].law, read_draw);
}

static const struct op_case draw_cases[] = {
    {"f32[2,3,8] f32[6,8] token[2,3] f64[2] f64[2,3] f64[2] f32[6]",
     "project=true scale_by_sigma=true", "absorb 5"},
    {"f32[3,1,1] f32[2,1] token[3,1] f64[] f64[3,1] f64[] _", "project=true", "absorb 1"},
    {"f32[2,7,5] f32[6,5] token[2,7] f64[2] f64[2,7] f64[] f32[6]", "scale_by_sigma=true",
     "raw absorb 5"},
    {"f32[11,3] f32[3,8] token[11] f64[11] f64[11] f64[11] f32[8]", "form=law layout=in_out",
     "absorb 7"},
    {"f32[3,5,4] f32[6,4] token[3,5] f64[3] f64[3,5] f64[3] _", "step=euler project=true",
     "absorb 5"},
    {"f32[3,5,4] f32[6,4] token[3,5] f64[3] f64[3,5] f64[] _", "step=euler form=law", "absorb 5"},
    {"f32[3,5,4] f32[6,4] token[3,5] f64[3] f64[3,5] f64[3] _", "step=euler_linear project=true",
     "absorb 5"},
    {"f32[13,4] f32[6,4] token[13] f64[13] f64[13] f64[] f32[6]", "step=euler_linear form=law",
     "absorb 5"},
    {"f32[3,5,4] f32[6,4] token[3,5] f64[3] f64[3,5] _ f32[6]", "step=denoise project=true",
     "absorb 5"},
    {"f32[13,4] f32[6,4] token[13] f64[] f64[13] _ _", "step=denoise form=law", "absorb 5"},
    {"f32[3,7,4] f32[6,4] token[3,7] f64[3] f64[3,7] f64[3] f32[6]", "step=ancestral", "absorb 5"},
    {"f32[17,4] f32[6,4] token[17] f64[17] f64[17] f64[17] _", "step=ancestral form=law",
     "absorb 5"},
    {"f32[3,7,4] f32[6,4] token[3,7] f64[3] f64[3,7] _ f32[6]", "step=base scale_by_sigma=true",
     "absorb 5"},
    {"f32[11,4] f32[6,4] token[11] f64[11] f64[11] _ _", "step=base form=law", "absorb 5"},
    {"f32[3,347,2] f32[12,2] token[3,347] f64[3] f64[3,347] f64[3] _", "project=true", "absorb 11"},
    {"f32[2,5,3] f32[602,3] token[2,5] f64[2] f64[2,5] f64[2] _", "form=law", "absorb 601"},
    {"f32[3,7,4] f32[5,4] token[3,7] f64[3] f64[3,7] f64[3] f32[5]", "project=true", "uniform 5"},
    {"f32[3,1,1] f32[2,1] token[3,1] f64[] f64[3,1] f64[] _", NULL, "raw uniform 2"},
    {"f32[3,7,4] f32[5,4] token[3,7] f64[3] f64[3,7] f64[] _", "step=euler project=true",
     "uniform 5"},
    {"f32[2,5,4] f32[4,7] token[2,5] f64[2] f64[2,5] f64[2] f32[7]",
     "step=euler_linear form=law layout=in_out", "uniform 7"},
    {"f32[3,5,4] f32[5,4] token[3,5] f64[3] f64[3,5] _ f32[5]",
     "step=denoise form=cavity project=true", "uniform 5"},
    {"f32[13,4] f32[5,4] token[13] f64[13] f64[13] f64[13] _", "step=ancestral form=cavity",
     "uniform 5"},
    {"f32[3,5,4] f32[5,4] token[3,5] f64[3] f64[3,5] f64[3] _", "step=ancestral form=law",
     "uniform 5"},
    {"f32[3,347,2] f32[11,2] token[3,347] f64[3] f64[3,347] f64[3] _", "project=true",
     "uniform 11"},
    {"f32[2,5,3] f32[601,3] token[2,5] f64[2] f64[2,5] f64[2] _", "form=cavity project=true",
     "uniform 601"},
    {"f32[3,5,4] f32[5,4] token[3,5] f64[3] f64[3,5] f64[3] _", "form=cavity project=true",
     "mix 4 0.7 0.3 0"},
    {"f32[3,7,4] f32[5,4] token[3,7] f64[3] f64[3,7] _ f32[5]", "step=base form=cavity",
     "mix 4 0.7 0.3 0"},
    {"f32[3,7,4] f32[5,4] token[3,7] f64[3] f64[3,7] _ _", "step=denoise project=true",
     "mix 4 0.6 0.5 0.5"},
    {"f32[3,7,4] f32[5,4] token[3,7] f64[3] f64[3,7] f64[3] _", "step=ancestral form=cavity",
     "mix 4 0.6 0.5 0.5"},
    {"f32[3,7,4] f32[6,4] token[3,7] f64[3] f64[3,7] f64[3] f32[6] f64[3]", "step=remask form=law",
     "absorb 5"},
    {"f32[17,4] f32[6,4] token[17] f64[17] f64[17] f64[17] _ f64[]",
     "step=remask scale_by_sigma=true", "absorb 5"},
    {"f32[17,4] f32[6,4] token[17] f64[17] f64[17] _ f32[6]", "step=reveal form=law", "absorb 5"},
    {"f32[13,4] f32[4,3] token[13] f64[13] f64[13] _ _", "step=reveal layout=in_out", "absorb 2"},
    {"f32[3,7,4] f32[6,4] token[3,7] f64[3] f64[3,7] f64[3] f32[6]", "step=correct project=true",
     "absorb 5"},
    {"f32[3,7,4] f32[5,4] token[3,7] f64[3] f64[3,7] f64[] _", "step=correct form=cavity",
     "uniform 5"},
    {0},
};

const struct op op_head_draw = {
    .name = "head_draw",
    .doc = "A reverse step by a linear map, whose logits are not kept.",
    .inputs = draw_inputs,
    .attrs = draw_attrs,
    .results = draw_results,
    .flags = OP_PROCESS | OP_INTERNAL | OP_NO_GRAD,
    .rows = ROWS_POSITION,
    .shape = draw_shape,
    .cost = rows_cost,
    .workspace = rows_workspace,
    .reference = draw_reference,
    .cases = draw_cases,
};

/* --- a term of the bound ------------------------------------------------------------------ */

static const struct op_attr bound_attrs[] = {
    [HEAD_DRAW_LAYOUT] = {"layout", ATTR_CHOICE, "out_in", "as of the linear map", rule_layouts},
    [HEAD_DRAW_FORM] = {"form", ATTR_CHOICE, "score", "what the logits are", forms},
    [HEAD_BOUND_TERM] = {"term", ATTR_CHOICE, "entropy", "what it costs", terms},
    [HEAD_DRAW_SCALE] = {"scale_by_sigma", ATTR_BOOL, "false", "as of score_output", NULL},
    [HEAD_DRAW_PROJECT] = {"project", ATTR_BOOL, "false", "by project_score", NULL},
    {0},
};

enum { BOUND_X0 = IN_U, BOUND_BIAS };

static const struct op_input bound_inputs[] = {
    {"h", IN_F32, 0, "f32 [..., dim]", DOMAIN_ANY},
    {"weight", IN_F32, INPUT_SHARED, "f32 [states, dim], or [dim, states]", DOMAIN_ANY},
    [IN_X] = {"x", IN_TOKEN, 0, "token [...]: what the scores are of", DOMAIN_ANY},
    [IN_SIGMA] = {"sigma", IN_F64, INPUT_SEQUENCE, "f64 [rows] or []: total noise there",
                  DOMAIN_POSITIVE},
    [BOUND_X0] = {"x0", IN_TOKEN, 0, "token [...]: the clean tokens", DOMAIN_REAL_TOKEN},
    [BOUND_BIAS] = {"bias", IN_F32, INPUT_OPTIONAL | INPUT_SHARED, "f32 [states]", DOMAIN_ANY},
    {0},
};

static bool bound_shape(struct op_call *call)
{
    const struct chain *chain = call->chain;
    const int64_t term = call->attr[HEAD_BOUND_TERM].integer;
    if (!reads_rows(call, BOUND_BIAS) || !chain_expect_tokens(call, BOUND_X0, IN_X))
        return false;
    if (head_states(call, call->attr[HEAD_DRAW_LAYOUT].integer) != chain->states ||
        !(term == TERM_BASE ? chain_leaks(chain) : chain->kind == CHAIN_FLAT))
        return op_error(call, "no term `%s` under this process: h %s, weight %s", terms[term],
                        rule_print(call, 0), rule_print(call, 1));
    call->out[0] = call->in[BOUND_X0];
    call->out[0].dtype = DT_F64;
    call->out[0].process = 0;
    return true;
}

static void read_cost(struct position *t, int64_t p, int64_t row)
{
    const struct ref_call *call = t->call;
    const struct term_places *at = &bound_terms[call->attr[HEAD_BOUND_TERM].integer];
    struct ref_tensor in[4], out = one(&call->out[0].data[p]);
    (void)row;
    in[at->from] = row_of(t->z, call->chain->states);
    in[at->x0] = one(&call->in[BOUND_X0].data[p]);
    in[at->sigma] = one(&t->sigma);
    if (at->takes_x)
        in[at->x] = one(&t->x);
    const struct ref_call cost = {.in_count = op_input_count(at->op),
                                  .out_count = 1,
                                  .in = in,
                                  .out = &out,
                                  .chain = call->chain};
    at->op->reference(&cost);
}

static void bound_reference(const struct ref_call *call)
{
    read_rows(call, BOUND_BIAS, false, read_cost);
}

static const struct op_case bound_cases[] = {
    {"f32[2,3,8] f32[6,8] token[2,3] f64[2] token[2,3] f32[6]", "project=true scale_by_sigma=true",
     "absorb 5"},
    {"f32[3,7,4] f32[5,4] token[3,7] f64[3] token[3,7] f32[5]", "project=true", "uniform 5"},
    {"f32[3,7,4] f32[5,4] token[3,7] f64[] token[3,7] _", "project=true", "mix 4 0.6 0.5 0.5"},
    {"f32[13,4] f32[4,7] token[13] f64[13] token[13] f32[7]", "form=law layout=in_out",
     "uniform 7"},
    {"f32[2,5,3] f32[5,3] token[2,5] f64[2] token[2,5] _", "form=law project=true",
     "mix 4 0.7 0.3 0"},
    {"f32[1,3,7] f32[1,7] token[1,3] f64[] token[1,3] f32[1]", "form=cavity", "uniform 1"},
    {"f32[3,5,4] f32[6,4] token[3,5] f64[3] token[3,5] f32[6]", "term=base scale_by_sigma=true",
     "absorb 5"},
    {"f32[13,4] f32[6,4] token[13] f64[13] token[13] _", "term=base form=law", "absorb 5"},
    {"f32[3,7,4] f32[5,4] token[3,7] f64[3] token[3,7] f32[5]", "term=base form=cavity",
     "mix 4 0.7 0.3 0"},
    {"f32[3,5,4] f32[6,4] token[3,5] f64[3] token[3,5] f32[6]", "term=reconstruction project=true",
     "absorb 5"},
    {"f32[11,4] f32[2,4] token[11] f64[] token[11] _", "term=reconstruction form=law", "absorb 1"},
    {"f32[3,7,4] f32[5,4] token[3,7] f64[3] token[3,7] _", "term=reconstruction", "uniform 5"},
    {"f32[3,7,4] f32[5,4] token[3,7] f64[3] token[3,7] _",
     "term=reconstruction form=cavity project=true", "uniform 5"},
    {"f32[3,7,4] f32[5,4] token[3,7] f64[] token[3,7] f32[5]", "term=reconstruction form=cavity",
     "mix 4 0.7 0.3 0"},
    {"f32[2,5,3] f32[601,3] token[2,5] f64[2] token[2,5] _", "project=true", "uniform 601"},
    {"f32[3,347,2] f32[12,2] token[3,347] f64[3] token[3,347] _", "term=reconstruction form=law",
     "absorb 11"},
    {0},
};

const struct op op_head_bound = {
    .name = "head_bound",
    .doc = "A term of the likelihood bound by a linear map, whose logits are not kept.",
    .inputs = bound_inputs,
    .attrs = bound_attrs,
    .results = bound_results,
    .result_count = 1,
    .flags = OP_PROCESS | OP_INTERNAL | OP_NO_GRAD,
    .rows = ROWS_POSITION,
    .shape = bound_shape,
    .cost = rows_cost,
    .workspace = rows_workspace,
    .reference = bound_reference,
    .cases = bound_cases,
};
