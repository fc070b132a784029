"""Whether and when other policies branch off the first, or that one learns faster."""

import math
import pickle

import numpy as np
import pytest

import jspgfn
from jspgfn import _core, _engine, _policies, _training
from jspgfn._policies import (
    BRANCH_AT,
    Policies,
    has_uneven_tails,
    most_policies,
    still_learns,
    way_on,
)
from mixtures import QUIET, fit, members_of


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


def test_one_policy_when_time_is_over_at_the_start():
    with pytest.warns(jspgfn.TimeBudgetWarning, match="but for 1 updates"):
        est = fit(3, n_iter=None, max_time=1e-9)
    assert (est.n_policies_, est.n_iter_) == (1, 1)
