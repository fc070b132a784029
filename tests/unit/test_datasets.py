"""The bundled data are what their description says."""

import numpy as np
import pytest

import jspgfn
from jspgfn._constraints import find_cycle

pytest.importorskip("pandas")


def test_sachs_observational():
    sachs = jspgfn.datasets.load_sachs()
    assert sachs.data.shape == (853, 11)
    assert (sachs.data.dtypes == np.float64).all()
    assert sachs.interventions is None
    assert sachs.feature_names == list(sachs.data.columns)
    assert sachs.graph.sum() == 17
    assert not find_cycle(sachs.graph)
    edge = sachs.feature_names.index("Raf"), sachs.feature_names.index("Mek")
    assert sachs.graph[edge]
    assert sachs.data.iloc[0].tolist()[:3] == [26.4, 13.2, 8.82]
    assert sachs.data["Erk"].max() == 2571
    assert "853" in sachs.DESCR


def test_sachs_interventional():
    sachs = jspgfn.datasets.load_sachs(interventions=True)
    assert sachs.data.shape == (7466, 11)
    counts = {
        name: sachs.interventions.count(name) for name in set(sachs.interventions)
    }
    assert counts == {"": 1755, "Akt": 911, "PKC": 1636, "PIP2": 810, "Mek": 799} | {
        "PIP3": 848,
        "PKA": 707,
    }
    observational = jspgfn.datasets.load_sachs().data
    np.testing.assert_array_equal(sachs.data.iloc[:853], observational)
