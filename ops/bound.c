/* What the likelihood bound needs besides its integrand: where sampling starts, what that costs,
 * and what the last step costs. Costs are f64, in nats, one for each position.
 *
 * -log p(x0) <= integral of dsigma score_entropy + base_cost + reconstruction, all at the two ends
 * of the same range of sigma; p is the law of the sampler base_draw, reverse steps, denoise. */
#include "ops/chain.h"
#include "ops/ops.h"
#include "ops/reverse.h"
#include "ops/rules.h"
#include "ops/sampler.h"

#include "graph/base/check.h"

#include <stdlib.h>

static const char *const result_x[] = {"x", NULL};
static const char *const result_cost[] = {"cost", NULL};

static void bound_cost(const struct op_call *call, struct op_cost *out)
{
    chain_cost(call, 40, out);
}

/* Where a mask is final and a share eps = exp(-absorb sigma) has not come to it, the base is
 * (1 - eps) delta_M + eps p_theta(. | masks), p_theta being the score row normalised over the
 * tokens; the score is then needed. */
static bool expect_base_score(const struct op_call *call)
{
    if (chain_leaks(call->chain) && !op_has(call, 2))
        return op_error(call,
                        "a process that ends in the mask needs `log_score`: what the network "
                        "says where every token is masked, at this sigma (base-mask.yaml, not "
                        "base-law.yaml)");
    return chain_expect_tokens(call, 0, 0) && chain_expect_times(call, 1, 0) &&
           chain_expect_scores(call, 2, 0);
}

/* base_draw: where sampling starts at the finite noise sigma.
 *   a final mask   at a mask with probability exp(-absorb sigma) a token of the score row, else
 *                  what is there
 *   else           x itself, the draw of `stationary` */
static const struct op_input base_draw_inputs[] = {
    {"x", IN_TOKEN, 0, "token [rows, length]: a stationary draw", DOMAIN_ANY},
    {"sigma", IN_F64, INPUT_SEQUENCE, "f64 [rows] or []: total noise at the start",
     DOMAIN_POSITIVE},
    {"log_score", IN_F32, INPUT_OPTIONAL | INPUT_NAMED,
     "f32 [rows, length, states]: log scores of a mask beside what is known, and sigma; a final "
     "mask needs them",
     DOMAIN_ANY},
    SAMPLER_INPUT_U,
    {0},
};

static bool base_draw_shape(struct op_call *call)
{
    call->out[0] = call->in[0];
    return expect_base_score(call) && chain_expect_keep(call, 3, 0);
}

/* That a position holds a token, whatever the network says of which; more by what rounding may
 * add. */
static uint32_t base_draw_chance(struct graph *g, const struct node *n)
{
    const struct node like = {.origin = n->origin};
    uint32_t by = emit_const(g, DT_F64, -g->processes[n->process - 1].chain.absorb, &like);
    uint32_t chance = emit1(g, &op_exp, emit2(g, &op_mul, n->in[1], by, &like), &like);
    return emit2(g, &op_mul, chance, emit_const(g, DT_F64, SAMPLER_MARGIN, &like), &like);
}

static bool base_draw_idle(const struct graph *graph, const struct node *node, struct op_idle *out)
{
    *out = (struct op_idle){
        .tokens = node->in[0], .stays = true, .uniform = 1 + 3, .chance = base_draw_chance};
    return chain_leaks(&graph->processes[node->process - 1].chain);
}

static void base_draw_reference(const struct ref_call *call)
{
    const struct chain *chain = call->chain;
    struct chain_walk walk = ref_walk(&call->in[0]);
    double *weights = calloc((size_t)chain->states, sizeof *weights);
    BUG_ON(!weights);
    for (int64_t p = 0; p < walk.rows * walk.length; p++) {
        int64_t row = p / walk.length;
        call->out[0].data[p] = call->in[0].data[p];
        if (!chain_leaks(chain) || call->in[0].data[p] != chain->mask)
            continue;
        const double *log_score = call->in[2].data + p * chain->states;
        struct chain_law law = law_base(chain, ref_time(&call->in[1], row),
                                        ref_sums(chain, chain->mask, log_score).others);
        ref_weights(chain, &law, log_score, weights);
        call->out[0].data[p] =
            ref_draw(weights, chain->states, chain->mask,
                     ref_position_uniform(call, 3, row, p % walk.length, walk.length));
    }
    free(weights);
}

static const struct op_case base_draw_cases[] = {
    {"token[2,3] f64[2] f32[2,3,6] _", NULL, "absorb 5"},
    {"token[3,7] f64[] f32[3,7,4] f64[3,7]", NULL, "absorb 3"},
    {"token[11] f64[11] f32[11,6] f64[11]", NULL, "absorb 5"},
    {"token[3,5] f64[3] _ _", NULL, "uniform 7"},
    {"token[2,3] f64[2] f32[2,3,5] _", NULL, "mix 4 0.7 0.3 0"},
    {"token[2,3] f64[2] _ f64[2,3]", NULL, "mix 3 0.6 0.5 0.5"},
    {"token[2,3] f64[2] _ _", NULL, "band 5 1"},
    {0},
};

const struct op op_base_draw = {
    .name = "base_draw",
    .doc = "Draws where sampling starts when the noise at the start is finite.",
    .inputs = base_draw_inputs,
    .results = result_x,
    .result_count = 1,
    .flags = OP_PROCESS | OP_RANDOM | OP_NO_GRAD,
    .rows = ROWS_POSITION,
    .shape = base_draw_shape,
    .idle = base_draw_idle,
    .cost = bound_cost,
    .inplace = 1,
    .reference = base_draw_reference,
    .cases = base_draw_cases,
};

/* base_cost: the divergence of P_sigma[. | x0] from the law of base_draw, exactly
 *   a final mask   eps sum over y of k_y log(k_y / p_theta(y | masks)), eps = exp(-absorb
 *                  sigma), k_y = P[y][x0] / eps; absorb: -eps log p_theta(x0 | masks)
 *   else           sum over y of P[y][x0] log(P[y][x0] / base_y) */
static const struct op_input base_cost_inputs[] = {
    {"x0", IN_TOKEN, 0, "token [rows, length]: clean tokens", DOMAIN_REAL_TOKEN},
    {"sigma", IN_F64, 0, "f64 [rows] or []: total noise at the start", DOMAIN_POSITIVE},
    {"log_score", IN_F32, INPUT_OPTIONAL | INPUT_NAMED,
     "f32 [rows, length, states]: log scores of a mask beside what is known; a final mask needs "
     "them",
     DOMAIN_ANY},
    {0},
};

static bool base_cost_shape(struct op_call *call)
{
    call->out[0] = call->in[0];
    call->out[0].dtype = DT_F64;
    call->out[0].process = 0;
    return expect_base_score(call);
}

static void base_cost_reference(const struct ref_call *call)
{
    const struct chain *chain = call->chain;
    struct chain_walk walk = ref_walk(&call->in[0]);
    void *room = ref_room(call);
    for (int64_t p = 0; p < walk.rows * walk.length; p++) {
        int32_t x0 = (int32_t)call->in[0].data[p];
        struct transition at =
            transition_make(chain, ref_time(&call->in[1], p / walk.length), NULL, 0, room, 1);
        if (!chain_leaks(chain)) {
            call->out[0].data[p] = base_divergence(&at, x0);
            continue;
        }
        const double *log_score = call->in[2].data + p * chain->states;
        double total = log(ref_sums(chain, chain->mask, log_score).others), sum = 0;
        for (int32_t y = 0; y < chain->tokens; y++)
            sum += log_score[y] - total;
        call->out[0].data[p] = leak_divergence(&at, log_score[x0] - total, sum);
    }
    free(room);
}

static const struct op_case base_cost_cases[] = {
    {"token[2,3] f64[2] f32[2,3,6]", NULL, "absorb 5"},
    {"token[3,7] f64[] f32[3,7,4]", NULL, "absorb 3"},
    {"token[3,5] f64[3] _", NULL, "uniform 7"},
    {"token[1,1] f64[1] _", NULL, "uniform 1"},
    {"token[2,3] f64[2] f32[2,3,5]", NULL, "mix 4 0.7 0.3 0"},
    {"token[2,3] f64[2] _", NULL, "mix 3 0.6 0.5 0.5"},
    {"token[2,3] f64[2] _", NULL, "band 5 1"},
    {"token[3,7] f64[] _", NULL, "table 4 1 3"},
    {0},
};

const struct op op_base_cost = {
    .name = "base_cost",
    .doc = "The base term of the likelihood bound for each position, f64, in nats.",
    .inputs = base_cost_inputs,
    .results = result_cost,
    .result_count = 1,
    .flags = OP_PROCESS | OP_NO_GRAD,
    .rows = ROWS_SEQUENCE,
    .shape = base_cost_shape,
    .cost = bound_cost,
    .workspace = chain_workspace,
    .reference = base_cost_reference,
    .cases = base_cost_cases,
};

/* reconstruction: -log of the probability that `denoise` draws x0 at x; infinite where that cannot
 * happen (under absorb, an unmasked x other than x0). */
static const struct op_input reconstruction_inputs[] = {
    {"x", IN_TOKEN, 0, "token [rows, length]: tokens at noise sigma", DOMAIN_ANY},
    {"x0", IN_TOKEN, 0, "token [rows, length]: the clean tokens they came from", DOMAIN_REAL_TOKEN},
    {"log_score", IN_F32, 0, "f32 [rows, length, states]: log scores at x", DOMAIN_ANY},
    {"sigma", IN_F64, INPUT_SEQUENCE, "f64 [rows] or []: total noise that is left", DOMAIN_UNIT},
    {0},
};

static bool reconstruction_shape(struct op_call *call)
{
    call->out[0] = call->in[0];
    call->out[0].dtype = DT_F64;
    call->out[0].process = 0;
    return chain_expect_tokens(call, 0, 0) && chain_expect_tokens(call, 1, 0) &&
           chain_expect_scores(call, 2, 0) && chain_expect_times(call, 3, 0);
}

static bool reconstruction_idle(const struct graph *graph, const struct node *node,
                                struct op_idle *out)
{
    *out = (struct op_idle){.tokens = node->in[0]};
    return chain_carries_over(&graph->processes[node->process - 1].chain) &&
           chain_noised_from(graph, node->in[0], node->in[1]);
}

static void reconstruction_reference(const struct ref_call *call)
{
    const struct chain *chain = call->chain;
    struct chain_walk walk = ref_walk(&call->in[0]);
    double *weights = calloc((size_t)chain->states, sizeof *weights);
    void *room = ref_room(call);
    BUG_ON(!weights);
    for (int64_t p = 0; p < walk.rows * walk.length; p++) {
        struct transition at =
            transition_make(chain, ref_time(&call->in[3], p / walk.length), NULL, 0, room, 1);
        double total = 0;
        ref_decoder(&at, (int32_t)call->in[0].data[p], call->in[2].data + p * chain->states, room,
                    weights);
        for (int32_t y = 0; y < chain->states; y++)
            total += weights[y];
        call->out[0].data[p] = log(total) - log(weights[(int64_t)call->in[1].data[p]]);
    }
    free(weights);
    free(room);
}

static const struct op_case reconstruction_cases[] = {
    {"token[2,3] token[2,3] f32[2,3,6] f64[2]", NULL, "absorb 5"},
    {"token[1,7] token[1,7] f32[1,7,2] f64[]", NULL, "absorb 1"},
    {"token[3,5] token[3,5] f32[3,5,7] f64[3]", NULL, "uniform 7"},
    {"token[11] token[11] f32[11,2] f64[11]", NULL, "uniform 2"},
    {"token[2,5] token[2,5] f32[2,5,5] f64[2]", NULL, "mix 4 0.7 0.3 0"},
    {"token[3,7] token[3,7] f32[3,7,4] f64[]", NULL, "mix 3 0.6 0.5 0.5"},
    {"token[2,19] token[2,19] f32[2,19,5] f64[2]", NULL, "band 5 1"},
    {"token[3,7] token[3,7] f32[3,7,5] f64[]", NULL, "table 4 1 3"},
    {0},
};

const struct op op_reconstruction = {
    .name = "reconstruction",
    .doc = "The last term of the likelihood bound for each position, f64: the cost of denoise.",
    .inputs = reconstruction_inputs,
    .results = result_cost,
    .result_count = 1,
    .flags = OP_PROCESS | OP_NO_GRAD,
    .rows = ROWS_POSITION,
    .shape = reconstruction_shape,
    .idle = reconstruction_idle,
    .cost = bound_cost,
    .workspace = chain_back_workspace,
    .reference = reconstruction_reference,
    .cases = reconstruction_cases,
};
