"""Figures of importance weights, from their logarithms."""

from __future__ import annotations

import math

import numpy as np

from ._validation import Floats


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
