/*
 * The vocabulary: the words the kernels are written in. An instruction set defines each
 * of them for f32v and f64v (f32_add, f64_add, ...), and the overloads below let one
 * template speak of either.
 *
 *   v_set1(s)                  s in every lane
 *   v_load, v_store            a register, at any alignment
 *   v_stream(p, a)             a register, to a multiple of its size, past the caches if it can be
 *   v_fence()                  what was streamed comes before what is stored from here on
 *   v_load_part(p, n, fill)    the first n lanes from p, the rest from fill; reads no more
 *   v_store_part(p, n, a)      the first n lanes; writes no more; n may be <= 0 or >= width
 *   v_add sub mul div fma      IEEE, one rounding each
 *   v_fnma(a, b, c)            c - a b, one rounding
 *   v_max(a, b)                a > b ? a : b, so b where either is NaN
 *   v_min(a, b)                a < b ? a : b, likewise
 *   v_abs                      clears the sign
 *   v_eq, v_ne, v_gt           masks; with NaN v_ne is true, the others are false
 *   v_keep(m, a)               a where m, else +0
 *   v_count(m, a)              a + 1 where m, else a, for whole a from 2^(mantissa bits) to below
 *                              its double: to add 1 there is to add 1 to the bits
 *   v_lanes(m)                 the lanes of m as bits, the first lane the lowest
 *   v_select(m, a, b)          a where m, else b
 *   v_pow2(t)                  t = 1.5 * 2^(mantissa bits) + i, 0 <= i < 2 * bias: the number
 *                              whose exponent field is i: 2^(i - bias), and 0 for i = 0
 *   v_eighth(t, table)         t = 1.5 * 2^23 + i, |i| < 2^11: the number whose bits are the sum
 *                              (mod 2^32) of i 2^20 and of entry i mod 8 of table
 *   v_ilogb(a)                 floor(log2 a) for normal a > 0; anything for NaN
 *   v_hmax(a)                  the largest lane, in no particular order
 *   v_half(a, h)               lower or upper half of an f32v as float64
 *   v_load_half(p)             half a register of float32 at p, as float64
 *   v_first(a)                 the first lane of an f64v
 *   v_join(a, b)               two f64v as one f32v, rounded: the way back from v_half
 *   v_load_f16, v_store_f16    a register of FL_F16 in memory, which is rounded to as half.h says
 *   v_load_bf16, v_store_bf16  the same of FL_BF16
 *   v_load_rows(p, stride, n, c)   of as many rows as a register has lanes, row i at
 *                              p + i * stride, the first n <= QUAD elements: lane i of c[j] is
 *                              element j; reads no more; the other columns are 0
 *   v_store_rows(p, stride, n, c)  the way back, a row after another; writes no more
 *
 * QUAD elements are 16 bytes.
 */
#define FL_QUAD_F32 4
#define FL_QUAD_F64 2
#define FL_OVERLOAD(op, a) _Generic((a), f32v: f32_##op, f64v: f64_##op)
#define FL_OVERLOAD_POINTER(op, p)                                                                 \
    _Generic((p),                                                                                  \
        float *: f32_##op,                                                                         \
        const float *: f32_##op,                                                                   \
        double *: f64_##op,                                                                        \
        const double *: f64_##op)

#define v_set1(s) _Generic((s), float: f32_set1, double: f64_set1)(s)
#define v_load(p) FL_OVERLOAD_POINTER(load, p)(p)
#define v_load_part(p, n, fill) FL_OVERLOAD(load_part, fill)(p, n, fill)
#define v_store(p, a) FL_OVERLOAD(store, a)(p, a)
#define v_stream(p, a) FL_OVERLOAD(stream, a)(p, a)
#define v_store_part(p, n, a) FL_OVERLOAD(store_part, a)(p, n, a)
#define v_add(a, b) FL_OVERLOAD(add, a)(a, b)
#define v_sub(a, b) FL_OVERLOAD(sub, a)(a, b)
#define v_mul(a, b) FL_OVERLOAD(mul, a)(a, b)
#define v_div(a, b) FL_OVERLOAD(div, a)(a, b)
#define v_fma(a, b, c) FL_OVERLOAD(fma, a)(a, b, c)
#define v_fnma(a, b, c) FL_OVERLOAD(fnma, a)(a, b, c)
#define v_max(a, b) FL_OVERLOAD(max, a)(a, b)
#define v_min(a, b) FL_OVERLOAD(min, a)(a, b)
#define v_abs(a) FL_OVERLOAD(abs, a)(a)
#define v_eq(a, b) FL_OVERLOAD(eq, a)(a, b)
#define v_ne(a, b) FL_OVERLOAD(ne, a)(a, b)
#define v_gt(a, b) FL_OVERLOAD(gt, a)(a, b)
#define v_keep(m, a) FL_OVERLOAD(keep, a)(m, a)
#define v_count(m, a) FL_OVERLOAD(count, a)(m, a)
#define v_lanes(m) _Generic((m), f32m: f32_lanes, f64m: f64_lanes)(m)
#define v_select(m, a, b) FL_OVERLOAD(select, a)(m, a, b)
#define v_pow2(t) FL_OVERLOAD(pow2, t)(t)
#define v_eighth(t, table) f32_eighth(t, table)
#define v_ilogb(a) FL_OVERLOAD(ilogb, a)(a)
#define v_hmax(a) FL_OVERLOAD(hmax, a)(a)
#define v_half(a, h) f32_half(a, h)
#define v_load_half(p) f32_load_half(p)
#define v_first(a) f64_first(a)
#define v_join(a, b) f32_join(a, b)
#define v_load_f16(p) f32_load_f16(p)
#define v_store_f16(p, a) f32_store_f16(p, a)
#define v_load_bf16(p) f32_load_bf16(p)
#define v_store_bf16(p, a) f32_store_bf16(p, a)
#define v_load_rows(p, stride, n, c) FL_OVERLOAD_POINTER(load_rows, p)(p, stride, n, c)
#define v_store_rows(p, stride, n, c) FL_OVERLOAD_POINTER(store_rows, p)(p, stride, n, c)
