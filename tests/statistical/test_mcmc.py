"""StructureMCMC against bundled exact posteriors, plain and tempered, and its verdicts.

Bounds are generous: about four times the errors that such short runs have.
"""

import numpy as np
import pytest

import jspgfn
from reference import cases, local_scores
from reference.exact_posterior import ExactPosterior

pytestmark = [
    pytest.mark.statistical,
    pytest.mark.filterwarnings("ignore::jspgfn.JspgfnWarning"),  # fixed noise scales
]

N_MOVES = 40_000_000


MODELS = {
    "linear": jspgfn.LinearGaussian,
    "nig": jspgfn.NormalInverseGamma,
    "bge": jspgfn.BGe,
    "bdeu": jspgfn.BDeu,
}


def fit(case):
    chain = jspgfn.StructureMCMC(
        MODELS[case.model](**case.fields),
        graph_prior=case.graph_prior,
        preprocess=None,
        n_moves=N_MOVES,
        n_jobs=1,
        random_state=0,
    )
    x = case.x.astype(int) if case.model == "bdeu" else case.x
    return chain.fit(x, interventions=case.mask)


@pytest.fixture(scope="module", params=cases.NAMES)
def fitted(request):
    case = cases.load(request.param)
    return case, fit(case)


def test_edges(fitted):
    case, chain = fitted
    error = chain.edge_probabilities() - case.edges
    assert np.sqrt((error**2).mean()) < 0.004
    assert np.abs(error).max() < 0.02
    assert chain.diagnostics().mixed


def test_standard_errors(fitted):
    """Errors are a few standard errors; rare edges, of which few states tell, aside.

    Where all other nodes leave no choice, the error is the rounding of the tables.
    """
    case, chain = fitted
    probability, error = chain.edge_probabilities(standard_error=True)
    common = (case.edges > 0.001) & (case.edges < 0.999)
    deviation = (probability - case.edges)[common] / (error[common] + 1e-5)
    assert np.sqrt((deviation**2).mean()) < 3


def test_draws(fitted):
    case, chain = fitted
    posterior = chain.sample(4000, random_state=0)
    assert np.abs(posterior.graphs.mean(axis=0) - case.edges).max() < 0.05
    reached = case.log_Z - posterior.log_reward
    assert reached.min() > 0  # no graph has a probability above 1
    assert reached.mean() == pytest.approx(case.entropy, abs=0.5)


def test_weights_of_edges(fitted):
    case, chain = fitted
    if case.theta_mean is None:
        pytest.skip("no weights in this model")
    coef = chain.sample(4000, random_state=0).coef
    error = np.abs(coef.mean(axis=0) - case.theta_mean)
    assert (error < 0.05 * case.theta_sd.max() + 0.02).all()


def far_apart_modes(edges_per_node, seed):
    """Standardised columns with the noise variance fixed at 0.1, which is wrong."""
    data = jspgfn.simulate.linear_gaussian(
        n_variables=8, n_samples=500, edges_per_node=edges_per_node, random_state=seed
    )
    x = np.asarray(data.X)
    return (x - x.mean(axis=0)) / x.std(axis=0)


@pytest.fixture(scope="module", params=[(1.5, 3), (2.0, 2)])
def peaked(request):
    """A posterior on which plain chains stay where they are, with its exact edges."""
    x = far_apart_modes(*request.param)
    return x, ExactPosterior(local_scores.tables(x)).edges


def run_on(x, **settings):
    settings = {"n_moves": N_MOVES, "n_jobs": 1, "random_state": 3, **settings}
    return jspgfn.StructureMCMC(
        jspgfn.LinearGaussian(0.1**0.5, 1.0),
        graph_prior="uniform",
        preprocess=None,
        **settings,
    ).fit(x)


def test_tempering_finds_far_apart_modes(peaked):
    x, edges = peaked
    chain = run_on(x)
    assert np.sqrt(((chain.edge_probabilities() - edges) ** 2).mean()) < 0.004
    assert chain.diagnostics().mixed


def test_plain_chains_miss_them_and_say_so(peaked):
    x, edges = peaked
    with pytest.warns(jspgfn.NotMixedWarning, match="chains disagree"):
        chain = run_on(x, n_temperatures=1)
    assert np.sqrt(((chain.edge_probabilities() - edges) ** 2).mean()) > 0.04
    report = chain.diagnostics()
    assert not report.mixed
    assert report.r_hat_max > 2
    assert report.standard_error.max() > 0.1


def test_too_few_moves_are_noticed(peaked):
    x, _ = peaked
    with pytest.warns(jspgfn.NotMixedWarning):
        run_on(x, n_moves=100_000)


def test_swaps_that_fail_are_noticed(peaked):
    """Temperatures too far apart: the ensemble is a plain chain with ballast."""
    x, _ = peaked
    report = run_on(x, n_temperatures=2, temperature_ratio=0.001).diagnostics()
    assert not report.mixed
    assert "swaps" in report.verdict
