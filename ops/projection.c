/* The projection of a score to what some law of the clean token could have. */
#include "ops/kernels/projection.h"
#include "ops/chain.h"
#include "ops/ops.h"
#include "ops/rules.h"

#include "graph/base/check.h"

#include <stdlib.h>

static const char *const result_log_score[] = {"log_score", NULL};

/* project_score: the nearest score (in the divergence that score entropy is) that some law over x0
 * could have, so that the loss against any true score never grows.
 *   a mask    scaled so that the total reverse rate is one that some x0 has, under absorption and
 *             in all flat chains the same for all: there the tokens sum to a known number, absorb:
 *             1 / E. Then, in table chains:
 *   else      each entry clipped to the least and the largest of P[y][x0] / P[x][x0] over x0
 *             (uniform: r and 1/r); where the total reverse rate sum Q[x][y] s_y is above the
 *             largest that one x0 has (uniform: (1/r + N - 2) / N), scaled down to it, entries that
 *             come to their least staying there
 * Under a process that says `project: off` scores stay as they are. */
static const struct op_input project_score_inputs[] = {
    {"log_score", IN_F32, 0, "f32 [rows, length, states]: log scores at x", DOMAIN_LOG_SCORE},
    {"x", IN_TOKEN, 0, "token [rows, length]: noisy tokens", DOMAIN_ANY},
    {"sigma", IN_F64, INPUT_SEQUENCE, "f64 [rows] or []: total noise", DOMAIN_POSITIVE},
    {0},
};

static void project_masked(const struct transition *p, double *row)
{
    double most = -INFINITY, sum = 0;
    for (int32_t y = 0; y < p->chain->tokens; y++)
        most = fmax(most, row[y]);
    for (int32_t y = 0; y < p->chain->tokens; y++)
        sum += exp(row[y] - most);
    for (int32_t y = 0; y < p->chain->tokens; y++)
        row[y] -= most + log(sum) - transition_log_unmasked(p);
}

/* The factor C for which the sum over y != x of q_y max(C s_y, low_y) is LIMIT, of entries with a
 * rate q_y: the set of entries at their least only grows from one round to the next. */
static double scale_to_limit(const double *score, const double *rate, const double *low,
                             int32_t count, double limit)
{
    double factor = 1, before;
    do {
        double free_sum = 0, fixed_sum = 0;
        for (int32_t y = 0; y < count; y++)
            if (factor * score[y] < low[y])
                fixed_sum += rate[y] * low[y];
            else
                free_sum += rate[y] * score[y];
        before = factor;
        factor = free_sum > 0 ? fmin(before, (limit - fixed_sum) / free_sum) : before;
    } while (factor < before * (1 - 1e-12));
    return factor;
}

/* The total rate of the reverse jumps from X by the score of one X0. */
static double total_rate(const struct transition *p, int32_t x, int32_t x0)
{
    double total = 0;
    for (int32_t y = 0; y < p->chain->states; y++)
        if (y != x)
            total += chain_rate(p->chain, x, y) * transition_at(p, y, x0) / transition_at(p, x, x0);
    return total;
}

/* Limits over the x0 that can lead to X, by their definition; LOW, RATE: room for the states. */
static void project_limited(const struct transition *p, int32_t x, double *row, double *low,
                            double *rate)
{
    const struct chain *chain = p->chain;
    double most = 0, least = INFINITY, total = 0, scale = 1, largest = -INFINITY;
    for (int32_t x0 = 0; x0 < chain->tokens; x0++) {
        if (!(transition_at(p, x, x0) > 0))
            continue;
        most = fmax(most, total_rate(p, x, x0));
        least = fmin(least, total_rate(p, x, x0));
    }
    for (int32_t y = 0; y < chain->states; y++) {
        rate[y] = y == x ? 0 : chain_rate(chain, x, y);
        largest = rate[y] > 0 ? fmax(largest, row[y]) : largest;
    }
    for (int32_t y = 0; y < chain->states; y++) {
        row[y] -= x == chain->mask ? table_shift(largest) : 0;
        total += rate[y] > 0 ? rate[y] * exp(row[y]) : 0;
    }
    if (x == chain->mask)
        scale = fmax(least, fmin(total, most)) / total;
    for (int32_t y = 0; y < chain->states; y++) {
        double high = 0;
        low[y] = INFINITY;
        for (int32_t x0 = 0; x0 < chain->tokens; x0++) {
            if (!(transition_at(p, x, x0) > 0))
                continue;
            double ratio = transition_at(p, y, x0) / transition_at(p, x, x0);
            low[y] = fmin(low[y], ratio);
            high = fmax(high, ratio);
        }
        low[y] = isfinite(low[y]) ? low[y] : 0;
        row[y] = fmax(low[y], fmin((rate[y] > 0 ? scale : 1) * exp(row[y]), high));
    }
    double factor = scale_to_limit(row, rate, low, chain->states, most);
    for (int32_t y = 0; y < chain->states; y++)
        row[y] = log(rate[y] > 0 ? fmax(factor * row[y], low[y]) : row[y]);
}

/* Whether any state jumps to X: else no score at X is ever used. */
static bool is_entered(const struct chain *chain, int32_t x)
{
    for (int32_t y = 0; y < chain->states; y++)
        if (y != x && chain_rate(chain, x, y) > 0)
            return true;
    return false;
}

static void project_score_reference(const struct ref_call *call)
{
    const struct chain *chain = call->chain;
    struct chain_walk walk = ref_walk(&call->in[1]);
    int32_t states = chain->states;
    double *rows = calloc(2 * (size_t)states, sizeof *rows);
    void *room = ref_room(call);
    BUG_ON(!rows);
    for (int64_t p = 0; p < walk.rows * walk.length; p++) {
        struct transition at =
            transition_make(chain, ref_time(&call->in[2], p / walk.length), NULL, 0, room, 1);
        int32_t x = (int32_t)call->in[1].data[p];
        double *row = call->out[0].data + p * states;
        for (int32_t y = 0; y < states; y++)
            row[y] = call->in[0].data[p * states + y];
        if (chain->raw)
            continue;
        if (chain->kind == CHAIN_FLAT && x == chain->mask)
            project_masked(&at, row);
        else if (is_entered(chain, x))
            project_limited(&at, x, row, rows, rows + states);
        row[x] = 0;
    }
    free(rows);
    free(room);
}

static bool project_score_shape(struct op_call *call)
{
    call->out[0] = call->in[0];
    return chain_expect_tokens(call, 1, 1) && chain_expect_scores(call, 0, 1) &&
           chain_expect_times(call, 2, 1);
}

static void project_score_cost(const struct op_call *call, struct op_cost *out)
{
    chain_cost(call, 60, out); /* two or three passes with an exponential */
}

static const struct op_case project_score_cases[] = {
    {"f32[2,3,6] token[2,3] f64[2]", NULL, "absorb 5"},
    {"f32[1,7,4] token[1,7] f64[]", NULL, "absorb 3"},
    {"f32[3,5,7] token[3,5] f64[3]", NULL, "uniform 7"},
    {"f32[2,11,2] token[2,11] f64[2]", NULL, "uniform 2"},
    {"f32[2,3,5] token[2,3] f64[2]", NULL, "raw uniform 5"},
    {"f32[2,3,5] token[2,3] f64[2]", NULL, "raw table 5 0 3"},
    {"f32[2,5,5] token[2,5] f64[2]", NULL, "mix 4 0.7 0.3 0"},
    {"f32[2,7,4] token[2,7] f64[]", NULL, "mix 3 0.6 0.5 0.5"},
    {"f32[2,5,5] token[2,5] f64[2]", NULL, "band 5 1"},
    {"f32[3,7,5] token[3,7] f64[]", NULL, "table 4 1 3"},
    {0},
};

const struct op op_project_score = {
    .name = "project_score",
    .doc = "Moves log scores to the nearest ones that some law over clean tokens could have.",
    .inputs = project_score_inputs,
    .results = result_log_score,
    .result_count = 1,
    .flags = OP_PROCESS | OP_NO_GRAD,
    .rows = ROWS_POSITION,
    .shape = project_score_shape,
    .cost = project_score_cost,
    .inplace = 1,
    .workspace = chain_workspace,
    .reference = project_score_reference,
    .cases = project_score_cases,
};
