"""Several policies in one fit: draws and densities are those of their mixture."""

import math
import pickle
import threading
import time
from concurrent.futures import Future

import numpy as np
import pytest

import jspgfn
from jspgfn import _core, _engine, _estimator, _policies, _refine, _training
from jspgfn._policies import (
    BRANCH_AT,
    Policies,
    Turns,
    has_uneven_tails,
    most_policies,
    share,
    still_learns,
    way_on,
)
from reference.dags import enumerate_dags

QUIET = {"n_jobs": 1, "random_state": 4}


def fit(n_policies, D=4, callback=None, **settings):
    sim = jspgfn.simulate.linear_gaussian(
        n_variables=D, n_samples=40, edges_per_node=2, random_state=2
    )
    settings = {"n_iter": 31, **QUIET, **settings}
    return jspgfn.JSPGFN("linear", n_policies=n_policies, **settings).fit(
        sim.X, callback=callback
    )


def engine_of(est):
    return est._engine.trainer


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


# --- branching off ---------------------------------------------------------------------


def test_others_start_from_what_the_first_has_learned():
    est = fit(1, n_iter=100)
    alone = est._engine.trainer
    est._engine.branch(3, n_left=30, time_fraction=0.0)
    assert est.n_policies_ == 3
    first, *others = members_of(est)
    before, after = alone.get_state(), first.get_state()
    assert set(before) == set(after)
    for key in set(before) - {"first_iteration", "n_iter", "likelihood_fraction"}:
        np.testing.assert_array_equal(before[key], after[key])
    for other in others:
        # numbers of a pair are where its place in the order is
        for key in ("params", "average"):
            assert (other.get_state()[key] != after[key]).any()
            np.testing.assert_array_equal(
                np.sort(other.get_state()[key]), np.sort(after["average"])
            )


def test_learning_rates_after_branching():
    """The first goes on from half of the peak, which its cosine has not come to yet."""
    est = fit(2, n_iter=2000)
    rate, progress = est.history_["learning_rate"], est.history_["progress"]
    at, peak = int(BRANCH_AT * 2000), 5e-3
    assert rate[at - 1] == pytest.approx(0.794 * peak, rel=0.01)
    assert progress[at] == pytest.approx(600 / 1300)
    assert rate[at] == pytest.approx(0.56 * peak, rel=0.01)
    assert progress[at + 1] == 0
    assert rate[at + 1 + 100] == pytest.approx(peak, rel=0.02)
    assert (est.history_["phase"][at:] == 1).all()
    np.testing.assert_allclose(progress[-2:], 1, atol=0.002)


class Clock:
    """Stands in for the module time: goes on at every look."""

    def __init__(self, step):
        self.step, self.now = step, 0.0

    def perf_counter(self):
        self.now += self.step
        return self.now


def test_timed_policies_branch_off(monkeypatch):
    monkeypatch.setattr(_engine, "time", Clock(0.1))
    found = []

    def look(est, info):
        found.append((est.n_policies_, info["seconds"]))

    est = fit(3, n_iter=None, max_time=60.0, callback=look)
    for n_policies, seconds in found:
        assert n_policies == (1 if seconds < BRANCH_AT * 60 + 1 else 3) or (
            BRANCH_AT * 60 <= seconds < BRANCH_AT * 60 + 2
        )
    assert {n for n, _ in found} == {1, 3}
    assert est.history_["progress"][-3:].min() > 0.9
    assert min(m.iteration for m in members_of(est)) > 0


def test_each_policy_has_an_update_when_branching_takes_all_the_time(monkeypatch):
    clock = Clock(0.01)
    monkeypatch.setattr(_engine, "time", clock)
    branch = _engine.Engine.branch

    def slowly(*args):
        branch(*args)
        clock.now += 1000

    monkeypatch.setattr(_engine.Engine, "branch", slowly)
    est = fit(3, n_iter=None, max_time=6.0)
    assert [m.iteration for m in members_of(est)][1:] == [1, 1]


@pytest.mark.parametrize("how", ["callback", "early"])
def test_a_fit_that_ends_where_others_would_branch_off_keeps_its_policy(
    how, monkeypatch
):
    """They would be untrained."""
    monkeypatch.setattr(_engine, "SECONDS_PER_CALLBACK", 0.0)
    settings = {"n_iter": 1000}

    def stop(est, info):
        return how == "callback" and info["n_updates"] == 300

    if how == "early":
        monkeypatch.setattr(_training, "default_n_iter", lambda n: 1000)
        monkeypatch.setattr(_engine, "is_good", lambda metrics: len(metrics) == 300)
        settings = {"n_iter": None}
    est = fit(3, callback=stop, **settings)
    assert (est.n_policies_, est.n_iter_) == (1, 300)


def losses(power, n=400, n_likelihood=100, floor=0.0, scale=1.0):
    """Metrics of a training whose loss falls with a power of the number of updates."""
    metrics = np.zeros((n + n_likelihood, len(_core.METRICS)))
    t = np.arange(1.0, len(metrics) + 1)
    metrics[:, _core.METRICS.index("loss")] = floor + scale * t**power
    metrics[:, _core.METRICS.index("phase")] = t > n_likelihood
    metrics[:n_likelihood, _core.METRICS.index("loss")] = 100 + 1 / t[:n_likelihood]
    return metrics


@pytest.mark.parametrize("power", [-1.5, -0.8, -0.7])
def test_a_policy_that_learns(power):
    assert still_learns(losses(power)) is True


@pytest.mark.parametrize("metrics", [losses(-0.3), losses(0.1), losses(-2, floor=0.1)])
def test_a_policy_that_no_longer_learns(metrics):
    assert still_learns(metrics) is False


@pytest.mark.parametrize("n", [0, 1, 4 * _policies.LEAST_TO_JUDGE - 1])
def test_too_few_losses_show_nothing(n):
    assert still_learns(losses(0.0, n=n)) is None


def test_a_few_draws_far_off_do_not_count():
    metrics = losses(-0.8)
    metrics[-100:-80, _core.METRICS.index("loss")] = 1000
    assert still_learns(metrics)


def test_a_policy_with_nothing_to_learn_is_left_alone():
    """One graph only: all losses are 0."""
    assert still_learns(losses(0.0, scale=0.0)) is None
    assert not has_uneven_tails(np.zeros(9))


def even_tails(n):
    return np.linspace(-1, 1, n)


def uneven_tails(n):
    return -np.geomspace(1, 1e3, n)


@pytest.mark.parametrize("gap", [0.5, np.nan])
def test_the_way_on(gap):
    n_left = 10 * _policies.UPDATES_EACH
    assert way_on(losses(-0.8), gap, n_left, 6, even_tails) == (1, True)
    assert way_on(losses(0.0, n=10), gap, n_left, 6, even_tails) == (1, False)
    assert way_on(losses(0.0), gap, n_left, 6, even_tails) == (6, False)
    assert way_on(losses(0.0), gap, 0.39 * n_left, 6, even_tails) == (3, False)
    assert way_on(losses(0.0), gap, 0.29 * n_left, 6, even_tails) == (1, False)
    assert way_on(losses(0.0), gap, 5, 6, even_tails) == (1, False)


def test_a_policy_with_graphs_far_off_still_learns():
    n_left = 10 * _policies.UPDATES_EACH
    assert way_on(losses(0.0), 0.5, n_left, 6, uneven_tails) == (1, True)


def test_a_policy_with_a_small_gap_stays_alone():
    n_left = 10 * _policies.UPDATES_EACH
    assert way_on(losses(0.0), 0.01, n_left, 6, even_tails) == (1, False)
    assert way_on(losses(-0.8), 0.01, n_left, 6, even_tails) == (1, True)


def test_most_policies_by_default():
    many = 10**9
    assert most_policies(20, many) == 1
    assert most_policies(21, many) == _policies.ENOUGH_POLICIES
    assert most_policies(50, many, room=4.7) == 4
    assert most_policies(50, many, room=2.7) == 1
    assert most_policies(50, many, room=-0.9) == 1
    assert most_policies(50, 1713) == 3  # of 1,200 updates
    assert most_policies(50, 1712) == 1
    assert most_policies(50, _policies.UPDATES_EACH) == 1


@pytest.mark.parametrize("learns", [True, None, False])
@pytest.mark.filterwarnings("ignore::jspgfn.CandidatesWarning")
def test_number_by_default(learns, monkeypatch, capsys):
    """With 21 variables, where several come into question."""
    monkeypatch.setattr(_policies, "still_learns", lambda metrics: learns)
    monkeypatch.setattr(_policies, "has_uneven_tails", lambda log_ratios: False)
    monkeypatch.setattr(_policies, "UPDATES_EACH", 4)
    est = fit(None, D=21, n_iter=20, verbose=1)
    assert est.n_policies_ == (3 if learns is False else 1)  # 14 updates are left
    printed = capsys.readouterr().out
    assert "from 30% on shared by up to 3 policies" in printed
    assert ("3 from update 6 on" in printed) == (learns is False)
    assert ("rate times 4 from update 6 on" in printed) == (learns is True)


@pytest.mark.parametrize("n_iter", [20, 25])
@pytest.mark.filterwarnings("ignore::jspgfn.CandidatesWarning")
def test_a_larger_rate_where_one_policy_learns(n_iter, monkeypatch):
    monkeypatch.setattr(_policies, "UPDATES_EACH", 4)
    monkeypatch.setattr(_policies, "still_learns", lambda metrics: None)
    usual = fit(None, D=21, n_iter=n_iter).history_["learning_rate"]
    monkeypatch.setattr(_policies, "still_learns", lambda metrics: True)
    est = fit(None, D=21, n_iter=n_iter)
    rate, n = est.history_["learning_rate"], int(_policies.BRANCH_AT * n_iter)
    np.testing.assert_array_equal(rate[:n], usual[:n])
    np.testing.assert_allclose(rate[n:], 4 * usual[n:], rtol=1e-12)
    given = fit(None, D=21, n_iter=n_iter, learning_rate=2.5e-3)
    np.testing.assert_array_equal(given.history_["learning_rate"], usual)
    one = fit(1, D=21, n_iter=n_iter)
    np.testing.assert_array_equal(one.history_["learning_rate"], usual)


@pytest.mark.parametrize(
    ("D", "n_iter", "settings", "rate"),
    [
        (21, 30, {}, 0.01),
        (21, 30, {"n_policies": 1}, 0.01),
        (21, 60, {"n_policies": 1}, 2.5e-3),
        (21, 30, {"n_policies": 2}, 2.5e-3),
        (21, 30, {"objective": "ml"}, 2.5e-3),
        (21, 30, {"learning_rate": 1e-3}, 1e-3),
        (20, 30, {}, 5e-3),
    ],
)
@pytest.mark.filterwarnings("ignore::jspgfn.CandidatesWarning")
def test_short_plans_have_a_larger_rate(D, n_iter, settings, rate, monkeypatch):
    monkeypatch.setattr(_policies, "UPDATES_EACH", 12)
    sim = jspgfn.simulate.linear_gaussian(n_variables=D, n_samples=40, random_state=2)
    given = {"learning_rate": None, **settings}
    est = jspgfn.JSPGFN("linear", n_iter=n_iter, **given, **QUIET).fit(sim.X)
    given["learning_rate"] = rate
    twin = jspgfn.JSPGFN("linear", n_iter=n_iter, **given, **QUIET).fit(sim.X)
    rates = est.history_["learning_rate"]
    np.testing.assert_allclose(rates, twin.history_["learning_rate"], rtol=1e-12)
    assert rates[0] == pytest.approx(rate / 50)  # 50 updates warm up


@pytest.mark.parametrize("n_policies", [None, 1])
@pytest.mark.parametrize(("step", "is_short"), [(0.1, False), (0.4, True)])
@pytest.mark.filterwarnings("ignore::jspgfn.CandidatesWarning")
def test_a_larger_rate_where_the_time_is_short(
    n_policies, step, is_short, monkeypatch, capsys
):
    """Three policies of 20 updates each need 86 in all."""
    monkeypatch.setattr(_policies, "UPDATES_EACH", 20)
    monkeypatch.setattr(_policies, "still_learns", lambda metrics: None)
    monkeypatch.setattr(_engine, "time", Clock(step))
    monkeypatch.setattr(_engine, "SECONDS_PER_CALL", 1e-6)  # single updates
    est = fit(n_policies, D=21, n_iter=None, max_time=60.0, verbose=True)
    words = capsys.readouterr().out
    rate = est.history_["learning_rate"]
    assert (len(rate) < 85) == is_short
    assert ("few updates fit into the time" in words) == is_short
    # the first 50 updates warm up; progress goes by time
    usual = 2.5e-3 * np.minimum(np.arange(1, 51) / 50, 1)
    factor = rate[:50] / usual[: len(rate)]
    raised = int(np.argmax(factor > 3)) if is_short else 0
    early = math.ceil(_engine.EARLY * len(rate))
    assert not is_short or 0 < raised <= 2 * early + 1
    assert (factor[:raised] <= 1 + 1e-9).all()


@pytest.mark.filterwarnings("ignore::jspgfn.CandidatesWarning")
def test_a_new_schedule_has_no_larger_rate(monkeypatch):
    monkeypatch.setattr(_policies, "UPDATES_EACH", 20)
    est = fit(None, D=21, n_iter=90, callback=lambda est, info: info["n_updates"] >= 3)
    est.resume(n_iter=30)
    assert est.history_["learning_rate"].max() <= 2.5e-3


@pytest.mark.filterwarnings("ignore::jspgfn.CandidatesWarning")
def test_a_warm_start_has_no_larger_rate(monkeypatch):
    monkeypatch.setattr(_policies, "UPDATES_EACH", 20)
    sim = jspgfn.simulate.linear_gaussian(n_variables=21, n_samples=40, random_state=2)
    est = jspgfn.JSPGFN("linear", n_iter=30, warm_start=True, **QUIET).fit(sim.X)
    first = est.history_["learning_rate"]
    later = est.fit(sim.X).history_["learning_rate"]
    np.testing.assert_allclose(first, 4 * later, rtol=1e-12)


@pytest.mark.filterwarnings("ignore::jspgfn.CandidatesWarning")
def test_the_larger_rate_survives_a_failure_just_after_it(monkeypatch):
    def fail(engine, n_updates, time_fraction, interrupt):
        raise OSError

    monkeypatch.setattr(_policies, "UPDATES_EACH", 4)
    monkeypatch.setattr(_policies, "still_learns", lambda metrics: True)
    whole = fit(None, D=21, n_iter=20)
    sim = jspgfn.simulate.linear_gaussian(
        n_variables=21, n_samples=40, edges_per_node=2, random_state=2
    )
    parts = jspgfn.JSPGFN("linear", n_iter=20, **QUIET)
    original = _engine.Engine.raise_rate

    def raise_then_fail(engine, factor):
        original(engine, factor)
        monkeypatch.setattr(_engine.Engine, "advance", fail)

    with monkeypatch.context() as patch:
        patch.setattr(_engine.Engine, "raise_rate", raise_then_fail)
        with pytest.raises(OSError):
            parts.fit(sim.X)
    monkeypatch.undo()
    parts.resume()
    for key, values in whole.history_.items():
        np.testing.assert_array_equal(parts.history_[key], values)


@pytest.mark.parametrize("n_before", [5, 6, 7])
@pytest.mark.filterwarnings("ignore::jspgfn.CandidatesWarning")
def test_the_larger_rate_survives_an_interruption(n_before, monkeypatch):
    monkeypatch.setattr(_policies, "UPDATES_EACH", 4)
    monkeypatch.setattr(_policies, "still_learns", lambda metrics: True)
    monkeypatch.setattr(_engine, "SECONDS_PER_CALLBACK", 0.0)

    def stop(est, info):
        return info["n_updates"] >= n_before

    settings = {"D": 21, "n_iter": 20}
    whole, parts = fit(None, **settings), fit(None, callback=stop, **settings)
    parts = pickle.loads(pickle.dumps(parts)).resume()
    for key, values in whole.history_.items():
        np.testing.assert_array_equal(parts.history_[key], values)


def test_a_branching_that_fails_leaves_the_one_policy(monkeypatch):
    est = fit(1)
    alone = est._engine.trainer

    def fail(*args):
        raise MemoryError

    monkeypatch.setattr(Policies, "branch_off", fail)
    with pytest.raises(MemoryError):
        est._engine.branch(2, 30, 0.0)
    assert est._engine.trainer is alone
    assert est.n_policies_ == 1


def test_a_failure_just_after_branching_can_be_resumed(monkeypatch):
    def fail(watch, words):
        raise OSError

    whole = fit(3)
    monkeypatch.setattr(_engine.Watch, "say", fail)
    sim = jspgfn.simulate.linear_gaussian(
        n_variables=4, n_samples=40, edges_per_node=2, random_state=2
    )
    est = jspgfn.JSPGFN("linear", n_policies=3, n_iter=31, **QUIET)
    with pytest.raises(OSError):
        est.fit(sim.X)
    assert est.n_policies_ == 3
    parts = pickle.loads(pickle.dumps(est)).resume()
    np.testing.assert_array_equal(parts.history_["loss"], whole.history_["loss"])


def test_an_interrupted_fit_branches_off_when_it_goes_on(monkeypatch):
    monkeypatch.setattr(_engine, "SECONDS_PER_CALLBACK", 0.0)

    def stop(est, info):
        return info["n_updates"] >= 5

    whole, parts = fit(3), fit(3, callback=stop)
    assert parts.n_policies_ == 1
    parts.resume()
    assert parts.n_policies_ == 3
    for key, values in whole.history_.items():
        np.testing.assert_array_equal(parts.history_[key], values)


def test_a_new_schedule_keeps_the_number(monkeypatch):
    monkeypatch.setattr(_engine, "SECONDS_PER_CALLBACK", 0.0)
    assert fit(1).resume(n_iter=30).n_policies_ == 1
    again = fit(3).resume(n_iter=30)
    assert again.n_policies_ == 3
    assert again.history_["progress"][31:34].max() == 0
    stopped = fit(3, callback=lambda est, info: True)
    assert (stopped.n_policies_, stopped.n_iter_) == (1, 1)
    assert stopped.resume(n_iter=30).n_policies_ == 3


@pytest.mark.parametrize("n", [0, -1, 65, 2.5, "3", None])
def test_a_file_with_a_wrong_number_to_come_is_refused(n, tmp_path):
    est = fit(1, n_iter=2)
    est._plan.branches_to = n
    est.save(tmp_path / "file")
    with pytest.raises(ValueError, match="schedule"):
        jspgfn.load(tmp_path / "file")


@pytest.mark.parametrize("starts", [None, [0.0], [0.0, 2.0, 0.0], [0.0, "0", 0.0]])
def test_damaged_starts_are_refused(three, starts):
    trainer = three._engine.trainer
    state = trainer.get_state()
    with pytest.raises(ValueError, match="'starts'"):
        trainer.set_state({**state, "starts": starts})
    del state["starts"]  # as in files of before
    trainer.set_state(state)


def test_one_policy_when_time_is_over_at_the_start():
    with pytest.warns(jspgfn.TimeBudgetWarning, match="but for 1 updates"):
        est = fit(3, n_iter=None, max_time=1e-9)
    assert (est.n_policies_, est.n_iter_) == (1, 1)


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


# --- several at a time -----------------------------------------------------------------


class Slow:
    """A trainer that writes down its updates; fails at one of them.

    At a `meeting` its second update waits for those of the others who go there.
    """

    def __init__(self, name, log, fails_at=-1, meeting=None):
        self.name, self.log, self.fails_at = name, log, fails_at
        self.meeting = meeting
        self.iteration = 0
        self.at_work = threading.Lock()

    def step(self, n_updates, time_fraction):
        assert n_updates == 1
        assert self.at_work.acquire(blocking=False), "two workers at one policy"
        time.sleep(0.001 * (1 + self.name))
        if self.iteration == self.fails_at:
            raise jspgfn.NumericalError(f"update {self.iteration} failed")
        if self.iteration == 1 and self.meeting:
            self.meeting.wait()
        row = np.array([[float(self.name), float(self.iteration)]])
        self.iteration += 1
        self.log.append((self.name, threading.current_thread().name))
        self.at_work.release()
        return row


@pytest.mark.parametrize("n_at_once", [1, 2, 3])
def test_updates_come_in_their_order_whoever_makes_them(n_at_once):
    log, meeting = [], threading.Barrier(n_at_once, timeout=60)
    trainers = [
        Slow(k, log, meeting=meeting if k < n_at_once else None) for k in (0, 1, 2)
    ]
    policies = Policies(trainers, n_at_once)
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
    assert done < 2000  # of 3,000: the others would have 1,000 each
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
    assert done < 3000
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
