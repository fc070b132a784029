"""The published method as a generator: its settings, its engine, its published values."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from . import _core
from ._engine import CHECK_EVERY, Draws, Engine, InterruptFlag
from ._problem import Problem
from ._streams import in_pieces
from ._validation import (
    MAX_NETWORK_VARIABLES,
    check_choice,
    check_integer,
    check_real,
    describe,
)

PUBLISHED_CAPACITY = 100_000

HEADS = {
    "diag": "independent weights",
    "full": "correlated weights of a node",
    "mlp": "independent weights of a node's network",
}

# Settings of JSPGFN that only "gnn" looks at.
UNUSED = ("head", "head_scope", "n_theta_samples", "gnn_options")

# Estimates of log q(G) of graphs with more than ten edges, each from ten orders of them.
N_RUNS = 10
SEED_OF_ORDERS = 0

PAPER: dict[str, Any] = {
    "model": "linear",
    "generator": "gnn",
    "graph_prior": "uniform",
    "preprocess": None,
    "head": "diag",
    "batch_size": 256,
    "n_theta_samples": 64,
    "learning_rate": 1e-4,
    "n_iter": 100_000,
}
"""Keyword arguments of JSPGFN for the published method with its published settings.

Override with ``JSPGFN(**{**jspgfn.PAPER, "head": "full", "n_iter": 2000})``; for the
non-linear model set both "model" and "head" to "mlp".
"""

PAPER_QUICK: dict[str, Any] = {
    **PAPER,
    "head": "full",
    "batch_size": 64,
    "n_theta_samples": 16,
    "learning_rate": 5e-4,
    "n_iter": 14_000,
    "gnn_options": {
        "logit_scale": 30.0,
        "residual_scale": 1.0,
        "init_scale": 0.01,
        "head_spread": 3.0,
        "n_environments": 16,
        "replay_capacity": 10_000,
        "exploration_start": 0.5,
        "decay": 0.8,
        "average_decay": 0.995,
        "clip_ratio": 5.0,
    },
}
"""The published loss, network and head with another start and schedule.

Five variables then need two minutes instead of hours. The head starts, and learns, in units
of the posterior standard deviations that each parent alone would have (head_spread). Logits
start near 0 and are multiplied by 30 instead of the number of rows, by which residuals are
not divided. Batches are smaller; more environments, a smaller replay and less exploration
keep transitions close to the policy. The learning rate is larger and falls, gradients are
clipped, and draws use averaged parameters.

Units of the data exist for the heads "diag" and "full" only; the non-linear model is
``JSPGFN(**{**jspgfn.PAPER_QUICK, "model": "mlp", "head": "mlp", "gnn_options": options})``
with the entry "head_spread" removed from a copy of the options.
"""

# What gnn_options may hold: least and largest value. Defaults are the published ones.
OPTIONS: dict[str, tuple[float, float]] = {
    "logit_scale": (1e-6, 1e9),
    "residual_scale": (1e-6, 1e9),
    "init_scale": (0.0, 1e3),
    "delta": (1e-9, 1e9),
    "penalty_weight": (0.0, 1e9),
    "head_spread": (0.0, 1e9),
    "exploration_start": (0.0, 1.0),
    "exploration_end": (0.0, 1.0),
    "decay": (0.0, 1.0),
    "beta2": (0.0, 0.999999),  # single precision does not tell the rest from 1
    "clip_ratio": (1e-3, 1e9),
    "average_decay": (0.0, 1.0),
}
INTEGER_OPTIONS = {
    "n_environments": (1, 10_000),
    "replay_capacity": (1, 10**8),
    "n_prefill": (0, 10**8),
    "minibatch_rows": (0, 10**8),  # 0 = all rows
    "target_period": (0, 10**8),  # 0 = no target network
}


def check_options(options: object) -> dict[str, Any]:
    """gnn_options as arguments of _core.GnnTrainer."""
    if options is None:
        return {}
    if not isinstance(options, dict):
        raise TypeError(f"gnn_options must be None or a dict, got {describe(options)}")
    checked: dict[str, Any] = {}
    for name, value in options.items():
        if name in INTEGER_OPTIONS:
            checked[name] = check_integer(
                f"gnn_options[{name!r}]", value, *INTEGER_OPTIONS[name]
            )
            continue
        if name not in OPTIONS:
            known = ", ".join([*OPTIONS, *INTEGER_OPTIONS])
            raise ValueError(
                f"gnn_options has no entry {describe(name)}; it may hold {known}"
            )
        least, most = OPTIONS[name]
        number = check_real(f"gnn_options[{name!r}]", value)
        if not least <= number <= most:
            raise ValueError(
                f"gnn_options[{name!r}] must be {least:g} to {most:g}, "
                f"got {describe(value)}"
            )
        checked[name] = number
    return checked


def check_values(
    head_scope: object, n_theta_samples: object, options: object
) -> tuple[int, bool, dict[str, Any]]:
    """What can be wrong whatever the generator: n_theta_samples, whether the head is
    local, gnn_options."""
    scope = check_choice(
        "head_scope",
        head_scope,
        {"global": "the head sees the whole graph", "local": "a node and its parents"},
    )
    n_samples = check_integer(
        "n_theta_samples", n_theta_samples, at_least=1, at_most=10_000
    )
    return n_samples, scope == "local", check_options(options)


def check_gnn(
    problem: Problem,
    head: object,
    head_scope: object,
    n_theta_samples: object,
    options: object,
) -> dict[str, Any]:
    """Arguments of _core.GnnTrainer but for those that every generator has."""
    if problem.model.name not in ("linear", "mlp"):
        raise ValueError(
            "the generator 'gnn' needs a model with densities at given parameters, "
            f"'linear' or 'mlp', got {problem.model.name!r}"
        )
    if np.isnan(problem.model.fields["noise_scale"]):
        raise ValueError(
            "the generator 'gnn' needs a known noise: set MLPGaussian(noise_scale=...)"
        )
    if problem.n_variables > MAX_NETWORK_VARIABLES:
        raise ValueError(
            f"the generator 'gnn' is for at most {MAX_NETWORK_VARIABLES} variables, got "
            f"{problem.n_variables}: its networks work on all pairs at once; use "
            "generator='edges'"
        )
    if problem.rules.required.any():
        raise ValueError("the generator 'gnn' cannot require edges yet")
    n_rows = float(problem.table.n_rows)
    n_samples, is_local, options = check_values(head_scope, n_theta_samples, options)
    settings = {
        "local_head": is_local,
        "local_residual": is_local,
        "head": check_head(head, problem.model.name),
        "n_theta_samples": n_samples,
        "max_parents": problem.rules.max_parents,
        "graph_prior": problem.graph_prior.by_size,
        "edge_log_odds": problem.edge_log_odds,
        "logit_scale": n_rows,
        "residual_scale": n_rows,
        **options,
    }
    if settings["head"] == "mlp" and settings.get("head_spread"):
        raise ValueError(
            "gnn_options['head_spread'] is for the heads 'diag' and 'full'; drop this "
            "entry for head='mlp'"
        )
    if not problem.has_tables:  # no tables, so no lists of candidates
        allowed = ~(problem.rules.forbidden | np.eye(problem.n_variables, dtype=bool))
        for child, parents in problem.candidates.named.items():
            allowed[:, child] = False
            allowed[parents, child] = True
        settings["allowed"] = allowed.astype(np.uint8)
        if not allowed[:, np.array(problem.rules.max_parents) > 0].any():
            raise ValueError(
                "max_parents, constraints and candidates leave no edge that may be added: "
                "the head 'mlp' learns from edges that are added, so use the generator "
                "'edges', which knows the parameters of the empty graph"
            )
    return settings


def check_batch(batch_size: int, options: dict[str, Any]) -> None:
    """A replay that never holds a batch would make batches smaller without a word."""
    capacity = options.get("replay_capacity", PUBLISHED_CAPACITY)
    if batch_size > capacity:
        raise ValueError(
            f"batch_size must be at most gnn_options['replay_capacity'], {capacity}, as "
            f"batches are drawn from it without replacement, got {batch_size}"
        )


def name_unused(given: dict[str, object], defaults: dict[str, object]) -> str | None:
    """What a warning says about settings of "gnn" when the generator is another."""
    names = [name for name in UNUSED if given[name] != defaults[name]]
    if not names:
        return None
    are, them = ("is", "it") if len(names) == 1 else ("are", "them")
    return (
        f"{' and '.join(names)} {are} of no effect with generator='edges'; set "
        f"generator='gnn' for the published method, or leave {them} out"
    )


def check_head(head: object, model: str) -> str:
    """The head must have the parameters of the model."""
    found: str = check_choice("head", head, HEADS)
    if (found == "mlp") != (model == "mlp"):
        raise ValueError(
            "head and model must agree: head 'mlp' with model 'mlp', 'diag' or 'full' with "
            f"model 'linear'; got head={found!r} and model={model!r}"
        )
    return found


@dataclass
class GnnEngine(Engine):
    """The published method's trainer; `tables` hold data, model and candidates."""

    metric_names: ClassVar[tuple[str, ...]] = _core.GNN_METRICS

    def build(self, n_policies: int = 1) -> Any:
        candidates = self.tables.settings["candidates"]
        allowed = np.zeros((len(candidates), len(candidates)), np.uint8)
        for child, parents in enumerate(candidates):
            allowed[parents, child] = 1
        if self.trainer_settings.get("minibatch_rows"):
            self.tables.settings["keep_rows"] = True
        return _core.GnnTrainer(
            self.tables.scores,
            n_threads=self.tables.n_threads,
            **{"allowed": allowed, **self.trainer_settings},
        )

    def set_schedule(self, n_iter: int) -> None:
        """Exploration stays where the first schedule ended."""
        self.trainer.set_schedule(
            first_iteration=self.trainer.iteration,
            n_iter=n_iter,
            exploration_start=self.trainer_settings.get("exploration_end", 0.1),
        )

    def advance(
        self, n_updates: int, time_fraction: float, interrupt: InterruptFlag
    ) -> NDArray[np.float64]:
        rows: NDArray[np.float64] = self.trainer.step(
            n_updates, time_fraction, lambda share: interrupt.is_set
        )
        return rows

    def draw(self, n: int, seed: int, first_draw: int) -> Draws:
        threads = self.tables.n_threads
        drawn: tuple[Any, ...] = in_pieces(
            n,
            lambda first, last: self.trainer.sample(
                last - first, seed, threads, first_draw + first
            ),
        )
        graphs, log_prob, theta, *others, log_reward_joint = drawn
        log_reward = None
        parameters: Any
        if (
            self.trainer_settings["head"] == "mlp"
        ):  # all parameters, no weights of edges
            parameters = (np.zeros(np.count_nonzero(graphs)), *others, theta)
        else:
            parameters = (theta[graphs.view(np.bool_)], *others)
            log_reward = self.tables.scores.log_reward(graphs)
        return Draws(
            graphs,
            log_prob,
            log_reward=log_reward,
            parameters=parameters,
            log_reward_joint=log_reward_joint,
        )

    def log_prob(
        self, graphs: NDArray[np.uint8]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        threads = self.tables.n_threads
        log_prob, error = in_pieces(
            len(graphs),
            lambda first, last: self.trainer.log_prob(
                graphs[first:last], N_RUNS, SEED_OF_ORDERS, threads
            ),
        )
        return log_prob, error

    def progress_words(self, row: dict[str, float]) -> dict[str, str]:
        return {"loss": f"{row['loss']:.3g}", "sd": f"{row['residual_sd']:.3g}"}

    def certificate(self) -> float:
        column = self.metric_names.index("residual_sd")
        recent = self.metrics()[-CHECK_EVERY:, column]
        return float(recent.mean()) if len(recent) else math.nan

    def outcome_words(self) -> str:
        n_recent = min(CHECK_EVERY, len(self.metrics()))
        if not n_recent:
            return "no update was made"
        return f"residual sd of the last {n_recent}: {self.certificate():.4g} nats"
