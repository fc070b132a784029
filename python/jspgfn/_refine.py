"""Refined draws: each draw of the sampler as a short Markov chain of its own.

How many sweeps it takes is measured before the first refined draw, by coupling: two
chains that start from different draws, one of them `lag` sweeps behind, go on with the
same random numbers until they meet. The distance of a draw from the posterior after t
sweeps is at most the mean of max(0, ceil((m - t) / lag)) over the meeting times m
(Biswas, Jacob, Vanetti, NeurIPS 2019). Several policies propose in turn, one per sweep,
so the lag is a multiple of their number: both chains are then at the same policy.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ._engine import Engine
from ._streams import in_pieces

LEAST_LAG = 10
N_PAIRS = 128
MAX_SWEEPS = 100

# Sweeps are made until the bound on the distance is at most this.
GOOD_DISTANCE = 0.01


@dataclass(frozen=True)
class Refinement:
    """How draws were refined.

    Attributes
    ----------
    n_sweeps : int
        Sweeps of each draw: local moves, then proposals of the sampler.
    distance : float
        Estimated bound on the total variation between a refined draw and the posterior,
        from pairs of coupled chains. It knows only of modes that draws have visited.
    met : float
        Share of the pairs that met.
    acceptance : dict of int to float
        Share of accepted proposals by the number of variables whose edges were drawn
        anew; the last one is a whole graph.

    Examples
    --------
    >>> import jspgfn
    >>> sim = jspgfn.simulate.linear_gaussian(
    ...     n_variables=3, n_samples=50, random_state=0)
    >>> est = jspgfn.JSPGFN(n_iter=300, random_state=0).fit(sim.X)
    >>> post = est.sample(100, refine=True)
    >>> est.refinement_.distance <= 0.01
    True
    """

    n_sweeps: int
    distance: float
    met: float
    acceptance: dict[int, float]


def sweep(
    engine: Engine,
    graphs: NDArray[np.uint8],
    seed: int,
    n_sweeps: int,
    first_draw: int = 0,
    first_sweep: int = 0,
) -> tuple[NDArray[np.uint8], dict[int, float]]:
    """Graphs after the sweeps, and shares of accepted proposals by size."""
    sizes: list[int] = []

    def refine(first: int, last: int) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
        part, counts, sizes[:] = engine.trainer.refine(
            np.ascontiguousarray(graphs[first:last]),
            seed,
            n_sweeps,
            engine.tables.n_threads,
            first_draw=first_draw + first,
            first_sweep=first_sweep,
        )
        return part, counts

    refined, counts = in_pieces(len(graphs), refine)
    shares = counts.sum(axis=0, dtype=np.int64) / max(1, len(graphs) * n_sweeps)
    return refined, dict(zip(sizes, shares.tolist(), strict=True))


def plan_sweeps(engine: Engine, seed: int) -> Refinement:
    """The number of sweeps, from the meeting times of coupled chains."""
    lag = math.ceil(LEAST_LAG / engine.n_policies) * engine.n_policies
    draws = engine.draw(2 * N_PAIRS, seed, 0).graphs
    ahead, acceptance = sweep(engine, draws[:N_PAIRS], seed, lag)
    behind = np.ascontiguousarray(draws[N_PAIRS:])
    meeting = np.full(N_PAIRS, np.inf)
    for t in range(MAX_SWEEPS + 1):
        same = (ahead == behind).all(axis=(1, 2))
        meeting[same & np.isinf(meeting)] = t
        if same.all() or t == MAX_SWEEPS:
            break
        both = [ahead, behind]
        for k in range(2):  # the same random numbers: draw k of both
            both[k], _ = sweep(engine, both[k], seed, 1, first_sweep=lag + t)
        ahead, behind = both
    met = float(np.isfinite(meeting).mean())
    meeting[np.isinf(meeting)] = 2 * MAX_SWEEPS
    n_sweeps = 1
    while n_sweeps < MAX_SWEEPS and distance(meeting, n_sweeps, lag) > GOOD_DISTANCE:
        n_sweeps += 1
    return Refinement(n_sweeps, distance(meeting, n_sweeps, lag), met, acceptance)


def distance(meeting: NDArray[np.float64], n_sweeps: int, lag: int) -> float:
    """Bound on the total variation after n_sweeps, at most 1."""
    bound = float(np.maximum(0.0, np.ceil((meeting - n_sweeps) / lag)).mean())
    return min(1.0, bound) if not math.isnan(bound) else 1.0
