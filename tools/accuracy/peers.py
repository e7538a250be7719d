"""The same operations by other libraries, as their users call them."""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version

import numpy as np

# What they raise for a dtype that they do not take.
REFUSALS = (TypeError, NotImplementedError, RuntimeError, ValueError)
BCE = "binary_cross_entropy_with_logits"


@cache
def pytorch():
    import ml_dtypes
    import torch
    from torch.nn import functional

    def tensor(a):
        if a.dtype.name == "bfloat16":
            return torch.from_numpy(a.view(np.int16)).view(torch.bfloat16)
        return torch.from_numpy(a)

    def array(t):
        t = t.detach()
        if t.dtype == torch.bfloat16:
            return t.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
        return t.numpy()

    def of(function):
        return lambda p: array(function(tensor(p.x)))

    def loss(function, targets):
        return lambda p: array(function(tensor(p.x), tensor(targets(p)), reduction="none"))

    def gradient(function, targets):
        def call(p):
            x = tensor(p.x).requires_grad_()
            function(x, tensor(targets(p)), reduction="sum").backward()
            return array(x.grad)

        return call

    def labels(p):
        return p.labels

    def soft(p):
        return p.soft

    def targets(p):
        return p.targets

    ce, bce = functional.cross_entropy, functional.binary_cross_entropy_with_logits
    return {
        "softmax": of(lambda x: torch.softmax(x, -1)),
        "softmax, temperature": lambda p: array(torch.softmax(tensor(p.x) / p.temperature, -1)),
        "log_softmax": of(lambda x: torch.log_softmax(x, -1)),
        "log_softmax, temperature": lambda p: array(
            torch.log_softmax(tensor(p.x) / p.temperature, -1)
        ),
        "logsumexp": of(lambda x: torch.logsumexp(x, -1)),
        "cross_entropy": loss(ce, labels),
        "cross_entropy, soft targets": loss(ce, soft),
        "cross_entropy_value_and_grad: gradient": gradient(ce, labels),
        "cross_entropy_value_and_grad, soft targets: gradient": gradient(ce, soft),
        BCE: loss(bce, targets),
        f"{BCE}, soft targets": loss(bce, targets),
        f"{BCE}_value_and_grad: gradient": gradient(bce, targets),
        f"{BCE}_value_and_grad, soft targets: gradient": gradient(bce, targets),
        "sigmoid": of(torch.sigmoid),
        "log_sigmoid": of(functional.logsigmoid),
        "softplus": of(functional.softplus),
    }


@cache
def scipy():
    from scipy import special

    def of(function):
        def call(p):
            with np.errstate(all="ignore"):
                return np.asarray(function(p))

        return call

    return {
        "softmax": of(lambda p: special.softmax(p.x, axis=-1)),
        "log_softmax": of(lambda p: special.log_softmax(p.x, axis=-1)),
        "logsumexp": of(lambda p: special.logsumexp(p.x, axis=-1)),
        "sigmoid": of(lambda p: special.expit(p.x)),
        "log_sigmoid": of(lambda p: special.log_expit(p.x)),
        "special.softmax": of(lambda p: special.softmax(p.x, axis=-1)),
        "special.log_softmax": of(lambda p: special.log_softmax(p.x, axis=-1)),
        "special.logsumexp": of(lambda p: special.logsumexp(p.x, axis=-1)),
        "special.logsumexp, weights": of(lambda p: special.logsumexp(p.x, axis=-1, b=p.weights)),
        "special.expit": of(lambda p: special.expit(p.x)),
        "special.log_expit": of(lambda p: special.log_expit(p.x)),
    }


@cache
def onnx_runtime():
    import onnxruntime as runtime
    from onnx import helper

    @cache
    def session(node, dtype, ndim, more):
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        axes = helper.make_tensor(
            "axes", helper.np_dtype_to_tensor_dtype(np.dtype("i8")), [1], [-1]
        )
        reduces = node == "ReduceLogSumExp"
        graph = helper.make_graph(
            [helper.make_node(node, ["x", "axes"] if reduces else ["x"], ["y"], **dict(more))],
            "one node",
            [helper.make_tensor_value_info("x", kind, [None] * ndim)],
            [helper.make_tensor_value_info("y", kind, None)],
            [axes] if reduces else [],
        )
        opset = helper.make_opsetid("", 18)
        model = helper.make_model(graph, opset_imports=[opset], ir_version=9)
        options = runtime.SessionOptions()
        options.log_severity_level = 4  # It is silent; what it does not take, it still raises.
        return runtime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )

    def of(node, **more):
        def call(p):
            if p.x.dtype.name == "bfloat16":
                raise TypeError("ONNX Runtime takes no array of bfloat16")
            try:
                found = session(node, p.x.dtype.name, p.x.ndim, tuple(more.items()))
            except Exception as error:  # Its own class, which it does not make public.
                raise NotImplementedError(node) from error
            return found.run(None, {"x": p.x})[0]

        return call

    return {
        "softmax": of("Softmax", axis=-1),
        "log_softmax": of("LogSoftmax", axis=-1),
        "logsumexp": of("ReduceLogSumExp", keepdims=0),
        "sigmoid": of("Sigmoid"),
        "softplus": of("Softplus"),
    }


@cache
def jax():
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)  # Else it makes float32 of float64.
    nn = jax.nn

    def of(function, *more):
        compiled = jax.jit(function)
        return lambda p: np.asarray(compiled(p.x, *(get(p) for get in more)))

    def loss(x, labels):
        return -jnp.take_along_axis(nn.log_softmax(x, -1), labels[:, None], -1)[:, 0]

    def labels(p):
        return p.labels

    return {
        "softmax": of(lambda x: nn.softmax(x, -1)),
        "softmax, temperature": lambda p: np.asarray(
            nn.softmax(p.x / p.x.dtype.type(p.temperature))
        ),
        "log_softmax": of(lambda x: nn.log_softmax(x, -1)),
        "log_softmax, temperature": lambda p: np.asarray(
            nn.log_softmax(p.x / p.x.dtype.type(p.temperature))
        ),
        "logsumexp": of(lambda x: nn.logsumexp(x, -1)),
        "cross_entropy": of(loss, labels),
        "cross_entropy_value_and_grad: gradient": of(
            jax.grad(lambda x, y: loss(x, y).sum()), labels
        ),
        "sigmoid": of(nn.sigmoid),
        "log_sigmoid": of(nn.log_sigmoid),
        "softplus": of(nn.softplus),
    }


@dataclass(frozen=True)
class Peer:
    """A library: the packages it takes, its own first, and its calls by the operations' names."""

    packages: tuple[str, ...]
    calls: Callable

    def missing(self):
        """The packages that are not there."""
        return [name for name in self.packages if not importlib.util.find_spec(name)]

    def version(self):
        return version(self.packages[0])


PEERS = {
    "PyTorch": Peer(("torch",), pytorch),
    "SciPy": Peer(("scipy",), scipy),
    "ONNX Runtime": Peer(("onnxruntime", "onnx"), onnx_runtime),
    "JAX": Peer(("jax",), jax),
}
