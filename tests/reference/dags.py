"""Directed acyclic graphs by brute force. A[i, j] = True means i -> j."""

import functools

import numpy as np

N_DAGS = {1: 1, 2: 3, 3: 25, 4: 543, 5: 29281}
"""Numbers of labelled DAGs (sequence A003024 of the OEIS)."""


def is_acyclic(graphs):
    """One flag per graph of (n, D, D): nodes without parents are peeled off D times."""
    graphs = np.asarray(graphs, bool)
    left = np.ones(graphs.shape[:2], bool)  # [n, D] nodes not yet peeled off
    for _ in range(graphs.shape[1]):
        has_parent = (graphs & left[:, :, None]).any(axis=1)
        left &= has_parent
    return ~left.any(axis=1)


@functools.cache
def enumerate_dags(n_variables):
    """All DAGs as bool (n, D, D): all directed graphs written down, then filtered."""
    cells = [(i, j) for i in range(n_variables) for j in range(n_variables) if i != j]
    codes = np.arange(1 << len(cells))
    graphs = np.zeros((len(codes), n_variables, n_variables), bool)
    for bit, (i, j) in enumerate(cells):
        graphs[:, i, j] = codes >> bit & 1
    dags = graphs[is_acyclic(graphs)]
    dags.setflags(write=False)
    return dags


def closure(graph):
    """reach[i, j] = there is a path i -> ... -> j with at least one edge (Warshall)."""
    reach = np.array(graph, bool)
    for k in range(len(reach)):
        reach |= reach[:, k : k + 1] & reach[k : k + 1, :]
    return reach


def legal_edges(graph):
    """legal[i, j] = i -> j is absent and closes no cycle: every cell is tried."""
    graph = np.asarray(graph, bool)
    legal = np.zeros_like(graph)
    for i, j in zip(*np.nonzero(~graph), strict=True):
        grown = graph.copy()
        grown[i, j] = True
        legal[i, j] = is_acyclic(grown[None])[0]
    return legal


def random_dag(n_variables, edge_probability, rng):
    """A random order of the nodes, then each forward edge by a coin."""
    order = rng.permutation(n_variables)
    upper = np.triu(rng.random((n_variables, n_variables)) < edge_probability, 1)
    graph = np.zeros((n_variables, n_variables), bool)
    graph[np.ix_(order, order)] = upper
    return graph


def parent_masks(graph):
    """Parents of every node as integers, bit i set = node i is a parent."""
    weights = 1 << np.arange(len(graph))
    return [int(weights[column].sum()) for column in np.asarray(graph, bool).T]
