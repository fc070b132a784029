"""Speed of the published method: updates per second, against one matrix product.

    python benchmarks/bench_paper.py [--quick]

For D = 5, 20, 50, the three heads, the published batch (256, K = 64) and a small one (32,
K = 1), one and two threads. "products" is the time of an update divided by that of one
1024 x 1024 x 1024 float32 NumPy product with one thread, so that figures carry over to
other machines; "times" compares with the published JAX code, measured in the same unit on
one AVX2 core. "share" is the rate of the network's products (three times those of the
forward pass: matrices of 128 x 128, 8 per node of G, 2 per node of G' and 3 for each end of
the new edge) relative to that NumPy product: all other work, samples of parameters above
all, lowers it. "MB" is the growth of the peak memory of
a process of its own, "of JAX" the published code's peak divided by it.

The second table splits the time, in percent: replay (batch, legal edges), environments,
shared (tables and maps that all graphs of an update have in common, and their gradients),
forward (network and outputs of the head), samples (noise, densities, rewards), loss,
backward, sum (clearing and adding blocks of gradients, Adam).
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time

for name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import numpy as np  # noqa: E402

# the published code, by (head, D, batch, K): products per update, peak memory in MB
PUBLISHED = {
    ("diag", 5, 32, 1): (0.75, 757),
    ("full", 5, 32, 1): (0.78, 862),
    ("mlp", 5, 32, 1): (0.94, 923),
    ("diag", 5, 256, 64): (15.6, 880),
    ("diag", 20, 32, 1): (5.0, 860),
    ("full", 20, 32, 1): (5.9, 891),
    ("mlp", 20, 32, 1): (5.5, 887),
    ("diag", 20, 256, 64): (105, 1798),
    ("diag", 50, 32, 1): (16.7, 983),
}


def seconds_of_product():
    a = np.random.default_rng(0).normal(size=(1024, 1024)).astype(np.float32)
    a @ a
    times = []
    for _ in range(7):
        start = time.perf_counter()
        a @ a
        times.append(time.perf_counter() - start)
    return min(times)


def measure(head, n_variables, batch, n_samples, n_threads, seconds):
    """Best of the calls of step() within the time, after a first one."""
    import jspgfn
    from jspgfn import _core

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    D = n_variables
    sim = jspgfn.simulate.linear_gaussian(n_variables=D, n_samples=100, random_state=0)
    few = [[i for i in range(D) if i != j][:1] for j in range(D)]  # small tables
    fields: dict[str, float] = {"noise_scale": 0.1**0.5}
    fields |= {"hidden": 5} if head == "mlp" else {"weight_scale": 1.0}
    scores = _core.Scores(
        np.ascontiguousarray(sim.X),
        None,
        model="mlp" if head == "mlp" else "linear",
        model_fields=fields,
        graph_prior="uniform",
        max_parents=[D] * D,
        candidates=few,
        intercept=False,
        n_threads=1,
        edge_log_odds=None,
        required=None,
        n_states=None,
    )
    trainer = _core.GnnTrainer(
        scores,
        head=head,
        allowed=np.ones((D, D), np.uint8),
        max_parents=[D] * D,
        graph_prior="uniform",
        edge_log_odds=None,
        n_iter=100_000,
        batch_size=batch,
        n_theta_samples=n_samples,
        learning_rate=1e-4,
        logit_scale=100.0,
        residual_scale=100.0,
        seed=0,
        n_threads=n_threads,
    )
    trainer.step(1)
    parts = trainer.seconds
    start, best = time.perf_counter(), np.inf
    while time.perf_counter() - start < seconds:
        call = time.perf_counter()
        edges = trainer.step(2)[-1, _core.GNN_METRICS.index("n_edges")]
        best = min(best, (time.perf_counter() - call) / 2)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    parts = {name: total - parts[name] for name, total in trainer.seconds.items()}
    return {
        "seconds": best,
        "edges": edges,
        "MB": (after - before) / 1024,
        "parts": {name: part / sum(parts.values()) for name, part in parts.items()},
    }


def report(case, seconds):
    head, D, batch, n_samples, n_threads = case
    command = [sys.executable, __file__, "--case", json.dumps([*case, seconds])]
    found = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    product = seconds_of_product()
    flop = batch * (10 * D + 6) * 3 * 2 * 128**2
    published, published_mb = PUBLISHED.get((head, D, batch, n_samples), (None, None))
    products = found["seconds"] / product
    row = {
        "head": head,
        "D": D,
        "batch": batch,
        "K": n_samples,
        "threads": n_threads,
        "updates/s": f"{1 / found['seconds']:.1f}",
        "ms": f"{1e3 * found['seconds']:.1f}",
        "products": f"{products:.2f}",
        "times": f"{published / products:.1f}" if published else "",
        "share": f"{flop / found['seconds'] / (2 * 1024**3 / product):.2f}",
        "edges": f"{found['edges']:.0f}",
        "MB": f"{found['MB']:.0f}",
        "of JAX": f"{published_mb / found['MB']:.0f}" if published_mb else "",
    }
    names = list(row)[:5]
    split = {name: row[name] for name in names}
    split |= {name: f"{100 * part:.1f}" for name, part in found["parts"].items()}
    return row, split


def print_row(row, with_names):
    widths = [max(len(name), 7) for name in row]
    if with_names:
        print("  ".join(f"{name:>{w}}" for name, w in zip(row, widths, strict=True)))
    values = zip(row.values(), widths, strict=True)
    print("  ".join(f"{value:>{w}}" for value, w in values), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="one second per case")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.case:
        print(json.dumps(measure(*json.loads(arguments.case))))
        return
    splits = []
    for n_threads in (1, 2):
        for D in (5, 20, 50):
            for head in ("diag", "full", "mlp"):
                for batch, n_samples in ((32, 1), (256, 64)):
                    if D == 50 and (batch, head) != (32, "diag") and arguments.quick:
                        continue
                    case = (head, D, batch, n_samples, n_threads)
                    row, split = report(case, 1 if arguments.quick else 5)
                    print_row(row, not splits)
                    splits.append(split)
    print("\nshare of the time in percent")
    for split in splits:
        print_row(split, split is splits[0])


if __name__ == "__main__":
    main()
