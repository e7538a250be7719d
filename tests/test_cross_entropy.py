"""Cross-entropy of class indices: reductions, ignored rows, dtypes of labels, axes."""

import numpy as np
import pytest
import reference

from fastlogits import cross_entropy, log_softmax

INTEGERS = ["i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "intp", "longlong"]


@pytest.fixture(params=["float32", "float64"])
def dtype(request):
    return np.dtype(request.param)


def example(dtype, rows=50, classes=11, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(0, 3, (rows, classes)).astype(dtype), rng.integers(0, classes, rows)


def test_each_row_is_minus_the_log_probability_of_its_class(dtype, isa):
    x, targets = example(dtype)
    loss = cross_entropy(x, targets, reduction="none")
    assert loss.shape == targets.shape
    assert loss.dtype == dtype
    assert reference.ulp_error(loss, reference.cross_entropy(x, targets)).max() <= 2
    assert np.all(loss >= 0)


def test_every_class_of_a_row_can_be_the_target(dtype, isa):
    for classes in (2, 3, 31, 32, 33, 70, 300):
        x = np.repeat(example(dtype, 1, classes)[0], classes, axis=0)
        loss = cross_entropy(x, np.arange(classes), reduction="none")
        exact = -reference.log_softmax(x[0])
        assert reference.ulp_error(loss, exact).max() <= 2


def test_reductions_are_the_rounded_sum_and_mean_of_the_rows(dtype, isa):
    x, targets = example(dtype, 1000)
    exact = reference.cross_entropy(x, targets)
    for got, value in (
        (cross_entropy(x, targets), exact.mean()),
        (cross_entropy(x, targets, reduction="mean"), exact.mean()),
        (cross_entropy(x, targets, reduction="sum"), exact.sum()),
    ):
        assert np.shape(got) == ()
        assert np.asarray(got).dtype == dtype
        assert reference.ulp_error(got, value).max() <= 2


def test_reduction_gives_a_numpy_scalar(dtype):
    x, targets = example(dtype)
    for reduction in ("mean", "sum"):
        assert type(cross_entropy(x, targets, reduction=reduction)) is dtype.type


def test_mean_of_a_million_equal_rows_is_the_row(isa):
    # Added up in float32, the sum would be off in the third digit.
    row = np.array([0.3, -1.2], np.float32)
    x = np.broadcast_to(row, (1_000_000, 2))
    targets = np.zeros(1_000_000, np.int8)
    exact = reference.cross_entropy(row, 0)
    assert reference.ulp_error(cross_entropy(x, targets), exact) <= 1
    total = cross_entropy(x, targets, reduction="sum")
    assert abs(float(total) / 1e6 - float(exact)) <= 2**-24 * float(exact) * 2


def test_mean_of_large_and_small_losses_keeps_the_small_ones(isa):
    x = np.zeros((100_001, 2), np.float32)
    x[0, 0] = 1e7
    targets = np.ones(100_001, int)
    exact = (np.longdouble(1e7) + 100_000 * np.log(np.longdouble(2))) / 100_001
    assert reference.ulp_error(cross_entropy(x, targets), exact) <= 1


@pytest.mark.parametrize("integer", INTEGERS)
def test_labels_of_every_integer_dtype(integer, dtype, isa):
    x, targets = example(dtype)
    want = cross_entropy(x, targets, reduction="none")
    labels = targets.astype(integer)
    np.testing.assert_array_equal(cross_entropy(x, labels, reduction="none"), want)
    swapped = labels.astype(labels.dtype.newbyteorder())
    np.testing.assert_array_equal(cross_entropy(x, swapped, reduction="none"), want)
    assert cross_entropy(x, labels) == cross_entropy(x, targets)


@pytest.mark.parametrize("integer", INTEGERS)
def test_labels_of_any_layout(integer, dtype):
    x, targets = example(dtype)
    want = cross_entropy(x, targets, reduction="none")
    spread = np.full((50, 3), 99, integer)
    spread[:, 1] = targets
    raw = np.zeros(50 * spread.itemsize + 1, np.uint8)
    unaligned = raw[1:].view(integer)
    unaligned[...] = targets
    frozen = targets.astype(integer)
    frozen.setflags(write=False)
    for labels in (
        spread[:, 1],
        unaligned,
        frozen,
        np.ascontiguousarray(targets[::-1]).astype(integer)[::-1],
    ):
        np.testing.assert_array_equal(cross_entropy(x, labels, reduction="none"), want)
    np.testing.assert_array_equal(cross_entropy(x, targets.tolist(), reduction="none"), want)


def test_one_label_for_all_rows_by_broadcasting(dtype):
    x, _ = example(dtype)
    one = np.broadcast_to(np.int64(3), 50)
    want = cross_entropy(x, np.full(50, 3), reduction="none")
    np.testing.assert_array_equal(cross_entropy(x, one, reduction="none"), want)


@pytest.mark.parametrize("integer", [i for i in INTEGERS if i[0] != "u"])
def test_ignored_rows_count_nowhere(integer, dtype, isa):
    x, targets = example(dtype)
    kept = np.arange(50) % 3 != 0
    labels = np.where(kept, targets, -100).astype(integer)
    loss = cross_entropy(x, labels, reduction="none")
    np.testing.assert_array_equal(loss[~kept], 0)
    np.testing.assert_array_equal(
        loss[kept], cross_entropy(x[kept], targets[kept], reduction="none")
    )
    exact = reference.cross_entropy(x[kept], targets[kept])
    assert reference.ulp_error(cross_entropy(x, labels), exact.mean()) <= 2
    assert reference.ulp_error(cross_entropy(x, labels, reduction="sum"), exact.sum()) <= 2


@pytest.mark.parametrize("ignore_index", [0, 4, 10, -1, 255, 2**40, -(2**63), np.int16(7)])
def test_any_index_can_be_ignored(ignore_index, dtype):
    x, targets = example(dtype)
    labels = targets.copy()
    labels[5] = ignore_index
    kept = labels != ignore_index
    loss = cross_entropy(x, labels, ignore_index=ignore_index, reduction="none")
    np.testing.assert_array_equal(loss[~kept], 0)
    np.testing.assert_array_equal(
        loss[kept], cross_entropy(x[kept], targets[kept], reduction="none")
    )
    assert np.count_nonzero(kept) < 50


def test_index_to_ignore_is_not_wrapped_into_the_dtype_of_the_labels(dtype):
    # -100 in 8 bits is 156, and -100 in 64 bits is 2**64 - 100.
    x = np.random.default_rng(0).normal(size=(3, 200)).astype(dtype)
    labels = np.array([155, 156, 157], np.uint8)
    want = cross_entropy(x, labels.astype(int), reduction="none")
    np.testing.assert_array_equal(cross_entropy(x, labels, reduction="none"), want)
    assert np.all(want > 0)
    for far in (256 + 156, 2**32 + 156, -(2**40) + 156):
        got = cross_entropy(x, labels, ignore_index=far, reduction="none")
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("far", [2**63, 2**64 + 1, -(2**64) + 1, 2**100])
def test_index_to_ignore_beyond_64_bits_is_refused(far):
    with pytest.raises(ValueError, match="ignore_index"):
        cross_entropy(np.zeros((3, 3)), [0, 1, 2], ignore_index=far)


def test_all_rows_ignored(dtype, isa):
    x, _ = example(dtype)
    labels = np.full(50, -100)
    assert np.isnan(cross_entropy(x, labels))
    assert cross_entropy(x, labels, reduction="sum") == 0
    loss = cross_entropy(x, labels, reduction="none")
    assert loss.dtype == dtype
    np.testing.assert_array_equal(loss, np.zeros(50))


@pytest.mark.parametrize("shape", [(7,), (2, 7), (2, 7, 3), (2, 1, 7, 2), (3, 2, 2, 2, 7)])
def test_class_axis_may_be_any(shape, dtype, isa):
    rng = np.random.default_rng(1)
    for axis in range(-len(shape), len(shape)):
        x = rng.normal(size=shape).astype(dtype)
        rest = list(shape)
        classes = rest.pop(axis)
        targets = rng.integers(0, classes, rest)
        rows = np.ascontiguousarray(np.moveaxis(x, axis, -1)).reshape(-1, classes)
        want = cross_entropy(rows, targets.reshape(-1), reduction="none").reshape(rest)
        got = cross_entropy(x, targets, axis=axis, reduction="none")
        assert np.shape(got) == tuple(rest)
        np.testing.assert_array_equal(got, want)
        assert cross_entropy(x, targets, axis=axis) == cross_entropy(rows, targets.reshape(-1))
        exact = reference.cross_entropy(rows, targets.reshape(-1)).reshape(rest)
        assert reference.ulp_error(got, exact).max() <= 2


def test_one_row_and_one_label(dtype):
    x = np.array([1.0, 2.0, 3.0], dtype)
    for label in (2, np.int8(2), np.array(2)):
        for reduction in ("mean", "sum", "none"):
            got = cross_entropy(x, label, reduction=reduction)
            assert np.shape(got) == ()
            assert got == -log_softmax(x)[2]


@pytest.mark.parametrize(
    "logits", [[[1, 2, 3], [4, 5, 9]], np.array([[1, 2, 3], [4, 5, 9]], np.int16), [[True, False]]]
)
def test_whole_numbers_are_computed_in_float64(logits):
    targets = [0] * len(logits)
    got = cross_entropy(logits, targets, reduction="none")
    assert got.dtype == np.float64
    want = cross_entropy(np.array(logits, float), targets, reduction="none")
    np.testing.assert_array_equal(got, want)


def test_confident_and_right_keeps_every_digit(dtype, isa):
    x = np.array([[23.0, 0.0], [60.0, 0.0], [5040.0, 5000.0]], dtype)
    loss = cross_entropy(x, [0, 0, 0], reduction="none")
    assert np.all(loss > 0)
    assert reference.ulp_error(loss, reference.cross_entropy(x, [0, 0, 0])).max() <= 2


def test_inputs_are_left_alone(dtype, isa):
    x, targets = example(dtype)
    before = x.tobytes(), targets.tobytes()
    cross_entropy(x, targets)
    assert (x.tobytes(), targets.tobytes()) == before


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("ignore_index", [-100, 3])
def test_agrees_with_pytorch(reduction, ignore_index, isa):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    x, targets = example(np.dtype("f8"), 200, 17)
    targets[::9] = ignore_index
    want = torch.nn.functional.cross_entropy(
        torch.from_numpy(x),
        torch.from_numpy(targets),
        reduction=reduction,
        ignore_index=ignore_index,
    ).numpy()
    got = cross_entropy(x, targets, reduction=reduction, ignore_index=ignore_index)
    np.testing.assert_allclose(got, want, rtol=1e-13, atol=1e-13)
    cube = x[:198].reshape(6, 33, 17)
    want = torch.nn.functional.cross_entropy(
        torch.from_numpy(cube).movedim(-1, 1),
        torch.from_numpy(targets[:198].reshape(6, 33)),
        reduction=reduction,
        ignore_index=ignore_index,
    ).numpy()
    got = cross_entropy(
        np.moveaxis(cube, -1, 1),
        targets[:198].reshape(6, 33),
        axis=1,
        reduction=reduction,
        ignore_index=ignore_index,
    )
    np.testing.assert_allclose(got, want, rtol=1e-13, atol=1e-13)
