"""Measure the contenders of one case in turns.

Every round gives each contender a short sleep, one warm-up call and one timed turn, so that a
disturbance of the machine hits all of them. Ratios are taken within a round, to the baseline, by
one thread on the same array: a copy for what writes one, a sweep for the maximum for what only
reads it, and for an array that is far too small for either to matter, NumPy's exp of one of its
rows.
"""

import ctypes
import time
from itertools import repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .arrays import Call
from .cases import OPERATIONS, Data

# Other libraries' threads spin for a while after a call, and would take the cores of the next.
SETTLE = 0.002
# A turn is as many calls as fill this time: the clock alone takes a tenth of a microsecond.
TURN = 0.0005
# Where contenders take seconds, fewer rounds have to do.
ENOUGH_ROUNDS, ENOUGH_SECONDS = 5, 20.0
SMALL = 2**14  # bytes


def baseline(operation: str, d: Data) -> tuple[str, Call]:
    """Name and call of what the operation is measured against."""
    x, out = d.x, d.out
    if x.nbytes < SMALL:
        row, result = d.row(x), d.row(out)
        return "np.exp", lambda: np.exp(row, out=result)
    if OPERATIONS[operation] == "memcpy":
        to, source, size = out.ctypes.data, x.ctypes.data, x.nbytes
        return "memcpy", lambda: ctypes.memmove(to, source, size)
    # NumPy's maximum of half precision is not a sweep at the speed of memory: that of the bits is.
    swept = x.view(np.int16) if x.dtype == np.float16 else x
    return "read", swept.max


def calls_per_turn(call: Call) -> int:
    """How many calls make a turn long enough to be timed."""
    call()
    count = 1
    while True:
        seconds = turn(call, count)
        if seconds >= TURN / 4:
            return max(1, round(count * TURN / seconds))
        count *= 4


def turn(call: Call, count: int) -> float:
    """Seconds that `count` calls take."""
    start = time.perf_counter()
    for _ in repeat(None, count):
        call()
    return time.perf_counter() - start


def time_in_turns(calls: dict[str, Call], rounds: int) -> dict[str, NDArray[np.float64]]:
    """Seconds of a call in each round, per contender."""
    counts = {name: calls_per_turn(call) for name, call in calls.items()}
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    start = time.perf_counter()
    for done in range(rounds):
        if done >= ENOUGH_ROUNDS and time.perf_counter() - start > ENOUGH_SECONDS:
            break
        for name, call in calls.items():
            time.sleep(SETTLE)
            call()
            seconds[name].append(turn(call, counts[name]) / counts[name])
    return {name: np.array(values) for name, values in seconds.items()}


def measure(
    operation: str,
    d: Data,
    calls: dict[str, Call],
    rounds: int,
) -> list[dict[str, Any]]:
    """Figures of each contender of one case, those of what they are measured against first."""
    name, call = baseline(operation, d)
    seconds = time_in_turns({name: call} | calls, rounds)
    figures = []
    for library, values in seconds.items():
        low, middle, high = np.quantile(values / seconds[name], [0.25, 0.5, 0.75])
        # The exponentials of a row have fewer elements than the array.
        size = d.row(d.x).size if library == "np.exp" else d.x.size
        figures.append(
            {
                "library": library,
                "ns_per_element": float(np.median(values)) / size * 1e9,
                "ratio": float(middle),
                "ratio_quartiles": [float(low), float(high)],
                "to": name,
                "rounds": len(values),
            }
        )
    return figures
