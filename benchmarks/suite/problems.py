"""Data, truths and targets, by name.

A name is DATA@TARGET. DATA is one of

    er_linear_d10_n100_raw_s0   simulated: graph er or sf (scale-free), mechanism linear or
                                mlp (the paper's networks), variables, rows, scale raw or
                                iscm (every variable standardised while it is made: an
                                internally standardised model, Ormaniec et al., ICLR 2025),
    seed sachs_853, sachs_7466, sachs_states
                                proteins: natural logarithms of the first condition, of nine
                                conditions with interventions, and the latter in three
    states sachs_5846                  the seven conditions of Wang et al. (2017)
    perturb                     24 genes, log(1 + count), interventions
    asia_n1000_s0               rows sampled from a published network: asia is in here;
                                child, alarm, ecoli70, magic_niab, arth150 and so on from
                                NAME.bif, or NAME_edges.csv and NAME_nodes.csv, anywhere in
                                the data folder

TARGET is the posterior that all methods are asked for: `known` (linear, noise sd 0.316,
every graph alike: that of the paper), `learned` (bge, every number of parents alike, on
standardised columns: the package's default) or `discrete` (bdeu, the same prior). Columns
are handed out as the target wants them, so that no method preprocesses anything.
"""

import dataclasses
import pathlib
import re

import numpy as np

import jspgfn

from . import networks

N_TEST = 500
TARGETS = {
    "known": {"model": "linear", "graph_prior": "uniform", "preprocess": None},
    "learned": {"model": "bge", "graph_prior": "fair", "preprocess": None},
    "discrete": {"model": "bdeu", "graph_prior": "fair", "preprocess": None},
}
SIMULATED = re.compile(r"(er|sf)_(linear|mlp)_d(\d+)_n(\d+)_(raw|iscm)_s(\d+)$")
NETWORK = re.compile(r"(\w+?)_n(\d+)_s(\d+)$")


class MissingData(Exception):
    """A file that is not bundled and not in the data folder."""


@dataclasses.dataclass
class Problem:
    """Rows as every method gets them, and what they are judged by."""

    name: str
    x: np.ndarray
    settings: dict
    names: list
    mask: np.ndarray | None = None
    truth: np.ndarray | None = None
    test: np.ndarray | None = None
    varsortability: float | None = None
    note: str = ""

    @property
    def n_variables(self):
        return self.x.shape[1]


def problem(name, folder=None):
    """Raises MissingData with the file that it lacks."""
    data, target = name.split("@")
    if match := SIMULATED.match(data):
        found = simulated(*match.groups())
    elif data.startswith("sachs"):
        found = sachs(data.removeprefix("sachs_"), folder)
    elif data == "perturb":
        found = perturb(folder)
    elif match := NETWORK.match(data):
        found = sampled(*match.groups(), folder)
    else:
        raise ValueError(f"unknown data: {data!r}")
    found.name = name
    found.settings = dict(TARGETS[target])
    if found.truth is not None and target != "discrete":
        found.varsortability = varsortability(found.x, found.truth)
    if target == "learned":
        mean, sd = found.x.mean(axis=0), found.x.std(axis=0)
        found.x = (found.x - mean) / sd
        found.test = None if found.test is None else (found.test - mean) / sd
    return found


def variable_names(n):
    return [f"x{i}" for i in range(n)]


# --- simulated -----------------------------------------------------------------------


def simulated(graph, mechanism, n_variables, n_rows, scale, seed):
    """N_TEST further rows of the same network are kept for tests."""
    n_variables, n_rows, seed = int(n_variables), int(n_rows), int(seed)
    simulate = getattr(
        jspgfn.simulate,
        "linear_gaussian" if mechanism == "linear" else "nonlinear_gaussian",
    )
    sim = simulate(
        n_variables=n_variables,
        n_samples=n_rows + N_TEST,
        graph="er" if graph == "er" else "scale-free",
        random_state=seed,
    )
    x = sim.X if scale == "raw" else standardised_inside(sim, seed)
    return Problem(
        "",
        x[:n_rows],
        {},
        variable_names(n_variables),
        truth=sim.graph,
        test=x[n_rows:],
    )


def standardised_inside(sim, seed):
    """Rows of the same mechanisms, each variable brought to mean 0 and sd 1 before its
    children see it, so that neither variances nor their sums tell the order."""
    rng = np.random.default_rng([seed, 1])
    x = rng.standard_normal(sim.X.shape) * sim.noise_scale
    for j in networks.order_of(sim.graph):
        if "coef" in sim:
            x[:, j] += x @ sim.coef[:, j] * sim.graph[:, j].any()
        else:
            hidden = np.maximum(x @ sim.w1[j].T + sim.b1[j], 0)
            x[:, j] += sim.b2[j] + hidden @ sim.w2[j]
        x[:, j] = (x[:, j] - x[:, j].mean()) / x[:, j].std()
    return x


def varsortability(x, truth):
    """Share of directed paths along which the variance grows (Reisach et al., NeurIPS
    2021): 1 means that sorting by variance gives the order, 0.5 that it says nothing."""
    variance = x.var(axis=0)
    grows = np.sign(variance[None, :] - variance[:, None])
    grows[np.isclose(variance[None, :], variance[:, None], rtol=1e-9)] = 0
    reach, good, total = truth.astype(bool), 0.0, 0
    for _ in range(len(truth)):
        good += ((grows + 1) / 2)[reach].sum()
        total += reach.sum()
        reach = (reach.astype(int) @ truth.astype(int)) > 0
    return float(good / total) if total else float("nan")


# --- real data and published networks ------------------------------------------------


def find(folder, name):
    """The file of that name, anywhere in the data folder."""
    if folder is None:
        raise MissingData(f"{name} is not bundled: give its folder by --data")
    found = sorted(pathlib.Path(folder).rglob(name))
    if not found:
        raise MissingData(f"no {name} in the folder of --data")
    return found[0]


def sampled(name, n_rows, seed, folder):
    if name == "asia":
        network = networks.asia()
    else:
        try:
            network = networks.read_bif(find(folder, f"{name}.bif"))
        except MissingData:
            edges = find(folder, f"{name}_edges.csv")
            network = networks.read_linear(edges, find(folder, f"{name}_nodes.csv"))
    rng = np.random.default_rng(int(seed))
    x = network.sample(int(n_rows) + N_TEST, rng)
    graph, names = network.graph(), network.names
    x, test = x[: int(n_rows)], x[int(n_rows) :]
    varies = np.flatnonzero(x.std(axis=0) > 0)
    note = f"{len(names) - len(varies)} constant columns left out"
    x, test, graph = x[:, varies], test[:, varies], graph[np.ix_(varies, varies)]
    if x.dtype == np.int64:  # a model of the rows knows no other states
        known = [np.isin(test[:, j], x[:, j]) for j in range(x.shape[1])]
        test = test[np.all(known, axis=0)]
        x, test = as_seen(x, x), as_seen(test, x)
    return Problem(
        "",
        x,
        {},
        [names[j] for j in varies],
        truth=graph,
        test=test,
        note=note if len(varies) < len(names) else "",
    )


def as_seen(rows, x):
    """States numbered in order as they occur in x, without gaps."""
    columns = [np.searchsorted(np.unique(x[:, j]), rows[:, j]) for j in range(len(x.T))]
    return np.stack(columns, axis=1)


def sachs(kind, folder):
    if kind == "5846":
        return sachs_5846(folder)
    data = jspgfn.datasets.load_sachs(interventions=kind != "853")
    x, mask = np.log(np.asarray(data.data, float)), None
    if data.interventions is not None:
        mask = mask_of(data.interventions, data.feature_names)
    if kind == "states":
        cuts = np.quantile(x, (1 / 3, 2 / 3), axis=0)
        x = (x[None] > cuts[:, None]).sum(axis=0)
    return Problem("", x, {}, data.feature_names, mask=mask, truth=data.graph)


def sachs_5846(folder):
    import pandas

    table = pandas.read_csv(
        find(folder, "interventional_5846.csv"), keep_default_na=False
    )
    targets = list(table.pop("target"))
    table = table.drop(columns="condition_id")
    graph = jspgfn.datasets.load_sachs().graph
    names = list(table.columns)
    return Problem(
        "",
        np.log(np.asarray(table, float)),
        {},
        names,
        mask=mask_of(targets, names),
        truth=graph,
    )


def perturb(folder):
    import pandas

    table = pandas.read_csv(find(folder, "counts.csv"), keep_default_na=False)
    targets = list(table.pop("target"))
    names = list(table.columns)
    x = np.log1p(np.asarray(table, float))
    return Problem("", x, {}, names, mask=mask_of(targets, names))


def mask_of(targets, names):
    """1 where a row's target was set; empty = none."""
    mask = np.zeros((len(targets), len(names)), np.uint8)
    for row, target in enumerate(targets):
        if target:
            mask[row, names.index(target)] = 1
    return mask
