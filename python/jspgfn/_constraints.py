"""Constraints on the edges of a graph, and their contradictions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from ._validation import check_integer, describe, variable_finder


class Constraints(BaseEstimator):  # type: ignore[misc]
    """What is known about edges beforehand.

    Variables are column names, or integers when the data are an array.

    Parameters
    ----------
    forbidden : sequence of (parent, child)
        Edges that no graph has.
    required : sequence of (parent, child)
        Edges that every graph has.
    tiers : sequence of groups of variables
        Earlier groups come before later ones: no edge leads from a later group back to
        an earlier one. Variables in no group are free.
    roots : sequence of variables
        Variables without parents.
    sinks : sequence of variables
        Variables without children.
    max_parents : int, dict or None
        Largest number of parents, of every variable or of those named. The setting of
        the estimator holds as well.

    Notes
    -----
    A contradiction is a ValueError in `fit` that names it: an edge both required and
    forbidden, by whatever rule, a cycle of required edges, more required parents than
    allowed.

    Examples
    --------
    >>> import jspgfn
    >>> jspgfn.Constraints(required=[("a", "b")], roots=["a"])
    Constraints(required=[('a', 'b')], roots=['a'])
    """

    def __init__(
        self,
        forbidden: Any = (),
        required: Any = (),
        tiers: Any = (),
        roots: Any = (),
        sinks: Any = (),
        max_parents: Any = None,
    ) -> None:
        self.forbidden = forbidden
        self.required = required
        self.tiers = tiers
        self.roots = roots
        self.sinks = sinks
        self.max_parents = max_parents


@dataclass(frozen=True)
class Rules:
    """Constraints after the checks, with those of the graph prior among them."""

    forbidden: NDArray[np.bool_]  # (D, D)
    required: NDArray[np.bool_]  # (D, D)
    max_parents: list[int]  # (D,)

    @property
    def any_edges(self) -> bool:
        return bool(self.forbidden.any() or self.required.any())


def check_constraints(
    constraints: Any,
    names: list[str],
    labelled: bool,
    max_parents: int,
    prior_probability: NDArray[np.float64] | None = None,
) -> Rules:
    """Rules of the constraints and of edge probabilities 0 and 1; ValueError for a
    contradiction, which is named."""
    if constraints is None:
        constraints = Constraints()
    if not isinstance(constraints, Constraints):
        raise ValueError(
            "constraints must be None or an object Constraints(...), "
            f"got {describe(constraints)}"
        )
    reader = Reader(names, labelled)
    reader.read(constraints)
    limits = reader.limits(constraints.max_parents, max_parents)
    if prior_probability is not None:
        for i, j in np.argwhere(~np.eye(len(names), dtype=bool)):
            if prior_probability[i, j] == 0:
                reader.forbid(int(i), int(j), "EdgeProbabilities gives it 0")
            elif prior_probability[i, j] == 1:
                reader.require(int(i), int(j))
    reader.check(limits)
    return Rules(reader.forbidden, reader.required, limits)


class Reader:
    """Fills the matrices, and remembers why an edge is forbidden."""

    def __init__(self, names: list[str], labelled: bool) -> None:
        shape = (len(names), len(names))
        self.names = names
        self.labelled = labelled
        self.forbidden = np.zeros(shape, dtype=bool)
        self.required = np.zeros(shape, dtype=bool)
        self.reason: dict[tuple[int, int], str] = {}

    def forbid(self, i: int, j: int, reason: str) -> None:
        if i != j:
            self.forbidden[i, j] = True
            self.reason.setdefault((i, j), reason)

    def require(self, i: int, j: int) -> None:
        self.required[i, j] = True

    def read(self, constraints: Constraints) -> None:
        everyone = range(len(self.names))
        for i, j in self.pairs("forbidden", constraints.forbidden):
            self.forbid(i, j, "it is in the list of forbidden edges")
        for i, j in self.pairs("required", constraints.required):
            self.require(i, j)
        for j in self.variables("roots", constraints.roots):
            for i in everyone:
                self.forbid(i, j, f"{self.names[j]!r} is a root, without parents")
        for i in self.variables("sinks", constraints.sinks):
            for j in everyone:
                self.forbid(i, j, f"{self.names[i]!r} is a sink, without children")
        self.read_tiers(constraints.tiers)

    def read_tiers(self, tiers: Any) -> None:
        tier_of: dict[int, int] = {}
        for number, group in enumerate(items("tiers", tiers, "groups of variables")):
            for variable in self.variables(f"tiers[{number}]", group):
                if tier_of.setdefault(variable, number) != number:
                    raise ValueError(
                        f"constraints: {self.names[variable]!r} is in two tiers, "
                        f"{tier_of[variable]} and {number}"
                    )
        for i, later in tier_of.items():
            for j, earlier in tier_of.items():
                if later > earlier:
                    self.forbid(
                        i,
                        j,
                        f"{self.names[i]!r} is in tier {later} and {self.names[j]!r} in "
                        f"the earlier tier {earlier}",
                    )

    def variables(self, argument: str, group: Any) -> list[int]:
        find = variable_finder(self.names, self.labelled, f"constraints: {argument}")
        return [find(one) for one in items(argument, group, "variables")]

    def pairs(self, argument: str, edges: Any) -> list[tuple[int, int]]:
        find = variable_finder(self.names, self.labelled, f"constraints: {argument}")
        found = []
        for edge in items(argument, edges, "pairs (parent, child)"):
            if isinstance(edge, (str, bytes)) or not isinstance(edge, Iterable):
                edge = (edge,)
            ends = list(edge)
            if len(ends) != 2:
                raise ValueError(
                    f"constraints: {argument} must hold pairs (parent, child), "
                    f"got {describe(ends[0] if len(ends) == 1 else edge)}"
                )
            i, j = find(ends[0]), find(ends[1])
            if i == j:
                raise ValueError(
                    f"constraints: {argument} has an edge from {self.names[i]!r} to itself"
                )
            found.append((i, j))
        return found

    def limits(self, given: Any, max_parents: int) -> list[int]:
        limits = [max_parents] * len(self.names)
        if given is None:
            return limits
        argument = "constraints: max_parents"
        if not isinstance(given, Mapping):
            limit = check_integer(argument, given, at_least=0)
            return [min(limit, max_parents)] * len(limits)
        find = variable_finder(self.names, self.labelled, argument)
        for variable, limit in given.items():
            name = f"{argument} of {variable!r}"
            limits[find(variable)] = min(check_integer(name, limit, 0), max_parents)
        return limits

    def check(self, limits: list[int]) -> None:
        names = self.names
        for i, j in np.argwhere(self.required & self.forbidden):
            raise ValueError(
                f"constraints: the edge {names[i]!r} -> {names[j]!r} is both required and "
                f"forbidden: {self.reason[int(i), int(j)]}"
            )
        for j, limit in enumerate(limits):
            parents = np.flatnonzero(self.required[:, j])
            if len(parents) > limit:
                raise ValueError(
                    f"constraints: {names[j]!r} has {len(parents)} required parents, "
                    f"but max_parents allows {limit}"
                )
        cycle = find_cycle(self.required)
        if cycle:
            path = " -> ".join(repr(names[k]) for k in cycle)
            raise ValueError(f"constraints: required edges form a cycle: {path}")


def items(argument: str, value: Any, what: str) -> list[Any]:
    """The members of a list; a text is not a list of letters."""
    if value is None:
        return []
    if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
        raise ValueError(
            f"constraints: {argument} must be a list of {what}, got {describe(value)}"
        )
    return list(value)


def find_cycle(graph: NDArray[np.bool_]) -> list[int]:
    """A cycle as v, ..., v, or [] when the graph is acyclic."""
    left = np.ones(len(graph), dtype=bool)
    while left.any():  # take away nodes without parents
        free = left & ~graph[left].any(axis=0)
        if not free.any():
            break
        left &= ~free
    if not left.any():
        return []
    node, backwards = int(np.flatnonzero(left)[0]), []
    while node not in backwards:  # every node that is left has a parent that is left
        backwards.append(node)
        node = int(np.flatnonzero(graph[:, node] & left)[0])
    cycle = backwards[backwards.index(node) :][::-1]
    return [cycle[-1], *cycle]
