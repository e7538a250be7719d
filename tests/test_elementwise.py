"""The elementwise functions: identities and the shapes of results."""

import numpy as np
import pytest
import reference
from operations import ELEMENTS

import fastlogits
from fastlogits import log_sigmoid, sigmoid, softplus

FUNCTIONS = [getattr(fastlogits, name) for name in ELEMENTS]
RANGES = {"sigmoid": (0, 1), "log_sigmoid": (-np.inf, 0), "softplus": (0, np.inf)}
pytestmark = pytest.mark.usefixtures("isa")


@pytest.fixture
def x(dtype):
    return np.random.default_rng(0).normal(0, 10, 3001).astype(dtype)


def test_log_sigmoid_is_softplus_reflected_to_the_bit(x):
    np.testing.assert_array_equal(log_sigmoid(x), -softplus(-x))


def test_known_values(dtype):
    zero = np.zeros(3, dtype)
    np.testing.assert_array_equal(sigmoid(zero), dtype.type(0.5))
    log2 = np.log(np.longdouble(2)).astype(dtype)
    np.testing.assert_array_equal(softplus(zero), log2)
    np.testing.assert_array_equal(log_sigmoid(zero), -log2)


def test_far_out_the_result_is_the_argument_or_the_limit(dtype):
    far = np.array([200.0, 1e4, 1e30], dtype)
    np.testing.assert_array_equal(softplus(far), far)
    np.testing.assert_array_equal(log_sigmoid(-far), -far)
    np.testing.assert_array_equal(sigmoid(far), 1)


def test_small_tails_keep_their_digits(dtype):
    x = np.array([20.0, 40.0, 80.0], dtype)
    for got, exact in (
        (softplus(-x), reference.softplus(-x)),
        (log_sigmoid(x), reference.log_sigmoid(x)),
        (sigmoid(-x), reference.sigmoid(-x)),
    ):
        assert np.all(got != 0)
        assert reference.ulp_error(got, exact).max() <= 2


@pytest.mark.parametrize("function", FUNCTIONS)
def test_results_are_in_range(function, x):
    y = function(x)
    low, high = RANGES[function.__name__]
    assert np.all((y >= low) & (y <= high))


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("length", [1, 2, 7, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 1000])
def test_every_length_and_nothing_beyond_it(function, length, dtype):
    rng = np.random.default_rng(length)
    x = rng.normal(0, 10, length).astype(dtype)
    room = np.full(length + 128, 7, dtype)
    out = room[64 : 64 + length]
    assert function(x, out=out) is out
    assert reference.ulp_error(out, getattr(reference, function.__name__)(x)).max() <= 2
    assert np.all(room[:64] == 7)
    assert np.all(room[64 + length :] == 7)


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("shape", [(), (1,), (2, 3), (2, 0, 3), (2, 1, 3, 4)])
def test_shape_and_dtype_are_kept(function, shape, dtype):
    x = np.random.default_rng(1).normal(size=shape).astype(dtype)
    y = function(x)
    assert np.shape(y) == shape
    assert y.dtype == dtype
    exact = getattr(reference, function.__name__)(x)
    assert np.all(reference.ulp_error(y, exact) <= 2)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_scalars_and_lists(function):
    one = function(1.5)
    assert np.shape(one) == ()
    assert one.dtype == np.float64
    np.testing.assert_array_equal(function([1.5, 1.5]), [one, one])
    assert function(2) == function(2.0)
    assert function(True) == function(1.0)
    assert function(np.float32(1.5)).dtype == np.float32


@pytest.mark.parametrize("function", FUNCTIONS)
def test_dtype_of_the_result(function, x):
    wide = function(x, dtype=np.float64)
    assert wide.dtype == np.float64
    np.testing.assert_array_equal(wide, function(x.astype(np.float64)))
    narrow = function(x.astype(np.float64), dtype=np.float32)
    assert narrow.dtype == np.float32
    exact = getattr(reference, function.__name__)(x)
    assert reference.ulp_error(narrow, exact).max() <= 0.51
