"""Arrays that another thread changes during the call: any numbers, but no access beyond them."""

import threading

import numpy as np
import pytest
from children import says

import fastlogits


@pytest.mark.parametrize("isa", fastlogits.available_isas())
@pytest.mark.parametrize("classes", [10, 100, 1000])
def test_labels_that_another_thread_changes_lead_nowhere(classes, isa):
    """Far beyond the array, a label that is used without a look would end the process."""
    code = f"""
        import threading
        import time
        import numpy as np
        import fastlogits as fl

        x = np.zeros((200_000 // {classes} * 10, {classes}), np.float32)
        labels = np.zeros(len(x), np.int64)
        over = threading.Event()

        def change():
            while not over.is_set():
                for label in (2**40, 0):
                    labels[:] = label
                    time.sleep(0)

        thread = threading.Thread(target=change)
        thread.start()
        gradient = np.empty_like(x)
        finished, end = 0, time.monotonic() + 30
        while finished < 20 and time.monotonic() < end:
            try:
                fl.cross_entropy_value_and_grad(x, labels, out=gradient)
                finished += 1
            except IndexError:
                time.sleep(0.001)  # the other thread's turn
        over.set()
        thread.join()
        print("done", finished > 0)
        """
    assert says(code, FASTLOGITS_ISA=isa) == ["done", "True"]


@pytest.mark.parametrize("classes", [7, 300])
@pytest.mark.parametrize("axis", [0, 1])
def test_nan_that_another_thread_takes_away_is_in_no_place_that_is_none(axis, classes, isa):
    x = np.zeros((20_000, classes), np.float32)
    over = threading.Event()

    def change():
        while not over.is_set():
            for value in (np.nan, 0):
                x[:, 3] = value

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(100):
            assert fastlogits.argmax(x, axis=axis).max() < x.shape[axis]
    finally:
        over.set()
        thread.join()
