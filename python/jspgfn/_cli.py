"""The command line: jspgfn demo, jspgfn fit, jspgfn show-config."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from . import __version__
from ._config import show_config
from ._core import NumericalError
from ._engine import CHECK_EVERY, certificate
from ._estimator import JSPGFN
from ._labels import import_extra
from ._models import MODEL_NAMES
from ._posterior import Posterior
from ._priors import GRAPH_PRIORS
from .datasets import load_sachs

if TYPE_CHECKING:
    import pandas

ROWS_SHOWN = 30


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; returns the exit status: 0 success, 2 bad input, 130 Ctrl-C."""
    options = make_parser().parse_args(arguments)
    try:
        options.run(options)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except (ValueError, TypeError, OSError, ImportError, NumericalError) as error:
        print(f"jspgfn: {error}", file=sys.stderr)
        return 2
    return 0


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="jspgfn",
        description="Sample the joint posterior over Bayesian networks and parameters.",
    )
    parser.add_argument("--version", action="version", version=f"jspgfn {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    demo = commands.add_parser(
        "demo",
        help="the Sachs protein data: edge table, certificate, two pictures",
        description="Fit 853 single cells of Sachs et al. 2005 (natural logarithm, BGe "
        "score, fair prior) and write edges.csv, edges.png and graph.png.",
    )
    demo.add_argument("--out", type=Path, default=Path("jspgfn-demo"), help="folder")
    add_training_options(demo, draws=10_000)
    demo.set_defaults(run=run_demo)

    fit = commands.add_parser(
        "fit",
        help="fit a table of numbers in a CSV file",
        description="Fit a CSV file with a header line and one numeric column per "
        "variable. Writes into a folder: edges.csv (the edge table) and draws.npz "
        "(arrays graphs, coef, intercept, noise_scale (bdeu: table, offset, n_states), "
        "weights, log_prob, log_prob_theta, "
        "log_reward, feature_names; graphs[s, i, j] = edge i -> j in draw s).",
    )
    fit.add_argument("data", type=Path, help="CSV file")
    fit.add_argument(
        "--out", type=Path, help="folder; default: the name of the data file"
    )
    fit.add_argument("--model", default="bge", choices=list(MODEL_NAMES))
    fit.add_argument("--prior", default="fair", choices=list(GRAPH_PRIORS))
    fit.add_argument("--n-iter", type=int, help="gradient updates")
    add_training_options(fit, draws=1000)
    fit.set_defaults(run=run_fit)

    config = commands.add_parser(
        "show-config", help="versions, instruction set, threads"
    )
    config.set_defaults(run=lambda options: show_config())
    return parser


def add_training_options(parser: argparse.ArgumentParser, draws: int) -> None:
    parser.add_argument(
        "--max-time",
        type=float,
        help="wall seconds for the fit; default: a number of updates set by the number "
        "of variables, fewer when the fit is good",
    )
    parser.add_argument(
        "--draws", type=count_of_draws, default=draws, help=f"default {draws}"
    )
    parser.add_argument("--seed", type=int, default=0, help="default 0")
    parser.add_argument(
        "--n-jobs", type=int, help="threads; default: all that are allowed"
    )


def count_of_draws(text: str) -> int:
    """For argparse, so that a wrong number is refused before the fit and not after it."""
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {text}")
    return int(text)


def check_folder(folder: Path) -> None:
    """OSError unless files can be written into it, once the missing part is made."""
    there = folder
    while not there.exists() and there != there.parent:
        there = there.parent
    if not there.is_dir():
        raise NotADirectoryError(f"--out must be a folder, but {there} is a file")
    if not os.access(there, os.W_OK | os.X_OK):
        raise PermissionError(f"--out: cannot write into {there}")


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
    print_certificate(est, post)
    options.out.mkdir(parents=True, exist_ok=True)
    table.to_csv(options.out / "edges.csv", index=False)
    save_pictures(post, options.out)
    print(
        f"\nwritten: edges.csv, edges.png, graph.png in {options.out}/   "
        f"({time.perf_counter() - started:.1f} s in all)"
    )


def run_fit(options: argparse.Namespace) -> None:
    pandas = import_extra("pandas")
    table = pandas.read_csv(options.data)
    out = options.out or Path(options.data.stem)
    check_folder(out)
    est = JSPGFN(
        model=options.model,
        graph_prior=options.prior,
        n_iter=options.n_iter,
        max_time=options.max_time,
        n_jobs=options.n_jobs,
        random_state=options.seed,
        verbose=1,
    ).fit(table)
    post = est.sample(options.draws)
    edges = post.edge_table()
    print_edges(edges)
    print_certificate(est, post)
    out.mkdir(parents=True, exist_ok=True)
    edges.to_csv(out / "edges.csv", index=False)
    arrays: dict[str, Any] = dict(
        post.theta,
        graphs=post.graphs,
        weights=post.weights,
        log_prob=np.asarray(post.log_prob),
        log_prob_theta=post.log_prob_theta,
        log_reward=post.log_reward,
        feature_names=np.array(post.feature_names),
    )
    np.savez_compressed(out / "draws.npz", **arrays)
    print(f"\nwritten: edges.csv and draws.npz in {out}/")


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


def print_certificate(est: JSPGFN, post: Posterior) -> None:
    """How far the draws are from the posterior, as far as training knows."""
    metrics = est._engine.metrics()
    gap = certificate(metrics)
    ess = 1 / (len(post) * (post.weights**2).sum())
    weighted, _ = post._edge_probabilities(weighted=True)
    shift = np.abs(weighted - post.graphs.mean(axis=0)).max()
    figures = [
        (
            "gap",
            f"{gap:.4f} nats",
            "KL(draws | posterior) + KL(posterior | draws), as far",
        ),
        (
            "",
            "",
            f"as structure chains see it; mean of {CHECK_EVERY} updates; 0 = perfect",
        ),
        (
            "chain acceptance",
            f"{certificate(metrics, 'acceptance'):.3f}",
            "share of draws that chains accept as proposals; 1 = perfect",
        ),
        (
            "effective sample",
            f"{ess:.3f}",
            "share of the draws, by weights; 1 = perfect",
        ),
        ("effect of weights", f"{shift:.4f}", "largest change of an edge probability"),
    ]
    print("\nHow good is the fit?\n")
    for name, figure, meaning in figures:
        print(f"  {name:<18}{figure:<13}{meaning}")
    print("\nNone of these sees a mode that neither draws nor chains have visited.")


def save_pictures(post: Posterior, folder: Path) -> None:
    figure_class = import_extra("matplotlib.figure").Figure
    for name, plot, size in (
        ("edges.png", post.plot_edges, (7.5, 6.5)),
        ("graph.png", post.plot_graph, (7.5, 7)),
    ):
        figure = figure_class(figsize=size, layout="constrained")
        plot(ax=figure.subplots())
        figure.savefig(folder / name, dpi=150)
