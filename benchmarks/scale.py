"""The sampler at 50 to 400 variables, against two long tempered chains.

    python benchmarks/scale.py             D = 50, 100 and N = 100, 1000 (half an hour)
    python benchmarks/scale.py --quick     seconds: does it run at all
    python benchmarks/scale.py --variables 200 --rows 1000 --time 480 --suffix _200
    python benchmarks/scale.py --variables 50 --rows 100 --seeds 0 1 2 3 4 --n-jobs 1 \
        --n-iter 7000 --n-refined 1000 --chain-time 40 --diagnose-time 10 --suffix _50_100

No exact answer is known there. gap = mean of log R - log q over chain states minus the same
over draws: KL plus reverse KL, as far as the chains have seen the posterior. ESS is the
share of effective draws under their weights, fESS that of chain states. Acceptance is
that of full independence proposals, draws against chain states, all pairs of them. Edge
errors are against the mean of two separate runs of StructureMCMC, whose own difference and
largest split R-hat stand beside them; 10,000 draws alone have errors of about 0.002 (RMS).
Every case runs in a process of its own, so that memory is its own peak; seconds are wall
time, "us walk", "us draw" and "us refined" processor time of one walk of training, of one
draw, and of one of 3,000 that are refined (`refine=True`).
"""

import argparse
import itertools
import json
import subprocess
import sys
import time
import warnings

import numpy as np

import jspgfn
from common import peak_bytes, print_table, write
from jspgfn import _base, _core, _engine
from jspgfn._weights import forward_size


class Stopwatch:
    """Wall seconds of calls of functions that it stands in for."""

    def __init__(self):
        self.seconds = {}

    def around(self, name, function):
        def timed(*args, **settings):
            begin = time.perf_counter()
            result = function(*args, **settings)
            spent = time.perf_counter() - begin
            self.seconds[name] = self.seconds.get(name, 0.0) + spent
            return result

        return timed


def true_parents_outside(graph, candidates):
    return sum(
        int(graph[i, j])
        for j, row in enumerate(candidates)
        for i in set(range(len(graph))) - set(row)
    )


def acceptance(own, chain):
    """Mean of min(1, exp(own - chain)) over all pairs of log R - log q."""
    own, chain = np.sort(own), np.sort(chain)
    shift = chain.max()
    below = np.concatenate([[0.0], np.cumsum(np.exp(own - shift))])
    place = np.searchsorted(own, chain)  # draws below each chain state
    ratio = below[place] * np.exp(np.minimum(shift - chain, 700.0))
    return float(np.mean((ratio + len(own) - place) / len(own)))


def differ(a, b):
    off = ~np.eye(len(a), dtype=bool)
    d = np.abs(a - b)[off]
    return float(np.sqrt((d**2).mean())), float(d.max())


def run_chains(x, estimator, args):
    chains = []
    for seed in (1, 2):
        chain = jspgfn.StructureMCMC(
            args.model,
            graph_prior=estimator.graph_prior,
            preprocess=estimator.preprocess,
            candidates=dict(enumerate(estimator.candidates_)),
            n_chains=2,
            max_time=args.chain_time,
            n_jobs=args.n_jobs,
            random_state=seed,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", jspgfn.NotMixedWarning)
            chains.append(chain.fit(x))
    return chains


def fit(x, args):
    """A fitted sampler and the seconds of its phases."""
    watch = Stopwatch()
    _base.select_candidates = watch.around("candidates", _base.select_candidates)
    _core.Scores = watch.around("tables", _core.Scores)
    _engine.Engine.build = watch.around("start of chains", _engine.Engine.build)
    cpu = time.process_time()
    begin = time.perf_counter()
    estimator = jspgfn.JSPGFN(
        args.model,
        graph_prior=args.graph_prior,
        preprocess=None if args.model == "linear" else "auto",
        candidates=args.candidates,
        n_iter=args.n_iter,
        max_time=None if args.n_iter else args.time,
        n_policies=args.n_policies,
        n_jobs=args.n_jobs,
        random_state=0,
    ).fit(x)
    seconds = {**watch.seconds, "fit": time.perf_counter() - begin}
    seconds["start of chains"] -= seconds["tables"]  # built at the first access
    return estimator, seconds, time.process_time() - cpu


def one_case(n_variables, n_rows, seed, args):
    data = jspgfn.simulate.linear_gaussian(
        n_variables=n_variables, n_samples=n_rows, random_state=seed
    )
    estimator, seconds, cpu = fit(data.X, args)
    phase = estimator.history_["phase"]
    n_walks = 2 * estimator.batch_size * phase.sum()
    n_walks += estimator.batch_size * (phase == 0).sum()
    begin = time.process_time()
    posterior = estimator.sample(args.n_draws, random_state=1)
    us_draw = 1e6 * (time.process_time() - begin) / args.n_draws
    begin = time.process_time()
    refined = estimator.sample(args.n_refined, random_state=2, refine=True)
    us_refined = 1e6 * (time.process_time() - begin) / args.n_refined
    begin = time.perf_counter()
    estimator.edge_probabilities()
    seconds["edges"] = time.perf_counter() - begin
    begin = time.perf_counter()
    report = estimator.diagnose(max_time=args.diagnose_time)
    seconds["diagnose"] = time.perf_counter() - begin
    peak = peak_bytes()
    chains = run_chains(data.X, estimator, args)
    states = np.concatenate(
        [c.sample(args.n_states, random_state=3).graphs for c in chains]
    )
    on_chain = estimator.log_reward(states) - estimator.log_prob(states)
    own = posterior.log_reward - posterior.log_prob
    edges = [chain.edge_probabilities() for chain in chains]
    rms, largest = differ(posterior.graphs.mean(axis=0), sum(edges) / 2)
    refined_rms, _ = differ(refined.graphs.mean(axis=0), sum(edges) / 2)
    conditional_rms, refined_conditional_rms = (
        differ(np.asarray(estimator.edge_probabilities(draws=some)), sum(edges) / 2)[0]
        for some in (posterior, refined)
    )
    chain_rms, chain_largest = differ(*edges)
    return {
        "D": n_variables,
        "N": n_rows,
        "prior": args.graph_prior,
        "data set": seed,
        "outside": true_parents_outside(data.graph, estimator.candidates_),
        "updates": estimator.n_iter_,
        "policies": estimator.n_policies_,
        **{f"s {name}": value for name, value in seconds.items()},
        "cpu s": cpu,
        "us walk": 1e6 * cpu / n_walks,
        "us draw": us_draw,
        "us refined": us_refined,
        "MB": peak / 2**20,
        "parameters": estimator._engine.trainer.n_parameters,
        "verdict": report.verdict,
        "gap": float(on_chain.mean() - own.mean()),
        "gap median": float(np.median(on_chain) - np.median(own)),
        "ESS": float(1 / (posterior.weights**2).sum() / len(own)),
        "fESS": forward_size(on_chain),
        "acceptance": acceptance(own, on_chain),
        "edge RMS": rms,
        "edge max": largest,
        "refined RMS": refined_rms,
        "conditional RMS": conditional_rms,
        "refined conditional RMS": refined_conditional_rms,
        "chains RMS": chain_rms,
        "chains max": chain_largest,
        "R-hat": max(float(c.diagnostics().r_hat_max) for c in chains),
    }


def run_apart(*case):
    """One case in a process of its own, with the arguments of this one."""
    arguments = [*sys.argv[1:], "--case", *map(str, case)]
    done = subprocess.run(
        [sys.executable, __file__, *arguments], stdout=subprocess.PIPE, check=True
    )
    return json.loads(done.stdout)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--model", default="linear", choices=["linear", "bge", "nig"])
    parser.add_argument("--graph-prior", default="uniform", choices=["uniform", "fair"])
    parser.add_argument("--variables", type=int, nargs="+", default=[50, 100])
    parser.add_argument("--rows", type=int, nargs="+", default=[100, 1000])
    parser.add_argument("--candidates", type=int, default=12)
    parser.add_argument(
        "--time",
        type=float,
        help="seconds per fit; default 120 at 50 variables, 240 at 100",
    )
    parser.add_argument("--n-iter", type=int, help="updates instead of a time")
    parser.add_argument("--n-policies", type=int, help="default: what JSPGFN chooses")
    parser.add_argument("--chain-time", type=float, default=60.0)
    parser.add_argument("--diagnose-time", type=float, default=60.0)
    parser.add_argument("--n-jobs", type=int, default=2)
    parser.add_argument("--n-draws", type=int, default=10_000)
    parser.add_argument("--n-refined", type=int, default=3000)
    parser.add_argument("--n-states", type=int, default=1000, help="per chain run")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="data sets")
    parser.add_argument("--suffix", default="", help="of the name of the results")
    parser.add_argument("--case", type=int, nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.quick:
        args.variables, args.n_draws, args.n_refined = [30], 1000, 100
        args.n_iter, args.chain_time, args.n_states = args.n_iter or 300, 2.0, 300
        args.diagnose_time = 2.0
    if args.case:
        if args.time is None:
            args.time = 2.4 * args.case[0]
        print(json.dumps(one_case(*args.case, args)))
        return
    rows = []
    for case in itertools.product(args.variables, args.rows, args.seeds):
        rows.append(run_apart(*case))
        print_table([{"": k, "value": v} for k, v in rows[-1].items()])
        print(flush=True)
    if not args.quick:
        write(f"scale_{args.model}{args.suffix}", settings=vars(args), rows=rows)


if __name__ == "__main__":
    main()
