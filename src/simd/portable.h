/*
 * The vocabulary in plain C11, for any CPU: small arrays that a compiler keeps in
 * whatever vector registers there are. The contract is in vocabulary.h.
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

typedef struct {
    float lane[FL_WIDTH_F32];
} f32v;
typedef struct {
    double lane[FL_WIDTH_F64];
} f64v;
typedef struct {
    int lane[FL_WIDTH_F32];
} f32m;
typedef struct {
    int lane[FL_WIDTH_F64];
} f64m;

/* Both element types have the same definitions: P is the prefix, T the C type, U the
   unsigned integer of its size, W the number of lanes, M the bits of the mantissa. */
#define FL_EACH(W, expression)                                                                     \
    for (int i = 0; i < (W); ++i)                                                                  \
        r.lane[i] = (expression);                                                                  \
    return r

#define FL_PORTABLE(P, T, U, W, M, FMA)                                                            \
    FL_INLINE P##v P##_set1(T a)                                                                   \
    {                                                                                              \
        P##v r;                                                                                    \
        FL_EACH(W, a);                                                                             \
    }                                                                                              \
    FL_INLINE P##v P##_load(const T *p)                                                            \
    {                                                                                              \
        P##v r;                                                                                    \
        FL_EACH(W, p[i]);                                                                          \
    }                                                                                              \
    FL_INLINE P##v P##_load_part(const T *p, ptrdiff_t n, P##v fill)                               \
    {                                                                                              \
        P##v r;                                                                                    \
        FL_EACH(W, i < n ? p[i] : fill.lane[i]);                                                   \
    }                                                                                              \
    FL_INLINE void P##_store_part(T *p, ptrdiff_t n, P##v a)                                       \
    {                                                                                              \
        for (int i = 0; i < (W) && i < n; ++i)                                                     \
            p[i] = a.lane[i];                                                                      \
    }                                                                                              \
    FL_INLINE void P##_store(T *p, P##v a) { P##_store_part(p, (W), a); }                          \
    FL_INLINE void P##_stream(T *p, P##v a) { P##_store(p, a); }                                   \
    FL_INLINE P##v P##_add(P##v a, P##v b)                                                         \
    {                                                                                              \
        P##v r;                                                                                    \
        FL_EACH(W, a.lane[i] + b.lane[i]);                                                         \
    }                                                                                              \
    FL_INLINE P##v P##_sub(P##v a, P##v b)                                                         \
    {                                                                                              \
        P##v r;                                                                                    \
        FL_EACH(W, a.lane[i] - b.lane[i]);                                                         \
    }                                                                                              \
    FL_INLINE P##v P##_mul(P##v a, P##v b)                                                         \
    {                                                                                              \
        P##v r;                                                                                    \
        FL_EACH(W, a.lane[i] * b.lane[i]);                                                         \
    }                                                                                              \
    FL_INLINE P##v P##_div(P##v a, P##v b)                                                         \
    {                                                                                              \
        P##v r;                                                                                    \
        FL_EACH(W, a.lane[i] / b.lane[i]);                                                         \
    }                                                                                              \
    FL_INLINE P##v P##_fma(P##v a, P##v b, P##v c)                                                 \
    {                                                                                              \
        P##v r;                                                                                    \
        FL_EACH(W, FMA(a.lane[i], b.lane[i], c.lane[i]));                                          \
    }                                                                                              \
    FL_INLINE P##v P##_max(P##v a, P##v b)                                                         \
    {                                                                                              \
        P##v r;                                                                                    \
        FL_EACH(W, a.lane[i] > b.lane[i] ? a.lane[i] : b.lane[i]);                                 \
    }                                                                                              \
    FL_INLINE P##v P##_min(P##v a, P##v b)                                                         \
    {                                                                                              \
        P##v r;                                                                                    \
        FL_EACH(W, a.lane[i] < b.lane[i] ? a.lane[i] : b.lane[i]);                                 \
    }                                                                                              \
    FL_INLINE P##m P##_eq(P##v a, P##v b)                                                          \
    {                                                                                              \
        P##m r;                                                                                    \
        FL_EACH(W, a.lane[i] == b.lane[i]);                                                        \
    }                                                                                              \
    FL_INLINE P##m P##_ne(P##v a, P##v b)                                                          \
    {                                                                                              \
        P##m r;                                                                                    \
        FL_EACH(W, a.lane[i] != b.lane[i]);                                                        \
    }                                                                                              \
    FL_INLINE P##m P##_gt(P##v a, P##v b)                                                          \
    {                                                                                              \
        P##m r;                                                                                    \
        FL_EACH(W, a.lane[i] > b.lane[i]);                                                         \
    }                                                                                              \
    FL_INLINE P##v P##_keep(P##m m, P##v a)                                                        \
    {                                                                                              \
        P##v r;                                                                                    \
        FL_EACH(W, m.lane[i] ? a.lane[i] : 0);                                                     \
    }                                                                                              \
    FL_INLINE P##v P##_select(P##m m, P##v a, P##v b)                                              \
    {                                                                                              \
        P##v r;                                                                                    \
        FL_EACH(W, m.lane[i] ? a.lane[i] : b.lane[i]);                                             \
    }                                                                                              \
    FL_INLINE U P##_bits(T a)                                                                      \
    {                                                                                              \
        U bits;                                                                                    \
        memcpy(&bits, &a, sizeof bits);                                                            \
        return bits;                                                                               \
    }                                                                                              \
    FL_INLINE T P##_from_bits(U bits)                                                              \
    {                                                                                              \
        T a;                                                                                       \
        memcpy(&a, &bits, sizeof a);                                                               \
        return a;                                                                                  \
    }                                                                                              \
    FL_INLINE P##v P##_abs(P##v a)                                                                 \
    {                                                                                              \
        P##v r;                                                                                    \
        FL_EACH(W, P##_from_bits(P##_bits(a.lane[i]) & ((U) - 1 >> 1)));                           \
    }                                                                                              \
    FL_INLINE P##v P##_pow2(P##v t)                                                                \
    {                                                                                              \
        P##v r;                                                                                    \
        FL_EACH(W, P##_from_bits(P##_bits(t.lane[i]) << (M)));                                     \
    }                                                                                              \
    FL_INLINE P##v P##_ilogb(P##v a)                                                               \
    {                                                                                              \
        const int bias = (1 << (sizeof(T) * 8 - 2 - (M))) - 1;                                     \
        P##v r;                                                                                    \
        FL_EACH(W, (T)((int)(P##_bits(a.lane[i]) >> (M)) - bias));                                 \
    }                                                                                              \
    FL_INLINE unsigned P##_lanes(P##m m)                                                           \
    {                                                                                              \
        unsigned lanes = 0;                                                                        \
        for (int i = 0; i < (W); ++i)                                                              \
            lanes |= (unsigned)(m.lane[i] != 0) << i;                                              \
        return lanes;                                                                              \
    }                                                                                              \
    FL_INLINE T P##_hmax(P##v a)                                                                   \
    {                                                                                              \
        T r = a.lane[0];                                                                           \
        for (int i = 1; i < (W); ++i)                                                              \
            r = a.lane[i] > r ? a.lane[i] : r;                                                     \
        return r;                                                                                  \
    }                                                                                              \
    FL_INLINE void P##_load_rows(const T *p, ptrdiff_t stride, ptrdiff_t n, P##v *c)               \
    {                                                                                              \
        for (int i = 0; i < (W); ++i)                                                              \
            for (int j = 0; j < 16 / (int)sizeof(T); ++j)                                          \
                c[j].lane[i] = j < n ? p[i * stride + j] : 0;                                      \
    }                                                                                              \
    FL_INLINE void P##_store_rows(T *p, ptrdiff_t stride, ptrdiff_t n, const P##v *c)              \
    {                                                                                              \
        for (int i = 0; i < (W); ++i)                                                              \
            for (int j = 0; j < n; ++j)                                                            \
                p[i * stride + j] = c[j].lane[i];                                                  \
    }

FL_PORTABLE(f32, float, uint32_t, FL_WIDTH_F32, 23, fmaf)
FL_PORTABLE(f64, double, uint64_t, FL_WIDTH_F64, 52, fma)

FL_INLINE f32v f32_eighth(f32v t, const uint32_t *table)
{
    f32v r;
    FL_EACH(FL_WIDTH_F32,
            f32_from_bits(table[f32_bits(t.lane[i]) % 8] + (f32_bits(t.lane[i]) << 20)));
}
#define FL_HALF(name)                                                                              \
    FL_INLINE f32v f32_load_##name(const void *p)                                                  \
    {                                                                                              \
        f32v r;                                                                                    \
        uint16_t half[FL_WIDTH_F32];                                                               \
        memcpy(half, p, sizeof half);                                                              \
        FL_EACH(FL_WIDTH_F32, fl_from_##name(half[i]));                                            \
    }                                                                                              \
    FL_INLINE void f32_store_##name(void *p, f32v a)                                               \
    {                                                                                              \
        uint16_t half[FL_WIDTH_F32];                                                               \
        for (int i = 0; i < FL_WIDTH_F32; ++i)                                                     \
            half[i] = fl_to_##name(a.lane[i]);                                                     \
        memcpy(p, half, sizeof half);                                                              \
    }
FL_HALF(f16)
FL_HALF(bf16)

FL_INLINE f64v f32_half(f32v a, int half)
{
    f64v r;
    FL_EACH(FL_WIDTH_F64, (double)a.lane[half * FL_WIDTH_F64 + i]);
}
FL_INLINE double f64_first(f64v a) { return a.lane[0]; }
FL_INLINE f32v f32_join(f64v a, f64v b)
{
    f32v r;
    FL_EACH(FL_WIDTH_F32, (float)(i < FL_WIDTH_F64 ? a.lane[i] : b.lane[i - FL_WIDTH_F64]));
}
FL_INLINE void v_fence(void) {}
