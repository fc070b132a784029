"""Tables that come in batches give the results of the table in memory."""

import numpy as np
import pandas
import pytest

import jspgfn
from jspgfn import _batches, _core

N, D = 300, 5


@pytest.fixture
def data():
    sim = jspgfn.simulate.linear_gaussian(
        n_variables=D, n_samples=N, interventions=0.4, random_state=0
    )
    return sim.X, sim.interventions


def batches_of(x, mask, size):
    for first in range(0, len(x), size):
        part = slice(first, first + size)
        yield x[part], None if mask is None else mask[part]


def scores_of(est):
    tables = est._tables.scores
    return np.array([tables.local_scores(j) for j in range(D)])


@pytest.mark.parametrize("model", ["linear", "nig", "bge"])
@pytest.mark.parametrize("preprocess", [None, "center", "standardize"])
@pytest.mark.parametrize("with_mask", [False, True])
@pytest.mark.filterwarnings("ignore::jspgfn.NoiseScaleWarning")
def test_scores_are_those_of_the_table(data, model, preprocess, with_mask):
    x, mask = data
    mask = mask if with_mask else None
    est = jspgfn.ExactPosterior(model, preprocess=preprocess, random_state=0)
    whole = est.fit(x, interventions=mask)
    expected, edges = scores_of(whole), whole.edge_probabilities()
    rows = np.random.default_rng(1).normal(size=(3, D))
    coef, predicted = whole.coef_mean(), whole.predict_log_density(rows)
    stats = jspgfn.SufficientStatistics.from_batches(batches_of(x, mask, 47))
    est.fit(stats)
    np.testing.assert_allclose(scores_of(est), expected, rtol=1e-11, atol=1e-8)
    np.testing.assert_allclose(est.edge_probabilities(), edges, atol=1e-7)
    np.testing.assert_allclose(est.coef_mean(), coef, rtol=1e-7, atol=1e-8)
    np.testing.assert_allclose(est.predict_log_density(rows), predicted, atol=1e-7)
    assert est.n_features_in_ == D
    assert stats.n_rows == N


@pytest.mark.parametrize("with_mask", [False, True])
def test_columns_far_from_zero_lose_nothing(data, with_mask):
    x, mask = data
    mask = mask if with_mask else None
    far = x * 1e-3 + 1e5 * np.arange(1, D + 1)
    est = jspgfn.ExactPosterior("bge")
    expected = scores_of(est.fit(far, interventions=mask))
    stats = jspgfn.SufficientStatistics.from_batches(batches_of(far, mask, 10))
    found = scores_of(est.fit(stats))
    np.testing.assert_allclose(found, expected, rtol=1e-8)
    long = far.astype(np.longdouble)
    spread = np.asarray(
        (long - long.mean(axis=0)).T @ (long - long.mean(axis=0)), float
    )
    np.testing.assert_allclose(stats._whole.scatter[0], spread, rtol=1e-8, atol=1e-11)


def test_memory_mapped_tables_are_never_copied(tmp_path, data, monkeypatch):
    x, mask = data
    path = tmp_path / "x.npy"
    np.save(path, x)
    mapped = np.load(path, mmap_mode="r")
    sizes = []
    moments = _core.moments

    def watch(values, *more):
        sizes.append(len(values))
        return moments(values, *more)

    monkeypatch.setattr(_core, "moments", watch)
    est = jspgfn.ExactPosterior("nig")
    expected = scores_of(est.fit(x, interventions=mask))
    assert not sizes
    monkeypatch.setattr(_batches, "CELLS_AT_ONCE", 20 * D)
    monkeypatch.setattr(_batches, "LARGE_TABLE", 20 * D)
    found = scores_of(est.fit(mapped, interventions=mask))
    assert max(sizes) == 20
    np.testing.assert_allclose(found, expected, atol=1e-8)
    targets = [tuple(np.flatnonzero(row)) for row in mask]
    found = scores_of(est.fit(mapped, interventions=targets))
    np.testing.assert_allclose(found, expected, atol=1e-8)


def test_states_are_the_same_bits():
    rng = np.random.default_rng(0)
    frame = pandas.DataFrame(
        {
            "a": rng.integers(3, size=200),
            "b": rng.choice(list("zyx"), size=200),
            "c": pandas.Categorical(rng.choice(["lo", "hi"], size=200), ["lo", "hi"]),
        }
    )
    frame.iloc[150:, 0] += 2  # states that come late
    mask = (rng.random((200, 3)) < 0.1).astype(int)
    mask[:40] = 0
    est = jspgfn.ExactPosterior("bdeu", random_state=0)
    whole = est.fit(frame, interventions=mask)
    expected, sample = whole.edge_probabilities(), whole.sample(9)
    stats = jspgfn.SufficientStatistics.from_batches(
        batches_of(frame, mask, 40), discrete=True
    )
    found = est.fit(stats)
    assert (found.edge_probabilities() == expected).all(axis=None)
    assert list(found.feature_names_in_) == ["a", "b", "c"]
    again = found.sample(9)
    assert (again.theta["table"] == sample.theta["table"]).all()


def test_fits_of_batches_can_be_saved(tmp_path, data):
    stats = jspgfn.SufficientStatistics().add(*data)
    est = jspgfn.JSPGFN("linear", n_iter=20, random_state=0).fit(stats)
    est.save(tmp_path / "est.safetensors")
    again = jspgfn.load(tmp_path / "est.safetensors")
    assert (
        again.sample(5, random_state=1).coef == est.sample(5, random_state=1).coef
    ).all()
    assert est._tables.n_touched == int(data[1].any(axis=1).sum())


def test_threads_do_not_change_bits(data):
    one, two = (
        jspgfn.SufficientStatistics(n_jobs=n).add(*data)._counted for n in (1, 2)
    )
    assert (one.mean == two.mean).all()
    assert (one.scatter == two.scatter).all()


def test_refusals(data):
    x, mask = data
    make = jspgfn.SufficientStatistics
    for one in (x, pandas.DataFrame(x)):
        with pytest.raises(TypeError, match=r"an iterable of tables, .* got one table"):
            make.from_batches(one)
    for no_batches in (3, "data.csv"):
        with pytest.raises(TypeError, match=f"tables, .* got {no_batches!r}"):
            make.from_batches(no_batches)
    est = jspgfn.ExactPosterior("nig")
    with pytest.raises(ValueError, match="same columns"):
        make().add(x).add(x[:, :3])
    with pytest.raises(ValueError, match="too few rows: 1"):
        est.fit(make().add(x[:1]))
    with pytest.raises(ValueError, match="interventions belong to the batches"):
        est.fit(make().add(x), interventions=mask)
    with pytest.raises(ValueError, match="NaN"):
        make().add(np.full((3, 2), np.nan))
    with pytest.raises(ValueError, match=r"needs all rows"):
        jspgfn.ExactPosterior("features").fit(make().add(x))
    with pytest.raises(ValueError, match="discrete=True"):
        jspgfn.ExactPosterior("bdeu").fit(make().add(x))
    with pytest.raises(ValueError, match="only 'bdeu' takes"):
        est.fit(make(discrete=True).add(x > 0))
    constant = np.c_[x, np.ones(N)]
    with pytest.raises(ValueError, match="constant columns: 'x5'"):
        est.fit(make().add(constant[:99]).add(constant[99:]))
    with pytest.raises(ValueError, match="copy of the other"):
        est.fit(make().add(np.c_[x, 3 * x[:, 1] + 1]))
    with pytest.raises(ValueError, match="combination of columns 'x0', 'x3'"):
        est.fit(make().add(np.c_[x, x[:, 0] + x[:, 3]]))
