/* Inverse-CDF draws from a law over the states that is affine in a row of exponentials; see
 * ops/kernels/sampler_law.h. Used by the kernels of samplers. */
#ifndef SEDGE_CPU_PICK_H
#define SEDGE_CPU_PICK_H

#include "ops/kernels/cpu/law.h"
#include "ops/kernels/sampler_law.h"

enum { PICK_TILE = 256 };

/* exp of N entries of a row from FIRST on; the entry SKIP, if among them, is 0. */
static inline double pick_tile(const float *log_p, int64_t first, int64_t n, int64_t skip,
                               double *tile)
{
    double sum = 0;
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        tile[i] = exp((double)log_p[first + i]);
    if (skip >= first && skip < first + n)
        tile[skip - first] = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++)
        sum += tile[i];
    return sum;
}

/* Sum of exp(log_p[y]) over the TOKENS real tokens but X. */
static inline double pick_others(const float *log_p, int64_t tokens, int64_t x)
{
    double tile[PICK_TILE], sum = 0;
    for (int64_t first = 0; first < tokens; first += PICK_TILE)
        sum += pick_tile(log_p, first, tokens - first < PICK_TILE ? tokens - first : PICK_TILE, x,
                         tile);
    return sum;
}

/* Weights of N tokens from FIRST on, and their sum. */
static inline double pick_weights(const float *log_p, int64_t first, int64_t n,
                                  const struct sampler_law *law, double *tile)
{
    double sum = 0;
    pick_tile(log_p, first, n, law->x, tile);
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        tile[i] = law->scale * tile[i] + law->shift;
    if (law->x >= first && law->x < first + n)
        tile[law->x - first] = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++)
        sum += tile[i];
    return sum;
}

/* The token where the running sum passes TARGET: first its tile, then the token in it. Where rounding
 * carries the target past all of them it is the last of positive weight; -1 where none has any. */
static inline int32_t pick_scan(const float *log_p, int64_t tokens, const struct sampler_law *law,
                                double target)
{
    double tile[PICK_TILE], before = 0, own = 0;
    int64_t chosen = -1;
    for (int64_t first = 0; first < tokens; first += PICK_TILE) {
        int64_t n = tokens - first < PICK_TILE ? tokens - first : PICK_TILE;
        double sum = pick_weights(log_p, first, n, law, tile);
        if (!(sum > 0))
            continue;
        before += own;
        own = sum;
        chosen = first;
        if (before + sum > target)
            break;
    }
    if (chosen < 0)
        return -1;
    int64_t n = tokens - chosen < PICK_TILE ? tokens - chosen : PICK_TILE, last = -1;
    pick_weights(log_p, chosen, n, law, tile);
    for (int64_t i = 0; i < n; i++) {
        if (!(tile[i] > 0))
            continue;
        last = chosen + i;
        before += tile[i];
        if (before > target)
            break;
    }
    return (int32_t)last;
}

/* A state drawn from LAW at U; OTHERS is what pick_others gave. MASK: the mask, or -1. */
static inline int32_t pick_law(const float *log_p, int64_t tokens, int32_t mask,
                               const struct sampler_law *law, double others, double u)
{
    bool real = law->x >= 0 && law->x < tokens;
    double sum = law->scale * others + law->shift * (double)(tokens - real);
    double moves = sum + law->at_mask, target = u * (moves + law->at_x);
    if (law->x >= 0 && !(target < moves))
        return law->x;
    if (law->at_mask > 0 && target >= sum)
        return mask;
    int32_t y = pick_scan(log_p, tokens, law, target);
    return y >= 0 ? y : law->x >= 0 ? law->x : 0;
}

/* The uniform of a position: given by input I, or drawn. */
static inline double pick_uniform(const struct kernel_call *call, uint32_t i, int64_t row,
                                  int64_t position, int64_t length)
{
    if (call_has(call, i))
        return ((const double *)call->in[i].data)[row * length + position];
    return uniform_at(call, row, position);
}
static inline bool pick_kept(const struct kernel_call *call, uint32_t i, int64_t p)
{
    return call_has(call, i) && ((const uint8_t *)call->in[i].data)[p];
}

#endif
