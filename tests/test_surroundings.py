"""What the library finds when it is imported or called, and has to leave as it was: how the
processor rounds, what becomes of subnormal numbers, and signals."""

import platform
import signal
import sys

import modes
import pytest
from children import says

needs_modes = pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64") or sys.platform != "linux",
    reason="only for glibc on x86-64 is it known here how modes are set",
)


@pytest.mark.parametrize("module", ["fastlogits", "calls"])
def test_import_leaves_rounding_and_subnormals(module):
    code = f"""
        import threading
        import modes
        import numpy
        assert modes.now() == ("nearest", "kept")
        import {module}
        print(*modes.now())
        new = threading.Thread(target=lambda: print(*modes.now()))
        new.start()
        new.join()
        """
    assert says(code) == ["nearest", "kept"] * 2


@needs_modes
@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("subnormals", ["kept", "flushed"])
@pytest.mark.parametrize("rounding", modes.ROUNDING)
def test_calls_leave_rounding_and_subnormals(rounding, subnormals, threads):
    code = f"""
        import modes
        import calls, fastlogits as fl
        fl.set_num_threads({threads})
        modes.change("{rounding}", "{subnormals}")
        found = {{modes.now()}}
        for isa in fl.available_isas():
            fl.set_isa(isa)
            for call in calls.CALLS.values():
                call()
                found.add(modes.now())
        modes.change("nearest", "kept")
        print(*[word for mode in found for word in mode])
        """
    assert says(code) == [rounding, subnormals]


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers on this system")
@pytest.mark.parametrize("timer", ["ITIMER_REAL", "ITIMER_PROF"])
@pytest.mark.parametrize("threads", [1, 4])
def test_signals_during_calls_do_no_harm(threads, timer):
    """A profiler's: every millisecond, to a Python handler and, in the end, to whatever thread."""
    code = f"""
        import signal, time
        import calls, fastlogits as fl
        want = calls.digests()
        fl.set_num_threads({threads})
        ticks = []
        number = signal.SIGALRM if "{timer}" == "ITIMER_REAL" else signal.SIGPROF
        signal.signal(number, lambda *_: ticks.append(fl.argmax(calls.X[:3]).shape))
        signal.setitimer(signal.{timer}, 0.001, 0.001)
        end = time.monotonic() + 60
        rounds = 0
        while rounds < 5 or len(ticks) < 20 and time.monotonic() < end:
            assert calls.digests() == want
            rounds += 1
        signal.setitimer(signal.{timer}, 0)
        print(len(ticks) >= 20)
        """
    assert says(code) == ["True"]
