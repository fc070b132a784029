"""Several trainings as one sampler, against the exact posterior."""

import numpy as np
import pytest

import jspgfn

SETTINGS = {"model": "nig", "graph_prior": "uniform"}


@pytest.fixture(scope="module")
def x():
    return jspgfn.simulate.linear_gaussian(
        n_variables=5, n_samples=40, edges_per_node=1.5, random_state=3
    ).X


@pytest.fixture(scope="module")
def exact(x):
    return jspgfn.ExactPosterior(**SETTINGS).fit(x)


@pytest.fixture(scope="module")
def members(x):
    """Little trained, and one of them not at all."""
    return [
        jspgfn.JSPGFN(**SETTINGS, n_iter=n, random_state=seed).fit(x)
        for seed, n in enumerate([100, 300, 1])
    ]


def quality(post, exact):
    """Error of weighted edges, of log Z, and the effective share of draws."""
    error = np.abs(post.edge_probabilities(weighted=True) - exact.edge_probabilities())
    log_weight = post.log_reward - post.log_prob
    log_z = np.logaddexp.reduce(log_weight) - np.log(len(post))
    ess = 1 / (post.weights**2).sum() / len(post)
    return np.sqrt((error**2).mean()), abs(log_z - exact.log_partition_), ess


def test_the_mixture_is_no_worse_than_the_worst(members, exact):
    merged = quality(jspgfn.merge(members, 12_000, random_state=0), exact)
    single = [
        quality(member.sample(12_000, random_state=1), exact) for member in members
    ]
    assert merged[0] < max(error for error, _, _ in single)
    assert merged[0] < 0.01
    assert merged[1] < 0.02
    assert merged[2] > min(ess for _, _, ess in single)


def test_log_prob_is_that_of_the_mixture(members):
    post = jspgfn.merge(members, 30, random_state=0)
    q = np.mean([np.exp(member.log_prob(post.graphs)) for member in members], axis=0)
    np.testing.assert_allclose(np.exp(post.log_prob), q, rtol=1e-6)
    again = jspgfn.merge(members, 30, random_state=0)
    assert (again.coef == post.coef).all()
    assert len(jspgfn.merge(members, 31, random_state=0)) == 31


def test_one_member_is_itself(members):
    alone = jspgfn.merge(members[:1], 400, random_state=0)
    np.testing.assert_allclose(
        alone.log_prob, members[0].log_prob(alone.graphs), rtol=1e-9
    )


def test_refusals(x, members):
    other = jspgfn.JSPGFN("bge", graph_prior="uniform", n_iter=1, random_state=0).fit(x)
    with pytest.raises(ValueError, match="different data, models"):
        jspgfn.merge([members[0], other], 10)
    for none in ([], None, members[0], [members[0], 3]):
        with pytest.raises(
            ValueError, match=r"list of fitted JSPGFN, at least one, got"
        ):
            jspgfn.merge(none)
    with pytest.raises(ValueError, match="n must be an integer of at least 3"):
        jspgfn.merge(members, 2)
    published = jspgfn.JSPGFN("linear", generator="gnn", n_iter=1, batch_size=4)
    with pytest.raises(ValueError, match="'gnn' only estimates"):
        jspgfn.merge([published])
