from typing import Any, Literal, TypedDict

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

_Axis = int | tuple[int, ...] | None
_Reduction = Literal["mean", "sum", "none"]

class _BuildInfo(TypedDict):
    version: str
    compiler: str
    openmp: bool

def softmax(
    x: ArrayLike,
    axis: _Axis = -1,
    *,
    temperature: float = 1.0,
    dtype: DTypeLike | None = None,
    out: NDArray[Any] | None = None,
) -> Any: ...
def log_softmax(
    x: ArrayLike,
    axis: _Axis = -1,
    *,
    temperature: float = 1.0,
    dtype: DTypeLike | None = None,
    out: NDArray[Any] | None = None,
) -> Any: ...
def logsumexp(
    x: ArrayLike,
    axis: _Axis = -1,
    *,
    keepdims: bool = False,
    dtype: DTypeLike | None = None,
    out: NDArray[Any] | None = None,
) -> Any: ...
def sigmoid(
    x: ArrayLike, *, dtype: DTypeLike | None = None, out: NDArray[Any] | None = None
) -> Any: ...
def log_sigmoid(
    x: ArrayLike, *, dtype: DTypeLike | None = None, out: NDArray[Any] | None = None
) -> Any: ...
def softplus(
    x: ArrayLike, *, dtype: DTypeLike | None = None, out: NDArray[Any] | None = None
) -> Any: ...
def cross_entropy(
    logits: ArrayLike,
    targets: ArrayLike,
    *,
    axis: int = -1,
    class_weight: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
    reduction: _Reduction = "mean",
) -> Any: ...
def cross_entropy_value_and_grad(
    logits: ArrayLike,
    targets: ArrayLike,
    *,
    axis: int = -1,
    class_weight: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
    reduction: _Reduction = "mean",
    out: NDArray[Any] | None = None,
) -> tuple[Any, NDArray[Any]]: ...
def binary_cross_entropy_with_logits(
    logits: ArrayLike,
    targets: ArrayLike,
    *,
    pos_weight: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    label_smoothing: float = 0.0,
    reduction: _Reduction = "mean",
) -> Any: ...
def binary_cross_entropy_with_logits_value_and_grad(
    logits: ArrayLike,
    targets: ArrayLike,
    *,
    pos_weight: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    label_smoothing: float = 0.0,
    reduction: _Reduction = "mean",
    out: NDArray[Any] | None = None,
) -> tuple[Any, NDArray[Any]]: ...
def softmax_grad_hess(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    hess_scale: float = 1.0,
) -> tuple[NDArray[Any], NDArray[Any]]: ...
def argmax(logits: ArrayLike, axis: int | None = -1) -> Any: ...
def top_k(
    x: ArrayLike,
    k: int,
    /,
    *,
    axis: int | None = -1,
    mode: Literal["largest", "smallest"] = "largest",
    sorted: bool = True,
) -> tuple[NDArray[Any], NDArray[np.intp]]: ...
def predict(
    logits: ArrayLike,
    *,
    axis: int | None = -1,
    threshold: float | None = None,
    classes: ArrayLike | None = None,
) -> Any: ...
def confidence(
    logits: ArrayLike,
    *,
    kind: Literal["max_prob", "margin", "entropy", "energy"] = "max_prob",
    axis: _Axis = -1,
) -> Any: ...
def available_isas() -> tuple[str, ...]: ...
def get_isa() -> str: ...
def set_isa(name: str) -> None: ...
def get_num_threads() -> int: ...
def set_num_threads(n: int | None) -> None: ...
def _set_threads() -> int | None: ...
def _array(x: ArrayLike, argument: str) -> NDArray[Any]: ...
def _several_axes(axis: Any, ndim: int) -> tuple[int, ...]: ...
def _score_rows(
    logits: ArrayLike,
    labels: ArrayLike,
    sample_weight: ArrayLike | None = None,
    *,
    ignore_index: int = -100,
    temperature: float = 1.0,
    k: int = 5,
    n_bins: int = 15,
) -> dict[str, Any]: ...
def _temperature_sums(
    logits: ArrayLike,
    labels: ArrayLike,
    sample_weight: ArrayLike | None = None,
    *,
    ignore_index: int = -100,
    inverse_temperature: float = 1.0,
) -> tuple[float, float, float, float]: ...
def _build_info() -> _BuildInfo: ...
def _read_environment() -> None: ...
def _limit(
    operation: str,
    x: NDArray[Any],
    out: NDArray[Any],
    targets: NDArray[Any],
    n_classes: int,
) -> None: ...
def _probe_ops() -> tuple[str, ...]: ...
def _probe(
    isa: str, op: str, a: NDArray[Any], b: NDArray[Any], c: NDArray[Any]
) -> NDArray[Any]: ...
