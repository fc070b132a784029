"""Predictive densities, scores and effects of draws."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import jspgfn
from jspgfn import _predict
from jspgfn._networks import DiscreteNetworks, LinearNetworks
from jspgfn._posterior import Posterior
from reference import dags


def discrete_data(n_rows, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.integers([2, 3, 2], size=(n_rows, 3))
    X[:, 1] = (X[:, 0] + X[:, 1] // 2) % 3
    return X


@pytest.fixture(scope="module")
def discrete():
    est = jspgfn.ExactPosterior("bdeu", random_state=0).fit(discrete_data(60))
    return est.sample(50)


# --- slow twins ----------------------------------------------------------------------


def log_density_of_row(post, s, row, counts):
    """log p(row | G, theta) of one draw, variable by variable."""
    total = 0.0
    for j in np.flatnonzero(counts):
        if "table" in post.theta:
            parents = np.flatnonzero(post.graphs[s, :, j])
            total += math.log(post.conditional_table(s, j)[(*row[parents], row[j])])
        else:
            mean = post.intercept[s, j] + post.coef[s, :, j] @ row
            total += stats.norm.logpdf(row[j], mean, post.noise_scale[s, j])
    return total


def log_mean_density(post, rows, counts, weights):
    return [
        np.log(
            sum(
                weight * np.exp(log_density_of_row(post, s, row, counted))
                for s, weight in enumerate(weights)
            )
        )
        for row, counted in zip(rows, counts, strict=True)
    ]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("blocks", [False, True])
def test_density_against_plain_loops(table, posterior, monkeypatch, weighted, blocks):
    if blocks:
        monkeypatch.setattr(_predict, "BLOCK_BYTES", 3000)
    post = posterior[:40]
    rows = table.iloc[:5]
    mask = np.zeros(rows.shape, int)
    mask[1, 2] = mask[2] = 1
    found = post.predict_log_density(rows, mask, weighted=weighted)
    weights = post.weights if weighted else np.full(40, 1 / 40)
    expected = log_mean_density(post, rows.to_numpy(), mask == 0, weights)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)
    assert found[2] == pytest.approx(0, abs=1e-12)  # every cell was set


def test_discrete_density_against_plain_loops(discrete):
    rows = np.array(list(itertools.product(range(2), range(3), range(2))))
    mask = np.zeros(rows.shape, int)
    found = discrete.predict_log_density(rows)
    expected = log_mean_density(discrete, rows, mask == 0, discrete.weights)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert np.exp(found).sum() == pytest.approx(1)  # all rows there are
    targets = [None, 1] * 6
    found = discrete.predict_log_density(rows, targets)
    mask[1::2, 1] = 1
    expected = log_mean_density(discrete, rows, mask == 0, discrete.weights)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_rows_far_away_do_not_underflow(posterior):
    far = posterior.predict_log_density(np.array([[1e6, -1e6, 1e4, 1e8]]))
    assert np.isfinite(far).all()
    assert far < -1e4


# --- against the exact posterior -----------------------------------------------------


@pytest.mark.parametrize("model", ["bge", "nig", "linear"])
@pytest.mark.filterwarnings("ignore::jspgfn.NoiseScaleWarning")
def test_density_against_the_exact_one(model):
    sim = jspgfn.simulate.linear_gaussian(
        n_variables=4, n_samples=70, interventions=0.3, random_state=8
    )
    X = sim.X * [1.0, 1.0, 2.0, 1.5] + 0.5
    exact = jspgfn.ExactPosterior(model, random_state=0)
    exact.fit(X[:50], interventions=sim.interventions[:50])
    new, mask = X[50:], sim.interventions[50:]
    assert mask.any()
    value = exact.predict_log_density(new, interventions=mask)
    by_draws = exact.sample(20_000).predict_log_density(new, mask)
    assert np.abs(by_draws - value).max() < 0.1
    assert np.abs(by_draws - value).mean() < 0.02
    assert exact.score(new, interventions=mask) == pytest.approx(value.mean())


def test_discrete_density_against_the_exact_one():
    exact = jspgfn.ExactPosterior("bdeu", random_state=0).fit(discrete_data(60))
    rows = np.array(list(itertools.product(range(2), range(3), range(2))))
    by_draws = exact.sample(20_000).predict_log_density(rows)
    np.testing.assert_allclose(by_draws, exact.predict_log_density(rows), atol=0.1)


def test_a_row_of_set_cells_only_says_nothing(table):
    exact = jspgfn.ExactPosterior(random_state=0).fit(table)
    mask = np.ones((1, 4), int)
    value = exact.predict_log_density(table.iloc[:1], interventions=mask)
    assert value == pytest.approx(0, abs=1e-9)


# --- what is refused -----------------------------------------------------------------


def test_rows_that_cannot_be_read(posterior, discrete, table):
    with pytest.raises(ValueError, match="expecting 4 features"):
        posterior.predict_log_density(table.iloc[:, :3])
    with pytest.raises(ValueError, match="must have the columns of the data"):
        posterior.predict_log_density(table.iloc[:, ::-1])
    with pytest.raises(ValueError, match="column 'x1' has the state 7"):
        discrete.predict_log_density([[0, 7, 0]])
    with pytest.raises(ValueError, match="NaN"):
        posterior.predict_log_density([[1.0, np.nan, 0.0, 0.0]])
    assert posterior.predict_log_density(table.iloc[:0]).shape == (0,)


# --- score ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "est",
    [
        jspgfn.JSPGFN(n_iter=40, random_state=0),
        jspgfn.StructureMCMC(n_moves=10_000_000, random_state=0),
        jspgfn.ExactPosterior(random_state=0),
        jspgfn.ExactPosterior("features", random_state=0),
    ],
    ids=lambda est: f"{type(est).__name__}-{est.model}",
)
def test_score(est, table):
    est.fit(table.iloc[:60])
    next_draws = est._n_drawn
    score = est.score(table.iloc[60:])
    assert score == est.score(table.iloc[60:])
    assert est._n_drawn == next_draws  # no draws are used up
    set_cells = ["mass"] * 20
    assert est.score(table.iloc[60:], interventions=set_cells) != score
    again = jspgfn.ExactPosterior(random_state=0).fit(table.iloc[:60])
    assert score == pytest.approx(again.score(table.iloc[60:]), abs=0.5)
    with pytest.raises(ValueError, match=f"but {type(est).__name__} is expecting 4"):
        est.score(table[:, :2] if isinstance(table, np.ndarray) else table.iloc[:, :2])
    with pytest.raises(ValueError, match="X has 0 rows, score needs at least 1"):
        est.score(table.iloc[:0])


def test_grid_search_and_pipeline(table):
    """A variance that differs between columns: known noise loses."""
    est = jspgfn.JSPGFN(n_iter=30, preprocess="standardize", random_state=0)
    search = GridSearchCV(est, {"model": ["bge", jspgfn.LinearGaussian(5.0)]}, cv=2)
    with pytest.warns(jspgfn.NoiseScaleWarning):
        search.fit(table)
    assert search.best_params_ == {"model": "bge"}
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    pipeline = make_pipeline(StandardScaler(), jspgfn.ExactPosterior(random_state=0))
    pipeline.fit(table)
    plain = jspgfn.ExactPosterior(random_state=0).fit(table)
    # the same rows in other units: densities differ by the logs of the scales
    logs = np.log(pipeline[0].scale_).sum()
    assert pipeline.score(table) == pytest.approx(plain.score(table) + logs)
    search = GridSearchCV(pipeline, {"exactposterior__model": ["bge", "nig"]}, cv=2)
    assert np.isfinite(search.fit(table).best_score_)


# --- effects -------------------------------------------------------------------------


def sum_over_paths(coef, a, b):
    """All directed paths written down."""
    if a == b:
        return 1.0
    children = np.flatnonzero(coef[a])
    return sum(coef[a, k] * sum_over_paths(coef, k, b) for k in children)


@pytest.mark.parametrize("seed", range(3))
def test_linear_effects_against_paths(seed):
    rng = np.random.default_rng(seed)
    graphs = np.stack([dags.random_dag(6, 0.5, rng) for _ in range(30)])
    networks = LinearNetworks(
        graphs, rng.normal(size=graphs.sum()), np.zeros((30, 6)), np.ones((30, 6))
    )
    post = Posterior(
        networks,
        log_prob=None,
        log_prob_theta=np.zeros(30),
        log_reward=np.zeros(30),
        feature_names=list("abcdef"),
        labelled=False,
    )
    table = post.effect_table().set_index(["cause", "outcome"])
    for a, b in itertools.permutations(range(6), 2):
        effects = post.effects(a, b)
        expected = [sum_over_paths(coef, a, b) for coef in post.coef]
        np.testing.assert_allclose(effects, expected, atol=1e-12)
        reach = np.array([dags.closure(graph)[a, b] for graph in graphs])
        np.testing.assert_array_equal(effects != 0, reach)
        np.testing.assert_array_equal(
            post.effects("abcdef"[a], "abcdef"[b], low=2, high=-1), -3 * effects
        )
        summary = post.effect_summary(a, b)
        assert summary.mean == pytest.approx(effects.mean())
        assert summary.sd == pytest.approx(effects.std())
        assert summary.probability_zero == pytest.approx((effects == 0).mean())
        if not effects.any():  # not 0.9999999999999999
            assert summary.probability_zero == 1
        if reach.any():
            assert summary.mean_given_effect == pytest.approx(effects[reach].mean())
            row = table.loc[("abcdef"[a], "abcdef"[b])]
            np.testing.assert_allclose(row, summary, rtol=1e-12)
    assert len(table) == (post.path_probabilities() > 0).sum()


def probability_by_enumeration(post, s, a, value, b, state):
    """P(b = state | do(a = value)) of one draw: all rows there are."""
    n_states = post.theta["n_states"]
    total = 0.0
    for row in itertools.product(*(range(k) for k in n_states)):
        if row[a] != value or row[b] != state:
            continue
        counts = np.arange(len(row)) != a
        total += math.exp(log_density_of_row(post, s, np.array(row), counts))
    return total


def test_discrete_effects_against_enumeration(discrete):
    for a, b in [(0, 1), (1, 0), (2, 1)]:
        high = {1: 2}.get(a, 1)
        state = {1: 2}.get(b, 1)
        found = discrete.effects(a, b, n_simulations=4000)
        for s in range(len(discrete)):
            after = [
                probability_by_enumeration(discrete, s, a, value, b, state)
                for value in (high, 0)
            ]
            assert found[s] == pytest.approx(after[0] - after[1], abs=0.03)
        reach = [dags.closure(graph)[a, b] for graph in discrete.graphs]
        np.testing.assert_array_equal(found != 0, reach)
    other = discrete.effects(0, 1, low=1, high=0, state=2, n_simulations=4000)
    np.testing.assert_allclose(other, -discrete.effects(0, 1, n_simulations=4000))


def test_simulated_effects_are_repeatable_and_survive_cuts(discrete):
    one = discrete.effects(0, 1, n_simulations=50)
    np.testing.assert_array_equal(one, discrete.effects(0, 1, n_simulations=50))
    assert isinstance(discrete[10:20]._networks, DiscreteNetworks)
    assert discrete[10:20].effects(0, 1).shape == (10,)


def test_shares_of_draws_are_counts(posterior, table):
    """To the bit: sums of weights 1 / n would be off in the last digits."""
    for n in (300, 97, 49):
        post = posterior[:n]
        effects = post.effects("mass", "age")
        summary = post.effect_summary("mass", "age")
        assert summary.probability_zero == (effects == 0).sum() / n
        table_row = post.effect_table().set_index(["cause", "outcome"])
        if ("mass", "age") in table_row.index:
            assert tuple(table_row.loc[("mass", "age")])[4] == summary.probability_zero
        there = post.graphs[:, 0, 3]
        assert post.mechanism("mass", "age", table).probability == there.sum() / n
        weighted = post.mechanism("mass", "age", table, weighted=True).probability
        assert weighted == pytest.approx(post.weights[there].sum())


def test_effects_that_make_no_sense(posterior, discrete):
    with pytest.raises(ValueError, match="cause and outcome must differ"):
        posterior.effects("mass", "mass")
    with pytest.raises(ValueError, match="outcome: unknown variable 'weight'"):
        posterior.effects("mass", "weight")
    with pytest.raises(ValueError, match="state is for discrete data only"):
        posterior.effects("mass", "age", state=1)
    with pytest.raises(ValueError, match="high: unknown state 5; expected 0, 1"):
        discrete.effects(0, 1, high=5)
    with pytest.raises(ValueError, match="effect_table is for linear models"):
        discrete.effect_table()


def test_effects_of_an_exact_posterior_against_enumeration():
    """D = 4: mean over all 543 graphs of the path sums at the posterior mean weights.

    Given a graph, weights of different nodes are independent, so the mean of a product
    along a path is the product of the means.
    """
    sim = jspgfn.simulate.linear_gaussian(n_variables=4, n_samples=30, random_state=1)
    exact = jspgfn.ExactPosterior("bge", preprocess="center", random_state=0)
    exact.fit(sim.X)
    graphs = dags.enumerate_dags(4)
    probability = np.exp(exact.log_prob(graphs))
    x = sim.X - sim.X.mean(axis=0)
    scatter = x.T @ x + 0.5 * np.eye(4)  # t I, t = alpha_mu / (alpha_mu + 1)
    expected = 0.0
    for graph, p in zip(graphs, probability, strict=True):
        coef = np.zeros((4, 4))
        for j in range(4):
            parents = np.flatnonzero(graph[:, j])
            if len(parents):
                coef[parents, j] = np.linalg.solve(
                    scatter[np.ix_(parents, parents)], scatter[parents, j]
                )
        expected = expected + p * np.linalg.inv(np.eye(4) - coef)
    post = exact.sample(20_000)
    for a, b in itertools.permutations(range(4), 2):
        effects = post.effects(a, b)
        error = effects.std() / math.sqrt(len(effects))
        assert abs(effects.mean() - expected[a, b]) < 4.5 * error + 1e-9


def test_effects_of_eight_variables_against_enumeration():
    """A known order and two possible parents per variable: 8,192 graphs, all written down.

    Weights are drawn here from the conjugate posterior of each node, so that mean and
    interval of the mixture owe nothing to the sampler.
    """
    sim = jspgfn.simulate.linear_gaussian(n_variables=8, n_samples=25, random_state=4)
    possible = {k: [i for i in (k - 2, k - 1) if i >= 0] for k in range(8)}
    exact = jspgfn.ExactPosterior(
        "bge", preprocess="center", candidates=possible, random_state=0
    ).fit(sim.X)
    slots = [(i, j) for j in possible for i in possible[j]]
    codes = np.arange(1 << len(slots))
    graphs = np.zeros((len(codes), 8, 8), bool)
    for bit, (i, j) in enumerate(slots):
        graphs[:, i, j] = codes >> bit & 1
    probability = np.exp(exact.log_prob(graphs))
    assert probability.sum() == pytest.approx(1)

    rng = np.random.default_rng(0)
    drawn = graphs[rng.choice(len(graphs), 20_000, p=probability)]
    x = sim.X - sim.X.mean(axis=0)
    R = x.T @ x + 0.5 * np.eye(8)
    coef = np.zeros(drawn.shape)
    for j, parents_of_j in possible.items():
        for bits in range(1 << len(parents_of_j)):
            S = [i for k, i in enumerate(parents_of_j) if bits >> k & 1]
            chosen = np.flatnonzero(
                (
                    drawn[:, parents_of_j, j]
                    == [bits >> k & 1 for k in range(len(parents_of_j))]
                ).all(axis=1)
            )
            if not S or not len(chosen):
                continue
            mean = np.linalg.solve(R[np.ix_(S, S)], R[S, j])
            shape = (len(x) + 10 - 8 + len(S) + 1) / 2
            v = stats.invgamma(shape, scale=(R[j, j] - mean @ R[S, j]) / 2).rvs(
                len(chosen), random_state=rng
            )
            factor = np.linalg.cholesky(np.linalg.inv(R[np.ix_(S, S)]))
            z = rng.normal(size=(len(chosen), len(S)))
            coef[np.ix_(chosen, S, [j])] = (
                mean + np.sqrt(v)[:, None] * (z @ factor.T)
            )[:, :, None]
    expected = np.linalg.inv(np.eye(8) - coef)
    post = exact.sample(20_000)
    for a, b in [(0, 7), (0, 1), (2, 5), (3, 7), (6, 7)]:
        summary = post.effect_summary(a, b)
        effects = expected[:, a, b]
        error = math.hypot(effects.std(), summary.sd) / math.sqrt(20_000)
        assert abs(summary.mean - effects.mean()) < 4.5 * error
        assert summary.sd == pytest.approx(effects.std(), rel=0.3)
        for share, end in ((0.05, summary.low), (0.95, summary.high)):
            near = np.quantile(effects, [share - 0.01, share + 0.01])
            assert near[0] - 1e-9 <= end <= near[1] + 1e-9
        no_path = (np.abs(effects) < 1e-12).mean()
        assert summary.probability_zero == pytest.approx(no_path, abs=0.02)
