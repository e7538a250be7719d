"""`fastlogits softmax` and `log-softmax`: the library's numbers, of any layout and size."""

import sys

import numpy as np
import pytest
from command_line import assert_fails, command, names, running, save_rows, succeeds

import fastlogits
from fastlogits.commands import softmax


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rows")
    save_rows(folder)
    return folder


@pytest.mark.parametrize("name", ["softmax", "log-softmax"])
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], {}),
        (["--temperature", "2.5"], {"temperature": 2.5}),
        (["--dtype", "float64"], {"dtype": np.float64}),
        (["--dtype", "float16", "--temperature", "0.1"], {"dtype": "float16", "temperature": 0.1}),
    ],
)
def test_numbers_are_the_functions(folder, tmp_path, name, options, expected):
    for logits in ("logits.npy", "both.npz:logits"):
        printed = succeeds(name, folder / logits, "-o", "out.npy", *options, cwd=tmp_path)
        assert printed == ""
        function = getattr(fastlogits, name.replace("-", "_"))
        wanted = function(np.load(folder / "logits.npy"), **expected)
        found = np.load(tmp_path / "out.npy")
        assert found.dtype == wanted.dtype
        np.testing.assert_array_equal(found, wanted)
    assert names(tmp_path) == ["out.npy"]


@pytest.mark.parametrize(
    "logits",
    [
        np.arange(12.0).reshape(3, 4),
        np.arange(12.0, dtype=np.float32).reshape(3, 4).T,
        np.arange(24).reshape(2, 3, 4),
        np.asfortranarray(np.arange(24, dtype=np.float16).reshape(2, 3, 4)),
        np.arange(12, dtype=">f4").reshape(3, 4),
        np.eye(3, dtype=bool),
        np.zeros((0, 4)),
        np.zeros((4, 0), np.float32),
        np.zeros((2, 0, 3)),
        np.arange(5.0),
    ],
)
def test_blocks_of_any_array_are_the_whole(logits, tmp_path, monkeypatch):
    monkeypatch.setattr(softmax, "_BLOCK_ELEMENTS", 5)
    blocks = list(softmax._blocks(logits))
    np.testing.assert_array_equal(np.concatenate([b.ravel() for b in blocks]), logits.ravel())
    longest = max(5, logits.shape[-1])
    assert all(block.size <= longest and block.shape[-1] == logits.shape[-1] for block in blocks)

    np.save(tmp_path / "in.npy", logits)
    succeeds("softmax", "in.npy", "-o", "out.npy", cwd=tmp_path)
    wanted = fastlogits.softmax(logits)
    found = np.load(tmp_path / "out.npy")
    assert (found.dtype, found.shape) == (wanted.dtype, wanted.shape)
    assert found.flags.c_contiguous
    np.testing.assert_array_equal(found, wanted)


def test_the_output_may_be_the_input(tmp_path):
    logits, _ = save_rows(tmp_path)
    before = names(tmp_path)
    succeeds("softmax", "logits.npy", "-o", "logits.npy", cwd=tmp_path)
    np.testing.assert_array_equal(np.load(tmp_path / "logits.npy"), fastlogits.softmax(logits))
    assert names(tmp_path) == before


@pytest.mark.parametrize(
    ("logits", "words"),
    [
        ("missing.npy", ["missing.npy", "No such file"]),
        ("labels.txt", ["labels.txt", ".npy or .npz"]),
        ("both.npz", ["both.npz", "logits, labels"]),
        ("complex.npy", ["complex.npy", "complex"]),
        ("number.npy", ["number.npy", "shape ()"]),
    ],
)
def test_wrong_logits(folder, tmp_path, logits, words):
    np.save(folder / "complex.npy", np.zeros((3, 4), complex))
    np.save(folder / "number.npy", 1.0)
    assert_fails(command("softmax", folder / logits, "-o", "out.npy", cwd=tmp_path), *words)
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("options", "word"), [([], "-o"), (["-o", "out.npy", "--dtype", "int8"], "--dtype")]
)
def test_wrong_options(folder, options, word):
    assert_fails(command("log-softmax", "logits.npy", *options, cwd=folder), word)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_stays_small(tmp_path):
    # Half a GB that takes no room on most disks.
    logits = np.lib.format.open_memmap(tmp_path / "in.npy", "w+", np.float32, (1000, 128_256))
    logits[-1, 7] = 100
    arguments = ["softmax", "in.npy", "-o", "out.npy", "--dtype", "float16"]
    with running(*arguments, cwd=tmp_path) as process:
        assert process.largest_memory() < 300e6
    found = np.load(tmp_path / "out.npy", mmap_mode="r")
    np.testing.assert_array_equal(found[0], np.float16(1 / 128_256))
    np.testing.assert_array_equal(found[-1], np.arange(128_256) == 7)
