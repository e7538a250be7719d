"""Scores of a classifier, from its logits and the true labels.

One sweep over blocks of rows computes them all, so logits may be a memory map of a file larger
than memory.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

import fastlogits
from fastlogits._core import _array

__all__ = ["Scores", "score"]

# 16 MB of float32: enough work for all threads, little memory. Counted in elements, so that the
# order of summation, and with it the last bit, is the same for every dtype and memory layout.
_BLOCK_ELEMENTS = 1 << 22


@dataclass(frozen=True, repr=False)
class Scores:
    """What `score` found.

    Attributes
    ----------
    n : int
        Rows counted; ignored rows are not.
    n_classes : int
        Classes: the length of the last axis of the logits.
    nll : float
        Mean negative log-likelihood of the true classes, in nats. NaN where no row counts.
    perplexity : float
        ``exp(nll)``.
    accuracy : float
        Share of the rows whose largest logit is that of the true class. NaN where no row counts.
    """

    n: int
    n_classes: int
    nll: float
    perplexity: float
    accuracy: float

    def as_dict(self) -> dict[str, Any]:
        """Return the scores by name, in full precision.

        Returns
        -------
        dict
            One item for each attribute, in their order.

        Examples
        --------
        >>> from fastlogits.metrics import score
        >>> score([[0.0, 0.0]], [1]).as_dict()["accuracy"]
        0.0
        """
        return asdict(self)

    def __repr__(self) -> str:
        values = (
            f"{field.name}={format_value(getattr(self, field.name))}" for field in fields(self)
        )
        return f"{type(self).__name__}({', '.join(values)})"


def format_value(value: object) -> str:
    """Return a score as people read it: six significant digits."""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def score(
    logits: ArrayLike, labels: ArrayLike, *, ignore_index: int = -100, temperature: float = 1.0
) -> Scores:
    r"""Score a classifier from its logits and the true labels.

    Blocks of rows are read one after another, so a memory map of a file larger than memory works.
    The result does not depend on the number of threads, the memory layout or the instruction set.

    Parameters
    ----------
    logits : array_like of shape (..., C)
        Real numbers, one row of C classes for each label.
    labels : array_like of shape (...)
        True classes, 0 to C - 1, of any integer dtype.
    ignore_index : int, default -100
        Rows with this label do not count.
    temperature : float, default 1.0
        Divides the logits; positive and finite.

    Returns
    -------
    Scores
        `n`, `n_classes`, `nll`, `perplexity` and `accuracy`.

    Raises
    ------
    TypeError
        If `logits` are not real numbers, `labels` or `ignore_index` not integers, an array has
        masked elements, or `temperature` is not a number.
    ValueError
        If the shape of `labels` is not that of `logits` without its last axis, there are no
        classes, or `temperature` is not positive and finite.
    IndexError
        If a label is out of range; the message has its position and its value.

    Notes
    -----
    With N counted rows x, their labels y and the temperature T,

    .. math::
        \mathrm{nll} = -\frac{1}{N} \sum_{i=1}^{N} \log \mathrm{softmax}(x_i / T)_{y_i}

    The loss of a row has the dtype and the precision of `fastlogits.cross_entropy`; the sum is
    float64. The predicted class is that of `fastlogits.argmax`: the first of equals, and the first
    NaN. A NaN in a counted row makes `nll` NaN.

    Examples
    --------
    >>> from fastlogits.metrics import score
    >>> score([[2.0, 0.0], [0.0, 1.0], [3.0, 1.0]], [0, 1, 1])
    Scores(n=3, n_classes=2, nll=0.855706, perplexity=2.35303, accuracy=0.666667)
    """
    return score_blocks(logits, labels, ignore_index=ignore_index, temperature=temperature)


def score_blocks(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    ignore_index: int = -100,
    temperature: float = 1.0,
    progress: Callable[[int, int], object] | None = None,
) -> Scores:
    """Do what `score` does, and call ``progress(rows_done, rows)`` after each block."""
    x, y = _checked(logits, labels, ignore_index, temperature)
    n_classes = x.shape[-1]
    n = hits = 0
    total = 0.0
    for start, stop in _blocks(y.size, n_classes):
        rows, targets = _rows(x, y.ndim, start, stop), _rows(y, y.ndim, start, stop)
        counted = targets != ignore_index
        losses = _losses(rows, targets, counted, ignore_index, temperature)
        total += float(np.sum(losses, dtype=np.float64))
        hits += int(np.count_nonzero((fastlogits.argmax(rows) == targets) & counted))
        n += int(np.count_nonzero(counted))
        if progress is not None:
            progress(stop, y.size)
    nll = total / n if n else math.nan
    with np.errstate(over="ignore"):
        perplexity = float(np.exp(nll))
    return Scores(n, n_classes, nll, perplexity, hits / n if n else math.nan)


def _losses(
    rows: NDArray[Any],
    targets: NDArray[Any],
    counted: NDArray[np.bool_],
    ignore_index: int,
    temperature: float,
) -> NDArray[Any]:
    """Return the losses of the rows that count."""
    if temperature == 1:
        losses = fastlogits.cross_entropy(
            rows, targets, reduction="none", ignore_index=ignore_index
        )
        return np.asarray(losses)[counted]
    # What half precision would round to a few digits.
    dtype = np.float32 if rows.dtype.itemsize == 2 and rows.dtype.kind in "fV" else None
    log_p = np.asarray(fastlogits.log_softmax(rows, temperature=temperature, dtype=dtype))
    return -log_p[counted, targets[counted].astype(np.intp)]


def _blocks(n_rows: int, row_length: int) -> Iterator[tuple[int, int]]:
    step = max(1, _BLOCK_ELEMENTS // row_length)
    for start in range(0, n_rows, step):
        yield start, min(start + step, n_rows)


def _rows(array: NDArray[Any], leading: int, start: int, stop: int) -> NDArray[Any]:
    """Return rows of the `leading` first axes, counted in C order.

    A slice where one can say it, else a copy of these rows: `reshape` would copy the whole array.
    """
    if leading == 1:
        return array[start:stop]
    if array.flags.c_contiguous:
        return array.reshape(-1, *array.shape[leading:])[start:stop]
    return array[np.unravel_index(np.arange(start, stop), array.shape[:leading])]


def _checked(
    logits: ArrayLike, labels: ArrayLike, ignore_index: int, temperature: float
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return both as arrays with at least one axis of rows, all arguments checked."""
    x, y = _array(logits, "logits"), _array(labels, "labels")
    if x.dtype.kind in "cOSUMm" or x.dtype.char == "g":
        raise TypeError(f"logits: expected real numbers, got dtype {x.dtype}")
    if y.dtype.kind not in "iu":
        raise TypeError(f"labels: expected an integer dtype, got {y.dtype}")
    if not isinstance(ignore_index, (int, np.integer)):
        raise TypeError(f"ignore_index: expected an integer, got {type(ignore_index).__name__}")
    if np.ndim(temperature) or np.asarray(temperature).dtype.kind not in "fiu":
        raise TypeError(f"temperature: expected a number, got {temperature!r}")
    if not 0 < temperature < math.inf:
        raise ValueError(f"temperature: expected a positive finite number, got {temperature}")
    if x.ndim == 0 or x.shape[-1] == 0:
        raise ValueError(
            f"logits: expected at least one class on the last axis, got shape {x.shape}"
        )
    if y.shape != x.shape[:-1]:
        raise ValueError(
            f"labels: expected shape {x.shape[:-1]}, one for each row of logits, got {y.shape}"
        )
    if y.ndim == 0:
        x, y = x[np.newaxis], y[np.newaxis]
    _check_range(y, x.shape[-1], ignore_index)
    return x, y


def _check_range(labels: NDArray[Any], n_classes: int, ignore_index: int) -> None:
    for start, stop in _blocks(labels.size, 1):
        block = _rows(labels, labels.ndim, start, stop)
        wrong = ((block < 0) | (block >= n_classes)) & (block != ignore_index)
        if wrong.any():
            first = int(np.argmax(wrong))
            position = ", ".join(str(i) for i in np.unravel_index(start + first, labels.shape))
            raise IndexError(
                f"labels[{position}]: expected 0 to {n_classes - 1}, or ignore_index "
                f"({ignore_index}), got {block[first]}"
            )
