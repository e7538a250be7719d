/*
 * The first sweep of a batch of rows, each in a lane or one after another.
 */

/* Whether the normaliser is no number that a finish could compute: the row is NaN, or its
   largest logit infinite. */
FL_INLINE int NAME(is_special)(const NAME(swept) *swept, int b)
{
    return isnan(swept->rest[b]) || isinf(swept->max[b]);
}

/* The largest logits of the rows [b, b + FL_WIDTH_F64) of a batch. */
FL_INLINE f64v NAME(largest_logits)(const NAME(swept) *swept, int b)
{
    return v_add(NAME(load_wide)(swept->max + b), NAME(load_wide)(swept->offset + b));
}

/* Rows to sweep one after another before the first of them is swept again, so that what the first
   sweep read or wrote, together at most `classes`, is still in a cache near by. */
static int NAME(batch_of)(ptrdiff_t n_classes, ptrdiff_t classes)
{
    const ptrdiff_t fit = n_classes > 0 ? classes / n_classes : WIDE_BATCH;
    return fit < 1 ? 1 : fit > WIDE_BATCH ? WIDE_BATCH : (int)fit;
}

/* Elements of a tile in the scratch memory. */
#define SCRATCH_TILE (FL_SCRATCH / 2 / (ptrdiff_t)sizeof(real))

/* Whether rows too long for a tile on the stack have one in the scratch memory: it pays where a
   cache line holds one class of many rows. Rows of more than a block do not fit. */
FL_INLINE int NAME(in_scratch)(const fl_rows *rows)
{
    const int one_stride = !rows->x.axes && !rows->out.axes && !rows->targets.axes;
    return rows->scratch && one_stride && !NAME(has_near_classes)(&rows->x) &&
           rows->n_rows >= PANEL && rows->n_classes <= BLOCK &&
           NAME(tile_width)(rows->n_classes, BLOCK) == 0;
}

/* The rows [b, b + FL_WIDTH_F64) of a batch, one for each lane. */
FL_INLINE row_state NAME(states)(const NAME(swept) *swept, int b, const NAME(scaling) *scaling)
{
    pair_f64 rest = single(v_load(swept->rest + b));
    if (FL_BITS == 64)
        rest.lo = v_load(swept->rest_lo + b);
    return NAME(row_state_of)(NAME(load_wide)(swept->max + b), v_load(swept->equal + b), rest,
                              NAME(load_wide)(swept->n + b), scaling);
}

/* A number for each row of a batch. */
typedef struct {
    FL_ALIGNED double hi[BATCH];
#if FL_BITS == 64
    FL_ALIGNED double lo[BATCH];
#endif
} NAME(pairs);

FL_INLINE void NAME(store_pair)(NAME(pairs) *to, int b, pair_f64 a)
{
    v_store(to->hi + b, a.hi);
#if FL_BITS == 64
    v_store(to->lo + b, a.lo);
#endif
}

FL_INLINE pair_f64 NAME(load_pair)(const NAME(pairs) *from, int b)
{
#if FL_BITS == 64
    return (pair_f64){v_load(from->hi + b), v_load(from->lo + b)};
#else
    return single(v_load(from->hi + b));
#endif
}

/* So many rows as whole registers. */
FL_INLINE int NAME(whole)(int count) { return (count + WIDTH - 1) / WIDTH * WIDTH; }

/* The finish_argument of each row of a batch. */
typedef struct {
    FL_ALIGNED double hi[BATCH], lo[BATCH];
} NAME(arguments);

FL_INLINE void NAME(store_argument)(NAME(arguments) *to, int b, pair_f64 a)
{
    v_store(to->hi + b, a.hi);
    v_store(to->lo + b, a.lo);
}

/* finish_log of `count` rows. */
FL_INLINE void NAME(logs_of)(const NAME(arguments) *from, int count, NAME(pairs) *to)
{
    for (int b = 0; b < count; b += FL_WIDTH_F64) {
        const pair_f64 a = {v_load(from->hi + b), v_load(from->lo + b)};
        NAME(store_pair)(to, b, NAME(wide_log)(a));
    }
}

/* finish_log of `count` rows of a batch: a long chain of short steps, for which the CPU has the
   next rows at hand only where a loop has no more than half of it. */
FL_INLINE void NAME(finish_logs)(const NAME(swept) *swept, int count, const NAME(scaling) *scaling,
                                 NAME(pairs) *to)
{
    NAME(arguments) arguments;
    for (int b = 0; b < count; b += FL_WIDTH_F64) {
        const row_state state = NAME(states)(swept, b, scaling);
        NAME(store_argument)(&arguments, b, NAME(finish_argument)(&state));
    }
    NAME(logs_of)(&arguments, count, to);
}

/* The classes of a row that this thread is to write, and whether it is to write anything. */
FL_INLINE ptrdiff_t NAME(first_class)(const fl_rows *rows)
{
    return rows->part ? rows->part->begin : 0;
}

FL_INLINE ptrdiff_t NAME(end_class)(const fl_rows *rows)
{
    return rows->part ? rows->part->end : rows->n_classes;
}

FL_INLINE int NAME(only_sweeps)(const fl_rows *rows) { return rows->part && rows->part->first; }

/* Sets classes [j, j + n) of row i. */
static void NAME(fill_classes)(const fl_view *view, ptrdiff_t i, ptrdiff_t j, ptrdiff_t n,
                               real value)
{
    const fl_row row = NAME(row_of)(view, i);
    for (ptrdiff_t k = j; k < j + n; ++k)
        NAME(set)(&row, k, value);
}

/* The scaling of row b. */
FL_INLINE NAME(scaling)
    NAME(scaling_of_row)(const NAME(swept) *swept, int b, const NAME(scaling) *common)
{
    NAME(scaling) scaling = *common;
    scaling.offset = swept->offset[b];
    scaling.scaled |= swept->offset[b] != 0;
    return scaling;
}

/* The target of row i; NULL where its loss needs the label's log-probability alone. */
static const NAME(target) *NAME(target_of)(const fl_rows *rows, ptrdiff_t i, NAME(target) *target)
{
    const fl_loss *loss = rows->loss;
    const int soft = rows->targets.data != NULL;
    if (!loss || (!soft && loss->label_smoothing == 0))
        return NULL;
    *target = (NAME(target)){
        .soft = soft ? NAME(row_of)(&rows->targets, i) : (fl_row){.data = NULL},
        .class_weight = loss->class_weight,
        .keep = 1 - loss->label_smoothing,
        .spread = loss->label_smoothing / (double)rows->n_classes,
    };
    return target;
}

/* The label of row i; -1 if it has none that counts. Read once: another thread may change it. */
FL_INLINE ptrdiff_t NAME(label_of)(const fl_rows *rows, ptrdiff_t i)
{
    if (!rows->labels)
        return -1;
    const int64_t label = *(const volatile int64_t *)(rows->labels + i);
    const int counts = label >= 0 && label < rows->n_classes && label != rows->loss->ignore_index;
    return counts ? (ptrdiff_t)label : -1;
}

FL_INLINE int NAME(is_ignored)(const fl_rows *rows, ptrdiff_t i)
{
    return rows->labels && NAME(label_of)(rows, i) < 0;
}

/* Labels as numbers, -1 where they are ignored, of LABELS rows from `begin` on: of several batches,
   so that the loop that makes them is worth its beginning. */
#define LABELS 256
typedef struct {
    real number[LABELS];
    ptrdiff_t begin; /* -LABELS: none yet */
} NAME(labels);

/* label_tile looks again before it takes one for a place, so they need not be read once, as
   label_of does. Without branches, and by way of 32 bits, which hold every class of a tile and for
   which AVX2 has a conversion, compilers make it a loop of registers. `may_ignore`: ignored is a
   class. */
FL_INLINE void NAME(to_numbers)(const int64_t *from, ptrdiff_t n, int64_t n_classes,
                                int64_t ignored, int may_ignore, real *to)
{
    for (ptrdiff_t i = 0; i < n; ++i) {
        const int64_t label = from[i];
        int64_t counts_not = (uint64_t)label >= (uint64_t)n_classes;
        if (may_ignore)
            counts_not |= label == ignored;
        to[i] = (real)(int32_t)(label | -counts_not);
    }
}

/* Those of `width` rows from `begin` on; 0 beyond the last. */
static const real *NAME(labels_of)(const fl_rows *rows, ptrdiff_t begin, int width,
                                   NAME(labels) *labels)
{
    if (begin + width > labels->begin + LABELS) {
        const ptrdiff_t left = rows->n_rows - begin, n = left < LABELS ? left : LABELS;
        const int64_t *from = rows->labels + begin, ignored = rows->loss->ignore_index;
        if (ignored >= 0 && ignored < rows->n_classes)
            NAME(to_numbers)(from, n, rows->n_classes, ignored, 1, labels->number);
        else
            NAME(to_numbers)(from, n, rows->n_classes, ignored, 0, labels->number);
        for (ptrdiff_t i = n; i < width; ++i)
            labels->number[i] = 0;
        labels->begin = begin;
    }
    /* Those that come next: of narrow rows they are as much memory as the logits. */
    FL_ROLLED for (ptrdiff_t i = 0; i < width; i += 8)
        FL_PREFETCH(rows->labels + begin + LABELS + i);
    return labels->number + (begin - labels->begin);
}

/* Whether the loss of a row is -log p of its label and no more: no weight, no smoothing, no soft
   targets, no z-loss. */
FL_INLINE int NAME(is_plain)(const fl_rows *rows)
{
    const fl_loss *loss = rows->loss;
    return rows->labels && !rows->row_weight && !loss->class_weight && loss->label_smoothing == 0 &&
           loss->z_loss == 0;
}

/* Rows of up to so many blocks, 2 MiB, keep their exponentials for the second sweep. Longer ones
   would bring them from memory, which costs more than to compute them again. */
#define KEPT_BLOCKS 128

/* What the sweeps of a call work with. */
typedef struct {
    NAME(scaling) scaling;
    int batch;       /* rows that are swept together */
    real *buffer;    /* of BLOCK */
    real *dense;     /* of BLOCK: for the rows of a tile on their way */
    NAME(tile) tile; /* as wide as they get; of width 0: none */
    NAME(tile) soft; /* another, of the soft targets or a copy of the logits, or without data */
    real *spread;    /* NULL, or for the exponentials of a batch of rows of at most BLOCK classes
                        that are not contiguous in the output */
    NAME(labels) *labels;      /* of losses of labels only */
    NAME(block_frame) *frames; /* KEPT_BLOCKS, of the exponentials of a batch of rows */
    const fl_view *out;        /* to be prefetched, or NULL */
    NAME(behind) *behind;      /* NULL, or what is to be written past the caches */
    int keep;                  /* whether a tile keeps exponentials in place of logits */
} NAME(work);

/* From row to row of exponentials that lie in a buffer: each begins with a cache line. */
FL_INLINE ptrdiff_t NAME(spread_row)(ptrdiff_t n_classes)
{
    enum { LINE = 64 / (int)sizeof(real) };
    return (n_classes + LINE - 1) / LINE * LINE;
}

/* For a kernel whose second sweep reads `classes` at most of what the first read or wrote. The
   buffers are of BLOCK; soft and spread may be NULL, or spread be dense, as it is of no use to
   rows in a tile. */
FL_INLINE NAME(work) NAME(work_of)(const fl_rows *rows, double temperature, ptrdiff_t classes,
                                   real *buffer, real *dense, real *soft, real *spread)
{
    real *scratch = NAME(in_scratch)(rows) ? rows->scratch : NULL;
    const ptrdiff_t n = rows->n_classes;
    const int width = NAME(tile_width)(n, scratch ? SCRATCH_TILE : BLOCK);
    return (NAME(work)){
        .scaling = NAME(scaling_of)(temperature),
        .batch = width ? width : NAME(batch_of)(NAME(spread_row)(n), classes),
        .buffer = buffer,
        .dense = dense,
        .tile = {scratch ? scratch : buffer, n, width},
        .soft = {scratch && soft ? scratch + SCRATCH_TILE : soft, n, width},
        .spread = scratch && spread ? scratch + SCRATCH_TILE : spread,
        .out = rows->out.data ? &rows->out : NULL,
    };
}

/* Has the rows written past the caches, along with the sweeps of those that follow, if that is
   best: their exponentials, if they have a place, then have it in the scratch memory. */
FL_INLINE void NAME(stream)(const fl_rows *rows, NAME(work) *work, NAME(behind) *behind)
{
    const ptrdiff_t n = rows->n_classes;
    *behind = (NAME(behind)){.count = 0};
    if (!rows->streams || !rows->scratch || rows->part || work->tile.width > 0 ||
        !NAME(has_dense)(&rows->out) || n > (KEPT_BLOCKS - 1) * BLOCK)
        return; /* what is longer might not fit */
    work->behind = behind;
    work->out = NULL;
}

FL_INLINE ptrdiff_t NAME(blocks_of)(ptrdiff_t n_classes)
{
    return n_classes / BLOCK + (n_classes % BLOCK > 0);
}

/* Where the exponentials of the rows from `begin` on, which are streamed, go in the scratch memory.
   Those of the batch before may be there yet: rows of one block have either half of it by turns;
   longer ones have one place, where a block takes that of one which has been written. Half a page
   off the logits, as the CPU takes a load to depend on stores before it whose addresses are alike
   in the lowest 12 bits: that costs up to a third. Short rows begin with a cache line: NumPy's
   large arrays do not, and stores across two lines cost up to 7 % of such a row. */
FL_INLINE real *NAME(place_in_scratch)(const fl_rows *rows, ptrdiff_t begin, const NAME(work) *work,
                                       ptrdiff_t *e_row)
{
    enum { PAGE = 4096 };
    const ptrdiff_t n = rows->n_classes, size = (ptrdiff_t)sizeof(real);
    const int is_short = n <= BLOCK, later = is_short && begin / work->batch % 2;
    char *half = (char *)rows->scratch + later * (FL_SCRATCH / 2);
    const uintptr_t x = (uintptr_t)rows->x.data + (uintptr_t)(is_short ? begin * rows->x.row : 0);
    char *to = half + (x + PAGE / 2 - (uintptr_t)half) % PAGE / sizeof(real) * sizeof(real);
    *e_row = !is_short && rows->x.row == n * size ? n : NAME(spread_row)(n);
    return (real *)(is_short ? to + -(uintptr_t)to % 64 : to);
}

/* Where the exponentials of the rows from `begin` on go, and how far it is from row to row: to
   where the results will be or, if that is not dense, to `spread`; NULL: they do not fit, or would
   take the place of logits that may have to be swept again. */
FL_INLINE real *NAME(place_of_batch)(const fl_rows *rows, ptrdiff_t begin, const NAME(work) *work,
                                     ptrdiff_t *e_row)
{
    if (work->behind)
        return NAME(place_in_scratch)(rows, begin, work, e_row);
    const int dense = NAME(has_dense)(&rows->out);
    *e_row = dense ? rows->out.row / (ptrdiff_t)sizeof(real) : NAME(spread_row)(rows->n_classes);
    const int fit = dense && !rows->part && rows->out.data != rows->x.data;
    if (NAME(blocks_of)(rows->n_classes) > (fit ? KEPT_BLOCKS : 1))
        return NULL;
    return dense ? (real *)((char *)rows->out.data + begin * rows->out.row) : work->spread;
}

/* Those of row b of a batch; NULL: it is one block, or has no place e for its exponentials. */
FL_INLINE NAME(block_frame) *NAME(frames_of)(const fl_rows *rows, int b, const real *e,
                                             const NAME(work) *work)
{
    const ptrdiff_t n = NAME(blocks_of)(rows->n_classes);
    return e && n > 1 ? work->frames + b * n : NULL;
}

/* Rows of the batch that begins with row `begin`. Of rows side by side, so many that the next batch
   begins with a cache line: a register across two of them takes two accesses. */
FL_INLINE int NAME(count)(const fl_rows *rows, ptrdiff_t begin, const NAME(work) *work)
{
    const ptrdiff_t left = rows->n_rows - begin;
    if (left <= work->batch)
        return (int)left;
    const char *x = (const char *)rows->x.data + begin * rows->x.row;
    const int beside = rows->x.row == sizeof(real) && rows->x.class % 64 == 0 && work->tile.width;
    return work->batch - (beside ? (int)((uintptr_t)x % 64 / sizeof(real)) : 0);
}

/* The first and the last cache line of row i, which are not written as a whole. */
FL_INLINE void NAME(prefetch_ends)(const fl_view *view, ptrdiff_t i, ptrdiff_t n)
{
    const char *row = (const char *)view->data + i * view->row;
    FL_PREFETCH(row);
    FL_PREFETCH(row + n * (ptrdiff_t)sizeof(real));
}

/* Fewer rows are swept one after another. */
#define LEAST_TILE 4

/* Returns 0 if the rows are to be swept one after another. */
static int NAME(sweep_in_tile)(const fl_rows *rows, ptrdiff_t begin, int count,
                               const NAME(work) *work, NAME(swept) *swept)
{
    NAME(tile) *tile = &swept->tile, *soft = &swept->soft;
    *tile = work->tile;
    *soft = work->soft;
    if (count < LEAST_TILE || tile->width == 0)
        return 0;
    tile->width = soft->width = (count + PANEL - 1) / PANEL * PANEL;
    NAME(load_tile)(&rows->x, begin, count, tile, swept->max, work->dense);
    if (rows->labels) {
        const real *labels = NAME(labels_of)(rows, begin, tile->width, work->labels);
        swept->labels = labels;
        NAME(label_tile)(tile, labels, swept);
        for (int h = 0; h < tile->width; h += WIDTH)
            swept->ignored |= v_lanes(v_gt(v_set1((real)0), v_load(labels + h))) != 0;
    } else {
        for (int h = 0; h < tile->width; h += WIDTH)
            v_store(swept->logit + h, v_set1((real)0)); /* a loss computes with it, to no effect */
    }
    NAME(target) target;
    if (NAME(target_of)(rows, begin, &target)) {
        FL_ALIGNED real unused[BATCH];
        const fl_view *targets = rows->targets.data ? &rows->targets : NULL;
        if (targets)
            NAME(load_tile)(targets, begin, count, soft, unused, work->dense);
        const NAME(coming) next = NAME(coming_of)(targets, begin, tile);
        NAME(dot_tile)(tile, &target, targets ? soft : NULL, &next, swept);
    } else {
        for (int b = 0; rows->loss && !NAME(is_plain)(rows) && b < tile->width; b += FL_WIDTH_F64) {
            v_store(swept->dot + b, v_set1(0.0));
            v_store(swept->mass + b, v_set1(0.0));
        }
        if (soft->data)
            memcpy(soft->data, tile->data, (size_t)(tile->n * tile->width) * sizeof *tile->data);
    }
    const NAME(coming) x = NAME(coming_of)(&rows->x, begin, tile);
    const fl_view *written = rows->streams ? NULL : work->out;
    const NAME(coming) out = NAME(coming_of)(written, begin, tile);
    return NAME(sweep_tile_as)(tile, &work->scaling, work->keep, &x, &out, swept);
}

/* Sets the rows that make up a register with the last of `count`. */
FL_INLINE void NAME(clear_last)(NAME(swept) *swept, int count)
{
    real *const fields[] = {swept->max, swept->n, swept->offset, swept->logit};
    double *const wide_fields[] = {swept->equal, swept->rest, swept->rest_lo, swept->dot,
                                   swept->mass};
    const int first = count / WIDTH * WIDTH, end = NAME(whole)(count);
    for (int b = first; b < end; b += WIDTH)
        for (size_t k = 0; k < sizeof fields / sizeof *fields; ++k)
            v_store(fields[k] + b, v_set1((real)0));
    for (int b = first; b < end; b += FL_WIDTH_F64)
        for (size_t k = 0; k < sizeof wide_fields / sizeof *wide_fields; ++k)
            v_store(wide_fields[k] + b, v_set1(0.0));
}

/*
 * The first sweep of rows [begin, begin + count) of a call. `e`: NULL, or the place for the
 * exponentials of the first row, with e_row from row to row; of rows in a tile they stay there.
 * What a loss ignores is not looked at.
 */
static void NAME(sweep_batch)(const fl_rows *rows, ptrdiff_t begin, int count,
                              const NAME(work) *work, real *e, ptrdiff_t e_row, NAME(swept) *swept)
{
    swept->ignored = 0;
    swept->in_tile = NAME(sweep_in_tile)(rows, begin, count, work, swept);
    if (swept->in_tile)
        return;
    const ptrdiff_t soon = AHEAD / (rows->n_classes + 1) + 1;
    const ptrdiff_t later = FAR / ((ptrdiff_t)sizeof(real) * rows->n_classes + 1) + 1;
    const int is_short = rows->n_classes > 0 && rows->n_classes <= BLOCK && !rows->part;
    if (!work->behind || work->behind->count != count) {
        if (work->behind)
            NAME(write_behind)(work->behind, work->behind->count, 0);
        NAME(clear_last)(swept, count); /* of no row that is yet to be written */
    }
    for (int b = 0; b < count; ++b) {
        const ptrdiff_t i = begin + b, next = i + soon < rows->n_rows ? i + soon : i;
        const ptrdiff_t far = next + later < rows->n_rows ? later : 0;
        const fl_row row = NAME(row_of)(&rows->x, i);
        NAME(ahead) ahead = {.x = NAME(row_soon)(&rows->x, next, far)};
        if (work->out) {
            ahead.out = NAME(row_soon)(work->out, next, far);
            ahead.own = NAME(row_of)(work->out, i);
        }
        if (work->behind) {
            ahead.behind = work->behind;
            NAME(prefetch_ends)(&rows->out, i, rows->n_classes);
            if (is_short)
                NAME(write_behind)(work->behind, b + 1, 0);
        }
        if (rows->targets.data)
            ahead.targets = NAME(row_soon)(&rows->targets, next, far);
        NAME(state) state = {.max = (real)-INFINITY};
        NAME(scaling) scaling = work->scaling;
        const ptrdiff_t label = NAME(label_of)(rows, i);
        const int ignored = rows->labels && label < 0;
        const int first = !rows->part || rows->part->first;
        swept->ignored |= ignored;
        swept->logit[b] = first ? 0 : (real)*rows->part->logit;
        if (first && label >= NAME(first_class)(rows) && label < NAME(end_class)(rows)) {
            /* Before anything is written: out may be x. */
            swept->logit[b] = NAME(get)(&row, label);
            if (rows->part)
                *rows->part->logit = (double)swept->logit[b];
        }
        if (!ignored && !first) {
            state = NAME(join_all)(rows->part->states, rows->n_classes, &scaling);
        } else if (!ignored) {
            NAME(target) target_;
            const NAME(target) *target = NAME(target_of)(rows, i, &target_);
            real *to = e ? e + b * e_row : NULL;
            if (!is_short || !NAME(sweep_short)(&row, rows->n_classes, &scaling, target,
                                                work->buffer, to, &ahead, &state))
                state = NAME(sweep)(&row, rows->n_classes, &scaling, target, rows->part,
                                    work->buffer, to, NAME(frames_of)(rows, b, e, work), &ahead);
        }
        if (ahead.behind)
            NAME(write_behind)(ahead.behind, b + 1, 0);
        swept->max[b] = state.max - scaling.offset;
        swept->equal[b] = state.equal;
        swept->rest[b] = state.rest;
        swept->rest_lo[b] = state.rest_lo;
        swept->n[b] = state.n;
        swept->dot[b] = NAME(total)(state.dots.dot, state.dots.dot_lo);
        swept->mass[b] = NAME(total)(state.dots.mass, state.dots.mass_lo);
        swept->offset[b] = scaling.offset;
    }
}
