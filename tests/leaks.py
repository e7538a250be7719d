"""What calls leave behind, on rows of every kind that the library treats in its own way."""

import ctypes
import gc
import sys

import numpy as np


def logits(rows, classes, dtype="f4"):
    return np.random.default_rng(0).normal(0, 3, (rows, classes)).astype(dtype)


# Rows in a tile, of numbers to convert, of several blocks, side by side (tiles in scratch memory),
# tall (brought together by blocks), and one that two threads share.
LAYOUTS = {
    "narrow": (lambda: logits(40, 7), -1),
    "half precision": (lambda: logits(40, 7, "f2"), -1),
    "wide": (lambda: logits(3, 10_000, "f8"), -1),
    "side by side": (lambda: logits(300, 128), 0),
    "tall": (lambda: logits(5000, 66), 0),
    "shared": (lambda: logits(1, 270_000), -1),
}


class _Mallinfo(ctypes.Structure):
    """What glibc's mallinfo2 returns."""

    _fields_ = [
        *((name, ctypes.c_size_t) for name in ("arena", "ordblks", "smblks", "hblks", "hblkhd")),
        *((name, ctypes.c_size_t) for name in ("usmblks", "fsmblks", "uordblks", "fordblks")),
        ("keepcost", ctypes.c_size_t),
    ]


_mallinfo = getattr(ctypes.pythonapi, "mallinfo2", None)  # of glibc, from 2.33 on
if _mallinfo:
    _mallinfo.restype = _Mallinfo


def in_use():
    """What has been handed out: Python's blocks, references to dtypes, the C library's bytes."""
    gc.collect()
    references = sum(sys.getrefcount(np.dtype(name)) for name in ("f2", "f4", "f8", "i8"))
    info = _mallinfo() if _mallinfo else _Mallinfo()
    return sys.getallocatedblocks(), references, info.uordblks + info.hblkhd


def left_behind(call, times):
    """What so many calls leave behind, again and again; None: nothing.

    Caches are full after some rounds; what is never given back adds up in each.
    """
    for _ in range(25):
        before = in_use()
        for _ in range(times):
            call()
        growth = [after - now for after, now in zip(in_use(), before, strict=True)]
        if growth[0] < times and growth[1] < times and growth[2] < 64 * times:
            return None
    return "{} blocks, {} references and {} bytes are left behind".format(*growth)
