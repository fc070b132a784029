"""Hundreds of variables: sets of nodes take several words."""

import numpy as np
import pytest

import jspgfn
from jspgfn import _core, _sampler

D = 200


@pytest.fixture(scope="module")
def data():
    return jspgfn.simulate.linear_gaussian(
        n_variables=D, n_samples=40, random_state=0
    ).X


@pytest.fixture(scope="module")
def fitted(data):
    with pytest.warns(jspgfn.CandidatesWarning, match="discarded_mass_"):
        return jspgfn.JSPGFN("nig", candidates=4, n_iter=6, random_state=0).fit(data)


def test_draws_know_their_own_probability(fitted):
    post = fitted.sample(20)
    assert _core.find_cycle(post.graphs.view(np.uint8)) == -1
    assert len(np.unique(np.nonzero(post.graphs)[1] // 64)) == 4  # parents in all words
    np.testing.assert_allclose(fitted.log_prob(post.graphs), post.log_prob, atol=1e-3)
    graph = post.graphs[0]
    prior = -sum(log_binomial(D - 1, n) for n in graph.sum(axis=0))
    evidence = sum(
        fitted.parent_set_evidence(j, np.flatnonzero(graph[:, j])) for j in range(D)
    )
    np.testing.assert_allclose(post.log_reward[0], prior + evidence, rtol=1e-12)


def log_binomial(n, k):
    return sum(np.log((n - i) / (i + 1)) for i in range(k))


def test_edges_of_many_draws_are_summed_in_parts(fitted, monkeypatch):
    whole = fitted.edge_probabilities(120), fitted.edge_probabilities(120, True)
    monkeypatch.setattr(_sampler, "BYTES_OF_DRAWS", 50 * D**2)
    parts = fitted.edge_probabilities(120), fitted.edge_probabilities(120, True)
    np.testing.assert_allclose(parts[0], whole[0], atol=1e-15)
    np.testing.assert_allclose(parts[1], whole[1], atol=1e-12)


def test_chains_of_many_variables_are_right():
    """The only edge that can be is between the first and the last variable."""
    x = np.random.default_rng(0).normal(size=(40, 130))
    x[:, 129] += 0.6 * x[:, 0]
    candidates = {j: [] for j in range(130)} | {0: [129], 129: [0]}
    chain = jspgfn.StructureMCMC(
        "nig",
        candidates=candidates,
        graph_prior="uniform",
        n_moves=20_000_000,
        random_state=0,
    ).fit(x)
    pair = jspgfn.ExactPosterior("nig", graph_prior="uniform").fit(x[:, [0, 129]])
    exact = pair.edge_probabilities()
    found = chain.edge_probabilities()
    np.testing.assert_allclose(found[0, 129], exact[0, 1], atol=0.02)
    np.testing.assert_allclose(found[129, 0], exact[1, 0], atol=0.02)


def test_the_published_method_names_its_limit(data):
    with pytest.raises(ValueError, match=r"at most 128 variables, got 200"):
        jspgfn.JSPGFN("linear", generator="gnn", n_iter=1).fit(data)


def test_memory_of_a_fit_is_refused_before_work(data, monkeypatch):
    from jspgfn import _validation

    monkeypatch.setattr(_validation, "available_memory", lambda: 50e6)
    with pytest.raises(ValueError, match=r"training of 200 variables .* batch_size"):
        jspgfn.JSPGFN("nig", candidates=8, batch_size=64).fit(data)
    with pytest.raises(ValueError, match=r"max_parents makes tables no smaller"):
        jspgfn.JSPGFN("nig", candidates=20, max_parents=2).fit(data)
