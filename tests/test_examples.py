"""The examples run, and what they print is what they promise."""

import importlib.util
import re
import sys
from pathlib import Path

import numpy as np
import pytest

datasets = pytest.importorskip("sklearn.datasets", reason="the examples train with scikit-learn")
threadpoolctl = pytest.importorskip("threadpoolctl", reason="threadpoolctl is not installed")

EXAMPLES = Path(__file__).parent.parent / "examples"
LIBRARIES = {"xgboost": "XGBoost", "lightgbm": "LightGBM"}


def load(name):
    """The example as a module; its `main` has not run yet."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def printed(capsys):
    """{first words of a line: {words: number}} of what was printed since the last look."""
    found = {}
    for line in capsys.readouterr().out.splitlines():
        name, *figures = re.split("  +", line)
        numbers = (re.match(r"(\D+) (\d\S*)", figure) for figure in figures)
        found[name] = {m[1]: float(m[2]) for m in numbers if m}
    return found


@pytest.fixture(params=LIBRARIES)
def library(request):
    """A boosting library that is installed, by its name."""
    name = request.param
    pytest.importorskip(name, reason=f"{LIBRARIES[name]} is not installed")
    return name


@pytest.fixture(autouse=True)
def one_thread():
    """On small problems the threads of BLAS and OpenMP wait for each other more than they work."""
    with threadpoolctl.threadpool_limits(1):
        yield


def test_softmax_regression_is_that_of_scikit_learn(capsys):
    load("softmax_regression").main()
    found = printed(capsys)
    ours, theirs = found["fastlogits"], found["scikit-learn"]
    assert ours["objective"] == pytest.approx(theirs["objective"], rel=1e-4)
    assert ours["test loss"] == pytest.approx(theirs["test loss"], rel=1e-2)
    assert ours["test accuracy"] >= theirs["test accuracy"] - 0.005


def test_boosting_runs_without_the_libraries(capsys, monkeypatch):
    for name in LIBRARIES:
        monkeypatch.setitem(sys.modules, name, None)  # its import now fails
    load("boosting_objectives").main()
    found = printed(capsys)
    for name in LIBRARIES.values():
        assert found[f"small trees, as {name}"]["accuracy"] > 0.92
        assert found[f"small trees, as {name}"]["loss"] < 0.3
        assert found[name] == {}


def test_boosting_shows_the_libraries(library, capsys, monkeypatch):
    example = load("boosting_objectives")
    monkeypatch.setattr(example, "ROUNDS", 3)
    example.main()
    found, name = printed(capsys), LIBRARIES[library]
    custom, builtin = found[f"{name}, custom"], found[f"{name}, built in"]
    assert builtin.pop("logits at most") < 1e-5
    assert custom == pytest.approx(builtin, abs=1e-3)


def test_calibrated_decisions_keep_their_word(capsys):
    load("calibrated_decisions").main()
    found = printed(capsys)
    before, after = found["as trained"], found["calibrated"]
    assert after["loss"] < before["loss"] / 2
    assert after["calibration error"] < before["calibration error"] / 4
    assert after["accuracy"] == before["accuracy"]
    # What is said with more than 90 % is right more often than that.
    assert found["above 90%"]["accuracy"] > 0.9
    assert 0.5 < found["above 90%"]["share"] < 1
    assert found["left to people"]["accuracy"] < found["above 90%"]["accuracy"]
    assert found["surely a nine"]["of them nines"] > 0.9


def test_onnx_runtime_gives_logits(capsys):
    for name in ("onnx", "onnxruntime"):
        pytest.importorskip(name, reason=f"{name} is not installed")
    load("onnx_runtime").main()
    found = printed(capsys)
    assert found["scores"]["accuracy"] > 0.94
    assert found["scores"]["accuracy of two guesses"] > found["scores"]["accuracy"]
    # The graph computes in float32.
    assert found["probabilities"]["off at most"] < 1e-5


@pytest.mark.parametrize("weighted", [False, True])
def test_custom_objective_gives_the_logits_of_the_built_in_one(library, weighted):
    example = load("boosting_objectives")
    images, digits = datasets.load_digits(return_X_y=True)
    weight = np.random.default_rng(0).uniform(0.5, 2, len(digits)) if weighted else None
    boost = getattr(example, f"boost_{library}")
    custom, builtin = boost(example.TrainingSet(images, digits, weight), images)
    assert custom.shape == (len(images), 10)
    # The logits are up to 9. Measured: XGBoost's, of float32, are 1.4e-6 apart at most. LightGBM
    # has them in float64: they are the same, with weights to 3e-11.
    np.testing.assert_allclose(custom, builtin, rtol=0, atol=1e-5)


def test_objectives_apply_the_weights_of_rows():
    example = load("boosting_objectives")
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(0, 3, (20, 10)), rng.integers(0, 10, 20)
    for objective in (example.xgboost_objective, example.lightgbm_objective):
        once = objective(logits, example.TrainingSet(logits, labels))
        twice = objective(logits, example.TrainingSet(logits, labels, np.full(20, 2.0)))
        for a, b in zip(once, twice, strict=True):
            np.testing.assert_array_equal(2 * a, b)
