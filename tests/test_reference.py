"""The reference itself: against values known to many digits, and against mpmath where present."""

import numpy as np
import pytest
import reference


def test_confident_row_keeps_every_digit_of_the_rest():
    x = np.array([[0.0, -40.0]])
    rest = np.exp(np.longdouble(-40))
    exact = -(rest - rest**2 / 2)
    assert abs(reference.log_softmax(x)[0, 0] / exact - 1) < 1e-18
    assert abs(reference.cross_entropy(x, [0])[0] / -exact - 1) < 1e-18


def test_equal_logits_are_uniform():
    x = np.full((1, 7), 5000.0)
    np.testing.assert_allclose(reference.softmax(x), np.longdouble(1) / 7, rtol=1e-18)
    np.testing.assert_allclose(reference.logsumexp(x), 5000 + np.log(np.longdouble(7)), rtol=1e-18)


def test_gradient_of_a_flat_row_keeps_its_digits():
    n = 100_000
    grad = reference.loss(np.zeros((1, n)), [n - 1], reduction="none").grad
    np.testing.assert_allclose(grad[0, :-1], np.longdouble(1) / n, rtol=1e-18)
    np.testing.assert_allclose(grad[0, -1], np.longdouble(1) / n - 1, rtol=1e-18)


@pytest.mark.parametrize("temperature", [0.1, 1.0, 1000.0])
def test_agrees_with_mpmath(temperature):
    mpmath = pytest.importorskip("mpmath", reason="mpmath is not installed")
    rng = np.random.default_rng(0)
    x = rng.normal(0, 20, 9) + 1e6
    with mpmath.workdps(60):
        t = mpmath.mpf(temperature)
        total = mpmath.fsum(mpmath.exp((mpmath.mpf(v) - mpmath.mpf(x[0])) / t) for v in x)
        for i, v in enumerate(x):
            log_p = (mpmath.mpf(v) - mpmath.mpf(x[0])) / t - mpmath.log(total)
            for got, exact in (
                (reference.log_softmax(x, temperature)[i], log_p),
                (reference.softmax(x, temperature)[i], mpmath.exp(log_p)),
            ):
                got = mpmath.mpf(float(got)) + mpmath.mpf(float(got - np.longdouble(float(got))))
                assert abs(got / exact - 1) < max(10, abs(log_p)) * 1e-18


@pytest.mark.parametrize(
    ("x", "softplus"),
    [(0.0, "0.693147180559945309417232"), (-30.0, "9.357622968839736779377697e-14")],
)
def test_softplus_of_known_values(x, softplus):
    assert abs(reference.softplus(x) / np.longdouble(softplus) - 1) < 1e-18
    assert reference.log_sigmoid(-x) == -reference.softplus(x)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_ulp_error_counts_units_in_the_last_place(dtype):
    info = np.finfo(dtype)
    exact = np.array([1.0, 1.5, 3.0, info.smallest_normal, 0.0, 1.0], dtype=np.longdouble)
    unit = [info.eps, info.eps, 2 * info.eps, info.smallest_subnormal, info.smallest_subnormal]
    np.testing.assert_array_equal(reference.ulp(exact[:5], dtype), unit)
    got = np.array([1.0, 1.5, 3.0, info.smallest_normal, 0.0, np.inf], dtype=dtype)
    np.testing.assert_array_equal(reference.ulp_error(got, exact), [0, 0, 0, 0, 0, np.inf])
    up = np.nextafter(np.nextafter(got[:5], dtype(np.inf)), dtype(np.inf))
    np.testing.assert_array_equal(reference.ulp_error(up, exact[:5]), [2, 2, 2, 2, 2])


def test_ulp_error_of_special_values():
    inf, nan = np.inf, np.nan
    got = np.float32([nan, inf, -inf, nan, 1.0, inf, inf, 0.0, 0.0])
    exact = np.array([nan, inf, -inf, 1.0, nan, -inf, 1e39, 1e-39, 1e-37], dtype=np.longdouble)
    error = reference.ulp_error(got, exact)
    np.testing.assert_array_equal(error[:8], [0, 0, 0, inf, inf, inf, 0, 0])
    assert error[8] > 1e6
