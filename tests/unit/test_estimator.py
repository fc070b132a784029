"""The estimator around the core: stopping, resuming, seeds, copies, densities."""

import copy
import os
import pickle
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

import jspgfn
from jspgfn import _core, _engine
from jspgfn._config import check_n_jobs
from jspgfn._engine import GOOD_GAP, Plan, certificate, default_n_iter


@pytest.fixture(scope="module")
def X():
    return jspgfn.simulate.linear_gaussian(
        n_variables=4, n_samples=60, random_state=1
    ).X


def fit(X, **settings):
    return jspgfn.JSPGFN(**{"n_iter": 60, "random_state": 5, **settings}).fit(X)


def assert_same(one, two):
    """Same history and same draws, bit by bit."""
    assert one.n_iter_ == two.n_iter_
    for name in _core.METRICS:
        np.testing.assert_array_equal(one.history_[name], two.history_[name])
    first, second = one.sample(50, random_state=1), two.sample(50, random_state=1)
    for name in (
        "graphs",
        "coef",
        "intercept",
        "noise_scale",
        "log_prob",
        "log_reward",
    ):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))


# --- conventions ---------------------------------------------------------------------


def test_constructor_only_stores():
    est = jspgfn.JSPGFN(model="no such model", n_iter=-3, max_time="x")
    assert est.get_params()["n_iter"] == -3
    assert est.set_params(n_iter=5).n_iter == 5


def test_nested_parameters_and_clone():
    est = jspgfn.JSPGFN(model=jspgfn.LinearGaussian(noise_scale=0.2), n_iter=7)
    copied = clone(est)
    assert copied.model is not est.model
    assert copied.get_params()["model__noise_scale"] == 0.2
    copied.set_params(model__noise_scale=0.4)
    assert est.model.noise_scale == 0.2
    assert repr(est) == "JSPGFN(model=LinearGaussian(noise_scale=0.2), n_iter=7)"


def test_unfitted():
    est = jspgfn.JSPGFN()
    for call in (est.sample, est.resume, est.edge_probabilities):
        with pytest.raises(NotFittedError):
            call()
    for call in (est.log_prob, est.log_reward):
        with pytest.raises(NotFittedError):
            call(np.zeros((2, 2)))


def test_fitted_attributes(fitted, table):
    assert fitted.n_features_in_ == 4
    assert list(fitted.feature_names_in_) == list(table.columns)
    assert fitted.random_seed_ == 0
    assert fitted.n_iter_ == 120
    assert fitted.preprocess_ == "standardize"
    assert fitted.candidates_ == [[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]]
    assert set(fitted.history_) == set(_core.METRICS)
    assert {len(values) for values in fitted.history_.values()} == {120}
    assert (np.diff(fitted.history_["phase"]) >= 0).all()


def test_arrays_have_no_feature_names(X):
    est = fit(X)
    assert not hasattr(est, "feature_names_in_")
    post = est.sample(5)
    assert post.feature_names == ["x0", "x1", "x2", "x3"]
    assert isinstance(post.edge_probabilities(), np.ndarray)


def test_refitting_starts_afresh(X):
    est = fit(X)
    est.sample(10)
    est.fit(X)
    assert_same(est, fit(X))
    np.testing.assert_array_equal(est.sample(9).graphs, fit(X).sample(9).graphs)


def test_preprocess_auto_depends_on_the_model(X):
    assert fit(X, model="bge").preprocess_ == "standardize"
    assert fit(X, model="linear").preprocess_ == "center"
    assert fit(X, model=jspgfn.LinearGaussian(), preprocess=None).preprocess_ is None


def test_names_and_objects_mean_the_same(X):
    assert_same(fit(X, model="bge"), fit(X, model=jspgfn.BGe(alpha_w=6.0)))


def test_fit_does_not_change_its_input(table):
    before = table.copy()
    targets = [None] * 79 + ["age"]
    jspgfn.JSPGFN(n_iter=5, random_state=0).fit(table, interventions=targets)
    assert table.equals(before)


def test_one_variable():
    X = np.random.default_rng(0).normal(size=(20, 1))
    post = fit(X).sample(3)
    assert post.graphs.shape == (3, 1, 1)
    assert not post.graphs.any()
    np.testing.assert_array_equal(post.log_prob, 0)


def test_interventions_matter(table):
    mask = np.zeros(table.shape)
    mask[:40, 2] = 1
    plain = jspgfn.JSPGFN(n_iter=10, random_state=0).fit(table)
    changed = jspgfn.JSPGFN(n_iter=10, random_state=0).fit(table, interventions=mask)
    targets = ["speed"] * 40 + [None] * 40
    same = jspgfn.JSPGFN(n_iter=10, random_state=0).fit(table, interventions=targets)
    empty = np.zeros((4, 4))
    assert plain.log_reward(empty) != changed.log_reward(empty)
    assert_same(changed, same)


# --- seeds and draws -----------------------------------------------------------------


def test_a_drawn_seed_can_be_repeated(X):
    est = fit(X, random_state=None)
    assert_same(est, fit(X, random_state=est.random_seed_))
    assert fit(X, random_state=None).random_seed_ != est.random_seed_


def test_seeds_from_generators(X):
    one = fit(X, random_state=np.random.default_rng(3))
    two = fit(X, random_state=np.random.default_rng(3))
    assert one.random_seed_ == two.random_seed_
    assert fit(X, random_state=np.random.RandomState(3)).random_seed_ >= 0


def test_draws_go_on(X):
    one, two = fit(X), fit(X)
    pieces = [one.sample(k) for k in (3, 10, 7)]
    whole = two.sample(20)
    for name in ("graphs", "coef", "log_prob"):
        joined = np.concatenate([getattr(piece, name) for piece in pieces])
        np.testing.assert_array_equal(joined, getattr(whole, name))


def test_draws_with_a_seed_repeat(X):
    est = fit(X)
    first = est.sample(20, random_state=8)
    np.testing.assert_array_equal(first.coef, est.sample(20, random_state=8).coef)
    assert not np.array_equal(first.coef, est.sample(20, random_state=9).coef)
    np.testing.assert_array_equal(
        est.edge_probabilities(50), est.edge_probabilities(50)
    )


def test_draws_agree_with_densities(fitted, posterior):
    np.testing.assert_allclose(
        fitted.log_prob(posterior.graphs), posterior.log_prob, rtol=1e-5, atol=1e-5
    )
    np.testing.assert_allclose(
        fitted.log_reward(posterior.graphs), posterior.log_reward, rtol=1e-12
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n": 0}, r"n must be an integer of at least 1, got 0"),
        ({"n": 2.5}, r"n must be an integer"),
        ({"n": 10**13}, r"10000000000000 draws of 4 variables would take"),
        ({"refine": -1}, r"refine must be an integer of at least 0"),
        ({"random_state": "a"}, r"random_state must be"),
    ],
)
def test_bad_draws(fitted, arguments, message):
    with pytest.raises(ValueError, match=message):
        fitted.sample(**{"n": 5, **arguments})


# --- densities -----------------------------------------------------------------------


def test_probabilities_of_all_graphs_add_up(X):
    est = fit(X[:, :3])
    all_graphs = np.array(
        [
            [[b >> (3 * i + j) & 1 for j in range(3)] for i in range(3)]
            for b in range(512)
        ]
    )
    no_loops = all_graphs[np.trace(all_graphs, axis1=1, axis2=2) == 0]
    two_cycles = (no_loops & no_loops.transpose(0, 2, 1)).any(axis=(1, 2))
    cubes = np.trace(no_loops @ no_loops @ no_loops, axis1=1, axis2=2)
    dags = no_loops[~two_cycles & (cubes == 0)]
    assert len(dags) == 25
    assert np.exp(est.log_prob(dags)).sum() == pytest.approx(1, abs=1e-5)
    assert np.isfinite(est.log_reward(dags)).all()
    for density in (est.log_prob, est.log_reward):
        single = density(dags[7])
        assert single.shape == (1,)
        assert single.dtype == np.float64
        assert single[0] == pytest.approx(density(dags)[7], rel=1e-6)
        assert density(dags[:0]).shape == (0,)


def test_excluded_graphs(X):
    chain = np.zeros((2, 4, 4), dtype=bool)
    chain[0, [0, 1], 2] = True  # two parents
    chain[1, 0, 1] = True
    limited = fit(X, max_parents=1)
    listed = fit(X, candidates={1: [2, 3]})
    assert listed.candidates_[1] == [2, 3]
    for density in (limited.log_prob, limited.log_reward):
        assert np.isneginf(density(chain)).tolist() == [True, False]
    for density in (listed.log_prob, listed.log_reward):
        assert np.isneginf(density(chain)).tolist() == [False, True]
    assert limited.sample(200).graphs.sum(axis=1).max() <= 1
    assert not listed.sample(200).graphs[:, 0, 1].any()


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        ([(1, 2, 2)], r"row 1 has a self-loop at 'speed'"),
        ([(2, 0, 1), (2, 1, 0)], r"graph in row 2 has a cycle"),
        ([(0, 0, 1), (0, 1, 3), (0, 3, 0)], r"graph in row 0 has a cycle"),
    ],
)
def test_graphs_that_are_no_dags(fitted, edit, message):
    graphs = np.zeros((3, 4, 4))
    for s, i, j in edit:
        graphs[s, i, j] = 1
    for density in (fitted.log_prob, fitted.log_reward):
        with pytest.raises(ValueError, match=message):
            density(graphs)


def test_graphs_of_other_shapes_and_values(fitted, table):
    pandas = pytest.importorskip("pandas")
    with pytest.raises(
        ValueError, match=r"shape \(n, 4, 4\) or \(4, 4\), got \(5, 5\)"
    ):
        fitted.log_prob(np.zeros((5, 5)))
    with pytest.raises(ValueError, match=r"only 0 and 1"):
        fitted.log_prob(np.full((4, 4), 0.5))
    names = list(table.columns)
    graph = pandas.DataFrame(np.zeros((4, 4)), index=names, columns=names)
    graph.loc["age", "mass"] = 1
    assert fitted.log_prob(graph).shape == (1,)
    with pytest.raises(ValueError, match=r"in the order of the fit: 'mass'"):
        fitted.log_prob(graph.loc[names[::-1], names[::-1]])


# --- stopping and going on -----------------------------------------------------------


def test_calls_of_the_core_do_not_matter(X, monkeypatch):
    one = fit(X)
    monkeypatch.setattr(_engine, "next_chunk", lambda *_: 1)
    two = fit(X)
    monkeypatch.setattr(_engine, "next_chunk", lambda *_: 17)
    three = fit(X)
    assert_same(one, two)
    assert_same(one, three)


@pytest.mark.parametrize("interrupted_at", [1, 7, 31, 59])
def test_interrupted_and_resumed(X, monkeypatch, interrupted_at):
    whole = fit(X)
    monkeypatch.setattr(_engine, "next_chunk", lambda *_: 1)
    update_finished = _engine.update_finished

    def press_ctrl_c(engine, plan, iteration):
        if iteration == interrupted_at:
            signal.raise_signal(signal.SIGINT)
        update_finished(engine, plan, iteration)

    monkeypatch.setattr(_engine, "update_finished", press_ctrl_c)
    est = jspgfn.JSPGFN(n_iter=60, random_state=5)
    with pytest.raises(KeyboardInterrupt):
        est.fit(X)
    monkeypatch.setattr(_engine, "update_finished", update_finished)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert est.n_iter_ == interrupted_at
    assert est.sample(5).graphs.shape == (5, 4, 4)
    assert_same(pickle.loads(pickle.dumps(est)).resume(), whole)
    assert_same(est.resume(), whole)


def test_ctrl_c_in_the_last_moment_is_not_lost(X, monkeypatch):
    """A loop of short fits could not be stopped otherwise."""
    update_finished = _engine.update_finished

    def press_ctrl_c(engine, plan, iteration):
        update_finished(engine, plan, iteration)
        if plan.finished:
            signal.raise_signal(signal.SIGINT)

    est = jspgfn.JSPGFN(n_iter=60, random_state=5)
    with monkeypatch.context() as patch:
        patch.setattr(_engine, "update_finished", press_ctrl_c)
        with pytest.raises(KeyboardInterrupt):
            est.fit(X)
    assert est.n_iter_ == 60
    assert_same(est, fit(X))


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_a_copy_whose_state_was_not_restored_tries_again(X, monkeypatch, error):
    """It must not go on with a trainer that knows nothing."""
    est = pickle.loads(pickle.dumps(fit(X)))

    def build_one_that_fails(engine, n_policies):
        class Failing:
            def set_state(self, state):
                raise error

        return Failing()

    with monkeypatch.context() as patch:
        patch.setattr(_engine.Engine, "build", build_one_that_fails)
        with pytest.raises(error):
            est.sample(5)
    assert_same(est, fit(X))


def test_metrics_read_while_another_thread_trains(X):
    """Reading them once lost the rows of the call that was under way."""
    est = jspgfn.JSPGFN(n_iter=800, n_jobs=1, random_state=0)
    worker = threading.Thread(target=est.fit, args=(X,))
    worker.start()
    lengths = [0]
    while worker.is_alive():
        if hasattr(est, "_engine"):
            lengths.append(len(est.history_["loss"]))
    worker.join()
    assert lengths == sorted(lengths)
    assert len(est.history_["loss"]) == est.n_iter_ == 800


def test_interrupted_before_training(X, monkeypatch):
    def press_ctrl_c(engine):
        raise KeyboardInterrupt

    est = jspgfn.JSPGFN(n_iter=60, random_state=5)
    with monkeypatch.context() as patch:
        patch.setattr(_engine.Engine, "trainer", property(press_ctrl_c))
        with pytest.raises(KeyboardInterrupt):
            est.fit(X)
    assert est.n_iter_ == 0
    assert len(est.history_["loss"]) == 0
    assert_same(est.resume(), fit(X))


def test_second_ctrl_c_is_not_held_back():
    raised = []
    try:
        with _engine.held_interrupts() as flag:
            signal.raise_signal(signal.SIGINT)
            assert flag.is_set
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
    except KeyboardInterrupt:  # the first one, at the end of the block
        raised.append(True)
    assert raised
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_custom_handler_is_left_alone():
    def handler(number, frame):
        pass

    signal.signal(signal.SIGINT, handler)
    try:
        with _engine.held_interrupts():
            assert signal.getsignal(signal.SIGINT) is handler
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


CTRL_C_PROGRAM = """
import sys, jspgfn
X = jspgfn.simulate.linear_gaussian(n_variables=5, n_samples=50, random_state=0).X
est = jspgfn.JSPGFN(n_iter=10**8, n_jobs=1, random_state=0)
try:
    est.fit(X, callback=lambda est, info: print("fitting", flush=True))
except KeyboardInterrupt:
    print("interrupted", est.n_iter_ > 0, est.sample(3).graphs.shape, flush=True)
"""


@pytest.mark.skipif(os.name != "posix", reason="sends a POSIX signal")
def test_ctrl_c_from_outside():
    process = subprocess.Popen(
        [sys.executable, "-c", CTRL_C_PROGRAM], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "fitting\n"
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert output.replace("fitting\n", "") == "interrupted True (3, 5, 5)\n"
    assert process.returncode == 0


def test_fit_in_another_thread(X):
    fits = []
    thread = threading.Thread(target=lambda: fits.append(fit(X)))
    thread.start()
    thread.join()
    assert_same(fits[0], fit(X))


@pytest.mark.filterwarnings("ignore::jspgfn.TimeBudgetWarning")  # of a busy machine
def test_resume_with_a_new_schedule(X):
    est = fit(X)
    with pytest.raises(
        ValueError, match=r"end of its schedule; give n_iter or max_time"
    ):
        est.resume()
    est.resume(n_iter=30)
    assert est.n_iter_ == 90
    assert (est.history_["phase"][60:] == 1).all()
    est.resume(max_time=0.05)
    assert est.n_iter_ > 90
    with pytest.raises(ValueError, match=r"n_iter must be an integer of at least 1"):
        est.resume(n_iter=0)
    other = fit(X).resume(n_iter=30)
    np.testing.assert_array_equal(est.history_["loss"][:90], other.history_["loss"])


@pytest.mark.filterwarnings("ignore::jspgfn.TimeBudgetWarning")  # of a busy machine
def test_max_time(X):
    started = time.perf_counter()
    est = fit(X, n_iter=None, max_time=0.5)
    assert time.perf_counter() - started > 0.4
    assert est.n_iter_ >= 1
    assert est.history_["progress"][-1] <= 1
    both = fit(X, n_iter=5, max_time=1000.0)
    assert both.n_iter_ == 5


def test_no_time_for_training(X):
    with pytest.warns(
        jspgfn.TimeBudgetWarning, match=r"max_time=1e-06 s was over before"
    ):
        est = fit(X, n_iter=None, max_time=1e-6)
    assert est.n_iter_ == 1


def test_default_schedule_stops_early_or_at_its_end(X, monkeypatch):
    monkeypatch.setattr("jspgfn._training.default_n_iter", lambda n_variables: 400)
    est = fit(X, n_iter=None)
    assert est.n_iter_ in (200, 300, 400)
    recent = est.history_["gap"][-100:].mean()
    assert est._plan.stopped_early or est.n_iter_ == 400
    assert recent < GOOD_GAP or not est._plan.stopped_early
    assert certificate(est._engine.metrics()) == recent
    assert_same(est, fit(X, n_iter=None, n_jobs=1))


def test_early_stop_needs_the_balance_phase():
    rows = np.zeros((150, len(_core.METRICS)))
    assert np.isnan(certificate(rows))
    rows[50:, _core.METRICS.index("phase")] = 1
    assert certificate(rows) == 0
    assert np.isnan(certificate(rows[:140]))
    assert default_n_iter(50) > default_n_iter(5) > 0
    assert Plan(first=10, n_iter=5).last == 15


# --- copies --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "duplicate", [lambda est: pickle.loads(pickle.dumps(est)), copy.deepcopy]
)
def test_copies_draw_and_train_alike(X, duplicate):
    est = fit(X)
    est.sample(3)
    twin = duplicate(est)
    assert_same(est, twin)
    np.testing.assert_array_equal(est.sample(9).coef, twin.sample(9).coef)
    assert_same(est.resume(n_iter=20), twin.resume(n_iter=20))


# --- threads and words ---------------------------------------------------------------


def test_threads():
    assert check_n_jobs(3) == 3
    every = check_n_jobs(-1)
    assert every >= 1
    assert 1 <= check_n_jobs(None) <= every
    if every > 1:
        assert check_n_jobs(-2) == every - 1
    with pytest.raises(ValueError, match=r"n_jobs must be None"):
        check_n_jobs(-every - 1)


def test_openmp_limits_count():
    threadpoolctl = pytest.importorskip("threadpoolctl")
    with threadpoolctl.threadpool_limits(limits=1, user_api="openmp"):
        assert check_n_jobs(None) == 1


def test_silent_by_default(X, capfd):
    fit(X)
    assert capfd.readouterr() == ("", "")


def test_verbose_prints_the_plan(table, capfd):
    est = jspgfn.JSPGFN(n_iter=20, random_state=3, verbose=1)
    est.fit(table, interventions=[None] * 78 + ["age", "mass"])
    output, errors = capfd.readouterr()
    for words in (
        "80 rows, 4 variables, 2 rows with interventions",
        "bge",
        "fair",
        "standardize",
        "all other variables",
        "512 bytes",
        "20 updates",
        "seed 3; about ",  # bytes of training
        "gap of the last 100: not yet known",
    ):
        assert words in output
    assert errors == ""  # no progress bar without a terminal


@pytest.mark.filterwarnings("ignore::jspgfn.CandidatesWarning")
def test_as_many_variables_as_there_may_be(rng):
    X = rng.normal(size=(40, 128))
    graphs = (
        jspgfn.JSPGFN(n_iter=2, candidates=2, random_state=0).fit(X).sample(20).graphs
    )
    for graph in graphs:
        power = graph.astype(np.int64)
        for _ in range(7):
            power = np.minimum(power + power @ power, 1)
        assert not power.trace()


def test_show_config(capfd):
    config = jspgfn.show_config()
    output, _ = capfd.readouterr()
    for key in ("jspgfn", "python", "numpy", "simd", "openmp", "compiler", "threads"):
        assert key in config
        assert key in output
    assert config["jspgfn"] == jspgfn.__version__
