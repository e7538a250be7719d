"""What all the tests share: every instruction set, thread counts, and hypothesis' settings."""

import os
import signal

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

import fastlogits

# The fixtures below only choose which kernels run, so sharing one value among the examples of a
# property is what is wanted.
_common = {"deadline": None, "suppress_health_check": [HealthCheck.function_scoped_fixture]}
settings.register_profile("default", max_examples=100, **_common)
settings.register_profile("ci", max_examples=100, derandomize=True, **_common)
settings.register_profile("quick", max_examples=10, **_common)
settings.load_profile("ci" if os.environ.get("CI") else "default")

# Whoever started the tests may ignore these (nohup, a script's background), and then every child
# of a test would.
for number, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, usual)


@pytest.fixture(params=fastlogits.available_isas())
def isa(request):
    """Each instruction set that this machine can run, in force during the test."""
    before = fastlogits.get_isa()
    fastlogits.set_isa(request.param)
    yield request.param
    fastlogits.set_isa(before)


@pytest.fixture(params=[1, 2, 3, 8], ids="threads={}".format)
def threads(request):
    """A number of threads, in force during the test."""
    fastlogits.set_num_threads(request.param)
    yield request.param
    fastlogits.set_num_threads(None)


@pytest.fixture
def default_threads():
    """Gives the threads back to the default rule after a test that changes them itself."""
    yield
    fastlogits.set_num_threads(None)


@pytest.fixture(params=["float32", "float64"])
def dtype(request):
    return np.dtype(request.param)
