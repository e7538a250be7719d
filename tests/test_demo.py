"""The demonstration, as its users run it."""

import subprocess
import sys

import numpy as np
import pytest


def command(*arguments, cwd, before="pass"):
    """Run the command in `cwd`, after the statement `before`."""
    code = f"import sys; {before}; from fastlogits.cli import main; sys.exit(main())"
    return subprocess.run(
        [sys.executable, "-P", "-c", code, *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_demo(tmp_path):
    pytest.importorskip("sklearn", reason="the demo trains with scikit-learn")
    done = command("demo", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("All figures agree.\n")
    assert done.stdout.count("  ok\n") == 4
    logits = np.load(tmp_path / "fastlogits-demo" / "logits.npy")
    labels = np.load(tmp_path / "fastlogits-demo" / "labels.npy")
    assert logits.dtype == np.float32
    assert logits.shape == (*labels.shape, 10)
    assert len(list((tmp_path / "fastlogits-demo").iterdir())) == 2

    done = command("demo", "--dir", "new/folder", cwd=tmp_path)
    assert done.returncode == 0
    assert (tmp_path / "new" / "folder" / "logits.npy").exists()


def test_a_wrong_figure_fails(tmp_path):
    pytest.importorskip("sklearn", reason="the demo trains with scikit-learn")
    wrong = (
        "import dataclasses, fastlogits.metrics as m; score = m.score_blocks; "
        "m.score_blocks = lambda *a, **k: dataclasses.replace(score(*a, **k), nll=0.5)"
    )
    done = command("demo", cwd=tmp_path, before=wrong)
    assert done.returncode == 1
    assert done.stdout.count("  WRONG\n") == 1
    assert "DISAGREE" in done.stdout


def test_folder_that_cannot_be_made(tmp_path):
    pytest.importorskip("sklearn", reason="the demo trains with scikit-learn")
    (tmp_path / "file").touch()
    done = command("demo", "--dir", "file", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("fastlogits: error: ")
    assert done.stderr.count("\n") == 1


def test_without_scikit_learn(tmp_path):
    done = command("demo", cwd=tmp_path, before="sys.modules['sklearn'] = None")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "fastlogits: error: demo needs scikit-learn: pip install 'fastlogits[sklearn]'\n"
    )
