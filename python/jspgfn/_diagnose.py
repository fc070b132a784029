"""How far a trained sampler is from the posterior, with a verdict in words.

The sampler q is compared with the posterior p from both sides: on its own draws, which
cannot see what q never draws, and on draws of a reference (exact, or several long
tempered chains), which can. Everything is computed from the log weights log R - log q of
both sets of graphs.
"""

from __future__ import annotations

import html
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
from ._validation import available_memory

Floats = NDArray[np.float64]
Graphs = NDArray[np.uint8]

TRUST = "trust the draws"
WEIGHTS = "use the weights"
MISSING = "do not trust: mode missing"
UNEVEN = "do not trust: weights too uneven"
UNKNOWN = "no verdict: the reference chains disagree"

# The draws themselves are good enough up to this distance: as much as log weights that
# vary by a quarter of a nat.
LARGEST_DISTANCE = 0.1

# ... and this largest error of an edge probability, beyond sampling error.
LARGEST_EDGE_ERROR = 0.02

# A graph is drawn too rarely when log p/q is above this: a tenth of what it should be.
TOO_RARE = math.log(10.0)

# Weights of own draws are even from this effective share on.
EVEN = 0.8

# Share of the posterior, drawn too rarely and not made up for by weights, that counts as
# a missing mode.
LARGEST_MISSING = 0.01

# Weighted draws need this many effective ones, a tail with finite variance, and edge
# probabilities within this of the reference.
FEWEST_EFFECTIVE = 200
LARGEST_K = 0.7
LARGEST_WEIGHTED_ERROR = 0.05

# Variables up to which the reference is exact: without and with max_time.
EXACT_VARIABLES = 18
EXACT_VARIABLES_TIMED = 22

# The reference chains.
N_CHAINS = 4
N_REFERENCE = 4096  # of their states are compared

# A region in which one chain sits is negligible below this share of the posterior.
NEGLIGIBLE = 1e-3


# --- formulas ------------------------------------------------------------------------


def log_mean_exp(x: Floats) -> float:
    top = float(np.max(x))
    if math.isinf(top):
        return top
    return top + math.log(float(np.mean(np.exp(x - top))))


def fit_pareto(x: Floats) -> float:
    """Shape of a generalised Pareto distribution from sorted exceedances x > 0.

    Zhang and Stephens, Technometrics 51 (2009), with the weak prior towards 1/2 of
    Vehtari et al., JMLR 25 (2024).
    """
    n = len(x)
    m = 30 + math.isqrt(n)
    b = 1 - np.sqrt(m / (np.arange(1, m + 1) - 0.5))
    b = b / (3 * x[int(n / 4 + 0.5) - 1]) + 1 / x[-1]
    k = np.log1p(-b[:, None] * x).mean(axis=1)
    profile = n * (np.log(-b / k) - k - 1)
    weight = 1 / np.exp(profile - profile[:, None]).sum(axis=1)
    weight[weight < 10 * np.finfo(float).eps] = 0
    b_mean = float((b * weight).sum() / weight.sum())
    shape = float(np.log1p(-b_mean * x).mean())
    return (n * shape + 10 * 0.5) / (n + 10)


def pareto_k(log_weights: Floats) -> float:
    """Pareto k-hat of importance weights; above 0.7 they cannot be relied on.

    -inf when the largest weights are all equal, NaN for fewer than 25 weights.
    """
    n = len(log_weights)
    n_tail = math.ceil(min(0.2 * n, 3 * math.sqrt(n)))
    if n_tail < 5:
        return math.nan
    x = np.sort(log_weights - log_weights.max())
    cut = max(float(x[-n_tail - 1]), math.log(np.finfo(float).tiny))
    tail = x[x > cut]
    if len(tail) < 5:
        return -math.inf if x[-1] == x[-n_tail] else math.inf
    with np.errstate(all="ignore"):
        return fit_pareto(np.exp(tail) - math.exp(cut))


def reverse_size(log_weights: Floats) -> float:
    """Effective share of own draws, (sum w)^2 / (n sum w^2)."""
    w = np.exp(log_weights - log_weights.max())
    return float(w.sum() ** 2 / ((w**2).sum() * len(w)))


def forward_size(log_weights: Floats) -> float:
    """The same share as seen by draws from p: 1 / (mean of w * mean of 1 / w)."""
    size = math.exp(-log_mean_exp(log_weights) - log_mean_exp(-log_weights))
    return min(1.0, max(size, np.finfo(float).tiny))


def bridge(own: Floats, reference: Floats) -> float:
    """log Z by bridge sampling (Meng and Wong, Statistica Sinica 6, 1996).

    own, reference : log R - log q of draws from q and from p.
    """
    total = len(own) + len(reference)
    if not np.isfinite(reference).any():  # q draws nothing of what p draws
        return log_mean_exp(own)
    of_own, of_reference = math.log(len(own) / total), math.log(len(reference) / total)
    log_Z = log_mean_exp(own)
    for _ in range(1000):
        above = log_mean_exp(own - np.logaddexp(of_reference + own, of_own + log_Z))
        below = log_mean_exp(-np.logaddexp(of_reference + reference, of_own + log_Z))
        change = above - below - log_Z
        log_Z += change
        if abs(change) < 1e-9:
            break
    return log_Z


# --- the two sets of graphs ----------------------------------------------------------


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

    @property
    def is_exact(self) -> bool:
        return self.log_partition is not None

    @property
    def mixed(self) -> bool:
        return self.r_hat <= LARGEST_R_HAT


@dataclass(frozen=True)
class Diagnosis:
    """How far the sampler q is from the posterior p; prints as a table.

    Made by `JSPGFN.diagnose`. Logarithms are natural; w = R / q, Z = sum of R over all
    allowed graphs, so that ``elbo <= log Z <= eubo`` but for the noise of draws, which is
    the larger where q is very close to p.

    Attributes
    ----------
    verdict : str
        "trust the draws": they are the posterior for all practical purposes. "use the
        weights": summaries need ``weighted=True``, or draws ``refine=True``. "do not
        trust: mode missing": part of the posterior is hardly ever drawn, and weights
        cannot show it. "do not trust: weights too uneven": a few draws carry the
        weights. "no verdict: ...": the reference is not good enough to judge.
    reasons : list of str
        What led to the verdict, and what to do.
    elbo, eubo : float
        Mean of log R - log q over draws of q, and over those of the reference.
    log_partition : float
        log Z: exact where the reference is, else by bridge sampling between q and the
        chains.
    log_partition_sampled : float
        log Z from importance weights of own draws alone: too small when a mode is
        missing.
    kl_reverse, kl_forward : float
        KL(q || p) = log Z - elbo and KL(p || q) = eubo - log Z, in nats.
    median_reverse : float
        log Z - median of log R - log q over own draws; a few catastrophic draws move
        `kl_reverse` but not this.
    total_variation : float
        Largest difference of the probabilities that q and p give to any set of graphs,
        from 0 to 1.
    ess_reverse, ess_forward : float
        Effective sample size as a fraction, from own draws (blind to what they miss) and
        from reference draws, 1 / (mean of w * mean of 1 / w).
    pareto_k : float
        Shape of the tail of the weights; above 0.7 weighted means cannot be relied on.
    missing : float
        Share of the posterior on graphs that q draws less than a tenth as often as it
        should, minus the same share as the weights of own draws see it.
    recall : dict of float
        Quantiles of log q of reference graphs: "1 %", "median" and "mean".
    edges, edges_weighted, edges_reference : ndarray of shape (D, D)
        Edge probabilities from own draws, from weighted own draws, from the reference.
    edge_error, edge_error_weighted : float
        Largest difference of the first two to the third.
    edge_error_floor : float
        Largest standard error of such a difference: about what sampling alone brings.
    kl_parameters : float
        Mean KL divergence of parameters given the graph; 0 where they are drawn exactly.
    reference : str
        "exact" or "chains".
    r_hat : float
        Split R-hat of the chains, largest over edges; 1 for exact draws.
    n_draws, n_reference : int
        Graphs compared.

    Examples
    --------
    >>> import jspgfn
    >>> sim = jspgfn.simulate.linear_gaussian(
    ...     n_variables=3, n_samples=50, random_state=0)
    >>> est = jspgfn.JSPGFN(n_iter=300, random_state=0).fit(sim.X)
    >>> report = est.diagnose()
    >>> report.verdict
    'trust the draws'
    >>> abs(report.kl_reverse) < 0.01 and abs(report.kl_forward) < 0.01
    True
    """

    verdict: str
    reasons: list[str]
    elbo: float
    eubo: float
    log_partition: float
    log_partition_sampled: float
    kl_reverse: float
    kl_forward: float
    median_reverse: float
    total_variation: float
    ess_reverse: float
    ess_forward: float
    pareto_k: float
    missing: float
    recall: dict[str, float]
    edges: Floats = field(repr=False)
    edges_weighted: Floats = field(repr=False)
    edges_reference: Floats = field(repr=False)
    edge_error: float
    edge_error_weighted: float
    edge_error_floor: float
    kl_parameters: float
    reference: str
    r_hat: float
    n_draws: int
    n_reference: int

    def __repr__(self) -> str:
        return (
            f"Diagnosis({self.verdict!r}, kl_reverse={self.kl_reverse:.4g}, "
            f"kl_forward={self.kl_forward:.4g}, reference={self.reference!r})"
        )

    def _lines(self) -> dict[str, str]:
        against = "exact draws"
        if self.reference == "chains":
            against = f"states of {N_CHAINS} tempered chains, R-hat {self.r_hat:.3f}"
        lines = {
            "verdict": self.verdict,
            "because": "; ".join(self.reasons),
            "compared": f"{self.n_draws} own draws, {self.n_reference} {against}",
            "bounds": f"ELBO {self.elbo:.4f} <= log Z {self.log_partition:.4f} <= EUBO "
            f"{self.eubo:.4f}; log Z from weights {self.log_partition_sampled:.4f}",
            "divergence": f"KL(q, p) {self.kl_reverse:.4g}, KL(p, q) "
            f"{self.kl_forward:.4g} nats, total variation {self.total_variation:.3g}",
            "sample size": f"{100 * self.ess_reverse:.2f} % (own draws), "
            f"{100 * self.ess_forward:.3g} % (reference); Pareto k {self.pareto_k:.2f}",
            "missing": f"{100 * max(self.missing, 0.0):.2g} % of the posterior",
            "edges": f"largest error {self.edge_error:.4f}, weighted "
            f"{self.edge_error_weighted:.4f} (sampling error {self.edge_error_floor:.4f})",
            "log q": f"of the reference: mean {self.recall['mean']:.2f}, 1 % below "
            f"{self.recall['1 %']:.2f}",
        }
        if self.kl_parameters:
            lines["parameters"] = f"KL given the graph {self.kl_parameters:.4g} nats"
        return lines

    def __str__(self) -> str:
        return "\n".join(f"{name:<13}{text}" for name, text in self._lines().items())

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th style='text-align:left'>{html.escape(name)}</th>"
            f"<td style='text-align:left'>{html.escape(text)}</td></tr>"
            for name, text in self._lines().items()
        )
        return f"<table>{rows}</table>"


# --- from weights to a verdict -------------------------------------------------------


def missing_share(own: Floats, reference: Floats) -> tuple[float, float]:
    """Share of p drawn too rarely and not seen by weights, and its standard error.

    own, reference : log p/q of own draws and of draws from p.
    """
    forward = float(np.mean(reference > TOO_RARE))
    w = np.where(own > TOO_RARE, np.exp(np.minimum(own, 700.0)), 0.0)
    variance = forward * (1 - forward) / len(reference) + w.var() / len(own)
    return forward - float(w.mean()), math.sqrt(variance)


def is_missing(own: Floats, reference: Floats) -> bool:
    share, error = missing_share(own, reference)
    return share > max(LARGEST_MISSING, 3 * error)


def region_share(reference: Reference, chain: int, log_Z: float) -> float:
    """Share of the posterior in the region where a chain sits; NaN when unknown.

    A graph that makes up the share s of a region has the probability R / Z in all, so
    the region has R / (Z s); taken from the graph that the chain visited most often.
    """
    best = int(np.argmax(reference.repeats[chain]))
    visits = reference.repeats[chain, best]
    if visits < 5:
        return math.nan
    share = visits / reference.repeats.shape[1]
    log_share = reference.log_reward[chain, best] - log_Z - math.log(share)
    return math.exp(min(float(log_share), 0.0))


def choose_chains(
    own: Own, reference: Reference, log_Z: float
) -> tuple[NDArray[np.bool_], str]:
    """Which chains to judge by when they disagree, and why not by all.

    A chain in a region that q draws too rarely is either a find or lost. Two such chains
    are a find; a single one is left out when its region is negligible.
    """
    n_chains = len(reference.log_weight)
    kept = np.ones(n_chains, bool)
    outside = [
        c
        for c in range(n_chains)
        if is_missing(own.log_weight - log_Z, reference.log_weight[c] - log_Z)
    ]
    shares = {c: region_share(reference, c, log_Z) for c in outside}
    lost = [c for c in outside if shares[c] < NEGLIGIBLE]
    kept[lost] = False
    left = [c for c in outside if c not in lost]
    if len(left) == 1 and not shares[left[0]] > LARGEST_MISSING:
        return kept, "unknown"
    return kept, "lost" if lost else ""


def compare(own: Own, reference: Reference) -> Diagnosis:
    """All figures and the verdict."""
    sampled = log_mean_exp(own.log_weight)
    kept, remark = np.ones(len(reference.log_weight), bool), ""
    if not reference.is_exact and not reference.mixed:
        kept, remark = choose_chains(own, reference, sampled)
    log_weight = reference.log_weight[kept].ravel()
    log_prob = reference.log_prob[kept].ravel()
    if reference.log_partition is not None:
        log_Z = reference.log_partition
    else:
        log_Z = bridge(own.log_weight, log_weight)
        size = reverse_size(own.log_weight)
        error = math.sqrt((1 / size - 1) / len(own.log_weight))
        if sampled > log_Z + 4 * error:  # own draws know a mode that the chains missed
            log_Z = sampled
    edge_difference = np.abs(own.edges - reference.edges)
    weighted_difference = np.abs(own.edges_weighted - reference.edges)
    own_error = np.sqrt(own.edges * (1 - own.edges) / len(own.log_weight))
    floor = np.sqrt(reference.edges_error**2 + own_error**2)
    weighted_floor = np.sqrt(reference.edges_error**2 + own.edges_weighted_error**2)
    ratio = log_weight - log_Z  # log p/q on the reference
    figures: dict[str, Any] = {
        "elbo": float(own.log_weight.mean()),
        "eubo": float(log_weight.mean()),
        "log_partition": log_Z,
        "log_partition_sampled": sampled,
        "kl_reverse": log_Z - float(own.log_weight.mean()),
        "kl_forward": float(ratio.mean()),
        "median_reverse": log_Z - float(np.median(own.log_weight)),
        "total_variation": float(np.mean(-np.expm1(-np.maximum(ratio, 0.0)))),
        "ess_reverse": reverse_size(own.log_weight),
        "ess_forward": forward_size(log_weight),
        "pareto_k": pareto_k(own.log_weight),
        "missing": missing_share(own.log_weight - log_Z, ratio)[0],
        "recall": {
            "1 %": float(np.quantile(log_prob, 0.01, method="lower")),
            "median": float(np.median(log_prob)),
            "mean": float(log_prob.mean()),
        },
        "edge_error": float(edge_difference.max()),
        "edge_error_weighted": float(weighted_difference.max()),
        "edge_error_floor": float(floor.max()),
        "kl_parameters": own.kl_parameters,
        "r_hat": reference.r_hat,
    }
    excess = {
        "edge_error": float((edge_difference - 4 * floor).max()),
        "edge_error_weighted": float((weighted_difference - 4 * weighted_floor).max()),
    }
    if not reference.is_exact:
        # Where R / q is the same wherever chains and draws have been, only the chains can
        # be wrong about edges: too much or too little time in one of the modes.
        agree = (
            figures["total_variation"] <= LARGEST_DISTANCE
            and figures["ess_reverse"] >= EVEN
        )
        if agree and not remark and excess["edge_error"] > LARGEST_EDGE_ERROR:
            remark = "unbalanced"
        if agree or remark or not reference.mixed:
            excess = dict.fromkeys(excess, -math.inf)
    verdict, reasons = judge(
        figures,
        excess,
        len(own.log_weight),
        is_missing(own.log_weight - log_Z, ratio),
        remark,
    )
    return Diagnosis(
        verdict=verdict,
        reasons=reasons,
        edges=own.edges,
        edges_weighted=own.edges_weighted,
        edges_reference=reference.edges,
        reference="exact" if reference.is_exact else "chains",
        n_draws=len(own.log_weight),
        n_reference=len(log_weight),
        **figures,
    )


def judge(
    figures: dict[str, Any],
    excess: dict[str, float],
    n_draws: int,
    missing: bool,
    remark: str,
) -> tuple[str, list[str]]:
    """The verdict and its reasons.

    excess : by how much errors of edges exceed what sampling brings
    """
    reasons = []
    if remark == "unknown":
        return UNKNOWN, [
            f"one chain sits where the sampler hardly draws, the others do not (R-hat "
            f"{figures['r_hat']:.3g}); allow more max_time"
        ]
    if remark == "lost":
        reasons.append("a chain that was stuck in a negligible region is left out")
    elif remark == "unbalanced":
        reasons.append(
            "the chains give other edge probabilities, but weights are even wherever they "
            "went: they have missed a mode or have it in another proportion"
        )
    elif figures["r_hat"] > LARGEST_R_HAT:
        reasons.append(
            f"chains disagree on edges (R-hat {figures['r_hat']:.3g}), but weights were "
            "compared wherever they went"
        )
    if missing:
        reasons.append(
            f"{100 * figures['missing']:.3g} % of the posterior is drawn less than a "
            "tenth as often as it should be, and weights do not show it; train longer"
        )
        return MISSING, reasons
    size = n_draws * figures["ess_reverse"]
    uneven = size < FEWEST_EFFECTIVE or (
        figures["pareto_k"] > LARGEST_K
        and figures["ess_forward"] < 0.5 * figures["ess_reverse"]
    )
    if figures["edge_error_weighted"] > LARGEST_WEIGHTED_ERROR:
        uneven = uneven or excess["edge_error_weighted"] > -math.inf
    far = figures["total_variation"] > LARGEST_DISTANCE
    if size < FEWEST_EFFECTIVE and not figures["r_hat"] <= LARGEST_R_HAT:
        # states where the posterior hardly is say nothing about where it is
        reasons.append(
            f"and weighted draws are worth {size:.0f} of {n_draws}, so that nothing is "
            "left to judge by; train longer, or allow more max_time"
        )
        return UNEVEN, reasons
    if far and (uneven or excess["edge_error_weighted"] > LARGEST_EDGE_ERROR):
        reasons.append(
            f"total variation {figures['total_variation']:.2g}; weighted draws are worth "
            f"{size:.0f}, Pareto k {figures['pareto_k']:.2f}; train longer"
        )
        return UNEVEN, reasons
    off = excess["edge_error"] > LARGEST_EDGE_ERROR
    if far or off or figures["kl_parameters"] > LARGEST_DISTANCE:
        advice = "take weighted=True or sample(refine=True)"
        if figures["kl_parameters"]:  # learned parameters: the weights of draws differ
            advice = (
                "take weighted=True, but as far as graphs go: weights of draws carry the "
                "parameters too and may be less even (1 / sum(post.weights**2)); or train "
                "longer"
            )
        reasons.append(
            f"total variation {figures['total_variation']:.2g}, edges off by up to "
            f"{figures['edge_error']:.2g}; weighted draws are worth {size:.0f} of "
            f"{n_draws}; {advice}"
        )
        return WEIGHTS, reasons
    reasons.append(
        f"total variation {figures['total_variation']:.2g}, largest edge error "
        f"{figures['edge_error']:.2g}, nothing missing"
    )
    return TRUST, reasons


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


def chain_reference(
    engine: Engine, seed: int, clock: Clock, n_temperatures: int | None = None
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
        record = Record(burn_in=0.3)
        record.rounds, record.counts, record.sums = chains.batches()
        record.states = chains.states()
        r_hat = float(split_r_hat(record.stretches(record.counts, 2)).max())
        if r_hat <= LARGEST_R_HAT or clock.left(0.7) <= 0:
            break
    states = record.states[:, int(0.3 * record.states.shape[1]) :]
    step = max(1, states.shape[1] * N_CHAINS // N_REFERENCE)
    graphs = graphs_of_states(states[:, ::step], engine.tables.settings["candidates"])
    error = record.standard_error(record.sums)
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


def diagnose(
    engine: Engine,
    n_draws: int,
    seeds: tuple[int, int],
    max_time: float | None,
    reference: str,
) -> Diagnosis:
    """Collects both sets of graphs and compares them.

    seeds : of own draws and of the reference
    """
    if not engine.tables.settings["tabulate"]:
        raise ValueError(
            "diagnose compares draws with evidences of graphs, which the generator 'gnn' "
            "does not have for the model 'mlp'; compare edge probabilities with those of "
            "JSPGFN(model='mlp'), whose own diagnose works, and see history_['residual_sd']"
        )
    clock = Clock(max_time)
    own = collect_own(engine, n_draws, seeds[0], clock)
    found = None
    if reference == "exact" or (reference == "auto" and exact_fits(engine, clock)):
        n = len(own.log_weight)
        found = exact_reference(engine, n, seeds[1], clock)
    if found is None:
        found = chain_reference(engine, seeds[1], clock)
    return compare(own, found)
