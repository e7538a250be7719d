"""The operations by JAX, compiled. It decides itself how many threads it uses."""

import importlib
from typing import Any

from .arrays import Call, choose
from .cases import Data, K


def prepare(operation: str, d: Data, threads: int) -> Call | None:
    """Prepare a call of JAX."""
    jax: Any = importlib.import_module("jax")
    jnp: Any = importlib.import_module("jax.numpy")
    jax.config.update("jax_enable_x64", True)  # Else it makes float32 of float64.
    nn, axis = jax.nn, d.axis
    x = jnp.asarray(d.x)

    def finish(function: Any, *more: Any) -> Call:
        arguments = [x, *map(jnp.asarray, more)]
        compiled = jax.jit(function)
        return lambda: jax.block_until_ready(compiled(*arguments))

    def cross_entropy(x: Any, labels: Any) -> Any:
        index = jnp.expand_dims(labels, axis)
        return -jnp.take_along_axis(nn.log_softmax(x, axis), index, axis).mean()

    def cross_entropy_soft(x: Any, soft: Any) -> Any:
        return -(nn.log_softmax(x, axis) * soft).sum(axis).mean()

    def binary(x: Any, targets: Any) -> Any:
        return (nn.softplus(x) - x * targets).mean()

    gradient = jax.value_and_grad
    makers = {
        "softmax": lambda: finish(lambda x: nn.softmax(x, axis)),
        "log_softmax": lambda: finish(lambda x: nn.log_softmax(x, axis)),
        "logsumexp": lambda: finish(lambda x: nn.logsumexp(x, axis)),
        "cross_entropy": lambda: finish(cross_entropy, d.labels),
        "cross_entropy_soft": lambda: finish(cross_entropy_soft, d.soft),
        "cross_entropy_value_and_grad": lambda: finish(gradient(cross_entropy), d.labels),
        "binary_cross_entropy": lambda: finish(binary, d.binary),
        "binary_cross_entropy_value_and_grad": lambda: finish(gradient(binary), d.binary),
        "sigmoid": lambda: finish(nn.sigmoid),
        "argmax": lambda: finish(lambda x: jnp.argmax(x, axis)),
        "top_k": lambda: finish(lambda x: jax.lax.top_k(x, K)),
    }
    if axis != -1:
        del makers["top_k"]
    return choose(operation, makers)
