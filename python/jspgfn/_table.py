"""The table of data that a user hands in: its checks, and what they leave of it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ._validation import (
    MAX_STATES,
    MAX_VARIABLES,
    Floats,
    check_integer,
    describe,
    join_names,
    variable_finder,
)

if TYPE_CHECKING:
    from ._batches import Moments

# Two columns, or a column and a linear combination of others, count as the same when
# their correlation exceeds 1 minus this.
CORRELATION_MARGIN = 1e-10

# Larger entries are refused: their squares, summed, would leave the range of a double.
LARGEST_ENTRY = 1e140


@dataclass(frozen=True)
class Table:
    """Data after the checks."""

    # (N, D), float64, or int32 codes of states; C-contiguous, a copy; None with moments
    values: Any
    names: list[str]
    labelled: bool  # names came with the data; they then replace integers everywhere
    states: list[list[Any]] | None = None  # of discrete columns; values are their codes
    n_states: list[int] | None = None  # may be more than the states that have a name
    # of tables that came in batches (_batches.py): of rows that count, and of all rows
    moments: Moments | None = None
    whole: Moments | None = None

    @property
    def n_rows(self) -> int:
        if self.moments is not None:
            return self.moments.n_total
        return int(self.values.shape[0])

    @property
    def n_variables(self) -> int:
        return len(self.names)


# --- numbers -------------------------------------------------------------------------


def check_table(X: object) -> Table:
    """The data as float64, or an error that names the column and what is wrong with it."""
    columns, names, labelled = check_columns(X)
    values = np.empty((len(columns[0]), len(columns)))
    for k, column in enumerate(columns):
        values[:, k] = as_numbers(column, names[k])
    check_finite(values, names)
    check_not_constant(values, names)
    check_not_collinear(values, names)
    return Table(values, names, labelled)


def check_columns(X: Any, at_least: int = 2) -> tuple[list[Any], list[str], bool]:
    """What `split_columns` finds, if the names differ and the shape is acceptable."""
    if hasattr(X, "toarray") and hasattr(X, "nnz"):
        raise TypeError("X is a sparse matrix; a dense array or DataFrame is needed")
    columns, names, labelled = split_columns(X)
    if len(set(names)) < len(names):
        repeated = sorted({name for name in names if names.count(name) > 1})
        raise ValueError(
            f"column names must differ, but these repeat: {join_names(repeated)}"
        )
    check_shape(len(columns[0]) if columns else len(X), len(columns), at_least)
    return columns, names, labelled


def split_columns(X: Any) -> tuple[list[Any], list[str], bool]:
    """Columns, their names, and whether the names came with the data."""
    if hasattr(X, "columns") and hasattr(X, "dtypes"):
        names = [str(name) for name in X.columns]
        labelled = all(isinstance(name, str) for name in X.columns)
        take = X.iloc.__getitem__ if hasattr(X, "iloc") else None
        columns = [
            take((slice(None), k)) if take else X[name]
            for k, name in enumerate(X.columns)
        ]
        return columns, names, labelled
    if isinstance(X, np.ma.MaskedArray) and np.ma.is_masked(X):
        raise ValueError(
            f"X has {np.asarray(X.mask).sum()} masked (missing) entries; "
            "drop those rows or fill them in"
        )
    if X is None or isinstance(X, (str, bytes, Path, Mapping)):
        hint = "read the file" if isinstance(X, (str, bytes, Path)) else "make one"
        raise ValueError(
            "X must be a table (rows, variables), an array or a DataFrame, "
            f"got {describe(X)}; {hint} first, with pandas for example"
        )
    try:
        array = np.asarray(X)
    except ValueError as error:
        raise ValueError(f"X is not a table (rows, variables): {error}") from None
    if array.dtype.kind == "c":
        raise ValueError("Complex data not supported: X has complex entries")
    if array.ndim != 2:
        raise ValueError(
            f"Expected 2D array X (rows, variables), got {array.ndim}D array instead. "
            "Reshape your data, for one variable with X.reshape(-1, 1)"
        )
    names = [f"x{k}" for k in range(array.shape[1])]
    return [array[:, k] for k in range(array.shape[1])], names, False


def check_shape(n_rows: int, n_variables: int, at_least: int = 2) -> None:
    if n_variables < 1:
        raise ValueError(
            f"X has 0 feature(s) (shape=({n_rows}, 0)) while a minimum of 1 is required."
        )
    if n_rows < at_least:
        raise ValueError(
            f"X has too few rows: n_samples={n_rows}, at least {at_least} are needed"
        )
    if n_variables > MAX_VARIABLES:
        raise ValueError(
            f"X has {n_variables} columns, at most {MAX_VARIABLES} are supported; "
            "leave some out"
        )


def as_numbers(column: Any, name: str) -> Floats:
    dtype = getattr(column, "dtype", None)
    kind = getattr(dtype, "kind", "O")  # extension types of pandas have a kind as well
    if str(dtype) == "category" or kind not in "fiubO":
        raise ValueError(
            f"column {name!r} is not numeric (dtype {dtype}); "
            "drop it or encode it as numbers"
        )
    if kind != "O":
        if hasattr(column, "iloc"):  # pandas: its missing values become NaN
            return np.asarray(column.to_numpy(dtype=np.float64, na_value=np.nan))
        return np.asarray(column, dtype=np.float64)
    try:
        entries = np.asarray(column)
        if any(isinstance(entry, (str, bytes)) for entry in entries.flat):
            raise ValueError("it holds text")
        return entries.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise type(error)(
            f"column {name!r} is not numeric ({error}); drop it or encode it as numbers"
        ) from None


def check_finite(values: Floats, names: list[str]) -> None:
    for word, bad in (("NaN", np.isnan(values)), ("infinite (inf)", np.isinf(values))):
        if bad.any():
            columns = np.flatnonzero(bad.any(axis=0))
            row = int(np.flatnonzero(bad[:, columns[0]])[0])
            raise ValueError(
                f"X has {int(bad.sum())} {word} entries, in columns "
                f"{join_names([names[k] for k in columns])} (the first in row {row}); "
                "drop those rows or fill them in"
            )
    large = np.abs(values).max(axis=0) > LARGEST_ENTRY
    if large.any():
        raise ValueError(
            f"X has entries beyond {LARGEST_ENTRY:g}, whose squares overflow, in columns "
            f"{join_names([names[k] for k in np.flatnonzero(large)])}; rescale them"
        )


def check_not_constant(values: Floats, names: list[str]) -> None:
    constant = constant_columns(values.min(axis=0), values.max(axis=0))
    if constant.size:
        k = int(constant[0])
        raise ValueError(
            f"constant columns: {join_names([names[c] for c in constant])} "
            f"({names[k]!r} is always {values[0, k]:g}); drop them"
        )


def constant_columns(least: Floats, most: Floats) -> NDArray[np.intp]:
    """Columns whose entries differ by no more than rounding."""
    rounding = 8 * np.finfo(np.float64).eps * np.maximum(np.abs(least), np.abs(most))
    return np.flatnonzero(most - least <= rounding)


def unit_columns(values: Floats) -> Floats:
    """Centred columns of length 1; safe for columns of any magnitude."""
    scaled = values / np.abs(values).max(axis=0)
    scaled = scaled - scaled.mean(axis=0)
    scaled = scaled / np.abs(scaled).max(axis=0)
    return np.asarray(scaled / np.sqrt((scaled**2).sum(axis=0)))


def check_not_collinear(values: Floats, names: list[str]) -> None:
    """Pairs first, then, with more rows than columns, combinations of several columns.

    The diagonal of R in a QR decomposition of the unit columns is what is left of a
    column after regression on the columns before it.
    """
    n_rows, n_variables = values.shape
    unit = unit_columns(values)
    correlation = unit.T @ unit
    refuse_copies(correlation, names, n_rows)
    if n_rows <= n_variables or is_well_conditioned(correlation):
        return
    left_over = np.abs(np.diag(np.linalg.qr(unit, mode="r")))
    dependent = np.flatnonzero(left_over**2 < CORRELATION_MARGIN)
    if dependent.size:
        j = int(dependent[0])
        weights = np.linalg.lstsq(unit[:, :j], unit[:, j], rcond=None)[0]
        others = [names[k] for k in range(j) if abs(weights[k]) > 1e-6]
        raise ValueError(
            f"column {names[j]!r} is a linear combination of columns {join_names(others)} "
            f"(R^2 = {1 - left_over[j] ** 2:.12g}); drop one of them"
        )


def refuse_copies(correlation: Floats, names: list[str], n_rows: int) -> None:
    pairs = np.argwhere(np.triu(np.abs(correlation) > 1 - CORRELATION_MARGIN, k=1))
    if len(pairs) and n_rows > 2:
        i, j = pairs[0]
        more = "" if len(pairs) == 1 else f", and {len(pairs) - 1} more such pairs"
        raise ValueError(
            f"columns {names[i]!r} and {names[j]!r} have correlation "
            f"{correlation[i, j]:.12g}{more}: one is a copy of the other up to scale; "
            "drop one of each pair"
        )


def is_well_conditioned(correlation: Floats) -> bool:
    """Whether a quick look suffices: no column is nearly a combination of those before.

    The Cholesky factor is that of the QR decomposition, at a tenth of the cost and half
    the digits.
    """
    try:
        factor = np.linalg.cholesky(correlation)
    except np.linalg.LinAlgError:
        return False
    return bool(np.diag(factor).min() ** 2 > 1e-6)


# --- discrete data -------------------------------------------------------------------


def check_discrete_table(X: object, n_states: Any = None) -> Table:
    """Codes of discrete columns (int32), or an error that names the column."""
    columns, names, labelled = check_columns(X)
    coded = [
        read_states(column, name) for column, name in zip(columns, names, strict=True)
    ]
    states = [found for _, found in coded]
    values = np.ascontiguousarray(np.stack([codes for codes, _ in coded], axis=1))
    counts = check_n_states(n_states, states, names, labelled)
    constant = [name for name, count in zip(names, counts, strict=True) if count < 2]
    if constant:
        raise ValueError(
            f"constant columns: {join_names(constant)} have a single state; drop them, or "
            "give BDeu(n_states=...) if there are states that never occur"
        )
    return Table(values, names, labelled, states, counts)


def read_states(column: Any, name: str) -> tuple[NDArray[np.int32], list[Any]]:
    """Codes and states: the categories of a Categorical, else the sorted values."""
    dtype = getattr(column, "dtype", None)
    if str(dtype) == "category":
        codes = np.asarray(column.cat.codes, dtype=np.int32)
        check_not_missing(codes < 0, name)
        return codes, list(column.cat.categories)
    if getattr(dtype, "kind", "O") not in "iubOUS":
        raise ValueError(
            f"column {name!r} is not discrete (dtype {dtype}): the model 'bdeu' needs "
            "integers, text, bool or categories in every column; bin numbers or convert "
            "whole numbers with astype(int)"
        )
    if isinstance(column, np.ndarray) and column.dtype.kind in "iub":
        found, number = np.unique(column, return_inverse=True)
        return number.reshape(-1).astype(np.int32), list(found)
    entries = list(column)
    check_not_missing(np.array([is_missing_state(entry) for entry in entries]), name)
    fractions = [entry for entry in entries if isinstance(entry, float)]
    if fractions:
        raise ValueError(
            f"column {name!r} is not discrete: it holds the number {fractions[0]!r}; the "
            "model 'bdeu' needs integers, text, bool or categories in every column"
        )
    states = sort_states(set(entries), name)
    index = {state: k for k, state in enumerate(states)}
    return np.array([index[entry] for entry in entries], dtype=np.int32), states


def sort_states(states: Iterable[Any], name: str) -> list[Any]:
    try:
        return sorted(states)
    except TypeError:
        raise ValueError(
            f"column {name!r} mixes kinds of states that have no common order; convert "
            "it to text or to a pandas Categorical"
        ) from None


def is_missing_state(entry: object) -> bool:
    if entry is None or type(entry).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(entry, float) and math.isnan(entry)


def check_not_missing(missing: NDArray[np.bool_], name: str) -> None:
    if missing.any():
        raise ValueError(
            f"column {name!r} has {int(missing.sum())} missing (NaN) entries (the first in "
            f"row {int(np.flatnonzero(missing)[0])}); drop those rows or fill them in"
        )


def check_n_states(
    n_states: Any, states: list[list[Any]], names: list[str], labelled: bool
) -> list[int]:
    counts = [len(found) for found in states]
    if n_states is not None:
        given = n_states
        if not isinstance(given, Mapping):
            given = {name if labelled else k: n_states for k, name in enumerate(names)}
        find = variable_finder(names, labelled, "n_states")
        for variable, count in given.items():
            k = find(variable)
            if check_integer(f"n_states of {names[k]!r}", count, 1) < counts[k]:
                raise ValueError(
                    f"n_states of {names[k]!r} is {count}, but {counts[k]} states occur"
                )
            counts[k] = int(count)
    for name, count in zip(names, counts, strict=True):
        if count > MAX_STATES:
            raise ValueError(
                f"column {name!r} has {count} states, at most {MAX_STATES} are supported"
            )
    return counts
