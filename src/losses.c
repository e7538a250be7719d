/*
 * What is done with the labels and the losses of all rows.
 */
#include "fastlogits.h"

/* Compensated (Neumaier): the error does not grow with the number of additions. */
static void add_to(double *sum, double *lost, double value)
{
    const double s = *sum + value, t = s - *sum;
    *lost += (*sum - (s - t)) + (value - t);
    *sum = s;
}

double fl_sum(const double *values, ptrdiff_t n)
{
    /* Several sums, whose latencies overlap. An infinity or NaN is the sum. */
    enum { SUMS = 8 };
    double sum[SUMS] = {0}, lost[SUMS] = {0};
    ptrdiff_t i = 0;
    for (; i + SUMS <= n; i += SUMS)
        for (int k = 0; k < SUMS; ++k)
            add_to(sum + k, lost + k, values[i + k]);
    for (; i < n; ++i)
        add_to(sum, lost, values[i]);
    for (int k = 1; k < SUMS && n >= SUMS; ++k) { /* of fewer, all are in the first */
        add_to(sum, lost, sum[k]);
        lost[0] += lost[k];
    }
    return sum[0] - sum[0] == 0 ? sum[0] + lost[0] : sum[0];
}

ptrdiff_t fl_find_bad_label(const int64_t *labels, ptrdiff_t n, ptrdiff_t n_classes,
                            int64_t ignore_index, ptrdiff_t *n_counted)
{
    /* Mostly all are classes: then no sign is set, which takes few instructions to see. */
    int64_t signs = 0;
    for (ptrdiff_t i = 0; i < n; ++i)
        signs |= labels[i] | (n_classes - 1 - (labels[i] & INT64_MAX));
    if (signs >= 0 && (ignore_index < 0 || ignore_index >= n_classes)) {
        *n_counted = n;
        return -1;
    }
    ptrdiff_t counted = 0, known = 0;
    for (ptrdiff_t i = 0; i < n; ++i) {
        const int64_t label = labels[i];
        counted += label != ignore_index;
        known += label == ignore_index || (uint64_t)label < (uint64_t)n_classes;
    }
    *n_counted = counted;
    for (ptrdiff_t i = 0; known < n && i < n; ++i)
        if ((labels[i] < 0 || labels[i] >= n_classes) && labels[i] != ignore_index)
            return i;
    return -1;
}

/* The losses of narrow rows are summed in groups, each by one thread; of wider ones each is a sum:
   there are few to have room for. So the order depends on the shape alone. */
enum { NARROW = 32, GROUP = 512 };

static ptrdiff_t rows_of_sum(const fl_walk *walk)
{
    return walk->rows.n_classes <= NARROW ? GROUP : 1;
}

ptrdiff_t fl_loss_sums(const fl_walk *walk)
{
    const ptrdiff_t n = fl_walk_rows(walk);
    return n > 0 ? (n - 1) / rows_of_sum(walk) + 1 : 0;
}

static void sum_groups(void *context, ptrdiff_t begin, ptrdiff_t end)
{
    const fl_walk *walk = context;
    const ptrdiff_t n_rows = fl_walk_rows(walk), group = rows_of_sum(walk);
    double losses[GROUP];
    for (ptrdiff_t i = begin; i < end; ++i) {
        const ptrdiff_t first = i * group, left = n_rows - first, n = left < group ? left : group;
        fl_run_rows(walk, first, first + n, losses, NULL);
        walk->sums[i] = fl_sum(losses, n);
    }
}

int fl_losses_run(const fl_walk *walk, int n_threads)
{
    if (rows_of_sum(walk) == 1) {
        fl_walk each = *walk;
        each.rows.losses = walk->sums;
        each.sums = NULL;
        return fl_walk_run(&each, n_threads);
    }
    const ptrdiff_t step = FL_STEP / (GROUP * NARROW);
    return fl_parallel(sum_groups, (void *)(uintptr_t)walk, fl_loss_sums(walk), step, n_threads);
}
