"""How many threads: getting, setting, and what limits them. The team is all of them or one."""

import importlib.util
import os
import subprocess

import numpy as np
import pytest
from checks import bits
from children import python, says

import fastlogits
from fastlogits import get_num_threads, num_threads, set_num_threads
from fastlogits.config import config_dict

OPENMP = bool(config_dict()["openmp"])

pytestmark = pytest.mark.usefixtures("default_threads")
needs_openmp = pytest.mark.skipif(not OPENMP, reason="built without OpenMP")
needs_affinity = pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity"), reason="no CPU affinity on this system"
)
needs_proc = pytest.mark.skipif(
    not os.path.isdir("/proc/self/task"), reason="no /proc to count threads in"
)

ASK = "import fastlogits; print(fastlogits.get_num_threads())"


def threads_in(under=(), **environment):
    return int(*says(ASK, under=under, **environment))


def granted(n):
    """What asking for n threads gives: without OpenMP there is only one."""
    return n if OPENMP else 1


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
    code = """
        import numpy as np
        import fastlogits as fl
        fl.set_num_threads(65536)
        print(fl.softmax(np.zeros((2000, 100))).sum())
        """
    assert float(*says(code)) == pytest.approx(2000)


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
    code = """
        import fastlogits
        fastlogits.set_num_threads(2)
        a = fastlogits.get_num_threads()
        fastlogits.set_num_threads(None)
        print(a, fastlogits.get_num_threads())
        """
    assert says(code, FASTLOGITS_NUM_THREADS="3") == [str(granted(2)), str(granted(3))]


@pytest.mark.parametrize("value", ["0", "-1", "abc", "1.5", "3 threads"])
@pytest.mark.parametrize("variable", ["FASTLOGITS_NUM_THREADS", "OMP_NUM_THREADS"])
def test_wrong_environment_raises_at_import(variable, value):
    run = python("import fastlogits", **{variable: value})
    assert run.returncode == 1
    assert "Traceback" in run.stderr
    last = run.stderr.strip().splitlines()[-1]
    assert variable in last
    assert value in last


# ---------------------------------------------------------------------------------------
# What limits the default
# ---------------------------------------------------------------------------------------


def test_default_is_at_least_one_and_at_most_the_cpus_allowed():
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert 1 <= threads_in() <= allowed


@needs_affinity
@pytest.mark.parametrize("when", ["before the import", "after the import"])
def test_affinity_limits_it(when):
    """It is asked for anew each time; where the user has set a number it counts for nothing."""
    steps = ["import fastlogits", "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})"]
    code = f"""
        import os
        {"; ".join(steps if when == "after the import" else steps[::-1])}
        print(fastlogits.get_num_threads())
        """
    assert says(code) == ["1"]
    assert says(code, OMP_NUM_THREADS="3") == [str(granted(3))]
    assert says(code, FASTLOGITS_NUM_THREADS="3") == [str(granted(3))]


def with_quota(**files):
    """A command that runs a command where the files of the control groups hold just these."""
    script = "mount -t tmpfs none /sys/fs/cgroup && mkdir /sys/fs/cgroup/cpu"
    for name, text in files.items():
        name = name.replace("cpu_max", "cpu.max").replace("cpu_cfs", "cpu/cpu.cfs")
        script += f" && echo {text} >/sys/fs/cgroup/{name}"
    return ["unshare", "--mount", "--map-root-user", "sh", "-c", script + ' && exec "$@"', "sh"]


@pytest.fixture(scope="module")
def needs_quota():
    try:
        run = subprocess.run([*with_quota(), "true"], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("no command unshare to make a quota with")
    if run.returncode:
        pytest.skip(f"no quota can be made here: {run.stderr.strip()}")


@pytest.mark.usefixtures("needs_quota")
@pytest.mark.parametrize(
    ("files", "most"),
    [
        ({"cpu_max": "max 100000"}, None),
        ({"cpu_max": "50000 100000"}, 1),
        ({"cpu_max": "20000 20000"}, 1),
        ({"cpu_max": "110000 100000"}, 2),
        ({"cpu_max": "6400000 100000"}, 64),
        ({"cpu_cfs_quota_us": "-1", "cpu_cfs_period_us": "100000"}, None),
        ({"cpu_cfs_quota_us": "100000", "cpu_cfs_period_us": "100000"}, 1),
        ({"cpu_cfs_quota_us": "100001", "cpu_cfs_period_us": "100000"}, 2),
        ({"cpu_cfs_quota_us": "100000"}, None),
        ({"cpu_max": "nonsense"}, None),
        ({}, None),
    ],
    ids=str,
)
def test_quota_of_the_control_group_limits_it(files, most):
    """Rounded up, in either version of control groups; the user's number counts in spite of it."""
    without = threads_in(under=with_quota())
    assert threads_in(under=with_quota(**files)) == min(without, most or without)
    for variable in ("OMP_NUM_THREADS", "FASTLOGITS_NUM_THREADS"):
        assert threads_in(under=with_quota(**files), **{variable: "3"}) == granted(3)


@needs_openmp
@pytest.mark.parametrize("environment", [{}, {"OMP_NUM_THREADS": "4"}], ids=["default", "set"])
@pytest.mark.parametrize("limited", ["limits=1", 'limits=1, user_api="openmp"'])
def test_threadpoolctl_limits_it(environment, limited):
    if importlib.util.find_spec("threadpoolctl") is None:
        pytest.skip("threadpoolctl is not installed")
    code = f"""
        from threadpoolctl import threadpool_limits
        from forks import os_threads
        import calls, fastlogits as fl
        before, threads = fl.get_num_threads(), os_threads()
        with threadpool_limits({limited}):
            print(fl.get_num_threads())
            calls.digests()
            print(os_threads() - threads)
        print(fl.get_num_threads() == before)
        """
    assert says(code, **environment) == ["1", "0", "True"]


@needs_openmp
def test_threadpoolctl_may_leave_some_of_them():
    code = """
        from threadpoolctl import threadpool_limits
        import fastlogits as fl
        with threadpool_limits(limits=3):
            print(fl.get_num_threads())
        """
    assert says(code, OMP_NUM_THREADS="4") == ["3"]


# ---------------------------------------------------------------------------------------
# The team
# ---------------------------------------------------------------------------------------


@needs_proc
def test_small_calls_start_no_threads():
    code = """
        import numpy as np
        import fastlogits as fl
        from forks import os_threads
        before = os_threads()
        for n in (1, 10, 320, 6000):
            x, labels = np.zeros((n, 10), "f4"), np.zeros(n, int)
            fl.softmax(x)
            fl.softmax(x.T)
            fl.sigmoid(x)
            fl.cross_entropy(x, labels)
            fl.binary_cross_entropy_with_logits(x, x)
        print(os_threads() - before)
        """
    assert says(code, FASTLOGITS_NUM_THREADS="4") == ["0"]


@needs_proc
@needs_openmp
@pytest.mark.parametrize("variable", ["OMP_NUM_THREADS", "FASTLOGITS_NUM_THREADS"])
def test_team_is_all_threads_or_one(variable):
    code = """
        import numpy as np
        import calls, fastlogits as fl
        from forks import os_threads
        before = os_threads()
        sizes = set()
        for rows in (5, 50, 500, 600, 700, 5000, 50_000):
            fl.softmax(np.zeros((rows, 100), "f4"))
            sizes.add(1 + os_threads() - before)
        for rows in (2, 3, 4, 6):
            fl.softmax(np.zeros((rows, 60_000), "f4"))
            sizes.add(1 + os_threads() - before)
        for call in calls.CALLS.values():
            call()
            sizes.add(1 + os_threads() - before)
        print(*sorted(sizes))
        """
    assert says(code, **{variable: "5"}) == ["1", "5"]


@needs_proc
@needs_openmp
@pytest.mark.parametrize("n", [1, 2, 3])
def test_callers_multiply_the_threads_by_no_more_than_themselves(n):
    """Each of several Python threads has a team of its own, which ends with it."""
    code = f"""
        import threading
        import calls, fastlogits as fl
        from forks import os_threads
        want, callers = calls.digests(), 4
        fl.set_num_threads({n})
        together, found, most = threading.Barrier(callers), [], []
        def call():
            for _ in range(3):
                together.wait()
                found.append(calls.digests() == want)
                most.append(os_threads())
        fl.softmax(calls.X)
        before = os_threads()
        threads = [threading.Thread(target=call) for _ in range(callers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        print(all(found), max(most) <= before + callers * {n})
        """
    assert says(code) == ["True", "True"]


@needs_proc
@needs_openmp
def test_call_within_a_parallel_region_uses_the_thread_it_is_on():
    """Of another library with the same OpenMP runtime, whose threads have all cores already."""
    if importlib.util.find_spec("threadpoolctl") is None:
        pytest.skip("threadpoolctl, which finds the runtime, is not installed")
    code = """
        import ctypes
        import threadpoolctl
        import calls, fastlogits as fl
        from forks import os_threads
        runtimes = [i for i in threadpoolctl.threadpool_info() if i["user_api"] == "openmp"]
        runtime = ctypes.CDLL(runtimes[0]["filepath"])
        if not hasattr(runtime, "GOMP_parallel"):
            raise SystemExit("no GOMP_parallel")
        before, want, found = os_threads(), calls.digests(), []
        @ctypes.CFUNCTYPE(None, ctypes.c_void_p)
        def region(_):
            found.append(calls.digests() == want)
            found.append(os_threads() == before + 2)
        runtime.GOMP_parallel(region, None, 3, 0)
        print(*found)
        """
    environment = {"OMP_NUM_THREADS": "3", "OMP_MAX_ACTIVE_LEVELS": "2"}
    assert says(code, **environment) == ["True"] * 6


# ---------------------------------------------------------------------------------------
# What a thread needs, and what threads share
# ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("isa", fastlogits.available_isas())
def test_calls_fit_into_a_small_stack(isa):
    """128 KiB is what some systems give a thread; it includes what the interpreter needs."""
    code = """
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
        """
    assert says(code, FASTLOGITS_ISA=isa, FASTLOGITS_NUM_THREADS="1") == ["done"]


@pytest.mark.parametrize("isa", fastlogits.available_isas())
def test_numbers_that_another_thread_changes_lead_nowhere(isa):
    """Logits, soft targets, weights: the places that come out are places, and nothing crashes."""
    run = python(
        """
        import itertools
        import threading
        import numpy as np
        import fastlogits as fl

        # Registers are whole at the end of a row too: what is looked for there and is gone must
        # not be found behind it.
        x = np.zeros((3000, 304), np.float32)
        soft, of_classes, of_rows = np.zeros_like(x), np.ones(304), np.ones(3000)
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

        class ChangingOut(np.ndarray):
            @property
            def flags(self):  # asked for last
                change()
                return np.ndarray.flags.__get__(self)

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

        out = np.zeros((3, N)).view(ChangingOut)
        ones, soft = np.ones(N), np.full((3, N), 0.5)
        rows = [
            lambda: fl.softmax(x, Changing(1)),
            lambda: fl.softmax(x, (Changing(0), 1)),
            lambda: fl.logsumexp(x, Changing(1)),
            lambda: fl.logsumexp(x, (1, Changing(0)), keepdims=True),
            lambda: fl.argmax(x, Changing(1)),
            lambda: fl.top_k(x, Changing(2)),
            lambda: fl.top_k(x, 2, axis=Changing(1)),
            lambda: fl.confidence(x, axis=Changing(1)),
        ]
        elements = [
            lambda: fl.binary_cross_entropy_with_logits(x, soft, sample_weight=Changing(2.0)),
            lambda: fl.binary_cross_entropy_with_logits_value_and_grad(
                x, soft, pos_weight=Changing(2.0)
            ),
            lambda: fl.binary_cross_entropy_with_logits_value_and_grad(x, soft, out=out),
        ]
        losses = [
            lambda: fl.cross_entropy(x, Changing([0, 1, 2])),
            lambda: fl.cross_entropy(x, Changing(soft)),
            lambda: fl.cross_entropy(x, labels, axis=Changing(1)),
            lambda: fl.cross_entropy(x, labels, class_weight=Changing(ones)),
            lambda: fl.cross_entropy(x, soft, sample_weight=Changing(np.ones(3))),
            lambda: fl.cross_entropy_value_and_grad(x, labels, sample_weight=Changing(np.ones(3))),
            lambda: fl.softmax_grad_hess(x, Changing([0, 1, 2])),
            lambda: fl.softmax_grad_hess(x, labels, sample_weight=Changing(np.ones(3))),
            lambda: fl.binary_cross_entropy_with_logits(x, Changing(soft)),
        ]
        outs = [
            lambda: fl.softmax(x, out=out),
            lambda: fl.softmax(x, (0, 1), out=out),
            lambda: fl.sigmoid(x, out=out),
            lambda: fl.cross_entropy_value_and_grad(x, labels, out=out),
        ]
        allowed = (IndexError, RuntimeError, TypeError, ValueError)
        for change in (reshape, flatten, narrow, widen, retype_labels):
            for i, call in enumerate(rows + elements + losses + outs):
                x, labels = np.zeros((3, N)), np.zeros(3, int)
                print(change.__name__, i, flush=True)
                try:
                    call()
                except allowed:
                    continue
                # What still fits may be computed.
                refused = {reshape: losses, widen: losses + elements}.get(change, [])
                if call in refused or (call in outs and change is not retype_labels):
                    print("not refused")
        change = flatten
        for function in (fl.softmax, fl.logsumexp, fl.argmax, fl.confidence):
            x = np.zeros((3, N))
            try:
                function(x, axis=Changing(1))
            except np.exceptions.AxisError:  # of the one dimension that there is now
                continue
            print("not refused")
        print("done")
        """
    )
    last = run.stdout.splitlines()[-1:]
    assert run.returncode == 0, f"exit status {run.returncode} in {last}: {run.stderr}"
    assert last == ["done"], run.stderr
    assert "not refused" not in run.stdout, run.stdout


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
