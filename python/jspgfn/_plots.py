"""Pictures of edge probabilities on matplotlib axes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ._labels import import_extra

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = NDArray[np.float64]

COLOURS = "Blues"
PRINT_UP_TO = 20  # variables; beyond, a heat map has no numbers in its cells
LABEL_UP_TO = 40  # edges; beyond, they have no numbers beside them


def new_axes(size: float) -> Axes:
    pyplot = import_extra("matplotlib.pyplot")
    _, ax = pyplot.subplots(figsize=(size, size), layout="constrained")
    return ax  # type: ignore[no-any-return]


def plot_edges(probability: Floats, names: list[str], ax: Axes | None) -> Axes:
    n_variables = len(names)
    ax = ax or new_axes(2 + 0.4 * n_variables)
    image = ax.imshow(probability, vmin=0, vmax=1, cmap=COLOURS)
    ax.set_xticks(range(n_variables), names, rotation=90)
    ax.set_yticks(range(n_variables), names)
    ax.set_xlabel("child")
    ax.set_ylabel("parent")
    ax.set_title("Probability of the edge parent \N{RIGHTWARDS ARROW} child")
    ax.tick_params(length=0)
    ax.set_xticks(np.arange(n_variables + 1) - 0.5, minor=True)
    ax.set_yticks(np.arange(n_variables + 1) - 0.5, minor=True)
    ax.grid(which="minor", color="white", linewidth=1)
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
    ax.figure.colorbar(image, ax=ax, shrink=0.7, label="probability")
    return ax


def plot_graph(
    probability: Floats, names: list[str], threshold: float, ax: Axes | None
) -> Axes:
    networkx = import_extra("networkx")
    ax = ax or new_axes(7)
    graph = networkx.DiGraph()
    graph.add_nodes_from(names)
    for i, j in sorted(np.argwhere(probability > threshold).tolist()):
        graph.add_edge(names[i], names[j], probability=float(probability[i, j]))
    positions = layout(networkx, probability, names)
    size = 700 + 260 * max(len(name) for name in names)
    networkx.draw_networkx_nodes(
        graph, positions, ax=ax, node_size=size, node_color="white", edgecolors="0.3"
    )
    networkx.draw_networkx_labels(graph, positions, ax=ax, font_size=11)
    bend = "arc3,rad=0.18"  # an edge and its reverse must not cover each other
    shown = [graph.edges[edge]["probability"] for edge in graph.edges]
    networkx.draw_networkx_edges(
        graph,
        positions,
        ax=ax,
        node_size=size,
        arrowsize=14,
        width=[0.6 + 2.6 * p for p in shown],
        edge_color=shown,
        edge_cmap=import_extra("matplotlib").colormaps[COLOURS],
        edge_vmin=-0.4,  # so that faint edges are still visible on white
        edge_vmax=1.0,
        connectionstyle=bend,
    )
    if graph.number_of_edges() <= LABEL_UP_TO:
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


def short(probability: float) -> str:
    return f"{probability:.2f}".removeprefix("0")


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
