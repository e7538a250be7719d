"""Binary cross-entropy from logits, with all its options, and its gradient."""

import functools
import itertools

import numpy as np
import pytest
import reference
from checks import assert_near, bits, need_wide, refused
from hypothesis import assume, given
from hypothesis import strategies as st
from losses import placed

import fastlogits
from fastlogits import binary_cross_entropy_with_logits as value
from fastlogits import binary_cross_entropy_with_logits_value_and_grad as value_and_grad

DTYPES = ["float32", "float64"]
REDUCTIONS = ["mean", "sum", "none"]
WEIGHTS = ["pos_weight", "sample_weight"]
ARRAYS = ["logits", "targets", *WEIGHTS]
INF, NAN = np.inf, np.nan


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch", reason="PyTorch is not installed")


def both_bits(problem, **more):
    """The bits of the loss and the gradient; `problem` holds the arguments by name."""
    return tuple(map(bits, value_and_grad(**{**problem, **more})))


def arrays_of(problem):
    return {name: problem[name] for name in ARRAYS if np.ndim(problem.get(name))}


def assert_right(loss, grad, want):
    # softplus and sigmoid are within 2 eps of the exact ones; the coefficient, the weight and the
    # divisor round once each when they are made and when they multiply, by half an eps at most.
    want_loss, want_grad, grad_terms = want
    assert np.asarray(loss).dtype == grad.dtype
    # The terms of the loss have one sign: it is also the sum of their magnitudes.
    assert_near(loss, want_loss, want_loss, 6)
    assert_near(grad, want_grad, grad_terms, 6)


# --- Problems with any combination of the options ---

SHAPES = [(), (1,), (7,), (33,), (129,), (2, 3), (5, 33), (130, 1), (1, 5), (40, 3), (2, 3, 4)]
SHAPES += [(3, 1, 5), (2, 1, 2, 3), (9, 129)]


@st.composite
def problems(draw, spreads=(0, 1, 5, 30, 1000), shapes=(*SHAPES, (0,), (4, 0))):
    """Arguments by name."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    shape, dtype = draw(st.sampled_from(shapes)), draw(st.sampled_from(DTYPES))
    x = np.asarray(rng.normal(0, draw(st.sampled_from(spreads)), shape))
    kind = draw(st.sampled_from(["bool", "int8", "uint16", "int64", "float16", *DTYPES]))
    # Hard targets, or soft ones that every floating dtype holds, some of them 0 or 1.
    steps = 64 if "float" in kind and draw(st.booleans()) else 1
    t = np.asarray(np.clip(np.round(rng.uniform(-0.2, 1.2, shape) * steps) / steps, 0, 1))
    problem = {"logits": x.astype(dtype), "targets": t.astype(kind)}
    for name in draw(st.sets(st.sampled_from(WEIGHTS))):
        own = tuple(draw(st.sampled_from([n, 1])) for n in shape)
        own = own[draw(st.integers(0, len(own))) :]
        w = np.asarray(rng.uniform(0, 3, own) * (rng.random(own) < 0.8))
        problem[name] = w.astype(draw(st.sampled_from(["float16", "int64", *DTYPES])))
    if draw(st.booleans()):
        # Beside a confident logit that is right, what is smoothed is all there is.
        smoothings = st.sampled_from([0, 1e-30, 1e-20, 1e-8, 0.1, 1.0]) | st.floats(0, 1)
        problem["label_smoothing"] = draw(smoothings)
    reduction = draw(st.sampled_from([None, *REDUCTIONS]))
    return problem if reduction is None else {**problem, "reduction": reduction}


@given(problem=problems())
def test_value_and_gradient_are_those_of_the_definitions(isa, problem):
    need_wide(problem["logits"].dtype)
    assert_right(*value_and_grad(**problem), reference.binary_cross_entropy(**problem))


@given(problem=problems())
def test_value_alone_has_the_bits_of_the_value_beside_the_gradient(isa, problem):
    loss, alone = value_and_grad(**problem)[0], value(**problem)
    assert type(alone) is type(loss)
    assert bits(alone) == bits(loss)


def by_autograd(torch, logits, targets, pos_weight=None, sample_weight=1, **options):
    """Value, gradient and the sum of the weights, in float64."""
    w = None if pos_weight is None else torch.tensor(np.asarray(pos_weight, "f8"))
    x, t, s = (torch.tensor(np.asarray(a, "f8")) for a in (logits, targets, sample_weight))
    smoothing, reduction = options.get("label_smoothing", 0), options.get("reduction", "mean")
    t = t * (1 - smoothing) + smoothing / 2
    loss_of = torch.nn.functional.binary_cross_entropy_with_logits
    loss = s * loss_of(x.requires_grad_(), t, pos_weight=w, reduction="none")
    total = torch.broadcast_to(s, x.shape).sum()
    loss = {"none": loss, "sum": loss.sum(), "mean": loss.sum() / total}[reduction]
    loss.sum().backward()
    return loss.detach().numpy(), x.grad.numpy(), float(total)


@given(problem=problems(spreads=(0, 1, 5, 30), shapes=SHAPES))
def test_value_and_gradient_are_those_of_autograd(torch, problem):
    want, want_grad, total = by_autograd(torch, **problem)
    # Over weights of 0, autograd's gradient is NaN.
    assume(total > 0)
    loose = {"float32": 1e-5, "float64": 1e-12}[problem["logits"].dtype.name]
    for got, exact in zip(value_and_grad(**problem), (want, want_grad), strict=True):
        assert np.shape(got) == exact.shape
        largest = max(1, np.max(np.abs(exact)))
        np.testing.assert_allclose(got, exact, rtol=loose, atol=loose * largest)


# Targets, the shapes of the weights, smoothing and reduction: each way through the options.
CASES = {
    "hard, mean": ("bool", None, None, 0, "mean"),
    "hard, none": ("hard", None, None, 0, "none"),
    "soft, mean": ("soft", None, None, 0, "mean"),
    "pos_weight, sum": ("int8", "row", None, 0, "sum"),
    "smoothing, none": ("soft", None, None, 0.1, "none"),
    "row and column, mean": ("soft", "row", "column", 0.2, "mean"),
    "full, sum": ("hard", "full", "full", 0, "sum"),
    "full, none": ("soft", "full", "full", 0.2, "none"),
}


@functools.cache
def example(case, dtype, shape):
    """Arguments by name, read-only. With "none", some logits are infinite or NaN."""
    rng = np.random.default_rng(shape)
    kind, *weights, smoothing, reduction = CASES[case]
    x, t = rng.normal(0, 4, shape), np.clip(rng.uniform(-0.2, 1.2, shape), 0, 1)
    x.flat[1::17] *= 30
    if reduction == "none":
        x.flat[3::19], x.flat[5::19], x.flat[7::19] = NAN, INF, -INF
    t = t.astype(dtype) if kind == "soft" else t.round().astype({"hard": dtype}.get(kind, kind))
    problem = {"logits": x.astype(dtype), "targets": t}
    column = (shape[0],) + (1,) * (len(shape) - 1)
    for name, of in zip(WEIGHTS, weights, strict=True):
        if of:
            own = {"row": shape[-1:], "column": column, "full": shape}[of]
            problem[name] = rng.uniform(0.1, 3, own)
    for a in problem.values():
        a.setflags(write=False)
    return {**problem, "label_smoothing": smoothing, "reduction": reduction}


@functools.cache
def first_bits(case, dtype, shape):
    """Those of the first instruction set on one thread."""
    isa = fastlogits.get_isa()
    fastlogits.set_isa(fastlogits.available_isas()[0])
    try:
        with fastlogits.num_threads(1):
            return both_bits(example(case, dtype, shape))
    finally:
        fastlogits.set_isa(isa)


@pytest.mark.parametrize("case", [name for name in CASES if "none" not in name])
def test_gradient_is_the_slope_of_the_loss(case, isa):
    problem = dict(example(case, "float64", (4, 3)), logits=np.linspace(-3, 2, 12).reshape(4, 3))
    grad = value_and_grad(**problem)[1]
    # A central difference is off by h**2 times a third derivative, below 1 here, and by eps / h.
    for index in np.ndindex(4, 3):
        h = np.zeros((4, 3))
        h[index] = 1e-5
        up, down = (value(**{**problem, "logits": problem["logits"] + d}) for d in (h, -h))
        assert abs((up - down) / 2e-5 - grad[index]) <= 1e-8, index


# --- How near the results are ---


@functools.cache
def sweep(dtype, target):
    """Logits of all magnitudes, targets, and the exact results."""
    rng = np.random.default_rng(3)
    width, bound = (32, 120.0) if dtype == "float32" else (64, 800.0)
    x = rng.integers(0, 2**width, 30_000, dtype=f"uint{width}").view(dtype)
    others = [
        *(rng.uniform(-b, b, 20_000) for b in (bound, 30, 1)),
        np.exp(rng.uniform(-40, 8, 20_000)) * rng.choice([-1, 1], 20_000),
        np.arange(-400, 401) * np.log(2) / 2,
        [0.0, -0.0, np.finfo(dtype).max, -np.finfo(dtype).max],
    ]
    x = np.concatenate([x[np.isfinite(x)], *(np.asarray(a).astype(dtype) for a in others)])
    if target == "soft":
        tiny = np.exp(rng.uniform(np.log(1e-25), 0, len(x)))
        target = np.choose(np.arange(len(x)) % 4, [rng.random(len(x)), tiny, 1 - tiny, 0.5])
    t = np.broadcast_to(target, x.shape).astype(dtype)
    return x, t, reference.binary_cross_entropy(x, t, reduction="none")


@pytest.mark.parametrize("target", [0, 1, "soft"])
def test_losses_are_within_2_or_3_and_gradients_within_2_and_a_half_ulp(target, dtype, isa):
    need_wide(dtype)
    x, t, (want, want_grad, terms) = sweep(dtype.name, target)
    loss, grad = value_and_grad(x, t, reduction="none")
    assert reference.ulp_error(loss, want).max() <= (3 if target == "soft" else 2)
    # Nearer to 0 the two terms of soft targets cancel.
    near = (np.abs(want_grad) <= 0.01) & (target == "soft")
    assert reference.ulp_error(grad, want_grad)[~near].max() <= 2.5
    assert_near(grad, want_grad, terms, 3)


@pytest.mark.parametrize("options", [{}, {"pos_weight": 2.5, "label_smoothing": 0.1}], ids=str)
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_reduced_losses_of_many_elements_are_near(reduction, options, dtype, isa):
    need_wide(dtype)
    rng = np.random.default_rng(4)
    x, t = rng.normal(0, 4, (9001, 7)).astype(dtype), rng.integers(0, 2, (9001, 7))
    for s in (1, rng.uniform(0, 3, (9001, 1))):
        want = reference.binary_cross_entropy(
            x, t, sample_weight=s, reduction=reduction, **options
        )[0]
        got = value(x, t, sample_weight=s, reduction=reduction, **options)
        assert_near(got, want, want, 2)


SIZES = [1, 2, 7, 8, 31, 32, 33, 127, 128, 129, 4095, 4096, 4097, 70_001]


@pytest.mark.parametrize("case", ["hard, none", "full, none"])
def test_every_size_and_nothing_beyond_it(case, dtype, isa):
    need_wide(dtype)
    for size in SIZES:
        problem = dict(example(case, dtype.name, (size,)))
        problem["logits"] = np.where(np.isfinite(problem["logits"]), problem["logits"], 1)
        room = np.full(size + 128, 7, dtype)
        out = room[64 : 64 + size]
        assert_right(*value_and_grad(**problem, out=out), reference.binary_cross_entropy(**problem))
        assert np.all(room[:64] == 7)
        assert np.all(room[64 + size :] == 7)


BROADCASTS = [
    ((70_001, 1), (1,), (70_001, 1)),
    ((30_000, 3), (3,), (30_000, 1)),
    ((300, 130), (300, 130), (130,)),
    ((2, 3, 4, 5), (3, 1, 1), (2, 1, 4, 1)),
    ((5, 0, 3), (3,), (5, 1, 1)),
    ((6,), (), ()),
    ((), (), ()),
]


@pytest.mark.parametrize(("shape", "pos_weight", "sample_weight"), BROADCASTS, ids=str)
def test_weights_are_broadcast_to_the_logits(shape, pos_weight, sample_weight, dtype, isa):
    need_wide(dtype)
    rng = np.random.default_rng(5)
    x, t = np.asarray(rng.normal(0, 4, shape)).astype(dtype), rng.integers(0, 2, shape)
    # Eighths: their sum is exact, in whichever order.
    weights = {"pos_weight": pos_weight, "sample_weight": sample_weight}
    weights = {name: rng.integers(1, 20, own) / 8 for name, own in weights.items()}
    full = {name: np.array(np.broadcast_to(w, shape)) for name, w in weights.items()}
    for reduction in REDUCTIONS:
        loss, grad = value_and_grad(x, t, **weights, reduction=reduction)
        assert_right(
            loss, grad, reference.binary_cross_entropy(x, t, **weights, reduction=reduction)
        )
        want = value_and_grad(x, t, **full, reduction=reduction)
        assert (bits(loss), bits(grad)) == (bits(want[0]), bits(want[1]))


@pytest.mark.parametrize("kind", ["float16", "float32", "float64", ">f4", "int8", "uint64", "bool"])
def test_dtype_of_the_results(kind, isa):
    x = np.random.default_rng(0).integers(0, 2 if kind == "bool" else 20, (35, 3)).astype(kind)
    t = np.random.default_rng(1).random((35, 3)).astype("f2")
    of_grad = x.dtype.newbyteorder("=") if x.dtype.kind == "f" else np.dtype("f8")
    of_loss = np.promote_types(of_grad, "f4")
    for reduction in REDUCTIONS:
        out = np.empty(x.shape, of_grad)
        want, want_grad = value_and_grad(x.astype(of_loss), t, reduction=reduction)
        for place in (None, out):
            loss, grad = value_and_grad(x, t, reduction=reduction, out=place)
            assert type(loss) is (np.ndarray if reduction == "none" else of_loss.type)
            assert (loss.dtype, grad.dtype, type(grad)) == (of_loss, of_grad, np.ndarray)
            assert (bits(loss), bits(grad)) == (bits(want), bits(want_grad.astype(of_grad)))
        assert type(value(x[0, 0], t[0, 0], reduction=reduction)) is of_loss.type


@pytest.mark.parametrize("kind", ["bool", "i1", "i4", "u8", "f2", "f4", "f8", ">i2", ">f8", "list"])
def test_targets_and_weights_of_any_dtype(kind, dtype, isa):
    for name in ARRAYS[1:]:
        problem = dict(example("row and column, mean", dtype.name, (35, 3)))
        a = problem[name].round() > 0
        want = both_bits(problem, **{name: a.astype(dtype)})
        a = a.astype(int).tolist() if kind == "list" else a.astype(kind)
        assert both_bits(problem, **{name: a}) == want, name


# --- The same bits whatever computes them and wherever they lie ---


@pytest.mark.parametrize("case", CASES)
def test_same_bits_on_every_table_and_any_number_of_threads(case, dtype, isa, threads):
    for shape in [(7,), (4097,), (300_007,), (70_001, 1), (30_000, 3), (129, 257)]:
        problem, want = example(case, dtype.name, shape), first_bits(case, dtype.name, shape)
        assert both_bits(problem) == want, shape
        assert bits(value(**problem)) == want[0], shape


def layouts(a):
    """Writable arrays equal to `a` that lie differently in memory, others between the elements."""
    wide = np.full([2 * n + 1 for n in a.shape], NAN if a.dtype.kind == "f" else 99, a.dtype)
    views = {
        "unaligned": np.zeros(a.nbytes + 1, np.uint8)[1:].view(a.dtype).reshape(a.shape),
        "Fortran order": np.empty(a.shape, a.dtype, order="F"),
        "last axis reversed": np.empty_like(a)[..., ::-1],
        "padded": wide.copy()[tuple(map(slice, a.shape))],
        "steps": wide.copy()[(np.s_[1::2],) * a.ndim],
        "steps back, transposed": wide.T.copy()[(np.s_[-2::-2],) * a.ndim].T,
        "byte-swapped": np.empty(a.shape, a.dtype.newbyteorder()),
    }
    for view in views.values():
        view[...] = a
    return views.items()


LAYOUT_SHAPES = [(1031,), (35, 1), (19, 3), (33, 33), (3, 4, 5), (3, 4099)]


@pytest.mark.parametrize("case", CASES)
def test_memory_layouts_change_nothing(case, dtype, isa):
    for shape in LAYOUT_SHAPES:
        problem, want = example(case, dtype.name, shape), first_bits(case, dtype.name, shape)
        for name, a in arrays_of(problem).items():
            for layout, view in layouts(a):
                before = view.tobytes()
                assert both_bits(problem, **{name: view}) == want, (shape, name, layout)
                assert bits(value(**{**problem, name: view})) == want[0], (shape, name, layout)
                assert view.tobytes() == before, (shape, name, layout)
        for layout, out in layouts(np.zeros(shape, dtype)):
            if layout != "byte-swapped":
                assert value_and_grad(**problem, out=out)[1] is out
                assert bits(out) == want[1], (shape, layout)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_broadcast_views_have_the_bits_of_their_copies(reduction, dtype, isa):
    rng = np.random.default_rng(6)
    for rows, columns in [(35, 3), (3, 300), (129, 33), (5000, 1)]:
        for shapes in itertools.permutations([(rows, 1), (columns,), (rows, columns), ()]):
            parts = [rng.uniform(0.1, 1, own).astype(dtype) for own in shapes]
            views = [np.broadcast_to(part, (rows, columns)) for part in parts]
            views = dict(zip(ARRAYS, views, strict=True))
            copies = {name: np.array(view, order="C") for name, view in views.items()}
            want = both_bits(copies, reduction=reduction)
            assert both_bits(views, reduction=reduction) == want, shapes
            for name in ARRAYS:
                assert both_bits({**copies, name: views[name]}, reduction=reduction) == want, shapes


@pytest.mark.parametrize("case", CASES)
def test_out_may_overlap_any_input_in_any_way(case, dtype, isa):
    for shape in LAYOUT_SHAPES[:5]:
        problem, want = example(case, dtype.name, shape), first_bits(case, dtype.name, shape)
        zeros, arrays = np.zeros(shape, dtype), arrays_of(problem)
        row, one = zeros[0].nbytes, dtype.itemsize
        shifts = {0, 1, one, row, row + one, zeros.nbytes // 2}
        for name, shift, back in itertools.product(arrays, shifts, (False, True)):
            block = np.zeros(shift + max(arrays[name].nbytes, zeros.nbytes), np.uint8)
            out = placed(block, 0 if back else shift, zeros)
            a = placed(block, shift if back else 0, arrays[name])
            assert both_bits(problem, **{name: a}, out=out) == want, (shape, name, shift, back)
        # Every input in one block of memory, the gradient across their borders.
        ends = list(itertools.accumulate([a.nbytes for a in arrays.values()], initial=0))
        for start in range(0, ends[-1] - zeros.nbytes + 1, zeros.nbytes // 2 + 1):
            block = np.zeros(ends[-1], np.uint8)
            inside = {n: placed(block, at, arrays[n]) for n, at in zip(arrays, ends, strict=False)}
            out = block[start : start + zeros.nbytes].view(dtype).reshape(shape)
            assert both_bits(problem, **inside, out=out) == want, (shape, start)
        for (name, a), turn in itertools.product(arrays.items(), (np.transpose, np.flip)):
            view = a.copy()
            out = turn(view)
            if (out.shape, out.dtype) == (shape, dtype):
                assert both_bits(problem, **{name: view}, out=out) == want, (shape, name, turn)


# --- Special values, and arguments that are wrong ---

# Logit, target, options, loss, gradient.
LIMITS = [
    (INF, 1, {}, 0, 0),
    (INF, 0, {}, INF, 1),
    (-INF, 0, {}, 0, 0),
    (-INF, -0.0, {}, 0, 0),
    (-INF, 1, {}, INF, -1),
    (INF, 0.25, {}, INF, 0.75),
    (-INF, 0.25, {}, INF, -0.25),
    (INF, 1, {"pos_weight": 2}, 0, 0),
    (-INF, 1, {"pos_weight": 2}, INF, -2),
    (-INF, 0, {"pos_weight": 2}, 0, 0),
    (-INF, 1, {"pos_weight": 0}, 0, 0),
    (-INF, 0.25, {"pos_weight": 0}, 0, 0),
    (INF, 0.25, {"pos_weight": 0}, INF, 0.75),
    (INF, 1, {"label_smoothing": 0.5}, INF, 0.25),
    (-INF, 0, {"label_smoothing": 0.5}, INF, -0.25),
    (-INF, 0, {"sample_weight": 2}, 0, 0),
    (-INF, 1, {"sample_weight": 2, "pos_weight": 3}, INF, -6),
    *((NAN, t, {}, NAN, NAN) for t in (0, 1, 0.25)),
    (NAN, 1, {"pos_weight": 2, "sample_weight": 3, "label_smoothing": 0.1}, NAN, NAN),
]


@pytest.mark.parametrize(("logit", "target", "options", "loss", "gradient"), LIMITS)
def test_limits(logit, target, options, loss, gradient, dtype, isa):
    for size, place in [(1, 0), (33, 32), (129, 5), (5000, 4096)]:
        problem = example("soft, mean", dtype.name, (size,))
        x, t = problem["logits"].copy(), problem["targets"].copy()
        want = value_and_grad(x, t, reduction="none", **options)
        x[place], t[place] = logit, target
        with np.errstate(all="raise"):
            got = value_and_grad(x, t, reduction="none", **options)
            reduced = [value(x, t, reduction=r, **options) for r in ("sum", "mean")]
        np.testing.assert_array_equal([a[place] for a in got], [loss, gradient])
        for a, b in zip(got, want, strict=True):
            assert bits(np.delete(a, place)) == bits(np.delete(b, place))
        total = got[0].sum()
        mean = total / size / options.get("sample_weight", 1)
        np.testing.assert_allclose(reduced, [total, mean], rtol=1e-3)


NO_WEIGHT = {(0,): None, (2, 0, 3): (2, 1, 3), (): (), (6,): (), (6, 4): 4, (5000, 3): (5000, 1)}


@pytest.mark.parametrize("options", [{}, {"pos_weight": 2.0, "label_smoothing": 0.1}], ids=str)
@pytest.mark.parametrize("shape", NO_WEIGHT, ids=str)
def test_mean_over_no_weight_is_nan_with_a_gradient_of_zeros(shape, options, dtype, isa):
    x = np.asarray(np.random.default_rng(7).normal(0, 4, shape)).astype(dtype)
    s = None if NO_WEIGHT[shape] is None else np.zeros(NO_WEIGHT[shape])
    for reduction, out in itertools.product(REDUCTIONS, (None, np.full_like(x, 7))):
        more = {"sample_weight": s, "reduction": reduction, **options}
        loss, grad = value_and_grad(x, x > 0, **more, out=out)
        assert np.shape(loss) == (shape if reduction == "none" else ())
        assert np.isnan(loss) if reduction == "mean" else not np.any(loss)
        assert bits(value(x, x > 0, **more)) == bits(loss)
        assert (grad.shape, grad.dtype, loss.dtype) == (shape, dtype, dtype)
        assert not grad.any()


X = np.random.default_rng(0).normal(size=(3, 4))
T = np.full((3, 4), 0.25)


def ones_but(bad, *place, shape=(3, 4), dtype="f8"):
    a = np.ones(shape, dtype)
    a[place] = bad
    return a


WRONG = {
    "None logits": ({"logits": None}, TypeError, "logits"),
    "None targets": ({"targets": None}, TypeError, "targets"),
    "no dimension": ({"logits": 0.5, "targets": 1.5}, ValueError, "targets", 1.5),
}
for _name, _bad in itertools.product(ARRAYS, ("c16", object, str)):
    WRONG[f"{_name} of {_bad}"] = ({_name: T.astype(_bad)}, TypeError, _name)
for _name in ARRAYS:
    WRONG[f"masked {_name}"] = ({_name: np.ma.masked_array(T, X > 0)}, TypeError, _name)
WRONG_TARGETS = {
    "f8": (1.5, -0.5, NAN, INF, -INF, np.nextafter(1, 2), -5e-324),
    **{"f4": (1.5, -0.5, NAN), "f2": (1.5, NAN), ">f8": (1.5,)},
    **{"i8": (2, -1, 2**32), "i1": (-1,), "u2": (256,), ">i4": (2,)},
}
for _dtype, _bad in [(dtype, bad) for dtype, bads in WRONG_TARGETS.items() for bad in bads]:
    _given = {"targets": ones_but(_bad, 1, 3, dtype=_dtype)}
    WRONG[f"{_dtype} target {_bad}"] = (_given, ValueError, "targets[1, 3]", _bad)
_given = {"logits": X.astype("f4"), "targets": ones_but(1 + 1e-10, 1, 3)}
WRONG["target that would only round to 1"] = (_given, ValueError, "targets[1, 3]")
for _bad in (T[:1], T[0], T[:, :1], T[None], T.T, T[0, 0], T[:0]):
    _said = "targets", str(_bad.shape), "(3, 4)"
    WRONG[f"targets of shape {_bad.shape}"] = ({"targets": _bad}, ValueError, *_said)
for _name in WEIGHTS:
    for _bad, _dtype in ((-1, "f4"), (-1, "i8"), (-1e-300, "f8"), (NAN, "f2"), (NAN, "f8")):
        for _place, _shape in {(): (), (2,): (4,), (2, 0): (3, 1), (1, 3): (3, 4)}.items():
            _said = f"{_name}{list(_place) if _place else ''}"
            _given = {_name: ones_but(_bad, *_place, shape=_shape, dtype=_dtype)}
            WRONG[f"{_bad} in {_dtype} {_name}, {_shape}"] = (_given, ValueError, _said)
    for _shape in ((3,), (0,), (4, 1), (1, 3), (6, 4), (1, 3, 4), (2, 3, 4), (1, 1, 1)):
        WRONG[f"{_name} of shape {_shape}"] = ({_name: np.ones(_shape)}, ValueError, _name)
    for _logits in (X[:1], X[:, :1], X[:0], X[0], X[0, 0]):
        _given = {"logits": _logits, "targets": _logits > 0, _name: T}
        WRONG[f"{_name} beyond logits of shape {_logits.shape}"] = (_given, ValueError, _name)
for _bad in (-0.1, -1e-300, 1.0000001, 2, NAN, INF):
    WRONG[f"smoothing {_bad!r}"] = ({"label_smoothing": _bad}, ValueError, "label_smoothing")
for _bad in (None, "0.1", 1j, [0.1], np.ones(3)):
    WRONG[f"smoothing {_bad!r}"] = ({"label_smoothing": _bad}, TypeError, "label_smoothing")
for _bad in ("avg", "Mean", None, 1):
    WRONG[f"reduction {_bad!r}"] = ({"reduction": _bad}, ValueError, "reduction")
for _shape in ((4, 3), (4,), (1, 3, 4), (1, 4), ()):
    _said = "out", str(_shape), "(3, 4)"
    WRONG[f"out of shape {_shape}"] = ({"out": np.ones(_shape)}, ValueError, *_said)
for _bad in ("float32", "float16", "int64", "complex128"):
    WRONG[f"{_bad} out"] = ({"out": np.ones((3, 4), _bad)}, ValueError, "out", _bad, "float64")
for _bad in (T.tolist(), 7.0, (T,)):
    WRONG[f"out of {type(_bad)}"] = ({"out": _bad}, TypeError, "out")
WRONG["byte-swapped out"] = ({"out": np.ones((3, 4), ">f8")}, ValueError, "out")
WRONG["read-only out"] = ({"out": np.broadcast_to(7.0, (3, 4))}, ValueError, "out")


@pytest.mark.parametrize("what", WRONG)
def test_wrong_argument(what):
    changed, error, *said = WRONG[what]
    problem = {"logits": X.copy(), "targets": T, **changed}
    x = problem["logits"]
    for function in () if "out" in changed else (value, value_and_grad):
        with refused(error, *said):
            function(**problem)
    in_place = [x] if isinstance(x, np.ndarray) else []
    for out in [changed["out"]] if "out" in changed else [np.full_like(x, 7), *in_place]:
        before = np.array(out)
        with refused(error, *said):
            value_and_grad(**{**problem, "out": out})
        np.testing.assert_array_equal(out, before)


@pytest.mark.parametrize("function", [value, value_and_grad])
def test_options_are_keyword_only(function):
    with pytest.raises(TypeError):
        function(X, T, None)


@pytest.mark.parametrize("bad", [NAN, -1, 2])
def test_first_wrong_element_of_many_is_named_and_nothing_written(bad, dtype, isa, threads):
    x = np.full(150_000, 7, dtype)
    for name, place in itertools.product(ARRAYS[1:], (0, 31, 4096, 101_234, 149_999)):
        if name == "targets" or not bad > 0:
            problem = {"targets": np.zeros(150_000, dtype), name: np.zeros(150_000, dtype)}
            problem[name][place:] = bad
            with refused(ValueError, f"{name}[{place}]", bad):
                value_and_grad(x, **problem, out=x)
            assert (x == 7).all()


@pytest.mark.parametrize("name", ARRAYS)
def test_tensor_that_requires_a_gradient(name, torch):
    problem = {"logits": X, "targets": T, name: torch.ones(3, 4, requires_grad=True)}
    for function in (value, value_and_grad):
        with refused(TypeError, name):
            function(**problem)


# --- Weights at the ends of the range ---


@pytest.mark.parametrize("size", [1e-300, 1e-39, 1e39, 1e300])
def test_mean_depends_on_the_ratios_of_weights_alone(size, dtype, isa):
    x, t = np.array([0, 1, -2], dtype), np.array([0, 1, 1], dtype)
    ratios = np.array([1, 2, 4])
    want = value_and_grad(x, t, sample_weight=ratios)
    got = value_and_grad(x, t, sample_weight=ratios * size)
    eps = 4 * np.finfo(dtype).eps
    np.testing.assert_allclose(got[0], want[0], rtol=eps)
    np.testing.assert_allclose(got[1], want[1], rtol=eps)


def test_target_of_zero_has_no_part_in_an_infinite_positive_weight(dtype, isa):
    x = np.array([0, 3, -INF], dtype)
    for weight in (1e300, INF):
        got = value(x, np.zeros(3, dtype), pos_weight=weight, reduction="none")
        np.testing.assert_array_equal(got, value(x, np.zeros(3, dtype), reduction="none"))


def test_results_beyond_the_range_are_silent():
    x = np.array([1], np.float32)
    with np.errstate(all="raise"):
        assert value(x, [1e-200]) == value(x, [0.0])
        assert value(x, [1], sample_weight=1e-300, reduction="sum") == 0
        assert value(x, [1], sample_weight=1e300, reduction="sum") == INF
