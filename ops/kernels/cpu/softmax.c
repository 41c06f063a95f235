/* Kernels of softmax, log_softmax and cross_entropy, a row at a time. */
#include "ops/kernels/attrs.h"
#include "ops/kernels/cpu/softmax_row.h"
#include "ops/kernels/kernel.h"

/* sum_i a_i b_i, or sum_i b_i where A is NULL. */
static double row_dot(const float *a, const float *b, int64_t n)
{
    double total = 0;
    for (int64_t at = 0; at < n; at += SOFTMAX_BLOCK) {
        int64_t end = n < at + SOFTMAX_BLOCK ? n : at + SOFTMAX_BLOCK;
        float sum = 0;
        if (a) {
#pragma omp simd reduction(+ : sum)
            for (int64_t i = at; i < end; i++)
                sum += a[i] * b[i];
        } else {
#pragma omp simd reduction(+ : sum)
            for (int64_t i = at; i < end; i++)
                sum += b[i];
        }
        total += sum;
    }
    return total;
}

/* Rows of the first input, and their length. */
static int64_t rows_of(const struct kernel_call *call, int64_t *n)
{
    const struct tensor *t = &call->in[0];
    *n = t->dim[t->rank - 1];
    return tensor_lead(t, t->rank - 1);
}

static void softmax_row(const float *x, int64_t n, float *y)
{
    double total = row_exp(x, n, row_max(x, n), y);
    row_scale(y, n, (float)(1 / total));
}

static void softmax_run(const struct kernel_call *call)
{
    const float *x = call->in[0].data;
    float *y = call->out[0].data;
    int64_t n, rows = rows_of(call, &n);
#pragma omp parallel for schedule(static) num_threads(call->threads) if (rows * n > 1 << 13)
    for (int64_t r = 0; r < rows; r++)
        softmax_row(x + r * n, n, y + r * n);
}

static void softmax_backward_run(const struct kernel_call *call)
{
    const float *y = call->in[0].data, *dy = call->in[1].data;
    float *dx = call->out[0].data;
    int64_t n, rows = rows_of(call, &n);
#pragma omp parallel for schedule(static) num_threads(call->threads) if (rows * n > 1 << 14)
    for (int64_t r = 0; r < rows; r++) {
        float dot = (float)row_dot(y + r * n, dy + r * n, n);
#pragma omp simd
        for (int64_t i = r * n; i < (r + 1) * n; i++)
            dx[i] = y[i] * (dy[i] - dot);
    }
}

static void log_softmax_run(const struct kernel_call *call)
{
    const float *x = call->in[0].data;
    float *y = call->out[0].data;
    int64_t n, rows = rows_of(call, &n);
#pragma omp parallel for schedule(static) num_threads(call->threads) if (rows * n > 1 << 13)
    for (int64_t r = 0; r < rows; r++) {
        float most = row_max(x + r * n, n);
        float rest = (float)log(row_exp_sum(x + r * n, n, most));
#pragma omp simd
        for (int64_t i = r * n; i < (r + 1) * n; i++)
            y[i] = (x[i] - most) - rest;
    }
}

static void log_softmax_backward_run(const struct kernel_call *call)
{
    const float *y = call->in[0].data, *dy = call->in[1].data;
    float *dx = call->out[0].data;
    int64_t n, rows = rows_of(call, &n);
#pragma omp parallel for schedule(static) num_threads(call->threads) if (rows * n > 1 << 13)
    for (int64_t r = 0; r < rows; r++) {
        float sum = (float)row_dot(NULL, dy + r * n, n);
#pragma omp simd
        for (int64_t i = r * n; i < (r + 1) * n; i++)
            dx[i] = dy[i] - expf(y[i]) * sum;
    }
}

static void entropy_run(const struct kernel_call *call)
{
    const float *x = call->in[0].data;
    const int32_t *target = call->in[1].data;
    double *loss = call->out[0].data, *lse = call->out[1].data;
    int64_t n, rows = rows_of(call, &n);
#pragma omp parallel for schedule(static) num_threads(call->threads) if (rows * n > 1 << 13)
    for (int64_t r = 0; r < rows; r++) {
        float most = row_max(x + r * n, n);
        bool known = target[r] >= 0 && target[r] < n;
        lse[r] = most + log(row_exp_sum(x + r * n, n, most));
        loss[r] = lse[r] - (known ? x[r * n + target[r]] : NAN);
    }
}

/* The exponent is taken from the f32 nearest to lse, and what that left out goes into the factor:
 * x - lse loses no digits that x itself has. */
static void entropy_backward_run(const struct kernel_call *call)
{
    const float *x = call->in[0].data;
    const int32_t *target = call->in[1].data;
    const double *lse = call->in[2].data, *dloss = call->in[3].data;
    float *dx = call->out[0].data;
    int64_t n, rows = rows_of(call, &n);
#pragma omp parallel for schedule(static) num_threads(call->threads) if (rows * n > 1 << 13)
    for (int64_t r = 0; r < rows; r++) {
        float near = (float)lse[r], factor = (float)(dloss[r] * exp(near - lse[r]));
#pragma omp simd
        for (int64_t i = r * n; i < (r + 1) * n; i++)
            dx[i] = factor * expf(x[i] - near);
        if (target[r] >= 0 && target[r] < n)
            dx[r * n + target[r]] -= (float)dloss[r];
    }
}

KERNEL_LIST(softmax) = {
    {"softmax", "f>f", softmax_run},
    {"softmax_backward", "ff>f", softmax_backward_run},
    {"log_softmax", "f>f", log_softmax_run},
    {"log_softmax_backward", "ff>f", log_softmax_backward_run},
    {"cross_entropy", "ft>dd", entropy_run},
    {"cross_entropy", "fi>dd", entropy_run},
    {"cross_entropy_backward", "ftdd>f", entropy_backward_run},
    {"cross_entropy_backward", "fidd>f", entropy_backward_run},
    {0},
};
