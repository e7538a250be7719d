"""How many times as long as its baseline fastlogits means to take, at most, and whether it does.

The baseline is a copy of the array, or a sweep over it. Ratios with AVX-512 and with AVX2; float32
unless said otherwise. An array of less than 1 MB has none, but for two tiny ones.
"""

from .cases import Shape

__all__ = ["AT_LIMIT", "MET", "MISSED", "target", "verdict"]

MET, AT_LIMIT, MISSED = "met", "at the limit", "missed"
# So many times the limit is as near to it as can be asked for where a target is out of reach.
_NEAR_LIMIT = 1.1

_ISAS = ("avx512", "avx2")
_LARGE = 2**20
_WRITES = {"softmax", "log_softmax", "cross_entropy_value_and_grad"}
_READS = {"logsumexp", "cross_entropy"}

# Of what writes an array.
_SHAPES = {
    "8192x1000": (1.15, 1.5),
    "256x32000": (1.35, 1.6),
    "64x128256": (1.35, 1.6),
    "4096x128256": (1.6, 1.9),
    "1x16000000": (2.2, 2.4),
    "1000000x3": (2.0, 3.0),
    "1000000x10": (2.0, 3.0),
}
_OTHER_AXIS = (1.6, 2.2)
_SIGMOID = (1.1, 1.4)
# Of what reads one.
_MANY_CLASSES = (1.5, 2.3)
_FEW_CLASSES = (4.0, 6.0)  # 3 and 10
_ARGMAX = (1.1, 1.2)
_FLOAT64 = (1.3, 1.9)  # times the ratios above
_HALF = (2.2, 3.2)  # softmax of 8192x1000, against the copy of the half-precision array
# Against NumPy's exp of one row.
_TINY = {("softmax", "1x10"): 1.0, ("cross_entropy", "32x10"): 3.0}


def target(operation: str, shape: Shape, dtype: str, isa: str) -> float | None:
    """The largest ratio aimed at, or None."""
    if isa not in _ISAS:
        return None
    which = _ISAS.index(isa)
    if dtype == "float16":
        return _HALF[which] if (operation, str(shape)) == ("softmax", "8192x1000") else None
    double = dtype == "float64"
    if shape.size * (8 if double else 4) <= _LARGE:
        return None if double else _TINY.get((operation, str(shape)))
    pair = _pair(operation, shape)
    if pair is None:
        return None
    return pair[which] * (_FLOAT64[which] if double else 1)


def verdict(ratio: float, target: float | None, limit: float | None) -> str | None:
    """What became of a target: MET, AT_LIMIT, where it is out of reach, or MISSED.

    The ratio and that of the limit, which may be unknown, are to what the target is of. None where
    there is no target.
    """
    if target is None:
        return None
    if ratio <= target:
        return MET
    if limit is not None and target < limit and ratio <= _NEAR_LIMIT * limit:
        return AT_LIMIT
    return MISSED


def _pair(operation: str, shape: Shape) -> tuple[float, float] | None:
    other_axis = shape.axis != -1
    if operation == "sigmoid":
        return _SIGMOID
    if operation == "argmax":
        return _ARGMAX if other_axis or shape.classes >= 1000 else None
    if operation in _WRITES:
        return _OTHER_AXIS if other_axis else _SHAPES.get(str(shape))
    if operation in _READS and not other_axis:
        if shape.classes >= 1000:
            return _MANY_CLASSES
        if shape.classes in (3, 10):
            return _FEW_CLASSES
    return None
