"""Helpers of the tests that call the compiled core, and statistical tests."""

import numpy as np
from scipy import stats

from jspgfn import _core
from reference import local_scores

ERROR_RATE = 1e-4
"""Probability that one statistical test fails although all is well. Seeds are fixed."""


def make_scores(
    x,
    mask=None,
    *,
    model="linear",
    graph_prior="uniform",
    intercept=False,
    fields=None,
    max_parents=None,
    candidates=None,
    n_threads=1,
    edge_log_odds=None,
    required=None,
    n_states=None,
):
    """_core.Scores with the arguments of reference.local_scores.tables."""
    D = x.shape[1]
    given = local_scores.fields_of(model, fields)
    if candidates is None:
        candidates = [[i for i in range(D) if i != j] for j in range(D)]
    limits = max_parents if isinstance(max_parents, list) else [max_parents] * D
    limits = [D - 1 if limit is None else limit for limit in limits]
    return _core.Scores(
        np.ascontiguousarray(x, np.int32 if model == "bdeu" else np.float64),
        None if mask is None else np.ascontiguousarray(mask, np.uint8),
        model=model,
        model_fields={
            name: np.nan if value is None else value for name, value in given.items()
        },
        graph_prior=graph_prior,
        max_parents=limits,
        candidates=candidates,
        intercept=intercept,
        n_threads=n_threads,
        edge_log_odds=edge_log_odds,
        required=required,
        n_states=n_states,
    )


def make_trainer(scores, *, n_iter=200, seed=1, n_threads=1, **changes):
    settings = {"batch_size": 64, "learning_rate": 2e-3, "likelihood_fraction": 0.5}
    return _core.Trainer(
        scores, n_iter=n_iter, seed=seed, n_threads=n_threads, **{**settings, **changes}
    )


def simulate(n_variables, n_rows, seed, edge_probability=0.5):
    """Rows of a random linear network, noise sd 0.5."""
    rng = np.random.default_rng(seed)
    weights = np.triu(rng.normal(size=(n_variables, n_variables)), 1)
    weights *= rng.random(weights.shape) < edge_probability
    noise = 0.5 * rng.normal(size=(n_rows, n_variables))
    return (noise @ np.linalg.inv(np.eye(n_variables) - weights))[
        :, rng.permutation(n_variables)
    ]


def as_bytes(graphs):
    return np.ascontiguousarray(graphs, np.uint8)


def count(graphs, draws):
    """How often each of `graphs` occurs among `draws`; every draw must occur."""
    index = {graph.tobytes(): k for k, graph in enumerate(as_bytes(graphs))}
    found = [index[draw.tobytes()] for draw in as_bytes(draws)]
    return np.bincount(found, minlength=len(graphs))


def chi_square_p(counts, probabilities):
    """p-value of counts under probabilities; cells that expect under 5 are pooled."""
    expected = probabilities * counts.sum()
    rare = expected < 5
    counts = np.append(counts[~rare], counts[rare].sum())
    expected = np.append(expected[~rare], expected[rare].sum())
    if expected[-1] < 5:  # too few even together: join the rarest of the others
        smallest = np.argmin(expected[:-1])
        counts[smallest] += counts[-1]
        expected[smallest] += expected[-1]
        counts, expected = counts[:-1], expected[:-1]
    if len(counts) == 1:
        return 1.0
    statistic = ((counts - expected) ** 2 / expected).sum()
    return stats.chi2.sf(statistic, len(counts) - 1)


def uniform_p(values):
    """p-value that rows of (n, k) are independent uniforms: every column by
    Kolmogorov-Smirnov and by its spread, every pair by correlation; Bonferroni."""
    n, k = values.shape
    p = [stats.kstest(column, "uniform").pvalue for column in values.T]
    scores = stats.norm.ppf(np.clip(values, 1e-12, 1 - 1e-12))
    squares = (scores**2).sum(axis=0)
    p.extend(2 * np.minimum(stats.chi2.cdf(squares, n), stats.chi2.sf(squares, n)))
    if k > 1:
        correlation = np.corrcoef(scores.T)[np.triu_indices(k, 1)]
        p.extend(2 * stats.norm.sf(np.abs(np.arctanh(correlation)) * np.sqrt(n - 3)))
    return min(1.0, min(p) * len(p))


def parameter_uniforms(posterior, weights, intercept, noise_scale):
    """Draws of one node as independent uniforms: noise variance, then weights given it,
    then the intercept given both. Deterministic parts are checked and left out."""
    v = noise_scale**2
    columns = []
    if "noise_shape" in posterior:
        inverse_gamma = stats.invgamma(
            posterior["noise_shape"], scale=posterior["noise_rate"]
        )
        columns.append(inverse_gamma.cdf(v))
    else:
        np.testing.assert_allclose(v, posterior["noise_variance"], rtol=1e-12)
    if weights.shape[1]:
        factor = np.linalg.cholesky(posterior["unit_covariance"])
        white = np.linalg.solve(factor, (weights - posterior["mean"]).T).T
        columns.extend(stats.norm.cdf(white / noise_scale[:, None]).T)
    if np.isfinite(posterior["intercept_precision"]):
        mean = posterior["y_mean"] - weights @ posterior["X_mean"]
        sd = noise_scale / np.sqrt(posterior["intercept_precision"])
        columns.append(stats.norm.cdf((intercept - mean) / sd))
    else:
        np.testing.assert_array_equal(intercept, 0)
    return np.column_stack(columns) if columns else None
