"""How the processor rounds and what becomes of subnormal numbers: seen by what comes out of sums
and products, and, on x86-64 with glibc, set."""

import ctypes
import ctypes.util

ROUNDING = ("nearest", "down", "up", "zero")  # in the order of the processor's numbers for them
SUBNORMALS = {"kept": 0, "flushed": 1 << 15 | 1 << 6}  # where they come out, and where they go in
# glibc's fenv_t: 28 bytes of the x87 unit, then MXCSR with the rounding in bits 13 and 14.
MXCSR, ROUNDING_BIT = 7, 13


def now():
    """Both, of this thread."""
    small = 2.0**-53
    # What lies halfway goes to the even one: down here, and up there.
    up, down, away = 1.0 + small > 1.0, 1.0 + 3 * small < 1.0 + 4 * small, -1.0 - small < -1.0
    rounding = {
        (False, False, False): "nearest",
        (False, True, True): "down",
        (True, False, False): "up",
        (False, True, False): "zero",
    }[up, down, away]
    least, smallest = 5e-324, 2.2250738585072014e-308
    kept = (least * 2.0**60 > 0.0) + (smallest * 0.5 * 2.0**60 > 0.0)
    return rounding, ("flushed", "in part", "kept")[kept]


def change(rounding, subnormals):
    """Both, in this thread and those that it starts."""
    libm = ctypes.CDLL(ctypes.util.find_library("m"))
    environment = (ctypes.c_uint32 * 8)()
    libm.fegetenv(environment)
    environment[MXCSR] &= ~(3 << ROUNDING_BIT | SUBNORMALS["flushed"])
    environment[MXCSR] |= ROUNDING.index(rounding) << ROUNDING_BIT | SUBNORMALS[subnormals]
    libm.fesetenv(environment)
