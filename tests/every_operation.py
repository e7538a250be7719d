"""Calls of every operation, on rows of every kind that the library treats in its own way, and what
they leave behind."""

import ctypes
import functools
import gc
import sys

import numpy as np
from checks import bits

import fastlogits as fl


def logits(rows, classes, dtype="f4"):
    return np.random.default_rng(0).normal(0, 3, (rows, classes)).astype(dtype)


def operations(x, axis=-1):
    """Calls of every operation on `x`, of two dimensions."""
    axis = axis % 2
    n_classes = x.shape[axis]
    n_rows = x.size // n_classes
    labels = np.arange(n_rows) % n_classes
    soft = np.full(x.shape, 1 / n_classes, x.dtype)
    of_rows = np.ones((len(x), 1))
    everything = {
        "class_weight": np.arange(n_classes) % 3,
        "sample_weight": np.arange(n_rows) % 2 + 1,
        "label_smoothing": 0.25,
        "z_loss": 0.5,
    }
    loss = functools.partial(fl.cross_entropy, x, axis=axis)
    gradient = functools.partial(fl.cross_entropy_value_and_grad, x, axis=axis)
    binary = functools.partial(fl.binary_cross_entropy_with_logits_value_and_grad, x, soft)
    return {
        "softmax": lambda: fl.softmax(x, axis),
        "softmax, dtype": lambda: fl.softmax(x, axis, dtype="f8"),
        "softmax over itself": lambda: fl.softmax(x[::-1], axis, out=x.copy()),
        "log_softmax": lambda: fl.log_softmax(x, axis, temperature=2),
        "logsumexp": lambda: fl.logsumexp(x, axis),
        "logsumexp, axes kept": lambda: fl.logsumexp(x, (0, 1), keepdims=True),
        "sigmoid": lambda: fl.sigmoid(x),
        "log_sigmoid": lambda: fl.log_sigmoid(x),
        "softplus": lambda: fl.softplus(x),
        "cross_entropy": lambda: loss(labels),
        "cross_entropy, int8 labels": lambda: loss((labels % 100).astype("i1")),
        "cross_entropy, all": lambda: loss(labels, reduction="none", **everything),
        "cross_entropy, soft": lambda: loss(soft),
        "gradient": lambda: gradient(labels),
        "gradient, all": lambda: gradient(labels, **everything),
        "gradient, soft": lambda: gradient(soft, **everything),
        "softmax_grad_hess": lambda: fl.softmax_grad_hess(np.moveaxis(x, axis, -1), labels),
        "binary": lambda: fl.binary_cross_entropy_with_logits(x, soft, reduction="none"),
        "binary gradient": lambda: binary(),
        "binary gradient, all": lambda: binary(
            pos_weight=2.0, sample_weight=of_rows, label_smoothing=0.1
        ),
        "argmax": lambda: fl.argmax(x, axis),
        "argmax of all": lambda: fl.argmax(x, None),
        "top_k": lambda: fl.top_k(x, 2, axis=axis),
        "top_k of integers": lambda: fl.top_k(x[:4].astype(int), 2, axis=axis),
        "predict": lambda: fl.predict(x, axis=axis, classes=np.arange(n_classes)),
        "predict, threshold": lambda: fl.predict(x, threshold=0.3),
        "confidence": lambda: fl.confidence(x, axis=axis),
        "margin": lambda: fl.confidence(x, kind="margin", axis=axis),
        "entropy": lambda: fl.confidence(x, kind="entropy", axis=axis),
        "energy": lambda: fl.confidence(x, kind="energy", axis=axis),
        "score": lambda: fl.metrics.score(np.moveaxis(x, axis, -1), labels).nll,
        "special.softmax": lambda: fl.special.softmax(x, axis=axis),
        "special.logsumexp": lambda: fl.special.logsumexp(x, axis=axis, b=soft, return_sign=True),
        "special.expit": lambda: fl.special.expit(x),
    }


# Rows in a tile, of numbers to convert, of several blocks, side by side (tiles in scratch memory),
# tall (brought together by blocks), and one that two threads share.
LAYOUTS = {
    "narrow": (lambda: logits(40, 7), -1),
    "half precision": (lambda: logits(40, 7, "f2"), -1),
    "wide": (lambda: logits(3, 10_000, "f8"), -1),
    "side by side": (lambda: logits(300, 128), 0),
    "tall": (lambda: logits(5000, 66), 0),
    "shared": (lambda: logits(1, 270_000), -1),
}


def digests(result):
    return bits(*(result if isinstance(result, tuple) else (result,)))


class _Mallinfo(ctypes.Structure):
    """What glibc's mallinfo2 returns."""

    _fields_ = [
        *((name, ctypes.c_size_t) for name in ("arena", "ordblks", "smblks", "hblks", "hblkhd")),
        *((name, ctypes.c_size_t) for name in ("usmblks", "fsmblks", "uordblks", "fordblks")),
        ("keepcost", ctypes.c_size_t),
    ]


_mallinfo = getattr(ctypes.pythonapi, "mallinfo2", None)  # of glibc, from 2.33 on
if _mallinfo:
    _mallinfo.restype = _Mallinfo


def in_use():
    """What has been handed out: Python's blocks, references to dtypes, the C library's bytes."""
    gc.collect()
    references = sum(sys.getrefcount(np.dtype(name)) for name in ("f2", "f4", "f8", "i8"))
    info = _mallinfo() if _mallinfo else _Mallinfo()
    return sys.getallocatedblocks(), references, info.uordblks + info.hblkhd


def left_behind(call, times):
    """What so many calls leave behind, again and again; None: nothing.

    Caches are full after some rounds; what is never given back adds up in each.
    """
    for _ in range(25):
        before = in_use()
        for _ in range(times):
            call()
        growth = [after - now for after, now in zip(in_use(), before, strict=True)]
        if growth[0] < times and growth[1] < times and growth[2] < 64 * times:
            return None
    return "{} blocks, {} references and {} bytes are left behind".format(*growth)
