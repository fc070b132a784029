"""Evidences of networks: the package against annealing over all parameters."""

import numpy as np
import pytest

import jspgfn
from reference.networks import Networks, log_evidence


def make_problem(noise_scale, seed=0, n=40):
    """z (n, 1) and y (n,), drawn from the model."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, 1))
    networks = Networks(z, np.zeros(n), hidden=2, noise_scale=noise_scale)
    theta = networks.draw_prior(rng, 1)
    w1, w2, b2 = theta[:4, 0].reshape(2, 2), theta[4:6, 0], theta[6, 0]
    mean = np.maximum(networks.z1 @ w1.T, 0) @ w2 + b2
    scale = noise_scale or np.exp(theta[-1, 0])
    y = mean + scale * rng.normal(size=n)
    return z, y


@pytest.mark.parametrize("noise_scale", [0.4, None])
def test_slopes(noise_scale):
    z, y = make_problem(noise_scale)
    networks = Networks(z, y, 2, noise_scale)
    rng = np.random.default_rng(1)
    theta = networks.draw_prior(rng, 8)
    step = 1e-3 * rng.standard_normal(theta.shape, dtype=np.float32)
    above, below = (networks.log_likelihood(theta + s * step)[0] for s in (1, -1))
    slope = networks.log_likelihood(theta)[1]
    expected = (slope * step).sum(axis=0)
    np.testing.assert_allclose((above - below) / 2, expected, rtol=0.02, atol=1e-3)


@pytest.mark.parametrize("noise_scale", [0.4, None])
def test_evidence(noise_scale):
    z, y = make_problem(noise_scale)
    networks, rng = Networks(z, y, 2, noise_scale), np.random.default_rng(2)
    value = log_evidence(networks, rng, chains=512, kept=0.95)
    model = jspgfn.MLPGaussian(hidden=2, noise_scale=noise_scale, effort=4)
    exact = jspgfn.ExactPosterior(model, preprocess=None, max_parents=1)
    exact.fit(np.column_stack([z, y]))
    found, error = exact.parent_set_evidence(1, [0], standard_error=True)
    assert error < 0.1
    assert found == pytest.approx(value, abs=0.25)
