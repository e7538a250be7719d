/*
 * From the state of a row to its normaliser, in float64 for both element types: one row
 * per lane. float64 needs pairs; for float32 one number is enough, and `lo` is 0, and its
 * exponentials and logarithms have relative errors below 2^-34.
 *
 * The largest logit is not in `rest`, so that log(sum) is max + log1p(rest / exp(max)),
 * right to its own last place however confident the row.
 */
#if FL_BITS == 64
typedef struct {
    pair_f64 max;  /* (largest logit - offset) / temperature */
    f64v equal;    /* how many logits equal the largest */
    pair_f64 rest; /* the sum of the exponentials of all the others, in the frame */
    f64v n;        /* the exponent of the frame */
} row_state;

typedef struct {
    pair_f64 sum;     /* of the exponentials, in the frame */
    pair_f64 inverse; /* 1 / sum */
    pair_f64 largest; /* the probability of the largest logit */
    pair_f64 others;  /* that of all the others, right to its own last place too */
} normaliser_parts;

FL_INLINE pair_f64 single(f64v a) { return (pair_f64){a, v_set1(0.0)}; }

FL_INLINE pair_f64 wide_add_f64(pair_f64 a, pair_f64 b)
{
    const pair_f64 s = two_sum_f64(a.hi, b.hi);
    return fast_two_sum_f64(s.hi, v_add(s.lo, v_add(a.lo, b.lo)));
}

/* a b + c, of a number a. */
FL_INLINE pair_f64 wide_fma_f64(f64v a, pair_f64 b, pair_f64 c)
{
    const f64v product = v_mul(a, b.hi);
    const f64v product_lo = v_fma(a, b.hi, v_sub(v_set1(0.0), product));
    return wide_add_f64(c, (pair_f64){product, v_fma(a, b.lo, product_lo)});
}

/* a / b, of which the pair is right to about twice the precision. */
FL_INLINE pair_f64 wide_div_f64(pair_f64 a, pair_f64 b)
{
    const f64v minus_q = v_div(v_sub(v_set1(0.0), a.hi), b.hi);
    f64v remainder = v_fma(minus_q, b.hi, a.hi);
    remainder = v_add(remainder, v_fma(minus_q, b.lo, a.lo));
    return fast_two_sum_f64(v_sub(v_set1(0.0), minus_q), v_div(remainder, b.hi));
}

/* exp(x) 2^(FRAME_SHIFT - n) */
FL_INLINE pair_f64 wide_exp_f64(pair_f64 x, f64v n) { return exp_pair_f64(x, n); }

/* log(1 + q) for 0 <= q < 2^31 */
FL_INLINE pair_f64 wide_log1p_f64(pair_f64 q) { return log1p_f64(q); }

/* a / b, where 1 / b is there already. */
FL_INLINE pair_f64 wide_quotient_f64(pair_f64 a, pair_f64 b, pair_f64 inverse)
{
    (void)inverse;
    return wide_div_f64(a, b);
}
#else
FL_INLINE pair_f64 wide_add_f32(pair_f64 a, pair_f64 b) { return single(v_add(a.hi, b.hi)); }

FL_INLINE pair_f64 wide_fma_f32(f64v a, pair_f64 b, pair_f64 c)
{
    return single(v_fma(a, b.hi, c.hi));
}

FL_INLINE pair_f64 wide_div_f32(pair_f64 a, pair_f64 b) { return single(v_div(a.hi, b.hi)); }

FL_INLINE pair_f64 wide_exp_f32(pair_f64 x, f64v n)
{
    const f64v log2e = v_set1(0x1.71547652b82fep+0);
    /* 2^-1000 for all that is further down: no float32 shows the difference. */
    const f64v t = v_max(v_sub(n, v_set1(1000.0)), v_mul(x.hi, log2e));
    const f64v k = v_sub(v_add(t, v_set1(0x1.8p52)), v_set1(0x1.8p52));
    const f64v r = v_sub(t, k), square = v_mul(r, r);
    const f64v p = POLYNOMIAL_F64(r, square, exp2_coefficients_f64);
    const f64v biased = v_add(v_set1(1023.0 + FRAME_SHIFT), v_sub(k, n));
    return single(v_mul(p, v_pow2(v_add(biased, v_set1(0x1.8p52)))));
}

FL_INLINE pair_f64 wide_log1p_f32(pair_f64 q)
{
    const f64v one = v_set1(1.0), u = v_add(one, q.hi);
    const f64v k = v_ilogb(v_mul(u, v_set1(1.4142135623730951)));
    const f64v scale = v_pow2(v_sub(v_set1(0x1.8p52 + 1023.0), k));
    /* What 1 + q rounds away matters only where k is 0. */
    const f64v f = v_select(v_ne(k, v_set1(0.0)), v_fma(u, scale, v_set1(-1.0)), q.hi);
    const f64v s = v_div(f, v_add(f, v_set1(2.0))), z = v_mul(s, s);
    const f64v p = POLYNOMIAL_F64(z, v_mul(z, z), short_log_coefficients_f64);
    const f64v log = v_fma(v_mul(s, z), p, v_add(s, s));
    return single(v_fma(k, v_set1(0x1.62e42fefa39efp-1), log));
}

FL_INLINE pair_f64 wide_quotient_f32(pair_f64 a, pair_f64 b, pair_f64 inverse)
{
    (void)b;
    return single(v_mul(a.hi, inverse.hi));
}
#endif

/* Registers of float64 for one of real, and the ways between. */
#define HALVES (WIDTH / FL_WIDTH_F64)
FL_INLINE f64v NAME(widened)(vec a, int i)
{
#if FL_BITS == 64
    (void)i;
    return a;
#else
    return v_half(a, i);
#endif
}
FL_INLINE vec NAME(rounded)(const f64v *a)
{
#if FL_BITS == 64
    return a[0];
#else
    return v_join(a[0], a[1]);
#endif
}

/* All of the equal ones but one are rest, too. */
FL_INLINE pair_f64 NAME(whole_rest)(const row_state *s, pair_f64 e)
{
    return NAME(wide_fma)(v_sub(s->equal, v_set1(1.0)), e, s->rest);
}

FL_INLINE pair_f64 NAME(exp_of_max)(const row_state *s) { return NAME(wide_exp)(s->max, s->n); }

/* With e of exp_of_max. */
FL_INLINE normaliser_parts NAME(normaliser_of)(const row_state *s, pair_f64 e)
{
    const pair_f64 rest = NAME(whole_rest)(s, e), sum = NAME(wide_add)(e, rest);
    const pair_f64 inverse = NAME(wide_div)(single(v_set1(1.0)), sum);
    return (normaliser_parts){
        .sum = sum,
        .inverse = inverse,
        .largest = NAME(wide_quotient)(e, sum, inverse),
        .others = NAME(wide_quotient)(rest, sum, inverse),
    };
}

FL_INLINE normaliser_parts NAME(finish_normaliser)(const row_state *s)
{
    return NAME(normaliser_of)(s, NAME(exp_of_max)(s));
}

/* The sum of the exponentials / exp(max), less 1. */
FL_INLINE pair_f64 NAME(finish_ratio)(const row_state *s)
{
    const pair_f64 e = NAME(exp_of_max)(s);
    return NAME(wide_div)(NAME(whole_rest)(s, e), e);
}

/* log(the sum of the exponentials / exp(max)): logsumexp - max. */
FL_INLINE pair_f64 NAME(finish_log)(const row_state *s)
{
    return NAME(wide_log1p)(NAME(finish_ratio)(s));
}
