"""Ctrl-C, and other signals, during a call that takes long."""

import signal
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest

import fastlogits as fl

# Each reads 2^36 elements, of an array that has a few: it would take ten seconds at least.
CALLS = {
    "rows": "fl.logsumexp(np.broadcast_to(row, (1 << 16, 1 << 20)))",
    "one row": "fl.logsumexp(np.broadcast_to(row[:1], (1 << 36,)))",
    "several axes": "fl.logsumexp(np.broadcast_to(row[:4], (1 << 26, 1 << 8, 4)), axis=(1, 2))",
    "tall rows": "fl.logsumexp(np.broadcast_to(row[:64], (1 << 10, 1 << 20, 64)), axis=1)",
    "elements": "fl.binary_cross_entropy_with_logits(*2 * [np.broadcast_to(row[:1], (1 << 36,))])",
}
CHILD = """
import numpy as np
import fastlogits as fl

fl.set_num_threads({threads})
row = np.linspace(0, 1, 1 << 20, dtype=np.float32)
print("begun", flush=True)
try:
    {call}
except KeyboardInterrupt:
    print("interrupted", float(fl.logsumexp(row)))
"""


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", CALLS)
def test_ctrl_c_ends_a_long_call_and_the_process_is_sound(name, threads):
    code = textwrap.dedent(CHILD).format(threads=threads, call=CALLS[name])
    with subprocess.Popen(
        [sys.executable, "-P", "-c", code], stdout=subprocess.PIPE, text=True
    ) as child:
        try:
            assert child.stdout.readline() == "begun\n"
            time.sleep(0.3)
            child.send_signal(signal.SIGINT)
            # Only a call that is not interrupted takes so long.
            out, _ = child.communicate(timeout=8)
        finally:
            child.kill()
    row = np.linspace(0, 1, 1 << 20, dtype=np.float32)
    assert out.split() == ["interrupted", str(float(fl.logsumexp(row)))]


class Interrupted(Exception):
    pass


@pytest.fixture
def alarm():
    """Sets what an alarm does that goes off soon."""

    def set_alarm(handler, seconds=0.1):
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, seconds)

    before = signal.getsignal(signal.SIGALRM)
    yield set_alarm
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def test_any_exception_of_a_handler_ends_the_call(alarm, threads):
    def stop(number, frame):
        raise Interrupted(number)

    x = np.broadcast_to(np.float32(1), (1 << 20, 1 << 16))
    alarm(stop)
    with pytest.raises(Interrupted):
        fl.logsumexp(x)


def test_handler_that_returns_lets_the_call_go_on(alarm, threads):
    """It may itself compute."""
    row = np.linspace(-9, 9, 1 << 12, dtype=np.float32)
    x = np.broadcast_to(row, (1 << 16, 1 << 12))
    seen = []
    alarm(lambda number, frame: seen.append(fl.logsumexp(row)), 0.02)
    result = fl.logsumexp(x)
    while not seen:  # the call was over before the alarm
        time.sleep(0.01)
    assert seen == [result[0]]
    assert (result == result[0]).all()


def test_interrupted_call_has_written_whole_rows_or_nothing_of_them(alarm, threads):
    def stop(number, frame):
        raise Interrupted(number)

    fl.set_isa("portable")  # the slowest, so that the array need not be large
    x = np.broadcast_to(np.linspace(-9, 9, 1 << 8, dtype=np.float32), (1 << 17, 1 << 8))
    out = np.full(x.shape, -1, np.float32)
    expected = fl.softmax(x[0])
    alarm(stop, 0.01)
    try:
        fl.softmax(x, out=out)
    except Interrupted:
        written = out[:, 0] != -1
        assert written.any()
        assert (out[written] == expected).all()
        assert (out[~written] == -1).all()
    else:
        assert (out == expected).all()
    finally:
        fl.set_isa(fl.available_isas()[0])


def test_call_of_another_thread_goes_on(alarm):
    """Python delivers signals to its main thread."""
    row = np.linspace(-9, 9, 1 << 12, dtype=np.float32)
    x = np.broadcast_to(row, (1 << 17, 1 << 12))
    results = []
    worker = threading.Thread(target=lambda: results.append(fl.logsumexp(x)))

    def stop(number, frame):
        raise Interrupted(number)

    worker.start()
    alarm(stop, 0.02)
    with pytest.raises(Interrupted):
        time.sleep(60)
    worker.join()
    assert (results[0] == fl.logsumexp(row)).all()
