"""A fit that diverges says so and keeps the last state from which draws were good."""

import numpy as np
import pytest

import jspgfn
from jspgfn import _engine

SMALL = {"random_state": 0, "n_jobs": 1}
GNN = {"generator": "gnn", "batch_size": 16, "n_theta_samples": 4, **SMALL}
MESSAGE = r"update \d+: .*(log q|loss|gradient|draws).*smaller learning_rate may help"


@pytest.fixture(scope="module")
def X():
    return jspgfn.simulate.linear_gaussian(
        n_variables=4, n_samples=60, random_state=0
    ).X


def check_usable(est):
    post = est.sample(20, random_state=1)
    joint = post.log_reward_joint
    for values in (post.log_prob, post.log_prob_theta, post.weights, joint):
        assert np.isfinite(values).all()
    assert np.isfinite(est.history_["loss"]).all()
    assert len(est.history_["loss"]) == est.n_iter_


@pytest.mark.parametrize(
    "settings",
    [
        {"learning_rate": 1e30, **SMALL},
        {"learning_rate": 1e300, "n_iter": 1, **SMALL},  # no loss after the only update
        {"model": "linear", "learning_rate": 1e3, **GNN},
        {"model": "linear", "head": "full", "learning_rate": 1e3, **GNN},
        {"model": "mlp", "head": "mlp", "learning_rate": 1e3, **GNN},
        {"model": "linear", "head": "full", "learning_rate": 1e10, "n_iter": 1, **GNN},
    ],
    ids=lambda s: f"{s.get('head', 'edges')}-{s['learning_rate']:g}-{s.get('n_iter')}",
)
def test_absurd_learning_rates(X, settings):
    est = jspgfn.JSPGFN(**{"n_iter": 20, **settings})
    with pytest.raises(jspgfn.NumericalError, match=MESSAGE) as caught:
        est.fit(X)
    assert "stands where it was after update 0" in str(caught.value)
    check_usable(est)


def spoil(est):
    """NaN in the parameters, as after a bad update."""
    trainer = est._engine.trainer
    state = trainer.get_state()
    state["params"] = np.full_like(state["params"], np.nan)
    trainer.set_state(state)


@pytest.mark.parametrize("settings", [SMALL, {"model": "linear", **GNN}])
def test_the_state_kept_is_that_of_a_shorter_fit(X, settings, monkeypatch):
    """Bits, history and number of updates are as if the fit had ended there."""
    monkeypatch.setattr(_engine, "KEEP_EVERY", 5)
    est = jspgfn.JSPGFN(n_iter=25, **settings)

    def ruin(est, info):
        if info["n_updates"] >= 12:
            spoil(est)

    monkeypatch.setattr(_engine, "SECONDS_PER_CALLBACK", 0.0)
    monkeypatch.setattr(_engine, "SECONDS_PER_CALL", 1e-9)
    with pytest.raises(jspgfn.NumericalError, match=r"after update 10$"):
        est.fit(X, callback=ruin)
    assert est.n_iter_ == 10
    check_usable(est)
    shorter = jspgfn.JSPGFN(n_iter=25, **settings)
    shorter.fit(X, callback=lambda est, info: info["n_updates"] >= 10)
    assert shorter.n_iter_ == 10
    est.resume()
    shorter.resume()
    assert est.n_iter_ == shorter.n_iter_ == 25
    for name, column in est.history_.items():
        np.testing.assert_array_equal(column, shorter.history_[name], err_msg=name)
    one, two = est.sample(50, random_state=2), shorter.sample(50, random_state=2)
    np.testing.assert_array_equal(one.graphs, two.graphs)
    np.testing.assert_array_equal(one.log_prob, two.log_prob)
