"""Posterior: draws of graphs with parameters, and what one asks of them."""

from __future__ import annotations

from html import escape
from typing import Any

import numpy as np

from ._networks import LinearNetworks
from ._pictures import Pictures
from ._summaries import summarise

# Edges in the text and in the table of a notebook.
EDGES_SHOWN = 10


class Posterior(Pictures):
    """Draws of directed acyclic graphs together with their parameters.

    Made by ``sample`` of the estimators. Cut it like an array (``post[10:20]``,
    ``post[mask]``), join several with `Posterior.concatenate`; ``print`` says in words what
    is in it, and a notebook shows a table. Variables are named by column names or numbers
    wherever one is asked for.

    ``graphs[s, i, j]`` is the edge i -> j in draw s: i is a
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
        Parameters by name. Linear models: coef, intercept, noise_scale. "features": the
        same for the linear part, and "feature_weight" (n, D, n_features), zeros where the
        mechanism is linear; the features themselves are fixed functions of the parents.
        "mlp": "w1" (n, D, hidden, D), [s, child, unit, parent], 0 where no edge; "b1" and
        "w2" (n, D, hidden); "b2" and "noise_scale" (n, D); x_j = b2 + w2 . relu(b1 + w1 x)
        plus noise. `conditional_mean` evaluates mechanisms of either. Discrete models,
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

    def __repr__(self) -> str:
        return f"Posterior({len(self)} draws, {len(self.feature_names)} variables)"

    def __str__(self) -> str:
        edges = self._top_edges()
        heading = "most probable edges" if edges else "no edge in any draw"
        words = [f"{self!r}: {self._describe()}", heading]
        for parent, child, p, *weight in edges:
            line = f"  {parent} -> {child}  {p:.2f}"
            if weight:
                line += "  weight {:.3g} [{:.3g}, {:.3g}]".format(*weight)
            words.append(line)
        return "\n".join(words)

    def _repr_html_(self) -> str:
        """A table of the most probable edges, for notebooks."""
        cells = ["parent", "child", "probability"]
        if isinstance(self._networks, LinearNetworks):
            cells += ["weight", "90 % interval"]
        rows = ["".join(f"<th>{cell}</th>" for cell in cells)]
        for parent, child, p, *weight in self._top_edges():
            cells = [escape(parent), escape(child), f"{p:.2f}"]
            if weight:
                mean, low, high = weight
                cells += [f"{mean:.3g}", f"{low:.3g} to {high:.3g}"]
            rows.append("".join(f"<td>{cell}</td>" for cell in cells))
        body = "".join(f"<tr>{row}</tr>" for row in rows)
        return (
            f"<div><p><b>{escape(repr(self))}</b>: {escape(self._describe())}</p>"
            f"<table>{body}</table></div>"
        )

    def _describe(self) -> str:
        ess = 1 / (len(self) * float((self.weights**2).sum()))
        kind = (
            "equal weights" if ess > 1 - 1e-9 else f"effective share of draws {ess:.2f}"
        )
        n_edges = float(self.graphs.sum(axis=(1, 2)).mean())
        return f"{self._networks.family} model, {n_edges:.1f} edges on average, {kind}"

    def _top_edges(self) -> list[tuple[Any, ...]]:
        """(parent, child, probability) and, for linear models, mean, low, high."""
        probability, _ = self._edge_probabilities(weighted=False)
        order = np.argsort(-probability, axis=None, kind="stable")[:EDGES_SHOWN]
        _, parent, child = np.nonzero(self.graphs)
        rows: list[tuple[Any, ...]] = []
        for i, j in zip(*np.unravel_index(order, probability.shape), strict=True):
            if probability[i, j] == 0:
                break
            row: tuple[Any, ...] = (self.feature_names[i], self.feature_names[j])
            row = (*row, float(probability[i, j]))
            if isinstance(self._networks, LinearNetworks):
                coef = self._networks.edge_coef[(parent == i) & (child == j)]
                mean, _, low, high = summarise(coef, np.ones(len(coef)))
                row = (*row, mean, low, high)
            rows.append(row)
        return rows

    def save(self, path: Any) -> None:
        """Write the draws to a file, from which `jspgfn.load` makes them again.

        Parameters
        ----------
        path : str or path
            The file; `.safetensors` is the usual ending. Its folder must exist. A file
            that is there is replaced in one step, or left alone if anything goes wrong.

        Raises
        ------
        OSError
            When the file cannot be written.

        Notes
        -----
        Graphs take a bit per pair of variables, weights a number per edge.

        Examples
        --------
        >>> import os, tempfile
        >>> import jspgfn
        >>> sim = jspgfn.simulate.linear_gaussian(
        ...     n_variables=3, n_samples=50, random_state=0)
        >>> post = jspgfn.ExactPosterior(random_state=0).fit(sim.X).sample(100)
        >>> path = os.path.join(tempfile.mkdtemp(), "draws.safetensors")
        >>> post.save(path)
        >>> bool((jspgfn.load(path).coef == post.coef).all())
        True
        """
        from ._files import save

        save(self, path)
