/* gelu and its slope of one element, for loops over elements: alone (activation.c) and where a
 * product of matrices left them (linear.c). */
#ifndef SEDGE_CPU_GELU_H
#define SEDGE_CPU_GELU_H

#include "ops/kernels/cpu/vector.h"

#define GELU_LANES 32 /* loops run over multiples of it, which are those of every vector */

/* tanh u = 1 - 2 / (1 + exp 2u): accurate to rounding error of 1, which is what gelu adds it to. */
#define GELU_C 0.79788456080286535588f /* sqrt(2 / pi) */
#define GELU_A 0.044715f
#define SQRT_HALF 0.70710678118654752440f
#define NORMAL_DENSITY 0.39894228040143267794f /* 1 / sqrt(2 pi) */

static inline float gelu_tanh(float x)
{
    float u = GELU_C * (x + GELU_A * x * x * x);
    return x / (1 + expf(-2 * u));
}

static inline float gelu_erf(float x)
{
    return 0.5f * x * (1 + erff(x * SQRT_HALF));
}

static inline float gelu_tanh_slope(float x)
{
    float square = x * x;
    float phi = 1 / (1 + expf(-2 * GELU_C * x * (1 + GELU_A * square)));
    return phi + x * (2 * phi * (1 - phi) * GELU_C * (1 + 3 * GELU_A * square));
}

static inline float gelu_erf_slope(float x)
{
    float phi = 0.5f * (1 + erff(x * SQRT_HALF));
    return phi + x * NORMAL_DENSITY * expf(-0.5f * x * x);
}

#endif
