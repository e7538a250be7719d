"""Every wrong argument: the type of the error, the argument's name in it, and nothing written."""

import re

import numpy as np
import pytest

import fastlogits
from fastlogits import cross_entropy

ROWS = ["softmax", "log_softmax", "logsumexp"]
ELEMENTS = ["sigmoid", "log_sigmoid", "softplus"]
SAME_SHAPE = ["softmax", "log_softmax", *ELEMENTS]
AxisError = np.exceptions.AxisError
X = np.arange(12.0).reshape(3, 4)


def refused(error, *said):
    """A context in which `error` must be raised with each of `said` as a word of its message."""
    pattern = "".join(rf"(?=.*(?<!\w){re.escape(str(word))}(?!\w))" for word in said)
    return pytest.raises(error, match=f"(?s){pattern}")


def result_shape(op):
    return X.shape[:-1] if op == "logsumexp" else X.shape


def frozen(a):
    a.setflags(write=False)
    return a


# Arrays that no function takes; TypeError in each.
WRONG_ARRAYS = {
    "complex": X + 1j,
    "object": X.astype(object),
    "text": X.astype(str),
    "bytes": X.astype(bytes),
    "structured": np.zeros((3, 4), [("a", "f4"), ("b", "f4")]),
    "datetime": np.zeros((3, 4), "datetime64[s]"),
    "timedelta": np.zeros((3, 4), "timedelta64[s]"),
    "masked": np.ma.masked_array(X, X == 5),
    "a list of text": [["a", "b"]],
    "None": None,
    "a set": {1.0, 2.0},
    "a dict": {"a": 1.0},
    "a complex number": 1j,
    "a string": "logits",
}


@pytest.mark.parametrize("kind", WRONG_ARRAYS)
@pytest.mark.parametrize("op", ROWS + ELEMENTS)
def test_wrong_kind_of_array(op, kind):
    out = np.full(result_shape(op), 7.0)
    with refused(TypeError, "x"):
        getattr(fastlogits, op)(WRONG_ARRAYS[kind])
    with refused(TypeError, "x"):
        getattr(fastlogits, op)(WRONG_ARRAYS[kind], out=out)
    assert (out == 7).all()


@pytest.mark.parametrize("kind", WRONG_ARRAYS)
def test_wrong_kind_of_logits(kind):
    with refused(TypeError, "logits"):
        cross_entropy(WRONG_ARRAYS[kind], [0, 1, 2])


@pytest.mark.parametrize("op", ROWS + ELEMENTS)
def test_sparse_array(op):
    sparse = pytest.importorskip("scipy.sparse", reason="SciPy is not installed")
    for kind in (sparse.csr_array, sparse.csr_matrix, sparse.coo_array):
        with refused(TypeError, "x"):
            getattr(fastlogits, op)(kind(X))
        with refused(TypeError, "logits"):
            cross_entropy(kind(X), [0, 1, 2])


def test_tensor_that_requires_a_gradient():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    tensor = torch.ones(3, 4, requires_grad=True)
    for op in ROWS + ELEMENTS:
        with refused(TypeError, "x"):
            getattr(fastlogits, op)(tensor)
    with refused(TypeError, "logits"):
        cross_entropy(tensor, [0, 1, 2])


@pytest.mark.parametrize("op", ROWS + ELEMENTS)
def test_ragged_list(op):
    with refused(ValueError, "x"):
        getattr(fastlogits, op)([[1.0, 2.0], [3.0]])


@pytest.mark.parametrize("op", ROWS + ELEMENTS)
def test_masked_array_without_a_masked_element_works(op):
    function = getattr(fastlogits, op)
    for mask in (np.ma.nomask, np.zeros(X.shape, bool)):
        got = function(np.ma.masked_array(X, mask))
        np.testing.assert_array_equal(got, function(X))
    got = cross_entropy(np.ma.masked_array(X), np.ma.masked_array([0, 1, 2]))
    assert got == cross_entropy(X, [0, 1, 2])


@pytest.mark.parametrize(
    ("axis", "error"),
    [
        (2, AxisError),
        (-3, AxisError),
        ((0, 2), AxisError),
        (2**40, AxisError),
        (-(2**40), AxisError),
        ((0, 0), ValueError),
        ((0, -2), ValueError),
        ((1, -1, 0), ValueError),
        (1.0, TypeError),
        (np.float64(1), TypeError),
        ("1", TypeError),
        ((0, 1.0), TypeError),
        ((0, None), TypeError),
        (1j, TypeError),
    ],
)
@pytest.mark.parametrize("op", ROWS)
def test_wrong_axis(op, axis, error):
    out = np.full(result_shape(op), 7.0)
    for more in ({}, {"out": out}):
        with refused(error, "axis"):
            getattr(fastlogits, op)(X, axis=axis, **more)
    assert (out == 7).all()


@pytest.mark.parametrize("axis", [2, -3, 2**40, 1.0, "1"])
def test_wrong_axis_of_a_loss(axis):
    with refused(AxisError if isinstance(axis, int) else TypeError, "axis"):
        cross_entropy(X, [0, 1, 2], axis=axis)


@pytest.mark.parametrize("axis", [2**63, 2**100, -(2**70)])
@pytest.mark.parametrize("op", ROWS)
def test_axis_beyond_any_integer_of_c(op, axis):
    # AxisError is both: NumPy's own functions say OverflowError or TypeError here.
    with pytest.raises((IndexError, OverflowError), match="axis"):
        getattr(fastlogits, op)(X, axis=axis)


@pytest.mark.parametrize(
    ("temperature", "error"),
    [
        (0, ValueError),
        (0.0, ValueError),
        (-0.0, ValueError),
        (-1, ValueError),
        (np.nan, ValueError),
        (np.inf, ValueError),
        (-np.inf, ValueError),
        (10**400, ValueError),
        (np.float32(0), ValueError),
        ("a", TypeError),
        ("1.0", TypeError),
        (None, TypeError),
        (1j, TypeError),
        ([1.0, 2.0], TypeError),
        (np.ones(3), TypeError),
    ],
)
@pytest.mark.parametrize("op", ["softmax", "log_softmax"])
def test_wrong_temperature(op, temperature, error):
    out = np.full(X.shape, 7.0)
    for more in ({}, {"out": out}):
        with refused(error, "temperature"):
            getattr(fastlogits, op)(X, temperature=temperature, **more)
    assert (out == 7).all()


@pytest.mark.parametrize("op", ["softmax", "log_softmax"])
def test_temperature_may_be_any_real_number(op):
    function = getattr(fastlogits, op)
    want = function(X, temperature=2.0)
    for two in (2, np.float32(2), np.int8(2), np.float64(2)):
        np.testing.assert_array_equal(function(X, temperature=two), want)


@pytest.mark.parametrize(
    "dtype",
    ["int32", "bool", "complex128", "object", "S4", "U4", "datetime64[s]", "no such dtype", 3],
)
@pytest.mark.parametrize("op", ROWS + ELEMENTS)
def test_wrong_dtype(op, dtype):
    with pytest.raises(TypeError, match=r"dtype|data type"):
        getattr(fastlogits, op)(X, dtype=dtype)


def wrong_outs(op):
    shape = result_shape(op)
    swapped = np.dtype("f8").newbyteorder()
    return {
        "one dimension more": (np.full((1, *shape), 7.0), ValueError),
        "one dimension less": (np.full(shape[1:], 7.0), ValueError),
        "one row more": (np.full((shape[0] + 1, *shape[1:]), 7.0), ValueError),
        "broadcastable": (np.full((1,) * len(shape), 7.0), ValueError),
        "empty": (np.full(0, 7.0), ValueError),
        "float32": (np.full(shape, 7, np.float32), ValueError),
        "float16": (np.full(shape, 7, np.float16), ValueError),
        "int64": (np.full(shape, 7), ValueError),
        "complex": (np.full(shape, 7 + 0j), ValueError),
        "object": (np.full(shape, 7, object), ValueError),
        "byte-swapped": (np.full(shape, 7, swapped), ValueError),
        "read-only": (frozen(np.full(shape, 7.0)), ValueError),
        "a read-only view": (np.broadcast_to(np.full((), 7.0), shape), ValueError),
        "a list": (np.full(shape, 7.0).tolist(), TypeError),
        "a number": (7.0, TypeError),
        "text": ("out", TypeError),
        "a tuple of one array": ((np.full(shape, 7.0),), TypeError),
    }


@pytest.mark.parametrize("kind", wrong_outs("softmax"))
@pytest.mark.parametrize("op", ROWS + ELEMENTS)
def test_wrong_out(op, kind):
    out, error = wrong_outs(op)[kind]
    with refused(error, "out"):
        getattr(fastlogits, op)(X, out=out)
    assert np.all(np.asarray(out) == 7) or error is TypeError


@pytest.mark.parametrize("op", ROWS + ELEMENTS)
def test_wrong_out_names_what_was_expected_and_what_came(op):
    shape = result_shape(op)
    other = (5, *shape[1:])
    with refused(ValueError, "out", shape, other):
        getattr(fastlogits, op)(X, out=np.empty(other))
    with refused(ValueError, "out", "float32", "float64"):
        getattr(fastlogits, op)(X, out=np.empty(shape, np.float32))
    with refused(ValueError, "out", "float32", "float64"):
        getattr(fastlogits, op)(X.astype(np.float32), out=np.empty(shape))


@pytest.mark.parametrize("op", ROWS + ELEMENTS)
def test_out_must_match_the_dtype_asked_for(op):
    function = getattr(fastlogits, op)
    narrow, wide = (np.full(result_shape(op), 7, dtype) for dtype in ("f4", "f8"))
    with refused(ValueError, "out"):
        function(X, dtype=np.float32, out=wide)
    assert (wide == 7).all()
    assert function(X, dtype=np.float32, out=narrow) is narrow
    np.testing.assert_array_equal(narrow, function(X, dtype=np.float32))


def test_out_of_a_reduction_follows_keepdims():
    for keepdims, wrong in ((True, (3,)), (False, (3, 1))):
        out = np.full(wrong, 7.0)
        with refused(ValueError, "out"):
            fastlogits.logsumexp(X, keepdims=keepdims, out=out)
        assert (out == 7).all()


@pytest.mark.parametrize("op", ROWS + ELEMENTS)
def test_options_are_keyword_only(op):
    args = (X, -1, 1.0) if op in ROWS else (X, None)
    with pytest.raises(TypeError):
        getattr(fastlogits, op)(*args)
    with pytest.raises(TypeError):
        getattr(fastlogits, op)()
    with pytest.raises(TypeError):
        getattr(fastlogits, op)(X, no_such_option=1)
    with pytest.raises(TypeError):
        cross_entropy(X, [0, 1, 2], -1)
    with pytest.raises(TypeError):
        cross_entropy(X)


BIG = 200


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize(
    ("dtype", "label"),
    [
        ("i8", -1),
        ("i1", -1),
        ("i8", BIG),
        ("u1", BIG),
        ("i4", BIG),
        ("i8", -99),
        ("i8", -101),
        ("i8", 2**32),
        ("i8", 2**32 + 1),
        ("i8", -(2**32)),
        ("i8", 2**63 - 1),
        ("i8", -(2**63)),
        ("u4", 2**32 - 1),
        ("u4", 2**32 - 100),  # -100 in 32 bits
        ("u2", 2**16 - 100),
        ("u8", 2**63),
        ("u8", 2**64 - 1),
        ("u8", 2**64 - 100),  # -100 in 64 bits
    ],
)
def test_label_out_of_range(dtype, label, reduction):
    x = np.zeros((9, BIG))
    targets = np.arange(9).astype(dtype)
    targets[6] = label
    with refused(IndexError, "targets", 6, label):
        cross_entropy(x, targets, reduction=reduction)


@pytest.mark.parametrize("dtype", ["i8", "u8", "i1", "u1"])
def test_label_just_out_of_range_of_few_classes(dtype):
    for classes in (1, 2, 3, 32, 33, 100):
        for rows in (1, 7, 1000):
            for place in {0, rows // 2, rows - 1}:
                targets = np.zeros(rows, dtype)
                targets[place] = classes
                with refused(IndexError, "targets", place, classes):
                    cross_entropy(np.zeros((rows, classes), np.float32), targets)


def test_first_label_out_of_range_is_named_whatever_the_threads(threads):
    targets = np.zeros(50_000, int)
    targets[[31_234, 40_000, 49_999]] = -7, 11, 12
    with refused(IndexError, "targets", 31_234, -7):
        cross_entropy(np.zeros((50_000, 10), np.float32), targets)


def test_label_out_of_range_is_placed_in_all_dimensions():
    targets = np.zeros((4, 5), int)
    targets[2, 3] = 17
    with refused(IndexError, "targets", "2, 3", 17):
        cross_entropy(np.zeros((4, 5, 6)), targets)
    with refused(IndexError, "targets", "2, 3", 17):
        cross_entropy(np.zeros((4, 6, 5)), targets, axis=1)


@pytest.mark.parametrize(
    "targets",
    [
        [0.0, 1.0, 2.0],
        np.zeros(3, np.float32),
        [0, 1, None],
        ["0", "1", "2"],
        [0j, 1j, 2j],
        [True, False, True],
        np.ma.masked_array([0, 1, 2], [False, True, False]),
        np.zeros(3, "datetime64[s]"),
        None,
    ],
    ids=str,
)
def test_wrong_kind_of_targets(targets):
    with refused(TypeError, "targets"):
        cross_entropy(X, targets)


@pytest.mark.parametrize("shape", [(), (1,), (2,), (4,), (3, 1), (1, 3), (3, 4), (0,)])
def test_wrong_shape_of_targets(shape):
    with refused(ValueError, "targets", shape, (3,)):
        cross_entropy(X, np.zeros(shape, int))


def test_scalar_logits_have_no_classes_to_choose_from():
    with pytest.raises((ValueError, IndexError), match=r"logits|axis"):
        cross_entropy(1.0, np.zeros((1, 1), int))


@pytest.mark.parametrize("reduction", ["average", "", "Mean", "mean\0", None, 0, b"mean"])
def test_wrong_reduction(reduction):
    with refused(ValueError, "reduction"):
        cross_entropy(X, [0, 1, 2], reduction=reduction)


@pytest.mark.parametrize("ignore_index", [1.0, "1", None, 1j, [1]])
def test_wrong_ignore_index(ignore_index):
    with refused(TypeError, "ignore_index"):
        cross_entropy(X, [0, 1, 2], ignore_index=ignore_index)


@pytest.mark.parametrize("label", [2**63, 2**64 - 1, 2**64, -(2**63) - 1])
def test_label_in_a_list_beyond_any_integer_dtype(label):
    with refused(IndexError, "targets[1]", str(label)):
        cross_entropy(X, [0, label, 1])


def test_scores_refuse_a_tensor_that_requires_a_gradient():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    tensor = torch.zeros((3, 4), requires_grad=True)
    with refused(TypeError, "logits"):
        fastlogits.metrics.score(tensor, [0, 1, 2])
    with refused(TypeError, "x"):
        fastlogits.special.softmax(tensor)


def test_tensor_of_a_dtype_that_numpy_lacks():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    with refused(TypeError, "x"):
        fastlogits.softmax(torch.zeros((3, 4), dtype=torch.bfloat16))
