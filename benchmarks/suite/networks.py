"""Published Bayesian networks: read, and rows sampled from them.

Two formats: BIF, discrete, as of the Bayesian network repository; and a pair of tables,
NAME_edges.csv (parent, child, coefficient) and NAME_nodes.csv (node, intercept, sd), for
linear Gaussian networks, child = intercept + sum of coefficient * parent + N(0, sd^2).
"""

import csv
import dataclasses
import itertools
import re

import numpy as np

# Lauritzen and Spiegelhalter, J. R. Statist. Soc. B 50 (1988), section 2: numbers of the
# paper. States are yes (0) and no (1); P(yes), given the states of the parents in turn.
ASIA = {
    "asia": ((), {(): 0.01}),
    "tub": (("asia",), {(0,): 0.05, (1,): 0.01}),
    "smoke": ((), {(): 0.5}),
    "lung": (("smoke",), {(0,): 0.1, (1,): 0.01}),
    "bronc": (("smoke",), {(0,): 0.6, (1,): 0.3}),
    "either": (("lung", "tub"), {(0, 0): 1, (1, 0): 1, (0, 1): 1, (1, 1): 0}),
    "xray": (("either",), {(0,): 0.98, (1,): 0.05}),
    "dysp": (
        ("bronc", "either"),
        {(0, 0): 0.9, (1, 0): 0.7, (0, 1): 0.8, (1, 1): 0.1},
    ),
}


@dataclasses.dataclass
class Node:
    """A variable: parents by number; a table by their states, or a linear mechanism."""

    parents: tuple
    table: dict | None = None  # states of the parents -> probabilities of states
    coef: np.ndarray | None = None
    intercept: float = 0.0
    sd: float = 0.0


@dataclasses.dataclass
class Network:
    names: list
    nodes: list

    def graph(self):
        graph = np.zeros((len(self.names), len(self.names)), bool)
        for j, node in enumerate(self.nodes):
            graph[list(node.parents), j] = True
        return graph

    def sample(self, n_rows, rng):
        """Rows, whole numbers if the network is discrete."""
        is_discrete = self.nodes[0].table is not None
        x = np.zeros((n_rows, len(self.names)), np.int64 if is_discrete else float)
        for j in order_of(self.graph()):
            node = self.nodes[j]
            if is_discrete:
                draw_states(node, x, j, rng)
                continue
            noise = node.intercept + node.sd * rng.standard_normal(n_rows)
            x[:, j] = noise + x[:, list(node.parents)] @ node.coef
        return x


def draw_states(node, x, j, rng):
    """Column j, given those of the parents."""
    u = rng.random(len(x))
    for states, probabilities in node.table.items():
        here = (x[:, list(node.parents)] == states).all(axis=1)
        upto = np.cumsum(probabilities) / np.sum(probabilities)
        x[here, j] = np.searchsorted(upto, u[here], side="right")
    x[:, j] = np.minimum(x[:, j], len(probabilities) - 1)


def order_of(graph):
    """Numbers of the nodes, parents first."""
    left, order = list(range(len(graph))), []
    while left:
        first = next(j for j in left if not graph[left, j].any())
        order.append(first)
        left.remove(first)
    return order


def asia():
    names = list(ASIA)
    nodes = [
        Node(
            tuple(names.index(parent) for parent in parents),
            {states: [yes, 1 - yes] for states, yes in table.items()},
        )
        for parents, table in ASIA.values()
    ]
    return Network(names, nodes)


def read_bif(path):
    """A discrete network; states are numbered as they are listed."""
    text = path.read_text()
    states = {
        name: [word.strip() for word in listed.split(",")]
        for name, listed in re.findall(
            r"variable\s+(\S+)\s*\{[^{]*\{([^}]*)\}\s*;?\s*\}", text
        )
    }
    names, nodes = list(states), {}
    for head, body in re.findall(r"probability\s*\(([^)]*)\)\s*\{([^}]*)\}", text):
        child, *parents = re.split(r"[|,\s]+", head.strip())
        rows = {}
        for values in re.findall(r"table\s+([^;]*);", body):
            # all in one line: the child's states vary slowest, the last parent's fastest
            sizes = [len(states[name]) for name in (child, *parents)]
            table = np.reshape([float(v) for v in values.split(",")], (sizes[0], -1))
            keys = itertools.product(*map(range, sizes[1:]))
            rows.update(zip(keys, table.T.tolist(), strict=True))
        for key, values in re.findall(r"\(([^)]*)\)\s*([^;]*);", body):
            words = [word.strip() for word in key.split(",")]
            place = tuple(
                states[name].index(word)
                for name, word in zip(parents, words, strict=True)
            )
            rows[place] = [float(v) for v in values.split(",")]
        nodes[child] = Node(tuple(names.index(name) for name in parents), rows)
    return Network(names, [nodes[name] for name in names])


def read_linear(edges_path, nodes_path):
    with nodes_path.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    names = [row["node"] for row in rows]
    parents = {name: [] for name in names}
    with edges_path.open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            parents[row["child"]].append((row["parent"], float(row["coefficient"])))
    nodes = [
        Node(
            tuple(names.index(name) for name, _ in parents[row["node"]]),
            coef=np.array([weight for _, weight in parents[row["node"]]]),
            intercept=float(row["intercept"]),
            sd=float(row["sd"]),
        )
        for row in rows
    ]
    return Network(names, nodes)
