"""Checks of arguments, made before any work is done, and the words of their messages.

Tables of data are checked in _table, interventions in _interventions, candidate parents
in _candidates, edges that are forbidden or required in _constraints. A message says what
was wrong, what was expected and what was got, and names the column.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bytes = NDArray[np.uint8]

# Limits of the compiled core (csrc/jspgfn.h).
MAX_VARIABLES = 512
MAX_NETWORK_VARIABLES = 128  # of the published method
MAX_CANDIDATES = 24
MAX_STATES = 65535

# How many names a message lists.
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


def check_max_parents(max_parents: object, n_variables: int) -> int:
    if max_parents is None:
        return n_variables - 1
    return min(check_integer("max_parents", max_parents, at_least=0), n_variables - 1)


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


# --- variables -----------------------------------------------------------------------


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
