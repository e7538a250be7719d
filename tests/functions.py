"""The exponentials and logarithms that the kernels are made of: what is exact, and how near they
are. src/kernels/probe.h says what their probes take."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import reference

from fastlogits import _core

WIDE = reference.WIDE
LN2 = np.log(WIDE(2))
FRAME_SHIFT = 64
EXP_FACTOR = WIDE(float.fromhex("0x1.16747bf7c5b81p+0"))  # of float32's exp


class Function(NamedTuple):
    """`frames` are the exponents to try, or one for each x. `interval` is what x may be in a frame.
    `bounds`, of float32 and float64, are in units of the last place, or where `units` has one, in
    that, relative to the exact value."""

    exact: Callable
    frames: Callable
    interval: Callable
    units: dict
    bounds: dict
    is_pair: bool = True


def own_frame(x):
    return np.rint(x.astype(np.float64) / np.log(2))


def exp(x, frame):
    e = np.exp(x.astype(WIDE)) * np.exp2(WIDE(FRAME_SHIFT) - np.asarray(frame, WIDE))
    return e * EXP_FACTOR if x.dtype == np.float32 else e


def below_frame(frame, dtype):
    """From where results are as precise as they get, to the frame's own logit."""
    least = -120 if dtype == np.float32 else -1022
    return (frame - FRAME_SHIFT + least) * LN2, (frame + 0.5) * LN2


EPS = {"float32": 2.0**-24, "float64": 2.0**-53}
FINISH_EXP = Function(
    lambda x, frame: np.exp(x.astype(WIDE)) * np.exp2(WIDE(FRAME_SHIFT) - frame.astype(WIDE)),
    lambda x: [own_frame(x)],
    lambda frame, dtype: (-2800.0, 2800.0),
    {"float32": 2.0**-34},
    {"float32": 1, "float64": 0.15},
)

FUNCTIONS = {
    "exp": Function(
        exp,
        lambda x: [-1000.0, -5.0, 0.0, 3.0, 100.0, 4000.0],
        below_frame,
        EPS,
        {"float32": 1.2, "float64": 1.27},
        is_pair=False,
    ),
    "exp_minus_abs": Function(
        lambda x, frame: np.exp(-np.abs(x.astype(WIDE))),
        lambda x: [0.0],
        lambda frame, dtype: (-79.0, 79.0) if dtype == np.float32 else (-700.0, 700.0),
        {"float32": EPS["float32"]},
        {"float32": 0.2, "float64": 0.15},
    ),
    "log1p_of": Function(
        lambda x, frame: np.log1p(x.astype(WIDE)),
        lambda x: [0.0],
        lambda frame, dtype: (0.0, 1.0),
        {"float32": EPS["float32"]},
        {"float32": 2.21, "float64": 0.5},
    ),
    "wide_exp": FINISH_EXP,
    "wide_exp_own": FINISH_EXP,
    "wide_log1p": Function(
        lambda x, frame: np.log1p(x.astype(WIDE)),
        lambda x: [0.0] if x.dtype == np.float64 else [0.0, -1.0, -0.2, 0.059, 1.0],
        lambda frame, dtype: (0.0, 2.0**31 * (1 - 2.0**-24)),
        {"float32": 2.0**-34},
        {"float32": 1, "float64": 0.5},
    ),
}


def hard_cases(low, high, dtype):
    """Numbers of an interval: random ones of all magnitudes and near its ends and 0; near multiples
    of log(2)/16, where the reductions change or leave next to nothing; and where 1 + x is near a
    power of two or sqrt(2) times that."""
    rng = np.random.default_rng(5)
    low, high = float(low), float(high)
    size = max(-low, high)
    steps = np.rint(np.linspace(low, min(high, 3000.0), 2000) * 16 / np.log(2))
    powers = np.exp2(np.arange(0, 32)) * np.sqrt([[1.0], [2.0]]) - 1
    x = np.concatenate(
        [
            rng.uniform(low, high, 4000),
            size * np.exp2(rng.uniform(-110, 0, 4000)) * rng.choice([-1.0, 1.0], 4000),
            (steps * LN2 / 16).astype(np.float64),
            powers.ravel(),
            [low, high, 0.0],
        ]
    ).astype(dtype)
    near = x.view(f"i{x.itemsize}")
    x = np.concatenate([x, *((near + d).view(dtype) for d in (-2, -1, 1, 2))])
    return x[(x >= low) & (x <= high)]


def evaluate(isa, name, x, frame):
    """hi and lo of a function at any number of x, in groups of lanes."""
    lanes = 32 if x.dtype == np.float32 else 16
    groups = np.resize(x, (-(-x.size // lanes), lanes))
    frames = np.resize(np.broadcast_to(np.asarray(frame, x.dtype), x.shape), groups.shape)
    parts = []
    for part in (0, 1):
        options = np.zeros(lanes, x.dtype)
        options[:2] = 1, part  # the temperature, and which of hi and lo
        found = [
            _core._probe(isa, name, *each, options) for each in zip(groups, frames, strict=True)
        ]
        parts.append(np.concatenate(found)[: x.size])
    return parts
