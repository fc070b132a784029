"""Threads to use, and what this installation is made of."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

import joblib

from . import _core
from ._validation import check_integer, describe

# More threads are a slip of the pen, and a C int would overflow.
MAX_THREADS = 4096


def check_n_jobs(n_jobs: object) -> int:
    """Number of threads for `n_jobs`.

    None is what OpenMP would use (OMP_NUM_THREADS and threadpoolctl's limits count), at
    most the processors that the affinity mask and the cgroup allow; -1 is all of those,
    -2 all but one, and so on.
    """
    processors = int(joblib.cpu_count())
    if n_jobs is None:
        return max(1, min(int(_core.config()["max_threads"]), processors))
    try:
        n_threads = check_integer("n_jobs", n_jobs, -processors, MAX_THREADS)
    except ValueError:
        n_threads = 0
    if n_threads == 0:
        raise ValueError(
            f"n_jobs must be None, a number of threads from 1 to {MAX_THREADS}, or -1 "
            f"for all processors (-2 for all but one, ...), got {describe(n_jobs)}"
        )
    return n_threads if n_threads > 0 else processors + 1 + n_threads


def show_config() -> dict[str, object]:
    """Print what this installation is made of, and return it.

    Returns
    -------
    dict
        Versions, the compiler, the instruction sets in use and available, whether
        OpenMP is there (without it everything works on one thread) and the number of
        threads that ``n_jobs=None`` stands for.

    Examples
    --------
    >>> import jspgfn
    >>> config = jspgfn.show_config()  # doctest: +ELLIPSIS
    jspgfn ...
    >>> config["threads"] >= 1
    True
    """
    core = dict(_core.config())
    config: dict[str, object] = {
        "jspgfn": core.pop("version"),
        "python": platform.python_version(),
        "platform": platform.platform(),
    }
    for name in ("numpy", "scikit-learn", "joblib", "threadpoolctl", "pandas"):
        try:
            config[name] = version(name)
        except PackageNotFoundError:
            config[name] = "not installed"
    config.update(core)
    config["processors"] = int(joblib.cpu_count())
    config["threads"] = check_n_jobs(None)
    for name, value in config.items():
        shown = (
            ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else value
        )
        print(f"{name:<16}{shown}")
    if not config["openmp"]:
        print("Built without OpenMP: correct, but on one thread only.")
    return config
