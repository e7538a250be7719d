"""What the commands that score have in common."""

import sys
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fastlogits._sweep import refuse_probabilities, rows_of_indices
from fastlogits._temperature import find_temperature
from fastlogits.metrics import Scores, format_value, score_blocks

from .errors import CommandError, refusals
from .outputs import check_output, whole_file
from .terminal import print_table, progress_bar

_TITLES = {
    "n": "rows",
    "n_classes": "classes",
    "nll": "negative log-likelihood",
    "perplexity": "perplexity",
    "accuracy": "accuracy",
    "top_k_accuracy": "top-{k} accuracy",
    "brier": "Brier score",
    "ece": "expected calibration error",
    "mce": "maximum calibration error",
}

_IGNORED = -100

# The temperatures and the scores that each gives: one, or before and after a calibration.
Scored: TypeAlias = list[tuple[float, Scores]]


def score_arrays(x: NDArray[Any], y: NDArray[Any], **options: Any) -> Scores:
    """Score what was loaded, with the options of `fastlogits.metrics.score` and a progress bar."""
    with progress_bar("scoring") as progress, refusals():
        return score_blocks(x, y, **options, progress=progress)


def fit_temperature(x: NDArray[Any], y: NDArray[Any]) -> float:
    """Return the temperature of the smallest loss, as `TemperatureScaler` finds it.

    Without scikit-learn, and rows that are to be ignored are.
    """
    with progress_bar("calibrating"), refusals():
        rows = rows_of_indices(x, y, None, _IGNORED)
        if not np.any(rows.labels != _IGNORED):
            raise CommandError("labels: expected a row that counts, to calibrate with, got none")
        refuse_probabilities(rows.logits, "logits")
        found = find_temperature(rows, ignore_index=_IGNORED)
    if found.limit:
        print(f"fastlogits: warning: {found.limit_warning()}", file=sys.stderr)
    return found.temperature


def print_scores(scored: Scored) -> None:
    """Print a table with a column for each temperature."""
    rows = [["temperature", *(format_value(temperature) for temperature, _ in scored)]]
    for name, title in _TITLES.items():
        values = [format_value(getattr(scores, name)) for _, scores in scored]
        rows.append([title.format(k=scored[0][1].k), *values])
    print_table(rows, header=["", "before", "after"] if len(scored) == 2 else [])


def check_plot(path: Path) -> None:
    """Fail before the work where no picture can be written."""
    check_output(path, ".png")
    try:
        import fastlogits.plots  # noqa: F401
    except ImportError as error:
        raise CommandError(f"--plot: {error}") from None


def write_plot(path: Path, scored: Scored) -> None:
    """Draw the reliability diagram of each temperature into a PNG file."""
    from fastlogits.plots import reliability_diagram

    labels = [f"temperature {temperature:.3g}" for temperature, _ in scored]
    figure = reliability_diagram([scores for _, scores in scored], labels=labels)
    with whole_file(path) as file:
        figure.savefig(file, format="png", dpi=250)
