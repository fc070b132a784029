"""Many fits in one process: does memory grow, does a result ever change?

    python benchmarks/soak.py --fits 1000
    python benchmarks/soak.py --seconds 3600

Each round fits, samples, saves, loads and diagnoses in turn with every sampler and model,
on 4 variables. Resident memory is read from /proc after every round; its slope over the
second half is printed with its standard error, which leaves out what is allocated once.
Draws of the same settings must be the same bits every time.
"""

import argparse
import contextlib
import gc
import os
import pathlib
import pickle
import tempfile
import time
import warnings

import numpy as np

import jspgfn

PAGE = os.sysconf("SC_PAGE_SIZE")
SETTINGS = [
    lambda: jspgfn.JSPGFN("bge", n_iter=20),
    lambda: jspgfn.JSPGFN("linear", n_iter=20),
    lambda: jspgfn.JSPGFN("nig", n_iter=20, n_jobs=2),
    lambda: jspgfn.JSPGFN("features", n_iter=20),
    lambda: jspgfn.JSPGFN("bdeu", n_iter=20),
    lambda: jspgfn.JSPGFN(
        "linear", generator="gnn", n_iter=3, batch_size=8, n_theta_samples=4
    ),
    lambda: jspgfn.JSPGFN(
        "mlp", generator="gnn", head="mlp", n_iter=3, batch_size=8, n_theta_samples=4
    ),
    lambda: jspgfn.StructureMCMC("bge", n_moves=20_000),
    lambda: jspgfn.ExactPosterior("nig"),
    lambda: jspgfn.ExactPosterior("bdeu"),
]


def resident():
    return int(pathlib.Path("/proc/self/statm").read_text().split()[1]) * PAGE


def use(est, X, path, round_number):
    """Everything that allocates; returns draws."""
    est.set_params(random_state=0, n_jobs=est.n_jobs or 1).fit(X)
    post = est.sample(50, random_state=1)
    if round_number % 5 == 0:
        est.save(path)
        post = jspgfn.load(path).sample(50, random_state=1)
    if round_number % 7 == 0:
        post = pickle.loads(pickle.dumps(est)).sample(50, random_state=1)
    post.edge_probabilities()
    post.predict_log_density(X[:3])
    with contextlib.suppress(ValueError, NotImplementedError):
        est.log_prob(np.ones((4, 4), int))  # an error must not leak either
    return post.graphs


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fits", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=float("inf"))
    args = parser.parse_args()
    if args.seconds < float("inf"):
        args.fits = 10**9
    for kind in (jspgfn.NoiseScaleWarning, jspgfn.NotMixedWarning):
        warnings.simplefilter("ignore", kind)
    X = jspgfn.simulate.linear_gaussian(n_variables=4, n_samples=60, random_state=0).X
    states = (X > 0).astype(int)
    path = pathlib.Path(tempfile.mkdtemp()) / "fit.safetensors"
    first, memory, changed, n_fits = {}, [], 0, 0
    begin, cpu = time.perf_counter(), time.process_time()
    while n_fits < args.fits and time.perf_counter() - begin < args.seconds:
        for k, make in enumerate(SETTINGS):
            est = make()
            graphs = use(est, states if est.model == "bdeu" else X, path, len(memory))
            changed += not np.array_equal(first.setdefault(k, graphs), graphs)
            n_fits += 1
        gc.collect()
        memory.append(resident())
    half = np.array(memory[len(memory) // 2 :]) / 1024
    rounds = np.arange(len(half)) * len(SETTINGS)
    (slope, _), covariance = np.polyfit(rounds, half, 1, cov=True)
    print(
        f"{n_fits} fits in {time.perf_counter() - begin:.0f} s "
        f"({time.process_time() - cpu:.0f} CPU seconds), {changed} with other draws than "
        f"the first; load {os.getloadavg()[0]:.1f}\n"
        f"resident: {memory[0] / 2**20:.1f} MB after {len(SETTINGS)} fits, "
        f"{memory[len(memory) // 2] / 2**20:.1f} after half, {memory[-1] / 2**20:.1f} at "
        f"the end; slope of the second half {slope:.3f} +- {covariance[0, 0] ** 0.5:.3f} "
        "kB per fit"
    )


if __name__ == "__main__":
    main()
