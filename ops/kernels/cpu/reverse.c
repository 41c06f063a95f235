/* Reverse steps and their weights; ops/reverse.c says of what. A position is
 * one thread's; its score row is read once for the sums, and a block of it again where it moves. */
#include "ops/kernels/cpu/law.h"

#include "ops/kernels/attrs.h"

enum step { STEP_TWEEDIE, STEP_EULER, STEP_EULER_LINEAR, STEP_DENOISE };

static double delta_at(const struct kernel_call *call, int64_t row)
{
    double delta = time_at(&call->in[2], row) - time_at(&call->in[3], row);
    return delta > 0 ? delta : 0;
}

static struct chain_law step_law(const struct kernel_call *call, enum step step, int64_t row,
                                 int32_t x, struct score_sums sums)
{
    const struct chain *chain = call->chain;
    switch (step) {
    case STEP_TWEEDIE:
        return law_tweedie(chain, x, delta_at(call, row), sums,
                           call->attr[STEP_EXCLUDE].integer == EXCLUDE_MASK);
    case STEP_EULER:
        return law_euler(chain, x, time_at(&call->in[2], row), sums);
    case STEP_EULER_LINEAR:
        return law_euler_linear(chain, x, time_at(&call->in[2], row), sums);
    case STEP_DENOISE:
        break;
    }
    return law_decoder(chain, x, time_at(&call->in[2], row), sums);
}

/* The weights of one position of a table chain, in a row of slot SLOT. */
static const double *step_table(const struct kernel_call *call, enum step step,
                                const struct transition *p, int64_t row, int64_t slot, int32_t x,
                                const float *log_score)
{
    struct table_law law = table_law_at(call, slot, log_score, x);
    switch (step) {
    case STEP_TWEEDIE:
        table_tweedie(p, x, p->sigma, call->attr[STEP_EXCLUDE].integer == EXCLUDE_MASK, &law);
        break;
    case STEP_EULER:
        table_euler(call->chain, x, time_at(&call->in[2], row), &law);
        break;
    case STEP_EULER_LINEAR:
        table_euler_linear(call->chain, x, time_at(&call->in[2], row), &law);
        break;
    case STEP_DENOISE:
        table_decoder(p, x, &law);
        break;
    }
    return law.weights;
}

/* P of a row where the step needs it: over the step, or all the way to clean data. Rows that follow
 * each other share it where their times are equal. */
static void step_transition(const struct kernel_call *call, enum step step, int64_t row,
                            struct transition *p)
{
    if (step == STEP_EULER || step == STEP_EULER_LINEAR)
        return;
    double time = step == STEP_TWEEDIE ? delta_at(call, row) : time_at(&call->in[2], row);
    next_transition(call, row, time, p);
}

static int32_t step_draw(const struct kernel_call *call, enum step step, int64_t row, int32_t x,
                         const float *log_score, double u, double *clamped)
{
    const struct chain *chain = call->chain;
    struct weight_row weights = row_of_law(log_score, chain->tokens, law_at_each(chain, x));
    struct block_sums sums;
    struct score_sums scores = sum_scores(&weights, &sums);
    weights.law = step_law(call, step, row, x, scores);
    sums_to_weights(&weights, &sums);
    if (step == STEP_DENOISE)
        make_positive(chain, time_at(&call->in[2], row), scores.others, &weights, &sums);
    *clamped = sums.clamped;
    return draw_row(&weights, &sums, u);
}

static int32_t table_step_draw(const struct kernel_call *call, enum step step,
                               const struct transition *p, int64_t row, int64_t slot, int32_t x,
                               const float *log_score, double u, double *clamped)
{
    const double *array = step_table(call, step, p, row, slot, x, log_score);
    struct weight_row weights = row_of_array(array, call->chain->states, x);
    struct block_sums sums;
    sum_array(&weights, &sums);
    *clamped = sums.clamped;
    return draw_row(&weights, &sums, u);
}

/* The step of one position. Counts are whole numbers, so that threads may add them in any order. */
static void step_one(const struct kernel_call *call, enum step step, const struct transition *p,
                     uint32_t keep, int64_t row, int64_t i, int64_t slot)
{
    const struct chain *chain = call->chain;
    int64_t length = positions_of(&call->in[0]).length, at = row * length + i;
    const float *log_score = (const float *)call->in[1].data + at * chain->states;
    int32_t x = ((const int32_t *)call->in[0].data)[at], *out = call->out[0].data;
    double clamped = 0;
    out[at] = x;
    if (position_kept(call, keep, at) || chain_frozen(chain, x))
        return;
    double u = uniform_of(call, keep + 1, row, i, length);
    if (chain->kind == CHAIN_TABLE)
        out[at] = table_step_draw(call, step, p, row, slot, x, log_score, u, &clamped);
    else
        out[at] = step_draw(call, step, row, x, log_score, u, &clamped);
    if (call->out_count > 1 && clamped > 0) {
        double *count = (double *)call->out[1].data + row;
#pragma omp atomic
        *count += clamped;
    }
}

static void step_all(const struct kernel_call *call, enum step step, uint32_t keep)
{
    const struct chain *chain = call->chain;
    struct positions at = positions_of(&call->in[0]);
    for (int64_t row = 0; call->out_count > 1 && row < at.rows; row++)
        ((double *)call->out[1].data)[row] = 0;
    if (chain->kind == CHAIN_FLAT) {
#pragma omp parallel for schedule(static)                                                          \
    num_threads(call->threads) if (at.count * chain->states > LAW_PARALLEL)
        for (int64_t p = 0; p < at.count; p++)
            step_one(call, step, NULL, keep, p / at.length, p % at.length, 0);
        return;
    }
    struct transition p = {.sigma = 0};
    for (int64_t row = 0; row < at.rows; row++) {
        step_transition(call, step, row, &p);
#pragma omp parallel for schedule(static)                                                          \
    num_threads(call->threads) if (at.length * chain->states > LAW_PARALLEL)
        for (int64_t slot = 0; slot < ROOM_SLOTS; slot++)
            for (int64_t i = slot; i < at.length; i += ROOM_SLOTS)
                step_one(call, step, &p, keep, row, i, slot);
    }
}

static void tweedie(const struct kernel_call *call)
{
    step_all(call, STEP_TWEEDIE, 4);
}

static void euler(const struct kernel_call *call)
{
    step_all(call, STEP_EULER, 3);
}

static void euler_linear(const struct kernel_call *call)
{
    step_all(call, STEP_EULER_LINEAR, 3);
}

static void denoise(const struct kernel_call *call)
{
    step_all(call, STEP_DENOISE, 3);
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

static void flat_weights(const struct kernel_call *call, enum step step, struct positions at)
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
        struct chain_law law = step_law(call, step, row, x[p], sum_scores(&weights, &sums));
        double factor =
            step == STEP_TWEEDIE ? exp(transition_back_rate(chain) * delta_at(call, row)) : 1;
        raw_weights(&law, log_score + p * states, states, factor, out + p * states);
    }
}

static void weights_all(const struct kernel_call *call, enum step step)
{
    const struct chain *chain = call->chain;
    const int32_t *x = call->in[0].data;
    const float *log_score = call->in[1].data;
    double *out = call->out[0].data;
    struct positions at = positions_of(&call->in[0]);
    int64_t states = chain->states;
    if (chain->kind == CHAIN_FLAT) {
        flat_weights(call, step, at);
        return;
    }
    struct transition p = {.sigma = 0};
    for (int64_t row = 0; row < at.rows; row++) {
        step_transition(call, step, row, &p);
#pragma omp parallel for schedule(static)                                                          \
    num_threads(call->threads) if (at.length * states > LAW_PARALLEL)
        for (int64_t slot = 0; slot < ROOM_SLOTS; slot++)
            for (int64_t i = row * at.length + slot; i < (row + 1) * at.length; i += ROOM_SLOTS)
                memcpy(out + i * states,
                       step_table(call, step, &p, row, slot, x[i], log_score + i * states),
                       (size_t)states * sizeof *out);
    }
}

static void tweedie_weights(const struct kernel_call *call)
{
    weights_all(call, STEP_TWEEDIE);
}

static void euler_weights(const struct kernel_call *call)
{
    weights_all(call, STEP_EULER_LINEAR);
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
