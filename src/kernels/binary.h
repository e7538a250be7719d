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

/* What all elements of a piece have in common. */
typedef struct {
    const fl_piece *piece;
    vec keep, spread, scale;
    /* The least of all t and 1 - t, and a sum that is NaN where one of them is. */
    vec least, total;
} NAME(binary_call);

/* A register of a and of what is missing of it, which `whole` says is nothing. */
FL_INLINE vec NAME(load_at)(const real *a, ptrdiff_t j, ptrdiff_t n, real fill, int whole)
{
    return whole ? v_load(a + j) : v_load_part(a + j, n - j, v_set1(fill));
}

FL_INLINE void NAME(store_at)(real *a, ptrdiff_t j, ptrdiff_t n, vec y, int whole)
{
    if (whole)
        v_store(a + j, y);
    else
        v_store_part(a + j, n - j, y);
}

/* 0 in the lanes from n on. */
FL_INLINE vec NAME(first_lanes)(vec a, ptrdiff_t n)
{
    real part[WIDTH] = {0};
    v_store_part(part, n, a);
    return v_load(part);
}

/* The targets seen so far and another register of them are in [0, 1]. */
FL_INLINE void NAME(see_targets)(NAME(binary_call) *call, vec t, vec not_t)
{
    call->least = v_min(v_min(t, not_t), call->least);
    call->total = v_add(call->total, t);
}

FL_INLINE int NAME(saw_outside)(const NAME(binary_call) *call)
{
    return v_lanes(v_gt(v_set1((real)0), call->least)) || v_lanes(v_ne(call->total, call->total));
}

/* The loss, and where it is wanted the gradient, of one register, with e = exp(-|x|). `plain`:
   without weights and smoothing. */
FL_INLINE vec NAME(binary_terms)(NAME(binary_call) *call, const NAME(binary) *b, NAME(pair) e,
                                 int plain, vec *gradient)
{
    const vec zero = v_set1((real)0), one = v_set1((real)1);
    const mask positive = v_gt(b->x, zero);
    vec yes = b->target, w = one;
    NAME(pair) no = NAME(fast_two_sum)(one, v_sub(zero, yes));
    NAME(see_targets)(call, yes, no.hi);
    if (!plain) {
        /* Of a target of 1, too, what smoothing takes from it is not rounded away. */
        no.hi = v_fma(no.hi, call->keep, call->spread);
        no.lo = v_mul(no.lo, call->keep);
        yes = v_fma(yes, call->keep, call->spread);
        /* 0 of an infinite weight is 0. */
        yes = v_keep(v_ne(yes, zero), v_mul(b->pos_weight, yes));
        w = v_add(no.hi, yes);
    }
    const vec beside = v_select(positive, no.hi, yes);
    const NAME(pair) l = NAME(log1p_of)(e), weighted = {v_mul(w, l.hi), v_mul(w, l.lo)};
    /* 0 beside an infinite logit is 0. */
    const vec linear = v_keep(v_ne(beside, zero), v_mul(beside, v_abs(b->x)));
    const vec loss = NAME(plus_pair)(linear, plain ? l : weighted);
    if (gradient) {
        const NAME(pair) r = NAME(over_1_plus)(e, e);
        const vec beside_lo = v_keep(positive, no.lo);
        const vec g = v_add(v_fnma(r.hi, w, beside), v_sub(beside_lo, v_mul(r.lo, w)));
        *gradient = v_mul(v_select(positive, g, v_sub(zero, g)), call->scale);
        if (!plain)
            *gradient = v_mul(*gradient, b->sample_weight);
    }
    return plain ? loss : v_mul(loss, b->sample_weight);
}

/* Elements [j, j + FOLD_SPAN). All are there where `whole`, and `ahead` is the exponential of the
   first register then and becomes that at `next`: as in map_elements, each is computed along with
   what becomes of the one before. */
FL_INLINE void NAME(binary_span)(NAME(binary_call) *call, ptrdiff_t j, ptrdiff_t next,
                                 NAME(pair) *ahead, NAME(fold_sum) *sum, int whole, int plain,
                                 int with_gradient)
{
    void *const *operands = call->piece->operands;
    const real *x = operands[FL_LOGITS], *targets = operands[FL_TARGETS];
    const real *pos = operands[FL_POS_WEIGHT], *sample = operands[FL_SAMPLE_WEIGHT];
    const vec one = v_set1((real)1), zero = v_set1((real)0);
    const ptrdiff_t n = call->piece->n;
    for (int k = 0; k < GROUP; ++k) {
        NAME(pair) y[4];
        FL_UNROLL for (int q = 0; q < 4; ++q)
        {
            const ptrdiff_t at = j + q * LANES + k * WIDTH;
            y[q].hi = y[q].lo = zero;
            if (!whole && at >= n)
                continue;
            const NAME(binary) b = {
                NAME(load_at)(x, at, n, 0, whole),
                NAME(load_at)(targets, at, n, 0, whole),
                !plain && pos ? NAME(load_at)(pos, at, n, 1, whole) : one,
                !plain && sample ? NAME(load_at)(sample, at, n, 1, whole) : one,
            };
            const ptrdiff_t after = q < 3 ? at + LANES : k < GROUP - 1 ? j + (k + 1) * WIDTH : next;
            const NAME(pair) e = whole ? *ahead : NAME(exp_minus_abs)(b.x);
            if (whole)
                *ahead = NAME(exp_minus_abs)(v_load(x + after));
            vec gradient;
            y[q].hi = NAME(binary_terms)(call, &b, e, plain, with_gradient ? &gradient : NULL);
            if (!whole)
                y[q].hi = NAME(first_lanes)(y[q].hi, n - at);
            if (operands[FL_LOSSES])
                NAME(store_at)(operands[FL_LOSSES], at, n, y[q].hi, whole);
            if (with_gradient)
                NAME(store_at)(operands[FL_GRADIENT], at, n, gradient, whole);
        }
        NAME(fold)(sum, k, y);
    }
}

FL_INLINE NAME(binary_call) NAME(binary_call_of)(const fl_piece *piece)
{
    const double smoothing = piece->label_smoothing;
    return (NAME(binary_call)){
        .piece = piece,
        .keep = v_set1((real)(1 - smoothing)),
        .spread = v_set1((real)(smoothing / 2)),
        .scale = v_set1((real)piece->grad_scale),
        .least = v_set1((real)0),
        .total = v_set1((real)0),
    };
}

FL_INLINE void NAME(binary_piece)(const fl_piece *piece, int plain, int with_gradient)
{
    NAME(binary_call) call = NAME(binary_call_of)(piece);
    NAME(fold_sum) sum = NAME(fold_nothing)();
    const ptrdiff_t n = piece->n;
    const real *x = piece->operands[FL_LOGITS];
    NAME(pair) ahead = NAME(exp_minus_abs)(n < FOLD_SPAN ? v_set1((real)0) : v_load(x));
    ptrdiff_t j = 0;
    for (; j + FOLD_SPAN <= n; j += FOLD_SPAN) {
        const ptrdiff_t next = j + 2 * FOLD_SPAN <= n ? j + FOLD_SPAN : j;
        NAME(binary_span)(&call, j, next, &ahead, &sum, 1, plain, with_gradient);
    }
    if (j < n)
        NAME(binary_span)(&call, j, j, NULL, &sum, 0, plain, with_gradient);
    *piece->sum = NAME(fold_total)(&sum);
    *piece->outside |= NAME(saw_outside)(&call);
}

static void NAME(binary_cross_entropy)(const fl_piece *piece)
{
    const int plain = !piece->operands[FL_POS_WEIGHT] && !piece->operands[FL_SAMPLE_WEIGHT] &&
                      piece->label_smoothing == 0;
    if (piece->operands[FL_GRADIENT] && plain)
        NAME(binary_piece)(piece, 1, 1);
    else if (piece->operands[FL_GRADIENT])
        NAME(binary_piece)(piece, 0, 1);
    else if (plain)
        NAME(binary_piece)(piece, 1, 0);
    else
        NAME(binary_piece)(piece, 0, 0);
}

static void NAME(outside_unit)(const fl_piece *piece)
{
    NAME(binary_call) call = NAME(binary_call_of)(piece);
    const real *targets = piece->operands[FL_TARGETS];
    for (ptrdiff_t j = 0; j < piece->n; j += WIDTH) {
        const vec t = NAME(load_at)(targets, j, piece->n, 0, 0);
        NAME(see_targets)(&call, t, v_sub(v_set1((real)1), t));
    }
    *piece->outside |= NAME(saw_outside)(&call);
}
