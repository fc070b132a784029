"""Bad input gets an error that names the column or argument, before any work."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import jspgfn
from jspgfn import _core, _validation
from jspgfn._candidates import check_candidates
from jspgfn._interventions import check_interventions
from jspgfn._table import check_table

pandas = pytest.importorskip("pandas")

NAMES = ["a", "b", "c", "d"]


@pytest.fixture
def data(rng):
    return pandas.DataFrame(rng.normal(size=(30, 4)), columns=NAMES)


@pytest.fixture(autouse=True)
def no_work(monkeypatch):
    """Tables must not even begin to be built."""

    def refuse(*args, **kwargs):
        raise AssertionError("work was done before the input was checked")

    monkeypatch.setattr(_core, "Scores", refuse)


def fit(data, interventions=None, **settings):
    jspgfn.JSPGFN(**settings).fit(data, interventions=interventions)


# --- the table -----------------------------------------------------------------------


@pytest.mark.parametrize(("value", "word"), [(np.nan, "NaN"), (np.inf, "inf")])
def test_not_finite(data, value, word):
    data.loc[7, "c"] = value
    data.loc[9, "d"] = value
    with pytest.raises(ValueError, match=rf"2 .*{word}.* 'c', 'd' .*row 7"):
        fit(data)


def test_missing_in_nullable_integers(data):
    data["b"] = pandas.array([None, *range(29)], dtype="Int64")
    with pytest.raises(ValueError, match=r"NaN entries, in columns 'b'"):
        fit(data)


@pytest.mark.parametrize("model", ["bge", "bdeu"])
def test_masked_arrays(rng, model):
    """The entries under a mask are not data."""
    X = np.ma.masked_equal(rng.integers(0, 3, size=(30, 4)), 2)
    with pytest.raises(ValueError, match=rf"X has {X.mask.sum()} masked"):
        fit(X, model=model)


def test_rows_of_different_lengths():
    with pytest.raises(ValueError, match=r"X is not a table"):
        fit([[1.0, 2.0], [3.0]])


def test_constant(data):
    data["b"] = 0.1 + 0.2
    data["d"] = 7
    with pytest.raises(
        ValueError, match=r"constant columns: 'b', 'd' .*'b' is always 0.3"
    ):
        fit(data)


def test_constant_up_to_rounding(data):
    data["b"] = np.where(np.arange(30) % 2, 0.1 + 0.2, 0.3)
    with pytest.raises(ValueError, match=r"constant columns: 'b'"):
        fit(data)


@pytest.mark.parametrize("factor", [3.0, -1e-200, 1e100])
def test_copied_column(data, factor):
    data["d"] = data["a"] * factor + (5 if factor == 3.0 else 0)
    with pytest.raises(ValueError, match=r"'a' and 'd' have correlation -?1"):
        fit(data)


def test_linear_combination(data):
    data["c"] = 2 * data["a"] - data["d"] + 4
    with pytest.raises(ValueError, match=r"'d' is a linear combination .* 'a', 'c' "):
        fit(data)


def test_close_but_different_columns_pass(data, rng):
    data["d"] = data["a"] + 1e-4 * rng.normal(size=30)
    check_table(data)


@given(
    seed=st.integers(0, 2**32 - 1),
    n_variables=st.integers(3, 12),
    log_scales=st.lists(st.integers(-120, 120), min_size=12, max_size=12),
)
@settings(max_examples=60, deadline=None)
def test_combinations_are_found_at_any_scale(seed, n_variables, log_scales):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_variables + 5, n_variables))
    check_table(X)
    members = rng.permutation(n_variables)[: rng.integers(3, n_variables + 1)]
    X[:, members[0]] = X[:, members[1:]] @ rng.choice(
        [-2.0, 1.0, 3.0], len(members) - 1
    )
    X *= 10.0 ** np.array(log_scales[:n_variables])
    with pytest.raises(ValueError, match="linear combination") as error:
        check_table(X)
    last = f"x{max(members)}"
    assert f"column '{last}' is" in str(error.value)


def test_fewer_rows_than_columns_pass(rng):
    check_table(rng.normal(size=(5, 9)))


def test_too_few_rows(data):
    with pytest.raises(ValueError, match=r"n_samples=1, at least 2"):
        fit(data[:1])


def test_too_many_columns(rng):
    with pytest.raises(ValueError, match=r"513 columns, at most 512"):
        fit(rng.normal(size=(3, 513)))


@pytest.mark.parametrize(
    "column",
    [
        pandas.Series(list("xyz") * 10),
        pandas.Series(list("xyz") * 10, dtype="category"),
        pandas.Series(pandas.date_range("2020-01-01", periods=30)),
        pandas.Series(["1.5"] * 15 + ["2"] * 15),
    ],
    ids=["text", "category", "dates", "numbers as text"],
)
def test_not_numeric(data, column):
    data["c"] = column
    with pytest.raises(ValueError, match=r"column 'c' is not numeric"):
        fit(data)


def test_bool_and_integer_columns_are_numbers(data, rng):
    data["a"] = rng.random(30) < 0.5
    data["b"] = rng.integers(0, 9, 30).astype(np.int8)
    data["c"] = data["c"].astype("Float64")
    data["d"] = data["d"].astype(object)
    table = check_table(data)
    assert table.values.dtype == np.float64
    assert table.names == NAMES
    assert table.labelled


def test_repeated_names(data):
    data.columns = ["a", "b", "b", "d"]
    with pytest.raises(ValueError, match=r"names must differ.*'b'"):
        fit(data)


@pytest.mark.parametrize("shape", [(30,), (3, 4, 5)])
def test_not_a_table(shape):
    with pytest.raises(ValueError, match=r"Expected 2D array"):
        fit(np.zeros(shape))


@pytest.mark.parametrize(
    ("X", "message"),
    [
        ("data.csv", r"got 'data.csv'; read the file first"),
        (Path("data.csv"), r"data.csv.*; read the file first"),
        ({"a": [1, 2]}, r"got \{'a': \[1, 2\]\}; make one first"),
        (None, r"got None; make one first"),
    ],
)
def test_no_table_at_all(X, message):
    with pytest.raises(ValueError, match=rf"X must be a table .*{message}"):
        fit(X)


def test_sparse():
    sparse = pytest.importorskip("scipy.sparse")
    with pytest.raises(TypeError, match=r"sparse"):
        fit(sparse.eye(4, format="csr"))


def test_huge_entries(data):
    data.loc[3, "b"] = 1e200
    with pytest.raises(ValueError, match=r"squares overflow, in columns 'b'"):
        fit(data)


def test_the_table_is_a_copy(rng):
    X = rng.normal(size=(10, 3))
    assert not np.shares_memory(check_table(X).values, X)


# --- interventions -------------------------------------------------------------------


def test_targets_by_name(data):
    targets = [None, "a", ("b", "d"), "", float("nan"), pandas.NA] + [None] * 24
    mask = check_interventions(targets, check_table(data))
    expected = np.zeros((30, 4), dtype=np.uint8)
    expected[1, 0] = expected[2, 1] = expected[2, 3] = 1
    np.testing.assert_array_equal(mask, expected)
    as_series = check_interventions(pandas.Series(targets), check_table(data))
    np.testing.assert_array_equal(as_series, expected)


def test_targets_by_number(data):
    table = check_table(data.to_numpy())
    mask = check_interventions([2, None, (0, 3)] + [np.nan] * 27, table)
    assert mask.sum() == 3
    assert mask[0, 2] == mask[2, 0] == mask[2, 3] == 1


def test_masks(data):
    table = check_table(data)
    mask = np.zeros((30, 4), dtype=bool)
    assert check_interventions(mask, table) is None
    mask[4, 1] = True
    for same in (
        mask,
        mask.astype(float),
        mask.tolist(),
        pandas.DataFrame(mask, columns=NAMES),
    ):
        np.testing.assert_array_equal(check_interventions(same, table), mask)


@pytest.mark.parametrize(
    ("interventions", "message"),
    [
        (np.zeros((4, 30)), r"shape of X, \(30, 4\), got \(4, 30\)"),
        (np.zeros((30, 5)), r"shape of X, \(30, 4\), got \(30, 5\)"),
        (np.full((30, 4), 2), r"only 0 and 1 .*, got 2 in row 0, column 'a'"),
        (np.full((30, 4), np.nan), r"only 0 and 1"),
        (["a"] * 29, r"one entry per row of X, 30, got 29"),
        (["a"] * 29 + ["z"], r"unknown variable 'z'; expected 'a', 'b'"),
        ([1] * 30, r"unknown variable 1; expected 'a'"),
        ("a", r"must be a 0/1 mask .* got 'a'"),
        (3, r"must be a 0/1 mask .* got 3"),
        (
            pandas.DataFrame(np.zeros((30, 4)), columns=list("abdc")),
            r"columns of the .* mask",
        ),
    ],
)
def test_bad_interventions(data, interventions, message):
    with pytest.raises(ValueError, match=message):
        fit(data, interventions=interventions)


@pytest.mark.parametrize("target", [4, -1, 1.5, True, "a"])
def test_bad_target_numbers(data, target):
    expected = "integers from 0 to 3, or 'x0', 'x1', 'x2', 'x3'"
    with pytest.raises(ValueError, match=rf"unknown variable .* expected {expected}"):
        fit(data.to_numpy(), interventions=[target] + [None] * 29)


# --- settings ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"model": "gp"}, r"model must be 'linear', 'nig', 'bge'.* got 'gp'"),
        ({"model": jspgfn.BGe}, r"model must be"),
        (
            {"model": jspgfn.LinearGaussian(noise_scale=0.0)},
            r"noise_scale .* above 0, got 0",
        ),
        (
            {"model": jspgfn.LinearGaussian(weight_scale=np.nan)},
            r"weight_scale .* got nan",
        ),
        ({"model": jspgfn.BGe(alpha_mu=-1)}, r"alpha_mu .* above 0, got -1"),
        (
            {"model": jspgfn.BGe(alpha_w=5)},
            r"alpha_w .* above 5 \(D \+ 1 with D = 4\), got 5",
        ),
        ({"generator": "layers"}, r"generator must be one of 'edges'.* got 'layers'"),
        (
            {"graph_prior": "scale-free"},
            r"graph_prior must be 'uniform', 'fair', .* got",
        ),
        ({"constraints": {"forbidden": []}}, r"constraints must be None"),
        ({"max_parents": -1}, r"max_parents must be an integer of at least 0, got -1"),
        ({"max_parents": 1.5}, r"max_parents must be an integer .* got 1.5"),
        ({"candidates": 0}, r"candidates must be an integer of at least 1"),
        ({"candidates": 25}, r"at most 24, got 25"),
        ({"candidates": "a"}, r"candidates must be None, an integer, or a dict"),
        ({"candidates": {"z": ["a"]}}, r"candidates: unknown variable 'z'"),
        ({"candidates": {"a": ["z"]}}, r"candidates: unknown variable 'z'"),
        ({"candidates": {"a": ["a"]}}, r"'a' cannot be its own parent"),
        ({"candidates": {"a": "b"}}, r"candidates of 'a' must be a list"),
        ({"preprocess": "scale"}, r"preprocess must be one of 'auto'.* got 'scale'"),
        ({"n_iter": 0}, r"n_iter must be an integer of at least 1 .*, got 0"),
        ({"n_iter": 10.0}, r"n_iter must be an integer"),
        ({"max_time": 0}, r"max_time must be a finite number above 0, got 0"),
        ({"max_time": np.inf}, r"max_time .* got inf"),
        ({"batch_size": 1}, r"batch_size must be an integer of at least 2"),
        ({"learning_rate": 0}, r"learning_rate must be .* above 0"),
        ({"batch_size": 10**30}, r"batch_size .* and at most 100000"),
        ({"n_jobs": 0}, r"n_jobs must be None"),
        ({"n_jobs": 10**30}, r"n_jobs must be None, a number of threads from 1 to"),
        ({"n_jobs": "all"}, r"n_jobs must be None.* got 'all'"),
        ({"random_state": -1}, r"random_state must be None, an integer from 0"),
        ({"random_state": "x"}, r"random_state must be .* got 'x'"),
    ],
)
def test_bad_settings(data, setting, message):
    with pytest.raises(ValueError, match=message):
        fit(data, **setting)


def test_candidates_that_would_not_fit(data, monkeypatch):
    monkeypatch.setattr(_validation, "available_memory", lambda: 100.0)
    message = r"tables of 3 candidate parents .* 512 bytes .* 100 bytes .* candidates"
    with pytest.raises(ValueError, match=message):
        fit(data)


def test_available_memory_is_a_positive_number():
    assert _validation.available_memory() > 0


def test_candidate_plan():
    names = [f"x{k}" for k in range(20)]

    def plan_of(candidates, all_up_to=20):
        return check_candidates(candidates, names, False, all_up_to=all_up_to)

    assert plan_of(None).counts == [19] * 20
    assert plan_of(None, all_up_to=19).counts == [12] * 20
    assert plan_of(5).counts == [5] * 20
    assert plan_of(24).counts == [19] * 20
    plan = plan_of({"x3": ["x7", "x1", "x7"], 4: []})
    assert plan.named == {3: [1, 7], 4: []}
    assert plan.counts[3:5] == [2, 0]


# --- a fixed noise scale -------------------------------------------------------------


def warn(X, **settings):
    from jspgfn._models import check_model
    from jspgfn._preprocess import check_preprocess, warn_about_noise_scale

    table = check_table(X)
    model = check_model(jspgfn.LinearGaussian(**settings), table.n_variables)
    preprocessing = check_preprocess("auto", model, table, None)
    warn_about_noise_scale(model, preprocessing, table, None)


def test_noise_scale_far_from_the_data():
    sim = jspgfn.simulate.linear_gaussian(n_variables=5, n_samples=300, random_state=1)
    warn(sim.X)  # the scale of the simulation: silent
    for wrong in (0.01, 30.0):
        with pytest.warns(
            jspgfn.NoiseScaleWarning, match=r"far from the data in columns"
        ):
            warn(sim.X, noise_scale=wrong)


@pytest.mark.parametrize("generator", ["edges", "gnn"])
def test_noise_too_small_to_compare_graphs(data, generator):
    model = jspgfn.LinearGaussian(noise_scale=1e-20)
    with pytest.raises(ValueError, match=r"noise_scale must be at least \d.*got 1e-20"):
        jspgfn.JSPGFN(model=model, generator=generator).fit(data)


def test_fixed_noise_on_standardised_data(data):
    with (
        pytest.warns(jspgfn.NoiseScaleWarning, match=r"preprocess='standardize'"),
        pytest.raises(AssertionError, match="work was done"),
    ):
        fit(data, model="linear", preprocess="standardize")


@pytest.mark.parametrize("with_mask", [False, True])
def test_residual_range_against_regressions(rng, with_mask):
    from jspgfn._preprocess import residual_range

    X = rng.normal(size=(60, 4)) @ rng.normal(size=(4, 4)) + 3
    mask = np.zeros((60, 4), dtype=np.uint8)
    mask[:20, 1] = with_mask
    low, high = residual_range(X, mask if with_mask else None)
    for node in range(4):
        rows = X[mask[:, node] == 0]
        design = np.column_stack([np.ones(len(rows)), np.delete(rows, node, axis=1)])
        squares = np.linalg.lstsq(design, rows[:, node], rcond=None)[1]
        assert low[node] == pytest.approx(np.sqrt(squares[0] / (len(rows) - 4)))
        assert high[node] == pytest.approx(rows[:, node].std(ddof=1))
