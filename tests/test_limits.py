"""The loops of `fastlogits bench` that do only what an operation cannot do without."""

import ctypes
import mmap
import sys

import guarded
import ml_dtypes
import numpy as np
import pytest

import fastlogits
from fastlogits import special
from fastlogits._core import _limit
from fastlogits.bench.cases import OPERATIONS, Data, Shape
from fastlogits.bench.limits import prepare

DTYPES = [np.float32, np.float64, np.float16, ml_dtypes.bfloat16]
WRITING = {
    "softmax": lambda x: np.exp(x),
    "cross_entropy_value_and_grad": lambda x: np.exp(x),
    "sigmoid": lambda x: special.expit(-np.abs(x)),
    "binary_cross_entropy_value_and_grad": lambda x: special.expit(-np.abs(x)),
    "log_softmax": None,
}
LOOPS = sorted(set(OPERATIONS) - {"argmax", "top_k"})
# Left out of what a loop does, at most: a cache line of half precision, and all but a span.
LEFT_OUT = 32 + 127
# Of nothing to do, not quite a chunk, a chunk, not quite some chunks, and work for two threads.
SIZES = [0, 1, 127, 1000, 1024, 5000, 70_001]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("operation", LOOPS)
def test_a_loop_writes_its_out_alone_and_nearly_all_of_it(operation, dtype, isa, default_threads):
    fastlogits.set_num_threads(2)
    for n in SIZES:
        x = np.linspace(-3, 3, n).astype(dtype)
        targets = np.full_like(x, 0.5)
        room = np.full(n + 128, 7, dtype)
        out = room[64:-64]
        given = x.copy()
        assert _limit(operation, x, out, targets, 3) is None
        np.testing.assert_array_equal(x, given)
        assert np.all(targets == 0.5)
        assert np.all(room[:64] == 7)
        assert np.all(room[-64:] == 7)
        written = out != 7
        if operation not in WRITING:
            assert not written.any()
            continue
        assert np.count_nonzero(written) >= n - LEFT_OUT
        results, logits = out[written].astype(np.float64), x[written].astype(np.float64)
        if operation == "log_softmax":  # less the largest logit of its lane
            assert np.all(results <= 0)
        elif written.any():  # each times one constant
            ratios = results / WRITING[operation](logits)
            np.testing.assert_allclose(ratios, ratios.mean(), rtol=2.0**-7)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
@pytest.mark.parametrize("shape", ["70x1000", "1000x70@0", "40000x2", "1x70000"])
def test_every_operation_but_two_has_one(shape, dtype, isa):
    d = Data(Shape.parse(shape), dtype)
    for operation in OPERATIONS:
        call = prepare(operation, d)
        assert (call is None) == (operation in ("argmax", "top_k"))
        assert call is None or call() is None


def test_tiny_arrays_have_none():
    assert prepare("softmax", Data(Shape.parse("1x10"), "float32")) is None


def wrong_calls():
    x = np.zeros((8, 1000), np.float32)
    other = x.copy()
    read_only = x.copy()
    read_only.flags.writeable = False
    unaligned = np.zeros(x.nbytes + 1, np.uint8)[1:].view(np.float32).reshape(x.shape)
    for wrong in [
        x.astype(np.float64),
        x[:, :999].copy(),
        np.zeros(0, np.float32),
        np.asfortranarray(x),
        np.zeros((16, 1000), np.float32)[::2],
        x.astype(">f4"),
        x.view(np.int32),
        unaligned,
    ]:
        for arrays in [(wrong, other, other), (x, wrong, other), (x, other, wrong)]:
            yield ValueError, ("softmax", *arrays, 1000)
    yield ValueError, ("softmax", x, read_only, other, 1000)
    for dtype in (np.int32, np.int16, bool, np.complex64, np.longdouble, object):
        yield ValueError, ("softmax", *(np.zeros((8, 1000), dtype) for _ in range(3)), 1000)
    for wrong in (None, [1.0], 1.0, memoryview(x)):
        for arrays in [(wrong, other, other), (x, wrong, other), (x, other, wrong)]:
            yield TypeError, ("softmax", *arrays, 1000)
    for n_classes in (0, -1, 2**31, 2**70):
        yield ValueError, ("softmax", x, other, other, n_classes)
    yield TypeError, ("softmax", x, other, other, 2.0)
    for operation in ("argmax", "softplus", None):
        yield ValueError, (operation, x, other, other, 1000)


def test_wrong_arguments():
    for error, arguments in wrong_calls():
        with pytest.raises(error):
            _limit(*arguments)


def between_unreadable_pages():
    """Every loop on arrays that begin or end where the memory does: a process of its own."""
    protect = ctypes.CDLL(None, use_errno=True).mprotect
    pages = 8

    def memory():
        room = mmap.mmap(-1, (pages + 2) * mmap.PAGESIZE)
        address = ctypes.addressof(ctypes.c_char.from_buffer(room))
        for page in (address, address + (pages + 1) * mmap.PAGESIZE):
            assert protect(ctypes.c_void_p(page), ctypes.c_size_t(mmap.PAGESIZE), 0) == 0
        return np.frombuffer(room, np.uint8)[mmap.PAGESIZE : -mmap.PAGESIZE]

    rooms = [memory() for _ in range(3)]
    for operation in LOOPS:
        for dtype in DTYPES:
            size = np.dtype(dtype).itemsize
            for n in (1, 15, 16, 128, 1023, 1024, 1040, pages * mmap.PAGESIZE // size):
                for part in (slice(n * size), slice(rooms[0].size - n * size, None)):
                    arrays = [room[part].view(dtype) for room in rooms]
                    for n_classes in (1, 2, 3, n):
                        _limit(operation, *arrays, n_classes)


@pytest.mark.skipif(sys.platform != "linux", reason="protects memory as Linux does")
def test_nothing_beside_the_arrays_is_touched(isa):
    assert guarded.problems(__file__, FASTLOGITS_ISA=isa) == []


if __name__ == "__main__":
    guarded.run([("between unreadable pages", between_unreadable_pages)])
