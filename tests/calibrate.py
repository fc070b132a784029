"""Fits of every sampler to data from the prior, for simulation-based calibration.

`reference.calibration` draws the truth and ranks it; here the package is fitted.
"""

import numpy as np

import jspgfn
from reference import calibration

N_DRAWS = 99
N_POOL = 4000  # draws of gnn from which weights choose
WARNINGS = (jspgfn.NoiseScaleWarning, jspgfn.NotMixedWarning)

# variables, rows, graph prior of the simulation and of the package
PROBLEMS = {
    4: (12, "fair", "fair"),
    5: (15, "uniform", "uniform"),
    6: (18, ("odds", 0.25), jspgfn.ErdosRenyi(edges_per_node=0.5)),
}
WEAK_ROWS = 5  # of problems that "gnn" learns in seconds, effects being halved too
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


def settings_of(name, D, weak):
    fields = dict(FIELDS[name])
    if name == "bge":
        fields["alpha_w"] = D + 2.0
    if weak:
        fields["weight_scale"] /= 2.0  # bge and bdeu have none: KeyError
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
        **{**jspgfn.PAPER_QUICK, **shared, "head": "full", "n_iter": n_iter or 600}
    )


def as_table(x):
    """Discrete data with all their states, of which some may not occur."""
    if x.dtype.kind != "i":
        return x
    import pandas

    return pandas.DataFrame(x).astype(
        pandas.CategoricalDtype(range(calibration.N_STATES))
    )


def draw_truth(name, fields, D, weak, rng, phi):
    N, prior, _ = PROBLEMS[D]
    if weak:
        N = WEAK_ROWS
    while True:
        if name == "bdeu":
            return calibration.draw_discrete(*fields.values(), D, N, prior, rng)
        truth = calibration.draw_continuous(name, fields, D, N, prior, rng, phi)
        if np.abs(truth.x).max() < 1e6:  # heavy tails; never met so far
            return truth


def calibrate(
    name, D, generator, n_data_sets, wrong=False, n_iter=None, seed=0, weak=False
):
    """Ranks by quantity, each a list of length n_data_sets.

    `wrong` fits with another prior than that of the data; `weak` problems have five rows
    and effects half as large, so that their posteriors are flat.
    """
    rng = np.random.default_rng([seed, D, sorted(FIELDS).index(name)])
    fields = settings_of(name, D, weak)
    model = make_model(name, fields, wrong)
    phi = (
        feature_map(D, make_model(name, fields, False)) if name == "features" else None
    )
    collected = {}
    for k in range(n_data_sets):
        truth = draw_truth(name, fields, D, weak, rng, phi)
        est = make_sampler(generator, model, PROBLEMS[D][2], k, n_iter)
        est.fit(as_table(truth.x))
        for kind, post in draws_of(est, generator, k).items():
            found = calibration.ranks(truth, post, rng, KNOWN[name])
            # rounded, as graphs of one Markov class have equal rewards but for their bits
            value = est.log_reward(truth.graph)[0].round(9)
            values = est.log_reward(post.graphs).round(9)
            found["log P(G | X)"] = calibration.rank(value, values, rng)
            for quantity, rank in found.items():
                collected.setdefault(quantity + kind, []).append(rank)
    return collected


def draws_of(est, generator, seed):
    """As they come; of "gnn" also chosen by their importance weights.

    Its short fits here leave errors that 500 data sets would show.
    """
    if generator != "gnn":
        return {"": est.sample(N_DRAWS)}
    many = est.sample(N_POOL)
    chosen = np.random.default_rng(seed).choice(N_POOL, N_DRAWS, p=many.weights)
    return {" unweighted": many[:N_DRAWS], " weighted": many[chosen]}
