"""Samples the joint posterior over Bayesian networks and their parameters.

    import jspgfn
    est = jspgfn.JSPGFN(model="bge").fit(table)
    post = est.sample(1000)
    post.edge_table()

In every graph, A[i, j] = 1 means the edge i -> j: i is a parent of j.
"""

from importlib.metadata import version as _version

from . import datasets, simulate
from ._config import show_config
from ._core import NumericalError
from ._estimator import JSPGFN
from ._exceptions import (
    CyclicGraphWarning,
    JspgfnWarning,
    NoiseScaleWarning,
    NotMixedWarning,
    TimeBudgetWarning,
)
from ._mcmc import StructureMCMC
from ._models import BGe, LinearGaussian
from ._posterior import Posterior

__version__ = _version("jspgfn")

__all__ = [
    "JSPGFN",
    "BGe",
    "CyclicGraphWarning",
    "JspgfnWarning",
    "LinearGaussian",
    "NoiseScaleWarning",
    "NotMixedWarning",
    "NumericalError",
    "Posterior",
    "StructureMCMC",
    "TimeBudgetWarning",
    "__version__",
    "datasets",
    "show_config",
    "simulate",
]
