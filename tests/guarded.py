"""Cases that run in a child process: a crash is a failure that names its case, not the end of all.

A test module with such cases is also a script, which the child runs.
"""

import os
import subprocess
import sys

DONE, WRONG = "done", "WRONG"


def run(cases):
    """In the child: `cases` are names and functions that return what is wrong, or nothing."""
    for name, case in cases:
        print(name, flush=True)  # first: the last one named is to blame for a crash
        problem = case()
        if problem:
            print(WRONG, name, "->", " ".join(str(problem).split()))
    print(DONE)


def problems(script, *arguments, timeout=300, **environment):
    """In the parent: what the cases of a script found wrong."""
    child = subprocess.run(
        [sys.executable, script, *arguments],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    lines = child.stdout.splitlines() or ["its import"]
    how = f"ended with status {child.returncode} in {lines[-1]}: {child.stderr}"
    assert (child.returncode, lines[-1]) == (0, DONE), how
    return [line for line in lines if line.startswith(WRONG)]
