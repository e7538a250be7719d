"""The exponentials and logarithms that the kernels are made of, within the bounds that stand at
them: random and hard arguments here, every float32 in native/exhaustive.c."""

import numpy as np
import pytest
import reference
from checks import bits, need_wide
from functions import FUNCTIONS, WIDE, evaluate, hard_cases

import fastlogits

ISAS = fastlogits.available_isas()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_function_is_within_its_bound_and_the_same_everywhere(name, dtype):
    need_wide(dtype)
    function = FUNCTIONS[name]
    for frame in function.frames(np.zeros(1, dtype)):
        frame = float(np.ravel(frame)[0])
        x = hard_cases(*function.interval(frame, dtype), dtype)
        frames = function.frames(x)
        used = frames[0] if np.ndim(frames[0]) else frame
        found = {isa: evaluate(isa, name, x, used) for isa in ISAS}
        hi, lo = found[ISAS[0]]
        assert {bits(*parts) for parts in found.values()} == {bits(hi, lo)}
        got = hi.astype(WIDE) + (lo.astype(WIDE) if function.is_pair else 0)
        exact = function.exact(x, used)
        # Of two float32 that are one float64, the second would be subnormal below this.
        size = np.maximum(np.abs(exact), WIDE(2) ** (-110 if dtype == np.float32 else -1000))
        unit = function.units.get(dtype.name)
        error = np.abs(got - exact) / (unit * size if unit else reference.ulp(size, dtype))
        worst = np.argmax(error)
        assert error[worst] <= function.bounds[dtype.name], (frame, x[worst], got[worst])
