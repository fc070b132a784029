"""What the pictures show is what the numbers say."""

import numpy as np
import pytest

import jspgfn
from jspgfn import _plots

figure_module = pytest.importorskip("matplotlib.figure")
pytest.importorskip("networkx")
pandas = pytest.importorskip("pandas")

from matplotlib.backends import backend_agg as backend  # noqa: E402
from matplotlib.colors import to_hex  # noqa: E402


def new_axes(*shape):
    return figure_module.Figure(layout="constrained").subplots(*shape)


def drawn(ax):
    """Draws everything, so that what cannot be rendered fails."""
    backend.FigureCanvasAgg(ax.figure).draw()
    return ax


def texts(ax):
    return [text.get_text() for text in ax.texts]


@pytest.fixture(scope="module")
def many():
    """50 variables with long names."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 50))
    X[:, 1:] += 0.8 * X[:, :-1]
    X = pandas.DataFrame(X, columns=[f"variable {k}" for k in range(50)])
    est = jspgfn.StructureMCMC(n_moves=100_000, candidates=4, random_state=0)
    with pytest.warns(jspgfn.NotMixedWarning), pytest.warns(jspgfn.CandidatesWarning):
        est.fit(X)
    return est.sample(40)


@pytest.fixture(scope="module")
def discrete():
    X = np.random.default_rng(0).integers(2, size=(40, 3))
    X[:, 1] |= X[:, 0]
    return jspgfn.ExactPosterior("bdeu", random_state=0).fit(X).sample(30)


def test_heat_map(posterior):
    truth = np.triu(np.ones((4, 4), int), 1)
    ax = drawn(posterior.plot_edges(new_axes(), truth=truth))
    shown = ax.images[0].get_array()
    np.testing.assert_array_equal(shown, posterior.edge_probabilities())
    assert ax.images[0].get_clim() == (0, 1)
    frames = {(round(p.get_y() + 0.44), round(p.get_x() + 0.44)) for p in ax.patches}
    assert frames == {(i, j) for i in range(4) for j in range(i + 1, 4)}
    numbers = [text for text in texts(ax) if text != "\N{MIDDLE DOT}"]
    assert len(numbers) == (posterior.edge_probabilities() >= 0.005).to_numpy().sum()
    with pytest.raises(ValueError, match="truth must be a matrix of 0 and 1"):
        posterior.plot_edges(new_axes(), truth=truth * 2)


def test_heat_map_of_many(many):
    ax = drawn(many.plot_edges(new_axes(), weighted=True))
    assert len(ax.get_xticklabels()) >= 50
    assert set(texts(ax)) == {"\N{MIDDLE DOT}"}  # no numbers where they cannot be read


def test_graph(posterior, many):
    ax = drawn(posterior.plot_graph(new_axes(), threshold=0.3))
    n_edges = int((posterior.edge_probabilities() > 0.3).to_numpy().sum())
    arrows = [p for p in ax.patches if type(p).__name__ == "FancyArrowPatch"]
    assert len(arrows) == n_edges
    assert set(posterior.feature_names) < set(texts(ax))
    widths = sorted(arrow.get_linewidth() for arrow in arrows)
    p = np.sort(posterior.edge_probabilities().to_numpy(), axis=None)[-n_edges:]
    np.testing.assert_allclose(widths, 0.6 + 2.6 * p)
    ax = drawn(many.plot_graph(new_axes()))
    assert set(texts(ax)) == set(many.feature_names)


def test_weights(posterior):
    edges = [("mass", "age"), ("age", "mass"), (0, 1)]
    ax = drawn(posterior.plot_coef(edges, new_axes(), scale="shared"))
    labels = [label.get_text() for label in ax.get_yticklabels()]
    arrow = _plots.ARROW
    assert labels == [f"mass {arrow} age", f"age {arrow} mass", f"mass {arrow} length"]
    absent = 1 - posterior.graphs[:, 0, 3].mean()
    assert texts(ax)[0].startswith(_plots.percent(absent))
    row = posterior.edge_table().set_index(["parent", "child"]).loc[("mass", "age")]
    assert f"{row['coef_mean']:.3g} [{row['coef_low']:.3g}" in texts(ax)[0]
    few = posterior.plot_coef(ax=new_axes(), n=2)
    assert len(few.get_yticks()) == 2
    with pytest.raises(ValueError, match="scale must be one of"):
        posterior.plot_coef(ax=new_axes(), scale="log")
    with pytest.raises(ValueError, match="edges: unknown variable 'width'"):
        posterior.plot_coef([("width", "age")], new_axes())
    for edges in ("mass", ["mass", "age"], [("mass",)], [0, 1]):
        with pytest.raises(ValueError, match=r"edges must be a list of pairs .*, got"):
            posterior.plot_coef(edges, new_axes())


def test_weights_of_different_units(posterior):
    """The fixture's columns differ by factors of thousands."""
    assert (
        "own"
        not in drawn(posterior.plot_coef([("mass", "age")], new_axes())).get_xlabel()
    )
    ax = drawn(posterior.plot_coef(ax=new_axes()))
    assert "units of the row's largest" in ax.get_xlabel()
    low, high = ax.get_xlim()
    assert -1.3 < low < high < 1.3


def test_weights_of_discrete_models_are_refused(discrete):
    with pytest.raises(AttributeError, match="no coef"):
        discrete.plot_coef()


def test_effects(posterior, discrete):
    ax = drawn(posterior.plot_effects("mass", ["age", 1], new_axes()))
    zero = (posterior.effects("mass", "age") == 0).mean()
    assert texts(ax)[0].startswith(_plots.percent(zero))
    assert [label.get_text() for label in ax.get_yticklabels()] == [
        "on age",
        "on length",
    ]
    by_default = drawn(posterior.plot_effects("mass", ax=new_axes(), high=2))
    assert "2 instead of 0" in by_default.get_xlabel()
    affected = posterior.path_probabilities().loc["mass"] >= 0.05
    assert len(by_default.get_yticks()) == affected.sum()
    assert "probability" in drawn(discrete.plot_effects(0, 1, new_axes())).get_xlabel()


def test_shares_in_words():
    assert [_plots.percent(p) for p in (0, 0.001, 0.234, 0.999, 1)] == [
        "0%",
        "<1%",
        "23%",
        ">99%",
        "100%",
    ]


def test_density_integrates_to_one(rng):
    for values in (rng.normal(size=300), np.array([2.0]), np.array([0.0, 0.0])):
        weights = rng.random(len(values))
        at = np.linspace(-6, 6, 20_001)
        area = _plots.density(values, weights, at).sum() * (at[1] - at[0])
        assert area == pytest.approx(1, abs=1e-3)


def test_history(fitted):
    upper, lower = fitted.plot_history(new_axes(2, 1))
    drawn(upper)
    assert upper.get_yscale() == "log"
    faint = lower.lines[0].get_ydata()
    np.testing.assert_array_equal(faint, fitted.history_["own_ess"])
    shaded = lower.patches[0]
    assert shaded.get_x() + shaded.get_width() == (fitted.history_["phase"] == 0).sum()

    class Report:
        elbo, eubo, log_partition, verdict = -12.5, -11.25, -12.0, "fine"

    upper, _ = fitted.plot_history(new_axes(2, 1), Report())
    title = upper.get_title()
    for words in ("ELBO -12.500", "log Z -12.000", "EUBO -11.250", "fine"):
        assert words in title
    assert any(np.allclose(line.get_ydata(), 1.25) for line in upper.lines)


def test_history_of_the_published_method(table):
    settings = {**jspgfn.PAPER, "n_iter": 3, "batch_size": 8, "n_theta_samples": 2}
    est = jspgfn.JSPGFN(**settings, random_state=0).fit(
        table.to_numpy() / [1, 20, 0.01, 300]
    )
    upper, _ = est.plot_history(new_axes(2, 1))
    np.testing.assert_allclose(drawn(upper).lines[0].get_ydata(), est.history_["loss"])


def test_agreement(table, posterior):
    exact = jspgfn.ExactPosterior(random_state=0).fit(table)
    draws = exact.sample(2000)
    for other in (exact, exact.edge_probabilities(), exact.sample(500)):
        ax = drawn(draws.plot_agreement(other, new_axes(), labels=("draws", "exact")))
        assert (ax.get_xlabel(), ax.get_ylabel()) == ("draws", "exact")
        assert ax.get_legend() is None  # nothing differs by more than chance
    wrong = exact.edge_probabilities().to_numpy().copy()
    wrong[2, 0] = 1 - wrong[2, 0]
    ax = drawn(draws.plot_agreement(wrong, new_axes()))
    assert f"speed {_plots.ARROW} mass" in texts(ax)
    marked = ax.collections[-1]
    assert to_hex(marked.get_facecolor()[0]) == _plots.ORANGE.lower()
    assert len(marked.get_offsets()) == 1
    with pytest.raises(ValueError, match="edge probabilities of shape"):
        draws.plot_agreement(np.zeros((3, 3)), new_axes())


def test_mechanism(table, posterior, discrete):
    ax = drawn(posterior.plot_mechanism("mass", "age", table, new_axes()))
    mean = ax.lines[-1]
    x, y = mean.get_xdata(), mean.get_ydata()
    there = posterior.graphs[:, 0, 3]
    slope = posterior.coef[there, 0, 3].mean()
    assert (y[-1] - y[0]) / (x[-1] - x[0]) == pytest.approx(slope)
    assert f"probability {there.mean():.2f}" in ax.get_title()
    with pytest.raises(ValueError, match="must differ, got 'age' twice"):
        posterior.plot_mechanism("age", "age", table)
    with pytest.raises(ValueError, match="see conditional_table"):
        discrete.plot_mechanism(0, 1, np.zeros((4, 3)))


@pytest.mark.parametrize("n_variables", [1, 2])
def test_pictures_of_few_variables(n_variables, rng):
    X = rng.normal(size=(30, n_variables))
    post = jspgfn.ExactPosterior(random_state=0).fit(X).sample(20)
    for plot in (post.plot_edges, post.plot_graph, post.plot_coef):
        drawn(plot(ax=new_axes()))
    drawn(post.plot_effects(0, ax=new_axes()))
    drawn(post.plot_agreement(post, new_axes()))


def test_pictures_make_their_own_figure(posterior, fitted):
    pyplot = pytest.importorskip("matplotlib.pyplot")
    pyplot.switch_backend("Agg")
    assert posterior.plot_edges().figure is not posterior.plot_graph().figure
    assert len(fitted.plot_history()) == 2
    pyplot.close("all")


def test_dollars_in_names_are_no_formulas():
    """These names are formulas with errors, alone or in pairs, to who reads them so."""
    names = [r"$\frac$", r"p$\frac", "q$"]
    sim = jspgfn.simulate.linear_gaussian(n_variables=3, n_samples=40, random_state=0)
    X = pandas.DataFrame(sim.X, columns=names)
    post = jspgfn.ExactPosterior(random_state=0).fit(X).sample(50)
    formula = new_axes()
    formula.set_title(f"{names[1]} and {names[2]}")
    with pytest.raises(ValueError, match="frac"):  # negative control
        drawn(formula)
    for ax in (
        post.plot_edges(new_axes()),
        post.plot_graph(new_axes()),
        post.plot_coef(ax=new_axes()),
        post.plot_effects(names[0], ax=new_axes()),
        post.plot_agreement(
            np.full((3, 3), 0.5), new_axes(), labels=("a$", r"$\frac$")
        ),
        post.plot_mechanism(names[0], names[1], X, new_axes()),
    ):
        drawn(ax)
    assert post._repr_html_()
