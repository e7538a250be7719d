"""The operations by ONNX Runtime: a graph of one node, its input and output bound to arrays."""

import importlib
from typing import Any

import numpy as np

from .arrays import Call
from .cases import Data, K

# Operation -> node, and its attributes beside the axis.
_NODES: dict[str, tuple[str, dict[str, int]]] = {
    "softmax": ("Softmax", {}),
    "log_softmax": ("LogSoftmax", {}),
    "logsumexp": ("ReduceLogSumExp", {"keepdims": 0}),
    "cross_entropy": ("SoftmaxCrossEntropyLoss", {}),
    "sigmoid": ("Sigmoid", {}),
    "argmax": ("ArgMax", {"keepdims": 0}),
    "top_k": ("TopK", {}),
}


def prepare(operation: str, d: Data, threads: int) -> Call | None:
    """Prepare a call of ONNX Runtime."""
    classes_on_axis_1 = d.axis % d.x.ndim == 1
    if operation not in _NODES or (operation == "cross_entropy" and not classes_on_axis_1):
        return None
    runtime: Any = importlib.import_module("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3  # Errors: it warns of graphs that it cannot improve.
    session = runtime.InferenceSession(
        _model(operation, d), options, providers=["CPUExecutionProvider"]
    )
    binding = session.io_binding()
    arrays = [d.x, d.labels] if operation == "cross_entropy" else [d.x]
    for entry, array in zip(session.get_inputs(), arrays, strict=True):
        binding.bind_ortvalue_input(entry.name, runtime.OrtValue.ortvalue_from_numpy(array))
    same_shape = operation in ("softmax", "log_softmax", "sigmoid")
    for entry in session.get_outputs():
        if same_shape:
            value = runtime.OrtValue.ortvalue_from_numpy(d.out)
            binding.bind_ortvalue_output(entry.name, value)
        else:
            binding.bind_output(entry.name, "cpu")

    def run() -> Any:
        session.run_with_iobinding(binding)
        return binding

    return run


def results(binding: Any) -> list[Any]:
    """What a call computed, as NumPy arrays."""
    found: list[Any] = binding.copy_outputs_to_cpu()
    return found


def _model(operation: str, d: Data) -> bytes:
    helper: Any = importlib.import_module("onnx.helper")
    node, attributes = _NODES[operation]
    kind = helper.np_dtype_to_tensor_dtype(d.x.dtype)
    integer = helper.np_dtype_to_tensor_dtype(np.dtype(np.int64))
    inputs = [helper.make_tensor_value_info("x", kind, d.x.shape)]
    outputs = [helper.make_tensor_value_info("y", kind, None)]
    names, constants = ["x"], []
    if operation == "cross_entropy":
        inputs.append(helper.make_tensor_value_info("labels", integer, d.labels.shape))
        names.append("labels")
    elif operation == "logsumexp":
        constants.append(helper.make_tensor("axes", integer, [1], [d.axis]))
    elif operation == "top_k":
        constants.append(helper.make_tensor("k", integer, [1], [K]))
        outputs.append(helper.make_tensor_value_info("i", integer, None))
        attributes = attributes | {"axis": d.axis}
    elif operation == "argmax":
        outputs = [helper.make_tensor_value_info("y", integer, None)]
    if operation in ("softmax", "log_softmax", "argmax"):
        attributes = attributes | {"axis": d.axis}
    names += [constant.name for constant in constants]
    made = helper.make_node(node, names, [output.name for output in outputs], **attributes)
    graph = helper.make_graph([made], "one node", inputs, outputs, constants)
    opset = helper.make_opsetid("", 18)
    encoded: bytes = helper.make_model(
        graph, opset_imports=[opset], ir_version=9
    ).SerializeToString()
    return encoded
