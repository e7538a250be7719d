"""Exact-as-can-be results, in extended precision, to measure the kernels against.

Written for clarity and independently of the kernels. Everything is computed in ``np.longdouble``
from the stored values of the input: with the 64 significant bits of x86 its own error is a few
thousandths of a unit in the last place of float64.
"""

import numpy as np

WIDE = np.longdouble


def wide_enough(dtype):
    """Whether ``np.longdouble`` has at least ten bits more than `dtype` on this machine."""
    return np.finfo(WIDE).nmant >= np.finfo(dtype).nmant + 10


class Rows:
    """What follows from the logits of an array of rows: (..., rows, classes).

    The largest logit is left out of the sum, so that a confident row keeps every digit of what
    the other classes add; the rounding error of each difference is carried along.
    """

    def __init__(self, x, temperature=1.0):
        t = WIDE(temperature)
        with np.errstate(all="ignore"):
            x = np.asarray(x).astype(WIDE)
            self.largest = x.max(axis=-1)
            m = self.largest[..., None]
            diff = x - m
            # What `x - m` rounded away (two-sum), so that diff + low is exact.
            back = x - diff
            low = (x - (diff + back)) + (back - m)
            low = np.where(np.isfinite(low), low, 0)
            self.diff = (diff + low) / t
            self.exps = np.exp(diff / t) * (1 + low / t)
            where = np.argmax(x, axis=-1)[..., None]
            others = self.exps.copy()
            np.put_along_axis(others, where, 0, axis=-1)
            self.rest = others.sum(axis=-1)
            # A largest logit that is not finite leaves no finite difference to go on.
            self.bad = ~np.isfinite(self.largest)
            self.t = t

    def softmax(self):
        with np.errstate(all="ignore"):
            p = self.exps / (1 + self.rest)[..., None]
        return np.where(self.bad[..., None], np.nan, p)

    def log_softmax(self):
        with np.errstate(all="ignore"):
            y = self.diff - np.log1p(self.rest)[..., None]
        return np.where(self.bad[..., None], np.nan, y)

    def logsumexp(self):
        with np.errstate(all="ignore"):
            y = self.largest / self.t + np.log1p(self.rest)
        return np.where(self.bad, self.largest, y)

    def cross_entropy(self, targets):
        """The loss of each row."""
        targets = np.asarray(targets).astype(np.intp)
        return -np.take_along_axis(self.log_softmax(), targets[..., None], axis=-1)[..., 0]


def softmax(x, temperature=1.0):
    return Rows(x, temperature).softmax()


def log_softmax(x, temperature=1.0):
    return Rows(x, temperature).log_softmax()


def logsumexp(x):
    return Rows(x).logsumexp()


def cross_entropy(x, targets):
    return Rows(x).cross_entropy(targets)


def sigmoid(x):
    with np.errstate(all="ignore"):
        x = np.asarray(x).astype(WIDE)
        e = np.exp(-np.abs(x))
        return np.where(x < 0, e, 1) / (1 + e)


def softplus(x):
    with np.errstate(all="ignore"):
        x = np.asarray(x).astype(WIDE)
        return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def log_sigmoid(x):
    return -softplus(np.negative(x))


def ulp(exact, dtype):
    """The spacing of `dtype` at each exact value: never below the smallest subnormal."""
    info = np.finfo(dtype)
    exponent = np.frexp(np.abs(exact))[1] - (info.nmant + 1)
    exponent = np.where(exact == 0, info.minexp - info.nmant, exponent)
    return np.ldexp(WIDE(1), np.maximum(exponent, info.minexp - info.nmant))


def ulp_error(got, exact, unit=None):
    """The distance of each result from the exact value, in units in the last place.

    The unit is the spacing of the result's dtype at the exact value, or `unit`. A result that is
    the rounded exact value (also where that is NaN or infinite) is 0 off, any other that is not
    finite infinitely far. A zero in place of a value below the smallest normal counts as 0 off:
    such results may be flushed.
    """
    got = np.asarray(got)
    assert got.dtype in (np.float32, np.float64)
    exact = np.asarray(exact, dtype=WIDE)
    assert got.shape == exact.shape
    if unit is None:
        unit = ulp(exact, got.dtype)
    info = np.finfo(got.dtype)
    with np.errstate(all="ignore"):
        error = np.abs(got.astype(WIDE) - exact) / unit
        rounded = exact.astype(got.dtype)
        flushed = (got == 0) & (np.abs(exact) < info.smallest_normal * (1 + 2 * WIDE(info.eps)))
    right = (got == rounded) & ~np.isfinite(rounded) | np.isnan(got) & np.isnan(exact) | flushed
    error = np.where(np.isfinite(error), error, np.inf)
    return np.where(right, 0, error).astype(np.float64)
