"""The published method as users call it. No fit here needs to be good."""

import pickle

import numpy as np
import pytest

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
    assert jspgfn.JSPGFN(**jspgfn.PAPER_QUICK).gnn_options["logit_scale"] == 1


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


def test_log_prob_of_many_edges():
    """Random orders against the sum over all subgraphs."""
    sim = jspgfn.simulate.linear_gaussian(n_variables=6, n_samples=50, random_state=2)
    options = {"logit_scale": 1.0, "init_scale": 0.3}
    est = jspgfn.JSPGFN(**{**SMALL, "n_iter": 1, "gnn_options": options}).fit(sim.X)
    graph = np.triu(np.ones((6, 6), np.uint8), 1)
    graph[0, 2:] = 0  # 11 edges
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
    log_prob, error = est.log_prob(graph, standard_error=True)
    assert 0 < error[0] < 0.5
    assert abs(log_prob[0] - flow[-1] - log_pi[-1, -1]) < 5 * error[0]


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
        ("iteration", -1, "iteration must be"),
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
        ({"model": "bge"}, "which is 'linear' so far, got 'bge'"),
        ({"head": "mlp"}, "head must be"),
        ({"n_theta_samples": 0}, "n_theta_samples must be"),
        ({"gnn_options": {"speed": 1}}, "gnn_options has no entry 'speed'"),
        ({"gnn_options": {"decay": 2}}, r"gnn_options\['decay'\] must be 0 to 1"),
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


def test_all_options_arrive(fit):
    """Each option changes the bits of the first updates, or of the draws."""
    sim, _ = fit
    changes = {
        "logit_scale": 2.0,
        "residual_scale": 2.0,
        "init_scale": 0.5,
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
    }
    assert set(changes) == {*_gnn.OPTIONS, *_gnn.INTEGER_OPTIONS}

    def run(options):
        settings = {**SMALL, "random_state": 0, "gnn_options": options}
        est = jspgfn.JSPGFN(**settings).fit(sim.X)
        weights = est._engine.trainer.parameters()["senders.linear_0.w"]
        history = np.stack(list(est.history_.values()))
        return np.append(history.ravel(), weights.ravel())

    usual = run(None)
    assert len({run({name: value}).tobytes() for name, value in changes.items()}) == 14
    for name, value in changes.items():
        assert (run({name: value}) != usual).any(), name
    assert np.isfinite(run(changes)).all()


def test_verbose(fit, capsys):
    sim, _ = fit
    jspgfn.JSPGFN(**{**SMALL, "verbose": 1}).fit(sim.X)
    printed = capsys.readouterr().out
    assert "batches of 24 transitions" in printed
    assert "residual sd of the last 20" in printed
