"""Priors over graphs: by name or as objects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from ._validation import check_real, describe, join_names

GRAPH_PRIORS = {
    "uniform": "every graph has the same weight; most graphs are dense, so is this prior",
    "fair": "1 / C(D-1, number of parents) per node: every number of parents is equally "
    "likely a priori if acyclicity did not matter",
    "erdos-renyi": "the same odds for every edge, ErdosRenyi(edges_per_node=1.0)",
}


class ErdosRenyi(BaseEstimator):  # type: ignore[misc]
    """Weight w(G) = (p / (1 - p)) ** number of edges, p = 2 edges_per_node / (D - 1).

    Parameters
    ----------
    edges_per_node : float
        Mean number of edges per node of a random graph with edge probability p between
        each pair. Above 0 and such that p is below 1. Acyclicity is not accounted for,
        so that the mean number of edges of a DAG drawn from this prior differs.

    Examples
    --------
    >>> import jspgfn
    >>> jspgfn.ErdosRenyi(edges_per_node=2.0)
    ErdosRenyi(edges_per_node=2.0)
    """

    def __init__(self, edges_per_node: float = 1.0) -> None:
        self.edges_per_node = edges_per_node


class EdgeProbabilities(BaseEstimator):  # type: ignore[misc]
    """Weight w(G) = product over edges i -> j of P[i, j] / (1 - P[i, j]).

    Parameters
    ----------
    P : DataFrame or array-like of shape (D, D)
        P[i, j] from 0 to 1 for the edge i -> j, as if edges were independent and
        acyclicity did not matter. 0 forbids the edge, 1 requires it, 0.5 is neutral;
        the diagonal is ignored. Rows and columns of a DataFrame must be named like the
        columns of the data, in the same order.

    Examples
    --------
    >>> import jspgfn
    >>> prior = jspgfn.EdgeProbabilities([[0, 0.9], [0.1, 0]])
    """

    def __init__(self, P: Any) -> None:
        self.P = P


@dataclass(frozen=True)
class GraphPrior:
    """A prior after the checks: what the compiled core needs to know."""

    text: str
    by_size: str  # "uniform" or "fair"
    edge_log_odds: NDArray[np.float64] | None = None  # (D, D), finite
    probability: NDArray[np.float64] | None = None  # (D, D), where 0 and 1 are rules


def check_graph_prior(graph_prior: object, names: list[str]) -> GraphPrior:
    """Settings of a prior given by name or as an object; ValueError if it is neither."""
    if isinstance(graph_prior, str) and graph_prior == "erdos-renyi":
        graph_prior = ErdosRenyi()
    if isinstance(graph_prior, str) and graph_prior in GRAPH_PRIORS:
        return GraphPrior(graph_prior, graph_prior)
    if isinstance(graph_prior, ErdosRenyi):
        return check_erdos_renyi(graph_prior, len(names))
    if isinstance(graph_prior, EdgeProbabilities):
        probability = check_probabilities(graph_prior.P, names)
        inner = np.where((probability > 0) & (probability < 1), probability, 0.5)
        odds = np.log(inner) - np.log1p(-inner)
        return GraphPrior("EdgeProbabilities", "uniform", odds, probability)
    known = ", ".join(repr(name) for name in GRAPH_PRIORS)
    raise ValueError(
        f"graph_prior must be {known}, or an object ErdosRenyi(...) or "
        f"EdgeProbabilities(...), got {describe(graph_prior)}"
    )


def check_erdos_renyi(prior: ErdosRenyi, n_variables: int) -> GraphPrior:
    per_node = check_real("edges_per_node", prior.edges_per_node, above=0)
    text = f"ErdosRenyi(edges_per_node={per_node:g})"
    if n_variables == 1:
        return GraphPrior(text, "uniform")
    p = 2 * per_node / (n_variables - 1)
    if p >= 1:
        raise ValueError(
            f"edges_per_node={per_node:g} is too large for {n_variables} variables: the "
            f"edge probability 2 edges_per_node / (D - 1) = {p:.3g} must be below 1; give "
            f"less than {(n_variables - 1) / 2:g}"
        )
    odds = np.full((n_variables, n_variables), np.log(p) - np.log1p(-p))
    return GraphPrior(text, "uniform", odds)


def check_probabilities(P: Any, names: list[str]) -> NDArray[np.float64]:
    n_variables = len(names)
    for axis in ("columns", "index"):
        labels = getattr(P, axis, None)
        if labels is not None and not callable(labels):
            found = [str(label) for label in labels]
            if found != names and any(isinstance(label, str) for label in labels):
                raise ValueError(
                    f"EdgeProbabilities: the {axis} must be the variables in the order of "
                    f"the data, {join_names(names)}, got {join_names(found)}"
                )
    try:
        probability = np.array(P, dtype=np.float64, order="C")  # a copy
    except (TypeError, ValueError) as error:
        raise ValueError(f"EdgeProbabilities: P is not numeric ({error})") from None
    if probability.shape != (n_variables, n_variables):
        raise ValueError(
            f"EdgeProbabilities: P must have shape ({n_variables}, {n_variables}), "
            f"got {probability.shape}"
        )
    np.fill_diagonal(probability, 0)
    bad = np.argwhere(~((probability >= 0) & (probability <= 1)))
    if len(bad):
        i, j = bad[0]
        raise ValueError(
            f"EdgeProbabilities: P of {names[i]!r} -> {names[j]!r} must be from 0 to 1, "
            f"got {probability[i, j]:g}"
        )
    return probability
