"""Several policies in one fit: draws and densities are those of their mixture."""

import numpy as np
import pytest

import jspgfn
from jspgfn import _engine, _estimator, _policies, _refine
from jspgfn._policies import share
from mixtures import QUIET, engine_of, fit, members_of
from reference.dags import enumerate_dags


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
    """30 % of 31 are of the first alone."""
    assert three.n_iter_ == 31
    assert three.n_policies_ == 3
    assert [m.iteration for m in members_of(three)] == [9 + 8, 7, 7]
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


def test_refined_draws_are_those_of_the_posterior():
    """From hardly trained policies, whose own draws are far off."""
    sim = jspgfn.simulate.linear_gaussian(n_variables=4, n_samples=40, random_state=2)
    est = jspgfn.JSPGFN("linear", n_policies=2, n_iter=20, **QUIET).fit(sim.X)
    exact = jspgfn.ExactPosterior("linear", n_jobs=1).fit(sim.X).edge_probabilities()
    post = est.sample(4000, refine=True, random_state=1)
    assert np.abs(post.graphs.mean(axis=0) - exact).max() < 5 * np.sqrt(0.25 / 4000)
    assert set(est.refinement_.acceptance) == {4}


@pytest.mark.parametrize(("n_before", "n"), [(3, 1), (3, 3), (3, 4), (1, 2)])
def test_a_warm_start_goes_on_from_each_policy(n_before, n, capsys, monkeypatch):
    sim = jspgfn.simulate.linear_gaussian(n_variables=4, n_samples=40, random_state=2)
    est = fit(n_before, warm_start=True)
    before = [t.get_state()["average"] for t in _policies.policies_of(engine_of(est))]
    found = []

    def note(trainer, other):
        start_from(trainer, other)
        found.extend(t.get_state()["average"] for t in _policies.policies_of(trainer))

    start_from = _estimator.start_from
    monkeypatch.setattr(_estimator, "start_from", note)
    est.set_params(n_policies=n, n_iter=40, verbose=1).fit(sim.X)
    assert est.n_policies_ == n
    assert "first_gap" in est.warm_start_
    # several train from the first update on; one lets others branch off
    assert len(found) == (1 if n_before == 1 else n)
    for k, average in enumerate(found):
        np.testing.assert_array_equal(
            np.sort(average), np.sort(before[k % len(before)])
        )
    words = "40 updates"
    if n > 1:
        words += f", from 30% on shared by {n}" if n_before == 1 else f", shared by {n}"
    assert words in capsys.readouterr().out


def test_a_state_of_other_policies_is_refused(three):
    state = three._engine.trainer.get_state()
    with pytest.raises(ValueError, match="a state with policies: 3, where there are 2"):
        fit(2)._engine.trainer.set_state(state)


def test_divergence_names_the_policy():
    """Without an update of the first policy alone."""
    with pytest.raises(jspgfn.NumericalError, match=r"policy [01]"):
        fit(2, n_iter=3, learning_rate=1e300)


def test_divergence_of_the_first_policy_goes_back_to_where_it_was():
    """The update before the others branch off is the one that spoils it."""
    sim = jspgfn.simulate.linear_gaussian(n_variables=4, n_samples=40, random_state=2)
    est = jspgfn.JSPGFN("linear", n_policies=2, n_iter=4, learning_rate=1e300, **QUIET)
    with pytest.raises(jspgfn.NumericalError, match="stands where it was after"):
        est.fit(sim.X)
    assert est.n_policies_ == 1
    assert np.isfinite(est.sample(5).log_prob).all()


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
        (
            {"n_policies": 8, "n_iter": 10},
            "n_policies must be at most 7 with n_iter=10, for that many updates are",
        ),
        ({"n_policies": 2, "generator": "gnn"}, "n_policies must be 1 or None with"),
    ],
)
def test_wrong_numbers(settings, words):
    with pytest.raises(ValueError, match=words):
        jspgfn.JSPGFN("linear", **settings).fit(
            np.random.default_rng(0).normal(size=(9, 3))
        )


def test_the_plan_says_how_many(capsys):
    fit(2, verbose=1)
    printed = capsys.readouterr().out
    assert "31 updates, from 30% on shared by 2 policies" in printed
    assert "2 from update 9 on, each with an order of its own" in printed


@pytest.mark.parametrize("starts", [None, [0.0], [0.0, 2.0, 0.0], [0.0, "0", 0.0]])
def test_damaged_starts_are_refused(three, starts):
    trainer = three._engine.trainer
    state = trainer.get_state()
    with pytest.raises(ValueError, match="'starts'"):
        trainer.set_state({**state, "starts": starts})
    del state["starts"]  # as in files of before
    trainer.set_state(state)


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


def test_a_file_with_states_of_other_policies_is_refused(tmp_path):
    est = fit(1)
    est._engine.trainer_settings["n_policies"] = 3
    est.save(tmp_path / "file")
    with pytest.raises(ValueError, match="training state"):
        jspgfn.load(tmp_path / "file")


@pytest.mark.parametrize("n_jobs", [2, 3])
def test_policies_at_a_time_give_the_same_bits(three, n_jobs):
    other = fit(3, n_jobs=n_jobs)
    assert other._engine.trainer.n_at_once == n_jobs
    for key, values in three.history_.items():
        np.testing.assert_array_equal(other.history_[key], values)
    graphs = three.sample(20, random_state=0).graphs
    np.testing.assert_array_equal(other.log_prob(graphs), three.log_prob(graphs))
