/*
 * The labels of all rows, before anything is read through them. Of either element type; plain C, of
 * which compilers make registers of the instruction set.
 */

/* As fl_find_bad_label says. */
static ptrdiff_t find_bad_label(const int64_t *labels, ptrdiff_t n, ptrdiff_t n_classes,
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
