"""The model "features" through the estimators."""

import numpy as np
import pytest

import jspgfn


@pytest.fixture(scope="module")
def bent():
    """0 -> 2 -> 3 by a sine and a square, far from 0 and of unequal scale."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(100, 4))
    x[:, 2] = np.sin(2 * x[:, 0]) + 0.2 * x[:, 2]
    x[:, 3] = x[:, 2] ** 2 + 0.3 * x[:, 3]
    return x * [3.0, 1.0, 0.1, 10.0] + [5.0, 0.0, -7.0, 100.0]


@pytest.fixture(scope="module")
def exact(bent):
    return jspgfn.ExactPosterior("features", random_state=0).fit(bent)


def test_curved_mechanisms_show_directions(bent, exact):
    found = exact.edge_probabilities()
    assert found[0, 2] > 0.95
    assert found[2, 3] > 0.95
    linear = jspgfn.ExactPosterior("bge").fit(bent).edge_probabilities()
    assert linear[2, 3] < 0.6  # the square has no linear trace


def test_sampler_and_chain_agree(bent, exact):
    expected = exact.edge_probabilities()
    sampler = jspgfn.JSPGFN("features", n_iter=300, random_state=0, n_jobs=1).fit(bent)
    drawn = sampler.sample(4000, random_state=1).edge_probabilities(weighted=True)
    assert np.abs(drawn - expected).max() < 0.05
    chain = jspgfn.StructureMCMC("features", n_moves=3_000_000, random_state=0).fit(
        bent
    )
    assert np.abs(chain.edge_probabilities() - expected).max() < 0.02


@pytest.mark.parametrize(("max_parents", "allowed"), [(None, 15), (4, 16), (1, 5)])
def test_limit_of_parents_is_three_unless_given(bent, max_parents, allowed):
    five = np.hstack([bent, bent[:, :1] * bent[:, 1:2]])
    est = jspgfn.ExactPosterior("features", max_parents=max_parents).fit(five)
    assert np.isfinite(est._tables.scores.local_scores(0)).sum() == allowed


@pytest.mark.parametrize("kind", ["relu", "fourier"])
def test_units_of_x(bent, kind):
    """The same draws from shifted and scaled data predict shifted and scaled values."""
    model = jspgfn.RandomFeatures(n_features=20, kind=kind)
    factor, shift = np.array([2.0, 0.5, 10.0, 1.0]), np.array([1.0, 2.0, 3.0, 4.0])
    found = []
    for x in (bent, bent * factor + shift):
        est = jspgfn.ExactPosterior(model, random_state=0).fit(x)
        networks = est.sample(50, random_state=3)._networks
        found.append([networks.mean(j, x[:7], slice(0, 50)) for j in range(4)])
    for j in range(4):
        np.testing.assert_allclose(
            found[1][j], found[0][j] * factor[j] + shift[j], rtol=1e-6, atol=1e-6
        )


def test_mean_function_is_that_of_the_features(bent, exact):
    """One draw, by hand, in preprocessed units."""
    post = exact.sample(30, random_state=2)
    networks = post._networks
    rows = bent[:5]
    for s in range(30):
        for j in range(4):
            found = networks.mean(j, rows, slice(s, s + 1))[0]
            parents = np.flatnonzero(post.graphs[s, :, j])
            expected = (
                networks.linear.intercept[s, j] + rows @ post.theta["coef"][s, :, j]
            )
            if len(parents):
                shift, scale = bent.mean(axis=0), bent.std(axis=0)
                z = (rows - shift) / scale
                u, c = exact._tables.scores.feature_map(j, parents.tolist())
                phi = np.maximum(z[:, parents] @ u.T - c, 0)
                expected = expected + phi @ post.theta["feature_weight"][s, j]
            np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


def test_slices_and_joins_keep_mechanisms(bent, exact):
    post = exact.sample(40, random_state=4)
    both = jspgfn.Posterior.concatenate([post[30:], post[:10]])
    order = np.r_[30:40, 0:10]
    for j in range(4):
        np.testing.assert_array_equal(
            both._networks.mean(j, bent[:3], slice(0, 20)),
            post._networks.mean(j, bent[:3], slice(0, 40))[order],
        )
    again = jspgfn.Posterior._from_state(*both._state())
    np.testing.assert_array_equal(
        again._networks.mean(3, bent[:3], slice(0, 20)),
        both._networks.mean(3, bent[:3], slice(0, 20)),
    )


def test_interventions_drop_out(bent):
    """Rows in which a variable was set say nothing about its mechanism."""
    x, mask = bent.copy(), np.zeros(bent.shape, np.uint8)
    mask[:40, 3] = 1
    x[:40, 3] = 1e3
    kept = jspgfn.ExactPosterior("features", preprocess=None)
    with_rows = kept.fit(x, interventions=mask)._tables.scores.local_scores(3)
    without = jspgfn.ExactPosterior("features", preprocess=None).fit(bent[40:])
    np.testing.assert_allclose(
        with_rows[0], without._tables.scores.local_scores(3)[0], rtol=1e-10
    )


def test_what_has_no_meaning_is_refused(bent, exact):
    with pytest.raises(ValueError, match="sample"):
        exact.coef_mean()
    with pytest.raises(ValueError, match="predict_log_density"):
        exact.predict_log_density(bent[:2])
    for model, word in [
        (jspgfn.RandomFeatures(n_features=0), "n_features"),
        (jspgfn.RandomFeatures(n_features=1001), "n_features"),
        (jspgfn.RandomFeatures(noise_scale=0), "noise_scale"),
        (jspgfn.RandomFeatures(kind="tanh"), "kind"),
    ]:
        with pytest.raises(ValueError, match=word):
            jspgfn.ExactPosterior(model).fit(bent)


def test_exact_edges_are_those_of_a_long_chain_and_beat_straight_lines():
    """8 variables, small networks as truth; benchmarks/predict.py eight in short."""
    sim = jspgfn.simulate.nonlinear_gaussian(
        n_variables=8, n_samples=100, random_state=3
    )
    shared = {"max_parents": 3, "n_jobs": 1, "random_state": 0}
    model = jspgfn.RandomFeatures(noise_scale=0.1**0.5)
    exact = jspgfn.ExactPosterior(model, **shared).fit(sim.X)
    chain = jspgfn.StructureMCMC(model, n_moves=30_000_000, **shared).fit(sim.X)
    edges = exact.edge_probabilities()
    found, error = chain.edge_probabilities(standard_error=True)
    assert np.abs(found - edges).max() < 0.01
    assert (np.abs(found - edges) < 5 * error + 2e-3).all()
    linear = jspgfn.ExactPosterior("linear", **shared).fit(sim.X)
    assert jspgfn.metrics.auroc(edges, sim.graph) > 0.99
    assert jspgfn.metrics.auroc(linear, sim.graph) < 0.9
