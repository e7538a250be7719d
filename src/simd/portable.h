/*
 * The vocabulary for any CPU, in the vectors of 16 bytes that GCC and Clang know beside C11 and
 * make of whatever registers there are. The contract is in vocabulary.h.
 */
#include "../half.h"

#include <float.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* As x87 computes; with SSE2 (-msse2 -mfpmath=sse) the compiler does not. */
#if FLT_EVAL_METHOD == 1 || FLT_EVAL_METHOD == 2
#error "intermediate results wider than their type would change the bits of the results"
#endif

#define FL_WIDTH_F32 4
#define FL_WIDTH_F64 2

#define FL_NOT_INLINE static __attribute__((noinline, unused))

/* Without an instruction for it, each lane of an fma is a call: one function for all of them, as
   the compiler would take minutes where the thousands were inlined. */
#if defined FP_FAST_FMAF || defined __ARM_FEATURE_FMA
#define FL_FMA FL_INLINE
#else
#define FL_FMA FL_NOT_INLINE
#endif

/* The body of a function that computes one lane after another. */
#define FL_EACH(P, expression)                                                                     \
    P##v r = {0};                                                                                  \
    for (int i = 0; i < (int)(sizeof r / sizeof r[0]); ++i)                                        \
        r[i] = (expression);                                                                       \
    return r

/* Both element types have the same definitions: P is the prefix, T the C type, U the unsigned
   integer of its size, W the number of lanes, M the bits of the mantissa. A mask has all bits of a
   lane or none. It is of four MASKs whatever the type: of a comparison and a choice of 64 bits both
   GCC 12 makes one statement, for which x86 without SSE4.1 has no instruction, and stops. */
#define FL_PORTABLE(P, T, U, MASK, W, M, FMA)                                                      \
    typedef T P##v __attribute__((vector_size(16)));                                               \
    typedef T P##stored __attribute__((vector_size(16), aligned(sizeof(T)), may_alias));           \
    typedef MASK P##m __attribute__((vector_size(16)));                                            \
    typedef U P##bits __attribute__((vector_size(16)));                                            \
    FL_INLINE P##v P##_set1(T a) { FL_EACH(P, a); }                                                \
    FL_INLINE P##v P##_load(const T *p) { return *(const P##stored *)p; }                          \
    FL_INLINE P##v P##_load_part(const T *p, ptrdiff_t n, P##v fill)                               \
    {                                                                                              \
        FL_EACH(P, i < n ? p[i] : fill[i]);                                                        \
    }                                                                                              \
    FL_INLINE void P##_store_part(T *p, ptrdiff_t n, P##v a)                                       \
    {                                                                                              \
        for (int i = 0; i < (W) && i < n; ++i)                                                     \
            p[i] = a[i];                                                                           \
    }                                                                                              \
    FL_INLINE void P##_store(T *p, P##v a) { *(P##stored *)p = a; }                                \
    FL_INLINE void P##_stream(T *p, P##v a) { P##_store(p, a); }                                   \
    FL_INLINE P##v P##_add(P##v a, P##v b) { return a + b; }                                       \
    FL_INLINE P##v P##_sub(P##v a, P##v b) { return a - b; }                                       \
    FL_INLINE P##v P##_mul(P##v a, P##v b) { return a * b; }                                       \
    FL_INLINE P##v P##_div(P##v a, P##v b) { return a / b; }                                       \
    FL_FMA P##v P##_fma(P##v a, P##v b, P##v c) { FL_EACH(P, FMA(a[i], b[i], c[i])); }             \
    FL_INLINE P##v P##_fnma(P##v a, P##v b, P##v c) { return P##_fma(-a, b, c); }                  \
    FL_INLINE P##m P##_eq(P##v a, P##v b) { return (P##m)(a == b); }                               \
    FL_INLINE P##m P##_ne(P##v a, P##v b) { return (P##m)(a != b); }                               \
    FL_INLINE P##m P##_gt(P##v a, P##v b) { return (P##m)(a > b); }                                \
    FL_INLINE P##v P##_keep(P##m m, P##v a) { return (P##v)(m & (P##m)a); }                        \
    FL_INLINE P##v P##_count(P##m m, P##v a) { return (P##v)((P##bits)a - (P##bits)m); }           \
    FL_INLINE P##v P##_select(P##m m, P##v a, P##v b)                                              \
    {                                                                                              \
        return (P##v)((m & (P##m)a) | (~m & (P##m)b));                                             \
    }                                                                                              \
    FL_INLINE P##v P##_max(P##v a, P##v b) { return P##_select((P##m)(a > b), a, b); }             \
    FL_INLINE P##v P##_min(P##v a, P##v b) { return P##_select((P##m)(a < b), a, b); }             \
    FL_INLINE P##v P##_abs(P##v a) { return (P##v)((P##bits)a & (U) - 1 >> 1); }                   \
    FL_INLINE P##v P##_pow2(P##v t) { return (P##v)((P##bits)t << (M)); }                          \
    FL_INLINE P##v P##_ilogb(P##v a)                                                               \
    {                                                                                              \
        const int bias = (1 << (sizeof(T) * 8 - 2 - (M))) - 1;                                     \
        const P##bits biased = (P##bits)a >> (M);                                                  \
        FL_EACH(P, (T)((int)biased[i] - bias));                                                    \
    }                                                                                              \
    FL_INLINE unsigned P##_lanes(P##m m)                                                           \
    {                                                                                              \
        unsigned lanes = 0;                                                                        \
        for (int i = 0; i < (W); ++i)                                                              \
            lanes |= (unsigned)(m[4 / (W) * i] != 0) << i;                                         \
        return lanes;                                                                              \
    }                                                                                              \
    FL_INLINE T P##_hmax(P##v a)                                                                   \
    {                                                                                              \
        T r = a[0];                                                                                \
        for (int i = 1; i < (W); ++i)                                                              \
            r = a[i] > r ? a[i] : r;                                                               \
        return r;                                                                                  \
    }                                                                                              \
    FL_INLINE void P##_load_rows(const T *p, ptrdiff_t stride, ptrdiff_t n, P##v *c)               \
    {                                                                                              \
        for (int j = 0; j < 16 / (int)sizeof(T); ++j) {                                            \
            P##v column = P##_set1(0);                                                             \
            for (int i = 0; j < n && i < (W); ++i)                                                 \
                column[i] = p[i * stride + j];                                                     \
            c[j] = column;                                                                         \
        }                                                                                          \
    }                                                                                              \
    FL_INLINE void P##_store_rows(T *p, ptrdiff_t stride, ptrdiff_t n, const P##v *c)              \
    {                                                                                              \
        for (int i = 0; i < (W); ++i)                                                              \
            for (int j = 0; j < n; ++j)                                                            \
                p[i * stride + j] = c[j][i];                                                       \
    }

FL_PORTABLE(f32, float, uint32_t, int32_t, FL_WIDTH_F32, 23, fmaf)
FL_PORTABLE(f64, double, uint64_t, uint32_t, FL_WIDTH_F64, 52, fma)

FL_INLINE f32v f32_eighth(f32v t, const uint32_t *table)
{
    const f32bits bits = (f32bits)t;
    f32bits entries;
    for (int i = 0; i < FL_WIDTH_F32; ++i)
        entries[i] = table[bits[i] % 8];
    return (f32v)(entries + (bits << 20));
}
#define FL_HALF(name)                                                                              \
    FL_INLINE f32v f32_load_##name(const void *p)                                                  \
    {                                                                                              \
        uint16_t half[FL_WIDTH_F32];                                                               \
        memcpy(half, p, sizeof half);                                                              \
        FL_EACH(f32, fl_from_##name(half[i]));                                                     \
    }                                                                                              \
    FL_INLINE void f32_store_##name(void *p, f32v a)                                               \
    {                                                                                              \
        uint16_t half[FL_WIDTH_F32];                                                               \
        for (int i = 0; i < FL_WIDTH_F32; ++i)                                                     \
            half[i] = fl_to_##name(a[i]);                                                          \
        memcpy(p, half, sizeof half);                                                              \
    }
FL_HALF(f16)
FL_HALF(bf16)

FL_INLINE f64v f32_half(f32v a, int half) { FL_EACH(f64, (double)a[half * FL_WIDTH_F64 + i]); }
FL_INLINE f64v f32_load_half(const float *p) { FL_EACH(f64, (double)p[i]); }
FL_INLINE double f64_first(f64v a) { return a[0]; }
/* Not inline: where GCC 12 sees that vectors are made float64 again (v_half), it leaves out the
   rounding. */
FL_NOT_INLINE f32v f32_join(f64v a, f64v b)
{
    FL_EACH(f32, (float)(i < FL_WIDTH_F64 ? a[i] : b[i - FL_WIDTH_F64]));
}
FL_INLINE void v_fence(void) {}
