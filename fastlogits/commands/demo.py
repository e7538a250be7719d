"""``fastlogits demo``."""

import argparse
from pathlib import Path

from .errors import CommandError
from .parsing import Commands, add_command

_DESCRIPTION = """\
Train a classifier on scikit-learn's handwritten digits, score its logits, calibrate them, score
again, and draw the difference. The figures are checked against plain NumPy.
Needs fastlogits[cli,sklearn].
"""

_EXAMPLES = """\
examples:
  fastlogits demo
  fastlogits demo --dir digits
"""


def add_to(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "demo",
        _run,
        help="a tour: train on handwritten digits, score, calibrate, score again, draw",
        description=_DESCRIPTION,
        examples=_EXAMPLES,
    )
    parser.add_argument(
        "--dir",
        type=Path,
        default=Path("fastlogits-demo"),
        metavar="FOLDER",
        help="where to write logits, labels and the picture (default: ./fastlogits-demo)",
    )


def _run(arguments: argparse.Namespace) -> int:
    try:  # What it needs are extras.
        import fastlogits.plots  # noqa: F401
        from fastlogits.demo import run
    except ImportError as error:
        raise CommandError(f"demo: {error}") from None
    return run(arguments.dir)
