"""Code in an interpreter of its own: what would disturb other tests, or might never end."""

import os
import signal
import subprocess
import sys
import textwrap

import pytest

HERE = os.path.dirname(__file__)
# Set for a child only where its test says so.
VARIABLES = ("FASTLOGITS_ISA", "FASTLOGITS_NUM_THREADS", "OMP_NUM_THREADS")


def python(code, *, timeout=120, under=(), **environment):
    """How an interpreter ended that ran `code`, which can import what lies beside the tests.

    `under`: a command that runs a command. Past the time it is killed with all its children.
    """
    env = {k: v for k, v in os.environ.items() if k not in VARIABLES}
    env["PYTHONPATH"] = os.pathsep.join(filter(None, [HERE, env.get("PYTHONPATH")]))
    child = subprocess.Popen(
        [*under, sys.executable, "-P", "-c", textwrap.dedent(code)],
        env=env | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        out, err = child.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        out, err = child.communicate()
        pytest.fail(f"still running after {timeout} s, having said: {out}{err}")
    return subprocess.CompletedProcess(child.args, child.returncode, out, err)


def says(code, **options):
    """What `code` prints, as words; it has to end well."""
    run = python(code, **options)
    assert run.returncode == 0, f"exit status {run.returncode}: {run.stderr}"
    return run.stdout.split()
