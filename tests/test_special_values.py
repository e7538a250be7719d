"""NaN, infinities, empty axes, signed zeros, subnormals and the largest finite values."""

import numpy as np
import pytest
import reference
from operations import ELEMENTS

import fastlogits
from fastlogits import cross_entropy, log_softmax, logsumexp, softmax

INF, NAN = np.inf, np.nan
# Every layout of work inside the kernels: narrow, around a lane count, blocks, several blocks.
SIZES = [2, 3, 7, 8, 16, 31, 32, 33, 63, 64, 65, 70, 256, 1000, 4097, 20_000]

pytestmark = pytest.mark.usefixtures("isa")


def losses(x, targets):
    return cross_entropy(x, targets, reduction="none")


def batch(dtype, classes, rows=37):
    return np.random.default_rng(classes).normal(0, 3, (rows, classes)).astype(dtype)


@pytest.mark.parametrize("classes", SIZES)
@pytest.mark.parametrize(
    ("special", "lse", "p", "loss"),
    [
        pytest.param([NAN], NAN, NAN, NAN, id="nan"),
        pytest.param([INF], INF, NAN, NAN, id="inf"),
        pytest.param([INF, INF], INF, NAN, NAN, id="two inf"),
        pytest.param([INF, -INF], INF, NAN, NAN, id="inf and -inf"),
        pytest.param([INF, NAN], NAN, NAN, NAN, id="inf and nan"),
        pytest.param([NAN, INF], NAN, NAN, NAN, id="nan and inf"),
        pytest.param([-INF, NAN], NAN, NAN, NAN, id="-inf and nan"),
        pytest.param([NAN, -INF], NAN, NAN, NAN, id="nan and -inf"),
        pytest.param([NAN, NAN], NAN, NAN, NAN, id="two nan"),
    ],
)
def test_special_value_spoils_its_row_and_no_other(dtype, classes, special, lse, p, loss):
    clean = batch(dtype, classes)
    targets = np.arange(len(clean)) % classes
    x = clean.copy()
    # A different place in each spoiled row, so that every lane is met.
    spoiled = np.arange(0, len(x), 2)
    places = np.linspace(0, classes - len(special), len(spoiled)).astype(int)
    for row, place in zip(spoiled, places, strict=True):
        x[row, place : place + len(special)] = special
    kept = np.arange(1, len(x), 2)
    for function, expected in (
        (logsumexp, lse),
        (softmax, p),
        (log_softmax, p),
        (lambda a: losses(a, targets), loss),
    ):
        got, before = function(x), function(clean)
        np.testing.assert_array_equal(got[spoiled], np.full_like(got[spoiled], expected))
        np.testing.assert_array_equal(got[kept], before[kept])
        assert np.isfinite(got[kept]).all()


@pytest.mark.parametrize("place", [0, 5000, 19_999])
def test_infinite_logit_of_a_row_of_huge_ones(dtype, place):
    x = batch(dtype, 20_000, rows=3) * np.asarray(1e6, dtype)
    x[1, place] = INF
    targets = np.arange(3)
    got = np.stack([logsumexp(x), softmax(x).max(1), log_softmax(x).max(1), losses(x, targets)])
    np.testing.assert_array_equal(got[:, 1], [INF, NAN, NAN, NAN])
    assert np.isfinite(got[:, ::2]).all()
    grad = fastlogits.cross_entropy_value_and_grad(x, targets, reduction="sum")[1]
    assert np.isnan(grad[1]).all()
    assert np.isfinite(grad[::2]).all()


@pytest.mark.parametrize("classes", [2, 3, 8, 16, 31, 32, 33, 64, 70, 300])
def test_every_place_of_a_nan_is_seen(dtype, classes):
    x = batch(dtype, classes, classes)
    np.fill_diagonal(x, np.nan)
    assert np.isnan(softmax(x)).all()
    assert np.isnan(log_softmax(x)).all()
    assert np.isnan(logsumexp(x)).all()


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_sign_and_payload_of_a_nan_do_not_matter(dtype, sign):
    x = batch(dtype, 40)
    x[3, 7] = np.copysign(np.nan, sign)
    assert np.isnan(softmax(x)[3]).all()
    assert np.isnan(logsumexp(x)).sum() == 1


@pytest.mark.parametrize("classes", [1, *SIZES])
def test_row_of_minus_infinity(dtype, classes):
    x = batch(dtype, classes)
    x[5] = -np.inf
    targets = np.zeros(len(x), int)
    assert logsumexp(x)[5] == -np.inf
    assert np.isnan(softmax(x)[5]).all()
    assert np.isnan(log_softmax(x)[5]).all()
    assert np.isnan(losses(x, targets)[5])
    assert np.isfinite(np.delete(logsumexp(x), 5)).all()
    assert np.isfinite(np.delete(softmax(x), 5, axis=0)).all()


@pytest.mark.parametrize("classes", SIZES)
def test_minus_infinity_has_no_probability_and_changes_nothing(dtype, classes):
    x = batch(dtype, classes)
    x[:, -1] = -np.inf
    p, log_p = softmax(x), log_softmax(x)
    np.testing.assert_array_equal(p[:, -1], 0)
    np.testing.assert_array_equal(log_p[:, -1], -np.inf)
    np.testing.assert_array_equal(losses(x, np.full(len(x), classes - 1)), np.inf)
    assert np.isfinite(log_p[:, :-1]).all()
    assert reference.ulp_error(p, reference.softmax(x)).max() <= 2
    assert reference.ulp_error(log_p, reference.log_softmax(x)).max() <= 2


def test_single_class_is_certain(dtype):
    x = np.array([[3.5], [-2000.0], [0.0], [-0.0], [np.finfo(dtype).max]], dtype)
    np.testing.assert_array_equal(softmax(x), 1)
    np.testing.assert_array_equal(log_softmax(x), 0)
    np.testing.assert_array_equal(logsumexp(x), x[:, 0])
    loss = losses(x, np.zeros(5, int))
    np.testing.assert_array_equal(loss, 0)
    assert not np.signbit(loss).any()


def test_single_class_of_special_values(dtype):
    x = np.array([[np.nan], [np.inf], [-np.inf]], dtype)
    assert np.isnan(softmax(x)).all()
    assert np.isnan(log_softmax(x)).all()
    np.testing.assert_array_equal(logsumexp(x), [np.nan, np.inf, -np.inf])


@pytest.mark.parametrize("shape", [(0,), (3, 0), (2, 3, 0), (0, 0)])
def test_empty_class_axis(dtype, shape):
    x = np.empty(shape, dtype)
    lse = logsumexp(x)
    assert lse.dtype == dtype
    np.testing.assert_array_equal(lse, np.full(shape[:-1], -np.inf))
    for function in (softmax, log_softmax):
        assert function(x).shape == shape
        assert function(x).dtype == dtype
    for reduction in ("mean", "sum", "none"):
        with pytest.raises(ValueError, match=r"\blogits\b"):
            cross_entropy(x, np.zeros(shape[:-1], int), reduction=reduction)


@pytest.mark.parametrize("shape", [(0, 5), (0, 1), (3, 0, 5)])
def test_no_rows(dtype, shape):
    x = np.empty(shape, dtype)
    targets = np.empty(shape[:-1], int)
    assert softmax(x).shape == log_softmax(x).shape == shape
    assert logsumexp(x).shape == shape[:-1]
    none = losses(x, targets)
    assert none.shape == shape[:-1]
    assert none.dtype == dtype
    assert cross_entropy(x, targets, reduction="sum") == 0
    assert np.isnan(cross_entropy(x, targets, reduction="mean"))


@pytest.mark.parametrize("op", ELEMENTS)
@pytest.mark.parametrize("shape", [(0,), (2, 0, 3)])
def test_elementwise_of_nothing(dtype, op, shape):
    got = getattr(fastlogits, op)(np.empty(shape, dtype))
    assert got.shape == shape
    assert got.dtype == dtype


@pytest.mark.parametrize("classes", SIZES)
def test_signed_zeros_are_equal(dtype, classes):
    plus = np.zeros((4, classes), dtype)
    mixed = np.where(np.arange(4 * classes).reshape(4, classes) % 2, plus, -plus)
    for function in (softmax, log_softmax, logsumexp):
        assert function(mixed).tobytes() == function(plus).tobytes()


@pytest.mark.parametrize("classes", SIZES)
def test_subnormal_logits_count_as_zero(dtype, classes):
    info = np.finfo(dtype)
    signs = np.where(np.arange(classes) % 3, 1, -1)
    x = (signs * info.smallest_subnormal * 1000)[None].astype(dtype)
    assert np.all(x != 0)
    for function in (softmax, log_softmax, logsumexp):
        assert function(x).tobytes() == function(np.zeros_like(x)).tobytes()


@pytest.mark.parametrize("classes", SIZES)
def test_largest_finite_values(dtype, classes):
    high = np.finfo(dtype).max
    x = np.full((3, classes), -high)
    x[0, classes // 2] = high  # The difference is no longer finite: one class has all.
    x[1] = high
    p, log_p, lse = softmax(x), log_softmax(x), logsumexp(x)
    expected = np.zeros(classes)
    expected[classes // 2] = 1
    np.testing.assert_array_equal(p[0], expected)
    np.testing.assert_array_equal(log_p[0], np.where(expected, 0, -np.inf))
    np.testing.assert_array_equal(lse, [high, high, -high])
    assert reference.ulp_error(p[1:], reference.softmax(x[1:])).max() <= 2
    assert reference.ulp_error(log_p[1:], reference.log_softmax(x[1:])).max() <= 2
    np.testing.assert_array_equal(losses(x[:1], [classes // 2]), 0)
    np.testing.assert_array_equal(losses(x[:1], [0 if classes // 2 else 1]), np.inf)


@pytest.mark.parametrize("temperature", [5e-324, 1e-300, 1e-30])
def test_tiny_temperature_leaves_the_largest(dtype, temperature):
    x = np.array([[1.0, 3.0, 2.0], [-7.0, -5.0, -5.0], [0.0, 0.0, -1.0]], dtype)
    p = softmax(x, temperature=temperature)
    np.testing.assert_array_equal(p, [[0, 1, 0], [0, 0.5, 0.5], [0.5, 0.5, 0]])
    log_p = log_softmax(x, temperature=temperature)
    exact = reference.log_softmax(x, temperature)
    assert reference.ulp_error(log_p, exact).max() <= 2.5


@pytest.mark.parametrize("rows", [1, 20])
@pytest.mark.parametrize("size", [1, 10, 100, 1e4])
def test_temperature_times_the_largest_number_is_about_one(dtype, size, rows):
    """1 / temperature is in the range, but what the exponents are computed with is not."""
    temperature = 3e-39 if dtype == "float32" else 6e-309
    x = np.tile(np.array([1, 0.9, 0.6]) * size * temperature, (rows, 1)).astype(dtype)
    p, log_p = (f(x, temperature=temperature) for f in (softmax, log_softmax))
    assert reference.ulp_error(p, reference.softmax(x, temperature)).max() <= 2
    assert reference.ulp_error(log_p, reference.log_softmax(x, temperature)).max() <= 2.5


@pytest.mark.parametrize("temperature", [1e30, 1e300, np.finfo(np.float64).max])
def test_huge_temperature_makes_it_uniform(dtype, temperature):
    x = np.array([[1.0, 3.0, 2.0, -5000.0]], dtype)
    np.testing.assert_array_equal(softmax(x, temperature=temperature), 0.25)
    x[0, 1] = -np.inf
    p = softmax(x, temperature=temperature)
    assert p[0, 1] == 0
    assert reference.ulp_error(p, reference.softmax(x, temperature)).max() <= 2


@pytest.mark.parametrize("temperature", [0.3, 4.0])
def test_special_values_with_temperature(dtype, temperature):
    x = np.array([[1, NAN, 2], [1, INF, 2], [-INF] * 3, [1, -INF, 1]], dtype)
    log_half = np.log(np.longdouble(0.5))
    for function, last in ((softmax, [0.5, 0, 0.5]), (log_softmax, [log_half, -INF, log_half])):
        got = function(x, temperature=temperature)
        assert np.isnan(got[:3]).all()
        assert reference.ulp_error(got[3], last).max() <= 2


@pytest.mark.parametrize("op", ELEMENTS)
def test_elementwise_limits(dtype, op):
    high, log2 = np.finfo(dtype).max, np.log(2.0).astype(dtype)
    limits = {
        "sigmoid": [0, 0, 1, 1, NAN, 0.5, 0.5],
        "softplus": [0, 0, high, INF, NAN, log2, log2],
        "log_sigmoid": [-INF, -high, 0, 0, NAN, -log2, -log2],
    }
    x = np.array([-INF, -high, high, INF, NAN, 0.0, -0.0], dtype)
    np.testing.assert_array_equal(getattr(fastlogits, op)(x), np.array(limits[op], dtype))


@pytest.mark.parametrize("op", ELEMENTS)
@pytest.mark.parametrize("place", [0, 5, 31, 32, 69])
def test_elementwise_nan_stays_where_it_is(dtype, op, place):
    x = batch(dtype, 70, 1)[0]
    x[place] = np.nan
    got = getattr(fastlogits, op)(x)
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(got)), [place])


def test_ignored_row_of_nan_does_not_count(dtype):
    x = batch(dtype, 10, 4)
    expected = cross_entropy(x[[0, 1, 3]], [1, 2, 3])
    x[2] = np.nan
    targets = [1, 2, -100, 3]
    assert cross_entropy(x, targets) == expected
    assert losses(x, targets)[2] == 0
    assert np.isnan(cross_entropy(x, [1, 2, 0, 3]))


def test_no_floating_point_state_is_changed_and_no_warning_given(dtype):
    x = batch(dtype, 50)
    x[0, 0], x[1, 0], x[2] = np.nan, np.inf, -np.inf
    x[3, 0] = np.finfo(dtype).max
    tiny = np.array([np.finfo(dtype).smallest_subnormal], dtype)
    with np.errstate(all="raise"):
        softmax(x)
        log_softmax(x, temperature=1e-3)
        logsumexp(x)
        fastlogits.softplus(x)
        assert (tiny * 3 / 3 == tiny).all(), "subnormals are flushed after the call"


@pytest.mark.parametrize("temperature", [2.97e-8, 1e-14, 1e-10 / 3, 0.1, 3.0, 1e10])
def test_minus_inf_has_no_probability_at_any_temperature(dtype, temperature):
    x = np.array([-INF, 0, 1], dtype)
    assert log_softmax(x, temperature=temperature)[0] == -INF
    assert softmax(x, temperature=temperature)[0] == 0


def test_quotient_beyond_the_largest_number_is_minus_inf(dtype):
    top = np.finfo(dtype).max
    x = np.array([top, -top, 1, top], dtype)
    half = -dtype.type(np.log(2))
    np.testing.assert_array_equal(log_softmax(x, temperature=1e-30), [half, -INF, -INF, half])


def test_difference_beyond_the_largest_number_is_divided_first(dtype):
    top = np.finfo(dtype).max
    x = np.array([top, -top, 0], dtype) / 2 * dtype.type(1.9)
    temperature = float(top) / 4
    exact = reference.log_softmax(x, temperature)
    assert reference.ulp_error(log_softmax(x, temperature=temperature), exact).max() <= 4


def test_pieces_of_a_row_that_are_tiny_beside_the_rest_still_count():
    """Their largest logit alone would underflow; with all others of the piece it does not."""
    x = np.full(4096, -INF)
    x[0], x[2048:] = 0.0, -1023 * np.log(2)
    rest = reference.log_softmax(x[np.newaxis])[0, 0]
    assert rest < 0
    assert reference.ulp_error(log_softmax(x)[0], rest) <= 2
    assert reference.ulp_error(losses(x[np.newaxis], [0])[0], -rest) <= 2


def test_adjacent_logits_have_each_its_own_probability():
    x = np.array([1.3195933, np.nextafter(np.float32(1.3195933), np.float32(0)), -8], np.float32)
    exact = reference.softmax(x[np.newaxis])[0]
    assert reference.ulp_error(softmax(x), exact).max() <= 2


@pytest.mark.parametrize("op", [softmax, log_softmax])
def test_rows_without_classes_are_not_visited(op, dtype):
    assert op(np.empty((2**40, 0), dtype)).shape == (2**40, 0)
    assert op(np.empty((0, 2**40), dtype), axis=0).shape == (0, 2**40)
