"""JSPGFN: the estimator that trains a sampler of graphs and draws from it."""

from __future__ import annotations

import inspect
import time
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from ._base import ScoreEstimator
from ._diagnose import Diagnosis, diagnose
from ._engine import (
    CHECK_EVERY,
    GOOD_GAP,
    LIKELIHOOD_FRACTION,
    UNLIMITED,
    Engine,
    Plan,
    count_pairs,
    default_n_iter,
    first_good,
    held_interrupts,
    train,
    training_bytes,
)
from ._exceptions import (
    NotMixedWarning,
    TimeBudgetWarning,
    UnusedSettingWarning,
    WarmStartWarning,
)
from ._gnn import (
    HEADS,
    PAPER,
    GnnEngine,
    check_batch,
    check_gnn,
    check_values,
    name_unused,
)
from ._models import Model
from ._posterior import Posterior
from ._problem import Problem
from ._progress import Callback, check_callback
from ._refine import GOOD_DISTANCE, Refinement, plan_sweeps, sweep
from ._streams import (
    STREAM_FIT,
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
    check_memory,
    check_real,
    check_seed,
    count_bytes,
)

# Graphs that `edge_probabilities` holds at once.
BYTES_OF_DRAWS = 1 << 27

# The walks of a training shard, a quarter of these, are numbered by 16-bit integers.
MAX_BATCH = 100_000


class JSPGFN(ScoreEstimator):
    """Sample the joint posterior over graphs and parameters of a Bayesian network.

    A generative flow network builds a directed acyclic graph edge by edge; parameters
    are then drawn given the graph. It is trained until graphs come out with probability
    proportional to their reward, ``exp(log_reward)`` = prior weight times evidence of
    the data. Draws are independent, each with its exact log-probability, so that they
    can be reweighted and the fit can be judged (`history_`, ``sample().weights``).

    In graphs, ``A[i, j] = 1`` means the edge i -> j: i is a parent of j.

    Parameters
    ----------
    model : {"bge", "nig", "linear", "bdeu", "features", "mlp"} or an object
        How a variable depends on its parents; with settings of its own as `BGe`,
        `NormalInverseGamma`, `LinearGaussian`, `BDeu`, `RandomFeatures` or
        `MLPGaussian`. "bge" and "nig" learn the noise, "linear" fixes it; "bdeu" is for
        discrete columns (integers, text, bool or categories). "features" and "mlp" are
        for mechanisms that are not linear, random features or a small network per
        variable (the paper's, noise fixed), with at most 3 parents unless `max_parents`
        is given.
    generator : {"edges", "gnn", "auto"}
        How graphs are built. "edges" visits the pairs of variables in a fixed order, so
        that every graph arises in exactly one way and its log-probability is exact. It
        is an extension of this package, not the paper's generator, and what "auto"
        takes. "gnn" is the published method: a graph network adds edges in any order, a
        head draws the parameters, both are trained together; see `jspgfn.PAPER`. It
        needs the model "linear" or "mlp" and cannot require edges. Its draws have the
        log-probability of their own trajectory times the number of orders of their
        edges, which is right for weights.
    graph_prior : {"fair", "uniform", "erdos-renyi"}, ErdosRenyi or EdgeProbabilities
        Weight w(G) of a graph: "uniform" is 1 for every graph, which favours dense
        graphs as most graphs are dense; "fair" is the product over nodes of 1 / C(D -
        1, number of parents); "erdos-renyi" gives every edge the same odds, and
        `EdgeProbabilities` each its own.
    constraints : Constraints or None
        Forbidden and required edges, tiers, roots, sinks, limits per variable.
    max_parents : int or None
        Largest number of parents of any node; None = no limit.
    candidates : None, int or dict
        Parents that are considered for each node. None: all others up to 16 variables,
        else the 12 best; an integer: that many, the best; a dict from a variable to the
        list of its candidates (variables left out are treated as with None). Variables
        are column names, or integers when X is an array. At most 24. Required parents
        are always among them, forbidden ones never. `discarded_mass_` estimates what
        the choice costs.
    preprocess : {"auto", "standardize", "center"} or None
        "center" subtracts the mean of each column, "standardize" also divides by its
        standard deviation (ddof 0); both add an intercept per node that is integrated
        out. None takes data as stored, without intercept. "auto" is "standardize" for
        models that learn the noise, else "center". Results come back in the units of X.
    n_iter : int or None
        Gradient updates.
    max_time : float or None
        Wall seconds of the whole fit, tables and structure chains included; results
        then depend on the machine's speed. With both, whatever ends first. With
        neither, a number of updates that depends on D, with an early stop when the
        certificate is good: the mean gap is below 0.005 nats over each of the last two
        stretches of 100 updates, in the last one by two standard errors.
    batch_size : int
        Own draws per update, and as many states of structure chains; for "gnn"
        transitions per update, at most the replay's capacity (fewer while the replay
        does not hold as many yet).
    learning_rate : float
        Peak learning rate of Adam.
    objective : {"tb", "ml"}
        For "edges": "tb" is a short start by maximum likelihood on states of structure
        chains, then trajectory balance on these and own draws; "ml" is maximum
        likelihood throughout. Chains then never learn from the policy, and `history_`
        has no gap. "gnn" has the loss of the published method and refuses "ml".
    head : {"diag", "full", "mlp"}
        For "gnn": weights of a node as independent normals, or correlated ones; with the
        model "mlp", and only there, independent weights of the node's network. Another
        generator warns when this setting or one of the next three is not the default.
    head_scope : {"global", "local"}
        For "gnn": what the parameters of a node may depend on. "global", as published:
        the whole graph. "local": the node and its parents, which is all that matters with
        the models here; residuals then hold the changed node only, so that their noise
        does not grow with D (an extension of this package).
    n_theta_samples : int
        For "gnn": samples of parameters per graph and update.
    gnn_options : dict or None
        For "gnn": departures from the published training; entries are logit_scale and
        residual_scale (number of rows as published), init_scale (1) of the layers that
        make logits, head_spread (0: the head starts and learns as published; else in units
        of the data, means in this many posterior standard deviations), delta (1) of the
        Huber loss, penalty_weight (1), exploration_start (1), exploration_end (0.1),
        decay (0: share of the schedule, at its end, in which the learning rate falls),
        beta2 (0.999), clip_ratio (no clipping), average_decay (0: draws use the last
        parameters), n_environments (8), replay_capacity (100,000), n_prefill (1,000),
        minibatch_rows (0: every update looks at all rows; else at this many, drawn
        afresh; as many as there are rows, or more: all of them)
        and target_period (0; else the larger graph of a transition is judged by parameters
        that are copied every so many updates).
        `jspgfn.PAPER_QUICK` holds a choice that suits few variables.
    warm_start : bool
        Begin the next `fit` of this estimator with the network that the last one has
        learned, instead of afresh: after more rows, with another prior or other
        settings, for the same number of variables. Maximum likelihood is then left out
        of the default training. `warm_start_` says what it saved. Only for "edges".
    n_jobs : int or None
        Threads. None: what OpenMP would use, at most the processors of the cgroup; -1:
        all processors. Results are the same bits for any number of threads. A process
        that was forked after threads had been used runs on one, whatever is asked for.
    random_state : int, numpy generator or None
        None draws a seed, found in `random_seed_` afterwards.
    verbose : int
        1 prints the plan and shows a progress bar where there is a terminal or
        notebook.

    Attributes
    ----------
    history_ : dict of ndarray
        One entry per update of each of: phase (0 maximum likelihood, 1 balance), loss,
        gap (mean of log reward - log q on chain states minus the same on own draws, an
        estimate of both Kullback-Leibler divergences together, in nats; NaN in phase
        0), own_gap_median, own_ess (effective sample size of own draws, a fraction),
        acceptance (of own draws by the chains), chain_log_q, gradient_norm,
        learning_rate, progress and n_edges. With "gnn": loss, huber and penalty (its
        terms), residual_mean and residual_sd (of the detailed balance of a transition
        with parameters, in nats), gradient_norm, learning_rate, exploration, progress
        and n_edges.
    n_iter_ : int
        Updates made.
    refinement_ : Refinement
        How ``sample(refine=True)`` refined its draws; once it was called.
    warm_start_ : dict
        After a warm start: updates_until_good (first update after which the mean gap of
        100 updates is below 0.005 nats, None when that was not reached), the same of the
        fit before as updates_before, and first_gap, the gap of the first 100 updates.
    random_seed_ : int
        The seed of this fit: ``random_state=est.random_seed_`` repeats it.
    n_features_in_ : int
        Number of variables D.
    feature_names_in_ : ndarray of str
        Column names; only when X has them.
    candidates_ : list of list of int
        Candidate parents of each node, as column numbers.
    discarded_mass_ : ndarray of shape (D,)
        For each variable, an estimate of the share of the posterior mass of its parent
        sets that lies outside its candidates.
    preprocess_ : str or None
        What "auto" came to.

    Notes
    -----
    Ctrl-C during `fit` stops at the end of the running tenth of a second, leaves a
    usable estimator and then raises KeyboardInterrupt as usual; `resume` without
    arguments goes on to the same bits as an uninterrupted fit.

    References
    ----------
    Deleu et al., "Joint Bayesian Inference of Graphical Structure and Parameters with a
    Single Generative Flow Network", NeurIPS 2023, arXiv 2305.19366.

    Examples
    --------
    >>> import jspgfn
    >>> sim = jspgfn.simulate.linear_gaussian(
    ...     n_variables=4, n_samples=100, random_state=0)
    >>> est = jspgfn.JSPGFN(model="linear", n_iter=200, random_state=0).fit(sim.X)
    >>> post = est.sample(500)
    >>> post.graphs.shape
    (500, 4, 4)
    >>> post.edge_probabilities().shape
    (4, 4)
    """

    def __init__(
        self,
        model: Model = "bge",
        *,
        generator: str = "edges",
        graph_prior: Any = "fair",
        constraints: Any = None,
        max_parents: int | None = None,
        candidates: Any = None,
        preprocess: str | None = "auto",
        n_iter: int | None = None,
        max_time: float | None = None,
        batch_size: int = 32,
        learning_rate: float = 2.5e-3,
        objective: str = "tb",
        head: str = "diag",
        head_scope: str = "global",
        n_theta_samples: int = 64,
        gnn_options: dict[str, Any] | None = None,
        warm_start: bool = False,
        n_jobs: int | None = None,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self.model = model
        self.generator = generator
        self.graph_prior = graph_prior
        self.constraints = constraints
        self.max_parents = max_parents
        self.candidates = candidates
        self.preprocess = preprocess
        self.n_iter = n_iter
        self.max_time = max_time
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.objective = objective
        self.head = head
        self.head_scope = head_scope
        self.n_theta_samples = n_theta_samples
        self.gnn_options = gnn_options
        self.warm_start = warm_start
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose

    # --- fitting ---------------------------------------------------------------------

    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        interventions: Any = None,
        callback: Callback | None = None,
    ) -> JSPGFN:
        """Learn to sample the posterior given a table of data. Starts afresh.

        Parameters
        ----------
        X : DataFrame or array-like of shape (N, D)
            One row per observation, one column per variable, numeric or, for the model
            "bdeu", discrete; no missing values.
        y : ignored
            Present for scikit-learn's conventions.
        interventions : None, array-like of shape (N, D), or sequence of N targets
            What was set by an experimenter rather than observed. Either a 0/1 mask, 1 =
            this cell was set; or one target per row: a column name (an integer when X
            is an array), a tuple for several, None, NaN or "" for none. Rows in which a
            variable was set do not count for the mechanism of that variable.
        callback : function or None
            Called about ten times a second, and at the end, with the estimator and a
            dict of n_updates, n_total (None when only time counts), seconds,
            seconds_left, certificate (gap of the last 100 updates, or the mean residual
            sd of "gnn"; NaN while unknown), finished, and metrics (those of `history_`,
            of the last update). The estimator can be used there: drawn from, or saved.
            Returning True stops the training, and `resume` goes on to the same bits; so
            it does after an exception, which is passed on.

        Returns
        -------
        JSPGFN
            The estimator itself.

        Raises
        ------
        ValueError, TypeError
            For data or settings that cannot be used, before any work is done. The
            message names the column or the argument.
        jspgfn.NumericalError
            When training diverges, or when columns depend on each other so nearly, or
            differ in scale so much, that the evidence cannot be computed.

        Examples
        --------
        >>> import jspgfn
        >>> sim = jspgfn.simulate.linear_gaussian(
        ...     n_variables=3, n_samples=50, interventions=0.5, random_state=0)
        >>> est = jspgfn.JSPGFN(n_iter=50, random_state=0)
        >>> est.fit(sim.X, interventions=sim.interventions).n_iter_
        50

        A checkpoint every minute::

            def checkpoint(est, info, last=[0.0]):
                if info["seconds"] > last[0] + 60:
                    last[0] = info["seconds"]
                    est.save("checkpoint.safetensors")

            est.fit(X, callback=checkpoint)
        """
        check_callback(callback)
        started = time.perf_counter()
        problem = self._check_problem(X, interventions)
        training = self._check_training(problem)
        before = self._find_start(problem, training)
        self._start(problem, X)
        if before is not None and training.more_settings["likelihood_fraction"] < 1:
            training.more_settings["likelihood_fraction"] = 0.0
        # The engine comes last: with it the estimator is usable, if untrained, which is
        # what Ctrl-C leaves while tables and chains are built.
        self.n_iter_ = 0
        self._plan = Plan(
            first=0,
            n_iter=training.n_iter,
            seconds=training.max_time,
            may_stop_early=training.may_stop_early,
        )
        self._engine = training.engine(
            self._tables,
            trainer_settings={
                "n_iter": training.n_iter,
                "batch_size": training.batch_size,
                "learning_rate": training.learning_rate,
                "seed": stream_seed(self.random_seed_, STREAM_FIT),
                **training.more_settings,
            },
        )
        if self.verbose:
            self._print_plan(problem, {"training": self._describe_training(training)})
        trainer = self._engine.trainer
        if before is not None:
            trainer.start_from(before.trainer)
        if training.max_time is not None:
            self._plan.seconds = training.max_time - (time.perf_counter() - started)
            if self._plan.seconds <= 0:
                self._plan.seconds = 0.0
                warnings.warn(
                    f"max_time={training.max_time:g} s was over before training began "
                    f"({trainer.n_parameters} parameters are untrained but for one update);"
                    " allow more time or fewer candidates",
                    TimeBudgetWarning,
                    stacklevel=2,
                )
        self._run(callback)
        if before is not None:
            self.warm_start_ = compare_starts(before, self._engine)
            if self.verbose:
                print_saving(self.warm_start_)
        return self

    def _find_start(self, problem: Problem, training: Training) -> Engine | None:
        """The engine of the last fit, when warm_start asks for it and it is of use."""
        self.__dict__.pop("warm_start_", None)
        self.__dict__.pop("refinement_", None)
        before = self.__dict__.get("_engine")
        if not check_flag("warm_start", self.warm_start) or before is None:
            return None
        reason = None
        n_variables = len(before.tables.settings["candidates"])
        if training.engine is not Engine or type(before) is not Engine:
            reason = "only the generator 'edges' can go on from the fit before"
        elif n_variables != problem.n_variables:
            reason = (
                f"the fit before had {n_variables} variables, this one has "
                f"{problem.n_variables}"
            )
        if reason is None:
            return before  # type: ignore[no-any-return]
        warnings.warn(
            f"warm_start is of no effect: {reason}; training starts afresh",
            WarmStartWarning,
            stacklevel=3,
        )
        return None

    def resume(
        self,
        n_iter: int | None = None,
        max_time: float | None = None,
        *,
        callback: Callback | None = None,
    ) -> JSPGFN:
        """Go on training the same fit.

        Parameters
        ----------
        n_iter, max_time : number or None
            A new schedule of that many more updates or wall seconds. Without both, an
            interrupted fit runs its own schedule to the end, to the same bits as if it
            had not been interrupted (unless `max_time` rules it).
        callback : function or None
            As for `fit`.

        Returns
        -------
        JSPGFN
            The estimator itself.

        Raises
        ------
        ValueError
            When the fit has come to the end of its schedule and no new one is given.

        Examples
        --------
        >>> import jspgfn
        >>> sim = jspgfn.simulate.linear_gaussian(
        ...     n_variables=3, n_samples=50, random_state=0)
        >>> est = jspgfn.JSPGFN(n_iter=50, random_state=0).fit(sim.X)
        >>> est.resume(n_iter=25).n_iter_
        75
        """
        check_is_fitted(self, "_engine")
        check_callback(callback)
        if n_iter is None and max_time is None:
            if self._plan.finished:
                raise ValueError(
                    "the fit has come to the end of its schedule; give n_iter or max_time "
                    "to train further"
                )
        else:
            updates, seconds = check_schedule(n_iter, max_time)
            self._engine.set_schedule(updates)
            first = self._engine.trainer.iteration
            self._plan = Plan(first=first, n_iter=updates, seconds=seconds)
        self._run(callback)
        return self

    def _run(self, callback: Callback | None) -> None:
        def call(info: dict[str, Any]) -> Any:
            self.n_iter_ = info["n_updates"]
            return callback(self, info) if callback is not None else None

        with held_interrupts() as interrupt:
            try:
                train(
                    self._engine,
                    self._plan,
                    interrupt,
                    verbose=bool(self.verbose),
                    callback=None if callback is None else call,
                )
            finally:
                self.n_iter_ = int(self._engine.trainer.iteration)
            if self.verbose:
                print_outcome(self)

    @property
    def history_(self) -> dict[str, NDArray[np.float64]]:
        check_is_fitted(self, "_engine")
        metrics = self._engine.metrics()
        return {
            name: metrics[:, k].copy()
            for k, name in enumerate(self._engine.metric_names)
        }

    def _integrates_parameters(self) -> bool:
        return self.generator != "gnn"

    def _check_training(self, problem: Problem) -> Training:
        generator = check_choice(
            "generator",
            self.generator,
            {
                "edges": "pairs in a fixed order",
                "gnn": "the published method",
                "auto": "the same as 'edges'",
            },
        )
        no_limit = self.n_iter is None and self.max_time is None
        n_iter, max_time = check_schedule(self.n_iter, self.max_time)
        engine: type[Engine] = Engine
        objective = check_choice(
            "objective",
            self.objective,
            {"tb": "trajectory balance", "ml": "maximum likelihood"},
        )
        more: dict[str, Any] = {
            "likelihood_fraction": 1.0 if objective == "ml" else LIKELIHOOD_FRACTION
        }
        by_default = default_n_iter(problem.n_variables)
        batch_size = check_integer("batch_size", self.batch_size, 2, MAX_BATCH)
        if generator == "gnn":
            if objective == "ml":
                raise ValueError(
                    "objective must be 'tb' with generator='gnn', which has the loss of "
                    "the published method, got 'ml'"
                )
            engine, by_default = GnnEngine, PAPER["n_iter"]
            more = check_gnn(
                problem,
                self.head,
                self.head_scope,
                self.n_theta_samples,
                self.gnn_options,
            )
            check_batch(batch_size, more)
        else:
            self._check_unused()
            counts = problem.candidates.counts
            n_bytes = training_bytes(counts, sum(counts), batch_size, problem.n_threads)
            check_memory(
                problem.n_bytes + problem.moment_bytes + n_bytes,
                f"tables and training of {problem.n_variables} variables with "
                f"{max(counts)} candidate parents",
                "set candidates or batch_size to a smaller number",
            )
        return Training(
            n_iter=by_default if no_limit else n_iter,
            max_time=max_time,
            may_stop_early=no_limit and engine is Engine,
            batch_size=batch_size,
            learning_rate=check_real("learning_rate", self.learning_rate, above=0),
            engine=engine,
            more_settings=more,
        )

    def _check_unused(self) -> None:
        """Settings of "gnn" with another generator: wrong ones are refused all the same,
        others are of no effect, which a search over generators must survive."""
        check_choice("head", self.head, HEADS)
        check_values(self.head_scope, self.n_theta_samples, self.gnn_options)
        words = name_unused(self.get_params(deep=False), DEFAULTS)
        if words:
            warnings.warn(words, UnusedSettingWarning, stacklevel=4)

    def _describe_training(self, training: Training) -> str:
        updates = "until the time is over"
        if training.n_iter < UNLIMITED:
            updates = f"{training.n_iter} updates"
        if training.may_stop_early:
            updates = f"up to {updates}, fewer when the gap falls below {GOOD_GAP}"
        if training.max_time is not None:
            updates += f", {training.max_time:g} s at most"
        batch = f"{training.batch_size} + {training.batch_size}"
        if training.engine is not Engine:
            batch = f"{training.batch_size} transitions"
        n_threads = self._tables.n_threads
        memory = ""
        if training.engine is Engine:
            n_bytes = training_bytes(
                list(map(len, self.candidates_)),
                count_pairs(self.candidates_),
                training.batch_size,
                n_threads,
            )
            memory = f"; about {count_bytes(n_bytes)}"
        return (
            f"{updates}; batches of {batch}; "
            f"{n_threads} threads; seed {self.random_seed_}{memory}"
        )

    # --- draws and densities ---------------------------------------------------------

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
            True lets each draw go on as a Markov chain of its own, with the sampler as
            the proposal for whole graphs and for parts of them, mixed with moves of
            single edges. Its invariant distribution is the posterior itself, whatever
            the sampler has learned. The number of sweeps is found by coupled chains and
            kept in `refinement_`; an integer sets it. Only for the generator "edges".

        Returns
        -------
        Posterior
            Independent draws, in the units of X. Refined draws have equal weights;
            their `log_prob` is still log q(G).

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
            Wall seconds. None takes as long as it needs: about a second up to 12
            variables, half a minute at 50; the report is then the same at every call.
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

    def edge_probabilities(self, n: int = 10_000, weighted: bool = False) -> Any:
        """Posterior probability of each edge, from fresh draws of a fixed seed.

        Parameters
        ----------
        n : int
            Number of draws; the Monte-Carlo error is at most 0.5 / sqrt(n).
        weighted : bool
            Correct the draws by their importance weights.

        Returns
        -------
        DataFrame (if X was one) or ndarray of shape (D, D)
            Entry [i, j] is the probability that i is a parent of j.

        See Also
        --------
        sample : the draws themselves, whose `edge_probabilities` also give errors.

        Examples
        --------
        >>> import jspgfn
        >>> sim = jspgfn.simulate.linear_gaussian(
        ...     n_variables=3, n_samples=50, random_state=0)
        >>> est = jspgfn.JSPGFN(n_iter=50, random_state=0).fit(sim.X)
        >>> est.edge_probabilities(1000).shape
        (3, 3)
        """
        check_is_fitted(self, "_engine")
        n = check_integer("n", n, at_least=1)
        seed = stream_seed(self.random_seed_, STREAM_SUMMARY)
        size = max(1, BYTES_OF_DRAWS // len(self._names) ** 2)
        if n <= size:
            return self._draw(n, seed, 0).edge_probabilities(weighted=weighted)
        parts = (
            self._draw(min(size, n - first), seed, first) for first in range(0, n, size)
        )
        return self._labelled_matrix(edges_of(parts, weighted))

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


def edges_of(parts: Iterable[Posterior], weighted: bool) -> NDArray[np.float64]:
    """Edge probabilities over all parts, of which one is in memory at a time.

    Weights are relative to the largest so far.
    """
    total: Any = 0.0
    sum_of_weights, largest = 0.0, -np.inf
    for part in parts:
        log_weights = part._log_weights() if weighted else np.zeros(len(part))
        before, largest = largest, max(largest, float(log_weights.max()))
        weights = np.exp(log_weights - largest)
        share = np.exp(before - largest)
        total = share * total + np.einsum("s,sij->ij", weights, part.graphs)
        sum_of_weights = share * sum_of_weights + weights.sum()
    return np.asarray(total / sum_of_weights)


DEFAULTS: dict[str, Any] = {
    name: parameter.default
    for name, parameter in inspect.signature(JSPGFN).parameters.items()
}


@dataclass(frozen=True)
class Training:
    """Settings of the training after the checks."""

    n_iter: int
    max_time: float | None
    may_stop_early: bool
    batch_size: int
    learning_rate: float
    engine: type[Engine]
    more_settings: dict[str, Any]  # of its trainer


def check_schedule(n_iter: object, max_time: object) -> tuple[int, float | None]:
    """Updates (UNLIMITED when only time counts) and wall seconds."""
    seconds = None if max_time is None else check_real("max_time", max_time, above=0)
    if n_iter is None:
        return UNLIMITED, seconds
    return check_integer("n_iter", n_iter, at_least=1, at_most=UNLIMITED), seconds


def print_outcome(est: JSPGFN) -> None:
    stop = "stopped early" if est._plan.stopped_early else "made"
    if not est._plan.finished:
        stop = "made, more to come"
    words = est._engine.outcome_words()
    print(f"outcome     {est.n_iter_} updates {stop}; {words}")


def compare_starts(before: Engine, now: Engine) -> dict[str, Any]:
    """What a warm start saved."""
    gap = now.metrics()[:CHECK_EVERY, now.metric_names.index("gap")]
    return {
        "updates_until_good": first_good(now.metrics()),
        "updates_before": first_good(before.metrics()),
        "first_gap": float(gap.mean()),
    }


def print_saving(saving: dict[str, Any]) -> None:
    words = [
        "not reached" if saving[key] is None else f"{saving[key]} updates"
        for key in ("updates_until_good", "updates_before")
    ]
    print(
        f"{'warm start':<12}gap of the first {CHECK_EVERY}: {saving['first_gap']:.4f} "
        f"nats; below {GOOD_GAP}: {words[0]}, in the fit before: {words[1]}"
    )
