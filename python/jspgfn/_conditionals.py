"""Edge probabilities from draws: not by counting edges, but given the rest of each draw.

Given the parents of all nodes but i and j, the probability that i is a parent of j follows
from a few sums in the score tables (csrc/dag/jsp_conditional.h). Its mean over draws of the
posterior is that of the edge itself and varies less (Rao and Blackwell).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._posterior import Posterior

Floats = NDArray[np.float64]

# Graphs between two chances for Ctrl-C, times variables: 0.1 s at 20 variables, 0.3 s at
# 100 with 12 candidates each.
NODES_AT_ONCE = 100_000


def average_edges(parts: Iterable[Posterior], weighted: bool, scores: Any) -> Floats:
    """Edge probabilities (D, D) over all parts, of which one is in memory at a time.

    Weights are relative to the largest so far.

    scores : tables of the target, or None where there are none; then edges are counted

    ValueError when all weights are 0.
    """
    total: Any = 0.0
    sum_of_weights, largest = 0.0, -np.inf
    for graphs, log_weights in pieces(parts, weighted):
        before, largest = largest, max(largest, float(log_weights.max()))
        if largest == -np.inf:  # `reweight` may take all weight from a piece
            continue
        weights = np.exp(log_weights - largest)
        share = np.exp(before - largest)
        total = share * total + sum_edges(graphs, weights, scores)
        sum_of_weights = share * sum_of_weights + weights.sum()
    if largest == -np.inf:
        raise ValueError("draws must have a weight above 0, but all of them have none")
    # sums of many numbers may end beyond 1 by their rounding
    return np.asarray(np.minimum(total / sum_of_weights, 1.0))


def pieces(
    parts: Iterable[Posterior], weighted: bool
) -> Iterator[tuple[NDArray[np.bool_], Floats]]:
    """Graphs and their log weights, a few at a time."""
    for part in parts:
        log_weights = part._all_log_weights() if weighted else np.zeros(len(part))
        size = max(1, NODES_AT_ONCE // part.graphs.shape[1])
        for first in range(0, len(part), size):
            here = slice(first, first + size)
            yield part.graphs[here], log_weights[here]


def sum_edges(graphs: NDArray[np.bool_], weights: Floats, scores: Any) -> Floats:
    """Sum over graphs of weight times edge probabilities, (D, D)."""
    if scores is None:
        return np.asarray(np.einsum("s,sij->ij", weights, graphs))
    cells = np.ascontiguousarray(graphs).view(np.uint8)
    return np.asarray(scores.edge_conditionals(cells, weights))
