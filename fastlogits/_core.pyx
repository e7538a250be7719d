# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
# cython: freethreading_compatible=True, autotestdict=False
"""Thin wrappers around the C kernels: what comes in is checked and described, the kernels
compute without the GIL. No arithmetic on logits happens here.

The path of an array: `_logits` makes it one that the kernels can read and says what numbers it
holds, `_destination` finds the array they write, `_describe` describes both to them.
"""

import math
import numbers
import operator
import os
import sys

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

cimport numpy as cnp
from cpython.pycapsule cimport PyCapsule_GetPointer
from cpython.ref cimport Py_INCREF
from libc.stdint cimport int64_t
from libc.string cimport memset

from fastlogits cimport _kernels as k

cdef extern from *:
    const char *VERSION "FASTLOGITS_VERSION"
    const char *COMPILER "FASTLOGITS_COMPILER"

cdef extern from "numpy/arrayobject.h":
    cnp.ndarray PyArray_NewLikeArray(cnp.ndarray, cnp.NPY_ORDER, cnp.dtype, int)
    cnp.ndarray PyArray_NewCopy(cnp.ndarray, cnp.NPY_ORDER)
    object PyArray_Scalar(void *, cnp.dtype, object)

cdef extern from "Python.h":
    int PyErr_CheckSignals()  # without `except`: the exception is left set
    # With NULL what is beyond the range becomes the end of it: no int raises.
    ptrdiff_t PyNumber_AsSsize_t(object, void *) except? -1

cnp.import_array()


cdef int _interrupted() noexcept nogil:
    """Whether a signal's handler, Ctrl-C's for one, raised; its exception is then set."""
    with gil:
        return PyErr_CheckSignals() < 0


k.fl_parallel_init(_interrupted)

# Where two threads begin to pay: measured on rows of 1000, from 2^13 elements on (4 us) while the
# team is awake, but from 2^20 on where it has to be woken, which takes 30 us. And a call of fewer
# than 2^11 elements is over (1.5 us) before another thread could make use of the released GIL.
cdef enum:
    PARALLEL_ELEMENTS = 1 << 16
    KEEP_GIL_ELEMENTS = 1 << 11

# ---------------------------------------------------------------------------------------
# Instruction sets and threads
# ---------------------------------------------------------------------------------------

# What may change after the import is atomic: a free-threaded interpreter has no lock around it.
cdef extern from "<stdatomic.h>":
    ctypedef int atomic_int

cdef const k.fl_table *const *_tables
cdef int _n_tables = k.fl_tables(&_tables)
cdef atomic_int _table = 0  # which of them is in use
cdef int _environment_threads = 0  # FASTLOGITS_NUM_THREADS; 0: not set
cdef atomic_int _n_threads = 0  # what set_num_threads set; 0: the default rule


cdef const k.fl_table *_table_in_use() noexcept:
    cdef int i = _table  # GCC makes a plain load of an atomic subscript
    return _tables[i]


def available_isas():
    """Instruction sets that this machine can run, the fastest first.

    Returns
    -------
    tuple of str
        Of "avx512", "avx2" and "portable"; the last is always there.

    Examples
    --------
    >>> import fastlogits
    >>> fastlogits.available_isas()[-1]
    'portable'
    """
    return tuple([_tables[i].name.decode() for i in range(_n_tables)])


def get_isa():
    """The instruction set whose kernels are in use.

    Returns
    -------
    str
        One of `available_isas()`.

    Examples
    --------
    >>> import fastlogits
    >>> fastlogits.get_isa() in fastlogits.available_isas()
    True
    """
    return _table_in_use().name.decode()


cdef int _find_table(name, str argument) except -1:
    if not isinstance(name, str):
        raise TypeError(f"{argument} must be a string, got {type(name).__name__}")
    cdef int i
    for i in range(_n_tables):
        if _tables[i].name.decode() == name:
            return i
    raise ValueError(
        f"{argument} must be one of {', '.join(available_isas())} on this machine, got {name!r}"
    )


def set_isa(name):
    """Choose the instruction set for all calls that begin from now on, in all threads.

    Results do not change by a bit; the environment variable ``FASTLOGITS_ISA`` makes the
    same choice at import.

    Parameters
    ----------
    name : str
        One of `available_isas()`.

    Raises
    ------
    TypeError
        If `name` is not a string.
    ValueError
        If `name` is unknown, or this machine cannot run it.

    Examples
    --------
    >>> import fastlogits
    >>> best = fastlogits.get_isa()
    >>> fastlogits.set_isa("portable")
    >>> fastlogits.get_isa()
    'portable'
    >>> fastlogits.set_isa(best)
    """
    global _table
    _table = _find_table(name, "name")


def get_num_threads():
    """How many threads a large call would use now.

    Returns
    -------
    int
        What `set_num_threads` set; else ``FASTLOGITS_NUM_THREADS``; else ``OMP_NUM_THREADS``;
        else the least of what OpenMP allows, the CPU affinity and the cgroup quota. Always 1
        where the library was built without OpenMP.

    Examples
    --------
    >>> import fastlogits
    >>> fastlogits.get_num_threads() >= 1
    True
    """
    return _threads()


cdef int _threads() noexcept:
    if not k.fl_has_openmp():
        return 1
    cdef int set_by_user = _n_threads
    if set_by_user > 0:
        return set_by_user
    return _environment_threads if _environment_threads > 0 else k.fl_default_threads()


cdef int _thread_count(n, str argument) except -1:
    return _count(n, 1, 65536, argument)


cdef int _count(n, int least, int most, str argument) except -1:
    try:
        count = operator.index(n)
    except TypeError:
        raise TypeError(f"{argument} must be an integer, got {type(n).__name__}") from None
    if not least <= count <= most:
        raise ValueError(f"{argument} must be between {least} and {most}, got {count}")
    return count


def set_num_threads(n):
    """Set how many threads large calls use from now on, in all threads of the process.

    Results do not change by a bit. Small calls use one thread whatever is set.

    Parameters
    ----------
    n : int or None
        At least 1; None goes back to the default rule of `get_num_threads`.

    Raises
    ------
    TypeError
        If `n` is neither None nor an integer.
    ValueError
        If `n` is below 1 (or above 65536).

    Examples
    --------
    >>> import fastlogits
    >>> fastlogits.set_num_threads(1)
    >>> fastlogits.get_num_threads()
    1
    >>> fastlogits.set_num_threads(None)
    """
    global _n_threads
    _n_threads = 0 if n is None else _thread_count(n, "n")


def _set_threads():
    """What `set_num_threads` set; None under the default rule."""
    cdef int set_by_user = _n_threads
    return set_by_user or None


cdef int _threads_in_environment(str name) except -1:
    """A positive number; OpenMP also has lists of them, one for each level of nesting."""
    value = os.environ.get(name, "")
    if not value:
        return 0
    first, *more = value.split(",") if name.startswith("OMP_") else [value]
    try:
        for other in more:
            _thread_count(int(other), name)
        return _thread_count(int(first), name)
    except ValueError:
        raise ValueError(f"{name} must be a positive integer, got {value!r}") from None


def _read_environment():
    global _table, _environment_threads
    if os.environ.get("FASTLOGITS_ISA"):
        _table = _find_table(os.environ["FASTLOGITS_ISA"], "FASTLOGITS_ISA")
    _environment_threads = _threads_in_environment("FASTLOGITS_NUM_THREADS")
    _threads_in_environment("OMP_NUM_THREADS")  # OpenMP reads it itself, and ignores nonsense


_read_environment()


def _build_info():
    """What the build knows of itself, for `fastlogits.config`."""
    return {
        "version": VERSION.decode(),
        "compiler": COMPILER.decode(),
        "openmp": bool(k.fl_has_openmp()),
    }


# ---------------------------------------------------------------------------------------
# Arrays in, arrays out
# ---------------------------------------------------------------------------------------

include "arrays.pxi"


cdef enum:
    SEVERAL_AXES = -2


cdef str ANY_AXES = "an integer, a tuple of integers or None"


cdef _refuse_axis(axis, str expected):
    raise TypeError(f"axis must be {expected}, got {axis!r}")


cdef int _one_axis(axis, cnp.ndarray a, str expected) except -1:
    """The one axis meant, where there must be one."""
    if axis is None or isinstance(axis, tuple):
        _refuse_axis(axis, expected)
    return _axis_of(axis, a, expected)


cdef int _axis_of(axis, cnp.ndarray a, str expected) except? -1:
    """The one axis meant, or SEVERAL_AXES, which may also be none."""
    if axis is None:
        return 0 if cnp.PyArray_NDIM(a) <= 1 else SEVERAL_AXES
    if isinstance(axis, tuple):
        return SEVERAL_AXES
    if type(axis) is int:
        given = axis
    else:
        try:
            given = operator.index(axis)
        except TypeError:
            _refuse_axis(axis, expected)
    cdef ptrdiff_t number = PyNumber_AsSsize_t(given, NULL)
    cdef int ndim = cnp.PyArray_NDIM(a)  # not before the index is taken, which may run any code
    # NumPy's reductions, too, take a scalar for an array of one axis.
    if ndim == 0 and (number == 0 or number == -1):
        return 0
    if not -ndim <= number < ndim:
        raise np.exceptions.AxisError(given, ndim, "axis")
    return number if number >= 0 else number + ndim


cdef double _LARGEST = np.finfo(np.float64).max
cdef double _LEAST = np.finfo(np.float64).smallest_subnormal
cdef double _NORMAL = np.finfo(np.float64).smallest_normal


cdef double _number(value, double least, double most, str argument, str expected) except? -1.0:
    """A real number in [least, most]."""
    cdef double number = value if type(value) is float else _float_of(value, argument)
    if not least <= number <= most:
        raise ValueError(f"{argument} must be {expected}, got {number}")
    return number


cdef double _float_of(value, str argument) except? -1.0:
    if not isinstance(value, numbers.Real):
        raise TypeError(f"{argument} must be a real number, got {type(value).__name__}")
    try:
        return value
    except OverflowError:  # an integer beyond the floats
        return math.inf if value > 0 else -math.inf


# ---------------------------------------------------------------------------------------
# Calls of kernels
# ---------------------------------------------------------------------------------------

cdef const k.fl_kernels *_kernels_in(int compute) noexcept:
    cdef const k.fl_table *table = _table_in_use()
    return &table.f32 if compute == k.FL_F32 else &table.f64


cdef int _threads_for(ptrdiff_t n_elements) noexcept:
    return _threads() if n_elements >= PARALLEL_ELEMENTS else 1


cdef int _check_done(bint done) except -1:
    """Raises what interrupted a call of kernels, which is set already."""
    return 0 if done else -1


cdef int _run(k.fl_walk *walk, ptrdiff_t n_elements) except -1:
    """Raises what interrupted it."""
    cdef bint done
    cdef int threads = _threads_for(n_elements)
    if n_elements < KEEP_GIL_ELEMENTS:
        done = k.fl_walk_run(walk, threads)
    else:
        with nogil:
            done = k.fl_walk_run(walk, threads)
    return _check_done(done)


cdef _refuse_changed():
    """Shapes have been checked when kernels are called. But the code of an argument that is no
    array, or of another thread, may have run since then."""
    raise RuntimeError("an array changed its shape or dtype during the call")


cdef _describe(k.fl_walk *walk, int op, int compute, cnp.ndarray x, int axis, cnp.ndarray out,
               cnp.ndarray targets):
    """All rows of `x`; `targets`, if any, have its shape, and `out` that or the rows' alone."""
    cdef int d, ndim = cnp.PyArray_NDIM(x)
    cdef bint reduces = out is not None and cnp.PyArray_NDIM(out) < ndim
    if axis >= max(ndim, 1) or not (
        (out is None or _has_rows_of(out, x, axis if reduces else -1))
        and (targets is None or _has_rows_of(targets, x, -1))
    ):
        _refuse_changed()
    _begin(walk, op, compute)
    walk.rows.n_classes = cnp.PyArray_DIM(x, axis) if ndim else 1
    _view(&walk.rows.x, x, axis)
    _view(&walk.rows.out, out, -1 if reduces else axis)
    _view(&walk.rows.targets, targets, axis)
    for d in range(ndim):
        if d != axis:
            _add_rows(walk, cnp.PyArray_DIM(x, d), _stride(x, d),
                      _stride(out, d - (reduces and axis < d)), _stride(targets, d))


cdef _describe_several(k.fl_walk *walk, int op, int compute, cnp.ndarray x, tuple axes,
                       cnp.ndarray out, bint reduces, k.fl_axes *x_axes, k.fl_axes *out_axes):
    """The same with a row along several axes, in C order of their indices."""
    cdef int d, row_dim = 0
    x_axes.ndim = out_axes.ndim = 0
    cdef tuple x_shape = (<object>x).shape
    if (<object>out).shape != tuple(
        [length for d, length in enumerate(x_shape) if not (reduces and d in axes)]
    ):
        _refuse_changed()
    _begin(walk, op, compute)
    walk.rows.n_classes = 1
    for d in range(cnp.PyArray_NDIM(x)):
        if d in axes:
            walk.rows.n_classes *= cnp.PyArray_DIM(x, d)
            k.fl_axes_add(x_axes, cnp.PyArray_DIM(x, d), _stride(x, d))
            if not reduces:
                k.fl_axes_add(out_axes, cnp.PyArray_DIM(out, d), _stride(out, d))
        else:
            _add_rows(walk, cnp.PyArray_DIM(x, d), _stride(x, d),
                      _stride(out, row_dim if reduces else d), 0)
            row_dim += 1
    _view(&walk.rows.x, x, -1)
    _view(&walk.rows.out, out, -1)
    _lay_out(&walk.rows.x, x_axes)
    _lay_out(&walk.rows.out, out_axes)


cdef void _lay_out(k.fl_view *view, k.fl_axes *axes) noexcept:
    """The classes along `axes`, with one stride where that is all it takes."""
    if axes.ndim == 1:
        view.of_class = axes.stride[0]
    elif axes.ndim > 1:
        view.axes = axes


cdef _begin(k.fl_walk *walk, int op, int compute):
    # Of the dimensions only those that are added are ever read: to clear all takes 20 ns.
    memset(&walk.rows, 0, sizeof(k.fl_rows))
    walk.ndim = 0
    walk.sums = NULL
    walk.sum = _table_in_use().sum
    walk.kernel = _kernels_in(compute).rows[op]
    walk.op = op
    walk.rows.temperature = 1


cdef _add_rows(k.fl_walk *walk, ptrdiff_t length, ptrdiff_t x_stride, ptrdiff_t out_stride,
               ptrdiff_t targets_stride):
    if not k.fl_walk_add(walk, length, x_stride, out_stride, targets_stride):
        raise ValueError("too many dimensions")


cdef int _view(k.fl_view *view, cnp.ndarray a, int axis) except -1:
    """The first row of `a`, if there is one; with a negative axis of one element."""
    if a is None:
        return 0
    view.data = cnp.PyArray_DATA(a)
    view.format = _format(a)
    if view.format < 0:
        _refuse_changed()
    # With nothing to step over, the step of what lies without gaps.
    if cnp.PyArray_NDIM(a) == 0 or axis < 0 or cnp.PyArray_DIM(a, axis) == 1:
        view.of_class = cnp.PyArray_ITEMSIZE(a)
    else:
        view.of_class = cnp.PyArray_STRIDE(a, axis)
    return 0


cdef inline ptrdiff_t _stride(cnp.ndarray a, int d) noexcept:
    return 0 if a is None else cnp.PyArray_STRIDE(a, d)


cdef _run_rows(int op, int compute, cnp.ndarray x, int axis, cnp.ndarray out, double temperature):
    """One kernel over all rows of `x`; `out` has its shape, or that of the rows."""
    cdef k.fl_walk walk
    _describe(&walk, op, compute, x, axis, out, None)
    _run_into(&walk, out, temperature)


cdef _run_several(int op, int compute, cnp.ndarray x, tuple axes, cnp.ndarray out, bint reduces,
                  double temperature):
    """The same over rows along several axes."""
    cdef k.fl_walk walk
    cdef k.fl_axes x_axes, out_axes
    _describe_several(&walk, op, compute, x, axes, out, reduces, &x_axes, &out_axes)
    _run_into(&walk, out, temperature)


cdef _run_into(k.fl_walk *walk, cnp.ndarray out, double temperature):
    walk.rows.temperature = temperature
    # With nothing to write there may be more empty rows than could ever be visited.
    if cnp.PyArray_SIZE(out):
        _run(walk, k.fl_walk_rows(walk) * max(walk.rows.n_classes, 1))


cpdef tuple _several_axes(axis, int ndim):
    """The axes meant by a tuple, one of them or None, in 0 to ndim - 1."""
    if axis is None:
        return tuple(range(ndim))
    # Only a tuple stands for several axes: a list raises TypeError, as in NumPy's reductions.
    several = axis if isinstance(axis, tuple) else (axis,)
    try:
        return normalize_axis_tuple(several, ndim, "axis")
    except TypeError:
        _refuse_axis(axis, ANY_AXES)
    except OverflowError:
        raise np.exceptions.AxisError(f"axis {axis} is out of bounds for {ndim} axes") from None


cdef _normalised(int op, x, axis, temperature, dtype, out):
    """softmax and log_softmax: a result of the input's shape."""
    cdef cnp.ndarray a, result
    cdef _Types types
    cdef tuple axes
    a = _logits(x, dtype, "x", False, &types)
    cdef double t = _number(temperature, _LEAST, _LARGEST, "temperature", "positive and finite")
    cdef int one_axis = _axis_of(axis, a, ANY_AXES)
    if one_axis == SEVERAL_AXES:
        axes = _several_axes(axis, cnp.PyArray_NDIM(a))
    if out is not None:
        _check_out(out, a, types.result)
    result = _destination(a, types.result, out, False)
    if one_axis == SEVERAL_AXES:
        _run_several(op, types.compute, a, axes, result, False, t)
    else:
        _run_rows(op, types.compute, a, one_axis, result, t)
    return _deliver(result, out)


cdef _reduced(int op, x, str argument, axis, bint keepdims, dtype, out):
    """logsumexp and the confidences: one result per row."""
    cdef cnp.ndarray a, result
    cdef _Types types
    a = _logits(x, dtype, argument, True, &types)
    cdef int one_axis = _axis_of(axis, a, ANY_AXES)
    if out is None and not keepdims and one_axis != SEVERAL_AXES:
        result = _empty_rows(a, one_axis, types.result)
        _run_rows(op, types.compute, a, one_axis, result, 1.0)
        return _deliver(result, None)
    cdef tuple reduced = (one_axis,)
    if one_axis == SEVERAL_AXES:
        reduced = _several_axes(axis, cnp.PyArray_NDIM(a))
    cdef tuple shape_of_a = (<object>a).shape
    rows = tuple([length for d, length in enumerate(shape_of_a) if d not in reduced])
    shape = rows
    if keepdims:
        shape = tuple([1 if d in reduced else length for d, length in enumerate(shape_of_a)])
    kept = None
    if out is None:
        result = np.empty(rows, dtype=cnp.PyArray_DescrFromType(types.result))
    else:
        _check_out(out, a, types.result, shape)
        # Of a subclass, which may squeeze as it likes, the plain array.
        kept = np.asarray(out)
        if keepdims and shape:
            kept = kept.squeeze(reduced)
        result = _destination(a, types.result, kept, True)
    if one_axis == SEVERAL_AXES:
        _run_several(op, types.compute, a, reduced, result, True, 1.0)
    else:
        _run_rows(op, types.compute, a, one_axis, result, 1.0)
    if out is not None and result is kept:
        return out
    return _deliver((<object>result).reshape(shape), out)


cdef _elementwise(int op, x, dtype, out):
    """An operation on each element: any order of walking the array gives the same bits."""
    cdef cnp.ndarray a, result, flat, flat_result
    cdef _Types types
    a = _logits(x, dtype, "x", False, &types)
    if out is not None:
        _check_out(out, a, types.result)
    result = _destination(a, types.result, out, False)
    cdef int ndim = cnp.PyArray_NDIM(a)
    if ndim > 1 and not (cnp.PyArray_IS_C_CONTIGUOUS(a) and cnp.PyArray_IS_C_CONTIGUOUS(result)):
        # The dimension with the smallest stride is walked innermost.
        order = sorted(range(ndim), key=lambda i: -abs(cnp.PyArray_STRIDE(a, i)))
        flat, flat_result = (<object>a).transpose(order), (<object>result).transpose(order)
    else:
        flat, flat_result = a, result
    _run_flat(op, types.compute, flat, flat_result)
    return _deliver(result, out)


cdef _run_flat(int op, int compute, cnp.ndarray x, cnp.ndarray out):
    cdef k.fl_walk walk
    cdef int ndim = cnp.PyArray_NDIM(x)
    cdef ptrdiff_t x_size = cnp.PyArray_ITEMSIZE(x), out_size = cnp.PyArray_ITEMSIZE(out)
    cdef ptrdiff_t piece = 4096, n = cnp.PyArray_SIZE(x), whole = n - n % piece
    if not _has_rows_of(out, x, -1):
        _refuse_changed()
    if n == 0:
        return
    if ndim > 0 and not (cnp.PyArray_IS_C_CONTIGUOUS(x) and cnp.PyArray_IS_C_CONTIGUOUS(out)):
        _run_rows(op, compute, x, ndim - 1, out, 1.0)
        return
    # Pieces of one long row share the threads evenly; the last one may be shorter.
    _begin(&walk, op, compute)
    _view(&walk.rows.x, x, -1)
    _view(&walk.rows.out, out, -1)
    if whole:
        walk.rows.n_classes = piece
        k.fl_walk_add(&walk, n // piece, piece * x_size, piece * out_size, 0)
        _run(&walk, n)
    walk.ndim = 0
    walk.rows.n_classes = n % piece
    walk.rows.x.data = <char *>cnp.PyArray_DATA(x) + whole * x_size
    walk.rows.out.data = <char *>cnp.PyArray_DATA(out) + whole * out_size
    _run(&walk, n % piece)


# ---------------------------------------------------------------------------------------
# Public functions
# ---------------------------------------------------------------------------------------

def softmax(x, axis=-1, *, temperature=1.0, dtype=None, out=None):
    r"""Probabilities of the classes from their logits.

    .. math:: p_c = \frac{e^{x_c / T}}{\sum_k e^{x_k / T}}

    Parameters
    ----------
    x : array_like
        Logits, of any shape, strides, alignment and byte order: float32 and float64 (computed as
        they are), float16 and bfloat16 (computed in float32), integers and booleans (computed in
        float64). None is copied, whatever its layout, also not where it comes through
        ``__dlpack__`` from another library.
    axis : int, tuple of ints or None, optional
        The class axis. Several axes are normalised together; None is all of them.
    temperature : float, optional
        Positive and finite; divides the logits.
    dtype : dtype, optional
        Of the result: float16, bfloat16, float32 or float64. Default: that of `x`, float64 for
        integers and booleans. The computation is at least as precise as the wider of both.
    out : ndarray, optional
        Where to write: of the shape and dtype of the result, writable. It may be `x`, or
        overlap it in any way.

    Returns
    -------
    ndarray or scalar
        Of the shape of `x`; `out` if given.

    Raises
    ------
    TypeError
        If `x` does not hold real numbers or has masked elements; if `axis`, `temperature`,
        `dtype` or `out` is of the wrong type.
    ValueError
        If `temperature` is not in (0, inf), an axis is repeated, or `out` does not fit.
    numpy.exceptions.AxisError
        If `axis` is out of range.

    Notes
    -----
    Largest error measured, temperature 1: 1.8 ulp on random rows, 3.3 ulp on rows of float32
    that were built for their rounding errors to add up. Where the temperature or its reciprocal
    nears the ends of the dtype's range, only limits are right. A row with a NaN or +inf, or of
    nothing but -inf, is NaN. The bits of a row depend on that row alone.

    Method: exponentials without rounding the difference to the maximum (Cody and Waite's
    reduction of the logit itself, the exponent of the maximum taken off as an integer),
    summed in a fixed number of lanes and folded into float64.

    Examples
    --------
    >>> import numpy as np
    >>> from fastlogits import softmax
    >>> softmax(np.log([[1.0, 3.0], [2.0, 8.0]])).round(12)
    array([[0.25, 0.75],
           [0.2 , 0.8 ]])
    """
    return _normalised(k.FL_SOFTMAX, x, axis, temperature, dtype, out)


def log_softmax(x, axis=-1, *, temperature=1.0, dtype=None, out=None):
    r"""Logarithms of the probabilities of the classes.

    .. math:: \log p_c = (x_c - \max_k x_k) / T
              - \log \sum_k e^{(x_k - \max_j x_j) / T}

    Parameters
    ----------
    x, axis, temperature, dtype, out
        As for `softmax`.

    Returns
    -------
    ndarray or scalar
        Of the shape of `x`; `out` if given.

    Raises
    ------
    TypeError, ValueError, numpy.exceptions.AxisError
        As `softmax`.

    Notes
    -----
    Largest error measured, temperature 1: 1.8 ulp on random rows, 2.4 ulp on rows of float32
    that were built for their rounding errors to add up; also where a row is so confident that the
    probability rounds to 1: the sum of all but the largest is kept to its own last place and
    enters through log1p. Special values as in `softmax`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastlogits import log_softmax
    >>> log_softmax(np.float32([0, -23])).tolist()
    [-1.0261879540562902e-10, -23.0]
    """
    return _normalised(k.FL_LOG_SOFTMAX, x, axis, temperature, dtype, out)


def logsumexp(x, axis=-1, *, keepdims=False, dtype=None, out=None):
    r"""Logarithm of the sum of exponentials.

    .. math:: \log \sum_k e^{x_k}

    Parameters
    ----------
    x : array_like
        Logits, as for `softmax`. The result of half precision is float32.
    axis : int, tuple of ints or None, optional
        The axes to sum over.
    keepdims : bool, optional
        Whether the axes summed over stay, with length 1.
    dtype, out
        As for `softmax`, of the result.

    Returns
    -------
    ndarray or scalar
        Of the shape of `x` without `axis`.

    Raises
    ------
    TypeError, ValueError, numpy.exceptions.AxisError
        As `softmax`.

    Notes
    -----
    Largest error measured: 0.9 ulp of the largest of the result, the largest logit and 1, on
    random rows; 1.2 ulp on rows of float32 that were built for their rounding errors to add up.
    -inf for rows of nothing but -inf and for empty ones, +inf for rows with +inf, NaN for
    rows with NaN.

    Examples
    --------
    >>> import numpy as np
    >>> from fastlogits import logsumexp
    >>> round(float(logsumexp([1000.0, 1000.0])), 6)
    1000.693147
    """
    return _reduced(k.FL_LOGSUMEXP, x, "x", axis, keepdims, dtype, out)


def sigmoid(x, *, dtype=None, out=None):
    r"""Probability of the positive class from its logit, element by element.

    .. math:: \frac{1}{1 + e^{-x}}

    Parameters
    ----------
    x, dtype, out
        As for `softmax`.

    Returns
    -------
    ndarray or scalar
        Of the shape of `x`; `out` if given.

    Raises
    ------
    TypeError, ValueError
        As `softmax`.

    Notes
    -----
    Largest error measured: 0.8 ulp; of subnormal results 1.5 ulp.

    Examples
    --------
    >>> from fastlogits import sigmoid
    >>> sigmoid([-1.0, 0.0, 1.0]).round(4)
    array([0.2689, 0.5   , 0.7311])
    """
    return _elementwise(k.FL_SIGMOID, x, dtype, out)


def log_sigmoid(x, *, dtype=None, out=None):
    r"""Logarithm of the sigmoid, element by element.

    .. math:: \log \frac{1}{1 + e^{-x}} = \min(x, 0) - \log(1 + e^{-|x|})

    Parameters
    ----------
    x, dtype, out
        As for `softmax`.

    Returns
    -------
    ndarray or scalar
        Of the shape of `x`; `out` if given.

    Raises
    ------
    TypeError, ValueError
        As `softmax`.

    Notes
    -----
    Largest error measured: 1.9 ulp of float32, 1.1 ulp of float64.

    Examples
    --------
    >>> from fastlogits import log_sigmoid
    >>> log_sigmoid([-1000.0, 0.0]).round(4)
    array([-1.000e+03, -6.931e-01])
    """
    return _elementwise(k.FL_LOG_SIGMOID, x, dtype, out)


def softplus(x, *, dtype=None, out=None):
    r"""Smooth maximum of 0 and `x`, element by element.

    .. math:: \log(1 + e^x) = \max(x, 0) + \log(1 + e^{-|x|})

    Parameters
    ----------
    x, dtype, out
        As for `softmax`.

    Returns
    -------
    ndarray or scalar
        Of the shape of `x`; `out` if given.

    Raises
    ------
    TypeError, ValueError
        As `softmax`.

    Notes
    -----
    Largest error measured: 1.9 ulp of float32, 1.2 ulp of float64.

    Examples
    --------
    >>> from fastlogits import softplus
    >>> softplus([-10.0, 0.0, 10.0]).round(6)
    array([4.5000000e-05, 6.9314700e-01, 1.0000045e+01])
    """
    return _elementwise(k.FL_SOFTPLUS, x, dtype, out)


# ---------------------------------------------------------------------------------------
# Losses
# ---------------------------------------------------------------------------------------

include "losses.pxi"
include "binary.pxi"


# ---------------------------------------------------------------------------------------
# Decisions
# ---------------------------------------------------------------------------------------

include "decisions.pxi"


# ---------------------------------------------------------------------------------------
# Scores
# ---------------------------------------------------------------------------------------

include "scores.pxi"


# ---------------------------------------------------------------------------------------
# For benchmarks: what operations cannot do without
# ---------------------------------------------------------------------------------------

include "limits.pxi"


# ---------------------------------------------------------------------------------------
# For tests: the vocabulary of each instruction set, operation by operation
# ---------------------------------------------------------------------------------------

def _probe_ops():
    """Names of the operations that `_probe` knows."""
    names = []
    cdef const k.fl_probe *probe = _tables[0].probes
    while probe.name != NULL:
        names.append(probe.name.decode())
        probe += 1
    return tuple(names)


def _probe(isa, op, a, b, c):
    """One operation on one group of virtual lanes: 32 of float32 or 16 of float64."""
    cdef cnp.ndarray x = np.ascontiguousarray(a), y = np.ascontiguousarray(b)
    cdef cnp.ndarray z = np.ascontiguousarray(c), out = np.empty_like(x)
    cdef const k.fl_probe *probe = _tables[_find_table(isa, "isa")].probes
    lanes = {np.dtype(np.float32): k.FL_LANES_F32, np.dtype(np.float64): k.FL_LANES_F64}
    for array in (x, y, z):
        if array.dtype != x.dtype or (<object>array).shape != (lanes.get(x.dtype),):
            raise ValueError("a, b and c must be one group of virtual lanes of one dtype")
    while probe.name != NULL and probe.name.decode() != op:
        probe += 1
    if probe.name == NULL:
        raise ValueError(f"op must be one of {', '.join(_probe_ops())}, got {op!r}")
    if cnp.PyArray_TYPE(x) == cnp.NPY_FLOAT32:
        probe.f32(<const float *>cnp.PyArray_DATA(x), <const float *>cnp.PyArray_DATA(y),
                  <const float *>cnp.PyArray_DATA(z), <float *>cnp.PyArray_DATA(out))
    else:
        probe.f64(<const double *>cnp.PyArray_DATA(x), <const double *>cnp.PyArray_DATA(y),
                  <const double *>cnp.PyArray_DATA(z), <double *>cnp.PyArray_DATA(out))
    return out
