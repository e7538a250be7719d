"""A row's result depends on the row alone, to the last bit.

Each result is compared, byte by byte, with that of the first instruction set on one thread from a
contiguous array.
"""

import functools

import numpy as np
import pytest
from operations import ELEMENTS, NORMALISED, ROWS

import fastlogits

ISAS = fastlogits.available_isas()
NARROW = list(range(1, 71))
BLOCKS = sorted(
    {p + d for p in (128, 256, 512, 1024, 2048, 4096, 8192, 16384) for d in (-1, 0, 1)}
    | {1000, 32_000}
)
SIZES = NARROW + BLOCKS
DTYPES = ["float32", "float64"]


def targets_of(x):
    return (np.arange(len(x)) * 7) % x.shape[-1]


# Of rows of logits (rows, classes). The losses' targets depend on the position in the batch, so
# tests that move rows use `at` to move them too.
ROW_OPS = {
    "softmax": lambda x, at=None: fastlogits.softmax(x),
    "softmax, temperature": lambda x, at=None: fastlogits.softmax(x, temperature=0.7),
    "log_softmax": lambda x, at=None: fastlogits.log_softmax(x),
    "log_softmax, temperature": lambda x, at=None: fastlogits.log_softmax(x, temperature=3),
    "logsumexp": lambda x, at=None: fastlogits.logsumexp(x),
    "cross_entropy": lambda x, at=None: fastlogits.cross_entropy(
        x, targets_of(x) if at is None else at, reduction="none"
    ),
}
ELEMENT_OPS = {name: getattr(fastlogits, name) for name in ELEMENTS}


def bits(a):
    """The bytes of an array in C order, every NaN being the same one."""
    a = np.array(a, order="C", copy=True)
    a[np.isnan(a)] = np.nan
    return a.tobytes()


@functools.cache
def logits(dtype, rows, classes):
    """Rows of every temper: flat, spread, offset, confident, with infinities and NaN."""
    rng = np.random.default_rng([rows, classes])
    x = rng.normal(0, 3, (rows, classes))
    kind = np.arange(rows) % 16
    x[kind == 1] *= 7
    x[kind == 2] += 5000
    x[kind == 3] -= 5000
    x[kind == 4, classes // 2] += 40
    x[kind == 5, classes - 1] = -np.inf
    x[kind == 6, classes // 3] = np.nan
    x[kind == 7] = 1.5
    x[kind == 8, 0] = np.inf
    x[kind == 9] = -np.inf
    x[kind == 10] *= 1e7
    x[kind == 11] *= 1e30
    x[kind == 12] = np.round(x[kind == 12])
    x = x.astype(dtype)
    x.setflags(write=False)
    return x


@functools.cache
def expected(op, dtype, rows, classes):
    """The bits of the first instruction set on one thread, all rows at once, contiguous."""
    isa = fastlogits.get_isa()
    fastlogits.set_isa(ISAS[0])
    try:
        with fastlogits.num_threads(1):
            return bits(ROW_OPS[op](logits(dtype, rows, classes)))
    finally:
        fastlogits.set_isa(isa)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("op", ROW_OPS)
def test_every_table_gives_the_same_bits(op, dtype, isa):
    for classes in SIZES:
        rows = 67 if classes <= 70 else 17
        got = bits(ROW_OPS[op](logits(dtype, rows, classes)))
        assert got == expected(op, dtype, rows, classes), f"{classes} classes"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("op", ROW_OPS)
def test_any_number_of_threads_gives_the_same_bits(op, dtype, isa, threads):
    for rows, classes in [(20_001, 2), (10_000, 10), (3001, 33), (1501, 257), (401, 1000)]:
        got = bits(ROW_OPS[op](logits(dtype, rows, classes)))
        assert got == expected(op, dtype, rows, classes), f"{rows} x {classes}"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("op", ROWS)
def test_one_huge_row_has_the_same_bits_on_any_number_of_threads(op, dtype, isa, threads):
    for rows, classes in [(1, 1_000_003), (3, 128_256)]:
        x = logits(dtype, 16, classes)[:rows] if rows > 1 else logits(dtype, 1, classes)
        alone = bits(ROW_OPS[op](x[rows - 1]))
        assert bits(ROW_OPS[op](x)[rows - 1]) == alone
        if rows == 1:
            assert alone == expected(op, dtype, rows, classes)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_reduced_loss_has_the_same_bits_everywhere(reduction, dtype, isa, threads):
    rng = np.random.default_rng(5)
    for rows, classes in [(10_007, 10), (1001, 1000)]:
        x = rng.normal(0, 3, (rows, classes)).astype(dtype)
        targets = rng.integers(0, classes, rows)
        targets[::5] = -100
        loss = functools.partial(fastlogits.cross_entropy, reduction=reduction)
        got = bits(loss(x, targets))
        fastlogits.set_isa(ISAS[0])
        with fastlogits.num_threads(1):
            assert got == bits(loss(x, targets))
        fastlogits.set_isa(isa)
        assert got == bits(loss(np.asfortranarray(x), targets))
        assert got == bits(loss(x.T, targets.astype(np.int16), axis=0))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("rows", "classes"), [(67, 3), (67, 10), (67, 17), (35, 40), (17, 300), (16, 5000)]
)
def test_weights_of_one_change_nothing(rows, classes, dtype, isa):
    """Without options a loss and its gradient are computed by fewer steps."""
    x, targets = logits(dtype, rows, classes), targets_of(np.empty((rows, classes)))
    targets[::9] = -100
    for weights in ({"sample_weight": np.ones(rows)}, {"class_weight": np.ones(classes)}):
        for results in zip(
            fastlogits.cross_entropy_value_and_grad(x, targets, reduction="none"),
            fastlogits.cross_entropy_value_and_grad(x, targets, reduction="none", **weights),
            strict=True,
        ):
            assert bits(results[0]) == bits(results[1]), weights
    targets = targets_of(np.empty((rows, classes)))
    for results in zip(
        fastlogits.softmax_grad_hess(x, targets),
        fastlogits.softmax_grad_hess(x, targets, sample_weight=np.ones(rows)),
        strict=True,
    ):
        assert bits(results[0]) == bits(results[1])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("op", ROW_OPS)
@pytest.mark.parametrize("classes", [1, 2, 3, 5, 8, 10, 16, 17, 31, 32, 33, 64, 70, 100])
def test_row_alone_and_in_a_batch_of_ten_thousand(classes, op, dtype, isa):
    x = logits(dtype, 10_000, classes)
    at = targets_of(x)
    whole = ROW_OPS[op](x)
    for row in [0, 1, 2, 3, 4, 5, 6, 7, 8, 15, 31, 33, 4999, 5000, 9984, 9995, 9998, 9999]:
        alone = ROW_OPS[op](x[row : row + 1], at[row : row + 1])
        assert bits(alone[0]) == bits(whole[row]), f"row {row}"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("op", ROW_OPS)
@pytest.mark.parametrize("classes", [1, 2, 3, 7, 10, 32, 33, 65, 129, 1000, 4097])
def test_batch_splits_change_nothing(classes, op, dtype, isa):
    rows = 101
    x = logits(dtype, rows, classes)
    at = targets_of(x)
    for size in (1, 2, 3, 5, 8, 13, 16, 31, 32, 33, 64):
        pieces = [ROW_OPS[op](x[i : i + size], at[i : i + size]) for i in range(0, rows, size)]
        assert bits(np.concatenate(pieces)) == expected(op, dtype, rows, classes), f"by {size}"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("op", ROW_OPS)
@pytest.mark.parametrize("classes", [1, 2, 3, 7, 10, 32, 33, 65, 255, 1000])
def test_alignment_changes_nothing(classes, op, dtype, isa):
    rows = 19
    x = logits(dtype, rows, classes)
    # Multiples of the item's size, and offsets at which the items themselves are unaligned.
    item = x.itemsize
    for offset in [*range(0, 64 + item, item), 1, 2, 3, item + 1, 33, 63]:
        buffer = np.empty(x.nbytes + offset + 64, np.uint8)
        start = -buffer.ctypes.data % 64 + offset
        moved = buffer[start : start + x.nbytes].view(dtype).reshape(x.shape)
        assert moved.ctypes.data % 64 == offset % 64
        moved[...] = x
        assert bits(ROW_OPS[op](moved)) == expected(op, dtype, rows, classes), f"offset {offset}"


def layouts(x):
    """Writable arrays equal to `x` (rows, classes) that lie differently in memory.

    What lies between the elements is NaN: reading it by mistake shows.
    """
    rows, classes = x.shape

    def filled(view):
        view[...] = x
        return view

    def nan(*shape):
        return np.full(shape, np.nan, x.dtype)

    record = np.dtype([("pad", "i1"), ("x", x.dtype)])
    yield "Fortran order", x.copy(order="F")
    yield "every other column", filled(nan(rows, 2 * classes)[:, ::2])
    yield "every third column", filled(nan(rows, 3 * classes)[:, 1::3])
    yield "columns reversed", filled(nan(rows, classes)[:, ::-1])
    yield "rows reversed", filled(nan(rows, classes)[::-1])
    yield "both reversed", filled(nan(rows, classes)[::-1, ::-1])
    yield "every other row, padded", filled(nan(2 * rows, classes + 5)[::2, 2 : 2 + classes])
    yield "transposed with steps", filled(nan(classes, 3 * rows)[:, 1::3].T)
    yield "transposed and reversed", filled(nan(classes, rows)[::-1, ::-1].T)
    yield "a field of unaligned records", filled(np.ones((rows, classes), record)["x"])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("op", ROW_OPS)
def test_memory_layout_changes_nothing(op, dtype, isa):
    for classes in [*NARROW, 127, 128, 129, 255, 257, 1000, 4097]:
        rows = 35
        for name, view in layouts(logits(dtype, rows, classes)):
            got = bits(ROW_OPS[op](view))
            assert got == expected(op, dtype, rows, classes), f"{classes} classes, {name}"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("op", ROW_OPS)
def test_many_rows_along_another_axis(op, dtype, isa, threads):
    # Wide enough for the work to be shared between threads in every layout.
    for rows, classes in [(10_000, 10), (2001, 130)]:
        for view in (
            np.asfortranarray(logits(dtype, rows, classes)),
            np.repeat(logits(dtype, rows, classes), 2, axis=1)[:, ::2],
        ):
            assert bits(ROW_OPS[op](view)) == expected(op, dtype, rows, classes)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("op", [*ROWS, "cross_entropy"])
@pytest.mark.parametrize("axis", [0, 1, 2, -1, -2, -3])
def test_class_axis_changes_nothing(op, axis, dtype, isa):
    for classes in (1, 2, 10, 32, 33, 70, 300):
        rows = 6 * 35
        x = logits(dtype, rows, classes)
        cube = x.reshape(6, 35, classes)
        # The same numbers with the class axis elsewhere: contiguous in C order, and as a view.
        moved = np.moveaxis(cube, -1, axis)
        for view in (moved, np.ascontiguousarray(moved), np.asfortranarray(moved)):
            if op == "cross_entropy":
                targets = targets_of(x).reshape(6, 35)
                got = fastlogits.cross_entropy(view, targets, axis=axis, reduction="none")
            else:
                got = getattr(fastlogits, op)(view, axis=axis)
                if op != "logsumexp":
                    got = np.moveaxis(got, axis, -1)
            assert bits(got) == expected(op, dtype, rows, classes), f"{classes} classes"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("op", NORMALISED)
def test_out_and_in_place_change_nothing(op, dtype, isa):
    function = getattr(fastlogits, op)
    for classes in [*NARROW, 128, 257, 1000, 4097]:
        rows = 35
        want = expected(op, dtype, rows, classes)
        x = logits(dtype, rows, classes)
        for name, view in layouts(x):
            out = np.empty_like(x)
            assert function(view, out=out) is out
            assert bits(out) == want, f"{classes} classes from {name}"
            assert function(view, out=view) is view
            assert bits(view) == want, f"{classes} classes in place, {name}"
        for name, view in layouts(np.zeros_like(x)):
            function(x, out=view)
            assert bits(view) == want, f"{classes} classes into {name}"


def gradient_of(x, out=None):
    return fastlogits.cross_entropy_value_and_grad(x, targets_of(x), reduction="sum", out=out)[1]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("op", [fastlogits.softmax, gradient_of], ids=["softmax", "gradient"])
@pytest.mark.parametrize("gap", [0, 1, 30, 80, 700, 1e5, np.inf])
def test_exponentials_kept_or_computed_again_have_the_same_bits(gap, op, dtype, isa):
    """Of a row of several blocks they are kept where the result is not the logits' own place; the
    blocks' largest logits are `gap` apart, some of them several times there."""
    rng = np.random.default_rng(1)
    x = rng.normal(0, 3, (6, 12_500)).astype(dtype)
    for row, block in enumerate([0, 4096, 8192]):
        x[row, block : block + 4096] -= gap
        x[row + 3, block : block + 4096] += min(gap, 1e30)
        x[:, block + 100] = x[:, block : block + 2048].max(1)
    in_place = x.copy()
    op(in_place, out=in_place)
    assert bits(op(x)) == bits(in_place)


def gradient_along(x, axis):
    labels = np.arange(x.shape[1 + axis]) % x.shape[axis]
    return fastlogits.cross_entropy_value_and_grad(x, labels, axis=axis)[1]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("op", [fastlogits.softmax, fastlogits.log_softmax, gradient_along])
def test_a_large_result_along_another_axis_has_the_same_bits(op, dtype, isa, threads):
    """Large: past the 16 MiB from which on it is written around the caches."""
    x = np.tile(logits(dtype, 16, 100), (4000 if dtype == "float32" else 2000, 1))[:-16]
    assert bits(op(np.array(x.T), axis=0).T) == bits(op(x, axis=-1))


@pytest.mark.parametrize("dtype", DTYPES)
def test_logsumexp_into_out_has_the_same_bits(dtype, isa):
    for classes in [1, 2, 10, 33, 70, 1000]:
        rows = 35
        x = logits(dtype, rows, classes)
        block = np.empty((3 * rows, 2), dtype)
        for out in (block[:rows].T[0], block[::3, 1], block[rows::-1, 0][:rows]):
            fastlogits.logsumexp(x, out=out)
            assert bits(out) == expected("logsumexp", dtype, rows, classes)
        out = np.empty((rows, 1), dtype)
        fastlogits.logsumexp(x, keepdims=True, out=out)
        assert bits(out) == expected("logsumexp", dtype, rows, classes)


@functools.cache
def expected_elements(op, dtype):
    isa = fastlogits.get_isa()
    fastlogits.set_isa(ISAS[0])
    try:
        with fastlogits.num_threads(1):
            return np.asarray(ELEMENT_OPS[op](elements(dtype)))
    finally:
        fastlogits.set_isa(isa)


@functools.cache
def elements(dtype):
    rng = np.random.default_rng(9)
    width = np.dtype(dtype).itemsize * 8
    patterns = rng.integers(0, 2**width, 30_000, dtype=f"uint{width}").view(dtype)
    x = np.concatenate([patterns, rng.normal(0, 10, 30_001).astype(dtype)])
    x.setflags(write=False)
    return x


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("op", ELEMENT_OPS)
def test_elementwise_has_the_same_bits_everywhere(op, dtype, isa, threads):
    x = elements(dtype)
    want = bits(expected_elements(op, dtype))
    assert bits(ELEMENT_OPS[op](x)) == want
    for _, view in layouts(x[:60_000].reshape(200, 300)):
        assert bits(ELEMENT_OPS[op](view)) == want[: 60_000 * x.itemsize]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("op", ELEMENT_OPS)
def test_element_alone_and_in_any_position(op, dtype, isa):
    x = elements(dtype)
    whole = expected_elements(op, dtype)
    for length in range(1, 71):
        start = length * 401
        piece = ELEMENT_OPS[op](x[start : start + length])
        assert bits(piece) == bits(whole[start : start + length]), f"{length} elements"
    for i in (0, 7, 30_000, 60_000):
        assert bits(ELEMENT_OPS[op](x[i])) == bits(whole[i])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("op", ELEMENT_OPS)
def test_elementwise_in_place_changes_nothing(op, dtype, isa):
    want = bits(expected_elements(op, dtype)[:6000])
    for _, view in layouts(elements(dtype)[:6000].reshape(60, 100)):
        assert ELEMENT_OPS[op](view, out=view) is view
        assert bits(view) == want
