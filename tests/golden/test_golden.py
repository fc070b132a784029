"""The network against golden numbers of the published implementation."""

import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest

from golden import check_folder
from jspgfn import _core
from reference import paper

FOLDER = pathlib.Path(__file__).parent / "set_a"


@pytest.fixture(scope="module")
def report():
    return check_folder.check(FOLDER)


def test_all_quantities_agree(report):
    assert not report.failed(), report.failed()
    expected = {
        "log_pi",
        "feat_nodes",
        "feat_globals",
        "theta_loc",
        "theta_scale",
        "theta_precision_triu",
        "loss: loss",
        "gradient of the network",
        "gradient of the heads",
        "gradient of term 1 of the network",
        "gradient of term 1 of the heads",
        "losses during Adam",
        "core: loss",
        "core: gradient of the network",
        "core: gradient of the heads",
    }
    assert expected <= set(report.worst)


@pytest.mark.parametrize("simd", _core.config()["simd_available"])
def test_every_instruction_set(simd):
    used = _core.config()["simd"]
    _core.select_simd(simd)
    try:
        trunk = check_folder.load(FOLDER / "params_trunk.npz")
        report = check_folder.Report()
        for path in sorted(FOLDER.glob("forward_lingauss_diag_*.npz")):
            head = check_folder.load(FOLDER / f"params_head_{path.stem[8:]}.npz")
            check_folder.check_forward(report, path, trunk, head)
        assert not report.failed(), report.failed()
    finally:
        _core.select_simd(used)


@pytest.mark.parametrize("name", ["edge.linear_1.w", "stop.linear_1.b", "edge_embed"])
def test_a_changed_parameter_is_seen(tmp_path, name):
    """Negative control, by way of the command line."""
    for path in FOLDER.glob("*_lingauss_diag_d4.npz"):
        shutil.copy(path, tmp_path)
    trunk = check_folder.load(FOLDER / "params_trunk.npz")
    trunk[name] = trunk[name] + np.float32(1e-3)
    np.savez(tmp_path / "params_trunk.npz", **trunk)
    script = pathlib.Path(check_folder.__file__)
    run = subprocess.run(
        [sys.executable, str(script), str(tmp_path)], capture_output=True, text=True
    )
    assert run.returncode == 1, run.stderr
    assert "log_pi" in run.stdout
    assert "!" in run.stdout


def test_network_parameters_are_those_of_the_golden_files():
    trunk = check_folder.load(FOLDER / "params_trunk.npz")
    ours = _core.GnnNetwork(6, seed=3).parameters()
    assert set(ours) == set(trunk)
    for name, value in ours.items():
        assert value.size == trunk[name].size, name
        if name.endswith((".b", ".offset")):
            assert not value.any(), name
        elif name.endswith(".scale"):
            assert (value == 1).all(), name
        else:
            assert value.std() > 0, name


def test_arguments_are_checked():
    network = _core.GnnNetwork(3)
    graphs = np.zeros((2, 3, 3), np.uint8)
    with pytest.raises(ValueError, match="n_variables must be 1 to"):
        _core.GnnNetwork(0)
    with pytest.raises(RuntimeError, match="forward pass"):
        network.backward(np.zeros((2, 10)), graphs, graphs)
    with pytest.raises(ValueError, match="self-loops"):
        network.forward(graphs + np.eye(3, dtype=np.uint8), graphs, 1.0)
    with pytest.raises(ValueError, match="as many graphs"):
        network.forward(graphs, graphs[:1], 1.0)
    with pytest.raises(ValueError, match="no parameter 'edge'"):
        network.set_parameters({"edge": np.zeros((1, 1), np.float32)})
    with pytest.raises(ValueError, match=r"edge_embed must have shape \(1, 128\)"):
        network.set_parameters({"edge_embed": np.zeros((1, 1), np.float32)})
    log_pi, nodes, globals_ = network.forward(graphs, graphs, 1.0)
    assert log_pi.shape == (2, 10)
    with pytest.raises(ValueError, match="d_log_pi must have the shape"):
        network.backward(log_pi[:1], nodes, globals_)
    empty = network.forward(graphs[:0], graphs[:0], 1.0)
    assert [len(output) for output in empty] == [0, 0, 0]


def test_arguments_of_heads_are_checked():
    head = _core.GnnHead("full", 3)
    graphs = np.zeros((2, 3, 3), np.uint8)
    nodes, globals_ = np.zeros((2, 3, 128), np.float32), np.zeros((2, 128), np.float32)
    eps = np.zeros((2, 4, 3, 3))
    with pytest.raises(
        ValueError, match="head must be 'diag', 'full' or 'mlp', got 'm'"
    ):
        _core.GnnHead("m", 3)
    with pytest.raises(ValueError, match="last forward pass"):
        head.backward(np.zeros((2, 4)), eps, eps)
    with pytest.raises(ValueError, match="acyclic"):
        head.forward(graphs + np.eye(3, dtype=np.uint8), nodes, globals_, eps)
    with pytest.raises(ValueError, match=r"eps must have shape \(2, K, 3, 3\)"):
        head.forward(graphs, nodes, globals_, eps[:1])
    with pytest.raises(ValueError, match="node_features must have the shape"):
        head.forward(graphs, nodes[:1], globals_, eps)
    _, U, theta, log_prob, _ = head.forward(graphs, nodes, globals_, eps)
    np.testing.assert_array_equal(U, np.broadcast_to(np.eye(3), U.shape))
    assert not theta.any()
    assert not log_prob.any()


# ---- the head mlp: set_a has no case of it ---------------------------------------------


def digests(case, prefix, gradients):
    """The form in which golden gradients are kept."""
    for name, value in gradients.items():
        flat = value.ravel()
        case[f"{prefix}_norm/{name}"] = np.linalg.norm(flat)
        case[f"{prefix}_dot/{name}"] = flat @ np.cos(np.arange(flat.size))
        case[f"{prefix}_head/{name}"] = flat[:8]


@pytest.fixture(scope="module")
def mlp_folder(tmp_path_factory):
    """A folder of the golden format whose numbers come from the slow twin."""
    folder, rng = tmp_path_factory.mktemp("mlp"), np.random.default_rng(5)
    D, P, K = 4, 31, 3
    trunk = check_folder.load(FOLDER / "params_trunk.npz")
    prefix = "posterior_parameters."
    head = {
        prefix + "edges.linear_0.w": rng.normal(size=(256, 128)) / 16,
        prefix + "edges.linear_0.b": rng.normal(size=128) / 5,
        prefix + "linear.w": rng.normal(size=(128, 2 * P)) / 20,
        prefix + "linear.b": rng.normal(size=2 * P) / 5,
    }
    head = {name: value.astype(np.float32) for name, value in head.items()}
    forward = check_folder.load(FOLDER / "forward_lingauss_diag_d4.npz")
    kept = ("adjacency", "mask", "N", "log_pi", "feat_nodes", "feat_globals")
    forward = {name: forward[name] for name in kept}
    forward["theta_mask"] = paper.mlp_mask(forward["adjacency"])
    forward["eps"] = rng.normal(size=(len(forward["mask"]), K, D, P))
    twin = paper.make_head("mlp_gauss", head)
    twin.forward(forward["feat_nodes"], forward["feat_globals"], forward["theta_mask"])
    forward["theta"] = twin.sample(forward["eps"])
    forward["theta_loc"], forward["theta_scale"] = twin.loc, twin.scale
    forward["log_p_theta"] = twin.log_prob(forward["theta"])
    case = check_folder.load(FOLDER / "loss_lingauss_diag_d4.npz")
    both = ("adjacency", "next_adjacency", "mask", "next_mask", "action", "num_edges")
    case = {n: case[n] for n in (*both, "data", "interventions", "N", "delta")}
    case["eps_t"], case["eps_tp1"] = rng.normal(size=(2, len(case["action"]), K, D, P))
    network = check_folder.make_network(trunk, D)
    for label, weight in (("grad_term1", 0.0), ("grad", 1.0)):
        heads = {s: paper.make_head("mlp_gauss", head) for s in ("t", "tp1")}
        values, before, after, gradients = check_folder.compute_gradients(
            network, case, heads, trunk, weight
        )
        digests(case, label, gradients)
    case.update(
        {name: value for name, value in values.items() if name != "delta_score"}
    )
    for suffix, side in (("t", before), ("tp1", after)):
        case[f"log_pi_{suffix}"] = check_folder.run_network(network, case, suffix)[0]
        case[f"log_prior_theta_{suffix}"] = side.log_prior
        case[f"log_p_theta_{suffix}"] = side.log_p
        for name in ("theta", "log_lik", "score", "penalty"):
            case[f"{name}_{suffix}"] = getattr(side, name)
    case["adam_losses"] = check_folder.losses_during_adam(
        case, "mlp_gauss", D, trunk, head, paper.make_head
    )
    np.savez(folder / "params_trunk.npz", **trunk)
    np.savez(folder / "params_head_mlp_gauss_d4.npz", **head)
    np.savez(folder / "forward_mlp_gauss_d4.npz", **forward)
    np.savez(folder / "loss_mlp_gauss_d4.npz", **case)
    return folder


def test_mlp_agrees_with_the_twin(mlp_folder):
    report = check_folder.check(mlp_folder)
    assert not report.failed(), report.failed()
    expected = {"theta_scale", "core: loss", "core: gradient of the heads"}
    assert expected <= set(report.worst)


def test_a_changed_head_mlp_is_seen(mlp_folder, tmp_path):
    """Negative control."""
    shutil.copytree(mlp_folder, tmp_path / "copy")
    path = tmp_path / "copy" / "params_head_mlp_gauss_d4.npz"
    head = check_folder.load(path)
    head["posterior_parameters.linear.b"][7] += 0.05
    np.savez(path, **head)
    failed = check_folder.check(tmp_path / "copy").failed()
    assert {"theta", "core: gradient of the heads", "core: loss"} <= set(failed)


def test_twin_of_the_model_mlp():
    """Slopes and their derivatives by central differences, with rows left out."""
    rng = np.random.default_rng(0)
    data = rng.normal(size=(12, 3))
    model = paper.MlpModel(data, (rng.random((12, 3)) < 0.3).astype(float))
    theta, v = rng.normal(size=(2, 2, 4, 3, 26))
    h = 1e-7
    up, slope_up = model.log_likelihood(theta + h * v)
    down, slope_down = model.log_likelihood(theta - h * v)
    _, slope = model.log_likelihood(theta)
    along = (slope * v).sum((2, 3))
    np.testing.assert_allclose((up - down) / (2 * h), along, rtol=1e-6, atol=1e-5)
    bent = (slope_up - slope_down) / (2 * h)
    np.testing.assert_allclose(model.bend(theta, v), bent, rtol=1e-6, atol=1e-4)
