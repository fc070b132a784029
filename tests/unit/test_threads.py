"""Threads of Python, forks, worker processes, limits on threads."""

import multiprocessing
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import jspgfn
from jspgfn import _core

SETTINGS = {"n_iter": 40, "n_jobs": 1, "random_state": 0}
SIM = jspgfn.simulate.linear_gaussian(n_variables=4, n_samples=60, random_state=1)


def draws(n_jobs=1, **changes):
    """One fit from beginning to end; also what workers run."""
    est = jspgfn.JSPGFN(**{**SETTINGS, "n_jobs": n_jobs, **changes}).fit(SIM.X)
    return est.sample(20, random_state=1).graphs


def in_threads(*works):
    """Runs them side by side; what they raised."""
    errors, ready = [], threading.Barrier(len(works))

    def run(work):
        ready.wait()
        try:
            work()
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors


def estimators():
    chain = jspgfn.StructureMCMC(n_chains=2, n_moves=10**6, n_jobs=1, random_state=0)
    return {
        "edges": jspgfn.JSPGFN(**SETTINGS),
        "exact": jspgfn.ExactPosterior(n_jobs=1, random_state=0),
        "chain": chain,
    }


@pytest.mark.filterwarnings("ignore::jspgfn.JspgfnWarning")
@pytest.mark.parametrize("name", ["edges", "exact", "chain"])
def test_anything_at_once_on_one_object(name):
    """Every call works or says that the object is in use; the object is as good after."""
    est = estimators()[name].fit(SIM.X)
    expected = est.sample(20, random_state=1).graphs

    def use(works):
        for _ in range(4):
            for work in works:
                try:
                    work()
                except RuntimeError as error:
                    if "in use by another thread" not in str(error):
                        raise

    works = [lambda: est.sample(300, random_state=2), lambda: est.score(SIM.X)]
    if name != "chain":
        works.append(lambda: est.log_prob(expected))
    assert not in_threads(lambda: use(works), lambda: use(works[::-1]))
    np.testing.assert_array_equal(est.sample(20, random_state=1).graphs, expected)


@pytest.mark.filterwarnings("ignore::jspgfn.JspgfnWarning")
@pytest.mark.parametrize("name", ["edges", "exact", "chain"])
def test_two_fits_at_once_of_one_object(name):
    est = estimators()[name]
    errors = in_threads(lambda: est.fit(SIM.X), lambda: est.fit(SIM.X))
    for error in errors:
        assert isinstance(error, (RuntimeError, AttributeError)), error
    est.fit(SIM.X)
    other = estimators()[name].fit(SIM.X)
    np.testing.assert_array_equal(
        est.sample(20, random_state=1).graphs, other.sample(20, random_state=1).graphs
    )


def test_two_objects_at_once():
    alone, found = draws(), []
    assert not in_threads(*[lambda: found.append(draws()) for _ in range(3)])
    for graphs in found:
        np.testing.assert_array_equal(graphs, alone)


def test_two_objects_with_teams_at_once():
    """A team in each of two threads: OpenMP makes one for each."""
    alone, found = draws(), []
    assert not in_threads(*[lambda: found.append(draws(n_jobs=2)) for _ in range(2)])
    for graphs in found:
        np.testing.assert_array_equal(graphs, alone)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_worker_processes(method):
    alone = draws(n_jobs=2)  # a team has been formed before the fork
    with multiprocessing.get_context(method).Pool(1) as pool:
        found = pool.apply_async(draws, (2,)).get(timeout=120)
    np.testing.assert_array_equal(found, alone)


def test_loky_workers_take_fits_and_estimators():
    joblib = pytest.importorskip("joblib")
    est = jspgfn.JSPGFN(**SETTINGS).fit(SIM.X)
    with joblib.parallel_config("loky", n_jobs=2, inner_max_num_threads=1):
        tasks = [joblib.delayed(draws)(), joblib.delayed(est.sample)(20, 1)]
        found, post = joblib.Parallel()(tasks)
    np.testing.assert_array_equal(found, draws())
    np.testing.assert_array_equal(post.graphs, found)


def test_threading_workers():
    joblib = pytest.importorskip("joblib")
    found = joblib.Parallel(n_jobs=2, backend="threading")(
        joblib.delayed(draws)() for _ in range(4)
    )
    for graphs in found:
        np.testing.assert_array_equal(graphs, draws())


def test_limits_of_threadpoolctl():
    threadpoolctl = pytest.importorskip("threadpoolctl")
    if not _core.config()["openmp"]:
        pytest.skip("built without OpenMP")
    with threadpoolctl.threadpool_limits(1, user_api="openmp"):
        assert _core.config()["max_threads"] == 1
        assert jspgfn._config.check_n_jobs(None) == 1
        limited = draws(n_jobs=None)
    np.testing.assert_array_equal(limited, draws(n_jobs=None))


NESTED = """
import os, threading
os.environ.update(OMP_NUM_THREADS="2", OMP_MAX_ACTIVE_LEVELS="{levels}")
import numpy as np, test_threads
alone = test_threads.draws()
for n_jobs in (2, 4):
    assert np.array_equal(test_threads.draws(n_jobs=n_jobs), alone)
found = []
work = lambda: found.append(test_threads.draws(n_jobs=2))
assert not test_threads.in_threads(work, work)
assert all(np.array_equal(graphs, alone) for graphs in found)
print("same", len(found))
"""


@pytest.mark.parametrize("levels", [1, 3])
def test_nested_teams(levels):
    process = subprocess.run(
        [sys.executable, "-c", NESTED.format(levels=levels)],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert process.stdout == "same 2\n", process.stderr
