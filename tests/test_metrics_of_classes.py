"""The scores in scikit-learn's argument order: beside scikit-learn's own of float64 probabilities,
their definitions, and every wrong argument."""

import math

import numpy as np
import pytest
from scipy.special import expit, softmax

from fastlogits import _sweep, metrics
from fastlogits.metrics import (
    brier_score,
    calibration_curve,
    expected_calibration_error,
    log_loss,
    perplexity,
    score,
    top_k_accuracy,
)

# What docs and issues promise, and what is measured here: 3e-15 and 2e-7 at most.
TOLERANCE = {np.float32: 1e-5, np.float64: 1e-6}

FUNCTIONS = [
    log_loss,
    perplexity,
    brier_score,
    expected_calibration_error,
    top_k_accuracy,
    calibration_curve,
]
each_function = pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__name__)

LABELS = {
    "integers": np.array([3, -7, 2**40]),
    "strings": np.array(["spam", "eggs", "a longer name"]),
    "objects": np.array(["spam", "eggs", "ham"], object),
    "floats": np.array([-1.0, 4.0, 2.0]),
    "small": np.array([2, 0, 1], np.int8),
}


@pytest.fixture
def rng():
    return np.random.default_rng(11)


@pytest.fixture
def sk_metrics():
    pytest.importorskip("sklearn", minversion="1.7", reason="scikit-learn 1.7 is not installed")
    return pytest.importorskip("sklearn.metrics")


def sample(rng, n, n_classes, dtype):
    """Logits, and indices of which about half are those of the largest."""
    shape = (n, n_classes) if n_classes else n
    logits = rng.normal(0, 3, shape).astype(dtype)
    indices = rng.integers(0, n_classes or 2, n)
    likely = logits.argmax(axis=1) if n_classes else (logits > 0).astype(int)
    return logits, np.where(rng.random(n) < 0.5, likely, indices)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("names", LABELS)
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_figures_are_those_of_scikit_learn(rng, sk_metrics, dtype, names, weighted):
    logits, indices = sample(rng, 2000, 3, dtype)
    y = np.sort(LABELS[names])[indices]
    weights = rng.uniform(0, 2, len(y)) if weighted else None
    p = softmax(logits.astype(np.float64), axis=1)
    ours, theirs = {"sample_weight": weights}, {"sample_weight": weights}
    expected = {
        log_loss: sk_metrics.log_loss(y, p, **theirs),
        perplexity: math.exp(sk_metrics.log_loss(y, p, **theirs)),
        brier_score: sk_metrics.brier_score_loss(y, p, **theirs),
        top_k_accuracy: sk_metrics.top_k_accuracy_score(y, p, k=2, **theirs),
    }
    for function, value in expected.items():
        found = function(y, logits, **ours)
        assert type(found) is float
        assert found == pytest.approx(value, rel=TOLERANCE[dtype]), function.__name__


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_figures_of_binary_scores_are_those_of_scikit_learn(rng, sk_metrics, dtype, weighted):
    scores, indices = sample(rng, 2000, None, dtype)
    y = np.array(["no", "yes"])[indices]
    weights = rng.uniform(0, 2, len(y)) if weighted else None
    p = expit(scores.astype(np.float64))
    options = {"sample_weight": weights}
    expected = {
        log_loss: sk_metrics.log_loss(y, p, **options),
        brier_score: sk_metrics.brier_score_loss(y, p, pos_label="yes", **options),
        top_k_accuracy: sk_metrics.top_k_accuracy_score(y, scores, k=1, **options),
    }
    options_of = {top_k_accuracy: {"k": 1}}
    for function, value in expected.items():
        found = function(y, scores, **options, **options_of.get(function, {}))
        assert found == pytest.approx(value, rel=TOLERANCE[dtype]), function.__name__
        column = function(y, scores[:, np.newaxis], **options, **options_of.get(function, {}))
        assert column == found


@pytest.mark.parametrize("n_bins", [1, 5, 30])
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_curve_of_binary_scores_is_that_of_scikit_learn(rng, dtype, n_bins):
    sk_calibration = pytest.importorskip("sklearn.calibration")
    scores, y = sample(rng, 500, None, dtype)
    found = calibration_curve(y, scores, n_bins=n_bins)
    expected = sk_calibration.calibration_curve(y, expit(scores.astype(float)), n_bins=n_bins)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_curve_of_classes_is_that_of_scikit_learn_for_the_confidence(rng, dtype):
    sk_calibration = pytest.importorskip("sklearn.calibration")
    logits, y = sample(rng, 500, 4, dtype)
    p = softmax(logits.astype(np.float64), axis=1)
    right = p.argmax(axis=1) == y
    found = calibration_curve(y, logits, n_bins=12)
    expected = sk_calibration.calibration_curve(right, p.max(axis=1), n_bins=12)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=TOLERANCE[dtype])


def test_weights_of_a_curve_are_repetitions(rng):
    for n_classes in (None, 3):
        logits, y = sample(rng, 200, n_classes, np.float64)
        weights = rng.integers(0, 3, len(y))
        found = calibration_curve(y, logits, sample_weight=weights)
        expected = calibration_curve(np.repeat(y, weights), np.repeat(logits, weights, axis=0))
        np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_they_share_the_figures_of_score(rng):
    logits, y = sample(rng, 300, 4, np.float32)
    scores = score(logits, y, k=2, n_bins=15)
    assert log_loss(y, logits) == scores.nll
    assert perplexity(y, logits) == scores.perplexity
    assert brier_score(y, logits) == scores.brier
    assert brier_score(y, logits, scale_by_half=True) == scores.brier / 2
    assert top_k_accuracy(y, logits) == scores.top_k_accuracy
    assert expected_calibration_error(y, logits) == scores.ece
    found = calibration_curve(y, logits, n_bins=15)
    some = scores.bin_count > 0
    np.testing.assert_array_equal(found, [scores.bin_accuracy[some], scores.bin_confidence[some]])


def test_brier_score_of_two_classes_is_halved_as_in_scikit_learn(rng):
    logits, y = sample(rng, 300, 2, np.float64)
    both = score(logits, y).brier
    assert brier_score(y, logits) == both / 2
    assert brier_score(y, logits, scale_by_half=False) == both
    assert brier_score(y, logits[:, 1] - logits[:, 0]) == pytest.approx(both / 2, rel=1e-12)


@each_function
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int8, np.uint8])
def test_scores_are_two_columns(rng, function, dtype):
    scores = rng.integers(0 if dtype == np.uint8 else -6, 6, 300).astype(dtype)
    y = rng.integers(0, 2, 300)
    if function is calibration_curve:  # of the second class, not of the more probable one
        expected = function(y, scores.astype(np.float64))
    else:
        expected = function(y, np.stack([np.zeros(300), scores], axis=1))
    relative = 1e-6 if np.dtype(dtype).kind == "f" and dtype != np.float64 else 1e-13
    np.testing.assert_allclose(function(y, scores), expected, rtol=relative)


def test_infinite_scores_are_certain():
    y, scores = [0, 1, 1], [-math.inf, math.inf, 0.0]
    assert log_loss(y, scores) == pytest.approx(math.log(2) / 3)
    assert log_loss([1, 1, 0], scores) == math.inf
    assert brier_score(y, scores) == pytest.approx(0.25 / 3)


@each_function
def test_labels_name_the_classes_that_do_not_occur(rng, function):
    logits, indices = sample(rng, 100, 4, np.float64)
    indices[indices == 2] = 3
    names = np.array(["a", "b", "c", "d"])
    np.testing.assert_array_equal(
        function(names[indices], logits, labels=names), function(indices, logits, labels=range(4))
    )
    with pytest.raises(ValueError, match=r"logits: expected 3 columns.*\(100, 4\); labels= names"):
        function(names[indices], logits)


@each_function
def test_pandas(rng, function):
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    logits, indices = sample(rng, 100, 3, np.float64)
    expected = function(indices, logits)
    y = pandas.Series(np.array(["a", "b", "c"])[indices])
    for labels in (y, y.astype("category"), y.astype(object)):
        np.testing.assert_array_equal(function(labels, pandas.DataFrame(logits)), expected)


@each_function
def test_blocks(rng, function, monkeypatch):
    cases = [sample(rng, 100, n_classes, np.float64) for n_classes in (None, 2, 3)]
    whole = [function(y, logits) for logits, y in cases]
    monkeypatch.setattr(_sweep, "BLOCK_ELEMENTS", 7)
    for (logits, y), expected in zip(cases, whole, strict=True):
        np.testing.assert_allclose(function(y, logits), expected, rtol=1e-13)


def test_all_of_them_are_tested():
    alone = set(metrics.__all__) - {"Scores", "score"}
    assert alone == {function.__name__ for function in FUNCTIONS}


X = np.arange(12.0).reshape(4, 3)
Y = np.array([0, 1, 2, 0])


@each_function
@pytest.mark.parametrize(
    ("y", "logits", "options", "error", "words"),
    [
        (Y[:3], X, {}, ValueError, r"y_true: expected shape \(4,\).*got \(3,\)"),
        (Y[:, np.newaxis], X, {}, ValueError, r"y_true: expected one dimension.*\(4, 1\)"),
        (Y, X[:, :2], {}, ValueError, r"logits: expected 3 columns.*\(4, 2\)"),
        (Y, X[:, 0], {}, ValueError, r"logits: expected 3 columns.*\(4,\)"),
        (Y, X[:, :0], {}, ValueError, r"logits: .*\(4, 0\)"),
        (Y, X[np.newaxis], {}, ValueError, r"logits: .*\(1, 4, 3\)"),
        (Y, 1.0, {}, ValueError, r"logits: .*\(\)"),
        (np.zeros(4, int), X[:, 0], {}, ValueError, r"logits: expected 1 columns"),
        (Y, X.astype(complex), {}, TypeError, "logits: .*complex128"),
        (Y, X.astype(str), {}, TypeError, "logits: .*<U"),
        (Y + 0.5, X, {}, ValueError, r"y_true\[0\]: expected a class label, got 0.5"),
        ([0, 1, math.nan, 2], X, {}, ValueError, r"y_true\[2\]: .*got nan"),
        (Y + 0j, X, {}, TypeError, "y_true: .*complex128"),
        (np.array([0, "a", 1, 2], object), X, {}, TypeError, "y_true: .*compared"),
        (np.ma.masked_equal(Y, 2), X, {}, TypeError, "y_true .*masked"),
        (Y, X, {"labels": [0, 1]}, ValueError, r"y_true\[2\]: expected one of labels, .*got 2"),
        (Y, X, {"labels": []}, ValueError, r"y_true\[0\]: expected one of labels"),
        (Y, X, {"labels": [0, 2, 1]}, ValueError, "labels: .*ascending order.*0 2 1"),
        (Y, X, {"labels": [0, 1, 1, 2]}, ValueError, "labels: expected distinct"),
        (Y, X, {"labels": ["0", "1", "2"]}, TypeError, "y_true: .*compared.*labels"),
        (Y, X, {"labels": [[0, 1, 2]]}, ValueError, r"labels: .*\(1, 3\)"),
        (Y, X, {"sample_weight": [1, 1]}, ValueError, r"sample_weight: .*\(2,\)"),
        (Y, X, {"sample_weight": [1, 1, 1, -1]}, ValueError, r"sample_weight\[3\]: .*-1"),
    ],
)
def test_wrong_arguments(function, y, logits, options, error, words):
    with pytest.raises(error, match=words):
        function(y, logits, **options)


@pytest.mark.parametrize(
    ("function", "argument"),
    [
        (top_k_accuracy, "k"),
        (expected_calibration_error, "n_bins"),
        (calibration_curve, "n_bins"),
    ],
)
def test_wrong_counts(function, argument):
    for logits in (X, X[:, 0] - X[:, 1]):
        y = Y if logits.ndim == 2 else Y > 0
        with pytest.raises(ValueError, match=f"{argument}: expected at least 1, got 0"):
            function(y, logits, **{argument: 0})
        with pytest.raises(TypeError, match=f"{argument}: expected an integer, got str"):
            function(y, logits, **{argument: "2"})


@pytest.mark.parametrize("half", ["yes", None, 1.0, 2])
def test_wrong_scale_by_half(half):
    with pytest.raises(ValueError, match=f"scale_by_half: .*got {half!r}"):
        brier_score(Y, X, scale_by_half=half)


@pytest.mark.parametrize("least", [0, 2**60 + 1, 2**63, 2**64 - 2])
def test_labels_of_64_bits_are_not_rounded(least):
    y = np.array([least, least + 1], np.uint64)
    logits = [[0.0, 1.0], [1.0, 0.5]]
    expected = log_loss([0, 1], logits)
    assert log_loss(y, logits) == expected
    if least < 2**63:
        assert log_loss(y, logits, labels=y.astype(np.int64)) == expected
        assert log_loss(y.astype(np.int64), logits, labels=y) == expected
