/*
 * A row after another: accumulate, merge, finish.
 *
 * A row is swept in blocks of BLOCK classes, each first for its largest logit and then,
 * still in the L1 cache, for its exponentials. Where the class axis is not contiguous the
 * block is first copied together, so one arithmetic serves every layout with the same bits.
 *
 * Sums. Class j of a block goes to virtual lane j mod LANES. After FOLD_SPAN classes, that
 * is 8 additions in each lane, the lanes are folded in ascending order into FOLD_LANES
 * float64 lanes; those of float64 input keep what each addition rounds away. Registers
 * being narrower or wider changes nothing in this order.
 */
#define FOLD_SPAN (8 * LANES)
#define FOLD_LANES 8
#define FOLD_VECS (FOLD_LANES / FL_WIDTH_F64)

/* What a piece of a row amounts to. */
typedef struct {
    real max;              /* the largest logit; -inf: nothing but -inf so far */
    double equal;          /* how many equal it */
    double rest, rest_lo;  /* the others' exponentials, in the frame of exponent n; NaN if any is */
    double n;              /* rint((max - offset) / temperature * log2 e) */
} NAME(state);

/* What the rows of one call have in common, and what changes when a row is huge. */
typedef struct {
    double temperature, inverse, inverse_lo;
    real offset; /* the largest logit of a huge row, else 0 */
    int scaled;  /* whether logits must be shifted or divided at all */
} NAME(scaling);

static NAME(scaling) NAME(scaling_of)(double temperature)
{
    NAME(scaling) s = {temperature, 1 / temperature, 0, 0, temperature != 1};
    /* At the ends of the range: -inf / temperature stays -inf, and 0 / temperature 0. */
    if (s.inverse > (double)REAL_MAX)
        s.inverse = (double)REAL_MAX;
    else if ((real)s.inverse == 0)
        s.inverse = FL_BITS == 32 ? 0x1p-149 : 0x1p-1074;
    else
        s.inverse_lo = fma(-s.inverse, temperature, 1) * s.inverse;
    return s;
}

static NAME(frame) NAME(frame_of)(double n, const NAME(scaling) * s)
{
    const real inverse = (real)s->inverse;
    const real inverse_lo = (real)((s->inverse - (double)inverse) + s->inverse_lo);
    return (NAME(frame)){
        .min = v_set1((real)((n - (EXPONENT_BIAS + FRAME_SHIFT)) * 0x1.62e42fefa39efp-1)),
        .magic = v_set1((real)((double)ROUND_MAGIC + EXPONENT_BIAS + FRAME_SHIFT - n)),
        .offset = v_set1(s->offset),
        .inverse = v_set1(inverse),
        .inverse_lo = v_set1(inverse_lo),
    };
}

/* A contiguous block: x itself, or its copy in the buffer. */
FL_INLINE const real *NAME(take)(const real *x, ptrdiff_t stride, ptrdiff_t n, real *buffer)
{
    if (stride == 1)
        return x;
    for (ptrdiff_t i = 0; i < n; ++i)
        buffer[i] = x[i * stride];
    return buffer;
}

/* Where to write a contiguous block: out itself, or a buffer that `put` then spreads. */
FL_INLINE real *NAME(place)(real *out, ptrdiff_t stride, real *buffer)
{
    return stride == 1 ? out : buffer;
}

FL_INLINE void NAME(put)(const real *from, real *out, ptrdiff_t stride, ptrdiff_t n)
{
    if (from == out)
        return;
    for (ptrdiff_t i = 0; i < n; ++i)
        out[i * stride] = from[i];
}

/* The largest of n numbers, NaN left out; -inf for none. Never -0. */
static real NAME(block_max)(const real *x, ptrdiff_t n)
{
    const vec least = v_set1((real)-INFINITY);
    vec m[GROUP];
    for (int k = 0; k < GROUP; ++k)
        m[k] = least;
    ptrdiff_t j = 0;
    for (; j + LANES <= n; j += LANES)
        for (int k = 0; k < GROUP; ++k)
            m[k] = v_max(v_load(x + j + k * WIDTH), m[k]);
    for (int k = 0; j + k * WIDTH < n; ++k)
        m[k] = v_max(v_load_part(x + j + k * WIDTH, n - j - k * WIDTH, least), m[k]);
    for (int k = 1; k < GROUP; ++k)
        m[0] = v_max(m[0], m[k]);
    return v_hmax(m[0]) + (real)0;
}

static int NAME(has_nan)(const real *x, ptrdiff_t stride, ptrdiff_t n)
{
    for (ptrdiff_t i = 0; i < n; ++i)
        if (isnan(x[i * stride]))
            return 1;
    return 0;
}

/* FOLD_LANES float64 lanes, and what their additions rounded away. */
typedef struct {
    f64v hi[FOLD_VECS], lo[FOLD_VECS];
} NAME(fold_sum);

FL_INLINE void NAME(fold)(NAME(fold_sum) * sum, const vec *lanes)
{
#if FL_BITS == 64
    for (int k = 0; k < GROUP; ++k) {
        const int i = k % FOLD_VECS;
        const pair_f64 s = two_sum_f64(sum->hi[i], lanes[k]);
        sum->hi[i] = s.hi;
        sum->lo[i] = v_add(sum->lo[i], s.lo);
    }
#else
    for (int k = 0; k < 2 * GROUP; ++k)
        sum->hi[k % FOLD_VECS] = v_add(sum->hi[k % FOLD_VECS], v_half(lanes[k / 2], k % 2));
#endif
}

/* Lane i and lane i + half, until one is left. */
FL_INLINE void NAME(fold_lanes)(const NAME(fold_sum) * sum, double *rest, double *rest_lo)
{
    double hi[FOLD_LANES], lo[FOLD_LANES];
    for (int i = 0; i < FOLD_VECS; ++i) {
        v_store(hi + i * FL_WIDTH_F64, sum->hi[i]);
        v_store(lo + i * FL_WIDTH_F64, sum->lo[i]);
    }
    for (int half = FOLD_LANES / 2; half; half /= 2)
        for (int i = 0; i < half; ++i) {
            const double s = hi[i] + hi[i + half];
            const double t = s - hi[i];
            if (FL_BITS == 64)
                lo[i] += lo[i + half] + ((hi[i] - (s - t)) + (hi[i + half] - t));
            hi[i] = s;
        }
    *rest = hi[0];
    *rest_lo = lo[0];
}

/*
 * The exponentials of n <= BLOCK contiguous logits in the frame: their sum without those
 * that equal max, how many those are, and, where `store`, each of them into e (which may be
 * x). `ahead` is memory that the next block will want.
 */
FL_INLINE void NAME(sum_block)(const real *x, ptrdiff_t n, const NAME(frame) * frame_,
                               NAME(state) * part, const real *ahead, real *e, int store,
                               int scaled)
{
    const NAME(frame) frame = *frame_;
    const vec max = v_set1(part->max);
    const vec one = v_set1((real)1), zero = v_set1((real)0);
    const vec least = v_set1((real)-INFINITY);
    NAME(fold_sum) sum;
    for (int i = 0; i < FOLD_VECS; ++i)
        sum.hi[i] = sum.lo[i] = v_set1(0.0);
    vec others = zero;
    for (ptrdiff_t begin = 0; begin < n; begin += FOLD_SPAN) {
        const ptrdiff_t end = n - begin < FOLD_SPAN ? n : begin + FOLD_SPAN;
        vec lanes[GROUP];
        for (int k = 0; k < GROUP; ++k)
            lanes[k] = zero;
        ptrdiff_t j = begin;
        for (; j + LANES <= end; j += LANES) {
            FL_PREFETCH(ahead + j);
            FL_PREFETCH(ahead + j + LANES / 2);
            for (int k = 0; k < GROUP; ++k) {
                const vec logit = v_load(x + j + k * WIDTH);
                const vec y = NAME(exp)(logit, &frame, scaled);
                if (store)
                    v_store(e + j + k * WIDTH, y);
                lanes[k] = v_add_if(v_ne(logit, max), lanes[k], y);
                others = v_add_if(v_ne(logit, max), others, one);
            }
        }
        for (int k = 0; j + k * WIDTH < end; ++k) {
            const ptrdiff_t left = end - j - k * WIDTH;
            const vec logit = v_load_part(x + j + k * WIDTH, left, least);
            const vec y = NAME(exp)(logit, &frame, scaled);
            if (store)
                v_store_part(e + j + k * WIDTH, left, y);
            lanes[k] = v_add_if(v_ne(logit, max), lanes[k], y);
            others = v_add_if(v_ne(logit, max), others, one);
        }
        NAME(fold)(&sum, lanes);
    }
    NAME(fold_lanes)(&sum, &part->rest, &part->rest_lo);
    real count[WIDTH];
    v_store(count, others);
    part->equal = (double)((n + WIDTH - 1) / WIDTH * WIDTH);
    for (int i = 0; i < WIDTH; ++i)
        part->equal -= (double)count[i];
}

/* The four bodies that sum_block is compiled to. */
static void NAME(sum_block_as)(const real *x, ptrdiff_t n, const NAME(frame) * frame,
                               NAME(state) * part, const real *ahead, real *e, int scaled)
{
    if (e && scaled)
        NAME(sum_block)(x, n, frame, part, ahead, e, 1, 1);
    else if (e)
        NAME(sum_block)(x, n, frame, part, ahead, e, 1, 0);
    else if (scaled)
        NAME(sum_block)(x, n, frame, part, ahead, e, 0, 1);
    else
        NAME(sum_block)(x, n, frame, part, ahead, e, 0, 0);
}

static pair_f64 NAME(scaled_logit)(real x, const NAME(scaling) * s)
{
    const double d = (double)(x - s->offset);
    const double hi = d * s->inverse;
    return (pair_f64){v_set1(hi), v_set1(fma(d, s->inverse, -hi) + d * s->inverse_lo)};
}

static row_state NAME(as_row_state)(const NAME(state) * s, const NAME(scaling) * scaling)
{
    const scaling_f64 logits_are_scaled_already = {1, 1, 0, 0, 0};
    return (row_state){
        .max = NAME(scaled_logit)(s->max, scaling),
        .equal = v_set1(s->equal),
        .rest = {v_set1(s->rest), v_set1(s->rest_lo)},
        .frame = frame_of_f64(s->n, &logits_are_scaled_already),
    };
}

/* 2^n, or 0 for n below the exponents of normal numbers; n is an integer <= 0. */
static double NAME(exact_pow2)(double n)
{
    return n < -1022 ? 0 : v_first(v_pow2(v_set1(0x1.8p52 + 1023 + n)));
}

/* Joins b, the state of the piece that follows, into a. The smaller maximum is rest. */
static void NAME(merge)(NAME(state) * a, const NAME(state) * b, const NAME(scaling) * scaling)
{
    if (a->max == b->max) {
        a->equal += b->equal;
        const double s = a->rest + b->rest;
        const double t = s - a->rest;
        a->rest_lo += b->rest_lo + ((a->rest - (s - t)) + (b->rest - t));
        a->rest = s;
        return;
    }
    const NAME(state) low = a->max < b->max ? *a : *b;
    const NAME(state) high = a->max < b->max ? *b : *a;
    double rest = low.rest, rest_lo = low.rest_lo;
    if (low.equal > 0) {
        row_state s = NAME(as_row_state)(&low, scaling);
        s.equal = v_add(s.equal, v_set1(1.0));
        const pair_f64 all = whole_rest(&s, exp_pair_f64(s.max, &s.frame));
        rest = v_first(all.hi);
        rest_lo = v_first(all.lo);
    }
    const double scale = NAME(exact_pow2)(low.n - high.n);
    *a = high;
    const double s = high.rest + rest * scale;
    const double t = s - high.rest;
    a->rest_lo += rest_lo * scale + ((high.rest - (s - t)) + (rest * scale - t));
    a->rest = s;
}

/*
 * Sweeps a row into its state. `e` is NULL, or the place for the exponentials of a row of at
 * most BLOCK classes, in the row's final frame.
 *
 * A row is huge if any of its blocks has a largest logit so far out that rint(x log2 e) or
 * the frame would lose bits. Its largest logit m is then found first; either m is not far
 * out, and is taken for all blocks, or x - m is exact for every x near enough to m to matter.
 */
static NAME(state) NAME(sweep)(const real *x, ptrdiff_t stride, ptrdiff_t n,
                               NAME(scaling) * scaling, real *buffer, real *e, const real *next)
{
    const NAME(state) empty = {.max = (real)-INFINITY};
    NAME(state) row = empty;
    int huge = 0;
    for (ptrdiff_t j = 0; j < n; j += BLOCK) {
        const ptrdiff_t length = n - j < BLOCK ? n - j : BLOCK;
        const real *block = NAME(take)(x + j * stride, stride, length, buffer);
        NAME(state) part = empty;
        part.max = huge ? row.max : NAME(block_max)(block, length);
        if (part.max == (real)INFINITY) {
            row.max = part.max;
            row.rest = NAME(has_nan)(x, stride, n) ? (double)NAN : 0;
            return row;
        }
        if (part.max == (real)-INFINITY) {
            if (NAME(has_nan)(block, 1, length))
                row.rest = (double)NAN;
            continue;
        }
        const double exponent = (double)(part.max - scaling->offset) / scaling->temperature *
                                0x1.71547652b82fep+0;
        if (!huge && fabs(exponent) > (double)FRAME_MAX) {
            huge = 1;
            row = empty;
            for (ptrdiff_t i = 0; i < n; i += BLOCK) {
                const ptrdiff_t rest = n - i < BLOCK ? n - i : BLOCK;
                const real m =
                    NAME(block_max)(NAME(take)(x + i * stride, stride, rest, buffer), rest);
                row.max = m > row.max ? m : row.max;
            }
            if (fabs((double)row.max / scaling->temperature * 0x1.71547652b82fep+0) >
                (double)FRAME_MAX) {
                scaling->offset = row.max;
                scaling->scaled = 1;
            }
            j = -BLOCK;
            continue;
        }
        part.n = (exponent + 0x1.8p52) - 0x1.8p52;
        if (huge)
            row.n = part.n;
        const NAME(frame) frame = NAME(frame_of)(part.n, scaling);
        const real *ahead = stride == 1 && j + length < n ? block + length : next;
        NAME(sum_block_as)(block, length, &frame, &part, ahead, e, scaling->scaled);
        NAME(merge)(&row, &part, scaling);
    }
    return row;
}

/* Whether the normaliser is no number that a finish could compute: the row is NaN, or its
   largest logit infinite. */
FL_INLINE int NAME(is_special)(const NAME(state) * s) { return isnan(s->rest) || isinf(s->max); }

/* log(sum(exp(row))) of such a row. */
FL_INLINE double NAME(special_log)(const NAME(state) * s)
{
    return isnan(s->rest) ? (double)NAN : (double)s->max;
}

FL_INLINE void NAME(fill)(real *out, ptrdiff_t stride, ptrdiff_t n, real value)
{
    for (ptrdiff_t i = 0; i < n; ++i)
        out[i * stride] = value;
}

/* A float64 pair as a pair of the element type, one register each. */
FL_INLINE NAME(pair) NAME(narrow)(pair_f64 p)
{
    const real hi = (real)v_first(p.hi);
    const double lo = (v_first(p.hi) - (double)hi) + v_first(p.lo);
    return (NAME(pair)){v_set1(hi), v_set1((real)lo)};
}

/* Visits a contiguous block register by register: BODY sets y from x, of which `fill` stands
   in for what is missing of the last register. */
#define FOR_EACH_REGISTER(from, to, n, fill, BODY)                                                 \
    do {                                                                                           \
        ptrdiff_t j_ = 0;                                                                          \
        for (; j_ + WIDTH <= (n); j_ += WIDTH) {                                                   \
            const vec x = v_load((from) + j_);                                                     \
            vec y;                                                                                 \
            BODY;                                                                                  \
            v_store((to) + j_, y);                                                                 \
        }                                                                                          \
        if (j_ < (n)) {                                                                            \
            const vec x = v_load_part((from) + j_, (n) - j_, fill);                                \
            vec y;                                                                                 \
            BODY;                                                                                  \
            v_store_part((to) + j_, (n) - j_, y);                                                  \
        }                                                                                          \
    } while (0)

/* exp(x) / sum, of exponentials that are stored (`scaled` < 0) or computed again. */
FL_INLINE void NAME(normalise)(const real *from, real *to, ptrdiff_t n, NAME(pair) inverse,
                               const NAME(frame) * frame_, int scaled)
{
    const NAME(frame) frame = *frame_;
    const vec fill = v_set1((real)-INFINITY);
    FOR_EACH_REGISTER(from, to, n, fill, {
        const vec e = scaled < 0 ? x : NAME(exp)(x, &frame, scaled);
        y = v_fma(e, inverse.hi, v_mul(e, inverse.lo));
    });
}

static void NAME(softmax)(const fl_rows *rows)
{
    const ptrdiff_t n = rows->n_classes, xs = rows->x_class, os = rows->out_class;
    const NAME(scaling) common = NAME(scaling_of)(rows->temperature);
    real in_buffer[BLOCK], out_buffer[BLOCK];
    for (ptrdiff_t i = 0; i < rows->n_rows; ++i) {
        const real *x = (const real *)rows->x + i * rows->x_row;
        real *out = (real *)rows->out + i * rows->out_row;
        const real *next = i + 1 < rows->n_rows && xs == 1 ? x + rows->x_row : x;
        real *e = n <= BLOCK ? NAME(place)(out, os, out_buffer) : NULL;
        NAME(scaling) scaling = common;
        const NAME(state) s = NAME(sweep)(x, xs, n, &scaling, in_buffer, e, next);
        if (NAME(is_special)(&s)) {
            NAME(fill)(out, os, n, (real)NAN);
            continue;
        }
        const row_state state = NAME(as_row_state)(&s, &scaling);
        const NAME(pair) inverse = NAME(narrow)(finish_inverse(&state));
        const NAME(frame) frame = NAME(frame_of)(s.n, &scaling);
        if (e) {
            NAME(normalise)(e, e, n, inverse, &frame, -1);
            NAME(put)(e, out, os, n);
            continue;
        }
        for (ptrdiff_t j = 0; j < n; j += BLOCK) {
            const ptrdiff_t length = n - j < BLOCK ? n - j : BLOCK;
            const real *from = NAME(take)(x + j * xs, xs, length, in_buffer);
            real *to = NAME(place)(out + j * os, os, out_buffer);
            if (scaling.scaled)
                NAME(normalise)(from, to, length, inverse, &frame, 1);
            else
                NAME(normalise)(from, to, length, inverse, &frame, 0);
            NAME(put)(to, out + j * os, os, length);
        }
    }
}

/* (x - max) / temperature - log, two terms of one sign. */
FL_INLINE void NAME(log_block)(const real *from, real *to, ptrdiff_t n, vec max, vec log,
                               const NAME(frame) * frame_, int scaled)
{
    const NAME(frame) frame = *frame_;
    FOR_EACH_REGISTER(from, to, n, max, {
        y = v_sub(x, max);
        if (scaled) {
            const vec lo = v_mul(v_max(v_set1(-REAL_MAX), y), frame.inverse_lo);
            y = v_fma(y, frame.inverse, v_sub(lo, log));
        } else {
            y = v_sub(y, log);
        }
    });
}

static void NAME(log_softmax)(const fl_rows *rows)
{
    const ptrdiff_t n = rows->n_classes, xs = rows->x_class, os = rows->out_class;
    const NAME(scaling) common = NAME(scaling_of)(rows->temperature);
    real in_buffer[BLOCK], out_buffer[BLOCK];
    for (ptrdiff_t i = 0; i < rows->n_rows; ++i) {
        const real *x = (const real *)rows->x + i * rows->x_row;
        real *out = (real *)rows->out + i * rows->out_row;
        const real *next = i + 1 < rows->n_rows && xs == 1 ? x + rows->x_row : x;
        NAME(scaling) scaling = common;
        const NAME(state) s = NAME(sweep)(x, xs, n, &scaling, in_buffer, NULL, next);
        if (NAME(is_special)(&s)) {
            NAME(fill)(out, os, n, (real)NAN);
            continue;
        }
        const row_state state = NAME(as_row_state)(&s, &scaling);
        const vec log = NAME(narrow)(finish_log(&state)).hi;
        const NAME(frame) frame = NAME(frame_of)(s.n, &scaling);
        const vec max = v_set1(s.max);
        for (ptrdiff_t j = 0; j < n; j += BLOCK) {
            const ptrdiff_t length = n - j < BLOCK ? n - j : BLOCK;
            const real *from = NAME(take)(x + j * xs, xs, length, in_buffer);
            real *to = NAME(place)(out + j * os, os, out_buffer);
            if (common.scaled)
                NAME(log_block)(from, to, length, max, log, &frame, 1);
            else
                NAME(log_block)(from, to, length, max, log, &frame, 0);
            NAME(put)(to, out + j * os, os, length);
        }
    }
}

static void NAME(logsumexp)(const fl_rows *rows)
{
    const NAME(scaling) common = NAME(scaling_of)(rows->temperature);
    real buffer[BLOCK];
    for (ptrdiff_t i = 0; i < rows->n_rows; ++i) {
        const real *x = (const real *)rows->x + i * rows->x_row;
        real *out = (real *)rows->out + i * rows->out_row;
        const real *next = i + 1 < rows->n_rows && rows->x_class == 1 ? x + rows->x_row : x;
        NAME(scaling) scaling = common;
        const NAME(state) s =
            NAME(sweep)(x, rows->x_class, rows->n_classes, &scaling, buffer, NULL, next);
        if (NAME(is_special)(&s)) {
            *out = (real)NAME(special_log)(&s);
            continue;
        }
        const row_state state = NAME(as_row_state)(&s, &scaling);
        scaling.offset = 0;
        const pair_f64 sum = add_pairs(NAME(scaled_logit)(s.max, &scaling), finish_log(&state));
        *out = (real)v_first(sum.hi);
    }
}

/* -log p of the label: (max - x[label]) / temperature + log. */
static void NAME(cross_entropy)(const fl_rows *rows)
{
    const NAME(scaling) common = NAME(scaling_of)(rows->temperature);
    real buffer[BLOCK];
    for (ptrdiff_t i = 0; i < rows->n_rows; ++i) {
        const real *x = (const real *)rows->x + i * rows->x_row;
        double *out = (double *)rows->out + i * rows->out_row;
        const real *next = i + 1 < rows->n_rows && rows->x_class == 1 ? x + rows->x_row : x;
        if (rows->labels[i] == rows->ignore_index) {
            *out = 0;
            continue;
        }
        NAME(scaling) scaling = common;
        const NAME(state) s =
            NAME(sweep)(x, rows->x_class, rows->n_classes, &scaling, buffer, NULL, next);
        const real target = x[rows->labels[i] * rows->x_class];
        if (NAME(is_special)(&s)) {
            *out = (double)NAN;
            continue;
        }
        if (target == (real)-INFINITY) {
            *out = (double)INFINITY;
            continue;
        }
        const row_state state = NAME(as_row_state)(&s, &scaling);
        const pair_f64 d = two_sum_f64(v_set1((double)s.max), v_set1(-(double)target));
        const f64v inverse = v_set1(scaling.inverse);
        const f64v hi = v_mul(d.hi, inverse);
        const f64v lo = v_fma(d.hi, inverse, v_sub(v_set1(0.0), hi));
        const f64v lo2 = v_fma(d.hi, v_set1(scaling.inverse_lo), v_mul(d.lo, inverse));
        *out = v_first(add_pairs((pair_f64){hi, v_add(lo, lo2)}, finish_log(&state)).hi);
    }
}
