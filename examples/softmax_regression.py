"""Multinomial logistic regression in a page: fastlogits has the loss, SciPy finds its minimum.

It minimises what scikit-learn's LogisticRegression minimises, so the two are compared.
"""

import numpy as np
from scipy.optimize import minimize
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

import fastlogits as fl
from fastlogits.metrics import score

N_CLASSES = 10
C = 1.0  # the inverse strength of the L2 penalty, as scikit-learn counts it


def logits_of(theta, images):
    """The logits of a linear model: the last row of theta is the bias."""
    return images @ theta[:-1] + theta[-1]


def objective(theta, images, labels):
    """The penalised loss and its gradient, for an optimiser that knows only vectors."""
    theta = theta.reshape(-1, N_CLASSES)
    logits = logits_of(theta, images)
    # One walk for loss and gradient. The logits have served, so the gradient takes their place.
    loss, residual = fl.cross_entropy_value_and_grad(logits, labels, out=logits)
    grad = np.vstack([images.T @ residual, residual.sum(axis=0)])
    # scikit-learn's C weighs the sum of the losses, here it is their mean. The bias goes free.
    strength = 1 / (C * len(images))
    grad[:-1] += strength * theta[:-1]
    return loss + strength / 2 * np.sum(theta[:-1] ** 2), grad.ravel()


def fit(images, labels):
    """Minimise the objective from zero."""
    start = np.zeros((images.shape[1] + 1) * N_CLASSES)
    found = minimize(objective, start, args=(images, labels), method="L-BFGS-B", jac=True)
    return found.x.reshape(-1, N_CLASSES)


def fit_sklearn(images, labels):
    """The same model from scikit-learn, in the same layout."""
    # The tolerance at which SciPy's minimum stops too.
    model = LogisticRegression(C=C, tol=1e-5, max_iter=1000).fit(images, labels)
    return np.vstack([model.coef_.T, model.intercept_])


def main():
    images, digits = load_digits(return_X_y=True)
    train, test, train_digits, test_digits = train_test_split(
        images / images.max(), digits, test_size=0.5, random_state=0, stratify=digits
    )
    print(f"{'data':<12}  {len(train)} digits to train on, {len(test)} to test with")
    for name, method in {"fastlogits": fit, "scikit-learn": fit_sklearn}.items():
        theta = method(train, train_digits)
        minimum, _ = objective(theta.ravel(), train, train_digits)
        scores = score(logits_of(theta, test), test_digits)
        print(
            f"{name:<12}  objective {minimum:.6f}  "
            f"test loss {scores.nll:.4f}  test accuracy {scores.accuracy:.4f}"
        )


if __name__ == "__main__":
    main()
