"""A picture of the figures: nanoseconds per element over the shapes, a panel for each operation."""

import os
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")  # No display is needed to write a file.

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .cases import Shape
from .libraries import LIBRARIES, OWN
from .run import Record
from .table import heading

# Colours that the colour-blind tell apart (Okabe and Ito), and a marker each besides.
_STYLES: dict[str, dict[str, Any]] = {
    OWN: {"color": "#D55E00", "marker": "o", "linewidth": 2.5, "zorder": 5},
    "NumPy": {"color": "#0072B2", "marker": "s"},
    "SciPy": {"color": "#56B4E9", "marker": "v"},
    "PyTorch": {"color": "#009E73", "marker": "^"},
    "torch.compile": {"color": "#8FBF3F", "marker": "<"},
    "ONNX Runtime": {"color": "#CC79A7", "marker": "D"},
    "JAX": {"color": "#A07800", "marker": "P"},
}
_LIMIT = {"color": "#444444", "linestyle": "--", "linewidth": 1.5, "zorder": 4}
_WIDTH, _PANEL, _EDGES = 8.0, 2.5, 1.4  # inches; 8 of them are 800 pixels on a page
_RANK = [*LIBRARIES]


def write(path: Path, records: list[Record], machine: dict[str, Any]) -> None:
    """Draw the records and write a PNG file, which never is half a file under that name."""
    panels: dict[tuple[Any, ...], list[Record]] = {}
    for record in records:
        key = tuple(record[k] for k in ("operation", "dtype", "isa", "threads"))
        panels.setdefault(key, []).append(record)
    height = _EDGES + _PANEL * len(panels)
    figure = Figure(figsize=(_WIDTH, height), layout="constrained")
    every_axes = figure.subplots(len(panels), squeeze=False)[:, 0]
    entries: dict[str, Any] = {}
    for axes, (key, shown) in zip(every_axes, panels.items(), strict=True):
        operation, dtype, isa, threads = key
        entries |= _panel(axes, shown)
        count = "1 thread" if threads == 1 else f"{threads} threads"
        axes.set_title(f"{operation}, {dtype}, {isa}, {count}", fontsize=10, loc="left")
    ranked = sorted(entries, key=lambda name: _RANK.index(name) if name in _RANK else len(_RANK))
    figure.legend(
        [entries[name] for name in ranked],
        ranked,
        loc="outside upper center",
        ncols=4,
        frameon=False,
        fontsize=10,
    )
    figure.supxlabel(_wrapped(heading(machine)), fontsize=8, color="#555555")
    partial = path.with_name(path.name + ".partial")
    figure.savefig(partial, format="png", dpi=200)
    os.replace(partial, path)


def _panel(axes: Axes, records: list[Record]) -> dict[str, Any]:
    """Draw one operation and return what the legend shows."""
    shapes = list(dict.fromkeys(record["shape"] for record in records))
    place = {shape: i for i, shape in enumerate(shapes)}
    lines: dict[str, tuple[list[int], list[float]]] = {}
    limit = "limit of memory"
    for record in records:
        name = limit if record["library"] in ("memcpy", "read") else record["library"]
        if name == "np.exp":  # What a tiny array is measured against: no limit.
            continue
        xs, ys = lines.setdefault(name, ([], []))
        xs.append(place[record["shape"]])
        ys.append(record["ns_per_element"])
    drawn = {}
    for name, (xs, ys) in lines.items():
        common = {"markersize": 5, "linewidth": 1.2} | _STYLES.get(name, {})
        style = _LIMIT | {"marker": "_"} if name == limit else common
        (drawn[name],) = axes.plot(xs, ys, **style)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set_ylabel("ns per element", fontsize=9)
    axes.set_xticks(range(len(shapes)), map(_label, shapes), fontsize=8)
    if len(shapes) > 6:
        axes.tick_params(axis="x", rotation=40)
        for label in axes.get_xticklabels():
            label.set_horizontalalignment("right")
            label.set_rotation_mode("anchor")
    axes.grid(axis="y", color="#dddddd", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    return drawn


def _label(text: str) -> str:
    """A shape, its class axis said in words."""
    shape = Shape.parse(text)
    lengths = " × ".join(f"{n:_}".replace("_", " ") for n in shape.lengths)  # noqa: RUF001
    return lengths if shape.axis == -1 else f"{lengths}\naxis {shape.axis}"


def _wrapped(text: str, width: int = 115) -> str:
    lines = [""]
    for word in text.split(" "):
        if len(lines[-1]) + len(word) > width:
            lines.append("")
        lines[-1] += word + " "
    return "\n".join(line.strip() for line in lines)
