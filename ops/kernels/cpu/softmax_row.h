/* One row of a softmax: its maximum, its exponentials and their sum. Shared by the kernels of
 * softmax.c and by the fused heads of head_loss.c. The sum of a row is made in blocks: f32 within
 * one, f64 over them, so that a row of a whole vocabulary keeps its digits. */
#ifndef SEDGE_CPU_SOFTMAX_ROW_H
#define SEDGE_CPU_SOFTMAX_ROW_H

#include "ops/kernels/cpu/vector.h"

#define SOFTMAX_BLOCK 512

static inline float row_max(const float *x, int64_t n)
{
    float most = -INFINITY;
#pragma omp simd reduction(max : most)
    for (int64_t i = 0; i < n; i++)
        most = most > x[i] ? most : x[i];
    return most;
}

/* sum_i exp(x_i - most) */
static inline double row_exp_sum(const float *x, int64_t n, float most)
{
    double total = 0;
    for (int64_t b = 0; b < n; b += SOFTMAX_BLOCK) {
        int64_t end = n < b + SOFTMAX_BLOCK ? n : b + SOFTMAX_BLOCK;
        float sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int64_t i = b; i < end; i++)
            sum += expf(x[i] - most);
        total += sum;
    }
    return total;
}

/* The same sum, and Y = exp(X - MOST), which may be X itself. */
static inline double row_exp(const float *x, int64_t n, float most, float *y)
{
    double total = 0;
    for (int64_t b = 0; b < n; b += SOFTMAX_BLOCK) {
        int64_t end = n < b + SOFTMAX_BLOCK ? n : b + SOFTMAX_BLOCK;
        float sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int64_t i = b; i < end; i++) {
            y[i] = expf(x[i] - most);
            sum += y[i];
        }
        total += sum;
    }
    return total;
}

static inline void row_scale(float *y, int64_t n, float factor)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        y[i] *= factor;
}

#endif
