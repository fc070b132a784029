"""A short training against the exact posterior over all 29,281 DAGs of 5 variables."""

import numpy as np
import pytest

from checks import as_bytes, make_scores, make_trainer, simulate
from jspgfn import _core
from reference import cases, local_scores
from reference.exact_posterior import enumerated

pytestmark = pytest.mark.statistical

CASES = ["d05_linear_er1_n100", "d05_bge_er2_n60"]


@pytest.fixture(scope="module", params=CASES)
def trained(request):
    case = cases.load(request.param)
    settings = {
        "model": case.model,
        "graph_prior": case.graph_prior,
        "fields": case.fields,
    }
    graphs, exact, _ = enumerated(local_scores.tables(case.x, **settings))
    trainer = make_trainer(make_scores(case.x, **settings), n_iter=600)
    before = trainer.log_prob(as_bytes(graphs), 1)
    metrics = trainer.step(600)
    after = trainer.log_prob(as_bytes(graphs), 1)
    return graphs, exact, before, after, metrics


def total_variation(log_p, log_q):
    return np.abs(np.exp(log_p) - np.exp(log_q)).sum() / 2


def test_probabilities_sum_to_one(trained):
    _, _, before, after, _ = trained
    assert abs(np.exp(before).sum() - 1) < 1e-6
    assert abs(np.exp(after).sum() - 1) < 1e-6


def test_distance_to_the_posterior(trained):
    _, exact, before, after, _ = trained
    assert total_variation(exact, after) < 0.05
    assert total_variation(exact, after) < total_variation(exact, before)


def test_edge_probabilities(trained):
    graphs, exact, _, after, _ = trained
    difference = np.tensordot(np.exp(after) - np.exp(exact), graphs, 1)
    assert np.abs(difference).max() < 0.03


def test_metrics(trained):
    metrics = dict(zip(_core.METRICS, trained[-1].T, strict=True))
    assert set(metrics["phase"]) == {0, 1}
    assert np.isnan(metrics["gap"][metrics["phase"] == 0]).all()
    for name, values in metrics.items():
        if name not in ("gap", "own_gap_median", "own_ess", "acceptance"):
            assert np.isfinite(values).all(), name
    balance = metrics["phase"] == 1
    assert (metrics["acceptance"][balance] <= 1).all()
    assert metrics["own_ess"][-50:].mean() > 0.9
    assert metrics["progress"][-1] == pytest.approx(1, abs=0.01)


def test_lost_training_goes_back_at_half_the_rate():
    """A state that claims to have been far better is brought back, once per stretch."""
    scores = make_scores(simulate(5, 60, seed=3))
    trainer = make_trainer(
        scores, n_iter=5000, learning_rate=20, batch_size=8, likelihood_fraction=0
    )
    trainer.step(10)
    state = trainer.get_state()
    state["guard"] = np.array([1e-6, 0.0, 0.0, 1.0, 0.0])  # best loss, ..., rate, count
    state["good"] = state["average"].copy()
    trainer.set_state(state)
    column = _core.METRICS.index("learning_rate")
    rates = trainer.step(400)[:, column]
    after = trainer.get_state()["guard"]
    assert after[4] >= 1
    assert after[3] == 0.5 ** after[4]
    assert rates[-1] < 0.6 * rates[150]
