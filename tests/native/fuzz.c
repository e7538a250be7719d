/*
 * A libFuzzer entry: bytes become a call of the C entry points, as its contract allows it, which
 * every table has to compute within its arrays, and with the bits that the portable one gives for
 * the same numbers in contiguous arrays.
 */
#include "call.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_ELEMENTS = 3000, MOST_OF_LONG_ROWS = 20000 };

/* -------------------------------------------- Bytes --------------------------------------------
 */

static const uint8_t *input;
static size_t input_left;

/* 0 once there are no more. */
static unsigned byte(void)
{
    if (!input_left)
        return 0;
    --input_left;
    return *input++;
}

static uint64_t bytes(int n)
{
    uint64_t value = 0;
    for (int i = 0; i < n; ++i)
        value = value << 8 | byte();
    return value;
}

static ptrdiff_t below(ptrdiff_t n) { return (ptrdiff_t)bytes(n > 256 ? 2 : 1) % n; }

static int one_in(unsigned n) { return byte() % n == n - 1; }

/* Not negative; `other` in place of NaN and, unless `infinite`, of infinities. */
static double size_or(double other, int infinite)
{
    const uint64_t bits = bytes(8) & ~(UINT64_C(1) << 63);
    double value;
    memcpy(&value, &bits, sizeof value);
    return value <= (infinite ? (double)INFINITY : DBL_MAX) ? value : other;
}

/* ------------------------------------------- Numbers -------------------------------------------
 */

/* Few different numbers, of which eight are any bits and eight the ends of the format. */
static void make_pool(int format, uint64_t pool[16])
{
    const int width = 8 * element_size(format), mantissa = mantissa_bits(format);
    const uint64_t sign = UINT64_C(1) << (width - 1);
    for (int i = 0; i < 8; ++i)
        pool[i] = bytes(element_size(format));
    for (int i = 8; i < 16; ++i)
        pool[i] = mantissa == MISSING ? (uint64_t)(int64_t)(i - 12) & (sign | (sign - 1))
                                      : infinity_of(format);
    if (mantissa == MISSING)
        return;
    pool[9] |= sign;
    pool[10] |= 1; /* NaN */
    pool[11] -= 1; /* the largest number */
    pool[12] = 0;
    pool[13] = sign;
    pool[14] = 1;
    pool[15] = UINT64_C(1) << mantissa; /* the least normal one */
}

/* Some of the pool, others of moderate size. */
static uint64_t *make_numbers(int format, size_t n)
{
    const int width = 8 * element_size(format), mantissa = mantissa_bits(format);
    const unsigned share = byte() % 17, mask = byte();
    const uint64_t seed = bytes(4), one = mantissa == MISSING ? 0 : infinity_of(format) >> 1;
    uint64_t pool[16], *numbers = malloc(sizeof *numbers * (n + 1));
    make_pool(format, pool);
    for (size_t i = 0; i < n; ++i) {
        const uint64_t r = scramble(scramble(seed, i), 1);
        if (r % 16 < share)
            numbers[i] = pool[(r >> 8 & 15) & mask];
        else if (mantissa == MISSING)
            numbers[i] = r >> (64 - width);
        else
            numbers[i] = (r >> 63 << (width - 1)) |
                         ((one >> mantissa << mantissa) + ((r >> 40 & 7) << mantissa)) |
                         (r >> 8 & ((UINT64_C(1) << mantissa) - 1));
    }
    return numbers;
}

/* -------------------------------------------- Calls --------------------------------------------
 */

static int any_format(void)
{
    const int format = (int)(byte() % (FL_U64 + 1));
    return format + (one_in(4) ? FL_SWAPPED : 0);
}

static int any_float_format(void)
{
    const int format = (int)(byte() % (FL_BF16 + 1));
    return format + (one_in(4) ? FL_SWAPPED : 0);
}

static size_t count(const call *c, int first, int end)
{
    size_t n = 1;
    for (int d = first; d < end; ++d)
        n *= (size_t)c->shape[d];
    return n;
}

/* One long dimension, or several short ones. */
static void choose_shape(call *c)
{
    static const ptrdiff_t rows[] = {3, 10, 10, 140, 140, 300, 2, 3};
    static const ptrdiff_t classes[] = {20, 40, 70, 40, 140, 10, 9000, 5000};
    const unsigned kind = byte();
    const int class_dims = one_in(4) ? 2 : 1;
    c->row_dims = (int)(byte() % 3);
    c->ndim = c->row_dims + class_dims;
    for (int d = 0; d < c->row_dims; ++d)
        c->shape[d] = d ? below(8) : below(rows[kind % 8] + 1);
    for (int d = c->row_dims; d < c->ndim; ++d)
        c->shape[d] = d > c->row_dims ? below(5) : below(classes[kind % 8] + 1);
    /* Enough parts for two threads; the results then have no classes. */
    if (kind == 255 && takes(c->op) == FL_TAKES_PARTS && gives(c->op) != FL_GIVES_ALL) {
        c->row_dims = 0;
        c->ndim = 1;
        c->shape[0] = 4 * FL_PART + below(5000);
    }
    const int may_be_empty = takes(c->op) == FL_TAKES_ELEMENTS || c->op == FL_SOFTMAX ||
                             c->op == FL_LOG_SOFTMAX || c->op == FL_LOGSUMEXP;
    for (int d = c->row_dims; d < c->ndim; ++d)
        if (c->shape[d] == 0 && !may_be_empty)
            c->shape[d] = 1;
    const size_t most = kind % 8 < 6 ? MOST_ELEMENTS : MOST_OF_LONG_ROWS;
    for (int d = 0; kind != 255 && count(c, 0, c->ndim) > most; ++d)
        c->shape[d % c->ndim] = (c->shape[d % c->ndim] + 1) / 2;
}

static void choose_formats(call *c)
{
    const int binary = c->op == BINARY_CROSS_ENTROPY, loss = c->op == FL_CROSS_ENTROPY;
    for (int k = 0; k < ARRAYS; ++k)
        c->format[k] = MISSING;
    c->own = one_in(2) ? FL_F32 : FL_F64;
    c->format[X] = one_in(2) ? any_format() : any_float_format();
    if (gives(c->op) == FL_GIVES_FIRST)
        c->format[OUT] = c->own;
    else if (gives(c->op) != FL_GIVES_NOTHING && !((loss || binary) && one_in(2)))
        c->format[OUT] = any_float_format();
    if (binary || (loss && one_in(2)))
        c->format[TARGETS] = any_format();
    if (binary && one_in(2))
        c->format[POS_WEIGHT] = any_float_format();
    if (binary && one_in(2))
        c->format[SAMPLE_WEIGHT] = any_float_format();
    if (binary && one_in(2))
        c->format[BESIDE] = any_float_format();
    if (loss && c->format[OUT] != MISSING && one_in(2))
        c->format[BESIDE] = c->format[OUT];
}

static double *choose_weights(size_t n)
{
    double pool[4], *weights = malloc(sizeof *weights * n);
    const unsigned step = byte();
    for (int i = 0; i < 4; ++i)
        pool[i] = one_in(4) ? size_or(1, 1) : byte() / 16.0;
    for (size_t i = 0; i < n; ++i)
        weights[i] = pool[(i + i * step / 16) % 4];
    return weights;
}

static int64_t *choose_labels(size_t n, size_t n_classes)
{
    int64_t pool[16], *labels = malloc(sizeof *labels * n);
    const unsigned step = byte();
    for (int i = 0; i < 16; ++i) {
        pool[i] = (int64_t)(bytes(2) % (n_classes + 2)) - 1;
        if (one_in(4)) {
            const uint64_t any = bytes(8);
            memcpy(pool + i, &any, sizeof any);
        }
    }
    for (size_t i = 0; i < n; ++i)
        labels[i] = pool[(i + i * step / 16) % 16];
    return labels;
}

/* Where an array lies; the dimensions of an input may be one and the same element. */
static void choose_place(const call *c, int which, places *at)
{
    const int size = element_size(c->format[which]), dense = which == OUT && c->op == FL_TOP_K;
    ptrdiff_t shape[DIMS];
    int order[DIMS];
    const int ndim = array_shape(c, which, shape);
    for (int d = 0; d < ndim; ++d)
        order[d] = ndim - 1 - d;
    for (int i = 0; !dense && i < ndim; ++i) {
        const int j = i + (int)below(ndim - i), d = order[i];
        order[i] = order[j];
        order[j] = d;
    }
    const unsigned how = byte();
    const ptrdiff_t step =
        dense ? size : size * (1 + (ptrdiff_t)(how & 1)) + (how & 2 ? below(16) : 0);
    lay_out(ndim, shape, order, step, dense ? 0 : how & 4 ? below(70) : 0, at->stride[which]);
    const unsigned turned = how & 8 && !dense ? byte() : 0;
    const unsigned same = how & 16 && which < INPUTS && !at->in_place ? byte() : 0;
    for (int d = 0; d < ndim; ++d)
        at->stride[which][d] *= same >> d & 1 ? 0 : turned >> d & 1 ? -1 : 1;
    at->lead[which] = how & 32 ? (dense ? size * below(8) : below(64)) : 0;
}

static places choose_places(const call *c)
{
    places at = {.in_place = 0};
    at.in_place = c->format[X] == c->format[OUT] && one_in(3) && gives(c->op) == FL_GIVES_ALL;
    for (int k = 0; k < ARRAYS; ++k)
        if (c->format[k] != MISSING)
            choose_place(c, k, &at);
    if (at.in_place)
        memcpy(at.stride[OUT], at.stride[X], sizeof at.stride[X]);
    if (c->op == FL_CROSS_ENTROPY)
        memcpy(at.stride[BESIDE], at.stride[OUT], sizeof at.stride[OUT]);
    return at;
}

static places contiguous(const call *c)
{
    places at = {.in_place = 0};
    for (int k = 0; k < ARRAYS; ++k) {
        ptrdiff_t shape[DIMS];
        int order[DIMS];
        const int ndim = array_shape(c, k, shape);
        for (int d = 0; d < ndim; ++d)
            order[d] = ndim - 1 - d;
        if (c->format[k] != MISSING)
            lay_out(ndim, shape, order, element_size(c->format[k]), 0, at.stride[k]);
    }
    return at;
}

/* ------------------------------------------- Compare -------------------------------------------
 */

static void fail(const call *c, const fl_table *table, const char *what, size_t i)
{
    fprintf(stderr, "%s: operation %d of FL_%s, formats", table->name, c->op,
            c->own == FL_F32 ? "F32" : "F64");
    for (int k = 0; k < ARRAYS; ++k)
        fprintf(stderr, " %d", c->format[k]);
    fprintf(stderr, ", %d dimensions of rows, shape", c->row_dims);
    for (int d = 0; d < c->ndim; ++d)
        fprintf(stderr, " %td", c->shape[d]);
    fprintf(stderr, ": %s (result %zu)\n", what, i);
    abort();
}

static void check(const call *c, const places *at, int n_threads)
{
    const fl_table *const *tables;
    const int n_tables = fl_tables(&tables);
    const places plain = contiguous(c);
    const results want = run_call(c, &plain, tables[n_tables - 1], 1);
    for (int t = 0; t < n_tables; ++t) {
        const results got = run_call(c, at, tables[t], n_threads);
        if (got.trespassed)
            fail(c, tables[t], "wrote where it should not", 0);
        for (size_t i = 0; i < want.n; ++i)
            if (got.bits[i] != want.bits[i])
                fail(c, tables[t], "other bits than in contiguous arrays", i);
        free(got.bits);
    }
    free(want.bits);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    input = data;
    input_left = size;
    /* The first byte of a seed is the operation, however many more there come to be. */
    call c = {.op = (int)(byte() % (FL_OPERATIONS + 1)) - 1, .temperature = 1};
    uint64_t *numbers[INPUTS] = {NULL};
    int64_t *labels = NULL;
    double *class_weight = NULL, *row_weight = NULL;
    choose_shape(&c);
    choose_formats(&c);
    const size_t n_rows = count(&c, 0, c.row_dims), n_classes = count(&c, c.row_dims, c.ndim);
    if (c.op != FL_CROSS_ENTROPY && one_in(4))
        c.temperature = size_or(1, 0);
    if (c.temperature == 0)
        c.temperature = 1;
    c.k = 1 + (ptrdiff_t)(bytes(2) % (n_classes ? n_classes : 1));
    c.smallest = one_in(2);
    c.sorted = one_in(2);
    c.loss.grad_scale = one_in(4) ? size_or(1, 1) : 1;
    c.loss.hess_scale = one_in(4) ? size_or(1, 0) : 2;
    c.loss.label_smoothing = one_in(2) ? byte() / 255.0 : 0;
    c.loss.z_loss = one_in(4) ? size_or(1, 0) : 0;
    if (gives(c.op) == FL_GIVES_NOTHING)
        c.loss = (fl_loss){0};
    if (takes_labels(c.op)) {
        c.loss.ignore_index = (int64_t)byte() - 128;
        if (c.op == FL_CROSS_ENTROPY && one_in(2))
            c.loss.class_weight = class_weight = choose_weights(n_classes);
        if (one_in(2))
            c.row_weight = row_weight = choose_weights(n_rows);
        if (c.format[TARGETS] == MISSING)
            c.labels = labels = choose_labels(n_rows, n_classes);
    }
    const places at = choose_places(&c);
    const int n_threads = 1 + (int)below(2);
    for (int k = 0; k < INPUTS; ++k)
        if (c.format[k] != MISSING) {
            c.bits[k] = numbers[k] = make_numbers(c.format[k], n_rows * n_classes);
            settle(&c, &at, k, numbers[k]);
        }
    check(&c, &at, n_threads);
    for (int k = 0; k < INPUTS; ++k)
        free(numbers[k]);
    free(labels);
    free(class_weight);
    free(row_weight);
    return 0;
}
