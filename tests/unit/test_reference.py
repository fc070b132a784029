"""The slow reference code against known answers; the core is not involved."""

import math

import numpy as np
import pytest

from reference import cases, dags, edges_policy, kernels, local_scores
from reference.exact_posterior import ExactPosterior, enumerated, log_reward


@pytest.fixture(scope="module", params=cases.NAMES)
def solved(request):
    """A case, its local scores and its exact posterior by the reference code."""
    case = cases.load(request.param)
    scores = local_scores.tables(
        case.x,
        case.mask,
        model=case.model,
        graph_prior=case.graph_prior,
        fields=case.fields,
        n_states=case.n_states,
    )
    return case, scores, ExactPosterior(scores)


def test_cases_are_there():
    assert len(cases.NAMES) == 9


def test_log_partition(solved):
    case, _, exact = solved
    assert abs(exact.log_Z - case.log_Z) < 1e-6


def test_edge_probabilities(solved):
    case, _, exact = solved
    np.testing.assert_allclose(exact.edges, case.edges, rtol=0, atol=1e-8)
    np.testing.assert_allclose(exact.parent_sets.sum(axis=1), 1, atol=1e-10)
    assert abs(exact.edges.sum() - case.expected_edges) < 1e-7


def test_weight_moments(solved):
    case, _, exact = solved
    if len(case.edges) > 8:
        pytest.skip("slow in plain NumPy")
    if case.theta_mean is None:
        pytest.skip("no weights in discrete models")
    mean, sd = local_scores.weight_moments(
        case.x, case.mask, case.model, exact.parent_sets, fields=case.fields
    )
    np.testing.assert_allclose(mean, case.theta_mean, atol=1e-8)
    np.testing.assert_allclose(sd, case.theta_sd, atol=1e-7)


def test_log_partition_of_the_prior(solved):
    case, _, _ = solved
    prior = local_scores.prior_tables(len(case.edges), case.graph_prior)
    assert abs(ExactPosterior(prior).log_Z - case.log_prior_Z) < 1e-9


@pytest.mark.parametrize("name", ["d05_bge_er2_n60", "d05_linear_er1_n100"])
def test_enumeration_agrees_with_recursion(name):
    case = cases.load(name)
    scores = local_scores.tables(
        case.x, model=case.model, graph_prior=case.graph_prior, fields=case.fields
    )
    exact = ExactPosterior(scores)
    graphs, log_prob, log_Z = enumerated(scores)
    assert abs(exact.log_Z - log_Z) < 1e-12 * abs(log_Z)
    np.testing.assert_allclose(
        np.tensordot(np.exp(log_prob), graphs, 1), exact.edges, atol=1e-12
    )
    np.testing.assert_allclose(exact.log_prob(graphs), log_prob, atol=1e-11)
    assert abs(-np.exp(log_prob) @ log_prob - case.entropy) < 1e-9


@pytest.mark.parametrize("n_variables", [1, 2, 3, 4, 5])
def test_numbers_of_dags(n_variables):
    assert len(dags.enumerate_dags(n_variables)) == dags.N_DAGS[n_variables]
    prior = local_scores.prior_tables(n_variables, "uniform")
    assert math.exp(ExactPosterior(prior).log_Z) == pytest.approx(
        dags.N_DAGS[n_variables]
    )


def test_number_of_dags_with_six_nodes():
    prior = local_scores.prior_tables(6, "uniform")
    assert math.exp(ExactPosterior(prior).log_Z) == pytest.approx(3781503)


def test_limits_and_deep_scores():
    """Excluded sets and scores thousands of nats apart: recursion and enumeration."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(30, 4))
    scores = local_scores.tables(
        x, max_parents=2, candidates=[[1, 2, 3], [0, 2], [0, 3], [0]]
    )
    scores *= np.where(scores > -np.inf, rng.integers(1, 100, scores.shape), 1)
    exact = ExactPosterior(scores)
    graphs, log_prob, log_Z = enumerated(scores)
    assert np.isneginf(log_prob).any()
    assert exact.log_Z == pytest.approx(log_Z, abs=1e-9)
    np.testing.assert_allclose(
        np.tensordot(np.exp(log_prob), graphs, 1), exact.edges, atol=1e-9
    )


def test_bge_is_score_equivalent():
    """DAGs of one Markov class (same skeleton and v-structures) share one score."""
    x = np.random.default_rng(2).normal(size=(20, 4)) @ np.triu(np.ones((4, 4)))
    graphs = dags.enumerate_dags(4)
    rewards = log_reward(local_scores.tables(x, model="bge"), graphs)
    classes = {}
    for graph, reward in zip(graphs, rewards, strict=True):
        skeleton = graph | graph.T
        colliders = frozenset(
            (a, c, b)
            for c in range(4)
            for a in np.flatnonzero(graph[:, c])
            for b in np.flatnonzero(graph[:, c])
            if a < b and not skeleton[a, b]
        )
        classes.setdefault((skeleton.tobytes(), colliders), []).append(reward)
    assert len(classes) == 185
    assert max(np.ptp(values) for values in classes.values()) < 1e-9


@pytest.mark.parametrize("intercept", [False, True])
def test_linear_evidence_is_a_normal_density(intercept):
    """The evidence as the density of one large normal vector.

    A flat intercept is the limit of a normal one of variance V: density times
    sqrt(2 pi V) tends to the flat integral, which is the evidence without its dropped
    -1/2 log(n).
    """
    rng = np.random.default_rng(3)
    x = rng.normal(size=(12, 3)) + 1
    noise, weight, V = 0.5, 1.5, 1e8 if intercept else 0.0
    covariance = noise**2 * np.eye(12) + weight**2 * x[:, :2] @ x[:, :2].T + V
    y = x[:, 2]
    density = -6 * math.log(2 * math.pi) - local_scores.log_det(covariance) / 2
    density -= y @ np.linalg.solve(covariance, y) / 2
    if intercept:
        density += math.log(2 * math.pi * V) / 2 + math.log(12) / 2
    fields = {"noise_scale": noise, "weight_scale": weight}
    got = local_scores.evidence(x, None, 2, [0, 1], "linear", intercept, fields)
    assert got == pytest.approx(density, abs=1e-5)


def test_evidence_is_a_ratio_of_densities():
    """log P(D) = log P(D | theta) + log P(theta) - log P(theta | D) at any theta."""
    rng = np.random.default_rng(4)
    x, theta = rng.normal(size=(15, 4)), rng.normal(size=2)
    fields = {"noise_scale": 0.7, "weight_scale": 1.3}
    posterior = local_scores.parameter_posterior(
        x, None, 3, [0, 2], "linear", fields=fields
    )
    residual = x[:, 3] - x[:, [0, 2]] @ theta
    joint = -15 / 2 * math.log(2 * math.pi * 0.49) - residual @ residual / 2 / 0.49
    joint += -math.log(2 * math.pi * 1.69) - theta @ theta / 2 / 1.69
    got = local_scores.evidence(x, None, 3, [0, 2], "linear", fields=fields)
    density = local_scores.log_parameter_density(posterior, theta, 0.49)
    assert got == pytest.approx(joint - density, abs=1e-9)


def test_closure_and_legal_edges():
    rng = np.random.default_rng(5)
    for _ in range(20):
        graph = dags.random_dag(6, 0.4, rng)
        assert dags.is_acyclic(graph[None])[0]
        reach = dags.closure(graph)
        expected = ~(graph | reach.T | np.eye(6, dtype=bool))
        np.testing.assert_array_equal(dags.legal_edges(graph), expected)
    assert not dags.is_acyclic(np.eye(3, dtype=bool)[None])[0]


@pytest.mark.parametrize("n_variables", [2, 3, 4])
def test_base_policy_is_a_distribution(n_variables):
    x = np.random.default_rng(6).normal(size=(20, n_variables)).cumsum(axis=1)
    scores = local_scores.tables(x, max_parents=2)
    order = edges_policy.slot_order(scores)
    total = sum(
        math.exp(edges_policy.log_prob(scores, graph, order))
        for graph in dags.enumerate_dags(n_variables)
    )
    assert total == pytest.approx(1, abs=1e-12)


def test_base_policy_of_one_pair_is_exact():
    """With two variables (and odds that are not clipped) q is the posterior itself, but
    for the shares that every choice has."""
    x = np.random.default_rng(7).normal(size=(6, 2))
    scores = local_scores.tables(x)
    graphs, log_prob, _ = enumerated(scores)
    got = [edges_policy.log_prob(scores, graph) for graph in graphs]
    got, exact = np.exp(got), np.exp(log_prob)
    np.testing.assert_allclose(got, exact, atol=3 * edges_policy.SHARE)


def test_kernels_at_special_values():
    special = np.array([0.0, -np.inf, np.inf, np.nan])
    np.testing.assert_array_equal(kernels.exp(special), [1, 0, np.inf, np.nan])
    np.testing.assert_array_equal(
        kernels.log(special), [-np.inf, np.nan, np.inf, np.nan]
    )
    np.testing.assert_array_equal(kernels.softplus(special[1:3]), [0, np.inf])
    assert kernels.log_sum_exp([]) == -np.inf
    assert kernels.log_sum_exp([1.0, 2.0], [0, 1]) == 2.0
