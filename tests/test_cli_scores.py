"""`fastlogits score` and `calibrate`: the figures are the library's, in every form they come in."""

import json
import math

import numpy as np
import pytest
from command_line import assert_fails, command, names, save_rows, succeeds

from fastlogits import softmax
from fastlogits.metrics import score


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rows")
    save_rows(folder)
    return folder


def scores(folder, **options):
    return score(np.load(folder / "logits.npy"), np.load(folder / "labels.npy"), **options)


def as_json(scores, temperature=1.0):
    """What JSON makes of scores: numbers, lists, and null for what is not finite."""
    return {
        "temperature": temperature,
        **json.loads(json.dumps(scores.as_dict()), parse_constant=lambda name: None),
    }


def figures(printed):
    """{name: [figure of each column]} of a plain table."""
    return {line[:28].rstrip(): line[28:].split() for line in printed.splitlines()}


@pytest.mark.parametrize(
    ("logits", "labels"),
    [
        ("logits.npy", "labels.npy"),
        ("logits.npy", "labels.txt"),
        ("logits.npy", "one.npz"),
        ("both.npz:logits", "both.npz:labels"),
        ("logits.npy", "both.npz:labels"),
        ("{folder}/logits.npy", "{folder}/both.npz:labels"),
    ],
)
def test_files(folder, logits, labels):
    files = [name.format(folder=folder) for name in (logits, labels)]
    assert json.loads(succeeds("score", *files, "--json", cwd=folder)) == as_json(scores(folder))


def test_options(folder):
    arguments = ["logits.npy", "labels.npy", "--temperature", "0.5", "--bins", "4", "--top-k", "2"]
    expected = scores(folder, temperature=0.5, n_bins=4, k=2)
    found = json.loads(succeeds("score", *arguments, "--json", cwd=folder))
    assert found == as_json(expected, 0.5)
    assert None in found["bin_accuracy"]  # No row of ten classes has so little confidence.

    assert succeeds("score", *arguments, cwd=folder).splitlines() == [
        "temperature                 0.5",
        "rows                        299",
        "classes                     10",
        f"negative log-likelihood     {expected.nll:.6g}",
        f"perplexity                  {expected.perplexity:.6g}",
        f"accuracy                    {expected.accuracy:.6g}",
        f"top-2 accuracy              {expected.top_k_accuracy:.6g}",
        f"Brier score                 {expected.brier:.6g}",
        f"expected calibration error  {expected.ece:.6g}",
        f"maximum calibration error   {expected.mce:.6g}",
    ]


def test_score_of_no_rows(tmp_path):
    np.save(tmp_path / "logits.npy", np.zeros((0, 10), np.float32))
    np.save(tmp_path / "labels.npy", np.zeros(0, np.int64))
    found = json.loads(succeeds("score", "logits.npy", "labels.npy", "--json", cwd=tmp_path))
    assert (found["n"], found["n_classes"], found["nll"], found["ece"]) == (0, 10, None, None)
    assert found["bin_accuracy"] == [None] * 15


@pytest.mark.parametrize("shape", [(10,), (1, 10), (2, 3, 10)])
def test_calibrate_rows_of_any_shape(shape, tmp_path):
    rng = np.random.default_rng(0)
    np.save(tmp_path / "logits.npy", rng.normal(0, 3, shape))
    np.save(tmp_path / "labels.npy", rng.integers(0, 10, shape[:-1]))
    done = command("score", "logits.npy", "labels.npy", "--calibrate", "--json", cwd=tmp_path)
    assert done.returncode == 0
    found = json.loads(done.stdout)
    assert found["nll"] <= found["before"]["nll"]
    assert found["n"] == math.prod(shape[:-1])


def test_calibrate(folder, tmp_path):
    files = [folder / "logits.npy", folder / "labels.npy"]
    printed = succeeds("calibrate", *files, "-o", "temperature.json", cwd=tmp_path)
    written = json.loads((tmp_path / "temperature.json").read_text())
    t = written["temperature"]
    assert 1.5 < t < 3  # The logits are twice those that the labels were drawn from.
    before, after = scores(folder), scores(folder, temperature=t)
    assert written == {
        "temperature": t,
        "n": 299,
        "n_classes": 10,
        "nll_before": before.nll,
        "nll": after.nll,
    }
    found = figures(printed)
    assert found[""] == ["before", "after"]
    assert found["temperature"] == ["1", f"{t:.6g}"]
    assert found["expected calibration error"] == [f"{s.ece:.6g}" for s in (before, after)]

    # No other temperature is better, and score finds and reads the same.
    for other in (0.99 * t, 1.01 * t):
        assert scores(folder, temperature=other).nll > after.nll
    assert succeeds("score", *files, "--calibrate", cwd=tmp_path) == printed
    arguments = [*files, "--temperature", "temperature.json", "--json"]
    assert json.loads(succeeds("score", *arguments, cwd=tmp_path)) == as_json(after, t)
    found = json.loads(succeeds("score", *files, "--calibrate", "--json", cwd=tmp_path))
    assert found == as_json(after, t) | {"before": as_json(before)}
    assert names(tmp_path) == ["temperature.json"]


def test_calibrate_needs_no_scikit_learn(folder):
    before = "sys.modules |= dict.fromkeys(['sklearn', 'scipy', 'matplotlib', 'rich'])"
    succeeds("calibrate", "logits.npy", "labels.npy", cwd=folder, before=before)


@pytest.mark.parametrize(("pick", "limit"), [("argmax", "4.53999e-05"), ("argmin", "22026.5")])
def test_no_best_temperature(folder, tmp_path, pick, limit):
    logits = np.load(folder / "logits.npy")
    np.save(tmp_path / "labels.npy", getattr(logits, pick)(axis=1))
    done = command("calibrate", folder / "logits.npy", "labels.npy", cwd=tmp_path)
    assert done.returncode == 0
    assert done.stderr == (
        f"fastlogits: warning: the temperature is at its limit, {limit}: "
        "the loss falls on beyond it\n"
    )


@pytest.mark.parametrize("options", [[], ["--calibrate", "--json"]])
def test_plot(folder, tmp_path, options):
    pytest.importorskip("matplotlib", reason="plots need matplotlib")
    files = [folder / "logits.npy", folder / "labels.npy"]
    succeeds("score", *files, *options, "--plot", "new.png", cwd=tmp_path)
    assert (tmp_path / "new.png").read_bytes().startswith(b"\x89PNG")
    assert names(tmp_path) == ["new.png"]


@pytest.mark.parametrize("temperature", ["0", "-1", "nan", "inf", "warm", ""])
@pytest.mark.parametrize("name", ["score", "softmax"])
def test_wrong_temperature(folder, name, temperature):
    files = {"score": ["logits.npy", "labels.npy"], "softmax": ["logits.npy", "-o", "new.npy"]}
    done = command(name, *files[name], "--temperature", temperature, cwd=folder)
    assert_fails(done, "temperature", f"'{temperature}'")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, ["No such file"]),
        ("", ["no temperature"]),
        ("[1.5]", ["no temperature"]),
        ("1.5", ["no temperature"]),
        ('{"nll": 1.5}', ["no temperature"]),
        ("\xff", ["no temperature"]),
        ("[" * 100_000, ["no temperature"]),
        ('{"temperature": -2}', ["positive", "-2"]),
        ('{"temperature": null}', ["positive", "None"]),
        ('{"temperature": NaN}', ["positive", "nan"]),
        (f'{{"temperature": {10**400}}}', ["positive"]),
    ],
)
def test_wrong_temperature_file(folder, tmp_path, text, words):
    if text is not None:
        (tmp_path / "t.json").write_text(text, encoding="latin-1")
    files = [folder / "logits.npy", folder / "labels.npy"]
    assert_fails(
        command("score", *files, "--temperature", "t.json", cwd=tmp_path), "t.json", *words
    )


@pytest.mark.parametrize(
    ("arguments", "before", "words"),
    [
        (["--temperature", "2", "--calibrate"], None, ["--calibrate", "--temperature"]),
        (["--bins", "0"], None, ["--bins", "'0'"]),
        (["--bins", "1.5"], None, ["--bins", "'1.5'"]),
        (["--top-k", "-1"], None, ["--top-k"]),
        (["--plot", "a.svg"], None, ["a.svg", ".png"]),
        (["--plot", "no/a.png"], None, ["no/a.png", "no such folder"]),
        (["--plot", "a.png"], "sys.modules['matplotlib'] = None", ["fastlogits[cli]"]),
    ],
)
def test_wrong_options(folder, arguments, before, words):
    done = command("score", "logits.npy", "labels.npy", *arguments, cwd=folder, before=before)
    assert_fails(done, *words)


def test_calibrate_wrong_labels(folder, tmp_path):
    np.save(tmp_path / "labels.npy", np.full(300, 10))
    for arguments in (["calibrate"], ["score", "--calibrate"]):
        done = command(*arguments, folder / "logits.npy", "labels.npy", cwd=tmp_path)
        assert_fails(done, "labels[0]", "got 10")


@pytest.mark.parametrize("shape", [(300, 10), (10, 30, 10)])
def test_calibrate_refuses_probabilities(folder, tmp_path, shape):
    np.save(tmp_path / "p.npy", softmax(np.load(folder / "logits.npy")).reshape(shape))
    np.save(tmp_path / "labels.npy", np.load(folder / "labels.npy").reshape(shape[:-1]))
    for arguments in (["calibrate"], ["score", "--calibrate"]):
        done = command(*arguments, "p.npy", "labels.npy", cwd=tmp_path)
        assert_fails(done, "logits", "np.log(p)")


def test_calibrate_with_nothing(folder, tmp_path):
    np.save(tmp_path / "labels.npy", np.full(300, -100))
    for arguments in (["calibrate", "-o", "t.json"], ["score", "--calibrate"]):
        done = command(*arguments, folder / "logits.npy", "labels.npy", cwd=tmp_path)
        assert_fails(done, "labels", "got none")
    assert names(tmp_path) == ["labels.npy"]
