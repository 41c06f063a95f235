/* Passes over memory, timed by sedge bench. */
#include "ops/kernels/cpu/host_stream.h"

void stream_fill(float *a, float value, int64_t n, int threads)
{
#pragma omp parallel for simd num_threads(threads) schedule(static)
    for (int64_t i = 0; i < n; i++)
        a[i] = value;
}

float stream_read(const float *a, int64_t n, int threads)
{
    float sum = 0;
#pragma omp parallel for simd num_threads(threads) schedule(static) reduction(+ : sum)
    for (int64_t i = 0; i < n; i++)
        sum += a[i];
    return sum;
}

void stream_triad(float *c, const float *a, const float *b, int64_t n, int threads)
{
#pragma omp parallel for simd num_threads(threads) schedule(static)
    for (int64_t i = 0; i < n; i++)
        c[i] = a[i] + 3 * b[i];
}
