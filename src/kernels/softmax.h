/*
 * The second sweeps that give a number for each class or one for a row: softmax, log_softmax and
 * logsumexp.
 */
/* How many of n elements lie before the first aligned register: a store across two cache lines
   takes two. */
FL_INLINE ptrdiff_t NAME(unaligned)(const real *p, ptrdiff_t n)
{
    const ptrdiff_t head = (ptrdiff_t)(-(uintptr_t)p / sizeof(real) % WIDTH);
    return head < n ? head : n;
}

/* Visits a contiguous block register by register: BODY sets y from x, of which `fill` stands
   in for what is missing of a part of a register. */
#define FOR_EACH_REGISTER(from, to, n, fill, BODY)                                                 \
    do {                                                                                           \
        ptrdiff_t j_ = NAME(unaligned)(to, n);                                                     \
        FOR_PART_(from, to, j_, fill, BODY);                                                       \
        for (; j_ + WIDTH <= (n); j_ += WIDTH) {                                                   \
            const vec x = v_load((from) + j_);                                                     \
            vec y;                                                                                 \
            BODY;                                                                                  \
            v_store((to) + j_, y);                                                                 \
        }                                                                                          \
        FOR_PART_((from) + j_, (to) + j_, (n) - j_, fill, BODY);                                   \
    } while (0)
#define FOR_PART_(from, to, n, fill, BODY)                                                         \
    if ((n) > 0) {                                                                                 \
        const vec x = v_load_part(from, n, fill);                                                  \
        vec y;                                                                                     \
        BODY;                                                                                      \
        v_store_part(to, n, y);                                                                    \
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
        lo[i] = v_fma(inverse[i].lo, v_set1(FRAME_SCALE / EXP_FACTOR), rest);
    }
    v_store(to->inverse + h, rounded);
    v_store(to->inverse_lo + h, NAME(rounded)(lo));
    v_store(to->largest + h, NAME(rounded)(largest));
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

/* What is to be made of the probabilities of classes [j, j + n) of a row, in place. */
typedef void NAME(then)(void *context, real *p, ptrdiff_t j, ptrdiff_t n);

static void NAME(leave)(void *context, real *p, ptrdiff_t j, ptrdiff_t n)
{
    (void)context, (void)p, (void)j, (void)n;
}

/* A block of exponentials in a frame of its own, of a row whose frame is that of exponent n, where
   the results will be. Returns 0 where its probabilities are so small that the factors to make
   them with might be subnormal. */
static int NAME(normalise_block)(real *e, ptrdiff_t length, const NAME(block_frame) *frame,
                                 real max, real n, const NAME(scaling) *scaling,
                                 const NAME(normaliser) *of_row)
{
    const real most = FL_BITS == 32 ? 40 : 500; /* as inverse_lo may be 2^-80 */
    const real down = n - frame->n;
    if (frame->max == (real)-INFINITY)
        memset(e, 0, (size_t)length * sizeof *e);
    else if (!(down <= most))
        return 0;
    else {
        const vec scale = v_set1((real)ldexp(1, -(int)down)), marked = v_set1(E_OF_MAX);
        const NAME(normaliser) by = {
            .inverse = v_mul(of_row->inverse, scale),
            .inverse_lo = v_mul(of_row->inverse_lo, scale),
            .largest = of_row->largest,
        };
        if (frame->max == max) {
            NAME(normalise_stored)(e, length, &by);
            return 1;
        }
        const NAME(frame) own = NAME(frame_of)(v_set1(frame->n), scaling);
        const vec x_max = v_set1(frame->max);
        const vec of_max =
            scaling->scaled ? NAME(exp)(x_max, &own, 1).hi : NAME(exp)(x_max, &own, 0).hi;
        FOR_EACH_REGISTER(e, e, length, v_set1((real)0),
                          y = NAME(normalised)(v_select(v_eq(x, marked), of_max, x), &by));
    }
    return 1;
}

/* The second sweep of row b of a batch, to probabilities. `e`: its exponentials, or NULL where
   they are to be computed again. */
FL_INLINE void NAME(finish_row)(const fl_rows *rows, ptrdiff_t begin, int b, real *e,
                                const NAME(swept) *swept, const NAME(work) *work,
                                const NAME(normaliser) *by, NAME(then) *then, void *context)
{
    const ptrdiff_t n = rows->n_classes;
    const fl_row out = NAME(row_of)(&rows->out, begin + b);
#if FL_BITS == 32
    if (e && is_half(&out) && n <= BLOCK && then == NAME(leave)) {
        normalise_to_halves(e, n, by, out.data, out.format);
        return;
    }
#endif
    if (e && n <= BLOCK) {
        NAME(normalise_stored)(e, n, by);
        then(context, e, 0, n);
        NAME(put)(e, &out, 0, n);
        return;
    }
    const fl_row x = NAME(row_of)(&rows->x, begin + b);
    const NAME(block_frame) *frames = NAME(frames_of)(rows, b, e, work);
    const NAME(scaling) scaling = NAME(scaling_of_row)(swept, b, &work->scaling);
    const NAME(frame) frame = NAME(frame_of)(v_set1((real)swept->n[b]), &scaling);
    const real max = (real)(swept->max[b] + swept->offset[b]);
    const ptrdiff_t end = NAME(end_class)(rows);
    for (ptrdiff_t j = NAME(first_class)(rows); j < end; j += BLOCK) {
        const ptrdiff_t length = n - j < BLOCK ? n - j : BLOCK;
        real *to = NAME(place)(&out, j, work->dense);
        if (frames && NAME(normalise_block)(to, length, frames + j / BLOCK, max, (real)swept->n[b],
                                            &scaling, by)) {
            then(context, to, j, length);
            continue;
        }
        const real *from = NAME(take)(&x, j, length, work->buffer);
        if (scaling.scaled)
            NAME(normalise)(from, to, length, max, by, &frame, 1);
        else
            NAME(normalise)(from, to, length, max, by, &frame, 0);
        then(context, to, j, length);
        NAME(put)(to, &out, j, length);
    }
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
    int count;
    for (ptrdiff_t i = 0; i < rows->n_rows; i += count) {
        count = NAME(count)(rows, i, &work);
        ptrdiff_t e_row;
        real *e = NAME(place_of_batch)(rows, i, work.spread, &e_row);
        NAME(swept) swept;
        NAME(sweep_batch)(rows, i, count, &work, e, e_row, &swept);
        if (NAME(only_sweeps)(rows))
            return;
        NAME(normalisers) normalisers;
        for (int h = 0; h < count; h += WIDTH) {
            pair_f64 inverse[HALVES];
            f64v largest[HALVES];
            for (int k = 0; k < HALVES; ++k) {
                const row_state state = NAME(states)(&swept, h + k * FL_WIDTH_F64, &work.scaling);
                const normaliser_parts parts = NAME(finish_normaliser)(&state);
                inverse[k] = parts.inverse;
                largest[k] = parts.largest.hi;
            }
            NAME(set_normalisers)(&normalisers, h, inverse, largest);
        }
        if (swept.in_tile) {
            NAME(store_tile)(&swept.tile, &rows->out, i, count, NAME(map_normalised), &normalisers,
                             spread, rows->streams);
            continue;
        }
        for (int b = 0; b < count; ++b) {
            if (NAME(is_special)(&swept, b)) {
                NAME(fill_classes)(rows, &rows->out, i + b, (real)NAN);
                continue;
            }
            const NAME(normaliser) by = NAME(normaliser_of_row)(&normalisers, b);
            NAME(finish_row)(rows, i, b, e ? e + b * e_row : NULL, &swept, &work, &by, NAME(leave),
                             NULL);
        }
    }
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
                               const NAME(frame) *frame_, int scaled)
{
    const NAME(frame) frame = *frame_;
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

static void NAME(log_softmax)(const fl_rows *rows)
{
    const ptrdiff_t n = rows->n_classes;
    FL_ALIGNED real buffer[BLOCK], out_buffer[BLOCK];
    const NAME(work) work =
        NAME(work_of)(rows, rows->temperature, 4 * BLOCK, buffer, out_buffer, NULL, NULL);
    const NAME(frame) divide = NAME(frame_of)(v_set1((real)0), &work.scaling);
    int count;
    for (ptrdiff_t i = 0; i < rows->n_rows; i += count) {
        count = NAME(count)(rows, i, &work);
        NAME(swept) swept;
        NAME(sweep_batch)(rows, i, count, &work, NULL, 0, &swept);
        if (NAME(only_sweeps)(rows))
            return;
        FL_ALIGNED real log[BATCH], max[BATCH];
        for (int h = 0; h < count; h += WIDTH) {
            f64v log_[HALVES], max_[HALVES];
            for (int k = 0; k < HALVES; ++k) {
                const int b = h + k * FL_WIDTH_F64;
                const row_state state = NAME(states)(&swept, b, &work.scaling);
                log_[k] = NAME(finish_log)(&state).hi;
                max_[k] = v_add(v_load(swept.max + b), v_load(swept.offset + b));
            }
            v_store(log + h, NAME(rounded)(log_));
            v_store(max + h, NAME(rounded)(max_));
        }
        if (swept.in_tile) {
            const NAME(log_rows) by = {max, log, divide};
            if (work.scaling.scaled)
                NAME(store_tile)(&swept.tile, &rows->out, i, count, NAME(map_log_scaled), &by,
                                 out_buffer, rows->streams);
            else
                NAME(store_tile)(&swept.tile, &rows->out, i, count, NAME(map_log), &by, out_buffer,
                                 rows->streams);
            continue;
        }
        for (int b = 0; b < count; ++b) {
            const fl_row x = NAME(row_of)(&rows->x, i + b), out = NAME(row_of)(&rows->out, i + b);
            if (NAME(is_special)(&swept, b)) {
                NAME(fill_classes)(rows, &rows->out, i + b, (real)NAN);
                continue;
            }
            const vec max_v = v_set1(max[b]), log_v = v_set1(log[b]);
            const ptrdiff_t end = NAME(end_class)(rows);
            for (ptrdiff_t j = NAME(first_class)(rows); j < end; j += BLOCK) {
                const ptrdiff_t length = n - j < BLOCK ? n - j : BLOCK;
                const real *from = NAME(take)(&x, j, length, buffer);
                real *to = NAME(place)(&out, j, out_buffer);
                if (work.scaling.scaled)
                    NAME(log_block)(from, to, length, max_v, log_v, &divide, 1);
                else
                    NAME(log_block)(from, to, length, max_v, log_v, &divide, 0);
                NAME(put)(to, &out, j, length);
            }
        }
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
        FL_ALIGNED real results[BATCH];
        for (int h = 0; h < count; h += WIDTH) {
            f64v sum[HALVES];
            for (int k = 0; k < HALVES; ++k) {
                const int b = h + k * FL_WIDTH_F64;
                row_state state = NAME(states)(&swept, b, &work.scaling);
                const pair_f64 log = NAME(finish_log)(&state);
                /* A huge row was finished relative to its largest logit. */
                const f64v max = v_add(v_load(swept.max + b), v_load(swept.offset + b));
                v_store(swept.max + b, max);
                state = NAME(states)(&swept, b, &work.scaling);
                const f64v rest = v_load(swept.rest + b);
                const f64v special = v_select(v_ne(rest, rest), v_set1((double)NAN), max);
                const f64m is_finite = v_gt(v_set1((double)INFINITY), v_abs(special));
                sum[k] = v_select(is_finite, NAME(wide_add)(state.max, log).hi, special);
            }
            v_store(results + h, NAME(rounded)(sum));
        }
        NAME(store_classes)(results, &out, i, count);
    }
}
