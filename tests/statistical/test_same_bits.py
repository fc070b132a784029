"""Every estimator and kind of model gives the same bits, however the work is done.

Threads, steps, stops and files of the compiled trainer alone: test_determinism.py.
"""

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest

import jspgfn

QUIET = {"random_state": 3, "n_jobs": 1}
GNN = {"generator": "gnn", "batch_size": 16, "n_theta_samples": 4, "n_iter": 12}
SMALL_MLP = jspgfn.MLPGaussian(hidden=2, effort=0.02)

MAKERS = {
    "edges linear": lambda **k: jspgfn.JSPGFN("linear", n_iter=30, **k),
    "edges nig": lambda **k: jspgfn.JSPGFN("nig", n_iter=30, **k),
    "edges bge": lambda **k: jspgfn.JSPGFN("bge", n_iter=30, **k),
    "edges bdeu": lambda **k: jspgfn.JSPGFN("bdeu", n_iter=30, **k),
    "edges features": lambda **k: jspgfn.JSPGFN("features", n_iter=30, **k),
    "edges mlp": lambda **k: jspgfn.JSPGFN(SMALL_MLP, max_parents=1, n_iter=30, **k),
    "edges, three policies": lambda **k: jspgfn.JSPGFN(
        "bge", n_policies=3, n_iter=30, **k
    ),
    "gnn diag": lambda **k: jspgfn.JSPGFN("linear", head="diag", **GNN, **k),
    "gnn full": lambda **k: jspgfn.JSPGFN(
        "linear", head="full", head_scope="local", **GNN, **k
    ),
    "gnn mlp": lambda **k: jspgfn.JSPGFN("mlp", head="mlp", **GNN, **k),
    "chain bge": lambda **k: jspgfn.StructureMCMC("bge", n_moves=50_000, **k),
    "chain bdeu": lambda **k: jspgfn.StructureMCMC("bdeu", n_moves=50_000, **k),
    "exact linear": lambda **k: jspgfn.ExactPosterior("linear", **k),
    "exact nig": lambda **k: jspgfn.ExactPosterior("nig", **k),
    "exact bdeu": lambda **k: jspgfn.ExactPosterior("bdeu", **k),
    "exact features": lambda **k: jspgfn.ExactPosterior("features", **k),
}
SAMPLERS = [name for name in MAKERS if "exact" not in name]

pytestmark = pytest.mark.filterwarnings("ignore::jspgfn.NotMixedWarning")


def table(name):
    sim = jspgfn.simulate.linear_gaussian(n_variables=5, n_samples=40, random_state=1)
    return (sim.X > 0).astype(int) if "bdeu" in name else sim.X


def arrays_of(post):
    yield from (post.graphs, post.log_prob_theta, post.weights)
    yield from (x for x in (post.log_prob, post.log_reward) if x is not None)
    if hasattr(post, "coef"):
        yield from (post.coef, post.intercept, post.noise_scale)
    else:
        yield from post.theta.values()


def fingerprint(est):
    """Of draws and of what the fit knows without them."""
    digest = hashlib.sha256()
    for array in arrays_of(est.sample(60, random_state=8)):
        digest.update(np.ascontiguousarray(array).tobytes())
    if not isinstance(est, jspgfn.JSPGFN):
        digest.update(np.asarray(est.edge_probabilities()).tobytes())
    return digest.hexdigest()


@pytest.fixture(scope="module")
def expected():
    return {
        name: fingerprint(make(**QUIET).fit(table(name)))
        for name, make in MAKERS.items()
    }


@pytest.mark.parametrize("name", list(MAKERS))
@pytest.mark.parametrize("n_jobs", [2, 3, 4, 8, 16])
def test_number_of_threads(expected, name, n_jobs):
    est = MAKERS[name](random_state=3, n_jobs=n_jobs).fit(table(name))
    assert fingerprint(est) == expected[name]


@pytest.mark.parametrize("name", list(MAKERS))
def test_progress_bar(expected, name, capsys):
    est = MAKERS[name](**QUIET, verbose=1).fit(table(name))
    assert capsys.readouterr().out
    assert fingerprint(est) == expected[name]


@pytest.mark.parametrize("name", [n for n in SAMPLERS if "chain" not in n])
def test_stopped_saved_loaded_resumed(expected, name, tmp_path, monkeypatch):
    monkeypatch.setattr("jspgfn._engine.SECONDS_PER_CALLBACK", 0.0)
    path = tmp_path / "half.safetensors"
    est = MAKERS[name](**QUIET)
    est.fit(table(name), callback=lambda est, info: info["n_updates"] >= 4)
    est.save(path)
    loaded = jspgfn.load(path)
    n_updates = loaded.n_iter_
    assert 4 <= n_updates < est.n_iter
    for half in (est, loaded):
        half.resume()
        assert fingerprint(half) == expected[name]


@pytest.mark.parametrize("name", list(MAKERS))
def test_saved_and_loaded(expected, name, tmp_path):
    path = tmp_path / "fit.safetensors"
    MAKERS[name](**QUIET).fit(table(name)).save(path)
    assert fingerprint(jspgfn.load(path)) == expected[name]


def test_another_process(expected):
    """With other hashes of strings, another address space and twice the threads."""
    folder = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    code = (
        "import warnings; warnings.simplefilter('ignore')\n"
        "from statistical.test_same_bits import MAKERS, fingerprint, table\n"
        "for name, make in MAKERS.items():\n"
        "    fit = make(random_state=3, n_jobs=2).fit(table(name))\n"
        "    print(name, fingerprint(fit), sep=';')\n"
    )
    path = os.pathsep.join([folder, *filter(None, sys.path)])
    found = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": "77"},
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    ).stdout
    assert dict(line.split(";") for line in found.splitlines()) == expected
