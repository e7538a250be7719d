"""The arrays that are measured: problems of a family, each drawn from a seed of its own."""

import zlib
from functools import cached_property

import distributions
import numpy as np
import reference

DTYPES = ("float32", "float64", "float16", "bfloat16")

# Classes of a row: registers and parts of them, blocks and parts of them, vocabularies.
NARROW = (2, 3, 4, 5, 7, 8, 10, 15, 16, 17, 31, 32, 33, 50, 64, 65, 70)
WIDE = (100, 127, 129, 257, 1000, 1024, 2047, 2049, 4095, 4097, 8193, 16_385, 32_000, 128_256)
SIZES = {"full": NARROW + WIDE, "quick": (2, 10, 33, 129, 1000, 4097)}
# A vocabulary even of the quick size.
ALWAYS = {"N(0, 3)": (128_256,), "confident": (128_256,)}

TEMPERATURES = (0.1, 0.7, 3.0, 1000.0)
TEMPERED = ("N(0, 3)", "N(0, 20)", "N(0, 3) + 5000", "confident", "mostly -inf")
TEMPERED_SIZES = {"full": (2, 10, 33, 129, 1000, 4097, 32_000), "quick": (10, 1000)}


def dtype_of(name):
    if name != "bfloat16":
        return np.dtype(name)
    import ml_dtypes

    return np.dtype(ml_dtypes.bfloat16)


class Rows:
    """Rows of logits from one distribution, of one length, and all that losses take beside them."""

    def __init__(self, distribution, dtype, classes, temperature=None):
        self.family = "rows" if temperature is None else "tempered rows"
        self.temperature = temperature
        self.name = f"{distribution}, {classes} classes"
        if temperature is not None:
            self.name += f", temperature {temperature:g}"
        n = max(2, min(128, 20_000 // classes))
        # As large a problem, and the same numbers, of every size of the measurement.
        rng = np.random.default_rng([zlib.crc32(distribution.encode()), classes])
        x = distributions.DRAWS[dtype][distribution](rng, n, classes)
        with np.errstate(over="ignore"):
            self.x = x.astype(dtype_of(dtype))
        # Half of the labels are the largest logit: the loss of a confident, right row is tiny.
        right = self.x.astype(np.float64).argmax(-1)
        self.labels = np.where(rng.random(n) < 0.5, right, rng.integers(0, classes, n))
        soft = rng.random((n, classes)) * (rng.random((n, classes)) < 0.7)
        soft /= np.maximum(soft.sum(axis=-1, keepdims=True), 1e-3)
        self.soft = soft.astype(self.x.dtype)
        self.weights = rng.uniform(0.1, 3, (n, classes)).astype(self.x.dtype)

    def place(self, index):
        """Where element `index` of a result is, in words."""
        return f"{self.name}: row {index[0]}" + "".join(f", class {j}" for j in index[1:])

    @cached_property
    def rows(self):
        return reference.Rows(self.x, self.temperature or 1.0)

    @cached_property
    def hard_loss(self):
        return reference.loss(self.x, self.labels, reduction="none")

    @cached_property
    def soft_loss(self):
        return reference.loss(self.x, self.soft.astype(np.float64), reduction="none")

    @cached_property
    def grad_hess(self):
        return reference.grad_hess(self.x, self.labels)


class Elements:
    """Logits, each alone, and targets of them."""

    family = "elements"

    def __init__(self, dtype, targets):
        self.name = f"targets {targets}"
        width = dtype_of(dtype).itemsize * 8
        if width == 16:  # All there are.
            x = np.arange(1 << 16, dtype=np.uint16).view(dtype_of(dtype))
        else:
            x = distributions.arguments(dtype)
        with np.errstate(invalid="ignore"):  # As bfloat16 says of NaN.
            self.x = x[np.isfinite(x.astype(np.float64))]
        rng = np.random.default_rng(7)
        t = rng.integers(0, 2, self.x.size).astype(np.float64)
        if targets == "in [0, 1]":
            tiny = np.exp(rng.uniform(np.log(1e-25), 0, t.size))
            t = np.choose(np.arange(t.size) % 4, [rng.random(t.size), tiny, 1 - tiny, 0.5])
            self.family = "elements of soft targets"
        self.targets = t.astype(self.x.dtype)

    def place(self, index):
        x = float(self.x[index])
        beside = f", target {float(self.targets[index])!r}" if "soft" in self.family else ""
        return f"x = {x!r}{beside}"

    @cached_property
    def binary(self):
        return reference.binary_cross_entropy(
            self.x, self.targets.astype(np.float64), reduction="none"
        )


def distributions_of(dtype):
    """Names of all that a measurement goes through, "elements" among them."""
    return [*distributions.DRAWS[dtype], "elements"]


def problems(dtype, distribution, size):
    """Those of one distribution."""
    if distribution == "elements":
        yield Elements(dtype, "0 and 1")
        yield Elements(dtype, "in [0, 1]")
        return
    for classes in sorted({*SIZES[size], *ALWAYS.get(distribution, ())}):
        yield Rows(distribution, dtype, classes)
    if distribution in TEMPERED:
        for classes in TEMPERED_SIZES[size]:
            for temperature in TEMPERATURES:
                yield Rows(distribution, dtype, classes, temperature)
