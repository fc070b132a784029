"""Priors over graphs, given by name."""

from __future__ import annotations

from ._validation import describe

GRAPH_PRIORS = {
    "uniform": "every graph has the same weight; most graphs are dense, so is this prior",
    "fair": "1 / C(D-1, number of parents) per node: every number of parents is equally "
    "likely a priori if acyclicity did not matter",
}


def check_graph_prior(graph_prior: object) -> str:
    """The name the core knows the prior by; ValueError for anything else."""
    if isinstance(graph_prior, str) and graph_prior in GRAPH_PRIORS:
        return graph_prior
    names = " or ".join(repr(name) for name in GRAPH_PRIORS)
    raise ValueError(f"graph_prior must be {names}, got {describe(graph_prior)}")
