"""Calls of any public function with anything; `make fuzz-python` makes many more of them."""

from fuzz.arrays import Array, Layout, Out
from fuzz.calls import FUNCTIONS, Call, calls
from fuzz.check import check
from hypothesis import example, given
from operations import OPERATIONS, SCORES_OF_CLASSES, SETTINGS

MANY_AXES = (1,) * 40 + (2, 3)


# What has been wrong.
@example(Call("argmax", {"logits": Array(MANY_AXES), "axis": None}))
@example(Call("top_k", {"x": Array(MANY_AXES, "i4", "ties"), "k": 2, "axis": -2}))
@example(Call("top_k", {"x": Array((9, 7), "i1", "ties", kind="list"), "k": False, "axis": 1}))
@example(
    Call(
        "cross_entropy",
        {"logits": Array(MANY_AXES), "targets": Array(MANY_AXES[:-1], "i8", "bits")},
    )
)
@example(
    Call(
        "binary_cross_entropy_with_logits",
        {"logits": Array(MANY_AXES), "targets": Array(MANY_AXES, values="normal")},
    )
)
@example(Call("special.logsumexp", {"a": Array(MANY_AXES), "b": Array(MANY_AXES)}))
@example(Call("special.expit", {"x": Array(MANY_AXES), "out": Out()}))
@example(Call("special.softmax", {"x": Array((7,), "bfloat16", layout=Layout(swapped=True))}))
@example(Call("special.softmax", {"x": Array((7,)), "axis": 2**31}))
@example(Call("special.softmax", {"x": Array((7,)), "axis": 0.0}))
@example(Call("special.expit", {"x": Array((7,)), "dtype": "no dtype"}))
@example(Call("sigmoid", {"x": Array((7,)), "dtype": [[1.0]]}))
@example(
    Call(
        "cross_entropy", {"logits": Array((2, 3)), "targets": Array((2, 3), "bfloat16", "special")}
    )
)
@example(
    Call(
        "binary_cross_entropy_with_logits",
        {"logits": Array((7,)), "targets": Array((7,), "bfloat16", "special")},
    )
)
@example(
    Call(
        "softmax_grad_hess",
        {
            "logits": Array((7, 3)),
            "labels": Array((7,), "i8", 3),
            "sample_weight": Array((7,), "bfloat16", "special"),
        },
    )
)
@example(
    Call(
        "metrics.score",
        {"logits": Array((7, 3), "g"), "labels": Array((7,), "i8", 3), "temperature": 0.5},
    )
)
@given(calls())
def test_any_call(call):
    check(call)


def test_calls_are_of_every_function():
    assert set(FUNCTIONS) == {*OPERATIONS, *SETTINGS} - {*SCORES_OF_CLASSES}
