"""The experiments of the JSP-GFN paper (Deleu et al., NeurIPS 2023) in their protocol.

    python benchmarks/published.py five [--data 0 1 ...] [--paper 0 1 2] [--seconds 60]
    python benchmarks/published.py twenty [--data 0 1 ...] [--kinds linear nonlinear]
                              [--default 0 1 ...] [--paper 0] [--seconds 120]
    python benchmarks/published.py rows [--data 0] [--seconds 30]
    python benchmarks/published.py page     tables of docs/results_published.md

five: Erdos-Renyi graphs with one edge per node, N = 100, weights N(0, 1), noise variance
0.1, all DAGs alike: edges, paths and Markov blankets against their exact probabilities,
total variation over all 29,281 graphs, and the cross-entropy of the parameters,
-E log q(theta | G) with (G, theta) from the exact posterior, in nats; its least value is
the entropy of theta given G. Features of the default sampler and of the published method
are those of log q over all graphs, so that they have no noise of draws; of the chain those
of its states (edges) and of 20,000 of them.

twenty: the same at D = 20, and networks of the parents with a hidden layer of 5 units as
truth ("nonlinear", model features): held-out rows, E-SHD, AUROC over data sets, by the
default sampler and by the exact posterior on the same tables (12 candidates, up to 3
parents), under the paper's prior (uniform) and the package's default (fair).

rows: the published method with minibatches of rows, at equal processor seconds.

Seconds are processor seconds of one thread. `--cache FOLDER` keeps finished rows. Held-out
data sets of real data: predict.py.
"""

import argparse
import json
import pathlib
import time

import numpy as np

import jspgfn
from common import HERE, print_table, write
from jspgfn import metrics
from paper_convergence import Five, train
from paper_exact import total_variation
from predict import N_DRAWS, Cache, density, fit
from reference.terminal import terminal_log_prob
from suite.score import features

PAGE = HERE.parent / "docs" / "results_published.md"
N_STATES = 20_000  # of the chain
KINDS = ("edges", "paths", "blankets")


# --- five variables ------------------------------------------------------------------


def agreement(found, exact):
    """Root mean square and largest difference, and correlation, over ordered pairs."""
    off = ~np.eye(len(exact), dtype=bool)
    error = found[off] - exact[off]
    return {
        "rmse": float(np.sqrt((error**2).mean())),
        "largest": float(np.abs(error).max()),
        "r": float(np.corrcoef(found[off], exact[off])[0, 1]),
    }


def judge(five, found):
    """Three kinds of features, each (D, D), against the exact ones."""
    exact = (five.edges, *features(five.graphs, five.posterior))
    return {
        f"{kind} {key}": value
        for kind, some, other in zip(KINDS, found, exact, strict=True)
        for key, value in agreement(some, other).items()
    }


def judge_distribution(five, q):
    """A method whose probability of every graph is known."""
    edges = np.tensordot(q, five.graphs, 1)
    found = judge(five, (edges, *features(five.graphs, q)))
    return {**found, "TV": float(total_variation(q, five.posterior))}


def entropy(five):
    """Of theta given G, mean over the exact posterior: exact conditionals have it."""
    return float(five.posterior @ five.exact.entropy(five.graphs))


PAPER_TARGET = {
    "model": "linear",
    "graph_prior": "uniform",
    "preprocess": None,
    "n_jobs": 1,
}


def row_of_default(five, sim):
    est = jspgfn.JSPGFN(**PAPER_TARGET, random_state=five.seed)
    seconds = fit(est, sim.X)
    q = np.exp(est.log_prob(five.graphs))
    return {"seconds": seconds, **judge_distribution(five, q), "theta": entropy(five)}


def row_of_chain(five, sim, n_moves):
    est = jspgfn.StructureMCMC(**PAPER_TARGET, random_state=five.seed, n_moves=n_moves)
    seconds = fit(est, sim.X)
    graphs = np.asarray(est.sample(N_STATES, random_state=0).graphs)
    found = (np.asarray(est.edge_probabilities()), *features(graphs))
    return {"seconds": seconds, **judge(five, found), "theta": entropy(five)}


def row_of_paper(five, settings, seconds):
    """The plan is cut to what the seconds allow."""
    trainer = five.est._engine.trainer
    _, used = train(trainer, 101, seconds)
    n_iter = min(settings["n_iter"], int(100 / used * seconds))
    trainer.set_schedule(0, n_iter, settings["gnn_options"]["exploration_start"])
    while trainer.iteration < n_iter and used < 1.2 * seconds:
        used += train(trainer, n_iter, seconds)[1]
    q = np.exp(terminal_log_prob(lambda g: trainer.policy(g, 1), 5))
    cross = five.exact.cross_entropy_of_head(five.graphs, trainer, five.kind)
    return {
        "seconds": used,
        **judge_distribution(five, q),
        "theta": float(five.posterior @ cross),
        "updates": trainer.iteration,
        "theta exact": entropy(five),
    }


def data_of_five(seed):
    return jspgfn.simulate.linear_gaussian(
        n_variables=5, n_samples=100, random_state=seed
    )


def run_five(options, cache):
    quick, rows = jspgfn.PAPER_QUICK, []
    for seed in options.data:
        five, sim = Five(seed, quick), data_of_five(seed)
        jobs = {"default": (row_of_default, five, sim)}
        jobs["chain"] = (row_of_chain, five, sim, options.moves)
        if seed in options.paper:
            jobs["published, quick"] = (row_of_paper, five, quick, options.seconds)
        for name, job in jobs.items():
            row = cache.row(f"five_{seed}_{name[:7]}", *job)
            rows.append({"seed": seed, "method": name, **row})
    show(means(rows, ("method",)))
    return {"rows": rows}


# --- minibatches of rows -------------------------------------------------------------


def run_rows(options, cache):
    """Other things equal: the rows of an update, of 100. Other data sets are kept."""
    rows = [r for r in stored("published_rows") if r["seed"] not in options.data]
    for seed in options.data:
        for n in (0, 50, 20):
            quick = dict(jspgfn.PAPER_QUICK)
            quick["gnn_options"] = {**quick["gnn_options"], "minibatch_rows": n}
            row = cache.row(
                f"rows_{seed}_{n}_{options.seconds}",
                *(row_of_paper, Five(seed, quick), quick, options.seconds),
            )
            rows.append({"seed": seed, "rows": n or 100, **row})
    rows.sort(key=lambda row: row["seed"])
    show(rows)
    return {"rows": rows}


# --- twenty variables ----------------------------------------------------------------

MODELS = {
    "linear": jspgfn.LinearGaussian(),
    "nonlinear": jspgfn.RandomFeatures(noise_scale=0.1**0.5),
}


def row_of_twenty(kind, seed, method, prior, seconds):
    simulate = getattr(
        jspgfn.simulate, "linear_gaussian" if kind == "linear" else "nonlinear_gaussian"
    )
    sim = simulate(n_variables=20, n_samples=200, random_state=seed)
    x, test = sim.X[:100], sim.X[100:]
    shared = {"graph_prior": prior, "n_jobs": 1, "random_state": seed}
    tables = {"max_parents": 3, "candidates": 12, "model": MODELS[kind]}
    begin = time.process_time()
    if method == "published, quick":
        est = jspgfn.JSPGFN(**{**jspgfn.PAPER_QUICK, **shared})
        fit_in(est, x, seconds)
    elif method == "exact":
        est = jspgfn.ExactPosterior(**shared, **tables).fit(x)
    else:
        est = jspgfn.JSPGFN(**shared, **tables).fit(x)
    seconds = time.process_time() - begin
    post = est.sample(N_DRAWS, random_state=0)
    edges = np.asarray((est if method == "exact" else post).edge_probabilities())
    return {
        "seconds": seconds,
        "log density": density(post, test)[0],
        "E-SHD": float(metrics.expected_shd(post, sim.graph).shd),
        "expected edges": float(edges.sum()),
        "true edges": int(sim.graph.sum()),
        "AUROC": metrics.auroc(edges, sim.graph),
        "matrix": edges.tolist(),
    }


def fit_in(est, x, seconds):
    """Of a plan that 100 updates show to fit into so many processor seconds."""
    est.set_params(n_iter=100)
    used = fit(est, x)
    est.set_params(n_iter=max(100, int(100 * seconds / used)))
    est.fit(x)


def run_twenty(options, cache):
    rows = []
    for seed in options.data:
        for kind in options.kinds:
            jobs = [("exact", "fair"), ("exact", "uniform")]
            if options.default is None or seed in options.default:
                jobs.append(("default", "uniform"))
            if kind == "linear" and seed in options.paper:
                jobs.append(("published, quick", "uniform"))
            for method, prior in jobs:
                row = cache.row(
                    f"twenty_{kind}_{seed}_{method[:7]}_{prior}",
                    row_of_twenty,
                    *(kind, seed, method, prior, options.seconds),
                )
                head = {"kind": kind, "seed": seed, "method": method, "prior": prior}
                rows.append({**head, **row})
    for row in rows:
        if row["method"] != "exact":
            exact = next(r for r in rows if is_exact_of(r, row))
            found = agreement(np.array(row["matrix"]), np.array(exact["matrix"]))
            row.update({f"edges {key}": value for key, value in found.items()})
    rows = [{k: v for k, v in row.items() if k != "matrix"} for row in rows]
    show(means(rows, ("kind", "method", "prior")))
    return {"rows": rows}


def is_exact_of(other, row):
    keys = ("kind", "seed", "prior")
    return other["method"] == "exact" and all(other[k] == row[k] for k in keys)


def means(rows, keys):
    """Over data sets, with their number; of figures that all rows of a group have."""
    groups = {}
    for row in rows:
        groups.setdefault(tuple(row[key] for key in keys), []).append(row)
    table = []
    for group, some in groups.items():
        names = [k for k in some[0] if k not in keys and k != "seed"]
        figures = {k: float(np.mean([row[k] for row in some])) for k in names}
        table.append(
            {**dict(zip(keys, group, strict=True)), "sets": len(some)} | figures
        )
    return table


def show(rows):
    """Rows that have some figures only."""
    keys = list(dict.fromkeys(key for row in rows for key in row))
    print_table([{key: row.get(key, "") for key in keys} for row in rows])


# --- page ----------------------------------------------------------------------------


def stored(name):
    path = HERE / "results" / f"{name}.json"
    return json.loads(path.read_text())["rows"] if path.exists() else []


def markdown(header, lines):
    if not lines:
        return "*Not measured yet.*"
    cells = [header, ["---"] * len(header), *lines]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in cells)


def worst(rows, kind):
    return max(row[f"{kind} largest"] for row in rows)


def table_of_five():
    rows = stored("published_five")
    lines = []
    for row in means(rows, ("method",)):
        tv = f"{row['TV']:.3f}" if "TV" in row else ""
        own = [r for r in rows if r["method"] == row["method"]]
        floor = np.mean([r.get("theta exact", r["theta"]) for r in own])
        lines.append(
            [
                row["method"],
                row["sets"],
                f"{row['seconds']:.1f}",
                *(f"{row[f'{k} rmse']:.4f} ({worst(own, k):.3f})" for k in KINDS),
                tv,
                f"{row['theta']:.3f} ({floor:.3f})",
            ]
        )
    header = ["method", "data sets", "s", "edges", "paths", "Markov blankets"]
    header += ["total variation", "cross-entropy of theta (least)"]
    return markdown(header, lines)


def table_of_twenty():
    """In brackets the exact posterior's figure on the same data sets."""
    rows = [{**r, "NLL": -r["log density"]} for r in stored("published_twenty")]
    lines = []

    def cell(row, key, digits):
        if row["method"] == "exact":
            return f"{row[key]:.{digits}f}"
        exact = [r[key] for r in rows if r["method"] == "exact" and is_like(r, row)]
        return f"{row[key]:.{digits}f} ({np.mean(exact):.{digits}f})"

    def is_like(other, row):
        seeds = {r["seed"] for r in rows if all(r[k] == row[k] for k in keys)}
        same = all(other[k] == row[k] for k in ("kind", "prior"))
        return same and other["seed"] in seeds

    keys = ("kind", "method", "prior")
    for row in means(rows, keys):
        lines.append(
            [
                *(row[key] for key in keys),
                row["sets"],
                f"{row['seconds']:.1f}",
                cell(row, "NLL", 3),
                cell(row, "E-SHD", 1),
                cell(row, "expected edges", 1),
                f"{row['true edges']:.1f}",
                cell(row, "AUROC", 3),
                f"{row['edges rmse']:.4f}" if "edges rmse" in row else "",
            ]
        )
    header = [
        "truth",
        "method",
        "graph prior",
        "data sets",
        "s",
        "held-out NLL per row",
    ]
    header += ["E-SHD", "expected edges", "true edges", "AUROC", "edge RMSE to exact"]
    return markdown(header, lines)


def table_of_rows():
    lines = [
        [
            row["seed"],
            row["rows"],
            f"{row['seconds']:.0f}",
            row["updates"],
            f"{row['TV']:.3f}",
            f"{row['edges rmse']:.3f}",
            f"{row['theta'] - row['theta exact']:.4f}",
        ]
        for row in stored("published_rows")
    ]
    header = ["data set", "rows of an update", "s", "updates", "total variation"]
    header += ["edge RMSE", "cross-entropy of theta above its least"]
    return markdown(header, lines)


def table_of_held_out(name):
    """Means over what was held out, relative to the linear model."""
    rows = stored(f"predict_{name}")
    lines = []
    for row in means_of_held(rows):
        lines.append(
            [
                row["model"],
                row["n"],
                f"{-row['held-out rows']:.3f}",
                f"{row['seen - linear']:+.3f} ({row['wins seen']})",
                f"{-row['held-out kind']:.3f}",
                f"{row['held - linear']:+.3f} ({row['wins held']})",
                f"{row['edges']:.1f}",
            ]
        )
    header = [
        "model",
        "held out",
        "NLL, new rows of seen kinds",
        "gain on linear (wins)",
    ]
    header += ["NLL, held-out intervention", "gain on linear (wins)", "edges"]
    return markdown(header, lines)


def means_of_held(rows):
    table = []
    for model in dict.fromkeys(row["model"] for row in rows):
        some = [row for row in rows if row["model"] == model]
        line = {"model": model, "n": len(some)}
        for key in ("held-out rows", "held-out kind", "edges"):
            line[key] = float(np.mean([row[key] for row in some]))
        for kind in ("seen", "held"):
            gains = np.array([row[f"{kind} - linear"] for row in some])
            line[f"{kind} - linear"] = float(gains.mean())
            line[f"wins {kind}"] = int((gains > 0).sum())
        table.append(line)
    return table


def run_page():
    text = PAGE.read_text(encoding="utf-8")
    drawn = {
        "five": table_of_five(),
        "twenty": table_of_twenty(),
        "rows": table_of_rows(),
        "sachs": table_of_held_out("sachs"),
        "perturb": table_of_held_out("perturb"),
    }
    for name, body in drawn.items():
        begin = f"<!-- {name}: drawn by benchmarks/published.py -->"
        end = f"<!-- end of {name} -->"
        before, rest = text.split(begin)
        text = before + begin + "\n\n" + body + "\n\n" + end + rest.split(end)[1]
    PAGE.write_text(text, encoding="utf-8")
    print(f"wrote {PAGE.relative_to(HERE.parent)}")


def main():
    commands = {"five": run_five, "twenty": run_twenty, "rows": run_rows}
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=[*commands, "page"])
    parser.add_argument("--data", type=int, nargs="+", default=list(range(20)))
    parser.add_argument("--paper", type=int, nargs="*", default=[0], help="data sets")
    parser.add_argument("--default", type=int, nargs="*", help="data sets of twenty")
    parser.add_argument("--seconds", type=float, default=60, help="published method")
    parser.add_argument("--moves", type=int, default=100_000_000, help="of the chain")
    parser.add_argument(
        "--kinds", nargs="+", choices=list(MODELS), default=list(MODELS)
    )
    parser.add_argument("--cache", type=pathlib.Path)
    options = parser.parse_args()
    if options.what == "page":
        run_page()
        return
    result = commands[options.what](options, Cache(options.cache))
    shown = {k: v for k, v in vars(options).items() if k != "cache"}
    write(f"published_{options.what}", settings=shown, **result)


if __name__ == "__main__":
    main()
