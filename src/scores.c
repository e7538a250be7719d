/*
 * Sums over rows of what the kernels find of each and its label. Rows are summed in groups, each by
 * one thread, and then the groups in their order.
 */
#include "fastlogits.h"

enum { GROUP = 1024, GROUP_ELEMENTS = 1 << 18 };

typedef struct {
    const fl_walk *walk;
    ptrdiff_t group, k, n_bins;
    double *totals;
} scoring;

static ptrdiff_t size_of_totals(ptrdiff_t n_bins) { return FL_TOTALS + FL_IN_BIN * n_bins; }

static ptrdiff_t rows_of_group(const fl_walk *walk)
{
    const ptrdiff_t n = walk->rows.n_classes, rows = GROUP_ELEMENTS / (n > 0 ? n : 1);
    return rows < 1 ? 1 : rows > GROUP ? GROUP : rows;
}

ptrdiff_t fl_score_groups(const fl_walk *walk)
{
    const ptrdiff_t n = fl_walk_rows(walk);
    return n > 0 ? (n - 1) / rows_of_group(walk) + 1 : 1;
}

/* The bin whose edges, as they are rounded, a confidence lies between. */
static ptrdiff_t bin_of(double confidence, ptrdiff_t n_bins)
{
    if (!(confidence < 1))
        return n_bins - 1;
    const double n = (double)n_bins;
    ptrdiff_t i = (ptrdiff_t)(confidence * n);
    while (i > 0 && confidence <= (double)i / n)
        --i;
    while (i < n_bins - 1 && confidence > (double)(i + 1) / n)
        ++i;
    return i;
}

static void add_row(const scoring *all, const double *figures, double weight, double *totals)
{
    if (figures[FL_RANK] < 0)
        return;
    const int is_score = all->walk->op == FL_SCORE;
    const double confidence = figures[FL_CONFIDENCE];
    double *bin = NULL;
    totals[FL_COUNT] += 1;
    if (is_score) {
        bin = totals + FL_TOTALS + FL_IN_BIN * bin_of(confidence, all->n_bins);
        bin[FL_BIN_COUNT] += 1;
    }
    /* What has no weight adds nothing, not even an infinity. */
    if (weight == 0)
        return;
    totals[FL_WEIGHT] += weight;
    totals[FL_SUM_NLL] += weight * figures[FL_NLL];
    if (!is_score) {
        totals[FL_SUM_SLOPE] += weight * figures[FL_SLOPE];
        totals[FL_SUM_CURVATURE] += weight * figures[FL_CURVATURE];
        return;
    }
    const double hit = figures[FL_RANK] == 0 ? weight : 0;
    totals[FL_HITS] += hit;
    totals[FL_TOP_HITS] += figures[FL_RANK] < (double)all->k ? weight : 0;
    totals[FL_SUM_BRIER] += weight * figures[FL_BRIER];
    bin[FL_BIN_WEIGHT] += weight;
    bin[FL_BIN_CONFIDENCE] += weight * confidence;
    bin[FL_BIN_HITS] += hit;
}

static void run_group(const scoring *all, ptrdiff_t i)
{
    const ptrdiff_t n_rows = fl_walk_rows(all->walk), first = i * all->group, left = n_rows - first;
    const ptrdiff_t end = first + (left < all->group ? left : all->group);
    double figures[GROUP * FL_FIGURES], *totals = all->totals + i * size_of_totals(all->n_bins);
    const double *weights = all->walk->rows.row_weight;
    fl_run_rows(all->walk, first, end, NULL, figures);
    for (ptrdiff_t row = first; row < end; ++row)
        add_row(all, figures + (row - first) * FL_FIGURES, weights ? weights[row] : 1, totals);
}

static void run_groups(void *context, ptrdiff_t begin, ptrdiff_t end)
{
    for (ptrdiff_t i = begin; i < end; ++i)
        run_group(context, i);
}

int fl_scores_run(const fl_walk *walk, ptrdiff_t k, ptrdiff_t n_bins, double *totals, int n_threads)
{
    scoring all = {walk, rows_of_group(walk), k, n_bins, totals};
    const ptrdiff_t n_groups = fl_score_groups(walk), size = size_of_totals(n_bins);
    for (ptrdiff_t i = 0; i < n_groups * size; ++i)
        totals[i] = 0;
    if (!fl_parallel(run_groups, &all, n_groups, FL_STEP / GROUP_ELEMENTS, n_threads))
        return 0;
    for (ptrdiff_t i = 1; i < n_groups; ++i)
        for (ptrdiff_t j = 0; j < size; ++j)
            totals[j] += totals[i * size + j];
    return 1;
}
