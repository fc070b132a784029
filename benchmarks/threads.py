"""Time of the same fit with one and with two threads, interleaved.

    python benchmarks/threads.py

Prints the ratio of the medians, and of the least times, which other programs on the
machine disturb less. Results are the same bits, so both do the same work. Only ratios are
meant to be compared between machines.
"""

import argparse
import time

import numpy as np

import jspgfn
from common import print_table, write


def fit(x, n_jobs, args):
    start = time.perf_counter()
    estimator = jspgfn.JSPGFN(
        model="linear",
        graph_prior="fair",
        candidates=args.candidates,
        n_iter=args.n_iter,
        n_jobs=n_jobs,
        random_state=0,
    ).fit(x)
    return estimator, time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--n-variables", type=int, default=20)
    parser.add_argument("--candidates", type=int, default=12)
    parser.add_argument("--n-iter", type=int, default=300)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    data = jspgfn.simulate.linear_gaussian(
        n_variables=args.n_variables, n_samples=100, random_state=0
    )
    x = np.asarray(data.X)
    seconds = {1: [], args.threads: []}
    probabilities = {}
    for _ in range(args.repeats):
        for n_jobs in seconds:
            estimator, taken = fit(x, n_jobs, args)
            seconds[n_jobs].append(taken)
            probabilities[n_jobs] = estimator.sample(100, random_state=1).log_prob
    median = {n_jobs: float(np.median(taken)) for n_jobs, taken in seconds.items()}
    ratio = median[1] / median[args.threads]
    ratio_of_least = min(seconds[1]) / min(seconds[args.threads])
    same = bool(np.array_equal(*probabilities.values()))
    print_table(
        [
            {"threads": n, "median s": median[n], "least s": min(seconds[n])}
            for n in seconds
        ]
    )
    print(f"ratio of medians {ratio:.2f}, of least times {ratio_of_least:.2f}")
    print(f"same draws: {same}")
    write(
        "threads",
        settings=vars(args),
        seconds=seconds,
        ratio=ratio,
        ratio_of_least=ratio_of_least,
        same_draws=same,
    )


if __name__ == "__main__":
    main()
