"""What an experimenter set: a mask or targets, read into a mask."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ._table import Table
from ._validation import Bytes, describe, join_names, plain, variable_finder


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
