"""Pictures of draws; what is drawn is in _plots.py."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from . import _plots
from ._exports import Exports
from ._features import paths_of
from ._networks import DiscreteNetworks
from ._plots import Ridge
from ._validation import (
    check_choice,
    check_graph_matrix,
    check_integer,
    check_real,
    describe,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = NDArray[np.float64]

# Rows of different units: the largest mean weight beyond this many of the smallest.
UNITS_DIFFER = 30


class Pictures(Exports):
    """Pictures on matplotlib axes; see `Posterior`."""

    def plot_edges(
        self, ax: Axes | None = None, weighted: bool = False, truth: Any = None
    ) -> Axes:
        """Heat map of the edge probabilities: row = parent, column = child.

        Parameters
        ----------
        ax : matplotlib Axes or None
            Where to draw; None makes a figure.
        weighted : bool
            Use the importance weights.
        truth : array-like of shape (D, D) or None
            A graph whose edges get a frame.

        Returns
        -------
        matplotlib Axes

        Examples
        --------
        >>> import jspgfn
        >>> from matplotlib.figure import Figure
        >>> sim = jspgfn.simulate.linear_gaussian(
        ...     n_variables=2, n_samples=50, random_state=0)
        >>> post = jspgfn.ExactPosterior(random_state=0).fit(sim.X).sample(100)
        >>> post.plot_edges(ax=Figure().subplots(), truth=sim.graph).get_xlabel()
        'child'
        """
        if truth is not None:
            truth = check_graph_matrix("truth", truth, len(self.feature_names))
        probability, _ = self._edge_probabilities(weighted)
        return _plots.plot_edges(probability, self.feature_names, ax, truth)

    def plot_graph(
        self, ax: Axes | None = None, threshold: float = 0.1, weighted: bool = False
    ) -> Axes:
        """Picture of the probable edges; the darker and wider, the more probable.

        Parameters
        ----------
        ax : matplotlib Axes or None
            Where to draw; None makes a figure.
        threshold : float
            Edges whose probability is not above this are left out.
        weighted : bool
            Use the importance weights.

        Returns
        -------
        matplotlib Axes

        Examples
        --------
        >>> import jspgfn
        >>> from matplotlib.figure import Figure
        >>> sim = jspgfn.simulate.linear_gaussian(
        ...     n_variables=2, n_samples=50, random_state=0)
        >>> post = jspgfn.ExactPosterior(random_state=0).fit(sim.X).sample(100)
        >>> _ = post.plot_graph(ax=Figure().subplots())
        """
        threshold = check_real("threshold", threshold)
        probability, _ = self._edge_probabilities(weighted)
        return _plots.plot_graph(probability, self.feature_names, threshold, ax)

    def plot_coef(
        self,
        edges: Sequence[tuple[Any, Any]] | None = None,
        ax: Axes | None = None,
        *,
        n: int = 12,
        weighted: bool = False,
        scale: str = "auto",
    ) -> Axes:
        """Density of the weight of each edge given that it is there. Linear models.

        Parameters
        ----------
        edges : list of (parent, child) or None
            Names or numbers; None: the n most probable edges.
        ax : matplotlib Axes or None
            Where to draw; None makes a figure.
        n : int
            Number of edges when none are given.
        weighted : bool
            Use the importance weights.
        scale : {"auto", "shared", "own"}
            "shared": one axis for all edges; "own": each row in units of its largest
            weight, for variables of very different units; "auto" decides.

        Returns
        -------
        matplotlib Axes
            Beside each row: the probability that the edge is absent, and the mean and
            90 % interval of the weight where it is present. The height of a row shrinks
            with its probability.

        Examples
        --------
        >>> import jspgfn
        >>> from matplotlib.figure import Figure
        >>> sim = jspgfn.simulate.linear_gaussian(
        ...     n_variables=3, n_samples=50, random_state=0)
        >>> post = jspgfn.ExactPosterior(random_state=0).fit(sim.X).sample(100)
        >>> ax = post.plot_coef([(0, 1)], ax=Figure().subplots())
        >>> len(ax.get_yticks())
        1
        """
        networks = self._linear("coef")
        n = check_integer("n", n, at_least=1)
        names = self.feature_names
        probability, _ = self._edge_probabilities(weighted)
        if edges is None:
            order = np.argsort(-probability, axis=None, kind="stable")[:n]
            pairs = np.argwhere(probability >= 0)[order]
            pairs = pairs[probability[tuple(pairs.T)] > 0]
        else:
            edges = list(edges)
            if any(isinstance(e, str) or np.shape(e) != (2,) for e in edges):
                raise ValueError(
                    f"edges must be a list of pairs (parent, child), got {describe(edges)}"
                )
            pairs = np.array(
                [[self._find_variable(end, "edges") for end in edge] for edge in edges]
            ).reshape(-1, 2)
        weights = self._weights_of(weighted)
        draw, parent, child = np.nonzero(self.graphs)
        ridges = []
        for i, j in pairs.tolist():
            there = (parent == i) & (child == j)
            label = f"{names[i]} {_plots.ARROW} {names[j]}"
            ridges.append(Ridge(label, networks.edge_coef[there], weights[draw[there]]))
        return _plots.plot_ridges(
            ridges,
            ax,
            "weight: change of the child per unit of the parent",
            "Weights of edges where present",
            "absent",
            own_scale(scale, ridges),
        )

    def plot_effects(
        self,
        cause: Any,
        outcome: Any = None,
        ax: Axes | None = None,
        *,
        n: int = 12,
        weighted: bool = False,
        scale: str = "auto",
        **options: Any,
    ) -> Axes:
        """Density of total effects where there are any, with the probability of none.

        Parameters
        ----------
        cause : str or int
            Column name, or number.
        outcome : str or int, a list of them, or None
            None: the n variables that are affected with the highest probability, at
            least 5 %.
        ax : matplotlib Axes or None
            Where to draw; None makes a figure.
        n : int
            Number of outcomes when none are given.
        weighted : bool
            Use the importance weights.
        scale : {"auto", "shared", "own"}
            As for `plot_coef`.
        **options : optional
            Further arguments of `effects`.

        Returns
        -------
        matplotlib Axes

        Examples
        --------
        >>> import jspgfn
        >>> from matplotlib.figure import Figure
        >>> sim = jspgfn.simulate.linear_gaussian(
        ...     n_variables=3, n_samples=50, random_state=0)
        >>> post = jspgfn.ExactPosterior(random_state=0).fit(sim.X).sample(100)
        >>> ax = post.plot_effects(0, ax=Figure().subplots())
        >>> ax.get_title()
        'Total effects of setting x0, where there are any'
        """
        a = self._find_variable(cause, "cause")
        names = self.feature_names
        if outcome is None:
            n = check_integer("n", n, at_least=1)
            reached = self._shares(paths_of, weighted)[0][a]
            likely = np.argsort(-reached, kind="stable")[:n]
            outcome = [names[b] for b in likely if reached[b] >= 0.05 and b != a]
        elif not isinstance(outcome, (list, tuple)):
            outcome = [outcome]
        weights = self._weights_of(weighted)
        ridges = []
        for one in outcome:
            effects = self.effects(cause, one, **options)
            label = f"on {names[self._find_variable(one, 'outcome')]}"
            ridges.append(Ridge(label, effects[effects != 0], weights[effects != 0]))
        words = "effect of one more unit"
        if isinstance(self._networks, DiscreteNetworks):
            words = "change of a probability"
        elif {"low", "high"} & set(options):
            words = (
                f"effect of {options.get('high', 1)} instead of {options.get('low', 0)}"
            )
        return _plots.plot_ridges(
            ridges,
            ax,
            words,
            f"Total effects of setting {names[a]}, where there are any",
            "none",
            own_scale(scale, ridges),
        )

    def plot_agreement(
        self,
        other: Any,
        ax: Axes | None = None,
        *,
        labels: tuple[str, str] = ("this posterior", "the other"),
        weighted: bool = False,
    ) -> Axes:
        """Edge probabilities of two runs against each other, with their errors.

        Parameters
        ----------
        other : Posterior, estimator, or array-like of shape (D, D)
            What to compare with. Estimators and matrices count as free of error.
        ax : matplotlib Axes or None
            Where to draw; None makes a figure.
        labels : pair of str
            Names of the two runs.
        weighted : bool
            Use the importance weights of posteriors.

        Returns
        -------
        matplotlib Axes
            Bars are two standard errors; edges that differ by more than four are marked,
            the worst by name.

        Examples
        --------
        >>> import jspgfn
        >>> from matplotlib.figure import Figure
        >>> sim = jspgfn.simulate.linear_gaussian(
        ...     n_variables=3, n_samples=50, random_state=0)
        >>> exact = jspgfn.ExactPosterior(random_state=0).fit(sim.X)
        >>> _ = exact.sample(100).plot_agreement(exact, ax=Figure().subplots())
        """
        shape = (len(self.feature_names),) * 2
        if isinstance(other, Pictures):
            theirs = other._edge_probabilities(weighted)
        else:
            found = other
            if hasattr(other, "edge_probabilities"):
                found = other.edge_probabilities()
            matrix = np.asarray(found, dtype=np.float64)
            theirs = matrix, np.zeros_like(matrix)
        if theirs[0].shape != shape:
            raise ValueError(
                f"other must have edge probabilities of shape {shape}, got "
                f"{theirs[0].shape}"
            )
        mine = self._edge_probabilities(weighted)
        return _plots.plot_agreement(mine, theirs, self.feature_names, labels, ax)

    def plot_mechanism(
        self,
        parent: Any,
        child: Any,
        X: Any,
        ax: Axes | None = None,
        *,
        weighted: bool = False,
    ) -> Axes:
        """How the mean of a child goes with one parent, in the draws with that edge.

        The numbers behind it are those of `mechanism`.

        Parameters
        ----------
        parent, child : str or int
            Column names, or numbers.
        X : DataFrame or array-like of shape (N, D)
            Data, for the range of the parent, and for the other parents, which are held
            at their means. Its points are drawn too.
        ax : matplotlib Axes or None
            Where to draw; None makes a figure.
        weighted : bool
            Use the importance weights, for mean, band and probability.

        Returns
        -------
        matplotlib Axes

        Examples
        --------
        >>> import jspgfn
        >>> from matplotlib.figure import Figure
        >>> sim = jspgfn.simulate.linear_gaussian(
        ...     n_variables=3, n_samples=50, random_state=0)
        >>> post = jspgfn.ExactPosterior(random_state=0).fit(sim.X).sample(100)
        >>> _ = post.plot_mechanism(0, 1, sim.X, ax=Figure().subplots())
        """
        curve = self.mechanism(parent, child, X, weighted=weighted)
        i = self._find_variable(parent, "parent")
        j = self._find_variable(child, "child")
        data = self._read_rows(X)
        names = (self.feature_names[i], self.feature_names[j])
        return _plots.plot_mechanism(curve, (data[:, i], data[:, j]), names, ax)


def own_scale(scale: str, ridges: list[Ridge]) -> bool:
    check_choice(
        "scale",
        scale,
        {"auto": "what fits", "shared": "one axis", "own": "one scale per row"},
    )
    if scale != "auto":
        return scale == "own"
    sizes = [float(np.abs(r.values).max()) for r in ridges if len(r.values)]
    sizes = [size for size in sizes if size > 0]
    return bool(sizes) and max(sizes) > UNITS_DIFFER * min(sizes)
