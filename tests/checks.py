"""What the tests of several functions check with."""

import re

import numpy as np
import pytest
import reference


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
