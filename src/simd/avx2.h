/*
 * The vocabulary on AVX2 with FMA. The contract is in vocabulary.h.
 */
#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#include "quads.h"

#define FL_WIDTH_F32 8
#define FL_WIDTH_F64 4

typedef __m256 f32v;
typedef __m256d f64v;
typedef struct {
    __m256 lanes; /* all bits or none */
} f32m;
typedef struct {
    __m256d lanes;
} f64m;

FL_INLINE f32v f32_set1(float a) { return _mm256_set1_ps(a); }
FL_INLINE f64v f64_set1(double a) { return _mm256_set1_pd(a); }
FL_INLINE f32v f32_load(const float *p) { return _mm256_loadu_ps(p); }
FL_INLINE f64v f64_load(const double *p) { return _mm256_loadu_pd(p); }
FL_INLINE void f32_store(float *p, f32v a) { _mm256_storeu_ps(p, a); }
FL_INLINE void f64_store(double *p, f64v a) { _mm256_storeu_pd(p, a); }
FL_INLINE void f32_stream(float *p, f32v a) { _mm256_stream_ps(p, a); }
FL_INLINE void f64_stream(double *p, f64v a) { _mm256_stream_pd(p, a); }

FL_INLINE __m256i f32_first_lanes(ptrdiff_t n)
{
    const int count = n >= 8 ? 8 : n <= 0 ? 0 : (int)n;
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(count), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
FL_INLINE __m256i f64_first_lanes(ptrdiff_t n)
{
    return _mm256_cmpgt_epi64(_mm256_set1_epi64x(n), _mm256_setr_epi64x(0, 1, 2, 3));
}
FL_INLINE f32v f32_load_part(const float *p, ptrdiff_t n, f32v fill)
{
    if (n >= 8)
        return f32_load(p);
    const __m256i lanes = f32_first_lanes(n);
    return _mm256_blendv_ps(fill, _mm256_maskload_ps(p, lanes), _mm256_castsi256_ps(lanes));
}
FL_INLINE f64v f64_load_part(const double *p, ptrdiff_t n, f64v fill)
{
    if (n >= 4)
        return f64_load(p);
    const __m256i lanes = f64_first_lanes(n);
    return _mm256_blendv_pd(fill, _mm256_maskload_pd(p, lanes), _mm256_castsi256_pd(lanes));
}
FL_INLINE void f32_store_part(float *p, ptrdiff_t n, f32v a)
{
    if (n >= 8)
        f32_store(p, a);
    else
        _mm256_maskstore_ps(p, f32_first_lanes(n), a);
}
FL_INLINE void f64_store_part(double *p, ptrdiff_t n, f64v a)
{
    if (n >= 4)
        f64_store(p, a);
    else
        _mm256_maskstore_pd(p, f64_first_lanes(n), a);
}

FL_INLINE f32v f32_add(f32v a, f32v b) { return _mm256_add_ps(a, b); }
FL_INLINE f64v f64_add(f64v a, f64v b) { return _mm256_add_pd(a, b); }
FL_INLINE f32v f32_sub(f32v a, f32v b) { return _mm256_sub_ps(a, b); }
FL_INLINE f64v f64_sub(f64v a, f64v b) { return _mm256_sub_pd(a, b); }
FL_INLINE f32v f32_mul(f32v a, f32v b) { return _mm256_mul_ps(a, b); }
FL_INLINE f64v f64_mul(f64v a, f64v b) { return _mm256_mul_pd(a, b); }
FL_INLINE f32v f32_div(f32v a, f32v b) { return _mm256_div_ps(a, b); }
FL_INLINE f64v f64_div(f64v a, f64v b) { return _mm256_div_pd(a, b); }
FL_INLINE f32v f32_fma(f32v a, f32v b, f32v c) { return _mm256_fmadd_ps(a, b, c); }
FL_INLINE f64v f64_fma(f64v a, f64v b, f64v c) { return _mm256_fmadd_pd(a, b, c); }
FL_INLINE f32v f32_fnma(f32v a, f32v b, f32v c) { return _mm256_fnmadd_ps(a, b, c); }
FL_INLINE f64v f64_fnma(f64v a, f64v b, f64v c) { return _mm256_fnmadd_pd(a, b, c); }
FL_INLINE f32v f32_max(f32v a, f32v b) { return _mm256_max_ps(a, b); }
FL_INLINE f64v f64_max(f64v a, f64v b) { return _mm256_max_pd(a, b); }
FL_INLINE f32v f32_min(f32v a, f32v b) { return _mm256_min_ps(a, b); }
FL_INLINE f64v f64_min(f64v a, f64v b) { return _mm256_min_pd(a, b); }
FL_INLINE f32v f32_abs(f32v a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }
FL_INLINE f64v f64_abs(f64v a) { return _mm256_andnot_pd(_mm256_set1_pd(-0.0), a); }

FL_INLINE f32m f32_eq(f32v a, f32v b) { return (f32m){_mm256_cmp_ps(a, b, _CMP_EQ_OQ)}; }
FL_INLINE f64m f64_eq(f64v a, f64v b) { return (f64m){_mm256_cmp_pd(a, b, _CMP_EQ_OQ)}; }
FL_INLINE f32m f32_ne(f32v a, f32v b) { return (f32m){_mm256_cmp_ps(a, b, _CMP_NEQ_UQ)}; }
FL_INLINE f64m f64_ne(f64v a, f64v b) { return (f64m){_mm256_cmp_pd(a, b, _CMP_NEQ_UQ)}; }
FL_INLINE f32m f32_gt(f32v a, f32v b) { return (f32m){_mm256_cmp_ps(a, b, _CMP_GT_OQ)}; }
FL_INLINE f64m f64_gt(f64v a, f64v b) { return (f64m){_mm256_cmp_pd(a, b, _CMP_GT_OQ)}; }
FL_INLINE f32v f32_keep(f32m m, f32v a) { return _mm256_and_ps(m.lanes, a); }
FL_INLINE f64v f64_keep(f64m m, f64v a) { return _mm256_and_pd(m.lanes, a); }
/* As integers, of which a mask is -1. */
FL_INLINE f32v f32_count(f32m m, f32v a)
{
    const __m256i bits = _mm256_castps_si256(a);
    return _mm256_castsi256_ps(_mm256_sub_epi32(bits, _mm256_castps_si256(m.lanes)));
}
FL_INLINE f64v f64_count(f64m m, f64v a)
{
    const __m256i bits = _mm256_castpd_si256(a);
    return _mm256_castsi256_pd(_mm256_sub_epi64(bits, _mm256_castpd_si256(m.lanes)));
}
FL_INLINE unsigned f32_lanes(f32m m) { return (unsigned)_mm256_movemask_ps(m.lanes); }
FL_INLINE unsigned f64_lanes(f64m m) { return (unsigned)_mm256_movemask_pd(m.lanes); }
FL_INLINE f32v f32_select(f32m m, f32v a, f32v b) { return _mm256_blendv_ps(b, a, m.lanes); }
FL_INLINE f64v f64_select(f64m m, f64v a, f64v b) { return _mm256_blendv_pd(b, a, m.lanes); }

FL_INLINE f32v f32_pow2(f32v t)
{
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_castps_si256(t), 23));
}
FL_INLINE f64v f64_pow2(f64v t)
{
    return _mm256_castsi256_pd(_mm256_slli_epi64(_mm256_castpd_si256(t), 52));
}
FL_INLINE f32v f32_eighth(f32v t, const uint32_t *table)
{
    const __m256i i = _mm256_castps_si256(t);
    const __m256i eight = _mm256_loadu_si256((const __m256i *)(const void *)table);
    const __m256i entry = _mm256_permutevar8x32_epi32(eight, i);
    return _mm256_castsi256_ps(_mm256_add_epi32(entry, _mm256_slli_epi32(i, 20)));
}
FL_INLINE f32v f32_ilogb(f32v a)
{
    const __m256i biased = _mm256_srli_epi32(_mm256_castps_si256(a), 23);
    return _mm256_sub_ps(_mm256_cvtepi32_ps(biased), _mm256_set1_ps(127.0f));
}
FL_INLINE f64v f64_ilogb(f64v a)
{
    /* There is no conversion from 64-bit integers: the bits go under those of 2^52. */
    const __m256d base = _mm256_set1_pd(0x1p52);
    const __m256i biased = _mm256_srli_epi64(_mm256_castpd_si256(a), 52);
    const __m256d sum = _mm256_or_pd(base, _mm256_castsi256_pd(biased));
    return _mm256_sub_pd(sum, _mm256_set1_pd(0x1p52 + 1023.0));
}

FL_INLINE f64v f32_half(f32v a, int half)
{
    return _mm256_cvtps_pd(half ? _mm256_extractf128_ps(a, 1) : _mm256_castps256_ps128(a));
}
FL_INLINE f64v f32_load_half(const float *p) { return _mm256_cvtps_pd(_mm_loadu_ps(p)); }
FL_INLINE float f32_hmax(f32v a)
{
    __m128 m = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    m = _mm_max_ps(m, _mm_movehl_ps(m, m));
    return _mm_cvtss_f32(_mm_max_ss(m, _mm_movehdup_ps(m)));
}
FL_INLINE double f64_hmax(f64v a)
{
    const __m128d m = _mm_max_pd(_mm256_castpd256_pd128(a), _mm256_extractf128_pd(a, 1));
    return _mm_cvtsd_f64(_mm_max_sd(m, _mm_unpackhi_pd(m, m)));
}
FL_INLINE double f64_first(f64v a) { return _mm256_cvtsd_f64(a); }
FL_INLINE f32v f32_join(f64v a, f64v b)
{
    return _mm256_insertf128_ps(_mm256_castps128_ps256(_mm256_cvtpd_ps(a)), _mm256_cvtpd_ps(b), 1);
}

FL_INLINE f32v f32_load_f16(const void *p)
{
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p));
}
FL_INLINE void f32_store_f16(void *p, f32v a)
{
    _mm_storeu_si128((__m128i *)p, _mm256_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT));
}
FL_INLINE f32v f32_load_bf16(const void *p)
{
    const __m256i bits = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)p));
    return _mm256_castsi256_ps(_mm256_slli_epi32(bits, 16));
}
FL_INLINE void f32_store_bf16(void *p, f32v a)
{
    const __m256i bits = _mm256_castps_si256(a), upper = _mm256_srli_epi32(bits, 16);
    const __m256i odd = _mm256_and_si256(upper, _mm256_set1_epi32(1));
    const __m256i up = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
    const __m256i quiet = _mm256_or_si256(upper, _mm256_set1_epi32(0x40));
    const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(a, a, _CMP_UNORD_Q));
    const __m256i half = _mm256_blendv_epi8(_mm256_srli_epi32(up, 16), quiet, nan);
    const __m128i low = _mm256_castsi256_si128(half), high = _mm256_extracti128_si256(half, 1);
    _mm_storeu_si128((__m128i *)p, _mm_packus_epi32(low, high));
}

/* In every 16 bytes, the 4 x 4 numbers of a: rows become columns. */
FL_INLINE void f32_transpose(f32v *a)
{
    const __m256d t0 = _mm256_castps_pd(_mm256_unpacklo_ps(a[0], a[1]));
    const __m256d t1 = _mm256_castps_pd(_mm256_unpackhi_ps(a[0], a[1]));
    const __m256d t2 = _mm256_castps_pd(_mm256_unpacklo_ps(a[2], a[3]));
    const __m256d t3 = _mm256_castps_pd(_mm256_unpackhi_ps(a[2], a[3]));
    a[0] = _mm256_castpd_ps(_mm256_unpacklo_pd(t0, t2));
    a[1] = _mm256_castpd_ps(_mm256_unpackhi_pd(t0, t2));
    a[2] = _mm256_castpd_ps(_mm256_unpacklo_pd(t1, t3));
    a[3] = _mm256_castpd_ps(_mm256_unpackhi_pd(t1, t3));
}
/* Of a, b and c in turns. */
FL_INLINE f32v f32_abc(f32v a, f32v b, f32v c)
{
    return _mm256_blend_ps(_mm256_blend_ps(a, b, 0x92), c, 0x24);
}
FL_INLINE f32v f32_permute(f32v a, int i0, int i1, int i2, int i3, int i4, int i5, int i6, int i7)
{
    return _mm256_permutevar8x32_ps(a, _mm256_setr_epi32(i0, i1, i2, i3, i4, i5, i6, i7));
}
FL_INLINE f32v f32_middle(f32v a)
{
    return _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(a), 0xd8));
}
/* Rows of n <= 3 elements without gaps, as n whole registers. Of three, each column is in every
   third lane of each register, but in none where it is in another register: together they fill one,
   in an order that one permutation undoes. */
FL_INLINE void f32_load_dense(const float *p, ptrdiff_t n, f32v *c)
{
    f32v a[3];
    for (int i = 0; i < 3; ++i)
        c[i] = a[i] = i < n ? f32_load(p + 8 * i) : f32_set1(0.0f);
    c[3] = f32_set1(0.0f);
    if (n == 2) {
        c[0] = f32_middle(_mm256_shuffle_ps(a[0], a[1], 0x88));
        c[1] = f32_middle(_mm256_shuffle_ps(a[0], a[1], 0xdd));
    } else if (n == 3) {
        c[0] = f32_permute(f32_abc(a[0], a[1], a[2]), 0, 3, 6, 1, 4, 7, 2, 5);
        c[1] = f32_permute(f32_abc(a[2], a[0], a[1]), 1, 4, 7, 2, 5, 0, 3, 6);
        c[2] = f32_permute(f32_abc(a[1], a[2], a[0]), 2, 5, 0, 3, 6, 1, 4, 7);
    }
}
FL_INLINE void f32_store_dense(float *p, ptrdiff_t n, const f32v *c)
{
    f32v a[3] = {c[0], c[1], c[2]};
    if (n == 2) {
        const f32v low = _mm256_unpacklo_ps(c[0], c[1]), high = _mm256_unpackhi_ps(c[0], c[1]);
        a[0] = _mm256_permute2f128_ps(low, high, 0x20);
        a[1] = _mm256_permute2f128_ps(low, high, 0x31);
    } else if (n == 3) {
        const f32v c0 = f32_permute(c[0], 0, 3, 6, 1, 4, 7, 2, 5);
        const f32v c1 = f32_permute(c[1], 5, 0, 3, 6, 1, 4, 7, 2);
        const f32v c2 = f32_permute(c[2], 2, 5, 0, 3, 6, 1, 4, 7);
        a[0] = f32_abc(c0, c1, c2);
        a[1] = f32_abc(c2, c0, c1);
        a[2] = f32_abc(c1, c2, c0);
    }
    for (int i = 0; i < 3; ++i)
        if (i < n)
            f32_store(p + 8 * i, a[i]);
}
FL_INLINE void f32_load_rows(const float *p, ptrdiff_t stride, ptrdiff_t n, f32v *c)
{
    if (stride == n && n < 4) {
        f32_load_dense(p, n, c);
        return;
    }
    for (int i = 0; i < 4; ++i)
        c[i] = _mm256_insertf128_ps(_mm256_castps128_ps256(f32_load_quad(p + i * stride, n)),
                                    f32_load_quad(p + (i + 4) * stride, n), 1);
    f32_transpose(c);
}
FL_INLINE void f32_store_rows(float *p, ptrdiff_t stride, ptrdiff_t n, const f32v *c)
{
    if (stride == n && n < 4) {
        f32_store_dense(p, n, c);
        return;
    }
    f32v a[4] = {c[0], c[1], c[2], c[3]};
    f32_transpose(a);
    for (int i = 0; i < 4; ++i)
        f32_store_quad(p + i * stride, n, _mm256_castps256_ps128(a[i]));
    for (int i = 0; i < 4; ++i)
        f32_store_quad(p + (i + 4) * stride, n, _mm256_extractf128_ps(a[i], 1));
}
FL_INLINE void f64_load_rows(const double *p, ptrdiff_t stride, ptrdiff_t n, f64v *c)
{
    f64v a[2];
    for (int i = 0; i < 2; ++i)
        a[i] = _mm256_insertf128_pd(_mm256_castpd128_pd256(f64_load_quad(p + i * stride, n)),
                                    f64_load_quad(p + (i + 2) * stride, n), 1);
    c[0] = _mm256_unpacklo_pd(a[0], a[1]);
    c[1] = _mm256_unpackhi_pd(a[0], a[1]);
}
FL_INLINE void f64_store_rows(double *p, ptrdiff_t stride, ptrdiff_t n, const f64v *c)
{
    const f64v a[2] = {_mm256_unpacklo_pd(c[0], c[1]), _mm256_unpackhi_pd(c[0], c[1])};
    for (int i = 0; i < 2; ++i)
        f64_store_quad(p + i * stride, n, _mm256_castpd256_pd128(a[i]));
    for (int i = 0; i < 2; ++i)
        f64_store_quad(p + (i + 2) * stride, n, _mm256_extractf128_pd(a[i], 1));
}
