"""fastlogits.metrics: the figures against a plain float64 computation, and every wrong argument."""

import dataclasses
import doctest
import math
import tracemalloc

import numpy as np
import pytest

import fastlogits
from fastlogits import metrics
from fastlogits.metrics import Scores, score


def by_hand(logits, labels, ignore_index=-100, temperature=1.0):
    """Return the scores from the definition, in extended precision."""
    x = np.asarray(logits).reshape(-1, np.shape(logits)[-1])
    y = np.asarray(labels).reshape(-1)
    x, y = x[y != ignore_index], y[y != ignore_index].astype(np.intp)
    z = x.astype(np.longdouble) / temperature
    largest = z.max(axis=1)
    losses = largest + np.log(np.exp(z - largest[:, np.newaxis]).sum(axis=1))
    losses -= z[np.arange(len(z)), y]
    nll = float(losses.mean())
    return Scores(len(x), x.shape[1], nll, math.exp(nll), float(np.mean(x.argmax(axis=1) == y)))


def assert_close(found, expected, dtype=np.float32):
    # A row's loss is within 2 units in the last place, and so is the mean.
    assert (found.n, found.n_classes) == (expected.n, expected.n_classes)
    assert found.accuracy == expected.accuracy
    tolerance = 2 * float(np.finfo(dtype).eps)
    assert found.nll == pytest.approx(expected.nll, rel=tolerance, abs=0)
    tolerance *= 1 + expected.nll
    assert found.perplexity == pytest.approx(expected.perplexity, rel=tolerance, abs=0)


@pytest.fixture
def small_blocks(monkeypatch):
    """Make blocks of a few rows, so that small arrays have many."""
    monkeypatch.setattr(metrics, "_BLOCK_ELEMENTS", 64)


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
def test_figures(rng, shape, dtype, temperature):
    logits, labels = sample(rng, *shape, dtype=dtype)
    labels[::3] = logits[::3].argmax(axis=-1)
    found = score(logits, labels, temperature=temperature)
    computed = np.result_type(dtype, np.float32)
    assert_close(found, by_hand(logits, labels, temperature=float(temperature)), computed)


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
    assert_close(found, by_hand(logits, labels, ignore_index, temperature))


@pytest.mark.parametrize("rows", [0, 4])
@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_no_row_counts(rows, temperature):
    labels = np.full(rows, -100)
    found = score(np.zeros((rows, 3), np.float32), labels, temperature=temperature)
    assert (found.n, found.n_classes) == (0, 3)
    assert math.isnan(found.nll)
    assert math.isnan(found.perplexity)
    assert math.isnan(found.accuracy)


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
    scores = Scores(n=360, n_classes=10, nll=0.12345678, perplexity=1.1314, accuracy=1.0)
    assert repr(scores) == (
        "Scores(n=360, n_classes=10, nll=0.123457, perplexity=1.1314, accuracy=1)"
    )
    assert scores.as_dict() == {
        "n": 360,
        "n_classes": 10,
        "nll": 0.12345678,
        "perplexity": 1.1314,
        "accuracy": 1.0,
    }
    with pytest.raises(dataclasses.FrozenInstanceError):
        scores.n = 0


def test_scores_are_plain_python_numbers(rng):
    types = [type(value) for value in score(*sample(rng, 5, 3)).as_dict().values()]
    assert types == [int, int, float, float, float]


@pytest.mark.parametrize(
    "function", [metrics, metrics.score, metrics.Scores.as_dict], ids=lambda f: f.__name__
)
def test_examples(function):
    runner = doctest.DocTestRunner()
    for example in doctest.DocTestFinder(recurse=False).find(function, globs={}):
        runner.run(example)
    assert runner.summarize().failed == 0


def test_progress(rng, monkeypatch):
    monkeypatch.setattr(metrics, "_BLOCK_ELEMENTS", 64)
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
