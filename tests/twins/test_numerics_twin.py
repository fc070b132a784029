"""Extreme tables: right to 1e-8 against 600 digits, or refused by name.

`all_cases` lists the inputs. Each is fitted by every closed-form model with every
preprocessing; the last test prints how many were right and refused (pytest -s).
"""

import re
import warnings

import numpy as np
import pytest

import jspgfn

precise = pytest.importorskip("reference.precise")  # needs mpmath

TOLERANCE = 1e-8  # of the log evidence, or 1e-8 nats
CLOSE_TOLERANCE = 1e-6  # where R^2 of a column given others exceeds 1 - 1e-8
OUTCOMES = {"right": 0, "refused": 0}
NAMED = r"'x\d+'|noise_scale|span more than"  # what a refusal must name


def table(n_rows, n_variables, seed=0):
    """Rows of a sparse linear network."""
    rng = np.random.default_rng(seed)
    weights = np.triu(rng.normal(size=(n_variables, n_variables)), 1)
    weights *= rng.random(weights.shape) < min(1, 3 / n_variables)
    noise = rng.normal(size=(n_rows, n_variables))
    return noise @ np.linalg.inv(np.eye(n_variables) - weights)


def with_column(x, node, column):
    return np.column_stack([x[:, :node], column, x[:, node + 1 :]])


def near_copies(x, size, rng):
    """A column next to another one, and one next to a combination of three."""
    rest = size * rng.normal(size=len(x))
    yield "copy", with_column(x, 3, x[:, 0] + rest)
    yield "sum", with_column(x, 3, x[:, 0] - x[:, 1] + x[:, 2] + rest)


def all_cases():
    """(name, X, mask)"""
    rng = np.random.default_rng(7)
    x = table(60, 4)
    for n in (2, 3, 5, 10, 1000, 10_000):
        yield f"{n} rows", table(n, 4), None
    for d in (1, 2, 3, 8, 64):
        yield f"{d} variables", table(50, d), None
    yield "64 variables, 20 rows", table(20, 64), None
    yield "40 variables, 4 rows", table(4, 40), None
    for size in (1e-310, 1e-300, 1e-160, 1e-100, 1e-12, 1e12, 1e100, 1e139, 1e141):
        yield f"all times {size:g}", x * size, None
    yield "scales 1e-12 to 1e12", x * [1e-12, 1e12, 1e-6, 1], None
    yield "scales 1e12 apart", x * [1e-12, 1, 1e-12, 1], None
    for offset in (1e3, 1e6, 1e9, 1e12, 1e14, 1e15, 1e16):
        yield f"offset {offset:g}", x + offset, None
    moved = x * [1e-12, 1e12, 1e-6, 1] + [1e-3, 1e15, 1e3, 1e6]
    yield "scales and offsets", moved, None
    for size in (1e-3, 1e-4, 2e-5, 1.1e-5, 1e-6, 1e-9, 1e-12):
        for name, close in near_copies(x, size, rng):
            yield f"{name} to {size:g}", close, None
            yield f"{name} to {size:g}, large", close * 1e5, None
        for scale in (1, 1e6):
            for name, close in near_copies(table(5, 8), size, rng):
                yield f"{name} to {size:g}, 5 rows, {scale:g}", close * scale, None
    left = np.linalg.qr(rng.normal(size=(60, 4)))[0]
    right = np.linalg.qr(rng.normal(size=(4, 4)))[0]
    for condition in (1e2, 1e4, 1e5, 1e6, 1e12):
        singular = np.geomspace(1, 1 / condition, 4)
        yield f"condition {condition:g}", 10 * left * singular @ right, None
    for scale in (1e3, 2e4, 1e6):
        for n, d in ((2, 5), (5, 8), (3, 10), (8, 8)):
            yield f"{n} rows, {d} large variables {scale:g}", table(n, d) * scale, None
    one = (np.arange(60) == 3).astype(float)
    yield "constant", with_column(x, 1, np.full(60, 7.0)), None
    yield "constant but for rounding", with_column(x, 1, 1e15 + one / 8), None
    yield "nearly constant", with_column(x, 1, 1e12 + one / 8), None
    yield "one row differs", with_column(x, 1, one), None
    yield "outlier 1e12", np.where(np.arange(240).reshape(60, 4) == 9, 1e12, x), None
    yield "outlier 1e100", np.where(np.arange(240).reshape(60, 4) == 9, 1e100, x), None
    yield "one row of 1e12", np.where(one[:, None] == 1, 1e12 * x, x), None
    yield "heavy tails", rng.standard_cauchy((60, 4)) ** 3, None
    yield "small integers", rng.integers(0, 3, (60, 4)).astype(float), None
    yield from cases_with_interventions(x, rng)


def cases_with_interventions(x, rng):
    def mask(*cells):
        out = np.zeros(x.shape, np.uint8)
        for rows, columns in cells:
            out[rows, columns] = 1
        return out

    one = (np.arange(60) == 3).astype(float)
    yield "constant where it counts", with_column(x, 1, one), mask((3, 1))
    yield "parent constant where it counts", with_column(x, 1, one), mask((3, 2))
    yield "a column always set", x, mask((slice(None), 1))
    yield "all columns always set", x, np.ones(x.shape, np.uint8)
    yield "one row counts", x, mask((slice(1, None), slice(None)))
    yield "two rows count", x, mask((slice(2, None), slice(None)))
    yield "three rows count, large", 1e6 * x, mask((slice(3, None), slice(None)))
    some = (rng.random(x.shape) < 0.5).astype(np.uint8)
    yield "half set", x, some
    yield "half set, far from 0", x + 1e9, some
    for shift in (1e8, 1e12):
        apart = x + shift * some * [0, 0, 1, 0]
        yield f"set {shift:g} away", apart, some
    yield "set to 1e12 times more", np.where(some == 1, 1e12 * x, x), some
    copy = np.where(some[:, [0]] == 1, rng.normal(size=(60, 1)), x[:, [0]])
    yield "a copy in the rows that count", with_column(x, 3, copy[:, 0]), some


ALL = {name: (x, mask) for name, x, mask in all_cases()}


def check_refusal(message):
    assert re.search(NAMED, message), message


def build_tables(x, mask, model, preprocess):
    """An estimator with score tables, as fit begins."""
    D = x.shape[1]
    kind = jspgfn.ExactPosterior if D <= 20 else jspgfn.StructureMCMC
    est = kind(
        model,
        graph_prior="uniform",
        preprocess=preprocess,
        candidates=min(3, D - 1) if D > 8 else None,
        n_jobs=1,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", jspgfn.JspgfnWarning)
        est._start(est._check_problem(x, mask), x)
    return est, est._tables.scores


def compare(scores, moments, model, preprocess):
    """Largest error over random parent sets, of the table and of single evidences."""
    """The scale of errors is that of the node's evidences, which may differ by 1e10."""
    rng, worst = np.random.default_rng(1), 0.0
    for share in (1, 1, 0.6, 0):
        node = int(rng.integers(scores.n_variables))
        candidates = scores.candidates(node)
        parents = [i for i in candidates if rng.random() < share]
        local = sum(1 << candidates.index(i) for i in parents)
        expected = precise.evidence(moments, model, node, parents, preprocess)
        for got in (
            scores.local_scores(node)[local],
            scores.evidence(node, parents)[0],
        ):
            assert np.isfinite(got)
            size = max(1, abs(expected), abs(scores.local_scores(node)[0]))
            worst = max(worst, abs(got - expected) / size)
    return worst


@pytest.mark.parametrize("name", list(ALL))
def test_right_or_refused(name):
    check_case(name, *ALL[name])


@pytest.mark.slow
def test_a_million_rows():
    check_case("million", table(10**6, 2) + 1e9, None)


def check_case(name, x, mask):
    moments = precise.Moments(x, mask)
    tolerance = CLOSE_TOLERANCE if "large" in name and "sum" in name else TOLERANCE
    for preprocess in (None, "center", "standardize"):
        for model in ("linear", "nig", "bge"):
            try:
                _, scores = build_tables(x, mask, model, preprocess)
            except (ValueError, jspgfn.NumericalError) as error:
                check_refusal(str(error))
                OUTCOMES["refused"] += 1
                continue
            worst = compare(scores, moments, model, preprocess)
            assert worst < tolerance, (model, preprocess, worst)
            OUTCOMES["right"] += 1


def numbers_of(est, x):
    """Everything that a fit hands out, by name."""
    post = est.sample(20, random_state=0)
    yield "log partition", est.log_partition_
    yield "edges", est.edge_probabilities()
    yield "coef mean", est.coef_mean()
    yield "noise", est.noise_variance_mean()
    yield "exact prediction", est.predict_log_density(x[:2])
    for name in ("coef", "intercept", "noise_scale", "log_prob", "log_prob_theta"):
        yield name, getattr(post, name)
    for name in ("log_reward", "log_reward_joint", "weights"):
        yield name, getattr(post, name)
    yield "prediction", post.predict_log_density(x[:3])
    yield "effects", post.effects(0, 1) if x.shape[1] > 1 else 0.0


WIDTHS = [name for name, (x, _) in ALL.items() if x.shape[1] <= 4]


@pytest.mark.parametrize("k", range(len(WIDTHS)))
def test_nothing_is_nan(k):
    """Whole fits with draws and predictions; the models take turns."""
    x, mask = ALL[WIDTHS[k]]
    model = ("bge", "nig", "linear")[k % 3]
    preprocess = ("auto", "standardize", "center", None)[k % 4]
    est = jspgfn.ExactPosterior(model, preprocess=preprocess, n_jobs=1, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", jspgfn.JspgfnWarning)
        try:
            found = list(numbers_of(est.fit(x, interventions=mask), x))
        except (ValueError, jspgfn.NumericalError) as error:
            check_refusal(str(error))
            return
    for name, values in found:
        assert not np.isnan(values).any(), name


DISCRETE = {
    "2 rows": (2, [2, 2, 2], 1.0),
    "a state of one row": (40, [2, 20, 3], 1.0),
    "many states": (60, [60, 2, 50], 1.0),
    "states that never occur": (30, [400, 2, 65535], 1.0),
    "tiny sample size": (50, [2, 3, 4], 1e-12),
    "smaller yet": (50, [2, 3, 4], 1e-300),
    "huge sample size": (50, [2, 3, 4], 1e12),
    "many rows": (20_000, [2, 3, 4], 1.0),
}


@pytest.mark.parametrize("name", list(DISCRETE))
@pytest.mark.parametrize("set_cells", ["none", "some", "all of one column"])
def test_discrete(name, set_cells):
    n_rows, n_states, sample_size = DISCRETE[name]
    rng = np.random.default_rng(3)
    x = np.column_stack([rng.integers(min(r, 20), size=n_rows) for r in n_states])
    x[:2] = [[0] * 3, [1] * 3]
    mask = (rng.random(x.shape) < 0.3) * (set_cells == "some")
    mask[:, 1] |= set_cells == "all of one column"
    model = jspgfn.BDeu(sample_size, n_states=dict(enumerate(n_states)))
    est = jspgfn.ExactPosterior(model, graph_prior="uniform", n_jobs=1)
    est.fit(x, interventions=mask.astype(np.uint8))
    scores = est._tables.scores
    assert np.isfinite(est.edge_probabilities()).all()
    codes = est._tables.x
    for node in range(3):
        others = [i for i in range(3) if i != node]
        for S in range(4):
            parents = [i for k, i in enumerate(others) if S >> k & 1]
            expected = precise.bdeu_evidence(
                codes, mask, node, parents, n_states, sample_size
            )
            for got in (
                scores.local_scores(node)[S],
                scores.evidence(node, parents)[0],
            ):
                assert abs(got - expected) < TOLERANCE * max(1, abs(expected))
    OUTCOMES["right"] += 1


def test_counts():
    print(OUTCOMES)
