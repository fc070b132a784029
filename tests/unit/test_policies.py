"""Several policies in one fit: draws and densities are those of their mixture."""

import threading
import time
from concurrent.futures import Future

import numpy as np
import pytest

import jspgfn
from jspgfn import _engine, _refine
from jspgfn._policies import Policies, Turns, share, suitable
from reference.dags import enumerate_dags

QUIET = {"n_jobs": 1, "random_state": 4}


def fit(n_policies, D=4, **settings):
    sim = jspgfn.simulate.linear_gaussian(
        n_variables=D, n_samples=40, edges_per_node=2, random_state=2
    )
    settings = {"n_iter": 31, **QUIET, **settings}
    return jspgfn.JSPGFN("linear", n_policies=n_policies, **settings).fit(sim.X)


def members_of(est):
    return est._engine.trainer.trainers


@pytest.fixture(scope="module")
def three():
    return fit(3)


def test_probabilities_of_all_graphs_add_up_to_one(three):
    graphs = enumerate_dags(4).astype(np.uint8)
    assert len(graphs) == 543
    assert np.exp(three.log_prob(graphs)).sum() == pytest.approx(1, abs=1e-6)


def test_log_prob_is_that_of_the_mean_density(three):
    post = three.sample(50, random_state=1)
    graphs = post.graphs.astype(np.uint8)
    log_qs = [m.log_prob(graphs, 1) for m in members_of(three)]
    wanted = np.log(np.mean(np.exp(log_qs), axis=0))
    np.testing.assert_allclose(three.log_prob(post.graphs), wanted, rtol=1e-12)
    np.testing.assert_allclose(post.log_prob, wanted, rtol=1e-5)
    assert np.ptp(log_qs, axis=0).min() > 0  # they do differ


def test_updates_are_shared(three):
    assert three.n_iter_ == 31
    assert [m.iteration for m in members_of(three)] == [11, 10, 10]
    assert len(three.history_["loss"]) == 31


@pytest.mark.parametrize("first", [0, 1, 5])
@pytest.mark.parametrize("n", [1, 2, 7, 30])
def test_shares_add_up(n, first):
    shares = [share(n, k, 3, first) for k in range(3)]
    assert sum(shares) == n
    numbers = range(first, first + n)
    assert shares == [sum(t % 3 == k for t in numbers) for k in range(3)]


def test_the_first_draw_is_of_any_policy(three):
    """By frequencies over seeds: otherwise single draws would not be of the mixture."""
    graphs = np.concatenate(
        [three.sample(1, random_state=s).graphs for s in range(800)]
    )
    freely = three.sample(3000, random_state=1)
    sd = np.sqrt(0.25 / 800)
    difference = graphs.mean(axis=0) - freely.graphs.mean(axis=0)
    assert np.abs(difference).max() < 5 * sd * np.sqrt(2)
    assert np.abs(difference).max() > 0


def test_pieces_do_not_change_draws(three):
    trainer = three._engine.trainer
    whole = trainer.sample(20, 11, 1, 3)
    parts = [trainer.sample(n, 11, 1, first) for first, n in ((3, 1), (4, 6), (10, 13))]
    for k, array in enumerate(whole):
        np.testing.assert_array_equal(array, np.concatenate([p[k] for p in parts]))


def test_draws_follow_log_prob(three):
    graphs = enumerate_dags(4).astype(np.uint8)
    n = 40_000
    index = {g.tobytes(): k for k, g in enumerate(graphs)}
    drawn = three.sample(n, random_state=3).graphs
    counts = np.bincount([index[g.tobytes()] for g in drawn], minlength=len(graphs))
    p = np.exp(three.log_prob(graphs))
    common = p * n > 10
    z = (counts - n * p)[common] / np.sqrt(n * p * (1 - p))[common]
    assert np.abs(z).max() < 5


def test_orders_differ_and_the_first_is_that_of_one_policy():
    alone, both = fit(1, n_iter=10), fit(2, n_iter=20)
    first, second = members_of(both)
    graphs = alone.sample(20, random_state=1).graphs.astype(np.uint8)
    one = alone._engine.trainer
    np.testing.assert_array_equal(first.log_prob(graphs, 1), one.log_prob(graphs, 1))
    assert (second.log_prob(graphs, 1) != one.log_prob(graphs, 1)).any()


def test_refined_draws_are_those_of_the_posterior():
    """From hardly trained policies, whose own draws are far off."""
    sim = jspgfn.simulate.linear_gaussian(n_variables=4, n_samples=40, random_state=2)
    est = jspgfn.JSPGFN("linear", n_policies=2, n_iter=20, **QUIET).fit(sim.X)
    exact = jspgfn.ExactPosterior("linear", n_jobs=1).fit(sim.X).edge_probabilities()
    post = est.sample(4000, refine=True, random_state=1)
    assert np.abs(post.graphs.mean(axis=0) - exact).max() < 5 * np.sqrt(0.25 / 4000)
    assert set(est.refinement_.acceptance) == {4}


def test_a_warm_start_goes_on_from_each_policy(three):
    sim = jspgfn.simulate.linear_gaussian(n_variables=4, n_samples=40, random_state=2)
    for n in (1, 2, 4):
        est = fit(3, warm_start=True)
        est.set_params(n_policies=n, n_iter=40).fit(sim.X)
        assert len(getattr(est._engine.trainer, "trainers", [0])) == n
        assert "first_gap" in est.warm_start_


def test_a_state_of_other_policies_is_refused(three):
    state = three._engine.trainer.get_state()
    with pytest.raises(ValueError, match="a state with policies: 3, where there are 2"):
        fit(2)._engine.trainer.set_state(state)


def test_divergence_names_the_policy():
    with pytest.raises(jspgfn.NumericalError, match=r"policy [01]"):
        fit(2, n_iter=300, learning_rate=1e300)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (
            {"n_policies": 0},
            "n_policies must be an integer of at least 1 and at most 64, got 0",
        ),
        (
            {"n_policies": 65},
            "n_policies must be an integer of at least 1 and at most 64, got 65",
        ),
        ({"n_policies": 3, "n_iter": 2}, "n_policies must be at most n_iter, got 3"),
        ({"n_policies": 2, "generator": "gnn"}, "n_policies must be 1 or None with"),
    ],
)
def test_wrong_numbers(settings, words):
    with pytest.raises(ValueError, match=words):
        jspgfn.JSPGFN("linear", **settings).fit(
            np.random.default_rng(0).normal(size=(9, 3))
        )


@pytest.mark.parametrize(
    ("D", "n_iter", "max_time", "n_threads", "n_policies"),
    [
        (20, 10**9, 1e6, 2, 1),  # few variables
        (21, 10**9, 1e6, 2, 4),
        (50, 6000, None, 2, 1),  # updates enough for so many
        (50, 12_000, None, 2, 2),
        (50, 10**9, 120.0, 2, 1),
        (50, 10**9, 480.0, 2, 4),
        (50, 10**9, 480.0, 1, 2),
        (100, 10**9, 1.0, 2, 1),
    ],
)
def test_number_by_default(D, n_iter, max_time, n_threads, n_policies):
    assert suitable(D, n_iter, max_time, n_threads) == n_policies


def test_the_plan_says_how_many(capsys):
    fit(2, verbose=1)
    assert "31 updates, shared by 2 policies" in capsys.readouterr().out


def test_number_by_default_leaves_memory():
    assert suitable(50, 10**6, None, 1, room=2.7) == 2
    assert suitable(50, 10**6, None, 1, room=0.1) == 1


def test_each_policy_is_updated_when_time_is_short():
    with pytest.warns(jspgfn.TimeBudgetWarning, match="but for 3 updates"):
        est = fit(3, n_iter=None, max_time=1e-9)
    assert [m.iteration for m in members_of(est)] == [1, 1, 1]


@pytest.mark.parametrize("n_policies", [1, 3, 4, 11])
def test_coupled_chains_are_at_the_same_policy(n_policies, monkeypatch):
    """Lag and sweeps of the bound on the distance of refined draws."""
    est, sweeps = fit(n_policies), []
    original = _refine.sweep

    def sweep(engine, graphs, seed, n_sweeps, first_draw=0, first_sweep=0):
        sweeps.append((first_sweep, n_sweeps))
        return original(engine, graphs, seed, n_sweeps, first_draw, first_sweep)

    monkeypatch.setattr(_refine, "sweep", sweep)
    _refine.plan_sweeps(est._engine, 5)
    (first, lag), *pairs = sweeps
    assert first == 0
    assert lag >= 10
    assert lag % n_policies == 0
    assert pairs[0] == pairs[1] == (lag, 1)  # sweep 0 of the chain behind


def test_a_state_is_trusted_after_an_update_of_each_policy():
    est = fit(2, n_iter=4)
    guard = _engine.Safeguard(est._engine)
    first = guard.trusted
    guard.taken = guard.take()
    with _engine.held_interrupts() as interrupt:
        guard.step(1, 0.0, interrupt)
        assert guard.trusted is first
        guard.step(1, 0.0, interrupt)
    assert guard.trusted is guard.taken


def test_a_file_with_states_of_other_policies_is_refused(three, tmp_path):
    est = fit(2)
    est._engine.trainer_settings["n_policies"] = 3
    est.save(tmp_path / "file")
    with pytest.raises(ValueError, match="training state"):
        jspgfn.load(tmp_path / "file")


# --- several at a time -----------------------------------------------------------------


class Slow:
    """A trainer that writes down its updates; fails at one of them."""

    def __init__(self, name, log, fails_at=-1):
        self.name, self.log, self.fails_at = name, log, fails_at
        self.iteration = 0
        self.at_work = threading.Lock()

    def step(self, n_updates, time_fraction):
        assert n_updates == 1
        assert self.at_work.acquire(blocking=False), "two workers at one policy"
        time.sleep(0.001 * (1 + self.name))
        if self.iteration == self.fails_at:
            raise jspgfn.NumericalError(f"update {self.iteration} failed")
        row = np.array([[float(self.name), float(self.iteration)]])
        self.iteration += 1
        self.log.append((self.name, threading.current_thread().name))
        self.at_work.release()
        return row


@pytest.mark.parametrize("n_at_once", [1, 2, 3])
def test_updates_come_in_their_order_whoever_makes_them(n_at_once):
    log = []
    policies = Policies([Slow(k, log) for k in range(3)], n_at_once)
    rows = np.concatenate([policies.step(n) for n in (1, 7, 4)])
    wanted = [(t % 3, t // 3) for t in range(12)]
    np.testing.assert_array_equal(rows, wanted)
    assert [trainer.iteration for trainer in policies.trainers] == [4, 4, 4]
    assert len({thread for _, thread in log}) >= n_at_once


@pytest.mark.parametrize("n_at_once", [1, 3])
def test_a_policy_that_fails_stops_the_others(n_at_once):
    log = []
    trainers = [Slow(0, log), Slow(1, log, fails_at=2), Slow(2, log)]
    with pytest.raises(jspgfn.NumericalError, match="policy 1, its update 2 failed"):
        Policies(trainers, n_at_once).step(3000)
    done = len(log)
    assert done < 100
    time.sleep(0.02)
    assert len(log) == done  # nobody is left at work


def test_workers_have_ended_when_a_signal_handler_raises(monkeypatch):
    class Raised(Exception):
        pass

    log = []
    policies = Policies([Slow(k, log) for k in range(3)], n_at_once=2)
    result = Future.result

    def interrupted(self, timeout=None):
        while len(log) < 10:
            time.sleep(0.001)
        raise Raised

    monkeypatch.setattr(Future, "result", interrupted)
    with pytest.raises(Raised):
        policies.step(3000)
    monkeypatch.setattr(Future, "result", result)
    done = len(log)
    assert done < 100
    time.sleep(0.02)
    assert len(log) == done


def test_the_policy_with_most_updates_left_is_next():
    turns = Turns([1, 3, 2])
    assert [turns.take() for _ in range(4)] == [1, 2, 0, None]  # all are at work
    turns.give_back(2)
    turns.give_back(1)
    assert [turns.take() for _ in range(3)] == [1, 2, None]
    turns.give_back(1)
    turns.stop()
    assert turns.take() is None


@pytest.mark.parametrize("n_jobs", [2, 3])
def test_policies_at_a_time_give_the_same_bits(three, n_jobs):
    other = fit(3, n_jobs=n_jobs)
    assert other._engine.trainer.n_at_once == n_jobs
    for key, values in three.history_.items():
        np.testing.assert_array_equal(other.history_[key], values)
    graphs = three.sample(20, random_state=0).graphs
    np.testing.assert_array_equal(other.log_prob(graphs), three.log_prob(graphs))
