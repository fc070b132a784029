"""Every method on every problem of a plan, into results/suite_<plan>.csv.

    python -m suite.run short                 ten minutes: a bit of everything
    python -m suite.run budgets               1, 10 and 60 s against the exact posterior
    python -m suite.run wide                  networks and data of 20 to 107 variables
    python -m suite.run grid --seeds 3        all kinds of simulated data: hours
    python -m suite.report                    docs/results.md from what there is

`--resume` keeps the rows of the file and runs what is missing, `--limit` stops in good
time, so that a long plan can be run in pieces. `--data FOLDER` holds the files that are
not bundled (see problems.py); what is missing is skipped, and the row says why. One row
per problem, method, budget and seed; `help(suite.run)` explains the columns.

Columns: status ok or skipped, with the reason; cpu_seconds of the method by its own
account, wall_seconds and peak_mb of its process, imports included; n_draws that are kept
(edges are means over all, info["drawn"]) and floor, the edge RMSE that as many independent
exact draws would have; edge_rmse, edge_max of what the method calls its edge probabilities,
weighted_rmse (importance weights), counted_rmse (edges counted among the kept draws);
path_rmse, blanket_rmse; tv, kl against all graphs (five variables) with tv_floor,
tv_of_policy by log_prob instead of draws; auroc, auprc, brier, e_shd with n_edges against
the true graph, and the same with reference_ in front for the posterior itself;
log_density, mean over new rows; reference: exact, or two chains with their R-hat and
difference, and reference_spread, the edge RMSE of giving every pair the same, best,
probability; calibration: in ten bins of the edge probability the number of pairs, the sum
of probabilities and the true edges.
"""

import argparse
import csv
import json
import pathlib
import time

from common import HERE, machine
from suite import methods, problems, score

COLUMNS = [
    *("plan", "problem", "n_variables", "n_rows", "varsortability", "note"),
    *("method", "budget", "seed", "status", "reason"),
    *("cpu_seconds", "wall_seconds", "peak_mb", "n_draws", "floor"),
    *("edge_rmse", "edge_max", "weighted_rmse", "counted_rmse", "ess"),
    *("path_rmse", "blanket_rmse", "tv", "tv_floor", "tv_of_policy", "kl"),
    *("auroc", "auprc", "brier", "n_edges", "e_shd", "log_density"),
    *("updates", "gap", "r_hat"),
    *("reference", "reference_r_hat", "reference_differ", "reference_spread"),
    *("reference_auroc", "reference_auprc", "reference_brier", "reference_n_edges"),
    "reference_e_shd",
    *("calibration", "date", "processor", "simd", "jspgfn", "info"),
]
# of them, those that only the method itself can tell
TOLD = ("log_density", "updates", "gap", "r_hat", "tv_of_policy")
CHAIN_SECONDS = {"short": 30, "wide": 60, "grid": 60, "budgets": 60}


def plan_short(options):
    """Problems, methods and budgets, in the order in which they run."""
    ours = ["exact", "edges", "chain", "paper_quick"]
    for name in (
        "er_linear_d5_n100_raw_s0@known",
        "er_linear_d10_n100_raw_s0@known",
        "er_linear_d20_n100_raw_s0@known",
    ):
        yield name, ours, [5.0]
    for name in (
        "sf_linear_d10_n1000_iscm_s0@learned",
        "er_mlp_d10_n100_raw_s0@learned",
        "sachs_853@learned",
        "sachs_7466@learned",
        "sachs_states@discrete",
        "asia_n1000_s0@discrete",
    ):
        yield name, ["exact", "edges", "chain"], [5.0]
    yield "er_linear_d50_n100_iscm_s0@learned", ["edges", "chain"], [20.0]
    yield "er_linear_d10_n100_raw_s0@known", methods.peers(), [10.0]
    yield "er_linear_d10_n100_iscm_s0@learned", ["exact", *methods.peers()], [10.0]


def plan_budgets(options):
    """The first data set of a size goes to everybody, further ones to the fast."""
    sizes = options.sizes or [5, 8, 12, 16, 20]
    for target, scale in (("known", "raw"), ("learned", "iscm")):
        for n in sizes:
            name = f"er_linear_d{n}_n100_{scale}_s0@{target}"
            ours = ["edges", "chain"]
            yield name, ["exact"], [1.0]
            yield name, ours, [1.0, 10.0, 60.0]
            if target == "known":
                yield name, ["paper_quick"], [1.0, 10.0, 60.0]
                yield name, ["paper"], [60.0]
            yield name, methods.peers(), [1.0, 10.0, 60.0]
            for seed in range(1, options.seeds):
                name = f"er_linear_d{n}_n100_{scale}_s{seed}@{target}"
                yield name, ours, [1.0, 10.0]


def plan_wide(options):
    """No exact answers beyond 20 variables: two chains of a minute are the reference."""
    for name in (
        "child_n1000_s0@discrete",
        "perturb@learned",
        "alarm_n1000_s0@discrete",
        "magic_niab_n1000_s0@learned",
        "ecoli70_n1000_s0@learned",
        "arth150_n1000_s0@learned",
        "er_linear_d50_n100_iscm_s0@learned",
        "sf_linear_d100_n1000_iscm_s0@learned",
    ):
        yield name, ["exact", "edges", "chain"], [60.0]
        yield name, methods.peers(), [60.0]


def plan_grid(options):
    budgets = {5: 10.0, 10: 10.0, 20: 30.0, 50: 60.0, 100: 120.0}
    for seed in range(options.seeds):
        for n in options.sizes or budgets:
            for graph in ("er", "sf"):
                for mechanism in ("linear", "mlp"):
                    for rows in (100, 1000):
                        for scale in ("raw", "iscm"):
                            data = f"{graph}_{mechanism}_d{n}_n{rows}_{scale}_s{seed}"
                            ours = ["exact", "edges", "chain"]
                            yield f"{data}@learned", ours, [budgets[n]]


PLANS = {
    "short": plan_short,
    "budgets": plan_budgets,
    "wide": plan_wide,
    "grid": plan_grid,
}


class Table:
    """Rows of a file; a finished run is written at once."""

    def __init__(self, path, keep):
        self.path, self.done = path, set()
        if keep and path.exists():
            with path.open(encoding="utf-8", newline="") as file:
                self.done = {key_of(row) for row in csv.DictReader(file)}
            return
        path.parent.mkdir(exist_ok=True, parents=True)
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.DictWriter(file, COLUMNS, lineterminator="\n").writeheader()

    def add(self, row):
        self.done.add(key_of(row))
        with self.path.open("a", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            writer.writerow({key: text_of(row.get(key, "")) for key in COLUMNS})


def key_of(row):
    return (
        row["problem"],
        row["method"],
        f"{float(row['budget']):g}",
        str(row["seed"]),
    )


def text_of(value):
    """Six digits are more than any figure here is good for."""
    if value is None or value != value:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else value


class Loaded:
    """The latest problem with its reference, which takes longest."""

    def __init__(self, options):
        self.options, self.name, self.why = options, None, ""

    def get(self, name):
        if name != self.name:
            self.name, self.problem, self.why = name, None, ""
            try:
                self.problem = problems.problem(name, self.options.data)
            except (problems.MissingData, ImportError) as reason:
                self.why = str(reason)
                return
            self.reference = score.reference_of(
                self.problem,
                self.options.chain_time or CHAIN_SECONDS[self.options.plan],
            )


def one_run(loaded, name, method, budget, seed, run=methods.run_apart):
    """A row."""
    row = {"problem": name, "method": method, "budget": budget, "seed": seed}
    if loaded.problem is None:
        return {**row, "status": "skipped", "reason": loaded.why}
    given = loaded.problem
    row.update(
        n_variables=given.n_variables,
        n_rows=len(given.x),
        varsortability=given.varsortability,
        note=given.note,
        **loaded.reference.figures(given.truth),
    )
    task = methods.Task(
        given.x, given.settings, budget, seed, given.mask, given.names, given.test
    )
    try:
        result = run(method, task)
    except methods.Skipped as reason:
        return {**row, "status": "skipped", "reason": str(reason)}
    row.update({key: result.info.pop(key) for key in TOLD if key in result.info})
    row.update(
        status="ok",
        cpu_seconds=result.cpu_seconds,
        wall_seconds=result.wall_seconds,
        peak_mb=result.peak_mb,
        info=json.dumps(result.info, default=float),
        **score.figures(result, given, loaded.reference),
    )
    return row


def show(row):
    if row["status"] != "ok":
        words = f"skipped: {row['reason']}"
    else:
        words = (
            f"{row['cpu_seconds']:6.1f} s  edge RMSE {row['edge_rmse']:.4f}  "
            f"largest {row['edge_max']:.4f}  {row['peak_mb']:.0f} MB"
        )
    print(
        f"{row['problem']:40s} {row['method']:12s} {row['budget']:5g} s: {words}",
        flush=True,
    )


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("plan", choices=PLANS)
    parser.add_argument("--data", help="folder of data that is not bundled")
    parser.add_argument("--out", type=pathlib.Path, help="default suite_<plan>.csv")
    parser.add_argument("--resume", action="store_true", help="keep rows of the file")
    parser.add_argument("--limit", type=float, help="wall seconds, then stop")
    parser.add_argument("--seeds", type=int, default=3, help="simulated data sets")
    parser.add_argument("--sizes", type=int, nargs="+", help="variables")
    parser.add_argument("--only", help="problems whose names hold this word")
    parser.add_argument("--methods", nargs="+", help="only these")
    parser.add_argument("--budgets", type=float, nargs="+", help="only these")
    parser.add_argument("--chain-time", type=float, help="seconds per reference chain")
    options = parser.parse_args()
    begin = time.perf_counter()
    out = options.out or HERE / "results" / f"suite_{options.plan}.csv"
    table, loaded, where = Table(out, options.resume), Loaded(options), machine()
    for name, which, budgets in PLANS[options.plan](options):
        for method in which:
            for budget in budgets:
                row = {"problem": name, "method": method, "budget": budget, "seed": 0}
                if key_of(row) in table.done:
                    continue
                if options.only and options.only not in name:
                    continue
                if options.methods and method not in options.methods:
                    continue
                if options.budgets and budget not in options.budgets:
                    continue
                if options.limit and time.perf_counter() - begin > options.limit:
                    print("stopped at the limit: go on with --resume")
                    return
                loaded.get(name)
                row = one_run(loaded, name, method, budget, 0)
                row.update(plan=options.plan, **where)
                row = {key: row.get(key, "") for key in COLUMNS}
                table.add(row)
                show(row)
    print(f"{time.perf_counter() - begin:.0f} s in all: {out}")


if __name__ == "__main__":
    main()
