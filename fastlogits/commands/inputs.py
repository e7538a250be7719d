"""Arrays from the files that a command is given."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import CommandError


def load(name: str, *, text: bool = False) -> NDArray[Any]:
    """Return the array of a .npy file, memory-mapped, or of a member of a .npz archive.

    `text`: any other name is a file of one integer on each line.
    """
    path, member = name, ""
    if ".npz:" in name.lower() and not os.path.exists(name):
        path, _, member = name.rpartition(":")
    suffix = Path(path).suffix.lower()
    try:
        if suffix == ".npy":
            # Never unpickles, unlike numpy.load with its options.
            return np.lib.format.open_memmap(path, mode="r")
        if suffix == ".npz":
            return _load_member(path, member)
        if text:
            return _load_text(path)
    except CommandError as error:
        raise CommandError(f"{name}: {error}") from None
    except OSError as error:
        raise CommandError(f"{name}: {error.strerror or error}") from None
    except Exception as error:
        # A damaged file can fail anywhere in NumPy's reader, zipfile or zlib, with any exception.
        raise CommandError(f"{name}: cannot be read: {error or type(error).__name__}") from None
    raise CommandError(f"{name}: expected a .npy or .npz file")


def _load_member(path: str, member: str) -> NDArray[Any]:
    archive = np.load(path, allow_pickle=False)
    if not isinstance(archive, np.lib.npyio.NpzFile):
        raise CommandError("not a .npz archive")
    with archive:
        members = ", ".join(archive.files) or "none"
        if not member and len(archive.files) == 1:
            member = archive.files[0]
        if not member:
            raise CommandError(f"expected FILE.npz:MEMBER, members are: {members}")
        if member not in archive.files:
            raise CommandError(f"no such member, members are: {members}")
        array: NDArray[Any] = archive[member]
        return array


def _load_text(path: str) -> NDArray[np.int64]:
    def integers() -> Iterator[int]:
        for number, line in enumerate(lines, start=1):
            try:
                value = int(line)
            except ValueError:
                raise CommandError(
                    f"line {number}: expected an integer, got {line.strip()[:40]!r}"
                ) from None
            if not -(2**63) <= value < 2**63:
                raise CommandError(f"line {number}: expected a 64-bit integer, got {value}")
            yield value

    with open(path, encoding="utf-8-sig") as lines:
        return np.fromiter(integers(), dtype=np.int64)
