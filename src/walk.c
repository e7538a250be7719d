/*
 * From arrays of any number of dimensions to blocks of rows with one stride, and from these to the
 * threads.
 */
#include "fastlogits.h"

#include <stdlib.h>

int fl_walk_add(fl_walk *walk, ptrdiff_t length, ptrdiff_t x_stride, ptrdiff_t out_stride,
                ptrdiff_t targets_stride)
{
    if (length == 1)
        return 1;
    if (walk->ndim > 0) {
        const int last = walk->ndim - 1;
        if (fl_axes_join(walk->x_stride[last], length, x_stride) &&
            fl_axes_join(walk->out_stride[last], length, out_stride) &&
            fl_axes_join(walk->targets_stride[last], length, targets_stride)) {
            walk->shape[last] *= length;
            walk->x_stride[last] = x_stride;
            walk->out_stride[last] = out_stride;
            walk->targets_stride[last] = targets_stride;
            return 1;
        }
    }
    if (walk->ndim == FL_MAX_DIMS)
        return 0;
    walk->shape[walk->ndim] = length;
    walk->x_stride[walk->ndim] = x_stride;
    walk->out_stride[walk->ndim] = out_stride;
    walk->targets_stride[walk->ndim] = targets_stride;
    ++walk->ndim;
    return 1;
}

ptrdiff_t fl_walk_rows(const fl_walk *walk)
{
    ptrdiff_t n = 1;
    for (int d = 0; d < walk->ndim; ++d)
        n *= walk->shape[d];
    return n;
}

/* Makes of `rows`, a copy of the walk's, those from `begin` on. */
static void move_to(const fl_walk *walk, ptrdiff_t begin, ptrdiff_t most, fl_rows *rows)
{
    const int last = walk->ndim - 1;
    const ptrdiff_t length = walk->ndim ? walk->shape[last] : 1;
    const ptrdiff_t first = begin % length;
    ptrdiff_t rest = begin / length, x = 0, out = 0, targets = 0;
    const fl_rows *all = &walk->rows;
    rows->n_rows = length - first < most ? length - first : most;
    rows->x.row = rows->out.row = rows->targets.row = 0;
    if (walk->ndim) {
        rows->x.row = walk->x_stride[last];
        rows->out.row = walk->out_stride[last];
        rows->targets.row = walk->targets_stride[last];
        x = first * rows->x.row;
        out = first * rows->out.row;
        targets = first * rows->targets.row;
    }
    for (int d = last - 1; d >= 0; --d) {
        const ptrdiff_t i = rest % walk->shape[d];
        x += i * walk->x_stride[d];
        out += i * walk->out_stride[d];
        targets += i * walk->targets_stride[d];
        rest /= walk->shape[d];
    }
    rows->hess.row = rows->out.row;
    rows->x.data = (char *)all->x.data + x;
    if (all->out.data)
        rows->out.data = (char *)all->out.data + out;
    if (all->hess.data)
        rows->hess.data = (char *)all->hess.data + out;
    if (all->targets.data)
        rows->targets.data = (char *)all->targets.data + targets;
    if (all->labels)
        rows->labels = all->labels + begin;
    if (all->row_weight)
        rows->row_weight = all->row_weight + begin;
    if (all->losses)
        rows->losses = all->losses + begin;
    if (all->figures)
        rows->figures = all->figures + begin * FL_FIGURES;
    if (all->indices)
        rows->indices = all->indices + begin * all->k;
}

fl_rows fl_rows_from(const fl_walk *walk, ptrdiff_t begin, ptrdiff_t most)
{
    fl_rows rows = walk->rows;
    move_to(walk, begin, most, &rows);
    return rows;
}

/* Outputs of fewer bytes are still in the caches when they are read. */
enum { STREAMED = 1 << 24 };

/* Whether what is written had better go past the caches. Not where rows are narrow: their
   exponentials leave time enough to fetch what is overwritten. */
static int streams(const fl_walk *walk)
{
    const fl_view *out = &walk->rows.out;
    const ptrdiff_t n = walk->rows.n_classes;
    return n > 0 && fl_has_classes(walk) && out->data != walk->rows.x.data &&
           fl_walk_rows(walk) > (STREAMED / fl_format_size(out->format) - 1) / n;
}

/* Whether rows lie side by side, and so that a kernel may bring many of them together at a time:
   where they are few, or their classes, it does without. */
static int are_beside(const fl_walk *walk, ptrdiff_t n_rows)
{
    const int last = walk->ndim - 1;
    const ptrdiff_t size = fl_format_size(walk->rows.x.format);
    return walk->ndim > 0 && walk->x_stride[last] == size && walk->rows.x.class != size &&
           walk->rows.n_classes >= 64 && n_rows >= 64;
}

/* Of rows one after another so many classes at least: to write each by whole lines takes time too.
 */
enum { LEAST_STREAMED = 640 };

void fl_run_rows(const fl_walk *walk, ptrdiff_t begin, ptrdiff_t end, double *losses,
                 double *figures)
{
    const int beside = are_beside(walk, end - begin);
    const int streamed = (beside || walk->rows.n_classes >= LEAST_STREAMED) && streams(walk);
    void *scratch = beside || streamed ? malloc(FL_SCRATCH) : NULL;
    fl_rows rows = walk->rows; /* one copy for all: to make it takes as long as a short row */
    rows.scratch = scratch;
    rows.streams = streamed && scratch;
    for (ptrdiff_t i = begin; i < end; i += rows.n_rows) {
        move_to(walk, i, end - i, &rows);
        if (losses)
            rows.losses = losses + (i - begin);
        if (figures)
            rows.figures = figures + (i - begin) * FL_FIGURES;
        walk->kernel(&rows);
    }
    free(scratch);
}

static void run_rows(void *context, ptrdiff_t begin, ptrdiff_t end)
{
    const fl_walk *walk = context;
    if (fl_are_tall(walk))
        begin = fl_run_tall(walk, begin, end);
    fl_run_rows(walk, begin, end, NULL, NULL);
}

/* Rows of a step, of FL_STEP elements: no fewer than kernels take together, where they do. */
static ptrdiff_t rows_of_step(const fl_walk *walk)
{
    enum { TOGETHER = 128 };
    const ptrdiff_t n = walk->rows.n_classes, rows = FL_STEP / (n > 0 ? n : 1);
    if (rows >= TOGETHER || fl_are_tall(walk))
        return rows < TOGETHER ? TOGETHER : rows - rows % TOGETHER;
    return rows > 0 ? rows : 1;
}

/* Whether each row is shared: there are more threads than rows, and parts enough for all, or it is
   so long that nobody would wait for its end to interrupt it. */
static int are_shared(const fl_walk *walk, ptrdiff_t n_rows, int n_threads)
{
    const ptrdiff_t n = walk->rows.n_classes;
    return fl_takes(walk->op) == FL_TAKES_PARTS &&
           ((n_rows < n_threads && n >= 2 * FL_PART * (ptrdiff_t)n_threads) || n >= 16 * FL_STEP);
}

int fl_walk_run(const fl_walk *walk, int n_threads)
{
    const ptrdiff_t n_rows = fl_walk_rows(walk);
    void *context = (void *)(uintptr_t)walk;
    if (walk->sums)
        return fl_losses_run(walk, n_threads);
    if (!are_shared(walk, n_rows, n_threads))
        return fl_parallel(run_rows, context, n_rows, rows_of_step(walk), n_threads);
    for (ptrdiff_t i = 0; i < n_rows; ++i) {
        const fl_end end = fl_run_shared(walk, i, n_threads);
        if (end == FL_STOPPED)
            return 0;
        if (end == FL_UNFIT)
            run_rows(context, i, i + 1);
    }
    return 1;
}
