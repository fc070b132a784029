"""Centring and scaling, and the way back to the units of the data."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ._batches import Moments
from ._exceptions import NoiseScaleWarning
from ._models import NON_LINEAR, ModelSettings
from ._table import Table
from ._validation import Floats, check_choice, join_names

# A fixed noise scale is called far from the data when it is beyond this factor below
# the smallest, or above the largest residual standard deviation that any parents could
# give.
NOISE_FACTOR = 2.0

# Models whose evidence is the same wherever the columns are centred.
LINEAR_IN_DATA = ("linear", "nig")

# Nats beyond which rounding would be more than about 1e-4 nats between two graphs.
LARGEST_LOG_EVIDENCE = 1e11


@dataclass(frozen=True)
class Preprocessing:
    """z = (x - shift - rest) / scale, column by column."""

    kind: str | None  # "standardize", "center" or None
    shift: Floats  # (D,)
    scale: Floats  # (D,)
    rest: Floats  # (D,), what rounding takes from a shift far larger than the scale

    def apply(self, values: Floats) -> Floats:
        return np.ascontiguousarray((values - self.shift - self.rest) / self.scale)

    def apply_to_moments(self, moments: Moments) -> Moments:
        return moments.rescaled(self.shift, self.rest, self.scale)

    def to_units_of_x(
        self,
        graphs: NDArray[np.uint8],
        weights: Floats,
        intercept: Floats,
        noise_scale: Floats,
    ) -> tuple[Floats, Floats, Floats]:
        """Weights (one per edge, in the order of nonzero(graphs)), intercepts, noise.

        From z_j = c_j + sum_i b_ij z_i + e_j follows
        x_j = shift_j + scale_j c_j + sum_i (b_ij scale_j / scale_i)(x_i - shift_i)
        + scale_j e_j.
        """
        draw, parent, child = np.nonzero(graphs)
        coef = weights * (self.scale[child] / self.scale[parent])
        moved = np.zeros_like(intercept)
        np.add.at(moved, (draw, child), coef * self.shift[parent])
        return (
            coef,
            self.shift + self.scale * intercept - moved,
            self.scale * noise_scale,
        )


def check_preprocess(
    preprocess: object,
    model: ModelSettings,
    table: Table,
    mask: NDArray[np.uint8] | None,
) -> Preprocessing:
    kind = check_choice(
        "preprocess",
        preprocess,
        {
            "auto": "standardize if the model learns the noise, else center",
            "standardize": "mean 0, standard deviation 1",
            "center": "mean 0",
            None: "data as stored",
        },
    )
    if model.is_discrete and kind not in ("auto", None):
        raise ValueError(
            f"preprocess={kind!r} is for numbers; discrete data (model={model.name!r}) "
            "are taken as they are: use 'auto' or None"
        )
    if model.is_discrete:
        kind = None
    if kind == "auto":
        kind = "standardize" if model.learns_noise else "center"
    n_variables = table.n_variables
    if table.moments is not None:
        return preprocess_moments(kind, model, table)
    values = table.values
    shift, rest = np.zeros((2, n_variables))
    scale = np.ones(n_variables)
    if kind is not None:
        shift, rest = means(values)
    if kind == "standardize":
        centred = values - shift - rest
        spread = np.abs(centred).max(axis=0)
        scale = np.sqrt(((centred / spread) ** 2).mean(axis=0)) * spread
    if kind is not None and mask is not None and model.name in LINEAR_IN_DATA:
        # any shift will do, as the intercept is free: the one that keeps most digits
        for node in np.flatnonzero(mask.any(axis=0) & ~mask.all(axis=0)):
            rows = values[mask[:, node] == 0, node]
            shift[node], rest[node] = (part[0] for part in means(rows[:, None]))
    return Preprocessing(kind, shift, scale, rest)


def preprocess_moments(
    kind: str | None, model: ModelSettings, table: Table
) -> Preprocessing:
    """The same for a table that came in batches."""
    counted, whole = table.moments, table.whole
    assert counted is not None
    assert whole is not None
    origin = whole.origin
    scale, centre = np.ones(table.n_variables), -origin
    if kind is not None:
        centre = whole.mean[0].copy()
    if kind == "standardize":
        scale = np.sqrt(np.diag(whole.scatter[0]) / whole.n_rows[0])
    if kind is not None and model.name in LINEAR_IN_DATA:
        n_rows = counted.rows_of()
        partly = (n_rows > 0) & (n_rows < counted.n_total)
        centre[partly] = counted.means_of()[partly]
    shift = origin + centre
    return Preprocessing(kind, shift, scale, origin - shift + centre)


def means(values: Floats) -> tuple[Floats, Floats]:
    """Means of columns, and what is missing from them where rounding shows.

    A mean 1e12 times the spread is off by 1e-4 of the spread.
    """
    largest = np.maximum(np.abs(values).max(axis=0), np.finfo(np.float64).tiny)
    shift = (values / largest).mean(axis=0) * largest
    centred = values - shift
    rest = centred.mean(axis=0)
    shows = np.abs(rest) > 1e-9 * np.abs(centred).max(axis=0)
    return shift, np.where(shows, rest, 0.0)


def check_noise_scale(
    model: ModelSettings,
    preprocessing: Preprocessing,
    table: Table,
    mask: NDArray[np.uint8] | None,
) -> None:
    """ValueError where a fixed noise is so small that evidences cannot be compared.

    A column x without parents has log evidence -sum(x^2) / (2 noise_scale^2), about.
    """
    if model.learns_noise:
        return
    if table.moments is not None:
        moments = preprocessing.apply_to_moments(table.moments)
        squares = moments.squares_of() + moments.rows_of() * moments.means_of() ** 2
    else:
        x = preprocessing.apply(table.values)
        counted = np.ones(x.shape) if mask is None else mask == 0
        squares = (x**2 * counted).sum(axis=0)
    largest = float(np.sqrt(squares.max() / 2))
    least = largest / math.sqrt(LARGEST_LOG_EVIDENCE)
    if model.fields["noise_scale"] < least:
        raise ValueError(
            f"noise_scale must be at least {least:.2g} with these data, got "
            f"{model.fields['noise_scale']:g}: log evidences beyond "
            f"{LARGEST_LOG_EVIDENCE:g} nats are rounded too coarsely to compare graphs"
        )


def warn_about_noise_scale(
    model: ModelSettings,
    preprocessing: Preprocessing,
    table: Table,
    mask: NDArray[np.uint8] | None,
) -> None:
    """Fixed noise on standardised data, or far from what the data can leave over.

    Whatever its parents, the residual standard deviation of a column lies between the
    one given all other columns and its own standard deviation.
    """
    if model.learns_noise:
        return
    noise_scale = model.fields["noise_scale"]
    if preprocessing.kind == "standardize":
        warnings.warn(
            f"noise_scale={noise_scale:g} is fixed while preprocess='standardize' divides "
            "the noise of each column by another number: the model is then misspecified. "
            "Use preprocess='center', or a model that learns the noise (model='bge')",
            NoiseScaleWarning,
            stacklevel=4,
        )
        return
    if table.moments is not None:
        low, high = residual_range_of(preprocessing.apply_to_moments(table.moments))
    else:
        low, high = residual_range(preprocessing.apply(table.values), mask)
    if model.name in NON_LINEAR:
        low = np.zeros_like(low)  # other than linear mechanisms may leave less
    far = np.flatnonzero(
        (noise_scale * NOISE_FACTOR < low) | (noise_scale > NOISE_FACTOR * high)
    )
    if far.size:
        k = int(far[0])
        warnings.warn(
            f"noise_scale={noise_scale:g} is far from the data in columns "
            f"{join_names([table.names[c] for c in far])}: the residual standard deviation "
            f"of {table.names[k]!r} is between {low[k]:.3g} and {high[k]:.3g} whatever its "
            "parents. Set LinearGaussian(noise_scale=...), rescale the columns, or use a "
            "model that learns the noise (model='bge')",
            NoiseScaleWarning,
            stacklevel=4,
        )


def residual_range(
    values: Floats, mask: NDArray[np.uint8] | None
) -> tuple[Floats, Floats]:
    """Per column: standard deviation given all other columns (0 if unknown), and alone."""
    n_variables = values.shape[1]
    if mask is None:
        return residual_range_of_rows(values)
    low, high = np.zeros(n_variables), np.full(n_variables, np.inf)
    for node in range(n_variables):
        rows = values[mask[:, node] == 0]
        if len(rows) >= 2:
            low_of_rows, high_of_rows = residual_range_of_rows(rows)
            low[node], high[node] = low_of_rows[node], high_of_rows[node]
    return low, high


def residual_range_of(moments: Moments) -> tuple[Floats, Floats]:
    n_variables = len(moments.set_of)
    low, high = np.zeros(n_variables), np.full(n_variables, np.inf)
    for node, s in enumerate(moments.set_of):
        n_rows = float(moments.n_rows[s])
        if n_rows >= 2:
            deviation = np.sqrt(np.diag(moments.scatter[s]) / (n_rows - 1))
            unit = np.maximum(deviation, np.finfo(np.float64).tiny)
            correlation = moments.scatter[s] / (n_rows - 1) / (unit[:, None] * unit)
            below, above = range_of(deviation, correlation, n_rows)
            low[node], high[node] = below[node], above[node]
    return low, high


def residual_range_of_rows(rows: Floats) -> tuple[Floats, Floats]:
    """1 / (inverse correlation matrix)_jj is 1 - R^2 of column j given the others."""
    n_rows = len(rows)
    high = rows.std(axis=0, ddof=1)
    unit = (rows - rows.mean(axis=0)) / np.where(high > 0, high, 1.0)
    return range_of(high, unit.T @ unit / max(n_rows - 1, 1), n_rows)


def range_of(high: Floats, correlation: Floats, n_rows: float) -> tuple[Floats, Floats]:
    n_variables = len(high)
    freedom = n_rows - n_variables
    if freedom < 5 or not (high > 0).all():
        return np.zeros(n_variables), high
    try:
        inflation = np.diag(np.linalg.inv(correlation))
    except np.linalg.LinAlgError:
        return np.zeros(n_variables), high
    left_over = 1 / np.where(inflation >= 1, inflation, np.inf)
    return high * np.sqrt(left_over * (n_rows - 1) / freedom), high
