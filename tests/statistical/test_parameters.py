"""Draws of weights, intercepts and noise against the conjugate posterior.

Noise variance, whitened weights given it, and the intercept given both are mapped to
independent uniforms, which covers marginals and correlations at once."""

import functools

import numpy as np
import pytest

from checks import (
    ERROR_RATE,
    as_bytes,
    make_scores,
    parameter_uniforms,
    simulate,
    uniform_p,
)
from reference import dags, local_scores

pytestmark = pytest.mark.statistical

N_DRAWS = 20_000
GRAPH = np.zeros((5, 5), bool)
GRAPH[[0, 1, 0, 1, 3, 0, 3], [1, 3, 2, 2, 2, 4, 4]] = True  # node 2 has three parents

KINDS = [
    ("linear", False, False),
    ("linear", True, False),
    ("linear", True, True),
    ("nig", False, False),
    ("nig", True, True),
    ("bge", False, False),
    ("bge", False, True),
]


@functools.cache
def drawn(model, intercept, intervened):
    """x, mask, and draws: weights (n, D, D), intercepts, noise scales, log density."""
    # few rows: what is off by one row or one pseudo-row must show
    x = simulate(5, 12, seed=9) + np.arange(5) / 2
    mask = None
    if intervened:
        mask = np.zeros((12, 5), np.uint8)
        mask[:4, 2] = mask[3:8, 1] = 1
    scores = make_scores(x, mask, model=model, intercept=intercept)
    graphs = as_bytes(np.repeat(GRAPH[None], N_DRAWS, axis=0))
    values, intercepts, noise, log_density = scores.draw_parameters(graphs, 21)
    weights = np.zeros(graphs.shape)
    weights[np.nonzero(graphs)] = values
    return x, mask, weights, intercepts, noise, log_density


def posterior_of(kind, node):
    model, intercept, _ = kind
    x, mask, *_ = drawn(*kind)
    parents = np.flatnonzero(GRAPH[:, node])
    posterior = local_scores.parameter_posterior(
        x, mask, node, parents, model, intercept
    )
    return parents, posterior


def test_graph_is_acyclic():
    assert dags.is_acyclic(GRAPH[None])[0]


@pytest.mark.parametrize("kind", KINDS)
def test_draws_follow_the_posterior(kind):
    _, _, weights, intercepts, noise, _ = drawn(*kind)
    for node in range(5):
        parents, posterior = posterior_of(kind, node)
        uniforms = parameter_uniforms(
            posterior, weights[:, parents, node], intercepts[:, node], noise[:, node]
        )
        if uniforms is not None:
            assert uniform_p(uniforms) > ERROR_RATE, node


@pytest.mark.parametrize("kind", KINDS)
def test_control_scaled_weights(kind):
    """Weights with 5 % too much spread are rejected."""
    _, _, weights, intercepts, noise, _ = drawn(*kind)
    parents, posterior = posterior_of(kind, 2)
    wide = posterior["mean"] + 1.05 * (weights[:, parents, 2] - posterior["mean"])
    broken = parameter_uniforms(posterior, wide, intercepts[:, 2], noise[:, 2])
    assert uniform_p(broken) < ERROR_RATE


@pytest.mark.parametrize("kind", KINDS)
def test_control_shuffled_weights(kind):
    """Right marginals without the correlation between weights are rejected."""
    _, _, weights, intercepts, noise, _ = drawn(*kind)
    parents, posterior = posterior_of(kind, 2)
    shuffled = weights[:, parents, 2].copy()
    shuffled[:, 0] = np.roll(shuffled[:, 0], 1)
    broken = parameter_uniforms(posterior, shuffled, intercepts[:, 2], noise[:, 2])
    assert uniform_p(broken) < ERROR_RATE


@pytest.mark.parametrize("kind", KINDS)
def test_log_density(kind):
    _, _, weights, _, noise, log_density = drawn(*kind)
    for draw in range(5):
        expected = 0.0
        for node in range(5):
            parents, posterior = posterior_of(kind, node)
            expected += local_scores.log_parameter_density(
                posterior, weights[draw, parents, node], noise[draw, node] ** 2
            )
        assert log_density[draw] == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize("kind", KINDS)
def test_joint_density(kind):
    """log P(D | G, theta) + log P(theta | G) = evidence + log P(theta | G, D), with the
    left side computed from likelihood and prior."""
    model, intercept, _ = kind
    x, mask, weights, _, noise, log_density = drawn(*kind)
    scores = make_scores(x, mask, model=model, intercept=intercept)
    evidence = scores.log_reward(as_bytes(GRAPH[None]))[0]
    for draw in range(5):
        joint = sum(
            log_joint(x, mask, model, intercept, node, weights[draw], noise[draw] ** 2)
            for node in range(5)
        )
        assert evidence + log_density[draw] == pytest.approx(joint, abs=1e-7)


def log_normal(y, covariance):
    n = len(y)
    return (
        -n / 2 * np.log(2 * np.pi)
        - local_scores.log_det(covariance) / 2
        - y @ np.linalg.solve(covariance, y) / 2
    )


def log_joint(x, mask, model, intercept, node, weights, variances):
    """Likelihood, with the mean integrated out, times prior of one node."""
    rows = local_scores.rows_that_count(x, mask, node)
    parents = np.flatnonzero(GRAPH[:, node])
    theta, v = weights[parents, node], variances[node]
    residual = rows[:, node] - rows[:, parents] @ theta
    n = len(rows)
    p = len(parents)
    if model in ("linear", "nig"):
        scale = v if model == "nig" else 1.0  # weights in noise standard deviations
        total = log_normal(theta, scale * np.eye(p)) if p else 0.0
        if model == "nig":  # v ~ InvGamma(1, 1)
            total += -2 * np.log(v) - 1 / v
        if intercept:  # flat prior: n - 1 in place of n, and no -1/2 log(n)
            residual = residual - residual.mean()
            n = n - 1
        return total - n / 2 * np.log(2 * np.pi * v) - residual @ residual / 2 / v
    # bge: v ~ InvGamma((alpha_w - D + p + 1) / 2, t / 2), theta | v ~ N(0, v / t),
    # mean | v ~ N(0, v / alpha_mu), with alpha_mu = 1, alpha_w = D + 2, t = 1 / 2
    shape, rate = (p + 3) / 2, 1 / 4
    total = shape * np.log(rate) - local_scores.math.lgamma(shape)
    total += -(shape + 1) * np.log(v) - rate / v
    total += log_normal(theta, 2 * v * np.eye(p)) if p else 0.0
    return total + log_normal(residual, v * (np.eye(n) + 1.0))


def test_draws_depend_on_seed_and_index_only():
    scores = make_scores(simulate(4, 20, seed=1), model="bge")
    rng = np.random.default_rng(2)
    graphs = as_bytes([dags.random_dag(4, 0.5, rng) for _ in range(30)])
    whole = scores.draw_parameters(graphs, 5)
    tail = scores.draw_parameters(graphs[12:], 5, 12)
    np.testing.assert_array_equal(whole[1][12:], tail[1])
    np.testing.assert_array_equal(whole[2][12:], tail[2])
    np.testing.assert_array_equal(whole[3][12:], tail[3])
    np.testing.assert_array_equal(whole[0][graphs[:12].sum() :], tail[0])
    assert not np.array_equal(whole[2], scores.draw_parameters(graphs, 6)[2])
