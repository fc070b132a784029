"""Draws for other tools."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ._labels import import_extra
from ._networks import LinearNetworks
from ._predict import Predictions

if TYPE_CHECKING:
    import networkx


class Exports(Predictions):
    """Draws in the formats of other packages; see `Posterior`."""

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
        s = self._find_draw(s)
        graph = networkx.DiGraph()
        names = self.feature_names
        if not isinstance(self._networks, LinearNetworks):
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
        coef = self._networks.coef(slice(s, s + 1))[0]
        for i, j in zip(parent.tolist(), child.tolist(), strict=True):
            graph.add_edge(names[i], names[j], weight=float(coef[i, j]))
        return graph
