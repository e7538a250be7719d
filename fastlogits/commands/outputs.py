"""Files that a command writes: whole, or not at all."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex
from typing import BinaryIO

from .errors import CommandError


def check_output(path: Path, suffix: str = "") -> None:
    """Fail before the work, and not after it, where its result cannot be written."""
    if path.suffix.lower() != suffix and suffix:
        raise CommandError(f"{path}: expected a file name that ends in {suffix}")
    if path.is_dir():
        raise CommandError(f"{path}: is a folder")
    # Renaming would put a file in the place of a device or a pipe.
    if path.exists() and not path.is_file():
        raise CommandError(f"{path}: is no regular file")
    folder = _target(path).parent
    if not folder.is_dir():
        raise CommandError(f"{path}: no such folder")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise CommandError(f"{path}: the folder cannot be written to")


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file that has its name only when it is complete and on the disk.

    Until then it has another one in the same folder. An error or a signal before the end leaves
    what there was under the name, and nothing else.
    """
    target = _target(path)
    partial = target.with_name(f".fastlogits-{token_hex(8)}.partial")
    try:
        with open(partial, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if target.exists():
            shutil.copymode(target, partial)
        os.replace(partial, target)
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror or error}") from error
    finally:
        partial.unlink(missing_ok=True)


def _target(path: Path) -> Path:
    """Return what a link leads to, so that not the link is replaced."""
    return Path(os.path.realpath(path))
