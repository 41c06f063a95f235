/* The log law of the clean token, and its gradient. Shapes and mathematics: ops/head.c. Sums over
 * states are in double; each row is one thread's. */
#include "ops/kernels/cpu/law.h"
#include "ops/kernels/transition.h"

/* Minus log sum exp over N entries. */
static double row_shift(const float *row, int64_t n)
{
    double sum = 0;
    float most = -INFINITY;
#pragma omp simd reduction(max : most)
    for (int64_t y = 0; y < n; y++)
        most = row[y] > most ? row[y] : most;
#pragma omp simd reduction(+ : sum)
    for (int64_t y = 0; y < n; y++)
        sum += exp((double)row[y] - (double)most);
    return -((double)most + log(sum));
}

/* Over all tokens. */
static void normalise_tokens(const struct chain *chain, const float *row, float *out)
{
    double shift = row_shift(row, chain->tokens);
#pragma omp simd
    for (int32_t y = 0; y < chain->tokens; y++)
        out[y] = (float)((double)row[y] + shift);
    if (chain->mask >= 0)
        out[chain->mask] = -INFINITY;
}

/* Over the tokens that P can take to X. */
static void normalise_support(const struct transition *p, int32_t x, const float *row, float *out)
{
    const struct chain *chain = p->chain;
    for (int32_t y = 0; y < chain->tokens; y++)
        out[y] = transition_at(p, x, y) > 0 ? row[y] : -INFINITY;
    normalise_tokens(chain, out, out);
}

static void output_row(const struct transition *p, int32_t x, const float *row, float *out)
{
    const struct chain *chain = p->chain;
    bool all = chain->kind == CHAIN_FLAT && (x == chain->mask ? p->masked > 0 : p->other > 0);
    if (all)
        normalise_tokens(chain, row, out);
    else
        normalise_support(p, x, row, out);
}

/* Position K, by the P of its row. */
static void output_at(const struct kernel_call *call, const struct transition *p, int64_t k)
{
    const int64_t n = call->chain->states;
    const float *raw = call->in[0].data;
    output_row(p, ((const int32_t *)call->in[1].data)[k], raw + k * n,
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
        normalise_tokens(call->chain, raw + r * n, out + r * n);
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
