/*
 * Rows that are swept in parts: one that several threads share, and those that lie side by side and
 * are too long for the kernels' tiles.
 */
#include "compiler.h"
#include "fastlogits.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

int fl_has_classes(const fl_walk *walk)
{
    return walk->rows.out.data && fl_gives(walk->op) == FL_GIVES_ALL;
}

/* One row that all threads share. */
typedef struct {
    const fl_walk *walk;
    fl_rows row;
    fl_part part;
    double logit;
    atomic_int unfit; /* of any thread */
} shared;

static void run_part(void *context, ptrdiff_t begin, ptrdiff_t end)
{
    shared *all = context;
    const ptrdiff_t n = all->row.n_classes;
    int unfit = 0;
    fl_rows row = all->row;
    fl_part part = all->part;
    part.begin = begin * FL_PART;
    part.end = end * FL_PART < n ? end * FL_PART : n;
    part.unfit = &unfit;
    row.part = &part;
    if (begin > 0) /* one thread's is enough */
        row.losses = NULL;
    all->walk->kernel(&row);
    if (unfit)
        atomic_store_explicit(&all->unfit, 1, memory_order_relaxed);
}

fl_end fl_run_shared(const fl_walk *walk, ptrdiff_t i, int n_threads)
{
    const ptrdiff_t n = walk->rows.n_classes, n_parts = n / FL_PART + (n % FL_PART > 0);
    const ptrdiff_t step = FL_STEP / FL_PART;
    shared all = {.walk = walk, .row = fl_rows_from(walk, i, 1)};
    all.part.states = calloc((size_t)(n / FL_LEAST_BLOCK + 1), FL_STATE);
    all.part.logit = &all.logit;
    atomic_init(&all.unfit, 0);
    if (!all.part.states)
        return FL_UNFIT;
    all.part.first = 1;
    fl_end end = FL_DONE;
    if (!fl_parallel(run_part, &all, n_parts, step, n_threads))
        end = FL_STOPPED;
    else if (atomic_load(&all.unfit))
        end = FL_UNFIT;
    all.part.first = 0;
    if (end == FL_DONE && !fl_has_classes(walk))
        run_part(&all, 0, n_parts);
    else if (end == FL_DONE && !fl_parallel(run_part, &all, n_parts, step, n_threads))
        end = FL_STOPPED;
    free(all.part.states);
    return end;
}

int fl_are_tall(const fl_walk *walk)
{
    /* Of argmax, rows side by side are one for each lane. */
    const int takes_blocks = fl_takes(walk->op) == FL_TAKES_PARTS && walk->op != FL_ARGMAX;
    const ptrdiff_t block = FL_LEAST_BLOCK * (walk->rows.x.format == FL_F64 ? 1 : 2);
    const ptrdiff_t step = walk->ndim ? walk->x_stride[walk->ndim - 1] : 0;
    const int one_stride = !walk->rows.x.axes && !walk->rows.out.axes && !walk->rows.targets.axes;
    return takes_blocks && one_stride && walk->rows.n_classes > block && step != 0 &&
           llabs(step) <= 8 && llabs(walk->rows.x.class) > llabs(step);
}

/* So many tall rows are brought together, of so many classes each. From row to row it is a cache
   line more, as caches have no room for much that is a power of two apart. */
enum { TALL_ROWS = 64, TALL_CLASSES = 2 * FL_LEAST_BLOCK, TALL_ROW = TALL_CLASSES * 8 + 64 };
enum { TALL_X, TALL_TARGETS, TALL_OUT, TALL_HESS, TALL_ARRAYS };

/* Classes [begin, end) of n rows, between an array and a place where each row is contiguous. The
   hardware, which does not look beyond a page, would not fetch what comes next. */
#define MOVE_TALL(SIZE)                                                                            \
    for (ptrdiff_t j = begin; j < end; ++j) {                                                      \
        char *first = (char *)view->data + j * view->class;                                        \
        for (int b = 0; b < n * (SIZE); b += 64)                                                   \
            FL_PREFETCH(first + 16 * view->class + b);                                             \
        for (int i = 0; i < n; ++i) {                                                              \
            char *at = first + i * view->row;                                                      \
            char *own = place + i * TALL_ROW + (j - begin) * (SIZE);                               \
            memcpy(load ? own : at, load ? at : own, SIZE);                                        \
        }                                                                                          \
    }
static void move_tall(const fl_view *view, int n, ptrdiff_t begin, ptrdiff_t end, char *place,
                      int load)
{
    switch (fl_format_size(view->format)) {
    case 1:
        MOVE_TALL(1)
        break;
    case 2:
        MOVE_TALL(2)
        break;
    case 4:
        MOVE_TALL(4)
        break;
    default:
        MOVE_TALL(8)
    }
}

/* Row i of them, as if all its classes were there. */
static fl_view tall_view(const fl_view *view, char *place, int i, ptrdiff_t begin)
{
    const ptrdiff_t size = fl_format_size(view->format);
    const uintptr_t first = (uintptr_t)(place + i * TALL_ROW) - (uintptr_t)(begin * size);
    return (fl_view){(void *)first, 0, size, view->format, NULL};
}

/* Tall rows that are swept together, each in parts. */
typedef struct {
    const fl_walk *walk;
    ptrdiff_t begin;
    int n;
    fl_part part[TALL_ROWS];
    double logit[TALL_ROWS];
    int unfit;
    char *places; /* TALL_ROWS of TALL_ROW bytes for each of the arrays */
} tall;

/* Row i of them, of which a sweep takes classes [begin, end). */
static fl_rows tall_row(tall *all, int i, ptrdiff_t begin, ptrdiff_t end, int first)
{
    fl_rows row = fl_rows_from(all->walk, all->begin + i, 1);
    all->part[i].begin = begin;
    all->part[i].end = end;
    all->part[i].first = first;
    row.part = all->part + i;
    if (begin > 0)
        row.losses = NULL;
    return row;
}

/* Classes [begin, end) of them, which are brought together and, in the second sweep, their results
   back. */
static void sweep_classes(tall *all, ptrdiff_t begin, ptrdiff_t end, int first)
{
    const fl_rows rows = fl_rows_from(all->walk, all->begin, all->n);
    const fl_view *views[TALL_ARRAYS] = {&rows.x, &rows.targets, &rows.out, &rows.hess};
    char *places[TALL_ARRAYS];
    for (int k = 0; k < TALL_ARRAYS; ++k) {
        places[k] = all->places + (ptrdiff_t)k * TALL_ROWS * TALL_ROW;
        if (views[k]->data && k <= TALL_TARGETS)
            move_tall(views[k], all->n, begin, end, places[k], 1);
    }
    for (int i = 0; i < all->n; ++i) {
        fl_rows row = tall_row(all, i, begin, end, first);
        fl_view *const own[TALL_ARRAYS] = {&row.x, &row.targets, &row.out, &row.hess};
        for (int k = 0; k < TALL_ARRAYS; ++k)
            if (views[k]->data)
                *own[k] = tall_view(views[k], places[k], i, begin);
        all->walk->kernel(&row);
    }
    for (int k = TALL_OUT; !first && k < TALL_ARRAYS; ++k)
        if (views[k]->data)
            move_tall(views[k], all->n, begin, end, places[k], 0);
}

static void sweep_tall(tall *all, int first)
{
    const ptrdiff_t n = all->walk->rows.n_classes;
    for (ptrdiff_t j = 0; j < n; j += TALL_CLASSES)
        sweep_classes(all, j, j + TALL_CLASSES < n ? j + TALL_CLASSES : n, first);
}

/* The second sweep where there is one result for each row. */
static void finish_tall(tall *all)
{
    for (int i = 0; i < all->n; ++i) {
        const fl_rows row = tall_row(all, i, 0, all->walk->rows.n_classes, 0);
        all->walk->kernel(&row);
    }
}

/* n <= TALL_ROWS rows from `begin` on. Returns 0, with nothing written, if they have to be swept
   one after another. */
static int run_tall(const fl_walk *walk, ptrdiff_t begin, int n, char *places)
{
    const ptrdiff_t blocks = walk->rows.n_classes / FL_LEAST_BLOCK + 1;
    tall all = {.walk = walk, .begin = begin, .n = n, .places = places};
    char *states = calloc((size_t)(n * blocks), FL_STATE);
    if (!states)
        return 0;
    for (int i = 0; i < n; ++i) {
        all.part[i].states = states + i * blocks * FL_STATE;
        all.part[i].logit = all.logit + i;
        all.part[i].unfit = &all.unfit;
    }
    sweep_tall(&all, 1);
    if (!all.unfit && fl_has_classes(walk))
        sweep_tall(&all, 0);
    else if (!all.unfit)
        finish_tall(&all);
    free(states);
    return !all.unfit;
}

ptrdiff_t fl_run_tall(const fl_walk *walk, ptrdiff_t begin, ptrdiff_t end)
{
    char *places = malloc(TALL_ARRAYS * TALL_ROWS * TALL_ROW);
    while (places && begin < end) {
        const ptrdiff_t most = end - begin < TALL_ROWS ? end - begin : TALL_ROWS;
        const fl_rows rows = fl_rows_from(walk, begin, most);
        if (!run_tall(walk, begin, (int)rows.n_rows, places))
            walk->kernel(&rows);
        begin += rows.n_rows;
    }
    free(places);
    return begin;
}
