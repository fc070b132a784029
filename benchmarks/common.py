"""What the scripts share: exact answers, machine description, tables, JSON."""

import datetime
import json
import pathlib
import platform
import resource
import sys
import time

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests"))

from reference import cases, local_scores  # noqa: E402
from reference.dags import enumerate_dags  # noqa: E402
from reference.exact_posterior import enumerated  # noqa: E402

__all__ = ["cases", "enumerate_dags", "enumerated", "local_scores"]


def fetch_rate(n_records, dtype):
    """Records per second of one core, taken at random from a table: a machine limit."""
    rng = np.random.default_rng(0)
    table = np.ones(n_records, dtype)
    where = rng.integers(0, n_records, size=2_000_000)
    out = np.empty(len(where), dtype)
    best = np.inf
    for _ in range(3):
        begin = time.process_time()
        np.take(table, where, out=out, mode="clip")
        best = min(best, time.process_time() - begin)
    return len(where) / best


def peak_bytes():
    """Peak memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def machine():
    """Where the figures come from."""
    import jspgfn
    from jspgfn import _core

    model = platform.processor()
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    return {
        "date": datetime.date.today().isoformat(),
        "processor": model,
        "system": platform.system(),
        "jspgfn": jspgfn.__version__,
        **{key: _core.config()[key] for key in ("simd", "openmp", "compiler")},
    }


def print_table(rows):
    """Rows are dicts with the same keys."""
    if not rows:
        return
    cells = [[show(value) for value in row.values()] for row in rows]
    header = list(rows[0])
    widths = [max(map(len, column)) for column in zip(header, *cells, strict=True)]
    for line in [header, *cells]:
        pairs = zip(line, widths, strict=True)
        print("  ".join(cell.rjust(width) for cell, width in pairs))


def show(value):
    if isinstance(value, float):
        return f"{value:.5f}" if abs(value) < 10 else f"{value:.2f}"
    return str(value)


def write(name, **content):
    """Writes benchmarks/results/<name>.json."""
    folder = HERE / "results"
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.json"
    content = {"machine": machine(), **content}
    path.write_text(json.dumps(content, indent=1, default=float) + "\n")
    print(f"wrote {path.relative_to(HERE.parent)}")
