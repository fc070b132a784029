"""Certificates, refinement and warm starts: what they cost and what they bring.

    python benchmarks/trust.py [refine] [warm] [--variables 50] [--updates 600]

`refine`: a fit of simulated data (100 rows, 1 edge per node), its diagnosis, accepted
proposals by block size, and the error of edge probabilities of 2,000 draws before and
after refinement against the reference of the diagnosis. `warm`: updates until the
certificate is good from a network fitted to half of the rows, and afresh. CPU seconds of
one thread.
"""

import argparse
import time
import warnings

import numpy as np

import jspgfn


def rms(edges, reference):
    return float(np.sqrt(np.mean((np.asarray(edges) - reference) ** 2)))


def timed(call):
    begin = time.process_time()
    result = call()
    return result, time.process_time() - begin


def refine(n_variables, n_updates):
    sim = jspgfn.simulate.linear_gaussian(
        n_variables=n_variables, n_samples=100, random_state=1
    )
    est = jspgfn.JSPGFN(n_iter=n_updates, random_state=0, n_jobs=1)
    _, seconds = timed(lambda: est.fit(sim.X))
    print(f"\n{n_variables} variables, {n_updates} updates, {seconds:.1f} s")
    report, seconds = timed(lambda: est.diagnose(n_draws=4000))
    print(f"{report}\ndiagnosed in {seconds:.1f} s")
    raw = est.sample(2000)
    refined, seconds = timed(lambda: est.sample(2000, refine=True))
    known = est.refinement_
    shares = ", ".join(f"{m}: {a:.3f}" for m, a in known.acceptance.items())
    print(
        f"{known.n_sweeps} sweeps, distance {known.distance:.3f}, {seconds:.1f} s; "
        f"accepted by size {shares}"
    )
    edges = report.edges_reference
    floor = np.sqrt(np.mean(edges * (1 - edges)) / 2000)
    print(
        f"RMS error of edges: raw {rms(raw.edge_probabilities(), edges):.5f}, "
        f"weighted {rms(raw.edge_probabilities(weighted=True), edges):.5f}, "
        f"refined {rms(refined.edge_probabilities(), edges):.5f}, "
        f"2,000 exact draws {floor:.5f}"
    )


def warm(n_variables):
    for seed in (1, 3, 4):
        sim = jspgfn.simulate.linear_gaussian(
            n_variables=n_variables, n_samples=200, random_state=seed
        )
        settings = {"random_state": 0, "n_jobs": 1}
        est = jspgfn.JSPGFN(warm_start=True, **settings).fit(sim.X[:100])
        steps = [
            ("20 rows more", sim.X[:120], "fair"),
            ("80 rows more", sim.X, "fair"),
            ("another prior", sim.X, jspgfn.ErdosRenyi(1.0)),
        ]
        for name, X, prior in steps:
            afresh = jspgfn.JSPGFN(graph_prior=prior, **settings)
            _, cold_seconds = timed(lambda e=afresh, X=X: e.fit(X))
            est.set_params(graph_prior=prior)
            _, warm_seconds = timed(lambda e=est, X=X: e.fit(X))
            print(
                f"seed {seed}, {name:13} afresh {afresh.n_iter_} updates, "
                f"{cold_seconds:.1f} s, KL {afresh.diagnose().kl_reverse:.4f}; warm "
                f"{est.n_iter_} updates, {warm_seconds:.1f} s, KL "
                f"{est.diagnose().kl_reverse:.4f}",
                flush=True,
            )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", default=["refine", "warm"])
    parser.add_argument("--variables", type=int, default=None)
    parser.add_argument("--updates", type=int, default=600)
    given = parser.parse_args()
    warnings.simplefilter("default", jspgfn.JspgfnWarning)
    if "refine" in given.parts:
        refine(given.variables or 50, given.updates)
    if "warm" in given.parts:
        warm(given.variables or 12)
