"""The operations by libraries that work on NumPy arrays: fastlogits, NumPy and SciPy.

As everywhere in this package, a function is given the operation's name and the arrays, and
returns the call to time, or None where the library does not do that operation. Results go to
arrays that exist already where the library can write into them.
"""

import importlib
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .cases import Data, K

Array = NDArray[Any]
Call = Callable[[], Any]
Prepare = Callable[[str, Data, int], Call | None]


def choose(operation: str, makers: dict[str, Callable[[], Call]]) -> Call | None:
    """Make the call of one operation."""
    return makers[operation]() if operation in makers else None


def own(operation: str, d: Data, threads: int) -> Call | None:
    """Prepare a call of fastlogits."""
    # By name: the asv suite also measures versions that have fewer functions.
    fl: Any = importlib.import_module("fastlogits")
    fl.set_num_threads(threads)
    x, axis, out = d.x, d.axis, d.out
    bce = "binary_cross_entropy_with_logits"

    # Calls as users write them: `partial` would make a tuple and a dict of keywords each time.
    def loss(targets: Array) -> Call:
        return lambda: fl.cross_entropy(x, targets, axis=axis)

    def loss_and_grad(targets: Array) -> Call:
        return lambda: fl.cross_entropy_value_and_grad(x, targets, axis=axis, out=out)

    def binary_loss_and_grad(targets: Array) -> Call:
        function = getattr(fl, f"{bce}_value_and_grad")
        return lambda: function(x, targets, out=out)

    return choose(
        operation,
        {
            "softmax": lambda: lambda: fl.softmax(x, axis=axis, out=out),
            "log_softmax": lambda: lambda: fl.log_softmax(x, axis=axis, out=out),
            "logsumexp": lambda: lambda: fl.logsumexp(x, axis=axis),
            "cross_entropy": lambda: loss(d.labels),
            "cross_entropy_soft": lambda: loss(d.soft),
            "cross_entropy_value_and_grad": lambda: loss_and_grad(d.labels),
            "binary_cross_entropy": lambda: partial(getattr(fl, bce), x, d.binary),
            "binary_cross_entropy_value_and_grad": lambda: binary_loss_and_grad(d.binary),
            "sigmoid": lambda: lambda: fl.sigmoid(x, out=out),
            "argmax": lambda: lambda: fl.argmax(x, axis=axis),
            "top_k": lambda: lambda: fl.top_k(x, K, axis=axis),
        },
    )


def with_numpy(operation: str, d: Data, threads: int) -> Call | None:
    """Prepare a call of NumPy, which uses one thread here."""
    x, axis, out = d.x, d.axis, d.out
    return choose(
        operation,
        {
            "softmax": lambda: partial(_softmax, x, axis, out),
            "log_softmax": lambda: partial(_log_softmax, x, axis, out),
            "logsumexp": lambda: partial(_logsumexp, x, axis),
            "cross_entropy": lambda: partial(_cross_entropy, x, d.labels, axis),
            "cross_entropy_soft": lambda: partial(_cross_entropy_soft, x, d.soft, axis),
            "cross_entropy_value_and_grad": lambda: partial(_gradient, x, d.labels, axis, out),
            "binary_cross_entropy": lambda: partial(_binary, x, d.binary),
            "binary_cross_entropy_value_and_grad": lambda: partial(
                _binary_gradient, x, d.binary, out
            ),
            "sigmoid": lambda: partial(_sigmoid, x, out),
            "argmax": lambda: lambda: np.argmax(x, axis=axis),
            "top_k": lambda: partial(_top_k, x, axis),
        },
    )


def with_scipy(operation: str, d: Data, threads: int) -> Call | None:
    """Prepare a call of SciPy, which uses one thread."""
    special: Any = importlib.import_module("scipy.special")
    x, axis, out = d.x, d.axis, d.out
    return choose(
        operation,
        {
            "softmax": lambda: lambda: special.softmax(x, axis=axis),
            "log_softmax": lambda: lambda: special.log_softmax(x, axis=axis),
            "logsumexp": lambda: lambda: special.logsumexp(x, axis=axis),
            "sigmoid": lambda: lambda: special.expit(x, out=out),
        },
    )


def _logsumexp(x: Array, axis: int, *, keepdims: bool = False) -> Array:
    top = x.max(axis, keepdims=True)
    result: Array = top + np.log(np.exp(x - top).sum(axis, keepdims=True))
    return result if keepdims else result.squeeze(axis)


def _softmax(x: Array, axis: int, out: Array) -> Array:
    np.subtract(x, x.max(axis, keepdims=True), out=out)
    np.exp(out, out=out)
    out /= out.sum(axis, keepdims=True)
    return out


def _log_softmax(x: Array, axis: int, out: Array) -> Array:
    return np.subtract(x, _logsumexp(x, axis, keepdims=True), out=out)


def _of_labels(x: Array, labels: Array, axis: int) -> Any:
    return np.take_along_axis(x, np.expand_dims(labels, axis), axis)


def _cross_entropy(x: Array, labels: Array, axis: int) -> Any:
    return (_logsumexp(x, axis, keepdims=True) - _of_labels(x, labels, axis)).mean()


def _cross_entropy_soft(x: Array, soft: Array, axis: int) -> Any:
    return (_logsumexp(x, axis) - (x * soft).sum(axis)).mean()


def _gradient(x: Array, labels: Array, axis: int, out: Array) -> tuple[Any, Array]:
    top = x.max(axis, keepdims=True)
    np.subtract(x, top, out=out)
    np.exp(out, out=out)
    total = out.sum(axis, keepdims=True)
    loss = (top + np.log(total) - _of_labels(x, labels, axis)).mean()
    out /= total
    index = np.expand_dims(labels, axis)
    np.put_along_axis(out, index, np.take_along_axis(out, index, axis) - 1, axis)
    out /= labels.size
    return loss, out


def _sigmoid(x: Array, out: Array) -> Array:
    np.negative(x, out=out)
    np.exp(out, out=out)
    out += 1
    return np.reciprocal(out, out=out)


def _binary(x: Array, targets: Array) -> Any:
    return (np.logaddexp(0, x) - x * targets).mean()


def _binary_gradient(x: Array, targets: Array, out: Array) -> tuple[Any, Array]:
    _sigmoid(x, out)
    out -= targets
    out /= x.size
    return _binary(x, targets), out


def _top_k(x: Array, axis: int) -> tuple[Array, Array]:
    places = np.argpartition(x, x.shape[axis] - K, axis)
    largest = np.take(places, range(x.shape[axis] - K, x.shape[axis]), axis)
    return np.take_along_axis(x, largest, axis), largest
