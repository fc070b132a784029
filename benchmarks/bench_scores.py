"""Speed of score tables: evidences, prior weights and sums over subsets.

    python benchmarks/bench_scores.py            all cases
    python benchmarks/bench_scores.py --quick    without 20 variables

Every case runs in a process of its own, so that peak memory is its own. "share" compares
with the rate at which this machine takes logarithms, one core, measured in the same run:
each entry of a linear table needs at least one or two for its evidence, and an exponential
and a logarithm for its subset sum. `make -C benchmarks/c` builds bench_scores, which times
evidences without the sums.
"""

import argparse
import json
import math
import resource
import subprocess
import sys
import time

import numpy as np

from common import print_table, write
from jspgfn import _core

CASES = [  # model, variables, max_parents, threads, rows
    ("linear", 12, None, 1, 200),
    ("linear", 16, None, 1, 200),
    ("linear", 16, 3, 1, 200),
    ("linear", 20, None, 1, 200),
    ("linear", 20, None, 2, 200),
    ("nig", 20, None, 2, 200),
    ("bge", 20, None, 2, 200),
    ("bdeu", 11, None, 1, 5400),
    ("bdeu", 11, None, 2, 5400),
]
LOGARITHMS = {"linear": 3, "nig": 4, "bge": 4}
TARGET_SECONDS = 2.0  # all subsets of 20 variables


def build(model, D, max_parents, n_threads, n_rows):
    """Seconds of one table and peak memory in MB."""
    rng = np.random.default_rng(0)
    x, n_states = rng.normal(size=(n_rows, D)), None
    if model == "bdeu":
        x, n_states = rng.integers(3, size=(n_rows, D)).astype(np.int32), [3] * D
    begin = time.perf_counter()
    scores = _core.Scores(
        x,
        None,
        model=model,
        model_fields={},
        graph_prior="fair",
        max_parents=[D - 1 if max_parents is None else max_parents] * D,
        candidates=[[i for i in range(D) if i != j] for j in range(D)],
        intercept=False,
        n_threads=n_threads,
        edge_log_odds=None,
        required=None,
        n_states=n_states,
    )
    seconds = time.perf_counter() - begin
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"seconds": seconds, "peak_MB": peak, "table_MB": scores.n_bytes / 1e6}


def log_rate():
    """Logarithms per second on an array that fits the cache."""
    x = np.linspace(0.5, 900, 4096)
    out = np.empty_like(x)
    best = math.inf
    for _ in range(200):
        begin = time.perf_counter()
        np.log(x, out=out)
        best = min(best, time.perf_counter() - begin)
    return len(x) / best


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case:
        print(json.dumps(build(*json.loads(options.case))))
        return
    rate = log_rate()
    rows = []
    for case in CASES:
        model, D, max_parents, n_threads, n_rows = case
        if options.quick and D == 20:
            continue
        command = [sys.executable, __file__, "--case", json.dumps(case)]
        runs = [
            json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
            for _ in range(3)
        ]
        best = min(runs, key=lambda run: run["seconds"])
        limit = D - 1 if max_parents is None else max_parents
        sets = D * sum(math.comb(D - 1, p) for p in range(limit + 1))
        entries = D * 2 ** (D - 1)
        share = "-"
        if model in LOGARITHMS and max_parents is None:
            share = LOGARITHMS[model] * entries / rate / n_threads / best["seconds"]
        rows.append(
            {
                "model": model,
                "D": D,
                "max_parents": limit,
                "rows": n_rows,
                "threads": n_threads,
                "evidences": sets,
                "seconds": best["seconds"],
                "million_per_s": sets / best["seconds"] / 1e6,
                "table_MB": best["table_MB"],
                "peak_MB": best["peak_MB"],
                "share": share,
            }
        )
    print(f"logarithms per second and core (arrays): {rate / 1e6:.0f} million\n")
    print_table(rows)
    full = [row for row in rows if row["D"] == 20 and row["threads"] == 2]
    for row in full:
        print(
            f"20 variables, {row['model']}: {TARGET_SECONDS / row['seconds']:.1f} "
            f"times faster than the target of {TARGET_SECONDS:g} s"
        )
    write("scores", log_rate=rate, rows=rows)


if __name__ == "__main__":
    main()
