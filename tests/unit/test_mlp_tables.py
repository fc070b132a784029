"""The model "mlp" with tables of evidences, through the estimators."""

import numpy as np
import pytest

import jspgfn
from jspgfn import _core, _validation


@pytest.fixture(scope="module")
def bent():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(80, 4))
    x[:, 2] = np.sin(2 * x[:, 0]) + 0.3 * x[:, 2]
    x[:, 3] = x[:, 2] ** 2 + 0.3 * x[:, 3]
    return x * [3.0, 1.0, 0.1, 10.0] + [5.0, 0.0, -7.0, 100.0]


@pytest.fixture(scope="module")
def exact(bent):
    model = jspgfn.MLPGaussian(noise_scale=None)
    return jspgfn.ExactPosterior(model, random_state=0).fit(bent)


def test_curved_mechanisms_show_directions(bent, exact):
    found = exact.edge_probabilities()
    assert found[0, 2] > 0.95
    assert found[2, 3] > 0.95
    assert found[3, 2] < 0.05


def test_same_bits_for_any_threads_and_candidates(bent, exact):
    model = jspgfn.MLPGaussian(noise_scale=None)
    two = jspgfn.ExactPosterior(model, n_jobs=2, candidates={2: [0, 3]}).fit(bent)
    whole = exact._tables.scores.local_scores(2)  # parents 0, 1, 3
    some = two._tables.scores.local_scores(2)
    assert exact.graph_prior == "fair"  # weights depend on the number of parents alone
    np.testing.assert_array_equal(some, whole[[0, 1, 4, 5]])


def test_densities_of_draws(bent, exact):
    """log_reward_joint, from its definition: data, weights and noise."""
    post = exact.sample(20, random_state=3)
    networks, scale = post._networks, bent.std(axis=0)
    shift = bent.mean(axis=0)
    z = (bent - shift) / scale
    for s in range(20):
        expected = -sum(
            np.log(np.array([1, 3, 3, 1])[int(k)]) for k in post.graphs[s].sum(axis=0)
        )
        for j in range(4):
            noise = post.noise_scale[s, j] / scale[j]
            mean = networks.mean(j, bent, slice(s, s + 1))[0]
            e = (z[:, j] - (mean - shift[j]) / scale[j]) / noise
            expected += (-0.5 * e**2 - np.log(noise) - 0.5 * np.log(2 * np.pi)).sum()
            w1 = networks.w1[s, j] * scale
            b1 = networks.b1[s, j] + networks.w1[s, j] @ shift
            b2 = (networks.b2[s, j] - shift[j]) / scale[j]
            numbers = np.concatenate(
                [w1[:, post.graphs[s, :, j]].ravel(), b1, networks.w2[s, j] / scale[j]]
            )
            numbers = np.append(numbers, [b2, np.log(noise) + 1])
            expected += (-0.5 * numbers**2 - 0.5 * np.log(2 * np.pi)).sum()
        assert post.log_reward_joint[s] == pytest.approx(expected, abs=1e-6)
    np.testing.assert_allclose(
        post.log_reward_joint, post.log_reward + post.log_prob_theta
    )


def test_what_estimates_cannot_say_is_refused(bent, exact):
    """Evidences are estimates: score goes by draws, weights alone do not exist."""
    with pytest.raises(ValueError, match="predict_log_density"):
        exact.predict_log_density(bent[:2])
    with pytest.raises(ValueError, match="sample"):
        exact.coef_mean()
    assert np.isfinite(exact.score(bent[:5]))


def test_sampler_and_chain_take_the_tables(bent, exact):
    model = jspgfn.MLPGaussian(noise_scale=None, effort=0.2)
    sampler = jspgfn.JSPGFN(model, n_iter=50, random_state=0, n_jobs=1).fit(bent)
    post = sampler.sample(200)
    assert np.isfinite(post.predict_log_density(bent[:3])).all()
    assert np.isfinite(sampler.log_reward(post.graphs)).all()
    chain = jspgfn.StructureMCMC(model, n_moves=2_000_000, random_state=0).fit(bent)
    assert chain.edge_probabilities()[2, 3] > 0.9


@pytest.mark.parametrize(
    ("model", "word"),
    [
        (jspgfn.MLPGaussian(hidden=0), "hidden"),
        (jspgfn.MLPGaussian(noise_scale=-1), "noise_scale"),
        (jspgfn.MLPGaussian(effort=0), "effort"),
    ],
)
def test_settings_are_refused(bent, model, word):
    with pytest.raises(ValueError, match=word):
        jspgfn.ExactPosterior(model).fit(bent)


def test_published_method_needs_a_known_noise(bent):
    with pytest.raises(ValueError, match="known noise"):
        jspgfn.JSPGFN(
            jspgfn.MLPGaussian(noise_scale=None), generator="gnn", head="mlp"
        ).fit(bent)


def test_building_of_tables_can_be_stopped_and_tells_its_progress(bent, exact):
    tables, shares = exact._tables, []

    def stop(share):
        shares.append(share)
        if len(shares) == 2:
            raise KeyboardInterrupt

    settings = {
        **tables.settings,
        "model_fields": {**tables.settings["model_fields"], "effort": 8.0},
    }
    with pytest.raises(KeyboardInterrupt):
        _core.Scores(tables.x, None, n_threads=2, progress=stop, **settings)
    assert 0 <= shares[0] <= shares[1] < 1


def test_evidence_of_one_set_has_a_standard_error(bent, exact):
    value, error = exact.parent_set_evidence(2, [3, 0], standard_error=True)
    assert value == exact.parent_set_evidence(2, [0, 3])
    assert 0.005 < error < 0.5
    linear = jspgfn.ExactPosterior("bge", max_parents=1).fit(bent)
    assert linear.parent_set_evidence(2, [0], standard_error=True)[1] == 0
    with pytest.raises(ValueError, match="other than 2"):
        exact.parent_set_evidence(2, [2])
    with pytest.raises(ValueError, match="parents"):
        exact.parent_set_evidence(2, [4])
    with pytest.raises(ValueError, match="a sequence of variables, got 'x0'"):
        exact.parent_set_evidence(2, "x0")
    with pytest.raises(ValueError, match="a sequence of variables, got 0"):
        exact.parent_set_evidence(2, 0)


def test_one_evidence_is_that_of_the_table(exact):
    scores = exact._tables.scores  # node 2 has candidates 0, 1, 3
    prior = -np.log([1, 3, 3, 1])
    sets = ([], [0], [0, 3], [0, 1, 3])
    found = [scores.evidence(2, parents)[0] for parents in sets]
    expected = scores.local_scores(2)[[0, 1, 5, 7]] - prior
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    with pytest.raises(ValueError, match="increasing"):
        scores.evidence(2, [3, 0])
    with pytest.raises(ValueError, match="node"):
        scores.evidence(4, [])


def test_fifty_variables_say_beforehand_what_they_take(monkeypatch, capsys):
    """12 candidates each are chosen by random features; then nothing is built unseen."""
    sim = jspgfn.simulate.nonlinear_gaussian(
        n_variables=50, n_samples=30, random_state=0
    )
    chain = jspgfn.StructureMCMC("mlp", verbose=1, n_jobs=1)

    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(_core, "fit_evidences", stop)
    with pytest.raises(KeyboardInterrupt):
        chain.fit(sim.X)
    plan = capsys.readouterr().out
    assert "12 per variable, the best; at most 3 parents; tables of 3.3 MB" in plan
    assert "14950 parent sets, one by one, by 1 thread" in plan
    assert "is not estimated" in plan
    monkeypatch.setattr(_validation, "available_memory", lambda: 3e6)
    with pytest.raises(ValueError, match=r"12 candidate parents .* 3\.3 MB"):
        chain.fit(sim.X)
