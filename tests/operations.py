"""The public functions, each in one of these lists: the tests that are the same of several go
through them. Processes that the tests start import this too."""

import inspect

import fastlogits

ELEMENTS = ["sigmoid", "log_sigmoid", "softplus"]
NORMALISED = ["softmax", "log_softmax"]
REDUCED = ["logsumexp"]
LOSSES = ["cross_entropy", "cross_entropy_value_and_grad", "softmax_grad_hess"]
BINARY_LOSSES = [
    "binary_cross_entropy_with_logits",
    "binary_cross_entropy_with_logits_value_and_grad",
]
DECISIONS = ["argmax", "top_k", "predict", "confidence"]
SCORES = ["metrics.score"]
# What is made of it alone, or of its sums, in scikit-learn's order of arguments.
SCORES_OF_CLASSES = [
    *("metrics.log_loss", "metrics.perplexity", "metrics.brier_score", "metrics.top_k_accuracy"),
    *("metrics.expected_calibration_error", "metrics.calibration_curve"),
]
SPECIAL_ROWS = ["special.softmax", "special.log_softmax", "special.logsumexp"]
# By SciPy's name, and what it is.
SPECIAL_ELEMENTS = {"special.expit": "sigmoid", "special.log_expit": "log_sigmoid"}
OPERATIONS = [
    *(*ELEMENTS, *NORMALISED, *REDUCED, *LOSSES, *BINARY_LOSSES, *DECISIONS),
    *(*SCORES, *SCORES_OF_CLASSES, *SPECIAL_ROWS, *SPECIAL_ELEMENTS),
]
# What is no operation: with arguments, and without.
SETTINGS = ["set_isa", "set_num_threads", "num_threads"]
QUERIES = ["available_isas", "get_isa", "get_num_threads", "show_config"]

# Of rows along any axes; and what gives an array like its own.
ROWS = NORMALISED + REDUCED
SAME_SHAPE = NORMALISED + ELEMENTS


def public(module=fastlogits, prefix=""):
    """The names of all public functions."""
    names = []
    for name in module.__all__:
        thing = getattr(module, name)
        if inspect.ismodule(thing):
            names += public(thing, f"{prefix}{name}.")
        elif callable(thing) and not inspect.isclass(thing):
            names.append(prefix + name)
    return names
