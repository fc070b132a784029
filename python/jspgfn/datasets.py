"""Data sets that come with the package."""

from __future__ import annotations

from importlib.resources import files

import numpy as np
from sklearn.utils import Bunch

from ._labels import import_extra

__all__ = ["load_sachs"]


def load_sachs(interventions: bool = False) -> Bunch:
    """Protein signalling data of Sachs et al., Science 308:523-529 (2005).

    Fluorescence intensities, in arbitrary units, of 11 phosphorylated molecules in
    single human T cells; one row per cell. Values are raw: take logarithms before
    fitting, as the raw ones are extremely skewed. Needs pandas.

    Parameters
    ----------
    interventions : bool
        False: the 853 cells under general stimulation only (condition 1), observational
        data. True: all 7,466 cells of the nine conditions of the paper's main result,
        pooled, with the target of each row's reagent.

    Returns
    -------
    Bunch
        data : DataFrame (N, 11) of raw values. graph : ndarray (11, 11) bool, the usual
        graph of 17 edges from the literature, graph[i, j] = edge i -> j in the order of
        the columns. interventions : None, or a list of N targets, "" for none, ready
        for `JSPGFN.fit`. feature_names : list of str. DESCR : str, where the data come
        from.

    Notes
    -----
    Traps. The graph is a consensus of the literature, not a known truth. Files called
    "observational" elsewhere often pool interventions silently: they have 7,466 rows.
    In the original sheets, and so here, Raf and Mek of condition 7 repeat those of
    condition 3 row by row. The reagents inhibit or activate a molecule; they do not set
    it to a value, as `interventions` assumes. The target of LY294002 (condition 7) is
    taken to be PIP3; some copies of the data list none.

    Examples
    --------
    >>> import jspgfn
    >>> sachs = jspgfn.datasets.load_sachs()
    >>> sachs.data.shape, int(sachs.graph.sum())
    ((853, 11), 17)
    """
    pandas = import_extra("pandas")
    folder = files("jspgfn") / "data"
    targets = None
    if interventions:
        with (folder / "sachs_interventional_7466.csv").open(encoding="utf-8") as file:
            table = pandas.read_csv(file, keep_default_na=False)
        targets = [str(target) for target in table.pop("target")]
        table = table.drop(columns="condition_id")
    else:
        with (folder / "sachs_observational_853.csv").open(encoding="utf-8") as file:
            table = pandas.read_csv(file)
    table = table.astype(np.float64)
    names = list(table.columns)
    with (folder / "sachs_edges_17.csv").open(encoding="utf-8") as file:
        edges = pandas.read_csv(file)
    graph = np.zeros((len(names), len(names)), dtype=bool)
    for parent, child in zip(edges["parent"], edges["child"], strict=True):
        graph[names.index(parent), names.index(child)] = True
    return Bunch(
        data=table,
        graph=graph,
        interventions=targets,
        feature_names=names,
        DESCR=(folder / "sachs.md").read_text(encoding="utf-8"),
    )
