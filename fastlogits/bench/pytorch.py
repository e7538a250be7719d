"""The operations by PyTorch: as it runs them one by one, and through its compiler."""

import importlib
from functools import partial
from typing import Any

from .arrays import Call, choose
from .cases import Data, K


def eager(operation: str, d: Data, threads: int) -> Call | None:
    """Prepare a call of PyTorch."""
    return _prepare(operation, d, threads, compiled=False)


def compiled(operation: str, d: Data, threads: int) -> Call | None:
    """Prepare a call of what ``torch.compile`` makes of the operation."""
    return _prepare(operation, d, threads, compiled=True)


def _prepare(operation: str, d: Data, threads: int, *, compiled: bool) -> Call | None:
    torch: Any = importlib.import_module("torch")
    functional = torch.nn.functional
    torch.set_num_threads(threads)
    x, out = torch.from_numpy(d.x), torch.from_numpy(d.out)
    bce = functional.binary_cross_entropy_with_logits

    def finish(function: Any, *arguments: Any) -> Call:
        if compiled:
            # Else a function that has been compiled for many shapes is compiled no more.
            torch._dynamo.reset()
            function = torch.compile(function, dynamic=False)
        return partial(function, *arguments)

    def loss(function: Any, targets: Any) -> Call:
        return finish(lambda x, y: function(x, y), x, torch.from_numpy(targets))

    def cross_entropy(x: Any, y: Any) -> Any:
        # It takes the classes on axis 1.
        dim = d.axis % x.ndim
        same = y.ndim == x.ndim
        return functional.cross_entropy(x.movedim(dim, 1), y.movedim(dim, 1) if same else y)

    def value_and_grad(function: Any, targets: Any) -> Call:
        leaf = x.detach().requires_grad_()
        call = finish(lambda x, y: function(x, y), leaf, torch.from_numpy(targets))

        def run() -> tuple[Any, Any]:
            leaf.grad = None
            value = call()
            value.backward()
            return value.detach(), leaf.grad

        return run

    return choose(
        operation,
        {
            "softmax": lambda: finish(lambda x, y: torch.softmax(x, d.axis, out=y), x, out),
            "log_softmax": lambda: finish(lambda x, y: torch.log_softmax(x, d.axis, out=y), x, out),
            "logsumexp": lambda: finish(lambda x: torch.logsumexp(x, d.axis), x),
            "cross_entropy": lambda: loss(cross_entropy, d.labels),
            "cross_entropy_soft": lambda: loss(cross_entropy, d.soft),
            "cross_entropy_value_and_grad": lambda: value_and_grad(cross_entropy, d.labels),
            "binary_cross_entropy": lambda: loss(bce, d.binary),
            "binary_cross_entropy_value_and_grad": lambda: value_and_grad(bce, d.binary),
            "sigmoid": lambda: finish(lambda x, y: torch.sigmoid(x, out=y), x, out),
            "argmax": lambda: finish(lambda x: torch.argmax(x, d.axis), x),
            "top_k": lambda: finish(lambda x: torch.topk(x, K, d.axis), x),
        },
    )
