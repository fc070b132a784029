"""A page about draws for people: table, pictures, certificate, settings, in one file.

Everything is inside the page: pictures as base64, style in the head, no scripts.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from ._core import config
from ._labels import import_extra
from ._posterior import Posterior

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes

EDGES_SHOWN = 60  # rows of the table
LEAST_SHOWN = 0.01  # probability below which edges are left out
WEIGHTS_SHOWN = 25  # rows of the picture of weights
POINTS_KEPT = 120  # of a training curve
INK, ACCENT = "#1b2a3a", "#2166ac"

STYLE = """
:root { --ink: #1b2a3a; --soft: #5b6b7b; --line: #dfe5ec; --accent: #2166ac; }
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif;
  color: var(--ink); background: #f4f6f9; margin: 0; }
main { max-width: 1080px; margin: 0 auto; padding: 32px 24px 64px; }
h1 { font-size: 28px; margin: 0 0 4px; }
h2 { font-size: 20px; margin: 0 0 8px; }
p { margin: 0 0 12px; max-width: 75ch; }
.soft { color: var(--soft); }
section { background: white; border: 1px solid var(--line); border-radius: 10px;
  padding: 20px 24px; margin-top: 20px; }
.facts { display: flex; flex-wrap: wrap; gap: 12px; margin-top: 20px; }
.fact { background: white; border: 1px solid var(--line); border-radius: 10px;
  padding: 10px 18px; flex: 1 1 130px; }
.fact b { display: block; font-size: 22px; font-weight: 600; }
.verdict { border-left: 6px solid var(--accent); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; width: 100%; }
th { text-align: left; font-weight: 600; color: var(--soft); font-size: 14px;
  border-bottom: 2px solid var(--line); padding: 6px 12px 6px 0; vertical-align: bottom; }
td { border-bottom: 1px solid var(--line); padding: 5px 12px 5px 0;
  vertical-align: top; }
td.number, th.number { text-align: right; }
td.name { white-space: nowrap; }
.bar { display: inline-block; width: 110px; height: 10px; background: #e8edf3;
  border-radius: 5px; margin-right: 8px; overflow: hidden; }
.bar i { display: block; height: 100%; background: var(--accent); }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(420px, 1fr));
  gap: 20px; }
figure { margin: 0; }
img { max-width: 100%; height: auto; display: block; margin: 0 auto; }
ul { margin: 0; padding-left: 20px; } li { margin: 4px 0; max-width: 80ch; }
@media print { body { background: white; } section, .fact { break-inside: avoid; } }
@media (max-width: 520px) { .pair { grid-template-columns: 1fr; } }
"""

READING = """
<li><b>Probability</b> is the share of sampled graphs that have the arrow
parent &rarr; child. Its error is that of the number of draws only.</li>
<li><b>Weight</b> is the change of the child per unit of the parent with its other parents
held fixed, over the draws that have the arrow: mean and central 90&nbsp;% interval.</li>
<li>Graphs of one Markov equivalence class fit observational data equally well. An arrow
that may point either way shares its probability between both directions; <b>either
way</b> is their sum, the probability that the two are joined at all.</li>
<li>An arrow is not proof of a cause: hidden common causes, selection and feedback are
not in the model.</li>
"""


def make_report(post: Posterior, about: dict[str, Any]) -> str:
    """The page. `about`: title, verdict, certificate, settings, curve; all optional."""
    title = str(about.get("title") or "Posterior of a Bayesian network")
    table = post.edge_table()
    parts = [
        f"<h1>{escape(title)}</h1>",
        '<p class="soft">Arrows between variables and their strength, with how sure one '
        f"can be: jspgfn {escape(str(config()['version']))}</p>",
        facts(post, table),
        verdict(about),
        section("Probable edges", edge_rows(table)),
        section("Pictures", pictures(post, table)),
        certificate(about),
        section("How to read this", f"<ul>{READING}</ul>"),
        settings(about),
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n"
        f"<body>\n<main>\n{''.join(parts)}\n</main>\n</body>\n</html>\n"
    )


# --- parts ---------------------------------------------------------------------------


def section(title: str, body: str, kind: str = "") -> str:
    return f'\n<section class="{kind}">\n<h2>{escape(title)}</h2>\n{body}\n</section>'


def facts(post: Posterior, table: pandas.DataFrame) -> str:
    n_edges = post.graphs.sum(axis=(1, 2))
    sure = int((table["probability"] > 0.9).sum())
    shown = {
        "variables": str(len(post.feature_names)),
        "graphs drawn": f"{len(post):,}",
        "edges per graph": f"{n_edges.mean():.1f} \N{PLUS-MINUS SIGN} {n_edges.std():.1f}",
        "edges above 90 %": str(sure),
    }
    cells = [
        f'<div class="fact"><b>{escape(value)}</b>{escape(name)}</div>'
        for name, value in shown.items()
    ]
    return f'\n<div class="facts">{"".join(cells)}</div>'


def verdict(about: dict[str, Any]) -> str:
    words = about.get("verdict")
    if not words:
        return ""
    return section(
        "Can these draws be trusted?", f"<p>{escape(str(words))}</p>", "verdict"
    )


def edge_rows(table: pandas.DataFrame) -> str:
    shown = table[table["probability"] >= LEAST_SHOWN].head(EDGES_SHOWN)
    has_weights = "coef_mean" in table.columns
    heads = [("parent", ""), ("child", ""), ("probability", ""), ("error", "number")]
    heads.append(("either way", "number"))
    either = {
        (row.parent, row.child): float(row.probability)
        for row in table.itertuples(index=False)
    }
    if has_weights:
        heads += [("weight", "number"), ("90 % interval", "number")]
    lines = []
    for row in shown.itertuples(index=False):
        percent = 100 * float(row.probability)
        both = either[row.parent, row.child] + either.get((row.child, row.parent), 0.0)
        cells = [
            f'<td class="name">{escape(str(row.parent))}</td>',
            f'<td class="name">\N{RIGHTWARDS ARROW}&nbsp;{escape(str(row.child))}</td>',
            f'<td class="name"><span class="bar"><i style="width:{percent:.1f}%"></i>'
            f"</span>{row.probability:.3f}</td>",
            f'<td class="number">{row.std_error:.3f}</td>',
            f'<td class="number">{both:.3f}</td>',
        ]
        if has_weights:
            cells += [
                f'<td class="number">{number(row.coef_mean)}</td>',
                f'<td class="number name">{number(row.coef_low)} to '
                f"{number(row.coef_high)}</td>",
            ]
        lines.append(f"<tr>{''.join(cells)}</tr>")
    head = "".join(f'<th class="{kind}">{name}</th>' for name, kind in heads)
    left_out = len(table) - len(shown)
    note = ""
    if left_out:
        note = (
            f'<p class="soft">{left_out} further edges that occur in some draws are less '
            "probable and not shown.</p>"
        )
    if not lines:
        return "<p>No graph that was drawn has an edge.</p>"
    return (
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead>\n'
        f"<tbody>{''.join(lines)}</tbody></table></div>{note}"
    )


def certificate(about: dict[str, Any]) -> str:
    rows = about.get("certificate") or []
    body = ""
    if rows:
        lines = "".join(
            f'<tr><td class="name">{escape(str(name))}</td>'
            f'<td class="name"><b>{escape(str(figure))}</b></td>'
            f"<td>{escape(str(meaning))}</td></tr>"
            for name, figure, meaning in rows
        )
        body = f'<div class="scroll"><table><tbody>{lines}</tbody></table></div>'
        body += (
            '<p class="soft">Every certificate has a blind spot: a mode that neither the '
            "sampler nor its reference has visited is seen by none of these figures.</p>"
        )
    curve = about.get("curve")
    if curve and len(curve.get("update", [])) > 1:
        body += picture(
            lambda ax: plot_curve(ax, curve), (9, 3.2), "Training, update by update"
        )
    return section("How good is the fit?", body) if body else ""


def settings(about: dict[str, Any]) -> str:
    rows = about.get("settings") or {}
    if not rows:
        return ""
    lines = "".join(
        f'<tr><td class="name">{escape(str(name))}</td><td>{escape(str(value))}</td></tr>'
        for name, value in rows.items()
    )
    return section(
        "Settings", f'<div class="scroll"><table><tbody>{lines}</tbody></table></div>'
    )


# --- pictures ------------------------------------------------------------------------


def pictures(post: Posterior, table: pandas.DataFrame) -> str:
    size = min(12.0, 3.2 + 0.36 * len(post.feature_names))
    both = [
        picture(
            lambda ax: post.plot_edges(ax=ax),
            (size, 0.86 * size),
            "Probability of every edge; rows are parents, columns are children",
        ),
        picture(
            lambda ax: post.plot_graph(ax=ax),
            (size, 0.95 * size),
            "Graph of the edges with probability above 0.1",
        ),
    ]
    body = f'<div class="pair">{"".join(both)}</div>'
    if "coef_mean" in table.columns and len(table):
        shown = table.head(WEIGHTS_SHOWN)
        body += picture(
            lambda ax: plot_weights(ax, shown),
            (9, 1.2 + 0.26 * len(shown)),
            "Weights of the most probable edges, given that the edge is there: mean and "
            "90 % interval, darker = more probable",
        )
    return body


def picture(draw: Callable[[Axes], Any], size: tuple[float, float], text: str) -> str:
    figure = import_extra("matplotlib.figure").Figure(
        figsize=size, layout="constrained"
    )
    draw(figure.subplots())
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=130)
    data = base64.b64encode(stream.getvalue()).decode("ascii")
    return (
        f'<figure><img alt="{escape(text)}" src="data:image/png;base64,{data}">'
        f'<figcaption class="soft">{escape(text)}.</figcaption></figure>'
    )


def plot_weights(ax: Axes, table: pandas.DataFrame) -> None:
    n = len(table)
    for k, row in enumerate(table.itertuples(index=False)):
        shade = 0.25 + 0.75 * float(row.probability)
        ax.plot([row.coef_low, row.coef_high], [k, k], color=ACCENT, alpha=shade, lw=4)
        ax.plot(row.coef_mean, k, "o", color=INK, alpha=shade, ms=5)
    ax.axvline(0, color="0.6", lw=1, zorder=0)
    arrow = "\N{RIGHTWARDS ARROW}"
    labels = [
        f"{row.parent} {arrow} {row.child}  ({row.probability:.2f})"
        for row in table.itertuples(index=False)
    ]
    ax.set_yticks(range(n), labels, parse_math=False)
    ax.set_ylim(n - 0.4, -0.6)
    ax.set_xlabel("weight, in units of the child per unit of the parent")
    ax.grid(axis="x", color="0.92")
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.tick_params(axis="y", length=0)


def plot_curve(ax: Axes, curve: dict[str, Any]) -> None:
    update = curve["update"]
    shown = (
        {"gap": ACCENT} if "gap" in curve else {"loss": "0.6", "residual_sd": ACCENT}
    )
    for name, style in shown.items():
        values = [math.nan if v is None else v for v in curve.get(name, [])]
        if len(values) == len(update) and np.isfinite(values).any():
            ax.plot(update, values, color=style, lw=1.2, label=CURVES[name])
    ax.set_yscale("symlog", linthresh=1e-3)
    ax.set_xlabel("update")
    ax.grid(color="0.93")
    ax.legend(frameon=False)
    ax.spines[["top", "right"]].set_visible(False)


CURVES = {
    "loss": "loss",
    "gap": "gap between chains and draws (nats)",
    "residual_sd": "residual standard deviation (nats)",
}


def thin_curve(history: dict[str, Any]) -> dict[str, list[float | None]]:
    """Means over up to POINTS_KEPT stretches of the training, NaN as None for JSON."""
    n = len(next(iter(history.values())))
    edges = np.unique(np.linspace(0, n, min(n, POINTS_KEPT) + 1).astype(int))
    curve: dict[str, list[float | None]] = {"update": edges[1:].tolist()}
    for name in CURVES:
        if name in history and n:
            sums = np.add.reduceat(history[name], edges[:-1]) / np.diff(edges)
            curve[name] = [float(v) if math.isfinite(v) else None for v in sums]
    return curve


def number(value: float) -> str:
    """Three digits, without powers of ten where people can do without."""
    if value == 0 or not 1e-4 < abs(value) < 1e6:
        return f"{value:.3g}"
    decimals = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{decimals}f}"
