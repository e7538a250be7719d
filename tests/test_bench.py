"""`fastlogits bench`: the figures are of the same work, and arrive where they should."""

import json
import os
import re
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from checks import shown_on_a_terminal

import fastlogits
from fastlogits.bench import cases, table, targets, timing
from fastlogits.bench.cases import Data, Shape
from fastlogits.bench.libraries import LIBRARIES, OWN

FAST = ["--shape", "4x12", "--operation", "softmax", "argmax", "--rounds", "1"]


def bench(*arguments, cwd, before="pass"):
    """Run the command in `cwd`, after the statement `before`."""
    code = f"import sys; {before}; from fastlogits.cli import main; sys.exit(main())"
    return subprocess.run(
        [sys.executable, "-P", "-c", code, "bench", *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=300,
    )


def arrays_of(result):
    """The arrays that a contender's call returned or, for ONNX Runtime, bound."""
    if hasattr(result, "copy_outputs_to_cpu"):
        result = result.copy_outputs_to_cpu()
    results = result if isinstance(result, (tuple, list)) else [result]
    return [np.array(array) for array in results]


# A compiler that takes seconds for each function is shown three.
COMPILED = [("softmax", "6x12"), ("cross_entropy_value_and_grad", "6x12@0"), ("top_k", "6x12")]


@pytest.mark.parametrize("library", [name for name in LIBRARIES if name != OWN])
@pytest.mark.parametrize("shape", ["6x12", "12x6@0", "6x12@0", "3x4x5@1"])
@pytest.mark.filterwarnings("ignore")  # Other libraries' own.
def test_contenders_compute_the_same(library, shape, default_threads):
    if LIBRARIES[library].missing():
        pytest.skip(f"{library} is not installed")
    done = 0
    for operation in cases.OPERATIONS:
        if not cases.applies(operation, Shape.parse(shape)):
            continue
        if library == "torch.compile" and (operation, shape) not in COMPILED:
            continue
        d = Data(Shape.parse(shape), "float32")
        call = LIBRARIES[library].prepare()(operation, d, 1)
        if call is None:
            continue
        found = arrays_of(call())
        expected = arrays_of(LIBRARIES[OWN].prepare()(operation, Data(d.shape, "float32"), 1)())
        if operation == "top_k":  # Not all sort.
            found, expected = ([np.sort(some[0], d.axis)] for some in (found, expected))
        assert len(found) == len(expected)
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6, err_msg=operation)
        done += 1
    assert done or library == "torch.compile"


@pytest.mark.parametrize("text", ["8192x1000", "1000x8192@0", "16x21x128x256@1"])
def test_shapes_are_read_as_they_are_written(text):
    assert str(Shape.parse(text)) == text
    assert Shape.parse("4x5@1") == Shape.parse("4x5@-1") == Shape.parse("4x5")


@pytest.mark.parametrize("text", ["", "12", "4x", "4x0", "4x5@2", "4x5@", "axb", "-1x3"])
def test_wrong_shapes(text, tmp_path):
    with pytest.raises(ValueError, match=r"."):
        Shape.parse(text)
    done = bench(f"--shape={text}", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("fastlogits: error: argument --shape: expected ROWSxCLASSES")


@pytest.mark.parametrize(
    ("operation", "shape", "dtype", "isa", "target"),
    [
        ("softmax", "8192x1000", "float32", "avx512", 1.15),
        ("cross_entropy_value_and_grad", "8192x1000", "float32", "avx2", 1.5),
        ("log_softmax", "64x128256", "float64", "avx512", 1.35 * 1.3),
        ("softmax", "1000x8192@0", "float32", "avx2", 2.2),
        ("softmax", "8192x1000", "float16", "avx512", 2.2),
        ("softmax", "8192x1000", "float32", "portable", None),
        ("softmax", "100000x100", "float32", "avx512", None),
        ("sigmoid", "1000000x8", "float32", "avx512", 1.1),
        ("sigmoid", "64x1000", "float32", "avx512", None),
        ("logsumexp", "1x16000000", "float32", "avx2", 2.3),
        ("cross_entropy", "1000000x3", "float32", "avx512", 4),
        ("cross_entropy", "1000000x8", "float32", "avx512", None),
        ("argmax", "16x21x128x256@1", "float32", "avx2", 1.2),
        ("softmax", "1x10", "float32", "avx2", 1),
        ("cross_entropy", "32x10", "float32", "avx512", 3),
    ],
)
def test_targets(operation, shape, dtype, isa, target):
    assert targets.target(operation, Shape.parse(shape), dtype, isa) == pytest.approx(target)


def test_turns_of_short_calls_are_many_calls(monkeypatch):
    clock = SimpleNamespace(now=0.0, calls=0, perf_counter=lambda: clock.now, sleep=lambda _: None)

    def call():
        clock.now += 1e-6
        clock.calls += 1

    monkeypatch.setattr(timing, "time", clock)
    seconds = timing.time_in_turns({"one": call}, 3)
    assert clock.calls > 3 * timing.TURN / 1e-6
    np.testing.assert_allclose(seconds["one"], 3 * [1e-6], rtol=1e-9)


def test_plain_lines(tmp_path):
    done = bench(*FAST, "--library", "NumPy", "--threads", 1, 2, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert f"; {fastlogits.get_isa()}; 1 thread and 2 threads; fastlogits" in lines[0]
    assert f"NumPy {np.__version__}" in lines[0]
    measured = [line for line in lines if " ns " in line]
    assert len(measured) == 2 * 2 * 3
    assert all("4x12" in line and " x np.exp [" in line for line in measured)
    assert any(line.startswith("NumPy: ") and "geometric mean" in line for line in lines)


@pytest.mark.skipif(os.name != "posix", reason="needs a POSIX terminal")
def test_terminal_gets_tables(tmp_path):
    pytest.importorskip("rich", reason="tables and progress bars need rich")
    code = "from fastlogits.cli import main; main()"
    command = [sys.executable, "-P", "-c", code, "bench", *FAST, "--library", "NumPy"]
    shown = shown_on_a_terminal(command, tmp_path, COLUMNS="80")
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown)  # Without colours.
    assert "measuring" in text
    assert "softmax, 4x12, float32" in text
    assert text.count("│ fastlogits │") == 2
    assert text.count("│ NumPy ") == 2


def test_json(tmp_path):
    done = bench(*FAST, "--library", "NumPy", "--json", cwd=tmp_path)
    assert done.returncode == 0
    found = json.loads(done.stdout)
    assert found["machine"]["cpu"]
    assert found["machine"]["cores"] >= 1
    assert found["machine"]["versions"]["NumPy"] == np.__version__
    assert [r["library"] for r in found["results"]] == ["np.exp", OWN, "NumPy"] * 2
    for record in found["results"]:
        low, high = record["ratio_quartiles"]
        assert low <= record["ratio"] <= high
        assert record["ns_per_element"] > 0
        assert (record["shape"], record["threads"], record["rounds"]) == ("4x12", 1, 1)

    done = bench(*FAST, "--library", "--json", "new.json", cwd=tmp_path)
    assert done.returncode == 0
    assert " ns " in done.stdout
    assert len(json.loads((tmp_path / "new.json").read_text())["results"]) == 4
    assert [file.name for file in tmp_path.iterdir()] == ["new.json"]


def test_plot(tmp_path):
    pytest.importorskip("matplotlib", reason="plots need matplotlib")
    done = bench(*FAST, "--library", "NumPy", "--plot", "new.png", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "new.png").read_bytes().startswith(b"\x89PNG")
    assert [file.name for file in tmp_path.iterdir()] == ["new.png"]


@pytest.mark.parametrize(("target", "status", "word"), [(0.0, 1, "MISSED"), (1e9, 0, "target")])
def test_check(target, status, word, tmp_path):
    before = f"import fastlogits.bench.targets as t; t.target = lambda *a: {target}"
    done = bench(*FAST, "--library", "--check", cwd=tmp_path, before=before)
    assert (done.returncode, done.stderr) == (status, "")
    measured = [line for line in done.stdout.splitlines() if " ns " in line]
    assert [word in line for line in measured] == [False, True] * 2
    counts = "0 met, 0 at the limit, 2 missed" if status else "2 met, 0 at the limit, 0 missed"
    assert f"targets: {counts}\n" in done.stdout
    if status:  # A target is no more than said where nobody asks for a check.
        assert bench(*FAST, "--library", cwd=tmp_path, before=before).returncode == 0


@pytest.mark.parametrize(
    ("ratio", "target", "limit", "verdict"),
    [
        (1.4, 1.5, None, targets.MET),
        (1.4, 1.5, 1.0, targets.MET),
        (1.4, 1.4, 1.0, targets.MET),
        (1.6, 1.5, 1.51, targets.AT_LIMIT),
        (1.6, 1.5, 1.7, targets.AT_LIMIT),
        (1.6, 1.5, 1.49, targets.MISSED),
        (1.7, 1.5, 1.51, targets.MISSED),
        (1.6, 1.5, 1.4, targets.MISSED),
        (1.6, 1.5, None, targets.MISSED),
        (1.6, None, 1.5, None),
        (1.6, None, None, None),
    ],
)
def test_a_target_is_missed_only_where_it_is_within_reach(ratio, target, limit, verdict):
    record = {
        "operation": "softmax",
        "shape": "8192x1000",
        "dtype": "float32",
        "isa": "avx2",
        "threads": 1,
        "library": OWN,
        "ns_per_element": 1.0,
        "ratio": ratio,
        "ratio_quartiles": [ratio, ratio],
        "to": "memcpy",
        "target": target,
        "limit": limit,
    }
    assert table.verdict(record) == verdict
    assert table.missed(record) == (verdict == targets.MISSED)
    line = table.line(record)
    assert ("target" in line) == (target is not None)
    assert ("limit 1" in line) == (limit is not None)
    assert line.endswith("MISSED") == (verdict == targets.MISSED)
    assert line.endswith("at the limit") == (verdict == targets.AT_LIMIT)


def test_the_limit_is_measured_beside_what_it_limits(tmp_path):
    arguments = ["--shape", "60x1000", "--operation", "softmax", "argmax", "--rounds", "3"]
    done = bench(*arguments, "--library", "NumPy", "--json", cwd=tmp_path)
    assert (done.returncode, done.stderr.count("MISSED")) == (0, 0)
    records = json.loads(done.stdout)["results"]
    names = [record["library"] for record in records]
    assert names == ["memcpy", OWN, "NumPy", "read", OWN, "NumPy"]
    limits = [record["limit"] for record in records]
    assert limits[1] > 0
    assert limits[:1] + limits[2:] == [None] * 5


@pytest.mark.parametrize(("of_limit", "status"), [(2e-6, 0), (1e-9, 1)])
def test_check_asks_for_no_more_than_the_limit(of_limit, status, tmp_path):
    """Everything takes a microsecond, but for the loop of the limit."""
    before = (
        "import numpy as np; from fastlogits.bench import limits, targets, timing; "
        "targets.target = lambda *_: 1e-9; limits.prepare = lambda *_: int; "
        "timing.time_in_turns = lambda calls, rounds: "
        f"{{name: np.full(rounds, {of_limit} if name == limits.LIMIT else 1e-6) for name in calls}}"
    )
    done = bench(*FAST, "--library", "--check", cwd=tmp_path, before=before)
    assert (done.returncode, done.stderr) == (status, "")
    counts = "0 met, 0 at the limit, 2 missed" if status else "0 met, 2 at the limit, 0 missed"
    assert f"targets: {counts}\n" in done.stdout


def test_missing_libraries_are_said(tmp_path):
    before = "sys.modules |= dict.fromkeys(['torch', 'jax', 'onnx', 'scipy'])"
    done = bench(*FAST, cwd=tmp_path, before=before)
    assert (done.returncode, done.stderr) == (0, "")
    for name in ("SciPy (pip install scipy)", "PyTorch (pip install torch)"):
        assert f"not installed, not measured: {name}" in done.stdout
    assert "not measured: ONNX Runtime (pip install " in done.stdout
    assert "not measured: JAX (pip install jax)" in done.stdout


def test_what_a_library_cannot_do_is_said(tmp_path):
    before = (
        "import fastlogits.bench.arrays as a, numpy; "
        "a._softmax = lambda *_: numpy.zeros(2) + numpy.zeros(3)"
    )
    done = bench(*FAST, "--library", "NumPy", cwd=tmp_path, before=before)
    assert (done.returncode, done.stderr) == (0, "")
    assert "NumPy: no softmax of 4x12 float32: operands could not" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "before", "words"),
    [
        (["--plot", "no/plot.png"], "pass", ["no/plot.png", "no such folder"]),
        (["--plot", "plot.svg"], "pass", ["plot.svg", ".png"]),
        (["--json", "no/file.json"], "pass", ["no/file.json", "no such folder"]),
        (["--json", "."], "pass", ["folder"]),
        (["--plot", "a.png"], "sys.modules['matplotlib'] = None", ["fastlogits[cli]"]),
        (["--operation", "tanh"], "pass", ["tanh"]),
        (["--rounds", "0"], "pass", ["--rounds", "'0'"]),
        (["--shape", "4x3", "--operation", "top_k"], "pass", ["nothing to measure"]),
    ],
)
def test_errors_come_before_the_measuring(arguments, before, words, tmp_path):
    done = bench(*FAST, *arguments, cwd=tmp_path, before=before)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("fastlogits: error: ")
    assert done.stderr.count("\n") == 1
    for word in words:
        assert word in done.stderr


def test_argmax_on_axis_0(tmp_path):
    arguments = ["--shape", "4x12", "--operation", "argmax_axis0", "--rounds", "1"]
    done = bench(*arguments, "--library", "--json", cwd=tmp_path)
    assert done.returncode == 0
    assert {(r["operation"], r["shape"]) for r in json.loads(done.stdout)["results"]} == {
        ("argmax", "4x12@0")
    }
