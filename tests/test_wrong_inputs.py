"""Every wrong argument of every public function: the error's own type, the argument's name and what
came in its message, and nothing written.

The functions are called in child processes, so that a crash is a failure that names its case.
"""

import functools
import re
import sys
from typing import Any, NamedTuple

import guarded
import numpy as np
import pytest
from checks import WRONG_ARRAYS, frozen
from operations import ELEMENTS, NORMALISED, OPERATIONS, REDUCED, ROWS, SAME_SHAPE, SETTINGS
from operations import SCORES_OF_CLASSES as OF_CLASSES

import fastlogits

AxisError = np.exceptions.AxisError
X = np.arange(12.0).reshape(3, 4)
Y = np.array([0, 1, 2])
SOFT = np.full((3, 4), 0.25)

# ---------------------------------------------------------------------------------------
# What is called, and with what: the first array is always the first argument
# ---------------------------------------------------------------------------------------

GROUPS: dict[str, dict[str, dict[str, Any]]] = {
    "rows and elements": {
        **{name: {"x": X} for name in [*ROWS, *ELEMENTS]},
    },
    "losses": {
        "cross_entropy": {"logits": X, "targets": Y},
        "cross_entropy, soft": {"logits": X, "targets": SOFT},
        "cross_entropy_value_and_grad": {"logits": X, "targets": Y},
        "cross_entropy_value_and_grad, soft": {"logits": X, "targets": SOFT},
        "softmax_grad_hess": {"logits": X, "labels": Y},
    },
    "binary losses": {
        "binary_cross_entropy_with_logits": {"logits": X, "targets": SOFT},
        "binary_cross_entropy_with_logits_value_and_grad": {"logits": X, "targets": SOFT},
    },
    "decisions": {
        "argmax": {"logits": X},
        "top_k": {"x": X, "k": 2},
        "predict": {"logits": X},
        "predict, threshold": {"logits": X, "threshold": 0.3},
        "confidence": {"logits": X},
        "confidence, energy": {"logits": X, "kind": "energy"},
    },
    "special": {
        "special.softmax": {"x": X},
        "special.log_softmax": {"x": X},
        "special.logsumexp": {"a": X},
        "special.logsumexp, weighted": {"a": X, "b": X},
        "special.expit": {"x": X},
        "special.log_expit": {"x": X},
    },
    "scores": {"metrics.score": {"logits": X, "labels": Y}},
    "scores of classes": {
        name: {"y_true": Y, "logits": X, "labels": range(4)} for name in OF_CLASSES
    },
    "settings": {"set_isa": {}, "set_num_threads": {}, "num_threads": {}},
}
ALL = {name: good for group in GROUPS.values() for name, good in group.items()}
POSITIONAL = {"top_k": ("x", "k"), "special.expit": ("x",), "special.log_expit": ("x",)}


HARD = ["cross_entropy", "cross_entropy_value_and_grad"]
ROW_LOSSES = [*HARD, *(f"{name}, soft" for name in HARD)]
GRADIENTS = ["cross_entropy_value_and_grad", "cross_entropy_value_and_grad, soft"]
BINARY = list(GROUPS["binary losses"])
WITH_OUT = [*SAME_SHAPE, *REDUCED, *GRADIENTS, BINARY[1]]
SPECIAL = list(GROUPS["special"])
SPECIAL_ROWS, EXPITS = SPECIAL[:4], SPECIAL[4:]
BINNED = ["metrics.score", "metrics.expected_calibration_error", "metrics.calibration_curve"]

# ---------------------------------------------------------------------------------------
# What comes in the message: of each wrong value, one of these
# ---------------------------------------------------------------------------------------


def nothing(value):
    return ""


def itself(value):
    return str(value)


def shown(value):
    return repr(value)


def kind(value):
    return type(value).__name__


def shape(value):
    return str(np.shape(value))


def dtype(value):
    return str(np.asarray(value).dtype)


def number(value):
    """An integer beyond the floats comes as infinity."""
    try:
        return str(float(value))
    except OverflowError:
        return "inf" if value > 0 else "-inf"


# ---------------------------------------------------------------------------------------
# Wrong values
# ---------------------------------------------------------------------------------------

SWAPPED = np.dtype("f8").newbyteorder()
COMPLEX = [X + 1j, 1j, [[1j, 2j]]]
NOT_NUMBERS = [a for name, a in WRONG_ARRAYS.items() if "complex" not in name and name != "masked"]
MASKED = [np.ma.masked_array(X, X == 5), np.ma.masked_array(X.astype(int), X == 5)]
RAGGED = [[[1.0, 2.0], [3.0]]]
NO_REAL_NUMBER = [None, "0.1", 1j, [0.1], (0.1,), np.ones(3), {}, b"0.1"]
BELOW_0 = [-0.1, -1e-300, np.nan, np.inf, -np.inf, np.float32(-1), -(10**400)]
NO_INTEGER = [1.0, np.float64(2), "1", 1j, [1], np.array([1, 2])]
NO_AXIS = [2, -3, 2**40, -(2**40), 2**63, 2**100, -(2**70)]
NO_NAME = ["", "Mean", "mean\0", None, 0, True, b"mean"]


def full(shape=X.shape, dtype=float):
    return np.full(shape, 7, dtype)


def weights(n):
    """No weights of n things: of a shape that is none, or with one that is below 0 or NaN."""
    ones = np.ones(n - 1)
    ends = [-1e-300, -np.inf, np.nan, np.float32(np.nan), np.float16(np.nan)]
    values = [np.append(ones.astype(np.result_type(end)), end) for end in ends]
    return [*values, np.r_[np.nan, ones], np.r_[1 : n - 1, -1, 0]]


def shapes(n):
    return [np.ones(s) for s in (n + 1, n - 1, 1, (), 0, (n, 1), (1, n), (3, 4))] + [1.0]


def no_weights(n):
    ones = np.ones(n, int)
    return [*(ones.astype(t) for t in ("c16", "O", "U", "M8[s]")), "balanced", {0: 1.0}]


def labels(*bad, dtype="i8"):
    """Labels of three rows, of which the last is wrong."""
    return [np.array([0, 1, label], dtype) for label in bad]


def last(value):
    return str(value[-1])


def targets_but(*bad, dtype="f8"):
    values = []
    for number in bad:
        targets = np.ones((3, 4), dtype)
        targets[1, 3] = number
        values.append(targets)
    return values


def at_1_3(value):
    return str(value[1, 3])


OUT_OF_RANGE = [-1, 4, 200, -99, -101, 2**32, 2**32 + 1, -(2**32), 2**63 - 1, -(2**63)]
LABELS_OUT_OF_RANGE = [
    *labels(*OUT_OF_RANGE),
    *labels(-1, 4, dtype="i1"),
    *labels(4, 200, dtype="u1"),
    *labels(200, dtype="i4"),
    *labels(2**16 - 100, dtype="u2"),
    *labels(2**32 - 1, 2**32 - 100, dtype="u4"),  # -100 in 32 bits
    *labels(2**63, 2**64 - 1, 2**64 - 100, dtype="u8"),  # -100 in 64 bits
    *labels(9, dtype=">i8"),
]
LARGE_LABELS = [[0, 1, 2**63], [0, 1, 2**64], [0, 1, -(2**63) - 1]]
NO_LABELS = [
    [True, False, True],
    ["0", "1", "2"],
    [0, None, 2],
    [0j, 1j, 2j],
    np.zeros(3, "M8[s]"),
    None,
]
LABELS_OF_OTHER_SHAPES = [
    np.zeros(s, int) for s in ((), 1, 2, 4, (3, 1), (1, 3), (3, 4), 0, (0, 3))
]

# ---------------------------------------------------------------------------------------
# The table
# ---------------------------------------------------------------------------------------


class Row(NamedTuple):
    operations: list[str]
    argument: str  # "first": the first array, whatever it is called
    error: type[Exception]
    expected: str  # a word of the message, beside the argument's name
    came: Any  # what it says of the value
    values: list[Any]


ARRAYS = [name for name in ALL if name not in (*GROUPS["settings"], *OF_CLASSES)]
REAL = [name for name in ARRAYS if name not in SPECIAL_ROWS]
CORE = [name for name in REAL if name not in (*EXPITS, "metrics.score")]

TABLE = [
    # The first array.
    Row(ARRAYS, "first", TypeError, "", nothing, NOT_NUMBERS),
    Row(CORE, "first", TypeError, "real", dtype, COMPLEX),
    Row(EXPITS, "first", TypeError, "real", dtype, COMPLEX),
    Row(["metrics.score"], "first", TypeError, "real", dtype, COMPLEX),
    Row(ARRAYS, "first", TypeError, "masked", nothing, MASKED),
    Row(ARRAYS, "first", ValueError, "array", nothing, RAGGED),
    Row(
        [*ROW_LOSSES, "softmax_grad_hess", "metrics.score"],
        "first",
        ValueError,
        "at least one",
        nothing,
        [1.0, X[:, :0], np.zeros(0), np.zeros((0, 0)), np.zeros((2, 3, 0))],
    ),
    Row(
        ["argmax", "predict", "confidence", "confidence, energy"],
        "first",
        ValueError,
        "at least one class",
        shape,
        [X[:, :0], np.zeros(0), np.zeros((0, 0)), np.zeros((2, 3, 0), "f4")],
    ),
    Row(
        ["special.softmax", "special.log_softmax"],
        "first",
        ValueError,
        "empty",
        shape,
        [np.zeros(0), np.zeros((2, 0)), np.zeros((0, 3), int)],
    ),
    # Where the classes are.
    Row(
        [*ROWS, *ROW_LOSSES, "argmax", "top_k", "predict", "confidence", *SPECIAL_ROWS],
        "axis",
        AxisError,
        "out of bounds",
        nothing,
        NO_AXIS,
    ),
    Row(
        [*ROWS, "confidence", *SPECIAL_ROWS],
        "axis",
        AxisError,
        "out of bounds",
        nothing,
        [(0, 2), (-3,), (0, 2**31), (2**70, 0)],
    ),
    Row(
        [*ROWS, "confidence", *SPECIAL_ROWS],
        "axis",
        ValueError,
        "repeated",
        nothing,
        [(0, 0), (0, -2), (1, -1, 0)],
    ),
    Row(
        [*ROWS, *ROW_LOSSES, "argmax", "top_k", "predict", "confidence"],
        "axis",
        TypeError,
        "an integer",
        shown,
        [1.0, np.float64(1), "1", 1j, [1], [0, 1]],
    ),
    Row(
        [*ROWS, "confidence"],
        "axis",
        TypeError,
        "tuple of integers",
        shown,
        [(0, 1.0), (0, None), (0, "1")],
    ),
    Row(SPECIAL_ROWS, "axis", TypeError, "an integer", shown, [1.0, "1", 1j, [0, 1], (0, 1.0)]),
    Row(ROW_LOSSES, "axis", TypeError, "an integer", shown, [None, (1,), (0, 1)]),
    Row(["argmax", "top_k", "predict"], "axis", TypeError, "integer", shown, [(1,), (0, 1)]),
    # Options of the rows.
    Row(
        NORMALISED,
        "temperature",
        ValueError,
        "positive and finite",
        number,
        [0, 0.0, -0.0, *BELOW_0, 10**400, np.float32(0)],
    ),
    Row(NORMALISED, "temperature", TypeError, "real", kind, NO_REAL_NUMBER),
    Row(
        [*SAME_SHAPE, *REDUCED],
        "dtype",
        TypeError,
        "float16, bfloat16, float32 or float64",
        nothing,
        ["int32", "bool", "complex128", "object", "S4", "U4", "datetime64[s]", SWAPPED, "g"],
    ),
    # Where to write.
    Row(
        [*SAME_SHAPE, *GRADIENTS, BINARY[1]],
        "out",
        ValueError,
        "(3, 4)",
        shape,
        [full(s) for s in ((1, 3, 4), (4,), (4, 4), (3, 5), (4, 3), (1, 1), 0, ())],
    ),
    Row(
        REDUCED,
        "out",
        ValueError,
        "(3,)",
        shape,
        [full(s) for s in ((1, 3), (3, 1), 4, 1, 0, (), (3, 4))],
    ),
    Row(
        [*SAME_SHAPE, *GRADIENTS, BINARY[1]],
        "out",
        ValueError,
        "float64",
        dtype,
        [full(dtype=t) for t in ("f4", "f2", "i8", "c16", "O")],
    ),
    Row(
        REDUCED,
        "out",
        ValueError,
        "float64",
        dtype,
        [full(3, t) for t in ("f4", "f2", "i8", "c16", "O")],
    ),
    Row(
        [*SAME_SHAPE, *GRADIENTS, BINARY[1]],
        "out",
        ValueError,
        "native",
        nothing,
        [full(dtype=SWAPPED)],
    ),
    Row(REDUCED, "out", ValueError, "native", nothing, [full(3, SWAPPED)]),
    Row(
        [*SAME_SHAPE, *GRADIENTS, BINARY[1]],
        "out",
        ValueError,
        "read-only",
        nothing,
        [frozen(full()), np.broadcast_to(full(()), X.shape)],
    ),
    Row(
        REDUCED,
        "out",
        ValueError,
        "read-only",
        nothing,
        [frozen(full(3)), np.broadcast_to(full(()), 3)],
    ),
    Row(
        WITH_OUT,
        "out",
        TypeError,
        "array",
        kind,
        [full().tolist(), 7.0, "out", (full(),), memoryview(full())],
    ),
    # Targets and labels.
    Row(HARD, "targets", TypeError, "integers", dtype, NO_LABELS),
    Row(["softmax_grad_hess"], "labels", TypeError, "integers", dtype, [*NO_LABELS, SOFT]),
    Row(["metrics.score"], "labels", TypeError, "integer", dtype, [*NO_LABELS, SOFT]),
    Row(
        HARD,
        "targets",
        TypeError,
        "integers",
        dtype,
        [[0.0, 1.0, 2.0], np.zeros(3, "f4"), SOFT + 0j],
    ),
    Row(HARD, "targets", ValueError, "(3,)", shape, LABELS_OF_OTHER_SHAPES),
    Row(["softmax_grad_hess"], "labels", ValueError, "(3,)", shape, LABELS_OF_OTHER_SHAPES),
    Row(["metrics.score"], "labels", ValueError, "(3,)", shape, LABELS_OF_OTHER_SHAPES),
    Row(
        ROW_LOSSES,
        "targets",
        ValueError,
        "(3, 4)",
        shape,
        [np.zeros((3, 5)), SOFT[:2], SOFT[:1], SOFT.T, SOFT[0]],
    ),
    Row(ROW_LOSSES, "targets", TypeError, "real", dtype, [SOFT.astype("g")]),
    Row(HARD, "targets[2]", IndexError, "[0, 4)", last, [*LABELS_OUT_OF_RANGE, *LARGE_LABELS]),
    Row(
        ["softmax_grad_hess"],
        "labels[2]",
        IndexError,
        "[0, 4)",
        last,
        [*LABELS_OUT_OF_RANGE, *LARGE_LABELS, *labels(-100)],
    ),
    Row(["metrics.score"], "labels[2]", IndexError, "0 to 3", last, LABELS_OUT_OF_RANGE),
    Row(
        [*ROW_LOSSES, *BINARY],
        "targets",
        TypeError,
        "masked",
        nothing,
        [np.ma.masked_array(Y, Y == 1), np.ma.masked_array(SOFT, X > 0)],
    ),
    Row(
        ["softmax_grad_hess", "metrics.score"],
        "labels",
        TypeError,
        "masked",
        nothing,
        [np.ma.masked_array(Y, Y == 1)],
    ),
    Row(
        BINARY,
        "targets",
        ValueError,
        "(3, 4)",
        shape,
        [SOFT[:1], SOFT[0], SOFT[:, :1], SOFT[None], SOFT.T, 0.5, SOFT[:0], Y],
    ),
    Row(BINARY, "targets", TypeError, "real", dtype, [SOFT.astype(t) for t in ("c16", "O", "U")]),
    Row(
        BINARY,
        "targets[1, 3]",
        ValueError,
        "[0, 1]",
        at_1_3,
        [
            *targets_but(1.5, -0.5, np.nan, np.inf, -np.inf, np.nextafter(1, 2), -5e-324),
            *targets_but(1.5, -0.5, np.nan, dtype="f4"),
            *targets_but(1.5, np.nan, dtype="f2"),
            *targets_but(2, -1, 2**32, dtype="i8"),
            *targets_but(256, dtype="u2"),
            *targets_but(1.5, dtype=">f8"),
        ],
    ),
    # Weights.
    Row(ROW_LOSSES, "class_weight", ValueError, "(4,)", shape, shapes(4)),
    Row([*ROW_LOSSES, "softmax_grad_hess"], "sample_weight", ValueError, "(3,)", shape, shapes(3)),
    Row(ROW_LOSSES, "class_weight", ValueError, "no less than 0", nothing, weights(4)),
    Row(
        [*ROW_LOSSES, "softmax_grad_hess"],
        "sample_weight",
        ValueError,
        "no less than 0",
        nothing,
        weights(3),
    ),
    Row(ROW_LOSSES, "class_weight", TypeError, "real", dtype, no_weights(4)),
    Row(
        [*ROW_LOSSES, "softmax_grad_hess"],
        "sample_weight",
        TypeError,
        "real",
        dtype,
        no_weights(3),
    ),
    Row(
        [*ROW_LOSSES, "softmax_grad_hess", *BINARY],
        "sample_weight",
        TypeError,
        "masked",
        nothing,
        [np.ma.masked_array(np.ones(3), [0, 1, 0])],
    ),
    Row(
        ROW_LOSSES,
        "class_weight",
        TypeError,
        "masked",
        nothing,
        [np.ma.masked_array(np.ones(4), [0, 1, 0, 0])],
    ),
    Row([*ROW_LOSSES, *BINARY], "sample_weight", ValueError, "array", nothing, RAGGED),
    Row(ROW_LOSSES, "class_weight", ValueError, "array", nothing, RAGGED),
    *(
        row
        for name in ("pos_weight", "sample_weight")
        for row in (
            Row(
                BINARY,
                name,
                ValueError,
                "(3, 4)",
                shape,
                [np.ones(s) for s in (3, 0, (4, 1), (1, 3), (6, 4), (1, 3, 4), (1, 1, 1))],
            ),
            Row(BINARY, f"{name}[1, 3]", ValueError, "0", at_1_3, targets_but(-1, np.nan, -1e-300)),
            Row(BINARY, f"{name}[3]", ValueError, "no less than 0", last, weights(4)[:5]),
            Row(BINARY, name, ValueError, "no less than 0", itself, [-1, np.nan, np.float32(-2)]),
            Row(BINARY, name, TypeError, "real", dtype, no_weights(4)),
        )
    ),
    # Options of the losses.
    Row(
        [*ROW_LOSSES, *BINARY],
        "label_smoothing",
        ValueError,
        "[0, 1]",
        number,
        [*BELOW_0, 1.0000001, 2, 10**400],
    ),
    Row([*ROW_LOSSES, *BINARY], "label_smoothing", TypeError, "real", kind, NO_REAL_NUMBER),
    Row(ROW_LOSSES, "z_loss", ValueError, "non-negative and finite", number, [*BELOW_0, 10**400]),
    Row(ROW_LOSSES, "z_loss", TypeError, "real", kind, NO_REAL_NUMBER),
    Row(
        ["softmax_grad_hess"],
        "hess_scale",
        ValueError,
        "positive and finite",
        number,
        [*BELOW_0, 0, 10**400],
    ),
    Row(["softmax_grad_hess"], "hess_scale", TypeError, "real", kind, NO_REAL_NUMBER),
    Row(
        [*ROW_LOSSES, *BINARY],
        "reduction",
        ValueError,
        "'mean', 'sum' or 'none'",
        shown,
        [*NO_NAME, "average"],
    ),
    Row(ROW_LOSSES, "ignore_index", TypeError, "an integer", kind, [*NO_INTEGER, None]),
    Row(
        ROW_LOSSES,
        "ignore_index",
        ValueError,
        "64 bits",
        itself,
        [2**63, 2**64 + 1, -(2**64) + 1, 2**100],
    ),
    # Options of the decisions.
    Row(
        ["top_k"],
        "k",
        ValueError,
        "between 0 and",
        itself,
        [-1, 5, 2**31, 2**32 + 1, 2**63, 2**64 + 1, -(2**70), np.int8(-1), np.uint64(2**64 - 1)],
    ),
    Row(["top_k"], "k", TypeError, "an integer", kind, [*NO_INTEGER, None]),
    Row(["top_k"], "mode", ValueError, "'largest' or 'smallest'", shown, [*NO_NAME, "max"]),
    Row(["confidence"], "kind", ValueError, "max_prob, margin", shown, [*NO_NAME, "max"]),
    Row(
        ["predict"],
        "threshold",
        ValueError,
        "(0, 1)",
        number,
        [0, 1, -0.0, -0.5, 1.5, np.nan, np.inf, -np.inf, 10**400, np.float32(1)],
    ),
    Row(["predict"], "threshold", TypeError, "real", kind, NO_REAL_NUMBER[1:]),
    Row(
        ["predict"],
        "classes",
        ValueError,
        "(4,)",
        shape,
        [[], ["a"], [1, 2, 3], range(5), X, np.ones((4, 1)), "abcd", 4],
    ),
    Row(["predict, threshold"], "classes", ValueError, "(2,)", shape, [[], "ab", range(4), X]),
    # SciPy's signatures.
    Row(
        ["special.logsumexp"],
        "b",
        TypeError,
        "numbers",
        dtype,
        [["x", "y", "z", "w"], np.ones(4, "M8[s]"), X.astype(object)],
    ),
    Row(["special.logsumexp"], "b", ValueError, "broadcast", shape, [np.ones(3), np.ones((2, 4))]),
    Row(["special.logsumexp"], "b", TypeError, "masked", nothing, MASKED),
    Row(EXPITS, "dtype", TypeError, "longdouble", nothing, ["f2", int, complex, "S4"]),
    Row(EXPITS, "out", ValueError, "(3, 4)", shape, [full((4, 3)), full(4), full((3, 1))]),
    Row(EXPITS, "out", TypeError, "float64", dtype, [full(dtype=int)]),
    Row(EXPITS, "out", TypeError, "an array", kind, [full().tolist(), 7.0]),
    Row(EXPITS, "out", ValueError, "one array", nothing, [(full(), full()), ()]),
    Row(EXPITS, "out", ValueError, "read-only", nothing, [frozen(full())]),
    # Scores.
    Row(
        ["metrics.score"],
        "temperature",
        ValueError,
        "positive finite",
        itself,
        [0, 0.0, -1.5, np.nan, np.inf, -np.inf],
    ),
    Row(["metrics.score"], "temperature", TypeError, "a number", nothing, NO_REAL_NUMBER),
    Row(["metrics.score"], "ignore_index", TypeError, "an integer", kind, [*NO_INTEGER, None]),
    Row(OF_CLASSES, "logits", TypeError, "", nothing, NOT_NUMBERS),
    Row(OF_CLASSES, "logits", TypeError, "real", dtype, COMPLEX),
    Row(OF_CLASSES, "logits", TypeError, "masked", nothing, MASKED),
    Row(OF_CLASSES, "logits", ValueError, "array", nothing, RAGGED),
    Row(OF_CLASSES, "logits", ValueError, "(n, C)", shape, [1.0, X[:, :0], np.zeros((2, 3, 0))]),
    Row(OF_CLASSES, "logits", ValueError, "4 columns", shape, [X[:, :3], X[:, 0]]),
    Row(OF_CLASSES, "y_true", ValueError, "(3,)", shape, [Y[:2], np.zeros(4, int), Y[:0]]),
    Row(OF_CLASSES, "y_true", ValueError, "one dimension", shape, [1, X, Y[:, np.newaxis]]),
    Row(OF_CLASSES, "y_true[2]", ValueError, "one of labels", last, labels(4, -1, 2**40)),
    Row(OF_CLASSES, "y_true[2]", ValueError, "a class label", last, labels(0.5, np.nan, dtype="f")),
    Row(OF_CLASSES, "y_true", TypeError, "compared", nothing, [["0", "1", "2"], [0, "1", None]]),
    Row(OF_CLASSES, "y_true", TypeError, "complex128", nothing, [Y + 0j]),
    Row(OF_CLASSES, "y_true", TypeError, "masked", nothing, [np.ma.masked_array(Y, Y == 1)]),
    Row(OF_CLASSES, "labels", ValueError, "ascending", nothing, [[0, 1, 3, 2], [0, 1, 2, 2]]),
    Row(OF_CLASSES, "labels", ValueError, "one dimension", shape, [3, [[0, 1, 2, 3]]]),
    *(
        row
        for names in (["metrics.score"], OF_CLASSES)
        for row in (
            Row(names, "sample_weight", ValueError, "(3,)", shape, shapes(3)),
            Row(names, "sample_weight", ValueError, "no less than 0", nothing, weights(3)),
            Row(names, "sample_weight", TypeError, "real", dtype, no_weights(3)),
        )
    ),
    *(
        row
        for names, name in (
            (["metrics.score", "metrics.top_k_accuracy"], "k"),
            (BINNED, "n_bins"),
        )
        for row in (
            Row(names, name, ValueError, "at least 1", itself, [0, -1, np.int8(-3), -(2**70)]),
            Row(names, name, TypeError, "an integer", kind, [*NO_INTEGER, None]),
        )
    ),
    Row(BINNED, "n_bins", ValueError, "at most 10000", itself, [10_001, 2**31, 2**70]),
    Row(
        ["metrics.brier_score"],
        "scale_by_half",
        ValueError,
        "'auto'",
        shown,
        [None, "yes", 1.0, 1, [True]],
    ),
    # Settings.
    Row(
        ["set_isa"],
        "name",
        ValueError,
        ", ".join(fastlogits.available_isas()),
        shown,
        ["sse2", "AVX2", "", "avx2 ", "neon", "avx512\0", "cpu"],
    ),
    Row(["set_isa"], "name", TypeError, "a string", kind, [None, 2, b"avx2", ["avx2"]]),
    Row(
        ["set_num_threads", "num_threads"],
        "n",
        ValueError,
        "between 1 and",
        itself,
        [0, -1, np.int32(-3), 65537, 2**31, 2**63, 2**100],
    ),
    Row(["set_num_threads", "num_threads"], "n", TypeError, "an integer", kind, NO_INTEGER),
]

# ---------------------------------------------------------------------------------------
# One call after another, in the child
# ---------------------------------------------------------------------------------------


def cases(group):
    """Of a group: a name for the case, the function, its arguments, the error, and what its message
    must say. Where there is an `out`, also with a good one, and with the logits themselves."""
    for row in TABLE:
        for name in [name for name in row.operations if name in GROUPS[group]]:
            good = ALL[name]
            first = next(iter(good), "")
            said = first if row.argument == "first" else row.argument
            argument = said.partition("[")[0]
            for value in row.values:
                label = f"{name}: {argument}={' '.join(repr(value).split())[:80]}"
                arguments = {**good, argument: value}
                words = [said, row.expected, row.came(value)]
                yield label, name, arguments, row.error, words
                if name not in WITH_OUT or argument == "out":
                    continue
                out = full((3,) if name == "logsumexp" else X.shape)
                yield f"{label}, out", name, {**arguments, "out": out}, row.error, words
                if argument not in (first, "dtype") and name != "logsumexp":
                    in_place = {**arguments, first: out, "out": out}
                    yield f"{label}, in place", name, in_place, row.error, words


def call(name, arguments):
    """`num_threads` is a context manager: it checks when it is entered."""
    function = fastlogits
    for part in name.partition(",")[0].split("."):
        function = getattr(function, part)
    options = dict(arguments)
    positional = [options.pop(argument) for argument in POSITIONAL.get(name, ())]
    result = function(*positional, **options)
    if name == "num_threads":
        with result:
            pass


def settings():
    return fastlogits.get_isa(), fastlogits.get_num_threads()


def says(message, word):
    return not word or re.search(rf"(?<!\w){re.escape(word)}(?!\w)", message) is not None


def complaint(name, arguments, error, words):
    """What is wrong with how a call with a wrong argument ends; None: nothing."""
    arrays = [np.asarray(a) for a in arguments.values() if isinstance(a, np.ndarray)]
    before = [a.tobytes() for a in arrays], settings()
    try:
        call(name, arguments)
    except Exception as raised:
        message = str(raised)
        if type(raised) is not error:
            return f"{type(raised).__name__} in place of {error.__name__}: {message}"
        missing = [word for word in words if not says(message, word)]
        if missing:
            return f"{missing} not in {message!r}"
    else:
        return f"no {error.__name__}"
    return None if ([a.tobytes() for a in arrays], settings()) == before else "something written"


def named_cases(group):
    for isa in fastlogits.available_isas():
        fastlogits.set_isa(isa)
        for label, *case in cases(group):
            yield f"{label} ({isa})", functools.partial(complaint, *case)


if __name__ == "__main__":
    guarded.run(named_cases(sys.argv[1]))


# ---------------------------------------------------------------------------------------
# The children, in the parent
# ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("group", GROUPS)
def test_wrong_inputs(group):
    assert guarded.problems(__file__, group) == []


def test_every_public_function_is_in_the_table():
    assert {name.partition(",")[0] for name in ALL} == {*OPERATIONS, *SETTINGS}
    for name, good in ALL.items():
        if good:
            call(name, good)  # the arguments beside the wrong one are right
