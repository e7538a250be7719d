/*
 * All that depends on the element type: names, sizes and constants. Included before the
 * templates, once with FL_BITS 64 and once with 32; real_end.h takes it back.
 *
 * The coefficients come from tools/coefficients.py, which also prints the errors quoted.
 */
#if FL_BITS == 64
#define real double
#define vec f64v
#define mask f64m
#define NAME(name) name##_f64
#define WIDTH FL_WIDTH_F64
#define LANES FL_LANES_F64
#define BLOCK 2048 /* 16 KiB: a block and its exponentials stay in the L1 cache */
#define ROUND_MAGIC 0x1.8p52
#define COUNT_FROM 0x1p52
#define EXPONENT_BIAS 1023
#define LOG2E 0x1.71547652b82fep+0
#define LN2_HI 0x1.62e42fefa39efp-1
#define LN2_LO 0x1.abc9e3b39803fp-56
#define LN2_SHORT_HI 0x1.62e42feep-1 /* times an integer below 2^20 is exact */
#define LN2_SHORT_LO 0x1.a39ef35793c76p-33
#define REAL_MAX 0x1.fffffffffffffp1023
#define REAL_MIN 0x1p-1022
#define FRAME_MAX 0x1p40
#define EXP_STEPS 1
#define EXP_BIAS 1023
#define EXP_LEAST (-1023) /* of exponent field 0: its power of two is 0 */
#define EXP_FACTOR 1.0
/* exp(r) = 1 + r + r^2 P(r) on |r| <= 0.3475: relative error 2^-59 */
static const double exp_coefficients_f64[] = {
    0x1.0000000000000p-1,  0x1.555555555555cp-3,  0x1.55555555554d3p-5,  0x1.111111110eae0p-7,
    0x1.6c16c16c3ca34p-10, 0x1.a01a01b4067f5p-13, 0x1.a01a01089b23ap-16, 0x1.71ddeedecfc25p-19,
    0x1.27e6037915ea9p-22, 0x1.af6e02b1659d1p-26, 0x1.1dd64a50a21abp-29,
};
/* log(1+f) = 2 s + s^3 P(s^2), s = f/(2+f), sqrt(1/2) <= 1+f <= sqrt(2): relative error 2^-58.8 */
static const double log_coefficients_f64[] = {
    0x1.5555555555595p-1, 0x1.999999997f465p-2, 0x1.2492494265092p-2, 0x1.c71c51b2d8d92p-3,
    0x1.74664facb0f35p-3, 0x1.39a01a7ceaee6p-3, 0x1.2f1559eb3f209p-3,
};
#elif FL_BITS == 32
#define real float
#define vec f32v
#define mask f32m
#define NAME(name) name##_f32
#define WIDTH FL_WIDTH_F32
#define LANES FL_LANES_F32
#define BLOCK 4096
#define ROUND_MAGIC 0x1.8p23f
#define COUNT_FROM 0x1p23f
#define EXPONENT_BIAS 127
#define LOG2E 0x1.715476p+0f
#define LN2_HI 0x1.62e43p-1f
#define LN2_LO -0x1.05c610p-29f
#define LN2_SHORT_HI 0x1.62e4p-1f
#define LN2_SHORT_LO 0x1.7f7d1cp-20f
#define REAL_MAX 0x1.fffffep127f
#define REAL_MIN 0x1p-126f
#define FRAME_MAX 0x1p12
#define EXP_STEPS 8
#define EXP_BIAS 0
#define EXP_LEAST (-126) /* of the least normal number */
#define EXP_FACTOR 0x1.16747bf7c5b81p+0
/* The bits of EXP_FACTOR 2^(k/8), relative error 0.046 * 2^-24, less k 2^20 */
static const uint32_t exp_table[8] = {
    0x3f8b3a3e, 0x3f87d424, 0x3f859202, 0x3f848e45, 0x3f84e5be, 0x3f86b7da, 0x3f8a26de, 0x3f8f5829,
};
#define EXP_SHIFT 0x1.501c2ap-9f /* log(2^(1/8) / EXP_FACTOR) */
/* exp(r) = 1 + r + r^2 (C2 + C3 r + C4 r^2) on |r| <= 0.0445: relative error 2^-32 */
#define EXP_C2 0x1p-1f
#define EXP_C3 0x1.555ce8p-3f
#define EXP_C4 0x1.55391cp-5f
/* log(1 + e) = e + e^2 P(e) on 0 <= e <= 1: relative error 2^-27.27 */
static const float log1p_coefficients_f32[] = {
    -0x1.ffffccp-2f, 0x1.554d22p-2f,  -0x1.ff160ap-3f, 0x1.9305f6p-3f,  -0x1.39818cp-3f,
    0x1.b23326p-4f,  -0x1.d1f56ap-5f, 0x1.443a38p-6f,  -0x1.a6f30ap-9f,
};
/* 2^-r on |r| <= 0.501, in float64: relative error 2^-34.5 */
static const double exp2_coefficients_f64[] = {
    0x1.ffffffffaafc2p-1, -0x1.62e42ff1334f6p-1,  0x1.ebfbe0a62419fp-3,  -0x1.c6b08a77770e0p-5,
    0x1.3b29daf4487aap-7, -0x1.5d8aa534a6241p-10, 0x1.446b3c43adc7ep-13, -0x1.fddf0ddb6f137p-17,
};
/* log(1+f) = 2 s + s^3 P(s^2) as that of float64, but on 2^-0.587 <= 1+f <= 2^0.587, to 2^-42.1 */
static const double short_log_coefficients_f64[] = {
    0x1.555555594dc8ap-1, 0x1.99998edd1e3b7p-2, 0x1.249703dcff69bp-2,
    0x1.c54bd11c0b28ep-3, 0x1.9c722b5823895p-3,
};
#endif

/* Registers that make one group of virtual lanes. */
#define GROUP (LANES / WIDTH)
