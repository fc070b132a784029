"""The `edges` generator without its network: a fixed order of pairs, base odds only.

Every unordered pair of variables is visited once, strongest pair first. At each visit
the pair stays empty or gets one of its directions, with weights 1, e^D_ij and e^D_ji
(only open directions are on offer), where

    D_ij = log [T_j(S, U) - T_j(S, U - i)] / T_j(S, U - i),
    T_j(S, U) = sum over S' with S subset S' subset S + U of exp l_j(S').

Each weight w gets a share of their sum s on top: SHARE s min(1, HOPELESS w / s)^(1/4). S
are the parents of j so far and U its open candidates: their pair comes now or later, they
are no descendants of j, and S plus the candidate is not excluded. D_ij is thus the log-
odds that i joins the parents of j if other nodes did not matter. The odds of a node are
refreshed when it gained a parent or when a candidate with odds above REFRESH_ABOVE was
closed; others matter too little.

All sums are written out over the whole table; `scores` (D, 2^D) holds local scores.
"""

import itertools

import numpy as np

from reference import dags
from reference.exact_posterior import log_sum

CLIP = -30.0, 80.0
SHARE = np.exp(-8.0)
HOPELESS = np.exp(25.0)
REFRESH_ABOVE = -2.0


def log_restricted_sum(table, S, U):
    """log T(S, U) of one row of scores; S and U are disjoint masks."""
    sets = np.arange(len(table))
    return log_sum(table[(sets & S == S) & (sets & ~(S | U) == 0)])


class Walk:
    """Where a walk stands: graph so far, open[i, j] and odds[i, j] of directions."""

    def __init__(self, scores):
        self.scores = scores
        D = len(scores)
        self.graph = np.zeros((D, D), bool)
        self.open = ~np.eye(D, dtype=bool)
        self.odds = np.full((D, D), -np.inf)
        self.stale = set(range(D))
        for j in range(D):
            self.close_excluded(j)
        self.refresh()

    def close_excluded(self, j):
        S = dags.parent_masks(self.graph)[j]
        for i in range(len(self.graph)):
            if self.open[i, j] and self.scores[j, S | 1 << i] == -np.inf:
                self.close(i, j)

    def close(self, i, j):
        if self.open[i, j] and self.odds[i, j] > REFRESH_ABOVE:
            self.stale.add(j)
        self.open[i, j] = False

    def add(self, i, j):
        self.close(i, j)
        self.graph[i, j] = True
        self.stale.add(j)
        reach = dags.closure(self.graph)
        for child, parent in zip(*np.nonzero(reach), strict=True):
            self.close(parent, child)  # child reaches parent already
        self.close_excluded(j)

    def refresh(self):
        for j in self.stale:
            S = dags.parent_masks(self.graph)[j]
            candidates = np.flatnonzero(self.open[:, j])
            U = int(sum(1 << i for i in candidates))
            for i in candidates:
                others = U & ~(1 << i)
                joined = log_restricted_sum(self.scores[j], S | 1 << i, others)
                apart = log_restricted_sum(self.scores[j], S, others)
                self.odds[i, j] = np.clip(joined - apart, *CLIP)
        self.stale = set()

    def log_probs(self, i, j):
        """Log-probabilities of: no edge, i -> j, j -> i."""
        self.refresh()
        is_open = np.array([True, self.open[i, j], self.open[j, i]])
        weights = np.exp([0.0, self.odds[i, j], self.odds[j, i]]) * is_open
        total = weights.sum()
        weights += SHARE * total * np.minimum(1, HOPELESS * weights / total) ** 0.25
        with np.errstate(divide="ignore"):
            return np.log(weights / weights.sum())

    def decide(self, i, j, choice):
        if choice == 1:
            self.add(i, j)
        elif choice == 2:
            self.add(j, i)
        else:
            self.close(i, j)
            self.close(j, i)


def free_log_odds(table, i):
    """Log-odds, not clipped, that i joins a parent set that is free otherwise."""
    has_i = np.arange(len(table)) >> i & 1 == 1
    return log_sum(table[has_i]) - log_sum(table[~has_i])


def slot_order(scores):
    """Pairs (i < j), largest log(1 + exp(odds of i -> j) + exp(odds of j -> i)) first.

    Ties keep the order of (i, j).
    """
    strength = {
        (i, j): log_sum(
            np.array([0.0, free_log_odds(scores[j], i), free_log_odds(scores[i], j)])
        )
        for i, j in itertools.combinations(range(len(scores)), 2)
    }
    return sorted(strength, key=lambda pair: -strength[pair])


def log_prob(scores, graph, order=None):
    """log q of one DAG under the base policy."""
    graph = np.asarray(graph, bool)
    order = slot_order(scores) if order is None else order
    walk = Walk(scores)
    total = 0.0
    for i, j in order:
        choice = 1 if graph[i, j] else 2 if graph[j, i] else 0
        log_probs = walk.log_probs(i, j)
        if log_probs[choice] == -np.inf:
            return -np.inf
        total += log_probs[choice]
        walk.decide(i, j, choice)
    return total if np.array_equal(walk.graph, graph) else -np.inf
