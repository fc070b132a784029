"""Total variation of the trained sampler over all 29,281 graphs of 5 variables.

    python benchmarks/accuracy.py

Ten simulated data sets, two graph priors. Total variation is half the sum of |q - p| over
all DAGs; exact answers come from the slow reference code of the tests. Larger problems
against the exact posterior: frontier.py; other methods beside it: the suite.
"""

import argparse
import time

import numpy as np

import jspgfn
from common import enumerated, local_scores, print_table, write


def one_fit(x, graph_prior, seed, args):
    graphs, exact, _ = enumerated(local_scores.tables(x, graph_prior=graph_prior))
    start = time.perf_counter()
    estimator = jspgfn.JSPGFN(
        model="linear",
        graph_prior=graph_prior,
        preprocess=None,
        max_time=args.time,
        n_jobs=args.n_jobs,
        random_state=seed,
    ).fit(x)
    seconds = time.perf_counter() - start
    q = np.exp(estimator.log_prob(graphs))
    return {
        "prior": graph_prior,
        "seed": seed,
        "total variation": np.abs(q - np.exp(exact)).sum() / 2,
        "sum of q - 1": q.sum() - 1,
        "seconds": seconds,
    }


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--time", type=float, default=10.0, help="seconds per fit")
    parser.add_argument("--n-jobs", type=int, default=2)
    parser.add_argument("--n-data", type=int, default=10)
    args = parser.parse_args()
    rows = []
    for graph_prior in ("uniform", "fair"):
        for seed in range(args.n_data):
            data = jspgfn.simulate.linear_gaussian(
                n_variables=5, n_samples=100, random_state=seed
            )
            rows.append(one_fit(np.asarray(data.X), graph_prior, seed, args))
    print_table(rows)
    distance = [row["total variation"] for row in rows]
    off = max(abs(row["sum of q - 1"]) for row in rows)
    summary = {
        "median": np.median(distance),
        "worst": max(distance),
        "sum of q, largest error": off,
    }
    print(f"total variation: median {summary['median']:.5f}, worst {max(distance):.5f}")
    print(f"sum of probabilities: 1 within {off:.1e}")
    write("accuracy", settings=vars(args), rows=rows, summary=summary)


if __name__ == "__main__":
    main()
