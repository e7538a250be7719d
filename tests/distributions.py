"""The logits that accuracy is measured on, of every temper."""

import numpy as np


def normal(scale, offset=0.0):
    def draw(rng, rows, classes):
        return rng.normal(0, scale, (rows, classes)) + offset

    return draw


def confident(gap):
    """One logit above all others: by `gap` and the logarithm of the number of classes."""

    def draw(rng, rows, classes):
        x = rng.normal(0, 1, (rows, classes))
        top = rng.integers(0, classes, rows)
        x[np.arange(rows), top] = 1 + gap + np.log(classes)
        return x

    return draw


def mostly_minus_infinity(rng, rows, classes):
    x = rng.normal(0, 3, (rows, classes))
    x[rng.random((rows, classes)) < 0.95] = -np.inf
    x[np.arange(rows), rng.integers(0, classes, rows)] = 1.0
    return x


def ties(rng, rows, classes):
    x = rng.normal(0, 3, (rows, classes))
    for row in x:
        row[rng.integers(0, classes, rng.integers(2, 5))] = row.max() + 0.25
    return x


def all_equal(rng, rows, classes):
    return np.repeat(rng.normal(0, 100, (rows, 1)), classes, axis=1)


def steps(size):
    """Few distinct logits: the errors of their exponentials do not average out in the sum."""

    def draw(rng, rows, classes):
        return np.round(rng.normal(0, 3, (rows, classes)) / size) * size

    return draw


def three_values(rng, rows, classes):
    """Each in a random share of the row."""
    values = rng.normal(0, 3, (rows, 3))
    shares = rng.dirichlet(np.ones(3), rows)
    return np.stack([rng.choice(v, classes, p=p) for v, p in zip(values, shares, strict=True)])


def proportional(scale):
    """Every difference enormous: one class has all the mass."""

    def draw(rng, rows, classes):
        return rng.normal(0, 1, (rows, classes)) * scale

    return draw


BOTH = {
    "N(0, 3)": normal(3),
    "N(0, 20)": normal(20),
    "N(0, 60)": normal(60),
    "steps of 1": steps(1.0),
    "steps of 1/8": steps(0.125),
    "three values": three_values,
    "N(0, 3) + 5000": normal(3, 5000.0),
    "N(0, 3) - 5000": normal(3, -5000.0),
    "N(0, 20) + 5000": normal(20, 5000.0),
    "confident": confident(12.0),
    "confident, rest 1e-10": confident(23.0),
    "confident, rest 1e-30": confident(69.0),
    "mostly -inf": mostly_minus_infinity,
    "ties": ties,
    "all equal": all_equal,
    "offset 1e6": normal(3, 1e6),
    "offset -1e7": normal(20, -1e7),
}
DRAWS = {
    "float32": BOTH | {"offset 1e30": normal(3, 1e30), "N(0, 1e30)": proportional(1e30)},
    "float64": BOTH
    | {
        "confident, rest 1e-200": confident(460.0),
        "offset 1e15": normal(20, 1e15),
        "offset -1e15": normal(20, -1e15),
        "N(0, 1e300)": proportional(1e300),
    },
    "float16": {name: draw for name, draw in BOTH.items() if not name.startswith("offset")},
    "bfloat16": BOTH | {"offset 1e30": normal(3, 1e30)},
}


def arguments(dtype):
    """Of functions of a single logit: numbers of all magnitudes."""
    rng = np.random.default_rng(3)
    bits = np.dtype(dtype).itemsize * 8
    info = np.finfo(dtype)
    random_bits = rng.integers(0, 2**bits, 60_000, dtype=f"uint{bits}", endpoint=False).view(dtype)
    bound = 800.0 if bits == 64 else 120.0
    return np.concatenate(
        [
            random_bits[np.isfinite(random_bits)],
            rng.uniform(-bound, bound, 40_000).astype(dtype),
            rng.uniform(-30, 30, 40_000).astype(dtype),
            rng.uniform(-1, 1, 20_000).astype(dtype),
            (np.exp(rng.uniform(-40, 8, 40_000)) * rng.choice([-1, 1], 40_000)).astype(dtype),
            # Around multiples of log(2)/2, where the reduction of the argument changes.
            (np.arange(-400, 401) * np.log(2) / 2).astype(dtype),
            np.array([0.0, -0.0, info.tiny, -info.tiny, info.smallest_subnormal], dtype),
            np.array([info.max, -info.max, np.inf, -np.inf], dtype),
        ]
    )
