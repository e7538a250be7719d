"""Time fastlogits beside NumPy, SciPy and PyTorch in one process, the contenders taking turns.

Every round gives each contender one warm-up call and one timed call, so that a disturbance of
the machine hits all of them. Printed are medians in nanoseconds per element and the ratio to
the unavoidable work, with its quartiles: to a copy of the array for what writes one, to a
sweep for the maximum for what only reads it, each taken in the same round and on one thread.

Run: python benchmarks/compare.py [--shape 8192x1000] [--threads 1 2] [--isa avx2] [--json]
"""

import argparse
import ctypes
import functools
import importlib
import json
import time

import numpy as np

import fastlogits as fl

# What each is measured against.
OPERATIONS = {
    "softmax": "memcpy",
    "log_softmax": "memcpy",
    "logsumexp": "read",
    "cross_entropy": "read",
    "cross_entropy_soft": "read",
    "cross_entropy_value_and_grad": "memcpy",
    "binary_cross_entropy": "read",
    "argmax": "read",
    "argmax_axis0": "read",
    "top_k": "read",
}
K = 10  # of top_k
# Other libraries' threads spin for a while after a call, and would take the cores of the next.
SETTLE = 0.002


def optional(name):
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def numpy_softmax(x, out):
    np.subtract(x, x.max(1, keepdims=True), out=out)
    np.exp(out, out=out)
    np.divide(out, out.sum(1, keepdims=True), out=out)


def numpy_logsumexp(x):
    top = x.max(1, keepdims=True)
    return top[:, 0] + np.log(np.exp(x - top).sum(1))


def numpy_cross_entropy(x, labels):
    return (numpy_logsumexp(x) - x[np.arange(len(x)), labels]).mean()


def numpy_gradient(x, labels, out):
    numpy_softmax(x, out)
    out[np.arange(len(x)), labels] -= 1
    out /= len(x)
    return numpy_cross_entropy(x, labels)


def contenders(operation, x, out):
    """Library -> call, with outputs allocated beforehand where the library can write into them."""
    rng = np.random.default_rng(1)
    labels = rng.integers(0, x.shape[1], len(x))
    soft, binary = None, None  # as large as x: made only where they are needed
    if operation == "cross_entropy_soft":
        soft = fl.softmax(rng.normal(0, 3, x.shape).astype(x.dtype))
    if operation == "binary_cross_entropy":
        binary = (rng.random(x.shape) < 0.5).astype(x.dtype)
    bce = fl.binary_cross_entropy_with_logits
    calls = {
        "fastlogits": {
            "softmax": lambda: fl.softmax(x, out=out),
            "log_softmax": lambda: fl.log_softmax(x, out=out),
            "logsumexp": lambda: fl.logsumexp(x),
            "cross_entropy": lambda: fl.cross_entropy(x, labels),
            "cross_entropy_soft": lambda: fl.cross_entropy(x, soft),
            "cross_entropy_value_and_grad": lambda: fl.cross_entropy_value_and_grad(
                x, labels, out=out
            ),
            "binary_cross_entropy": lambda: bce(x, binary),
            "argmax": lambda: fl.argmax(x),
            "argmax_axis0": lambda: fl.argmax(x, axis=0),
            "top_k": lambda: fl.top_k(x, K),
        },
        "NumPy": {
            "softmax": lambda: numpy_softmax(x, out),
            "log_softmax": lambda: np.subtract(x, numpy_logsumexp(x)[:, None], out=out),
            "logsumexp": lambda: numpy_logsumexp(x),
            "cross_entropy": lambda: numpy_cross_entropy(x, labels),
            "cross_entropy_soft": lambda: (numpy_logsumexp(x) - (x * soft).sum(1)).mean(),
            "cross_entropy_value_and_grad": lambda: numpy_gradient(x, labels, out),
            "binary_cross_entropy": lambda: (np.logaddexp(0, x) - x * binary).mean(),
            "argmax": lambda: np.argmax(x, axis=-1),
            "argmax_axis0": lambda: np.argmax(x, axis=0),
            "top_k": lambda: np.argpartition(x, x.shape[1] - K, axis=-1),
        },
    }
    special = optional("scipy.special")
    if special:
        calls["SciPy"] = {
            name: functools.partial(getattr(special, name), x, axis=1)
            for name in ("softmax", "log_softmax", "logsumexp")
        }
    torch = optional("torch")
    if torch:
        calls["PyTorch"] = torch_calls(torch, x, labels, soft, binary, out)
    return {library: known[operation] for library, known in calls.items() if operation in known}


def torch_calls(torch, x, labels, soft, binary, out):
    functional = torch.nn.functional
    tensor, targets, result = (torch.from_numpy(a) for a in (x, labels, out))
    soft, binary = (None if a is None else torch.from_numpy(a) for a in (soft, binary))
    leaf = torch.from_numpy(x).requires_grad_()

    def value_and_grad():
        leaf.grad = None
        loss = functional.cross_entropy(leaf, targets)
        loss.backward()
        return loss

    return {
        "softmax": lambda: torch.softmax(tensor, 1, out=result),
        "log_softmax": lambda: torch.log_softmax(tensor, 1, out=result),
        "logsumexp": lambda: torch.logsumexp(tensor, 1),
        "cross_entropy": lambda: functional.cross_entropy(tensor, targets),
        "cross_entropy_soft": lambda: functional.cross_entropy(tensor, soft),
        "cross_entropy_value_and_grad": value_and_grad,
        "binary_cross_entropy": lambda: functional.binary_cross_entropy_with_logits(tensor, binary),
        "argmax": lambda: tensor.argmax(-1),
        "argmax_axis0": lambda: tensor.argmax(0),
        "top_k": lambda: tensor.topk(K),
    }


def time_in_turns(calls, rounds):
    """Seconds of each round, per contender."""
    seconds = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            time.sleep(SETTLE)
            call()
            start = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - start)
    return {name: np.array(values) for name, values in seconds.items()}


def compare(shape, dtype, operation, threads, rounds):
    """Records of one operation, one for each contender."""
    rng = np.random.default_rng(0)
    x = rng.normal(0, 3, shape).astype(dtype)
    out = np.zeros_like(x)
    fl.set_num_threads(threads)
    torch = optional("torch")
    if torch:
        torch.set_num_threads(threads)
    name = OPERATIONS[operation]
    base = {
        "memcpy": lambda: ctypes.memmove(out.ctypes.data, x.ctypes.data, x.nbytes),
        "read": lambda: x.max(),
    }[name]
    seconds = time_in_turns({name: base} | contenders(operation, x, out), rounds)
    records = []
    for library, values in seconds.items():
        low, middle, high = np.quantile(values / seconds[name], [0.25, 0.5, 0.75])
        records.append(
            {
                "operation": operation,
                "shape": "x".join(map(str, shape)),
                "dtype": dtype,
                "threads": threads,
                "isa": fl.get_isa(),
                "library": library,
                "ns_per_element": float(np.median(values) / x.size * 1e9),
                "ratio": float(middle),
                "ratio_quartiles": [float(low), float(high)],
                "to": name,
            }
        )
    return records


def shape_of(text):
    try:
        rows, classes = map(int, text.split("x"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected ROWSxCLASSES, got {text!r}") from None
    return rows, classes


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", type=shape_of, nargs="+", default=[(8192, 1000)])
    parser.add_argument("--dtype", choices=["float32", "float64"], default="float32")
    parser.add_argument("--operation", choices=OPERATIONS, nargs="+", default=list(OPERATIONS))
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    parser.add_argument("--isa", choices=fl.available_isas(), nargs="+", default=[fl.get_isa()])
    parser.add_argument("--rounds", type=int, default=31)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    records = []
    for isa in arguments.isa:
        fl.set_isa(isa)
        for shape in arguments.shape:
            for operation in arguments.operation:
                for threads in arguments.threads:
                    records += compare(shape, arguments.dtype, operation, threads, arguments.rounds)
    if arguments.json:
        print(json.dumps(records, indent=1))
        return
    print(f"fastlogits {fl.__version__}, NumPy {np.__version__}; {arguments.dtype}")
    for r in records:
        low, high = r["ratio_quartiles"]
        print(
            f"{r['operation']:29}{r['shape']:>12}  {r['isa']:9}{r['threads']} thr  "
            f"{r['library']:11}{r['ns_per_element']:8.3f} ns  "
            f"{r['ratio']:6.2f} x {r['to']} [{low:.2f}, {high:.2f}]"
        )


if __name__ == "__main__":
    main()
