"""Samples the joint posterior over Bayesian networks and their parameters.

    import jspgfn
    est = jspgfn.JSPGFN(model="bge").fit(table)
    post = est.sample(1000)
    post.edge_table()

In every graph, A[i, j] = 1 means the edge i -> j: i is a parent of j.
"""

from importlib.metadata import version as _version

from . import datasets, metrics, simulate
from ._batches import SufficientStatistics
from ._config import show_config
from ._constraints import Constraints
from ._core import NumericalError
from ._diagnose import Diagnosis
from ._estimator import JSPGFN
from ._exact import ExactPosterior
from ._exceptions import (
    CandidatesWarning,
    CyclicGraphWarning,
    JspgfnWarning,
    NoiseScaleWarning,
    NotMixedWarning,
    TimeBudgetWarning,
    UnusedSettingWarning,
    WarmStartWarning,
)
from ._files import load
from ._gnn import PAPER, PAPER_QUICK
from ._mcmc import StructureMCMC
from ._merge import merge
from ._models import (
    BDeu,
    BGe,
    LinearGaussian,
    MLPGaussian,
    NormalInverseGamma,
    RandomFeatures,
)
from ._posterior import Posterior
from ._priors import EdgeProbabilities, ErdosRenyi
from ._refine import Refinement

__version__ = _version("jspgfn")

__all__ = [
    "JSPGFN",
    "PAPER",
    "PAPER_QUICK",
    "BDeu",
    "BGe",
    "CandidatesWarning",
    "Constraints",
    "CyclicGraphWarning",
    "Diagnosis",
    "EdgeProbabilities",
    "ErdosRenyi",
    "ExactPosterior",
    "JspgfnWarning",
    "LinearGaussian",
    "MLPGaussian",
    "NoiseScaleWarning",
    "NormalInverseGamma",
    "NotMixedWarning",
    "NumericalError",
    "Posterior",
    "RandomFeatures",
    "Refinement",
    "StructureMCMC",
    "SufficientStatistics",
    "TimeBudgetWarning",
    "UnusedSettingWarning",
    "WarmStartWarning",
    "__version__",
    "datasets",
    "load",
    "merge",
    "metrics",
    "show_config",
    "simulate",
]
