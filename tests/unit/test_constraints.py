"""Graph priors and constraints: their meaning, and every refusal."""

import numpy as np
import pandas
import pytest

import jspgfn
from checks import simulate
from jspgfn._constraints import find_cycle
from reference import dags

NAMES = ["a", "b", "c", "d"]


@pytest.fixture
def table():
    return pandas.DataFrame(simulate(4, 60, seed=3), columns=NAMES)


def fit(table, **settings):
    return jspgfn.JSPGFN(n_iter=20, n_jobs=1, random_state=0, **settings).fit(table)


def allowed_graphs(est):
    """All DAGs of 4 nodes, and which of them have a reward."""
    graphs = dags.enumerate_dags(4)
    return graphs, np.isfinite(est.log_reward(graphs))


def edges(graphs, parent, child):
    return graphs[:, NAMES.index(parent), NAMES.index(child)].astype(bool)


# --- meaning -------------------------------------------------------------------------


def test_forbidden_and_required(table):
    est = fit(
        table,
        constraints=jspgfn.Constraints(forbidden=[("a", "b")], required=[("c", "d")]),
    )
    graphs, allowed = allowed_graphs(est)
    expected = ~edges(graphs, "a", "b") & edges(graphs, "c", "d")
    np.testing.assert_array_equal(allowed, expected)
    draws = est.sample(200).graphs
    assert not edges(draws, "a", "b").any()
    assert edges(draws, "c", "d").all()
    total = np.exp(est.log_prob(graphs[allowed])).sum()
    assert total == pytest.approx(1, abs=1e-6)
    assert np.isneginf(est.log_prob(graphs[~allowed])).all()


def test_tiers_roots_sinks_and_limits(table):
    rules = jspgfn.Constraints(
        tiers=[["a"], ["b", "c"]], roots=["d"], max_parents={"c": 1}
    )
    graphs, allowed = allowed_graphs(fit(table, constraints=rules))
    expected = ~edges(graphs, "b", "a") & ~edges(graphs, "c", "a")
    expected &= ~graphs[:, :, 3].any(axis=1) & (graphs[:, :, 2].sum(axis=1) <= 1)
    np.testing.assert_array_equal(allowed, expected)
    graphs, allowed = allowed_graphs(
        fit(table, constraints=jspgfn.Constraints(sinks=["a"], max_parents=2))
    )
    expected = ~graphs[:, 0].any(axis=1) & (graphs.sum(axis=1) <= 2).all(axis=1)
    np.testing.assert_array_equal(allowed, expected)


def test_numbers_for_arrays(table):
    rules = jspgfn.Constraints(required=[(0, 1)], roots=[0])
    graphs, allowed = allowed_graphs(fit(table.to_numpy(), constraints=rules))
    expected = edges(graphs, "a", "b") & ~graphs[:, :, 0].any(axis=1)
    np.testing.assert_array_equal(allowed, expected)


@pytest.mark.parametrize("order", ["C", "F"])
def test_edge_probabilities_in_any_order_of_memory(table, order):
    P = np.array([[0.5, 0.9, 0.2, 0.3]] * 4, order=order)
    one = fit(table, graph_prior=jspgfn.EdgeProbabilities(P))
    two = fit(table, graph_prior=jspgfn.EdgeProbabilities(P.tolist()))
    graph = np.triu(np.ones((4, 4), bool), 1)
    assert one.log_reward(graph) == two.log_reward(graph)


def test_priors_change_rewards_as_they_should(table):
    graphs = dags.enumerate_dags(4)
    base = fit(table, graph_prior="uniform").log_reward(graphs)
    n_edges = graphs.sum(axis=(1, 2))
    got = fit(table, graph_prior=jspgfn.ErdosRenyi(0.5)).log_reward(graphs)
    p = 2 * 0.5 / 3
    np.testing.assert_allclose(got - base, n_edges * np.log(p / (1 - p)), atol=1e-9)
    P = np.random.default_rng(1).uniform(0.1, 0.9, size=(4, 4))
    P[0, 1], P[2, 3] = 0, 1
    prior = jspgfn.EdgeProbabilities(pandas.DataFrame(P, NAMES, NAMES))
    got = fit(table, graph_prior=prior).log_reward(graphs)
    allowed = ~edges(graphs, "a", "b") & edges(graphs, "c", "d")
    np.testing.assert_array_equal(np.isfinite(got), allowed)
    free = np.where((P > 0) & (P < 1), P, 0.5)
    odds = (graphs * np.log(free / (1 - free))).sum(axis=(1, 2))
    np.testing.assert_allclose((got - base)[allowed], odds[allowed], atol=1e-9)


def test_erdos_renyi_by_name_is_one_edge_per_node(table):
    graphs = dags.enumerate_dags(4)
    by_name = fit(table, graph_prior="erdos-renyi").log_reward(graphs)
    by_object = fit(table, graph_prior=jspgfn.ErdosRenyi(1.0)).log_reward(graphs)
    np.testing.assert_array_equal(by_name, by_object)


def test_required_parents_join_given_candidates(table):
    est = fit(
        table,
        candidates={"b": ["c"]},
        constraints=jspgfn.Constraints(required=[("a", "b")], forbidden=[("c", "b")]),
    )
    assert est.candidates_[1] == [0]


@pytest.mark.filterwarnings("ignore::jspgfn.CandidatesWarning")
def test_selection_obeys_constraints():
    x = simulate(20, 200, seed=4)
    rules = jspgfn.Constraints(
        forbidden=[(i, 0) for i in range(1, 10)], required=[(19, 0), (18, 0)]
    )
    est = fit(x, candidates=4, constraints=rules)
    assert {18, 19} <= set(est.candidates_[0])
    assert not set(range(1, 10)) & set(est.candidates_[0])
    assert est.sample(20).graphs[:, [18, 19], 0].all()
    lost = est.discarded_mass_
    assert lost.shape == (20,)
    assert ((lost >= 0) & (lost <= 1)).all()
    assert lost.max() > 0


def test_nothing_is_discarded_when_all_are_candidates(table):
    np.testing.assert_array_equal(fit(table).discarded_mass_, 0)


def test_discarded_mass_of_a_left_out_parent():
    rng = np.random.default_rng(5)
    x = rng.normal(size=(300, 4))
    x[:, 3] += 2 * x[:, 0]
    lost = fit(x, candidates={3: [1, 2]}).discarded_mass_
    assert lost[3] > 0.999
    assert lost[:3].max() == 0


# --- refusals ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        (
            {"required": [("a", "b")], "forbidden": [("a", "b")]},
            r"'a' -> 'b' is both required and forbidden: it is in the list",
        ),
        (
            {"required": [("a", "b"), ("b", "c"), ("c", "a"), ("d", "a")]},
            r"required edges form a cycle: '.' -> '.' -> '.' -> '.'$",
        ),
        ({"required": [("a", "b")], "roots": ["b"]}, r"'a' -> 'b' .*'b' is a root"),
        ({"required": [("a", "b")], "sinks": ["a"]}, r"'a' -> 'b' .*'a' is a sink"),
        (
            {"required": [("a", "b")], "tiers": [["b"], ["a"]]},
            r"'a' -> 'b' .*'a' is in tier 1 and 'b' in the earlier tier 0",
        ),
        (
            {"required": [("a", "d"), ("b", "d")], "max_parents": {"d": 1}},
            r"'d' has 2 required parents, but max_parents allows 1",
        ),
        ({"tiers": [["a"], ["a", "b"]]}, r"'a' is in two tiers, 0 and 1"),
        ({"tiers": ["ab"]}, r"tiers\[0\] must be a list of variables, got 'ab'"),
        ({"forbidden": [("a", "x")]}, r"forbidden: unknown variable 'x'"),
        ({"forbidden": [(0, 1)]}, r"forbidden: unknown variable 0"),
        ({"roots": "a"}, r"roots must be a list of variables, got 'a'"),
        ({"required": [("a", "a")]}, r"an edge from 'a' to itself"),
        ({"required": ["ab"]}, r"required must hold pairs \(parent, child\), got 'ab'"),
        ({"required": [("a", "b", "c")]}, r"required must hold pairs"),
        ({"max_parents": {"a": -1}}, r"max_parents of 'a' must be an integer"),
        ({"max_parents": {"x": 1}}, r"max_parents: unknown variable 'x'"),
        ({"max_parents": 1.5}, r"max_parents must be an integer"),
    ],
)
def test_contradictions(table, rules, message):
    with pytest.raises(ValueError, match=message):
        fit(table, constraints=jspgfn.Constraints(**rules))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"graph_prior": jspgfn.ErdosRenyi(1.5)}, r"edges_per_node=1.5 is too large"),
        ({"graph_prior": jspgfn.ErdosRenyi(0)}, r"edges_per_node must be .* above 0"),
        (
            {"graph_prior": jspgfn.EdgeProbabilities(np.full((3, 3), 0.5))},
            r"P must have shape \(4, 4\), got \(3, 3\)",
        ),
        (
            {"graph_prior": jspgfn.EdgeProbabilities(np.full((4, 4), 1.5))},
            r"'a' -> 'b' must be from 0 to 1, got 1.5",
        ),
        (
            {"graph_prior": jspgfn.EdgeProbabilities(np.full((4, 4), np.nan))},
            r"must be from 0 to 1, got nan",
        ),
        ({"graph_prior": jspgfn.EdgeProbabilities("ab")}, r"P is not numeric"),
        (
            {
                "graph_prior": jspgfn.EdgeProbabilities(
                    pandas.DataFrame(np.full((4, 4), 0.5), NAMES[::-1], NAMES)
                )
            },
            r"the index must be the variables in the order of the data",
        ),
        (
            {
                "graph_prior": jspgfn.EdgeProbabilities(np.eye(4)[[1, 0, 3, 2]]),
            },
            r"required edges form a cycle: '.' -> '.' -> '.'$",
        ),
        (
            {
                "graph_prior": jspgfn.EdgeProbabilities(np.zeros((4, 4))),
                "constraints": jspgfn.Constraints(required=[("a", "b")]),
            },
            r"'a' -> 'b' is both .* EdgeProbabilities gives it 0",
        ),
        ({"graph_prior": 3}, r"graph_prior must be 'uniform', .* got 3"),
        (
            {
                "candidates": 1,
                "constraints": jspgfn.Constraints(required=[("a", "c"), ("b", "c")]),
            },
            r"'c' has 2 required parents but only 1 candidates",
        ),
        (
            {
                "max_parents": 0,
                "constraints": jspgfn.Constraints(required=[("a", "c")]),
            },
            r"'c' has 1 required parents, but max_parents allows 0",
        ),
    ],
)
def test_refused_priors(table, settings, message):
    with pytest.raises(ValueError, match=message):
        fit(table, **settings)


def test_find_cycle():
    rng = np.random.default_rng(6)
    for _ in range(200):
        graph = rng.random((6, 6)) < 0.25
        np.fill_diagonal(graph, False)
        cycle = find_cycle(graph)
        assert bool(cycle) != bool(dags.is_acyclic(graph[None])[0])
        if cycle:
            assert cycle[0] == cycle[-1]
            assert graph[cycle[:-1], cycle[1:]].all()
            assert len(set(cycle)) == len(cycle) - 1
