"""What this installation is and how it runs: threads for a while, and all a bug report needs."""

import platform
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from fastlogits import _core

__all__ = ["__version__", "config_dict", "num_threads", "show_config"]

__version__: str = _core._build_info()["version"]


@contextmanager
def num_threads(n: int | None) -> Iterator[None]:
    """Set how many threads large calls use, for the length of a ``with`` block.

    The setting is the process's, as that of `set_num_threads`: it counts for all Python threads
    until the block ends, which puts back what was set before.

    Parameters
    ----------
    n : int or None
        At least 1; None is the default rule of `get_num_threads`.

    Returns
    -------
    context manager

    Raises
    ------
    TypeError
        If `n` is neither None nor an integer.
    ValueError
        If `n` is below 1.

    Examples
    --------
    >>> import fastlogits
    >>> with fastlogits.num_threads(1):
    ...     fastlogits.get_num_threads()
    1
    """
    before = _core._set_threads()
    _core.set_num_threads(n)
    try:
        yield
    finally:
        _core.set_num_threads(before)


def config_dict() -> dict[str, object]:
    """Versions, compiler, instruction sets, OpenMP and threads, by name.

    Returns
    -------
    dict
        Strings, numbers, booleans, and lists of strings.

    Examples
    --------
    >>> from fastlogits.config import config_dict
    >>> config_dict()["isas_available"][-1]
    'portable'
    """
    build = _core._build_info()
    return {
        "fastlogits": build["version"],
        "python": platform.python_version(),
        "numpy": np.__version__,
        "platform": platform.platform(),
        "compiler": build["compiler"],
        "openmp": build["openmp"],
        "isas_available": list(_core.available_isas()),
        "isa": _core.get_isa(),
        "threads": _core.get_num_threads(),
    }


def show_config() -> None:
    """Print versions, compiler, instruction sets, OpenMP and threads: what a bug report needs.

    Returns
    -------
    None

    Examples
    --------
    >>> import fastlogits
    >>> fastlogits.show_config()  # doctest: +ELLIPSIS
    fastlogits      ...
    """
    for name, value in config_dict().items():
        text = " ".join(value) if isinstance(value, list) else str(value)
        print(f"{name:15} {text}")
