"""What the tests' processes do in children of their own, and how many threads they have."""

import os
import sys
import warnings

import calls

import fastlogits as fl

# From Python 3.12 on there is one of each fork beside threads, which is what is tested here.
warnings.simplefilter("ignore", DeprecationWarning)


def os_threads():
    """How many threads the operating system knows of in this process."""
    return len(os.listdir("/proc/self/task"))


def warm():
    """Start a team of four threads; what they compute."""
    before = os_threads()
    fl.set_num_threads(4)
    want = calls.digests()
    assert os_threads() - before == fl.get_num_threads() - 1
    return want


def compute_alone(want):
    """For a process of one thread, which has to stay one and get the same results."""
    before = os_threads()
    assert calls.digests() == want
    assert (before, os_threads()) == (1, 1)
    return True


def in_fork(check, *arguments):
    """Whether the check went well in a fork of this process."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1] == 0
    try:
        check(*arguments)
        os._exit(0)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(1)
