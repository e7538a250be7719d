"""Choosing the instruction set, and its vocabulary, operation by operation."""

import os
from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest
from children import python
from functions import FUNCTIONS

import fastlogits
from fastlogits import _core, available_isas, get_isa, set_isa

# The best first, and what each needs of /proc/cpuinfo.
KNOWN = {
    "avx512": {"avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512vl"},
    "avx2": {"avx2", "fma", "f16c"},
    "portable": set(),
}


def test_available_are_known_best_first_and_end_with_the_portable():
    isas = available_isas()
    assert isinstance(isas, tuple)
    assert isas == tuple(name for name in KNOWN if name in isas)
    assert isas[-1] == "portable"


@pytest.mark.skipif(not os.path.exists("/proc/cpuinfo"), reason="no /proc/cpuinfo to compare with")
def test_available_are_what_the_kernel_reports():
    with open("/proc/cpuinfo") as file:
        lines = [line for line in file if line.startswith("flags")]
    if not lines:
        assert available_isas() == ("portable",)
        return
    flags = set(lines[0].split())
    assert available_isas() == tuple(name for name, needs in KNOWN.items() if needs <= flags)


def test_set_is_what_get_returns(isa):
    assert get_isa() == isa
    for name in available_isas():
        assert set_isa(name) is None
        assert get_isa() == name


@pytest.mark.parametrize("name", ["sse2", "AVX2", "", "avx2 ", "neon", "avx512\0"])
def test_unknown_name(name, isa):
    with pytest.raises(ValueError, match=r"\bname\b") as caught:
        set_isa(name)
    assert all(known in str(caught.value) for known in available_isas())
    assert get_isa() == isa


@pytest.mark.parametrize("name", [None, 2, b"avx2", ["avx2"]])
def test_name_of_a_wrong_type(name, isa):
    with pytest.raises(TypeError, match=r"\bname\b"):
        set_isa(name)
    assert get_isa() == isa


def test_known_name_that_this_machine_cannot_run(isa):
    for name in set(KNOWN) - set(available_isas()):
        with pytest.raises(ValueError, match=name):
            set_isa(name)
    assert get_isa() == isa


def test_best_is_the_default():
    run = python("import fastlogits; print(fastlogits.get_isa())")
    assert run.stdout.strip() == available_isas()[0], run.stderr


@pytest.mark.parametrize("name", available_isas())
def test_environment_chooses(name):
    code = "import fastlogits as f; print(f.get_isa(), *f.available_isas(), f.softmax([0., 0.])[0])"
    run = python(code, FASTLOGITS_ISA=name)
    assert run.stdout.split() == [name, *available_isas(), "0.5"], run.stderr


@pytest.mark.parametrize("name", ["sse2", "AVX2", "avx512,avx2"])
def test_unknown_name_in_the_environment_raises_at_import(name):
    run = python("import fastlogits", FASTLOGITS_ISA=name)
    assert run.returncode == 1
    assert "Traceback" in run.stderr
    last = run.stderr.strip().splitlines()[-1]
    assert "FASTLOGITS_ISA" in last
    assert name in last


def test_show_config_names_what_a_bug_report_needs(capsys, isa):
    assert fastlogits.show_config() is None
    shown = capsys.readouterr().out
    assert np.__version__ in shown
    assert isa in shown
    assert "openmp" in shown.lower()


# The vocabulary. For each operation what NumPy, or exact arithmetic, gives for it: the bits must be
# the same in every table, a NaN being as good as any other.


def exact_fma(a, b, c):
    """a·b + c rounded once, by exact fractions."""
    double_rounded = a * b + c
    result = np.array(double_rounded)
    finite = np.isfinite(a) & np.isfinite(b) & np.isfinite(c)
    for i in np.flatnonzero(finite):
        exact = Fraction(float(a[i])) * Fraction(float(b[i])) + Fraction(float(c[i]))
        if exact != 0:
            result[i] = rounded(exact, a.dtype)
    # An infinite term with finite others is the result, though their product may overflow.
    infinite = np.isinf(c) & np.isfinite(a) & np.isfinite(b)
    result[infinite] = c[infinite]
    return result


def rounded(exact, dtype):
    """A fraction to the nearest of `dtype`, ties to even."""
    info = np.finfo(dtype)
    size = abs(exact)
    exponent = size.numerator.bit_length() - size.denominator.bit_length()
    exponent -= size < Fraction(2) ** exponent
    step = Fraction(2) ** max(exponent - info.nmant, info.minexp - info.nmant)
    size = round(size / step) * step  # Python rounds fractions half to even.
    value = np.inf if size > Fraction(float(info.max)) else float(size)
    return dtype.type(np.copysign(value, -1 if exact < 0 else 1))


def everywhere(value, like):
    return np.full_like(like, value)


def part(a, b, c):
    """What src/kernels/probe.h takes for a length: it may be negative, or beyond a register."""
    return np.where(np.arange(len(a)) < np.count_nonzero(b > 0) - 2, a, c)


def column(a, b, c):
    """A column of rows that hold a, b, c and -a; which one, and how long they are, as above."""
    quad = 16 // a.itemsize
    count = np.count_nonzero(b > 0)
    length, place = 1 + count % quad, count // quad % quad
    return (a, b, c, -a)[place] if place < length else everywhere(0, a)


def join(a, b, c):
    if a.dtype != np.float32:
        return a  # As `eighth`.
    return (a.astype(np.float64) * b + c).astype(np.float32)


def through(half, a):
    return a.astype(half).astype(a.dtype) if a.dtype == np.float32 else a  # As `eighth`.


def shifted_to_exponent(a):
    unsigned = a.view(f"u{a.itemsize}")
    return (unsigned << unsigned.dtype.type(np.finfo(a.dtype).nmant)).view(a.dtype)


def eighth(a, b):
    if a.dtype != np.float32:
        return a  # The operation is of float32 alone; the probe gives back what it gets.
    i, table = a.view("u4"), b.view("u4")
    return (table[i % 8] + (i << np.uint32(20))).view(a.dtype)


def ilogb(a):
    size = np.abs(a)
    info = np.finfo(a.dtype)
    size = np.where((size > info.smallest_normal) & np.isfinite(size), size, a.dtype.type(1))
    return (np.frexp(size)[1] - 1).astype(a.dtype)


PROBE = {
    "load": lambda a, b, c: a,
    "stream": lambda a, b, c: a,
    "set1": lambda a, b, c: everywhere(a[0], a),
    "add": lambda a, b, c: a + b,
    "sub": lambda a, b, c: a - b,
    "mul": lambda a, b, c: a * b,
    "div": lambda a, b, c: a / b,
    "fma": exact_fma,
    "fnma": lambda a, b, c: exact_fma(-a, b, c),
    "max": lambda a, b, c: np.where(a > b, a, b),
    "min": lambda a, b, c: np.where(a < b, a, b),
    "abs": lambda a, b, c: np.abs(a),
    "eq": lambda a, b, c: (a == b).astype(a.dtype),
    "ne": lambda a, b, c: (a != b).astype(a.dtype),
    "gt": lambda a, b, c: (a > b).astype(a.dtype),
    "select": lambda a, b, c: np.where(a > b, b, c),
    "keep": lambda a, b, c: np.where(a > b, c, a.dtype.type(0)),
    "count": lambda a, b, c: (6 + (a > b)).astype(a.dtype),
    "lanes": lambda a, b, c: (a > b).astype(a.dtype),
    "pow2": lambda a, b, c: shifted_to_exponent(a),
    "eighth": lambda a, b, c: eighth(a, b),
    "ilogb": lambda a, b, c: ilogb(a),
    "hmax": lambda a, b, c: everywhere(np.fmax.reduce(a, initial=-np.inf) + a.dtype.type(0), a),
    "half": lambda a, b, c: a,
    "load_half": lambda a, b, c: a,
    "load_part": part,
    "store_part": part,
    "join": join,
    "load_rows": column,
    "store_rows": column,
    "f16": lambda a, b, c: through(np.float16, a),
    "bf16": lambda a, b, c: through(ml_dtypes.bfloat16, a),
}


def arguments(dtype):
    """Vectors for a, b, c: every pair of special values, then random ones of all magnitudes."""
    info = np.finfo(dtype)
    lanes = 32 if dtype == np.float32 else 16
    special = np.array(
        [
            *(0.0, 1.0, 1.5, 3.0, 1e-20, 1e20, info.eps, 1 + info.eps, 1 - info.epsneg),
            *(info.max, info.smallest_normal, info.smallest_subnormal),
            *(info.smallest_normal - info.smallest_subnormal, np.inf, np.nan),
        ],
        dtype,
    )
    special = np.concatenate([special, -special])
    a, b = (grid.ravel() for grid in np.meshgrid(special, special))
    rng = np.random.default_rng(0)
    c = rng.choice(special, a.size)
    width = dtype.itemsize * 8
    patterns = rng.integers(0, 2**width, (3, 1000), dtype=f"u{dtype.itemsize}").view(dtype)
    near = rng.normal(0, 3, (3, 1000)).astype(dtype)
    # Products that cancel with what is added, to the last bits.
    cancel = rng.normal(0, 3, (3, 1000)).astype(dtype)
    cancel[2] = -(cancel[0] * cancel[1])
    a, b, c = np.concatenate([np.stack([a, b, c]), patterns, near, cancel], axis=1)
    count = a.size - a.size % lanes
    # For the lengths that probes take from it: every number of positive ones in b.
    every = rng.normal(0, 3, (3, lanes + 1, lanes)).astype(dtype)
    every[1] = np.where(np.tri(lanes + 1, lanes, -1), abs(every[1]), -abs(every[1]))
    vectors = (v[:count].reshape(-1, lanes) for v in (a, b, c))
    return [np.concatenate(pair) for pair in zip(vectors, every, strict=True)]


def bits(a):
    a = np.array(a)
    if a.dtype.kind == "f":
        a[np.isnan(a)] = np.nan
    return a.tobytes()


def test_every_operation_of_the_vocabulary_has_a_reference():
    assert set(_core._probe_ops()) == set(PROBE) | set(FUNCTIONS)


@pytest.mark.parametrize("op", PROBE)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("isa_name", available_isas())
def test_operation_is_exact(isa_name, dtype, op):
    for a, b, c in zip(*arguments(np.dtype(dtype)), strict=True):
        with np.errstate(all="ignore"):
            want = PROBE[op](a, b, c)
        got = _core._probe(isa_name, op, a, b, c)
        assert got.dtype == want.dtype
        if bits(got) != bits(want):
            wrong = [i for i in range(len(a)) if bits(got[i]) != bits(want[i])]
            i = wrong[0]
            pytest.fail(f"{op}({a[i]!r}, {b[i]!r}, {c[i]!r}) = {got[i]!r}, not {want[i]!r}")


def test_reference_of_fma_rounds_once():
    a = np.array([1 + 2.0**-52, 1e308, 5e-324, 0.0, np.inf, 1e200])
    b = np.array([1 - 2.0**-53, 10.0, 0.5, -1.0, 0.0, 1e200])
    c = np.array([-1.0, -np.inf, 0.0, 0.0, 1.0, np.nan])
    with np.errstate(all="ignore"):
        got = exact_fma(a, b, c)
    exact = 2.0**-52 - 2.0**-53 - 2.0**-105
    np.testing.assert_array_equal(got, [exact, -np.inf, 0, 0, np.nan, np.nan])
    single = np.float32([1 + 2.0**-12]), np.float32([1 + 2.0**-12]), np.float32([2.0**-60])
    assert exact_fma(*single)[0] == np.float32(1 + 2.0**-11 + 2.0**-23)
