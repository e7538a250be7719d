"""Derive the polynomial coefficients of src/kernels/math.h.

Weighted least squares on Chebyshev nodes in 60-digit arithmetic, which comes
within a factor of two of the minimax polynomial here, each coefficient then
rounded to the working precision. Prints C hexadecimal constants and the largest error
that the *rounded* polynomial leaves, relative to the function computed.

Run: python tools/coefficients.py   (needs mpmath)
"""

import mpmath as mp
import numpy as np

mp.mp.dps = 60


def fit(f, weight, low, high, degree, known=()):
    """Coefficients of the weighted least-squares polynomial, behind the lowest that are known."""
    middle, half = (low + high) / 2, (high - low) / 2
    nodes = [middle + half * mp.cos(mp.pi * (i + mp.mpf(0.5)) / 200) for i in range(200)]
    powers = range(len(known), degree + 1)
    matrix = mp.matrix([[weight(x) * x**k for k in powers] for x in nodes])
    values = mp.matrix([weight(x) * (f(x) - mp.polyval(known[::-1], x)) for x in nodes])
    return list(mp.lu_solve(matrix.T * matrix, matrix.T * values))


def fit_stepwise(f, weight, low, high, degree, dtype):
    """The same, but each coefficient is rounded before the next are fitted, so that these make up
    for what that did. Worth it where many coefficients are of one size."""
    known = []
    while len(known) <= degree:
        c = fit(f, weight, low, high, degree, known)[0]
        known.append(mp.mpf(float(dtype(mp.nstr(c, 30)))))
    return known


def exp_tail(r):
    """(exp(r) - 1 - r) / r^2, the part of exp that is fitted."""
    return mp.hyp1f1(1, 3, r) / 2


def log_tail(z):
    """(2 atanh(s) - 2 s) / s^3 with z = s^2, the part of log1p that is fitted."""
    return mp.hyp2f1(1, 1.5, 2.5, z) * 2 / 3


def log1p_tail(e):
    """(log(1 + e) - e) / e^2, the part of log1p on [0, 1] that is fitted."""
    return -mp.hyp2f1(1, 2, 3, -e) / 2


def show(name, f, low, high, degree, dtype, weight, stepwise=False):
    if stepwise:
        fitted = fit_stepwise(f, weight, low, high, degree, dtype)
    else:
        fitted = fit(f, weight, low, high, degree)
    coefficients = [dtype(mp.nstr(c, 30)) for c in fitted]
    exact = [mp.mpf(float(c)) for c in coefficients[::-1]]
    grid = [low + (high - low) * mp.mpf(2 * i + 1) / 4000 for i in range(2000)]
    error = max(abs(weight(x) * (f(x) - mp.polyval(exact, x))) for x in grid)
    print(f"{name}, {dtype.__name__}, lowest power first: error 2^{mp.nstr(mp.log(error, 2), 4)}")
    for c in coefficients:
        print(f"    {float(c).hex()},")


def exp_table():
    """Eight float32 in the ratio 2^(1/8), the factor they share, and the largest error relative
    to 2^-24: the one of all first entries that leaves the others nearest to a float32."""
    first = np.arange(1, 2**0.125, 2.0**-23)
    exact = np.outer(first, 2.0 ** (np.arange(8) / 8))
    errors = 2**24 * (exact.astype(np.float32) - exact) / exact
    # The factor is free to be in the middle of the errors.
    best = np.argmin(np.ptp(errors, axis=1))
    middle = (errors[best].min() + errors[best].max()) / 2
    factor = first[best] * (1 + middle * 2.0**-24)
    return exact[best].astype(np.float32), factor, np.ptp(errors[best]) / 2


def main():
    table, factor, error = exp_table()
    print(f"exp table, factor {float(factor).hex()}: error {error:.3f} * 2^-24")
    for bits in table.view(np.uint32) - (np.arange(8, dtype=np.uint32) << 20):
        print(f"    {bits:#010x},")
    # ln2/16 and a little more.
    show("exp beside the table", exp_tail, mp.mpf("-0.0445"), mp.mpf("0.0445"), 2, np.float32,
         lambda r: r**2 / mp.exp(r))  # fmt: skip
    show("log1p on [0, 1]", log1p_tail, mp.mpf(0), mp.mpf(1), 8, np.float32,
         lambda e: e**2 / mp.log1p(e), stepwise=True)  # fmt: skip
    # ln2/2 and a little more, for where the rounded quotient is not the nearest.
    r_max = mp.mpf("0.3475")
    # 1 + f in [sqrt(1/2), sqrt(2)] gives s = f/(2 + f) in +-0.1716.
    z_max = ((mp.sqrt(2) - 1) / (mp.sqrt(2) + 1)) ** 2 * mp.mpf("1.001")
    show("exp", exp_tail, -r_max, r_max, 10, np.float64, lambda r: r**2 / mp.exp(r))
    show("log1p", log_tail, mp.mpf(0), z_max, 6, np.float64, lambda z: z / 2)
    # What a float32 row needs of its float64 finish.
    show("exp2 for float32", lambda r: 2**r, mp.mpf("-0.501"), mp.mpf("0.501"), 7, np.float64,
         lambda r: 2**-r)  # fmt: skip
    show("log1p for float32", log_tail, mp.mpf(0), z_max, 3, np.float64, lambda z: z / 2)
    for dtype in (np.float32, np.float64):
        high = dtype(mp.nstr(mp.ln(2), 30))
        low = dtype(mp.nstr(mp.ln(2) - mp.mpf(float(high)), 30))
        print(f"ln2, {dtype.__name__}: {float(high).hex()} + {float(low).hex()}")
        print(f"log2 e, {dtype.__name__}: {float(dtype(mp.nstr(1 / mp.ln(2), 30))).hex()}")


if __name__ == "__main__":
    main()
