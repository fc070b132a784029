"""Posterior: draws of graphs with parameters, and what one asks of them."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ._constraints import find_cycle
from ._exceptions import CyclicGraphWarning
from ._validation import check_integer, check_real, variable_finder

if TYPE_CHECKING:
    import networkx
    import pandas
    from matplotlib.axes import Axes

Floats = NDArray[np.float64]


class Posterior:
    """Draws of directed acyclic graphs together with their parameters.

    Made by `JSPGFN.sample`. ``graphs[s, i, j]`` is the edge i -> j in draw s: i is a
    parent of j. All parameters are in the units of the data as given to `fit`: ``x_j =
    intercept[s, j] + sum_i coef[s, i, j] x_i + noise_scale[s, j] * e_j`` with standard
    normal e_j.

    Attributes
    ----------
    graphs : ndarray of shape (n, D, D), bool
        The graphs.
    coef : ndarray of shape (n, D, D), float64
        Weight of each edge, 0 where there is none. Built at each access from one number
        per edge: keep it in a variable.
    intercept, noise_scale : ndarray of shape (n, D), float64
        Intercept and standard deviation of the noise of each variable.
    theta : dict of ndarray
        Parameters by name. Linear models: coef, intercept, noise_scale. Discrete models,
        which have none of these: "table", all conditional probability tables one after
        the other; "offset" (n, D), where the table of variable j in draw s begins;
        "n_states" (D,). A table has one row per configuration of the parents, numbered
        with the last parent fastest, and one column per state; `conditional_table`
        cuts it out.
    log_prob : ndarray of shape (n,), float64, or None
        log q(G), with which the sampler draws this graph; log P(G | data) for exact
        draws; None for states of a chain, where it is not known.
    log_prob_theta : ndarray of shape (n,), float64
        log q(theta | G), the density of weights and noise variances of the draw in
        preprocessed units, intercepts integrated out.
    log_reward : ndarray of shape (n,), float64
        log w(G) + log evidence, with the parameters integrated out.
    log_reward_joint : ndarray of shape (n,), float64
        log P(data | G, theta) + log P(theta | G) + log w(G). Where parameters are drawn
        from their exact conditional posterior this is log_reward + log_prob_theta.
    weights : ndarray of shape (n,), float64
        Importance weights, proportional to exp(log_reward_joint - log_prob -
        log_prob_theta), which is exp(log_reward - log_prob) where parameters are drawn
        from their exact conditional posterior. They sum to 1;
        1/n where draws come from the posterior itself or `log_prob` is None.
    feature_names : list of str
        Names of the variables; x0, x1, ... when the data had none.

    Notes
    -----
    Summaries take ``weighted=True`` to correct the draws by `weights`, and, where it
    makes sense, ``standard_error=True`` to return the Monte-Carlo error too. That error
    is about the number of draws only: it does not know of a mode that the sampler never
    visits.

    Examples
    --------
    >>> import jspgfn
    >>> sim = jspgfn.simulate.linear_gaussian(
    ...     n_variables=3, n_samples=50, random_state=0)
    >>> est = jspgfn.JSPGFN(n_iter=50, random_state=0).fit(sim.X)
    >>> post = est.sample(200)
    >>> post
    Posterior(200 draws, 3 variables)
    >>> probability, error = post.edge_probabilities(standard_error=True)
    >>> bool((error <= 0.5 / 200**0.5).all())
    True
    """

    def __init__(
        self,
        graphs: NDArray[np.bool_],
        edge_coef: Floats | None,
        intercept: Floats | None,
        noise_scale: Floats | None,
        *,
        tables: dict[str, NDArray[Any]] | None = None,
        states: list[list[Any]] | None = None,
        log_prob: Floats | None,
        log_prob_theta: Floats,
        log_reward: Floats,
        feature_names: list[str],
        labelled: bool,
        equal_weights: bool = False,
        log_reward_joint: Floats | None = None,
    ) -> None:
        self.graphs = graphs
        self._edge_coef = edge_coef  # one per edge, in the order of nonzero(graphs)
        self._intercept = intercept
        self._noise_scale = noise_scale
        self._tables = tables
        self._states = states
        self.log_prob = log_prob
        self.log_prob_theta = log_prob_theta
        self.log_reward = log_reward
        self.feature_names = list(feature_names)
        self._labelled = labelled
        self._equal_weights = equal_weights or log_prob is None
        # None = parameters come from their exact conditional posterior
        self._log_reward_joint = log_reward_joint

    def __len__(self) -> int:
        return len(self.graphs)

    def __repr__(self) -> str:
        return f"Posterior({len(self)} draws, {len(self.feature_names)} variables)"

    @property
    def coef(self) -> Floats:
        coef = np.zeros(self.graphs.shape)
        coef[self.graphs] = self._linear("coef", self._edge_coef)
        return coef

    @property
    def intercept(self) -> Floats:
        return self._linear("intercept", self._intercept)

    @property
    def noise_scale(self) -> Floats:
        return self._linear("noise_scale", self._noise_scale)

    def _linear(self, name: str, values: Floats | None) -> Floats:
        if values is None:
            raise AttributeError(
                f"draws of a discrete model have no {name}; see theta and "
                "conditional_table"
            )
        return values

    @property
    def theta(self) -> dict[str, NDArray[Any]]:
        if self._tables is not None:
            return self._tables
        return {
            "coef": self.coef,
            "intercept": self.intercept,
            "noise_scale": self.noise_scale,
        }

    def conditional_table(self, s: int, variable: Any) -> Floats:
        """Conditional probability table of a variable in one draw of a discrete model.

        Parameters
        ----------
        s : int
            Number of the draw; negative numbers count from the end.
        variable : str or int
            A column name, or its number.

        Returns
        -------
        ndarray
            One axis per parent, in the order of the columns, then the axis of the
            variable's own states, along which entries sum to 1. A view.

        Examples
        --------
        >>> import numpy as np, jspgfn
        >>> X = np.random.default_rng(0).integers(3, size=(50, 2))
        >>> est = jspgfn.JSPGFN(model="bdeu", n_iter=50, random_state=0).fit(X)
        >>> table = est.sample(10).conditional_table(0, 1)
        >>> bool(np.allclose(table.sum(axis=-1), 1))
        True
        """
        if self._tables is None:
            raise AttributeError(
                "draws of a linear model have no tables; see coef and noise_scale"
            )
        n = len(self)
        s = check_integer("s", s, at_least=-n, at_most=n - 1) % n
        if isinstance(variable, str):
            j = variable_finder(self.feature_names, True, "variable")(variable)
        else:
            j = check_integer("variable", variable, 0, len(self.feature_names) - 1)
        n_states = self._tables["n_states"]
        shape = [*n_states[self.graphs[s, :, j]].tolist(), int(n_states[j])]
        first = int(self._tables["offset"][s, j])
        return self._tables["table"][first : first + math.prod(shape)].reshape(shape)

    @property
    def log_reward_joint(self) -> Floats:
        if self._log_reward_joint is not None:
            return self._log_reward_joint
        return np.asarray(self.log_reward + self.log_prob_theta)

    @property
    def weights(self) -> Floats:
        if self._equal_weights or self.log_prob is None:
            return np.full(len(self), 1 / len(self))
        log_weights = self.log_reward - self.log_prob
        if self._log_reward_joint is not None:
            log_weights = self._log_reward_joint - self.log_prob - self.log_prob_theta
        weights = np.exp(log_weights - log_weights.max())
        return np.asarray(weights / weights.sum())

    # --- summaries -------------------------------------------------------------------

    def edge_probabilities(
        self, weighted: bool = False, standard_error: bool = False
    ) -> Any:
        """Posterior probability of each edge: the share of draws that have it.

        Parameters
        ----------
        weighted : bool
            Use the importance weights.
        standard_error : bool
            Also return the Monte-Carlo standard error.

        Returns
        -------
        DataFrame (if the data were one) or ndarray of shape (D, D), or a pair of them
            Entry [i, j] is the probability that i is a parent of j.

        Examples
        --------
        >>> import jspgfn
        >>> sim = jspgfn.simulate.linear_gaussian(
        ...     n_variables=2, n_samples=50, random_state=0)
        >>> est = jspgfn.JSPGFN(n_iter=50, random_state=0).fit(sim.X)
        >>> est.sample(100).edge_probabilities(weighted=True).shape
        (2, 2)
        """
        probability, error = self._edge_probabilities(weighted)
        if standard_error:
            return self._labelled_matrix(probability), self._labelled_matrix(error)
        return self._labelled_matrix(probability)

    def _edge_probabilities(self, weighted: bool) -> tuple[Floats, Floats]:
        if not weighted:
            probability = self.graphs.mean(axis=0)
            return probability, np.sqrt(probability * (1 - probability) / len(self))
        weights = self.weights
        probability = np.minimum(np.einsum("s,sij->ij", weights, self.graphs), 1.0)
        # sum of w^2 (A - p)^2, for A of 0 and 1
        squares = weights**2
        present = np.einsum("s,sij->ij", squares, self.graphs)
        variance = present * (1 - 2 * probability) + squares.sum() * probability**2
        return probability, np.sqrt(np.maximum(variance, 0.0))

    def edge_table(
        self, weighted: bool = False, threshold: float = 0.0
    ) -> pandas.DataFrame:
        """All edges that occur, most probable first, with their weights. Needs pandas.

        Parameters
        ----------
        weighted : bool
            Use the importance weights.
        threshold : float
            Leave out edges whose probability is not above this.

        Returns
        -------
        DataFrame
            Columns parent, child, probability, std_error (Monte-Carlo error of the
            probability), and, over the draws that have the edge, coef_mean, coef_sd,
            coef_low and coef_high (the ends of the central 90 % interval), in units of
            the child per unit of the parent (the last four not for discrete models).

        Examples
        --------
        >>> import jspgfn
        >>> sim = jspgfn.simulate.linear_gaussian(
        ...     n_variables=2, n_samples=50, random_state=0)
        >>> est = jspgfn.JSPGFN(n_iter=50, random_state=0).fit(sim.X)
        >>> list(est.sample(100).edge_table().columns[:4])
        ['parent', 'child', 'probability', 'std_error']
        """
        pandas = import_extra("pandas")
        threshold = check_real("threshold", threshold)
        probability, error = self._edge_probabilities(weighted)
        draw, parent, child = np.nonzero(self.graphs)
        weight = (self.weights if weighted else np.full(len(self), 1 / len(self)))[draw]
        pair = parent * len(self.feature_names) + child
        order = np.argsort(pair, kind="stable")
        starts = np.flatnonzero(np.diff(pair[order], prepend=-1))
        rows = []
        for members in np.split(order, starts[1:]) if len(order) else []:
            i, j = int(parent[members[0]]), int(child[members[0]])
            if probability[i, j] > threshold:
                row: list[Any] = [self.feature_names[i], self.feature_names[j]]
                row += [probability[i, j], error[i, j]]
                if self._edge_coef is not None:
                    row += summarise(self._edge_coef[members], weight[members])
                rows.append(row)
        columns = ["parent", "child", "probability", "std_error"]
        if self._edge_coef is not None:
            columns += ["coef_mean", "coef_sd", "coef_low", "coef_high"]
        table = pandas.DataFrame(rows, columns=columns)
        return table.sort_values(
            "probability", ascending=False, kind="stable"
        ).reset_index(drop=True)

    def map_graph(self) -> Any:
        """The draw with the largest log_reward: the most probable graph that was drawn.

        Returns
        -------
        DataFrame (if the data were one) or ndarray of shape (D, D), bool
            Entry [i, j] says whether i is a parent of j.

        Notes
        -----
        With more than a few variables even the most probable graph has a tiny
        probability; `edge_probabilities` says more.

        Examples
        --------
        >>> import jspgfn
        >>> sim = jspgfn.simulate.linear_gaussian(
        ...     n_variables=2, n_samples=50, random_state=0)
        >>> est = jspgfn.JSPGFN(n_iter=50, random_state=0).fit(sim.X)
        >>> est.sample(100).map_graph().dtype
        dtype('bool')
        """
        return self._labelled_matrix(
            self.graphs[int(np.argmax(self.log_reward))].copy()
        )

    def median_graph(self, threshold: float = 0.5, weighted: bool = False) -> Any:
        """The graph of all edges whose probability exceeds a threshold.

        Parameters
        ----------
        threshold : float
            From 0 to 1.
        weighted : bool
            Use the importance weights.

        Returns
        -------
        DataFrame (if the data were one) or ndarray of shape (D, D), bool
            Entry [i, j] says whether i -> j is in. It may have cycles, then a
            `CyclicGraphWarning` is issued.

        Examples
        --------
        >>> import jspgfn
        >>> sim = jspgfn.simulate.linear_gaussian(
        ...     n_variables=2, n_samples=50, random_state=0)
        >>> est = jspgfn.JSPGFN(n_iter=50, random_state=0).fit(sim.X)
        >>> est.sample(100).median_graph().shape
        (2, 2)
        """
        threshold = check_real("threshold", threshold, at_least=0, at_most=1)
        graph = self._edge_probabilities(weighted)[0] > threshold
        if find_cycle(graph):
            warnings.warn(
                f"the edges with probability above {threshold:g} form a cycle; "
                "raise the threshold, or use map_graph()",
                CyclicGraphWarning,
                stacklevel=2,
            )
        return self._labelled_matrix(graph)

    def _labelled_matrix(self, matrix: NDArray[Any]) -> Any:
        return label_matrix(matrix, self.feature_names, self._labelled)

    # --- other tools and pictures ----------------------------------------------------

    def to_networkx(self, s: int) -> networkx.DiGraph:
        """Draw number s as a networkx.DiGraph. Needs networkx.

        Parameters
        ----------
        s : int
            Number of the draw; negative numbers count from the end.

        Returns
        -------
        networkx.DiGraph
            Nodes are the variables' names, with attributes intercept and noise_scale;
            edges have the attribute weight.

        Examples
        --------
        >>> import jspgfn
        >>> sim = jspgfn.simulate.linear_gaussian(
        ...     n_variables=2, n_samples=50, random_state=0)
        >>> est = jspgfn.JSPGFN(n_iter=50, random_state=0).fit(sim.X)
        >>> sorted(est.sample(100).to_networkx(0))
        ['x0', 'x1']
        """
        networkx = import_extra("networkx")
        s = check_integer("s", s, at_least=-len(self), at_most=len(self) - 1) % len(
            self
        )
        graph = networkx.DiGraph()
        names = self.feature_names
        if self._edge_coef is None:
            graph.add_nodes_from(names)
            edges = np.argwhere(self.graphs[s]).tolist()
            graph.add_edges_from((names[i], names[j]) for i, j in edges)
            return graph
        for j, name in enumerate(names):
            graph.add_node(
                name,
                intercept=float(self.intercept[s, j]),
                noise_scale=float(self.noise_scale[s, j]),
            )
        parent, child = np.nonzero(self.graphs[s])
        first = int(np.count_nonzero(self.graphs[:s]))
        for k, (i, j) in enumerate(zip(parent.tolist(), child.tolist(), strict=True)):
            graph.add_edge(names[i], names[j], weight=float(self._edge_coef[first + k]))
        return graph

    def plot_edges(self, ax: Axes | None = None, weighted: bool = False) -> Axes:
        """Heat map of the edge probabilities: row = parent, column = child.

        Parameters
        ----------
        ax : matplotlib Axes or None
            Where to draw; None makes a figure.
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
        >>> est = jspgfn.JSPGFN(n_iter=50, random_state=0).fit(sim.X)
        >>> est.sample(100).plot_edges(ax=Figure().subplots()).get_xlabel()
        'child'
        """
        from ._plots import plot_edges

        return plot_edges(self._edge_probabilities(weighted)[0], self.feature_names, ax)

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
        >>> est = jspgfn.JSPGFN(n_iter=50, random_state=0).fit(sim.X)
        >>> _ = est.sample(100).plot_graph(ax=Figure().subplots())
        """
        from ._plots import plot_graph

        threshold = check_real("threshold", threshold)
        probability = self._edge_probabilities(weighted)[0]
        return plot_graph(probability, self.feature_names, threshold, ax)


def summarise(values: Floats, weights: Floats) -> tuple[float, float, float, float]:
    """Weighted mean, standard deviation, 5 % and 95 % quantile."""
    weights = weights / weights.sum()
    mean = float(weights @ values)
    sd = float(np.sqrt(weights @ (values - mean) ** 2))
    order = np.argsort(values)
    middle = np.cumsum(weights[order]) - weights[order] / 2  # mid-point of each step
    low, high = np.interp([0.05, 0.95], middle, values[order])
    return mean, sd, float(low), float(high)


def label_matrix(matrix: NDArray[Any], names: list[str], labelled: bool) -> Any:
    """A DataFrame parents x children where the names came with the data."""
    if not labelled:
        return matrix
    pandas = import_extra("pandas")
    return pandas.DataFrame(
        matrix,
        index=pandas.Index(names, name="parent"),
        columns=pandas.Index(names, name="child"),
    )


def import_extra(name: str) -> Any:
    """pandas, networkx or matplotlib, or an error that says how to get them."""
    from importlib import import_module

    try:
        return import_module(name)
    except ImportError as error:
        raise ImportError(
            f"this needs {name.partition('.')[0]}: pip install 'jspgfn[plot]'"
        ) from error
