/*
 * A row in each lane: rows that are narrow, or lie side by side. A batch of them is brought into a
 * tile, and every step is then one of whole registers. The sums are those of rows.h in its order,
 * so a row has the same bits either way.
 */

/* `width` rows of n classes each: PANEL of them, class after class, then the next PANEL. */
#define PANEL WIDE_BATCH
typedef struct {
    real *data;
    ptrdiff_t n;
    int width;
} NAME(tile);

/* Class 0 of the rows h, h + 1, ... */
FL_INLINE real *NAME(panel)(const NAME(tile) *tile, int h)
{
    return tile->data + h / PANEL * PANEL * tile->n + h % PANEL;
}

/* How many rows of n classes make a tile of at most `size` elements; 0: not one panel. */
FL_INLINE int NAME(tile_width)(ptrdiff_t n, ptrdiff_t size)
{
    int width = n > 0 && n <= size ? BATCH : 0; /* of more, the product could overflow */
    while (width >= PANEL && width * n > size)
        width /= 2;
    return width >= PANEL ? width : 0;
}

#define QUAD (16 / (int)sizeof(real))
#define ABS(stride) ((stride) < 0 ? -(stride) : (stride))

/* When classes [c, c + QUAD) of WIDTH rows of n have their turn: prefetches those of WIDTH rows
   that come soon and, unless their arithmetic leaves the hardware time enough, those of FAR bytes
   later. Without gaps between the rows it is `coming` that does. */
FL_INLINE void NAME(prefetch_rows)(const real *x, ptrdiff_t n, ptrdiff_t row, ptrdiff_t c)
{
    enum { LINE = 64 / (int)sizeof(real) };
    if (row == n)
        return;
    const ptrdiff_t step = row > 0 && row < LINE ? LINE / row : 1;
    const ptrdiff_t far = n >= QUAD && row > 0 ? FAR / ((ptrdiff_t)sizeof(real) * row) * row : 0;
    for (ptrdiff_t i = 0; c % LINE == 0 && i < WIDTH; i += step) {
        FL_PREFETCH(x + i * row + c);
        if (far)
            FL_PREFETCH_FAR(x + i * row + c + far);
    }
}

/* Rows ahead: a tile at least, and AHEAD. */
FL_INLINE ptrdiff_t NAME(rows_ahead)(const NAME(tile) *tile)
{
    return (AHEAD / tile->n + tile->width - 1) / tile->width * tile->width;
}

/* Whether it is not on the stack. */
FL_INLINE int NAME(is_large)(const NAME(tile) *tile) { return tile->n * tile->width > BLOCK; }

/*
 * The rows of an array that are next after those of a tile. They are asked for while the tile in
 * hand is worked on, a piece for each class of each register of rows: all at once, they would be
 * waited for, and then the memory would rest. With each of them goes one that comes later, which is
 * brought into the L2 cache alone.
 */
typedef struct {
    const char *data;
    ptrdiff_t row, piece; /* bytes from one to the next; 0: there is nothing to ask for */
    ptrdiff_t far;        /* bytes from a piece to the one that goes with it */
} NAME(coming);

/* After the rows of a tile, the first of which is row `begin`. A view that is NULL or of another
   layout gives nothing, nor do large tiles, for which prefetch_class does it. */
FL_INLINE NAME(coming) NAME(coming_of)(const fl_view *view, ptrdiff_t begin, const NAME(tile) *tile)
{
    const NAME(coming) nothing = {(const char *)tile->data, 0, 0, 0};
    if (!view || view->axes || NAME(is_large)(tile))
        return nothing;
    const ptrdiff_t first = begin + NAME(rows_ahead)(tile);
    const char *data = (const char *)view->data + first * view->row;
    if (view->row == tile->n * view->class) /* without gaps: one piece after another */
        return (NAME(coming)){data, view->row, WIDTH * view->class, FAR};
    if (view->row > 0 && view->row <= 8) /* side by side */
        return (NAME(coming)){data, view->row, view->class, tile->width * view->row};
    return nothing;
}

/* Those of the rows h, h + 1, ... of it, one after another. */
typedef struct {
    const char *at;
    ptrdiff_t step, far;
} NAME(pieces);

FL_INLINE NAME(pieces) NAME(pieces_of)(const NAME(coming) *coming, int h)
{
    return (NAME(pieces)){coming->data + h * coming->row, coming->piece, coming->far};
}

FL_INLINE void NAME(prefetch_piece)(NAME(pieces) *pieces)
{
    FL_PREFETCH(pieces->at);
    FL_PREFETCH_FAR(pieces->at + pieces->far);
    pieces->at += pieces->step;
}

/* Class c of the rows of a large tile that lie side by side; those beyond the last class, which are
   fewer than there are classes, are of the rows that follow. */
FL_INLINE const char *NAME(class_of_tile)(const fl_view *rows, const NAME(tile) *tile, ptrdiff_t c)
{
    const char *data = rows->data;
    return c < tile->n ? data + c * rows->class
                       : data + (c - tile->n) * rows->class + tile->width * rows->row;
}

/* Of a large tile of rows side by side: prefetches a few classes ahead of c, and so many more as
   are enough to be waited for in the L2 cache; the hardware, which does not look beyond a page, may
   not follow. Few, of the VISITED that go together only the last: all classes have the same places
   in the L1 cache where from one to the next it is a large power of two. */
FL_INLINE void NAME(prefetch_class)(const fl_view *rows, const NAME(tile) *tile, ptrdiff_t c)
{
    enum { SOON = 4, LATER = 80 };
    if (!NAME(is_large)(tile) || rows->row <= 0 || rows->row > 8)
        return;
    const char *soon = NAME(class_of_tile)(rows, tile, c + SOON);
    const char *later = NAME(class_of_tile)(rows, tile, c + LATER);
    for (int b = 0; b < (int)(tile->width * rows->row); b += 64) {
        FL_PREFETCH(soon + b);
        FL_PREFETCH_FAR(later + b);
    }
}

/* Rows [begin, begin + count) of an array, one after another without gaps in `dense`, from where
   they are ... */
static void NAME(load_dense)(const fl_view *from, ptrdiff_t begin, int count, ptrdiff_t n,
                             real *dense)
{
    const fl_row first = NAME(row_of)(from, begin);
    if (!from->axes && from->row == n * from->class) {
        NAME(load_classes)(&first, 0, count * n, dense);
        return;
    }
    for (int b = 0; b < count; ++b) {
        const fl_row row = NAME(row_of)(from, begin + b);
        NAME(load_classes)(&row, 0, n, dense + b * n);
    }
}

/* ... and back. */
static void NAME(store_dense)(const real *dense, int count, ptrdiff_t n, const fl_view *to,
                              ptrdiff_t begin)
{
    const fl_row first = NAME(row_of)(to, begin);
    if (!to->axes && to->row == n * to->class) {
        NAME(store_classes)(dense, &first, 0, count * n);
        return;
    }
    for (int b = 0; b < count; ++b) {
        const fl_row row = NAME(row_of)(to, begin + b);
        NAME(store_classes)(dense + b * n, &row, 0, n);
    }
}

/* Whether the rows are better brought together one after another than class after class. */
FL_INLINE int NAME(has_near_classes)(const fl_view *view)
{
    return view->axes || ABS(view->class) < ABS(view->row);
}

/* Rows of a tile in memory, from the first on: where they are or, if these are contiguous numbers
   of another kind, in `dense`, a buffer of BLOCK. */
FL_INLINE fl_view NAME(rows_of_tile)(const fl_view *view, ptrdiff_t begin, const NAME(tile) *tile,
                                     real *dense)
{
    const int fits = tile->n * tile->width <= BLOCK;
    if (fits && NAME(has_near_classes)(view) && !NAME(has_dense)(view))
        return (fl_view){dense, tile->n * (ptrdiff_t)sizeof(real), sizeof(real), OWN_FORMAT, NULL};
    fl_view rows = *view;
    rows.data = (char *)view->data + begin * view->row;
    return rows;
}

/* The first n <= QUAD classes from `from` on, of WIDTH rows, into a panel. Returns the larger of
   them and `largest`. */
FL_INLINE vec NAME(load_quad)(const real *from, ptrdiff_t row, ptrdiff_t n, real *to, vec largest)
{
    vec columns[QUAD];
    v_load_rows(from, row, n, columns);
    FL_UNROLL for (int j = 0; j < QUAD; ++j)
    {
        if (j == n)
            break;
        v_store(to + j * PANEL, columns[j]);
        largest = v_max(columns[j], largest);
    }
    return largest;
}

/* How many of `count` rows, from the first on, are whole panels that lie side by side and can be
   read or written in place. */
FL_INLINE int NAME(whole_beside)(const fl_view *rows, int count)
{
    const int beside = !rows->axes && rows->row == (ptrdiff_t)sizeof(real) &&
                       NAME(is_own)(rows->data, rows->class, rows->format);
    return beside ? count / PANEL * PANEL : 0;
}

/* Classes for which the largest of a register of rows are visited once. */
#define VISITED 8

/* load_tile of whole_beside rows, so many classes at a time, with -inf in max; returns how many
   rows these are. */
FL_INLINE int NAME(load_beside)(const fl_view *rows, int count, const NAME(tile) *tile, real *max)
{
    const int whole = NAME(whole_beside)(rows, count);
    const ptrdiff_t n = tile->n, class = rows->class / (ptrdiff_t)sizeof(real);
    const real *x = rows->data;
    for (ptrdiff_t c = 0; whole && c < n; c += VISITED) {
        const int visited = n - c < VISITED ? (int)(n - c) : VISITED;
        for (int d = 0; d < visited; ++d)
            NAME(prefetch_class)(rows, tile, c + d);
        for (int h = 0; h < whole; h += PANEL) {
            const real *from = x + c * class + h;
            real *to = NAME(panel)(tile, h) + c * PANEL;
            vec largest[PANEL / WIDTH];
            FL_UNROLL for (int k = 0; k < PANEL / WIDTH; ++k) largest[k] =
                v_load(max + h + k * WIDTH);
            for (int d = 0; d < visited; ++d)
                FL_UNROLL for (int k = 0; k < PANEL / WIDTH; ++k)
                {
                    const vec y = v_load(from + d * class + k * WIDTH);
                    v_store(to + d * PANEL + k * WIDTH, y);
                    largest[k] = v_max(y, largest[k]);
                }
            FL_UNROLL for (int k = 0; k < PANEL / WIDTH; ++k)
                v_store(max + h + k * WIDTH, v_add(largest[k], v_set1((real)0)));
        }
    }
    return whole;
}

/* Brings the classes of rows [begin, begin + count) of an array into a tile, and of each row the
   largest, NaN left out, never -0, into max. The other rows become 0. */
static void NAME(load_tile)(const fl_view *view, ptrdiff_t begin, int count, const NAME(tile) *tile,
                            real *max, real *dense)
{
    const vec zero = v_set1((real)0), least = v_set1((real)-INFINITY);
    const ptrdiff_t n = tile->n, far = NAME(rows_ahead)(tile);
    const fl_view rows = NAME(rows_of_tile)(view, begin, tile, dense);
    if (rows.data == dense)
        NAME(load_dense)(view, begin, count, n, dense);
    const real *x = NAME(has_dense)(&rows) ? rows.data : NULL;
    const ptrdiff_t row = rows.row / (ptrdiff_t)sizeof(real);
    int h = 0;
    /* Of 16 bytes of each row at a time, the last of which may overlap those before. */
    for (; x && h + WIDTH <= count; h += WIDTH) {
        const real *from = x + h * row;
        real *to = NAME(panel)(tile, h);
        vec largest = least;
        for (ptrdiff_t c = 0; n >= QUAD && c < n; c += QUAD) {
            NAME(prefetch_rows)(from + far * row, n, row, c);
            const ptrdiff_t at = c + QUAD <= n ? c : n - QUAD;
            largest = NAME(load_quad)(from + at, row, QUAD, to + at * PANEL, largest);
        }
        if (n < QUAD) {
            NAME(prefetch_rows)(from + far * row, n, row, 0);
            largest = NAME(load_quad)(from, row, n, to, largest);
        }
        v_store(max + h, v_add(largest, zero));
    }
    int first = h;
    for (; h < tile->width; h += WIDTH)
        v_store(max + h, least);
    if (first == 0)
        first = NAME(load_beside)(&rows, count, tile, max);
    for (ptrdiff_t c = 0; first < tile->width && c < n; ++c) {
        if (first == 0)
            NAME(prefetch_class)(&rows, tile, c);
        /* Class c of the rows that are left. */
        FL_ALIGNED real buffer[BATCH];
        const fl_row across = NAME(across)(&rows, c);
        const real *y_ = NAME(take)(&across, first, count - first, buffer);
        for (h = first; h < tile->width; h += WIDTH) {
            const vec y = v_load_part(y_ + (h - first), count - h, zero);
            v_store(NAME(panel)(tile, h) + c * PANEL, y);
            v_store(max + h, v_add(v_max(y, v_load(max + h)), zero));
        }
    }
}

/* What becomes of class c of the rows h, ... of a tile. */
typedef vec NAME(map)(const void *context, vec x, ptrdiff_t c, int h);

/* The first n <= QUAD classes of a panel from class c on, through the map, to WIDTH rows. */
FL_INLINE void NAME(store_quad)(const real *from, NAME(map) *map, const void *context, ptrdiff_t c,
                                int h, real *to, ptrdiff_t row, ptrdiff_t n)
{
    vec columns[QUAD];
    FL_UNROLL for (int j = 0; j < QUAD; ++j)
    {
        const int each = j < n ? j : 0;
        columns[j] = map(context, v_load(from + (c + each) * PANEL), c + each, h);
    }
    v_store_rows(to + c, row, n, columns);
}

/* store_tile of whole_beside rows; returns how many these are. */
FL_INLINE int NAME(store_beside)(const NAME(tile) *tile, const fl_view *rows, int count,
                                 NAME(map) *map, const void *context, int streams)
{
    const int whole = NAME(whole_beside)(rows, count);
    const ptrdiff_t class = rows->class / (ptrdiff_t)sizeof(real);
    for (ptrdiff_t c = 0; whole && c < tile->n; ++c) {
        real *to = (real *)rows->data + c * class;
        const int past = streams && (uintptr_t)to % 64 == 0;
        if (!past)
            NAME(prefetch_class)(rows, tile, c);
        for (int h = 0; h < whole; h += WIDTH) {
            const vec y = map(context, v_load(NAME(panel)(tile, h) + c * PANEL), c, h);
            if (past)
                v_stream(to + h, y);
            else
                v_store(to + h, y);
        }
    }
    return whole;
}

/* The way back, through the map; of rows side by side past the caches, where `streams`. */
FL_INLINE void NAME(store_tile)(const NAME(tile) *tile, const fl_view *view, ptrdiff_t begin,
                                int count, NAME(map) *map, const void *context, real *dense,
                                int streams)
{
    const ptrdiff_t n = tile->n, far = NAME(rows_ahead)(tile);
    const fl_view rows = NAME(rows_of_tile)(view, begin, tile, dense);
    real *out = NAME(has_dense)(&rows) ? rows.data : NULL;
    const ptrdiff_t row = rows.row / (ptrdiff_t)sizeof(real);
    int h = 0;
    for (; out && h + WIDTH <= count; h += WIDTH) {
        const real *from = NAME(panel)(tile, h);
        real *to = out + h * row;
        for (ptrdiff_t c = 0; n >= QUAD && c < n; c += QUAD) {
            NAME(prefetch_rows)(to + far * row, n, row, c);
            const ptrdiff_t at = c + QUAD <= n ? c : n - QUAD;
            NAME(store_quad)(from, map, context, at, h, to, row, QUAD);
        }
        if (n < QUAD) {
            NAME(prefetch_rows)(to + far * row, n, row, 0);
            NAME(store_quad)(from, map, context, 0, h, to, row, n);
        }
    }
    const int first = h == 0 ? NAME(store_beside)(tile, &rows, count, map, context, streams) : h;
    for (ptrdiff_t c = 0; first < count && c < n; ++c) {
        FL_ALIGNED real buffer[BATCH];
        const fl_row across = NAME(across)(&rows, c);
        real *to = NAME(place)(&across, first, buffer);
        if (first == 0)
            NAME(prefetch_class)(&rows, tile, c);
        for (h = first; h < count; h += WIDTH) {
            const vec y = map(context, v_load(NAME(panel)(tile, h) + c * PANEL), c, h);
            v_store_part(to + (h - first), count - h, y);
        }
        NAME(put)(to, &across, first, count - first);
    }
    if (rows.data == dense)
        NAME(store_dense)(dense, count, n, view, begin);
    if (streams)
        v_fence();
}

/* Float64 sums of the lanes of one register and, of float64, what is rounded away. */
typedef struct {
    f64v hi[HALVES];
#if FL_BITS == 64
    f64v lo[HALVES];
#endif
} NAME(lane_sum);

FL_INLINE NAME(lane_sum) NAME(no_lane_sum)(void)
{
    NAME(lane_sum) sum;
    for (int i = 0; i < HALVES; ++i) {
        sum.hi[i] = v_set1(0.0);
#if FL_BITS == 64
        sum.lo[i] = v_set1(0.0);
#endif
    }
    return sum;
}

FL_INLINE void NAME(add_lane_sum)(NAME(lane_sum) *sum, const NAME(lane_sum) *a)
{
    for (int i = 0; i < HALVES; ++i) {
#if FL_BITS == 64
        const pair_f64 s = two_sum_f64(sum->hi[i], a->hi[i]);
        sum->hi[i] = s.hi;
        sum->lo[i] = v_add(sum->lo[i], v_add(s.lo, a->lo[i]));
#else
        sum->hi[i] = v_add(sum->hi[i], a->hi[i]);
#endif
    }
}

/* One term, which is not -0. */
FL_INLINE NAME(lane_sum) NAME(lane_sum_of)(NAME(pair) y)
{
    NAME(lane_sum) sum;
    for (int i = 0; i < HALVES; ++i) {
        sum.hi[i] = NAME(widened)(y.hi, i);
#if FL_BITS == 64
        sum.lo[i] = y.lo;
#endif
    }
    return sum;
}

/* Adds the n <= 4 terms that a span gives to one virtual lane, as `fold` does. */
FL_INLINE void NAME(add_terms)(NAME(lane_sum) *sum, const NAME(pair) *y, int n)
{
#if FL_BITS == 64
    for (int q = 0; q < n; ++q)
        NAME(add_lane_sum)(sum, &(NAME(lane_sum)){{y[q].hi}, {y[q].lo}});
#else
    vec lanes = y[0].hi;
    if (n > 1)
        lanes = v_add(lanes, y[1].hi);
    if (n > 2)
        lanes = v_add(lanes, n > 3 ? v_add(y[2].hi, y[3].hi) : y[2].hi);
    for (int i = 0; i < HALVES; ++i)
        sum->hi[i] = v_add(sum->hi[i], v_half(lanes, i));
#endif
}

/* What class c adds to a sum; never -0. */
typedef NAME(pair) NAME(term)(void *context, ptrdiff_t c);

/* What a span of terms from class j on gives to the fold lane f. */
FL_INLINE NAME(lane_sum)
    NAME(fold_lane)(NAME(term) *term, void *context, ptrdiff_t j, ptrdiff_t n, int span, int f)
{
    const ptrdiff_t step = span / 4;
    NAME(lane_sum) sum = NAME(no_lane_sum)();
    for (ptrdiff_t c = j + f; c < j + LANES && c < n; c += FOLD_LANES) {
        NAME(pair) y[4];
        y[0] = term(context, c);
        if (c + step >= n) {
            NAME(add_terms)(&sum, y, 1);
            continue;
        }
        y[1] = term(context, c + step);
        if (c + 2 * step >= n) {
            NAME(add_terms)(&sum, y, 2);
            continue;
        }
        y[2] = term(context, c + 2 * step);
        if (c + 3 * step >= n) {
            NAME(add_terms)(&sum, y, 3);
            continue;
        }
        y[3] = term(context, c + 3 * step);
        NAME(add_terms)(&sum, y, 4);
    }
    return sum;
}

/* Lane f and lane f + half, until one is left. */
FL_INLINE NAME(lane_sum) NAME(fold_up)(NAME(lane_sum) *fold, int lanes)
{
    FL_UNROLL for (int half = lanes / 2; half; half /= 2) FL_UNROLL for (int f = 0; f < half; ++f)
        NAME(add_lane_sum)(fold + f, fold + f + half);
    return fold[0];
}

/* The sum of n terms where no lane has more than one, and only the first `lanes` of the fold lanes
   have any: to add the +0 of the others would change nothing, nor would it to begin with one. */
FL_INLINE NAME(lane_sum) NAME(sum_few)(NAME(term) *term, void *context, ptrdiff_t n, int lanes)
{
    NAME(lane_sum) fold[FOLD_LANES];
    FL_UNROLL for (int f = 0; f < lanes; ++f)
    {
        fold[f] = NAME(no_lane_sum)();
        if (f < n)
            fold[f] = NAME(lane_sum_of)(term(context, f));
        for (ptrdiff_t c = f + FOLD_LANES; c < n; c += FOLD_LANES) {
            const NAME(pair) y = term(context, c);
            NAME(add_terms)(fold + f, &y, 1);
        }
    }
    return NAME(fold_up)(fold, lanes);
}

/* The sum of n terms, in the order of rows.h, in spans of `span` classes. */
FL_INLINE NAME(lane_sum) NAME(sum_terms)(NAME(term) *term, void *context, ptrdiff_t n, int span)
{
    /* Of so few every instruction counts, and the compiler keeps all sums in registers. */
    if (n == 2)
        return NAME(sum_few)(term, context, 2, FOLD_LANES / 2);
    if (n == 3)
        return NAME(sum_few)(term, context, 3, FOLD_LANES / 2);
    if (n <= FOLD_LANES / 2)
        return NAME(sum_few)(term, context, n, FOLD_LANES / 2);
    if (n <= LANES)
        return NAME(sum_few)(term, context, n, FOLD_LANES);
    NAME(lane_sum) fold[FOLD_LANES];
    if (n <= span) {
        FL_UNROLL for (int f = 0; f < FOLD_LANES; ++f) fold[f] =
            NAME(fold_lane)(term, context, 0, n, span, f);
        return NAME(fold_up)(fold, FOLD_LANES);
    }
    for (int f = 0; f < FOLD_LANES; ++f)
        fold[f] = NAME(no_lane_sum)();
    for (ptrdiff_t j = 0; j < n; j += span)
        for (int f = 0; f < FOLD_LANES; ++f) {
            const NAME(lane_sum) sum = NAME(fold_lane)(term, context, j, n, span, f);
            NAME(add_lane_sum)(fold + f, &sum);
        }
    return NAME(fold_up)(fold, FOLD_LANES);
}

/* The exponentials of the rows of one register of a tile, each in the frame of its row. */
typedef struct {
    real *x; /* of class 0; the exponentials come in its place, where `store` */
    NAME(frame) frame;
    vec max, others; /* how many are none of the largest, and COUNT_FROM */
    int store, scaled;
    NAME(pieces) next_x, next_out;
} NAME(tile_exp);

FL_INLINE NAME(pair) NAME(exp_term)(void *context, ptrdiff_t c)
{
    NAME(tile_exp) *t = context;
    const vec logit = v_load(t->x + c * PANEL);
    NAME(prefetch_piece)(&t->next_x);
    NAME(prefetch_piece)(&t->next_out);
    const mask other = v_ne(logit, t->max);
    const NAME(pair) y = NAME(keep)(other, NAME(exp)(logit, &t->frame, t->scaled));
    if (t->store)
        v_store(t->x + c * PANEL, v_select(other, y.hi, v_set1(E_OF_MAX)));
    t->others = v_count(other, t->others);
    return y;
}

/* Rows after their first sweep. */
typedef struct {
    int in_tile;           /* whether they are in a tile; then no row is special or huge */
    NAME(tile) tile, soft; /* those of `work`, of this batch */
    /* The fields of `state`, but max less the offset of a huge row; rest_lo of float64 alone. */
    FL_ALIGNED real max[BATCH], n[BATCH];
    FL_ALIGNED double equal[BATCH], rest[BATCH], rest_lo[BATCH];
    double dot[BATCH], mass[BATCH]; /* of a loss that is not plain */
    FL_ALIGNED real offset[BATCH];
    FL_ALIGNED real logit[BATCH]; /* of the label, if a row has one */
    const real *labels;           /* of rows in a tile, as numbers; -1: ignored */
    int ignored;                  /* whether a loss ignores any of them */
} NAME(swept);

/* What a register of rows is swept to. */
typedef struct {
    NAME(lane_sum) rest;
    vec equal, n;
    unsigned huge; /* not 0: a row is */
} NAME(swept_lanes);

/* Of the rows h, ..., the class 0 of which is at `panel`. */
FL_INLINE NAME(swept_lanes)
    NAME(sweep_lanes)(real *panel, ptrdiff_t n, int h, const NAME(scaling) *scaling, int store,
                      int scaled, const NAME(coming) *x, const NAME(coming) *out,
                      const NAME(swept) *swept)
{
    const vec max = v_load(swept->max + h);
    const vec magic = v_set1((real)ROUND_MAGIC), all = v_set1(COUNT_FROM + (real)n);
    const vec exponent = v_mul(max, v_set1(scaling->binary));
    NAME(swept_lanes) to;
    to.huge = v_lanes(v_gt(v_abs(exponent), v_set1((real)FRAME_MAX)));
    to.n = v_sub(v_add(exponent, magic), magic);
    NAME(tile_exp)
    t = {
        .x = panel,
        .frame = NAME(frame_of)(to.n, scaling),
        .max = max,
        .others = v_set1(COUNT_FROM),
        .store = store,
        .scaled = scaled,
        .next_x = NAME(pieces_of)(x, h),
        .next_out = NAME(pieces_of)(out, h),
    };
    to.rest = NAME(sum_terms)(NAME(exp_term), &t, n, FOLD_SPAN);
    to.equal = v_sub(all, t.others);
    return to;
}

/* As the states of the rows h, ... Returns 0 unless one is special or huge: to look after each
   register would keep the compiler from bringing the steps of two together. */
FL_INLINE unsigned NAME(put_lanes)(const NAME(swept_lanes) *from, int h, NAME(swept) *to)
{
    unsigned special = from->huge;
    for (int i = 0; i < HALVES; ++i) {
        const int at = h + i * FL_WIDTH_F64;
        const f64v rest = from->rest.hi[i];
        special |= v_lanes(v_ne(rest, rest));
        v_store(to->rest + at, v_mul(rest, v_set1(1 / EXP_FACTOR)));
#if FL_BITS == 64
        v_store(to->rest_lo + at, from->rest.lo[i]);
#endif
        v_store(to->equal + at, NAME(widened)(from->equal, i));
    }
    v_store(to->n + h, from->n);
    v_store(to->offset + h, v_set1((real)0));
    return special;
}

/* Sweeps the rows [begin, end) of a tile of n classes for their states, of which max is there, one
   or two registers of them `together`. The exponentials take the place of the logits, where
   `store`. Returns 0 where a row is special or huge. */
FL_INLINE int NAME(sweep_rows)(const NAME(tile) *tile, ptrdiff_t n, int begin, int end,
                               int together, const NAME(scaling) *scaling, int store, int scaled,
                               const NAME(coming) *x, const NAME(coming) *out, NAME(swept) *swept)
{
    unsigned special = 0;
    for (int h = begin; h < end; h += together * WIDTH) {
        const int both = together == 2, next = h + WIDTH;
        real *panel = NAME(panel)(tile, h);
        real *next_panel = panel + WIDTH / PANEL * PANEL * n + WIDTH % PANEL;
        NAME(swept_lanes) lanes[2];
        lanes[0] = NAME(sweep_lanes)(panel, n, h, scaling, store, scaled, x, out, swept);
        if (both)
            lanes[1] =
                NAME(sweep_lanes)(next_panel, n, next, scaling, store, scaled, x, out, swept);
        special |= NAME(put_lanes)(lanes, h, swept);
        if (both)
            special |= NAME(put_lanes)(lanes + 1, next, swept);
    }
    return special == 0;
}

/* The same of a whole tile. Two and three classes are so few that the CPU, which waits for one step
   of a register after another, has time for those of a second one. */
FL_INLINE int NAME(sweep_tile)(const NAME(tile) *tile, const NAME(scaling) *scaling, int store,
                               int scaled, const NAME(coming) *x, const NAME(coming) *out,
                               NAME(swept) *swept)
{
    const int pairs = tile->width / (2 * WIDTH) * (2 * WIDTH);
    int begin = 0;
    if (!scaled && tile->n == 2) {
        if (!NAME(sweep_rows)(tile, 2, 0, pairs, 2, scaling, store, 0, x, out, swept))
            return 0;
        begin = pairs;
    } else if (!scaled && tile->n == 3) {
        if (!NAME(sweep_rows)(tile, 3, 0, pairs, 2, scaling, store, 0, x, out, swept))
            return 0;
        begin = pairs;
    }
    return NAME(sweep_rows)(tile, tile->n, begin, tile->width, 1, scaling, store, scaled, x, out,
                            swept);
}

/* The four bodies of it. */
static int NAME(sweep_tile_as)(const NAME(tile) *tile, const NAME(scaling) *scaling, int store,
                               const NAME(coming) *x, const NAME(coming) *out, NAME(swept) *swept)
{
    if (scaling->binary == REAL_MAX)
        return 0;
    if (store && scaling->scaled)
        return NAME(sweep_tile)(tile, scaling, 1, 1, x, out, swept);
    if (store)
        return NAME(sweep_tile)(tile, scaling, 1, 0, x, out, swept);
    if (scaling->scaled)
        return NAME(sweep_tile)(tile, scaling, 0, 1, x, out, swept);
    return NAME(sweep_tile)(tile, scaling, 0, 0, x, out, swept);
}

/* The coefficients of class c; `soft` is a panel of them, or NULL. */
FL_INLINE vec NAME(tile_coefficient)(const NAME(target) *t, const real *soft, ptrdiff_t c)
{
    if (!soft)
        return v_set1(NAME(coefficient)(t, c, 0));
    const vec a = v_load(soft + c * PANEL);
    if (t->spread == 0 && !t->class_weight)
        return a;
    f64v wide[HALVES];
    for (int i = 0; i < HALVES; ++i) {
        wide[i] = v_add(v_mul(NAME(widened)(a, i), v_set1(t->keep)), v_set1(t->spread));
        if (t->class_weight)
            wide[i] = v_mul(wide[i], v_set1(t->class_weight[c]));
    }
    return NAME(rounded)(wide);
}

/* dot and mass of the rows of one register. */
typedef struct {
    const NAME(target) *target;
    const real *x, *soft; /* panels */
    int masked;
    ptrdiff_t n;
    vec max;
    NAME(pieces) next_soft;
} NAME(tile_dot);

/* Of class c and of the one that `dot_span` joins with it. */
FL_INLINE NAME(pair) NAME(dot_term_of)(void *context, ptrdiff_t c)
{
    const NAME(tile_dot) *t = context;
    const vec zero = v_set1((real)0);
    vec sum = zero;
    for (ptrdiff_t at = c; at < t->n && at <= c + LANES; at += LANES) {
        const vec a = NAME(tile_coefficient)(t->target, t->soft, at);
        sum = NAME(dot_term)(a, v_load(t->x + at * PANEL), t->max, sum, t->masked);
    }
    return (NAME(pair)){v_add(sum, zero), zero};
}

FL_INLINE NAME(pair) NAME(mass_term_of)(void *context, ptrdiff_t c)
{
    NAME(tile_dot) *t = context;
    const vec zero = v_set1((real)0);
    vec sum = zero;
    for (ptrdiff_t at = c; at < t->n && at <= c + LANES; at += LANES) {
        NAME(prefetch_piece)(&t->next_soft);
        sum = v_add(NAME(tile_coefficient)(t->target, t->soft, at), sum);
    }
    return (NAME(pair)){sum, zero};
}

/* As fold_total, of one register of float64. */
FL_INLINE f64v NAME(lane_total)(const NAME(lane_sum) *sum, int i)
{
#if FL_BITS == 64
    const f64v infinite = v_set1((double)INFINITY);
    return v_select(v_eq(v_abs(sum->hi[i]), infinite), sum->hi[i], v_add(sum->hi[i], sum->lo[i]));
#else
    return sum->hi[i];
#endif
}

static void NAME(dot_tile)(const NAME(tile) *tile, const NAME(target) *target,
                           const NAME(tile) *soft, const NAME(coming) *next_soft,
                           NAME(swept) *swept)
{
    const ptrdiff_t n = tile->n;
    for (int h = 0; h < tile->width; h += WIDTH) {
        NAME(tile_dot) t = {.target = target, .x = NAME(panel)(tile, h), .n = n};
        t.soft = soft ? NAME(panel)(soft, h) : NULL;
        t.max = v_load(swept->max + h);
        t.next_soft = NAME(pieces_of)(next_soft, h);
        const NAME(lane_sum) mass = NAME(sum_terms)(NAME(mass_term_of), &t, n, 2 * FOLD_SPAN);
        const NAME(lane_sum) dot = NAME(sum_terms)(NAME(dot_term_of), &t, n, 2 * FOLD_SPAN);
        t.masked = 1;
        for (int i = 0; i < HALVES; ++i) {
            const int at = h + i * FL_WIDTH_F64;
            f64v d = NAME(lane_total)(&dot, i);
            if (v_lanes(v_ne(d, d))) {
                const NAME(lane_sum) again =
                    NAME(sum_terms)(NAME(dot_term_of), &t, n, 2 * FOLD_SPAN);
                d = v_select(v_ne(d, d), NAME(lane_total)(&again, i), d);
            }
            v_store(swept->dot + at, d);
#if FL_BITS == 64
            v_store(swept->mass + at, v_add(mass.hi[i], mass.lo[i]));
#else
            v_store(swept->mass + at, mass.hi[i]);
#endif
        }
    }
}

/* Of more classes, to look one up takes less than to compare all with the label. */
#define COMPARED 16

/* The logits of the rows' labels; of what is no class, 0. */
static void NAME(label_tile)(const NAME(tile) *tile, const real *labels, NAME(swept) *swept)
{
    if (tile->n > COMPARED) {
        for (int b = 0; b < tile->width; ++b) {
            const ptrdiff_t label = (ptrdiff_t)labels[b];
            const int known = label >= 0 && label < tile->n;
            swept->logit[b] = known ? NAME(panel)(tile, b)[label * PANEL] : 0;
        }
        return;
    }
    for (int h = 0; h < tile->width; h += WIDTH) {
        const real *x = NAME(panel)(tile, h);
        const vec label = v_load(labels + h);
        vec logit = v_set1((real)0), class = logit;
        for (ptrdiff_t c = 0; c < tile->n; ++c) {
            logit = v_select(v_eq(label, class), v_load(x + c * PANEL), logit);
            class = v_add(class, v_set1((real)1));
        }
        v_store(swept->logit + h, logit);
    }
}
