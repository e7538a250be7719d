"""What ends a command with one line for its user."""

from collections.abc import Iterator
from contextlib import contextmanager


class CommandError(Exception):
    """What the user reads after ``fastlogits: error:``."""


@contextmanager
def refusals(name: str = "") -> Iterator[None]:
    """Make what a function says of its arguments an error of the command, about the file `name`."""
    try:
        yield
    except (TypeError, ValueError, IndexError) as error:
        raise CommandError(f"{name}: {error}" if name else str(error)) from error
