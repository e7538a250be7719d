"""fastlogits.calibration: the minima beside those of extended precision and of scikit-learn, the
limits, and the estimators among scikit-learn's tools."""

import contextlib
import importlib
import pickle
import sys
import tracemalloc

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("sklearn", minversion="1.6", reason="scikit-learn 1.6 is not installed")

import sklearn
import threadpoolctl
from scipy.special import expit, log_softmax, softmax
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import get_scorer, make_scorer
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    StratifiedKFold,
    cross_val_predict,
    cross_val_score,
)
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fastlogits import _sweep, _temperature, calibration
from fastlogits._temperature import LARGEST, SMALLEST
from fastlogits.calibration import CalibratedLogitsClassifier, TemperatureScaler, VectorScaler
from fastlogits.metrics import log_loss

SCALERS = [TemperatureScaler, VectorScaler]
each_scaler = pytest.mark.parametrize("scaler", SCALERS)


@pytest.fixture(autouse=True)
def one_thread():
    """On small problems the threads of BLAS wait for each other more than they work."""
    with threadpoolctl.threadpool_limits(1):
        yield


def sample(n, n_classes, *, seed=5, temperature=2.0, dtype=np.float64):
    """Logits that are `temperature` times those that the labels were drawn from."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (n, n_classes))
    labels = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
    return (temperature * logits).astype(dtype), labels


def binary_sample(n, **options):
    logits, labels = sample(n, 2, **options)
    return logits[:, 1] - logits[:, 0], labels


def exact_temperature(logits, labels, weights=None):
    """The root of the derivative of the loss by 1 / T, in 30 digits."""
    x = [[mpmath.mpf(float(v)) for v in row] for row in logits]
    w = np.ones(len(x)) if weights is None else weights

    def slope(b):
        total = mpmath.mpf(0)
        for row, y, weight in zip(x, labels, w, strict=True):
            e = [mpmath.exp(b * v) for v in row]
            mean = mpmath.fdot(e, row) / mpmath.fsum(e)
            total += mpmath.mpf(float(weight)) * (mean - row[y])
        return total

    with mpmath.workdps(30):
        return float(1 / mpmath.findroot(slope, (0.01, 10), solver="anderson", tol=1e-40))


def loss_and_slopes(logits, labels, scale, bias):
    """The mean loss of logits * scale + bias and its gradient, in extended precision."""
    x = np.asarray(logits, np.longdouble)
    z = x * scale + bias
    z = z - z.max(axis=1, keepdims=True)
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    rows = np.arange(len(x))
    residual = p - np.eye(x.shape[1])[labels]
    return -np.log(p[rows, labels]).mean(), (x * residual).mean(axis=0), residual.mean(axis=0)


# ---------------------------------------------------------------------------------------
# Temperature
# ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("temperature", [0.2, 1.0, 3.0])
@pytest.mark.parametrize("n_classes", [2, 5])
def test_temperature_is_the_exact_minimum(n_classes, temperature, weighted):
    logits, labels = sample(60, n_classes, temperature=temperature)
    weights = np.random.default_rng(0).uniform(0, 2, len(labels)) if weighted else None
    expected = exact_temperature(logits, labels, weights)
    found = TemperatureScaler().fit(logits, labels, sample_weight=weights)
    assert found.temperature_ == pytest.approx(expected, rel=1e-9)
    assert found.n_iter_ <= 8
    narrow = logits.astype(np.float32)
    expected = exact_temperature(narrow, labels, weights)
    found = TemperatureScaler().fit(narrow, labels, sample_weight=weights)
    assert found.temperature_ == pytest.approx(expected, rel=1e-6)


class Given(ClassifierMixin, BaseEstimator):
    """A classifier whose features are its logits."""

    def fit(self, X, y, sample_weight=None):
        self.classes_ = np.unique(y)
        return self

    def decision_function(self, X):
        return X[:, 0] if X.shape[1] == 1 else X

    def predict(self, X):
        raise NotImplementedError


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("columns", [1, 3, 10])
def test_temperature_is_that_of_scikit_learn(columns, weighted, dtype):
    """Its search is as exact in float64 only. To it a score x is the logits -x and x, so that its
    temperature is twice ours."""
    pytest.importorskip("sklearn", minversion="1.8", reason="scikit-learn has no temperature yet")
    logits, labels = sample(500, max(columns, 2), temperature=1.7)
    X = (logits[:, 1:] - logits[:, :1] if columns == 1 else logits).astype(dtype)
    weights = np.random.default_rng(1).uniform(0, 2, len(labels)) if weighted else None
    model = FrozenEstimator(Given().fit(X, labels))
    theirs = CalibratedClassifierCV(Given(), method="temperature", ensemble=False)
    theirs.fit(X.astype(np.float64), labels, sample_weight=weights)
    (calibrated,) = theirs.calibrated_classifiers_
    expected = 1 / calibrated.calibrators[0].beta_ / (2 if columns == 1 else 1)
    ours = TemperatureScaler().fit(X, labels, sample_weight=weights)
    assert ours.temperature_ == pytest.approx(expected, rel=1e-4)
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-5)
    whole = CalibratedLogitsClassifier(model).fit(X, labels, sample_weight=weights)
    assert whole.calibrator_.temperature_ == ours.temperature_


@given(
    st.integers(2, 30),
    st.integers(2, 5),
    st.integers(0, 2**32 - 1),
    st.floats(-3, 3),
    st.sampled_from(["drawn", "best", "worst", "any"]),
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_temperature_is_never_worse_than_its_neighbours(n, n_classes, seed, exponent, kind):
    logits, labels = sample(n, n_classes, seed=seed)
    labels = {
        "drawn": labels,
        "best": logits.argmax(axis=1),
        "worst": logits.argmin(axis=1),
        "any": np.random.default_rng(seed).integers(0, n_classes, n),
    }[kind]
    logits *= 10**exponent
    found = TemperatureScaler(classes=range(n_classes)).fit(logits, labels)
    assert found.n_iter_ <= 20
    t = found.temperature_
    assert SMALLEST <= t <= LARGEST

    def loss(temperature):
        return -log_softmax(logits / temperature, axis=1)[np.arange(n), labels].mean()

    least = loss(t) * (1 - 1e-12) - 1e-300
    for other in (1.0, t * 1.001, t / 1.001, t * 3, t / 3):
        if SMALLEST <= other <= LARGEST:
            assert least <= loss(other)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_temperature_scales_with_the_logits(scale):
    logits, labels = sample(500, 4)
    expected = TemperatureScaler().fit(logits, labels).temperature_
    found = TemperatureScaler().fit(scale * logits, labels)
    assert found.temperature_ == pytest.approx(scale * expected, rel=1e-9)
    assert found.n_iter_ <= 15


@pytest.mark.parametrize("columns", [1, 2, 4])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_separable_logits_have_the_smallest_temperature(columns, scale):
    logits, _ = sample(50, max(columns, 2))
    labels = logits.argmax(axis=1)
    X = scale * (logits[:, 1] - logits[:, 0] if columns == 1 else logits)
    with pytest.warns(ConvergenceWarning, match=r"limit, 4.53999e-05: the loss falls on"):
        found = TemperatureScaler().fit(X, labels)
    assert found.temperature_ == SMALLEST
    assert found.n_iter_ <= 20
    assert found.score(X, labels) == 1


@pytest.mark.parametrize("columns", [1, 2, 4])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_logits_worse_than_chance_have_the_largest_temperature(columns, scale):
    logits, _ = sample(50, max(columns, 2))
    X = scale * (logits[:, 1] - logits[:, 0] if columns == 1 else logits)
    with pytest.warns(ConvergenceWarning, match=r"limit, 22026.5: the loss falls on"):
        found = TemperatureScaler().fit(X, logits.argmin(axis=1))
    assert found.temperature_ == LARGEST


def test_a_limit_is_told_without_a_cause():
    """Of good logits, far too large."""
    logits, labels = sample(200, 4)
    with pytest.warns(ConvergenceWarning) as told:
        TemperatureScaler().fit(1e5 * logits, labels)
    (warning,) = told
    assert str(warning.message) == (
        "the temperature is at its limit, 22026.5: the loss falls on beyond it"
    )
    assert warning.filename == __file__


def test_errors_of_the_search_name_the_argument():
    wrong = 1.7e308 * (1 - np.eye(3)[Y3])
    with pytest.raises(ValueError, match="X: expected a finite loss"):
        TemperatureScaler().fit(wrong, Y3)


@pytest.mark.parametrize("columns", [1, 4])
def test_search_starts_from_a_sample(columns, monkeypatch):
    logits, labels = sample(640, max(columns, 2))
    X = logits[:, 1] - logits[:, 0] if columns == 1 else logits
    weights = np.random.default_rng(0).uniform(0, 2, len(labels))
    expected = TemperatureScaler().fit(X, labels, sample_weight=weights)
    monkeypatch.setattr(_temperature, "_SAMPLE", 40)
    found = TemperatureScaler().fit(X, labels, sample_weight=weights)
    assert found.temperature_ == pytest.approx(expected.temperature_, rel=1e-9)
    assert found.n_iter_ < expected.n_iter_
    # A sample that says nothing, or the wrong thing, costs sweeps only.
    labels[::16] = 0
    X[::16] = 1.0
    expected = exact_temperature(np.stack([0 * X, X], 1) if columns == 1 else X, labels)
    assert TemperatureScaler().fit(X, labels).temperature_ == pytest.approx(expected, rel=1e-9)
    X[::16] = np.eye(columns)[0] * 30 if columns > 1 else -30
    assert TemperatureScaler().fit(X, labels).n_iter_ < 15


def test_logits_that_say_nothing_are_left_alone():
    found = TemperatureScaler().fit(np.full((4, 2), 7.0), [0, 1, 0, 1])
    assert found.temperature_ == 1


# ---------------------------------------------------------------------------------------
# Vector
# ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("mean", [0, -30])
def test_vector_is_the_minimum(dtype, mean):
    logits, labels = sample(400, 4)
    logits = (logits * [0.5, 1, 2, 4] + [0, 1, -1, 2] + mean).astype(dtype)
    found = VectorScaler().fit(logits, labels)
    _, by_scale, by_bias = loss_and_slopes(logits, labels, found.scale_, found.bias_)
    spread = logits.std(axis=0)
    assert np.abs((by_scale - logits.mean(axis=0) * by_bias) / spread).max() < 1e-7
    assert np.abs(by_bias).max() < 1e-7
    assert found.bias_.mean() == pytest.approx(0, abs=1e-12)
    assert found.n_iter_ < 60


def test_vector_of_binary_scores_is_a_logistic_regression():
    scores, labels = binary_sample(500)
    found = VectorScaler().fit(scores + 3, labels)
    expected = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000)
    expected.fit(scores[:, np.newaxis] + 3, labels)
    np.testing.assert_allclose(found.scale_, expected.coef_[0], rtol=1e-5)
    np.testing.assert_allclose(found.bias_, expected.intercept_, rtol=1e-5)


@given(st.integers(10, 60), st.integers(2, 5), st.integers(0, 2**32 - 1), st.integers(-300, 300))
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_vector_is_never_worse_than_temperature(n, n_classes, seed, exponent):
    logits, labels = sample(n, n_classes, seed=seed)
    logits *= 10.0**exponent
    classes = range(n_classes)
    found, other = (
        log_loss(labels, scaler.fit(logits, labels).transform(logits), labels=classes)
        for scaler in (VectorScaler(classes=classes), TemperatureScaler(classes=classes))
    )
    assert found <= other * (1 + 1e-12) + 1e-15


def test_vector_undoes_scales_and_shifts():
    logits, labels = sample(500, 4)
    expected = VectorScaler().fit(logits, labels).predict_proba(logits)
    other = logits * [3, 0.1, -1, 1] + [5, 0, -2, 1]
    found = VectorScaler().fit(other, labels).predict_proba(other)
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("size", [1e-300, 1e-16, 1e5, 1e8, 1e16, 1e160, 1e300])
def test_vector_of_logits_of_any_size(size, binary):
    logits, labels = binary_sample(300) if binary else sample(300, 4)
    expected = VectorScaler().fit(logits, labels)
    found = VectorScaler().fit(size * logits, labels)
    np.testing.assert_allclose(
        found.predict_proba(size * logits), expected.predict_proba(logits), atol=1e-7
    )
    np.testing.assert_allclose(size * found.scale_, expected.scale_, rtol=1e-5)
    np.testing.assert_allclose(found.bias_, expected.bias_, rtol=1e-5)


def test_vector_of_columns_of_any_size():
    logits, labels = sample(300, 4)
    expected = VectorScaler().fit(logits, labels).predict_proba(logits)
    wide = logits * [1e-150, 1, 1e100, 1e150]
    found = VectorScaler().fit(wide, labels).predict_proba(wide)
    np.testing.assert_allclose(found, expected, atol=1e-7)


def test_vector_says_that_it_got_nowhere():
    logits, _ = sample(50, 3)
    with pytest.warns(ConvergenceWarning, match="no loss below that of its start"):
        VectorScaler().fit(logits, logits.argmax(axis=1))
    logits, labels = 2.0 * np.eye(3)[[0, 1, 2] * 3], [0, 1, 2, 1, 2, 0, 0, 1, 2]
    VectorScaler().fit(logits, labels)  # The best temperature is the minimum.


def test_vector_ends_after_max_iter():
    logits, labels = sample(500, 4)
    with pytest.warns(ConvergenceWarning, match="max_iter=2 "):
        found = VectorScaler(max_iter=2).fit(logits * [1, 2, 3, 4], labels)
    assert found.n_iter_ == 2


def test_vector_of_a_constant_column_and_of_separable_logits():
    logits, labels = sample(50, 3)
    logits[:, 1] = 2.0
    constant = VectorScaler().fit(logits, labels)
    assert np.isfinite([constant.scale_, constant.bias_]).all()
    with pytest.warns(ConvergenceWarning, match="limit"):
        TemperatureScaler().fit(logits, logits.argmax(axis=1))
    with pytest.warns(ConvergenceWarning, match="start"):
        separable = VectorScaler().fit(logits, logits.argmax(axis=1))
    assert np.isfinite([separable.scale_, separable.bias_]).all()
    assert separable.score(logits, logits.argmax(axis=1)) == 1


# ---------------------------------------------------------------------------------------
# Both: what goes in, and what comes out
# ---------------------------------------------------------------------------------------


@each_scaler
def test_probabilities_are_those_of_the_transformed_logits(scaler):
    logits, labels = sample(300, 4)
    fitted = scaler().fit(logits, labels)
    z = fitted.transform(logits)
    np.testing.assert_allclose(fitted.predict_proba(logits), softmax(z, axis=1), rtol=1e-13)
    np.testing.assert_allclose(
        fitted.predict_log_proba(logits), log_softmax(z, axis=1), rtol=1e-13, atol=1e-15
    )
    np.testing.assert_array_equal(fitted.predict(logits), z.argmax(axis=1))
    if scaler is TemperatureScaler:
        np.testing.assert_array_equal(z, logits / fitted.temperature_)
    else:
        np.testing.assert_array_equal(z, logits * fitted.scale_ + fitted.bias_)


@each_scaler
@pytest.mark.parametrize("column", [False, True])
def test_binary_scores(scaler, column):
    scores, labels = binary_sample(300)
    X = scores[:, np.newaxis] if column else scores
    fitted = scaler().fit(X, np.array(["no", "yes"])[labels])
    z = fitted.transform(X)
    assert z.shape == X.shape
    p = fitted.predict_proba(X)
    np.testing.assert_allclose(p[:, 1], expit(z.ravel()), rtol=1e-13)
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-13)
    np.testing.assert_allclose(np.exp(fitted.predict_log_proba(X)), p, rtol=1e-13)
    np.testing.assert_array_equal(fitted.predict(X), np.where(z.ravel() > 0, "yes", "no"))
    assert fitted.n_features_in_ == 1
    both = scaler().fit(np.stack([0 * scores, scores], axis=1), labels)
    if scaler is TemperatureScaler:
        assert both.temperature_ == pytest.approx(fitted.temperature_, rel=1e-12)


@each_scaler
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int16, np.int64])
def test_dtypes(scaler, dtype):
    logits, labels = sample(200, 3)
    logits = (logits * 4).astype(dtype)
    fitted = scaler().fit(logits, labels)
    expected = scaler().fit(logits.astype(np.float64), labels)
    p = fitted.predict_proba(logits)
    tolerance = {2: 2e-3, 4: 1e-6}.get(p.dtype.itemsize, 1e-12)
    np.testing.assert_allclose(p, expected.predict_proba(logits), atol=tolerance)
    kept = np.float64 if np.dtype(dtype).kind == "i" else dtype
    for result in (p, fitted.predict_log_proba(logits), fitted.transform(logits)):
        assert result.dtype == kept
    scores = logits[:, 0]
    fitted = scaler().fit(scores, labels == 0)
    assert fitted.predict_proba(scores).dtype == fitted.transform(scores).dtype == kept


@each_scaler
def test_masked_elements_are_refused(scaler):
    masked = np.arange(20) == 4
    X = np.ma.array(X3, mask=np.repeat(masked[:, np.newaxis], 3, axis=1))
    y = np.ma.array(Y3, mask=masked)
    fitted = scaler().fit(np.ma.array(X3), np.ma.array(Y3))
    expected = scaler().fit(X3, Y3).predict_proba(X3)
    np.testing.assert_array_equal(fitted.predict_proba(np.ma.array(X3)), expected)
    for call, name in [
        (lambda: scaler().fit(X, Y3), "X"),
        (lambda: scaler().fit(X3, y), "y"),
        (lambda: scaler().fit(X[:, 0], Y3 > 0), "X"),
        (lambda: fitted.predict(X), "X"),
        (lambda: fitted.transform(X), "X"),
    ]:
        with pytest.raises(TypeError, match=f"{name} must not have masked elements"):
            call()


@each_scaler
def test_bfloat16(scaler):
    ml_dtypes = pytest.importorskip("ml_dtypes", reason="ml_dtypes is not installed")
    logits, labels = sample(200, 3)
    narrow = logits.astype(ml_dtypes.bfloat16)
    for X in (narrow, -narrow[:, 0]):
        y = labels if X.ndim == 2 else labels > 0
        found = scaler().fit(X, y).predict_proba(X)
        wide = X.astype(np.float32)
        np.testing.assert_array_equal(found, scaler().fit(wide, y).predict_proba(wide))
        assert found.dtype == np.float32


@each_scaler
def test_tensors(scaler):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    logits, labels = sample(200, 3, dtype=np.float32)
    X, y = torch.from_numpy(logits), torch.from_numpy(labels)
    expected = scaler().fit(logits, labels).predict_proba(logits)
    np.testing.assert_array_equal(scaler().fit(X, y).predict_proba(X), expected)
    narrow = X.to(torch.bfloat16)
    wide = narrow.float().numpy()
    expected = scaler().fit(wide, labels).predict_proba(wide)
    np.testing.assert_array_equal(scaler().fit(narrow, y).predict_proba(narrow), expected)
    X.requires_grad_()
    with pytest.raises(TypeError, match=r"X cannot be read as an array: .*grad"):
        scaler().fit(X, y)
    with pytest.raises(TypeError, match=r"X cannot be read as an array: .*grad"):
        scaler().fit(logits, labels).predict(X)


@each_scaler
def test_layouts_blocks_and_order(scaler, monkeypatch):
    for logits, labels in (sample(300, 4), binary_sample(300)):
        weights = np.random.default_rng(0).uniform(0, 2, len(labels))
        expected = scaler().fit(logits, labels, sample_weight=weights).predict_proba(logits)
        order = np.random.default_rng(1).permutation(len(labels))
        wide = np.repeat(logits, 2, axis=-1)
        same = [
            (np.asfortranarray(logits), labels, weights),
            (wide[..., ::2], labels.astype(np.uint8), weights.tolist()),
            (logits.astype(">f8"), labels[::-1][::-1], weights),
            (logits[order], labels[order], weights[order]),
        ]
        for block in (1 << 22, 50):
            monkeypatch.setattr(_sweep, "BLOCK_ELEMENTS", block)
            for x, y, w in same:
                found = scaler().fit(x, y, sample_weight=w)
                np.testing.assert_allclose(found.predict_proba(logits), expected, atol=2e-8)


@each_scaler
def test_weights_are_repetitions(scaler):
    logits, labels = sample(300, 3)
    weights = np.random.default_rng(0).integers(0, 4, len(labels))
    found = scaler().fit(logits, labels, sample_weight=weights)
    expected = scaler().fit(np.repeat(logits, weights, axis=0), np.repeat(labels, weights))
    np.testing.assert_allclose(
        found.predict_proba(logits), expected.predict_proba(logits), atol=2e-8
    )


@each_scaler
@pytest.mark.parametrize("unit", [1e300, 1e290, 1e-305, 5e-324])
def test_weights_of_any_size(scaler, unit):
    logits, labels = sample(300, 3)
    weights = np.random.default_rng(0).integers(0, 4, len(labels))
    found = scaler().fit(logits, labels, sample_weight=unit * weights)
    expected = scaler().fit(logits, labels, sample_weight=weights)
    np.testing.assert_allclose(
        found.predict_proba(logits), expected.predict_proba(logits), atol=2e-8
    )
    found = scaler().fit(logits, labels, sample_weight=np.full(300, 1.7e308))
    expected = scaler().fit(logits, labels)
    np.testing.assert_allclose(
        found.predict_proba(logits), expected.predict_proba(logits), atol=2e-8
    )


@each_scaler
def test_classes_that_do_not_occur(scaler):
    logits, labels = sample(300, 4)
    labels[labels == 1] = 2
    names = ["a", "b", "c", "d"]
    y = np.array(names)[labels]
    fitted = scaler(classes=names).fit(logits, y)
    assert fitted.classes_.tolist() == names
    assert fitted.predict_proba(logits).shape == (300, 4)
    with pytest.raises(ValueError, match=r"X: expected 3 columns.*; classes= names"):
        scaler().fit(logits, y)


@each_scaler
@pytest.mark.parametrize("order", ["C", "F"])
def test_memory_does_not_grow_with_the_file(scaler, order, tmp_path, monkeypatch):
    monkeypatch.setattr(_sweep, "BLOCK_ELEMENTS", 1 << 16)
    logits = np.lib.format.open_memmap(
        tmp_path / "logits.npy", "w+", np.float32, (1 << 16, 64), fortran_order=order == "F"
    )
    few, y = sample(1 << 9, 64, dtype=np.float32)
    logits[: len(few)] = few
    labels = np.zeros(len(logits), np.int8)
    labels[: len(few)] = y
    options = {} if scaler is TemperatureScaler else {"max_iter": 2}
    tracemalloc.start()
    try:
        with pytest.warns(ConvergenceWarning) if options else contextlib.nullcontext():
            scaler(**options).fit(np.load(tmp_path / "logits.npy", mmap_mode="r"), labels)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert logits.nbytes == 1 << 24
    assert peak < 8e6


@each_scaler
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_probabilities_are_refused(scaler, dtype):
    logits, labels = sample(200, 3)
    with pytest.raises(ValueError, match=r"X: expected logits.*np\.log\(p\).*add 1"):
        scaler().fit(softmax(logits, axis=1).astype(dtype), labels)
    scores, labels = binary_sample(200)
    for p in (expit(scores), expit(scores)[:, np.newaxis]):
        with pytest.raises(ValueError, match=r"X: expected scores.*np\.log\(p / \(1 - p\)\)"):
            scaler().fit(p.astype(dtype), labels)


@each_scaler
def test_what_converts_probabilities_is_accepted(scaler):
    logits, labels = sample(200, 3)
    p = softmax(logits, axis=1)
    expected = scaler().fit(logits, labels)
    found = scaler().fit(np.log(p), labels)
    if scaler is TemperatureScaler:
        assert found.temperature_ == pytest.approx(expected.temperature_, rel=1e-9)
    # Logits that look like probabilities, one of which does not, or elsewhere than in fit.
    scaler().fit(p + 1, labels)
    p[-1, 0] += 0.1
    scaler().fit(p, labels)
    assert found.predict_proba([[1.0, 0.0, 0.0]]).shape == (1, 3)


X3, Y3 = sample(20, 3)


@each_scaler
@pytest.mark.parametrize(
    ("X", "y", "options", "error", "words"),
    [
        (X3[:, :2], Y3, {}, ValueError, r"X: expected 3 columns.*\(20, 2\)"),
        (X3[:, 0], Y3, {}, ValueError, r"X: expected 3 columns"),
        (X3, np.zeros(20, int), {}, ValueError, "y: expected at least two classes, got one"),
        (X3, Y3 + 0.5, {}, ValueError, "continuous"),
        (X3, Y3[:4], {}, ValueError, "inconsistent numbers of samples"),
        (np.where(X3 > 2, np.nan, X3), Y3, {}, ValueError, "NaN"),
        (np.where(X3 > 2, np.inf, X3), Y3, {}, ValueError, "infinity"),
        (X3, Y3, {"sample_weight": np.zeros(20)}, ValueError, "sample_weight: .*above 0.*zero"),
        (X3, Y3, {"sample_weight": -np.ones(20)}, ValueError, r"sample_weight\[0\]: .*got -1"),
        (X3, Y3, {"sample_weight": [1.0, np.inf] * 10}, ValueError, r"weight\[1\]: .*got inf"),
        (X3, Y3, {"sample_weight": np.ones(3)}, ValueError, r"sample_weight: .*\(3,\)"),
        (X3, Y3, {"sample_weight": ["a"] * 20}, TypeError, "sample_weight: .*<U1"),
    ],
)
def test_wrong_arguments(scaler, X, y, options, error, words):
    with pytest.raises(error, match=words):
        scaler().fit(X, y, **options)


@each_scaler
@pytest.mark.parametrize(
    ("classes", "error", "words"),
    [
        ([0, 1], ValueError, r"y\[\d+\]: expected one of classes, \[0 1\], got 2"),
        ([0, 2, 1], ValueError, "classes: .*ascending"),
        (["a", "b", "c"], TypeError, "y: .*compared.*classes"),
        (3, ValueError, r"classes: expected one dimension, got shape \(\)"),
    ],
)
def test_wrong_classes(scaler, classes, error, words):
    with pytest.raises(error, match=words):
        scaler(classes=classes).fit(X3, Y3)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"tol": 0}, ValueError, "tol: expected a positive finite number, got 0"),
        ({"tol": -1e-9}, ValueError, "tol: .*got -1e-09"),
        ({"tol": np.nan}, ValueError, "tol: .*got nan"),
        ({"tol": np.inf}, ValueError, "tol: .*got inf"),
        ({"tol": "1e-9"}, TypeError, "tol: expected a number, got '1e-9'"),
        ({"tol": None}, TypeError, "tol: expected a number, got None"),
        ({"tol": [1e-9]}, TypeError, "tol: expected a number"),
        ({"tol": True}, TypeError, "tol: expected a number, got True"),
        ({"max_iter": 0}, ValueError, "max_iter: expected at least 1, got 0"),
        ({"max_iter": 10.0}, TypeError, "max_iter: expected an integer, got float"),
        ({"max_iter": None}, TypeError, "max_iter: expected an integer, got NoneType"),
    ],
)
def test_wrong_parameters(options, error, words):
    scaler = VectorScaler(**options)
    with pytest.raises(error, match=words):
        scaler.fit(X3, Y3)


def test_parameters_of_numpy():
    expected = VectorScaler(tol=1e-6, max_iter=100).fit(X3, Y3)
    found = VectorScaler(tol=np.float64(1e-6), max_iter=np.int32(100)).fit(X3, Y3)
    np.testing.assert_array_equal(found.scale_, expected.scale_)


@each_scaler
def test_predicting_before_fitting(scaler):
    with pytest.raises(NotFittedError):
        scaler().predict(X3)


# ---------------------------------------------------------------------------------------
# Among scikit-learn's tools
# ---------------------------------------------------------------------------------------


@each_scaler
def test_clone_pickle_and_repr(scaler):
    fitted = scaler(classes=range(3)).fit(X3, Y3)
    assert clone(fitted).get_params() == fitted.get_params()
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.predict_proba(X3), fitted.predict_proba(X3))
    assert repr(fitted) == f"{scaler.__name__}(classes=range(0, 3))"


@each_scaler
def test_frames(scaler):
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    frame = pandas.DataFrame(X3, columns=["a", "b", "c"])
    fitted = scaler().set_output(transform="pandas").fit(frame, pandas.Series(Y3))
    assert fitted.feature_names_in_.tolist() == ["a", "b", "c"]
    out = fitted.transform(frame)
    assert out.columns.tolist() == ["a", "b", "c"]
    expected = scaler().fit(X3, Y3).transform(X3)
    np.testing.assert_allclose(out.to_numpy(), expected, rtol=1e-8)
    with pytest.raises(ValueError, match="feature names"):
        fitted.predict_proba(frame[["b", "a", "c"]])
    scores = pandas.Series(X3[:, 0])
    one = scaler().set_output(transform="pandas").fit(scores, scores > 0.5 + Y3)
    assert one.transform(scores).shape == (20, 1)


@pytest.fixture(scope="module")
def iris():
    X, y = load_iris(return_X_y=True, as_frame=False)
    y = np.where(np.random.default_rng(0).random(len(y)) < 0.15, (y + 1) % 3, y)
    return X, np.array(["setosa", "versicolor", "virginica"])[y]


@pytest.mark.parametrize("method", ["temperature", "vector"])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_classifier_is_its_parts(iris, method, n_classes):
    X, y = iris
    if n_classes == 2:
        X, y = X[y != "virginica"], y[y != "virginica"]
    model = LogisticRegression(max_iter=1000)
    found = CalibratedLogitsClassifier(model, method).fit(X, y)
    held_out = cross_val_predict(model, X, y, method="decision_function")
    scaler = {"temperature": TemperatureScaler, "vector": VectorScaler}[method]()
    scaler.fit(held_out, y)
    logits = clone(model).fit(X, y).decision_function(X)
    np.testing.assert_array_equal(found.predict_proba(X), scaler.predict_proba(logits))
    np.testing.assert_array_equal(found.predict_log_proba(X), scaler.predict_log_proba(logits))
    np.testing.assert_array_equal(found.predict(X), scaler.predict(logits))
    np.testing.assert_array_equal(found.decision_function(X), scaler.transform(logits))
    assert found.classes_.tolist() == np.unique(y).tolist()
    assert found.n_features_in_ == 4
    assert not hasattr(model, "coef_")


def test_frozen_classifier_is_calibrated_on_all_rows(iris):
    X, y = iris
    model = LogisticRegression(max_iter=1000).fit(X[::2], y[::2])
    found = CalibratedLogitsClassifier(FrozenEstimator(model)).fit(X[1::2], y[1::2])
    expected = TemperatureScaler().fit(model.decision_function(X[1::2]), y[1::2])
    assert found.calibrator_.temperature_ == expected.temperature_
    few = CalibratedLogitsClassifier(FrozenEstimator(model))
    few.fit(X[y != "virginica"], y[y != "virginica"])
    assert few.predict_proba(X).shape == (150, 3)


def test_pipelines_searches_and_scorers(iris):
    X, y = iris
    model = make_pipeline(StandardScaler(), LogisticRegression())
    calibrated = CalibratedLogitsClassifier(model, cv=StratifiedKFold(3))
    p = cross_val_predict(calibrated, X, y, method="predict_proba")
    np.testing.assert_allclose(p.sum(axis=1), 1)
    whole = make_pipeline(StandardScaler(), CalibratedLogitsClassifier(LogisticRegression()))
    assert whole.fit(X, y).score(X, y) > 0.75
    search = GridSearchCV(calibrated, {"method": ["temperature", "vector"]}, scoring="neg_log_loss")
    assert search.fit(X, y).best_score_ > -np.log(3)
    ours = make_scorer(log_loss, greater_is_better=False, response_method="decision_function")
    found = cross_val_score(calibrated, X, y, scoring=ours)
    expected = cross_val_score(calibrated, X, y, scoring=get_scorer("neg_log_loss"))
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_scaler_at_the_end_of_a_pipeline(iris):
    X, y = iris
    model = FrozenEstimator(LogisticRegression(max_iter=1000).fit(X, y))

    class Logits(type(model)):
        def transform(self, X):
            return self.decision_function(X)

        def fit_transform(self, X, y=None):
            return self.transform(X)

    pipeline = make_pipeline(Logits(model.estimator), TemperatureScaler()).fit(X, y)
    expected = TemperatureScaler().fit(model.decision_function(X), y)
    np.testing.assert_array_equal(
        pipeline.predict_proba(X), expected.predict_proba(model.decision_function(X))
    )


def test_weights_reach_the_classifier_and_the_scaler(iris):
    X, y = iris
    weights = np.random.default_rng(0).uniform(0, 2, len(y))
    model = LogisticRegression(max_iter=1000)
    found = CalibratedLogitsClassifier(model).fit(X, y, sample_weight=weights)
    held_out = cross_val_predict(
        model, X, y, method="decision_function", params={"sample_weight": weights}
    )
    expected = TemperatureScaler().fit(held_out, y, sample_weight=weights)
    assert found.calibrator_.temperature_ == expected.temperature_
    np.testing.assert_array_equal(
        found.estimator_.coef_, clone(model).fit(X, y, sample_weight=weights).coef_
    )


def test_metadata_are_routed(iris):
    X, y = iris
    weights = np.random.default_rng(0).uniform(0, 2, len(y))
    groups = np.arange(len(y)) % 7
    with sklearn.config_context(enable_metadata_routing=True):
        model = LogisticRegression(max_iter=1000).set_fit_request(sample_weight=True)
        calibrated = CalibratedLogitsClassifier(model, cv=GroupKFold(3))
        calibrated.set_fit_request(sample_weight=True).set_score_request(sample_weight=False)
        found = calibrated.fit(X, y, sample_weight=weights, groups=groups)
        splits = list(GroupKFold(3).split(X, y, groups))
        held_out = cross_val_predict(
            model,
            X,
            y,
            cv=splits,
            method="decision_function",
            params={"sample_weight": weights},
        )
        expected = TemperatureScaler().fit(held_out, y, sample_weight=weights)
        assert found.calibrator_.temperature_ == expected.temperature_
        scores = cross_val_score(
            calibrated, X, y, cv=3, params={"sample_weight": weights, "groups": groups}
        )
        assert len(scores) == 3


def test_wrong_classifiers(iris):
    X, y = iris
    for model in (GaussianNB(), RandomForestClassifier()):
        with pytest.raises(TypeError, match=f"estimator: .*got {type(model).__name__}"):
            CalibratedLogitsClassifier(model).fit(X, y)
    with pytest.raises(ValueError, match=r"method: expected .* got 'platt'"):
        CalibratedLogitsClassifier(LogisticRegression(), "platt").fit(X, y)


def test_without_scikit_learn_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.base", None)
    with pytest.raises(ImportError, match=r"pip install 'fastlogits\[sklearn\]'"):
        importlib.reload(calibration)
    monkeypatch.undo()


@pytest.mark.parametrize("method", ["temperature", "vector"])
def test_scores_of_a_classifier_are_logits_whatever_they_look_like(method):
    X = np.random.default_rng(0).normal(size=(300, 5))
    y = np.arange(300) % 100 < 60
    classifier = CalibratedLogitsClassifier(LogisticRegression(C=1e-2), method).fit(X, y)
    raw = classifier.estimator_.decision_function(X)
    assert 0 < raw.min() <= raw.max() < 1
    assert np.all(np.isfinite(classifier.predict_proba(X)))


@pytest.mark.parametrize("method", ["temperature", "vector"])
def test_a_class_that_a_fold_does_not_train_on_is_refused(method):
    X, y = np.random.default_rng(0).normal(size=(60, 3)), np.arange(60) % 3
    y[-1] = 7
    with (
        pytest.warns(UserWarning, match="least populated class"),
        pytest.raises(ValueError, match=r"y: .* class 7 in fold \d of 5"),
    ):
        CalibratedLogitsClassifier(LogisticRegression(), method).fit(X, y)
