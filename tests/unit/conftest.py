"""Small fits shared by the unit tests; none of them needs to be good."""

import numpy as np
import pytest

import jspgfn


@pytest.fixture(scope="session")
def table():
    """A DataFrame of four columns of very different units."""
    pandas = pytest.importorskip("pandas")
    sim = jspgfn.simulate.linear_gaussian(n_variables=4, n_samples=80, random_state=3)
    columns = ["mass", "length", "speed", "age"]
    shifted = sim.X * [1.0, 20.0, 0.01, 300.0] + [5.0, -70.0, 0.0, 1e4]
    return pandas.DataFrame(shifted, columns=columns)


@pytest.fixture(scope="session")
def fitted(table):
    return jspgfn.JSPGFN(n_iter=120, random_state=0).fit(table)


@pytest.fixture(scope="session")
def posterior(fitted):
    return fitted.sample(300, random_state=0)


@pytest.fixture
def rng():
    return np.random.default_rng(20240)
