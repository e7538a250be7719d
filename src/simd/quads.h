/*
 * 16 bytes of a row, or the first n elements of them, for the transposing loads and stores of both
 * x86 vocabularies. No masks: in the store of a part of a wider register they do not keep what is
 * masked off from faulting.
 */
FL_INLINE __m128 f32_load_quad(const float *p, ptrdiff_t n)
{
    if (n == 4)
        return _mm_loadu_ps(p);
    const __m128 two = n >= 2 ? _mm_castsi128_ps(_mm_loadl_epi64((const __m128i *)(const void *)p))
                              : _mm_setzero_ps();
    if (n == 1)
        return _mm_load_ss(p);
    return n == 3 ? _mm_movelh_ps(two, _mm_load_ss(p + 2)) : two;
}
FL_INLINE void f32_store_quad(float *p, ptrdiff_t n, __m128 a)
{
    if (n == 4) {
        _mm_storeu_ps(p, a);
        return;
    }
    if (n >= 2)
        _mm_storel_epi64((__m128i *)(void *)p, _mm_castps_si128(a));
    if (n == 1)
        _mm_store_ss(p, a);
    if (n == 3)
        _mm_store_ss(p + 2, _mm_movehl_ps(a, a));
}
FL_INLINE __m128d f64_load_quad(const double *p, ptrdiff_t n)
{
    return n == 2 ? _mm_loadu_pd(p) : n == 1 ? _mm_load_sd(p) : _mm_setzero_pd();
}
FL_INLINE void f64_store_quad(double *p, ptrdiff_t n, __m128d a)
{
    if (n == 2)
        _mm_storeu_pd(p, a);
    else if (n == 1)
        _mm_store_sd(p, a);
}

FL_INLINE void v_fence(void) { _mm_sfence(); }
