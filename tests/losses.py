"""Problems for the losses, and what has to be true of every answer."""

import functools

import numpy as np
import reference
from checks import assert_near, bits, frozen
from hypothesis import strategies as st

import fastlogits
from fastlogits import cross_entropy, cross_entropy_value_and_grad

DTYPES = ["float32", "float64"]
REDUCTIONS = ["mean", "sum", "none"]
INTEGERS = ["i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "intp", "longlong"]
# A single class; less than a register; parts of one; whole spans; more than one block.
SIZES = [(35, 1), (35, 3), (12, 10), (9, 33), (7, 300), (3, 5000)]

# A probability, its logarithm and a logsumexp are each within 2 eps of the exact ones. The
# coefficient, the row's weight and 1 / total round once each when they are made and once when they
# multiply, by half an eps at most; sums over the classes and the rows add another rounding, since
# they are spread over lanes or taken in float64. Twice what thousands of examples have shown.
OFF = 5


def everywhere(function, *arguments, **options):
    """The arrays that `function` returns, of the same bits on every instruction set."""
    before = fastlogits.get_isa()
    found = {}
    try:
        for isa in fastlogits.available_isas():
            fastlogits.set_isa(isa)
            arrays = function(*arguments, **options)
            found[isa] = bits(*arrays)
    finally:
        fastlogits.set_isa(before)
    assert len(set(found.values())) == 1, found
    return arrays


def evaluate(x, targets, **options):
    """Loss and gradient, the same bits however they are asked for; what is read is left alone."""
    inputs = [np.asarray(a) for a in (x, targets, *options.values()) if np.ndim(a)]
    before = bits(*inputs)

    def call():
        loss, grad = cross_entropy_value_and_grad(x, targets, **options)
        alone = cross_entropy(x, targets, **options)
        place = np.array(x, grad.dtype)
        again, out = cross_entropy_value_and_grad(place, targets, out=place, **options)
        assert not any(np.shares_memory(grad, a) for a in inputs)
        assert type(grad) is np.ndarray
        assert out is place
        assert type(alone) is type(again) is type(loss)
        assert bits(alone) == bits(again) == bits(loss)
        assert bits(out) == bits(grad)
        return loss, grad

    results = everywhere(call)
    assert bits(*inputs) == before
    return results


def check(x, targets, *, off=OFF, **options):
    """`evaluate`, and whether the results are those of the definitions."""
    loss, grad = evaluate(x, targets, **options)
    assert np.asarray(loss).dtype == grad.dtype == x.dtype
    want = reference.loss(x, targets, **options)
    assert_near(loss, want.value, want.value_terms, off)
    assert_near(grad, want.grad, want.grad_terms, off)
    return loss, grad


# Each way through the options: what the targets are, and what goes with them.
EVERYTHING = {"class_weight": True, "sample_weight": True, "label_smoothing": 0.2, "z_loss": 0.01}
CASES = {
    "hard": {},
    "hard, none": {"reduction": "none"},
    "ignoring, class weights": {"ignore": True, "class_weight": True},
    "smoothing, sum": {"label_smoothing": 0.1, "reduction": "sum"},
    "z_loss": {"z_loss": 0.01},
    "hard, everything": {"ignore": True, **EVERYTHING},
    "hard, everything, none": {"ignore": True, **EVERYTHING, "reduction": "none"},
    "soft": {"soft": True},
    "soft, none": {"soft": True, "reduction": "none"},
    "soft, everything, sum": {"soft": True, **EVERYTHING, "reduction": "sum"},
}


@functools.cache
def example(case, dtype, rows, classes):
    """Logits, targets and options. With "none", the rows are of every temper."""
    options = dict(CASES[case])
    rng = np.random.default_rng([rows, classes])
    x = rng.normal(0, 3, (rows, classes))
    soft = options.pop("soft", False)
    kind = np.arange(rows) % 16
    x[kind == 1] *= 7
    x[kind == 2] += 5000
    x[kind == 3] -= 5000
    x[kind == 4, classes // 2] += 40
    if options.get("reduction") == "none":
        x[kind == 5, classes - 1] = -np.inf
        x[kind == 6, classes // 3] = np.nan
        x[kind == 7, 0] = np.inf
        x[kind == 8] = -np.inf
    if options.pop("ignore", False):
        options["ignore_index"] = 1
    for name, count in (("class_weight", classes), ("sample_weight", rows)):
        if options.pop(name, False):
            options[name] = frozen(rng.uniform(0.1, 3, count))
    if soft:
        targets = rng.uniform(0, 1, (rows, classes)) * (rng.random((rows, classes)) < 0.7)
        targets = targets.astype(dtype)
    else:
        targets = np.arange(rows) * 7 % classes
    return frozen(x.astype(dtype)), frozen(targets), options


def finite_example(case, dtype, classes, rows=12):
    """Logits that may be written, none of them special, no row ignored, reduction "none"."""
    x, targets, options = example(case, dtype, rows, classes)
    options = {k: v for k, v in options.items() if k != "ignore_index"}
    return x.copy(), targets, {**options, "reduction": "none"}


@st.composite
def problems(draw, spreads=(0, 1, 3, 20, 1000), offsets=(0, 5000, -5000), soft=None):
    """Logits, targets, and any combination of the options."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    rows = draw(st.lists(st.integers(0, 5), max_size=3).map(tuple))
    classes = draw(st.integers(1, 70) | st.sampled_from([128, 257, 1000]))
    dtype = draw(st.sampled_from(DTYPES))
    axis = draw(st.integers(-len(rows) - 1, len(rows)))
    options = {} if axis == -1 and draw(st.booleans()) else {"axis": axis}
    spread, offset = draw(st.sampled_from(spreads)), draw(st.sampled_from(offsets))
    x = (rng.normal(0, spread, (*rows, classes)) + offset).astype(dtype)
    x = np.ascontiguousarray(np.moveaxis(x, -1, axis))
    weights = st.sampled_from(["float32", "float64", "float16", "int64"])
    for name, shape in (("class_weight", classes), ("sample_weight", rows)):
        if draw(st.booleans()):
            w = rng.uniform(0, 3, shape) * (rng.random(shape) < 0.8)
            options[name] = np.asarray(w).astype(draw(weights))
    if draw(st.booleans()):
        options["label_smoothing"] = draw(st.sampled_from([0, 0.1, 0.5, 1.0]) | st.floats(0, 1))
    if draw(st.booleans()):
        options["z_loss"] = draw(st.sampled_from([0, 1e-4, 0.01, 1]) | st.floats(0, 10))
    if draw(st.booleans()):
        options["reduction"] = draw(st.sampled_from(REDUCTIONS))
    if draw(st.booleans()) if soft is None else soft:
        t = rng.uniform(0, 1, (*rows, classes)) * (rng.random((*rows, classes)) < 0.7)
        if draw(st.booleans()):
            t /= np.maximum(t.sum(axis=-1, keepdims=True), 1e-3)
        targets = np.ascontiguousarray(np.moveaxis(t, -1, axis))
        return x, targets.astype(draw(st.sampled_from([*DTYPES, "float16"]))), options
    targets = np.asarray(rng.integers(0, classes, rows))
    if draw(st.booleans()):
        ignored = draw(st.sampled_from([-100, -1, 0, classes - 1]))
        targets = np.where(rng.random(rows) < draw(st.sampled_from([0, 0.3, 1])), ignored, targets)
        if ignored != -100 or draw(st.booleans()):
            options["ignore_index"] = ignored
    return x, targets.astype(draw(st.sampled_from(["int16", "int32", "int64"]))), options


def layouts(a):
    """Writable arrays equal to `a` that lie differently in memory, NaN between the elements."""

    def blank(*shape):
        return np.full(shape, np.nan if a.dtype.kind == "f" else 99, a.dtype)

    raw = np.zeros(a.nbytes + 1, np.uint8)
    views = {"unaligned": raw[1:].view(a.dtype).reshape(a.shape)}
    if a.ndim == 1:
        views["steps"] = blank(3 * len(a))[1::3]
        views["reversed"] = blank(len(a))[::-1]
    else:
        rows, classes = a.shape
        views["Fortran order"] = blank(classes, rows).T
        views["every third column"] = blank(rows, 3 * classes)[:, 1::3]
        views["columns reversed"] = blank(rows, classes)[:, ::-1]
        views["rows reversed"] = blank(rows, classes)[::-1]
        views["every other row, padded"] = blank(2 * rows, classes + 5)[::2, 2 : 2 + classes]
        views["transposed and reversed"] = blank(classes, 2 * rows)[::-1, ::-2].T
    for name, view in views.items():
        view[...] = a
        yield name, view


def placed(block, offset, a):
    """`a`, copied into the bytes of `block` at `offset`."""
    view = block[offset : offset + a.nbytes].view(a.dtype).reshape(a.shape)
    view[...] = a
    return view
