"""What fastlogits promises, as numbers that may not grow."""

import numpy as np

import fastlogits as fl

from .shared import cases, prepare, timing


class RatioToMemory:
    """Time over that of a copy of the array, or of a sweep over it, by one thread."""

    params = (list(cases.OPERATIONS), ["1000000x10", "8192x1000", "64x128256", "1000x8192@0"])
    param_names = ("operation", "shape")
    unit = "times memcpy or read"
    timeout = 120

    def setup(self, operation, shape):
        if operation in cases.ELEMENTWISE and shape != "8192x1000":
            raise NotImplementedError
        self.arrays, self.call = prepare(operation, shape, "float32", 1, "fastlogits")

    def track_ratio(self, operation, shape):
        figures = timing.measure(operation, self.arrays, {"fastlogits": self.call}, rounds=9)
        return figures[-1]["ratio"]


# Rows of logits whose results are far from rounding away.
ROWS, CLASSES = 64, 1000


class Error:
    """The largest error in units in the last place, against a wider floating type."""

    params = (["softmax", "log_softmax", "logsumexp", "cross_entropy"], ["float32", "float64"])
    param_names = ("operation", "dtype")
    unit = "ulp"

    def setup(self, operation, dtype):
        if np.finfo(np.longdouble).nmant <= np.finfo(dtype).nmant:
            raise NotImplementedError
        rng = np.random.default_rng(0)
        # Flat rows and confident ones.
        scale = np.where(np.arange(ROWS) % 2, 3, 20)[:, np.newaxis]
        self.x = (rng.normal(0, 1, (ROWS, CLASSES)) * scale).astype(dtype)
        self.labels = rng.integers(0, CLASSES, ROWS)

    def track_error(self, operation, dtype):
        expected = self.exact(operation)
        found = self.found(operation)
        # Below the smallest normal, a unit is as large as there.
        size = np.maximum(np.abs(expected), np.finfo(dtype).tiny).astype(dtype)
        return round(float((np.abs(found - expected) / np.spacing(size)).max()), 3)

    def found(self, operation):
        if operation == "cross_entropy":
            return fl.cross_entropy(self.x, self.labels, reduction="none")
        return getattr(fl, operation)(self.x)

    def exact(self, operation):
        x = self.x.astype(np.longdouble)
        rows = np.arange(ROWS)
        top = x.argmax(axis=1)
        below = x - x[rows, top][:, np.newaxis]
        exponentials = np.exp(below)
        rest = exponentials.copy()
        rest[rows, top] = 0
        # Of a confident row, the sum of the others counts to its own last place.
        log_sum = np.log1p(rest.sum(axis=1))[:, np.newaxis]
        log_softmax = below - log_sum
        return {
            "softmax": exponentials / (1 + rest.sum(axis=1, keepdims=True)),
            "log_softmax": log_softmax,
            "logsumexp": (x[rows, top][:, np.newaxis] + log_sum)[:, 0],
            "cross_entropy": -log_softmax[rows, self.labels],
        }[operation]
