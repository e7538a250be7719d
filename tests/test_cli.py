"""The command as a whole: usage, wrong files, standard streams, terminals and signals."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from checks import shown_on_a_terminal
from command_line import COMMAND, assert_fails, command, running, save_rows, succeeds

import fastlogits

posix = pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals and pipes")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with the files that the tests name."""
    folder = tmp_path_factory.mktemp("files")
    logits, labels = save_rows(folder)
    np.savez(folder / "none.npz")
    np.save(folder / "fewer.npy", labels[:-1])
    np.save(folder / "floats.npy", labels.astype(float))
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


@pytest.mark.parametrize(
    "arguments", [[], ["other"], ["score"], ["score", "logits.npy"], ["info", "--what"]]
)
def test_wrong_usage(folder, arguments):
    assert_fails(command(*arguments, cwd=folder), "--help")


COMMANDS = ["score", "calibrate", "softmax", "log-softmax", "demo", "bench", "info"]


@pytest.mark.parametrize("name", COMMANDS)
def test_help(folder, name):
    printed = succeeds(name, "--help", cwd=folder)
    assert printed.startswith(f"usage: fastlogits {name} ")
    assert f"\nexamples:\n  fastlogits {name}" in printed
    assert max(map(len, printed.splitlines())) <= 100


def test_help_names_the_commands(folder):
    printed = succeeds("--help", cwd=folder)
    assert printed.startswith("usage: fastlogits ")
    assert re.findall("(?m)^    ([a-z-]+)", printed) == COMMANDS


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
@pytest.mark.parametrize(
    ("name", "status", "said"),
    [("SIGINT", 130, "fastlogits: interrupted\n"), ("SIGTERM", 143, ""), ("SIGHUP", 129, "")],
)
def test_signals(folder, tmp_path, name, status, said):
    # The command waits for labels that never come: it is surely running when the signal does.
    labels = tmp_path / "labels"
    os.mkfifo(labels)
    with running("score", folder / "logits.npy", labels, cwd=tmp_path) as process:
        writer = None
        while writer is None and process.poll() is None:
            try:
                writer = os.open(labels, os.O_WRONLY | os.O_NONBLOCK)
            except OSError:  # Nobody reads yet.
                time.sleep(0.01)
        process.send_signal(getattr(signal, name))
        out, err = process.communicate(timeout=60)
    if writer is not None:
        os.close(writer)
    assert (process.returncode, out, err) == (status, "", said)


@posix
def test_signals_are_what_they_were_after_a_call():
    code = """if True:
        import signal
        from fastlogits.cli import main
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        before = [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGHUP)]
        assert main(["info"]) == 0
        assert [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGHUP)] == before
    """
    subprocess.run([sys.executable, "-P", "-c", code], check=True, stdout=subprocess.DEVNULL)


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
    shown = shown_on_a_terminal(
        [*COMMAND, "score", "logits.npy", "labels.npy", "--calibrate"], folder
    )
    assert "calibrating" in shown
    assert "scoring" in shown
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown)  # Without colours.
    assert re.search(r"┃ before +┃ after", text)
    assert re.search(r"│ rows +│ 299 +│ 299", text)


@posix
@pytest.mark.parametrize("environment", [{"TERM": "dumb"}, {"NO_COLOR": "1"}, {"COLUMNS": "30"}])
def test_terminals_that_can_do_little(folder, environment):
    pytest.importorskip("rich", reason="tables and progress bars need rich")
    command = [*COMMAND, "score", "logits.npy", "labels.npy"]
    shown = shown_on_a_terminal(command, folder, **environment)
    assert re.search(r"│ rows +│ 299 +│", shown)
    assert "\x1b" not in shown or "TERM" not in environment
    if "NO_COLOR" in environment:
        assert not re.search(r"\x1b\[[0-9;]*[349][0-9]", shown)
    table = shown[shown.index("┌") :].splitlines()
    assert all(len(line) <= int(environment.get("COLUMNS", 80)) for line in table)


@posix
def test_a_terminal_too_narrow_for_a_table(folder):
    shown = shown_on_a_terminal(
        [*COMMAND, "score", "logits.npy", "labels.npy"], folder, COLUMNS="20"
    )
    plain = succeeds("score", "logits.npy", "labels.npy", cwd=folder)
    assert shown.replace("\r\n", "\n").endswith(plain)


@posix
def test_terminal_without_rich(folder):
    code = "import sys; sys.modules['rich'] = None; from fastlogits.cli import main; main()"
    command = [sys.executable, "-P", "-c", code, "score", "logits.npy", "labels.npy"]
    shown = shown_on_a_terminal(command, folder)
    assert shown.splitlines()[1] == "rows                        299"


@pytest.mark.parametrize("name", ["score", "calibrate", "info"])
def test_pipes_get_plain_text(folder, name):
    files = [] if name == "info" else ["logits.npy", "labels.npy"]
    environment = os.environ | {"FORCE_COLOR": "1", "TERM": "xterm-256color"}
    printed = succeeds(name, *files, cwd=folder, env=environment)
    assert printed.isascii()
    assert "\x1b" not in printed
    assert printed == "".join(f"{line.rstrip()}\n" for line in printed.splitlines())


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("name", ["score", "calibrate"])
def test_memory_stays_small(tmp_path, name):
    # Half a GB that takes no room on most disks.
    rows, classes = 1000, 128_256
    np.lib.format.open_memmap(tmp_path / "logits.npy", "w+", np.float32, (rows, classes))
    np.save(tmp_path / "labels.npy", np.zeros(rows, np.int32))
    with running(name, "logits.npy", "labels.npy", cwd=tmp_path) as process:
        assert process.largest_memory() < 300e6
        printed = process.stdout.read()
    assert re.search(rf"perplexity +{classes}\b", printed)


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
