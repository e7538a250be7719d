/*
 * Losses of all rows, as sums.
 */
#include "fastlogits.h"

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
        walk->sums[i] = walk->sum(losses, n);
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
