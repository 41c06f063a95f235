/* Half precision, as files of weights have it: to single precision, exactly. */
#ifndef SEDGE_BASE_HALF_H
#define SEDGE_BASE_HALF_H

#include <stdint.h>
#include <string.h>

/* bfloat16: the upper half of a single-precision number. */
static inline float bfloat_to_float(uint16_t bits)
{
    uint32_t wide = (uint32_t)bits << 16;
    float out;
    memcpy(&out, &wide, sizeof out);
    return out;
}

/* IEEE 754 binary16: 5 bits of exponent, 10 of fraction. */
static inline float half_to_float(uint16_t bits)
{
    uint32_t sign = (uint32_t)(bits & 0x8000) << 16, exponent = bits >> 10 & 0x1f;
    uint32_t fraction = bits & 0x3ff, wide;
    float out;
    if (exponent == 0) { /* zero and subnormal numbers: multiples of 2^-24 */
        out = (float)fraction * 0x1p-24f;
        memcpy(&wide, &out, sizeof wide);
        wide |= sign;
    } else {
        wide = sign | (exponent == 0x1f ? 0xffu : exponent + 112) << 23 | fraction << 13;
    }
    memcpy(&out, &wide, sizeof out);
    return out;
}

#endif
