"""The same bits for any number of threads, any steps, and after saving the state."""

import numpy as np
import pytest

import jspgfn
from checks import as_bytes, make_scores, make_trainer, simulate
from reference import dags

N_ITER = 60


def fitted(n_threads=1, chunks=(N_ITER,), **changes):
    """A trainer after N_ITER updates and the records of them."""
    scores = make_scores(simulate(6, 40, seed=1), n_threads=n_threads)
    trainer = make_trainer(scores, n_iter=N_ITER, n_threads=n_threads, **changes)
    return trainer, np.concatenate([trainer.step(k) for k in chunks])


def same(first, second):
    """Records, parameters, chains, draws and probabilities agree bit for bit."""
    np.testing.assert_array_equal(first[1], second[1])
    left, right = first[0].parameters(), second[0].parameters()
    assert left.keys() == right.keys()
    for name in left:
        np.testing.assert_array_equal(left[name], right[name], err_msg=name)
    np.testing.assert_array_equal(first[0].chain_graphs(), second[0].chain_graphs())
    for x, y in zip(
        first[0].sample(500, 9, 1), second[0].sample(500, 9, 1), strict=True
    ):
        np.testing.assert_array_equal(x, y)


@pytest.fixture(scope="module")
def plain():
    return fitted()


@pytest.mark.parametrize("n_threads", [2, 3, 8])
def test_number_of_threads(plain, n_threads):
    same(plain, fitted(n_threads))


@pytest.mark.filterwarnings("ignore::jspgfn.CandidatesWarning")
def test_number_of_threads_with_many_variables():
    """Sets of two words and candidate lists."""
    data = jspgfn.simulate.linear_gaussian(n_variables=70, n_samples=50, random_state=0)
    est = [
        jspgfn.JSPGFN("linear", candidates=4, n_iter=12, n_jobs=k, random_state=0)
        for k in (1, 2)
    ]
    one, two = [e.fit(data.X).sample(100, random_state=1) for e in est]
    np.testing.assert_array_equal(est[0].history_["loss"], est[1].history_["loss"])
    for name in ("graphs", "log_prob", "log_reward", "coef"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
    np.testing.assert_array_equal(est[1].log_prob(one.graphs), one.log_prob)


@pytest.mark.parametrize("n_threads", [2, 3, 8])
def test_number_of_threads_when_used(plain, n_threads):
    trainer, _ = plain
    one = trainer.sample(700, 4, 1)
    for x, y in zip(one, trainer.sample(700, 4, n_threads), strict=True):
        np.testing.assert_array_equal(x, y)
    np.testing.assert_array_equal(trainer.log_prob(one[0], n_threads), one[1])


def test_size_of_steps(plain):
    same(plain, fitted(chunks=[1, 2, 7, 25, 25]))


def test_resumed_from_a_state(plain):
    half, first = fitted(chunks=[25])
    fresh = make_trainer(make_scores(simulate(6, 40, seed=1)), n_iter=7)
    fresh.set_state(half.get_state())
    assert fresh.iteration == 25
    same(plain, (fresh, np.concatenate([first, fresh.step(N_ITER - 25)])))


@pytest.mark.filterwarnings("ignore::jspgfn.CandidatesWarning")
def test_resumed_with_many_variables():
    """The larger network."""
    data = jspgfn.simulate.linear_gaussian(n_variables=24, n_samples=50, random_state=0)
    est = jspgfn.JSPGFN("linear", candidates=4, n_iter=1, n_jobs=1, random_state=0)
    scores = est.fit(data.X)._engine.tables.scores
    whole, half, fresh = [make_trainer(scores, n_iter=12) for _ in range(3)]
    expected = whole.step(12)
    first = half.step(5)
    fresh.set_state(half.get_state())
    same((whole, expected), (fresh, np.concatenate([first, fresh.step(7)])))


def test_state_is_a_copy(plain):
    trainer, _ = fitted(chunks=[10])
    state = trainer.get_state()
    kept = {name: np.array(value) for name, value in state.items()}
    trainer.step(5)
    for name, value in state.items():
        np.testing.assert_array_equal(value, kept[name], err_msg=name)


def test_sampling_leaves_training_alone(plain):
    trainer, first = fitted(chunks=[30])
    trainer.sample(100, 1, 2)
    trainer.log_prob(as_bytes(dags.enumerate_dags(3)[:0].reshape(0, 6, 6)), 1)
    same(plain, (trainer, np.concatenate([first, trainer.step(N_ITER - 30)])))


def test_draws_depend_on_seed_and_index_only(plain):
    trainer, _ = plain
    whole = trainer.sample(200, 3, 1)
    tail = trainer.sample(80, 3, 2, 120)
    for x, y in zip(whole, tail, strict=True):
        np.testing.assert_array_equal(x[120:], y)
    assert not np.array_equal(whole[0], trainer.sample(200, 4, 1)[0])


def test_seed_matters(plain):
    other = fitted(seed=2)
    assert not np.array_equal(plain[1], other[1])
