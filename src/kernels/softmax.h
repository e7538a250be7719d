/*
 * The second sweeps that give a number for each class or one for a row: softmax, log_softmax and
 * logsumexp.
 */
/* How many of n elements lie before the first address that is aligned to `step` of them: a store
   across two cache lines takes two. */
FL_INLINE ptrdiff_t NAME(unaligned)(const real *p, ptrdiff_t n, int step)
{
    const ptrdiff_t head = (ptrdiff_t)(-(uintptr_t)p / sizeof(real) % (uintptr_t)step);
    return head < n ? head : n;
}

/* Visits a contiguous block register by register: BODY sets y from x, which begins with element
   `at`, and of which `fill` stands in for what is missing of a part of a register. */
#define FOR_EACH_REGISTER(from, to, n, fill, BODY)                                                 \
    FOR_EACH_(from, to, n, fill, BODY, WIDTH, v_store)
/* The same past the caches, which takes whole cache lines. */
#define FOR_EACH_PAST(from, to, n, fill, BODY)                                                     \
    FOR_EACH_(from, to, n, fill, BODY, 64 / (int)sizeof(real), v_stream)
#define FOR_EACH_(from, to, n, fill, BODY, step, put)                                              \
    do {                                                                                           \
        ptrdiff_t j_ = NAME(unaligned)(to, n, step);                                               \
        FOR_PARTS_(0, from, to, j_, fill, BODY);                                                   \
        for (; j_ + (step) <= (n); j_ += (step))                                                   \
            FL_UNROLL for (ptrdiff_t at = j_; at < j_ + (step); at += WIDTH)                       \
            {                                                                                      \
                const vec x = v_load((from) + at);                                                 \
                vec y;                                                                             \
                BODY;                                                                              \
                put((to) + at, y);                                                                 \
            }                                                                                      \
        FOR_PARTS_(j_, from, to, n, fill, BODY);                                                   \
    } while (0)
#define FOR_PARTS_(begin, from, to, end, fill, BODY)                                               \
    for (ptrdiff_t at = (begin); at < (end); at += WIDTH) {                                        \
        const vec x = v_load_part((from) + at, (end) - at, fill);                                  \
        vec y;                                                                                     \
        BODY;                                                                                      \
        v_store_part((to) + at, (end) - at, y);                                                    \
    }

/* What softmax multiplies by, and the probability of the largest logit, which none exceeds: it
   alone can come near 1, where e * inverse, of a rounded e, could be above 1. */
typedef struct {
    vec inverse, inverse_lo; /* times 2^FRAME_SHIFT, so that e * inverse_lo is no subnormal */
    vec largest;
} NAME(normaliser);

/* Those of a batch of rows. */
typedef struct {
    FL_ALIGNED real inverse[BATCH], inverse_lo[BATCH], largest[BATCH];
} NAME(normalisers);

/* Of the rows [h, h + WIDTH). */
FL_INLINE void NAME(set_normalisers)(NAME(normalisers) *to, int h, const pair_f64 *inverse,
                                     const f64v *largest)
{
    f64v hi[HALVES], lo[HALVES];
    for (int i = 0; i < HALVES; ++i)
        hi[i] = v_mul(inverse[i].hi, v_set1(FRAME_SCALE / EXP_FACTOR));
    const vec rounded = NAME(rounded)(hi);
    for (int i = 0; i < HALVES; ++i) {
        const f64v rest = v_sub(hi[i], NAME(widened)(rounded, i));
        lo[i] = rest;
        if (FL_BITS == 64)
            lo[i] = v_fma(inverse[i].lo, v_set1(FRAME_SCALE / EXP_FACTOR), rest);
    }
    v_store(to->inverse + h, rounded);
    v_store(to->inverse_lo + h, NAME(rounded)(lo));
    v_store(to->largest + h, NAME(rounded)(largest));
}

/* Of `count` rows of a batch, a multiple of WIDTH; in two loops, as finish_logs. */
FL_INLINE void NAME(finish_normalisers)(const NAME(swept) *swept, int count,
                                        const NAME(scaling) *scaling, NAME(normalisers) *to)
{
    NAME(pairs) e;
    for (int b = 0; b < count; b += FL_WIDTH_F64) {
        const row_state state = NAME(states)(swept, b, scaling);
        NAME(store_pair)(&e, b, NAME(exp_of_max)(&state));
    }
    for (int h = 0; h < count; h += WIDTH) {
        pair_f64 inverse[HALVES];
        f64v largest[HALVES];
        for (int k = 0; k < HALVES; ++k) {
            const int b = h + k * FL_WIDTH_F64;
            const row_state state = NAME(states)(swept, b, scaling);
            const normaliser_parts parts = NAME(normaliser_of)(&state, NAME(load_pair)(&e, b));
            inverse[k] = parts.inverse;
            largest[k] = parts.largest.hi;
        }
        NAME(set_normalisers)(to, h, inverse, largest);
    }
}

FL_INLINE NAME(normaliser) NAME(normaliser_of_row)(const NAME(normalisers) *all, int b)
{
    return (NAME(normaliser)){
        .inverse = v_set1(all->inverse[b]),
        .inverse_lo = v_set1(all->inverse_lo[b]),
        .largest = v_set1(all->largest[b]),
    };
}

/* Of the rows [h, h + WIDTH) of a tile. */
FL_INLINE NAME(normaliser) NAME(normaliser_of_lanes)(const NAME(normalisers) *all, int h)
{
    return (NAME(normaliser)){
        .inverse = v_load(all->inverse + h),
        .inverse_lo = v_load(all->inverse_lo + h),
        .largest = v_load(all->largest + h),
    };
}

FL_INLINE vec NAME(normalised)(vec e, const NAME(normaliser) *by)
{
    const vec p = v_fma(e, by->inverse, v_mul(e, by->inverse_lo));
    return v_min(v_mul(p, v_set1((real)(1 / FRAME_SCALE))), by->largest);
}

/* exp(x) / sum, of exponentials that are stored ... */
static void NAME(normalise_stored)(real *e, ptrdiff_t n, const NAME(normaliser) *by_)
{
    const NAME(normaliser) by = *by_;
    FOR_EACH_REGISTER(e, e, n, v_set1((real)0), y = NAME(normalised)(x, &by));
}

#if FL_BITS == 32
FL_INLINE f32v normalised_half(const void *by, f32v e) { return normalised_f32(e, by); }

/* ... to half precision ... */
static void normalise_to_halves(const float *e, ptrdiff_t n, const normaliser_f32 *by_, char *to,
                                int format)
{
    const normaliser_f32 by = *by_;
    if (format == FL_F16)
        store_halves(e, n, to, FL_F16, normalised_half, &by);
    else
        store_halves(e, n, to, FL_BF16, normalised_half, &by);
}
#endif

/* ... or computed again. */
FL_INLINE void NAME(normalise)(const real *from, real *to, ptrdiff_t n, real max_,
                               const NAME(normaliser) *by_, const NAME(frame) *frame_, int scaled)
{
    const NAME(normaliser) by = *by_;
    const NAME(frame) frame = *frame_;
    const vec max = v_set1(max_);
    FOR_EACH_REGISTER(from, to, n, max, {
        const vec e = NAME(exp)(x, &frame, scaled).hi;
        y = NAME(normalised)(v_select(v_ne(x, max), e, v_set1(E_OF_MAX)), &by);
    });
}

FL_INLINE vec NAME(map_normalised)(const void *context, vec x, ptrdiff_t c, int h)
{
    (void)c;
    const NAME(normaliser) by = NAME(normaliser_of_lanes)(context, h);
    return NAME(normalised)(x, &by);
}

/* Of a block of exponentials that are stored, what makes probabilities of them, and the exponential
   of the logit that is stored as E_OF_MAX. */
typedef struct {
    NAME(normaliser) by;
    real of_max; /* E_OF_MAX, where that logit is the row's largest */
} NAME(block_normaliser);

/* That of a block in a frame of its own, of a row whose frame is that of exponent n. Returns 0
   where its probabilities are so small that the factors to make them with might be subnormal. */
static int NAME(find_block_normaliser)(const NAME(block_frame) *frame, real max, real n,
                                       const NAME(scaling) *scaling, NAME(block_normaliser) *block)
{
    const real most = FL_BITS == 32 ? 40 : 500; /* as inverse_lo may be 2^-80 */
    const real down = n - frame->n;
    if (!(down <= most))
        return 0;
    const vec scale = v_set1((real)ldexp(1, -(int)down));
    block->by.inverse = v_mul(block->by.inverse, scale);
    block->by.inverse_lo = v_mul(block->by.inverse_lo, scale);
    if (frame->max == max)
        return 1;
    const NAME(frame) own = NAME(frame_of)(v_set1(frame->n), scaling);
    const vec x_max = v_set1(frame->max);
    block->of_max =
        v_hmax(scaling->scaled ? NAME(exp)(x_max, &own, 1).hi : NAME(exp)(x_max, &own, 0).hi);
    return 1;
}

static void NAME(normalise_block)(real *e, ptrdiff_t n, const NAME(block_normaliser) *block)
{
    const NAME(normaliser) by = block->by;
    const vec of_max = v_set1(block->of_max), marked = v_set1(E_OF_MAX);
    FOR_EACH_REGISTER(e, e, n, v_set1((real)0),
                      y = NAME(normalised)(v_select(v_eq(x, marked), of_max, x), &by));
}

/* What a row has at its label, in place of its normalised exponential. */
typedef struct {
    ptrdiff_t label; /* of the classes in hand; what is none of them, has no effect */
    real value;
} NAME(at_label);

FL_INLINE vec NAME(with_label)(vec y, const NAME(at_label) *label, ptrdiff_t at)
{
    static const real number[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    const mask is_label = v_eq(v_load(number), v_set1((real)(label->label - at)));
    return v_select(is_label, v_set1(label->value), y);
}

/* Past the caches; `label` may be NULL. */
static void NAME(normalise_past)(const real *e, real *to, ptrdiff_t n,
                                 const NAME(block_normaliser) *block, const NAME(at_label) *label)
{
    const NAME(normaliser) by = block->by;
    const vec of_max = v_set1(block->of_max), marked = v_set1(E_OF_MAX), zero = v_set1((real)0);
    if (block->of_max != E_OF_MAX) {
        const NAME(at_label) at_label = label ? *label : (NAME(at_label)){-1, 0};
        FOR_EACH_PAST(e, to, n, zero, {
            y = NAME(normalised)(v_select(v_eq(x, marked), of_max, x), &by);
            y = NAME(with_label)(y, &at_label, at);
        });
    } else if (label) {
        const NAME(at_label) at_label = *label;
        FOR_EACH_PAST(e, to, n, zero,
                      y = NAME(with_label)(NAME(normalised)(x, &by), &at_label, at));
    } else {
        FOR_EACH_PAST(e, to, n, zero, y = NAME(normalised)(x, &by));
    }
}

/* A batch of rows after the first sweep. */
typedef struct {
    const fl_rows *rows;
    const NAME(work) *work;
    const NAME(swept) *swept;
    const NAME(normalisers) *normalisers;
    ptrdiff_t begin; /* its first row */
    real *e;         /* the exponentials of that row, or NULL where they are to be computed again */
    ptrdiff_t e_row;
} NAME(batch);

/* What is to be made of the probabilities of classes [j, j + n) of a row, in place. */
typedef void NAME(then)(void *context, real *p, ptrdiff_t j, ptrdiff_t n);

/* The second sweep of classes [j, j + n) of row b of a batch, of one block, to probabilities, what
   `then` makes of them, and what is at the label; both may be NULL. */
FL_INLINE void NAME(finish_block)(const NAME(batch) *batch, int b, ptrdiff_t j, ptrdiff_t n,
                                  NAME(then) *then, void *context, const NAME(at_label) *label)
{
    const fl_rows *rows = batch->rows;
    const NAME(work) *work = batch->work;
    const fl_row out = NAME(row_of)(&rows->out, batch->begin + b);
    NAME(block_normaliser) block = {NAME(normaliser_of_row)(batch->normalisers, b), E_OF_MAX};
    real *e = batch->e ? batch->e + b * batch->e_row + j : NULL;
    const int several = rows->n_classes > BLOCK;
#if FL_BITS == 32
    if (e && is_half(&out) && !several && !then && !label) {
        normalise_to_halves(e, n, &block.by, out.data, out.format);
        return;
    }
#endif
    int stored = e != NULL;
    if (several || !stored) {
        const NAME(block_frame) *frames = NAME(frames_of)(rows, b, batch->e, work);
        const NAME(scaling) scaling = NAME(scaling_of_row)(batch->swept, b, &work->scaling);
        const real max = batch->swept->max[b] + batch->swept->offset[b];
        const real exponent = batch->swept->n[b];
        if (frames && frames[j / BLOCK].max == (real)-INFINITY)
            memset(e, 0, (size_t)n * sizeof *e);
        else
            stored = frames && NAME(find_block_normaliser)(frames + j / BLOCK, max, exponent,
                                                           &scaling, &block);
        if (!stored) {
            const fl_row x = NAME(row_of)(&rows->x, batch->begin + b);
            const NAME(frame) frame = NAME(frame_of)(v_set1(exponent), &scaling);
            const real *from = NAME(take)(&x, j, n, work->buffer);
            real *to = e ? e : NAME(place)(&out, j, work->dense);
            if (scaling.scaled)
                NAME(normalise)(from, to, n, max, &block.by, &frame, 1);
            else
                NAME(normalise)(from, to, n, max, &block.by, &frame, 0);
            e = to;
        }
    }
    if (stored && work->behind && !then) {
        NAME(normalise_past)(e, (real *)out.data + j, n, &block, label);
        return;
    }
    if (stored && several)
        NAME(normalise_block)(e, n, &block);
    else if (stored)
        NAME(normalise_stored)(e, n, &block.by);
    if (then)
        then(context, e, j, n);
    if (label && label->label >= 0 && label->label < n)
        e[label->label] = label->value;
    if (work->behind)
        FOR_EACH_PAST(e, (real *)out.data + j, n, v_set1((real)0), y = x);
    else
        NAME(put)(e, &out, j, n);
}

/* Writes the rows of a batch, at once or, where they are streamed, along with the next sweep. */
FL_INLINE void NAME(write_batch)(const fl_rows *rows, const void *batch, int count,
                                 NAME(write) *write, NAME(behind) *behind)
{
    const ptrdiff_t begin = NAME(first_class)(rows), end = NAME(end_class)(rows);
    if (behind) {
        *behind = (NAME(behind)){write, batch, begin, end, count, 0, begin};
        return;
    }
    for (int b = 0; b < count; ++b)
        for (ptrdiff_t j = begin; j < end; j += BLOCK)
            write(batch, b, j, end - j < BLOCK ? end - j : BLOCK);
}

/* What is left at the end. */
FL_INLINE void NAME(write_last)(NAME(behind) *behind)
{
    if (behind->count == 0)
        return;
    NAME(write_behind)(behind, behind->count, 0);
    v_fence();
}

FL_INLINE void NAME(write_probabilities)(const void *batch_, int b, ptrdiff_t j, ptrdiff_t n)
{
    const NAME(batch) *batch = batch_;
    if (NAME(is_special)(batch->swept, b))
        NAME(fill_classes)(&batch->rows->out, batch->begin + b, j, n, (real)NAN);
    else
        NAME(finish_block)(batch, b, j, n, NULL, NULL, NULL);
}

static void NAME(softmax)(const fl_rows *rows)
{
    const int dense = NAME(has_dense)(&rows->out);
    FL_ALIGNED real buffer[BLOCK],
        spread[BLOCK]; /* the latter for a batch's exponentials, if not dense */
    NAME(work) work = NAME(work_of)(rows, rows->temperature, dense ? 4 * BLOCK : BLOCK, buffer,
                                    spread, NULL, spread);
    work.keep = 1;
    NAME(block_frame) frames[KEPT_BLOCKS];
    work.frames = frames;
    NAME(swept) swept;
    NAME(normalisers) normalisers;
    NAME(batch) batch = {rows, &work, &swept, &normalisers, 0, NULL, 0};
    NAME(behind) behind;
    NAME(stream)(rows, &work, &behind);
    int count;
    for (ptrdiff_t i = 0; i < rows->n_rows; i += count) {
        count = NAME(count)(rows, i, &work);
        ptrdiff_t e_row;
        real *e = NAME(place_of_batch)(rows, i, &work, &e_row);
        NAME(sweep_batch)(rows, i, count, &work, e, e_row, &swept);
        if (NAME(only_sweeps)(rows))
            return;
        NAME(finish_normalisers)(&swept, NAME(whole)(count), &work.scaling, &normalisers);
        if (swept.in_tile) {
            NAME(store_tile)(&swept.tile, &rows->out, i, count, NAME(map_normalised), &normalisers,
                             spread, rows->streams);
            continue;
        }
        batch.begin = i, batch.e = e, batch.e_row = e_row;
        NAME(write_batch)(rows, &batch, count, NAME(write_probabilities), work.behind);
    }
    NAME(write_last)(&behind);
}

/* (x - max) / temperature - log, two terms of one sign. Where x - max overflows, of halves; where
   the quotient does, -inf. */
FL_INLINE vec NAME(log_of)(vec x, vec max, vec log, const NAME(frame) *frame, int scaled)
{
    const vec least = v_set1((real)-INFINITY), half = v_set1((real)0.5), two = v_set1((real)2);
    const vec difference = v_sub(x, max), y = v_sub(difference, log);
    if (!scaled)
        return y;
    const mask fits = v_ne(difference, least);
    const vec halves = v_sub(v_mul(x, half), v_mul(max, half));
    const vec d = v_select(fits, difference, halves);
    const vec unit = v_select(fits, v_set1((real)1), two);
    const vec inverse = v_mul(frame->inverse, unit);
    const vec lo = v_mul(d, v_mul(frame->inverse_lo, unit));
    const vec quotient = v_fma(d, inverse, v_sub(lo, log));
    const vec finite = v_select(v_ne(v_mul(d, inverse), least), quotient, least);
    return v_select(v_ne(d, v_set1((real)0)), finite, y);
}

FL_INLINE void NAME(log_block)(const real *from, real *to, ptrdiff_t n, vec max, vec log,
                               const NAME(frame) *frame_, int scaled, int past)
{
    const NAME(frame) frame = *frame_;
    if (past)
        FOR_EACH_PAST(from, to, n, max, y = NAME(log_of)(x, max, log, &frame, scaled));
    else
        FOR_EACH_REGISTER(from, to, n, max, y = NAME(log_of)(x, max, log, &frame, scaled));
}

/* What the logarithms of the rows of a tile are taken with. */
typedef struct {
    const real *max, *log;
    NAME(frame) frame;
} NAME(log_rows);

FL_INLINE vec NAME(map_log)(const void *context, vec x, ptrdiff_t c, int h)
{
    (void)c;
    const NAME(log_rows) *by = context;
    return NAME(log_of)(x, v_load(by->max + h), v_load(by->log + h), &by->frame, 0);
}

FL_INLINE vec NAME(map_log_scaled)(const void *context, vec x, ptrdiff_t c, int h)
{
    (void)c;
    const NAME(log_rows) *by = context;
    return NAME(log_of)(x, v_load(by->max + h), v_load(by->log + h), &by->frame, 1);
}

/* A batch of rows after the first sweep. */
typedef struct {
    const fl_rows *rows;
    const NAME(work) *work;
    const NAME(swept) *swept;
    ptrdiff_t begin; /* its first row */
    NAME(log_rows) by;
} NAME(log_batch);

FL_INLINE void NAME(write_logs)(const void *batch_, int b, ptrdiff_t j, ptrdiff_t n)
{
    const NAME(log_batch) *batch = batch_;
    const fl_rows *rows = batch->rows;
    const NAME(work) *work = batch->work;
    const ptrdiff_t i = batch->begin + b;
    if (NAME(is_special)(batch->swept, b)) {
        NAME(fill_classes)(&rows->out, i, j, n, (real)NAN);
        return;
    }
    const fl_row x = NAME(row_of)(&rows->x, i), out = NAME(row_of)(&rows->out, i);
    const vec max = v_set1(batch->by.max[b]), log = v_set1(batch->by.log[b]);
    const real *from = NAME(take)(&x, j, n, work->buffer);
    real *to = NAME(place)(&out, j, work->dense);
    if (work->scaling.scaled)
        NAME(log_block)(from, to, n, max, log, &batch->by.frame, 1, work->behind != NULL);
    else
        NAME(log_block)(from, to, n, max, log, &batch->by.frame, 0, work->behind != NULL);
    NAME(put)(to, &out, j, n);
}

static void NAME(log_softmax)(const fl_rows *rows)
{
    FL_ALIGNED real buffer[BLOCK], out_buffer[BLOCK];
    NAME(work) work =
        NAME(work_of)(rows, rows->temperature, 4 * BLOCK, buffer, out_buffer, NULL, NULL);
    FL_ALIGNED real log[BATCH], max[BATCH];
    NAME(swept) swept;
    NAME(log_batch) batch = {rows, &work, &swept, 0, {max, log, {.offset = v_set1((real)0)}}};
    batch.by.frame = NAME(frame_of)(v_set1((real)0), &work.scaling);
    NAME(behind) behind;
    NAME(stream)(rows, &work, &behind);
    int count;
    for (ptrdiff_t i = 0; i < rows->n_rows; i += count) {
        count = NAME(count)(rows, i, &work);
        NAME(sweep_batch)(rows, i, count, &work, NULL, 0, &swept);
        if (NAME(only_sweeps)(rows))
            return;
        NAME(pairs) logs;
        NAME(finish_logs)(&swept, NAME(whole)(count), &work.scaling, &logs);
        for (int h = 0; h < count; h += WIDTH) {
            f64v log_[HALVES];
            for (int k = 0; k < HALVES; ++k)
                log_[k] = NAME(load_pair)(&logs, h + k * FL_WIDTH_F64).hi;
            v_store(log + h, NAME(rounded)(log_));
            v_store(max + h, v_add(v_load(swept.max + h), v_load(swept.offset + h)));
        }
        if (swept.in_tile) {
            if (work.scaling.scaled)
                NAME(store_tile)(&swept.tile, &rows->out, i, count, NAME(map_log_scaled), &batch.by,
                                 out_buffer, rows->streams);
            else
                NAME(store_tile)(&swept.tile, &rows->out, i, count, NAME(map_log), &batch.by,
                                 out_buffer, rows->streams);
            continue;
        }
        batch.begin = i;
        NAME(write_batch)(rows, &batch, count, NAME(write_logs), work.behind);
    }
    NAME(write_last)(&behind);
}

/* The logsumexp of rows that are swept, from their logs; in a tile none of them is special or
   huge. */
FL_INLINE void NAME(finish_logsumexp)(NAME(swept) *swept, int count, const NAME(scaling) *scaling,
                                      const NAME(pairs) *logs, int in_tile, real *results)
{
    for (int h = 0; h < count; h += WIDTH) {
        if (!in_tile) /* A huge row was finished relative to its largest logit. */
            v_store(swept->max + h, v_add(v_load(swept->max + h), v_load(swept->offset + h)));
        f64v sum[HALVES];
        for (int k = 0; k < HALVES; ++k) {
            const int b = h + k * FL_WIDTH_F64;
            const row_state state = NAME(states)(swept, b, scaling);
            sum[k] = NAME(wide_add)(state.max, NAME(load_pair)(logs, b)).hi;
            if (!in_tile) {
                const f64v rest = v_load(swept->rest + b), infinite = v_set1((double)INFINITY);
                const f64v max = NAME(load_wide)(swept->max + b);
                f64v special = v_select(v_ne(rest, rest), v_set1((double)NAN), max);
                if (isinf(scaling->inverse))
                    special = v_select(v_ne(max, v_set1(0.0)), v_mul(special, infinite), special);
                const f64m is_finite = v_gt(infinite, v_abs(special));
                sum[k] = v_select(is_finite, sum[k], special);
            }
        }
        v_store_part(results + h, count - h, NAME(rounded)(sum));
    }
}

static void NAME(logsumexp)(const fl_rows *rows)
{
    FL_ALIGNED real buffer[BLOCK], dense[BLOCK];
    NAME(work) work =
        NAME(work_of)(rows, rows->temperature, PTRDIFF_MAX, buffer, dense, NULL, NULL);
    work.out = NULL;
    const fl_row out = NAME(across)(&rows->out, 0);
    int count;
    for (ptrdiff_t i = 0; i < rows->n_rows; i += count) {
        count = NAME(count)(rows, i, &work);
        NAME(swept) swept;
        NAME(sweep_batch)(rows, i, count, &work, NULL, 0, &swept);
        if (NAME(only_sweeps)(rows))
            return;
        FL_ALIGNED real buffer_[BATCH];
        real *results = NAME(place)(&out, i, buffer_);
        NAME(pairs) logs;
        NAME(finish_logs)(&swept, NAME(whole)(count), &work.scaling, &logs);
        if (swept.in_tile)
            NAME(finish_logsumexp)(&swept, count, &work.scaling, &logs, 1, results);
        else
            NAME(finish_logsumexp)(&swept, count, &work.scaling, &logs, 0, results);
        NAME(put)(results, &out, i, count);
    }
}
