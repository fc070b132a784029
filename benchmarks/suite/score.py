"""Figures of merit of one run of a method.

Against a reference of the same target: the exact posterior up to `MOST_EXACT` variables,
above that the mean of two long chains, whose own difference and R-hat stand in the row.
Against the true graph, where there is one; those say little about a sampler (the exact
posterior has its own distance to the truth, which is printed beside it), and expected SHD
is never alone.
"""

import dataclasses
import json
import warnings

import numpy as np

import jspgfn
from common import enumerate_dags
from jspgfn import metrics
from measure import rmse

from . import methods

MOST_EXACT = 20
N_REFERENCE = 20_000


@dataclasses.dataclass
class Reference:
    kind: str
    edges: np.ndarray
    paths: np.ndarray
    blankets: np.ndarray
    graphs: np.ndarray  # draws; for five variables all graphs
    log_p: np.ndarray | None = None  # of all graphs
    r_hat: float = float("nan")
    differ: float = float("nan")  # RMSE between the two chains

    def figures(self, truth):
        """Of the posterior itself: what the best method shows."""
        found = {"reference": self.kind, "reference_r_hat": self.r_hat}
        found["reference_differ"] = self.differ
        # error of giving every pair the same, best, probability: what nothing learned has
        found["reference_spread"] = float(self.edges[off_diagonal(self.edges)].std())
        if truth is not None:
            weights = None if self.log_p is None else np.exp(self.log_p)
            found.update(
                {f"reference_{key}": value for key, value in
                 against_truth(self.edges, self.graphs, weights, truth).items()
                 if key != "calibration"}
            )  # fmt: skip
        return found


def reference_of(problem, chain_seconds):
    """The slow part: computed once per problem."""
    settings = {**problem.settings, "n_jobs": 1}
    if problem.n_variables <= MOST_EXACT:
        return exact_reference(problem, settings)
    return reference_of_chains(problem, settings, chain_seconds)


def exact_reference(problem, settings):
    solver = jspgfn.ExactPosterior(**settings).fit(
        problem.x, interventions=problem.mask
    )
    edges = np.asarray(solver.edge_probabilities())
    if problem.n_variables == 5:
        graphs = enumerate_dags(5)
        log_p = solver.log_prob(graphs)
        p = np.exp(log_p)
        paths, blankets = features(graphs, p)
        return Reference("exact", edges, paths, blankets, graphs, log_p)
    graphs = solver.sample(N_REFERENCE, random_state=0).graphs
    return Reference("exact", edges, *features(graphs), graphs)


def reference_of_chains(problem, settings, seconds):
    chains = []
    for seed in (101, 102):
        chain = jspgfn.StructureMCMC(**settings, max_time=seconds, random_state=seed)
        with warnings.catch_warnings(), methods.processor_clock():
            warnings.simplefilter("ignore", jspgfn.JspgfnWarning)
            chains.append(chain.fit(problem.x, interventions=problem.mask))
    both = [np.asarray(chain.edge_probabilities()) for chain in chains]
    graphs = np.concatenate(
        [chain.sample(N_REFERENCE // 2, random_state=0).graphs for chain in chains]
    )
    return Reference(
        "two chains",
        sum(both) / 2,
        *features(graphs),
        graphs,
        r_hat=max(float(chain.diagnostics().r_hat_max) for chain in chains),
        differ=rmse(*both),
    )


def off_diagonal(matrix):
    return ~np.eye(len(matrix), dtype=bool)


def features(graphs, weights=None):
    """Probabilities of directed paths and of Markov blankets, (D, D) each."""
    if weights is None:
        weights = np.full(len(graphs), 1 / len(graphs))
    n_variables = graphs.shape[1]
    paths = blankets = np.zeros((n_variables, n_variables))
    for first in range(0, len(graphs), 4096):
        some = graphs[first : first + 4096].astype(np.float32)
        here = weights[first : first + 4096]
        paths = paths + np.tensordot(here, closures(some), 1)
        married = some @ some.transpose(0, 2, 1) > 0  # a child in common
        near = (some + some.transpose(0, 2, 1) > 0) | married
        near[:, np.arange(n_variables), np.arange(n_variables)] = False
        blankets = blankets + np.tensordot(here, near, 1)
    return np.clip(paths, 0, 1), np.clip(blankets, 0, 1)


def closures(graphs):
    """Reachability by one or more edges, by squaring."""
    reach, length = graphs > 0, 1
    while length < graphs.shape[1]:
        longer = np.matmul(reach.astype(np.float32), reach.astype(np.float32)) > 0
        reach, length = reach | longer, 2 * length
    return reach


def against_truth(edges, graphs, weights, truth):
    off = off_diagonal(truth)
    found = {
        "auroc": metrics.auroc(edges, truth),
        "auprc": metrics.auprc(edges, truth),
        "brier": metrics.brier(edges, truth),
        "n_edges": float(edges[off].sum()),
    }
    if graphs is not None:
        differ = graphs != truth
        differ = differ | differ.transpose(0, 2, 1)
        i, j = np.triu_indices(len(truth), 1)
        distance = differ[:, i, j].sum(axis=1)
        found["e_shd"] = float(np.average(distance, weights=weights))
    place = np.minimum((edges[off] * 10).astype(int), 9)
    counts = [np.bincount(place, v, 10) for v in (None, edges[off], truth[off])]
    found["calibration"] = json.dumps(np.round(counts, 4).tolist())
    return found


def figures(result, problem, reference):
    """The columns of a row that come from comparing."""
    edges, graphs = np.asarray(result.edge_probabilities, float), result.graphs
    off = off_diagonal(edges)
    spread = (reference.edges * (1 - reference.edges))[off].mean()
    found = {
        "edge_rmse": rmse(edges, reference.edges),
        "edge_max": float(np.abs(edges - reference.edges)[off].max()),
    }
    weights = None
    if graphs is not None:
        found["n_draws"] = len(graphs)
        found["floor"] = float(np.sqrt(spread / len(graphs)))
        if result.log_weights is not None:
            log_w = result.log_weights - result.log_weights.max()
            weights = np.exp(log_w) / np.exp(log_w).sum()
            found["ess"] = float(1 / (weights**2).sum() / len(weights))
            weighted = result.weighted_edges
            if weighted is None:
                weighted = np.tensordot(weights, graphs, 1)
            found["weighted_rmse"] = rmse(weighted, reference.edges)
            found["counted_rmse"] = rmse(graphs.mean(axis=0), reference.edges)
        paths, blankets = features(graphs)
        found["path_rmse"] = rmse(paths, reference.paths)
        found["blanket_rmse"] = rmse(blankets, reference.blankets)
        if reference.log_p is not None:
            found.update(distances(graphs, reference))
    if problem.truth is not None:
        found.update(against_truth(edges, graphs, None, problem.truth))
    return found


def distances(graphs, reference):
    """Of the shares of draws from the probabilities of all graphs: their number alone
    keeps total variation away from 0 (`tv_floor`, expected for exact draws)."""
    p = np.exp(reference.log_p)
    share = metrics.graph_probabilities(graphs, reference.graphs)
    # E |binomial share - p| is about sqrt(2 p (1 - p) / (pi n)), and at most 2 p
    expected = np.minimum(np.sqrt(2 * p * (1 - p) / (np.pi * len(graphs))), 2 * p)
    return {
        "tv": metrics.total_variation(share / share.sum(), p / p.sum()),
        "tv_floor": float(expected.sum() / 2),
        "kl": metrics.kullback_leibler(share / share.sum(), p / p.sum()),
    }
