"""The training of a `JSPGFN`: its settings and their checks, and words about it."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ._engine import (
    CHECK_EVERY,
    GOOD_GAP,
    LIKELIHOOD_FRACTION,
    UNLIMITED,
    Engine,
    count_pairs,
    default_learning_rate,
    default_n_iter,
    first_good,
    training_bytes,
)
from ._exceptions import UnusedSettingWarning
from ._gnn import (
    HEADS,
    PAPER,
    GnnEngine,
    check_batch,
    check_gnn,
    check_values,
    name_unused,
)
from ._policies import (
    BRANCH_AT,
    FEW_VARIABLES,
    LIKELIHOOD_BEFORE,
    MOST_POLICIES,
    most_policies,
    shared_updates,
)
from ._problem import Problem
from ._validation import (
    available_memory,
    check_choice,
    check_integer,
    check_memory,
    check_real,
    count_bytes,
)

if TYPE_CHECKING:
    from ._estimator import JSPGFN

# The walks of a training shard, a quarter of these, are numbered by 16-bit integers.
MAX_BATCH = 100_000


@dataclass(frozen=True)
class Training:
    """Settings of the training after the checks."""

    n_iter: int
    max_time: float | None
    may_stop_early: bool
    batch_size: int
    learning_rate: float
    engine: type[Engine]
    more_settings: dict[str, Any]  # of its trainer
    n_policies: int = 1  # with which training goes on after a part of the plan,
    may_be_fewer: bool = False  # or fewer,
    may_be_faster: bool = False  # and one perhaps with a larger learning rate


def check_schedule(n_iter: object, max_time: object) -> tuple[int, float | None]:
    """Updates (UNLIMITED when only time counts) and wall seconds."""
    seconds = None if max_time is None else check_real("max_time", max_time, above=0)
    if n_iter is None:
        return UNLIMITED, seconds
    return check_integer("n_iter", n_iter, at_least=1, at_most=UNLIMITED), seconds


def check_training(est: JSPGFN, problem: Problem, defaults: dict[str, Any]) -> Training:
    """Of the settings of `est`; refuses wrong ones, and warns of those without effect."""
    generator = check_choice(
        "generator",
        est.generator,
        {
            "edges": "pairs in a fixed order",
            "gnn": "the published method",
            "auto": "the same as 'edges'",
        },
    )
    no_limit = est.n_iter is None and est.max_time is None
    n_iter, max_time = check_schedule(est.n_iter, est.max_time)
    engine: type[Engine] = Engine
    objective = check_choice(
        "objective",
        est.objective,
        {"tb": "trajectory balance", "ml": "maximum likelihood"},
    )
    more: dict[str, Any] = {
        "likelihood_fraction": 1.0 if objective == "ml" else LIKELIHOOD_FRACTION
    }
    learning_rate = est.learning_rate
    if learning_rate is None:
        learning_rate = default_learning_rate(problem.n_variables, generator == "gnn")
    learning_rate = check_real("learning_rate", learning_rate, above=0)
    batch_size = check_integer("batch_size", est.batch_size, 2, MAX_BATCH)
    n_policies, may_be_fewer, may_be_faster = est.n_policies, False, False
    if n_policies is not None:
        n_policies = check_integer("n_policies", n_policies, 1, MOST_POLICIES)
    if no_limit:
        is_gnn = generator == "gnn"
        n_iter = PAPER["n_iter"] if is_gnn else default_n_iter(problem.n_variables)
    if generator == "gnn":
        if objective == "ml":
            raise ValueError(
                "objective must be 'tb' with generator='gnn', which has the loss of "
                "the published method, got 'ml'"
            )
        if n_policies not in (None, 1):
            raise ValueError(
                "n_policies must be 1 or None with generator='gnn', which has no order "
                f"of pairs, got {n_policies}"
            )
        engine = GnnEngine
        more = check_gnn(
            problem,
            est.head,
            est.head_scope,
            est.n_theta_samples,
            est.gnn_options,
        )
        check_batch(batch_size, more)
    else:
        check_unused(est, defaults)
        counts = problem.candidates.counts
        n_bytes = training_bytes(counts, sum(counts), batch_size, problem.n_threads)
        tables_bytes = problem.n_bytes + problem.moment_bytes
        if n_policies is None:
            room = 0.9 * available_memory() - tables_bytes
            # they branch off by what the balance phase shows
            most = most_policies(problem.n_variables, n_iter, room / n_bytes - 1)
            n_policies = most if objective == "tb" else 1
            may_be_fewer = True
        elif n_policies > shared_updates(n_iter):
            raise ValueError(
                f"n_policies must be at most {shared_updates(n_iter)} with "
                f"n_iter={n_iter}, for that many updates are shared by all policies, "
                f"got {n_policies}"
            )
        # of one policy, and where its default is not the larger rate already
        may_be_faster = (
            est.learning_rate is None
            and objective == "tb"
            and problem.n_variables > FEW_VARIABLES
            and (may_be_fewer or n_policies == 1)
        )
        if n_policies > 1 and objective == "tb":
            more["likelihood_fraction"] = LIKELIHOOD_BEFORE
        check_memory(
            tables_bytes + n_trainers(n_policies) * n_bytes,
            f"tables and training of {problem.n_variables} variables with "
            f"{max(counts)} candidate parents",
            "set candidates, batch_size or n_policies to a smaller number",
        )
    return Training(
        n_iter=n_iter,
        max_time=max_time,
        may_stop_early=no_limit and engine is Engine,
        batch_size=batch_size,
        learning_rate=learning_rate,
        engine=engine,
        more_settings=more,
        n_policies=n_policies or 1,
        may_be_fewer=may_be_fewer,
        may_be_faster=may_be_faster,
    )


def number_of_policies(training: Training, before: Engine | None) -> tuple[int, int]:
    """At the start, and to go on with. Several that a warm start finds go on together."""
    n_policies = training.n_policies
    if before is None or before.n_policies == 1 or n_policies == 1:
        return 1, n_policies
    if training.may_be_fewer:
        n_policies = min(before.n_policies, n_policies)
    return n_policies, 1


def check_unused(est: JSPGFN, defaults: dict[str, Any]) -> None:
    """Settings of "gnn" with another generator: wrong ones are refused all the same,
    others are of no effect, which a search over generators must survive."""
    check_choice("head", est.head, HEADS)
    check_values(est.head_scope, est.n_theta_samples, est.gnn_options)
    words = name_unused(est.get_params(deep=False), defaults)
    if words:
        warnings.warn(words, UnusedSettingWarning, stacklevel=4)


def n_trainers(n_policies: int) -> int:
    """At a time: while others branch off from it, the first one is there twice."""
    return n_policies + (n_policies > 1)


def describe_training(est: JSPGFN, training: Training) -> str:
    """The line of the plan about the training."""
    updates = "until the time is over"
    if training.n_iter < UNLIMITED:
        updates = f"{training.n_iter} updates"
    if training.may_stop_early:
        updates = f"up to {updates}, fewer when the gap falls below {GOOD_GAP}"
    if training.max_time is not None:
        updates += f", {training.max_time:g} s at most"
    batch = f"{training.batch_size} + {training.batch_size}"
    at_first, to_come = est._engine.n_policies, est._plan.branches_to
    if to_come > 1:
        most = "up to " if training.may_be_fewer else ""
        updates += f", from {BRANCH_AT:.0%} on shared by {most}{to_come} policies"
    elif at_first > 1:
        updates += f", shared by {at_first} policies"
    if training.engine is not Engine:
        batch = f"{training.batch_size} transitions"
    n_threads = est._tables.n_threads
    memory = ""
    if training.engine is Engine:
        n_bytes = n_trainers(max(at_first, to_come)) * training_bytes(
            list(map(len, est.candidates_)),
            count_pairs(est.candidates_),
            training.batch_size,
            n_threads,
        )
        memory = f"; about {count_bytes(n_bytes)}"
    return (
        f"{updates}; batches of {batch}; "
        f"{n_threads} threads; seed {est.random_seed_}{memory}"
    )


def print_outcome(est: JSPGFN) -> None:
    stop = "stopped early" if est._plan.stopped_early else "made"
    if not est._plan.finished:
        stop = "made, more to come"
    words = est._engine.outcome_words()
    print(f"outcome     {est.n_iter_} updates {stop}; {words}")


def compare_starts(before: Engine, now: Engine) -> dict[str, Any]:
    """What a warm start saved."""
    gap = now.metrics()[:CHECK_EVERY, now.metric_names.index("gap")]
    return {
        "updates_until_good": first_good(now.metrics()),
        "updates_before": first_good(before.metrics()),
        "first_gap": float(gap.mean()),
    }


def print_saving(saving: dict[str, Any]) -> None:
    words = [
        "not reached" if saving[key] is None else f"{saving[key]} updates"
        for key in ("updates_until_good", "updates_before")
    ]
    print(
        f"{'warm start':<12}gap of the first {CHECK_EVERY}: {saving['first_gap']:.4f} "
        f"nats; below {GOOD_GAP}: {words[0]}, in the fit before: {words[1]}"
    )
