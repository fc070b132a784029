"""Simulated data agree with the parameters that come with them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import jspgfn
from jspgfn._constraints import find_cycle
from jspgfn.simulate import linear_gaussian


@given(
    n_variables=st.integers(1, 15),
    n_samples=st.integers(1, 30),
    edges_per_node=st.floats(0, 20),
    graph=st.sampled_from(["er", "scale-free"]),
    weights=st.sampled_from(["normal", "uniform"]),
    interventions=st.floats(0, 1),
    seed=st.integers(0, 2**32),
)
@settings(max_examples=80, deadline=None)
def test_shapes_and_promises(seed, **arguments):
    sim = linear_gaussian(random_state=seed, **arguments)
    D, N = arguments["n_variables"], arguments["n_samples"]
    assert sim.X.shape == (N, D)
    assert sim.X.dtype == np.float64
    assert sim.graph.shape == (D, D)
    assert sim.graph.dtype == bool
    assert not find_cycle(sim.graph)
    np.testing.assert_array_equal(sim.coef != 0, sim.graph)
    if arguments["weights"] == "uniform":
        size = np.abs(sim.coef[sim.graph])
        assert ((size >= 0.5) & (size <= 2)).all()
    assert sim.noise_scale.shape == (D,)
    assert sim.interventions.dtype == np.uint8
    assert sim.interventions.sum() == round(arguments["interventions"] * N)
    assert sim.interventions.sum(axis=1).max() <= 1
    again = linear_gaussian(random_state=seed, **arguments)
    np.testing.assert_array_equal(sim.X, again.X)


def test_equations_hold():
    sim = linear_gaussian(
        n_variables=6,
        n_samples=40_000,
        interventions=0.3,
        noise_scale=0.5,
        random_state=0,
    )
    observed = sim.interventions == 0
    residual = sim.X - sim.X @ sim.coef
    assert residual[observed].std() == pytest.approx(0.5, rel=0.02)
    assert sim.X[~observed].std() == pytest.approx(1.0, rel=0.05)


def test_number_of_edges():
    edges = [
        linear_gaussian(
            n_variables=20,
            n_samples=1,
            edges_per_node=1.5,
            graph=graph,
            random_state=seed,
        ).graph.sum()
        for graph in ("er", "scale-free")
        for seed in range(100)
    ]
    assert np.mean(edges[:100]) == pytest.approx(30, rel=0.05)
    assert np.mean(edges[100:]) == pytest.approx(
        28.5, rel=0.05
    )  # 19 nodes can have parents


def test_scale_free_has_hubs():
    def largest(graph):
        graphs = [
            linear_gaussian(
                n_variables=50, n_samples=1, graph=graph, random_state=s
            ).graph
            for s in range(20)
        ]
        return np.mean([graph.sum(axis=1).max() for graph in graphs])

    assert largest("scale-free") > 1.5 * largest("er")


def test_noise_of_each_variable():
    sim = linear_gaussian(
        n_variables=3, n_samples=10, noise_scale=[0.0, 1.0, 2.0], random_state=0
    )
    np.testing.assert_array_equal(sim.noise_scale, [0, 1, 2])
    residual = (sim.X - sim.X @ sim.coef)[:, 0]
    np.testing.assert_allclose(residual, 0, atol=1e-12)


def test_generators_as_random_state():
    one = linear_gaussian(
        n_variables=3, n_samples=5, random_state=np.random.default_rng(5)
    )
    two = linear_gaussian(
        n_variables=3, n_samples=5, random_state=np.random.default_rng(5)
    )
    np.testing.assert_array_equal(one.X, two.X)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"n_variables": 0}, r"n_variables must be an integer of at least 1, got 0"),
        ({"n_samples": 2.0}, r"n_samples must be an integer"),
        ({"edges_per_node": -1}, r"edges_per_node must be .* at least 0, got -1"),
        ({"graph": "sf"}, r"graph must be one of 'er'.*'scale-free'.* got 'sf'"),
        ({"weights": "gamma"}, r"weights must be one of"),
        ({"noise_scale": -0.1}, r"noise_scale must be a number or 3 numbers"),
        ({"noise_scale": [1, 2]}, r"noise_scale must be a number or 3 numbers"),
        ({"interventions": 1.1}, r"interventions must be .* at most 1, got 1.1"),
    ],
)
def test_bad_arguments(wrong, message):
    arguments = {"n_variables": 3, "n_samples": 5, "random_state": 0, **wrong}
    with pytest.raises(ValueError, match=message):
        jspgfn.simulate.linear_gaussian(**arguments)


def test_nonlinear_gaussian():
    sim = jspgfn.simulate.nonlinear_gaussian(
        n_variables=6, n_samples=2000, interventions=0.2, hidden=4, random_state=3
    )
    assert sim.X.shape == sim.interventions.shape == (2000, 6)
    edges = np.broadcast_to(sim.graph.T[:, None, :], sim.w1.shape)
    assert ((sim.w1 != 0) == edges).all()
    hidden = np.maximum(np.einsum("ni,jui->nju", sim.X, sim.w1) + sim.b1, 0)
    residual = sim.X - np.einsum("nju,ju->nj", hidden, sim.w2) - sim.b2
    observed = sim.interventions == 0
    np.testing.assert_allclose(residual[observed].std(), 0.1**0.5, rtol=0.03)
    assert abs(sim.X[~observed].std() - 1) < 0.2
    again = jspgfn.simulate.nonlinear_gaussian(
        n_variables=6, n_samples=2000, interventions=0.2, hidden=4, random_state=3
    )
    np.testing.assert_array_equal(sim.X, again.X)
    with pytest.raises(ValueError, match="hidden must be"):
        jspgfn.simulate.nonlinear_gaussian(n_variables=2, n_samples=2, hidden=0)


def test_what_would_not_fit_in_memory():
    with pytest.raises(
        ValueError, match=r"10000000000 rows of 20 .* would take 6600.0 GB"
    ):
        jspgfn.simulate.linear_gaussian(n_variables=20, n_samples=10**10)
    with pytest.raises(ValueError, match="would take"):
        jspgfn.simulate.linear_gaussian(n_variables=10**7, n_samples=1)
