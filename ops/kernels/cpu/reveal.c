/* Unmasking by other rules than the reverse process; ops/reveal.c says which. */
#include "ops/kernels/attrs.h"
#include "ops/kernels/cpu/step_row.h"

/* P at both ends of a step of row ROW, by inputs FIRST and the next. */
static struct step_transitions ends_of(const struct kernel_call *call, uint32_t first, int64_t row)
{
    double from = time_at(&call->in[first], row), to = time_at(&call->in[first + 1], row);
    return (struct step_transitions){.t = transition_flat(call->chain, from),
                                     .s = transition_flat(call->chain, to < from ? to : from)};
}

static void remask(const struct kernel_call *call)
{
    struct positions at = positions_of(&call->in[0]);
    const int64_t states = call->chain->states;
    const int32_t *x = call->in[0].data;
    int32_t *out = call->out[0].data;
#pragma omp parallel for schedule(static)                                                          \
    num_threads(call->threads) if (at.count * states > LAW_PARALLEL)
    for (int64_t p = 0; p < at.count; p++) {
        int64_t row = p / at.length;
        const float *log_p = (const float *)call->in[1].data + p * states;
        struct step_transitions step = ends_of(call, 2, row);
        double u = uniform_of(call, 6, row, p % at.length, at.length);
        out[p] = position_kept(call, 5, p)
                     ? x[p]
                     : remask_draw(log_p, &step, x[p], time_at(&call->in[4], row), u);
    }
}

static void mask_again(const struct kernel_call *call)
{
    struct positions at = positions_of(&call->in[0]);
    const int32_t *x = call->in[0].data, mask = call->chain->mask;
    int32_t *out = call->out[0].data;
#pragma omp parallel for schedule(static) num_threads(call->threads) if (at.count > DRAW_PARALLEL)
    for (int64_t p = 0; p < at.count; p++) {
        int64_t row = p / at.length;
        struct step_transitions step = ends_of(call, 1, row);
        double u = uniform_of(call, 5, row, p % at.length, at.length);
        out[p] = position_kept(call, 4, p) || x[p] == mask
                     ? x[p]
                     : remask_draw(NULL, &step, x[p], time_at(&call->in[3], row), u);
    }
}

/* The largest and the second of N numbers. */
static void two_largest(const float *row, int64_t n, double *most, double *second)
{
    *most = *second = -INFINITY;
    for (int64_t i = 0; i < n; i++) {
        double at = (double)row[i];
        if (at > *most) {
            *second = *most;
            *most = at;
        } else if (at > *second) {
            *second = at;
        }
    }
}

static double negative_entropy(const float *row, int64_t n)
{
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++) {
        double at = (double)row[i];
        sum += exp(at) * (at > -1e4 ? at : 0); /* exp is 0 there */
    }
    return sum;
}

static double confidence_at(const struct kernel_call *call, int64_t p, int64_t length)
{
    const int32_t tokens = call->chain->tokens;
    const float *row = (const float *)call->in[1].data + p * call->chain->states;
    double most, second;
    switch (call->attr[CONFIDENCE_BY].integer) {
    case BY_ENTROPY:
        return negative_entropy(row, tokens);
    case BY_MARGIN:
        two_largest(row, tokens, &most, &second);
        return exp(most) - exp(second);
    case BY_RANDOM:
        return uniform_of(call, 3, p / length, p % length, length);
    }
    if (call_has(call, 2)) {
        int32_t y = ((const int32_t *)call->in[2].data)[p];
        return y >= 0 && y < tokens ? (double)row[y] : -INFINITY;
    }
    two_largest(row, tokens, &most, &second);
    return most;
}

static void confidence(const struct kernel_call *call)
{
    struct positions at = positions_of(&call->in[0]);
    const int32_t *x = call->in[0].data, mask = call->chain->mask;
    double *out = call->out[0].data;
#pragma omp parallel for schedule(static)                                                          \
    num_threads(call->threads) if (at.count * call->chain->states > LAW_PARALLEL)
    for (int64_t p = 0; p < at.count; p++)
        out[p] = x[p] == mask ? confidence_at(call, p, at.length) : -INFINITY;
}

/* Whether position I of a row is among the SHOWN masks of most confidence. */
static bool is_shown(const int32_t *x, const double *sure, int64_t length, int32_t mask, int64_t i,
                     double shown)
{
    int64_t before = 0;
    for (int64_t j = 0; j < length; j++)
        before += x[j] == mask && (sure[j] > sure[i] || (sure[j] == sure[i] && j < i));
    return (double)before < shown;
}

static void reveal(const struct kernel_call *call)
{
    struct positions at = positions_of(&call->in[0]);
    const int32_t *x = call->in[0].data, *y = call->in[1].data, mask = call->chain->mask;
    const double *sure = call->in[2].data;
    int32_t *out = call->out[0].data;
    for (int64_t row = 0; row < at.rows; row++) {
        int64_t first = row * at.length, masks = 0;
        for (int64_t p = first; p < first + at.length; p++)
            masks += x[p] == mask;
        double shown = (double)masks - floor(time_at(&call->in[3], row) + 0.5);
        for (int64_t i = 0; i < at.length; i++) {
            bool shows = x[first + i] == mask &&
                         is_shown(x + first, sure + first, at.length, mask, i, shown);
            out[first + i] = shows ? y[first + i] : x[first + i];
        }
    }
}

KERNEL_LIST(reveal) = {
    {"remask", "tfddd**>t", remask},
    {"mask_again", "tddd**>t", mask_again},
    {"confidence", "tf**>d", confidence},
    {"reveal", "ttdd>t", reveal},
    {0},
};
