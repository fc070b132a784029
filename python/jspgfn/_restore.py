"""Checks of what a file holds, so that no file can make the compiled core go astray.

`Unpacker` has already refused unknown types. Here sizes, ranges and indices are checked:
of data, candidates, graphs and states of chains. What is left, the state of a trainer, is
checked by the core when it is handed over.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from . import _core
from ._base import ScoreEstimator
from ._batches import Moments
from ._config import check_n_jobs
from ._engine import UNLIMITED, Engine, Plan
from ._mixing import Record, graphs_of_states
from ._models import MODEL_NAMES
from ._policies import MOST_POLICIES
from ._posterior import Posterior
from ._preprocess import Preprocessing
from ._problem import BYTES_PER_PARENT_SET, ScoreTables
from ._refine import MAX_SWEEPS, Refinement
from ._spread import count_sets
from ._validation import (
    MAX_CANDIDATES,
    MAX_STATES,
    MAX_VARIABLES,
    check_memory,
    describe,
)

CELLS_AT_ONCE = 1 << 24  # of graphs that are looked at for cycles


def need(condition: Any, what: str) -> None:
    if not condition:
        raise ValueError(f"its {what} cannot be right")


def is_array(value: object, kind: str, shape: tuple[int | None, ...]) -> bool:
    """kind: letters of dtype kinds, or the name of a dtype. None = any length."""
    return (
        isinstance(value, np.ndarray)
        and (value.dtype.name == kind or value.dtype.kind == kind)
        and value.ndim == len(shape)
        and all(n is None or n == m for n, m in zip(shape, value.shape, strict=True))
    )


def is_count(value: object, most: float = 2**63) -> bool:
    return type(value) is int and 0 <= value <= most


def are_names(value: object) -> bool:
    return (
        isinstance(value, list)
        and 1 <= len(value) <= MAX_VARIABLES
        and all(isinstance(name, str) for name in value)
        and len(set(value)) == len(value)
    )


# --- estimators ----------------------------------------------------------------------


def check_estimator(est: ScoreEstimator, fitted: dict[Any, Any]) -> None:
    """Gives the estimator its fitted attributes when they fit together."""
    methods = [name for name in fitted if hasattr(type(est), str(name))]
    need(all(isinstance(name, str) for name in fitted) and not methods, "attributes")
    if "_tables" in fitted:
        check_fit(est, fitted)
    else:
        need(not fitted, "attributes")
    est.__dict__.update(fitted)


def check_fit(est: ScoreEstimator, fitted: dict[str, Any]) -> None:
    tables, names = fitted["_tables"], fitted["_names"]
    need(isinstance(tables, ScoreTables) and are_names(names), "names of variables")
    check_data(tables, len(names))
    check_settings(tables.settings, len(names))
    check_evidences(tables)
    need(type(fitted["_labelled"]) is bool, "names of variables")
    need(fitted["n_features_in_"] == len(names), "names of variables")
    need(is_count(fitted["random_seed_"]) and is_count(fitted["_n_drawn"]), "seed")
    if tables.settings["tabulate"]:
        same = fitted["candidates_"] == tables.settings["candidates"]
        need(same, "list of candidates")
    check_preprocessing(fitted["_preprocessing"], len(names))
    states = fitted["_states"]
    need((states is None) == (tables.settings["n_states"] is None), "states")
    need(states is None or len(states) == len(names), "states")
    need(tables.names == names, "names of variables")
    tables.n_threads = threads_of(est)
    if "_engine" in fitted:
        check_engine(fitted["_engine"], fitted["_plan"], tables)
    if "_refinement_plan" in fitted:
        known, _ = fitted["_refinement_plan"]
        need(isinstance(known, Refinement), "refinement")
        need(is_count(known.n_sweeps, MAX_SWEEPS), "refinement")
    if "_record" in fitted:
        check_record(fitted["_record"], fitted["_settings"], fitted["candidates_"])
        need(is_count(fitted["n_moves_"]), "number of moves")
        need(isinstance(fitted.get("_replicas", ()), tuple), "states of chains")
    if "log_partition_" in fitted:
        need(is_array(fitted["_edges"], "float64", (len(names),) * 2), "probabilities")
        need(isinstance(fitted["log_partition_"], float), "partition function")


def threads_of(est: ScoreEstimator) -> int:
    """Of this machine, which may have fewer processors than the one that wrote."""
    try:
        return check_n_jobs(est.n_jobs)
    except ValueError:
        return check_n_jobs(None)


def check_data(tables: ScoreTables, n_variables: int) -> None:
    if isinstance(tables.x, Moments):
        check_moments(tables.x, n_variables)
        need(tables.mask is None and tables.settings.get("n_states") is None, "data")
        return
    kind = "float64"
    if tables.settings.get("n_states") is not None:
        kind = "int32"
    need(is_array(tables.x, kind, (None, n_variables)), "data")
    need(len(tables.x) >= 2 and np.isfinite(tables.x).all(), "data")
    if tables.mask is not None:
        need(is_array(tables.mask, "uint8", tables.x.shape), "mask of interventions")
        need((tables.mask <= 1).all(), "mask of interventions")


def check_moments(moments: Moments, D: int) -> None:
    need(is_array(moments.set_of, "int32", (D,)), "data")
    S = int(moments.set_of.max()) + 1
    need(0 < S <= D and moments.set_of[0] == 0 == moments.set_of.min(), "data")
    need(is_array(moments.n_rows, "float64", (S,)), "data")
    need(is_array(moments.mean, "float64", (S, D)), "data")
    need(is_array(moments.scatter, "float64", (S, D, D)), "data")
    need(is_count(moments.n_total) and is_count(moments.n_touched), "data")
    need(is_array(moments.origin, "float64", (D,)) and not moments.origin.any(), "data")
    for values in (moments.n_rows, moments.mean, moments.scatter):
        need(np.isfinite(values).all(), "data")
    need((moments.n_rows >= 0).all(), "data")


def check_settings(settings: dict[str, Any], n_variables: int) -> None:
    square = (n_variables, n_variables)
    need(settings.get("model") in MODEL_NAMES, "model")
    need(type(settings.get("tabulate")) is bool, "tables")
    fields = settings["model_fields"]
    need(isinstance(fields, dict), "fields of the model")
    need(
        all(isinstance(v, (int, float)) for v in fields.values()), "fields of the model"
    )
    limits = settings["max_parents"]
    need(isinstance(limits, list) and len(limits) == n_variables, "max_parents")
    need(all(is_count(limit, MAX_VARIABLES) for limit in limits), "max_parents")
    odds, required = settings.get("edge_log_odds"), settings.get("required")
    need(odds is None or is_array(odds, "float64", square), "log odds of edges")
    need(odds is None or not np.isnan(odds).any(), "log odds of edges")
    need(required is None or is_array(required, "uint8", square), "required edges")
    counts = settings.get("n_states")
    if counts is not None:
        need(isinstance(counts, list) and len(counts) == n_variables, "states")
        need(all(is_count(count, MAX_STATES) for count in counts), "states")
    check_candidates(settings.get("candidates"), n_variables)


def check_evidences(tables: ScoreTables) -> None:
    if tables.evidences is None:
        return
    need(tables.is_costly, "evidences")
    need(
        is_array(tables.evidences, "float64", (count_sets(tables.settings),)),
        "evidences",
    )
    need((tables.evidences < np.inf).all(), "evidences")  # and no NaN


def check_candidates(candidates: Any, n_variables: int) -> None:
    need(isinstance(candidates, list) and len(candidates) == n_variables, "candidates")
    for node, parents in enumerate(candidates):
        need(isinstance(parents, list) and len(parents) <= MAX_CANDIDATES, "candidates")
        need(all(is_count(parent, n_variables - 1) for parent in parents), "candidates")
        need(parents == sorted(set(parents)) and node not in parents, "candidates")
    n_sets = sum(2.0 ** len(parents) for parents in candidates)
    check_memory(
        n_sets * BYTES_PER_PARENT_SET,
        "the tables of the fit in this file",
        "load it on a larger machine",
    )


def check_preprocessing(preprocessing: Any, n_variables: int) -> None:
    need(isinstance(preprocessing, Preprocessing), "preprocessing")
    for values in (preprocessing.shift, preprocessing.scale, preprocessing.rest):
        need(is_array(values, "float64", (n_variables,)), "preprocessing")
        need(np.isfinite(values).all(), "preprocessing")


def check_engine(engine: Any, plan: Any, tables: ScoreTables) -> None:
    need(isinstance(engine, Engine) and engine.tables is tables, "training state")
    need(isinstance(engine.trainer_settings, dict), "training state")
    n_policies = engine.trainer_settings.get("n_policies", 1)
    need(is_count(n_policies, MOST_POLICIES) and n_policies > 0, "training state")
    state = engine._trainer_state
    need(state is None or isinstance(state, dict), "training state")
    policies = (state or {}).get("policies")
    n_states = len(policies) if isinstance(policies, list) else 1
    need(n_states == n_policies, "training state")
    columns = len(engine.metric_names)
    need(isinstance(engine.history, list), "history")
    for rows in engine.history:
        need(is_array(rows, "float64", (None, columns)), "history")
    need(isinstance(plan, Plan), "schedule")
    need(is_count(plan.first) and is_count(plan.n_iter, UNLIMITED), "schedule")
    need(is_count(plan.branches_to, MOST_POLICIES) and plan.branches_to > 0, "schedule")
    for choice in (plan.may_be_fewer, plan.may_be_faster):
        need(type(choice) is bool, "schedule")


def check_record(record: Any, settings: Any, candidates: list[list[int]]) -> None:
    need(isinstance(record, Record) and isinstance(settings, dict), "record of chains")
    n_chains, D = settings["n_chains"], len(candidates)
    n_batches, n_stored = settings["n_batches"], settings["n_stored"]
    need(is_count(n_batches, 1e9) and is_count(n_stored, 1e9), "record of chains")
    need(is_count(n_chains, 10_000), "record of chains")
    n_cells = 2.0 * n_batches * D * D + n_stored * D
    check_memory(8 * n_chains * n_cells, "chains of the fit in this file", "free some")
    n = len(record.rounds)
    need(is_array(record.rounds, "int64", (n,)) and n > 0, "record of chains")
    need((record.rounds > 0).all() and 0 <= record.burn_in < 1, "record of chains")
    for sums in (record.counts, record.sums):
        need(is_array(sums, "float64", (n_chains, n, D, D)), "record of chains")
    states = record.states
    need(is_array(states, "uint32", (n_chains, None, D)), "states of chains")
    need(states.size > 0, "states of chains")
    most = np.array([(1 << len(parents)) - 1 for parents in candidates], np.uint32)
    need((states <= most).all(), "states of chains")
    flat = states.reshape(-1, D)
    at_once = max(1, CELLS_AT_ONCE // (D * D))
    for first in range(0, len(flat), at_once):
        graphs = graphs_of_states(flat[first : first + at_once], candidates)
        need(_core.find_cycle(graphs) < 0, "states of chains")


# --- posteriors ----------------------------------------------------------------------


def make_posterior(arrays: dict[str, Any], settings: dict[str, Any]) -> Posterior:
    """Draws whose graphs have no cycle and whose numbers have the right shapes."""
    names = settings["feature_names"]
    need(are_names(names), "names of variables")
    graphs = arrays["graphs"]
    need(is_array(graphs, "uint8", (None, len(names), len(names))), "graphs")
    need(len(graphs) > 0, "graphs")
    need(not graphs[:, np.arange(len(names)), np.arange(len(names))].any(), "graphs")
    need(_core.find_cycle(graphs) < 0, "graphs")
    for name, values in arrays.items():
        need(isinstance(values, np.ndarray), f"array {describe(name)}")
    return Posterior._from_state(arrays, settings)
