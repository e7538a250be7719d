/*
 * Half precision and float32, number by number. Rounding is to the nearest, of ties to the even;
 * NaN keeps the upper bits of its payload, and FL_F16 makes it quiet, as x86's instructions do.
 */
#ifndef FASTLOGITS_HALF_H
#define FASTLOGITS_HALF_H

#include "compiler.h"

#include <stdint.h>
#include <string.h>

FL_INLINE uint32_t fl_bits(float a)
{
    uint32_t bits;
    memcpy(&bits, &a, sizeof bits);
    return bits;
}

FL_INLINE float fl_from_bits(uint32_t bits)
{
    float a;
    memcpy(&a, &bits, sizeof a);
    return a;
}

FL_INLINE float fl_from_f16(uint16_t half)
{
    const uint32_t sign = (uint32_t)(half & 0x8000) << 16, rest = half & 0x7fff;
    if (rest > 0x7c00)
        return fl_from_bits(sign | 0x7fc00000 | rest << 13);
    if (rest == 0x7c00)
        return fl_from_bits(sign | 0x7f800000);
    /* The exponent's bias grows by 112, also of subnormal numbers. */
    const float scaled = fl_from_bits(rest << 13) * 0x1p112f;
    return fl_from_bits(sign | fl_bits(scaled));
}

FL_INLINE uint16_t fl_to_f16(float a)
{
    const uint32_t bits = fl_bits(a), rest = bits & 0x7fffffff;
    const uint16_t sign = (uint16_t)(bits >> 16 & 0x8000);
    if (rest > 0x7f800000)
        return (uint16_t)(sign | 0x7e00 | (rest >> 13 & 0x3ff));
    if (rest >= 0x47800000) /* 2^16 */
        return (uint16_t)(sign | 0x7c00);
    if (rest < 0x38800000) /* 2^-14: the addition rounds to a multiple of 2^-24 */
        return (uint16_t)(sign | (fl_bits(fl_from_bits(rest) + 0.5f) - 0x3f000000));
    return (uint16_t)(sign | (rest - (112u << 23) + 0xfff + (rest >> 13 & 1)) >> 13);
}

FL_INLINE float fl_from_bf16(uint16_t half) { return fl_from_bits((uint32_t)half << 16); }

FL_INLINE uint16_t fl_to_bf16(float a)
{
    const uint32_t bits = fl_bits(a);
    if ((bits & 0x7fffffff) > 0x7f800000)
        return (uint16_t)(bits >> 16 | 0x40);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

/* Rounded to odd: what is then rounded to half precision is as if rounded once. */
FL_INLINE float fl_to_odd(double a)
{
    const float near = (float)a;
    const double back = (double)near;
    if (back == a || a != a)
        return near;
    const uint32_t bits = fl_bits(near), even = ~bits & 1;
    /* An even neighbour gives way to the odd one towards a. Between infinity and a there is the
       largest number, which is odd. */
    const int inward = (back > a) == (a > 0);
    return fl_from_bits(inward ? bits - even : bits + even);
}

#endif
