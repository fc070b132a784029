"""Cutting, joining, reweighting and storing draws."""

import json

import numpy as np
import pytest

import jspgfn
from jspgfn import Posterior

ARRAYS = ("log_prob", "log_prob_theta", "log_reward", "log_reward_joint")


@pytest.fixture(scope="module")
def discrete():
    rng = np.random.default_rng(0)
    X = rng.integers([2, 3, 2, 4], size=(60, 4))
    X[:, 1] = (X[:, 0] + X[:, 1] // 2) % 3
    est = jspgfn.JSPGFN(model="bdeu", n_iter=60, random_state=0).fit(X)
    return est.sample(80, random_state=1)


@pytest.fixture(params=["linear", "discrete"])
def draws(request, posterior):
    if request.param == "linear":
        return posterior
    return request.getfixturevalue("discrete")


def theta_of(post, s):
    """All parameters of one draw."""
    if "table" not in post.theta:
        return {name: values[s] for name, values in post.theta.items()}
    return {j: post.conditional_table(s, j) for j in range(len(post.feature_names))}


def assert_same_draws(one, two, numbers):
    """Draw k of `one` is draw numbers[k] of `two`."""
    assert len(one) == len(numbers)
    np.testing.assert_array_equal(one.graphs, two.graphs[numbers])
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name)[numbers])
    for k, s in enumerate(numbers[:20]):
        mine, other = theta_of(one, k), theta_of(two, int(s))
        assert mine.keys() == other.keys()
        for name in mine:
            np.testing.assert_array_equal(mine[name], other[name])


@pytest.mark.parametrize(
    "key",
    [3, -1, slice(10, 20), slice(None, None, -7), [5, 5, 0], "mask"],
    ids=str,
)
def test_cutting(draws, key):
    if key == "mask":
        key = draws.graphs[:, 0, 1] | draws.graphs[:, 1, 0]
    part = draws[key]
    assert_same_draws(part, draws, np.atleast_1d(np.arange(len(draws))[key]))
    assert part.weights.sum() == pytest.approx(1)
    assert part.feature_names == draws.feature_names
    assert type(part.edge_probabilities()) is type(draws.edge_probabilities())


def test_a_cut_that_leaves_nothing(draws):
    n = len(draws)
    for key in (slice(5, 5), slice(0), np.zeros(n, bool), [], np.arange(0)):
        with pytest.raises(ValueError, match=rf"at least one draw, but .* none of {n}"):
            draws[key]
    with pytest.raises(IndexError, match=f"index {n} is out of bounds"):
        draws[n]  # which also ends loops over draws
    assert len(list(draws[:3])) == 3


def test_joining(draws):
    whole = Posterior.concatenate([draws[:7], draws[7:9], draws[9:]])
    assert_same_draws(whole, draws, np.arange(len(draws)))
    np.testing.assert_allclose(whole.weights, draws.weights)
    twice = Posterior.concatenate([draws, draws])
    np.testing.assert_allclose(
        twice.edge_probabilities(weighted=True), draws.edge_probabilities(weighted=True)
    )


def test_parts_without_weights_count_by_their_number(table, posterior):
    exact = jspgfn.ExactPosterior(random_state=0).fit(table).sample(100)
    both = Posterior.concatenate([exact, posterior])
    assert both.weights[:100] == pytest.approx(1 / 400)
    np.testing.assert_allclose(both.weights[100:], posterior.weights * 300 / 400)
    np.testing.assert_allclose(both[100:].weights, posterior.weights)


def test_what_cannot_be_joined(posterior, discrete):
    for none in ([], None, [posterior, 3], 7):
        with pytest.raises(ValueError, match=r"list of posteriors, at least one, got"):
            Posterior.concatenate(none)
    with pytest.raises(ValueError, match="different variables cannot be joined"):
        Posterior.concatenate([posterior, discrete])


def test_reweighting(draws):
    factor = np.linspace(-3, 0, len(draws))
    expected = draws.weights * np.exp(factor)
    other = draws.reweight(factor)
    np.testing.assert_allclose(other.weights, expected / expected.sum())
    np.testing.assert_allclose(other.reweight(-factor).weights, draws.weights)
    one_two = Posterior.concatenate([other[:5], other[5:]])
    np.testing.assert_allclose(one_two.weights, other.weights)
    for bad in (factor[1:], factor * np.nan, np.full(len(draws), -np.inf)):
        with pytest.raises(ValueError, match="log_factor must"):
            draws.reweight(bad)
    with pytest.raises(ValueError, match=r"log_factor must be numbers.* got 'a'"):
        draws.reweight("a")


def test_reweighting_to_another_prior():
    """Uniform to edge odds of 1/4, against the exact posterior with that prior."""
    sim = jspgfn.simulate.linear_gaussian(n_variables=4, n_samples=40, random_state=5)
    prior = np.full((4, 4), 0.2)
    flat = jspgfn.ExactPosterior(graph_prior="uniform", random_state=0).fit(sim.X)
    sparse = jspgfn.ExactPosterior(
        graph_prior=jspgfn.EdgeProbabilities(prior), random_state=0
    ).fit(sim.X)
    draws = flat.sample(20_000)
    other = draws.reweight(np.log(0.25) * draws.graphs.sum(axis=(1, 2)))
    p, error = other.edge_probabilities(weighted=True, standard_error=True)
    assert (np.abs(p - sparse.edge_probabilities()) <= 5 * error + 1e-12).all()


def test_state_goes_through_json(draws):
    reweighted = draws.reweight(np.linspace(0, 1, len(draws)))
    for post in (draws, reweighted):
        arrays, settings = post._state()
        assert all(isinstance(values, np.ndarray) for values in arrays.values())
        back = Posterior._from_state(arrays, json.loads(json.dumps(settings)))
        assert_same_draws(back, post, np.arange(len(post)))
        np.testing.assert_array_equal(back.weights, post.weights)
        assert back.feature_names == post.feature_names
        assert type(back.edge_probabilities()) is type(post.edge_probabilities())


def test_states_keep_their_types(rng):
    pandas = pytest.importorskip("pandas")
    X = pandas.DataFrame(
        {
            "text": rng.choice(["a", "b"], 50),
            "truth": rng.random(50) < 0.5,
            "number": rng.integers(3, size=50),
            "category": pandas.Categorical(rng.choice(["no", "yes"], 50)),
        }
    )
    post = jspgfn.ExactPosterior("bdeu", random_state=0).fit(X).sample(5)
    arrays, settings = post._state()
    back = Posterior._from_state(arrays, json.loads(json.dumps(settings)))
    assert back._networks.states == post._networks.states
    assert [type(found[0]) for found in back._networks.states] == [str, bool, int, str]


def test_state_that_does_not_fit_is_refused(draws):
    arrays, settings = draws._state()
    for name in arrays:
        if name != "theta.table":
            damaged = {**arrays, name: arrays[name][:-1]}
            with pytest.raises(ValueError, match=r"shape|belong"):
                Posterior._from_state(damaged, settings)
    if "theta.table" in arrays:
        damaged = {**arrays, "theta.table": arrays["theta.table"][:-1]}
        with pytest.raises(ValueError, match="do not belong together"):
            Posterior._from_state(damaged, settings)
    with pytest.raises(ValueError, match="unknown kind of model"):
        Posterior._from_state(arrays, {**settings, "family": "quantum"})
