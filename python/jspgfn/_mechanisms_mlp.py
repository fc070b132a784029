"""Draws of networks whose mechanisms are small neural networks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._mechanisms import Mechanisms
from ._networks import FAMILIES, Bools, Floats, check_shapes

NAMES = ("w1", "b1", "w2", "b2", "noise_scale")


class MLPNetworks(Mechanisms):
    """x_j = b2 + sum_u w2_u relu(b1_u + sum_i w1_ui x_i) + noise_scale_j e_j, units of X.

    w1 : (n, D, hidden, D), [s, child, unit, parent], 0 where no edge
    b1, w2 : (n, D, hidden); b2, noise_scale : (n, D)
    """

    family = "mlp"

    def __init__(
        self,
        graphs: Bools,
        w1: Floats,
        b1: Floats,
        w2: Floats,
        b2: Floats,
        noise_scale: Floats,
    ) -> None:
        self.graphs = graphs
        self.w1 = w1
        self.b1 = b1
        self.w2 = w2
        self.b2 = b2
        self.noise_scale = noise_scale

    @property
    def theta(self) -> dict[str, NDArray[Any]]:
        return {name: getattr(self, name) for name in NAMES}

    @property
    def bytes_per_cell(self) -> int:
        return 24 + 8 * int(self.b1.shape[2])

    def mean(self, j: int, rows: Floats, draws: slice) -> Floats:
        w1 = self.w1[draws, j]  # (draws, hidden, D)
        inputs = w1.reshape(-1, w1.shape[2]) @ rows.T
        inputs = inputs.reshape(len(w1), w1.shape[1], len(rows))
        inputs += self.b1[draws, j, :, None]
        np.maximum(inputs, 0, out=inputs)
        mean = np.einsum("su,sur->sr", self.w2[draws, j], inputs)
        return np.asarray(mean + self.b2[draws, j, None])

    def take(self, draws: NDArray[np.intp]) -> MLPNetworks:
        return MLPNetworks(
            self.graphs[draws], *(values[draws] for values in self.theta.values())
        )

    @classmethod
    def join(cls, parts: Sequence[MLPNetworks]) -> MLPNetworks:
        if len({part.b1.shape[2] for part in parts}) > 1:
            raise ValueError("draws with other numbers of units cannot be joined")
        arrays = (
            np.concatenate([getattr(part, name) for part in parts]) for name in NAMES
        )
        return cls(np.concatenate([part.graphs for part in parts]), *arrays)

    def state(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        return self.theta, {}

    @classmethod
    def from_state(
        cls, graphs: Bools, arrays: dict[str, NDArray[Any]], settings: dict[str, Any]
    ) -> MLPNetworks:
        shape, hidden = graphs.shape[:2], arrays["b1"].shape[-1]
        shapes = {
            "w1": (*shape, hidden, shape[1]),
            "b1": (*shape, hidden),
            "w2": (*shape, hidden),
            "b2": shape,
            "noise_scale": shape,
        }
        check_shapes(arrays, shapes)
        return cls(graphs, *(arrays[name] for name in NAMES))


def make_mlp_networks(
    graphs: Bools, theta: Floats, noise_scale: Floats, shift: Floats, scale: Floats
) -> MLPNetworks:
    """From draws in preprocessed units z = (x - shift) / scale.

    theta (n, D, P) holds for each variable b1 (hidden), w1 (D, hidden), b2, w2 (hidden).
    """
    n, n_variables, n_parameters = theta.shape
    hidden = (n_parameters - 1) // (n_variables + 2)
    last = hidden * (n_variables + 1)
    w1 = theta[..., hidden:last].reshape(n, n_variables, n_variables, hidden)
    w1 = np.ascontiguousarray(w1.swapaxes(2, 3)) / scale
    return MLPNetworks(
        graphs,
        w1,
        theta[..., :hidden] - w1 @ shift,
        theta[..., last + 1 :] * scale[:, None],
        theta[..., last] * scale + shift,
        noise_scale * scale,
    )


FAMILIES[MLPNetworks.family] = MLPNetworks
