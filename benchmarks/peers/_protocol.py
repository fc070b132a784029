"""What the adapters share: files in and out, bootstraps, clocks.

    python benchmarks/peers/NAME.py in.npz out.npz    with the Python of the peer

in   x (n, d), budget (processor seconds), seed, settings (JSON: model, graph_prior,
     preprocess; noise_scale and weight_scale where they are not 0.316 and 1) and, where
     there is one, mask (n, d, 1 = set by an experimenter) and names
out  edge_probabilities (d, d), [i, j] = P(i -> j); where there are, graphs (m, d, d) and
     log_weights (m); cpu_seconds; info (JSON: version, the peer's own model and prior, and
     in words what could not be matched)

A peer that cannot express a task ends with status 1 and the reason as its last line.

Only NumPy and the standard library: this runs in environments that lack everything else.
The budget pays for computing. Imports are outside; compilation, which is not repeated in
longer runs, is outside as well and told as info["compile_seconds"]; both are part of what
the process takes, compilation also of cpu_seconds.
"""

import dataclasses
import importlib.metadata
import json
import os
import pathlib
import sys
import time

for _name in ("OMP", "OPENBLAS", "MKL"):  # one thread, before NumPy is imported
    os.environ.setdefault(f"{_name}_NUM_THREADS", "1")

import numpy as np  # noqa: E402

HERE = pathlib.Path(__file__).resolve().parent
# adapters are named like the packages that they import: look elsewhere first
sys.path[:] = [p for p in sys.path if pathlib.Path(p or ".").resolve() != HERE]

PAPER_NOISE = 0.1**0.5


@dataclasses.dataclass
class Task:
    x: np.ndarray
    budget: float
    seed: int
    settings: dict
    mask: np.ndarray | None = None
    names: list | None = None

    @property
    def n_variables(self):
        return self.x.shape[1]


@dataclasses.dataclass
class Found:
    edge_probabilities: np.ndarray
    cpu_seconds: float
    info: dict
    graphs: np.ndarray | None = None
    log_weights: np.ndarray | None = None


class CannotExpress(Exception):
    """The peer has no such model, prior or kind of data."""


def read(path):
    with np.load(path) as file:
        names = [str(name) for name in file["names"]] if "names" in file else None
        settings = json.loads(str(file["settings"])) if "settings" in file else {}
        return Task(
            file["x"],
            float(file["budget"]),
            int(file["seed"]),
            settings,
            file.get("mask"),
            names,
        )


def write(path, found):
    edges = np.asarray(found.edge_probabilities, float)
    d = len(edges)
    if edges.shape != (d, d) or not np.isfinite(edges).all() or edges.diagonal().any():
        raise ValueError("edge probabilities must be a finite matrix without loops")
    arrays = {
        "edge_probabilities": edges,
        "cpu_seconds": float(found.cpu_seconds),
        "info": json.dumps(found.info, default=float),
    }
    if found.graphs is not None:
        arrays["graphs"] = np.asarray(found.graphs, np.uint8)
    if found.log_weights is not None:
        arrays["log_weights"] = np.asarray(found.log_weights, float)
    np.savez(path, **arrays)


def run(estimate, version_of):
    """The command of an adapter; `version_of` is the name on the package index."""
    given, path = sys.argv[1:]
    try:
        found = estimate(read(given))
    except CannotExpress as reason:
        print(reason)
        raise SystemExit(1) from None
    found.info["version"] = f"{version_of} {importlib.metadata.version(version_of)}"
    write(path, found)


def expect(task, models, priors, interventions=False):
    """Model and prior of the task, of those that the peer knows."""
    model = task.settings.get("model", "linear")
    prior = task.settings.get("graph_prior", "fair")
    if model not in models:
        raise CannotExpress(
            f"model {model!r} is not known here, but {', '.join(models)}"
        )
    if prior not in priors:
        raise CannotExpress(
            f"prior {prior!r} is not known here, but {', '.join(priors)}"
        )
    if task.mask is not None and np.any(task.mask) and not interventions:
        raise CannotExpress("interventions are not known here")
    return model, prior


def prepared(task):
    """Rows as the model sees them: the settings' preprocess, BDeu codes as integers."""
    preprocess = task.settings.get("preprocess")
    if task.settings.get("model") == "bdeu":
        return np.asarray(task.x, np.int64)
    x = np.asarray(task.x, np.float64)
    if preprocess in ("center", "standardize"):
        x = x - x.mean(axis=0)
    if preprocess == "standardize":
        x = x / x.std(axis=0)
    return x


def log_fair(d):
    """Log prior of a node by its number of parents, every number alike: -log C(d-1, k)."""
    table = np.zeros(d)
    for k in range(1, d):
        table[k] = table[k - 1] - np.log((d - k) / k)
    return table


def is_acyclic(graphs):
    """Of each graph: does removing childless variables remove them all?"""
    graphs = np.asarray(graphs, bool)
    left = np.ones(graphs.shape[:2], bool)
    for _ in range(graphs.shape[1]):
        has_child = (graphs & left[:, None, :]).any(axis=2)
        left &= has_child
    return ~left.any(axis=1)


def edges_of_pattern(directed, undirected):
    """Frequencies of one partly directed graph: an undirected edge counts half each way."""
    directed, undirected = np.asarray(directed, bool), np.asarray(undirected, bool)
    if (undirected != undirected.T).any() or (directed & undirected).any():
        raise ValueError("undirected edges are symmetric and not directed as well")
    return directed + 0.5 * undirected


def bootstrap(task, learn, most=1000):
    """Mean of learn(rows) over resampled rows until the budget is spent.

    Returns
    -------
    tuple
        Edge frequencies, resamples that succeeded, that failed, processor seconds. The
        first resample always runs to its end.
    """
    x, rng = prepared(task), np.random.default_rng(task.seed)
    begin, total, done, failed = time.process_time(), 0.0, 0, 0
    while done + failed < most:
        used = time.process_time() - begin
        n = done + failed
        if n and used + used / n > task.budget:
            break
        try:
            total = total + learn(x[rng.integers(len(x), size=len(x))])
            done += 1
        except (ValueError, np.linalg.LinAlgError):  # a resample that is singular
            failed += 1
    if not done:
        raise CannotExpress("every resample failed")
    return total / done, done, failed, time.process_time() - begin
