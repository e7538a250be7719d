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

static NAME(normaliser) NAME(normaliser_of)(double inverse, double inverse_lo, double largest)
{
    inverse *= FRAME_SCALE / EXP_FACTOR;
    inverse_lo *= FRAME_SCALE / EXP_FACTOR;
    const real hi = (real)inverse;
    return (NAME(normaliser)){
        .inverse = v_set1(hi),
        .inverse_lo = v_set1((real)((inverse - (double)hi) + inverse_lo)),
        .largest = v_set1((real)largest),
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

/* What a loss adds to the second sweep, block by block: from probabilities p, in place,
   p factor - a scale, with the coefficients a of a target, if there is one; and, if there is
   a Hessian, hess_scale p (1 - p). */
typedef struct {
    const NAME(target) *target; /* or NULL */
    double factor, scale;
    real *hess; /* of the row, with the stride of the gradient; or NULL */
    double hess_scale;
    real largest, hess_of_largest; /* a probability near 1, and what is right in its place */
} NAME(gradient);

/* Classes [j, j + n) of a row. */
static void NAME(to_gradient)(real *p, ptrdiff_t j, ptrdiff_t n, ptrdiff_t os,
                              const NAME(gradient) *by)
{
    const vec zero = v_set1((real)0), factor = v_set1((real)by->factor);
    real buffer[BLOCK];
    if (by->hess) {
        const vec one = v_set1((real)1), scale = v_set1((real)by->hess_scale);
        const vec largest = v_set1(by->largest), its = v_set1(by->hess_of_largest);
        real *to = NAME(place)(by->hess + j * os, os, buffer);
        FOR_EACH_REGISTER(p, to, n, zero, {
            const vec h = v_mul(v_mul(x, v_sub(one, x)), scale);
            y = v_select(v_eq(x, largest), its, h);
        });
        NAME(put)(to, by->hess + j * os, os, n);
    }
    if (by->target) {
        const real *a = NAME(coefficients)(by->target, j, n, buffer);
        const vec minus_scale = v_set1((real)-by->scale);
        ptrdiff_t i = 0;
        for (; i + WIDTH <= n; i += WIDTH)
            v_store(p + i, v_fma(v_load(p + i), factor, v_mul(v_load(a + i), minus_scale)));
        const vec product = v_mul(v_load_part(a + i, n - i, zero), minus_scale);
        v_store_part(p + i, n - i, v_fma(v_load_part(p + i, n - i, zero), factor, product));
    } else if (by->factor != 1) {
        FOR_EACH_REGISTER(p, p, n, zero, y = v_mul(x, factor));
    }
}

/* The second sweep of one row. `e`: its exponentials, if it has been one block; else the buffers,
   of BLOCK each, are used. `gradient`: NULL, or what is to be made of the probabilities. */
static void NAME(finish_softmax)(const real *x, ptrdiff_t xs, real *out, ptrdiff_t os, ptrdiff_t n,
                                 real *e, const NAME(swept) *row, const NAME(normaliser) *by,
                                 const NAME(gradient) *gradient, real *in_buffer, real *out_buffer)
{
    if (e) {
        NAME(normalise_stored)(e, n, by);
        if (gradient)
            NAME(to_gradient)(e, 0, n, os, gradient);
        NAME(put)(e, out, os, n);
        return;
    }
    const NAME(frame) frame = NAME(frame_of)(row->state.n, &row->scaling);
    for (ptrdiff_t j = 0; j < n; j += BLOCK) {
        const ptrdiff_t length = n - j < BLOCK ? n - j : BLOCK;
        const real *from = NAME(take)(x + j * xs, xs, length, in_buffer);
        real *to = NAME(place)(out + j * os, os, out_buffer);
        if (row->scaling.scaled)
            NAME(normalise)(from, to, length, row->state.max, by, &frame, 1);
        else
            NAME(normalise)(from, to, length, row->state.max, by, &frame, 0);
        if (gradient)
            NAME(to_gradient)(to, j, length, os, gradient);
        NAME(put)(to, out + j * os, os, length);
    }
}

static void NAME(softmax)(const fl_rows *rows)
{
    const ptrdiff_t n = rows->n_classes, xs = rows->x_class, os = rows->out_class;
    const NAME(scaling) common = NAME(scaling_of)(rows->temperature);
    const int batch = NAME(batch_of)(n, os == 1 ? 4 * BLOCK : BLOCK);
    real buffer[BLOCK], spread[BLOCK]; /* the latter for batch * n exponentials, if os != 1 */
    for (ptrdiff_t i = 0; i < rows->n_rows; i += batch) {
        const int count = rows->n_rows - i < batch ? (int)(rows->n_rows - i) : batch;
        const real *x = (const real *)rows->x + i * rows->x_row;
        real *out = (real *)rows->out + i * rows->out_row;
        real *e = n > BLOCK ? NULL : os == 1 ? out : spread;
        const ptrdiff_t e_row = os == 1 ? rows->out_row : n;
        NAME(swept) swept[BATCH];
        NAME(sweep_batch)(rows, i, count, &common, buffer, e, e_row, os == 1 ? rows->out : NULL,
                          swept);
        double inverse[BATCH], inverse_lo[BATCH], largest[BATCH];
        for (int b = 0; b < count; b += FL_WIDTH_F64) {
            const row_state state = NAME(as_row_state)(swept + b, count - b);
            const normaliser_parts parts = finish_normaliser(&state);
            v_store(inverse + b, parts.inverse.hi);
            v_store(inverse_lo + b, parts.inverse.lo);
            v_store(largest + b, parts.largest.hi);
        }
        for (int b = 0; b < count; ++b) {
            real *to = out + b * rows->out_row;
            if (NAME(is_special)(&swept[b].state)) {
                NAME(fill)(to, os, n, (real)NAN);
                continue;
            }
            const NAME(normaliser) by = NAME(normaliser_of)(inverse[b], inverse_lo[b], largest[b]);
            NAME(finish_softmax)(x + b * rows->x_row, xs, to, os, n, e ? e + b * e_row : NULL,
                                 swept + b, &by, NULL, buffer, spread);
        }
    }
}

/* (x - max) / temperature - log, two terms of one sign. Where x - max overflows, of halves; where
   the quotient does, -inf. */
FL_INLINE void NAME(log_block)(const real *from, real *to, ptrdiff_t n, vec max, vec log,
                               const NAME(frame) *frame_, int scaled)
{
    const NAME(frame) frame = *frame_;
    const vec least = v_set1((real)-INFINITY), half = v_set1((real)0.5), two = v_set1((real)2);
    FOR_EACH_REGISTER(from, to, n, max, {
        const vec difference = v_sub(x, max);
        y = v_sub(difference, log);
        if (scaled) {
            const mask fits = v_ne(difference, least);
            const vec halves = v_sub(v_mul(x, half), v_mul(max, half));
            const vec d = v_select(fits, difference, halves);
            const vec unit = v_select(fits, v_set1((real)1), two);
            const vec inverse = v_mul(frame.inverse, unit);
            const vec lo = v_mul(d, v_mul(frame.inverse_lo, unit));
            const vec quotient = v_fma(d, inverse, v_sub(lo, log));
            const vec finite = v_select(v_ne(v_mul(d, inverse), least), quotient, least);
            y = v_select(v_ne(d, v_set1((real)0)), finite, y);
        }
    });
}

static void NAME(log_softmax)(const fl_rows *rows)
{
    const ptrdiff_t n = rows->n_classes, xs = rows->x_class, os = rows->out_class;
    const NAME(scaling) common = NAME(scaling_of)(rows->temperature);
    const NAME(frame) divide = NAME(frame_of)(0, &common);
    const int batch = NAME(batch_of)(n, 4 * BLOCK);
    real in_buffer[BLOCK], out_buffer[BLOCK];
    for (ptrdiff_t i = 0; i < rows->n_rows; i += batch) {
        const int count = rows->n_rows - i < batch ? (int)(rows->n_rows - i) : batch;
        NAME(swept) swept[BATCH];
        NAME(sweep_batch)(rows, i, count, &common, in_buffer, NULL, 0, os == 1 ? rows->out : NULL,
                          swept);
        double log[BATCH];
        for (int b = 0; b < count; b += FL_WIDTH_F64) {
            const row_state state = NAME(as_row_state)(swept + b, count - b);
            v_store(log + b, finish_log(&state).hi);
        }
        for (int b = 0; b < count; ++b) {
            const real *x = (const real *)rows->x + (i + b) * rows->x_row;
            real *out = (real *)rows->out + (i + b) * rows->out_row;
            if (NAME(is_special)(&swept[b].state)) {
                NAME(fill)(out, os, n, (real)NAN);
                continue;
            }
            const vec max = v_set1(swept[b].state.max), log_v = v_set1((real)log[b]);
            for (ptrdiff_t j = 0; j < n; j += BLOCK) {
                const ptrdiff_t length = n - j < BLOCK ? n - j : BLOCK;
                const real *from = NAME(take)(x + j * xs, xs, length, in_buffer);
                real *to = NAME(place)(out + j * os, os, out_buffer);
                if (common.scaled)
                    NAME(log_block)(from, to, length, max, log_v, &divide, 1);
                else
                    NAME(log_block)(from, to, length, max, log_v, &divide, 0);
                NAME(put)(to, out + j * os, os, length);
            }
        }
    }
}

static void NAME(logsumexp)(const fl_rows *rows)
{
    const NAME(scaling) common = NAME(scaling_of)(rows->temperature);
    real buffer[BLOCK];
    for (ptrdiff_t i = 0; i < rows->n_rows; i += BATCH) {
        const int count = rows->n_rows - i < BATCH ? (int)(rows->n_rows - i) : BATCH;
        NAME(swept) swept[BATCH];
        NAME(sweep_batch)(rows, i, count, &common, buffer, NULL, 0, NULL, swept);
        double sum[BATCH];
        for (int b = 0; b < count; b += FL_WIDTH_F64) {
            row_state state = NAME(as_row_state)(swept + b, count - b);
            const pair_f64 log = finish_log(&state);
            /* A huge row was finished relative to its largest logit. */
            for (int k = b; k < count && k < b + FL_WIDTH_F64; ++k)
                swept[k].scaling.offset = 0;
            state = NAME(as_row_state)(swept + b, count - b);
            v_store(sum + b, add_pairs(state.max, log).hi);
        }
        for (int b = 0; b < count; ++b) {
            const int special = NAME(is_special)(&swept[b].state);
            real *out = (real *)rows->out + (i + b) * rows->out_row;
            *out = (real)(special ? NAME(special_log)(&swept[b].state) : sum[b]);
        }
    }
}
