"""The estimator as users call it against bundled exact posteriors.

Bounds are generous: about four times what such short fits reach.
"""

import math

import numpy as np
import pytest

import jspgfn
from checks import ERROR_RATE, parameter_uniforms, simulate, uniform_p
from reference import cases, dags, local_scores
from reference.exact_posterior import ExactPosterior, log_reward

pytestmark = [
    pytest.mark.statistical,
    pytest.mark.filterwarnings("ignore::jspgfn.JspgfnWarning"),  # fixed noise scales
]

N_DRAWS = 4000
BOUNDS = {  # updates, KL, largest edge error
    "d05_bge_er2_n60": (400, 0.05, 0.05),
    "d05_linear_er1_n100": (400, 0.05, 0.05),
    "d08_bge_interv": (600, 0.1, 0.06),
    "d08_peaked_n500_81": (600, 0.3, 0.1),
}


@pytest.fixture(scope="module", params=BOUNDS)
def fitted(request):
    """A case, its estimator, and draws."""
    case = cases.load(request.param)
    model = {"linear": jspgfn.LinearGaussian, "bge": jspgfn.BGe}[case.model]
    estimator = jspgfn.JSPGFN(
        model=model(**case.fields),
        graph_prior=case.graph_prior,
        preprocess=None,
        n_iter=BOUNDS[request.param][0],
        n_jobs=1,
        random_state=0,
    )
    estimator.fit(case.x, interventions=case.mask)
    return case, estimator, estimator.sample(N_DRAWS, random_state=1)


def test_divergence(fitted):
    case, _, posterior = fitted
    gap = case.log_Z - (posterior.log_reward - posterior.log_prob)
    bound = BOUNDS[case.name][1]
    assert gap.mean() < bound
    assert np.median(np.abs(gap)) < bound
    # a sampler cannot be better than the posterior itself
    assert gap.mean() > -4 * gap.std() / math.sqrt(N_DRAWS) - 1e-6


def test_edge_probabilities(fitted):
    case, _, posterior = fitted
    difference = posterior.edge_probabilities() - case.edges
    assert np.abs(difference).max() < BOUNDS[case.name][2]
    np.testing.assert_allclose(
        posterior.edge_probabilities(), posterior.graphs.mean(axis=0), atol=1e-12
    )


def test_weights_of_draws(fitted):
    _, _, posterior = fitted
    ratio = posterior.log_reward - posterior.log_prob
    expected = np.exp(ratio - ratio.max())
    np.testing.assert_allclose(
        posterior.weights, expected / expected.sum(), rtol=1e-9, atol=1e-15
    )


def test_rewards_and_probabilities(fitted):
    case, estimator, posterior = fitted
    np.testing.assert_array_equal(
        estimator.log_prob(posterior.graphs[:50]), posterior.log_prob[:50]
    )
    scores = local_scores.tables(
        case.x,
        case.mask,
        model=case.model,
        graph_prior=case.graph_prior,
        fields=case.fields,
    )
    expected = log_reward(scores, posterior.graphs[:50])
    np.testing.assert_allclose(posterior.log_reward[:50], expected, rtol=1e-9)
    np.testing.assert_allclose(estimator.log_reward(posterior.graphs[:50]), expected)


def test_weight_means(fitted):
    """Mean of theta_ij 1(i -> j): Monte-Carlo error, bound on q, one rare draw."""
    case, _, posterior = fitted
    error = np.abs(posterior.coef.mean(axis=0) - case.theta_mean)
    scale = np.abs(case.theta_mean) + case.theta_sd
    limit = 5 * case.theta_sd / math.sqrt(N_DRAWS) + BOUNDS[case.name][2] * scale
    assert (error <= limit + 2 / N_DRAWS).all()


# ------------------------------------------------------- parameters in units of X


@pytest.mark.parametrize("preprocess", [None, "center", "standardize"])
@pytest.mark.parametrize("model", ["linear", "bge"])
@pytest.mark.parametrize("intervened", [False, True])
def test_parameters_in_units_of_the_data(model, preprocess, intervened):
    """Given the graph, weights, intercept and noise follow the conjugate posterior of
    the preprocessed data, carried back to the units of X."""
    x = simulate(4, 40, seed=3) * [1, 2, 0.5, 3] + [0, 1, -2, 5]
    mask = np.zeros(x.shape, np.uint8)
    if intervened:
        mask[:15, 1] = mask[15:25, 2] = 1
    estimator = jspgfn.JSPGFN(
        model=model, preprocess=preprocess, n_iter=100, n_jobs=1, random_state=0
    )
    estimator.fit(x, interventions=mask if intervened else None)
    posterior = estimator.sample(8000, random_state=2)

    z, scale = x, np.ones(4)
    if preprocess == "standardize":
        scale = x.std(axis=0)
        z = x / scale
    shift = np.zeros(4)
    if preprocess is not None and model == "bge":
        shift = z.mean(axis=0)
        z = z - shift
    intercept = preprocess is not None and model == "linear"

    checked = 0
    for node in range(4):
        sets, count = np.unique(
            posterior.graphs[:, :, node], axis=0, return_counts=True
        )
        parents = np.flatnonzero(sets[np.argmax(count)])
        rows = (posterior.graphs[:, :, node] == sets[np.argmax(count)]).all(axis=1)
        weights = posterior.coef[rows][:, parents, node]
        # x_j = c + sum w x  is  z_j = c' + sum w' z  with w' = w scale_i / scale_j
        weights = weights * scale[parents] / scale[node]
        offsets = posterior.intercept[rows, node] / scale[node]
        offsets = offsets - shift[node] + weights @ shift[parents]
        noise = posterior.noise_scale[rows, node] / scale[node]
        expected = local_scores.parameter_posterior(
            z, mask, node, parents, model, intercept
        )
        if np.isinf(expected["intercept_precision"]):
            np.testing.assert_allclose(offsets, 0, atol=1e-12)
            offsets = np.zeros(len(offsets))
        uniforms = parameter_uniforms(expected, weights, offsets, noise)
        if uniforms is not None and rows.sum() > 200:
            assert uniform_p(uniforms) > ERROR_RATE, node
            checked += 1
    assert checked


@pytest.mark.parametrize("model", ["linear", "bge"])
@pytest.mark.parametrize("preprocess", [None, "standardize"])
def test_joint_density_of_draws(model, preprocess):
    """log_reward_joint = log_reward + log_prob_theta, in one and the same unit."""
    x = simulate(4, 40, seed=5)
    estimator = jspgfn.JSPGFN(
        model=model, preprocess=preprocess, n_iter=60, n_jobs=1, random_state=0
    ).fit(x)
    posterior = estimator.sample(200, random_state=1)
    np.testing.assert_allclose(
        posterior.log_reward_joint,
        posterior.log_reward + posterior.log_prob_theta,
        rtol=1e-9,
    )


def test_joint_density_is_likelihood_times_prior():
    """log P(D | G, theta) + log P(theta | G) + log w(G) from the draws themselves."""
    x = simulate(4, 40, seed=5)
    estimator = jspgfn.JSPGFN(
        model="linear",
        graph_prior="fair",
        preprocess=None,
        n_iter=60,
        n_jobs=1,
        random_state=0,
    ).fit(x)
    posterior = estimator.sample(100, random_state=1)
    for s in range(100):
        graph, coef = posterior.graphs[s], posterior.coef[s]
        residual = x - x @ coef
        expected = -0.5 * x.size * math.log(2 * math.pi * 0.1) - 5 * (residual**2).sum()
        theta = coef[graph]
        expected -= len(theta) / 2 * math.log(2 * math.pi) + theta @ theta / 2
        expected += sum(
            local_scores.log_prior(4, int(n), "fair") for n in graph.sum(axis=0)
        )
        assert posterior.log_reward_joint[s] == pytest.approx(expected, abs=1e-6)


def test_probabilities_of_all_graphs():
    """exp(log_prob) over all DAGs sums to 1 and follows the limits on parents."""
    x = simulate(4, 40, seed=6)
    estimator = jspgfn.JSPGFN(
        model="linear", max_parents=1, n_iter=200, n_jobs=1, random_state=0
    ).fit(x)
    graphs = dags.enumerate_dags(4)
    log_prob = estimator.log_prob(graphs)
    too_many = (graphs.sum(axis=1) > 1).any(axis=1)
    assert np.isneginf(log_prob[too_many]).all()
    assert np.exp(log_prob).sum() == pytest.approx(1, abs=1e-9)
    scores = local_scores.tables(
        x, model="linear", graph_prior="fair", intercept=True, max_parents=1
    )
    exact = ExactPosterior(scores)
    distance = np.abs(np.exp(log_prob) - np.exp(exact.log_prob(graphs))).sum() / 2
    assert distance < 0.05
