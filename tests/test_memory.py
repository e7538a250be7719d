"""What a call allocates beside its results: nothing that grows with the number of classes."""

import tracemalloc

import numpy as np
import pytest

import fastlogits as fl

ROWS, CLASSES = 20, 100_000
LABELS = np.arange(ROWS)
WEIGHTS = np.ones(CLASSES)
SOFT = np.full((ROWS, CLASSES), 0.5, np.float32)
MEGABYTE = 2**20


def logits():
    return np.random.default_rng(0).normal(0, 3, (ROWS, CLASSES)).astype(np.float32)


CALLS = {
    "cross_entropy": lambda x: fl.cross_entropy(x, LABELS),
    "with every option": lambda x: fl.cross_entropy(
        x, LABELS, class_weight=WEIGHTS, label_smoothing=0.1, z_loss=0.1, reduction="none"
    ),
    "with its gradient": lambda x: fl.cross_entropy_value_and_grad(x, LABELS, out=x),
    "of soft targets": lambda x: fl.cross_entropy(x, SOFT),
    "of soft targets, with its gradient": lambda x: fl.cross_entropy_value_and_grad(x, SOFT, out=x),
    "binary_cross_entropy": lambda x: fl.binary_cross_entropy_with_logits(x, SOFT),
    "binary, weighted": lambda x: fl.binary_cross_entropy_with_logits(
        x, SOFT, pos_weight=WEIGHTS, sample_weight=np.ones((ROWS, 1))
    ),
    "binary, with its gradient": lambda x: fl.binary_cross_entropy_with_logits_value_and_grad(
        x, SOFT, out=x
    ),
    "logsumexp": lambda x: fl.logsumexp(x),
    "argmax": lambda x: fl.argmax(x),
    "argmax of all": lambda x: fl.argmax(x, axis=None),
    "top_k": lambda x: fl.top_k(x, 5),
    "confidence": lambda x: fl.confidence(x, kind="entropy"),
}


@pytest.mark.parametrize("layout", ["C", "Fortran", "strided"])
@pytest.mark.parametrize("name", CALLS)
def test_allocates_nothing_that_grows_with_the_classes(name, layout):
    x = logits()
    if layout == "Fortran":
        x = np.asfortranarray(x)
    elif layout == "strided":
        x = np.repeat(x, 2, axis=1)[:, ::2]
    tracemalloc.start()
    try:
        CALLS[name](x)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # The class weights are copied as float64, which takes 0.8 MB, and checked.
    limit = 2 * MEGABYTE if "option" in name or "weighted" in name else MEGABYTE // 8
    assert peak < limit, f"{peak / x.nbytes:.2f} of the logits' size"


def test_gradient_is_the_only_large_allocation():
    x = logits()
    tracemalloc.start()
    try:
        fl.cross_entropy_value_and_grad(x, LABELS)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert x.nbytes <= peak < x.nbytes + MEGABYTE // 8
