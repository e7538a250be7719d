"""The errors of every operation, on every instruction set, in one sweep over all problems."""

import hashlib
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context

import numpy as np
import reference

import fastlogits

from . import cases, peers
from .operations import OPERATIONS


class Figures:
    """The largest error and where it is, and the mean over results that are normal numbers."""

    def __init__(self, largest=-1.0, where="", total=0.0, count=0):
        self.largest, self.where, self.total, self.count = largest, where, total, count

    @classmethod
    def of(cls, problem, got, exact, unit):
        error = reference.ulp_error(got, exact, unit)
        counted = np.abs(exact) >= np.finfo(computed_in(got.dtype)).smallest_normal
        at = np.unravel_index(np.argmax(error), error.shape)
        where = problem.place(tuple(map(int, at)))
        return cls(float(error[at]), where, float(error[counted].sum()), int(counted.sum()))

    def __add__(self, other):
        top = self if self.largest >= other.largest else other
        return Figures(top.largest, top.where, self.total + other.total, self.count + other.count)

    @property
    def mean(self):
        return self.total / max(self.count, 1)


def computed_in(dtype):
    return dtype if dtype.itemsize > 2 else np.dtype(np.float32)


def digest(a):
    """Of the bits of an array, every NaN being the same one."""
    a = np.ascontiguousarray(a)
    a = np.where(np.isnan(a), a.dtype.type(np.nan), a)
    return hashlib.blake2b(a.tobytes(), digest_size=16).digest()


class Measured:
    """What one distribution says of one operation: figures and bits for each instruction set."""

    def __init__(self):
        self.figures, self.bits, self.peers, self.result_dtype = {}, {}, {}, ""

    def add(self, isa, figures, bits):
        self.figures[isa] = self.figures.get(isa, Figures()) + figures
        self.bits[isa] = self.bits.get(isa, b"") + bits

    def add_peer(self, peer, figures):
        self.peers[peer] = self.peers.get(peer, Figures()) + figures

    def merge(self, other):
        self.result_dtype = other.result_dtype
        for isa, figures in other.figures.items():
            self.add(isa, figures, other.bits[isa])
        for peer, figures in other.peers.items():
            self.add_peer(peer, figures)


def measure_distribution(dtype, size, peer_names, operations, distribution):
    """Of one distribution: {operation: Measured}."""
    measured = {}
    calls = {name: peers.PEERS[name].calls() for name in peer_names}
    before = fastlogits.get_isa()
    try:
        for problem in cases.problems(dtype, distribution, size):
            for name in operations:
                operation = OPERATIONS[name]
                if operation.family != problem.family:
                    continue
                entry = measured.setdefault(name, Measured())
                measure_operation(problem, operation, entry)
                for peer, by_name in calls.items():
                    if name in by_name:
                        measure_peer(problem, operation, by_name[name], peer, entry)
    finally:
        fastlogits.set_isa(before)
    return measured


def measure_operation(problem, operation, entry):
    exact = unit = None
    known = {}
    for isa in fastlogits.available_isas():
        fastlogits.set_isa(isa)
        got = np.asarray(operation.call(problem))
        bits = digest(got)
        if bits not in known:
            if exact is None:
                exact, size = operation.exact(problem)
                unit = reference.ulp(exact if size is None else size, got.dtype)
            known[bits] = Figures.of(problem, got, exact, unit)
        entry.add(isa, known[bits], bits)
    entry.result_dtype = got.dtype.name


def measure_peer(problem, operation, call, peer, entry):
    """Of what the peer returns, in the units of its dtype."""
    try:
        got = call(problem)
    except peers.REFUSALS:
        return
    exact, size = operation.exact(problem)
    if got.dtype.name not in cases.DTYPES:
        return
    unit = reference.ulp(exact if size is None else size, got.dtype)
    entry.add_peer(peer, Figures.of(problem, got, exact, unit))


def measure(dtype, size, peer_names=(), workers=1, operations=tuple(OPERATIONS)):
    """{operation: Measured} of one dtype."""
    names = cases.distributions_of(dtype)
    job = partial(measure_distribution, dtype, size, peer_names, operations)
    if workers == 1:
        results = list(map(job, names))
    else:
        with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
            results = list(pool.map(job, names))
    total = {name: Measured() for name in operations}
    for measured in results:
        for name, entry in measured.items():
            total[name].merge(entry)
    return total


def rows_of(dtype, measured):
    """The measurement as rows of the table: instruction sets of the same bits are one."""
    for name, entry in measured.items():
        groups = {}
        for isa, bits in entry.bits.items():
            groups.setdefault(bits, []).append(isa)
        for isas in groups.values():
            figures = entry.figures[isas[0]]
            yield {
                "operation": name,
                "dtype": dtype,
                "result": entry.result_dtype,
                "isas": isas,
                "largest": figures.largest,
                "mean": figures.mean,
                "where": figures.where,
                "peers": {
                    peer: {"largest": f.largest, "mean": f.mean} for peer, f in entry.peers.items()
                },
            }
