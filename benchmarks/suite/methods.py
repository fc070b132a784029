"""What estimates a posterior over graphs within a budget of processor seconds.

Ours run in a process of their own (`python -m suite.methods NAME in.npz out.npz`), peers as
`benchmarks/peers/NAME.py in.npz out.npz` under the Python of their own environment. Both
read and write the same files:

    in   x (n, d), budget (processor seconds), seed, settings (JSON: model, graph_prior,
         preprocess), and, where there is one, mask (n, d, 1 = set by an experimenter),
         names and test (rows for the predictive density)
    out  edge_probabilities (d, d), [i, j] = P(i -> j); where there are, graphs (m, d, d),
         log_weights (m) and edge probabilities by those, weighted_edges; cpu_seconds;
         info (JSON: versions, and figures that only the method itself can tell, such as
         log_density, the mean over test rows)

The environment of a peer is the Python named by JSPGFN_BENCH_NAME, or, in the folder that
JSPGFN_BENCH_PEERS names, NAME/bin/python. Without one the peer is skipped.

Ours get all of the budget: fit and draws together, in seconds of the processor, one thread.
"""

import contextlib
import dataclasses
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time
import warnings

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
PEERS = HERE.parent / "peers"
N_DRAWS = 100_000  # graphs that are kept, at most
PIECE = 1000
SHARE_OF_DRAWS = 0.15  # of the budget, for methods that train first
N_PREDICT = 1000  # draws that predict


class Skipped(Exception):
    """Why a method does not run here, in words."""


@dataclasses.dataclass
class Task:
    x: np.ndarray
    settings: dict
    budget: float
    seed: int = 0
    mask: np.ndarray | None = None
    names: list | None = None
    test: np.ndarray | None = None


@dataclasses.dataclass
class Result:
    edge_probabilities: np.ndarray
    cpu_seconds: float
    graphs: np.ndarray | None = None
    log_weights: np.ndarray | None = None
    weighted_edges: np.ndarray | None = None
    info: dict = dataclasses.field(default_factory=dict)
    wall_seconds: float = float("nan")
    peak_mb: float = float("nan")


# --- files ---------------------------------------------------------------------------


def write_task(path, task):
    x = task.x
    if task.settings["model"] != "bdeu":
        x = np.asarray(x, np.float64)
    arrays = {"x": x, "budget": task.budget, "seed": task.seed}
    arrays["settings"] = json.dumps(task.settings)
    for name in ("mask", "names", "test"):
        if getattr(task, name) is not None:
            arrays[name] = np.asarray(getattr(task, name))
    np.savez(path, **arrays)


def read_task(path):
    with np.load(path) as file:
        return Task(
            file["x"],
            json.loads(str(file["settings"])),
            float(file["budget"]),
            int(file["seed"]),
            file.get("mask"),
            [str(name) for name in file["names"]] if "names" in file else None,
            file.get("test"),
        )


def write_result(path, result):
    arrays = {
        "edge_probabilities": result.edge_probabilities,
        "cpu_seconds": result.cpu_seconds,
        "info": json.dumps(result.info, default=float),
    }
    for name in ("graphs", "log_weights", "weighted_edges"):
        if getattr(result, name) is not None:
            arrays[name] = getattr(result, name)
    np.savez(path, **arrays)


def read_result(path):
    with np.load(path) as file:
        return Result(
            file["edge_probabilities"],
            float(file["cpu_seconds"]),
            file["graphs"].astype(bool) if "graphs" in file else None,
            file.get("log_weights"),
            file.get("weighted_edges"),
            json.loads(str(file["info"])) if "info" in file else {},
        )


# --- ours ----------------------------------------------------------------------------


@contextlib.contextmanager
def processor_clock():
    """max_time counts processor seconds of this process (one thread), so that other work
    on the machine does not change what a budget buys."""
    wall = time.perf_counter
    time.perf_counter = time.process_time
    try:
        yield
    finally:
        time.perf_counter = wall


def shared(task):
    return {**task.settings, "n_jobs": 1, "random_state": task.seed}


def density(source, task):
    """Mean log predictive density of the test rows, outside the budget."""
    if task.test is None:
        return {}
    return {"log_density": float(np.mean(source.predict_log_density(task.test)))}


def exact(task):
    """Sums over all graphs; the budget plays no part. Graphs are independent draws."""
    import jspgfn

    if task.x.shape[1] > 20:
        raise Skipped("too many variables for sums over all graphs (20 here)")
    begin = time.process_time()
    solver = jspgfn.ExactPosterior(**shared(task)).fit(task.x, interventions=task.mask)
    edges = np.asarray(solver.edge_probabilities())
    seconds = time.process_time() - begin
    info = {"peak_mb": peak_of(os.getpid()) / 2**20}
    draws = solver.sample(10_000, random_state=task.seed)
    # the exact density of a row costs as much as the posterior
    source = solver if task.x.shape[1] <= 10 else draws[:N_PREDICT]
    info.update(density(source, task))
    return Result(edges, seconds, draws.graphs, info=info)


def trained(estimator, task, counted=False):
    """A sampler that learns for most of the budget and draws for the rest.

    Edges are means over all draws, of which the first `N_DRAWS` are kept: of averaged
    probabilities, with and without weights, or of edges, counted.
    """
    begin = time.process_time()
    with processor_clock():
        estimator.fit(task.x, interventions=task.mask)
    kept, edges, weighted, log_mass = [], [], [], []
    started = ended = time.process_time()
    while not edges or 2 * ended - started - begin < task.budget:  # time for another
        started = ended
        stream = 10**6 * task.seed + len(edges)
        piece = estimator.sample(PIECE, random_state=stream)
        if counted:
            edges.append(piece.graphs.mean(axis=0))
        else:
            edges.append(estimator.edge_probabilities(draws=piece))
            weighted.append(estimator.edge_probabilities(weighted=True, draws=piece))
            log_mass.append(np.logaddexp.reduce(log_weights_of(piece)))
        if len(kept) < max(N_DRAWS // PIECE, 1):
            kept.append(piece)
        ended = time.process_time()
    weighted_edges = None
    if weighted:
        share = np.exp(np.array(log_mass) - max(log_mass))
        weighted_edges = np.average(weighted, axis=0, weights=share)
    seconds = time.process_time() - begin
    graphs = np.concatenate([piece.graphs for piece in kept])
    log_weights = np.concatenate([log_weights_of(piece) for piece in kept])
    info = {"peak_mb": peak_of(os.getpid()) / 2**20}
    info.update(drawn=PIECE * len(edges), updates=int(estimator.n_iter_))
    info.update(density(kept[0], task))
    if "gap" in estimator.history_:
        info["gap"] = float(np.mean(estimator.history_["gap"][-100:]))
        info["tv_of_policy"] = tv_of_policy(estimator)
    mean = np.mean(edges, axis=0)
    return Result(mean, seconds, graphs, log_weights, weighted_edges, info)


def log_weights_of(posterior):
    if posterior.log_reward is not None:
        return posterior.log_reward - posterior.log_prob
    joint = posterior.log_reward_joint - posterior.log_prob
    return joint - posterior.log_prob_theta


def tv_of_policy(estimator):
    """Total variation of log_prob itself over all graphs of five variables."""
    if estimator.n_features_in_ != 5:
        return None
    from common import enumerate_dags  # the folder above, on the path of our scripts

    graphs = enumerate_dags(5)
    log_p = estimator.log_reward(graphs)
    p = np.exp(log_p - np.logaddexp.reduce(log_p))
    return float(np.abs(np.exp(estimator.log_prob(graphs)) - p).sum() / 2)


def edges(task):
    """The default sampler, as it comes: beyond 20 variables with 12 candidates each."""
    import jspgfn

    time_of_fit = (1 - SHARE_OF_DRAWS) * task.budget
    settings = {**shared(task), "max_time": time_of_fit}
    return trained(jspgfn.JSPGFN(**settings), task)


def chain(task):
    """Tempered structure MCMC; edges from all states, graphs from thinned ones."""
    import jspgfn

    begin = time.process_time()
    settings = {**shared(task), "max_time": task.budget}
    estimator = jspgfn.StructureMCMC(**settings)
    with processor_clock():
        estimator.fit(task.x, interventions=task.mask)
    edge_probabilities = np.asarray(estimator.edge_probabilities())
    seconds = time.process_time() - begin
    info = {"peak_mb": peak_of(os.getpid()) / 2**20}
    draws = estimator.sample(10_000, random_state=task.seed)
    some = estimator.sample(N_PREDICT, random_state=task.seed)
    info.update(r_hat=float(estimator.diagnostics().r_hat_max), **density(some, task))
    return Result(edge_probabilities, seconds, draws.graphs, info=info)


def paper_with(settings, task):
    """The published method under the target's model, its plan cut to the budget."""
    import jspgfn

    if task.settings["model"] != "linear":
        raise Skipped("the published method knows fixed noise and mlp only")
    time_of_fit = (1 - SHARE_OF_DRAWS) * task.budget
    settings = {**settings, **shared(task), "n_iter": None, "max_time": time_of_fit}
    return trained(jspgfn.JSPGFN(**settings), task, counted=True)  # as published


def paper(task):
    import jspgfn

    return paper_with(jspgfn.PAPER, task)


def paper_quick(task):
    import jspgfn

    return paper_with(jspgfn.PAPER_QUICK, task)


OURS = {
    "exact": exact,
    "edges": edges,
    "chain": chain,
    "paper": paper,
    "paper_quick": paper_quick,
}


def run_here(name, task):
    """One of ours, in this process."""
    import jspgfn

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", jspgfn.JspgfnWarning)
        return OURS[name](task)


# --- processes -----------------------------------------------------------------------


def peers():
    """Names of the adapters there are."""
    return sorted(
        path.stem for path in PEERS.glob("*.py") if not path.stem.startswith("_")
    )


def python_of(peer):
    """Python of the environment of a peer; Skipped says how to name one."""
    variable = f"JSPGFN_BENCH_{peer.upper()}"
    if variable in os.environ:
        return os.environ[variable]
    folder = os.environ.get("JSPGFN_BENCH_PEERS")
    if folder:
        python = pathlib.Path(folder) / peer / "bin" / "python"
        if python.exists():
            return str(python)
        raise Skipped(f"no environment {peer} in the folder of JSPGFN_BENCH_PEERS")
    raise Skipped(f"no environment: name its Python by {variable}")


def run_apart(name, task):
    """A method in a process of its own, with its wall time and peak memory."""
    if name in OURS:
        command = [sys.executable, "-m", "suite.methods", name]
        slack = 600
    else:
        command = [python_of(name), str(PEERS / f"{name}.py")]
        slack = 300
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory() as folder:
        given, found = (pathlib.Path(folder) / f for f in ("in.npz", "out.npz"))
        write_task(given, task)
        begin = time.perf_counter()
        with (pathlib.Path(folder) / "said").open("w+") as said:
            process = subprocess.Popen(
                [*command, str(given), str(found)],
                cwd=HERE.parent,
                env=environment,
                stdout=said,
                stderr=subprocess.STDOUT,
            )
            seconds, peak = wait(process, 10 * task.budget + slack)
            said.seek(0)
            words = said.read().strip().splitlines()
        if process.returncode:
            raise Skipped(words[-1] if words else f"exit status {process.returncode}")
        result = read_result(found)
    result.wall_seconds = time.perf_counter() - begin
    # ours tell the peak before they are asked for what only judges need
    result.peak_mb = result.info.pop("peak_mb", peak / 2**20)
    result.info["cpu_of_process"] = seconds
    return result


def wait(process, seconds):
    """Processor seconds and peak memory (bytes) of the process; it is stopped when it
    takes too long."""
    deadline, peak = time.perf_counter() + seconds, 0
    while True:
        peak = max(peak, peak_of(process.pid))
        number, status, usage = os.wait4(process.pid, os.WNOHANG)
        if number:
            process.returncode = os.waitstatus_to_exitcode(status)
            # ru_maxrss would count what this process held when it started the other
            return usage.ru_utime + usage.ru_stime, peak or float("nan")
        if time.perf_counter() > deadline:
            process.kill()
            process.wait()
            raise Skipped(f"stopped after {seconds:.0f} wall seconds")
        time.sleep(0.02)


def peak_of(pid):
    """Largest resident size so far in bytes; 0 where the system does not tell."""
    try:
        status = pathlib.Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except OSError:
        return 0
    found = re.search(r"VmHWM:\s*(\d+) kB", status)
    return 1024 * int(found.group(1)) if found else 0


def main():
    name, given, found = sys.argv[1:]
    try:
        write_result(found, run_here(name, read_task(given)))
    except (Skipped, ValueError, MemoryError) as reason:
        print(f"{reason}")
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
