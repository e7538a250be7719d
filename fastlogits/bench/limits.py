"""The limit of an operation: a loop that does only what it cannot do without, on the same array.

A target that is not met may be out of reach; how near the operation comes to its limit shows it.
The loop is made of the kernels' own formulas: it does not show when one of these gets slower.
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
    """Prepare the loop; None where there is none.

    It is of the instruction set and uses the threads that are set when it is called. A call on an
    array that is far too small costs more than its work.
    """
    if operation in _WITHOUT or d.x.nbytes < SMALL:
        return None
    targets: Any = d.x  # Of most operations there are none.
    if operation == "cross_entropy_soft":
        targets = d.soft
    elif operation.startswith("binary"):
        targets = d.binary
    classes = min(d.shape.classes, 2**31 - 1)
    return partial(fastlogits._core._limit, operation, d.x, d.out, targets, classes)
