"""docs/accuracy.md: what is measured is no further off than it says, and it says no more than the
operations may be off."""

import operations
import pytest
from accuracy import cases, document
from accuracy.measure import measure, rows_of
from accuracy.operations import OPERATIONS, bound_of
from checks import need_wide

import fastlogits

WITHOUT_FIGURES = {
    "they decide, and are exact": ["argmax", "top_k", "predict"],
    "sums over rows: tests/test_metrics.py has their bounds": [
        *operations.SCORES,
        *operations.SCORES_OF_CLASSES,
    ],
}


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


def test_every_function_has_figures():
    documented = {name.partition(",")[0].partition(":")[0] for name in OPERATIONS}
    without = {name for names in WITHOUT_FIGURES.values() for name in names}
    assert documented | without == {*operations.OPERATIONS}
    assert not documented & without


def test_operations_that_were_measured_take_the_place_of_their_rows():
    known = document.read()
    rows = [row | {"largest": 0} for row in known["rows"] if row["operation"] == "sigmoid"]
    got = document.refresh(known, known | {"rows": rows[::-1]})
    want = [row if row["operation"] != "sigmoid" else row | {"largest": 0} for row in known["rows"]]
    assert got == known | {"rows": want}


def test_what_was_measured_beside_others_is_refused():
    known = document.read()
    for found in ({"versions": {"fastlogits": "0"}}, {"cases": {}}, {"missing": ["SciPy"]}):
        with pytest.raises(ValueError, match=next(iter(found))):
            document.refresh(known, known | {"rows": []} | found)


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
