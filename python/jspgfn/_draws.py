"""Draws: graphs with parameters and their weights; cutting, joining and reweighting.

The base of `Posterior`, below its summaries (_summaries.py), exports (_exports.py) and
pictures.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from ._labels import label_matrix
from ._networks import FAMILIES, DiscreteNetworks, LinearNetworks, Networks
from ._validation import check_flag, check_integer, describe, variable_finder

if TYPE_CHECKING:
    from typing_extensions import Self

Floats = NDArray[np.float64]


class Draws:
    """What every posterior holds; see `Posterior` for the attributes."""

    def __init__(
        self,
        networks: Networks,
        *,
        log_prob: Floats | None,
        log_prob_theta: Floats,
        log_reward: Floats | None,
        feature_names: list[str],
        labelled: bool,
        equal_weights: bool = False,
        log_reward_joint: Floats | None = None,
        log_factor: Floats | None = None,
    ) -> None:
        self._networks = networks
        self.log_prob = log_prob
        self.log_prob_theta = log_prob_theta
        self.log_reward = log_reward
        self.feature_names = list(feature_names)
        self._labelled = labelled
        self._equal_weights = equal_weights or log_prob is None
        # None = parameters come from their exact conditional posterior
        self._log_reward_joint = log_reward_joint
        self._log_factor = log_factor  # of the caller's own, see `reweight`

    def __len__(self) -> int:
        return len(self._networks)

    @property
    def graphs(self) -> NDArray[np.bool_]:
        return self._networks.graphs

    @property
    def coef(self) -> Floats:
        return self._linear("coef").coef()

    @property
    def intercept(self) -> Floats:
        return self._linear("intercept").intercept

    @property
    def noise_scale(self) -> Floats:
        """(n, D), of every family whose parameters have one."""
        if self._networks.family == "discrete":
            self._linear("noise_scale")
        return cast(Floats, self._networks.theta["noise_scale"])

    def _linear(self, name: str) -> LinearNetworks:
        if not isinstance(self._networks, LinearNetworks):
            hint = "theta for all parameters, mechanism and conditional_mean for curves"
            if isinstance(self._networks, DiscreteNetworks):
                hint = "theta and conditional_table"
            elif name in self._networks.theta:
                hint = f"theta[{name!r}] for that of the linear part, {hint[6:]}"
            raise AttributeError(
                f"draws of the model {self._networks.family!r} have no {name}; see {hint}"
            )
        return self._networks

    @property
    def theta(self) -> dict[str, NDArray[Any]]:
        return self._networks.theta

    def conditional_table(self, s: int, variable: Any) -> Floats:
        """Conditional probability table of a variable in one draw of a discrete model.

        Parameters
        ----------
        s : int
            Number of the draw; negative numbers count from the end.
        variable : str or int
            A column name, or its number.

        Returns
        -------
        ndarray
            One axis per parent, in the order of the columns, then the axis of the
            variable's own states, along which entries sum to 1. A view.

        Examples
        --------
        >>> import numpy as np, jspgfn
        >>> X = np.random.default_rng(0).integers(3, size=(50, 2))
        >>> est = jspgfn.JSPGFN(model="bdeu", n_iter=50, random_state=0).fit(X)
        >>> table = est.sample(10).conditional_table(0, 1)
        >>> bool(np.allclose(table.sum(axis=-1), 1))
        True
        """
        if not isinstance(self._networks, DiscreteNetworks):
            family = self._networks.family
            hint = "coef and noise_scale" if family == "linear" else "theta"
            raise AttributeError(
                f"draws of a {family} model have no tables; see {hint}"
            )
        return self._networks.conditional_table(
            self._find_draw(s), self._find_variable(variable, "variable")
        )

    def _find_draw(self, s: object) -> int:
        n = len(self)
        return check_integer("s", s, at_least=-n, at_most=n - 1) % n

    def _find_variable(self, variable: object, argument: str) -> int:
        """From a name or a number, whatever the data had."""
        labelled = self._labelled or isinstance(variable, str)
        if labelled and not isinstance(variable, str):
            return check_integer(argument, variable, 0, len(self.feature_names) - 1)
        return variable_finder(self.feature_names, labelled, argument)(variable)

    # --- weights ---------------------------------------------------------------------

    @property
    def log_reward_joint(self) -> Floats:
        if self._log_reward_joint is not None:
            return self._log_reward_joint
        assert self.log_reward is not None  # one of the two is always there
        return np.asarray(self.log_reward + self.log_prob_theta)

    @property
    def weights(self) -> Floats:
        log_weights = self._all_log_weights()
        weights = np.exp(log_weights - log_weights.max(initial=-np.inf))
        return np.asarray(weights / weights.sum())

    def _log_weights(self) -> Floats:
        """Up to a constant, without the factors of `reweight`."""
        if self._equal_weights or self.log_prob is None:
            return np.zeros(len(self))
        if self._log_reward_joint is None and self.log_reward is not None:
            return np.asarray(self.log_reward - self.log_prob)
        return np.asarray(self.log_reward_joint - self.log_prob - self.log_prob_theta)

    def _all_log_weights(self) -> Floats:
        """Up to a constant that other draws of the same estimator share."""
        log_weights = self._log_weights()
        if self._log_factor is None:
            return log_weights
        return log_weights + self._log_factor

    def _weights_of(self, weighted: bool) -> Floats:
        if check_flag("weighted", weighted):
            return self.weights
        return np.full(len(self), 1 / len(self))

    def reweight(self, log_factor: Any) -> Self:
        """The same draws with other weights, for another prior or a further likelihood.

        Parameters
        ----------
        log_factor : array-like of shape (n,)
            The weight of draw s is multiplied by ``exp(log_factor[s])``; for another
            prior the difference of the log priors of its graph.

        Returns
        -------
        Posterior
            Its `weights` contain the factors; use ``weighted=True`` in summaries. The
            old object is unchanged.

        Examples
        --------
        >>> import jspgfn
        >>> sim = jspgfn.simulate.linear_gaussian(
        ...     n_variables=3, n_samples=50, random_state=0)
        >>> post = jspgfn.ExactPosterior(random_state=0).fit(sim.X).sample(100)
        >>> sparser = post.reweight(-1.0 * post.graphs.sum(axis=(1, 2)))
        >>> both = [p.edge_probabilities(weighted=True).sum() for p in (post, sparser)]
        >>> bool(both[1] < both[0])
        True
        """
        try:
            factor = np.asarray(log_factor, dtype=np.float64)
        except (TypeError, ValueError):
            raise ValueError(
                f"log_factor must be numbers, one per draw, got {describe(log_factor)}"
            ) from None
        if factor.shape != (len(self),):
            raise ValueError(
                f"log_factor must have one entry per draw, {len(self)}, got shape "
                f"{factor.shape}"
            )
        if np.isnan(factor).any() or factor.max(initial=-np.inf) in (-np.inf, np.inf):
            raise ValueError("log_factor must be numbers, -inf for some at most")
        if self._log_factor is not None:
            factor = factor + self._log_factor
        return self._changed(self._networks, np.arange(len(self)), factor)

    # --- cutting and joining ---------------------------------------------------------

    def __getitem__(self, key: Any) -> Self:
        """Some of the draws: a number, a slice, a list of numbers or a mask.

        ValueError when none is left: of no draws there is no probability.
        """
        draws = np.arange(len(self))[key]
        if np.ndim(draws) > 1:
            raise IndexError("draws are numbered by one index")
        draws = np.atleast_1d(draws)
        if not len(draws):
            raise ValueError(
                f"a posterior needs at least one draw, but {describe(key)} selects none "
                f"of {len(self)}"
            )
        factor = None if self._log_factor is None else self._log_factor[draws]
        return self._changed(self._networks.take(draws), draws, factor)

    def _changed(
        self, networks: Networks, draws: NDArray[np.intp], factor: Floats | None
    ) -> Self:
        def of_draws(values: Floats | None) -> Floats | None:
            return None if values is None else values[draws]

        return type(self)(
            networks,
            log_prob=of_draws(self.log_prob),
            log_prob_theta=self.log_prob_theta[draws],
            log_reward=of_draws(self.log_reward),
            feature_names=self.feature_names,
            labelled=self._labelled,
            equal_weights=self._equal_weights,
            log_reward_joint=of_draws(self._log_reward_joint),
            log_factor=factor,
        )

    @classmethod
    def concatenate(cls, posteriors: Sequence[Self]) -> Self:
        """Draws of several posteriors of the same variables, one after the other.

        Parameters
        ----------
        posteriors : list of Posterior
            From the same data and model, or the weights mean nothing.

        Returns
        -------
        Posterior
            Weights are taken over all draws together. Where some parts have weights and
            others have none (chains, exact draws), each part counts by its number of
            draws. `log_prob` is None unless all parts have it.

        Examples
        --------
        >>> import jspgfn
        >>> sim = jspgfn.simulate.linear_gaussian(
        ...     n_variables=3, n_samples=50, random_state=0)
        >>> post = jspgfn.ExactPosterior(random_state=0).fit(sim.X).sample(100)
        >>> both = jspgfn.Posterior.concatenate([post[:50], post[50:]])
        >>> bool((both.coef == post.coef).all())
        True
        """
        parts = list(posteriors) if isinstance(posteriors, Iterable) else []
        if not parts or not all(isinstance(part, Draws) for part in parts):
            raise ValueError(
                "posteriors must be a list of posteriors, at least one, got "
                f"{describe(posteriors)}"
            )
        first = parts[0]
        for part in parts[1:]:
            if part.feature_names != first.feature_names:
                raise ValueError(
                    "posteriors of different variables cannot be joined: "
                    f"{first.feature_names} and {part.feature_names}"
                )
            if part._networks.family != first._networks.family:
                raise ValueError(
                    "posteriors of different kinds of models cannot be joined: "
                    f"{first._networks.family} and {part._networks.family}"
                )
        kinds = {part._equal_weights for part in parts}
        factors = [part._log_factor for part in parts]
        if len(kinds) > 1 or any(factor is not None for factor in factors):
            if len(kinds) > 1:
                with np.errstate(divide="ignore"):
                    factors = [np.log(len(part) * part.weights) for part in parts]
            factors = [
                np.zeros(len(part)) if factor is None else factor
                for part, factor in zip(parts, factors, strict=True)
            ]
        joint = None
        if any(part._log_reward_joint is not None for part in parts):
            joint = np.concatenate([part.log_reward_joint for part in parts])
        return cls(
            type(first._networks).join([part._networks for part in parts]),
            log_prob=join_arrays([part.log_prob for part in parts]),
            log_prob_theta=np.concatenate([part.log_prob_theta for part in parts]),
            log_reward=join_arrays([part.log_reward for part in parts]),
            feature_names=first.feature_names,
            labelled=any(part._labelled for part in parts),
            equal_weights=len(kinds) > 1 or kinds == {True},
            log_reward_joint=joint,
            log_factor=join_arrays(factors),
        )

    # --- to files and back -----------------------------------------------------------

    def _state(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Arrays, and settings that JSON can hold, from which `_from_state` rebuilds.

        Optional arrays that are None are left out.
        """
        arrays, settings = self._networks.state()
        arrays = {f"theta.{name}": values for name, values in arrays.items()}
        arrays["graphs"] = self.graphs
        for name, values in self._optional_arrays().items():
            if values is not None:
                arrays[name] = values
        return arrays, {
            "family": self._networks.family,
            "theta": settings,
            "feature_names": self.feature_names,
            "labelled": self._labelled,
            "equal_weights": self._equal_weights,
        }

    def _optional_arrays(self) -> dict[str, Floats | None]:
        return {
            "log_prob": self.log_prob,
            "log_prob_theta": self.log_prob_theta,
            "log_reward": self.log_reward,
            "log_reward_joint": self._log_reward_joint,
            "log_factor": self._log_factor,
        }

    @classmethod
    def _from_state(
        cls, arrays: dict[str, NDArray[Any]], settings: dict[str, Any]
    ) -> Self:
        """Shapes are checked, ValueError; contents are taken as they are."""
        family = FAMILIES.get(settings["family"])
        if family is None:
            raise ValueError(f"unknown kind of model {settings['family']!r}")
        graphs = np.asarray(arrays["graphs"], dtype=np.bool_)
        names = list(settings["feature_names"])
        if graphs.ndim != 3 or graphs.shape[1:] != (len(names), len(names)):
            raise ValueError(
                f"graphs of shape {graphs.shape} for {len(names)} variables"
            )
        if not {"log_reward", "log_reward_joint"} & set(arrays):
            raise ValueError("neither log_reward nor log_reward_joint is there")
        of_theta = {
            name.removeprefix("theta."): values
            for name, values in arrays.items()
            if name.startswith("theta.")
        }
        networks = family.from_state(graphs, of_theta, settings["theta"])
        post = cls(
            networks,
            log_prob=arrays.get("log_prob"),
            log_prob_theta=arrays["log_prob_theta"],
            log_reward=arrays.get("log_reward"),
            feature_names=names,
            labelled=bool(settings["labelled"]),
            equal_weights=bool(settings["equal_weights"]),
            log_reward_joint=arrays.get("log_reward_joint"),
            log_factor=arrays.get("log_factor"),
        )
        for name, values in post._optional_arrays().items():
            if values is not None and values.shape != (len(graphs),):
                raise ValueError(
                    f"{name} of shape {values.shape} for {len(graphs)} draws"
                )
        return post

    def _labelled_matrix(self, matrix: NDArray[Any]) -> Any:
        return label_matrix(matrix, self.feature_names, self._labelled)


def join_arrays(parts: Sequence[Floats | None]) -> Floats | None:
    """None unless all parts are there."""
    present = [part for part in parts if part is not None]
    return np.concatenate(present) if len(present) == len(parts) else None
