"""Rows that are computed together have the bits that each of them has alone.

The kernels bring narrow rows, and rows that lie side by side, into tiles of many rows at once. So
here every result of a batch is compared, byte by byte, with that of each of its rows alone, as one
contiguous row on the first instruction set, around the sizes where the kernels change their ways.
"""

import functools
import itertools
import os
import subprocess
import sys
from typing import NamedTuple

import numpy as np
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st

import fastlogits

ISAS = fastlogits.available_isas()
NARROW = [1, 2, 3, 4, 5, 7, 8, 9, 16, 31, 32, 33, 64, 65, 127, 128, 129, 255, 256, 257]
LONG = [1000, 2047, 2048, 2049, 4095, 4096, 4097]
ROWS = [3, 4, 5, 15, 16, 17, 63, 64, 65, 80, 130]
INF, NAN = np.inf, np.nan


@pytest.fixture(autouse=True)
def one_thread():
    """The larger batches would be split between two."""
    with fastlogits.num_threads(1):
        yield


# ---------------------------------------------------------------------------------------
# Batches of rows, and what is computed of them
# ---------------------------------------------------------------------------------------

POOL = 19  # Rows that batches are made of: no multiple of a number of lanes.


class Batch(NamedTuple):
    """The class axis of `x` and `soft` is axis 1."""

    x: np.ndarray
    labels: np.ndarray
    some: np.ndarray  # The labels, but -100 in some rows.
    soft: np.ndarray
    weight: np.ndarray

    def take(self, which):
        return Batch(*(a[which] for a in self))


@functools.cache
def pool(dtype, classes):
    """Rows of every temper that a tile holds: finite ones, or with some -inf."""
    rng = np.random.default_rng(classes)
    x = rng.normal(0, 3, (POOL, classes))
    kind = np.arange(POOL) % 13
    x[kind == 1] *= 7
    x[kind == 2] += 1000
    x[kind == 3] -= 1000
    x[kind == 4, classes // 2] += 40
    x[kind == 6] = 1.5
    x[kind == 7] = np.round(x[kind == 7])
    x[kind == 8] *= np.finfo(dtype).smallest_subnormal * 100
    x[kind == 9] = np.where(rng.random(classes) < 0.5, -0.0, 0.0)
    x[kind == 10, : classes - 1] = -INF
    x[kind == 11, [0, classes // 2]] = 30
    x[kind == 12] = -0.0
    if classes > 1:
        x[kind == 5, classes - 1] = -INF
    labels = np.arange(POOL) * 7 % classes
    labels[kind == 5] = classes - 1  # A loss of infinity.
    soft = rng.uniform(0, 1, x.shape) * (rng.random(x.shape) < 0.7)
    soft[::2] /= np.maximum(soft[::2].sum(axis=-1, keepdims=True), 1e-3)
    soft[x == -INF] = 0
    soft[5, classes - 1] = 0.5
    soft[14] = 0
    weight = rng.uniform(0.1, 3, POOL)
    weight[3] = 0
    some = np.where(np.arange(POOL) % 4 == 1, -100, labels)
    return Batch(x.astype(dtype), labels, some, soft.astype(dtype), weight)


@functools.cache
def class_weight(classes):
    w = np.random.default_rng(classes).uniform(0, 3, classes)
    w[classes // 3] = 0
    return w


def softmax_of(function, **options):
    return lambda b, out=None: function(b.x, 1, out=out, **options)


def losses_of(targets, *weights, **options):
    """Each row's loss, by itself and with the gradient."""

    def op(b, out=None):
        more = {"axis": 1, "reduction": "none", **options}
        if "class" in weights:
            more["class_weight"] = class_weight(b.x.shape[1])
        if "sample" in weights:
            more["sample_weight"] = b.weight
        losses = fastlogits.cross_entropy(b.x, getattr(b, targets), **more)
        return losses, *fastlogits.cross_entropy_value_and_grad(
            b.x, getattr(b, targets), out=out, **more
        )

    return op


def boosting(b):
    """The class axis must be the last."""
    pair = fastlogits.softmax_grad_hess(
        np.moveaxis(b.x, 1, -1), b.labels, sample_weight=b.weight, hess_scale=2.0
    )
    return tuple(np.moveaxis(a, -1, 1) for a in pair)


def confidence_of(kind):
    return lambda b: fastlogits.confidence(b.x, kind=kind, axis=1)


# Those that take `out`, of the form of the logits; then the others.
INTO = {
    "softmax": softmax_of(fastlogits.softmax),
    "softmax, temperature": softmax_of(fastlogits.softmax, temperature=0.7),
    "log_softmax": softmax_of(fastlogits.log_softmax),
    "log_softmax, temperature": softmax_of(fastlogits.log_softmax, temperature=3.0),
    "loss": losses_of("labels"),
    "loss, ignoring": losses_of("some", "sample"),
    "loss, class_weight, z_loss": losses_of("labels", "class", z_loss=0.01),
    "loss, label_smoothing": losses_of("labels", label_smoothing=0.1),
    "loss, everything": losses_of(
        "labels", "class", "sample", label_smoothing=0.2, z_loss=0.01, ignore_index=1
    ),
    "loss, soft": losses_of("soft"),
    "loss, soft, everything": losses_of("soft", "class", "sample", label_smoothing=0.2, z_loss=0.1),
}
OPS = INTO | {
    "logsumexp": lambda b: fastlogits.logsumexp(b.x, 1),
    "softmax_grad_hess": boosting,
    **{kind: confidence_of(kind) for kind in ("max_prob", "margin", "entropy", "energy")},
    "argmax": lambda b: fastlogits.argmax(b.x, axis=1),
    "top_k": lambda b: fastlogits.top_k(b.x, min(3, b.x.shape[1]), axis=1),
}


def by_rows(a, like):
    """(rows, classes), or (rows,) of what has no class axis; both in C order."""
    if a.ndim == like.ndim:
        return np.ascontiguousarray(np.moveaxis(a, 1, -1)).reshape(-1, a.shape[1])
    return np.ascontiguousarray(a).reshape(-1)


def results(op, batch, **out):
    found = op(batch, **out)
    found = found if isinstance(found, tuple) else (found,)
    return tuple(by_rows(a, batch.x) for a in found)


def each_alone(op, batch):
    """The results of rows, each computed as the only one, contiguous."""
    op = OPS.get(op, op)
    before = fastlogits.get_isa()
    fastlogits.set_isa(ISAS[0])
    try:
        rows = range(len(batch.x))
        found = [results(op, Batch(*(a[i : i + 1].copy() for a in batch))) for i in rows]
    finally:
        fastlogits.set_isa(before)
    return tuple(np.concatenate(arrays) for arrays in zip(*found, strict=True))


@functools.cache
def alone(op, dtype, classes):
    return each_alone(op, pool(dtype, classes))


def one_nan(a):
    return np.where(np.isnan(a), a.dtype.type(NAN), a) if a.dtype.kind == "f" else a


def assert_same(got, want, what):
    """The same bytes, every NaN being the same one."""
    for i, (a, b) in enumerate(zip(got, want, strict=True)):
        assert a.dtype == b.dtype
        assert a.shape == b.shape
        if a.tobytes() == b.tobytes():
            continue
        a, b = one_nan(a), one_nan(b)
        wrong = [row for row in range(len(a)) if a[row].tobytes() != b[row].tobytes()]
        assert not wrong, f"{what}: result {i}, rows {wrong}: {a[wrong[0]]}, not {b[wrong[0]]}"


# ---------------------------------------------------------------------------------------
# Layouts
# ---------------------------------------------------------------------------------------


def cube(rows):
    """Three lengths whose product it is, the first and the last above 1 where that can be."""
    first = next((p for p in (2, 3, 5) if rows % p == 0), 1)
    middle = next((p for p in (2, 3, 5) if rows // first % p == 0), 1)
    return first, middle, rows // first // middle


def on_axis_1(new, rows, classes, around=0):
    a, b, c = cube(rows)
    return new(a + 2, classes + around, b, c + around)[1:-1, around:, :, around:]


def on_axis_1_in_fortran_order(new, rows, classes):
    a, b, c = cube(rows)
    return new(c, b, classes, a + 2).T[1:-1]


# Writable views of larger arrays: of shape (rows, classes), or of four axes.
FLAT = {
    "row after row": lambda new, rows, n: new(rows + 2, n)[1:-1],
    "class after class": lambda new, rows, n: new(n + 2, rows)[1:-1].T,
    "parts of wider rows": lambda new, rows, n: new(rows, n + 5)[:, 2 : 2 + n],
    "some of more rows side by side": lambda new, rows, n: new(n, rows + 7)[:, 3 : 3 + rows].T,
    "rows reversed": lambda new, rows, n: new(rows + 1, n)[:0:-1],
    "classes reversed": lambda new, rows, n: new(rows, n + 1)[:, :0:-1],
    "rows side by side, reversed": lambda new, rows, n: new(n, rows + 1)[:, :0:-1].T,
    "class after class, reversed": lambda new, rows, n: new(n + 1, rows)[:0:-1].T,
    "every second class": lambda new, rows, n: new(rows, 2 * n)[:, 1::2],
    "every second of rows side by side": lambda new, rows, n: new(n, 2 * rows)[:, 1::2].T,
}
OF_FOUR_AXES = {
    "on axis 1": on_axis_1,
    "on axis 1, cut out": functools.partial(on_axis_1, around=3),
    "on axis 1, Fortran order": on_axis_1_in_fortran_order,
}
LAYOUTS = FLAT | OF_FOUR_AXES
AROUND = 12345.0  # What lies around the view that is written to.


def blank(layout, rows, classes, dtype, around=NAN):
    view = LAYOUTS[layout](lambda *shape: np.full(shape, around, dtype), rows, classes)
    assert view.shape in ((rows, classes), (*cube(rows)[:1], classes, *cube(rows)[1:]))
    return view


def filled(layout, a, around=NAN):
    view = blank(layout, *a.shape, a.dtype, around)
    lying = np.moveaxis(view, 1, -1)
    lying[...] = a.reshape(lying.shape)
    return view


def laid_out(batch, layout, soft_layout=None, around=NAN):
    """A batch with its logits and soft targets in these layouts, of the same number of axes."""
    x = filled(layout, batch.x, around)
    shape = x.shape[:1] + x.shape[2:]
    return Batch(
        x,
        batch.labels.reshape(shape),
        batch.some.reshape(shape),
        filled(soft_layout or layout, batch.soft),
        batch.weight.reshape(shape),
    )


def next_layout(layout):
    """Another of the same number of axes."""
    family = list(FLAT if layout in FLAT else OF_FOUR_AXES)
    return family[(family.index(layout) + 1) % len(family)]


def assert_around(view):
    """Whether nothing has been written but the view, which is then lost."""
    view[...] = AROUND
    whole = view if view.base is None else view.base
    assert np.all(whole == AROUND)


def chosen(rows, start):
    """Which rows of the pool make a batch."""
    return (np.arange(rows) + start) % POOL


SIDE_BY_SIDE = [
    (64, "class after class"),
    (65, "some of more rows side by side"),
    (66, "on axis 1"),
]
# Every number of classes with every number of rows and with nearly every layout, and every layout
# with every number of rows. Of the long rows few, and some side by side, as they fill tiles, too.
CASES = [
    (rows, classes, list(LAYOUTS)[(i + 2 * j) % len(LAYOUTS)])
    for i, classes in enumerate(NARROW)
    for j, rows in enumerate(ROWS)
]
CASES += [
    (rows, classes, layout)
    for i, classes in enumerate([255, 256, 257, *LONG])
    for rows, layout in [
        ([3, 16, 17][i % 3], list(FLAT)[(3 * i) % len(FLAT)]),
        SIDE_BY_SIDE[i % len(SIDE_BY_SIDE)],
    ]
]


def check(op, dtype, rows, classes, layout):
    which = chosen(rows, classes)
    soft_layout = next_layout(layout) if rows % 2 else layout
    batch = laid_out(pool(dtype, classes).take(which), layout, soft_layout)
    want = tuple(a[which] for a in alone(op, dtype, classes))
    assert_same(results(OPS[op], batch), want, f"{rows} x {classes}, {layout}")


# ---------------------------------------------------------------------------------------
# Plain rows
# ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("op", OPS)
def test_row_has_the_bits_in_a_batch_that_it_has_alone(op, dtype, isa):
    for rows, classes, layout in CASES:
        if rows >= 64 and classes * dtype.itemsize > 16_400:
            continue  # Such rows fill no tile: the few in other cases will do.
        check(op, dtype, rows, classes, layout)


@pytest.mark.parametrize("op", OPS)
def test_row_has_the_same_bits_where_two_threads_share_the_batch(op, dtype, isa):
    with fastlogits.num_threads(2):
        check(op, dtype, 4401, 15, "row after row")
        check(op, dtype, 300, 257, "class after class")
        check(op, dtype, 2100, 33, "on axis 1")


@pytest.mark.parametrize("op", OPS)
def test_rows_that_share_their_memory(op, dtype, isa):
    windows = np.lib.stride_tricks.sliding_window_view
    for rows, classes in [(5, 3), (16, 33), (65, 8), (64, 129), (80, 300)]:
        few = pool(dtype, classes).take(chosen(rows, 0))
        line = np.random.default_rng(rows).normal(0, 3, 2 * rows + classes).astype(dtype)
        views = {
            "one row": np.broadcast_to(few.x[:1], (rows, classes)),
            "one class": np.broadcast_to(line[:rows, None], (rows, classes)),
            "windows": windows(line, classes)[:rows],
            "every second window": windows(line, classes)[: 2 * rows : 2],
            "windows, backwards": windows(line, classes)[rows - 1 :: -1],
        }
        for name, view in views.items():
            assert view.shape == (rows, classes)
            # Those at the ends of registers and of tiles.
            some = np.unique([0, 1, 3, 4, 7, 8, 15, 16, rows // 2, 62, 63, 64, rows - 1])
            some = some[some < rows]
            got = tuple(a[some] for a in results(OPS[op], few._replace(x=view)))
            want = each_alone(op, few._replace(x=view).take(some))
            assert_same(got, want, f"{rows} x {classes}, {name}")


@st.composite
def batches(draw):
    """Rows of a pool in an array of any strides and up to four axes, with classes on axis 1."""
    dtype = np.dtype(draw(st.sampled_from(["float32", "float64"])))
    classes = draw(st.integers(1, 40) | st.sampled_from([64, 127, 128, 129, 256, 257, 300]))
    lead = draw(
        st.tuples(st.integers(1, 140))
        | st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 20))
    )
    shape = (lead[0], classes, *lead[1:])
    which = chosen(int(np.prod(lead)), draw(st.integers(0, POOL - 1)))
    rows = pool(dtype, classes).take(which)

    def anywhere(a):
        order = draw(st.permutations(range(len(shape))))
        steps = [draw(st.sampled_from([1, 1, 1, -1, 2])) for _ in shape]
        extra = [draw(st.sampled_from([0, 0, 3])) for _ in shape]
        whole = np.full([n * abs(s) + e for n, s, e in zip(shape, steps, extra, strict=True)], NAN)
        whole = np.ascontiguousarray(whole.transpose(order).astype(a.dtype))
        view = whole.transpose(np.argsort(order).tolist())
        cut = [slice(None, None, s) for s in steps]
        view = view[tuple(cut)][tuple(slice(0, n) for n in shape)]
        np.moveaxis(view, 1, -1)[...] = a.reshape(*lead, classes)
        return view

    batch = Batch(
        anywhere(rows.x),
        rows.labels.reshape(lead),
        rows.some.reshape(lead),
        anywhere(rows.soft),
        rows.weight.reshape(lead),
    )
    return batch, which, dtype, classes


@given(problem=batches(), op=st.sampled_from(list(OPS)))
@settings(max_examples=150)
def test_any_strides(problem, op, isa):
    batch, which, dtype, classes = problem
    want = tuple(a[which] for a in alone(op, dtype, classes))
    assert_same(results(OPS[op], batch), want, f"{batch.x.shape}, {batch.x.strides}")


# ---------------------------------------------------------------------------------------
# Special rows among plain ones
# ---------------------------------------------------------------------------------------


def with_ends(first, last):
    def row(x, far):
        x = x.copy()
        x[0], x[-1] = first, last
        return x

    return row


# Made of a row of logits near 0; `far` is beyond what a tile holds.
SPECIAL = {
    "nan first": lambda x, far: np.where(np.arange(len(x)) == 0, NAN, x),
    "nan in the middle": lambda x, far: np.where(np.arange(len(x)) == len(x) // 2, NAN, x),
    "inf": lambda x, far: np.where(np.arange(len(x)) == len(x) // 3, INF, x),
    "nan and inf": with_ends(NAN, INF),
    "nan and -inf": with_ends(-INF, NAN),
    "inf and -inf": with_ends(INF, -INF),
    "all nan": lambda x, far: np.full_like(x, NAN),
    "all inf": lambda x, far: np.full_like(x, INF),
    "all -inf": lambda x, far: np.full_like(x, -INF),
    "far up": lambda x, far: x + far,
    "far down": lambda x, far: x - far,
    "one far up": with_ends(1.0, INF),
    "one far down, and -inf": with_ends(-1e30, -INF),
    "huge": lambda x, far: x * (np.finfo(x.dtype).max / 100),
}


@functools.cache
def special(dtype, classes):
    """The special rows, with what goes with them; no label is -100."""
    some = pool(dtype, classes).take(np.zeros(len(SPECIAL), int))
    far = dtype.type(4000 if dtype == np.float32 else 4e12)
    x = [row(some.x[0], far).astype(dtype) for row in SPECIAL.values()]
    x[list(SPECIAL).index("one far up")][-1] = far
    return some._replace(x=np.array(x))


def documented(op, x, n_results):
    """The results of a row with a NaN or without a finite largest logit; of others, of few."""
    nan = np.isnan(x)
    if op == "argmax":
        return (np.argmax(x),)
    if op == "top_k":
        order = np.lexsort((-np.where(nan, 0, x), nan))[:3]
        return x[order], order
    if np.isfinite(x.max()):
        return None
    lse = NAN if nan.any() else x.max()
    return {"logsumexp": (lse,), "energy": (-lse,)}.get(op, (NAN,) * n_results)


EXACT = {
    "softmax": reference.softmax,
    "softmax, temperature": lambda x: reference.softmax(x, 0.7),
    "log_softmax": reference.log_softmax,
    "log_softmax, temperature": lambda x: reference.log_softmax(x, 3.0),
    "logsumexp": reference.logsumexp,
}


@functools.cache
def special_alone(op, dtype, classes):
    """The results of the special rows, which are what the documentation says."""
    batch = special(dtype, classes)
    found = each_alone(op, batch)
    for i, x in enumerate(batch.x):
        want = documented(op, x, len(found))
        if want:
            for a, b in zip(found, want, strict=True):
                np.testing.assert_array_equal(a[i], np.full_like(a[i], b))
        elif op in EXACT and reference.wide_enough(dtype):
            exact = EXACT[op](x)
            unit = reference.ulp(np.maximum(np.abs(exact), 1), dtype)
            unit = unit if op == "logsumexp" else None
            assert np.all(reference.ulp_error(found[0][i], exact, unit) <= 2)
    return found


AMONG = [
    (5, 3, "row after row"),
    (16, 10, "row after row"),
    (17, 1, "class after class"),
    (17, 256, "row after row"),
    (64, 33, "parts of wider rows"),
    (64, 64, "class after class"),
    (65, 129, "every second class"),
    (80, 300, "class after class"),
    (130, 7, "class after class"),
    (130, 64, "on axis 1"),
    (64, 1000, "some of more rows side by side"),
]


def with_special(dtype, rows, classes, name, at):
    """Rows of the pool and a special one among them; and which of both, one after another."""
    which = chosen(rows, at)
    which[at] = POOL + list(SPECIAL).index(name)
    each = zip(pool(dtype, classes), special(dtype, classes), strict=True)
    return Batch(*(np.concatenate(pair) for pair in each)).take(which), which


def expected_with_special(op, dtype, classes, which):
    each = zip(alone(op, dtype, classes), special_alone(op, dtype, classes), strict=True)
    return tuple(np.concatenate(pair)[which] for pair in each)


@pytest.mark.parametrize("op", OPS)
def test_special_row_is_its_own_and_spoils_no_other(op, dtype, isa):
    for i, (rows, classes, layout) in enumerate(AMONG):
        for j, name in list(enumerate(SPECIAL))[i % 2 :: 2]:
            at = [0, rows // 2, 63 % rows, rows - 1][(i + j) // 2 % 4]
            batch, which = with_special(dtype, rows, classes, name, at)
            got = results(OPS[op], laid_out(batch, layout))
            want = expected_with_special(op, dtype, classes, which)
            assert_same(got, want, f"{rows} x {classes}, {layout}, {name} at {at}")


@pytest.mark.parametrize("op", ["loss, ignoring", "loss, everything"])
def test_ignored_row_gives_zeros_whatever_it_holds_and_changes_no_other(op, dtype, isa):
    ignored = -100 if op == "loss, ignoring" else 1
    for i, (rows, classes, layout) in enumerate(AMONG):
        if ignored >= classes:
            continue
        for j, name in enumerate(["plain", *list(SPECIAL)[i % 2 :: 2]]):
            at = [0, rows // 2, 63 % rows, rows - 1][(i + j) % 4]
            if name == "plain":
                which = chosen(rows, at)
                batch = pool(dtype, classes).take(which)
                want = tuple(a[which] for a in alone(op, dtype, classes))
            else:
                batch, which = with_special(dtype, rows, classes, name, at)
                want = expected_with_special(op, dtype, classes, which)
            for places in ([at], np.arange(at % 2, rows, 2), np.arange(rows)):
                labels = batch.some if ignored == -100 else batch.labels
                labels[places] = ignored
                for a in want:
                    a[places] = 0
                got = results(OPS[op], laid_out(batch, layout))
                assert_same(got, want, f"{rows} x {classes}, {layout}, {name} at {at}")


@pytest.mark.parametrize("temperature", [1e-300, 1e-46, 1e-30, 1e30, 1e46, 1e300])
@pytest.mark.parametrize("function", [fastlogits.softmax, fastlogits.log_softmax])
def test_extreme_temperature_does_not_tell_a_batch_from_its_rows(function, temperature, dtype, isa):
    op = softmax_of(function, temperature=temperature)
    for i, (rows, classes, layout) in enumerate(AMONG):
        for name in [None, "all -inf", "all inf", "nan first", "far up"]:
            if name:
                batch, which = with_special(dtype, rows, classes, name, i % rows)
            else:
                which = chosen(rows, i)
                batch = pool(dtype, classes).take(which)
            _, first, of_them = np.unique(which, return_index=True, return_inverse=True)
            want = tuple(a[of_them] for a in each_alone(op, batch.take(first)))
            got = results(op, laid_out(batch, layout))
            assert_same(got, want, f"{rows} x {classes}, {layout}, {name}")


# ---------------------------------------------------------------------------------------
# Into other memory, and in place
# ---------------------------------------------------------------------------------------

INTO_SIZES = [(17, 5), (64, 33), (65, 3), (64, 300), (63, 129), (15, 8), (130, 1), (80, 2)]
INTO_SIZES += [(37, 65), (16, 257), (64, 64)]


def into_case(op, dtype, i, layout):
    """The batch of a case and what is expected, in every third with a special row."""
    rows, classes = INTO_SIZES[i % len(INTO_SIZES)]
    if i % 3 == 2:
        name = list(SPECIAL)[i % len(SPECIAL)]
        batch, which = with_special(dtype, rows, classes, name, i % rows)
        want = expected_with_special(op, dtype, classes, which)
    else:
        which = chosen(rows, i)
        batch = pool(dtype, classes).take(which)
        want = tuple(a[which] for a in alone(op, dtype, classes))
    return laid_out(batch, layout, around=AROUND), want, f"{rows} x {classes}, {layout}"


def assert_written(op, batch, out, want, what):
    found = INTO[op](batch, out=out)
    found = found if isinstance(found, tuple) else (found,)
    assert found[-1] is out
    assert_same([by_rows(a, out) for a in found], want, what)
    assert_around(out)


@pytest.mark.parametrize("op", INTO)
def test_in_place(op, dtype, isa):
    for i, layout in enumerate(LAYOUTS):
        for j in range(6):
            batch, want, what = into_case(op, dtype, 5 * i + j, layout)
            assert_written(op, batch, batch.x, want, what)


@pytest.mark.parametrize("op", INTO)
def test_out_of_another_layout_than_the_logits(op, dtype, isa):
    i = 0
    for family in (FLAT, OF_FOUR_AXES):
        for layout in family:
            for other in family:
                batch, want, what = into_case(op, dtype, i, layout)
                i += 1
                x = batch.x.copy(order="K")
                rows, classes = want[-1].shape
                out = blank(other, rows, classes, dtype, AROUND)
                assert_written(op, batch, out, want, f"{what} into {other}")
                assert batch.x.tobytes() == x.tobytes()
                assert_around(batch.x)


def test_logsumexp_into_a_part_of_an_array(dtype, isa):
    for i, (rows, classes, layout) in enumerate(AMONG):
        for name in ("nan first", "all -inf", "far up"):
            batch, which = with_special(dtype, rows, classes, name, i % rows)
            batch = laid_out(batch, layout)
            want = expected_with_special("logsumexp", dtype, classes, which)
            shape = batch.labels.shape
            for out in (
                np.full((2, *shape), AROUND, dtype)[0],
                np.full((*shape, 3), AROUND, dtype)[..., 1],
                np.full((rows + 1,), AROUND, dtype)[:0:-1].reshape(shape),
            ):
                assert fastlogits.logsumexp(batch.x, 1, out=out) is out
                assert_same([by_rows(out, batch.x)], want, f"{rows} x {classes}, {layout}")
                assert_around(out)


# Views that begin where their memory does, and end where it does, but for the padded ones.
TIGHT = [
    lambda new, rows, n: new(rows, n),
    lambda new, rows, n: new(n, rows).T,
    lambda new, rows, n: new(rows, n)[::-1],
    lambda new, rows, n: new(rows, n + 3)[:, :n],
    lambda new, rows, n: new(rows, n + 3)[:, 3:],
    lambda new, rows, n: new(n, rows + 3)[:, :rows].T,
    lambda new, rows, n: new(n, rows + 3)[:, 3:].T,
]


def between_unreadable_pages(isa):
    """Every operation on arrays that begin or end where the memory does: a process of its own."""
    import ctypes
    import mmap

    protect = ctypes.CDLL(None, use_errno=True).mprotect

    def memory(pages):
        room = mmap.mmap(-1, (pages + 2) * mmap.PAGESIZE)
        address = ctypes.addressof(ctypes.c_char.from_buffer(room))
        for page in (address, address + (pages + 1) * mmap.PAGESIZE):
            assert protect(ctypes.c_void_p(page), ctypes.c_size_t(mmap.PAGESIZE), 0) == 0
        return np.frombuffer(room, np.uint8)[mmap.PAGESIZE : -mmap.PAGESIZE]

    def at_the_end(room, *shape):
        return room[room.size - np.prod(shape) :].reshape(shape)

    def at_the_beginning(room, *shape):
        return room[: np.prod(shape)].reshape(shape)

    rooms = [memory(16) for _ in range(3)]
    fastlogits.set_isa(isa)
    sizes = [(rows, n) for rows in (4, 16, 17) for n in (1, 2, 3, 4, 5, 6, 7, 9, 33)]
    sizes += [(64, 3), (65, 5), (48, 65), (64, 71)]
    places = (at_the_beginning, at_the_end)
    for op, dtype in itertools.product(OPS, (np.dtype("float32"), np.dtype("float64"))):
        print(op, dtype, flush=True)  # The last that is printed is where it went wrong.
        for (rows, classes), layout, place in itertools.product(sizes, TIGHT, places):
            which = chosen(rows, classes)
            batch = pool(dtype, classes).take(which)
            new = [functools.partial(place, room.view(dtype)) for room in rooms]
            x, soft, out = (layout(one, rows, classes) for one in new)
            x[...] = batch.x
            soft[...] = batch.soft
            into = {"out": out} if op in INTO else {}
            got = results(OPS[op], batch._replace(x=x, soft=soft), **into)
            want = tuple(a[which] for a in alone(op, dtype, classes))
            assert_same(got, want, f"{rows} x {classes}")


@pytest.mark.skipif(sys.platform != "linux", reason="protects memory as Linux does")
def test_reads_and_writes_nothing_beyond_the_arrays(isa):
    run = subprocess.run(
        [sys.executable, "-c", f"import test_lanes; test_lanes.between_unreadable_pages({isa!r})"],
        cwd=os.path.dirname(__file__),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, f"{run.returncode} in {run.stdout[-80:]}\n{run.stderr}"
