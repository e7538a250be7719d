/*
 * A row after another: accumulate, merge, finish.
 *
 * A row is swept in blocks of BLOCK classes, each first for its largest logit and then,
 * still in the L1 cache, for its exponentials.
 *
 * Sums. Class j of a block goes to virtual lane j mod LANES. Of the four classes that a span
 * of FOLD_SPAN gives to a lane, float32 adds two pairs and their sum, so that none is rounded
 * more than twice, and then folds the lanes in ascending order into FOLD_LANES float64 lanes.
 * float64 folds each at once and keeps what the addition rounds away: one class can be most
 * of the rest, and then each rounding shows in the last place of its logarithm. Every span
 * is summed from nothing, then the spans of a block are added in ascending order: which of
 * them is summed first does not matter. Registers being narrower or wider changes nothing in
 * these orders.
 */
#define FOLD_SPAN (4 * LANES)
#define FOLD_LANES 8
#define FOLD_VECS (FOLD_LANES / FL_WIDTH_F64)
/* Rows that are swept and finished together: enough for the latencies of a finish to overlap,
   and of narrow rows, of which each step is short, those of every step. Of float64, which has more
   to keep of each, half as many: all of it is on the stack. */
#define BATCH (512 / (int)sizeof(real))
#define WIDE_BATCH 16

/* Of a loss: sum a (max - x) and sum a, of the coefficients a of `target`, and what additions have
   rounded away. */
typedef struct {
    double dot, dot_lo, mass, mass_lo;
} NAME(dots);

/* What a piece of a row amounts to. */
typedef struct {
    real max;             /* the largest logit; -inf: nothing but -inf so far */
    double equal;         /* how many equal it */
    double rest, rest_lo; /* the others' exponentials, in the frame of exponent n; NaN if any is */
    real n;               /* rint((max - offset) / temperature * log2 e) */
    NAME(dots) dots;
} NAME(state);

/*
 * What a loss makes of all the log-probabilities of a row: sum -a log p, with
 * a = (soft keep + spread) class_weight. Without soft targets, what smoothing gives to every class.
 */
typedef struct {
    fl_row soft;                /* may be missing */
    const double *class_weight; /* one for each class, or NULL */
    double keep, spread;
} NAME(target);

/* What the rows of one call have in common, and what changes when a row is huge. */
typedef struct {
    double inverse, inverse_lo; /* 1 / temperature */
    real binary; /* log2 e / temperature, at most REAL_MAX and not 0: for exponents */
    real offset; /* the largest logit of a huge row, else 0 */
    int scaled;  /* whether logits must be shifted or divided at all */
} NAME(scaling);

static NAME(scaling) NAME(scaling_of)(double temperature)
{
    NAME(scaling) s = {
        .inverse = 1 / temperature,
        .binary = (real)fmin(0x1.71547652b82fep+0 / temperature, (double)REAL_MAX),
        .scaled = temperature != 1,
    };
    /* At the ends of the range -inf / temperature stays -inf, and all else becomes +-inf or 0. */
    if (s.inverse > (double)REAL_MAX)
        s.inverse = (double)INFINITY;
    else if ((real)s.inverse == 0) {
        s.inverse = FL_BITS == 32 ? 0x1p-149 : 0x1p-1074;
        s.binary = (real)s.inverse; /* inf times 0 would be no exponent that is far out */
    } else
        s.inverse_lo = fma(-s.inverse, temperature, 1) * s.inverse;
    return s;
}

FL_INLINE NAME(frame) NAME(frame_of)(vec n, const NAME(scaling) *s)
{
    const real inverse = (real)s->inverse;
    const real inverse_lo =
        isinf(inverse) ? 0 : (real)((s->inverse - (double)inverse) + s->inverse_lo);
    const vec least = v_add(n, v_set1((real)(EXP_LEAST - FRAME_SHIFT)));
    return (NAME(frame)){
        .min = v_mul(least, v_set1((real)0x1.62e42fefa39efp-1)),
        .magic = v_sub(v_set1((real)(ROUND_MAGIC + (EXP_BIAS + FRAME_SHIFT) * EXP_STEPS)),
                       v_mul(n, v_set1((real)EXP_STEPS))),
        .offset = v_set1(s->offset),
        .inverse = v_set1(inverse),
        .inverse_lo = v_set1(inverse_lo),
    };
}

/* The largest of n <= BLOCK numbers, NaN left out; -inf for none. Never -0. `tops` receives the
   same of each whole span, lane by lane. `sum`, unless NULL, grows by them all: it is NaN where
   one of them is, or where +inf and -inf or sums beyond the range are. `halves`, unless NULL, are
   the numbers in half precision, of that format, on their way to `to`, which is x. */
FL_INLINE real NAME(sweep_max)(const real *x, ptrdiff_t n, vec *tops, vec *sum, const char *halves,
                               int format, real *to)
{
    const vec least = v_set1((real)-INFINITY), zero = v_set1((real)0);
    vec best = least, sums[GROUP];
    for (int k = 0; k < GROUP; ++k)
        sums[k] = zero;
    ptrdiff_t j = 0;
    for (; j + FOLD_SPAN <= n; j += FOLD_SPAN) {
        vec m[GROUP];
        for (int k = 0; k < GROUP; ++k)
            m[k] = least;
        for (int q = 0; q < FOLD_SPAN / LANES; ++q)
            for (int k = 0; k < GROUP; ++k) {
                const ptrdiff_t at = j + q * LANES + k * WIDTH;
#if FL_BITS == 32
                if (halves)
                    v_store(to + at, load_half(halves + 2 * at, format));
#endif
                const vec y = v_load(x + at);
                m[k] = v_max(y, m[k]);
                if (sum)
                    sums[k] = v_add(sums[k], y);
            }
        for (int k = 1; k < GROUP; ++k)
            m[0] = v_max(m[0], m[k]);
        tops[j / FOLD_SPAN] = m[0];
        best = v_max(m[0], best);
    }
#if FL_BITS == 32
    if (halves)
        load_halves(halves + 2 * j, n - j, to + j, format);
#else
    (void)halves, (void)format, (void)to;
#endif
    vec m[GROUP];
    for (int k = 0; k < GROUP; ++k)
        m[k] = least;
    for (; j + LANES <= n; j += LANES)
        for (int k = 0; k < GROUP; ++k) {
            const vec y = v_load(x + j + k * WIDTH);
            m[k] = v_max(y, m[k]);
            if (sum)
                sums[k] = v_add(sums[k], y);
        }
    for (int k = 0; k < GROUP; ++k)
        best = v_max(m[k], best);
    for (; j < n; j += WIDTH) {
        best = v_max(v_load_part(x + j, n - j, least), best);
        if (sum)
            sums[0] = v_add(sums[0], v_load_part(x + j, n - j, zero));
    }
    for (int k = 0; sum && k < GROUP; ++k)
        *sum = v_add(*sum, sums[k]);
    return v_hmax(best) + (real)0;
}

static real NAME(block_max)(const real *x, ptrdiff_t n, vec *tops)
{
    return NAME(sweep_max)(x, n, tops, NULL, NULL, 0, NULL);
}

/* Classes [j, j + n) of a row, as `take` has them, and what block_max makes of them. */
static const real *NAME(take_max)(const fl_row *row, ptrdiff_t j, ptrdiff_t n, real *buffer,
                                  vec *tops, real *max)
{
#if FL_BITS == 32
    if (is_half(row)) {
        const char *halves = row->data + 2 * j;
        if (row->format == FL_F16)
            *max = NAME(sweep_max)(buffer, n, tops, NULL, halves, FL_F16, buffer);
        else
            *max = NAME(sweep_max)(buffer, n, tops, NULL, halves, FL_BF16, buffer);
        return buffer;
    }
#endif
    const real *block = NAME(take)(row, j, n, buffer);
    *max = NAME(block_max)(block, n, tops);
    return block;
}

/* The first NaN among n numbers; n: there is none. */
static ptrdiff_t NAME(find_nan)(const real *x, ptrdiff_t n)
{
    ptrdiff_t j = 0;
    while (j < n && !isnan(x[j]))
        ++j;
    return j;
}

static ptrdiff_t NAME(find_nan_in_row)(const fl_row *x, ptrdiff_t n)
{
    ptrdiff_t j = 0;
    while (j < n && !isnan(NAME(get)(x, j)))
        ++j;
    return j;
}

/* FOLD_LANES float64 lanes and, of float64, what their additions rounded away. */
typedef struct {
    f64v hi[FOLD_VECS];
#if FL_BITS == 64
    f64v lo[FOLD_VECS];
#endif
} NAME(fold_sum);

FL_INLINE NAME(fold_sum) NAME(fold_nothing)(void)
{
    NAME(fold_sum) sum;
    for (int i = 0; i < FOLD_VECS; ++i) {
        sum.hi[i] = v_set1(0.0);
#if FL_BITS == 64
        sum.lo[i] = v_set1(0.0);
#endif
    }
    return sum;
}

/* Adds the four registers that a span gives to the lanes k * WIDTH, ... */
FL_INLINE void NAME(fold)(NAME(fold_sum) *sum, int k, const NAME(pair) *y)
{
#if FL_BITS == 64
    const int i = k % FOLD_VECS;
    for (int q = 0; q < 4; ++q) {
        const pair_f64 s = two_sum_f64(sum->hi[i], y[q].hi);
        sum->hi[i] = s.hi;
        sum->lo[i] = v_add(sum->lo[i], v_add(s.lo, y[q].lo));
    }
#else
    const vec lanes = v_add(v_add(y[0].hi, y[1].hi), v_add(y[2].hi, y[3].hi));
    for (int half = 0; half < 2; ++half) {
        const int i = (2 * k + half) % FOLD_VECS;
        sum->hi[i] = v_add(sum->hi[i], v_half(lanes, half));
    }
#endif
}

/* Adds the sum of the span that follows. */
FL_INLINE void NAME(fold_span)(NAME(fold_sum) *sum, const NAME(fold_sum) *span)
{
    for (int i = 0; i < FOLD_VECS; ++i) {
#if FL_BITS == 64
        const pair_f64 s = two_sum_f64(sum->hi[i], span->hi[i]);
        sum->hi[i] = s.hi;
        sum->lo[i] = v_add(sum->lo[i], v_add(s.lo, span->lo[i]));
#else
        sum->hi[i] = v_add(sum->hi[i], span->hi[i]);
#endif
    }
}

/* sum + lost grows by hi + lo; what the addition rounds away goes to lost. */
FL_INLINE void NAME(add_to)(double *sum, double *lost, double hi, double lo)
{
    const double s = *sum + hi, t = s - *sum;
    *lost += lo + ((*sum - (s - t)) + (hi - t));
    *sum = s;
}

/* Lane i and lane i + half, until one is left. */
FL_INLINE void NAME(fold_lanes)(const NAME(fold_sum) *sum, double *rest, double *rest_lo)
{
    double hi[FOLD_LANES], lo[FOLD_LANES];
    lo[0] = 0;
    for (int i = 0; i < FOLD_VECS; ++i) {
        v_store(hi + i * FL_WIDTH_F64, sum->hi[i]);
#if FL_BITS == 64
        v_store(lo + i * FL_WIDTH_F64, sum->lo[i]);
#endif
    }
    for (int half = FOLD_LANES / 2; half; half /= 2)
        for (int i = 0; i < half; ++i) {
            if (FL_BITS == 64)
                NAME(add_to)(hi + i, lo + i, hi[i + half], lo[i + half]);
            else
                hi[i] += hi[i + half];
        }
    *rest = hi[0];
    *rest_lo = lo[0];
}

/* A sum and what it lost as one number: of an infinity, NaN is lost. */
FL_INLINE double NAME(total)(double sum, double lost) { return isinf(sum) ? sum : sum + lost; }

/* The same as one number. */
FL_INLINE double NAME(fold_total)(const NAME(fold_sum) *sum)
{
    double total, lost;
    NAME(fold_lanes)(sum, &total, &lost);
    return NAME(total)(total, lost);
}

/* Stored for the largest logit in place of its exponential: so large that `normalised` makes it
   the probability that was computed with care. */
#define E_OF_MAX ((real)0x1p100)

FL_INLINE NAME(pair) NAME(keep)(mask m, NAME(pair) a)
{
    return (NAME(pair)){v_keep(m, a.hi), v_keep(m, a.lo)};
}

/*
 * Memory is prefetched twice: FAR bytes before its turn into the L2 cache, and so many classes
 * before it, at least, from there into L1; the next block of a long row, for which L1 has no room
 * beside the one in hand, into L2 both times. Less of either leaves waits for it, more displaces
 * what is in use.
 */
#define FAR 16384
#define AHEAD (2048 / (ptrdiff_t)sizeof(real))

/* A row that will be read or written soon, of as many classes as the one in hand, and how many
   bytes after it the row lies that will be next; without data: none. */
typedef struct {
    const char *data;
    ptrdiff_t class, far;
    int next; /* whether it is a row, not the rest of one */
} NAME(soon);

/* Writes classes [j, j + n) of row b of a batch, of one block. */
typedef void NAME(write)(const void *batch, int b, ptrdiff_t j, ptrdiff_t n);

/*
 * The rows of a batch that are swept, and not yet written. Where they are best written past the
 * caches, a row of them is written when the sweep of the row of the same number in the next batch
 * begins or, of several blocks, each before the same block of that row: the stores then take their
 * time while the CPU computes.
 */
typedef struct {
    NAME(write) *write;
    const void *batch;
    ptrdiff_t begin, end; /* the classes of each row */
    int count;            /* of rows; 0: nothing is behind */
    int b;                /* the first that is not written ... */
    ptrdiff_t j;          /* ... from this class on */
} NAME(behind);

/* Passed by its address: a copy would read what has just been written, with wider loads, and so
   wait for all stores before it. */
typedef struct {
    NAME(soon) x, out, targets;
    fl_row own;           /* where the row in hand will be written */
    NAME(behind) *behind; /* or NULL */
} NAME(ahead);

/* Writes the rows before row b, and of that one the blocks that begin before class `end`. */
static void NAME(write_behind)(NAME(behind) *behind, int b, ptrdiff_t end)
{
    while (behind->b < behind->count && (behind->b < b || (behind->b == b && behind->j < end))) {
        const ptrdiff_t j = behind->j, left = behind->end - j, n = left < BLOCK ? left : BLOCK;
        behind->write(behind->batch, behind->b, j, n);
        behind->j += n;
        if (behind->j == behind->end) {
            behind->j = behind->begin;
            ++behind->b;
        }
    }
}

/* Row i of an array and the one `far` rows after it, where classes follow each other closely. */
FL_INLINE NAME(soon) NAME(row_soon)(const fl_view *view, ptrdiff_t i, ptrdiff_t far)
{
    const fl_row row = NAME(row_of)(view, i);
    const int close = view->class > 0 && view->class <= 8;
    return (NAME(soon)){close ? row.data : NULL, view->class, far * view->row, 1};
}

/* What follows of a row from class j on. */
FL_INLINE NAME(soon) NAME(rest_soon)(const fl_row *row, ptrdiff_t j)
{
    return (NAME(soon)){row->data + j * row->class, row->class, FAR, 0};
}

/* Classes [j, end). One instruction for all lines: the CPU looks at the steps of each instruction
   on its own. */
FL_INLINE void NAME(prefetch_classes)(const NAME(soon) *row, ptrdiff_t j, ptrdiff_t end)
{
    if (!row->data)
        return;
    const char *from = row->data + j * row->class, *to = row->data + end * row->class;
    FL_ROLLED for (const char *p = from; p < to; p += 64)
    {
        if (row->next)
            FL_PREFETCH(p);
        else
            FL_PREFETCH_FAR(p);
        FL_PREFETCH_FAR(p + row->far);
    }
}

FL_INLINE void NAME(prefetch_span)(const NAME(ahead) *ahead, ptrdiff_t j, ptrdiff_t end)
{
    NAME(prefetch_classes)(&ahead->x, j, end);
    NAME(prefetch_classes)(&ahead->out, j, end);
}

/* A span of `left` classes, FOLD_SPAN where it is `whole`: its exponentials into e, where `store`,
   and into the sum, where `all`, which only a whole one may be; else without those of logits that
   equal max. Returns how many it left out. */
FL_INLINE int NAME(sum_span)(const real *x, ptrdiff_t left, const NAME(frame) *frame, vec max,
                             NAME(fold_sum) *sum, real *e, int whole, int all, int store,
                             int scaled)
{
    const vec zero = v_set1((real)0);
    int equal = all ? 0 : (int)left;
    FL_UNROLL for (int k = 0; k < GROUP; ++k)
    {
        NAME(pair) y[4];
        FL_UNROLL for (int q = 0; q < 4; ++q)
        {
            const int at = q * LANES + k * WIDTH;
            if (!whole && at >= left) {
                y[q] = (NAME(pair)){zero, zero};
                continue;
            }
            const int full = whole || at + WIDTH <= left;
            const vec logit = full ? v_load(x + at) : v_load_part(x + at, left - at, max);
            y[q] = NAME(exp)(logit, frame, scaled);
            const mask other = v_ne(logit, max);
            if (store) {
                const vec stored = all ? y[q].hi : v_select(other, y[q].hi, v_set1(E_OF_MAX));
                if (full)
                    v_store(e + at, stored);
                else
                    v_store_part(e + at, left - at, stored);
            }
            if (!all) {
                y[q] = NAME(keep)(other, y[q]);
                equal -= FL_POPCOUNT(v_lanes(other));
            }
        }
        NAME(fold)(sum, k, y);
    }
    return equal;
}

/* sum_span of the whole spans that have a bit in `which`, each to its place. */
FL_INLINE int NAME(sum_spans)(const real *x, uint64_t which, const NAME(frame) *frame, vec max,
                              NAME(fold_sum) *spans, const NAME(ahead) *ahead, real *e, int all,
                              int store, int scaled)
{
    int equal = 0;
    for (; which; which &= which - 1) {
        const int i = FL_LOWEST(which);
        const ptrdiff_t at = i * FOLD_SPAN;
        NAME(prefetch_span)(ahead, at, at + FOLD_SPAN);
        NAME(fold_sum) span = NAME(fold_nothing)();
        equal += NAME(sum_span)(x + at, FOLD_SPAN, frame, max, &span, store ? e + at : NULL, 1, all,
                                store, scaled);
        spans[i] = span;
    }
    return equal;
}

/*
 * The exponentials of n <= BLOCK contiguous logits in the frame: their sum without those of max
 * and, where `store`, each of them into e (which may be x). Logits are compared with max only
 * in spans whose `tops` reach it; how many equal it is counted.
 */
FL_INLINE void NAME(sum_block)(const real *x, ptrdiff_t n, const vec *tops,
                               const NAME(frame) *frame_, NAME(state) *part,
                               const NAME(ahead) *ahead, real *e, int store, int scaled)
{
    const NAME(frame) frame = *frame_;
    const vec max = v_set1(part->max);
    NAME(fold_sum) sum = NAME(fold_nothing)(), spans[BLOCK / FOLD_SPAN], rest = sum;
    /* The spans with max are summed last: which one it is, no branch has to guess. */
    const int n_spans = (int)(n / FOLD_SPAN);
    uint64_t with_max = 0; /* a bit for each */
    for (int i = 0; i < n_spans; ++i)
        with_max |= (uint64_t)(v_lanes(v_eq(tops[i], max)) != 0) << i;
    const uint64_t plain = (((uint64_t)1 << n_spans) - 1) & ~with_max;
    NAME(sum_spans)(x, plain, &frame, max, spans, ahead, e, 1, store, scaled);
    ptrdiff_t equal = NAME(sum_spans)(x, with_max, &frame, max, spans, ahead, e, 0, store, scaled);
    const ptrdiff_t j = n_spans * FOLD_SPAN;
    NAME(prefetch_span)(ahead, j, n);
    if (j < n)
        equal += NAME(sum_span)(x + j, n - j, &frame, max, &rest, store ? e + j : NULL, 0, 0, store,
                                scaled);
    for (int i = 0; i < n_spans; ++i)
        NAME(fold_span)(&sum, spans + i);
    NAME(fold_span)(&sum, &rest);
    NAME(fold_lanes)(&sum, &part->rest, &part->rest_lo);
    part->rest *= 1 / EXP_FACTOR;
    part->equal = (double)equal;
}

/* The four bodies that sum_block is compiled to. */
static void NAME(sum_block_as)(const real *x, ptrdiff_t n, const vec *tops,
                               const NAME(frame) *frame, NAME(state) *part,
                               const NAME(ahead) *ahead, real *e, int scaled)
{
    if (e && scaled)
        NAME(sum_block)(x, n, tops, frame, part, ahead, e, 1, 1);
    else if (e)
        NAME(sum_block)(x, n, tops, frame, part, ahead, e, 1, 0);
    else if (scaled)
        NAME(sum_block)(x, n, tops, frame, part, ahead, e, 0, 1);
    else
        NAME(sum_block)(x, n, tops, frame, part, ahead, e, 0, 0);
}

/* The coefficient of class j, of the soft target `soft`. */
FL_INLINE real NAME(coefficient)(const NAME(target) *t, ptrdiff_t j, real soft)
{
    const double a = t->soft.data ? (double)soft * t->keep + t->spread : t->spread;
    return (real)(t->class_weight ? a * t->class_weight[j] : a);
}

/* The coefficients of classes [j, j + n), contiguous. */
static const real *NAME(coefficients)(const NAME(target) *t, ptrdiff_t j, ptrdiff_t n, real *buffer)
{
    const real *soft = t->soft.data ? NAME(take)(&t->soft, j, n, buffer) : NULL;
    if (soft && t->spread == 0 && !t->class_weight)
        return soft;
    for (ptrdiff_t i = 0; i < n; ++i)
        buffer[i] = NAME(coefficient)(t, j + i, soft ? soft[i] : 0);
    return buffer;
}

/* One register of eight that a double span gives to each lane: a (max - x). */
FL_INLINE vec NAME(dot_term)(vec a, vec x, vec max, vec before, int masked)
{
    const vec difference = v_sub(max, x);
    if (masked)
        return v_add(v_keep(v_ne(a, v_set1((real)0)), v_mul(a, difference)), before);
    return v_fma(a, difference, before);
}

/* Adds what a double span gives to the sums of dot_pass; of it there are `left` classes where it is
   not `whole`. */
FL_INLINE void NAME(dot_span)(const real *x, const real *a, ptrdiff_t left, vec max,
                              NAME(fold_sum) *dot, NAME(fold_sum) *mass, int whole, int masked)
{
    const vec zero = v_set1((real)0);
    NAME(fold_sum) dot_span = NAME(fold_nothing)(), mass_span = dot_span;
    FL_UNROLL for (int k = 0; k < GROUP; ++k)
    {
        NAME(pair) d[4], m[4];
        FL_UNROLL for (int q = 0; q < 4; ++q)
        {
            const int at = 2 * q * LANES + k * WIDTH, next = at + LANES;
            d[q] = m[q] = (NAME(pair)){zero, zero};
            if (whole || at < left) {
                const vec a0 = whole ? v_load(a + at) : v_load_part(a + at, left - at, zero);
                const vec x0 = whole ? v_load(x + at) : v_load_part(x + at, left - at, max);
                d[q].hi = NAME(dot_term)(a0, x0, max, zero, masked);
                m[q].hi = a0;
            }
            if (whole || next < left) {
                const vec a1 = whole ? v_load(a + next) : v_load_part(a + next, left - next, zero);
                const vec x1 = whole ? v_load(x + next) : v_load_part(x + next, left - next, max);
                d[q].hi = NAME(dot_term)(a1, x1, max, d[q].hi, masked);
                m[q].hi = v_add(m[q].hi, a1);
            }
        }
        NAME(fold)(&dot_span, k, d);
        NAME(fold)(&mass_span, k, m);
    }
    NAME(fold_span)(dot, &dot_span);
    NAME(fold_span)(mass, &mass_span);
}

/* Sums of a (max - x) and of a. `masked`: a coefficient of 0 makes 0 of an infinite difference.
   `ahead`: soft targets that will be read soon. */
FL_INLINE void NAME(dot_pass)(const real *x, ptrdiff_t n, const real *a, NAME(state) *part,
                              const NAME(soon) *ahead, int masked)
{
    const vec max = v_set1(part->max > (real)-INFINITY ? part->max : (real)0);
    NAME(fold_sum) dot = NAME(fold_nothing)(), mass = dot;
    ptrdiff_t j = 0;
    for (; j + 2 * FOLD_SPAN <= n; j += 2 * FOLD_SPAN) {
        NAME(prefetch_classes)(ahead, j, j + 2 * FOLD_SPAN);
        NAME(dot_span)(x + j, a + j, 2 * FOLD_SPAN, max, &dot, &mass, 1, masked);
    }
    NAME(prefetch_classes)(ahead, j, n);
    if (j < n)
        NAME(dot_span)(x + j, a + j, n - j, max, &dot, &mass, 0, masked);
    NAME(fold_lanes)(&dot, &part->dots.dot, &part->dots.dot_lo);
    NAME(fold_lanes)(&mass, &part->dots.mass, &part->dots.mass_lo);
}

/* The dots of classes [j, j + n) of a row, of whose logits, contiguous at x, part->max is the
   largest. A coefficient of 0 makes 0 of a logit of -inf too: in what comes out NaN, that is looked
   after. */
static void NAME(dot_block)(const real *x, ptrdiff_t j, ptrdiff_t n, const NAME(target) *target,
                            NAME(state) *part, const NAME(soon) *ahead)
{
    FL_ALIGNED real buffer[BLOCK];
    const real *a = NAME(coefficients)(target, j, n, buffer);
    NAME(dot_pass)(x, n, a, part, ahead, 0);
    if (isnan(part->dots.dot))
        NAME(dot_pass)(x, n, a, part, ahead, 1);
}

/* A row for each lane, of largest logits less the offset. */
FL_INLINE row_state NAME(row_state_of)(f64v max, f64v equal, pair_f64 rest, f64v n,
                                       const NAME(scaling) *s)
{
    /* Where 1 / temperature is infinite all is relative to the largest, max is 0, and so is the
       quotient. */
    const f64v inverse = v_set1(s->inverse < DBL_MAX ? s->inverse : DBL_MAX);
    const f64v hi = v_mul(max, inverse);
    const f64v lo = v_fma(max, inverse, v_sub(v_set1(0.0), hi));
    return (row_state){
        .max = {hi, v_fma(max, v_set1(s->inverse_lo), lo)},
        .equal = equal,
        .rest = rest,
        .n = n,
    };
}

FL_INLINE NAME(dots) NAME(add_dots)(const NAME(dots) *a, const NAME(dots) *b)
{
    NAME(dots) sum = *a;
    NAME(add_to)(&sum.dot, &sum.dot_lo, b->dot, b->dot_lo);
    NAME(add_to)(&sum.mass, &sum.mass_lo, b->mass, b->mass_lo);
    return sum;
}

/* Joins b, the state of the piece that follows, into a. The smaller maximum is rest. */
FL_INLINE void NAME(merge)(NAME(state) *a, const NAME(state) *b, const NAME(scaling) *scaling)
{
    const NAME(dots) dots = NAME(add_dots)(&a->dots, &b->dots);
    if (a->max == (real)-INFINITY) { /* nothing so far, but maybe a NaN, or a target */
        const double rest = a->rest;
        *a = *b;
        a->rest += rest;
        a->dots = dots;
        return;
    }
    if (a->max == b->max) {
        a->equal += b->equal;
        a->dots = dots;
        NAME(add_to)(&a->rest, &a->rest_lo, b->rest, b->rest_lo);
        return;
    }
    const NAME(state) low = a->max < b->max ? *a : *b;
    const NAME(state) high = a->max < b->max ? *b : *a;
    const row_state state = NAME(row_state_of)(
        v_set1((double)(low.max - scaling->offset)),
        v_set1(low.equal + 1), /* none of them is the row's largest */
        (pair_f64){v_set1(low.rest), v_set1(low.rest_lo)}, v_set1((double)low.n), scaling);
    const pair_f64 all = NAME(whole_rest)(&state, NAME(wide_exp)(state.max, state.n));
    /* The sum may be as large as 2^FRAME_SHIFT times the piece's length. */
    const int shift = (int)fmax((double)low.n - (double)high.n, -3000);
    *a = high;
    a->dots = dots;
    if (low.dots.mass != 0)
        NAME(add_to)(&a->dots.dot, &a->dots.dot_lo,
                     low.dots.mass * ((double)high.max - (double)low.max), 0);
    NAME(add_to)(&a->rest, &a->rest_lo, ldexp(v_first(all.hi), shift),
                 ldexp(v_first(all.lo), shift));
}

/* The exponent of exp((x - offset) / temperature), before rounding. */
static real NAME(exponent)(real x, const NAME(scaling) *s) { return (x - s->offset) * s->binary; }

/* Whether that is too far out for a frame; so is all, where log2 e / temperature is beyond the
   range. */
static int NAME(is_far)(real x, const NAME(scaling) *s)
{
    const real exponent = NAME(exponent)(x, s);
    return !(exponent <= (real)FRAME_MAX && exponent >= (real)-FRAME_MAX) || s->binary == REAL_MAX;
}

/* Adds the state of the block that follows. */
FL_INLINE void NAME(join)(NAME(state) *row, const NAME(state) *part, const NAME(scaling) *scaling)
{
    if (part->max != (real)-INFINITY) {
        NAME(merge)(row, part, scaling);
        return;
    }
    row->dots = NAME(add_dots)(&row->dots, &part->dots);
    if (isnan(part->rest))
        row->rest = part->rest;
}

/* The state of a row, of those of its blocks. */
static NAME(state)
    NAME(join_all)(const NAME(state) *states, ptrdiff_t n, const NAME(scaling) *scaling)
{
    NAME(state) row = {.max = (real)-INFINITY};
    for (ptrdiff_t j = 0; j < n; j += BLOCK)
        NAME(join)(&row, states + j / BLOCK, scaling);
    return row;
}

_Static_assert(sizeof(NAME(state)) <= FL_STATE && BLOCK >= FL_LEAST_BLOCK, "room for the states");
_Static_assert(BLOCK / FOLD_SPAN < 64, "a bit for each span");

/* Sums a block in the frame of part->max: the largest logit of it or, where the row is huge, of the
   row. */
FL_INLINE void NAME(sum_in_frame)(const real *block, ptrdiff_t n, const vec *tops,
                                  const NAME(scaling) *scaling, NAME(state) *part,
                                  const NAME(ahead) *ahead, real *e)
{
    part->n = (NAME(exponent)(part->max, scaling) + (real)ROUND_MAGIC) - (real)ROUND_MAGIC;
    const NAME(frame) frame = NAME(frame_of)(v_set1(part->n), scaling);
    NAME(sum_block_as)(block, n, tops, &frame, part, ahead, e, scaling->scaled);
}

/*
 * Sweeps a row of one block as `sweep` does, to which it leaves one whose largest logit is -inf or
 * far out: returns 0 then, with nothing in e; *row means nothing. Of rows that are short, what is
 * done once for each counts.
 */
FL_INLINE int NAME(sweep_short)(const fl_row *x, ptrdiff_t n, const NAME(scaling) *scaling,
                                const NAME(target) *target, real *buffer, real *e,
                                const NAME(ahead) *ahead, NAME(state) *row)
{
    vec tops[BLOCK / FOLD_SPAN];
    const real *block = NAME(take_max)(x, 0, n, buffer, tops, &row->max);
    if (row->max == (real)-INFINITY || NAME(is_far)(row->max, scaling))
        return 0;
    if (target)
        NAME(dot_block)(block, 0, n, target, row, &ahead->targets);
    NAME(sum_in_frame)(block, n, tops, scaling, row, ahead, e);
    return 1;
}

/* What the exponentials of a block are in: its own frame, with E_OF_MAX for its own max. */
typedef struct {
    real n, max; /* max is -inf: all of them would be 0, and are not there */
} NAME(block_frame);

/*
 * Sweeps a row into its state. `e` is NULL, or the place for its exponentials: of one block in the
 * row's final frame; of several, which must not be in the row's own place, in those that `frames`
 * receives. `target` is NULL, or that of the row's loss. `share` is NULL or what is to be swept of
 * the row, by this and other threads.
 *
 * A row is huge if any of its blocks has a largest logit so far out that rint(x log2 e) or
 * the frame would lose bits. Its largest logit m is then found first; either m is not far
 * out, and is taken for all blocks, or x - m is exact for every x near enough to m to matter.
 */
static NAME(state) NAME(sweep)(const fl_row *x, ptrdiff_t n, NAME(scaling) *scaling,
                               const NAME(target) *target, const fl_part *share, real *buffer,
                               real *e, NAME(block_frame) *frames, const NAME(ahead) *next)
{
    const NAME(state) empty = {.max = (real)-INFINITY};
    const ptrdiff_t end = share ? share->end : n;
    NAME(state) row = empty;
    NAME(ahead) later = {.out.data = NULL}; /* what follows of the row */
    int huge = 0;
    for (ptrdiff_t j = share ? share->begin : 0; j < end; j += BLOCK) {
        const ptrdiff_t length = n - j < BLOCK ? n - j : BLOCK;
        if (next->behind)
            NAME(write_behind)(next->behind, next->behind->b, j + length);
        NAME(state) part = empty;
        vec tops[BLOCK / FOLD_SPAN];
        const real *block = NAME(take_max)(x, j, length, buffer, tops, &part.max);
        if (huge)
            part.max = row.max;
        const int nothing = part.max == (real)-INFINITY;
        const int far = !nothing && NAME(is_far)(part.max, scaling); /* as +inf is */
        if (share && far) {
            *share->unfit = 1;
            return row;
        }
        if (part.max == (real)INFINITY) {
            row.max = part.max;
            row.rest = NAME(find_nan_in_row)(x, n) < n ? (double)NAN : 0;
            return row;
        }
        const int last = j + length == n;
        if (!last && next->x.data)
            later.x = NAME(rest_soon)(x, j + length);
        if (!last && next->targets.data)
            later.targets = NAME(rest_soon)(&target->soft, j + length);
        if (!last && next->out.data)
            later.out = NAME(rest_soon)(&next->own, j + length);
        if (frames)
            frames[j / BLOCK].max = (real)-INFINITY;
        const NAME(ahead) *ahead = last ? next : &later;
        if (target)
            NAME(dot_block)(block, j, length, target, &part, &ahead->targets);
        if (nothing) {
            if (NAME(find_nan)(block, length) < length)
                part.rest = (double)NAN;
        } else if (far && !huge) {
            huge = 1;
            row = empty;
            for (ptrdiff_t i = 0; i < n; i += BLOCK) {
                const ptrdiff_t rest = n - i < BLOCK ? n - i : BLOCK;
                const real *piece = NAME(take)(x, i, rest, buffer);
                const real m = NAME(block_max)(piece, rest, tops);
                row.max = m > row.max ? m : row.max;
            }
            if (row.max != (real)INFINITY && NAME(is_far)(row.max, scaling)) {
                scaling->offset = row.max;
                scaling->scaled = 1;
            }
            j = -BLOCK;
            continue;
        } else {
            NAME(sum_in_frame)(block, length, tops, scaling, &part, ahead, e ? e + j : NULL);
            if (huge)
                row.n = part.n;
            if (frames)
                frames[j / BLOCK] = (NAME(block_frame)){part.n, part.max};
        }
        if (share)
            ((NAME(state) *)share->states)[j / BLOCK] = part;
        else
            NAME(join)(&row, &part, scaling);
    }
    return row;
}
