"""Calls the library with whatever comes up: cd tests && python -m fuzz SECONDS [guided].

What fails is shown as small as it can be; once mended, it becomes an example of test_any_call.py.

Guided, by atheris (the extra "fuzz"), new calls are made from those that reached new code. For the
code of the kernels that takes a build by Clang with CFLAGS=-fsanitize=fuzzer-no-link, and atheris'
ubsan_with_fuzzer.so in LD_PRELOAD.
"""

import sys
import tempfile
import time
from pathlib import Path

from fuzz.calls import calls
from fuzz.check import check
from hypothesis import HealthCheck, given, settings

LAST = Path(tempfile.gettempdir(), "fastlogits-last-call")


@settings(max_examples=500, deadline=None, suppress_health_check=list(HealthCheck))
@given(calls())
def any_call(call):
    LAST.write_text(f"{call}\n")
    check(call)


def guided(seconds):
    import atheris

    # Short inputs are no calls at all.
    options = [f"-max_total_time={seconds}", "-max_len=8192", "-len_control=0"]
    atheris.Setup([sys.argv[0], *options], any_call.hypothesis.fuzz_one_input)
    atheris.Fuzz()


def main():
    seconds, *how = sys.argv[1:]
    print(f"Should the process end, {LAST} has the call.", flush=True)
    if how == ["guided"]:
        guided(seconds)
    end = time.monotonic() + float(seconds)
    while time.monotonic() < end:
        any_call()


main()
