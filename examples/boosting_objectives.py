"""Multi-class objectives for XGBoost and LightGBM, from one function of fastlogits.

First they drive a small boosting of scikit-learn's trees. Then, where the libraries themselves are
installed, they drive those, beside the objectives that the libraries have built in.
"""

from typing import NamedTuple

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.tree import DecisionTreeRegressor

import fastlogits as fl
from fastlogits.metrics import score

ROUNDS = 20
PARAMS = {"num_class": 10, "max_depth": 3, "learning_rate": 0.3}  # names of both libraries


def xgboost_objective(predt, dtrain):
    """For `xgboost.train(..., obj=...)`; predt are logits of shape (rows, classes)."""
    labels = dtrain.get_label().astype(np.int64)  # kept as float32
    # Weights are the objective's business; without any, this is an empty array.
    weight = dtrain.get_weight()
    weight = weight if len(weight) else None
    return fl.softmax_grad_hess(predt, labels, sample_weight=weight, hess_scale=2)


def lightgbm_objective(predt, train_set):
    """For `lightgbm.train({"objective": ..., ...}, ...)`; predt has the same shape."""
    labels = train_set.get_label().astype(np.int64)
    weight = train_set.get_weight()  # without any, None
    n_classes = predt.shape[1]
    scale = n_classes / (n_classes - 1)
    return fl.softmax_grad_hess(predt, labels, sample_weight=weight, hess_scale=scale)


class TrainingSet(NamedTuple):
    """As much of a DMatrix or Dataset as an objective asks for."""

    data: np.ndarray
    label: np.ndarray
    weight: np.ndarray | None = None

    def get_label(self):
        return self.label

    def get_weight(self):
        return np.ones(len(self.label)) if self.weight is None else self.weight


def boost_trees(objective, train, images):
    """Logits of `images`, after a Newton step by a tree for each class and round."""
    seen = np.zeros((len(train.data), PARAMS["num_class"]))
    unseen = np.zeros((len(images), PARAMS["num_class"]))
    for _ in range(ROUNDS):
        grad, hess = objective(seen, train)
        for c, (g, h) in enumerate(zip(grad.T, hess.T, strict=True)):
            # The splits are those of the least squares to each image's own step. Dividing is safe:
            # h keeps its digits where a probability is nearly 1.
            tree = DecisionTreeRegressor(max_depth=PARAMS["max_depth"], random_state=0)
            tree.fit(train.data, -g / h, sample_weight=h)
            # A leaf takes one step for all its images; the 1 is an L2 penalty, as in XGBoost.
            leaf = tree.apply(train.data)
            step = -PARAMS["learning_rate"] * np.bincount(leaf, g) / (np.bincount(leaf, h) + 1)
            seen[:, c] += step[leaf]
            unseen[:, c] += step[tree.apply(images)]
    return unseen


def boost_xgboost(train, images):
    """Logits of `images` from XGBoost, with the objective above and with its own."""
    import xgboost

    # A custom objective starts from logits of 0; let the other one do so too.
    params = {**PARAMS, "base_score": 0}
    data = xgboost.DMatrix(**train._asdict())
    custom = xgboost.train(params, data, ROUNDS, obj=xgboost_objective)
    builtin = xgboost.train({**params, "objective": "multi:softprob"}, data, ROUNDS)
    return [m.predict(xgboost.DMatrix(images), output_margin=True) for m in (custom, builtin)]


def boost_lightgbm(train, images):
    """Logits of `images` from LightGBM, with the objective above and with its own."""
    import lightgbm

    # From logits of 0 as well, and with every histogram added up in the same order.
    params = {**PARAMS, "boost_from_average": False, "verbosity": -1}
    params |= {"deterministic": True, "force_col_wise": True}
    logits = []
    for objective in (lightgbm_objective, "multiclass"):
        data = lightgbm.Dataset(**train._asdict())
        model = lightgbm.train({**params, "objective": objective}, data, ROUNDS)
        logits.append(model.predict(images, raw_score=True))
    return logits


def main():
    images, digits = load_digits(return_X_y=True)
    images, test_images, digits, test_digits = train_test_split(
        images, digits, test_size=0.5, random_state=0, stratify=digits
    )
    train = TrainingSet(images, digits)
    print(f"{len(images)} digits to train on, {len(test_images)} to test with; {ROUNDS} rounds")

    def show(name, logits, more=""):
        scores = score(logits, test_digits)
        print(f"{name:<24}  loss {scores.nll:.4f}  accuracy {scores.accuracy:.4f}{more}")

    show("small trees, as XGBoost", boost_trees(xgboost_objective, train, test_images))
    show("small trees, as LightGBM", boost_trees(lightgbm_objective, train, test_images))
    for name, boost in {"XGBoost": boost_xgboost, "LightGBM": boost_lightgbm}.items():
        try:
            custom, builtin = boost(train, test_images)
        except ImportError:
            print(f"{name:<24}  not installed")
            continue
        show(f"{name}, custom", custom)
        apart = np.abs(custom - builtin).max()
        show(f"{name}, built in", builtin, f"  logits at most {apart:.1e} apart")


if __name__ == "__main__":
    main()
