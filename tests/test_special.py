"""`fastlogits.special` beside `scipy.special`: the same calls, shapes, dtypes and values.

Where SciPy itself loses digits the reference is computed here, in decimal or in extended precision.
"""

import inspect
import math
import warnings
from decimal import Decimal, localcontext

import numpy as np
import pytest
import scipy.special
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fastlogits import special

INF, NAN, PI = math.inf, math.nan, math.pi
INTEGERS = "bBhHiIlLqQ"
NORMALISERS = ["softmax", "log_softmax"]
REDUCERS = ["softmax", "log_softmax", "logsumexp"]
ELEMENTWISE = ["expit", "log_expit"]


def both(name):
    return getattr(special, name), getattr(scipy.special, name)


def assert_alike(got, expected, **tolerance):
    """The same Python type, dtype and shape, and with tolerances the same values."""
    assert type(got) is type(expected)
    assert got.dtype == expected.dtype
    assert got.shape == expected.shape
    if tolerance:
        np.testing.assert_allclose(got, expected, **tolerance)


def quiet(function, *args, **kwargs):
    """SciPy warns of infinities and overflows."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function(*args, **kwargs)


def exact_logsumexp(a, b=None):
    """log|sum(b * exp(a))| from 60 decimal digits of every term."""
    b = [1.0] * len(a) if b is None else b
    with localcontext() as context:
        context.prec = 60
        terms = [Decimal(float(w)) * Decimal(float(x)).exp() for x, w in zip(a, b, strict=True)]
        return float(abs(sum(terms)).ln())


# Signatures


@pytest.mark.parametrize("name", REDUCERS)
def test_signature_is_that_of_scipy(name):
    ours, theirs = (inspect.signature(f).parameters.values() for f in both(name))
    assert [(p.name, p.default, p.kind) for p in ours] == [
        (p.name, p.default, p.kind) for p in theirs
    ]


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_elementwise_functions_take_x_then_out_like_a_ufunc(name):
    x, out, *options = inspect.signature(getattr(special, name)).parameters.values()
    assert (x.name, x.kind) == ("x", inspect.Parameter.POSITIONAL_ONLY)
    assert (out.name, out.default) == ("out", None)
    assert {p.kind for p in options} == {inspect.Parameter.KEYWORD_ONLY}


# Dtypes and types of the results


@pytest.mark.parametrize("shape", [(), (3,), (2, 3)], ids=str)
@pytest.mark.parametrize("char", [*INTEGERS, *"efdgFDG"])
@pytest.mark.parametrize("name", REDUCERS)
def test_result_has_type_dtype_and_shape_of_scipy(name, char, shape):
    ours, theirs = both(name)
    x = np.full(shape, 2, char)
    assert_alike(ours(x), quiet(theirs, x))
    assert_alike(ours(x, axis=-1), quiet(theirs, x, axis=-1))


@pytest.mark.parametrize("shape", [(), (3,), (2, 3)], ids=str)
@pytest.mark.parametrize("char", [*"?efdg", *INTEGERS])
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_elementwise_result_has_type_dtype_and_shape_of_scipy(name, char, shape):
    ours, theirs = both(name)
    x = np.full(shape, 1, char)
    expected = theirs(x)
    if char in "?bBhHe":  # float64 in SciPy before 1.18
        expected = expected.astype(np.float32)
    assert_alike(ours(x), expected, rtol=16 * np.finfo(expected.dtype).eps)


@pytest.mark.parametrize("char", "?bhiefdgFDG")
def test_logsumexp_dtype_is_the_common_one_of_logits_and_weights(char):
    a = np.array([1, 2], char)
    for b in [*(np.array([1, 2], c) for c in "?bhiefdgFDG"), 1, 2.5, True, 1j, [1, 2], [1.0, 2.0]]:
        got, expected = special.logsumexp(a, b=b), scipy.special.logsumexp(a, b=b)
        # Two roundings of the result: SciPy computes float16 and float32 as such.
        rtol = 4 * max(np.finfo(got.dtype).eps, 1e-16)
        assert_alike(got, expected, rtol=rtol)
        log_abs, sign = special.logsumexp(a, b=b, return_sign=True)
        expected_log, expected_sign = scipy.special.logsumexp(a, b=b, return_sign=True)
        assert_alike(log_abs, expected_log, rtol=rtol)
        assert_alike(sign, expected_sign, rtol=rtol, atol=1e-15)


def test_python_scalars_adapt_to_the_dtype_of_the_weights():
    b = np.array([1, 2], np.float32)
    assert_alike(special.logsumexp(1.0, b=b), scipy.special.logsumexp(1.0, b=b), rtol=1e-6)
    assert special.logsumexp(np.float64(1.0), b=b).dtype == np.float64


@pytest.mark.parametrize("x", [1, 1.5, 1j, [1, 2], [[1.0, 2.0], [3.0, 4.0]], (0.5, 2), True])
@pytest.mark.parametrize("name", REDUCERS)
def test_lists_and_scalars_are_taken(name, x):
    ours, theirs = both(name)
    if x is True and name != "logsumexp":
        # SciPy raises there.
        assert ours(x).dtype == np.float64
    else:
        assert_alike(ours(x), theirs(x), rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize("char", "BHIL")
def test_unsigned_integers_are_not_negated(char):
    x = np.array([1, 2, 3], char)
    rtol = {"B": 1e-3, "H": 1e-6}.get(char, 1e-14)
    np.testing.assert_allclose(special.softmax(x), special.softmax(x.astype("d")), rtol=rtol)
    np.testing.assert_allclose(
        special.log_softmax(x), special.log_softmax(x.astype("d")), rtol=rtol
    )


@pytest.mark.parametrize("name", [*REDUCERS, *ELEMENTWISE])
def test_bfloat16_gives_the_dtype_of_scipy(name):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    ours, theirs = both(name)
    x = np.array([1, 2, 3.5], ml_dtypes.bfloat16)
    try:
        expected = theirs(x)
    except TypeError:  # with ml_dtypes from 0.7 on; before, it gave float64
        if name != "logsumexp":
            raise
        expected = theirs(x.astype(np.float64))
    if name in ELEMENTWISE:  # float64 in SciPy before 1.18
        expected = expected.astype(np.float32)
    assert_alike(ours(x), expected)
    exact = ours(x.astype(np.float64))
    np.testing.assert_allclose(np.asarray(ours(x), np.float64), exact, rtol=2**-8)


@pytest.mark.parametrize("char", "?bilfdFD")
def test_bfloat16_weights_give_the_dtype_of_scipy(char):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    a, b = np.array([1, 1], char), np.array([1, 2.5], ml_dtypes.bfloat16)
    assert_alike(special.logsumexp(a, b=b), scipy.special.logsumexp(a, b=b), rtol=1e-6)


@pytest.mark.parametrize("name", [*REDUCERS, *ELEMENTWISE])
@pytest.mark.parametrize("char", "fd")
def test_layout_and_byte_order_do_not_matter(name, char):
    function = getattr(special, name)
    options = {} if name in ELEMENTWISE else {"axis": 1}
    x = np.random.default_rng(5).normal(0, 3, (4, 6)).astype(char)
    expected = function(x, **options)
    padded = np.zeros((4, 12), char)
    padded[:, ::2] = x
    frozen = x.copy()
    frozen.flags.writeable = False
    for variant in [np.asfortranarray(x), padded[:, ::2], frozen, x.astype(x.dtype.newbyteorder())]:
        got = function(variant, **options)
        assert got.dtype.isnative
        assert_alike(got, expected)
        np.testing.assert_array_equal(got, expected)


# Shapes, axes and options


@st.composite
def logits_and_axis(draw):
    dtype = draw(st.sampled_from([np.float32, np.float64, np.int64]))
    shape = draw(hnp.array_shapes(min_dims=0, max_dims=4, max_side=4))
    elements = st.integers(-40, 40) if dtype is np.int64 else st.floats(-40, 40, width=16)
    x = draw(hnp.arrays(dtype, shape, elements=elements))
    axes = st.integers(-len(shape), len(shape) - 1) if shape else st.sampled_from([0, -1])
    several = st.lists(
        st.integers(0, max(len(shape) - 1, 0)), unique=True, max_size=len(shape)
    ).map(tuple)
    return x, draw(st.none() | axes | several)


@given(logits_and_axis())
def test_softmax_agrees_with_scipy_for_every_axis(case):
    x, axis = case
    tolerance = 1e-5 if x.dtype == np.float32 else 1e-12
    for name in NORMALISERS:
        ours, theirs = both(name)
        assert_alike(ours(x, axis=axis), theirs(x, axis=axis), rtol=tolerance, atol=tolerance)


@given(logits_and_axis(), st.booleans(), st.data())
def test_logsumexp_agrees_with_scipy_for_every_axis_and_weights(case, keepdims, data):
    a, axis = case
    b = None
    if data.draw(st.booleans(), "weighted"):
        shape = [data.draw(st.sampled_from([1, n])) for n in a.shape]
        shape = shape[data.draw(st.integers(0, len(shape))) :]
        b = data.draw(hnp.arrays(np.float64, shape, elements=st.integers(-3, 3)))
    options = {"axis": axis, "b": b, "keepdims": keepdims}
    log_abs, sign = special.logsumexp(a, return_sign=True, **options)
    expected_log, expected_sign = scipy.special.logsumexp(a, return_sign=True, **options)
    assert_alike(log_abs, expected_log)
    assert_alike(sign, expected_sign)
    # Where terms cancel, only the sum itself is well determined, relative to its largest term.
    largest = a.max()
    np.testing.assert_allclose(
        sign * np.exp(log_abs.astype(np.float64) - largest),
        expected_sign * np.exp(expected_log.astype(np.float64) - largest),
        rtol=1e-4 if log_abs.dtype == np.float32 else 1e-11,
        atol=1e-11,
    )
    plain = special.logsumexp(a, **options)
    assert_alike(plain, expected_log)
    np.testing.assert_array_equal(plain, np.where(sign < 0, NAN, log_abs))


@pytest.mark.parametrize("b_shape", [(), (3,), (2, 1), (4, 2, 3), (4, 1, 1), (1, 1, 1)], ids=str)
@pytest.mark.parametrize("axis", [None, 0, 1, -1, (0, 1)])
def test_axis_counts_dimensions_after_broadcasting(b_shape, axis):
    a = np.arange(6.0).reshape(2, 3)
    b = np.linspace(1, 2, math.prod(b_shape)).reshape(b_shape)
    for keepdims in (False, True):
        options = {"axis": axis, "b": b, "keepdims": keepdims}
        got, expected = special.logsumexp(a, **options), scipy.special.logsumexp(a, **options)
        assert_alike(got, expected, rtol=1e-14)


@pytest.mark.parametrize("dtype", [np.longdouble, np.complex64, np.complex128])
@pytest.mark.parametrize("axis", [None, 0, 1, 2, -1, (0, 2), (2, 0), (1, 2), ()])
@pytest.mark.parametrize("name", REDUCERS)
def test_wide_dtypes_agree_with_scipy_for_every_axis(name, axis, dtype):
    rng = np.random.default_rng(7)
    x = rng.normal(0, 3, (2, 3, 4)).astype(dtype)
    if x.dtype.kind == "c":
        x += (1j * rng.normal(0, 1, x.shape)).astype(dtype)
    ours, theirs = both(name)
    tolerance = 2e-5 if dtype is np.complex64 else 1e-13
    assert_alike(ours(x, axis=axis), theirs(x, axis=axis), rtol=tolerance, atol=tolerance)


# Empty input


@pytest.mark.parametrize("char", "fdigFD")
@pytest.mark.parametrize(
    ("shape", "axis", "kept"),
    [
        ((0,), None, (1,)),
        ((0,), 0, (1,)),
        ((0, 3), 0, (1, 3)),
        ((3, 0), -1, (3, 1)),
        ((0, 3), 1, (0, 1)),
        ((0, 3), None, (1, 1)),
        ((2, 0, 3), (0, 1), (1, 1, 3)),
        ((2, 0, 3), (1, 2), (2, 1, 1)),
    ],
)
def test_logsumexp_of_nothing_is_minus_infinity_with_sign_zero(shape, axis, kept, char):
    a = np.zeros(shape, char)
    for b in (None, 2.0):
        log_abs, sign = special.logsumexp(a, axis, b, keepdims=True, return_sign=True)
        assert log_abs.shape == sign.shape == kept
        assert np.all(np.isneginf(log_abs))
        assert np.all(sign == 0)
        plain = special.logsumexp(a, axis, b)
        assert plain.shape == log_abs.squeeze(axis).shape
        assert plain.dtype == sign.dtype
        assert np.all(np.isneginf(plain.real))


@pytest.mark.parametrize("char", "fdihgF")
@pytest.mark.parametrize("name", NORMALISERS)
def test_softmax_of_no_rows_is_empty_and_of_no_classes_an_error(name, char):
    ours, theirs = both(name)
    for shape, axis in [((0, 3), 1), ((0,), ()), ((3, 0), 0), ((2, 0, 3), (0, 2))]:
        x = np.zeros(shape, char)
        assert_alike(ours(x, axis=axis), theirs(x, axis=axis))
    for shape, axis in [((0,), None), ((3, 0), 1), ((3, 0), None), ((2, 0, 3), (0, 1))]:
        x = np.zeros(shape, char)
        for function in (ours, theirs):
            with pytest.raises(ValueError, match=r"empty along axis|zero-size"):
                function(x, axis=axis)


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_elementwise_of_nothing_is_empty(name):
    ours, theirs = both(name)
    for x in ([], np.zeros((2, 0), np.float32), np.zeros((0, 3), np.longdouble)):
        assert_alike(ours(x), theirs(x))


# Special values


SPECIAL_ROWS = [
    ([INF, INF], None),
    ([-INF, -INF], None),
    ([INF, -INF], None),
    ([-INF, 0.0], None),
    ([NAN, 0.0], None),
    ([NAN, INF], None),
    ([NAN, -INF], None),
    ([0.0, 0.0], [1, -1]),
    ([0.0, 0.0], [-1, -1]),
    ([1.0, 2.0], [1, -1]),
    ([1.0, 2.0], [0, 0]),
    ([1.0, 2.0], [-0.0, 0.0]),
    ([-INF, -INF], [1, 1]),
    ([-INF, -INF], [-1, 1]),
    ([-INF, -INF], [0, 0]),
    ([INF, INF], [1, 1]),
    ([INF, INF], [1, -1]),
    ([INF, INF], [-1, -1]),
    ([INF, -INF], [1, -1]),
    ([INF, -INF], [-1, 1]),
    ([INF, 1.0], [0, 1]),
    ([INF, 1.0], [0, -1]),
    ([INF, 1.0], [1, 0]),
    ([INF, 1.0], [-1, 1]),
    ([NAN, 1.0], [0, 1]),
    ([NAN, 1.0], [1, 0]),
    ([-INF, 1.0], [-1, 1]),
    ([-INF, 1.0], [1, -1]),
    ([1.0, 2.0], [NAN, 1]),
    ([1.0, 2.0], [INF, 1]),
    ([1.0, 2.0], [-INF, 1]),
    ([1.0, 2.0], [INF, -INF]),
    ([-INF, 1.0], [INF, 1]),
    ([-INF, 1.0], [NAN, 1]),
    ([0.0, 0.0, 0.0], [1, 1, -2]),
]


@pytest.mark.parametrize("char", "fdg")
@pytest.mark.parametrize(("a", "b"), SPECIAL_ROWS, ids=str)
def test_logsumexp_of_special_values_agrees_with_scipy_and_does_not_warn(a, b, char):
    a = np.array(a, char)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        got = special.logsumexp(a, b=b), *special.logsumexp(a, b=b, return_sign=True)
    expected = (
        quiet(scipy.special.logsumexp, a, b=b),
        *quiet(scipy.special.logsumexp, a, b=b, return_sign=True),
    )
    np.testing.assert_allclose(np.array(got), np.array(expected), rtol=1e-6)


@pytest.mark.parametrize(
    ("a", "b", "log_abs", "sign"),
    [
        ([INF, INF], [0, 1], INF, 1),
        ([INF, INF], [0, -1], INF, -1),
        ([INF, INF], [0, 0], -INF, 0),
        ([INF, -INF], [0, 1], -INF, 0),
        ([NAN, -INF], [0, 1], -INF, 0),
        ([1.0, INF], [INF, 0], INF, 1),
        ([-800.0, 0.0], [INF, 1], INF, 1),
    ],
)
def test_a_weight_of_zero_removes_its_term_beside_infinite_ones(a, b, log_abs, sign):
    assert special.logsumexp(a, b=b, return_sign=True) == (log_abs, sign)


def test_special_values_stay_in_their_row():
    a = np.array([[1.0, 2.0], [NAN, 2.0], [INF, INF], [-INF, -INF], [1.0, 2.0]])
    log_abs, sign = special.logsumexp(a, axis=1, b=[1, -1], return_sign=True)
    alone = special.logsumexp([1.0, 2.0], b=[1, -1], return_sign=True)
    np.testing.assert_array_equal(log_abs, [alone[0], NAN, NAN, -INF, alone[0]])
    np.testing.assert_array_equal(sign, [-1, NAN, NAN, 0, -1])


@pytest.mark.parametrize("char", "fdgFD")
def test_softmax_of_special_values_agrees_with_scipy_and_does_not_warn(char):
    rows = [[-INF, 0], [NAN, 0], [-INF, -INF], [INF, 0], [INF, INF], [1e4, -1e4]]
    for row in rows:
        x = np.array(row, char)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            got = special.softmax(x)
            special.log_softmax(x)
        np.testing.assert_array_equal(np.isnan(got), np.isnan(quiet(scipy.special.softmax, x)))
        if not np.isnan(got).any():
            np.testing.assert_array_equal(got, scipy.special.softmax(x))
    np.testing.assert_array_equal(special.log_softmax(np.array([-INF, 0], char)).real, [-INF, 0])


# Precision


@pytest.mark.parametrize("gap", [1.0, 20.0, 40.0, 80.0])
@pytest.mark.parametrize("char", "fdg")
def test_confident_rows_keep_every_digit(gap, char):
    x = np.array([0.0, -gap], char)
    rest = math.log1p(math.exp(-gap))
    rtol = 2.5e-7 if char == "f" else 5e-16
    np.testing.assert_allclose(special.log_softmax(x)[0], -rest, rtol=rtol)
    np.testing.assert_allclose(special.logsumexp(x), rest, rtol=rtol)
    np.testing.assert_allclose(special.logsumexp(x, b=[1, 1]), rest, rtol=rtol)
    negative = math.log1p(-math.exp(-gap))
    np.testing.assert_allclose(special.logsumexp(x, b=[1, -1]), negative, rtol=rtol)


@pytest.mark.parametrize("char", "FD")
def test_confident_complex_rows_keep_every_digit(char):
    gap, turn = 40.0, 1.0
    x = np.array([0, -gap + 1j * turn], char)
    rest = math.exp(-gap) * complex(math.cos(turn), math.sin(turn))
    rtol = 2.5e-7 if char == "F" else 1e-15
    for got in (special.logsumexp(x), special.logsumexp(x, b=[1, 1]), -special.log_softmax(x)[0]):
        np.testing.assert_allclose([got.real, got.imag], [rest.real, rest.imag], rtol=rtol)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ([1000.0, 1000.0], [1.0, -(1 - 2.0**-51)]),
        ([1000.0, 999.0], [1.0, -2.7182818]),
        ([0.0, -1000.0], [1.0, 1e308]),
        ([0.0, 0.0, 0.0], [1e308, 1e308, 1e308]),
        ([0.0, -800.0], [1e-300, 1e300]),
        ([1400.0, 0.0], [1e-300, 1e300]),
        ([0.0, 1380.0], [1e300, 1e-300]),
        ([-1.0, -2.0], [5e-324, 1e-323]),
        ([700.0, 1.0], [1e300, 1e300]),
        ([-30.0, -31.0, -35.0], [1e-3, -2e5, 7.0]),
    ],
)
def test_extreme_and_cancelling_weights(a, b):
    exact = exact_logsumexp(a, b)
    # exp of a difference of logits is right to half a place, which a cancelling sum magnifies.
    terms = sum(math.exp(x - max(a)) * abs(w) for x, w in zip(a, b, strict=True))
    magnified = math.exp(math.log(terms) + max(a) - exact) * 2.0**-52 if terms < INF else 0
    got, _ = special.logsumexp(a, b=b, return_sign=True)
    assert abs(got - exact) <= 2 * np.spacing(max(1, abs(exact), *np.abs(a))) + magnified


@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
def test_weights_of_equal_logits_cancel_exactly(dtype):
    # 3 - 1 - (2 - 2**-51): a quotient by any one of the weights would be rounded.
    a, b = np.full(3, 10, dtype), [3.0, -1.0, -(2 - 2.0**-51)]
    np.testing.assert_allclose(special.logsumexp(a, b=b), 10 - 51 * math.log(2), rtol=1e-15)


@pytest.mark.parametrize("spread", [3, 20])
@pytest.mark.parametrize("n", [2, 100, 1000])
def test_weighted_logsumexp_is_right_to_the_last_place(n, spread):
    rng = np.random.default_rng(n + spread)
    a, b = rng.normal(0, spread, (4, n)), rng.uniform(0, 2, n)
    exact = np.array([exact_logsumexp(row, b) for row in a])
    unit = np.spacing(np.maximum(1, np.maximum(np.abs(exact), a.max(1))))
    assert np.all(np.abs(special.logsumexp(a, axis=1, b=b) - exact) <= unit)


def test_weighted_float32_is_summed_in_double_precision_and_rounded_once():
    rng = np.random.default_rng(3)
    a = rng.normal(0, 3, (50, 1000)).astype(np.float32)
    b = rng.uniform(-1, 2, (50, 1000)).astype(np.float32)
    got = special.logsumexp(a, axis=1, b=b)
    exact = special.logsumexp(a.astype(np.float64), axis=1, b=b.astype(np.float64))
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got, exact.astype(np.float32))


def test_complex64_is_computed_in_double_precision_and_rounded_once():
    rng = np.random.default_rng(6)
    x = (rng.normal(0, 3, (50, 30)) + 1j * rng.normal(0, 3, (50, 30))).astype(np.complex64)
    for name in REDUCERS:
        function = getattr(special, name)
        exact = function(x.astype(np.complex128), axis=1)
        np.testing.assert_array_equal(function(x, axis=1), exact.astype(np.complex64))


def test_half_precision_is_rounded_once():
    x = np.random.default_rng(4).normal(0, 3, (50, 200)).astype(np.float16)
    for name in REDUCERS:
        function = getattr(special, name)
        exact = function(x.astype(np.float64), axis=1)
        spacing = np.spacing(np.abs(exact).astype(np.float16)).astype(np.float64)
        error = np.abs(function(x, axis=1).astype(np.float64) - exact)
        assert np.all(error <= 0.501 * spacing)


@pytest.mark.skipif(np.finfo(np.longdouble).nmant <= 52, reason="longdouble is float64 here")
def test_longdouble_keeps_its_extra_digits():
    x = np.array([1, 2, 3], np.longdouble) / 7
    # The float64 path would be off by about 1e-17.
    total = np.exp(x).sum()
    eps = float(np.finfo(np.longdouble).eps)
    np.testing.assert_allclose(special.softmax(x), np.exp(x) / total, rtol=8 * eps)
    np.testing.assert_allclose(special.log_softmax(x), x - np.log(total), rtol=8 * eps)
    np.testing.assert_allclose(special.logsumexp(x), np.log(total), rtol=8 * eps)
    np.testing.assert_allclose(special.expit(x), 1 / (1 + np.exp(-x)), rtol=8 * eps)
    np.testing.assert_allclose(special.log_expit(x), -np.log1p(np.exp(-x)), rtol=8 * eps)


# Complex numbers


@pytest.mark.parametrize("weights", [None, "real", "complex"])
def test_complex_logsumexp_is_the_principal_logarithm_of_the_sum(weights):
    rng = np.random.default_rng(11)
    a = rng.normal(0, 2, (20, 5)) + 1j * rng.normal(0, 30, (20, 5))
    b = None if weights is None else rng.normal(size=5)
    if weights == "complex":
        b = b + 1j * rng.normal(size=5)
    got = special.logsumexp(a, axis=1, b=b)
    wide = np.exp(a.astype(np.clongdouble)) * (1 if b is None else b)
    total = wide.sum(axis=1)
    np.testing.assert_allclose(got, np.log(total).astype(np.complex128), rtol=1e-13, atol=1e-13)
    log_abs, phase = special.logsumexp(a, axis=1, b=b, return_sign=True)
    assert log_abs.dtype == np.float64
    np.testing.assert_array_equal(log_abs, got.real)
    np.testing.assert_allclose(phase, (total / np.abs(total)).astype(np.complex128), atol=1e-13)


@pytest.mark.parametrize(
    ("a", "b", "imaginary"),
    [
        ([4j], None, 4 - 2 * PI),
        ([PI * 1j], None, PI),
        ([-PI * 1j], None, PI),
        ([0j], [-1], PI),
        ([0j], [complex(-1, -0.0)], PI),
        ([1.0, 2.0], [-1 + 0j, -1], PI),
        ([1e5j], None, math.atan2(math.sin(1e5), math.cos(1e5))),
    ],
)
def test_imaginary_part_lies_above_minus_pi_and_up_to_pi(a, b, imaginary):
    got = special.logsumexp(np.asarray(a), b=b).imag
    assert -PI < got <= PI
    np.testing.assert_allclose(got, imaginary, rtol=1e-15)


def test_complex_terms_that_cancel_give_minus_infinity_and_phase_zero():
    for a, b in [([1 + 3j, 1 + 3j], [1, -1]), ([0.0, 0.0], [1j, -1j]), ([-INF + 1j], None)]:
        a = np.array(a)
        log_abs, phase = special.logsumexp(a, b=b, return_sign=True)
        assert (log_abs, phase) == (-INF, 0)
        assert special.logsumexp(a, b=b) == complex(-INF, 0)


def test_infinite_complex_terms_need_one_direction():
    def turned(angle):
        return complex(INF, angle)

    assert special.logsumexp(np.array([turned(1.0), 0])) == turned(1.0)
    assert special.logsumexp(np.array([turned(1.0), turned(1.0)])) == turned(1.0)
    assert special.logsumexp(np.array([INF + 0j, 0])) == complex(INF, 0)
    for a in ([turned(1.0), turned(2.0)], [complex(NAN, 0), 0], [complex(0, INF), 0]):
        log_abs, phase = special.logsumexp(np.array(a), return_sign=True)
        assert np.isnan(log_abs)
        assert np.isnan(phase)


def test_infinite_complex_weights_point_along_their_infinite_part():
    for weight, angle in [(complex(INF, 0), 0), (complex(-INF, 1), PI), (complex(1, INF), PI / 2)]:
        log_abs, phase = special.logsumexp([1.0, 2.0], b=[weight, 1], return_sign=True)
        assert log_abs == INF
        np.testing.assert_allclose(phase, complex(math.cos(angle), math.sin(angle)), atol=1e-15)


def test_imaginary_part_does_not_count_where_the_exponential_is_zero():
    x = np.array([complex(-INF, INF), 0])
    np.testing.assert_array_equal(special.softmax(x), [0, 1])
    assert special.log_softmax(x)[1] == 0
    assert special.logsumexp(x) == 0


def test_exp_of_complex_log_softmax_is_softmax():
    rng = np.random.default_rng(2)
    x = rng.normal(0, 3, (6, 4)) + 1j * rng.normal(0, 3, (6, 4))
    p = special.softmax(x, axis=1)
    np.testing.assert_allclose(p.sum(axis=1), np.ones(6), rtol=1e-13)
    np.testing.assert_allclose(np.exp(special.log_softmax(x, axis=1)), p, rtol=1e-13)


# The sigmoid


@pytest.mark.parametrize("char", "fdg")
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_elementwise_extremes_agree_with_scipy(name, char):
    ours, theirs = both(name)
    x = np.array([-INF, -1e4, -50.0, -1.0, -1e-30, -0.0, 0.0, 1.0, 50.0, 1e4, INF, NAN], char)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        got = ours(x)
    rtol = 5e-7 if char == "f" else 2e-15
    # atol: results below the smallest normal may be flushed to zero.
    np.testing.assert_allclose(got, quiet(theirs, x), rtol=rtol, atol=np.finfo("f").tiny)


@pytest.mark.parametrize("name", ELEMENTWISE)
@pytest.mark.parametrize("x_char", "fdgi")
@pytest.mark.parametrize("out_char", "efdg")
def test_out_receives_the_result_as_from_a_ufunc(name, x_char, out_char):
    ours, theirs = both(name)
    x = np.array([[-2, 0, 3], [1, 2, -1]]).astype(x_char)
    got, expected = np.full((2, 3), NAN, out_char), np.full((2, 3), NAN, out_char)
    theirs(x, out=expected)
    assert ours(x, out=got) is got
    rtol = {"e": 1e-3, "f": 1e-6}.get(out_char, 1e-6 if x_char == "f" else 1e-14)
    assert_alike(got, expected, rtol=rtol)


@pytest.mark.parametrize("name", ELEMENTWISE)
@pytest.mark.parametrize("char", "fdg")
def test_out_may_be_the_input_a_view_a_tuple_or_larger(name, char):
    function = getattr(special, name)
    x = np.linspace(-3, 3, 7).astype(char)
    expected = function(x)
    inplace = x.copy()
    assert function(inplace, out=inplace) is inplace
    np.testing.assert_array_equal(inplace, expected)
    shifted = np.append(x, x[:1])
    function(shifted[:-1], shifted[1:])
    np.testing.assert_array_equal(shifted[1:], expected)
    once = np.empty_like(x)
    function(x, out=(once,))
    np.testing.assert_array_equal(once, expected)
    larger = np.empty((2, 7), char)
    function(x, out=larger)
    np.testing.assert_array_equal(larger, [expected, expected])


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_where_selects_the_elements_of_out_to_write(name):
    x = np.array([1.0, 2.0, 3.0])
    out = np.full(3, 9.0)
    function = getattr(special, name)
    function(x, out=out, where=[True, False, True])
    np.testing.assert_array_equal(out, np.where([True, False, True], function(x), 9.0))


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_dtype_is_that_of_computation_and_result(name):
    ours, theirs = both(name)
    x = np.array([0.1, 2.0])
    for dtype in (np.float32, np.float64, np.longdouble):
        rtol = 1e-6 if dtype is np.float32 else 1e-15
        assert_alike(ours(x, dtype=dtype), theirs(x, dtype=dtype), rtol=rtol)
    for dtype in (np.float16, int, complex):
        with pytest.raises(TypeError, match="dtype must be"):
            ours(x, dtype=dtype)


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_wrong_out_is_rejected_and_left_alone(name):
    function = getattr(special, name)
    x = np.zeros((2, 3))
    frozen = np.full((2, 3), 9.0)
    frozen.flags.writeable = False
    for out, error in [
        (np.full((3, 2), 9.0), ValueError),
        (np.full(3, 9.0), ValueError),
        (np.full((2, 3), 9), TypeError),
        ([9.0], TypeError),
        (frozen, ValueError),
        ((np.full((2, 3), 9.0),) * 2, ValueError),
    ]:
        with pytest.raises(error, match="out"):
            function(x, out=out)
        assert np.all(np.asarray(out) == 9)


# Errors


@pytest.mark.parametrize("char", "dlgDb")
@pytest.mark.parametrize("name", REDUCERS)
def test_wrong_axis_raises_what_scipy_raises(name, char):
    ours, theirs = both(name)
    x = np.zeros((2, 3), char)
    for axis, error in [
        (2, np.exceptions.AxisError),
        (-3, np.exceptions.AxisError),
        ((0, 5), np.exceptions.AxisError),
        ((0, 0), ValueError),
        ((0, -2), ValueError),
        (1.0, TypeError),
        ([0, 1], TypeError),
        ("a", TypeError),
    ]:
        for function in (ours, theirs):
            with pytest.raises(error):
                function(x, axis=axis)


@pytest.mark.parametrize(
    "x",
    [
        None,
        "a",
        ["1", "2"],
        {},
        [object()],
        np.array([1.5, None]),
        np.array(["2020-01-01"], "M8[D]"),
        np.zeros(2, "f4,f4"),
    ],
    ids=["None", "str", "list of str", "dict", "object", "with None", "datetime", "structured"],
)
@pytest.mark.parametrize("name", [*REDUCERS, *ELEMENTWISE])
def test_what_is_no_number_raises_type_error(name, x):
    argument = "a" if name == "logsumexp" else "x"
    with pytest.raises(TypeError, match=rf"^{argument} must hold"):
        getattr(special, name)(x)


@pytest.mark.parametrize("name", [*REDUCERS, *ELEMENTWISE])
def test_masked_elements_raise_type_error(name):
    function = getattr(special, name)
    data = np.array([1.0, 2.0, 3.0])
    with pytest.raises(TypeError, match="masked"):
        function(np.ma.masked_array(data, [False, True, False]))
    np.testing.assert_array_equal(function(np.ma.masked_array(data)), function(data))


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_sigmoid_of_complex_numbers_raises_type_error(name):
    for function in both(name):
        with pytest.raises(TypeError):
            function(np.array([1j]))


def test_wrong_weights_name_the_argument():
    with pytest.raises(TypeError, match=r"^b must hold"):
        special.logsumexp([1.0, 2.0], b=["x", "y"])
    with pytest.raises(ValueError, match=r"a and b must broadcast, got shapes \(2, 3\) and \(2,\)"):
        special.logsumexp(np.zeros((2, 3)), b=np.ones(2))


@pytest.mark.parametrize("char", "dgD")
def test_inputs_are_left_alone(char):
    a, b = np.array([[1.0, -2.0, 3.0]], char), np.array([0.0, -1.0, 2.0], char)
    before = a.copy(), b.copy()
    for function in (special.softmax, special.log_softmax, special.logsumexp):
        function(a, axis=1)
    special.logsumexp(a, b=b, return_sign=True)
    np.testing.assert_array_equal(a, before[0])
    np.testing.assert_array_equal(b, before[1])
