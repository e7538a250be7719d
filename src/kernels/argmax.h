/*
 * The class of the largest logit: comparisons alone, so nothing is rounded.
 */

/* A bit for each of 64 numbers, the first the lowest: whether it equals `value`. */
FL_INLINE uint64_t NAME(equals)(const real *x, real value)
{
    uint64_t bits = 0;
    FL_UNROLL for (int j = 0; j < 64; j += WIDTH) bits |=
        (uint64_t)v_lanes(v_eq(v_load(x + j), v_set1(value))) << j;
    return bits;
}

/* The first of n > 0 numbers that equals `value`; the last if none does any more, as another thread
   has changed them: callers read from the place. No branch depends on where it is: the CPU would
   guess wrong, and not ask for the next row before it has found out. */
FL_INLINE ptrdiff_t NAME(find)(const real *x, ptrdiff_t n, real value)
{
    ptrdiff_t place = n - 1;
    if (n < 64)
        for (ptrdiff_t j = place; j >= 0; --j)
            place = x[j] == value ? j : place;
    /* From the end, which may overlap what is before. */
    for (ptrdiff_t j = n - 64; j >= 0; j = (j + 63) / 64 * 64 - 64) {
        const uint64_t bits = NAME(equals)(x + j, value);
        place = bits ? j + FL_LOWEST(bits | (uint64_t)1 << 63) : place;
    }
    return place;
}

/* The largest of some classes, and where it is: the first of equals, or the first NaN. */
typedef struct {
    real value;
    ptrdiff_t place;
} NAME(best);

static NAME(best) NAME(best_of)(const fl_row *x, ptrdiff_t from, ptrdiff_t to, real *buffer)
{
    real max = (real)-INFINITY;
    ptrdiff_t begin = from; /* of the span with max */
    for (ptrdiff_t j = from; j < to; j += BLOCK) {
        const ptrdiff_t length = to - j < BLOCK ? to - j : BLOCK;
        const real *block = NAME(take)(x, j, length, buffer);
        vec tops[BLOCK / FOLD_SPAN], sum = v_set1((real)0);
        const real m = NAME(sweep_max)(block, length, tops, &sum, NULL, 0, NULL);
        if (v_lanes(v_ne(sum, sum))) {
            const ptrdiff_t at = NAME(find_nan)(block, length);
            if (at < length)
                return (NAME(best)){(real)NAN, j + at};
        }
        if (m > max) {
            max = m;
            const ptrdiff_t spans = length / FOLD_SPAN;
            uint64_t bits = (uint64_t)1 << spans; /* behind them, if in none */
            for (ptrdiff_t s = 0; s < spans; ++s)
                bits |= (uint64_t)(v_lanes(v_eq(tops[s], v_set1(m))) != 0) << s;
            begin = j + FL_LOWEST(bits) * FOLD_SPAN;
        }
    }
    begin = begin < to ? begin : to - 1; /* changed likewise */
    const ptrdiff_t length = to - begin < FOLD_SPAN ? to - begin : FOLD_SPAN;
    const real *span = NAME(take)(x, begin, length, buffer);
    return (NAME(best)){max, begin + NAME(find)(span, length, max)};
}

/* A row that several threads share. */
static void NAME(argmax_shared)(const fl_rows *rows, real *buffer)
{
    const fl_row row = NAME(row_of)(&rows->x, 0);
    const fl_part *part = rows->part;
    NAME(best) *found = part->states;
    for (ptrdiff_t j = part->begin; part->first && j < part->end; j += FL_PART) {
        const ptrdiff_t end = j + FL_PART < part->end ? j + FL_PART : part->end;
        found[j / FL_PART] = NAME(best_of)(&row, j, end, buffer);
    }
    if (part->first)
        return;
    NAME(best) best = found[0];
    for (ptrdiff_t j = 0; j < rows->n_classes && !isnan(best.value); j += FL_PART)
        if (isnan(found[j / FL_PART].value) || found[j / FL_PART].value > best.value)
            best = found[j / FL_PART];
    rows->indices[0] = best.place;
}

/* The places of the largest in a register of rows from row `begin` on, of which `count` exist, if
   not all; of those that may have a NaN, that of the first, if there is one. */
FL_INLINE void NAME(put_places)(vec places, mask may_have_nan, const fl_view *rows, ptrdiff_t begin,
                                ptrdiff_t count, ptrdiff_t n, ptrdiff_t *indices)
{
    real place[WIDTH];
    v_store(place, places);
    /* By way of 32 bits, for which AVX2 has a conversion; the first loop becomes vectors. */
    for (int i = 0; count >= WIDTH && i < WIDTH; ++i)
        indices[i] = (int32_t)place[i];
    for (int i = 0; count < WIDTH && i < count; ++i)
        indices[i] = (int32_t)place[i];
    for (unsigned lanes = v_lanes(may_have_nan); lanes; lanes &= lanes - 1) {
        const int i = FL_LOWEST(lanes);
        if (i >= count)
            break;
        const fl_row row = NAME(row_of)(rows, begin + i);
        const ptrdiff_t nan = NAME(find_nan_in_row)(&row, n);
        if (nan < n)
            indices[i] = nan;
    }
}

/* Rows side by side, one for each lane: the state of a strip stays in the L1 cache. */
#define STRIP 1024
#define STRIP_CLASSES 4 /* for one visit of the state */
#define STRIP_AHEAD 8   /* classes that are prefetched: the hardware does not look beyond a page */

/* The place of the largest so far is kept as a number, so there are at most 2^24 classes. `sum`,
   of all of them, shows where a NaN may be. */
typedef struct {
    vec largest, place, sum;
} NAME(strip);

/* `count` classes from c on, of the n first rows of a register that begins `at` rows on. */
FL_INLINE void NAME(strip_visit)(NAME(strip) *strip, const real *const *classes, ptrdiff_t at,
                                 ptrdiff_t c, int count, ptrdiff_t n)
{
    NAME(strip) s = *strip;
    for (int d = 0; d < count; ++d) {
        const vec y = v_load_part(classes[d] + at, n, v_set1((real)0));
        s.place = v_select(v_gt(y, s.largest), v_set1((real)(c + d)), s.place);
        s.largest = v_max(y, s.largest);
        s.sum = v_add(s.sum, y);
    }
    *strip = s;
}

/* Rows [begin, begin + n) of an array, n <= STRIP. */
static void NAME(argmax_strip)(const fl_view *x, ptrdiff_t begin, ptrdiff_t n_classes, ptrdiff_t n,
                               ptrdiff_t *indices)
{
    NAME(strip) strip[STRIP / WIDTH];
    FL_ALIGNED real buffer[STRIP_CLASSES * STRIP];
    const vec zero = v_set1((real)0);
    for (ptrdiff_t i = 0; i * WIDTH < n; ++i)
        strip[i] = (NAME(strip)){v_set1((real)-INFINITY), zero, zero};
    for (ptrdiff_t c = 0; c < n_classes; c += STRIP_CLASSES) {
        const int left = n_classes - c < STRIP_CLASSES ? (int)(n_classes - c) : STRIP_CLASSES;
        const int whole = left == STRIP_CLASSES;
        const real *classes[STRIP_CLASSES];
        for (int d = 0; d < left; ++d) {
            const fl_row across = NAME(across)(x, c + d);
            classes[d] = NAME(take)(&across, begin, n, buffer + d * STRIP);
        }
        /* Those beyond the last class are of the strips that follow. */
        const ptrdiff_t strips = (c + STRIP_AHEAD) / n_classes;
        const ptrdiff_t classes_on = STRIP_AHEAD - strips * n_classes;
        const int close = x->row > 0 && x->row <= 8;
        const ptrdiff_t ahead = close ? classes_on * x->class + strips * STRIP * x->row : 0;
        ptrdiff_t i = 0;
        for (; whole && (i + 1) * WIDTH <= n; ++i) {
            for (int d = 0; d < STRIP_CLASSES; ++d)
                FL_PREFETCH_FAR((const char *)(classes[d] + i * WIDTH) + ahead);
            NAME(strip_visit)(strip + i, classes, i * WIDTH, c, STRIP_CLASSES, WIDTH);
        }
        for (; i * WIDTH < n; ++i)
            NAME(strip_visit)(strip + i, classes, i * WIDTH, c, left, n - i * WIDTH);
    }
    for (ptrdiff_t i = 0; i * WIDTH < n; ++i)
        NAME(put_places)(strip[i].place, v_ne(strip[i].sum, strip[i].sum), x, begin + i * WIDTH,
                         n - i * WIDTH, n_classes, indices + i * WIDTH);
}

/* The rows of a tile. */
static void NAME(argmax_tile)(const NAME(tile) *tile, int count, const real *max_,
                              const NAME(coming) *next, ptrdiff_t *indices)
{
    enum { LEAST_FAR = 16 }; /* of fewer, it takes more time than it saves */
    const vec zero = v_set1((real)0), one = v_set1((real)1);
    const int far = tile->n >= LEAST_FAR;
    for (int h = 0; h < count; h += WIDTH) {
        const real *from = NAME(panel)(tile, h);
        const vec max = v_load(max_ + h);
        vec place = zero, nans = zero;
        NAME(pieces) pieces = NAME(pieces_of)(next, h);
        for (ptrdiff_t c = tile->n - 1; c >= 0; --c) {
            FL_PREFETCH(pieces.at);
            if (far)
                FL_PREFETCH_FAR(pieces.at + pieces.far);
            pieces.at += pieces.step;
            const vec y = v_load(from + c * PANEL);
            place = v_select(v_eq(y, max), v_set1((real)c), place);
            nans = v_add(nans, v_keep(v_ne(y, y), one));
        }
        const fl_view rows = {(char *)(uintptr_t)from, sizeof *from, PANEL * sizeof *from,
                              OWN_FORMAT, NULL};
        NAME(put_places)(place, v_gt(nans, zero), &rows, 0, count - h, tile->n, indices + h);
    }
}

static void NAME(argmax)(const fl_rows *rows)
{
    const fl_view *x = &rows->x;
    const ptrdiff_t n = rows->n_classes;
    if (!x->axes && ABS(x->row) < ABS(x->class) && rows->n_rows >= WIDTH && n <= 1 << 24) {
        for (ptrdiff_t i = 0; i < rows->n_rows; i += STRIP) {
            const ptrdiff_t width = rows->n_rows - i < STRIP ? rows->n_rows - i : STRIP;
            NAME(argmax_strip)(x, i, n, width, rows->indices + i);
        }
        return;
    }
    FL_ALIGNED real buffer[BLOCK], dense[BLOCK], max[BATCH];
    if (rows->part) {
        NAME(argmax_shared)(rows, buffer);
        return;
    }
    ptrdiff_t i = 0;
    NAME(tile) tile = {buffer, n, NAME(tile_width)(n, BLOCK)};
    for (; tile.width && i + LEAST_TILE <= rows->n_rows; i += tile.width) {
        const ptrdiff_t left = rows->n_rows - i;
        const int count = left < tile.width ? (int)left : tile.width;
        tile.width = (count + PANEL - 1) / PANEL * PANEL;
        NAME(load_tile)(x, i, count, &tile, max, dense);
        const NAME(coming) next = NAME(coming_of)(x, i, &tile);
        NAME(argmax_tile)(&tile, count, max, &next, rows->indices + i);
    }
    for (; i < rows->n_rows; ++i) {
        const fl_row row = NAME(row_of)(x, i);
        rows->indices[i] = NAME(best_of)(&row, 0, n, buffer).place;
    }
}
