"""The gradients and Hessians that boosting asks for."""

import numpy as np
import pytest
import reference
from checks import assert_near, bits
from hypothesis import given
from hypothesis import strategies as st
from losses import OFF, SIZES, everywhere, example, finite_example, layouts, problems

import fastlogits
from fastlogits import softmax_grad_hess


def check(x, y, **options):
    """Against the definitions, relative to each element: nothing cancels in them."""
    results = everywhere(softmax_grad_hess, x, y, **options)
    for got, want in zip(results, reference.grad_hess(x, y, **options), strict=True):
        assert got.dtype == x.dtype
        assert_near(got, want, np.abs(want), OFF)
    return results


@st.composite
def boosting(draw):
    x, y, options = draw(problems(soft=False, spreads=(0, 1, 3, 20), offsets=(0, 5000)))
    x = np.ascontiguousarray(np.moveaxis(x, options.get("axis", -1), -1))
    more = {k: v for k, v in options.items() if k == "sample_weight"}
    if draw(st.booleans()):
        more["hess_scale"] = draw(st.sampled_from([2, 0.5, 1]) | st.floats(0.01, 100))
    return x, np.where((y < 0) | (y >= x.shape[-1]), 0, y), more


@given(problem=boosting())
def test_gradient_and_hessian_are_those_of_the_definitions(problem):
    x, y, options = problem
    check(x, y, **options)


@pytest.mark.parametrize("classes", [2, 3, 10, 33, 257, 5000])
def test_hessian_of_a_confident_row_keeps_every_digit(classes, dtype):
    # The largest probability is 1 - 1e-10 to 1 - 1e-30; its class is the label in every other row.
    each = np.arange(24)
    x = np.random.default_rng(0).normal(0, 0.5, (24, classes))
    top = each * 5 % classes
    x[each, top] = np.linspace(23, 69, 24) + np.log(classes)
    x = x.astype(dtype)
    y = np.where(each % 2, top, (top + 1) % classes)
    hess = check(x, y, hess_scale=2)[1][each, top]
    exact = reference.grad_hess(x, y, hess_scale=2)[1][each, top]
    assert np.all((exact > 1e-31) & (exact < 1e-8))
    if reference.wide_enough(dtype):
        assert np.all(np.abs(hess - exact) < 6 * np.finfo(dtype).eps * exact)


def test_any_number_of_threads_changes_nothing(dtype):
    for rows, classes in [(22_001, 3), (2001, 33), (151, 1000), (9, 10_000)]:
        x, y, _ = example("hard, none", dtype.name, rows, classes)
        options = {"sample_weight": np.linspace(0, 2, rows), "hess_scale": 1.5}
        found = set()
        for n in (1, 2, 3, 8):
            with fastlogits.num_threads(n):
                found.add(bits(*everywhere(softmax_grad_hess, x, y, **options)))
        assert len(found) == 1, (rows, classes)


def test_memory_layouts_change_nothing(dtype):
    for rows, classes in SIZES:
        x, y, _ = example("hard, none", dtype.name, rows, classes)
        s = np.linspace(0, 2, rows)

        def found(x, y, s):
            return bits(*everywhere(softmax_grad_hess, x, y, sample_weight=s, hess_scale=1.5))

        before = bits(x), bits(y), bits(s)
        want = found(x, y, s)
        for name, view in layouts(x):
            assert found(view, y, s) == want, (classes, name)
            assert bits(view) == bits(x)
        for (name, labels), (_, weights) in zip(layouts(y), layouts(s), strict=True):
            assert found(x, labels, weights) == want, (classes, name)
        assert found(x[None], y[None], s[None]) == want
        if dtype == "f8":
            assert found(x.tolist(), y.tolist(), s.tolist()) == want
        assert (bits(x), bits(y), bits(s)) == before
        grad, hess = softmax_grad_hess(x[None], y[None])
        assert grad.shape == hess.shape == (1, rows, classes)
        assert not np.shares_memory(grad, hess)


def test_rows_of_more_dimensions(dtype):
    x = np.random.default_rng(0).normal(size=(6, 4, 5, 3)).astype(dtype)
    y, s = np.arange(120).reshape(6, 4, 5) % 3, np.linspace(0, 2, 120).reshape(6, 4, 5)
    check(x, y, sample_weight=s)
    check(x.transpose(2, 0, 1, 3), y.transpose(2, 0, 1), sample_weight=s.transpose(2, 0, 1))
    check(x[::2, ::-1], y[::2, ::-1], sample_weight=s[::2, ::-1])


def test_one_row_of_no_dimension(dtype):
    x = np.array([1.0, 2.0, 4.0], dtype)
    for s in (None, 0.5):
        got = softmax_grad_hess(x, 1, sample_weight=s)
        want = softmax_grad_hess(x[None], [1], sample_weight=None if s is None else [s])
        assert [a.shape for a in got] == [(3,), (3,)]
        assert bits(*got) == bits(*want)


def test_special_values(dtype):
    for classes in (2, 3, 10, 33, 300, 5000):
        x, y, _ = finite_example("hard", dtype.name, classes, rows=21)
        before = softmax_grad_hess(x, y)
        x[3, 0] = np.nan
        x[9, classes - 1] = np.inf
        x[11] = -np.inf
        x[15, 1] = -np.inf
        got = check(x, y)
        kept = np.delete(np.arange(21), [3, 9, 11, 15])
        for a, b in zip(got, before, strict=True):
            assert np.isnan(a[[3, 9, 11]]).all()
            assert np.isfinite(a[15]).all()
            assert bits(a[kept]) == bits(b[kept])
        assert got[1][15, 1] == 0


@pytest.mark.parametrize("kind", ["float16", "int8", "uint64", "bool"])
def test_other_dtypes_are_converted(kind):
    compute, result = ("f4", "f2") if kind == "float16" else ("f8", "f8")
    for rows, classes in SIZES:
        x, y, _ = example("hard, none", "float32", rows, classes)
        if kind != "float16":
            x = np.random.default_rng(0).integers(0, 20, (rows, classes))
        x = x.astype(kind)
        got = everywhere(softmax_grad_hess, x, y)
        assert [a.dtype for a in got] == [result, result]
        want = softmax_grad_hess(x.astype(compute), y)
        assert bits(*got) == bits(*(a.astype(result) for a in want))
