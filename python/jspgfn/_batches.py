"""Tables that come in batches: what closed-form models need of them, in one pass.

Moments of a batch come from the core, means first; two of them are put together by

    n = n_a + n_b,  d = mean_b - mean_a,  mean = mean_a + d n_b / n,
    scatter = scatter_a + scatter_b + d d' n_a n_b / n

(Chan, Golub and LeVeque, COMPSTAT 1982). Everything is taken relative to the means of
the first rows, a subtraction without rounding where it matters, so that columns far from
0 lose no digits.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _core
from ._config import check_n_jobs
from ._interventions import check_interventions, check_same_rows, is_mask
from ._labels import import_extra
from ._table import (
    CORRELATION_MARGIN,
    LARGEST_ENTRY,
    Table,
    as_numbers,
    check_columns,
    check_finite,
    check_n_states,
    constant_columns,
    is_well_conditioned,
    read_states,
    refuse_copies,
    sort_states,
)
from ._validation import Bytes, Floats, describe, join_names

# Cells of a batch that go to the core at once: they stay in the second cache.
CELLS_AT_ONCE = 1 << 17

# An array of more cells is read in batches too.
LARGE_TABLE = 1 << 22


@dataclass(frozen=True)
class Moments:
    """Of the rows that count for the nodes of each set (csrc/score/jsp_data.h)."""

    set_of: NDArray[np.int32]  # (D,)
    n_rows: Floats  # (S,)
    mean: Floats  # (S, D), relative to the origin
    scatter: Floats  # (S, D, D), around the mean
    n_total: int  # rows, whether they count or not
    n_touched: int  # rows with interventions
    origin: Floats  # (D,)

    @classmethod
    def of(
        cls,
        values: Floats,
        mask: Bytes | None,
        n_threads: int,
        origin: Floats | None = None,
    ) -> Moments:
        """values : relative to the origin, None = 0"""
        if origin is None:
            origin = np.zeros(values.shape[1])
        n_touched = 0 if mask is None else int(mask.any(axis=1).sum())
        set_of, n_rows, mean, scatter = _core.moments(values, mask, n_threads)
        return cls(set_of, n_rows, mean, scatter, len(values), n_touched, origin)

    def arrays(self) -> tuple[NDArray[Any], ...]:
        """As _core.Scores takes them."""
        assert not self.origin.any()
        return self.set_of, self.n_rows, self.mean, self.scatter

    def joined(self, other: Moments) -> Moments:
        """Of both tables together; both have the same origin."""
        pairs = np.stack([self.set_of, other.set_of], axis=1)
        found, first, set_of = np.unique(
            pairs, axis=0, return_index=True, return_inverse=True
        )
        # node 0 belongs to set 0, as in the core
        order = np.argsort(first)
        rank = np.empty_like(order)
        rank[order] = np.arange(len(order))
        a, b = found[order].T
        n_a, n_b = self.n_rows[a], other.n_rows[b]
        n_rows = n_a + n_b
        share = np.divide(n_b, n_rows, out=np.zeros_like(n_b), where=n_rows > 0)
        move = other.mean[b] - self.mean[a]
        move[(n_a == 0) | (n_b == 0)] = 0
        scatter = self.scatter[a] + other.scatter[b]
        scatter += (n_a * share)[:, None, None] * (move[:, :, None] * move[:, None, :])
        mean = np.where((n_a == 0)[:, None], other.mean[b], self.mean[a])
        return Moments(
            rank[set_of.reshape(-1)].astype(np.int32),
            n_rows,
            mean + share[:, None] * move,
            scatter,
            self.n_total + other.n_total,
            self.n_touched + other.n_touched,
            self.origin,
        )

    def rescaled(self, shift: Floats, rest: Floats, scale: Floats) -> Moments:
        """Of (x - shift - rest) / scale."""
        moved = self.origin - shift + self.mean - rest
        return Moments(
            self.set_of,
            self.n_rows,
            np.where(self.n_rows[:, None] > 0, moved / scale, 0.0),
            self.scatter / (scale[:, None] * scale),
            self.n_total,
            self.n_touched,
            np.zeros_like(self.origin),
        )

    def rows_of(self) -> Floats:
        """Rows that count, by node."""
        return self.n_rows[self.set_of]

    def means_of(self) -> Floats:
        """Mean of each node over the rows that count for it."""
        return np.asarray(self.mean[self.set_of, np.arange(len(self.set_of))])

    def squares_of(self) -> Floats:
        """Sum of squares around the mean of each node over the rows that count for it."""
        nodes = np.arange(len(self.set_of))
        return np.asarray(self.scatter[self.set_of, nodes, nodes])


def join(before: Moments | None, moments: Moments) -> Moments:
    return moments if before is None else before.joined(moments)


class SufficientStatistics:
    """What closed-form models need to know of a table, gathered batch by batch.

    For tables that do not fit in memory, or come as a stream: every batch is looked at
    once, then forgotten. Estimators take the result in place of X. Models "linear",
    "nig", "bge" (moments are kept) and "bdeu" (states are kept, two bytes per cell).

    Parameters
    ----------
    discrete : bool
        Whether columns are discrete, for the model "bdeu".
    n_jobs : int or None
        Threads, as for the estimators; the same bits for any number.

    Attributes
    ----------
    n_rows : int
        Rows so far.
    feature_names : list of str
        Names of the columns; x0, x1, ... when the batches had none.

    Notes
    -----
    Results are those of the whole table in memory up to rounding (the same bits for
    "bdeu"). An array of more than 4 million cells, memory-mapped or not, is read in the
    same way by `fit` itself.

    Examples
    --------
    >>> import jspgfn
    >>> sim = jspgfn.simulate.linear_gaussian(
    ...     n_variables=4, n_samples=1000, random_state=0)
    >>> batches = (sim.X[k : k + 100] for k in range(0, 1000, 100))
    >>> stats = jspgfn.SufficientStatistics.from_batches(batches)
    >>> stats
    SufficientStatistics(1000 rows, 4 variables)
    >>> jspgfn.ExactPosterior("bge").fit(stats).edge_probabilities().shape
    (4, 4)
    """

    def __init__(self, *, discrete: bool = False, n_jobs: int | None = None) -> None:
        self.discrete = bool(discrete)
        self.n_rows = 0
        self.feature_names: list[str] = []
        self._n_threads = check_n_jobs(n_jobs)
        self._labelled = False
        self._whole: Moments | None = None  # of all rows
        self._origin: Floats | None = None
        self._any_set = False
        self._counted: Moments | None = None  # of rows that count, once any was set
        self._least: Any = np.inf
        self._most: Any = -np.inf
        self._codes: list[NDArray[np.uint16]] = []
        self._masks: list[Bytes | None] = []
        self._states: list[list[Any]] = []
        self._index: list[dict[Any, int]] = []
        self._categories: list[bool] = []

    def __repr__(self) -> str:
        return (
            f"SufficientStatistics({self.n_rows} rows, "
            f"{len(self.feature_names)} variables)"
        )

    @classmethod
    def from_batches(
        cls,
        batches: Iterable[Any],
        *,
        discrete: bool = False,
        n_jobs: int | None = None,
    ) -> SufficientStatistics:
        """Of all batches of an iterable.

        Parameters
        ----------
        batches : iterable
            Tables as for `add`, or pairs (table, interventions).
        discrete : bool
            As for the constructor.
        n_jobs : int or None
            As for the constructor.

        Returns
        -------
        SufficientStatistics

        Examples
        --------
        >>> import numpy as np, jspgfn
        >>> rng = np.random.default_rng(0)
        >>> jspgfn.SufficientStatistics.from_batches(
        ...     (rng.integers(3, size=(50, 4)) for _ in range(10)), discrete=True)
        SufficientStatistics(500 rows, 4 variables)
        """
        if (
            not isinstance(batches, Iterable)
            or isinstance(batches, (str, bytes))
            or getattr(batches, "ndim", 3) == 2
        ):
            raise TypeError(
                "batches must be an iterable of tables, such as a list of them, got "
                f"{'one table' if hasattr(batches, 'shape') else describe(batches)}"
            )
        stats = cls(discrete=discrete, n_jobs=n_jobs)
        for batch in batches:
            stats.add(*(batch if isinstance(batch, tuple) else (batch,)))
        return stats

    def add(self, X: Any, interventions: Any = None) -> SufficientStatistics:
        """Takes in one batch.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n, D)
            Some rows, with the same columns in every batch.
        interventions : None, mask or targets
            Of these rows, as for `fit`.

        Returns
        -------
        SufficientStatistics
            Itself.

        Raises
        ------
        ValueError
            As `fit` does; rows in messages are counted within the batch.

        Examples
        --------
        >>> import numpy as np, jspgfn
        >>> stats = jspgfn.SufficientStatistics()
        >>> stats.add(np.random.default_rng(0).normal(size=(50, 3))).n_rows
        50
        """
        columns, names, labelled = check_columns(X, at_least=1)
        if self.n_rows and (names, labelled) != (self.feature_names, self._labelled):
            raise ValueError(
                "every batch must have the same columns: expected "
                f"{join_names(self.feature_names)}, got {join_names(names)}"
            )
        check_same_rows(X, interventions)
        n_rows = len(columns[0])
        if self.discrete:
            values: Any = np.empty((n_rows, len(names)), np.uint16)
        else:
            values = read_numbers(X, columns, names)
        mask = check_interventions(interventions, Table(values, names, labelled))
        if self.discrete:
            self._add_states(columns, names, values)
            self._masks.append(mask)
        else:
            self._add_numbers(values, mask)
        self.feature_names, self._labelled = names, labelled
        self.n_rows += n_rows
        return self

    # --- numbers ---------------------------------------------------------------------

    def _add_numbers(self, values: Floats, mask: Bytes | None) -> None:
        self._least = np.minimum(self._least, values.min(axis=0))
        self._most = np.maximum(self._most, values.max(axis=0))
        size = max(1024, CELLS_AT_ONCE // values.shape[1])
        for first in range(0, len(values), size):
            part = values[first : first + size]
            if self._origin is None:
                self._origin = part.mean(axis=0)
            part = part - self._origin
            cells = None if mask is None else mask[first : first + size]
            whole = counted = Moments.of(part, None, self._n_threads, self._origin)
            if cells is not None and cells.any():
                counted = Moments.of(part, cells, self._n_threads, self._origin)
                if not self._any_set:
                    self._any_set, self._counted = True, self._whole
            self._whole = join(self._whole, whole)
            if self._any_set:
                self._counted = join(self._counted, counted)

    def _table_of_numbers(self) -> Table:
        whole = self._whole
        assert whole is not None
        names = self.feature_names
        constant = constant_columns(self._least, self._most)
        if constant.size:
            raise ValueError(
                f"constant columns: {join_names([names[c] for c in constant])} "
                f"({names[constant[0]]!r} is always {self._least[constant[0]]:g}); "
                "drop them"
            )
        length = np.sqrt(np.diag(whole.scatter[0]))
        correlation = whole.scatter[0] / (length[:, None] * length)
        refuse_copies(correlation, names, self.n_rows)
        if self.n_rows > len(names) and not is_well_conditioned(correlation):
            refuse_combinations(correlation, names)
        return Table(
            None,
            names,
            self._labelled,
            moments=self._counted if self._any_set else whole,
            whole=whole,
        )

    # --- states ----------------------------------------------------------------------

    def _add_states(
        self, columns: list[Any], names: list[str], codes: NDArray[np.uint16]
    ) -> None:
        found = [
            read_states(column, name)
            for column, name in zip(columns, names, strict=True)
        ]
        is_first = not self._index
        if is_first:
            self._index = [{} for _ in names]
            self._categories = [
                str(getattr(column, "dtype", "")) == "category" for column in columns
            ]
        for k, (of_batch, states) in enumerate(found):
            index = self._index[k]
            if self._categories[k] and not is_first and states != list(index):
                raise ValueError(
                    f"column {names[k]!r} must have the same categories in every batch"
                )
            for state in states:
                index.setdefault(state, len(index))
            if len(index) > np.iinfo(np.uint16).max:
                raise ValueError(f"column {names[k]!r} has too many states")
            number = np.array([index[state] for state in states], np.uint16)
            codes[:, k] = number[of_batch]
        self._codes.append(codes)

    def _table_of_states(self, n_states: Any) -> tuple[Table, Bytes | None]:
        names = self.feature_names
        values = np.concatenate(self._codes, axis=0).astype(np.int32)
        states = []
        for k, index in enumerate(self._index):
            ordered = list(index)
            if not self._categories[k]:
                ordered = sort_states(ordered, names[k])
                place = {state: code for code, state in enumerate(ordered)}
                number = np.array([place[state] for state in index], np.int32)
                values[:, k] = number[values[:, k]]
            states.append(ordered)
        counts = check_n_states(n_states, states, names, self._labelled)
        mask = None
        if any(part is not None for part in self._masks):
            mask = np.concatenate(
                [
                    np.zeros(codes.shape, np.uint8) if part is None else part
                    for codes, part in zip(self._codes, self._masks, strict=True)
                ]
            )
        return Table(values, names, self._labelled, states, counts), mask

    def _example(self) -> Any:
        """A table without rows that has the columns, for scikit-learn."""
        if not self._labelled:
            return np.empty((0, len(self.feature_names)))
        pandas = import_extra("pandas")
        return pandas.DataFrame(columns=self.feature_names)

    # --- for the estimators ----------------------------------------------------------

    def _to_table(self, wants_states: bool, n_states: Any) -> tuple[Table, Any]:
        """Table and mask as of a table in memory; numbers as moments."""
        if self.n_rows < 2:
            raise ValueError(
                f"the statistics hold too few rows: {self.n_rows}, at least 2 are needed"
            )
        if wants_states != self.discrete:
            word = "the model 'bdeu' needs" if wants_states else "only 'bdeu' takes"
            raise ValueError(f"{word} statistics made with discrete=True")
        if self.discrete:
            return self._table_of_states(n_states)
        return self._table_of_numbers(), None


def read_numbers(X: Any, columns: list[Any], names: list[str]) -> Floats:
    """Values of a batch, without a copy where that is possible."""
    if isinstance(X, np.ndarray) and X.dtype.kind in "fiub":
        values = np.ascontiguousarray(X, dtype=np.float64)
    else:
        values = np.empty((len(columns[0]), len(columns)))
        for k, column in enumerate(columns):
            values[:, k] = as_numbers(column, names[k])
    largest = np.abs(values).max(initial=0.0)  # NaN where there is one
    if not largest <= LARGEST_ENTRY:
        check_finite(values, names)
    return values


def refuse_combinations(correlation: Floats, names: list[str]) -> None:
    """ValueError where a column is a linear combination of those before it."""
    left = correlation.copy()
    for j, name in enumerate(names):
        if left[j, j] < CORRELATION_MARGIN:
            weights = np.linalg.lstsq(
                correlation[:j, :j], correlation[:j, j], rcond=None
            )[0]
            others = [names[k] for k in range(j) if abs(weights[k]) > 1e-6]
            raise ValueError(
                f"column {name!r} is a linear combination of columns "
                f"{join_names(others)} (R^2 = {1 - left[j, j]:.12g}); drop one of them"
            )
        row = left[j, j + 1 :].copy()
        left[j + 1 :, j + 1 :] -= np.outer(row, row) / left[j, j]


def is_large(X: Any) -> bool:
    return (
        isinstance(X, np.ndarray)
        and not isinstance(X, np.ma.MaskedArray)
        and X.ndim == 2
        and X.dtype.kind in "fiu"
        and X.size > LARGE_TABLE
    )


def gather(X: NDArray[Any], interventions: Any, n_jobs: Any) -> SufficientStatistics:
    """Statistics of a large array, memory-mapped or not, some rows at a time."""
    return SufficientStatistics.from_batches(cut_rows(X, interventions), n_jobs=n_jobs)


def cut_rows(X: Any, interventions: Any) -> Iterator[tuple[Any, Any]]:
    n_rows = len(X)
    if interventions is not None:
        if isinstance(interventions, (str, bytes)) or not hasattr(
            interventions, "__len__"
        ):
            raise ValueError(
                "interventions must be a mask of its shape or a "
                f"sequence with one target per row, got {describe(interventions)}"
            )
        if len(interventions) != n_rows:
            raise ValueError(
                f"interventions must have one entry per row of X, {n_rows}, got "
                f"{len(interventions)}"
            )
    whole = is_mask(interventions) if interventions is not None else False
    rows = getattr(interventions, "iloc", interventions)
    size = max(2, CELLS_AT_ONCE // max(1, X.shape[1]))
    for first in range(0, n_rows, size):
        part = slice(first, min(first + size, n_rows))
        of_part = None if interventions is None else rows[part]
        if of_part is not None and not whole:
            of_part = list(of_part)
        yield X[part], of_part
