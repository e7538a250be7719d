/*
 * How sure a row is of its largest logit: its probability, its lead over the next, and the
 * entropy of all, each a finish of the row's state.
 */

/* The results of a batch of rows; of special rows, anything. `e`: the exponentials, one row after
   another, or NULL. */
typedef void NAME(finish)(const fl_rows *rows, ptrdiff_t begin, int count, const NAME(work) *work,
                          const NAME(swept) *swept, const real *e, double *results);

FL_INLINE void NAME(finish_each)(const fl_rows *rows, NAME(finish) *finish, int keep)
{
    const ptrdiff_t n = rows->n_classes;
    FL_ALIGNED real buffer[BLOCK], dense[BLOCK], kept[BLOCK];
    real *second = keep ? kept : NULL;
    NAME(work) work =
        NAME(work_of)(rows, 1, keep ? BLOCK : PTRDIFF_MAX, buffer, dense, second, second);
    work.keep = keep;
    work.out = NULL;
    const fl_row out = NAME(across)(&rows->out, 0);
    real *e = n <= BLOCK ? work.spread : NULL;
    int count;
    for (ptrdiff_t i = 0; i < rows->n_rows; i += count) {
        count = NAME(count)(rows, i, &work);
        NAME(swept) swept;
        NAME(sweep_batch)(rows, i, count, &work, e, NAME(spread_row)(n), &swept);
        double results[BATCH];
        finish(rows, i, count, &work, &swept, e, results);
        real rounded[BATCH], *to = NAME(place)(&out, i, rounded);
        for (int b = 0; b < count; ++b)
            to[b] = NAME(is_special)(&swept, b) ? (real)NAN : (real)results[b];
        NAME(put)(to, &out, i, count);
    }
}

static void NAME(finish_max_prob)(const fl_rows *rows, ptrdiff_t begin, int count,
                                  const NAME(work) *work, const NAME(swept) *swept, const real *e,
                                  double *results)
{
    (void)rows, (void)begin, (void)e;
    for (int b = 0; b < count; b += FL_WIDTH_F64) {
        const row_state state = NAME(states)(swept, b, &work->scaling);
        v_store(results + b, NAME(finish_normaliser)(&state).largest.hi);
    }
}

static void NAME(max_prob)(const fl_rows *rows)
{
    NAME(finish_each)(rows, NAME(finish_max_prob), 0);
}

/* The largest of the logits below max; -inf for none. */
static real NAME(next_largest)(const fl_row *x, ptrdiff_t n, real max)
{
    const vec least = v_set1((real)-INFINITY), max_v = v_set1(max);
    FL_ALIGNED real buffer[BLOCK];
    vec best = least;
    for (ptrdiff_t j = 0; j < n; j += BLOCK) {
        const ptrdiff_t length = n - j < BLOCK ? n - j : BLOCK;
        const real *block = NAME(take)(x, j, length, buffer);
        for (ptrdiff_t i = 0; i < length; i += WIDTH) {
            const vec y = v_load_part(block + i, length - i, least);
            best = v_max(v_select(v_eq(y, max_v), least, y), best);
        }
    }
    return v_hmax(best);
}

/* The same of the rows of a tile. */
static void NAME(next_of_tile)(const NAME(swept) *swept, double *next)
{
    const vec least = v_set1((real)-INFINITY);
    for (int h = 0; h < swept->tile.width; h += WIDTH) {
        const vec max = v_load(swept->max + h);
        vec best = least;
        for (ptrdiff_t c = 0; c < swept->tile.n; ++c) {
            const vec y = v_load(NAME(panel)(&swept->tile, h) + c * PANEL);
            best = v_max(v_select(v_eq(y, max), least, y), best);
        }
        for (int i = 0; i < HALVES; ++i)
            v_store(next + h + i * FL_WIDTH_F64, NAME(widened)(best, i));
    }
}

/* p1 - p2 = p1 (1 - exp(x2 - x1)), with the last factor right to its own last places: of a pair
   1 - hi is exact where it cancels. */
static void NAME(finish_margin)(const fl_rows *rows, ptrdiff_t begin, int count,
                                const NAME(work) *work, const NAME(swept) *swept, const real *e,
                                double *results)
{
    (void)e;
    const ptrdiff_t n = rows->n_classes;
    const f64v zero = v_set1(0.0), least = v_set1(-2000.0); /* exp of which is 0 */
    double next_[BATCH] = {0};
    if (swept->in_tile)
        NAME(next_of_tile)(swept, next_);
    for (int b = 0; !swept->in_tile && b < count; ++b) {
        const fl_row x = NAME(row_of)(&rows->x, begin + b);
        next_[b] = (double)NAME(next_largest)(&x, n, swept->max[b] + swept->offset[b]);
    }
    for (int b = 0; b < count; b += FL_WIDTH_F64) {
        const f64v max = NAME(largest_logits)(swept, b);
        const f64v several = v_load(swept->equal + b);
        const f64v next = v_select(v_gt(several, v_set1(1.0)), max, v_load(next_ + b));
        const row_state state = NAME(states)(swept, b, &work->scaling);
        const pair_f64 d = two_sum_f64(next, v_sub(zero, max));
        const pair_f64 difference = {v_max(least, d.hi), v_keep(v_gt(d.hi, least), d.lo)};
        const pair_f64 ratio = exp_pair_f64(difference, zero);
        const f64v unshift = v_set1(-1 / FRAME_SCALE);
        const f64v lead = v_fma(ratio.lo, unshift, v_fma(ratio.hi, unshift, v_set1(1.0)));
        v_store(results + b, v_mul(NAME(finish_normaliser)(&state).largest.hi, lead));
    }
}

static void NAME(margin)(const fl_rows *rows) { NAME(finish_each)(rows, NAME(finish_margin), 0); }

/* e (max - x). A probability below 2^-180 adds nothing. */
FL_INLINE vec NAME(distance_term)(vec e, vec x, vec max)
{
    return v_keep(v_gt(e, v_set1((real)(4 * REAL_MIN))), v_mul(e, v_sub(max, x)));
}

FL_INLINE void NAME(entropy_terms)(vec e, vec x, vec max, vec *y)
{
    y[0] = NAME(distance_term)(e, x, max);
}

/* log(sum) - max + sum p (max - x), of which neither is negative. */
static void NAME(finish_entropy)(const fl_rows *rows, ptrdiff_t begin, int count,
                                 const NAME(work) *work, const NAME(swept) *swept, const real *e,
                                 double *results)
{
    double sums[1][BATCH];
    NAME(sum_terms_of_batch)(rows, begin, count, work, swept, e, NAME(entropy_terms), 1, sums);
    for (int b = 0; b < count; b += FL_WIDTH_F64) {
        const row_state state = NAME(states)(swept, b, &work->scaling);
        pair_f64 argument;
        const normaliser_parts parts = NAME(finish_normaliser_and_argument)(&state, &argument);
        const f64v inverse = v_mul(parts.inverse.hi, v_set1(1 / EXP_FACTOR));
        v_store(results + b, v_fma(v_load(sums[0] + b), inverse, NAME(wide_log)(argument).hi));
    }
}

static void NAME(entropy)(const fl_rows *rows) { NAME(finish_each)(rows, NAME(finish_entropy), 1); }
