"""argmax, top_k, predict and confidence: NumPy's decisions to the letter, and exact confidences."""

import functools
import math
import threading

import numpy as np
import pytest
import reference
from checks import WRONG_ARRAYS, kinds_of_arrays, need_wide, refused
from hypothesis import given
from hypothesis import strategies as st

import fastlogits
from fastlogits import argmax, confidence, predict, top_k

INF, NAN = np.inf, np.nan
HALF_TO_DOUBLE = ["f2", "f4", "f8"]
NATIVE = ["f4", "f8"]
WHOLE = ["?", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8"]
ANY_DTYPE = [*HALF_TO_DOUBLE, *NATIVE, *WHOLE]
MODES = ["largest", "smallest"]
KINDS = ["max_prob", "margin", "entropy", "energy"]
ISAS = fastlogits.available_isas()
AxisError = np.exceptions.AxisError

on_every_isa = pytest.mark.usefixtures("isa")


# ---------------------------------------------------------------------------------------
# What is expected
# ---------------------------------------------------------------------------------------


def native(x):
    """A contiguous copy, aligned and in native byte order."""
    return np.array(x, dtype=x.dtype.newbyteorder("="), order="C", copy=True)


def order_of(x, axis=-1, mode="largest"):
    """All indices along `axis` in the order of `top_k`: by a stable sort of dense ranks."""
    x = native(x)
    rank = np.unique(x, return_inverse=True)[1].reshape(x.shape).astype(np.int64)
    if mode == "largest":
        rank = -rank
    if x.dtype.kind == "f":
        rank[np.isnan(x)] = x.size
    return np.argsort(rank, axis=axis, kind="stable")


def identical(got, want):
    """The same type, shape, dtype and values, signs of zeros included."""
    assert type(got) is type(want)
    if got.dtype == want.dtype and got.shape == want.shape and got.tobytes() == want.tobytes():
        return
    np.testing.assert_array_equal(got, want, strict=True)
    if want.dtype.kind == "f":
        number = ~np.isnan(want)
        np.testing.assert_array_equal(np.signbit(got)[number], np.signbit(want)[number])


def is_top_k(x, k, axis=-1, mode="largest", order=None):
    """`top_k`, sorted or not, chooses the first k of `order`, and of every equal the first."""
    asked = {"axis": axis, "mode": mode}
    if axis is None:
        flat, axis = native(x).reshape(-1), 0
    else:
        flat = native(x)
    order = order_of(flat, axis, mode) if order is None else order
    first = np.take(order, np.arange(k), axis=axis)
    values = np.take_along_axis(flat, first, axis)
    pair = top_k(x, k, **asked)
    assert isinstance(pair, tuple)
    assert len(pair) == 2
    identical(pair[0], values)
    identical(pair[1], first.astype(np.intp))
    some, where = top_k(x, k, **asked, sorted=False)
    identical(np.sort(where, axis=axis), np.sort(first, axis=axis).astype(np.intp))
    identical(some, np.take_along_axis(flat, where, axis))


def confidence_error(got, x, kind, exact=None):
    """How many of the allowed errors the results are off: at most 1 is right.

    Allowed are
    - max_prob: 2 units in the last place;
    - energy: 1 unit of the largest of the result, the largest logit and 1;
    - entropy: 8 eps of its value, however small it is (and the terms that underflow);
    - margin: 8 eps of its value, or of 0.001 if that is larger.
    """
    got = np.asarray(got)
    exact = reference.confidence(x, kind) if exact is None else exact
    info = np.finfo(got.dtype)
    if kind == "max_prob":
        return reference.ulp_error(got, exact) / 2
    if kind == "energy":
        largest = np.asarray(x).max(axis=-1).astype(reference.WIDE)
        size = np.maximum(np.maximum(np.abs(exact), np.abs(largest)), 1)
        unit = reference.ulp(np.where(np.isfinite(size), size, 1), got.dtype)
    elif kind == "entropy":
        unit = 8 * info.eps * exact + 1000 * x.shape[-1] * reference.WIDE(info.smallest_normal)
    else:
        unit = 8 * info.eps * np.maximum(exact, reference.WIDE(1e-3))
    return reference.ulp_error(got, exact, unit)


def is_confidence(x, kind, axis=-1):
    got = confidence(x, kind=kind, axis=axis)
    x = np.moveaxis(native(x), axis, -1)
    assert got.shape == x.shape[:-1]
    assert got.dtype == x.dtype
    if got.size:
        assert np.max(confidence_error(got, x, kind)) <= 1


# ---------------------------------------------------------------------------------------
# Arrays of every kind
# ---------------------------------------------------------------------------------------


def values(rng, flavour, shape, dtype):
    """Of `dtype`: "random", "ties", or "special", the values at which mistakes are made."""
    if dtype.kind == "b":
        return rng.random(shape) < {"random": 0.5, "ties": 0.1, "special": 0.9}[flavour]
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        if flavour == "random":
            return rng.integers(info.min, info.max, shape, dtype, endpoint=True)
        some = [3, 4, 5] if flavour == "ties" else [info.min, info.min + 1, 1, info.max - 1]
        return rng.choice(np.array([*some, info.max], dtype), shape)
    if flavour == "random":
        return rng.normal(0, 3, shape).astype(dtype)
    info = np.finfo(dtype)
    one, tiny = np.ones((), dtype), info.smallest_subnormal
    some = [-1, -0.0, 0.0, 1.5]
    if flavour == "special":
        next_to_one = [np.nextafter(one, one * 2), np.nextafter(one, one * 0)]
        some += [NAN, NAN, INF, -INF, info.max, info.min, tiny, -tiny, one, *next_to_one]
    return rng.choice(np.array(some, dtype), shape)


@st.composite
def arrays(draw, dtypes, flavours=("special", "ties", "random")):
    """An array of 0 to 4 dimensions, sometimes one long, of any strides, alignment, byte order.

    Its layout comes from NumPy's generator, evenly: hypothesis would have most arrays tiny.
    """
    dtype = np.dtype(draw(st.sampled_from(dtypes)))
    flavour = draw(st.sampled_from(flavours))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    shape = rng.integers(1, 6, rng.choice([0, 1, 1, 2, 2, 2, 3, 3, 4]))
    if shape.size and rng.random() < 0.6:
        shape[rng.integers(shape.size)] = rng.integers(1, 301) if rng.random() < 0.9 else 0
    content = values(rng, flavour, shape, dtype)
    stored = dtype.newbyteorder() if rng.random() < 0.3 else dtype
    turn = rng.permutation(shape.size)
    steps = rng.choice([1, 1, -1, 2, -3], shape.size)
    room = shape[turn] * abs(steps)
    raw = np.full(math.prod(room.tolist()) * dtype.itemsize + 1, 0x7E, np.uint8)
    offset = rng.integers(2)
    x = raw[offset : len(raw) - 1 + offset].view(stored).reshape(room)
    x = x[(..., *(slice(None, None, step) for step in steps))].transpose(np.argsort(turn))
    x[...] = content
    if x.size and x.ndim and rng.random() < 0.2:
        x = np.broadcast_to(x.take([0], axis=rng.integers(x.ndim)), x.shape)
    if rng.random() < 0.5:
        x.setflags(write=False)
    return x


def axes(x, *more):
    """An axis of x (for a scalar, one that NumPy would take), or one of `more`."""
    dims = max(x.ndim, 1)
    return st.sampled_from([*range(-dims, dims), *more])


def classes_along(x, axis):
    return x.size if axis is None or x.ndim == 0 else x.shape[axis]


@functools.cache
def rows_of_every_length(dtype):
    """Five rows of each length up to 300, with ties in the first two."""
    rng = np.random.default_rng(7)
    batches = []
    for classes in range(1, 301):
        x = rng.normal(0, 3, (5, classes))
        x[:2] = np.round(x[:2])
        x = x.astype(dtype)
        x.setflags(write=False)
        batches.append(x)
    return batches


@functools.cache
def exact_of_wide_row(pattern, dtype, kind):
    return reference.confidence(wide_row(pattern, dtype), kind)


def with_each_place(classes, value, dtype):
    """As many rows as classes, in each of which another logit is `value`; the rest in -3 to 3."""
    x = np.random.default_rng(classes).uniform(-3, 3, (classes, classes)).astype(dtype)
    np.fill_diagonal(x, value)
    return x


WIDE_PATTERNS = {
    "random": lambda n, rng: rng.normal(0, 3, n),
    "ascending": lambda n, rng: np.arange(n),
    "descending": lambda n, rng: -np.arange(n),
    "all equal": lambda n, rng: np.zeros(n),
    "ties": lambda n, rng: rng.integers(0, 40, n),
    "one above": lambda n, rng: (np.arange(n) == n - 3).astype(float),
    "few numbers among nan": lambda n, rng: np.where(rng.random(n) < 30 / n, rng.random(n), NAN),
    "few nan among numbers": lambda n, rng: np.where(rng.random(n) < 30 / n, NAN, rng.random(n)),
    "all nan": lambda n, rng: np.full(n, NAN),
    "-inf and nan": lambda n, rng: np.where(rng.random(n) < 0.5, NAN, -INF),
    "mostly -inf": lambda n, rng: np.where(rng.random(n) < 30 / n, rng.normal(0, 3, n), -INF),
    "mostly inf": lambda n, rng: np.where(rng.random(n) < 0.9, INF, rng.normal(0, 3, n)),
}
WIDE = 128_256


@functools.cache
def wide_row(pattern, dtype):
    x = WIDE_PATTERNS[pattern](WIDE, np.random.default_rng(WIDE)).astype(dtype)
    x.setflags(write=False)
    return x


@functools.cache
def wide_order(pattern, dtype, mode):
    return order_of(wide_row(pattern, dtype), mode=mode)


# ---------------------------------------------------------------------------------------
# argmax
# ---------------------------------------------------------------------------------------


@on_every_isa
@given(st.data())
def test_argmax_is_that_of_numpy(data):
    x = data.draw(arrays(ANY_DTYPE))
    axis = data.draw(axes(x, None))
    before = x.tobytes()
    if classes_along(x, axis) == 0:
        with pytest.raises(ValueError, match=r"\blogits\b"):
            argmax(x, axis=axis)
    else:
        identical(argmax(x, axis=axis), np.argmax(native(x), axis=axis))
    assert x.tobytes() == before


@on_every_isa
@pytest.mark.parametrize("dtype", [*HALF_TO_DOUBLE, "i1", "u8"])
def test_argmax_of_rows_of_every_length(dtype):
    for x in rows_of_every_length(dtype if dtype != "u8" else "i8"):
        x = x.astype(dtype)
        want = np.argmax(x, axis=-1)
        identical(argmax(x), want)
        identical(argmax(x.T, axis=0), want)
        identical(argmax(np.ascontiguousarray(x.T), axis=0), want)


@on_every_isa
@pytest.mark.parametrize("value", [4, INF, NAN])
@pytest.mark.parametrize("dtype", HALF_TO_DOUBLE)
def test_argmax_finds_the_largest_at_every_place(dtype, value):
    for classes in range(1, 141):
        x = with_each_place(classes, value, dtype)
        want = np.arange(classes)
        identical(argmax(x), want)
        identical(argmax(x, axis=0), want)


@on_every_isa
@pytest.mark.parametrize("dtype", HALF_TO_DOUBLE)
def test_argmax_gives_the_first_of_two_equal_at_every_place(dtype):
    for classes in range(2, 141):
        for distance in {1, 2, 8, 16, 31, 32, 64, classes - 1}:
            if distance < classes:
                x = with_each_place(classes, 4, dtype)[: classes - distance]
                x[np.arange(len(x)), np.arange(distance, classes)] = 4
                identical(argmax(x), np.arange(len(x)))
                identical(argmax(np.ascontiguousarray(x.T), axis=0), np.arange(len(x)))


@on_every_isa
@pytest.mark.parametrize("dtype", NATIVE)
def test_argmax_of_a_nan_behind_or_before_infinity(dtype):
    for classes in (2, 3, 7, 8, 16, 31, 33, 64, 70, 140, 300):
        x = np.zeros((classes, classes), dtype)
        np.fill_diagonal(x, NAN)
        x[:, 0] = INF
        x[0, 0] = NAN
        identical(argmax(x), np.arange(classes))
        x[:, -1] = NAN
        identical(argmax(x), np.arange(classes))


@on_every_isa
@pytest.mark.parametrize("dtype", NATIVE)
@pytest.mark.parametrize("pattern", WIDE_PATTERNS)
def test_argmax_of_a_wide_row(pattern, dtype):
    x = wide_row(pattern, dtype)
    identical(argmax(x), np.argmax(x))
    two = np.stack([x, x[::-1]])
    identical(argmax(two), np.argmax(two, axis=-1))
    identical(argmax(two.T, axis=0), np.argmax(two, axis=-1))


@on_every_isa
@pytest.mark.parametrize("dtype", NATIVE)
@pytest.mark.parametrize("value", [1, INF, NAN])
def test_argmax_finds_the_largest_in_a_wide_row(value, dtype):
    x = np.zeros(WIDE, dtype)
    x[-1] = value
    for place in (WIDE - 1, 100_000, 65_537, 65_536, 65_535, 4097, 4096, 4095, 255, 33, 16, 1, 0):
        x[place] = value  # The later ones stay: ties.
        assert argmax(x) == place


@on_every_isa
@pytest.mark.parametrize("value", [-INF, -0.0, NAN, "lowest"])
@pytest.mark.parametrize("dtype", HALF_TO_DOUBLE)
def test_argmax_of_equal_logits_is_the_first(dtype, value):
    value = np.finfo(dtype).min if value == "lowest" else value
    for classes in (1, 2, 3, 7, 8, 9, 16, 17, 31, 32, 33, 64, 65, 70, 200, 1000, 5000):
        x = np.full((3, classes), value, dtype)
        identical(argmax(x), np.zeros(3, np.intp))
        identical(argmax(x.T, axis=0), np.zeros(3, np.intp))
        x[1, -1] = 0 if value != 0 else 1
        identical(argmax(x), np.argmax(x, axis=-1))


@on_every_isa
@pytest.mark.parametrize("dtype", HALF_TO_DOUBLE)
def test_argmax_takes_signed_zeros_as_equal_and_subnormals_as_they_are(dtype):
    tiny = np.finfo(dtype).smallest_subnormal
    for classes in (3, 8, 16, 33, 64, 70, 300, 5000):
        x = np.zeros((4, classes), dtype)
        x[0, ::2] = -0.0
        x[1, 1::2] = -0.0
        x[2, 2] = tiny
        x[3] = -tiny
        x[3, -1] = -0.0
        identical(argmax(x), np.array([0, 0, 2, classes - 1]))
        identical(argmax(x.T, axis=0), np.array([0, 0, 2, classes - 1]))


@on_every_isa
@pytest.mark.parametrize(
    ("dtype", "large"),
    [("i8", 2**63 - 1), ("u8", 2**64 - 1), ("u8", 2**63), ("i8", 2**53 + 1), ("u4", 2**32 - 1)],
)
def test_whole_numbers_next_to_each_other_are_not_merged(dtype, large):
    for classes in (2, 9, 33, 70, 300):
        x = np.full((2, classes), large - 1, dtype)
        x[0, -1] = x[1, classes // 2] = large
        want = np.array([classes - 1, classes // 2])
        identical(argmax(x), want)
        identical(argmax(x.T, axis=0), want)
        identical(predict(x), want)
        for mode in MODES:
            is_top_k(x, 1, mode=mode)
            is_top_k(x, 2, mode=mode)
            is_top_k(x, classes, mode=mode)


def test_negative_numbers_next_to_each_other_are_not_merged():
    x = np.array([-(2**63), -(2**63) + 1, -(2**63)])
    assert argmax(x) == 1
    is_top_k(x, 2)
    is_top_k(x, 2, mode="smallest")


@on_every_isa
@pytest.mark.parametrize("mode", MODES)
def test_every_float16_is_in_its_place(mode):
    x = np.random.default_rng(1).permutation(2**16).astype(np.uint16).view(np.float16)
    is_top_k(x, 2**16, mode=mode)
    is_top_k(x, 100, mode=mode)
    assert argmax(x) == np.argmax(x)
    numbers = x[~np.isnan(x)]
    assert argmax(numbers) == np.argmax(numbers)


def test_argmax_default_axis_is_the_last():
    x = np.random.default_rng(8).normal(size=(2, 3, 4))
    identical(argmax(x), np.argmax(x, -1))
    identical(argmax(x, 0), np.argmax(x, 0))
    identical(argmax(x, np.int64(1)), np.argmax(x, 1))
    identical(argmax(x, None), np.argmax(x))


@pytest.mark.parametrize("shape", [(0,), (3, 0), (2, 3, 0), (0, 0)])
@pytest.mark.parametrize("dtype", [*HALF_TO_DOUBLE, "i8", "?"])
def test_nothing_to_choose_from(dtype, shape):
    x = np.empty(shape, dtype)
    for axis in (-1, None):
        with refused(ValueError, "logits"):
            argmax(x, axis=axis)
    with refused(ValueError, "logits"):
        predict(x)
    for kind in KINDS:
        with refused(ValueError, "logits"):
            confidence(x, kind=kind)
    with refused(ValueError, "k"):
        top_k(x, 1)


@pytest.mark.parametrize("shape", [(0, 5), (0, 1), (3, 0, 5)])
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i8", "?"])
def test_no_rows(dtype, shape):
    x = np.empty(shape, dtype)
    identical(argmax(x), np.empty(shape[:-1], np.intp))
    identical(predict(x), np.empty(shape[:-1], np.intp))
    identical(predict(x, classes=["a"] * shape[-1]), np.empty(shape[:-1], "U1"))
    identical(predict(x, threshold=0.3), np.empty(shape, bool))
    is_top_k(x, 1)
    for kind in KINDS:
        got = confidence(x, kind=kind)
        assert got.shape == shape[:-1]
        assert got.dtype == confidence(np.ones((1, 1), dtype), kind=kind).dtype


# ---------------------------------------------------------------------------------------
# top_k
# ---------------------------------------------------------------------------------------


def test_top_k_of_a_few_written_out():
    x = [1.0, 3.0, NAN, 3.0, -INF, 2.0, -0.0, 0.0]
    for mode, order in (
        ("largest", [1, 3, 5, 0, 6, 7, 4, 2]),
        ("smallest", [4, 6, 7, 0, 5, 1, 3, 2]),
    ):
        assert order_of(np.array(x), mode=mode).tolist() == order
        for k in range(9):
            got, where = top_k(x, k, mode=mode)
            identical(where, np.array(order[:k], np.intp))
            identical(got, np.array(x)[order[:k]])
    got, where = top_k([[1, 5, 5], [9, 8, 7]], 2)
    assert got.tolist() == [[5, 5], [9, 8]]
    assert where.tolist() == [[1, 2], [0, 1]]
    got, where = top_k([[1, 5, 5], [9, 8, 7]], 2, axis=None)
    assert got.tolist() == [9, 8]
    assert where.tolist() == [3, 4]
    got, where = top_k([[1, 5, 5], [9, 8, 7]], 1, axis=0, mode="smallest")
    assert got.tolist() == [[1, 5, 5]]
    assert where.tolist() == [[0, 0, 0]]


@on_every_isa
@given(st.data())
def test_top_k_is_the_head_of_a_stable_sort(data):
    x = data.draw(arrays(ANY_DTYPE))
    axis = data.draw(axes(x, None)) if x.ndim else None
    n = classes_along(x, axis)
    k = data.draw(st.sampled_from([n // 2, min(n, 1), min(n, 3), n, 0]) | st.integers(0, n))
    before = x.tobytes()
    is_top_k(x, k, axis, data.draw(st.sampled_from(MODES)))
    assert x.tobytes() == before


@pytest.mark.skipif(not hasattr(np, "top_k"), reason="NumPy's own top_k came with NumPy 2.5")
@given(st.data())
def test_top_k_gives_the_values_of_numpy(data):
    x = data.draw(arrays(ANY_DTYPE, ["random", "ties"]).filter(lambda x: x.size))
    x = x.reshape(x.shape or 1)
    axis = data.draw(axes(x))
    k = data.draw(st.integers(1, x.shape[axis]))
    mode = data.draw(st.sampled_from(MODES))
    want, _ = np.top_k(native(x), k, axis=axis, mode=mode)
    got, _ = top_k(x, k, axis=axis, mode=mode)
    np.testing.assert_array_equal(got, want, strict=True)


@on_every_isa
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", NATIVE)
def test_top_k_of_rows_of_every_length(dtype, mode):
    for x in rows_of_every_length(dtype):
        classes = x.shape[-1]
        order = order_of(x, mode=mode)
        for k in {1, 2, 5, 10, classes // 2, classes}:
            if k <= classes:
                is_top_k(x, k, mode=mode, order=order)
        is_top_k(np.ascontiguousarray(x.T), min(3, classes), axis=0, mode=mode, order=order.T)


@on_every_isa
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", NATIVE)
def test_top_k_finds_the_first_at_every_place(dtype, mode):
    sign = 1 if mode == "largest" else -1
    for classes in range(1, 141):
        x = with_each_place(classes, 4 * sign, dtype)
        where = top_k(x, 1, mode=mode)[1]
        identical(where, np.arange(classes)[:, None])
        if classes % 7 == 0:
            is_top_k(x, 10 if classes >= 10 else 3, mode=mode)


@on_every_isa
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", HALF_TO_DOUBLE)
def test_top_k_takes_a_nan_at_any_place_last(dtype, mode):
    for classes in (1, 2, 3, 7, 8, 16, 31, 33, 64, 70, 140):
        x = with_each_place(classes, NAN, dtype)
        values, where = top_k(x, classes, mode=mode)
        identical(where[:, -1], np.arange(classes))
        assert np.isnan(values[:, -1]).all()
        assert not np.isnan(top_k(x, classes - 1, mode=mode)[0]).any()
        few = top_k(x, min(2, classes - 1), mode=mode)[1]
        assert (few != np.arange(classes)[:, None]).all()


@on_every_isa
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_sign_of_a_nan_does_not_matter_to_top_k(mode, sign):
    for dtype in NATIVE:
        x = np.arange(40).astype(dtype)
        x[[3, 30]] = np.copysign(NAN, sign)
        x[31] = -INF
        x[2] = INF
        is_top_k(x, 5, mode=mode)
        is_top_k(x, 39, mode=mode)
        is_top_k(x, 40, mode=mode)


@on_every_isa
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", NATIVE)
@pytest.mark.parametrize("pattern", WIDE_PATTERNS)
def test_few_of_a_wide_row(pattern, dtype, mode):
    order = wide_order(pattern, dtype, mode)
    for k in (0, 1, 2, 5, 10, 64, 100, 1000):
        is_top_k(wide_row(pattern, dtype), k, mode=mode, order=order)


@on_every_isa
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", NATIVE)
@pytest.mark.parametrize("pattern", ["random", "ties", "ascending", "few numbers among nan"])
def test_many_of_a_wide_row(pattern, dtype, mode):
    order = wide_order(pattern, dtype, mode)
    for k in (WIDE // 2, WIDE - 1, WIDE):
        is_top_k(wide_row(pattern, dtype), k, mode=mode, order=order)


@on_every_isa
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", NATIVE)
def test_every_k(dtype, mode):
    rng = np.random.default_rng(4)
    x = np.stack([rng.normal(0, 3, 200), rng.integers(0, 5, 200), np.arange(200)]).astype(dtype)
    x[0, ::9] = NAN
    order = order_of(x, mode=mode)
    for k in range(201):
        is_top_k(x, k, mode=mode, order=order)


@on_every_isa
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", HALF_TO_DOUBLE)
def test_top_k_tells_subnormals_apart_and_signed_zeros_not(dtype, mode):
    tiny = np.finfo(dtype).smallest_subnormal
    for classes in (8, 33, 70, 5000):
        x = np.where(np.arange(classes) % 2, -0.0, 0.0).astype(dtype)
        x[5], x[6], x[-1] = -tiny, 2 * tiny, tiny
        for k in (1, 2, 3, 4, classes - 1, classes):
            is_top_k(x, k, mode=mode)


@pytest.mark.parametrize("dtype", [*HALF_TO_DOUBLE, *WHOLE])
def test_top_k_of_a_byte_swapped_array_is_native(dtype):
    x = np.arange(12).reshape(3, 4).astype(np.dtype(dtype).newbyteorder())
    values, indices = top_k(x, 2)
    assert values.dtype == np.dtype(dtype)
    assert values.dtype.isnative
    assert indices.dtype == np.intp
    is_top_k(x, 2)


@pytest.mark.parametrize("shape", [(0,), (3, 0), (2, 0, 3), (0, 4)])
def test_none_of_nothing(shape):
    for axis in range(len(shape)):
        want = (*shape[:axis], 0, *shape[axis + 1 :])
        values, indices = top_k(np.empty(shape, np.float32), 0, axis=axis)
        assert values.shape == indices.shape == want
        assert (values.dtype, indices.dtype) == (np.float32, np.intp)


def test_k_may_be_any_integer():
    x = np.array([4.0, 6.0, 5.0])
    for two in (2, np.int8(2), np.uint64(2), np.array(2)):
        identical(top_k(x, two)[1], np.array([1, 2]))


@pytest.mark.parametrize("dtype", NATIVE)
def test_unsorted_places_are_the_same_on_every_instruction_set(dtype):
    x = np.random.default_rng(0).normal(size=(2, 5000)).astype(dtype)
    before = fastlogits.get_isa()
    try:
        for classes in (10, 100, 1000, 5000):
            for k in (1, 10, 17, 63, 64, 128, 129, 300):
                found = []
                for isa in ISAS:
                    fastlogits.set_isa(isa)
                    if k <= classes:
                        found.append(top_k(x[:, :classes], k, sorted=False)[1].tobytes())
                assert len(set(found)) <= 1
    finally:
        fastlogits.set_isa(before)


def test_argmax_of_an_array_that_changes_is_still_a_place():
    """Another thread makes NaN and numbers of it while the call looks at it."""
    x = np.zeros(100_000, np.float32)
    states = np.full_like(x, NAN), np.zeros_like(x), np.arange(x.size, dtype=x.dtype)
    done = threading.Event()

    def change():
        while not done.is_set():
            for state in states:
                np.copyto(x, state)

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(300):
            assert 0 <= argmax(x) < x.size
            assert (top_k(x, 5)[1] < x.size).all()
            assert (top_k(x, 500)[1] < x.size).all()
    finally:
        done.set()
        thread.join()


@pytest.mark.parametrize("sorted", [True, False])
def test_top_k_gives_new_arrays(sorted):
    x = np.random.default_rng(4).normal(0, 3, (4, 5)).astype(np.float32)
    for source in (x, x.T, x[:, ::2], x[0]):
        for k in (1, source.shape[-1]):
            for got in top_k(source, k, sorted=sorted):
                assert type(got) is np.ndarray
                assert got.flags.writeable
                assert got.flags.aligned
                assert not np.shares_memory(got, source)


# ---------------------------------------------------------------------------------------
# predict
# ---------------------------------------------------------------------------------------


@on_every_isa
@given(st.data())
def test_predict_is_argmax(data):
    x = data.draw(arrays(ANY_DTYPE))
    axis = data.draw(axes(x, None))
    n = classes_along(x, axis)
    if n == 0:
        return
    before = x.tobytes()
    want = np.argmax(native(x), axis=axis)
    identical(predict(x, axis=axis), want)
    labels = np.random.default_rng(n).permutation(n) * 10
    identical(predict(x, axis=axis, classes=labels), labels[want])
    assert x.tobytes() == before


@pytest.mark.parametrize(
    "classes",
    [
        ["cat", "dog", "horse"],
        ("a", "b", "c"),
        np.array(["a", "b", "c"]),
        np.array([b"x", b"yy", b"zzz"]),
        [10, 20, 30],
        np.array([7, 8, 9], np.int8),
        np.array([7, 8, 9], ">u4"),
        [0.5, NAN, 2.5],
        [True, False, True],
        [1j, 2j, 3j],
        np.array(["one", None, (1, 2)], object),
        np.array(["2020-01-01", "NaT", "2021-01-01"], "datetime64[D]"),
        np.arange(6)[::-2],
        range(5, 8),
    ],
    ids=lambda classes: str(np.asarray(classes, None).dtype),
)
def test_predict_gives_the_label_of_the_class(classes):
    x = np.array([[1.0, 2.0, 3.0], [1.0, 3.0, 2.0], [3.0, 2.0, 1.0], [2.0, 3.0, 3.0]], np.float32)
    labels = np.asarray(classes)
    got = predict(x, classes=classes)
    want = labels[[2, 1, 0, 1]]
    assert type(got) is np.ndarray
    assert got.shape == (4,)
    assert got.dtype == labels.dtype
    assert got.tolist() == want.tolist() or labels.dtype.kind == "f"
    if labels.dtype.kind != "O":
        np.testing.assert_array_equal(got, want)
    cube = np.stack([x, x[::-1]])
    assert predict(cube, classes=classes).shape == (2, 4)
    assert predict(np.moveaxis(cube, -1, 0), axis=0, classes=classes).shape == (2, 4)


def test_predict_of_one_row_is_a_scalar():
    assert type(predict([1.0, 3.0, 2.0])) is np.intp
    assert predict([1.0, 3.0, 2.0]) == 1
    label = predict([1.0, 3.0, 2.0], classes=["a", "b", "c"])
    assert np.shape(label) == ()
    assert label == "b"
    assert predict([1.0, 2.0, 2.0, NAN], classes=["p", "q", "r", "s"]) == "s"


@on_every_isa
@given(st.data())
def test_predict_with_a_threshold_compares_with_its_logit(data):
    x = data.draw(arrays(ANY_DTYPE))
    t = data.draw(st.floats(0.001, 0.999) | st.sampled_from([0.5, 1e-300, 5e-324, 1 - 2**-53]))
    before = x.tobytes()
    got = predict(x, threshold=t)
    y = native(x).astype(np.longdouble)
    t = np.longdouble(t)
    cutoff = np.log(t) - np.log1p(-t)
    assert np.shape(got) == x.shape
    assert got.dtype == bool
    # The cutoff may be rounded, to the precision in which the logits are compared.
    eps = np.finfo(np.float32 if x.dtype.kind == "f" and x.itemsize < 8 else np.float64).eps
    clear = ~(np.abs(y - cutoff) <= 4 * eps * max(1, abs(cutoff)) * (t != 0.5))
    np.testing.assert_array_equal(got[clear], (y > cutoff)[clear])
    labels = np.array(["no", "yes"])
    np.testing.assert_array_equal(
        predict(x, threshold=float(t), classes=labels), labels[got.astype(int)], strict=True
    )
    assert x.tobytes() == before


@on_every_isa
@pytest.mark.parametrize("dtype", HALF_TO_DOUBLE)
@pytest.mark.parametrize("size", [1, 7, 16, 33, 70, 1000])
def test_threshold_one_half_is_the_sign_of_the_logit(dtype, size):
    info = np.finfo(dtype)
    tiny = info.smallest_subnormal
    some = [0.0, -0.0, tiny, -tiny, 1, -1, INF, -INF, NAN, -NAN, info.max, info.min]
    above = [False, False, True, False, True, False, True, False, False, False, True, False]
    for shift in range(12):
        x = np.resize(np.roll(np.array(some, dtype), shift), size)
        want = np.resize(np.roll(above, shift), size)
        identical(predict(x, threshold=0.5), want)


@on_every_isa
@pytest.mark.parametrize("dtype", NATIVE)
@pytest.mark.parametrize("t", [5e-324, 1e-300, 1e-40, 1e-8, 0.1, 0.3, 0.7, 0.999, 1 - 2**-53])
def test_threshold_cuts_at_its_logit(t, dtype):
    cutoff = math.log(t) - math.log1p(-t)
    x = np.array([cutoff - 1, cutoff * (1 - 1e-6), cutoff * (1 + 1e-6), cutoff + 1], dtype)
    x = np.sort(x)
    np.testing.assert_array_equal(predict(x, threshold=t), [False, False, True, True])
    x = np.array([-INF, INF, NAN, np.finfo(dtype).min, np.finfo(dtype).max], dtype)
    np.testing.assert_array_equal(predict(x, threshold=t), [False, True, False, False, True])


def test_threshold_of_float16_and_float32_is_compared_alike():
    x = np.arange(2**16, dtype=np.uint16).view(np.float16)
    for t in (0.1, 0.5, 0.52, 0.9, 0.99999):
        identical(predict(x, threshold=t), predict(x.astype(np.float32), threshold=t))


@pytest.mark.parametrize("integer", [*WHOLE, ">i8"])
def test_threshold_of_whole_numbers(integer):
    dtype = np.dtype(integer)
    if dtype.kind == "b":
        x, want = [False, True], [False, True]
    else:
        info = np.iinfo(dtype)
        x, want = [0, 1, 2, 3, info.max, info.min], [False, False, True, True, True, False]
    t = 0.5 if dtype.kind == "b" else 0.85  # Its logit is 1.73.
    identical(predict(np.array(x, dtype), threshold=t), np.array(want))


@pytest.mark.parametrize("threshold", [np.float32(0.25), np.float64(0.25), np.float16(0.25)])
def test_threshold_may_be_any_real_number(threshold):
    x = np.random.default_rng(0).normal(-1, 1, (5, 6))
    identical(predict(x, threshold=threshold), x > -math.log(3))


def test_threshold_of_nothing_and_of_a_scalar():
    assert predict(np.empty((3, 0)), threshold=0.5).shape == (3, 0)
    assert predict(np.empty((3, 0)), threshold=0.5, classes=["a", "b"]).dtype == np.dtype("U1")
    for scalar in (0.3, np.float32(0.3), np.array(0.3), 1, True):
        got = predict(scalar, threshold=0.5)
        assert np.shape(got) == ()
        assert got.dtype == bool
        assert got
        assert predict(scalar, threshold=0.5, classes=["no", "yes"]) == "yes"
        assert predict(scalar, threshold=0.99, classes=[-1, 1]) == -1


# ---------------------------------------------------------------------------------------
# confidence
# ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@on_every_isa
@given(data=st.data())
def test_confidence_of_any_array(kind, data):
    x = data.draw(arrays(NATIVE))
    axis = data.draw(axes(x))
    if classes_along(x, axis) == 0:
        return
    need_wide(x.dtype)
    before = x.tobytes()
    got = confidence(x, kind=kind, axis=axis)
    rows = np.moveaxis(native(x).reshape(x.shape or 1), axis, -1)
    assert got.dtype == rows.dtype
    assert np.shape(got) == rows.shape[: max(x.ndim - 1, 0)]
    if rows.size:
        got = np.asarray(got).reshape(rows.shape[:-1])
        assert np.max(confidence_error(got, rows, kind)) <= 1
        same = confidence(np.ascontiguousarray(rows), kind=kind)
        np.testing.assert_array_equal(got, same)
    assert x.tobytes() == before


@on_every_isa
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", NATIVE)
def test_confidence_of_rows_of_every_length(dtype, kind):
    need_wide(dtype)
    for x in rows_of_every_length(dtype):
        is_confidence(x, kind)
        is_confidence(np.ascontiguousarray(x.T), kind, axis=0)


@functools.cache
def each_place_of_the_largest(dtype):
    return [with_each_place(n, 4 + n % 5, dtype) for n in [*range(1, 72), 100, 127, 128, 129, 140]]


@on_every_isa
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", NATIVE)
def test_confidence_sees_the_largest_at_every_place(dtype, kind):
    need_wide(dtype)
    for x in each_place_of_the_largest(dtype):
        is_confidence(x, kind)


@on_every_isa
@pytest.mark.parametrize("dtype", NATIVE)
def test_margin_sees_the_second_at_every_place(dtype):
    """Before and behind the largest, in the same lane and in others."""
    x1, x2 = 5.0, 4.0
    for classes in [*range(2, 72), 127, 128, 129, 140, 300]:
        for first in {0, classes // 2, classes - 1}:
            x = np.full((classes, classes), -1000, dtype)
            np.fill_diagonal(x, x2)
            x[:, first] = x1
            x[first, first] = x1
            got = confidence(x, kind="margin")
            want = np.full(classes, np.tanh(0.5))
            want[first] = 1  # There no second is left.
            np.testing.assert_allclose(got, want, rtol=8 * np.finfo(dtype).eps)


@on_every_isa
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", NATIVE)
@pytest.mark.parametrize("pattern", ["random", "all equal", "ties", "one above", "mostly -inf"])
def test_confidence_of_a_wide_row(pattern, dtype, kind):
    need_wide(dtype)
    x = wide_row(pattern, dtype)
    got = confidence(x, kind=kind)
    assert confidence_error(got, x, kind, exact_of_wide_row(pattern, dtype, kind)) <= 1
    identical(confidence(np.stack([x, x], axis=1), kind=kind, axis=0), np.array([got, got]))


@on_every_isa
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("gap", [3, 10, 17, 20, 36, 60, 80])
@pytest.mark.parametrize("dtype", NATIVE)
def test_confident_rows_keep_their_digits(dtype, gap, kind):
    """The entropy of a row that is sure to 1 - 1e-17 is right to a few units, and not 0."""
    need_wide(dtype)
    rng = np.random.default_rng(gap)
    for classes in (2, 3, 8, 10, 33, 100, 1000, 5000):
        x = rng.normal(0, 1, (20, classes))
        x[np.arange(20), rng.integers(0, classes, 20)] = gap + np.log(classes)
        x = x.astype(dtype)
        is_confidence(x, kind)
        if kind == "entropy":
            assert (confidence(x, kind=kind) > 0).all()


@on_every_isa
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("offset", [0, 100, -5000, 1e6])
@pytest.mark.parametrize("dtype", NATIVE)
def test_confidence_of_logits_far_from_zero(dtype, offset, kind):
    need_wide(dtype)
    rng = np.random.default_rng(3)
    for classes in (2, 10, 33, 1000):
        for scale in (0.1, 3, 100):
            is_confidence((rng.normal(0, scale, (20, classes)) + offset).astype(dtype), kind)


@on_every_isa
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", NATIVE)
def test_confidence_of_two_logits_next_to_each_other(dtype, kind):
    need_wide(dtype)
    x = np.random.default_rng(2).normal(0, 1, (40, 10)).astype(dtype)
    x[:, 3] = np.linspace(4, 9, 40)
    x[:20, 7] = np.nextafter(x[:20, 3], x[:20, 0])
    x[20:, 7] = x[20:, 3] - x.dtype.type(1e-3)
    is_confidence(x, kind)


@on_every_isa
@pytest.mark.parametrize("dtype", NATIVE)
def test_margin_of_a_tie_is_zero(dtype):
    for classes in (2, 3, 8, 16, 31, 32, 33, 64, 70, 1000, 5000):
        x = np.random.default_rng(classes).normal(0, 1, (30, classes)).astype(dtype)
        for row, distance in enumerate([1, 2, 4, 8, 16, 32, classes // 2, classes - 1] * 3):
            first = row % classes
            x[row, [first, (first + max(distance, 1)) % classes]] = 7.25
        tied = (x == 7.25).sum(axis=-1) == 2
        assert tied.any()
        np.testing.assert_array_equal(confidence(x, kind="margin")[tied], 0)


SPECIAL_ROWS = {  # max_prob, margin and entropy; energy
    "nan": ([NAN, 1, 2], NAN, NAN),
    "inf": ([INF, 1, 2], NAN, -INF),
    "two inf": ([INF, INF, 1], NAN, -INF),
    "inf and -inf": ([INF, -INF, 1], NAN, -INF),
    "inf and nan": ([INF, NAN, 1], NAN, NAN),
    "nan and inf": ([NAN, INF, 1], NAN, NAN),
    "nan and -inf": ([NAN, -INF, 1], NAN, NAN),
    "all nan": ([NAN, NAN, NAN], NAN, NAN),
    "all -inf": ([-INF, -INF, -INF], NAN, INF),
    "all inf": ([INF, INF, INF], NAN, -INF),
}


@on_every_isa
@pytest.mark.parametrize("row", SPECIAL_ROWS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", NATIVE)
def test_special_value_spoils_its_row_and_no_other(dtype, kind, row):
    special, spoiled, energy = SPECIAL_ROWS[row]
    want = energy if kind == "energy" else spoiled
    for classes in (3, 4, 7, 8, 9, 16, 31, 33, 64, 70, 300, 5000):
        clean = np.random.default_rng(classes).normal(0, 3, (7, classes)).astype(dtype)
        x = clean.copy()
        if row.startswith("all"):
            x[::2] = special[0]
        else:
            for i, place in enumerate(np.linspace(0, classes - 3, 4).astype(int)):
                x[2 * i, place : place + 3] = special
        got, before = confidence(x, kind=kind), confidence(clean, kind=kind)
        np.testing.assert_array_equal(got[::2], want)
        np.testing.assert_array_equal(got[1::2], before[1::2])
        assert np.isfinite(before).all()
        np.testing.assert_array_equal(confidence(x.T.copy(), kind=kind, axis=0), got)


@on_every_isa
@pytest.mark.parametrize("dtype", NATIVE)
def test_one_class_is_certain(dtype):
    x = np.array([[3.5], [-2000.0], [0.0], [np.finfo(dtype).max]], dtype)
    np.testing.assert_array_equal(confidence(x, kind="max_prob"), 1)
    np.testing.assert_array_equal(confidence(x, kind="margin"), 1)
    entropy = confidence(x, kind="entropy")
    np.testing.assert_array_equal(entropy, 0)
    assert not np.signbit(entropy).any()
    np.testing.assert_array_equal(confidence(x, kind="energy"), -x[:, 0])
    x = np.array([[NAN], [INF], [-INF]], dtype)
    for kind in ("max_prob", "margin", "entropy"):
        assert np.isnan(confidence(x, kind=kind)).all()
    np.testing.assert_array_equal(confidence(x, kind="energy"), [NAN, -INF, INF])


@on_every_isa
@pytest.mark.parametrize("classes", [2, 3, 8, 16, 33, 64, 70, 300, 5000])
@pytest.mark.parametrize("dtype", NATIVE)
def test_no_probability_contributes_nothing(dtype, classes):
    """One class has all: the others are -inf, or beyond the range of exp, or of the dtype."""
    info = np.finfo(dtype)
    for others, largest in ((-INF, 2.0), (-1e5, 3.0), (info.min, info.max), (-INF, info.min)):
        places = np.unique(np.linspace(0, classes - 1, 140).astype(int))
        x = np.full((len(places), classes), others, dtype)
        x[np.arange(len(places)), places] = largest
        np.testing.assert_array_equal(confidence(x, kind="max_prob"), 1)
        np.testing.assert_array_equal(confidence(x, kind="margin"), 1)
        entropy = confidence(x, kind="entropy")
        np.testing.assert_array_equal(entropy, 0)
        assert not np.signbit(entropy).any()
        np.testing.assert_array_equal(confidence(x, kind="energy"), -x.max(axis=-1))


@on_every_isa
@pytest.mark.parametrize("value", [0.0, 1.0, -1e4, "largest", "lowest", "subnormal"])
@pytest.mark.parametrize("dtype", NATIVE)
def test_equal_logits_are_as_uncertain_as_can_be(dtype, value):
    need_wide(dtype)
    info = np.finfo(dtype)
    named = {"largest": info.max, "lowest": info.min, "subnormal": info.smallest_subnormal}
    for classes in (2, 3, 10, 33, 64, 70, 1000, 5000):
        x = np.full((2, classes), named.get(value, value), dtype)
        x[1, ::2] = -INF
        for kind in KINDS:
            is_confidence(x, kind)
        margin = confidence(x, kind="margin")
        np.testing.assert_array_equal(margin, [0, 1 if classes < 4 else 0])


@on_every_isa
@pytest.mark.parametrize("kind", KINDS)
def test_dtype_of_confidence(kind):
    x = np.random.default_rng(5).integers(0, 9, (20, 33))
    for stored, computed in [
        ("f2", "f4"),
        ("f4", "f4"),
        ("f8", "f8"),
        (">f4", "f4"),
        (">f2", "f4"),
    ]:
        got = confidence(x.astype(stored), kind=kind)
        identical(got, confidence(x.astype(computed), kind=kind))
        assert got.dtype == np.dtype(computed)
    want = confidence(x.astype("f8"), kind=kind)
    for stored in [*WHOLE[1:], ">i4"]:
        identical(confidence(x.astype(stored), kind=kind), want)
    identical(confidence(x.tolist(), kind=kind), want)
    identical(confidence(x > 4, kind=kind), confidence((x > 4).astype(float), kind=kind))
    large = np.array([[2**63, 2**64 - 1], [2**63, 2**63 + 1]], np.uint64)
    identical(confidence(large, kind=kind), confidence(large.astype(float), kind=kind))


def test_confidence_by_default_is_the_largest_probability():
    x = np.random.default_rng(5).normal(0, 3, (4, 5, 6))
    identical(confidence(x), confidence(x, kind="max_prob", axis=2))
    np.testing.assert_allclose(confidence(x), fastlogits.softmax(x).max(axis=-1), rtol=1e-15)


@pytest.mark.parametrize("dtype", NATIVE)
@pytest.mark.parametrize("kind", KINDS)
def test_confidence_of_one_row_is_a_numpy_scalar(kind, dtype):
    got = confidence(np.zeros(3, dtype), kind=kind)
    assert type(got) is np.dtype(dtype).type
    want = {"max_prob": 1 / 3, "margin": 0, "entropy": np.log(3), "energy": -np.log(3)}[kind]
    np.testing.assert_allclose(got, want, rtol=4 * np.finfo(dtype).eps)


# ---------------------------------------------------------------------------------------
# Instruction sets, threads, and kinds of arrays
# ---------------------------------------------------------------------------------------


@functools.cache
def batch(dtype, rows, classes):
    """Rows with ties, NaN and infinities among them."""
    rng = np.random.default_rng([rows, classes])
    x = rng.normal(0, 3, (rows, classes))
    x[1::5] = np.round(x[1::5])
    x[2::7, classes // 2] = NAN
    x[3::11, classes - 1] = INF
    x[4::13] = -INF
    x[5::17, 0] += 30
    x = x.astype(dtype)
    x.setflags(write=False)
    return x


@functools.cache
def expected_confidence(kind, dtype, rows, classes):
    """Of the first instruction set on one thread."""
    isa = fastlogits.get_isa()
    fastlogits.set_isa(ISAS[0])
    try:
        with fastlogits.num_threads(1):
            return confidence(batch(dtype, rows, classes), kind=kind)
    finally:
        fastlogits.set_isa(isa)


BATCHES = [(20_001, 3), (10_000, 10), (2001, 33), (401, 1000), (3, 40_001)]


@functools.cache
def batch_order(dtype, rows, classes):
    return order_of(batch(dtype, rows, classes))


@on_every_isa
@pytest.mark.parametrize("dtype", NATIVE)
def test_decisions_are_the_same_on_any_number_of_threads(dtype, threads):
    for rows, classes in BATCHES:
        x = batch(dtype, rows, classes)
        want = np.argmax(x, axis=-1)
        k = min(5, classes)
        order = batch_order(dtype, rows, classes)[:, :k]
        identical(argmax(x, axis=None), np.argmax(x))
        identical(predict(x, threshold=0.3), x > math.log(0.3 / 0.7))
        for source in (x, np.asfortranarray(x)):
            identical(argmax(source), want)
            identical(argmax(source.T, axis=0), want)
            identical(top_k(source, k)[1], order)
            identical(top_k(source.T, k, axis=0)[1].T, order)


@on_every_isa
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", NATIVE)
def test_confidence_has_the_same_bits_everywhere(dtype, kind, threads):
    for rows, classes in BATCHES:
        x = batch(dtype, rows, classes)
        want = expected_confidence(kind, dtype, rows, classes)
        identical(confidence(x, kind=kind), want)
        identical(confidence(np.asfortranarray(x), kind=kind), want)
        identical(confidence(x[:100].T, kind=kind, axis=0), want[:100])


@on_every_isa
@pytest.mark.parametrize("dtype", NATIVE)
def test_one_huge_row_on_any_number_of_threads(dtype, threads):
    n = 1_000_003
    x = np.zeros(n, dtype)
    for places in ([n - 1], [n // 2, n - 1], [n // 3, n // 2, n - 2], [7, n // 4, n // 2]):
        x[places] = 2
        assert argmax(x) == places[0]
        identical(top_k(x, 2)[1][:1], np.array(places[:1]))
        x[places] = NAN
        assert argmax(x) == places[0]
        identical(top_k(x, 3)[1], np.flatnonzero(x == 0)[:3])
        x[places] = 0
    x[:] = np.random.default_rng(6).normal(0, 3, n)
    first = np.argpartition(-x, 50)[:50]
    want = first[np.lexsort((first, -x[first]))]
    identical(top_k(x, 50)[1], want)


@pytest.mark.parametrize("dtype", HALF_TO_DOUBLE)
def test_kinds_of_arrays(dtype, tmp_path):
    x = np.random.default_rng(2).normal(0, 3, (5, 7)).astype(dtype)

    unmasked = np.ma.masked_array(x, np.zeros(x.shape, bool))
    for kind in (*kinds_of_arrays(x, tmp_path), unmasked):
        identical(argmax(kind), np.argmax(x, axis=-1))
        for got, want in zip(top_k(kind, 3), top_k(x, 3), strict=True):
            identical(got, want)
        identical(predict(kind, threshold=0.6), predict(x, threshold=0.6))
        identical(confidence(kind, kind="margin"), confidence(x, kind="margin"))


def test_lists_and_numbers():
    assert argmax([1, 3, 2]) == 1
    assert type(argmax([1, 3, 2])) is np.intp
    assert argmax([False, True, True]) == 1
    assert argmax([2**63 - 2, 2**63 - 1]) == 1
    assert argmax([2**64 - 2, 2**64 - 1]) == 1
    identical(argmax([[1.0, 2.0], [2.0, 1.0]]), np.array([1, 0]))
    identical(top_k((3, 1, 2), 2)[0], np.array([3, 2]))
    for number in (3, 3.0, np.float32(3), np.array(3, "f2"), True):
        for axis in (-1, 0, None):
            identical(argmax(number, axis), np.intp(0))
        assert predict(number) == 0
        assert predict(number, classes=["only"]) == "only"
        values, indices = top_k(number, 1, axis=None)
        assert (values.tolist(), indices.tolist()) == ([number], [0])
        for kind, want in zip(KINDS, (1, 1, 0, -number), strict=True):
            got = confidence(number, kind=kind)
            assert np.shape(got) == ()
            assert got == want


def test_tensors():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    x = np.random.default_rng(2).normal(0, 3, (5, 7)).astype(np.float32)
    tensor = torch.from_numpy(x)
    identical(argmax(tensor), np.argmax(x, axis=-1))
    identical(top_k(tensor, 3)[1], order_of(x)[:, :3])
    identical(predict(tensor), np.argmax(x, axis=-1))
    identical(confidence(tensor), confidence(x))
    attached = torch.ones(3, 4, requires_grad=True)
    for function, argument in FUNCTIONS.values():
        with refused(TypeError, argument):
            function(attached)


@on_every_isa
@pytest.mark.parametrize("dtype", HALF_TO_DOUBLE)
def test_no_floating_point_state_is_changed_and_no_warning_given(dtype):
    info = np.finfo(dtype)
    x = np.random.default_rng(2).normal(0, 3, (9, 50)).astype(dtype)
    x[0, 0], x[1, 0], x[2], x[3, 0], x[4, 0] = NAN, INF, -INF, info.max, info.smallest_subnormal
    x[5, :2] = info.max, info.min
    tiny = np.array([info.smallest_subnormal], dtype)
    with np.errstate(all="raise"):
        argmax(x)
        for mode in MODES:
            top_k(x, 3, mode=mode)
            top_k(x, 50, mode=mode, axis=-1)
        predict(x, threshold=0.01)
        predict(x, threshold=5e-324)
        for kind in KINDS:
            confidence(x, kind=kind)
        assert (tiny * 3 / 3 == tiny).all(), "subnormals are flushed after the call"


# ---------------------------------------------------------------------------------------
# Wrong arguments
# ---------------------------------------------------------------------------------------


X = np.arange(12.0).reshape(3, 4)
FUNCTIONS = {
    "argmax": (argmax, "logits"),
    "top_k": (lambda x, **options: top_k(x, 2, **options), "x"),
    "top_k, smallest": (lambda x, **options: top_k(x, 2, mode="smallest", **options), "x"),
    "top_k, all": (lambda x, **options: top_k(x, 0, sorted=False, **options), "x"),
    "predict": (predict, "logits"),
    "predict, classes": (lambda x, **options: predict(x, classes=[1] * 4, **options), "logits"),
    "predict, threshold": (lambda x, **options: predict(x, threshold=0.3, **options), "logits"),
    "max_prob": (confidence, "logits"),
    "margin": (lambda x, **options: confidence(x, kind="margin", **options), "logits"),
    "entropy": (lambda x, **options: confidence(x, kind="entropy", **options), "logits"),
    "energy": (lambda x, **options: confidence(x, kind="energy", **options), "logits"),
}
WRONG_HERE = WRONG_ARRAYS | {
    "masked whole numbers": np.ma.masked_array(X.astype(int), X == 5),
    "whole numbers beyond any dtype": [2**64, 1],
}


@pytest.mark.parametrize("kind", WRONG_HERE)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_wrong_kind_of_array(name, kind):
    function, argument = FUNCTIONS[name]
    with refused(TypeError, argument):
        function(WRONG_HERE[kind])


@pytest.mark.parametrize("name", FUNCTIONS)
def test_sparse_array(name):
    sparse = pytest.importorskip("scipy.sparse", reason="SciPy is not installed")
    function, argument = FUNCTIONS[name]
    for kind in (sparse.csr_array, sparse.csr_matrix, sparse.coo_array):
        with refused(TypeError, argument):
            function(kind(X))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_ragged_list(name):
    function, argument = FUNCTIONS[name]
    with refused(ValueError, argument):
        function([[1.0, 2.0], [3.0]])


@pytest.mark.parametrize(
    ("axis", "error"),
    [
        (2, AxisError),
        (-3, AxisError),
        (2**40, AxisError),
        (-(2**40), AxisError),
        (1.0, TypeError),
        (np.float64(1), TypeError),
        ("1", TypeError),
        (1j, TypeError),
    ],
)
@pytest.mark.parametrize("name", [name for name in FUNCTIONS if name != "predict, threshold"])
def test_wrong_axis(name, axis, error):
    with refused(error, "axis"):
        FUNCTIONS[name][0](X, axis=axis)


@pytest.mark.parametrize("name", ["argmax", "top_k", "predict"])
def test_one_axis_at_most(name):
    for axis in ((0, 1), (0,), [0]):
        with refused(TypeError, "axis"):
            FUNCTIONS[name][0](X, axis=axis)


def test_wrong_axis_of_a_scalar():
    for function in (argmax, predict, confidence):
        for axis in (1, -2):
            with refused(AxisError, "axis"):
                function(3.0, axis=axis)


@pytest.mark.parametrize(
    ("k", "error"),
    [
        (-1, ValueError),
        (5, ValueError),
        (2**31, ValueError),
        (2**32 + 1, ValueError),
        (2**63, ValueError),
        (2**64 + 1, ValueError),
        (-(2**70), ValueError),
        (np.int8(-1), ValueError),
        (np.uint64(2**64 - 1), ValueError),
        (1.0, TypeError),
        (np.float64(2), TypeError),
        ("1", TypeError),
        (None, TypeError),
        (1j, TypeError),
        ([1], TypeError),
        (np.array([1, 2]), TypeError),
    ],
    ids=repr,
)
@pytest.mark.parametrize("mode", MODES)
def test_wrong_k(mode, k, error):
    for x in (X, X.astype(np.float32), X.astype(int), X.astype(np.float16), np.empty((0, 4))):
        for sorted in (True, False):
            with refused(error, "k"):
                top_k(x, k, mode=mode, sorted=sorted)


def test_k_beyond_the_axis_named():
    with refused(ValueError, "k"):
        top_k(X, 4, axis=0)
    with refused(ValueError, "k"):
        top_k(X, 13, axis=None)
    assert top_k(X, 12, axis=None)[0].shape == (12,)


@pytest.mark.parametrize("mode", ["max", "", "Largest", "largest\0", None, 0, True, b"largest"])
def test_wrong_mode(mode):
    for k in (0, 2):
        with refused(ValueError, "mode"):
            top_k(X, k, mode=mode)


@pytest.mark.parametrize("kind", ["max", "", "Margin", "margin\0", None, 0, True, b"margin"])
def test_wrong_kind_of_confidence(kind):
    with refused(ValueError, "kind"):
        confidence(X, kind=kind)


@pytest.mark.parametrize(
    ("threshold", "error"),
    [
        (0, ValueError),
        (1, ValueError),
        (0.0, ValueError),
        (-0.0, ValueError),
        (1.0, ValueError),
        (-0.5, ValueError),
        (1.5, ValueError),
        (NAN, ValueError),
        (INF, ValueError),
        (-INF, ValueError),
        (10**400, ValueError),
        (np.float32(1), ValueError),
        ("a", TypeError),
        ("0.5", TypeError),
        (0.5j, TypeError),
        ([0.5], TypeError),
        (np.array([0.5, 0.6]), TypeError),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else repr(value)[:20],
)
def test_wrong_threshold(threshold, error):
    for more in ({}, {"classes": ["no", "yes"]}):
        with refused(error, "threshold"):
            predict(X, threshold=threshold, **more)


@pytest.mark.parametrize(
    "classes",
    [
        [],
        ["a"],
        [1, 2, 3],
        [1, 2, 3, 4, 5],
        np.arange(12).reshape(3, 4),
        np.ones((4, 1)),
        "abcd",
        4,
    ],
    ids=lambda classes: str(np.shape(classes)),
)
def test_wrong_number_of_classes(classes):
    with refused(ValueError, "classes"):
        predict(X, classes=classes)
    with refused(ValueError, "classes"):
        predict(X.T, axis=0, classes=classes)
    with refused(ValueError, "classes"):
        predict(X, threshold=0.5, classes=classes)
    with refused(ValueError, "classes"):
        predict(np.empty((0, 4)), classes=classes)


def test_number_of_classes_follows_axis_and_threshold():
    identical(predict(X, axis=0, classes=["a", "b", "c"]), np.array(["c"] * 4))
    for classes in ("ab", "abcd"):
        with refused(ValueError, "classes"):
            predict(X, axis=0, classes=list(classes))
    with refused(ValueError, "classes"):
        predict(X, threshold=0.5, classes=list("abcd"))
    with refused(ValueError, "classes"):
        predict(X[:, :2], threshold=0.5, classes=list("abc"))
    assert predict(X, threshold=0.5, classes=list("ab")).shape == (3, 4)


def test_options_are_keyword_only():
    for args in ((argmax, X, -1, 1), (top_k, X, 2, -1), (top_k, X), (predict, X, -1)):
        with pytest.raises(TypeError):
            args[0](*args[1:])
    with pytest.raises(TypeError):
        confidence(X, "margin")
    with pytest.raises(TypeError):
        top_k(X, k=2)
    with pytest.raises(TypeError):
        top_k(x=X, k=2)
    for function, _ in FUNCTIONS.values():
        with pytest.raises(TypeError):
            function()
        with pytest.raises(TypeError):
            function(X, no_such_option=1)
    identical(argmax(logits=X), np.array([3, 3, 3]))
    identical(predict(logits=X), np.array([3, 3, 3]))
    identical(confidence(logits=X), confidence(X))
