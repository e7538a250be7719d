"""Every wrong argument: the type of the error, the argument's name in it, and nothing written."""

import itertools

import numpy as np
import pytest
from checks import WRONG_ARRAYS, frozen, refused

import fastlogits
from fastlogits import cross_entropy, cross_entropy_value_and_grad, softmax_grad_hess

ROWS = ["softmax", "log_softmax", "logsumexp"]
ELEMENTS = ["sigmoid", "log_sigmoid", "softplus"]
SAME_SHAPE = ["softmax", "log_softmax", *ELEMENTS]
AxisError = np.exceptions.AxisError
X = np.arange(12.0).reshape(3, 4)


def result_shape(op):
    return X.shape[:-1] if op == "logsumexp" else X.shape


@pytest.mark.parametrize("kind", WRONG_ARRAYS)
@pytest.mark.parametrize("op", ROWS + ELEMENTS)
def test_wrong_kind_of_array(op, kind):
    out = np.full(result_shape(op), 7.0)
    with refused(TypeError, "x"):
        getattr(fastlogits, op)(WRONG_ARRAYS[kind])
    with refused(TypeError, "x"):
        getattr(fastlogits, op)(WRONG_ARRAYS[kind], out=out)
    assert (out == 7).all()


@pytest.mark.parametrize("op", ROWS + ELEMENTS)
def test_sparse_array(op):
    sparse = pytest.importorskip("scipy.sparse", reason="SciPy is not installed")
    for kind in (sparse.csr_array, sparse.csr_matrix, sparse.coo_array):
        with refused(TypeError, "x"):
            getattr(fastlogits, op)(kind(X))


def test_tensor_that_requires_a_gradient():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    tensor = torch.ones(3, 4, requires_grad=True)
    for op in ROWS + ELEMENTS:
        with refused(TypeError, "x"):
            getattr(fastlogits, op)(tensor)


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


@pytest.mark.parametrize("axis", [2**63, 2**100, -(2**70), (0, 2**31)])
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


# --- Losses ---

LOSSES = [cross_entropy, cross_entropy_value_and_grad, softmax_grad_hess]
Y, SOFT = [0, 1, 2], np.full((3, 4), 0.25)


def wrong_weights(n):
    ones = np.ones(n - 1)
    ends = [-1e-300, -np.inf, np.nan, np.float32(np.nan), np.float16(np.nan)]
    shapes = [n + 1, n - 1, 1, (), 0, (n, 1), (1, n), (3, 4)]
    masked = np.ma.masked_array(np.ones(n), np.arange(n) == 1)
    values = [np.append(ones.astype(np.result_type(end)), end) for end in ends]
    values += [np.r_[np.nan, ones], np.r_[1 : n - 1, -1, 0], 1.0, [[1.0], [1.0, 2.0]]]
    types = ["c16", "O", "U", "M8[s]"]
    return {
        ValueError: values + [np.ones(shape) for shape in shapes],
        TypeError: [*(np.ones(n, int).astype(t) for t in types), "balanced", {0: 1.0}, masked],
    }


NO_NUMBERS = [None, "0.1", 1j, [0.1], (0.1,), np.ones(3), {}, b"0.1"]
BELOW_0 = [-0.1, -1e-300, np.nan, np.inf, -np.inf, np.float32(-1), -(10**400)]
WRONG = {
    "logits": {
        TypeError: list(WRONG_ARRAYS.values()),
        ValueError: [1.0, X[:, :0], np.zeros(0), np.zeros((0, 0)), np.zeros((2, 3, 0))],
    },
    "axis": {AxisError: [2, -3, 2**40], TypeError: [1.0, "1", None, (1,)]},
    "targets": {
        TypeError: [
            [0.0, 1.0, 2.0],
            np.zeros(3, np.float32),
            [True, False, True],
            ["0", "1", "2"],
            [0, None, 2],
            [0j, 1j, 2j],
            SOFT + 0j,
            np.zeros(3, "M8[s]"),
            np.ma.masked_array(Y, [False, True, False]),
            None,
        ],
        ValueError: [np.zeros(shape, int) for shape in [(), 1, 2, 4, (3, 1), (1, 3), (3, 4), 0]],
    },
    "soft targets": {
        TypeError: [np.ma.masked_array(SOFT, X > 0), SOFT.astype(np.longdouble)],
        ValueError: [np.zeros((3, 5)), SOFT[:2], SOFT[:1], SOFT.T, SOFT[0]],
    },
    "labels": {TypeError: [SOFT]},
    "class_weight": wrong_weights(4),
    "sample_weight": wrong_weights(3),
    "ignore_index": {
        TypeError: [1.0, "1", None, 1j, [1]],
        ValueError: [2**63, 2**64 + 1, -(2**64) + 1, 2**100],
    },
    "label_smoothing": {ValueError: [*BELOW_0, 1.0000001, 2, 10**400], TypeError: NO_NUMBERS},
    "z_loss": {ValueError: [*BELOW_0, 10**400], TypeError: NO_NUMBERS},
    "reduction": {ValueError: ["average", "", "Mean", "mean\0", None, 0, b"mean"]},
    "hess_scale": {ValueError: [*BELOW_0, 0, 10**400], TypeError: NO_NUMBERS},
}


@pytest.mark.parametrize(
    ("argument", "error", "value"),
    [
        pytest.param(name, error, value, id=f"{name}-{error.__name__}-{i}")
        for name, errors in WRONG.items()
        for error, values in errors.items()
        for i, value in enumerate(values)
    ],
)
def test_wrong_argument_of_a_loss(argument, error, value):
    name = argument.split()[-1]
    for targets in (Y, SOFT) if name not in ("labels", "hess_scale") else ():
        arguments = {"logits": X, "targets": targets, name: value}
        out = np.full(X.shape, 7.0)
        with refused(error, name):
            cross_entropy(**arguments)
        with refused(error, name):
            cross_entropy_value_and_grad(**arguments)
        with refused(error, name):
            cross_entropy_value_and_grad(**arguments, out=out)
        assert (out == 7).all()
        if name != "logits":
            arguments["logits"] = out
            with refused(error, name):
                cross_entropy_value_and_grad(**arguments, out=out)
            assert (out == 7).all()
    if name in ("logits", "targets", "labels", "sample_weight", "hess_scale"):
        arguments = {"logits": X, "labels": Y, name.replace("targets", "labels"): value}
        wrong = (TypeError, ValueError) if argument == "soft targets" else error
        with refused(wrong, name.replace("targets", "labels")):
            softmax_grad_hess(**arguments)


def refuse_label(place, label, x, targets, **options):
    for function in (cross_entropy, cross_entropy_value_and_grad):
        with refused(IndexError, f"targets[{place}]", label):
            function(x, targets, **options)
    if not options:
        with refused(IndexError, f"labels[{place}]", label):
            softmax_grad_hess(x, targets)


@pytest.mark.parametrize(
    ("dtype", "labels"),
    [
        ("i8", [-1, 200, -99, -101, 2**32, 2**32 + 1, -(2**32), 2**63 - 1, -(2**63)]),
        ("i1", [-1]),
        ("u1", [200]),
        ("i4", [200]),
        ("u2", [2**16 - 100]),
        ("u4", [2**32 - 1, 2**32 - 100]),  # -100 in 32 bits
        ("u8", [2**63, 2**64 - 1, 2**64 - 100]),  # -100 in 64 bits
    ],
)
def test_label_out_of_range(dtype, labels):
    for label in labels:
        targets = np.arange(9).astype(dtype)
        targets[6] = label
        for options in ({}, {"reduction": "sum"}, {"reduction": "none"}):
            refuse_label(6, label, np.zeros((9, 200)), targets, **options)


def test_label_just_out_of_range():
    for classes, rows in itertools.product((1, 2, 3, 32, 33, 100), (1, 7, 1000)):
        for place in {0, rows // 2, rows - 1}:
            for dtype in ("i8", "u8", "i1", "u1"):
                targets = np.zeros(rows, dtype)
                targets[place] = classes
                refuse_label(place, classes, np.zeros((rows, classes), "f4"), targets)


def test_label_beside_those_that_are_ignored():
    refuse_label(2, 9, X, [0, 7, 9], ignore_index=7)
    refuse_label(2, -100, X, [0, 1, -100], ignore_index=1)
    with refused(IndexError, "labels", 2, -100):
        softmax_grad_hess(X, [0, 1, -100])


@pytest.mark.parametrize("label", [2**63, 2**64 - 1, 2**64, -(2**63) - 1])
def test_label_in_a_list_beyond_any_integer_dtype(label):
    refuse_label(1, label, X, [0, label, 1])


def test_label_out_of_range_is_placed_in_all_dimensions():
    targets = np.zeros((4, 5), int)
    targets[2, 3] = 17
    refuse_label("2, 3", 17, np.zeros((4, 5, 6)), targets)
    for axis, shape in ((1, (4, 6, 5)), (0, (6, 4, 5))):
        refuse_label("2, 3", 17, np.zeros(shape), targets, axis=axis)


def test_first_label_out_of_range_is_named_and_nothing_written(threads):
    targets = np.zeros(50_000, int)
    targets[[31_234, 40_000, 49_999]] = -7, 11, 12
    x = np.full((50_000, 10), 7, np.float32)
    refuse_label(31_234, -7, x, targets)
    with refused(IndexError, "targets", 31_234, -7):
        cross_entropy_value_and_grad(x, targets, out=x)
    assert (x == 7).all()


def test_wrong_weight_among_many_is_found():
    x, targets = np.full((20_000, 10), 7.0), np.zeros(20_000, int)
    for place, bad in itertools.product((0, 12_345, 19_999), (-1, np.nan)):
        s = np.ones(20_000)
        s[place] = bad
        with refused(ValueError, f"sample_weight[{place}]"):
            cross_entropy_value_and_grad(x, targets, sample_weight=s, out=x)
        with refused(ValueError, f"sample_weight[{place}]"):
            softmax_grad_hess(x, targets, sample_weight=s)
    assert (x == 7).all()
    with refused(ValueError, "sample_weight"):
        cross_entropy(X, [0, -100, 1], sample_weight=[1.0, np.nan, 1.0])


@pytest.mark.parametrize("targets", [Y, SOFT], ids=["hard", "soft"])
@pytest.mark.parametrize("kind", wrong_outs("softmax"))
def test_wrong_out_of_a_loss(kind, targets):
    out, error = wrong_outs("softmax")[kind]
    with refused(error, "out"):
        cross_entropy_value_and_grad(X, targets, out=out)
    assert np.all(np.asarray(out) == 7) or error is TypeError


def test_wrong_out_of_a_loss_names_what_was_expected_and_what_came():
    with refused(ValueError, "out", "(3, 4)", "(5, 4)"):
        cross_entropy_value_and_grad(X, Y, out=np.empty((5, 4)))
    for logits, out in (("f4", "f8"), ("f8", "f4"), ("f2", "f4"), ("i8", "f4")):
        with refused(ValueError, "out", np.dtype(out)):
            cross_entropy_value_and_grad(X.astype(logits), Y, out=np.empty((3, 4), out))


def test_options_of_losses_are_keyword_only():
    for function in LOSSES:
        for arguments, options in (((X,), {}), ((X, Y, -1), {}), ((X, Y), {"no_such_option": 1})):
            with pytest.raises(TypeError):
                function(*arguments, **options)
    for function in (cross_entropy, softmax_grad_hess):
        with pytest.raises(TypeError):
            function(X, Y, out=np.empty((3, 4)))


def test_losses_refuse_sparse_arrays():
    sparse = pytest.importorskip("scipy.sparse", reason="SciPy is not installed")
    for kind in (sparse.csr_array, sparse.csr_matrix, sparse.coo_array):
        for function in LOSSES:
            with refused(TypeError, "logits"):
                function(kind(X), Y)


def test_losses_and_scores_refuse_tensors_that_require_a_gradient():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    tensor = torch.ones(3, 4, requires_grad=True)
    for function in (*LOSSES, fastlogits.metrics.score):
        with refused(TypeError, "logits"):
            function(tensor, Y)
    with refused(TypeError, "targets"):
        cross_entropy(X, tensor)
    with refused(TypeError, "class_weight"):
        cross_entropy(X, Y, class_weight=tensor[0])
    with refused(TypeError, "x"):
        fastlogits.special.softmax(tensor)
