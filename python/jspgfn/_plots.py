"""Pictures on matplotlib axes.

Colours are told apart by people who see few of them: one sequential map, and blue, orange
and grey of Okabe and Ito for kinds of things, which also differ in shape or place.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ._labels import import_extra

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = NDArray[np.float64]

COLOURS = "Blues"
BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "0.45"
PRINT_UP_TO = 20  # variables; beyond, a heat map has no numbers in its cells
LABEL_UP_TO = 40  # edges; beyond, they have no numbers beside them
NAME_UP_TO = 5  # points named in a picture of agreement
ARROW = "\N{RIGHTWARDS ARROW}"


def new_axes(width: float, height: float | None = None) -> Axes:
    pyplot = import_extra("matplotlib.pyplot")
    size = (width, height or width)
    _, ax = pyplot.subplots(figsize=size, layout="constrained")
    return ax  # type: ignore[no-any-return]


def short(probability: float) -> str:
    return f"{probability:.2f}".removeprefix("0")


def plain(name: str) -> str:
    """A name as matplotlib shows it letter by letter: dollars would begin formulas."""
    return name.replace("$", r"\$")


# --- edges ---------------------------------------------------------------------------


def plot_edges(
    probability: Floats,
    names: list[str],
    ax: Axes | None,
    truth: NDArray[np.bool_] | None = None,
) -> Axes:
    n_variables = len(names)
    names = [plain(name) for name in names]
    size = 2 + min(0.4 * n_variables, 4 + 0.2 * n_variables)
    ax = ax or new_axes(max(5.0, size))  # wide enough for the title
    image = ax.imshow(probability, vmin=0, vmax=1, cmap=COLOURS)
    size = 10 if n_variables <= 20 else max(5, 10 - 0.06 * n_variables)
    ax.set_xticks(range(n_variables), names, rotation=90, fontsize=size)
    ax.set_yticks(range(n_variables), names, fontsize=size)
    ax.set_xlabel("child")
    ax.set_ylabel("parent")
    title = f"Probability of the edge parent {ARROW} child"
    ax.tick_params(length=0)
    ax.set_xticks(np.arange(n_variables + 1) - 0.5, minor=True)
    ax.set_yticks(np.arange(n_variables + 1) - 0.5, minor=True)
    ax.grid(which="minor", color="0.9", linewidth=1 if n_variables <= 20 else 0.4)
    ax.tick_params(which="minor", length=0)
    ax.spines[:].set_visible(False)
    if n_variables <= PRINT_UP_TO:
        for i, j in np.argwhere(probability >= 0.005):
            ax.text(
                j,
                i,
                short(float(probability[i, j])),
                ha="center",
                va="center",
                fontsize=8,
                color="white" if probability[i, j] > 0.6 else "black",
            )
    for k in range(n_variables):  # no variable is its own parent
        ax.text(k, k, "\N{MIDDLE DOT}", ha="center", va="center", color="0.6")
    if truth is not None:
        mark_cells(ax, np.argwhere(truth))
        title += "\nframes: true edges"
    ax.set_title(title)
    ax.figure.colorbar(image, ax=ax, shrink=0.7, label="probability")
    return ax


def mark_cells(ax: Axes, cells: NDArray[np.int64]) -> None:
    rectangle = import_extra("matplotlib.patches").Rectangle
    for i, j in cells.tolist():
        ax.add_patch(
            rectangle(
                (j - 0.44, i - 0.44),
                0.88,
                0.88,
                fill=False,
                ec=ORANGE,
                lw=1.6,
                zorder=3,
            )
        )


def plot_graph(
    probability: Floats, names: list[str], threshold: float, ax: Axes | None
) -> Axes:
    networkx = import_extra("networkx")
    n_variables = len(names)
    longest = max(len(name) for name in names)
    names = [plain(name) for name in names]
    ax = ax or new_axes(7 if n_variables <= 15 else 11)
    graph = networkx.DiGraph()
    graph.add_nodes_from(names)
    for i, j in sorted(np.argwhere(probability > threshold).tolist()):
        graph.add_edge(names[i], names[j], probability=float(probability[i, j]))
    positions = layout(networkx, probability, names)
    font = 11 if n_variables <= 15 else 9 if n_variables <= 30 else 7
    size = (700 + 260 * longest) * (font / 11) ** 2
    networkx.draw_networkx_nodes(
        graph, positions, ax=ax, node_size=size, node_color="white", edgecolors="0.3"
    )
    networkx.draw_networkx_labels(graph, positions, ax=ax, font_size=font)
    bend = "arc3,rad=0.18"  # an edge and its reverse must not cover each other
    shown = [graph.edges[edge]["probability"] for edge in graph.edges]
    networkx.draw_networkx_edges(
        graph,
        positions,
        ax=ax,
        node_size=size,
        arrowsize=14 * font / 11,
        width=[0.6 + 2.6 * p for p in shown],
        edge_color=shown,
        edge_cmap=import_extra("matplotlib").colormaps[COLOURS],
        edge_vmin=-0.4,  # so that faint edges are still visible on white
        edge_vmax=1.0,
        connectionstyle=bend,
    )
    if graph.number_of_edges() <= LABEL_UP_TO and n_variables <= 15:
        networkx.draw_networkx_edge_labels(
            graph,
            positions,
            {edge: short(graph.edges[edge]["probability"]) for edge in graph.edges},
            ax=ax,
            font_size=8,
            rotate=False,
            label_pos=0.36,  # nearer to one end, so that two directions do not collide
            connectionstyle=bend,
            bbox={
                "boxstyle": "round,pad=0.1",
                "fc": "white",
                "ec": "none",
                "alpha": 0.8,
            },
        )
    ax.set_title(f"Edges with probability above {threshold:g}; darker is more probable")
    ax.margins(0.08)
    ax.set_axis_off()
    return ax


def layout(networkx: Any, probability: Floats, names: list[str]) -> dict[str, Floats]:
    """Positions that put adjacent variables near each other, always the same."""
    adjacent = probability + probability.T
    near = networkx.Graph()
    near.add_nodes_from(names)
    for i in range(len(names)):
        for j in range(i):
            near.add_edge(names[i], names[j], distance=2.0 - min(adjacent[i, j], 1.0))
    start = networkx.circular_layout(near)
    if len(names) < 3:
        return start  # type: ignore[no-any-return]
    return networkx.kamada_kawai_layout(near, pos=start, weight="distance")  # type: ignore[no-any-return]


# --- densities -----------------------------------------------------------------------


@dataclass
class Ridge:
    """Draws of one number that may be absent."""

    label: str
    values: Floats  # where present
    weights: Floats  # of these, summing to the probability of presence

    @property
    def absent(self) -> float:
        return max(0.0, 1.0 - float(self.weights.sum()))


def density(values: Floats, weights: Floats, at: Floats) -> Floats:
    """Weighted kernel density, with the rule of thumb of Silverman for the width."""
    weights = weights / weights.sum()
    mean = weights @ values
    sd = float(np.sqrt(weights @ (values - mean) ** 2))
    n = 1 / float((weights**2).sum())
    # not so narrow that it falls between two points of the grid
    width = max(0.9 * sd * n**-0.2, 0.7 * float(at[1] - at[0]))
    z = (at[:, None] - values) / width
    return np.asarray(np.exp(-0.5 * z * z) @ weights / (width * np.sqrt(2 * np.pi)))


def thinned(ridge: Ridge, most: int = 2000) -> Ridge:
    """Every k-th value: enough for a picture."""
    step = -(-len(ridge.values) // most)
    weights = ridge.weights[::step]
    weights = weights * (ridge.weights.sum() / weights.sum())
    return Ridge(ridge.label, ridge.values[::step], weights)


def plot_ridges(
    ridges: list[Ridge],
    ax: Axes | None,
    xlabel: str,
    title: str,
    absent: str,
    own: bool,
) -> Axes:
    """One density per row; to the right the probability that there is nothing.

    own : every row in units of its own largest value, for numbers of different units
    """
    from ._summaries import summarise

    n = len(ridges)
    ax = ax or new_axes(8, 1.6 + 0.55 * max(n, 1))
    present = [ridge for ridge in ridges if len(ridge.values)]
    factors = {id(ridge): 1.0 for ridge in ridges}
    if own:
        for ridge in present:
            factors[id(ridge)] = 1 / (float(np.abs(ridge.values).max()) or 1.0)
    shown = [thinned(ridge) for ridge in present]
    ends = [
        end * factors[id(ridge)]
        for ridge in present
        for end in central(ridge.values, ridge.weights)
    ]
    low, high = min([0.0, *ends]), max([0.0, *ends])
    room = 0.08 * (high - low or 1.0)
    at = np.linspace(low - room, high + room, 400)
    curves = {
        id(original): density(ridge.values * factors[id(original)], ridge.weights, at)
        for original, ridge in zip(present, shown, strict=True)
    }
    for row, ridge in enumerate(ridges):
        base = n - 1 - row
        ax.axhline(base, color="0.85", linewidth=0.8, zorder=1)
        words = percent(ridge.absent)
        if len(ridge.values):
            # height by presence, so that what is hardly ever there looks so
            curve = curves[id(ridge)] / curves[id(ridge)].max()
            top = base + 0.85 * curve * max(1 - ridge.absent, 0.08)
            ax.fill_between(at, base, top, color=BLUE, alpha=0.55, lw=0, zorder=2)
            ax.plot(at, top, color=BLUE, linewidth=1, zorder=3)
            mean, _, lower, upper = summarise(ridge.values, ridge.weights)
            words += f"   {mean:.3g} [{lower:.3g}, {upper:.3g}]"
        ax.text(
            1.01, base + 0.2, words, transform=ax.get_yaxis_transform(), fontsize=9,
            va="center",
        )  # fmt: skip
    ax.text(
        1.01, n - 0.05, f"{absent}   mean [90 %]", transform=ax.get_yaxis_transform(),
        fontsize=9, va="bottom", color=GREY,
    )  # fmt: skip
    ax.axvline(0, color=ORANGE, linewidth=1, linestyle="--", zorder=1)
    ax.set_yticks(
        [n - 1 - row for row in range(n)], [plain(ridge.label) for ridge in ridges]
    )
    ax.set_ylim(-0.15, n + 0.05)
    ax.set_xlim(low - room, high + room)
    ax.tick_params(axis="y", length=0)
    ax.spines[["left", "right", "top"]].set_visible(False)
    ax.set_xlabel(xlabel + (", in units of the row's largest" if own else ""))
    ax.set_title(plain(title), pad=22)
    return ax


def percent(share: float) -> str:
    """In whole per cent, where 0 % and 100 % mean exactly that."""
    if 0 < share < 0.005:
        return "<1%"
    if 0.995 < share < 1 - 1e-12:
        return ">99%"
    return f"{share:.0%}"


def central(values: Floats, weights: Floats) -> tuple[float, float]:
    """The 0.5 % and 99.5 % quantiles: single wild draws do not set the scale."""
    order = np.argsort(values)
    share = np.cumsum(weights[order]) / weights.sum()
    picked = values[order][
        np.minimum(np.searchsorted(share, [0.005, 0.995]), len(values) - 1)
    ]
    return float(picked[0]), float(picked[1])


# --- fits ----------------------------------------------------------------------------


def smooth(values: Floats, window: int) -> Floats:
    """Running mean; NaN where the window holds no number."""
    good = np.isfinite(values)
    sums, counts = (
        np.convolve(x, np.ones(window), "same")
        for x in (np.where(good, values, 0.0), good.astype(float))
    )
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def plot_curve(
    ax: Axes, values: Floats, label: str, colour: str, style: str = "-"
) -> None:
    """The raw values faint, their running mean over 2 % of all updates strong."""
    updates = np.arange(1, len(values) + 1)
    window = max(1, len(values) // 50)
    step = -(-len(values) // 4000)
    if window > 1:
        ax.plot(updates[::step], values[::step], color=colour, alpha=0.2, linewidth=0.7)
    means = smooth(values, window)[::step]
    ax.plot(updates[::step], means, style, color=colour, linewidth=1.6, label=label)


def plot_history(
    history: dict[str, Floats], axes: Any, good_gap: float, diagnosis: Any = None
) -> Any:
    """Two panels: how far from the posterior, and how good the draws are."""
    if axes is None:
        pyplot = import_extra("matplotlib.pyplot")
        _, axes = pyplot.subplots(
            2, 1, figsize=(8, 6), sharex=True, layout="constrained"
        )
    upper, lower = axes
    if "gap" in history:
        plot_curve(upper, np.abs(history["gap"]), "gap (EUBO - ELBO, absolute)", BLUE)
        upper.axhline(
            good_gap, color=GREY, linestyle=":", label=f"{good_gap:g} is good"
        )
        upper.set_ylabel("nats")
        plot_curve(lower, history["own_ess"], "effective sample size of draws", BLUE)
        plot_curve(
            lower, history["acceptance"], "draws that chains accept", ORANGE, "--"
        )
        lower.set_ylim(-0.02, 1.02)
        lower.set_ylabel("share")
        n_first = int(np.count_nonzero(np.cumsum(history["phase"] > 0) == 0))
        if n_first:
            for ax, label in (
                (upper, None),
                (lower, "maximum likelihood on chain states"),
            ):
                ax.axvspan(1, n_first, color="0.93", zorder=0, lw=0, label=label)
    else:
        plot_curve(upper, history["loss"], "loss", BLUE)
        upper.set_ylabel("loss")
        label = "standard deviation of the detailed balance residual"
        plot_curve(lower, history["residual_sd"], label, BLUE)
        lower.set_yscale("log")
        lower.set_ylabel("nats")
    if diagnosis is not None:
        mark_diagnosis(upper, diagnosis, with_line="gap" in history)
    with np.errstate(invalid="ignore"):
        upper.set_yscale("log")
    for ax in (upper, lower):
        ax.legend(loc="best", fontsize=8, frameon=False)
        ax.spines[["right", "top"]].set_visible(False)
    lower.set_xlabel("update")
    return axes


def mark_diagnosis(ax: Axes, diagnosis: Any, with_line: bool) -> None:
    gap = float(diagnosis.eubo - diagnosis.elbo)
    if with_line and gap > 0:
        label = f"EUBO - ELBO of the diagnosis, {gap:.3g}"
        ax.axhline(gap, color=ORANGE, linestyle="--", linewidth=1.2, label=label)
    ax.set_title(
        f"ELBO {diagnosis.elbo:.3f}  \N{LESS-THAN OR EQUAL TO}  "
        f"log Z {diagnosis.log_partition:.3f}  \N{LESS-THAN OR EQUAL TO}  "
        f"EUBO {diagnosis.eubo:.3f}\n{diagnosis.verdict}",
        fontsize=10,
    )


def plot_agreement(
    one: tuple[Floats, Floats],
    two: tuple[Floats, Floats],
    names: list[str],
    labels: tuple[str, str],
    ax: Axes | None,
) -> Axes:
    """Edge probabilities (with standard errors) of two runs against each other."""
    ax = ax or new_axes(6)
    off_diagonal = ~np.eye(len(names), dtype=bool)
    x, y = one[0][off_diagonal], two[0][off_diagonal]
    error = np.hypot(one[1], two[1])[off_diagonal]
    ax.plot([0, 1], [0, 1], color=GREY, linewidth=1, zorder=1)
    ax.errorbar(
        x, y, xerr=2 * one[1][off_diagonal], yerr=2 * two[1][off_diagonal], fmt="none",
        ecolor="0.75", elinewidth=0.8, zorder=2,
    )  # fmt: skip
    # beyond chance: about one in 15,000 points by luck
    far = np.abs(x - y) > np.maximum(4 * error, 1e-9)
    ax.scatter(x[~far], y[~far], s=18, color=BLUE, alpha=0.7, zorder=3, lw=0)
    ax.scatter(
        x[far], y[far], s=34, color=ORANGE, marker="D", zorder=4,
        label=f"differ by more than 4 standard errors: {int(far.sum())}",
    )  # fmt: skip
    pairs = np.argwhere(off_diagonal)
    named: list[int] = []
    for k in np.argsort(-np.abs(x - y)).tolist():
        crowded = any(abs(y[k] - y[m]) < 0.05 and abs(x[k] - x[m]) < 0.4 for m in named)
        if not far[k] or crowded or len(named) == NAME_UP_TO:
            continue
        named.append(k)
        i, j = pairs[k]
        right = x[k] > 0.6
        ax.annotate(
            plain(f"{names[i]} {ARROW} {names[j]}"), (x[k], y[k]), fontsize=8,
            xytext=(-7 if right else 7, 3), textcoords="offset points",
            ha="right" if right else "left",
        )  # fmt: skip
    largest = float(np.abs(x - y).max(initial=0))
    ax.set_title(f"Edge probabilities of two runs; largest difference {largest:.3f}")
    ax.set_xlabel(plain(labels[0]))
    ax.set_ylabel(plain(labels[1]))
    ax.set_xlim(-0.03, 1.03)
    ax.set_ylim(-0.03, 1.03)
    ax.set_aspect("equal")
    if far.any():
        ax.legend(loc="upper left", fontsize=8, frameon=False)
    ax.spines[["right", "top"]].set_visible(False)
    return ax


def plot_mechanism(
    curve: Any, data: tuple[Floats, Floats], names: tuple[str, str], ax: Axes | None
) -> Axes:
    """Mean of a child against one parent: some draws, their mean and a 90 % band."""
    ax = ax or new_axes(6, 4.5)
    x, curves = curve.x, curve.curves
    ax.scatter(*data, s=8, color="0.7", lw=0, zorder=1, label="data")
    if len(curves):
        ax.fill_between(
            x,
            curve.low,
            curve.high,
            color=BLUE,
            alpha=0.25,
            lw=0,
            label="90 %",
            zorder=2,
        )
        step = -(-len(curves) // 15)
        ax.plot(x, curves[::step].T, color=BLUE, linewidth=0.6, alpha=0.4, zorder=3)
        ax.plot(x, curve.mean, color=BLUE, lw=2, label="mean of draws", zorder=4)
    cause, outcome = map(plain, names)
    ax.set_xlabel(cause)
    ax.set_ylabel(outcome)
    ax.set_title(
        f"{cause} {ARROW} {outcome}, given the edge (probability {curve.probability:.2f})"
    )
    ax.legend(fontsize=8, frameon=False)
    ax.spines[["right", "top"]].set_visible(False)
    return ax
