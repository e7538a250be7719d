# Sums over rows of logits and their labels: included by _core.pyx. The formulas are in
# src/kernels/scores.h.

cdef _label_sums(int op, logits, labels, sample_weight, ignore_index, double temperature,
                 ptrdiff_t n_top, ptrdiff_t n_bins):
    """The totals of all rows, as fl_scores_run has them."""
    cdef k.fl_loss loss
    memset(&loss, 0, sizeof(loss))
    loss.ignore_index = _ignored_label(ignore_index)
    cdef cnp.ndarray x, y, totals, of_row = None
    cdef _Types types
    cdef ptrdiff_t n_counted
    x = _logits(logits, None, "logits", False, &types)
    cdef int class_axis = _class_axis(x, -1)
    cdef ptrdiff_t n_classes = cnp.PyArray_DIM(x, class_axis)
    y = _labels(labels, _array(labels, "labels"), x, class_axis, n_classes, loss.ignore_index,
                "labels", &n_counted)
    if sample_weight is not None:
        of_row = _weights(
            sample_weight, "sample_weight", np.float64, _shape_of_rows(x, class_axis),
            "logits without its last axis",
        )
    cdef k.fl_walk walk
    _describe(&walk, op, types.compute, x, class_axis, None, None)
    _attach_rows(&walk, &loss, cnp.PyArray_SIZE(y), n_classes, y, None, of_row, None)
    walk.rows.temperature = temperature
    totals = np.empty((k.fl_score_groups(&walk), k.FL_TOTALS + k.FL_IN_BIN * n_bins), np.float64)
    cdef double *to = <double *>cnp.PyArray_DATA(totals)
    cdef int threads = _threads_for(cnp.PyArray_SIZE(x))
    cdef bint done
    with nogil:
        done = k.fl_scores_run(&walk, n_top, n_bins, to, threads)
    _check_done(done)
    return totals[0]


def _score_rows(logits, labels, sample_weight=None, *, ignore_index=-100, temperature=1.0, k=5,
                n_bins=15):
    """What a classifier's scores are made of, summed over rows: those of blocks of rows add up.

    Returns a dict: `n`, how many rows count; `weight`, the sum of their weights; the weighted sums
    `nll`, `accuracy`, `top_k_accuracy` and `brier`; and for each bin of confidence `n_in_bin`,
    `bin_weight`, and the weighted sums `bin_confidence` and `bin_hits`.
    """
    return _score_sums(
        logits, labels, sample_weight, ignore_index,
        _number(temperature, _LEAST, _LARGEST, "temperature", "positive and finite"),
        _count(k, 1, 2**31 - 1, "k"), _count(n_bins, 1, 10_000, "n_bins"),
    )


cdef _score_sums(logits, labels, sample_weight, ignore_index, double temperature,
                 ptrdiff_t n_top, ptrdiff_t n_bins):
    totals = _label_sums(
        k.FL_SCORE, logits, labels, sample_weight, ignore_index, temperature, n_top, n_bins
    )
    bins = totals[k.FL_TOTALS:].reshape(n_bins, k.FL_IN_BIN)
    return {
        "n": int(totals[k.FL_COUNT]),
        "weight": float(totals[k.FL_WEIGHT]),
        "nll": float(totals[k.FL_SUM_NLL]),
        "accuracy": float(totals[k.FL_HITS]),
        "top_k_accuracy": float(totals[k.FL_TOP_HITS]),
        "brier": float(totals[k.FL_SUM_BRIER]),
        "n_in_bin": bins[:, k.FL_BIN_COUNT].astype(np.int64),
        "bin_weight": bins[:, k.FL_BIN_WEIGHT],
        "bin_confidence": bins[:, k.FL_BIN_CONFIDENCE],
        "bin_hits": bins[:, k.FL_BIN_HITS],
    }


def _temperature_sums(logits, labels, sample_weight=None, *, ignore_index=-100,
                      inverse_temperature=1.0):
    """The sum of the weights of the rows that count, and the weighted sums of their losses at
    logits * inverse_temperature and of its first two derivatives by inverse_temperature.
    """
    b = _number(inverse_temperature, _NORMAL, 1 / _NORMAL, "inverse_temperature",
                "positive and finite")
    totals = _label_sums(
        k.FL_CALIBRATE, logits, labels, sample_weight, ignore_index, 1 / b, 1, 0
    )
    return (
        float(totals[k.FL_WEIGHT]), float(totals[k.FL_SUM_NLL]),
        float(totals[k.FL_SUM_SLOPE]), float(totals[k.FL_SUM_CURVATURE]),
    )
