#define _POSIX_C_SOURCE 200112L
#include "call.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* To the sanitizers: memory that holds nothing yet, and memory that is not to be touched at all. */
#define SET_NOTHING(p, n) ((void)(p), (void)(n))
#define FORBID(p, n) ((void)(p), (void)(n))
#define ALLOW(p, n) ((void)(p), (void)(n))
#ifdef __has_feature
#if __has_feature(memory_sanitizer)
#include <sanitizer/msan_interface.h>
#undef SET_NOTHING
#undef ALLOW
#define SET_NOTHING(p, n) __msan_poison(p, n)
#define ALLOW(p, n) __msan_unpoison(p, n)
#elif __has_feature(address_sanitizer)
#include <sanitizer/asan_interface.h>
#undef FORBID
#undef ALLOW
#define FORBID(p, n) __asan_poison_memory_region(p, n)
#define ALLOW(p, n) __asan_unpoison_memory_region(p, n)
#endif
#endif

/* --------------------------------------- Numbers as bits ---------------------------------------
 */

static const struct {
    int size, mantissa;
} formats[] = {
    [FL_F32] = {4, 23},      [FL_F64] = {8, 52},       [FL_F16] = {2, 10},
    [FL_BF16] = {2, 7},      [FL_BOOL] = {1, MISSING}, [FL_I8] = {1, MISSING},
    [FL_U8] = {1, MISSING},  [FL_I16] = {2, MISSING},  [FL_U16] = {2, MISSING},
    [FL_I32] = {4, MISSING}, [FL_U32] = {4, MISSING},  [FL_I64] = {8, MISSING},
    [FL_U64] = {8, MISSING},
};

int mantissa_bits(int format) { return formats[format % FL_SWAPPED].mantissa; }

/* It wraps around, as it is meant to. */
uint64_t scramble(uint64_t h, uint64_t value)
{
    h = (h ^ value) * UINT64_C(0x9e3779b97f4a7c15);
    return h ^ h >> 29;
}

int element_size(int format) { return formats[format % FL_SWAPPED].size; }

/* All bits but the sign and the mantissa. */
uint64_t infinity_of(int format)
{
    const int width = 8 * element_size(format), mantissa = mantissa_bits(format);
    return ((UINT64_C(1) << (width - 1 - mantissa)) - 1) << mantissa;
}

/* The library promises that a result is NaN, not which: processors differ in the sign and the
   payload of those they make. */
uint64_t one_nan(uint64_t bits, int format)
{
    if (mantissa_bits(format) == MISSING)
        return bits;
    const uint64_t infinity = infinity_of(format);
    const uint64_t sign = UINT64_C(1) << (8 * element_size(format) - 1);
    return (bits & ~sign) > infinity ? infinity | 1 : bits;
}

static uint64_t swapped(uint64_t bits, size_t size)
{
    uint64_t turned = 0;
    for (size_t i = 0; i < size; ++i)
        turned = turned << 8 | (bits >> 8 * i & 0xff);
    return turned;
}

/* As the processor reads them. */
static uint64_t load_bits(const unsigned char *at, size_t size)
{
    uint16_t two;
    uint32_t four;
    uint64_t eight;
    switch (size) {
    case 1:
        return *at;
    case 2:
        memcpy(&two, at, 2);
        return two;
    case 4:
        memcpy(&four, at, 4);
        return four;
    default:
        memcpy(&eight, at, 8);
        return eight;
    }
}

static void store_bits(unsigned char *at, size_t size, uint64_t bits)
{
    const uint8_t one = (uint8_t)(bits & 0xff);
    const uint16_t two = (uint16_t)(bits & 0xffff);
    const uint32_t four = (uint32_t)(bits & 0xffffffff);
    const void *const from[] = {[1] = &one, [2] = &two, [4] = &four, [8] = &bits};
    memcpy(at, from[size], size);
}

/* ------------------------------------------- Arrays --------------------------------------------
 */

typedef struct {
    int format, ndim;
    ptrdiff_t shape[DIMS];
    const ptrdiff_t *stride;
    unsigned char *memory, *first; /* NULL: there is no such array */
    size_t size;
} array;

/* What memory holds before anything is written, and how many bytes of it there are beside an array,
   for what no sanitizer sees: a register that is stored under a mask. */
enum { UNTOUCHED = 0xa5, MARGIN = 64 };

static void *allocate(size_t size)
{
    void *memory = NULL;
    if (posix_memalign(&memory, 64, size)) {
        fputs("out of memory\n", stderr);
        exit(2);
    }
    return memory;
}

int array_shape(const call *c, int which, ptrdiff_t *shape)
{
    memcpy(shape, c->shape, sizeof c->shape);
    if (which >= OUT && gives(c->op) == FL_GIVES_ONE)
        return c->row_dims;
    if (which < OUT || gives(c->op) != FL_GIVES_FIRST)
        return c->ndim;
    shape[c->row_dims] = c->k;
    return c->row_dims + 1;
}

void lay_out(int ndim, const ptrdiff_t *shape, const int *order, ptrdiff_t step, ptrdiff_t gap,
             ptrdiff_t *stride)
{
    for (int i = 0; i < ndim; ++i) {
        stride[order[i]] = step;
        step = step * shape[order[i]] + gap;
    }
}

static size_t count(const array *a)
{
    size_t n = a->format == MISSING ? 0 : 1;
    for (int d = 0; d < a->ndim; ++d)
        n *= (size_t)a->shape[d];
    return n;
}

static array new_array(const call *c, const places *at, int which)
{
    array a = {.format = c->format[which], .stride = at->stride[which]};
    if (a.format == MISSING)
        return a;
    ptrdiff_t low = 0, high = element_size(a.format);
    a.ndim = array_shape(c, which, a.shape);
    for (int d = 0; d < a.ndim; ++d) {
        const ptrdiff_t reach = (a.shape[d] - 1) * a.stride[d];
        low += reach < 0 ? reach : 0;
        high += reach > 0 ? reach : 0;
    }
    if (count(&a) == 0)
        low = high = 0;
    const size_t before = (size_t)(MARGIN + at->lead[which]), own = (size_t)(high - low);
    a.size = before + own + MARGIN;
    a.memory = allocate(a.size);
    a.first = a.memory + before - low;
    memset(a.memory, UNTOUCHED, a.size);
    SET_NOTHING(a.memory, a.size);
    FORBID(a.memory, before);
    FORBID(a.memory + before + own, MARGIN);
    return a;
}

static void free_array(const array *a)
{
    if (a->first)
        ALLOW(a->memory, a->size);
    free(a->memory);
}

/* What to do with elements: make them of their bits, read these, or that and leave UNTOUCHED. */
enum { FILL, READ, TAKE };

static void visit(const array *a, int d, unsigned char *at, int how, uint64_t **bits)
{
    const size_t size = (size_t)element_size(a->format);
    const int turned = a->format >= FL_SWAPPED;
    if (d < a->ndim - 1) {
        for (ptrdiff_t i = 0; i < a->shape[d]; ++i)
            visit(a, d + 1, at + i * a->stride[d], how, bits);
        return;
    }
    const ptrdiff_t n = a->ndim ? a->shape[d] : 1, stride = a->ndim ? a->stride[d] : 0;
    for (ptrdiff_t i = 0; i < n; ++i) {
        unsigned char *element = at + i * stride;
        if (how == FILL) {
            const uint64_t own = *(*bits)++;
            store_bits(element, size, turned ? swapped(own, size) : own);
            continue;
        }
        const uint64_t own = load_bits(element, size);
        *(*bits)++ = one_nan(turned ? swapped(own, size) : own, a->format);
        if (how == TAKE)
            memset(element, UNTOUCHED, size);
    }
}

static void visit_all(const array *a, int how, uint64_t **bits)
{
    if (count(a))
        visit(a, 0, a->first, how, bits);
}

static void fill(const array *a, const uint64_t *bits)
{
    uint64_t *from = (uint64_t *)(uintptr_t)bits;
    visit_all(a, FILL, &from);
}

/* Whether the elements of an input are as they were. */
static int has_kept(const array *a, const uint64_t *bits)
{
    const size_t n = count(a);
    uint64_t *now = allocate(sizeof *now * n), *end = now;
    int kept = 1;
    visit_all(a, READ, &end);
    for (size_t i = 0; i < n; ++i)
        kept &= now[i] == one_nan(bits[i], a->format);
    free(now);
    return kept;
}

/* Whether nothing else was written in the memory of a result, now that the elements are taken. */
static int has_kept_gaps(const array *a)
{
    ALLOW(a->memory, a->size);
    for (size_t i = 0; i < a->size; ++i)
        if (a->memory[i] != UNTOUCHED)
            return 0;
    return 1;
}

void settle(const call *c, const places *at, int which, uint64_t *bits)
{
    const array a = new_array(c, at, which);
    fill(&a, bits);
    visit_all(&a, READ, &bits);
    free_array(&a);
}

/* -------------------------------------------- Calls --------------------------------------------
 */

/* Of a classifier's scores. */
enum { BINS = 15, SUMS = FL_TOTALS + FL_IN_BIN * BINS };

static fl_view view_of(const call *c, const array *a, fl_axes *axes)
{
    fl_view view = {.data = a->first, .format = a->format};
    if (!a->first)
        return view;
    view.class = element_size(a->format); /* where there is one result for each row */
    axes->ndim = 0;
    for (int d = c->row_dims; d < a->ndim; ++d)
        fl_axes_add(axes, a->shape[d], a->stride[d]);
    if (axes->ndim == 1)
        view.class = axes->stride[0];
    else if (axes->ndim > 1)
        view.axes = axes;
    return view;
}

static size_t row_count(const call *c)
{
    size_t n = 1;
    for (int d = 0; d < c->row_dims; ++d)
        n *= (size_t)c->shape[d];
    return n;
}

static void keep_doubles(const double *values, size_t n, uint64_t **bits)
{
    for (size_t i = 0; i < n; ++i)
        *(*bits)++ = one_nan(load_bits((const unsigned char *)(values + i), 8), FL_F64);
}

/* Of scores and calibration: what is set of the figures, and their sums. */
static void keep_figures(const call *c, const fl_walk *walk, size_t n_rows, int n_threads,
                         uint64_t **bits)
{
    for (size_t i = 0; i < n_rows; ++i) {
        const double *figures = walk->rows.figures + i * FL_FIGURES;
        if (figures[FL_RANK] < 0)
            keep_doubles(figures + FL_RANK, 1, bits);
        else
            keep_doubles(figures, FL_FIGURES, bits);
    }
    double *sums = allocate(8 * SUMS * (size_t)fl_score_groups(walk));
    fl_scores_run(walk, c->k, BINS, sums, n_threads);
    keep_doubles(sums, SUMS, bits);
    free(sums);
}

/* The losses as a sum, which has no room for each, and without their gradient. */
static void keep_sum_of_losses(const fl_walk *walk, int n_threads, uint64_t **bits)
{
    const ptrdiff_t n_sums = fl_loss_sums(walk);
    fl_walk alone = *walk;
    alone.rows.losses = NULL;
    alone.rows.out.data = alone.rows.hess.data = NULL;
    alone.sums = allocate(8 * (size_t)n_sums);
    fl_walk_run(&alone, n_threads);
    const double sum = walk->sum(alone.sums, n_sums);
    keep_doubles(&sum, 1, bits);
    free(alone.sums);
}

static void run_rows(const call *c, const fl_table *table, const fl_kernels *kernels,
                     const array *arrays, int n_threads, uint64_t **bits)
{
    const size_t n_rows = row_count(c);
    fl_axes axes[ARRAYS];
    fl_walk walk = {.kernel = kernels->rows[c->op], .op = c->op, .sum = table->sum};
    fl_rows *rows = &walk.rows;
    rows->n_classes = 1;
    for (int d = c->row_dims; d < c->ndim; ++d)
        rows->n_classes *= c->shape[d];
    rows->x = view_of(c, arrays + X, axes + X);
    rows->out = view_of(c, arrays + OUT, axes + OUT);
    rows->targets = view_of(c, arrays + TARGETS, axes + TARGETS);
    rows->hess = view_of(c, arrays + BESIDE, axes + BESIDE);
    rows->temperature = c->temperature;
    rows->k = 1;
    if (takes_labels(c->op)) {
        rows->loss = &c->loss;
        rows->labels = c->labels;
        rows->row_weight = c->row_weight;
        if (c->op == FL_CROSS_ENTROPY)
            rows->losses = allocate(8 * n_rows);
        else
            rows->figures = allocate(8 * FL_FIGURES * n_rows);
    }
    if (c->op == FL_TOP_K) {
        rows->k = c->k;
        rows->smallest = c->smallest;
        rows->sorted = c->sorted;
    }
    if (c->op == FL_TOP_K || c->op == FL_ARGMAX)
        rows->indices = allocate(sizeof *rows->indices * n_rows * (size_t)rows->k);
    for (int d = 0; d < c->row_dims; ++d)
        fl_walk_add(&walk, c->shape[d], arrays[X].stride[d],
                    arrays[OUT].first ? arrays[OUT].stride[d] : 0,
                    arrays[TARGETS].first ? arrays[TARGETS].stride[d] : 0);
    if (rows->losses) /* before out, which may be x, is written */
        keep_sum_of_losses(&walk, n_threads, bits);
    fl_walk_run(&walk, n_threads);
    if (rows->losses)
        keep_doubles(rows->losses, n_rows, bits);
    for (size_t i = 0; rows->indices && i < n_rows * (size_t)rows->k; ++i)
        *(*bits)++ = (uint64_t)rows->indices[i];
    if (rows->figures)
        keep_figures(c, &walk, n_rows, n_threads, bits);
    free(rows->losses);
    free(rows->indices);
    free(rows->figures);
}

/* The first result says whether a target was not in [0, 1], by either kernel. */
static void run_pieces(const call *c, const fl_kernels *kernels, const array *arrays, int n_threads,
                       uint64_t **bits)
{
    static const int operand_of[ARRAYS] = {[X] = FL_LOGITS,
                                           [TARGETS] = FL_TARGETS,
                                           [POS_WEIGHT] = FL_POS_WEIGHT,
                                           [SAMPLE_WEIGHT] = FL_SAMPLE_WEIGHT,
                                           [OUT] = FL_GRADIENT,
                                           [BESIDE] = FL_LOSSES};
    fl_pieces pieces = {.format = c->own,
                        .n = (ptrdiff_t)count(arrays + X),
                        .label_smoothing = c->loss.label_smoothing,
                        .grad_scale = c->loss.grad_scale};
    for (int k = 0; k < ARRAYS; ++k) {
        fl_operand *operand = pieces.operands + operand_of[k];
        operand->data = arrays[k].first;
        operand->format = arrays[k].format;
        for (int d = 0; arrays[k].first && d < c->ndim; ++d)
            fl_axes_add(&operand->axes, arrays[k].shape[d], arrays[k].stride[d]);
    }
    const size_t n_pieces = ((size_t)pieces.n + FL_PIECE - 1) / FL_PIECE;
    pieces.sums = allocate(8 * n_pieces);
    pieces.kernel = kernels->binary_cross_entropy;
    int outside, looked;
    fl_pieces_run(&pieces, n_threads, &outside);
    fl_pieces look = {.operands[FL_TARGETS] = pieces.operands[FL_TARGETS],
                      .format = c->own,
                      .n = pieces.n,
                      .kernel = kernels->outside_unit,
                      .sums = pieces.sums};
    fl_pieces_run(&look, n_threads, &looked);
    *(*bits)++ = (uint64_t)outside << 1 | (uint64_t)looked;
    keep_doubles(pieces.sums, n_pieces, bits);
    free(pieces.sums);
}

results run_call(const call *c, const places *at, const fl_table *table, int n_threads)
{
    const fl_kernels *kernels = c->own == FL_F32 ? &table->f32 : &table->f64;
    array arrays[ARRAYS];
    size_t most = SUMS;
    for (int k = 0; k < ARRAYS; ++k) {
        arrays[k] = k == OUT && at->in_place ? arrays[X] : new_array(c, at, k);
        if (k < INPUTS && arrays[k].first)
            fill(arrays + k, c->bits[k]);
        most += 2 * count(arrays + k) + row_count(c); /* more than what any operation gives */
    }
    results got = {.bits = allocate(sizeof *got.bits * most)};
    uint64_t *end = got.bits;
    if (c->op == BINARY_CROSS_ENTROPY)
        run_pieces(c, kernels, arrays, n_threads, &end);
    else
        run_rows(c, table, kernels, arrays, n_threads, &end);
    visit_all(arrays + OUT, TAKE, &end);
    visit_all(arrays + BESIDE, TAKE, &end);
    got.n = (size_t)(end - got.bits);
    for (int k = 0; k < ARRAYS; ++k) {
        if (k == OUT && at->in_place)
            continue; /* it was x */
        const int written = k >= INPUTS || (k == X && at->in_place);
        if (arrays[k].first)
            got.trespassed |=
                written ? !has_kept_gaps(arrays + k) : !has_kept(arrays + k, c->bits[k]);
        free_array(arrays + k);
    }
    return got;
}
