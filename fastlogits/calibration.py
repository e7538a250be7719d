"""Calibration of logits, as estimators of scikit-learn: fastlogits[sklearn].

A classifier is calibrated if, of what it predicts with a probability of 80 %, 80 % is true. The
scalers learn from logits and true classes that the classifier was not trained on.

The input is logits, always: rows of them, of shape (n, C), with the columns in ascending order of
the classes, or one score for each row, of shape (n,) or (n, 1), which is the logit of the second of
two classes against a 0 for the first, as `decision_function` gives. `fit` refuses what looks like
probabilities. Logits may be a memory map of a file larger than memory: `fit` reads blocks of rows.
Those of bfloat16, which scikit-learn does not know, are converted to float32, all at once.
"""

import math
import warnings
from abc import ABCMeta, abstractmethod
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastlogits._core import (
    _array,
    argmax,
    binary_cross_entropy_with_logits_value_and_grad,
    cross_entropy_value_and_grad,
    log_softmax,
    softmax,
)
from fastlogits._sweep import (
    Rows,
    check_columns,
    check_count,
    check_positive,
    check_weights,
    class_indices,
    ranges,
    refuse_probabilities,
    two_columns,
)
from fastlogits._temperature import find_temperature

try:
    from scipy.optimize import minimize
    from sklearn import get_config
    from sklearn.base import (
        BaseEstimator,
        ClassifierMixin,
        MetaEstimatorMixin,
        OneToOneFeatureMixin,
        TransformerMixin,
        clone,
    )
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.frozen import FrozenEstimator
    from sklearn.model_selection import check_cv, cross_val_predict
    from sklearn.utils import Bunch, assert_all_finite, get_tags
    from sklearn.utils.metadata_routing import MetadataRouter, MethodMapping, process_routing
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import (
        check_is_fitted,
        column_or_1d,
        has_fit_parameter,
        validate_data,
    )
except ModuleNotFoundError as error:
    raise ImportError(
        "fastlogits.calibration needs scikit-learn 1.6 or newer: pip install 'fastlogits[sklearn]'"
    ) from error

__all__ = ["CalibratedLogitsClassifier", "TemperatureScaler", "VectorScaler"]

_Array = NDArray[Any]

# Of a block: where all of it is copied, and that in float64.
_PARTS = 8


class _Scaler(
    OneToOneFeatureMixin, ClassifierMixin, TransformerMixin, BaseEstimator, metaclass=ABCMeta
):
    """What the scalers share: all but how they are fitted.

    The calibrated logits are those of `_rescaled`, divided by the temperature.
    """

    classes_: _Array
    n_features_in_: int
    # What a decision_function gives is logits, whatever it looks like.
    _refuses_probabilities = True

    def __init__(self, *, classes: ArrayLike | None = None) -> None:
        self.classes = classes

    def fit(self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Fit to logits and their true classes.

        Parameters
        ----------
        X : array_like of shape (n, C) or (n,)
            Logits, finite.
        y : array_like of shape (n,)
            True classes.
        sample_weight : array_like of shape (n,), optional
            Weights of the rows, finite and no less than 0.

        Returns
        -------
        self

        Raises
        ------
        TypeError
            If `X` or `y` have masked elements, `X` is a tensor that requires a gradient,
            `sample_weight` are not real numbers, or classes cannot be compared; if a parameter of
            the scaler is of the wrong type.
        ValueError
            If `X` are not finite numbers, or look like probabilities; if shapes do not fit, there
            are fewer than two classes, or `X` has not one column for each; if a weight is
            negative or not finite, or all are 0; if a parameter of the scaler is out of range.

        Warns
        -----
        ConvergenceWarning
            Where the loss has no minimum, or it was not reached.
        """
        X, y = _plain(X, "X"), _plain(y, "y")
        X, labels = validate_data(self, _at_least_one_column(X), y)
        _check_classes(labels)
        indices, classes = class_indices(labels, self.classes, names=("y", "classes"))
        if len(classes) < 2:
            raise ValueError(f"y: expected at least two classes, got one class: {classes}")
        x = self._logits(X, classes)
        weights = _weights(sample_weight, labels.shape)
        if self._refuses_probabilities:
            refuse_probabilities(x, "X")
        self.classes_ = classes
        self._fit(Rows(x, indices, weights))
        return self

    def transform(self, X: Any) -> _Array:
        """Return calibrated logits.

        Parameters
        ----------
        X : array_like of shape (n, C) or (n,)
            Logits, as `fit` had them.

        Returns
        -------
        ndarray of the shape of X
            Logits whose softmax, or sigmoid, are calibrated probabilities.
        """
        x = self._read(X)
        z: _Array = np.asarray(self._rescaled(x) / self._temperature(), _result_dtype(x))
        return z if _ndim(X) == 1 or z.ndim == 2 else z[:, np.newaxis]

    def predict_proba(self, X: Any) -> _Array:
        """Return calibrated probabilities.

        Parameters
        ----------
        X : array_like of shape (n, C) or (n,)
            Logits, as `fit` had them.

        Returns
        -------
        ndarray of shape (n, C)
            Probabilities of `classes_`, also of two: the softmax of the calibrated logits.
        """
        x = self._read(X)
        probabilities: _Array = softmax(
            self._columns(x), temperature=self._temperature(), dtype=_result_dtype(x)
        )
        return probabilities

    def predict_log_proba(self, X: Any) -> _Array:
        """Return logarithms of calibrated probabilities, also of those too small for a number.

        Parameters
        ----------
        X : array_like of shape (n, C) or (n,)
            Logits, as `fit` had them.

        Returns
        -------
        ndarray of shape (n, C)
            The log-softmax of the calibrated logits.
        """
        x = self._read(X)
        logarithms: _Array = log_softmax(
            self._columns(x), temperature=self._temperature(), dtype=_result_dtype(x)
        )
        return logarithms

    def predict(self, X: Any) -> _Array:
        """Return the class of the largest calibrated logit, of equals the first.

        Parameters
        ----------
        X : array_like of shape (n, C) or (n,)
            Logits, as `fit` had them.

        Returns
        -------
        ndarray of shape (n,)
            Of `classes_`.
        """
        best = argmax(self._columns(self._read(X)))
        predicted: _Array = self.classes_[best]
        return predicted

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    @abstractmethod
    def _fit(self, rows: Rows) -> None:
        """Set what is learned, from rows that are right."""

    def _rescaled(self, x: _Array) -> _Array:
        return x

    def _temperature(self) -> float:
        return 1.0

    def _read(self, X: Any) -> _Array:
        """The logits, or scores, as `fit` had them."""
        check_is_fitted(self)
        X = _plain(X, "X")
        if self.n_features_in_ == 1:
            X = _at_least_one_column(X)
        return self._logits(validate_data(self, X, reset=False), self.classes_)

    def _logits(self, X: _Array, classes: _Array) -> _Array:
        """One column for each class, or scores, one for each row, for two."""
        x = X[:, 0] if X.shape[1] == 1 else X
        check_columns(x, classes, names=("X", "classes"))
        return x

    def _columns(self, x: _Array) -> _Array:
        z = self._rescaled(x)
        return two_columns(z) if z.ndim == 1 else z


class TemperatureScaler(_Scaler):
    r"""Divide logits by the temperature at which their log-loss is smallest.

    One number is learned, so few rows are enough, and predictions do not change: only their
    probabilities do.

    Parameters
    ----------
    classes : array_like of shape (C,), optional
        The classes, in ascending order. Default: those that occur in `y`.

    Attributes
    ----------
    temperature_ : float
        Above 1 for a classifier that was too sure of itself, below 1 for one too unsure.
    n_iter_ : int
        Sweeps over the logits that `fit` took.
    classes_ : ndarray of shape (C,)
        The classes.
    n_features_in_ : int
        Columns of the logits; 1 for scores of a binary classifier.
    feature_names_in_ : ndarray of shape (C,)
        Names of the columns, where `fit` had a frame with strings for names.

    See Also
    --------
    VectorScaler : one scale and one bias for each class.
    CalibratedLogitsClassifier : a classifier with its scaler.

    Notes
    -----
    With the rows x, the indices y of their true classes and weights w, `fit` minimises

    .. math::
        L(b) = -\sum_i w_i \log \mathrm{softmax}(b x_i)_{y_i}, \quad b = 1 / T

    which is convex, by Newton's method within a bracket, to a relative :math:`10^{-9}` or so in T.
    The loss is not above that at T = 1. T is between :math:`e^{-10}` and :math:`e^{10}`, and `fit`
    warns at these limits: it would be 0 where each true class has the largest logit, infinite where
    the logits are no better than chance, and beyond them where the logits are far too small or
    large.

    A score x of a binary classifier has the probability :math:`1 / (1 + e^{-x / T})`. In
    scikit-learn's ``CalibratedClassifierCV(method="temperature")`` it stands for the logits -x and
    x: the same probabilities, at twice this T.

    Examples
    --------
    >>> from fastlogits.calibration import TemperatureScaler
    >>> logits = [[4.0, 0.0], [0.0, 4.0], [4.0, 0.0], [0.0, 4.0]]
    >>> scaler = TemperatureScaler().fit(logits, ["no", "yes", "no", "no"])
    >>> round(scaler.temperature_, 4)
    3.641
    >>> scaler.predict_proba([[4.0, 0.0]]).round(4)
    array([[0.75, 0.25]])
    """

    def _fit(self, rows: Rows) -> None:
        found = find_temperature(rows, argument="X")
        self.temperature_ = found.temperature
        self.n_iter_ = found.n_sweeps
        if found.limit:
            warnings.warn(found.limit_warning(), ConvergenceWarning, stacklevel=3)

    def _temperature(self) -> float:
        return self.temperature_


class VectorScaler(_Scaler):
    r"""Scale and shift the logits of each class so that their log-loss is smallest.

    Learns two numbers for each class, so predictions may change. For scores of a binary classifier
    this is Platt's method.

    Parameters
    ----------
    classes : array_like of shape (C,), optional
        The classes, in ascending order. Default: those that occur in `y`.
    tol : float, default 1e-9
        The search ends where no partial derivative of the mean loss is larger, by the scales and
        biases of standardised logits; or where rounding hides the way down, near 1e-9.
    max_iter : int, default 1000
        Most iterations of the search.

    Attributes
    ----------
    scale_ : ndarray of shape (C,) or (1,)
        What each column is multiplied by.
    bias_ : ndarray of shape (C,) or (1,)
        What is then added to it.
    n_iter_ : int
        Iterations of the search.
    classes_ : ndarray of shape (C,)
        The classes.
    n_features_in_ : int
        Columns of the logits; 1 for scores of a binary classifier.
    feature_names_in_ : ndarray of shape (C,)
        Names of the columns, where `fit` had a frame with strings for names.

    See Also
    --------
    TemperatureScaler : one temperature for all classes.
    CalibratedLogitsClassifier : a classifier with its scaler.

    Notes
    -----
    With the rows x, the indices y of their true classes and weights w, `fit` minimises

    .. math:: -\sum_i w_i \log \mathrm{softmax}(s \odot x_i + b)_{y_i}

    over s and b, which is convex, by SciPy's L-BFGS-B, in float64. It starts from the best
    temperature, or from zeros where their loss is smaller, so that the loss is not above that of
    `TemperatureScaler`; `fit` warns where the search leads nowhere from there. A bias for all
    classes changes nothing; the biases are those of mean 0. Where the classes can be told apart
    there is no minimum, and the search ends where the loss is flat to `tol`.

    Examples
    --------
    >>> from fastlogits.calibration import VectorScaler
    >>> scaler = VectorScaler().fit([2.0, -1.0, 0.5, -3.0, 1.0, -0.5], [1, 0, 0, 0, 1, 1])
    >>> scaler.predict([2.0, -3.0])
    array([1, 0])
    """

    def __init__(
        self, *, classes: ArrayLike | None = None, tol: float = 1e-9, max_iter: int = 1000
    ) -> None:
        super().__init__(classes=classes)
        self.tol = tol
        self.max_iter = max_iter

    def _fit(self, rows: Rows) -> None:
        tol = check_positive(self.tol, "tol")
        max_iter = check_count(self.max_iter, "max_iter")
        largest = _largest(rows)
        rows, exponent = _moderate(rows, largest)
        centre, spread = _centre_and_spread(rows, np.ldexp(largest, -exponent))
        n = len(centre)

        # Of standardised logits: the search is as quick where columns are far from 0, or wide.
        def loss(parameters: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
            scale, bias = parameters[:n] / spread, parameters[n:]
            value, by_scale, by_bias = _loss_and_gradient(rows, scale, bias - scale * centre)
            return value, np.concatenate([(by_scale - centre * by_bias) / spread, by_bias])

        fit = find_temperature(rows, argument="X")
        start = np.concatenate([spread, centre]) / fit.temperature
        first = loss(start)[0]
        if first > math.log(rows.n_classes):  # The temperature is at its limit, and too small.
            start = np.zeros(2 * n)
            first = loss(start)[0]
        found = minimize(
            loss,
            start,
            jac=True,
            method="L-BFGS-B",
            options={"gtol": tol, "ftol": 0, "maxiter": max_iter},
        )
        parameters, value, slopes = found.x, found.fun, found.jac
        # Near the minimum the digits of the loss show no descent any more, but its slopes do.
        while found.status != 1 and np.abs(slopes).max() > tol:
            nearer = parameters - found.hess_inv @ slopes
            near, lower = loss(nearer)
            if np.abs(lower).max() > np.abs(slopes).max() / 2:
                break
            parameters, value, slopes = nearer, near, lower
        scale = parameters[:n] / spread
        self.scale_ = np.ldexp(scale, -exponent)
        self.bias_ = parameters[n:] - scale * centre
        if n > 1:
            self.bias_ -= self.bias_.mean()
        self.n_iter_ = max(found.nit, 1)
        if found.status == 1:
            trouble = f"the loss is not at its minimum after max_iter={max_iter} iterations"
        elif not np.isfinite([value, *self.scale_, *self.bias_]).all():
            trouble = "the scales, the biases or their loss are not finite"
        elif value >= first and (fit.limit or np.abs(slopes).max() > tol):
            trouble = f"the search found no loss below that of its start, {first:.6g}"
        else:
            return
        warnings.warn(trouble, ConvergenceWarning, stacklevel=3)

    def _rescaled(self, x: _Array) -> _Array:
        dtype = np.result_type(_result_dtype(x), np.float32)
        z: _Array = x * self.scale_.astype(dtype) + self.bias_.astype(dtype)
        return z


class CalibratedLogitsClassifier(ClassifierMixin, MetaEstimatorMixin, BaseEstimator):
    """A classifier with `decision_function`, and the scaler that calibrates what it gives.

    The scaler is fitted to logits of rows that the classifier was not trained on, which
    cross-validation provides; the classifier itself is then trained on all rows. A classifier that
    is trained already comes in a `sklearn.frozen.FrozenEstimator`: the scaler is fitted to its
    logits of all rows, which should be others than those it was trained on.

    Parameters
    ----------
    estimator : classifier
        Anything with `fit` and `decision_function`. It is cloned, and not changed.
    method : {"temperature", "vector"}, default "temperature"
        The scaler: `TemperatureScaler` or `VectorScaler`.
    cv : int, splitter or iterable, optional
        How to split the rows: as for `sklearn.model_selection.cross_val_predict`. Default: 5
        stratified folds.
    n_jobs : int, optional
        Folds to compute at once, as in scikit-learn.

    Attributes
    ----------
    estimator_ : classifier
        Trained on all rows.
    calibrator_ : TemperatureScaler or VectorScaler
        Fitted to logits of rows that were not trained on.
    classes_ : ndarray of shape (C,)
        The classes, as the classifier has them.
    n_features_in_ : int
        As the classifier has it, where it does.
    feature_names_in_ : ndarray
        As the classifier has it, where it does.

    See Also
    --------
    sklearn.calibration.CalibratedClassifierCV : with ``ensemble=False`` the same scheme.

    Notes
    -----
    With metadata routing, `fit` passes on what the estimator's `fit` and the splitter request, and
    the weights of rows go to the scaler too. Without it, `sample_weight` goes to the estimator as
    well, if its `fit` has it, and all other arguments of `fit` to the estimator.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import RidgeClassifier
    >>> from fastlogits.calibration import CalibratedLogitsClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> classifier = CalibratedLogitsClassifier(RidgeClassifier()).fit(X, y)
    >>> classifier.predict_proba(X[50:51]).round(2)
    array([[0.14, 0.31, 0.55]])
    """

    def __init__(
        self, estimator: Any, method: str = "temperature", *, cv: Any = None, n_jobs: Any = None
    ) -> None:
        self.estimator = estimator
        self.method = method
        self.cv = cv
        self.n_jobs = n_jobs

    def fit(
        self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None, **params: Any
    ) -> Self:
        """Train the classifier, and calibrate it.

        Parameters
        ----------
        X : array_like of shape (n, n_features)
            What the estimator takes.
        y : array_like of shape (n,)
            True classes.
        sample_weight : array_like of shape (n,), optional
            Weights of the rows, no less than 0.
        **params
            For the estimator's `fit`, and, with metadata routing, for the splitter.

        Returns
        -------
        self

        Raises
        ------
        TypeError
            If the estimator has no `decision_function`.
        ValueError
            If `method` is unknown, a class does not occur in the training rows of a fold, or as
            the estimator and `TemperatureScaler.fit` do.
        """
        scalers = {"temperature": TemperatureScaler, "vector": VectorScaler}
        if self.method not in scalers:
            raise ValueError(f"method: expected 'temperature' or 'vector', got {self.method!r}")
        if not hasattr(self.estimator, "decision_function"):
            raise TypeError(
                "estimator: expected a classifier with decision_function, "
                f"got {type(self.estimator).__name__}"
            )
        y = column_or_1d(y, warn=True)
        assert_all_finite(y, input_name="y")
        _check_classes(y)
        routed = self._routed(sample_weight, params)
        if isinstance(self.estimator, FrozenEstimator):
            logits = self.estimator.decision_function(X)
        else:
            cv = check_cv(self.cv, y, classifier=True)
            folds = list(cv.split(X, y, **routed.splitter.split))
            _check_folds(np.asarray(y), folds)
            logits = cross_val_predict(
                self.estimator,
                X,
                y,
                cv=folds,
                method="decision_function",
                n_jobs=self.n_jobs,
                params=routed.estimator.fit,
            )
        self.estimator_ = clone(self.estimator).fit(X, y, **routed.estimator.fit)
        self.classes_ = self.estimator_.classes_
        scaler = scalers[self.method](classes=self.classes_)
        scaler._refuses_probabilities = False
        self.calibrator_ = scaler.fit(logits, y, sample_weight)
        for name in ("n_features_in_", "feature_names_in_"):
            if hasattr(self.estimator_, name):
                setattr(self, name, getattr(self.estimator_, name))
        return self

    def decision_function(self, X: Any) -> _Array:
        """Return calibrated logits.

        Parameters
        ----------
        X : array_like of shape (n, n_features)
            What the estimator takes.

        Returns
        -------
        ndarray of shape (n, C) or (n,)
            As the estimator's `decision_function`.
        """
        return self._of_logits("transform", X)

    def predict_proba(self, X: Any) -> _Array:
        """Return calibrated probabilities.

        Parameters
        ----------
        X : array_like of shape (n, n_features)
            What the estimator takes.

        Returns
        -------
        ndarray of shape (n, C)
            Probabilities of `classes_`.
        """
        return self._of_logits("predict_proba", X)

    def predict_log_proba(self, X: Any) -> _Array:
        """Return logarithms of calibrated probabilities.

        Parameters
        ----------
        X : array_like of shape (n, n_features)
            What the estimator takes.

        Returns
        -------
        ndarray of shape (n, C)
            Of the probabilities of `classes_`.
        """
        return self._of_logits("predict_log_proba", X)

    def predict(self, X: Any) -> _Array:
        """Return the most probable class.

        Parameters
        ----------
        X : array_like of shape (n, n_features)
            What the estimator takes.

        Returns
        -------
        ndarray of shape (n,)
            Of `classes_`.
        """
        return self._of_logits("predict", X)

    def get_metadata_routing(self) -> Any:
        """Return what metadata goes where.

        Returns
        -------
        MetadataRouter
            From `fit` to the `fit` of the estimator and to the splitter.
        """
        return (
            MetadataRouter(owner=self)
            .add_self_request(self)
            .add(
                estimator=self.estimator,
                method_mapping=MethodMapping().add(caller="fit", callee="fit"),
            )
            .add(
                splitter=self.cv,
                method_mapping=MethodMapping().add(caller="fit", callee="split"),
            )
        )

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags = get_tags(self.estimator).input_tags
        return tags

    def _routed(self, sample_weight: ArrayLike | None, params: dict[str, Any]) -> Any:
        if get_config()["enable_metadata_routing"]:
            return process_routing(self, "fit", sample_weight=sample_weight, **params)
        if sample_weight is not None and has_fit_parameter(self.estimator, "sample_weight"):
            params = {**params, "sample_weight": sample_weight}
        return Bunch(estimator=Bunch(fit=params), splitter=Bunch(split={}))

    def _of_logits(self, method: str, X: Any) -> _Array:
        check_is_fitted(self)
        result: _Array = getattr(self.calibrator_, method)(self.estimator_.decision_function(X))
        return result


def _ndim(X: Any) -> int:
    # numpy.ndim would call __array_function__ of what has that.
    return int(X.ndim if hasattr(X, "ndim") else np.asarray(X).ndim)


def _plain(values: Any, argument: str) -> Any:
    """Arrays and tensors as scikit-learn reads them rightly; all else as it is.

    scikit-learn would drop a mask, and does not know bfloat16.
    """
    if not hasattr(values, "__dlpack__"):
        return values
    array = _array(values, argument)
    return array.astype(np.float32) if array.dtype.name == "bfloat16" else array


def _result_dtype(x: _Array) -> np.dtype[Any]:
    return x.dtype.newbyteorder("=") if x.dtype.kind == "f" else np.dtype(np.float64)


def _at_least_one_column(X: Any) -> Any:
    return np.asarray(X).reshape(-1, 1) if _ndim(X) == 1 else X


def _check_folds(y: _Array, folds: list[tuple[_Array, _Array]]) -> None:
    """Each class has logits in each fold only if it occurs among the rows that are trained on."""
    indices, classes = class_indices(y, None, names=("y", "classes"))
    for i, (train, _) in enumerate(folds):
        counts = np.bincount(indices[train], minlength=len(classes))
        if not counts.all():
            raise ValueError(
                "y: expected every class among the training rows of each fold of cv, got none of "
                f"class {classes[counts.argmin()]} in fold {i} of {len(folds)}"
            )


def _check_classes(y: Any) -> None:
    if y.dtype.kind not in "biuU":  # To look for other numbers than classes takes time.
        check_classification_targets(y)


def _weights(sample_weight: ArrayLike | None, shape: tuple[int, ...]) -> _Array | None:
    """Weights of which the largest is between a half and 1, so that no sum of them overflows."""
    given = check_weights(sample_weight, shape)
    if given is None:
        return None
    weights = given.astype(np.float64)
    first = int(weights.argmax())
    largest = float(weights[first])
    if largest == 0:
        raise ValueError("sample_weight: expected a weight above 0, got zeros")
    if largest == math.inf:
        raise ValueError(f"sample_weight[{first}]: expected a finite number, got inf")
    scaled: _Array = np.ldexp(weights, -math.frexp(largest)[1])
    return scaled


def _largest(rows: Rows) -> NDArray[np.float64]:
    """The largest magnitude in each column."""
    ends = np.array([rows.logits.max(axis=0), rows.logits.min(axis=0)], np.float64)
    largest: NDArray[np.float64] = np.atleast_1d(np.abs(ends).max(axis=0))
    return largest


def _moderate(rows: Rows, largest: NDArray[np.float64]) -> tuple[Rows, int]:
    """Rows with logits that can be squared and summed, and the exponent of 2 they are divided by.

    Those of usual logits are the same; others, in practice none, are copied as a whole.
    """
    exponent = math.frexp(largest.max())[1]
    if abs(exponent) <= 100:
        return rows, 0
    return Rows(np.ldexp(rows.logits, -exponent), rows.labels, rows.weights), exponent


def _centre_and_spread(
    rows: Rows, largest: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation of each column; of those that are constant, about their size."""
    # So that squares of what is very small are not 0; a power of two changes no digit.
    unit = np.ldexp(1.0, -np.maximum(np.frexp(largest)[1], -1000))
    origin = np.atleast_1d(rows.logits[0]).astype(np.float64)
    total, squares = np.zeros((2, len(origin)))
    for start, stop in ranges(rows.n_rows, _PARTS * len(origin)):
        distance = rows.logits[start:stop].reshape(-1, len(origin)) - origin
        distance *= unit
        total += distance.sum(axis=0)
        squares += np.einsum("ij,ij->j", distance, distance)
    mean = total / rows.n_rows
    variance = squares / rows.n_rows - mean**2
    return origin + mean / unit, np.sqrt(np.where(variance > 0, variance, 1)) / unit


def _loss_and_gradient(
    rows: Rows, scale: NDArray[np.float64], bias: NDArray[np.float64]
) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """The mean loss of x * scale + bias, and its gradient by scale and by bias.

    In float64, block by block.
    """
    n = len(scale)
    value, weight = 0.0, 0.0
    by_scale, by_bias = np.zeros((2, n))
    buffer = None
    for start, stop in ranges(rows.n_rows, _PARTS * n):
        x = rows.logits[start:stop]
        y = rows.labels[start:stop]
        w = None if rows.weights is None else rows.weights[start:stop]
        if buffer is None:
            buffer = np.empty(x.shape)
        z = np.multiply(x, scale, out=buffer[: len(x)])
        z += bias
        if x.ndim == 1:
            loss, gradient = binary_cross_entropy_with_logits_value_and_grad(
                z, y.astype(np.float64), sample_weight=w, reduction="sum", out=z
            )
        else:
            loss, gradient = cross_entropy_value_and_grad(
                z, y, sample_weight=w, reduction="sum", out=z
            )
        value += float(loss)
        weight += len(y) if w is None else float(w.sum(dtype=np.float64))
        by_bias += gradient.sum(axis=0)
        by_scale += np.einsum("i...,i...->...", x, gradient)
    return value / weight, by_scale / weight, by_bias / weight
