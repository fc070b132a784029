"""Plain structure MCMC on the same tables: the honest competitor.

Add, delete and reverse moves of csrc/dag/jsp_chain.c, the chain that training itself uses,
started by annealing. The file chain.c is compiled with the C compiler (CC or cc) into a
temporary folder at first use.
"""

import ctypes
import functools
import os
import pathlib
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent


@functools.cache
def library():
    core = HERE.parent / "csrc"
    folders = [core / name for name in ("base", "kernels", "score", "dag")]
    sources = [HERE / "chain.c"]
    for folder in folders:
        sources += sorted(folder.glob("*.c"))
    target = pathlib.Path(tempfile.mkdtemp()) / "chain.so"
    command = [os.environ.get("CC", "cc"), "-O3", "-std=gnu11", "-fPIC", "-shared"]
    command += ["-fno-math-errno", "-fno-trapping-math", "-ffp-contract=off"]
    command += [f"-I{folder}" for folder in [core, *folders]]
    command += [*map(str, sources), "-lm", "-o", str(target)]
    subprocess.run(command, check=True)
    chain_edges = ctypes.CDLL(str(target)).chain_edges
    chain_edges.restype = ctypes.c_double
    pointer = np.ctypeslib.ndpointer(np.float64, flags="C_CONTIGUOUS")
    chain_edges.argtypes = [
        ctypes.c_int,
        pointer,
        ctypes.c_double,
        ctypes.c_ulonglong,
        pointer,
    ]
    return chain_edges


def edge_probabilities(scores, seconds, n_jobs, seed=0):
    """Edges (D, D) from n_jobs chains side by side, `seconds` of CPU time each.

    scores (D, 2^D) holds local scores by full masks, as reference.local_scores.tables.
    """
    D = len(scores)
    masks = np.arange(1 << D)
    table = np.stack([scores[j, masks >> j & 1 == 0] for j in range(D)])
    edges = np.zeros((n_jobs, D, D))
    chain_edges = library()

    def run(k):
        n_moves = chain_edges(D, table, seconds, seed + k, edges[k])
        assert n_moves > 0
        return n_moves

    with ThreadPoolExecutor(n_jobs) as pool:
        n_moves = sum(pool.map(run, range(n_jobs)))
    return edges.mean(axis=0), n_moves
