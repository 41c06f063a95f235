/* Reverse steps, their weights, and categorical draws; ops/reverse.c says of what. A position is
 * one thread's; its score row is read once for the sums, and a block of it again for the draw. */
#include "ops/kernels/cpu/law.h"

#include "ops/kernels/attrs.h"

enum step { STEP_TWEEDIE, STEP_EULER, STEP_EULER_LINEAR, STEP_DENOISE };

static double delta_at(const struct kernel_call *call, int64_t row)
{
    double delta = time_at(&call->in[2], row) - time_at(&call->in[3], row);
    return delta > 0 ? delta : 0;
}

static struct chain_law step_law(const struct kernel_call *call, enum step step, int64_t row,
                                 int32_t x, double others)
{
    const struct chain *chain = call->chain;
    switch (step) {
    case STEP_TWEEDIE:
        return law_tweedie(chain, x, delta_at(call, row), others,
                           call->attr[STEP_EXCLUDE].integer == EXCLUDE_MASK);
    case STEP_EULER:
        return law_euler(chain, x, time_at(&call->in[2], row), others);
    case STEP_EULER_LINEAR:
        return law_euler_linear(chain, x, time_at(&call->in[2], row), others);
    case STEP_DENOISE:
        break;
    }
    return law_decoder(chain, x, time_at(&call->in[2], row), others);
}

static int64_t step_draw(const struct kernel_call *call, enum step step, int64_t row, int32_t x,
                         const float *log_score, double u)
{
    const struct chain *chain = call->chain;
    struct block_sums sums;
    sum_scores(chain, log_score, x, &sums);
    double others = sums.total;
    struct weight_row weights = {.count = chain->states, .log_score = log_score};
    weights.law = step_law(call, step, row, x, others);
    sums_to_weights(&weights, &sums);
    if (step == STEP_DENOISE)
        make_positive(chain, time_at(&call->in[2], row), others, &weights, &sums);
    return draw_weights(&weights, &sums, u, x);
}

static void step_all(const struct kernel_call *call, enum step step, uint32_t keep_input)
{
    const struct chain *chain = call->chain;
    const int32_t *x = call->in[0].data;
    const float *log_score = call->in[1].data;
    const uint8_t *keep = call_has(call, keep_input) ? call->in[keep_input].data : NULL;
    int32_t *out = call->out[0].data;
    struct positions at = positions_of(&call->in[0]);
#pragma omp parallel for schedule(static)                                                          \
    num_threads(call->threads) if (at.count * chain->states > LAW_PARALLEL)
    for (int64_t p = 0; p < at.count; p++) {
        int64_t row = p / at.length;
        int32_t from = x[p];
        if ((keep && keep[p]) || chain_frozen(chain, from))
            out[p] = from;
        else
            out[p] = (int32_t)step_draw(call, step, row, from, log_score + p * chain->states,
                                        uniform_at(call, row, p % at.length));
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
#pragma omp simd
    for (int64_t y = 0; y < states; y++)
        out[y] = scale * exp((double)log_score[y]) + shift;
    out[law->at] = factor * law->at_weight;
}

static void weights_all(const struct kernel_call *call, enum step step)
{
    const struct chain *chain = call->chain;
    const int32_t *x = call->in[0].data;
    const float *log_score = call->in[1].data;
    double *out = call->out[0].data;
    struct positions at = positions_of(&call->in[0]);
    int64_t states = chain->states;
#pragma omp parallel for schedule(static)                                                          \
    num_threads(call->threads) if (at.count * states > LAW_PARALLEL)
    for (int64_t p = 0; p < at.count; p++) {
        int64_t row = p / at.length;
        struct block_sums sums;
        sum_scores(chain, log_score + p * states, x[p], &sums);
        struct chain_law law = step_law(call, step, row, x[p], sums.total);
        double factor = step == STEP_TWEEDIE ? exp(delta_at(call, row)) : 1;
        raw_weights(&law, log_score + p * states, states, factor, out + p * states);
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

static void categorical(const struct kernel_call *call)
{
    const struct tensor *in = &call->in[0];
    int32_t *out = call->out[0].data;
    struct positions at = positions_of(&call->out[0]);
    int64_t count = in->dim[in->rank - 1];
#pragma omp parallel for schedule(static)                                                          \
    num_threads(call->threads) if (at.count * count > LAW_PARALLEL)
    for (int64_t p = 0; p < at.count; p++) {
        struct weight_row weights = {.count = count};
        if (in->dtype == DT_F32)
            weights.f32 = (const float *)in->data + p * count;
        else
            weights.f64 = (const double *)in->data + p * count;
        struct block_sums sums;
        sum_weights(&weights, &sums);
        out[p] = (int32_t)draw_weights(&weights, &sums,
                                       uniform_at(call, p / at.length, p % at.length), 0);
    }
}

KERNEL_LIST(reverse) = {
    {"tweedie", "tfdd*>t", tweedie},
    {"tweedie_weights", "tfdd>d", tweedie_weights},
    {"euler", "tfd*>t", euler},
    {"euler_linear", "tfd*>t", euler_linear},
    {"euler_weights", "tfd>d", euler_weights},
    {"denoise", "tfd*>t", denoise},
    {"categorical", "f>t", categorical},
    {"categorical", "d>t", categorical},
    {0},
};
