"""What is measured: each operation, its exact result, and the unit its error is counted in."""

import operator
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import reference
from operations import ELEMENTS, SPECIAL_ELEMENTS

import fastlogits as fl
from fastlogits import special


class Operation(NamedTuple):
    """`exact` gives the exact results of a problem and, where the unit is not the spacing at them,
    numbers at which it is. `bound` is what the largest error may be; of results in half precision,
    which are rounded once more, it is that of the rounding."""

    family: str
    call: Callable
    exact: Callable
    bound: float
    unit: str = ""


# Bounds of results that are rounded to half precision.
HALF_BOUND = 0.51
LARGEST_OR_1 = "spacing at the largest of the result, the largest logit and 1"
TERMS = "spacing at the sum of the magnitudes of the two terms"
THOUSANDTH = "spacing at the result, or at 0.001 if that is larger"


def own(function):
    """Exact results of which the spacing is the unit."""
    return lambda p: (function(p), None)


def sized_as_logsumexp(exact, x):
    largest = np.abs(np.max(x.astype(reference.WIDE), axis=-1))
    return exact, np.maximum(np.maximum(np.abs(exact), largest), 1)


def logsumexp(p):
    return sized_as_logsumexp(p.rows.logsumexp(), p.x)


def energy(p):
    return sized_as_logsumexp(-p.rows.logsumexp(), p.x)


def weighted_logsumexp(p):
    x, b = p.x.astype(reference.WIDE), p.weights.astype(reference.WIDE)
    return sized_as_logsumexp(reference.logsumexp(x + np.log(b)), p.x)


def margin(p):
    exact = reference.confidence(p.x, "margin")
    return exact, np.maximum(exact, reference.WIDE(1e-3))


def soft_gradient(p):
    return p.soft_loss.grad, p.soft_loss.grad_terms


def binary_soft_gradient(p):
    return p.binary[1], p.binary[2]


def loss(p, targets):
    return fl.cross_entropy(p.x, targets, reduction="none")


def loss_and_grad(p, targets):
    return fl.cross_entropy_value_and_grad(p.x, targets, reduction="none")


def binary(p):
    return fl.binary_cross_entropy_with_logits(p.x, p.targets, reduction="none")


def binary_and_grad(p):
    return fl.binary_cross_entropy_with_logits_value_and_grad(p.x, p.targets, reduction="none")


def of_kind(kind):
    return lambda p: fl.confidence(p.x, kind=kind)


def elementwise(name, exact):
    function, exact = operator.attrgetter(name)(fl), getattr(reference, exact)
    return Operation(E, lambda p: function(p.x), own(lambda p: exact(p.x)), 2)


R, T, E, S = "rows", "tempered rows", "elements", "elements of soft targets"
hard_value, hard_grad = own(lambda p: p.hard_loss.value), own(lambda p: p.hard_loss.grad)
soft_value = own(lambda p: p.soft_loss.value)
softmax, log_softmax = own(lambda p: p.rows.softmax()), own(lambda p: p.rows.log_softmax())
binary_value, binary_grad = own(lambda p: p.binary[0]), own(lambda p: p.binary[1])

BCE = "binary_cross_entropy_with_logits"
OPERATIONS = {
    "softmax": Operation(R, lambda p: fl.softmax(p.x), softmax, 2),
    "softmax, temperature": Operation(
        T, lambda p: fl.softmax(p.x, temperature=p.temperature), softmax, 2
    ),
    "log_softmax": Operation(R, lambda p: fl.log_softmax(p.x), log_softmax, 2),
    "log_softmax, temperature": Operation(
        T, lambda p: fl.log_softmax(p.x, temperature=p.temperature), log_softmax, 2.5
    ),
    "logsumexp": Operation(R, lambda p: fl.logsumexp(p.x), logsumexp, 1, LARGEST_OR_1),
    "cross_entropy": Operation(R, lambda p: loss(p, p.labels), hard_value, 2),
    "cross_entropy, soft targets": Operation(R, lambda p: loss(p, p.soft), soft_value, 2.5),
    "cross_entropy_value_and_grad: value": Operation(
        R, lambda p: loss_and_grad(p, p.labels)[0], hard_value, 2
    ),
    "cross_entropy_value_and_grad: gradient": Operation(
        R, lambda p: loss_and_grad(p, p.labels)[1], hard_grad, 2.5
    ),
    "cross_entropy_value_and_grad, soft targets: value": Operation(
        R, lambda p: loss_and_grad(p, p.soft)[0], soft_value, 2.5
    ),
    "cross_entropy_value_and_grad, soft targets: gradient": Operation(
        R, lambda p: loss_and_grad(p, p.soft)[1], soft_gradient, 3, TERMS
    ),
    "softmax_grad_hess: gradient": Operation(
        R, lambda p: fl.softmax_grad_hess(p.x, p.labels)[0], own(lambda p: p.grad_hess[0]), 2.5
    ),
    "softmax_grad_hess: Hessian": Operation(
        R, lambda p: fl.softmax_grad_hess(p.x, p.labels)[1], own(lambda p: p.grad_hess[1]), 3
    ),
    BCE: Operation(E, binary, binary_value, 2),
    f"{BCE}, soft targets": Operation(S, binary, binary_value, 3),
    f"{BCE}_value_and_grad: value": Operation(E, lambda p: binary_and_grad(p)[0], binary_value, 2),
    f"{BCE}_value_and_grad: gradient": Operation(
        E, lambda p: binary_and_grad(p)[1], binary_grad, 2.5
    ),
    f"{BCE}_value_and_grad, soft targets: value": Operation(
        S, lambda p: binary_and_grad(p)[0], binary_value, 3
    ),
    f"{BCE}_value_and_grad, soft targets: gradient": Operation(
        S, lambda p: binary_and_grad(p)[1], binary_soft_gradient, 2.5, TERMS
    ),
    **{name: elementwise(name, name) for name in ELEMENTS},
    'confidence, "max_prob"': Operation(
        R, of_kind("max_prob"), own(lambda p: reference.confidence(p.x, "max_prob")), 2
    ),
    'confidence, "margin"': Operation(R, of_kind("margin"), margin, 8, THOUSANDTH),
    'confidence, "entropy"': Operation(
        R, of_kind("entropy"), own(lambda p: reference.confidence(p.x, "entropy")), 8
    ),
    'confidence, "energy"': Operation(R, of_kind("energy"), energy, 1, LARGEST_OR_1),
    "special.softmax": Operation(R, lambda p: special.softmax(p.x, axis=-1), softmax, 2),
    "special.log_softmax": Operation(
        R, lambda p: special.log_softmax(p.x, axis=-1), log_softmax, 2
    ),
    "special.logsumexp": Operation(
        R, lambda p: special.logsumexp(p.x, axis=-1), logsumexp, 1, LARGEST_OR_1
    ),
    "special.logsumexp, weights": Operation(
        R,
        lambda p: special.logsumexp(p.x, axis=-1, b=p.weights),
        weighted_logsumexp,
        3,
        LARGEST_OR_1,
    ),
    **{name: elementwise(name, exact) for name, exact in SPECIAL_ELEMENTS.items()},
}


def bound_of(operation, result_dtype):
    """What the largest error of results of that dtype may be."""
    return operation.bound if np.dtype(result_dtype).itemsize > 2 else HALF_BOUND
