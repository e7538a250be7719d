# Arrays in, arrays out: included by _core.pyx. What a user hands over becomes an array that the
# kernels read as it lies, and what they write becomes what the user gets.

# ---------------------------------------------------------------------------------------
# What numbers an array holds
# ---------------------------------------------------------------------------------------

cdef atomic_int _bfloat16_number = -1  # NumPy's number of ml_dtypes' type; -1: not seen so far


cdef int _number_of_bfloat16() noexcept:
    global _bfloat16_number
    cdef int number = _bfloat16_number
    if number < 0:
        # Another thread may be in the middle of its import.
        bfloat16 = getattr(sys.modules.get("ml_dtypes"), "bfloat16", None)
        if bfloat16 is not None:
            number = np.dtype(bfloat16).num  # Clang takes no Python object for an atomic one
            _bfloat16_number = number
    return number


cdef int _format_of_integers(ptrdiff_t size) noexcept:
    if size == 8:
        return k.FL_I64
    return k.FL_I32 if size == 4 else k.FL_I16 if size == 2 else k.FL_I8


cdef int _format(cnp.ndarray a) noexcept:
    """How the kernels read the elements of `a`; -1: they cannot."""
    cdef int number = cnp.PyArray_TYPE(a), format
    if number == cnp.NPY_FLOAT32:
        format = k.FL_F32
    elif number == cnp.NPY_FLOAT64:
        format = k.FL_F64
    elif number == cnp.NPY_FLOAT16:
        format = k.FL_F16
    elif number == cnp.NPY_BOOL:
        return k.FL_BOOL
    elif cnp.PyTypeNum_ISINTEGER(number):
        format = _format_of_integers(cnp.PyArray_ITEMSIZE(a)) + cnp.PyTypeNum_ISUNSIGNED(number)
    elif number == _number_of_bfloat16():
        format = k.FL_BF16
    else:
        return -1
    return format + (k.FL_SWAPPED if cnp.PyArray_ISBYTESWAPPED(a) else 0)


cdef int _compute_in(int format) noexcept:
    """The format to compute in."""
    format %= k.FL_SWAPPED
    if format == k.FL_F32 or format == k.FL_F16 or format == k.FL_BF16:
        return k.FL_F32
    return k.FL_F64


cdef bint _is_floating(cnp.ndarray a) noexcept:
    cdef int number = cnp.PyArray_TYPE(a)
    # NumPy's own types need no look at what has been imported.
    return cnp.PyTypeNum_ISFLOAT(number) or (
        cnp.PyTypeNum_ISUSERDEF(number) and number == _number_of_bfloat16()
    )


cdef cnp.dtype _FLOAT32 = np.dtype(np.float32)
cdef cnp.dtype _FLOAT64 = np.dtype(np.float64)


cdef cnp.dtype _computed(int compute):
    return _FLOAT32 if compute == k.FL_F32 else _FLOAT64


cdef _refuse_dtype(cnp.ndarray a, str argument):
    advice = {
        "c": "take its real part, or use fastlogits.special",
        "O": "convert it with astype(float); sparse matrices with toarray()",
        "f": "convert it to float64",
    }.get(a.dtype.kind, "convert it to numbers first")
    raise TypeError(
        f"{argument} must hold real numbers (float16, bfloat16, float32, float64, integers or "
        f"booleans), got dtype {a.dtype}: {advice}"
    )


# ---------------------------------------------------------------------------------------
# Arrays in
# ---------------------------------------------------------------------------------------

cpdef cnp.ndarray _array(x, str argument):
    """`x` as a plain array, of any dtype; what lies in another library's memory is not copied."""
    if cnp.PyArray_CheckExact(x):
        return x
    if isinstance(x, np.ma.MaskedArray):
        if np.ma.is_masked(x):
            raise TypeError(
                f"{argument} must not have masked elements, got a masked array that does: "
                f"fill them, for logits with -inf, as in x.filled(-numpy.inf)"
            )
        return np.asarray(x.data)
    if isinstance(x, np.ndarray):
        return np.asarray(x)
    _refuse_lazy(x, argument)
    try:
        return _as_array(x)
    except (BufferError, RuntimeError, TypeError) as error:
        # What PyTorch says of a tensor that requires a gradient.
        raise TypeError(f"{argument} cannot be read as an array: {error}") from error
    except ValueError as error:
        raise ValueError(f"{argument} cannot be read as an array: {error}") from error


cdef cnp.ndarray _as_array(x):
    if not hasattr(x, "__dlpack__"):
        return np.asarray(x)
    _refuse_device(x)
    try:
        # Where there are both, the array knows more: of a tensor to be negated, or of nulls.
        return np.asarray(x) if hasattr(x, "__array__") else np.from_dlpack(x)
    except (RuntimeError, TypeError):
        if "bfloat16" not in str(getattr(x, "dtype", "")):
            raise
        return _bfloat16_from_dlpack(x)
    except ValueError as error:
        raise TypeError(error) from error


cdef _refuse_lazy(x, str argument):
    """What has not been computed yet: when that is done, and where, is for its owner to say."""
    graph = getattr(type(x), "__dask_graph__", None)
    if graph is not None and graph(x) is not None:
        how = "compute()"
    elif hasattr(type(x), "collect") and not hasattr(type(x), "__array__"):
        how = "collect()"
    else:
        return
    raise TypeError(f"{argument} must be computed, got a lazy {type(x).__name__}: call its {how}")


# DLPack's numbers of the CPU's memory: plain, or pinned for a GPU of either make.
cdef _CPU_DEVICES = (1, 3, 11)


cdef _refuse_device(x):
    """Of JAX, `__array__` would copy from a GPU."""
    try:
        device = x.__dlpack_device__()
    except (AttributeError, ValueError) as error:  # of a tensor without memory
        raise TypeError(error) from error
    if device[0] not in _CPU_DEVICES:
        raise TypeError(f"it must be in the memory of the CPU, got device {device}")


cdef extern from *:
    """
    /* DLPack's structures, version 0: https://dmlc.github.io/dlpack/latest/c_api.html */
    typedef struct {
        void *data;
        struct { int32_t type, id; } device;
        int32_t ndim;
        struct { uint8_t code, bits; uint16_t lanes; } dtype;
        int64_t *shape, *strides;
        uint64_t byte_offset;
    } fl_dl_tensor;
    """
    ctypedef struct fl_dl_tensor:
        void *data
        int ndim
        int64_t *shape
        int64_t *strides
        size_t byte_offset


cdef cnp.ndarray _bfloat16_from_dlpack(x):
    """NumPy knows the type only from ml_dtypes, and DLPack's name of it not at all."""
    try:
        from ml_dtypes import bfloat16
    except ImportError:
        raise TypeError("bfloat16 needs the package ml_dtypes: pip install ml_dtypes") from None
    capsule = x.__dlpack__()
    cdef fl_dl_tensor *tensor = <fl_dl_tensor *>PyCapsule_GetPointer(capsule, "dltensor")
    cdef cnp.npy_intp shape[k.FL_MAX_DIMS]
    cdef cnp.npy_intp strides[k.FL_MAX_DIMS]
    cdef cnp.npy_intp step = 2
    cdef int d
    if tensor.ndim > k.FL_MAX_DIMS:
        raise ValueError(f"{tensor.ndim} dimensions are too many")
    for d in range(tensor.ndim - 1, -1, -1):
        shape[d] = tensor.shape[d]
        strides[d] = tensor.strides[d] * 2 if tensor.strides != NULL else step
        step *= shape[d]
    cdef cnp.ndarray bits = cnp.PyArray_New(
        np.ndarray, tensor.ndim, shape, cnp.NPY_UINT16, strides,
        <char *>tensor.data + tensor.byte_offset, 0, 0, None
    )
    # Whoever holds the array holds the tensor; unused, the capsule gives it back when it goes.
    cnp.set_array_base(bits, capsule)
    return (<object>bits).view(bfloat16)


cdef cnp.dtype _wanted_dtype(dtype):
    try:
        wanted = np.dtype(dtype)
        if wanted.isnative and wanted.num in (
            cnp.NPY_FLOAT16, cnp.NPY_FLOAT32, cnp.NPY_FLOAT64, _number_of_bfloat16()
        ):
            return wanted
    except (TypeError, ValueError):  # it is none at all
        pass
    raise TypeError(f"dtype must be float16, bfloat16, float32 or float64, got {dtype!r}")


# What is computed, and from what to what.
cdef struct _Types:
    int compute  # FL_F32 or FL_F64
    int result  # the number of NumPy's type of the result


cdef cnp.ndarray _logits(x, dtype, str argument, bint reduces, _Types *types):
    """`x` as an array that the kernels can read.

    The result is of `dtype` or that of `x`, but not of the half precision of rows that `reduces`
    makes one number of.
    """
    cdef cnp.ndarray a = _array(x, argument)
    cdef int format = _format(a)
    if format < 0:
        _refuse_dtype(a, argument)
    types.compute = _compute_in(format)
    types.result = cnp.NPY_FLOAT32 if types.compute == k.FL_F32 else cnp.NPY_FLOAT64
    if dtype is None:
        if cnp.PyArray_ITEMSIZE(a) == 2 and types.compute == k.FL_F32 and not reduces:
            types.result = cnp.PyArray_TYPE(a)
        return a
    wanted = _wanted_dtype(dtype)
    types.result = wanted.num
    if wanted.num == cnp.NPY_FLOAT64:
        types.compute = k.FL_F64
    return a


# ---------------------------------------------------------------------------------------
# Arrays out
# ---------------------------------------------------------------------------------------

cdef bint _has_rows_of(cnp.ndarray a, cnp.ndarray x, int axis) noexcept:
    """Whether `a` has the shape of `x`, or of `x` without `axis` unless that is negative."""
    cdef int d, ndim = cnp.PyArray_NDIM(a)
    if ndim != cnp.PyArray_NDIM(x) - (axis >= 0):
        return False
    for d in range(ndim):
        if cnp.PyArray_DIM(a, d) != cnp.PyArray_DIM(x, d + (0 <= axis <= d)):
            return False
    return True


cdef cnp.ndarray _empty_rows(cnp.ndarray x, int axis, int number):
    """A new array of the shape of `x` without `axis`, of the dtype of that number."""
    cdef cnp.npy_intp shape[k.FL_MAX_DIMS]
    cdef int d, ndim = max(cnp.PyArray_NDIM(x) - 1, 0)
    for d in range(ndim):
        shape[d] = cnp.PyArray_DIM(x, d + (axis <= d))
    return cnp.PyArray_EMPTY(ndim, shape, number, 0)


cdef _check_out(out, cnp.ndarray like, int number, tuple shape=None):
    """`number`: of NumPy's type of the result; `shape`: that of `like` where it is None."""
    if shape is None:
        if (cnp.PyArray_CheckExact(out) and cnp.PyArray_TYPE(out) == number
                and cnp.PyArray_ISBEHAVED(out) and _has_rows_of(out, like, -1)):
            return  # what nearly all are, without a look at any Python object
        shape = (<object>like).shape
    if not isinstance(out, np.ndarray):
        raise TypeError(f"out must be a numpy array, got {type(out).__name__}")
    if out.shape != shape:
        raise ValueError(f"out must have shape {shape}, got {out.shape}")
    if out.dtype.num != number:
        wanted = cnp.PyArray_DescrFromType(number)
        raise ValueError(f"out must have dtype {wanted}, got {out.dtype}")
    if not out.dtype.isnative:
        raise ValueError(f"out must be in native byte order, got dtype {out.dtype.str}")
    if not out.flags.writeable:
        raise ValueError("out must be writable, got a read-only array")


cdef bint _is_same_place(cnp.ndarray x, cnp.ndarray out):
    cdef int d
    if cnp.PyArray_DATA(x) != cnp.PyArray_DATA(out) or _format(x) != _format(out):
        return False
    for d in range(cnp.PyArray_NDIM(x)):
        if (cnp.PyArray_DIM(x, d) > 1
                and cnp.PyArray_STRIDE(x, d) != cnp.PyArray_STRIDE(out, d)):
            return False
    return True


cdef bint _may_overlap(cnp.ndarray a, cnp.ndarray b) noexcept:
    """Whether the memory from the first to the last byte of each has a byte of the other."""
    cdef ptrdiff_t a_low, a_high, b_low, b_high
    return (_extent(a, &a_low, &a_high) and _extent(b, &b_low, &b_high)
            and a_low < b_high and b_low < a_high)


cdef bint _extent(cnp.ndarray a, ptrdiff_t *low, ptrdiff_t *high) noexcept:
    """Whether there is any."""
    cdef ptrdiff_t length
    cdef int d
    low[0] = <ptrdiff_t>cnp.PyArray_DATA(a)
    high[0] = low[0] + cnp.PyArray_ITEMSIZE(a)
    for d in range(cnp.PyArray_NDIM(a)):
        if cnp.PyArray_DIM(a, d) == 0:
            return False
        length = (cnp.PyArray_DIM(a, d) - 1) * cnp.PyArray_STRIDE(a, d)
        if length < 0:
            low[0] += length
        else:
            high[0] += length
    return True


cdef cnp.ndarray _destination(cnp.ndarray x, int number, out, bint reduces):
    """Where the kernels may write: `out` as a plain array, or one to be copied into it.

    `number` is that of NumPy's type of the result. `reduces` says that `out` has one result per
    row, which must then not lie among the logits at all; else it has the shape of `x`.
    """
    cdef cnp.dtype dtype
    cdef cnp.ndarray plain
    if out is not None:
        plain = out if cnp.PyArray_CheckExact(out) else np.asarray(out)
        if not _may_overlap(x, plain) or (not reduces and _is_same_place(x, plain)):
            return plain
    dtype = cnp.PyArray_DescrFromType(number)
    if reduces:
        return np.empty((<object>plain).shape, dtype=dtype)
    Py_INCREF(dtype)  # the new array keeps it
    return PyArray_NewLikeArray(x, cnp.NPY_KEEPORDER, dtype, 0)


cdef _cast(cnp.ndarray a, dtype):
    """`a` in another dtype, of which what is beyond the range becomes 0 or infinite in silence."""
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        return (<object>a).astype(dtype, copy=False)


cdef _deliver(cnp.ndarray result, out):
    """What the caller gets: `out`, or the result, as a scalar if it has no axes."""
    if out is None:
        return result if cnp.PyArray_NDIM(result) else result[()]
    # Of a subclass, which may copy as it likes, the plain array.
    if result is not out and not _is_same_place(result, out):
        np.copyto(np.asarray(out), result)
    return out
