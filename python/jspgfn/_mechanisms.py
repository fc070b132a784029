"""Draws of networks with non-linear mechanisms: a mean function per node plus noise."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._networks import (
    FAMILIES,
    LOG_2_PI,
    Bools,
    Contrast,
    Floats,
    LinearNetworks,
    Networks,
    ancestral_order,
    check_shapes,
    join_ranges,
)


class Mechanisms(Networks):
    """x_j = mean_j(parents of j) + noise_scale_j e_j with standard normal e_j.

    noise_scale : (n, D), in the units of X
    """

    noise_scale: Floats

    @abstractmethod
    def mean(self, j: int, rows: Floats, draws: slice) -> Floats:
        """mean_j at rows (N, D) in the units of X, (draws, N)."""

    def log_density(self, rows: Floats, counts: Bools, draws: slice) -> Floats:
        noise = self.noise_scale[draws]
        total = np.zeros((len(noise), len(rows)))
        for j in range(self.n_variables):
            z = (rows[:, j] - self.mean(j, rows, draws)) / noise[:, j, None]
            log_p = -0.5 * (z * z + LOG_2_PI) - np.log(noise[:, j, None])
            total += np.where(counts[:, j], log_p, 0.0)
        return total

    def effects(self, cause: int, outcome: int, contrast: Contrast) -> Floats:
        """Change of the mean of the outcome, by simulation.

        The same noise for both values of the cause; at the outcome its mean function
        rather than a draw. Exactly 0 where no path leads from cause to outcome.
        """
        effect = np.zeros(len(self))
        for s in range(len(self)):
            order = ancestral_order(self.graphs[s], outcome)
            if cause not in order:
                continue
            noise = np.random.default_rng([contrast.seed, s]).normal(
                size=(len(order), contrast.n_simulations)
            )
            high, low = (
                self._mean_after(s, order, noise, cause, value)
                for value in (contrast.high, contrast.low)
            )
            effect[s] = high - low
        return effect

    def _mean_after(
        self, s: int, order: list[int], noise: Floats, cause: int, value: float
    ) -> float:
        """Of the last in the order when the cause is set to a value."""
        rows = np.zeros((noise.shape[1], self.n_variables))
        for j, e in zip(order, noise, strict=True):
            if j == cause:
                rows[:, j] = value
                continue
            mean = self.mean(j, rows, slice(s, s + 1))[0]
            if j == order[-1]:
                return float(mean.mean())
            rows[:, j] = mean + self.noise_scale[s, j] * e
        return float(rows[:, order[-1]].mean())


class FeatureNetworks(Mechanisms):
    """Linear parts plus weighted random features, in the units of X.

    linear : the linear parts with intercepts and noise
    feature_weight : (n, D, M); zeros where the mechanism is linear
    map_of : (n, D) number of the feature map of node j in draw s, -1 without parents
    direction : rows of M numbers for each parent of each map, one map after the other
    offset : (n_maps, M)
    kind : "relu" or "fourier"
    """

    family = "features"

    def __init__(
        self,
        linear: LinearNetworks,
        feature_weight: Floats,
        map_of: NDArray[np.int64],
        direction: Floats,
        offset: Floats,
        kind: str,
    ) -> None:
        self.linear = linear
        self.graphs = linear.graphs
        self.noise_scale = linear.noise_scale
        self.feature_weight = feature_weight
        self.map_of = map_of
        self.direction = direction
        self.offset = offset
        self.kind = kind

    @property
    def theta(self) -> dict[str, NDArray[Any]]:
        return {**self.linear.theta, "feature_weight": self.feature_weight}

    def first_rows(self) -> NDArray[np.intp]:
        """Where each map begins in `direction`, (n_maps + 1,)."""
        return np.concatenate([[0], np.cumsum(self.map_sizes())]).astype(np.intp)

    def map_sizes(self) -> NDArray[np.intp]:
        """Parents of each map, (n_maps,)."""
        sizes = np.zeros(len(self.offset), np.intp)
        used = self.map_of >= 0
        sizes[self.map_of[used]] = self.graphs.sum(axis=1)[used]
        return sizes

    def mean(self, j: int, rows: Floats, draws: slice) -> Floats:
        coef = self.linear.coef(draws)[:, :, j]
        mean = coef @ rows.T + self.linear.intercept[draws, j, None]
        maps = self.map_of[draws, j]
        weights = self.feature_weight[draws, j]
        bent = np.flatnonzero(weights.any(axis=1))
        for number in np.unique(maps[bent]).tolist():
            members = bent[maps[bent] == number]
            parents = self.graphs[draws][members[0], :, j]
            mean[members] += (
                weights[members] @ self.features(number, rows[:, parents]).T
            )
        return np.asarray(mean)

    def features(self, number: int, z: Floats) -> Floats:
        """Of one map at the values of its parents (N, p): (N, M)."""
        first = self.first_rows()
        t = z @ self.direction[first[number] : first[number + 1]] - self.offset[number]
        if self.kind == "fourier":
            return np.asarray(np.sqrt(2) * np.cos(t))
        return np.asarray(np.maximum(t, 0))

    def take(self, draws: NDArray[np.intp]) -> FeatureNetworks:
        map_of = self.map_of[draws]
        kept = np.unique(map_of[map_of >= 0])
        number = np.full(len(self.offset) + 1, -1)
        number[kept] = np.arange(len(kept))
        first = self.first_rows()
        return FeatureNetworks(
            self.linear.take(draws),
            self.feature_weight[draws],
            number[map_of],
            self.direction[join_ranges(first[kept], first[kept + 1])],
            self.offset[kept],
            self.kind,
        )

    @classmethod
    def join(cls, parts: Sequence[FeatureNetworks]) -> FeatureNetworks:
        if len({(part.kind, part.feature_weight.shape[2]) for part in parts}) > 1:
            raise ValueError("draws with other random features cannot be joined")
        begins = np.cumsum([0, *(len(part.offset) for part in parts[:-1])])
        map_of = [
            np.where(part.map_of >= 0, part.map_of + begin, -1)
            for part, begin in zip(parts, begins, strict=True)
        ]
        return cls(
            LinearNetworks.join([part.linear for part in parts]),
            np.concatenate([part.feature_weight for part in parts]),
            np.concatenate(map_of),
            np.concatenate([part.direction for part in parts]),
            np.concatenate([part.offset for part in parts]),
            parts[0].kind,
        )

    def state(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        arrays, settings = self.linear.state()
        for name in ("feature_weight", "map_of", "direction", "offset"):
            arrays[name] = getattr(self, name)
        return arrays, {**settings, "kind": self.kind}

    @classmethod
    def from_state(
        cls, graphs: Bools, arrays: dict[str, NDArray[Any]], settings: dict[str, Any]
    ) -> FeatureNetworks:
        linear = LinearNetworks.from_state(graphs, arrays, settings)
        n_maps, n_features = arrays["offset"].shape
        map_of = arrays["map_of"]
        shape = graphs.shape[:2]
        check_shapes(arrays, {"map_of": shape, "feature_weight": (*shape, n_features)})
        has_parents = graphs.any(axis=1)
        if settings["kind"] not in ("relu", "fourier") or (
            map_of.max(initial=-1) >= n_maps
            or ((map_of >= 0) != has_parents).any()
            or map_of.min(initial=0) < -1
        ):
            raise ValueError("feature maps and graphs do not belong together")
        made = cls(
            linear,
            arrays["feature_weight"],
            map_of,
            arrays["direction"],
            arrays["offset"],
            settings["kind"],
        )
        sizes = made.map_sizes()
        of_draws = graphs.sum(axis=1)[has_parents]
        if (sizes[map_of[has_parents]] != of_draws).any() or arrays[
            "direction"
        ].shape != (sizes.sum(), n_features):
            raise ValueError("feature maps and graphs do not belong together")
        return made


def make_feature_networks(
    linear: LinearNetworks,
    feature_weight: Floats,
    scores: Any,
    kind: str,
    shift: Floats,
    scale: Floats,
) -> FeatureNetworks:
    """From draws in preprocessed units z = (x - shift) / scale, but `linear` in those of X.

    Features become functions of X: u . z - c = sum_i (u_i / scale_i) x_i
    - (c + sum_i u_i shift_i / scale_i).
    """
    graphs = linear.graphs
    n, n_variables, n_features = feature_weight.shape
    map_of = np.full((n, n_variables), -1, np.int64)
    directions, offsets = [np.zeros((0, n_features))], [np.zeros((0, n_features))]
    n_maps = 0
    for j in range(n_variables):
        sets, inverse = np.unique(
            np.packbits(graphs[:, :, j], axis=1), axis=0, return_inverse=True
        )
        for number, packed in enumerate(sets):
            parents = np.flatnonzero(np.unpackbits(packed, count=n_variables))
            if not len(parents):
                continue
            direction, offset = scores.feature_map(j, parents.tolist())
            direction = direction.T / scale[parents, None]
            directions.append(direction)
            offsets.append(offset[None] + shift[parents] @ direction)
            map_of[inverse.ravel() == number, j] = n_maps
            n_maps += 1
    return FeatureNetworks(
        linear,
        feature_weight * scale[:, None],
        map_of,
        np.concatenate(directions),
        np.concatenate(offsets),
        kind,
    )


FAMILIES[FeatureNetworks.family] = FeatureNetworks
