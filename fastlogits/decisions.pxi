# Decisions: included by _core.pyx. Arguments are checked and described here; the comparisons
# are in src/kernels/argmax.h and top_k.h, the confidences in confidence.h beside them.


cdef cnp.ndarray _comparable(x, str argument):
    """`x` as an array of real numbers."""
    cdef cnp.ndarray a = _array(x, argument)
    if _format(a) < 0:
        _refuse_dtype(a, argument)
    return a


cdef tuple _with_one_axis(cnp.ndarray a, axis):
    """`a` with at least one dimension, flat where `axis` is None, and the one axis meant."""
    if axis is None:
        return (<object>a).reshape(-1), 0
    cdef int one_axis = _one_axis(axis, a, "an integer or None")
    return (a if cnp.PyArray_NDIM(a) else (<object>a).reshape(1)), one_axis


cdef _argmax_over_all(cnp.ndarray a):
    """In two steps, over the last axis and over what that leaves, so that nothing is copied."""
    places = _argmax(a, cnp.PyArray_NDIM(a) - 1)
    largest = np.take_along_axis(a, places[..., None], -1).ravel()
    row = _argmax(largest, 0)[()]
    return row * cnp.PyArray_DIM(a, cnp.PyArray_NDIM(a) - 1) + places.ravel()[row]


cdef cnp.ndarray _argmax(cnp.ndarray a, int axis):
    cdef k.fl_walk walk
    if not _is_floating(a):
        # Of 64-bit integers no floating dtype would hold all.
        return np.asarray(np.argmax(a, axis=axis))
    cdef cnp.ndarray places = _empty_rows(a, axis, cnp.NPY_INTP)
    _describe(&walk, k.FL_ARGMAX, _compute_in(_format(a)), a, axis, None, None)
    walk.rows.indices = <ptrdiff_t *>cnp.PyArray_DATA(places)
    walk.rows.k = 1
    _run(&walk, cnp.PyArray_SIZE(a))
    return places


def argmax(logits, axis=-1):
    """The class of the largest logit.

    Parameters
    ----------
    logits : array_like
        Of any shape and real dtype.
    axis : int or None, optional
        The class axis; None takes all of the array, in C order, for one row.

    Returns
    -------
    intp or ndarray of intp
        Of the shape of `logits` without `axis`.

    Raises
    ------
    TypeError
        If `logits` does not hold real numbers or has masked elements, or `axis` is neither an
        integer nor None.
    ValueError
        If there are no classes.
    numpy.exceptions.AxisError
        If `axis` is out of range.

    Notes
    -----
    Of several that are largest it is the first, and of rows with NaN the first NaN: as
    `numpy.argmax`.

    Examples
    --------
    >>> from fastlogits import argmax
    >>> argmax([[0.5, 2.0, -1.0], [3.0, 0.0, 3.0]])
    array([1, 0])
    """
    cdef cnp.ndarray a = _comparable(logits, "logits")
    cdef int class_axis
    if axis is None and cnp.PyArray_NDIM(a) > 1:
        _check_classes(a, cnp.PyArray_SIZE(a))
        return _argmax_over_all(a)
    a, class_axis = _with_one_axis(a, axis)
    _check_classes(a, cnp.PyArray_DIM(a, class_axis))
    return _argmax(a, class_axis)[()]


cdef _check_classes(cnp.ndarray logits, ptrdiff_t n_classes):
    if n_classes == 0:
        raise ValueError(
            f"logits must have at least one class, got shape {(<object>logits).shape}"
        )


def top_k(x, k, /, *, axis=-1, mode="largest", sorted=True):
    """The k largest or smallest of each row, and where they are.

    Parameters
    ----------
    x : array_like
        Of any shape and real dtype.
    k : int
        How many, from 0 to the length of `axis`.
    axis : int or None, optional
        The axis of a row; None takes all of the array, in C order, for one.
    mode : {"largest", "smallest"}, optional
        Which end.
    sorted : bool, optional
        Whether they come in order: the largest, or smallest, first. Else in any order.

    Returns
    -------
    values : ndarray
        Of the dtype of `x` and its shape, but k along `axis`.
    indices : ndarray of intp
        Their places along `axis`.

    Raises
    ------
    TypeError
        If `x` does not hold real numbers or has masked elements, `k` is not an integer, or
        `axis` neither an integer nor None.
    ValueError
        If `k` is negative or above the length of `axis`, or `mode` is unknown.
    numpy.exceptions.AxisError
        If `axis` is out of range.

    Notes
    -----
    NaN comes last in either mode; of equals the one with the lower index comes first.

    Method: for few, up to 128 in long rows, the k-th of the maxima of pieces of the row is a
    threshold that few pieces reach, and only these are searched. For more, the k-th number is
    found by bisection, with a count of the larger ones for each step.

    Examples
    --------
    >>> from fastlogits import top_k
    >>> values, indices = top_k([0.5, 2.0, -1.0, 2.0], 3)
    >>> values, indices
    (array([2. , 2. , 0.5]), array([1, 3, 0]))
    """
    cdef cnp.ndarray a = _comparable(x, "x")
    if not isinstance(mode, str) or mode not in ("largest", "smallest"):
        raise ValueError(f"mode must be 'largest' or 'smallest', got {mode!r}")
    cdef int one_axis
    a, one_axis = _with_one_axis(a, axis)
    try:
        count = operator.index(k)
    except TypeError:
        raise TypeError(f"k must be an integer, got {type(k).__name__}") from None
    if not 0 <= count <= cnp.PyArray_DIM(a, one_axis):
        raise ValueError(
            f"k must be between 0 and the length of the axis, {cnp.PyArray_DIM(a, one_axis)}, "
            f"got {count}"
        )
    return _top_k(a, count, one_axis, mode == "smallest", sorted)


cdef cnp.ndarray _last_axis_to(cnp.ndarray a, int axis):
    return a if axis == cnp.PyArray_NDIM(a) - 1 else np.moveaxis(a, -1, axis)


cdef tuple _top_k_of_integers(cnp.ndarray a, ptrdiff_t count, int axis, bint smallest):
    """Row by row: NumPy sorts along an axis of no more than 32."""
    cdef tuple a_shape = (<object>a).shape
    cdef tuple kept = a_shape[:axis] + a_shape[axis + 1:]
    rows = np.moveaxis(a, axis, -1).reshape(math.prod(kept), a_shape[axis])
    # ~ turns the order of integers, of any sign, and of booleans; a stable sort keeps ties.
    order = np.argsort(rows if smallest else ~rows, axis=1, kind="stable")[:, :count]
    values = np.take_along_axis(rows, order, 1).astype(a.dtype.newbyteorder("="))
    shape = kept + (count,)
    return _last_axis_to(values.reshape(shape), axis), _last_axis_to(order.reshape(shape), axis)


cdef tuple _top_k(cnp.ndarray a, ptrdiff_t count, int axis, bint smallest, bint in_order):
    if not _is_floating(a):
        return _top_k_of_integers(a, count, axis, smallest)
    cdef k.fl_walk walk
    cdef cnp.ndarray values, indices
    cdef int compute = _compute_in(_format(a))
    cdef tuple a_shape = (<object>a).shape
    cdef tuple shape = a_shape[:axis] + a_shape[axis + 1:] + (count,)
    indices = np.empty(shape, dtype=np.intp)
    values = np.empty(shape, dtype=_computed(compute))
    if cnp.PyArray_SIZE(values):
        _describe(&walk, k.FL_TOP_K, compute, a, axis, values[..., 0], None)
        if count > walk.rows.n_classes:
            _refuse_changed()
        walk.rows.indices = <ptrdiff_t *>cnp.PyArray_DATA(indices)
        walk.rows.k = count
        walk.rows.smallest = smallest
        walk.rows.sorted = in_order
        _run(&walk, cnp.PyArray_SIZE(a))
    values = _cast(_last_axis_to(values, axis), a.dtype.newbyteorder("="))
    return values, _last_axis_to(indices, axis)


cdef _labelled(places, classes, ptrdiff_t n_classes):
    """The labels in their places, if there are any."""
    if classes is None:
        return places
    labels = np.asarray(classes)
    if labels.shape != (n_classes,):
        raise ValueError(f"classes must have shape ({n_classes},), got {labels.shape}")
    return labels[places]


cdef double _logit_of(threshold) except? 1.0:
    """log(t / (1 - t)); near 1/2 in a form that does not cancel."""
    cdef double t = _number(threshold, _LEAST, 1 - 2.0**-53, "threshold", "in (0, 1)")
    return 2 * math.atanh(2 * t - 1) if 0.25 < t < 0.75 else math.log(t / (1 - t))


cdef _above(cnp.ndarray a, double cutoff):
    """a > cutoff, in the dtype of `a`: what is above a number is above the next one below it."""
    if not _is_floating(a):
        return a > math.floor(cutoff)
    least = a.dtype.newbyteorder("=").type(cutoff)
    if float(least) > cutoff:
        least = np.nextafter(least, least.dtype.type(-math.inf))
    with np.errstate(invalid="ignore"):  # as bfloat16 says of NaN
        return a > least


def predict(logits, *, axis=-1, threshold=None, classes=None):
    r"""The class of the largest logit, or whether each logit passes a threshold.

    Parameters
    ----------
    logits : array_like
        Of any shape and real dtype.
    axis : int or None, optional
        The class axis, as for `argmax`; not used with `threshold`.
    threshold : float, optional
        In (0, 1): a probability t that each logit on its own is compared with, as
        :math:`x > \log(t / (1 - t))`.
    classes : array_like of shape (C,), optional
        Labels of the C classes to return in place of their numbers; with `threshold` of two,
        for no and yes.

    Returns
    -------
    scalar or ndarray
        Class indices (intp), of the shape of `logits` without `axis`; with `threshold`
        booleans, of the shape of `logits`; with `classes` their labels.

    Raises
    ------
    TypeError
        As `argmax`; also if `threshold` is not a real number.
    ValueError
        If there are no classes, `threshold` is not in (0, 1), or `classes` is not one label for
        each class.
    numpy.exceptions.AxisError
        If `axis` is out of range.

    Notes
    -----
    No softmax and no sigmoid is computed. Ties go to the lower index and NaN wins, as in
    `argmax`; NaN passes no threshold.

    Examples
    --------
    >>> from fastlogits import predict
    >>> predict([[0.5, 2.0], [3.0, 0.0]], classes=["cat", "dog"])
    array(['dog', 'cat'], dtype='<U3')
    >>> predict([-1.0, 0.5, 2.0], threshold=0.75)
    array([False, False,  True])
    """
    cdef cnp.ndarray a = _comparable(logits, "logits")
    if threshold is not None:
        above = _above(a, _logit_of(threshold))
        return above if classes is None else _labelled(above.astype(np.intp), classes, 2)
    places = argmax(a, axis)
    if axis is None or cnp.PyArray_NDIM(a) == 0:
        return _labelled(places, classes, cnp.PyArray_SIZE(a))
    return _labelled(places, classes, (<object>a).shape[axis])


def confidence(logits, *, kind="max_prob", axis=-1):
    r"""How sure a row of logits is of its largest.

    Parameters
    ----------
    logits : array_like
        As for `softmax`, of any shape.
    kind : {"max_prob", "margin", "entropy", "energy"}, optional
        The largest probability; that less the next; the entropy of the probabilities, in nats;
        or -logsumexp. The first two grow with confidence, the others shrink.
    axis : int, tuple of ints or None, optional
        The class axis; several are taken together, None is all of them.

    Returns
    -------
    scalar or ndarray
        Of the shape of `logits` without `axis`, and its dtype (float32 for half precision, float64
        for integers and booleans).

    Raises
    ------
    TypeError
        As `softmax`.
    ValueError
        If there are no classes, or `kind` is unknown.
    numpy.exceptions.AxisError
        If `axis` is out of range.

    Notes
    -----
    With :math:`p` the softmax, :math:`m` the largest logit and :math:`s` the next,

    .. math:: \max_c p_c, \quad (1 - e^{s - m}) \max_c p_c, \quad
              \log \sum_c e^{x_c - m} + \sum_c p_c (m - x_c), \quad -\log \sum_c e^{x_c}

    No term of them is negative, and log1p keeps what a row is short of certainty: the entropy of
    a row that is sure to 1e-17 has all its digits. A row with a NaN or +inf, or of nothing but
    -inf, is NaN, but its energy -logsumexp.

    Examples
    --------
    >>> import numpy as np
    >>> from fastlogits import confidence
    >>> logits = np.log([0.5, 0.25, 0.25])
    >>> for kind in ("max_prob", "margin", "entropy"):
    ...     print(kind, confidence(logits, kind=kind).round(6))
    max_prob 0.5
    margin 0.25
    entropy 1.039721
    """
    operations = {
        "max_prob": k.FL_MAX_PROB, "margin": k.FL_MARGIN, "entropy": k.FL_ENTROPY,
        "energy": k.FL_LOGSUMEXP,
    }
    if not isinstance(kind, str) or kind not in operations:
        raise ValueError(f"kind must be one of {', '.join(operations)}, got {kind!r}")
    cdef cnp.ndarray a = _array(logits, "logits")
    cdef tuple shape = (<object>a).shape
    if cnp.PyArray_SIZE(a) == 0:
        _check_classes(a, math.prod([shape[d] for d in _several_axes(axis, len(shape))]))
    result = _reduced(operations[kind], a, "logits", axis, False, None, None)
    return np.negative(result) if kind == "energy" else result
