"""Every allocation fails once: a MemoryError, nothing lost, the object as before.

Two kinds of memory: blocks of the core, whose n-th allocation `_core.fail_allocation`
lets fail and which `_core.live_allocations` counts; and objects of Python, with the
hooks that CPython's own tests use, in a process of their own.
"""

import contextlib
import gc
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import jspgfn
from jspgfn import _core
from long import short_or_long

pytestmark = pytest.mark.long

SMALL_GNN = {
    **jspgfn.PAPER,
    "n_iter": 2,
    "batch_size": 4,
    "n_theta_samples": 2,
    "gnn_options": {"n_prefill": 10, "replay_capacity": 20},
}


@pytest.fixture(scope="module")
def X():
    sim = jspgfn.simulate.linear_gaussian(n_variables=3, n_samples=12, random_state=1)
    return sim.X


def fail_one_by_one(work, check=lambda: None):
    """Calls `work` with the 1st, 2nd, ... allocation failing, until there is no such one.

    The short version leaves out most of those after the 30th. check : called after each
    """
    gc.collect()
    live = _core.live_allocations()
    for n in [*range(1, 30), *range(30, 100_000, short_or_long(9, 1))]:
        _core.fail_allocation(n)
        try:
            work()
        except MemoryError:
            if _core.fail_allocation(0) != 0:
                raise
        else:
            if _core.fail_allocation(0) > 0:
                return n - 1
            raise AssertionError(f"allocation {n} failed and nobody said so")
        if _core.live_allocations() != live:
            gc.collect()
        assert _core.live_allocations() == live, f"allocation {n} lost memory"
        check()
        N_FAILED.append(n)


N_FAILED = []  # for the figure in docs/reliability.md


ESTIMATORS = {
    "edges": lambda: jspgfn.JSPGFN(n_iter=2, n_jobs=1, random_state=0),
    "policies": lambda: jspgfn.JSPGFN(n_policies=2, n_iter=2, n_jobs=1, random_state=0),
    "candidates": lambda: jspgfn.JSPGFN(
        candidates=1, n_iter=1, n_jobs=1, random_state=0
    ),
    "features": lambda: jspgfn.ExactPosterior("features", n_jobs=1, random_state=0),
    "mlp": lambda: jspgfn.ExactPosterior(
        jspgfn.MLPGaussian(hidden=2), max_parents=1, n_jobs=1, random_state=0
    ),
    "linear": lambda: jspgfn.ExactPosterior("linear", n_jobs=1, random_state=0),
    "nig": lambda: jspgfn.StructureMCMC(
        "nig", n_chains=2, n_moves=1, n_jobs=1, random_state=0
    ),
    "gnn": lambda: jspgfn.JSPGFN(**SMALL_GNN, n_jobs=1, random_state=0),
    "gnn-full": lambda: jspgfn.JSPGFN(
        **{**SMALL_GNN, "head": "full", "n_jobs": 1, "random_state": 0}
    ),
    "gnn-mlp": lambda: jspgfn.JSPGFN(
        **{**SMALL_GNN, "model": "mlp", "head": "mlp", "n_jobs": 1, "random_state": 0}
    ),
}
FITTED = ["edges", "features", "mlp", "nig", "gnn", "gnn-mlp"]


@pytest.mark.filterwarnings("ignore::jspgfn.JspgfnWarning")
@pytest.mark.parametrize("name", ESTIMATORS)
def test_fit(name, X):
    est = ESTIMATORS[name]()
    n_failures = fail_one_by_one(lambda: ESTIMATORS[name]().fit(X))
    assert n_failures >= 5
    # the same object, after a failure in the middle of a refit
    est.fit(X)
    expected = est.sample(5, random_state=1)
    for n in (1, n_failures // 2, n_failures):
        _core.fail_allocation(n)
        with contextlib.suppress(MemoryError):  # a refit may need less memory
            est.fit(X)
        _core.fail_allocation(0)
        est.fit(X)
        np.testing.assert_array_equal(
            est.sample(5, random_state=1).graphs, expected.graphs
        )


def test_fit_of_discrete_data(X):
    states = (X > 0).astype(int)
    fail_one_by_one(lambda: jspgfn.ExactPosterior("bdeu", n_jobs=1).fit(states))


@pytest.mark.filterwarnings("ignore::jspgfn.JspgfnWarning")
@pytest.mark.parametrize("name", FITTED)
def test_use(name, X):
    """Draws, densities and predictions; then the same draws as if nothing had failed."""
    est = ESTIMATORS[name]().fit(X)
    expected = est.sample(4, random_state=1)

    def check():
        again = est.sample(4, random_state=1)
        np.testing.assert_array_equal(again.graphs, expected.graphs)

    uses = [
        lambda: est.sample(4, random_state=1),
        lambda: expected.predict_log_density(X[:2]),
    ]
    if name != "nig":
        uses.append(lambda: est.log_prob(expected.graphs))
    if name != "gnn-mlp":
        uses.append(lambda: est.log_reward(expected.graphs))
    if name == "edges":
        uses.append(lambda: est.sample(4, random_state=1, refine=1))
        uses.append(lambda: est.diagnose(n_draws=100))
    if name in ("features", "mlp"):
        uses.append(lambda: est.score(X))
    for use in uses:
        use()  # what is computed only once is there
        fail_one_by_one(use, check)


@pytest.mark.filterwarnings("ignore::jspgfn.JspgfnWarning")
@pytest.mark.parametrize("name", ["edges", "features", "nig", "gnn"])
def test_copies_and_files(name, X, tmp_path):
    est = ESTIMATORS[name]().fit(X)
    est.save(tmp_path / "file")
    text = pickle.dumps(est)
    fail_one_by_one(lambda: jspgfn.load(tmp_path / "file").sample(2))
    fail_one_by_one(lambda: pickle.loads(text).sample(2))
    # a copy that failed to come alive does so at the next call
    copy, expected = pickle.loads(text), est.sample(3, random_state=1)
    _core.fail_allocation(3)
    with pytest.raises(MemoryError):
        copy.log_reward(expected.graphs)
    _core.fail_allocation(0)
    again = copy.sample(3, random_state=1)
    np.testing.assert_array_equal(again.graphs, expected.graphs)


@pytest.mark.parametrize("name", ["edges", "gnn"])
def test_training_allocates_nothing(name, X):
    trainer = ESTIMATORS[name]().fit(X)._engine.trainer
    _core.fail_allocation(1)
    trainer.step(3)
    assert _core.fail_allocation(0) == 1


def test_steps_of_chains_and_sums_allocate_nothing(X):
    chain = ESTIMATORS["nig"]()
    with pytest.warns(jspgfn.NotMixedWarning):
        chain.fit(X)
    scores = jspgfn.ExactPosterior(n_jobs=1).fit(X)._tables.scores
    exact = _core.Exact(scores, posterior=True, n_threads=1)
    _core.fail_allocation(1)
    chain._chains.step(3)
    while exact.step(1) < 1:
        pass
    assert _core.fail_allocation(0) == 1


def test_how_many():
    """The last but one, so that it has something to count."""
    print(f"\n{len(N_FAILED)} allocations of the core failed")


@pytest.mark.skipif(
    sys.implementation.name != "cpython", reason="hooks of CPython's own tests"
)
def test_objects_of_python_fail():
    pytest.importorskip("_testcapi")
    program = Path(__file__).with_name("failing_objects.py")
    process = subprocess.run(
        [sys.executable, str(program)], capture_output=True, text=True, timeout=300
    )
    assert process.returncode == 0, process.stdout[-2000:] + process.stderr[-2000:]
    assert "calls failed" in process.stdout
    print(process.stdout)
