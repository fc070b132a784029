"""pgmpy: hill climbing on resampled rows, edges of the equivalence class by frequency."""

import _protocol as protocol
import numpy as np


def estimate(task):
    model, _ = protocol.expect(
        task, ("linear", "bge", "bdeu"), ("uniform", "fair", "erdos-renyi")
    )
    discrete = model == "bdeu"
    names = [f"v{i}" for i in range(task.n_variables)]
    edges, done, failed, seconds = protocol.bootstrap(task, learner(names, discrete))
    info = {
        "model": "BDeu, equivalent sample size 10" if discrete else "Gaussian BIC",
        "method": "hill climbing from the empty graph, tabu list of 100",
        "resamples": done,
        "failed": failed,
        "not matched": "no prior over graphs, no posterior: bootstrap frequencies of "
        "equivalence classes, undirected edges half each way",
    }
    return protocol.Found(edges, seconds, info)


def learner(names, discrete):
    """Function of rows that returns the matrix of one pattern."""
    import logging

    import pandas as pd
    from pgmpy.causal_discovery import HillClimbSearch

    logging.disable(logging.INFO)  # it tells the kind of every column, every time

    def learn(x):
        rows = pd.DataFrame(x, columns=names)
        if discrete:
            rows = rows.astype("category")
        score = "bdeu" if discrete else "bic-g"
        search = HillClimbSearch(score, show_progress=False, return_type="pdag")
        graph = search.fit(rows).causal_graph_
        return edges_of(graph, names)

    return learn


def edges_of(graph, names):
    directed = np.zeros((len(names), len(names)), bool)
    undirected = directed.copy()
    for matrix, edges in (
        (directed, graph.directed_edges),
        (undirected, graph.undirected_edges),
    ):
        for a, b in edges:
            matrix[names.index(a), names.index(b)] = True
    return protocol.edges_of_pattern(directed, undirected | undirected.T)


if __name__ == "__main__":
    protocol.run(estimate, "pgmpy")
