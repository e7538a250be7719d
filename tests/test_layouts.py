"""Any shape, axis, strides and kind of array gives what a contiguous copy gives, and writes
nothing but the result."""

import math
import tracemalloc

import numpy as np
import pytest
import reference
from checks import kinds_of_arrays
from hypothesis import given
from hypothesis import strategies as st
from operations import ELEMENTS, ROWS, SAME_SHAPE

import fastlogits

DTYPES = ["float32", "float64"]

pytestmark = pytest.mark.usefixtures("isa")


def exact_rows(op, x, axis, keepdims=False):
    """The result along `axis` as (the reference, what the function gives for contiguous rows)."""
    axes = range(x.ndim) if axis is None else np.atleast_1d(axis).tolist()
    axes = tuple(sorted(a % x.ndim for a in axes)) if x.ndim else ()
    if x.ndim == 0:
        x = x.reshape(1)
        axes, shape = (0,), ()
    else:
        shape = x.shape
    last = tuple(range(-len(axes), 0))
    moved = np.moveaxis(x, axes, last)
    kept = moved.shape[: x.ndim - len(axes)]
    rows = np.ascontiguousarray(moved).reshape(*kept, math.prod(moved.shape[len(kept) :]))
    empty = rows.shape[-1] == 0 or rows.size == 0
    pair = []
    for function in (getattr(reference, op), getattr(fastlogits, op)):
        if op == "logsumexp":
            y = np.full(kept, -np.inf) if empty else function(rows)
            y = np.asarray(y)
            if keepdims and shape:
                y = np.expand_dims(y, axes)
        else:
            y = np.asarray(function(rows)) if not empty else np.empty(rows.shape)
            y = np.moveaxis(y.reshape(moved.shape), last, axes).reshape(shape)
        pair.append(y)
    return pair


def agrees(got, pair, dtype, op):
    exact, same = pair
    assert np.shape(got) == exact.shape
    assert got.dtype == dtype
    np.testing.assert_array_equal(got, same)
    if op == "logsumexp":
        # One that cancels is judged by the size of the logits.
        unit = reference.ulp(np.maximum(np.abs(exact), 1), dtype)
        assert np.all(reference.ulp_error(got, exact, unit) <= 1)
    else:
        assert np.all(reference.ulp_error(got, exact) <= 2)


@st.composite
def strided(draw, min_dims=0, writable=False):
    """A native float array of 0 to 5 dimensions, of any strides."""
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    shape = draw(st.lists(st.integers(0, 6) | st.just(3), min_size=min_dims, max_size=5))
    steps = [draw(st.sampled_from([1, 1, -1, 2, -2, 3])) for _ in shape]
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    base = rng.normal(0, 3, [n * abs(s) + 1 for n, s in zip(shape, steps, strict=True)])
    if draw(st.booleans()):  # Not aligned to the size of an item.
        raw = np.empty(base.size * dtype.itemsize + 1, np.uint8)
        view = raw[1:].view(dtype).reshape(base.shape)
        view[...] = base
        base = view
    else:
        base = base.astype(dtype)
    # Slices of exactly the shape, backwards for a negative step.
    cut = [
        slice(1, 1 + n * s, s) if s > 0 else slice(n * -s, None, s)
        for n, s in zip(shape, steps, strict=True)
    ]
    x = base[tuple(cut)]
    x = x[tuple(slice(0, n) for n in shape)]
    x = x.transpose(draw(st.permutations(range(x.ndim))))
    if not writable and x.ndim and draw(st.booleans()):
        i = draw(st.integers(0, x.ndim - 1))
        if x.shape[i]:
            narrow = x[(slice(None),) * i + (slice(0, 1),)]
            x = np.broadcast_to(narrow, x.shape)
    if not writable and draw(st.booleans()):
        x.setflags(write=False)
    return x


@st.composite
def axes_of(draw, x):
    """An axis, or several, or None."""
    dims = max(x.ndim, 1)
    kind = draw(st.sampled_from(["one", "none", "tuple"]))
    if kind == "none":
        return None
    if kind == "one" or x.ndim == 0:
        return draw(st.integers(-dims, dims - 1))
    chosen = draw(st.lists(st.integers(0, dims - 1), min_size=1, max_size=dims, unique=True))
    return tuple(a - dims * draw(st.booleans()) for a in chosen)


@given(st.data())
@pytest.mark.parametrize("op", ROWS)
def test_any_axis_of_any_strides(op, data):
    x = data.draw(strided())
    axis = data.draw(axes_of(x))
    before = x.copy()
    keepdims = op == "logsumexp" and data.draw(st.booleans())
    more = {"keepdims": True} if keepdims else {}
    got = getattr(fastlogits, op)(x, axis=axis, **more)
    agrees(got, exact_rows(op, before, axis, keepdims), x.dtype, op)
    assert x.tobytes() == before.tobytes()


@given(st.data())
@pytest.mark.parametrize("op", ELEMENTS)
def test_any_strides_elementwise(op, data):
    x = data.draw(strided())
    before = x.copy()
    function = getattr(fastlogits, op)
    got = function(x)
    same = np.asarray(function(np.ascontiguousarray(before).reshape(-1))).reshape(x.shape)
    agrees(got, (getattr(reference, op)(before), same), x.dtype, op)
    assert x.tobytes() == before.tobytes()


SENTINEL = 12345.0


@st.composite
def room_for(draw, shape, dtype):
    """(room, out): a view of `shape` with any strides, inside a larger array of sentinels."""
    order = draw(st.permutations(range(len(shape))))
    steps = [draw(st.sampled_from([1, -1, 2, -2])) for _ in shape]
    sizes = [shape[a] * abs(s) + 4 for a, s in zip(order, steps, strict=True)]
    raw = np.zeros(math.prod(sizes) * dtype.itemsize + 1, np.uint8)
    offset = draw(st.sampled_from([0, 1]))
    room = raw[offset : len(raw) - 1 + offset].view(dtype).reshape(sizes)
    room[...] = SENTINEL
    inner = [slice(2, 2 + shape[a] * abs(s)) for a, s in zip(order, steps, strict=True)]
    view = room[(..., *inner)][(..., *[slice(None, None, s) for s in steps])]
    return room, view.transpose(np.argsort(order).tolist())


@given(st.data())
@pytest.mark.parametrize("op", ROWS + ELEMENTS)
def test_writes_the_result_into_out_and_nothing_around_it(op, data):
    x = data.draw(strided(min_dims=1))
    axis = {"axis": data.draw(axes_of(x))} if op in ROWS else {}
    function = getattr(fastlogits, op)
    want = np.asarray(function(x, **axis))
    room, out = data.draw(room_for(want.shape, x.dtype))
    assert out.shape == want.shape
    before = x.copy()
    assert function(x, out=out, **axis) is out
    np.testing.assert_array_equal(out, want)
    out[...] = SENTINEL
    assert np.all(room == SENTINEL)
    assert x.tobytes() == before.tobytes()


def window(start, rows, classes):
    return lambda a: a[start : start + rows * classes].reshape(rows, classes)


def overlaps():
    """Pairs of functions that take two views of a buffer of 300 items: the input and `out`."""
    for shift in (1, 2, 7, 10, 63, 100):
        for rows, classes in ((10, 10), (5, 20), (20, 5), (1, 100), (2, 50)):
            yield window(0, rows, classes), window(shift, rows, classes)
            yield window(shift, rows, classes), window(0, rows, classes)
    square, wide, tall = window(0, 10, 10), window(0, 10, 20), window(0, 20, 10)
    for turned in (
        lambda a: square(a).T,
        lambda a: square(a)[::-1],
        lambda a: square(a)[:, ::-1],
        lambda a: square(a)[::-1, ::-1],
    ):
        yield square, turned
        yield turned, square
    yield lambda a: wide(a)[:, ::2], lambda a: wide(a)[:, 1::2]  # Interleaved, nothing shared.
    yield lambda a: wide(a)[:, ::2], lambda a: wide(a)[:, :10]
    yield lambda a: tall(a)[::2], lambda a: tall(a)[5:15]
    # Inputs that overlap themselves.
    yield lambda a: np.broadcast_to(a[3], (4, 5)), window(0, 4, 5)
    yield lambda a: np.broadcast_to(a[:5], (4, 5)), window(0, 4, 5)
    yield lambda a: np.lib.stride_tricks.sliding_window_view(a[:24], 5), window(0, 20, 5)
    yield lambda a: np.lib.stride_tricks.sliding_window_view(a[:24], 5), window(100, 20, 5)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("op", SAME_SHAPE)
def test_out_that_overlaps_the_input(op, dtype):
    function = getattr(fastlogits, op)
    for axis in ({},) if op in ELEMENTS else ({"axis": 0}, {"axis": 1}, {"axis": None}):
        for input_of, out_of in overlaps():
            before = np.random.default_rng(6).normal(0, 3, 300).astype(dtype)
            want = function(input_of(before).copy(), **axis)
            after = before.copy()
            out = out_of(after)
            assert function(input_of(after), out=out, **axis) is out
            np.testing.assert_array_equal(out, want)
            rest = np.ones(300, bool)
            out_of(rest)[...] = False
            np.testing.assert_array_equal(after[rest], before[rest])


@pytest.mark.parametrize("dtype", DTYPES)
def test_out_of_logsumexp_that_overlaps_the_input(dtype):
    for place in (np.s_[:, 0], np.s_[:, 9], np.s_[0], np.s_[9], np.s_[::-1, 4], np.s_[3, ::-1]):
        for axis in (0, 1):
            a = np.random.default_rng(7).normal(0, 3, (10, 10)).astype(dtype)
            want = fastlogits.logsumexp(a.copy(), axis=axis)
            expected = a.copy()
            expected[place] = want
            out = a[place]
            assert fastlogits.logsumexp(a, axis=axis, out=out) is out
            np.testing.assert_array_equal(a, expected)


@pytest.mark.parametrize("op", ROWS + ELEMENTS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_kinds_of_arrays(op, dtype, tmp_path):
    function = getattr(fastlogits, op)
    x = np.random.default_rng(2).normal(0, 3, (5, 7)).astype(dtype)
    want = function(x)

    for kind in kinds_of_arrays(x, tmp_path):
        got = function(kind)
        np.testing.assert_array_equal(got, want)
        assert got.dtype == dtype
        assert got.dtype.isnative
    if dtype == "float64":
        np.testing.assert_array_equal(function(x.tolist()), want)
        np.testing.assert_array_equal(function(tuple(map(tuple, x))), want)


@pytest.mark.parametrize("op", ROWS + ELEMENTS)
@pytest.mark.parametrize("integer", ["?", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", ">i4"])
def test_whole_numbers_are_computed_in_float64(op, integer):
    function = getattr(fastlogits, op)
    x = np.arange(12).reshape(3, 4).astype(integer)
    got = function(x)
    assert got.dtype == np.float64
    np.testing.assert_array_equal(got, function(x.astype(np.float64)))
    np.testing.assert_array_equal(function(x.tolist()), got)


@pytest.mark.parametrize("op", ROWS)
def test_scalars_are_one_class(op):
    function = getattr(fastlogits, op)
    want = {"softmax": 1.0, "log_softmax": 0.0, "logsumexp": 3.0}[op]
    for scalar in (3.0, 3, np.float32(3), np.float64(3), np.array(3.0), np.array(3, "f4")):
        for axis in (-1, None):
            got = function(scalar, axis=axis)
            assert np.shape(got) == ()
            assert got == want
            assert got.dtype == (getattr(scalar, "dtype", np.dtype(float)))
        out = np.array(7, got.dtype)
        assert function(scalar, out=out) is out
        assert out == want
        with pytest.raises(np.exceptions.AxisError, match="axis"):
            function(scalar, axis=1)


def test_reduction_of_one_row_gives_a_numpy_scalar():
    for dtype in (np.float32, np.float64):
        assert type(fastlogits.logsumexp(np.zeros(3, dtype))) is dtype
        assert type(fastlogits.logsumexp(np.zeros((2, 3), dtype), axis=None)) is dtype


@pytest.mark.parametrize("op", ROWS)
def test_default_axis_is_the_last(op):
    x = np.random.default_rng(8).normal(size=(2, 3, 4))
    function = getattr(fastlogits, op)
    np.testing.assert_array_equal(function(x), function(x, -1))
    np.testing.assert_array_equal(function(x), function(x, axis=2))
    np.testing.assert_array_equal(function(x, np.int64(1)), function(x, axis=1))


def test_keepdims_of_logsumexp():
    x = np.random.default_rng(8).normal(size=(2, 3, 4))
    for axis, shape in ((0, (1, 3, 4)), (-1, (2, 3, 1)), ((0, 2), (1, 3, 1)), (None, (1, 1, 1))):
        got = fastlogits.logsumexp(x, axis=axis, keepdims=True)
        assert got.shape == shape
        np.testing.assert_array_equal(got.ravel(), np.ravel(fastlogits.logsumexp(x, axis=axis)))


@pytest.mark.parametrize("op", ROWS + ELEMENTS)
def test_dtype_of_the_result(op):
    function = getattr(fastlogits, op)
    x = np.random.default_rng(3).normal(0, 3, (20, 30))
    narrow = x.astype(np.float32)
    for source in (narrow, narrow.T, narrow[::-1, ::2]):
        wide = function(source, dtype=np.float64)
        assert wide.dtype == np.float64
        np.testing.assert_array_equal(wide, function(source.astype(np.float64)))
        out = np.empty(np.shape(wide))
        assert function(source, dtype="float64", out=out) is out
        np.testing.assert_array_equal(out, wide)
    for source in (x, x.T, x[::-1, ::2], np.arange(12).reshape(3, 4)):
        got = function(source, dtype=np.float32)
        assert got.dtype == np.float32
        # Computed in float64 and then rounded: half a unit in the last place, and a trifle.
        exact = getattr(reference, op)(np.ascontiguousarray(source))
        unit = None
        if op == "logsumexp":
            unit = reference.ulp(np.maximum(np.abs(exact), 1), np.float32)
        assert np.all(reference.ulp_error(got, exact, unit) <= 0.5001)
    for same in (np.float32, "f4", np.dtype("f4"), "single"):
        np.testing.assert_array_equal(function(narrow, dtype=same), function(narrow))


@pytest.mark.parametrize("op", SAME_SHAPE)
def test_result_is_a_new_array(op):
    x = np.random.default_rng(4).normal(0, 3, (4, 5))
    for source in (x, x.T, x.astype(np.float32)):
        got = getattr(fastlogits, op)(source)
        assert type(got) is np.ndarray
        assert got.flags.writeable
        assert got.flags.aligned
        assert not np.shares_memory(got, source)


@pytest.mark.parametrize("op", ["softmax", "logsumexp"])
def test_native_input_of_any_strides_is_not_copied(op):
    wide = np.zeros((4000, 1000), np.float32)
    for x in (wide, wide.T, wide[:, ::2], wide[::-1], np.asfortranarray(wide)):
        out = np.empty(x.shape if op == "softmax" else x.shape[:1], np.float32)
        tracemalloc.start()
        getattr(fastlogits, op)(x, out=out)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < x.nbytes / 8


def test_out_of_a_subclass_may_squeeze_as_it_likes():
    class Row(np.ndarray):
        def squeeze(self, axis=None):
            return np.asarray(self).reshape(1, -1)

    x = np.random.default_rng(5).normal(0, 3, (6, 5))
    out = np.zeros((6, 1)).view(Row)
    assert fastlogits.logsumexp(x, keepdims=True, out=out) is out
    np.testing.assert_array_equal(np.asarray(out)[:, 0], fastlogits.logsumexp(x))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("classes", [4097, 12_345])
def test_tall_rows_side_by_side(classes, dtype, isa):
    x = np.random.default_rng(6).normal(0, 3, (classes, 37)).astype(dtype)
    x[4000, 3] = np.nan
    x[4096, 5] = np.inf
    x[10, 7] = 3e4
    x[:, 9] = -3e4
    x[:4096, 11] = -np.inf
    x[:, 13] = -np.inf
    labels = np.random.default_rng(7).integers(0, classes, 37)
    labels[[1, 3]] = -100
    soft = np.full_like(x, 1 / 64)
    soft[: classes - 64] = 0
    everything = {"label_smoothing": 0.25, "z_loss": 0.5, "class_weight": np.arange(classes) % 3}

    def results(x, soft, axis):
        yield fastlogits.softmax(x, axis, temperature=1.5)
        yield fastlogits.log_softmax(x, axis)
        yield fastlogits.logsumexp(x, axis)
        for targets, options in ((labels, {}), (labels, everything), (soft, {})):
            options = {"axis": axis, "reduction": "none", **options}
            yield fastlogits.cross_entropy(x, targets, **options)
            in_place = x.copy(order="K")
            yield from fastlogits.cross_entropy_value_and_grad(
                in_place, targets, out=in_place, **options
            )

    beside = results(x, soft, 0)
    alone = results(np.ascontiguousarray(x.T), np.ascontiguousarray(soft.T), 1)
    for got, want in zip(beside, alone, strict=True):
        np.testing.assert_array_equal(got.T, want)


def test_tall_rows_along_two_axes_into_another_layout(isa):
    x = np.random.default_rng(8).normal(0, 3, (100, 60, 37)).astype(np.float32)
    out = np.empty_like(x, order="F")
    assert fastlogits.softmax(x, (0, 1), out=out) is out
    rows = np.ascontiguousarray(x.reshape(-1, 37).T)
    np.testing.assert_array_equal(out.reshape(-1, 37).T, fastlogits.softmax(rows))
