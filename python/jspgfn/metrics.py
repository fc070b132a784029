"""Figures of merit: against a known graph, against a better posterior, on new rows.

Where a function takes a posterior it also takes what can be asked instead: edge
probabilities from any object that has `edge_probabilities()` (the estimators too) or a
matrix (D, D), graphs from an array (n, D, D). ``truth[i, j] = 1`` means i -> j.

A warning on the metrics against one true graph: with little data the exact posterior
itself is far from it, and a method that is surer than the data allow can look better than
the exact posterior. Print the expected number of edges and, where there is one, the exact
posterior's own figure beside it, and judge a sampler by its distance to the posterior.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score

from ._draws import Draws
from ._features import blankets_of, distinct_graphs, paths_of
from ._validation import check_flag, check_graph_matrix, check_integer, describe

Floats = NDArray[np.float64]

__all__ = [
    "ExpectedShd",
    "FeatureError",
    "auprc",
    "auroc",
    "brier",
    "ece",
    "edge_error",
    "expected_shd",
    "graph_probabilities",
    "held_out_nll",
    "jensen_shannon",
    "kullback_leibler",
    "markov_blanket_error",
    "path_error",
    "shd",
    "total_variation",
]


# --- against a known graph -----------------------------------------------------------


class ExpectedShd(NamedTuple):
    """Mean structural Hamming distance, and the mean number of edges of the draws."""

    shd: float
    n_edges: float


def shd(graph: Any, truth: Any) -> int:
    """Structural Hamming distance: pairs of variables that two graphs join differently.

    Parameters
    ----------
    graph, truth : array-like of shape (D, D)
        0 and 1.

    Returns
    -------
    int
        A missing, an extra and a reversed edge count one each.

    Examples
    --------
    >>> import jspgfn
    >>> jspgfn.metrics.shd([[0, 1], [0, 0]], [[0, 0], [1, 0]])  # reversed
    1
    """
    known = check_graph_matrix(
        "truth", truth, len(np.atleast_1d(as_array("truth", truth)))
    )
    one = check_graph_matrix("graph", graph, len(known))
    return int(distances(one[None], known)[0])


def expected_shd(posterior: Any, truth: Any, weighted: bool = False) -> ExpectedShd:
    """Mean of the structural Hamming distance of draws to a graph.

    Parameters
    ----------
    posterior : Posterior or array-like of shape (n, D, D)
        Draws.
    truth : array-like of shape (D, D)
        0 and 1.
    weighted : bool
        Use the importance weights.

    Returns
    -------
    ExpectedShd
        A pair of the mean distance, a reversed edge counting once, and the mean number of
        edges: an empty graph has a distance too, the number of true edges.

    Examples
    --------
    >>> import jspgfn
    >>> sim = jspgfn.simulate.linear_gaussian(
    ...     n_variables=3, n_samples=50, random_state=0)
    >>> post = jspgfn.ExactPosterior(random_state=0).fit(sim.X).sample(100)
    >>> distance, n_edges = jspgfn.metrics.expected_shd(post, sim.graph)
    >>> 0 <= distance <= 3
    True
    """
    graphs, weights = graphs_of(posterior, weighted)
    known = check_graph_matrix("truth", truth, graphs.shape[1])
    return ExpectedShd(
        float(np.average(distances(graphs, known), weights=weights)),
        float(np.average(graphs.sum(axis=(1, 2)), weights=weights)),
    )


def distances(graphs: NDArray[np.bool_], truth: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Pairs i < j in which graphs (n, D, D) differ from one."""
    differ = graphs != truth
    differ = differ | differ.transpose(0, 2, 1)
    i, j = np.triu_indices(graphs.shape[1], 1)
    return np.asarray(differ[:, i, j].sum(axis=1))


def auroc(posterior: Any, truth: Any, weighted: bool = False) -> float:
    """Area under the receiver operating curve of the edge probabilities.

    Parameters
    ----------
    posterior : Posterior, estimator or array-like of shape (D, D)
        Edge probabilities.
    truth : array-like of shape (D, D)
        0 and 1.
    weighted : bool
        Use the importance weights.

    Returns
    -------
    float
        Over all ordered pairs of two variables; 0.5 is chance. NaN when the true graph
        has no edge.

    Examples
    --------
    >>> import jspgfn
    >>> jspgfn.metrics.auroc([[0, 0.9], [0.3, 0]], [[0, 1], [0, 0]])
    1.0
    """
    p, known = cells(posterior, truth, weighted)
    return float(roc_auc_score(known, p)) if 0 < known.sum() < len(known) else np.nan


def auprc(posterior: Any, truth: Any, weighted: bool = False) -> float:
    """Area under the precision-recall curve (average precision) of edge probabilities.

    Parameters
    ----------
    posterior : Posterior, estimator or array-like of shape (D, D)
        Edge probabilities.
    truth : array-like of shape (D, D)
        0 and 1.
    weighted : bool
        Use the importance weights.

    Returns
    -------
    float
        Chance is the share of true edges. NaN when the true graph has no edge.

    Examples
    --------
    >>> import jspgfn
    >>> jspgfn.metrics.auprc([[0, 0.9], [0.3, 0]], [[0, 1], [0, 0]])
    1.0
    """
    p, known = cells(posterior, truth, weighted)
    return float(average_precision_score(known, p)) if known.any() else np.nan


def brier(posterior: Any, truth: Any, weighted: bool = False) -> float:
    """Mean squared difference of edge probabilities and a graph; 0 is perfect.

    Parameters
    ----------
    posterior : Posterior, estimator or array-like of shape (D, D)
        Edge probabilities.
    truth : array-like of shape (D, D)
        0 and 1.
    weighted : bool
        Use the importance weights.

    Returns
    -------
    float

    Examples
    --------
    >>> import jspgfn
    >>> jspgfn.metrics.brier([[0, 0.5], [0.5, 0]], [[0, 1], [0, 0]])
    0.25
    """
    p, known = cells(posterior, truth, weighted)
    return float(np.mean((p - known) ** 2))


def ece(posterior: Any, truth: Any, weighted: bool = False, n_bins: int = 10) -> float:
    """Expected calibration error: how far shares of true edges are from probabilities.

    Parameters
    ----------
    posterior : Posterior, estimator or array-like of shape (D, D)
        Edge probabilities.
    truth : array-like of shape (D, D)
        0 and 1.
    weighted : bool
        Use the importance weights.
    n_bins : int
        Bins of equal width from 0 to 1.

    Returns
    -------
    float
        Mean over pairs of the difference, in their bin, of mean probability and share of
        true edges. One graph says little: average over many simulated ones.

    Examples
    --------
    >>> import jspgfn
    >>> jspgfn.metrics.ece([[0, 0.5], [0.5, 0]], [[0, 1], [0, 0]])
    0.0
    """
    n_bins = check_integer("n_bins", n_bins, at_least=1)
    p, known = cells(posterior, truth, weighted)
    number = np.minimum((p * n_bins).astype(np.intp), n_bins - 1)
    surplus = np.bincount(number, p - known, n_bins)
    return float(np.abs(surplus).sum() / len(p))


# --- new rows ------------------------------------------------------------------------


def held_out_nll(posterior: Any, X: Any, interventions: Any = None) -> float:
    """Minus the sum over rows of the log posterior predictive density of each.

    Parameters
    ----------
    posterior : Posterior or fitted estimator
        What predicts.
    X : DataFrame or array-like of shape (n_new, D)
        Rows that it has not seen.
    interventions : None, array-like of shape (n_new, D), or sequence of n_new targets
        As for `Posterior.predict_log_density`.

    Returns
    -------
    float
        In nats, smaller is better, in the units of X. Each row on its own: the density of
        all rows together is badly underestimated by a few draws.

    Examples
    --------
    >>> import jspgfn
    >>> sim = jspgfn.simulate.linear_gaussian(
    ...     n_variables=3, n_samples=50, random_state=0)
    >>> exact = jspgfn.ExactPosterior(random_state=0).fit(sim.X[:40])
    >>> nll = jspgfn.metrics.held_out_nll(exact, sim.X[40:])
    >>> bool(abs(nll + 10 * exact.score(sim.X[40:])) < 1e-9)
    True
    """
    if isinstance(posterior, Draws):
        draws: Any = posterior
        return -float(np.sum(draws.predict_log_density(X, interventions)))
    return -float(posterior.score(X, interventions=interventions)) * len(X)


# --- distributions over graphs -------------------------------------------------------


def graph_probabilities(posterior: Any, graphs: Any, weighted: bool = False) -> Floats:
    """Share of the draws that each of some graphs has, to compare distributions with.

    Parameters
    ----------
    posterior : Posterior or array-like of shape (n, D, D)
        Draws.
    graphs : array-like of shape (m, D, D)
        Different graphs, for example all DAGs of 4 variables.
    weighted : bool
        Use the importance weights.

    Returns
    -------
    ndarray of shape (m,), float64
        They sum to less than 1 when draws are not among the graphs.

    Examples
    --------
    >>> import jspgfn
    >>> draws = [[[0, 1], [0, 0]], [[0, 0], [0, 0]]]
    >>> jspgfn.metrics.graph_probabilities(draws, [[[0, 1], [0, 0]]])
    array([0.5])
    """
    drawn, weights = graphs_of(posterior, weighted)
    listed, _ = graphs_of(graphs, False)
    if listed.shape[1:] != drawn.shape[1:]:
        raise ValueError(
            f"graphs of shape {listed.shape[1:]} for draws of shape {drawn.shape[1:]}"
        )
    first, which = distinct_graphs(np.concatenate([listed, drawn]))
    if (np.bincount(which[: len(listed)]) > 1).any():
        raise ValueError("graphs must differ from each other")
    counts = np.bincount(which[len(listed) :], weights, len(first))
    share = counts / (len(drawn) if weights is None else 1)
    return np.asarray(share[which[: len(listed)]])


def total_variation(p: Any, q: Any) -> float:
    """Half the sum of ``|p - q|``: the largest difference of any event's probability.

    Parameters
    ----------
    p, q : array-like of shape (m,)
        Probabilities of the same graphs in the same order.

    Returns
    -------
    float
        From 0 to 1.

    Examples
    --------
    >>> import jspgfn
    >>> jspgfn.metrics.total_variation([0.5, 0.5], [1.0, 0.0])
    0.5
    """
    p, q = distributions(p, q)
    return float(np.abs(p - q).sum() / 2)


def kullback_leibler(p: Any, q: Any) -> float:
    """Sum of p log(p / q), in nats; infinite where q misses what p has.

    Parameters
    ----------
    p, q : array-like of shape (m,)
        Probabilities of the same graphs in the same order.

    Returns
    -------
    float

    Examples
    --------
    >>> import jspgfn
    >>> round(jspgfn.metrics.kullback_leibler([1.0, 0.0], [0.5, 0.5]), 6)
    0.693147
    """
    p, q = distributions(p, q)
    there = p > 0
    with np.errstate(divide="ignore"):
        return float(np.sum(p[there] * np.log(p[there] / q[there])))


def jensen_shannon(p: Any, q: Any) -> float:
    """Jensen-Shannon divergence in nats, from 0 to log 2: symmetric and always finite.

    Parameters
    ----------
    p, q : array-like of shape (m,)
        Probabilities of the same graphs in the same order.

    Returns
    -------
    float

    Examples
    --------
    >>> import jspgfn
    >>> round(jspgfn.metrics.jensen_shannon([1.0, 0.0], [0.0, 1.0]), 6)
    0.693147
    """
    p, q = distributions(p, q)
    middle = (p + q) / 2
    return (kullback_leibler(p, middle) + kullback_leibler(q, middle)) / 2


def distributions(p: Any, q: Any) -> tuple[Floats, Floats]:
    one, two = (as_array(n, x).astype(np.float64) for n, x in (("p", p), ("q", q)))
    if one.shape != two.shape or one.ndim != 1:
        raise ValueError(
            f"p and q must be vectors of one length, got shapes {one.shape}, {two.shape}"
        )
    for name, x in (("p", one), ("q", two)):
        if not (x >= 0).all() or abs(x.sum() - 1) > 1e-6:
            raise ValueError(
                f"{name} must hold probabilities that sum to 1, their sum is {x.sum():g}"
            )
    return one, two


# --- features against a better posterior ---------------------------------------------


class FeatureError(NamedTuple):
    """Root mean square and largest difference, and correlation (NaN if constant)."""

    rmse: float
    largest: float
    pearson: float


def edge_error(posterior: Any, reference: Any) -> FeatureError:
    """Edge probabilities against those of a reference.

    Parameters
    ----------
    posterior, reference : Posterior, estimator, array-like of shape (D, D) or (n, D, D)
        Probabilities, or draws.

    Returns
    -------
    FeatureError
        A tuple of rmse, largest and pearson over ordered pairs of two variables.

    Examples
    --------
    >>> import jspgfn
    >>> sim = jspgfn.simulate.linear_gaussian(
    ...     n_variables=3, n_samples=50, random_state=0)
    >>> exact = jspgfn.ExactPosterior(random_state=0).fit(sim.X)
    >>> jspgfn.metrics.edge_error(exact.sample(2000), exact).largest < 0.06
    True
    """
    return compare(posterior, reference, "edge_probabilities", lambda graphs: graphs)


def path_error(posterior: Any, reference: Any) -> FeatureError:
    """Probabilities of directed paths against those of a reference.

    Parameters
    ----------
    posterior, reference : Posterior, estimator, array-like of shape (D, D) or (n, D, D)
        Probabilities of paths, or draws.

    Returns
    -------
    FeatureError
        As for `edge_error`.

    Examples
    --------
    >>> import jspgfn
    >>> sim = jspgfn.simulate.linear_gaussian(
    ...     n_variables=3, n_samples=50, random_state=0)
    >>> exact = jspgfn.ExactPosterior(random_state=0).fit(sim.X)
    >>> jspgfn.metrics.path_error(exact.sample(2000), exact).largest < 0.06
    True
    """
    return compare(posterior, reference, "path_probabilities", paths_of)


def markov_blanket_error(posterior: Any, reference: Any) -> FeatureError:
    """Probabilities of Markov blankets against those of a reference.

    Parameters
    ----------
    posterior, reference : Posterior, estimator, array-like of shape (D, D) or (n, D, D)
        Probabilities of blankets, or draws.

    Returns
    -------
    FeatureError
        As for `edge_error`.

    Examples
    --------
    >>> import jspgfn
    >>> sim = jspgfn.simulate.linear_gaussian(
    ...     n_variables=3, n_samples=50, random_state=0)
    >>> exact = jspgfn.ExactPosterior(random_state=0).fit(sim.X)
    >>> post = exact.sample(2000)
    >>> jspgfn.metrics.markov_blanket_error(post, exact).largest < 0.06
    True
    """
    return compare(posterior, reference, "markov_blanket_probabilities", blankets_of)


def compare(posterior: Any, reference: Any, method: str, feature: Any) -> FeatureError:
    one, two = (
        probabilities_of(source, method, feature) for source in (posterior, reference)
    )
    if one.shape != two.shape:
        raise ValueError(f"shapes differ: {one.shape} and {two.shape}")
    off_diagonal = ~np.eye(len(one), dtype=bool)
    x, y = one[off_diagonal], two[off_diagonal]
    if not len(x):
        return FeatureError(0.0, 0.0, np.nan)
    pearson = np.nan
    if np.ptp(x) > 0 and np.ptp(y) > 0:
        pearson = float(np.corrcoef(x, y)[0, 1])
    return FeatureError(
        float(np.sqrt(np.mean((x - y) ** 2))), float(np.abs(x - y).max()), pearson
    )


# --- what is given -------------------------------------------------------------------


def probabilities_of(
    source: Any, method: str, feature: Any, weighted: bool = False
) -> Floats:
    """Matrix (D, D) from an object with the method, a matrix, or graphs."""
    weighted = check_flag("weighted", weighted)
    if hasattr(source, method):
        ask = getattr(source, method)
        found = ask(weighted=True) if weighted else ask()
        return np.asarray(found, dtype=np.float64)
    array = np.asarray(source)
    if array.ndim == 3:
        return np.asarray(feature(graphs_of(array, False)[0]).mean(axis=0))
    try:
        array = array.astype(np.float64)
    except (TypeError, ValueError):
        raise TypeError(
            "expected a Posterior, an estimator, graphs (n, D, D) or probabilities (D, D), "
            f"got {describe(source)}"
        ) from None
    if array.ndim != 2 or array.shape[0] != array.shape[1]:
        raise ValueError(f"expected a matrix (D, D), got shape {array.shape}")
    if not ((array >= 0) & (array <= 1)).all():
        raise ValueError("probabilities must lie between 0 and 1")
    return array


def graphs_of(source: Any, weighted: bool) -> tuple[NDArray[np.bool_], Floats | None]:
    """Graphs (n, D, D) and their weights, None where all count the same."""
    weighted = check_flag("weighted", weighted)
    if isinstance(source, Draws):
        return source.graphs, source.weights if weighted else None
    array = as_array("graphs", source)
    if array.ndim != 3 or array.shape[1] != array.shape[2] or not len(array):
        raise ValueError(f"graphs must have shape (n, D, D), got {array.shape}")
    if not np.isin(array, (0, 1)).all():
        raise ValueError("graphs must hold only 0 and 1 (or bool)")
    return array.astype(bool), None


def as_array(name: str, values: Any) -> NDArray[Any]:
    if isinstance(values, Draws):  # NumPy would go into every draw
        raise TypeError(f"{name} must be numbers, got {values!r}")
    return np.asarray(values)


def cells(posterior: Any, truth: Any, weighted: bool) -> tuple[Floats, Floats]:
    """Probabilities and 0 or 1 of all ordered pairs of two variables."""
    p = probabilities_of(
        posterior, "edge_probabilities", lambda graphs: graphs, weighted
    )
    known = check_graph_matrix("truth", truth, len(p))
    off_diagonal = ~np.eye(len(p), dtype=bool)
    return p[off_diagonal], known[off_diagonal].astype(np.float64)
