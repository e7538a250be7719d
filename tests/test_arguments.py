"""Arguments beyond the table of test_wrong_inputs.py: what belongs together, what lies among many,
what other libraries make, and what is right though it may not look so."""

import itertools

import numpy as np
import pytest
from checks import refused
from operations import ELEMENTS, NORMALISED, REDUCED, ROWS

import fastlogits
from fastlogits import cross_entropy, cross_entropy_value_and_grad, softmax_grad_hess

X, Y = np.arange(12.0).reshape(3, 4), [0, 1, 2]


def result_shape(op):
    return X.shape[:-1] if op in REDUCED else X.shape


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
def test_masked_array_without_a_masked_element_works(op):
    function = getattr(fastlogits, op)
    for mask in (np.ma.nomask, np.zeros(X.shape, bool)):
        got = function(np.ma.masked_array(X, mask))
        np.testing.assert_array_equal(got, function(X))
    got = cross_entropy(np.ma.masked_array(X), np.ma.masked_array([0, 1, 2]))
    assert got == cross_entropy(X, [0, 1, 2])


@pytest.mark.parametrize("op", NORMALISED)
def test_temperature_may_be_any_real_number(op):
    function = getattr(fastlogits, op)
    want = function(X, temperature=2.0)
    for two in (2, np.float32(2), np.int8(2), np.float64(2)):
        np.testing.assert_array_equal(function(X, temperature=two), want)


@pytest.mark.parametrize("dtype", ["no such dtype", 3])
@pytest.mark.parametrize("op", ROWS + ELEMENTS)
def test_what_numpy_knows_no_dtype_for(op, dtype):
    with pytest.raises(TypeError, match="dtype must be float16, bfloat16, float32 or float64, got"):
        getattr(fastlogits, op)(X, dtype=dtype)


@pytest.mark.parametrize("op", ROWS + ELEMENTS)
def test_out_must_match_the_dtype_asked_for(op):
    function = getattr(fastlogits, op)
    narrow, wide = (np.full(result_shape(op), 7, dtype) for dtype in ("f4", "f8"))
    with refused(ValueError, "out"):
        function(X, dtype=np.float32, out=wide)
    assert (wide == 7).all()
    assert function(X, dtype=np.float32, out=narrow) is narrow
    np.testing.assert_array_equal(narrow, function(X, dtype=np.float32))


@pytest.mark.parametrize(("logits", "out"), [("f4", "f8"), ("f2", "f4"), ("i8", "f4")])
def test_out_must_match_the_dtype_of_the_logits(logits, out):
    x, wrong = X.astype(logits), np.full(X.shape, 7, out)
    with refused(ValueError, "out", np.dtype(out)):
        fastlogits.softmax(x, out=wrong)
    with refused(ValueError, "out", np.dtype(out)):
        cross_entropy_value_and_grad(x, Y, out=wrong)
    assert (wrong == 7).all()


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


def refuse_label(place, label, x, targets, **options):
    for function in (cross_entropy, cross_entropy_value_and_grad):
        with refused(IndexError, f"targets[{place}]", label):
            function(x, targets, **options)
    if not options:
        with refused(IndexError, f"labels[{place}]", label):
            softmax_grad_hess(x, targets)


def test_label_just_out_of_range():
    for classes, rows in itertools.product((1, 2, 3, 32, 33, 100), (1, 7, 1000)):
        for place in {0, rows // 2, rows - 1}:
            for dtype in ("i8", "u8", "i1", "u1"):
                targets = np.zeros(rows, dtype)
                targets[place] = classes
                refuse_label(place, classes, np.zeros((rows, classes), "f4"), targets)


@pytest.mark.parametrize("ignored", [-100, 2])
def test_first_wrong_label_of_any_number_of_them(ignored, isa):
    for rows in (1, 3, 4, 5, 7, 8, 9, 16, 17, 33):
        x, right = np.zeros((rows, 5), "f4"), np.arange(rows) % 5
        right[::3] = ignored
        counted = np.count_nonzero(right != ignored)
        total = cross_entropy(x, right, ignore_index=ignored, reduction="sum")
        assert total == pytest.approx(counted * np.log(5), rel=1e-6)
        if counted:
            mean = cross_entropy(x, right, ignore_index=ignored)
            assert mean == pytest.approx(np.log(5), rel=1e-6)
        for place in range(rows):
            targets = right.copy()
            targets[place:] = 6
            targets[place] = (5, -1, 2**62, -(2**63))[place % 4]
            refuse_label(place, targets[place], x, targets, ignore_index=ignored)


def test_label_beside_those_that_are_ignored():
    refuse_label(2, 9, X, [0, 7, 9], ignore_index=7)
    refuse_label(2, -100, X, [0, 1, -100], ignore_index=1)
    with refused(IndexError, "labels", 2, -100):
        softmax_grad_hess(X, [0, 1, -100])


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
