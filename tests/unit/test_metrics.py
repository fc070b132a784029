"""Metrics against values worked out by hand or by another library."""

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.stats import entropy

import jspgfn
from jspgfn import metrics
from reference import dags


@pytest.fixture(scope="module")
def sim():
    return jspgfn.simulate.linear_gaussian(n_variables=4, n_samples=60, random_state=2)


@pytest.fixture(scope="module")
def exact(sim):
    return jspgfn.ExactPosterior(random_state=0).fit(sim.X)


@pytest.fixture(scope="module")
def sampled(sim):
    return jspgfn.JSPGFN(n_iter=60, random_state=0).fit(sim.X).sample(400)


def hamming(one, two):
    """Pair by pair."""
    n_variables = len(one)
    return sum(
        (one[i, j], one[j, i]) != (two[i, j], two[j, i])
        for i in range(n_variables)
        for j in range(i)
    )


def test_structural_hamming_distance(rng):
    graphs = [dags.random_dag(5, 0.5, rng) for _ in range(20)]
    for graph in graphs:
        assert metrics.shd(graph, graphs[0]) == hamming(graph, graphs[0])
    reverse = graphs[0].T
    assert metrics.shd(reverse, graphs[0]) == graphs[0].sum()  # each counts once
    distance, n_edges = metrics.expected_shd(graphs, graphs[0])
    assert distance == pytest.approx(np.mean([hamming(g, graphs[0]) for g in graphs]))
    assert n_edges == pytest.approx(np.mean([g.sum() for g in graphs]))


def test_weights_count(sim, sampled):
    all_distances = [hamming(graph, sim.graph.astype(bool)) for graph in sampled.graphs]
    found = metrics.expected_shd(sampled, sim.graph, weighted=True)
    assert found.shd == pytest.approx(sampled.weights @ all_distances)
    p = sampled.edge_probabilities(weighted=True)
    for metric in (metrics.auroc, metrics.auprc, metrics.brier, metrics.ece):
        assert metric(sampled, sim.graph, weighted=True) == metric(p, sim.graph)


def test_ranking():
    """Pairs (true, false) in the right order: 3 of 4, with one tie as a half."""
    p = np.array([[0, 0.9, 0.2], [0.5, 0, 0.1], [0.0, 0.5, 0]])
    truth = np.array([[0, 1, 0], [1, 0, 0], [0, 0, 0]])
    # true: .9 .5, false: .2 .1 .0 .5 -> 4 + 3.5 of 8
    assert metrics.auroc(p, truth) == pytest.approx(7.5 / 8)
    # recall 1/2 at precision 1, then both at .5: precision 2/3
    assert metrics.auprc(p, truth) == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    assert np.isnan(metrics.auroc(p, 0 * truth))
    assert np.isnan(metrics.auprc(p, 0 * truth))


def test_calibration():
    p = np.array([[0, 0.31, 0.05], [1.0, 0, 0.39], [0.01, 0.0, 0]])
    truth = np.array([[0, 0, 0], [1, 0, 1], [0, 0, 0]])
    squares = [0.31**2, 0.05**2, 0, 0.61**2, 0.01**2, 0]
    assert metrics.brier(p, truth) == pytest.approx(np.mean(squares))
    # bins: {.31, .39} 1 of 2 true, {.05, .01, 0} none, {1} one
    expected = (2 * abs(0.35 - 0.5) + 3 * 0.02 + 0) / 6
    assert metrics.ece(p, truth) == pytest.approx(expected)
    assert metrics.ece(p, truth, n_bins=1) == pytest.approx(abs(p.sum() - 2) / 6)


def test_distances_of_distributions(rng):
    p, q = rng.dirichlet(np.ones(50), size=2)
    assert metrics.jensen_shannon(p, q) == pytest.approx(jensenshannon(p, q) ** 2)
    assert metrics.kullback_leibler(p, q) == pytest.approx(entropy(p, q))
    assert metrics.total_variation(p, q) == pytest.approx(np.maximum(p - q, 0).sum())
    for distance in (
        metrics.jensen_shannon,
        metrics.kullback_leibler,
        metrics.total_variation,
    ):
        assert distance(p, p) == pytest.approx(0, abs=1e-12)
        with pytest.raises(ValueError, match="must hold probabilities that sum to 1"):
            distance(p, 2 * q)
        with pytest.raises(ValueError, match="vectors of one length"):
            distance(p, q[1:])
    assert metrics.kullback_leibler([1, 0], [0, 1]) == np.inf


def test_all_graphs_of_four_variables(exact, sampled):
    graphs = dags.enumerate_dags(4)
    p = np.exp(exact.log_prob(graphs))
    draws = exact.sample(20_000)
    q = metrics.graph_probabilities(draws, graphs)
    assert q.sum() == pytest.approx(1)
    assert (
        metrics.total_variation(p, q)
        < 0.5 * np.sqrt(2 / np.pi / 20_000) * np.sqrt(p).sum() * 1.2
    )
    weighted = metrics.graph_probabilities(sampled, graphs, weighted=True)
    hit = (sampled.graphs == graphs[200]).all(axis=(1, 2))
    assert weighted[200] == pytest.approx(sampled.weights[hit].sum())
    with pytest.raises(ValueError, match="graphs must differ"):
        metrics.graph_probabilities(draws, graphs[[0, 1, 0]])


def test_features_against_the_exact_posterior(exact):
    draws = exact.sample(10_000)
    for metric, method in (
        (metrics.edge_error, "edge_probabilities"),
        (metrics.path_error, "path_probabilities"),
        (metrics.markov_blanket_error, "markov_blanket_probabilities"),
    ):
        rmse, largest, pearson = metric(draws, exact)
        assert rmse <= largest < 0.03
        assert pearson > 0.99
        matrix = getattr(draws, method)()
        assert metric(draws.graphs, matrix).largest == pytest.approx(0, abs=1e-12)
        moved = np.clip(matrix + 0.25 * (matrix < 0.5), 0, 1)
        assert metric(matrix, moved).largest == pytest.approx(0.25)


def test_held_out(sim, exact, sampled):
    nll = metrics.held_out_nll(sampled, sim.X[:7])
    assert nll == pytest.approx(-sampled.predict_log_density(sim.X[:7]).sum())
    by_rows = exact.predict_log_density(sim.X[:7])
    assert metrics.held_out_nll(exact, sim.X[:7]) == pytest.approx(-by_rows.sum())


def test_what_is_refused(sim, sampled):
    with pytest.raises(ValueError, match="truth must be a matrix of 0 and 1 of shape"):
        metrics.brier(sampled, sim.coef)
    with pytest.raises(ValueError, match="between 0 and 1"):
        metrics.brier(sim.coef * 5, sim.graph)
    with pytest.raises(ValueError, match=r"shape \(n, D, D\)"):
        metrics.expected_shd(sim.graph, sim.graph)
    with pytest.raises(TypeError, match=r"truth must be one graph.* got Posterior\("):
        metrics.brier(sim.graph, sampled)
    with pytest.raises(TypeError, match=r"p must be numbers, got Posterior\("):
        metrics.total_variation(sampled, sampled)
    with pytest.raises(TypeError, match=r"expected a Posterior, .* got 'a'"):
        metrics.edge_error(sampled, "a")
    with pytest.raises(TypeError, match="weighted must be True or False, got 'no'"):
        metrics.auroc(sampled, sim.graph, weighted="no")


def test_plain_means_are_sums_over_n(sampled, sim):
    n = len(sampled)
    result = metrics.expected_shd(sampled, sim.graph)
    assert result.n_edges == sampled.graphs.sum() / n
    assert result.shd == sum(hamming(g, sim.graph) for g in sampled.graphs) / n
    one = sampled.graphs[:1]
    count = (sampled.graphs == one).all(axis=(1, 2)).sum()
    assert metrics.graph_probabilities(sampled, one)[0] == count / n
