/*
 * Limits: what an operation cannot do without, as a loop that does nothing else. It shows how fast
 * the operation could be at best on the same array, with the same vocabulary and the same formulas:
 * `fastlogits bench` times it beside the operation.
 *
 * The array is one contiguous run of elements, whatever its rows, and is taken in chunks that stay
 * in the L1 cache. Counted are, of each chunk,
 *
 *     its maximum, as a row's has to be known before the first of its exponentials;
 *     the exponentials, all in one frame, and their sum; of soft targets that of a (max - x) too;
 *     where the result is an array, each element of it: one multiplication of a stored
 *     exponential, or one subtraction;
 *
 * and for each row what the kernels finish it with, the normaliser, the logarithm, or both, in
 * float64, of which pairs, a row in each lane. Of elementwise operations an element costs an
 * exponential and, as they need them, a division, a logarithm, and a product with its target.
 * Memory is prefetched as the kernels do it. The formulas are theirs: were one slower, so were
 * both.
 *
 * Left out is what depends on where rows begin and end (transposes of narrow rows, registers that a
 * row does not fill, labels and weights), and what makes results exact or special values right:
 * sums in float64, keeping the maximum out of the sum, low parts of exponentials, the cases of huge
 * rows and of NaN. So are at the ends of the array a cache line and less than a span of elements,
 * and of a task less than a register of rows.
 */
#if FL_BITS == 64
/* Steps of a loop beside the maximum, the exponentials and their sum. */
enum {
    STORED = 1,     /* exponentials are stored, and multiplied; of elements, divided */
    SHIFTED = 2,    /* a number is taken off the logits */
    WEIGHTED = 4,   /* there are targets */
    NORMALISED = 8, /* each row is finished by a division */
    LOGARITHMS = 16 /* each row, or element, has a logarithm */
};
#endif

FL_INLINE vec NAME(limit_load)(const void *from, ptrdiff_t j, int format)
{
#if FL_BITS == 32
    if (format != FL_F32)
        return load_half((const char *)from + 2 * j, format);
#endif
    (void)format;
    return v_load((const real *)from + j);
}

FL_INLINE void NAME(limit_store)(void *to, ptrdiff_t j, vec y, int format)
{
#if FL_BITS == 32
    if (format != FL_F32) {
        store_half((char *)to + 2 * j, y, format);
        return;
    }
#endif
    (void)format;
    v_store((real *)to + j, y);
}

/* The compiler may not leave out what makes up `a` and `b`. */
FL_INLINE void NAME(limit_keep)(vec a, f64v b)
{
    const volatile double kept[] = {(double)v_hmax(a), v_hmax(b)};
    (void)kept;
}

/* What comes a chunk after element j. */
FL_INLINE NAME(soon) NAME(limit_soon)(const void *data, ptrdiff_t j, ptrdiff_t size)
{
    return (NAME(soon)){(const char *)data + (j + FL_LIMIT_CHUNK) * size, size, FAR, 1};
}

/* The maximum of n elements from the j-th on; those of half precision go to the buffer. */
FL_INLINE vec NAME(limit_max)(const void *x, ptrdiff_t j, ptrdiff_t n, int format, real *buffer)
{
    vec tops[GROUP];
    for (int k = 0; k < GROUP; ++k)
        tops[k] = v_set1((real)-INFINITY);
    for (ptrdiff_t i = 0; i < n; i += FOLD_SPAN)
        FL_UNROLL for (int q = 0; q < FOLD_SPAN / LANES; ++q)
            FL_UNROLL for (int k = 0; k < GROUP; ++k)
        {
            const ptrdiff_t at = i + q * LANES + k * WIDTH;
            const vec y = NAME(limit_load)(x, j + at, format);
            if (format != OWN_FORMAT)
                v_store(buffer + at, y);
            tops[k] = v_max(y, tops[k]);
        }
    for (int k = 1; k < GROUP; ++k)
        tops[0] = v_max(tops[0], tops[k]);
    return tops[0];
}

/* The sum of the exponentials of n logits, which go to e where `steps` says so, and of
   targets (max - logit). */
FL_INLINE vec NAME(limit_sum)(const real *logits, ptrdiff_t n, const NAME(frame) *frame, vec max,
                              const void *targets, ptrdiff_t j, const NAME(ahead) *ahead, int steps,
                              int format, real *e)
{
    vec sums[GROUP], dots[GROUP];
    for (int k = 0; k < GROUP; ++k)
        sums[k] = dots[k] = v_set1((real)0);
    for (ptrdiff_t i = 0; i < n; i += FOLD_SPAN) {
        NAME(prefetch_span)(ahead, i, i + FOLD_SPAN);
        NAME(prefetch_classes)(&ahead->targets, i, i + FOLD_SPAN);
        FL_UNROLL for (int q = 0; q < FOLD_SPAN / LANES; ++q)
            FL_UNROLL for (int k = 0; k < GROUP; ++k)
        {
            const ptrdiff_t at = i + q * LANES + k * WIDTH;
            const vec x = v_load(logits + at), y = NAME(exp)(x, frame, 0).hi;
            sums[k] = v_add(sums[k], y);
            if (steps & STORED)
                v_store(e + at, y);
            if (steps & WEIGHTED)
                dots[k] = v_fma(NAME(limit_load)(targets, j + at, format), v_sub(max, x), dots[k]);
        }
    }
    for (int k = 0; k < GROUP; ++k) {
        if (steps & WEIGHTED)
            sums[k] = v_add(sums[k], dots[k]);
        if (k > 0)
            sums[0] = v_add(sums[0], sums[k]);
    }
    return sums[0];
}

/* The second sweep, to elements of out from the j-th on. */
FL_INLINE void NAME(limit_map)(const real *from, ptrdiff_t n, vec max, void *out, ptrdiff_t j,
                               int steps, int format)
{
    const vec factor = v_set1((real)(1 / FRAME_SCALE));
    for (ptrdiff_t i = 0; i < n; i += FOLD_SPAN)
        FL_UNROLL for (int q = 0; q < FOLD_SPAN / LANES; ++q)
            FL_UNROLL for (int k = 0; k < GROUP; ++k)
        {
            const ptrdiff_t at = i + q * LANES + k * WIDTH;
            const vec x = v_load(from + at);
            NAME(limit_store)(out, j + at, steps & STORED ? v_mul(x, factor) : v_sub(x, max),
                              format);
        }
}

/* The finish of a register of rows, with `max` and `sum` for the largest logit and the rest of
   each, and something of all results of it. */
FL_INLINE f64v NAME(limit_finish)(vec max, vec sum, int steps)
{
    f64v all = v_set1(0.0);
    for (int i = 0; i < HALVES; ++i) {
        const row_state state = {
            .max = single(NAME(widened)(max, i)),
            .equal = v_set1(1.0),
            .rest = single(NAME(widened)(sum, i)),
            .n = v_set1(0.0),
        };
        pair_f64 argument;
        if (steps & NORMALISED) {
            const normaliser_parts parts =
                steps & LOGARITHMS ? NAME(finish_normaliser_and_argument)(&state, &argument)
                                   : NAME(finish_normaliser)(&state);
            all = v_add(all, v_add(parts.inverse.hi, parts.largest.hi));
        } else {
            argument = NAME(finish_argument)(&state);
        }
        if (steps & LOGARITHMS)
            all = v_add(all, NAME(wide_log)(argument).hi);
    }
    return all;
}

/* Whole spans of a chunk of which `left` elements are left. */
FL_INLINE ptrdiff_t NAME(limit_length)(ptrdiff_t left)
{
    return left < FL_LIMIT_CHUNK ? left - left % FOLD_SPAN : FL_LIMIT_CHUNK;
}

/* Elements [begin, end) of an operation on rows. */
FL_INLINE void NAME(limit_of_rows)(const fl_limit *limit, ptrdiff_t begin, ptrdiff_t end, int steps,
                                   int format)
{
    FL_ALIGNED real buffer[FL_LIMIT_CHUNK]; /* for half precision */
    const int own = format == OWN_FORMAT;
    const ptrdiff_t size = own ? (ptrdiff_t)sizeof(real) : 2, classes = limit->n_classes;
    const NAME(scaling) scaling = NAME(scaling_of)(1);
    const NAME(frame) frame = NAME(frame_of)(v_set1((real)0), &scaling);
    vec all = v_set1((real)0);
    f64v of_rows = v_set1(0.0);
    ptrdiff_t rows = begin / classes;
    for (ptrdiff_t j = begin; j + FOLD_SPAN <= end; j += FL_LIMIT_CHUNK) {
        const ptrdiff_t n = NAME(limit_length)(end - j);
        const real *logits = own ? (const real *)limit->x + j : buffer;
        real *e = own && (steps & STORED) ? (real *)limit->out + j : buffer;
        NAME(ahead) ahead = {.x = NAME(limit_soon)(limit->x, j, size)};
        if (steps & (STORED | SHIFTED))
            ahead.out = NAME(limit_soon)(limit->out, j, size);
        if (steps & WEIGHTED)
            ahead.targets = NAME(limit_soon)(limit->targets, j, size);
        const vec max = NAME(limit_max)(limit->x, j, n, format, buffer);
        const vec sum =
            NAME(limit_sum)(logits, n, &frame, max, limit->targets, j, &ahead, steps, format, e);
        if (steps & (STORED | SHIFTED))
            NAME(limit_map)(steps & STORED ? e : logits, n, max, limit->out, j, steps, format);
        all = v_add(all, v_add(max, sum));
        /* Logits at the end of the rows are as good as their maxima. */
        for (ptrdiff_t after; (after = (rows + WIDTH) * classes) <= j + n; rows += WIDTH) {
            const vec x = NAME(limit_load)(limit->x, after - WIDTH, format);
            of_rows = v_add(of_rows, NAME(limit_finish)(x, sum, steps));
        }
    }
    NAME(limit_keep)(all, of_rows);
}

/* The same of an operation on elements. */
FL_INLINE void NAME(limit_of_elements)(const fl_limit *limit, ptrdiff_t begin, ptrdiff_t end,
                                       int steps, int format)
{
    const vec one = v_set1((real)1), zero = v_set1((real)0);
    vec all[GROUP];
    for (int k = 0; k < GROUP; ++k)
        all[k] = zero;
    /* A whole span at once would take more registers than AVX2 has. */
    for (ptrdiff_t j = begin; j + FOLD_SPAN <= end; j += FOLD_SPAN)
        FL_ROLLED for (int q = 0; q < FOLD_SPAN / LANES; ++q)
            FL_UNROLL for (int k = 0; k < GROUP; ++k)
        {
            const ptrdiff_t at = j + q * LANES + k * WIDTH;
            const vec x = NAME(limit_load)(limit->x, at, format);
            const NAME(pair) e = {NAME(exp_minus_abs)(x).hi, zero};
            if (steps & STORED)
                NAME(limit_store)(limit->out, at, v_div(e.hi, v_add(one, e.hi)), format);
            if (steps & LOGARITHMS)
                all[k] = v_add(all[k], NAME(log1p_of)(e).hi);
            if (steps & WEIGHTED)
                all[k] = v_fma(NAME(limit_load)(limit->targets, at, format), x, all[k]);
        }
    for (int k = 1; k < GROUP; ++k)
        all[0] = v_add(all[0], all[k]);
    NAME(limit_keep)(all[0], v_set1(0.0));
}

/* A task of chunks. The first begins with a cache line of out, or of x. */
#define LIMIT(name, loop, steps)                                                                   \
    static void NAME(limit_##name)(void *context, ptrdiff_t begin, ptrdiff_t end)                  \
    {                                                                                              \
        const fl_limit *limit = context;                                                           \
        const uintptr_t p = (uintptr_t)((steps) & (STORED | SHIFTED) ? limit->out : limit->x);     \
        const ptrdiff_t head = (ptrdiff_t)(-p % 64) / fl_format_size(limit->format);               \
        const ptrdiff_t from = head + begin * FL_LIMIT_CHUNK;                                      \
        const ptrdiff_t most = head + end * FL_LIMIT_CHUNK;                                        \
        const ptrdiff_t to = most < limit->n ? most : limit->n;                                    \
        if (FL_BITS == 32 && limit->format == FL_F16)                                              \
            NAME(limit_of_##loop)(limit, from, to, steps, FL_F16);                                 \
        else if (FL_BITS == 32 && limit->format == FL_BF16)                                        \
            NAME(limit_of_##loop)(limit, from, to, steps, FL_BF16);                                \
        else                                                                                       \
            NAME(limit_of_##loop)(limit, from, to, steps, OWN_FORMAT);                             \
    }
LIMIT(softmax, rows, STORED | NORMALISED)
LIMIT(log_softmax, rows, SHIFTED | LOGARITHMS)
LIMIT(logsumexp, rows, LOGARITHMS)
LIMIT(soft_targets, rows, WEIGHTED | LOGARITHMS)
LIMIT(gradient, rows, STORED | NORMALISED | LOGARITHMS)
LIMIT(sigmoid, elements, STORED)
LIMIT(binary_loss, elements, WEIGHTED | LOGARITHMS)
LIMIT(binary_gradient, elements, STORED | WEIGHTED | LOGARITHMS)
#undef LIMIT
