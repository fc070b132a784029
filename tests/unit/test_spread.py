"""Evidences of costly models: in parts, by real workers of joblib, remembered, in files."""

import itertools
import math
import os
import pickle
import signal
import threading
import time

import joblib
import numpy as np
import pytest

import jspgfn
from jspgfn import _core, _spread
from jspgfn._spread import SETTINGS, count_sets, fit_by_workers, fit_part

MODEL = jspgfn.MLPGaussian(effort=0.05)


@pytest.fixture(autouse=True)
def forgotten():
    _spread.MEMORY.clear()


@pytest.fixture(scope="module")
def sim():
    return jspgfn.simulate.nonlinear_gaussian(
        n_variables=5, n_samples=40, interventions=0.3, random_state=0
    )


def tables_of(sim, model=MODEL, **settings):
    est = jspgfn.StructureMCMC(model, random_state=0, n_jobs=1, **settings)
    problem = est._check_problem(sim.X, sim.interventions)
    est._start(problem, sim.X)
    return est._tables


def whole(tables, n_threads=1):
    chosen = {name: tables.settings[name] for name in SETTINGS}
    n = count_sets(chosen)
    values = _core.fit_evidences(
        tables.x, tables.mask, **chosen, first=0, last=n, n_threads=n_threads
    )
    return values, chosen, n


@pytest.mark.parametrize("model", [MODEL, jspgfn.RandomFeatures(n_features=10)])
def test_parts_make_the_whole(sim, model):
    tables = tables_of(sim, model, candidates={3: [0, 4]}, max_parents=2)
    values, chosen, n = whole(tables, n_threads=2)
    assert n == len(values) == 4 * 11 + 4
    for cuts in ([0, 1, n], [0, 10, 13, 40, n - 1, n], [0, 0, n, n]):
        pairs = itertools.pairwise(cuts)
        parts = [fit_part(tables.x, tables.mask, chosen, *pair)[0] for pair in pairs]
        np.testing.assert_array_equal(np.concatenate(parts), values)


def test_tables_from_evidences_are_those_of_the_model(sim):
    tables = tables_of(
        sim,
        graph_prior=jspgfn.ErdosRenyi(0.5),
        constraints=jspgfn.Constraints(
            forbidden=[(0, 1)], required=[(2, 3)], max_parents={4: 1}
        ),
    )
    values, chosen, n = whole(tables)
    given = _core.Scores(
        tables.x, tables.mask, n_threads=2, evidences=values, **tables.settings
    )
    own = _core.Scores(tables.x, tables.mask, n_threads=1, **tables.settings)
    for j in range(5):
        np.testing.assert_array_equal(given.local_scores(j), own.local_scores(j))
    k = 0  # each entry is that of one set
    for j, parents in enumerate(chosen["candidates"]):
        for S in range(2 ** len(parents)):
            members = [p for b, p in enumerate(parents) if S >> b & 1]
            if len(members) <= chosen["max_parents"][j]:
                assert values[k] == pytest.approx(
                    own.evidence(j, members)[0], rel=1e-12
                )
                k += 1
    assert k == n


def test_what_does_not_fit_is_refused(sim):
    tables = tables_of(sim)
    values, chosen, n = whole(tables)
    for bad, error in [
        (values[:-1], "length"),
        (np.append(values, 0.0), "length"),
        (np.where(np.arange(n) == 5, np.nan, values), "NaN"),
    ]:
        with pytest.raises((ValueError, _core.NumericalError), match=error):
            _core.Scores(
                tables.x, tables.mask, n_threads=1, evidences=bad, **tables.settings
            )
    for first, last in [(-1, 3), (3, 2), (0, n + 1)]:
        with pytest.raises(ValueError, match="part of"):
            fit_part(tables.x, tables.mask, chosen, first, last)
    with pytest.raises(ValueError, match="its own evidences"):
        _core.Scores(
            tables.x,
            tables.mask,
            n_threads=1,
            evidences=values,
            **{**tables.settings, "model": "bge", "model_fields": {}},
        )
    with pytest.raises(ValueError, match="single sets"):
        fit_part(
            tables.x, tables.mask, {**chosen, "model": "bge", "model_fields": {}}, 0, 1
        )


@pytest.mark.slow
def test_loky_workers(sim, monkeypatch, capsys):
    """Two real processes: same bits; errors, a killed worker and Ctrl-C are told."""
    alone = jspgfn.ExactPosterior(MODEL, random_state=0, n_jobs=1)
    alone.fit(sim.X, interventions=sim.interventions)
    _spread.MEMORY.clear()
    with joblib.parallel_config("loky", n_jobs=2):
        spread = jspgfn.ExactPosterior(MODEL, random_state=0, verbose=1)
        spread.fit(sim.X, interventions=sim.interventions)
        assert "75 parent sets, one by one, by 2 workers" in capsys.readouterr().out
        np.testing.assert_array_equal(spread._tables.evidences, alone._tables.evidences)
        np.testing.assert_array_equal(
            spread.sample(20).theta["w1"], alone.sample(20).theta["w1"]
        )

        tables = tables_of(sim)
        chosen = whole(tables)[1]
        arguments = (tables.x, tables.mask, chosen, 75, lambda share: None)
        bad = {**chosen, "model_fields": {"effort": -1.0}}
        with pytest.raises(ValueError, match="effort"):
            fit_by_workers(tables.x, tables.mask, bad, 75, lambda share: None)

        def never_ends(*arguments):
            time.sleep(600)

        monkeypatch.setattr(_spread, "fit_part", never_ends)
        timer = threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            fit_by_workers(*arguments)
        timer.join()

        def dies(*arguments):
            os.kill(os.getpid(), signal.SIGKILL)

        monkeypatch.setattr(_spread, "fit_part", dies)
        with pytest.raises(RuntimeError, match=r"a worker of joblib failed.*memory"):
            fit_by_workers(*arguments)


@pytest.mark.slow
def test_dask_workers(sim):
    distributed = pytest.importorskip("distributed")
    tables = tables_of(sim)
    expected = whole(tables)[0]
    cluster = distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None
    )
    with cluster, distributed.Client(cluster), joblib.parallel_config("dask"):
        assert _spread.n_workers() == 2
        assert tables.scores.n_variables == 5
    np.testing.assert_array_equal(tables.evidences, expected)


@pytest.fixture
def made_up(monkeypatch):
    """Sets what workers say of their core; threads stand for workers."""

    def patch(version, simd):
        monkeypatch.setattr(
            _spread, "fit_part", lambda *a: (np.zeros(a[4] - a[3]), version, simd)
        )

    return patch


def test_workers_of_another_kind(sim, made_up):
    own = _core.config()
    tables = tables_of(sim)
    with joblib.parallel_config("threading", n_jobs=2):
        made_up("0.0.1", own["simd"])
        with pytest.raises(RuntimeError, match=r"have jspgfn 0\.0\.1"):
            _ = tables.scores
        made_up(own["version"], "other")
        with pytest.warns(jspgfn.JspgfnWarning, match="instruction sets"):
            _ = tables.scores


def test_evidences_are_remembered(sim, monkeypatch, capsys):
    first = tables_of(sim)
    _ = first.scores

    def refuse(*_, **__):
        raise AssertionError("fitted again")

    monkeypatch.setattr(_core, "fit_evidences", refuse)
    other = jspgfn.ExactPosterior(MODEL, graph_prior="uniform", verbose=1)
    other.fit(sim.X, interventions=sim.interventions)
    assert "by an earlier fit" in capsys.readouterr().out
    assert other._tables.evidences is first.evidences
    for other in (
        tables_of(sim, jspgfn.MLPGaussian(effort=0.06)),
        tables_of(sim, max_parents=2),
        tables_of(sim, candidates={0: [1]}),
        tables_of(
            jspgfn.simulate.nonlinear_gaussian(
                n_variables=5, n_samples=40, random_state=1
            )
        ),
    ):
        with pytest.raises(AssertionError, match="again"):
            _ = other.scores


def test_memory_is_bounded():
    memory = _spread.Memory(n_bytes=100)
    for k in range(5):
        memory.put(bytes([k]), np.full(5, k, dtype=float))
        memory.get(bytes([0]))
    assert [key[0] for key in memory.kept] == [4, 0]
    memory.put(b"large", np.zeros(1000))
    assert memory.get(b"large") is None


def test_pickles_and_files_keep_evidences(sim, tmp_path, monkeypatch):
    exact = jspgfn.ExactPosterior(MODEL, random_state=0)
    exact.fit(sim.X, interventions=sim.interventions)
    exact.save(tmp_path / "exact.safetensors")
    text = pickle.dumps(exact)
    _spread.MEMORY.clear()
    monkeypatch.setattr(_core, "fit_evidences", None)
    for again in (pickle.loads(text), jspgfn.load(tmp_path / "exact.safetensors")):
        np.testing.assert_array_equal(
            again.log_reward(sim.graph), exact.log_reward(sim.graph)
        )
        assert math.isclose(again.log_partition_, exact.log_partition_)
    exact._tables.evidences = exact._tables.evidences[:-1]
    exact.save(tmp_path / "bad.safetensors")
    with pytest.raises(ValueError, match="evidences cannot be right"):
        jspgfn.load(tmp_path / "bad.safetensors")
