"""The limit of an operation: a loop that does only what it cannot do without, on the same array.

A target that is not met may be out of reach; how near the operation comes to its limit shows it.
"""

from functools import partial
from typing import Any

import fastlogits

from .arrays import Call
from .cases import Data
from .timing import SMALL

LIMIT = "limit"  # Its name among the contenders.

# The plain read is that of argmax; how much work top_k has, the data decides.
_WITHOUT = {"argmax", "top_k"}


def prepare(operation: str, d: Data) -> Call | None:
    """Prepare the loop, or None: a call on an array that is far too small costs more than its work.

    It is of the instruction set and uses the threads that are set when it is called.
    """
    if operation in _WITHOUT or d.x.nbytes < SMALL:
        return None
    targets: Any = d.x  # Of most operations there are none.
    if operation == "cross_entropy_soft":
        targets = d.soft
    elif operation.startswith("binary"):
        targets = d.binary
    return partial(fastlogits._core._limit, operation, d.x, d.out, targets, d.shape.classes)
