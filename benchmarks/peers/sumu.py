"""sumu: partition MCMC over exact sums (Gadget), then graphs given partitions.

All parents are candidates up to MOST_CANDIDATES; beyond, candidates by its greedy search
and at most two parents from outside. BDeu of 0.1.2 does not run when compiled by Cython 3.
settings["chains"]: tempered chains, default 4.
"""

import time

import _protocol as protocol
import numpy as np

MOST_CANDIDATES = 12
BURN_IN = 0.2  # share of the budget
N_GRAPHS = 10_000  # at most, and
GRAPHS_PER_SECOND = 400  # of the budget, for they cost


def estimate(task):
    protocol.expect(task, ("bge",), ("fair",))
    from sumu import gadget

    np.random.seed(task.seed)  # noqa: NPY002  (it draws from the global generator)
    d = task.n_variables
    k = min(d - 1, MOST_CANDIDATES)
    begin = time.process_time()
    sampler = gadget.Gadget(
        data=gadget.Data(protocol.prepared(task), discrete=False),
        scoref="bge",
        max_id=-1,
        K=k,
        d=2,
        cp_algo="greedy-lite",
        mc3_chains=task.settings.get("chains", 4),
        tolerance=2.0**-32,
    )
    # the steps of Gadget.sample, with a clock in the place of a number of moves
    sampler._find_candidate_parents()
    sampler._precompute_scores_for_all_candidate_psets()
    sampler._precompute_candidate_restricted_scoring()
    sampler._precompute_candidate_complement_scoring()
    sampler._init_mcmc()
    tables = time.process_time() - begin
    sampler.Rs, moves = walk(sampler.mcmc, begin, tables, task.budget)
    graphs = graphs_of(sampler._sample_dags()[0], d)
    info = {
        "model": "bge",
        "prior": "fair",
        "moves": moves,
        "seconds of tables": tables,
        "candidates": k,
        "not matched": "nothing" if k == d - 1 else "outside the candidates at most 2",
    }
    seconds = time.process_time() - begin
    return protocol.Found(graphs.mean(axis=0), seconds, info, graphs)


def walk(chain, begin, tables, budget):
    """Partitions evenly from what is left of the budget; some of it draws the graphs."""
    last = begin + max(0.9 * budget, tables + 0.3 * budget)
    warm = time.process_time() + BURN_IN * (last - time.process_time())
    started, moves = time.process_time(), 0
    while time.process_time() < warm or not moves:
        chain.sample()
        moves += 1
    rate = moves / max(time.process_time() - started, 1e-9)
    n_graphs = min(N_GRAPHS, GRAPHS_PER_SECOND * budget)
    thinning = max(1, int(rate * (last - time.process_time()) / n_graphs))
    kept = []
    while time.process_time() < last or not kept:
        for _ in range(thinning):
            partition = chain.sample()[0]
        moves += thinning
        kept.append(partition)
    return kept, moves


def graphs_of(families, d):
    """From lists of (node, parents); a node without parents stands alone."""
    graphs = np.zeros((len(families), d, d), np.uint8)
    for graph, nodes in zip(graphs, families, strict=True):
        for node, *parents in nodes:
            for parent in parents[0] if parents else ():
                graph[parent, node] = 1
    return graphs


if __name__ == "__main__":
    protocol.run(estimate, "sumu")
