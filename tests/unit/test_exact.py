"""ExactPosterior: refusals, labels, plans, and the compiled type on its own."""

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import NotFittedError

import jspgfn
from checks import make_scores, simulate
from jspgfn import _core, _exact, _validation


@pytest.fixture(scope="module")
def table():
    return pd.DataFrame(simulate(3, 40, seed=1), columns=["a", "b", "c"])


@pytest.fixture(scope="module")
def fitted(table):
    return jspgfn.ExactPosterior(random_state=0).fit(table)


def test_labels(fitted):
    for matrix in (
        fitted.edge_probabilities(),
        fitted.coef_mean(),
        fitted.coef_sd(),
        fitted.path_probabilities(100),
        fitted.markov_blanket_probabilities(100),
    ):
        assert list(matrix.index) == list(matrix.columns) == ["a", "b", "c"]
        assert matrix.index.name == "parent"
    sets = fitted.parent_set_probabilities("b")
    assert set(sets) == {(), ("a",), ("c",), ("a", "c")}
    few = fitted.parent_set_probabilities("b", threshold=0.05)
    assert all(p > 0.05 for p in few.values())


def test_results_are_copies(fitted):
    edges = fitted.edge_probabilities()
    edges.iloc[0, 1] = 7.0
    assert fitted.edge_probabilities().iloc[0, 1] <= 1


def test_unknown_variable(fitted):
    with pytest.raises(ValueError, match="unknown variable 'z'"):
        fitted.parent_set_probabilities("z")


def test_not_fitted():
    est = jspgfn.ExactPosterior()
    for method in ("edge_probabilities", "coef_mean", "sample", "path_probabilities"):
        with pytest.raises(NotFittedError):
            getattr(est, method)()
    with pytest.raises(NotFittedError):
        est.log_evidence_  # noqa: B018


def test_cyclic_graph(fitted):
    with pytest.raises(ValueError, match="row 0 has a cycle"):
        fitted.log_prob([[0, 1, 0], [1, 0, 0], [0, 0, 0]])


def test_excluded_graph(table):
    est = jspgfn.ExactPosterior(max_parents=1).fit(table)
    graph = np.array([[0, 0, 1], [0, 0, 1], [0, 0, 0]])
    assert est.log_prob(graph)[0] == -np.inf


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t[["a", "c", "b"]], "must have the columns"),
        (lambda t: t[["a", "b"]], "X has 2 features, but .* 3 features"),
        (lambda t: t.assign(a=np.nan), "NaN"),
        (lambda t: t.assign(a="x"), "not numeric"),
    ],
)
def test_new_rows(fitted, table, change, message):
    with pytest.raises(ValueError, match=message):
        fitted.predict_log_density(change(table))


def test_new_states():
    x = pd.DataFrame({"a": list("xyxyxyxx"), "b": list("uvvuuvuv")})
    est = jspgfn.ExactPosterior("bdeu").fit(x)
    with pytest.raises(ValueError, match="state 'z'"):
        est.predict_log_density(pd.DataFrame({"a": ["z"], "b": ["u"]}))
    with pytest.raises(ValueError, match="no weights"):
        est.coef_mean()


def test_scores_out_of_range(table):
    est = jspgfn.ExactPosterior("linear")
    with (
        pytest.warns(jspgfn.NoiseScaleWarning),
        pytest.raises(jspgfn.NumericalError, match="span more than 10"),
    ):
        est.fit(table * 1e4)


def test_too_many_variables():
    x = np.random.default_rng(0).normal(size=(50, 29))
    with pytest.raises(ValueError, match="at most 28"):
        jspgfn.ExactPosterior(candidates=3).fit(x)


def test_memory_refusal(monkeypatch):
    x = np.random.default_rng(0).normal(size=(50, 18))
    monkeypatch.setattr(_validation, "available_memory", lambda: 60e6)
    with pytest.raises(ValueError, match="memory"):
        jspgfn.ExactPosterior().fit(x)


def test_all_candidates_up_to_twenty():
    est = jspgfn.ExactPosterior()
    x = np.random.default_rng(0).normal(size=(30, 18))
    assert est._check_problem(x, None).candidates.counts == [17] * 18
    x = np.random.default_rng(0).normal(size=(30, 21))
    assert est._check_problem(x, None).candidates.counts == [12] * 21


def test_a_long_run_is_announced(table, monkeypatch):
    monkeypatch.setattr("jspgfn._exact.LONG_SECONDS", 1e-3)
    with pytest.warns(jspgfn.JspgfnWarning, match="variables may take up to"):
        jspgfn.ExactPosterior().fit(table)


def test_plan_and_outcome_are_printed(table, capsys):
    jspgfn.ExactPosterior(verbose=1).fit(table)
    text = capsys.readouterr().out
    assert "at most 54 terms" in text
    assert "log Z" in text


def test_intervened_in_every_row(table):
    mask = np.zeros(table.shape, int)
    mask[:, 1] = 1
    est = jspgfn.ExactPosterior("nig", preprocess="center").fit(
        table, interventions=mask
    )
    with pytest.raises(ValueError, match="'b' was intervened on in every row"):
        est.predict_log_density(table)


def test_one_variable():
    est = jspgfn.ExactPosterior(random_state=0).fit([[1.0], [2.0], [4.0]])
    assert est.log_partition_ == est.log_evidence_
    assert est.edge_probabilities().tolist() == [[0.0]]
    assert len(est.sample(3)) == 3


def test_compiled_type():
    scores = make_scores(simulate(4, 20, seed=1))
    exact = _core.Exact(scores, posterior=False, n_threads=2)
    with pytest.raises(RuntimeError, match="not done"):
        exact.log_partition()
    with pytest.raises(ValueError, match="n_units"):
        exact.step(0)
    while exact.step(3) < 1:
        pass
    assert exact.step(1) == 1
    assert np.isfinite(exact.log_partition())
    for call in (exact.edges, lambda: exact.parent_sets(0), lambda: exact.sample(1, 0)):
        with pytest.raises(RuntimeError, match="only the partition function"):
            call()
    with pytest.raises(ValueError, match="node must be 0 to 3"):
        exact.parent_sets(4)
    small, large = (_core.Exact.plan([9] * 10, post, 1) for post in (False, True))
    assert 10 * 512 * 12 < small < large
    with pytest.raises(ValueError, match="28"):
        _core.Exact.plan([1] * 29, True, 1)
    with pytest.raises(ValueError, match="n_candidates"):
        _core.Exact.plan([3, 1], True, 1)


def test_progress_never_goes_back():
    scores = make_scores(simulate(9, 30, seed=1))
    exact = _core.Exact(scores, posterior=True, n_threads=1)
    shares = [exact.step(1)]
    while shares[-1] < 1:
        shares.append(exact.step(1))
    assert shares == sorted(shares)


def test_draws_go_on(fitted):
    both = jspgfn.ExactPosterior(random_state=5)
    x = simulate(3, 40, seed=1)
    both.fit(x)
    first, second = both.sample(20).graphs, both.sample(20).graphs
    both.fit(x)
    assert np.array_equal(both.sample(40).graphs, np.concatenate([first, second]))
    assert np.array_equal(
        fitted.sample(5, random_state=1).graphs, fitted.sample(5, random_state=1).graphs
    )


def test_interrupted_refit_shows_no_older_results(table, monkeypatch):
    exact = jspgfn.ExactPosterior(random_state=0).fit(table)

    def press_ctrl_c(exact, verbose):
        raise KeyboardInterrupt

    monkeypatch.setattr(_exact, "run_to_end", press_ctrl_c)
    with pytest.raises(KeyboardInterrupt):
        exact.fit(table[table.columns[::-1]])
    with pytest.raises(NotFittedError):
        exact.edge_probabilities()
