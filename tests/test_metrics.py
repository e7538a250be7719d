"""fastlogits.metrics: the figures against a plain float64 computation, and every wrong argument."""

import dataclasses
import doctest
import json
import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastlogits
from fastlogits import _sweep, metrics
from fastlogits.metrics import Scores, score


def by_hand(logits, labels, *, weights=None, k=5, n_bins=15, ignore_index=-100, temperature=1.0):
    """Return the scores from their definitions, in extended precision."""
    n_classes = np.shape(logits)[-1]
    y = np.asarray(labels).ravel()
    counts = y != ignore_index
    w = np.ones(y.size) if weights is None else np.asarray(weights).ravel()
    x = np.asarray(logits).reshape(-1, n_classes)[counts].astype(np.longdouble)
    y, w = y[counts].astype(np.intp), w[counts].astype(np.longdouble)
    w = w / w.sum()
    z = x / np.longdouble(temperature)
    z = z - z.max(axis=1, keepdims=True)
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    rows = np.arange(len(x))
    hits = x.argmax(axis=1) == y
    best = np.argsort(-x, axis=1, kind="stable")[:, :k]
    confidence = p.max(axis=1)
    bins = np.clip(np.ceil(confidence * n_bins).astype(int) - 1, 0, n_bins - 1)
    parts = [bins == b for b in range(n_bins)]
    nll = np.sum(w * (np.log(np.exp(z).sum(axis=1)) - z[rows, y]))
    distances = [abs(np.sum((w * (confidence - hits))[part])) for part in parts]
    shares = [np.sum(w[part]) for part in parts]
    with np.errstate(invalid="ignore"):
        figures = {
            "n": len(x),
            "n_classes": n_classes,
            "nll": nll,
            "perplexity": np.exp(nll),
            "accuracy": np.sum(w * hits),
            "k": k,
            "top_k_accuracy": np.sum(w * (best == y[:, np.newaxis]).any(axis=1)),
            "brier": np.sum(w * np.sum((p - np.eye(n_classes)[y]) ** 2, axis=1)),
            "ece": np.sum(distances),
            "mce": max(d / s for d, s in zip(distances, shares, strict=True) if s),
            "bin_edges": [edge / n_bins for edge in range(n_bins + 1)],
            "bin_count": np.array([np.count_nonzero(part) for part in parts]),
            "bin_confidence": [np.sum((w * confidence)[p]) / np.sum(w[p]) for p in parts],
            "bin_accuracy": [np.sum((w * hits)[p]) / np.sum(w[p]) for p in parts],
        }
    return {name: np.asarray(value, np.float64) for name, value in figures.items()}


def assert_close(found, expected, dtype=np.float32, *, weighted=False):
    """What is counted is the same. A row's loss is within 2 units in the last place, so its mean is
    too; a probability is within 2 as well, of at most 1. With weights, the product, both sums and
    the quotient are rounded to half a unit of float64 at least."""
    eps = float(np.finfo(dtype).eps)
    eps_of_sums = 4 / 2 * float(np.finfo(np.float64).eps) if weighted else 0
    for name, value in expected.items():
        got = getattr(found, name)
        if name in ("n", "n_classes", "k", "bin_count", "bin_edges"):
            np.testing.assert_array_equal(got, value, err_msg=name)
        else:
            relative = 2 * eps + eps_of_sums
            if name == "perplexity":
                relative *= 1 + expected["nll"]
            absolute = 0 if name in ("nll", "perplexity") else 8 * eps
            np.testing.assert_allclose(got, value, rtol=relative, atol=absolute, err_msg=name)


@pytest.fixture
def small_blocks(monkeypatch):
    """Make blocks of a few rows, so that small arrays have many."""
    monkeypatch.setattr(_sweep, "BLOCK_ELEMENTS", 64)


def sample(rng, *shape, dtype=np.float32):
    logits = rng.normal(0, 3, shape).astype(dtype)
    return logits, rng.integers(0, shape[-1], shape[:-1])


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize(
    "shape", [(1, 1), (1, 2), (7, 10), (100, 10), (33, 64), (5, 65), (3, 1000)]
)
@pytest.mark.parametrize("temperature", [1.0, 0.25, 1.5, np.float32(3)])
@pytest.mark.parametrize("weighted", [False, True])
def test_figures(rng, shape, dtype, temperature, weighted):
    logits, labels = sample(rng, *shape, dtype=dtype)
    labels[::3] = logits[::3].argmax(axis=-1)
    weights = rng.uniform(0, 2, len(labels)) if weighted else None
    options = {"k": 3, "n_bins": 10, "temperature": temperature}
    found = score(logits, labels, sample_weight=weights, **options)
    computed = np.result_type(dtype, np.float32)
    expected = by_hand(logits, labels, weights=weights, **options)
    assert_close(found, expected, computed, weighted=weighted)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("label_type", [*np.typecodes["AllInteger"], "<i8", ">i8", ">u2"])
def test_label_dtypes(rng, label_type):
    logits, labels = sample(rng, 50, 10)
    assert score(logits, labels.astype(label_type)) == score(logits, labels)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("temperature", [1.0, 2.0])
@pytest.mark.parametrize("ignore_index", [-100, -1, 3, 255])
def test_ignored_rows_do_not_count(rng, ignore_index, temperature):
    logits, labels = sample(rng, 60, 10)
    labels[5:30:2] = ignore_index
    logits[labels == ignore_index] = np.nan
    found = score(logits, labels, ignore_index=ignore_index, temperature=temperature)
    assert found.n == np.count_nonzero(labels != ignore_index)
    expected = by_hand(logits, labels, ignore_index=ignore_index, temperature=temperature)
    assert_close(found, expected)


MEANS = ["nll", "perplexity", "accuracy", "top_k_accuracy", "brier", "ece", "mce"]


@pytest.mark.parametrize("rows", [0, 4])
@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_no_row_counts(rows, temperature):
    labels = np.full(rows, -100)
    found = score(np.zeros((rows, 3), np.float32), labels, temperature=temperature)
    assert (found.n, found.n_classes) == (0, 3)
    assert all(math.isnan(getattr(found, name)) for name in MEANS)
    assert not found.bin_count.any()
    assert np.isnan(found.bin_confidence).all()
    assert np.isnan(found.bin_accuracy).all()


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_axes_and_layouts(rng, temperature):
    logits, labels = sample(rng, 4, 9, 10)
    flat = score(logits.reshape(-1, 10), labels.reshape(-1), temperature=temperature)
    wide = np.repeat(logits, 2, axis=-1)
    for same in (
        logits,
        np.asfortranarray(logits),
        np.ascontiguousarray(logits.transpose(1, 0, 2)).transpose(1, 0, 2),
        wide[..., ::2],
        logits[::-1][::-1],
    ):
        assert score(same, labels, temperature=temperature) == flat
        assert score(same, np.asfortranarray(labels), temperature=temperature) == flat
    assert score(logits[0, 0], labels[0, 0]) == score(logits[0, :1], labels[0, :1])


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("shape", [(60, 10), (6, 10, 10)])
def test_weights(rng, shape):
    logits, labels = sample(rng, *shape)
    weights = rng.integers(0, 4, labels.shape)
    found = score(logits, labels, sample_weight=weights)
    repeated = [np.repeat(a.reshape(60, -1), weights.ravel(), axis=0) for a in (logits, labels)]
    copies = score(repeated[0], repeated[1].ravel())
    assert found.n == 60
    assert copies.n == weights.sum()
    for name in MEANS:
        assert getattr(found, name) == pytest.approx(getattr(copies, name), rel=1e-12)
    np.testing.assert_allclose(found.bin_confidence, copies.bin_confidence, rtol=1e-12)
    np.testing.assert_allclose(found.bin_accuracy, copies.bin_accuracy, rtol=1e-12)


@pytest.mark.parametrize(
    "weights", [np.zeros(4), np.zeros(4, int), np.zeros(4, bool), [0.0] * 4], ids=str
)
def test_no_weight_counts(weights):
    found = score(np.zeros((4, 3)), [0, 1, 2, 0], sample_weight=weights)
    assert found.n == 4
    assert all(math.isnan(getattr(found, name)) for name in MEANS)


@given(st.integers(1, 40), st.integers(1, 12), st.integers(1, 200), st.booleans())
def test_blocks_merge(n_rows, n_classes, block, weighted):
    rng = np.random.default_rng(n_rows)
    logits, labels = sample(rng, n_rows, n_classes)
    labels[::7] = -100
    weights = rng.uniform(0, 2, n_rows) if weighted else None
    whole = score(logits, labels, sample_weight=weights, n_bins=7)
    order = rng.permutation(n_rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_sweep, "BLOCK_ELEMENTS", block)
        blocks = score(logits, labels, sample_weight=weights, n_bins=7)
        shuffled = score(
            logits[order],
            labels[order],
            sample_weight=None if weights is None else weights[order],
            n_bins=7,
        )
    for other in (blocks, shuffled):
        for name, value in vars(whole).items():
            # Sums of the same numbers in another order.
            np.testing.assert_allclose(getattr(other, name), value, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_bins_include_their_upper_edge(dtype):
    # Confidence 1/4, 1/2 and 1, exactly.
    logits = np.array([[0, 0, 0, 0], [0, 0, -np.inf, -np.inf], [0, *[-np.inf] * 3]], dtype)
    found = score(logits, [0, 0, 0], n_bins=4)
    assert found.bin_count.tolist() == [1, 1, 0, 1]
    assert found.bin_confidence[[0, 1, 3]].tolist() == [0.25, 0.5, 1]
    assert (found.ece, found.mce) == pytest.approx(((0.75 + 0.5) / 3, 0.75))


@pytest.mark.parametrize("k", [1, 2, 3, 4, 10**30])
def test_of_equal_logits_the_first_come_first(k):
    logits = np.zeros((4, 4), np.float32)
    assert score(logits, np.arange(4), k=k).top_k_accuracy == min(k, 4) / 4
    assert score([[0.0, 0.0, 1.0, 0.0]] * 4, [2, 0, 1, 3], k=k).top_k_accuracy == min(k, 4) / 4


@pytest.mark.usefixtures("small_blocks")
def test_same_bits_with_any_number_of_threads(rng):
    logits, labels = sample(rng, 1000, 30)
    expected = score(logits, labels)
    for threads in (1, 2, 3, 8):
        with fastlogits.num_threads(threads):
            assert score(logits, labels) == expected


def test_lists_and_integers():
    logits, labels = [[2, 0], [0, 1], [3, 1]], [0, 1, 1]
    assert_close(score(logits, labels), by_hand(logits, labels), np.float64)


def test_equal_logits_and_nan_follow_numpy():
    nan = math.nan
    rows = [[1.0, 1.0, 0.0], [1.0, nan, nan]]
    assert score(rows[:1], [0]).accuracy == 1
    assert score(rows[:1], [1]).accuracy == 0
    assert score(rows[1:], [1]).accuracy == 1
    assert score(rows[1:], [2]).accuracy == 0
    found = score(rows, [0, 1])
    assert math.isnan(found.nll)
    assert found.accuracy == 1


def test_impossible_class_is_infinitely_unlikely():
    found = score([[0.0, -math.inf]], [1])
    assert (found.nll, found.perplexity, found.accuracy) == (math.inf, math.inf, 0)
    assert score([[0.0, -5000.0]], [1]).perplexity == math.inf


def test_scores_read_well():
    scores = score([[2.0, 0.0], [0.0, 1.0], [3.0, 1.0]], [0, 1, 1], n_bins=4)
    assert repr(scores) == (
        "Scores(n=3, n_classes=2, nll=0.855706, perplexity=2.35303, accuracy=0.666667, k=5, "
        "top_k_accuracy=1, brier=0.574895, ece=0.343512, mce=0.380797)"
    )
    with pytest.raises(dataclasses.FrozenInstanceError):
        scores.n = 0


def test_scores_as_dict_are_plain_python(rng):
    found = score(*sample(rng, 5, 3), n_bins=2).as_dict()
    assert list(found) == [field.name for field in dataclasses.fields(Scores)]
    kinds = {name: type(value) for name, value in found.items() if name not in MEANS}
    assert kinds == dict.fromkeys(("n", "n_classes", "k"), int) | dict.fromkeys(
        ("bin_edges", "bin_count", "bin_confidence", "bin_accuracy"), list
    )
    assert {type(found[name]) for name in MEANS} == {float}
    assert {type(n) for n in found["bin_count"]} == {int}
    assert json.loads(json.dumps(found))["bin_count"] == found["bin_count"]


def test_a_bin_includes_its_upper_edge_to_the_last_bit():
    found = score(np.zeros((1, 10)), [0], n_bins=70)
    assert found.bin_edges[7] == 0.1  # np.linspace's is below
    assert np.flatnonzero(found.bin_count) == [6]
    assert found.bin_confidence[6] == 0.1


def test_scores_are_equal_where_their_figures_are(rng):
    logits, labels = sample(rng, 50, 10)
    assert score(logits, labels) == score(logits, labels)
    assert score(logits, labels) != score(logits, labels, n_bins=10)
    assert score(logits, labels) != score(logits, labels, temperature=1.5)
    assert score(logits[:0], labels[:0]) == score(logits[:0], labels[:0])
    assert score(logits, labels) != "scores"


def test_example_of_as_dict():
    runner = doctest.DocTestRunner()
    for example in doctest.DocTestFinder(recurse=False).find(Scores.as_dict, globs={}):
        runner.run(example)
    assert runner.summarize().failed == 0


def test_progress(rng, monkeypatch):
    monkeypatch.setattr(_sweep, "BLOCK_ELEMENTS", 64)
    seen = []
    logits, labels = sample(rng, 15, 10)
    metrics.score_blocks(logits, labels, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(6, 15), (12, 15), (15, 15)]


@pytest.mark.parametrize("temperature", [1.0, 2.0])
@pytest.mark.parametrize("order", ["C", "F"])
def test_memory_does_not_grow_with_the_file(tmp_path, order, temperature):
    # 256 MB that take no room on most disks.
    logits = np.lib.format.open_memmap(
        tmp_path / "logits.npy", "w+", np.float32, (64, 1 << 20), fortran_order=order == "F"
    )
    labels = np.zeros(64, np.int64)
    tracemalloc.start()
    try:
        found = score(logits, labels, temperature=temperature)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found.nll == pytest.approx(20 * math.log(2))
    assert peak < 100e6


LOGITS = np.zeros((4, 3), np.float32)
LABELS = np.array([0, 1, 2, 0])


@pytest.mark.parametrize(
    ("logits", "labels", "options", "error", "words"),
    [
        (LOGITS, LABELS[:3], {}, ValueError, r"labels: expected shape \(4,\).*got \(3,\)"),
        (LOGITS, LABELS[:, np.newaxis], {}, ValueError, r"labels: .*got \(4, 1\)"),
        (LOGITS[0], LABELS, {}, ValueError, r"labels: expected shape \(\)"),
        (np.float32(1), LABELS, {}, ValueError, r"logits: .*got shape \(\)"),
        (LOGITS[:, :0], LABELS, {}, ValueError, r"logits: .*got shape \(4, 0\)"),
        (LOGITS, LABELS.astype(float), {}, TypeError, "labels: .*integer.*float64"),
        (LOGITS, LABELS.astype(bool), {}, TypeError, "labels: .*integer.*bool"),
        (LOGITS, LABELS.astype(str), {}, TypeError, "labels: .*integer"),
        (LOGITS, LABELS.astype(object), {}, TypeError, "labels: .*object"),
        (LOGITS, np.ma.masked_equal(LABELS, 2), {}, TypeError, "labels .*masked"),
        (np.ma.masked_equal(LOGITS, 0), LABELS, {}, TypeError, "logits .*masked"),
        (LOGITS.astype(complex), LABELS, {}, TypeError, "logits: .*complex128"),
        (LOGITS.astype(object), LABELS, {}, TypeError, "logits: .*object"),
        (LOGITS.astype(str), LABELS, {}, TypeError, "logits: "),
        (LOGITS, LABELS, {"temperature": 0}, ValueError, "temperature: .*got 0"),
        (LOGITS, LABELS, {"temperature": -1.5}, ValueError, "temperature: .*got -1.5"),
        (LOGITS, LABELS, {"temperature": math.nan}, ValueError, "temperature: .*nan"),
        (LOGITS, LABELS, {"temperature": math.inf}, ValueError, "temperature: .*inf"),
        (LOGITS, LABELS, {"temperature": "1"}, TypeError, "temperature: .*'1'"),
        (LOGITS, LABELS, {"temperature": None}, TypeError, "temperature: .*None"),
        (LOGITS, LABELS, {"temperature": [1.0]}, TypeError, "temperature: "),
        (LOGITS, LABELS, {"ignore_index": 0.5}, TypeError, "ignore_index: .*float"),
        (LOGITS, LABELS, {"ignore_index": None}, TypeError, "ignore_index: .*NoneType"),
        (LOGITS, LABELS, {"k": 0}, ValueError, "k: expected at least 1, got 0"),
        (LOGITS, LABELS, {"k": 2.0}, TypeError, "k: expected an integer, got float"),
        (LOGITS, LABELS, {"n_bins": -3}, ValueError, "n_bins: expected at least 1, got -3"),
        (
            LOGITS,
            LABELS,
            {"n_bins": 10_001},
            ValueError,
            "n_bins: expected at most 10000, got 10001",
        ),
        (LOGITS, LABELS, {"n_bins": None}, TypeError, "n_bins: .*NoneType"),
        (LOGITS, LABELS, {"sample_weight": [1, 2]}, ValueError, r"sample_weight: .*got \(2,\)"),
        (LOGITS, LABELS, {"sample_weight": 1.0}, ValueError, r"sample_weight: .*got \(\)"),
        (
            LOGITS,
            LABELS,
            {"sample_weight": [1, 2, -1, 0]},
            ValueError,
            r"sample_weight\[2\]: expected no less than 0, got -1",
        ),
        (
            LOGITS,
            LABELS,
            {"sample_weight": [1, 2, 1, math.nan]},
            ValueError,
            r"sample_weight\[3\]: .*got nan",
        ),
        (LOGITS, LABELS, {"sample_weight": list("abcd")}, TypeError, "sample_weight: .*<U1"),
    ],
)
def test_wrong_arguments(logits, labels, options, error, words):
    with pytest.raises(error, match=words):
        score(logits, labels, **options)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("temperature", [1.0, 2.0])
@pytest.mark.parametrize(
    "bad", [-1, 10, -101, 2**31, -(2**63), 2**63 - 1, np.uint64(2**63), np.uint64(2**64 - 1)]
)
def test_label_out_of_range_has_its_place_and_value(rng, bad, temperature):
    logits, labels = sample(rng, 200, 10)
    labels = labels.astype(np.asarray(bad).dtype)
    labels[150] = bad
    with pytest.raises(IndexError, match=rf"labels\[150\]: expected 0 to 9.*got {bad}$"):
        score(logits, labels, temperature=temperature)
    with pytest.raises(IndexError, match=rf"labels\[7, 10\]: .*got {bad}$"):
        score(logits.reshape(10, 20, 10), labels.reshape(10, 20), temperature=temperature)


def test_label_is_checked_before_anything_is_read(rng):
    logits, labels = sample(rng, 200, 10)
    labels[-1] = 10
    seen = []
    with pytest.raises(IndexError):
        metrics.score_blocks(logits, labels, progress=lambda *done: seen.append(done))
    assert not seen
