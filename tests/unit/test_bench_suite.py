"""Pieces of the benchmark suite: problems, methods, peers' protocol, figures, the page."""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import pytest

import jspgfn

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

from suite import methods, networks, problems, report, run, score  # noqa: E402

TINY = "er_linear_d5_n50_raw_s0@known"

ASIA_BIF = """network unknown { }
variable smoke { type discrete [ 2 ] { yes, no }; }
variable lung { type discrete [ 2 ] { yes, no }; }
variable either { type discrete [ 3 ] { a, b, c }; }
probability ( smoke ) { table 0.5, 0.5; }
probability ( lung | smoke ) { (yes) 0.1, 0.9; (no) 0.01, 0.99; }
probability ( either | lung, smoke ) { table 0.1, 0.2, 0.3, 0.4, 0.5, 0.5, 0.5, 0.5,
 0.4, 0.3, 0.2, 0.1; }
"""


@pytest.fixture(scope="module")
def tiny():
    given = problems.problem(TINY)
    return given, score.reference_of(given, 1.0)


def task_of(given, budget):
    return methods.Task(
        given.x, given.settings, budget, 0, given.mask, given.names, given.test
    )


# --- problems ------------------------------------------------------------------------


def test_names_of_all_plans_are_known():
    options = argparse.Namespace(sizes=None, seeds=1)
    for plan in run.PLANS.values():
        for name, which, budgets in plan(options):
            data, target = name.split("@")
            assert target in problems.TARGETS
            assert budgets
            assert set(which) <= set(methods.OURS) | set(methods.peers())
            known = (problems.SIMULATED.match(data), problems.NETWORK.match(data))
            assert any(known) or data.startswith(("sachs", "perturb"))


@pytest.mark.parametrize("mechanism", ["linear", "mlp"])
def test_internally_standardised_data_hide_the_order(mechanism):
    given = problems.problem(f"er_{mechanism}_d8_n100_iscm_s1@known")
    everything = np.concatenate([given.x, given.test])
    np.testing.assert_allclose(everything.std(axis=0), 1, rtol=1e-9)
    np.testing.assert_allclose(everything.mean(axis=0), 0, atol=1e-9)
    raw = problems.problem(f"er_{mechanism}_d8_n100_raw_s1@known")
    np.testing.assert_array_equal(given.truth, raw.truth)


def test_varsortability_of_a_line():
    line = np.diag([1, 1], 1).astype(bool)  # 0 -> 1 -> 2
    rows = np.array([[1.0], [-1.0]])
    for scales, share in (((1, 2, 3), 1.0), ((3, 2, 1), 0.0), ((1, 1, 1), 0.5)):
        found = problems.varsortability(rows * np.array(scales), line)
        assert found == pytest.approx(share)
    assert problems.varsortability(rows * [2, 1, 3], line) == pytest.approx(2 / 3)


def test_asia_is_sampled_with_its_probabilities():
    network = networks.asia()
    assert network.graph().sum() == 8
    x = network.sample(20_000, np.random.default_rng(0))
    yes = dict(zip(network.names, 1 - x.mean(axis=0), strict=True))
    assert yes["smoke"] == pytest.approx(0.5, abs=0.02)
    assert yes["lung"] == pytest.approx(0.055, abs=0.01)
    assert yes["bronc"] == pytest.approx(0.45, abs=0.02)
    either = x[:, network.names.index("either")] == 0
    cause = (x[:, [network.names.index(n) for n in ("lung", "tub")]] == 0).any(axis=1)
    np.testing.assert_array_equal(either, cause)


def test_networks_are_read(tmp_path):
    (tmp_path / "small.bif").write_text(ASIA_BIF)
    network = networks.read_bif(tmp_path / "small.bif")
    assert network.names == ["smoke", "lung", "either"]
    assert network.nodes[2].table[0, 1] == [0.2, 0.5, 0.3]  # lung yes, smoke no
    given = problems.problem("small_n200_s0@discrete", tmp_path)
    assert given.x.shape == (200, 3)
    assert given.truth.sum() == 3
    (tmp_path / "pair_edges.csv").write_text("parent,child,coefficient\na,b,2\n")
    (tmp_path / "pair_nodes.csv").write_text("node,intercept,sd\nb,1,0.1\na,3,1\n")
    found = problems.problem("pair_n500_s0@known", tmp_path)
    slope, start = np.polyfit(found.x[:, 1], found.x[:, 0], 1)
    assert (slope, start) == pytest.approx((2, 1), abs=0.05)


def test_missing_data_are_named():
    with pytest.raises(problems.MissingData, match=r"alarm_edges\.csv is not bundled"):
        problems.problem("alarm_n100_s0@discrete")


# --- methods -------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["exact", "edges", "chain", "paper", "paper_quick"])
def test_methods_of_ours_answer_within_their_budget(tiny, name):
    given, reference = tiny
    result = methods.run_here(name, task_of(given, 0.4))
    assert result.cpu_seconds < 3
    found = score.figures(result, given, reference)
    assert found["edge_rmse"] <= {"exact": 0, "edges": 0.1, "chain": 0.1}.get(name, 0.7)
    assert 0 <= found["tv"] <= 1
    assert found["n_draws"] >= 1000
    assert np.isfinite(result.info["log_density"])
    assert set(found) <= set(run.COLUMNS)


def test_published_method_refuses_other_targets(tiny):
    given, _ = tiny
    task = task_of(given, 0.1)
    task.settings = problems.TARGETS["learned"]
    with pytest.raises(methods.Skipped, match="fixed noise"):
        methods.run_here("paper", task)


def test_files_hold_tasks_and_results(tmp_path, tiny):
    given, _ = tiny
    methods.write_task(tmp_path / "in.npz", task_of(given, 2.5))
    task = methods.read_task(tmp_path / "in.npz")
    assert (task.budget, task.settings, task.names, task.mask) == (
        2.5,
        given.settings,
        given.names,
        None,
    )
    np.testing.assert_array_equal(task.x, given.x)
    graphs = np.zeros((3, 5, 5), bool)
    result = methods.Result(
        np.eye(5), 1.5, graphs, np.zeros(3), info={"log_density": -1.0}
    )
    methods.write_result(tmp_path / "out.npz", result)
    again = methods.read_result(tmp_path / "out.npz")
    assert (again.cpu_seconds, again.info) == (1.5, {"log_density": -1.0})
    np.testing.assert_array_equal(again.graphs, graphs)


PEER = """
import sys
import numpy as np
task = np.load(sys.argv[1])
if task["seed"] == 7:
    sys.exit("seven is no seed")
edges = np.full((task["x"].shape[1],) * 2, 0.25)
np.savez(sys.argv[2], edge_probabilities=edges, cpu_seconds=0.1, info='{"peer": "1.0"}')
"""


def test_peers_run_in_processes_of_their_own(tmp_path, tiny, monkeypatch):
    given, reference = tiny
    (tmp_path / "fake.py").write_text(PEER)
    monkeypatch.setattr(methods, "PEERS", tmp_path)
    assert methods.peers() == ["fake"]
    task = task_of(given, 0.1)
    monkeypatch.delenv("JSPGFN_BENCH_PEERS", raising=False)
    with pytest.raises(methods.Skipped, match="JSPGFN_BENCH_FAKE"):
        methods.run_apart("fake", task)
    monkeypatch.setenv("JSPGFN_BENCH_FAKE", sys.executable)
    result = methods.run_apart("fake", task)
    assert result.peak_mb > 1
    assert result.info["peer"] == "1.0"
    assert score.figures(result, given, reference)["edge_rmse"] > 0.05
    task.seed = 7
    with pytest.raises(methods.Skipped, match="seven is no seed"):
        methods.run_apart("fake", task)


# --- figures -------------------------------------------------------------------------


def test_features_are_those_of_the_posterior_object(tiny):
    given, reference = tiny
    solver = jspgfn.ExactPosterior(**given.settings, random_state=0).fit(given.x)
    post = solver.sample(500)
    paths, blankets = score.features(post.graphs)
    np.testing.assert_allclose(paths, post.path_probabilities(), atol=1e-6)
    np.testing.assert_allclose(blankets, post.markov_blanket_probabilities(), atol=1e-6)
    assert np.exp(reference.log_p).sum() == pytest.approx(1)


def test_total_variation_of_exact_draws_is_at_its_floor(tiny):
    given, reference = tiny
    solver = jspgfn.ExactPosterior(**given.settings, random_state=0).fit(given.x)
    found = score.distances(solver.sample(2000).graphs, reference)
    assert found["tv"] == pytest.approx(found["tv_floor"], rel=0.15)


def test_long_chains_stand_in_where_nothing_is_exact(monkeypatch):
    monkeypatch.setattr(score, "MOST_EXACT", 4)
    monkeypatch.setattr(score, "N_REFERENCE", 1000)
    given = problems.problem(TINY)
    found = score.reference_of(given, 0.3)
    assert found.kind == "two chains"
    assert found.differ < 0.1
    assert found.figures(given.truth)["reference_n_edges"] > 0


# --- results and page ----------------------------------------------------------------


def test_rows_are_written_once_and_drawn(tmp_path, tiny):
    given, reference = tiny
    loaded = argparse.Namespace(problem=given, reference=reference)
    path = tmp_path / "suite_budgets.csv"
    table = run.Table(path, keep=False)
    for method in ("exact", "chain", "absent"):

        def here(name, task):
            if name == "absent":
                raise methods.Skipped("not here")
            return methods.run_here(name, task)

        budget = 1.0 if method == "exact" else 0.2
        row = run.one_run(loaded, TINY, method, budget, 0, here)
        table.add({**row, "plan": "budgets"})
    assert len(run.Table(path, keep=True).done) == 3
    stored = report.Stored(tmp_path)
    assert [row["status"] for row in stored.rows] == ["ok", "ok", "skipped"]
    page = "<!-- {0}: drawn by benchmarks/suite/report.py -->\n<!-- end of {0} -->\n"
    text = report.fill("".join(page.format(name) for name in report.BLOCKS), stored)
    assert "| known noise | 5 | exact posterior | 0 (after" in text
    assert report.fill(text, stored) == text
    pytest.importorskip("matplotlib")
    for draw in report.PICTURES:
        draw(stored, tmp_path)
    assert len(list(tmp_path.glob("results_*.svg"))) == 3


def test_the_page_shows_the_stored_rows(monkeypatch):
    """`python -m suite.report` in benchmarks/ after every new row."""
    for name in ("frontier", "ablations", "scale", "peak"):  # of other scripts
        monkeypatch.delitem(report.BLOCKS, name)
    page = (BENCHMARKS.parent / "docs" / "results.md").read_text(encoding="utf-8")
    assert report.fill(page, report.Stored(BENCHMARKS / "results")) == page


def test_rows_of_scale_are_medians_by_size(tmp_path):
    names = ("gap", "acceptance", "edge RMS", "edge max", "chains RMS", "chains max")
    row = dict.fromkeys((*names, "updates", "cpu s", "MB", "R-hat"), 1.0)
    kinds = [
        (100, 100, "uniform", 1),
        (50, 1000, "fair", 2),
        (50, 100, "uniform", 4),
        (50, 100, "uniform", 1),
    ]
    for k, (D, N, prior, policies) in enumerate(kinds):
        rows = [
            {**row, "D": D, "N": N, "prior": prior, "policies": policies, "gap": gap}
            for gap in (1.0, 2.0, 5.0)
        ]
        text = json.dumps({"rows": rows})
        (tmp_path / f"scale_{k}.json").write_text(text)
    lines = report.scale(report.Stored(tmp_path)).splitlines()[2:]
    assert [line.split(" | ")[:4] for line in lines] == [
        [f"| {D}, {N}, {prior}", "3", f"1 ({policies})", "1"]
        for D, N, prior, policies in sorted(kinds)
    ]
    assert all("| 2.0 (5.0) |" in line for line in lines)
