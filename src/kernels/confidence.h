/*
 * How sure a row is of its largest logit: its probability, its lead over the next, and the
 * entropy of all, each a finish of the row's state.
 */

/* The results of n rows of a call, from `begin` on, a row for each lane; of lanes beyond n
   anything, and of special rows. `e`: their exponentials, one row after another, or NULL. */
typedef f64v NAME(finish)(const fl_rows *rows, ptrdiff_t begin, int n, const NAME(swept) *swept,
                          const real *e);

FL_INLINE void NAME(finish_each)(const fl_rows *rows, NAME(finish) *finish, int keep)
{
    const ptrdiff_t n = rows->n_classes;
    const NAME(scaling) common = NAME(scaling_of)(1);
    const int batch = keep ? NAME(batch_of)(n, BLOCK) : BATCH;
    real buffer[BLOCK], kept[BLOCK];
    real *e = keep && n <= BLOCK ? kept : NULL;
    for (ptrdiff_t i = 0; i < rows->n_rows; i += batch) {
        const int count = rows->n_rows - i < batch ? (int)(rows->n_rows - i) : batch;
        NAME(swept) swept[BATCH];
        NAME(sweep_batch)(rows, i, count, &common, buffer, e, n, NULL, swept);
        for (int b = 0; b < count; b += FL_WIDTH_F64) {
            const int lanes = count - b < FL_WIDTH_F64 ? count - b : FL_WIDTH_F64;
            double results[FL_WIDTH_F64];
            v_store(results, finish(rows, i + b, lanes, swept + b, e ? e + b * n : NULL));
            for (int k = 0; k < lanes; ++k) {
                const int special = NAME(is_special)(&swept[b + k].state);
                real *out = (real *)rows->out + (i + b + k) * rows->out_row;
                *out = special ? (real)NAN : (real)results[k];
            }
        }
    }
}

FL_INLINE f64v NAME(finish_max_prob)(const fl_rows *rows, ptrdiff_t begin, int n,
                                     const NAME(swept) *swept, const real *e)
{
    (void)rows, (void)begin, (void)e;
    const row_state state = NAME(as_row_state)(swept, n);
    return finish_normaliser(&state).largest.hi;
}

static void NAME(max_prob)(const fl_rows *rows)
{
    NAME(finish_each)(rows, NAME(finish_max_prob), 0);
}

/* The largest of the logits below max; -inf for none. */
static real NAME(next_largest)(const real *x, ptrdiff_t stride, ptrdiff_t n, real max)
{
    const vec least = v_set1((real)-INFINITY), max_v = v_set1(max);
    real buffer[BLOCK];
    vec best = least;
    for (ptrdiff_t j = 0; j < n; j += BLOCK) {
        const ptrdiff_t length = n - j < BLOCK ? n - j : BLOCK;
        const real *block = NAME(take)(x + j * stride, stride, length, buffer);
        for (ptrdiff_t i = 0; i < length; i += WIDTH) {
            const vec y = v_load_part(block + i, length - i, least);
            best = v_max(v_select(v_eq(y, max_v), least, y), best);
        }
    }
    return v_hmax(best);
}

/* p1 - p2 = p1 (1 - exp(x2 - x1)), with the last factor right to its own last places: of a pair
   1 - hi is exact where it cancels. */
FL_INLINE f64v NAME(finish_margin)(const fl_rows *rows, ptrdiff_t begin, int n,
                                   const NAME(swept) *swept, const real *e)
{
    (void)e;
    double max_[FL_WIDTH_F64], next_[FL_WIDTH_F64];
    for (int k = 0; k < FL_WIDTH_F64; ++k) {
        const int b = k < n ? k : 0;
        const real *x = (const real *)rows->x + (begin + b) * rows->x_row;
        const real max = swept[b].state.max;
        max_[k] = (double)max;
        next_[k] = swept[b].state.equal > 1
                       ? (double)max
                       : (double)NAME(next_largest)(x, rows->x_class, rows->n_classes, max);
    }
    const row_state state = NAME(as_row_state)(swept, n);
    const f64v zero = v_set1(0.0), least = v_set1(-2000.0); /* exp of which is 0 */
    const pair_f64 d = two_sum_f64(v_load(next_), v_sub(zero, v_load(max_)));
    const pair_f64 difference = {v_max(least, d.hi), v_keep(v_gt(d.hi, least), d.lo)};
    const pair_f64 ratio = exp_pair_f64(difference, zero);
    const f64v unshift = v_set1(-1 / FRAME_SCALE);
    const f64v lead = v_fma(ratio.lo, unshift, v_fma(ratio.hi, unshift, v_set1(1.0)));
    return v_mul(finish_normaliser(&state).largest.hi, lead);
}

static void NAME(margin)(const fl_rows *rows) { NAME(finish_each)(rows, NAME(finish_margin), 0); }

/* What a register of logits adds to sum e (max - x). A probability below 2^-180 adds nothing. */
FL_INLINE vec NAME(entropy_term)(vec e, vec x, vec max)
{
    return v_keep(v_gt(e, v_set1((real)(4 * REAL_MIN))), v_mul(e, v_sub(max, x)));
}

/* sum e (max - x) of n <= BLOCK contiguous logits and their exponentials. */
static double NAME(entropy_block)(const real *x, const real *e, ptrdiff_t n, real max_)
{
    const vec zero = v_set1((real)0), max = v_set1(max_);
    NAME(fold_sum) sum = NAME(fold_nothing)();
    for (ptrdiff_t j = 0; j < n; j += FOLD_SPAN)
        for (int k = 0; k < GROUP; ++k) {
            NAME(pair) y[4];
            for (int q = 0; q < 4; ++q) {
                const ptrdiff_t at = j + q * LANES + k * WIDTH, left = n - at;
                y[q].hi = y[q].lo = zero;
                if (left > 0)
                    y[q].hi = NAME(entropy_term)(v_load_part(e + at, left, zero),
                                                 v_load_part(x + at, left, max), max);
            }
            NAME(fold)(&sum, k, y);
        }
    return NAME(fold_total)(&sum);
}

/* The same of a row, of whose exponentials e is NULL where they have to be computed again. */
static double NAME(entropy_sum)(const real *logits, ptrdiff_t stride, ptrdiff_t n,
                                const NAME(swept) *swept, const real *e)
{
    real buffer[BLOCK], again[BLOCK];
    if (e)
        return NAME(entropy_block)(NAME(take)(logits, stride, n, buffer), e, n, swept->state.max);
    const NAME(frame) frame = NAME(frame_of)(swept->state.n, &swept->scaling);
    double sum = 0, lost = 0;
    for (ptrdiff_t j = 0; j < n; j += BLOCK) {
        const ptrdiff_t length = n - j < BLOCK ? n - j : BLOCK;
        const real *block = NAME(take)(logits + j * stride, stride, length, buffer);
        FOR_EACH_REGISTER(block, again, length, v_set1((real)-INFINITY), {
            y = swept->scaling.scaled ? NAME(exp)(x, &frame, 1).hi : NAME(exp)(x, &frame, 0).hi;
        });
        NAME(add_to)(&sum, &lost, NAME(entropy_block)(block, again, length, swept->state.max), 0);
    }
    return sum + lost;
}

/* log(sum) - max + sum p (max - x), of which neither is negative. */
FL_INLINE f64v NAME(finish_entropy)(const fl_rows *rows, ptrdiff_t begin, int n,
                                    const NAME(swept) *swept, const real *e)
{
    double sums[FL_WIDTH_F64];
    for (int k = 0; k < FL_WIDTH_F64; ++k) {
        const int b = k < n ? k : 0;
        const real *x = (const real *)rows->x + (begin + b) * rows->x_row;
        sums[k] = k < n && !NAME(is_special)(&swept[b].state)
                      ? NAME(entropy_sum)(x, rows->x_class, rows->n_classes, swept + b,
                                          e ? e + b * rows->n_classes : NULL)
                      : 0;
    }
    const row_state state = NAME(as_row_state)(swept, n);
    const f64v inverse = v_mul(finish_normaliser(&state).inverse.hi, v_set1(1 / EXP_FACTOR));
    return v_fma(v_load(sums), inverse, finish_log(&state).hi);
}

static void NAME(entropy)(const fl_rows *rows) { NAME(finish_each)(rows, NAME(finish_entropy), 1); }
