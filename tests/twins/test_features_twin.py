"""Random features: evidence and draws against dense linear algebra on the rows."""

import math

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
from scipy import integrate, stats

from checks import ERROR_RATE
from jspgfn import _core
from reference import features

SETTINGS = hypothesis.settings(
    max_examples=40, deadline=None, derandomize=True, database=None
)


def make_scores(x, mask=None, *, n_threads=1, intercept=True, max_parents=3, **fields):
    D = x.shape[1]
    return _core.Scores(
        np.ascontiguousarray(x),
        mask,
        model="features",
        model_fields=fields,
        graph_prior="uniform",
        max_parents=[max_parents] * D,
        candidates=[[i for i in range(D) if i != j] for j in range(D)],
        intercept=intercept,
        n_threads=n_threads,
        edge_log_odds=None,
        required=None,
        n_states=None,
    )


def curved(n_rows, seed=0):
    """Four columns; the third bends with the first two."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n_rows, 4))
    x[:, 2] = np.sin(2 * x[:, 0]) + 0.5 * x[:, 1] ** 2 + 0.2 * x[:, 2]
    return x


@hypothesis.given(
    n_rows=st.sampled_from([1, 2, 3, 17, 50]),
    n_features=st.sampled_from([1, 7, 20]),
    fourier=st.booleans(),
    noise_scale=st.sampled_from([math.nan, 0.3]),
    weight_scale=st.sampled_from([0.5, 2.0]),
    intercept=st.booleans(),
    masked=st.booleans(),
    shift=st.sampled_from([0.0, 3.0]),
    n_threads=st.sampled_from([1, 2]),
    seed=st.integers(0, 10**6),
)
@SETTINGS
def test_evidence(
    n_rows,
    n_features,
    fourier,
    noise_scale,
    weight_scale,
    intercept,
    masked,
    shift,
    n_threads,
    seed,
):
    x = curved(n_rows, seed) + shift
    mask = None
    if masked:
        mask = (np.random.default_rng(seed).random(x.shape) < 0.3).astype(np.uint8)
    scores = make_scores(
        x,
        mask,
        intercept=intercept,
        n_threads=n_threads,
        n_features=n_features,
        fourier=fourier,
        noise_scale=noise_scale,
        weight_scale=weight_scale,
        a=1.5,
        b=0.7,
    )
    for j in range(4):
        found = scores.local_scores(j)
        others = [i for i in range(4) if i != j]
        for S in range(8):
            parents = [others[k] for k in range(3) if S >> k & 1]
            drawn = scores.feature_map(j, parents) if parents else None
            y, F = features.design(x, mask, j, parents, drawn, fourier, intercept)
            expected = features.evidence(
                y,
                F,
                len(parents),
                intercept,
                noise_scale=noise_scale,
                weight_scale=weight_scale,
                a=1.5,
                b=0.7,
            )
            assert found[S] == pytest.approx(expected, rel=1e-9, abs=1e-8)


def test_evidence_by_numerical_integration():
    """One parent, one feature, known noise: an integral over two weights and scales."""
    x = curved(6)[:, :2]
    scores = make_scores(
        x, intercept=False, n_features=1, noise_scale=0.5, max_parents=1
    )
    direction, offset = scores.feature_map(1, [0])
    phi = features.columns(x[:, :1], direction, offset, False)[:, 0]
    sd = 0.5

    def density(weight, feature_weight, scale):
        mean = weight * x[:, 0] + feature_weight * phi
        return (
            stats.norm.pdf(x[:, 1], mean, sd).prod()
            * stats.norm.pdf(weight, 0, sd)
            * (stats.norm.pdf(feature_weight, 0, sd * scale) if scale else 1)
        )

    # the posterior of the weights lies well inside these limits
    total = integrate.quad(lambda w: density(w, 0, 0), -5, 5)[0]
    for scale in features.SCALES[1:]:
        grid_w, grid_a = np.linspace(-4, 4, 401), np.linspace(-25, 25, 2001)
        values = stats.norm.pdf(
            x[:, 1, None, None],
            grid_w[:, None] * x[:, 0, None, None] + grid_a * phi[:, None, None],
            sd,
        ).prod(axis=0)
        values *= stats.norm.pdf(grid_w, 0, sd)[:, None]
        values *= stats.norm.pdf(grid_a, 0, sd * scale)
        total += integrate.simpson(integrate.simpson(values, x=grid_a), x=grid_w)
    assert scores.local_scores(1)[1] == pytest.approx(np.log(total / 4), abs=1e-6)


def test_features_depend_on_the_set_alone():
    x = curved(30)
    few = make_scores(x, n_features=5).feature_map(2, [0, 3])
    many = make_scores(x, n_features=9, max_parents=2, n_threads=2).feature_map(
        2, [0, 3]
    )
    np.testing.assert_array_equal(many[0][:5], few[0])
    np.testing.assert_array_equal(many[1][:5], few[1])
    other = make_scores(x, n_features=5).feature_map(2, [0, 1])
    assert not np.array_equal(other[0], few[0])


@pytest.mark.parametrize("fourier", [0, 1])
@pytest.mark.parametrize("noise_scale", [math.nan, 0.4])
def test_draws(fourier, noise_scale):
    """Predictions, noise and scale of many draws of one node against the posterior."""
    x, n = curved(25), 4000
    scores = make_scores(x, n_features=6, fourier=fourier, noise_scale=noise_scale)
    graphs = np.zeros((n, 4, 4), np.uint8)
    graphs[:, :2, 2] = 1
    weights, intercepts, noise, log_density, more = scores.draw_parameters(graphs, 3)
    weights = weights.reshape(n, 2)
    drawn = scores.feature_map(2, [0, 1])
    y, F = features.design(x, None, 2, [0, 1], drawn, fourier, True)
    by_scale = features.evidence_by_scale(y, F, 2, True, noise_scale=noise_scale)
    probability = np.exp(by_scale - by_scale.max())
    probability /= probability.sum()
    is_linear = (more[:, 2] == 0).all(axis=1)
    p = stats.binomtest(int(is_linear.sum()), n, probability[0]).pvalue
    assert p > ERROR_RATE
    assert (more[:, [0, 1, 3]] == 0).all()
    # standardised prediction at a new point, scale by scale, is a known mixture: its
    # probability integral transform is uniform
    z = np.array([[0.5, -1.0]])
    f = np.append(z, features.columns(z, *drawn, fourier))
    raw = np.hstack([x[:, :2], features.columns(x[:, :2], *drawn, fourier)])
    predicted = intercepts[:, 2] + weights @ z[0] + more[:, 2] @ f[2:]
    cumulative = np.zeros(n)
    for s, scale in enumerate(features.SCALES):
        variance = features.prior_variances(2, 6, scale, 1.0)
        k = len(variance)
        precision = F[:, :k].T @ F[:, :k] + np.diag(1 / variance)
        mean = np.linalg.solve(precision, F[:, :k].T @ y)
        step = f[:k] - raw[:, :k].mean(axis=0)
        unit = step @ np.linalg.solve(precision, step) + 1 / 25
        centre = x[:, 2].mean() + step @ mean
        residual = y @ y - mean @ precision @ mean
        if math.isnan(noise_scale):
            shape, rate = 1 + 12.0, 1 + residual / 2
            law = stats.t(2 * shape, centre, math.sqrt(unit * rate / shape))
        else:
            law = stats.norm(centre, noise_scale * math.sqrt(unit))
        cumulative += probability[s] * law.cdf(predicted)
    assert stats.kstest(cumulative, "uniform").pvalue > ERROR_RATE
    assert np.isfinite(log_density).all()
    if math.isnan(noise_scale):
        assert stats.kstest(noise[:, 2], "norm").pvalue < ERROR_RATE  # they do vary
    else:
        np.testing.assert_allclose(noise, noise_scale)


def test_log_density_of_draws():
    """Evidence = joint density over posterior density, at every draw, scale by scale."""
    x, n = curved(15), 50
    scores = make_scores(x, n_features=4, noise_scale=0.4, intercept=False)
    graphs = np.zeros((n, 4, 4), np.uint8)
    graphs[:, 0, 1] = 1
    weights, _, _, log_density, more = scores.draw_parameters(graphs, 5)
    log_density = log_density.copy()
    drawn = scores.feature_map(1, [0])
    phi = features.columns(x[:, :1], *drawn, False)
    sd = 0.4
    for s in range(n):
        a = more[s, 1]
        mean = x[:, 0] * weights[s] + phi @ a
        joint = stats.norm.logpdf(x[:, 1], mean, sd).sum()
        joint += stats.norm.logpdf(weights[s], 0, sd) - math.log(4)
        by_scale = [
            joint + stats.norm.logpdf(a, 0, sd * scale / 2).sum()
            for scale in features.SCALES[1:]
        ]
        possible = [joint] if (a == 0).all() else by_scale
        gap = np.array(possible) - log_density[s] - scores.local_scores(1)[1]
        assert np.abs(gap).min() < 1e-8


def test_bad_settings_are_refused():
    x = curved(10)
    for fields, word in [
        ({"n_features": 0}, "n_features"),
        ({"n_features": 2000}, "n_features"),
        ({"noise_scale": -1.0}, "noise_scale"),
        ({"weight_scale": 0.0}, "weight_scale"),
    ]:
        with pytest.raises(ValueError, match=word):
            make_scores(x, **fields)
    with pytest.raises(ValueError, match="parents"):
        make_scores(x).feature_map(2, [3, 0])
    with pytest.raises(ValueError, match="parents"):
        make_scores(x).feature_map(2, [2])
