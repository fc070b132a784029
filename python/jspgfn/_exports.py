"""Draws for other tools: networkx, pandas, ArviZ, text formats."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ._features import distinct_graphs
from ._labels import import_extra
from ._networks import DiscreteNetworks, LinearNetworks
from ._predict import Predictions
from ._validation import check_choice, check_integer, check_real

if TYPE_CHECKING:
    import networkx
    import pandas


class Exports(Predictions):
    """Draws in the formats of other packages; see `Posterior`."""

    # --- graphs ----------------------------------------------------------------------

    def to_networkx(
        self, s: int | None = None, *, threshold: float = 0.0, weighted: bool = False
    ) -> networkx.DiGraph:
        """One draw, or the probabilities of all edges, as a networkx.DiGraph.

        Parameters
        ----------
        s : int or None
            Number of the draw; negative numbers count from the end. None: the graph of
            all edges that occur, which may have cycles.
        threshold : float
            With s=None, edges whose probability is not above this are left out.
        weighted : bool
            With s=None, use the importance weights.

        Returns
        -------
        networkx.DiGraph
            Nodes are the variables' names. A draw of a linear model: nodes have the
            attributes intercept and noise_scale, edges weight. s=None: edges have the
            attributes probability and std_error and, for linear models, the columns of
            `edge_table` and weight (the mean given presence). Needs networkx, and pandas
            for s=None.

        Examples
        --------
        >>> import jspgfn
        >>> sim = jspgfn.simulate.linear_gaussian(
        ...     n_variables=2, n_samples=50, random_state=0)
        >>> post = jspgfn.ExactPosterior(random_state=0).fit(sim.X).sample(100)
        >>> sorted(post.to_networkx(0))
        ['x0', 'x1']
        >>> sorted(post.to_networkx().edges["x0", "x1"])[-2:]
        ['std_error', 'weight']
        """
        networkx = import_extra("networkx")
        graph = networkx.DiGraph()
        names = self.feature_names
        graph.add_nodes_from(names)
        if s is None:
            for row in self.edge_table(weighted, threshold).to_dict("records"):
                parent, child = row.pop("parent"), row.pop("child")
                if "coef_mean" in row:
                    row["weight"] = row["coef_mean"]
                graph.add_edge(parent, child, **row)
            return graph
        s = self._find_draw(s)
        edges = np.argwhere(self.graphs[s]).tolist()
        if not isinstance(self._networks, LinearNetworks):
            graph.add_edges_from((names[i], names[j]) for i, j in edges)
            return graph
        coef = self._networks.coef(slice(s, s + 1))[0]
        for j, name in enumerate(names):
            graph.nodes[name]["intercept"] = float(self.intercept[s, j])
            graph.nodes[name]["noise_scale"] = float(self.noise_scale[s, j])
        for i, j in edges:
            graph.add_edge(names[i], names[j], weight=float(coef[i, j]))
        return graph

    def to_graphs(
        self, format: str = "array", *, weighted: bool = False, n: int | None = None
    ) -> list[tuple[Any, float]]:
        """The distinct graphs with their shares, the most probable first.

        What effect estimators take that want a list of graphs with weights: an answer
        for each graph, averaged with these weights, carries the uncertainty of the
        structure.

        Parameters
        ----------
        format : {"array", "networkx", "dot", "gml"}
            "array": bool (D, D), [i, j] = edge i -> j (a DataFrame if the data were one);
            "networkx": networkx.DiGraph; "dot" and "gml": text.
        weighted : bool
            Use the importance weights.
        n : int or None
            At most that many graphs; their weights then do not sum to 1.

        Returns
        -------
        list of (graph, float)
            The weights of all distinct graphs sum to 1.

        Examples
        --------
        >>> import jspgfn
        >>> sim = jspgfn.simulate.linear_gaussian(
        ...     n_variables=2, n_samples=50, random_state=0)
        >>> post = jspgfn.ExactPosterior(random_state=0).fit(sim.X).sample(100)
        >>> round(sum(weight for _, weight in post.to_graphs()), 9)
        1.0
        >>> graph, weight = post.to_graphs("gml", n=1)[0]
        >>> graph.splitlines()[:2]
        ['graph [', '  directed 1']
        """
        check_choice(
            "format",
            format,
            {
                "array": "matrices",
                "networkx": "networkx.DiGraph",
                "dot": "text",
                "gml": "text",
            },
        )
        first, which = distinct_graphs(self.graphs)
        if n is not None:
            n = check_integer("n", n, at_least=1)
        counts = np.bincount(which, self._counts_of(weighted), len(first))
        weights = counts / (1 if weighted else len(self))
        order = np.argsort(-weights, kind="stable")[:n]
        return [
            (self._as_format(int(first[k]), format), float(weights[k])) for k in order
        ]

    def _as_format(self, s: int, format: str) -> Any:
        names = self.feature_names
        edges: list[tuple[str, str, dict[str, str]]] = [
            (names[i], names[j], {}) for i, j in np.argwhere(self.graphs[s])
        ]
        if format == "array":
            return self._labelled_matrix(self.graphs[s].copy())
        if format == "dot":
            return write_dot(names, edges)
        if format == "gml":
            return write_gml(names, [edge[:2] for edge in edges])
        graph = import_extra("networkx").DiGraph()
        graph.add_nodes_from(names)
        graph.add_edges_from(edges)
        return graph

    # --- tables ----------------------------------------------------------------------

    def to_pandas(self) -> pandas.DataFrame:
        """All draws as one tidy table: a row per draw and edge. Needs pandas.

        Returns
        -------
        DataFrame
            Columns draw, parent, child and, for linear models, coef; in the order of
            draws, parents, children. Draws without edges have no row.

        Examples
        --------
        >>> import jspgfn
        >>> sim = jspgfn.simulate.linear_gaussian(
        ...     n_variables=2, n_samples=50, random_state=0)
        >>> post = jspgfn.ExactPosterior(random_state=0).fit(sim.X).sample(100)
        >>> table = post.to_pandas()
        >>> bool(len(table) == post.graphs.sum())
        True
        """
        pandas = import_extra("pandas")
        draw, parent, child = np.nonzero(self.graphs)
        names = pandas.Index(self.feature_names)
        columns = {"draw": draw, "parent": names[parent], "child": names[child]}
        if isinstance(self._networks, LinearNetworks):
            columns["coef"] = self._networks.edge_coef
        return pandas.DataFrame(columns)

    def to_arviz(self) -> Any:
        """All draws for ArviZ, as one chain. Works with ArviZ 0.x and 1.x.

        Returns
        -------
        InferenceData (ArviZ 0.x) or DataTree (1.x)
            Group posterior: graphs (as 0 and 1) with dimensions parent and child and,
            but for discrete models, the arrays of `theta`. Group sample_stats: weight
            and what is there of log_prob, log_prob_theta and log_reward. Draws are
            independent or thinned already: ArviZ's effective sample sizes say little.

        Examples
        --------
        >>> import jspgfn
        >>> sim = jspgfn.simulate.linear_gaussian(
        ...     n_variables=2, n_samples=50, random_state=0)
        >>> post = jspgfn.ExactPosterior(random_state=0).fit(sim.X).sample(100)
        >>> data = post.to_arviz()  # doctest: +SKIP
        >>> data.posterior["coef"].sel(parent="x0", child="x1")  # doctest: +SKIP
        """
        arviz = import_extra("arviz")
        posterior: dict[str, Any] = {"graphs": self.graphs.astype(np.int8)}
        dims = {"graphs": ["parent", "child"]}
        if not isinstance(self._networks, DiscreteNetworks):  # tables differ in size
            posterior.update(self.theta)
            dims["coef"] = ["parent", "child"]
            dims["intercept"] = dims["noise_scale"] = ["node"]
            dims = {name: dims[name] for name in posterior if name in dims}
        stats = {"weight": self.weights, "log_prob_theta": self.log_prob_theta}
        if self.log_prob is not None:
            stats["log_prob"] = self.log_prob
        if self.log_reward is not None:
            stats["log_reward"] = self.log_reward
        groups = {
            group: {name: values[None] for name, values in arrays.items()}  # one chain
            for group, arrays in (("posterior", posterior), ("sample_stats", stats))
        }
        names = self.feature_names
        coords = {"parent": names, "child": names}
        if "noise_scale" in dims:
            coords["node"] = names
        if arviz.__version__.startswith("0."):
            return arviz.from_dict(**groups, coords=coords, dims=dims)
        return arviz.from_dict(groups, coords=coords, dims=dims)

    # --- text ------------------------------------------------------------------------

    def to_csv(
        self, path: Any = None, *, threshold: float = 0.0, weighted: bool = False
    ) -> str:
        """The table of edges as text, comma-separated. Needs pandas.

        Parameters
        ----------
        path : path or None
            Where to write it; None only returns it.
        threshold : float
            Edges whose probability is not above this are left out.
        weighted : bool
            Use the importance weights.

        Returns
        -------
        str
            `edge_table` with a header, numbers in full.

        Examples
        --------
        >>> import jspgfn
        >>> sim = jspgfn.simulate.linear_gaussian(
        ...     n_variables=2, n_samples=50, random_state=0)
        >>> post = jspgfn.ExactPosterior(random_state=0).fit(sim.X).sample(100)
        >>> post.to_csv().splitlines()[0][:30]
        'parent,child,probability,std_e'
        """
        table = self.edge_table(weighted, threshold)
        return write_text(path, table.to_csv(index=False, lineterminator="\n"))

    def to_dot(
        self,
        path: Any = None,
        s: int | None = None,
        *,
        threshold: float = 0.1,
        weighted: bool = False,
    ) -> str:
        """One draw, or the probabilities of edges, in the DOT language of Graphviz.

        Parameters
        ----------
        path : path or None
            Where to write it; None only returns it.
        s : int or None
            Number of the draw; None: edges with their probabilities, which are labels
            and widths.
        threshold : float
            With s=None, edges whose probability is not above this are left out.
        weighted : bool
            With s=None, use the importance weights.

        Returns
        -------
        str

        Examples
        --------
        >>> import jspgfn
        >>> sim = jspgfn.simulate.linear_gaussian(
        ...     n_variables=2, n_samples=50, random_state=0)
        >>> post = jspgfn.ExactPosterior(random_state=0).fit(sim.X).sample(100)
        >>> print(post.to_dot(s=0).splitlines()[1])
          "x0";
        """
        names = self.feature_names
        if s is not None:
            edges = np.argwhere(self.graphs[self._find_draw(s)])
            text = write_dot(names, [(names[i], names[j], {}) for i, j in edges])
            return write_text(path, text)
        threshold = check_real("threshold", threshold)
        probability, _ = self._edge_probabilities(weighted)
        shown = []
        for i, j in np.argwhere(probability > threshold):
            p = float(probability[i, j])
            attributes = {"label": f"{p:.2f}", "penwidth": f"{0.5 + 2.5 * p:.2f}"}
            shown.append((names[i], names[j], attributes))
        return write_text(path, write_dot(names, shown))

    def to_graphml(
        self,
        path: Any = None,
        s: int | None = None,
        *,
        threshold: float = 0.0,
        weighted: bool = False,
    ) -> str:
        """One draw, or the probabilities of edges, as GraphML. Needs networkx.

        Parameters
        ----------
        path : path or None
            Where to write it; None only returns it.
        s : int or None
            Number of the draw; None: all edges with the attributes of `to_networkx`.
        threshold : float
            With s=None, edges whose probability is not above this are left out.
        weighted : bool
            With s=None, use the importance weights.

        Returns
        -------
        str

        Examples
        --------
        >>> import jspgfn
        >>> sim = jspgfn.simulate.linear_gaussian(
        ...     n_variables=2, n_samples=50, random_state=0)
        >>> post = jspgfn.ExactPosterior(random_state=0).fit(sim.X).sample(100)
        >>> post.to_graphml()[:8]
        '<graphml'
        """
        networkx = import_extra("networkx")
        graph = self.to_networkx(s, threshold=threshold, weighted=weighted)
        return write_text(path, "\n".join(networkx.generate_graphml(graph)) + "\n")


def write_text(path: Any, text: str) -> str:
    if path is not None:
        Path(os.fspath(path)).write_text(text, encoding="utf-8")
    return text


def quote(name: str) -> str:
    """A name between double quotes, as DOT and Python's networkx read it."""
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


def write_dot(names: list[str], edges: list[tuple[str, str, dict[str, str]]]) -> str:
    lines = [f"  {quote(name)};" for name in names]
    for parent, child, attributes in edges:
        text = ", ".join(f"{key}={quote(value)}" for key, value in attributes.items())
        more = f" [{text}]" if text else ""
        lines.append(f"  {quote(parent)} -> {quote(child)}{more};")
    return "\n".join(["digraph {", *lines, "}"]) + "\n"


def write_gml(names: list[str], edges: list[tuple[str, str]]) -> str:
    number = {name: k for k, name in enumerate(names)}

    def escape(name: str) -> str:  # GML is ASCII; the rest as character references
        plain = name.replace("&", "&amp;").replace('"', "&#34;")
        return plain.encode("ascii", "xmlcharrefreplace").decode("ascii")

    lines = ["graph [", "  directed 1"]
    for name, k in number.items():
        lines += ["  node [", f"    id {k}", f'    label "{escape(name)}"', "  ]"]
    for parent, child in edges:
        lines += ["  edge [", f"    source {number[parent]}"]
        lines += [f"    target {number[child]}", "  ]"]
    return "\n".join([*lines, "]"]) + "\n"
