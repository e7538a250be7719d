# Losses of single elements: included by _core.pyx. The formulas are in src/kernels/binary.h.


cdef cnp.ndarray _broadcast_weights(weights, cnp.ndarray x, str argument, int compute,
                                    bint relative):
    """Weights with the shape of `x`, to compute with; `relative`: only their ratios count."""
    if weights is None:
        return None
    cdef cnp.ndarray own = _weights(weights, argument, np.float64)
    own = _cast(_relative(own) if relative else own, _computed(compute))
    shape = (<object>x).shape
    try:
        return np.broadcast_to(own, shape)
    except ValueError:
        raise ValueError(
            f"{argument} must have a shape that broadcasts to that of logits, {shape}, "
            f"got {(<object>own).shape}"
        ) from None


cdef _operand(k.fl_pieces *call, int place, cnp.ndarray a):
    cdef int d
    cdef k.fl_operand *operand = &call.operands[place]
    operand.data = cnp.PyArray_DATA(a)
    operand.format = _format(a)
    operand.axes.ndim = 0
    if cnp.PyArray_SIZE(a) != call.n or operand.format < 0:
        _refuse_changed()
    for d in range(cnp.PyArray_NDIM(a)):
        if not k.fl_axes_add(&operand.axes, cnp.PyArray_DIM(a, d), cnp.PyArray_STRIDE(a, d)):
            raise ValueError(f"{cnp.PyArray_NDIM(a)} dimensions are too many")


cdef int _run_pieces(k.fl_pieces *call, k.fl_piece_kernel *kernel) except -1:
    """Whether a target was not in [0, 1]. Raises what interrupted it."""
    cdef bint done, outside
    cdef int threads = _threads_for(call.n)
    call.kernel = kernel
    if call.n < KEEP_GIL_ELEMENTS:
        done = k.fl_pieces_run(call, threads, &outside)
    else:
        with nogil:
            done = k.fl_pieces_run(call, threads, &outside)
    return outside if done else -1


cdef _refuse_outside_unit(cnp.ndarray targets):
    _refuse_outside(targets, 1, "targets", "a number in [0, 1]")


cdef cnp.ndarray _binary_targets(targets, cnp.ndarray x, int compute):
    """Targets of the shape of `x`."""
    cdef cnp.ndarray given = _array(targets, "targets")
    if _format(given) < 0:
        _refuse_dtype(given, "targets")
    if not _has_rows_of(given, x, -1):
        raise ValueError(
            f"targets must have the shape of logits, {(<object>x).shape}, "
            f"got {(<object>given).shape}"
        )
    # The kernels look after them, but only once they are rounded.
    if compute == k.FL_F32 and given.dtype.kind == "f" and given.dtype.itemsize == 8:
        _refuse_outside_unit(given)
    return given


cdef _binary_cross_entropy(logits, targets, pos_weight, sample_weight, label_smoothing, reduction,
                           bint with_gradient, out):
    _check_reduction(reduction)
    cdef k.fl_pieces call
    cdef int place
    for place in range(k.FL_OPERANDS):  # as in _begin
        call.operands[place].data = NULL
    call.grad_scale = 0
    call.label_smoothing = _number(label_smoothing, 0, 1, "label_smoothing", "in [0, 1]")
    cdef cnp.ndarray x, t, of_positive, of_sample, losses = None, gradient = None
    cdef _Types types
    x = _logits(logits, None, "logits", False, &types)
    cdef int compute = types.compute
    t = _binary_targets(targets, x, compute)
    of_positive = _broadcast_weights(pos_weight, x, "pos_weight", compute, False)
    of_sample = _broadcast_weights(sample_weight, x, "sample_weight", compute, reduction == "mean")
    if out is not None:
        _check_out(out, x, types.result)
    call.n = cnp.PyArray_SIZE(x)
    call.format = compute
    cdef const k.fl_kernels *kernels = _kernels_in(compute)
    cdef ptrdiff_t n_pieces = call.n // k.FL_PIECE + (call.n % k.FL_PIECE > 0)
    cdef _Sums sums
    room = _make_room(&sums, n_pieces)
    call.sums = sums.first
    _operand(&call, k.FL_TARGETS, t)
    # The losses are computed along with their check; what the caller owns is written after it.
    if out is not None and _run_pieces(&call, kernels.outside_unit):
        _refuse_outside_unit(t)
    _operand(&call, k.FL_LOGITS, x)
    if of_positive is not None:
        _operand(&call, k.FL_POS_WEIGHT, of_positive)
    if of_sample is not None:
        _operand(&call, k.FL_SAMPLE_WEIGHT, of_sample)
    if reduction == "none":
        losses = np.empty((<object>x).shape, dtype=_computed(compute))
        _operand(&call, k.FL_LOSSES, losses)
    cdef double divisor = _sum_of_weights(of_sample, call.n) if reduction == "mean" else 1
    call.grad_scale = 1 / divisor if divisor else 0
    if with_gradient:
        gradient = _destination(x, types.result, out, False)
        if _may_overlap(t, gradient):
            t = np.array(t, copy=True)
            _operand(&call, k.FL_TARGETS, t)
        _operand(&call, k.FL_GRADIENT, gradient)
    if _run_pieces(&call, kernels.binary_cross_entropy):
        _refuse_outside_unit(t)
    if reduction == "none":
        value = losses[()]
    else:
        value = _total_loss(&sums, divisor, compute)
    return (value, _deliver(gradient, out)) if with_gradient else value


cdef double _sum_of_weights(cnp.ndarray of_sample, ptrdiff_t n_elements) except? -1.0:
    """Of all elements: each weight that was given counts for as many of them."""
    if of_sample is None:
        return <double>n_elements
    cdef cnp.ndarray own = (<object>of_sample).base.astype(np.float64)
    if own.size == 0:
        return 0
    cdef double total = _table_in_use().sum(<const double *>cnp.PyArray_DATA(own), own.size)
    return total * (n_elements // own.size)


def binary_cross_entropy_with_logits(logits, targets, *, pos_weight=None, sample_weight=None,
                                     label_smoothing=0.0, reduction="mean"):
    r"""Negative log-likelihood of independent yes-or-no targets, element by element.

    .. math:: \ell = -t \log \sigma(x) - (1 - t) \log(1 - \sigma(x))

    Parameters
    ----------
    logits : array_like
        As for `softmax`, of any shape.
    targets : array_like
        Of the shape of `logits` and any real dtype, in [0, 1].
    pos_weight : array_like, optional
        Weights of the positive parts, at least 0, of a shape that broadcasts to that of `logits`.
    sample_weight : array_like, optional
        Weights of the elements, at least 0, of a shape that broadcasts to that of `logits`.
    label_smoothing : float, optional
        In [0, 1]: how much of the target is spread evenly over yes and no.
    reduction : {"mean", "sum", "none"}, optional
        The mean over the elements, their sum, or each element's loss.

    Returns
    -------
    scalar or ndarray
        Of the dtype of `logits` (float32 for half precision, float64 for integers and booleans);
        of the shape of `logits` for "none".

    Raises
    ------
    TypeError
        If an array does not hold real numbers, or another argument is of the wrong type.
    ValueError
        If the shapes do not fit, a target is not in [0, 1], a weight is negative or NaN,
        `label_smoothing` is not in [0, 1], or `reduction` is unknown.

    See Also
    --------
    binary_cross_entropy_with_logits_value_and_grad : the same with its gradient, in one walk.

    Notes
    -----
    With the smoothing :math:`\varepsilon`, :math:`t' = (1 - \varepsilon) t + \varepsilon / 2`,
    the positive weight w and the sample weight s, the loss of an element is

    .. math:: s \bigl[w t' \log(1 + e^{-x}) + (1 - t') \log(1 + e^x)\bigr]

    and the mean divides their sum by that of s; it is NaN where that is 0. A target or
    positive weight of 0 beside an infinite logarithm makes 0.

    Largest error measured of an element's loss, of targets 0 and 1 alone: 1.9 ulp of float32, 1.2
    ulp of float64. Sums and means are accumulated in float64, in an order that depends on the
    number of elements alone.

    Examples
    --------
    >>> import numpy as np
    >>> from fastlogits import binary_cross_entropy_with_logits
    >>> binary_cross_entropy_with_logits([-1.0, 2.0], [0, 1], reduction="none").round(6)
    array([0.313262, 0.126928])
    """
    return _binary_cross_entropy(logits, targets, pos_weight, sample_weight, label_smoothing,
                                 reduction, False, None)


def binary_cross_entropy_with_logits_value_and_grad(
    logits, targets, *, pos_weight=None, sample_weight=None, label_smoothing=0.0,
    reduction="mean", out=None
):
    r"""Binary cross-entropy and its gradient with respect to the logits, in one walk.

    .. math:: \frac{\partial \ell}{\partial x} = \sigma(x) - t

    Parameters
    ----------
    logits, targets, pos_weight, sample_weight, label_smoothing, reduction
        As for `binary_cross_entropy_with_logits`.
    out : ndarray, optional
        Where to write the gradient: of its shape and dtype, writable. It may be `logits`, or
        overlap any of the arrays.

    Returns
    -------
    loss : scalar or ndarray
        What `binary_cross_entropy_with_logits` returns.
    grad : ndarray
        Of the shape and dtype of `logits` (float64 for integers and booleans); `out` if given.
        The gradient of the reduced loss, for "none" of the sum of the elements.

    Raises
    ------
    TypeError, ValueError
        As `binary_cross_entropy_with_logits`; ValueError also if `out` does not fit.

    Notes
    -----
    Largest error measured, of targets 0 and 1 alone: 1.1 ulp of the gradient, however near the
    probability is to the target; of subnormal ones 1.5 ulp.

    Examples
    --------
    >>> import numpy as np
    >>> from fastlogits import binary_cross_entropy_with_logits_value_and_grad
    >>> loss, grad = binary_cross_entropy_with_logits_value_and_grad([0.0, np.log(3)], [1, 0])
    >>> float(loss.round(6)), grad.round(6)
    (1.039721, array([-0.25 ,  0.375]))
    """
    return _binary_cross_entropy(logits, targets, pos_weight, sample_weight, label_smoothing,
                                 reduction, True, out)
