"""The options of ``fastlogits bench``."""

import argparse
from pathlib import Path

import fastlogits

from .cases import DTYPES, OPERATIONS, Shape
from .libraries import LIBRARIES, OWN

DESCRIPTION = """\
Time fastlogits beside the libraries that are installed, all in one process and taking turns.

Printed are, for each operation and shape, the median time in nanoseconds per element, and its
ratio to the unavoidable work of one thread on the same array, with the quartiles of that ratio:
to a copy of the array for what writes one, to a sweep for its maximum for what only reads it, and
to NumPy's exp of one row where the array is tiny. A shape is written ROWSxCLASSES, with as many
axes as wanted; @0 behind it makes another axis that of the classes. JAX decides itself how many
threads it uses.

Of fastlogits, a target is the ratio it aims at. Its limit is the ratio of a loop, of the same
instruction set and on as many threads, that does only what the operation cannot do without, such
as the maximum and the exponentials of all elements and the division or logarithm of each row. A
target below the limit is out of reach: it is missed only where the ratio is more than a tenth above
the limit.
"""

EXAMPLES = """\
examples:
  fastlogits bench --quick
  fastlogits bench --operation softmax cross_entropy --threads 1 2 --plot bench.png
  fastlogits bench --shape 8192x1000 1000x8192@0 --library NumPy PyTorch --json bench.json
"""

STDOUT = "-"
AXIS_0 = "argmax_axis0"  # Another way to write --operation argmax --shape ...@0.


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command to its parser."""
    parser.add_argument("--quick", action="store_true", help="fewer shapes and rounds: a minute")
    parser.add_argument(
        "--full", action="store_true", help="also 1x16000000 and 2 GB, which takes 20 GB of memory"
    )
    parser.add_argument("--shape", type=_shape, nargs="+", metavar="SHAPE")
    parser.add_argument(
        "--operation",
        choices=[*OPERATIONS, AXIS_0],
        nargs="+",
        metavar="NAME",
        help=f"any of {', '.join(OPERATIONS)} (default: all)",
    )
    parser.add_argument("--dtype", choices=DTYPES, nargs="+", default=["float32"])
    parser.add_argument("--threads", type=_positive, nargs="+", default=[1], metavar="N")
    parser.add_argument("--isa", choices=fastlogits.available_isas(), nargs="+")
    parser.add_argument(
        "--library",
        choices=[name for name in LIBRARIES if name != OWN],
        nargs="*",
        metavar="NAME",
        help=f"any of {', '.join(name for name in LIBRARIES if name != OWN)} (default: all; with "
        "--quick, all but torch.compile; with no NAME, fastlogits alone)",
    )
    parser.add_argument("--rounds", type=_positive, metavar="N", help="turns of each (default: 31)")
    parser.add_argument(
        "--check", action="store_true", help="exit with status 1 where a target is missed"
    )
    parser.add_argument(
        "--json",
        nargs="?",
        const=STDOUT,
        metavar="FILE",
        help="write the figures as JSON (without FILE: print that and no table)",
    )
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="draw them")


def _shape(text: str) -> Shape:
    try:
        return Shape.parse(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"expected ROWSxCLASSES, perhaps with @AXIS, got {text!r}"
        ) from None


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text!r}")
    return int(text)
