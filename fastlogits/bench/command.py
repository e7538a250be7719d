"""What ``fastlogits bench`` does with its options."""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import TextIO

import fastlogits
from fastlogits.commands.errors import CommandError
from fastlogits.commands.outputs import check_output, whole_file

from . import machine, table, targets
from .cases import LARGE, OPERATIONS, QUICK, SHAPES, Shape, worth_measuring
from .libraries import LIBRARIES, OWN
from .options import AXIS_0, STDOUT
from .run import Case, Record, Runner, cases


def run(arguments: argparse.Namespace) -> int:
    """Measure, print and write what the options ask for, and return the exit status."""
    to_stdout = arguments.json == STDOUT
    _check_files(arguments)
    todo = _cases(arguments)
    libraries, missing = _libraries(arguments)
    runner = Runner(libraries, arguments.rounds or (5 if arguments.quick else 31))
    found = machine.describe(libraries, [c.isa for c in todo], [c.threads for c in todo])
    said = sys.stderr if to_stdout else sys.stdout
    print(table.heading(found), file=said)
    measured = runner.run(todo)
    following: Iterable[Record]
    if said.isatty() and find_spec("rich"):
        following = table.follow_on_terminal(measured, len(todo), tables=not to_stdout)
    else:
        following = table.follow(measured, None if to_stdout else said)
    records = list(following)
    _print_notes(records, runner.notes, missing, said)
    if arguments.json:
        _write_json(arguments.json, {"machine": found, "missing": missing, "results": records})
    if arguments.plot:
        from .plot import write

        with whole_file(arguments.plot) as file:
            write(file, records, found)
    return 1 if arguments.check and any(map(table.missed, records)) else 0


def _print_notes(records: list[Record], notes: list[str], missing: list[str], out: TextIO) -> None:
    """Print what there is to say at the end.

    How the libraries compare, what they could not do, which were missing, and the targets.
    """
    lines = table.summary(records) + notes
    lines += [f"not installed, not measured: {name}" for name in missing]
    found = Counter(map(table.verdict, records))
    if found.total() > found[None]:
        words = (targets.MET, targets.AT_LIMIT, targets.MISSED)
        lines.append("targets: " + ", ".join(f"{found[word]} {word}" for word in words))
    for line in lines:
        print(line, file=out)


def _cases(arguments: argparse.Namespace) -> list[Case]:
    isas = arguments.isa or [fastlogits.get_isa()]
    shapes = [*(arguments.shape or (QUICK if arguments.quick else SHAPES))]
    if arguments.full:
        shapes += [shape for shape in LARGE if shape not in shapes]
    operations = arguments.operation or list(OPERATIONS)
    plain = [name for name in operations if name != AXIS_0]
    found = cases(shapes, arguments.dtype, plain, isas, arguments.threads)
    if not arguments.shape:
        found = [case for case in found if worth_measuring(case.operation, case.shape)]
    if AXIS_0 in operations:
        turned = [Shape(shape.lengths, 0) for shape in shapes]
        found += cases(turned, arguments.dtype, ["argmax"], isas, arguments.threads)
    if not found:
        raise CommandError("nothing to measure: no operation asked for can be done on the shapes")
    return found


def _libraries(arguments: argparse.Namespace) -> tuple[list[str], list[str]]:
    """The libraries that take part, and what keeps others from it."""
    asked = arguments.library
    if asked is None:
        asked = [name for name in LIBRARIES if not (arguments.quick and name == "torch.compile")]
    present, missing = [], []
    for name in dict.fromkeys([OWN, *asked]):
        lacking = LIBRARIES[name].missing()
        if lacking:
            missing.append(f"{name} (pip install {' '.join(lacking)})")
        else:
            present.append(name)
    return present, missing


def _check_files(arguments: argparse.Namespace) -> None:
    """Fail before the measuring, and not after it, where its results cannot be written."""
    if arguments.json and arguments.json != STDOUT:
        check_output(Path(arguments.json))
    if arguments.plot:
        check_output(arguments.plot, ".png")
        if find_spec("matplotlib") is None:
            raise CommandError("--plot needs matplotlib: pip install 'fastlogits[cli]'")


def _write_json(name: str, values: dict[str, object]) -> None:
    text = json.dumps(values, indent=1)
    if name == STDOUT:
        print(text)
        return
    with whole_file(Path(name)) as file:
        file.write(f"{text}\n".encode())
