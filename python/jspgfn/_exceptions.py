"""Warnings of the package. Errors are ValueError, TypeError and jspgfn.NumericalError."""


class JspgfnWarning(UserWarning):
    """Base class of all warnings of this package.

    Examples
    --------
    >>> import warnings, jspgfn
    >>> warnings.simplefilter("error", jspgfn.JspgfnWarning)   # treat them as errors
    >>> warnings.simplefilter("default", jspgfn.JspgfnWarning)
    """


class NoiseScaleWarning(JspgfnWarning):
    """A fixed noise scale does not go with the data: see `LinearGaussian`."""


class CandidatesWarning(JspgfnWarning):
    """Chosen candidates leave out a part of the posterior: see `discarded_mass_`."""


class CyclicGraphWarning(JspgfnWarning):
    """A summary graph has a cycle: see `Posterior.median_graph`."""


class TimeBudgetWarning(JspgfnWarning):
    """`max_time` was over before training could begin."""


class NotMixedWarning(JspgfnWarning):
    """Markov chains have not mixed: see `StructureMCMC.diagnostics`."""


class UnusedSettingWarning(JspgfnWarning):
    """A setting of the generator "gnn" is given, but another generator is used."""


class WarmStartWarning(JspgfnWarning):
    """warm_start was asked for, but nothing of the fit before can be used."""
