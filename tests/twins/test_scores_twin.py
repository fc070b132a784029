"""Tables of local scores, restricted sums and rewards against the slow reference."""

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from checks import as_bytes, make_scores, simulate
from jspgfn import _core
from reference import cases, dags, local_scores
from reference.edges_policy import log_restricted_sum
from reference.exact_posterior import log_reward

SETTINGS = hypothesis.settings(
    max_examples=40, deadline=None, derandomize=True, database=None
)


@st.composite
def problems(draw):
    """Data, mask, and all settings of a table of scores."""
    D = draw(st.integers(1, 6))
    n_rows = draw(st.sampled_from([2, 3, D + 1, 17, 60]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    x = rng.normal(size=(n_rows, D)) @ (np.eye(D) + np.triu(rng.normal(size=(D, D)), 1))
    x += draw(st.sampled_from([0.0, 0.0, 1.0, 100.0]))
    mask = None
    if draw(st.booleans()):
        mask = (rng.random((n_rows, D)) < 0.3).astype(np.uint8)
        mask[:2] = 0  # two rows count for every node
    model = draw(st.sampled_from(["linear", "nig", "bge", "bdeu"]))
    scale = draw(st.sampled_from([0.3, 1.0, 4.0]))
    if model == "linear":
        fields = {"noise_scale": scale, "weight_scale": draw(st.sampled_from([0.5, 2]))}
    elif model == "nig":
        fields = {"a": scale, "b": draw(st.sampled_from([0.5, 2])), "weight_scale": 1.5}
    elif model == "bdeu":
        fields = {"equivalent_sample_size": draw(st.sampled_from([1e-3, 1.0, 50.0]))}
    else:
        fields = {"alpha_mu": scale, "alpha_w": draw(st.sampled_from([None, D + 1.5]))}
    candidates = None
    if draw(st.booleans()):
        keep = rng.random((D, D)) < 0.6
        candidates = [[i for i in range(D) if i != j and keep[i, j]] for j in range(D)]
    n_states = None
    if model == "bdeu":
        n_states = rng.integers(1, 5, size=D).tolist()
        x = np.array([[rng.integers(r) for r in n_states] for _ in range(n_rows)])
    max_parents = draw(st.sampled_from([None, 0, 1, 2]))
    odds = required = None
    if draw(st.booleans()):
        odds = rng.normal(size=(D, D))
        if candidates is None:  # forbidden edges, required ones along an order
            odds[rng.random((D, D)) < 0.2] = -np.inf
            if max_parents is None:
                needed = np.triu(rng.random((D, D)) < 0.3, 1)
                odds[needed] = rng.choice([np.inf, 1.0], size=needed.sum())
                required = needed.astype(np.uint8)
    return {
        "x": x,
        "mask": mask,
        "n_states": n_states,
        "edge_log_odds": odds,
        "required": required,
        "model": model,
        "fields": fields,
        "graph_prior": draw(st.sampled_from(["uniform", "fair"])),
        "intercept": model in ("linear", "nig") and draw(st.booleans()),
        "max_parents": max_parents,
        "candidates": candidates,
    }


@hypothesis.given(problem=problems(), n_threads=st.sampled_from([1, 2, 3]))
@SETTINGS
def test_local_scores(problem, n_threads):
    scores = make_scores(**problem, n_threads=n_threads)
    expected = local_scores.tables(**problem)
    assert scores.n_variables == problem["x"].shape[1]
    for j in range(scores.n_variables):
        table = scores.local_scores(j)
        candidates = scores.candidates(j)
        if problem["candidates"] is not None:
            assert candidates == problem["candidates"][j]
        local = local_scores.local_table(expected, j, candidates)
        np.testing.assert_array_equal(np.isfinite(table), np.isfinite(local))
        # data 100 away from 0 cost digits in the reference itself
        np.testing.assert_allclose(table, local, rtol=1e-9, atol=1e-7)


@hypothesis.given(problem=problems(), seed=st.integers(0, 1000))
@SETTINGS
def test_log_reward(problem, seed):
    scores = make_scores(**problem)
    rng = np.random.default_rng(seed)
    D = scores.n_variables
    graphs = np.array([dags.random_dag(D, 0.5, rng) for _ in range(20)])
    expected = log_reward(local_scores.tables(**problem), graphs)
    got = scores.log_reward(as_bytes(graphs))
    np.testing.assert_array_equal(np.isfinite(got), np.isfinite(expected))
    np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-6)


@hypothesis.given(problem=problems(), seed=st.integers(0, 1000))
@SETTINGS
def test_restricted_sum(problem, seed):
    check_restricted_sums(make_scores(**problem), np.random.default_rng(seed), 20)


@pytest.mark.parametrize("name", ["d08_peaked_n500_81", "d08_bge_interv"])
def test_restricted_sum_with_large_deficits(name):
    """Parent sets thousands of nats below the best one still sum correctly."""
    case = cases.load(name)
    scores = make_scores(case.x, case.mask, model=case.model, fields=case.fields)
    lowest = check_restricted_sums(scores, np.random.default_rng(1), 400)
    if name == "d08_peaked_n500_81":
        assert lowest < -1000


def check_restricted_sums(scores, rng, n):
    """Random (node, S, U) against the plain sum; returns the lowest value met."""
    lowest = 0.0
    for _ in range(n):
        node = int(rng.integers(scores.n_variables))
        table = scores.local_scores(node)
        owner = rng.integers(3, size=len(scores.candidates(node)))  # 0 S, 1 U, 2 none
        S = int(sum(1 << k for k in np.flatnonzero(owner == 0)))
        U = int(sum(1 << k for k in np.flatnonzero(owner == 1)))
        expected = log_restricted_sum(table, S, U) - table.max()
        got = scores.restricted_sum(node, S, U)
        if np.isneginf(expected):
            assert np.isneginf(got)
            continue
        lowest = min(lowest, expected)
        # float tables: a relative error of 1e-7 in a deficit, and cancellation to 1e-4
        assert abs(got - expected) < 2e-3 + 1e-6 * abs(expected)
    return lowest


def test_excluded_graphs_have_no_reward():
    x = simulate(4, 30, seed=1)
    scores = make_scores(x, max_parents=1, candidates=[[1, 2], [0, 2, 3], [0], []])
    graphs = dags.enumerate_dags(4)
    allowed = np.zeros((4, 4), bool)
    allowed[[1, 2, 0, 2, 3, 0], [0, 0, 1, 1, 1, 2]] = True
    expected = ~(graphs & ~allowed).any(axis=(1, 2)) & (graphs.sum(axis=1) <= 1).all(1)
    got = scores.log_reward(as_bytes(graphs))
    np.testing.assert_array_equal(np.isfinite(got), expected)


@hypothesis.given(problem=problems(), seed=st.integers(0, 1000))
@SETTINGS
def test_edge_conditionals(problem, seed):
    """Against the sum over all graphs in which only the parents of two nodes differ."""
    scores = make_scores(**problem)
    D = scores.n_variables
    hypothesis.assume(D <= 4)
    every = dags.enumerate_dags(D)
    log_r = scores.log_reward(as_bytes(every))
    allowed = np.flatnonzero(np.isfinite(log_r))
    hypothesis.assume(np.ptp(log_r[allowed]) < 200)  # floats of the tables
    chosen = np.random.default_rng(seed).choice(allowed, 3)
    weights = np.array([0.2, 1.5, 0.7])
    expected = np.zeros((D, D))
    for i, j in zip(*np.nonzero(1 - np.eye(D, dtype=int)), strict=True):
        rest = np.setdiff1d(np.arange(D), [i, j])
        for s, weight in zip(chosen, weights, strict=True):
            same = allowed[
                (every[allowed][:, :, rest] == every[s][:, rest]).all((1, 2))
            ]
            p = np.exp(log_r[same] - log_r[same].max())
            expected[i, j] += weight * p[every[same][:, i, j] == 1].sum() / p.sum()
    got = scores.edge_conditionals(as_bytes(every[chosen]), weights)
    np.testing.assert_allclose(got, expected, atol=1e-4)


@hypothesis.given(D=st.integers(1, 8), n=st.integers(1, 12), seed=st.integers(0, 10**6))
@SETTINGS
def test_find_cycle(D, n, seed):
    rng = np.random.default_rng(seed)
    graphs = np.array([dags.random_dag(D, 0.6, rng) for _ in range(n)])
    if rng.random() < 0.7:  # one random extra edge, self-loops included
        graphs[rng.integers(n), rng.integers(D), rng.integers(D)] = True
    cyclic = np.flatnonzero(~dags.is_acyclic(graphs))
    expected = cyclic[0] if len(cyclic) else -1
    assert _core.find_cycle(as_bytes(graphs)) == expected


def test_find_cycle_in_large_graphs():
    rng = np.random.default_rng(2)
    graphs = np.array([dags.random_dag(128, 0.1, rng) for _ in range(3)])
    assert _core.find_cycle(as_bytes(graphs)) == -1
    source, target = np.argwhere(dags.closure(graphs[2]))[0]
    graphs[2, target, source] = True
    assert _core.find_cycle(as_bytes(graphs)) == 2
    assert _core.find_cycle(as_bytes(graphs[:0])) == -1
