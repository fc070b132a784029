"""Draws of graphs against the probabilities that the same policy reports.

Whatever the policy is, log_prob must be a distribution over all DAGs and draws must
follow it. Every test has a negative control: it must reject a broken sampler.
"""

import functools

import numpy as np
import pytest

from checks import (
    ERROR_RATE,
    as_bytes,
    chi_square_p,
    count,
    make_scores,
    make_trainer,
    simulate,
)
from reference import dags

pytestmark = pytest.mark.statistical

N_DRAWS = 50_000
POLICIES = ["untrained", "perturbed", "wild", "trained", "trained-perturbed"]


@functools.cache
def sampled(n_variables, policy):
    """DAGs, their log probabilities, draws, the reported log q, and the trainer."""
    scores = make_scores(
        simulate(n_variables, 15, seed=n_variables), graph_prior="fair"
    )
    trainer = make_trainer(scores, seed=3)
    if policy.startswith("trained"):
        trainer.step(200)
    if policy.endswith("perturbed"):
        trainer.perturb(0.3, 5)
    if policy == "wild":
        trainer.perturb(2.0, 6)
    graphs = dags.enumerate_dags(n_variables)
    log_prob = trainer.log_prob(as_bytes(graphs), 1)
    draws, log_q, log_reward = trainer.sample(N_DRAWS, 11, 2)
    np.testing.assert_array_equal(log_reward, scores.log_reward(draws))
    return graphs, log_prob, draws, log_q, trainer


@pytest.fixture(params=[3, 4])
def n_variables(request):
    return request.param


@pytest.mark.parametrize("policy", POLICIES)
def test_probabilities_sum_to_one(n_variables, policy):
    _, log_prob, *_ = sampled(n_variables, policy)
    assert abs(np.exp(log_prob).sum() - 1) < 1e-9


@pytest.mark.parametrize("policy", POLICIES)
def test_draws_follow_their_probabilities(n_variables, policy):
    graphs, log_prob, draws, _, _ = sampled(n_variables, policy)
    assert chi_square_p(count(graphs, draws), np.exp(log_prob)) > ERROR_RATE


@pytest.mark.parametrize("policy", POLICIES)
def test_reported_probabilities_are_those_of_log_prob(n_variables, policy):
    _, _, draws, log_q, trainer = sampled(n_variables, policy)
    np.testing.assert_array_equal(trainer.log_prob(draws, 1), log_q)


def test_draws_are_independent(n_variables):
    """Successive draws fall on the pairs (first, second) as the product says."""
    graphs, log_prob, draws, _, _ = sampled(3, "wild")
    n = len(graphs)
    index = {graph.tobytes(): k for k, graph in enumerate(as_bytes(graphs))}
    codes = np.array([index[draw.tobytes()] for draw in draws])
    pairs = np.bincount(codes[::2] * n + codes[1::2], minlength=n * n)
    prob = np.exp(log_prob)
    assert chi_square_p(pairs, np.outer(prob, prob).ravel()) > ERROR_RATE


# ---------------------------------------------------------------- negative controls


def rejected(counts, log_prob):
    prob = np.exp(log_prob)
    return chi_square_p(counts, prob / prob.sum()) < ERROR_RATE


def test_control_other_policy(n_variables):
    """Draws of a perturbed policy do not follow the unperturbed probabilities."""
    graphs, log_prob, *_ = sampled(n_variables, "untrained")
    _, _, draws, *_ = sampled(n_variables, "perturbed")
    assert rejected(count(graphs, draws), log_prob)


def test_control_wrong_temperature(n_variables):
    graphs, log_prob, draws, *_ = sampled(n_variables, "perturbed")
    assert rejected(count(graphs, draws), 1.1 * log_prob)


def test_control_shifted_node(n_variables):
    """One node takes the place of its neighbour, as after a mask off by one."""
    graphs, log_prob, draws, *_ = sampled(n_variables, "untrained")
    order = np.roll(np.arange(n_variables), 1)
    assert rejected(count(graphs, draws[:, order][:, :, order]), log_prob)


def test_control_flipped_direction(n_variables):
    """One in fifty draws has all its edges reversed."""
    graphs, log_prob, draws, *_ = sampled(n_variables, "perturbed")
    draws = draws.copy()
    draws[::50] = draws[::50].transpose(0, 2, 1)
    assert rejected(count(graphs, draws), log_prob)
