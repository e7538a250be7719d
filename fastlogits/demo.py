"""The whole job on real data: train, score, calibrate, score again, check and draw."""

import shlex
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastlogits.commands.inputs import load
from fastlogits.commands.outputs import whole_file
from fastlogits.commands.scoring import fit_temperature, score_arrays, write_plot
from fastlogits.metrics import Scores

try:
    from sklearn.datasets import load_digits
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import train_test_split
except ModuleNotFoundError as error:
    raise ImportError(
        "fastlogits.demo needs scikit-learn: pip install 'fastlogits[sklearn]'"
    ) from error

__all__ = ["run"]

_TRAINING = 300
_BINS = 10
# The loss and the probabilities of a float32 row are within 2 units in the last place, 2.4e-7.
_TOLERANCE = 1e-6

_BY_HAND = """\
By hand    cd {folder}
           fastlogits score test_logits.npy test_labels.npy
           fastlogits calibrate calibration_logits.npy calibration_labels.npy -o temperature.json
           fastlogits score test_logits.npy test_labels.npy --temperature temperature.json
           fastlogits softmax test_logits.npy -o probabilities.npy --temperature temperature.json
"""


def run(folder: Path) -> int:
    """Run the demonstration and print each step.

    Parameters
    ----------
    folder : Path
        Where to write logits, labels and the picture; made where it is missing.

    Returns
    -------
    int
        0 where all figures agree with NumPy's, else 1.

    Raises
    ------
    OSError
        If the folder cannot be made.
    CommandError
        If a file cannot be written.

    Examples
    --------
    >>> from pathlib import Path
    >>> from fastlogits.demo import run
    >>> run(Path("fastlogits-demo"))  # doctest: +SKIP
    0
    """
    images, digits = load_digits(return_X_y=True)
    print(f"Data       {len(images)} handwritten digits of 8 x 8 pixels, from scikit-learn")
    seen, others, seen_digits, other_digits = train_test_split(
        images / images.max(), digits, train_size=_TRAINING, random_state=0, stratify=digits
    )
    model = LogisticRegression(C=1e4, max_iter=1000).fit(seen, seen_digits)
    print(f"Train      logistic regression on {len(seen)} of them, hardly regularised: overfitted")

    folder.mkdir(parents=True, exist_ok=True)
    half = len(others) // 2
    for name, part in (("calibration", slice(half)), ("test", slice(half, None))):
        logits = model.decision_function(others[part]).astype(np.float32)
        _save(folder / f"{name}_logits.npy", logits)
        _save(folder / f"{name}_labels.npy", other_digits[part])
    print(f"Write      {folder}: logits of {half} others to calibrate with, the rest to test on")

    x, y = _pair(folder, "test")
    before = score_arrays(x, y, n_bins=_BINS)
    print(f"Score      {_summary(before)}")
    temperature = fit_temperature(*_pair(folder, "calibration"))
    print(f"Calibrate  temperature {temperature:.4g}, which the logits are to be divided by")
    after = score_arrays(x, y, n_bins=_BINS, temperature=temperature)
    print(f"Score      {_summary(after)}")

    scored = [(1.0, before), (temperature, after)]
    agree = all([_agrees(found, _with_numpy(x / np.float64(t), y)) for t, found in scored])
    print(
        f"Check      the figures are {'' if agree else 'NOT '}those of plain NumPy in float64, "
        f"to {_TOLERANCE:g}"
    )
    print(_BY_HAND.format(folder=shlex.quote(str(folder))), end="")
    picture = folder / "reliability.png"
    write_plot(picture, scored)
    print(f"Picture    {picture}")
    return 0 if agree else 1


def _save(path: Path, array: NDArray[Any]) -> None:
    with whole_file(path) as file:
        np.save(file, array, allow_pickle=False)


def _pair(folder: Path, name: str) -> tuple[NDArray[Any], NDArray[Any]]:
    return load(f"{folder}/{name}_logits.npy"), load(f"{folder}/{name}_labels.npy")


def _summary(scores: Scores) -> str:
    return (
        f"loss {scores.nll:.4f}, accuracy {scores.accuracy:.4f}, Brier score {scores.brier:.4f}, "
        f"calibration error {scores.ece:.4f}"
    )


def _agrees(scores: Scores, expected: dict[str, float]) -> bool:
    """Return whether all figures agree, and name those that do not."""
    agree = True
    for name, value in expected.items():
        found = getattr(scores, name)
        # The calibration error is a difference of numbers near 1, and as exact as they are.
        if not abs(found - value) <= _TOLERANCE * (1 if name == "ece" else value):
            print(f"WRONG      {name}: fastlogits {found:.9g}, NumPy {value:.9g}")
            agree = False
    return agree


def _with_numpy(x: NDArray[np.float64], labels: NDArray[np.int64]) -> dict[str, float]:
    """Return the figures as a textbook computes them, with nothing of fastlogits."""
    e = np.exp(x - x.max(axis=1, keepdims=True))
    p = e / e.sum(axis=1, keepdims=True)
    truth = np.eye(p.shape[1])[labels]
    right = p.argmax(axis=1) == labels
    confidence = p.max(axis=1)
    bins = np.ceil(confidence * _BINS).astype(int) - 1
    nll = -np.log(p[truth == 1]).mean()
    return {
        "n": len(p),
        "nll": float(nll),
        "perplexity": float(np.exp(nll)),
        "accuracy": float(right.mean()),
        "brier": float(np.square(p - truth).sum(axis=1).mean()),
        "ece": float(np.abs(np.bincount(bins, confidence - right)).sum() / len(p)),
    }
