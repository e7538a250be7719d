"""From the logits of an ONNX Runtime model to scored probabilities.

A deployed model ends in logits: the softmax is left out of its graph, and applied where it is
wanted, by fastlogits, in place. The model here is a logistic regression, written as a graph of two
nodes; any other that gives logits is used in the same way.
"""

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

import fastlogits as fl
from fastlogits.metrics import score


def to_onnx(model):
    """The logits of a linear model as an ONNX graph: images @ coef.T + intercept."""
    coef = numpy_helper.from_array(model.coef_.T.astype(np.float32), "coef")
    intercept = numpy_helper.from_array(model.intercept_.astype(np.float32), "intercept")
    n_features, n_classes = model.coef_.T.shape
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["images", "coef"], ["products"]),
            helper.make_node("Add", ["products", "intercept"], ["logits"]),
        ],
        "linear",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["rows", n_features])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["rows", n_classes])],
        [coef, intercept],
    )
    opset = helper.make_opsetid("", 17)
    return helper.make_model(graph, opset_imports=[opset], ir_version=8).SerializeToString()


def main():
    images, digits = load_digits(return_X_y=True)
    train, test, train_digits, test_digits = train_test_split(
        images / images.max(), digits, test_size=0.5, random_state=0, stratify=digits
    )
    model = LogisticRegression(max_iter=1000).fit(train, train_digits)

    session = onnxruntime.InferenceSession(to_onnx(model), providers=["CPUExecutionProvider"])
    (logits,) = session.run(["logits"], {"images": test.astype(np.float32)})
    print(f"{'logits':<14}  {logits.shape[0]} rows of {logits.shape[1]}, {logits.dtype}")

    scores = score(logits, test_digits, k=2)
    print(
        f"{'scores':<14}  loss {scores.nll:.6f}  accuracy {scores.accuracy:.4f}  "
        f"accuracy of two guesses {scores.top_k_accuracy:.4f}  calibration error {scores.ece:.4f}"
    )

    # In the place of the logits, which have served.
    probabilities = fl.softmax(logits, out=logits)
    expected = model.predict_proba(test)
    print(f"{'probabilities':<14}  off at most {np.abs(probabilities - expected).max():.1e}")
    print(f"{'first row':<14}  {probabilities[0].round(3)}")


if __name__ == "__main__":
    main()
