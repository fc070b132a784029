"""The command line: jspgfn demo, fit, report and show-config."""

from __future__ import annotations

import argparse
import os
import sys
import textwrap
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from . import __version__, _files
from ._config import check_n_jobs, show_config
from ._constraints import Constraints
from ._core import NumericalError
from ._csv import CsvTable, as_numbers, as_states, read_csv, read_targets
from ._diagnose import Diagnosis
from ._engine import CHECK_EVERY
from ._estimator import JSPGFN
from ._labels import import_extra
from ._models import MODEL_NAMES, is_discrete
from ._posterior import Posterior
from ._priors import GRAPH_PRIORS
from ._report import make_report, thin_curve
from ._validation import describe, join_names
from .datasets import load_sachs

if TYPE_CHECKING:
    import pandas

ROWS_SHOWN = 30

DRAWS = 1000  # of `fit`, and of `report` from an estimator


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; returns the exit status.

    0 success; 2 the command line or the data are not acceptable, and nothing was done;
    1 something went wrong on the way; 130 Ctrl-C.
    """
    options = make_parser().parse_args(arguments)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = show_warning  # type: ignore[assignment]
            options.run(options)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of the output has gone, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (NumericalError, ImportError, MemoryError, WriteError) as error:
        print(f"jspgfn: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        reason = f"{error.filename}: {error.strerror}" if error.filename else error
        print(f"jspgfn: {reason}", file=sys.stderr)
        return 2
    except (ValueError, TypeError) as error:
        print(f"jspgfn: {error}", file=sys.stderr)
        return 2
    return 0


def show_warning(message: Warning | str, *details: Any) -> None:
    print(f"jspgfn: warning: {message}", file=sys.stderr)


class WriteError(Exception):
    """A result that could not be written, after the work was done."""


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="jspgfn",
        description="Sample the joint posterior over Bayesian networks and parameters.",
    )
    parser.add_argument("--version", action="version", version=f"jspgfn {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    add_fit(commands)
    add_report(commands)

    demo = commands.add_parser(
        "demo",
        help="the Sachs protein data: edge table, certificate, pictures, report",
        description="Fit 853 single cells of Sachs et al. 2005 (natural logarithm, BGe "
        "score, fair prior) and write edges.csv, edges.png, graph.png and report.html.",
    )
    demo.add_argument("--out", type=Path, default=Path("jspgfn-demo"), help="folder")
    add_training_options(demo, draws=10_000)
    demo.set_defaults(run=run_demo)

    config = commands.add_parser(
        "show-config", help="versions, instruction set, threads"
    )
    config.set_defaults(run=lambda options: show_config())
    return parser


def add_fit(commands: Any) -> None:
    fit = commands.add_parser(
        "fit",
        help="fit a table in a CSV file",
        description="Fit a CSV file with a header line and one column per variable, and "
        "write draws from the posterior to a file, which `jspgfn report` and, in Python, "
        "jspgfn.load read.",
        epilog="Example: jspgfn fit cells.csv --interventions target --forbid Akt:PKA "
        "--tiers 'PKA,PKC;Raf,Mek' --out cells.safetensors --report cells.html",
    )
    fit.add_argument("data", type=Path, help="CSV file; , ; or tabs between the cells")
    files = fit.add_argument_group("results")
    files.add_argument(
        "--out", type=Path, help="file of the draws; default: DATA.safetensors, here"
    )
    files.add_argument("--report", type=Path, help="also a page of HTML")
    files.add_argument("--edges", type=Path, help="also the edge table as CSV")
    files.add_argument(
        "--save-estimator", type=Path, help="also the fit itself, to draw or resume"
    )
    columns = fit.add_argument_group("columns and knowledge")
    columns.add_argument(
        "--interventions",
        metavar="COLUMN",
        help="column that names the variables set in each row: empty, one, or several "
        "joined by +",
    )
    columns.add_argument(
        "--drop", metavar="COLUMN", action="append", default=[], help="leave out"
    )
    columns.add_argument(
        "--forbid", metavar="A:B", action="append", default=[], help="no edge A -> B"
    )
    columns.add_argument(
        "--require", metavar="A:B", action="append", default=[], help="edge A -> B"
    )
    columns.add_argument(
        "--tiers",
        metavar="A,B;C",
        help="groups from early to late, between ; - no edge leads back",
    )
    columns.add_argument("--max-parents", type=int, help="of every variable")
    method = fit.add_argument_group("method")
    method.add_argument(
        "--model", default="bge", choices=list(MODEL_NAMES), help="default bge"
    )
    method.add_argument(
        "--prior", default="fair", choices=list(GRAPH_PRIORS), help="default fair"
    )
    method.add_argument("--n-iter", type=positive, help="gradient updates")
    method.add_argument("--quiet", action="store_true", help="print errors only")
    add_training_options(fit, draws=DRAWS)
    fit.set_defaults(run=run_fit)


def add_report(commands: Any) -> None:
    report = commands.add_parser(
        "report",
        help="a page of HTML from a result of fit",
        description="One self-contained page: table of edges, pictures, certificate, "
        "settings. From a file of draws, or of an estimator, from which draws are made.",
    )
    report.add_argument("result", type=Path, help="file that `fit` or `save` wrote")
    report.add_argument(
        "-o", "--out", type=Path, help="default: RESULT.html beside the result"
    )
    report.set_defaults(run=run_report)


def add_training_options(parser: argparse.ArgumentParser, draws: int) -> None:
    parser.add_argument(
        "--time",
        "--max-time",
        dest="max_time",
        type=float,
        metavar="SECONDS",
        help="wall seconds for the fit; default: a number of updates set by the number "
        "of variables, fewer when the fit is good",
    )
    parser.add_argument(
        "--draws", type=positive, default=draws, help=f"default {draws}"
    )
    parser.add_argument("--seed", type=int, default=0, help="default 0")
    parser.add_argument(
        "--n-jobs", type=int, help="threads; default: all that are allowed"
    )


def positive(text: str) -> int:
    """For argparse, so that a wrong number is refused before the fit and not after it."""
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {text}")
    return int(text)


# --- before the work: will it be possible to write? ----------------------------------


def check_folder(folder: Path) -> None:
    """OSError unless files can be written into it, once the missing part is made."""
    there = folder
    while not there.exists() and there != there.parent:
        there = there.parent
    if not there.is_dir():
        raise NotADirectoryError(f"--out must be a folder, but {there} is a file")
    if not os.access(there, os.W_OK | os.X_OK):
        raise PermissionError(f"--out: cannot write into {there}")


def check_results(files: dict[str, Path | None]) -> None:
    """The results of `fit` are files of their own that can be written."""
    seen: dict[Path, str] = {}
    for option, path in files.items():
        if path is None:
            continue
        if option != "DATA":
            check_writable(option, path)
        other = seen.setdefault(path.resolve(), option)
        if other != option:
            raise ValueError(f"{other} and {option} are the same file, {path}")


def check_writable(option: str, path: Path | None) -> None:
    """OSError unless a file can be written there, which is tried."""
    if path is None:
        return
    if path.is_dir():
        raise IsADirectoryError(f"{option}: {path} is a folder, a file is needed")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{option}: there is no folder {path.parent}")
    if path.exists() and not os.access(path, os.W_OK):
        raise PermissionError(f"{option}: {path} cannot be written")
    probe = path.parent / f".{os.getpid()}.jspgfn.tmp"
    try:
        probe.touch(exist_ok=False)
        probe.unlink()
    except OSError as error:
        raise OSError(
            f"{option}: cannot write into {path.parent} ({error.strerror})"
        ) from error


def write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise WriteError(f"cannot write {path}: {error.strerror}") from error


# --- fit -----------------------------------------------------------------------------


def run_fit(options: argparse.Namespace) -> None:
    pandas = import_extra("pandas")
    if options.report is not None:
        import_extra("matplotlib")
        import_extra("networkx")
    out = options.out or Path(f"{options.data.stem}.safetensors")
    check_results(
        {
            "DATA": options.data,
            "--out": out,
            "--report": options.report,
            "--edges": options.edges,
            "--save-estimator": options.save_estimator,
        }
    )
    raw = read_csv(options.data)
    names = check_columns(raw, options)
    targets = None
    if options.interventions is not None:
        targets = read_targets(raw, options.interventions, names)
    table = raw.without([name for name in raw.names if name not in names])
    read = as_states if is_discrete(options.model) else as_numbers
    est = JSPGFN(
        model=options.model,
        graph_prior=options.prior,
        constraints=read_constraints(options, names),
        max_parents=options.max_parents,
        n_iter=options.n_iter,
        max_time=options.max_time,
        n_jobs=options.n_jobs,
        random_state=options.seed,
        verbose=0 if options.quiet else 1,
    )
    started = time.perf_counter()
    est.fit(pandas.DataFrame(read(table)), interventions=targets)
    seconds = time.perf_counter() - started
    post = est.sample(options.draws)
    about = describe_fit(est, post, options.data.name, len(table.rows), seconds)
    written = [out]
    try:
        _files.save(post, out, about)
        if options.save_estimator is not None:
            est.save(options.save_estimator)
            written.append(options.save_estimator)
    except OSError as error:
        raise WriteError(str(error)) from error
    if options.edges is not None:
        write(options.edges, post.edge_table().to_csv(index=False))
        written.append(options.edges)
    if options.report is not None:
        write(options.report, make_report(post, about))
        written.append(options.report)
    if not options.quiet:
        print_edges(post.edge_table())
        print_certificate(about)
        print(f"\nwritten: {', '.join(map(str, written))}")


def check_columns(table: CsvTable, options: argparse.Namespace) -> list[str]:
    """Names of the variables: all columns but those that are dropped or say targets."""
    repeated = sorted({name for name in table.names if table.names.count(name) > 1})
    if repeated:
        raise ValueError(
            f"{table.path}: these columns occur more than once: {join_names(repeated)}"
        )
    other = list(options.drop)
    if options.interventions is not None:
        other.append(options.interventions)
    for name in other:
        if name not in table.names:
            option = "--drop" if name in options.drop else "--interventions"
            raise ValueError(
                f"{option}: {table.path} has no column {name!r}; it has "
                f"{join_names(table.names)}"
            )
    return [name for name in table.names if name not in other]


def read_constraints(
    options: argparse.Namespace, names: Sequence[str]
) -> Constraints | None:
    forbidden = [read_edge("--forbid", text, names) for text in options.forbid]
    required = [read_edge("--require", text, names) for text in options.require]
    tiers = read_tiers(options.tiers, names) if options.tiers else []
    if not (forbidden or required or tiers):
        return None
    return Constraints(forbidden=forbidden, required=required, tiers=tiers)


def read_edge(option: str, text: str, names: Sequence[str]) -> tuple[str, str]:
    """A:B; names may contain colons as long as one way of reading remains."""
    ends = [
        (text[:k].strip(), text[k + 1 :].strip())
        for k, letter in enumerate(text)
        if letter == ":"
    ]
    known = [pair for pair in ends if pair[0] in names and pair[1] in names]
    if len(known) == 1:
        return known[0]
    if len(ends) == 1:
        unknown = next(name for name in ends[0] if name not in names)
        raise ValueError(
            f"{option} {text}: there is no variable {unknown!r}; expected "
            f"{join_names(names)}"
        )
    raise ValueError(f"{option} must be PARENT:CHILD, got {describe(text)}")


def read_tiers(text: str, names: Sequence[str]) -> list[list[str]]:
    tiers = [
        [name.strip() for name in group.split(",") if name.strip()]
        for group in text.split(";")
    ]
    for name in (name for group in tiers for name in group):
        if name not in names:
            raise ValueError(
                f"--tiers: there is no variable {name!r}; expected {join_names(names)}"
            )
    return tiers


# --- what is known about a fit -------------------------------------------------------


def describe_fit(
    est: JSPGFN, post: Posterior, data: str, n_rows: int, seconds: float | None
) -> dict[str, Any]:
    """Notes for the file and the report; JSON-able."""
    settings = {
        "data": f"{data}: {n_rows} rows, {len(post.feature_names)} variables",
        "rows with interventions": est._tables.n_touched,
        "model": f"{est.model}, generator {est.generator}",
        "preprocessing": est.preprocess_ or "none",
        "prior of graphs": str(est.graph_prior),
        "constraints": str(est.constraints or "none"),
        "parents": f"{len(max(est.candidates_, key=len))} candidates at most, "
        f"max_parents {est.max_parents or 'not limited'}",
        "training": f"{est.n_iter_} updates"
        + ("" if seconds is None else f", {seconds:.1f} s with everything")
        + f", {check_n_jobs(est.n_jobs)} threads",
        "seed": est.random_seed_,
        "draws": len(post),
        "jspgfn": __version__,
    }
    report = judge(est, est.max_time)
    verdict = ""
    if report is not None:
        words = f"{report.verdict}: {'; '.join(report.reasons)}."
        verdict = words[0].upper() + words[1:]
    return {
        "title": f"Which variables act on which: {data}",
        "verdict": verdict,
        "certificate": certificate_of(est, post, report),
        "settings": {name: str(value) for name, value in settings.items()},
        "curve": thin_curve(est.history_),
    }


def judge(est: JSPGFN, max_time: float | None) -> Diagnosis | None:
    """The diagnosis, within a fifth of the time of a fit whose time was limited."""
    if est.generator == "gnn":
        return None
    return est.diagnose(None if max_time is None else max(2.0, 0.2 * max_time))


def certificate_of(
    est: JSPGFN, post: Posterior, report: Diagnosis | None
) -> list[list[str]]:
    """Name, figure and meaning of each measure of the fit."""
    if report is None:
        sd = f"{est._engine.certificate():.3f} nats"
        ess = float(1 / (len(post) * (post.weights**2).sum()))
        return [
            ["residual sd", sd, "of the balance of transitions; 0 = perfect"],
            ["effective sample", f"{ess:.3f}", "share of the draws, by weights"],
        ]
    gap = est._engine.certificate()
    against = "independent exact draws"
    if report.reference == "chains":
        against = f"states of long tempered chains, R-hat {report.r_hat:.3f}"
    return [
        ["judged against", report.reference, f"{report.n_reference:,} {against}"],
        [
            "total variation",
            f"{report.total_variation:.4f}",
            "largest error of the probability of any set of graphs; 0 = perfect",
        ],
        ["KL(draws, exact)", f"{max(report.kl_reverse, 0.0):.4f} nats", "0 = perfect"],
        [
            "KL(exact, draws)",
            f"{max(report.kl_forward, 0.0):.4f} nats",
            "large if a mode is missing",
        ],
        [
            "log Z",
            f"{report.log_partition:.4f}",
            f"log evidence of all graphs; between ELBO {report.elbo:.4f} and EUBO "
            f"{report.eubo:.4f}",
        ],
        [
            "effective sample",
            f"{report.ess_reverse:.3f}",
            "share of the draws, by weights; 1 = perfect",
        ],
        [
            "edge error",
            f"{report.edge_error:.4f}",
            "largest, of a probability; sampling alone brings "
            f"{report.edge_error_floor:.4f}",
        ],
        [
            "gap in training",
            f"{gap:.4f} nats",
            f"both KL together as structure chains saw it, mean of {CHECK_EVERY} updates",
        ],
    ]


# --- report --------------------------------------------------------------------------


def run_report(options: argparse.Namespace) -> None:
    out = options.out or options.result.with_suffix(".html")
    check_writable("--out", out)
    thing = _files.load(options.result)
    about = _files.read_about(options.result)
    if isinstance(thing, Posterior):
        post = thing
    elif isinstance(thing, JSPGFN) and hasattr(thing, "_engine"):
        post = thing.sample(DRAWS, random_state=thing.random_seed_)
        n_rows = thing._tables.n_rows
        about = about or describe_fit(thing, post, options.result.name, n_rows, None)
    elif hasattr(thing, "_tables"):
        post = thing.sample(DRAWS, random_state=thing.random_seed_)
    else:
        raise ValueError(f"{options.result} holds {thing!r}, which has not been fitted")
    about.setdefault("title", f"Which variables act on which: {options.result.name}")
    write(out, make_report(post, about))
    print(f"written: {out}")


# --- demo ----------------------------------------------------------------------------


def run_demo(options: argparse.Namespace) -> None:
    started = time.perf_counter()
    check_folder(options.out)
    sachs = load_sachs()
    print(
        "Sachs et al. 2005, 853 cells, 11 molecules, natural logarithm, BGe, fair prior"
    )
    est = JSPGFN(
        model="bge",
        graph_prior="fair",
        max_time=options.max_time,
        n_jobs=options.n_jobs,
        random_state=options.seed,
        verbose=1,
    ).fit(np.log(sachs.data))
    post = est.sample(options.draws)
    table = post.edge_table()
    known = sachs.graph[
        [sachs.feature_names.index(name) for name in table["parent"]],
        [sachs.feature_names.index(name) for name in table["child"]],
    ]
    table.insert(2, "literature", np.where(known, "yes", ""))
    print_edges(table)
    print(
        "literature = one of the 17 edges usually drawn. Observational data do not tell\n"
        "the directions of equivalent graphs apart: both directions share probability."
    )
    seconds = time.perf_counter() - started
    about = describe_fit(est, post, "Sachs proteins", len(sachs.data), seconds)
    print_certificate(about)
    options.out.mkdir(parents=True, exist_ok=True)
    table.to_csv(options.out / "edges.csv", index=False)
    save_pictures(post, options.out)
    write(options.out / "report.html", make_report(post, about))
    print(
        f"\nwritten: edges.csv, edges.png, graph.png, report.html in {options.out}/   "
        f"({time.perf_counter() - started:.1f} s in all)"
    )


def print_edges(table: pandas.DataFrame) -> None:
    print(f"\nEdges parent -> child, most probable first ({ROWS_SHOWN} at most):\n")
    print(
        table.head(ROWS_SHOWN).to_string(index=False, float_format=lambda x: f"{x:.3f}")
    )
    print(
        "\nprobability = share of posterior draws with the edge; coef_* = its weight in"
    )
    print(
        "those draws, mean, standard deviation and ends of the central 90 % interval."
    )


def print_certificate(about: dict[str, Any]) -> None:
    """How far the draws are from the posterior."""
    print("\nHow good is the fit?\n")
    if about["verdict"]:
        print(textwrap.fill(about["verdict"], 88), end="\n\n")
    for name, figure, meaning in about["certificate"]:
        lines = textwrap.wrap(meaning, 56)
        print(f"  {name:<18}{figure:<15}{lines[0]}")
        for line in lines[1:]:
            print(f"{'':35}{line}")
    print(
        "\nA mode that neither draws nor the reference have visited is seen by none of "
        "these."
    )


def save_pictures(post: Posterior, folder: Path) -> None:
    figure_class = import_extra("matplotlib.figure").Figure
    for name, plot, size in (
        ("edges.png", post.plot_edges, (7.5, 6.5)),
        ("graph.png", post.plot_graph, (7.5, 7)),
    ):
        figure = figure_class(figsize=size, layout="constrained")
        plot(ax=figure.subplots())
        figure.savefig(folder / name, dpi=150)
