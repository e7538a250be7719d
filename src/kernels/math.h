/*
 * exp and log1p, for one register of either element type.
 *
 * exp(x) is never taken of a difference. It is taken in a *frame*, an integer exponent N
 * that goes off the result: exp(x) 2^(FRAME_SHIFT - N). With N = rint(max log2 e) of a row
 * no exponential of it overflows, and the logit itself is reduced, unrounded:
 *
 *     n = rint(x log2 e),   r = x - n ln2,   exp(x) 2^-N = exp(r) 2^(n - N).
 *
 * x - n LN2_HI is exact: both are multiples of half an ulp of LN2_HI (for |x| < LN2_HI / 2
 * n is 0), and the difference is below LN2_HI. So r has one rounding, that of n LN2_LO.
 *
 * FRAME_SHIFT keeps the exponentials normal numbers wherever the quotient by their sum is
 * at least the smallest subnormal.
 */
#define FRAME_SHIFT 64

/* Where temperature is 1 and the row is not huge, x is a logit and `scaled` is 0. Else x
   becomes the pair hi + lo = (x - offset) / temperature. `scaled` is a compile-time constant
   in every use, so that the common case pays nothing. */
typedef struct {
    vec min;    /* its exponential is an exact 0; less is raised to it, so that -inf is 0 too */
    vec magic;  /* ROUND_MAGIC + EXPONENT_BIAS + FRAME_SHIFT - N: adding it rounds x log2 e to an
                   integer whose low bits are the exponent field of the result */
    vec offset; /* the largest logit of a huge row, where x - offset is exact; else 0 */
    vec inverse, inverse_lo; /* 1 / temperature */
} NAME(frame);

typedef struct {
    vec hi, lo;
} NAME(pair);

FL_INLINE vec NAME(polynomial)(vec x, const real *c, int n)
{
    vec p = v_set1(c[n - 1]);
    for (int k = n - 2; k >= 0; --k)
        p = v_fma(p, x, v_set1(c[k]));
    return p;
}
#define POLYNOMIAL(x, c) NAME(polynomial)(x, NAME(c), (int)(sizeof NAME(c) / sizeof *NAME(c)))

/* hi + lo = a + b exactly, for finite a and b of any size. */
FL_INLINE NAME(pair) NAME(two_sum)(vec a, vec b)
{
    const vec s = v_add(a, b);
    const vec t = v_sub(s, a);
    return (NAME(pair)){s, v_add(v_sub(a, v_sub(s, t)), v_sub(b, t))};
}

/* The same for |a| >= |b| or a = 0. */
FL_INLINE NAME(pair) NAME(fast_two_sum)(vec a, vec b)
{
    const vec s = v_add(a, b);
    return (NAME(pair)){s, v_sub(b, v_sub(s, a))};
}

FL_INLINE NAME(pair) NAME(in_frame)(vec x, const NAME(frame) *f)
{
    const vec zero = v_set1((real)0);
    const vec d = v_sub(x, f->offset);
    /* 0 / temperature is 0 also where 1 / temperature is infinite. */
    const vec hi = v_max(f->min, v_select(v_ne(d, zero), v_mul(d, f->inverse), zero));
    const vec lo = v_fma(d, f->inverse_lo, v_fma(d, f->inverse, v_sub(zero, hi)));
    /* Where hi is 0 or was raised to the least, lo means nothing. */
    return (NAME(pair)){hi, v_select(v_gt(hi, f->min), v_select(v_ne(d, zero), lo, zero), zero)};
}

/*
 * exp(x) 2^(FRAME_SHIFT - N). 0 for -inf and for all that is too far below the frame, NaN for
 * NaN; x must not be above the frame's logit by more than rounding.
 *
 * exp(r) is 1 + (r_hi + (r_lo + r^2 P(r))) with the exact r_hi = x - n LN2_HI: adding r_lo to
 * it first, or Horner's rule to the end, would round twice more at the size of r. Relative
 * error below 1.07 * 2^-24 for float32, 2^-53 for float64.
 */
FL_INLINE vec NAME(exp)(vec x, const NAME(frame) *f, int scaled)
{
    NAME(pair) p = {v_max(f->min, x), x};
    if (scaled)
        p = NAME(in_frame)(x, f);
    const vec t = v_fma(p.hi, v_set1(LOG2E), f->magic);
    const vec n = v_sub(t, f->magic);
    const vec r_hi = v_fma(n, v_set1(-LN2_HI), p.hi);
    const vec n_lo = v_set1(-LN2_LO);
    const vec r_lo = scaled ? v_fma(n, n_lo, p.lo) : v_mul(n, n_lo);
    const vec r = v_add(r_hi, r_lo);
    const vec tail = v_fma(v_mul(r, r), POLYNOMIAL(r, exp_coefficients), r_lo);
    return v_mul(v_add(v_set1((real)1), v_add(r_hi, tail)), v_pow2(t));
}

/* The same as a pair: hi as far as it goes, lo most of what hi rounds away. The relative
   error of the pair is that of the polynomial and of r^2: below 0.1 ulp. */
FL_INLINE NAME(pair) NAME(exp_pair)(NAME(pair) x, const NAME(frame) *f)
{
    const vec hi = v_max(f->min, x.hi);
    const vec t = v_fma(hi, v_set1(LOG2E), f->magic);
    const vec n = v_sub(t, f->magic);
    const NAME(pair) r =
        NAME(two_sum)(v_fma(n, v_set1(-LN2_HI), hi), v_fma(n, v_set1(-LN2_LO), x.lo));
    const vec tail = v_mul(v_mul(r.hi, r.hi), POLYNOMIAL(r.hi, exp_coefficients));
    const NAME(pair) s = NAME(fast_two_sum)(r.hi, tail);
    const NAME(pair) e = NAME(fast_two_sum)(v_set1((real)1), s.hi);
    const vec lo = v_add(e.lo, v_fma(r.lo, e.hi, s.lo));
    const vec scale = v_pow2(t);
    return (NAME(pair)){v_mul(e.hi, scale), v_mul(lo, scale)};
}

/*
 * log(1 + q) for 0 <= q < 2^31, relative error of the pair below 0.3 ulp; NaN for NaN.
 *
 * 1 + q = 2^k (1 + f) with 1 + f in [sqrt(1/2), sqrt(2)), and with s = f / (2 + f)
 *     log(1 + f) = 2 atanh(s) = f - f^2/2 + s (f^2/2 + s^2 P(s^2)),
 * which keeps f, of which nothing is lost, as the leading term.
 */
FL_INLINE NAME(pair) NAME(log1p)(NAME(pair) q)
{
    const vec one = v_set1((real)1);
    NAME(pair) u = NAME(two_sum)(one, q.hi);
    u.lo = v_add(u.lo, q.lo);
    const vec k = v_ilogb(v_mul(u.hi, v_set1((real)1.4142135623730951)));
    const vec scale = v_pow2(v_sub(v_set1((real)(ROUND_MAGIC + EXPONENT_BIAS)), k));
    const vec f = v_sub(v_mul(u.hi, scale), one);
    const vec f_lo = v_mul(u.lo, scale);
    const vec half_square = v_mul(v_mul(f, f), v_set1((real)0.5));
    const vec s = v_div(f, v_add(f, v_set1((real)2)));
    const vec z = v_mul(s, s);
    const vec r = v_fma(z, POLYNOMIAL(z, log_coefficients), half_square);
    /* f_lo / (1 + f), to a few bits more than f_lo needs */
    const vec slope = v_sub(one, v_mul(f, v_sub(one, v_mul(f, v_sub(one, f)))));
    vec lo = v_fma(f_lo, slope, v_mul(s, r));
    lo = v_fma(k, v_set1(LN2_SHORT_LO), lo);
    const NAME(pair) h = NAME(fast_two_sum)(v_mul(k, v_set1(LN2_SHORT_HI)), f);
    lo = v_add(h.lo, v_sub(lo, half_square));
    return NAME(fast_two_sum)(h.hi, lo);
}
