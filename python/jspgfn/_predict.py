"""What draws predict: the density of new rows, and the effects of interventions."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._exceptions import JspgfnWarning
from ._features import paths_of
from ._interventions import check_interventions
from ._labels import import_extra
from ._networks import Contrast, DiscreteNetworks, LinearNetworks
from ._summaries import Summaries, summarise
from ._table import Table, as_numbers, check_finite, split_columns
from ._validation import check_integer, check_real, describe, join_names, plain

if TYPE_CHECKING:
    import pandas

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

# Memory that one block of densities may take.
BLOCK_BYTES = 2**25

SIMULATION_SEED = 0  # the same for every call: answers do not change when repeated


class Predictions(Summaries):
    """What draws predict; see `Posterior`."""

    _reader = "Posterior"  # whom messages about columns name

    def predict_log_density(
        self, X_new: Any, interventions: Any = None, weighted: bool = False
    ) -> Floats:
        """Log posterior predictive density of each new row.

        Parameters
        ----------
        X_new : DataFrame or array-like of shape (n_new, D)
            Rows with the columns of the data, in the same order.
        interventions : None, array-like of shape (n_new, D), or sequence of n_new targets
            As for `JSPGFN.fit`. Cells that an experimenter set have no density of their
            own; they count as values of parents only.
        weighted : bool
            Use the importance weights.

        Returns
        -------
        ndarray of shape (n_new,), float64
            log of the mean over draws of p(row | G, theta), each row on its own, in the
            units of X. For discrete data, log probabilities.

        Raises
        ------
        ValueError
            For other columns, bad entries or states that the data did not have.

        Notes
        -----
        `ExactPosterior.predict_log_density` has no Monte-Carlo error. Here it is small
        for rows like those of the data, and larger, downwards, for rows far from them.

        Examples
        --------
        >>> import jspgfn
        >>> sim = jspgfn.simulate.linear_gaussian(
        ...     n_variables=3, n_samples=50, random_state=0)
        >>> exact = jspgfn.ExactPosterior(random_state=0).fit(sim.X[:40])
        >>> by_draws = exact.sample(2000).predict_log_density(sim.X[40:])
        >>> bool(abs(by_draws - exact.predict_log_density(sim.X[40:])).max() < 0.2)
        True
        """
        rows = self._read_rows(X_new)
        counts = np.ones(rows.shape, bool)
        table = Table(rows, self.feature_names, self._labelled)
        mask = check_interventions(interventions, table)
        if mask is not None:
            counts = mask == 0
        with np.errstate(divide="ignore"):
            log_weights = np.log(self._weights_of(weighted))
        # few rows at a time, so that many draws fit beside them
        n_rows = max(1, min(len(rows), 256))
        per_draw = n_rows * rows.shape[1] * self._networks.bytes_per_cell
        n_draws = max(1, BLOCK_BYTES // max(per_draw, 1))
        result = np.empty(len(rows))
        for begin in range(0, len(rows), n_rows):
            part = slice(begin, begin + n_rows)
            best = np.full(len(rows[part]), -np.inf)
            total = np.zeros(len(rows[part]))
            for first in range(0, len(self), n_draws):
                draws = slice(first, first + n_draws)
                terms = self._networks.log_density(rows[part], counts[part], draws)
                terms = terms + log_weights[draws, None]
                before, best = best, np.maximum(best, terms.max(axis=0))
                shift = np.where(best > -np.inf, best, 0.0)
                total = total * np.exp(before - shift) + np.exp(terms - shift).sum(
                    axis=0
                )
            with np.errstate(divide="ignore"):
                result[part] = np.where(best > -np.inf, best, 0.0) + np.log(total)
        return result

    def _read_rows(self, X_new: Any) -> NDArray[Any]:
        states = None
        if isinstance(self._networks, DiscreteNetworks):
            states = self._networks.states
        return read_rows(
            X_new, self.feature_names, self._labelled, states, self._reader
        )

    # --- effects ---------------------------------------------------------------------

    def conditional_mean(self, child: Any, X_new: Any) -> Floats:
        """Mean of a variable given its parents, in each draw, at rows of one's choice.

        Parameters
        ----------
        child : str or int
            A column name, or its number.
        X_new : DataFrame or array-like of shape (n_new, D)
            Values of the parents, in the units of X; those of the child itself and of
            variables that are no parents do not count.

        Returns
        -------
        ndarray of shape (n, n_new), float64
            ``E[x_child | parents, G_s, theta_s]`` for draw s, the mechanism without its
            noise: whatever the model, so that `theta` need not be taken apart.

        Raises
        ------
        ValueError
            For other columns or bad entries; for discrete data, whose draws have tables
            (`conditional_table`).

        Examples
        --------
        >>> import jspgfn
        >>> sim = jspgfn.simulate.nonlinear_gaussian(
        ...     n_variables=3, n_samples=50, random_state=0)
        >>> exact = jspgfn.ExactPosterior("features", random_state=0).fit(sim.X)
        >>> exact.sample(100).conditional_mean(2, sim.X[:5]).shape
        (100, 5)
        """
        j = self._find_variable(child, "child")
        return self._means(j, self._read_rows(X_new), np.arange(len(self)))

    def _means(self, j: int, rows: Floats, draws: NDArray[np.intp]) -> Floats:
        if isinstance(self._networks, DiscreteNetworks):
            raise ValueError("discrete data have tables, see conditional_table")
        networks: Any = self._networks
        if len(draws) < len(self):
            networks = networks.take(draws)
        if not len(draws):
            return np.empty((0, len(rows)))
        per_draw = len(rows) * networks.bytes_per_cell
        n_draws = max(1, BLOCK_BYTES // max(per_draw, 1))
        return np.concatenate(
            [
                networks.mean(j, rows, slice(first, min(first + n_draws, len(draws))))
                for first in range(0, len(draws), n_draws)
            ]
        )

    def mechanism(
        self,
        parent: Any,
        child: Any,
        X: Any,
        *,
        n_points: int = 100,
        weighted: bool = False,
    ) -> Mechanism:
        """How the mean of a child goes with one parent, in the draws with that edge.

        Parameters
        ----------
        parent, child : str or int
            Column names, or numbers.
        X : DataFrame or array-like of shape (N, D)
            Data, for the range of the parent, and for the other parents, which are held
            at their means.
        n_points : int
            Values of the parent, evenly over its range.
        weighted : bool
            Use the importance weights, for mean, band and probability.

        Returns
        -------
        Mechanism
            A tuple with fields x (n_points,), values of the parent; curves
            (draws with the edge, n_points), mean of the child in each of them; mean, low
            and high (n_points,), the mean of the curves and the ends of their central
            90 % interval, NaN when no draw has the edge; probability of the edge. All but
            the last in the units of X.

        Raises
        ------
        ValueError
            For a variable that is unknown or its own parent, other columns, no rows or bad
            entries; for discrete data, whose draws have tables (`conditional_table`).

        Examples
        --------
        >>> import jspgfn
        >>> sim = jspgfn.simulate.nonlinear_gaussian(
        ...     n_variables=3, n_samples=50, random_state=0)
        >>> post = jspgfn.ExactPosterior("features", random_state=0).fit(sim.X).sample(100)
        >>> curve = post.mechanism(0, 1, sim.X, n_points=20)
        >>> curve.x.shape, curve.curves.shape[1], curve.mean.shape
        ((20,), 20, (20,))
        """
        i = self._find_variable(parent, "parent")
        j = self._find_variable(child, "child")
        if i == j:
            raise ValueError(
                f"parent and child must differ, got {self.feature_names[i]!r} twice"
            )
        if isinstance(self._networks, DiscreteNetworks):
            raise ValueError("discrete data have tables, see conditional_table")
        n_points = check_integer("n_points", n_points, at_least=2)
        data = self._read_rows(X)
        if not len(data):
            raise ValueError(
                "X has no rows, which mechanism needs for ranges and means"
            )
        grid = np.tile(data.mean(axis=0), (n_points, 1))
        grid[:, i] = np.linspace(data[:, i].min(), data[:, i].max(), n_points)
        present = np.flatnonzero(self.graphs[:, i, j])
        weights = self._weights_of(weighted)[present]
        probability = weights.sum() if weighted else len(present) / len(self)
        curves = self._means(j, grid, present)
        mean = low = high = np.full(n_points, np.nan)
        if weights.sum() > 0:
            share = weights / weights.sum()
            mean = share @ curves
            low, high = weighted_quantiles(curves, share, (0.05, 0.95))
        return Mechanism(grid[:, i], curves, mean, low, high, float(probability))

    def effects(
        self,
        cause: Any,
        outcome: Any,
        *,
        low: Any = None,
        high: Any = None,
        state: Any = None,
        n_simulations: int = 1000,
    ) -> Floats:
        """Draws of the total effect of setting one variable on another.

        Parameters
        ----------
        cause, outcome : str or int
            Column names, or numbers.
        low, high : number or state, or None
            The effect is that of setting the cause to `high` rather than to `low`. None:
            0 and 1 for numbers, so that linear models answer per unit of the cause (other
            models warn: take values that the cause has in the data); the first and the
            last state for discrete data.
        state : state or None
            Of a discrete outcome: the state whose probability is looked at, None = the
            last.
        n_simulations : int
            Simulated rows per draw, for models that are not linear.

        Returns
        -------
        ndarray of shape (n,), float64
            One effect per draw of graph and parameters, in units of the outcome (change
            of a probability for discrete data). Exactly 0 in every draw without a
            directed path from cause to outcome, so that ``(effects == 0).mean()`` is the
            probability that there is no effect at all.

        Raises
        ------
        ValueError
            For unknown variables or states, or when cause and outcome are the same.

        Notes
        -----
        Linear models: the sum over all directed paths of the products of their weights.
        Others: the mean of the outcome (the probability of a state) over rows simulated
        after each of the two interventions, with the same random numbers for both and
        with a fixed seed.

        An effect is as causal as the graphs are: no hidden common causes.

        Examples
        --------
        >>> import jspgfn
        >>> sim = jspgfn.simulate.linear_gaussian(
        ...     n_variables=3, n_samples=50, random_state=0)
        >>> post = jspgfn.ExactPosterior(random_state=0).fit(sim.X).sample(100)
        >>> post.effects(0, 2).shape
        (100,)
        """
        a = self._find_variable(cause, "cause")
        b = self._find_variable(outcome, "outcome")
        if a == b:
            raise ValueError(
                f"cause and outcome must differ, got {self.feature_names[a]!r} twice"
            )
        n_simulations = check_integer("n_simulations", n_simulations, at_least=1)
        if isinstance(self._networks, DiscreteNetworks):
            of_cause, of_outcome = (self._networks.states[j] for j in (a, b))
            contrast = Contrast(
                find_state("low", low, of_cause, first=True),
                find_state("high", high, of_cause),
                find_state("state", state, of_outcome),
                n_simulations,
                SIMULATION_SEED,
            )
        else:
            if state is not None:
                raise ValueError("state is for discrete data only")
            if (low is None or high is None) and not isinstance(
                self._networks, LinearNetworks
            ):
                warnings.warn(
                    f"the effect of setting {self.feature_names[a]!r} from "
                    f"{describe(0 if low is None else low)} to "
                    f"{describe(1 if high is None else high)}: mechanisms are not linear, "
                    "so give low and high among the values that it has in the data",
                    JspgfnWarning,
                    stacklevel=2,
                )
            contrast = Contrast(
                0.0 if low is None else check_real("low", low),
                1.0 if high is None else check_real("high", high),
                None,
                n_simulations,
                SIMULATION_SEED,
            )
        return self._networks.effects(a, b, contrast)

    def effect_summary(
        self, cause: Any, outcome: Any, *, weighted: bool = False, **options: Any
    ) -> EffectSummary:
        """Mean, standard deviation, 90 % interval of an effect, and whether it is zero.

        Parameters
        ----------
        cause, outcome : str or int
            Column names, or numbers.
        weighted : bool
            Use the importance weights.
        **options : optional
            Further arguments of `effects`.

        Returns
        -------
        EffectSummary
            A tuple with fields mean, sd, low and high (ends of the central 90 %
            interval), probability_zero, and mean_given_effect, the mean over draws with
            an effect. The first four take graphs without a path as effect 0.

        Examples
        --------
        >>> import jspgfn
        >>> sim = jspgfn.simulate.linear_gaussian(
        ...     n_variables=3, n_samples=50, random_state=0)
        >>> post = jspgfn.ExactPosterior(random_state=0).fit(sim.X).sample(100)
        >>> summary = post.effect_summary(0, 2)
        >>> summary.low <= summary.mean <= summary.high
        True
        """
        effects = self.effects(cause, outcome, **options)
        return summarise_effects(effects, self._counts_of(weighted))

    def _counts_of(self, weighted: bool) -> Floats:
        """Weights up to a factor; 1 without them, so that shares are counts / n exactly."""
        weights = self._weights_of(weighted)
        return weights if weighted else np.ones_like(weights)

    def effect_table(self, weighted: bool = False) -> pandas.DataFrame:
        """The effects of every variable on every other. Linear models; needs pandas.

        Parameters
        ----------
        weighted : bool
            Use the importance weights.

        Returns
        -------
        DataFrame
            Columns cause, outcome and the fields of `effect_summary`; pairs without a
            directed path in any draw are left out. The surest effects come first.

        Examples
        --------
        >>> import jspgfn
        >>> sim = jspgfn.simulate.linear_gaussian(
        ...     n_variables=3, n_samples=50, random_state=0)
        >>> post = jspgfn.ExactPosterior(random_state=0).fit(sim.X).sample(100)
        >>> list(post.effect_table().columns[:3])
        ['cause', 'outcome', 'mean']
        """
        pandas = import_extra("pandas")
        if not isinstance(self._networks, LinearNetworks):
            raise ValueError(
                "effect_table is for linear models, where an effect is one number per "
                "unit; ask effect_summary for one pair of variables"
            )
        contrast = Contrast(0.0, 1.0, None, 1, 0)
        weights = self._counts_of(weighted)
        possible = self._shares(paths_of, weighted=False)[0] > 0
        rows = []
        for a, b in np.argwhere(possible).tolist():
            summary = summarise_effects(self._networks.effects(a, b, contrast), weights)
            rows.append((self.feature_names[a], self.feature_names[b], *summary))
        table = pandas.DataFrame(
            rows, columns=["cause", "outcome", *EffectSummary._fields]
        )
        return table.sort_values("probability_zero", kind="stable").reset_index(
            drop=True
        )


class Mechanism(NamedTuple):
    """How the mean of a child goes with one parent; see `Posterior.mechanism`."""

    x: Floats
    curves: Floats
    mean: Floats
    low: Floats
    high: Floats
    probability: float


def weighted_quantiles(
    values: Floats, weights: Floats, quantiles: tuple[float, ...]
) -> Floats:
    """Along axis 0, by the weights (sum 1) of the rows; plain ones when all are alike."""
    if np.ptp(weights) <= 1e-12 * weights.max():
        return np.asarray(np.quantile(values, quantiles, axis=0))
    order = np.argsort(values, axis=0)
    reached = np.cumsum(weights[order], axis=0)
    picks = [(reached < q).sum(axis=0).clip(max=len(values) - 1) for q in quantiles]
    ordered = np.take_along_axis(values, order, axis=0)
    return np.stack([np.take_along_axis(ordered, p[None], axis=0)[0] for p in picks])


class EffectSummary(NamedTuple):
    """Of the draws of one effect; `low` and `high` are the central 90 % interval."""

    mean: float
    sd: float
    low: float
    high: float
    probability_zero: float
    mean_given_effect: float


def summarise_effects(effects: Floats, weights: Floats) -> EffectSummary:
    """weights : up to a common factor"""
    present = effects != 0
    share = float(weights[present].sum())
    given = float(weights[present] @ effects[present]) / share if share > 0 else np.nan
    without = float(weights[~present].sum() / weights.sum())
    return EffectSummary(
        *summarise(effects, weights),
        probability_zero=min(without, 1.0),
        mean_given_effect=given,
    )


def find_state(
    argument: str, state: Any, states: list[Any], first: bool = False
) -> int:
    """Code of a state; None = the last one, or the first."""
    if state is None:
        return 0 if first else len(states) - 1
    if state not in states:
        raise ValueError(
            f"{argument}: unknown state {describe(state)}; expected {join_names(states)}"
        )
    return states.index(state)


# --- new rows ------------------------------------------------------------------------


def read_rows(
    X_new: Any,
    names: list[str],
    labelled: bool,
    states: list[list[Any]] | None,
    reader: str,
) -> NDArray[Any]:
    """Numbers in the units of X or codes of states, (n_new, D)."""
    columns, names_given, labels_given = split_columns(X_new)
    if len(columns) != len(names):
        raise ValueError(
            f"X has {len(columns)} features, but {reader} is expecting {len(names)} "
            f"features as input: the columns of the data, {join_names(names)}"
        )
    if labelled and labels_given and names_given != names:
        raise ValueError(
            f"X must have the columns of the data, {join_names(names)}, "
            f"got {join_names(names_given)}"
        )
    if states is not None:
        return np.stack(
            [
                encode(column, found, name)
                for column, found, name in zip(columns, states, names, strict=True)
            ],
            axis=1,
        )
    values = np.stack(
        [as_numbers(column, name) for column, name in zip(columns, names, strict=True)],
        axis=1,
    )
    if len(values):
        check_finite(values, names)
    return values


def encode(column: Any, states: list[Any], name: str) -> NDArray[np.int32]:
    code_of = {state: code for code, state in enumerate(states)}
    codes = np.empty(len(column), dtype=np.int32)
    for row, entry in enumerate(list(column)):
        if entry not in code_of:
            raise ValueError(
                f"column {name!r} has the state {plain(entry)} (row {row}), which the data "
                f"did not have: {join_names(states)}"
            )
        codes[row] = code_of[entry]
    return codes
