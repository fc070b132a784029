"""JSPGFN: the estimator that trains a sampler of graphs and draws from it."""

from __future__ import annotations

import inspect
import time
import warnings
from typing import Any

from sklearn.utils.validation import check_is_fitted

from ._engine import Engine, Plan, held_interrupts, train
from ._exceptions import TimeBudgetWarning, WarmStartWarning
from ._models import Model
from ._policies import start_from
from ._problem import Problem
from ._progress import Callback, check_callback
from ._sampler import TrainedSampler
from ._streams import STREAM_FIT, stream_seed
from ._training import (
    Training,
    check_schedule,
    check_training,
    compare_starts,
    describe_training,
    number_of_policies,
    print_outcome,
    print_saving,
)
from ._validation import check_flag


class JSPGFN(TrainedSampler):
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
        Parents that are considered for each node. None: all others up to 20 variables
        (16 for "bdeu", "features" and "mlp"), else the 12 best; an integer: that many,
        the best; a dict from a variable to the list of its candidates (variables left
        out are treated as with None). Variables are column names, or integers when X is
        an array. At most 24. Required parents are always among them, forbidden ones
        never. `discarded_mass_` estimates what the choice costs.
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
    learning_rate : float or None
        Peak learning rate of Adam. None: 0.005 for "edges" up to 20 variables, 0.0025
        beyond and for "gnn". For "edges" beyond 20 variables it becomes 0.01 where a fit
        has fewer than 1,713 updates (with `max_time`, from when 5 % of it show that) and
        no more than one policy is asked for, and where `n_policies=None` leaves a choice
        (below) and one policy goes on because updates still help it; then also in later
        schedules of `resume`. Not with `warm_start` from another fit or `objective="ml"`.
        `history_` and `verbose` say so.
    objective : {"tb", "ml"}
        For "edges": "tb" is a short start by maximum likelihood on states of structure
        chains, then trajectory balance on these and own draws; "ml" is maximum
        likelihood throughout. Chains then never learn from the policy, and `history_`
        has no gap. "gnn" has the loss of the published method and refuses "ml".
    n_policies : int or None
        For "edges": policies, each with an order of the pairs of its own, whose mixture
        is drawn from, with its exact log-probabilities. One begins; after 30 % of the
        plan, if it has not ended by then, the others go on from what it has learned, and
        all share the updates that are left. Where more updates no longer help one policy
        (few rows, the prior "uniform") several make a closer mixture; where they still
        do, a worse one. Draws, `log_prob` and memory cost that many times as much.
        `history_` is about single policies. None: 1 up to 20 variables; beyond, 6 (or
        3 to 5, as many as get 400 updates each and have room in memory) if by then the
        loss has nearly ceased to fall, no draws are far off and the gap is not below 0.05
        nats, else 1. Where several are possible maximum likelihood has a tenth of the plan,
        else a fifth.
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
    n_policies_ : int
        Policies that draws are of.
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
        learning_rate: float | None = None,
        objective: str = "tb",
        n_policies: int | None = None,
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
        self.n_policies = n_policies
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
        training = check_training(self, problem, DEFAULTS)
        before = self._find_start(problem, training)
        self._start(problem, X)
        at_first, to_come = number_of_policies(training, before)
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
            branches_to=to_come,
            may_be_fewer=training.may_be_fewer,
            # one that has learned before (warm start) keeps its rate
            may_be_faster=training.may_be_faster and before is None,
        )
        self._engine = training.engine(
            self._tables,
            trainer_settings={
                "n_iter": training.n_iter,
                "batch_size": training.batch_size,
                "learning_rate": training.learning_rate,
                "seed": stream_seed(self.random_seed_, STREAM_FIT),
                **({"n_policies": at_first} if at_first > 1 else {}),
                **training.more_settings,
            },
        )
        if self.verbose:
            self._print_plan(problem, {"training": describe_training(self, training)})
        trainer = self._engine.trainer
        if before is not None:
            start_from(trainer, before.trainer)
        if training.max_time is not None:
            self._plan.seconds = training.max_time - (time.perf_counter() - started)
            if self._plan.seconds <= 0:
                self._plan.seconds = 0.0
                n_policies = self._engine.n_policies
                warnings.warn(
                    f"max_time={training.max_time:g} s was over before training began "
                    f"({trainer.n_parameters} parameters are untrained but for "
                    f"{n_policies} updates); allow more time or fewer candidates",
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
            self._plan = Plan(
                first=first,
                n_iter=updates,
                seconds=seconds,
                branches_to=self._plan.branches_to,
                may_be_fewer=self._plan.may_be_fewer,
                may_be_faster=self._plan.may_be_faster,
            )
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

    def _integrates_parameters(self) -> bool:
        return self.generator != "gnn"


DEFAULTS: dict[str, Any] = {
    name: parameter.default
    for name, parameter in inspect.signature(JSPGFN).parameters.items()
}
