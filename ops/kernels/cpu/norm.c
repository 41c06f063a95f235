/* Kernels of layer_norm: a row at a time, read from memory once and kept in the cache. */
#include "ops/kernels/attrs.h"
#include "ops/kernels/cpu/vector.h"
#include "ops/kernels/kernel.h"

static void norm_row(const float *x, const float *weight, const float *bias, int64_t n, double eps,
                     float *y, float *mean, float *rstd)
{
    float sum = 0, square = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++)
        sum += x[i];
    float m = sum / (float)n;
#pragma omp simd reduction(+ : square)
    for (int64_t i = 0; i < n; i++)
        square += (x[i] - m) * (x[i] - m);
    float s = (float)(1 / sqrt(square / (double)n + eps));
    if (bias) {
#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            y[i] = (x[i] - m) * s * weight[i] + bias[i];
    } else {
#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            y[i] = (x[i] - m) * s * weight[i];
    }
    *mean = m;
    *rstd = s;
}

static void norm_run(const struct kernel_call *call)
{
    const struct tensor *t = &call->in[0];
    const float *x = t->data, *weight = call->in[1].data;
    const float *bias = call->in_count > 2 ? call->in[2].data : NULL;
    float *y = call->out[0].data, *mean = call->out[1].data, *rstd = call->out[2].data;
    int64_t n = t->dim[t->rank - 1], rows = tensor_lead(t, t->rank - 1);
    double eps = call->attr[NORM_EPS].real;
#pragma omp parallel for schedule(static) num_threads(call->threads) if (rows * n > 1 << 14)
    for (int64_t r = 0; r < rows; r++)
        norm_row(x + r * n, weight, bias, n, eps, y + r * n, mean + r, rstd + r);
}

/* One row: adds to DW and DB, then writes DX, which may be the memory of X or DY. */
static void backward_row(const float *x, const float *weight, float mean, float rstd,
                         const float *dy, int64_t n, float *dx, float *dw, float *db)
{
    float g = 0, gx = 0;
#pragma omp simd reduction(+ : g, gx)
    for (int64_t i = 0; i < n; i++) {
        float xhat = (x[i] - mean) * rstd, wdy = weight[i] * dy[i];
        g += wdy;
        gx += wdy * xhat;
        dw[i] += dy[i] * xhat;
        db[i] += dy[i];
    }
    g /= (float)n;
    gx /= (float)n;
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        dx[i] = rstd * (weight[i] * dy[i] - g - (x[i] - mean) * rstd * gx);
}

static void backward_block(const struct kernel_call *call, int64_t from, int64_t to, float *dw,
                           float *db)
{
    const struct tensor *t = &call->in[0];
    const float *x = t->data, *mean = call->in[2].data, *rstd = call->in[3].data;
    const float *dy = call->in[4].data;
    float *dx = call->out[0].data;
    int64_t n = t->dim[t->rank - 1];
    memset(dw, 0, (size_t)n * sizeof *dw);
    memset(db, 0, (size_t)n * sizeof *db);
    for (int64_t r = from; r < to; r++)
        backward_row(x + r * n, call->in[1].data, mean[r], rstd[r], dy + r * n, n, dx + r * n, dw,
                     db);
}

static void backward_run(const struct kernel_call *call)
{
    const struct tensor *t = &call->in[0];
    int64_t n = t->dim[t->rank - 1], rows = tensor_lead(t, t->rank - 1);
    int64_t each = (rows + NORM_BLOCKS - 1) / NORM_BLOCKS;
    int64_t blocks = rows ? (rows + each - 1) / each : 0;
    float *part = call->workspace, *dw = call->out[1].data, *db = call->out[2].data;
#pragma omp parallel for schedule(static) num_threads(call->threads) if (rows * n > 1 << 14)
    for (int64_t b = 0; b < blocks; b++) {
        int64_t to = (b + 1) * each < rows ? (b + 1) * each : rows;
        backward_block(call, b * each, to, part + 2 * b * n, part + (2 * b + 1) * n);
    }
    memset(dw, 0, (size_t)n * sizeof *dw);
    memset(db, 0, (size_t)n * sizeof *db);
    for (int64_t b = 0; b < blocks; b++) {
#pragma omp simd
        for (int64_t i = 0; i < n; i++) {
            dw[i] += part[2 * b * n + i];
            db[i] += part[(2 * b + 1) * n + i];
        }
    }
}

KERNEL_LIST(norm) = {
    {"layer_norm", "ff_>fff", norm_run},
    {"layer_norm", "fff>fff", norm_run},
    {"layer_norm_backward", "fffff>fff", backward_run},
    {0},
};
