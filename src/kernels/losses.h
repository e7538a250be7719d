/*
 * Cross-entropy of labels or soft targets: the loss, its gradient, and the diagonal of its Hessian.
 *
 * With the coefficients a of `target` and A their sum, w the weight of the label's class (1 for
 * soft targets), keep = (1 - label_smoothing) w (0 for soft targets), and
 * log = log(sum exp(x - max)), the loss of a row is
 *
 *     keep (max - x[label] + log) + sum a (max - x) + A log + z_loss w (max + log)^2.
 *
 * No term is negative, so nothing cancels. The gradient is B p - a with
 * B = keep + A + 2 z_loss w (max + log), and at the label (B - keep) p - a - keep (1 - p), where
 * 1 - p is the probability of all the others. Weights of the row come on top.
 */

/* What the second sweep of a batch needs, a number for each row: the gradient is made of
   probabilities p, in place, as p factor - a scale. */
typedef struct {
    NAME(normalisers) normalisers; /* to |factor| p, or to p where there is a Hessian */
    FL_ALIGNED real factor[BATCH], minus_scale[BATCH], at_label[BATCH];
    /* hess_scale p (1 - p); for a p that may be near 1, hess_of_largest. */
    FL_ALIGNED real hess_scale[BATCH], hess_of_largest[BATCH];
} NAME(gradients);

/* What class_weight[label] and the coefficient of the label are, of the rows from `begin` on. */
FL_INLINE void NAME(of_labels)(const fl_rows *rows, ptrdiff_t begin, int count, f64v *weight,
                               f64v *a)
{
    NAME(target) target;
    *weight = v_set1(1.0);
    *a = v_set1(0.0);
    if (!rows->labels || (!rows->loss->class_weight && rows->loss->label_smoothing == 0))
        return;
    double weight_[FL_WIDTH_F64] = {0}, a_[FL_WIDTH_F64] = {0};
    for (int k = 0; k < FL_WIDTH_F64 && k < count; ++k) {
        const ptrdiff_t i = begin + k;
        const ptrdiff_t known = NAME(label_of)(rows, i), label = known < 0 ? 0 : known;
        weight_[k] = rows->loss->class_weight ? rows->loss->class_weight[label] : 1;
        a_[k] =
            NAME(target_of)(rows, i, &target) ? (double)NAME(coefficient)(&target, label, 0) : 0;
    }
    *weight = v_load(weight_);
    *a = v_load(a_);
}

/* What the rows of a batch are finished with; of losses alone, the logs. */
typedef struct {
    NAME(pairs) log, sum, inverse, e_of_label;
    FL_ALIGNED double largest[BATCH], others[BATCH];
} NAME(finished);

/* Of `count` rows, a multiple of WIDTH; in short loops, as finish_logs. */
FL_INLINE void NAME(finish_batch)(const NAME(swept) *swept, int count, const NAME(scaling) *scaling,
                                  int gradient, NAME(finished) *to)
{
    if (!gradient) {
        NAME(finish_logs)(swept, count, scaling, &to->log);
        return;
    }
    NAME(arguments) arguments;
    for (int b = 0; b < count; b += FL_WIDTH_F64) {
        const row_state state = NAME(states)(swept, b, scaling);
        pair_f64 argument;
        const normaliser_parts parts = NAME(finish_normaliser_and_argument)(&state, &argument);
        NAME(store_argument)(&arguments, b, argument);
        NAME(store_pair)(&to->sum, b, parts.sum);
        NAME(store_pair)(&to->inverse, b, parts.inverse);
        v_store(to->largest + b, parts.largest.hi);
        v_store(to->others + b, parts.others.hi);
    }
    NAME(logs_of)(&arguments, count, &to->log);
    for (int b = 0; b < count; b += FL_WIDTH_F64) {
        const f64v x = v_sub(NAME(load_wide)(swept->logit + b), NAME(load_wide)(swept->offset + b));
        const f64v n = NAME(load_wide)(swept->n + b);
        NAME(store_pair)(&to->e_of_label, b, NAME(wide_exp)(single(x), n));
    }
}

/* The losses of the rows [h, h + WIDTH) of a batch from `begin` on and, unless NULL, what the
   gradients need. Of special and ignored rows, anything. `plain`: is_plain, which leaves out what
   then changes nothing. */
FL_INLINE void NAME(finish_losses)(const fl_rows *rows, ptrdiff_t begin, int h, int count,
                                   const NAME(swept) *swept, const NAME(finished) *finished,
                                   NAME(gradients) *gradients, int plain)
{
    const fl_loss *loss = rows->loss;
    const int with_hess = rows->hess.data != NULL;
    const f64v zero = v_set1(0.0), one = v_set1(1.0), infinite = v_set1((double)INFINITY);
    f64v factor[HALVES], minus_scale[HALVES], largest[HALVES], at_label[HALVES];
    f64v hess_scale[HALVES], hess_of_largest[HALVES];
    pair_f64 inverse[HALVES];
    for (int i = 0; i < HALVES; ++i) {
        const int b = h + i * FL_WIDTH_F64;
        const f64v max = NAME(largest_logits)(swept, b);
        const f64v logit = NAME(load_wide)(swept->logit + b);
        f64v weight = one, a = zero, keep = one, z = zero, mass = zero;
        if (!plain) {
            if (rows->row_weight)
                weight = v_load_part(rows->row_weight + begin + b, count - b, one);
            f64v w;
            NAME(of_labels)(rows, begin + b, count - b, &w, &a);
            keep = rows->labels ? v_mul(v_set1(1 - loss->label_smoothing), w) : zero;
            z = v_mul(v_set1(loss->z_loss), w);
            mass = v_load(swept->mass + b);
        }

        const pair_f64 log = NAME(load_pair)(&finished->log, b);
        const f64v lse = v_add(max, log.hi), gap = v_sub(max, logit);
        const f64v near = NAME(wide_add)(two_sum_f64(max, v_sub(zero, logit)), log).hi;
        /* Where the gap is infinite near is, of float32; of float64 it is NaN. */
        const f64v nll = FL_BITS == 64 ? v_select(v_eq(gap, infinite), infinite, near) : near;
        f64v l = nll;
        if (!plain) {
            l = v_add(v_load(swept->dot + b), v_mul(mass, log.hi));
            l = v_add(l, v_keep(v_ne(keep, zero), v_mul(keep, nll)));
            l = v_add(l, v_keep(v_ne(z, zero), v_mul(v_mul(z, lse), lse)));
        }
        if (rows->losses)
            v_store_part(rows->losses + begin + b, count - b, v_mul(weight, l));
        if (!gradients)
            continue;

        const pair_f64 sum = NAME(load_pair)(&finished->sum, b);
        const pair_f64 by = NAME(load_pair)(&finished->inverse, b);
        const f64v p_max = v_load(finished->largest + b);
        const f64v not_max = v_load(finished->others + b);

        const f64v g = v_mul(weight, v_set1(loss->grad_scale));
        f64v all = one;
        if (!plain)
            all = v_add(v_add(keep, mass), v_mul(v_mul(v_set1(2.0), z), lse));
        /* A factor of p goes into the normaliser, where it is not rounded, but for its sign;
           the Hessian is of p itself. */
        const f64v of_p = v_mul(g, all), sign = v_select(v_gt(zero, of_p), v_set1(-1.0), one);
        const f64v size = with_hess ? one : v_abs(of_p);
        inverse[i] = NAME(wide_times)(by, size);
        largest[i] = v_mul(p_max, size);
        factor[i] = with_hess ? of_p : sign;
        minus_scale[i] = v_sub(zero, g);
        if (with_hess) {
            hess_scale[i] = v_mul(g, v_set1(loss->hess_scale));
            hess_of_largest[i] = v_mul(v_mul(hess_scale[i], p_max), not_max);
        }

        const pair_f64 e = NAME(load_pair)(&finished->e_of_label, b);
        const pair_f64 others = NAME(wide_sub)(sum, e);
        const f64v not_p =
            v_select(v_eq(logit, max), not_max, NAME(wide_quotient)(others, sum, by).hi);
        at_label[i] = v_fnma(g, not_p, zero);
        if (!plain) {
            const f64v p = NAME(wide_quotient)(e, sum, by).hi;
            const f64v of_others = v_sub(v_mul(v_sub(all, keep), p), v_mul(keep, not_p));
            at_label[i] = v_mul(g, v_sub(of_others, a));
        }
    }
    if (!gradients)
        return;
    NAME(set_normalisers)(&gradients->normalisers, h, inverse, largest);
    v_store(gradients->factor + h, NAME(rounded)(factor));
    v_store(gradients->minus_scale + h, NAME(rounded)(minus_scale));
    v_store(gradients->at_label + h, NAME(rounded)(at_label));
    if (with_hess) {
        v_store(gradients->hess_scale + h, NAME(rounded)(hess_scale));
        v_store(gradients->hess_of_largest + h, NAME(rounded)(hess_of_largest));
    }
}

/* The gradient of probabilities p, with coefficients a; and the Hessian's diagonal. */
FL_INLINE vec NAME(with_target)(vec p, vec a, vec factor, vec minus_scale)
{
    return v_fma(p, factor, v_mul(a, minus_scale));
}

FL_INLINE vec NAME(hessian)(vec p, vec scale, vec largest, vec of_largest)
{
    const vec h = v_mul(v_mul(p, v_sub(v_set1((real)1), p)), scale);
    return v_select(v_eq(p, largest), of_largest, h);
}

/* A row whose probabilities become its gradient. */
typedef struct {
    const NAME(gradients) *all;
    int b;
    const NAME(target) *target; /* or NULL */
    fl_row hess;                /* may be missing */
    real *buffer;               /* of BLOCK */
} NAME(gradient);

/* Of classes [j, j + n), in place. */
static void NAME(to_gradient)(void *context, real *p, ptrdiff_t j, ptrdiff_t n)
{
    const NAME(gradient) *by = context;
    const vec zero = v_set1((real)0), factor = v_set1(by->all->factor[by->b]);
    real *buffer = by->buffer;
    if (by->hess.data) {
        const vec scale = v_set1(by->all->hess_scale[by->b]);
        const vec largest = v_set1(by->all->normalisers.largest[by->b]);
        const vec of_largest = v_set1(by->all->hess_of_largest[by->b]);
        real *to = NAME(place)(&by->hess, j, buffer);
        FOR_EACH_REGISTER(p, to, n, zero, y = NAME(hessian)(x, scale, largest, of_largest));
        NAME(put)(to, &by->hess, j, n);
    }
    if (by->target) {
        const real *a = NAME(coefficients)(by->target, j, n, buffer);
        const vec minus_scale = v_set1(by->all->minus_scale[by->b]);
        ptrdiff_t i = 0;
        for (; i + WIDTH <= n; i += WIDTH)
            v_store(p + i, NAME(with_target)(v_load(p + i), v_load(a + i), factor, minus_scale));
        const vec y = NAME(with_target)(v_load_part(p + i, n - i, zero),
                                        v_load_part(a + i, n - i, zero), factor, minus_scale);
        v_store_part(p + i, n - i, y);
    } else if (by->all->factor[by->b] != 1) {
        FOR_EACH_REGISTER(p, p, n, zero, y = v_mul(x, factor));
    }
}

/* A batch of rows after the first sweep, and their gradients. */
typedef struct {
    NAME(batch) rows;
    const NAME(gradients) *gradients;
} NAME(gradient_batch);

FL_INLINE void NAME(write_gradient)(const void *batch_, int b, ptrdiff_t j, ptrdiff_t n)
{
    const NAME(gradient_batch) *batch = batch_;
    const fl_rows *rows = batch->rows.rows;
    const ptrdiff_t i = batch->rows.begin + b;
    if (NAME(is_ignored)(rows, i) || NAME(is_special)(batch->rows.swept, b)) {
        const real value = NAME(is_ignored)(rows, i) ? 0 : (real)NAN;
        NAME(fill_classes)(&rows->out, i, j, n, value);
        if (rows->hess.data)
            NAME(fill_classes)(&rows->hess, i, j, n, value);
        return;
    }
    const ptrdiff_t label = NAME(label_of)(rows, i);
    const NAME(at_label) at_label = {label < 0 ? label : label - j, batch->gradients->at_label[b]};
    NAME(target) target;
    /* The buffer of the sweep, which is between two blocks. */
    NAME(gradient) by = {batch->gradients,
                         b,
                         NAME(target_of)(rows, i, &target),
                         {.data = NULL},
                         batch->rows.work->buffer};
    if (rows->hess.data)
        by.hess = NAME(row_of)(&rows->hess, i);
    const int plain = !by.target && !by.hess.data && by.all->factor[b] == 1;
    NAME(finish_block)(&batch->rows, b, j, n, plain ? NULL : NAME(to_gradient), &by, &at_label);
}

/* The rows of a tile. */
typedef struct {
    const NAME(gradients) *all;
    const NAME(target) *target; /* or NULL */
    const NAME(tile) *soft;     /* or NULL */
    const real *labels;         /* or NULL */
    const real *ignored;        /* or NULL: labels of which -1 stand for rows of zeros */
} NAME(gradient_rows);

FL_INLINE vec NAME(gradient_of)(const NAME(gradient_rows) *by, vec x, ptrdiff_t c, int h,
                                int with_target, int with_labels, int with_ignored)
{
    const NAME(normaliser) normaliser = NAME(normaliser_of_lanes)(&by->all->normalisers, h);
    const vec p = NAME(normalised)(x, &normaliser), factor = v_load(by->all->factor + h);
    vec y = v_mul(p, factor);
    if (with_target) {
        const real *soft = by->soft ? NAME(panel)(by->soft, h) : NULL;
        const vec a = NAME(tile_coefficient)(by->target, soft, c);
        y = NAME(with_target)(p, a, factor, v_load(by->all->minus_scale + h));
    }
    if (with_labels) {
        const vec label = v_load(by->labels + h);
        y = v_select(v_eq(label, v_set1((real)c)), v_load(by->all->at_label + h), y);
        if (with_ignored)
            y = v_keep(v_gt(label, v_set1((real)-1)), y);
    }
    return y;
}

FL_INLINE vec NAME(map_gradient)(const void *context, vec x, ptrdiff_t c, int h)
{
    const NAME(gradient_rows) *by = context;
    return NAME(gradient_of)(by, x, c, h, by->target != NULL, by->labels != NULL,
                             by->ignored != NULL);
}

/* The same of labels alone, none of which is ignored. */
FL_INLINE vec NAME(map_label_gradient)(const void *context, vec x, ptrdiff_t c, int h)
{
    return NAME(gradient_of)(context, x, c, h, 0, 1, 0);
}

FL_INLINE vec NAME(map_hessian)(const void *context, vec x, ptrdiff_t c, int h)
{
    (void)c;
    const NAME(gradient_rows) *by = context;
    const NAME(normaliser) normaliser = NAME(normaliser_of_lanes)(&by->all->normalisers, h);
    vec y = NAME(hessian)(NAME(normalised)(x, &normaliser), v_load(by->all->hess_scale + h),
                          normaliser.largest, v_load(by->all->hess_of_largest + h));
    if (by->ignored)
        y = v_keep(v_gt(v_load(by->ignored + h), v_set1((real)-1)), y);
    return y;
}

/* The second sweep of a batch in a tile. */
static void NAME(finish_tile)(const fl_rows *rows, ptrdiff_t begin, int count,
                              const NAME(swept) *swept, const NAME(gradients) *gradients,
                              real *dense)
{
    NAME(target) target;
    const real *labels = rows->labels ? swept->labels : NULL;
    const NAME(gradient_rows) by = {
        .all = gradients,
        .target = NAME(target_of)(rows, begin, &target),
        .soft = rows->targets.data ? &swept->soft : NULL,
        .labels = labels,
        .ignored = swept->ignored ? labels : NULL,
    };
    if (rows->hess.data)
        NAME(store_tile)(&swept->tile, &rows->hess, begin, count, NAME(map_hessian), &by, dense, 0);
    if (labels && !by.target && !by.ignored)
        NAME(store_tile)(&swept->tile, &rows->out, begin, count, NAME(map_label_gradient), &by,
                         dense, rows->streams);
    else
        NAME(store_tile)(&swept->tile, &rows->out, begin, count, NAME(map_gradient), &by, dense,
                         rows->streams);
}

static void NAME(cross_entropy)(const fl_rows *rows)
{
    const int gradient = rows->out.data != NULL, dense = NAME(has_dense)(&rows->out);
    FL_ALIGNED real buffer[BLOCK],
        spread[BLOCK]; /* the latter for a batch's exponentials, if not dense */
    FL_ALIGNED real soft[BLOCK];
    NAME(labels) labels = {.begin = -LABELS};
    const ptrdiff_t again = gradient ? (dense ? 4 * BLOCK : BLOCK) : PTRDIFF_MAX;
    NAME(work) work =
        NAME(work_of)(rows, 1, again, buffer, spread, rows->targets.data ? soft : NULL, spread);
    work.labels = &labels;
    work.keep = gradient;
    NAME(block_frame) frames[KEPT_BLOCKS];
    work.frames = frames;
    NAME(swept) swept;
    NAME(finished) finished;
    NAME(gradients) gradients;
    NAME(gradient_batch) batch = {{rows, &work, &swept, &gradients.normalisers, 0, NULL, 0},
                                  &gradients};
    NAME(behind) behind;
    NAME(stream)(rows, &work, &behind);
    const int plain = NAME(is_plain)(rows);
    int count;
    for (ptrdiff_t begin = 0; begin < rows->n_rows; begin += count) {
        count = NAME(count)(rows, begin, &work);
        /* The next batch's, as labels_of does. */
        if (rows->losses)
            FL_ROLLED for (int b = 0; b < count; b += 8)
                FL_PREFETCH(rows->losses + begin + count + b);
        ptrdiff_t e_row = 0;
        real *e = gradient ? NAME(place_of_batch)(rows, begin, &work, &e_row) : NULL;
        NAME(sweep_batch)(rows, begin, count, &work, e, e_row, &swept);
        if (NAME(only_sweeps)(rows))
            return;
        if (gradient)
            NAME(finish_batch)(&swept, NAME(whole)(count), &work.scaling, 1, &finished);
        else
            NAME(finish_batch)(&swept, NAME(whole)(count), &work.scaling, 0, &finished);
        NAME(gradients) *wanted = gradient ? &gradients : NULL;
        for (int h = 0; h < count; h += WIDTH)
            if (plain)
                NAME(finish_losses)(rows, begin, h, count, &swept, &finished, wanted, 1);
            else
                NAME(finish_losses)(rows, begin, h, count, &swept, &finished, wanted, 0);
        for (int b = 0; rows->losses && (swept.ignored || !swept.in_tile) && b < count; ++b)
            if (NAME(is_ignored)(rows, begin + b))
                rows->losses[begin + b] = 0;
            else if (NAME(is_special)(&swept, b))
                rows->losses[begin + b] = (double)NAN;
        if (!gradient)
            continue;
        if (swept.in_tile) {
            NAME(finish_tile)(rows, begin, count, &swept, &gradients, spread);
            continue;
        }
        batch.rows.begin = begin, batch.rows.e = e, batch.rows.e_row = e_row;
        NAME(write_batch)(rows, &batch, count, NAME(write_gradient), work.behind);
    }
    NAME(write_last)(&behind);
}
