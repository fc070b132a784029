"""Simulated data whose graph and parameters are known."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import Bunch

from ._validation import (
    check_choice,
    check_integer,
    check_memory,
    check_real,
    check_seed,
    describe,
)

__all__ = ["linear_gaussian", "nonlinear_gaussian"]


def linear_gaussian(
    *,
    n_variables: int,
    n_samples: int,
    edges_per_node: float = 1.0,
    graph: str = "er",
    weights: str = "normal",
    noise_scale: ArrayLike = 0.1**0.5,
    interventions: float = 0.0,
    random_state: Any = None,
) -> Bunch:
    """Rows from a random linear Gaussian network.

    Parameters
    ----------
    n_variables, n_samples : int
        Columns D and rows N.
    edges_per_node : float
        Mean number of edges divided by D. For "er" each pair is joined with probability
        min(1, 2 edges_per_node / (D - 1)).
    graph : {"er", "scale-free"}
        "er": a random order of the variables, then each pair joined independently,
        earlier to later. "scale-free": variables join one by one, each with about
        edges_per_node parents among the earlier ones, taken with probability
        proportional to one plus their number of children, so that a few hubs have many
        children.
    weights : {"normal", "uniform"}
        "normal": N(0, 1). "uniform": size uniform on [0.5, 2], random sign.
    noise_scale : float or array-like of shape (D,)
        Standard deviation of the noise.
    interventions : float
        Fraction of rows, from 0 to 1, in which one random variable is set to a N(0, 1)
        number instead of obeying its mechanism.
    random_state : int, numpy generator or None
        Seed.

    Returns
    -------
    Bunch
        X (N, D) float64; graph (D, D) bool, graph[i, j] = edge i -> j; coef (D, D)
        float64, weight of i -> j; noise_scale (D,) float64; interventions (N, D) uint8
        mask, 1 = this cell was set, ready for `JSPGFN.fit`.

    Raises
    ------
    ValueError
        For arguments out of range.

    Notes
    -----
    In such data the variance of a variable tends to grow along the order of the graph,
    so that sorting columns by variance already recovers much of it: high scores on
    these data are no proof of a good method.

    Examples
    --------
    >>> import jspgfn
    >>> sim = jspgfn.simulate.linear_gaussian(
    ...     n_variables=5, n_samples=100, random_state=0)
    >>> sim.X.shape, sim.graph.shape
    ((100, 5), (5, 5))
    """
    n_variables, n_samples = check_sizes(n_variables, n_samples)
    noise = check_noise(noise_scale, n_variables)
    fraction = check_real("interventions", interventions, at_least=0, at_most=1)
    check_choice("weights", weights, {"normal": "N(0, 1)", "uniform": "+-[0.5, 2]"})
    rng = np.random.default_rng(check_seed(random_state))

    order, adjacency = draw_graph(rng, n_variables, edges_per_node, graph)
    coef = np.where(adjacency, draw_weights(rng, n_variables, weights), 0.0)
    mask = draw_targets(rng, n_samples, n_variables, fraction)
    X = rng.standard_normal((n_samples, n_variables)) * noise
    settings = rng.standard_normal((n_samples, n_variables))
    for j in order:
        X[:, j] += X @ coef[:, j]
        X[:, j] = np.where(mask[:, j], settings[:, j], X[:, j])
    return Bunch(
        X=X, graph=adjacency, coef=coef, noise_scale=noise.copy(), interventions=mask
    )


def nonlinear_gaussian(
    *,
    n_variables: int,
    n_samples: int,
    edges_per_node: float = 1.0,
    graph: str = "er",
    hidden: int = 5,
    noise_scale: ArrayLike = 0.1**0.5,
    interventions: float = 0.0,
    random_state: Any = None,
) -> Bunch:
    """Rows from a random network of small neural networks, the paper's non-linear data.

    ``x_j = b2_j + sum_u w2_ju relu(b1_ju + sum_i w1_jui x_i) + e_j``, all weights and
    biases N(0, 1).

    Parameters
    ----------
    n_variables, n_samples : int
        Columns D and rows N.
    edges_per_node, graph : float and str
        How the graph is drawn, as in `linear_gaussian`.
    hidden : int
        Units of the hidden layer of each variable.
    noise_scale : float or array-like of shape (D,)
        Standard deviation of the noise.
    interventions : float
        Fraction of rows with one random variable set, as in `linear_gaussian`.
    random_state : int, numpy generator or None
        Seed.

    Returns
    -------
    Bunch
        X, graph, noise_scale and interventions as in `linear_gaussian`; w1 (D, hidden, D)
        [child, unit, parent], 0 where no edge, b1 and w2 (D, hidden), b2 (D,).

    Raises
    ------
    ValueError
        For arguments out of range.

    Examples
    --------
    >>> import jspgfn
    >>> sim = jspgfn.simulate.nonlinear_gaussian(
    ...     n_variables=5, n_samples=100, random_state=0)
    >>> sim.X.shape, sim.w1.shape
    ((100, 5), (5, 5, 5))
    """
    n_variables, n_samples = check_sizes(n_variables, n_samples)
    noise = check_noise(noise_scale, n_variables)
    fraction = check_real("interventions", interventions, at_least=0, at_most=1)
    hidden = check_integer("hidden", hidden, at_least=1)
    rng = np.random.default_rng(check_seed(random_state))

    order, adjacency = draw_graph(rng, n_variables, edges_per_node, graph)
    w1 = rng.standard_normal((n_variables, hidden, n_variables))
    w1 = np.where(adjacency.T[:, None, :], w1, 0.0)
    b1, w2 = rng.standard_normal((2, n_variables, hidden))
    b2 = rng.standard_normal(n_variables)
    mask = draw_targets(rng, n_samples, n_variables, fraction)
    X = rng.standard_normal((n_samples, n_variables)) * noise
    settings = rng.standard_normal((n_samples, n_variables))
    for j in order:
        X[:, j] += b2[j] + np.maximum(X @ w1[j].T + b1[j], 0) @ w2[j]
        X[:, j] = np.where(mask[:, j], settings[:, j], X[:, j])
    return Bunch(
        X=X,
        graph=adjacency,
        w1=w1,
        b1=b1,
        w2=w2,
        b2=b2,
        noise_scale=noise.copy(),
        interventions=mask,
    )


def check_sizes(n_variables: object, n_samples: object) -> tuple[int, int]:
    """Both as integers; ValueError when the arrays would not fit in memory."""
    columns = check_integer("n_variables", n_variables, at_least=1)
    rows = check_integer("n_samples", n_samples, at_least=1)
    # four arrays of doubles and a mask per cell, as many per pair of variables
    check_memory(
        33.0 * columns * (rows + columns),
        f"{rows} rows of {columns} simulated variables",
        "ask for fewer",
    )
    return columns, rows


def check_noise(noise_scale: ArrayLike, n_variables: int) -> NDArray[np.float64]:
    try:
        noise = np.broadcast_to(np.asarray(noise_scale, dtype=float), (n_variables,))
    except (TypeError, ValueError):
        noise = np.array([np.nan])
    if not (np.isfinite(noise) & (noise >= 0)).all():
        raise ValueError(
            f"noise_scale must be a number or {n_variables} numbers, finite and at least "
            f"0, got {describe(noise_scale)}"
        )
    return noise


def draw_graph(
    rng: np.random.Generator, n_variables: int, edges_per_node: object, kind: object
) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """An order of the variables, and edges that go forward in it."""
    mean = check_real("edges_per_node", edges_per_node, at_least=0)
    check_choice("graph", kind, {"er": "Erdos-Renyi", "scale-free": "few hubs"})
    order = rng.permutation(n_variables)
    draw = erdos_renyi if kind == "er" else scale_free
    adjacency = np.zeros((n_variables, n_variables), dtype=bool)
    adjacency[np.ix_(order, order)] = draw(rng, n_variables, mean)
    return order, adjacency


def erdos_renyi(
    rng: np.random.Generator, n_variables: int, edges_per_node: float
) -> NDArray[np.bool_]:
    """Edges from lower to higher numbers."""
    chance = min(1.0, 2 * edges_per_node / max(n_variables - 1, 1))
    return np.triu(rng.random((n_variables, n_variables)) < chance, k=1)


def scale_free(
    rng: np.random.Generator, n_variables: int, edges_per_node: float
) -> NDArray[np.bool_]:
    """Edges from lower to higher numbers; parents by preferential attachment."""
    adjacency = np.zeros((n_variables, n_variables), dtype=bool)
    for j in range(1, n_variables):
        whole, part = divmod(edges_per_node, 1.0)
        n_parents = min(j, int(whole) + int(rng.random() < part))
        attraction = 1.0 + adjacency[:j].sum(axis=1)
        parents = rng.choice(
            j, n_parents, replace=False, p=attraction / attraction.sum()
        )
        adjacency[parents, j] = True
    return adjacency


def draw_weights(
    rng: np.random.Generator, n_variables: int, kind: str
) -> NDArray[np.float64]:
    shape = (n_variables, n_variables)
    if kind == "normal":
        return rng.standard_normal(shape)
    return np.asarray(rng.uniform(0.5, 2.0, shape) * rng.choice([-1.0, 1.0], shape))


def draw_targets(
    rng: np.random.Generator, n_samples: int, n_variables: int, fraction: float
) -> NDArray[np.uint8]:
    """One random target in round(fraction * n_samples) random rows."""
    mask = np.zeros((n_samples, n_variables), dtype=np.uint8)
    rows = rng.permutation(n_samples)[: round(fraction * n_samples)]
    mask[rows, rng.integers(n_variables, size=len(rows))] = 1
    return mask
