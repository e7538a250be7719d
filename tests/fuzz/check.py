"""What must hold of any call: an error is a documented one and leaves everything as it was; a
result has the bits of the same values in plain arrays, on any instruction set and any threads; and
nothing is written but `out`."""

import dataclasses
import re
import warnings
from operator import attrgetter
from typing import Any

import numpy as np
from fuzz.arrays import Array, Out, Wrong

import fastlogits

# AxisError is both a ValueError and an IndexError.
DOCUMENTED = (TypeError, ValueError, IndexError, MemoryError)
POSITIONAL = ("x", "a", "logits", "k")


class Prepared:
    """The arguments of a call, in memory of their own; `out` for a result of that shape and
    dtype, without one there is none."""

    def __init__(self, call, shape=None, dtype=None):
        self.described = {n: a for n, a in call.arguments.items() if isinstance(a, Array)}
        first = next(iter(self.described), None)
        out = call.arguments.get("out")
        place = None
        if isinstance(out, Out) and out.itself and first:
            place = self.described[first]
        elif isinstance(out, Out) and shape is not None:
            shape, dtype = out.describe(shape, dtype)
            place = Array(shape, dtype.name, layout=out.layout)
        itself = place is self.described.get(first)

        def home(name, a):
            return first if a.layout.shared or (name == "out" and itself) else name

        every = self.described | ({"out": place} if place else {})
        lengths = {}
        for name, a in every.items():
            lengths[home(name, a)] = max(lengths.get(home(name, a), 0), a.length())
        # Of floating numbers NaN: what lies between the items is not to be read.
        self.memory = {name: np.full(n, 0xFF, np.uint8) for name, n in lengths.items()}
        self.views = {n: a.fill(self.memory[home(n, a)]) for n, a in self.described.items()}
        self.arguments = {
            n: v.get() if isinstance(v, Wrong) else v for n, v in call.arguments.items()
        }
        self.arguments |= {n: a.wrap(self.views[n]) for n, a in self.described.items()}
        self.home_of_out = self.owners = None
        if place:
            self.home_of_out = home("out", place)
            memory = self.memory[self.home_of_out]
            self.owners = place.layout.owners(len(memory), place.shape, np.dtype(place.dtype))
            view = self.views.get(first) if itself else None
            if view is None:
                view = place.layout.view(memory, place.shape, np.dtype(place.dtype))
                view.setflags(write=place.layout.writable)
            self.arguments["out"] = view
        elif isinstance(out, Out):
            del self.arguments["out"]

    def plain(self):
        plain = {n: a.plain(self.views[n]) for n, a in self.described.items()}
        return {n: v for n, v in (self.arguments | plain).items() if n != "out"}


@dataclasses.dataclass
class Outcome:
    result: Any = None
    error: Exception | None = None

    def leaves(self):
        return [
            a for a in _leaves(self.result) if isinstance(a, np.ndarray | np.generic | float | int)
        ]


def _leaves(result):
    if isinstance(result, fastlogits.metrics.Scores):
        return dataclasses.astuple(result)
    return result if isinstance(result, tuple) else (result,)


def run(call, arguments, isa, threads):
    arguments = dict(arguments)
    positional = [arguments.pop(name) for name in POSITIONAL if name in arguments]
    fastlogits.set_isa(isa)
    fastlogits.set_num_threads(threads)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return Outcome(attrgetter(call.function)(fastlogits)(*positional, **arguments))
    except DOCUMENTED as error:
        return Outcome(error=error)
    finally:
        fastlogits.set_isa(fastlogits.available_isas()[0])
        fastlogits.set_num_threads(None)


def same(got, want):
    a, b = np.asarray(got), np.asarray(want)
    assert type(got) is type(want), f"{type(got)}, not {type(want)}"
    assert (a.shape, a.dtype) == (b.shape, b.dtype), f"{a.shape} {a.dtype}, not {b.shape} {b.dtype}"
    assert _without_nan(a) == _without_nan(b), f"{a}, not {b}"


def _without_nan(a):
    nan = a != a
    return nan.tobytes(), np.where(nan, np.zeros((), a.dtype), a).tobytes()


def check(call):
    wanted = run(call, Prepared(call).plain(), "portable", 1)
    for isa in fastlogits.available_isas():
        check_on(isa, call, wanted)


def check_on(isa, call, wanted):
    last = np.asarray(wanted.leaves()[-1]) if wanted.leaves() else np.zeros(())
    prepared = Prepared(call, last.shape, last.dtype)
    before = {name: a.copy() for name, a in prepared.memory.items()}
    got = run(call, prepared.arguments, isa, call.threads)
    for name, memory in prepared.memory.items():
        kept = np.ones(len(memory), bool)
        if name == prepared.home_of_out and not got.error:
            kept = prepared.owners == 0
        assert np.array_equal(memory[kept], before[name][kept]), f"the memory of {name} changed"
    if got.error:
        check_error(call, prepared, got.error, wanted)
    else:
        check_result(call, prepared, got, wanted)


def fits(prepared, wanted):
    """Whether `out`, if any, is what it has to be."""
    out = prepared.arguments.get("out")
    if out is None:
        return True
    if not isinstance(out, np.ndarray) or not wanted.leaves():
        return False
    last = np.asarray(wanted.leaves()[-1])
    return (out.shape, out.dtype) == (last.shape, last.dtype) and out.flags.writeable


def check_error(call, prepared, error, wanted):
    if isinstance(error, MemoryError):
        return
    names = "|".join(call.arguments)
    assert re.search(rf"\b({names})\b", str(error)), f"{error!r} names no argument"
    if fits(prepared, wanted) and "where" not in call.arguments:
        assert type(error) is type(wanted.error), f"{error!r}, not {wanted.error!r}"


def check_result(call, prepared, got, wanted):
    assert wanted.error is None, f"no error, not {wanted.error!r}"
    out = prepared.arguments.get("out")
    if not isinstance(out, np.ndarray):  # as (None,), which a ufunc takes for none
        out = None
    of_scipy = call.function.startswith("special.")
    if out is not None:
        assert _leaves(got.result)[-1] is out
        assert of_scipy or fits(prepared, wanted), "an out that does not fit"
    # What NumPy itself computes depends on the layout.
    every = [*prepared.views.values(), *wanted.leaves()]
    own = not any(np.asarray(a).dtype.char in "FDGg" for a in every)
    overlaps = prepared.owners is not None and prepared.owners.max(initial=0) > 1
    if overlaps or (
        of_scipy and not (own and fits(prepared, wanted) and "where" not in call.arguments)
    ):
        return
    for a, b in zip(got.leaves(), wanted.leaves(), strict=True):
        same(a, b) if out is None or a is not out else same(a, np.asarray(b))
