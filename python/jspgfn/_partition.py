"""Sums over all graphs: running them, and those of other tables than the fit's.

These are log Z of the prior alone and of the data with rows added.
"""

from __future__ import annotations

import math
import time
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _core
from ._batches import Moments
from ._engine import SECONDS_PER_CALL, held_interrupts
from ._problem import ScoreTables
from ._progress import progress_bar


def run_to_end(exact: _core.Exact, verbose: bool = False) -> None:
    """Calls of about a tenth of a second, so that Ctrl-C works."""
    n_units = 1
    with held_interrupts() as interrupt, progress_bar(100, "%", verbose) as bar:
        while True:
            begin = time.perf_counter()
            done = exact.step(n_units)
            bar.show(100 * done, {})
            if done >= 1:
                return
            if interrupt.is_set:
                return  # the KeyboardInterrupt comes with the end of the block
            seconds = max(time.perf_counter() - begin, 1e-6)
            n_units = int(max(1, min(SECONDS_PER_CALL / seconds, 4) * n_units))


# --- the prior alone -----------------------------------------------------------------


def log_prior_partition(
    settings: dict[str, Any], n_variables: int, n_threads: int
) -> float:
    """log of the sum of w(G) over the allowed DAGs."""
    odds, limits = settings["edge_log_odds"], set(settings["max_parents"])
    off_diagonal = ~np.eye(n_variables, dtype=bool)
    everyone = all(len(c) == n_variables - 1 for c in settings["candidates"])
    alike = odds is None or len(set(odds[off_diagonal].tolist())) <= 1
    if everyone and alike and len(limits) == 1 and settings["required"] is None:
        log_odds = 0.0
        if odds is not None and n_variables > 1:
            log_odds = float(odds[off_diagonal][0])
        if math.isfinite(log_odds):
            fair = settings["graph_prior"] == "fair"
            return log_sum_by_size(n_variables, limits.pop(), fair, math.exp(log_odds))
    # A table without rows that count: only the prior is left.
    without_data = {
        **settings,
        "model": "linear",
        "model_fields": {"noise_scale": 1.0, "weight_scale": 1.0},
        "intercept": False,
        "n_states": None,
    }
    scores = _core.Scores(
        np.zeros((1, n_variables)),
        np.ones((1, n_variables), np.uint8),
        n_threads=n_threads,
        **without_data,
    )
    exact = _core.Exact(scores, posterior=False, n_threads=n_threads)
    run_to_end(exact)
    return exact.log_partition()


def log_sum_by_size(
    n_variables: int, max_parents: int, fair: bool, odds: float
) -> float:
    """The same sum when weights depend on numbers of parents only.

    Z_n = sum over k of (-1)^(k+1) C(n, k) Z_(n-k) tau(n - k)^k, in exact fractions
    because terms alternate.
    """
    edge = Fraction(odds)
    tau, Z = [], [Fraction(1)]
    for n in range(n_variables):
        total = Fraction(0)
        for size in range(min(n, max_parents) + 1):
            weight = edge**size
            if fair:
                weight /= math.comb(n_variables - 1, size)
            total += math.comb(n, size) * weight
        tau.append(total)
    for n in range(1, n_variables + 1):
        terms = (
            (-1) ** (k + 1) * math.comb(n, k) * Z[n - k] * tau[n - k] ** k
            for k in range(1, n + 1)
        )
        Z.append(sum(terms, Fraction(0)))
    return math.log(Z[-1].numerator) - math.log(Z[-1].denominator)


# --- rows that are added -------------------------------------------------------------


def log_density(
    tables: ScoreTables,
    rows: NDArray[Any],
    mask_new: NDArray[np.uint8],
    names: list[str],
    log_partition: float,
) -> float:
    """log Z of the data with preprocessed rows added, less that of the data alone.

    mask_new : of the rows, 1 = this cell was set
    """
    mask = tables.mask
    # Small tables take less than waking a thread.
    n_threads = 1 if len(names) < 14 else tables.n_threads
    n_rows = float(tables.n_rows) * np.ones(len(names))
    n_new = (mask_new == 0).sum(axis=0)  # rows that count, by node
    if isinstance(tables.x, Moments):
        n_rows = tables.x.rows_of()
        x: Any = tables.x.joined(Moments.of(rows, mask_new, n_threads)).arrays()
    else:
        if mask is not None:
            n_rows -= mask.sum(axis=0)
        if mask is not None or mask_new.any():
            old = np.zeros(tables.x.shape, np.uint8) if mask is None else mask
            mask = np.concatenate([old, mask_new])
        x = np.concatenate([tables.x, rows])
    scores = _core.Scores(x, mask, n_threads=n_threads, **tables.settings)
    exact = _core.Exact(scores, posterior=False, n_threads=n_threads)
    run_to_end(exact)
    value = exact.log_partition() - log_partition
    if tables.settings["intercept"]:
        # The evidences leave out -1/2 log(number of rows), here of two tables.
        counted = n_new > 0
        if not n_rows[counted].all():
            name = names[int(np.flatnonzero(counted & (n_rows == 0))[0])]
            raise ValueError(
                f"column {name!r} was intervened on in every row: with a flat prior "
                "on its intercept nothing can be predicted"
            )
        value -= 0.5 * float(np.log1p(n_new[counted] / n_rows[counted]).sum())
    return value
