"""Children of a process whose threads have computed, and other libraries that have threads.

Each test has a process of its own, which is killed if it hangs.
"""

import importlib.util
import multiprocessing
import os

import pytest
from children import says

pytestmark = [
    pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="no /proc to count threads in"),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system"),
]


def need(*modules):
    for module in modules:
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed")


def test_child_of_a_fork_computes_on_one_thread():
    code = """
        import calls, fastlogits as fl
        from forks import compute_alone, in_fork, warm
        want = warm()
        def child():
            compute_alone(want)
            fl.set_num_threads(3)  # Also where it asks for threads itself,
            compute_alone(want)
            assert in_fork(compute_alone, want)  # and in a child of its own.
        for _ in range(3):
            assert in_fork(child)
            assert calls.digests() == want
        """
    assert says(code) == []


def test_fork_while_another_thread_is_in_a_call():
    code = """
        import threading
        import numpy as np
        import calls, fastlogits as fl
        from forks import compute_alone, in_fork, warm
        want = warm()
        x = np.random.default_rng(0).normal(0, 3, (20_000, 1000)).astype("f4")
        expected = fl.softmax(x)
        out, over, seen = np.empty_like(x), threading.Event(), []
        def call():
            while not over.is_set():
                fl.softmax(x, out=out)
                seen.append(np.array_equal(out, expected))
        other = threading.Thread(target=call)
        other.start()
        for _ in range(10):
            assert in_fork(compute_alone, want)
        over.set()
        other.join()
        assert calls.digests() == want
        print(all(seen), len(seen) > 0)
        """
    assert says(code) == ["True", "True"]


def test_fork_from_a_thread_that_is_not_the_first():
    code = """
        import concurrent.futures
        from forks import compute_alone, in_fork, warm
        want = warm()
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            print(*pool.map(lambda _: in_fork(compute_alone, want), range(4)))
        """
    assert says(code) == ["True"] * 4


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver", "forkserver, preloaded"])
def test_workers_of_multiprocessing_compute(method):
    """A server that has loaded the library hands on what it has loaded, but no threads."""
    method, _, preloaded = method.partition(", ")
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no start method {method} on this system")
    inherits = method == "fork" or bool(preloaded)
    code = f"""
        import multiprocessing
        import calls
        from forks import compute_alone, warm
        want = warm()
        context = multiprocessing.get_context("{method}")
        if {bool(preloaded)}:
            context.set_forkserver_preload(["calls"])
        with context.Pool(2) as pool:
            results = [pool.apply_async(calls.digests) for _ in range(4)]
            print(*[result.get() == want for result in results])
            if {inherits}:
                print(*pool.map(compute_alone, [want] * 4))
        assert calls.digests() == want
        """
    assert says(code) == ["True"] * (8 if inherits else 4)


def test_workers_of_concurrent_futures_compute():
    code = """
        import concurrent.futures, multiprocessing
        import calls
        from forks import warm
        want = warm()
        for method in ("fork", "spawn"):
            context = multiprocessing.get_context(method)
            with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as pool:
                print(*[f.result() == want for f in [pool.submit(calls.digests) for _ in range(4)]])
        """
    assert says(code) == ["True"] * 8


@pytest.mark.parametrize("backend", ["loky", "multiprocessing", "threading"])
def test_workers_of_joblib_compute(backend):
    need("joblib")
    code = f"""
        import joblib
        import calls
        from forks import warm
        want = warm()
        run = joblib.Parallel(2, backend="{backend}")
        print(*[got == want for got in run(joblib.delayed(calls.digests)() for _ in range(4))])
        """
    assert says(code) == ["True"] * 4


def test_workers_of_loky_share_the_cores():
    need("joblib")
    code = """
        import joblib
        import fastlogits as fl
        from forks import warm
        warm()
        run = joblib.Parallel(joblib.cpu_count())
        print(*run(joblib.delayed(fl.get_num_threads)() for _ in range(4)))
        """
    assert says(code) == ["1"] * 4


# What starts threads of each library, in a parallel region or two: many of them would each wait for
# cores that the waiting threads of the other library keep busy.
BESIDE = {
    "torch": "float(torch.ones(1000, 1000).softmax(1).sum())",
    "sklearn.metrics": "sklearn.metrics.pairwise_distances_argmin(calls.X, calls.X[:9]).tolist()",
}


@pytest.mark.parametrize("order", ["before it", "after it"])
@pytest.mark.parametrize("library", BESIDE)
def test_beside_a_library_imported(library, order):
    """Both compute in turns, on threads, and after that a fork does."""
    need(library.partition(".")[0])
    imports = [f"import {library}", "import calls"]
    code = f"""
        {"; ".join(imports if order == "before it" else imports[::-1])}
        import forks
        def other():
            return {BESIDE[library]}
        want, others = forks.warm(), other()
        for _ in range(3):
            assert calls.digests() == want
            assert other() == others
            assert forks.in_fork(forks.compute_alone, want)
        """
    assert says(code) == []
