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

FL_INLINE pair_f64 wide_sub_f64(pair_f64 a, pair_f64 b)
{
    const f64v zero = v_set1(0.0);
    return wide_add_f64(a, (pair_f64){v_sub(zero, b.hi), v_sub(zero, b.lo)});
}

/* a b, of a number b. */
FL_INLINE pair_f64 wide_times_f64(pair_f64 a, f64v b)
{
    const f64v product = v_mul(a.hi, b);
    const f64v product_lo = v_fma(a.hi, b, v_sub(v_set1(0.0), product));
    return (pair_f64){product, v_add(product_lo, v_mul(a.lo, b))};
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
    const f64v q = v_div(a.hi, b.hi);
    const f64v remainder = v_add(v_fnma(q, b.hi, a.hi), v_fnma(q, b.lo, a.lo));
    return fast_two_sum_f64(q, v_div(remainder, b.hi));
}

/* exp(x) 2^(FRAME_SHIFT - n) */
FL_INLINE pair_f64 wide_exp_f64(pair_f64 x, f64v n) { return exp_pair_f64(x, n); }

/* The same of a frame's own largest logit x, of which n is x log2 e to 0.501. */
FL_INLINE pair_f64 wide_exp_own_f64(pair_f64 x, f64v n) { return exp_pair_f64(x, n); }

/* What wide_log_f64 makes log(1 + rest / e) of, of a quotient in [0, 2^31): that. */
FL_INLINE pair_f64 log_argument_f64(pair_f64 rest, pair_f64 e) { return wide_div_f64(rest, e); }

FL_INLINE pair_f64 wide_log_f64(pair_f64 q) { return log1p_f64(q); }

/* The same, and 1 / sum of sum = e + rest. */
FL_INLINE pair_f64 log_argument_and_inverse_f64(pair_f64 rest, pair_f64 e, pair_f64 sum,
                                                pair_f64 *inverse)
{
    *inverse = wide_div_f64(single(v_set1(1.0)), sum);
    return log_argument_f64(rest, e);
}

/* a / b, where 1 / b is there already. */
FL_INLINE pair_f64 wide_quotient_f64(pair_f64 a, pair_f64 b, pair_f64 inverse)
{
    (void)inverse;
    return wide_div_f64(a, b);
}
#else
FL_INLINE pair_f64 wide_add_f32(pair_f64 a, pair_f64 b) { return single(v_add(a.hi, b.hi)); }

FL_INLINE pair_f64 wide_sub_f32(pair_f64 a, pair_f64 b) { return single(v_sub(a.hi, b.hi)); }

FL_INLINE pair_f64 wide_times_f32(pair_f64 a, f64v b) { return single(v_mul(a.hi, b)); }

FL_INLINE pair_f64 wide_fma_f32(f64v a, pair_f64 b, pair_f64 c)
{
    return single(v_fma(a, b.hi, c.hi));
}

FL_INLINE pair_f64 wide_div_f32(pair_f64 a, pair_f64 b) { return single(v_div(a.hi, b.hi)); }

FL_INLINE pair_f64 wide_exp_f32(pair_f64 x, f64v n)
{
    /* exp(x) 2^-n = 2^-t; 2^-1000 for all that is further down: no float32 shows the difference. */
    const f64v t = v_min(v_set1(1000.0), v_fnma(x.hi, v_set1(0x1.71547652b82fep+0), n));
    const f64v magic = v_set1(0x1.8p52 + 1023.0 + FRAME_SHIFT), biased = v_sub(magic, t);
    const f64v r = v_add(t, v_sub(biased, magic));
    const f64v p = POLYNOMIAL_F64(r, v_mul(r, r), exp2_coefficients_f64);
    return single(v_mul(p, v_pow2(biased)));
}

FL_INLINE pair_f64 wide_exp_own_f32(pair_f64 x, f64v n)
{
    const f64v r = v_fnma(x.hi, v_set1(0x1.71547652b82fep+0), n);
    const f64v p = POLYNOMIAL_F64(r, v_mul(r, r), exp2_coefficients_f64);
    return single(v_mul(p, v_set1(FRAME_SCALE)));
}

/*
 * log(1 + rest / e) = k ln2 + 2 atanh(top / bottom) with one division, where rest / e would take
 * another: 1 + rest / e is 2^k (1 + f), and top / bottom is f / (2 + f).
 *
 * e is wide_exp_own, 2^FRAME_SHIFT times 2^+-0.501. There a line is as near to 1 / e as 2^+-0.086,
 * which will do for k: 1 + f is in 2^+-0.587.
 */
typedef struct {
    f64v top, bottom, k;
} log_fraction;

FL_INLINE log_fraction log_fraction_of(f64v rest, f64v e, f64v sum)
{
    /* sqrt(2) / e, as far above it between the ends as below it there */
    const f64v near =
        v_fma(e, v_set1(-1.3331 / (FRAME_SCALE * FRAME_SCALE)), v_set1(2.8284 / FRAME_SCALE));
    const f64v k = v_ilogb(v_mul(sum, near));
    const f64v scale = v_pow2(v_sub(v_set1(0x1.8p52 + 1023.0), k));
    /* sum scale - e, but where k is 0 nothing of rest is rounded away. */
    const f64v top = v_fma(rest, scale, v_mul(e, v_sub(scale, v_set1(1.0))));
    return (log_fraction){top, v_fma(sum, scale, e), k};
}

/* What wide_log_f32 makes log(1 + rest / e) of, of a quotient in [0, 2^31): top / bottom and k. */
FL_INLINE pair_f64 log_argument_f32(pair_f64 rest, pair_f64 e)
{
    const log_fraction f = log_fraction_of(rest.hi, e.hi, v_add(e.hi, rest.hi));
    return (pair_f64){v_div(f.top, f.bottom), f.k};
}

FL_INLINE pair_f64 wide_log_f32(pair_f64 argument)
{
    const f64v s = argument.hi, z = v_mul(s, s);
    const f64v p = POLYNOMIAL_F64(z, v_mul(z, z), short_log_coefficients_f64);
    const f64v log = v_fma(v_mul(s, z), p, v_add(s, s));
    return single(v_fma(argument.lo, v_set1(0x1.62e42fefa39efp-1), log));
}

/* The same, and 1 / sum of sum = e + rest, still with one division. */
FL_INLINE pair_f64 log_argument_and_inverse_f32(pair_f64 rest, pair_f64 e, pair_f64 sum,
                                                pair_f64 *inverse)
{
    const log_fraction f = log_fraction_of(rest.hi, e.hi, sum.hi);
    const f64v of_both = v_div(v_set1(1.0), v_mul(sum.hi, f.bottom));
    *inverse = single(v_mul(f.bottom, of_both));
    return (pair_f64){v_mul(v_mul(f.top, sum.hi), of_both), f.k};
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
FL_INLINE f64v NAME(load_wide)(const real *from)
{
#if FL_BITS == 64
    return v_load(from);
#else
    return v_load_half(from);
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

FL_INLINE pair_f64 NAME(exp_of_max)(const row_state *s) { return NAME(wide_exp_own)(s->max, s->n); }

FL_INLINE normaliser_parts NAME(parts_of)(pair_f64 e, pair_f64 rest, pair_f64 sum, pair_f64 inverse)
{
    return (normaliser_parts){
        .sum = sum,
        .inverse = inverse,
        .largest = NAME(wide_quotient)(e, sum, inverse),
        .others = NAME(wide_quotient)(rest, sum, inverse),
    };
}

/* With e of exp_of_max. */
FL_INLINE normaliser_parts NAME(normaliser_of)(const row_state *s, pair_f64 e)
{
    const pair_f64 rest = NAME(whole_rest)(s, e), sum = NAME(wide_add)(e, rest);
    return NAME(parts_of)(e, rest, sum, NAME(wide_div)(single(v_set1(1.0)), sum));
}

FL_INLINE normaliser_parts NAME(finish_normaliser)(const row_state *s)
{
    return NAME(normaliser_of)(s, NAME(exp_of_max)(s));
}

/* What wide_log makes finish_log of. */
FL_INLINE pair_f64 NAME(finish_argument)(const row_state *s)
{
    const pair_f64 e = NAME(exp_of_max)(s);
    return NAME(log_argument)(NAME(whole_rest)(s, e), e);
}

/* Both. */
FL_INLINE normaliser_parts NAME(finish_normaliser_and_argument)(const row_state *s,
                                                                pair_f64 *argument)
{
    const pair_f64 e = NAME(exp_of_max)(s), rest = NAME(whole_rest)(s, e);
    const pair_f64 sum = NAME(wide_add)(e, rest);
    pair_f64 inverse;
    *argument = NAME(log_argument_and_inverse)(rest, e, sum, &inverse);
    return NAME(parts_of)(e, rest, sum, inverse);
}

/* log(the sum of the exponentials / exp(max)): logsumexp - max. */
FL_INLINE pair_f64 NAME(finish_log)(const row_state *s)
{
    return NAME(wide_log)(NAME(finish_argument)(s));
}
