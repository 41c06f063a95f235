/* The log law of the clean token, and its gradient. Shapes and mathematics: ops/head.c. Sums over
 * states are in double; each row is one thread's. */
#include "ops/kernels/cpu/law_row.h"

/* Position K, by the P of its row. */
static void output_at(const struct kernel_call *call, const struct transition *p, int64_t k)
{
    const int64_t n = call->chain->states;
    const float *raw = call->in[0].data;
    law_output_row(p, ((const int32_t *)call->in[1].data)[k], raw + k * n,
                   (float *)call->out[0].data + k * n);
}

/* All positions are alike, so that many rows of one position are work for all threads. */
static void x0_output_flat(const struct kernel_call *call, struct positions at)
{
#pragma omp parallel for schedule(static)                                                          \
    num_threads(call->threads) if (at.count * call->chain->states > LAW_PARALLEL)
    for (int64_t k = 0; k < at.count; k++) {
        struct transition p = transition_flat(call->chain, time_at(&call->in[2], k / at.length));
        output_at(call, &p, k);
    }
}

static void x0_output_table(const struct kernel_call *call, struct positions at)
{
    struct transition p = {.sigma = -1};
    for (int64_t row = 0; row < at.rows; row++) {
        next_transition(call, row, time_at(&call->in[2], row), &p);
#pragma omp parallel for schedule(static)                                                          \
    num_threads(call->threads) if (at.length * call->chain->states > LAW_PARALLEL)
        for (int64_t k = row * at.length; k < (row + 1) * at.length; k++)
            output_at(call, &p, k);
    }
}

static void x0_output(const struct kernel_call *call)
{
    struct positions at = positions_of(&call->in[1]);
    if (call->chain->kind == CHAIN_FLAT)
        x0_output_flat(call, at);
    else
        x0_output_table(call, at);
}

static void cavity_output(const struct kernel_call *call)
{
    const float *raw = call->in[0].data;
    float *out = call->out[0].data;
    const int64_t n = call->chain->states, rows = tensor_size(&call->in[0]) / n;
#pragma omp parallel for schedule(static) num_threads(call->threads) if (rows * n > LAW_PARALLEL)
    for (int64_t r = 0; r < rows; r++)
        law_normalise(call->chain, raw + r * n, out + r * n);
}

static void x0_output_backward(const struct kernel_call *call)
{
    const float *log_p = call->in[0].data, *dlog_p = call->in[1].data;
    float *out = call->out[0].data;
    const int64_t n = call->in[0].dim[call->in[0].rank - 1];
    const int64_t rows = n ? tensor_size(&call->in[0]) / n : 0;
#pragma omp parallel for schedule(static) num_threads(call->threads) if (rows * n > LAW_PARALLEL)
    for (int64_t r = 0; r < rows; r++) {
        const float *row = log_p + r * n, *g = dlog_p + r * n;
        double sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int64_t y = 0; y < n; y++)
            sum += row[y] > -INFINITY ? (double)g[y] : 0.0;
#pragma omp simd
        for (int64_t y = 0; y < n; y++) {
            double slope = (double)g[y] - exp((double)row[y]) * sum;
            out[r * n + y] = row[y] > -INFINITY ? (float)slope : 0.0f;
        }
    }
}

KERNEL_LIST(head) = {
    {"x0_output", "ftd>f", x0_output},
    {"score_posterior", "ftd>f", x0_output},
    {"cavity_output", "f>f", cavity_output},
    {"x0_output_backward", "ff>f", x0_output_backward},
    {0},
};
