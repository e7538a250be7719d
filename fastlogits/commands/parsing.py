"""Parsers of the commands, and the options that several have."""

import argparse
import json
import math
from collections.abc import Callable
from typing import Any, TypeAlias

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

FILES = """\
Files:
  FILE.npy          memory-mapped, so it may be larger than memory
  FILE.npz:MEMBER   one array of an archive, read whole; FILE.npz where it is the only one
"""

LABEL_FILES = f"""\
LOGITS is an array of numbers, classes on the last axis; LABELS has one integer for each row, and
rows labelled -100 do not count. {FILES}\
  any other name    labels only: text, one integer on each line
"""


def add_command(
    commands: Commands,
    name: str,
    run: Callable[[argparse.Namespace], int],
    *,
    help: str,
    description: str,
    examples: str,
) -> argparse.ArgumentParser:
    """Add a command, whose options are then added to the parser that is returned."""
    parser = commands.add_parser(
        name,
        help=help,
        description=description,
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    return parser


def add_logits(parser: argparse.ArgumentParser) -> None:
    """Add the file of logits."""
    parser.add_argument("logits", metavar="LOGITS", help=".npy or .npz file")


def add_labels(parser: argparse.ArgumentParser) -> None:
    """Add the file of labels."""
    parser.add_argument("labels", metavar="LABELS", help=".npy, .npz or text file")


def add_temperature(parser: argparse._ActionsContainer) -> None:
    """Add ``--temperature``."""
    parser.add_argument(
        "--temperature",
        type=_temperature,
        default=1.0,
        metavar="T",
        help="divide the logits by T: a number, or a .json file that calibrate wrote (default: 1)",
    )


def positive(text: str) -> int:
    """Return the number that an option is given."""
    if not (text.isascii() and text.isdecimal()) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text!r}")
    return int(text)


def _temperature(text: str) -> float:
    if not text.lower().endswith(".json"):
        return _positive_number(text)
    try:
        with open(text, encoding="utf-8") as file:
            return _positive_number(json.load(file)["temperature"])
    except argparse.ArgumentTypeError as error:
        reason = str(error)
    except OSError as error:
        reason = error.strerror or str(error)
    except (ValueError, LookupError, TypeError, RecursionError):
        reason = "no temperature in it"
    raise argparse.ArgumentTypeError(f"{text}: {reason}")


def _positive_number(value: Any) -> float:
    try:
        number = float(value)
    except (ValueError, TypeError, OverflowError):
        number = math.nan
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"expected a positive finite number, got {value!r:.40}")
    return number
