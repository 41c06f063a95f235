/* Vectors of floats as wide as the instruction set a kernel source is being compiled for, and the
 * declarations that let `omp simd` loops call glibc's vector mathematics (libmvec: at most 4 ulp).
 * It includes <math.h> itself. */
#ifndef SEDGE_CPU_VECTOR_H
#define SEDGE_CPU_VECTOR_H

#include <math.h>
#include <stdint.h>
#include <string.h>

/* clang says of each such loop that it stays scalar, which is known. */
#if defined(__clang__)
#pragma clang diagnostic ignored "-Wpass-failed"
#endif

/* glibc declares these for vector calls under -ffast-math only, which nothing here is built with.
 * Other compilers and machines run the same loops with scalar calls. */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define VECTOR_CALL __attribute__((simd("notinbranch")))
VECTOR_CALL float expf(float);
VECTOR_CALL float logf(float);
VECTOR_CALL float tanhf(float);
VECTOR_CALL float erff(float);
VECTOR_CALL float sinf(float);
VECTOR_CALL float cosf(float);
VECTOR_CALL float powf(float, float);
VECTOR_CALL float expm1f(float);
VECTOR_CALL float log1pf(float);
VECTOR_CALL double exp(double);
VECTOR_CALL double log(double);
VECTOR_CALL double tanh(double);
VECTOR_CALL double erf(double);
VECTOR_CALL double sin(double);
VECTOR_CALL double cos(double);
VECTOR_CALL double pow(double, double);
VECTOR_CALL double expm1(double);
VECTOR_CALL double log1p(double);
#endif

#if defined(__AVX512F__)
#define VEC_BYTES 64
#define VEC_LANES_LOG2 4
#define VEC_LANE_NUMBERS                                                                           \
    {                                                                                              \
        0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15                                       \
    }
#elif defined(__AVX2__)
#define VEC_BYTES 32
#define VEC_LANES_LOG2 3
#define VEC_LANE_NUMBERS                                                                           \
    {                                                                                              \
        0, 1, 2, 3, 4, 5, 6, 7                                                                     \
    }
#else
#define VEC_BYTES 16
#define VEC_LANES_LOG2 2
#define VEC_LANE_NUMBERS                                                                           \
    {                                                                                              \
        0, 1, 2, 3                                                                                 \
    }
#endif
#define VEC_LANES (VEC_BYTES / 4)

typedef float vec __attribute__((vector_size(VEC_BYTES)));
typedef int32_t ivec __attribute__((vector_size(VEC_BYTES)));
typedef uint32_t uvec __attribute__((vector_size(VEC_BYTES)));
/* The same at any address. */
typedef float vec_u __attribute__((vector_size(VEC_BYTES), aligned(4), may_alias));

static inline vec vec_load(const float *p)
{
    return *(const vec_u *)p;
}
static inline void vec_store(float *p, vec v)
{
    *(vec_u *)p = v;
}
static inline vec vec_all(float x)
{
    return x - (vec){0}; /* minus: x + 0 is not always x, and would cost an addition */
}
static inline vec vec_max(vec a, vec b)
{
    ivec less = a < b;
    return (vec)(((ivec)b & less) | ((ivec)a & ~less));
}

/* Sum and maximum over the lanes, halving: the order is that of the width, not of the compiler. */
static inline float vec_sum(vec v)
{
    float lane[VEC_LANES];
    memcpy(lane, &v, sizeof lane);
    for (int step = VEC_LANES / 2; step; step /= 2)
        for (int i = 0; i < step; i++)
            lane[i] += lane[i + step];
    return lane[0];
}
static inline float vec_most(vec v)
{
    float lane[VEC_LANES];
    memcpy(lane, &v, sizeof lane);
    for (int step = VEC_LANES / 2; step; step /= 2)
        for (int i = 0; i < step; i++)
            lane[i] = lane[i] > lane[i + step] ? lane[i] : lane[i + step];
    return lane[0];
}

/* exp for arguments up to 88, within 4 ulp (measured: 3.0 without fused additions, 2.7 with them);
 * 0 below -87 (-INFINITY included), NaN for NaN: 2^n times a Taylor polynomial of degree 6 on
 * [-ln2/2, ln2/2]. Written out, and not called, because attention spends a fifth of its time
 * here. */
static inline vec vec_exp(vec x)
{
    const float magic = 12582912.0f; /* 1.5 * 2^23: adding it rounds to an integer */
    ivec dead = x < -87.0f;
    vec clamped = vec_max(x, vec_all(-87.0f));
    vec shifted = clamped * 1.44269504f + magic;
    vec n = shifted - magic;
    vec r = clamped - n * 0.693359375f; /* ln2 in two parts: the first has 9 bits (Cody, Waite) */
    r = r + n * 2.12194440e-4f;
    vec p = r * (1.0f / 720) + 1.0f / 120;
    p = p * r + 1.0f / 24;
    p = p * r + 1.0f / 6;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    uvec power = ((uvec)shifted - (uvec)vec_all(magic))
                 << 23; /* unsigned, as NaN may have any bits */
    return (vec)(((uvec)p + power) & ~(uvec)dead);
}

#endif
