"""How far a trained sampler is from the posterior, with a verdict in words.

The sampler q is compared with the posterior p from both sides: on its own draws, which
cannot see what q never draws, and on draws of a reference (exact, or several long
tempered chains), which can. Everything is computed from the log weights log R - log q of
both sets of graphs.
"""

from __future__ import annotations

import html
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._engine import Engine
from ._mixing import LARGEST_R_HAT
from ._reference import (
    FEWEST,
    N_CHAINS,
    Clock,
    Own,
    Reference,
    chain_reference,
    collect_own,
    exact_fits,
    exact_reference,
)
from ._weights import bridge, forward_size, log_mean_exp, pareto_k, reverse_size

Floats = NDArray[np.float64]

TRUST = "trust the draws"
WEIGHTS = "use the weights"
MISSING = "do not trust: mode missing"
UNEVEN = "do not trust: weights too uneven"
UNKNOWN = "no verdict: the reference chains disagree"
UNDER_WAY = "no verdict: the reference chains are still on their way"
FEW_DRAWS = "no verdict: too few draws"

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

# A region in which one chain sits is negligible below this share of the posterior.
NEGLIGIBLE = 1e-3


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
        weights. "no verdict: ...": the reference is not good enough to judge, or there
        are too few draws.
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
            against = f"states of tempered chains, R-hat {self.r_hat:.3f}"
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
    if not reference.arrived:
        remark = "under way"
    elif not reference.is_exact and not reference.mixed:
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
    floor = np.sqrt(reference.edges_error**2 + own.edges_error**2)
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
        own.n_wanted,
        is_missing(own.log_weight - log_Z, ratio),
        remark,
        reference.timed_out,
    )
    return Diagnosis(
        verdict=verdict,
        reasons=[*left_out(reference), *reasons],
        edges=own.edges,
        edges_weighted=own.edges_weighted,
        edges_reference=reference.edges,
        reference="exact" if reference.is_exact else "chains",
        n_draws=len(own.log_weight),
        n_reference=len(log_weight),
        **figures,
    )


def left_out(reference: Reference) -> list[str]:
    """What a reader should know of the states that were not compared."""
    parts = []
    if reference.n_lost:
        parts.append(
            f"{reference.n_lost} of {N_CHAINS} chains did not come to where the posterior "
            "is and are left out"
        )
    if reference.way:
        parts.append(
            f"up to {100 * reference.way:.0f} % of the states of a chain were its way "
            "there and are left out"
        )
    return parts


def judge(
    figures: dict[str, Any],
    excess: dict[str, float],
    n_draws: int,
    n_wanted: int,
    missing: bool,
    remark: str,
    timed_out: bool = True,
) -> tuple[str, list[str]]:
    """The verdict and its reasons.

    excess : by how much errors of edges exceed what sampling brings
    n_draws, n_wanted : fewer own draws than wanted when the time was over
    timed_out : whether the reference chains had to stop for the time
    """
    reasons = []
    longer = (
        "allow more max_time" if timed_out else "see what a long StructureMCMC finds"
    )
    if remark == "under way":
        return UNDER_WAY, [f"they show nothing of where the posterior is; {longer}"]
    if remark == "unknown":
        return UNKNOWN, [
            f"one chain sits where the sampler hardly draws, the others do not (R-hat "
            f"{figures['r_hat']:.3g}); {longer}"
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
    weighted_error = figures["edge_error_weighted"]
    if excess["edge_error_weighted"] <= 0.0:  # noise, smaller with more draws
        weighted_error *= math.sqrt(n_draws / n_wanted)
    if weighted_error > LARGEST_WEIGHTED_ERROR:
        uneven = uneven or excess["edge_error_weighted"] > -math.inf
    far = figures["total_variation"] > LARGEST_DISTANCE
    mixed = figures["r_hat"] <= LARGEST_R_HAT
    share = min(figures["ess_reverse"], figures["ess_forward"])  # few flatter the first
    would_do = max(n_wanted, 5 * FEWEST_EFFECTIVE)
    if size < FEWEST_EFFECTIVE <= would_do * share and (far or not mixed):
        more = "max_time" if n_draws < n_wanted else "n_draws"
        reasons.append(
            f"weighted draws are worth {size:.0f} of {n_draws}, but {would_do} would be "
            f"worth enough; allow more {more}"
        )
        return FEW_DRAWS, reasons
    if size < FEWEST_EFFECTIVE and not mixed:
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
        n = max(len(own.log_weight), min(own.n_wanted, FEWEST))
        found = exact_reference(engine, n, seeds[1], clock)
    if found is None:
        found = chain_reference(engine, own, seeds[1], clock)
    return compare(own, found)
