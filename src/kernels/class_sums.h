/*
 * Sums over the classes of what depends on a logit and its exponential, for finishes that the state
 * of a row does not suffice: a second look at a batch, whose exponentials the sweep has kept.
 */
#define MAX_TERMS 2

/* What a register of logits adds to each of the sums. The exponential of the largest may be
   anything. */
typedef void NAME(terms)(vec e, vec x, vec max, vec *y);

/* Of n <= BLOCK contiguous logits and their exponentials. */
FL_INLINE void NAME(sum_terms_of_block)(const real *x, const real *e, ptrdiff_t n, real max_,
                                        NAME(terms) *terms, int n_terms, double *sums)
{
    const vec zero = v_set1((real)0), max = v_set1(max_);
    NAME(fold_sum) total[MAX_TERMS];
    for (int t = 0; t < n_terms; ++t)
        total[t] = NAME(fold_nothing)();
    for (ptrdiff_t j = 0; j < n; j += FOLD_SPAN) {
        NAME(fold_sum) span[MAX_TERMS];
        for (int t = 0; t < n_terms; ++t)
            span[t] = NAME(fold_nothing)();
        for (int k = 0; k < GROUP; ++k) {
            NAME(pair) y[MAX_TERMS][4];
            for (int q = 0; q < 4; ++q) {
                const ptrdiff_t at = j + q * LANES + k * WIDTH, left = n - at;
                vec of_class[MAX_TERMS] = {zero, zero};
                if (left > 0)
                    terms(v_load_part(e + at, left, zero), v_load_part(x + at, left, max), max,
                          of_class);
                for (int t = 0; t < n_terms; ++t)
                    y[t][q] = (NAME(pair)){of_class[t], zero};
            }
            for (int t = 0; t < n_terms; ++t)
                NAME(fold)(&span[t], k, y[t]);
        }
        for (int t = 0; t < n_terms; ++t)
            NAME(fold_span)(&total[t], &span[t]);
    }
    for (int t = 0; t < n_terms; ++t)
        sums[t] = NAME(fold_total)(&total[t]);
}

/* Of row b of a batch, of whose exponentials e is NULL where they have to be computed again. */
FL_INLINE void NAME(sum_terms_of_row)(const fl_row *logits, ptrdiff_t n, int b,
                                      const NAME(work) *work, const NAME(swept) *swept,
                                      const real *e, NAME(terms) *terms, int n_terms, double *sums)
{
    FL_ALIGNED real again[BLOCK];
    const real max = swept->max[b] + swept->offset[b];
    if (e) {
        const real *x = NAME(take)(logits, 0, n, work->buffer);
        NAME(sum_terms_of_block)(x, e, n, max, terms, n_terms, sums);
        return;
    }
    const NAME(scaling) scaling = NAME(scaling_of_row)(swept, b, &work->scaling);
    const NAME(frame) frame = NAME(frame_of)(v_set1(swept->n[b]), &scaling);
    double lost[MAX_TERMS] = {0};
    for (int t = 0; t < n_terms; ++t)
        sums[t] = 0;
    for (ptrdiff_t j = 0; j < n; j += BLOCK) {
        const ptrdiff_t length = n - j < BLOCK ? n - j : BLOCK;
        const real *block = NAME(take)(logits, j, length, work->buffer);
        FOR_EACH_REGISTER(block, again, length, v_set1((real)-INFINITY), {
            y = scaling.scaled ? NAME(exp)(x, &frame, 1).hi : NAME(exp)(x, &frame, 0).hi;
        });
        double of_block[MAX_TERMS];
        NAME(sum_terms_of_block)(block, again, length, max, terms, n_terms, of_block);
        for (int t = 0; t < n_terms; ++t)
            NAME(add_to)(sums + t, lost + t, of_block[t], 0);
    }
    for (int t = 0; t < n_terms; ++t)
        sums[t] += lost[t];
}

/* The rows of one register of two tiles, of logits and exponentials. */
typedef struct {
    const real *x, *e;
    vec max;
    NAME(terms) *terms;
    int which;
} NAME(tile_terms);

FL_INLINE NAME(pair) NAME(term_of_tile)(void *context, ptrdiff_t c)
{
    const NAME(tile_terms) *t = context;
    vec y[MAX_TERMS];
    t->terms(v_load(t->e + c * PANEL), v_load(t->x + c * PANEL), t->max, y);
    return (NAME(pair)){y[t->which], v_set1((real)0)};
}

/*
 * Of each row of a batch that is not special. `e`: the exponentials, one row after another, or
 * NULL; of rows in a tile they are there, and the logits in the soft tile.
 */
FL_INLINE void NAME(sum_terms_of_batch)(const fl_rows *rows, ptrdiff_t begin, int count,
                                        const NAME(work) *work, const NAME(swept) *swept,
                                        const real *e, NAME(terms) *terms, int n_terms,
                                        double (*sums)[BATCH])
{
    const ptrdiff_t n = rows->n_classes;
    for (int h = 0; swept->in_tile && h < swept->tile.width; h += WIDTH) {
        NAME(tile_terms) context = {NAME(panel)(&swept->soft, h), NAME(panel)(&swept->tile, h),
                                    v_load(swept->max + h), terms, 0};
        for (int t = 0; t < n_terms; ++t) {
            context.which = t;
            const NAME(lane_sum) sum = NAME(sum_terms)(NAME(term_of_tile), &context, n, FOLD_SPAN);
            for (int i = 0; i < HALVES; ++i)
                v_store(sums[t] + h + i * FL_WIDTH_F64, NAME(lane_total)(&sum, i));
        }
    }
    for (int b = 0; !swept->in_tile && b < count; ++b) {
        double of_row[MAX_TERMS] = {0};
        const fl_row x = NAME(row_of)(&rows->x, begin + b);
        if (!NAME(is_special)(swept, b))
            NAME(sum_terms_of_row)(&x, n, b, work, swept, e ? e + b * NAME(spread_row)(n) : NULL,
                                   terms, n_terms, of_row);
        for (int t = 0; t < n_terms; ++t)
            sums[t][b] = of_row[t];
    }
    /* What makes up a register with the last of them. */
    for (int b = count; !swept->in_tile && b % FL_WIDTH_F64 != 0; ++b)
        for (int t = 0; t < n_terms; ++t)
            sums[t][b] = 0;
}
