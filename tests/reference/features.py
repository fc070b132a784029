"""The model of a linear part plus random features, from the dense covariance of a column.

Given noise variance v and scale t the column is normal with covariance v (I + F R^-1 F'),
F the centred columns of parents and features, R^-1 their prior variances: no Gram matrix
and no Cholesky factor of the weights is shared with the code under test. The features
themselves, random by construction, come from outside (directions and offsets).
"""

import math

import numpy as np
from scipy.special import logsumexp

SCALES = (0.0, 1.0, 4.0, 16.0)


def columns(Z, direction, offset, fourier):
    """Features of rows Z (n, p): (n, M)."""
    t = Z @ direction.T - offset
    return math.sqrt(2) * np.cos(t) if fourier else np.maximum(t, 0)


def design(x, mask, node, parents, feature_map, fourier, intercept):
    """Column and F over the rows that count, centred when there is an intercept."""
    rows = x if mask is None else x[mask[:, node] == 0]
    Z = rows[:, parents]
    F = np.hstack([Z, columns(Z, *feature_map, fourier)]) if parents else Z
    y = rows[:, node]
    if intercept and len(y):
        F, y = F - F.mean(axis=0), y - y.mean()
    return y, F


def prior_variances(n_parents, n_features, scale, weight_scale):
    linear = np.ones(n_parents)
    if scale == 0:
        return weight_scale**2 * linear
    return weight_scale**2 * np.append(
        linear, np.full(n_features, scale**2 / n_features)
    )


def evidence_by_scale(
    y, F, n_parents, intercept, *, noise_scale, weight_scale=1.0, a=1.0, b=1.0
):
    """log evidence given each scale; one entry when there are no parents."""
    n = len(y)
    m = n - 1 if intercept and n else n
    found = []
    for scale in SCALES if n_parents else (0.0,):
        variance = prior_variances(
            n_parents, F.shape[1] - n_parents, scale, weight_scale
        )
        part = F[:, : len(variance)]
        covariance = np.eye(n) + (part * variance) @ part.T
        log_det = np.linalg.slogdet(covariance)[1]
        residual = y @ np.linalg.solve(covariance, y)
        value = -m / 2 * math.log(2 * math.pi) - log_det / 2
        if math.isnan(noise_scale):
            value += a * math.log(b) - (a + m / 2) * math.log(b + residual / 2)
            value += math.lgamma(a + m / 2) - math.lgamma(a)
        else:
            value -= m * math.log(noise_scale) + residual / (2 * noise_scale**2)
        found.append(value)
    return np.array(found)


def evidence(y, F, n_parents, intercept, **settings):
    by_scale = evidence_by_scale(y, F, n_parents, intercept, **settings)
    return logsumexp(by_scale) - math.log(len(by_scale))
