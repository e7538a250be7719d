"""Scores of a classifier, from its logits and the true labels.

`score` computes them all in one sweep over blocks of rows: no matrix of probabilities is ever
stored, and logits may be a memory map of a file larger than memory. The functions below it are one
score each, with the argument order and the labels of scikit-learn's functions of probabilities.
"""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastlogits._core import _score_rows, sigmoid
from fastlogits._sweep import (
    NONE_IGNORED,
    Rows,
    check_columns,
    check_count,
    check_logits,
    check_positive,
    check_weights,
    class_indices,
    rows_of_indices,
)

__all__ = [
    "Scores",
    "brier_score",
    "calibration_curve",
    "expected_calibration_error",
    "log_loss",
    "perplexity",
    "score",
    "top_k_accuracy",
]


_MOST_BINS = 10_000


@dataclass(frozen=True, repr=False, eq=False)
class Scores:
    """What `score` found.

    Means are weighted by `sample_weight`, and NaN where no row counts or all weights are 0. Two
    objects are equal where all of their figures are, of which NaN equals NaN.

    Attributes
    ----------
    n : int
        Rows counted; ignored rows are not.
    n_classes : int
        Classes: the length of the last axis of the logits.
    nll : float
        Mean negative log-likelihood of the true classes, in nats.
    perplexity : float
        ``exp(nll)``.
    accuracy : float
        Share of the rows whose largest logit is that of the true class.
    k : int
        The k of `top_k_accuracy`.
    top_k_accuracy : float
        Share of the rows whose true class has one of the k largest logits.
    brier : float
        Mean over the rows of the sum over the classes of the squared difference between the
        probability and 1 for the true class, 0 for others: from 0 to 2, also of two classes.
    ece : float
        Expected calibration error: the mean over the bins of the distance between confidence and
        accuracy, weighted by their rows.
    mce : float
        Maximum calibration error: the largest of these distances.
    bin_edges : ndarray of shape (n_bins + 1,)
        Edges of the bins of confidence, evenly from 0 to 1. A bin includes its upper edge, the
        first one also 0.
    bin_count : ndarray of int64, shape (n_bins,)
        Rows in each bin.
    bin_confidence : ndarray of shape (n_bins,)
        Mean confidence, the largest probability, of the rows of each bin; NaN where it is empty.
    bin_accuracy : ndarray of shape (n_bins,)
        Accuracy of the rows of each bin; NaN where it is empty.
    """

    n: int
    n_classes: int
    nll: float
    perplexity: float
    accuracy: float
    k: int
    top_k_accuracy: float
    brier: float
    ece: float
    mce: float
    bin_edges: NDArray[np.float64]
    bin_count: NDArray[np.int64]
    bin_confidence: NDArray[np.float64]
    bin_accuracy: NDArray[np.float64]

    def as_dict(self) -> dict[str, Any]:
        """Return the scores by name, in full precision.

        Returns
        -------
        dict
            One item for each attribute, in their order: Python numbers, and for the bins lists of
            them. NaN is left as it is, which `json.dumps` writes but JSON does not have.

        Examples
        --------
        >>> from fastlogits.metrics import score
        >>> score([[0.0, 0.0]], [1], n_bins=2).as_dict()["bin_count"]
        [1, 0]
        """
        return {
            name: value.tolist() if isinstance(value, np.ndarray) else value
            for name, value in asdict(self).items()
        }

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Scores):
            return NotImplemented
        return all(
            np.array_equal(getattr(self, f.name), getattr(other, f.name), equal_nan=True)
            for f in fields(self)
        )

    def __repr__(self) -> str:
        values = (
            f"{name}={format_value(value)}"
            for name, value in vars(self).items()
            if not isinstance(value, np.ndarray)
        )
        return f"{type(self).__name__}({', '.join(values)})"


def format_value(value: object) -> str:
    """Return a score as people read it: six significant digits."""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def score(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    k: int = 5,
    n_bins: int = 15,
    sample_weight: ArrayLike | None = None,
    ignore_index: int = -100,
    temperature: float = 1.0,
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
    k : int, default 5
        How many of the largest logits `top_k_accuracy` looks at. From C on it is 1.
    n_bins : int, default 15
        Bins of confidence, of equal width; at most 10 000.
    sample_weight : array_like of shape (...), optional
        Weights of the rows, no less than 0.
    ignore_index : int, default -100
        Rows with this label do not count.
    temperature : float, default 1.0
        Divides the logits; positive and finite.

    Returns
    -------
    Scores
        All scores, and the bins behind the calibration errors.

    Raises
    ------
    TypeError
        If `logits` or `sample_weight` are not real numbers, `labels`, `k`, `n_bins` or
        `ignore_index` not integers, an array has masked elements, or `temperature` is not a number.
    ValueError
        If the shape of `labels` or `sample_weight` is not that of `logits` without its last axis,
        there are no classes, a weight is negative or NaN, `k` or `n_bins` is out of range,
        or `temperature` is not positive and finite.
    IndexError
        If a label is out of range; the message has its position and its value.

    See Also
    --------
    log_loss, brier_score, expected_calibration_error, top_k_accuracy, calibration_curve

    Notes
    -----
    With the rows x that count, their labels y and weights w, the temperature T,
    :math:`p = \mathrm{softmax}(x / T)` and :math:`W = \sum_i w_i`,

    .. math::
        \mathrm{nll} = -\frac{1}{W} \sum_i w_i \log p_{i, y_i}, \quad
        \mathrm{brier} = \frac{1}{W} \sum_i w_i \sum_c (p_{ic} - [c = y_i])^2, \quad
        \mathrm{ece} = \frac{1}{W} \sum_b \Bigl| \sum_{i \in b} w_i
        (\max_c p_{ic} - [\hat y_i = y_i]) \Bigr|

    where :math:`\hat y` is the class of `fastlogits.argmax`: the first of equals, and the first
    NaN. So are the k largest logits: of equals the first come first, and a NaN before all numbers,
    unlike in `fastlogits.top_k`. A NaN in a row that counts makes `nll` NaN. Sums are float64.

    Examples
    --------
    >>> from fastlogits.metrics import score
    >>> scores = score([[2.0, 0.0], [0.0, 1.0], [3.0, 1.0]], [0, 1, 1], k=1, n_bins=10)
    >>> round(scores.nll, 6), round(scores.accuracy, 6), round(scores.ece, 6)
    (0.855706, 0.666667, 0.343512)
    >>> scores.bin_count
    array([0, 0, 0, 0, 0, 0, 0, 1, 2, 0])
    """
    return score_blocks(
        logits,
        labels,
        k=k,
        n_bins=n_bins,
        sample_weight=sample_weight,
        ignore_index=ignore_index,
        temperature=temperature,
    )


def score_blocks(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    k: int = 5,
    n_bins: int = 15,
    sample_weight: ArrayLike | None = None,
    ignore_index: int = -100,
    temperature: float = 1.0,
    progress: Callable[[int, int], object] | None = None,
) -> Scores:
    """Do what `score` does, and call ``progress(rows_done, rows)`` after each block."""
    return _score(
        rows_of_indices(logits, labels, sample_weight, ignore_index),
        k=k,
        n_bins=n_bins,
        ignore_index=ignore_index,
        temperature=check_positive(temperature, "temperature"),
        progress=progress,
    )


def log_loss(
    y_true: ArrayLike,
    logits: ArrayLike,
    *,
    labels: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
) -> float:
    r"""Mean negative log-likelihood of the true classes.

    What `sklearn.metrics.log_loss` gives of their probabilities, without its clipping.

    Parameters
    ----------
    y_true : array_like of shape (n,)
        True classes: numbers without a fraction, strings, or what else can be sorted.
    logits : array_like of shape (n, C) or (n,)
        Real numbers: one column for each class, in ascending order of the classes; or one number
        for each row, or one column, for the second of two classes against a 0 for the first, as
        scikit-learn's `decision_function` gives.
    labels : array_like of shape (C,), optional
        The classes, in ascending order. Default: those that occur in `y_true`.
    sample_weight : array_like of shape (n,), optional
        Weights of the rows, no less than 0.

    Returns
    -------
    float
        In nats. NaN where all weights are 0, infinite where a true class is impossible.

    Raises
    ------
    TypeError
        If `logits` or `sample_weight` are not real numbers, or classes cannot be compared.
    ValueError
        If shapes do not fit, `logits` have not one column for each class, `labels` are not
        distinct and ascending, `y_true` has others or numbers with a fraction, or a weight is
        negative or NaN.

    See Also
    --------
    perplexity : its exponential.
    fastlogits.cross_entropy : of class indices, with a gradient.

    Notes
    -----
    With the weights w and the index y of the true class,

    .. math::
        -\frac{1}{\sum_i w_i} \sum_i w_i \log \mathrm{softmax}(x_i)_{y_i}

    Examples
    --------
    >>> from fastlogits.metrics import log_loss
    >>> round(log_loss(["ham", "spam", "ham"], [[2.0, 0.0], [0.0, 1.0], [1.0, 3.0]]), 6)
    0.855706
    >>> round(log_loss(["ham", "spam", "ham"], [-2.0, 1.0, 2.0]), 6)
    0.855706
    """
    return _score_classes(y_true, logits, labels, sample_weight).nll


def perplexity(
    y_true: ArrayLike,
    logits: ArrayLike,
    *,
    labels: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
) -> float:
    r"""Exponential of the mean negative log-likelihood of the true classes.

    Parameters
    ----------
    y_true, logits, labels, sample_weight
        As for `log_loss`.

    Returns
    -------
    float
        From 1, where all true classes are certain. A classifier that does not tell C classes
        apart has C.

    Raises
    ------
    TypeError, ValueError
        As `log_loss`.

    See Also
    --------
    log_loss

    Notes
    -----
    .. math:: \exp(\mathrm{log\_loss})

    Examples
    --------
    >>> from fastlogits.metrics import perplexity
    >>> round(perplexity([0, 1, 2], [[0.0, 0.0, 0.0]] * 3), 6)
    3.0
    """
    return _score_classes(y_true, logits, labels, sample_weight).perplexity


def brier_score(
    y_true: ArrayLike,
    logits: ArrayLike,
    *,
    labels: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    scale_by_half: bool | Literal["auto"] = "auto",
) -> float:
    r"""Mean squared distance of the probabilities from the truth.

    What `sklearn.metrics.brier_score_loss` gives of probabilities, with the same default: halved
    for two classes. `Scores.brier` is never halved.

    Parameters
    ----------
    y_true, logits, labels, sample_weight
        As for `log_loss`.
    scale_by_half : bool or "auto", default "auto"
        Whether to halve the sum over the classes, so that it is at most 1. "auto": for two classes.

    Returns
    -------
    float
        From 0 to 1 if halved, else to 2.

    Raises
    ------
    TypeError, ValueError
        As `log_loss`; ValueError also if `scale_by_half` is none of those above.

    See Also
    --------
    score : with all other scores, in one sweep.

    Notes
    -----
    With p the softmax of a row,

    .. math::
        \frac{1}{\sum_i w_i} \sum_i w_i \sum_c (p_{ic} - [c = y_i])^2

    For two classes half of it is the mean of :math:`(p_{i1} - y_i)^2`.

    Examples
    --------
    >>> from fastlogits.metrics import brier_score
    >>> brier_score([0, 1], [0.0, 0.0])
    0.25
    >>> brier_score([0, 1], [0.0, 0.0], scale_by_half=False)
    0.5
    """
    if not (isinstance(scale_by_half, bool) or scale_by_half == "auto"):
        raise ValueError(f"scale_by_half: expected True, False or 'auto', got {scale_by_half!r}")
    scores = _score_classes(y_true, logits, labels, sample_weight)
    half = scores.n_classes == 2 if scale_by_half == "auto" else scale_by_half
    return scores.brier / 2 if half else scores.brier


def expected_calibration_error(
    y_true: ArrayLike,
    logits: ArrayLike,
    *,
    labels: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    n_bins: int = 15,
) -> float:
    r"""How far confidence is from accuracy, on average.

    Parameters
    ----------
    y_true, logits, labels, sample_weight
        As for `log_loss`.
    n_bins : int, default 15
        Bins of confidence, of equal width; at most 10 000.

    Returns
    -------
    float
        From 0 to 1.

    Raises
    ------
    TypeError, ValueError
        As `log_loss`; also if `n_bins` is no integer, or out of range.

    See Also
    --------
    calibration_curve : the bins themselves.
    score : with the maximum calibration error, in one sweep.

    Notes
    -----
    Over bins b of the confidence, the largest probability of a row, whose class is predicted,

    .. math::
        \sum_b \frac{w_b}{\sum_b w_b} | \mathrm{accuracy}_b - \mathrm{confidence}_b |

    Examples
    --------
    >>> from fastlogits.metrics import expected_calibration_error
    >>> expected_calibration_error([0, 1], [[0.0, 0.0], [0.0, 0.0]])
    0.0
    """
    return _score_classes(y_true, logits, labels, sample_weight, n_bins=n_bins).ece


def top_k_accuracy(
    y_true: ArrayLike,
    logits: ArrayLike,
    *,
    k: int = 2,
    labels: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
) -> float:
    """Share of the rows whose true class has one of the k largest logits.

    What `sklearn.metrics.top_k_accuracy_score` gives, but that of equal logits the first come
    first, as for `fastlogits.argmax`; there it is the last.

    Parameters
    ----------
    y_true, logits, labels, sample_weight
        As for `log_loss`.
    k : int, default 2
        How many of the largest logits count. From C on the result is 1.

    Returns
    -------
    float
        From 0 to 1.

    Raises
    ------
    TypeError, ValueError
        As `log_loss`; also if `k` is no integer, or below 1.

    See Also
    --------
    fastlogits.top_k : the classes themselves.

    Examples
    --------
    >>> from fastlogits.metrics import top_k_accuracy
    >>> top_k_accuracy([0, 1, 2, 2], [[5, 2, 1], [3, 4, 2], [2, 4, 3], [7, 2, 1]], k=2)
    0.75
    """
    return _score_classes(y_true, logits, labels, sample_weight, k=k).top_k_accuracy


def calibration_curve(
    y_true: ArrayLike,
    logits: ArrayLike,
    *,
    labels: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    n_bins: int = 5,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How often what is predicted with some probability is true.

    For one number a row: what `sklearn.calibration.calibration_curve` gives of the probabilities
    of the second class. For one column a class: the same of the predicted class and its
    probability, the confidence, which is what reliability diagrams show.

    Parameters
    ----------
    y_true, logits, labels, sample_weight
        As for `log_loss`.
    n_bins : int, default 5
        Bins of the probability, of equal width, which include their upper edge; at most 10 000.

    Returns
    -------
    prob_true : ndarray of shape (n_bins,) or smaller
        Share of the rows of each bin of which the prediction is true. Empty bins are left out.
    prob_pred : ndarray of shape (n_bins,) or smaller
        Mean of their predicted probabilities.

    Raises
    ------
    TypeError, ValueError
        As `log_loss`; also if `n_bins` is no integer, or out of range.

    See Also
    --------
    expected_calibration_error, score

    Examples
    --------
    >>> import numpy as np
    >>> from fastlogits.metrics import calibration_curve
    >>> p = np.array([0.1, 0.2, 0.3, 0.4, 0.65, 0.7, 0.8, 0.9])
    >>> logits = np.log(p / (1 - p))
    >>> prob_true, prob_pred = calibration_curve([0, 0, 0, 0, 1, 0, 1, 1], logits, n_bins=2)
    >>> print(prob_true, prob_pred.round(4))
    [0.   0.75] [0.25   0.7625]
    """
    rows = _rows_of_classes(y_true, logits, labels, sample_weight)
    if rows.logits.ndim == 2:
        scores = _score(rows, n_bins=n_bins)
        some = ~np.isnan(scores.bin_confidence)
        return scores.bin_accuracy[some], scores.bin_confidence[some]
    n_bins = check_count(n_bins, "n_bins", _MOST_BINS)
    edges = np.linspace(0, 1, n_bins + 1)[1:-1]
    weight, true, predicted = np.zeros((3, n_bins))
    for block in rows.blocks():
        p = sigmoid(block.logits[:, 1] - block.logits[:, 0], dtype=np.float64)
        w = np.ones(len(p)) if block.weights is None else block.weights.astype(np.float64)
        bins = np.searchsorted(edges, p)
        weight += np.bincount(bins, w, n_bins)
        true += np.bincount(bins, np.where(block.labels, w, 0), n_bins)
        with np.errstate(invalid="ignore"):  # An infinite weight of a probability of 0.
            predicted += np.bincount(bins, w * p, n_bins)
    some = weight > 0
    with np.errstate(invalid="ignore"):
        return true[some] / weight[some], predicted[some] / weight[some]


def _score_classes(
    y_true: ArrayLike,
    logits: ArrayLike,
    labels: ArrayLike | None,
    sample_weight: ArrayLike | None,
    *,
    k: int = 1,
    n_bins: int = 1,
) -> Scores:
    """What the functions in scikit-learn's argument order take their score from."""
    return _score(_rows_of_classes(y_true, logits, labels, sample_weight), k=k, n_bins=n_bins)


def _rows_of_classes(
    y_true: ArrayLike,
    logits: ArrayLike,
    labels: ArrayLike | None,
    sample_weight: ArrayLike | None,
) -> Rows:
    x = check_logits(logits, scores=True)
    indices, classes = class_indices(y_true, labels)
    if indices.shape != x.shape[:1]:
        raise ValueError(
            f"y_true: expected shape {x.shape[:1]}, one for each row of logits, got {indices.shape}"
        )
    check_columns(x, classes)
    return Rows(x, indices, check_weights(sample_weight, x.shape[:1]))


def _score(
    rows: Rows,
    *,
    k: int = 1,
    n_bins: int = 1,
    ignore_index: int = NONE_IGNORED,
    temperature: float = 1.0,
    progress: Callable[[int, int], object] | None = None,
) -> Scores:
    """Sum over all blocks, and divide."""
    k, n_bins = check_count(k, "k"), check_count(n_bins, "n_bins", _MOST_BINS)
    n_classes = rows.n_classes
    sums: dict[str, Any] = {}
    done = 0
    for block in rows.blocks():
        part = _score_rows(
            *block,
            ignore_index=ignore_index,
            temperature=temperature,
            k=min(k, n_classes),
            n_bins=n_bins,
        )
        sums = {name: sums[name] + value for name, value in part.items()} if sums else part
        done += len(block.labels)
        if progress is not None:
            progress(done, rows.n_rows)

    # A mean of no weight is NaN; weights may be infinite, and exp may overflow.
    with np.errstate(all="ignore"):
        weight, bin_weight = np.float64(sums["weight"]), sums["bin_weight"]
        nll, accuracy, top_k, brier, ece = (
            float(total / weight)
            for total in (
                sums["nll"],
                sums["accuracy"],
                sums["top_k_accuracy"],
                sums["brier"],
                np.abs(sums["bin_confidence"] - sums["bin_hits"]).sum(),
            )
        )
        bin_confidence = sums["bin_confidence"] / bin_weight
        bin_accuracy = sums["bin_hits"] / bin_weight
        exp_nll = float(np.exp(nll))
        distances = np.abs(bin_confidence - bin_accuracy)[bin_weight > 0]
    return Scores(
        n=sums["n"],
        n_classes=n_classes,
        nll=nll,
        perplexity=exp_nll,
        accuracy=accuracy,
        k=k,
        top_k_accuracy=top_k,
        brier=brier,
        ece=ece,
        mce=float(distances.max()) if distances.size else math.nan,
        # Rounded as those that scores.c compares with: linspace's may be an ulp apart.
        bin_edges=np.arange(n_bins + 1) / n_bins,
        bin_count=sums["n_in_bin"],
        bin_confidence=bin_confidence,
        bin_accuracy=bin_accuracy,
    )
