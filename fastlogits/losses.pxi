# Losses of rows: included by _core.pyx. Arguments are checked and described here; the
# formulas are in src/kernels/losses.h.

cdef str _element(str argument, cnp.ndarray a, ptrdiff_t flat_position):
    """What is wrong and what it is, as in "targets[2] is 7"."""
    position = np.unravel_index(flat_position, (<object>a).shape)
    place = f"[{', '.join([str(i) for i in position])}]" if position else ""
    return f"{argument}{place} is {(<object>a)[position]}"


cdef _refuse_label(cnp.ndarray given, ptrdiff_t flat_position, n_classes, expected, str argument):
    raise IndexError(
        f"{_element(argument, given, flat_position)}, "
        f"expected a class in [0, {n_classes}){expected}"
    )


cdef _refuse_large_labels(targets, ptrdiff_t n_classes, expected, str argument):
    """NumPy makes no integers of a list with one beyond 64 bits: name that one."""
    if isinstance(targets, np.ndarray):
        return
    given = np.array(targets, dtype=object)
    every = given.ravel()
    if all(type(label) is int for label in every):
        for i, label in enumerate(every):
            if not 0 <= label < n_classes and not -(2**63) <= label < 2**63:
                _refuse_label(given, i, n_classes, expected, argument)


cdef tuple _shape_of_rows(cnp.ndarray x, int class_axis):
    cdef tuple shape = (<object>x).shape
    return shape[:class_axis] + shape[class_axis + 1:]


cdef cnp.ndarray _labels(targets, cnp.ndarray given, cnp.ndarray x, int class_axis,
                         ptrdiff_t n_classes, ignore_index, str argument, ptrdiff_t *n_counted):
    """The labels as C-ordered int64, all of them checked, and how many are not ignored.

    `given` is `targets` as an array; `ignore_index` is None where no label is ignored. The kernels
    read each label once, and it may be anything then.
    """
    cdef cnp.ndarray labels
    cdef ptrdiff_t bad
    cdef int64_t ignored = 0 if ignore_index is None else ignore_index
    if (cnp.PyArray_TYPE(given) == cnp.NPY_INT64 and cnp.PyArray_ISCARRAY_RO(given)
            and _has_rows_of(given, x, class_axis)):  # as nearly all are
        bad = _table_in_use().find_bad_label(
            <const int64_t *>cnp.PyArray_DATA(given), cnp.PyArray_SIZE(given), n_classes, ignored,
            n_counted,
        )
        if bad < 0:
            return given
    expected = "" if ignore_index is None else f" or ignore_index={ignore_index}"
    if given.dtype.kind not in "iu":
        # An empty list has no integers in it, but no others either.
        if given.size or isinstance(targets, np.ndarray):
            _refuse_large_labels(targets, n_classes, expected, argument)
            raise TypeError(f"{argument} must hold integers, got dtype {given.dtype}")
    shape = _shape_of_rows(x, class_axis)
    if (<object>given).shape != shape:
        raise ValueError(
            f"{argument} must have the shape of logits without its class axis, {shape}, "
            f"got {(<object>given).shape}"
        )
    given = np.array(given, order="C", copy=True)
    labels = given.astype(np.int64, copy=False)
    if given.dtype.kind == "u" and given.dtype.itemsize == 8:
        # Beyond int64 they wrapped around, maybe onto ignore_index.
        large = np.flatnonzero(given > np.iinfo(np.int64).max)
        if large.size:
            _refuse_label(given, large[0], n_classes, expected, argument)
    bad = _table_in_use().find_bad_label(
        <const int64_t *>cnp.PyArray_DATA(labels), cnp.PyArray_SIZE(labels), n_classes, ignored,
        n_counted,
    )
    if bad >= 0:
        _refuse_label(given, bad, n_classes, expected, argument)
    return labels


cdef cnp.ndarray _weights(weights, str argument, dtype, tuple shape=None, str of=None):
    """A C-ordered copy of what must be no less than 0, and of the shape of `of`, if any."""
    cdef cnp.ndarray given = _array(weights, argument)
    if _format(given) < 0 and given.dtype.kind != "f":
        raise TypeError(f"{argument} must hold real numbers, got dtype {given.dtype}")
    if of is not None and (<object>given).shape != shape:
        raise ValueError(
            f"{argument} must have the shape of {of}, {shape}, got {(<object>given).shape}"
        )
    _refuse_outside(given, math.inf, argument, "no less than 0")
    return _cast(np.array(given, order="C", copy=True), dtype)


cdef cnp.ndarray _relative(cnp.ndarray weights):
    """Weights of a mean, of which only the ratios count: where they are so large or small that it
    could overflow, by a power of two nearer to 1."""
    if weights.size == 0:
        return weights
    exponent = math.frexp(weights.max())[1]
    if -64 <= exponent <= 64:
        return weights
    with np.errstate(under="ignore"):
        return np.asarray(np.ldexp(weights, -exponent))


cdef _refuse_outside(cnp.ndarray given, most, str argument, str expected):
    """Numbers that are not in [0, most]."""
    with np.errstate(invalid="ignore"):  # as bfloat16 says of NaN
        right = given >= 0 if most == math.inf else (given >= 0) & (given <= most)
    if not np.all(right):
        raise ValueError(f"{_element(argument, given, np.argmin(right))}, expected {expected}")


cdef _check_reduction(reduction):
    if reduction != "mean" and reduction != "sum" and reduction != "none":
        raise ValueError(f"reduction must be 'mean', 'sum' or 'none', got {reduction!r}")


cdef int _class_axis(cnp.ndarray x, axis) except -1:
    """The class axis of a loss, which must have classes."""
    cdef int ndim = cnp.PyArray_NDIM(x)
    if ndim == 0:
        raise ValueError("logits must have at least one dimension, got 0")
    cdef int class_axis = _one_axis(axis, x, "an integer")
    if cnp.PyArray_DIM(x, class_axis) == 0:
        raise ValueError(
            f"logits must have at least one class, got shape {(<object>x).shape} "
            f"with class axis {class_axis}"
        )
    return class_axis


cdef _ignored_label(ignore_index):
    if type(ignore_index) is int and -(2**31) <= ignore_index < 2**31:
        return ignore_index
    try:
        ignored = operator.index(ignore_index)
    except TypeError:
        raise TypeError(
            f"ignore_index must be an integer, got {type(ignore_index).__name__}"
        ) from None
    if not -(2**63) <= ignored < 2**63:
        raise ValueError(f"ignore_index must fit 64 bits with a sign, got {ignored}")
    return ignored


cdef _attach_rows(k.fl_walk *walk, k.fl_loss *loss, ptrdiff_t n_rows, ptrdiff_t n_classes,
                  cnp.ndarray labels, cnp.ndarray of_class, cnp.ndarray of_row,
                  cnp.ndarray losses):
    """Give the walk what its loss needs beside the logits: each array may be missing, the others
    must have a number for each row, or class, that is still there."""
    if (
        k.fl_walk_rows(walk) != n_rows
        or walk.rows.n_classes != n_classes
        or (labels is not None and cnp.PyArray_SIZE(labels) != n_rows)
        or (of_class is not None and cnp.PyArray_SIZE(of_class) != n_classes)
        or (of_row is not None and cnp.PyArray_SIZE(of_row) != n_rows)
        or (losses is not None and cnp.PyArray_SIZE(losses) != n_rows)
    ):
        _refuse_changed()
    walk.rows.loss = loss
    if labels is not None:
        walk.rows.labels = <const int64_t *>cnp.PyArray_DATA(labels)
    if of_class is not None:
        loss.class_weight = <const double *>cnp.PyArray_DATA(of_class)
    if of_row is not None:
        walk.rows.row_weight = <const double *>cnp.PyArray_DATA(of_row)
    if losses is not None:
        walk.rows.losses = <double *>cnp.PyArray_DATA(losses)


cdef _check_soft_targets(cnp.ndarray given, cnp.ndarray x):
    """Soft targets that the kernels can read beside `x`."""
    if not _has_rows_of(given, x, -1):
        raise ValueError(
            f"targets of dtype {given.dtype} are probabilities and must have the shape of logits, "
            f"{(<object>x).shape}, got {(<object>given).shape}: class indices are integers"
        )
    if _format(given) < 0:
        _refuse_dtype(given, "targets")


cdef double _divisor(cnp.ndarray labels, ptrdiff_t n_rows, ptrdiff_t n_counted, int64_t ignored,
                     cnp.ndarray of_class, cnp.ndarray of_row):
    """The sum of the weights of the rows that count, of which there are `n_counted`."""
    cdef cnp.ndarray weights
    if labels is None:
        if of_row is None:
            return <double>n_rows
        weights = of_row
    else:
        if of_class is None and of_row is None:
            return <double>n_counted
        flat = (<object>labels).ravel()
        counts = flat != ignored
        weights = counts.astype(np.float64)
        # Not multiplied where the row does not count: its weight may be infinite.
        if of_class is not None:
            np.multiply(weights, of_class[np.where(counts, flat, 0)], out=weights, where=counts)
        if of_row is not None:
            np.multiply(weights, (<object>of_row).ravel(), out=weights, where=counts)
    # As many as there are: whether that is one for each row is checked last.
    return _table_in_use().sum(<const double *>cnp.PyArray_DATA(weights), cnp.PyArray_SIZE(weights))


# Where the kernels leave sums of losses: few, as most calls have, need no array.
cdef enum:
    FEW_SUMS = 64

cdef struct _Sums:
    double few[FEW_SUMS]
    ptrdiff_t n
    double *first


cdef cnp.ndarray _make_room(_Sums *sums, ptrdiff_t n):
    """For n; what is returned has to stay as long as they are in use."""
    cdef cnp.npy_intp length = n
    cdef cnp.ndarray array
    sums.n = n
    if n <= FEW_SUMS:
        sums.first = sums.few
        return None
    array = cnp.PyArray_EMPTY(1, &length, cnp.NPY_FLOAT64, 0)
    sums.first = <double *>cnp.PyArray_DATA(array)
    return array


cdef _total_loss(const _Sums *losses, double divisor, int compute):
    """Their sum, or their mean where the divisor is not 1, in the dtype of the computation."""
    cdef double total = _table_in_use().sum(losses.first, losses.n)
    total = total / divisor if divisor else math.nan
    cdef float narrow = <float>total  # beyond the range it is infinite
    if compute == k.FL_F32:
        return PyArray_Scalar(&narrow, _FLOAT32, None)
    return PyArray_Scalar(&total, _FLOAT64, None)


cdef _cross_entropy(logits, targets, axis, class_weight, sample_weight, ignore_index,
                    label_smoothing, z_loss, reduction, bint with_gradient, out):
    _check_reduction(reduction)
    ignored = _ignored_label(ignore_index)
    cdef k.fl_loss loss
    memset(&loss, 0, sizeof(loss))
    loss.ignore_index = ignored
    loss.label_smoothing = _number(label_smoothing, 0, 1, "label_smoothing", "in [0, 1]")
    loss.z_loss = _number(z_loss, 0, _LARGEST, "z_loss", "non-negative and finite")
    cdef cnp.ndarray x, soft = None, labels = None, of_class = None, of_row = None
    cdef cnp.ndarray gradient = None, losses = None, given
    cdef ptrdiff_t n_counted
    cdef _Types types
    x = _logits(logits, None, "logits", False, &types)
    cdef int class_axis = _class_axis(x, axis)
    cdef ptrdiff_t n_classes = cnp.PyArray_DIM(x, class_axis)
    cdef ptrdiff_t n_rows = cnp.PyArray_SIZE(x) // n_classes
    given = _array(targets, "targets")
    if _is_floating(given) and not _has_rows_of(given, x, class_axis):
        _check_soft_targets(given, x)
        soft = given
    else:
        labels = _labels(
            targets, given, x, class_axis, n_classes, ignored, "targets", &n_counted
        )
        if class_weight is not None:
            labels = PyArray_NewCopy(labels, cnp.NPY_CORDER)
    if class_weight is not None:
        of_class = _weights(class_weight, "class_weight", np.float64, (n_classes,), "the classes")
        if reduction == "mean" and soft is None:
            of_class = _relative(of_class)
    if sample_weight is not None:
        of_row = _weights(
            sample_weight, "sample_weight", np.float64, _shape_of_rows(x, class_axis),
            "logits without its class axis",
        )
        if reduction == "mean":
            of_row = _relative(of_row)
    if out is not None:
        _check_out(out, x, types.result)
    if reduction == "none":
        losses = _empty_rows(x, class_axis, cnp.NPY_FLOAT64)
    cdef double divisor = 1
    if reduction == "mean":
        divisor = _divisor(labels, n_rows, n_counted, loss.ignore_index, of_class, of_row)
    loss.grad_scale = 1 / divisor if divisor else 0
    if with_gradient:
        gradient = _destination(x, types.result, out, False)
        if soft is not None and _may_overlap(soft, gradient):
            soft = np.array(soft, copy=True)
        if labels is not None and _may_overlap(labels, gradient):
            labels = PyArray_NewCopy(labels, cnp.NPY_CORDER)
    cdef k.fl_walk walk
    _describe(&walk, k.FL_CROSS_ENTROPY, types.compute, x, class_axis, gradient, soft)
    _attach_rows(&walk, &loss, n_rows, n_classes, labels, of_class, of_row, losses)
    cdef _Sums sums
    if losses is None:
        room = _make_room(&sums, k.fl_loss_sums(&walk))
        walk.sums = sums.first
    _run(&walk, cnp.PyArray_SIZE(x))
    if reduction == "none":
        value = _cast(losses, _computed(types.compute))[()]
    else:
        value = _total_loss(&sums, divisor, types.compute)
    return (value, _deliver(gradient, out)) if with_gradient else value


def cross_entropy(logits, targets, *, axis=-1, class_weight=None, sample_weight=None,
                  ignore_index=-100, label_smoothing=0.0, z_loss=0.0, reduction="mean"):
    r"""Negative log-likelihood of the target classes.

    .. math:: \ell_i = -\log p_{i, y_i} = \log \sum_k e^{x_{ik}} - x_{i y_i}

    Parameters
    ----------
    logits : array_like
        As for `softmax`, of any shape.
    targets : array_like
        Class indices, of any integer dtype and the shape of `logits` without `axis`; or
        probabilities, of a floating dtype and the shape of `logits`.
    axis : int, optional
        The class axis.
    class_weight : array_like of shape (C,), optional
        Weights of the C classes, at least 0.
    sample_weight : array_like, optional
        Weights of the rows, at least 0, of the shape of `logits` without `axis`.
    ignore_index : int, optional
        Rows with this class index count for nothing: their loss is 0.
    label_smoothing : float, optional
        In [0, 1]: how much of the target is spread evenly over all classes.
    z_loss : float, optional
        At least 0: this times the square of a row's logsumexp is added to its loss.
    reduction : {"mean", "sum", "none"}, optional
        The mean over the rows that count, their sum, or each row's loss.

    Returns
    -------
    scalar or ndarray
        Of the dtype of `logits` (float32 for half precision, float64 for integers and booleans);
        of the shape of `logits` without `axis` for "none".

    Raises
    ------
    TypeError
        If an array does not hold numbers of the kind said above, or another argument is of
        the wrong type.
    ValueError
        If the shapes do not fit, the class axis is empty, a weight is negative or NaN,
        `label_smoothing` or `z_loss` is out of range, or `reduction` is unknown.
    IndexError
        If a target is neither `ignore_index` nor a class; with its position and its value.
    numpy.exceptions.AxisError
        If `axis` is out of range.

    See Also
    --------
    cross_entropy_value_and_grad : the same with its gradient, in one walk.

    Notes
    -----
    With class weights w, smoothing :math:`\varepsilon`, C classes and the sample weight s, the
    loss of a row of class y and of one of soft targets t is

    .. math::
        s \bigl[(1 - \varepsilon) w_y (-\log p_y) + \tfrac{\varepsilon}{C} \sum_c w_c (-\log p_c)
        + w_y \lambda \operatorname{lse}^2\bigr], \quad
        s \bigl[\sum_c w_c ((1 - \varepsilon) t_c + \tfrac{\varepsilon}{C}) (-\log p_c)
        + \lambda \operatorname{lse}^2\bigr]

    with :math:`\lambda` = `z_loss` and the row's logsumexp. The mean divides their sum by that of
    :math:`s w_y`, or of s; it is NaN where that is 0. A soft target of 0 adds nothing, also
    beside a logit of -inf. These are PyTorch's definitions, but that soft targets are averaged
    with the sample weights.

    Largest error measured of a row's loss, of class indices alone: 1.4 ulp on random rows, 2.4
    ulp on rows of float32 that were built for their rounding errors to add up; also where the
    probability of the target rounds to 1. Sums and means are accumulated in float64 in an order
    that depends on the number of rows alone. Each logit is read once and nothing is allocated
    per class.

    Examples
    --------
    >>> import numpy as np
    >>> from fastlogits import cross_entropy
    >>> logits = np.log([[1.0, 3.0], [2.0, 8.0]])
    >>> cross_entropy(logits, [1, 0], reduction="none").round(6)
    array([0.287682, 1.609438])
    """
    return _cross_entropy(logits, targets, axis, class_weight, sample_weight, ignore_index,
                          label_smoothing, z_loss, reduction, False, None)


def cross_entropy_value_and_grad(logits, targets, *, axis=-1, class_weight=None,
                                 sample_weight=None, ignore_index=-100, label_smoothing=0.0,
                                 z_loss=0.0, reduction="mean", out=None):
    r"""Cross-entropy and its gradient with respect to the logits, in one walk.

    .. math:: \frac{\partial \ell_i}{\partial x_{ic}} = p_{ic} - [c = y_i]

    Parameters
    ----------
    logits, targets, axis, class_weight, sample_weight
        As for `cross_entropy`.
    ignore_index, label_smoothing, z_loss, reduction
        As for `cross_entropy`.
    out : ndarray, optional
        Where to write the gradient: of its shape and dtype, writable. It may be `logits`, or
        overlap any of the arrays.

    Returns
    -------
    loss : scalar or ndarray
        What `cross_entropy` returns.
    grad : ndarray
        Of the shape and dtype of `logits` (float64 for integers and booleans); `out` if given.
        The gradient of the reduced loss, for "none" of the sum of the rows. Rows that are
        ignored have a gradient of 0, all rows where the mean is over none.

    Raises
    ------
    TypeError, ValueError, IndexError, numpy.exceptions.AxisError
        As `cross_entropy`; ValueError also if `out` does not fit.

    Notes
    -----
    Largest error measured, of class indices alone: 2.0 ulp of the gradient. At the target it is
    minus the probability of all the others, which keeps its precision where that of the target
    rounds to 1. Each exponential is stored in the gradient and scaled in place; rows of more
    than 4096 classes (2048 of float64) compute it again.

    Examples
    --------
    >>> import numpy as np
    >>> from fastlogits import cross_entropy_value_and_grad
    >>> loss, grad = cross_entropy_value_and_grad(np.log([[1.0, 3.0]]), [1])
    >>> float(loss.round(6)), grad.round(6)
    (0.287682, array([[ 0.25, -0.25]]))
    """
    return _cross_entropy(logits, targets, axis, class_weight, sample_weight, ignore_index,
                          label_smoothing, z_loss, reduction, True, out)


def softmax_grad_hess(logits, labels, *, sample_weight=None, hess_scale=1.0):
    r"""Gradient and diagonal of the Hessian of the cross-entropy, for boosting.

    .. math:: g_c = s (p_c - [c = y]), \quad h_c = s \alpha p_c (1 - p_c)

    Parameters
    ----------
    logits : array_like of shape (..., C)
        As for `softmax`, the classes on the last axis.
    labels : array_like of int, of shape (...)
        Class indices, of any integer dtype.
    sample_weight : array_like of shape (...), optional
        The weights s of the rows, at least 0.
    hess_scale : float, optional
        The factor :math:`\alpha`, positive and finite: 2 in XGBoost, C / (C - 1) in LightGBM.

    Returns
    -------
    grad, hess : ndarray
        Of the shape and dtype of `logits` (float64 for integers and booleans).

    Raises
    ------
    TypeError, ValueError, IndexError
        As `cross_entropy`.

    Notes
    -----
    Where p is near 1, 1 - p is the probability of all the others and keeps its precision. A row
    with a NaN or +inf, or of nothing but -inf, is NaN.

    Examples
    --------
    >>> import numpy as np
    >>> from fastlogits import softmax_grad_hess
    >>> grad, hess = softmax_grad_hess(np.log([[1.0, 3.0]]), [1])
    >>> grad.round(6), hess.round(6)
    (array([[ 0.25, -0.25]]), array([[0.1875, 0.1875]]))
    """
    cdef k.fl_loss loss
    memset(&loss, 0, sizeof(loss))
    loss.grad_scale = 1
    loss.hess_scale = _number(
        hess_scale, _LEAST, _LARGEST, "hess_scale", "positive and finite"
    )
    loss.ignore_index = -1
    cdef cnp.ndarray x, targets, grad, hess, of_row = None
    cdef _Types types
    x = _logits(logits, None, "logits", False, &types)
    cdef int class_axis = _class_axis(x, -1)
    cdef ptrdiff_t n_classes = cnp.PyArray_DIM(x, class_axis), n_counted
    targets = _labels(labels, _array(labels, "labels"), x, class_axis, n_classes, None, "labels",
                      &n_counted)
    if sample_weight is not None:
        of_row = _weights(
            sample_weight, "sample_weight", np.float64, _shape_of_rows(x, class_axis),
            "logits without its last axis",
        )
    grad = _destination(x, types.result, None, False)
    hess = _destination(x, types.result, None, False)
    cdef k.fl_walk walk
    _describe(&walk, k.FL_CROSS_ENTROPY, types.compute, x, class_axis, grad, None)
    _attach_rows(
        &walk, &loss, cnp.PyArray_SIZE(targets), n_classes, targets, None, of_row, None
    )
    _view(&walk.rows.hess, hess, class_axis)
    _run(&walk, cnp.PyArray_SIZE(x))
    return _deliver(grad, None), _deliver(hess, None)
