"""What the tests of several functions check with."""

import os
import re
import subprocess

import numpy as np
import pytest
import reference

_X = np.arange(12.0).reshape(3, 4)
# Arrays that no function takes; TypeError in each.
WRONG_ARRAYS = {
    "complex": _X + 1j,
    "object": _X.astype(object),
    "text": _X.astype(str),
    "bytes": _X.astype(bytes),
    "structured": np.zeros((3, 4), [("a", "f4"), ("b", "f4")]),
    "datetime": np.zeros((3, 4), "datetime64[s]"),
    "timedelta": np.zeros((3, 4), "timedelta64[s]"),
    "masked": np.ma.masked_array(_X, _X == 5),
    "a list of text": [["a", "b"]],
    "None": None,
    "a set": {1.0, 2.0},
    "a dict": {"a": 1.0},
    "a complex number": 1j,
    "a string": "logits",
}


def refused(error, *said):
    """A context in which `error` must be raised with each of `said` as a word of its message."""
    pattern = "".join(rf"(?=.*(?<!\w){re.escape(str(word))}(?!\w))" for word in said)
    return pytest.raises(error, match=f"(?s){pattern}")


def frozen(a):
    a.setflags(write=False)
    return a


def bits(*arrays):
    """Digests of the bytes of arrays in C order, every NaN being the same one."""

    def one_nan(a):
        return np.where(np.isnan(a), a.dtype.type(np.nan), a) if a.dtype.kind == "f" else a

    return tuple(hash(one_nan(np.asarray(a)).tobytes()) for a in arrays)


def assert_near(got, want, terms, eps):
    """Whether each result is within `eps` of the magnitudes of its terms from the exact one.

    Below the smallest normal number results may be flushed to zero, before they are weighted.
    """
    got, want = np.asarray(got), np.asarray(want)
    assert got.shape == want.shape
    finite = np.isfinite(want)
    np.testing.assert_array_equal(got[~finite], want[~finite].astype(got.dtype))
    if not reference.wide_enough(got.dtype):
        return
    floor = 1e6 * reference.WIDE(np.finfo(got.dtype).smallest_normal)
    error = np.abs(got[finite].astype(reference.WIDE) - want[finite])
    limit = eps * np.finfo(got.dtype).eps * np.asarray(terms)[finite] + floor
    assert np.all(error <= limit), f"{float(np.max(error / limit))} times the limit"


def need_wide(dtype):
    if not reference.wide_enough(dtype):
        pytest.skip(f"np.longdouble is not wide enough here to judge {dtype}")


def kinds_of_arrays(x, folder):
    """Things that hold the numbers of `x`, an array, and are read as such an array."""

    class Holder:
        def __array__(self, dtype=None, copy=None):
            return x if dtype is None else x.astype(dtype)

    class Subclass(np.ndarray):
        pass

    np.save(folder / "x.npy", x)
    mapped = np.load(folder / "x.npy", mmap_mode="r")
    return (
        frozen(x.copy()),
        mapped,
        mapped[::-1][::-1],
        x.astype(x.dtype.newbyteorder()),
        Holder(),
        x.view(Subclass),
        memoryview(x),
        np.ma.masked_array(x),
    )


def shown_on_a_terminal(command, folder, **environment):
    """What a command that succeeds prints on a terminal."""
    import pty  # Not on every system.

    controller, terminal = pty.openpty()
    process = subprocess.Popen(
        command,
        cwd=folder,
        stdout=terminal,
        stderr=terminal,
        env={**os.environ, "TERM": "xterm", **environment},
    )
    os.close(terminal)
    shown = b""
    try:
        while chunk := os.read(controller, 4096):
            shown += chunk
    except OSError:  # Linux says so, and not with an empty read, when the other end is closed.
        pass
    os.close(controller)
    assert process.wait(timeout=60) == 0
    return shown.decode()
