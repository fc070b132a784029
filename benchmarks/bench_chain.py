"""Speed of structure MCMC, and its edge errors over CPU time.

    python benchmarks/bench_chain.py speed      proposals per second and core
    python benchmarks/bench_chain.py easy       12, 16 and 20 variables, one broad mode
    python benchmarks/bench_chain.py peaked     far-apart modes: noise fixed too small
    python benchmarks/bench_chain.py sachs      protein data with interventions
    python benchmarks/bench_chain.py all

In `speed`, "limit" is the share of the rate at which one core takes doubles at random
from a table of the size of all scores, measured in the same run: a move needs one or two.

Plain and default (tempered) chains run on one thread; times are CPU seconds of the process
from the start of the fit, tables aside. RMSE is the root mean square over all D^2 entries
of the estimated minus the exact edge probability. "count" is the error of the share of
states that have an edge, "edge RMSE" that of `StructureMCMC.edge_probabilities`, at the
last time. "mixed" is the chain's own verdict, "R-hat" its largest split R-hat.

--cases FOLDER adds cases in the format of tests/cases, --discretised FILE a csv of
discrete protein levels with the columns of load_sachs and one named target.
"""

import argparse
import time
import warnings

import numpy as np

import jspgfn
from common import cases, fetch_rate, peak_bytes, print_table, write
from jspgfn import _core

SECONDS = (0.1, 0.3, 1.0, 3.0, 10.0)
TARGET_RATE = 50e6
TARGET_RMSE = 0.005


def simulate(n_variables, n_samples, edges_per_node, seed):
    return np.asarray(
        jspgfn.simulate.linear_gaussian(
            n_variables=n_variables,
            n_samples=n_samples,
            edges_per_node=edges_per_node,
            random_state=seed,
        ).X
    )


def standardise(x):
    return (x - x.mean(axis=0)) / x.std(axis=0)


# --- exact answers -------------------------------------------------------------------


def exact_edges(x, mask, settings):
    exact = jspgfn.ExactPosterior(**settings)
    return np.asarray(quiet(exact.fit, x, interventions=mask).edge_probabilities())


# --- speed ---------------------------------------------------------------------------


def start(x, **settings):
    return quiet(
        jspgfn.StructureMCMC(
            jspgfn.LinearGaussian(),
            graph_prior="uniform",
            preprocess=None,
            n_jobs=1,
            n_moves=100_000,
            random_state=0,
            **settings,
        ).fit,
        x,
    )


def count_moves(x, seconds, **settings):
    """Moves per CPU second of one thread, start and tables aside."""
    chain = start(x, **settings)
    rates = []
    for _ in range(5):
        moves, begin = chain.n_moves_, time.process_time()
        quiet(chain.resume, max_time=seconds / 5)
        rates.append((chain.n_moves_ - moves) / (time.process_time() - begin))
    return np.array(rates)


def count_bare_moves(x, seconds):
    """The same of a plain chain that looks at its state once in a million moves."""
    scores = start(x)._tables.scores
    settings = {"n_chains": 1, "n_temperatures": 1, "ratio": 0.5, "seed": 0}
    settings |= {"hot_moves": 1, "n_batches": 2, "n_stored": 2, "n_threads": 1}
    chains = _core.Chains(scores, cold_moves=1_000_000, **settings)
    rates, begin = [], time.process_time()
    while time.process_time() - begin < seconds:
        before = time.process_time()
        chains.step(1)
        rates.append(1e6 / (time.process_time() - before))
    return np.array(rates)


def speed(args):
    """Proposals per second and core: bare moves, and with looks, plain and tempered."""
    rows = []
    for n_variables in (8, 12, 16):
        for edges_per_node in (1, 2):
            x = simulate(n_variables, 100, edges_per_node, 0)
            limit = fetch_rate(n_variables << (n_variables - 1), float)
            for name in ("bare", "plain", "tempered"):
                if name == "bare":
                    rates = count_bare_moves(x, args.time)
                else:
                    n_temperatures = 1 if name == "plain" else 20
                    rates = count_moves(x, args.time, n_temperatures=n_temperatures)
                rows.append(
                    {
                        "D": n_variables,
                        "edges per node": edges_per_node,
                        "chain": name,
                        "million/s": np.median(rates) / 1e6,
                        "best": rates.max() / 1e6,
                        "ns per move": 1e9 / np.median(rates),
                        "share of 50 million": np.median(rates) / TARGET_RATE,
                        "limit": np.median(rates) / limit,
                        "peak MB": peak_bytes() / 2**20,
                    }
                )
    print_table(rows)
    return {"rows": rows}


# --- errors over CPU time ------------------------------------------------------------


def quiet(function, *arguments, **settings):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", jspgfn.JspgfnWarning)
        return function(*arguments, **settings)


def rmse(a, b):
    return float(np.sqrt(((np.asarray(a) - b) ** 2).mean()))


def errors_over_time(x, mask, exact, settings, seed, seconds, **changes):
    """One row: RMSE at each time, and what the chain says at the end."""
    chain = jspgfn.StructureMCMC(
        **settings, n_jobs=1, random_state=seed, n_moves=1, **changes
    )
    quiet(chain.fit, x, interventions=mask)
    row, begin = {}, time.process_time()
    for until in seconds:
        while (left := until - (time.process_time() - begin)) > 0:
            quiet(chain.resume, max_time=max(left, 0.005))
        row[f"{until:g} s"] = rmse(chain.edge_probabilities(), exact)
    record = chain._record
    kept = slice(record.first_batch, None)
    total = len(record.counts) * record.rounds[kept].sum()
    report = chain.diagnostics()
    row["count"] = rmse(record.counts[:, kept].sum(axis=(0, 1)) / total, exact)
    row["R-hat"] = report.r_hat_max
    row["mixed"] = report.mixed
    return row


def compare(problems, args):
    """Plain and tempered chains on each problem (name, x, mask, settings, exact)."""
    rows = []
    for name, x, mask, settings, exact in problems:
        if exact is None:
            exact = exact_edges(x, mask, settings)
        for seed in range(args.n_seeds):
            for chain, changes in (("plain", {"n_temperatures": 1}), ("tempered", {})):
                times = [s for s in SECONDS if s <= args.time]
                row = errors_over_time(x, mask, exact, settings, seed, times, **changes)
                rows.append({"data": name, "seed": seed, "chain": chain, **row})
    print_table(rows)
    tempered = [row for row in rows if row["chain"] == "tempered"]
    plain = [row for row in rows if row["chain"] == "plain"]
    summary = {}
    if rows:
        last = next(key for key in reversed(rows[0]) if key.endswith(" s"))
        worst = max(row[last] for row in tempered)
        ratios = [t[last] / p[last] for t, p in zip(tempered, plain, strict=True)]
        summary = {
            "worst tempered RMSE": worst,
            "within the target": worst < TARGET_RMSE,
            "median tempered / plain": float(np.median(ratios)),
            "largest tempered / plain": max(ratios),
            "wrong and called mixed": sum(
                row["mixed"] and row[last] > 2 * TARGET_RMSE for row in rows
            ),
        }
        print("\n".join(f"{key}: {value}" for key, value in summary.items()))
    return {"rows": rows, "summary": summary}


def from_folder(args, words):
    """Cases of --cases whose names hold one of these words."""
    if args.cases is None:
        return
    cases.DIRECTORY = args.cases
    for path in sorted(args.cases.glob("*/config.json")):
        name = path.parent.name
        if not any(word in name for word in words):
            continue
        case = cases.load(name)
        settings = {
            "model": jspgfn.LinearGaussian(**case.fields),
            "candidates": case.x.shape[1] - 1,
            "graph_prior": case.graph_prior,
            "preprocess": None,
        }
        yield name, case.x, case.mask, settings, case.edges


def easy(args):
    """Linear models, 100 rows, uniform prior."""
    settings = {
        "model": jspgfn.LinearGaussian(),
        "graph_prior": "uniform",
        "preprocess": None,
    }
    # all other variables as candidates, also beyond 20, as in the exact answer
    problems = [
        (
            f"D={D} e{k}",
            simulate(D, 100, k, 0),
            None,
            {**settings, "candidates": D - 1},
            None,
        )
        for D in (12, 16, 20)
        for k in (1, 2)
        if args.most_variables >= D
    ]
    problems += from_folder(args, ["linear_er"])
    return compare(problems, args)


def peaked(args):
    """Standardised data, 500 rows, noise sd fixed at sqrt(0.1)."""
    settings = {
        "model": jspgfn.LinearGaussian(0.1**0.5, 1.0),
        "graph_prior": "uniform",
        "preprocess": None,
    }
    problems = [
        (f"D={D} {seed}", standardise(simulate(D, 500, 2, seed)), None, settings, None)
        for D in (8, 12)
        for seed in (1, 2, 3)
    ]
    problems += from_folder(args, ["peaked"])
    return compare(problems, args)


def sachs(args):
    """7,466 pooled cells, logarithms, standardised, mask used."""
    data = jspgfn.datasets.load_sachs(interventions=True)
    x = np.log(data.data)
    problems = []
    for name, model in (("BGe", jspgfn.BGe()), ("NIG", jspgfn.NormalInverseGamma())):
        settings = {"model": model, "graph_prior": "fair"}
        problems.append((name, x, data.interventions, settings, None))
    if args.discretised is not None:
        import pandas

        table = pandas.read_csv(args.discretised, keep_default_na=False)
        settings = {"model": jspgfn.BDeu(), "graph_prior": "fair"}
        levels, targets = table[data.feature_names], list(table["target"])
        problems.append(("BDeu", levels, targets, settings, None))
    return compare(problems, args)


def main():
    import pathlib

    parts = {"speed": speed, "easy": easy, "peaked": peaked, "sachs": sachs}
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", nargs="?", default="speed", choices=[*parts, "all"])
    parser.add_argument(
        "--time", type=float, default=10.0, help="CPU seconds per chain"
    )
    parser.add_argument("--n-seeds", type=int, default=2)
    parser.add_argument("--most-variables", type=int, default=20)
    parser.add_argument("--cases", type=pathlib.Path)
    parser.add_argument("--discretised", type=pathlib.Path)
    args = parser.parse_args()
    for name, part in parts.items():
        if args.part in (name, "all"):
            print(f"\n{name}: {part.__doc__}")
            result = part(args)
            settings = {key: str(value) for key, value in vars(args).items()}
            write(f"chain_{name}", settings=settings, **result)


if __name__ == "__main__":
    main()
