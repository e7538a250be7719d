/*
 * The sum of many numbers in float64, such as the losses of all rows.
 */

/* As fl_sum says. Compensated (Neumaier): the error does not grow with the number of additions.
   Several sums, whose latencies overlap. An infinity or NaN is the sum. */
static double NAME(sum)(const double *values, ptrdiff_t n)
{
    enum { SUMS = 8, VECS = SUMS / FL_WIDTH_F64 };
    f64v sums[VECS], losts[VECS];
    for (int k = 0; k < VECS; ++k)
        sums[k] = losts[k] = v_set1(0.0);
    ptrdiff_t i = 0;
    for (; i + SUMS <= n; i += SUMS)
        for (int k = 0; k < VECS; ++k) {
            const pair_f64 s = two_sum_f64(sums[k], v_load(values + i + k * FL_WIDTH_F64));
            sums[k] = s.hi;
            losts[k] = v_add(losts[k], s.lo);
        }
    double sum[SUMS], lost[SUMS];
    for (int k = 0; k < VECS; ++k) {
        v_store(sum + k * FL_WIDTH_F64, sums[k]);
        v_store(lost + k * FL_WIDTH_F64, losts[k]);
    }
    for (; i < n; ++i)
        NAME(add_to)(sum, lost, values[i], 0);
    for (int k = 1; k < SUMS && n >= SUMS; ++k) /* of fewer, all are in the first */
        NAME(add_to)(sum, lost, sum[k], lost[k]);
    return sum[0] - sum[0] == 0 ? sum[0] + lost[0] : sum[0];
}
