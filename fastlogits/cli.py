"""The ``fastlogits`` command: its parser, its errors and its exit statuses."""

import argparse
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn

import fastlogits
from fastlogits.commands import bench, calibrate, demo, info, score, softmax
from fastlogits.commands.errors import CommandError

__all__ = ["main"]

_EXAMPLES = """\
examples:
  fastlogits score logits.npy labels.npy
  fastlogits calibrate logits.npy labels.npy -o temperature.json
  fastlogits softmax logits.npy -o probabilities.npy --temperature temperature.json
  fastlogits COMMAND --help
"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"fastlogits: error: {message} (see {self.prog} --help)\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments; by default those of the process.

    Returns
    -------
    int
        The exit status: 0, or 1 where a check of demo or bench fails, 2 after an error, 130 after
        an interrupt, 141 where the reader of standard output went away.

    Raises
    ------
    SystemExit
        After ``--help``, wrong usage, and SIGTERM or SIGHUP: with status 128 and their number.

    Examples
    --------
    >>> from fastlogits.cli import main
    >>> main(["info"])  # doctest: +SKIP
    0
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # The descriptor was closed before the start.
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
    arguments = _parser().parse_args(argv)
    try:
        with _signals_raise():
            status: int = arguments.run(arguments)
            sys.stdout.flush()
    except KeyboardInterrupt:
        print("fastlogits: interrupted", file=sys.stderr)
        status = 130
    except BrokenPipeError:
        status = 141  # As the shell reports a program that SIGPIPE ended.
        _discard_stdout()
    except (CommandError, OSError, MemoryError) as error:
        message = " ".join(str(error).split()) or type(error).__name__
        print(f"fastlogits: error: {message}", file=sys.stderr)
        status = 2
        _discard_stdout()
    return status


@contextmanager
def _signals_raise() -> Iterator[None]:
    """Have what ends a process raise, as Ctrl-C does, so that no half-written file stays."""
    raised = []
    if threading.current_thread() is threading.main_thread():
        numbers = [signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)]
        # Who starts a command with nohup has it ignore the second.
        raised = [n for n in dict.fromkeys(numbers) if signal.getsignal(n) is signal.SIG_DFL]
    for number in raised:
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    try:
        yield
    finally:
        for number in raised:
            signal.signal(number, signal.SIG_DFL)


def _discard_stdout() -> None:
    """Keep the interpreter from failing once more when it flushes standard output at exit."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="fastlogits",
        description="Probabilities, scores and calibration of a classifier, from its logits.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--version", action="version", version=f"fastlogits {fastlogits.__version__}"
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for module in (score, calibrate, softmax, demo, bench, info):
        module.add_to(commands)
    return parser
