"""Lets the n-th allocation of Python fail inside calls of the core, for every n.

Run by test_allocations.py, because a mistake in the core would end the process.
"""

import _testcapi
import contextlib
import gc
import os
import pickle

import numpy as np

import jspgfn
from jspgfn import _core

X = jspgfn.simulate.linear_gaussian(n_variables=3, n_samples=12, random_state=1).X
gnn = {"batch_size": 4, "n_theta_samples": 2, "n_iter": 2}
gnn["gnn_options"] = {"n_prefill": 10, "replay_capacity": 20}

est = jspgfn.JSPGFN(n_iter=2, n_jobs=1, random_state=0).fit(X)
paper = jspgfn.JSPGFN(**{**jspgfn.PAPER, **gnn}, n_jobs=1, random_state=0).fit(X)
chain = jspgfn.StructureMCMC(n_chains=2, n_moves=10**7, n_jobs=1, random_state=0)
chain.fit(X)
exact = jspgfn.ExactPosterior(n_jobs=1, random_state=0).fit(X)
discrete = jspgfn.ExactPosterior("bdeu", n_jobs=1, random_state=0)
discrete.fit((X > 0).astype(int))

trainer, published = est._engine.trainer, paper._engine.trainer
scores, tables = est._tables.scores, est._tables
graphs = np.ascontiguousarray(est.sample(3).graphs, np.uint8)
state, paper_state = trainer.get_state(), published.get_state()
settings, given = est._engine.trainer_settings, paper._engine.trainer_settings
allowed = (1 - np.eye(3)).astype(np.uint8)
candidates = {k: v for k, v in tables.settings.items() if k != "candidates"}
candidates.pop("tabulate", None)
candidates.pop("keep_rows", None)
of_chains = {**chain._settings, "seed": 1, "n_threads": 1}
record = chain._record
moved, heading = chain._chains.replicas()


def restore():
    counters = record.counters
    chain._chains.restore(
        rounds=record.rounds,
        counts=record.counts,
        sums=record.sums,
        states=record.states,
        thinning=counters["thinning"],
        replicas=moved,
        heading=heading,
        tried_swaps=counters["tried_swaps"],
        accepted_swaps=counters["accepted_swaps"],
        accepted_moves=counters["accepted_moves"],
        round_trips=np.array(counters["round_trips"], np.int64),
    )


calls = {
    "Scores": lambda: _core.Scores(
        tables.x, tables.mask, n_threads=1, **tables.settings
    ),
    "progress": lambda: _core.Scores(
        tables.x, tables.mask, n_threads=1, progress=float, **tables.settings
    ),
    "candidates of a node": lambda: scores.candidates(1),
    "discarded": lambda: scores.discarded,
    "log_reward": lambda: scores.log_reward(graphs),
    "edge_conditionals": lambda: scores.edge_conditionals(graphs, np.ones(3)),
    "draw_parameters": lambda: scores.draw_parameters(graphs, 1, 0),
    "draw_tables": lambda: discrete._tables.scores.draw_tables(graphs, 1, 0),
    "select_candidates": lambda: _core.select_candidates(
        tables.x, tables.mask, n_candidates=1, n_threads=1, **candidates
    ),
    "Trainer": lambda: est._engine.build(),
    "step": lambda: trainer.step(1),
    "sample": lambda: trainer.sample(3, 1, 1, 0),
    "log_prob": lambda: trainer.log_prob(graphs, 1),
    "refine": lambda: trainer.refine(graphs, 1, 1, 1),
    "chain_graphs": lambda: trainer.chain_graphs(),
    "parameters": lambda: trainer.parameters(),
    "counters of a trainer": lambda: trainer.counters,
    "get_state": lambda: trainer.get_state(),
    "set_state": lambda: trainer.set_state(state),
    "Chains": lambda: _core.Chains(scores, **of_chains),
    "batches": lambda: chain._chains.batches(),
    "states": lambda: chain._chains.states(),
    "replicas": lambda: chain._chains.replicas(),
    "counters": lambda: chain._chains.counters(),
    "restore": restore,
    "Exact": lambda: _core.Exact(scores, posterior=True, n_threads=1),
    "edges": lambda: exact._exact.edges(),
    "report": lambda: exact._exact.report(),
    "parent_sets": lambda: exact._exact.parent_sets(0),
    "weight_moments": lambda: exact._exact.weight_moments(),
    "draws": lambda: exact._exact.sample(3, 1),
    "GnnTrainer": lambda: _core.GnnTrainer(
        paper._tables.scores, n_threads=1, allowed=allowed, **given
    ),
    "gnn step": lambda: published.step(1),
    "gnn sample": lambda: published.sample(3, 1, 1, 0),
    "gnn log_prob": lambda: published.log_prob(graphs, 4, 1, 1),
    "gnn policy": lambda: published.policy(graphs, 1),
    "gnn parameters": lambda: published.parameters(),
    "gnn seconds": lambda: published.seconds,
    "gnn get_state": lambda: published.get_state(),
    "gnn set_state": lambda: published.set_state(paper_state),
    "find_cycle": lambda: _core.find_cycle(graphs),
    "config": lambda: _core.config(),
}


def fail(call, first, last):
    """Whether the call failed; allocations first + 1 to last fail, all if last is 0."""
    failed = True
    _testcapi.set_nomemory(first, last)
    try:
        call()
        failed = False
    except (MemoryError, ValueError):
        pass
    finally:
        _testcapi.remove_mem_hooks()
    return failed


LONG = os.environ.get("JSPGFN_LONG_TESTS", "") not in ("", "0")
n_failed, n_calls = 0, 0
for name, call in calls.items():
    with contextlib.suppress(ValueError):
        call()  # what is kept for later calls is there
    for once in (True, False):
        gc.collect()
        live = _core.live_allocations()
        quiet = 0
        for n in range(0, 600, 1 if LONG else 4):
            failed = fail(call, n, n + 1 if once else 0)
            n_calls += 1
            n_failed += failed
            if _core.live_allocations() != live:
                gc.collect()
                lost = _core.live_allocations() - live
                assert lost == 0, f"{name}: allocation {n} lost {lost} blocks"
            quiet = 0 if failed else quiet + 1
            if quiet == 8:
                break
# and all is as before
assert pickle.dumps(est)
assert len(est.sample(5)) == len(paper.sample(5)) == 5
print(f"{n_failed} of {n_calls} calls failed, in {len(calls)} functions")
