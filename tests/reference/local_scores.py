"""Evidence of one parent set, posterior of its parameters, tables of all parent sets.

Straight from the formulas, with dense linear algebra on the rows that count. A parent
set is a list of column numbers; a mask is an integer with bit i set for parent i.

    linear  x_j = c_j + X_S theta + e,  e ~ N(0, noise_scale^2),
            theta ~ N(0, weight_scale^2 I)
    bge     Geiger and Heckerman (2002) as corrected by Kuipers, Moffa and Heckerman,
            arXiv 1402.6863; prior mean 0, parametric matrix t I

With intercept=True (linear only) c_j has a flat prior and is integrated out; it is 0
otherwise. bge always has its own unknown mean.
"""

import math

import numpy as np

DEFAULTS = {
    "linear": {"noise_scale": 0.1**0.5, "weight_scale": 1.0},
    "nig": {"a": 1.0, "b": 1.0, "weight_scale": 1.0},
    "bge": {"alpha_mu": 1.0, "alpha_w": None},
    "bdeu": {"equivalent_sample_size": 1.0},
}


def fields_of(model, fields=None):
    return {**DEFAULTS[model], **(fields or {})}


def rows_that_count(x, mask, node):
    """The rows in which `node` was not set by an intervention."""
    x = np.asarray(x, float)
    return x if mask is None else x[np.asarray(mask)[:, node] == 0]


def log_det(matrix):
    sign, value = np.linalg.slogdet(matrix)
    assert sign > 0
    return value


# ---------------------------------------------------------------- linear


def linear_pieces(x, mask, node, parents, intercept, noise_scale, weight_scale):
    """Rows, x_j and X_S (centred if there is an intercept), precision L, mean m."""
    rows = rows_that_count(x, mask, node)
    y, X = rows[:, node], rows[:, parents]
    if intercept:
        y, X = y - y.mean(), X - X.mean(axis=0)
    precision = X.T @ X / noise_scale**2 + np.eye(len(parents)) / weight_scale**2
    mean = np.linalg.solve(precision, X.T @ y / noise_scale**2)
    return rows, y, precision, mean


def linear_evidence(x, mask, node, parents, intercept, *, noise_scale, weight_scale):
    rows, y, precision, mean = linear_pieces(
        x, mask, node, parents, intercept, noise_scale, weight_scale
    )
    n = len(rows) - 1 if intercept else len(rows)
    return (
        -n / 2 * math.log(2 * math.pi * noise_scale**2)
        - len(parents) * math.log(weight_scale)
        - log_det(precision) / 2
        - (y @ y / noise_scale**2 - mean @ precision @ mean) / 2
    )


# ---------------------------------------------------------------- nig


def nig_pieces(x, mask, node, parents, intercept, a, b, weight_scale):
    """Rows, their number m, precision L, mean and the shape and rate of the noise."""
    rows, y, precision, mean = linear_pieces(
        x, mask, node, parents, intercept, 1.0, weight_scale
    )
    m = len(rows) - 1 if intercept else len(rows)
    rate = b + (y @ y - mean @ precision @ mean) / 2
    return rows, m, precision, mean, a + m / 2, rate


def nig_evidence(x, mask, node, parents, intercept, *, a, b, weight_scale):
    _, m, precision, _, shape, rate = nig_pieces(
        x, mask, node, parents, intercept, a, b, weight_scale
    )
    return (
        -m / 2 * math.log(2 * math.pi)
        - len(parents) * math.log(weight_scale)
        - log_det(precision) / 2
        + a * math.log(b)
        - shape * math.log(rate)
        + math.lgamma(shape)
        - math.lgamma(a)
    )


# ---------------------------------------------------------------- bdeu


def bdeu_counts(x, mask, node, parents, n_states):
    """Counts (configuration of the parents, state), the last parent fastest."""
    rows = np.asarray(rows_that_count(x, mask, node), int)
    shape = [n_states[i] for i in parents]
    counts = np.zeros([*shape, n_states[node]])
    for row in rows:
        counts[(*row[parents], row[node])] += 1
    return counts.reshape(-1, n_states[node])


def bdeu_evidence(
    x, mask, node, parents, intercept=False, *, equivalent_sample_size, n_states
):
    """Row by row: each state by its predictive probability so far (Polya urn)."""
    counts = bdeu_counts(x, mask, node, parents, n_states)
    prior = equivalent_sample_size / counts.size
    total = 0.0
    for row in counts:
        seen = 0
        for count in row:
            for k in range(int(count)):
                total += math.log(prior + k)
                total -= math.log(prior * len(row) + seen)
                seen += 1
    return total


# ---------------------------------------------------------------- bge


def bge_pieces(x, mask, node, alpha_mu, alpha_w):
    """Rows, alpha_w, t and the posterior parametric matrix R (without its constant)."""
    rows = rows_that_count(x, mask, node)
    n, D = rows.shape
    alpha_w = D + 2 if alpha_w is None or np.isnan(alpha_w) else alpha_w
    t = alpha_mu * (alpha_w - D - 1) / (alpha_mu + 1)
    R = t * np.eye(D)
    if n:
        mean = rows.mean(axis=0)
        centred = rows - mean
        R = (
            R
            + centred.T @ centred
            + alpha_mu * n / (alpha_mu + n) * np.outer(mean, mean)
        )
    return rows, alpha_w, t, R


def bge_evidence(x, mask, node, parents, intercept=False, *, alpha_mu, alpha_w):
    rows, alpha_w, t, R = bge_pieces(x, mask, node, alpha_mu, alpha_w)
    n, D = rows.shape
    p = len(parents)
    family = [*parents, node]
    return (
        -n / 2 * math.log(math.pi)
        + math.log(alpha_mu / (alpha_mu + n)) / 2
        + math.lgamma((n + alpha_w - D + p + 1) / 2)
        - math.lgamma((alpha_w - D + p + 1) / 2)
        + (alpha_w - D + 2 * p + 1) / 2 * math.log(t)
        + (n + alpha_w - D + p) / 2 * log_det(R[np.ix_(parents, parents)])
        - (n + alpha_w - D + p + 1) / 2 * log_det(R[np.ix_(family, family)])
    )


# ---------------------------------------------------------------- both


def evidence(
    x, mask, node, parents, model, intercept=False, fields=None, n_states=None
):
    """log P(column `node` | columns `parents`), parameters integrated out."""
    function = {
        "linear": linear_evidence,
        "nig": nig_evidence,
        "bge": bge_evidence,
        "bdeu": bdeu_evidence,
    }[model]
    if model == "bdeu":
        fields = {**(fields or {}), "n_states": n_states}
    return function(x, mask, node, list(parents), intercept, **fields_of(model, fields))


def log_prior(n_variables, n_parents, graph_prior):
    """Log weight of a parent set of the given size (not normalised over DAGs)."""
    if graph_prior == "uniform":
        return 0.0
    assert graph_prior == "fair"
    return -math.log(math.comb(n_variables - 1, n_parents))


def members(mask):
    return [i for i in range(mask.bit_length()) if mask >> i & 1]


def tables(
    x,
    mask=None,
    *,
    model="linear",
    graph_prior="uniform",
    intercept=False,
    fields=None,
    max_parents=None,
    candidates=None,
    n_states=None,
    edge_log_odds=None,
    required=None,
):
    """Local scores (D, 2^D): [j, S] = log evidence + log prior, -inf = excluded."""
    D = np.shape(x)[1]
    odds = np.zeros((D, D)) if edge_log_odds is None else np.array(edge_log_odds)
    needed = np.zeros((D, D), bool) if required is None else np.array(required, bool)
    needed |= odds == np.inf
    odds[odds == np.inf] = 0
    limits = max_parents if isinstance(max_parents, list) else [max_parents] * D
    scores = np.full((D, 1 << D), -np.inf)
    for j in range(D):
        allowed = set(range(D)) - {j} if candidates is None else set(candidates[j])
        limit = D if limits[j] is None else limits[j]
        must = set(np.flatnonzero(needed[:, j]).tolist()) - {j}
        for S in range(1 << D):
            parents = members(S)
            if len(parents) > limit or not allowed.issuperset(parents):
                continue
            if must.issubset(parents):
                scores[j, S] = evidence(
                    x, mask, j, parents, model, intercept, fields, n_states
                )
                scores[j, S] += log_prior(D, len(parents), graph_prior)
                scores[j, S] += odds[parents, j].sum()
    return scores


def prior_tables(n_variables, graph_prior):
    """The same table without data: log prior weights."""
    scores = np.full((n_variables, 1 << n_variables), -np.inf)
    for j in range(n_variables):
        for S in range(1 << n_variables):
            if not S >> j & 1:
                scores[j, S] = log_prior(n_variables, S.bit_count(), graph_prior)
    return scores


def local_table(scores, node, candidates):
    """One row of `tables` in local masks: bit b stands for candidates[b]."""
    masks = np.arange(1 << len(candidates))
    full = sum((masks >> b & 1) << i for b, i in enumerate(candidates))
    return scores[node, full]


# ---------------------------------------------------------------- parameters


def parameter_posterior(x, mask, node, parents, model, intercept=False, fields=None):
    """Posterior of the parameters of one node given its parents, as a dict.

    Weights are Student with `df` degrees of freedom (inf = normal), location `mean` and
    scale matrix `scale`; given the noise variance v they are normal with covariance
    v * unit_covariance. Noise variance: `noise_shape` and `noise_rate` of its inverse
    gamma distribution, or the constant `noise_variance`. The intercept given weights
    and v is normal with mean y_mean - X_mean @ weights and variance
    v / intercept_precision (0 throughout if intercept_precision is inf).
    """
    parents = list(parents)
    fields = fields_of(model, fields)
    if model == "linear":
        rows, _, precision, mean = linear_pieces(
            x, mask, node, parents, intercept, **fields
        )
        covariance = np.linalg.inv(precision)
        v = fields["noise_scale"] ** 2
        centre = rows.mean(axis=0) if intercept else np.zeros(rows.shape[1])
        return {
            "df": math.inf,
            "mean": mean,
            "scale": covariance,
            "unit_covariance": covariance / v,
            "noise_variance": v,
            "y_mean": centre[node],
            "X_mean": centre[parents],
            "intercept_precision": len(rows) if intercept else math.inf,
        }
    if model == "nig":
        rows, _, precision, mean, shape, rate = nig_pieces(
            x, mask, node, parents, intercept, **fields
        )
        unit_covariance = np.linalg.inv(precision)
        centre = rows.mean(axis=0) if intercept else np.zeros(rows.shape[1])
        return {
            "df": 2 * shape,
            "mean": mean,
            "scale": rate / shape * unit_covariance,
            "unit_covariance": unit_covariance,
            "noise_shape": shape,
            "noise_rate": rate,
            "y_mean": centre[node],
            "X_mean": centre[parents],
            "intercept_precision": len(rows) if intercept else math.inf,
        }
    rows, alpha_w, _, R = bge_pieces(x, mask, node, **fields)
    n, D = rows.shape
    unit_covariance = np.linalg.inv(R[np.ix_(parents, parents)])
    mean = unit_covariance @ R[parents, node]
    shape = (n + alpha_w - D + len(parents) + 1) / 2
    rate = (R[node, node] - R[node, parents] @ mean) / 2
    centre = rows.sum(axis=0) / (fields["alpha_mu"] + n)  # posterior mean of the means
    return {
        "df": 2 * shape,
        "mean": mean,
        "scale": rate / shape * unit_covariance,
        "unit_covariance": unit_covariance,
        "noise_shape": shape,
        "noise_rate": rate,
        "y_mean": centre[node],
        "X_mean": centre[parents],
        "intercept_precision": fields["alpha_mu"] + n,
    }


def log_parameter_density(posterior, weights, noise_variance):
    """Log density of (weights, noise variance) under the posterior above."""
    total = 0.0
    if "noise_shape" in posterior:
        a, b = posterior["noise_shape"], posterior["noise_rate"]
        total += a * math.log(b) - math.lgamma(a)
        total += -(a + 1) * math.log(noise_variance) - b / noise_variance
    covariance = noise_variance * posterior["unit_covariance"]
    gap = np.asarray(weights) - posterior["mean"]
    total -= len(gap) / 2 * math.log(2 * math.pi) + log_det(covariance) / 2
    return total - gap @ np.linalg.solve(covariance, gap) / 2


def weight_moments(x, mask, model, set_probabilities, intercept=False, fields=None):
    """Mean and sd of theta_ij 1(i -> j), given P(parent set) as (D, 2^D)."""
    D = np.shape(x)[1]
    first, second = np.zeros((D, D)), np.zeros((D, D))
    for j in range(D):
        for S in np.flatnonzero(set_probabilities[j] > 0):
            parents = members(int(S))
            p = parameter_posterior(x, mask, j, parents, model, intercept, fields)
            spread = 1.0 if p["df"] == math.inf else p["df"] / (p["df"] - 2)
            first[parents, j] += set_probabilities[j, S] * p["mean"]
            square = p["mean"] ** 2 + spread * np.diag(p["scale"])
            second[parents, j] += set_probabilities[j, S] * square
    return first, np.sqrt(np.maximum(second - first**2, 0))
