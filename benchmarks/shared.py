"""What the suite shares with `fastlogits bench`: the operations, by fastlogits and by its peers.

Taken from the checkout, under a name of its own, and not from the installed package: asv measures
any version of fastlogits, and all with the same code.
"""

import importlib
import importlib.util
import sys
from pathlib import Path

_NAME = "fastlogits_bench"
_FOLDER = Path(__file__).resolve().parent.parent / "fastlogits" / "bench"


def _load():
    if _NAME not in sys.modules:
        spec = importlib.util.spec_from_file_location(
            _NAME, _FOLDER / "__init__.py", submodule_search_locations=[str(_FOLDER)]
        )
        sys.modules[_NAME] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[_NAME])


_load()
cases = importlib.import_module(f"{_NAME}.cases")
libraries = importlib.import_module(f"{_NAME}.libraries")
timing = importlib.import_module(f"{_NAME}.timing")


def prepare(operation, shape, dtype, threads, library):
    """Return the arrays and a call that has worked once; NotImplementedError, which makes asv
    skip the case, where this version or this library has no such operation."""
    shape = cases.Shape.parse(shape)
    chosen = libraries.LIBRARIES[library]
    if not cases.applies(operation, shape) or chosen.missing():
        raise NotImplementedError
    d = cases.Data(shape, dtype)
    try:
        call = chosen.prepare()(operation, d, threads)
        if call is not None:
            call()
    except (AttributeError, TypeError, RuntimeError):
        call = None
    if call is None:
        raise NotImplementedError
    return d, call
