"""Cross-entropy with all its options, its gradient, and the gradients and Hessians of boosting."""

import functools
import itertools
import re
from typing import NamedTuple

import numpy as np
import pytest
import reference
from hypothesis import assume, given
from hypothesis import strategies as st

import fastlogits
from fastlogits import cross_entropy, cross_entropy_value_and_grad, softmax_grad_hess

WIDE = reference.WIDE
DTYPES = ["float32", "float64"]
ISAS = fastlogits.available_isas()
REDUCTIONS = ["mean", "sum", "none"]
AxisError = np.exceptions.AxisError


@pytest.fixture(params=DTYPES)
def dtype(request):
    return np.dtype(request.param)


def bits(a):
    """The bytes of an array in C order, every NaN being the same one."""
    a = np.array(a, order="C", copy=True)
    a[np.isnan(a)] = np.nan
    return a.tobytes()


def refused(error, *said):
    """A context in which `error` must be raised with each of `said` as a word of its message."""
    pattern = "".join(rf"(?=.*(?<!\w){re.escape(str(word))}(?!\w))" for word in said)
    return pytest.raises(error, match=f"(?s){pattern}")


def frozen(a):
    a.setflags(write=False)
    return a


def need_wide(dtype):
    if not reference.wide_enough(dtype):
        pytest.skip("longdouble is no wider than float64 here")


# --- What the definitions say, in extended precision ---


class Softmax(NamedTuple):
    """Of rows of logits; `q` is 1 - p, with all its digits also where p is nearly 1."""

    log_p: np.ndarray
    p: np.ndarray
    q: np.ndarray
    lse: np.ndarray
    lse_terms: np.ndarray  # the magnitudes that logsumexp is added up from


def softmax_of(x):
    x = np.asarray(x).astype(WIDE)
    top = x.argmax(axis=-1)[..., None]
    with np.errstate(all="ignore"):
        largest = np.take_along_axis(x, top, -1)
        down = x - largest
        e = np.exp(down)
        others = e.copy()
        np.put_along_axis(others, top, 0, -1)
        rest = others.sum(axis=-1, keepdims=True)
        # Where the largest logit is not finite, every probability is NaN.
        rest[~np.isfinite(largest)] = np.nan
        p = e / (1 + rest)
        q = 1 - p
        np.put_along_axis(q, top, rest / (1 + rest), -1)
        log_p = down - np.log1p(rest)
        lse = np.where(np.isfinite(largest), largest + np.log1p(rest), largest)[..., 0]
        terms = (np.abs(largest) + np.log1p(rest))[..., 0]
    return Softmax(log_p, p, q, lse, terms)


class Expected(NamedTuple):
    """The exact results, and the sums of the magnitudes of the terms they are made of."""

    loss: np.ndarray
    grad: np.ndarray
    loss_terms: np.ndarray
    grad_terms: np.ndarray
    total: np.ndarray  # what the mean divides by


def expected(
    logits,
    targets,
    *,
    axis=-1,
    class_weight=None,
    sample_weight=None,
    ignore_index=-100,
    label_smoothing=0.0,
    z_loss=0.0,
    reduction="mean",
):
    x = np.moveaxis(np.asarray(logits), axis, -1)
    targets = np.asarray(targets)
    rows, classes = x.shape[:-1], x.shape[-1]
    w = np.ones(classes, WIDE) if class_weight is None else np.asarray(class_weight, WIDE)
    s = np.ones(rows, WIDE) if sample_weight is None else np.asarray(sample_weight, WIDE)
    smooth, z = WIDE(label_smoothing), WIDE(z_loss)
    if targets.dtype.kind == "f":
        t = np.moveaxis(targets, axis, -1).astype(WIDE)
        counts = np.ones(rows, bool)
        coefficient = w * ((1 - smooth) * t + smooth / classes)
        weight = s
        z = np.full(rows, z)
    else:
        counts = targets != ignore_index
        y = np.where(counts, targets, 0).astype(np.intp)
        hot = np.arange(classes) == y[..., None]
        coefficient = (1 - smooth) * (w * hot) + smooth / classes * w
        weight = s * w[y] * counts
        z = w[y] * z
    soft = softmax_of(x)
    top = np.asarray(x.argmax(axis=-1))[..., None]
    with np.errstate(all="ignore"):
        # A coefficient of 0 beside a logit of -inf adds nothing.
        nothing = (coefficient == 0) & (x == -np.inf)
        loss = np.where(nothing, 0, coefficient * -soft.log_p).sum(axis=-1)
        loss_terms = loss + z * soft.lse_terms**2
        loss = loss + z * soft.lse**2
        # The gradient is all * p - own. For the largest logit, where all may be own and p nearly
        # 1, it is (all - own) - all * (1 - p).
        everything = coefficient.sum(axis=-1, keepdims=True)
        grad = everything * soft.p - coefficient
        elsewhere = coefficient.copy()
        np.put_along_axis(elsewhere, top, 0, -1)
        at_top = elsewhere.sum(axis=-1, keepdims=True) - everything * np.take_along_axis(
            soft.q, top, -1
        )
        np.put_along_axis(grad, top, at_top, -1)
        grad = grad + (2 * z * soft.lse)[..., None] * soft.p
        grad_terms = (everything + (2 * z * soft.lse_terms)[..., None]) * soft.p + coefficient
        loss, loss_terms = (np.where(counts, s * a, 0) for a in (loss, loss_terms))
        grad, grad_terms = (
            np.where(counts[..., None], s[..., None] * a, 0) for a in (grad, grad_terms)
        )
        total = weight.sum()
        if reduction != "none":
            loss, loss_terms = loss.sum(), loss_terms.sum()
        if reduction == "mean":
            # With smoothing, rows whose own class weighs 0 have a loss: still NaN over no weight.
            loss, loss_terms = (a / total if total else WIDE(np.nan) for a in (loss, loss_terms))
            grad, grad_terms = (
                a / total if total else np.zeros_like(a) for a in (grad, grad_terms)
            )
    grad, grad_terms = (np.moveaxis(a, -1, axis) for a in (grad, grad_terms))
    return Expected(loss, grad, loss_terms, grad_terms, total)


def assert_near(got, want, terms, eps):
    """Whether each result is within `eps` of the magnitudes of its terms from the exact one.

    Below the smallest normal number results may be flushed to zero, before they are weighted.
    """
    got, want = np.asarray(got), np.asarray(want)
    assert got.shape == want.shape
    finite = np.isfinite(want)
    np.testing.assert_array_equal(got[~finite], want[~finite].astype(got.dtype))
    floor = 1e6 * WIDE(np.finfo(got.dtype).smallest_normal)
    error = np.abs(got[finite].astype(WIDE) - want[finite])
    limit = eps * np.asarray(terms)[finite] + floor
    assert np.all(error <= limit), f"{float(np.max(error / limit))} times the limit"


# --- Problems with any combination of the options ---


@st.composite
def problems(draw, spreads=(0, 1, 3, 20, 1000), offsets=(0, 5000, -5000), soft=None):
    """Logits, targets and options of the losses."""
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
    if draw(st.booleans()):
        w = rng.uniform(0, 3, classes) * (rng.random(classes) < 0.8)
        options["class_weight"] = w.astype(draw(weights))
    if draw(st.booleans()):
        s = rng.uniform(0, 3, rows) * (rng.random(rows) < 0.8)
        options["sample_weight"] = np.asarray(s).astype(draw(weights))
    if draw(st.booleans()):
        smoothings = st.sampled_from([0, 0.1, 0.5, 1.0]) | st.floats(0, 1)
        options["label_smoothing"] = draw(smoothings)
    if draw(st.booleans()):
        options["z_loss"] = draw(st.sampled_from([0, 1e-4, 0.01, 1]) | st.floats(0, 10))
    reduction = draw(st.sampled_from([None, *REDUCTIONS]))
    if reduction is not None:
        options["reduction"] = reduction
    if draw(st.booleans()) if soft is None else soft:
        t = rng.uniform(0, 1, (*rows, classes)) * (rng.random((*rows, classes)) < 0.7)
        if draw(st.booleans()):
            t /= np.maximum(t.sum(axis=-1, keepdims=True), 1e-3)
        targets = np.ascontiguousarray(np.moveaxis(t, -1, axis))
        return x, targets.astype(draw(st.sampled_from([*DTYPES, "float16"]))), options
    targets = np.asarray(rng.integers(0, classes, rows))
    if draw(st.booleans()):
        ignored = draw(st.sampled_from([-100, -1, 0, classes - 1]))
        share = draw(st.sampled_from([0, 0.3, 1]))
        targets = np.where(rng.random(rows) < share, ignored, targets)
        if ignored != -100 or draw(st.booleans()):
            options["ignore_index"] = ignored
    return x, targets.astype(draw(st.sampled_from(["int16", "int32", "int64"]))), options


# A probability, its logarithm and a logsumexp are each within 2 eps of the exact ones. The
# coefficient, the row's weight and 1 / total round once each when they are made and once when they
# multiply, by half an eps at most; sums over the classes and the rows add another rounding, since
# they are spread over lanes or taken in float64. Twice what thousands of examples have shown.
OFF = 5


def tolerance(dtype):
    return OFF * WIDE(np.finfo(dtype).eps)


@given(problem=problems())
def test_value_and_gradient_are_those_of_the_definitions(isa, problem):
    x, targets, options = problem
    need_wide(x.dtype)
    want = expected(x, targets, **options)
    loss, grad = cross_entropy_value_and_grad(x, targets, **options)
    assert np.asarray(loss).dtype == grad.dtype == x.dtype
    assert_near(loss, want.loss, want.loss_terms, tolerance(x.dtype))
    assert_near(grad, want.grad, want.grad_terms, tolerance(x.dtype))


@given(problem=problems())
def test_value_alone_has_the_bits_of_the_value_beside_the_gradient(isa, problem):
    x, targets, options = problem
    loss, grad = cross_entropy_value_and_grad(x, targets, **options)
    alone = cross_entropy(x, targets, **options)
    assert type(alone) is type(loss)
    assert bits(alone) == bits(loss)
    assert type(grad) is np.ndarray


@given(problem=problems())
def test_out_changes_nothing(problem):
    x, targets, options = problem
    loss, grad = cross_entropy_value_and_grad(x, targets, **options)
    out = np.full_like(x, 7)
    result = cross_entropy_value_and_grad(x, targets, out=out, **options)
    assert result[1] is out
    assert (bits(result[0]), bits(out)) == (bits(loss), bits(grad))
    result = cross_entropy_value_and_grad(x, targets, out=x, **options)
    assert result[1] is x
    assert (bits(result[0]), bits(x)) == (bits(loss), bits(grad))


# --- Other ways to the same numbers ---


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch", reason="PyTorch is not installed")


def by_autograd(
    torch,
    logits,
    targets,
    *,
    axis=-1,
    class_weight=None,
    sample_weight=None,
    ignore_index=-100,
    label_smoothing=0.0,
    z_loss=0.0,
    reduction="mean",
):
    """Value and gradient in float64."""
    x = torch.tensor(np.asarray(logits, "f8"), requires_grad=True)
    rows = torch.movedim(x, axis, -1)
    classes = rows.shape[-1]
    w = torch.ones(classes, dtype=torch.float64)
    if class_weight is not None:
        w = torch.tensor(np.asarray(class_weight, "f8"))
    s = torch.ones(rows.shape[:-1], dtype=torch.float64)
    if sample_weight is not None:
        s = torch.tensor(np.asarray(sample_weight, "f8"))
    log_p, lse = torch.log_softmax(rows, -1), torch.logsumexp(rows, -1)
    uniform = label_smoothing / classes
    if np.asarray(targets).dtype.kind == "f":
        t = torch.movedim(torch.tensor(np.asarray(targets, "f8")), axis, -1)
        loss = -(w * ((1 - label_smoothing) * t + uniform) * log_p).sum(-1) + z_loss * lse**2
        total = s.sum()
    else:
        y = torch.tensor(np.asarray(targets, "i8"))
        s = s * (y != ignore_index)
        y = torch.where(y == ignore_index, 0, y)
        picked = torch.gather(log_p, -1, y[..., None])[..., 0]
        loss = -(1 - label_smoothing) * w[y] * picked - uniform * (w * log_p).sum(-1)
        loss = loss + w[y] * z_loss * lse**2
        total = (s * w[y]).sum()
    loss = s * loss
    if reduction != "none":
        loss = loss.sum()
    if reduction == "mean":
        loss = loss / total
    loss.sum().backward()
    return loss.detach().numpy(), x.grad.numpy(), float(total)


# In float64 PyTorch's log_softmax is off by some eps * |x|, |x| below 100 here, and its backward
# pass by as much times the weights; float32 results by OFF * eps of terms that the largest
# result bounds up to the cancellation of p - t, which is at most a factor of a few hundred.
LOOSE = {"float32": 1e-4, "float64": 1e-12}


def assert_agrees(got, want, dtype):
    got = np.asarray(got)
    assert got.shape == want.shape
    largest = max(1, np.max(np.abs(want), initial=0))
    np.testing.assert_allclose(got, want, rtol=LOOSE[dtype.name], atol=LOOSE[dtype.name] * largest)


@given(problem=problems(spreads=(0, 1, 3, 20), offsets=(0,)))
def test_value_and_gradient_are_those_of_autograd(torch, problem):
    x, targets, options = problem
    want, want_grad, total = by_autograd(torch, x, targets, **options)
    # Over weights of 0, autograd's gradient is NaN.
    assume(total > 0)
    loss, grad = cross_entropy_value_and_grad(x, targets, **options)
    assert_agrees(loss, want, x.dtype)
    assert_agrees(grad, want_grad, x.dtype)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("weighted", [False, True], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("kind", ["hard", "ignoring", "soft"])
@pytest.mark.parametrize("rest", [(), (3,), (3, 2)], ids=str)
def test_agrees_with_pytorch(rest, kind, weighted, smoothing, reduction, torch):
    rng = np.random.default_rng(2)
    shape = (8, 7, *rest)
    x = rng.normal(0, 3, shape)
    options = {"label_smoothing": smoothing, "reduction": reduction}
    w = rng.uniform(0, 3, 7)
    if kind == "soft":
        targets = rng.dirichlet(np.ones(7), (8, *rest))
        targets = np.ascontiguousarray(np.moveaxis(targets, -1, 1))
    else:
        targets = rng.integers(0, 7, (8, *rest))
    if kind == "ignoring":
        targets[2:4] = 5
        options["ignore_index"] = 5
    tensor = torch.tensor(x, requires_grad=True)
    want = torch.nn.functional.cross_entropy(
        tensor, torch.tensor(targets), weight=torch.tensor(w) if weighted else None, **options
    )
    want.sum().backward()
    loss, grad = cross_entropy_value_and_grad(
        x, targets, axis=1, class_weight=w if weighted else None, **options
    )
    assert_agrees(loss, want.detach().numpy(), x.dtype)
    assert_agrees(grad, tensor.grad.numpy(), x.dtype)


# Each way through the options: what the targets are, and what goes with them.
CASES = {
    "hard, mean": {},
    "hard, sum": {"reduction": "sum"},
    "hard, none": {"reduction": "none"},
    "ignoring, mean": {"ignore": True},
    "class weights, mean": {"class_weight": True},
    "sample weights, mean": {"sample_weight": True},
    "smoothing, sum": {"label_smoothing": 0.1, "reduction": "sum"},
    "z_loss, none": {"z_loss": 0.01, "reduction": "none"},
    "hard, everything, mean": {
        "ignore": True,
        "class_weight": True,
        "sample_weight": True,
        "label_smoothing": 0.2,
        "z_loss": 0.01,
    },
    "hard, everything, none": {
        "ignore": True,
        "class_weight": True,
        "sample_weight": True,
        "label_smoothing": 0.2,
        "z_loss": 0.01,
        "reduction": "none",
    },
    "soft, mean": {"soft": True},
    "soft, none": {"soft": True, "reduction": "none"},
    "soft, everything, mean": {
        "soft": True,
        "class_weight": True,
        "sample_weight": True,
        "label_smoothing": 0.2,
        "z_loss": 0.01,
    },
    "soft, everything, sum": {
        "soft": True,
        "class_weight": True,
        "sample_weight": True,
        "label_smoothing": 0.2,
        "z_loss": 0.01,
        "reduction": "sum",
    },
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


@pytest.mark.parametrize("case", [name for name in CASES if "none" not in name])
def test_gradient_is_the_slope_of_the_loss(case, isa):
    _, targets, options = example(case, "float64", 5, 6)
    x = np.random.default_rng(0).normal(0, 2, (5, 6))
    # A central difference of step h is off by h**2 times a third derivative, below 1 here, and by
    # the rounding of the two losses, some 100 * eps, over h.
    h = 1e-5
    grad = cross_entropy_value_and_grad(x, targets, **options)[1]
    for index in itertools.product(*map(range, x.shape)):
        up, down = x.copy(), x.copy()
        up[index] += h
        down[index] -= h
        rise = cross_entropy(up, targets, **options) - cross_entropy(down, targets, **options)
        slope = rise / (up[index] - down[index])
        assert abs(slope - grad[index]) <= 1e-8, index


# --- How near the results are ---


@functools.cache
def rows_of(kind, dtype, rows, classes):
    """Logits, labels, and the exact losses and gradients."""
    rng = np.random.default_rng([rows, classes])
    x = rng.normal(0, 20 if kind == "spread" else 3, (rows, classes))
    y = rng.integers(0, classes, rows)
    if kind == "confident":
        x[np.arange(rows), rng.integers(0, classes, rows)] += rng.uniform(10, 70, rows)
        y[::2] = x.argmax(axis=1)[::2]
    elif kind == "up":
        x += 5000
    elif kind == "down":
        x -= 5000
    x = frozen(x.astype(dtype))
    loss = np.concatenate(
        [reference.cross_entropy(x[i : i + 8], y[i : i + 8]) for i in range(0, rows, 8)]
    )
    return x, y, loss, expected(x, y, reduction="sum").grad


KINDS = ["normal", "spread", "confident", "up", "down"]
SIZES = [2, 3, 4, 7, 8, 10, 16, 17, 31, 32, 33, 64, 65, 100, 257, 1000]


def ulps_off(kind, dtype, rows, classes):
    need_wide(dtype)
    x, y, loss, grad = rows_of(kind, dtype.name, rows, classes)
    large = np.abs(grad) > 0.01
    found = {}
    for reduction in ("none", "sum"):
        got, got_grad = cross_entropy_value_and_grad(x, y, reduction=reduction)
        off = reference.ulp_error(got_grad, grad)
        found[f"gradient of {reduction}"] = off[large].max()
        if reduction == "none":
            found["loss"] = reference.ulp_error(got, loss).max()
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_losses_are_within_2_and_gradients_within_2_and_a_half_ulp(kind, dtype, isa):
    for classes in SIZES:
        found = ulps_off(kind, dtype, 160 if classes < 100 else 48, classes)
        assert found["loss"] <= 2, (classes, found)
        assert max(found.values()) <= 2.5, (classes, found)


@pytest.mark.parametrize("kind", KINDS)
def test_a_vocabulary_of_classes_is_as_near(kind, dtype, isa):
    found = ulps_off(kind, dtype, 2, 128_256)
    assert found["loss"] <= 2, found
    assert max(found.values()) <= 2.5, found


@pytest.mark.parametrize("classes", [2, 3, 10, 33, 257, 5000])
def test_gradient_of_a_confident_target_keeps_every_digit(classes, dtype, isa):
    need_wide(dtype)
    # p - 1 is minus the sum of the others: 1e-10 to 1e-30, where p itself rounds to 1.
    ahead = np.linspace(23, 69, 24) + np.log(classes)
    x = np.random.default_rng(0).normal(0, 0.5, (len(ahead), classes))
    y = np.arange(len(ahead)) % classes
    x[np.arange(len(ahead)), y] = ahead
    x = x.astype(dtype)
    grad = cross_entropy_value_and_grad(x, y, reduction="sum")[1]
    at = grad[np.arange(len(ahead)), y]
    exact = -np.take_along_axis(softmax_of(x).q, y[:, None], -1)[:, 0]
    assert np.all(exact > -1e-9)
    assert np.all(exact < -1e-31)
    assert np.all(np.abs(at - exact) < 4 * np.finfo(dtype).eps * -exact)
    mean = cross_entropy_value_and_grad(x, y)[1][np.arange(len(ahead)), y]
    assert np.all(np.abs(mean * len(y) - exact) < 6 * np.finfo(dtype).eps * -exact)


def test_reduced_losses_of_many_rows_are_near(dtype, isa):
    need_wide(dtype)
    rng = np.random.default_rng(3)
    x = rng.normal(0, 3, (5000, 10)).astype(dtype)
    y = rng.integers(-1, 10, 5000)
    options = {
        "class_weight": rng.uniform(0, 3, 10),
        "sample_weight": rng.uniform(0, 3, 5000),
        "ignore_index": -1,
    }
    for reduction in ("mean", "sum"):
        loss = cross_entropy(x, y, reduction=reduction, **options)
        want = expected(x, y, reduction=reduction, **options)
        assert_near(loss, want.loss, want.loss_terms, 2 * np.finfo(dtype).eps)


# --- The same bits whatever computes them and wherever they lie ---


@functools.cache
def first_bits(case, dtype, rows, classes):
    """The bits of the first instruction set on one thread, contiguous."""
    isa = fastlogits.get_isa()
    fastlogits.set_isa(ISAS[0])
    try:
        with fastlogits.num_threads(1):
            x, targets, options = example(case, dtype, rows, classes)
            loss, grad = cross_entropy_value_and_grad(x, targets, **options)
            return bits(loss), bits(grad)
    finally:
        fastlogits.set_isa(isa)


@pytest.mark.parametrize("case", CASES)
def test_same_bits_on_every_table_and_any_number_of_threads(case, dtype, isa, threads):
    for rows, classes in [(4001, 3), (1501, 10), (1001, 33), (151, 1000), (9, 10_000)]:
        x, targets, options = example(case, dtype.name, rows, classes)
        want = first_bits(case, dtype.name, rows, classes)
        loss, grad = cross_entropy_value_and_grad(x, targets, **options)
        assert (bits(loss), bits(grad)) == want, f"{rows} x {classes}"
        assert bits(cross_entropy(x, targets, **options)) == want[0], f"{rows} x {classes}"


def layouts(a):
    """Writable arrays equal to `a` that lie differently in memory, NaN between the elements."""

    def filled(view):
        view[...] = a
        return view

    def blank(*shape):
        return np.full(shape, np.nan if a.dtype.kind == "f" else 99, a.dtype)

    raw = np.zeros(a.nbytes + 1, np.uint8)
    yield "unaligned", filled(raw[1:].view(a.dtype).reshape(a.shape))
    if a.ndim == 1:
        yield "steps", filled(blank(3 * len(a))[1::3])
        yield "reversed", filled(blank(len(a))[::-1])
        return
    rows, classes = a.shape
    yield "Fortran order", a.copy(order="F")
    yield "every third column", filled(blank(rows, 3 * classes)[:, 1::3])
    yield "columns reversed", filled(blank(rows, classes)[:, ::-1])
    yield "rows reversed", filled(blank(rows, classes)[::-1])
    yield "every other row, padded", filled(blank(2 * rows, classes + 5)[::2, 2 : 2 + classes])
    yield "transposed and reversed", filled(blank(classes, 2 * rows)[::-1, ::-2].T)


@pytest.mark.parametrize("case", CASES)
def test_memory_layouts_change_nothing(case, dtype, isa):
    for rows, classes in [(35, 1), (35, 2), (35, 3), (35, 10), (35, 33), (19, 257), (5, 5000)]:
        x, targets, options = example(case, dtype.name, rows, classes)
        want = first_bits(case, dtype.name, rows, classes)

        def check(what, x, targets, want=want, size=f"{rows} x {classes}", **options):
            loss, grad = cross_entropy_value_and_grad(x, targets, **options)
            assert (bits(loss), bits(grad)) == want, f"{size}, {what}"

        for name, view in layouts(x):
            check(f"logits {name}", view, targets, **options)
            out = np.full_like(x, 7)
            check(f"logits {name} into an array", view, targets, out=out, **options)
            assert bits(out) == want[1], name
            check(f"in place, {name}", view, targets, out=view, **options)
            assert bits(view) == want[1], name
        for name, out in layouts(np.zeros_like(x)):
            check(f"into {name}", x, targets, out=out, **options)
            assert bits(out) == want[1], name
        for name, view in layouts(targets):
            check(f"targets {name}", x, view, **options)
        for option in ("class_weight", "sample_weight"):
            for name, view in layouts(options[option]) if option in options else ():
                check(f"{option} {name}", x, targets, **{**options, option: view})
        swapped = x.astype(x.dtype.newbyteorder())
        check("byte-swapped", swapped, targets.astype(targets.dtype.newbyteorder()), **options)
        if rows * classes < 500:
            check("lists", x if dtype == "f4" else x.tolist(), targets.tolist(), **options)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("axis", [0, 1, 2, -3])
def test_class_axis_changes_nothing(axis, case, dtype, isa):
    for classes in (1, 3, 10, 70, 300):
        x, targets, options = example(case, dtype.name, 6 * 5, classes)
        want = first_bits(case, dtype.name, 6 * 5, classes)
        x = np.moveaxis(x.reshape(6, 5, classes), -1, axis)
        if targets.ndim == 2:
            targets = np.moveaxis(targets.reshape(6, 5, classes), -1, axis)
        else:
            targets = targets.reshape(6, 5)
        if "sample_weight" in options:
            options = {**options, "sample_weight": options["sample_weight"].reshape(6, 5)}
        for order in "KCF":
            view = np.array(x, order=order)
            loss, grad = cross_entropy_value_and_grad(view, targets, axis=axis, **options)
            assert np.shape(loss) == ((6, 5) if options.get("reduction") == "none" else ())
            assert grad.shape == x.shape
            assert (bits(loss), bits(np.moveaxis(grad, axis, -1))) == want, (classes, order)


# --- Where the gradient goes ---

OVERLAPS = [(35, 3), (12, 10), (9, 33), (7, 300), (3, 5000)]


def placed(block, offset, a):
    """`a`, copied into the bytes of `block` at `offset`."""
    view = block[offset : offset + a.nbytes].view(a.dtype).reshape(a.shape)
    view[...] = a
    return view


@pytest.mark.parametrize("case", CASES)
def test_inputs_are_left_alone(case, dtype, isa):
    for rows, classes in OVERLAPS:
        x, targets, options = example(case, dtype.name, rows, classes)
        x, targets = x.copy(), targets.copy()
        options = {k: np.copy(v) if np.ndim(v) else v for k, v in options.items()}
        inputs = [x, targets, *(v for v in options.values() if np.ndim(v))]
        before = [a.tobytes() for a in inputs]
        cross_entropy(x, targets, **options)
        grad = cross_entropy_value_and_grad(x, targets, **options)[1]
        cross_entropy_value_and_grad(x, targets, out=np.empty_like(x), **options)
        assert [a.tobytes() for a in inputs] == before
        assert not any(np.shares_memory(grad, a) for a in inputs)
        cross_entropy_value_and_grad(x, targets, out=x, **options)
        assert [a.tobytes() for a in inputs[1:]] == before[1:]


@pytest.mark.parametrize("case", CASES)
def test_out_may_overlap_the_logits_in_any_way(case, dtype, isa):
    for rows, classes in OVERLAPS:
        x, targets, options = example(case, dtype.name, rows, classes)
        want = first_bits(case, dtype.name, rows, classes)
        row = classes * x.itemsize
        for shift in (x.itemsize, row, 3 * x.itemsize, row + x.itemsize, (rows - 1) * row, 1):
            for at, to in ((0, shift), (shift, 0)):
                block = np.zeros(x.nbytes + shift, np.uint8)
                view = placed(block, at, x)
                out = block[to : to + x.nbytes].view(x.dtype).reshape(x.shape)
                loss, grad = cross_entropy_value_and_grad(view, targets, out=out, **options)
                assert grad is out
                assert (bits(loss), bits(out)) == want, (rows, classes, at, to)
        for turn in (np.s_[::-1], np.s_[:, ::-1], np.s_[::-1, ::-1]):
            view = x.copy()
            loss, grad = cross_entropy_value_and_grad(view, targets, out=view[turn], **options)
            assert (bits(loss), bits(view[turn])) == want, (rows, classes, turn)


@pytest.mark.parametrize("case", CASES)
def test_out_may_be_the_transposed_logits(case, dtype, isa):
    for rows in (3, 10, 33, 70):
        x, targets, options = example(case, dtype.name, rows, rows)
        want = first_bits(case, dtype.name, rows, rows)
        view = x.copy()
        loss, grad = cross_entropy_value_and_grad(view, targets, out=view.T, **options)
        assert (bits(loss), bits(grad)) == want, rows
        assert bits(view.T) == want[1]


@pytest.mark.parametrize("case", [name for name in CASES if "soft" in name])
def test_out_may_overlap_soft_targets_in_any_way(case, dtype, isa):
    for rows, classes in OVERLAPS:
        x, targets, options = example(case, dtype.name, rows, classes)
        want = first_bits(case, dtype.name, rows, classes)
        row = classes * x.itemsize
        for shift in (0, x.itemsize, row, row + x.itemsize, (rows - 1) * row, 1):
            for at, to in ((0, shift), (shift, 0)):
                block = np.zeros(x.nbytes + shift, np.uint8)
                view = placed(block, at, targets)
                out = block[to : to + x.nbytes].view(x.dtype).reshape(x.shape)
                loss, grad = cross_entropy_value_and_grad(x, view, out=out, **options)
                assert grad is out
                assert (bits(loss), bits(out)) == want, (rows, classes, at, to)
        # Over the end of the logits and the beginning of the targets.
        block = np.zeros(2 * x.nbytes, np.uint8)
        view, soft = placed(block, 0, x), placed(block, x.nbytes, targets)
        start = rows // 2 * row + x.itemsize
        out = block[start : start + x.nbytes].view(x.dtype).reshape(x.shape)
        loss, _ = cross_entropy_value_and_grad(view, soft, out=out, **options)
        assert (bits(loss), bits(out)) == want, (rows, classes)
        # Targets of the other width, in the gradient's memory.
        other = np.dtype("f4" if dtype == "f8" else "f8")
        block = np.zeros(2 * x.nbytes + targets.size * 8, np.uint8)
        soft = placed(block, 0, (targets > 0.5).astype(other))
        loss, grad = cross_entropy_value_and_grad(x, soft.copy(), **options)
        out = block[: x.nbytes].view(x.dtype).reshape(x.shape)
        got, _ = cross_entropy_value_and_grad(x, soft, out=out, **options)
        assert (bits(got), bits(out)) == (bits(loss), bits(grad)), (rows, classes)


@pytest.mark.parametrize("case", [n for n in CASES if "everything" in n or "hard" in n])
def test_out_may_overlap_labels_and_weights(case, dtype, isa):
    for rows, classes in OVERLAPS:
        x, targets, options = example(case, dtype.name, rows, classes)
        want = first_bits(case, dtype.name, rows, classes)
        if targets.ndim == 1:
            for start in (0, max(0, x.nbytes - targets.nbytes)):
                block = np.zeros(x.nbytes + targets.nbytes, np.uint8)
                labels = placed(block, start, targets)
                out = block[: x.nbytes].view(x.dtype).reshape(x.shape)
                loss, _ = cross_entropy_value_and_grad(x, labels, out=out, **options)
                assert (bits(loss), bits(out)) == want, (rows, classes)
        for name in ("class_weight", "sample_weight"):
            if name in options:
                block = np.zeros(x.nbytes + options[name].nbytes, np.uint8)
                more = {**options, name: placed(block, 0, options[name])}
                out = block[: x.nbytes].view(x.dtype).reshape(x.shape)
                loss, _ = cross_entropy_value_and_grad(x, targets, out=out, **more)
                assert (bits(loss), bits(out)) == want, (rows, classes, name)


def test_reduced_losses_are_numpy_scalars(dtype):
    x, targets, _ = example("hard, mean", dtype.name, 5, 6)
    for reduction in ("mean", "sum"):
        for function in (cross_entropy, lambda *a, **k: cross_entropy_value_and_grad(*a, **k)[0]):
            assert type(function(x, targets, reduction=reduction)) is dtype.type


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"sample_weight": 2.0},
        {"class_weight": [1.0, 2.0, 3.0]},
        {"label_smoothing": 0.1, "z_loss": 0.1},
    ],
    ids=str,
)
@pytest.mark.parametrize("targets", [2, [0.2, 0.3, 0.5]], ids=["hard", "soft"])
def test_one_row_of_no_dimension(targets, options, reduction, dtype):
    x = np.array([1.0, 2.0, 4.0], dtype)
    loss, grad = cross_entropy_value_and_grad(x, targets, reduction=reduction, **options)
    more = {k: [v] if k == "sample_weight" else v for k, v in options.items()}
    want = cross_entropy_value_and_grad(x[None], [targets], reduction=reduction, **more)
    assert np.shape(loss) == ()
    assert grad.shape == x.shape
    assert (bits(loss), bits(grad)) == (bits(want[0]), bits(want[1]))


@pytest.mark.parametrize("targets", ["hard", "soft"])
def test_options_of_no_effect_change_no_bits(targets, dtype, isa):
    for rows, classes in OVERLAPS:
        x, t, _ = example(f"{targets}, mean", dtype.name, rows, classes)
        for reduction in REDUCTIONS:
            want = cross_entropy_value_and_grad(x, t, reduction=reduction)
            for options in (
                {"label_smoothing": 0, "z_loss": 0},
                {"label_smoothing": -0.0, "z_loss": -0.0},
                {"ignore_index": 2**40},
                {"class_weight": None, "sample_weight": None},
            ):
                got = cross_entropy_value_and_grad(x, t, reduction=reduction, **options)
                assert bits(got[0]) == bits(want[0]), options
                assert bits(got[1]) == bits(want[1]), options


@pytest.mark.parametrize("case", [name for name in CASES if "soft" in name])
def test_index_to_ignore_means_nothing_to_soft_targets(case, dtype):
    x, targets, options = example(case, dtype.name, 12, 10)
    hot = np.eye(10, dtype=dtype)[np.arange(12) % 10]
    for t in (targets, hot, np.full_like(hot, -100)):
        want = cross_entropy_value_and_grad(x, t, **options)
        for ignored in (0, 1, -100):
            got = cross_entropy_value_and_grad(x, t, ignore_index=ignored, **options)
            assert (bits(got[0]), bits(got[1])) == (bits(want[0]), bits(want[1]))


# --- Special values ---

SPECIAL_SIZES = [2, 3, 10, 33, 300, 5000]


def finite_example(case, dtype, rows, classes):
    """Rows without special values, targets that count, and reduction "none"."""
    x, targets, options = example(case.replace("none", "mean"), dtype, rows, classes)
    options = {k: v for k, v in options.items() if k != "ignore_index"}
    return x.copy(), targets, {**options, "reduction": "none"}


ONE_BY_ONE = ["hard, mean", "hard, everything, mean", "soft, mean", "soft, everything, mean"]


@pytest.mark.parametrize("case", ONE_BY_ONE)
@pytest.mark.parametrize("value", [np.nan, np.inf], ids=str)
def test_nan_or_inf_makes_nan_of_its_row_alone(value, case, dtype, isa):
    for classes in SPECIAL_SIZES:
        x, targets, options = finite_example(case, dtype.name, 21, classes)
        before = cross_entropy_value_and_grad(x, targets, **options)
        for row, column in ((0, 0), (4, classes - 1), (20, classes // 2), (17, 7 * 17 % classes)):
            special = x.copy()
            special[row, column] = value
            loss, grad = cross_entropy_value_and_grad(special, targets, **options)
            assert np.isnan(loss[row])
            assert np.isnan(grad[row]).all()
            others = np.arange(21) != row
            assert bits(loss[others]) == bits(before[0][others]), classes
            assert bits(grad[others]) == bits(before[1][others]), classes
            assert np.isnan(cross_entropy(special, targets, **{**options, "reduction": "mean"}))


@pytest.mark.parametrize("case", ONE_BY_ONE)
def test_row_of_nothing_but_minus_inf_is_nan(case, dtype, isa):
    for classes in SPECIAL_SIZES:
        x, targets, options = finite_example(case, dtype.name, 21, classes)
        before = cross_entropy_value_and_grad(x, targets, **options)
        x[5] = -np.inf
        loss, grad = cross_entropy_value_and_grad(x, targets, **options)
        assert np.isnan(loss[5])
        assert np.isnan(grad[5]).all()
        others = np.arange(21) != 5
        assert bits(loss[others]) == bits(before[0][others])
        assert bits(grad[others]) == bits(before[1][others])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf], ids=str)
@pytest.mark.parametrize("case", ["ignoring, mean", "hard, everything, mean"])
def test_ignored_row_counts_nowhere_whatever_it_holds(case, value, dtype, isa):
    for classes in SPECIAL_SIZES:
        x, targets, options = example(case, dtype.name, 40, classes)
        x, targets = x.copy(), targets.copy()
        targets[::9] = 1
        ignored = targets == 1
        x[ignored] = value
        kept = {**options}
        if "sample_weight" in kept:
            kept["sample_weight"] = kept["sample_weight"][~ignored]
        for reduction in REDUCTIONS:
            options["reduction"] = kept["reduction"] = reduction
            loss, grad = cross_entropy_value_and_grad(x, targets, **options)
            want, want_grad = cross_entropy_value_and_grad(x[~ignored], targets[~ignored], **kept)
            assert not grad[ignored].any()
            if reduction == "none":
                assert not loss[ignored].any()
                loss = loss[~ignored]
            np.testing.assert_allclose(loss, want, rtol=4 * np.finfo(dtype).eps)
            # A sum of other rows may round 1 / total differently.
            np.testing.assert_allclose(grad[~ignored], want_grad, rtol=4 * np.finfo(dtype).eps)


@pytest.mark.parametrize("z_loss", [0.0, 0.01])
def test_minus_inf_is_a_class_that_is_not_there(z_loss, dtype, isa):
    need_wide(dtype)
    for classes in SPECIAL_SIZES:
        x, y, _ = finite_example("hard, mean", dtype.name, 21, classes)
        x[np.arange(21), (y + 1) % classes] = -np.inf
        options = {"z_loss": z_loss, "reduction": "none"}
        loss, grad = cross_entropy_value_and_grad(x, y, **options)
        want = expected(x, y, **options)
        assert np.isfinite(loss).all()
        assert_near(loss, want.loss, want.loss_terms, tolerance(dtype))
        assert_near(grad, want.grad, want.grad_terms, tolerance(dtype))
        assert not grad[np.arange(21), (y + 1) % classes].any()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"class_weight": True},
        {"sample_weight": True},
        {"label_smoothing": 0.1},
        {"z_loss": 0.1},
    ],
    ids=str,
)
def test_target_at_minus_inf_has_an_infinite_loss(options, dtype, isa):
    need_wide(dtype)
    for classes in SPECIAL_SIZES:
        x, y, _ = finite_example("hard, mean", dtype.name, 21, classes)
        more = {k: v for k, v in options.items() if v is not True}
        if "class_weight" in options:
            more["class_weight"] = np.linspace(0.5, 2, classes)
        if "sample_weight" in options:
            more["sample_weight"] = np.linspace(0.5, 2, 21)
        x[5, y[5]] = -np.inf
        want = expected(x, y, reduction="none", **more)
        loss, grad = cross_entropy_value_and_grad(x, y, reduction="none", **more)
        assert loss[5] == np.inf
        assert_near(loss, want.loss, want.loss_terms, tolerance(dtype))
        assert_near(grad, want.grad, want.grad_terms, tolerance(dtype))
        for reduction in ("mean", "sum"):
            want = expected(x, y, reduction=reduction, **more)
            loss, grad = cross_entropy_value_and_grad(x, y, reduction=reduction, **more)
            assert loss == np.inf
            assert_near(grad, want.grad, want.grad_terms, tolerance(dtype))


def test_smoothing_over_minus_inf_has_an_infinite_loss(dtype, isa):
    need_wide(dtype)
    for classes in SPECIAL_SIZES:
        x, y, _ = finite_example("hard, mean", dtype.name, 21, classes)
        x[5, (y[5] + 1) % classes] = -np.inf
        for t in (y, np.eye(classes, dtype=dtype)[y]):
            options = {"label_smoothing": 0.1, "reduction": "none"}
            want = expected(x, t, **options)
            loss, grad = cross_entropy_value_and_grad(x, t, **options)
            assert loss[5] == np.inf
            assert_near(loss, want.loss, want.loss_terms, tolerance(dtype))
            assert_near(grad, want.grad, want.grad_terms, tolerance(dtype))


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_soft_target_of_zero_beside_minus_inf_adds_nothing(reduction, dtype, isa):
    need_wide(dtype)
    for classes in SPECIAL_SIZES:
        x, t, _ = finite_example("soft, mean", dtype.name, 21, classes)
        gone = np.random.default_rng(1).random(x.shape) < 0.3
        gone[:, 0] = False
        x[gone] = -np.inf
        t = np.where(gone, 0, t)
        options = {"reduction": reduction}
        want = expected(x, t, **options)
        for zero in (0.0, -0.0):
            t[gone] = zero
            loss, grad = cross_entropy_value_and_grad(x, t, **options)
            assert np.isfinite(loss).all()
            assert_near(loss, want.loss, want.loss_terms, tolerance(dtype))
            assert_near(grad, want.grad, want.grad_terms, tolerance(dtype))
            assert not grad[gone].any()


@pytest.mark.parametrize("case", ["soft, mean", "soft, everything, mean"])
def test_soft_target_above_zero_beside_minus_inf_has_an_infinite_loss(case, dtype, isa):
    need_wide(dtype)
    for classes in SPECIAL_SIZES:
        x, t, options = finite_example(case, dtype.name, 21, classes)
        t = t.copy()
        x[5, classes - 1] = -np.inf
        t[5, classes - 1] = 0.25
        loss, grad = cross_entropy_value_and_grad(x, t, **options)
        want = expected(x, t, **options)
        assert loss[5] == np.inf
        assert cross_entropy(x, t, **{**options, "reduction": "mean"}) == np.inf
        assert grad[5, classes - 1] < 0
        assert_near(loss, want.loss, want.loss_terms, tolerance(dtype))
        assert_near(grad, want.grad, want.grad_terms, tolerance(dtype))


@pytest.mark.parametrize("soft", [False, True], ids=["hard", "soft"])
def test_class_of_weight_zero_beside_minus_inf_adds_nothing(soft, dtype, isa):
    need_wide(dtype)
    for classes in SPECIAL_SIZES:
        x, y, _ = finite_example("hard, mean", dtype.name, 21, classes)
        x[:, classes // 2] = -np.inf
        w = np.linspace(0.5, 2, classes)
        w[classes // 2] = 0
        t = np.eye(classes, dtype=dtype)[y] if soft else y
        for smoothing, reduction in itertools.product((0, 0.1), ("mean", "none")):
            options = {"class_weight": w, "label_smoothing": smoothing, "reduction": reduction}
            want = expected(x, t, **options)
            loss, grad = cross_entropy_value_and_grad(x, t, **options)
            assert np.isfinite(loss).all(), (classes, options)
            assert_near(loss, want.loss, want.loss_terms, tolerance(dtype))
            assert_near(grad, want.grad, want.grad_terms, tolerance(dtype))


def nothing_counts():
    x = np.random.default_rng(0).normal(size=(6, 4))
    y, one = np.arange(6) % 4, np.eye(4)[[0, 1, 2, 3, 0, 1]]
    zero = np.zeros(6)
    return {
        "all ignored": (x, np.full(6, -100), {}),
        "all ignored, all options": (
            x,
            np.full(6, 2),
            {
                "ignore_index": 2,
                "class_weight": [1, 2, 3, 4],
                "sample_weight": np.ones(6),
                "label_smoothing": 0.1,
                "z_loss": 0.1,
            },
        ),
        "all ignored, NaN": (np.full((6, 4), np.nan), np.full(6, -100), {}),
        "sample weights of 0": (x, y, {"sample_weight": zero}),
        "sample weights of 0, soft": (x, one, {"sample_weight": zero}),
        "class weights of 0": (x, y, {"class_weight": np.zeros(4)}),
        "weights of 0 where they count": (
            x,
            np.array([0, 0, 0, 1, 1, 1]),
            {"class_weight": [0, 1, 1, 1], "sample_weight": [1, 1, 1, 0, 0, 0]},
        ),
        "no rows": (x[:0], y[:0], {}),
        "no rows, all options": (
            x[:0],
            y[:0],
            {"class_weight": [1, 2, 3, 4], "sample_weight": [], "label_smoothing": 0.1},
        ),
        "no rows, soft": (x[:0], one[:0], {}),
    }


@pytest.mark.parametrize("what", nothing_counts())
def test_mean_over_no_weight_is_nan_with_a_gradient_of_zeros(what, dtype, isa):
    x, targets, options = nothing_counts()[what]
    x = x.astype(dtype)
    loss, grad = cross_entropy_value_and_grad(x, targets, **options)
    assert np.isnan(loss)
    assert type(loss) is dtype.type
    assert np.isnan(cross_entropy(x, targets, **options))
    assert grad.shape == x.shape
    assert not grad.any()
    out = np.full_like(x, 7)
    cross_entropy_value_and_grad(x, targets, out=out, **options)
    assert not out.any()
    for reduction in ("sum", "none"):
        loss, grad = cross_entropy_value_and_grad(x, targets, reduction=reduction, **options)
        assert np.shape(loss) == (() if reduction == "sum" else x.shape[:1])
        assert not np.any(loss)
        assert not grad.any()


@pytest.mark.parametrize("shape", [(0, 3), (2, 0, 3), (3, 0), (0, 3, 0), (4, 3, 0)], ids=str)
@pytest.mark.parametrize("soft", [False, True], ids=["hard", "soft"])
def test_no_rows(soft, shape, dtype):
    axis = shape.index(3)
    rows = shape[:axis] + shape[axis + 1 :]
    x = np.zeros(shape, dtype)
    targets = np.zeros(shape if soft else rows, dtype if soft else int)
    for reduction in REDUCTIONS:
        options = {"axis": axis, "reduction": reduction, "sample_weight": np.zeros(rows)}
        loss, grad = cross_entropy_value_and_grad(x, targets, **options)
        assert grad.shape == shape
        assert np.shape(loss) == (rows if reduction == "none" else ())
        assert grad.dtype == np.asarray(loss).dtype == dtype


@pytest.mark.parametrize("shape", [(3, 0), (0, 0), (0,), (2, 3, 0)], ids=str)
def test_no_classes(shape):
    x = np.zeros(shape)
    for function in (cross_entropy, cross_entropy_value_and_grad):
        for targets in (np.zeros(shape[:-1], int), np.zeros(shape)):
            with refused(ValueError, "logits"):
                function(x, targets)
    with refused(ValueError, "logits"):
        softmax_grad_hess(x, np.zeros(shape[:-1], int))


@pytest.mark.parametrize("soft", [False, True], ids=["hard", "soft"])
@pytest.mark.parametrize("smoothing", [0, 0.1])
def test_rows_of_one_class(smoothing, soft, dtype, isa):
    x = np.array([[0.0], [3], [-5000], [1e30], [-40]], dtype)
    targets = np.full((5, 1), 0.25, dtype) if soft else np.zeros(5, int)
    for reduction in REDUCTIONS:
        options = {"label_smoothing": smoothing, "reduction": reduction}
        loss, grad = cross_entropy_value_and_grad(x, targets, **options)
        assert not np.any(loss)
        # p - t, where (1 - 0.1) + 0.1 may round.
        assert np.all(np.abs(grad) <= np.finfo(dtype).eps)
    loss, grad = cross_entropy_value_and_grad(
        x[:3], targets[:3], z_loss=0.5, label_smoothing=smoothing, reduction="none"
    )
    np.testing.assert_array_equal(loss, 0.5 * x[:3, 0] ** 2)
    np.testing.assert_allclose(grad, x[:3], rtol=4 * np.finfo(dtype).eps, atol=1e-8)


@functools.cache
def holes(dtype, classes):
    """Long rows of which whole blocks, in part or but for one logit, are -inf."""
    x = np.random.default_rng(classes).normal(0, 3, (12, classes)).astype(dtype)
    y = np.full(12, classes - 1)
    x[0, :4096] = x[1, :2048] = x[2, :-1] = -np.inf
    y[3:6] = 0
    x[3, -4096:] = x[4, 1:] = x[5, 1000:4500] = -np.inf
    x[6, ::2] = x[7, 1::2] = -np.inf
    y[6:8] = 1, 2
    x[8] = -np.inf
    y[8] = classes // 2
    x[8, y[8]] = 3
    x[9, :-1] = x[10, 2048:4096] = -np.inf
    x[9, 4000] = 60
    x[10, 4096] = 60
    x[11, :-2] = -np.inf
    return frozen(x), frozen(y)


@pytest.mark.parametrize("classes", [4097, 5000, 8192, 12_001])
def test_long_rows_with_blocks_of_minus_inf(classes, dtype, isa):
    need_wide(dtype)
    x, y = holes(dtype.name, classes)
    gone = x == -np.inf
    assert not np.take_along_axis(gone, y[:, None], 1).any()
    soft = np.where(gone, 0, np.random.default_rng(1).random(x.shape)).astype(dtype)
    w, s = np.linspace(0.5, 2, classes), np.linspace(0.5, 2, len(x))
    # Targets at -inf too: where they are, the loss is infinite and the gradient is not.
    lost = y.copy()
    lost[[0, 1, 6]] = 5, 6, 4
    for targets, more in (
        (y, {}),
        (lost, {}),
        (y, {"class_weight": w, "sample_weight": s, "z_loss": 0.01}),
        (soft, {}),
        (soft, {"class_weight": w, "sample_weight": s, "z_loss": 0.01}),
    ):
        for reduction in ("mean", "none"):
            options = {"reduction": reduction, **more}
            want = expected(x, targets, **options)
            loss, grad = cross_entropy_value_and_grad(x, targets, **options)
            # The sums run over as many as 12,001 classes.
            assert_near(loss, want.loss, want.loss_terms, 2 * tolerance(dtype))
            assert_near(grad, want.grad, want.grad_terms, 2 * tolerance(dtype))
            inplace = x.copy()
            got, _ = cross_entropy_value_and_grad(inplace, targets, out=inplace, **options)
            assert (bits(got), bits(inplace)) == (bits(loss), bits(grad))


# --- Half precision and whole numbers ---


@pytest.mark.parametrize("case", CASES)
def test_float16_is_computed_in_float32(case, isa):
    for rows, classes in OVERLAPS:
        x, targets, options = example(case, "float32", rows, classes)
        x = x.astype("f2")
        want, want_grad = cross_entropy_value_and_grad(x.astype("f4"), targets, **options)
        loss, grad = cross_entropy_value_and_grad(x, targets, **options)
        assert np.asarray(loss).dtype == np.float32
        assert grad.dtype == np.float16
        assert bits(loss) == bits(want)
        assert bits(grad) == bits(want_grad.astype("f2"))
        assert bits(cross_entropy(x, targets, **options)) == bits(want)
        got, out = cross_entropy_value_and_grad(x, targets, out=x, **options)
        assert out is x
        assert (bits(got), bits(x)) == (bits(want), bits(want_grad.astype("f2")))


@pytest.mark.parametrize("kind", ["int8", "int64", "uint16", "bool"])
@pytest.mark.parametrize("case", CASES)
def test_whole_numbers_are_computed_in_float64(case, kind, isa):
    for rows, classes in OVERLAPS[:3]:
        _, targets, options = example(case, "float64", rows, classes)
        x = np.random.default_rng(0).integers(0, 20, (rows, classes)).astype(kind)
        want, want_grad = cross_entropy_value_and_grad(x.astype("f8"), targets, **options)
        loss, grad = cross_entropy_value_and_grad(x, targets, **options)
        assert np.asarray(loss).dtype == grad.dtype == np.float64
        assert (bits(loss), bits(grad)) == (bits(want), bits(want_grad))
        out = np.empty(x.shape)
        assert cross_entropy_value_and_grad(x, targets, out=out, **options)[1] is out
        assert bits(out) == bits(want_grad)


@pytest.mark.parametrize("kind", ["float16", "float32", "float64"])
def test_soft_targets_of_any_floating_dtype(kind, dtype, isa):
    x, targets, options = example("soft, everything, mean", dtype.name, 35, 33)
    t = targets.astype(kind)
    # Numbers that every one of these dtypes holds.
    coarse = np.round(targets * 64) / 64
    want = cross_entropy_value_and_grad(x, coarse.astype(dtype), **options)
    got = cross_entropy_value_and_grad(x, coarse.astype(kind), **options)
    assert (bits(got[0]), bits(got[1])) == (bits(want[0]), bits(want[1]))
    need_wide(dtype)
    exact = expected(x, t, **options)
    loss, grad = cross_entropy_value_and_grad(x, t, **options)
    assert_near(loss, exact.loss, exact.loss_terms, tolerance(dtype))
    assert_near(grad, exact.grad, exact.grad_terms, tolerance(dtype))


@pytest.mark.parametrize("kind", ["i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "longlong"])
def test_labels_of_any_integer_dtype(kind, dtype, isa):
    for case in ("hard, mean", "hard, everything, none"):
        for rows, classes in OVERLAPS[:3]:
            x, targets, options = example(case, dtype.name, rows, classes)
            loss, grad = cross_entropy_value_and_grad(x, targets.astype(kind), **options)
            assert (bits(loss), bits(grad)) == first_bits(case, dtype.name, rows, classes)
    g, h = softmax_grad_hess(x, targets.astype(kind))
    want = softmax_grad_hess(x, targets)
    assert (bits(g), bits(h)) == (bits(want[0]), bits(want[1]))


def test_index_to_ignore_is_not_wrapped_into_the_dtype_of_the_labels(dtype, isa):
    # -100 in 8 bits is 156.
    x = np.random.default_rng(0).normal(size=(3, 200)).astype(dtype)
    labels = np.array([155, 156, 157])
    want = cross_entropy_value_and_grad(x, labels)
    for ignored in (-100, 256 + 156, 2**32 + 156, -(2**40) + 156):
        got = cross_entropy_value_and_grad(x, labels.astype(np.uint8), ignore_index=ignored)
        assert (bits(got[0]), bits(got[1])) == (bits(want[0]), bits(want[1]))
    assert want[1].all()


@pytest.mark.parametrize("smoothing", [1e-8, 1e-16, 1e-17, 1e-20, 1e-30])
@pytest.mark.parametrize("soft", [False, True], ids=["hard", "soft"])
def test_smoothing_may_be_tiny(soft, smoothing, dtype, isa):
    # Beside a target of 0, what is spread over the classes is all there is, however little.
    need_wide(dtype)
    x = np.array([[0, -60, -90], [-90, 0, -1000]], dtype)
    targets = np.eye(3, dtype=dtype)[:2] if soft else np.arange(2)
    options = {"label_smoothing": smoothing, "reduction": "none"}
    want = expected(x, targets, **options)
    loss, grad = cross_entropy_value_and_grad(x, targets, **options)
    assert_near(loss, want.loss, want.loss_terms, tolerance(dtype))
    assert_near(grad, want.grad, want.grad_terms, tolerance(dtype))


@pytest.mark.parametrize("kind", ["f2", "f4", "f8", "i1", "i8", "u4", "list"])
def test_weights_of_any_dtype(kind, dtype, isa):
    x, y, _ = example("hard, mean", dtype.name, 12, 10)
    w, s = np.arange(10) % 4, np.arange(12) % 5
    want = cross_entropy_value_and_grad(x, y, class_weight=w, sample_weight=s)
    if kind == "list":
        w, s = w.tolist(), s.tolist()
    else:
        w, s = w.astype(kind), s.astype(kind)
    got = cross_entropy_value_and_grad(x, y, class_weight=w, sample_weight=s)
    assert (bits(got[0]), bits(got[1])) == (bits(want[0]), bits(want[1]))
    want = softmax_grad_hess(x, y, sample_weight=np.arange(12) % 5)
    got = softmax_grad_hess(x, y, sample_weight=s)
    assert (bits(got[0]), bits(got[1])) == (bits(want[0]), bits(want[1]))


# --- Wrong arguments ---

X = np.random.default_rng(0).normal(size=(3, 4))
Y = [0, 1, 2]
SOFT = np.full((3, 4), 0.25)
ONE_NAN = [1.0, np.nan, 1.0]


def changed(**options):
    return {"logits": X, "targets": Y, **options}


WRONG = {
    "complex logits": (changed(logits=X + 1j), TypeError, "logits"),
    "object logits": (changed(logits=X.astype(object)), TypeError, "logits"),
    "text logits": (changed(logits=X.astype(str)), TypeError, "logits"),
    "masked logits": (changed(logits=np.ma.masked_array(X, X > 0)), TypeError, "logits"),
    "None logits": (changed(logits=None), TypeError, "logits"),
    "logits of no dimension": (changed(logits=1.0, targets=0), ValueError, "logits"),
    "no classes": (changed(logits=X[:, :0]), ValueError, "logits"),
    "no classes, soft": (changed(logits=X[:, :0], targets=X[:, :0]), ValueError, "logits"),
    "axis 2": (changed(axis=2), AxisError, "axis"),
    "axis -3": (changed(axis=-3), AxisError, "axis"),
    "axis 1.0": (changed(axis=1.0), TypeError, "axis"),
    "axis '1'": (changed(axis="1"), TypeError, "axis"),
    "axis None": (changed(axis=None), TypeError, "axis"),
    "boolean targets": (changed(targets=[True, False, True]), TypeError, "targets"),
    "complex targets": (changed(targets=SOFT + 0j), TypeError, "targets"),
    "text targets": (changed(targets=["0", "1", "2"]), TypeError, "targets"),
    "object targets": (changed(targets=[0, None, 2]), TypeError, "targets"),
    "None targets": (changed(targets=None), TypeError, "targets"),
    "dates as targets": (changed(targets=np.zeros(3, "M8[s]")), TypeError, "targets"),
    "masked targets": (
        changed(targets=np.ma.masked_array(Y, [False, True, False])),
        TypeError,
        "targets",
    ),
    "masked soft targets": (
        changed(targets=np.ma.masked_array(SOFT, X > 0)),
        TypeError,
        "targets",
    ),
    "labels of the shape of logits": (
        changed(targets=np.zeros((3, 4), int)),
        ValueError,
        "targets",
    ),
    "too few labels": (changed(targets=[0, 1]), ValueError, "targets"),
    "too many labels": (changed(targets=[0, 1, 2, 3]), ValueError, "targets"),
    "labels in a column": (changed(targets=[[0], [1], [2]]), ValueError, "targets"),
    "soft targets of another width": (changed(targets=np.zeros((3, 5))), ValueError, "targets"),
    "soft targets of fewer rows": (changed(targets=SOFT[:2]), ValueError, "targets"),
    "soft targets for one row": (changed(targets=SOFT[:1]), ValueError, "targets"),
    "soft targets transposed": (changed(targets=SOFT.T), ValueError, "targets"),
    "soft targets by classes": (changed(targets=SOFT[0]), ValueError, "targets"),
    "negative label": (changed(targets=[0, 1, -1]), IndexError, "targets", 2, -1),
    "label too large": (changed(targets=[0, 4, 1]), IndexError, "targets", 1, 4),
    "label of 2**32": (changed(targets=[0, 2**32, 1]), IndexError, "targets", 1, 2**32),
    "label of uint64": (
        changed(targets=np.array([0, 1, 2**64 - 1], "u8")),
        IndexError,
        "targets",
        2,
        2**64 - 1,
    ),
    "-100 in uint64": (
        changed(targets=np.array([0, 1, 2**64 - 100], "u8")),
        IndexError,
        "targets",
        2,
        2**64 - 100,
    ),
    "label beside an ignored one": (
        changed(targets=[0, 7, 9], ignore_index=7),
        IndexError,
        "targets",
        2,
        9,
    ),
    "-100 where another is ignored": (
        changed(targets=[0, 1, -100], ignore_index=1),
        IndexError,
        "targets",
        2,
        -100,
    ),
    "ignore_index 1.0": (changed(ignore_index=1.0), TypeError, "ignore_index"),
    "ignore_index None": (changed(ignore_index=None), TypeError, "ignore_index"),
    "ignore_index '1'": (changed(ignore_index="1"), TypeError, "ignore_index"),
    "ignore_index 2**100": (changed(ignore_index=2**100), ValueError, "ignore_index"),
    "reduction 'avg'": (changed(reduction="avg"), ValueError, "reduction"),
    "reduction 'Mean'": (changed(reduction="Mean"), ValueError, "reduction"),
    "reduction None": (changed(reduction=None), ValueError, "reduction"),
    "reduction 1": (changed(reduction=1), ValueError, "reduction"),
}
for _name in ("label_smoothing", "z_loss"):
    for _value in (-0.1, -1e-300, np.nan, np.inf, -np.inf, np.float32(-1)):
        WRONG[f"{_name} {_value!r}"] = (changed(**{_name: _value}), ValueError, _name)
    for _value in (None, "0.1", 1j, [0.1], (0.1,), np.ones(3), {}, b"0.1"):
        WRONG[f"{_name} {_value!r}"] = (changed(**{_name: _value}), TypeError, _name)
for _value in (1.0000001, 2, 10**400):
    WRONG[f"label_smoothing {_value!r:.12}"] = (
        changed(label_smoothing=_value),
        ValueError,
        "label_smoothing",
    )
WRONG_WEIGHTS = {
    "negative": (lambda n: np.linspace(-1, 1, n), ValueError),
    "just negative": (lambda n: np.r_[np.ones(n - 1), -1e-300], ValueError),
    "negative float32": (lambda n: np.r_[np.ones(n - 1), -1].astype("f4"), ValueError),
    "negative whole": (lambda n: np.r_[1 : n - 1, -1, 0], ValueError),
    "-inf": (lambda n: np.r_[np.ones(n - 1), -np.inf], ValueError),
    "NaN": (lambda n: np.r_[np.nan, np.ones(n - 1)], ValueError),
    "NaN float32": (lambda n: np.r_[np.ones(n - 1), np.nan].astype("f4"), ValueError),
    "NaN float16": (lambda n: np.r_[np.ones(n - 1), np.nan].astype("f2"), ValueError),
    "one more": (lambda n: np.ones(n + 1), ValueError),
    "one less": (lambda n: np.ones(n - 1), ValueError),
    "one": (lambda n: np.ones(1), ValueError),
    "a number": (lambda n: 1.0, ValueError),
    "none at all": (lambda n: [], ValueError),
    "a column": (lambda n: np.ones((n, 1)), ValueError),
    "a row": (lambda n: np.ones((1, n)), ValueError),
    "the shape of logits": (lambda n: np.ones((3, 4)), ValueError),
    "ragged": (lambda n: [[1.0], [1.0, 2.0]], ValueError),
    "complex": (lambda n: np.ones(n, complex), TypeError),
    "objects": (lambda n: np.ones(n, object), TypeError),
    "text": (lambda n: ["1"] * n, TypeError),
    "a word": (lambda n: "balanced", TypeError),
    "a dict": (lambda n: dict.fromkeys(range(n), 1.0), TypeError),
    "masked": (lambda n: np.ma.masked_array(np.ones(n), np.arange(n) == 1), TypeError),
    "dates": (lambda n: np.zeros(n, "M8[s]"), TypeError),
}
for _kind, (_make, _error) in WRONG_WEIGHTS.items():
    for _targets, _t in (("hard", Y), ("soft", SOFT)):
        WRONG[f"class_weight {_kind}, {_targets}"] = (
            changed(targets=_t, class_weight=_make(4)),
            _error,
            "class_weight",
        )
        WRONG[f"sample_weight {_kind}, {_targets}"] = (
            changed(targets=_t, sample_weight=_make(3)),
            _error,
            "sample_weight",
        )


@pytest.mark.parametrize("what", WRONG)
def test_wrong_argument(what):
    arguments, error, *said = WRONG[what]
    options = {k: v for k, v in arguments.items() if k not in ("logits", "targets")}
    logits, targets = arguments["logits"], arguments["targets"]
    with refused(error, *said):
        cross_entropy(logits, targets, **options)
    with refused(error, *said):
        cross_entropy_value_and_grad(logits, targets, **options)
    out = np.full(X.shape, 7.0)
    if logits is not None and np.shape(logits) != X.shape:
        out = np.full(np.shape(logits), 7.0)
    with refused(error, *said):
        cross_entropy_value_and_grad(logits, targets, out=out, **options)
    assert (out == 7).all()
    if logits is X:
        place = X.copy()
        with refused(error, *said):
            cross_entropy_value_and_grad(place, targets, out=place, **options)
        np.testing.assert_array_equal(place, X)


WRONG_OUTS = {
    "one row more": (np.full((4, 4), 7.0), ValueError),
    "one dimension less": (np.full(4, 7.0), ValueError),
    "one dimension more": (np.full((1, 3, 4), 7.0), ValueError),
    "transposed": (np.full((4, 3), 7.0), ValueError),
    "of the shape of the losses": (np.full(3, 7.0), ValueError),
    "broadcastable": (np.full((1, 4), 7.0), ValueError),
    "float32": (np.full((3, 4), 7, "f4"), ValueError),
    "float16": (np.full((3, 4), 7, "f2"), ValueError),
    "int64": (np.full((3, 4), 7), ValueError),
    "complex": (np.full((3, 4), 7 + 0j), ValueError),
    "byte-swapped": (np.full((3, 4), 7, np.dtype("f8").newbyteorder()), ValueError),
    "read-only": (frozen(np.full((3, 4), 7.0)), ValueError),
    "a list": ([[7.0] * 4] * 3, TypeError),
    "a number": (7.0, TypeError),
    "a tuple": ((np.full((3, 4), 7.0),), TypeError),
}


@pytest.mark.parametrize("targets", [Y, SOFT], ids=["hard", "soft"])
@pytest.mark.parametrize("kind", WRONG_OUTS)
def test_wrong_out(kind, targets):
    out, error = WRONG_OUTS[kind]
    with refused(error, "out"):
        cross_entropy_value_and_grad(X, targets, out=out)
    assert np.all(np.asarray(out) == 7)


def test_wrong_out_names_what_was_expected_and_what_came():
    with refused(ValueError, "out", "(3, 4)", "(5, 4)"):
        cross_entropy_value_and_grad(X, Y, out=np.empty((5, 4)))
    for logits, out in (("f4", "f8"), ("f8", "f4"), ("f2", "f4"), ("i8", "f4")):
        with refused(ValueError, "out", np.dtype(out)):
            cross_entropy_value_and_grad(X.astype(logits), Y, out=np.empty((3, 4), out))


def test_options_are_keyword_only():
    for function in (cross_entropy, cross_entropy_value_and_grad):
        with pytest.raises(TypeError):
            function(X, Y, -1)
        with pytest.raises(TypeError):
            function(X, Y, no_such_option=1)
    with pytest.raises(TypeError):
        cross_entropy(X, Y, out=np.empty((3, 4)))
    with pytest.raises(TypeError):
        softmax_grad_hess(X, Y, None)


@pytest.mark.parametrize("function", [cross_entropy, cross_entropy_value_and_grad])
def test_label_out_of_range_is_placed_in_all_dimensions(function):
    targets = np.zeros((4, 5), int)
    targets[2, 3] = 17
    for axis, shape in ((-1, (4, 5, 6)), (1, (4, 6, 5)), (0, (6, 4, 5))):
        with refused(IndexError, "targets", "2, 3", 17):
            function(np.zeros(shape), targets, axis=axis)


def test_first_label_out_of_range_is_named_and_nothing_written(dtype, isa, threads):
    targets = np.zeros(50_000, int)
    targets[[31_234, 40_000, 49_999]] = -7, 11, 12
    x = np.full((50_000, 10), 7, dtype)
    with refused(IndexError, "targets", 31_234, -7):
        cross_entropy_value_and_grad(x, targets, out=x)
    assert (x == 7).all()
    with refused(IndexError, "labels", 31_234, -7):
        softmax_grad_hess(x, targets)


def test_wrong_weight_among_many_is_found(dtype, isa, threads):
    x = np.full((20_000, 10), 7, dtype)
    for place in (0, 12_345, 19_999):
        for bad in (-1, np.nan):
            s = np.ones(20_000)
            s[place] = bad
            with refused(ValueError, "sample_weight"):
                cross_entropy_value_and_grad(x, np.zeros(20_000, int), sample_weight=s, out=x)
            assert (x == 7).all()
            with refused(ValueError, "sample_weight"):
                softmax_grad_hess(x, np.zeros(20_000, int), sample_weight=s)


def test_weight_of_an_ignored_row_is_checked_too():
    with refused(ValueError, "sample_weight"):
        cross_entropy(X, [0, -100, 1], sample_weight=ONE_NAN)


def test_tensor_that_requires_a_gradient(torch):
    tensor = torch.ones(3, 4, requires_grad=True)
    with refused(TypeError, "logits"):
        cross_entropy_value_and_grad(tensor, Y)
    with refused(TypeError, "logits"):
        softmax_grad_hess(tensor, Y)
    with refused(TypeError, "targets"):
        cross_entropy_value_and_grad(X, tensor)
    with refused(TypeError, "class_weight"):
        cross_entropy_value_and_grad(X, Y, class_weight=tensor[0])


# --- Gradient and Hessian for boosting ---


@st.composite
def boosting(draw):
    x, targets, options = draw(problems(soft=False, spreads=(0, 1, 3, 20), offsets=(0, 5000)))
    x = np.ascontiguousarray(np.moveaxis(x, options.get("axis", -1), -1))
    y = np.where((targets < 0) | (targets >= x.shape[-1]), 0, targets)
    more = {k: options[k] for k in ("sample_weight",) if k in options}
    if draw(st.booleans()):
        scales = st.sampled_from([2, 0.5, 1]) | st.floats(0.01, 100)
        more["hess_scale"] = draw(scales)
    return x, y, more


def expected_boosting(x, y, sample_weight=None, hess_scale=1.0):
    soft = softmax_of(x)
    s = np.ones(np.shape(y), WIDE) if sample_weight is None else np.asarray(sample_weight, WIDE)
    hot = np.arange(np.shape(x)[-1]) == np.asarray(y)[..., None]
    with np.errstate(all="ignore"):
        grad = s[..., None] * np.where(hot, -soft.q, soft.p)
        hess = s[..., None] * WIDE(hess_scale) * soft.p * soft.q
    return grad, hess


@given(problem=boosting())
def test_boosting_gradient_and_hessian_are_those_of_the_definitions(isa, problem):
    x, y, options = problem
    need_wide(x.dtype)
    grad, hess = softmax_grad_hess(x, y, **options)
    want_grad, want_hess = expected_boosting(x, y, **options)
    assert grad.dtype == hess.dtype == x.dtype
    # Relative to each element: nothing cancels, 1 - p is the sum of the others.
    assert_near(grad, want_grad, np.abs(want_grad), tolerance(x.dtype))
    assert_near(hess, want_hess, np.abs(want_hess), tolerance(x.dtype))


@pytest.mark.parametrize("classes", [2, 3, 10, 33, 257, 5000])
def test_hessian_of_a_confident_row_keeps_every_digit(classes, dtype, isa):
    need_wide(dtype)
    # The largest probability is 1 - 1e-10 to 1 - 1e-30; its class is the label in every other row.
    ahead = np.linspace(23, 69, 24) + np.log(classes)
    x = np.random.default_rng(0).normal(0, 0.5, (24, classes))
    top = np.arange(24) * 5 % classes
    x[np.arange(24), top] = ahead
    x = x.astype(dtype)
    y = np.where(np.arange(24) % 2, top, (top + 1) % classes)
    grad, hess = softmax_grad_hess(x, y, hess_scale=2)
    want_grad, want_hess = expected_boosting(x, y, hess_scale=2)
    largest = want_hess[np.arange(24), top]
    assert np.all((largest > 1e-31) & (largest < 1e-8))
    eps = np.finfo(dtype).eps
    assert np.all(np.abs(hess[np.arange(24), top] - largest) < 6 * eps * largest)
    assert_near(hess, want_hess, want_hess, tolerance(dtype))
    assert_near(grad, want_grad, np.abs(want_grad), tolerance(dtype))


def test_boosting_gradient_is_that_of_the_sum(dtype, isa):
    need_wide(dtype)
    rng = np.random.default_rng(4)
    for rows, classes in OVERLAPS:
        x, y, _ = example("hard, mean", dtype.name, rows, classes)
        s = rng.uniform(0, 2, rows)
        grad = softmax_grad_hess(x, y, sample_weight=s)[0]
        other = cross_entropy_value_and_grad(x, y, sample_weight=s, reduction="sum")[1]
        np.testing.assert_allclose(grad, other, rtol=16 * np.finfo(dtype).eps, atol=1e-30)


def test_hessian_is_the_slope_of_the_gradient(isa):
    rng = np.random.default_rng(6)
    x, y, s = rng.normal(0, 2, (4, 5)), [0, 3, 4, 2], rng.uniform(0.1, 2, 4)
    hess = softmax_grad_hess(x, y, sample_weight=s)[1]
    h = 1e-5
    for index in itertools.product(range(4), range(5)):
        up, down = x.copy(), x.copy()
        up[index] += h
        down[index] -= h
        above, below = (softmax_grad_hess(a, y, sample_weight=s)[0][index] for a in (up, down))
        slope = (above - below) / (up[index] - down[index])
        # As for the loss: h**2, and eps / h.
        assert abs(slope - hess[index]) <= 1e-8


@functools.cache
def first_boosting(dtype, rows, classes):
    isa = fastlogits.get_isa()
    fastlogits.set_isa(ISAS[0])
    try:
        with fastlogits.num_threads(1):
            x, y, _ = example("hard, none", dtype, rows, classes)
            s = np.linspace(0, 2, rows)
            return [bits(a) for a in softmax_grad_hess(x, y, sample_weight=s, hess_scale=1.5)]
    finally:
        fastlogits.set_isa(isa)


def test_boosting_has_the_same_bits_on_every_table_and_threads(dtype, isa, threads):
    for rows, classes in [(4001, 3), (1501, 10), (1001, 33), (151, 1000), (9, 10_000)]:
        x, y, _ = example("hard, none", dtype.name, rows, classes)
        s = np.linspace(0, 2, rows)
        got = softmax_grad_hess(x, y, sample_weight=s, hess_scale=1.5)
        assert [bits(a) for a in got] == first_boosting(dtype.name, rows, classes), classes


def test_boosting_from_any_memory_layout(dtype, isa):
    for rows, classes in [(35, 1), (35, 2), (35, 10), (35, 33), (19, 257), (5, 5000)]:
        x, y, _ = example("hard, none", dtype.name, rows, classes)
        s = np.linspace(0, 2, rows)
        want = first_boosting(dtype.name, rows, classes)
        options = {"hess_scale": 1.5}
        before = x.tobytes(), y.tobytes(), s.tobytes()
        for name, view in layouts(x):
            got = softmax_grad_hess(view, y, sample_weight=s, **options)
            assert [bits(a) for a in got] == want, (classes, name)
            assert bits(view) == bits(x)
        for (name, labels), (_, weights) in zip(layouts(y), layouts(s), strict=True):
            got = softmax_grad_hess(x, labels, sample_weight=weights, **options)
            assert [bits(a) for a in got] == want, (classes, name)
        assert (x.tobytes(), y.tobytes(), s.tobytes()) == before
        got = softmax_grad_hess(x[None], y[None], sample_weight=s[None], **options)
        assert [a.shape for a in got] == [(1, rows, classes)] * 2
        assert [bits(a) for a in got] == want


def test_boosting_of_one_row_of_no_dimension(dtype):
    x = np.array([1.0, 2.0, 4.0], dtype)
    for options in ({}, {"sample_weight": 0.5}):
        more = {k: [v] for k, v in options.items()}
        got, want = softmax_grad_hess(x, 1, **options), softmax_grad_hess(x[None], [1], **more)
        assert [a.shape for a in got] == [(3,), (3,)]
        assert [bits(a) for a in got] == [bits(a) for a in want]


def test_boosting_of_special_values(dtype, isa):
    for classes in SPECIAL_SIZES:
        x, y, _ = finite_example("hard, mean", dtype.name, 21, classes)
        before = softmax_grad_hess(x, y)
        x[3, 0] = np.nan
        x[9, classes - 1] = np.inf
        x[11] = -np.inf
        x[15, 1] = -np.inf
        got = softmax_grad_hess(x, y)
        want = expected_boosting(x, y)
        for a, b, exact in zip(got, before, want, strict=True):
            assert np.isnan(a[[3, 9, 11]]).all()
            assert np.isfinite(np.delete(a, [3, 9, 11], axis=0)).all()
            kept = np.delete(np.arange(21), [3, 9, 11, 15])
            assert bits(a[kept]) == bits(b[kept])
            if reference.wide_enough(dtype):
                assert_near(a[15], exact[15], np.abs(exact[15]), tolerance(dtype))
        assert got[1][15, 1] == 0


def test_boosting_of_no_rows_and_of_one_class(dtype):
    for shape in ((0, 3), (2, 0, 3)):
        for a in softmax_grad_hess(np.zeros(shape, dtype), np.zeros(shape[:-1], int)):
            assert a.shape == shape
            assert a.dtype == dtype
    for a in softmax_grad_hess(np.array([[3.0], [-5000]], dtype), [0, 0]):
        assert a.shape == (2, 1)
        assert not a.any()


def test_boosting_of_float16_and_of_whole_numbers(isa):
    for rows, classes in OVERLAPS:
        x, y, _ = example("hard, none", "float32", rows, classes)
        half = x.astype("f2")
        got, want = (softmax_grad_hess(a, y) for a in (half, half.astype("f4")))
        for a, b in zip(got, want, strict=True):
            assert a.dtype == np.float16
            assert bits(a) == bits(b.astype("f2"))
        for kind in ("int8", "uint64", "bool"):
            x = np.random.default_rng(0).integers(0, 20, (rows, classes)).astype(kind)
            got, want = (softmax_grad_hess(a, y) for a in (x, x.astype("f8")))
            for a, b in zip(got, want, strict=True):
                assert a.dtype == np.float64
                assert bits(a) == bits(b)


def test_boosting_takes_lists():
    want = softmax_grad_hess(X, np.array(Y), sample_weight=np.array([1.0, 2, 3]))
    got = softmax_grad_hess(X.tolist(), Y, sample_weight=[1, 2, 3])
    assert [bits(a) for a in got] == [bits(a) for a in want]


WRONG_BOOSTING = {
    "complex logits": ((X + 1j, Y, {}), TypeError, "logits"),
    "masked logits": ((np.ma.masked_array(X, X > 0), Y, {}), TypeError, "logits"),
    "logits of no dimension": ((1.0, 0, {}), ValueError, "logits"),
    "no classes": ((X[:, :0], Y, {}), ValueError, "logits"),
    "soft labels": ((X, SOFT, {}), (TypeError, ValueError), "labels"),
    "floating labels": ((X, [0.0, 1.0, 2.0], {}), TypeError, "labels"),
    "boolean labels": ((X, [True, False, True], {}), TypeError, "labels"),
    "text labels": ((X, ["0", "1", "2"], {}), TypeError, "labels"),
    "None labels": ((X, None, {}), TypeError, "labels"),
    "too few labels": ((X, [0, 1], {}), ValueError, "labels"),
    "labels of the shape of logits": ((X, np.zeros((3, 4), int), {}), ValueError, "labels"),
    "negative label": ((X, [0, -1, 2], {}), IndexError, "labels", 1, -1),
    "-100": ((X, [0, 1, -100], {}), IndexError, "labels", 2, -100),
    "label too large": ((X, [4, 1, 2], {}), IndexError, "labels", 0, 4),
    "label of uint64": (
        (X, np.array([0, 2**64 - 100, 1], "u8"), {}),
        IndexError,
        "labels",
        1,
        2**64 - 100,
    ),
}
for _value in (0, -1, np.nan, np.inf, -np.inf, 10**400):
    WRONG_BOOSTING[f"hess_scale {_value!r:.12}"] = (
        (X, Y, {"hess_scale": _value}),
        ValueError,
        "hess_scale",
    )
for _value in (None, "2", 1j, [2.0], np.ones(3)):
    WRONG_BOOSTING[f"hess_scale {_value!r}"] = (
        (X, Y, {"hess_scale": _value}),
        TypeError,
        "hess_scale",
    )
for _kind, (_make, _error) in WRONG_WEIGHTS.items():
    WRONG_BOOSTING[f"sample_weight {_kind}"] = (
        (X, Y, {"sample_weight": _make(3)}),
        _error,
        "sample_weight",
    )


@pytest.mark.parametrize("what", WRONG_BOOSTING)
def test_wrong_argument_of_boosting(what):
    (logits, labels, options), error, *said = WRONG_BOOSTING[what]
    with refused(error, *said):
        softmax_grad_hess(logits, labels, **options)
