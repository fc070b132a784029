"""Edge probabilities of a sampler: means of conditionals over draws."""

import numpy as np
import pytest

import jspgfn
from jspgfn import _conditionals
from jspgfn._conditionals import average_edges


@pytest.fixture(scope="module")
def data():
    return jspgfn.simulate.linear_gaussian(
        n_variables=5, n_samples=100, edges_per_node=1.5, random_state=3
    ).X


@pytest.fixture(scope="module")
def fitted(data):
    return jspgfn.JSPGFN("bge", n_iter=600, n_jobs=1, random_state=0).fit(data)


@pytest.fixture(scope="module")
def exact(data):
    return jspgfn.ExactPosterior("bge", random_state=0).fit(data)


def error(edges, exact):
    return np.sqrt(np.mean((edges - exact.edge_probabilities()) ** 2))


def test_less_noise_than_counted_edges(fitted, exact):
    draws = [exact.sample(300, random_state=s) for s in range(20)]
    counted = np.mean([error(d.edge_probabilities(), exact) for d in draws])
    smooth = [fitted.edge_probabilities(draws=d) for d in draws]
    assert np.mean([error(edges, exact) for edges in smooth]) < 0.7 * counted
    # and without bias: 6,000 exact draws
    assert error(np.mean(smooth, axis=0), exact) < 0.006


def test_fresh_draws_are_right(fitted, exact):
    assert error(fitted.edge_probabilities(5000, weighted=True), exact) < 0.006
    refined = fitted.sample(2000, random_state=1, refine=True)
    assert error(fitted.edge_probabilities(draws=refined), exact) < 0.01


def test_weights_and_factors_of_draws_count(fitted):
    draws = fitted.sample(400, random_state=2)
    factor = np.where(np.arange(400) < 40, 0.0, -np.inf)
    few = fitted.edge_probabilities(weighted=True, draws=draws.reweight(factor))
    first = fitted.edge_probabilities(weighted=True, draws=draws[:40])
    np.testing.assert_allclose(few, first, atol=1e-12)
    # all weight in a later piece
    pieces = [draws.reweight(factor[::-1])[:300], draws[360:]]
    scores = fitted._engine.tables.scores
    late = average_edges(pieces, True, scores)
    alone = average_edges(pieces[1:], True, scores)
    np.testing.assert_allclose(late, alone, atol=1e-12)
    with pytest.raises(ValueError, match="must have a weight above 0"):
        fitted.edge_probabilities(weighted=True, draws=draws.reweight(factor)[40:])


def test_pieces_do_not_matter(fitted, monkeypatch):
    draws = fitted.sample(100, random_state=3)
    at_once = fitted.edge_probabilities(weighted=True, draws=draws)
    monkeypatch.setattr(_conditionals, "NODES_AT_ONCE", 7 * 5)
    assert len(list(_conditionals.pieces([draws], True))) == 15
    pieces = fitted.edge_probabilities(weighted=True, draws=draws)
    np.testing.assert_allclose(pieces, at_once, atol=1e-12)


def test_many_rows_with_known_noise():
    """Scores span a million nats, which float logarithms round by 0.03."""
    X = jspgfn.simulate.linear_gaussian(
        n_variables=5, n_samples=10_000, edges_per_node=1.5, random_state=4
    ).X
    stats = jspgfn.SufficientStatistics.from_batches(X for _ in range(100))
    exact = jspgfn.ExactPosterior("linear", random_state=0).fit(stats)
    est = jspgfn.JSPGFN("linear", n_iter=2, n_jobs=1, random_state=0).fit(stats)
    draws = exact.sample(20_000)
    assert error(est.edge_probabilities(draws=draws), exact) < 0.001


def test_required_and_forbidden_edges_are_certain(data):
    constraints = jspgfn.Constraints(required=[("x0", "x1")], forbidden=[("x2", "x3")])
    est = jspgfn.JSPGFN("bge", constraints=constraints, n_iter=50, n_jobs=1).fit(data)
    edges = est.edge_probabilities(200)
    assert edges[0, 1] == pytest.approx(1, abs=1e-8)
    assert edges[2, 3] == edges[1, 0] == 0
    assert ((edges >= 0) & (edges <= 1)).all()


def test_other_draws_are_refused(fitted, data):
    with pytest.raises(TypeError, match="draws must be a Posterior, got 3"):
        fitted.edge_probabilities(draws=3)
    other = jspgfn.ExactPosterior("bge").fit(data[:, :4]).sample(5)
    with pytest.raises(ValueError, match="of the variables of this estimator"):
        fitted.edge_probabilities(draws=other)
    narrow = jspgfn.JSPGFN("bge", max_parents=1, n_iter=50, n_jobs=1).fit(data)
    with pytest.raises(ValueError, match="a graph that this estimator excludes"):
        narrow.edge_probabilities(draws=fitted.sample(200, random_state=0))


def test_the_core_refuses_cycles(fitted):
    graph = np.zeros((1, 5, 5), np.uint8)
    graph[0, 0, 1] = graph[0, 1, 0] = 1
    scores = fitted._engine.tables.scores
    with pytest.raises(ValueError, match="row 0 has a cycle or is excluded"):
        scores.edge_conditionals(graph, np.ones(1))
    with pytest.raises(ValueError, match="one entry per graph"):
        scores.edge_conditionals(graph * 0, np.ones(2))


def test_without_tables_edges_are_counted(data):
    quick = {**jspgfn.PAPER_QUICK, "model": "mlp", "head": "mlp", "n_iter": 1}
    quick |= {"gnn_options": {}, "batch_size": 4, "n_theta_samples": 2, "n_jobs": 1}
    est = jspgfn.JSPGFN(**quick).fit(data)
    draws = est.sample(50, random_state=0)
    np.testing.assert_allclose(
        est.edge_probabilities(draws=draws), draws.edge_probabilities(), atol=1e-12
    )
