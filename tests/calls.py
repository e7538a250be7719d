"""Calls of every operation, by the name of the function and, after a comma, of the case.

Processes that the tests start import this too, so it needs nothing that the tests alone have.
"""

import functools
import hashlib
import operator

import numpy as np
from operations import ELEMENTS, SPECIAL_ELEMENTS

import fastlogits as fl


def calls_of(x, axis=-1):
    """Those on `x`, of two dimensions."""
    axis = axis % 2
    n_classes = x.shape[axis]
    n_rows = x.size // n_classes
    labels = np.arange(n_rows) % n_classes
    soft = np.full(x.shape, 1 / n_classes, x.dtype)
    of_rows = np.ones((len(x), 1))
    last = np.moveaxis(x, axis, -1)
    everything = {
        "class_weight": np.arange(n_classes) % 3,
        "sample_weight": np.arange(n_rows) % 2 + 1,
        "label_smoothing": 0.25,
        "z_loss": 0.5,
    }
    loss = functools.partial(fl.cross_entropy, x, axis=axis)
    gradient = functools.partial(fl.cross_entropy_value_and_grad, x, axis=axis)
    binary = functools.partial(fl.binary_cross_entropy_with_logits, x, soft)
    both = functools.partial(fl.binary_cross_entropy_with_logits_value_and_grad, x, soft)
    elements = [*ELEMENTS, *SPECIAL_ELEMENTS]
    return {
        "softmax": lambda: fl.softmax(x, axis),
        "softmax, dtype": lambda: fl.softmax(x, axis, dtype="f8"),
        "softmax, over itself": lambda: fl.softmax(x[::-1], axis, out=x.copy()),
        "log_softmax": lambda: fl.log_softmax(x, axis, temperature=2),
        "logsumexp": lambda: fl.logsumexp(x, axis),
        "logsumexp, axes kept": lambda: fl.logsumexp(x, (0, 1), keepdims=True),
        **{name: functools.partial(operator.attrgetter(name)(fl), x) for name in elements},
        "sigmoid, out": lambda: fl.sigmoid(x, out=np.empty_like(x)),
        "cross_entropy": lambda: loss(labels),
        "cross_entropy, int8 labels": lambda: loss((labels % 100).astype("i1")),
        "cross_entropy, all": lambda: loss(labels, reduction="none", **everything),
        "cross_entropy, soft": lambda: loss(soft),
        "cross_entropy_value_and_grad": lambda: gradient(labels),
        "cross_entropy_value_and_grad, all": lambda: gradient(labels, **everything),
        "cross_entropy_value_and_grad, soft": lambda: gradient(soft, **everything),
        "softmax_grad_hess": lambda: fl.softmax_grad_hess(last, labels),
        "binary_cross_entropy_with_logits": lambda: binary(reduction="none"),
        "binary_cross_entropy_with_logits_value_and_grad": lambda: both(),
        "binary_cross_entropy_with_logits_value_and_grad, all": lambda: both(
            pos_weight=2.0, sample_weight=of_rows, label_smoothing=0.1
        ),
        "argmax": lambda: fl.argmax(x, axis),
        "argmax, of all": lambda: fl.argmax(x, None),
        "top_k": lambda: fl.top_k(x, 2, axis=axis),
        "top_k, of integers": lambda: fl.top_k(x[:4].astype(int), 2, axis=axis),
        "predict": lambda: fl.predict(x, axis=axis, classes=np.arange(n_classes)),
        "predict, threshold": lambda: fl.predict(x, threshold=0.3),
        "confidence": lambda: fl.confidence(x, axis=axis),
        "confidence, margin": lambda: fl.confidence(x, kind="margin", axis=axis),
        "confidence, entropy": lambda: fl.confidence(x, kind="entropy", axis=axis),
        "confidence, energy": lambda: fl.confidence(x, kind="energy", axis=axis),
        "metrics.score": lambda: fl.metrics.score(last, labels).nll,
        "special.softmax": lambda: fl.special.softmax(x, axis=axis),
        "special.log_softmax": lambda: fl.special.log_softmax(x, axis=axis),
        "special.logsumexp": lambda: fl.special.logsumexp(x, axis=axis, b=soft, return_sign=True),
    }


_rng = np.random.default_rng(0)
X = _rng.normal(0, 3, (700, 100)).astype(np.float32)  # work for several threads
HALF = X.astype(np.float16)
LONG = _rng.normal(0, 3, (1, 270_000))  # threads share the row
CALLS = calls_of(X) | {
    "softmax, narrow": lambda: fl.softmax(X.reshape(-1, 10)),
    "softmax, several axes": lambda: fl.softmax(X.reshape(70, 10, 100), axis=(0, 2)),
    "softmax, long": lambda: fl.softmax(LONG),
    "softmax, half": lambda: fl.softmax(HALF),
    "log_softmax, side by side": lambda: fl.log_softmax(X, axis=0),
}


def digest(result):
    """Of the bits of what a call returned, the same in every process."""
    whole = hashlib.sha256()
    for array in result if isinstance(result, tuple) else (result,):
        whole.update(np.asarray(array).tobytes())
    return whole.hexdigest()


def digests():
    return {name: digest(call()) for name, call in CALLS.items()}
