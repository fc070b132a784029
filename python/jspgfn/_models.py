"""Local models: how one variable depends on its parents, and how settings are checked."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from sklearn.base import BaseEstimator

from ._validation import check_choice, check_integer, check_real, describe

Model = Any  # a string or one of the objects below; scikit-learn checks nothing earlier


class LinearGaussian(BaseEstimator):  # type: ignore[misc]
    """Linear mechanisms with Gaussian noise of a known standard deviation.

    ``x_j = intercept + sum_i coef[i, j] x_i + e``, ``e ~ N(0, noise_scale**2)``, and
    ``coef[i, j] ~ N(0, weight_scale**2)``, both in units of the preprocessed data.

    Parameters
    ----------
    noise_scale : float
        Standard deviation of the noise (not the variance), the same for all variables.
        The default, sqrt(0.1), is that of the paper's simulations.
    weight_scale : float
        Prior standard deviation of a weight.

    Notes
    -----
    Two traps. A known noise is a strong assumption: with ``preprocess="standardize"``
    it is almost surely wrong, since dividing a column by its standard deviation divides
    its noise too; a `NoiseScaleWarning` says so. And an equal known noise tells the
    direction of edges apart that a learned noise (`BGe`) would leave open.

    Examples
    --------
    >>> import jspgfn
    >>> jspgfn.LinearGaussian(noise_scale=0.5)
    LinearGaussian(noise_scale=0.5)
    """

    def __init__(
        self, noise_scale: float = 0.1**0.5, weight_scale: float = 1.0
    ) -> None:
        self.noise_scale = noise_scale
        self.weight_scale = weight_scale


class NormalInverseGamma(BaseEstimator):  # type: ignore[misc]
    """Linear mechanisms with learned Gaussian noise, one variance per variable.

    ``x_j = intercept + sum_i coef[i, j] x_i + e``, ``e ~ N(0, v)``, ``v`` inverse gamma
    with shape `a` and rate `b`, ``coef[i, j] | v ~ N(0, v weight_scale**2)``, all in
    units of the preprocessed data.

    Parameters
    ----------
    a, b : float
        Shape and rate of the inverse gamma distribution of the noise variance.
    weight_scale : float
        Prior standard deviation of a weight, in noise standard deviations.

    Notes
    -----
    Unlike `BGe` it is not score-equivalent: graphs of one Markov class may score
    differently, which says more about the prior than about causes.

    Examples
    --------
    >>> import jspgfn
    >>> jspgfn.NormalInverseGamma(a=2.0)
    NormalInverseGamma(a=2.0)
    """

    def __init__(
        self, a: float = 1.0, b: float = 1.0, weight_scale: float = 1.0
    ) -> None:
        self.a = a
        self.b = b
        self.weight_scale = weight_scale


class BGe(BaseEstimator):  # type: ignore[misc]
    """Linear mechanisms with learned Gaussian noise; score-equivalent.

    Graphs of one Markov class get the same score. The Bayesian Gaussian equivalent
    score of Geiger and Heckerman, with the correction of Kuipers, Moffa and Heckerman
    (arXiv 1402.6863): a normal-Wishart prior on the joint distribution, which includes
    the mean of every variable (prior mean 0 in preprocessed units).

    Parameters
    ----------
    alpha_mu : float
        Weight of the prior mean, in rows of data.
    alpha_w : float or None
        Degrees of freedom of the Wishart prior, more than D + 1; None = D + 2.

    Examples
    --------
    >>> import jspgfn
    >>> jspgfn.BGe(alpha_w=20.0)
    BGe(alpha_w=20.0)
    """

    def __init__(self, alpha_mu: float = 1.0, alpha_w: float | None = None) -> None:
        self.alpha_mu = alpha_mu
        self.alpha_w = alpha_w


class BDeu(BaseEstimator):  # type: ignore[misc]
    """Discrete variables with conditional probability tables; score-equivalent.

    Each row of a table is Dirichlet with all parameters equivalent_sample_size / (states
    of the child * configurations of the parents). Columns may hold integers, text, bool
    or pandas categories.

    Parameters
    ----------
    equivalent_sample_size : float
        Weight of the prior, in rows of data. Sensitive: larger values favour more edges.
    n_states : None, int or dict
        Number of states, of all columns or of those named. None: the categories of a
        pandas Categorical, else the distinct values in the data. More states than occur
        are possible; they are then never observed.

    References
    ----------
    Heckerman, Geiger and Chickering, "Learning Bayesian networks: the combination of
    knowledge and statistical data", Machine Learning 20, 1995.

    Examples
    --------
    >>> import jspgfn
    >>> jspgfn.BDeu(equivalent_sample_size=10.0)
    BDeu(equivalent_sample_size=10.0)
    """

    def __init__(
        self, equivalent_sample_size: float = 1.0, n_states: Any = None
    ) -> None:
        self.equivalent_sample_size = equivalent_sample_size
        self.n_states = n_states


class RandomFeatures(BaseEstimator):  # type: ignore[misc]
    """Non-linear mechanisms: a linear part plus random features, weights integrated out.

    ``x_j = intercept + sum_i coef[i, j] x_i + sum_k a_k phi_k(parents of j) + e``. The
    features phi_k are fixed random functions of the parents, so that the evidence is
    exact; their weights are normal. How far a mechanism is from linear is learned: the
    scale of the a_k has four values with equal prior probability, 0 (a linear mechanism)
    and 1, 4 and 16 noise standard deviations, and is integrated out.

    Parameters
    ----------
    n_features : int
        Features per parent set, at most 1000. Time grows with its square.
    noise_scale : float or None
        Standard deviation of the noise in units of the preprocessed data; None learns
        one variance per variable, inverse gamma with shape `a` and rate `b`.
    kind : {"relu", "fourier"}
        "relu": kinked at random rows of the data along random directions; "fourier":
        cosines of random frequencies, which approximate a Matern 3/2 Gaussian process.
    weight_scale : float
        Prior standard deviation of a linear weight, in noise standard deviations.
    a, b : float
        Shape and rate of the prior of a learned noise variance.

    Notes
    -----
    An extension of this package. At most 3 parents per node are considered unless
    `max_parents` says otherwise, as every parent set is fitted. With a scale of 0 alone
    it would be `NormalInverseGamma`, or `LinearGaussian`.

    References
    ----------
    Rahimi and Recht, "Random features for large-scale kernel machines", NeurIPS 2007.

    Examples
    --------
    >>> import jspgfn
    >>> jspgfn.RandomFeatures(n_features=30)
    RandomFeatures(n_features=30)
    """

    def __init__(
        self,
        n_features: int = 50,
        noise_scale: float | None = None,
        *,
        kind: str = "relu",
        weight_scale: float = 1.0,
        a: float = 1.0,
        b: float = 1.0,
    ) -> None:
        self.n_features = n_features
        self.noise_scale = noise_scale
        self.kind = kind
        self.weight_scale = weight_scale
        self.a = a
        self.b = b


class MLPGaussian(BaseEstimator):  # type: ignore[misc]
    """Each variable a small neural network of its parents: the paper's non-linear model.

    ``x_j = b2 + sum_u w2[u] relu(b1[u] + sum_i w1[u, i] x_i) + e``,
    ``e ~ N(0, noise_scale**2)``, all weights and biases N(0, 1), in units of the
    preprocessed data.

    Parameters
    ----------
    hidden : int
        Units of a variable's hidden layer, at most 32.
    noise_scale : float or None
        Standard deviation of the noise, the same for all variables; None learns one per
        variable, with log noise_scale ~ N(-1, 1).
    effort : float
        Accuracy of a parent set's fit. Errors of evidences fall with its root, time grows
        in proportion (`parent_set_evidence` gives the standard error of one).

    Notes
    -----
    Evidences have no closed form. Output weights are integrated out exactly, hidden ones
    by sequential Monte Carlo, parent set by parent set, before anything else begins: some
    milliseconds each at 100 rows, so at most 3 parents per node are considered unless
    `max_parents` says otherwise. They are kept for later fits of the process on the same
    data, and ``joblib.parallel_config`` spreads them over processes or machines. With
    ``JSPGFN(generator="gnn", head="mlp")`` there are no
    such tables; the published method learns parameters together with the graph, with a
    head of one mode, although units can be permuted.

    References
    ----------
    Dau and Chopin, "Waste-free sequential Monte Carlo", JRSS B 84, 2022.

    Examples
    --------
    >>> import jspgfn
    >>> jspgfn.MLPGaussian(hidden=3)
    MLPGaussian(hidden=3)
    """

    def __init__(
        self,
        hidden: int = 5,
        noise_scale: float | None = 0.1**0.5,
        effort: float = 1.0,
    ) -> None:
        self.hidden = hidden
        self.noise_scale = noise_scale
        self.effort = effort


# Up to so many variables all others are candidate parents by default: tables of 2^19 sets
# for each of 20 variables take about a second, but those of "bdeu" 15 s with 100 rows and
# 95 s with 1,000, of "features" (3 parents at most) 3 and 12 s, and of "mlp" minutes.
MOST_VARIABLES_WITH_ALL = 20
MOST_VARIABLES_IF_SLOW = 16


@dataclass(frozen=True)
class ModelSettings:
    """A model after the checks: what the compiled core needs to know."""

    name: str
    fields: dict[str, float]
    learns_noise: bool
    has_own_mean: bool
    is_discrete: bool = False
    max_parents: int | None = None  # unless the user says otherwise
    is_costly: bool = False  # a parent set takes milliseconds
    all_candidates_up_to: int = MOST_VARIABLES_WITH_ALL


MOST_FEATURES = 1000
MOST_UNITS = 32  # as in csrc/kernels/jsp_kernels.h

# Parents of models whose parent sets are fitted one by one.
FEW_PARENTS = 3

# Models whose parameters are more than one weight per edge, an intercept and noise.
NON_LINEAR = ("features", "mlp")

# Models one of whose parent sets takes milliseconds.
COSTLY = ("mlp",)

MODEL_NAMES = {
    "linear": LinearGaussian,
    "nig": NormalInverseGamma,
    "bge": BGe,
    "bdeu": BDeu,
    "features": RandomFeatures,
    "mlp": MLPGaussian,
}


def is_discrete(model: Model) -> bool:
    """Whether a model, by name or as an object, wants states instead of numbers."""
    return isinstance(model, BDeu) or (isinstance(model, str) and model == "bdeu")


def check_model(model: Model, n_variables: int) -> ModelSettings:
    """Settings of a model given by name or as an object; ValueError if it is neither."""
    if isinstance(model, str) and model in MODEL_NAMES:
        model = MODEL_NAMES[model]()
    if isinstance(model, LinearGaussian):
        fields = {
            "noise_scale": check_real("noise_scale", model.noise_scale, above=0),
            "weight_scale": check_real("weight_scale", model.weight_scale, above=0),
        }
        return ModelSettings("linear", fields, learns_noise=False, has_own_mean=False)
    if isinstance(model, BGe):
        alpha_w = n_variables + 2 if model.alpha_w is None else model.alpha_w
        smallest = n_variables + 1
        fields = {
            "alpha_mu": check_real("alpha_mu", model.alpha_mu, above=0),
            "alpha_w": check_real(
                "alpha_w", alpha_w, above=smallest, why=f"D + 1 with D = {n_variables}"
            ),
        }
        return ModelSettings("bge", fields, learns_noise=True, has_own_mean=True)
    if isinstance(model, NormalInverseGamma):
        fields = {
            name: check_real(name, getattr(model, name), above=0)
            for name in ("a", "b", "weight_scale")
        }
        return ModelSettings("nig", fields, learns_noise=True, has_own_mean=False)
    if isinstance(model, BDeu):
        ess = model.equivalent_sample_size
        fields = {
            "equivalent_sample_size": check_real("equivalent_sample_size", ess, above=0)
        }
        return ModelSettings(
            "bdeu",
            fields,
            learns_noise=True,
            has_own_mean=True,
            is_discrete=True,
            all_candidates_up_to=MOST_VARIABLES_IF_SLOW,
        )
    if isinstance(model, RandomFeatures):
        return check_features(model)
    if isinstance(model, MLPGaussian):
        return check_mlp(model)
    names = ", ".join(repr(name) for name in MODEL_NAMES)
    objects = ", ".join(f"{kind.__name__}(...)" for kind in MODEL_NAMES.values())
    raise ValueError(
        f"model must be {names}, or an object {objects}, got {describe(model)}"
    )


def check_features(model: RandomFeatures) -> ModelSettings:
    kinds = {"relu": "kinked", "fourier": "cosines"}
    learned = model.noise_scale is None
    noise = (
        math.nan if learned else check_real("noise_scale", model.noise_scale, above=0)
    )
    fields = {
        "n_features": check_integer(
            "n_features", model.n_features, at_least=1, at_most=MOST_FEATURES
        ),
        "noise_scale": noise,
        "fourier": float(check_choice("kind", model.kind, kinds) == "fourier"),
        **{
            name: check_real(name, getattr(model, name), above=0)
            for name in ("weight_scale", "a", "b")
        },
    }
    return ModelSettings(
        "features",
        fields,
        learns_noise=learned,
        has_own_mean=False,
        max_parents=FEW_PARENTS,
        all_candidates_up_to=MOST_VARIABLES_IF_SLOW,
    )


def check_mlp(model: MLPGaussian) -> ModelSettings:
    learned = model.noise_scale is None
    effort = check_real("effort", model.effort)
    if not 0.01 <= effort <= 1000:
        raise ValueError(f"effort must be 0.01 to 1000, got {describe(model.effort)}")
    fields = {
        "hidden": check_integer("hidden", model.hidden, 1, MOST_UNITS),
        "noise_scale": math.nan
        if learned
        else check_real("noise_scale", model.noise_scale, above=0),
        "effort": effort,
    }
    return ModelSettings(
        "mlp",
        fields,
        learns_noise=learned,
        has_own_mean=True,
        max_parents=FEW_PARENTS,
        is_costly=True,
        all_candidates_up_to=MOST_VARIABLES_IF_SLOW,
    )
