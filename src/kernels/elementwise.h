/*
 * sigmoid, log_sigmoid and softplus, all through e = exp(-|x|), which never overflows and of
 * which 1 + e and log1p(e) lose nothing.
 */
FL_INLINE NAME(pair) NAME(exp_minus_abs)(vec x)
{
    /* The frame of exponent 0, and FRAME_SHIFT taken off again; subnormals round once. */
    const vec zero = v_set1((real)0);
    const NAME(pair) e = NAME(exp_pair)((NAME(pair)){v_sub(zero, v_abs(x)), zero}, zero);
    const vec unshift = v_set1((real)(1 / FRAME_SCALE));
    return (NAME(pair)){v_mul(e.hi, unshift), v_mul(e.lo, unshift)};
}

/* 1 / (1 + e) for x >= 0, e / (1 + e) below. */
FL_INLINE vec NAME(sigmoid_of)(vec x)
{
    const vec one = v_set1((real)1), zero = v_set1((real)0);
    const NAME(pair) e = NAME(exp_minus_abs)(x);
    const NAME(pair) d = NAME(fast_two_sum)(one, e.hi);
    const vec d_lo = v_add(d.lo, e.lo);
    const vec negative = v_select(v_gt(zero, x), e.hi, one);
    const vec negative_lo = v_select(v_gt(zero, x), e.lo, zero);
    const vec r = v_div(one, d.hi);
    const vec minus_q = v_mul(v_sub(zero, negative), r);
    vec remainder = v_fma(minus_q, d.hi, negative);
    remainder = v_add(remainder, v_fma(minus_q, d_lo, negative_lo));
    return v_sub(v_mul(remainder, r), minus_q);
}

/* min(x, 0) - log1p(e), two terms of one sign. */
FL_INLINE vec NAME(log_sigmoid_of)(vec x)
{
    const vec zero = v_set1((real)0);
    const NAME(pair) l = NAME(log1p)(NAME(exp_minus_abs)(x));
    const vec low = v_select(v_gt(x, zero), zero, x);
    return v_sub(v_sub(low, l.hi), l.lo);
}

FL_INLINE vec NAME(softplus_of)(vec x)
{
    const vec zero = v_set1((real)0);
    return v_sub(zero, NAME(log_sigmoid_of)(v_sub(zero, x)));
}

#define ELEMENTWISE(op)                                                                            \
    static void NAME(op)(const fl_rows *rows)                                                      \
    {                                                                                              \
        real in_buffer[BLOCK], out_buffer[BLOCK];                                                  \
        const ptrdiff_t n = rows->n_classes, xs = rows->x_class, os = rows->out_class;             \
        for (ptrdiff_t i = 0; i < rows->n_rows; ++i)                                               \
            for (ptrdiff_t j = 0; j < n; j += BLOCK) {                                             \
                const ptrdiff_t length = n - j < BLOCK ? n - j : BLOCK;                            \
                const real *from_row = (const real *)rows->x + i * rows->x_row + j * xs;           \
                real *out = (real *)rows->out + i * rows->out_row + j * os;                        \
                const real *from = NAME(take)(from_row, xs, length, in_buffer);                    \
                real *to = NAME(place)(out, os, out_buffer);                                       \
                FOR_EACH_REGISTER(from, to, length, v_set1((real)0), y = NAME(op##_of)(x));        \
                NAME(put)(to, out, os, length);                                                    \
            }                                                                                      \
    }
ELEMENTWISE(sigmoid)
ELEMENTWISE(log_sigmoid)
ELEMENTWISE(softplus)
#undef ELEMENTWISE
