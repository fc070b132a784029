"""Formulas behind `diagnose`, its report, refined draws and warm starts."""

import pickle
import warnings

import numpy as np
import pytest
from scipy import stats

import jspgfn
from jspgfn import _diagnose, _refine, _weights


@pytest.fixture(scope="module")
def sim():
    return jspgfn.simulate.linear_gaussian(n_variables=5, n_samples=60, random_state=0)


@pytest.fixture(scope="module")
def fitted(sim):
    return jspgfn.JSPGFN(n_iter=200, random_state=0).fit(sim.X)


# --- formulas ------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [-0.5, 0.0, 0.3, 0.9, 1.5])
@pytest.mark.parametrize("n", [100, 3000])
def test_pareto_k_is_that_of_arviz(shape, n):
    arviz = pytest.importorskip("arviz")
    x = np.log(stats.genpareto.rvs(shape, size=n, random_state=1) + 1e-3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = float(arviz.psislw(x.copy())[1])
    assert abs(_weights.pareto_k(x) - expected) < 1e-6


def test_pareto_k_of_odd_weights():
    assert np.isnan(_weights.pareto_k(np.zeros(10)))
    assert _weights.pareto_k(np.zeros(1000)) == -np.inf
    one_large = np.zeros(1000)
    one_large[3] = 50.0
    assert _weights.pareto_k(one_large) == np.inf


def test_bridge_finds_the_constant_from_either_side():
    """p = N(0, 1) times e^3, q = N(0.5, 1.5)."""
    rng = np.random.default_rng(0)
    q = stats.norm(0.5, 1.5)
    own, reference = q.rvs(20_000, random_state=rng), rng.normal(size=5000)
    log_weight = [stats.norm.logpdf(x) + 3 - q.logpdf(x) for x in (own, reference)]
    assert abs(_weights.bridge(*log_weight) - 3) < 0.02
    assert abs(_weights.bridge(log_weight[0], log_weight[1][:100]) - 3) < 0.05
    t = np.linspace(-9, 9, 9001)
    exact = 1 / ((stats.norm.pdf(t) ** 2 / q.pdf(t)).sum() * (t[1] - t[0]))
    assert abs(_weights.reverse_size(log_weight[0]) - exact) < 0.02
    assert abs(_weights.forward_size(log_weight[1]) - exact) < 0.03


def test_measures_of_endless_weights():
    infinite = np.array([0.0, np.inf])
    assert 0 < _weights.forward_size(infinite) < 1e-300
    assert _weights.bridge(np.zeros(5), np.full(3, np.inf)) == 0


# --- the report ----------------------------------------------------------------------


def test_report(fitted):
    report = fitted.diagnose()
    text = str(report)
    assert report.verdict in text.splitlines()[0]
    assert repr(report).startswith("Diagnosis(")
    assert report.verdict in report._repr_html_()
    assert report._repr_html_().startswith("<table>")
    assert report.reference == "exact"
    assert 0 < report.ess_reverse <= 1
    assert 0 < report.ess_forward <= 1
    assert report.n_draws == 10_000
    assert text == str(fitted.diagnose())
    assert text != str(fitted.diagnose(random_state=3))
    assert report.edges_reference.shape == (5, 5)


def test_report_in_time(fitted):
    report = fitted.diagnose(max_time=1.0)
    assert report.n_draws <= 10_000
    chains = fitted.diagnose(max_time=0.3, reference="chains", n_draws=500)
    assert chains.reference == "chains"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"max_time": 0}, "max_time"),
        ({"n_draws": 5}, "n_draws must be an integer of at least 100"),
        ({"reference": "x"}, "reference must be one of"),
    ],
)
def test_bad_arguments(fitted, arguments, message):
    with pytest.raises(ValueError, match=message):
        fitted.diagnose(**arguments)


def test_report_of_the_published_method(sim):
    settings = {**jspgfn.PAPER, "n_iter": 3, "batch_size": 8, "n_theta_samples": 2}
    est = jspgfn.JSPGFN(**settings, random_state=0).fit(sim.X[:, :3])
    report = est.diagnose(n_draws=200)
    assert report.verdict != _diagnose.TRUST
    assert report.kl_parameters > 0
    assert "parameters" in str(report)
    with pytest.raises(ValueError, match="only draws of the generator 'edges'"):
        est.sample(5, refine=True)


def test_models_without_closed_form_are_refused(sim):
    settings = {**jspgfn.PAPER, "n_iter": 2, "batch_size": 8, "n_theta_samples": 2}
    settings.update(model="mlp", head="mlp", random_state=0)
    est = jspgfn.JSPGFN(**settings).fit(sim.X[:, :3])
    with pytest.raises(ValueError, match=r"edge probabilities with those of JSPGFN"):
        est.diagnose(n_draws=100)
    with pytest.raises(ValueError, match="log_reward needs evidences of graphs"):
        est.log_reward(np.zeros((3, 3)))


# --- refined draws -------------------------------------------------------------------


def test_refined_draws(fitted):
    post = fitted.sample(300, random_state=1, refine=True)
    np.testing.assert_array_equal(post.weights, 1 / 300)
    np.testing.assert_array_equal(post.log_prob, fitted.log_prob(post.graphs))
    np.testing.assert_allclose(post.log_reward, fitted.log_reward(post.graphs))
    refinement = fitted.refinement_
    assert refinement.distance <= 0.01
    assert list(refinement.acceptance) == [4, 5]
    given = fitted.sample(300, random_state=1, refine=refinement.n_sweeps)
    np.testing.assert_array_equal(given.graphs, post.graphs)
    fewer = fitted.sample(200, random_state=1, refine=True)
    np.testing.assert_array_equal(fewer.graphs, post.graphs[:200])
    exact = jspgfn.ExactPosterior(random_state=0)
    exact.fit(fitted._tables.x)
    expected = exact.edge_probabilities()
    many = fitted.sample(4000, refine=True).edge_probabilities()
    assert np.abs(many - expected).max() < 4 * 0.5 / 4000**0.5


def test_stream_goes_on_with_refined_draws(sim):
    est = jspgfn.JSPGFN(n_iter=50, random_state=0).fit(sim.X)
    first, second = (est.sample(50, refine=2).graphs for _ in range(2))
    assert (first != second).any()
    again = jspgfn.JSPGFN(n_iter=50, random_state=0).fit(sim.X)
    np.testing.assert_array_equal(again.sample(100, refine=2).graphs[50:], second)


def test_one_variable():
    est = jspgfn.JSPGFN(n_iter=2, random_state=0).fit(np.arange(9.0)[:, None])
    assert est.sample(3, refine=True).graphs.sum() == 0
    assert est.diagnose(n_draws=100).verdict == _diagnose.TRUST


def test_a_hopeless_sampler_is_announced(fitted, monkeypatch):
    hopeless = _refine.Refinement(100, 0.4, 0.6, {5: 0.0})
    monkeypatch.setattr("jspgfn._sampler.plan_sweeps", lambda *_: hopeless)
    est = pickle.loads(pickle.dumps(fitted))
    est.__dict__.pop("_refinement_plan", None)
    with pytest.warns(jspgfn.NotMixedWarning, match="60% met within 100 sweeps"):
        est.sample(5, refine=True)


def test_distance_bound():
    meeting = np.array([0.0, 3.0, 12.0, 25.0])
    assert _refine.distance(meeting, 0, 10) == 1.0
    assert _refine.distance(meeting, 12, 10) == 0.5
    assert _refine.distance(meeting, 25, 10) == 0.0


# --- warm start ----------------------------------------------------------------------


def test_warm_start_goes_on_from_the_last_network(sim):
    est = jspgfn.JSPGFN(n_iter=800, random_state=0, warm_start=True).fit(sim.X[:50])
    assert not hasattr(est, "warm_start_")
    before = est.diagnose().kl_reverse
    est.set_params(n_iter=1).fit(sim.X[:50])
    assert est.n_iter_ == 1
    warm = est.diagnose().kl_reverse
    cold = jspgfn.JSPGFN(n_iter=1, random_state=0).fit(sim.X[:50])
    assert warm < before + 0.1
    assert warm < 0.5 * cold.diagnose().kl_reverse
    assert set(est.warm_start_) == {
        "updates_until_good",
        "updates_before",
        "first_gap",
    }
    # pairs keep what belongs to them although another order of slots comes with new rows
    names = est._engine.trainer.parameters()
    assert all(np.isfinite(block).all() for block in names.values())


def test_warm_start_survives_pickling_and_new_settings(sim):
    est = jspgfn.JSPGFN(n_iter=100, random_state=0, warm_start=True).fit(sim.X)
    again = pickle.loads(pickle.dumps(est))
    for fitted in (est, again):
        fitted.set_params(graph_prior="uniform", max_parents=2).fit(sim.X)
        assert fitted.history_["phase"].min() == 1  # no maximum likelihood
    graphs = est.sample(20, random_state=0).graphs
    np.testing.assert_array_equal(graphs, again.sample(20, random_state=0).graphs)
    assert graphs.sum(axis=1).max() <= 2


def test_warm_start_of_no_use_is_announced(sim):
    est = jspgfn.JSPGFN(n_iter=20, random_state=0, warm_start=True).fit(sim.X)
    with pytest.warns(jspgfn.WarmStartWarning, match="5 variables, this one has 4"):
        est.fit(sim.X[:, :4])
    assert not hasattr(est, "warm_start_")
    afresh = jspgfn.JSPGFN(n_iter=20, random_state=0).fit(sim.X[:, :4])
    np.testing.assert_array_equal(est.history_["loss"], afresh.history_["loss"])
    with pytest.raises(TypeError, match="warm_start must be True or False"):
        est.set_params(warm_start=1).fit(sim.X)


def test_few_draws_and_chains_that_disagree():
    from jspgfn._diagnose import FEW_DRAWS, judge

    figures = {
        "total_variation": 0.0,
        "ess_reverse": 0.9,
        "ess_forward": 0.9,
        "pareto_k": 0.1,
        "edge_error": 0.0,
        "edge_error_weighted": 0.0,
        "kl_parameters": 0.0,
        "missing": 0.0,
        "r_hat": 1.5,
    }
    excess = {"edge_error": -np.inf, "edge_error_weighted": -np.inf}
    verdict, reasons = judge(figures, excess, 100, 100, False, "")
    assert verdict == FEW_DRAWS
    assert "allow more n_draws" in reasons[-1]
    verdict, reasons = judge(figures, excess, 100, 5000, False, "")
    assert verdict == FEW_DRAWS
    assert "allow more max_time" in reasons[-1]
    agreed = {**figures, "r_hat": 1.0}
    assert judge(agreed, excess, 100, 100, False, "")[0] != FEW_DRAWS


def test_chains_that_never_arrived_prove_nothing():
    """Large problems: states far below the draws, whose weights are uneven."""
    from jspgfn._diagnose import TRUST, judge

    figures = {
        "total_variation": 0.0,
        "ess_reverse": 0.002,
        "ess_forward": 0.5,
        "pareto_k": 5.0,
        "edge_error": 0.9,
        "edge_error_weighted": 0.9,
        "kl_parameters": 0.0,
        "missing": 0.0,
        "r_hat": np.inf,
    }
    excess = {"edge_error": -np.inf, "edge_error_weighted": -np.inf}
    verdict, reasons = judge(figures, excess, 2000, 2000, False, "")
    assert verdict.startswith("do not trust")
    assert "worth 4 of 2000" in reasons[-1]
    good = {**figures, "ess_reverse": 0.9, "edge_error": 0.0, "pareto_k": 0.1}
    assert judge(good, excess, 2000, 2000, False, "")[0] != verdict
    assert (
        judge({**good, "edge_error_weighted": 0.0}, excess, 2000, 2000, False, "")[0]
        == TRUST
    )
