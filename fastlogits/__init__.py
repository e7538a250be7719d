"""From a model's raw scores (logits) to probabilities, losses and decisions, on the CPU."""

from fastlogits import metrics, special
from fastlogits._core import (
    available_isas,
    cross_entropy,
    cross_entropy_value_and_grad,
    get_isa,
    get_num_threads,
    log_sigmoid,
    log_softmax,
    logsumexp,
    set_isa,
    set_num_threads,
    sigmoid,
    softmax,
    softmax_grad_hess,
    softplus,
)
from fastlogits.config import __version__, num_threads, show_config

__all__ = [
    "__version__",
    "available_isas",
    "cross_entropy",
    "cross_entropy_value_and_grad",
    "get_isa",
    "get_num_threads",
    "log_sigmoid",
    "log_softmax",
    "logsumexp",
    "metrics",
    "num_threads",
    "set_isa",
    "set_num_threads",
    "show_config",
    "sigmoid",
    "softmax",
    "softmax_grad_hess",
    "softplus",
    "special",
]
