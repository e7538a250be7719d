"""Derive the constants of src/kernels/real.h: the polynomials, the table of exp, and log 2.

Polynomials are weighted least squares on Chebyshev nodes in 60-digit arithmetic, which comes
within a factor of two of the minimax polynomial here, each coefficient then rounded to the
working precision.

Prints each constant under its name in the C source, and for an approximation the largest error that
the *rounded* constants leave, relative to the function computed.

Run: python tools/coefficients.py   (needs mpmath)
"""

from functools import partial
from typing import NamedTuple

import mpmath as mp
import numpy as np

mp.mp.dps = 60


class Derived(NamedTuple):
    """Constants of one name, numbers or bit patterns, and the error they leave, if any."""

    values: list
    error: object = None


def rounded(x, dtype):
    """An mpmath number to the nearest of `dtype`."""
    return dtype(mp.nstr(x, 30))


def exact(x):
    return mp.mpf(float(x))


def value(coefficients, x):
    """Of the polynomial with these coefficients, lowest power first."""
    return mp.fsum(c * x**k for k, c in enumerate(coefficients))


def fit(f, weight, low, high, degree, known=()):
    """Coefficients of the weighted least-squares polynomial, behind the lowest that are known."""
    middle, half = (low + high) / 2, (high - low) / 2
    nodes = [middle + half * mp.cos(mp.pi * (i + mp.mpf(0.5)) / 200) for i in range(200)]
    powers = range(len(known), degree + 1)
    matrix = mp.matrix([[weight(x) * x**k for k in powers] for x in nodes])
    values = mp.matrix([weight(x) * (f(x) - value(known, x)) for x in nodes])
    return list(mp.lu_solve(matrix.T * matrix, matrix.T * values))


def fit_stepwise(f, weight, low, high, degree, dtype):
    """The same, but each coefficient is rounded before the next are fitted, so that these make up
    for what that did. Worth it where many coefficients are of one size."""
    known = []
    while len(known) <= degree:
        c = fit(f, weight, low, high, degree, known)[0]
        known.append(exact(rounded(c, dtype)))
    return known


def polynomial(f, low, high, degree, dtype, weight, stepwise=False):
    """The rounded coefficients, lowest power first, and the largest error of that polynomial."""
    if stepwise:
        fitted = fit_stepwise(f, weight, low, high, degree, dtype)
    else:
        fitted = fit(f, weight, low, high, degree)
    coefficients = [rounded(c, dtype) for c in fitted]
    used = [exact(c) for c in coefficients]
    grid = [low + (high - low) * mp.mpf(2 * i + 1) / 4000 for i in range(2000)]
    error = max(abs(weight(x) * (f(x) - value(used, x))) for x in grid)
    return Derived(coefficients, error)


def exp_tail(r):
    """(exp(r) - 1 - r) / r^2, the part of exp that is fitted."""
    return mp.hyp1f1(1, 3, r) / 2


def log_tail(z):
    """(2 atanh(s) - 2 s) / s^3 with z = s^2, the part of log1p that is fitted."""
    return mp.hyp2f1(1, 1.5, 2.5, z) * 2 / 3


def log1p_tail(e):
    """(log(1 + e) - e) / e^2, the part of log1p on [0, 1] that is fitted."""
    return -mp.hyp2f1(1, 2, 3, -e) / 2


def exp_table():
    """Eight float32 in the ratio 2^(1/8), the factor they share, and the largest error: the one of
    all first entries that leaves the others nearest to a float32."""
    first = np.arange(1, 2**0.125, 2.0**-23)
    exact = np.outer(first, 2.0 ** (np.arange(8) / 8))
    errors = 2**24 * (exact.astype(np.float32) - exact) / exact
    # The factor is free to be in the middle of the errors.
    best = np.argmin(np.ptp(errors, axis=1))
    middle = (errors[best].min() + errors[best].max()) / 2
    factor = first[best] * (1 + middle * 2.0**-24)
    return exact[best].astype(np.float32), factor, np.ptp(errors[best]) / 2 * 2.0**-24


def derive_exp_table():
    table, factor, error = exp_table()
    yield "EXP_FACTOR", Derived([factor])
    bits = table.view(np.uint32) - (np.arange(8, dtype=np.uint32) << 20)
    yield "exp_table", Derived([int(entry) for entry in bits], error)
    shift = mp.log(2) / 8 - mp.log(exact(factor))
    yield "EXP_SHIFT", Derived([rounded(shift, np.float32)])


def derive_ln2(dtype, short_bits):
    """log 2 in two parts, twice: of the second time the first is cut to few bits."""
    ln2 = mp.ln(2)
    high = rounded(ln2, dtype)
    short = mp.floor(mp.ldexp(ln2, short_bits)) / mp.mpf(2) ** short_bits
    suffix = "_f32" if dtype == np.float32 else "_f64"
    yield "LOG2E" + suffix, Derived([rounded(1 / ln2, dtype)])
    yield "LN2_HI" + suffix, Derived([high])
    yield "LN2_LO" + suffix, Derived([rounded(ln2 - exact(high), dtype)])
    yield "LN2_SHORT_HI" + suffix, Derived([rounded(short, dtype)])
    yield "LN2_SHORT_LO" + suffix, Derived([rounded(ln2 - short, dtype)])


def derive():
    """{name in the C source: Derived}; names that mean another number in each element type end
    with the type."""
    single, double = np.float32, np.float64

    def over_exp(r):
        return r**2 / mp.exp(r)

    # ln2/16 and ln2/2 and a little more, for where the rounded quotient is not the nearest.
    short, long = mp.mpf("0.0445"), mp.mpf("0.3475")
    # 1 + f in [sqrt(1/2), sqrt(2)] gives s = f/(2 + f) in +-0.1716.
    z_max = ((mp.sqrt(2) - 1) / (mp.sqrt(2) + 1)) ** 2 * mp.mpf("1.001")
    # And in 2^+-0.587, which is 2^0.5 and what log_fraction knows of k, +-0.2008.
    wide_z_max = mp.tanh(mp.mpf("0.587") / 2 * mp.log(2)) ** 2
    log_fit = partial(polynomial, log_tail, mp.mpf(0), dtype=double, weight=lambda z: z / 2)
    exp_32 = polynomial(exp_tail, -short, short, 2, single, over_exp)
    half = mp.mpf("0.501")
    found = {
        "exp_coefficients_f64": polynomial(exp_tail, -long, long, 10, double, over_exp),
        "log_coefficients_f64": log_fit(z_max, degree=6),
        **{f"EXP_C{k}": Derived([c], exp_32.error) for k, c in enumerate(exp_32.values, 2)},
        "log1p_coefficients_f32": polynomial(
            log1p_tail, mp.mpf(0), mp.mpf(1), 8, single, lambda e: e**2 / mp.log1p(e), stepwise=True
        ),
        # What a float32 row needs of its float64 finish.
        "exp2_coefficients_f64": polynomial(
            lambda r: 2**-r, -half, half, 7, double, lambda r: 2**r
        ),
        "short_log_coefficients_f64": log_fit(wide_z_max, degree=4),
    }
    found |= derive_exp_table()
    return found | dict(derive_ln2(single, 16)) | dict(derive_ln2(double, 32))


def text(value):
    return f"{value:#010x}" if isinstance(value, int) else float(value).hex()


def main():
    for name, derived in derive().items():
        error = "" if derived.error is None else f": error 2^{mp.nstr(mp.log(derived.error, 2), 4)}"
        print(f"{name}{error}")
        for value in derived.values:
            print(f"    {text(value)}")


if __name__ == "__main__":
    main()
