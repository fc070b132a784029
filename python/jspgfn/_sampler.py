"""What a trained sampler gives: draws, log-probabilities, a diagnosis, its history."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from ._base import ScoreEstimator
from ._conditionals import average_edges
from ._diagnose import Diagnosis, diagnose
from ._engine import GOOD_GAP, Engine
from ._exceptions import NotMixedWarning
from ._posterior import Posterior
from ._refine import GOOD_DISTANCE, Refinement, plan_sweeps, sweep
from ._streams import (
    STREAM_GRAPHS,
    STREAM_REFERENCE,
    STREAM_REFINE,
    STREAM_SUMMARY,
    stream_seed,
)
from ._validation import (
    check_choice,
    check_flag,
    check_integer,
    check_real,
    check_seed,
    describe,
)

# Bytes of graphs that `edge_probabilities` holds at once.
BYTES_OF_DRAWS = 1 << 27


class TrainedSampler(ScoreEstimator):
    """Base of `JSPGFN`, whose `fit` makes the engine that is drawn from here."""

    _engine: Engine
    n_iter_: int

    @property
    def history_(self) -> dict[str, NDArray[np.float64]]:
        check_is_fitted(self, "_engine")
        metrics = self._engine.metrics()
        return {
            name: metrics[:, k].copy()
            for k, name in enumerate(self._engine.metric_names)
        }

    @property
    def n_policies_(self) -> int:
        check_is_fitted(self, "_engine")
        return self._engine.n_policies

    def sample(
        self, n: int = 1000, random_state: Any = None, refine: bool | int = False
    ) -> Posterior:
        """Draw graphs with parameters.

        Parameters
        ----------
        n : int
            Number of draws.
        random_state : int, numpy generator or None
            None goes on with the stream of the fit's own seed: every call brings new
            draws, and a program that is run again with the same seed brings the same
            ones. A seed of your own brings the same draws at every call.
        refine : bool or int
            True lets each draw go on as a Markov chain of its own, with the sampler (of
            several policies each in turn) as the proposal for whole graphs and for parts
            of them, mixed with moves of single edges. Its invariant distribution is the
            posterior itself, whatever the sampler has learned. The number of sweeps is
            found by coupled chains and kept in `refinement_`; an integer sets it. Only for
            the generator "edges".

        Returns
        -------
        Posterior
            Independent draws, in the units of X; of several policies equally many from
            each. Refined draws have equal weights; their `log_prob` is still log q(G).

        Warns
        -----
        jspgfn.NotMixedWarning
            When coupled chains have not met after 100 sweeps: refined draws may still
            be far from the posterior.

        Examples
        --------
        >>> import jspgfn
        >>> sim = jspgfn.simulate.linear_gaussian(
        ...     n_variables=3, n_samples=50, random_state=0)
        >>> est = jspgfn.JSPGFN(n_iter=50, random_state=0).fit(sim.X)
        >>> est.sample(10, random_state=1).coef.shape
        (10, 3, 3)
        >>> est.sample(10, refine=True).weights[0]
        np.float64(0.1)
        """
        check_is_fitted(self, "_engine")
        n = check_integer("n", n, at_least=1)
        is_flag = isinstance(refine, (bool, np.bool_))
        n_sweeps = None if is_flag else check_integer("refine", refine, at_least=0)
        self._check_draws(n)
        if not refine:
            return self._draw(n, *self._next_draws(n, random_state))
        if type(self._engine) is not Engine:
            raise ValueError("only draws of the generator 'edges' can be refined")
        return self._draw_refined(n, n_sweeps, *self._next_draws(n, random_state))

    def _draw_refined(
        self, n: int, n_sweeps: int | None, seed: int, first_draw: int
    ) -> Posterior:
        if n_sweeps is None:
            n_sweeps = self._plan_refinement().n_sweeps
        engine, stream = self._engine, stream_seed(seed, STREAM_REFINE)
        draws = engine.draw(n, stream_seed(seed, STREAM_GRAPHS), first_draw)
        graphs, _ = sweep(engine, draws.graphs, stream, n_sweeps, first_draw)
        return self._make_posterior(
            graphs,
            seed,
            first_draw,
            log_prob=engine.log_prob(graphs)[0],
            equal_weights=True,
        )

    def _plan_refinement(self) -> Refinement:
        """Measured once per state of training."""
        known, n_iter = self.__dict__.get("_refinement_plan", (None, None))
        if known is None or n_iter != self.n_iter_:
            seed = stream_seed(self.random_seed_, STREAM_REFINE)
            known = plan_sweeps(self._engine, seed)
            self._refinement_plan = known, self.n_iter_
        self.refinement_ = known
        if known.distance > GOOD_DISTANCE:
            warnings.warn(
                f"refinement has not converged: of the coupled chains {known.met:.0%} met "
                f"within {known.n_sweeps} sweeps; train longer, or set refine to a "
                "larger number",
                NotMixedWarning,
                stacklevel=4,
            )
        return known  # type: ignore[no-any-return]

    def diagnose(
        self,
        max_time: float | None = None,
        *,
        n_draws: int = 10_000,
        reference: str = "auto",
        random_state: Any = None,
    ) -> Diagnosis:
        """How far draws are from the posterior, with a verdict in words.

        Compares the sampler with a reference: exact draws where the sums over all graphs
        are within reach (up to 18 variables), else states of four long tempered chains,
        whose agreement is checked.

        Parameters
        ----------
        max_time : float or None
            Wall seconds, about: 1,000 own draws and as many graphs of the reference (or
            `n_draws`) are compared however long they take, with the generator "gnn"
            minutes. None takes as long as it needs: about a second up to 12 variables,
            half a minute at 50; the report is then the same at every call.
        n_draws : int
            Own draws, and exact draws of the reference.
        reference : {"auto", "exact", "chains"}
            What to compare with.
        random_state : int, numpy generator or None
            None uses the seed of the fit.

        Returns
        -------
        Diagnosis
            ``print(est.diagnose())`` shows it as a table.

        Examples
        --------
        >>> import jspgfn
        >>> sim = jspgfn.simulate.linear_gaussian(
        ...     n_variables=3, n_samples=50, random_state=0)
        >>> est = jspgfn.JSPGFN(n_iter=300, random_state=0).fit(sim.X)
        >>> est.diagnose().verdict
        'trust the draws'
        """
        check_is_fitted(self, "_engine")
        seconds = (
            None if max_time is None else check_real("max_time", max_time, above=0)
        )
        n_draws = check_integer("n_draws", n_draws, at_least=100)
        check_choice(
            "reference",
            reference,
            {"auto": "exact if possible", "exact": "all graphs", "chains": "tempered"},
        )
        seed = self.random_seed_ if random_state is None else check_seed(random_state)
        return diagnose(
            self._engine,
            n_draws,
            (stream_seed(seed, STREAM_SUMMARY), stream_seed(seed, STREAM_REFERENCE)),
            seconds,
            reference,
        )

    def _draw(self, n: int, seed: int, first_draw: int) -> Posterior:
        draws = self._engine.draw(n, stream_seed(seed, STREAM_GRAPHS), first_draw)
        return self._make_posterior(
            draws.graphs,
            seed,
            first_draw,
            log_prob=draws.log_prob,
            log_reward=draws.log_reward,
            parameters=draws.parameters,
            log_reward_joint=draws.log_reward_joint,
        )

    def log_prob(self, graphs: Any, standard_error: bool = False) -> Any:
        """log q(G), the log-probability with which `sample` draws these graphs.

        Exact, but for the generator "gnn" and graphs with more than 10 edges: there it is
        the log of a mean over 100 orders of the edges, ten runs of ten, drawn by the
        policy itself. Their random numbers belong to the graph, which therefore has the
        same value in every call and every place of it.

        Parameters
        ----------
        graphs : array-like of shape (n, D, D) or (D, D)
            bool or 0/1, ``graphs[s, i, j]`` = edge i -> j.
        standard_error : bool
            Also return the Monte-Carlo standard error of the log, from the spread of the
            ten runs; 0 where the value is exact, also for excluded graphs; inf when no
            order came out possible in double precision. It has no upper bound. The mean
            of exp of the value is right, the value itself is too low by about half the
            squared error, and by more when the orders that matter were not met: from
            about 1 on, take it as a lower bound.

        Returns
        -------
        ndarray of shape (n,), float64, or a pair of them
            -inf for graphs that constraints, max_parents or candidates exclude.

        Raises
        ------
        ValueError
            For a cycle or a self-loop, naming the row, or another shape.

        Examples
        --------
        >>> import numpy as np, jspgfn
        >>> sim = jspgfn.simulate.linear_gaussian(
        ...     n_variables=3, n_samples=50, random_state=0)
        >>> est = jspgfn.JSPGFN(n_iter=50, random_state=0).fit(sim.X)
        >>> est.log_prob(np.zeros((3, 3))).shape
        (1,)
        """
        check_is_fitted(self, "_engine")
        checked = self._check_acyclic(graphs)
        values, errors = self._engine.log_prob(checked)
        return (values, errors) if standard_error else values

    def edge_probabilities(
        self,
        n: int = 10_000,
        weighted: bool = False,
        *,
        draws: Posterior | None = None,
    ) -> Any:
        """Posterior probability of each edge.

        The mean, over draws, of the probability of the edge given the parents of all nodes
        but its two ends, which the score tables know exactly (Rao and Blackwell). Its
        Monte-Carlo error is smaller than that of the frequency of the edge among the same
        draws, 2 to 20 times where it was measured, and rare edges get a probability even
        if no draw has them. It is the frequency for the generator "gnn" without tables (the
        model "mlp", minibatches), and for pairs of nodes whose parents in the draws score
        more than 32,768 nats below the best ones (some 100,000 rows and more), where the
        tables are too coarse.

        Parameters
        ----------
        n : int
            Number of fresh draws, of a fixed seed; the Monte-Carlo error is at most
            0.5 / sqrt(n).
        weighted : bool
            Correct the draws by their importance weights.
        draws : Posterior or None
            Draws to use instead of fresh ones: of this estimator, refined for example,
            or any other draws of the same target.

        Returns
        -------
        DataFrame (if X was one) or ndarray of shape (D, D)
            Entry [i, j] is the probability that i is a parent of j.

        Raises
        ------
        ValueError
            If `draws` are of other variables, hold a graph that this estimator excludes,
            or all have weight 0.

        See Also
        --------
        sample : the draws themselves; their `edge_probabilities` are frequencies.

        Examples
        --------
        >>> import jspgfn
        >>> sim = jspgfn.simulate.linear_gaussian(
        ...     n_variables=3, n_samples=50, random_state=0)
        >>> est = jspgfn.JSPGFN(n_iter=50, random_state=0).fit(sim.X)
        >>> est.edge_probabilities(1000).shape
        (3, 3)
        >>> est.edge_probabilities(draws=est.sample(200, refine=True)).shape
        (3, 3)
        """
        check_is_fitted(self, "_engine")
        n = check_integer("n", n, at_least=1)
        weighted = check_flag("weighted", weighted)
        tables = self._engine.tables
        scores = tables.scores if tables.settings["tabulate"] else None
        parts = self._summary_draws(n) if draws is None else [self._check_same(draws)]
        edges = average_edges(parts, weighted, scores)
        return self._labelled_matrix(edges)

    def _summary_draws(self, n: int) -> Iterator[Posterior]:
        """n draws of a fixed seed, as many at once as memory should hold."""
        seed = stream_seed(self.random_seed_, STREAM_SUMMARY)
        size = max(1, BYTES_OF_DRAWS // len(self._names) ** 2)
        for first in range(0, n, size):
            yield self._draw(min(size, n - first), seed, first)

    def _check_same(self, draws: Any) -> Posterior:
        if not isinstance(draws, Posterior):
            raise TypeError(f"draws must be a Posterior, got {describe(draws)}")
        if draws.feature_names != list(self._names):
            raise ValueError(
                f"draws must be of the variables of this estimator, {list(self._names)}, "
                f"got {draws.feature_names}"
            )
        if self._engine.tables.settings["tabulate"]:
            excluded = np.flatnonzero(np.isneginf(self.log_reward(draws.graphs)))
            if excluded.size:
                raise ValueError(
                    f"draws hold a graph that this estimator excludes, draw {excluded[0]}"
                )
        return draws

    def plot_history(self, axes: Any = None, diagnosis: Any = None) -> Any:
        """The course of the training and how near the draws are to the posterior.

        Parameters
        ----------
        axes : pair of matplotlib Axes, or None
            Where to draw; None makes a figure.
        diagnosis : Diagnosis or None
            Of `diagnose`; adds ELBO, log Z (the log evidence of all graphs together),
            EUBO and the verdict.

        Returns
        -------
        pair of matplotlib Axes
            Above the gap between EUBO and ELBO as the training estimates it (the loss,
            for the generator "gnn"); below effective sample size and acceptance.

        Examples
        --------
        >>> import jspgfn
        >>> from matplotlib.figure import Figure
        >>> sim = jspgfn.simulate.linear_gaussian(
        ...     n_variables=3, n_samples=50, random_state=0)
        >>> est = jspgfn.JSPGFN(n_iter=50, random_state=0).fit(sim.X)
        >>> upper, lower = est.plot_history(Figure().subplots(2, 1))
        >>> lower.get_xlabel()
        'update'
        """
        from ._plots import plot_history

        check_is_fitted(self, "_engine")
        return plot_history(self.history_, axes, GOOD_GAP, diagnosis)
