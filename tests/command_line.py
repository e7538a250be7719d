"""The command, run as its users run it: a process of its own."""

import contextlib
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

COMMAND = [sys.executable, "-P", "-m", "fastlogits"]


def command(*arguments, cwd, before=None, **options):
    """Run in `cwd`, away from the checkout, whose package has no compiled core.

    `before`: a statement that is run first.
    """
    program = COMMAND
    if before:
        code = f"import sys; {before}; from fastlogits.cli import main; sys.exit(main())"
        program = [sys.executable, "-P", "-c", code]
    arguments = [*program, *map(str, arguments)]
    return subprocess.run(
        arguments, cwd=cwd, capture_output=True, text=True, timeout=120, **options
    )


def assert_fails(done, *words):
    """One line says what is wrong, with these words."""
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("fastlogits: error: ")
    assert done.stderr.count("\n") == 1
    for word in words:
        assert word in done.stderr


def succeeds(*arguments, cwd, **options):
    """What it prints; nothing on standard error."""
    done = command(*arguments, cwd=cwd, **options)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def names(folder):
    return sorted(file.name for file in folder.iterdir())


def save_rows(folder):
    """Save logits and labels of a classifier that is too sure of itself; one row is ignored."""
    rng = np.random.default_rng(3)
    logits = rng.normal(0, 1, (300, 10)).astype(np.float32)
    labels = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
    labels[17] = -100
    np.save(folder / "logits.npy", 2 * logits)
    np.save(folder / "labels.npy", labels)
    np.savetxt(folder / "labels.txt", labels, fmt="%d")
    np.savez(folder / "both.npz", logits=2 * logits, labels=labels)
    np.savez_compressed(folder / "one.npz", labels)
    return 2 * logits, labels


class _Running(subprocess.Popen):
    def largest_memory(self):
        """The most memory of its own that it has until it ends well, in bytes; Linux.

        Pages of mapped files are the system's to take back, and do not count.
        """
        largest = 0
        while self.poll() is None:
            for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
                if line.startswith("RssAnon:"):
                    largest = max(largest, int(line.split()[1]) * 1024)
            time.sleep(0.005)
        assert self.returncode == 0
        assert largest > 0
        return largest


@contextlib.contextmanager
def running(*arguments, cwd):
    """The process, while it runs."""
    with _Running(
        [*COMMAND, *map(str, arguments)],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A background job inherits an ignored SIGINT.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        try:
            yield process
        finally:
            process.kill()
