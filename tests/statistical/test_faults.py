"""NaN, concurrent use, fork, and arguments that are not acceptable."""

import multiprocessing
import threading

import numpy as np
import pytest

from checks import as_bytes, make_scores, make_trainer, simulate
from jspgfn import _core
from reference import dags


@pytest.fixture
def trainer():
    return make_trainer(make_scores(simulate(4, 30, seed=1)), n_iter=100)


def float_arrays(state):
    return [
        name
        for name, value in state.items()
        if isinstance(value, np.ndarray)
        and value.dtype == np.float32
        and value.size > 9
    ]


def test_nan_in_the_parameters(trainer):
    trainer.step(10)
    state = trainer.get_state()
    for name in float_arrays(state):
        state[name] = np.full_like(state[name], np.nan)
    trainer.set_state(state)
    with pytest.raises(_core.NumericalError, match=r"10.*(log q|loss|gradient)"):
        trainer.step(5)
    assert trainer.iteration == 10


def test_two_threads_on_one_object():
    trainer = make_trainer(make_scores(simulate(8, 30, seed=1)), n_iter=10**6)
    failures = []
    ready = threading.Barrier(2)

    def work():
        ready.wait()
        try:
            for _ in range(5):
                trainer.step(60)
        except RuntimeError as error:
            failures.append(str(error))

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures
    assert all("thread" in message or "use" in message for message in failures)
    trainer.step(1)


def child(trainer, scores, queue):
    scores.log_reward(as_bytes(dags.enumerate_dags(4)))
    trainer.step(3)
    queue.put(trainer.sample(50, 7, 1)[1])


def test_fork_after_use():
    """With one thread no OpenMP function is called, so a forked child can go on."""
    scores = make_scores(simulate(4, 30, seed=1))
    trainer = make_trainer(scores, n_iter=100)
    trainer.step(20)
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    process = context.Process(target=child, args=(trainer, scores, queue))
    process.start()
    got = queue.get(timeout=60)
    process.join(timeout=60)
    assert process.exitcode == 0
    trainer.step(3)
    np.testing.assert_array_equal(got, trainer.sample(50, 7, 1)[1])


def child_with_threads(trainer, queue):
    trainer.step(3)
    queue.put(trainer.sample(50, 7, 2)[1])


def test_fork_after_a_team_of_threads():
    """A team is gone after a fork; the child must not wait for its threads."""
    trainer = make_trainer(make_scores(simulate(4, 30, seed=1)), n_threads=2)
    trainer.step(20)
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    process = context.Process(target=child_with_threads, args=(trainer, queue))
    process.start()
    try:
        got = queue.get(timeout=60)
    finally:
        process.kill()
    trainer.step(3)
    np.testing.assert_array_equal(got, trainer.sample(50, 7, 2)[1])


def test_batches_beyond_the_numbering_of_walks():
    with pytest.raises(ValueError, match="at most 32767 walks, got 5000"):
        make_trainer(make_scores(simulate(2, 30, seed=1)), batch_size=200_000)


def test_cyclic_graph_has_no_probability(trainer):
    graphs = np.zeros((2, 4, 4), np.uint8)
    graphs[1, 0, 1] = graphs[1, 1, 0] = 1
    log_prob = trainer.log_prob(graphs[:1], 1)
    assert np.isfinite(log_prob).all()
    assert _core.find_cycle(graphs) == 1


@pytest.mark.parametrize(
    "graphs",
    [
        np.zeros((1, 4, 4), np.float64),
        np.zeros((1, 3, 3), np.uint8),
        np.zeros((4, 4), np.uint8),
        np.zeros((2, 4, 8), np.uint8)[:, :, ::2],
        "graph",
    ],
)
def test_arrays_are_checked(trainer, graphs):
    with pytest.raises((TypeError, ValueError)):
        trainer.log_prob(graphs, 1)


def test_empty_batch(trainer):
    assert trainer.log_prob(np.zeros((0, 4, 4), np.uint8), 1).shape == (0,)
    with pytest.raises(ValueError, match="n must be at least 1, got 0"):
        trainer.sample(0, 1, 1)
    with pytest.raises(ValueError, match="n_updates must be at least 1, got 0"):
        trainer.step(0)


def test_one_variable():
    scores = make_scores(np.random.default_rng(1).normal(size=(10, 1)))
    trainer = make_trainer(scores, n_iter=10)
    trainer.step(10)
    graphs, log_q, _ = trainer.sample(5, 1, 1)
    assert not graphs.any()
    np.testing.assert_array_equal(log_q, 0)


def test_no_edges_allowed():
    scores = make_scores(simulate(3, 20, seed=1), max_parents=0)
    trainer = make_trainer(scores, n_iter=10)
    trainer.step(10)
    graphs, log_q, _ = trainer.sample(5, 1, 1)
    assert not graphs.any()
    np.testing.assert_array_equal(log_q, 0)


def test_state_of_another_problem(trainer):
    other = make_trainer(make_scores(simulate(5, 30, seed=1)))
    before = trainer.sample(20, 1, 1)[1]
    with pytest.raises((ValueError, KeyError)):
        trainer.set_state(other.get_state())
    with pytest.raises((ValueError, KeyError)):
        trainer.set_state({})
    np.testing.assert_array_equal(trainer.sample(20, 1, 1)[1], before)


def test_unknown_simd_name():
    with pytest.raises(ValueError, match="sse9"):
        _core.select_simd("sse9")
