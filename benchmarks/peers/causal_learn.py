"""causal-learn: BOSS, GES or PC on resampled rows, edges by their frequency.

settings["method"]: boss (default), ges or pc. No posterior: what is compared is a use that
is common, the bootstrap frequency of an edge read as its probability.
"""

import _protocol as protocol
import numpy as np


def estimate(task):
    model, _ = protocol.expect(
        task, ("linear", "bge", "bdeu"), ("uniform", "fair", "erdos-renyi")
    )
    method = task.settings.get("method", "boss")
    learn = learner(method, discrete=model == "bdeu")
    edges, done, failed, seconds = protocol.bootstrap(task, learn)
    score = "BDeu" if model == "bdeu" else "Gaussian BIC"
    info = {
        "model": {"pc": "tests of independence, level 0.05"}.get(method, score),
        "method": method,
        "resamples": done,
        "failed": failed,
        "not matched": "no prior over graphs, no posterior: bootstrap frequencies of "
        "equivalence classes, undirected edges half each way",
    }
    return protocol.Found(edges, seconds, info)


def learner(method, discrete):
    """Function of rows that returns the matrix of one pattern."""
    if method == "pc":
        from causallearn.search.ConstraintBased.PC import pc

        test = "chisq" if discrete else "fisherz"
        return lambda x: edges_of(
            pc(x, 0.05, test, show_progress=False, verbose=False).G
        )
    if method == "ges":
        from causallearn.search.ScoreBased.GES import ges

        score = "local_score_BDeu" if discrete else "local_score_BIC"
        return lambda x: edges_of(ges(x, score)["G"])
    from causallearn.search.PermutationBased.BOSS import boss

    score = "local_score_BDeu" if discrete else "local_score_BIC_from_cov"
    return lambda x: edges_of(boss(x, score, verbose=False))


def edges_of(graph):
    """Their matrix has [j, i] = 1 and [i, j] = -1 for i -> j, -1 twice for i - j.

    PC may leave i <-> j (1 twice) where rules contradict: counted as undirected.
    """
    marks = np.asarray(graph.graph)
    directed = (marks == -1) & (marks.T == 1)
    undirected = ((marks == -1) & (marks.T == -1)) | ((marks == 1) & (marks.T == 1))
    return protocol.edges_of_pattern(directed, undirected)


if __name__ == "__main__":
    protocol.run(estimate, "causal-learn")
