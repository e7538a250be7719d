/*
 * The class of the largest logit: comparisons alone, so nothing is rounded.
 */

/* The first of n > 0 numbers that equals `value`; the last if none does. */
FL_INLINE ptrdiff_t NAME(find)(const real *x, ptrdiff_t stride, ptrdiff_t n, real value)
{
    ptrdiff_t j = 0;
    if (stride == 1)
        for (; j + WIDTH <= n; j += WIDTH)
            if (v_lanes(v_eq(v_load(x + j), v_set1(value))))
                break;
    while (j < n - 1 && x[j * stride] != value)
        ++j;
    return j;
}

static ptrdiff_t NAME(argmax_of)(const real *x, ptrdiff_t stride, ptrdiff_t n, real *buffer)
{
    real max = (real)-INFINITY;
    ptrdiff_t begin = 0; /* of the span with max */
    for (ptrdiff_t j = 0; j < n; j += BLOCK) {
        const ptrdiff_t length = n - j < BLOCK ? n - j : BLOCK;
        const real *block = NAME(take)(x + j * stride, stride, length, buffer);
        vec tops[BLOCK / FOLD_SPAN], sum = v_set1((real)0);
        const real m = NAME(sweep_max)(block, length, tops, &sum);
        if (v_lanes(v_ne(sum, sum))) {
            const ptrdiff_t at = NAME(find_nan)(block, 1, length);
            if (at < length)
                return j + at;
        }
        if (m > max) {
            max = m;
            begin = 0;
            while (begin + FOLD_SPAN <= length &&
                   !v_lanes(v_eq(tops[begin / FOLD_SPAN], v_set1(m))))
                begin += FOLD_SPAN;
            begin += j;
        }
    }
    /* No place that is none, should another thread have changed what was found. */
    return begin < n ? begin + NAME(find)(x + begin * stride, stride, n - begin, max) : n - 1;
}

/* Rows side by side, one for each lane: the state of a strip stays in the L1 cache. */
#define STRIP 1024
#define STRIP_CLASSES 4 /* for one visit of the state */

/* The place of the largest so far is kept as a number, so there are at most 2^24 classes. `sum`,
   of all of them, shows where a NaN may be. */
typedef struct {
    vec largest, place, sum;
} NAME(strip);

/* Classes [c, end) of the n first rows of a register that begins at x. */
FL_INLINE void NAME(strip_visit)(NAME(strip) *strip, const real *x, ptrdiff_t stride, ptrdiff_t c,
                                 ptrdiff_t end, ptrdiff_t n)
{
    NAME(strip) s = *strip;
    for (ptrdiff_t d = c; d < end; ++d) {
        const vec y = v_load_part(x + d * stride, n, v_set1((real)0));
        s.place = v_select(v_gt(y, s.largest), v_set1((real)d), s.place);
        s.largest = v_max(y, s.largest);
        s.sum = v_add(s.sum, y);
    }
    *strip = s;
}

/* n <= STRIP rows that begin at x, x + 1, ... */
static void NAME(argmax_strip)(const real *x, ptrdiff_t stride, ptrdiff_t n_classes, ptrdiff_t n,
                               ptrdiff_t *indices)
{
    NAME(strip) strip[STRIP / WIDTH];
    const vec zero = v_set1((real)0);
    for (ptrdiff_t i = 0; i * WIDTH < n; ++i)
        strip[i] = (NAME(strip)){v_set1((real)-INFINITY), zero, zero};
    for (ptrdiff_t c = 0; c < n_classes; c += STRIP_CLASSES) {
        const int whole = n_classes - c >= STRIP_CLASSES;
        const ptrdiff_t end = whole ? c + STRIP_CLASSES : n_classes;
        ptrdiff_t i = 0;
        for (; whole && (i + 1) * WIDTH <= n; ++i)
            NAME(strip_visit)(strip + i, x + i * WIDTH, stride, c, c + STRIP_CLASSES, WIDTH);
        for (; i * WIDTH < n; ++i)
            NAME(strip_visit)(strip + i, x + i * WIDTH, stride, c, end, n - i * WIDTH);
    }
    for (ptrdiff_t i = 0; i < n; ++i) {
        real place[WIDTH], sum[WIDTH];
        v_store(place, strip[i / WIDTH].place);
        v_store(sum, strip[i / WIDTH].sum);
        const ptrdiff_t lane = i % WIDTH;
        const ptrdiff_t nan =
            isnan(sum[lane]) ? NAME(find_nan)(x + i, stride, n_classes) : n_classes;
        indices[i] = nan < n_classes ? nan : (ptrdiff_t)place[lane];
    }
}

/* The rows of a tile, the first of which begins at x. */
static void NAME(argmax_tile)(const fl_rows *rows, const real *x, int count, const NAME(tile) *tile,
                              const real *max_, ptrdiff_t *indices)
{
    const vec zero = v_set1((real)0), one = v_set1((real)1);
    for (int h = 0; h < count; h += WIDTH) {
        const real *from = NAME(panel)(tile, h);
        const vec max = v_load(max_ + h);
        vec place_ = zero, nans = zero;
        for (ptrdiff_t c = tile->n - 1; c >= 0; --c) {
            const vec y = v_load(from + c * PANEL);
            place_ = v_select(v_eq(y, max), v_set1((real)c), place_);
            nans = v_add(nans, v_keep(v_ne(y, y), one));
        }
        real place[WIDTH];
        v_store(place, place_);
        const int n_rows = count - h < WIDTH ? count - h : WIDTH;
        for (int i = 0; i < n_rows; ++i)
            indices[h + i] = (ptrdiff_t)place[i];
        const unsigned with_nan = v_lanes(v_gt(nans, zero));
        for (int i = 0; with_nan && i < n_rows; ++i)
            if (with_nan >> i & 1)
                indices[h + i] = NAME(find_nan)(x + (h + i) * rows->x_row, rows->x_class, tile->n);
    }
}

static void NAME(argmax)(const fl_rows *rows)
{
    const real *x = rows->x;
    const ptrdiff_t n = rows->n_classes, stride = rows->x_class;
    if (stride != 1 && rows->x_row == 1 && rows->n_rows >= WIDTH && n <= 1 << 24) {
        for (ptrdiff_t i = 0; i < rows->n_rows; i += STRIP) {
            const ptrdiff_t width = rows->n_rows - i < STRIP ? rows->n_rows - i : STRIP;
            NAME(argmax_strip)(x + i, stride, n, width, rows->indices + i);
        }
        return;
    }
    real buffer[BLOCK], max[BATCH];
    ptrdiff_t i = 0;
    NAME(tile) tile = {buffer, n, NAME(tile_width)(n, BLOCK)};
    for (; tile.width && i + LEAST_TILE <= rows->n_rows; i += tile.width) {
        const ptrdiff_t left = rows->n_rows - i;
        const int count = left < tile.width ? (int)left : tile.width;
        tile.width = (count + PANEL - 1) / PANEL * PANEL;
        NAME(load_tile)(x + i * rows->x_row, rows->x_row, stride, count, &tile, max);
        NAME(argmax_tile)(rows, x + i * rows->x_row, count, &tile, max, rows->indices + i);
    }
    for (; i < rows->n_rows; ++i) {
        const ptrdiff_t next = i + 2 < rows->n_rows ? i + 2 : i;
        if (stride == 1 && n <= BLOCK)
            for (ptrdiff_t j = 0; j < n; j += 64 / (int)sizeof(real))
                FL_PREFETCH(x + next * rows->x_row + j);
        rows->indices[i] = NAME(argmax_of)(x + i * rows->x_row, stride, n, buffer);
    }
}
