"""fastlogits.plots: what is drawn is what was scored, and matplotlib stays as it was."""

import subprocess
import sys

import numpy as np
import pytest

from fastlogits.metrics import score

Figure = pytest.importorskip("matplotlib.figure", reason="plots need matplotlib").Figure
reliability_diagram = pytest.importorskip("fastlogits.plots").reliability_diagram


@pytest.fixture(scope="module")
def both():
    """Scores before and after a calibration."""
    rng = np.random.default_rng(5)
    logits = rng.normal(0, 1, (500, 10))
    labels = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
    return [score(4 * logits, labels, temperature=t) for t in (1, 4)]


def legend(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


def test_curves_and_histogram_are_the_bins(both):
    figure = reliability_diagram(both, labels=["before", "after"])
    curves, histogram = figure.axes
    diagonal, *lines = curves.lines
    np.testing.assert_array_equal(diagonal.get_xydata(), [[0, 0], [1, 1]])
    for line, scores in zip(lines, both, strict=True):
        filled = scores.bin_count > 0
        assert 0 < filled.sum() < len(filled)
        np.testing.assert_array_equal(line.get_xdata(), scores.bin_confidence[filled])
        np.testing.assert_array_equal(line.get_ydata(), scores.bin_accuracy[filled])
    for patch, scores in zip(histogram.patches[::2], both, strict=True):
        values, edges, _ = patch.get_data()
        np.testing.assert_allclose(values, scores.bin_count / 500)
        np.testing.assert_array_equal(edges, scores.bin_edges)
    errors = [f"{scores.ece:.3g}" for scores in both]
    assert legend(curves)[1:] == [f"before: ECE {errors[0]}", f"after: ECE {errors[1]}"]
    assert len({line.get_color() for line in lines}) == 2
    assert len({line.get_marker() for line in lines}) == 2


def test_one_and_no_label(both):
    assert legend(reliability_diagram(both[0]).axes[0])[1:] == [f"ECE {both[0].ece:.3g}"]
    assert len(reliability_diagram(tuple(both)).axes[0].lines) == 3


@pytest.mark.parametrize("dpi", [50, 125])
def test_nothing_is_cut_off(both, dpi):
    """All text is within the figure, and no text on another; the curves are most of it."""
    labels = ["temperature 1", "temperature 4, which is a longer label"]
    empty = score(np.zeros((0, 3)), np.zeros(0, int))
    for figure in (reliability_diagram(both, labels=labels), reliability_diagram(empty)):
        figure.set_dpi(dpi)
        figure.draw_without_rendering()
        whole = figure.bbox
        for axes in figure.axes:
            box = axes.get_tightbbox()
            assert box.x0 >= 0
            assert box.y0 >= 0
            assert box.x1 <= whole.x1
            assert box.y1 <= whole.y1
        curves, histogram = (axes.get_window_extent() for axes in figure.axes)
        assert curves.height > whole.height / 2
        assert curves.width > whole.width * 0.8
        assert histogram.y1 < curves.y0
        legend = figure.axes[0].get_legend().get_window_extent()
        assert curves.contains(legend.x0, legend.y0)
        assert curves.contains(legend.x1, legend.y1)


def test_figures_of_ones_own(both):
    figure = Figure(layout="constrained")
    assert reliability_diagram(both, figure=figure) is figure
    figure = Figure(layout="constrained")
    for part, scores in zip(figure.subfigures(1, 2), both, strict=True):
        assert reliability_diagram(scores, figure=part) is figure
    assert len(figure.axes) == 4


def test_more_scores_than_colours(both):
    assert len(reliability_diagram(both * 5).axes[0].lines) == 11


@pytest.mark.parametrize(
    ("scores", "labels", "error", "words"),
    [
        ([], None, ValueError, "scores: expected at least one"),
        ({"ece": 1}, None, TypeError, "scores: expected Scores, got str"),
        (None, ["one"], ValueError, "labels: expected 2, one for each of scores, got 1"),
    ],
)
def test_wrong_arguments(both, scores, labels, error, words):
    with pytest.raises(error, match=words):
        reliability_diagram(both if scores is None else scores, labels=labels)


def test_matplotlib_stays_as_it_was():
    code = """if True:
        import sys
        import matplotlib
        before = dict.copy(matplotlib.rcParams)
        from fastlogits.metrics import score
        from fastlogits.plots import reliability_diagram
        figure = reliability_diagram(score([[2.0, 0.0]], [0]))
        figure.savefig(sys.stdout.buffer, format="png")
        assert dict.copy(matplotlib.rcParams) == before
        from matplotlib import pyplot
        assert pyplot.get_fignums() == []
    """
    run = subprocess.run([sys.executable, "-P", "-c", code], check=True, capture_output=True)
    assert run.stdout.startswith(b"\x89PNG")


def test_without_matplotlib_the_extra_is_named():
    code = """if True:
        import sys
        sys.modules["matplotlib"] = None
        try:
            import fastlogits.plots
        except ImportError as error:
            assert "pip install 'fastlogits[cli]'" in str(error)
            sys.exit(7)
    """
    assert subprocess.run([sys.executable, "-P", "-c", code]).returncode == 7
