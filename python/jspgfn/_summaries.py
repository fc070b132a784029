"""Summaries of draws: probabilities of features, tables, single graphs."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._constraints import find_cycle
from ._draws import Draws
from ._exceptions import CyclicGraphWarning
from ._features import blankets_of, compelled_of, paths_of
from ._labels import import_extra
from ._networks import LinearNetworks
from ._validation import check_flag, check_real

if TYPE_CHECKING:
    import pandas

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

# Entries of matrices that are worked on at a time.
BLOCK_ENTRIES = 2**22


class Summaries(Draws):
    """What one asks of draws; see `Posterior`."""

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
        return self._feature_probabilities(
            lambda graphs: graphs, weighted, standard_error
        )

    def path_probabilities(
        self, weighted: bool = False, standard_error: bool = False
    ) -> Any:
        """Posterior probability that there is a directed path, of one edge or more.

        Parameters
        ----------
        weighted, standard_error : bool
            As for `edge_probabilities`.

        Returns
        -------
        DataFrame (if the data were one) or ndarray of shape (D, D), or a pair of them
            Entry [i, j] is the probability that i is an ancestor of j; 0 on the diagonal.

        Examples
        --------
        >>> import jspgfn
        >>> sim = jspgfn.simulate.linear_gaussian(
        ...     n_variables=3, n_samples=50, random_state=0)
        >>> post = jspgfn.ExactPosterior(random_state=0).fit(sim.X).sample(100)
        >>> bool((post.path_probabilities() >= post.edge_probabilities()).all())
        True
        """
        return self._feature_probabilities(paths_of, weighted, standard_error)

    def markov_blanket_probabilities(
        self, weighted: bool = False, standard_error: bool = False
    ) -> Any:
        """Posterior probability that one variable is in the Markov blanket of another.

        The blanket of i, its parents, its children and their other parents, is all that
        is needed to predict i.

        Parameters
        ----------
        weighted, standard_error : bool
            As for `edge_probabilities`.

        Returns
        -------
        DataFrame (if the data were one) or ndarray of shape (D, D), or a pair of them
            Symmetric, 0 on the diagonal.

        Examples
        --------
        >>> import jspgfn
        >>> sim = jspgfn.simulate.linear_gaussian(
        ...     n_variables=3, n_samples=50, random_state=0)
        >>> post = jspgfn.ExactPosterior(random_state=0).fit(sim.X).sample(100)
        >>> blanket = post.markov_blanket_probabilities()
        >>> bool((blanket == blanket.T).all())
        True
        """
        return self._feature_probabilities(blankets_of, weighted, standard_error)

    def cpdag_probabilities(self, weighted: bool = False) -> EdgeTypes:
        """How pairs of variables are joined in the Markov equivalence classes.

        Observations of a score-equivalent model ("bge", "bdeu") cannot tell the graphs of
        one class apart. The completed partially directed graph (CPDAG) of a class says
        what they can tell: an edge is directed when all graphs of the class agree on it.

        Parameters
        ----------
        weighted : bool
            Use the importance weights.

        Returns
        -------
        EdgeTypes
            A tuple of three matrices (DataFrames if the data were one): directed[i, j],
            the probability of i -> j in the CPDAG; undirected[i, j] of an edge that may
            point either way, symmetric; absent[i, j] of no edge, symmetric. For each pair
            directed[i, j] + directed[j, i] + undirected[i, j] + absent[i, j] = 1.

        Notes
        -----
        With interventions, or with models that are not score-equivalent, data can tell
        more, and the probabilities of the edges themselves mean more than these.

        Examples
        --------
        >>> import jspgfn
        >>> sim = jspgfn.simulate.linear_gaussian(
        ...     n_variables=3, n_samples=50, random_state=0)
        >>> post = jspgfn.ExactPosterior(random_state=0).fit(sim.X).sample(100)
        >>> directed, undirected, absent = post.cpdag_probabilities()
        >>> bool((directed <= post.edge_probabilities()).all())
        True
        """
        directed, _ = self._shares(compelled_of, weighted)
        edges, _ = self._edge_probabilities(weighted)
        either_way = np.maximum(edges - directed, 0.0)
        undirected = either_way + either_way.T
        absent = np.maximum(1.0 - (edges + edges.T), 0.0)
        if not weighted:  # counts / n, without the rounding of the differences
            undirected, absent = (
                np.rint(m * len(self)) / len(self) for m in (undirected, absent)
            )
        np.fill_diagonal(absent, 1.0)
        return EdgeTypes(
            *(self._labelled_matrix(m) for m in (directed, undirected, absent))
        )

    def _feature_probabilities(
        self, feature: Callable[[Bools], Bools], weighted: bool, standard_error: bool
    ) -> Any:
        probability, error = self._shares(feature, weighted)
        if standard_error:
            return self._labelled_matrix(probability), self._labelled_matrix(error)
        return self._labelled_matrix(probability)

    def _edge_probabilities(self, weighted: bool) -> tuple[Floats, Floats]:
        return self._shares(lambda graphs: graphs, weighted)

    def _shares(
        self, feature: Callable[[Bools], Bools], weighted: bool
    ) -> tuple[Floats, Floats]:
        """Probability and standard error of a 0/1 feature (n, D, D) of graphs."""
        n, n_variables = len(self), len(self.feature_names)
        weights = self.weights if check_flag("weighted", weighted) else None
        total, squares = np.zeros((2, n_variables, n_variables))
        block = max(1, BLOCK_ENTRIES // n_variables**2)
        for begin in range(0, n, block):
            part = slice(begin, begin + block)
            present = feature(self.graphs[part])
            if weights is None:
                total += present.sum(axis=0)
            else:
                total += np.einsum("s,sij->ij", weights[part], present)
                squares += np.einsum("s,sij->ij", weights[part] ** 2, present)
        if weights is None:
            share = total / n
            return share, np.sqrt(share * (1 - share) / n)
        share = np.minimum(total, 1.0)
        # sum of w^2 (f - p)^2, for f of 0 and 1
        variance = squares * (1 - 2 * share) + (weights**2).sum() * share**2
        return share, np.sqrt(np.maximum(variance, 0.0))

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
        weight = self._weights_of(weighted)[draw]
        coef = None
        if isinstance(self._networks, LinearNetworks):
            coef = self._networks.edge_coef
        pair = parent * len(self.feature_names) + child
        order = np.argsort(pair, kind="stable")
        starts = np.flatnonzero(np.diff(pair[order], prepend=-1))
        rows = []
        for members in np.split(order, starts[1:]) if len(order) else []:
            i, j = int(parent[members[0]]), int(child[members[0]])
            if probability[i, j] > threshold:
                row: list[Any] = [self.feature_names[i], self.feature_names[j]]
                row += [probability[i, j], error[i, j]]
                if coef is not None:
                    row += summarise(coef[members], weight[members])
                rows.append(row)
        columns = ["parent", "child", "probability", "std_error"]
        if coef is not None:
            columns += ["coef_mean", "coef_sd", "coef_low", "coef_high"]
        table = pandas.DataFrame(rows, columns=columns)
        return table.sort_values(
            "probability", ascending=False, kind="stable"
        ).reset_index(drop=True)

    def map_graph(self) -> Any:
        """The draw with the largest log_reward: the most probable graph that was drawn.

        Without a closed form for that, the draw with the largest `log_reward_joint`.

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
        reward = self.log_reward_joint if self.log_reward is None else self.log_reward
        return self._labelled_matrix(self.graphs[int(np.argmax(reward))].copy())

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


class EdgeTypes(NamedTuple):
    """Probabilities of the ways in which CPDAGs join two variables, (D, D) each."""

    directed: Any
    undirected: Any
    absent: Any


def summarise(values: Floats, weights: Floats) -> tuple[float, float, float, float]:
    """Weighted mean, standard deviation, 5 % and 95 % quantile."""
    weights = weights / weights.sum()
    mean = float(weights @ values)
    sd = float(np.sqrt(weights @ (values - mean) ** 2))
    order = np.argsort(values)
    middle = np.cumsum(weights[order]) - weights[order] / 2  # mid-point of each step
    low, high = np.interp([0.05, 0.95], middle, values[order])
    return mean, sd, float(low), float(high)
