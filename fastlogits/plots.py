"""Pictures of scores, with matplotlib: ``pip install 'fastlogits[cli]'``.

Nothing here opens a window, chooses a backend or changes a setting of matplotlib.
"""

from collections.abc import Sequence

try:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure
    from matplotlib.ticker import PercentFormatter
except ModuleNotFoundError as error:
    raise ImportError("fastlogits.plots needs matplotlib: pip install 'fastlogits[cli]'") from error

import numpy as np
from numpy.typing import NDArray

from fastlogits.metrics import Scores

__all__ = ["reliability_diagram"]

# Colours that the colour-blind tell apart (Okabe and Ito), and a marker each besides.
_COLORS = ["#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"]
_MARKERS = "os^Dv<P"


def reliability_diagram(
    scores: Scores | Sequence[Scores],
    *,
    labels: Sequence[str] | None = None,
    figure: Figure | SubFigure | None = None,
) -> Figure:
    """Draw accuracy over confidence, and below it the histogram of confidence.

    Where the probabilities can be believed, the points lie on the diagonal: of the rows predicted
    with a confidence of 80 %, 80 % are right. Points below it are overconfident.

    Parameters
    ----------
    scores : Scores or sequence of Scores
        What `fastlogits.metrics.score` returned; several are drawn over each other, such as those
        before and after a calibration.
    labels : sequence of str, optional
        What the legend calls each of them, before its expected calibration error.
    figure : matplotlib figure or subfigure, optional
        Where to draw. By default a new figure, which pyplot does not know: to have it shown in a
        notebook, pass one from ``pyplot.figure(layout="constrained")``.

    Returns
    -------
    matplotlib figure
        `figure`, or that of the subfigure, or the new one.

    Raises
    ------
    TypeError
        If `scores` are not Scores.
    ValueError
        If there are none, or `labels` are not as many.

    Examples
    --------
    >>> from fastlogits.metrics import score
    >>> from fastlogits.plots import reliability_diagram
    >>> logits, labels = [[2.0, 0.0], [0.0, 1.0], [3.0, 1.0]], [0, 1, 1]
    >>> both = score(logits, labels), score(logits, labels, temperature=2)
    >>> figure = reliability_diagram(both, labels=["before", "after"])
    >>> figure.savefig("reliability.png")
    """
    drawn = [scores] if isinstance(scores, Scores) else list(scores)
    for one in drawn:
        if not isinstance(one, Scores):
            raise TypeError(f"scores: expected Scores, got {type(one).__name__}")
    if not drawn:
        raise ValueError("scores: expected at least one, got none")
    if labels is not None and len(labels) != len(drawn):
        raise ValueError(
            f"labels: expected {len(drawn)}, one for each of scores, got {len(labels)}"
        )
    if figure is None:
        figure = Figure(figsize=(6.4, 6.8), layout="constrained")
    curves, histogram = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    curves.plot([0, 1], [0, 1], color="#888888", linestyle="--", label="perfectly calibrated")
    for i, one in enumerate(drawn):
        name = f"{labels[i]}: " if labels is not None else ""
        _draw(curves, histogram, one, f"{name}ECE {one.ece:.3g}", i)
    curves.set(xlim=(0, 1), ylim=(0, 1), ylabel="accuracy (share of right predictions)")
    curves.legend(loc="best")
    tallest = max(_shares(one).max() for one in drawn)
    histogram.set(
        ylim=(0, 1.05 * tallest or 1),
        xlabel="confidence (probability of the predicted class)",
        ylabel="share of rows",
    )
    histogram.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    for axes in (curves, histogram):
        axes.grid(color="#dddddd", linewidth=0.6)
        axes.set_axisbelow(True)
    return figure.figure


def _draw(curves: Axes, histogram: Axes, scores: Scores, label: str, index: int) -> None:
    share = _shares(scores)
    filled = share > 0
    color = _COLORS[index % len(_COLORS)]
    curves.plot(
        np.asarray(scores.bin_confidence)[filled],
        np.asarray(scores.bin_accuracy)[filled],
        color=color,
        marker=_MARKERS[index % len(_MARKERS)],
        label=label,
        # Markers at 1 are drawn whole; a line without points has no extent to make room for.
        clip_on=False,
        in_layout=False,
        zorder=3,
    )
    histogram.stairs(share, scores.bin_edges, color=color, linewidth=1.5)
    histogram.stairs(share, scores.bin_edges, color=color, fill=True, alpha=0.2)


def _shares(scores: Scores) -> NDArray[np.float64]:
    """Return the share of the rows in each bin."""
    count = np.asarray(scores.bin_count, dtype=np.float64)
    return count / (count.sum() or 1)
