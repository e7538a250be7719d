"""Arrays of any dtype, values and place in memory, described so that a description can be kept."""

import math
from dataclasses import dataclass
from itertools import chain, repeat

import ml_dtypes  # noqa: F401  NumPy then knows bfloat16 by its name
import numpy as np
from checks import WRONG_ARRAYS


@dataclass(frozen=True)
class Layout:
    """How an array lies in memory: from its innermost axis on, the steps in items and the gaps in
    bytes between them, negative ones for items that overlap."""

    steps: tuple[int, ...] = ()
    gaps: tuple[int, ...] = ()
    turn: int = 0  # of the order of the axes, which is
    backwards: bool = False
    offset: int = 0
    swapped: bool = False
    writable: bool = True
    shared: bool = False  # in the memory of the first argument

    def strides(self, shape, itemsize):
        axes = [(d + self.turn) % len(shape) for d in range(len(shape))]
        strides, extent = [0] * len(shape), itemsize
        steps, gaps = chain(self.steps, repeat(1)), chain(self.gaps, repeat(0))
        order = axes if self.backwards else axes[::-1]
        for axis, step, gap in zip(order, steps, gaps, strict=False):
            strides[axis] = step * (extent + gap)
            extent = max(extent, abs(strides[axis]) * shape[axis])
        return strides

    def start_and_end(self, shape, itemsize):
        """Where the first element and the memory end."""
        if 0 in shape:
            return self.offset, self.offset
        far = [(n - 1) * s for n, s in zip(shape, self.strides(shape, itemsize), strict=True)]
        start = self.offset - sum(min(f, 0) for f in far)
        return start, start + sum(max(f, 0) for f in far) + itemsize

    def view(self, memory, shape, dtype):
        if self.swapped:
            dtype = dtype.newbyteorder()
        start, end = self.start_and_end(shape, dtype.itemsize)
        strides = self.strides(shape, dtype.itemsize)
        return np.ndarray(shape, dtype, memory[:end], start, strides)

    def owners(self, length, shape, dtype):
        """How many items each of so many bytes belongs to."""
        start, _ = self.start_and_end(shape, dtype.itemsize)
        positions = np.array([start])
        steps = zip(
            (*shape, dtype.itemsize), (*self.strides(shape, dtype.itemsize), 1), strict=True
        )
        for n, stride in steps:
            positions = (positions[:, None] + np.arange(n) * stride).ravel()
        return np.bincount(positions, minlength=length)


SPECIAL = [
    0.0,
    -0.0,
    np.inf,
    -np.inf,
    np.nan,
    1.0,
    -1.0,
    1e-310,
    3e38,
    -3e38,
    3e4,
    -3e4,
    88.8,
    -745.2,
]


def values(kind, rng, shape, dtype):
    """Numbers of `dtype`: how they are distributed is all that `kind` says."""
    size = math.prod(shape)
    if kind == "bits":
        raw = rng.integers(0, 256, size * dtype.itemsize, np.uint8)
        return (raw % 2 if dtype.kind == "b" else raw).view(dtype).reshape(shape)
    if isinstance(kind, int):  # labels of so many classes, and the default of what is ignored
        a = rng.integers(0, max(kind, 1), size)
        if rng.random() < 0.25:
            a[rng.random(size) < 0.1] = -100 if dtype.kind == "i" else 0
    elif dtype.kind in "biu" or kind == "ties":
        a = rng.integers(0, 4, size)
    elif kind == "special":
        a = np.where(rng.random(size) < 0.5, rng.choice(SPECIAL, size), rng.normal(0, 3, size))
    elif kind == "unit":
        a = np.clip(rng.normal(0.5, 0.5, size), 0, 1)
    elif kind == "wide":
        a = rng.normal(0, 1, size) * 10.0 ** rng.integers(-45, 39, size)
    else:
        a = {"normal": rng.normal(0, 3, size), "nothing": np.full(size, -np.inf)}[kind]
    with np.errstate(all="ignore"):
        return a.reshape(shape).astype(dtype)


class Subclass(np.ndarray):
    pass


class Holder:
    def __init__(self, a):
        self.a = a

    def __array__(self, dtype=None, copy=None):
        return self.a if dtype is None else self.a.astype(dtype)


@dataclass(frozen=True)
class Array:
    shape: tuple[int, ...]
    dtype: str = "float32"
    values: str | int = "normal"
    seed: int = 0
    layout: Layout = Layout()
    kind: str = "array"  # or list, Subclass, Holder

    def length(self):
        return self.layout.start_and_end(self.shape, np.dtype(self.dtype).itemsize)[1]

    def fill(self, memory):
        """The array in its memory."""
        dtype = np.dtype(self.dtype)
        a = self.layout.view(memory, self.shape, dtype)
        a[...] = values(self.values, np.random.default_rng(self.seed), self.shape, dtype)
        a.setflags(write=self.layout.writable)
        return a

    def wrap(self, a):
        """What is handed over in place of an array; an empty list would have no dtype, and a
        number adapts to that of other arguments."""
        return {
            "array": lambda: a,
            "list": lambda: a.tolist() if a.ndim and a.size else a,
            "Subclass": lambda: a.view(Subclass),
            "Holder": lambda: Holder(a),
        }[self.kind]()

    def plain(self, a):
        """The same values, where nothing is unusual but perhaps themselves."""
        a = np.asarray(self.wrap(a))
        return np.array(a, a.dtype.newbyteorder("="), order="C")


@dataclass(frozen=True)
class Wrong:
    """One of the arrays that no function takes."""

    name: str

    def get(self):
        return WRONG_ARRAYS[self.name]


@dataclass(frozen=True)
class Out:
    """Where to write: as the result but for `wrong`."""

    layout: Layout = Layout()
    itself: bool = False  # the first argument
    wrong: str = ""  # "shape" or "dtype"

    def describe(self, shape, dtype):
        if self.wrong == "shape":
            shape = (*shape, 1)
        elif self.wrong == "dtype":
            dtype = np.dtype(np.int32 if dtype.itemsize == 4 else np.float32)
        return shape, dtype

    def fits(self):
        return not self.wrong and not self.layout.swapped and self.layout.writable
