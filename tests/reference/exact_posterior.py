"""Exact posterior over DAGs from a table of local scores (D, 2^D), D <= 12.

    tau_j(U) = sum over S subset of U of exp l_j(S)
    Z(W) = sum over T of (-1)^(|T|+1) Z(W - T) prod_{j in T} tau_j(W - T),
           T a nonempty subset of W
    B(U) = sum over T of (-1)^(|T|+1) B(U + T) prod_{j in T} tau_j(U),
           T a nonempty subset of V - U

Z(W) adds up all DAGs on W, B(U) all completions once U is placed; Z(empty) = B(V) = 1
and log Z = log Z(V) (Tian and He, UAI 2009). Everything is a logarithm: posteriors with
far-apart modes need parent sets thousands of nats below the best ones. The alternating
sums lose nothing that matters, because no term exceeds the result: Z(W) is the weight
of a union of events, and each term is the weight of an intersection.
"""

import numpy as np

from reference import dags


def log_sum(values, signs=1.0):
    """log of sum of signs * exp(values), which must not be negative beyond rounding."""
    top = np.max(values, initial=-np.inf)
    if top == -np.inf:
        return -np.inf
    total = np.sum(signs * np.exp(values - top))
    return top + np.log(total) if total > 0 else -np.inf


def subsets_of(mask, n_variables):
    everything = np.arange(1 << n_variables)
    return everything[everything & ~mask == 0]


def subset_sums(scores):
    """log tau (D, 2^D) by the zeta transform: one pass per variable."""
    log_tau = np.array(scores, float)
    n_variables, size = log_tau.shape
    for i in range(n_variables):
        has = np.flatnonzero(np.arange(size) >> i & 1)
        log_tau[:, has] = np.logaddexp(log_tau[:, has], log_tau[:, has ^ 1 << i])
    return log_tau


class ExactPosterior:
    """log_Z, edges (D, D) and parent_sets (D, 2^D) of a table of local scores."""

    def __init__(self, scores):
        self.scores = np.asarray(scores, float)
        D, size = self.scores.shape
        full = size - 1
        bits = np.arange(size)[:, None] >> np.arange(D) & 1  # [2^D, D]
        odd = np.where(bits.sum(axis=1) % 2 == 1, 1.0, -1.0)
        log_tau = subset_sums(self.scores)

        def log_product(T, U):
            """Sum over j in T of log tau_j(U), for arrays T and U that broadcast."""
            terms = np.where(bits[T] == 1, log_tau[:, U].T, 0.0)
            return terms.sum(axis=-1)

        log_Z = np.full(size, -np.inf)
        log_Z[0] = 0.0
        for W in range(1, size):
            T = subsets_of(W, D)[1:]
            log_Z[W] = log_sum(log_Z[W ^ T] + log_product(T, W ^ T), odd[T])

        log_B = np.full(size, -np.inf)
        log_B[full] = 0.0
        # first[U, j]: j has its parents in U, and no other node outside U has
        first = np.full((size, D), -np.inf)
        for U in range(full - 1, -1, -1):
            T = subsets_of(full ^ U, D)[1:]
            terms = log_B[U | T] + log_product(T, np.full_like(T, U))
            log_B[U] = log_sum(terms, odd[T])
            for j in range(D):
                with_j = T >> j & 1 == 1
                first[U, j] = log_sum(terms[with_j], odd[T[with_j]])

        self.log_Z = log_Z[full]
        placed = first + log_Z[:, None] - self.log_Z  # log P(j is placed right after U)
        with np.errstate(invalid="ignore"):
            above = np.where(
                placed > -np.inf, placed - log_tau.T, -np.inf
            ).T  # [D, 2^D]
        for i in range(D):  # sum over supersets of S
            lacks = np.flatnonzero(np.arange(size) >> i & 1 == 0)
            above[:, lacks] = np.logaddexp(above[:, lacks], above[:, lacks | 1 << i])
        self.parent_sets = np.exp(self.scores + above)
        self.edges = (self.parent_sets @ bits).T  # [i, j]

    def log_reward(self, graphs):
        return log_reward(self.scores, graphs)

    def log_prob(self, graphs):
        return self.log_reward(graphs) - self.log_Z


def log_reward(scores, graphs):
    """Sum of local scores of every graph of (n, D, D)."""
    graphs = np.asarray(graphs, bool)
    D = graphs.shape[1]
    masks = np.einsum("nij,i->nj", graphs.astype(np.int64), 1 << np.arange(D))
    return scores[np.arange(D), masks].sum(axis=1)


def enumerated(scores):
    """DAGs, their log probabilities and log Z, by adding up every DAG (D <= 5)."""
    graphs = dags.enumerate_dags(len(scores))
    rewards = log_reward(np.asarray(scores, float), graphs)
    log_Z = log_sum(rewards)
    return graphs, rewards - log_Z, log_Z
