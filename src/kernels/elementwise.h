/*
 * sigmoid, log_sigmoid and softplus, all through e = exp(-|x|), which never overflows and of
 * which 1 + e and log1p(e) lose nothing.
 */

/* exp(-|x|) as a pair. */
FL_INLINE NAME(pair) NAME(exp_minus_abs)(vec x)
{
#if FL_BITS == 32
    /* As `exp`, but for the factor of its table: of EXP_FACTOR = 2^(1/8) exp(-EXP_SHIFT) the power
       of two goes off n, and the rest off r. What the last addition rounds away is kept: relative
       error of the pair below 0.2 * 2^-24. Shifted so that the table's exponents do not underflow;
       near and below the least normal, where taking the shift back rounds, 1.53 ulp, and 0 at the
       end. */
    const vec unshift = v_set1((real)(1 / FRAME_SCALE));
    const vec magic = v_set1((real)(ROUND_MAGIC + FRAME_SHIFT * EXP_STEPS - 1));
    const vec a = v_min(v_set1((real)((125 + FRAME_SHIFT) * 0x1.62e42fefa39efp-1)), v_abs(x));
    const vec t = v_fma(a, v_set1(-LOG2E * EXP_STEPS), magic);
    const vec n = v_sub(t, magic);
    const vec shifted = v_sub(v_set1(EXP_SHIFT), v_fma(n, v_set1(LN2_HI / EXP_STEPS), a));
    const vec r = v_fma(n, v_set1(-LN2_LO / EXP_STEPS), shifted);
    const vec half = v_fma(v_fma(v_set1(EXP_C4), shifted, v_set1(EXP_C3)), shifted, v_set1(EXP_C2));
    const vec slope = v_fma(half, r, v_set1(1.0f));
    const vec scale = v_mul(v_eighth(t, exp_table), unshift);
    return NAME(fast_two_sum)(scale, v_mul(v_mul(r, scale), slope));
#else
    /* The frame of exponent 0, and FRAME_SHIFT taken off again; subnormals round once. */
    const vec zero = v_set1((real)0), unshift = v_set1((real)(1 / FRAME_SCALE));
    const NAME(pair) e = NAME(exp_pair)((NAME(pair)){v_sub(zero, v_abs(x)), zero}, zero);
    return (NAME(pair)){v_mul(e.hi, unshift), v_mul(e.lo, unshift)};
#endif
}

/* log(1 + e) for 0 <= e <= 1; of float32 `lo` is 0. */
FL_INLINE NAME(pair) NAME(log1p_of)(NAME(pair) e)
{
#if FL_BITS == 32
    /* e + e^2 P(e): relative error below 2.21 * 2^-24, a quarter of it from the last addition; of
       lo, 1 / (1 + e) to a few bits */
    const vec one = v_set1(1.0f);
    const vec square = v_mul(e.hi, e.hi);
    const vec p = POLYNOMIAL(e.hi, square, log1p_coefficients);
    const vec lo = v_mul(e.lo, v_fma(e.hi, v_set1(-0.5f), one));
    return (NAME(pair)){v_add(e.hi, v_fma(square, p, lo)), v_set1(0.0f)};
#else
    return NAME(log1p)(e);
#endif
}

/* a + the pair, of which lo may be nothing. */
FL_INLINE vec NAME(plus_pair)(vec a, NAME(pair) b)
{
    const vec sum = v_add(a, b.hi);
    return FL_BITS == 64 ? v_add(sum, b.lo) : sum;
}

/* a / (1 + e), 0 <= e <= 1, to about twice the precision. */
FL_INLINE NAME(pair) NAME(over_1_plus)(NAME(pair) a, NAME(pair) e)
{
    const vec one = v_set1((real)1);
    const NAME(pair) d = NAME(fast_two_sum)(one, e.hi);
    const vec inverse = v_div(one, d.hi), hi = v_mul(a.hi, inverse);
    vec remainder = v_fnma(hi, d.hi, a.hi);
    remainder = v_add(remainder, v_fnma(hi, v_add(d.lo, e.lo), a.lo));
    return (NAME(pair)){hi, v_mul(remainder, inverse)};
}

/* 1 / (1 + e) for x >= 0, e / (1 + e) below. */
FL_INLINE vec NAME(sigmoid_of)(vec x, NAME(pair) e)
{
    const vec one = v_set1((real)1), zero = v_set1((real)0);
    const mask negative = v_gt(zero, x);
    const NAME(pair) a = {v_select(negative, e.hi, one), v_keep(negative, e.lo)};
    const NAME(pair) q = NAME(over_1_plus)(a, e);
    return v_add(q.hi, q.lo);
}

/* max(x, 0) + log1p(e) */
FL_INLINE vec NAME(softplus_of)(vec x, NAME(pair) e)
{
    const vec high = v_max(v_set1((real)0), x);
    return NAME(plus_pair)(high, NAME(log1p_of)(e));
}

FL_INLINE vec NAME(log_sigmoid_of)(vec x, NAME(pair) e)
{
    const vec zero = v_set1((real)0);
    return v_sub(zero, NAME(softplus_of)(v_sub(zero, x), e));
}

/* What becomes of x, with e = exp(-|x|). */
typedef vec NAME(map_of)(vec x, NAME(pair) e);

/* So many registers that their chains of steps, side by side, leave the CPU no time to wait, and no
   more than there is room for: AVX-512 has 32 registers, others 16. */
#define TOGETHER (sizeof(vec) == 64 ? 4 : 2)
typedef struct {
    vec x[TOGETHER];
    NAME(pair) e[TOGETHER];
} NAME(elements);

FL_INLINE NAME(elements) NAME(elements_at)(const real *from)
{
    NAME(elements) a;
    FL_UNROLL for (size_t k = 0; k < TOGETHER; ++k) a.x[k] = v_load(from + k * WIDTH);
    FL_UNROLL for (size_t k = 0; k < TOGETHER; ++k) a.e[k] = NAME(exp_minus_abs)(a.x[k]);
    return a;
}

FL_INLINE void NAME(map_together)(const NAME(elements) *a, real *to, NAME(map_of) *map)
{
    vec y[TOGETHER];
    FL_UNROLL for (size_t k = 0; k < TOGETHER; ++k) y[k] = map(a->x[k], a->e[k]);
    FL_UNROLL for (size_t k = 0; k < TOGETHER; ++k) v_store(to + k * WIDTH, y[k]);
}

/* Exponentials are computed along with what becomes of those before: one chain after the other is
   longer than the CPU can look ahead. `to` may be `from`. */
FL_INLINE void NAME(map_elements)(const real *from, real *to, ptrdiff_t n, NAME(map_of) *map)
{
    const ptrdiff_t step = TOGETHER * WIDTH;
    const vec zero = v_set1((real)0);
    ptrdiff_t j = NAME(unaligned)(to, n, WIDTH);
    FOR_PARTS_(0, from, to, j, zero, y = map(x, NAME(exp_minus_abs)(x)));
    if (j + step <= n) {
        NAME(elements) now = NAME(elements_at)(from + j);
        for (j += step; j + step <= n; j += step) {
            const NAME(elements) next = NAME(elements_at)(from + j);
            NAME(map_together)(&now, to + j - step, map);
            now = next;
        }
        NAME(map_together)(&now, to + j - step, map);
    }
    for (; j + WIDTH <= n; j += WIDTH) {
        const vec x = v_load(from + j);
        v_store(to + j, map(x, NAME(exp_minus_abs)(x)));
    }
    FOR_PARTS_(j, from, to, n, zero, y = map(x, NAME(exp_minus_abs)(x)));
}

/* Elements to convert at a time: so few that the memory of the next is read meanwhile. */
#define CHUNK 256

#define ELEMENTWISE(op)                                                                            \
    static void NAME(op)(const fl_rows *rows)                                                      \
    {                                                                                              \
        FL_ALIGNED real in_buffer[CHUNK], out_buffer[CHUNK];                                       \
        const ptrdiff_t n = rows->n_classes;                                                       \
        const int dense = NAME(has_dense)(&rows->x) && NAME(has_dense)(&rows->out);                \
        const ptrdiff_t most = dense ? n : CHUNK;                                                  \
        for (ptrdiff_t i = 0; i < rows->n_rows; ++i) {                                             \
            const fl_row in = NAME(row_of)(&rows->x, i), out = NAME(row_of)(&rows->out, i);        \
            for (ptrdiff_t j = 0; j < n; j += most) {                                              \
                const ptrdiff_t length = n - j < most ? n - j : most;                              \
                const real *from = NAME(take)(&in, j, length, in_buffer);                          \
                real *to = NAME(place)(&out, j, out_buffer);                                       \
                NAME(map_elements)(from, to, length, NAME(op##_of));                               \
                NAME(put)(to, &out, j, length);                                                    \
            }                                                                                      \
        }                                                                                          \
    }
ELEMENTWISE(sigmoid)
ELEMENTWISE(log_sigmoid)
ELEMENTWISE(softplus)
#undef ELEMENTWISE
