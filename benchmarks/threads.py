"""Time of the same fit and of the same draws with one thread and with several, interleaved.

    python benchmarks/threads.py                      one and two threads, a minute
    python benchmarks/threads.py --threads 2 4 8 16 --suffix _16
    python benchmarks/threads.py --n-variables 50 --n-policies 6 --threads 2 4 8 16

Prints the ratio of the medians, and of the least times, which other programs on the
machine disturb less. Results are the same bits, so all do the same work. Only ratios are
meant to be compared between machines.
"""

import argparse
import time

import numpy as np

import jspgfn
from common import print_table, write


def timed(function):
    start = time.perf_counter()
    result = function()
    return result, time.perf_counter() - start


def one_round(x, n_jobs, args):
    """Seconds of a fit and of draws, and something that tells whether bits are the same."""
    estimator = jspgfn.JSPGFN(
        model="linear",
        graph_prior="fair",
        candidates=args.candidates,
        n_iter=args.n_iter,
        n_policies=args.n_policies,
        n_jobs=n_jobs,
        random_state=0,
    )
    _, fit = timed(lambda: estimator.fit(x))
    posterior, draws = timed(lambda: estimator.sample(args.n_draws, random_state=1))
    return {"fit": fit, "draws": draws}, posterior.log_prob


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--n-variables", type=int, default=20)
    parser.add_argument("--candidates", type=int, default=12)
    parser.add_argument("--n-iter", type=int, default=300)
    parser.add_argument("--n-policies", type=int, default=1)
    parser.add_argument("--n-draws", type=int, default=10_000)
    parser.add_argument("--threads", type=int, nargs="+", default=[2])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--suffix", default="", help="of the name of the results")
    args = parser.parse_args()
    data = jspgfn.simulate.linear_gaussian(
        n_variables=args.n_variables, n_samples=100, random_state=0
    )
    x = np.asarray(data.X)
    seconds = {n_jobs: [] for n_jobs in (1, *args.threads)}
    log_prob = {}
    for _ in range(args.repeats):
        for n_jobs, rounds in seconds.items():
            taken, log_prob[n_jobs] = one_round(x, n_jobs, args)
            rounds.append(taken)
    rows = []
    for n_jobs, rounds in seconds.items():
        row = {"threads": n_jobs}
        for what in ("fit", "draws"):
            one = [taken[what] for taken in seconds[1]]
            these = [taken[what] for taken in rounds]
            row[f"{what}, median s"] = float(np.median(these))
            row[f"{what}, least s"] = min(these)
            row[f"{what}, ratio"] = float(np.median(one) / np.median(these))
            row[f"{what}, ratio of least"] = min(one) / min(these)
        row["same draws"] = bool(np.array_equal(log_prob[n_jobs], log_prob[1]))
        rows.append(row)
    print_table(rows)
    write(f"threads{args.suffix}", settings=vars(args), rows=rows)


if __name__ == "__main__":
    main()
