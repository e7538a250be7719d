"""Time and memory of each operation."""

from .shared import cases, prepare

LIBRARIES = ["fastlogits", "NumPy", "SciPy", "PyTorch"]
OPERATIONS = list(cases.OPERATIONS)
USUAL = "8192x1000"
# A row, rows of few classes and of very many, and classes on the first axis.
OTHERS = ["1x10", "100000x10", "64x128256", "1000x8192@0"]


class _Operations:
    """Every operation by every library. What follows says on which arrays, and how."""

    param_names = ("operation", "shape", "dtype", "threads", "library")
    timeout = 120
    # A case takes a third of a second: there are hundreds.
    rounds = 1
    repeat = (3, 7, 0.25)
    sample_time = 0.01
    warmup_time = 0.02

    def setup(self, operation, shape, dtype, threads, library):
        if operation in cases.ELEMENTWISE and shape not in ("1x10", USUAL):
            raise NotImplementedError
        self.arrays, self.call = prepare(operation, shape, dtype, threads, library)

    def time_operation(self, operation, shape, dtype, threads, library):
        self.call()


class Usual(_Operations):
    params = (OPERATIONS, [USUAL], ["float32"], [1], LIBRARIES)


class Double(_Operations):
    params = (OPERATIONS, [USUAL], ["float64"], [1], LIBRARIES)


class TwoThreads(_Operations):
    params = (OPERATIONS, [USUAL], ["float32"], [2], ["fastlogits", "PyTorch"])


class Shapes(_Operations):
    params = (OPERATIONS, OTHERS, ["float32"], [1], LIBRARIES)


class Memory:
    """The largest memory of a process that has the arrays, 67 MB each, and does the operation."""

    params = (OPERATIONS, ["16777x1000", "1000x16777@0"])
    param_names = ("operation", "shape")

    def setup(self, operation, shape):
        if operation in cases.ELEMENTWISE and "@" in shape:
            raise NotImplementedError
        self.arrays, self.call = prepare(operation, shape, "float32", 1, "fastlogits")

    def peakmem_operation(self, operation, shape):
        self.call()
