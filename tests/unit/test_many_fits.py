"""Fits spread over processes: the bits of one process, whichever back end."""

from contextlib import ExitStack

import joblib
import numpy as np
import pytest
from sklearn.model_selection import GridSearchCV

import jspgfn


def fit(x, seed, rows=None):
    est = jspgfn.JSPGFN("nig", n_iter=30, n_jobs=1, random_state=seed)
    return est.fit(x if rows is None else x[rows])


def everything(x):
    """Restarts and their mixture, bootstraps, a search over settings."""
    run = joblib.Parallel()
    restarts = run(joblib.delayed(fit)(x, seed) for seed in range(3))
    rng = np.random.default_rng(0)
    rows = [rng.integers(len(x), size=len(x)) for _ in range(2)]
    bootstraps = run(joblib.delayed(fit)(x, 0, row) for row in rows)
    search = GridSearchCV(
        jspgfn.ExactPosterior(n_jobs=1), {"model": ["nig", "bge"]}, cv=2
    ).fit(x)
    return [
        jspgfn.merge(restarts, 90, random_state=1).coef,
        *(member.sample(50, random_state=2).coef for member in restarts + bootstraps),
        search.cv_results_["mean_test_score"],
    ]


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["loky", "dask"])
def test_same_bits_in_two_processes(backend):
    x = jspgfn.simulate.linear_gaussian(n_variables=5, n_samples=60, random_state=0).X
    alone = everything(x)
    with ExitStack() as stack:
        more = {"n_jobs": 2}
        if backend == "dask":
            distributed = pytest.importorskip(
                "distributed", reason="the extra 'dask' is not installed"
            )
            cluster = stack.enter_context(
                distributed.LocalCluster(
                    n_workers=2, threads_per_worker=1, dashboard_address=None
                )
            )
            stack.enter_context(distributed.Client(cluster))
            more = {}
        stack.enter_context(joblib.parallel_config(backend, **more))
        assert joblib.effective_n_jobs(None) == 2
        spread = everything(x)
    for one, two in zip(alone, spread, strict=True):
        np.testing.assert_array_equal(one, two)
