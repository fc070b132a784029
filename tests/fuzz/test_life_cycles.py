"""Fit, resume, sample, save, load, clone, pickle and interrupt in any order.

The twin of an estimator is a number: how far it has been trained. Whatever happened to
it, its draws must be those of an estimator trained that far in one go.
"""

import copy
import functools
import pickle
import signal
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

import jspgfn
from jspgfn import _core, _engine
from long import short_or_long

N_ITER = 6
SEED = 3
X = jspgfn.simulate.linear_gaussian(n_variables=3, n_samples=20, random_state=1).X
GNN = {
    **jspgfn.PAPER,
    "n_iter": N_ITER,
    "batch_size": 4,
    "n_theta_samples": 2,
    "gnn_options": {"n_prefill": 10, "replay_capacity": 20},
    "n_jobs": 1,
    "random_state": SEED,
}


def make(kind):
    if kind == "gnn":
        return jspgfn.JSPGFN(**GNN)
    n_policies = 2 if kind == "policies" else 1
    return jspgfn.JSPGFN(
        n_iter=N_ITER, n_policies=n_policies, n_jobs=1, random_state=SEED
    )


@functools.cache
def in_one_go(kind, n_iter):
    """Draws after n_iter updates of the first schedule."""

    def stop(est, info):
        return info["n_updates"] >= n_iter

    est = make(kind)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_engine, "next_chunk", lambda *_: 1)
        patch.setattr(_engine, "SECONDS_PER_CALLBACK", 0.0)
        est.fit(X, callback=stop)
    assert est.n_iter_ == n_iter
    return est.sample(6, random_state=1).graphs


class Training(RuleBasedStateMachine):
    """JSPGFN; `done` = updates of the first schedule, None = not fitted."""

    kind = "edges"

    @initialize()
    def begin(self):
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "est"
        self.est = make(self.kind)
        self.done = None
        self.saved = None

    def teardown(self):
        self.folder.cleanup()

    def train(self, work, interrupted_at):
        """`work` with Ctrl-C after so many updates in all, if it gets that far."""

        def press_ctrl_c(engine, plan, iteration):
            if iteration == interrupted_at:
                signal.raise_signal(signal.SIGINT)
            update_finished(engine, plan, iteration)

        update_finished = _engine.update_finished
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(_engine, "next_chunk", lambda *_: 1)
            patch.setattr(_engine, "update_finished", press_ctrl_c)
            try:
                work()
            except KeyboardInterrupt:
                assert self.est.n_iter_ == interrupted_at
                return interrupted_at
        return N_ITER

    @rule(interrupted_at=st.integers(1, N_ITER + 2))
    def fit(self, interrupted_at):
        self.done = self.train(lambda: self.est.fit(X), interrupted_at)

    @precondition(lambda self: self.done is not None)
    @rule(interrupted_at=st.integers(1, N_ITER + 2))
    def resume(self, interrupted_at):
        if self.done == N_ITER:
            with pytest.raises(ValueError, match="end of its schedule"):
                self.est.resume()
        elif interrupted_at > self.done:
            self.done = self.train(lambda: self.est.resume(), interrupted_at)

    @rule(n=st.integers(1, 30))
    def sample(self, n):
        if self.done is None:
            with pytest.raises(NotFittedError):
                self.est.sample(n)
        else:
            assert self.est.sample(n).graphs.shape == (n, 3, 3)

    @rule(at=st.integers(1, 40))
    def run_out_of_memory(self, at):
        """Where there is nothing to allocate this is a plain sample."""
        if self.done is not None:
            _core.fail_allocation(at)
            try:
                self.est.sample(3, random_state=2)
            except MemoryError:
                pass
            finally:
                _core.fail_allocation(0)

    @rule()
    def be_refused(self):
        before = self.done
        holes = X.copy()
        holes[3, 1] = np.nan
        with pytest.raises(ValueError, match="NaN"):
            self.est.fit(holes)
        self.done = before

    @rule(way=st.sampled_from(["pickle", "deepcopy"]))
    def copy(self, way):
        if way == "pickle":
            self.est = pickle.loads(pickle.dumps(self.est))
        else:
            self.est = copy.deepcopy(self.est)

    @rule()
    def save(self):
        self.est.save(self.path)
        self.saved = self.done

    @rule()
    def load(self):
        if self.path.exists():
            self.est, self.done = jspgfn.load(self.path), self.saved

    @rule()
    def clone(self):
        self.est, self.done = clone(self.est), None

    @invariant()
    def draws_are_those_of_one_go(self):
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        if getattr(self, "done", None):
            assert self.est.n_iter_ == self.done == len(self.est.history_["loss"])
            graphs = self.est.sample(6, random_state=1).graphs
            np.testing.assert_array_equal(graphs, in_one_go(self.kind, self.done))


class PolicyTraining(Training):
    kind = "policies"


class GnnTraining(Training):
    kind = "gnn"


class Chains(RuleBasedStateMachine):
    """StructureMCMC; the twin is the number of rounds."""

    @initialize()
    def begin(self):
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "chain"
        self.est = jspgfn.StructureMCMC(
            n_chains=2, n_moves=1, n_jobs=1, random_state=SEED
        )
        self.done, self.saved = 0, 0

    def teardown(self):
        self.folder.cleanup()

    @rule()
    def fit(self):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", jspgfn.NotMixedWarning)
            self.est.fit(X)
        self.done = 1

    @rule()
    def fit_with_other_settings_that_are_refused(self):
        self.est.set_params(n_chains=3, n_moves=-1)
        with pytest.raises(ValueError, match="n_moves"):
            self.est.fit(X)
        self.est.set_params(n_chains=2, n_moves=1)

    @precondition(lambda self: self.done)
    @rule()
    def resume(self):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", jspgfn.NotMixedWarning)
            self.est.resume(n_moves=1)
        self.done += 1

    @rule(way=st.sampled_from(["pickle", "file"]))
    def copy(self, way):
        if way == "pickle":
            self.est = pickle.loads(pickle.dumps(self.est))
        else:
            self.est.save(self.path)
            self.est = jspgfn.load(self.path)

    @rule()
    def clone(self):
        self.est, self.done = clone(self.est), 0

    @invariant()
    def edges_are_those_of_one_run(self):
        if getattr(self, "done", 0):
            np.testing.assert_array_equal(
                self.est.edge_probabilities(), rounds_in_one_run(self.done)
            )


@functools.cache
def rounds_in_one_run(n_rounds):
    est = jspgfn.StructureMCMC(n_chains=2, n_moves=1, n_jobs=1, random_state=SEED)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", jspgfn.NotMixedWarning)
        est.fit(X)
        each = est.n_moves_
        if n_rounds > 1:
            est.set_params(n_moves=n_rounds * each).fit(X)
    assert est.n_moves_ == n_rounds * each
    return est.edge_probabilities()


@pytest.fixture
def hears_ctrl_c():
    """Programs that a shell starts in the background ignore SIGINT from birth."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.long
@pytest.mark.usefixtures("hears_ctrl_c")
@pytest.mark.parametrize("machine", [Training, PolicyTraining, GnnTraining, Chains])
def test_any_order(machine):
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=short_or_long(12, 400),
            stateful_step_count=short_or_long(12, 30),
            derandomize=True,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
