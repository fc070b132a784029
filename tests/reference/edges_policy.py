"""The `edges` generator without its network: pairs walked in a fixed order, base odds only.

Every unordered pair of variables is visited once, strongest pair first. At each visit the
pair stays empty or gets one of its two directions, with logits 0, D_ij and D_ji, where

    D_ij = log [T_j(S, U) - T_j(S, U - i)] / T_j(S, U - i),
    T_j(S, U) = sum over S' with S subset S' subset S + U of exp l_j(S'),

S are the parents of j so far and U the candidates of j that could still be added: their
pair comes now or later, they are no descendants of j, and S plus the candidate is allowed.
D_ij is thus the log-odds that i joins the parents of j if other nodes did not matter.
A direction that would close a cycle or that is not in U is not offered. All sums are
written out over the whole table; `scores` (D, 2^D) holds local scores, -inf = excluded.
"""

import itertools

import numpy as np

from reference import dags
from reference.exact_posterior import log_sum

CLIP = 30.0


def log_restricted_sum(table, S, U):
    """log T(S, U) of one row of scores; S and U are disjoint masks."""
    sets = np.arange(len(table))
    return log_sum(table[(sets & S == S) & (sets & ~(S | U) == 0)])


def odds(table, S, U, i):
    """D for candidate i in U, clipped."""
    joined = log_restricted_sum(table, S | 1 << i, U & ~(1 << i))
    apart = log_restricted_sum(table, S, U & ~(1 << i))
    return float(np.clip(joined - apart, -CLIP, CLIP))


def undecided(scores, graph, pairs, j):
    """U for node j: `pairs` are the pairs not yet decided."""
    D = len(scores)
    S = dags.parent_masks(graph)[j]
    reach = dags.closure(graph)
    U = 0
    for i in range(D):
        later = (min(i, j), max(i, j)) in pairs
        if i != j and later and not reach[j, i] and scores[j, S | 1 << i] > -np.inf:
            U |= 1 << i
    return S, U


def direction_odds(scores, graph, pairs, i, j):
    """D_ij at the present state, -inf if i -> j is not on offer."""
    S, U = undecided(scores, graph, pairs, j)
    return odds(scores[j], S, U, i) if U >> i & 1 else -np.inf


def slot_order(scores):
    """Pairs (i < j), largest log(1 + exp D_ij + exp D_ji) in the empty graph first.

    Ties keep the order of (i, j). Pairs with no possible direction are left out.
    """
    D = len(scores)
    empty = np.zeros((D, D), bool)
    pairs = list(itertools.combinations(range(D), 2))
    strength = {}
    for i, j in pairs:
        forward = direction_odds(scores, empty, pairs, i, j)
        backward = direction_odds(scores, empty, pairs, j, i)
        if max(forward, backward) > -np.inf:
            strength[i, j] = log_sum(np.array([0.0, forward, backward]))
    return sorted(strength, key=lambda pair: -strength[pair])


def visits(scores, target, order):
    """(pair, logits of nothing / i -> j / j -> i, index of what `target` has) per visit."""
    graph = np.zeros_like(target)
    for position, (i, j) in enumerate(order):
        left = set(order[position:])
        logits = np.array([
            0.0,
            direction_odds(scores, graph, left, i, j),
            direction_odds(scores, graph, left, j, i),
        ])  # fmt: skip
        choice = 1 if target[i, j] else 2 if target[j, i] else 0
        yield (i, j), logits, choice
        graph[i, j], graph[j, i] = target[i, j], target[j, i]


def log_prob(scores, graph, order=None):
    """log q of one DAG under the base policy."""
    graph = np.asarray(graph, bool)
    order = slot_order(scores) if order is None else order
    pairs = {(i, j) for i, j in order} | {(j, i) for i, j in order}
    if any(edge not in pairs for edge in zip(*np.nonzero(graph), strict=True)):
        return -np.inf
    total = 0.0
    for _, logits, choice in visits(scores, graph, order):
        total += logits[choice] - log_sum(logits)
        if total == -np.inf:
            break
    return total
