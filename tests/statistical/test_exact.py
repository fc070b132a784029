"""ExactPosterior against known answers, enumeration, and an algorithm that adds only."""

import pickle

import numpy as np
import pytest

import jspgfn
from checks import ERROR_RATE, make_scores, simulate
from jspgfn import _core
from jspgfn._features import blankets_of, paths_of
from jspgfn._partition import log_prior_partition
from reference import cases, dags, exact_layers
from reference.exact_posterior import enumerated


def solve(scores, posterior=True, n_threads=1):
    exact = _core.Exact(scores, posterior=posterior, n_threads=n_threads)
    while exact.step(1) < 1:
        pass
    return exact


def full_table(scores):
    """(D, 2^D) local scores over masks of all variables."""
    D = scores.n_variables
    table = np.full((D, 1 << D), -np.inf)
    for j in range(D):
        candidates = np.array(scores.candidates(j), int)
        local = scores.local_scores(j)
        bits = np.arange(len(local))[:, None] >> np.arange(len(candidates)) & 1
        table[j, (bits << candidates).sum(axis=1)] = local
    return table


def model_of(case):
    kinds = {
        "linear": jspgfn.LinearGaussian,
        "nig": jspgfn.NormalInverseGamma,
        "bge": jspgfn.BGe,
        "bdeu": jspgfn.BDeu,
    }
    fields = dict(case.fields)
    if case.model == "bdeu":
        fields["n_states"] = dict(enumerate(case.n_states))
    return kinds[case.model](**fields)


def fit_case(case, **settings):
    x = case.x.astype(int) if case.model == "bdeu" else case.x
    est = jspgfn.ExactPosterior(
        model_of(case),
        graph_prior=case.graph_prior,
        preprocess=None,
        random_state=0,
        **settings,
    )
    return est.fit(x, interventions=case.mask)


@pytest.mark.filterwarnings("ignore::jspgfn.NoiseScaleWarning")
@pytest.mark.parametrize("name", cases.NAMES)
def test_known_answers(name):
    case = cases.load(name)
    est = fit_case(case)
    assert abs(est.log_partition_ - case.log_Z) < 1e-6
    assert abs(est.log_evidence_ - (case.log_Z - case.log_prior_Z)) < 1e-6
    edges = est.edge_probabilities()
    np.testing.assert_allclose(edges, case.edges, atol=1e-8)
    assert abs(edges.sum() - case.expected_edges) < 1e-8
    if case.model != "bdeu":
        np.testing.assert_allclose(est.coef_mean(), case.theta_mean, atol=1e-8)
        np.testing.assert_allclose(est.coef_sd(), case.theta_sd, atol=1e-8)
    assert est.report_["closure"] < 1e-10
    assert max(est.report_["cut_partition"], est.report_["cut_posterior"]) < 1e-12


@pytest.mark.parametrize(
    "D", [8, 9, 10, pytest.param(11, marks=pytest.mark.slow)], ids=str
)
@pytest.mark.parametrize("model", ["bge", "linear"])
def test_second_algorithm_on_proteins(D, model):
    """Peaked: 7,466 rows with interventions, and, with fixed noise, a wrong model."""
    sachs = jspgfn.datasets.load_sachs(interventions=True)
    x = np.log(sachs.data.to_numpy(float))[:, :D]
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    names = np.array(sachs.feature_names[:D])
    mask = np.asarray(sachs.interventions, str)[:, None] == names
    scores = make_scores(x, mask, model=model, graph_prior="fair")
    exact = solve(scores)
    table = full_table(scores)
    log_Z = exact_layers.log_partition(table)
    assert abs(exact.log_partition() / log_Z - 1) < 1e-14
    assert abs(exact.log_partition() - log_Z) < 1e-9
    if D > 9:
        return
    edges = exact.edges()
    spread = np.argwhere((edges > 1e-6) & (edges < 1 - 1e-6))
    for i, j in spread[:: max(1, len(spread) // 4)]:
        wanted = np.exp(exact_layers.log_edge_probability(table, i, j))
        assert abs(edges[i, j] - wanted) < 1e-9


@pytest.mark.parametrize("model", ["linear", "nig", "bge"])
@pytest.mark.parametrize("preprocess", [None, "center", "standardize"])
@pytest.mark.filterwarnings("ignore::jspgfn.NoiseScaleWarning")
def test_draws_and_moments_agree(model, preprocess):
    """Weights, paths, blankets and predictions against exact draws, in units of X."""
    x = simulate(4, 60, seed=3)
    if preprocess is not None:
        x = np.array([0.0, 30.0, -2.0, 5.0]) + x * [1.0, 10.0, 0.1, 1.0]
    est = jspgfn.ExactPosterior(model, preprocess=preprocess, random_state=1).fit(x)
    n = 20_000
    post = est.sample(n)
    coef = post.coef
    mean, sd = est.coef_mean(), est.coef_sd()
    assert np.all(np.abs(coef.mean(axis=0) - mean) <= 5 * sd / n**0.5 + 1e-12)
    np.testing.assert_allclose(coef.std(axis=0), sd, rtol=0.1, atol=sd.max() / n**0.5)
    noise = (post.noise_scale**2).mean(axis=0)
    np.testing.assert_allclose(noise, est.noise_variance_mean(), rtol=0.05)
    # density of new rows: the mean over draws of the density given parameters
    rows = x[:5]
    predicted = np.einsum("sij,ri->srj", coef, rows) + post.intercept[:, None, :]
    z = (rows - predicted) / post.noise_scale[:, None, :]
    log_density = -0.5 * z**2 - np.log(
        post.noise_scale[:, None, :] * (2 * np.pi) ** 0.5
    )
    density = np.exp(log_density.sum(axis=2))  # (n, rows)
    error = density.std(axis=0) / n**0.5
    wanted = np.exp(est.predict_log_density(rows))
    assert np.all(np.abs(density.mean(axis=0) - wanted) < 5 * error)


def test_features_against_enumeration():
    x = simulate(4, 30, seed=2)
    est = jspgfn.ExactPosterior("bge", random_state=0).fit(x)
    graphs = dags.enumerate_dags(4)
    probability = np.exp(est.log_prob(graphs))
    assert abs(probability.sum() - 1) < 1e-12
    edges = np.einsum("g,gij->ij", probability, graphs)
    np.testing.assert_allclose(est.edge_probabilities(), edges, atol=1e-12)
    sets = est.parent_set_probabilities(1)
    for parents, p in sets.items():
        column = np.isin(np.arange(4), parents)
        same = (graphs[:, :, 1] == column).all(axis=1)
        assert abs(probability[same].sum() - p) < 1e-12
    assert list(sets.values()) == sorted(sets.values(), reverse=True)
    for feature, summary in (
        (paths_of, est.path_probabilities),
        (blankets_of, est.markov_blanket_probabilities),
    ):
        wanted = np.einsum("g,gij->ij", probability, feature(graphs.astype(bool)))
        share, error = summary(20_000, standard_error=True)
        assert np.all(np.abs(share - wanted) < 5 * error + 1e-3)


def test_joint_prediction_is_a_product_of_single_ones():
    x = simulate(4, 40, seed=5)
    for preprocess, model in ((None, "linear"), (None, "nig"), (None, "bge")):
        make = jspgfn.ExactPosterior(model, preprocess=preprocess)
        first, both = make.fit(x[:38]), x[38:]
        joint = first.predict_log_density(both, joint=True)
        one = first.predict_log_density(both)[0]
        two = jspgfn.ExactPosterior(model, preprocess=preprocess).fit(x[:39])
        assert abs(joint - one - two.predict_log_density(both[1:])[0]) < 1e-8
    assert first.predict_log_density(x[:0]).shape == (0,)


def test_discrete_predictions_sum_to_one():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 2, size=(30, 3))
    x[:, 1] = np.where(rng.random(30) < 0.8, x[:, 0], x[:, 1])
    est = jspgfn.ExactPosterior("bdeu", random_state=0).fit(x)
    rows = np.array([[a, b, c] for a in (0, 1) for b in (0, 1) for c in (0, 1)])
    assert abs(np.exp(est.predict_log_density(rows)).sum() - 1) < 1e-10
    assert len(est.sample(10)) == 10


@pytest.mark.parametrize("prior", ["uniform", "fair", "erdos-renyi", "edges"])
@pytest.mark.parametrize("constrained", [False, True])
def test_prior_sum(prior, constrained):
    """log Z of the prior by three ways: fractions, a table without data, enumeration."""
    D = 4
    x = simulate(D, 30, seed=1)
    if prior == "edges":
        P = np.random.default_rng(0).uniform(0.1, 0.9, size=(D, D))
        P[0, 1] = 0
        prior = jspgfn.EdgeProbabilities(P)
    constraints = None
    if constrained:
        constraints = jspgfn.Constraints(forbidden=[(1, 0)], required=[(2, 3)])
    est = jspgfn.ExactPosterior(
        "bge", graph_prior=prior, constraints=constraints, max_parents=2
    ).fit(x)
    graphs = dags.enumerate_dags(D)
    evidence = jspgfn.ExactPosterior("bge", graph_prior="uniform").fit(x)
    log_weight = est.log_reward(graphs) - evidence.log_reward(graphs)
    log_Z = np.log(np.exp(log_weight).sum())
    by_two = est.log_partition_ - est.log_evidence_
    assert abs(by_two - log_Z) < 1e-10
    settings = {**est._tables.settings, "required": np.zeros((D, D), np.uint8)}
    if not constrained:  # the way that any prior can go
        assert abs(log_prior_partition(settings, D, 1) - log_Z) < 1e-10


def test_counts_graphs():
    settings = {
        "edge_log_odds": None,
        "max_parents": [19] * 20,
        "candidates": [[None] * 19] * 20,
        "required": None,
        "graph_prior": "uniform",
    }
    known = 2344880451051088988152559855229099188899081192234291298795803236068491263
    assert abs(log_prior_partition(settings, 20, 1) - np.log(float(known))) < 1e-10


def test_limits_and_candidates_against_enumeration():
    x = simulate(4, 50, seed=8)
    candidates = [[1, 2], [0, 2, 3], [], [0, 1]]
    scores = make_scores(x, candidates=candidates, max_parents=2)
    graphs, log_p, log_Z = enumerated(full_table(scores))
    exact = solve(scores)
    assert abs(exact.log_partition() - log_Z) < 1e-10
    edges = np.einsum("g,gij->ij", np.exp(log_p), graphs)
    np.testing.assert_allclose(exact.edges(), edges, atol=1e-12)


def test_same_bits_for_any_number_of_threads():
    x = simulate(14, 60, seed=4, edge_probability=0.2)
    one = jspgfn.ExactPosterior("bge", n_jobs=1, random_state=3).fit(x)
    two = jspgfn.ExactPosterior("bge", n_jobs=2, random_state=3).fit(x)
    assert one.log_partition_ == two.log_partition_
    assert one.report_ == two.report_
    for method in ("edge_probabilities", "coef_mean", "coef_sd"):
        assert np.array_equal(getattr(one, method)(), getattr(two, method)())
    a, b = one.sample(200), two.sample(200)
    assert np.array_equal(a.graphs, b.graphs)
    assert np.array_equal(a.coef, b.coef)
    again = pickle.loads(pickle.dumps(one))
    assert np.array_equal(again.sample(50).graphs, two.sample(50).graphs)


@pytest.mark.statistical
def test_draws_match_log_prob():
    """Frequencies of the graphs that were drawn against their exact probabilities."""
    from scipy import stats

    x = simulate(4, 20, seed=6)
    est = jspgfn.ExactPosterior("nig", random_state=9).fit(x)
    n = 20_000
    post = est.sample(n)
    np.testing.assert_allclose(post.log_prob, est.log_prob(post.graphs), atol=1e-12)
    assert np.allclose(post.weights, 1 / n)
    graphs = dags.enumerate_dags(4)
    expected = n * np.exp(est.log_prob(graphs))
    index = {g.tobytes(): k for k, g in enumerate(graphs.astype(np.uint8))}
    found = np.array([index[g.tobytes()] for g in post.graphs.astype(np.uint8)])
    counts = np.bincount(found, minlength=len(graphs))

    def p_value(expected):
        large = expected >= 5
        rest = (~large).any()
        o = np.append(counts[large], counts[~large].sum()) if rest else counts
        e = np.append(expected[large], expected[~large].sum()) if rest else expected
        return stats.chi2.sf(((o - e) ** 2 / e).sum(), len(o) - 1)

    assert p_value(expected) > ERROR_RATE
    wrong = expected**0.9
    assert p_value(n * wrong / wrong.sum()) < ERROR_RATE  # the test can fail
