"""Linear, features and mlp side by side: simulated networks and real data.

    python benchmarks/predict.py protocol    20 variables, 100 rows, networks as truth
    python benchmarks/predict.py sachs       proteins: held-out rows, a held-out condition
    python benchmarks/predict.py perturb --data FOLDER
                                             24 genes: one intervention held out at a time
    python benchmarks/predict.py eight       8 variables: exact features, chain, linear
    python benchmarks/predict.py wide        50 variables: memory and time of tables

All write results/predict_<name>.json. Seconds are processor seconds of one
thread. Evidences of mlp take minutes: `--cache FOLDER` keeps them, and finished rows, so
that a command that was stopped goes on where it was.

perturb reads counts.csv of FOLDER: a column `target` (the gene knocked out, empty for
control guides) and one column of UMI counts per gene, here those of Dixit et al., Cell 167
(2016), as selected by Wang, Solus, Yang and Uhler (NeurIPS 2017): 14,427 cells, 24 genes.
"""

import argparse
import json
import pathlib
import sys
import time

import numpy as np

import jspgfn
from common import peak_bytes, print_table, write
from jspgfn import _core, _spread

NOISE = 0.1**0.5  # of the simulations
N_DRAWS = 2000
SETS_AT_ONCE = 64
TARGETS = ["Cebpb", "Hif1a", "Nfkb1", "Rel", "Rela", "Spi1", "Stat1", "Stat2"]


# --- what a stopped command has done -------------------------------------------------


class Cache:
    """Evidences and rows in a folder, or nowhere."""

    def __init__(self, folder):
        self.folder = folder and pathlib.Path(folder)
        if self.folder:
            self.folder.mkdir(parents=True, exist_ok=True)

    def evidences(self, est, x, mask):
        """Of a costly model, into the memory of this process; returns their seconds."""
        problem = est._check_problem(x, mask)
        est._start(problem, x)
        tables = est._tables
        if not tables.is_costly:
            return 0.0
        settings = {name: tables.settings[name] for name in _spread.SETTINGS}
        key = _spread.key_of(tables.x, tables.mask, settings)
        n_sets = _spread.count_sets(settings)
        parts, seconds = [np.zeros(0)], 0.0
        path = self.folder and self.folder / f"{key.hex()[:32]}.npz"
        if path and path.exists():
            with np.load(path) as file:
                parts, seconds = [file["evidences"]], float(file["seconds"])
        done = len(parts[0])
        while done < n_sets:
            begin, last = time.process_time(), min(done + SETS_AT_ONCE, n_sets)
            parts.append(
                _core.fit_evidences(
                    tables.x, tables.mask, **settings, first=done, last=last
                )
            )
            seconds += time.process_time() - begin
            done = last
            if path:
                new = path.with_suffix(".new.npz")
                np.savez(new, evidences=np.concatenate(parts), seconds=seconds)
                new.replace(path)
        _spread.MEMORY.put(key, np.concatenate(parts))
        return seconds

    def row(self, name, make, *arguments):
        """The dict that make(*arguments) returns, kept under a name."""
        path = self.folder and self.folder / f"{name}.json"
        if path and path.exists():
            return json.loads(path.read_text())
        row = make(*arguments)
        print({k: v for k, v in row.items() if not is_long(v)}, flush=True)
        if path:
            path.write_text(json.dumps(row, default=float))
        return row


def is_long(value):
    """What tables do not show."""
    return isinstance(value, list)


def fit(est, x, mask=None, **settings):
    begin = time.process_time()
    est.fit(x, interventions=mask, **settings)
    return time.process_time() - begin


def density(source, x, mask=None):
    """Mean log density of rows by draws, and of each row."""
    rows = source.predict_log_density(x, interventions=mask)
    return float(rows.mean()), rows


# --- simulated networks --------------------------------------------------------------


def models_of_protocol():
    return {
        "linear": jspgfn.LinearGaussian(),
        "bge": jspgfn.BGe(),
        "features": jspgfn.RandomFeatures(noise_scale=NOISE),
        "mlp": jspgfn.MLPGaussian(noise_scale=NOISE),
    }


def run_protocol(options, cache):
    """Every estimator on the same tables: 12 candidates, at most 3 parents."""
    rows = []
    for seed in options.seeds:
        sim = jspgfn.simulate.nonlinear_gaussian(
            n_variables=20, n_samples=200, random_state=seed
        )
        for name, model in models_of_protocol().items():
            if name not in options.models:
                continue
            shared = {
                "model": model,
                "max_parents": 3,
                "candidates": 12,
                "n_jobs": 1,
                "random_state": seed,
            }
            for kind in options.estimators:
                rows.append(
                    cache.row(
                        f"protocol_{seed}_{name}_{kind}",
                        row_of_protocol,
                        *(cache, seed, sim, name, kind, shared),
                    )
                )
    rows = [{k: v for k, v in row.items() if k != "matrix"} for row in rows]
    print_table(rows)
    print_table(means_of(rows))
    return {"rows": rows, "means": means_of(rows)}


def row_of_protocol(cache, seed, sim, name, kind, shared):
    train, test = sim.X[:100], sim.X[100:]
    for_tables = cache.evidences(jspgfn.StructureMCMC(**shared), train, None)
    more = {}
    if kind == "exact":
        est = jspgfn.ExactPosterior(**shared)
        seconds = fit(est, train)
        found = est
    elif kind == "chain":
        est = jspgfn.StructureMCMC(**shared, n_moves=800_000_000)
        seconds = fit(est, train)
        more["rhat"] = float(est.diagnostics().r_hat_max)
        found = est
    else:
        est = jspgfn.JSPGFN(**shared)
        seconds = fit(est, train)
        more["updates"], more["gap"] = est.n_iter_, float(est.history_["gap"][-1])
    post = est.sample(N_DRAWS)
    if kind == "gfn":
        found = post
    edges = np.asarray(found.edge_probabilities())
    return {
        "seed": seed,
        "model": name,
        "estimator": kind,
        "log density": density(post, test)[0],
        "AUROC": jspgfn.metrics.auroc(edges, sim.graph),
        "Brier": jspgfn.metrics.brier(edges, sim.graph),
        "edges": float(edges.sum()),
        "true": int(sim.graph.sum()),
        "fit s": seconds,
        "evidence s": for_tables,
        "updates": more.get("updates", 0),
        "gap": more.get("gap", 0.0),
        "rhat": more.get("rhat", 0.0),
        "matrix": edges.tolist() if kind == "exact" else None,
        **error_to_exact(cache, seed, name, kind, edges),
    }


def error_to_exact(cache, seed, name, kind, edges):
    """Largest and root mean square difference to exact edge probabilities."""
    path = cache.folder and cache.folder / f"protocol_{seed}_{name}_exact.json"
    error = np.full(2, np.nan)
    if kind != "exact" and path and path.exists():
        other = np.array(json.loads(path.read_text())["matrix"])
        error = (edges - other)[~np.eye(len(edges), dtype=bool)]
    largest, rms = np.abs(error).max(), np.sqrt(np.mean(error**2))
    return {"largest error": float(largest), "rms error": float(rms)}


def means_of(rows):
    """Over data sets, by model and estimator."""
    keys = ("log density", "AUROC", "Brier", "edges", "true", "fit s", "evidence s")
    kinds = dict.fromkeys((row["model"], row["estimator"]) for row in rows)
    means = []
    for model, estimator in kinds:
        some = [r for r in rows if (r["model"], r["estimator"]) == (model, estimator)]
        figures = {key: float(np.mean([r[key] for r in some])) for key in keys}
        means.append(
            {"model": model, "estimator": estimator, "sets": len(some), **figures}
        )
    return means


# --- real data -----------------------------------------------------------------------


def models_of_real():
    """With learned noise; columns are standardised."""
    return {
        "no edges": jspgfn.NormalInverseGamma(),
        "linear": jspgfn.NormalInverseGamma(),
        "features": jspgfn.RandomFeatures(),
        "mlp": jspgfn.MLPGaussian(noise_scale=None),
    }


def mask_of(targets, names):
    return np.array([[t == name for name in names] for t in targets], np.uint8)


def row_of_real(cache, options, name, estimator, data, candidates):
    """One model: train, then the densities of rows of seen kinds and of the held kind."""
    x, mask, seen, held = data
    shared = {
        "model": models_of_real()[name],
        "max_parents": 0 if name == "no edges" else 3,
        "candidates": candidates,
        "n_jobs": 1,
        "random_state": 0,
    }
    for_tables = cache.evidences(jspgfn.StructureMCMC(**shared), x, mask)
    if estimator == "gfn":
        est = jspgfn.JSPGFN(**shared)
    elif estimator == "exact":
        est = jspgfn.ExactPosterior(**shared)
    else:
        est = jspgfn.StructureMCMC(**shared, n_moves=options.moves)
    seconds = fit(est, x, mask)
    post = est.sample(N_DRAWS)
    return {
        "model": name,
        "estimator": estimator,
        "held-out rows": density(post, *seen)[0],
        "held-out kind": density(post, *held)[0],
        "rows seen": density(post, *seen)[1].tolist(),
        "rows held": density(post, *held)[1].tolist(),
        "edges": float(np.asarray(post.graphs).sum(axis=(1, 2)).mean()),
        "fit s": seconds,
        "evidence s": for_tables,
    }


def compare(rows):
    """Differences to the linear model with the standard error over rows."""
    table = []
    base = next(row for row in rows if row["model"] == "linear")  # the first of them
    for row in rows:
        line = {k: v for k, v in row.items() if not k.startswith("rows ")}
        for kind in ("seen", "held"):
            gain = np.array(row[f"rows {kind}"]) - np.array(base[f"rows {kind}"])
            line[f"{kind} - linear"] = float(gain.mean())
            line[f"{kind} se"] = float(gain.std() / np.sqrt(len(gain)))
        table.append(line)
    return table


def sachs_data(n_per_kind, held):
    """Logarithms; condition 7 is left out, whose Raf and Mek repeat those of another.

    The cells of PKA (and half of those of PKC) lack the stimulus that all others got.
    """
    bunch = jspgfn.datasets.load_sachs(interventions=True)
    x = np.log(bunch.data.to_numpy())
    targets = np.array(bunch.interventions)
    names = list(bunch.feature_names)
    rng = np.random.default_rng(0)
    train, seen, test = [], [], []
    for kind in sorted(set(targets.tolist()) - {"PIP3"}):
        rows = rng.permutation(np.flatnonzero(targets == kind))
        if kind == held:
            test.extend(rows[:300])
        else:
            train.extend(rows[:n_per_kind])
            seen.extend(rows[n_per_kind : n_per_kind + 100])
    mask = mask_of(targets, names)
    return x[train], mask[train], (x[seen], mask[seen]), (x[test], mask[test])


def run_sachs(options, cache):
    result = []
    for held in options.conditions:
        data = sachs_data(options.rows // 5, held)
        rows = [
            cache.row(
                f"sachs_{held}_{options.rows}_{name}_{kind}",
                row_of_real,
                *(cache, options, name, kind, data, None),
            )
            for name in options.models_real
            for kind in options.estimators_real
            if kind == "exact" or name != "no edges"
        ]
        result += [{"held": held, **line} for line in compare(rows)]
    print_table(result)
    return {"n_rows": options.rows, "rows": result}


def perturb_data(folder, held, n_rows):
    """Cells by target, log(1 + count); a third of the training rows are controls."""
    path = pathlib.Path(folder) / "counts.csv"
    with path.open(encoding="utf-8") as file:
        names = file.readline().strip().split(",")[1:]
        lines = [line.strip().split(",") for line in file]
    targets = np.array([line[0] for line in lines])
    x = np.log1p(np.array([line[1:] for line in lines], dtype=float))
    rng = np.random.default_rng(0)
    kinds = sorted(set(targets.tolist()) - {held, ""})
    per_kind = 2 * n_rows // 3 // len(kinds)
    train, seen, test = [], [], []
    for kind in ["", *kinds, held]:
        rows = rng.permutation(np.flatnonzero(targets == kind))
        n = per_kind if kind else n_rows - per_kind * len(kinds)
        if kind == held:
            test.extend(rows[:300])
        else:
            train.extend(rows[:n])
            seen.extend(rows[n : n + 50])
    mask = mask_of(targets, names)
    return x[train], mask[train], (x[seen], mask[seen]), (x[test], mask[test])


def run_perturb(options, cache):
    if not options.data:
        sys.exit("perturb needs --data FOLDER with counts.csv (see --help)")
    result = []
    for held in options.held:
        data = perturb_data(options.data, held, options.rows)
        rows = [
            cache.row(
                f"perturb_{held}_{options.rows}_{options.candidates}_{name}",
                row_of_real,
                *(cache, options, name, "chain", data, options.candidates),
            )
            for name in options.models_real
        ]
        result += [{"held": held, **line} for line in compare(rows)]
    print_table(result)
    return {"n_rows": options.rows, "candidates": options.candidates, "rows": result}


# --- features: exact against a chain -------------------------------------------------


def run_eight(options, cache):
    rows = []
    for seed in options.seeds:
        sim = jspgfn.simulate.nonlinear_gaussian(
            n_variables=8, n_samples=100, random_state=seed
        )
        rows.append(cache.row(f"eight_{seed}", row_of_eight, seed, sim))
    print_table(rows)
    return {"rows": rows}


def row_of_eight(seed, sim):
    """The chain's own standard errors say what difference is to be expected."""
    shared = {"max_parents": 3, "n_jobs": 1, "random_state": seed}
    model = jspgfn.RandomFeatures(noise_scale=NOISE)
    exact = jspgfn.ExactPosterior(model, **shared)
    seconds = fit(exact, sim.X)
    chain = jspgfn.StructureMCMC(model, n_moves=100_000_000, **shared)
    chain_seconds = fit(chain, sim.X)
    edges = np.asarray(exact.edge_probabilities())
    found, error = chain.edge_probabilities(standard_error=True)
    difference = np.abs(np.asarray(found) - edges)
    row = {
        "seed": seed,
        "exact s": seconds,
        "chain s": chain_seconds,
        "largest difference": float(difference.max()),
        "largest standard error": float(np.asarray(error).max()),
        "beyond 4 errors": int((difference > 4 * np.asarray(error) + 1e-3).sum()),
        "AUROC features": jspgfn.metrics.auroc(edges, sim.graph),
    }
    for name, other in (("linear", jspgfn.LinearGaussian()), ("bge", jspgfn.BGe())):
        linear = jspgfn.ExactPosterior(other, **shared).fit(sim.X)
        row[f"AUROC {name}"] = jspgfn.metrics.auroc(linear, sim.graph)
    return row


# --- many variables ------------------------------------------------------------------


def run_wide(options, cache):
    """50 variables, 12 candidates, 3 parents: what is printed, and what is taken.

    Some sets at full effort for time and memory, then all of them at a small one.
    """
    sim = jspgfn.simulate.nonlinear_gaussian(
        n_variables=50, n_samples=100, random_state=0
    )
    shared = {
        "max_parents": 3,
        "candidates": 12,
        "n_jobs": 1,
        "random_state": 0,
        "verbose": 1,
        "n_moves": options.moves,
    }
    before = peak_bytes()
    est = jspgfn.StructureMCMC(jspgfn.MLPGaussian(), **shared)
    est._start(est._check_problem(sim.X, None), sim.X)
    tables = est._tables
    settings = {name: tables.settings[name] for name in _spread.SETTINGS}
    n_sets = _spread.count_sets(settings)
    begin = time.process_time()
    some = range(0, n_sets, n_sets // 100)
    for first in some:
        _core.fit_evidences(tables.x, None, **settings, first=first, last=first + 1)
    seconds = (time.process_time() - begin) / len(some)
    of_fits = peak_bytes()
    quick = jspgfn.StructureMCMC(jspgfn.MLPGaussian(effort=0.02), **shared)
    quick_seconds = fit(quick, sim.X)
    rows = [
        {
            "sets": n_sets,
            "ms per set": 1000 * seconds,
            "all s": seconds * n_sets,
            "MB tables": quick._tables.scores.n_bytes / 1e6,
            "MB before": before / 1e6,
            "MB with fits": of_fits / 1e6,
            "MB at the end": peak_bytes() / 1e6,
            "quick s": quick_seconds,
        }
    ]
    print_table(rows)
    return {"rows": rows}


def main():
    commands = {
        "protocol": run_protocol,
        "sachs": run_sachs,
        "perturb": run_perturb,
        "eight": run_eight,
        "wide": run_wide,
    }
    models = ["linear", "bge", "features", "mlp"]
    real = ["no edges", "linear", "features", "mlp"]
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=list(commands))
    parser.add_argument("--cache", help="folder for finished work")
    parser.add_argument("--data", help="folder with counts.csv, for perturb")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--models", nargs="+", choices=models, default=models)
    parser.add_argument("--models-real", nargs="+", choices=real, default=real)
    parser.add_argument(
        "--estimators",
        nargs="+",
        choices=["exact", "chain", "gfn"],
        default=["exact", "chain", "gfn"],
    )
    parser.add_argument(
        "--estimators-real",
        nargs="+",
        choices=["exact", "gfn"],
        default=["exact", "gfn"],
        help="for sachs",
    )
    parser.add_argument(
        "--conditions", nargs="+", default=["Mek", "PKA"], help="of sachs, held out"
    )
    parser.add_argument("--rows", type=int, default=400, help="for training")
    parser.add_argument("--candidates", type=int, default=8, help="of perturb")
    parser.add_argument("--held", nargs="+", default=TARGETS)
    parser.add_argument("--moves", type=int, default=20_000_000, help="of real chains")
    options = parser.parse_args()
    result = commands[options.what](options, Cache(options.cache))
    shown = {k: v for k, v in vars(options).items() if k not in ("cache", "data")}
    write(f"predict_{options.what}", settings=shown, n_draws=N_DRAWS, **result)


if __name__ == "__main__":
    main()
