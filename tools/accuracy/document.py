"""docs/accuracy.json, and docs/accuracy.md which is made of it."""

import json
import math
from pathlib import Path

from operations import ELEMENTS

from .cases import DTYPES
from .operations import OPERATIONS

DOCS = Path(__file__).resolve().parents[2] / "docs"
JSON, MARKDOWN = DOCS / "accuracy.json", DOCS / "accuracy.md"

HEAD = """\
# How near the results are

Made by `make accuracy PEERS=1`. No result of `fastlogits` may be further off than this table says:
the tests measure again, on a part of the cases.

An error is the distance from the exact result in units in the last place (ulp) of the result's
dtype: the spacing of its numbers at the exact result or, where a note below the table says so, at
something larger. Each cell has the largest error and, in brackets, the mean over the results that
are normal numbers (∞: a result that is finite came out infinite or NaN), of

- rows of {narrow} to {wide} classes from {distributions} distributions, flat and confident: N(0, 3)
  to N(0, 60), offsets to 1e30, ties, few distinct logits, mostly -inf; with temperatures from 0.1
  to 1000;
- {elements} logits of all magnitudes (of half precision, all there are) for what takes them one by
  one, with targets 0 and 1, or in [0, 1];
- the losses of single rows and elements (`reduction="none"`), half of the labels being the largest
  logit.

These are not the worst cases. Of rows made so that all rounding errors add up,
`tests/test_accuracy.py` has the worst known: 3.3 ulp for softmax, 1.2 for logsumexp.
`make exhaustive` tries every float32 in {elementwise}, and in the exponentials
and logarithms that all is made of.

Float16 and bfloat16 are computed in float32 and rounded once. The losses and logsumexp of them are
float32: see the column "result".
"""


def shown(figure):
    """A number of ulp."""
    value = float(figure)
    if math.isinf(value):
        return "∞"
    if value < 10:
        return f"{value:.2f}"
    return (
        f"{value:.0f}" if value < 10_000 else f"{value:.1e}".replace("e+0", "e").replace("e+", "e")
    )


def pair(figures):
    return f"{shown(figures['largest'])} ({shown(figures['mean'])})"


def stored(row):
    """A row as it is kept: no figure smaller than it is, none with more digits than it means."""

    def rounded(figures):
        largest, mean = figures["largest"], figures["mean"]
        up = math.ceil(largest * 100 - 1e-9) / 100 if math.isfinite(largest) else "inf"
        return {"largest": up, "mean": float(f"{mean:.4g}") if math.isfinite(mean) else "inf"}

    peers = {peer: rounded(figures) for peer, figures in row["peers"].items()}
    return row | rounded(row) | {"peers": peers}


def write(document):
    lines = ",\n  ".join(json.dumps(row, ensure_ascii=False) for row in document["rows"])
    about = {key: value for key, value in document.items() if key != "rows"}
    head = json.dumps(about, ensure_ascii=False, indent=1).removesuffix("\n}")
    JSON.write_text(f'{head},\n "rows": [\n  {lines}\n ]\n}}\n', encoding="utf-8")
    MARKDOWN.write_text(render(document), encoding="utf-8")


def read():
    return json.loads(JSON.read_text(encoding="utf-8"))


def listed(names):
    return f"{', '.join(names[:-1])} and {names[-1]}"


def refresh(known, found):
    """The document with the operations of `found`, measured alike, in the place of its own."""
    differing = [key for key in known if key != "rows" and known[key] != found[key]]
    if differing:
        what = "; ".join(f"{key}: {found[key]}, there {known[key]}" for key in differing)
        raise ValueError(f"{JSON.name} is of something else, so measure all operations ({what})")
    new = {row["operation"] for row in found["rows"]}
    rows = [row for row in known["rows"] if row["operation"] not in new] + found["rows"]
    return known | {"rows": in_order(row for row in rows if row["operation"] in OPERATIONS)}


def in_order(rows):
    """The dtypes of an operation below each other."""
    names = list(OPERATIONS)
    return sorted(rows, key=lambda row: (names.index(row["operation"]), DTYPES.index(row["dtype"])))


def render(document):
    peers = list(document["versions"])[1:]
    lines = [HEAD.format(**document["cases"], elementwise=listed(ELEMENTS))]
    lines += [f"fastlogits {document['versions']['fastlogits']}, on {document['machine']}."]
    if peers:
        beside = ", ".join(f"{name} {document['versions'][name]}" for name in peers)
        lines[-1] += f" Beside it, in the same run: {beside}."
    lines += [f"Not installed, so not measured: {name}." for name in document["missing"]]
    whole = {tuple(row["isas"]) for row in document["rows"]}
    if len(whole) == 1:
        (isas,) = whole
        lines += [
            "",
            f"The results on {', '.join(isas)} were compared: they are the same to the bit. A row "
            "of the table is of all of them.",
        ]
    notes = list(dict.fromkeys(o.unit for o in OPERATIONS.values() if o.unit))
    columns = ["operation", "dtype", "result", "instruction sets", "fastlogits", "where", *peers]
    lines += ["", f"| {' | '.join(columns)} |", "| " + " | ".join("---" for _ in columns) + " |"]
    for row in document["rows"]:
        unit = OPERATIONS[row["operation"]].unit
        mark = f" [{notes.index(unit) + 1}]" if unit else ""
        cells = [
            row["operation"].replace("_", "\\_") + mark,
            row["dtype"],
            row["result"],
            " = ".join(row["isas"]),
            pair(row),
            row["where"],
            *(pair(row["peers"][p]) if p in row["peers"] else "" for p in peers),
        ]
        lines += [f"| {' | '.join(cells)} |"]
    lines += [""] + [f"{i}. Unit: the {note}." for i, note in enumerate(notes, 1)]
    return "\n".join(lines) + "\n"
