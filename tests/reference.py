"""Exact-as-can-be results, in extended precision, to measure the kernels against.

Written for clarity and independently of the kernels. Everything is computed in ``np.longdouble``
from the stored values of the input: with the 64 significant bits of x86 its own error is a few
thousandths of a unit in the last place of float64.
"""

from typing import NamedTuple

import numpy as np

WIDE = np.longdouble


def finfo(dtype):
    """That of NumPy, which does not know bfloat16."""
    if np.dtype(dtype).name != "bfloat16":
        return np.finfo(dtype)
    import ml_dtypes  # Where there is a bfloat16, there is this.

    return ml_dtypes.finfo(dtype)


def wide_enough(dtype):
    """Whether ``np.longdouble`` has at least ten bits more than `dtype` on this machine."""
    return np.finfo(WIDE).nmant >= finfo(dtype).nmant + 10


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
            self.is_top = np.arange(x.shape[-1]) == np.argmax(x, axis=-1)[..., None]
            self.rest = np.where(self.is_top, 0, self.exps).sum(axis=-1)
            # A largest logit that is not finite leaves no finite difference to go on.
            self.bad = ~np.isfinite(self.largest)
            self.t = t

    def softmax(self):
        with np.errstate(all="ignore"):
            p = self.exps / (1 + self.rest)[..., None]
        return np.where(self.bad[..., None], np.nan, p)

    def one_minus_softmax(self):
        """With all its digits also where the probability is nearly 1."""
        with np.errstate(all="ignore"):
            q = np.where(self.is_top, (self.rest / (1 + self.rest))[..., None], 1 - self.softmax())
        return np.where(self.bad[..., None], np.nan, q)

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


class Loss(NamedTuple):
    """Exact results, and the sums of the magnitudes of the terms that each is made of."""

    value: np.ndarray
    grad: np.ndarray
    value_terms: np.ndarray
    grad_terms: np.ndarray


def loss(
    logits,
    targets,
    *,
    axis=-1,
    class_weight=None,
    sample_weight=None,
    ignore_index=-100,
    label_smoothing=0.0,
    z_loss=0.0,
    reduction="mean",
):
    """Cross-entropy with all its options, of class indices or soft targets, and its gradient."""
    x = np.moveaxis(np.asarray(logits), axis, -1)
    targets = np.asarray(targets)
    classes = x.shape[-1]
    w = np.ones(classes, WIDE) if class_weight is None else np.asarray(class_weight, WIDE)
    s = np.ones(x.shape[:-1], WIDE) if sample_weight is None else np.asarray(sample_weight, WIDE)
    if targets.dtype.kind == "f":
        t = np.moveaxis(targets, axis, -1).astype(WIDE)
        counts, w_label = np.ones(s.shape, bool), np.ones(s.shape, WIDE)
    else:
        counts = np.asarray(targets != ignore_index)
        y = np.where(counts, targets, 0).astype(np.intp)
        t, w_label = np.arange(classes) == y[..., None], w[y]
    # The loss is the sum of -a log p and z lse**2; its gradient sum(a) p - a + 2 z lse p.
    a = w * ((1 - WIDE(label_smoothing)) * t + WIDE(label_smoothing) / classes)
    z = w_label * WIDE(z_loss)
    rows = Rows(x)
    p, lse = rows.softmax(), rows.logsumexp()
    with np.errstate(all="ignore"):
        size = np.abs(rows.largest) + np.log1p(rows.rest)  # what lse is added up from
        # A coefficient of 0 beside a logit of -inf adds nothing.
        value = np.where((a == 0) & (x == -np.inf), 0, -a * rows.log_softmax()).sum(axis=-1)
        value, value_terms = value + z * lse**2, value + z * size**2
        # Where p is nearly 1, sum(a) p - a is the a of the others - sum(a) (1 - p).
        total = a.sum(axis=-1, keepdims=True)
        others = np.where(rows.is_top, 0, a).sum(axis=-1, keepdims=True)
        sure = others - total * rows.one_minus_softmax()
        grad = np.where(rows.is_top & (p > 0.5), sure, total * p - a)
        grad = grad + (2 * z * lse)[..., None] * p
        grad_terms = (total + (2 * z * size)[..., None]) * p + a
        value, value_terms = (np.where(counts, s * v, 0) for v in (value, value_terms))
        weight = np.where(counts, s * w_label, 0).sum()
        s, counts = s[..., None], counts[..., None]
        grad, grad_terms = (np.where(counts, s * g, 0) for g in (grad, grad_terms))
        if reduction != "none":
            value, value_terms = value.sum(), value_terms.sum()
        if reduction == "mean" and weight == 0:
            # Also where rows that weigh 0 have a loss, with smoothing.
            value, grad, grad_terms = WIDE("nan"), np.zeros_like(grad), np.zeros_like(grad)
        elif reduction == "mean":
            value, grad = value / weight, grad / weight
            value_terms, grad_terms = value_terms / weight, grad_terms / weight
    grad, grad_terms = (np.moveaxis(g, -1, axis) for g in (grad, grad_terms))
    return Loss(value, grad, value_terms, grad_terms)


def grad_hess(x, y, sample_weight=1, hess_scale=1.0):
    """Of cross-entropy, with respect to each logit: the gradient, and the Hessian's diagonal."""
    rows = Rows(x)
    p, q = rows.softmax(), rows.one_minus_softmax()
    s = np.asarray(sample_weight, WIDE)[..., None]
    hot = np.arange(np.shape(x)[-1]) == np.asarray(y)[..., None]
    with np.errstate(invalid="ignore"):
        return s * np.where(hot, -q, p), s * WIDE(hess_scale) * p * q


def confidence(x, kind):
    """Of rows (..., classes), from the differences to the largest logit."""
    rows = Rows(x)
    if kind == "energy":
        return -rows.logsumexp()
    with np.errstate(all="ignore"):
        if kind == "max_prob":
            y = 1 / (1 + rows.rest)
        elif kind == "margin":
            # p1 - p2 = p1 (1 - exp(x2 - x1)); a single class has none beside it.
            second = np.sort(rows.diff, axis=-1)[..., -2:-1]
            y = -np.expm1(second.sum(axis=-1)) / (1 + rows.rest) if second.size else 1 + rows.rest
        else:
            # log(1 + rest) - sum p d, both positive: nothing cancels.
            terms = np.where(rows.exps == 0, 0, -rows.diff * rows.exps)
            y = np.log1p(rows.rest) + terms.sum(axis=-1) / (1 + rows.rest)
    return np.where(rows.bad, np.nan, y)


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


def binary_cross_entropy(
    logits, targets, pos_weight=1, sample_weight=1, label_smoothing=0, reduction="mean"
):
    """The loss, the gradient, and the sum of the magnitudes of the gradient's terms."""
    x, t, e = np.asarray(logits, WIDE), np.asarray(targets, WIDE), WIDE(label_smoothing)
    w, s = np.asarray(pos_weight, WIDE), np.asarray(sample_weight, WIDE)
    yes, no = w * (t * (1 - e) + e / 2), (1 - t) * (1 - e) + e / 2
    loss = s * (yes * softplus(-x) + no * softplus(x))
    up, down = s * no * sigmoid(x), s * yes * sigmoid(-x)
    if reduction != "none":
        loss = loss.sum()
    if reduction == "mean":
        total = np.broadcast_to(s, x.shape).sum()
        loss = loss / total if total else WIDE(np.nan)
        up, down = (a / total if total else np.zeros_like(a) for a in (up, down))
    return loss, up - down, up + down


def ulp(exact, dtype):
    """The spacing of `dtype` at each exact value: never below the smallest subnormal."""
    info = finfo(dtype)
    exponent = np.frexp(np.abs(exact))[1] - (info.nmant + 1)
    exponent = np.where(exact == 0, info.minexp - info.nmant, exponent)
    return np.ldexp(WIDE(1), np.maximum(exponent, info.minexp - info.nmant))


def ulp_error(got, exact, unit=None):
    """The distance of each result from the exact value, in units in the last place.

    The unit is the spacing of the result's dtype at the exact value, or `unit`. A result that is
    the rounded exact value (also where that is NaN or infinite) is 0 off, any other that is not
    finite infinitely far. A zero in place of a value below the smallest normal that it is computed
    with (of half precision that of float32) counts as 0 off: such results may be flushed.
    """
    got = np.asarray(got)
    assert got.dtype.name in ("float32", "float64", "float16", "bfloat16")
    exact = np.asarray(exact, dtype=WIDE)
    assert got.shape == exact.shape
    if unit is None:
        unit = ulp(exact, got.dtype)
    info = np.finfo(got.dtype if got.dtype.itemsize > 2 else np.float32)
    with np.errstate(all="ignore"):
        error = np.abs(got.astype(WIDE) - exact) / unit
        rounded = exact.astype(got.dtype)
        flushed = (got == 0) & (np.abs(exact) < info.smallest_normal * (1 + 2 * WIDE(info.eps)))
    right = (got == rounded) & ~np.isfinite(rounded) | np.isnan(got) & np.isnan(exact) | flushed
    error = np.where(np.isfinite(error), error, np.inf)
    return np.where(right, 0, error).astype(np.float64)
