/* Kernels of gelu and silu: elementwise, in blocks of elements shared out among threads. Each loop
 * may write over its input. */
#include "ops/kernels/attrs.h"
#include "ops/kernels/cpu/vector.h"
#include "ops/kernels/kernel.h"

#define BLOCK 4096

/* tanh u = 1 - 2 / (1 + exp 2u): accurate to rounding error of 1, which is what gelu adds it to. */
#define GELU_C 0.79788456080286535588f /* sqrt(2 / pi) */
#define GELU_A 0.044715f
#define SQRT_HALF 0.70710678118654752440f
#define NORMAL_DENSITY 0.39894228040143267794f /* 1 / sqrt(2 pi) */

typedef void (*map_block)(const float *x, const float *dy, int64_t n, float *out);

static void gelu_tanh(const float *x, const float *dy, int64_t n, float *out)
{
    (void)dy;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        float u = GELU_C * (x[i] + GELU_A * x[i] * x[i] * x[i]);
        out[i] = x[i] / (1 + expf(-2 * u));
    }
}

static void gelu_erf(const float *x, const float *dy, int64_t n, float *out)
{
    (void)dy;
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        out[i] = 0.5f * x[i] * (1 + erff(x[i] * SQRT_HALF));
}

static void gelu_tanh_backward(const float *x, const float *dy, int64_t n, float *out)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        float square = x[i] * x[i];
        float phi = 1 / (1 + expf(-2 * GELU_C * x[i] * (1 + GELU_A * square)));
        float slope = 2 * phi * (1 - phi) * GELU_C * (1 + 3 * GELU_A * square);
        out[i] = dy[i] * (phi + x[i] * slope);
    }
}

static void gelu_erf_backward(const float *x, const float *dy, int64_t n, float *out)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        float phi = 0.5f * (1 + erff(x[i] * SQRT_HALF));
        out[i] = dy[i] * (phi + x[i] * NORMAL_DENSITY * expf(-0.5f * x[i] * x[i]));
    }
}

static void silu(const float *x, const float *dy, int64_t n, float *out)
{
    (void)dy;
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        out[i] = x[i] / (1 + expf(-x[i]));
}

static void silu_backward(const float *x, const float *dy, int64_t n, float *out)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        float s = 1 / (1 + expf(-x[i]));
        out[i] = dy[i] * s * (1 + x[i] * (1 - s));
    }
}

/* Shares the elements out; DY is there for the backward ops. */
static void run_map(const struct kernel_call *call, map_block map)
{
    const float *x = call->in[0].data, *dy = call->in_count > 1 ? call->in[1].data : NULL;
    float *out = call->out[0].data;
    int64_t n = tensor_size(&call->in[0]), blocks = (n + BLOCK - 1) / BLOCK;
#pragma omp parallel for schedule(static) num_threads(call->threads) if (blocks > 2)
    for (int64_t b = 0; b < blocks; b++) {
        int64_t at = b * BLOCK, size = n - at < BLOCK ? n - at : BLOCK;
        map(x + at, dy ? dy + at : NULL, size, out + at);
    }
}

static void gelu_run(const struct kernel_call *call)
{
    run_map(call, call->attr[GELU_FORM].integer == GELU_ERF ? gelu_erf : gelu_tanh);
}

static void gelu_backward_run(const struct kernel_call *call)
{
    bool exact = call->attr[GELU_FORM].integer == GELU_ERF;
    run_map(call, exact ? gelu_erf_backward : gelu_tanh_backward);
}

static void silu_run(const struct kernel_call *call)
{
    run_map(call, silu);
}

static void silu_backward_run(const struct kernel_call *call)
{
    run_map(call, silu_backward);
}

KERNEL_LIST(activation) = {
    {"gelu", "f>f", gelu_run},
    {"gelu_backward", "ff>f", gelu_backward_run},
    {"silu", "f>f", silu_run},
    {"silu_backward", "ff>f", silu_backward_run},
    {0},
};
