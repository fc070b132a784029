"""Candidate parents: how many each variable gets, and which were named."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._constraints import Rules
from ._table import Table
from ._validation import MAX_CANDIDATES, check_integer, describe, variable_finder

# Candidates of each variable where not all others are.
FEW_CANDIDATES = 12


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
    *,
    all_up_to: int,
) -> CandidatePlan:
    """Forbidden parents are left out; required ones belong to every list.

    all_up_to : so many variables have all others as candidates unless the user chooses
    """
    n_variables = len(names)
    if forbidden is None:
        forbidden = np.zeros((n_variables, n_variables), dtype=bool)
    if required is None:
        required = np.zeros((n_variables, n_variables), dtype=bool)
    default = n_variables - 1 if n_variables <= all_up_to else FEW_CANDIDATES
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


def plan_candidates(
    candidates: Any, table: Table, rules: Rules, has_tables: bool, all_up_to: int
) -> CandidatePlan:
    """`check_candidates` where there are tables, else all that are allowed or named."""
    if has_tables:
        return check_candidates(
            candidates,
            table.names,
            table.labelled,
            rules.forbidden,
            rules.required,
            all_up_to=all_up_to,
        )
    if candidates is not None and not isinstance(candidates, Mapping):
        raise ValueError(
            "candidates must be None or a dict where parameters are learned by the sampler "
            f"and parent sets have no scores to choose by, got {describe(candidates)}"
        )
    plan = check_candidates(
        candidates or {},
        table.names,
        table.labelled,
        rules.forbidden,
        rules.required,
        all_up_to=all_up_to,
    )
    others = table.n_variables - 1 - rules.forbidden.sum(axis=0)
    counts = [
        len(plan.named[j]) if j in plan.named else int(others[j])
        for j in range(table.n_variables)
    ]
    return CandidatePlan(counts, plan.named, table.n_variables - 1)
