"""``fastlogits softmax`` and ``fastlogits log-softmax``."""

import argparse
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fastlogits

from .errors import CommandError, refusals
from .inputs import load
from .outputs import check_output, whole_file
from .parsing import FILES, Commands, add_command, add_logits, add_temperature
from .terminal import progress_bar

# 64 MB of float32. Where other programs keep a core busy, the threads wait for each other at the
# end of each block: a quarter of this takes twice the time then.
_BLOCK_ELEMENTS = 1 << 24

_DESCRIPTION = f"""\
Write the {{what}} of logits, classes on the last axis, as a .npy file.

OUT.npy appears under that name once it is complete; it may be LOGITS itself.

{FILES}"""

_EXAMPLES = """\
examples:
  fastlogits {name} logits.npy -o {out}
  fastlogits {name} logits.npy -o {out} --temperature 1.5 --dtype float16
  fastlogits {name} run.npz:logits -o {out} --temperature temperature.json
"""

_NAMES = {
    "softmax": ("probabilities", "probabilities.npy", fastlogits.softmax),
    "log-softmax": ("log-probabilities", "log_probabilities.npy", fastlogits.log_softmax),
}


def add_to(commands: Commands) -> None:
    """Add both commands."""
    for name, (what, out, function) in _NAMES.items():
        parser = add_command(
            commands,
            name,
            partial(_run, function),
            help=f"write the {what} of logits",
            description=_DESCRIPTION.format(what=what),
            examples=_EXAMPLES.format(name=name, out=out),
        )
        add_logits(parser)
        parser.add_argument(
            "-o", "--output", type=Path, required=True, metavar="OUT.npy", help="what to write"
        )
        add_temperature(parser)
        parser.add_argument(
            "--dtype",
            choices=["float16", "float32", "float64"],
            help="of the result (default: that of the logits; float64 for integers)",
        )


def _run(function: Any, arguments: argparse.Namespace) -> int:
    check_output(arguments.output, ".npy")
    x = load(arguments.logits)
    if x.ndim == 0:
        raise CommandError(f"{arguments.logits}: expected classes on the last axis, got shape ()")
    with refusals(arguments.logits):
        dtype = function(np.empty((0, 1), x.dtype), dtype=arguments.dtype).dtype
    compute = partial(function, temperature=arguments.temperature, dtype=dtype)
    with whole_file(arguments.output) as file:
        header = {"descr": dtype.str, "fortran_order": False, "shape": x.shape}
        np.lib.format.write_array_header_1_0(file, header)
        with progress_bar("writing") as progress:
            done, memory = 0, np.empty(0, dtype)
            for block in _blocks(x):
                if block.size > memory.size:
                    memory = np.empty(block.size, dtype)
                out = memory[: block.size].reshape(block.shape)
                compute(block, out=out)
                file.write(out.data)
                done += block.size
                if progress is not None:
                    progress(done, x.size)
    return 0


def _blocks(x: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """Yield parts of an array in C order, none larger than it has to be, whatever its layout."""
    if x.ndim == 1 or x.size <= _BLOCK_ELEMENTS:
        yield x
        return
    step = _BLOCK_ELEMENTS // (x.size // len(x))
    for start in range(0, len(x), step or 1):
        yield from [x[start : start + step]] if step else _blocks(x[start])
