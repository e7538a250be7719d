"""What calls leave behind, made again and again: no memory and no reference to what they were
given, also where they end in an error."""

import functools
import gc
import sys

import guarded
import numpy as np
import pytest
import test_wrong_inputs
from calls import calls_of
from leaks import LAYOUTS, left_behind

import fastlogits as fl


def cases():
    fl.set_num_threads(1)
    for layout in sys.argv[1:]:
        make, axis = LAYOUTS[layout]
        for name, call in calls_of(make(), axis).items():
            yield name, functools.partial(left_behind, call, 40)


def wrong_cases(group):
    """One of each kind of wrong argument."""
    seen = set()
    for label, *case in test_wrong_inputs.cases(group):
        kind = label.partition("=")[0], case[2]
        if kind not in seen:
            seen.add(kind)
            call = functools.partial(test_wrong_inputs.complaint, *case)
            yield label, functools.partial(left_behind, call, 20)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_calls_leave_nothing_behind(layout):
    assert guarded.problems(__file__, layout) == []


@pytest.mark.parametrize("group", test_wrong_inputs.GROUPS)
def test_calls_that_fail_leave_nothing_behind(group):
    assert guarded.problems(__file__, "wrong", group) == []


def every_call(x, out, labels, soft, weights, bad, bad_weights):
    fl.softmax(x, out=out)
    fl.logsumexp(x, (0, 1))
    fl.sigmoid(x.T)
    fl.cross_entropy_value_and_grad(x, labels, class_weight=weights, out=out)
    fl.cross_entropy_value_and_grad(x, soft, class_weight=weights, out=soft)
    fl.softmax_grad_hess(x, labels)
    soft.fill(0.25)
    fl.binary_cross_entropy_with_logits_value_and_grad(x, soft, pos_weight=weights, out=out)
    fl.argmax(x)
    fl.top_k(x, 2)
    fl.predict(x, classes=weights)
    fl.confidence(x)
    fl.metrics.score(x, labels)
    for targets, class_weight in ((bad, weights), (labels, bad_weights), (bad, out)):
        with pytest.raises((IndexError, ValueError)):
            fl.cross_entropy_value_and_grad(x, targets, class_weight=class_weight, out=out)
    with pytest.raises(ValueError, match="pos_weight"):
        fl.binary_cross_entropy_with_logits(x, soft, pos_weight=bad_weights)


def test_calls_keep_no_reference_to_what_they_were_given():
    names = "x", "out", "labels", "soft", "weights", "bad", "bad_weights"
    values = (np.zeros((3, 4)), np.zeros((3, 4)), np.zeros(3, int), np.full((3, 4), 0.25))
    arrays = dict(zip(names, (*values, np.ones(4), np.full(3, 9), -np.ones(4)), strict=True))
    del values
    before = {name: sys.getrefcount(arrays[name]) for name in names}
    every_call(**arrays)
    gc.collect()  # errors hold the frames that they went through
    assert {name: sys.getrefcount(arrays[name]) for name in names} == before


if __name__ == "__main__":
    guarded.run(wrong_cases(sys.argv[2]) if sys.argv[1] == "wrong" else cases())
