/* Kernels of gelu and silu: elementwise, in blocks of elements shared out among threads. Each loop
 * may write over its input. */
#include "ops/kernels/attrs.h"
#include "ops/kernels/cpu/gelu.h"
#include "ops/kernels/kernel.h"

#define BLOCK 4096 /* a multiple of GELU_LANES */

typedef void (*map_block)(const float *x, const float *dy, int64_t n, float *out);

static void map_tanh(const float *x, const float *dy, int64_t n, float *out)
{
    (void)dy;
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        out[i] = gelu_tanh(x[i]);
}

static void map_erf(const float *x, const float *dy, int64_t n, float *out)
{
    (void)dy;
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        out[i] = gelu_erf(x[i]);
}

static void map_tanh_slope(const float *x, const float *dy, int64_t n, float *out)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        out[i] = dy[i] * gelu_tanh_slope(x[i]);
}

static void map_erf_slope(const float *x, const float *dy, int64_t n, float *out)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        out[i] = dy[i] * gelu_erf_slope(x[i]);
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

/* What is left of the last vector, padded: all elements go through the same code, wherever they
 * stand, as they do where a product left them (linear.c). */
static void map_rest(map_block map, const float *x, const float *dy, int64_t n, float *out)
{
    float a[GELU_LANES] = {0}, b[GELU_LANES] = {0};
    memcpy(a, x, (size_t)n * sizeof *x);
    if (dy)
        memcpy(b, dy, (size_t)n * sizeof *dy);
    map(a, b, GELU_LANES, a);
    memcpy(out, a, (size_t)n * sizeof *out);
}

/* Shares the elements out; DY is there for the backward ops. */
static void run_map(const struct kernel_call *call, map_block map)
{
    const float *x = call->in[0].data, *dy = call->in_count > 1 ? call->in[1].data : NULL;
    float *out = call->out[0].data;
    int64_t n = tensor_size(&call->in[0]), rest = n % GELU_LANES;
    int64_t whole = n - rest, blocks = (whole + BLOCK - 1) / BLOCK;
#pragma omp parallel for schedule(static) num_threads(call->threads) if (blocks > 2)
    for (int64_t b = 0; b < blocks; b++) {
        int64_t at = b * BLOCK, size = whole - at < BLOCK ? whole - at : BLOCK;
        map(x + at, dy ? dy + at : NULL, size, out + at);
    }
    if (rest)
        map_rest(map, x + whole, dy ? dy + whole : NULL, rest, out + whole);
}

static void gelu_run(const struct kernel_call *call)
{
    run_map(call, call->attr[GELU_FORM].integer == GELU_ERF ? map_erf : map_tanh);
}

static void gelu_backward_run(const struct kernel_call *call)
{
    bool exact = call->attr[GELU_FORM].integer == GELU_ERF;
    run_map(call, exact ? map_erf_slope : map_tanh_slope);
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
