"""StructureMCMC: edges and draws from tempered Markov chains on score tables."""

from __future__ import annotations

import math
import time
import warnings
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from . import _core
from ._base import ScoreEstimator
from ._engine import SECONDS_PER_CALL, UNLIMITED, held_interrupts
from ._exceptions import NotMixedWarning
from ._mixing import (
    ChainDiagnostics,
    Record,
    describe_verdict,
    find_trouble,
    graphs_of_states,
    split_r_hat,
)
from ._models import Model
from ._posterior import Posterior
from ._progress import progress_bar
from ._streams import STREAM_FIT, STREAM_GRAPHS, stream_seed
from ._validation import check_integer, check_memory, check_real

Floats = NDArray[np.float64]

# Moves of a round: half of them at the posterior itself, which is what counts, half
# shared by the hotter replicas, which only have to travel.
COLD_MOVES = 500
MOVES_PER_HOT_SHARE = 500

# Room of each chain, halved when full (csrc/dag/jsp_mcmc.h).
N_BATCHES = 64
N_STORED = 4096


def default_temperatures(n_variables: int) -> tuple[int, float]:
    """Number of replicas and ratio of neighbours.

    log reward varies like the square root of D, and swaps are accepted while it varies
    by little between neighbours, so the steps become smaller and their number larger.
    """
    finer = math.sqrt(max(n_variables, 12) / 12)
    return min(round(20 * finer), 64), 0.7 ** (1 / finer)


def default_n_moves(n_variables: int) -> int:
    """Moves of all chains and temperatures when no budget is given."""
    return 50_000_000 + 1_000_000 * n_variables**2


def moves_per_round(settings: dict[str, Any]) -> int:
    """Of all chains and temperatures."""
    hot = settings["hot_moves"] * (settings["n_temperatures"] - 1)
    return int(settings["n_chains"] * (settings["cold_moves"] + hot))


def check_budget(
    settings: dict[str, Any], n_moves: object, max_time: object
) -> tuple[int, float | None]:
    """Rounds and wall seconds."""
    seconds = None if max_time is None else check_real("max_time", max_time, above=0)
    if n_moves is None:
        return UNLIMITED, seconds
    checked = check_integer("n_moves", n_moves, at_least=1)
    return min(math.ceil(checked / moves_per_round(settings)), UNLIMITED), seconds


class StructureMCMC(ScoreEstimator):
    """Sample graphs by Markov chains: add, delete and reverse moves, tempered.

    The classical way to a posterior over graphs, on the same score tables as `JSPGFN`:
    on the edge probabilities of easy posteriors it is hard to beat, and by parallel
    tempering it also finds far-apart modes. Draws are correlated and come without
    log-probabilities.

    Each of several independent chains is an ensemble of replicas at temperatures 1, 1 /
    ratio, 1 / ratio^2, ... that make moves and swap their graphs. Edge probabilities
    are averages, over all rounds after the burn-in, of the probability of each edge
    given all other nodes' parents, which a look-up in the tables gives.

    Parameters
    ----------
    model, graph_prior, constraints, max_parents, candidates, preprocess
        As for `JSPGFN`.
    n_chains : int
        Independent chains; they run side by side on the threads, and their agreement is
        what `diagnostics` judges. At least 2 are needed to see that a run has not
        mixed.
    n_temperatures : int or None
        Replicas per chain, up to 64; 1 is a plain chain, which may stay in one mode for
        ever. None: 20 up to 12 variables, then growing as the square root of D.
    temperature_ratio : float or None
        Inverse temperature of each replica relative to the one before. None: 0.7 up to
        12 variables, then closer to 1, so that the range of temperatures stays.
    burn_in : float
        Share of each chain, from 0 to below 1, that is left out of all results.
    n_moves : int or None
        Proposed moves of all chains and temperatures together, rounded up to whole
        rounds.
    max_time : float or None
        Wall seconds of the whole fit, tables included; results then depend on the
        machine's speed. With both, whatever ends first. With neither, 50 + D^2 million
        moves.
    n_jobs : int or None
        Threads, as for `JSPGFN`; more than n_chains are of no use. Results are the same
        bits for any number of threads.
    random_state : int, numpy generator or None
        None draws a seed, found in `random_seed_` afterwards.
    verbose : int
        1 prints the plan and the diagnostics.

    Attributes
    ----------
    n_moves_ : int
        Moves made.
    random_seed_, n_features_in_, feature_names_in_, candidates_, preprocess_
        As for `JSPGFN`.

    Notes
    -----
    Ctrl-C during `fit` leaves a usable estimator and then raises KeyboardInterrupt as
    usual; `resume` goes on, also after pickling or `save` and `jspgfn.load`.

    References
    ----------
    Madigan and York, "Bayesian graphical models for discrete data", Int. Stat. Rev. 63
    (1995). Geyer, "Markov chain Monte Carlo maximum likelihood", 1991. Vehtari et al.,
    "Rank-normalization, folding, and localization", Bayesian Analysis 16 (2021), for
    split R-hat.

    Examples
    --------
    >>> import jspgfn
    >>> sim = jspgfn.simulate.linear_gaussian(
    ...     n_variables=4, n_samples=100, random_state=0)
    >>> chain = jspgfn.StructureMCMC("bge", n_moves=20_000_000, random_state=0)
    >>> chain.fit(sim.X).edge_probabilities().shape
    (4, 4)
    >>> chain.diagnostics().mixed
    True
    """

    def __init__(
        self,
        model: Model = "bge",
        *,
        graph_prior: Any = "fair",
        constraints: Any = None,
        max_parents: int | None = None,
        candidates: Any = None,
        preprocess: str | None = "auto",
        n_chains: int = 4,
        n_temperatures: int | None = None,
        temperature_ratio: float | None = None,
        burn_in: float = 0.2,
        n_moves: int | None = None,
        max_time: float | None = None,
        n_jobs: int | None = None,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self.model = model
        self.graph_prior = graph_prior
        self.constraints = constraints
        self.max_parents = max_parents
        self.candidates = candidates
        self.preprocess = preprocess
        self.n_chains = n_chains
        self.n_temperatures = n_temperatures
        self.temperature_ratio = temperature_ratio
        self.burn_in = burn_in
        self.n_moves = n_moves
        self.max_time = max_time
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        chains = state.pop("_chains", None)
        if chains is not None:
            state["_replicas"] = chains.replicas()
        return state

    # --- running ---------------------------------------------------------------------

    def fit(self, X: Any, y: Any = None, *, interventions: Any = None) -> StructureMCMC:
        """Run the chains on a table of data. Starts afresh.

        Parameters
        ----------
        X : DataFrame or array-like of shape (N, D)
            One row per observation, one column per variable; no missing values.
        y : ignored
            Present for scikit-learn's conventions.
        interventions : None, array-like of shape (N, D), or sequence of N targets
            As for `JSPGFN.fit`.

        Returns
        -------
        StructureMCMC
            The estimator itself.

        Raises
        ------
        ValueError, TypeError
            For data or settings that cannot be used, before any work is done.

        Warns
        -----
        jspgfn.NotMixedWarning
            When the diagnostics say that the chains have not mixed.

        Examples
        --------
        >>> import jspgfn
        >>> sim = jspgfn.simulate.linear_gaussian(
        ...     n_variables=3, n_samples=50, random_state=0)
        >>> chain = jspgfn.StructureMCMC(n_moves=10_000_000, random_state=0).fit(sim.X)
        >>> chain.n_moves_ >= 10_000_000  # whole rounds
        True
        """
        started = time.perf_counter()
        problem = self._check_problem(X, interventions)
        settings = self._check_chains(problem.n_variables)
        n_moves = self.n_moves
        if n_moves is None and self.max_time is None:
            n_moves = default_n_moves(problem.n_variables)
        n_rounds, seconds = check_budget(settings, n_moves, self.max_time)
        self._start(problem, X)
        self._settings = settings
        if self.verbose:
            self._print_plan(problem, {"chains": self._describe(n_rounds, seconds)})
        self._chains = self._make_chains()
        deadline = None if seconds is None else started + seconds
        self._run(n_rounds, deadline, float(self.burn_in))
        return self

    def resume(
        self, n_moves: int | None = None, max_time: float | None = None
    ) -> StructureMCMC:
        """Let the same chains go on.

        Parameters
        ----------
        n_moves, max_time : number or None
            That many more moves or wall seconds, whatever ends first; at least one is
            needed.

        Returns
        -------
        StructureMCMC
            The estimator itself.

        Raises
        ------
        ValueError
            When neither is given.

        Examples
        --------
        >>> import jspgfn
        >>> sim = jspgfn.simulate.linear_gaussian(
        ...     n_variables=3, n_samples=50, random_state=0)
        >>> chain = jspgfn.StructureMCMC(n_moves=10_000_000, random_state=0).fit(sim.X)
        >>> chain.resume(n_moves=10_000_000).n_moves_ >= 20_000_000
        True
        """
        check_is_fitted(self, "_record")
        if n_moves is None and max_time is None:
            raise ValueError("give n_moves or max_time: how much further to go")
        if getattr(self, "_chains", None) is None:
            self._chains = self._restore_chains()
        n_rounds, seconds = check_budget(self._settings, n_moves, max_time)
        deadline = None if seconds is None else time.perf_counter() + seconds
        self._run(n_rounds, deadline, self._record.burn_in)
        return self

    def _make_chains(self) -> _core.Chains:
        return _core.Chains(
            self._tables.scores,
            **self._settings,
            seed=stream_seed(self.random_seed_, STREAM_FIT),
            n_threads=self._tables.n_threads,
        )

    def _restore_chains(self) -> _core.Chains:
        """The chains of an estimator that comes out of a file or a pickle."""
        record, counters = self._record, self._record.counters
        replicas, heading = self._replicas
        chains = self._make_chains()
        chains.restore(
            rounds=record.rounds,
            counts=record.counts,
            sums=record.sums,
            states=record.states,
            thinning=counters["thinning"],
            replicas=replicas,
            heading=heading,
            tried_swaps=counters["tried_swaps"],
            accepted_swaps=counters["accepted_swaps"],
            accepted_moves=counters["accepted_moves"],
            round_trips=np.array(counters["round_trips"], np.int64),
        )
        return chains

    def _run(self, n_rounds: int, deadline: float | None, burn_in: float) -> None:
        """Rounds until n_rounds more are made or the deadline has passed."""
        chunk, left = 1, n_rounds
        started = time.perf_counter()
        is_timed = deadline is not None and n_rounds == UNLIMITED
        total = (deadline or 0.0) - started if is_timed else n_rounds
        unit = "s" if is_timed else "rounds"
        with (
            held_interrupts() as interrupt,
            progress_bar(max(total, 0.0), unit, bool(self.verbose)) as bar,
        ):
            while True:
                begin = time.perf_counter()
                self._chains.step(chunk)
                left -= chunk
                now = time.perf_counter()
                bar.show(now - started if is_timed else n_rounds - left, {})
                wanted = SECONDS_PER_CALL
                if deadline is not None:
                    wanted = min(wanted, deadline - now)
                if left == 0 or wanted <= 0 or interrupt.is_set:
                    break
                rounds_in_time = wanted * chunk / max(now - begin, 1e-6)
                chunk = int(min(max(1, rounds_in_time), 4 * chunk, left))
            states, counters = self._chains.states(), self._chains.counters()
            record = Record(*self._chains.batches(), states, counters, burn_in)
            self.n_moves_ = int(counters["n_rounds"]) * moves_per_round(self._settings)
            self._record = record
            if self.verbose:
                print(self.diagnostics(), flush=True)
        diagnostics = self.diagnostics()
        if not diagnostics.mixed:
            warnings.warn(diagnostics.verdict, NotMixedWarning, stacklevel=3)

    def _check_chains(self, n_variables: int) -> dict[str, Any]:
        """Settings of _core.Chains but for seed and threads."""
        n_chains = check_integer("n_chains", self.n_chains, at_least=1, at_most=10_000)
        n_temperatures, ratio = default_temperatures(n_variables)
        if self.n_temperatures is not None:
            n_temperatures = check_integer(
                "n_temperatures", self.n_temperatures, at_least=1, at_most=64
            )
        if self.temperature_ratio is not None:
            ratio = check_real("temperature_ratio", self.temperature_ratio, above=0)
        if ratio >= 1:
            raise ValueError(f"temperature_ratio must be below 1, got {ratio!r}")
        burn_in = check_real("burn_in", self.burn_in, at_least=0)
        if burn_in >= 1:
            raise ValueError(f"burn_in must be below 1, got {burn_in!r}")
        batch_bytes = 2 * 8 * 2 * N_BATCHES * n_variables**2
        check_memory(
            float(n_chains * (batch_bytes + 8 * N_STORED * n_variables)),
            f"{n_chains} chains of {n_variables} variables",
            "set n_chains to a smaller number",
        )
        return {
            "n_chains": n_chains,
            "n_temperatures": n_temperatures,
            "ratio": ratio,
            "cold_moves": COLD_MOVES,
            "hot_moves": max(1, MOVES_PER_HOT_SHARE // max(1, n_temperatures - 1)),
            "n_batches": N_BATCHES,
            "n_stored": N_STORED,
        }

    def _describe(self, n_rounds: int, seconds: float | None) -> str:
        moves = "until the time is over"
        if n_rounds < UNLIMITED:
            moves = f"{n_rounds * moves_per_round(self._settings):.3g} moves"
        if seconds is not None:
            moves += f", {seconds:g} s at most"
        n_temperatures = self._settings["n_temperatures"]
        return (
            f"{self.n_chains} with {n_temperatures} temperatures; {moves}; "
            f"{self._tables.n_threads} threads; seed {self.random_seed_}"
        )

    # --- results ---------------------------------------------------------------------

    def edge_probabilities(self, standard_error: bool = False) -> Any:
        """Posterior probability of each edge, from all states after the burn-in.

        The mean, over states, of the probability of the edge given the parents of all nodes
        but its two ends, as in `JSPGFN.edge_probabilities` (beyond 64 variables, of all
        but the child); that of `sample` counts edges.

        Parameters
        ----------
        standard_error : bool
            Also return the Monte-Carlo standard error, from the spread of means over
            stretches of the chains. It does not know of modes that no chain has
            visited.

        Returns
        -------
        DataFrame (if X was one) or ndarray of shape (D, D), or a pair of them
            Entry [i, j] is the probability that i is a parent of j.

        Examples
        --------
        >>> import jspgfn
        >>> sim = jspgfn.simulate.linear_gaussian(
        ...     n_variables=3, n_samples=50, random_state=0)
        >>> chain = jspgfn.StructureMCMC(n_moves=10_000_000, random_state=0).fit(sim.X)
        >>> probability, error = chain.edge_probabilities(standard_error=True)
        >>> bool(error.max() < 0.01)
        True
        """
        check_is_fitted(self, "_record")
        edges = self._labelled_matrix(self._record.edges())
        if not standard_error:
            return edges
        return edges, self._labelled_matrix(
            self._record.standard_error(self._record.sums)
        )

    def log_prob(self, graphs: Any) -> NoReturn:
        """Not available: a chain does not know how probable its states are.

        Parameters
        ----------
        graphs : array-like
            Graphs.

        Raises
        ------
        NotImplementedError
            Always. `log_reward` gives the probability up to a constant;
            `ExactPosterior.log_prob` and `JSPGFN.log_prob` give it in full.

        Examples
        --------
        >>> import jspgfn
        >>> sim = jspgfn.simulate.linear_gaussian(
        ...     n_variables=3, n_samples=50, random_state=0)
        >>> chain = jspgfn.StructureMCMC(n_moves=10_000_000, random_state=0).fit(sim.X)
        >>> try:
        ...     chain.log_prob(sim.graph)
        ... except NotImplementedError as error:
        ...     print(str(error)[:33])
        a chain does not know how probabl
        """
        raise NotImplementedError(
            "a chain does not know how probable its states are; log_reward gives the "
            "probability up to a constant, JSPGFN and ExactPosterior have log_prob"
        )

    def sample(self, n: int = 1000, random_state: Any = None) -> Posterior:
        """Draw stored states of the chains, with parameters drawn exactly.

        Parameters
        ----------
        n : int
            Number of draws. The chains keep up to 4,096 states each, evenly spaced; up
            to the number kept after the burn-in no state is drawn twice, beyond it
            states repeat.
        random_state : int, numpy generator or None
            As for `JSPGFN.sample`.

        Returns
        -------
        Posterior
            Equally weighted draws in the units of X, in random order; `log_prob` is
            None.

        Examples
        --------
        >>> import jspgfn
        >>> sim = jspgfn.simulate.linear_gaussian(
        ...     n_variables=3, n_samples=50, random_state=0)
        >>> chain = jspgfn.StructureMCMC(n_moves=10_000_000, random_state=0).fit(sim.X)
        >>> chain.sample(10).coef.shape
        (10, 3, 3)
        """
        check_is_fitted(self, "_record")
        n = check_integer("n", n, at_least=1)
        self._check_draws(n)
        seed, first_draw = self._next_draws(n, random_state)
        states = self._record.kept_states()
        rng = np.random.default_rng([stream_seed(seed, STREAM_GRAPHS), first_draw])
        rounds = math.ceil(n / len(states))
        chosen = np.concatenate([rng.permutation(len(states)) for _ in range(rounds)])
        graphs = graphs_of_states(states[chosen[:n]], self.candidates_)
        return self._make_posterior(graphs, seed, first_draw, log_prob=None)

    def diagnostics(self) -> ChainDiagnostics:
        """Whether the chains have mixed, with the figures behind the verdict.

        Returns
        -------
        ChainDiagnostics
            Its `mixed` and `verdict` say it in short; printing shows a table.

        Examples
        --------
        >>> import jspgfn
        >>> sim = jspgfn.simulate.linear_gaussian(
        ...     n_variables=3, n_samples=50, random_state=0)
        >>> chain = jspgfn.StructureMCMC(n_moves=10_000_000, random_state=0).fit(sim.X)
        >>> report = chain.diagnostics()
        >>> report.r_hat_max < 1.05
        True
        """
        check_is_fitted(self, "_record")
        record, counters = self._record, self._record.counters
        r_hat = split_r_hat(record.stretches(record.counts, 2))
        error = record.standard_error(record.sums)
        ess = record.effective_size()
        probability = record.edges()
        uncertain = (probability > 0.01) & (probability < 0.99)
        n_temperatures = self._settings["n_temperatures"]
        moves = np.full(n_temperatures, float(self._settings["hot_moves"]))
        moves[0] = COLD_MOVES
        accepted = counters["accepted_moves"].mean(axis=0)
        tried = np.maximum(counters["tried_swaps"].sum(axis=0), 1)
        swap_rates = counters["accepted_swaps"].sum(axis=0) / tried
        trips = sum(counters["round_trips"])
        reasons = find_trouble(record, r_hat, error, swap_rates, self._names)
        return ChainDiagnostics(
            mixed=not reasons,
            verdict=describe_verdict(reasons, len(record.sums), n_temperatures),
            r_hat_max=float(r_hat.max()),
            r_hat=r_hat,
            ess_min=float(np.nanmin(ess[uncertain], initial=np.inf)),
            ess=ess,
            standard_error=error,
            swap_rates=swap_rates,
            acceptance=accepted / (moves * counters["n_rounds"]),
            round_trips=trips,
            n_moves=self.n_moves_,
            n_rounds=int(counters["n_rounds"]),
        )
