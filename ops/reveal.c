/* Unmasking by other rules than the reverse process: remasking, and orders by confidence. All need
 * a mask that is final; remask alone keeps the law of the process. */
#include "ops/kernels/attrs.h"
#include "ops/ops.h"
#include "ops/rules.h"
#include "ops/sampler.h"

static const char *const result_confidence[] = {"confidence", NULL};

#define INPUT_LAW                                                                                  \
    {                                                                                              \
        "log_p", IN_F32, 0, "f32 [rows, length, states]: log law of the clean token", DOMAIN_ANY   \
    }

static void reveal_cost(const struct op_call *call, struct op_cost *out)
{
    chain_cost(call, 20, out);
}

/* remask (ReMDM: Wang, Schiff, Sahoo, Kuleshov 2025), a = exp(-sigma):
 *   token   masked again with probability r
 *   mask    to y with p(y) (a_s - (1 - r) a_t) / (1 - a_t), stays with (1 - a_s - r a_t) / (1 -
 *           a_t)
 * where r is at most min(1, (1 - a_s) / a_t); what is above is taken as that. The marginals of one
 * position are those of the process whatever r is. */
#define INPUT_SHARE                                                                                \
    {                                                                                              \
        "r", IN_F64, INPUT_SEQUENCE, "f64 [rows] or []: share of tokens that are masked again",    \
            DOMAIN_UNIT                                                                            \
    }
#define INPUT_FROM                                                                                 \
    {                                                                                              \
        "sigma_t", IN_F64, INPUT_SEQUENCE, "f64 [rows] or []: total noise before the step",        \
            DOMAIN_POSITIVE                                                                        \
    }
#define INPUT_TO                                                                                   \
    {                                                                                              \
        "sigma_s", IN_F64, INPUT_SEQUENCE, "f64 [rows] or []: total noise after it, less",         \
            DOMAIN_UNIT                                                                            \
    }
static const struct op_input remask_inputs[] = {
    SAMPLER_INPUT_X, INPUT_LAW,          INPUT_FROM,      INPUT_TO,
    INPUT_SHARE,     SAMPLER_INPUT_KEEP, SAMPLER_INPUT_U, {0},
};

static bool remask_shape(struct op_call *call)
{
    call->out[0] = call->in[0];
    return chain_expect_tokens(call, 0, 0) && chain_expect_scores(call, 1, 0) &&
           chain_expect_times(call, 2, 0) && chain_expect_times(call, 3, 0) &&
           chain_expect_times(call, 4, 0) && chain_expect_keep(call, 5, 0) &&
           chain_expect_keep(call, 6, 0) && sampler_expect_masked(call, "remasking");
}

/* What is masked again needs no law. */
static uint32_t remask_otherwise(struct graph *graph, const struct node *node, uint32_t uniform)
{
    const struct node n = *node; /* a copy: emitting moves the array */
    const uint32_t keep = n.in_count > 5 ? n.in[5] : VALUE_NONE;
    const uint32_t in[] = {n.in[0], n.in[2], n.in[3], n.in[4], keep, uniform};
    return graph_emit(graph, &op_mask_again, in, 6, NULL, &n);
}

static bool remask_idle(const struct graph *graph, const struct node *node, struct op_idle *out)
{
    bool idle = sampler_idle(graph, node, 5, sampler_remask_chance, out);
    out->otherwise = remask_otherwise;
    return idle;
}

struct remask_context {
    const struct chain *chain;
    const double *log_p;
    int32_t x;
    double alpha_t, alpha_s, r;
};

static double remask_weight(const void *context, int32_t y)
{
    const struct remask_context *c = context;
    int32_t mask = c->chain->mask;
    double r = fmin(fmin(c->r, 1), (1 - c->alpha_s) / c->alpha_t), total = 0;
    if (c->x != mask)
        return y == mask ? r : y == c->x ? 1 - r : 0;
    if (y != mask)
        return exp(c->log_p[y]) * (c->alpha_s - (1 - r) * c->alpha_t) / (1 - c->alpha_t);
    for (int32_t z = 0; z < mask; z++)
        total += exp(c->log_p[z]);
    return total * fmax(0, 1 - c->alpha_s - r * c->alpha_t) / (1 - c->alpha_t);
}

/* Of X in row ROW, by the inputs from FIRST on: times and share. */
static struct remask_context remask_at(const struct ref_call *call, uint32_t first, int64_t row,
                                       int32_t x)
{
    const double absorb = call->chain->absorb, from = ref_time(&call->in[first], row);
    return (struct remask_context){call->chain,
                                   NULL,
                                   x,
                                   exp(-absorb * from),
                                   exp(-absorb * fmin(from, ref_time(&call->in[first + 1], row))),
                                   ref_time(&call->in[first + 2], row)};
}

static void remask_reference(const struct ref_call *call)
{
    struct chain_walk walk = ref_walk(&call->in[0]);
    const struct chain *chain = call->chain;
    for (int64_t p = 0; p < walk.rows * walk.length; p++) {
        int64_t row = p / walk.length;
        int32_t x = (int32_t)call->in[0].data[p];
        struct remask_context c = remask_at(call, 2, row, x);
        c.log_p = call->in[1].data + p * chain->states;
        double u = ref_position_uniform(call, 6, row, p % walk.length, walk.length);
        call->out[0].data[p] =
            ref_kept(call, 5, p) ? x : ref_pick(remask_weight, &c, chain->states, x, u);
    }
}

static const struct op_case remask_cases[] = {
    {"token[3,5] f32[3,5,6] f64[3] f64[3] f64[3] _ _", NULL, "absorb 5"},
    {"token[3,7] f32[3,7,4] f64[] f64[3] f64[] bool[3,7] _", NULL, "absorb 3"},
    {"token[2,1] f32[2,1,2] f64[] f64[] f64[] _ f64[2,1]", NULL, "absorb 1"},
    {"token[3,5] f32[3,5,602] f64[3] f64[3] f64[3] _ _", NULL, "absorb 601"},
    {0},
};

const struct op op_remask = {
    .name = "remask",
    .doc = "A reverse step of the absorbing chain that masks some tokens again.",
    .inputs = remask_inputs,
    .results = sampler_result_x,
    .result_count = 1,
    .flags = OP_PROCESS | OP_RANDOM | OP_NO_GRAD,
    .rows = ROWS_POSITION,
    .shape = remask_shape,
    .idle = remask_idle,
    .cost = reveal_cost,
    .inplace = 1,
    .reference = remask_reference,
    .cases = remask_cases,
};

/* mask_again: what remask does to tokens; masks stay. */
static const struct op_input mask_again_inputs[] = {
    SAMPLER_INPUT_X, INPUT_FROM, INPUT_TO, INPUT_SHARE, SAMPLER_INPUT_KEEP, SAMPLER_INPUT_U, {0},
};

static bool mask_again_shape(struct op_call *call)
{
    call->out[0] = call->in[0];
    return chain_expect_tokens(call, 0, 0) && chain_expect_times(call, 1, 0) &&
           chain_expect_times(call, 2, 0) && chain_expect_times(call, 3, 0) &&
           chain_expect_keep(call, 4, 0) && chain_expect_keep(call, 5, 0) &&
           sampler_expect_masked(call, "remasking");
}

static void mask_again_reference(const struct ref_call *call)
{
    struct chain_walk walk = ref_walk(&call->in[0]);
    for (int64_t p = 0; p < walk.rows * walk.length; p++) {
        int64_t row = p / walk.length;
        int32_t x = (int32_t)call->in[0].data[p];
        struct remask_context c = remask_at(call, 1, row, x);
        bool stays = ref_kept(call, 4, p) || x == call->chain->mask;
        double u = ref_position_uniform(call, 5, row, p % walk.length, walk.length);
        call->out[0].data[p] = stays ? x : ref_pick(remask_weight, &c, call->chain->states, x, u);
    }
}

static const struct op_case mask_again_cases[] = {
    {"token[3,5] f64[3] f64[3] f64[3] _ _", NULL, "absorb 5"},
    {"token[3,7] f64[] f64[3] f64[] bool[3,7] _", NULL, "absorb 3"},
    {"token[31,131] f64[31] f64[31] f64[] _ f64[31,131]", NULL, "absorb 1"},
    {0},
};

const struct op op_mask_again = {
    .name = "mask_again",
    .doc = "The part of a remask step that needs no law: tokens that are masked again.",
    .inputs = mask_again_inputs,
    .results = sampler_result_x,
    .result_count = 1,
    .flags = OP_PROCESS | OP_RANDOM | OP_NO_GRAD | OP_INTERNAL,
    .rows = ROWS_POSITION,
    .shape = mask_again_shape,
    .cost = reveal_cost,
    .inplace = 1,
    .reference = mask_again_reference,
    .cases = mask_again_cases,
};

/* confidence, at masked positions (-inf elsewhere), larger is more sure:
 *   probability  log p(y) of the token y that was drawn, where y is given; else the largest log p
 *   entropy      sum_y p log p
 *   margin       the largest p less the second
 *   random       a uniform number */
static const struct op_input confidence_inputs[] = {
    SAMPLER_INPUT_X,
    INPUT_LAW,
    {"y", IN_TOKEN, INPUT_OPTIONAL | INPUT_NAMED, "token [rows, length]: tokens that were drawn",
     DOMAIN_REAL_TOKEN},
    SAMPLER_INPUT_U,
    {0},
};
static const char *const by_choices[] = {"probability", "entropy", "margin", "random", NULL};
static const struct op_attr confidence_attrs[] = {
    [CONFIDENCE_BY] = {"by", ATTR_CHOICE, "probability", "what is meant by it", by_choices},
    {0},
};

static bool confidence_shape(struct op_call *call)
{
    call->out[0] = call->in[0];
    call->out[0].dtype = DT_F64;
    call->out[0].process = 0;
    return chain_expect_tokens(call, 0, 0) && chain_expect_scores(call, 1, 0) &&
           (!op_has(call, 2) || chain_expect_tokens(call, 2, 0)) && chain_expect_keep(call, 3, 0) &&
           sampler_expect_masked(call, "an order of unmasking");
}

static double confidence_of(const struct ref_call *call, int64_t row, int64_t i, int64_t length)
{
    const double *log_p = call->in[1].data + (row * length + i) * call->chain->states;
    double most = -INFINITY, second = -INFINITY, entropy = 0;
    for (int32_t y = 0; y < call->chain->tokens; y++) {
        second = fmax(second, fmin(most, log_p[y]));
        most = fmax(most, log_p[y]);
        entropy += log_p[y] > -INFINITY ? exp(log_p[y]) * log_p[y] : 0;
    }
    switch (call->attr[CONFIDENCE_BY].integer) {
    case BY_ENTROPY:
        return entropy;
    case BY_MARGIN:
        return exp(most) - exp(second);
    case BY_RANDOM:
        return ref_position_uniform(call, 3, row, i, length);
    default:
        return ref_has(call, 2) ? log_p[(int32_t)call->in[2].data[row * length + i]] : most;
    }
}

static void confidence_reference(const struct ref_call *call)
{
    struct chain_walk walk = ref_walk(&call->in[0]);
    for (int64_t p = 0; p < walk.rows * walk.length; p++)
        call->out[0].data[p] =
            call->in[0].data[p] == call->chain->mask
                ? confidence_of(call, p / walk.length, p % walk.length, walk.length)
                : -INFINITY;
}

static const struct op_case confidence_cases[] = {
    {"token[3,5] f32[3,5,6] _ _", NULL, "absorb 5"},
    {"token[3,7] f32[3,7,4] token[3,7] _", NULL, "absorb 3"},
    {"token[3,7] f32[3,7,4] _ _", "by=entropy", "absorb 3"},
    {"token[3,7] f32[3,7,4] _ _", "by=margin", "absorb 3"},
    {"token[2,3] f32[2,3,2] _ _", "by=margin", "absorb 1"},
    {"token[5,7] f32[5,7,2] _ _", "by=random", "absorb 1"},
    {"token[31,7] f32[31,7,132] _ _", "by=entropy", "absorb 131"},
    {"token[13,1] f32[13,1,6] _ f64[13,1]", "by=random", "absorb 5"},
    {0},
};

const struct op op_confidence = {
    .name = "confidence",
    .doc = "How sure the model is of each masked position; -inf where there is no mask.",
    .inputs = confidence_inputs,
    .attrs = confidence_attrs,
    .results = result_confidence,
    .result_count = 1,
    .flags = OP_PROCESS | OP_RANDOM | OP_NO_GRAD,
    .rows = ROWS_SEQUENCE,
    .shape = confidence_shape,
    .cost = reveal_cost,
    .reference = confidence_reference,
    .cases = confidence_cases,
};

/* reveal: x, with the tokens of y at the masked positions of most confidence, so many that
 * masked_left (to the nearest whole number) stay masked; of equals the first is taken. */
static const struct op_input reveal_inputs[] = {
    SAMPLER_INPUT_X,
    {"y", IN_TOKEN, 0, "token [rows, length]: what a revealed position gets", DOMAIN_REAL_TOKEN},
    {"confidence", IN_F64, 0, "f64 [rows, length]: the largest are revealed first", DOMAIN_ANY},
    {"masked_left", IN_F64, 0, "f64 [rows] or []: how many masks stay", DOMAIN_POSITIVE},
    {0},
};

static bool reveal_shape(struct op_call *call)
{
    call->out[0] = call->in[0];
    return chain_expect_tokens(call, 0, 0) && chain_expect_tokens(call, 1, 0) &&
           chain_expect_keep(call, 2, 0) && chain_expect_times(call, 3, 0) &&
           sampler_expect_masked(call, "an order of unmasking");
}

static void reveal_reference(const struct ref_call *call)
{
    struct chain_walk walk = ref_walk(&call->in[0]);
    const double *sure = call->in[2].data;
    for (int64_t row = 0; row < walk.rows; row++) {
        int64_t first = row * walk.length, masks = 0;
        for (int64_t i = 0; i < walk.length; i++)
            masks += call->in[0].data[first + i] == call->chain->mask;
        double shown = (double)masks - floor(ref_time(&call->in[3], row) + 0.5);
        for (int64_t i = first; i < first + walk.length; i++) {
            int64_t before = 0; /* masks that are revealed before this one */
            for (int64_t j = first; j < first + walk.length; j++)
                before += call->in[0].data[j] == call->chain->mask &&
                          (sure[j] > sure[i] || (sure[j] == sure[i] && j < i));
            bool shows = call->in[0].data[i] == call->chain->mask && (double)before < shown;
            call->out[0].data[i] = call->in[shows ? 1 : 0].data[i];
        }
    }
}

static const struct op_case reveal_cases[] = {
    {"token[3,5] token[3,5] f64[3,5] f64[3]", NULL, "absorb 1"},
    {"token[5,11] token[5,11] f64[5,11] f64[]", NULL, "absorb 2"},
    {"token[1,1] token[1,1] f64[1,1] f64[1]", NULL, "absorb 3"},
    {0},
};

const struct op op_reveal = {
    .name = "reveal",
    .doc = "Unmasks the most confident positions, until as many masks as said are left.",
    .inputs = reveal_inputs,
    .results = sampler_result_x,
    .result_count = 1,
    .flags = OP_PROCESS | OP_NO_GRAD,
    .rows = ROWS_SEQUENCE,
    .shape = reveal_shape,
    .cost = reveal_cost,
    .reference = reveal_reference,
    .cases = reveal_cases,
};
