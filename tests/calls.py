"""A call of each operation, most of them with work for several threads.

Processes that the tests start import this too, so it needs nothing that the tests alone have.
"""

import hashlib

import numpy as np

import fastlogits as fl
from fastlogits import metrics, special

_rng = np.random.default_rng(0)
X = _rng.normal(0, 3, (700, 100)).astype(np.float32)
HALF = X.astype(np.float16)
LONG = _rng.normal(0, 3, (1, 270_000))  # threads share the row
LABELS = _rng.integers(0, X.shape[1], len(X))
SOFT = _rng.dirichlet(np.ones(X.shape[1]), len(X)).astype(np.float32)

# By the name of the function and, after a comma, of the case; `out` is like X.
CALLS = {
    "softmax": lambda out: fl.softmax(X, out=out),
    "softmax, narrow": lambda out: fl.softmax(X.reshape(-1, 10)),
    "softmax, several axes": lambda out: fl.softmax(X.reshape(70, 10, 100), axis=(0, 2)),
    "softmax, long": lambda out: fl.softmax(LONG),
    "softmax, half": lambda out: fl.softmax(HALF),
    "log_softmax": lambda out: fl.log_softmax(X, axis=0, out=out),
    "logsumexp": lambda out: fl.logsumexp(X),
    "sigmoid": lambda out: fl.sigmoid(X, out=out),
    "log_sigmoid": lambda out: fl.log_sigmoid(X, out=out),
    "softplus": lambda out: fl.softplus(X, out=out),
    "cross_entropy": lambda out: fl.cross_entropy(X, LABELS),
    "cross_entropy_value_and_grad": lambda out: fl.cross_entropy_value_and_grad(X, SOFT, out=out),
    "cross_entropy_value_and_grad, labels": lambda out: fl.cross_entropy_value_and_grad(
        X, LABELS, out=out
    ),
    "binary_cross_entropy_with_logits": lambda out: fl.binary_cross_entropy_with_logits(X, SOFT),
    "binary_cross_entropy_with_logits_value_and_grad": lambda out: (
        fl.binary_cross_entropy_with_logits_value_and_grad(X, SOFT, out=out)
    ),
    "softmax_grad_hess": lambda out: fl.softmax_grad_hess(X, LABELS),
    "argmax": lambda out: fl.argmax(X),
    "top_k": lambda out: fl.top_k(X, 5),
    "predict": lambda out: fl.predict(X, threshold=0.25),
    "confidence": lambda out: fl.confidence(X, kind="margin"),
    "special.logsumexp": lambda out: special.logsumexp(X, axis=1, b=SOFT),
    "metrics.score": lambda out: metrics.score(X, LABELS).nll,
}


def digest(call):
    """Of the bits of what the call returns, the same in every process."""
    results = CALLS[call](np.empty_like(X))
    whole = hashlib.sha256()
    for result in results if isinstance(results, tuple) else (results,):
        whole.update(np.asarray(result).tobytes())
    return whole.hexdigest()


def digests():
    return {call: digest(call) for call in CALLS}
