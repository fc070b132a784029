"""Paths, blankets and equivalence classes of many graphs, against slow twins."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import jspgfn
from jspgfn._features import blankets_of, compelled_of, distinct_graphs, paths_of
from reference import dags


def class_key(graph):
    """Adjacencies and colliders without an edge between their ends (Verma, Pearl)."""
    n_variables = len(graph)
    adjacent = graph | graph.T
    colliders = frozenset(
        (min(i, j), k, max(i, j))
        for k in range(n_variables)
        for i in np.flatnonzero(graph[:, k]).tolist()
        for j in np.flatnonzero(graph[:, k]).tolist()
        if i != j and not adjacent[i, j]
    )
    return adjacent.tobytes(), colliders


@pytest.mark.parametrize(("n_variables", "n_classes"), [(2, 2), (3, 11), (4, 185)])
def test_compelled_edges_against_whole_classes(n_variables, n_classes):
    graphs = dags.enumerate_dags(n_variables)
    members = {}
    for number, graph in enumerate(graphs):
        members.setdefault(class_key(graph), []).append(number)
    assert len(members) == n_classes
    found = compelled_of(graphs)
    for numbers in members.values():
        in_all = graphs[numbers].all(axis=0)
        for number in numbers:
            np.testing.assert_array_equal(found[number], in_all)


def test_third_rule_of_meek():
    """a - b, b -> d, b - a - c, c -> d: only the third rule directs a -> d."""
    graph = np.zeros((4, 4), bool)
    graph[0, [1, 2, 3]] = graph[1, 3] = graph[2, 3] = True
    expected = np.zeros((4, 4), bool)
    expected[[0, 1, 2], 3] = True
    np.testing.assert_array_equal(compelled_of(graph[None])[0], expected)


def reverse_covered_edge(graph, rng):
    """An equivalent graph: i -> j with the parents of j = i and the parents of i."""
    edges = np.argwhere(graph)
    covered = [
        (i, j)
        for i, j in edges
        if np.array_equal(np.flatnonzero(graph[:, i] | (np.arange(len(graph)) == i)),
                          np.flatnonzero(graph[:, j]))
    ]  # fmt: skip
    if covered:
        i, j = covered[rng.integers(len(covered))]
        graph = graph.copy()
        graph[i, j], graph[j, i] = False, True
    return graph


@given(seed=st.integers(0, 2**32 - 1), n_variables=st.integers(1, 12))
@settings(max_examples=60, deadline=None)
def test_compelled_edges_are_those_of_equivalent_graphs(seed, n_variables):
    """Reversing covered edges stays in the class (Chickering)."""
    rng = np.random.default_rng(seed)
    graph = dags.random_dag(n_variables, rng.random(), rng)
    compelled = compelled_of(graph[None])[0]
    assert not (compelled & ~graph).any()
    for _ in range(20):
        graph = reverse_covered_edge(graph, rng)
        np.testing.assert_array_equal(compelled_of(graph[None])[0], compelled)


@given(seed=st.integers(0, 2**32 - 1), n_variables=st.integers(1, 9))
@settings(max_examples=60, deadline=None)
def test_paths_and_blankets_against_loops(seed, n_variables):
    rng = np.random.default_rng(seed)
    graphs = np.stack([dags.random_dag(n_variables, 0.3, rng) for _ in range(5)])
    for graph, paths, blanket in zip(
        graphs, paths_of(graphs), blankets_of(graphs), strict=True
    ):
        np.testing.assert_array_equal(paths, dags.closure(graph))
        for i in range(n_variables):
            children = np.flatnonzero(graph[i])
            expected = set(np.flatnonzero(graph[:, i])) | set(children)
            for child in children:
                expected |= set(np.flatnonzero(graph[:, child]))
            assert set(np.flatnonzero(blanket[i])) == expected - {i}


def test_distinct_graphs(rng):
    graphs = dags.enumerate_dags(3)[rng.integers(25, size=200)]
    first, which = distinct_graphs(graphs)
    assert len(first) == len({graph.tobytes() for graph in graphs})
    np.testing.assert_array_equal(graphs[first][which], graphs)
    first, which = distinct_graphs(np.zeros((3, 1, 1), bool))
    assert len(first) == 1
    np.testing.assert_array_equal(which, 0)


@pytest.mark.parametrize("weighted", [False, True])
def test_probabilities_of_a_posterior(posterior, weighted):
    weights = posterior.weights if weighted else np.full(300, 1 / 300)
    for feature, method in (
        (paths_of, posterior.path_probabilities),
        (blankets_of, posterior.markov_blanket_probabilities),
    ):
        present = feature(posterior.graphs).astype(float)
        p, error = method(weighted=weighted, standard_error=True)
        expected = np.einsum("s,sij->ij", weights, present)
        np.testing.assert_allclose(p, expected, atol=1e-12)
        spread = np.einsum("s,sij->ij", weights**2, (present - expected) ** 2)
        np.testing.assert_allclose(error, np.sqrt(spread), atol=1e-7)
        assert list(p.columns) == posterior.feature_names


def test_edge_types(posterior):
    directed, undirected, absent = posterior.cpdag_probabilities()
    total = directed + directed.T + undirected + absent
    np.testing.assert_allclose(total, 1)
    np.testing.assert_array_equal(undirected, undirected.T)
    compelled = compelled_of(posterior.graphs)
    np.testing.assert_allclose(directed, compelled.mean(axis=0))
    edges = posterior.edge_probabilities()
    np.testing.assert_allclose(absent, 1 - edges - edges.T, atol=1e-12)
    for shares in (directed, undirected, absent):  # counts / n to the bit
        np.testing.assert_array_equal(shares, np.rint(shares * 300) / 300)


def test_directions_within_a_class_are_even():
    """Two variables and a score-equivalent model: the edge has no direction."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=200)
    X = np.column_stack([x, x + rng.normal(size=200)])
    post = jspgfn.ExactPosterior("bge", random_state=0).fit(X).sample(500)
    directed, undirected, _ = post.cpdag_probabilities()
    assert undirected[0, 1] > 0.99
    assert directed.max() == 0
    assert 0.4 < post.edge_probabilities()[0, 1] < 0.6
