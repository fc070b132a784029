"""What the adapters of other packages share; the packages themselves are not needed."""

import importlib.util
import json
import pathlib
import sys

import numpy as np
import pytest

import jspgfn

PEERS = pathlib.Path(__file__).resolve().parents[2] / "benchmarks" / "peers"


@pytest.fixture(scope="module")
def protocol():
    spec = importlib.util.spec_from_file_location("_protocol", PEERS / "_protocol.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look it up
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def task_file(folder, **changes):
    rng = np.random.default_rng(0)
    settings = {"model": "bge", "graph_prior": "fair", "preprocess": "standardize"}
    settings = {**settings, **changes.pop("settings", {})}
    arrays = {"x": rng.normal(2, 3, (30, 4)), "budget": 0.05, "seed": 3, **changes}
    np.savez(folder / "in.npz", settings=json.dumps(settings), **arrays)
    return folder / "in.npz"


def test_a_task_is_read_as_it_was_written(protocol, tmp_path):
    mask = np.zeros((30, 4), np.uint8)
    mask[3, 1] = 1
    path = task_file(tmp_path, mask=mask, names=np.array(["a", "b", "c", "d"]))
    task = protocol.read(path)
    assert (task.budget, task.seed, task.n_variables) == (0.05, 3, 4)
    assert task.names == ["a", "b", "c", "d"]
    np.testing.assert_array_equal(task.mask, mask)
    x = protocol.prepared(task)
    np.testing.assert_allclose(x.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(x.std(axis=0), 1)


def test_an_answer_is_written(protocol, tmp_path):
    graphs = np.zeros((2, 3, 3), bool)
    graphs[0, 0, 1] = True
    found = protocol.Found(graphs.mean(axis=0), 1.5, {"a": 1}, graphs, np.zeros(2))
    protocol.write(tmp_path / "out.npz", found)
    with np.load(tmp_path / "out.npz") as file:
        assert file["graphs"].dtype == np.uint8
        assert file["edge_probabilities"][0, 1] == 0.5
        assert json.loads(str(file["info"])) == {"a": 1}
        assert file["cpu_seconds"] == 1.5


def test_an_answer_with_loops_is_refused(protocol, tmp_path):
    with pytest.raises(ValueError, match="without loops"):
        protocol.write(tmp_path / "out.npz", protocol.Found(np.eye(3), 1.0, {}))


def test_what_a_peer_lacks_is_said(protocol, tmp_path):
    task = protocol.read(task_file(tmp_path))
    assert protocol.expect(task, ("bge",), ("fair",)) == ("bge", "fair")
    with pytest.raises(protocol.CannotExpress, match="model 'bge'"):
        protocol.expect(task, ("linear",), ("fair",))
    with pytest.raises(protocol.CannotExpress, match="prior 'fair'"):
        protocol.expect(task, ("bge",), ("uniform",))
    task.mask = np.ones((30, 4))
    with pytest.raises(protocol.CannotExpress, match="interventions"):
        protocol.expect(task, ("bge",), ("fair",))


def test_the_prior_is_that_of_the_package(protocol):
    x = np.random.default_rng(0).normal(size=(20, 4))
    exact = {
        prior: jspgfn.ExactPosterior("bge", graph_prior=prior, n_jobs=1).fit(x)
        for prior in ("fair", "uniform")
    }
    graphs = np.zeros((3, 4, 4), np.uint8)
    graphs[1, 0, 1] = graphs[2, :3, 3] = 1
    log_r = {prior: est.log_reward(graphs) for prior, est in exact.items()}
    ours = log_r["fair"] - log_r["uniform"]
    table = protocol.log_fair(4)
    theirs = table[graphs.sum(axis=1)].sum(axis=1)
    np.testing.assert_allclose(theirs - theirs[0], ours - ours[0], atol=1e-9)


def test_cycles_are_found(protocol):
    rng = np.random.default_rng(1)
    graphs = rng.random((200, 4, 4)) < 0.3
    power, closed = graphs.astype(int), np.zeros(200, bool)
    for _ in range(4):
        closed |= np.einsum("nii->n", power) > 0
        power = np.minimum(power @ graphs, 1)
    np.testing.assert_array_equal(protocol.is_acyclic(graphs), ~closed)
    assert closed.any()
    assert not closed.all()


def test_undirected_edges_count_half(protocol):
    directed, undirected = np.zeros((2, 3, 3), bool)
    directed[0, 1] = undirected[1, 2] = undirected[2, 1] = True
    edges = protocol.edges_of_pattern(directed, undirected)
    assert edges[0, 1] == 1
    assert edges[1, 2] == edges[2, 1] == 0.5
    undirected[0, 1] = undirected[1, 0] = True
    with pytest.raises(ValueError, match="not directed as well"):
        protocol.edges_of_pattern(directed, undirected)


def test_bootstrap_counts_and_goes_on_after_failures(protocol, tmp_path):
    task = protocol.read(task_file(tmp_path, budget=1e6))
    seen = []

    def learn(x):
        seen.append(x)
        if len(seen) == 2:
            raise np.linalg.LinAlgError("singular")
        return np.full((4, 4), float(len(seen)))

    edges, done, failed, _ = protocol.bootstrap(task, learn, most=3)
    assert (done, failed) == (2, 1)
    np.testing.assert_array_equal(edges, 2.0)
    assert all(x.shape == (30, 4) for x in seen)
    assert not np.array_equal(seen[0], seen[1])
