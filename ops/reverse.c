/* Steps of the reverse process: draws, and the weights that they draw from.
 *
 * Every step turns the score row of a position into unnormalised weights over the states (struct
 * chain_law), clamps them at zero and draws by inverse CDF from one 53-bit uniform, sums in double,
 * the current state last: an event of probability 1e-12 is as good as any other, and a state of
 * weight 0 is never drawn. A token of score 0 has none: that is how a caller forbids it. */
#include "ops/reverse.h"
#include "ops/chain.h"
#include "ops/kernels/attrs.h"
#include "ops/ops.h"
#include "ops/rules.h"
#include "ops/sampler.h"

#include "graph/base/check.h"

#include <stdlib.h>

static const char *const result_counted[] = {"x", "clamped", NULL};
static const char *const result_weights[] = {"weights", NULL};
static const char *const exclude_choices[] = {"none", "mask", NULL};

#define INPUT_SCORE                                                                                \
    {                                                                                              \
        "log_score", IN_F32, 0, "f32 [rows, length, states]: log scores at x", DOMAIN_ANY          \
    }

/* Writes what the op that CALL is of would draw a position from, before clamping, into WEIGHTS. */
typedef void weights_rule(const struct ref_call *call, int64_t row, int32_t x,
                          const double *log_score, void *room, double *weights);

static double step_delta(const struct ref_call *call, int64_t row)
{
    return fmax(0, ref_time(&call->in[2], row) - ref_time(&call->in[3], row));
}

static void raw_weights(const struct chain *chain, const struct chain_law *law,
                        const double *log_score, double *weights)
{
    for (int32_t y = 0; y < chain->states; y++)
        weights[y] = law_raw(law, y, exp(log_score[y]));
}

static void tweedie_rule(const struct ref_call *call, int64_t row, int32_t x,
                         const double *log_score, void *room, double *weights)
{
    const struct chain *chain = call->chain;
    bool exclude = call->attr[STEP_EXCLUDE].integer == EXCLUDE_MASK;
    double delta = step_delta(call, row);
    if (chain->kind == CHAIN_FLAT) {
        struct chain_law law = law_tweedie(chain, x, delta, ref_sums(chain, x, log_score), exclude);
        raw_weights(chain, &law, log_score, weights);
        return;
    }
    struct transition p = transition_make(chain, delta, NULL, 0, room, 1);
    struct table_law law = ref_back_law(chain, x, delta, log_score, room);
    table_tweedie(&p, x, exclude, &law);
    memcpy(weights, law.weights, (size_t)chain->states * sizeof *weights);
}

/* A step of Euler's, by the law of a flat chain or that of a table. */
typedef struct chain_law flat_step(const struct chain *chain, int32_t x, double step,
                                   struct score_sums sums);
typedef void table_step(const struct chain *chain, int32_t x, double step,
                        const struct table_law *law);

static void euler_by(flat_step *flat, table_step *table, const struct ref_call *call, int64_t row,
                     int32_t x, const double *log_score, void *room, double *weights)
{
    const struct chain *chain = call->chain;
    double step = ref_time(&call->in[2], row);
    if (chain->kind == CHAIN_FLAT) {
        struct chain_law law = flat(chain, x, step, ref_sums(chain, x, log_score));
        raw_weights(chain, &law, log_score, weights);
        return;
    }
    struct table_law law = ref_table_law(chain, x, log_score, room);
    table(chain, x, step, &law);
    memcpy(weights, law.weights, (size_t)chain->states * sizeof *weights);
}

static void euler_rule(const struct ref_call *call, int64_t row, int32_t x, const double *log_score,
                       void *room, double *weights)
{
    euler_by(law_euler, table_euler, call, row, x, log_score, room, weights);
}

static void euler_linear_rule(const struct ref_call *call, int64_t row, int32_t x,
                              const double *log_score, void *room, double *weights)
{
    euler_by(law_euler_linear, table_euler_linear, call, row, x, log_score, room, weights);
}

static void denoise_rule(const struct ref_call *call, int64_t row, int32_t x,
                         const double *log_score, void *room, double *weights)
{
    struct transition p =
        transition_make(call->chain, ref_time(&call->in[2], row), NULL, 0, room, 1);
    ref_decoder(&p, x, log_score, room, weights);
}

static double *ref_row(int64_t count)
{
    double *row = calloc((size_t)count, sizeof *row);
    BUG_ON(!row);
    return row;
}

/* One draw a position; input KEEP, where present, holds positions back, and the input after it is
 * what is drawn by. A second result counts the negative weights of each row. */
static void draw_all(const struct ref_call *call, weights_rule *rule, uint32_t keep)
{
    const struct chain *chain = call->chain;
    struct chain_walk walk = ref_walk(&call->in[0]);
    double *weights = ref_row(chain->states);
    void *room = ref_room(call);
    for (int64_t row = 0; call->out_count > 1 && row < walk.rows; row++)
        call->out[1].data[row] = 0;
    for (int64_t p = 0; p < walk.rows * walk.length; p++) {
        int64_t row = p / walk.length;
        int32_t x = (int32_t)call->in[0].data[p];
        call->out[0].data[p] = x;
        if (ref_has(call, keep) && call->in[keep].data[p] != 0)
            continue;
        rule(call, row, x, call->in[1].data + p * chain->states, room, weights);
        for (int32_t y = 0; call->out_count > 1 && y < chain->states; y++)
            call->out[1].data[row] += weights[y] < 0;
        call->out[0].data[p] =
            ref_draw(weights, chain->states, x,
                     ref_position_uniform(call, keep + 1, row, p % walk.length, walk.length));
    }
    free(weights);
    free(room);
}

/* The weights of all positions, times exp(k D) where the rule leaves that factor out. */
static void weigh_all(const struct ref_call *call, weights_rule *rule)
{
    const struct chain *chain = call->chain;
    struct chain_walk walk = ref_walk(&call->in[0]);
    void *room = ref_room(call);
    for (int64_t p = 0; p < walk.rows * walk.length; p++) {
        int64_t row = p / walk.length;
        double *weights = call->out[0].data + p * chain->states, factor = 1;
        rule(call, row, (int32_t)call->in[0].data[p], call->in[1].data + p * chain->states, room,
             weights);
        if (rule == tweedie_rule && chain->kind == CHAIN_FLAT)
            factor = exp(transition_back_rate(chain) * step_delta(call, row));
        for (int32_t y = 0; y < chain->states; y++)
            weights[y] *= factor;
    }
    free(room);
}

/* Room for a second result: how many negative weights were set to zero, by row. */
static void counted_result(struct op_call *call)
{
    struct type count = type_scalar(DT_F64);
    count.rank = 1;
    count.dim[0] = call->in[0].dim[0];
    call->out[1] = count;
}

static bool weights_result(struct op_call *call)
{
    call->out[0] = call->in[1];
    call->out[0].dtype = DT_F64;
    return true;
}

static void draw_cost(const struct op_call *call, struct op_cost *out)
{
    chain_cost(call, 40, out); /* two passes with an exponential in double */
}

/* tweedie: x_s from x_t by the exact law of one token given the score,
 *     p(y) ~ [exp(-D Q) s]_y P_D[x][y],   D = sigma_t - sigma_s,
 * taken at every position at once (tau-leaping). exclude: mask conditions on no mask. An inexact
 * score can make entries negative: they count as zero, and `clamped` says how many did in each row.
 * A table chain needs |Q| D below 2 or so: exp(-D Q) loses its digits beyond. */
static const struct op_input tweedie_inputs[] = {
    SAMPLER_INPUT_X,
    INPUT_SCORE,
    {"sigma_t", IN_F64, INPUT_SEQUENCE, "f64 [rows] or []: total noise before the step",
     DOMAIN_POSITIVE},
    {"sigma_s", IN_F64, INPUT_SEQUENCE, "f64 [rows] or []: total noise after it, less",
     DOMAIN_UNIT},
    SAMPLER_INPUT_KEEP,
    SAMPLER_INPUT_U,
    {0},
};
static const struct op_attr tweedie_attrs[] = {
    [STEP_EXCLUDE] = {"exclude", ATTR_CHOICE, "none", "`mask`: draw real tokens only",
                      exclude_choices},
    {0},
};

static bool tweedie_inputs_fit(struct op_call *call)
{
    if (call->attr[STEP_EXCLUDE].integer == EXCLUDE_MASK && call->chain->mask < 0)
        return op_error(call, "exclude: mask is for a process that has a mask");
    call->out[0] = call->in[0];
    return chain_expect_tokens(call, 0, 0) && chain_expect_scores(call, 1, 0) &&
           chain_expect_times(call, 2, 0) && chain_expect_times(call, 3, 0) &&
           chain_expect_keep(call, 4, 0) && chain_expect_keep(call, 5, 0);
}

static bool tweedie_shape(struct op_call *call)
{
    counted_result(call);
    return tweedie_inputs_fit(call);
}

/* Whether V holds the scores of some law at TOKENS and NOISE, whose total at a mask is then known:
 * projected to be, or made of a law that sums to one. What is not allowed has no score, and takes
 * from the total. */
static bool is_of_a_law(const struct graph *g, uint32_t v, uint32_t tokens, uint32_t noise)
{
    const struct node *n = &g->nodes[g->values[v].node];
    if (n->op == &op_where) {
        const struct node *else_ = &g->nodes[g->values[n->in[2]].node];
        if (else_->op != &op_const || exp(else_->attr[0].real) > 0)
            return false;
        n = &g->nodes[g->values[n->in[1]].node];
    }
    if ((n->op != &op_project_score && n->op != &op_posterior_score) || n->in[1] != tokens ||
        n->in[2] != noise)
        return false;
    if (n->op == &op_project_score)
        return !g->processes[n->process - 1].chain.raw;
    return g->nodes[g->values[n->in[0]].node].op == &op_x0_output;
}

static bool tweedie_idle(const struct graph *graph, const struct node *node, struct op_idle *out)
{
    bool told = node->attr[STEP_EXCLUDE].integer != EXCLUDE_MASK &&
                is_of_a_law(graph, node->in[1], node->in[0], node->in[2]);
    return sampler_idle(graph, node, 4, told ? sampler_reveal_chance : NULL, out);
}

static void tweedie_reference(const struct ref_call *call)
{
    draw_all(call, tweedie_rule, 4);
}

static const struct op_case tweedie_cases[] = {
    {"token[2,3] f32[2,3,6] f64[2] f64[2] _ _", NULL, "absorb 5"},
    {"token[3,7] f32[3,7,4] f64[3] f64[] bool[3,7] _", "exclude=mask", "absorb 3"},
    {"token[3,5] f32[3,5,7] f64[] f64[3] bool[3,5] f64[3,5]", NULL, "uniform 7"},
    {"token[11] f32[11,2] f64[11] f64[11] _ f64[11]", NULL, "uniform 2"},
    {"token[2,5] f32[2,5,5] f64[2] f64[2] _ _", NULL, "mix 4 0.7 0.3 0"},
    {"token[3,7] f32[3,7,4] f64[3] f64[] bool[3,7] _", "exclude=mask", "mix 3 0.6 0.5 0.5"},
    {"token[2,19] f32[2,19,5] f64[2] f64[2] _ _", NULL, "band 5 1"},
    {"token[3,7] f32[3,7,5] f64[] f64[] bool[3,7] f64[3,7]", "exclude=mask", "table 4 1 3"},
    {0},
};

const struct op op_tweedie = {
    .name = "tweedie",
    .doc = "A reverse step by the exact law of each token given the score.",
    .inputs = tweedie_inputs,
    .attrs = tweedie_attrs,
    .results = result_counted,
    .result_count = 2,
    .flags = OP_PROCESS | OP_RANDOM | OP_NO_GRAD,
    .rows = ROWS_POSITION,
    .shape = tweedie_shape,
    .idle = tweedie_idle,
    .cost = draw_cost,
    .inplace = 1,
    .workspace = chain_back_workspace,
    .reference = tweedie_reference,
    .cases = tweedie_cases,
};

/* tweedie_weights: [exp(-D Q) s]_y P_D[x][y] itself. An inexact score can make entries negative. */
static const struct op_input tweedie_weights_inputs[] = {
    SAMPLER_INPUT_X,
    INPUT_SCORE,
    {"sigma_t", IN_F64, INPUT_SEQUENCE, "f64 [rows] or []: total noise before the step",
     DOMAIN_POSITIVE},
    {"sigma_s", IN_F64, INPUT_SEQUENCE, "f64 [rows] or []: total noise after it, less",
     DOMAIN_UNIT},
    {0},
};

static bool tweedie_weights_shape(struct op_call *call)
{
    return tweedie_inputs_fit(call) && weights_result(call);
}

static void tweedie_weights_reference(const struct ref_call *call)
{
    weigh_all(call, tweedie_rule);
}

static const struct op_case tweedie_weights_cases[] = {
    {"token[2,3] f32[2,3,6] f64[2] f64[2]", NULL, "absorb 5"},
    {"token[3,7] f32[3,7,4] f64[3] f64[]", "exclude=mask", "absorb 3"},
    {"token[3,5] f32[3,5,7] f64[] f64[3]", NULL, "uniform 7"},
    {"token[2,5] f32[2,5,5] f64[2] f64[2]", NULL, "mix 4 0.7 0.3 0"},
    {"token[3,7] f32[3,7,4] f64[3] f64[]", "exclude=mask", "mix 3 0.6 0.5 0.5"},
    {"token[2,19] f32[2,19,5] f64[2] f64[2]", NULL, "band 5 1"},
    {"token[3,7] f32[3,7,5] f64[] f64[]", "exclude=mask", "table 4 1 3"},
    {0},
};

const struct op op_tweedie_weights = {
    .name = "tweedie_weights",
    .doc = "The unnormalised weights of a tweedie step, f64; negative ones are left as they are.",
    .inputs = tweedie_weights_inputs,
    .attrs = tweedie_attrs,
    .results = result_weights,
    .result_count = 1,
    .flags = OP_PROCESS | OP_NO_GRAD,
    .rows = ROWS_POSITION,
    .shape = tweedie_weights_shape,
    .cost = draw_cost,
    .workspace = chain_back_workspace,
    .reference = tweedie_weights_reference,
    .cases = tweedie_weights_cases,
};

/* The Euler steps. STEP is a stretch of sigma: dt times dsigma/dt. The reverse rate x -> y is
 * Q[x][y] s_y; R is its sum. */
static const struct op_input euler_inputs[] = {
    SAMPLER_INPUT_X,
    INPUT_SCORE,
    {"step", IN_F64, INPUT_SEQUENCE, "f64 [rows] or []: length of the step in sigma", DOMAIN_UNIT},
    SAMPLER_INPUT_KEEP,
    SAMPLER_INPUT_U,
    {0},
};
static const struct op_input euler_weights_inputs[] = {
    SAMPLER_INPUT_X,
    INPUT_SCORE,
    {"step", IN_F64, INPUT_SEQUENCE, "f64 [rows] or []: length of the step in sigma", DOMAIN_UNIT},
    {0},
};

static bool euler_shape(struct op_call *call)
{
    call->out[0] = call->in[0];
    return chain_expect_tokens(call, 0, 0) && chain_expect_scores(call, 1, 0) &&
           chain_expect_times(call, 2, 0) && chain_expect_keep(call, 3, 0) &&
           chain_expect_keep(call, 4, 0);
}

static bool step_idle(const struct graph *graph, const struct node *node, struct op_idle *out)
{
    return sampler_idle(graph, node, 3, NULL, out);
}

static const struct op_case step_cases[] = {
    {"token[2,3] f32[2,3,6] f64[2] _ _", NULL, "absorb 5"},
    {"token[3,7] f32[3,7,4] f64[] bool[3,7] _", NULL, "absorb 3"},
    {"token[3,5] f32[3,5,7] f64[3] bool[3,5] f64[3,5]", NULL, "uniform 7"},
    {"token[11] f32[11,2] f64[11] _ f64[11]", NULL, "uniform 2"},
    {"token[2,5] f32[2,5,5] f64[2] _ _", NULL, "mix 4 0.7 0.3 0"},
    {"token[3,7] f32[3,7,4] f64[] bool[3,7] _", NULL, "mix 3 0.6 0.5 0.5"},
    {"token[2,19] f32[2,19,5] f64[2] _ _", NULL, "band 5 1"},
    {"token[3,7] f32[3,7,5] f64[] bool[3,7] f64[3,7]", NULL, "table 4 1 3"},
    {0},
};

/* euler: jump with probability 1 - exp(-R step), to y in proportion to its rate. */
static void euler_reference(const struct ref_call *call)
{
    draw_all(call, euler_rule, 3);
}

const struct op op_euler = {
    .name = "euler",
    .doc = "A reverse step of frozen rates, at most one jump a position, its probability exact.",
    .inputs = euler_inputs,
    .results = sampler_result_x,
    .result_count = 1,
    .flags = OP_PROCESS | OP_RANDOM | OP_NO_GRAD,
    .rows = ROWS_POSITION,
    .shape = euler_shape,
    .idle = step_idle,
    .cost = draw_cost,
    .inplace = 1,
    .workspace = chain_workspace,
    .reference = euler_reference,
    .cases = step_cases,
};

/* euler_linear: one-hot at x plus step times the reverse rate, clamped at 0; `clamped` counts the
 * positions of a row whose weight of staying was negative. */
static bool euler_linear_shape(struct op_call *call)
{
    counted_result(call);
    return euler_shape(call);
}

static void euler_linear_reference(const struct ref_call *call)
{
    draw_all(call, euler_linear_rule, 3);
}

const struct op op_euler_linear = {
    .name = "euler_linear",
    .doc = "A reverse step of first order: one-hot plus step times rate, clamped at zero.",
    .inputs = euler_inputs,
    .results = result_counted,
    .result_count = 2,
    .flags = OP_PROCESS | OP_RANDOM | OP_NO_GRAD,
    .rows = ROWS_POSITION,
    .shape = euler_linear_shape,
    .idle = step_idle,
    .cost = draw_cost,
    .inplace = 1,
    .workspace = chain_workspace,
    .reference = euler_linear_reference,
    .cases = step_cases,
};

/* euler_weights: what euler_linear draws from, before clamping. */
static bool euler_weights_shape(struct op_call *call)
{
    return euler_shape(call) && weights_result(call);
}

static void euler_weights_reference(const struct ref_call *call)
{
    weigh_all(call, euler_linear_rule);
}

static const struct op_case euler_weights_cases[] = {
    {"token[2,3] f32[2,3,6] f64[2]", NULL, "absorb 5"},
    {"token[1,7] f32[1,7,4] f64[]", NULL, "absorb 3"},
    {"token[3,5] f32[3,5,7] f64[3]", NULL, "uniform 7"},
    {"token[2,5] f32[2,5,5] f64[2]", NULL, "mix 4 0.7 0.3 0"},
    {"token[3,7] f32[3,7,4] f64[]", NULL, "mix 3 0.6 0.5 0.5"},
    {"token[2,5] f32[2,5,5] f64[2]", NULL, "band 5 1"},
    {"token[3,7] f32[3,7,5] f64[]", NULL, "table 4 1 3"},
    {0},
};

const struct op op_euler_weights = {
    .name = "euler_weights",
    .doc = "One-hot at x plus step times the reverse rate, f64; staying may be negative.",
    .inputs = euler_weights_inputs,
    .results = result_weights,
    .result_count = 1,
    .flags = OP_PROCESS | OP_NO_GRAD,
    .rows = ROWS_POSITION,
    .shape = euler_weights_shape,
    .cost = draw_cost,
    .workspace = chain_workspace,
    .reference = euler_weights_reference,
    .cases = euler_weights_cases,
};

/* denoise: the last step, from sigma to clean data: Tweedie to 0 without the mask. absorb: masked
 * positions draw from the score row, the others stand. Elsewhere, where a clamped weight would
 * leave some token no chance, 1e-3 of s_y P_sigma[x][y] is mixed in, because a decoder that rules
 * out the truth makes the likelihood bound infinite. `reconstruction` is its cost. */
static const struct op_input denoise_inputs[] = {
    SAMPLER_INPUT_X,
    INPUT_SCORE,
    {"sigma", IN_F64, INPUT_SEQUENCE, "f64 [rows] or []: total noise that is left", DOMAIN_UNIT},
    SAMPLER_INPUT_KEEP,
    SAMPLER_INPUT_U,
    {0},
};

static void denoise_reference(const struct ref_call *call)
{
    draw_all(call, denoise_rule, 3);
}

const struct op op_denoise = {
    .name = "denoise",
    .doc = "The last reverse step: draws clean tokens from a strictly positive decoder.",
    .inputs = denoise_inputs,
    .results = sampler_result_x,
    .result_count = 1,
    .flags = OP_PROCESS | OP_RANDOM | OP_NO_GRAD,
    .rows = ROWS_POSITION,
    .shape = euler_shape,
    .idle = step_idle,
    .cost = draw_cost,
    .inplace = 1,
    .workspace = chain_back_workspace,
    .reference = denoise_reference,
    .cases = step_cases,
};
