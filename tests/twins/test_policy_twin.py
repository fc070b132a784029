"""The untrained policy against its slow twin without network."""

import numpy as np
import pytest

from checks import as_bytes, make_scores, make_trainer, simulate
from reference import cases, dags, edges_policy, local_scores

PROBLEMS = {
    "linear": {"model": "linear"},
    "fair": {"model": "linear", "graph_prior": "fair", "intercept": True},
    "bge": {"model": "bge"},
    "one-parent": {"model": "bge", "max_parents": 1},
    "two-parents": {"model": "linear", "max_parents": 2},
    "candidates": {
        "model": "linear",
        "candidates": [[1, 2], [0], [0, 1, 3], [1]],
    },
}


def base_trainer(scores):
    """An untrained trainer whose look-ahead weight is 0: base odds only."""
    trainer = make_trainer(scores)
    state = trainer.get_state()
    offset = 0
    for name, value in trainer.parameters().items():
        if name == "look_ahead_weight":
            break
        offset += -(-value.size // 16) * 16  # tensors start at multiples of 16
    assert state["average"][offset] == np.float32(0.3)
    state["average"][offset] = 0
    trainer.set_state(state)
    assert trainer.parameters()["look_ahead_weight"].item() == 0
    return trainer


@pytest.mark.parametrize("name", PROBLEMS)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_base_policy(name, seed):
    x = simulate(4, 25, seed)
    trainer = base_trainer(make_scores(x, **PROBLEMS[name]))
    scores = local_scores.tables(x, **PROBLEMS[name])
    order = edges_policy.slot_order(scores)
    graphs = dags.enumerate_dags(4)[::3]
    expected = np.array([edges_policy.log_prob(scores, g, order) for g in graphs])
    got = trainer.log_prob(as_bytes(graphs), 1)
    np.testing.assert_array_equal(np.isfinite(got), np.isfinite(expected))
    # odds come from tables of floats; errors of up to 1e-4 each are allowed there
    np.testing.assert_allclose(got, expected, atol=5e-3, rtol=1e-4)


@pytest.mark.parametrize("case_name", ["d08_bge_interv", "d08_peaked_n500_81"])
def test_base_policy_on_large_graphs(case_name):
    case = cases.load(case_name)
    settings = {"model": case.model, "fields": case.fields}
    trainer = base_trainer(make_scores(case.x, case.mask, **settings))
    scores = local_scores.tables(case.x, case.mask, **settings)
    order = edges_policy.slot_order(scores)
    graphs, log_q, _ = trainer.sample(25, 1, 1)
    expected = [edges_policy.log_prob(scores, g, order) for g in graphs]
    np.testing.assert_allclose(log_q, expected, atol=2e-2, rtol=1e-3)
