"""StructureMCMC: settings, budgets, results in the data's units, bits, copies."""

import pickle
import threading
import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

import jspgfn
from checks import make_scores, simulate
from jspgfn import _core
from jspgfn._mcmc import COLD_MOVES, default_n_moves, default_temperatures
from jspgfn._mixing import Record, split_r_hat

N_MOVES = 2_000_000

pytestmark = pytest.mark.filterwarnings("ignore::jspgfn.NotMixedWarning")


def table(D=4, n=80, seed=0):
    return jspgfn.simulate.linear_gaussian(
        n_variables=D, n_samples=n, random_state=seed
    ).X


def fit(X=None, **settings):
    settings = {"n_moves": N_MOVES, "n_jobs": 1, "random_state": 0, **settings}
    return jspgfn.StructureMCMC(**settings).fit(table() if X is None else X)


@pytest.fixture(scope="module")
def chain():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return fit(n_moves=20_000_000)


# --- settings ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_chains": 0}, "n_chains must be an integer of at least 1"),
        ({"n_temperatures": 65}, "n_temperatures .* at most 64, got 65"),
        ({"temperature_ratio": 1.0}, "temperature_ratio must be below 1"),
        ({"temperature_ratio": 0.0}, "temperature_ratio .* above 0"),
        ({"burn_in": 1.0}, "burn_in must be below 1"),
        ({"burn_in": -0.1}, "burn_in .* at least 0"),
        ({"n_moves": 0}, "n_moves .* at least 1"),
        ({"max_time": 0}, "max_time .* above 0"),
        ({"model": "cubic"}, "model"),
    ],
)
def test_refusals(settings, message):
    with pytest.raises(ValueError, match=message):
        fit(**settings)


def test_no_log_prob():
    with pytest.raises(NotImplementedError, match="log_reward gives"):
        jspgfn.StructureMCMC().log_prob([[0, 1], [0, 0]])


def test_bad_data_is_refused_before_any_work():
    X = table()
    X[3, 1] = np.nan
    with pytest.raises(ValueError, match="x1"):
        fit(X)


def test_default_temperatures():
    assert default_temperatures(3) == default_temperatures(12) == (20, 0.7)
    n, ratio = default_temperatures(48)
    assert n == 40
    assert ratio**2 == pytest.approx(0.7)  # half the step, the same range
    assert default_temperatures(128)[0] == 64


def test_default_budget():
    assert default_n_moves(8) == 114_000_000
    assert default_n_moves(20) == 450_000_000


# --- budgets -------------------------------------------------------------------------


def test_moves_are_rounded_up_to_whole_rounds():
    chain = fit(n_moves=1, n_temperatures=1, n_chains=3)
    assert chain.n_moves_ == 3 * COLD_MOVES
    chain = fit(n_moves=3 * COLD_MOVES + 1, n_temperatures=1, n_chains=3)
    assert chain.n_moves_ == 6 * COLD_MOVES


def test_max_time_ends_a_fit():
    chain = fit(n_moves=None, max_time=0.2)
    assert chain.n_moves_ > 0
    before = chain.n_moves_
    chain.resume(max_time=0.1)
    assert chain.n_moves_ > before


def test_a_tiny_budget_leaves_a_usable_chain():
    chain = fit(n_moves=1)
    assert not chain.diagnostics().mixed
    assert "too short" in chain.diagnostics().verdict
    assert len(chain.sample(5)) == 5
    assert np.isfinite(chain.edge_probabilities()).all()


def test_resume_gives_the_bits_of_one_run():
    whole = fit(n_moves=2 * N_MOVES)
    rounds = whole.diagnostics().n_rounds
    per_round = whole.n_moves_ // rounds
    parts = fit(n_moves=7 * per_round).resume(n_moves=(rounds - 7) * per_round)
    assert parts.n_moves_ == whole.n_moves_
    assert np.array_equal(parts.edge_probabilities(), whole.edge_probabilities())
    assert np.array_equal(
        parts.sample(50, random_state=1).graphs,
        whole.sample(50, random_state=1).graphs,
    )


def test_resume_needs_a_budget(chain):
    with pytest.raises(ValueError, match="n_moves or max_time"):
        chain.resume()


@pytest.mark.parametrize("n_jobs", [2, 3, 8])
def test_threads_do_not_change_bits(n_jobs):
    one, many = fit(), fit(n_jobs=n_jobs)
    assert np.array_equal(one.edge_probabilities(), many.edge_probabilities())
    assert np.array_equal(
        one.sample(20, random_state=3).coef, many.sample(20, random_state=3).coef
    )


def test_seeds():
    first, again, other = fit(), fit(), fit(random_state=1)
    assert np.array_equal(first.edge_probabilities(), again.edge_probabilities())
    assert not np.array_equal(first.edge_probabilities(), other.edge_probabilities())
    assert first.random_seed_ == 0


# --- results -------------------------------------------------------------------------


def test_sample(chain):
    post = chain.sample(300, random_state=0)
    assert post.graphs.shape == (300, 4, 4)
    assert post.log_prob is None
    assert np.array_equal(post.weights, np.full(300, 1 / 300))
    assert np.array_equal(post.coef != 0, post.graphs)
    assert np.allclose(chain.log_reward(post.graphs), post.log_reward)


def test_samples_go_on_and_can_be_repeated(chain):
    one, two = chain.sample(100), chain.sample(100)
    assert not np.array_equal(one.graphs, two.graphs)
    again = chain.sample(100, random_state=5)
    assert np.array_equal(again.graphs, chain.sample(100, random_state=5).graphs)


def test_states_repeat_only_beyond_the_store(chain):
    kept = chain._record.kept_states()
    n = len(kept)
    everything = chain.sample(n, random_state=0).graphs
    graphs = jspgfn._mixing.graphs_of_states(kept, chain.candidates_)
    assert np.allclose(everything.mean(axis=0), graphs.mean(axis=0))
    assert len(chain.sample(2 * n + 1)) == 2 * n + 1


def test_draws_and_edge_probabilities_agree(chain):
    probability, error = chain.edge_probabilities(standard_error=True)
    drawn = chain.sample(4000, random_state=0).edge_probabilities()
    assert np.abs(drawn - probability).max() < 0.05
    assert (np.diag(probability) == 0).all()
    assert (error >= 0).all()
    assert error.max() < 0.02


def test_labels():
    X = pd.DataFrame(table(3), columns=["a", "b", "c"])
    chain = fit(X)
    edges, error = chain.edge_probabilities(standard_error=True)
    assert list(edges.index) == ["a", "b", "c"] == list(error.columns)
    assert edges.index.name == "parent"
    assert chain.sample(5).feature_names == ["a", "b", "c"]


def test_candidates_and_parent_limit():
    chain = fit(candidates={0: [1], 1: [], 2: [0, 1, 3]}, max_parents=1)
    graphs = chain.sample(500).graphs
    assert graphs.sum(axis=1).max() == 1
    assert not graphs[:, :, 1].any()
    assert not graphs[:, 2:, 0].any()
    edges = chain.edge_probabilities()
    assert edges[:, 1].sum() == 0
    assert edges[1, 0] > 0


def test_one_variable():
    chain = fit(table(1))
    assert chain.edge_probabilities().shape == (1, 1)
    assert chain.sample(3).coef.shape == (3, 1, 1)


# --- diagnostics ---------------------------------------------------------------------


def test_report(chain):
    report = chain.diagnostics()
    assert report.mixed
    assert "verdict" in str(report)
    assert report.verdict in str(report)
    assert report.swap_rates.shape == (19,)
    assert report.acceptance.shape == (20,)
    assert ((report.swap_rates > 0) & (report.swap_rates <= 1)).all()
    assert ((report.acceptance > 0) & (report.acceptance <= 1)).all()
    assert report.acceptance[-1] > report.acceptance[0]
    assert report.ess_min > 100
    assert report.n_moves == chain.n_moves_


def test_plain_and_single_chains_say_what_they_cannot_see():
    plain = fit(n_moves=20_000_000, n_temperatures=1).diagnostics()
    assert plain.mixed
    assert "plain chains" in plain.verdict
    assert "one temperature" in str(plain)
    alone = fit(n_moves=20_000_000, n_chains=1).diagnostics()
    assert "one chain" in alone.verdict


def test_split_r_hat():
    def of(*means):
        return split_r_hat(np.array(means).reshape(-1, 2, 1, 1))[0, 0]

    assert of(0.5, 0.5, 0.5, 0.5) == 1
    assert of(0, 0, 0, 0) == 1
    assert of(0, 0, 1, 1) == np.inf
    # within 0.16, between (0.2, 0.2, 0.8, 0.8) = 0.12
    assert of(0.2, 0.2, 0.8, 0.8) == pytest.approx((1 + 0.12 / 0.16) ** 0.5)


def test_burn_in_is_cut_off():
    rounds = np.array([4, 4, 4, 4, 2])
    sums = np.arange(5.0).reshape(1, 5, 1, 1)
    states = np.arange(10, dtype=np.uint32).reshape(1, 10, 1)
    record = Record(rounds, sums, sums, states, {}, burn_in=0.5)
    assert record.first_batch == 2  # 8 of 18 rounds
    assert record.edges() == (2 + 3 + 4) / 10
    assert record.kept_states().ravel().tolist() == [5, 6, 7, 8, 9]
    assert record.stretches(sums, 2).ravel().tolist() == [2 / 4, 3 / 4]
    record.burn_in = 0.0
    assert record.edges() == 10 / 18
    assert record.stretches(sums, 2).ravel().tolist() == [1 / 8, 5 / 8]


def test_warns_when_not_mixed():
    with pytest.warns(jspgfn.NotMixedWarning, match="not mixed"):
        fit(n_moves=100_000)


# --- copies, interruption, threads ---------------------------------------------------


def test_pickle_keeps_results(chain):
    copy = pickle.loads(pickle.dumps(chain))
    assert np.array_equal(copy.edge_probabilities(), chain.edge_probabilities())
    assert np.array_equal(
        copy.sample(20, random_state=2).coef, chain.sample(20, random_state=2).coef
    )
    assert copy.diagnostics().verdict == chain.diagnostics().verdict


@pytest.mark.filterwarnings("ignore::jspgfn.NotMixedWarning")
@pytest.mark.parametrize("n_rounds", [1, 37], ids=lambda n: f"{n} rounds")
@pytest.mark.parametrize("way", ["pickle", "file"])
def test_copies_go_on_to_the_same_bits(n_rounds, way, tmp_path):
    settings = {"n_temperatures": 3, "n_chains": 3}
    whole = fit(n_moves=1, **settings)
    per_round = whole.n_moves_
    part = fit(n_moves=per_round * n_rounds, **settings)
    whole.resume(n_moves=per_round * (n_rounds - 1 + 50))
    if way == "pickle":
        copy = pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(part))))
    else:
        part.save(tmp_path / "chains")
        jspgfn.load(tmp_path / "chains").save(tmp_path / "chains")
        copy = jspgfn.load(tmp_path / "chains")
    copy.resume(n_moves=per_round * 20).resume(n_moves=per_round * 30)
    assert copy.n_moves_ == whole.n_moves_
    for name, values in vars(whole._record).items():
        if name != "counters":
            np.testing.assert_array_equal(getattr(copy._record, name), values)
    for name, values in whole._record.counters.items():
        np.testing.assert_array_equal(copy._record.counters[name], values)
    for one, other in zip(
        whole._chains.replicas(), copy._chains.replicas(), strict=True
    ):
        np.testing.assert_array_equal(one, other)


@pytest.mark.filterwarnings("ignore::jspgfn.NotMixedWarning")
def test_stored_states_thin_out_after_a_copy_as_without(monkeypatch):
    monkeypatch.setattr(jspgfn._mcmc, "N_STORED", 8)
    monkeypatch.setattr(jspgfn._mcmc, "N_BATCHES", 4)
    settings = {"n_temperatures": 2, "n_chains": 2}
    per_round = fit(n_moves=1, **settings).n_moves_
    whole = fit(n_moves=60 * per_round, **settings)
    for n_rounds in range(1, 40):
        part = fit(n_moves=n_rounds * per_round, **settings)
        copy = pickle.loads(pickle.dumps(part))
        copy.resume(n_moves=(60 - n_rounds) * per_round)
        np.testing.assert_array_equal(copy._record.states, whole._record.states)
        np.testing.assert_array_equal(copy._record.sums, whole._record.sums)


@pytest.mark.filterwarnings("ignore::jspgfn.NotMixedWarning")
def test_states_of_other_chains_are_refused():
    part = fit(n_moves=200_000, n_temperatures=3, n_chains=2)
    replicas, heading = part._chains.replicas()
    changes = {
        "rounds": part._record.rounds + 1,
        "states": part._record.states[:1],
        "replicas": np.full_like(replicas, 1 << 20),
        "heading": heading + np.int8(5),
        "round_trips": np.zeros(3, np.int64),
        "thinning": 1 << 20,
    }
    cyclic = replicas.copy()
    cyclic[0, 0] = [(1 << len(parents)) - 1 for parents in part.candidates_]
    for name, value in [*changes.items(), ("replicas", cyclic)]:
        copy = pickle.loads(pickle.dumps(part))
        real = copy._make_chains

        class Chains:
            def restore(self, name=name, value=value, real=real, **state):
                real().restore(**{**state, name: value})

        copy._make_chains = Chains
        with pytest.raises(
            ValueError, match="of the chains belongs to another problem"
        ):
            copy.resume(n_moves=1)


def test_clone_and_parameters(chain):
    copy = clone(chain)
    assert copy.get_params() == chain.get_params()
    assert not hasattr(copy, "n_moves_")


def test_verbose(capsys):
    fit(verbose=1)
    printed = capsys.readouterr().out
    assert "4 with 20 temperatures" in printed
    assert "split R-hat" in printed


def make_chains(**changes):
    scores = make_scores(simulate(4, 60, 0))
    settings = {
        "n_chains": 2,
        "n_temperatures": 3,
        "ratio": 0.5,
        "cold_moves": 100,
        "hot_moves": 50,
        "n_batches": 8,
        "n_stored": 16,
        "seed": 1,
        "n_threads": 1,
    }
    return _core.Chains(scores, **{**settings, **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_batches": 3}, "even"),
        ({"ratio": 1.0}, "ratio"),
        ({"n_threads": 0}, "n_threads"),
        ({"cold_moves": 0}, "cold_moves"),
    ],
)
def test_core_refusals(changes, message):
    with pytest.raises(ValueError, match=message):
        make_chains(**changes)


def test_core_shapes():
    chains = make_chains()
    chains.step(21)
    rounds, counts, sums = chains.batches()
    assert rounds.sum() == 21
    assert counts.shape == sums.shape == (2, len(rounds), 4, 4)
    assert (counts <= rounds[:, None, None]).all()
    states = chains.states()
    counters = chains.counters()
    assert states.shape == (2, 20 // counters["thinning"] + 1, 4)
    assert counters["n_rounds"] == 21
    assert counters["tried_swaps"].sum(axis=1).tolist() == [21, 21]
    with pytest.raises(ValueError, match="n_rounds"):
        chains.step(0)


def test_one_call_at_a_time():
    chains = make_chains(cold_moves=1000)
    started = threading.Event()

    def run():
        started.set()
        chains.step(20_000)

    worker = threading.Thread(target=run)
    worker.start()
    started.wait()
    refused = False
    while worker.is_alive() and not refused:
        try:
            chains.counters()
        except RuntimeError as error:
            refused = "in use by another thread" in str(error)
    worker.join()
    assert refused
    assert chains.counters()["n_rounds"] == 20_000


def test_interruption_leaves_a_usable_chain(monkeypatch):
    from jspgfn import _mcmc

    class Interrupted:
        is_set = True

        def __enter__(self):
            return self

        def __exit__(self, *error):
            raise KeyboardInterrupt

    monkeypatch.setattr(_mcmc, "held_interrupts", Interrupted)
    chain = jspgfn.StructureMCMC(n_moves=N_MOVES, n_jobs=1, random_state=0)
    with pytest.raises(KeyboardInterrupt):
        chain.fit(table())
    assert len(chain.sample(3)) == 3
    monkeypatch.undo()
    rest = N_MOVES - chain.n_moves_
    assert np.array_equal(
        chain.resume(n_moves=rest).edge_probabilities(), fit().edge_probabilities()
    )
