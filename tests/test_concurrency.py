"""Python threads that compute at the same time, with the interpreter's lock or without."""

import concurrent.futures
import itertools
import sys
import sysconfig
import threading

import calls
import numpy as np
import pytest
from children import python, says
from operations import OPERATIONS, SCORES_OF_CLASSES

import fastlogits
from fastlogits import num_threads, set_isa, set_num_threads

pytestmark = pytest.mark.usefixtures("default_threads")

CALLERS = 8
FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))


@pytest.fixture
def default_isa():
    """Gives back the instruction set after a test that changes it itself."""
    before = fastlogits.get_isa()
    yield
    set_isa(before)


def at_once(work, n=CALLERS):
    """What `work` returns in each of n threads that begin together, handed its number."""
    together = threading.Barrier(n)

    def begin(i):
        together.wait()
        return work(i)

    with concurrent.futures.ThreadPoolExecutor(n) as pool:
        return list(pool.map(begin, range(n)))


def in_turns(i):
    """The digests of all calls, which each thread begins at another of them."""
    order = list(calls.CALLS.items())
    first = i * len(order) // CALLERS
    return {name: calls.digest(call()) for name, call in order[first:] + order[:first]}


def test_every_operation_is_called():
    assert {name.partition(",")[0] for name in calls.CALLS} == {*OPERATIONS} - {*SCORES_OF_CLASSES}


def test_every_operation_in_many_threads_at_once(isa, threads):
    want = calls.digests()
    assert at_once(in_turns) == [want] * CALLERS


def test_settings_may_change_while_threads_compute(default_isa):
    want = calls.digests()
    over = threading.Event()

    def change():
        choices = itertools.product(fastlogits.available_isas(), (1, 2, None, 4))
        for isa, n in itertools.cycle(choices):
            if over.is_set():
                return
            set_isa(isa)
            with num_threads(n):
                assert fastlogits.get_num_threads() >= 1
                assert fastlogits.get_isa() in fastlogits.available_isas()
            set_num_threads(n)

    changing = [threading.Thread(target=change) for _ in range(2)]
    for thread in changing:
        thread.start()
    try:
        assert at_once(in_turns) == [want] * CALLERS
    finally:
        over.set()
        for thread in changing:
            thread.join()


def test_threads_that_import_it_together_find_it_ready():
    code = """
        import threading
        import numpy as np
        together, found = threading.Barrier(8), []
        def begin():
            together.wait()
            import calls
            found.append(tuple(calls.digests().values()))
        threads = [threading.Thread(target=begin) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        print(len(found), len(set(found)))
        """
    assert says(code) == ["8", "1"]


def test_type_that_another_thread_is_about_to_import():
    """While ml_dtypes is imported it is there already, but empty."""
    code = """
        import sys, types
        import numpy as np
        import fastlogits as fl
        x = np.zeros(3, np.float32)
        sys.modules["ml_dtypes"] = types.ModuleType("ml_dtypes")
        print(fl.sigmoid(x, dtype="f2").dtype)
        del sys.modules["ml_dtypes"]
        from ml_dtypes import bfloat16
        print(fl.sigmoid(x.astype(bfloat16)).dtype)
        """
    run = python(code)
    assert run.stderr == ""
    assert run.stdout.split() == ["float16", "bfloat16"]


@pytest.mark.skipif(not FREE_THREADED, reason="this interpreter always has its lock")
def test_import_leaves_a_free_threaded_interpreter_without_its_lock():
    code = "import sys, fastlogits, fastlogits.metrics; print(sys._is_gil_enabled())"
    assert says(code) == ["False"]


def turns_during_a_call(x, out):
    """How often this thread gets to run while another one is in a long call."""
    done = threading.Event()
    worker = threading.Thread(target=lambda: (fastlogits.softmax(x, out=out), done.set()))
    turns = 0
    worker.start()
    while not done.is_set():
        turns += 1
        done.wait(1e-4)
    worker.join()
    return turns


def test_other_threads_can_run_during_a_call():
    set_num_threads(1)
    x = np.zeros((1000, 20_000), np.float32)
    out = np.zeros_like(x)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-4)
    try:
        # With the interpreter's lock held all along, at most a turn or two before and after. On a
        # busy machine a call may be over before this thread gets a core at all, hence many calls.
        assert any(turns_during_a_call(x, out) > 5 for _ in range(100))
    finally:
        sys.setswitchinterval(interval)
