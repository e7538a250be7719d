"""The demonstration, as its users run it."""

import re

import numpy as np
import pytest
from command_line import assert_fails, command, names, succeeds

FILES = [f"{part}_{what}.npy" for part in ("calibration", "test") for what in ("labels", "logits")]
FILES.insert(2, "reliability.png")


@pytest.fixture
def libraries():
    pytest.importorskip("sklearn", reason="the demo trains with scikit-learn")
    pytest.importorskip("matplotlib", reason="the demo draws with matplotlib")


@pytest.mark.usefixtures("libraries")
def test_demo(tmp_path):
    lines = succeeds("demo", cwd=tmp_path).splitlines()
    steps = " ".join(line.split()[0] for line in lines if not line.startswith(" "))
    assert steps == "Data Train Write Score Calibrate Score Check By Picture"
    assert lines[-1].split() == ["Picture", "fastlogits-demo/reliability.png"]
    assert max(map(len, lines)) <= 100
    figures = [re.findall(r"\d\.\d+", line) for line in lines if line.startswith("Score")]
    (loss, *_, error), (new_loss, *_, new_error) = (map(float, line) for line in figures)
    assert new_loss < 0.6 * loss
    assert new_error < 0.6 * error

    folder = tmp_path / "fastlogits-demo"
    assert names(folder) == FILES
    assert (folder / "reliability.png").read_bytes().startswith(b"\x89PNG")
    for part in ("calibration", "test"):
        logits = np.load(folder / f"{part}_logits.npy")
        assert logits.dtype == np.float32
        assert logits.shape == (*np.load(folder / f"{part}_labels.npy").shape, 10)

    # What it says can be done by hand can be.
    commands = [line.split() for line in lines if line.strip().startswith("fastlogits ")]
    assert [words[1] for words in commands] == ["score", "calibrate", "score", "softmax"]
    for _, *arguments in commands:
        succeeds(*arguments, cwd=folder)


@pytest.mark.usefixtures("libraries")
def test_another_folder(tmp_path):
    printed = succeeds("demo", "--dir", "new/a folder", cwd=tmp_path)
    assert printed.endswith("Picture    new/a folder/reliability.png\n")
    assert "cd 'new/a folder'\n" in printed
    assert names(tmp_path / "new" / "a folder") == FILES


@pytest.mark.usefixtures("libraries")
def test_a_wrong_figure_fails(tmp_path):
    wrong = (
        "import dataclasses, fastlogits.metrics as m; score = m.score_blocks; "
        "m.score_blocks = lambda *a, **k: dataclasses.replace(score(*a, **k), nll=0.5)"
    )
    done = command("demo", cwd=tmp_path, before=wrong)
    assert done.returncode == 1
    assert done.stdout.count("WRONG      nll: fastlogits 0.5, NumPy ") == 2
    assert "the figures are NOT those of plain NumPy" in done.stdout


@pytest.mark.usefixtures("libraries")
def test_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    done = command("demo", "--dir", "file", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("fastlogits: error: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("module", "library"), [("sklearn", "scikit-learn"), ("matplotlib", "matplotlib")]
)
@pytest.mark.usefixtures("libraries")
def test_without_a_library(tmp_path, module, library):
    done = command("demo", cwd=tmp_path, before=f"sys.modules['{module}'] = None")
    assert_fails(done, "demo: ", f"needs {library}: pip install 'fastlogits[")
    assert names(tmp_path) == []
