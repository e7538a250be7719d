/*
 * From the state of a row to its normaliser, in float64 for both element types: one row
 * per lane.
 *
 * The largest logit is not in `rest`, so that log(sum) is max + log1p(rest / exp(max)),
 * right to its own last place however confident the row.
 */
typedef struct {
    pair_f64 max;  /* (largest logit - offset) / temperature */
    f64v equal;    /* how many logits equal the largest */
    pair_f64 rest; /* the sum of the exponentials of all the others, in the frame */
    f64v n;        /* the exponent of the frame */
} row_state;

FL_INLINE pair_f64 add_pairs(pair_f64 a, pair_f64 b)
{
    const pair_f64 s = two_sum_f64(a.hi, b.hi);
    return fast_two_sum_f64(s.hi, v_add(s.lo, v_add(a.lo, b.lo)));
}

/* a / b, of which the pair is right to about twice the precision. */
FL_INLINE pair_f64 divide_pairs(pair_f64 a, pair_f64 b)
{
    const f64v minus_q = v_div(v_sub(v_set1(0.0), a.hi), b.hi);
    f64v remainder = v_fma(minus_q, b.hi, a.hi);
    remainder = v_add(remainder, v_fma(minus_q, b.lo, a.lo));
    return fast_two_sum_f64(v_sub(v_set1(0.0), minus_q), v_div(remainder, b.hi));
}

/* All of the equal ones but one are rest, too. */
FL_INLINE pair_f64 whole_rest(const row_state *s, pair_f64 e)
{
    const f64v others = v_sub(s->equal, v_set1(1.0));
    const f64v product = v_mul(others, e.hi);
    const f64v product_lo = v_fma(others, e.hi, v_sub(v_set1(0.0), product));
    return add_pairs(s->rest, (pair_f64){product, v_fma(others, e.lo, product_lo)});
}

typedef struct {
    pair_f64 inverse; /* 1 / the sum of the exponentials, in the frame */
    pair_f64 largest; /* the probability of the largest logit */
} normaliser_parts;

FL_INLINE normaliser_parts finish_normaliser(const row_state *s)
{
    const pair_f64 e = exp_pair_f64(s->max, s->n);
    const pair_f64 sum = add_pairs(e, whole_rest(s, e));
    const pair_f64 one = {v_set1(1.0), v_set1(0.0)};
    return (normaliser_parts){divide_pairs(one, sum), divide_pairs(e, sum)};
}

/* log(the sum of the exponentials / exp(max)): logsumexp - max. */
FL_INLINE pair_f64 finish_log(const row_state *s)
{
    const pair_f64 e = exp_pair_f64(s->max, s->n);
    return log1p_f64(divide_pairs(whole_rest(s, e), e));
}
