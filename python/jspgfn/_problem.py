"""The problem of a fit: data and shared settings after the checks, and its score tables."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _core
from ._batches import Moments
from ._candidates import CandidatePlan
from ._constraints import Rules
from ._models import COSTLY, ModelSettings, RandomFeatures, check_model
from ._preprocess import Preprocessing
from ._priors import GraphPrior
from ._progress import progress_bar
from ._spread import find_evidences
from ._table import Table

# Bytes of tables per parent set: a double and two floats (csrc/score/jsp_scores.h).
BYTES_PER_PARENT_SET = 16


@dataclass(frozen=True)
class Problem:
    """Data and shared settings of a fit after the checks."""

    table: Table
    mask: NDArray[np.uint8] | None
    model: ModelSettings
    preprocessing: Preprocessing
    graph_prior: GraphPrior
    rules: Rules
    candidates: CandidatePlan
    n_threads: int
    has_tables: bool = True  # else the sampler learns parameters of the model itself

    @property
    def n_variables(self) -> int:
        return self.table.n_variables

    @property
    def n_bytes(self) -> float:
        """Memory of the score tables."""
        if not self.has_tables:
            return 0.0
        counts = self.candidates.counts
        return sum(2.0**count for count in counts) * BYTES_PER_PARENT_SET

    @property
    def moment_bytes(self) -> float:
        """Of moments by variable, twice while they are made; small without a mask."""
        if self.mask is None:
            return 0.0
        n_sets = min(int(self.mask.any(axis=0).sum()) + 1, self.n_variables)
        return 16.0 * n_sets * self.n_variables**2

    @property
    def edge_log_odds(self) -> NDArray[np.float64] | None:
        """Of the prior, with -inf for forbidden edges; None when all are 0."""
        odds = self.graph_prior.edge_log_odds
        forbidden = self.rules.forbidden
        if not forbidden.any():
            return odds
        return np.where(forbidden, -np.inf, 0.0 if odds is None else odds)

    def scores_settings(self) -> dict[str, Any]:
        """Arguments of _core.Scores but for data, candidates and threads."""
        required = self.rules.required
        return {
            "model": self.model.name,
            "model_fields": self.model.fields,
            "graph_prior": self.graph_prior.by_size,
            "max_parents": self.rules.max_parents,
            "intercept": self.preprocessing.kind is not None
            and not self.model.has_own_mean,
            "edge_log_odds": self.edge_log_odds,
            "required": required.astype(np.uint8) if required.any() else None,
            "n_states": self.table.n_states,
            "tabulate": self.has_tables,
        }


@contextmanager
def named_variables(names: list[str]) -> Iterator[None]:
    """Puts names of columns into messages of the core, which knows numbers only."""
    try:
        yield
    except _core.NumericalError as error:
        text = re.sub(
            r"variable (\d+)",
            lambda found: f"variable {names[int(found[1])]!r}" if names else found[0],
            str(error),
        )
        raise _core.NumericalError(text) from None


def of_core(x: Any) -> Any:
    return x.arrays() if isinstance(x, Moments) else x


@dataclass
class ScoreTables:
    """Arrays and settings from which _core.Scores is built when first needed.

    Pickles without the tables themselves, which are built anew, but with the evidences of
    costly models.
    """

    x: Any  # float64, preprocessed, or int32 codes of states; or Moments
    mask: NDArray[np.uint8] | None
    settings: dict[str, Any]
    n_threads: int
    verbose: bool = False
    names: list[str] = field(default_factory=list)  # of variables, for messages
    evidences: NDArray[np.float64] | None = None  # of costly models, once fitted
    _scores: Any = None

    @property
    def fields(self) -> dict[str, float]:
        """Settings of the model."""
        return self.settings["model_fields"]  # type: ignore[no-any-return]

    @property
    def n_rows(self) -> int:
        return self.x.n_total if isinstance(self.x, Moments) else len(self.x)

    @property
    def n_touched(self) -> int:
        """Rows with interventions."""
        if isinstance(self.x, Moments):
            return self.x.n_touched
        return 0 if self.mask is None else int((self.mask.sum(axis=1) > 0).sum())

    @property
    def is_costly(self) -> bool:
        """Whether tables wait for parent sets that are fitted one by one."""
        return self.settings["tabulate"] and self.settings["model"] in COSTLY

    @property
    def scores(self) -> _core.Scores:
        if self._scores is None:
            bar_of_tables = progress_bar(100, "% of tables", self.verbose)
            with bar_of_tables as bar, named_variables(self.names):

                def show(share: float) -> None:
                    bar.show(100 * share, {})

                if self.is_costly and self.evidences is None:
                    self.evidences = find_evidences(
                        self.x, self.mask, self.settings, self.n_threads, show
                    )
                self._scores = _core.Scores(
                    of_core(self.x),
                    self.mask,
                    n_threads=self.n_threads,
                    evidences=self.evidences,
                    progress=None if self.is_costly else show,
                    **self.settings,
                )
        return self._scores  # type: ignore[no-any-return]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_scores": None}


def select_candidates(x: Any, problem: Problem) -> list[list[int]]:
    """Candidate parents of every node: named, all, or the best."""
    n_variables = problem.n_variables
    plan = problem.candidates
    allowed = ~(problem.rules.forbidden | np.eye(n_variables, dtype=bool))
    lists = [np.flatnonzero(allowed[:, j]).tolist() for j in range(n_variables)]
    if plan.n_selected < n_variables - 1 and len(plan.named) < n_variables:
        settings = problem.scores_settings()
        del settings["tabulate"]
        if problem.model.is_costly:
            settings.update(surrogate(problem.model))
        with named_variables(problem.table.names):
            lists = _core.select_candidates(
                of_core(x),
                problem.mask,
                n_candidates=plan.n_selected,
                n_threads=problem.n_threads,
                **settings,
            )
    return [plan.named.get(node, lists[node]) for node in range(n_variables)]


def surrogate(model: ModelSettings) -> dict[str, Any]:
    """Settings of a fast non-linear model that chooses candidates for a costly one."""
    fields = check_model(RandomFeatures(n_features=30), 1).fields
    fields["noise_scale"] = model.fields["noise_scale"]
    return {"model": "features", "model_fields": fields}
