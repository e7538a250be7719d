"""Time and memory of each operation."""

from .shared import cases, prepare

LIBRARIES = ["fastlogits", "NumPy", "SciPy", "PyTorch"]
OPERATIONS = list(cases.OPERATIONS)
# A row, rows of few classes, of many, of very many, and classes on the first axis.
SHAPES = ["1x10", "100000x10", "8192x1000", "64x128256", "1000x8192@0"]
USUAL = "8192x1000"


class Operations:
    """Every operation by every library: with one thread in float32 on all shapes, and on the
    usual one with two threads and in float64 as well."""

    params = (OPERATIONS, SHAPES, ["float32", "float64"], [1, 2], LIBRARIES)
    param_names = ("operation", "shape", "dtype", "threads", "library")
    timeout = 120
    # A case takes a third of a second: there are hundreds.
    rounds = 1
    repeat = (3, 7, 0.25)
    sample_time = 0.01
    warmup_time = 0.02

    def setup(self, operation, shape, dtype, threads, library):
        if shape != USUAL and (dtype, threads) != ("float32", 1):
            raise NotImplementedError
        if operation in cases.ELEMENTWISE and shape not in ("1x10", USUAL):
            raise NotImplementedError
        if library in ("NumPy", "SciPy") and threads > 1:
            raise NotImplementedError  # They use one.
        self.arrays, self.call = prepare(operation, shape, dtype, threads, library)

    def time_operation(self, operation, shape, dtype, threads, library):
        self.call()


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
