"""Measure many cases, one after another."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import fastlogits

from . import limits, targets
from .arrays import Call
from .cases import Data, Shape, applies
from .libraries import LIBRARIES, OWN
from .timing import measure

Record = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """One operation on one array, and how fastlogits and its peers run it."""

    shape: Shape
    dtype: str
    operation: str
    isa: str
    threads: int


def cases(
    shapes: Sequence[Shape],
    dtypes: Sequence[str],
    operations: Sequence[str],
    isas: Sequence[str],
    threads: Sequence[int],
) -> list[Case]:
    """All that can be measured, by shape and dtype first: these cost the most to change."""
    every = (Case(*values) for values in product(shapes, dtypes, operations, isas, threads))
    return [case for case in every if applies(case.operation, case.shape)]


@dataclass
class Runner:
    """Measures cases with the libraries given, and notes what these cannot do."""

    libraries: Sequence[str]
    rounds: int
    notes: list[str] = field(default_factory=list)
    _data: tuple[Shape, str, Data] | None = None

    def run(self, cases: Sequence[Case]) -> Iterator[list[Record]]:
        """Yield the records of each case, those of the baseline first.

        Instruction set and threads of fastlogits are put back at the end.
        """
        before = fastlogits.get_isa(), fastlogits._core._set_threads()
        try:
            for case in cases:
                yield self._measure(case)
        finally:
            fastlogits.set_isa(before[0])
            fastlogits.set_num_threads(before[1])

    def _measure(self, case: Case) -> list[Record]:
        fastlogits.set_isa(case.isa)
        d = self._arrays(case.shape, case.dtype)
        loop = limits.prepare(case.operation, d)
        calls = {limits.LIMIT: loop} if loop else {}
        for library in self.libraries:
            call = self._prepare(library, case, d)
            if call is not None:
                calls[library] = call
        facts = {
            "operation": case.operation,
            "shape": str(case.shape),
            "dtype": case.dtype,
            "threads": case.threads,
            "isa": case.isa,
        }
        aim = targets.target(case.operation, case.shape, case.dtype, case.isa)
        measured = {f["library"]: f for f in measure(case.operation, d, calls, self.rounds)}
        of_limit = measured.pop(limits.LIMIT, None)
        own = {"target": aim, "limit": of_limit["ratio"] if of_limit else None}
        others = dict.fromkeys(own)
        return [
            facts | figures | (own if library == OWN else others)
            for library, figures in measured.items()
        ]

    def _arrays(self, shape: Shape, dtype: str) -> Data:
        """Make the arrays of a case, those of the last one going first: they may be large."""
        if self._data is None or self._data[:2] != (shape, dtype):
            self._data = None
            self._data = (shape, dtype, Data(shape, dtype))
        return self._data[2]

    def _prepare(self, library: str, case: Case, d: Data) -> Call | None:
        """Return a call that has worked once."""
        try:
            call = LIBRARIES[library].prepare()(case.operation, d, case.threads)
            if call is not None:
                call()
            return call
        except Exception as error:
            # Peers refuse dtypes, fail to compile, run out of memory: each in a way of its own.
            if library == OWN:
                raise
            words = f"{error}".splitlines() or [type(error).__name__]
            note = f"{library}: no {case.operation} of {case.shape} {case.dtype}: {words[0][:80]}"
            if note not in self.notes:
                self.notes.append(note)
            return None
