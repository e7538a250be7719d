"""SciPy's signatures, defaults and result dtypes, on the kernels of `fastlogits`.

``from fastlogits.special import softmax`` stands in for ``from scipy.special import softmax``.
Real logits of up to 64 bits without weights go to the compiled kernels. Weights, complex numbers
and extended precision are computed here, in NumPy, with the same care: the largest term is left
out of the sum and the rest enters through log1p.

Where this module differs from SciPy on purpose:

- a weight of zero removes its term whatever the logit, also beside other infinite terms;
- the sign that belongs to a sum of nothing is 0;
- booleans are accepted by every function, and unsigned integers are not negated modulo 2^n;
- empty arrays may have any number of dimensions;
- objects, strings and dates raise TypeError everywhere, as do masked arrays with masked elements.
"""

from collections.abc import Callable
from typing import Any, Literal, TypeAlias, TypeGuard, overload

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from fastlogits._core import _array as _as_array
from fastlogits._core import _several_axes
from fastlogits._core import log_sigmoid as _log_sigmoid
from fastlogits._core import log_softmax as _log_softmax
from fastlogits._core import logsumexp as _logsumexp
from fastlogits._core import sigmoid as _sigmoid
from fastlogits._core import softmax as _softmax

__all__ = ["expit", "log_expit", "log_softmax", "logsumexp", "softmax"]

Axis: TypeAlias = int | tuple[int, ...] | None
_Array: TypeAlias = NDArray[Any]

# Extended precision and complex numbers, which the kernels do not know.
_WIDE = "gFDG"


def softmax(x: ArrayLike, axis: Axis = None) -> Any:
    r"""Exponentials of logits, normalised to a sum of 1.

    .. math:: \operatorname{softmax}(x)_c = \frac{e^{x_c}}{\sum_k e^{x_k}}

    Parameters
    ----------
    x : array_like
        Logits of any shape: real, complex, integer or boolean.
    axis : int or tuple of ints, optional
        The axes that the sum runs over, together. Default: all of them.

    Returns
    -------
    ndarray or scalar
        Of the shape of `x`; a scalar where `x` has no dimensions. Its dtype is that of ``exp(x)``
        in NumPy: the input's for floating and complex dtypes, float16 and float32 for integers of
        8 and 16 bits, float64 for wider ones. Booleans give float64.

    Raises
    ------
    TypeError
        If `x` does not hold numbers or has masked elements, or if `axis` is no integer.
    ValueError
        If there is nothing to normalise along `axis`, or if an axis is repeated.
    numpy.exceptions.AxisError
        If `axis` is out of range.

    See Also
    --------
    log_softmax, logsumexp

    Notes
    -----
    A NaN, an infinity, or nothing but -inf makes all of its row NaN.

    Examples
    --------
    >>> import numpy as np
    >>> from fastlogits.special import softmax
    >>> softmax(np.log([[1.0, 3.0], [2.0, 8.0]]), axis=1).round(12)
    array([[0.25, 0.75],
           [0.2 , 0.8 ]])
    """
    if _is_plain(x) and (axis is None or type(axis) is int):
        return _softmax(x, axis)
    return _normalise(x, axis, "softmax", _softmax, _wide_softmax)


def log_softmax(x: ArrayLike, axis: Axis = None) -> Any:
    r"""Logarithm of `softmax`, exact also where a class is nearly certain.

    .. math:: \operatorname{log\_softmax}(x)_c = x_c - \log \sum_k e^{x_k}

    Parameters
    ----------
    x : array_like
        Logits of any shape: real, complex, integer or boolean.
    axis : int or tuple of ints, optional
        The axes that the sum runs over, together. Default: all of them.

    Returns
    -------
    ndarray or scalar
        Of the shape of `x`; a scalar where `x` has no dimensions. Its dtype is that of ``exp(x)``
        in NumPy: the input's for floating and complex dtypes, float16 and float32 for integers of
        8 and 16 bits, float64 for wider ones. Booleans give float64.

    Raises
    ------
    TypeError
        If `x` does not hold numbers or has masked elements, or if `axis` is no integer.
    ValueError
        If there is nothing to normalise along `axis`, or if an axis is repeated.
    numpy.exceptions.AxisError
        If `axis` is out of range.

    See Also
    --------
    softmax, logsumexp

    Notes
    -----
    The imaginary part of a complex result is not wrapped: it is the distance to the imaginary
    part of the largest logit, less the angle of the sum relative to that logit.

    Examples
    --------
    >>> import numpy as np
    >>> from fastlogits.special import log_softmax
    >>> np.exp(log_softmax([0.0, np.log(3.0)])).round(12)
    array([0.25, 0.75])

    The likely class of a confident row keeps all its digits:

    >>> print("%.4e" % log_softmax([50.0, 0.0])[0])
    -1.9287e-22
    """
    if _is_plain(x) and (axis is None or type(axis) is int):
        return _log_softmax(x, axis)
    return _normalise(x, axis, "log_softmax", _log_softmax, _wide_log_softmax)


@overload
def logsumexp(
    a: ArrayLike,
    axis: Axis = None,
    b: ArrayLike | None = None,
    keepdims: bool = False,
    return_sign: Literal[False] = False,
) -> Any: ...


@overload
def logsumexp(
    a: ArrayLike,
    axis: Axis = None,
    b: ArrayLike | None = None,
    keepdims: bool = False,
    *,
    return_sign: Literal[True],
) -> tuple[Any, Any]: ...


@overload
def logsumexp(
    a: ArrayLike,
    axis: Axis,
    b: ArrayLike | None,
    keepdims: bool,
    return_sign: Literal[True],
) -> tuple[Any, Any]: ...


@overload
def logsumexp(
    a: ArrayLike,
    axis: Axis = None,
    b: ArrayLike | None = None,
    keepdims: bool = False,
    return_sign: bool = False,
) -> Any | tuple[Any, Any]: ...


def logsumexp(
    a: ArrayLike,
    axis: Axis = None,
    b: ArrayLike | None = None,
    keepdims: bool = False,
    return_sign: bool = False,
) -> Any:
    r"""Logarithm of a weighted sum of exponentials.

    .. math:: \operatorname{logsumexp}(a, b) = \log \sum_k b_k e^{a_k}

    Parameters
    ----------
    a : array_like
        Logits of any shape: real, complex, integer or boolean.
    axis : int or tuple of ints, optional
        The axes that the sum runs over, together. Default: all of them.
    b : array_like, optional
        Weights, of any sign, or complex; they broadcast with `a`, and `axis` counts the
        dimensions after broadcasting. Default: 1. A weight of zero removes its term, whatever the
        logit.
    keepdims : bool, default False
        Keep the axes of the sum with length 1. An input without dimensions counts as one of shape
        (1,).
    return_sign : bool, default False
        Return the logarithm of the sum's absolute value, and its sign: without it, the logarithm
        of a negative real sum is NaN.

    Returns
    -------
    res : ndarray or scalar
        The logarithm; a scalar where no dimension is left. Its dtype is the common one of `a` and
        `b`, and float64 if that is an integer or boolean one (as which bfloat16 counts, so in
        SciPy). The imaginary part of a complex
        result lies in (-pi, pi]. With `return_sign`, `res` is real.
    sgn : ndarray or scalar
        Only with `return_sign`: 1, -1, 0 where the sum is 0, or NaN, in the dtype of `res`. Where
        the sum is complex: the sum over its absolute value.

    Raises
    ------
    TypeError
        If `a` or `b` does not hold numbers or has masked elements, or if `axis` is no integer.
    ValueError
        If `a` and `b` do not broadcast, or if an axis is repeated.
    numpy.exceptions.AxisError
        If `axis` is out of range.

    See Also
    --------
    softmax, log_softmax

    Notes
    -----
    The sum over nothing is 0, its logarithm -inf. Infinite terms of opposite signs (or, complex,
    of different directions) give NaN, as does an infinite weight on a logit of -inf.

    Weighted sums and complex ones are computed in double precision at least and rounded once.

    Examples
    --------
    >>> import numpy as np
    >>> from fastlogits.special import logsumexp
    >>> print(logsumexp([1000.0, 1000.0]))
    1000.6931471805599
    >>> log_abs, sign = logsumexp([1000.0, 1000.0], b=[1.0, -3.0], return_sign=True)
    >>> print(log_abs, sign)
    1000.6931471805599 -1.0
    """
    if b is None and not return_sign and _is_plain(a) and (axis is None or type(axis) is int):
        return _scalar(_logsumexp(a, axis, keepdims=keepdims))
    values = _numbers(a, "a")
    # A Python number adapts to the dtype of the other operand, as in arithmetic.
    operands: list[Any] = [a if isinstance(a, int | float | complex) else values.dtype]
    weights = None
    if b is not None:
        weights = _numbers(b, "b")
        operands.append(b if isinstance(b, int | float | complex) else weights.dtype)
        try:
            values, weights = np.broadcast_arrays(values, weights)
        except (RuntimeError, ValueError):  # the former for more than 32 dimensions
            raise ValueError(
                f"a and b must broadcast, got shapes {values.shape} and {weights.shape}"
            ) from None
        weights = np.atleast_1d(weights)
    values = np.atleast_1d(values)

    # NumPy knows no common type of bfloat16 and most others; to SciPy it is no floating type.
    operands = [np.bool_ if _is_bfloat16(operand) else operand for operand in operands]
    dtype = np.result_type(*operands)
    if dtype.kind not in "fc":
        dtype = np.dtype(np.float64)
    axes = _several_axes(axis, values.ndim)

    with np.errstate(all="ignore"):
        sign: _Array
        if weights is None and dtype.char not in _WIDE:
            log_abs = np.asarray(_reduce(values, axes, dtype))
            # A sum of exponentials is positive, unless it is 0.
            sign = np.where(np.isneginf(log_abs), 0, np.where(np.isnan(log_abs), log_abs, 1))
        else:
            inner = np.result_type(dtype, np.float64)
            if weights is None:
                weights = np.ones((1,) * values.ndim, inner)
            log_abs, sign = _log_of_sum(
                _rows(values.astype(inner, copy=False), axes),
                _rows(np.broadcast_to(weights.astype(inner, copy=False), values.shape), axes),
            )
        kept = tuple(
            1 if i in axes else n for i, n in enumerate(values.shape) if keepdims or i not in axes
        )
        real = np.empty((), dtype).real.dtype
        if return_sign:
            return (
                _finish(log_abs.astype(real, copy=False), kept),
                _finish(sign.astype(dtype, copy=False), kept),
            )
        if dtype.kind == "c":
            return _finish(_from_polar(log_abs, sign).astype(dtype, copy=False), kept)
        if weights is not None:
            log_abs = np.where(sign < 0, np.nan, log_abs)
        return _finish(log_abs.astype(real, copy=False), kept)


def expit(
    x: ArrayLike,
    /,
    out: _Array | tuple[_Array] | None = None,
    *,
    where: ArrayLike = True,
    dtype: DTypeLike | None = None,
) -> Any:
    r"""Logistic sigmoid.

    .. math:: \operatorname{expit}(x) = \frac{1}{1 + e^{-x}}

    Parameters
    ----------
    x : array_like
        Real numbers of any shape.
    out : ndarray or tuple of one ndarray, optional
        Where to write the result: of a shape that `x` broadcasts to, and of a floating dtype. May
        be `x` itself.
    where : array_like of bool, default True
        With `out`: the elements to write. It broadcasts to `out`.
    dtype : {float32, float64, longdouble}, optional
        The dtype to compute in, and of the result. Default: the input's; float32 for
        booleans, half precision and integers of up to 16 bits, as in SciPy from 1.18 on (before,
        float64); float64 for other integers.

    Returns
    -------
    ndarray or scalar
        `out` if given; else a new array of the shape of `x`, or a scalar where `x` has no
        dimensions.

    Raises
    ------
    TypeError
        If `x` is not real or has masked elements, if `out` is no array or cannot hold floating
        numbers, if `dtype` is none of those above, or if `where` is not boolean.
    ValueError
        If `x` or `where` does not broadcast to `out`, or if `out` is read-only.

    See Also
    --------
    log_expit

    Notes
    -----
    Of a ufunc's other keywords there is none.

    Examples
    --------
    >>> import numpy as np
    >>> from fastlogits.special import expit
    >>> expit([-np.inf, 0.0, np.log(3.0)]).round(12)
    array([0.  , 0.5 , 0.75])
    """
    return _elementwise(x, out, where, dtype, _sigmoid, _wide_expit)


def log_expit(
    x: ArrayLike,
    /,
    out: _Array | tuple[_Array] | None = None,
    *,
    where: ArrayLike = True,
    dtype: DTypeLike | None = None,
) -> Any:
    r"""Logarithm of the logistic sigmoid.

    .. math:: \operatorname{log\_expit}(x) = -\log(1 + e^{-x})

    Parameters
    ----------
    x : array_like
        Real numbers of any shape.
    out : ndarray or tuple of one ndarray, optional
        Where to write the result: of a shape that `x` broadcasts to, and of a floating dtype. May
        be `x` itself.
    where : array_like of bool, default True
        With `out`: the elements to write. It broadcasts to `out`.
    dtype : {float32, float64, longdouble}, optional
        The dtype to compute in, and of the result. Default: the input's; float32 for
        booleans, half precision and integers of up to 16 bits, as in SciPy from 1.18 on (before,
        float64); float64 for other integers.

    Returns
    -------
    ndarray or scalar
        `out` if given; else a new array of the shape of `x`, or a scalar where `x` has no
        dimensions.

    Raises
    ------
    TypeError
        If `x` is not real or has masked elements, if `out` is no array or cannot hold floating
        numbers, if `dtype` is none of those above, or if `where` is not boolean.
    ValueError
        If `x` or `where` does not broadcast to `out`, or if `out` is read-only.

    See Also
    --------
    expit

    Notes
    -----
    Of a ufunc's other keywords there is none.

    Examples
    --------
    >>> import numpy as np
    >>> from fastlogits.special import log_expit
    >>> log_expit([-1000.0, 0.0]).round(6)
    array([-1.00000e+03, -6.93147e-01])
    """
    return _elementwise(x, out, where, dtype, _log_sigmoid, _wide_log_expit)


def _is_plain(x: Any) -> TypeGuard[_Array]:
    """Whether `x` can go to a kernel as it is: the short way for the most frequent calls."""
    return (
        type(x) is np.ndarray
        and x.dtype.char in "fd"
        and x.dtype.isnative
        and x.ndim > 0
        and x.size > 0
    )


def _is_bfloat16(dtype: Any) -> bool:
    # By name: the dtype comes from a package that need not be installed.
    return isinstance(dtype, np.dtype) and dtype.name == "bfloat16"


def _numbers(x: Any, name: str) -> _Array:
    """`x` as an array of numbers."""
    values = _as_array(x, name)
    if values.dtype.kind not in "biufc" and not _is_bfloat16(values.dtype):
        raise TypeError(
            f"{name} must hold real, complex, integer or boolean numbers, got dtype {values.dtype}"
        )
    return values


def _finish(result: Any, shape: tuple[int, ...]) -> Any:
    """`result` in `shape`, as a scalar where that has no dimensions."""
    return _scalar(np.asarray(result).reshape(shape))


def _scalar(result: Any) -> Any:
    """`result`, but a scalar in place of an array without dimensions."""
    return result if result.shape else result[()]


def _exp_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """What NumPy's exp makes of `dtype`, but for booleans."""
    if dtype.kind == "b":
        return np.dtype(np.float64)
    if dtype.kind in "iu":
        return np.dtype({1: np.float16, 2: np.float32}.get(dtype.itemsize, np.float64))
    return dtype.newbyteorder("=")


def _kernel_input(values: _Array, result: np.dtype[Any]) -> _Array:
    """`values` as the kernels take them: float32 where that holds both input and result."""
    return values.astype(np.float32 if result.itemsize <= 4 else np.float64, copy=False)


def _normalise(
    x: Any,
    axis: Any,
    name: str,
    kernel: Callable[..., Any],
    wide: Callable[[_Array], _Array],
) -> Any:
    values = _numbers(x, "x")
    shape, dtype = values.shape, _exp_dtype(values.dtype)
    values = np.atleast_1d(values)
    axes = _several_axes(axis, values.ndim)
    if 0 in (values.shape[i] for i in axes):
        raise ValueError(
            f"x must not be empty along axis {axis}, got shape {shape}: {name} has nothing to "
            f"normalise there"
        )
    if values.size == 0:
        return np.empty(shape, dtype)
    with np.errstate(all="ignore"):
        if dtype.char in _WIDE:
            inner = values.astype(np.result_type(dtype, np.float64), copy=False)
            result = _from_rows(wide(_rows(inner, axes)), values.shape, axes)
        else:
            values = _kernel_input(values, dtype)
            # Over no axis at all, each element is a row of its own.
            result = kernel(values, _short(axes)) if axes else kernel(values[..., None], -1)
        return _finish(result.astype(dtype, copy=False), shape)


def _reduce(values: _Array, axes: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
    """The kernel's logsumexp of `values`."""
    values = _kernel_input(values, dtype)
    return _logsumexp(values, _short(axes)) if axes else _logsumexp(values[..., None], -1)


def _short(axes: tuple[int, ...]) -> int | tuple[int, ...]:
    return axes[0] if len(axes) == 1 else axes


def _rows(values: _Array, axes: tuple[int, ...]) -> _Array:
    """`values` with `axes` flattened into one axis, the last."""
    kept = [i for i in range(values.ndim) if i not in axes]
    # The length is spelled out, since -1 is ambiguous in an empty array.
    length = 1
    for i in axes:
        length *= values.shape[i]
    return values.transpose([*kept, *axes]).reshape([values.shape[i] for i in kept] + [length])


def _from_rows(rows: _Array, shape: tuple[int, ...], axes: tuple[int, ...]) -> _Array:
    """Undoes `_rows`."""
    order = [i for i in range(len(shape)) if i not in axes] + list(axes)
    return rows.reshape([shape[i] for i in order]).transpose(np.argsort(order))


def _cis(angle: _Array) -> _Array:
    """The point of the unit circle at `angle`; cos and sin reduce large angles exactly."""
    point: _Array = np.empty(angle.shape, np.result_type(angle.dtype, np.complex64))
    point.real = np.cos(angle)
    point.imag = np.sin(angle)
    return point


def _log1p_abs(q: _Array, far: _Array) -> _Array:
    """log|1 + q|, or `far` where 1 + q cancels so far that log1p has no advantage."""
    if q.dtype.kind == "c":
        # |1 + q|^2 - 1, without the subtraction.
        excess = q.real * (2 + q.real) + q.imag * q.imag
        return np.where(excess > -0.75, np.log1p(excess) / 2, far)
    return np.where(q > -0.5, np.log1p(q), far)


def _wide_softmax(x: _Array) -> _Array:
    size = np.exp(x.real - x.real.max(-1, keepdims=True))
    # An imaginary part that is not finite does not count where the exponential is 0.
    terms = size if x.dtype.kind == "f" else np.where(size == 0, 0, size * _cis(x.imag))
    return np.asarray(terms / terms.sum(-1, keepdims=True))


def _wide_log_softmax(x: _Array) -> _Array:
    # argmax orders complex numbers by the real part, then the imaginary one.
    largest = x.argmax(-1, keepdims=True)
    top = np.take_along_axis(x, largest, -1)
    below = x.real - top.real
    terms = np.exp(below)
    if x.dtype.kind == "c":
        turn = x.imag - top.imag
        terms = np.where(terms == 0, 0, terms * _cis(turn))
    np.put_along_axis(terms, largest, 0, -1)
    rest = terms.sum(-1, keepdims=True)
    log_abs = below - _log1p_abs(rest, np.log(np.abs(1 + rest)))
    if x.dtype.kind == "f":
        return np.asarray(log_abs)
    result = np.empty_like(x)
    result.real = log_abs
    result.imag = turn - np.angle(1 + rest)
    return result


def _log_of_sum(a: _Array, b: _Array) -> tuple[_Array, _Array]:
    """log|S| and S/|S| of S = sum(b * exp(a)) over the last axis; 0 for the second where S is 0.

    `a` and `b` have one shape and one dtype, real or complex, of at least double precision.
    """
    is_complex = a.dtype.kind == "c"
    if a.shape[-1] == 0:
        none = np.zeros(a.shape[:-1], a.dtype)
        return none.real - np.inf, none

    present = (b != 0) & ~(np.isneginf(a.real) & np.isfinite(b))
    x = np.where(present, a.real, -np.inf)
    y = np.where(present, a.imag, 0)
    weight = np.where(present, np.abs(b), 0)

    # Terms are taken relative to the largest one. Only its logit is subtracted, and the weights
    # are scaled by a power of two, so that terms of equal logits cancel exactly where they should.
    log_size = x + np.log(weight)
    largest = log_size.argmax(-1, keepdims=True)
    top_x = np.take_along_axis(x, largest, -1)
    top_weight = np.take_along_axis(weight, largest, -1)
    top_size = np.take_along_axis(log_size, largest, -1)
    # The power is limited since that of a subnormal weight has no finite reciprocal.
    exponent = np.clip(np.frexp(top_weight)[1], -1000, 1000)
    scale = np.ldexp(np.ones_like(top_weight), -exponent)
    terms = np.where(present, (b * scale) * np.exp(x - top_x), 0)
    # One factor can overflow or underflow where the product does not.
    lost = present & (~np.isfinite(terms) | (terms == 0))
    if lost.any():
        by_log = (b / weight) * (np.exp(log_size - top_size) * (top_weight * scale))
        terms = np.where(lost, by_log, terms)
    if is_complex:
        terms = terms * _cis(y)

    # The largest term stays out of the sum: log1p then sees the rest to its own last place.
    top = np.take_along_axis(terms, largest, -1)
    np.put_along_axis(terms, largest, 0, -1)
    rest = terms.sum(-1, keepdims=True)
    total = top + rest
    far = np.log(np.abs(total)) - np.log(scale)
    near = np.log(top_weight) + _log1p_abs(rest / top, np.full_like(far, np.nan))
    log_abs = top_x + np.where(np.isnan(near), far, near)
    phase = np.where(total == 0, 0, total / np.abs(total) if is_complex else np.sign(total))

    # Infinite and undefined terms outweigh all the others.
    undefined = present & (
        np.isnan(x) | np.isnan(b) | (np.isneginf(x) & ~np.isfinite(b)) | ~np.isfinite(y)
    )
    infinite = present & ~undefined & (np.isposinf(x) | np.isinf(b))
    if undefined.any() or infinite.any():
        direction = _direction(b, y)
        which = infinite.argmax(-1, keepdims=True)
        one = np.take_along_axis(direction, which, -1)
        # Infinities of different directions (so of opposite signs) have no sum.
        undefined |= infinite & (direction != one)
        endless = infinite.any(-1, keepdims=True)
        log_abs = np.where(endless, np.inf, log_abs)
        phase = np.where(endless, one, phase)
        nan = undefined.any(-1, keepdims=True)
        log_abs = np.where(nan, np.nan, log_abs)
        phase = np.where(nan, np.array(np.nan + 1j * np.nan if is_complex else np.nan), phase)
    return log_abs[..., 0], phase[..., 0].astype(a.dtype, copy=False)


def _direction(b: _Array, y: _Array) -> _Array:
    """Where b * exp(iy) points: a number of absolute value 1."""
    if b.dtype.kind == "f":
        return np.asarray(np.sign(b))
    # Of an infinite weight only the infinite components count.
    endless = np.isinf(b)
    flat = b.copy()
    flat.real = np.where(endless, np.where(np.isinf(b.real), np.sign(b.real), 0), b.real)
    flat.imag = np.where(endless, np.where(np.isinf(b.imag), np.sign(b.imag), 0), b.imag)
    return np.asarray(flat / np.abs(flat) * _cis(y))


def _from_polar(log_abs: _Array, phase: _Array) -> _Array:
    """Return the complex logarithm, with its imaginary part in (-pi, pi]."""
    result: _Array = np.empty(log_abs.shape, np.result_type(log_abs.dtype, np.complex64))
    angle = np.angle(phase)
    result.real = log_abs
    # A negative zero beside -1 gives -pi, which is not in the interval.
    result.imag = np.where(angle <= -np.pi, -angle, angle)
    return result


def _elementwise(
    x: Any,
    out: Any,
    where: Any,
    dtype: Any,
    kernel: Callable[..., Any],
    wide: Callable[[_Array], _Array],
) -> Any:
    if out is None and dtype is None and _is_plain(x):
        return kernel(x)
    values = _numbers(x, "x")
    if values.dtype.kind == "c":
        raise TypeError(f"x must be real, got dtype {values.dtype}")
    if dtype is not None:
        inner = _wanted_dtype(dtype)
    elif values.dtype.char in "fdg":
        inner = values.dtype.newbyteorder("=")
    else:
        narrow = np.can_cast(values.dtype, np.float32)
        inner = np.dtype(np.float32 if narrow else np.float64)
    if isinstance(out, tuple):
        if len(out) != 1:
            raise ValueError(f"out must be one array, got a tuple of {len(out)}")
        out = out[0]
    if out is not None:
        _check_out(out, values, inner)

    with np.errstate(all="ignore"):
        values = values.astype(inner, copy=False)
        if (
            out is not None
            and where is True
            and out.dtype == inner
            and out.shape == values.shape
            and inner.char in "fd"
        ):
            kernel(values, out=out)
            return out
        result = wide(values) if inner.char == "g" else kernel(values)
        if out is None:
            return _finish(result, values.shape)
        np.copyto(out, result, casting="same_kind", where=where)
        return out


def _wanted_dtype(dtype: Any) -> np.dtype[Any]:
    try:
        wanted: np.dtype[Any] = np.dtype(dtype).newbyteorder("=")
        if wanted.char in "fdg":
            return wanted
    except (TypeError, ValueError):  # it is none at all
        pass
    raise TypeError(f"dtype must be float32, float64 or longdouble, got {dtype!r}")


def _check_out(out: Any, values: _Array, inner: np.dtype[Any]) -> None:
    if not isinstance(out, np.ndarray):
        raise TypeError(f"out must be an array, got {type(out).__name__}")
    if not np.can_cast(inner, out.dtype, "same_kind"):
        raise TypeError(f"out must hold {inner} results, got dtype {out.dtype}")
    try:
        np.broadcast_to(values, out.shape)
    except ValueError:
        raise ValueError(
            f"x of shape {values.shape} does not broadcast to out of {out.shape}"
        ) from None
    if not out.flags.writeable:
        raise ValueError("out is read-only")


def _wide_expit(x: _Array) -> _Array:
    # The exponential of the negative absolute value cannot overflow.
    small = np.exp(-np.abs(x))
    return np.asarray(np.where(x < 0, small, 1) / (1 + small))


def _wide_log_expit(x: _Array) -> _Array:
    return np.asarray(np.minimum(x, 0) - np.log1p(np.exp(-np.abs(x))))
