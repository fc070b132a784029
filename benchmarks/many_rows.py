"""Local scores of many rows in one pass: a table in memory, a memory-mapped file, batches.

    python benchmarks/many_rows.py             10^6 rows, 20 variables (a minute)
    python benchmarks/many_rows.py --quick     seconds: does it run at all

Each case runs in a process of its own, on one thread: processor seconds from the table to
score tables of 3 parents at most (of bdeu the reading alone), how far peak memory rose
(pages of a mapped file count, as long as nobody else wants them), and gigabytes
of table per second, beside the rate at which NumPy sums the same table (memory speed).
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time

import numpy as np

import jspgfn
from common import peak_bytes, print_table, write

ROWS_OF_BATCH = 10_000


def table(n_rows, n_variables, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n_rows, n_variables))
    x[:, 1:] += 0.5 * x[:, :-1]
    return x


def batches(path):
    mapped = np.load(path, mmap_mode="r")
    for first in range(0, len(mapped), ROWS_OF_BATCH):
        yield np.array(mapped[first : first + ROWS_OF_BATCH])


def one_case(kind, path):
    estimator = jspgfn.StructureMCMC(
        "bdeu" if "bdeu" in kind else "bge",
        max_parents=3,
        candidates=12,
        n_jobs=1,
        random_state=0,
    )
    x = np.load(path, mmap_mode=None if "in memory" in kind else "r")
    if "bdeu" in kind:
        x = np.array((x > 0).astype(np.int8))
    before = peak_bytes()
    begin = time.process_time()
    if kind == "batches":
        x = jspgfn.SufficientStatistics.from_batches(batches(path), n_jobs=1)
    elif kind == "bdeu batches":
        parts = (x[k : k + ROWS_OF_BATCH] for k in range(0, len(x), ROWS_OF_BATCH))
        x = jspgfn.SufficientStatistics.from_batches(parts, discrete=True)
    problem = estimator._check_problem(x, None)
    read = seconds = time.process_time() - begin
    score = np.nan
    if "bdeu" not in kind:  # whose tables count states, and take minutes
        estimator._start(problem, x)
        score = estimator._tables.scores.local_scores(0)[0]
        seconds = time.process_time() - begin
    peak = peak_bytes() - before
    begin = time.process_time()
    np.load(path).sum()
    flat = time.process_time() - begin
    return {
        "table": kind,
        "s read": read,
        "s in all": seconds,
        "MB": peak / 2**20,
        "GB/s": os.path.getsize(path) / 1e9 / seconds,
        "load and sum GB/s": os.path.getsize(path) / 1e9 / flat,
        "score": float(score),
    }


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--variables", type=int, default=20)
    parser.add_argument("--case", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.case:
        print(json.dumps(one_case(*args.case)))
        return
    if args.quick:
        args.rows = 300_000
    kinds = ["in memory", "memory-mapped", "batches", "bdeu in memory", "bdeu batches"]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "table.npy")
        np.save(path, table(args.rows, args.variables))
        for kind in kinds:
            done = subprocess.run(
                [sys.executable, __file__, "--case", kind, path],
                stdout=subprocess.PIPE,
                check=True,
            )
            rows.append(json.loads(done.stdout))
    print_table(rows)
    if not args.quick:
        write("many_rows", settings=vars(args), rows=rows)


if __name__ == "__main__":
    main()
