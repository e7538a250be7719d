"""The whole job on real data: train, write, score, and check the figures in front of the user."""

import os
import shlex
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

from fastlogits.cli import print_scores, score_files

__all__ = ["run"]

# The loss of a float32 row is within 2 units in the last place, 2.4e-7 of its value.
_TOLERANCE = 1e-6


def run(folder: Path) -> int:
    """Run the demonstration and print each step.

    Parameters
    ----------
    folder : Path
        Where to write ``logits.npy`` and ``labels.npy``; made where it is missing.

    Returns
    -------
    int
        0 where all figures agree with NumPy's, else 1.

    Raises
    ------
    OSError
        If the folder cannot be written.

    Examples
    --------
    >>> from pathlib import Path
    >>> from fastlogits.demo import run
    >>> run(Path("fastlogits-demo"))  # doctest: +SKIP
    0
    """
    images, digits = load_digits(return_X_y=True)
    seen, held_out, seen_digits, labels = train_test_split(
        images / images.max(), digits, test_size=0.5, random_state=0, stratify=digits
    )
    print(f"Data      {len(images)} handwritten digits of 8 x 8 pixels, from scikit-learn")
    model = LogisticRegression(max_iter=1000).fit(seen, seen_digits)
    print(f"Training  logistic regression on {len(seen)} of them")
    logits = model.decision_function(held_out).astype(np.float32)

    folder.mkdir(parents=True, exist_ok=True)
    logits_file = _save(folder / "logits.npy", logits)
    labels_file = _save(folder / "labels.npy", labels)
    print(f"Writing   {logits_file}, the logits of the other {len(logits)}, {logits.dtype}")
    print(f"Writing   {labels_file}, their true digits, {labels.dtype}")

    print(f"Scoring   fastlogits score {shlex.quote(logits_file)} {shlex.quote(labels_file)}\n")
    scores = score_files(logits_file, labels_file)
    print_scores(scores)

    print(f"\nChecking  against plain NumPy in float64, to a relative {_TOLERANCE:g}")
    found = scores.as_dict()
    agree = True
    for name, expected in _with_numpy(np.load(logits_file), np.load(labels_file)).items():
        difference = abs(found[name] - expected) / abs(expected)
        ok = difference <= _TOLERANCE
        agree &= ok
        print(
            f"  {name:<10}  fastlogits {found[name]:<12.9g}  NumPy {expected:<12.9g}  "
            f"difference {difference:.1e}  {'ok' if ok else 'WRONG'}"
        )
    print("\nAll figures agree." if agree else "\nThe figures DISAGREE: please report it.")
    return 0 if agree else 1


def _save(path: Path, array: NDArray[Any]) -> str:
    """Write the array and return the file's name, which never names half a file."""
    partial = path.with_suffix(".partial")
    with open(partial, "wb") as file:
        np.save(file, array, allow_pickle=False)
    os.replace(partial, path)
    return str(path)


def _with_numpy(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> dict[str, float]:
    """Return the figures as a textbook computes them, with nothing of fastlogits."""
    x = logits.astype(np.float64)
    largest = x.max(axis=1)
    logsumexp = largest + np.log(np.exp(x - largest[:, np.newaxis]).sum(axis=1))
    nll = np.mean(logsumexp - x[np.arange(len(x)), labels])
    return {
        "n": len(x),
        "nll": float(nll),
        "perplexity": float(np.exp(nll)),
        "accuracy": float(np.mean(x.argmax(axis=1) == labels)),
    }
