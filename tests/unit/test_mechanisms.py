"""What draws of non-linear models say, from all estimators: curves, densities, effects."""

import math

import numpy as np
import pytest

import jspgfn
from jspgfn._predict import weighted_quantiles

MODELS = {
    "features": jspgfn.RandomFeatures(n_features=8),
    "mlp": jspgfn.MLPGaussian(hidden=3, noise_scale=None, effort=0.05),
}
ESTIMATORS = {
    "exact": lambda model: jspgfn.ExactPosterior(model, random_state=0),
    "chain": lambda model: jspgfn.StructureMCMC(
        model, n_moves=3_000_000, random_state=0
    ),
    "gfn": lambda model: jspgfn.JSPGFN(model, n_iter=60, n_jobs=1, random_state=0),
}


@pytest.fixture(scope="module")
def bent():
    """0 -> 1 -> 2, and 3 apart; in units of their own."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(60, 4))
    x[:, 1] = np.sin(2 * x[:, 0]) + 0.3 * x[:, 1]
    x[:, 2] = x[:, 1] ** 2 + 0.3 * x[:, 2]
    return x * [3.0, 0.1, 10.0, 1.0] + [5.0, -7.0, 100.0, 0.0]


@pytest.fixture(
    scope="module", params=[(m, e) for m in MODELS for e in ESTIMATORS], ids="-".join
)
def post(request, bent):
    model, estimator = request.param
    return ESTIMATORS[estimator](MODELS[model]).fit(bent).sample(40, random_state=1)


def test_densities_are_those_of_the_curves(post, bent):
    means = np.stack([post.conditional_mean(j, bent[:7]) for j in range(4)], axis=2)
    noise = post.noise_scale[:, None, :]
    log_p = -0.5 * ((bent[:7] - means) / noise) ** 2 - np.log(noise)
    log_p = log_p - 0.5 * math.log(2 * math.pi)
    expected = np.logaddexp.reduce(log_p.sum(axis=2), axis=0) - math.log(40)
    np.testing.assert_allclose(post.predict_log_density(bent[:7]), expected, rtol=1e-9)
    mask = np.zeros((7, 4), np.uint8)
    mask[:, 1] = 1  # the value of a set cell still counts for its children
    expected = log_p[:, :, [0, 2, 3]].sum(axis=2)
    expected = np.logaddexp.reduce(expected, axis=0) - math.log(40)
    found = post.predict_log_density(bent[:7], interventions=mask)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_curves(post, bent):
    assert set(post.theta) in (
        {"coef", "intercept", "noise_scale", "feature_weight"},
        {"w1", "b1", "w2", "b2", "noise_scale"},
    )
    curve = post.mechanism(0, 1, bent, n_points=9)
    present = post.graphs[:, 0, 1]
    assert curve.probability == pytest.approx(present.mean())
    assert present.mean() > 0.9
    np.testing.assert_array_equal(
        curve.x, np.linspace(bent[:, 0].min(), bent[:, 0].max(), 9)
    )
    grid = np.tile(bent.mean(axis=0), (9, 1))
    grid[:, 0] = curve.x
    np.testing.assert_allclose(
        curve.curves, post.conditional_mean(1, grid)[present], rtol=1e-12
    )
    np.testing.assert_allclose(curve.mean, curve.curves.mean(axis=0))
    assert (curve.low <= curve.mean).all()
    assert (curve.mean <= curve.high).all()
    truth = 0.1 * np.sin(2 * (curve.x - 5) / 3) - 7  # within 2 sd of the data
    inner = np.abs(curve.x - 5) < 4
    assert np.abs(curve.mean - truth)[inner].max() < 0.06


def test_effects_are_those_of_simulated_interventions(post, bent):
    """One draw after the other, by a loop of our own."""
    low, high, n = -7.08, -6.95, 4000
    found = post.effects(1, 2, low=low, high=high, n_simulations=n)
    rng = np.random.default_rng(5)
    for s in (0, 7, 13):
        one = post[s : s + 1]
        means = []
        for value in (low, high):
            x = np.zeros((n, 4))
            done = []
            while len(done) < 4:
                j = next(
                    j
                    for j in range(4)
                    if j not in done
                    and set(np.flatnonzero(one.graphs[0, :, j])) <= set(done)
                )
                noise = one.noise_scale[0, j] * rng.normal(size=n)
                x[:, j] = one.conditional_mean(j, x)[0] + noise
                if j == 1:
                    x[:, j] = value
                done.append(j)
            means.append((x[:, 2].mean(), x[:, 2].std() / math.sqrt(n)))
        error = 5 * math.hypot(means[0][1], means[1][1]) + 1e-9
        assert found[s] == pytest.approx(means[1][0] - means[0][0], abs=error)
    no_path = ~np.array([g[1, 2] or (g[1] & g[:, 2]).any() for g in post.graphs])
    assert (found[no_path & ~post.graphs[:, 1].any(axis=1)] == 0).all()


def test_settings_of_a_bent_cause_must_be_named(bent):
    post = jspgfn.ExactPosterior(MODELS["features"], random_state=0).fit(bent)
    post = post.sample(5)
    with pytest.warns(jspgfn.JspgfnWarning, match="low and high among the values"):
        post.effects(0, 2)
    with pytest.warns(jspgfn.JspgfnWarning, match=r"from 0 to 2: mechanisms"):
        post.effect_summary(0, 2, high=2)
    with pytest.raises(AttributeError, match=r"theta\['coef'\] for that of the linear"):
        _ = post.coef
    with pytest.raises(ValueError, match="differ"):
        post.mechanism(1, 1, bent)
    with pytest.raises(ValueError, match="columns"):
        post.conditional_mean(1, bent[:, :3])


def test_curves_of_other_models():
    sim = jspgfn.simulate.linear_gaussian(
        n_variables=3, n_samples=40, edges_per_node=0.8, random_state=1
    )
    post = jspgfn.ExactPosterior(random_state=0).fit(sim.X).sample(30)
    for j in range(3):
        expected = np.einsum("sp,rp->sr", post.coef[:, :, j], sim.X)
        expected += post.intercept[:, j, None]
        np.testing.assert_allclose(post.conditional_mean(j, sim.X), expected)
    codes = (sim.X > 0).astype(int)
    discrete = jspgfn.ExactPosterior("bdeu", random_state=0).fit(codes).sample(5)
    for ask in (
        lambda: discrete.conditional_mean(0, codes),
        lambda: discrete.mechanism(0, 1, codes),
    ):
        with pytest.raises(ValueError, match="conditional_table"):
            ask()


def test_curves_by_weight_and_without_edges():
    sim = jspgfn.simulate.linear_gaussian(
        n_variables=3, n_samples=40, edges_per_node=0.8, random_state=1
    )
    post = jspgfn.JSPGFN(n_iter=5, random_state=0).fit(sim.X).sample(200)
    i, j = np.argwhere(post.graphs.any(axis=0))[0]
    curve = post.mechanism(i, j, sim.X, weighted=True)
    present = post.graphs[:, i, j]
    weights = post.weights[present]
    assert curve.probability == pytest.approx(weights.sum())
    np.testing.assert_allclose(curve.mean, weights @ curve.curves / weights.sum())
    none = jspgfn.ExactPosterior(max_parents=0).fit(sim.X).sample(5)
    empty = none.mechanism(0, 1, sim.X, n_points=7)
    assert empty.curves.shape == (0, 7)
    assert empty.probability == 0
    assert np.isnan([empty.mean, empty.low, empty.high]).all()
    with pytest.raises(ValueError, match="no rows"):
        post.mechanism(i, j, sim.X[:0])


def test_weighted_quantiles():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(50, 3))
    same = np.full(50, 1 / 50)
    np.testing.assert_allclose(
        weighted_quantiles(values, same, (0.1, 0.9)),
        np.quantile(values, (0.1, 0.9), axis=0),
    )
    weights = np.repeat([2.0, 1.0, 0.0], [10, 20, 20]) / 40
    repeated = np.concatenate([values[:10], values[:10], values[10:30]])
    np.testing.assert_allclose(
        weighted_quantiles(values, weights, (0.25, 0.5)),
        np.quantile(repeated, (0.25, 0.5), axis=0, method="inverted_cdf"),
    )
