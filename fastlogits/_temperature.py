"""The temperature at which logits have the smallest loss."""

import math
from typing import Literal, NamedTuple

from fastlogits._core import _temperature_sums
from fastlogits._sweep import NONE_IGNORED, Rows

# The search is over 1 / T, between the limits of scikit-learn's: beyond them the probabilities of
# usual logits are those of the limit.
SMALLEST, LARGEST = math.exp(-10), math.exp(10)

# Of 1 / T, relative. The error that a step of Newton's leaves is about its square; what the cubic
# of two points leaves, about the square of the product of their distances.
_TOLERANCE = 1e-6
# Where the search does not converge, rounding has the last word.
_MOST_SWEEPS = 100
# Of many rows, this many give a start within a percent or so: two sweeps over all are left.
_SAMPLE = 1 << 15


class Fit(NamedTuple):
    """Where the search ended: at the minimum, or at a limit beyond which the loss falls on."""

    temperature: float
    n_sweeps: int
    limit: Literal["", "smallest", "largest"]

    def limit_warning(self) -> str:
        """What to tell of a limit: not why, as the logits may also be far too large or small."""
        return (
            f"the temperature is at its limit, {self.temperature:.6g}: the loss falls on beyond it"
        )


class _Loss(NamedTuple):
    """The loss at an inverse temperature, summed over the rows, and its two derivatives by it."""

    value: float
    slope: float
    curvature: float


def find_temperature(
    rows: Rows, *, ignore_index: int = NONE_IGNORED, argument: str = "logits"
) -> Fit:
    """Minimise the loss of logits / T over T.

    Raises ValueError where no T has a finite loss. `argument` is what it calls the logits.
    """
    start = 1.0
    step = rows.n_rows // _SAMPLE
    if step >= 16 and rows.labels.ndim == 1:
        weights = None if rows.weights is None else rows.weights[::step]
        few = Rows(rows.logits[::step], rows.labels[::step], weights)
        sample = _search(few, 1, ignore_index, argument)
        if not sample.limit:
            start = 1 / sample.temperature
    return _search(rows, start, ignore_index, argument)


def _search(rows: Rows, start: float, ignore_index: int, argument: str) -> Fit:
    """Minimise from b = 1 / T = `start` on.

    The loss is convex in b, as the logarithm of a sum of exponentials of multiples of b is. So
    Newton's method has to be kept from two things only: leaving the bracket, and creeping where
    the loss falls exponentially for ever.
    """
    b = start
    first = loss = _loss(rows, b, ignore_index)
    if not all(map(math.isfinite, first)):
        raise ValueError(
            f"{argument}: expected a finite loss, got one that is not: "
            "NaN, infinity, a true class of -inf, or numbers close to the largest of float64"
        )
    last_b, last_loss, last_step, stretch, n_sweeps = math.inf, loss, math.inf, 1, 1
    # The slope is below 0 at the lower end and above it at the upper one: known, or still assumed.
    low, high = 1 / LARGEST, 1 / SMALLEST
    low_known = high_known = False
    while n_sweeps < _MOST_SWEEPS and high - low > _TOLERANCE**2 * b:
        if loss.slope < 0:
            low, low_known = b, True
        elif loss.slope > 0:
            high, high_known = b, True
        elif loss.curvature > 0 or n_sweeps == 1:
            break
        if loss.curvature > 0:
            step = -loss.slope / loss.curvature
        else:  # Too small for a number, and so is the slope where it is 0: it had been below.
            step = -math.inf if loss.slope > 0 else math.inf
        if abs(step) <= _TOLERANCE * b:
            b += step
            break
        if abs(step) * abs(b + step - last_b) <= _TOLERANCE * b * b:
            b = _root(last_b, last_loss, b, loss)
            break
        # Newton's steps shrink, but where the loss falls exponentially.
        stretch = 4 * stretch if step * last_step > 0 and abs(step) > abs(last_step) / 2 else 1
        target = b + stretch * step
        last_b, last_loss, last_step = b, loss, step
        if low < target < high:
            b = target
        elif target <= low and not low_known:
            b = low
        elif target >= high and not high_known:
            b = high
        else:
            b = math.sqrt(low * high)
        loss = _loss(rows, b, ignore_index)
        n_sweeps += 1
        if b == 1 / LARGEST and loss.slope >= 0:
            return Fit(LARGEST, n_sweeps, "largest")
        if b == 1 / SMALLEST and loss.slope <= 0:
            return Fit(SMALLEST, n_sweeps, "smallest")
    # Not so by rounding, where the loss hardly depends on T.
    return Fit(1 / b if loss.value <= first.value else 1 / start, n_sweeps, "")


def _root(b0: float, loss0: _Loss, b1: float, loss1: _Loss) -> float:
    """Where the slope is 0: b as a cubic function of it, through two points and their tangents."""
    width = loss1.slope - loss0.slope
    t = -loss0.slope / width
    return (1 - t) ** 2 * ((1 + 2 * t) * b0 + t * width / loss0.curvature) + t**2 * (
        (3 - 2 * t) * b1 - (1 - t) * width / loss1.curvature
    )


def _loss(rows: Rows, inverse_temperature: float, ignore_index: int) -> _Loss:
    value = slope = curvature = 0.0
    for block in rows.blocks():
        _, v, s, c = _temperature_sums(
            *block, ignore_index=ignore_index, inverse_temperature=inverse_temperature
        )
        value, slope, curvature = value + v, slope + s, curvature + c
    return _Loss(value, slope, curvature)
