"""How many threads: getting, setting, the environment, other libraries' wishes, and forks."""

import concurrent.futures
import os
import subprocess
import sys
import textwrap
import threading

import numpy as np
import pytest
from checks import bits

import fastlogits
from fastlogits import get_num_threads, num_threads, set_num_threads
from fastlogits.config import config_dict

OPENMP = bool(config_dict()["openmp"])
VARIABLES = ("FASTLOGITS_NUM_THREADS", "OMP_NUM_THREADS", "FASTLOGITS_ISA")

pytestmark = pytest.mark.usefixtures("default_threads")


def python(code, timeout=120, **environment):
    """Run `code` in a fresh interpreter, with only these of our environment variables set."""
    env = {k: v for k, v in os.environ.items() if k not in VARIABLES} | environment
    return subprocess.run(
        [sys.executable, "-P", "-c", textwrap.dedent(code)],
        env=env,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def threads_in(**environment):
    run = python("import fastlogits; print(fastlogits.get_num_threads())", **environment)
    assert run.returncode == 0, run.stderr
    return int(run.stdout)


def granted(n):
    """What asking for n threads gives: without OpenMP there is only one."""
    return n if OPENMP else 1


def test_default_is_at_least_one_and_at_most_the_cpus_allowed():
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert 1 <= threads_in() <= allowed


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no CPU affinity on this system")
def test_default_respects_the_affinity_mask():
    run = python("""
        import os
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        import fastlogits
        print(fastlogits.get_num_threads())
    """)
    assert run.stdout.strip() == "1", run.stderr


def test_set_is_what_get_returns():
    for n in (1, 2, 3, 8, np.int64(5), np.uint8(4)):
        assert set_num_threads(n) is None
        assert get_num_threads() == granted(int(n))
        assert type(get_num_threads()) is int


def test_none_goes_back_to_the_default_rule():
    set_num_threads(None)
    default = get_num_threads()
    set_num_threads(default + 3)
    set_num_threads(None)
    assert get_num_threads() == default


@pytest.mark.parametrize("setter", [set_num_threads, num_threads])
@pytest.mark.parametrize(
    ("n", "error"),
    [
        (0, ValueError),
        (-1, ValueError),
        (np.int32(-3), ValueError),
        (2.0, TypeError),
        (np.float64(2), TypeError),
        ("2", TypeError),
        ([2], TypeError),
        (1j, TypeError),
    ],
)
def test_wrong_number_of_threads(setter, n, error):
    set_num_threads(2)
    with pytest.raises(error, match=r"\bn\b"), setter(n) or num_threads(1):
        pass
    assert get_num_threads() == granted(2)


@pytest.mark.parametrize("n", [2**31, 2**40, 2**63, 2**100])
def test_absurd_number_of_threads_is_refused_or_survived(n):
    set_num_threads(2)
    try:
        set_num_threads(n)
    except (ValueError, OverflowError):
        assert get_num_threads() == granted(2)
    else:
        assert get_num_threads() >= 1


def test_largest_number_of_threads_computes():
    run = python(
        """
        import numpy as np
        import fastlogits as fl
        fl.set_num_threads(65536)
        print(fl.softmax(np.zeros((2000, 100))).sum())
        """
    )
    assert run.returncode == 0, run.stderr
    assert float(run.stdout) == pytest.approx(2000)


def test_context_restores_what_was_before():
    set_num_threads(3)
    with num_threads(1):
        assert get_num_threads() == 1
        with num_threads(5):
            assert get_num_threads() == granted(5)
            with num_threads(2):
                assert get_num_threads() == granted(2)
            assert get_num_threads() == granted(5)
        assert get_num_threads() == 1
    assert get_num_threads() == granted(3)


def test_context_restores_after_an_error():
    set_num_threads(3)
    with pytest.raises(ZeroDivisionError), num_threads(1):
        raise ZeroDivisionError
    assert get_num_threads() == granted(3)


def test_context_restores_the_default_rule():
    set_num_threads(None)
    default = get_num_threads()
    with num_threads(default + 2):
        assert get_num_threads() == granted(default + 2)
    assert get_num_threads() == default
    with num_threads(default + 2), num_threads(None):
        assert get_num_threads() == default
    assert get_num_threads() == default


def test_context_takes_effect_on_entry():
    set_num_threads(2)
    context = num_threads(1)
    assert get_num_threads() == granted(2)
    with context:
        assert get_num_threads() == 1


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"FASTLOGITS_NUM_THREADS": "3"}, 3),
        ({"FASTLOGITS_NUM_THREADS": "1"}, 1),
        ({"OMP_NUM_THREADS": "1"}, 1),
        ({"OMP_NUM_THREADS": "3"}, 3),
        ({"FASTLOGITS_NUM_THREADS": "3", "OMP_NUM_THREADS": "1"}, 3),
        ({"FASTLOGITS_NUM_THREADS": "1", "OMP_NUM_THREADS": "3"}, 1),
    ],
)
def test_environment_sets_the_default(environment, expected):
    assert threads_in(**environment) == granted(expected)


def test_set_overrides_the_environment_and_none_goes_back_to_it():
    run = python(
        """
        import fastlogits
        fastlogits.set_num_threads(2)
        a = fastlogits.get_num_threads()
        fastlogits.set_num_threads(None)
        print(a, fastlogits.get_num_threads())
        """,
        FASTLOGITS_NUM_THREADS="3",
    )
    assert run.stdout.split() == [str(granted(2)), str(granted(3))], run.stderr


@pytest.mark.parametrize("value", ["0", "-1", "abc", "1.5", "3 threads"])
@pytest.mark.parametrize("variable", ["FASTLOGITS_NUM_THREADS", "OMP_NUM_THREADS"])
def test_wrong_environment_raises_at_import(variable, value):
    run = python("import fastlogits", **{variable: value})
    assert run.returncode == 1
    assert "Traceback" in run.stderr
    last = run.stderr.strip().splitlines()[-1]
    assert variable in last
    assert value in last


def test_many_python_threads_at_once(isa, threads):
    rng = np.random.default_rng(0)
    inputs = [rng.normal(0, 3, (n, c)) for n, c in [(4000, 10), (400, 300), (10, 20_000), (3, 4)]]
    inputs += [a.astype(np.float32) for a in inputs]
    targets = [rng.integers(0, a.shape[1], len(a)) for a in inputs]

    def work(i):
        a, t = inputs[i], targets[i]
        return (
            fastlogits.softmax(a).tobytes(),
            fastlogits.logsumexp(a, axis=0).tobytes(),
            fastlogits.softplus(a).tobytes(),
            fastlogits.cross_entropy(a, t).tobytes(),
        )

    want = [work(i) for i in range(len(inputs))]
    start = threading.Barrier(8)

    def turns(first):
        start.wait()
        order = [(first + k) % len(inputs) for k in range(2 * len(inputs))]
        return [(i, work(i)) for i in order]

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for results in pool.map(turns, range(8)):
            for i, got in results:
                assert got == want[i]


def turns_during_a_call(x, out):
    """How often this thread gets to run while another one is in a long call."""
    done = threading.Event()
    worker = threading.Thread(target=lambda: (fastlogits.softmax(x, out=out), done.set()))
    turns = 0
    worker.start()
    while not done.is_set():
        turns += 1
        done.wait(1e-4)
    worker.join()
    return turns


def test_other_threads_can_run_during_a_call():
    set_num_threads(1)
    x = np.zeros((1000, 20_000), np.float32)
    out = np.zeros_like(x)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-4)
    try:
        # With the interpreter's lock held all along, at most a turn or two before and after. On a
        # busy machine a call may be over before this thread gets a core at all, hence many calls.
        assert any(turns_during_a_call(x, out) > 5 for _ in range(100))
    finally:
        sys.setswitchinterval(interval)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.parametrize("runtime", ["ours", "the process default"])
def test_child_of_a_fork_computes_and_never_hangs(runtime):
    run = python(
        f"""
        import os, sys, warnings
        import numpy as np
        import fastlogits as fl
        warnings.simplefilter("ignore")  # Python 3.12 warns of forks beside threads.
        x = np.random.default_rng(0).normal(0, 3, (20_000, 100)).astype("f4")
        targets = np.zeros(len(x), int)
        if {runtime == "ours"}:
            fl.set_num_threads(4)
        def work():
            return [fl.softmax(x).tobytes(), fl.logsumexp(x, axis=0).tobytes(),
                    fl.cross_entropy(x, targets).tobytes(), fl.sigmoid(x).tobytes()]
        want = work()
        for _ in range(3):
            child = os.fork()
            if child == 0:
                ok = work() == want
                fl.set_num_threads(3)  # Also where it asks for threads itself,
                ok = ok and work() == want
                grandchild = os.fork()  # and in a child of its own.
                if grandchild == 0:
                    os._exit(0 if work() == want else 1)
                ok = ok and os.waitpid(grandchild, 0)[1] == 0
                os._exit(0 if ok else 1)
            assert os.waitpid(child, 0)[1] == 0
            assert work() == want
        print("done")
        """,
        timeout=60,
    )
    assert run.stdout.strip() == "done", run.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_workers_of_multiprocessing_compute():
    run = python(
        """
        import multiprocessing, warnings
        import numpy as np
        import fastlogits as fl
        warnings.simplefilter("ignore")
        x = np.random.default_rng(0).normal(0, 3, (20_000, 100))
        fl.set_num_threads(4)
        want = fl.softmax(x).sum()
        with multiprocessing.get_context("fork").Pool(2) as pool:
            assert [p.sum() for p in pool.map(fl.softmax, [x, x])] == [want, want]
        print("done")
        """,
        timeout=60,
    )
    assert run.stdout.strip() == "done", run.stderr


@pytest.mark.skipif(not OPENMP, reason="built without OpenMP")
def test_threadpoolctl_is_honoured():
    pytest.importorskip("threadpoolctl", reason="threadpoolctl is not installed")
    code = """
        import fastlogits as fl
        from threadpoolctl import threadpool_limits
        before = fl.get_num_threads()
        with threadpool_limits(limits=1):
            print(fl.get_num_threads())
        with threadpool_limits(limits=1, user_api="openmp"):
            print(fl.get_num_threads())
        print(fl.get_num_threads() == before)
        """
    for environment in ({}, {"OMP_NUM_THREADS": "2"}):
        run = python(code, **environment)
        assert run.stdout.split() == ["1", "1", "True"], run.stderr


def test_small_calls_start_no_threads():
    if not os.path.isdir("/proc/self/task"):
        pytest.skip("no /proc to count threads in")
    run = python(
        """
        import os
        import numpy as np
        import fastlogits as fl
        before = len(os.listdir("/proc/self/task"))
        for n in (1, 10, 320):
            fl.softmax(np.zeros(n, "f4"))
            fl.sigmoid(np.zeros((n, 1)))
            fl.cross_entropy(np.zeros((1, n)), [0])
        print(len(os.listdir("/proc/self/task")) - before)
        """,
        FASTLOGITS_NUM_THREADS="4",
    )
    assert run.stdout.strip() == "0", run.stderr


@pytest.mark.parametrize("isa", fastlogits.available_isas())
def test_calls_fit_into_a_small_stack(isa):
    """128 KiB is what some systems give a thread; it includes what the interpreter needs."""
    run = python(
        """
        import threading
        import numpy as np
        import fastlogits as fl

        x = np.random.default_rng(0).normal(size=(20, 5000))

        def calls():
            beside = np.asfortranarray(x[:, :700].repeat(4, 0))
            for a in (x, x.astype("f4"), x[:, :100], x[:, ::7].astype("f4"), x.T.copy().T, beside):
                labels = np.arange(len(a)) % 20
                soft, weights = np.full_like(a, 0.5), np.ones(a.shape[1])
                options = {"label_smoothing": 0.1, "class_weight": weights}
                fl.cross_entropy_value_and_grad(a, labels, **options)
                fl.cross_entropy_value_and_grad(a, soft)
                fl.softmax_grad_hess(a, labels)
                fl.binary_cross_entropy_with_logits_value_and_grad(
                    a, soft, pos_weight=np.ones((len(a), 1))
                )
                fl.softmax(a, temperature=2)
                fl.log_softmax(a)
                fl.argmax(a)
                fl.top_k(a, 5)
                fl.top_k(a, a.shape[1] // 2)
                for kind in ("max_prob", "margin", "entropy", "energy"):
                    fl.confidence(a, kind=kind)
            print("done")

        threading.stack_size(128 * 1024)
        thread = threading.Thread(target=calls)
        thread.start()
        thread.join()
        """,
        FASTLOGITS_ISA=isa,
        FASTLOGITS_NUM_THREADS="1",
    )
    assert run.returncode == 0, f"exit status {run.returncode}: {run.stderr}"
    assert run.stdout == "done\n", run.stderr


@pytest.mark.parametrize("isa", fastlogits.available_isas())
@pytest.mark.parametrize("classes", [10, 1000])
def test_labels_that_another_thread_changes_lead_nowhere(classes, isa):
    """Far beyond the array, a label that is used without a look would end the process."""
    run = python(
        f"""
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
        """,
        FASTLOGITS_ISA=isa,
    )
    assert run.returncode == 0, f"exit status {run.returncode}: {run.stderr}"
    assert run.stdout == "done True\n", run.stderr


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


@pytest.mark.parametrize("isa", fastlogits.available_isas())
def test_numbers_that_another_thread_changes_lead_nowhere(isa):
    """Logits, soft targets, weights: the places that come out are places, and nothing crashes."""
    run = python(
        """
        import itertools
        import threading
        import numpy as np
        import fastlogits as fl

        x = np.zeros((3000, 300), np.float32)
        soft, of_classes, of_rows = np.zeros_like(x), np.ones(300), np.ones(3000)
        labels = np.zeros(3000, int)
        over = threading.Event()

        def change():
            numbers = itertools.cycle((np.nan, np.inf, -np.inf, 1.0, 3e38, -1.0, 0.0))
            while not over.is_set():
                for a, place in ((x, 0), (x, 1), (soft, 2), (of_classes, 3), (of_rows, 4)):
                    a[..., place::7] = next(numbers)

        def loss(targets, **options):
            try:
                fl.cross_entropy_value_and_grad(x, targets, label_smoothing=0.1, **options)
            except ValueError:
                pass  # of a weight that was seen to be wrong

        def binary():
            try:
                fl.binary_cross_entropy_with_logits_value_and_grad(x, soft, pos_weight=of_classes)
            except ValueError:
                pass

        thread = threading.Thread(target=change)
        thread.start()
        for _ in range(2):
            for a in (x, np.asfortranarray(x), x.T):
                for k in (1, 5, 150, 300):
                    for mode in ("largest", "smallest"):
                        indices = fl.top_k(a, k, mode=mode)[1]
                        assert 0 <= indices.min() and indices.max() < a.shape[1]
                assert fl.argmax(a).max() < a.shape[1]
                assert 0 <= fl.argmax(a, axis=None) < a.size
                for kind in ("max_prob", "margin", "entropy"):
                    fl.confidence(a, kind=kind)
            loss(labels, class_weight=of_classes, sample_weight=of_rows)
            loss(soft, class_weight=of_classes, sample_weight=of_rows)
            binary()
        over.set()
        thread.join()
        print("done")
        """,
        FASTLOGITS_ISA=isa,
    )
    assert run.returncode == 0, f"exit status {run.returncode}: {run.stderr}"
    assert run.stdout == "done\n", run.stderr


def test_arrays_that_change_their_shape_or_dtype_lead_nowhere():
    """As another thread could do it whenever Python code runs, here the code of an argument."""
    run = python(
        """
        import numpy as np
        import fastlogits as fl

        N = 1_000_000

        class Changing:
            def __init__(self, value):
                self.value = value

            def __index__(self):
                change()
                return self.value

            def __array__(self, dtype=None, copy=None):
                change()
                return np.asarray(self.value)

        def reshape():
            x.shape = N, 3

        def flatten():
            x.shape = 3 * N

        def narrow():
            x.dtype = np.int8

        def widen():
            x.dtype = np.complex128

        def retype_labels():
            labels.dtype = np.int8

        ones, soft = np.ones(N), np.full((3, N), 0.5)
        calls = [
            lambda: fl.softmax(x, Changing(1)),
            lambda: fl.softmax(x, (Changing(0), 1)),
            lambda: fl.logsumexp(x, Changing(1)),
            lambda: fl.logsumexp(x, (1, Changing(0)), keepdims=True),
            lambda: fl.argmax(x, Changing(1)),
            lambda: fl.top_k(x, Changing(2)),
            lambda: fl.top_k(x, 2, axis=Changing(1)),
            lambda: fl.confidence(x, axis=Changing(1)),
            lambda: fl.cross_entropy(x, Changing([0, 1, 2])),
            lambda: fl.cross_entropy(x, Changing(soft)),
            lambda: fl.cross_entropy(x, labels, axis=Changing(1)),
            lambda: fl.cross_entropy(x, labels, class_weight=Changing(ones)),
            lambda: fl.cross_entropy(x, soft, sample_weight=Changing(np.ones(3))),
            lambda: fl.cross_entropy_value_and_grad(x, labels, sample_weight=Changing(np.ones(3))),
            lambda: fl.softmax_grad_hess(x, Changing([0, 1, 2])),
            lambda: fl.softmax_grad_hess(x, labels, sample_weight=Changing(np.ones(3))),
            lambda: fl.binary_cross_entropy_with_logits(x, Changing(soft)),
            lambda: fl.binary_cross_entropy_with_logits_value_and_grad(
                x, soft, pos_weight=Changing(ones)
            ),
        ]
        allowed = (IndexError, RuntimeError, TypeError, ValueError)
        for change in (reshape, flatten, narrow, widen, retype_labels):
            for i, call in enumerate(calls):
                x, labels = np.zeros((3, N)), np.zeros(3, int)
                print(change.__name__, i, flush=True)
                try:
                    call()
                except allowed:
                    pass
        print("done")
        """
    )
    last = run.stdout.splitlines()[-1:]
    assert run.returncode == 0, f"exit status {run.returncode} in {last}: {run.stderr}"
    assert last == ["done"], run.stderr


SHARED = {
    "plain": (200_000, 1),
    "with a NaN": (200_000, np.nan),
    "with an infinity": (200_000, np.inf),
    "with a huge logit": (200_000, 3e4),
    "with a part of nothing": (slice(65536, 131072), -np.inf),
    "of nothing": (slice(None), -np.inf),
}


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("case", SHARED)
def test_threads_that_share_a_row_change_nothing(case, dtype, isa):
    """A row of so many classes that two threads have a part of it each."""
    n = 270_000
    x = np.random.default_rng(3).normal(0, 3, (1, n)).astype(dtype)
    place, value = SHARED[case]
    x[0, place] = value
    soft = np.zeros_like(x)
    soft[0, [3, 70_000, n - 1]] = 0.5, 0.25, 0.25
    everything = {"label_smoothing": 0.25, "z_loss": 0.5, "class_weight": np.arange(n) % 3}

    def results():
        yield fastlogits.softmax(x)
        yield fastlogits.log_softmax(x, temperature=1.5)
        yield fastlogits.logsumexp(x)
        yield fastlogits.argmax(x)
        yield fastlogits.cross_entropy(x, [n - 5])
        for targets, options in (([7], {}), ([n - 5], everything), (soft, {}), ([-100], {})):
            in_place = x.copy()
            yield from fastlogits.cross_entropy_value_and_grad(
                in_place, targets, out=in_place, reduction="sum", **options
            )
        yield from fastlogits.softmax_grad_hess(x, [n - 5])

    with num_threads(1):
        alone = [bits(a) for a in results()]
    with num_threads(2):
        assert [bits(a) for a in results()] == alone
