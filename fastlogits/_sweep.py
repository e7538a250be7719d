"""Rows of logits with their labels and weights, checked, and read block by block.

What scores and calibration share. Logits may be a memory map of a file larger than memory: no more
than a block of them is copied, and that only where they lie in no order of rows.
"""

import math
import operator
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastlogits._core import _array

# 64 MB of float32. Where other programs keep a core busy, the threads wait for each other at the
# end of each block: a quarter of this takes twice the time then. Counted in elements, so that the
# order of summation, and with it the last bit, is the same for every dtype and memory layout.
BLOCK_ELEMENTS = 1 << 24
# Of this much is looked at once for probabilities: the first of logits is none.
_LOOK_ELEMENTS = 1 << 16

# Of labels that come as classes, none is ignored: their indices are at least 0.
NONE_IGNORED = -1


class Block(NamedTuple):
    """Some of the rows: logits of shape (rows, C), and labels and weights, one for each row."""

    logits: NDArray[Any]
    labels: NDArray[Any]
    weights: NDArray[Any] | None


@dataclass(frozen=True)
class Rows:
    """Logits of shape (..., C), and labels and weights of shape (...), of at least one dimension.

    Logits of the shape of the labels are the scores of a binary classifier.
    """

    logits: NDArray[Any]
    labels: NDArray[Any]
    weights: NDArray[Any] | None

    @property
    def n_rows(self) -> int:
        return self.labels.size

    @property
    def n_classes(self) -> int:
        return 2 if self.logits.ndim == self.labels.ndim else self.logits.shape[-1]

    def blocks(self) -> Iterator[Block]:
        """All the rows, in C order; of no rows, one block."""
        leading = self.labels.ndim
        for start, stop in ranges(self.n_rows, self.n_classes) or [(0, 0)]:
            logits = rows(self.logits, leading, start, stop)
            yield Block(
                logits if logits.ndim == 2 else two_columns(logits),
                rows(self.labels, leading, start, stop),
                None if self.weights is None else rows(self.weights, leading, start, stop),
            )


def ranges(n_rows: int, row_length: int) -> list[tuple[int, int]]:
    """The blocks, as the numbers of their first row and of the row after their last."""
    step = max(1, BLOCK_ELEMENTS // row_length)
    return [(start, min(start + step, n_rows)) for start in range(0, n_rows, step)]


def rows(array: NDArray[Any], leading: int, start: int, stop: int) -> NDArray[Any]:
    """Rows of the `leading` first axes, counted in C order.

    A slice where one can say it, else a copy of these rows: `reshape` would copy the whole array.
    """
    if leading == 1:
        return array[start:stop]
    if array.flags.c_contiguous:
        return array.reshape(-1, *array.shape[leading:])[start:stop]
    return array[np.unravel_index(np.arange(start, stop), array.shape[:leading])]


def two_columns(scores: NDArray[Any]) -> NDArray[Any]:
    """Logits of both classes for the scores of a binary classifier, which are their difference.

    The larger is 0, so that an infinite score is a certain class.
    """
    if scores.dtype.kind in "biu":
        scores = scores.astype(np.float64)
    return np.stack([-np.maximum(scores, 0), np.minimum(scores, 0)], axis=-1)


def check_logits(logits: ArrayLike, *, scores: bool = False) -> NDArray[Any]:
    """Real numbers with classes on the last axis; with `scores`, maybe one number for each row."""
    x = _real_numbers(logits, "logits")
    if scores:
        if x.ndim not in (1, 2) or x.shape[1:] == (0,):
            raise ValueError(
                "logits: expected shape (n,) or (n, C) with at least one class, "
                f"got shape {x.shape}"
            )
        return x[:, 0] if x.shape[1:] == (1,) else x
    if x.ndim == 0 or x.shape[-1] == 0:
        raise ValueError(
            f"logits: expected at least one class on the last axis, got shape {x.shape}"
        )
    return x


def rows_of_indices(
    logits: ArrayLike, labels: ArrayLike, sample_weight: ArrayLike | None, ignore_index: int
) -> Rows:
    """Logits of shape (..., C) with class indices, all of it checked."""
    x = check_logits(logits)
    y = check_labels(labels, x.shape[:-1], x.shape[-1], ignore_index)
    w = check_weights(sample_weight, x.shape[:-1])
    return Rows(np.atleast_2d(x), np.atleast_1d(y), None if w is None else np.atleast_1d(w))


def check_labels(
    labels: ArrayLike, shape: tuple[int, ...], n_classes: int, ignore_index: int
) -> NDArray[Any]:
    """Class indices of the given shape, all of them in range."""
    y = _array(labels, "labels")
    if y.dtype.kind not in "iu":
        raise TypeError(f"labels: expected an integer dtype, got {y.dtype}")
    if not isinstance(ignore_index, (int, np.integer)):
        raise TypeError(f"ignore_index: expected an integer, got {type(ignore_index).__name__}")
    if y.shape != shape:
        raise ValueError(
            f"labels: expected shape {shape}, one for each row of logits, got {y.shape}"
        )
    expected = f"0 to {n_classes - 1}, or ignore_index ({ignore_index})"
    for start, block in _blocks(y):
        wrong = ((block < 0) | (block >= n_classes)) & (block != ignore_index)
        if wrong.any():
            raise IndexError(_wrong_element("labels", y, start + int(wrong.argmax()), expected))
    return y


def check_weights(sample_weight: ArrayLike | None, shape: tuple[int, ...]) -> NDArray[Any] | None:
    """Weights of rows, of the given shape and no less than 0."""
    if sample_weight is None:
        return None
    w = _real_numbers(sample_weight, "sample_weight")
    if w.shape != shape:
        raise ValueError(
            f"sample_weight: expected shape {shape}, one for each row of logits, got {w.shape}"
        )
    for start, block in _blocks(w):
        with np.errstate(invalid="ignore"):  # As bfloat16 says of NaN.
            right = block >= 0
        if not right.all():
            first = start + int(right.argmin())
            raise ValueError(_wrong_element("sample_weight", w, first, "no less than 0"))
    return w


def check_positive(number: float, argument: str) -> float:
    """A positive finite number."""
    if np.ndim(number) or np.asarray(number).dtype.kind not in "fiu":
        raise TypeError(f"{argument}: expected a number, got {number!r}")
    if not 0 < number < math.inf:
        raise ValueError(f"{argument}: expected a positive finite number, got {number}")
    return float(number)


def check_count(count: int, argument: str, most: int | None = None) -> int:
    """An integer of at least 1, and at most `most`."""
    try:
        n = operator.index(count)
    except TypeError:
        raise TypeError(f"{argument}: expected an integer, got {type(count).__name__}") from None
    if n < 1:
        raise ValueError(f"{argument}: expected at least 1, got {n}")
    if most is not None and n > most:
        raise ValueError(f"{argument}: expected at most {most}, got {n}")
    return n


def refuse_probabilities(x: NDArray[Any], argument: str) -> None:
    """Raise ValueError where all rows look like probabilities, and not one like logits."""
    step = max(1, _LOOK_ELEMENTS * len(x) // x.size)
    for start in range(0, len(x), step):
        block = x[start : start + step]
        if not np.all((block >= 0) & (block <= 1)):
            return
        # The rounding errors of a softmax of many classes in half precision.
        if x.ndim > 1 and not np.allclose(block.sum(axis=-1, dtype=np.float64), 1, atol=1e-2):
            return
    if x.ndim == 1:
        raise ValueError(
            f"{argument}: expected scores, got numbers that are all in [0, 1], as probabilities p "
            "are: pass np.log(p / (1 - p)); if they are scores, two columns: zeros and these"
        )
    raise ValueError(
        f"{argument}: expected logits, got rows in [0, 1] that sum to 1, as probabilities p do: "
        "pass np.log(p); if they are logits, add 1, which means the same"
    )


def class_indices(
    y_true: ArrayLike, labels: ArrayLike | None, *, names: tuple[str, str] = ("y_true", "labels")
) -> tuple[NDArray[np.intp], NDArray[Any]]:
    """The index of each of `y_true` among the classes, and the classes, in ascending order.

    The classes are `labels`; or, where there are none, those that occur. `names` is what errors
    call both.
    """
    y = _class_labels(y_true, names[0])
    try:
        if labels is None:
            return _unique(y)
        classes = _class_labels(labels, names[1])
        if not np.all(classes[:-1] < classes[1:]):
            raise ValueError(
                f"{names[1]}: expected distinct classes in ascending order, as the columns of "
                f"logits, got {_shown(classes)}"
            )
        if (classes.dtype.kind in "SU") != (y.dtype.kind in "SU") and "O" not in (
            classes.dtype.kind,
            y.dtype.kind,
        ):
            raise TypeError("one holds text, the other does not")
        known, found = classes, y
        kinds = classes.dtype.kind + y.dtype.kind
        if kinds in ("iu", "ui") and np.result_type(classes, y).kind == "f":
            # As NumPy would compare uint64 with int64.
            known, found = classes.astype(object), y.astype(object)
        indices = np.minimum(np.searchsorted(known, found), max(len(known) - 1, 0))
        missing = known[indices] != found if len(known) else np.ones(len(y), np.bool_)
    except TypeError as error:
        raise TypeError(
            f"{names[0]}: expected classes that can be compared with each other"
            f"{'' if labels is None else f' and with {names[1]}'}, got dtype {y.dtype}: {error}"
        ) from None
    if missing.any():
        expected = f"one of {names[1]}, {_shown(classes)}"
        raise ValueError(_wrong_element(names[0], y, int(missing.argmax()), expected))
    return indices, classes


def check_columns(
    logits: NDArray[Any], classes: NDArray[Any], *, names: tuple[str, str] = ("logits", "labels")
) -> None:
    """One column for each class, or one number for each row of two classes.

    `names` is what errors call the logits, and the argument that has all classes.
    """
    columns = 2 if logits.ndim == 1 else logits.shape[1]
    if columns != len(classes):
        raise ValueError(
            f"{names[0]}: expected {len(classes)} columns, one for each class of "
            f"{_shown(classes)}, got shape {logits.shape}; "
            f"{names[1]}= names the classes where some do not occur"
        )


def _real_numbers(values: ArrayLike, argument: str) -> NDArray[Any]:
    """Numbers of a dtype that the kernels read; that of bfloat16 is of no kind of NumPy's."""
    array = _array(values, argument)
    dtype = array.dtype
    if (dtype.kind not in "biuf" or dtype.char == "g") and dtype.name != "bfloat16":
        raise TypeError(f"{argument}: expected real numbers, got dtype {dtype}")
    return array


def _unique(y: NDArray[Any]) -> tuple[NDArray[np.intp], NDArray[Any]]:
    """The index of each element among those that occur, and these, in ascending order.

    Integers that lie close together are counted instead of sorted, in a tenth of the time.
    """
    if y.dtype.kind in "iu" and y.size:
        wide = y if y.dtype.kind == "u" else y.astype(np.int64)
        least = wide.min()
        if int(wide.max()) - int(least) < 1 << 16:
            places = (wide - least).astype(np.intp)
            occurs = np.bincount(places) > 0
            index_of = np.cumsum(occurs) - 1
            return index_of[places], (np.flatnonzero(occurs).astype(wide.dtype) + least).astype(
                y.dtype
            )
    classes, indices = np.unique(y, return_inverse=True)
    return indices, classes


def _class_labels(values: ArrayLike, argument: str) -> NDArray[Any]:
    """One dimension of what can name a class: no continuous numbers."""
    y = _array(values, argument)
    if y.ndim != 1:
        raise ValueError(f"{argument}: expected one dimension, got shape {y.shape}")
    if y.dtype.kind == "c":
        raise TypeError(f"{argument}: expected class labels, got dtype {y.dtype}")
    if y.dtype.kind == "f":
        wrong = ~(np.isfinite(y) & (y == np.floor(y)))
        if wrong.any():
            raise ValueError(_wrong_element(argument, y, int(wrong.argmax()), "a class label"))
    return y


def _blocks(array: NDArray[Any]) -> Iterator[tuple[int, NDArray[Any]]]:
    """The number of the first element, and the elements, of blocks of an array."""
    if array.ndim == 0:
        array = array[np.newaxis]
    for start, stop in ranges(array.size, 1):
        yield start, rows(array, array.ndim, start, stop)


def _shown(classes: NDArray[Any]) -> str:
    """A few of them, if there are many."""
    return np.array2string(classes, threshold=20, edgeitems=3)


def _wrong_element(argument: str, array: NDArray[Any], flat_position: int, expected: str) -> str:
    position = np.unravel_index(flat_position, array.shape)
    place = f"[{', '.join(map(str, position))}]" if position else ""
    return f"{argument}{place}: expected {expected}, got {array[position]}"
