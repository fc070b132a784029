"""Problems with exact answers, and the distance of a trained sampler from them.

`problem(name)` knows simulated data (`d12_e1_3`: variables, edges per node, seed), the
same standardised with the noise fixed far too small (`peaked_d12_n200_3`: rows, seed;
modes hundreds of nats apart) and the protein data of Sachs et al. (`sachs`,
`sachs_int_bge`, `sachs_int_nig`, `sachs_int_bdeu`). Other names are cases of tests/cases.
"""

import dataclasses

import numpy as np
from scipy.special import logsumexp

import jspgfn
from common import cases

N_EXACT = 20_000


@dataclasses.dataclass
class Problem:
    """Data and the settings that an estimator is to be made with."""

    name: str
    x: np.ndarray
    mask: np.ndarray | None
    settings: dict


def problem(name):
    parts = name.split("_")
    if parts[0] == "peaked":
        return peaked(name, int(parts[1][1:]), int(parts[2][1:]), int(parts[3]))
    if parts[0] == "sachs":
        return sachs(name, parts[-1])
    if len(parts[0]) != 3 or parts[1] not in ("e1", "e2"):
        return bundled(name)
    n_variables, edges, seed = int(parts[0][1:]), int(parts[1][1:]), int(parts[2])
    data = jspgfn.simulate.linear_gaussian(
        n_variables=n_variables,
        n_samples=100,
        edges_per_node=edges,
        random_state=seed,
    )
    prior = parts[3] if len(parts) > 3 else "uniform"
    settings = {"model": "linear", "graph_prior": prior, "preprocess": None}
    return Problem(name, np.asarray(data.X), None, settings)


def bundled(name):
    case = cases.load(name)
    kinds = {
        "linear": jspgfn.LinearGaussian,
        "nig": jspgfn.NormalInverseGamma,
        "bge": jspgfn.BGe,
        "bdeu": jspgfn.BDeu,
    }
    settings = {
        "model": kinds[case.model](**case.fields),
        "graph_prior": case.graph_prior,
        "preprocess": None,
    }
    return Problem(name, case.x, case.mask, settings)


def peaked(name, n_variables, n_samples, seed):
    data = jspgfn.simulate.linear_gaussian(
        n_variables=n_variables,
        n_samples=n_samples,
        edges_per_node=2,
        random_state=seed,
    )
    x = np.asarray(data.X)
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    settings = {"model": "linear", "graph_prior": "uniform", "preprocess": None}
    return Problem(name, x, None, settings)


def sachs(name, kind):
    data = jspgfn.datasets.load_sachs(interventions=kind != "sachs")
    x = np.log(np.asarray(data.data, float))
    mask = None
    if data.interventions is not None:
        mask = np.zeros(x.shape, np.uint8)
        for row, target in enumerate(data.interventions):
            if target:
                mask[row, data.feature_names.index(target)] = 1
    settings = {"model": kind, "graph_prior": "fair", "preprocess": "standardize"}
    if kind == "sachs":
        settings["model"] = "bge"
    if kind == "bdeu":
        cuts = np.quantile(x, (1 / 3, 2 / 3), axis=0)
        x = (x[None] > cuts[:, None]).sum(axis=0)
        settings["preprocess"] = None
    return Problem(name, x, mask, settings)


@dataclasses.dataclass
class Exact:
    """Exact log Z on the scale of log rewards, edge probabilities, and draws."""

    log_Z: float
    edges: np.ndarray
    graphs: np.ndarray
    log_reward: np.ndarray
    floor: float  # edge RMSE of 10,000 exact draws, expected


def solve(given, n_jobs=1, seed=0):
    """Exact answers, and the estimator that holds the score tables."""
    solver = jspgfn.ExactPosterior(**given.settings, n_jobs=n_jobs)
    solver.fit(given.x, interventions=given.mask)
    draws = solver.sample(N_EXACT, random_state=seed)
    edges = np.asarray(solver.edge_probabilities())
    return solver, Exact(
        log_Z=float(draws.log_reward[0] - solver.log_prob(draws.graphs[:1])[0]),
        edges=edges,
        graphs=draws.graphs,
        log_reward=draws.log_reward,
        floor=float(np.sqrt((edges * (1 - edges)).sum() / off_diagonal(edges).size)),
    )


def off_diagonal(matrix):
    return matrix[~np.eye(len(matrix), dtype=bool)]


def rmse(edges, exact):
    return float(np.sqrt((off_diagonal(edges - exact) ** 2).mean()))


def measure(sample, log_prob, exact, n_draws):
    """Distances of a sampler from the exact posterior.

    Parameters
    ----------
    sample : function of a number of draws
        Returns graphs, log q and log R.
    log_prob : function of graphs
        Returns log q.

    Returns
    -------
    dict
        KL = log Z - mean(log R - log q) with its error and the median; ESS of the
        importance weights w = R / q; fKL = E log w and fESS = 1 / (E w E 1/w) on exact
        draws, after division by Z; share of exact draws whose weight is above 20 (a
        mode that is missing, or nearly); error of the importance-sampled log Z; edge
        errors, raw and weighted, in units of those of as many exact draws.
    """
    graphs, log_q, log_reward = sample(n_draws)
    gap = exact.log_Z - (log_reward - log_q)
    total = logsumexp(-gap)
    weights = np.exp(-gap - total)
    forward = exact.log_reward - log_prob(exact.graphs) - exact.log_Z
    floor = exact.floor / np.sqrt(n_draws)
    edges = graphs.mean(axis=0)
    weighted = np.tensordot(weights, graphs, 1)
    return {
        "KL": gap.mean(),
        "KL error": gap.std() / np.sqrt(n_draws),
        "median": np.median(gap),
        "worst": gap.max(),
        "ESS": 1 / (weights**2).sum() / n_draws,
        "fKL": forward.mean(),
        "fESS": np.exp(
            2 * np.log(len(forward)) - logsumexp(forward) - logsumexp(-forward)
        ),
        "missing": (forward > np.log(20)).mean(),
        "worst forward": forward.max(),
        "log Z error": total - np.log(n_draws),
        "edges/floor": rmse(edges, exact.edges) / floor,
        "weighted/floor": rmse(weighted, exact.edges) / floor,
        "edge max": np.abs(edges - exact.edges).max(),
    }
