"""Works until told to stop, over and over, and reports how the interruptions went.

Run by test_interruption.py:  interrupted.py WORK,WORK,... N_SIGNALS, or
interrupted.py save PATH N_KILLS.
A process of its own sends the signals, so that this one has no threads but those of the
core. After each interruption the object is used, and in the end the work is done without
interruption and compared.
"""

import json
import os
import pickle
import signal
import sys
import time
import warnings

import numpy as np

import jspgfn

warnings.simplefilter("ignore")

LONG = 10**8
SIZES = {"exact": 18, "exact draws": 16, "mlp": 9, "density": 8, "slow gnn": 12}
FITTED = ("exact draws", "features draws", "mlp draws", "refine", "density")
TRAINED = ("edges", "gnn", "slow gnn")


def data(n_variables, n_samples=100):
    return jspgfn.simulate.linear_gaussian(
        n_variables=n_variables, n_samples=n_samples, random_state=0
    ).X


class Work:
    """`start` goes on for long; `check` uses what an interruption has left."""

    def __init__(self, name):
        self.name = name
        common = {"n_jobs": 2, "random_state": 0}
        gnn = {"batch_size": 16, "n_theta_samples": 2, "gnn_options": {"n_prefill": 50}}
        flat = jspgfn.LinearGaussian(weight_scale=0.01)
        self.X = data(SIZES.get(name, 5), 1000 if name == "slow gnn" else 100)
        self.est = {
            "edges": lambda: jspgfn.JSPGFN(n_iter=LONG, **common),
            "gnn": lambda: jspgfn.JSPGFN(
                **{**jspgfn.PAPER, **gnn, "n_iter": LONG, **common}
            ),
            "slow gnn": lambda: jspgfn.JSPGFN(  # about a second per update
                **{**jspgfn.PAPER, "model": "mlp", "head": "mlp", "n_iter": LONG},
                **common,
            ),
            "exact": lambda: jspgfn.ExactPosterior(flat, **common),
            "exact draws": lambda: jspgfn.ExactPosterior(flat, **common),
            "features draws": lambda: jspgfn.ExactPosterior(
                jspgfn.RandomFeatures(n_features=16), **common
            ),
            "mlp draws": lambda: jspgfn.ExactPosterior("mlp", **common),
            "chain": lambda: jspgfn.StructureMCMC(n_chains=2, n_moves=10**12, **common),
            "mlp": lambda: jspgfn.ExactPosterior("mlp", **common),
            "refine": lambda: jspgfn.JSPGFN(n_iter=20, **common),
            "density": lambda: jspgfn.JSPGFN(
                **{**jspgfn.PAPER, **gnn, "n_iter": 2, **common}
            ),
        }[name]()
        self.is_begun = self.is_done = False
        if name in FITTED:
            self.est.fit(self.X)
            self.is_begun = True

    def start(self):
        est = self.est
        if self.name == "refine":
            est.sample(10**6, refine=20)
        elif self.name == "density":
            est.log_prob(est.sample(10_000, random_state=1).graphs)
        elif self.name in FITTED:
            while True:
                est.sample(100_000)
        elif self.name in TRAINED and self.is_begun:
            est.resume(n_iter=LONG)
        elif self.name == "chain" and self.is_begun:
            est.resume(n_moves=10**12)
        else:
            est.fit(self.X)

    def check(self):
        """Uses the object; True when there is something of it."""
        est = self.est
        if self.name in TRAINED and hasattr(est, "_engine"):
            self.is_begun = True
            assert est.n_iter_ == len(est.history_["loss"])
            assert len(est.sample(3)) == 3
            if est.n_iter_ % 5 == 0:
                pickle.loads(pickle.dumps(est)).sample(1)
        if self.name == "chain" and hasattr(est, "_record"):
            self.is_begun = True
            edges = est.edge_probabilities()
            assert np.isfinite(edges).all()
            assert est.n_moves_ > 0
        if self.name in ("exact", "mlp"):
            assert hasattr(est, "log_partition_") == self.is_done
        if self.name in FITTED:
            assert len(est.sample(3)) == 3


def ring(parent, pipe, seconds):
    """In a process of its own: SIGINT to the parent; the times before and after."""
    time.sleep(seconds)
    before = time.monotonic()
    os.kill(parent, signal.SIGINT)
    os.write(pipe, np.array([before, time.monotonic()]).tobytes())
    os._exit(0)


def count_threads():
    return len(os.listdir("/proc/self/task")) if os.path.isdir("/proc/self/task") else 1


def interrupt(work, rng):
    """Seconds from the signal to the KeyboardInterrupt, or None when none came."""
    reader, writer = os.pipe()
    seconds = 0.02 + 0.4 * rng.random()
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])  # until we are at work
    child = os.fork()
    if child == 0:
        ring(os.getppid(), writer, seconds)
    answered, ended, work.is_done = None, np.inf, False
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
        work.start()
        ended, work.is_done = time.monotonic(), True
        time.sleep(60)  # until the signal comes
    except KeyboardInterrupt:
        if not work.is_done:
            answered = time.monotonic()
    os.waitpid(child, 0)
    sent, arrived = np.frombuffer(os.read(reader, 16))
    assert answered or arrived > ended, "the work was done in spite of a signal"
    os.close(reader)
    os.close(writer)
    return None if answered is None else answered - sent


def main(name, n_signals):
    work, rng = Work(name), np.random.default_rng(1)
    seconds, threads, n_sent = [], set(), 0
    while len(seconds) < n_signals and n_sent < 10 * n_signals:
        answer = interrupt(work, rng)  # None: late, as on a busy machine
        n_sent += 1
        if answer is not None:
            seconds.append(answer)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        work.check()
        threads.add(count_threads())
    quantiles = np.quantile(seconds, [0.5, 0.9, 0.99]).round(4).tolist()
    return {
        "work": name,
        "signals": n_sent,
        "interrupted": len(seconds),
        "median": quantiles[0],
        "90 %": quantiles[1],
        "99 %": quantiles[2],
        "slowest": round(max(seconds), 4),
        "within 0.5 s": int((np.array(seconds) <= 0.5).sum()),
        "threads": max(threads),
    }


def save_for_ever(path, draws, pipe):
    """In a process of its own: saves one and the other, and reports each round of it."""
    try:
        while True:
            for some in draws:
                some.save(path)
            os.write(pipe, b".")
    finally:
        os._exit(1)


def kill_while_saving(path, n_kills):
    """Children that save are killed; how often the file had which number of draws.

    Each child is killed within one round after its first, by the time that one took: a
    fixed time would be over before the first save on a slow disk. Every other child
    saves in the other order, and both files are of one size, so that both are met
    whatever the kills hit.
    """
    exact = jspgfn.ExactPosterior(random_state=0).fit(data(4, 50))
    draws = [exact.sample(10_000), exact.sample(10_001)]
    rng, found = np.random.default_rng(0), {10_000: 0, 10_001: 0}
    for _ in range(n_kills):
        draws.reverse()
        reader, writer = os.pipe()
        started = time.monotonic()
        child = os.fork()
        if child == 0:
            save_for_ever(path, draws, writer)
        os.close(writer)
        assert os.read(reader, 1) == b".", "a child failed to save"
        time.sleep(rng.random() * (time.monotonic() - started))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(reader)
        found[len(jspgfn.load(path))] += 1
    return found


if __name__ == "__main__":
    if sys.argv[1] == "save":
        print(json.dumps(kill_while_saving(sys.argv[2], int(sys.argv[3]))))
    else:
        for name in sys.argv[1].split(","):
            print(json.dumps(main(name, int(sys.argv[2]))), flush=True)
