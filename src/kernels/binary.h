/*
 * Binary cross-entropy of logits, element by element, and its gradient.
 *
 * With e = exp(-|x|), L = log1p(e), r = e / (1 + e), which is the probability of the less likely
 * of the two, the target t after smoothing and w = (1 - t) + pos_weight t, the loss is
 *
 *     w L + b |x|,   b = 1 - t where x > 0, else pos_weight t,
 *
 * and its derivative w r - b, with the other sign where x > 0: no more than one difference of
 * what may be equal, and that taken before anything is rounded.
 */
typedef struct {
    vec x, target, pos_weight, sample_weight;
} NAME(binary);

FL_INLINE NAME(binary) NAME(binary_load)(const fl_piece *piece, ptrdiff_t j, int weighted)
{
    const vec zero = v_set1((real)0), one = v_set1((real)1);
    const real *x = piece->operands[FL_LOGITS], *targets = piece->operands[FL_TARGETS];
    const real *pos = piece->operands[FL_POS_WEIGHT], *sample = piece->operands[FL_SAMPLE_WEIGHT];
    const ptrdiff_t left = piece->n - j;
    NAME(binary) b = {v_load_part(x + j, left, zero), v_load_part(targets + j, left, zero), one,
                      one};
    if (weighted && pos)
        b.pos_weight = v_load_part(pos + j, left, one);
    if (weighted && sample)
        b.sample_weight = v_load_part(sample + j, left, one);
    return b;
}

/* 0 in the lanes from n on. */
FL_INLINE vec NAME(first_lanes)(vec a, ptrdiff_t n)
{
    if (n >= WIDTH)
        return a;
    real part[WIDTH] = {0};
    v_store_part(part, n, a);
    return v_load(part);
}

/* The loss, and where it is wanted its gradient, of one register. */
FL_INLINE vec NAME(binary_terms)(const NAME(binary) *b, vec keep, vec spread, int weighted,
                                 vec *gradient)
{
    const vec zero = v_set1((real)0), one = v_set1((real)1);
    const NAME(pair) e = NAME(exp_minus_abs)(b->x);
    const mask positive = v_gt(b->x, zero);
    const vec t = v_fma(b->target, keep, spread);
    /* Of a target of 1, too, what smoothing takes from it is not rounded away. */
    NAME(pair) not_t = NAME(fast_two_sum)(one, v_sub(zero, b->target));
    not_t.hi = v_fma(not_t.hi, keep, spread);
    not_t.lo = v_mul(not_t.lo, keep);
    const vec yes = weighted ? v_mul(b->pos_weight, t) : t;
    const vec w = weighted ? v_add(not_t.hi, yes) : one;
    const vec beside = v_select(positive, not_t.hi, yes);
    const NAME(pair) l = NAME(log1p)(e);
    /* 0 beside an infinite logit is 0. */
    const vec linear = v_keep(v_ne(beside, zero), v_mul(beside, v_abs(b->x)));
    const vec loss = v_add(v_fma(w, l.hi, linear), v_mul(w, l.lo));
    if (gradient) {
        const NAME(pair) d = NAME(fast_two_sum)(one, e.hi);
        const vec inverse = v_div(one, d.hi);
        const vec minus_r = v_mul(v_sub(zero, e.hi), inverse);
        vec remainder = v_fma(minus_r, d.hi, e.hi);
        remainder = v_add(remainder, v_fma(minus_r, v_add(d.lo, e.lo), e.lo));
        const vec r_lo = v_mul(remainder, inverse);
        const vec beside_lo = v_select(positive, not_t.lo, zero);
        const vec g = v_add(v_fma(minus_r, w, beside), v_sub(beside_lo, v_mul(r_lo, w)));
        *gradient = v_select(positive, g, v_sub(zero, g));
    }
    return loss;
}

FL_INLINE void NAME(binary_piece)(const fl_piece *piece, int weighted, int with_gradient)
{
    const double smoothing = piece->label_smoothing;
    const vec keep = v_set1((real)(1 - smoothing)), spread = v_set1((real)(smoothing / 2));
    const vec scale = v_set1((real)piece->grad_scale), zero = v_set1((real)0);
    real *losses = piece->operands[FL_LOSSES], *gradients = piece->operands[FL_GRADIENT];
    NAME(fold_sum) sum;
    for (int i = 0; i < FOLD_VECS; ++i)
        sum.hi[i] = sum.lo[i] = v_set1(0.0);
    for (ptrdiff_t j = 0; j < piece->n; j += FOLD_SPAN)
        for (int k = 0; k < GROUP; ++k) {
            NAME(pair) y[4];
            for (int q = 0; q < 4; ++q) {
                const ptrdiff_t at = j + q * LANES + k * WIDTH;
                y[q].hi = y[q].lo = zero;
                if (at >= piece->n)
                    continue;
                const NAME(binary) b = NAME(binary_load)(piece, at, weighted);
                vec gradient;
                y[q].hi = NAME(binary_terms)(&b, keep, spread, weighted,
                                             with_gradient ? &gradient : NULL);
                if (weighted)
                    y[q].hi = v_mul(y[q].hi, b.sample_weight);
                y[q].hi = NAME(first_lanes)(y[q].hi, piece->n - at);
                if (losses)
                    v_store_part(losses + at, piece->n - at, y[q].hi);
                if (!with_gradient)
                    continue;
                const vec by = weighted ? v_mul(scale, b.sample_weight) : scale;
                v_store_part(gradients + at, piece->n - at, v_mul(gradient, by));
            }
            NAME(fold)(&sum, k, y);
        }
    double lost;
    NAME(fold_lanes)(&sum, piece->sum, &lost);
    *piece->sum += isinf(*piece->sum) ? 0 : lost; /* of an infinity, NaN is lost */
}

static void NAME(binary_cross_entropy)(const fl_piece *piece)
{
    const int weighted =
        piece->operands[FL_POS_WEIGHT] != NULL || piece->operands[FL_SAMPLE_WEIGHT] != NULL;
    if (piece->operands[FL_GRADIENT]) {
        if (weighted)
            NAME(binary_piece)(piece, 1, 1);
        else
            NAME(binary_piece)(piece, 0, 1);
    } else if (weighted)
        NAME(binary_piece)(piece, 1, 0);
    else
        NAME(binary_piece)(piece, 0, 0);
}

/* `sum`: how many targets are not in [0, 1]. */
static void NAME(outside_unit)(const fl_piece *piece)
{
    const vec zero = v_set1((real)0), one = v_set1((real)1);
    const real *targets = piece->operands[FL_TARGETS];
    ptrdiff_t outside = 0;
    for (ptrdiff_t j = 0; j < piece->n; j += WIDTH) {
        const vec t = v_load_part(targets + j, piece->n - j, zero);
        /* The least of t and 1 - t is below 0, or NaN. */
        const vec least = v_min(t, v_sub(one, t));
        outside += WIDTH - FL_POPCOUNT(v_lanes(v_eq(v_max(least, zero), least)));
    }
    *piece->sum = (double)outside;
}
