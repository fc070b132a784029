"""Speed and memory of the exact posterior, score tables not included.

    python benchmarks/bench_exact.py                   8 to 20 variables
    python benchmarks/bench_exact.py --sizes 22 24     minutes, 2 and 8 GB

Each line is a process of its own. Kinds of data, all with 100 rows unless said:

    er1, er2   random graphs with 1 and 2 edges per node, fair prior
    dense      er1 with the uniform prior, under which graphs have many edges
    peaked     standardised columns, 500 rows, noise fixed too small: far-apart modes
    flat       12 rows of pure noise, fair prior: hardly anything can be left out

"backward" and "forward" are the two passes, "other" are sums over parent sets; "CPU" is
the processor time of all threads, to be trusted where other programs run as well.
"terms" counts both passes, "of 3^D" its share of all terms. "cut Z" bounds the relative
error of Z, "cut P" the error of probabilities, by terms that were left out. "limit" is
the rate of both passes per CPU second over the rate at which this machine fetches 16-byte
records at random from a table of 2^D, measured in the same process: every term needs one
such fetch, in an order that is kinder than random (it can exceed 1).
"""

import argparse
import json
import subprocess
import sys
import time
import warnings

import numpy as np

import jspgfn
from common import fetch_rate, peak_bytes, print_table, write
from jspgfn import _core

# Share of the work at which the stages tables, orders, backward, forward, parents end.
STAGE_ENDS = np.array([0.1, 0.15, 0.55, 0.9, 1.0])

KINDS = ("er1", "er2", "dense", "peaked", "flat")


def data_of(kind, D):
    rows = {"peaked": 500, "flat": 12}.get(kind, 100)
    if kind == "flat":
        return np.random.default_rng(1).normal(size=(rows, D))
    x = np.asarray(
        jspgfn.simulate.linear_gaussian(
            n_variables=D,
            n_samples=rows,
            edges_per_node=2.0 if kind in ("er2", "peaked") else 1.0,
            random_state=1,
        ).X
    )
    return (x - x.mean(axis=0)) / x.std(axis=0) if kind == "peaked" else x


def make_scores(kind, D, n_threads):
    return _core.Scores(
        np.ascontiguousarray(data_of(kind, D)),
        None,
        model="bge" if kind == "flat" else "linear",
        model_fields={},
        graph_prior="uniform" if kind in ("dense", "peaked") else "fair",
        max_parents=[D - 1] * D,
        candidates=[[i for i in range(D) if i != j] for j in range(D)],
        intercept=kind != "flat",
        n_threads=n_threads,
        edge_log_odds=None,
        required=None,
        n_states=None,
    )


def measure(kind, D, n_threads):
    begin = time.perf_counter()
    scores = make_scores(kind, D, n_threads)
    tables = time.perf_counter() - begin
    limit = fetch_rate(1 << D, complex)
    wall, cpu = np.zeros(5), np.zeros(5)
    begin = time.perf_counter()
    exact = _core.Exact(scores, posterior=True, n_threads=n_threads)
    create = time.perf_counter() - begin
    share = 0.0
    while share < 1:
        stage = int(np.searchsorted(STAGE_ENDS, share, side="right"))
        at = time.perf_counter(), time.process_time()
        share = exact.step(1)
        wall[stage] += time.perf_counter() - at[0]
        cpu[stage] += time.process_time() - at[1]
    report = exact.report()
    terms = report["n_terms_backward"] + report["n_terms_forward"]
    rate = terms / max(cpu[2] + cpu[3], 1e-9)
    return {
        "D": D,
        "data": kind,
        "threads": n_threads,
        "score tables s": tables,
        "backward s": wall[2],
        "forward s": wall[3],
        "other s": create + wall[0] + wall[1] + wall[4],
        "total s": create + wall.sum(),
        "CPU s": cpu.sum(),
        "terms": f"{terms:.3g}",
        "of 3^D": f"{report['n_terms_backward'] / 3.0**D:.3f}",
        "terms/CPU s": f"{rate:.3g}",
        "limit": rate / limit,
        "cut Z": f"{report['cut_partition']:.1g}",
        "cut P": f"{report['cut_posterior']:.1g}",
        "peak GB": peak_bytes() / 2**30,
    }


def measure_apart(kind, D, n_threads):
    call = [sys.executable, __file__, "--one", kind, str(D), str(n_threads)]
    done = subprocess.run(call, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[8, 12, 16, 18, 20])
    parser.add_argument("--kinds", nargs="+", default=KINDS, choices=KINDS)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--one", nargs=3, metavar=("KIND", "D", "THREADS"))
    options = parser.parse_args()
    if options.one:
        warnings.simplefilter("ignore", jspgfn.JspgfnWarning)
        kind, D, n_threads = options.one
        print(json.dumps(measure(kind, int(D), int(n_threads))))
        return
    rows = [
        measure_apart(kind, D, n_threads)
        for D in options.sizes
        for kind in options.kinds
        for n_threads in options.threads
    ]
    print_table(rows)
    write("exact", settings=vars(options), rows=rows)


if __name__ == "__main__":
    main()
