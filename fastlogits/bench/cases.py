"""What is measured: the operations, the shapes, and the arrays of one case."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

DTYPES = ("float32", "float64", "float16")
K = 10  # of top_k

# The baseline of each: a copy of the array, or a sweep over it.
OPERATIONS = {
    "softmax": "memcpy",
    "log_softmax": "memcpy",
    "logsumexp": "read",
    "cross_entropy": "read",
    "cross_entropy_soft": "read",
    "cross_entropy_value_and_grad": "memcpy",
    "binary_cross_entropy": "read",
    "binary_cross_entropy_value_and_grad": "memcpy",
    "sigmoid": "memcpy",
    "argmax": "read",
    "top_k": "read",
}
ELEMENTWISE = {"binary_cross_entropy", "binary_cross_entropy_value_and_grad", "sigmoid"}


@dataclass(frozen=True)
class Shape:
    """The lengths of an array and its class axis, written 8192x1000, or 1000x8192@0."""

    lengths: tuple[int, ...]
    axis: int = -1

    @classmethod
    def parse(cls, text: str) -> "Shape":
        """Read what `str` writes; ValueError for anything else."""
        lengths_text, at, axis_text = text.partition("@")
        lengths = tuple(map(int, lengths_text.split("x")))
        axis = int(axis_text) if at else -1
        if len(lengths) < 2 or min(lengths) < 1 or not -len(lengths) <= axis < len(lengths):
            raise ValueError(f"not a shape: {text!r}")
        axis %= len(lengths)
        return cls(lengths, -1 if axis == len(lengths) - 1 else axis)

    def __str__(self) -> str:
        return "x".join(map(str, self.lengths)) + (f"@{self.axis}" if self.axis >= 0 else "")

    @property
    def size(self) -> int:
        """The number of elements."""
        return int(np.prod(self.lengths, dtype=np.int64))

    @property
    def classes(self) -> int:
        """The number of classes."""
        return self.lengths[self.axis]


def _shapes(text: str) -> tuple[Shape, ...]:
    return tuple(map(Shape.parse, text.split()))


QUICK = _shapes("1x10 100000x10 8192x1000 1000x8192@0")
SHAPES = _shapes(
    "1x10 32x10 1x1000 1000000x2 1000000x3 1000000x8 1000000x10 1000000x16 1000000x31 100000x100 "
    "64x1000 8192x1000 8192x1024 256x32000 64x128256 16x21x128x256@1 1000x8192@0"
)
# 64 MB in one row, and 2 GB.
LARGE = _shapes("1x16000000 4096x128256")
# Where an element's neighbours do not matter, its number of classes does not either.
FEW = _shapes("1x10 1x1000 64x1000 8192x1000 1x16000000 4096x128256")


def applies(operation: str, shape: Shape) -> bool:
    """Whether the operation can be done on that shape."""
    return operation != "top_k" or shape.classes >= K


def worth_measuring(operation: str, shape: Shape) -> bool:
    """Whether a run that was asked for no shape in particular includes this one."""
    if not applies(operation, shape):
        return False
    if operation in ELEMENTWISE:
        return shape in FEW
    return operation != "top_k" or shape.axis == -1


class Data:
    """The arrays of one shape. Those that only some operations take are made when asked for."""

    def __init__(self, shape: Shape, dtype: str) -> None:
        self.shape = shape
        self.axis = shape.axis
        drawn = np.float64 if dtype == "float64" else np.float32
        x = self._rng(0).standard_normal(shape.lengths, dtype=drawn)
        x *= 3
        self.x: NDArray[Any] = x.astype(dtype, copy=False)
        # Touched, so that no one's first turn pays for the pages.
        self.out: NDArray[Any] = np.full_like(self.x, 1)

    @staticmethod
    def _rng(seed: int) -> "np.random.Generator":  # In quotes: its import takes a while.
        return np.random.default_rng(seed)

    def row(self, array: NDArray[Any]) -> NDArray[Any]:
        """The first row of an array of this shape: a view along the class axis."""
        first: NDArray[Any] = np.moveaxis(array, self.axis, -1)[(0,) * (array.ndim - 1)]
        return first

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """A class for each row."""
        lengths = list(self.shape.lengths)
        del lengths[self.axis]
        return self._rng(1).integers(0, self.shape.classes, lengths)

    @cached_property
    def soft(self) -> NDArray[Any]:
        """A probability for each class of each row."""
        p = self._rng(2).random(self.shape.lengths, dtype=np.float32)
        p /= p.sum(axis=self.axis, keepdims=True)
        return p.astype(self.x.dtype, copy=False)

    @cached_property
    def binary(self) -> NDArray[Any]:
        """A yes or a no for each element."""
        drawn = self._rng(3).random(self.shape.lengths, dtype=np.float32)
        np.less(drawn, 0.5, out=drawn)
        return drawn.astype(self.x.dtype, copy=False)
