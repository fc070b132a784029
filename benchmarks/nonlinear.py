"""Non-linear models: accuracy of evidences and posteriors, speed, prediction.

    python benchmarks/nonlinear.py evidence|graphs|speed|protocol|real

Prints only. Times are processor seconds of one thread.
"""

import argparse
import time

import numpy as np
from scipy.special import logsumexp

import jspgfn
from common import print_table
from jspgfn import _core

# A node's place names its random stream: empty columns in front give further streams.
STREAMS = 4


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
    return scores.evidence(node + stream, [i + stream for i in parents])


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


def run_evidence(options):
    rows = []
    for name, x, noise_scale, node, parents in evidence_cases(options.pairs, 1):
        case = (x, node, parents)
        begin = time.process_time()
        errors = [evidence(*case, options.effort, s, noise_scale) for s in (0, 1)]
        seconds = (time.process_time() - begin) / 2
        long = [
            evidence(*case, options.long, 2 + s, noise_scale) for s in range(STREAMS)
        ]
        exact = logsumexp(long) - np.log(STREAMS)
        base = evidence(*case[:2], [], 4.0, 1, noise_scale)
        rows.append((name, len(parents), seconds, exact - base, np.ptp(long), *errors))
        rows[-1] += (exact,)
    for name in ("nonlinear", "linear", "sachs", "all"):
        for size in (1, 2, 3, 0):
            chosen = [
                r
                for r in rows
                if name in (r[0], "all") and (size in (r[1], 0) or name == "all")
            ]
            if (name == "all" and size) or not chosen:
                continue
            error = np.abs([[r[5] - r[7], r[6] - r[7]] for r in chosen])
            report.append(
                {
                    "data": name,
                    "parents": size or "all",
                    "sets": len(chosen),
                    "ms": 1000 * np.mean([r[2] for r in chosen]),
                    "median": float(np.median(error)),
                    "95 %": float(np.quantile(error, 0.95)),
                    "largest": float(error.max()),
                    "rms": float(np.sqrt(np.mean(error**2))),
                    "spread of long": float(np.quantile([r[4] for r in chosen], 0.9)),
                }
            )
    print_table(report)


report = []


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["evidence"])
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--effort", type=float, default=1.0)
    parser.add_argument("--long", type=float, default=40.0)
    options = parser.parse_args()
    {"evidence": run_evidence}[options.what](options)


if __name__ == "__main__":
    main()
