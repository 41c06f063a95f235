/* Passes over memory, timed by sedge bench. */
#include "ops/kernels/cpu/host_stream.h"

#define LANES 32 /* sums side by side: one alone would wait for the adder, not for memory */

void stream_fill(float *a, float value, int64_t n, int threads)
{
#pragma omp parallel for simd num_threads(threads) schedule(static)
    for (int64_t i = 0; i < n; i++)
        a[i] = value;
}

/* A block of each quarter: A, A + QUARTER, … */
static float sum_blocks(const float *a, int64_t quarter)
{
    float lane[4][LANES] = {{0}}, sum = 0;
    for (int i = 0; i < STREAM_BLOCK; i += LANES)
        for (int q = 0; q < 4; q++) {
#pragma omp simd
            for (int k = 0; k < LANES; k++)
                lane[q][k] += a[q * quarter + i + k];
        }
    for (int k = 0; k < 4 * LANES; k++)
        sum += lane[k / LANES][k % LANES];
    return sum;
}

float stream_read(const float *a, int64_t n, int threads)
{
    float sum = 0;
#pragma omp parallel for num_threads(threads) schedule(static) reduction(+ : sum)
    for (int64_t i = 0; i < n / 4; i += STREAM_BLOCK)
        sum += sum_blocks(a + i, n / 4);
    return sum;
}

void stream_update(float *a, const float *b, int64_t n, int threads)
{
#pragma omp parallel for simd num_threads(threads) schedule(static)
    for (int64_t i = 0; i < n; i++)
        a[i] += 0.5f * b[i];
}
