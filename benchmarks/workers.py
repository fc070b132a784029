"""One process against two workers of joblib: tables of "mlp" and restarts of a sampler.

    python benchmarks/workers.py             a minute or two
    python benchmarks/workers.py --quick     seconds: does it run at all

Wall seconds, the best of several rounds in which all cases take turns; each case does the
same work to the same bits, which is checked.
"""

import argparse
import contextlib
import time

import joblib
import numpy as np

import jspgfn
from common import print_table, write
from jspgfn import _spread


def make_tables(sim, args):
    _spread.MEMORY.clear()
    model = jspgfn.MLPGaussian(effort=args.effort)
    est = jspgfn.StructureMCMC(
        model, max_parents=2, n_moves=1000, n_jobs=1, random_state=0
    )
    est._start(est._check_problem(sim.X, None), sim.X)
    return est._tables.scores and est._tables.evidences


def fit(x, seed, n_iter):
    est = jspgfn.JSPGFN("nig", n_iter=n_iter, n_jobs=1, random_state=seed).fit(x)
    return est.log_prob(np.zeros(2 * (x.shape[1],)))


def restart(sim, args):
    run = joblib.Parallel()
    fits = run(joblib.delayed(fit)(sim.X, k, args.n_iter) for k in range(8))
    return np.concatenate(fits)


@contextlib.contextmanager
def nothing():
    yield


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--effort", type=float, default=0.5)
    parser.add_argument("--n-iter", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    if args.quick:
        args.effort, args.n_iter, args.rounds = 0.05, 50, 1
    sim = jspgfn.simulate.nonlinear_gaussian(
        n_variables=10, n_samples=100, random_state=0
    )
    contexts = {
        "one process": nothing,
        "loky, 2": lambda: joblib.parallel_config("loky", n_jobs=2),
    }
    with contextlib.ExitStack() as stack:
        try:
            import distributed

            cluster = stack.enter_context(
                distributed.LocalCluster(
                    n_workers=2, threads_per_worker=1, dashboard_address=None
                )
            )
            stack.enter_context(distributed.Client(cluster))
            contexts["dask, 2"] = lambda: joblib.parallel_config("dask")
        except ImportError:
            print("dask.distributed is not installed: left out")
        seconds = {}
        for round_ in range(args.rounds + 1):  # the first one starts the workers
            for name, context in contexts.items():
                for work in (make_tables, restart):
                    with context():
                        begin = time.perf_counter()
                        result = work(sim, args)
                        spent = time.perf_counter() - begin
                    key = work.__name__
                    if name == "one process":
                        seconds.setdefault(("bits", key), result)
                    assert (seconds["bits", key] == result).all(), (name, key)
                    if round_:
                        seconds.setdefault((name, key), []).append(spent)
    rows = []
    for name in contexts:
        tables, restarts = (min(seconds[name, k]) for k in ("make_tables", "restart"))
        alone = [min(seconds["one process", k]) for k in ("make_tables", "restart")]
        rows.append(
            {
                "workers": name,
                "s tables": tables,
                "times faster": alone[0] / tables,
                "s restarts": restarts,
                "times faster ": alone[1] / restarts,
            }
        )
    print_table(rows)
    if not args.quick:
        write("workers", settings=vars(args), rows=rows)


if __name__ == "__main__":
    main()
