"""Non-linear models: accuracy of evidences and posteriors, speed.

    python benchmarks/nonlinear.py evidence|variational|modes|graphs|speed

Prints only. Times are processor seconds of one thread. What the models are worth is
measured by predict.py.
"""

import argparse
import itertools
import json
import os
import subprocess
import time

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from scipy.special import logsumexp

import jspgfn
from common import print_table
from jspgfn import _core
from reference.networks import LOG_2PI, Networks  # found by common

# A node's place names its random stream: empty columns in front give further streams.
STREAMS = 2


def scores_of(x, node_shift, effort, tabulate=False, noise_scale=np.nan):
    x = np.hstack([np.zeros((len(x), node_shift)), x])
    D = x.shape[1]
    return _core.Scores(
        np.ascontiguousarray(x),
        None,
        model="mlp",
        model_fields={"effort": effort, "noise_scale": noise_scale},
        graph_prior="uniform",
        max_parents=[D - 1] * D,
        candidates=[[] for _ in range(D)],
        edge_log_odds=None,
        required=None,
        n_states=None,
        tabulate=tabulate,
    )


def evidence(x, node, parents, effort, stream, noise_scale=np.nan):
    scores = scores_of(x, stream, effort, noise_scale=noise_scale)
    return scores.evidence(node + stream, [i + stream for i in parents])[0]


def sachs(n_rows, rng):
    x = np.log(jspgfn.datasets.load_sachs().data.to_numpy())
    x = x[rng.choice(len(x), n_rows, replace=False)]
    return (x - x.mean(axis=0)) / x.std(axis=0)


def evidence_cases(n_pairs, seed):
    """(name, x, noise_scale, node, parents), a third each of three kinds of data."""
    rng = np.random.default_rng(seed)
    nonlinear = jspgfn.simulate.nonlinear_gaussian(
        n_variables=20, n_samples=100, random_state=seed
    )
    linear = jspgfn.simulate.linear_gaussian(
        n_variables=20, n_samples=100, random_state=seed
    )
    kinds = [
        ("nonlinear", nonlinear.X, 0.1**0.5),
        ("linear", linear.X, np.nan),
        ("sachs", sachs(150, rng), np.nan),
    ]
    for k in range(n_pairs):
        name, x, noise_scale = kinds[k % len(kinds)]
        graph = {"nonlinear": nonlinear.graph, "linear": linear.graph}.get(name)
        node, *parents = rng.permutation(x.shape[1])[: 2 + rng.integers(3)].tolist()
        if graph is not None and k % 2 and graph[:, node].any():  # true parents, too
            true = np.flatnonzero(graph[:, node])[: len(parents)].tolist()
            parents = true + [i for i in parents if i not in true]
            parents = parents[: max(len(true), 1)]
        yield name, x, noise_scale, int(node), sorted(map(int, parents))


def anneal(program, x, noise_scale, node, parents):
    """Estimates by annealed importance sampling over all parameters (judge_units.c)."""
    settings = ["512", "4", "8", "0.998", "2"]  # chains, moves, steps, kept, runs
    known = 0.0 if np.isnan(noise_scale) else noise_scale
    numbers = [[len(x), len(parents), 5, known], x[:, parents].ravel(), x[:, node]]
    text = " ".join(repr(float(v)) for part in numbers for v in part)
    done = subprocess.run(
        [program, *settings], input=text, capture_output=True, text=True, check=True
    )
    return [float(v) for v in done.stdout.split()]


def judge_case(options, name, x, noise_scale, node, parents):
    case, found = (x, node, parents), {}
    if options.long:
        found["long"] = [
            evidence(*case, options.long, 2 + s, noise_scale) for s in range(STREAMS)
        ]
    if options.judge:
        found["anneal"] = anneal(options.judge, x, noise_scale, node, parents)
    return found


def judge_all(options, cases):
    """Values of the judges, from the file of an earlier run where it has them."""
    kept = {}
    if options.keep and os.path.exists(options.keep):
        with open(options.keep) as file:
            kept = dict(json.loads(line) for line in file)
    for k, case in enumerate(cases):
        if k in kept:
            continue
        kept[k] = judge_case(options, *case)
        if options.keep:
            with open(options.keep, "a") as file:
                file.write(json.dumps([k, kept[k]]) + "\n")
    return [kept[k] for k in range(len(cases))]


def measure(options, name, x, noise_scale, node, parents):
    """Seconds of one run, values of two and their own standard errors."""
    begin = time.process_time()
    values = [
        evidence(x, node, parents, options.effort, s, noise_scale) for s in (0, 1)
    ]
    return (time.process_time() - begin) / 2, values


def pooled(values):
    return logsumexp(values) - np.log(len(values))


def run_evidence(options):
    cases = list(evidence_cases(options.pairs, 1))
    judged = judge_all(options, cases)
    rows = []
    for case, found in zip(cases, judged, strict=True):
        seconds, values = measure(options, *case)
        row = {"data": case[0], "size": len(case[4]), "seconds": seconds}
        for name in ("long", "anneal"):
            if name in found:
                row[name] = np.abs(np.array(values) - pooled(found[name]))
                row["spread of " + name] = np.ptp(found[name])
        if "anneal" in found and "long" in found:
            row["judges"] = abs(pooled(found["anneal"]) - pooled(found["long"]))
        rows.append(row)
    for judge in ("long", "anneal"):
        report_errors(judge, [r for r in rows if judge in r])


def report_errors(judge, rows):
    """Errors by kind of data and number of parents; how far the judges are apart."""
    report = []
    for name in ("nonlinear", "linear", "sachs", "all"):
        for size in (1, 2, 3, 0):
            chosen = [
                r
                for r in rows
                if name in (r["data"], "all")
                and (size in (r["size"], 0) or name == "all")
            ]
            if (name == "all" and size) or not chosen:
                continue
            error = np.concatenate([r[judge] for r in chosen])
            line = {
                "judge": judge,
                "data": name,
                "parents": size or "all",
                "sets": len(chosen),
                "ms": 1000 * np.mean([r["seconds"] for r in chosen]),
                "median": float(np.median(error)),
                "95 %": float(np.quantile(error, 0.95)),
                "largest": float(error.max()),
            }
            for key in ("spread of " + judge, "judges"):
                values = [r[key] for r in chosen if key in r]
                if values:
                    line[key + ", median"] = float(np.median(values))
                    line[key + ", 95 %"] = float(np.quantile(values, 0.95))
            report.append(line)
    if report:
        print_table(report)


# --- variational fits ----------------------------------------------------------------


def fit_variational(networks, rng, n_steps=2000, n_samples=16, n_weighted=4096):
    """Independent normals over all parameters by Adam on the lower bound; that bound and
    the importance-weighted one with many draws."""
    mean = networks.prior_mean + 0.5 * networks.draw_prior(rng, 1)
    log_sd = np.full_like(mean, -1.5)
    moments = np.zeros((2, 2, *mean.shape))

    def bound(n):
        noise = rng.standard_normal((networks.size, n), dtype=np.float32)
        theta = mean + np.exp(log_sd) * noise
        value, slope = networks.log_likelihood(theta.astype(np.float32))
        log_q = -0.5 * np.sum(noise**2 + LOG_2PI, axis=0) - log_sd.sum()
        slope = slope - (theta - networks.prior_mean)
        return value + networks.log_prior(theta) - log_q, slope, noise

    for k in range(n_steps):
        _, slope, noise = bound(n_samples)
        slopes = (
            slope.mean(axis=1, keepdims=True),
            (slope * noise).mean(axis=1, keepdims=True) * np.exp(log_sd) + 1,
        )
        rate = 0.03 * (1 - k / n_steps)
        for x, g, m in zip((mean, log_sd), slopes, moments, strict=True):
            m[0] = 0.9 * m[0] + 0.1 * g
            m[1] = 0.999 * m[1] + 0.001 * g * g
            first, second = m[0] / (1 - 0.9 ** (k + 1)), m[1] / (1 - 0.999 ** (k + 1))
            x += (rate * first / (np.sqrt(second) + 1e-8)).astype(x.dtype)
    value = bound(n_weighted)[0]
    return value.mean(), logsumexp(value) - np.log(n_weighted)


def run_variational(options):
    """What fits of one mode would put into tables, against long runs of the sampler."""
    cases = list(evidence_cases(options.pairs, 1))
    judged = judge_all(options, cases)
    rows = []
    for k, (case, found) in enumerate(zip(cases, judged, strict=True)):
        name, x, noise_scale, node, parents = case
        known = None if np.isnan(noise_scale) else noise_scale
        begin = time.process_time()
        fits = [
            fit_variational(
                Networks(x[:, parents], x[:, node], 5, known),
                np.random.default_rng([k, start]),
            )
            for start in range(3)
        ]
        rows.append(
            {
                "data": name,
                "parents": len(parents),
                "judge": pooled(found["long"]),
                "bound": max(f[0] for f in fits) - pooled(found["long"]),
                "weighted": max(f[1] for f in fits) - pooled(found["long"]),
                "seconds": time.process_time() - begin,
            }
        )
    print_table(rows)
    for key in ("bound", "weighted"):
        errors = np.abs([r[key] for r in rows])
        print(
            f"{key}: median {np.median(errors):.2f}, 95 % {np.quantile(errors, 0.95):.2f}"
        )


# --- permuted units ------------------------------------------------------------------


def run_modes(options):
    """How many of the 120 orders of 5 units the draws of one parent set visit.

    A zigzag needs all units. Those of a draw are told apart by what they add to the mean.
    """
    rng = np.random.default_rng(0)
    x = np.sort(rng.uniform(-2, 2, 200))
    kinks = np.array([-1.6, -0.8, 0.0, 0.8, 1.6])
    slopes = np.array([2.0, -3.0, 3.0, -3.0, 3.0])
    y = np.maximum(x[:, None] - kinks, 0) @ slopes + 0.1 * rng.normal(size=200)
    table = np.column_stack([x, y - y.mean()])
    for effort in (options.effort, 4 * options.effort):
        exact = jspgfn.ExactPosterior(
            jspgfn.MLPGaussian(noise_scale=0.1, effort=effort),
            constraints=jspgfn.Constraints(required=[(0, 1)]),
            preprocess=None,
            n_jobs=1,
            random_state=0,
        ).fit(table)
        value, error = exact.parent_set_evidence(1, [0], standard_error=True)
        theta = exact.sample(2000, random_state=0).theta
        hidden = np.maximum(
            x[:, None] * theta["w1"][:, 1, :, :1].swapaxes(1, 2), -np.inf
        )
        hidden = np.maximum(hidden + theta["b1"][:, 1, None, :], 0)
        added = hidden * theta["w2"][:, 1, None, :]
        added -= added.mean(axis=1, keepdims=True)
        orders = {
            tuple(linear_sum_assignment(cdist(added[0].T, draw.T))[1]) for draw in added
        }
        used = (added.std(axis=1) > 0.1).sum(axis=1)
        print(
            f"effort {effort:g}: log evidence {value:.2f} +- {error:.2f}, "
            f"{len(orders)} of 120 orders in 2000 draws, {used.mean():.1f} units in use"
        )


# --- posteriors over graphs ----------------------------------------------------------


def run_graphs(options):
    """Exact posteriors from tables of effort 1 and of long runs; features and a chain."""
    rows = []
    for seed in range(options.first, options.seeds):
        D = 6 + seed % 3
        sim = jspgfn.simulate.nonlinear_gaussian(
            n_variables=D, n_samples=100, random_state=seed
        )
        row = {"variables": D}
        edges = {}
        for name, effort in (("short", options.effort), ("long", options.long)):
            model = jspgfn.MLPGaussian(noise_scale=0.1**0.5, effort=effort)
            exact = fit_exact(model, sim.X)
            edges[name] = edges_of(exact)
            row[f"mlp {name}"] = jspgfn.metrics.auroc(edges[name], sim.graph)
        row["mlp difference"] = float(np.abs(edges["short"] - edges["long"]).max())
        exact = fit_exact(jspgfn.RandomFeatures(), sim.X)
        found = edges_of(exact)
        row["features"] = jspgfn.metrics.auroc(found, sim.graph)
        chain = jspgfn.StructureMCMC(
            jspgfn.RandomFeatures(), max_parents=3, n_jobs=1, random_state=seed
        ).fit(sim.X)
        row["chain difference"] = float(
            np.abs(found - np.asarray(chain.sample(10_000).edge_probabilities())).max()
        )
        linear = fit_exact(jspgfn.NormalInverseGamma(), sim.X)
        edges = edges_of(linear)
        row["linear (nig)"] = jspgfn.metrics.auroc(edges, sim.graph)
        rows.append(row)
    print_table(rows)


def edges_of(exact):
    """Without what rounding puts beyond 1."""
    return np.clip(exact.edge_probabilities(), 0, 1)


def fit_exact(model, x):
    return jspgfn.ExactPosterior(model, max_parents=3, n_jobs=1).fit(x)


# --- speed ---------------------------------------------------------------------------


def run_speed(options):
    """A sample of all sets of up to 3 parents of 20 nodes, 100 rows, scaled to all."""
    sim = jspgfn.simulate.nonlinear_gaussian(
        n_variables=20, n_samples=100, random_state=0
    )
    x, rows = sim.X - sim.X.mean(axis=0), []
    sets = [
        (j, parents)
        for j in range(20)
        for size in range(4)
        for parents in itertools.combinations([i for i in range(20) if i != j], size)
    ]
    models = {
        "features": jspgfn.RandomFeatures(),
        "mlp": jspgfn.MLPGaussian(noise_scale=0.1**0.5, effort=options.effort),
        "mlp, learned noise": jspgfn.MLPGaussian(
            noise_scale=None, effort=options.effort
        ),
    }
    for name, model in models.items():
        problem = jspgfn.StructureMCMC(model, max_parents=3)._check_problem(x, None)
        settings = {**problem.scores_settings(), "tabulate": False}
        settings["candidates"] = [[]] * 20
        scores = _core.Scores(np.ascontiguousarray(x), None, **settings)
        seconds = []
        for j, parents in sets[:: options.every]:
            begin = time.process_time()
            scores.evidence(j, list(parents))
            seconds.append(time.process_time() - begin)
        rows.append(
            {
                "model": name,
                "sets": len(seconds),
                "of": len(sets),
                "median ms": 1000 * np.median(seconds),
                "mean ms": 1000 * np.mean(seconds),
                "90 % ms": 1000 * np.quantile(seconds, 0.9),
                "seconds, all": np.mean(seconds) * len(sets),
            }
        )
    print_table(rows)


def main():
    commands = {
        "evidence": run_evidence,
        "variational": run_variational,
        "modes": run_modes,
        "graphs": run_graphs,
        "speed": run_speed,
    }
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=list(commands))
    parser.add_argument("--pairs", type=int, default=200, help="parent sets")
    parser.add_argument("--effort", type=float, default=1.0, help="of mlp tables")
    parser.add_argument(
        "--long", type=float, default=40.0, help="effort of the judge's runs, or 0"
    )
    parser.add_argument(
        "--judge", help="program benchmarks/c/build/judge_units, a second judge"
    )
    parser.add_argument("--keep", help="file that keeps the judges' values")
    parser.add_argument("--seeds", type=int, default=3, help="data sets")
    parser.add_argument("--first", type=int, default=0, help="data set to begin with")
    parser.add_argument("--every", type=int, default=61, help="one set in so many")
    options = parser.parse_args()
    commands[options.what](options)


if __name__ == "__main__":
    main()
