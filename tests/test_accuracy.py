"""The distance from the exact result, in units in the last place, on every instruction set."""

import functools

import numpy as np
import pytest
import reference
from distributions import DRAWS, arguments
from operations import ELEMENTS, NORMALISED

import fastlogits

# Sizes go together in groups; `per group` rows shrink as classes grow, so that the extended
# precision of the reference stays affordable.
SIZES = {
    "narrow": (range(2, 71), 64),
    "blocks": (
        sorted({p + d for p in (128, 256, 512, 1024, 2048, 4096, 8192, 16384) for d in (-1, 0, 1)}),
        3,
    ),
    "1000": ([1000], 100),
    "32000": ([32_000], 4),
    "128256": ([128_256], 2),
}


CASES = [
    pytest.param(dtype, name, sizes, id=f"{dtype}-{name}-{sizes}")
    for dtype in ("float32", "float64")
    for name in DRAWS[dtype]
    for sizes in SIZES
]


def need(dtype):
    if not reference.wide_enough(dtype):
        pytest.skip(f"np.longdouble is not wide enough here to judge {dtype}")


# pytest varies the topmost parameter fastest: with the instruction sets there, then the operations,
# a small cache is enough for each reference to be computed once.
EVERY_ISA = pytest.mark.parametrize("isa", fastlogits.available_isas(), indirect=True)


@functools.lru_cache(maxsize=2)
def cases(dtype, name, sizes, temperature=1.0):
    """For each size: logits, targets, and per operation the exact results and their units."""
    need(dtype)
    rng = np.random.default_rng(20)
    result = []
    for classes in SIZES[sizes][0]:
        x = DRAWS[dtype][name](rng, SIZES[sizes][1], classes).astype(dtype)
        # Half of the targets are the largest logit: the loss of a confident, right row is tiny.
        targets = np.where(rng.random(len(x)) < 0.5, x.argmax(-1), rng.integers(0, classes, len(x)))
        rows = reference.Rows(x, temperature)
        lse = rows.logsumexp()
        exact = {
            "softmax": rows.softmax(),
            "log_softmax": rows.log_softmax(),
            "logsumexp": lse,
            "cross_entropy": rows.cross_entropy(targets),
        }
        unit = {op: reference.ulp(value, dtype) for op, value in exact.items()}
        scale = np.maximum(np.maximum(np.abs(lse), np.abs(rows.largest)), 1)
        unit["logsumexp"] = reference.ulp(scale, dtype)
        result.append((x, targets, exact, unit))
    return result


OPERATIONS = {
    "softmax": (lambda x, targets: fastlogits.softmax(x), 2),
    "log_softmax": (lambda x, targets: fastlogits.log_softmax(x), 2),
    "logsumexp": (lambda x, targets: fastlogits.logsumexp(x), 1),
    "cross_entropy": (lambda x, targets: fastlogits.cross_entropy(x, targets, reduction="none"), 2),
}


def check(got, exact, unit, bound, x):
    __tracebackhide__ = True
    error = reference.ulp_error(got, exact, unit)
    if not np.all(error <= bound):
        at = np.unravel_index(np.argmax(error), error.shape)
        pytest.fail(
            f"{error[at]:.3f} ulp, more than {bound}, at {tuple(map(int, at))} of {x.shape}: "
            f"got {got[at]!r}, exact {exact[at]!r}, logit or row {x[at]!r}"
        )


@EVERY_ISA
@pytest.mark.parametrize("op", OPERATIONS)
@pytest.mark.parametrize(("dtype", "name", "sizes"), CASES)
def test_rows_are_right_to_the_last_places(dtype, name, sizes, op, isa):
    function, bound = OPERATIONS[op]
    for x, targets, exact, unit in cases(dtype, name, sizes):
        got = function(x, targets)
        assert got.dtype == dtype
        check(got, exact[op], unit[op], bound, x)


@EVERY_ISA
@pytest.mark.parametrize("op", NORMALISED)
@pytest.mark.parametrize("sizes", ["narrow", "1000", "32000"])
@pytest.mark.parametrize(
    "name", ["N(0, 3)", "N(0, 20)", "N(0, 3) + 5000", "confident", "mostly -inf", "offset 1e6"]
)
@pytest.mark.parametrize("temperature", [0.1, 0.7, 3, 1000])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_temperature_costs_no_precision(dtype, temperature, name, sizes, op, isa):
    function = getattr(fastlogits, op)
    bound = 2.5 if op == "log_softmax" else 2
    for x, _, exact, unit in cases(dtype, name, sizes, temperature):
        check(function(x, temperature=temperature), exact[op], unit[op], bound, x)


# The worst float32 rows known. A lane adds four exponentials in float32 before it is folded into
# float64; in runs of 32 equal logits the errors of all of them, and of the additions, are the same
# in every lane.
RUNS = [float.fromhex("-0x1.6b6a76p+0")] * 32 + [float.fromhex("-0x1.73dd1ep+0")] * 96
PROBES = """
-0x1.d3384cp-1 -0x1.baadacp+1 -0x1.4d7916p-1 -0x1.88d000p-1 -0x1.355a7ap+0 -0x1.ef892cp+1
-0x1.f80a00p+1 -0x1.616900p+0 -0x1.4be4a8p+0 -0x1.4d686ap+1 -0x1.0222bcp+2 -0x1.721b5cp+1
-0x1.8408d0p-3
"""
ONE_ABOVE = [float.fromhex("-0x1.32814cp+0")] + [float.fromhex("-0x1.6d5df8p+1")] * 95


def test_errors_that_all_add_up_stay_bounded(isa):
    """Softmax: 1.2 of the exponential, 1.2 of those in the sum, 2 of its additions, and 0.5."""
    need("float32")
    x = np.array([RUNS + [float.fromhex(probe) for probe in PROBES.split()]], np.float32)
    exact = reference.Rows(x).softmax()
    check(fastlogits.softmax(x), exact, reference.ulp(exact, "float32"), 3.5, x)
    x = np.array([ONE_ABOVE], np.float32)
    exact = reference.Rows(x).logsumexp()
    check(fastlogits.logsumexp(x), exact, reference.ulp(exact, "float32"), 1.5, x)


@functools.cache
def elementwise(dtype):
    """Arguments of all magnitudes, and the exact results per function with their units."""
    need(dtype)
    x = arguments(dtype)
    exact = {name: getattr(reference, name)(x) for name in ELEMENTS}
    return x, {name: (value, reference.ulp(value, dtype)) for name, value in exact.items()}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("op", ELEMENTS)
def test_elementwise_is_right_to_the_last_places(dtype, op, isa):
    x, exact = elementwise(dtype)
    got = getattr(fastlogits, op)(x)
    assert got.dtype == dtype
    check(got, *exact[op], 2, x)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("classes", [2, 10, 1000, 128_256])
def test_probabilities_of_a_row_sum_to_one(dtype, classes, isa):
    x = np.random.default_rng(4).normal(0, 3, (3, classes)).astype(dtype)
    total = fastlogits.softmax(x).sum(axis=-1, dtype=np.longdouble)
    # Each probability is off by at most 2 ulp, an ulp being at most eps of the value.
    assert np.all(np.abs(total - 1) <= 2 * np.finfo(dtype).eps)
