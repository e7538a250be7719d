"""Calls of any public function with any arguments, right and wrong."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from checks import WRONG_ARRAYS
from fuzz.arrays import Array, Layout, Out, Wrong
from hypothesis import strategies as st
from operations import ELEMENTS, NORMALISED, SPECIAL_ELEMENTS


@dataclass(frozen=True)
class Call:
    function: str
    arguments: dict[str, Any]
    threads: int = 1


FLOATS = ["float32", "float64", "float16", "bfloat16"]
INTEGERS = ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8"]
DTYPES = [*FLOATS * 10, *INTEGERS, "?", "c8", "c16", "g"]
VALUES = ["normal", "normal", "special", "special", "ties", "wide", "bits", "nothing"]
LENGTHS = [0, 1, 1, 2, 3, 4, 5, 7, 8, 10, 16, 17, 31, 32, 33, 64, 65, 100, 257]
# Enough for several threads, for rows in parts, for tall rows side by side.
LARGE = [
    *[(70_001,), (9000, 8), (8, 9000), (600, 129), (129, 600), (3, 200, 120), (4097, 20)],
    *[(2, 8200), (8200, 9), (140_000,), (1, 140_000), (140_000, 1), (2, 131_073), (131_073, 2)],
]
WEIRD = [
    *[None, True, False, -1, 0, 1, 2, 3, 64, 2**31, 2**63, -(2**63), 2**64, 10**400],
    *[0.0, -0.0, 0.5, 1.0, 1.5, 2.0, -1.0, 5e-324, 1e-45, 1e300, math.inf, -math.inf, math.nan],
    *["", "mean", "none", "float32", "float16", "bfloat16", "portable", "\0", b"mean", 1j, 2 + 0j],
    *[(), (0,), (0, 0), (-1, 0), (0, 2**31), (0.0,), (None,), [], [0], [[1.0], [1.0, 2.0]], {}],
    *[np.float32(0.5), np.float64("nan"), np.int8(1), np.uint64(2**64 - 1), np.bool_(True)],
]


def fewer(shape):
    """As many of its axes as make an array of no great size."""
    while math.prod(shape) > 1 << 14:
        shape = shape[:-1]
    return shape


def mostly(right, other, one_in=12):
    """`right`, but once in so many times."""
    return st.integers(1, one_in).flatmap(lambda i: other if i == one_in else right)


small = st.lists(st.sampled_from(LENGTHS), max_size=4).map(tuple).map(fewer)
deep = st.integers(0, 60).flatmap(lambda n: small.map(lambda shape: (1,) * n + shape))
shapes = mostly(small, st.sampled_from(LARGE) | deep)
seeds = st.integers(0, 1000)
layouts = st.one_of(
    st.just(Layout()),
    st.builds(
        Layout,
        steps=st.lists(st.sampled_from([1, 1, -1, 2, -2, 3, 0]), max_size=3).map(tuple),
        gaps=st.lists(st.sampled_from([0, 0, 0, 1, 2, 4, 8, 64, -1, -4, -8]), max_size=3).map(
            tuple
        ),
        turn=st.integers(0, 2),
        backwards=st.booleans(),
        offset=st.sampled_from([0, 0, 1, 2, 3, 4, 8, 33]),
        swapped=st.sampled_from([False, False, False, True]),
        writable=st.sampled_from([True, True, True, False]),
        shared=st.sampled_from([False, False, False, True]),
    ),
)
kinds = st.sampled_from(["array"] * 9 + ["list", "Subclass", "Holder"])
wrong = st.sampled_from(sorted(WRONG_ARRAYS)).map(Wrong) | st.sampled_from(WEIRD)


def arrays(shape, dtypes, values):
    return st.builds(
        Array,
        shape=shape,
        dtype=st.sampled_from(dtypes),
        values=st.sampled_from(values),
        seed=seeds,
        layout=layouts,
        kind=kinds,
    )


anything = arrays(shapes, DTYPES, VALUES)
# Losses and decisions need classes.
logits = mostly(
    arrays(shapes.filter(lambda shape: shape and 0 not in shape), DTYPES, VALUES), anything
)
targets_in_unit = ["unit", "unit", "unit", "bits", "special"]
weight_values = ["unit", "unit", "unit", "ties", "special"]
outs = st.builds(
    Out,
    layout=layouts,
    itself=st.sampled_from([False, False, True]),
    wrong=st.sampled_from([""] * 6 + ["shape", "dtype"]),
)


def one_axis(x):
    n = max(len(x.shape), 1)
    return st.integers(-n, n - 1)


def any_axes(x):
    several = st.lists(one_axis(x), max_size=3, unique_by=lambda a: a % max(len(x.shape), 1))
    return st.one_of(one_axis(x), one_axis(x), several.map(tuple), st.none())


numbers = st.sampled_from([1e-3, 0.25, 0.5, 1.0, 1, 2.5, 1e-30, 1e30, 1e-300, 1e300])
units = st.sampled_from([0.0, 0.1, 0.5, 1.0, 1e-9])
reductions = st.sampled_from(["mean", "sum", "none"])
dtypes = st.sampled_from([*FLOATS, None])


def without(shape, axis):
    return shape[:axis] + shape[axis + 1 :] if -len(shape) <= axis < len(shape) - 1 else shape[:-1]


def labels_of(x, axis):
    shape = without(x.shape, axis % max(len(x.shape), 1))
    classes = x.shape[axis] if x.shape else 1
    right = arrays(st.just(shape), INTEGERS, [classes])
    return mostly(right, arrays(st.just(shape), INTEGERS, ["bits"]) | wrong)


def like(x, values):
    return mostly(arrays(st.just(x.shape), DTYPES, values), anything | wrong)


def broadcast_to(x):
    """Arrays of shapes that `x`'s broadcasts to itself with."""
    shape = st.tuples(st.integers(0, len(x.shape)), st.integers(0, 7)).map(
        lambda cut: tuple(
            1 if cut[1] >> d & 1 else n for d, n in enumerate(x.shape[min(cut[0], len(x.shape)) :])
        )
    )
    return mostly(arrays(shape, DTYPES, weight_values), wrong)


def weights(shape):
    return mostly(arrays(st.just(shape), DTYPES, weight_values), wrong)


def of_rows(draw, x):
    return {"axis": any_axes(x), "dtype": dtypes, "out": outs}


def of_normalised(draw, x):
    return {**of_rows(draw, x), "temperature": numbers}


def of_logsumexp(draw, x):
    return {**of_rows(draw, x), "keepdims": st.booleans()}


def of_elements(draw, x):
    return {"dtype": dtypes, "out": outs}


def of_cross_entropy(draw, x):
    axis = draw(st.one_of(st.just(-1), one_axis(x)))
    rows = without(x.shape, axis % max(len(x.shape), 1))
    classes = x.shape[axis] if x.shape else 1
    return {
        "targets!": labels_of(x, axis) | like(x, targets_in_unit),
        "axis!": st.just(axis),
        "class_weight": weights((classes,)),
        "sample_weight": weights(rows),
        "ignore_index": st.sampled_from([0, 1, -1, -100]),
        "label_smoothing": units,
        "z_loss": units,
        "reduction": reductions,
    }


def of_binary(draw, x):
    return {
        "targets!": like(x, targets_in_unit),
        "pos_weight": broadcast_to(x),
        "sample_weight": broadcast_to(x),
        "label_smoothing": units,
        "reduction": reductions,
    }


def with_out(of):
    return lambda draw, x: {**of(draw, x), "out": outs}


def of_grad_hess(draw, x):
    sample_weight = weights(x.shape[:-1])
    return {"labels!": labels_of(x, -1), "sample_weight": sample_weight, "hess_scale": numbers}


def of_top_k(draw, x):
    n = max(x.shape, default=1)
    return {
        "k!": st.sampled_from([0, 1, 1, 2, 3, 5, 10, 33, 129]).map(lambda k: min(k, n)),
        "axis": one_axis(x) | st.none(),
        "mode": st.sampled_from(["largest", "smallest"]),
        "sorted": st.booleans(),
    }


def of_predict(draw, x):
    classes = x.shape[-1] if x.shape else 1
    return {
        "axis": one_axis(x) | st.none(),
        "threshold": units,
        "classes": st.sampled_from([["no", "yes"], list(range(classes))]),
    }


def of_confidence(draw, x):
    return {
        "axis": any_axes(x),
        "kind": st.sampled_from(["max_prob", "margin", "entropy", "energy"]),
    }


def of_score(draw, x):
    return {
        "labels!": labels_of(x, -1),
        "k": st.sampled_from([1, 2, 5, 2**40]),
        "n_bins": st.sampled_from([1, 2, 15, 1000]),
        "sample_weight": weights(x.shape[:-1]),
        "ignore_index": st.sampled_from([0, 1, -1, -100]),
        "temperature": numbers,
    }


def of_scipy(draw, x):
    return {"axis": any_axes(x)}


def of_scipy_logsumexp(draw, x):
    options = {"keepdims": st.booleans(), "return_sign": st.booleans()}
    return {"axis": any_axes(x), "b": broadcast_to(x), **options}


def of_scipy_elements(draw, x):
    where = arrays(st.just(x.shape), ["?"], ["bits"])
    return {"dtype": st.sampled_from(["f4", ">f8", "g"]), "out": outs, "where": where}


# The first argument, where it is an array, and the options; of those with ! there is always one.
FUNCTIONS = {
    **dict.fromkeys(ELEMENTS, ("x", of_elements)),
    **dict.fromkeys(NORMALISED, ("x", of_normalised)),
    "logsumexp": ("x", of_logsumexp),
    "cross_entropy": ("logits", of_cross_entropy),
    "cross_entropy_value_and_grad": ("logits", with_out(of_cross_entropy)),
    "binary_cross_entropy_with_logits": ("logits", of_binary),
    "binary_cross_entropy_with_logits_value_and_grad": ("logits", with_out(of_binary)),
    "softmax_grad_hess": ("logits", of_grad_hess),
    "argmax": ("logits", lambda draw, x: {"axis": one_axis(x) | st.none()}),
    "top_k": ("x", of_top_k),
    "predict": ("logits", of_predict),
    "confidence": ("logits", of_confidence),
    "metrics.score": ("logits", of_score),
    "special.softmax": ("x", of_scipy),
    "special.log_softmax": ("x", of_scipy),
    "special.logsumexp": ("a", of_scipy_logsumexp),
    **dict.fromkeys(SPECIAL_ELEMENTS, ("x", of_scipy_elements)),
    "set_isa": (None, lambda draw, x: {"name!": st.sampled_from(WEIRD)}),
    "set_num_threads": (None, lambda draw, x: {"n!": st.sampled_from(WEIRD)}),
    "num_threads": (None, lambda draw, x: {"n!": st.sampled_from(WEIRD)}),
}


@st.composite
def calls(draw):
    function = draw(st.sampled_from(sorted(FUNCTIONS)))
    first, options = FUNCTIONS[function]
    arguments, x = {}, None
    if first:
        x = draw(logits if first == "logits" else anything)
        arguments[first] = draw(mostly(st.just(x), wrong, 20))
    for name, right in options(draw, x).items():
        if name.endswith("!") or draw(st.sampled_from([True, False, False])):
            arguments[name.rstrip("!")] = draw(mostly(right, st.sampled_from(WEIRD)))
    return Call(function, arguments, draw(st.integers(1, 3)))
