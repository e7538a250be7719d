"""The files that the command writes appear whole, or not at all."""

import os
import signal
import stat
import time

import numpy as np
import pytest
from command_line import assert_fails, command, names, running, save_rows

from fastlogits.commands.errors import CommandError
from fastlogits.commands.outputs import whole_file

posix = pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals, links and limits")


@pytest.fixture
def folder(tmp_path):
    save_rows(tmp_path)
    return tmp_path


def test_the_name_appears_with_the_whole_file(tmp_path):
    path = tmp_path / "new"
    with whole_file(path) as file:
        file.write(b"text")
        assert not path.exists()
        assert len(names(tmp_path)) == 1
    assert path.read_bytes() == b"text"
    assert names(tmp_path) == ["new"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("name", ["old", "new"])
def test_an_error_leaves_what_there_was(tmp_path, error, name):
    def write():
        with whole_file(tmp_path / name) as file:
            file.write(b"new")
            raise error

    (tmp_path / "old").write_bytes(b"old")
    with pytest.raises(error):
        write()
    assert names(tmp_path) == ["old"]
    assert (tmp_path / "old").read_bytes() == b"old"


def test_a_file_that_cannot_be_made_is_named(tmp_path):
    file = whole_file(tmp_path / "folder" / "new")
    with pytest.raises(CommandError, match="folder/new: No such file"), file:
        pytest.fail("there is no such folder")


@posix
def test_permissions_are_the_usual_ones_or_stay(tmp_path):
    path = tmp_path / "new"
    before = os.umask(0o027)
    try:
        for mode in (0o640, 0o604):
            with whole_file(path) as file:
                file.write(b"")
            assert stat.S_IMODE(path.stat().st_mode) == mode
            path.chmod(0o604)
    finally:
        os.umask(before)


@posix
def test_a_link_stays_one(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder/file")
    with whole_file(tmp_path / "link") as file:
        file.write(b"text")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "folder" / "file").read_bytes() == b"text"
    assert names(tmp_path / "folder") == ["file"]


@posix
def test_the_longest_name_that_there_can_be(tmp_path):
    path = tmp_path / ("n" * 251 + ".npy")
    with whole_file(path) as file:
        file.write(b"text")
    assert path.read_bytes() == b"text"


@pytest.mark.parametrize(
    "arguments",
    [
        ["softmax", "logits.npy", "-o", "{}.npy"],
        ["calibrate", "logits.npy", "labels.npy", "-o", "{}.json"],
        ["score", "logits.npy", "labels.npy", "--plot", "{}.png"],
        ["bench", "--plot", "{}.png"],
        ["bench", "--json", "{}.json"],
    ],
)
@posix
def test_wrong_names_are_refused_before_the_work(folder, arguments):
    suffix = arguments[-1][2:]
    (folder / f"folder{suffix}").mkdir()
    os.mkfifo(folder / f"pipe{suffix}")
    before = names(folder)
    cases = {"no/new": "no such folder", "folder": "is a folder", "pipe": "no regular file"}
    for name, word in cases.items():
        done = command(*(argument.format(name) for argument in arguments), cwd=folder)
        assert_fails(done, f"{name}{suffix}: ", word)
    if "--json" not in arguments:
        assert_fails(command(*arguments[:-1], "new.txt", cwd=folder), "new.txt: ", suffix)
    assert names(folder) == before


@posix
@pytest.mark.parametrize(("name", "status"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_a_signal_leaves_no_partial_file(tmp_path, name, status):
    # 8 GB that take no room on most disks, and are not written before the signal comes.
    np.lib.format.open_memmap(tmp_path / "in.npy", "w+", np.float32, (2**20, 2**11))
    (tmp_path / "out.npy").write_bytes(b"old")
    with running("softmax", "in.npy", "-o", "out.npy", cwd=tmp_path) as process:
        while len(names(tmp_path)) < 3 and process.poll() is None:
            time.sleep(0.01)
        assert any(file.endswith(".partial") for file in names(tmp_path))
        process.send_signal(getattr(signal, name))
        _, err = process.communicate(timeout=60)
    said = "fastlogits: interrupted\n" if name == "SIGINT" else ""
    assert (process.returncode, err) == (status, said)
    assert names(tmp_path) == ["in.npy", "out.npy"]
    assert (tmp_path / "out.npy").read_bytes() == b"old"


@posix
@pytest.mark.parametrize(
    "arguments",
    [
        ["softmax", "logits.npy", "-o", "new.npy"],
        ["calibrate", "logits.npy", "labels.npy", "-o", "new.json"],
    ],
)
def test_a_full_disk_leaves_no_partial_file(folder, arguments):
    before = names(folder)
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (50, 50))"
    done = command(*arguments, cwd=folder, before=limit)
    assert done.returncode == 2
    assert done.stderr == f"fastlogits: error: {arguments[-1]}: File too large\n"
    assert names(folder) == before


@posix
@pytest.mark.skipif(os.name == "posix" and os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_to(folder):
    (folder / "closed").mkdir(mode=0o500)
    done = command("softmax", "logits.npy", "-o", "closed/new.npy", cwd=folder)
    assert_fails(done, "closed/new.npy", "cannot be written to")
