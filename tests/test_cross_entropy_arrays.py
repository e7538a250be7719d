"""Cross-entropy and its gradient: the same bits whatever computes them and wherever they lie."""

import numpy as np
import pytest
from checks import bits
from losses import CASES, INTEGERS, SIZES, evaluate, everywhere, example, layouts, placed

import fastlogits
from fastlogits import cross_entropy, cross_entropy_value_and_grad, softmax_grad_hess

MOST = ["hard", "hard, everything, none", "soft, none", "soft, everything, sum"]


def swapped(a):
    return a.astype(a.dtype.newbyteorder())


def value_and_grad_bits(*arguments, **options):
    return bits(*cross_entropy_value_and_grad(*arguments, **options))


@pytest.mark.parametrize("case", CASES)
def test_any_number_of_threads_changes_nothing(case, dtype):
    for rows, classes in [(22_001, 3), (2001, 33), (151, 1000), (9, 10_000)]:
        x, targets, options = example(case, dtype.name, rows, classes)
        found = set()
        for n in (1, 2, 3, 8):
            with fastlogits.num_threads(n):
                loss, grad = cross_entropy_value_and_grad(x, targets, **options)
                assert bits(cross_entropy(x, targets, **options)) == bits(loss)
                found.add(bits(loss, grad))
        found.add(bits(*everywhere(cross_entropy_value_and_grad, x, targets, **options)))
        assert len(found) == 1, (rows, classes)


@pytest.mark.parametrize("case", MOST)
def test_memory_layouts_change_nothing(case, dtype, isa):
    for rows, classes in SIZES:
        x, targets, options = example(case, dtype.name, rows, classes)
        want = bits(*evaluate(x, targets, **options))
        for name, view in layouts(x):
            assert value_and_grad_bits(view, targets, **options) == want, name
            out = np.full_like(x, 7)
            assert value_and_grad_bits(view, targets, out=out, **options) == want, name
            assert value_and_grad_bits(view, targets, out=view, **options) == want, name
        for name, out in layouts(np.zeros_like(x)):
            loss, grad = cross_entropy_value_and_grad(x, targets, out=out, **options)
            assert grad is out
            assert bits(loss, out) == want, name
        for name, view in layouts(targets):
            assert value_and_grad_bits(x, view, **options) == want, name
        for option in {"class_weight", "sample_weight"} & set(options):
            for name, view in layouts(options[option]):
                assert value_and_grad_bits(x, targets, **{**options, option: view}) == want, name
        assert value_and_grad_bits(*map(swapped, (x, targets)), **options) == want
        if rows * classes < 500:
            lists = x if dtype == "f4" else x.tolist(), targets.tolist()
            assert value_and_grad_bits(*lists, **options) == want


@pytest.mark.parametrize("case", CASES)
def test_class_axis_changes_nothing(case, dtype):
    for classes, axis in [(1, 0), (3, 0), (3, 2), (10, 1), (70, 0), (70, 3), (300, -4), (300, -2)]:
        x, targets, options = example(case, dtype.name, 30, classes)
        want = bits(*evaluate(x, targets, **options))
        x = np.moveaxis(x.reshape(3, 2, 5, classes), -1, axis)
        targets = targets.reshape(3, 2, 5, *targets.shape[1:])
        if targets.ndim == 4:
            targets = np.moveaxis(targets, -1, axis)
        if "sample_weight" in options:
            options = {**options, "sample_weight": options["sample_weight"].reshape(3, 2, 5)}
        for order in "KCF":
            view = np.array(x, order=order)
            loss, grad = cross_entropy_value_and_grad(view, targets, axis=axis, **options)
            assert np.shape(loss) == ((3, 2, 5) if options.get("reduction") == "none" else ())
            assert grad.shape == x.shape
            assert bits(loss, np.moveaxis(grad, axis, -1)) == want, (classes, axis, order)


# --- Where the gradient goes ---


def overlaps(a):
    """Pairs in one block of memory: a copy of `a`, and an array of its kind somewhat off it."""
    row = a[0].nbytes
    for shift in (0, a.itemsize, row, 3 * a.itemsize, row + a.itemsize, (len(a) - 1) * row, 1):
        for at, to in ((0, shift), (shift, 0)):
            block = np.zeros(a.nbytes + shift, np.uint8)
            yield placed(block, at, a), block[to : to + a.nbytes].view(a.dtype).reshape(a.shape)


@pytest.mark.parametrize("case", MOST)
def test_out_may_overlap_the_logits_in_any_way(case, dtype, isa):
    for rows, classes in SIZES:
        x, targets, options = example(case, dtype.name, rows, classes)
        want = bits(*evaluate(x, targets, **options))
        for view, out in overlaps(x):
            assert value_and_grad_bits(view, targets, out=out, **options) == want, (rows, classes)
        for turn in (np.s_[::-1], np.s_[:, ::-1], np.s_[::-1, ::-1]):
            view = x.copy()
            assert value_and_grad_bits(view, targets, out=view[turn], **options) == want, turn
    for n in (3, 10, 33, 70):
        x, targets, options = example(case, dtype.name, n, n)
        view = x.copy()
        got = value_and_grad_bits(view, targets, out=view.T, **options)
        assert got == value_and_grad_bits(x, targets, **options)


@pytest.mark.parametrize("case", MOST[2:])
def test_out_may_overlap_soft_targets_in_any_way(case, dtype, isa):
    for rows, classes in SIZES:
        x, targets, options = example(case, dtype.name, rows, classes)
        want = bits(*evaluate(x, targets, **options))
        for view, out in overlaps(targets):
            assert value_and_grad_bits(x, view, out=out, **options) == want, (rows, classes)
        # Over the end of the logits and the beginning of the targets.
        block = np.zeros(2 * x.nbytes, np.uint8)
        view, soft = placed(block, 0, x), placed(block, x.nbytes, targets)
        start = (rows // 2 * classes + 1) * x.itemsize
        out = block[start : start + x.nbytes].view(x.dtype).reshape(x.shape)
        assert value_and_grad_bits(view, soft, out=out, **options) == want, (rows, classes)


@pytest.mark.parametrize("case", ["hard", "hard, everything", "soft, everything, sum"])
def test_out_may_overlap_anything_else(case, dtype):
    other = np.dtype("f4" if dtype == "f8" else "f8")
    for rows, classes in SIZES:
        x, targets, options = example(case, dtype.name, rows, classes)
        # Soft targets of the other width are of use here.
        targets = (targets > 0.5).astype(other) if targets.ndim == 2 else targets
        arguments = {"logits": x, "targets": targets, **options}
        want = value_and_grad_bits(**arguments)
        for name in {"targets", "class_weight", "sample_weight"} & set(arguments):
            a = arguments[name]
            for start in {0, max(0, x.nbytes - a.nbytes)}:
                block = np.zeros(x.nbytes + a.nbytes, np.uint8)
                more = {**arguments, name: placed(block, start, a)}
                out = block[: x.nbytes].view(x.dtype).reshape(x.shape)
                assert value_and_grad_bits(out=out, **more) == want, (rows, classes, name)


# --- Other dtypes ---


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("kind", ["float16", "int8", "int64", "uint16", "bool"])
def test_half_precision_is_computed_in_float32_and_whole_numbers_in_float64(kind, case):
    wide, narrow = ("f4", "f2") if kind == "float16" else ("f8", "f8")
    for rows, classes in SIZES:
        x, targets, options = example(case, "float32", rows, classes)
        if kind != "float16":
            x = np.random.default_rng(0).integers(0, 20, (rows, classes))
        x = x.astype(kind)
        loss, grad = evaluate(x, targets, **options)
        assert (np.asarray(loss).dtype, grad.dtype) == (wide, narrow)
        want, want_grad = cross_entropy_value_and_grad(x.astype(wide), targets, **options)
        assert bits(loss, grad) == bits(want, want_grad.astype(narrow))


@pytest.mark.parametrize("kind", INTEGERS)
def test_labels_of_any_integer_dtype(kind, dtype):
    for case in ("hard", "hard, everything, none"):
        x, y, options = example(case, dtype.name, 35, 10)
        want = value_and_grad_bits(x, y, **options)
        for labels in (y.astype(kind), swapped(y.astype(kind))):
            assert value_and_grad_bits(x, labels, **options) == want
            assert bits(*softmax_grad_hess(x, labels)) == bits(*softmax_grad_hess(x, y))


@pytest.mark.parametrize("kind", ["float16", "float32", "float64"])
def test_soft_targets_of_any_floating_dtype(kind, dtype):
    x, targets, options = example("soft, everything, sum", dtype.name, 35, 33)
    # Numbers that every one of these dtypes holds.
    targets = np.round(targets * 64) / 64
    want = value_and_grad_bits(x, targets.astype(dtype), **options)
    assert bits(*evaluate(x, targets.astype(kind), **options)) == want


@pytest.mark.parametrize("kind", ["f2", "f4", "f8", "i1", "i8", "u4", "?", "list"])
def test_weights_of_any_dtype(kind, dtype):
    x, y, _ = example("hard", dtype.name, 12, 10)
    w, s = np.arange(10) % 2, np.arange(12) % (2 if kind == "?" else 5)

    def results(w, s):
        found = cross_entropy_value_and_grad(x, y, class_weight=w, sample_weight=s)
        return bits(*found, *softmax_grad_hess(x, y, sample_weight=s))

    converted = (a.tolist() if kind == "list" else a.astype(kind) for a in (w, s))
    assert results(*converted) == results(w.astype("f8"), s.astype("f8"))


@pytest.mark.parametrize("turn", [slice(None), slice(None, None, -1)])
def test_soft_targets_whose_strides_are_no_whole_elements(turn, dtype, isa):
    x, targets, options = example("soft, everything, sum", dtype.name, 35, 33)
    packed = np.zeros(targets.shape, [("before", "u1"), ("targets", dtype)])
    packed["targets"] = targets[turn]
    want = value_and_grad_bits(x, targets, **options)
    assert bits(*evaluate(x, packed["targets"][turn], **options)) == want
