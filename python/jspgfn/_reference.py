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

# The reference chains.
N_CHAINS = 4
N_REFERENCE = 4096  # of their states are compared
BURN_IN = 0.3

# Chains start anywhere and may sit for long where the posterior hardly is. What such a
# stretch of states, one of this many, shows is no part of the reference when its region
# has less than this share of the posterior ...
N_STRETCHES = 32
NEGLIGIBLE_REGION = 0.01

# ... and neither is a chain that does so later than at this share of its states.
LATEST_ARRIVAL = 0.8


@dataclass
class Own:
    """Draws of the sampler."""

    log_weight: Floats  # log R - log q, (n,)
    log_reward: Floats
    edges: Floats  # frequencies, (D, D)
    edges_weighted: Floats
    edges_weighted_error: Floats
    kl_parameters: float  # of theta given the graph, 0 where theta is drawn exactly


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
    n_lost: int = 0  # chains left out, for they did not arrive where the posterior is
    arrived: bool = True  # ... any of them

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
    started: float = field(default_factory=time.perf_counter)

    def left(self, share: float = 1.0) -> float:
        """Seconds until this share of the time is over."""
        if self.max_time is None:
            return math.inf
        return share * self.max_time - (time.perf_counter() - self.started)


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
    """Draws of the sampler: n, or as many as a quarter of the time allows."""
    parts, done = [], 0
    while done < n and (done == 0 or clock.left(0.25) > 0):
        size = min(1000, n - done)
        parts.append(engine.draw(size, seed, done))
        done += size
    graphs = np.concatenate([part.graphs for part in parts])
    log_reward = np.concatenate([part.log_reward for part in parts])
    log_prob = np.concatenate([part.log_prob for part in parts])
    kl = 0.0
    if parts[0].log_reward_joint is not None:
        joint = np.concatenate([part.log_reward_joint for part in parts])
        theta = np.concatenate([part.parameters[3] for part in parts])  # type: ignore[index]
        kl = float(np.mean(theta + log_reward - joint))
        log_prob = log_prob_of(
            engine, graphs
        )  # of the graph, not of its order of edges
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
        weighted,
        np.sqrt(np.maximum(variance, 0.0)),
        kl,
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


def is_negligible(own: Own, log_reward: Floats, log_ratio: Floats) -> bool:
    """Whether the region of these states is hardly any of the posterior.

    The region A is all graphs with no more reward than the best of the states, which are
    draws of the posterior p in A: then q(A) / p(A) is the mean of q / p over them, and
    q(A) the share of own draws in A. Where q draws A too rarely the mean of q / p is
    small, so that nothing is known about p(A), and A is kept.

    log_reward, log_ratio : log R and log p/q of the states, (n,)
    """
    n_inside = int((own.log_reward <= log_reward.max()).sum())
    share = (n_inside + 3) / len(own.log_reward)  # at most, 95 % sure
    return share < NEGLIGIBLE_REGION * float(np.exp(np.minimum(-log_ratio, 0.0)).mean())


def arrivals(own: Own, log_Z: float, reference: Reference) -> list[float]:
    """Share of the states of each chain before it came to where the posterior is."""
    shares = []
    for log_reward, log_weight in zip(
        reference.log_reward, reference.log_weight, strict=True
    ):
        stretches = zip(
            np.array_split(log_reward, N_STRETCHES),
            np.array_split(log_weight - log_Z, N_STRETCHES),
            strict=True,
        )
        left_out = [len(r) > 0 and is_negligible(own, r, w) for r, w in stretches]
        last = max((i for i, out in enumerate(left_out) if out), default=-2)
        shares.append((last + 2) / N_STRETCHES)  # the next one may hold the way there
    return shares


def without_way_there(record: Record, shares: list[float]) -> tuple[Record, int]:
    """What chains showed after they had arrived, and the number of chains left out.

    shares : of the states after the burn-in
    """
    kept = np.array(shares) <= LATEST_ARRIVAL
    n_lost = int((~kept).sum())
    if not kept.any():
        return record, n_lost
    latest = max(share for share in shares if share <= LATEST_ARRIVAL)
    cut = Record(
        rounds=record.rounds,
        counts=record.counts[kept],
        sums=record.sums[kept],
        states=record.states[kept],
        burn_in=record.burn_in + (1 - record.burn_in) * latest,
    )
    return cut, n_lost


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
    for _ in range(4):
        run_chains(chains, each, clock)
        record = Record(burn_in=BURN_IN)
        record.rounds, record.counts, record.sums = chains.batches()
        record.states = chains.states()
        if largest_r_hat(record) <= LARGEST_R_HAT or clock.left(0.7) <= 0:
            break
    reference = reference_of(engine, record)
    shares = arrivals(own, log_mean_exp(own.log_weight), reference)
    if max(shares) > 0:
        record, n_lost = without_way_there(record, shares)
        reference = reference_of(engine, record)
        reference.n_lost, reference.arrived = n_lost, n_lost < N_CHAINS
    return reference


def largest_r_hat(record: Record) -> float:
    return float(split_r_hat(record.stretches(record.counts, 2)).max())


def reference_of(engine: Engine, record: Record) -> Reference:
    states = record.states[:, int(record.burn_in * record.states.shape[1]) :]
    step = max(1, states.shape[0] * states.shape[1] // N_REFERENCE)
    graphs = graphs_of_states(states[:, ::step], engine.tables.settings["candidates"])
    error = record.standard_error(record.sums)
    r_hat = largest_r_hat(record)
    return make_reference(engine, graphs, record.edges(), error, r_hat=r_hat)


def run_chains(chains: _core.Chains, n_rounds: int, clock: Clock) -> None:
    chunk, left = 1, n_rounds
    with held_interrupts() as interrupt:
        while left > 0 and clock.left(0.7) > 0:
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
