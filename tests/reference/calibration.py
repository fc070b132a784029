"""Simulation-based calibration of a whole fit (Talts et al., arXiv 1804.06788).

A graph, its parameters and a table of rows are drawn from the prior; a sampler is fitted
to the rows; the true value of any quantity then has a uniform rank among its values in
independent posterior draws. Everything is checked at once: prior, data, evidences,
sampler and parameters. Ties (edges, absent weights) are broken at random.

Nothing here uses the package: priors and likelihoods are written down anew. No
preprocessing (the prior is that of the numbers as stored). Parameters of node j with p
parents:

    linear    weights N(0, w^2), noise sd s
    nig       v ~ InvGamma(a, b), weights N(0, v w^2)
    bge       v ~ InvGamma((alpha_w - D + p + 1) / 2, t / 2), weights N(0, v / t),
              intercept N(0, v / alpha_mu), t = alpha_mu (alpha_w - D - 1) / (alpha_mu + 1)
    features  nig plus sum_k a_k sqrt(2) cos(d_k x - o_k), a_k ~ N(0, v w^2 t^2 / M),
              t = 0, 1, 4, 16 with equal probability; directions, in standard
              deviations of the parents, and offsets given
    bdeu      rows of tables Dirichlet(ess / (states * configurations))
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

from reference.dags import enumerate_dags, is_acyclic

N_STATES = 3


@dataclass
class Truth:
    graph: np.ndarray  # (D, D)
    coef: np.ndarray  # (D, D)
    intercept: np.ndarray  # (D,)
    noise: np.ndarray  # (D,) standard deviations
    tables: list  # of discrete data, (configurations, states) each
    x: np.ndarray  # (N, D)


def draw_graph(D, prior, rng):
    """From "uniform" or "fair" by enumeration, from ("odds", w) by rejection."""
    if prior in ("uniform", "fair"):
        graphs = enumerate_dags(D)
        weights = np.ones(len(graphs))
        if prior == "fair":
            choices = np.array([math.comb(D - 1, k) for k in range(D)])
            weights = 1 / choices[graphs.sum(axis=1)].prod(axis=1)
        return graphs[rng.choice(len(graphs), p=weights / weights.sum())]
    share = prior[1] / (1 + prior[1])
    while True:
        graphs = rng.random((500, D, D)) < share
        graphs[:, np.arange(D), np.arange(D)] = False
        found = np.flatnonzero(is_acyclic(graphs))
        if len(found):
            return graphs[found[0]]


def inverse_gamma(shape, rate, rng):
    return rate / rng.gamma(shape)


def draw_node(model, f, D, p, rng):
    """Weights, intercept, noise variance; and for features their scale t."""
    if model == "linear":
        return f["weight_scale"] * rng.normal(size=p), 0.0, f["noise_scale"] ** 2
    if model == "bge":
        mu, w = f["alpha_mu"], f["alpha_w"]
        t = mu * (w - D - 1) / (mu + 1)
        v = inverse_gamma((w - D + p + 1) / 2, t / 2, rng)
        intercept = math.sqrt(v / mu) * rng.normal()
        return math.sqrt(v / t) * rng.normal(size=p), intercept, v
    v = inverse_gamma(f["a"], f["b"], rng)
    return math.sqrt(v) * f["weight_scale"] * rng.normal(size=p), 0.0, v


def order_of(graph):
    """Parents before children."""
    left, order = list(range(len(graph))), []
    while left:
        order.append(next(j for j in left if not graph[left, j].any()))
        left.remove(order[-1])
    return order


def draw_continuous(model, fields, D, N, prior, rng, feature_map=None):
    graph = draw_graph(D, prior, rng)
    coef, intercept, noise = np.zeros((D, D)), np.zeros(D), np.zeros(D)
    x = np.zeros((N, D))
    for j in order_of(graph):
        parents = np.flatnonzero(graph[:, j])
        weights, intercept[j], v = draw_node(model, fields, D, len(parents), rng)
        coef[parents, j], noise[j] = weights, math.sqrt(v)
        x[:, j] = intercept[j] + x[:, parents] @ weights + noise[j] * rng.normal(size=N)
        scale = rng.choice([0, 1, 4, 16]) if feature_map and len(parents) else 0
        if scale:
            direction, offset = feature_map(j, parents.tolist())
            spread = noise[j] * fields["weight_scale"] * scale / math.sqrt(len(offset))
            scaled = x[:, parents] / x[:, parents].std(axis=0)
            phi = math.sqrt(2) * np.cos(scaled @ direction.T - offset)
            x[:, j] += phi @ (spread * rng.normal(size=len(offset)))
    return Truth(graph, coef, intercept, noise, [], x)


def draw_discrete(sample_size, D, N, prior, rng):
    graph, x, tables = draw_graph(D, prior, rng), np.zeros((N, D), int), [None] * D
    for j in order_of(graph):
        n_rows = N_STATES ** int(graph[:, j].sum())
        parameter = sample_size / (N_STATES * n_rows)
        log_gamma = np.log(rng.gamma(parameter + 1, size=(n_rows, N_STATES)))
        log_gamma += np.log(rng.random(log_gamma.shape)) / parameter  # shape < 1
        tables[j] = np.exp(log_gamma - log_gamma.max(axis=1, keepdims=True))
        tables[j] /= tables[j].sum(axis=1, keepdims=True)
        cumulative = tables[j][configuration(x, graph, j)].cumsum(axis=1)
        cumulative[:, -1] = 2
        x[:, j] = (rng.random((N, 1)) > cumulative).sum(axis=1)
    return Truth(graph, np.zeros((D, D)), np.zeros(D), np.zeros(D), tables, x)


def configuration(x, graph, j):
    """Number of each row's parent states, the last parent fastest."""
    code = np.zeros(len(x), int)
    for i in np.flatnonzero(graph[:, j]):
        code = code * N_STATES + x[:, i]
    return code


def quantities(truth, x):
    """What is ranked; the same function for the truth and for posterior draws."""
    found = {"edges": truth.graph.sum(), "edge 0 -> 1": truth.graph[0, 1]}
    if truth.tables:
        found["P(x1 = 0)"] = truth.tables[1][0, 0]
        p = [t[configuration(x, truth.graph, j)] for j, t in enumerate(truth.tables)]
        chosen = [q[np.arange(len(x)), x[:, j]] for j, q in enumerate(p)]
        with np.errstate(divide="ignore"):
            found["log-likelihood"] = np.log(chosen).sum()
        return found
    found["weight 0 -> 1"] = truth.coef[0, 1]
    found["sum of |weights|"] = np.abs(truth.coef).sum()
    found["noise of x1"] = truth.noise[1]
    found["intercept of x1"] = truth.intercept[1]
    found["log-likelihood"] = log_likelihood(truth, x)
    return found


def log_likelihood(truth, x):
    residual = (x - truth.intercept - x @ truth.coef) / truth.noise
    return (-np.log(truth.noise) - residual**2 / 2).sum()


def as_truths(post, x):
    """Draws of a posterior object, one Truth each."""
    nothing = np.zeros(x.shape[1])
    names = ("coef", "intercept", "noise_scale")
    linear = [nothing] * 3
    if x.dtype.kind != "i" and not hasattr(post, "coef"):
        linear = [post.theta[name] for name in names]
    elif x.dtype.kind != "i":
        linear = [getattr(post, name) for name in names]
    for s, graph in enumerate(post.graphs):
        if x.dtype.kind == "i":
            tables = [
                post.conditional_table(s, j).reshape(-1, N_STATES)
                for j in range(x.shape[1])
            ]
            yield Truth(graph, nothing, nothing, nothing, tables, x)
        else:
            yield Truth(graph, *(part[s] for part in linear), [], x)


def rank(value, values, rng):
    """From 0 to len(values); among equals at random."""
    same = int((values == value).sum())
    return int((values < value).sum()) + int(rng.integers(same + 1))


def ranks(truth, post, rng, leave_out=()):
    """Of each quantity."""
    drawn = [quantities(draw, truth.x) for draw in as_truths(post, truth.x)]
    return {
        name: rank(value, np.array([draw[name] for draw in drawn]), rng)
        for name, value in quantities(truth, truth.x).items()
        if name not in leave_out
    }


def p_values(collected, n_draws, n_bins=20):
    """name -> chi-square p, share inside the central 90 %."""
    found = {}
    for name, values in collected.items():
        ranks_of = np.array(values)
        bins = np.histogram(ranks_of, n_bins, (-0.5, n_draws + 0.5))[0]
        width = np.histogram(np.arange(n_draws + 1), n_bins, (-0.5, n_draws + 0.5))[0]
        p = stats.chisquare(bins, width / width.sum() * len(values)).pvalue
        cut = (n_draws + 1) // 20
        inside = (ranks_of >= cut) & (ranks_of <= n_draws - cut)
        found[name] = p, inside.mean()
    return found
