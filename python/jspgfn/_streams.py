"""Streams of random numbers that grow out of one seed, and draws made in pieces.

The random numbers of a draw belong to its stream and its number, so that how draws are
cut into pieces does not change them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _core

STREAM_FIT, STREAM_GRAPHS, STREAM_PARAMETERS, STREAM_SUMMARY = range(4)
STREAM_REFERENCE, STREAM_REFINE = range(4, 6)

# Draws per call of the core, at first and at most, and how long a call should take:
# between two calls Ctrl-C is heard.
DRAWS_AT_FIRST = 64
DRAWS_PER_CALL = 10_000
SECONDS_PER_PIECE = 0.1


def stream_seed(seed: int, stream: int) -> int:
    """Independent 63-bit seeds from one."""
    words = np.random.SeedSequence([seed, stream]).generate_state(1, np.uint64)
    return int(words[0] >> np.uint64(1))


def in_pieces(
    n: int,
    draw: Callable[[int, int], tuple[NDArray[Any], ...]],
    at_once: bool = False,
) -> tuple[NDArray[Any], ...]:
    """The arrays that draw(first, last) makes for draws 0 to n, joined along axis 0.

    How draws are cut into pieces must not change them. at_once : in one piece
    """
    pieces: list[tuple[NDArray[Any], ...]] = []
    first, size = 0, n if at_once else min(DRAWS_AT_FIRST, DRAWS_PER_CALL)
    while first < n or not pieces:
        last = min(n, first + size)
        begin = time.perf_counter()
        pieces.append(draw(first, last))
        seconds = max(time.perf_counter() - begin, 1e-6)
        wanted = max(1, SECONDS_PER_PIECE / seconds * size)
        first, size = last, int(min(wanted, 8 * size, DRAWS_PER_CALL))
    if len(pieces) == 1:
        return pieces[0]
    return tuple(np.concatenate(arrays) for arrays in zip(*pieces, strict=True))


def draw_tables(
    scores: _core.Scores, graphs: NDArray[np.uint8], stream: int, first_draw: int
) -> tuple[NDArray[Any], ...]:
    """Scores.draw_tables in pieces; offsets count through all of them."""
    n_cells = 0

    def draw(first: int, last: int) -> tuple[NDArray[Any], ...]:
        nonlocal n_cells
        cells, offset, log_density = scores.draw_tables(
            graphs[first:last], stream, first_draw + first
        )
        offset += n_cells
        n_cells += len(cells)
        return cells, offset, log_density

    return in_pieces(len(graphs), draw)
