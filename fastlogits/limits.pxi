# Limits of operations, for benchmarks: included by _core.pyx. What is counted is said in
# src/kernels/limits.h.

cdef dict _LIMITS = {
    "softmax": k.FL_LIMIT_SOFTMAX,
    "log_softmax": k.FL_LIMIT_LOG_SOFTMAX,
    "logsumexp": k.FL_LIMIT_LOGSUMEXP,
    "cross_entropy": k.FL_LIMIT_LOGSUMEXP,
    "cross_entropy_soft": k.FL_LIMIT_SOFT_TARGETS,
    "cross_entropy_value_and_grad": k.FL_LIMIT_GRADIENT,
    "sigmoid": k.FL_LIMIT_SIGMOID,
    "binary_cross_entropy": k.FL_LIMIT_BINARY_LOSS,
    "binary_cross_entropy_value_and_grad": k.FL_LIMIT_BINARY_GRADIENT,
}


def _limit(operation, cnp.ndarray x not None, cnp.ndarray out not None,
           cnp.ndarray targets not None, n_classes):
    """Do to `x`, as rows of `n_classes`, what the operation cannot do without.

    All three arrays have to be there, whether the operation uses them or not. `out` may be
    written, with numbers that mean nothing.
    """
    if operation not in _LIMITS:
        raise ValueError(f"operation must be one of {', '.join(_LIMITS)}, got {operation!r}")
    cdef k.fl_limit limit
    limit.n_classes = _count(n_classes, 1, 2**31 - 1, "n_classes")
    limit.format = _format(x)
    limit.n = cnp.PyArray_SIZE(x)
    cdef cnp.ndarray a
    for a in (x, out, targets):
        if not (cnp.PyArray_ISCARRAY_RO(a) and _is_floating(a) and _format(a) == limit.format >= 0
                and cnp.PyArray_SIZE(a) == limit.n):
            raise ValueError("x, out and targets must be C-ordered, of one floating dtype and size")
    if not cnp.PyArray_ISWRITEABLE(out):
        raise ValueError("out must be writable, got a read-only array")
    limit.x = cnp.PyArray_DATA(x)
    limit.out = cnp.PyArray_DATA(out)
    limit.targets = cnp.PyArray_DATA(targets)
    cdef k.fl_task *loop = _kernels_in(_compute_in(limit.format)).limits[<int>_LIMITS[operation]]
    cdef ptrdiff_t n_chunks = limit.n // k.FL_LIMIT_CHUNK + (limit.n % k.FL_LIMIT_CHUNK > 0)
    cdef int threads = _threads_for(limit.n)
    cdef bint done
    with nogil:
        done = k.fl_parallel(loop, &limit, n_chunks, k.FL_STEP // k.FL_LIMIT_CHUNK, threads)
    _check_done(done)
