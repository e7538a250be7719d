"""The constants in the C source are those that tools/coefficients.py derives, bit for bit."""

import re
from pathlib import Path

import numpy as np
import pytest

coefficients = pytest.importorskip("coefficients", reason="mpmath is not installed")

KERNELS = Path(__file__).parent.parent / "src" / "kernels"
NUMBER = r"-?0x[0-9a-f]+(?:\.[0-9a-f]*)?(?:p[+-]?\d+f?)?"
# #define NAME number, or type name[] = {numbers};
DEFINITION = re.compile(rf"#define (\w+) ({NUMBER})|(\w+)\[\d*\] = \{{([^}}]*)\}};")
# Small powers of two and the like, which nobody derives.
PLAIN = {"ROUND_MAGIC", "COUNT_FROM", "REAL_MAX", "REAL_MIN", "FRAME_MAX"}


@pytest.fixture(scope="module")
def derived():
    return coefficients.derive()


def sections():
    """Of real.h, what is for each element type."""
    text = (KERNELS / "real.h").read_text()
    double, single = text.split("#elif FL_BITS == 32")
    return {"_f64": double, "_f32": single}


def value(text):
    return float.fromhex(text.rstrip("f")) if "p" in text else int(text, 16)


def committed(names):
    """{name: numbers} of real.h, under the names of `derive`."""
    found = {}
    for suffix, text in sections().items():
        for match in DEFINITION.finditer(text):
            name, numbers = (match[1], [match[2]]) if match[1] else (match[3], match[4])
            if isinstance(numbers, str):
                numbers = re.findall(NUMBER, numbers)
            if name in PLAIN:
                continue
            name = name if name in names else name + suffix
            found[name] = [value(number) for number in numbers]
    return found


def test_every_constant_is_the_derived_one(derived):
    found = committed(derived)
    assert set(found) == set(derived)
    for name, constants in found.items():
        want = [v if isinstance(v, int) else float(v) for v in derived[name].values]
        assert constants == want, name


def test_every_long_constant_of_the_kernels_is_a_derived_one(derived):
    known = {abs(float(v)) for d in derived.values() for v in d.values}
    # float64 constants that stand in the templates, beside those of real.h.
    known.add(float(np.sqrt(2)))
    for path in KERNELS.glob("*.h"):
        for number in re.findall(r"0x1\.[0-9a-f]{5,}p[+-]?\d+f?", path.read_text()):
            fields = number.rstrip("f").partition("p")
            if set(fields[0][4:]) <= {"0", "f", "e"}:  # A largest number.
                continue
            assert value(number) in known, f"{number} in {path.name}"


# The comment above the constants quotes the error that they leave.
@pytest.mark.parametrize(
    "name",
    [
        "exp_coefficients_f64",
        "log_coefficients_f64",
        "EXP_C2",
        "log1p_coefficients_f32",
        "exp2_coefficients_f64",
        "short_log_coefficients_f64",
        "exp_table",
    ],
)
def test_the_quoted_error_is_the_error(name, derived):
    text = "".join(sections().values())
    before = text[: re.search(rf"\b{name}\b", text).start()]
    comment = re.findall(r"/\*(.*?)\*/", before, re.DOTALL)[-1]
    quoted = re.search(r"(?:error|to) (?:([\d.]+) \* )?2\^-([\d.]+)", " ".join(comment.split()))
    assert quoted, comment
    error = derived[name].error
    if quoted[1]:
        assert f"{float(coefficients.mp.ldexp(error, int(quoted[2]))):.3f}" == quoted[1]
    else:
        digits = len(quoted[2].partition(".")[2])
        assert f"{-float(coefficients.mp.log(error, 2)):.{digits}f}" == quoted[2]
