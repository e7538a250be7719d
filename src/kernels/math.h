/*
 * exp and log1p, for one register of either element type.
 *
 * exp(x) is never taken of a difference. It is taken in a *frame*, an integer exponent N
 * that goes off the result: exp(x) 2^(FRAME_SHIFT - N). With N = rint(max log2 e) of a row
 * no exponential of it overflows, and the logit itself is reduced, unrounded:
 *
 *     n = rint(x log2 e),   r = x - n ln2,   exp(x) 2^-N = exp(r) 2^(n - N).
 *
 * float32 counts n in eighths (EXP_STEPS), of ln2/8. With HI = LN2_HI / EXP_STEPS, x - n HI is
 * exact: both are multiples of half an ulp of HI (for |x| < HI / 2 n is 0), and the difference
 * is below HI. So r has one rounding, that of n LN2_LO / EXP_STEPS.
 *
 * FRAME_SHIFT keeps the exponentials normal numbers wherever the quotient by their sum is
 * at least the smallest subnormal.
 */
#define FRAME_SHIFT 64
#define FRAME_SCALE 0x1p64 /* 2^FRAME_SHIFT */

/* Where temperature is 1 and the row is not huge, x is a logit and `scaled` is 0. Else x
   becomes the pair hi + lo = (x - offset) / temperature. `scaled` is a compile-time constant
   in every use, so that the common case pays nothing. */
typedef struct {
    vec min;    /* (N - FRAME_SHIFT + EXP_LEAST) ln2: less, and so -inf, is raised to it */
    vec magic;  /* ROUND_MAGIC + (EXP_BIAS + FRAME_SHIFT - N) EXP_STEPS: adding it rounds x log2 e
                   to steps, whose number then stands in the low bits */
    vec offset; /* the largest logit of a huge row, where x - offset is exact; else 0 */
    vec inverse, inverse_lo; /* 1 / temperature */
} NAME(frame);

typedef struct {
    vec hi, lo;
} NAME(pair);

/* c[0] + c[1] x + ... + c[n-1] x^(n-1): pairs of terms, and Horner's rule in the square of x.
   It has as many operations as Horner's rule in x, but half the latency. */
FL_INLINE vec NAME(polynomial)(vec x, vec square, const real *c, int n)
{
    vec p = v_set1(c[n - 1]);
    int k = n - 1;
    if (n % 2 == 0) {
        p = v_fma(p, x, v_set1(c[n - 2]));
        k = n - 2;
    }
    while (k > 0) {
        k -= 2;
        p = v_fma(p, square, v_fma(v_set1(c[k + 1]), x, v_set1(c[k])));
    }
    return p;
}
#define POLYNOMIAL(x, square, c)                                                                   \
    NAME(polynomial)(x, square, NAME(c), (int)(sizeof NAME(c) / sizeof *NAME(c)))
#define POLYNOMIAL_F64(x, square, c) polynomial_f64(x, square, c, (int)(sizeof c / sizeof *c))

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
 * exp(x) 2^(FRAME_SHIFT - N), NaN for NaN; x must not be above the frame's logit by more than
 * rounding. For -inf, and all that is too far below the frame, it is 0 in float64. In float32 it
 * is EXP_FACTOR 2^EXP_LEAST: 2^-190 of the row's largest, which no float32 result can show, and
 * which is cheaper than a 0.
 *
 * float64 goes on with r in +-ln2/2. exp(r) is 1 + (r_hi + (r_lo + r^2 P(r))) with the exact
 * r_hi = x - n LN2_HI: adding r_lo to it first, or Horner's rule to the end, would round twice
 * more at the size of r. Relative error below 1.27 * 2^-53.
 *
 * float32 takes n in eighths, and 2^(n/8) from a table of eight, in a register, and an addition
 * to the exponent. With r in +-ln2/16 only the last addition rounds at the size of the result.
 * The table, and so the result, is EXP_FACTOR times too large: a factor that was searched for,
 * with which all eight are right to 0.05 * 2^-24. Relative error below 1.2 * 2^-24.
 *
 * lo, of float64 only, is what hi rounds away: of a few distinct logits that are many, the sum
 * of the exponentials would have the error of one.
 */
FL_INLINE NAME(pair) NAME(exp)(vec x, const NAME(frame) *f, int scaled)
{
    NAME(pair) p = {v_max(f->min, x), x};
    if (scaled)
        p = NAME(in_frame)(x, f);
    const vec t = v_fma(p.hi, v_set1(LOG2E * EXP_STEPS), f->magic);
    const vec n = v_sub(t, f->magic);
    const vec r_hi = v_fma(n, v_set1(-LN2_HI / EXP_STEPS), p.hi);
    const vec ln2_lo = v_set1(-LN2_LO / EXP_STEPS);
#if FL_BITS == 32
    const vec r = scaled ? v_add(r_hi, v_fma(n, ln2_lo, p.lo)) : v_fma(n, ln2_lo, r_hi);
    /* r_hi is there earlier; it is r to |n| 2^-32, so 2^-17, near enough up to FRAME_MAX. */
    const vec q = scaled ? r : r_hi;
    const vec half = v_fma(v_fma(v_set1(EXP_C4), q, v_set1(EXP_C3)), q, v_set1(EXP_C2));
    const vec slope = v_fma(half, r, v_set1(1.0f));
    const vec scale = v_eighth(t, exp_table);
    return (NAME(pair)){v_fma(v_mul(r, scale), slope, scale), v_set1(0.0f)};
#else
    const vec r_lo = scaled ? v_fma(n, ln2_lo, p.lo) : v_mul(n, ln2_lo);
    const vec r = v_add(r_hi, r_lo);
    const vec square = v_mul(r, r);
    const vec tail = v_fma(square, POLYNOMIAL(r, square, exp_coefficients), r_lo);
    const NAME(pair) s = NAME(fast_two_sum)(r_hi, tail);
    const NAME(pair) e = NAME(fast_two_sum)(v_set1((real)1), s.hi);
    const vec scale = v_pow2(t);
    return (NAME(pair)){v_mul(e.hi, scale), v_mul(v_add(e.lo, s.lo), scale)};
#endif
}

#if FL_BITS == 64 /* all that a row's finish needs, of either element type */
/* exp(x) 2^(FRAME_SHIFT - frame_n) as a pair: hi as far as it goes, lo most of what hi rounds
   away. The relative error of the pair is that of the polynomial and of r^2: below 0.15 ulp. */
FL_INLINE NAME(pair) NAME(exp_pair)(NAME(pair) x, vec frame_n)
{
    const vec shift = v_sub(v_set1((real)(EXPONENT_BIAS + FRAME_SHIFT)), frame_n);
    const vec magic = v_add(v_set1(ROUND_MAGIC), shift);
    const vec hi = v_max(v_mul(shift, v_set1((real)-0x1.62e42fefa39efp-1)), x.hi);
    const vec t = v_fma(hi, v_set1(LOG2E), magic);
    const vec n = v_sub(t, magic);
    const NAME(pair) r =
        NAME(two_sum)(v_fma(n, v_set1(-LN2_HI), hi), v_fma(n, v_set1(-LN2_LO), x.lo));
    const vec square = v_mul(r.hi, r.hi);
    const vec tail = v_mul(square, POLYNOMIAL(r.hi, square, exp_coefficients));
    const NAME(pair) s = NAME(fast_two_sum)(r.hi, tail);
    const NAME(pair) e = NAME(fast_two_sum)(v_set1((real)1), s.hi);
    const vec lo = v_add(e.lo, v_fma(r.lo, e.hi, s.lo));
    const vec scale = v_pow2(t);
    return (NAME(pair)){v_mul(e.hi, scale), v_mul(lo, scale)};
}

/*
 * log(1 + q) for 0 <= q < 2^31, error of the pair below 0.3 ulp, and where 1 + q rounds to 1, so
 * that q^2/2 is missing, at most 0.5; NaN for NaN.
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
    const vec r = v_fma(z, POLYNOMIAL(z, v_mul(z, z), log_coefficients), half_square);
    /* f_lo / (1 + f), to a few bits more than f_lo needs */
    const vec slope = v_sub(one, v_mul(f, v_sub(one, v_mul(f, v_sub(one, f)))));
    vec lo = v_fma(f_lo, slope, v_mul(s, r));
    lo = v_fma(k, v_set1(LN2_SHORT_LO), lo);
    const NAME(pair) h = NAME(fast_two_sum)(v_mul(k, v_set1(LN2_SHORT_HI)), f);
    lo = v_add(h.lo, v_sub(lo, half_square));
    return NAME(fast_two_sum)(h.hi, lo);
}
#endif
