"""The estimators of fastlogits.calibration pass scikit-learn's checks of estimators."""

import numpy as np
import pytest

pytest.importorskip("sklearn", minversion="1.6", reason="scikit-learn 1.6 is not installed")

import threadpoolctl
from sklearn.linear_model import LogisticRegression
from sklearn.utils.estimator_checks import parametrize_with_checks

from fastlogits.calibration import CalibratedLogitsClassifier, TemperatureScaler, VectorScaler

# Data of the checks that classes can be told apart in have no best scaler.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


class _AnyFeatures:
    """A scaler whose logits are projections of the features, which in most checks are not as many
    as the classes. All else is the scaler's own."""

    def _logits(self, X, classes):
        # Of a seed with which no data are separable that a check fits twice.
        projection = np.random.default_rng(2).normal(size=(X.shape[1], len(classes)))
        dtype = np.result_type(X.dtype, np.float32)
        return super()._logits(X.astype(dtype) @ projection.astype(dtype), classes)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.poor_score = True  # the projections are random
        return tags


class TemperatureOfAnyFeatures(_AnyFeatures, TemperatureScaler):
    pass


class VectorOfAnyFeatures(_AnyFeatures, VectorScaler):
    pass


ONE_DIMENSION = {"check_fit1d": "one dimension is right: scores of a binary classifier"}
NO_MINIMUM = dict.fromkeys(
    (
        "check_sample_weight_equivalence_on_dense_data",
        "check_sample_weight_equivalence_on_sparse_data",
    ),
    "the held-out logits of this data are separable: the best scales are infinite, and where "
    "L-BFGS stops depends on the order of the sums",
)
EXACT = "the log-probability of a nearly certain class is exact: below 0 where the probability is 1"
EXPECTED_FAILURES = {
    TemperatureOfAnyFeatures: ONE_DIMENSION,
    VectorOfAnyFeatures: ONE_DIMENSION,
}


def expected_failures(estimator):
    if getattr(estimator, "method", "") == "vector":
        return NO_MINIMUM
    return EXPECTED_FAILURES.get(type(estimator), {})


@parametrize_with_checks(
    [
        TemperatureOfAnyFeatures(),
        VectorOfAnyFeatures(tol=1e-12),  # one check compares seven digits
        CalibratedLogitsClassifier(LogisticRegression()),
        CalibratedLogitsClassifier(LogisticRegression(), method="vector"),
    ],
    expected_failed_checks=expected_failures,
)
def test_check(estimator, check, request):
    if isinstance(estimator, VectorScaler) and check.keywords.get("X_dtype") == "float32":
        request.applymarker(pytest.mark.xfail(reason=EXACT))
    with threadpoolctl.threadpool_limits(1):
        check(estimator)
