"""Memory that runs out: every operation raises MemoryError or gives the right bits, leaves nothing
behind, and works afterwards."""

import ctypes
import functools
import os
import shutil
import subprocess
import sys
from pathlib import Path

import guarded
import numpy as np
import pytest
from calls import calls_of, digest
from leaks import LAYOUTS, left_behind

import fastlogits as fl

# A sanitizer's own allocator, and the room that it needs, leave none for what is done here.
pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux") or bool(os.environ.get("LD_PRELOAD")),
    reason="not on Linux, or another library is preloaded",
)

# NumPy's indexing with arrays raises SystemError where it finds no memory, or ends the process.
INDEXING = ["argmax, of all", "top_k, of integers", "special.logsumexp"]


def outcome(call, want, afterwards):
    """What is wrong with a call that runs out of memory, if anything."""
    try:
        result = call()
    except MemoryError:
        return None
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    finally:
        afterwards()
    return None if digest(result) == want else "other bits"


# ---------------------------------------------------------------------------------------
# Each allocation in turn, in a child with an allocator that fails as it is told
# ---------------------------------------------------------------------------------------

fail_allocation = getattr(ctypes.pythonapi, "fail_allocation", None)  # where it is preloaded
if fail_allocation:
    fail_allocation.restype = ctypes.c_long
    fail_allocation.argtypes = [ctypes.c_long]


def fail_each(call, want):
    """A call of which the first allocation fails, then the second, and so on while there is one."""
    n, left = 1, 0

    def stop_failing():
        nonlocal left
        left = fail_allocation(0)

    while left == 0:
        fail_allocation(n)
        problem = outcome(call, want, stop_failing)
        if problem:
            return f"{problem}, where allocation {n} failed"
        n += 1
    return None if digest(call()) == want else "other bits afterwards"


def leaks(call, want):
    return left_behind(lambda: fail_each(call, want), times=10)


def failing(check, layout, isas):
    make, axis = LAYOUTS[layout]
    fl.set_num_threads(2 if layout == "shared" else 1)
    for isa in isas:
        fl.set_isa(isa)
        for name, call in calls_of(make(), axis).items():
            if name not in INDEXING:
                yield f"{name} ({isa})", functools.partial(check, call, digest(call()))


@pytest.fixture(scope="module")
def allocator(tmp_path_factory):
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    library = tmp_path_factory.mktemp("allocator") / "failing_malloc.so"
    source = Path(__file__).with_name("failing_malloc.c")
    built = subprocess.run(
        [compiler, "-O1", "-shared", "-fPIC", "-o", library, source, "-ldl"],
        capture_output=True,
        text=True,
        check=False,
    )
    if built.returncode:
        pytest.skip(f"no allocator to put in the place of this C library's: {built.stderr}")
    return str(library)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_allocation_that_fails_is_a_memory_error_or_done_without(layout, allocator):
    assert guarded.problems(__file__, "fail", layout, LD_PRELOAD=allocator) == []


def test_an_allocation_that_fails_leaves_nothing_behind(allocator):
    assert guarded.problems(__file__, "leak", "narrow", LD_PRELOAD=allocator) == []


# ---------------------------------------------------------------------------------------
# A process that may have little more memory
# ---------------------------------------------------------------------------------------


def with_little_memory(call, want):
    import resource  # Not on every system.

    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limits = resource.getrlimit(resource.RLIMIT_AS)
    little = pages * resource.getpagesize() + 2**21
    resource.setrlimit(resource.RLIMIT_AS, (little, limits[1]))
    problem = outcome(call, want, lambda: resource.setrlimit(resource.RLIMIT_AS, limits))
    return problem or (None if digest(call()) == want else "other bits afterwards")


def starved():
    """Results of 16 MB, where there are 2, and one that needs no more memory."""
    fl.set_num_threads(1)
    x = np.random.default_rng(0).normal(0, 3, (4000, 1000)).astype("f4")
    out = np.empty_like(x)
    calls = calls_of(x)
    calls["softmax, out"] = lambda: fl.softmax(x, out=out)
    for name, call in calls.items():
        yield name, functools.partial(with_little_memory, call, digest(call()))


def test_a_limit_on_memory():
    assert guarded.problems(__file__, "limit") == []


if __name__ == "__main__":
    what, *layouts = sys.argv[1:]
    isas = fl.available_isas()
    if what == "fail":
        guarded.run(failing(fail_each, *layouts, isas))
    elif what == "leak":
        guarded.run(failing(leaks, *layouts, isas[:1]))
    else:
        guarded.run(starved())
