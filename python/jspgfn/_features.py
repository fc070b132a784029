"""Features of many graphs at once: paths, Markov blankets, equivalence classes.

All take bool (n, D, D) and work by products of 0/1 matrices, which is how linear algebra
libraries do hundreds of graphs in the time of one in a Python loop.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Bools = NDArray[np.bool_]
Singles = NDArray[np.float32]


def paths_of(graphs: Bools) -> Bools:
    """Whether j can be reached from i, by squaring: paths of length 1, 2, 4, ..."""
    reach = graphs.astype(np.float32)
    length = 1
    while length < graphs.shape[1]:
        reach = np.minimum(reach + reach @ reach, 1)
        length *= 2
    return np.asarray(reach > 0)


def blankets_of(graphs: Bools) -> Bools:
    """Parents, children and their other parents."""
    edges = graphs.astype(np.float32)
    spouses = edges @ edges.transpose(0, 2, 1) > 0
    blanket: Bools = graphs | graphs.transpose(0, 2, 1) | spouses
    n_variables = graphs.shape[1]
    blanket[:, np.arange(n_variables), np.arange(n_variables)] = False
    return blanket


def compelled_of(graphs: Bools) -> Bools:
    """The edges that point the same way in all graphs of the Markov equivalence class.

    Graphs are equivalent when they have the same adjacencies and the same colliders
    i -> k <- j without an edge between i and j (Verma and Pearl). Edges of such colliders
    are compelled; from there the rules of Meek are applied until nothing changes. As an
    edge can only be compelled in the direction that the graph has, i -> j or "not yet" is
    all there is to decide.
    """
    n_variables = graphs.shape[1]
    edges = graphs.astype(np.float32)
    apart = 1 - edges - edges.transpose(0, 2, 1) - np.eye(n_variables, dtype=np.float32)
    compelled = edges * (apart @ edges > 0)
    while True:
        before = np.count_nonzero(compelled)
        # 1: k -> i compelled, k and j apart: i -> j, or i would be a new collider
        found = compelled.transpose(0, 2, 1) @ apart
        # 2: i -> k -> j compelled: i -> j, or there would be a cycle
        found += compelled @ compelled
        compelled = np.maximum(compelled, edges * (found > 0))
        if np.count_nonzero(compelled) > before:
            continue
        # 3, costlier: i - k -> j and i - l -> j, k and l apart: i -> j
        compelled = np.maximum(
            compelled, edges * by_third_rule(edges, compelled, apart)
        )
        if np.count_nonzero(compelled) == before:
            return np.asarray(compelled > 0)


def by_third_rule(edges: Singles, compelled: Singles, apart: Singles) -> Singles:
    """Whether i - k -> j <- l - i with k and l apart, for each i and j."""
    open_edges = edges - compelled
    open_edges = open_edges + open_edges.transpose(0, 2, 1)
    found = np.zeros_like(edges)
    for j in range(edges.shape[1]):
        through = open_edges * compelled[:, None, :, j]  # [i, k]
        rows = np.flatnonzero((through.sum(axis=2) >= 2).any(axis=1))
        if len(rows):
            some = through[rows]
            found[rows, :, j] = ((some @ apart[rows]) * some).sum(axis=2) > 0
    return found


def distinct_graphs(graphs: Bools) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The first draw of each distinct graph, and which of them every draw is."""
    packed = np.packbits(graphs.reshape(len(graphs), -1), axis=1)
    if not packed.shape[1]:
        return np.zeros(1, np.intp), np.zeros(len(graphs), np.intp)
    keys = np.ascontiguousarray(packed).view(f"V{packed.shape[1]}")[:, 0]
    _, first, which = np.unique(keys, return_index=True, return_inverse=True)
    return first, which.reshape(-1)
