"""Checks of everything a user hands in, made before any work is done.

A message says what was wrong, what was expected and what was got, and names the column.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from ._batches import Moments

Floats = NDArray[np.float64]
Bytes = NDArray[np.uint8]

# Limits of the compiled core (csrc/jspgfn.h).
MAX_VARIABLES = 512
MAX_NETWORK_VARIABLES = 128  # of the published method
MAX_CANDIDATES = 24
MAX_STATES = 65535

# Two columns, or a column and a linear combination of others, count as the same when
# their correlation exceeds 1 minus this.
CORRELATION_MARGIN = 1e-10

# Larger entries are refused: their squares, summed, would leave the range of a double.
LARGEST_ENTRY = 1e140

COLUMNS_SHOWN = 5


# --- words ---------------------------------------------------------------------------


def plain(value: object) -> str:
    """repr, of NumPy's scalars as of Python's own: 3 rather than np.int64(3)."""
    return repr(value.item() if isinstance(value, np.generic) else value)


def describe(value: object) -> str:
    """Short text for an error message: the value if it is short, else its type."""
    text = plain(value)
    return text if len(text) <= 60 else f"a {type(value).__name__}"


def join_names(names: Sequence[object]) -> str:
    """'a', 'b' and 2 more"""
    shown = ", ".join(plain(name) for name in names[:COLUMNS_SHOWN])
    more = len(names) - COLUMNS_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown


def count_bytes(n_bytes: float) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if n_bytes >= size:
            return f"{n_bytes / size:.1f} {unit}"
    return f"{n_bytes:.0f} bytes"


# --- numbers -------------------------------------------------------------------------


def check_integer(
    name: str, value: object, at_least: int, at_most: float = math.inf
) -> int:
    is_integer = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not is_integer or not at_least <= int(value) <= at_most:  # type: ignore[call-overload]
        upper = "" if at_most == math.inf else f" and at most {at_most}"
        raise ValueError(
            f"{name} must be an integer of at least {at_least}{upper}, "
            f"got {describe(value)}"
        )
    return int(value)  # type: ignore[call-overload,no-any-return]


def check_real(
    name: str,
    value: object,
    above: float = -math.inf,
    at_least: float = -math.inf,
    at_most: float = math.inf,
    why: str = "",
) -> float:
    is_real = isinstance(value, numbers.Real) and not isinstance(value, bool)
    number = float(value) if is_real else math.nan  # type: ignore[arg-type]
    if not (above < number < math.inf and at_least <= number <= at_most):
        parts = [
            f"{word} {limit:g}"
            for word, limit in (
                ("above", above),
                ("at least", at_least),
                ("at most", at_most),
            )
            if math.isfinite(limit)
        ]
        limits = f" {' and '.join(parts)}" if parts else ""
        reason = f" ({why})" if why else ""
        raise ValueError(
            f"{name} must be a finite number{limits}{reason}, got {describe(value)}"
        )
    return number


def check_choice(name: str, value: object, choices: Mapping[Any, str]) -> Any:
    """`choices` maps each accepted value to a word about it."""
    for choice in choices:
        if value is choice or (isinstance(value, str) and value == choice):
            return choice
    expected = ", ".join(f"{choice!r} ({word})" for choice, word in choices.items())
    raise ValueError(f"{name} must be one of {expected}, got {describe(value)}")


def check_flag(name: str, value: object) -> bool:
    """True or False and nothing else."""
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    raise TypeError(f"{name} must be True or False, got {describe(value)}")


def check_verbose(verbose: object) -> None:
    """An integer of at least 0, or True or False."""
    if not isinstance(verbose, (bool, np.bool_)):
        check_integer("verbose", verbose, at_least=0)


def check_seed(random_state: object) -> int:
    """An integer below 2**63 from None, an integer, or one of NumPy's generators."""
    if random_state is None:
        return int(np.random.SeedSequence().generate_state(1, np.uint64)[0]) >> 1
    if isinstance(random_state, numbers.Integral) and not isinstance(
        random_state, bool
    ):
        if 0 <= int(random_state) < 2**63:
            return int(random_state)
    elif isinstance(random_state, np.random.Generator):
        return int(random_state.integers(2**63, dtype=np.uint64))
    elif isinstance(random_state, np.random.RandomState):
        return int(random_state.randint(2**31 - 1))
    elif isinstance(random_state, np.random.SeedSequence):
        return int(random_state.generate_state(1, np.uint64)[0]) >> 1
    raise ValueError(
        "random_state must be None, an integer from 0 to 2**63 - 1, or a "
        "numpy.random Generator, RandomState or SeedSequence, "
        f"got {describe(random_state)}"
    )


# --- the table of data ---------------------------------------------------------------


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


# --- interventions -------------------------------------------------------------------


def check_interventions(interventions: Any, table: Table) -> Bytes | None:
    """A 0/1 mask (N, D), 1 = this cell was set; None when nothing was."""
    if interventions is None:
        return None
    if is_mask(interventions):
        mask = read_mask(interventions, table)
    else:
        mask = read_targets(interventions, table)
    return mask if mask.any() else None


def check_same_rows(X: Any, interventions: Any) -> None:
    """ValueError when both have row labels, but not the same ones in the same order.

    Taking the rows by position would then assign interventions to other rows.
    """
    index, other = getattr(X, "index", None), getattr(interventions, "index", None)
    if not hasattr(index, "equals") or not hasattr(other, "equals"):
        return
    if not index.equals(other):  # type: ignore[union-attr]
        raise ValueError(
            "interventions must have the row index of X, in the same order; use "
            "interventions.loc[X.index], or reset_index(drop=True) on both when rows "
            "belong together by position"
        )


def is_mask(interventions: Any) -> bool:
    """Tables and lists of lists are masks; a tuple in a list stands for several targets."""
    if hasattr(interventions, "ndim"):
        return bool(interventions.ndim != 1)
    return isinstance(interventions, Sequence) and any(
        isinstance(row, (list, np.ndarray)) for row in interventions
    )


def read_mask(interventions: Any, table: Table) -> Bytes:
    shape = table.values.shape
    names = list(getattr(interventions, "columns", table.names))
    if table.labelled and names != table.names:
        raise ValueError(
            "the columns of the interventions mask must be those of X, in the same order: "
            f"expected {join_names(table.names)}, got {join_names(names)}"
        )
    try:
        mask = np.asarray(interventions)
    except ValueError:  # rows of different lengths
        mask = np.empty(0)
    if mask.shape != shape:
        raise ValueError(
            f"interventions as a mask must have the shape of X, {shape}, got {mask.shape}"
        )
    if not np.isin(mask, (0, 1)).all():
        row, column = np.argwhere(~np.isin(mask, (0, 1)))[0]
        raise ValueError(
            "an interventions mask must hold only 0 and 1 (or bool), got "
            f"{plain(mask[row, column])} in row {row}, column {names[column]!r}"
        )
    return np.ascontiguousarray(mask, dtype=np.uint8)


def read_targets(interventions: Any, table: Table) -> Bytes:
    if isinstance(interventions, (str, bytes)) or not isinstance(
        interventions, Iterable
    ):
        raise ValueError(
            "interventions must be a 0/1 mask of the shape of X or a sequence with one "
            f"target per row, got {describe(interventions)}"
        )
    targets = list(interventions)
    if len(targets) != table.n_rows:
        raise ValueError(
            f"interventions as targets must have one entry per row of X, {table.n_rows}, "
            f"got {len(targets)}"
        )
    find = variable_finder(table.names, table.labelled, "interventions")
    mask = np.zeros(table.values.shape, dtype=np.uint8)
    for row, target in enumerate(targets):
        for one in target if isinstance(target, tuple) else (target,):
            if not is_missing(one):
                mask[row, find(one)] = 1
    return mask


def is_missing(target: object) -> bool:
    """None, NaN, pandas.NA or an empty string: no intervention."""
    if target is None or (isinstance(target, str) and target == ""):
        return True
    if isinstance(target, numbers.Real):
        return math.isnan(float(target))
    return type(target).__name__ in ("NAType", "NaTType")


def variable_finder(
    names: Sequence[str], labelled: bool, argument: str
) -> Callable[[object], int]:
    """A function from a column's name (from its number, for arrays) to its index."""
    index = {name: k for k, name in enumerate(names)}

    def find(key: object) -> int:
        if isinstance(key, str) and key in index:
            return index[key]
        is_number = isinstance(key, numbers.Real) and not isinstance(
            key, (bool, np.bool_)
        )
        if not labelled and is_number and key in range(len(names)):
            return int(key)  # type: ignore[call-overload,no-any-return]
        expected = join_names(names)
        if not labelled:
            expected = f"integers from 0 to {len(names) - 1}, or {expected}"
        raise ValueError(
            f"{argument}: unknown variable {describe(key)}; expected {expected}"
        )

    return find


# --- candidates and parents ----------------------------------------------------------


def check_max_parents(max_parents: object, n_variables: int) -> int:
    if max_parents is None:
        return n_variables - 1
    return min(check_integer("max_parents", max_parents, at_least=0), n_variables - 1)


@dataclass(frozen=True)
class CandidatePlan:
    """How many candidate parents each node gets, and which of them were named."""

    counts: list[int]
    named: dict[int, list[int]]  # nodes whose candidates the user gave
    n_selected: int  # how many the others get


def check_candidates(
    candidates: Any,
    names: list[str],
    labelled: bool,
    forbidden: NDArray[np.bool_] | None = None,
    required: NDArray[np.bool_] | None = None,
) -> CandidatePlan:
    """Forbidden parents are left out; required ones belong to every list."""
    n_variables = len(names)
    if forbidden is None:
        forbidden = np.zeros((n_variables, n_variables), dtype=bool)
    if required is None:
        required = np.zeros((n_variables, n_variables), dtype=bool)
    default = n_variables - 1 if n_variables <= 16 else 12
    named: dict[int, list[int]] = {}
    if isinstance(candidates, Mapping):
        find = variable_finder(names, labelled, "candidates")
        for child, parents in candidates.items():
            node = find(child)
            if isinstance(parents, (str, bytes)) or not isinstance(parents, Iterable):
                raise ValueError(
                    f"candidates of {child!r} must be a list of variables, "
                    f"got {describe(parents)}"
                )
            named[node] = sorted({find(parent) for parent in parents})
            if node in named[node]:
                raise ValueError(f"candidates: {child!r} cannot be its own parent")
            allowed = set(named[node]) - set(
                np.flatnonzero(forbidden[:, node]).tolist()
            )
            needed = set(np.flatnonzero(required[:, node]).tolist())
            named[node] = sorted(allowed | needed)
            if len(named[node]) > MAX_CANDIDATES:
                raise ValueError(
                    f"candidates: {child!r} has {len(named[node])} candidate parents, "
                    f"at most {MAX_CANDIDATES} are supported"
                )
    elif candidates is not None:
        if isinstance(candidates, (str, bytes, list, tuple, set)):
            raise ValueError(
                "candidates must be None, an integer, or a dict from each variable to a "
                f"list of its possible parents, got {describe(candidates)}"
            )
        default = check_integer("candidates", candidates, 1, MAX_CANDIDATES)
        default = min(default, n_variables - 1)
    possible = (n_variables - 1 - forbidden.sum(axis=0)).tolist()
    counts = [
        len(named[node]) if node in named else min(default, possible[node])
        for node in range(n_variables)
    ]
    for node, n_required in enumerate(required.sum(axis=0).tolist()):
        if n_required > counts[node]:
            raise ValueError(
                f"{names[node]!r} has {n_required} required parents but only "
                f"{counts[node]} candidates; set candidates to a larger number"
            )
    return CandidatePlan(counts, named, default)


# --- graphs --------------------------------------------------------------------------


def check_graphs(graphs: Any, names: list[str]) -> Bytes:
    """Graphs as bytes (n, D, D); acyclicity is left to the caller."""
    n_variables = len(names)
    labels = getattr(graphs, "columns", None)
    if labels is not None:
        rows = list(getattr(graphs, "index", labels))
        if list(labels) != rows or (
            all(isinstance(label, str) for label in labels) and list(labels) != names
        ):
            raise ValueError(
                "rows and columns of a graph must be the variables in the order of the "
                f"fit: {join_names(names)}"
            )
    array = np.asarray(graphs)
    if array.ndim == 2:
        array = array[np.newaxis]
    if array.ndim != 3 or array.shape[1:] != (n_variables, n_variables):
        raise ValueError(
            f"graphs must have shape (n, {n_variables}, {n_variables}) or "
            f"({n_variables}, {n_variables}), got {np.shape(graphs)}"
        )
    if not np.isin(array, (0, 1)).all():
        raise ValueError("graphs must hold only 0 and 1 (or bool)")
    loops = np.argwhere(np.diagonal(array, axis1=1, axis2=2) != 0)
    if len(loops):
        row, node = loops[0]
        raise ValueError(f"graph in row {row} has a self-loop at {names[node]!r}")
    return np.ascontiguousarray(array, dtype=np.uint8)


def check_graph_matrix(name: str, graph: object, n_variables: int) -> NDArray[np.bool_]:
    """One graph (D, D) of 0 and 1, which may have cycles; weights are not 0 or 1."""
    if hasattr(graph, "graphs"):
        raise TypeError(f"{name} must be one graph, a matrix of 0 and 1, got {graph!r}")
    array = np.asarray(graph)
    if array.shape != (n_variables, n_variables) or not np.isin(array, (0, 1)).all():
        raise ValueError(
            f"{name} must be a matrix of 0 and 1 of shape ({n_variables}, {n_variables}), "
            f"got {describe(graph)} of shape {array.shape}"
        )
    return array.astype(bool)


# --- memory --------------------------------------------------------------------------


def available_memory() -> float:
    """Bytes this process may still take: the smaller of the machine's and the cgroup's."""
    limits = [math.inf]
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                limits.append(float(line.split()[1]) * 1024)
    except OSError:  # not Linux
        pass
    for folder, limit, used in (
        ("/sys/fs/cgroup", "memory.max", "memory.current"),
        ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
    ):
        with suppress(OSError, ValueError):  # no such cgroup, or the word "max"
            limits.append(
                float(Path(folder, limit).read_text(encoding="ascii"))
                - float(Path(folder, used).read_text(encoding="ascii"))
            )
    return min(limits)


def check_memory(n_bytes: float, what: str, advice: str) -> None:
    available = available_memory()
    if n_bytes > 0.9 * available:
        raise ValueError(
            f"{what} would take {count_bytes(n_bytes)} of memory, but only "
            f"{count_bytes(max(available, 0))} are free; {advice}"
        )
