"""Tables and pictures of docs/results.md, from stored results only.

    python -m suite.report

The page is written by hand but for what stands between the comments "NAME: drawn by ..."
and "end of NAME", which is replaced. Pictures go to docs/_static/results_*.svg. Results
that are not there leave a line that says how to make them.
"""

import argparse
import collections
import csv
import json
import pathlib
import re
import statistics

import numpy as np

from common import HERE

NAMES = {
    "exact": "exact posterior",
    "edges": "default sampler",
    "chain": "structure MCMC",
    "paper": "published method, published settings",
    "paper_quick": "published method, quick settings",
}
TARGETS = {"known": "known noise", "learned": "learned noise"}
BUDGETS = (1, 10, 60)


class Stored:
    """All rows of results/suite_*.csv, and the other scripts' files by name."""

    def __init__(self, folder):
        self.folder, self.rows = pathlib.Path(folder), []
        for path in sorted(self.folder.glob("suite_*.csv")):
            with path.open(encoding="utf-8", newline="") as file:
                self.rows += [numbers(row) for row in csv.DictReader(file)]

    def plan(self, *plans):
        return [row for row in self.rows if row["plan"] in plans]

    def json(self, name):
        path = self.folder / f"{name}.json"
        return json.loads(path.read_text()) if path.exists() else None


def numbers(row):
    """Figures as floats; empty cells as None."""
    texts = ("plan", "problem", "method", "status", "reason", "note", "reference")
    texts += ("calibration", "date", "processor", "simd", "jspgfn", "info")
    return {
        key: value if key in texts else float(value) if value else None
        for key, value in row.items()
    }


def parts(problem):
    """Data and target; seed of simulated or sampled data, else 0."""
    data, target = problem.split("@")
    seed = re.search(r"_s(\d+)$", data)
    return data, target, int(seed.group(1)) if seed else 0


def peers_of(rows):
    return sorted({row["method"] for row in rows} - set(NAMES))


def named(method):
    return NAMES.get(method, method)


def table(header, lines):
    """Markdown, or a word on what to do where there are no results."""
    if not lines:
        return "*Not measured yet: see `python -m suite.run --help` in `benchmarks/`.*"
    out = [
        "| " + " | ".join(header) + " |",
        "| " + " | ".join("---" for _ in header) + " |",
    ]
    out += ["| " + " | ".join(line) + " |" for line in lines]
    return "\n".join(out)


def number(value, digits=2):
    """Significant digits, without exponents for what is near 1."""
    if value is None or value != value:
        return ""
    if value == 0:
        return "0"
    size = int(np.floor(np.log10(abs(value))))
    if size < -5:
        return f"{value:.0e}"
    return f"{value:.{max(digits - 1 - size, 0)}f}"


# --- tables --------------------------------------------------------------------------


def budgets(stored):
    """Error against the exact posterior at 1, 10 and 60 s; the same data for everybody."""
    rows = [row for row in stored.plan("budgets") if parts(row["problem"])[2] == 0]
    lines = []
    for target in TARGETS:
        here = [row for row in rows if parts(row["problem"])[1] == target]
        sizes = sorted({row["n_variables"] for row in here if row["n_variables"]})
        for method in [*NAMES, *peers_of(here)]:
            for size in sizes:
                found = {
                    row["budget"]: row
                    for row in here
                    if row["method"] == method and row["n_variables"] == size
                }
                if found:
                    lines.append((target, size, method, found))
    lines.sort(key=lambda line: (list(TARGETS).index(line[0]), line[1]))
    out = []
    for target, size, method, found in lines:
        if method == "exact" and found[1.0]["status"] == "ok":
            row = found[1.0]
            if row["reference_spread"]:
                nothing = [number(row["reference_spread"]), "", ""]
                lead = [TARGETS[target], f"{size:.0f}"]
                out.append([*lead, "*every pair alike*", *nothing])
            cells = [f"0 (after {number(row['cpu_seconds'])} s)", "0", "0"]
        else:
            cells = [error_cell(found.get(float(budget))) for budget in BUDGETS]
        out.append([TARGETS[target], f"{size:.0f}", named(method), *cells])
    return table(["target", "D", "method", "1 s", "10 s", "60 s"], out)


def error_cell(row):
    """RMSE, largest; RMSE with importance weights, where a method has them."""
    if row is None:
        return ""
    if row["status"] != "ok":
        return row["reason"].replace("|", "/")
    text = edges_cell(row)
    if row["cpu_seconds"] > 1.3 * row["budget"]:
        text += f", took {number(row['cpu_seconds'])} s"
    return text


def edges_cell(row):
    text = f"{number(row['edge_rmse'])} ({number(row['edge_max'])})"
    if row["weighted_rmse"]:
        text += f"; {number(row['weighted_rmse'])}"
    return text


def short(stored):
    return problem_table(stored.plan("short"))


def wide(stored):
    return problem_table(stored.plan("wide"))


def grid(stored):
    """One line per kind of data, medians over seeds; by number of variables and name."""
    groups = collections.defaultdict(lambda: collections.defaultdict(list))
    for row in stored.plan("grid"):
        if row["status"] == "ok":
            data = re.sub(r"_s\d+$", "", parts(row["problem"])[0])
            groups[data][row["method"]].append(row)
    lines = []

    def size_and_name(group):
        data, methods = group
        return next(iter(methods.values()))[0]["n_variables"], data

    for data, methods in sorted(groups.items(), key=size_and_name):

        def figure(method, key, methods=methods):
            found = [row[key] for row in methods[method] if row[key] is not None]
            return number(statistics.median(found)) if found else ""

        def pair(method, key, other, figure=figure):
            found = figure(method, key)
            return found and f"{found} ({figure(method, other)})"

        weighted = figure("edges", "weighted_rmse")

        lines.append(
            [
                data,
                str(max(map(len, methods.values()))),
                figure("exact", "varsortability") or figure("edges", "varsortability"),
                figure("exact", "cpu_seconds"),
                figure("edges", "cpu_seconds"),
                pair("edges", "edge_rmse", "edge_max") + f"; {weighted}",
                pair("chain", "edge_rmse", "edge_max"),
                pair("edges", "auroc", "reference_auroc"),
                reference_cell(next(iter(methods.values()))),
            ]
        )
    header = ["data", "data sets", "varsortability", "CPU s, exact", "CPU s, default"]
    header += ["default sampler: edge RMSE (largest); weighted", "structure MCMC"]
    return table([*header, "AUROC (of the posterior)", "reference"], lines)


def reference_cell(rows):
    """What errors are against, and how far that itself may be off."""
    if rows[0]["reference"] == "exact":
        return "exact"
    differ, r_hat = (
        number(max(row[f"reference_{key}"] or 0 for row in rows) or None, digits)
        for key, digits in (("differ", 2), ("r_hat", 3))
    )
    return f"chains {differ} apart, R-hat {r_hat}"


def problem_table(rows):
    lines = []
    for row in rows:
        first = [row["problem"], number(row["varsortability"]), named(row["method"])]
        if row["status"] != "ok":
            if "too many variables" not in row["reason"]:
                lines.append([*first, f"skipped: {row['reason']}", *[""] * 6])
            continue
        lines.append(
            [
                *first,
                number(row["cpu_seconds"]),
                number(row["peak_mb"], 3),
                edges_cell(row),
                of_reference(row, "auroc"),
                of_reference(row, "brier"),
                shd_cell(row),
                number(row["log_density"], 4),
            ]
        )
    header = [
        "problem",
        "varsortability",
        "method",
        "CPU s",
        "MB",
        "edge RMSE (largest); weighted",
    ]
    return table([*header, "AUROC", "Brier", "E-SHD, edges", "log density"], lines)


def of_reference(row, key):
    if row[key] is None:
        return ""
    return f"{number(row[key])} ({number(row[f'reference_{key}'])})"


def shd_cell(row):
    """Never alone: with edges expected, and both of the reference posterior."""
    if row["e_shd"] is None:
        return ""
    return (
        f"{row['e_shd']:.1f}, {row['n_edges']:.1f} "
        f"({row['reference_e_shd']:.1f}, {row['reference_n_edges']:.1f})"
    )


def features(stored):
    """Paths, Markov blankets and graphs at five variables, and log density."""
    lines = []
    for row in stored.plan("budgets"):
        _, target, seed = parts(row["problem"])
        if seed or row["status"] != "ok" or row["n_variables"] != 5:
            continue
        if row["method"] != "exact" and row["budget"] != 60:
            continue
        lines.append(
            [
                TARGETS[target],
                named(row["method"]),
                f"{row['n_draws'] or 0:,.0f}",
                *(
                    number(row[key])
                    for key in ("edge_rmse", "path_rmse", "blanket_rmse")
                ),
                number(row["tv"]),
                number(row["tv_floor"]),
                number(row["tv_of_policy"]),
                number(row["log_density"], 4),
            ]
        )
    header = ["target", "method", "draws", "edges", "paths", "blankets"]
    header += ["TV of draws", "TV of as many exact draws", "TV of `log_prob`"]
    return table([*header, "log density per new row"], lines)


def further(stored):
    """Other data sets of the same kind: median over all."""
    groups = collections.defaultdict(list)
    for row in stored.plan("budgets"):
        if row["status"] == "ok" and row["method"] in ("edges", "chain"):
            target = parts(row["problem"])[1]
            key = (target, row["n_variables"], row["method"], row["budget"])
            groups[key].append(row)
    lines = []
    for (target, size, method, budget), rows in sorted(groups.items()):
        if len(rows) > 1:
            middle = statistics.median(row["edge_rmse"] for row in rows)
            worst = max(row["edge_rmse"] for row in rows)
            lines.append(
                [TARGETS[target], f"{size:.0f}", named(method), f"{budget:g}",
                 str(len(rows)), number(middle), number(worst)]
            )  # fmt: skip
    header = ["target", "D", "method", "CPU s", "data sets", "edge RMSE, median"]
    return table([*header, "worst"], lines)


def peak(stored):
    """Shares of machine limits that the scripts themselves have written down."""
    lines = []
    if found := stored.json("chain_speed"):
        for row in found["rows"]:
            if row["edges per node"] == 2:
                what = f"chain, {row['chain']}, D = {row['D']}"
                rate = f"{row['million/s']:.0f} million moves/s"
                lines.append([what, rate, "random fetches of 8 bytes", row["limit"]])
    if found := stored.json("exact"):
        for row in found["rows"]:
            if row["threads"] == 1 and row["data"] in ("er1", "peaked"):
                what = f"exact sums, D = {row['D']}, {row['data']}"
                rate = f"{float(row['terms/CPU s']) / 1e6:.0f} million terms/s"
                lines.append([what, rate, "random fetches of 16 bytes", row["limit"]])
    for path in sorted(stored.folder.glob("threads*.json")):
        found = json.loads(path.read_text(encoding="utf-8"))
        n_variables = found["settings"]["n_variables"]
        n_cores = max(row["threads"] for row in found["rows"])
        for row in found["rows"][1:]:
            for task in ("fit", "draws"):
                what = f"{task} of the default sampler, D = {n_variables}"
                what += f", machine with {n_cores} cores"
                ratio, n_threads = row[f"{task}, ratio"], row["threads"]
                rate = f"{ratio:.2f} times one thread"
                lines.append([what, rate, f"{n_threads} threads", ratio / n_threads])
    lines = [[*line[:-1], f"{100 * line[-1]:.0f} %"] for line in lines]
    return table(["what", "rate", "limit", "share"], lines)


def frontier(stored):
    """Medians over data sets of the default sampler's distances from the posterior."""
    found = stored.json("frontier")
    lines = []
    for group, rows in found["groups"].items() if found else ():
        middle = {
            key: statistics.median(row[key] for row in rows)
            for key in ("updates", "KL", "ESS", "fESS", "own", "chain")
        }
        worst = max(row["KL"] for row in rows)
        lines.append(
            [
                group,
                str(len(rows)),
                f"{middle['updates']:,.0f}",
                f"{number(middle['KL'])} ({number(worst)})",
                f"{100 * middle['ESS']:.4g} %",
                f"{100 * middle['fESS']:.4g} %",
                number(middle["own"]),
                number(middle["chain"]),
            ]
        )
    header = ["group", "data sets", "updates", "KL, nats (worst)", "ESS, own draws"]
    header += ["ESS, exact draws", "edge RMSE of draws", "of chains in the same time"]
    return table(header, lines)


def ablations(stored):
    """Rows of ablations.py: the same updates with one ingredient changed."""
    found = stored.json("ablations")
    lines = [
        [
            row["data"],
            row["training"],
            number(row["KL"]),
            number(row["median"]),
            f"{100 * row['ESS']:.1f} %",
            f"{100 * row['fESS']:.1f} %",
            f"{100 * row['missing']:.2f} %",
            number(row["log Z error"]),
            f"{row['CPU s']:.1f}",
        ]
        for row in (found["rows"] if found else ())
    ]
    header = ["data", "training", "KL, nats", "median residual", "ESS, own draws"]
    header += ["ESS, exact draws", "missing", "log Z by weights, error", "CPU s"]
    return table(header, lines)


def scale(stored):
    """Medians over data sets of scale.py: two long chains are the judges."""
    groups = collections.defaultdict(list)
    for path in sorted(stored.folder.glob("scale_*.json")):
        for row in json.loads(path.read_text(encoding="utf-8"))["rows"]:
            groups[row["D"], row["N"], row["prior"], row["policies"]].append(row)
    lines = []
    for (n_variables, n_rows, prior, n_policies), rows in sorted(groups.items()):

        def middle(key, rows=rows):
            known = [row[key] for row in rows if key in row]
            return statistics.median(known) if known else None

        def figure(key, middle=middle):
            return "" if middle(key) is None else number(middle(key))

        def percent(key, middle=middle):
            return "" if middle(key) is None else f"{100 * middle(key):.0f} %"

        lines.append(
            [
                f"{n_variables}, {n_rows}, {prior}",
                str(len(rows)),
                f"{middle('updates'):,.0f} ({n_policies})",
                f"{middle('cpu s'):.0f}",
                f"{middle('MB'):.0f}",
                f"{figure('gap')} ({number(max(row['gap'] for row in rows))})",
                f"{percent('acceptance')} "
                f"({100 * min(row['acceptance'] for row in rows):.0f} %)",
                ", ".join(filter(None, map(percent, ("ESS", "fESS")))),
                f"{figure('edge RMS')} ({figure('edge max')})",
                figure("conditional RMS"),
                figure("refined RMS"),
                figure("refined conditional RMS"),
                f"{figure('chains RMS')} ({figure('chains max')})",
                f"{max(row['R-hat'] for row in rows):.3f}",
            ]
        )
    header = [
        "D, N, prior",
        "data sets",
        "updates (policies)",
        "CPU s",
        "MB",
        "gap, nats (worst)",
        "proposals accepted (worst)",
    ]
    header += ["ESS of draws, of chain states", "edges against chains, counted"]
    header += ["not counted", "of refined draws, counted", "not counted"]
    header += ["chains against each other", "R-hat, worst"]
    return table(header, lines)


def environment(stored):
    """Machine, versions and dates of the rows."""
    seen = collections.Counter(
        (row["processor"], row["simd"], row["jspgfn"], row["plan"], row["date"])
        for row in stored.rows
    )
    lines = [
        [f"`{plan}`", processor, simd, version, date, str(count)]
        for (processor, simd, version, plan, date), count in sorted(seen.items())
    ]
    return table(["plan", "processor", "SIMD", "jspgfn", "date", "rows"], lines)


BLOCKS = {
    "budgets": budgets,
    "further": further,
    "features": features,
    "short": short,
    "wide": wide,
    "grid": grid,
    "frontier": frontier,
    "ablations": ablations,
    "scale": scale,
    "peak": peak,
    "environment": environment,
}


# --- pictures ------------------------------------------------------------------------


def axes(n, **settings):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    plt.rcParams.update(
        {"svg.hashsalt": "jspgfn", "svg.fonttype": "none", "font.size": 9,
         "axes.spines.top": False, "axes.spines.right": False}
    )  # fmt: skip
    figure, panels = plt.subplots(1, n, layout="constrained", squeeze=False, **settings)
    return figure, panels[0]


def save(figure, folder, name):
    path = folder / f"results_{name}.svg"
    figure.savefig(path, metadata={"Date": None, "Creator": None})
    # an XML file is a text: lines end without blanks
    text = re.sub(r"[ \t]+\n", "\n", path.read_text(encoding="utf-8"))
    path.write_text(text, encoding="utf-8")


COLOURS = {
    "exact": "black",
    "edges": "tab:blue",
    "chain": "tab:green",
    "paper": "tab:brown",
    "paper_quick": "tab:orange",
}


def style(method, peers):
    others = ["tab:red", "tab:purple", "tab:pink", "gold", "tab:gray"]
    if method in COLOURS:
        return {"color": COLOURS[method], "marker": "o", "markersize": 3}
    place = peers.index(method) % len(others)
    return {"color": others[place], "marker": "s", "markersize": 3, "linestyle": "--"}


def picture_budgets(stored, folder):
    """Edge RMSE against processor seconds, a panel per size, a picture per target."""
    for target in TARGETS:
        rows = [
            row
            for row in stored.plan("budgets")
            if row["status"] == "ok" and parts(row["problem"])[1:] == (target, 0)
        ]
        sizes = sorted({row["n_variables"] for row in rows})
        if not sizes:
            continue
        peers = peers_of(rows)
        figure, panels = axes(len(sizes), figsize=(10, 3), sharey=True)
        for panel, size in zip(panels, sizes, strict=True):
            here = [row for row in rows if row["n_variables"] == size]
            for method in [*NAMES, *peers]:
                line = sorted(
                    (row["cpu_seconds"], row["edge_rmse"])
                    for row in here
                    if row["method"] == method
                )
                if method == "exact" and line:
                    panel.axvline(
                        line[0][0], color="black", lw=0.8, label="exact posterior"
                    )
                elif line:
                    x, y = zip(*line, strict=True)
                    panel.plot(
                        x,
                        np.maximum(y, 1e-5),
                        label=named(method),
                        **style(method, peers),
                    )
            panel.set(
                xscale="log",
                yscale="log",
                title=f"D = {size:.0f}",
                xlabel="CPU seconds",
            )
        panels[0].set_ylabel("RMSE of edge probabilities")
        handles = {}
        for panel in panels:
            handles.update(
                zip(*reversed(panel.get_legend_handles_labels()), strict=True)
            )
        figure.legend(
            handles.values(),
            handles,
            loc="outside lower center",
            ncols=4,
            frameon=False,
        )
        save(figure, folder, f"budgets_{target}")


def picture_cost(stored, folder):
    """Seconds and memory against D: of the exact posterior, of a walk of training."""
    figure, panels = axes(2, figsize=(8, 3))
    if found := stored.json("exact"):
        for kind in ("er1", "er2", "dense"):
            rows = [r for r in found["rows"] if r["data"] == kind and r["threads"] == 1]
            size = [row["D"] for row in rows]
            panels[0].plot(
                size, [row["CPU s"] for row in rows], "o-", label=f"exact, {kind}"
            )
    for method in ("exact", "edges", "chain"):
        rows = [
            row for row in stored.rows if row["peak_mb"] and row["method"] == method
        ]
        if rows:
            size, memory = zip(
                *((row["n_variables"], row["peak_mb"]) for row in rows), strict=True
            )
            panels[1].plot(
                size, memory, ls="", label=named(method), **style(method, [])
            )
    if panels[0].lines:
        panels[0].set(yscale="log")
    panels[0].set(xlabel="variables", ylabel="CPU seconds, one thread")
    panels[1].set(xlabel="variables", ylabel="peak MB of the process")
    panels[1].set_ylim(bottom=0)
    for panel in panels:
        if panel.get_legend_handles_labels()[0]:
            panel.legend(frameon=False)
    save(figure, folder, "cost")


def picture_calibration(stored, folder):
    """Share of true edges against edge probability, over all simulated data."""
    figure, panels = axes(1, figsize=(4.5, 4))
    sums = {}
    for row in stored.rows:
        is_simulated = row["problem"].startswith(("er_", "sf_"))
        if row["status"] != "ok" or not row["calibration"] or not is_simulated:
            continue
        if row["method"] == "paper" or "_mlp_" in row["problem"]:
            continue
        counts = np.array(json.loads(row["calibration"]))
        sums[row["method"]] = sums.get(row["method"], 0) + counts
    peers = sorted(set(sums) - set(NAMES))
    panels[0].plot([0, 1], [0, 1], color="0.8")
    for method, (n, p, true) in sums.items():
        there = n >= 5
        panels[0].plot(
            p[there] / n[there],
            true[there] / n[there],
            label=named(method),
            **style(method, peers),
        )
    panels[0].set(xlabel="edge probability", ylabel="share of true edges")
    if sums:
        panels[0].legend(frameon=False)
    save(figure, folder, "calibration")


PICTURES = (picture_budgets, picture_cost, picture_calibration)


# --- the page ------------------------------------------------------------------------


def fill(page, stored):
    """The page with all of its blocks drawn anew."""
    for name, draw in BLOCKS.items():
        begin = f"<!-- {name}: drawn by benchmarks/suite/report.py -->"
        end = f"<!-- end of {name} -->"
        if begin not in page:
            continue
        before, rest = page.split(begin)
        _, after = rest.split(end)
        page = f"{before}{begin}\n\n{draw(stored)}\n\n{end}{after}"
    return page


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--results", type=pathlib.Path, default=HERE / "results")
    parser.add_argument("--docs", type=pathlib.Path, default=HERE.parent / "docs")
    options = parser.parse_args()
    stored = Stored(options.results)
    path = options.docs / "results.md"
    path.write_text(fill(path.read_text(encoding="utf-8"), stored), encoding="utf-8")
    for draw in PICTURES:
        draw(stored, options.docs / "_static")
    print(f"wrote {path} and its pictures")


if __name__ == "__main__":
    main()
