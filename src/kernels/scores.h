/*
 * A row and its label: what the scores of a classifier, and the search for its temperature, are
 * sums of.
 */

/* The figures of a batch of rows, of which `sums` are those of the classes; of special and ignored
   rows, anything. */
typedef void NAME(finish_figures)(int b, const NAME(swept) *swept, const NAME(work) *work,
                                  double (*sums)[BATCH], f64v *figures);

/* A frame's exponentials are as large as 2^FRAME_SHIFT: of their squares that is taken off once. */
FL_INLINE void NAME(square_terms)(vec e, vec x, vec max, vec *y)
{
    y[0] = v_keep(v_ne(x, max), v_mul(v_mul(e, v_set1((real)(1 / FRAME_SCALE))), e));
}

FL_INLINE void NAME(moment_terms)(vec e, vec x, vec max, vec *y)
{
    y[0] = NAME(distance_term)(e, x, max);
    y[1] = v_keep(v_ne(y[0], v_set1((real)0)), v_mul(y[0], v_sub(max, x)));
}

/* How many of n contiguous logits come before a class of `logit` that follows them, or precedes
   them. */
static ptrdiff_t NAME(count_before)(const real *x, ptrdiff_t n, real logit, int follows)
{
    const vec at = v_set1(logit);
    ptrdiff_t count = 0;
    for (ptrdiff_t j = 0; j < n; j += WIDTH) {
        const ptrdiff_t left = n - j;
        const vec y = v_load_part(x + j, left, at);
        count += FL_POPCOUNT(v_lanes(v_gt(y, at)) | v_lanes(v_ne(y, y)));
        if (follows)
            count += FL_POPCOUNT(v_lanes(v_eq(y, at))) - (left < WIDTH ? WIDTH - left : 0);
    }
    return count;
}

static ptrdiff_t NAME(rank_in_row)(const fl_row *x, ptrdiff_t n, ptrdiff_t label, real *buffer)
{
    const real logit = NAME(get)(x, label);
    ptrdiff_t rank = 0;
    if (isnan(logit)) {
        for (ptrdiff_t j = 0; j < label; ++j)
            rank += isnan(NAME(get)(x, j)) != 0;
        return rank;
    }
    for (ptrdiff_t j = 0; j < n; j += BLOCK) {
        const ptrdiff_t length = n - j < BLOCK ? n - j : BLOCK, to_label = label - j;
        const real *block = NAME(take)(x, j, length, buffer);
        const ptrdiff_t before = to_label < 0 ? 0 : to_label < length ? to_label : length;
        rank += NAME(count_before)(block, before, logit, 1);
        rank += NAME(count_before)(block + before, length - before, logit, 0);
    }
    return rank;
}

/* Of the rows of a tile, which have no NaN. */
static void NAME(ranks_in_tile)(const NAME(swept) *swept, double *ranks)
{
    const vec zero = v_set1((real)0), one = v_set1((real)1);
    for (int h = 0; h < swept->tile.width; h += WIDTH) {
        const real *x = NAME(panel)(&swept->soft, h);
        const vec label = v_load(swept->labels + h);
        const vec logit = v_load(swept->logit + h);
        vec rank = zero;
        for (ptrdiff_t c = 0; c < swept->tile.n; ++c) {
            const vec y = v_load(x + c * PANEL);
            const vec tie = v_select(v_gt(label, v_set1((real)c)), one, zero);
            rank = v_add(rank, v_select(v_gt(y, logit), one, v_keep(v_eq(y, logit), tie)));
        }
        for (int i = 0; i < HALVES; ++i)
            v_store(ranks + h + i * FL_WIDTH_F64, NAME(widened)(rank, i));
    }
}

/* How far the labels' logits are below the largest. */
FL_INLINE f64v NAME(gaps)(const NAME(swept) *swept, int b)
{
    return v_sub(NAME(largest_logits)(swept, b), NAME(load_wide)(swept->logit + b));
}

/* (max - logit) / temperature + log(sum exp((x - max) / temperature)) */
FL_INLINE f64v NAME(nlls)(pair_f64 log, f64v gap, const NAME(scaling) *scaling)
{
    const f64v scaled = v_mul(gap, v_set1(scaling->inverse));
    /* 0 also where 1 / temperature is infinite. */
    return v_add(v_keep(v_ne(gap, v_set1(0.0)), scaled), log.hi);
}

/* With the sum r of the squares of p of all but the largest, of which there are k: the others'
   squares are r + (k - 1) p_max^2 where the label is one of them, else what is left without its
   own, which is no more than half of it. */
FL_INLINE void NAME(finish_score)(int b, const NAME(swept) *swept, const NAME(work) *work,
                                  double (*sums)[BATCH], f64v *figures)
{
    const f64v zero = v_set1(0.0), one = v_set1(1.0), least = v_set1(-2000.0);
    const row_state state = NAME(states)(swept, b, &work->scaling);
    pair_f64 argument;
    const normaliser_parts parts = NAME(finish_normaliser_and_argument)(&state, &argument);
    const f64v gap = NAME(gaps)(swept, b), is_max = v_select(v_eq(gap, zero), one, zero);
    const f64v below = v_mul(gap, v_set1(work->scaling.inverse));
    const f64v p_max = parts.largest.hi, inverse = parts.inverse.hi;

    const pair_f64 ratio = exp_pair_f64(single(v_max(least, v_sub(zero, below))), zero);
    const f64v other = v_mul(p_max, v_mul(ratio.hi, v_set1(1 / FRAME_SCALE)));
    const f64m at_max = v_ne(is_max, zero);
    const f64v p = v_select(at_max, p_max, other);
    const f64v not_p = v_select(at_max, parts.others.hi, v_sub(one, p));

    const f64v scale =
        v_mul(v_mul(inverse, inverse), v_set1(FRAME_SCALE / (EXP_FACTOR * EXP_FACTOR)));
    f64v squares = v_mul(v_load(sums[0] + b), scale);
    squares = v_fma(v_mul(v_sub(state.equal, is_max), p_max), p_max, squares);
    squares = v_sub(squares, v_select(at_max, zero, v_mul(p, p)));
    figures[FL_NLL] = NAME(nlls)(NAME(wide_log)(argument), gap, &work->scaling);
    figures[FL_CONFIDENCE] = p_max;
    figures[FL_BRIER] = v_fma(not_p, not_p, v_max(squares, zero));
}

/* With d = max - x: d of the label less its mean, and its variance, over p. */
FL_INLINE void NAME(finish_calibrate)(int b, const NAME(swept) *swept, const NAME(work) *work,
                                      double (*sums)[BATCH], f64v *figures)
{
    const row_state state = NAME(states)(swept, b, &work->scaling);
    pair_f64 argument;
    const normaliser_parts parts = NAME(finish_normaliser_and_argument)(&state, &argument);
    const f64v inverse = v_mul(parts.inverse.hi, v_set1(1 / EXP_FACTOR));
    const f64v mean = v_mul(v_load(sums[0] + b), inverse);
    const f64v square = v_mul(v_load(sums[1] + b), inverse), gap = NAME(gaps)(swept, b);
    const f64v zero = v_set1(0.0);
    figures[FL_NLL] = NAME(nlls)(NAME(wide_log)(argument), gap, &work->scaling);
    figures[FL_SLOPE] = v_sub(gap, mean);
    figures[FL_CURVATURE] = v_max(v_fnma(mean, mean, square), zero);
}

FL_INLINE void NAME(figures)(const fl_rows *rows, NAME(terms) *terms, int n_terms,
                             NAME(finish_figures) *finish, int ranked)
{
    const ptrdiff_t n = rows->n_classes;
    FL_ALIGNED real buffer[BLOCK], dense[BLOCK], kept[BLOCK];
    NAME(labels) labels = {.begin = -LABELS};
    NAME(work) work = NAME(work_of)(rows, rows->temperature, BLOCK, buffer, dense, kept, kept);
    work.labels = &labels;
    work.keep = 1;
    work.out = NULL;
    real *e = n <= BLOCK ? work.spread : NULL;
    int count;
    for (ptrdiff_t begin = 0; begin < rows->n_rows; begin += count) {
        count = NAME(count)(rows, begin, &work);
        NAME(swept) swept;
        NAME(sweep_batch)(rows, begin, count, &work, e, NAME(spread_row)(n), &swept);
        double sums[MAX_TERMS][BATCH], columns[FL_FIGURES][BATCH];
        NAME(sum_terms_of_batch)(rows, begin, count, &work, &swept, e, terms, n_terms, sums);
        for (int b = 0; b < count; b += FL_WIDTH_F64) {
            f64v figures[FL_FIGURES];
            figures[FL_RANK] = v_set1(0.0);
            finish(b, &swept, &work, sums, figures);
            for (int k = 0; k < FL_FIGURES; ++k)
                v_store(columns[k] + b, figures[k]);
        }
        if (ranked && swept.in_tile)
            NAME(ranks_in_tile)(&swept, columns[FL_RANK]);
        for (int b = 0; b < count; ++b) {
            double *figures = rows->figures + (begin + b) * FL_FIGURES;
            const ptrdiff_t label = NAME(label_of)(rows, begin + b);
            const int special = !swept.in_tile && NAME(is_special)(&swept, b);
            for (int k = 0; k < FL_FIGURES; ++k)
                figures[k] = special && k != FL_RANK ? (double)NAN : columns[k][b];
            if (label < 0) {
                figures[FL_RANK] = -1;
            } else if (ranked && !swept.in_tile) {
                const fl_row x = NAME(row_of)(&rows->x, begin + b);
                figures[FL_RANK] = (double)NAME(rank_in_row)(&x, n, label, work.buffer);
            }
        }
    }
}

static void NAME(score)(const fl_rows *rows)
{
    NAME(figures)(rows, NAME(square_terms), 1, NAME(finish_score), 1);
}

static void NAME(calibrate)(const fl_rows *rows)
{
    NAME(figures)(rows, NAME(moment_terms), 2, NAME(finish_calibrate), 0);
}
