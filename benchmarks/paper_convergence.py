"""How the published method approaches the exact posterior at five variables.

    python benchmarks/paper_convergence.py [--data 0 1 ...] [--published] [--seconds 600]

Prints total variation between the terminal distribution of the policy, exact over all
29,281 DAGs, and the posterior, over processor seconds of training (N = 100, linear model,
one thread), and the mean divergence of the head from the exact posterior of the parameters
of drawn graphs. The settings are jspgfn.PAPER_QUICK, or jspgfn.PAPER with --published.
"""

import argparse
import pathlib
import sys
import time

import numpy as np

import jspgfn
from jspgfn import _core

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tests"))

from reference.dags import enumerate_dags
from reference.terminal import terminal_log_prob

CHECKS = 12


def follow(seed, settings, seconds):
    sim = jspgfn.simulate.linear_gaussian(
        n_variables=5, n_samples=100, random_state=seed
    )
    est = jspgfn.JSPGFN(**{**settings, "n_jobs": 1, "random_state": seed})
    est.set_params(n_iter=1).fit(sim.X)
    trainer, n_iter = est._engine.trainer, settings["n_iter"]
    trainer.set_schedule(0, n_iter, 1.0)
    graphs = enumerate_dags(5)
    log_reward = est.log_reward(graphs)
    posterior = np.exp(log_reward - np.logaddexp.reduce(log_reward))
    edges = np.tensordot(posterior, graphs, 1)
    used = 0.0
    while trainer.iteration < n_iter and used < seconds:
        start = time.process_time()
        last = min(trainer.iteration + n_iter // CHECKS, n_iter)
        while trainer.iteration < last and used + time.process_time() - start < seconds:
            row = trainer.step(min(20, last - trainer.iteration))[-1]
        used += time.process_time() - start
        q = np.exp(terminal_log_prob(lambda g: trainer.policy(g, 1), 5))
        distance = 0.5 * np.abs(q - posterior).sum()
        error = np.sqrt(((np.tensordot(q, graphs, 1) - edges) ** 2).mean())
        draws = est.sample(1000, random_state=0)
        exact = draws.log_reward_joint - draws.log_reward
        named = dict(zip(_core.GNN_METRICS, row, strict=True))
        print(
            f"data {seed}  {used:6.0f} s  {trainer.iteration:7d} updates  "
            f"TV {distance:.3f}  edge RMSE {error:.3f}  "
            f"KL of theta {(draws.log_prob_theta - exact).mean():.3f}  "
            f"penalty {named['penalty']:.3g}  residual sd {named['residual_sd']:.3g}",
            flush=True,
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--published", action="store_true")
    parser.add_argument("--head", choices=("diag", "full"))
    parser.add_argument("--seconds", type=float, default=600)
    arguments = parser.parse_args()
    settings = jspgfn.PAPER if arguments.published else jspgfn.PAPER_QUICK
    if arguments.head:
        settings = {**settings, "head": arguments.head}
    for seed in arguments.data:
        follow(seed, settings, arguments.seconds)


if __name__ == "__main__":
    main()
