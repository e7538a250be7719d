"""Measures, and writes docs/accuracy.json and docs/accuracy.md; --quick prints the table alone."""

import argparse
import os
import platform

import distributions

import fastlogits

from . import cases, document
from .measure import measure, rows_of
from .peers import PEERS


def main():
    parser = argparse.ArgumentParser(prog="accuracy", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a part of the cases; write nothing")
    quick = parser.parse_args().quick
    size = "quick" if quick else "full"
    there = [name for name, peer in PEERS.items() if not peer.missing()]
    rows = []
    for dtype in cases.DTYPES:
        print(f"{dtype} ...", flush=True)
        measured = measure(dtype, size, there, workers=os.cpu_count())
        rows += map(document.stored, rows_of(dtype, measured))
    # The dtypes of an operation below each other.
    order = list(dict.fromkeys(row["operation"] for row in rows))
    rows.sort(key=lambda row: order.index(row["operation"]))
    found = {
        "size": size,
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
        "rows": rows,
    }
    if quick:
        print(document.render(found))
    else:
        document.write(found)


if __name__ == "__main__":
    main()
