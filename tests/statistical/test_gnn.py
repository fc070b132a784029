"""Draws of the published method against the exact terminal distribution of its policy, and
what short training at three variables reaches."""

import functools

import numpy as np
import pytest

import jspgfn
from checks import ERROR_RATE, as_bytes, chi_square_p, count
from reference import dags
from reference.terminal import terminal_log_prob

pytestmark = pytest.mark.statistical

N_DRAWS = 20_000
QUICK = {
    **jspgfn.PAPER_QUICK,
    "batch_size": 64,
    "n_jobs": 2,
    "random_state": 1,
}


@functools.cache
def fitted(n_iter):
    sim = jspgfn.simulate.linear_gaussian(n_variables=3, n_samples=30, random_state=5)
    return jspgfn.JSPGFN(**{**QUICK, "n_iter": n_iter}).fit(sim.X)


@functools.cache
def sampled(policy):
    """log q of all DAGs by dynamic programming, by the core, and draws."""
    est = fitted(1)
    trainer = est._engine.trainer
    if policy == "perturbed":
        rng = np.random.default_rng(7)
        changed = {
            name: value + rng.normal(size=value.shape).astype(value.dtype) * 0.01
            for name, value in trainer.parameters().items()
        }
        kept = trainer.parameters()
        trainer.set_parameters(changed)
    exact = terminal_log_prob(lambda graphs: trainer.policy(graphs, 1), 3)
    reported = est.log_prob(dags.enumerate_dags(3))
    draws = est.sample(N_DRAWS, random_state=2).graphs
    if policy == "perturbed":
        trainer.set_parameters(kept)
    return exact, reported, draws


@pytest.mark.parametrize("policy", ["untrained", "perturbed"])
def test_draws_follow_the_terminal_distribution(policy):
    exact, reported, draws = sampled(policy)
    np.testing.assert_allclose(np.exp(exact).sum(), 1, rtol=1e-5)
    np.testing.assert_allclose(reported, exact, rtol=1e-5, atol=1e-5)
    counts = count(dags.enumerate_dags(3), draws)
    assert chi_square_p(counts, np.exp(exact)) > ERROR_RATE
    # negative control: the terminal distribution of other logits
    wrong = np.exp(1.2 * exact)
    assert chi_square_p(counts, wrong / wrong.sum()) < ERROR_RATE


def test_threads_give_the_same_bits():
    sim = jspgfn.simulate.linear_gaussian(n_variables=5, n_samples=50, random_state=5)
    settings = {**QUICK, "n_iter": 12, "batch_size": 50}
    fits = [jspgfn.JSPGFN(**{**settings, "n_jobs": n}).fit(sim.X) for n in (1, 2, 3)]
    graphs = as_bytes(dags.enumerate_dags(5)[:200])
    for est in fits[1:]:
        for name, values in est.history_.items():
            np.testing.assert_array_equal(values, fits[0].history_[name])
        a, b = (e.sample(100, random_state=3) for e in (est, fits[0]))
        np.testing.assert_array_equal(a.coef, b.coef)
        np.testing.assert_array_equal(a.log_prob, b.log_prob)
        np.testing.assert_array_equal(est.log_prob(graphs), fits[0].log_prob(graphs))


def test_training_reaches_the_posterior():
    est = fitted(1500)
    graphs = dags.enumerate_dags(3)
    log_reward = est.log_reward(graphs)
    log_Z = np.logaddexp.reduce(log_reward)
    distance = 0.5 * np.abs(np.exp(est.log_prob(graphs)) - np.exp(log_reward - log_Z))
    assert distance.sum() < 0.25
    # joint weights estimate Z: graph, trajectory and parameters together
    post = est.sample(N_DRAWS, random_state=1)
    ratio = np.exp(post.log_reward_joint - post.log_prob - post.log_prob_theta - log_Z)
    assert abs(ratio.mean() - 1) < 4 * ratio.std() / np.sqrt(N_DRAWS)
    assert ratio.std() < 5
