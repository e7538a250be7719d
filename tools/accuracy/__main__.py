"""Measures, and writes docs/accuracy.json and docs/accuracy.md; --quick prints the table alone."""

import argparse
import os
import platform

import distributions

import fastlogits

from . import cases, document
from .measure import measure, rows_of
from .operations import OPERATIONS
from .peers import PEERS


def main():
    parser = argparse.ArgumentParser(prog="accuracy", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a part of the cases; write nothing")
    parser.add_argument(
        "--operation",
        action="append",
        choices=OPERATIONS,
        metavar="NAME",
        help="measure this one and others so named; the rest of the document stays",
    )
    options = parser.parse_args()
    there = [name for name, peer in PEERS.items() if not peer.missing()]
    found = {
        "size": "quick" if options.quick else "full",
        "machine": platform.machine(),
        "versions": {"fastlogits": fastlogits.__version__}
        | {name: PEERS[name].version() for name in there},
        "missing": [name for name in PEERS if name not in there],
        "cases": {
            "narrow": cases.NARROW[0],
            "wide": f"{cases.WIDE[-1]:,}".replace(",", " "),
            "distributions": len(distributions.DRAWS["float32"]),
            "elements": f"{cases.Elements('float32', '0 and 1').x.size:,}".replace(",", " "),
        },
        "rows": [],
    }
    adds = options.operation and not options.quick
    if adds:
        try:
            document.refresh(document.read(), found)
        except ValueError as error:
            parser.error(str(error))
    for dtype in cases.DTYPES:
        print(f"{dtype} ...", flush=True)
        names = options.operation or tuple(OPERATIONS)
        measured = measure(dtype, found["size"], there, os.cpu_count(), names)
        found["rows"] += map(document.stored, rows_of(dtype, measured))
    found["rows"] = document.in_order(found["rows"])
    if options.quick:
        print(document.render(found))
    else:
        document.write(document.refresh(document.read(), found) if adds else found)


if __name__ == "__main__":
    main()
