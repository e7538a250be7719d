"""The libraries that take part, and which of them are installed."""

import importlib
from dataclasses import dataclass

from .arrays import Prepare


@dataclass(frozen=True)
class Library:
    """Where a library's calls are prepared, and the packages that takes, its own first."""

    module: str
    function: str
    packages: tuple[str, ...]

    def missing(self) -> list[str]:
        """Import the packages and name those that are not there."""
        return [name for name in self.packages if not _can_import(name)]

    def version(self) -> str:
        """The version of the library's own package."""
        from importlib.metadata import version  # It takes long, and every command imports this.

        return version(self.packages[0])

    def prepare(self) -> Prepare:
        """The function that prepares its calls."""
        module = importlib.import_module(f".{self.module}", __package__)
        function: Prepare = getattr(module, self.function)
        return function


def _can_import(name: str) -> bool:
    try:
        importlib.import_module(name)
    except ImportError:
        return False
    return True


OWN = "fastlogits"
LIBRARIES = {
    OWN: Library("arrays", "own", ("fastlogits",)),
    "NumPy": Library("arrays", "with_numpy", ("numpy",)),
    "SciPy": Library("arrays", "with_scipy", ("scipy",)),
    "PyTorch": Library("pytorch", "eager", ("torch",)),
    "torch.compile": Library("pytorch", "compiled", ("torch",)),
    "ONNX Runtime": Library("ort", "prepare", ("onnxruntime", "onnx")),
    "JAX": Library("xla", "prepare", ("jax",)),
}
