"""Cross-entropy with all its options, and its gradient: what the numbers are."""

import itertools

import numpy as np
import pytest
import reference
from checks import assert_near, bits
from hypothesis import given
from losses import (
    CASES,
    OFF,
    REDUCTIONS,
    check,
    evaluate,
    everywhere,
    example,
    finite_example,
    problems,
)

from fastlogits import cross_entropy, cross_entropy_value_and_grad, log_softmax

# --- The definitions ---


@given(problem=problems())
def test_value_and_gradient_are_those_of_the_definitions(problem):
    x, targets, options = problem
    check(x, targets, **options)


@pytest.mark.parametrize("case", [name for name in CASES if "none" not in name])
def test_gradient_is_the_slope_of_the_loss(case):
    _, targets, options = example(case, "float64", 5, 6)
    x = np.random.default_rng(0).normal(0, 2, (5, 6))
    # A central difference of step h is off by h**2 times a third derivative, below 1 here, and by
    # the rounding of the two losses, some 100 * eps, over h.
    h = 1e-5
    grad = cross_entropy_value_and_grad(x, targets, **options)[1]
    for index in np.ndindex(x.shape):
        up, down = x.copy(), x.copy()
        up[index] += h
        down[index] -= h
        rise = cross_entropy(up, targets, **options) - cross_entropy(down, targets, **options)
        slope = rise / (up[index] - down[index])
        assert abs(slope - grad[index]) <= 1e-8, index


@pytest.mark.parametrize("kind", ["hard", "ignoring", "soft"])
@pytest.mark.parametrize("rest", [(), (3, 2)], ids=str)
def test_agrees_with_pytorch(rest, kind):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    rng = np.random.default_rng(2)
    x = torch.tensor(rng.normal(0, 3, (8, 7, *rest)), requires_grad=True)
    y = rng.normal(size=x.shape) if kind == "soft" else rng.integers(0, 7, (8, *rest))
    y, w = torch.tensor(y), torch.tensor(rng.uniform(0, 3, 7))
    y = y.softmax(1) if kind == "soft" else y
    more = {"ignore_index": 5} if kind == "ignoring" else {}
    for weight, smoothing, reduction in itertools.product((None, w), (0.0, 0.1, 1.0), REDUCTIONS):
        options = {"label_smoothing": smoothing, "reduction": reduction, **more}
        want = torch.nn.functional.cross_entropy(x, y, weight=weight, **options)
        (want_grad,) = torch.autograd.grad(want.sum(), x)
        got = cross_entropy_value_and_grad(x.detach(), y, axis=1, class_weight=weight, **options)
        for ours, theirs in zip(got, (want.detach(), want_grad), strict=True):
            np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-13, atol=1e-13)


# --- How near the results are ---


def rows_of(kind, dtype, rows, classes):
    rng = np.random.default_rng([rows, classes])
    x = rng.normal(0, 20 if kind == "spread" else 3, (rows, classes))
    y = rng.integers(0, classes, rows)
    if kind == "confident":
        x[np.arange(rows), rng.integers(0, classes, rows)] += rng.uniform(10, 70, rows)
        y[::2] = x.argmax(axis=1)[::2]
    x += {"up": 5000, "down": -5000}.get(kind, 0)
    return x.astype(dtype), y


WIDTHS = [2, 3, 4, 7, 8, 10, 16, 17, 31, 32, 33, 64, 65, 100, 257, 1000, 128_256]


@pytest.mark.parametrize("kind", ["normal", "spread", "confident", "up", "down"])
def test_losses_are_within_2_and_gradients_within_2_and_a_half_ulp(kind, dtype):
    if not reference.wide_enough(dtype):
        pytest.skip("longdouble is no wider than float64 here")
    for classes in WIDTHS:
        x, y = rows_of(kind, dtype, 160 if classes < 100 else 48 if classes <= 1000 else 2, classes)
        want = reference.loss(x, y, reduction="none")
        large = np.abs(want.grad) > 0.01
        loss, grad = evaluate(x, y, reduction="none")
        assert np.all(loss >= 0)
        assert reference.ulp_error(loss, want.value).max() <= 2, classes
        assert reference.ulp_error(grad, want.grad)[large].max() <= 2.5, classes
        assert bits(cross_entropy_value_and_grad(x, y, reduction="sum")[1]) == bits(grad)


def test_every_class_of_a_row_can_be_the_target(dtype):
    for classes in (2, 3, 31, 32, 33, 70, 300):
        x = np.repeat(rows_of("normal", dtype, 1, classes)[0], classes, axis=0)
        loss, _ = check(x, np.arange(classes), reduction="none")
        assert reference.ulp_error(loss, -reference.log_softmax(x[0])).max() <= 2


@pytest.mark.parametrize("offset", [0, 5000])
@pytest.mark.parametrize("classes", [2, 3, 10, 33, 257, 5000])
def test_confident_target_keeps_every_digit(classes, offset, dtype):
    # p - 1 is minus the sum of the others: 1e-10 to 1e-30, where p itself rounds to 1.
    ahead = np.linspace(23, 69, 24) + np.log(classes)
    each = np.arange(24)
    x = np.random.default_rng(0).normal(0, 0.5, (24, classes))
    y = each % classes
    x[each, y] = ahead
    x = (x + offset).astype(dtype)
    loss, grad = evaluate(x, y, reduction="none")
    mean = evaluate(x, y)[1][each, y] * 24
    exact = -reference.Rows(x).one_minus_softmax()[each, y]
    assert np.all((exact > -1e-9) & (exact < -1e-31))
    if reference.wide_enough(dtype):
        eps = np.finfo(dtype).eps
        assert reference.ulp_error(loss, reference.cross_entropy(x, y)).max() <= 2
        assert np.all(np.abs(grad[each, y] - exact) < 4 * eps * -exact)
        assert np.all(np.abs(mean - exact) < 6 * eps * -exact)


@pytest.mark.parametrize("weighted", [False, True], ids=["unweighted", "weighted"])
def test_reductions_are_the_rounded_sum_and_mean_of_the_rows(weighted, dtype):
    rng = np.random.default_rng(3)
    x, y = rng.normal(0, 3, (5000, 10)).astype(dtype), rng.integers(-1, 10, 5000)
    options = {"ignore_index": -1}
    if weighted:
        options["class_weight"] = rng.uniform(0, 3, 10)
        options["sample_weight"] = rng.uniform(0, 3, 5000)
    for reduction in ("mean", "sum"):
        loss = cross_entropy(x, y, reduction=reduction, **options)
        want = reference.loss(x, y, reduction=reduction, **options)
        assert type(loss) is dtype.type
        assert_near(loss, want.value, want.value_terms, 2)
        if reference.wide_enough(dtype):
            assert reference.ulp_error(loss, want.value) <= 2


def test_mean_of_a_million_equal_rows_is_the_row():
    # Added up in float32, the sum would be off in the third digit.
    row = np.array([0.3, -1.2], np.float32)
    x = np.broadcast_to(row, (1_000_000, 2))
    targets = np.zeros(1_000_000, np.int8)
    exact = reference.cross_entropy(row, 0)
    assert reference.ulp_error(cross_entropy(x, targets), exact) <= 1
    total = cross_entropy(x, targets, reduction="sum")
    assert abs(float(total) / 1e6 - float(exact)) <= 2**-24 * float(exact) * 2


@pytest.mark.parametrize(("dtype", "large"), [("f4", 1e7), ("f8", 2.0**56)])
def test_mean_of_large_and_small_losses_keeps_the_small_ones(dtype, large):
    x = np.zeros((100_001, 2), dtype)
    x[0, 0] = large
    targets = np.ones(100_001, int)
    exact = (np.longdouble(large) + 100_000 * np.log(np.longdouble(2))) / 100_001
    assert reference.ulp_error(cross_entropy(x, targets), exact) <= 1


@pytest.mark.parametrize("smoothing", [1e-8, 1e-16, 1e-17, 1e-20, 1e-30])
def test_smoothing_may_be_tiny(smoothing, dtype):
    # Beside a target of 0, what is spread over the classes is all there is, however little.
    x = np.array([[0, -60, -90], [-90, 0, -1000]], dtype)
    for targets in (np.arange(2), np.eye(3, dtype=dtype)[:2]):
        check(x, targets, label_smoothing=smoothing, reduction="none")


def test_losses_beyond_the_range_of_the_dtype_are_infinite_without_a_warning(dtype):
    x = np.full((3, 2), np.sqrt(np.finfo(dtype).max), dtype)
    for reduction in REDUCTIONS:
        loss = evaluate(x, [0, 1, 0], z_loss=2, reduction=reduction)[0]
        np.testing.assert_array_equal(loss, np.inf)
    loss, grad = evaluate(x**2, [0, 1, 0], reduction="none")
    np.testing.assert_array_equal(loss, dtype.type(np.log(2)))
    assert np.all(np.abs(grad) == 0.5)


# --- Labels, and rows that count for nothing ---


@pytest.mark.parametrize("ignored", [-100, 0, 4, 10, -1, 255, 2**40, -(2**63), np.int16(7)])
def test_any_index_can_be_ignored(ignored, dtype):
    rng = np.random.default_rng(0)
    x, y = rng.normal(0, 3, (50, 11)).astype(dtype), rng.integers(0, 11, 50)
    y[::7] = ignored
    kept = y != ignored
    loss, grad = check(x, y, ignore_index=ignored, reduction="none")
    assert not loss[~kept].any()
    assert not grad[~kept].any()
    assert bits(loss[kept], grad[kept]) == bits(*evaluate(x[kept], y[kept], reduction="none"))
    check(x, y, ignore_index=ignored)


def test_index_to_ignore_is_not_wrapped_into_the_dtype_of_the_labels(dtype):
    # -100 in 8 bits is 156.
    x = np.random.default_rng(0).normal(size=(3, 200)).astype(dtype)
    labels = np.array([155, 156, 157])
    want = evaluate(x, labels)
    for ignored in (-100, 256 + 156, 2**32 + 156, -(2**40) + 156):
        got = evaluate(x, labels.astype(np.uint8), ignore_index=ignored)
        assert bits(*got) == bits(*want)


@pytest.mark.parametrize("case", ["ignoring, class weights", "hard, everything"])
def test_ignored_row_counts_nowhere_whatever_it_holds(case, dtype):
    for classes in SPECIAL_SIZES:
        x, targets, options = example(case, dtype.name, 18, classes)
        x, ignored = x.copy(), targets == 1
        ignored[1::5] = True
        targets = np.where(ignored, 1, targets)
        for value, reduction in zip((np.nan, np.inf, -np.inf), REDUCTIONS, strict=True):
            x[ignored] = value
            loss, grad = check(x, targets, **{**options, "reduction": reduction})
            assert not grad[ignored].any()
            assert reduction != "none" or not loss[ignored].any()


def nothing_counts():
    x = np.random.default_rng(0).normal(size=(6, 4))
    y, one = np.arange(6) % 4, np.eye(4)[[0, 1, 2, 3, 0, 1]]
    zero, ignored = np.zeros(6), np.full(6, -100)
    everything = {"class_weight": [1, 2, 3, 4], "label_smoothing": 0.1, "z_loss": 0.1}
    some = {"class_weight": [0, 1, 1, 1], "sample_weight": [1, 1, 1, 0, 0, 0]}
    return {
        "all ignored": (x, ignored, {}),
        "all ignored, all options": (x, ignored, {**everything, "sample_weight": np.ones(6)}),
        "all ignored, NaN": (np.full((6, 4), np.nan), ignored, {}),
        "sample weights of 0": (x, y, {"sample_weight": zero}),
        "sample weights of 0, soft": (x, one, {"sample_weight": zero}),
        "class weights of 0": (x, y, {"class_weight": np.zeros(4)}),
        "weights of 0 where they count": (x, np.array([0, 0, 0, 1, 1, 1]), some),
        "no rows": (x[:0], y[:0], {}),
        "no rows, all options": (x[:0], y[:0], {**everything, "sample_weight": []}),
        "no rows, soft": (x[:0], one[:0], {}),
    }


@pytest.mark.parametrize("what", nothing_counts())
def test_mean_over_no_weight_is_nan_with_a_gradient_of_zeros(what, dtype):
    x, targets, options = nothing_counts()[what]
    x = x.astype(dtype)
    for reduction in REDUCTIONS:
        loss, grad = evaluate(x, targets, reduction=reduction, **options)
        assert np.shape(loss) == (x.shape[:1] if reduction == "none" else ())
        assert np.asarray(loss).dtype == grad.dtype == dtype
        assert np.isnan(loss) if reduction == "mean" else not np.any(loss)
        assert grad.shape == x.shape
        assert not grad.any()


def test_index_to_ignore_means_nothing_to_soft_targets(dtype):
    x, targets, _ = example("soft", dtype.name, 12, 10)
    for t in (targets, np.eye(12, 10, dtype=dtype), np.full_like(x, -100)):
        found = {bits(*evaluate(x, t, ignore_index=ignored)) for ignored in (0, 1, -100)}
        assert found == {bits(*evaluate(x, t))}


# --- Special values ---

SPECIAL_SIZES = [2, 10, 33, 300, 5000]


@pytest.mark.parametrize("case", ["hard", "hard, everything", "soft", "soft, everything, sum"])
def test_nan_inf_or_nothing_but_minus_inf_makes_nan_of_its_row_alone(case, dtype):
    for classes in SPECIAL_SIZES:
        x, targets, options = finite_example(case, dtype.name, classes)
        before = evaluate(x, targets, **options)
        for row, columns, value in (
            (0, 0, np.nan),
            (4, classes - 1, np.inf),
            (11, classes // 2, np.nan),
            (7, 7 * 7 % classes, np.inf),  # its label
            (7, 7 * 7 % classes, np.nan),
            (5, slice(None), -np.inf),
        ):
            special = x.copy()
            special[row, columns] = value
            got = everywhere(cross_entropy_value_and_grad, special, targets, **options)
            assert np.isnan([*got[1][row], got[0][row]]).all()
            assert bits(*(np.delete(a, row, 0) for a in got)) == bits(
                *(np.delete(a, row, 0) for a in before)
            )
            assert np.isnan(cross_entropy(special, targets, **{**options, "reduction": "mean"}))


@pytest.mark.parametrize("case", [name for name in CASES if "none" not in name])
def test_target_at_minus_inf_has_an_infinite_loss(case, dtype):
    for classes in SPECIAL_SIZES:
        x, targets, options = finite_example(case, dtype.name, classes)
        t = targets.copy()
        if t.ndim == 2:
            t[5, 1] = 0.25
        label = 1 if t.ndim == 2 else t[5]
        # What smoothing gives to another class is a target too.
        also = {(label + 1) % classes} if "label_smoothing" in options else set()
        for c, reduction in itertools.product({label} | also, REDUCTIONS):
            lost = x.copy()
            lost[5, c] = -np.inf
            loss, grad = check(lost, t, **{**options, "reduction": reduction})
            assert loss.flat[5 % loss.size] == np.inf
            assert grad[5, c] < 0


@pytest.mark.parametrize("weighted", [False, True], ids=["of no target", "of weight 0"])
@pytest.mark.parametrize("soft", [False, True], ids=["hard", "soft"])
def test_minus_inf_adds_nothing_in_a_class(soft, weighted, dtype):
    for classes in SPECIAL_SIZES:
        x, targets, _ = finite_example("soft" if soft else "hard", dtype.name, classes)
        gone = np.random.default_rng(1).random(x.shape) < 0.3
        gone[:, 0], gone[:, -1] = False, True
        smoothings, more = (0,), {}
        if weighted:
            gone[:] = gone[0]
            smoothings = (0, 0.1)
            more["class_weight"] = np.where(gone[0], 0, np.linspace(0.5, 2, classes))
        elif soft:
            targets = np.where(gone, dtype.type([[0.0]] * 6 + [[-0.0]] * 6), targets)
        else:
            gone[np.arange(12), targets] = False
        x[gone] = -np.inf
        for smoothing, z_loss, reduction in itertools.product(
            smoothings, (0, 0.01), ("mean", "none")
        ):
            options = {"label_smoothing": smoothing, "z_loss": z_loss, "reduction": reduction}
            loss, grad = check(x, targets, **options, **more)
            assert np.isfinite(loss).all(), (classes, options)
            assert not grad[gone].any()


@pytest.mark.parametrize("classes", [4097, 12_001])
def test_long_rows_with_blocks_of_minus_inf(classes, dtype):
    """Whole blocks of a row, in part or but for one logit, are not there."""
    x = np.random.default_rng(classes).normal(0, 3, (12, classes)).astype(dtype)
    y = np.full(12, classes - 1)
    x[0, :4096] = x[1, :2048] = x[2, :-1] = x[9, :-1] = x[11, :-2] = -np.inf
    y[3:6] = 0
    x[3, -4096:] = x[4, 1:] = x[5, 1000:4500] = -np.inf
    x[6, ::2] = x[7, 1::2] = -np.inf
    y[6:8] = 1, 2
    x[8] = -np.inf
    y[8] = classes // 2
    x[8, y[8]] = 3
    x[10, 2048:4096] = -np.inf
    x[9, 4000] = x[10, 4096] = 60
    gone = x == -np.inf
    assert not np.take_along_axis(gone, y[:, None], 1).any()
    soft = np.where(gone, 0, np.random.default_rng(1).random(x.shape)).astype(dtype)
    # Where a target is at -inf the loss is infinite and the gradient is not.
    lost, soft_lost = y.copy(), soft.copy()
    lost[[0, 1, 6]] = 5, 6, 4
    soft_lost[[0, 1, 3], [5, 6, classes - 1]] = 0.5
    options = {
        "class_weight": np.linspace(0.5, 2, classes),
        "sample_weight": np.linspace(0.5, 2, 12),
        "z_loss": 0.01,
    }
    for targets, more in ((y, {}), (lost, {}), (y, options), (soft, options), (soft_lost, {})):
        for reduction in ("mean", "none"):
            # The sums run over as many as 12,001 classes.
            check(x, targets, off=2 * OFF, reduction=reduction, **more)


def test_long_rows_with_huge_logits_in_some_block(dtype):
    x = np.random.default_rng(0).normal(0, 3, (4, 10_000))
    x[0, 9000], x[1, 5000:], x[2, :3000], x[3, 7000] = 1e14, -1e14, 1e15, -1e30
    y = np.array([9000, 3, 8000, 7000])
    for t in (y, np.random.default_rng(1).random(x.shape).astype(dtype)):
        for smoothing in (0, 0.1):
            check(x.astype(dtype), t, off=2 * OFF, label_smoothing=smoothing, reduction="none")


@pytest.mark.parametrize("soft", [False, True], ids=["hard", "soft"])
@pytest.mark.parametrize("smoothing", [0, 0.1])
def test_rows_of_one_class(smoothing, soft, dtype):
    x = np.array([[0.0], [3], [-5000], [1e30], [-40]], dtype)
    targets = np.full((5, 1), 0.25, dtype) if soft else np.zeros(5, int)
    eps = np.finfo(dtype).eps
    for reduction in REDUCTIONS:
        loss, grad = evaluate(x, targets, label_smoothing=smoothing, reduction=reduction)
        assert not np.any(loss)
        # p - t, where (1 - 0.1) + 0.1 may round.
        assert np.all(np.abs(grad) <= eps)
    options = {"z_loss": 0.5, "label_smoothing": smoothing, "reduction": "none"}
    loss, _ = check(x[:3], targets[:3], off=4, **options)
    np.testing.assert_array_equal(loss, 0.5 * x[:3, 0] ** 2)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_one_row_of_no_dimension(reduction, dtype):
    x = np.array([1.0, 2.0, 4.0], dtype)
    every = {"class_weight": [1.0, 2.0, 3.0], "label_smoothing": 0.1, "z_loss": 0.1}
    labels = (2, np.int8(2), np.array(2))
    for targets, more, s in itertools.product((*labels, [0.2, 0.3, 0.5]), ({}, every), (None, 2.0)):
        options = {"reduction": reduction, **more}
        loss, grad = evaluate(x, targets, sample_weight=s, **options)
        want = evaluate(x[None], [targets], sample_weight=None if s is None else [s], **options)
        assert np.shape(loss) == ()
        assert grad.shape == x.shape
        assert bits(loss, grad) == bits(*want)
    assert cross_entropy(x, 2, reduction=reduction) == -log_softmax(x)[2]


# --- Weights and results at the ends of the range ---


@pytest.mark.parametrize("size", [1e-310, 1e308])
def test_mean_depends_on_the_ratios_of_weights_alone(size, dtype):
    x, y = np.array([[0, 1], [2, 1]], dtype), [0, 1]
    want = cross_entropy_value_and_grad(x, y)
    for options in ({"sample_weight": [size] * 2}, {"class_weight": [size] * 2}):
        got = cross_entropy_value_and_grad(x, y, **options)
        for a, b in zip(got, want, strict=True):
            np.testing.assert_allclose(a, b, rtol=4 * np.finfo(dtype).eps)


def test_results_beyond_the_range_are_silent():
    x = np.array([[0, 100]], np.float32)
    with np.errstate(all="raise"):
        assert cross_entropy(x, [1], reduction="none") < 1e-40
        assert cross_entropy(x, [[1e39, 1.0]]) == np.inf


def test_weight_of_a_single_row_may_be_any_number():
    for weight in (1e-30, 1e30):
        assert cross_entropy([1.0, 1.0], 0, sample_weight=weight) == np.log(2)


def test_ignored_row_may_have_an_infinite_weight():
    x = np.ones((2, 3))
    assert cross_entropy(x, [0, -100], sample_weight=[1, np.inf]) == np.log(3)
    assert cross_entropy(x, [1, -100], class_weight=[np.inf, 1, 1]) == np.log(3)
