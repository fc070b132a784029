"""The published method as users call it. No fit here needs to be good."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone

import jspgfn
from jspgfn import _gnn
from reference import dags, paper

SMALL = {**jspgfn.PAPER, "batch_size": 24, "n_theta_samples": 3, "n_iter": 20}


@pytest.fixture(scope="module", params=["diag", "full"])
def fit(request):
    sim = jspgfn.simulate.linear_gaussian(
        n_variables=4, n_samples=60, interventions=0.3, random_state=3
    )
    settings = {**SMALL, "head": request.param, "random_state": 0}
    est = jspgfn.JSPGFN(**settings).fit(sim.X, interventions=sim.interventions)
    return sim, est


def test_paper_settings():
    est = jspgfn.JSPGFN(**jspgfn.PAPER)
    assert (est.batch_size, est.n_theta_samples, est.n_iter) == (256, 64, 100_000)
    assert est.head == "diag"
    assert set(jspgfn.PAPER) < set(jspgfn.PAPER_QUICK)
    assert jspgfn.JSPGFN(**jspgfn.PAPER_QUICK).gnn_options["logit_scale"] == 30


@pytest.mark.parametrize("head", ["diag", "full"])
def test_head_starts_in_units_of_the_data(head):
    """Before training, each weight has the precision that its parent alone would give."""
    sim = jspgfn.simulate.linear_gaussian(n_variables=4, n_samples=60, random_state=3)
    options = {"head_spread": 3.0, "init_scale": 0.0}
    settings = {**SMALL, "head": head, "n_iter": 1, "learning_rate": 1e-30}
    est = jspgfn.JSPGFN(**settings, gnn_options=options, random_state=0).fit(sim.X)
    precision = (sim.X**2).sum(axis=0) / 0.1 + 1
    draws = est.sample(2000, random_state=1)
    parents = draws.graphs.nonzero()[1]
    z = draws.coef[draws.graphs.astype(bool)] * np.sqrt(precision[parents])
    assert abs(z.mean()) < 0.1
    assert 0.95 < z.std() < 1.05


def test_units_of_the_data_are_for_linear_heads():
    X = np.random.default_rng(0).normal(size=(20, 3))
    quick = {**jspgfn.PAPER_QUICK, "model": "mlp", "head": "mlp", "n_iter": 1}
    with pytest.raises(ValueError, match=r"\['head_spread'\] is for the heads .* drop"):
        jspgfn.JSPGFN(**quick).fit(X)
    options = {k: v for k, v in quick["gnn_options"].items() if k != "head_spread"}
    quick |= {"gnn_options": options, "batch_size": 4, "n_theta_samples": 2}
    jspgfn.JSPGFN(**quick).fit(X)


def test_history(fit):
    _, est = fit
    assert est.n_iter_ == 20
    assert {"loss", "huber", "penalty", "residual_sd"} <= set(est.history_)
    np.testing.assert_allclose(
        est.history_["loss"], est.history_["huber"] + est.history_["penalty"]
    )
    assert (est.history_["residual_sd"] > 0).all()
    np.testing.assert_allclose(est.history_["learning_rate"], 1e-4)


def test_densities_of_draws(fit):
    sim, est = fit
    post = est.sample(200, random_state=1)
    theta = np.swapaxes(post.coef, 1, 2)[:, None]
    mask = np.swapaxes(post.graphs, 1, 2).astype(float)
    assert ((post.coef != 0) == post.graphs).all()
    likelihood, _ = paper.log_likelihood(theta, sim.X, sim.interventions.astype(float))
    joint = likelihood + paper.log_prior(theta, mask)
    np.testing.assert_allclose(post.log_reward_joint, joint[:, 0])
    np.testing.assert_allclose(est.log_reward(post.graphs), post.log_reward)
    np.testing.assert_allclose(post.noise_scale, 0.1**0.5)
    assert not post.intercept.any()
    log_weights = joint[:, 0] - post.log_prob - post.log_prob_theta
    weights = np.exp(log_weights - log_weights.max())
    np.testing.assert_allclose(post.weights, weights / weights.sum(), rtol=1e-6)


def test_draws_go_on_and_repeat(fit):
    _, est = fit
    first = est.sample(70, random_state=5)
    again = est.sample(70, random_state=5)
    np.testing.assert_array_equal(first.coef, again.coef)
    assert (est.sample(70).coef != est.sample(70).coef).any()


def test_log_prob(fit):
    _, est = fit
    log_prob, error = est.log_prob(dags.enumerate_dags(4), standard_error=True)
    np.testing.assert_allclose(np.exp(log_prob).sum(), 1, rtol=1e-5)
    assert not error.any()
    with pytest.raises(ValueError, match="self-loop"):
        est.log_prob(np.ones((4, 4)))


def many_edges():
    """A graph of 6 variables and 11 edges, and its 15 edges without constraints."""
    full = np.triu(np.ones((6, 6), np.uint8), 1)
    graph = full.copy()
    graph[0, 2:] = 0
    return graph, full


def fit_six(scale, **settings):
    sim = jspgfn.simulate.linear_gaussian(n_variables=6, n_samples=50, random_state=2)
    options = {"logit_scale": scale, "init_scale": 0.3}
    settings = {**SMALL, "n_iter": 1, "random_state": 0, **settings}
    return jspgfn.JSPGFN(**settings, gnn_options=options).fit(sim.X)


@pytest.mark.parametrize("scale", [1.0, 5.0])
def test_log_prob_of_many_edges(scale):
    """Estimates against the sum over all subgraphs, and without bias."""
    est = fit_six(scale)
    graph, _ = many_edges()
    edges = np.argwhere(graph)
    sets = np.arange(1 << len(edges))
    graphs = np.zeros((len(sets), 6, 6), np.uint8)
    for bit, (i, j) in enumerate(edges):
        graphs[:, i, j] = sets >> bit & 1
    log_pi = est._engine.trainer.policy(graphs, 1)
    flow = np.full(len(sets), -np.inf)
    flow[0] = 0
    for number in sets:
        for bit, (i, j) in enumerate(edges):
            if not number >> bit & 1:
                step = flow[number] + log_pi[number, 6 * i + j]
                flow[number | 1 << bit] = np.logaddexp(flow[number | 1 << bit], step)
    exact = flow[-1] + log_pi[-1, -1]
    log_prob, error = est.log_prob(graph, standard_error=True)
    assert 0 < error[0] < 0.5
    assert abs(log_prob[0] - exact) < 5 * error[0]
    runs = [est._engine.trainer.log_prob(graph[None], 40, s, 1)[0] for s in range(20)]
    ratio = np.exp(np.ravel(runs) - exact)
    assert abs(ratio.mean() - 1) < 4 * ratio.std() / np.sqrt(20)


def test_log_prob_of_many_edges_belongs_to_the_graph():
    est = fit_six(1.0)
    graph, full = many_edges()
    both, errors = est.log_prob(np.stack([full, graph]), standard_error=True)
    alone, error = est.log_prob(graph, standard_error=True)
    assert (both[1], errors[1]) == (alone[0], error[0])
    np.testing.assert_array_equal(est.log_prob(np.stack([graph, full])), both[::-1])


def test_error_of_log_prob_is_honest():
    """It exceeds 1 where orders differ by many nats, and says when there is no value."""
    graph, _ = many_edges()
    est = fit_six(3000.0)
    assert est.log_prob(graph, standard_error=True)[1][0] > 1
    trainer = est._engine.trainer
    weights = trainer.parameters()["stop.linear_0.w"]
    trainer.set_parameters({"stop.linear_0.w": weights * np.nan})
    value, error = est.log_prob(graph, standard_error=True)
    assert np.isnan(value[0])
    assert error[0] == np.inf
    limited = fit_six(1.0, max_parents=3)
    assert limited.log_prob(graph, standard_error=True) == (-np.inf, 0)


def test_resume_and_pickle_give_the_same_bits(fit):
    sim, _ = fit
    whole = jspgfn.JSPGFN(**{**SMALL, "random_state": 4}).fit(sim.X).resume(n_iter=5)
    part = jspgfn.JSPGFN(**{**SMALL, "random_state": 4}).fit(sim.X)
    part = pickle.loads(pickle.dumps(part)).resume(n_iter=5)
    assert part.n_iter_ == 25
    np.testing.assert_array_equal(whole.history_["loss"], part.history_["loss"])
    np.testing.assert_array_equal(
        whole.sample(50, random_state=0).coef, part.sample(50, random_state=0).coef
    )


def test_damaged_state_is_refused(fit):
    _, est = fit
    trainer = est._engine.trainer
    state = trainer.get_state()
    for name, value, words in (
        (
            "replay_graphs",
            state["replay_graphs"] | np.uint32(0xFFFF),
            "another problem",
        ),
        ("replay_actions", state["replay_actions"] * 0, "another problem"),
        ("replay_next", 10**8, "another problem"),
        ("environments", state["environments"] * 0 + 1, "acyclic"),
        ("params", state["params"][1:], "another problem"),
        ("iteration", -1, "'iteration' of the state is out of range"),
    ):
        with pytest.raises(ValueError, match=words):
            trainer.set_state({**state, name: value})
    trainer.set_state(state)


def test_constraints(fit):
    sim, _ = fit
    settings = {
        **SMALL,
        "preprocess": "center",
        "graph_prior": "fair",
        "constraints": jspgfn.Constraints(forbidden=[(0, 1), (1, 0)]),
        "max_parents": 1,
    }
    est = jspgfn.JSPGFN(**settings).fit(sim.X)
    post = est.sample(300, random_state=0)
    assert not post.graphs[:, [0, 1], [1, 0]].any()
    assert post.graphs.sum(axis=1).max() <= 1
    assert post.intercept.any()
    graph = np.zeros((4, 4))
    graph[0, 1] = 1
    assert est.log_prob(graph)[0] == -np.inf
    # log of weights of the prior: 1 / 3 for each node with a parent
    joint = post.log_reward + post.log_prob_theta
    assert np.isfinite(joint - post.log_reward_joint).all()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model": "bge"}, "'linear' or 'mlp', got 'bge'"),
        ({"head": "normal"}, "head must be"),
        ({"head": "mlp"}, "head and model must agree"),
        ({"model": "mlp"}, "head and model must agree"),
        ({"model": jspgfn.MLPGaussian(hidden=40), "head": "mlp"}, "hidden must be"),
        ({"model": "mlp", "head": "mlp", "candidates": 2}, "None or a dict"),
        ({"head_scope": "node"}, "head_scope must be"),
        ({"gnn_options": {"minibatch_rows": -1}}, "minibatch_rows"),
        ({"n_theta_samples": 0}, "n_theta_samples must be"),
        ({"gnn_options": {"speed": 1}}, "gnn_options has no entry 'speed'"),
        ({"gnn_options": {"beta2": 1}}, r"\['beta2'\] must be 0 to 0.999999, got 1"),
        ({"gnn_options": {"decay": "x"}}, "must be a finite number, got 'x'"),
        (
            {"generator": "edges", "gnn_options": {"speed": 1}},
            "gnn_options has no entry 'speed'",
        ),
        ({"gnn_options": {"decay": 2}}, r"gnn_options\['decay'\] must be 0 to 1"),
        ({"objective": "ml"}, "objective must be 'tb' with generator='gnn'"),
        (
            {"gnn_options": {"replay_capacity": 20}},
            r"batch_size must be at most .*\['replay_capacity'\], 20, .* got 24",
        ),
        ({"generator": "edges", "head": "normal"}, "head must be"),
        ({"generator": "edges", "n_theta_samples": 0}, "n_theta_samples must be"),
        ({"model": "mlp", "head": "mlp", "max_parents": 0}, "leave no edge"),
        (
            {"constraints": jspgfn.Constraints(required=[(0, 1)])},
            "cannot require edges",
        ),
    ],
)
def test_settings_are_checked(fit, changes, words):
    sim, _ = fit
    with pytest.raises(ValueError, match=words):
        jspgfn.JSPGFN(**{**SMALL, **changes}).fit(sim.X)
    with pytest.raises(TypeError, match="gnn_options must be"):
        jspgfn.JSPGFN(**{**SMALL, "gnn_options": 3}).fit(sim.X)


def test_settings_of_another_generator_warn(fit):
    """Not an error: a search over generators goes through them."""
    X = fit[0].X
    for changes, words in (
        ({"head": "full"}, "^head is of no effect with generator='edges'"),
        (
            {"n_theta_samples": 3, "gnn_options": {"delta": 2.0}},
            "^n_theta_samples and gnn_options are of no effect",
        ),
    ):
        est = jspgfn.JSPGFN(n_iter=1, **changes)
        with pytest.warns(jspgfn.UnusedSettingWarning, match=words):
            est.fit(X)
        assert clone(est).get_params() == est.get_params()
    jspgfn.JSPGFN(n_iter=1, gnn_options=None).fit(X)


@pytest.mark.parametrize("head", ["diag", "full"])
def test_one_possible_graph(head):
    for n_variables, limit in ((1, None), (3, 0)):
        X = 0.3 * np.random.default_rng(0).normal(size=(30, n_variables))
        settings = {**SMALL, "head": head, "max_parents": limit, "random_state": 0}
        est = jspgfn.JSPGFN(**settings).fit(X)
        est = pickle.loads(pickle.dumps(est)).resume(n_iter=2)
        assert est.n_iter_ == 22
        post = est.sample(5)
        assert not post.graphs.any()
        np.testing.assert_array_equal(post.log_prob, 0)
        np.testing.assert_allclose(post.log_reward_joint, post.log_reward)
        assert est.diagnose(n_draws=100).verdict == "trust the draws"


def test_a_rate_too_large_is_named(fit):
    settings = {**SMALL, "learning_rate": 1e3, "n_iter": 30, "random_state": 0}
    with pytest.raises(jspgfn.NumericalError, match="a smaller learning_rate"):
        jspgfn.JSPGFN(**settings).fit(fit[0].X)


def test_all_options_arrive(fit):
    """Each option changes the bits of the first updates, or of the draws."""
    sim, _ = fit
    changes = {
        "logit_scale": 2.0,
        "residual_scale": 2.0,
        "init_scale": 0.5,
        "head_spread": 2.0,
        "delta": 0.01,
        "penalty_weight": 0.5,
        "exploration_start": 0.0,
        "exploration_end": 1.0,
        "decay": 1.0,
        "beta2": 0.9,
        "clip_ratio": 0.01,
        "average_decay": 0.9,
        "n_environments": 3,
        "replay_capacity": 50,
        "n_prefill": 20,
        "minibatch_rows": 20,
        "target_period": 2,
    }
    assert set(changes) == {*_gnn.OPTIONS, *_gnn.INTEGER_OPTIONS}

    def run(options):
        settings = {**SMALL, "random_state": 0, "gnn_options": options}
        est = jspgfn.JSPGFN(**settings).fit(sim.X)
        weights = est._engine.trainer.parameters()["senders.linear_0.w"]
        history = np.stack(list(est.history_.values()))
        return np.append(history.ravel(), weights.ravel())

    usual = run(None)
    changed = {name: run({name: value}) for name, value in changes.items()}
    assert len({found.tobytes() for found in changed.values()}) == len(changes)
    for name, found in changed.items():
        assert (found != usual).any(), name
    assert np.isfinite(run(changes)).all()


def test_verbose(fit, capsys):
    sim, _ = fit
    jspgfn.JSPGFN(**{**SMALL, "verbose": 1}).fit(sim.X)
    printed = capsys.readouterr().out
    assert "batches of 24 transitions" in printed
    assert "residual sd of the last 20" in printed


# ---- the model mlp, local heads, minibatches, target networks --------------------------

MLP = {**SMALL, "model": jspgfn.MLPGaussian(hidden=3), "head": "mlp", "random_state": 0}


@pytest.fixture(scope="module")
def mlp_data():
    return jspgfn.simulate.nonlinear_gaussian(
        n_variables=4, n_samples=40, interventions=0.5, hidden=3, random_state=1
    )


@pytest.fixture(scope="module", params=["global", "local"])
def mlp_fit(request, mlp_data):
    est = jspgfn.JSPGFN(**{**MLP, "head_scope": request.param})
    return est.fit(mlp_data.X, interventions=mlp_data.interventions)


def linear_data():
    return jspgfn.simulate.linear_gaussian(
        n_variables=4, n_samples=60, random_state=3
    ).X


def flat_theta(post):
    """As the twin wants it: b1, w1 (D, hidden), b2, w2 of each variable."""
    t = post.theta
    w1 = t["w1"].swapaxes(2, 3).reshape(*t["b1"].shape[:2], -1)
    return np.concatenate([t["b1"], w1, t["b2"][..., None], t["w2"]], axis=2)[:, None]


def test_mlp_densities_of_draws(mlp_fit, mlp_data):
    post = mlp_fit.sample(50, random_state=1)
    theta = flat_theta(post)
    assert post.theta["w1"].shape == (50, 4, 3, 4)
    edges = post.graphs.transpose(0, 2, 1)[:, :, None]
    assert ((post.theta["w1"] != 0) == edges).all()
    masks = mlp_data.interventions.astype(float)
    likelihood, _ = paper.log_likelihood(theta, mlp_data.X, masks)
    prior = paper.log_prior(theta, paper.mlp_mask(post.graphs.astype(float), 3))
    np.testing.assert_allclose(post.log_reward_joint, (likelihood + prior)[:, 0], 1e-5)
    assert post.log_reward is None
    log_weights = post.log_reward_joint - post.log_prob - post.log_prob_theta
    weights = np.exp(log_weights - log_weights.max())
    np.testing.assert_allclose(post.weights, weights / weights.sum(), rtol=1e-6)
    rows = post.predict_log_density(mlp_data.X[:5], mlp_data.interventions[:5])
    assert np.isfinite(rows).all()
    with pytest.raises(AttributeError, match="no coef"):
        post.coef  # noqa: B018
    with pytest.raises(ValueError, match="log_reward needs evidences of graphs"):
        mlp_fit.log_reward(post.graphs)


def test_mlp_in_the_units_of_the_data(mlp_data):
    """Standardised data give the same functions, back in their own units."""
    X = mlp_data.X * [1, 10, 0.1, 3] + [5, 0, -2, 1]
    with pytest.warns(jspgfn.NoiseScaleWarning):
        est = jspgfn.JSPGFN(**{**MLP, "preprocess": "standardize"}).fit(X)
    post = est.sample(30, random_state=2)
    total = post._networks.log_density(X, np.ones(X.shape, bool), slice(None)).sum(1)
    # the Jacobian of the scales, and the prior of theta in preprocessed units
    Z = est._preprocessing.apply(X)
    again = (
        jspgfn.JSPGFN(**{**MLP, "preprocess": None}).fit(Z).sample(30, random_state=2)
    )
    np.testing.assert_array_equal(again.graphs, post.graphs)
    of_z = again._networks.log_density(Z, np.ones(X.shape, bool), slice(None)).sum(1)
    jacobian = len(X) * np.log(est._preprocessing.scale).sum()
    np.testing.assert_allclose(total, of_z - jacobian, rtol=1e-9)


def test_mlp_networks_cut_join_and_save(mlp_fit, tmp_path):
    post = mlp_fit.sample(20, random_state=1)
    both = jspgfn.Posterior.concatenate([post[:5], post[5:]])
    for name, value in post.theta.items():
        np.testing.assert_array_equal(both.theta[name], value)
    post.save(tmp_path / "post.safetensors")
    again = jspgfn.load(tmp_path / "post.safetensors")
    np.testing.assert_array_equal(again.theta["w1"], post.theta["w1"])
    mlp_fit.save(tmp_path / "est.safetensors")
    est = jspgfn.load(tmp_path / "est.safetensors")
    np.testing.assert_array_equal(
        est.sample(20, random_state=1).theta["w1"], post.theta["w1"]
    )


def test_mlp_candidates_beyond_the_tables():
    """All variables may be parents, also where tables would be too large."""
    X = np.random.default_rng(0).normal(size=(30, 27))
    settings = {**MLP, "batch_size": 4, "n_iter": 2, "n_theta_samples": 2}
    settings |= {"gnn_options": {"n_prefill": 5}, "max_parents": 1}
    est = jspgfn.JSPGFN(**settings).fit(X)
    assert [len(c) for c in est.candidates_] == [26] * 27
    named = jspgfn.JSPGFN(**settings, candidates={0: [3]}).fit(X)
    assert np.isin(np.flatnonzero(named.sample(40).graphs[:, :, 0].any(0)), [3]).all()


@pytest.mark.parametrize(
    "changes",
    [
        {"head_scope": "local"},
        {"gnn_options": {"minibatch_rows": 15, "target_period": 4}},
        {"gnn_options": {"minibatch_rows": 15}, "head_scope": "local", "head": "full"},
    ],
)
def test_options_resume_with_the_same_bits(mlp_data, changes):
    base = SMALL if "head" in changes else MLP
    X = linear_data() if "head" in changes else mlp_data.X
    settings = {**base, "n_iter": 10, "random_state": 3, **changes}
    whole = jspgfn.JSPGFN(**settings).fit(X).resume(n_iter=5)
    part = jspgfn.JSPGFN(**settings).fit(X)
    part = pickle.loads(pickle.dumps(part)).resume(n_iter=5)
    threads = jspgfn.JSPGFN(**{**settings, "n_jobs": 3}).fit(X)
    np.testing.assert_array_equal(whole.history_["loss"], part.history_["loss"])
    np.testing.assert_array_equal(whole.history_["loss"][:10], threads.history_["loss"])
    a, b = (est.sample(20, random_state=0) for est in (whole, part))
    np.testing.assert_array_equal(a.log_reward_joint, b.log_reward_joint)


def test_all_rows_are_a_minibatch(mlp_data):
    """As many rows as there are, or more, is the same as no minibatch."""
    n_rows = len(mlp_data.X)
    losses = [
        jspgfn.JSPGFN(**{**MLP, "gnn_options": {"minibatch_rows": m}})
        .fit(mlp_data.X)
        .history_["loss"]
        for m in (0, n_rows, n_rows + 7)
    ]
    np.testing.assert_array_equal(losses[0], losses[1])
    np.testing.assert_array_equal(losses[0], losses[2])


def one_transition(est, n_samples, seed):
    """Arguments of the core's loss: {0 -> 1, 0 -> 3} + (2 -> 1) of four variables."""
    D = 4
    before = np.zeros((1, D, D), np.uint8)
    before[0, 0, [1, 3]] = 1
    after = before.copy()
    after[0, 2, 1] = 1
    mask = np.zeros((2, 1, D, D), np.uint8)
    mask[0, 0, 2, [0, 1]] = mask[0, 0, 3, 1] = mask[1, 0, 3, 1] = 1
    P = est.sample(1)._networks.theta["coef"].shape[2]
    noise = np.random.default_rng(seed).normal(size=(2, 1, n_samples, D, P))
    action = np.array([2 * D + 1], np.int32)
    return before, after, *mask, action, *noise


def test_local_and_global_residuals_have_the_same_policy_gradient():
    """Expected, where the Huber loss is quadratic; the head sees parents only.

    Terms of other nodes have mean 0 in the difference, so the gradient of the policy, which
    is proportional to the mean residual, agrees up to their Monte-Carlo error.
    """
    gradients, residuals, sds = {}, {}, {}
    for local in (False, True):
        options = {"residual_scale": 1e6, "penalty_weight": 0.0}
        settings = {**SMALL, "head": "full", "head_scope": "local", "n_iter": 3}
        est = jspgfn.JSPGFN(**settings, gnn_options=options, random_state=0)
        est.fit(linear_data())
        if not local:  # the same parameters with residuals over all nodes
            engine = est._engine
            state = engine.trainer.get_state()
            engine.trainer_settings["local_residual"] = False
            engine._trainer = engine.build()
            engine.trainer.set_state(state)
        values, gradients[local] = est._engine.trainer.loss(
            *one_transition(est, 20_000, seed=1)
        )
        residuals[local] = values["residual"]
        sds[local] = np.sqrt(values["residual_square"] - values["residual"] ** 2)
    assert sds[True] < sds[False]
    error = sds[False] / np.sqrt(20_000)
    assert abs(residuals[True] - residuals[False]) < 5 * error
    flat = {
        local: np.concatenate(
            [v.ravel() for n, v in found.items() if not n.startswith("posterior")]
        )
        for local, found in gradients.items()
    }
    ratio = residuals[True] / residuals[False]
    size = np.abs(flat[False]).max()
    np.testing.assert_allclose(flat[True], ratio * flat[False], atol=1e-4 * size)
    # negative control: without the changed node's terms the means differ by far
    assert abs(residuals[False]) > 20 * error


@pytest.mark.filterwarnings("ignore::jspgfn.NoiseScaleWarning")
def test_interventions_are_dropped(mlp_data):
    """Values of cells that were set do not matter for their own mechanism."""
    mask = np.zeros(mlp_data.X.shape, np.uint8)
    mask[::2, 2] = 1
    for model in ({"model": "linear", "head": "full"}, {}):
        X = linear_data()[: len(mask)] if model else mlp_data.X
        moved = X.copy()
        settings = {**MLP, **model, "n_iter": 4, "max_parents": 1}
        settings["constraints"] = jspgfn.Constraints(forbidden=[(2, 0), (2, 1), (2, 3)])
        moved[::2, 2] += 100.0
        runs = [
            jspgfn.JSPGFN(**settings).fit(x, interventions=m).history_["loss"]
            for x, m in ((X, mask), (moved, mask), (X, None))
        ]
        np.testing.assert_allclose(runs[0], runs[1], rtol=1e-5)
        assert (runs[0] != runs[2]).any()
