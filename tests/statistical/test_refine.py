"""Refinement: whatever the policy is, the posterior must stay what it is.

Exact draws must stay exact, and draws of a bad policy must become exact. Broken
samplers must be rejected by the same test.
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
from jspgfn import _core
from reference import dags

pytestmark = pytest.mark.statistical

N_DRAWS = 10_000


@functools.cache
def posterior(n_variables):
    """Scores, all DAGs, their posterior probabilities and exact draws."""
    scores = make_scores(
        simulate(n_variables, 12, seed=n_variables), graph_prior="fair"
    )
    graphs = dags.enumerate_dags(n_variables)
    log_reward = scores.log_reward(as_bytes(graphs))
    probability = np.exp(log_reward - log_reward.max())
    exact = _core.Exact(scores, posterior=True, n_threads=1)
    while exact.step(10) < 1:
        pass
    return scores, graphs, probability / probability.sum(), exact.sample(N_DRAWS, 1)


@functools.cache
def bad_policy(n_variables, scale=0.3):
    """Far from the posterior: an untrained policy with random parameters.

    Forward sample sizes: 0.60 with 0.15, 0.003 with 0.3, 2e-18 with 0.5 (4 variables);
    9e-8 with 0.3 and 5 variables.
    """
    trainer = make_trainer(posterior(n_variables)[0], seed=3)
    trainer.perturb(scale, 6)
    return trainer


def p_value(n_variables, draws):
    _, graphs, probability, _ = posterior(n_variables)
    return chi_square_p(count(graphs, draws), probability)


@pytest.mark.parametrize("n_variables", [4, 5])
@pytest.mark.parametrize("moves", [0, 10])
def test_exact_draws_stay_exact(n_variables, moves):
    exact_draws = posterior(n_variables)[3]
    graphs, accepted, sizes = bad_policy(n_variables).refine(
        exact_draws, 7, 2, 2, moves_per_pair=moves
    )
    assert sizes[-1] == n_variables
    share = accepted.mean(axis=0) / 2
    assert (share > 0.02).all()  # something happens
    assert (share < 0.9).all()
    assert (graphs != exact_draws).any()
    assert p_value(n_variables, graphs) > ERROR_RATE


@pytest.mark.parametrize(
    ("n_variables", "scale", "moves", "n_sweeps"),
    [(4, 0.15, 0, 40), (4, 0.5, 10, 5), (5, 0.3, 10, 5)],
)
def test_draws_of_a_bad_policy_become_exact(n_variables, scale, moves, n_sweeps):
    trainer = bad_policy(n_variables, scale)
    draws, *_ = trainer.sample(N_DRAWS, 11, 2)
    assert p_value(n_variables, draws) < ERROR_RATE  # control: before
    graphs, *_ = trainer.refine(draws, 7, n_sweeps, 2, moves_per_pair=moves)
    assert p_value(n_variables, graphs) > ERROR_RATE


@pytest.mark.parametrize("moves", [0, 10])
def test_control_wrong_target(moves):
    """Refined on slightly other scores, exact draws do not stay exact."""
    other = make_scores(simulate(4, 13, seed=4), graph_prior="fair")
    trainer = make_trainer(other, seed=3)
    trainer.perturb(0.3, 6)
    graphs, *_ = trainer.refine(posterior(4)[3], 7, 2, 2, moves_per_pair=moves)
    assert p_value(4, graphs) < ERROR_RATE


def test_control_refused_ways_back():
    """Proposals taken without looking at the way back lead away from the posterior."""
    trainer = bad_policy(4)
    draws = posterior(4)[3].copy()
    proposals, *_ = trainer.sample(N_DRAWS, 11, 2)
    scores = posterior(4)[0]
    ratio = scores.log_reward(proposals) - scores.log_reward(draws)
    taken = np.log(np.random.default_rng(0).random(N_DRAWS)) < ratio
    draws[taken] = proposals[taken]
    assert p_value(4, draws) < ERROR_RATE


def test_same_bits():
    """For any number of threads, any cut into calls, and any company."""
    scores = make_scores(simulate(12, 40, seed=2), graph_prior="fair")
    trainer = make_trainer(scores, seed=3)
    draws, *_ = trainer.sample(150, 11, 2)
    graphs, accepted, sizes = trainer.refine(draws, 7, 4, 1)
    assert sizes == [4, 8, 12]
    assert accepted.max() <= 4
    for n_threads in (2, 3, 8):
        again, counts, _ = trainer.refine(draws, 7, 4, n_threads)
        np.testing.assert_array_equal(again, graphs)
        np.testing.assert_array_equal(counts, accepted)
    half, *_ = trainer.refine(draws, 7, 2, 2)
    rest, *_ = trainer.refine(half, 7, 2, 2, first_sweep=2)
    np.testing.assert_array_equal(rest, graphs)
    part, *_ = trainer.refine(draws[77:], 7, 4, 2, first_draw=77)
    np.testing.assert_array_equal(part, graphs[77:])


def test_constraints_are_kept():
    required = np.zeros((6, 6), np.uint8)
    required[0, 1] = required[4, 2] = 1
    scores = make_scores(
        simulate(6, 30, seed=1), graph_prior="fair", required=required, max_parents=2
    )
    trainer = make_trainer(scores, seed=3)
    draws, *_ = trainer.sample(500, 11, 2)
    graphs, *_ = trainer.refine(draws, 7, 3, 2)
    assert _core.find_cycle(graphs) == -1
    assert graphs[:, 0, 1].all()
    assert graphs[:, 4, 2].all()
    assert graphs.sum(axis=1).max() <= 2
    assert np.isfinite(scores.log_reward(graphs)).all()


def test_refuses_graphs_it_cannot_start_from():
    trainer = make_trainer(make_scores(simulate(3, 20, seed=1), max_parents=1), seed=3)
    cycle = np.zeros((2, 3, 3), np.uint8)
    cycle[1, 0, 1] = cycle[1, 1, 0] = 1
    with pytest.raises(ValueError, match="row 1 has a cycle"):
        trainer.refine(cycle, 0, 1, 1)
    excluded = np.zeros((1, 3, 3), np.uint8)
    excluded[0, 0, 2] = excluded[0, 1, 2] = 1
    with pytest.raises(ValueError, match="row 0 is excluded"):
        trainer.refine(excluded, 0, 1, 1)
