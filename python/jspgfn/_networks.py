"""Draws of graphs with their parameters: one class per family of models.

A family knows how its parameters are kept, cut and joined, the density of a row of data
under each draw, and what an intervention does. `Posterior` does the rest: weights, sums
over draws, labels. A further family is one more subclass here, named in `FAMILIES`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from typing_extensions import Self

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

LOG_2_PI = math.log(2 * math.pi)


class Networks(ABC):
    """n graphs over D variables, each with parameters.

    Attributes
    ----------
    graphs : bool (n, D, D)
    """

    family: ClassVar[str]
    graphs: Bools

    def __len__(self) -> int:
        return len(self.graphs)

    @property
    def n_variables(self) -> int:
        return int(self.graphs.shape[1])

    @property
    @abstractmethod
    def theta(self) -> dict[str, NDArray[Any]]:
        """Parameters by name."""

    @abstractmethod
    def take(self, draws: NDArray[np.intp]) -> Self:
        """The draws of these numbers, in this order; repeats allowed."""

    @classmethod
    @abstractmethod
    def join(cls, parts: Sequence[Self]) -> Self:
        """All draws of the parts, one after the other."""

    @abstractmethod
    def state(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Arrays, and settings that JSON can hold; `graphs` is kept by the caller."""

    @classmethod
    @abstractmethod
    def from_state(
        cls, graphs: Bools, arrays: dict[str, NDArray[Any]], settings: dict[str, Any]
    ) -> Self:
        """What `state` was taken from."""

    @abstractmethod
    def log_density(self, rows: NDArray[Any], counts: Bools, draws: slice) -> Floats:
        """log p(row | G, theta) for each draw of a slice and each row.

        rows (N, D) in the units of X, or codes of states; counts (N, D) says which cells
        count: those that were not set by an experimenter. Returns (draws, N).
        """

    @property
    def bytes_per_cell(self) -> int:
        """Memory that `log_density` takes per draw and cell of the rows, about."""
        return 24

    @abstractmethod
    def effects(self, cause: int, outcome: int, contrast: Contrast) -> Floats:
        """Effect of setting cause to `high` rather than `low` on the outcome, (n,)."""


class Contrast:
    """Two values of a cause, and how their effect is simulated where it must be.

    low, high : values in the units of X, or codes of states
    state : code of the state of a discrete outcome whose probability is looked at
    """

    def __init__(
        self, low: Any, high: Any, state: int | None, n_simulations: int, seed: int
    ) -> None:
        self.low = low
        self.high = high
        self.state = state
        self.n_simulations = n_simulations
        self.seed = seed


class LinearNetworks(Networks):
    """x_j = intercept_j + sum_i coef_ij x_i + noise_scale_j e_j, in the units of X.

    edge_coef : one number per edge, in the order of nonzero(graphs)
    intercept, noise_scale : (n, D)
    """

    family = "linear"

    def __init__(
        self, graphs: Bools, edge_coef: Floats, intercept: Floats, noise_scale: Floats
    ) -> None:
        self.graphs = graphs
        self.edge_coef = edge_coef
        self.intercept = intercept
        self.noise_scale = noise_scale

    @property
    def theta(self) -> dict[str, NDArray[Any]]:
        return {
            "coef": self.coef(),
            "intercept": self.intercept,
            "noise_scale": self.noise_scale,
        }

    def coef(self, draws: slice = slice(None)) -> Floats:
        """Weights as matrices, (n, D, D), of all draws or a slice of them."""
        graphs = self.graphs[draws]
        first = self.first_edges[draws.start or 0]
        coef = np.zeros(graphs.shape)
        coef[graphs] = self.edge_coef[first : first + np.count_nonzero(graphs)]
        return coef

    @cached_property
    def first_edges(self) -> NDArray[np.intp]:
        """Where the edges of each draw begin in edge_coef, (n + 1,)."""
        counts = self.graphs.sum(axis=(1, 2), dtype=np.intp)
        return np.concatenate([np.zeros(1, np.intp), np.cumsum(counts)])

    def take(self, draws: NDArray[np.intp]) -> LinearNetworks:
        first = self.first_edges
        edges = join_ranges(first[draws], first[draws + 1])
        return LinearNetworks(
            self.graphs[draws],
            self.edge_coef[edges],
            self.intercept[draws],
            self.noise_scale[draws],
        )

    @classmethod
    def join(cls, parts: Sequence[LinearNetworks]) -> LinearNetworks:
        return cls(
            np.concatenate([part.graphs for part in parts]),
            np.concatenate([part.edge_coef for part in parts]),
            np.concatenate([part.intercept for part in parts]),
            np.concatenate([part.noise_scale for part in parts]),
        )

    def state(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        arrays = {
            "edge_coef": self.edge_coef,
            "intercept": self.intercept,
            "noise_scale": self.noise_scale,
        }
        return arrays, {}

    @classmethod
    def from_state(
        cls, graphs: Bools, arrays: dict[str, NDArray[Any]], settings: dict[str, Any]
    ) -> LinearNetworks:
        shape = graphs.shape[:2]
        shapes = {
            "edge_coef": (np.count_nonzero(graphs),),
            "intercept": shape,
            "noise_scale": shape,
        }
        check_shapes(arrays, shapes)
        return cls(graphs, *(arrays[name] for name in shapes))

    def mean(self, j: int, rows: Floats, draws: slice) -> Floats:
        """Mean of x_j given the rest of the rows (N, D), (draws, N)."""
        coef = self.coef(draws)[:, :, j]
        return np.asarray(coef @ rows.T + self.intercept[draws, j, None])

    def log_density(self, rows: Floats, counts: Bools, draws: slice) -> Floats:
        coef = self.coef(draws)
        n, n_variables, _ = coef.shape
        # one product for all draws: residual[r, s, j]
        side_by_side = coef.transpose(1, 0, 2).reshape(n_variables, -1)
        residual = rows[:, None, :] - (rows @ side_by_side).reshape(-1, n, n_variables)
        residual -= self.intercept[draws]
        residual /= self.noise_scale[draws]
        residual **= 2
        half_log = np.log(self.noise_scale[draws]) + 0.5 * LOG_2_PI  # (n, D)
        counted = counts.astype(np.float64)
        squares = np.einsum("rsj,rj->sr", residual, counted)
        return np.asarray(-0.5 * squares - half_log @ counted.T)

    def effects(self, cause: int, outcome: int, contrast: Contrast) -> Floats:
        """Sums over all directed paths of the products of their weights.

        Walks of length 0, 1, 2, ... from the cause until nothing is added. Nothing but
        products along paths is ever added, so no path means exactly 0; solving with
        I - coef would leave rounding errors there.
        """
        total = np.empty(len(self))
        block = max(1, 2**22 // self.n_variables**2)
        for begin in range(0, len(self), block):
            coef = self.coef(slice(begin, begin + block))
            effect = np.zeros((len(coef), 1, self.n_variables))
            effect[:, 0, cause] = 1
            start = effect
            while True:
                longer = start + effect @ coef
                if np.array_equal(longer, effect):
                    break
                effect = longer
            total[begin : begin + block] = effect[:, 0, outcome]
        return np.asarray(total * (contrast.high - contrast.low))


class DiscreteNetworks(Networks):
    """Conditional probability tables.

    tables : "table", all tables one after the other; "offset" (n, D), where each begins;
        "n_states" (D,). Rows = configurations of the parents, the last one fastest.
    states : the states of each variable; their positions are the codes
    """

    family = "discrete"

    def __init__(
        self, graphs: Bools, tables: dict[str, NDArray[Any]], states: list[list[Any]]
    ) -> None:
        self.graphs = graphs
        self.tables = tables
        self.states = states

    @property
    def theta(self) -> dict[str, NDArray[Any]]:
        return self.tables

    def conditional_table(self, s: int, j: int) -> Floats:
        """One axis per parent, then that of the variable's own states. A view."""
        n_states = self.tables["n_states"]
        shape = [*n_states[self.graphs[s, :, j]].tolist(), int(n_states[j])]
        first = int(self.tables["offset"][s, j])
        return self.tables["table"][first : first + math.prod(shape)].reshape(shape)

    def strides(self, j: int, draws: slice) -> Floats:
        """Steps between the states of each parent of j in its table, (draws, D)."""
        parents = self.graphs[draws, :, j]
        n_states = self.tables["n_states"].astype(np.float64)
        sizes = np.where(parents, n_states, 1.0)
        after = np.cumprod(sizes[:, ::-1], axis=1)[:, ::-1] / sizes  # parents behind
        return np.asarray(np.where(parents, after * n_states[j], 0.0))

    def take(self, draws: NDArray[np.intp]) -> DiscreteNetworks:
        offset = self.tables["offset"][draws]
        sizes = self._table_sizes()[draws]
        cells = join_ranges(offset.ravel(), (offset + sizes).ravel())
        ends = np.cumsum(sizes.ravel()).reshape(sizes.shape)
        tables = {
            "table": self.tables["table"][cells],
            "offset": (ends - sizes).astype(self.tables["offset"].dtype),
            "n_states": self.tables["n_states"],
        }
        return DiscreteNetworks(self.graphs[draws], tables, self.states)

    def _table_sizes(self) -> NDArray[np.int64]:
        """Cells of the table of each variable in each draw, (n, D)."""
        n_states = self.tables["n_states"].astype(np.int64)
        of_parents = np.where(self.graphs, n_states[:, None], 1).prod(axis=1)
        return np.asarray(of_parents * n_states)

    @classmethod
    def join(cls, parts: Sequence[DiscreteNetworks]) -> DiscreteNetworks:
        first = parts[0]
        for part in parts[1:]:
            if part.states != first.states or not np.array_equal(
                part.tables["n_states"], first.tables["n_states"]
            ):
                raise ValueError("draws of data with other states cannot be joined")
        begins = np.cumsum([0, *(len(part.tables["table"]) for part in parts[:-1])])
        offsets = [
            part.tables["offset"] + np.asarray(begin, part.tables["offset"].dtype)
            for part, begin in zip(parts, begins, strict=True)
        ]
        tables = {
            "table": np.concatenate([part.tables["table"] for part in parts]),
            "offset": np.concatenate(offsets),
            "n_states": first.tables["n_states"],
        }
        graphs = np.concatenate([part.graphs for part in parts])
        return cls(graphs, tables, first.states)

    def state(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        states = [[plain_state(state) for state in found] for found in self.states]
        return dict(self.tables), {"states": states}

    @classmethod
    def from_state(
        cls, graphs: Bools, arrays: dict[str, NDArray[Any]], settings: dict[str, Any]
    ) -> DiscreteNetworks:
        shapes = {
            "table": (arrays["table"].size,),
            "offset": graphs.shape[:2],
            "n_states": graphs.shape[1:2],
        }
        check_shapes(arrays, shapes)
        made = cls(graphs, {name: arrays[name] for name in shapes}, settings["states"])
        last = arrays["offset"] + made._table_sizes()
        if len(made.states) != made.n_variables or (
            last.size
            and (arrays["offset"].min() < 0 or last.max() > shapes["table"][0])
        ):
            raise ValueError("tables and graphs do not belong together")
        return made

    def log_density(self, rows: NDArray[Any], counts: Bools, draws: slice) -> Floats:
        codes = rows.astype(np.float64)
        total = np.zeros((len(self.graphs[draws]), len(rows)))
        for j in range(self.n_variables):
            # whole numbers below 2^53: exact
            cell = self.strides(j, draws) @ codes.T + codes[:, j]
            cell += self.tables["offset"][draws, j, None]
            with np.errstate(divide="ignore"):
                log_p = np.log(self.tables["table"][cell.astype(np.intp)])
            total += np.where(counts[:, j], log_p, 0.0)
        return total

    def effects(self, cause: int, outcome: int, contrast: Contrast) -> Floats:
        """Change of the probability of a state of the outcome, by simulation.

        The same random numbers for both values of the cause, and at the outcome the
        probability itself rather than a draw of it.
        """
        effect = np.zeros(len(self))
        for s in range(len(self)):
            order = ancestral_order(self.graphs[s], outcome)
            if cause not in order:
                continue  # exactly 0
            uniforms = np.random.default_rng([contrast.seed, s]).random(
                (len(order), contrast.n_simulations)
            )
            high, low = (
                self._probability_after(s, order, uniforms, cause, value, contrast)
                for value in (contrast.high, contrast.low)
            )
            effect[s] = high - low
        return effect

    def _probability_after(
        self,
        s: int,
        order: list[int],
        uniforms: Floats,
        cause: int,
        value: int,
        contrast: Contrast,
    ) -> float:
        """Of the outcome, last in the order, being in the contrast's state."""
        codes: dict[int, NDArray[np.intp]] = {}
        for j, uniform in zip(order, uniforms, strict=True):
            if j == cause:
                codes[j] = np.full(len(uniform), value, np.intp)
                continue
            parents = np.flatnonzero(self.graphs[s, :, j])
            table = self.conditional_table(s, j)
            p = table[tuple(codes[int(i)] for i in parents)]  # (simulations, states)
            if j == order[-1]:
                return float(np.mean(p[..., contrast.state]))
            codes[j] = np.asarray(np.cumsum(p, axis=-1)[..., :-1] < uniform[:, None])
            codes[j] = codes[j].sum(axis=-1).astype(np.intp)
        raise AssertionError("the outcome is the last of its ancestors")


FAMILIES: dict[str, type[Networks]] = {
    cls.family: cls for cls in (LinearNetworks, DiscreteNetworks)
}


def check_shapes(
    arrays: dict[str, NDArray[Any]], shapes: dict[str, tuple[int, ...]]
) -> None:
    for name, shape in shapes.items():
        if arrays[name].shape != shape:
            raise ValueError(f"{name} has shape {arrays[name].shape}, expected {shape}")


def join_ranges(first: NDArray[Any], last: NDArray[Any]) -> NDArray[np.intp]:
    """first[0], ..., last[0] - 1, first[1], ..., last[1] - 1, ... in one array."""
    lengths = last - first
    ends = np.cumsum(lengths)
    moved = np.repeat(first - (ends - lengths), lengths)
    return np.asarray(np.arange(int(ends[-1]) if len(ends) else 0) + moved, np.intp)


def ancestral_order(graph: Bools, node: int) -> list[int]:
    """The ancestors of a node, parents before children, then the node itself."""
    order: list[int] = []
    seen = set()

    def visit(j: int) -> None:
        if j not in seen:
            seen.add(j)
            for i in np.flatnonzero(graph[:, j]).tolist():
                visit(i)
            order.append(j)

    visit(node)
    return order


def plain_state(state: Any) -> Any:
    """A state as JSON can hold it: text, a whole number, a number or a bool."""
    if isinstance(state, np.generic):
        state = state.item()
    if not isinstance(state, (str, int, float, bool)):
        raise TypeError(
            f"a state of type {type(state).__name__} ({state!r}) cannot be stored in a "
            "file; convert the column to text before the fit"
        )
    return state
