"""The command, run as its users run it: a process of its own."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from checks import shown_on_a_terminal

import fastlogits
from fastlogits.metrics import score

COMMAND = [sys.executable, "-P", "-m", "fastlogits"]
posix = pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals and pipes")


def command(*arguments, cwd):
    """Run in `cwd`, away from the checkout, whose package has no compiled core."""
    return subprocess.run(
        [*COMMAND, *map(str, arguments)], cwd=cwd, capture_output=True, text=True, timeout=60
    )


def assert_fails(done, *words):
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("fastlogits: error: ")
    assert done.stderr.count("\n") == 1
    for word in words:
        assert word in done.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with the files that the tests name."""
    folder = tmp_path_factory.mktemp("files")
    rng = np.random.default_rng(3)
    logits = rng.normal(0, 3, (300, 10)).astype(np.float32)
    labels = rng.integers(0, 10, 300)
    labels[17] = -100
    np.save(folder / "logits.npy", logits)
    np.save(folder / "labels.npy", labels)
    np.savetxt(folder / "labels.txt", labels, fmt="%d")
    np.savez(folder / "both.npz", logits=logits, labels=labels)
    np.savez_compressed(folder / "one.npz", labels)
    np.savez(folder / "none.npz")

    np.save(folder / "fewer.npy", labels[:-1])
    np.save(folder / "floats.npy", labels.astype(float))
    np.save(folder / "empty_logits.npy", logits[:0])
    np.save(folder / "empty_labels.npy", labels[:0])
    out_of_range = labels.copy()
    out_of_range[123] = 10
    np.save(folder / "out_of_range.npy", out_of_range)
    np.save(folder / "complex.npy", logits.astype(complex))
    np.save(folder / "objects.npy", np.array([{}, 1], dtype=object), allow_pickle=True)
    np.savez(folder / "objects.npz", np.array([{}, 1], dtype=object))
    whole = (folder / "logits.npy").read_bytes()
    (folder / "truncated.npy").write_bytes(whole[:-1])
    (folder / "header_cut.npy").write_bytes(whole[:40])
    (folder / "nothing.npy").touch()
    (folder / "text.npy").write_text("1\n2\n")
    (folder / "text.npz").write_text("1\n2\n")
    archive = (folder / "both.npz").read_bytes()
    (folder / "truncated.npz").write_bytes(archive[: len(archive) // 2])
    (folder / "words.txt").write_text("1\ncat\n")
    (folder / "huge.txt").write_text(f"1\n{2**63}\n")
    (folder / "binary.txt").write_bytes(b"\xff\xfe\x00")
    (folder / "folder.npy").mkdir()
    return folder


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
@pytest.mark.parametrize("temperature", [None, "0.5"])
def test_score(folder, logits, labels, temperature):
    options = ["--temperature", temperature] if temperature else []
    files = [logits.format(folder=folder), labels.format(folder=folder)]
    expected = score(
        np.load(folder / "logits.npy"),
        np.load(folder / "labels.npy"),
        temperature=float(temperature or 1),
    )
    done = command("score", *files, *options, "--json", cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    # An empty bin has no mean.
    expected_json = json.dumps(expected.as_dict()).replace("NaN", "null")
    assert json.loads(done.stdout) == json.loads(expected_json)

    done = command("score", *files, *options, cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "rows                        299",
        "classes                     10",
        f"negative log-likelihood     {expected.nll:.6g}",
        f"perplexity                  {expected.perplexity:.6g}",
        f"accuracy                    {expected.accuracy:.6g}",
        "k                           5",
        f"top-k accuracy              {expected.top_k_accuracy:.6g}",
        f"Brier score                 {expected.brier:.6g}",
        f"expected calibration error  {expected.ece:.6g}",
        f"maximum calibration error   {expected.mce:.6g}",
    ]


def test_score_of_no_rows(folder):
    done = command("score", "empty_logits.npy", "empty_labels.npy", "--json", cwd=folder)
    assert done.returncode == 0
    found = json.loads(done.stdout)
    assert (found["n"], found["n_classes"], found["k"]) == (0, 10, 5)
    assert found["bin_count"] == [0] * 15
    means = ["nll", "perplexity", "accuracy", "top_k_accuracy", "brier", "ece", "mce"]
    assert {found[name] for name in means} == {None}


@pytest.mark.parametrize(
    ("logits", "labels", "words"),
    [
        ("missing.npy", "labels.npy", ["missing.npy", "No such file"]),
        ("logits.npy", "missing.txt", ["missing.txt", "No such file"]),
        ("missing.npz:x", "labels.npy", ["missing.npz", "No such file"]),
        ("logits.npy", "folder.npy", ["folder.npy"]),
        ("logits.npy", ".", [". is a directory" if os.name == "nt" else "directory"]),
        ("truncated.npy", "labels.npy", ["truncated.npy"]),
        ("header_cut.npy", "labels.npy", ["header_cut.npy"]),
        ("nothing.npy", "labels.npy", ["nothing.npy"]),
        ("text.npy", "labels.npy", ["text.npy"]),
        ("objects.npy", "labels.npy", ["objects.npy", "bjects"]),
        ("logits.npy", "objects.npy", ["objects.npy", "bjects"]),
        ("logits.npy", "objects.npz", ["objects.npz", "bject"]),
        ("text.npz", "labels.npy", ["text.npz"]),
        ("truncated.npz", "labels.npy", ["truncated.npz"]),
        ("both.npz", "labels.npy", ["both.npz", "logits, labels"]),
        ("none.npz", "labels.npy", ["none.npz"]),
        ("both.npz:other", "labels.npy", ["both.npz:other", "logits, labels"]),
        ("labels.txt", "labels.npy", ["labels.txt", ".npy or .npz"]),
        ("logits.npy", "words.txt", ["words.txt", "line 2", "'cat'"]),
        ("logits.npy", "huge.txt", ["huge.txt", "line 2", str(2**63)]),
        ("logits.npy", "binary.txt", ["binary.txt"]),
        ("logits.npy", "fewer.npy", ["labels", "(300,)", "(299,)"]),
        ("logits.npy", "floats.npy", ["labels", "float64"]),
        ("complex.npy", "labels.npy", ["logits", "complex128"]),
        ("logits.npy", "out_of_range.npy", ["labels[123]", "10"]),
    ],
)
def test_wrong_files(folder, logits, labels, words):
    assert_fails(command("score", logits, labels, cwd=folder), *words)


@pytest.mark.parametrize("temperature", ["0", "-1", "nan", "inf", "warm"])
def test_wrong_temperature(folder, temperature):
    done = command("score", "logits.npy", "labels.npy", "--temperature", temperature, cwd=folder)
    assert_fails(done, "temperature", temperature)


@pytest.mark.parametrize(
    "arguments", [[], ["other"], ["score"], ["score", "logits.npy"], ["info", "--what"]]
)
def test_wrong_usage(folder, arguments):
    assert_fails(command(*arguments, cwd=folder), "--help")


@pytest.mark.parametrize("arguments", [[], ["score"], ["info"], ["demo"], ["bench"]])
def test_help(folder, arguments):
    done = command(*arguments, "--help", cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: fastlogits")
    if arguments in ([], ["score"]):
        assert "examples:\n  fastlogits score logits.npy labels.npy" in done.stdout


def test_version(folder):
    assert command("--version", cwd=folder).stdout == f"fastlogits {fastlogits.__version__}\n"


def test_info(folder):
    done = command("info", cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert fastlogits.__version__ in done.stdout
    assert np.__version__ in done.stdout
    assert fastlogits.get_isa() in done.stdout
    found = json.loads(command("info", "--json", cwd=folder).stdout)
    assert len(found) == len(done.stdout.splitlines())


def test_objects_are_never_unpickled(tmp_path):
    class Trap:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "sprung",))

    trap = np.array([Trap()], dtype=object)
    np.save(tmp_path / "trap.npy", trap, allow_pickle=True)
    np.savez(tmp_path / "trap.npz", trap)
    (tmp_path / "pickle.npy").write_bytes(trap.dumps())
    (tmp_path / "pickle.npz").write_bytes(trap.dumps())
    for name in ("trap.npy", "trap.npz", "pickle.npy", "pickle.npz"):
        assert_fails(command("score", name, name, cwd=tmp_path), name)
    assert not (tmp_path / "sprung").exists()


@posix
def test_interrupt(folder, tmp_path):
    # The command waits for labels that never come: it is surely running when the signal does.
    labels = tmp_path / "labels"
    os.mkfifo(labels)
    process = subprocess.Popen(
        [*COMMAND, "score", folder / "logits.npy", labels],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A background job inherits an ignored SIGINT.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    writer = None
    while writer is None and process.poll() is None:
        try:
            writer = os.open(labels, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:  # Nobody reads yet.
            time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    if writer is not None:
        os.close(writer)
    assert (process.returncode, out, err) == (130, "", "fastlogits: interrupted\n")


@posix
@pytest.mark.parametrize("arguments", [["score", "logits.npy", "labels.npy"], ["info"]])
def test_closed_pipe_is_quiet(folder, arguments):
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [*COMMAND, *arguments], cwd=folder, stdout=writer, stderr=subprocess.PIPE, timeout=60
        )
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_full_disk_is_an_error(folder):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*COMMAND, "info"],
            cwd=folder,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
        )
    assert done.returncode == 2
    assert done.stderr.startswith("fastlogits: error: ")
    assert done.stderr.count("\n") == 1


@posix
def test_terminal_gets_a_table_and_progress(folder):
    pytest.importorskip("rich", reason="tables and progress bars need rich")
    shown = shown_on_a_terminal([*COMMAND, "score", "logits.npy", "labels.npy"], folder)
    assert "scoring" in shown
    assert "│ rows" in shown


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_stays_small(tmp_path):
    # 1 GB that takes no room on most disks.
    rows, classes = 2000, 128_256
    np.lib.format.open_memmap(tmp_path / "logits.npy", "w+", np.float32, (rows, classes))
    np.save(tmp_path / "labels.npy", np.zeros(rows, np.int32))
    largest = 0
    with subprocess.Popen(
        [*COMMAND, "score", "logits.npy", "labels.npy", "--json"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        status = Path(f"/proc/{process.pid}/status")
        while process.poll() is None:
            # Anonymous memory: pages of the mapped file are the system's to take back.
            for line in status.read_text().splitlines():
                if line.startswith("RssAnon:"):
                    largest = max(largest, int(line.split()[1]) * 1024)
            time.sleep(0.005)
        found = json.loads(process.stdout.read())
    assert process.returncode == 0
    assert found["nll"] == pytest.approx(math.log(classes))
    assert 0 < largest < 300e6


@pytest.mark.skipif(os.name != "posix", reason="closes a descriptor through the shell")
def test_closed_standard_output_is_no_error(tmp_path):
    done = subprocess.run(
        ["sh", "-c", '"$@" >&-', "sh", *COMMAND, "info"],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
