"""Every array a user has: any dtype, byte order, layout, owner and class, read where it lies."""

import functools
import itertools
import math
import re
import tempfile
import tracemalloc
import weakref
from pathlib import Path
from typing import NamedTuple

import ml_dtypes
import numpy as np
import pytest
import reference
from checks import frozen, refused
from hypothesis import given, settings
from hypothesis import strategies as st
from operations import ELEMENTS, NORMALISED, REDUCED, SAME_SHAPE

import fastlogits as fl

BF16 = np.dtype(ml_dtypes.bfloat16)
HALVES = [np.dtype("f2"), BF16]
FLOATS = [*HALVES, np.dtype("f4"), np.dtype("f8")]
WHOLE = [np.dtype(code) for code in ("?", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8")]
DTYPES = [*FLOATS, *WHOLE]
MEGABYTE = 2**20
X = np.arange(12.0).reshape(3, 4)

halves = pytest.mark.parametrize("half", HALVES, ids=str)


# ---------------------------------------------------------------------------------------
# What is expected
# ---------------------------------------------------------------------------------------


def computed(dtype):
    """The dtype that arrays of `dtype` are computed in."""
    return np.dtype("f8") if dtype in WHOLE else np.promote_types(dtype, "f4")


def native(dtype):
    return np.dtype(dtype).newbyteorder("=")


def widened(x, dtype="f8"):
    """A contiguous array of `dtype` with the numbers of `x`."""
    with np.errstate(all="ignore"):
        return np.array(x, dtype, order="C")


def same(got, want, *where):
    """The same dtype, shape and bits, those of a NaN excepted."""
    got, want = np.asarray(got), np.asarray(want)
    assert (got.dtype, got.shape) == (want.dtype, want.shape), where
    if got.tobytes() != want.tobytes():
        with np.errstate(invalid="ignore"):  # as bfloat16 says of NaN
            wrong = got != want
            if want.dtype in FLOATS:
                wrong |= np.signbit(got) != np.signbit(want)
                wrong &= ~(np.isnan(got) & np.isnan(want))
        assert not wrong.any(), (where, got[wrong][:5], want[wrong][:5])


def ulps(got, exact, size=None):
    """Errors in the spacing of the result's dtype at `size`, or at the exact value."""
    info = ml_dtypes.finfo(got.dtype)
    size = np.abs(exact if size is None else size)
    exponent = np.maximum(np.frexp(size)[1] - 1, info.minexp) - info.nmant
    return np.abs(got.astype("f8") - exact) / np.ldexp(reference.WIDE(1), exponent)


def error_of_half(got, exact):
    """The largest error of those that are normal numbers of a half precision."""
    known = is_normal(exact, got.dtype)
    assert known.sum() > 20_000
    return np.max(ulps(got[known], exact[known]))


def is_normal(exact, dtype):
    info = ml_dtypes.finfo(dtype)
    return (np.abs(exact) >= float(info.smallest_normal)) & (np.abs(exact) <= float(info.max))


class Targets(NamedTuple):
    labels: np.ndarray
    soft: np.ndarray


@functools.lru_cache(maxsize=64)
def targets_for(shape, axis):
    along = isinstance(axis, int) and len(shape) > 0
    rows = tuple(np.delete(shape, axis).tolist()) if along else ()
    labels = np.asarray(
        7 * np.arange(math.prod(rows)).reshape(rows) % (shape[axis] if along else 1)
    )
    soft = np.asarray(np.random.default_rng(0).random(shape, "f4"))
    return Targets(frozen(labels), frozen(soft))


def of_elements(name, x, axis, y):
    return getattr(fl, name)(x)


# What to call with an array, an axis and targets; and before it the dtype of each result: "x" for
# that of the array or float64, "c" for the one it is computed in, "s" for that of the array, "-"
# for one that does not depend on it.
OPERATIONS = {
    "softmax": ("x", lambda x, axis, y: fl.softmax(x, axis)),
    "softmax, temperature": ("x", lambda x, axis, y: fl.softmax(x, axis, temperature=0.3)),
    "log_softmax": ("x", lambda x, axis, y: fl.log_softmax(x, axis)),
    "logsumexp": ("c", lambda x, axis, y: fl.logsumexp(x, axis)),
    **{name: ("x", functools.partial(of_elements, name)) for name in ELEMENTS},
    "cross_entropy": (
        "c",
        lambda x, axis, y: fl.cross_entropy(x, y.labels, axis=axis, reduction="none"),
    ),
    "cross_entropy, soft": (
        "c",
        lambda x, axis, y: fl.cross_entropy(x, y.soft, axis=axis, reduction="none"),
    ),
    "cross_entropy_value_and_grad": (
        "cx",
        lambda x, axis, y: fl.cross_entropy_value_and_grad(x, y.labels, axis=axis),
    ),
    "cross_entropy_value_and_grad, soft": (
        "cx",
        lambda x, axis, y: fl.cross_entropy_value_and_grad(x, y.soft, axis=axis, z_loss=0.1),
    ),
    "binary_cross_entropy_with_logits": (
        "c",
        lambda x, axis, y: fl.binary_cross_entropy_with_logits(x, y.soft, reduction="none"),
    ),
    "binary_cross_entropy_with_logits_value_and_grad": (
        "cx",
        lambda x, axis, y: fl.binary_cross_entropy_with_logits_value_and_grad(x, y.soft),
    ),
    "softmax_grad_hess": ("xx", lambda x, axis, y: fl.softmax_grad_hess(x, y.labels)),
    "argmax": ("-", lambda x, axis, y: fl.argmax(x, axis)),
    "top_k": ("s-", lambda x, axis, y: fl.top_k(x, 1, axis=axis)),
    "top_k, smallest": ("s-", lambda x, axis, y: fl.top_k(x, 1, axis=axis, mode="smallest")),
    "predict": ("-", lambda x, axis, y: fl.predict(x, axis=axis)),
    "predict, threshold": ("-", lambda x, axis, y: fl.predict(x, threshold=0.6)),
    "max_prob": ("c", lambda x, axis, y: fl.confidence(x, kind="max_prob", axis=axis)),
    "margin": ("c", lambda x, axis, y: fl.confidence(x, kind="margin", axis=axis)),
    "entropy": ("c", lambda x, axis, y: fl.confidence(x, kind="entropy", axis=axis)),
    "energy": ("c", lambda x, axis, y: fl.confidence(x, kind="energy", axis=axis)),
}
ARGUMENT = {
    name: "x" if name.split(",")[0] in (*SAME_SHAPE, *REDUCED, "top_k") else "logits"
    for name in OPERATIONS
}
ANY_AXES = ["softmax", "softmax, temperature", "log_softmax", "logsumexp"]
LOSSES = [name for name in OPERATIONS if "cross_entropy" in name or name == "softmax_grad_hess"]

operations = pytest.mark.parametrize("name", OPERATIONS)


def results(name, x, axis, shape):
    """The results of an operation, as a tuple."""
    if name == "softmax_grad_hess" and axis != -1:
        x = np.moveaxis(x, axis, -1)
    found = OPERATIONS[name][1](x, axis, targets_for(shape, axis))
    return found if isinstance(found, tuple) else (found,)


def expected(name, x, axis):
    """What any array with the numbers of `x` has to give."""
    of_results = OPERATIONS[name][0]
    stored = native(x.dtype)
    result = computed(stored) if stored in WHOLE else stored
    # Decisions on whole numbers are made without rounding them.
    exactly = stored in WHOLE and "-" in of_results and "threshold" not in name
    plain = widened(x, stored if exactly else computed(stored))
    found = results(name, plain, axis, x.shape)
    want = []
    for letter, array in zip(of_results, map(np.asarray, found), strict=True):
        dtype = {"x": result, "c": computed(stored), "s": stored, "-": array.dtype}[letter]
        with np.errstate(all="ignore"):
            want.append(array.astype(dtype))
    return want


def gives(name, x, axis, want, *where, shape=None):
    got = results(name, x, axis, np.shape(x) if shape is None else shape)
    for array, other in zip(got, want, strict=True):
        same(array, other, *where)
        assert type(array) is np.ndarray or np.isscalar(array), where


# ---------------------------------------------------------------------------------------
# Layouts
# ---------------------------------------------------------------------------------------


FILL = b"Z"


def room(shape, dtype):
    """An array whose memory is all `FILL`."""
    dtype = np.dtype(dtype)
    raw = np.frombuffer(bytearray(FILL * (math.prod(shape) * dtype.itemsize)), dtype)
    return raw.reshape(shape)


def memory_of(view):
    """The bytes of all that `view` is a part of."""
    while isinstance(view.base, np.ndarray):
        view = view.base
    return bytes(memoryview(view.base))


def placed(view, a):
    view[...] = a
    return view


def contiguous(a):
    return placed(room(a.shape, a.dtype), a)


def fortran(a):
    return placed(room(a.shape[::-1], a.dtype).T, a)


def backwards(a):
    return placed(np.flip(room(a.shape, a.dtype)), a)


def steps(a):
    wide = room([3 * n for n in a.shape], a.dtype)
    return placed(wide[tuple(slice(1, None, 3) for _ in a.shape)], a)


def field(a):
    return placed(room(a.shape, [("before", "u1"), ("a", a.dtype)])["a"], a)


def field_backwards(a):
    return placed(np.flip(room(a.shape, [("a", a.dtype), ("after", "V2")])["a"]), a)


def unaligned(a):
    raw = room((a.nbytes + 1,), "u1")
    return placed(raw[1:].view(a.dtype).reshape(a.shape), a)


def read_only(a):
    return frozen(contiguous(a))


def mapped(a):
    with tempfile.TemporaryFile() as file:
        return placed(np.memmap(file, a.dtype, "w+", 1, a.shape), a)


def swapped(a):
    return a.astype(a.dtype.newbyteorder())


def swapped_field(a):
    return field(swapped(a))


def swapped_fortran_backwards(a):
    return backwards(fortran(swapped(a)))


PLACES = [contiguous, fortran, backwards, steps, field, field_backwards, unaligned, mapped]
LAYOUTS = [*PLACES, read_only, swapped, swapped_field, swapped_fortran_backwards]
ROWS = {1: 37, 2: 37, 3: 37, 10: 37, 17: 37, 100: 19, 300: 17, 1000: 5, 5000: 2}


def numbers(dtype, shape, seed=0):
    rng = np.random.default_rng(seed)
    if dtype == "?":
        return rng.random(shape) < 0.5
    if dtype in WHOLE:
        return rng.integers(-20 * (dtype.kind == "i"), 60, shape).astype(dtype)
    x = rng.normal(0, 3, shape)
    x[1:2] *= 20
    x[2:3] += 5000
    return x.astype(dtype)


@functools.cache
def views(dtype, classes, axis):
    """Logits, and arrays of every layout that equal them."""
    x = numbers(dtype, (ROWS[classes], classes), classes)
    x = frozen(np.ascontiguousarray(np.moveaxis(x, -1, axis)))
    return x, [(layout.__name__, layout(x)) for layout in LAYOUTS]


@operations
def test_any_dtype_in_any_layout(name, isa):
    for dtype, classes, axis in itertools.product(DTYPES, ROWS, (-1, 0)):
        x, kinds = views(dtype, classes, axis)
        want = expected(name, x, axis)
        for layout, view in kinds:
            gives(name, view, axis, want, dtype, classes, axis, layout)


@operations
def test_any_dtype_with_strides_of_zero(name, isa):
    for dtype, classes, axis in itertools.product(DTYPES, (1, 3, 17, 300), (-1, 0)):
        x = numbers(dtype, (17, classes), 1)
        x = np.moveaxis(x, -1, axis)
        for part in (x[:1], x[:, :1], x[:1, :1]):
            for order in (part, swapped(part)):
                view = np.broadcast_to(order, x.shape)
                gives(name, view, axis, expected(name, view, axis), dtype, classes, axis)


SPECIAL = [np.nan, np.inf, -np.inf, -0.0, 0.0, 1.5, -1.0]


@st.composite
def arrays(draw):
    """Of any dtype, byte order, strides, alignment and values, in 0 to 4 dimensions."""
    dtype = draw(st.sampled_from(DTYPES))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    shape = rng.integers(1, 6, draw(st.integers(0, 4)))
    if shape.size and draw(st.booleans()):
        shape[rng.integers(shape.size)] = rng.integers(1, 300)
    shape = tuple(shape.tolist())
    flavour = draw(st.sampled_from(["usual", "special", "extreme"]))
    content = numbers(dtype, shape or (1,), draw(st.integers(0, 9))).reshape(shape)
    if flavour != "usual" and dtype in FLOATS:
        info = ml_dtypes.finfo(dtype)
        some = [*SPECIAL, *[float(info.max), float(info.min)] * (flavour == "extreme")]
        content = rng.choice(np.array(some, dtype), shape)
    elif flavour == "extreme" and dtype != "?":
        info = np.iinfo(dtype)
        content = np.asarray(rng.integers(info.min, info.max, shape, dtype, endpoint=True))
    stored = dtype.newbyteorder() if draw(st.booleans()) else dtype
    strides, stride, start = [0] * len(shape), dtype.itemsize, draw(st.integers(0, 3))
    for axis in rng.permutation(len(shape)):
        stride += rng.choice([0, 0, 1, 2, dtype.itemsize])
        sign = rng.choice([1, 1, -1, 0])
        strides[axis] = int(sign * stride)
        start += int(stride * (shape[axis] - 1)) if sign < 0 else 0
        stride *= shape[axis]
    block = bytearray(start + int(stride) + dtype.itemsize)
    x = np.ndarray(shape, stored, block, start, strides)
    x[...] = content
    return x if draw(st.booleans()) else frozen(x)


@given(st.data())
@settings(max_examples=250)
def test_any_array_at_all(isa, data):
    x = data.draw(arrays())
    dims = x.ndim
    name = data.draw(st.sampled_from([n for n in OPERATIONS if dims or n not in LOSSES]))
    axis = data.draw(st.integers(-dims, dims - 1) if dims else st.just(-1))
    if name in ANY_AXES and data.draw(st.booleans()):
        axis = data.draw(st.sampled_from([None, *itertools.combinations(range(dims), 2)]))
    before = x.tobytes()
    gives(name, x, axis, expected(name, x, axis), x.dtype, x.shape, x.strides, axis)
    assert x.tobytes() == before


@pytest.mark.parametrize("dtype", WHOLE, ids=str)
def test_decisions_on_whole_numbers_are_those_of_numpy(dtype, isa):
    rng = np.random.default_rng(6)
    some = [0, 1] if dtype == "?" else [np.iinfo(dtype).min, *range(5), np.iinfo(dtype).max]
    some += [] if dtype == "?" else [np.iinfo(dtype).min + 1, np.iinfo(dtype).max - 1]
    for classes, axis in itertools.product(ROWS, (-1, 0)):
        x = np.moveaxis(rng.choice(np.array(some, dtype), (19, classes)), -1, axis)
        first = np.argmax(x, axis)
        for function in (fl.argmax, lambda a, axis: fl.predict(a, axis=axis)):
            same(function(x, axis), first)
        for mode, place in (("largest", first), ("smallest", np.argmin(x, axis))):
            values, indices = fl.top_k(x, 1, axis=axis, mode=mode)
            place = np.expand_dims(place, axis)
            same(indices, place)
            same(values, np.take_along_axis(x, place, axis))


def weighted(x, y, **options):
    return (
        *fl.cross_entropy_value_and_grad(x, y, **options),
        fl.cross_entropy(x, y, **options, reduction="none"),
    )


def binary(x, y, **options):
    return (
        *fl.binary_cross_entropy_with_logits_value_and_grad(x, y, **options),
        fl.binary_cross_entropy_with_logits(x, y, **options, reduction="none"),
    )


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_targets_and_weights_of_any_dtype_in_any_layout(dtype, isa):
    x, y = numbers(np.dtype("f4"), (35, 10)), np.arange(35) % 10
    rng = np.random.default_rng(2)
    # Numbers that every dtype holds.
    w, s, b = (rng.integers(0, 2, shape) for shape in (10, 35, (35, 10)))
    if dtype in FLOATS:
        w, s, b = w + 0.5, s / 4, b / 2
    cases = [
        (weighted, {"y": y, "class_weight": w, "sample_weight": s}),
        (fl.softmax_grad_hess, {"labels": y, "sample_weight": s}),
        (binary, {"y": b, "pos_weight": w, "sample_weight": b}),
    ]
    if dtype in FLOATS:
        cases.append((weighted, {"y": b, "class_weight": w, "sample_weight": s}))
    for function, arguments in cases:
        plain = {n: a.astype("i8" if a is y else "f8") for n, a in arguments.items()}
        want = function(x, **plain)
        for n, a in arguments.items():
            stored = "i8" if a is y and (dtype in FLOATS or dtype == "?") else dtype
            for layout in LAYOUTS:
                got = function(x, **{**plain, n: layout(a.astype(stored))})
                for array, other in zip(got, want, strict=True):
                    same(array, other, function.__name__, n, layout.__name__)


THREADED = ["softmax", "logsumexp", "sigmoid", "cross_entropy_value_and_grad", "softmax_grad_hess"]
THREADED += ["binary_cross_entropy_with_logits_value_and_grad", "argmax", "top_k", "entropy"]


@pytest.mark.parametrize("name", THREADED)
def test_any_dtype_on_any_number_of_threads(name):
    for dtype, shape, layout in itertools.product(
        ("f2", BF16, "f4", "i1", "u8"),
        [(1500, 33), (3, 30_000)],
        [fortran, field, swapped_fortran_backwards],
    ):
        x = numbers(np.dtype(dtype), shape)
        want = expected(name, x, -1)
        for n in (1, 3):
            with fl.num_threads(n):
                gives(name, layout(x), -1, want, dtype, shape, layout.__name__, n)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_dtype_of_nothing(dtype):
    result = computed(dtype) if dtype in WHOLE else dtype
    for stored in (dtype, dtype.newbyteorder()):
        for shape in ((0,), (0, 3), (3, 0)):
            nothing = np.empty(shape, stored)
            for op in SAME_SHAPE:
                same(getattr(fl, op)(nothing), np.empty(shape, result))
            same(fl.logsumexp(nothing), np.full(shape[:-1], -np.inf, computed(dtype)))
            for array in fl.top_k(nothing, 0):
                assert array.shape == (*shape[:-1], 0)
            assert fl.top_k(nothing, 0)[0].dtype == dtype


def test_scalars_of_every_dtype():
    for dtype in DTYPES:
        for scalar in (dtype.type(1), np.array(1, dtype), swapped(np.array(1, dtype))):
            for name in OPERATIONS:
                if name not in LOSSES:
                    want = expected(name, np.array(1, dtype), -1)
                    gives(name, scalar, -1, want, dtype, shape=())


def test_lists_of_numpy_scalars_are_read_as_numpy_reads_them():
    for dtype in DTYPES:
        x = numbers(dtype, (3, 4))
        rows = [list(row) for row in x]
        for name in ("softmax", "logsumexp", "softplus"):
            gives(name, rows, -1, expected(name, x, -1), dtype, shape=x.shape)


# ---------------------------------------------------------------------------------------
# Half precision
# ---------------------------------------------------------------------------------------


def every(half):
    return np.arange(2**16, dtype=np.uint16).view(half)


@functools.cache
def exact_of_every(op, half):
    return getattr(reference, op)(widened(every(half)))


@halves
@pytest.mark.parametrize("op", ELEMENTS)
def test_every_half_is_computed_in_float32_and_rounded_once(op, half, isa):
    x = every(half)
    got = getattr(fl, op)(x)
    same(got, getattr(fl, op)(widened(x, "f4")).astype(half))
    assert error_of_half(got, exact_of_every(op, half)) <= 0.51


@halves
@pytest.mark.parametrize("op", NORMALISED)
def test_every_half_beside_a_zero_has_its_probability(op, half, isa):
    x = np.stack([every(half), np.zeros(2**16, half)])
    for axis, rows in ((0, x), (1, np.ascontiguousarray(x.T))):
        got = getattr(fl, op)(rows, axis)
        same(got, getattr(fl, op)(widened(rows, "f4"), axis).astype(half))
        first = got[:, 0] if axis else got[0]
        exact = exact_of_every("sigmoid" if op == "softmax" else "log_sigmoid", half)
        number = np.isfinite(widened(every(half)))
        assert error_of_half(first[number], exact[number]) <= 0.51


@halves
def test_every_half_through_losses_and_decisions(half, isa):
    x = every(half)
    for name in OPERATIONS:
        if name.startswith("binary") or "threshold" in name:
            gives(name, x, -1, expected(name, x, -1))
    alone = x[:, np.newaxis]
    same(fl.logsumexp(alone), fl.logsumexp(widened(alone, "f4")))
    values, indices = fl.top_k(alone, 1)
    same(values, alone)
    assert not indices.any()
    for mode in ("largest", "smallest"):
        want, places = fl.top_k(widened(x, "f4"), 1000, mode=mode)
        got, found = fl.top_k(x, 1000, mode=mode)
        same(got, want.astype(half))
        same(found, places)
    number = x[np.isfinite(widened(x))]
    assert fl.argmax(number) == np.argmax(widened(number))


# ---------------------------------------------------------------------------------------
# dtype=
# ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("result", FLOATS, ids=str)
@pytest.mark.parametrize("op", [*SAME_SHAPE, *REDUCED])
def test_dtype_of_the_result(op, result, isa):
    function = getattr(fl, op)
    for stored in DTYPES:
        x = numbers(stored, (20, 33), 5)
        wider = np.promote_types(computed(stored), computed(result))
        exact = getattr(reference, op)(x.astype("f8"))
        size = np.abs(exact)
        if op in REDUCED:
            size = np.maximum(np.maximum(size, 1), np.abs(x.astype("f8")).max(axis=-1))
        known = is_normal(exact, result)
        for source in (x, swapped(x), field(x), fortran(x)):
            got = function(source, dtype=result)
            assert got.dtype == result
            error = ulps(got, exact, size)[known]
            assert np.max(error) <= (0.51 if result in HALVES else 2), stored
            if wider == computed(result):
                same(got, function(x.astype(wider)).astype(result), stored)
            out = np.zeros_like(got)
            assert function(source, dtype=result, out=out) is out
            same(out, got)


@pytest.mark.parametrize("op", [*SAME_SHAPE, *REDUCED])
def test_names_of_a_dtype(op):
    function, x = getattr(fl, op), numbers(np.dtype("f4"), (3, 4))
    for dtype, names in {
        "f2": [np.float16, "float16", "half", "e", np.dtype("f2")],
        BF16: [ml_dtypes.bfloat16, BF16, BF16.newbyteorder("=")],
        "f4": [np.float32, "float32", "single", "=f4"],
        "f8": [float, np.float64, "double"],
    }.items():
        for name in names:
            assert function(x, dtype=name).dtype == np.dtype(dtype)


@pytest.mark.parametrize("op", [*SAME_SHAPE, *REDUCED])
def test_dtype_that_no_result_has(op):
    wrong = [*(d.newbyteorder() for d in FLOATS), *WHOLE, "O", "c8", "g", "S", "M8[s]", "V2"]
    wrong += [ml_dtypes.float8_e4m3fn, ml_dtypes.int4, [("a", "f4")]]
    for stored in ("f2", BF16, "f4", "i2"):
        x = numbers(np.dtype(stored), (3, 4))
        for dtype in wrong:
            with refused(TypeError, "dtype"):
                getattr(fl, op)(x, dtype=dtype)


@halves
def test_result_beyond_the_range_is_infinite_and_silent(half, isa):
    high = np.array([1e39, 1e300])
    small = np.array([-1e-320, -800.0, -5e-324])
    with np.errstate(all="raise"):
        for dtype in (half, np.dtype("f4")):
            same(fl.softplus(high, dtype=dtype), np.full(2, np.inf, dtype))
            same(fl.log_sigmoid(-high, dtype=dtype), np.full(2, -np.inf, dtype))
            assert fl.logsumexp(high, dtype=dtype) == np.inf
            fl.sigmoid(small, dtype=dtype)
        fl.sigmoid(numbers(half, (20, 30)))
        fl.softmax(every(half))
        fl.softplus(every(half))
    top = ml_dtypes.finfo(half).max
    same(fl.softplus(np.array([float(top)]), dtype=half), np.array([top]))


# ---------------------------------------------------------------------------------------
# out=
# ---------------------------------------------------------------------------------------


def with_out(op):
    """Calls that write their last result into `out`."""
    if op == "cross_entropy":
        return lambda x, y, out=None: fl.cross_entropy_value_and_grad(x, y.labels, out=out)[1]
    if op == "cross_entropy, soft":
        return lambda x, y, out=None: fl.cross_entropy_value_and_grad(x, y.soft, out=out)[1]
    if op == "binary_cross_entropy":
        call = fl.binary_cross_entropy_with_logits_value_and_grad
        return lambda x, y, out=None: call(x, y.soft, out=out)[1]
    return lambda x, y, out=None: getattr(fl, op)(x, out=out)


WITH_OUT = [*SAME_SHAPE, *REDUCED, "cross_entropy", "cross_entropy, soft"]
WITH_OUT += ["binary_cross_entropy"]
SHAPES = [(37, 1), (37, 3), (19, 17), (5, 300), (2, 5000), (33, 33)]


@pytest.mark.parametrize("op", WITH_OUT)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_out_of_any_layout_and_nothing_around_it(op, dtype, isa):
    call = with_out(op)
    for shape in SHAPES:
        x, y = numbers(dtype, shape, 3), targets_for(shape, -1)
        want = call(x, y)
        sentinel = room(want.shape, want.dtype).copy()
        for layout in PLACES:
            out = layout(sentinel)
            before = None if layout is mapped else memory_of(out)
            assert call(x, y, out) is out
            same(out, want, shape, layout.__name__)
            out[...] = sentinel
            assert before is None or memory_of(out) == before == FILL * len(before)


@pytest.mark.parametrize("op", [op for op in WITH_OUT if op != "logsumexp"])
@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_in_place_in_any_layout(op, dtype, isa):
    call = with_out(op)
    for shape in SHAPES:
        x, y = numbers(dtype, shape, 3), targets_for(shape, -1)
        want = call(x, y)
        for layout in PLACES:
            view = layout(x)
            assert call(view, y, view) is view
            same(view, want, shape, layout.__name__)


# The dtypes of the input and of the result.
PAIRS = [
    *itertools.product([*HALVES, "f4", "i2", "u2", ">i2", ">f2"], HALVES),
    *itertools.product(["f2", BF16, "i4", ">f4", "f8", "i1"], ["f4"]),
    *itertools.product(["f2", BF16, "f4", "i1", "?", "i8", ">i8", ">f8", "u4"], ["f8"]),
]


def in_one_block(x, dtype, shift):
    """A copy of `x`, and room for a result of its shape that starts `shift` bytes after it."""
    at, to = max(0, -shift), max(0, shift)
    size = x.size * np.dtype(dtype).itemsize
    block = np.zeros(max(at + x.nbytes, to + size), np.uint8)
    view = block[at : at + x.nbytes].view(x.dtype).reshape(x.shape)
    return placed(view, x), block[to : to + size].view(dtype).reshape(x.shape)


def shifts(x, dtype):
    row, size = x[0].nbytes, x.size * np.dtype(dtype).itemsize
    some = {0, 1, 2, 3, x.itemsize, row, row + 1, 3 * row, x.nbytes // 2}
    return sorted({*some, *(-s for s in some), x.nbytes - size, x.nbytes - 1})


@pytest.mark.parametrize("pair", PAIRS, ids=str)
def test_out_over_the_input_under_another_dtype(pair, isa):
    stored, result = map(np.dtype, pair)
    options = {"dtype": result}
    for shape in ((37, 3), (12, 12), (3, 100), (2, 3000)):
        x = numbers(native(stored), shape, 4).astype(stored)
        for op, more in (
            ("softmax", {}),
            ("softmax", {"axis": 0}),
            ("log_softmax", {"axis": None}),
            ("softplus", {}),
        ):
            function = functools.partial(getattr(fl, op), **options, **more)
            want = function(x)
            for shift in shifts(x, result):
                view, out = in_one_block(x, result, shift)
                assert function(view, out=out) is out
                same(out, want, op, shape, more, shift)
            if stored.itemsize == result.itemsize:
                for turn in (np.s_[::-1], np.s_[:, ::-1], np.s_[::-1, ::-1]):
                    view, out = in_one_block(x, result, 0)
                    same(function(view, out=out[turn]), want, op, shape, more, turn)
                if shape[0] == shape[1]:
                    view, out = in_one_block(x, result, 0)
                    same(function(view, out=out.T), want, op, shape, more, "turned")


@pytest.mark.parametrize("pair", PAIRS, ids=str)
def test_out_of_logsumexp_over_the_input_under_another_dtype(pair, isa):
    stored, result = map(np.dtype, pair)
    for shape, axis in itertools.product(((37, 9), (12, 12), (9, 300)), (0, 1)):
        x = numbers(native(stored), shape, 4).astype(stored)
        want = fl.logsumexp(x, axis, dtype=result)
        for start in (0, 1, x[0].nbytes + 2, x.nbytes - want.nbytes):
            block = np.zeros(x.nbytes + want.nbytes, np.uint8)
            view = placed(block[: x.nbytes].view(stored).reshape(shape), x)
            out = block[start : start + want.nbytes].view(result)
            assert fl.logsumexp(view, axis, dtype=result, out=out) is out
            same(out, want, shape, axis, start)


@pytest.mark.parametrize("op", WITH_OUT[-3:])
@pytest.mark.parametrize("stored", [*HALVES, "i1", "i8", ">f2", ">f4"], ids=str)
def test_gradient_over_the_logits_or_the_targets(op, stored, isa):
    stored, call = np.dtype(stored), with_out(op)
    for shape in ((37, 3), (12, 12), (3, 100), (2, 3000)):
        x = numbers(native(stored), shape, 4).astype(stored)
        y = targets_for(shape, -1)
        y = Targets(y.labels, y.soft.astype(native(stored) if stored in HALVES else "f4"))
        want = call(x, y)
        for shift in shifts(x, want.dtype):
            view, out = in_one_block(x, want.dtype, shift)
            assert call(view, y, out) is out
            same(out, want, shape, shift)
        for shift in shifts(y.soft, want.dtype):
            soft, out = in_one_block(y.soft, want.dtype, shift)
            same(call(x, Targets(y.labels, soft), out), want, shape, shift)


@pytest.mark.parametrize("op", WITH_OUT)
def test_out_of_a_wrong_dtype_is_left_alone(op):
    call = with_out(op)
    for dtype in DTYPES:
        x, y = numbers(dtype, (3, 4)), targets_for((3, 4), -1)
        want = call(x, y)
        for wrong in [*DTYPES, "c8", "O", *(d.newbyteorder() for d in FLOATS)]:
            wrong = np.dtype(wrong)
            if wrong == want.dtype:
                continue
            out = np.full(want.shape, 1, wrong)
            said = () if wrong in ("O", "c8") or not wrong.isnative else (wrong, want.dtype)
            with refused(ValueError, "out", *said):
                call(x, y, out)
            assert (out == 1).all()


# ---------------------------------------------------------------------------------------
# Arrays of other libraries
# ---------------------------------------------------------------------------------------


class Exported:
    """An array that is nothing but its `__dlpack__`."""

    def __init__(self, array, device=(1, 0)):
        self.array, self.device, self.exports = array, device, 0

    def __dlpack__(self, **options):
        self.exports += 1
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.device


class Fleeting(Exported):
    """An array that nobody holds but who has read it."""

    def __dlpack__(self, **options):
        array = self.array()
        self.alive = weakref.ref(array)
        return array.__dlpack__(**options)


def peak_growth(call):
    """How many bytes of memory a call needed at most beside what there was.

    Of all memory as the system counts it, or of NumPy's, which may be used again unnoticed.
    """
    reset, status = Path("/proc/self/clear_refs"), Path("/proc/self/status")

    def used(what):
        return 1024 * int(re.search(rf"{what}:\s+(\d+)", status.read_text())[1])

    tracemalloc.start()
    try:
        reset.write_text("5")
        before = used("VmRSS")
        call()
        return max(used("VmHWM") - before, tracemalloc.get_traced_memory()[1])
    except OSError:
        pytest.skip("this system does not measure a peak of memory")
    finally:
        tracemalloc.stop()


def exporting(dtype):
    x = numbers(dtype, (19, 17))
    plain = (contiguous, fortran, backwards, steps, unaligned, read_only)
    yield from (layout(x) for layout in plain)
    yield np.broadcast_to(x[:1], x.shape)
    yield x[:0]


@operations
def test_anything_with_dlpack_on_the_cpu(name):
    for dtype in [d for d in DTYPES if d != BF16]:
        for view in exporting(dtype):
            before = view.tobytes()
            exported = Exported(view)
            want = expected(name, view, -1)
            gives(name, exported, -1, want, dtype, view.strides, shape=view.shape)
            assert exported.exports == 1
            assert view.tobytes() == before


def test_targets_and_weights_with_dlpack():
    x, y = numbers(np.dtype("f4"), (19, 17)), np.arange(19) % 17
    w, s = np.arange(17.0), np.arange(19, dtype="f4")
    soft = np.random.default_rng(1).random((19, 17))
    for targets in (y, soft):
        want = weighted(x, targets, class_weight=w, sample_weight=s)
        exported = [Exported(a) for a in (x, targets, w, s)]
        got = weighted(*exported[:2], class_weight=exported[2], sample_weight=exported[3])
        for array, other in zip(got, want, strict=True):
            same(array, other)
    got = binary(*map(Exported, (x, soft)), pos_weight=Exported(w), sample_weight=Exported(soft))
    for array, other in zip(got, binary(x, soft, pos_weight=w, sample_weight=soft), strict=True):
        same(array, other)


def test_dlpack_of_the_first_version():
    class First(Exported):
        def __dlpack__(self, stream=None):
            return self.array.__dlpack__(stream=stream)

    for dtype in ("f2", "f4", "f8", "i2", "?"):
        x = numbers(np.dtype(dtype), (5, 7))
        gives("softmax", First(x), -1, expected("softmax", x, -1), dtype, shape=x.shape)


@operations
def test_producer_lives_as_long_as_it_is_read_and_no_longer(name):
    for dtype in ("f2", "f4", "i8"):
        x = numbers(np.dtype(dtype), (300, 1000))  # Memory of its own, unmapped when it is freed.
        fleeting = Fleeting(x.copy)
        got = results(name, fleeting, -1, x.shape)
        for array, other in zip(got, expected(name, x, -1), strict=True):
            same(array, other)
        assert fleeting.alive() is None


def test_targets_live_as_long_as_they_are_read():
    x, y = numbers(np.dtype("f4"), (2000, 300)), np.arange(2000) * 7 % 300
    soft = np.random.default_rng(1).random((2000, 300), "f4")
    for targets in (y, soft):
        exported = [Fleeting(a.copy) for a in (x, targets, np.ones(300), np.ones(2000))]
        got = weighted(*exported[:2], class_weight=exported[2], sample_weight=exported[3])
        for array, other in zip(got, weighted(x, targets), strict=True):
            same(array, other)
        assert not any(e.alive() for e in exported)


def test_producer_of_a_refused_call_is_released():
    x = numbers(np.dtype("f4"), (30, 40))
    for call, error in (
        (lambda e: fl.softmax(e, axis=5), IndexError),
        (lambda e: fl.softmax(e, out=np.zeros(3)), ValueError),
        (lambda e: fl.cross_entropy(e, np.zeros(7, int)), ValueError),
        (lambda e: fl.cross_entropy(e, np.full(30, 99)), IndexError),
        (lambda e: fl.top_k(e, 99), ValueError),
    ):
        fleeting = Fleeting(x.copy)
        with pytest.raises(error):
            call(fleeting)
        assert fleeting.alive() is None
    fleeting = Fleeting(x.astype("c8").copy)
    with refused(TypeError, "x"):
        fl.softmax(fleeting)
    assert fleeting.alive() is None


@operations
def test_memory_of_another_device_is_not_touched(name):
    for device in ((2, 0), (2, 1), (8, 0), (10, 0), (14, 0)):
        exported = Exported(numbers(np.dtype("f4"), (3, 4)), device)
        with refused(TypeError, ARGUMENT[name], "CPU"):
            results(name, exported, -1, (3, 4))
        assert exported.exports == 0


@pytest.mark.parametrize("device", [(3, 0), (11, 0)], ids=["CUDA", "ROCm"])
def test_memory_of_the_cpu_that_is_pinned_for_a_gpu_is_read(device):
    same(fl.softmax(Exported(X, device)), fl.softmax(X))


def test_array_of_another_device_is_not_fetched_unasked():
    class Both(Exported):
        def __array__(self, dtype=None, copy=None):
            raise AssertionError("the array was copied from its device")

    with refused(TypeError, "x", "CPU"):
        fl.softmax(Both(X, (2, 0)))


def test_targets_and_weights_of_another_device_are_refused():
    x, far = numbers(np.dtype("f4"), (3, 4)), Exported(np.zeros(3), (2, 0))
    for name in ("targets", "class_weight", "sample_weight"):
        with refused(TypeError, name, "CPU"):
            fl.cross_entropy(**{"logits": x, "targets": [0, 1, 2], name: far})
    for name in ("targets", "pos_weight", "sample_weight"):
        with refused(TypeError, name, "CPU"):
            fl.binary_cross_entropy_with_logits(**{"logits": x, "targets": x * 0, name: far})


class Broken(Exported):
    """Whose `__dlpack__` is any function."""

    def __dlpack__(self, **options):
        return self.array(**options)


def test_dlpack_that_does_not_work_is_refused():
    x = numbers(np.dtype("f4"), (3, 4))

    def fails(**options):
        raise BufferError("it is on loan")

    with refused(TypeError, "x", "loan"):
        fl.softmax(Broken(fails))
    used = x.__dlpack__()
    same(fl.softmax(Broken(lambda **options: used)), fl.softmax(x))
    with refused((TypeError, ValueError), "x"):
        fl.softmax(Broken(lambda **options: used))


@pytest.mark.parametrize("wrong", [None, 3, b"dltensor", X], ids=lambda w: type(w).__name__)
def test_dlpack_that_gives_no_capsule_is_refused(wrong):
    with refused(TypeError, "x"):
        fl.softmax(Broken(lambda **options: wrong))


def large_calls(like, axis=-1):
    """Calls that read all of a large array and need no memory that grows with its rows."""
    whole = native(like.dtype) in WHOLE
    out = np.ones(like.shape, "f8" if whole else native(like.dtype))
    labels = np.zeros(np.delete(like.shape, axis), int)
    return (
        lambda x: fl.softmax(x, axis, out=out),
        lambda x: fl.cross_entropy(x, labels, axis=axis),
        lambda x: fl.argmax(x, axis),
    )


def test_memory_behind_dlpack_is_not_copied():
    for dtype in ("f2", "f4", "f8"):
        x = np.ones((16, 4 * MEGABYTE // np.dtype(dtype).itemsize), dtype)
        for view, call in itertools.product((x, np.flip(x)), large_calls(x)):
            assert peak_growth(lambda c=call, v=view: c(Exported(v))) < 8 * MEGABYTE


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch", reason="PyTorch is not installed")


def tensor_of(torch, x):
    """The numbers of `x` in a tensor of its dtype."""
    if x.dtype == BF16:
        return torch.from_numpy(x.astype("f4")).to(torch.bfloat16)
    return torch.from_numpy(x.copy())


@operations
def test_tensors_of_torch(name, torch):
    cuts = [lambda a: a, lambda a: a.T, lambda a: a[::2], lambda a: a[:, ::3], lambda a: a[1:, 2:]]
    for dtype, shape in itertools.product(DTYPES, [(19, 17), (3, 300)]):
        x = numbers(dtype, shape)
        tensor = tensor_of(torch, x)
        pairs = [(cut(tensor), cut(x)) for cut in cuts]
        pairs.append((tensor[:1].expand(shape), np.broadcast_to(x[:1], shape)))
        for view, same_view in pairs:
            before = view.clone()
            want = expected(name, same_view, -1)
            gives(name, view, -1, want, dtype, view.stride(), shape=same_view.shape)
            assert torch.equal(view, before)


def test_labels_and_weights_of_torch(torch):
    x, y = numbers(np.dtype("f4"), (19, 17)), np.arange(19) % 17
    soft = np.random.default_rng(1).random((19, 17)).astype(BF16)
    for targets in (y, soft):
        w, s = np.arange(17.0), np.arange(19).astype(BF16)
        want = weighted(x, targets, class_weight=w, sample_weight=s)
        tensors = [tensor_of(torch, a) for a in (x, targets, w, s)]
        got = weighted(*tensors[:2], class_weight=tensors[2], sample_weight=tensors[3])
        for array, other in zip(got, want, strict=True):
            same(array, other)


@operations
@pytest.mark.parametrize("dtype", [BF16, "f4"], ids=str)
def test_tensor_that_requires_a_gradient_is_refused(name, dtype, torch):
    x = np.ones((3, 4), dtype)
    leaf = tensor_of(torch, x).requires_grad_()
    for tensor in (leaf, leaf * 2, leaf[0], torch.nn.Parameter(leaf)):
        with refused(TypeError, ARGUMENT[name], "detach"):
            results(name, tensor, -1, tuple(tensor.shape))
    gives(name, leaf.detach(), -1, expected(name, x, -1))


def test_tensors_that_are_no_plain_memory_of_the_cpu(torch):
    ones = torch.ones(3, 4)
    for tensor in (
        ones.to_sparse(),
        torch.ones(3, 4, dtype=torch.complex64),
        torch.ones(3, 4, dtype=torch.complex64).conj(),
        ones.to(torch.float8_e4m3fn),
    ):
        for name in ("softmax", "logsumexp", "sigmoid", "cross_entropy", "top_k"):
            with refused(TypeError, ARGUMENT[name]):
                results(name, tensor, -1, (3, 4))


def test_tensor_without_memory_is_refused(torch):
    for name in ("softmax", "logsumexp", "sigmoid", "cross_entropy", "top_k"):
        with refused(TypeError, ARGUMENT[name]):
            results(name, torch.ones(3, 4, device="meta"), -1, (3, 4))


def test_tensor_with_its_sign_pending_is_read_with_it_or_refused(torch):
    tensor = torch.imag(torch.tensor([1 + 2j, 3 - 4j]).conj())
    assert tensor.is_neg()
    try:
        got = fl.softplus(tensor)
    except TypeError:
        return
    same(got, fl.softplus(np.array([-2, 4], np.float32)))


def test_memory_of_a_tensor_is_not_copied(torch):
    for dtype, half in ((torch.bfloat16, BF16), (torch.float32, np.dtype("f4"))):
        tensor = torch.ones(16, 4 * MEGABYTE // half.itemsize, dtype=dtype)
        for call in large_calls(np.broadcast_to(half.type(0), tensor.shape)):
            assert peak_growth(lambda c=call, t=tensor: c(t)) < 8 * MEGABYTE
        assert (tensor == 1).all()


@pytest.mark.parametrize("op", WITH_OUT)
def test_tensor_as_out_is_refused(op, torch):
    out = torch.full((3, 4), 7.0)
    with refused(TypeError, "out"):
        with_out(op)(X.astype("f4"), targets_for(X.shape, -1), out)
    assert (out == 7).all()


@pytest.fixture(scope="module")
def jax():
    return pytest.importorskip("jax", reason="JAX is not installed")


@operations
def test_arrays_of_jax(name, jax):
    for dtype in ("f2", BF16, "f4", "?", "i1", "u1", "i2", "u2", "i4", "u4"):
        for shape in ((19, 17), (3, 300)):
            x = numbers(np.dtype(dtype), shape)
            array = jax.numpy.asarray(x)
            assert array.dtype == x.dtype
            gives(name, array, -1, expected(name, x, -1), dtype, shape=shape)
            gives(name, array.T, 0, expected(name, x.T, 0), dtype, shape=shape[::-1])
            assert array.tobytes() == x.tobytes()


def test_array_of_jax_that_is_being_traced_is_refused(jax):
    for name in ("softmax", "sigmoid", "cross_entropy", "argmax"):

        @jax.jit
        def traced(x, name=name):
            with refused(TypeError, ARGUMENT[name]):
                results(name, x, -1, (3, 4))
            return x

        traced(jax.numpy.ones((3, 4)))


@operations
def test_arrays_of_the_array_api(name):
    xp = pytest.importorskip("array_api_strict", reason="array-api-strict is not installed")
    for dtype in ("f4", "f8", "?", "i1", "u2", "i4", "u8", "i8"):
        x = numbers(np.dtype(dtype), (19, 17))
        gives(name, xp.asarray(x), -1, expected(name, x, -1), dtype, shape=x.shape)
        gives(name, xp.asarray(x).T, 0, expected(name, x.T, 0), dtype, shape=x.T.shape)
    with refused(TypeError, ARGUMENT[name]):
        results(name, xp.ones((3, 4), dtype=xp.complex64), -1, (3, 4))


@operations
def test_frames_of_pandas(name):
    pd = pytest.importorskip("pandas", reason="pandas is not installed")
    for dtype in ("f4", "f8", "i1", "i8", "?"):
        x = numbers(np.dtype(dtype), (19, 5))
        frame = pd.DataFrame(x, columns=list("abcde"))
        gives(name, frame, -1, expected(name, x, -1), dtype, shape=x.shape)
        gives(name, pd.DataFrame(dict(enumerate(x.T))), -1, expected(name, x, -1), shape=x.shape)
        row = x[0].copy()
        gives(name, pd.Series(row), -1, expected(name, row, -1), dtype, shape=(5,))
    mixed = pd.DataFrame({"a": np.ones(3, "f4"), "b": [1, 2, 3], "c": [0.5, 1.5, -1.0]})
    gives(name, mixed, -1, expected(name, mixed.to_numpy(), -1), shape=(3, 3))
    with refused(TypeError, ARGUMENT[name]):
        results(name, pd.DataFrame({"a": [1.0, 2.0], "b": ["x", "y"]}), -1, (2, 2))


def test_labels_and_weights_of_frames():
    x, y, s = numbers(np.dtype("f4"), (4, 3)), [0, 2, 1, 1], [0.5, 1, 0, 2]
    for module in ("pandas", "polars"):
        series = pytest.importorskip(module, reason=f"{module} is not installed").Series
        got = weighted(x, series(y), sample_weight=series(s), class_weight=series([1.0, 2, 3]))
        want = weighted(x, y, sample_weight=s, class_weight=[1, 2, 3])
        for array, other in zip(got, want, strict=True):
            same(array, other)


@operations
def test_frames_of_polars(name):
    pl = pytest.importorskip("polars", reason="polars is not installed")
    for dtype in ("f4", "f8", "i1", "u8", "i8"):
        x = numbers(np.dtype(dtype), (19, 5))
        gives(name, pl.DataFrame(x), -1, expected(name, x, -1), dtype, shape=x.shape)
        row = x[0].copy()
        gives(name, pl.Series(row), -1, expected(name, row, -1), dtype, shape=(5,))
    frame = pl.DataFrame({"a": [1.0, 2.0], "b": [3.0, 0.0]})
    with refused(TypeError, ARGUMENT[name], "collect"):
        results(name, frame.lazy(), -1, (2, 2))
    with refused(TypeError, ARGUMENT[name]):
        results(name, pl.DataFrame({"a": [1.0, 2.0], "b": ["x", "y"]}), -1, (2, 2))


@operations
def test_arrays_of_pyarrow(name):
    pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    for dtype in ("f2", "f4", "f8", "i1", "u2", "i4", "i8", "u8"):
        x = numbers(np.dtype(dtype), (40, 1))[:, 0].copy()
        want = expected(name, x, -1)
        gives(name, pa.array(x), -1, want, dtype, shape=x.shape)
        halves = pa.chunked_array([pa.array(x[:7]), pa.array(x[7:])])
        gives(name, halves, -1, want, dtype, shape=x.shape)
        gives(name, pa.array(x)[3:20], -1, expected(name, x[3:20], -1), dtype, shape=(17,))


def test_arrays_of_pyarrow_that_have_no_dlpack():
    pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    for array, x in (
        (pa.array([1.0, None, 0.5]), [1.0, np.nan, 0.5]),
        (pa.array([True, False, True]), [1.0, 0.0, 1.0]),
    ):
        for name in ("softmax", "logsumexp", "sigmoid", "argmax"):
            gives(name, array, -1, expected(name, np.array(x), -1), shape=(3,))


@operations
def test_lazy_arrays_of_dask_are_refused(name):
    da = pytest.importorskip("dask.array", reason="Dask is not installed")
    for lazy in (da.ones((3, 4)), da.ones((3, 4), dtype="f4", chunks=2)):
        with refused(TypeError, ARGUMENT[name], "compute"):
            results(name, lazy, -1, (3, 4))


def test_buffers_and_holders_are_read_as_numpy_reads_them():
    class Holder:
        def __init__(self, array):
            self.array = array

        def __array__(self, dtype=None, copy=None):
            return self.array

    class Interface:
        def __init__(self, array):
            self.array, self.__array_interface__ = array, array.__array_interface__

    for dtype in DTYPES:
        x = numbers(dtype, (19, 17))
        for view in (x, swapped(x), field(x), fortran(x), unaligned(x)):
            for name in ("softmax", "logsumexp", "softplus", "argmax"):
                want = expected(name, x, -1)
                gives(name, Holder(view), -1, want, dtype, shape=x.shape)
                if dtype != BF16:
                    gives(name, Interface(view), -1, want, dtype, shape=x.shape)
                if dtype != BF16 and view.dtype.isnative:
                    gives(name, memoryview(view), -1, want, dtype, shape=x.shape)


# ---------------------------------------------------------------------------------------
# What is refused
# ---------------------------------------------------------------------------------------


ADVICE = {
    "complex": (X + 1j, "real"),
    "complex64": (X.astype("c8"), "real"),
    "object": (X.astype(object), "astype|convert"),
    "text": (X.astype(str), "astype|convert"),
    "bytes": (X.astype(bytes), "astype|convert"),
    "datetime": (np.zeros((3, 4), "M8[s]"), "astype|convert"),
    "timedelta": (np.zeros((3, 4), "m8[ns]"), "astype|convert"),
    "structured": (np.zeros((3, 4), [("a", "f4"), ("b", "f4")]), "astype|convert|field"),
    "one field": (np.zeros((3, 4), [("a", "f4")]), "astype|convert|field"),
    "void": (np.zeros((3, 4), "V2"), "astype|convert"),
    "masked": (np.ma.masked_array(X, X == 5), "fill"),
    "masked halves": (np.ma.masked_array(X.astype("f2"), X == 5), "fill"),
    "float8": (X.astype(ml_dtypes.float8_e4m3fn), "astype|convert"),
    "int4": ((X % 8).astype(ml_dtypes.int4), "astype|convert"),
}
if np.dtype(np.longdouble) != np.float64:
    ADVICE["longdouble"] = (X.astype(np.longdouble), "float64")
    ADVICE["swapped longdouble"] = (swapped(X.astype(np.longdouble)), "float64")


@operations
def test_refused_with_advice(name):
    for kind, (array, advice) in ADVICE.items():
        for x in (array, array.T, array[:1], array[1, :2]):
            if not kind.startswith("masked") or np.ma.is_masked(x):
                with refused(TypeError, ARGUMENT[name]) as error:
                    results(name, x, -1, x.shape)
                assert re.search(advice, str(error.value)), kind


@operations
def test_sparse_arrays_are_refused_with_advice(name):
    sparse = pytest.importorskip("scipy.sparse", reason="SciPy is not installed")
    for kind in (sparse.csr_array, sparse.csc_matrix, sparse.coo_array, sparse.lil_array):
        with refused(TypeError, ARGUMENT[name], "toarray"):
            results(name, kind(X), -1, X.shape)


# ---------------------------------------------------------------------------------------
# Subclasses
# ---------------------------------------------------------------------------------------


def never(self, *args, **options):
    raise AssertionError("a method of the subclass was called")


UNRULY = """squeeze reshape ravel flatten transpose view astype copy byteswap item tolist
    __getitem__ __setitem__ __len__ __iter__ __array__ __array_finalize__ __array_wrap__
    __array_ufunc__ __dlpack__ __dlpack_device__ __eq__ __bool__ __float__
    __index__ __copy__ __deepcopy__ __reduce__ sum max min any all fill take"""


def unruly(x, names=UNRULY):
    """A view of `x` whose class fails in each of these methods."""
    kind = type("Unruly", (np.ndarray,), {"__hash__": object.__hash__})
    view = x.view(kind)
    for name in names.split():
        setattr(kind, name, never)
    return view


@operations
def test_methods_of_a_subclass_do_not_matter(name):
    for dtype, axis in itertools.product(("f2", BF16, "f4", "f8", "i2", "?"), (-1, 0)):
        x = numbers(np.dtype(dtype), (19, 17))
        want = expected(name, x, axis)
        if name == "softmax_grad_hess" and axis == 0:
            continue
        for view in (x, swapped(x), field(x), fortran(x), np.broadcast_to(x[:1], x.shape)):
            wanted = expected(name, view, axis) if 0 in view.strides else want
            gives(name, unruly(view), axis, wanted, dtype, shape=x.shape)


def test_methods_of_targets_and_weights_do_not_matter():
    x, y = numbers(np.dtype("f4"), (19, 17)), np.arange(19) % 17
    soft, w, s = np.random.default_rng(1).random((19, 17)), np.arange(17.0), np.arange(19.0)
    for targets in (y, soft):
        want = weighted(x, targets, class_weight=w, sample_weight=s)
        wild = [unruly(a) for a in (targets, w, s)]
        got = weighted(x, wild[0], class_weight=wild[1], sample_weight=wild[2])
        for array, other in zip(got, want, strict=True):
            same(array, other)


@pytest.mark.parametrize("op", WITH_OUT)
def test_methods_of_out_do_not_matter(op):
    call = with_out(op)
    for dtype in ("f2", BF16, "f4", "f8", "i2"):
        x, y = numbers(np.dtype(dtype), (19, 17)), targets_for((19, 17), -1)
        want = call(x, y)
        for layout in PLACES[:-1]:
            plain = layout(np.zeros_like(want))
            out = unruly(plain)
            assert call(x, y, out) is out
            same(plain, want, layout.__name__)
        if op != "logsumexp" and want.dtype == x.dtype:
            out = unruly(x)
            assert call(out, y, out) is out
            same(x, want)


@pytest.mark.parametrize("op", WITH_OUT)
def test_numpy_functions_of_a_class_do_not_matter(op):
    for dtype in ("f2", BF16, "f4", "i2"):
        x, y = numbers(np.dtype(dtype), (19, 17)), targets_for((19, 17), -1)
        call = with_out(op)
        want = call(x, y)
        same(call(unruly(x, "__array_function__"), y), want)
        plain = np.zeros_like(want)
        call(x, y, unruly(plain, "__array_function__"))
        same(plain, want)


@operations
def test_usual_subclasses_give_plain_arrays(name):
    for dtype in ("f2", BF16, "f4", "f8", "i2", "?"):
        x = numbers(np.dtype(dtype), (19, 17))
        want = expected(name, x, -1)
        for view in (x, fortran(x), swapped(x)):
            for kind in (np.matrix, np.recarray, np.ma.MaskedArray):
                gives(name, view.view(kind), -1, want, dtype, kind)
        gives(name, mapped(x), -1, want, dtype)


@pytest.mark.parametrize("axis", [0, 1, (0, 1)])
def test_matrix_as_out_of_a_reduction(axis):
    for dtype in ("f2", BF16, "f4", "f8"):
        x = numbers(np.dtype(dtype), (6, 5))
        want = fl.logsumexp(x, axis, keepdims=True)
        for layout in PLACES:
            out = layout(np.zeros_like(want)).view(np.matrix)
            for source in (x, x.view(np.matrix)):
                assert fl.logsumexp(source, axis, keepdims=True, out=out) is out
                same(out, want)
                out[...] = 0
    if axis == (0, 1):
        with refused(ValueError, "out"):
            fl.logsumexp(x, axis, out=out)


# ---------------------------------------------------------------------------------------
# Large arrays
# ---------------------------------------------------------------------------------------


HUGE = 2**31 + 10


def test_class_axis_beyond_any_32_bit_integer():
    x = np.broadcast_to(np.ones((), BF16), (HUGE,))
    exact = 1 + np.log(reference.WIDE(HUGE))
    got = fl.logsumexp(x)
    assert np.max(ulps(got, exact)) <= 2
    assert fl.cross_entropy(x[np.newaxis], [HUGE - 1]) == pytest.approx(float(exact - 1), rel=3e-7)
    with refused(IndexError, "targets", HUGE):
        fl.cross_entropy(x[np.newaxis], [HUGE])


def test_sum_over_more_elements_than_any_32_bit_integer():
    x = np.broadcast_to(np.zeros((), "f4"), HUGE)
    got = fl.binary_cross_entropy_with_logits(x, np.broadcast_to(np.int8(1), HUGE), reduction="sum")
    assert got == pytest.approx(HUGE * math.log(2), rel=2e-7)


def overlapping(last):
    """More than 2**31 elements in little memory: zeros, and only the last of all is `last`."""
    some = np.zeros(2**16 + 2**15, BF16)
    some[-1] = last
    x = np.lib.stride_tricks.sliding_window_view(some, 2**15 + 1)
    return x, x.size - 1


def test_place_beyond_any_32_bit_integer():
    x, place = overlapping(9)
    assert place > 2**31
    assert fl.argmax(x, axis=None) == place


def free_memory():
    try:
        text = Path("/proc/meminfo").read_text(encoding="ascii")
    except OSError:
        return 0
    return int(re.search(r"MemAvailable: +(\d+) kB", text)[1]) * 1024


@pytest.mark.skipif(free_memory() < 2 * 9e9, reason="less than 18 GB of memory are free")
def test_array_of_nine_gigabytes():
    x = np.zeros(HUGE, "f4")
    x[-1] = 1
    assert fl.argmax(x) == HUGE - 1
    assert fl.softmax(x, out=x) is x
    e = np.exp(reference.WIDE(1))
    total = HUGE - 1 + e
    for place, exact in ((0, 1 / total), (2**31, 1 / total), (-1, e / total)):
        assert ulps(x[place], exact) <= 2


KINDS = {
    "Fortran": ("f4", fortran),
    "steps": ("f4", steps),
    "float16": ("f2", contiguous),
    "bfloat16": (BF16, contiguous),
    "float16, Fortran": ("f2", fortran),
    "int8": ("i1", contiguous),
    "bool": ("?", contiguous),
    "swapped float16": (">f2", contiguous),
    "swapped float32": (">f4", contiguous),
    "swapped float64, backwards": (">f8", backwards),
    "unaligned": ("f8", unaligned),
    "odd strides": ("f4", field),
    "int64": ("i8", contiguous),
}


@pytest.mark.parametrize("kind", KINDS)
def test_large_array_is_not_copied(kind):
    dtype, layout = KINDS[kind]
    x = layout(np.ones((16, 4 * MEGABYTE // max(2, np.dtype(dtype).itemsize) // 2), dtype))
    for axis in (-1, 0):
        view = np.moveaxis(x, -1, axis)
        for call in large_calls(view, axis):
            assert peak_growth(lambda c=call, v=view: c(v)) < 8 * MEGABYTE, axis


@pytest.mark.parametrize("layout", [contiguous, fortran, steps], ids=lambda f: f.__name__)
@pytest.mark.parametrize("axis", [None, (0, 2)])
def test_large_array_is_not_copied_for_several_axes(axis, layout):
    x = layout(np.ones((16, 4, 10 * MEGABYTE // 256), "f4"))
    out = np.ones(x.shape, "f4")
    for call in (
        lambda: fl.softmax(x, axis, out=out),
        lambda: fl.logsumexp(x, axis),
        lambda: fl.confidence(x, kind="entropy", axis=axis),
    ):
        assert peak_growth(call) < 4 * MEGABYTE
