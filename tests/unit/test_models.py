"""Models: evidences against integrals and brute force, discrete data, lost digits."""

import decimal
import fractions
import itertools
import math

import numpy as np
import pandas
import pytest
from scipy import integrate, stats
from sklearn.base import clone

import jspgfn
from checks import ERROR_RATE, as_bytes, make_scores, simulate, uniform_p
from jspgfn import _streams
from reference import cases, dags, local_scores
from reference.exact_posterior import ExactPosterior


@pytest.mark.parametrize("name", ["d08_nig_er1_n100", "d08_nig_interv"])
def test_known_answers(name):
    check_known_answers(cases.load(name))


def test_known_answers_of_discrete_data():
    check_known_answers(cases.load("d08_bdeu_asia_n1000"))


def check_known_answers(case):
    scores = make_scores(
        case.x,
        case.mask,
        model=case.model,
        graph_prior=case.graph_prior,
        fields=case.fields,
        n_states=case.n_states,
    )
    D = scores.n_variables
    table = np.full((D, 1 << D), -np.inf)
    for j in range(D):
        masks = np.arange(1 << (D - 1))
        full = sum((masks >> b & 1) << i for b, i in enumerate(scores.candidates(j)))
        table[j, full] = scores.local_scores(j)
    exact = ExactPosterior(table)
    assert abs(exact.log_Z - case.log_Z) < 1e-8
    np.testing.assert_allclose(exact.edges, case.edges, rtol=0, atol=1e-8)


# --- normal-inverse-gamma ------------------------------------------------------------


@pytest.mark.parametrize("parents", [[], [0], [0, 1]])
def test_nig_evidence_is_an_integral(parents):
    """Over the noise variance by quadrature; given it the rows are jointly normal."""
    x = simulate(3, 8, seed=2)
    a, b, w = 1.5, 0.7, 1.3
    X, y = x[:, parents], x[:, 2]
    covariance = np.eye(8) + w**2 * X @ X.T

    def integrand(log_v):
        v = math.exp(log_v)
        density = stats.multivariate_normal.logpdf(y, cov=v * covariance)
        return math.exp(density + stats.invgamma.logpdf(v, a, scale=b) + log_v)

    expected = math.log(integrate.quad(integrand, -12, 12, epsabs=0, epsrel=1e-11)[0])
    fields = {"a": a, "b": b, "weight_scale": w}
    table = make_scores(x, model="nig", fields=fields).local_scores(2)
    assert table[sum(1 << i for i in parents)] == pytest.approx(expected, abs=1e-8)


# --- digits --------------------------------------------------------------------------


def exact_solution(x, node, parents, ridge, child_ridge=0, mean_weight=0):
    """Determinant and residual of the centred problem, in rational arithmetic.

    Products of means are added mean_weight times: the number of rows gives sums about 0.
    """
    rows = [[fractions.Fraction(float(value)) for value in row] for row in x]
    columns = [*parents, node]
    n = len(rows)
    mean = [sum(row[k] for row in rows) / n for k in columns]
    size = len(columns)
    A = [
        [
            sum(
                (row[columns[i]] - mean[i]) * (row[columns[k]] - mean[k])
                for row in rows
            )
            + mean_weight * mean[i] * mean[k]
            for k in range(size)
        ]
        for i in range(size)
    ]
    for i in range(size - 1):
        A[i][i] += fractions.Fraction(ridge)
    A[-1][-1] += fractions.Fraction(child_ridge)
    determinant = fractions.Fraction(1)
    for i in range(size - 1):
        determinant *= A[i][i]
        for k in range(i + 1, size):
            factor = A[k][i] / A[i][i]
            for m in range(i, size):
                A[k][m] -= factor * A[i][m]
    return determinant, A[-1][-1]


def log_of(fraction):
    with decimal.localcontext() as context:
        context.prec = 40
        ratio = decimal.Decimal(fraction.numerator) / fraction.denominator
        return float(ratio.ln())


@pytest.mark.parametrize("offset", [0.0, 1e6])
@pytest.mark.parametrize("scale", [1.0, 1e6, 1e-6])
def test_nig_keeps_its_digits(offset, scale):
    """Columns in awkward units and far from 0, against rational arithmetic."""
    x = (simulate(4, 30, seed=5) + offset) * scale
    parents, node = [0, 1, 2], 3
    weight_scale = 1.0
    fields = {"a": 1.0, "b": scale**2, "weight_scale": weight_scale}
    got = make_scores(x, model="nig", intercept=True, fields=fields).local_scores(3)[7]
    determinant, residual = exact_solution(x, node, parents, 1 / weight_scale**2)
    m, a, b = 29, 1.0, scale**2
    rate = fractions.Fraction(b) + residual / 2
    expected = (
        -m / 2 * math.log(2 * math.pi)
        - log_of(determinant) / 2
        + a * math.log(b)
        - (a + m / 2) * log_of(rate)
        + math.lgamma(a + m / 2)
        - math.lgamma(a)
    )
    # offsets of 1e6 leave ten digits in the data, which the sums must not lose
    assert got == pytest.approx(expected, abs=1e-7)


def raw_evidence(model, x, node, parents):
    """Of data as stored, without intercept; log det and residual are rational."""
    n, p = len(x), len(parents)
    if isinstance(model, jspgfn.BGe):  # of three variables: t = 1/2
        weight = fractions.Fraction(n, n + 1)
        det, residual = exact_solution(x, node, parents, 0.5, 0.5, weight)
        return (
            -n / 2 * math.log(math.pi)
            - math.log(1 + n) / 2
            + math.lgamma((n + p + 3) / 2)
            - math.lgamma((p + 3) / 2)
            - (2 * p + 3) / 2 * math.log(2)
            - log_of(det) / 2
            - (n + p + 3) / 2 * log_of(residual)
        )
    variance = 0.25 if isinstance(model, jspgfn.LinearGaussian) else 1
    det, residual = exact_solution(x, node, parents, variance, 0, n)
    value = -n / 2 * math.log(2 * math.pi) - log_of(det) / 2
    if isinstance(model, jspgfn.LinearGaussian):
        return value - (n - p) / 2 * math.log(0.25) - float(residual) / 2 / 0.25
    value += math.lgamma(1 + n / 2)
    return value - (1 + n / 2) * log_of(1 + residual / 2)


@pytest.mark.parametrize(
    ("estimator", "model", "offset"),
    [
        (jspgfn.ExactPosterior(), jspgfn.NormalInverseGamma(), 1e6),
        (jspgfn.ExactPosterior(), jspgfn.BGe(), 1e6),
        (jspgfn.JSPGFN(n_iter=1), jspgfn.NormalInverseGamma(), 1e6),
        (jspgfn.JSPGFN(n_iter=1), jspgfn.BGe(), 1e6),
        # evidences farther off are refused, and exact sums cannot hold even these
        (jspgfn.JSPGFN(n_iter=1), jspgfn.LinearGaussian(noise_scale=0.5), 2e4),
    ],
)
def test_data_as_stored_keep_their_digits(estimator, model, offset):
    """Means that swamp the scatter, without preprocessing."""
    x = simulate(3, 30, seed=5) + offset
    est = clone(estimator)
    est.set_params(model=model, preprocess=None, graph_prior="uniform")
    graphs = dags.enumerate_dags(3)
    got = est.fit(x).log_reward(graphs)
    for graph, value in zip(graphs, got, strict=True):
        expected = sum(
            raw_evidence(model, x, j, np.flatnonzero(graph[:, j]).tolist())
            for j in range(3)
        )
        # the linear model charges a node without parents its squares, 10^10
        assert value == pytest.approx(expected, abs=1e-7, rel=1e-14)


def test_many_rows_keep_their_digits():
    """10^6 rows far from 0: moments against long double sums."""
    rng = np.random.default_rng(6)
    x = rng.normal(size=(1_000_000, 2)) @ [[1.0, 0.7], [0.0, 0.5]] + [1e4, -3e3]
    wide = x.astype(np.longdouble)
    wide -= wide.mean(axis=0)
    gram = (wide.T @ wide).astype(np.float64)
    m, a, b = len(x) - 1, 1.0, 1.0
    L = gram[0, 0] + 1
    rate = b + (gram[1, 1] - gram[0, 1] ** 2 / L) / 2
    expected = -m / 2 * math.log(2 * math.pi) - math.log(L) / 2
    expected += -(a + m / 2) * math.log(rate) + math.lgamma(a + m / 2)
    got = make_scores(x, model="nig", intercept=True).local_scores(1)[1]
    assert got == pytest.approx(expected, rel=1e-12)


def test_bdeu_of_many_rows():
    """Counts of a million and priors of 1e-9, against a product of exact ratios."""
    n, heads = 1_000_000, 250_001
    x = np.zeros((n, 1), np.int32)
    x[:heads] = 1
    for ess in (1e-9, 1.0, 1e6):
        scores = make_scores(
            x, model="bdeu", n_states=[2], fields={"equivalent_sample_size": ess}
        )
        terms = [
            np.log(np.arange(count, dtype=np.longdouble) + np.longdouble(ess) * share)
            for count, share in ((heads, 0.5), (n - heads, 0.5), (n, 1))
        ]
        expected = float(terms[0].sum() + terms[1].sum() - terms[2].sum())
        assert scores.local_scores(0)[0] == pytest.approx(expected, rel=1e-13)


# --- discrete data -------------------------------------------------------------------


def random_states(n_rows, n_states, seed):
    rng = np.random.default_rng(seed)
    x = np.column_stack([rng.integers(r, size=n_rows) for r in n_states])
    x[:, -1] = (x[:, 0] + x[:, -1] * (rng.random(n_rows) < 0.3)) % n_states[-1]
    return x.astype(np.int32)


def test_bdeu_is_score_equivalent():
    n_states = [2, 3, 4, 3]
    x = random_states(50, n_states, 1)
    graphs = dags.enumerate_dags(4)
    scores = make_scores(x, model="bdeu", n_states=n_states)
    rewards = scores.log_reward(as_bytes(graphs))
    classes = {}
    for graph, reward in zip(graphs, rewards, strict=True):
        skeleton = graph | graph.T
        colliders = frozenset(
            (i, k, j)
            for j in range(4)
            for i, k in itertools.combinations(np.flatnonzero(graph[:, j]), 2)
            if not skeleton[i, k]
        )
        classes.setdefault((skeleton.tobytes(), colliders), []).append(reward)
    assert len(classes) == 185
    assert max(np.ptp(values) for values in classes.values()) < 1e-9


def test_many_configurations_need_no_memory():
    """10 parents of 60,000 states each: 6e47 configurations, 40 of which occur."""
    rng = np.random.default_rng(2)
    x = rng.integers(60_000, size=(40, 11)).astype(np.int32)
    x[:, 10] = rng.integers(3, size=40)
    n_states = [60_000] * 10 + [3]
    scores = make_scores(x, model="bdeu", n_states=n_states)
    table = scores.local_scores(10)
    assert np.isfinite(table).all()
    # every row alone in its configuration: each brings log(1 / 3)
    assert table[-1] == pytest.approx(40 * math.log(1 / 3), rel=1e-12)


@pytest.mark.statistical
@pytest.mark.parametrize("intervened", [False, True])
def test_tables_follow_their_dirichlet(intervened):
    """Every cell of every row of a table is Beta; rows are independent."""
    n_states = [2, 3, 4]
    x = random_states(30, n_states, 3)
    mask = None
    if intervened:
        mask = np.zeros((30, 3), np.uint8)
        mask[:9, 2] = 1
    scores = make_scores(x, mask, model="bdeu", n_states=n_states)
    n = 20_000
    graph = np.zeros((n, 3, 3), np.uint8)
    graph[:, 0, 2] = graph[:, 1, 2] = 1
    tables, offset, log_density = scores.draw_tables(graph, 7)
    assert offset[0].tolist() == [0, 2, 5]
    cells = tables.reshape(n, 2 + 3 + 24)
    counts = local_scores.bdeu_counts(x, mask, 2, [0, 1], n_states)
    alpha = counts + 1 / 24
    drawn = cells[:, 5:].reshape(n, 6, 4)
    np.testing.assert_allclose(drawn.sum(axis=2), 1)
    for c in range(6):
        seen = np.flatnonzero(counts[c])  # others are nearly 0 or 1 and round
        for k in seen:
            beta = stats.beta(alpha[c, k], alpha[c].sum() - alpha[c, k])
            if beta.ppf(1e-3) > 1e-6 and beta.ppf(0.999) < 1 - 1e-6:
                assert uniform_p(beta.cdf(drawn[:, c, k])[:, None]) > ERROR_RATE
                broken = beta.cdf(drawn[:, c, k] ** 1.1)[:, None]
                assert uniform_p(broken) < ERROR_RATE
    expected = sum(
        stats.dirichlet.logpdf(row / row.sum(), prior)
        for row, prior in zip(drawn[0], alpha, strict=True)
        if row.min() > 0
    )
    if (drawn[0] > 0).all():
        for node in (0, 1):
            start, r = int(offset[0, node]), n_states[node]
            prior = local_scores.bdeu_counts(x, mask, node, [], n_states)[0] + 1 / r
            expected += stats.dirichlet.logpdf(cells[0, start : start + r], prior)
        assert log_density[0] == pytest.approx(expected, abs=1e-6)


def test_tables_of_tiny_priors_are_finite():
    n_states = [9, 9, 9, 2]
    x = random_states(10, n_states, 4)
    fields = {"equivalent_sample_size": 1e-6}
    scores = make_scores(x, model="bdeu", n_states=n_states, fields=fields)
    graph = np.zeros((1, 4, 4), np.uint8)
    graph[0, :3, 3] = 1
    tables, _, log_density = scores.draw_tables(graph, 1)
    assert np.isfinite(tables).all()
    assert np.isfinite(log_density).all()


def test_tables_do_not_depend_on_the_graphs_beside_them():
    """Rows are counted once for all graphs with the same parents; the twin is one call
    per graph."""
    n_states = [2, 3, 4, 2]
    mask = np.zeros((40, 4), np.uint8)
    mask[:5, 3] = 1
    scores = make_scores(
        random_states(40, n_states, 5), mask, model="bdeu", n_states=n_states
    )
    rng = np.random.default_rng(0)
    graphs = np.triu(rng.integers(0, 2, (60, 4, 4)), 1).astype(np.uint8)
    tables, offset, log_density = scores.draw_tables(graphs, 3)
    ends = np.append(offset.ravel(), len(tables))[1:].reshape(offset.shape)
    for s in range(len(graphs)):
        alone, first, density = scores.draw_tables(graphs[s : s + 1], 3, s)
        assert np.array_equal(tables[offset[s, 0] : ends[s, -1]], alone)
        assert np.array_equal(offset[s] - offset[s, 0], first[0])
        assert log_density[s] == density[0]


def test_draws_in_pieces_are_the_same(monkeypatch, states):
    est = fit(states)
    whole = est.sample(50, random_state=1)
    monkeypatch.setattr(_streams, "DRAWS_PER_CALL", 7)
    pieces = est.sample(50, random_state=1)
    assert np.array_equal(whole.graphs, pieces.graphs)
    for name in whole.theta:
        assert np.array_equal(whole.theta[name], pieces.theta[name])


# --- the estimator with discrete data ------------------------------------------------


def fit(table, **settings):
    est = jspgfn.JSPGFN(model="bdeu", n_iter=20, n_jobs=1, random_state=0)
    return est.set_params(**settings).fit(table)


@pytest.fixture
def states():
    rng = np.random.default_rng(8)
    colour = rng.choice(["red", "green", "blue"], size=60)
    return pandas.DataFrame(
        {
            "colour": colour,
            "warm": colour == "red",
            "number": rng.integers(5, 8, size=60),
            "size": pandas.Categorical(
                rng.choice(["S", "L"], size=60), categories=["S", "M", "L"]
            ),
        }
    )


def test_states_of_columns(states):
    est = fit(states)
    assert est._states == [
        ["blue", "green", "red"],
        [False, True],
        [5, 6, 7],
        ["S", "M", "L"],
    ]
    post = est.sample(20)
    table = post.conditional_table(3, "size")
    parents = np.flatnonzero(post.graphs[3, :, 3])
    n_states = np.array([3, 2, 3, 3])
    assert table.shape == (*n_states[parents], 3)
    np.testing.assert_allclose(table.sum(axis=-1), 1)
    np.testing.assert_array_equal(post.theta["n_states"], n_states)
    assert post.edge_probabilities().loc["colour", "warm"] >= 0
    assert list(post.edge_table().columns) == [
        "parent",
        "child",
        "probability",
        "std_error",
    ]
    for name in ("coef", "intercept", "noise_scale"):
        with pytest.raises(AttributeError, match=f"no {name}; see theta"):
            getattr(post, name)
    linear = jspgfn.JSPGFN(n_iter=5, random_state=0).fit(simulate(3, 20, seed=1))
    with pytest.raises(AttributeError, match="no tables; see coef"):
        linear.sample(2).conditional_table(0, 0)


def test_relabelled_states_score_the_same(states):
    renamed = states.copy()
    renamed["colour"] = states["colour"].map({"red": 0, "green": 1, "blue": 2})
    graphs = dags.enumerate_dags(4)[:50]
    np.testing.assert_allclose(
        fit(states).log_reward(graphs), fit(renamed).log_reward(graphs), atol=1e-9
    )


def test_arrays_of_text_and_given_numbers_of_states():
    x = np.array([["a", "x"], ["b", "y"], ["a", "y"], ["b", "x"], ["b", "x"]])
    est = fit(x, model=jspgfn.BDeu(n_states={1: 4}))
    assert est._tables.settings["n_states"] == [2, 4]
    est = fit(x, model=jspgfn.BDeu(n_states=3))
    assert est._tables.settings["n_states"] == [3, 3]


@pytest.mark.parametrize(
    ("change", "settings", "message"),
    [
        ({"number": 0.5}, {}, r"column 'number' is not discrete \(dtype float64\)"),
        ({"colour": None}, {}, r"column 'colour' has 60 missing"),
        (
            {"size": pandas.Categorical([None] * 60, ["S"])},
            {},
            r"'size' has 60 missing",
        ),
        ({"colour": [1, "a"] * 30}, {}, r"'colour' mixes kinds of states"),
        ({"colour": [1.5, "a"] * 30}, {}, r"'colour' .*holds the number 1.5"),
        ({"warm": True}, {}, r"constant columns: 'warm'"),
        ({}, {"preprocess": "standardize"}, r"preprocess='standardize' is for numbers"),
        ({}, {"model": jspgfn.BDeu(0)}, r"equivalent_sample_size must be .* above 0"),
        ({}, {"model": jspgfn.BDeu(n_states=2)}, r"n_states of 'colour' is 2, but 3"),
        ({}, {"model": jspgfn.BDeu(n_states={"x": 2})}, r"n_states: unknown variable"),
        ({}, {"model": jspgfn.BDeu(n_states=70_000)}, r"'colour' has 70000 states"),
        ({}, {"model": "bge"}, r"column 'colour' is not numeric"),
        (
            {},
            {"model": jspgfn.NormalInverseGamma(a=-1)},
            r"column 'colour' is not numeric",
        ),
    ],
)
def test_refusals(states, change, settings, message):
    with pytest.raises(ValueError, match=message):
        fit(states.assign(**change), **settings)


@pytest.mark.parametrize("name", ["a", "b", "weight_scale"])
def test_nig_settings(name):
    model = jspgfn.NormalInverseGamma(**{name: 0})
    with pytest.raises(ValueError, match=f"{name} must be a finite number above 0"):
        jspgfn.JSPGFN(model=model).fit(simulate(3, 20, seed=1))
