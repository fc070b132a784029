"""The two sets of graphs that a diagnosis compares: draws of the sampler, and a reference.

The reference is exact draws where the sums over all graphs are within reach, else states
of several long tempered chains.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _core
from ._engine import SECONDS_PER_CALL, Engine, held_interrupts
from ._mcmc import (
    COLD_MOVES,
    MOVES_PER_HOT_SHARE,
    N_BATCHES,
    N_STORED,
    default_temperatures,
)
from ._mixing import LARGEST_R_HAT, Record, graphs_of_states, split_r_hat
from ._validation import Floats, available_memory
from ._weights import log_mean_exp

Graphs = NDArray[np.uint8]

# Variables up to which the reference is exact: without and with max_time.
EXACT_VARIABLES = 18
EXACT_VARIABLES_TIMED = 22

# How max_time is shared out: own draws, then chains until `CHAINS_UNTIL`, then log q of
# their states. Fewer than this of each are not compared however long they take: a missing
# mode of 1 % would not be seen, or one be seen where weights only need more draws.
OWN_SHARE, CHAINS_UNTIL = 0.25, 0.7
FEWEST = 1000
OWN_AT_ONCE = 1000

# An edge that none or all of n draws have is uncertain too: a standard error of this / n
# (n: effective draws, where they are weighted). Four of them are 10 / n; more frequent ones
# stay unseen once in e^10 times.
NEVER_SEEN = 2.5

# The reference chains.
N_CHAINS = 4
N_REFERENCE = 4096  # of their states are compared, fewer where log q takes long
BURN_IN = 0.3

# Chains start anywhere and may sit for long where the posterior hardly is. The first states
# of a chain, in steps of one of so many stretches, are no part of the reference while the
# region in which they are has less than this share of the posterior ...
N_STRETCHES = 32
NEGLIGIBLE_REGION = 0.01

# ... as far as q can tell: it covers so much of the region.
LEAST_COVERED = 0.5

# A chain of which more than this is its way there is left out, and so many must remain.
LONGEST_WAY = 0.8
FEWEST_CHAINS = 2


@dataclass
class Own:
    """Draws of the sampler."""

    log_weight: Floats  # log R - log q, (n,)
    log_reward: Floats
    edges: Floats  # frequencies, (D, D)
    edges_error: Floats
    edges_weighted: Floats
    edges_weighted_error: Floats
    kl_parameters: float  # of theta given the graph, 0 where theta is drawn exactly
    n_wanted: int  # more than there are when the time was over
    seconds_each: float  # of a draw, about as many as log q of a graph takes


@dataclass
class Reference:
    """Draws of the posterior, or of chains that aim at it."""

    log_weight: Floats  # (n_chains, n); one row for exact draws
    log_prob: Floats  # log q, (n_chains, n)
    log_reward: Floats
    repeats: Floats  # (n_chains, n): how often this very graph is among its chain's
    edges: Floats
    edges_error: Floats
    log_partition: float | None = None  # exact
    r_hat: float = 1.0
    n_lost: int = 0  # chains left out, for they did not come to where the posterior is
    way: float = 0.0  # largest share of the states of another chain left out as its way
    timed_out: bool = False

    @property
    def arrived(self) -> bool:
        """Whether enough of the chains came to where the posterior is."""
        return self.is_exact or N_CHAINS - self.n_lost >= FEWEST_CHAINS

    @property
    def is_exact(self) -> bool:
        return self.log_partition is not None

    @property
    def mixed(self) -> bool:
        return self.r_hat <= LARGEST_R_HAT


# --- collecting ----------------------------------------------------------------------


@dataclass
class Clock:
    """Wall seconds, or none."""

    max_time: float | None
    # looked up at every call, so that other clocks can stand in for it
    started: float = field(default_factory=lambda: time.perf_counter())

    def left(self, share: float = 1.0) -> float:
        """Seconds until this share of the time is over."""
        if self.max_time is None:
            return math.inf
        return share * self.max_time - (time.perf_counter() - self.started)

    def n_affordable(self, share: float, seconds_each: float, most: int) -> int:
        """How many fit into this share of the time, at most `most`."""
        if self.max_time is None:
            return most
        return int(min(share * self.max_time / seconds_each, most))


def log_prob_of(engine: Engine, graphs: Graphs) -> Floats:
    """log q, each different graph once."""
    packed = np.packbits(graphs.reshape(len(graphs), -1), axis=1)
    _, first, inverse = np.unique(
        packed, axis=0, return_index=True, return_inverse=True
    )
    values = engine.log_prob(np.ascontiguousarray(graphs[first]))[0]
    return np.asarray(values[inverse.reshape(-1)])


def repeats_of(graphs: Graphs) -> Floats:
    """How often each graph occurs, (n,)."""
    packed = np.packbits(graphs.reshape(len(graphs), -1), axis=1)
    _, inverse, counts = np.unique(
        packed, axis=0, return_inverse=True, return_counts=True
    )
    return np.asarray(counts[inverse.reshape(-1)], float)


def collect_own(engine: Engine, n: int, seed: int, clock: Clock) -> Own:
    """Draws of the sampler: n, or as many as `OWN_SHARE` of the time allows."""
    engine.draw(1, seed, 0)  # after loading, this sets up the sampler
    began, seconds = time.perf_counter(), OWN_SHARE * clock.left()
    parts, log_q, done, size = [], [], 0, min(FEWEST, n)
    while size > 0:
        part = engine.draw(size, seed, done)
        parts.append(part)
        # of the graph, where draws have that of their order of edges
        is_joint = part.log_reward_joint is not None
        log_q.append(log_prob_of(engine, part.graphs) if is_joint else part.log_prob)
        done += size
        spent = max(time.perf_counter() - began, 1e-6)
        affordable = done * max(seconds - spent, 0.0) / spent
        size = int(min(OWN_AT_ONCE, n - done, affordable))
    graphs = np.concatenate([part.graphs for part in parts])
    log_reward = np.concatenate([part.log_reward for part in parts])
    log_prob = np.concatenate(log_q)
    kl = 0.0
    if parts[0].log_reward_joint is not None:
        joint = np.concatenate([part.log_reward_joint for part in parts])
        theta = np.concatenate([part.parameters[3] for part in parts])  # type: ignore[index]
        kl = float(np.mean(theta + log_reward - joint))
    log_weight = log_reward - log_prob
    weight = np.exp(log_weight - log_weight.max())
    weight /= weight.sum()
    edges = graphs.mean(axis=0)
    weighted = np.minimum(np.einsum("s,sij->ij", weight, graphs), 1.0)
    square = weight**2
    present = np.einsum("s,sij->ij", square, graphs)
    variance = present * (1 - 2 * weighted) + square.sum() * weighted**2
    return Own(
        log_weight,
        log_reward,
        edges,
        np.sqrt(edges * (1 - edges) / done + (NEVER_SEEN / done) ** 2),
        weighted,
        np.sqrt(np.maximum(variance, 0.0) + (NEVER_SEEN * square.sum()) ** 2),
        kl,
        n_wanted=n,
        seconds_each=spent / done,
    )


def make_reference(
    engine: Engine, graphs: Graphs, edges: Floats, error: Floats, **more: Any
) -> Reference:
    """graphs : (n_chains, n, D, D)"""
    flat = graphs.reshape(-1, *graphs.shape[2:])
    shape = graphs.shape[:2]
    log_reward = engine.tables.scores.log_reward(flat)
    log_prob = log_prob_of(engine, flat)
    return Reference(
        log_weight=(log_reward - log_prob).reshape(shape),
        log_prob=log_prob.reshape(shape),
        log_reward=log_reward.reshape(shape),
        repeats=np.stack([repeats_of(chain) for chain in graphs]),
        edges=edges,
        edges_error=error,
        **more,
    )


def exact_fits(engine: Engine, clock: Clock) -> bool:
    """Whether the exact posterior is within reach of memory and time."""
    candidates = engine.tables.settings["candidates"]
    n_variables, n_threads = len(candidates), engine.tables.n_threads
    timed = clock.max_time is not None
    if n_variables > (EXACT_VARIABLES_TIMED if timed else EXACT_VARIABLES):
        return False
    seconds = 2 * 3.0**n_variables / (2.5e8 * n_threads)  # usually a tenth of it
    if timed and 0.2 * seconds > clock.left(0.5):
        return False
    n_bytes = _core.Exact.plan([len(c) for c in candidates], True, n_threads)
    return n_bytes < 0.5 * available_memory()


def exact_reference(
    engine: Engine, n: int, seed: int, clock: Clock
) -> Reference | None:
    """Independent exact draws; None when the time was over first."""
    scores = engine.tables.scores
    exact = _core.Exact(scores, posterior=True, n_threads=engine.tables.n_threads)
    n_units = 1
    with held_interrupts() as interrupt:
        while True:
            begin = time.perf_counter()
            if exact.step(n_units) >= 1 or interrupt.is_set:
                break
            if clock.left(0.7) <= 0:
                return None
            seconds = max(time.perf_counter() - begin, 1e-6)
            n_units = int(max(1, min(SECONDS_PER_CALL / seconds, 4) * n_units))
    edges = exact.edges()
    graphs = exact.sample(n, seed)
    return make_reference(
        engine,
        graphs[None],
        edges,
        np.zeros_like(edges),
        log_partition=exact.log_partition(),
    )


def n_chain_rounds(n_variables: int, hot_moves: int) -> int:
    """Rounds of each chain when no time is given."""
    moves = 20_000_000 + 200_000 * n_variables**2
    return math.ceil(moves / (N_CHAINS * (COLD_MOVES + hot_moves)))


def way_of_chain(
    own: Own, log_reward: Floats, log_ratio: Floats, best_before: float
) -> float:
    """Share of a chain's states on its way to where the posterior is.

    Up to a state the chain has been in a region B, inside of A: all graphs with no more
    reward than the best so far. Its states are draws of the posterior p in B, so that
    q(B) / p(B) is the mean of q / p over them, and p(B) <= q(A) / mean, where own draws
    in A tell q(A). Where q lacks the region the mean is small and nothing is left out.

    log_reward, log_ratio : log R and log p/q of the states, (n,)
    best_before : log R of the best state before them
    """
    n = len(log_reward)
    ends = np.unique(np.linspace(0, n, N_STRETCHES + 1).astype(int)[1:])
    best = np.maximum.accumulate(log_reward)[ends - 1].clip(min=best_before)
    inside = np.searchsorted(np.sort(own.log_reward), best, side="right")
    share = (inside + 3 + 2 * np.sqrt(inside)) / len(own.log_reward)  # 95 % sure
    covered = np.cumsum(np.exp(np.minimum(-log_ratio, 0.0)))[ends - 1] / ends
    on_way = (share < NEGLIGIBLE_REGION * covered) & (covered > LEAST_COVERED)
    if not on_way.any():
        return 0.0
    last = int(np.flatnonzero(on_way)[-1]) + 1  # the next may hold the rest of the way
    return float(ends[min(last, len(ends) - 1)] / n)


def chain_reference(
    engine: Engine,
    own: Own,
    seed: int,
    clock: Clock,
    n_temperatures: int | None = None,
) -> Reference:
    """States of several tempered chains, run up to four times as long until they agree."""
    scores, n_variables = engine.tables.scores, engine.tables.scores.n_variables
    most, ratio = default_temperatures(n_variables)
    n_temperatures = n_temperatures or most
    hot_moves = max(1, MOVES_PER_HOT_SHARE // max(1, n_temperatures - 1))
    chains = _core.Chains(
        scores,
        n_chains=N_CHAINS,
        n_temperatures=n_temperatures,
        ratio=ratio,
        cold_moves=COLD_MOVES,
        hot_moves=hot_moves,
        n_batches=N_BATCHES,
        n_stored=N_STORED,
        seed=seed,
        n_threads=engine.tables.n_threads,
    )
    each = n_chain_rounds(n_variables, hot_moves * (n_temperatures - 1))
    n_states = clock.n_affordable(1 - CHAINS_UNTIL, own.seconds_each, N_REFERENCE)
    n_states = max(n_states, min(own.n_wanted, FEWEST))
    for attempts_left in (3, 2, 1, 0):
        run_chains(chains, each, clock)
        record = Record(burn_in=BURN_IN)
        record.rounds, record.counts, record.sums = chains.batches()
        record.states = chains.states()
        timed_out = clock.left(CHAINS_UNTIL) <= 0
        is_last = timed_out or not attempts_left
        if is_last or largest_r_hat(record) <= LARGEST_R_HAT:
            reference = after_arrival(engine, own, record, n_states)
            reference.timed_out = timed_out
            if is_last or reference.arrived:
                break
    return reference


def after_arrival(
    engine: Engine, own: Own, record: Record, n_states: int = N_REFERENCE
) -> Reference:
    """What n_states of the chains have shown since they came to where the posterior is.

    States are left out chain by chain, a common number remains; edges and R-hat are those
    since the last chain arrived.
    """
    n_chains = len(record.states)
    reference = reference_of(engine, record, [0.0] * n_chains, n_states)
    log_ratio = reference.log_weight - log_mean_exp(own.log_weight)
    ways = [
        way_of_chain(own, *chain)
        for chain in zip(
            reference.log_reward,
            log_ratio,
            best_in_burn_in(engine, record),
            strict=True,
        )
    ]
    kept = [c for c in range(n_chains) if ways[c] <= LONGEST_WAY]
    if kept and max(ways) > 0:
        latest = max(ways[c] for c in kept)
        cut = Record(
            rounds=record.rounds,
            counts=record.counts[kept],
            sums=record.sums[kept],
            states=record.states[kept],
            burn_in=record.burn_in + (1 - record.burn_in) * latest,
        )
        reference = reference_of(engine, cut, [ways[c] for c in kept], n_states)
        reference.way = latest
    reference.n_lost = n_chains - len(kept)
    if not reference.mixed:  # and far below all that own draws are like
        as_good = own.log_reward <= reference.log_reward.max()
        if as_good.mean() < NEGLIGIBLE_REGION:
            reference.n_lost = n_chains
    return reference


def best_in_burn_in(engine: Engine, record: Record) -> list[float]:
    """log R of the best stored state of each chain before `BURN_IN`."""
    early = record.states[:, : int(BURN_IN * record.states.shape[1])]
    if not early.size:
        return [-math.inf] * len(early)
    candidates = engine.tables.settings["candidates"]
    rewards = (
        engine.tables.scores.log_reward(graphs_of_states(chain, candidates))
        for chain in early
    )
    return [float(log_reward.max()) for log_reward in rewards]


def largest_r_hat(record: Record) -> float:
    return float(split_r_hat(record.stretches(record.counts, 2)).max())


def reference_of(
    engine: Engine, record: Record, ways: list[float], n_states: int
) -> Reference:
    """ways : shares of the states of each chain after `BURN_IN` that are left out"""
    n_stored = record.states.shape[1]
    first = [int(n_stored * (BURN_IN + (1 - BURN_IN) * way)) for way in ways]
    n = min(n_stored - max(first), max(1, n_states // len(first)))
    chosen = [np.linspace(start, n_stored - 1, n).astype(int) for start in first]
    states = np.stack(
        [chain[places] for chain, places in zip(record.states, chosen, strict=True)]
    )
    graphs = graphs_of_states(states, engine.tables.settings["candidates"])
    error = record.standard_error(record.sums)
    r_hat = largest_r_hat(record)
    return make_reference(engine, graphs, record.edges(), error, r_hat=r_hat)


def run_chains(chains: _core.Chains, n_rounds: int, clock: Clock) -> None:
    chunk, left = 1, n_rounds
    with held_interrupts() as interrupt:
        while left > 0 and clock.left(CHAINS_UNTIL) > 0:
            begin = time.perf_counter()
            chunk = min(chunk, left)
            chains.step(chunk)
            left -= chunk
            if interrupt.is_set:
                return
            seconds = max(time.perf_counter() - begin, 1e-6)
            chunk = int(min(max(1, SECONDS_PER_CALL * chunk / seconds), 4 * chunk))
        if clock.max_time is not None and left == n_rounds:
            chains.step(100)  # something to look at, however little time was left
