"""What fastlogits promises, as numbers that may not grow."""

import importlib.util
from pathlib import Path

import numpy as np

import fastlogits as fl

from .shared import cases, prepare, timing


def _load_reference():
    """The exact results of the tests, of the checkout as all of the suite."""
    path = Path(__file__).resolve().parent.parent / "tests" / "reference.py"
    spec = importlib.util.spec_from_file_location("fastlogits_reference", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


reference = _load_reference()


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
        if not reference.wide_enough(dtype):
            raise NotImplementedError
        rng = np.random.default_rng(0)
        # Flat rows and confident ones.
        scale = np.where(np.arange(ROWS) % 2, 3, 20)[:, np.newaxis]
        self.x = (rng.normal(0, 1, (ROWS, CLASSES)) * scale).astype(dtype)
        self.labels = rng.integers(0, CLASSES, ROWS)

    def track_error(self, operation, dtype):
        exact, found = self.exact(operation), self.found(operation)
        return round(float(reference.ulp_error(found, exact).max()), 3)

    def found(self, operation):
        if operation == "cross_entropy":
            return fl.cross_entropy(self.x, self.labels, reduction="none")
        return getattr(fl, operation)(self.x)

    def exact(self, operation):
        rows = reference.Rows(self.x)
        if operation == "cross_entropy":
            return rows.cross_entropy(self.labels)
        return getattr(rows, operation)()
