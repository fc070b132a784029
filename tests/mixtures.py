"""Small fits of several policies."""

import jspgfn

QUIET = {"n_jobs": 1, "random_state": 4}


def fit(n_policies, D=4, callback=None, **settings):
    sim = jspgfn.simulate.linear_gaussian(
        n_variables=D, n_samples=40, edges_per_node=2, random_state=2
    )
    settings = {"n_iter": 31, **QUIET, **settings}
    return jspgfn.JSPGFN("linear", n_policies=n_policies, **settings).fit(
        sim.X, callback=callback
    )


def engine_of(est):
    return est._engine.trainer


def members_of(est):
    return est._engine.trainer.trainers
