"""What all estimators share: from data and settings to score tables, from draws back.

`ScoreEstimator` turns data and settings into a `Problem` and `_core.Scores`; a subclass
adds what it does with them. In a subclass, `fit` goes

    problem = self._check_problem(X, interventions)  # refuses bad input, does no work
    ... checks of its own settings ...
    self._start(problem, X)                          # fitted attributes, self._tables
    if self.verbose:
        self._print_plan(problem, {"training": "..."})
    scores = self._tables.scores                     # built at the first access

and draws of graphs become a posterior with `self._make_posterior`.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted, validate_data

from . import _core
from ._batches import SufficientStatistics, gather, is_large
from ._candidates import plan_candidates
from ._config import check_n_jobs
from ._constraints import check_constraints
from ._exceptions import CandidatesWarning
from ._interventions import check_interventions, check_same_rows
from ._labels import label_matrix
from ._mechanisms import make_feature_networks
from ._mechanisms_mlp import make_mlp_networks
from ._models import (
    NON_LINEAR,
    BDeu,
    MLPGaussian,
    Model,
    RandomFeatures,
    check_model,
    is_discrete,
)
from ._networks import DiscreteNetworks, LinearNetworks, Networks
from ._posterior import Posterior
from ._preprocess import check_noise_scale, check_preprocess, warn_about_noise_scale
from ._priors import check_graph_prior
from ._problem import Problem, ScoreTables, named_variables, select_candidates
from ._spread import count_sets, is_known, n_workers
from ._streams import (
    STREAM_PARAMETERS,
    STREAM_SUMMARY,
    draw_tables,
    in_pieces,
    stream_seed,
)
from ._table import Table, check_discrete_table, check_table
from ._validation import (
    check_graphs,
    check_max_parents,
    check_memory,
    check_seed,
    check_verbose,
    count_bytes,
    describe,
    variable_finder,
)

# What check_is_fitted looks for, in whatever estimator.
FITTED = ("_tables", "_engine", "_record", "log_partition_")

# Draws that `score` averages over.
N_SCORE_DRAWS = 1000

# Share of a variable's posterior mass outside its candidates that is worth a warning.
DISCARDED_MASS = 0.25


class ScoreEstimator(BaseEstimator):  # type: ignore[misc]
    """Base of the estimators: everything from data to score tables, and back.

    Subclasses list these parameters in their own constructor, as scikit-learn wants.
    """

    model: Model
    graph_prior: Any
    constraints: Any
    max_parents: int | None
    candidates: Any
    preprocess: str | None
    n_jobs: int | None
    random_state: Any
    verbose: int

    # --- from data to tables ---------------------------------------------------------

    def _check_problem(self, X: Any, interventions: Any) -> Problem:
        """Checks data and shared settings; ValueError or TypeError before any work."""
        table, mask = self._read_table(X, interventions)
        check_verbose(self.verbose)
        model = check_model(self.model, table.n_variables)
        has_tables = self._integrates_parameters() or not model.is_costly
        graph_prior = check_graph_prior(self.graph_prior, table.names)
        rules = check_constraints(
            self.constraints,
            table.names,
            table.labelled,
            check_max_parents(
                model.max_parents
                if self.max_parents is None and has_tables
                else self.max_parents,
                table.n_variables,
            ),
            graph_prior.probability,
        )
        problem = Problem(
            table=table,
            mask=mask,
            model=model,
            preprocessing=check_preprocess(self.preprocess, model, table, mask),
            graph_prior=graph_prior,
            rules=rules,
            candidates=plan_candidates(
                self.candidates, table, rules, has_tables, model.all_candidates_up_to
            ),
            n_threads=check_n_jobs(self.n_jobs),
            has_tables=has_tables,
        )
        check_noise_scale(model, problem.preprocessing, table, mask)
        check_memory(
            problem.n_bytes + problem.moment_bytes,
            f"tables of {max(problem.candidates.counts)} candidate parents per variable",
            "set candidates to a smaller number (max_parents makes tables no smaller)",
        )
        return problem

    def _read_table(
        self, X: Any, interventions: Any
    ) -> tuple[Table, NDArray[np.uint8] | None]:
        n_states = self.model.n_states if isinstance(self.model, BDeu) else None
        wants_states = is_discrete(self.model)
        options = getattr(self, "gnn_options", None) or {}
        wants_rows = (
            isinstance(self.model, (RandomFeatures, MLPGaussian))
            or (isinstance(self.model, str) and self.model in NON_LINEAR)
            or (isinstance(options, Mapping) and bool(options.get("minibatch_rows")))
        )
        if is_large(X) and not wants_states and not wants_rows:
            X, interventions = gather(X, interventions, self.n_jobs), None
        if isinstance(X, SufficientStatistics):
            if wants_rows:
                raise ValueError(
                    f"the model {describe(self.model)} with these settings needs all rows "
                    "in memory: give fit the table itself"
                )
            if interventions is not None:
                raise ValueError(
                    "interventions belong to the batches: give them to "
                    "SufficientStatistics.add"
                )
            return X._to_table(wants_states, n_states)
        table = check_discrete_table(X, n_states) if wants_states else check_table(X)
        check_same_rows(X, interventions)
        return table, check_interventions(interventions, table)

    def _integrates_parameters(self) -> bool:
        """Whether the estimator needs the evidence of parent sets."""
        return True

    def _start(self, problem: Problem, X: Any) -> None:
        """Sets the fitted attributes; to be called by `fit` itself."""
        for (
            name
        ) in FITTED:  # an interrupted fit must not show results of an earlier one
            self.__dict__.pop(name, None)
        # n_features_in_, feature_names_in_
        if isinstance(X, SufficientStatistics):
            X = X._example()
        validate_data(self, X, skip_check_array=True)
        warn_about_noise_scale(
            problem.model, problem.preprocessing, problem.table, problem.mask
        )
        x: Any = problem.table.values
        if problem.table.moments is not None:
            x = problem.preprocessing.apply_to_moments(problem.table.moments)
        elif not problem.model.is_discrete:
            x = problem.preprocessing.apply(x)
        self._states = problem.table.states
        self.random_seed_ = check_seed(self.random_state)
        self.preprocess_ = problem.preprocessing.kind
        self.candidates_ = select_candidates(x, problem)
        of_tables = self.candidates_
        if not problem.has_tables:
            of_tables = [[] for _ in self.candidates_]
        self._labelled = problem.table.labelled
        self._names = problem.table.names
        self._preprocessing = problem.preprocessing
        self._n_drawn = 0
        self._tables = ScoreTables(
            x,
            problem.mask,
            {**problem.scores_settings(), "candidates": of_tables},
            problem.n_threads,
            bool(self.verbose),
            problem.table.names,
        )
        self._warn_about_candidates(problem)

    def _warn_about_candidates(self, problem: Problem) -> None:
        """Candidates that were chosen by us should not change answers in silence."""
        plan, n_variables = problem.candidates, problem.n_variables
        chosen = plan.n_selected < n_variables - 1 and len(plan.named) < n_variables
        if not (chosen and problem.has_tables) or self._tables.is_costly:
            return
        lost = self.discarded_mass_
        worst = int(np.argmax(lost))
        if not lost[worst] > DISCARDED_MASS:
            return
        warnings.warn(
            f"the candidate parents chosen for {self._names[worst]!r} leave out about "
            f"{lost[worst]:.2g} of the mass of its parent sets ({np.median(lost):.2g} in "
            "the median of all variables), so probabilities of edges can be far off; "
            f"expected at most {DISCARDED_MASS}: see discarded_mass_, and set candidates "
            "to a larger number or max_parents to a smaller one",
            CandidatesWarning,
            stacklevel=4,
        )

    def _print_plan(self, problem: Problem, more: dict[str, str]) -> None:
        """The lines every plan begins with, then one per entry of `more`."""
        table, counts = problem.table, problem.candidates.counts
        most = problem.table.n_variables - 1
        considered = (
            "all other variables"
            if min(counts) == most
            else f"{min(counts)} to {max(counts)} per variable"
            if min(counts) < max(counts)
            else f"{max(counts)} per variable"
        )
        if problem.candidates.n_selected < most:
            considered += ", the best"
        limit = min(max(problem.rules.max_parents), max(counts))
        touched = self._tables.n_touched
        fields = ", ".join(
            f"{name} learned" if math.isnan(value) else f"{name} {value:.6g}"
            for name, value in problem.model.fields.items()
        )
        lines = {
            "data": f"{table.n_rows} rows, {table.n_variables} variables, "
            f"{touched} rows with interventions",
            "model": f"{problem.model.name} ({fields}), graph prior "
            f"{problem.graph_prior.text}, preprocess {self.preprocess_}",
            "candidates": f"{considered}; at most {limit} parents; tables "
            f"of {count_bytes(problem.n_bytes)}",
        }
        tables = self._tables
        if tables.is_costly:
            n_sets = count_sets(tables.settings)
            who = f"by {n_workers()} workers of joblib"
            if is_known(tables.x, tables.mask, tables.settings):
                who = "by an earlier fit"
            elif n_workers() == 1:
                n_threads = problem.n_threads
                who = f"by {n_threads} thread{'s' if n_threads > 1 else ''}"
            lines["fits"] = f"{n_sets} parent sets, one by one, {who}"
        if problem.rules.any_edges:
            lines["constraints"] = (
                f"{int(problem.rules.required.sum())} edges required, "
                f"{int(problem.rules.forbidden.sum())} forbidden"
            )
        if min(counts) < most and tables.is_costly:
            lines["discarded"] = (
                "what lies outside the candidates is not estimated: that would take "
                "further fits"
            )
        elif min(counts) < most and problem.has_tables:
            lost = self.discarded_mass_
            worst = int(np.argmax(lost))
            lines["discarded"] = (
                f"about {lost[worst]:.2g} of the mass of {self._names[worst]!r} lies "
                f"outside its candidates, {np.median(lost):.2g} in the median"
            )
        for name, text in {**lines, **more}.items():
            print(f"{name:<12}{text}", flush=True)

    @property
    def discarded_mass_(self) -> NDArray[np.float64]:
        """Estimated share of each node's posterior mass that candidates leave out.

        From the best parent sets of the table, each with one more parent from outside
        the candidates; acyclicity is not looked at. 0 where all variables are candidates
        or forbidden; NaN for the model "mlp" elsewhere.
        """
        check_is_fitted(self, "_tables")
        return self._tables.scores.discarded

    def save(self, path: Any) -> None:
        """Write the estimator to a file, from which `jspgfn.load` makes it again.

        Parameters
        ----------
        path : str or path
            The file; `.safetensors` is the usual ending. Its folder must exist. A file
            that is there is replaced in one step, or left alone if anything goes wrong.

        Raises
        ------
        TypeError
            When a constructor argument is an object that files cannot hold.
        OSError
            When the file cannot be written.

        Notes
        -----
        The file holds the data of the fit, because score tables are built from them.

        Examples
        --------
        >>> import os, tempfile
        >>> import jspgfn
        >>> sim = jspgfn.simulate.linear_gaussian(
        ...     n_variables=3, n_samples=50, random_state=0)
        >>> path = os.path.join(tempfile.mkdtemp(), "exact.safetensors")
        >>> jspgfn.ExactPosterior().fit(sim.X).save(path)
        >>> jspgfn.load(path)
        ExactPosterior()
        """
        from ._files import save

        save(self, path)

    # --- from graphs to results ------------------------------------------------------

    def _next_draws(self, n: int, random_state: Any) -> tuple[int, int]:
        """Seed and number of the first of n draws.

        None goes on with the stream of the fit's own seed; a seed of the caller's own
        starts at its beginning.
        """
        if random_state is not None:
            return check_seed(random_state), 0
        first_draw = self._n_drawn
        self._n_drawn += n
        return self.random_seed_, first_draw

    def _make_posterior(
        self,
        graphs: NDArray[np.uint8],
        seed: int,
        first_draw: int = 0,
        *,
        log_prob: NDArray[np.float64] | None,
        log_reward: NDArray[np.float64] | None = None,
        equal_weights: bool = False,
        parameters: tuple[Any, ...] | None = None,
        log_reward_joint: NDArray[np.float64] | None = None,
    ) -> Posterior:
        """Graphs (n, D, D) with parameters in the units of X, drawn exactly unless given.

        log_prob : of each graph under whatever drew it; None = unknown (chains), which
        makes all weights equal, as equal_weights does.
        parameters : of a sampler that draws them itself, listed as by
        _core.Scores.draw_parameters, with log_reward_joint.
        """
        if log_reward is None and self._tables.settings["tabulate"]:
            log_reward = self._tables.scores.log_reward(graphs)
        stream = stream_seed(seed, STREAM_PARAMETERS)
        if self._states is None:
            networks, log_prob_theta = self._make_networks(
                graphs, parameters or self._draw_parameters(graphs, stream, first_draw)
            )
        else:
            networks, log_prob_theta = self._draw_tables(graphs, stream, first_draw)
        return Posterior(
            networks,
            log_prob=log_prob,
            log_prob_theta=log_prob_theta,
            log_reward=log_reward,
            feature_names=self._names,
            labelled=self._labelled,
            equal_weights=equal_weights,
            log_reward_joint=log_reward_joint,
        )

    def _draw_parameters(
        self, graphs: NDArray[np.uint8], stream: int, first_draw: int
    ) -> tuple[Any, ...]:
        # models that take long per parent set share it among all draws
        shares = self._tables.settings["model"] in NON_LINEAR
        with named_variables(self._names):
            return in_pieces(
                len(graphs),
                lambda first, last: self._tables.scores.draw_parameters(
                    graphs[first:last], stream, first_draw + first
                ),
                at_once=shares,
            )

    def _make_networks(
        self, graphs: NDArray[np.uint8], parameters: tuple[Any, ...]
    ) -> tuple[Networks, NDArray[np.float64]]:
        """From parameters as _core.Scores.draw_parameters lists them."""
        *linear, log_prob_theta = parameters[:4]
        shift, scale = self._preprocessing.shift, self._preprocessing.scale
        if self._tables.settings["model"] == "mlp":
            theta, noise_scale = parameters[4], linear[2]
            return make_mlp_networks(
                graphs.view(np.bool_), theta, noise_scale, shift, scale
            ), log_prob_theta
        networks = LinearNetworks(
            graphs.view(np.bool_), *self._preprocessing.to_units_of_x(graphs, *linear)
        )
        if self._tables.settings["model"] == "features":
            kind = "fourier" if self._tables.fields["fourier"] else "relu"
            return make_feature_networks(
                networks, parameters[4], self._tables.scores, kind, shift, scale
            ), log_prob_theta
        return networks, log_prob_theta

    def _draw_tables(
        self, graphs: NDArray[np.uint8], stream: int, first_draw: int
    ) -> tuple[Networks, NDArray[np.float64]]:
        assert self._states is not None
        scores = self._tables.scores
        check_memory(
            8.0 * scores.table_sizes(graphs).sum(dtype=np.float64),
            f"the conditional probability tables of {len(graphs)} draws",
            "draw fewer, or limit max_parents",
        )
        cells, offset, log_prob_theta = draw_tables(scores, graphs, stream, first_draw)
        n_states = np.array(self._tables.settings["n_states"], dtype=np.int64)
        tables = {"table": cells, "offset": offset, "n_states": n_states}
        return (
            DiscreteNetworks(graphs.view(np.bool_), tables, self._states),
            log_prob_theta,
        )

    def _check_draws(self, n: int) -> None:
        """ValueError when n draws would not fit in memory."""
        n_variables = len(self._names)
        per_node = 64.0 + 16.0 * self._tables.fields.get("n_features", 0)
        check_memory(
            n * (2.0 * n_variables**2 + per_node * n_variables),
            f"{n} draws of {n_variables} variables",
            "set n to a smaller number",
        )

    def log_reward(self, graphs: Any) -> NDArray[np.float64]:
        """Log of prior weight times evidence, log w(G) + log P(data | G).

        The sum of ``exp(log_reward)`` over all allowed graphs is the normalising
        constant Z of the posterior. Evidences are those of the preprocessed data.

        Parameters
        ----------
        graphs : array-like of shape (n, D, D) or (D, D)
            bool or 0/1, ``graphs[s, i, j]`` = edge i -> j.

        Returns
        -------
        ndarray of shape (n,), float64
            -inf for acyclic graphs that max_parents or candidates exclude.

        Raises
        ------
        ValueError
            For a cycle or a self-loop, naming the row, or another shape; for the
            generator "gnn" with the model "mlp", which has no evidences of graphs.

        Examples
        --------
        >>> import numpy as np, jspgfn
        >>> sim = jspgfn.simulate.linear_gaussian(
        ...     n_variables=3, n_samples=50, random_state=0)
        >>> est = jspgfn.JSPGFN(n_iter=50, random_state=0).fit(sim.X)
        >>> post = est.sample(5)
        >>> bool(np.allclose(est.log_reward(post.graphs), post.log_reward))
        True
        """
        check_is_fitted(self, "_tables")
        if not self._tables.settings["tabulate"]:
            raise ValueError(
                "log_reward needs evidences of graphs, and the generator 'gnn' has none "
                f"for the model {self._tables.settings['model']!r}"
            )
        return self._tables.scores.log_reward(self._check_acyclic(graphs))

    def parent_set_evidence(
        self, name: Any, parents: Any, *, standard_error: bool = False
    ) -> float | tuple[float, float]:
        """Log evidence of one parent set of one variable, computed afresh.

        Without prior weight, of the preprocessed data; constraints, candidates and
        max_parents are not looked at. The sum over variables, plus the log prior weight, is
        `log_reward`.

        Parameters
        ----------
        name : str, or int for arrays
            The variable.
        parents : sequence of str, or of int for arrays
            Its parents, in any order.
        standard_error : bool
            Also return the standard error: 0 for exact evidences. Evidences of "mlp" are
            Monte-Carlo estimates, the same wherever they are asked for; their errors
            are estimated from differences between chains.

        Returns
        -------
        float, or tuple of two floats

        Raises
        ------
        ValueError
            For an unknown or repeated variable, a variable that is its own parent, or a
            single name or number as parents.
        NotFittedError
            Before fit.

        Examples
        --------
        >>> import jspgfn
        >>> sim = jspgfn.simulate.linear_gaussian(
        ...     n_variables=3, n_samples=50, random_state=0)
        >>> exact = jspgfn.ExactPosterior(max_parents=1).fit(sim.X)
        >>> exact.parent_set_evidence(0, [2, 1], standard_error=True)[1]
        0.0
        """
        check_is_fitted(self, "_tables")
        find = variable_finder(self._names, self._labelled, "name")
        node = find(name)
        # the letters of a single name would be taken for names
        if isinstance(parents, str) or not isinstance(parents, Iterable):
            raise ValueError(
                f"parents must be a sequence of variables, got {parents!r}"
            )
        find = variable_finder(self._names, self._labelled, "parents")
        found = sorted(find(parent) for parent in parents)
        if node in found or len(set(found)) < len(found):
            raise ValueError(
                f"parents must be different variables other than {name!r}, got "
                f"{list(parents)!r}"
            )
        value, error = self._tables.scores.evidence(node, found)
        return (value, error) if standard_error else value

    def score(self, X: Any, y: Any = None, *, interventions: Any = None) -> float:
        """Mean of the log posterior predictive density over rows, to select models with.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_new, D)
            Rows that the fit has not seen, with the columns of the data.
        y : ignored
            Present for scikit-learn's conventions.
        interventions : None, array-like of shape (n_new, D), or sequence of n_new targets
            As for `fit`; cells that were set have no density of their own.

        Returns
        -------
        float
            Larger is better. In the units of X, by 1,000 draws of a fixed seed (exactly
            for `ExactPosterior`), so that `GridSearchCV` can compare models, priors and
            preprocessing on the same data.

        Examples
        --------
        >>> import jspgfn
        >>> from sklearn.model_selection import GridSearchCV
        >>> sim = jspgfn.simulate.linear_gaussian(
        ...     n_variables=3, n_samples=60, random_state=0)
        >>> est = jspgfn.ExactPosterior(random_state=0)
        >>> search = GridSearchCV(est, {"model": ["bge", "nig"]}, cv=3).fit(sim.X)
        >>> sorted(search.best_params_)
        ['model']
        """
        check_is_fitted(self, "_tables")
        densities = self._predict(X, interventions)
        if not len(densities):
            raise ValueError("X has 0 rows, score needs at least 1 for a mean")
        return float(np.mean(densities))

    def _predict(self, X: Any, interventions: Any) -> NDArray[np.float64]:
        draws = self.sample(
            N_SCORE_DRAWS, stream_seed(self.random_seed_, STREAM_SUMMARY)
        )
        draws._reader = type(self).__name__  # whom messages about X name
        return draws.predict_log_density(X, interventions)

    def sample(self, n: int = 1000, random_state: Any = None) -> Posterior:
        """Draws of graphs with parameters; each estimator has its own."""
        raise NotImplementedError

    def _check_acyclic(self, graphs: Any) -> NDArray[np.uint8]:
        checked = check_graphs(graphs, self._names)
        row = _core.find_cycle(checked)
        if row >= 0:
            raise ValueError(f"graph in row {row} has a cycle")
        return checked

    def _labelled_matrix(self, matrix: NDArray[Any]) -> Any:
        return label_matrix(matrix, self._names, self._labelled)
