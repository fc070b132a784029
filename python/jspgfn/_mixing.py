"""What Markov chains have seen, and whether they have mixed."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._validation import Floats

# Errors are judged by the spread of this many stretches of each chain.
STRETCHES = 8

# When a run counts as mixed.
LARGEST_R_HAT = 1.05
LARGEST_ERROR = 0.01
SMALLEST_SWAP_RATE = 0.02
TRIPS_PER_CHAIN = 2


@dataclass
class Record:
    """What the chains have seen, as arrays: enough for all results."""

    rounds: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    counts: Floats = field(default_factory=lambda: np.zeros(0))
    sums: Floats = field(default_factory=lambda: np.zeros(0))
    states: NDArray[np.uint32] = field(default_factory=lambda: np.zeros(0, np.uint32))
    counters: dict[str, Any] = field(default_factory=dict)
    burn_in: float = 0.0

    @property
    def first_batch(self) -> int:
        """Batches before this one are burn-in; the last one always counts."""
        ends = np.cumsum(self.rounds)
        return int(np.searchsorted(ends, self.burn_in * ends[-1], side="right"))

    def kept_states(self) -> NDArray[np.uint32]:
        """Stored states after the burn-in, (n, D): local masks of all chains."""
        n_states, D = self.states.shape[1:]
        first = math.ceil(self.burn_in * n_states)
        return self.states[:, min(first, n_states - 1) :].reshape(-1, D)

    def edges(self) -> Floats:
        kept = slice(self.first_batch, None)
        total = self.sums.shape[0] * self.rounds[kept].sum()
        return np.asarray(self.sums[:, kept].sum(axis=(0, 1)) / total)

    def stretches(self, batches: Floats, most: int) -> Floats:
        """Means over up to `most` equal stretches of each chain, (chains, n, D, D).

        Only full batches are used, the youngest ones, an equal number in each stretch.
        """
        length = self.rounds[0]
        n_full = int((self.rounds == length).sum())
        n_kept = n_full - min(self.first_batch, n_full - 1)
        n = min(most, n_kept)
        each = n_kept // n
        kept = batches[:, n_full - n * each : n_full]
        shape = (len(kept), n, each, *kept.shape[2:])
        return np.asarray(kept.reshape(shape).sum(axis=2) / (each * length))

    def standard_error(self, batches: Floats) -> Floats:
        """Of means over these batches, from the spread over stretches, (D, D)."""
        means = self.stretches(batches, STRETCHES)
        pooled = means.reshape(-1, *means.shape[2:])
        if len(pooled) < 2:
            return np.full(pooled.shape[1:], 0.5)  # the largest there is
        error = pooled.std(axis=0, ddof=1) / math.sqrt(len(pooled))
        if len(means) > 1:  # chains in different modes: stretches are not independent
            of_chains = means.mean(axis=1).std(axis=0, ddof=1) / math.sqrt(len(means))
            error = np.maximum(error, of_chains)
        return np.asarray(error)

    def effective_size(self) -> Floats:
        """Independent draws that counts of edges are worth, (D, D); NaN without change."""
        means = self.stretches(self.counts, STRETCHES)
        p = means.mean(axis=(0, 1))
        variance = self.standard_error(self.counts) ** 2
        with np.errstate(divide="ignore", invalid="ignore"):
            ess = p * (1 - p) / variance
        n_looks = len(means) * self.counters["n_rounds"]
        return np.where(p * (1 - p) > 0, np.minimum(ess, n_looks), np.nan)


@dataclass(frozen=True)
class ChainDiagnostics:
    """Whether the chains of a `StructureMCMC` have mixed; prints as a table.

    Attributes
    ----------
    mixed : bool
        No sign of trouble was seen.
    verdict : str
        The same in words, with the reasons.
    r_hat_max : float
        Largest entry of `r_hat`.
    r_hat : ndarray of shape (D, D)
        Split R-hat of the indicator of each edge: each chain is cut in halves, and the
        variance between and within halves is compared. 1 is best.
    ess_min : float
        Smallest `ess` among edges with a probability from 0.01 to 0.99.
    ess : ndarray of shape (D, D)
        Effective number of independent draws behind the frequency of each edge, from
        the spread of means over stretches of the chains; NaN for edges that never
        changed.
    standard_error : ndarray of shape (D, D)
        Of `edge_probabilities`, from the same stretches.
    swap_rates : ndarray of shape (n_temperatures - 1,)
        Share of accepted swaps between neighbouring temperatures, coldest first.
    acceptance : ndarray of shape (n_temperatures,)
        Share of accepted moves at each temperature, coldest first.
    round_trips : int
        Times that a state went from the hottest to the coldest replica, all chains.
    n_moves, n_rounds : int
        Moves of all chains and temperatures; rounds of each chain.
    """

    mixed: bool
    verdict: str
    r_hat_max: float
    r_hat: Floats
    ess_min: float
    ess: Floats
    standard_error: Floats
    swap_rates: Floats
    acceptance: Floats
    round_trips: int
    n_moves: int
    n_rounds: int

    def __str__(self) -> str:
        swaps = "none (one temperature)"
        if len(self.swap_rates):
            swaps = f"{self.swap_rates.min():.3f} to {self.swap_rates.max():.3f}"
        lines = {
            "verdict": self.verdict,
            "split R-hat": f"{self.r_hat_max:.4f} at most",
            "effective": f"{self.ess_min:.0f} draws at least",
            "error": f"{self.standard_error.max():.5f} at most (edge probabilities)",
            "swap rates": swaps,
            "acceptance": f"{self.acceptance[0]:.4f} (posterior), "
            f"{self.acceptance[-1]:.4f} (hottest)",
            "round trips": str(self.round_trips),
            "moves": f"{self.n_moves:.3g} in {self.n_rounds} rounds per chain",
        }
        return "\n".join(f"{name:<13}{text}" for name, text in lines.items())


def graphs_of_states(
    states: NDArray[np.uint32], candidates: list[list[int]]
) -> NDArray[np.uint8]:
    """Graphs (..., D, D) of local masks (..., D): bit k of node j = its k-th candidate."""
    D = states.shape[-1]
    graphs = np.zeros((*states.shape, D), np.uint8)
    for j, parents in enumerate(candidates):
        for k, i in enumerate(parents):
            graphs[..., i, j] = states[..., j] >> np.uint32(k) & np.uint32(1)
    return graphs


def split_r_hat(means: Floats) -> Floats:
    """Split R-hat of 0/1 indicators from their means (chains, halves, D, D).

    The variance of an indicator within a half is m (1 - m). Infinite where halves are
    constant but differ, 1 where nothing ever changes.
    """
    pooled = means.reshape(-1, *means.shape[2:])
    if len(pooled) < 2:
        return np.full(pooled.shape[1:], np.inf)
    within = (pooled * (1 - pooled)).mean(axis=0)
    between = pooled.var(axis=0, ddof=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        r_hat = np.sqrt(1 + between / within)
    return np.where(between == 0, 1.0, r_hat)


def find_trouble(
    record: Record, r_hat: Floats, error: Floats, swap_rates: Floats, names: list[str]
) -> list[str]:
    """Reasons to say that chains have not mixed, in words; none if all is well."""

    def name_edge(matrix: Floats) -> str:
        i, j = np.unravel_index(np.argmax(matrix), matrix.shape)
        return f"{names[int(i)]} -> {names[int(j)]}"

    reasons = []
    if record.rounds[0] * len(record.rounds) < 2 * STRETCHES:
        reasons.append("the run is too short to judge it")
    if r_hat.max() > LARGEST_R_HAT:
        reasons.append(
            f"chains disagree on {name_edge(r_hat)} (split R-hat {r_hat.max():.3g}, should "
            f"be below {LARGEST_R_HAT})"
        )
    if error.max() > LARGEST_ERROR:
        reasons.append(
            f"the probability of {name_edge(error)} is uncertain by {error.max():.3f} "
            f"(standard error, should be below {LARGEST_ERROR})"
        )
    if len(swap_rates) and swap_rates.min() < SMALLEST_SWAP_RATE:
        reasons.append(
            f"only {100 * swap_rates.min():.2g} % of the swaps between two "
            "temperatures are accepted (use a temperature_ratio closer to 1)"
        )
    n_chains, trips = len(record.sums), sum(record.counters["round_trips"])
    if len(swap_rates) and trips < TRIPS_PER_CHAIN * n_chains:
        reasons.append(
            f"only {trips} round trips between the hottest and the coldest replica "
            f"in {n_chains} chains"
        )
    return reasons


def describe_verdict(reasons: list[str], n_chains: int, n_temperatures: int) -> str:
    if reasons:
        return "not mixed: " + "; ".join(reasons) + ". Let the chains run longer"
    if n_chains == 1:
        return "no sign of trouble, but one chain cannot show that a mode was missed"
    if n_temperatures == 1:
        return (
            "chains agree, but plain chains may all miss a mode: use more temperatures"
        )
    return "mixed: chains agree"
