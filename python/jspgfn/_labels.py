"""Names on results, and packages that only some results need."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray


def label_matrix(matrix: NDArray[Any], names: list[str], labelled: bool) -> Any:
    """A DataFrame parents x children where the names came with the data."""
    if not labelled:
        return matrix
    pandas = import_extra("pandas")
    return pandas.DataFrame(
        matrix,
        index=pandas.Index(names, name="parent"),
        columns=pandas.Index(names, name="child"),
    )


def import_extra(name: str) -> Any:
    """pandas, networkx, matplotlib or arviz, or an error that says how to get them."""
    from importlib import import_module

    try:
        return import_module(name)
    except ImportError as error:
        package = name.partition(".")[0]
        source = "arviz" if package == "arviz" else "'jspgfn[plot]'"
        raise ImportError(f"this needs {package}: pip install {source}") from error
