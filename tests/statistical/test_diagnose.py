"""`diagnose` on planted situations: samplers and references with known faults.

At least 19 of the 20 must get the right verdict. Some are built to fool single measures:
a dropped mode leaves the sample size of own draws at 100 %; a chain that is stuck where
the posterior is negligible looks like a missing mode.
"""

import functools

import numpy as np
import pytest

import jspgfn
import planted
from checks import as_bytes, make_trainer
from jspgfn import _diagnose, _reference
from jspgfn._diagnose import MISSING, TRUST, UNEVEN, WEIGHTS

pytestmark = pytest.mark.statistical

N_DRAWS = 5000
PEAKED, ASIA = "d08_peaked_n500_81", "d08_bdeu_asia_n1000"
NIG, INTERVENED, DENSE = "d08_nig_er1_n100", "d08_bge_interv", "d12_linear_er2_n100"


def small_table(change):
    """A sampler over all graphs of four variables; change(graphs, log R) = log q."""
    scores, graphs, log_reward = planted.small()
    return planted.Planted(
        scores, planted.TableSampler(graphs, change(graphs, log_reward))
    )


def noise(size):
    return np.random.default_rng(0).normal(size=size)


def drop_edge(graphs, log_reward):
    return np.where(graphs[:, 2, 1], -np.inf, log_reward)  # 47 % of the posterior


@functools.cache
def exact_sampler(name):
    scores = planted.case_scores(name)
    return planted.Planted(scores, planted.ExactSampler(scores))


def other(name, scores):
    """Draws the posterior of other scores where that of the case is wanted."""
    return planted.Planted(planted.case_scores(name), planted.ExactSampler(scores))


def with_garbage():
    """Good but for one draw in a thousand, hundreds of nats off."""
    scores, graphs, log_reward = planted.small(4, 12)
    anything = planted.TableSampler(graphs, -0.3 * log_reward)
    good = planted.TableSampler(graphs, log_reward)
    return planted.Planted(scores, planted.Mixture(good, anything, 1e-3))


def train(scores, n_updates):
    trainer = make_trainer(
        scores,
        seed=3,
        n_iter=max(n_updates, 1),
        batch_size=32,
        learning_rate=5e-3,
        likelihood_fraction=0.2,
    )
    if n_updates:
        trainer.step(n_updates)
    return trainer


def policy(name, n_updates):
    scores = planted.case_scores(name)
    trainer = train(scores, n_updates)
    return planted.Planted(scores, planted.TrainerSampler(trainer))


def fitted(n_iter):
    sim = jspgfn.simulate.linear_gaussian(n_variables=8, n_samples=100, random_state=1)
    est = jspgfn.JSPGFN(n_iter=n_iter, random_state=0, n_jobs=1)
    return est.fit(sim.X).diagnose(n_draws=N_DRAWS)


def blind_policy(name, n_updates):
    """Trained on scores that hide one direction of an edge."""
    hidden = planted.without_edge(name, 0.5)
    trainer = train(hidden, n_updates)
    return planted.Planted(planted.case_scores(name), planted.TrainerSampler(trainer))


def judge(engine, reference="auto"):
    return _diagnose.diagnose(engine, N_DRAWS, (1, 2), None, reference)


def judge_chains(engine, chains, edges, r_hat):
    own = _reference.collect_own(engine, N_DRAWS, 1, _reference.Clock(None))
    reference = planted.reference_of(engine, chains, edges, r_hat)
    return _diagnose.compare(own, reference)


def lost_chain():
    """Three chains at the posterior, one in a region of negligible probability, which the
    sampler never draws."""
    exact = exact_sampler(DENSE)
    edges = exact.sampler.exact.edges()
    i, j = np.unravel_index(np.argmin(edges + np.eye(12)), edges.shape)
    assert edges[i, j] < _diagnose.NEGLIGIBLE
    odds = np.zeros_like(edges)
    odds[i, j] = np.inf
    stuck = planted.ExactSampler(planted.with_odds(DENSE, odds))
    graphs = exact.sampler.sample(4000, 5, 0).reshape(4, 1000, 12, 12).copy()
    region = stuck.sample(1000, 5, 0)
    order = np.argsort(-stuck.log_prob(region))[
        :50
    ]  # hardly moves: 50 graphs over and over
    graphs[3] = np.tile(region[order], (20, 1, 1))
    odds[i, j] = -np.inf
    sampler = other(DENSE, planted.with_odds(DENSE, odds))
    return judge_chains(sampler, graphs, graphs.mean(axis=(0, 1)), 3.0)


def one_chain_in_the_mode():
    """The sampler lacks a mode, and one chain of four sits in it."""
    sampler = other(PEAKED, planted.without_edge(PEAKED, 0.5))
    exact = exact_sampler(PEAKED).sampler
    everywhere = exact.sample(8000, 5, 0)
    in_mode = ~np.isfinite(sampler.sampler.log_prob(everywhere))
    chains = np.stack(
        [everywhere[~in_mode][k * 800 : (k + 1) * 800] for k in range(3)]
        + [everywhere[in_mode][:800]]
    )
    return judge_chains(sampler, chains, chains.mean(axis=(0, 1)), 3.0)


def unbalanced_chain():
    """A good sampler; one chain of four stays in one of the modes."""
    exact = exact_sampler(PEAKED)
    graphs = exact.sampler.sample(8000, 5, 0)
    i, j = np.unravel_index(
        np.argmin(np.abs(exact.sampler.exact.edges() - 0.5)), (8, 8)
    )
    one_mode = graphs[graphs[:, i, j] == 1][:1000]
    chains = np.stack([graphs[:1000], graphs[1000:2000], graphs[2000:3000], one_mode])
    return judge_chains(exact, chains, chains.mean(axis=(0, 1)), 1.4)


def blind_chains():
    """A good sampler; all chains agree on one mode and have never seen the other."""
    exact = exact_sampler(PEAKED)
    graphs = exact.sampler.sample(8000, 5, 0)
    i, j = np.unravel_index(
        np.argmin(np.abs(exact.sampler.exact.edges() - 0.5)), (8, 8)
    )
    chains = graphs[graphs[:, i, j] == 1][:3200].reshape(4, 800, 8, 8)
    return judge_chains(exact, chains, chains.mean(axis=(0, 1)), 1.0)


SITUATIONS = {
    "good": (lambda: judge(small_table(lambda g, r: r)), {TRUST}),
    "nearly good": (
        lambda: judge(small_table(lambda g, r: r + 0.1 * noise(len(r)))),
        {TRUST},
    ),
    "slightly off": (
        lambda: judge(small_table(lambda g, r: r + 0.6 * noise(len(r)))),
        {WEIGHTS},
    ),
    "too hot": (lambda: judge(small_table(lambda g, r: r / 2)), {WEIGHTS}),
    "dropped mode, sample size 100 %": (
        lambda: judge(small_table(drop_edge)),
        {MISSING},
    ),
    "rare catastrophes": (lambda: judge(with_garbage()), {TRUST}),
    "good, peaked": (lambda: judge(exact_sampler(PEAKED)), {TRUST}),
    "dropped mode, peaked": (
        lambda: judge(other(PEAKED, planted.without_edge(PEAKED, 0.5))),
        {MISSING},
    ),
    "dropped mode of a tenth": (
        lambda: judge(other(ASIA, planted.without_edge(ASIA, 0.1))),
        {MISSING},
    ),
    "slightly off, discrete": (
        lambda: judge(other(ASIA, planted.with_odds(ASIA, planted.noisy_odds(8, 0.3)))),
        {WEIGHTS},
    ),
    "far off": (
        lambda: judge(other(NIG, planted.with_odds(NIG, planted.noisy_odds(8, 1.0)))),
        {UNEVEN},
    ),
    "half of the rows": (
        lambda: judge(other(INTERVENED, planted.case_scores(INTERVENED, rows=70))),
        {UNEVEN, MISSING},
    ),
    "rows twice": (
        lambda: judge(other(NIG, planted.case_scores(NIG, rows=200))),
        {UNEVEN, MISSING},
    ),
    "untrained": (lambda: fitted(1), {UNEVEN, MISSING}),
    "trained": (lambda: fitted(600), {TRUST}),
    "trained without a mode": (lambda: judge(blind_policy(NIG, 300)), {MISSING}),
    "dropped mode, seen by chains": (
        lambda: judge(other(DENSE, planted.without_edge(DENSE, 0.3)), "chains"),
        {MISSING},
    ),
    "good, one chain lost": (lost_chain, {TRUST}),
    "dropped mode, seen by one chain": (one_chain_in_the_mode, {MISSING}),
    "good, one chain unbalanced": (unbalanced_chain, {TRUST}),
}


def test_planted_situations():
    assert len(SITUATIONS) == 20
    wrong = {
        name: verdict
        for name, (report, right) in SITUATIONS.items()
        if (verdict := report().verdict) not in right
    }
    assert len(wrong) <= 1, wrong


def test_chains_that_agree_can_be_wrong():
    report = blind_chains()
    assert report.verdict == TRUST
    assert "missed a mode" in report.reasons[0]


def test_sample_size_of_own_draws_is_blind():
    """The measure that others report alone says 100 % with half of the posterior gone."""
    report = judge(small_table(drop_edge))
    assert report.ess_reverse > 0.999
    assert report.ess_forward < 1e-3
    assert report.missing > 0.4
    assert report.total_variation > 0.4
    assert report.log_partition_sampled < report.log_partition - 0.5


def test_figures_against_sums_over_all_graphs():
    _, graphs, log_reward = planted.small()
    engine = small_table(lambda g, r: r + 0.5 * noise(len(r)))
    log_Z = np.logaddexp.reduce(log_reward)
    log_p, log_q = log_reward - log_Z, engine.sampler.table
    p, q = np.exp(log_p), np.exp(log_q)
    for reference in ("exact", "chains"):
        report = _diagnose.diagnose(engine, 20_000, (1, 2), None, reference)
        assert report.reference == reference
        error = 0.01 if reference == "exact" else 0.03
        assert abs(report.log_partition - log_Z) < (1e-9 if error == 0.01 else 0.02)
        assert abs(report.log_partition_sampled - log_Z) < 0.02
        assert abs(report.kl_reverse - (q * (log_q - log_p)).sum()) < error
        assert abs(report.kl_forward - (p * (log_p - log_q)).sum()) < error
        assert abs(report.total_variation - np.abs(p - q).sum() / 2) < error
        size = 1 / (p * p / q).sum()
        assert abs(report.ess_reverse - size) < 0.03
        assert abs(report.ess_forward - size) < 0.05
        edges = np.einsum("s,sij->ij", p, graphs)
        np.testing.assert_allclose(report.edges_reference, edges, atol=error)
        np.testing.assert_allclose(report.edges_weighted, edges, atol=0.02)
        shifted = np.abs(np.einsum("s,sij->ij", q, graphs) - edges).max()
        assert abs(report.edge_error - shifted) < 0.02
        assert report.elbo < report.log_partition < report.eubo


def test_same_report_at_every_call():
    first, second = (judge(policy(NIG, 20), "chains") for _ in range(2))
    assert str(first) == str(second)
    np.testing.assert_array_equal(first.edges_reference, second.edges_reference)
    assert as_bytes(first.edges > 0.5).shape == (8, 8)


# --- too little time -------------------------------------------------------------------


class Slow(planted.Planted):
    """Two milliseconds for a draw and for log q of a graph, on a clock of its own."""

    now = 0.0

    def perf_counter(self):
        return self.now

    def draw(self, n, seed, first_draw):
        self.now += 0.002 * n
        return super().draw(n, seed, first_draw)

    def log_prob(self, graphs):
        self.now += 0.002 * len(graphs)
        return super().log_prob(graphs)


def judge_in_time(engine, max_time, reference, monkeypatch):
    slow = Slow(engine.tables.scores, engine.sampler)
    monkeypatch.setattr(_reference, "time", slow)
    report = _diagnose.diagnose(slow, N_DRAWS, (1, 2), max_time, reference)
    return report, slow.now


@pytest.mark.parametrize("reference", ["exact", "chains"])
def test_the_time_is_shared_out(reference, monkeypatch):
    engine = small_table(lambda g, r: r + 0.6 * noise(len(r)))
    report, seconds = judge_in_time(engine, 10.0, reference, monkeypatch)
    assert report.verdict == WEIGHTS
    assert 1100 <= report.n_draws <= 1260  # a quarter of the time
    if reference == "chains":
        assert 1400 <= report.n_reference <= 1500  # 0.3 of it
        assert seconds < 10


@pytest.mark.parametrize("reference", ["exact", "chains"])
def test_no_verdict_by_too_few_draws(reference, monkeypatch):
    """More time would show that the weights are even enough."""
    engine = small_table(lambda g, r: np.zeros_like(r))  # all graphs alike: 8 %
    report, _ = judge_in_time(engine, 0.1, reference, monkeypatch)
    assert report.verdict == _diagnose.FEW_DRAWS
    assert report.n_draws == _reference.FEWEST
    assert "allow more max_time" in report.reasons[-1]
    good, _ = judge_in_time(small_table(lambda g, r: r), 0.1, reference, monkeypatch)
    assert good.verdict == TRUST
    no_time_would_do = other(NIG, planted.with_odds(NIG, planted.noisy_odds(8, 1.0)))
    far, _ = judge_in_time(no_time_would_do, 0.1, reference, monkeypatch)
    assert far.verdict in (UNEVEN, MISSING)


@pytest.mark.parametrize("seed", range(10))
def test_no_trust_without_a_mode_however_little_the_time(seed, monkeypatch):
    """5 % of the posterior, without weights that could show it."""
    engine = small_table(lambda g, r: np.where(g[:, 0, 2] == 1, -np.inf, r))
    slow = Slow(engine.tables.scores, engine.sampler)
    monkeypatch.setattr(_reference, "time", slow)
    report = _diagnose.diagnose(slow, N_DRAWS, (seed, 50 + seed), 1e-9, "exact")
    assert report.verdict == MISSING


def test_rare_draws_of_a_mode_are_uneven_weights():
    """A fifth of the posterior at 1 % of its rate: weighted edges are off by 0.1."""
    verdicts = []
    for seed in range(20):
        rarely = small_table(lambda g, r: np.where(g[:, 3, 1] == 1, r - np.log(100), r))
        report = _diagnose.diagnose(rarely, N_DRAWS, (seed, 50 + seed), None, "exact")
        verdicts.append(report.verdict)
        assert report.verdict != TRUST
        if report.edge_error_weighted > _diagnose.LARGEST_WEIGHTED_ERROR:
            assert report.verdict in (UNEVEN, MISSING)
    assert UNEVEN in verdicts


def test_edges_that_no_draw_has_are_uncertain():
    """All draws of a small share of the posterior: counts of 0 and of n."""
    _, graphs, log_reward = planted.small()
    log_p = log_reward - np.logaddexp.reduce(log_reward)
    edges = np.einsum("s,sij->ij", np.exp(log_p), graphs)
    own = _reference.collect_own(
        small_table(lambda g, r: r), 100, 3, _reference.Clock(None)
    )
    assert (own.edges_error[~np.eye(4, dtype=bool)] > 0).all()
    for found, error in [
        (own.edges, own.edges_error),
        (own.edges_weighted, own.edges_weighted_error),
    ]:
        assert (np.abs(found - edges) <= 4 * error).all()
        assert error.min() == pytest.approx(_reference.NEVER_SEEN / 100, rel=1e-6)


# --- chains on their way to the posterior ---------------------------------------------


def split_posterior(share):
    """Graphs of four variables, log P, and which are the least likely, this share of P."""
    scores, graphs, log_reward = planted.small()
    log_p = log_reward - np.logaddexp.reduce(log_reward)
    order = np.argsort(log_p)
    below = np.zeros(len(graphs), bool)
    below[order[np.cumsum(np.exp(log_p[order])) < share]] = True
    assert below.sum() > 20
    return scores, graphs, log_p, below


class Walks:
    """States of chains that are draws of P on sets of graphs, one after the other."""

    def __init__(self, engine, graphs, log_p):
        self.engine, self.graphs, self.log_p = engine, graphs, log_p
        self.rng = np.random.default_rng(7)

    def chain(self, *stretches):
        """(set of graphs, states) and so on."""
        parts = []
        for where, n in stretches:
            p = np.where(where, np.exp(self.log_p), 0.0)
            parts.append(self.graphs[self.rng.choice(len(p), n, p=p / p.sum())])
        return np.concatenate(parts)

    def judged(self, *chains):
        """The reference that chains like these are, and the diagnosis."""
        own = _reference.collect_own(self.engine, N_DRAWS, 1, _reference.Clock(None))
        graphs = np.stack(chains)
        n_chains, n = graphs.shape[:2]
        batches = graphs.reshape(n_chains, 50, n // 50, 4, 4).sum(axis=2).astype(float)
        candidates = self.engine.tables.settings["candidates"]
        states = np.zeros((n_chains, n, 4), np.uint32)
        for node, parents in enumerate(candidates):
            for bit, parent in enumerate(parents):
                states[:, :, node] |= (
                    graphs[:, :, parent, node].astype(np.uint32) << bit
                )
        record = _reference.Record(
            rounds=np.full(50, n // 50),
            counts=batches,
            sums=batches,
            states=states,
            burn_in=_reference.BURN_IN,
        )
        reference = _reference.after_arrival(self.engine, own, record)
        return reference, _diagnose.compare(own, reference)


def walks(share, lacks=None):
    """Walks, and sets of graphs: all, the least likely, those that the sampler lacks."""
    scores, graphs, log_p, below = split_posterior(share)
    lacking = (
        np.zeros(len(graphs), bool) if lacks is None else lacks(graphs, log_p, below)
    )
    log_q = np.where(lacking, log_p - 15.0, log_p)
    engine = planted.Planted(scores, planted.TableSampler(graphs, log_q))
    return Walks(engine, graphs, log_p), np.ones_like(below), below, lacking


def test_the_way_of_a_chain_is_left_out():
    chains, everywhere, below, _ = walks(0.001)
    there = [chains.chain((everywhere, 2000)) for _ in range(2)]
    late = chains.chain((below, 1000), (everywhere, 1000))
    never = chains.chain((below, 2000))
    reference, report = chains.judged(*there, late, never)
    assert reference.n_lost == 1
    assert 0.28 < reference.way < 0.36  # 0.2 of the states that follow the first 0.3
    assert report.verdict == TRUST
    assert "1 of 4 chains" in report.reasons[0]
    assert report.missing < 0.01
    assert reference.mixed


@pytest.mark.parametrize("n_there", [0, 1])
def test_no_verdict_before_chains_have_arrived(n_there):
    chains, everywhere, below, _ = walks(0.001)
    there = [chains.chain((everywhere, 2000)) for _ in range(n_there)]
    never = [chains.chain((below, 2000)) for _ in range(4 - n_there)]
    _, report = chains.judged(*there, *never)
    assert report.verdict == _diagnose.UNDER_WAY
    assert f"{4 - n_there} of 4 chains" in report.reasons[0]


def test_modes_that_the_sampler_lacks_are_no_way():
    """Chains that visit the mode early, with dips into what the sampler knows well."""
    chains, everywhere, below, mode = walks(
        0.003, lambda graphs, log_p, below: (graphs[:, 2, 1] == 1) & ~below
    )
    known = everywhere & ~mode
    there = [chains.chain((known, 2000)) for _ in range(2)]
    dips = [
        chains.chain((mode, 1200), (below, 100), (mode, 700)),
        chains.chain((mode, 600), (below, 800), (mode, 600)),
    ]
    reference, report = chains.judged(*there, *dips)
    assert reference.n_lost == 0
    assert reference.way == 0
    assert report.verdict == MISSING
    moved = [chains.chain((mode, 1300), (known, 700)) for _ in range(3)]
    dip = chains.chain((mode, 1300), (below, 100), (known, 600))
    assert chains.judged(*moved, dip)[1].verdict == MISSING


def test_unlikely_graphs_that_the_sampler_lacks_are_no_way():
    """It lacks the least likely 40 % of the posterior but for the lowest of them."""

    def low(graphs, log_p, below):
        return below & (log_p > np.median(log_p[below]))

    chains, everywhere, below, lacking = walks(0.4, low)
    lowest = below & ~lacking
    there = [chains.chain((everywhere & ~below, 2000)) for _ in range(2)]
    slow = [
        chains.chain((lacking, 1200), (lowest, 200), (lacking, 600)) for _ in range(2)
    ]
    reference, report = chains.judged(*there, *slow)
    assert reference.n_lost == 0
    assert report.verdict == MISSING


def test_edges_are_compared_after_a_chain_was_left_out():
    chains, everywhere, below, _ = walks(0.001)
    graphs, log_p = chains.graphs, chains.log_p
    log_q = np.where(graphs[:, 2, 1] == 1, log_p - 0.9, log_p)
    chains.engine.sampler = planted.TableSampler(graphs, log_q)
    there = [chains.chain((everywhere, 2000)) for _ in range(3)]
    reference, report = chains.judged(*there, chains.chain((below, 2000)))
    assert reference.n_lost == 1
    assert report.verdict == WEIGHTS
