"""Evidences of costly models: fitted once, here or by joblib's workers, and remembered.

All parent sets of a problem form one list (`_core.fit_evidences`). Random numbers of a fit
are named by node and parents, so it does not matter who fits which part of the list.
"""

from __future__ import annotations

import hashlib
import json
import math
import threading
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

import joblib
import numpy as np
from numpy.typing import NDArray

from . import _core
from ._exceptions import JspgfnWarning

Floats = NDArray[np.float64]
Show = Callable[[float], object]  # of the share that is done

# What evidences depend on, of the settings of _core.Scores.
SETTINGS = ("model", "model_fields", "max_parents", "candidates", "intercept")

# Parent sets of a task: several tasks per worker, none so long that a wish to stop waits.
TASKS_PER_WORKER = 8
MOST_SETS = 64


def chosen_of(settings: dict[str, Any]) -> dict[str, Any]:
    return {name: settings[name] for name in SETTINGS}


def count_sets(settings: dict[str, Any]) -> int:
    """Length of the list of all parent sets."""
    return sum(
        sum(math.comb(len(parents), size) for size in range(limit + 1))
        for parents, limit in zip(
            settings["candidates"], settings["max_parents"], strict=True
        )
    )


def n_workers() -> int:
    """Of the back end that `joblib.parallel_config` chose; 1 = this process."""
    return max(1, int(joblib.effective_n_jobs(None)))


def find_evidences(
    x: Floats,
    mask: NDArray[np.uint8] | None,
    settings: dict[str, Any],
    n_threads: int,
    show: Show,
) -> Floats:
    """Of all parent sets: remembered, else fitted by workers, else by threads."""
    chosen = chosen_of(settings)
    key = key_of(x, mask, chosen)
    found = MEMORY.get(key)
    if found is None:
        n_sets = count_sets(chosen)
        if n_workers() > 1:
            found = fit_by_workers(x, mask, chosen, n_sets, show)
        else:
            found = _core.fit_evidences(
                x,
                mask,
                **chosen,
                first=0,
                last=n_sets,
                n_threads=n_threads,
                progress=show,
            )
        MEMORY.put(key, found)
    return found


def is_known(
    x: Floats, mask: NDArray[np.uint8] | None, settings: dict[str, Any]
) -> bool:
    """Whether find_evidences has nothing to fit."""
    return MEMORY.get(key_of(x, mask, chosen_of(settings))) is not None


# --- workers -------------------------------------------------------------------------


def fit_part(
    x: Floats,
    mask: NDArray[np.uint8] | None,
    settings: dict[str, Any],
    first: int,
    last: int,
) -> tuple[Floats, str, str]:
    """What a worker does: a part of the list, and which core made it."""
    # arrays out of a message (dask) need not be aligned
    part = _core.fit_evidences(
        np.require(x, requirements=["C", "A"]),
        None if mask is None else np.require(mask, requirements=["C", "A"]),
        **settings,
        first=first,
        last=last,
    )
    core = _core.config()
    return part, str(core["version"]), str(core["simd"])


def fit_by_workers(
    x: Floats,
    mask: NDArray[np.uint8] | None,
    settings: dict[str, Any],
    n_sets: int,
    show: Show,
) -> Floats:
    size = min(max(n_sets // (TASKS_PER_WORKER * n_workers()), 1), MOST_SETS)

    def tasks() -> Iterator[Any]:  # consumed as workers become free
        for first in range(0, n_sets, size):
            show(max(0.0, first / n_sets))
            yield joblib.delayed(fit_part)(
                x, mask, settings, first, min(first + size, n_sets)
            )

    own = _core.config()
    try:
        parts = joblib.Parallel()(tasks())
    except (ValueError, MemoryError, _core.NumericalError):
        raise  # the core's own words
    except Exception as error:
        raise RuntimeError(
            f"a worker of joblib failed while parent sets were fitted: {error} (every "
            f"worker needs jspgfn {own['version']} and memory for the data; without "
            "joblib.parallel_config the sets are fitted in this process)"
        ) from error
    versions = {version for _, version, _ in parts} - {own["version"]}
    if versions:
        raise RuntimeError(
            f"workers of joblib have jspgfn {', '.join(sorted(versions))}, but "
            f"{own['version']} is needed, as here"
        )
    others = {simd for *_, simd in parts} - {own["simd"]}
    if others:
        warnings.warn(
            f"workers used other instruction sets ({', '.join(sorted(others))}) than this "
            f"process ({own['simd']}): results are as good, but not the same bits; set "
            "JSPGFN_SIMD in all of them",
            JspgfnWarning,
            stacklevel=2,
        )
    return np.concatenate([part for part, *_ in parts])


# --- memory --------------------------------------------------------------------------


def key_of(
    x: Floats, mask: NDArray[np.uint8] | None, settings: dict[str, Any]
) -> bytes:
    """A digest of everything that evidences depend on."""
    text = json.dumps([settings, x.shape, mask is not None])
    digest = hashlib.blake2b(text.encode(), digest_size=32)
    digest.update(np.ascontiguousarray(x).data)
    if mask is not None:
        digest.update(np.ascontiguousarray(mask).data)
    return digest.digest()


class Memory:
    """Evidences of the last problems of this process, most recently used last.

    They take minutes to make and little room to keep: a chain after a sampler on the
    same data, another graph prior or another seed need no new ones.
    """

    def __init__(self, n_bytes: int) -> None:
        self.n_bytes = n_bytes
        self.kept: OrderedDict[bytes, Floats] = OrderedDict()
        self.lock = threading.Lock()

    def get(self, key: bytes) -> Floats | None:
        with self.lock:
            if key in self.kept:
                self.kept.move_to_end(key)
            return self.kept.get(key)

    def put(self, key: bytes, evidences: Floats) -> None:
        with self.lock:
            self.kept[key] = evidences
            self.kept.move_to_end(key)
            while sum(values.nbytes for values in self.kept.values()) > self.n_bytes:
                self.kept.popitem(last=False)

    def clear(self) -> None:
        with self.lock:
            self.kept.clear()


MEMORY = Memory(64 << 20)
