"""What goes out comes back: the numbers of the exports are those of the object."""

import csv
import io

import numpy as np
import pytest

import jspgfn

pandas = pytest.importorskip("pandas")
networkx = pytest.importorskip("networkx")

AWKWARD = ["plain", 'with "quotes"', "a -> b; c", "back\\slash", "m\u00fcller & <co>"]


@pytest.fixture(scope="module")
def awkward():
    """Draws of variables whose names want to break every format."""
    sim = jspgfn.simulate.linear_gaussian(n_variables=5, n_samples=60, random_state=1)
    X = pandas.DataFrame(sim.X, columns=AWKWARD)
    return jspgfn.ExactPosterior(random_state=0).fit(X).sample(50)


@pytest.fixture(scope="module")
def discrete():
    X = np.random.default_rng(0).integers(2, size=(40, 3))
    return jspgfn.ExactPosterior("bdeu", random_state=0).fit(X).sample(30)


def matrix_of(graph, names, attribute=None):
    found = np.zeros((len(names), len(names)))
    for parent, child, data in graph.edges(data=True):
        value = 1.0 if attribute is None else float(data[attribute])
        found[names.index(parent), names.index(child)] = value
    return found


# --- networkx ------------------------------------------------------------------------


def test_networkx_of_all_edges(posterior):
    graph = posterior.to_networkx()
    assert list(graph) == posterior.feature_names
    probability, error = posterior.edge_probabilities(standard_error=True)
    names = posterior.feature_names
    np.testing.assert_array_equal(matrix_of(graph, names, "probability"), probability)
    occurs = probability.to_numpy() > 0
    found = matrix_of(graph, names, "std_error")
    np.testing.assert_array_equal(found[occurs], error.to_numpy()[occurs])
    table = posterior.edge_table()
    for row in table.itertuples():
        assert graph.edges[row.parent, row.child]["weight"] == row.coef_mean
    few = posterior.to_networkx(threshold=0.5, weighted=True)
    expected = posterior.edge_probabilities(weighted=True) > 0.5
    np.testing.assert_array_equal(matrix_of(few, names), expected)


def test_networkx_of_discrete_draws(discrete):
    graph = discrete.to_networkx(3)
    np.testing.assert_array_equal(
        matrix_of(graph, discrete.feature_names), discrete.graphs[3]
    )
    assert "weight" not in next(iter(discrete.to_networkx().edges.values()))


# --- tables --------------------------------------------------------------------------


def test_pandas(posterior):
    table = posterior.to_pandas()
    assert list(table.columns) == ["draw", "parent", "child", "coef"]
    names = posterior.feature_names
    coef = np.zeros_like(posterior.coef)
    i, j = (table[side].map(names.index) for side in ("parent", "child"))
    coef[table["draw"], i, j] = table["coef"]
    np.testing.assert_array_equal(coef, posterior.coef)
    probability = table.groupby(["parent", "child"]).size() / len(posterior)
    edges = posterior.edge_table().set_index(["parent", "child"])["probability"]
    pandas.testing.assert_series_equal(
        probability.sort_index(), edges.sort_index(), check_names=False
    )


def test_pandas_of_discrete_draws(discrete):
    assert list(discrete.to_pandas().columns) == ["draw", "parent", "child"]


@pytest.mark.parametrize("kind", ["linear", "discrete"])
def test_arviz(posterior, discrete, kind):
    arviz = pytest.importorskip("arviz")
    post = posterior if kind == "linear" else discrete
    data = post.to_arviz()
    share = data.posterior["graphs"].mean(dim=("chain", "draw"))
    np.testing.assert_allclose(share, post.edge_probabilities())
    assert list(share.coords["parent"].values) == post.feature_names
    stats = data.sample_stats
    np.testing.assert_array_equal(stats["log_prob"][0], post.log_prob)
    np.testing.assert_array_equal(stats["weight"][0], post.weights)
    if kind == "linear":
        coef = data.posterior["coef"].sel(parent="mass", child="age")
        np.testing.assert_array_equal(coef[0], post.coef[:, 0, 3])
        assert data.posterior["noise_scale"].dims == ("chain", "draw", "node")
        summary = arviz.summary(data, var_names=["intercept"], round_to="none")
        np.testing.assert_allclose(summary["mean"], post.intercept.mean(axis=0))


# --- graphs with weights -------------------------------------------------------------


@pytest.mark.parametrize("weighted", [False, True])
def test_distinct_graphs_and_their_weights(posterior, weighted):
    graphs = posterior.to_graphs(weighted=weighted)
    weights = np.array([weight for _, weight in graphs])
    assert weights.sum() == pytest.approx(1)
    assert (np.diff(weights) <= 0).all()
    assert len({graph.to_numpy().tobytes() for graph, _ in graphs}) == len(graphs)
    mean = sum(weight * graph.astype(float) for graph, weight in graphs)
    np.testing.assert_allclose(mean, posterior.edge_probabilities(weighted=weighted))
    assert len(posterior.to_graphs(n=3)) == 3
    if not weighted:
        assert (weights == np.rint(weights * 300) / 300).all()
    with pytest.raises(ValueError, match="n must be an integer of at least 1, got -1"):
        posterior.to_graphs(n=-1)


def test_graphs_in_every_format(awkward):
    names = awkward.feature_names
    in_formats = {
        format: awkward.to_graphs(format)
        for format in ("array", "networkx", "gml", "dot")
    }
    for k, (array, weight) in enumerate(in_formats["array"]):
        for format in ("networkx", "gml"):
            graph, same = in_formats[format][k]
            if format == "gml":
                graph = networkx.parse_gml(graph)
            assert same == weight
            assert list(graph) == names
            np.testing.assert_array_equal(matrix_of(graph, names), array)
        text, _ = in_formats["dot"][k]
        assert text.count("->") - text.count("a -> b") == array.to_numpy().sum()
    with pytest.raises(ValueError, match="format must be one of"):
        awkward.to_graphs("picture")


def test_a_regression_on_the_parents_is_the_effect():
    """What an effect estimator does with one fixed graph: adjust for the parents."""
    sim = jspgfn.simulate.linear_gaussian(n_variables=5, n_samples=4000, random_state=2)
    post = jspgfn.ExactPosterior(random_state=0).fit(sim.X).sample(500)
    graph, _ = post.to_graphs(n=1)[0]
    same = post[(post.graphs == graph).all(axis=(1, 2))]
    x = sim.X - sim.X.mean(axis=0)
    for a in range(5):
        for b in range(5):
            if a == b or graph[b, a]:
                continue
            adjusted = [a, *np.flatnonzero(graph[:, a])]
            slope = np.linalg.lstsq(x[:, adjusted], x[:, b], rcond=None)[0][0]
            effects = same.effects(a, b)
            assert effects.mean() == pytest.approx(
                slope if effects.any() else 0.0, abs=0.05
            )


# --- text ----------------------------------------------------------------------------


def test_csv(tmp_path, awkward):
    text = awkward.to_csv(tmp_path / "edges.csv")
    assert (tmp_path / "edges.csv").read_text(encoding="utf-8") == text
    rows = list(csv.DictReader(io.StringIO(text)))
    table = awkward.edge_table()
    assert [row["parent"] for row in rows] == list(table["parent"])
    for column in table.columns[2:]:
        found = np.array([float(row[column]) for row in rows])
        np.testing.assert_array_equal(found, table[column])


@pytest.mark.parametrize("s", [None, 0, -1])
def test_graphml(tmp_path, awkward, s):
    awkward.to_graphml(tmp_path / "graph.graphml", s)
    back = networkx.read_graphml(tmp_path / "graph.graphml")
    graph = awkward.to_networkx(s)
    assert dict(back.nodes(data=True)) == dict(graph.nodes(data=True))
    assert {edge[:2]: edge[2] for edge in back.edges(data=True)} == {
        edge[:2]: edge[2] for edge in graph.edges(data=True)
    }


def test_dot(posterior, tmp_path):
    text = posterior.to_dot(tmp_path / "graph.dot", threshold=0.2)
    assert (tmp_path / "graph.dot").read_text(encoding="utf-8") == text
    probability = posterior.edge_probabilities()
    for parent in probability.index:
        for child in probability.columns:
            p = probability.loc[parent, child]
            line = f'  "{parent}" -> "{child}" [label="{p:.2f}"'
            assert (line in text) == (p > 0.2)
    draw = posterior.to_dot(s=5)
    assert draw.count("->") == posterior.graphs[5].sum()


def test_dot_is_what_graphviz_reads(awkward):
    """Quotes and backslashes inside names are escaped, so that quotes come in pairs."""
    for line in awkward.to_dot(s=0).splitlines()[1:-1]:
        bare = line.replace("\\\\", "").replace('\\"', "")
        assert bare.count('"') in (2, 4)
        assert bare.endswith('";')
