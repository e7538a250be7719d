"""Arrays of more elements than could ever be visited: of zero strides, or empty. What they need is
refused at once, or answered where the answer needs no visit."""

import functools
import sys

import guarded
import numpy as np
import pytest

import fastlogits as fl

# Of 8 bytes each they take more than a process can address, whatever the system promises.
MANY = 2**50


def repeated(value, *shape):
    """An array of that shape in the memory of one value, or of one row of values."""
    return np.broadcast_to(value, shape)


def empty(*shape):
    return np.empty(shape, np.float32)


F2, F4, F8, I1 = np.float16(0), np.float32(0), np.float64(0), np.int8(0)
WIDE, TALL = repeated(F4, 2**8, MANY), repeated(F4, MANY, 2**8)
LABELS = repeated(0, MANY)
MOST = repeated(I1, 2**63 - 1)

# ValueError is what NumPy says of an array that has more bytes than a signed integer counts.
REFUSED = {
    "softmax": lambda: fl.softmax(WIDE),
    "softmax, the first axis": lambda: fl.softmax(TALL, axis=0),
    "softmax of all": lambda: fl.softmax(WIDE, axis=None),
    "softmax of half precision": lambda: fl.softmax(repeated(F2, 2**60)),
    "softmax to a wider dtype": lambda: fl.softmax(repeated(F2, 2**61), dtype="f8"),
    "softmax of the most elements": lambda: fl.softmax(MOST),
    "log_softmax": lambda: fl.log_softmax(TALL),
    "sigmoid": lambda: fl.sigmoid(WIDE),
    "softplus of the most elements": lambda: fl.softplus(MOST),
    "logsumexp": lambda: fl.logsumexp(TALL),
    "logsumexp, the first axis": lambda: fl.logsumexp(WIDE, axis=0),
    "logsumexp, axes kept": lambda: fl.logsumexp(TALL, axis=1, keepdims=True),
    "logsumexp of several axes": lambda: fl.logsumexp(repeated(F4, 2, 3, MANY), axis=(0, 1)),
    "logsumexp of empty rows": lambda: fl.logsumexp(empty(MANY, 0)),
    "logsumexp of empty columns": lambda: fl.logsumexp(empty(0, MANY), axis=0),
    "argmax": lambda: fl.argmax(TALL),
    "argmax, the first axis": lambda: fl.argmax(WIDE, axis=0),
    "top_k": lambda: fl.top_k(TALL, 2),
    "top_k, of a huge k": lambda: fl.top_k(repeated(F2, 2**61), 2**60),
    "top_k, of all": lambda: fl.top_k(repeated(F4, 2**60), 2**60),
    "top_k of integers": lambda: fl.top_k(repeated(I1, 2**60), 1),
    "predict": lambda: fl.predict(TALL),
    "predict, threshold": lambda: fl.predict(WIDE, threshold=0.3),
    "confidence": lambda: fl.confidence(TALL),
    "confidence, energy": lambda: fl.confidence(TALL, kind="energy"),
    "cross_entropy": lambda: fl.cross_entropy(TALL, LABELS),
    "cross_entropy, unsigned labels": lambda: fl.cross_entropy(TALL, repeated(np.uint8(0), MANY)),
    "cross_entropy, soft": lambda: fl.cross_entropy(TALL, TALL),
    "cross_entropy, its gradient": lambda: fl.cross_entropy_value_and_grad(
        WIDE, np.zeros(256, int)
    ),
    "cross_entropy, class_weight": lambda: fl.cross_entropy(
        WIDE, np.zeros(256, int), class_weight=repeated(F8, MANY)
    ),
    "cross_entropy, sample_weight": lambda: fl.cross_entropy(
        TALL, TALL, sample_weight=repeated(F8, MANY)
    ),
    "softmax_grad_hess": lambda: fl.softmax_grad_hess(WIDE, np.zeros(256, int)),
    "binary": lambda: fl.binary_cross_entropy_with_logits(WIDE, WIDE),
    "binary of the most elements": lambda: fl.binary_cross_entropy_with_logits(MOST, MOST),
    "binary, its gradient": lambda: fl.binary_cross_entropy_with_logits_value_and_grad(WIDE, WIDE),
    "binary, weights": lambda: fl.binary_cross_entropy_with_logits(
        F4, F4, pos_weight=repeated(F8, MANY)
    ),
    "score": lambda: fl.metrics.score(np.zeros((1, 2)), LABELS),
    "special.softmax": lambda: fl.special.softmax(WIDE),
    "special.expit": lambda: fl.special.expit(WIDE),
    "special.logsumexp, weighted": lambda: fl.special.logsumexp(WIDE, b=WIDE),
}

NAN_ROWS = [(16, 2**57), (16, 2**56), (16, 2**57 + 32), (4, 2**58)]


def nans(rows, classes):
    return fl.argmax(repeated(np.float16(np.nan), rows, classes)).tolist() == [0] * rows


def infinities(function, rows, classes):
    """Rows whose first two logits, infinity and NaN, say all."""
    x = repeated(np.array([np.inf, np.nan], "f2"), rows, classes // 2, 2)
    return np.isnan(function(x, axis=(1, 2))).tolist() == [True] * rows


def shapes(*arrays):
    return [np.shape(a) for a in arrays]


def wild(*shape):
    """An empty array, whose strides may be any numbers."""
    return np.lib.stride_tricks.as_strided(empty(0), shape, [2**62] * len(shape))


ANSWERED = {
    **{f"argmax of NaN, {n}": functools.partial(nans, *n) for n in NAN_ROWS},
    **{
        f"{function.__name__} of infinities, {n}": functools.partial(infinities, function, *n)
        for n in NAN_ROWS
        for function in (fl.logsumexp, fl.confidence)
    },
    "softmax of empty rows": lambda: fl.softmax(empty(MANY, 0)).shape == (MANY, 0),
    "softmax of no rows": lambda: fl.softmax(empty(0, MANY)).shape == (0, MANY),
    "sigmoid": lambda: fl.sigmoid(empty(MANY, 0)).shape == (MANY, 0),
    "logsumexp of no rows": lambda: fl.logsumexp(empty(0, MANY)).shape == (0,),
    "logsumexp of nothing": lambda: fl.logsumexp(empty(MANY, 0), axis=None) == -np.inf,
    "argmax of no rows": lambda: fl.argmax(empty(0, MANY)).shape == (0,),
    "top_k of no rows": lambda: shapes(*fl.top_k(empty(0, MANY), MANY)) == [(0, MANY)] * 2,
    "cross_entropy of no rows": lambda: np.isnan(
        fl.cross_entropy(empty(0, MANY), np.zeros(0, int))
    ),
    "binary of nothing": lambda: (
        fl.binary_cross_entropy_with_logits(empty(MANY, 0), empty(MANY, 0), reduction="sum") == 0
    ),
    "strides of nothing": lambda: fl.softmax(wild(3, 0, 5)).shape == (3, 0, 5),
    "strides of nothing, the first axis": lambda: fl.softmax(wild(3, 0, 5), 0).shape == (3, 0, 5),
    "strides of nothing, several axes": lambda: fl.logsumexp(wild(3, 5, 0), (0, 1)).shape == (0,),
    "strides of nothing, elements": lambda: fl.sigmoid(wild(3, 0, 5)).shape == (3, 0, 5),
}


def refused(call):
    try:
        call()
    except (MemoryError, ValueError) as error:
        too_large = isinstance(error, MemoryError) or "too big" in str(error) or "(1," in str(error)
        return None if too_large else f"{type(error).__name__}: {error}"
    return "it was not refused"


def answered(call):
    return None if call() else "the answer is wrong"


def cases():
    for isa in fl.available_isas():
        fl.set_isa(isa)
        for check, calls in ((refused, REFUSED), (answered, ANSWERED)):
            for name, call in calls.items():
                yield f"{name} ({isa})", functools.partial(check, call)


if __name__ == "__main__":
    guarded.run(cases())


@pytest.mark.skipif(sys.maxsize < 2**62, reason="no such arrays where addresses have 32 bits")
def test_huge_arrays_are_refused_or_answered_at_once():
    assert guarded.problems(__file__, timeout=120) == []
