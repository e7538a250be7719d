/*
 * The vocabulary on AVX-512 (F, CD, BW, DQ, VL). The contract is in vocabulary.h.
 */
#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#include "quads.h"

#define FL_WIDTH_F32 16
#define FL_WIDTH_F64 8

typedef __m512 f32v;
typedef __m512d f64v;
typedef __mmask16 f32m;
typedef __mmask8 f64m;

FL_INLINE f32v f32_set1(float a) { return _mm512_set1_ps(a); }
FL_INLINE f64v f64_set1(double a) { return _mm512_set1_pd(a); }
FL_INLINE f32v f32_load(const float *p) { return _mm512_loadu_ps(p); }
FL_INLINE f64v f64_load(const double *p) { return _mm512_loadu_pd(p); }
FL_INLINE void f32_store(float *p, f32v a) { _mm512_storeu_ps(p, a); }
FL_INLINE void f64_store(double *p, f64v a) { _mm512_storeu_pd(p, a); }
FL_INLINE void f32_stream(float *p, f32v a) { _mm512_stream_ps(p, a); }
FL_INLINE void f64_stream(double *p, f64v a) { _mm512_stream_pd(p, a); }

FL_INLINE f32m f32_first_lanes(ptrdiff_t n)
{
    return n >= 16 ? (f32m)0xffff : n <= 0 ? (f32m)0 : (f32m)((1u << n) - 1u);
}
FL_INLINE f64m f64_first_lanes(ptrdiff_t n)
{
    return n >= 8 ? (f64m)0xff : n <= 0 ? (f64m)0 : (f64m)((1u << n) - 1u);
}
FL_INLINE f32v f32_load_part(const float *p, ptrdiff_t n, f32v fill)
{
    return _mm512_mask_loadu_ps(fill, f32_first_lanes(n), p);
}
FL_INLINE f64v f64_load_part(const double *p, ptrdiff_t n, f64v fill)
{
    return _mm512_mask_loadu_pd(fill, f64_first_lanes(n), p);
}
FL_INLINE void f32_store_part(float *p, ptrdiff_t n, f32v a)
{
    _mm512_mask_storeu_ps(p, f32_first_lanes(n), a);
}
FL_INLINE void f64_store_part(double *p, ptrdiff_t n, f64v a)
{
    _mm512_mask_storeu_pd(p, f64_first_lanes(n), a);
}

FL_INLINE f32v f32_add(f32v a, f32v b) { return _mm512_add_ps(a, b); }
FL_INLINE f64v f64_add(f64v a, f64v b) { return _mm512_add_pd(a, b); }
FL_INLINE f32v f32_sub(f32v a, f32v b) { return _mm512_sub_ps(a, b); }
FL_INLINE f64v f64_sub(f64v a, f64v b) { return _mm512_sub_pd(a, b); }
FL_INLINE f32v f32_mul(f32v a, f32v b) { return _mm512_mul_ps(a, b); }
FL_INLINE f64v f64_mul(f64v a, f64v b) { return _mm512_mul_pd(a, b); }
FL_INLINE f32v f32_div(f32v a, f32v b) { return _mm512_div_ps(a, b); }
FL_INLINE f64v f64_div(f64v a, f64v b) { return _mm512_div_pd(a, b); }
FL_INLINE f32v f32_fma(f32v a, f32v b, f32v c) { return _mm512_fmadd_ps(a, b, c); }
FL_INLINE f64v f64_fma(f64v a, f64v b, f64v c) { return _mm512_fmadd_pd(a, b, c); }
FL_INLINE f32v f32_fnma(f32v a, f32v b, f32v c) { return _mm512_fnmadd_ps(a, b, c); }
FL_INLINE f64v f64_fnma(f64v a, f64v b, f64v c) { return _mm512_fnmadd_pd(a, b, c); }
FL_INLINE f32v f32_max(f32v a, f32v b) { return _mm512_max_ps(a, b); }
FL_INLINE f64v f64_max(f64v a, f64v b) { return _mm512_max_pd(a, b); }
FL_INLINE f32v f32_min(f32v a, f32v b) { return _mm512_min_ps(a, b); }
FL_INLINE f64v f64_min(f64v a, f64v b) { return _mm512_min_pd(a, b); }
FL_INLINE f32v f32_abs(f32v a) { return _mm512_abs_ps(a); }
FL_INLINE f64v f64_abs(f64v a) { return _mm512_abs_pd(a); }

FL_INLINE f32m f32_eq(f32v a, f32v b) { return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ); }
FL_INLINE f64m f64_eq(f64v a, f64v b) { return _mm512_cmp_pd_mask(a, b, _CMP_EQ_OQ); }
FL_INLINE f32m f32_ne(f32v a, f32v b) { return _mm512_cmp_ps_mask(a, b, _CMP_NEQ_UQ); }
FL_INLINE f64m f64_ne(f64v a, f64v b) { return _mm512_cmp_pd_mask(a, b, _CMP_NEQ_UQ); }
FL_INLINE f32m f32_gt(f32v a, f32v b) { return _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ); }
FL_INLINE f64m f64_gt(f64v a, f64v b) { return _mm512_cmp_pd_mask(a, b, _CMP_GT_OQ); }
FL_INLINE f32v f32_keep(f32m m, f32v a) { return _mm512_maskz_mov_ps(m, a); }
FL_INLINE f64v f64_keep(f64m m, f64v a) { return _mm512_maskz_mov_pd(m, a); }
FL_INLINE f32v f32_count(f32m m, f32v a)
{
    return _mm512_mask_add_ps(a, m, a, _mm512_set1_ps(1.0f));
}
FL_INLINE f64v f64_count(f64m m, f64v a)
{
    return _mm512_mask_add_pd(a, m, a, _mm512_set1_pd(1.0));
}
FL_INLINE unsigned f32_lanes(f32m m) { return m; }
FL_INLINE unsigned f64_lanes(f64m m) { return m; }
FL_INLINE f32v f32_select(f32m m, f32v a, f32v b) { return _mm512_mask_blend_ps(m, b, a); }
FL_INLINE f64v f64_select(f64m m, f64v a, f64v b) { return _mm512_mask_blend_pd(m, b, a); }

FL_INLINE f32v f32_pow2(f32v t)
{
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_castps_si512(t), 23));
}
FL_INLINE f64v f64_pow2(f64v t)
{
    return _mm512_castsi512_pd(_mm512_slli_epi64(_mm512_castpd_si512(t), 52));
}
FL_INLINE f32v f32_eighth(f32v t, const uint32_t *table)
{
    const __m512i i = _mm512_castps_si512(t);
    const __m256i eight = _mm256_loadu_si256((const __m256i *)(const void *)table);
    const __m512i entry = _mm512_permutexvar_epi32(i, _mm512_broadcast_i32x8(eight));
    return _mm512_castsi512_ps(_mm512_add_epi32(entry, _mm512_slli_epi32(i, 20)));
}
FL_INLINE f32v f32_ilogb(f32v a) { return _mm512_getexp_ps(a); }
FL_INLINE f64v f64_ilogb(f64v a) { return _mm512_getexp_pd(a); }

FL_INLINE f64v f32_half(f32v a, int half)
{
    return _mm512_cvtps_pd(half ? _mm512_extractf32x8_ps(a, 1) : _mm512_castps512_ps256(a));
}
FL_INLINE f64v f32_load_half(const float *p) { return _mm512_cvtps_pd(_mm256_loadu_ps(p)); }
FL_INLINE float f32_hmax(f32v a) { return _mm512_reduce_max_ps(a); }
FL_INLINE double f64_hmax(f64v a) { return _mm512_reduce_max_pd(a); }
FL_INLINE double f64_first(f64v a) { return _mm512_cvtsd_f64(a); }
FL_INLINE f32v f32_join(f64v a, f64v b)
{
    return _mm512_insertf32x8(_mm512_castps256_ps512(_mm512_cvtpd_ps(a)), _mm512_cvtpd_ps(b), 1);
}
FL_INLINE f32v f32_load_f16(const void *p)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p));
}
FL_INLINE void f32_store_f16(void *p, f32v a)
{
    _mm256_storeu_si256((__m256i *)p, _mm512_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT));
}
/* The instructions for bfloat16 would flush subnormal numbers. */
FL_INLINE f32v f32_load_bf16(const void *p)
{
    const __m512i bits = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)p));
    return _mm512_castsi512_ps(_mm512_slli_epi32(bits, 16));
}
FL_INLINE void f32_store_bf16(void *p, f32v a)
{
    const __m512i bits = _mm512_castps_si512(a), upper = _mm512_srli_epi32(bits, 16);
    const __m512i odd = _mm512_and_si512(upper, _mm512_set1_epi32(1));
    const __m512i up = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
    const __mmask16 nan = _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q);
    const __m512i quiet = _mm512_or_si512(upper, _mm512_set1_epi32(0x40));
    const __m512i half = _mm512_mask_mov_epi32(_mm512_srli_epi32(up, 16), nan, quiet);
    _mm256_storeu_si256((__m256i *)p, _mm512_cvtepi32_epi16(half));
}

/* In every 16 bytes, the 4 x 4 numbers of a: rows become columns. */
FL_INLINE void f32_transpose(f32v *a)
{
    const __m512d t0 = _mm512_castps_pd(_mm512_unpacklo_ps(a[0], a[1]));
    const __m512d t1 = _mm512_castps_pd(_mm512_unpackhi_ps(a[0], a[1]));
    const __m512d t2 = _mm512_castps_pd(_mm512_unpacklo_ps(a[2], a[3]));
    const __m512d t3 = _mm512_castps_pd(_mm512_unpackhi_ps(a[2], a[3]));
    a[0] = _mm512_castpd_ps(_mm512_unpacklo_pd(t0, t2));
    a[1] = _mm512_castpd_ps(_mm512_unpackhi_pd(t0, t2));
    a[2] = _mm512_castpd_ps(_mm512_unpacklo_pd(t1, t3));
    a[3] = _mm512_castpd_ps(_mm512_unpackhi_pd(t1, t3));
}
/* Of a, b and c in turns, a in lane `first` and every third from there. */
FL_INLINE f32v f32_thirds(int first, f32v a, f32v b, f32v c)
{
    static const __mmask16 third[] = {0x9249, 0x2492, 0x4924};
    const f32v ab = _mm512_mask_blend_ps(third[(first + 1) % 3], a, b);
    return _mm512_mask_blend_ps(third[(first + 2) % 3], ab, c);
}
/* Lane i from lane factor (i + summand) mod 16 or, of two registers, mod 32. */
FL_INLINE __m512i f32_lanes_from(int factor, int summand)
{
    const __m512i i = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    return _mm512_mullo_epi32(_mm512_add_epi32(i, _mm512_set1_epi32(summand)),
                              _mm512_set1_epi32(factor));
}
/* Rows of n <= 3 elements without gaps, as n whole registers. Of three, each column is in every
   third lane of each register, but in none where it is in another register: together they fill one,
   in an order that one permutation undoes. */
FL_INLINE void f32_load_dense(const float *p, ptrdiff_t n, f32v *c)
{
    f32v a[3];
    for (int i = 0; i < 3; ++i)
        c[i] = a[i] = i < n ? f32_load(p + 16 * i) : f32_set1(0.0f);
    c[3] = f32_set1(0.0f);
    if (n == 2) {
        const __m512i even = f32_lanes_from(2, 0);
        c[0] = _mm512_permutex2var_ps(a[0], even, a[1]);
        c[1] = _mm512_permutex2var_ps(a[0], _mm512_add_epi32(even, _mm512_set1_epi32(1)), a[1]);
    } else if (n == 3) {
        c[0] = _mm512_permutexvar_ps(f32_lanes_from(3, 0), f32_thirds(0, a[0], a[2], a[1]));
        c[1] = _mm512_permutexvar_ps(f32_lanes_from(3, 11), f32_thirds(1, a[0], a[2], a[1]));
        c[2] = _mm512_permutexvar_ps(f32_lanes_from(3, 6), f32_thirds(2, a[0], a[2], a[1]));
    }
}
FL_INLINE void f32_store_dense(float *p, ptrdiff_t n, const f32v *c)
{
    f32v a[3] = {c[0], c[1], c[2]};
    if (n == 2) {
        const __m512i low =
            _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
        a[0] = _mm512_permutex2var_ps(c[0], low, c[1]);
        a[1] = _mm512_permutex2var_ps(c[0], _mm512_add_epi32(low, _mm512_set1_epi32(8)), c[1]);
    } else if (n == 3) {
        const f32v c0 = _mm512_permutexvar_ps(f32_lanes_from(11, 0), c[0]);
        const f32v c1 = _mm512_permutexvar_ps(f32_lanes_from(11, -1), c[1]);
        const f32v c2 = _mm512_permutexvar_ps(f32_lanes_from(11, -2), c[2]);
        for (int i = 0; i < 3; ++i)
            a[i] = f32_thirds((3 - i) % 3, c0, c1, c2);
    }
    for (int i = 0; i < 3; ++i)
        if (i < n)
            f32_store(p + 16 * i, a[i]);
}
FL_INLINE void f32_load_rows(const float *p, ptrdiff_t stride, ptrdiff_t n, f32v *c)
{
    if (stride == n && n < 4) {
        f32_load_dense(p, n, c);
        return;
    }
    /* Four rows a register: i, i + 4, i + 8, i + 12 in the order of lanes. */
    const float *p4 = p + 4 * stride, *p8 = p + 8 * stride, *p12 = p + 12 * stride;
    for (int i = 0; i < 4; ++i) {
        __m512 a = _mm512_castps128_ps512(f32_load_quad(p + i * stride, n));
        a = _mm512_mask_broadcast_f32x4(a, 0x00f0, f32_load_quad(p4 + i * stride, n));
        a = _mm512_mask_broadcast_f32x4(a, 0x0f00, f32_load_quad(p8 + i * stride, n));
        c[i] = _mm512_mask_broadcast_f32x4(a, 0xf000, f32_load_quad(p12 + i * stride, n));
    }
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
        f32_store_quad(p + i * stride, n, _mm512_castps512_ps128(a[i]));
    for (int i = 0; i < 4; ++i)
        f32_store_quad(p + (i + 4) * stride, n, _mm512_extractf32x4_ps(a[i], 1));
    for (int i = 0; i < 4; ++i)
        f32_store_quad(p + (i + 8) * stride, n, _mm512_extractf32x4_ps(a[i], 2));
    for (int i = 0; i < 4; ++i)
        f32_store_quad(p + (i + 12) * stride, n, _mm512_extractf32x4_ps(a[i], 3));
}
FL_INLINE void f64_load_rows(const double *p, ptrdiff_t stride, ptrdiff_t n, f64v *c)
{
    /* Four rows a register: i, i + 2, i + 4, i + 6. */
    f64v a[2];
    for (int i = 0; i < 2; ++i) {
        const double *row = p + i * stride;
        a[i] = _mm512_castpd128_pd512(f64_load_quad(row, n));
        a[i] = _mm512_mask_broadcast_f64x2(a[i], 0x0c, f64_load_quad(row + 2 * stride, n));
        a[i] = _mm512_mask_broadcast_f64x2(a[i], 0x30, f64_load_quad(row + 4 * stride, n));
        a[i] = _mm512_mask_broadcast_f64x2(a[i], 0xc0, f64_load_quad(row + 6 * stride, n));
    }
    c[0] = _mm512_unpacklo_pd(a[0], a[1]);
    c[1] = _mm512_unpackhi_pd(a[0], a[1]);
}
FL_INLINE void f64_store_rows(double *p, ptrdiff_t stride, ptrdiff_t n, const f64v *c)
{
    const f64v a[2] = {_mm512_unpacklo_pd(c[0], c[1]), _mm512_unpackhi_pd(c[0], c[1])};
    for (int i = 0; i < 2; ++i)
        f64_store_quad(p + i * stride, n, _mm512_castpd512_pd128(a[i]));
    for (int i = 0; i < 2; ++i)
        f64_store_quad(p + (i + 2) * stride, n, _mm512_extractf64x2_pd(a[i], 1));
    for (int i = 0; i < 2; ++i)
        f64_store_quad(p + (i + 4) * stride, n, _mm512_extractf64x2_pd(a[i], 2));
    for (int i = 0; i < 2; ++i)
        f64_store_quad(p + (i + 6) * stride, n, _mm512_extractf64x2_pd(a[i], 3));
}
