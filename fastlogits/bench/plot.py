"""A picture of the figures: nanoseconds per element over the shapes, a panel for each operation."""

import re
import textwrap
from typing import Any, BinaryIO

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from . import table
from .cases import Shape
from .libraries import LIBRARIES, OWN
from .run import Record

_BASELINE = "memcpy or read, 1 thread"
# Colours that the colour-blind tell apart (Okabe and Ito), and a marker each besides.
_STYLES: dict[str, dict[str, Any]] = {
    OWN: {"color": "#D55E00", "marker": "o", "linewidth": 2.5, "zorder": 5},
    "NumPy": {"color": "#0072B2", "marker": "s"},
    "SciPy": {"color": "#56B4E9", "marker": "v"},
    "PyTorch": {"color": "#009E73", "marker": "^"},
    "torch.compile": {"color": "#8FBF3F", "marker": "<"},
    "ONNX Runtime": {"color": "#CC79A7", "marker": "D"},
    "JAX": {"color": "#A07800", "marker": "P"},
    # Its mark shows the baseline of a single shape, where there is no line.
    _BASELINE: {"color": "#444444", "linestyle": "--", "marker": "_", "zorder": 4},
}
# 8 inches are 800 pixels on a page; the picture has twice as many.
_WIDTH, _PANEL, _LABELS, _EDGES = 8.0, 2.2, 1.0, 1.2
_LABELLED_APART = 4  # Of more panels, each has its own labels of shapes.
_RANK = [*LIBRARIES, _BASELINE]

Panels = dict[tuple[Any, ...], list[Record]]


def write(file: BinaryIO, records: list[Record], machine: dict[str, Any]) -> None:
    """Draw the records and write them as PNG."""
    panels: Panels = {}
    for record in records:
        key = tuple(record[k] for k in ("operation", "dtype", "isa", "threads"))
        panels.setdefault(key, []).append(record)
    figure = _figure(panels, _columns(records), table.heading(machine))
    figure.savefig(file, format="png", dpi=200)


def _columns(records: list[Record]) -> list[list[str]]:
    """The shapes, tiny ones in a column of their own: a call costs them more than its work."""
    tiny = dict.fromkeys(r["shape"] for r in records if r["to"] == "np.exp")
    others = dict.fromkeys(r["shape"] for r in records if r["shape"] not in tiny)
    return [list(shapes) for shapes in (tiny, others) if shapes]


def _figure(panels: Panels, columns: list[list[str]], caption: str) -> Figure:
    each_labelled = len(panels) > _LABELLED_APART
    height = _EDGES + _PANEL * len(panels) + _LABELS * (len(panels) if each_labelled else 1)
    figure = Figure(figsize=(_WIDTH, height), layout="constrained")
    grid = figure.subplots(
        len(panels), len(columns), squeeze=False, width_ratios=[1 + len(c) for c in columns]
    )
    entries: dict[str, Any] = {}
    for i, (row, (key, records)) in enumerate(zip(grid, panels.items(), strict=True)):
        for axes, shapes in zip(row, columns, strict=True):
            entries |= _draw(axes, records, shapes)
            _label(axes, shapes if each_labelled or i == len(panels) - 1 else [""] * len(shapes))
        operation, dtype, isa, threads = key
        title = f"{operation}, {dtype}, {isa}, {table.count(threads, 'thread')}"
        row[0].set_title(title, fontsize=10, loc="left")
        row[0].set_ylabel("ns per element", fontsize=9)
    ranked = sorted(entries, key=_RANK.index)
    figure.legend(
        [entries[name] for name in ranked],
        ranked,
        loc="outside upper center",
        ncols=4,
        frameon=False,
        fontsize=10,
    )
    # Broken behind commas and semicolons alone.
    unbroken = re.sub(r"(?<![,;]) ", "\u00a0", caption)
    figure.supxlabel(textwrap.fill(unbroken, 115), fontsize=8, color="#555555")
    return figure


def _draw(axes: Axes, records: list[Record], shapes: list[str]) -> dict[str, Any]:
    """Draw one operation over these shapes, and return what the legend shows."""
    lines: dict[str, tuple[list[int], list[float]]] = {}
    for record in records:
        name = _BASELINE if record["library"] in ("memcpy", "read") else record["library"]
        # NumPy's exp, the baseline of tiny arrays, is that of one row alone.
        if name != "np.exp" and record["shape"] in shapes:
            xs, ys = lines.setdefault(name, ([], []))
            xs.append(shapes.index(record["shape"]))
            ys.append(record["ns_per_element"])
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter("")
    axes.tick_params(axis="y", labelsize=8)
    axes.grid(axis="y", color="#dddddd", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlim(-0.5, len(shapes) - 0.5)
    return {name: axes.plot(xs, ys, **_style(name))[0] for name, (xs, ys) in lines.items()}


def _style(name: str) -> dict[str, Any]:
    return {"markersize": 5, "linewidth": 1.2} | _STYLES[name]


def _label(axes: Axes, shapes: list[str]) -> None:
    axes.set_xticks(range(len(shapes)), map(_words, shapes), fontsize=8)
    for label in axes.get_xticklabels():
        label.set(rotation=40, horizontalalignment="right", rotation_mode="anchor")


def _words(text: str) -> str:
    """A shape as people write it, its class axis said in words."""
    if not text:
        return ""
    shape = Shape.parse(text)
    narrow_space = "\u202f"
    lengths = "\u00d7".join(f"{n:_}".replace("_", narrow_space) for n in shape.lengths)
    return lengths if shape.axis == -1 else f"{lengths}, axis {shape.axis}"
