"""From a classifier's decision_function to decisions whose probabilities can be believed.

A linear support vector machine tells handwritten digits apart, but its scores are no probabilities.
One temperature, learned from digits held out, makes them so. Then a digit is read by machine only
where its probability is above a threshold, and the others are left to people.
"""

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.svm import LinearSVC

import fastlogits as fl
from fastlogits.calibration import TemperatureScaler
from fastlogits.metrics import score

THRESHOLD = 0.9


def split(images, digits):
    """Three parts: to train on, to calibrate with, to test with."""
    train, rest, train_digits, rest_digits = train_test_split(
        images, digits, test_size=0.6, random_state=0, stratify=digits
    )
    held_out, test, held_out_digits, test_digits = train_test_split(
        rest, rest_digits, test_size=0.5, random_state=0, stratify=rest_digits
    )
    return (train, train_digits), (held_out, held_out_digits), (test, test_digits)


def show(name, logits, digits):
    scores = score(logits, digits)
    print(
        f"{name:<16}  loss {scores.nll:.4f}  calibration error {scores.ece:.4f}  "
        f"accuracy {scores.accuracy:.4f}"
    )


def main():
    images, digits = load_digits(return_X_y=True)
    train, held_out, test = split(images / images.max(), digits)
    print(f"{'data':<16}  {len(train[0])} to train on, {len(held_out[0])} to calibrate with")

    model = LinearSVC(random_state=0).fit(*train)
    scaler = TemperatureScaler().fit(model.decision_function(held_out[0]), held_out[1])
    print(f"{'calibration':<16}  temperature {scaler.temperature_:.4f}")

    # The digits of the test, before and after. Which one is the most likely does not change.
    logits = model.decision_function(test[0])
    calibrated = scaler.transform(logits)
    show("as trained", logits, test[1])
    show("calibrated", calibrated, test[1])

    # All from the logits: no matrix of probabilities is needed.
    predicted = fl.predict(calibrated, classes=scaler.classes_)
    sure = fl.confidence(calibrated) > THRESHOLD
    right = predicted == test[1]
    for name, some in {f"above {THRESHOLD:.0%}": sure, "left to people": ~sure}.items():
        print(f"{name:<16}  share {np.mean(some):.4f}  accuracy {np.mean(right[some]):.4f}")

    # Of one digit against the others, a threshold needs no sigmoid either.
    nine = TemperatureScaler().fit(model.decision_function(held_out[0])[:, 9], held_out[1] == 9)
    z = nine.transform(logits[:, 9])
    yes = fl.predict(z, threshold=THRESHOLD)
    nines = test[1][yes] == 9
    print(f"{'surely a nine':<16}  images {len(nines)}  of them nines {np.mean(nines):.4f}")


if __name__ == "__main__":
    main()
