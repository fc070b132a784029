"""Simulation-based calibration: is the truth a typical draw of its posterior?

    python benchmarks/calibration.py exact --data-sets 500
    python benchmarks/calibration.py chain --data-sets 500
    python benchmarks/calibration.py edges --data-sets 500
    python benchmarks/calibration.py gnn --data-sets 60
    python benchmarks/calibration.py exact --wrong

Graph, parameters and rows are drawn from the prior, the posterior is sampled, and the
rank of the truth among 99 draws is uniform if all is well (tests/reference/calibration.py).
One row per model and quantity: chi-square p-value over 20 bins and the share of truths
inside the central 90 % of their draws. `--wrong` fits with another prior than the data
came from; every model must then fail.
"""

import argparse
import json
import pathlib
import sys
import time
import warnings

import numpy as np
import pandas

import jspgfn

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tests"))

from reference import calibration

N_DRAWS = 99
WARNINGS = (jspgfn.NoiseScaleWarning, jspgfn.NotMixedWarning)

# variables, rows, graph prior of the simulation and of the package
PROBLEMS = {
    4: (12, "fair", "fair"),
    5: (15, "uniform", "uniform"),
    6: (18, ("odds", 0.25), jspgfn.ErdosRenyi(edges_per_node=0.5)),
}
KNOWN = {  # constants of a model, or what its draws do not say
    "linear": ("noise of x1", "intercept of x1"),
    "nig": ("intercept of x1",),
    "bge": (),
    "features": ("intercept of x1", "log-likelihood"),
    "bdeu": (),
}
FIELDS = {
    "linear": {"noise_scale": 0.8, "weight_scale": 1.0},
    "nig": {"a": 2.0, "b": 1.0, "weight_scale": 1.0},
    "bge": {"alpha_mu": 1.0},
    "features": {"n_features": 8, "a": 2.0, "b": 1.0, "weight_scale": 1.0},
    "bdeu": {"equivalent_sample_size": 4.0},
}


def settings_of(name, D):
    fields = dict(FIELDS[name])
    if name == "bge":
        fields["alpha_w"] = D + 2.0
    return fields


def make_model(name, fields, wrong):
    if wrong:
        change = {"weight_scale": 3.0, "alpha_w": 4.0, "equivalent_sample_size": 8.0}
        fields = {k: v * change[k] if k in change else v for k, v in fields.items()}
    if name == "bdeu":
        return jspgfn.BDeu(**fields)
    if name == "features":
        return jspgfn.RandomFeatures(**fields, kind="fourier")
    kind = {
        "linear": jspgfn.LinearGaussian,
        "nig": jspgfn.NormalInverseGamma,
        "bge": jspgfn.BGe,
    }
    return kind[name](**fields)


def feature_map(D, model):
    """Random cosines for parents of standard deviation 1, from any rows.

    They belong to node and parent set, but for that scale.
    """
    rows = np.random.default_rng(0).normal(size=(50, D))
    rows = (rows - rows.mean(axis=0)) / rows.std(axis=0)
    est = jspgfn.ExactPosterior(model, preprocess=None, n_jobs=1).fit(rows)
    return est._tables.scores.feature_map


def make_sampler(generator, model, prior, seed, n_iter):
    shared = {
        "model": model,
        "graph_prior": prior,
        "preprocess": None if model.__class__ is not jspgfn.BDeu else "auto",
        "max_parents": 5,  # no limit
        "n_jobs": 1,
        "random_state": seed,
    }
    if generator == "exact":
        return jspgfn.ExactPosterior(**shared)
    if generator == "chain":
        return jspgfn.StructureMCMC(**shared, n_chains=2, n_moves=n_iter or 400_000)
    if generator == "edges":
        return jspgfn.JSPGFN(**shared, n_iter=n_iter or 200, batch_size=32)
    return jspgfn.JSPGFN(
        **{**jspgfn.PAPER_QUICK, **shared, "head": "full", "n_iter": n_iter or 1500}
    )


def as_table(x):
    """Discrete data with all their states, of which some may not occur."""
    if x.dtype.kind != "i":
        return x
    return pandas.DataFrame(x).astype(
        pandas.CategoricalDtype(range(calibration.N_STATES))
    )


def draw_truth(name, fields, D, rng, phi):
    N, prior, _ = PROBLEMS[D]
    while True:
        if name == "bdeu":
            return calibration.draw_discrete(*fields.values(), D, N, prior, rng)
        truth = calibration.draw_continuous(name, fields, D, N, prior, rng, phi)
        if np.abs(truth.x).max() < 1e6:  # heavy tails; never met so far
            return truth


def calibrate(name, D, generator, n_data_sets, wrong=False, n_iter=None, seed=0):
    """Ranks by quantity, each a list of length n_data_sets."""
    rng = np.random.default_rng([seed, D, sorted(FIELDS).index(name)])
    fields = settings_of(name, D)
    model = make_model(name, fields, wrong)
    phi = (
        feature_map(D, make_model(name, fields, False)) if name == "features" else None
    )
    collected = {}
    for k in range(n_data_sets):
        truth = draw_truth(name, fields, D, rng, phi)
        est = make_sampler(generator, model, PROBLEMS[D][2], k, n_iter)
        post = est.fit(as_table(truth.x)).sample(N_DRAWS)
        found = calibration.ranks(truth, post, rng, KNOWN[name])
        # rounded, as graphs of one Markov class have equal rewards but for their bits
        value, values = (
            est.log_reward(truth.graph)[0].round(9),
            post.log_reward.round(9),
        )
        found["log P(G | X)"] = calibration.rank(value, values, rng)
        for quantity, rank in found.items():
            collected.setdefault(quantity, []).append(rank)
    return collected


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("generator", choices=["exact", "chain", "edges", "gnn"])
    parser.add_argument("--data-sets", type=int, default=500)
    parser.add_argument("--variables", type=int, nargs="*", default=[4, 5, 6])
    parser.add_argument("--models", nargs="*", default=None)
    parser.add_argument("--iter", type=int, default=None, help="updates or moves")
    parser.add_argument("--wrong", action="store_true", help="negative control")
    parser.add_argument("--json", type=pathlib.Path, help="file for the ranks")
    args = parser.parse_args()
    models = ["linear"] if args.generator == "gnn" else list(FIELDS)
    for kind in WARNINGS:
        warnings.simplefilter("ignore", kind)
    everything, lowest = {}, []
    for D in args.variables:
        for name in args.models or models:
            begin = time.process_time()
            collected = calibrate(
                name, D, args.generator, args.data_sets, args.wrong, args.iter
            )
            seconds = time.process_time() - begin
            everything[f"{name} {D}"] = collected
            found = calibration.p_values(collected, N_DRAWS)
            for quantity, (p, inside) in found.items():
                print(
                    f"{args.generator:6} {name:9} D = {D}  {quantity:17} "
                    f"p = {p:.2g}  90 % interval {100 * inside:.1f} %"
                )
                lowest.append(p)
            print(f"{'':8}{seconds:.1f} CPU seconds", flush=True)
    n, expected = len(lowest), 1 - 2 * 5 / (N_DRAWS + 1)
    print(
        f"{n} quantities: smallest p {min(lowest):.2g}, times {n} (Bonferroni) "
        f"{min(1, n * min(lowest)):.2g}; 90 % intervals hold {100 * expected:.0f} %, "
        f"standard error {100 * (0.09 / args.data_sets) ** 0.5:.1f} %"
    )
    if args.json:
        args.json.write_text(json.dumps(everything), encoding="utf-8")


if __name__ == "__main__":
    main()
