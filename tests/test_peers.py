"""Agreement with other libraries, to what they themselves promise."""

import numpy as np
import pytest
from operations import ELEMENTS, ROWS

import fastlogits

# The relative error that other libraries stay within on these logits, per dtype.
LOOSE = {"float32": 1e-4, "float64": 1e-12}

pytestmark = [
    pytest.mark.usefixtures("isa"),
    pytest.mark.parametrize("dtype", list(LOOSE)),
]


def logits(dtype, shape=(40, 300)):
    return np.random.default_rng(0).normal(0, 3, shape).astype(dtype)


def close(got, want, dtype):
    want = np.asarray(want)
    assert got.shape == want.shape
    assert got.dtype == want.dtype == dtype
    np.testing.assert_allclose(got, want, rtol=LOOSE[dtype], atol=LOOSE[dtype] / 100)


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("op", ROWS)
def test_rows_agree_with_scipy(op, axis, dtype):
    special = pytest.importorskip("scipy.special", reason="SciPy is not installed")
    x = logits(dtype)
    close(getattr(fastlogits, op)(x, axis=axis), getattr(special, op)(x, axis=axis), dtype)


@pytest.mark.parametrize("op", ROWS)
def test_several_axes_agree_with_scipy(op, dtype):
    special = pytest.importorskip("scipy.special", reason="SciPy is not installed")
    x = logits(dtype, (3, 4, 5, 6))
    for axis in (None, (0, 1), (1, 3), (-1, 0, 2), (0, 1, 2, 3)):
        got, want = (getattr(module, op)(x, axis=axis) for module in (fastlogits, special))
        close(np.asarray(got), want, dtype)


def test_elements_agree_with_scipy(dtype):
    special = pytest.importorskip("scipy.special", reason="SciPy is not installed")
    x = logits(dtype)
    close(fastlogits.sigmoid(x), special.expit(x), dtype)
    close(fastlogits.log_sigmoid(x), special.log_expit(x), dtype)
    close(fastlogits.softplus(x), -special.log_expit(-x), dtype)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("op", ROWS)
def test_rows_agree_with_pytorch(op, axis, dtype):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    x = logits(dtype)
    want = getattr(torch, op)(torch.from_numpy(x), dim=axis).numpy()
    close(getattr(fastlogits, op)(x, axis=axis), want, dtype)


def test_elements_agree_with_pytorch(dtype):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    x = logits(dtype)
    tensor = torch.from_numpy(x)
    close(fastlogits.sigmoid(x), torch.sigmoid(tensor).numpy(), dtype)
    close(fastlogits.log_sigmoid(x), torch.nn.functional.logsigmoid(tensor).numpy(), dtype)
    # PyTorch's takes softplus(x) to be x from 20 on.
    close(fastlogits.softplus(x), torch.nn.functional.softplus(tensor, threshold=50), dtype)


@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_temperature_agrees_with_pytorch(temperature, dtype):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    x = logits(dtype)
    want = torch.softmax(torch.from_numpy(x) / temperature, dim=-1).numpy()
    close(fastlogits.softmax(x, temperature=temperature), want, dtype)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_cross_entropy_agrees_with_pytorch(reduction, dtype):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    x = logits(dtype)
    targets = np.random.default_rng(1).integers(0, 300, 40)
    targets[::7] = -100
    want = torch.nn.functional.cross_entropy(
        torch.from_numpy(x), torch.from_numpy(targets), reduction=reduction
    ).numpy()
    close(fastlogits.cross_entropy(x, targets, reduction=reduction), want, dtype)


def test_agrees_with_jax(dtype):
    jax = pytest.importorskip("jax", reason="JAX is not installed")
    x = logits(dtype)
    with jax.enable_x64(dtype == "float64"):
        for axis in (0, 1):
            for op in ROWS:
                want = getattr(jax.nn, op)(x, axis=axis)
                close(getattr(fastlogits, op)(x, axis=axis), want, dtype)
        for op in ELEMENTS:
            close(getattr(fastlogits, op)(x), getattr(jax.nn, op)(x), dtype)


@pytest.mark.parametrize(
    ("op", "node"), [("softmax", "Softmax"), ("log_softmax", "LogSoftmax"), ("sigmoid", "Sigmoid")]
)
def test_agrees_with_onnx_runtime(op, node, dtype):
    runtime = pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
    helper = pytest.importorskip("onnx.helper", reason="ONNX is not installed")
    x = logits(dtype)
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    more = {} if op == "sigmoid" else {"axis": -1}
    graph = helper.make_graph(
        [helper.make_node(node, ["x"], ["y"], **more)],
        "one node",
        [helper.make_tensor_value_info("x", kind, x.shape)],
        [helper.make_tensor_value_info("y", kind, x.shape)],
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8
    ).SerializeToString()
    session = runtime.InferenceSession(model, providers=["CPUExecutionProvider"])
    close(getattr(fastlogits, op)(x), session.run(None, {"x": x})[0], dtype)
