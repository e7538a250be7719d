"""The ``fastlogits`` command."""

import argparse
import json
import math
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

import fastlogits
from fastlogits.bench import options
from fastlogits.config import config_dict
from fastlogits.metrics import Scores, format_value, score_blocks

__all__ = ["main"]

_EXAMPLES = """\
examples:
  fastlogits score logits.npy labels.npy
  fastlogits score logits.npy labels.txt --temperature 1.5
  fastlogits score validation.npz:logits validation.npz:labels --json
  fastlogits info
  fastlogits demo
"""

_SCORE_HELP = """\
Print rows, classes, mean negative log-likelihood, perplexity, accuracy, top-5 accuracy, Brier score
and calibration errors.

LOGITS is an array of numbers, classes on the last axis; LABELS has one integer for each row, and
rows labelled -100 do not count. Files:
  FILE.npy          memory-mapped, so it may be larger than memory
  FILE.npz:MEMBER   one array of an archive, read whole; FILE.npz where it is the only one
  any other name    labels only: text, one integer on each line
"""

_SCORE_EXAMPLES = """\
examples:
  fastlogits score logits.npy labels.npy
  fastlogits score logits.npy labels.txt --temperature 1.5
  fastlogits score validation.npz:logits validation.npz:labels --json | jq .nll
"""

_TITLES = {
    "n": "rows",
    "n_classes": "classes",
    "nll": "negative log-likelihood",
    "top_k_accuracy": "top-k accuracy",
    "brier": "Brier score",
    "ece": "expected calibration error",
    "mce": "maximum calibration error",
}


class CommandError(Exception):
    """What the user reads after ``fastlogits: error:``."""


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


def _discard_stdout() -> None:
    """Keep the interpreter from failing once more when it flushes standard output at exit."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="fastlogits",
        description="Scores of a classifier, from its logits and labels.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--version", action="version", version=f"fastlogits {fastlogits.__version__}"
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    score = commands.add_parser(
        "score",
        help="score logits against labels",
        description=_SCORE_HELP,
        epilog=_SCORE_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    score.add_argument("logits", metavar="LOGITS", help=".npy or .npz file")
    score.add_argument("labels", metavar="LABELS", help=".npy, .npz or text file")
    score.add_argument(
        "--temperature",
        type=float,
        default=1.0,
        metavar="T",
        help="divide the logits by T (default: 1)",
    )
    score.add_argument(
        "--json", action="store_true", help="print JSON; a figure that is not finite is null"
    )
    score.set_defaults(run=_score)

    info = commands.add_parser(
        "info",
        help="print versions, compiler, instruction sets and threads",
        description="Print what a bug report needs: versions, compiler, instruction sets, threads.",
    )
    info.add_argument("--json", action="store_true", help="print JSON")
    info.set_defaults(run=_info)

    demo = commands.add_parser(
        "demo",
        help="train, score and check a small classifier on handwritten digits",
        description="Train a classifier on scikit-learn's handwritten digits, write its held-out "
        "logits and labels, score them, and check the figures against plain NumPy. "
        "Needs fastlogits[sklearn].",
    )
    demo.add_argument(
        "--dir",
        type=Path,
        default=Path("fastlogits-demo"),
        metavar="FOLDER",
        help="where to write logits.npy and labels.npy (default: ./fastlogits-demo)",
    )
    demo.set_defaults(run=_demo)

    bench = commands.add_parser(
        "bench",
        help="time fastlogits beside other libraries",
        description=options.DESCRIPTION,
        epilog=options.EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    options.add_options(bench)
    bench.set_defaults(run=_bench)
    return parser


def _score(arguments: argparse.Namespace) -> int:
    scores = score_files(arguments.logits, arguments.labels, temperature=arguments.temperature)
    if arguments.json:
        _print_json(scores.as_dict())
    else:
        print_scores(scores)
    return 0


def _info(arguments: argparse.Namespace) -> int:
    config = config_dict()
    if arguments.json:
        _print_json(config)
    else:
        _print_table({name.replace("_", " "): _plain(value) for name, value in config.items()})
    return 0


def _demo(arguments: argparse.Namespace) -> int:
    # Only this command needs scikit-learn.
    try:
        from fastlogits.demo import run
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "sklearn":
            raise
        raise CommandError("demo needs scikit-learn: pip install 'fastlogits[sklearn]'") from None
    return run(arguments.dir)


def _bench(arguments: argparse.Namespace) -> int:
    from fastlogits.bench.command import run

    return run(arguments)


def score_files(logits: str, labels: str, *, temperature: float = 1.0) -> Scores:
    """Score two files, as ``fastlogits score`` names them, with a progress bar on a terminal."""
    x, y = _load(logits), _load(labels, text=True)
    try:
        with _progress_bar() as progress:
            return score_blocks(x, y, temperature=temperature, progress=progress)
    except (TypeError, ValueError, IndexError) as error:
        raise CommandError(str(error)) from error


def print_scores(scores: Scores) -> None:
    """Print scores, one on each line."""
    _print_table(
        {
            _TITLES.get(name, name): format_value(value)
            for name, value in scores.as_dict().items()
            if not isinstance(value, list)  # The bins.
        }
    )


def _load(name: str, *, text: bool = False) -> NDArray[Any]:
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


@contextmanager
def _progress_bar() -> Iterator[Callable[[int, int], object] | None]:
    if not (sys.stderr.isatty() and _has_rich()):
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("scoring")
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _print_table(rows: dict[str, str]) -> None:
    if sys.stdout.isatty() and _has_rich():
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(show_header=False)
        for name, value in rows.items():
            table.add_row(Text(name), Text(value))
        Console().print(table)
        return
    width = max(map(len, rows))
    for name, value in rows.items():
        print(f"{name:{width}}  {value}")


def _has_rich() -> bool:
    try:
        import rich  # noqa: F401
    except ModuleNotFoundError:
        return False
    return True


def _plain(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_plain, value))
    return str(value)


def _print_json(values: dict[str, Any]) -> None:
    finite = {
        name: list(map(_finite, value)) if isinstance(value, list) else _finite(value)
        for name, value in values.items()
    }
    print(json.dumps(finite, indent=2))


def _finite(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value
