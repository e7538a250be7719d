"""docs/accuracy.md: what is measured is no further off than it says, and it says no more than the
operations may be off."""

import pytest
from accuracy import cases, document
from accuracy.measure import measure, rows_of
from accuracy.operations import OPERATIONS, bound_of
from checks import need_wide

import fastlogits


@pytest.fixture(scope="module")
def documented():
    """{(operation, dtype): rows}, of which there are several where instruction sets differ."""
    found = {}
    for row in document.read()["rows"]:
        found.setdefault((row["operation"], row["dtype"]), []).append(row)
    return found


def test_document_is_what_the_figures_render_to():
    assert document.MARKDOWN.read_text(encoding="utf-8") == document.render(document.read())


def test_every_operation_is_documented_for_every_dtype(documented):
    assert set(documented) == {(op, dtype) for op in OPERATIONS for dtype in cases.DTYPES}


def test_every_instruction_set_has_the_same_bits(documented):
    assert all(len(rows) == 1 for rows in documented.values())


def test_documented_errors_are_within_the_bounds(documented):
    for (op, dtype), rows in documented.items():
        for row in rows:
            bound = bound_of(OPERATIONS[op], cases.dtype_of(row["result"]))
            assert row["largest"] <= bound, (op, dtype)


@pytest.mark.parametrize("dtype", cases.DTYPES)
def test_no_error_is_larger_than_documented(dtype, documented):
    need_wide("float64")
    for row in rows_of(dtype, measure(dtype, "quick")):
        (known,) = documented[row["operation"], dtype]
        assert row["result"] == known["result"]
        assert row["largest"] <= known["largest"], row
        assert set(row["isas"]) == set(fastlogits.available_isas()), row
