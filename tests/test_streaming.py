"""Large results, which are written past the caches, have the bits of small ones."""

import numpy as np
import pytest

import fastlogits

# Rows of one block and of several; the last of them take more than half of the scratch memory. All
# are of 16 MiB at least, and are compared with pieces of at most a MiB.
SHAPES = {
    "float32": [(6600, 640), (4300, 1000), (900, 5003), (33, 128_256), (12, 360_000)],
    "float64": [(3300, 640), (500, 4301), (13, 180_000)],
}
CASES = [(dtype, shape) for dtype, shapes in SHAPES.items() for shape in shapes]


def logits_with_special_rows(dtype, shape):
    rng = np.random.default_rng(shape[1])
    x = rng.normal(0, 3, shape).astype(dtype)
    n_rows, n_classes = shape
    x[1, 3] = np.nan
    x[2, -1] = np.inf
    x[3] = -np.inf
    x[4, : n_classes // 2] = -np.inf
    x[5] *= 3e4
    x[6, n_classes // 3 :] -= 90
    x[7, 5] = 60
    x[n_rows - 1, 0] = np.nan
    return x


def in_pieces(function, n_rows, n_classes):
    """The results of a function of a slice of the rows, of one slice after another."""
    step = max(1, (1 << 17) // n_classes)
    pieces = [function(slice(i, i + step)) for i in range(0, n_rows, step)]
    if isinstance(pieces[0], tuple):
        return [np.concatenate(each) for each in zip(*pieces, strict=True)]
    return np.concatenate(pieces)


def assert_same_bits(a, b):
    assert a.dtype == b.dtype
    np.testing.assert_array_equal(a.view(f"u{a.itemsize}"), b.view(f"u{b.itemsize}"))


def assert_same_in_pieces(function, shape):
    for whole, pieces in zip(function(slice(None)), in_pieces(function, *shape), strict=True):
        assert_same_bits(whole, pieces)


@pytest.mark.parametrize("offset", [0, 1, 9])
@pytest.mark.parametrize("function", [fastlogits.softmax, fastlogits.log_softmax])
@pytest.mark.parametrize(("dtype", "shape"), CASES)
def test_probabilities_are_those_of_small_arrays(isa, function, dtype, shape, offset):
    x = logits_with_special_rows(dtype, shape)
    memory = np.full(x.size + 32, 7, dtype)
    out = memory[offset : offset + x.size].reshape(shape)
    function(x, out=out, temperature=1.5 if offset else 1.0)
    expected = in_pieces(lambda i: function(x[i], temperature=1.5 if offset else 1.0), *shape)
    assert_same_bits(out, expected)
    assert np.all(memory[:offset] == 7)
    assert np.all(memory[offset + x.size :] == 7)


@pytest.mark.parametrize("function", [fastlogits.softmax, fastlogits.log_softmax])
def test_gaps_between_rows_are_left_alone(isa, function):
    shape = (1500, 3000)
    x = np.full((1500, 3101), np.nan, np.float32)[:, 50:3050]
    x[:] = logits_with_special_rows("float32", shape)
    memory = np.full((1500, 3103), 7, np.float32)
    function(x, out=memory[:, 3:3003])
    assert_same_bits(memory[:, 3:3003].copy(), in_pieces(lambda i: function(x[i]), *shape))
    assert np.all(memory[:, :3] == 7)
    assert np.all(memory[:, 3003:] == 7)


@pytest.mark.parametrize("options", [{}, {"label_smoothing": 0.1}, {"z_loss": 0.01}], ids=str)
@pytest.mark.parametrize(("dtype", "shape"), CASES)
def test_gradients_are_those_of_small_arrays(isa, dtype, shape, options):
    x = logits_with_special_rows(dtype, shape)
    labels = np.arange(shape[0]) * 7919 % shape[1]
    labels[::5] = -100

    def value_and_grad(i):
        return fastlogits.cross_entropy_value_and_grad(x[i], labels[i], reduction="none", **options)

    assert_same_in_pieces(value_and_grad, shape)


def test_gradients_of_soft_targets_are_those_of_small_arrays(isa):
    shape = (1500, 3000)
    x = logits_with_special_rows("float32", shape)
    soft = fastlogits.softmax(np.roll(np.nan_to_num(x, posinf=1, neginf=-1), 1, axis=1))

    def value_and_grad(i):
        return fastlogits.cross_entropy_value_and_grad(x[i], soft[i], reduction="none")

    assert_same_in_pieces(value_and_grad, shape)


def test_gradients_and_hessians_are_those_of_small_arrays(isa):
    shape = (1500, 3000)
    x = logits_with_special_rows("float32", shape)
    labels = np.arange(shape[0])

    def grad_hess(i):
        return fastlogits.softmax_grad_hess(x[i], labels[i])

    assert_same_in_pieces(grad_hess, shape)
