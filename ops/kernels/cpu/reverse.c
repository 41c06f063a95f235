/* Reverse steps and their weights; ops/reverse.c says of what. A position is
 * one thread's; its score row is read once for the sums, and a block of it again where it moves. */
#include "ops/kernels/cpu/step_row.h"

#include "ops/kernels/attrs.h"

static double delta_at(const struct kernel_call *call, int64_t row)
{
    double delta = time_at(&call->in[2], row) - time_at(&call->in[3], row);
    return delta > 0 ? delta : 0;
}

/* The times of a step at row ROW; a difference where it has two. */
static double step_time(const struct kernel_call *call, enum draw_step step, int64_t row)
{
    return step == DRAW_TWEEDIE ? delta_at(call, row) : time_at(&call->in[2], row);
}

static bool step_excludes(const struct kernel_call *call, enum draw_step step)
{
    return step == DRAW_TWEEDIE && call->attr[STEP_EXCLUDE].integer == EXCLUDE_MASK;
}

/* Whether the law of a step has exp(-D Q) s in it, which groups of positions make together. */
static bool step_goes_back(enum draw_step step)
{
    return step == DRAW_TWEEDIE || step == DRAW_DENOISE;
}

/* The weights of one position of a table chain, in a row of slot SLOT, in whose group it is number
 * I. */
static const double *step_table(const struct kernel_call *call, enum draw_step step,
                                const struct transition *p, int64_t row, int64_t slot, int i,
                                int32_t x, const float *log_score)
{
    struct table_law law = step_goes_back(step) ? back_law(call, slot, i, log_score, x)
                                                : table_law_at(call, slot, log_score, x);
    switch (step) {
    case DRAW_TWEEDIE:
        table_tweedie(p, x, call->attr[STEP_EXCLUDE].integer == EXCLUDE_MASK, &law);
        break;
    case DRAW_EULER:
        table_euler(call->chain, x, time_at(&call->in[2], row), &law);
        break;
    case DRAW_EULER_LINEAR:
        table_euler_linear(call->chain, x, time_at(&call->in[2], row), &law);
        break;
    default: /* DRAW_DENOISE */
        table_decoder(p, x, &law);
        break;
    }
    return law.weights;
}

/* P of a row where the step needs it: over the step, or all the way to clean data. Rows that follow
 * each other share it where their times are equal. */
static void step_transition(const struct kernel_call *call, enum draw_step step, int64_t row,
                            struct transition *p)
{
    if (step == DRAW_EULER || step == DRAW_EULER_LINEAR)
        return;
    next_transition(call, row, step_time(call, step, row), p);
}

static int32_t table_step_draw(const double *array, const struct chain *chain, int32_t x, double u,
                               double *clamped)
{
    struct weight_row weights = row_of_array(array, chain->states, x);
    struct block_sums sums;
    sum_array(&weights, &sums);
    *clamped = sums.clamped;
    return draw_row(&weights, &sums, u);
}

/* Whether the token of position AT stays what it is, whatever the law. */
static bool step_keeps(const struct kernel_call *call, uint32_t keep, int64_t at)
{
    return position_kept(call, keep, at) ||
           chain_frozen(call->chain, ((const int32_t *)call->in[0].data)[at]);
}

/* The step of position AT of row ROW; WEIGHTS are those of a table chain. Counts are whole numbers,
 * so that threads may add them in any order. */
static void step_one(const struct kernel_call *call, enum draw_step step, uint32_t keep,
                     int64_t row, int64_t at, const double *weights)
{
    const struct chain *chain = call->chain;
    int64_t length = positions_of(&call->in[0]).length;
    const float *log_score = (const float *)call->in[1].data + at * chain->states;
    int32_t x = ((const int32_t *)call->in[0].data)[at], *out = call->out[0].data;
    double clamped = 0, u = uniform_of(call, keep + 1, row, at - row * length, length);
    if (weights)
        out[at] = table_step_draw(weights, chain, x, u, &clamped);
    else
        out[at] = step_draw(chain, step, step_time(call, step, row), step_excludes(call, step), x,
                            log_score, u, &clamped);
    if (call->out_count > 1 && clamped > 0) {
        double *count = (double *)call->out[1].data + row;
#pragma omp atomic
        *count += clamped;
    }
}

/* Positions FIRST .. of row ROW of a table chain, COUNT of them, in slot SLOT: draws, or where KEEP
 * is STEP_WEIGHTS writes the weights themselves. */
#define STEP_WEIGHTS UINT32_MAX
static void step_group(const struct kernel_call *call, enum draw_step step,
                       const struct transition *p, uint32_t keep, int64_t row, int64_t slot,
                       int64_t first, int64_t count)
{
    const int64_t n = call->chain->states;
    const int32_t *x = call->in[0].data;
    const float *log_score = call->in[1].data;
    bool opened = !step_goes_back(step);
    for (int64_t at = first; at < first + count; at++) {
        if (keep != STEP_WEIGHTS && step_keeps(call, keep, at)) {
            ((int32_t *)call->out[0].data)[at] = x[at];
            continue;
        }
        if (!opened)
            back_open(call, p->sigma, slot, x + first, log_score + first * n, count);
        opened = true;
        const double *weights =
            step_table(call, step, p, row, slot, (int)(at - first), x[at], log_score + at * n);
        if (keep == STEP_WEIGHTS)
            memcpy((double *)call->out[0].data + at * n, weights, (size_t)n * sizeof *weights);
        else
            step_one(call, step, keep, row, at, weights);
    }
}

static void table_steps(const struct kernel_call *call, enum draw_step step, uint32_t keep)
{
    struct positions at = positions_of(&call->in[0]);
    struct transition p = {.sigma = 0};
    for (int64_t row = 0; row < at.rows; row++) {
        step_transition(call, step, row, &p);
        const int64_t end = (row + 1) * at.length;
#pragma omp parallel for schedule(static, 1)                                                       \
    num_threads(call->threads) if (at.length * call->chain->states > LAW_PARALLEL)
        for (int64_t slot = 0; slot < ROOM_SLOTS; slot++)
            for (int64_t i = row * at.length + slot * BACK_GROUP; i < end;
                 i += ROOM_SLOTS * BACK_GROUP)
                step_group(call, step, &p, keep, row, slot, i,
                           end - i < BACK_GROUP ? end - i : BACK_GROUP);
    }
}

static void step_all(const struct kernel_call *call, enum draw_step step, uint32_t keep)
{
    const struct chain *chain = call->chain;
    struct positions at = positions_of(&call->in[0]);
    for (int64_t row = 0; call->out_count > 1 && row < at.rows; row++)
        ((double *)call->out[1].data)[row] = 0;
    if (chain->kind == CHAIN_TABLE) {
        table_steps(call, step, keep);
        return;
    }
    const int32_t *x = call->in[0].data;
    int32_t *out = call->out[0].data;
#pragma omp parallel for schedule(static)                                                          \
    num_threads(call->threads) if (at.count * chain->states > LAW_PARALLEL)
    for (int64_t p = 0; p < at.count; p++) {
        if (step_keeps(call, keep, p))
            out[p] = x[p];
        else
            step_one(call, step, keep, p / at.length, p, NULL);
    }
}

static void tweedie(const struct kernel_call *call)
{
    step_all(call, DRAW_TWEEDIE, 4);
}

static void euler(const struct kernel_call *call)
{
    step_all(call, DRAW_EULER, 3);
}

static void euler_linear(const struct kernel_call *call)
{
    step_all(call, DRAW_EULER_LINEAR, 3);
}

static void denoise(const struct kernel_call *call)
{
    step_all(call, DRAW_DENOISE, 3);
}

/* Weights before clamping, times FACTOR. */
static void raw_weights(const struct chain_law *law, const float *log_score, int64_t states,
                        double factor, double *out)
{
    double scale = factor * law->scale, shift = factor * law->shift;
    const double closed = law->closed ? 0 : -INFINITY;
#pragma omp simd
    for (int64_t y = 0; y < states; y++) {
        double score = exp((double)log_score[y]);
        out[y] = scale * score + (score > closed ? shift : 0);
    }
    out[law->at] = factor * law->at_weight;
    if (law->mask >= 0)
        out[law->mask] = factor * law->mask_weight;
}

static void flat_weights(const struct kernel_call *call, enum draw_step step, struct positions at)
{
    const struct chain *chain = call->chain;
    const int32_t *x = call->in[0].data;
    const float *log_score = call->in[1].data;
    double *out = call->out[0].data;
    int64_t states = chain->states;
#pragma omp parallel for schedule(static)                                                          \
    num_threads(call->threads) if (at.count * states > LAW_PARALLEL)
    for (int64_t p = 0; p < at.count; p++) {
        int64_t row = p / at.length;
        struct block_sums sums;
        struct weight_row weights =
            row_of_law(log_score + p * states, chain->tokens, law_at_each(chain, x[p]));
        struct chain_law law =
            step_law(chain, step, step_time(call, step, row), step_excludes(call, step), x[p],
                     sum_scores(&weights, &sums));
        double factor =
            step == DRAW_TWEEDIE ? exp(transition_back_rate(chain) * delta_at(call, row)) : 1;
        raw_weights(&law, log_score + p * states, states, factor, out + p * states);
    }
}

static void weights_all(const struct kernel_call *call, enum draw_step step)
{
    if (call->chain->kind == CHAIN_FLAT)
        flat_weights(call, step, positions_of(&call->in[0]));
    else
        table_steps(call, step, STEP_WEIGHTS);
}

static void tweedie_weights(const struct kernel_call *call)
{
    weights_all(call, DRAW_TWEEDIE);
}

static void euler_weights(const struct kernel_call *call)
{
    weights_all(call, DRAW_EULER_LINEAR);
}

KERNEL_LIST(reverse) = {
    {"tweedie", "tfdd**>td", tweedie},
    {"tweedie_weights", "tfdd>d", tweedie_weights},
    {"euler", "tfd**>t", euler},
    {"euler_linear", "tfd**>td", euler_linear},
    {"euler_weights", "tfd>d", euler_weights},
    {"denoise", "tfd**>t", denoise},
    {0},
};
