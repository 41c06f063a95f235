/* The ancestral step: from x_t to x_s by a law of the clean token, exact for each token given
 * it. */
#include "ops/kernels/attrs.h"
#include "ops/ops.h"
#include "ops/rules.h"
#include "ops/sampler.h"

/* ancestral, D = sigma_t - sigma_s, x0 over real tokens:
 *   posterior  p(y) ~ sum_x0 P_D[x][y] P_s[y][x0] p(x0 | x_t) / P_t[x][x0]
 *   cavity     p(y) ~ P_D[x][y] sum_x0 P_s[y][x0] p(x0 | x_t but for this position)
 * (Austin et al. 2021, eq. 4; Schiff et al. 2024). Both are laws whatever the head says. x0 that
 * cannot lead to x count for nothing. */
static const struct op_input ancestral_inputs[] = {
    SAMPLER_INPUT_X,
    {"log_p", IN_F32, 0, "f32 [rows, length, states]: log law of the clean token", DOMAIN_ANY},
    {"sigma_t", IN_F64, INPUT_SEQUENCE, "f64 [rows] or []: total noise before the step",
     DOMAIN_POSITIVE},
    {"sigma_s", IN_F64, INPUT_SEQUENCE, "f64 [rows] or []: total noise after it, less",
     DOMAIN_UNIT},
    SAMPLER_INPUT_KEEP,
    SAMPLER_INPUT_U,
    {0},
};
static const char *const head_choices[] = {"posterior", "cavity", NULL};
static const struct op_attr ancestral_attrs[] = {
    [ANCESTRAL_HEAD] = {"head", ATTR_CHOICE, "posterior",
                        "what log_p is given: all of x (`posterior`), or all but the position "
                        "itself (`cavity`)",
                        head_choices},
    {0},
};

static bool ancestral_shape(struct op_call *call)
{
    call->out[0] = call->in[0];
    return chain_expect_tokens(call, 0, 0) && chain_expect_scores(call, 1, 0) &&
           chain_expect_times(call, 2, 0) && chain_expect_times(call, 3, 0) &&
           chain_expect_keep(call, 4, 0) && chain_expect_keep(call, 5, 0);
}

static bool ancestral_idle(const struct graph *graph, const struct node *node, struct op_idle *out)
{
    const struct op *law = graph->nodes[graph->values[node->in[1]].node].op;
    bool told = law == &op_x0_output || law == &op_cavity_output || law == &op_score_posterior ||
                law == &op_restrict; /* they sum to one */
    return sampler_idle(graph, node, 4, told ? sampler_reveal_chance : NULL, out);
}

static void ancestral_cost(const struct op_call *call, struct op_cost *out)
{
    double states = call->chain->states;
    chain_cost(call, call->chain->kind == CHAIN_TABLE ? 2 * states : 40, out);
}

/* Tables: P three times, and two rows over the states for each position of a sequence. */
static int64_t ancestral_workspace(const struct op_call *call)
{
    const struct type *x = &call->in[0];
    if (call->chain->kind != CHAIN_TABLE)
        return 0;
    int64_t length = type_count(x) / (x->dim[0].size ? x->dim[0].size : 1);
    return 3 * transition_bytes(call->chain) +
           2 * length * call->chain->states * (int64_t)sizeof(double);
}

struct ancestral_context {
    const struct transition *t, *s, *d;
    const double *log_p;
    int32_t x;
    bool cavity;
};

static double ancestral_weight(const void *context, int32_t y)
{
    const struct ancestral_context *c = context;
    double sum = 0;
    for (int32_t x0 = 0; x0 < c->t->chain->tokens; x0++) {
        double reach = transition_at(c->t, c->x, x0);
        if (c->cavity)
            sum += transition_at(c->s, y, x0) * exp(c->log_p[x0]);
        else if (reach > 0)
            sum += transition_at(c->s, y, x0) * exp(c->log_p[x0]) / reach;
    }
    return transition_at(c->d, c->x, y) * sum;
}

static void ancestral_reference(const struct ref_call *call)
{
    const struct chain *chain = call->chain;
    struct chain_walk walk = ref_walk(&call->in[0]);
    for (int64_t row = 0; row < walk.rows; row++) {
        double from = ref_time(&call->in[2], row), to = fmin(from, ref_time(&call->in[3], row));
        struct transition t = ref_transition(chain, from), s = ref_transition(chain, to),
                          d = ref_transition(chain, from - to);
        for (int64_t i = 0; i < walk.length; i++) {
            int64_t p = row * walk.length + i;
            int32_t x = (int32_t)call->in[0].data[p];
            struct ancestral_context c = {
                &t, &s,
                &d, call->in[1].data + p * chain->states,
                x,  call->attr[ANCESTRAL_HEAD].integer == ANCESTRAL_CAVITY};
            call->out[0].data[p] =
                ref_kept(call, 4, p) || chain_frozen(chain, x)
                    ? x
                    : ref_pick(ancestral_weight, &c, chain->states, x,
                               ref_position_uniform(call, 5, row, i, walk.length));
        }
        ref_transition_release(&t);
        ref_transition_release(&s);
        ref_transition_release(&d);
    }
}

static const struct op_case ancestral_cases[] = {
    {"token[2,3] f32[2,3,6] f64[2] f64[2] _ _", NULL, "absorb 5"},
    {"token[3,7] f32[3,7,4] f64[3] f64[] bool[3,7] _", "head=cavity", "absorb 3"},
    {"token[3,5] f32[3,5,7] f64[] f64[3] bool[3,5] f64[3,5]", NULL, "uniform 7"},
    {"token[3,5] f32[3,5,7] f64[3] f64[] _ f64[3,5]", "head=cavity", "uniform 7"},
    {"token[11] f32[11,2] f64[11] f64[11] _ _", NULL, "uniform 2"},
    {"token[2,5] f32[2,5,601] f64[2] f64[2] _ _", NULL, "uniform 601"},
    {"token[3,5] f32[3,5,6] f64[3] f64[3] _ _", NULL, "mix 5 0.9 0.1 0"},
    {"token[3,5] f32[3,5,6] f64[3] f64[3] _ _", "head=cavity", "mix 5 0.7 0.3 0.3"},
    {"token[3,5] f32[3,5,5] f64[3] f64[3] bool[3,5] _", NULL, "table 5 0 3"},
    {"token[3,5] f32[3,5,6] f64[] f64[] _ f64[3,5]", "head=cavity", "table 5 1 4"},
    {"token[2,7] f32[2,7,5] f64[2] f64[] _ _", NULL, "band 5 1"},
    {0},
};

const struct op op_ancestral = {
    .name = "ancestral",
    .doc = "A reverse step by a law of the clean token: exact for one token, never negative.",
    .inputs = ancestral_inputs,
    .attrs = ancestral_attrs,
    .results = sampler_result_x,
    .result_count = 1,
    .flags = OP_PROCESS | OP_RANDOM | OP_NO_GRAD,
    .rows = ROWS_POSITION,
    .shape = ancestral_shape,
    .idle = ancestral_idle,
    .cost = ancestral_cost,
    .inplace = 1,
    .workspace = ancestral_workspace,
    .reference = ancestral_reference,
    .cases = ancestral_cases,
};
