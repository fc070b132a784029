"""How the published method approaches the posterior of linear models, N = 100, one thread.

    python benchmarks/paper_convergence.py [--data 0 1 ...] [--published] [--head diag]
                                           [--seconds 600] [--options NAME=VALUE ...]
    python benchmarks/paper_convergence.py --variables 20 [--seconds 300]

Five variables: over processor seconds of training, total variation (TV) between the
terminal distribution of the policy, exact over all 29,281 graphs, and
  - the posterior,
  - what the present head implies for a perfect policy: an imperfect head lowers the
    evidence of each graph by its divergence from the exact conditional posterior;
and between the latter two. Then the divergence of the head, median over the graphs that
make up 99 % of the policy, and with the head `diag` the floor: TV of what perfectly fitted
diagonal heads imply. Last, slope and correlation of log q(G, theta) against
log R(G, theta) over 1,000 draws, and without the 1 % of them that are farthest off: a draw
of a graph that the posterior all but excludes can be off by hundreds of nats.

More variables: a run to completion, with edges against the true graph and, up to 20
variables, the exact posterior, the log density of 1,000 held-out rows, and the same slope
for 200 draws, log q from 20 orders of their edges.

The settings are jspgfn.PAPER_QUICK, or jspgfn.PAPER with --published.
"""

import argparse
import ast
import pathlib
import sys
import time

import numpy as np

import jspgfn
from common import peak_bytes
from jspgfn import _core
from paper_exact import LinearExact, normalised, total_variation

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tests"))

from reference.dags import enumerate_dags
from reference.terminal import terminal_log_prob

CHECKS = 6
NOISE = 0.1**0.5


def start(X, seed, settings):
    """An estimator before its first update; its schedule is the plan of the settings."""
    est = jspgfn.JSPGFN(**{**settings, "n_jobs": 1, "random_state": seed})
    est.set_params(n_iter=1).fit(X)
    est._engine.trainer.set_schedule(
        0, settings["n_iter"], settings["gnn_options"].get("exploration_start", 1.0)
    )
    return est


def train(trainer, until, seconds):
    """Goes on to update `until`, or for so many processor seconds; last row of metrics."""
    begin = time.process_time()
    row = None
    while trainer.iteration < until and time.process_time() - begin < seconds:
        row = trainer.step(min(20, until - trainer.iteration))[-1]
    return dict(zip(_core.GNN_METRICS, row, strict=True)), time.process_time() - begin


def slope_of(est, n=1000, n_runs=10):
    """log q(G, theta) against log R(G, theta) over n of 1,000 draws."""
    draws = est.sample(1000, random_state=0)
    log_q, error = est._engine.trainer.log_prob(
        np.ascontiguousarray(draws.graphs[:n], np.uint8), n_runs, 0, 1
    )
    log_q = log_q + draws.log_prob_theta[:n]
    log_reward = draws.log_reward_joint[:n]
    left = log_q - log_reward
    print(f"    standard error of log q {np.sqrt((error**2).mean()):.3f}")
    far = np.abs(left - np.median(left))
    for share in (1.0, 0.99):
        kept = far <= np.quantile(far, share)
        slope = np.polyfit(log_reward[kept], log_q[kept], 1)[0]
        print(
            f"    {kept.sum()} draws, log q against log R: slope {slope:.3f}, correlation "
            f"{np.corrcoef(log_q[kept], log_reward[kept])[0, 1]:.4f}, sd of the "
            f"difference {left[kept].std():.3f}, largest {far[kept].max():.1f}",
            flush=True,
        )
    return draws


class Five:
    """One data set of five variables and everything exact about it."""

    def __init__(self, seed, settings):
        self.seed, self.kind = seed, settings["head"]
        sim = jspgfn.simulate.linear_gaussian(
            n_variables=5, n_samples=100, random_state=seed
        )
        self.est = start(sim.X, seed, settings)
        self.graphs = enumerate_dags(5)
        self.log_reward = self.est.log_reward(self.graphs)
        self.posterior = normalised(self.log_reward)
        self.edges = np.tensordot(self.posterior, self.graphs, 1)
        self.exact = LinearExact(sim.X)
        best = self.exact.divergence_of_best_diag(self.graphs)
        self.floor = normalised(self.log_reward - best)

    def report(self, used, metrics):
        trainer = self.est._engine.trainer
        q = np.exp(terminal_log_prob(lambda g: trainer.policy(g, 1), 5))
        kl = self.exact.divergence_of_head(self.graphs, trainer, self.kind)
        implied = normalised(self.log_reward - kl)
        order = np.argsort(-q)
        visited = order[: 1 + np.searchsorted(np.cumsum(q[order]), 0.99)]
        error = np.sqrt(((np.tensordot(q, self.graphs, 1) - self.edges) ** 2).mean())
        words = [
            f"data {self.seed} {used:5.0f} s {trainer.iteration:7d} updates",
            f"TV {total_variation(q, self.posterior):.3f}",
            f"(to the head's own {total_variation(q, implied):.3f},",
            f"that to the posterior {total_variation(implied, self.posterior):.3f})",
            f"edge RMSE {error:.3f}",
            f"KL of theta: median {np.median(kl[visited]):.4f}",
            f"mean {q @ kl:.4f}",
            f"residual sd {metrics['residual_sd']:.3g}",
        ]
        stray = q[q > 20 * self.posterior].sum()
        words.append(f"q on graphs 20 times too likely {stray:.4f}")
        if self.kind == "diag":
            floor = total_variation(self.floor, self.posterior)
            words.append(f"floor {floor:.3f}, TV to it")
            words.append(f"{total_variation(q, self.floor):.3f}")
        print("  ".join(words), flush=True)


def follow(seed, settings, seconds):
    five = Five(seed, settings)
    trainer, n_iter = five.est._engine.trainer, settings["n_iter"]
    used, step = 0.0, max(n_iter // CHECKS, 1)
    slice_ = seconds / CHECKS
    while trainer.iteration < n_iter and used < seconds - 1:
        last = min(trainer.iteration + step, n_iter)
        metrics, more = train(trainer, last, min(slice_, seconds - used))
        used += more
        five.report(used, metrics)
    slope_of(five.est)


def auroc(score, truth):
    """Probability that an edge of the truth scores above one that is not."""
    above = score[truth][:, None] - score[~truth][None, :]
    return (above > 0).mean() + 0.5 * (above == 0).mean()


def log_density(rows, coef):
    """Mean over rows of log mean over draws of P(row | G, theta)."""
    log_p = np.empty((len(coef), len(rows)))
    for s, weights in enumerate(coef):
        square = ((rows - rows @ weights) ** 2).sum(axis=1)
        constant = rows.shape[1] * (0.5 * np.log(2 * np.pi) + np.log(NOISE))
        log_p[s] = -0.5 * square / NOISE**2 - constant
    return (np.logaddexp.reduce(log_p, axis=0) - np.log(len(coef))).mean()


def compare_edges(rows, truth, probability):
    """Edge probabilities of the draws and the true graph against the exact posterior."""
    exact = jspgfn.ExactPosterior(
        model="linear", graph_prior="uniform", preprocess=None, n_jobs=1
    )
    edges = exact.fit(rows).edge_probabilities()
    off = ~np.eye(len(edges), dtype=bool)
    error = probability[off] - edges[off]
    print(
        f"    exact posterior: {edges.sum():.1f} edges, AUROC "
        f"{auroc(edges[off], truth[off]):.3f}; edges of the draws have RMSE "
        f"{np.sqrt((error**2).mean()):.3f} and correlation "
        f"{np.corrcoef(probability[off], edges[off])[0, 1]:.3f} with it"
    )


def complete(n_variables, seed, settings, seconds):
    """A run whose plan is cut to the processor time given."""
    sim = jspgfn.simulate.linear_gaussian(
        n_variables=n_variables, n_samples=1100, random_state=seed
    )
    rows, held_out = sim.X[:100], sim.X[100:]
    before = peak_bytes()
    est = start(rows, seed, settings)
    trainer = est._engine.trainer
    _, used = train(trainer, 21, seconds)
    n_iter = min(settings["n_iter"], int(20 / used * (seconds - used)))
    trainer.set_schedule(
        21, n_iter, settings["gnn_options"].get("exploration_start", 1.0)
    )
    for check in range(1, CHECKS + 1):
        metrics, more = train(trainer, 21 + n_iter * check // CHECKS, seconds)
        used += more
        probability = est.sample(500, random_state=1).graphs.mean(axis=0)
        off = ~np.eye(n_variables, dtype=bool)
        print(
            f"D {n_variables} {used:5.0f} s {trainer.iteration:6d} updates  residual sd "
            f"{metrics['residual_sd']:.3g}  penalty {metrics['penalty']:.3g}  "
            f"edge AUROC {auroc(probability[off], sim.graph[off]):.3f}  "
            f"edges {probability.sum():.1f} (true {sim.graph.sum()})",
            flush=True,
        )
    # each order of each draw costs as many passes through the network as it has edges
    draws = slope_of(est, n=200, n_runs=2)
    finite = all(np.isfinite(v).all() for v in trainer.parameters().values())
    print(
        f"    held-out log density per row {log_density(held_out, draws.coef):.3f}, at the "
        f"true weights {log_density(held_out, sim.coef[None]):.3f}; all parameters "
        f"finite: {finite}; peak memory {(peak_bytes() - before) / 1e6:.0f} MB above the "
        f"imported interpreter"
    )
    if n_variables <= 20:
        compare_edges(rows, sim.graph, draws.graphs.mean(axis=0))


def read_option(text):
    name, value = text.split("=")
    return name, ast.literal_eval(value)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--variables", type=int, default=5)
    parser.add_argument("--published", action="store_true")
    parser.add_argument("--head", choices=("diag", "full"))
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--options", nargs="*", type=read_option, default=[])
    arguments = parser.parse_args()
    settings = jspgfn.PAPER if arguments.published else jspgfn.PAPER_QUICK
    settings = {"gnn_options": {}, **settings}
    if arguments.head:
        settings["head"] = arguments.head
    for name, value in arguments.options:
        if name in settings:
            settings[name] = value
        else:
            settings["gnn_options"] = {**settings["gnn_options"], name: value}
    for seed in arguments.data:
        if arguments.variables == 5:
            follow(seed, settings, arguments.seconds)
        else:
            complete(arguments.variables, seed, settings, arguments.seconds)


if __name__ == "__main__":
    main()
