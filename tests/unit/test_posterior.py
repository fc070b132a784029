"""Units, summaries and exports of draws."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import jspgfn
from jspgfn._constraints import find_cycle
from jspgfn._networks import LinearNetworks
from jspgfn._posterior import Posterior
from jspgfn._preprocess import Preprocessing
from jspgfn._summaries import summarise


def random_dags(rng, n, n_variables, density=0.5):
    graphs = np.zeros((n, n_variables, n_variables), dtype=bool)
    for graph in graphs:
        order = rng.permutation(n_variables)
        upper = np.triu(rng.random((n_variables, n_variables)) < density, k=1)
        graph[np.ix_(order, order)] = upper
    return graphs


def random_posterior(seed, n=40, n_variables=5, labelled=False, density=0.5):
    rng = np.random.default_rng(seed)
    graphs = random_dags(rng, n, n_variables, density)
    networks = LinearNetworks(
        graphs,
        rng.normal(size=np.count_nonzero(graphs)),
        rng.normal(size=(n, n_variables)),
        rng.random((n, n_variables)),
    )
    return Posterior(
        networks,
        log_prob=rng.normal(size=n),
        log_prob_theta=rng.normal(size=n),
        log_reward=rng.normal(size=n) - 1e5,
        feature_names=[f"x{k}" for k in range(n_variables)],
        labelled=labelled,
    )


# --- units ---------------------------------------------------------------------------


@given(seed=st.integers(0, 2**32 - 1), n_variables=st.integers(1, 8))
@settings(max_examples=50, deadline=None)
def test_predictions_do_not_depend_on_units(seed, n_variables):
    rng = np.random.default_rng(seed)
    graphs = random_dags(rng, 3, n_variables)
    b = rng.normal(size=np.count_nonzero(graphs))
    c = rng.normal(size=(3, n_variables))
    noise = rng.random((3, n_variables)) + 0.1
    units = Preprocessing(
        "standardize",
        shift=rng.normal(size=n_variables) * 10,
        scale=rng.random(n_variables) + 0.01,
        rest=np.zeros(n_variables),
    )
    X = rng.normal(size=(6, n_variables)) * 5
    coef, intercept, noise_of_x = units.to_units_of_x(
        graphs.astype(np.uint8), b, c, noise
    )
    coef_of_x, coef_of_z = np.zeros((2, *graphs.shape))
    coef_of_x[graphs], coef_of_z[graphs] = coef, b
    for s in range(3):
        predicted_z = units.apply(X) @ coef_of_z[s] + c[s]
        predicted_x = X @ coef_of_x[s] + intercept[s]
        np.testing.assert_allclose(
            predicted_x, predicted_z * units.scale + units.shift, rtol=1e-9, atol=1e-9
        )
        np.testing.assert_allclose(noise_of_x[s], noise[s] * units.scale)


@pytest.mark.parametrize("preprocess", ["standardize", "center", None])
@pytest.mark.parametrize("model", ["bge", "linear"])
@pytest.mark.filterwarnings("ignore::jspgfn.NoiseScaleWarning")
def test_parameters_are_in_the_units_of_the_data(model, preprocess):
    sim = jspgfn.simulate.linear_gaussian(n_variables=3, n_samples=2000, random_state=2)
    X = sim.X * [1.0, 50.0, 0.5]
    if preprocess is not None:
        X += [3.0, -900.0, 0.1]
    settings = {"model": model, "preprocess": preprocess, "n_iter": 60}
    post = jspgfn.JSPGFN(**settings, random_state=0).fit(X).sample(50)
    for coef, intercept, noise in zip(
        post.coef, post.intercept, post.noise_scale, strict=True
    ):
        residual = X - X @ coef - intercept
        spread = residual.std(axis=0)
        assert (np.abs(residual.mean(axis=0)) < 0.2 * X.std(axis=0)).all()
        if model == "bge":
            assert noise == pytest.approx(spread, rel=0.15)
    if preprocess is None and model == "linear":
        np.testing.assert_array_equal(post.intercept, 0)


def test_the_same_answer_in_other_units(table):
    """Standardised data do not know the units, so neither do the draws."""
    scaled = table * [10.0, 0.1, 3.0, 1.0] + [0.0, 1.0, 2.0, 3.0]
    one = jspgfn.JSPGFN(n_iter=30, random_state=0).fit(table).sample(200)
    two = jspgfn.JSPGFN(n_iter=30, random_state=0).fit(scaled).sample(200)
    assert (one.graphs == two.graphs).mean() > 0.99  # rounding may move a draw
    same = (one.graphs == two.graphs).all(axis=(1, 2))
    factor = np.array([10.0, 0.1, 3.0, 1.0])
    np.testing.assert_allclose(
        two.coef[same], one.coef[same] * factor / factor[:, None], rtol=1e-6
    )


# --- attributes ----------------------------------------------------------------------


def test_shapes_and_types(posterior):
    n, D = 300, 4
    assert len(posterior) == n
    for name, shape, dtype in [
        ("graphs", (n, D, D), bool),
        ("coef", (n, D, D), float),
        ("intercept", (n, D), float),
        ("noise_scale", (n, D), float),
        ("log_prob", (n,), float),
        ("log_prob_theta", (n,), float),
        ("log_reward", (n,), float),
        ("log_reward_joint", (n,), float),
        ("weights", (n,), float),
    ]:
        value = getattr(posterior, name)
        assert value.shape == shape, name
        assert value.dtype == dtype, name
        assert np.isfinite(value).all(), name
    assert posterior.feature_names == ["mass", "length", "speed", "age"]
    np.testing.assert_array_equal(posterior.coef != 0, posterior.graphs)
    assert (posterior.noise_scale > 0).all()
    assert repr(posterior) == "Posterior(300 draws, 4 variables)"


def test_words(posterior):
    lines = str(posterior).splitlines()
    assert lines[0].startswith("Posterior(300 draws, 4 variables): linear model, ")
    table = posterior.edge_table()
    best = table.iloc[0]
    assert lines[2].split()[:4] == [
        best.parent,
        "->",
        best.child,
        f"{best.probability:.2f}",
    ]
    assert f"weight {best.coef_mean:.3g} [{best.coef_low:.3g}" in lines[2]
    assert len(lines) == 2 + min(10, len(table))


def test_table_for_notebooks():
    from xml.etree import ElementTree

    post = random_posterior(3, labelled=True)
    post.feature_names[0] = "<b>&"
    page = ElementTree.fromstring(post._repr_html_())  # well-formed
    rows = [[cell.text for cell in row] for row in page.iter("tr")]
    assert rows[0] == ["parent", "child", "probability", "weight", "90 % interval"]
    assert len(rows) == 11
    best = post.edge_table().iloc[0]
    assert rows[1][:3] == [best.parent, best.child, f"{best.probability:.2f}"]
    assert any("<b>&" in row for row in rows[1:])
    empty = random_posterior(0, density=0.0)
    assert len(list(ElementTree.fromstring(empty._repr_html_()).iter("tr"))) == 1
    assert str(empty).endswith("no edge in any draw")


def test_weights_do_not_overflow():
    post = random_posterior(0)
    post.log_reward = post.log_reward * 50
    assert post.weights.sum() == pytest.approx(1)
    log_ratio = post.log_reward - post.log_prob
    best = log_ratio.argmax()
    assert post.weights.argmax() == best


# --- summaries -----------------------------------------------------------------------


def test_edge_probabilities(posterior):
    probability, error = posterior.edge_probabilities(standard_error=True)
    expected = posterior.graphs.mean(axis=0)
    np.testing.assert_array_equal(probability, expected)
    np.testing.assert_allclose(error, np.sqrt(expected * (1 - expected) / 300))
    assert (
        list(probability.index) == list(probability.columns) == posterior.feature_names
    )
    assert probability.index.name == "parent"
    assert probability.columns.name == "child"


@pytest.mark.parametrize("seed", range(3))
def test_weighted_summaries_against_plain_loops(seed):
    post = random_posterior(seed)
    probability, error = post.edge_probabilities(weighted=True, standard_error=True)
    weights = post.weights
    for i in range(5):
        for j in range(5):
            present = post.graphs[:, i, j].astype(float)
            p = (weights * present).sum()
            assert probability[i, j] == pytest.approx(p, abs=1e-12)
            variance = (weights**2 * (present - p) ** 2).sum()
            assert error[i, j] == pytest.approx(np.sqrt(variance), abs=1e-9)


def test_equal_weights_change_nothing():
    post = random_posterior(1)
    post.log_prob = post.log_reward + 3.0
    plain = post.edge_probabilities(standard_error=True)
    weighted = post.edge_probabilities(weighted=True, standard_error=True)
    np.testing.assert_allclose(weighted, plain, atol=1e-9)
    np.testing.assert_allclose(
        post.edge_table(weighted=True).iloc[:, 2:],
        post.edge_table().iloc[:, 2:],
        atol=1e-9,
    )


@pytest.mark.parametrize("weighted", [False, True])
def test_edge_table(weighted):
    pytest.importorskip("pandas")
    post = random_posterior(4, n=60)
    table = post.edge_table(weighted=weighted)
    assert table["probability"].is_monotonic_decreasing
    coef = post.coef
    probability, error = post.edge_probabilities(weighted, standard_error=True)
    assert len(table) == (probability > 0).sum()
    for row in table.itertuples():
        i, j = post.feature_names.index(row.parent), post.feature_names.index(row.child)
        assert row.probability == probability[i, j]
        assert row.std_error == error[i, j]
        present = post.graphs[:, i, j]
        weights = post.weights[present] if weighted else None
        mean = np.average(coef[present, i, j], weights=weights)
        assert row.coef_mean == pytest.approx(mean)
        assert row.coef_low <= row.coef_mean <= row.coef_high or present.sum() < 10
    assert (
        len(post.edge_table(threshold=0.3)) == (post.edge_probabilities() > 0.3).sum()
    )


def test_edge_table_without_edges():
    pytest.importorskip("pandas")
    post = random_posterior(0, density=0.0)
    assert post.edge_table().shape == (0, 8)


def test_summary_of_many_draws():
    values = np.random.default_rng(0).normal(2.0, 3.0, 100_000)
    mean, sd, low, high = summarise(values, np.full(100_000, 0.5))
    assert mean == pytest.approx(2, abs=0.05)
    assert sd == pytest.approx(3, abs=0.05)
    assert (low, high) == pytest.approx((2 - 1.645 * 3, 2 + 1.645 * 3), abs=0.1)
    assert summarise(np.array([7.0]), np.array([0.2])) == (7, 0, 7, 7)


def test_map_and_median_graph(posterior):
    best = posterior.map_graph()
    assert best.to_numpy().dtype == bool
    np.testing.assert_array_equal(best, posterior.graphs[posterior.log_reward.argmax()])
    # above one half an edge and its reverse cannot both be in, yet longer cycles could
    median = posterior.median_graph(threshold=0.9)
    np.testing.assert_array_equal(median, posterior.edge_probabilities() > 0.9)
    with pytest.raises(ValueError, match=r"threshold must be .* at most 1, got 2"):
        posterior.median_graph(threshold=2)


def test_median_graph_with_a_cycle_warns():
    post = random_posterior(0)
    with pytest.warns(jspgfn.CyclicGraphWarning, match=r"above 0.1 form a cycle"):
        graph = post.median_graph(threshold=0.1)
    assert find_cycle(graph)


@given(seed=st.integers(0, 2**32 - 1), n_variables=st.integers(1, 7))
@settings(max_examples=100, deadline=None)
def test_find_cycle_against_powers(seed, n_variables):
    rng = np.random.default_rng(seed)
    graph = rng.random((n_variables, n_variables)) < rng.random() * 0.4
    walks = np.linalg.matrix_power(np.eye(n_variables) + graph, n_variables)
    on_cycle = (graph & (walks.T > 0)).any()  # i -> j, and a way back from j to i
    assert bool(find_cycle(graph)) == on_cycle


# --- exports ------------------------------------------------------------


def test_to_networkx(posterior):
    networkx = pytest.importorskip("networkx")
    coef = posterior.coef
    for s in (0, 17, -1):
        graph = posterior.to_networkx(s)
        assert list(graph.nodes) == posterior.feature_names
        weights = networkx.to_numpy_array(graph, weight="weight")
        np.testing.assert_array_equal(weights, coef[s])
        noise = [graph.nodes[name]["noise_scale"] for name in graph.nodes]
        np.testing.assert_array_equal(noise, posterior.noise_scale[s])
    with pytest.raises(
        ValueError, match=r"s must be an integer of at least -300 and at"
    ):
        posterior.to_networkx(300)


def test_missing_extra_is_explained(monkeypatch, posterior):
    import sys

    monkeypatch.setitem(sys.modules, "networkx", None)
    with pytest.raises(
        ImportError, match=r"needs networkx: pip install 'jspgfn\[plot\]'"
    ):
        posterior.to_networkx(0)


def test_a_threshold_in_place_of_weighted(posterior):
    for ask in (posterior.edge_table, posterior.edge_probabilities):
        with pytest.raises(TypeError, match=r"weighted must be True or False, got 0.5"):
            ask(0.5)


@pytest.mark.parametrize("method", ["edge_table", "median_graph", "plot_graph"])
def test_thresholds_are_numbers(posterior, method):
    with pytest.raises(ValueError, match=r"threshold must be a finite number"):
        getattr(posterior, method)(threshold="high")
