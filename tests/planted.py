"""Samplers and references with known faults, to judge the judgement of `diagnose`."""

import functools
import types

import numpy as np

from checks import as_bytes, make_scores, simulate
from jspgfn import _core
from jspgfn._engine import Draws
from jspgfn._reference import make_reference
from reference import cases, dags


def solve(scores):
    exact = _core.Exact(scores, posterior=True, n_threads=1)
    while exact.step(100) < 1:
        pass
    return exact


class Planted:
    """Looks like the engine of a fit: draws from one set of scores, judged by another."""

    def __init__(self, scores, sampler):
        self.tables = types.SimpleNamespace(
            scores=scores,
            n_threads=1,
            settings={
                "candidates": [scores.candidates(j) for j in range(scores.n_variables)],
                "tabulate": True,
            },
        )
        self.sampler = sampler

    def draw(self, n, seed, first_draw):
        graphs = self.sampler.sample(n, seed, first_draw)
        return Draws(
            graphs, self.sampler.log_prob(graphs), self.tables.scores.log_reward(graphs)
        )

    def log_prob(self, graphs):
        log_prob = self.sampler.log_prob(graphs)
        return log_prob, np.zeros_like(log_prob)


class ExactSampler:
    """Exact draws of the posterior that other scores give."""

    def __init__(self, scores):
        self.scores = scores
        self.exact = solve(scores)

    def sample(self, n, seed, first_draw):
        return self.exact.sample(n, seed, first_draw)

    def log_prob(self, graphs):
        return self.scores.log_reward(graphs) - self.exact.log_partition()


class TableSampler:
    """Any distribution over all graphs of a few variables."""

    def __init__(self, graphs, log_prob):
        self.graphs = as_bytes(graphs)
        self.table = log_prob - np.logaddexp.reduce(log_prob)
        self.index = {graph.tobytes(): k for k, graph in enumerate(self.graphs)}

    def sample(self, n, seed, first_draw):
        rng = np.random.default_rng([seed, first_draw])
        return self.graphs[rng.choice(len(self.graphs), n, p=np.exp(self.table))]

    def log_prob(self, graphs):
        return self.table[[self.index[graph.tobytes()] for graph in as_bytes(graphs)]]


class Mixture:
    """Draws of the second sampler with a small probability, else of the first."""

    def __init__(self, first, second, share):
        self.parts, self.share = (first, second), share

    def sample(self, n, seed, first_draw):
        a, b = (part.sample(n, seed, first_draw) for part in self.parts)
        rng = np.random.default_rng([seed, first_draw, 1])
        return np.where((rng.random(n) < self.share)[:, None, None], b, a)

    def log_prob(self, graphs):
        a, b = (part.log_prob(graphs) for part in self.parts)
        return np.logaddexp(a + np.log1p(-self.share), b + np.log(self.share))


class TrainerSampler:
    """The policy of a trainer of the core."""

    def __init__(self, trainer):
        self.trainer = trainer

    def sample(self, n, seed, first_draw):
        return self.trainer.sample(n, seed, 1, first_draw)[0]

    def log_prob(self, graphs):
        return self.trainer.log_prob(as_bytes(graphs), 1)


@functools.cache
def small(n_variables=4, n_rows=12):
    """Scores of simulated rows, all graphs, log R."""
    scores = make_scores(
        simulate(n_variables, n_rows, seed=n_variables), graph_prior="fair"
    )
    graphs = dags.enumerate_dags(n_variables)
    return scores, graphs, scores.log_reward(as_bytes(graphs))


@functools.cache
def case_scores(name, **changes):
    case = cases.load(name)
    rows = changes.pop("rows", None)
    chosen = slice(None) if rows is None else np.arange(rows) % len(case.x)
    return make_scores(
        case.x[chosen],
        None if case.mask is None else case.mask[chosen],
        model=case.model,
        fields=case.fields,
        graph_prior=case.graph_prior,
        n_states=case.n_states,
        **changes,
    )


def with_odds(name, odds):
    """Scores of a case with more log-odds per edge; -inf forbids, inf requires."""
    case = cases.load(name)
    return make_scores(
        case.x,
        case.mask,
        model=case.model,
        fields=case.fields,
        graph_prior=case.graph_prior,
        n_states=case.n_states,
        edge_log_odds=odds,
    )


def noisy_odds(n_variables, scale):
    return scale * np.random.default_rng(5).normal(size=(n_variables, n_variables))


def without_edge(name, probability):
    """Scores of a case that forbid the edge whose probability is nearest to this."""
    exact = solve(case_scores(name))
    i, j = np.unravel_index(
        np.argmin(np.abs(exact.edges() - probability)), exact.edges().shape
    )
    odds = np.zeros_like(exact.edges())
    odds[i, j] = -np.inf
    return with_odds(name, odds)


def reference_of(engine, chains, edges, r_hat):
    """Chains (n_chains, n, D, D) given by hand."""
    return make_reference(
        engine, as_bytes(chains), edges, np.zeros_like(edges), r_hat=r_hat
    )
