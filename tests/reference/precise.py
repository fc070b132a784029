"""Local scores of the models with closed form, from the raw data, in 600 digits.

Everything between the table that a user hands in and the log evidence of one parent set:
centring, scaling, moments over the rows that count for a node, determinants. Moments are
exact (integers), the rest has more digits than any table of doubles can use up. Shares no
formula with the C core beyond the definitions of the models (docs/method.md).
"""

import math
from collections import Counter

import numpy as np
from mpmath import mp, mpf

from reference.local_scores import fields_of

DIGITS = 600


def as_integers(column):
    """Integers and an exponent of 2 that give a column of doubles exactly."""
    mantissa, exponent = np.frexp(np.asarray(column, float))
    whole = (mantissa * 2.0**53).astype(np.int64)
    exponent = np.where(whole == 0, 0, exponent)
    least = int(exponent.min())
    return whole.astype(object) * 2 ** (exponent - least).astype(object), least - 53


class Moments:
    """Exact moments of z = (x - shift) / scale over the rows that count for a node."""

    def __init__(self, x, mask=None):
        self.n_variables = np.shape(x)[1]
        self.integers, self.exponents = zip(
            *(as_integers(column) for column in np.asarray(x, float).T), strict=True
        )
        self.mask = np.zeros(np.shape(x)) if mask is None else np.asarray(mask)
        self.known = {}

    def sum(self, i, k, rows):
        """Over rows; of column i, or of the product of two columns."""
        key = (i, k, rows.tobytes())
        if key not in self.known and k is None:
            whole = int(self.integers[i][rows].sum())
            self.known[key] = mp.ldexp(mpf(whole), self.exponents[i])
        elif key not in self.known:
            whole = int(self.integers[i][rows].dot(self.integers[k][rows]))
            exponent = self.exponents[i] + self.exponents[k]
            self.known[key] = mp.ldexp(mpf(whole), exponent)
        return self.known[key]

    def scaling(self, i, preprocess):
        """Shift and scale of a column."""
        rows = np.ones(len(self.mask), bool)
        shift, scale = mpf(0), mpf(1)
        if preprocess is not None:
            shift = self.sum(i, None, rows) / len(rows)
        if preprocess == "standardize":
            scale = mp.sqrt(self.sum(i, i, rows) / len(rows) - shift**2)
        return shift, scale

    def of(self, node, family, preprocess):
        """Number of rows, means and scatter about the means of the columns `family`."""
        rows = self.mask[:, node] == 0
        n = int(rows.sum())
        mean, scatter = mp.matrix(len(family), 1), mp.matrix(len(family))
        if n == 0:
            return n, mean, scatter
        total = [self.sum(i, None, rows) for i in family]
        scaling = [self.scaling(i, preprocess) for i in family]
        for a, (shift, scale) in enumerate(scaling):
            mean[a] = (total[a] / n - shift) / scale
            for b in range(a + 1):
                i, k = sorted((family[a], family[b]))
                apart = self.sum(i, k, rows) - total[a] * total[b] / n
                scatter[a, b] = scatter[b, a] = apart / (scale * scaling[b][1])
        return n, mean, scatter


def log(x):
    with mp.workdps(40):
        return mp.log(x)


def log_gamma(x):
    with mp.workdps(40):
        return mp.loggamma(x)


def pivots(matrix):
    """Of elimination in the given order; their product is the determinant."""
    A, found = matrix.copy(), []
    for k in range(A.rows):
        found.append(A[k, k])
        for i in range(k + 1, A.rows):
            factor = A[i, k] / A[k, k]
            for j in range(k + 1, A.rows):
                A[i, j] -= factor * A[k, j]
    return found


def log_det(found):
    return sum((log(pivot) for pivot in found), mpf(0))


def regression(n, mean, scatter, intercept, ridge):
    """log det L and x'x - b' L^-1 b with L = X'X + ridge; moments about 0 or the mean.

    The node comes last, after its parents, so that the second is the last pivot.
    """
    A = scatter.copy()
    if not intercept:
        A += n * mean * mean.T
    for k in range(A.rows - 1):
        A[k, k] += ridge
    *of_parents, residual = pivots(A)
    return log_det(of_parents), residual


def linear(D, n, mean, scatter, intercept, noise_scale, weight_scale):
    s, w = mpf(noise_scale), mpf(weight_scale)
    det, residual = regression(n, mean, scatter, intercept, (s / w) ** 2)
    m = max(n - 1, 0) if intercept else n
    p = scatter.rows - 1  # det L / s^(2p) is the determinant of the precision
    return (
        -m * log(2 * mp.pi * s**2) / 2
        - p * log(w)
        - (det - 2 * p * log(s)) / 2
        - residual / s**2 / 2
    )


def nig(D, n, mean, scatter, intercept, a, b, weight_scale):
    a, b, w = mpf(a), mpf(b), mpf(weight_scale)
    det, residual = regression(n, mean, scatter, intercept, 1 / w**2)
    m = max(n - 1, 0) if intercept else n
    return (
        -m * log(2 * mp.pi) / 2
        - (scatter.rows - 1) * log(w)
        - det / 2
        + a * log(b)
        - (a + mpf(m) / 2) * log(b + residual / 2)
        + log_gamma(a + mpf(m) / 2)
        - log_gamma(a)
    )


def bge(D, n, mean, scatter, intercept, alpha_mu, alpha_w):
    mu, w = mpf(alpha_mu), mpf(D + 2 if alpha_w is None else alpha_w)
    t = mu * (w - D - 1) / (mu + 1)
    R = scatter + (mu * n / (mu + n)) * mean * mean.T
    p = R.rows - 1
    for k in range(p + 1):
        R[k, k] += t
    found = pivots(R)
    return (
        -n * log(mp.pi) / 2
        + log(mu / (mu + n)) / 2
        + log_gamma((n + w - D + p + 1) / 2)
        - log_gamma((w - D + p + 1) / 2)
        + (w - D + 2 * p + 1) / 2 * log(t)
        + (n + w - D + p) / 2 * log_det(found[:-1])
        - (n + w - D + p + 1) / 2 * log_det(found)
    )


MODELS = {"linear": linear, "nig": nig, "bge": bge}


def evidence(moments, model, node, parents, preprocess=None, fields=None):
    """Log evidence of continuous data; the intercept is integrated out if centred."""
    with mp.workdps(DIGITS):
        n, mean, scatter = moments.of(node, [*parents, node], preprocess)
        return float(
            MODELS[model](
                moments.n_variables,
                n,
                mean,
                scatter,
                preprocess is not None,
                **fields_of(model, fields),
            )
        )


def bdeu_evidence(codes, mask, node, parents, n_states, equivalent_sample_size=1.0):
    """Log evidence of discrete data, by Gamma functions of all cells that occur."""
    rows = np.asarray(codes)[np.asarray(mask)[:, node] == 0]
    cells = Counter(map(tuple, rows[:, [*parents, node]].tolist()))
    configurations = Counter(map(tuple, rows[:, list(parents)].tolist()))
    with mp.workdps(DIGITS):
        q = math.prod(n_states[i] for i in parents)
        per_row = mpf(equivalent_sample_size) / q
        per_cell = per_row / n_states[node]
        total = sum((rising(per_cell, n) for n in cells.values()), mpf(0))
        return float(total - sum(rising(per_row, n) for n in configurations.values()))


def rising(x, n):
    """log Gamma(x + n) / Gamma(x)"""
    with mp.workdps(40):
        return mp.loggamma(x + n) - mp.loggamma(x)
