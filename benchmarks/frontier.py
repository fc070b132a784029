"""Default sampler against the exact posterior, by size of problem and time of the fit.

    python benchmarks/frontier.py [--group five eight ...] [--n-jobs N] [--stretch X]

Groups: `five`, `eight`, `proteins`, `twelve`, `sixteen`, `twenty`, `peaked`. Simulated data
alternate 1 and 2 edges per node and the priors `uniform` and `fair`; `peaked` has modes
that lie far apart (standardised data with fixed noise, proteins with interventions). Times
are wall seconds of the whole fit, times --stretch (1.8 makes one thread equal to two).
Columns: KL = log Z - mean(log R - log q) with its error, the median, sample sizes of own
draws (ESS) and of 20,000 exact draws (fESS), share of exact draws that are missed, error
of log Z by importance sampling, edge RMSE of all draws in units of as many exact ones, raw
and weighted; `chain` = edge RMSE of StructureMCMC in the same time (up to 10 s).
"""

import argparse
import statistics
import time
import warnings

import numpy as np

import jspgfn
import measure
from common import print_table, write


def simulated(n_variables, n):
    priors = ("uniform", "fair")
    return [f"d{n_variables:02d}_e{1 + k % 2}_{k}_{priors[k % 2]}" for k in range(n)]


GROUPS = {  # problems, seconds, draws
    "five": (simulated(5, 6), 3, 100_000),
    "eight": (simulated(8, 6), 3, 100_000),
    "proteins": (["sachs"], 5, 100_000),
    "twelve": (simulated(12, 5), 10, 100_000),
    "sixteen": (simulated(16, 5), 30, 50_000),
    "twenty": (simulated(20, 5), 60, 20_000),
    "peaked": (
        [
            "peaked_d08_n500_0",
            "peaked_d12_n200_0",
            "peaked_d12_n500_1",
            "sachs_int_bge",
            "sachs_int_nig",
            "sachs_int_bdeu",
        ],
        15,
        50_000,
    ),
}


def fit_and_measure(name, seconds, n_draws, n_jobs):
    given = measure.problem(name)
    _, exact = measure.solve(given, n_jobs)
    settings = {**given.settings, "n_jobs": n_jobs, "random_state": 0}
    est = jspgfn.JSPGFN(**settings, max_time=seconds)
    est.fit(given.x, interventions=given.mask)

    def sample(n):
        post = est.sample(n, random_state=1)
        return post.graphs, post.log_prob, post.log_reward

    found = measure.measure(sample, est.log_prob, exact, n_draws)
    chain = jspgfn.StructureMCMC(**settings, max_time=min(seconds, 10))
    chain.fit(given.x, interventions=given.mask)
    edges = np.asarray(chain.edge_probabilities())
    own = found["edges/floor"] * exact.floor / np.sqrt(n_draws)
    return {
        "problem": name,
        "updates": est.n_iter_,
        **found,
        "own": own,
        "chain": measure.rmse(edges, exact.edges),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--group", nargs="+", choices=GROUPS, default=list(GROUPS))
    parser.add_argument("--n-jobs", type=int, default=2)
    parser.add_argument("--stretch", type=float, default=1.0)
    args = parser.parse_args()
    warnings.simplefilter("ignore", jspgfn.JspgfnWarning)
    results = {}
    for group in args.group:
        names, seconds, n_draws = GROUPS[group]
        begin = time.perf_counter()
        rows = [
            fit_and_measure(name, seconds * args.stretch, n_draws, args.n_jobs)
            for name in names
        ]
        medians = {"problem": "median", "updates": ""}
        for key in list(rows[0])[2:]:
            medians[key] = statistics.median(row[key] for row in rows)
        print(
            f"\n{group}: fits of {seconds * args.stretch:g} s, {args.n_jobs} threads "
            f"({time.perf_counter() - begin:.0f} s in all)"
        )
        print_table([*rows, medians])
        results[group] = rows
    write("frontier", n_jobs=args.n_jobs, stretch=args.stretch, groups=results)


if __name__ == "__main__":
    main()
