"""The compiled objects of one fit, and the loop that trains them.

`Engine` holds what the compiled trainer can be rebuilt from, so that an estimator can be
pickled. `train` is the loop: the core runs about a tenth of a
second of updates per call, without the interpreter's lock; Python decides when to stop.
How the updates are cut into calls never changes a result.
"""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from . import _core
from ._policies import (
    BRANCH_AT,
    EARLY,
    FEW_VARIABLES,
    RATE_OF_A_LEARNER,
    Policies,
    is_short,
    policies_of,
    share,
    way_on,
)
from ._problem import ScoreTables
from ._progress import Bar, duration, progress_bar
from ._streams import in_pieces, stream_seed

SECONDS_PER_CALL = 0.1

# Share of the first schedule that trains by maximum likelihood on structure chains. With
# one half the divergence from the posterior was 1.3 to 2 times as large at equal time.
LIKELIHOOD_FRACTION = 0.2

# Early stop of the default schedule: the mean of the gap between chain states and own
# draws over the last CHECK_EVERY updates of the balance phase is below GOOD_GAP (nats).
CHECK_EVERY = 100
GOOD_GAP = 0.005

# States to go back to are kept every so many updates, after a look at this many draws.
KEEP_EVERY = 100
DRAWS_LOOKED_AT = 8

# A callback is not called more often than this, but for the first and the last time.
SECONDS_PER_CALLBACK = 0.09

# The expected time is printed when this much of the work has been seen.
SECONDS_TO_JUDGE = 0.4

# Metrics are joined to one array when there are more pieces than this.
MOST_PIECES = 200

# Stands for "until the time is over" where the core wants a number of updates.
UNLIMITED = 10**9


def default_n_iter(n_variables: int) -> int:
    """Updates when neither n_iter nor max_time is given; an early stop may come first."""
    return 4000 + 100 * n_variables


def default_learning_rate(n_variables: int, is_gnn: bool) -> float:
    """Posteriors of more variables that are limited by the order of pairs suffer from
    the larger one (docs/method.md); others get more when that is seen (`branch`)."""
    return 2.5e-3 if is_gnn or n_variables > FEW_VARIABLES else 5e-3


BYTES_OF_CACHE = 2**23  # of odds, per thread
# beyond this many variables "edges" has its larger network (csrc/gfn/jsp_edges.c)
SMALL_VARIABLES = 16
SHARDS = 8  # of an update, each with a gradient of its own


def count_pairs(candidates: Sequence[Sequence[int]]) -> int:
    """Unordered pairs of variables one of which may be a parent of the other."""
    return len(
        {frozenset((i, j)) for j, parents in enumerate(candidates) for i in parents}
    )


def training_bytes(
    counts: Sequence[int], n_pairs: int, batch_size: int, n_threads: int
) -> float:
    """Memory of the trainer of "edges", about: walks, network with gradients, caches.

    counts : candidates of each variable
    """
    D = len(counts)
    is_large = D > SMALL_VARIABLES
    width, vectors_per_pair = (64, 3) if is_large else (32, 2)
    n_parameters = n_pairs * 2 * (vectors_per_pair * width + 1) + 2 * width * D
    n_parameters += width * (width + 24)
    state = D * (16 * max(counts, default=0) + 6 * 64 + 100)
    if is_large:  # sums over ancestors and descendants, journal (jsp_edges_ends.c)
        n_parameters += 4 * width * D
        state += 16 * width * D + 4 * D * D
    # inputs, two activations, slope and number of the walk
    option = 4 * (24 + 2 * width + 1) + 2
    walks = 2 * batch_size * (sum(counts) * option + state + 8 * n_pairs)
    return walks + 4 * (SHARDS + 5) * n_parameters + n_threads * BYTES_OF_CACHE


@dataclass
class Plan:
    """A schedule of updates, and how far it has got."""

    first: int  # iteration at which it begins
    n_iter: int  # updates it may take at most
    seconds: float | None = None  # of training, None = no limit
    may_stop_early: bool = False
    # one policy branches to so many after a part of it; where it still learns, it may
    # go on alone, and with a larger learning rate, as it may where the plan is short
    branches_to: int = 1
    may_be_fewer: bool = False
    may_be_faster: bool = False
    seconds_used: float = 0.0
    finished: bool = False
    stopped_early: bool = False

    @property
    def last(self) -> int:
        return self.first + self.n_iter

    @property
    def is_timed(self) -> bool:
        """Time alone ends it."""
        return self.seconds is not None and self.n_iter >= UNLIMITED

    @property
    def branch_at(self) -> int:
        """Iteration at which policies branch off, if time is no matter."""
        return self.first + int(BRANCH_AT * self.n_iter)


@dataclass
class Draws:
    """Graphs as a trainer draws them, with parameters when it draws those too."""

    graphs: NDArray[np.uint8]
    log_prob: NDArray[np.float64]
    log_reward: NDArray[np.float64] | None  # None without closed form
    # weights (one per edge) or parameters, intercepts, noise scales, log q(theta | G)
    parameters: tuple[Any, Any, Any, Any] | None = None
    log_reward_joint: NDArray[np.float64] | None = None


@dataclass
class Engine:
    """The trainer of one fit, built when first needed.

    This one is that of the generator "edges"; another generator overrides what differs.
    """

    metric_names: ClassVar[tuple[str, ...]] = _core.METRICS

    tables: ScoreTables
    trainer_settings: dict[str, Any]
    history: list[NDArray[np.float64]] = field(default_factory=list)
    _trainer: Any = None
    _trainer_state: dict[str, Any] | None = None

    @property
    def trainer(self) -> Any:
        if self._trainer is None:
            trainer = self.build(self.n_policies)
            if self._trainer_state is not None:
                trainer.set_state(self._trainer_state)
            # only now: whatever stops it before must not leave an untrained one behind
            self._trainer = trainer
            self._trainer_state = None
        return self._trainer

    def build(self, n_policies: int = 1) -> Any:
        n_at_once = min(n_policies, self.tables.n_threads)
        settings = dict(self.trainer_settings)
        settings.pop("n_policies", None)
        n_iter, seed = settings.pop("n_iter"), settings.pop("seed")
        trainers = [
            _core.Trainer(
                self.tables.scores,
                n_threads=self.tables.n_threads // n_at_once,
                order=k,
                n_iter=max(1, share(n_iter, k, n_policies)),
                seed=stream_seed(seed, k) if k else seed,
                **settings,
            )
            for k in range(n_policies)
        ]
        return trainers[0] if n_policies == 1 else Policies(trainers, n_at_once)

    def branch(self, n_policies: int, n_left: int, time_fraction: float) -> None:
        """Goes on with several policies instead of one."""
        policies = self.build(n_policies)
        # the one there is once more, for it trains with fewer threads from now on
        policies.trainers[0].set_state(self.trainer.get_state())
        policies.branch_off(n_left, time_fraction, self.later_likelihood)
        self._trainer = policies  # whatever stops this leaves the one

    def log_ratios(self, n: int) -> NDArray[np.float64]:
        """log R - log q of n draws."""
        draws = self.draw(n, 0, 0)
        assert draws.log_reward is not None
        ratios: NDArray[np.float64] = draws.log_reward - draws.log_prob
        return ratios

    def raise_rate(self, factor: float) -> None:
        """Of the one policy there is, to so many times what it began with."""
        rate = factor * self.trainer_settings["learning_rate"]
        self.trainer.set_state({**self.trainer.get_state(), "learning_rate": rate})

    @property
    def n_policies(self) -> int:
        if self._trainer is not None:
            return len(policies_of(self._trainer))
        return int(self.trainer_settings.get("n_policies", 1))

    @property
    def is_begun(self) -> bool:
        """Each policy has an update."""
        return all(trainer.iteration > 0 for trainer in policies_of(self.trainer))

    @property
    def seconds_per_call(self) -> float:
        """Policies wait for each other at the end of a call."""
        return SECONDS_PER_CALL * (1 if self.n_policies == 1 else 3)

    def set_schedule(self, n_iter: int) -> None:
        """n_iter more updates; maximum likelihood only where it is the objective."""
        self.trainer.set_schedule(
            first_iteration=self.trainer.iteration,
            n_iter=n_iter,
            likelihood_fraction=self.later_likelihood,
        )

    @property
    def later_likelihood(self) -> float:
        """Its fraction in schedules after the first."""
        return 1.0 if self.trainer_settings["likelihood_fraction"] == 1 else 0.0

    def advance(
        self, n_updates: int, time_fraction: float, interrupt: InterruptFlag
    ) -> NDArray[np.float64]:
        """Metrics of the updates done: n_updates unless interrupted within a long one."""
        rows: NDArray[np.float64] = self.trainer.step(n_updates, time_fraction)
        return rows

    def draw(self, n: int, seed: int, first_draw: int) -> Draws:
        threads = self.tables.n_threads
        graphs, log_prob, log_reward = in_pieces(
            n,
            lambda first, last: self.trainer.sample(
                last - first, seed, threads, first_draw + first
            ),
        )
        return Draws(graphs, log_prob, log_reward)

    def log_prob(
        self, graphs: NDArray[np.uint8]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """log q and its standard error."""
        threads = self.tables.n_threads
        (log_prob,) = in_pieces(
            len(graphs),
            lambda first, last: (self.trainer.log_prob(graphs[first:last], threads),),
        )
        return log_prob, np.zeros_like(log_prob)

    def progress_words(self, row: dict[str, float]) -> dict[str, str]:
        if row["phase"] == 1:
            return {"gap": f"{row['gap']:.3f}", "ess": f"{row['own_ess']:.3f}"}
        return {"loss": f"{row['loss']:.3g}"}

    def certificate(self) -> float:
        """The figure by which a training is judged, near 0 when good; NaN = not known."""
        return certificate(self.metrics())

    def outcome_words(self) -> str:
        gap = self.certificate()
        words = "not yet known" if math.isnan(gap) else f"{gap:.4f} nats"
        if self.n_policies > 1:
            words += f" (mean of {self.n_policies} policies, not of their mixture)"
        return f"gap of the last {CHECK_EVERY}: {words}"

    def __getstate__(self) -> dict[str, Any]:
        state = {**self.__dict__, "history": [self.metrics()]}
        if (trainer := self._trainer) is not None:
            state["_trainer_state"] = trainer.get_state()
            if (n_policies := len(policies_of(trainer))) > 1:
                settings = {**self.trainer_settings, "n_policies": n_policies}
                state["trainer_settings"] = settings
        state["_trainer"] = None
        return state

    def metrics(self) -> NDArray[np.float64]:
        """One row per update, columns as in metric_names."""
        pieces = list(self.history)  # another thread may be training
        if len(pieces) == 1:
            return pieces[0]
        return np.concatenate(pieces or [np.empty((0, len(self.metric_names)))])

    def record(self, rows: NDArray[np.float64]) -> None:
        """Only for the thread that trains."""
        if len(self.history) < MOST_PIECES:
            self.history.append(rows)
        else:
            self.history = [self.metrics(), rows]


def certificate(metrics: NDArray[np.float64], column: str = "gap") -> float:
    """Mean of a metric over the last CHECK_EVERY updates; NaN outside the balance phase."""
    recent = metrics[-CHECK_EVERY:]
    phase = recent[:, _core.METRICS.index("phase")]
    if len(recent) < CHECK_EVERY or not np.all(phase == 1):
        return math.nan
    return float(recent[:, _core.METRICS.index(column)].mean())


def is_good(metrics: NDArray[np.float64]) -> bool:
    """Whether the gap is small for sure: not just over one lucky stretch.

    Both the last CHECK_EVERY updates and those before must be below GOOD_GAP, the last
    ones by two standard errors.
    """
    last, before = metrics[-CHECK_EVERY:], metrics[: -CHECK_EVERY or None]
    if len(before) < CHECK_EVERY or not certificate(before) < GOOD_GAP:
        return False
    gaps = last[:, _core.METRICS.index("gap")]
    error = float(gaps.std()) / math.sqrt(len(gaps))
    return bool(certificate(metrics) + 2 * error < GOOD_GAP)


def first_good(metrics: NDArray[np.float64]) -> int | None:
    """Updates after which the certificate is good for the first time, or None."""
    for end in range(CHECK_EVERY, len(metrics) + 1, CHECK_EVERY):
        if certificate(metrics[:end]) < GOOD_GAP:
            return end
    return None


class Safeguard:
    """Keeps the state of a trainer from which draws were good, to go back to.

    A state is taken every KEEP_EVERY updates, which the number of calls does not change,
    and trusted once an update of each policy from it has gone well. At 20 variables it
    takes 0.2 ms for "edges", 1.2 ms and 7 MB for "gnn".
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.trusted = self.taken = self.take()

    def take(self) -> tuple[dict[str, Any], int]:
        """State, and updates in the history."""
        return self.engine.trainer.get_state(), sum(map(len, self.engine.history))

    def step(
        self, n_updates: int, time_fraction: float, interrupt: InterruptFlag
    ) -> None:
        """Trains and adds to the history; NumericalError leaves the trusted state.

        An interrupt may end it early, before the first update even.
        """
        trainer = self.engine.trainer
        try:
            rows = self.engine.advance(n_updates, time_fraction, interrupt)
        except _core.NumericalError as error:
            raise self.go_back(str(error)) from None
        except BaseException:  # of a signal handler of the user
            self.go_back("")
            raise
        if len(rows) == 0:
            return
        self.engine.record(rows)
        n_updates = sum(map(len, self.engine.history))
        if n_updates - self.taken[1] >= self.engine.n_policies:
            self.trusted = self.taken
        if trainer.iteration % KEEP_EVERY == 0 and self.is_sound():
            self.taken = self.take()

    def is_sound(self) -> bool:
        draws = self.engine.draw(DRAWS_LOOKED_AT, 0, 0)
        return is_finite(draws.log_prob) and all(map(is_finite, draws.parameters or ()))

    def look_at_the_end(self, plan: Plan) -> None:
        """The last update has no successor whose loss would show what it did."""
        if not self.is_sound():
            plan.finished = False
            iteration = self.engine.trainer.iteration
            raise self.go_back(
                f"update {iteration}: draws have NaN or infinite numbers"
            )

    def go_back(self, what: str) -> _core.NumericalError:
        state, n_updates = self.trusted
        self.engine.trainer.set_state(state)
        self.engine.history = [self.engine.metrics()[:n_updates]]
        advice = "" if "learning_rate" in what else "; a smaller learning_rate may help"
        return _core.NumericalError(
            f"{what}{advice}. The fit stands where it was after update {n_updates}"
        )


def is_finite(values: NDArray[np.float64]) -> bool:
    return bool(np.isfinite(values).all())


class InterruptFlag:
    """Remembers Ctrl-C until the end of the block; a second one is not held back."""

    def __init__(self) -> None:
        self.is_set = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self.is_set:
            raise KeyboardInterrupt
        self.is_set = True


@contextmanager
def held_interrupts() -> Iterator[InterruptFlag]:
    """Turns Ctrl-C into a flag, so that nothing inside the block is torn apart.

    A block with long work looks at the flag and ends early. When the flag is set at the
    end of the block, the KeyboardInterrupt comes there. Only in the main thread and only
    where Ctrl-C means KeyboardInterrupt; elsewhere the flag is never set.
    """
    flag = InterruptFlag()
    usual = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if not usual or threading.current_thread() is not threading.main_thread():
        yield flag
        return
    try:
        signal.signal(signal.SIGINT, flag)
        yield flag
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if flag.is_set:
        raise KeyboardInterrupt


def train(
    engine: Engine,
    plan: Plan,
    interrupt: InterruptFlag,
    verbose: bool = False,
    callback: Callable[[dict[str, Any]], Any] | None = None,
) -> None:
    """Runs the plan on, to its end, to an interruption, or until the callback returns True.

    `plan.finished` says whether there is more to do.
    """
    begin = time.perf_counter()
    already_used = plan.seconds_used
    chunk = 1
    safeguard = Safeguard(engine)
    with watch_over(engine, plan, verbose) as watch:
        watch.callback = callback
        while True:
            iteration = engine.trainer.iteration
            plan.seconds_used = already_used + time.perf_counter() - begin
            update_finished(engine, plan, iteration)
            is_stopped = watch.look(iteration)
            if plan.finished or interrupt.is_set or is_stopped:
                safeguard.look_at_the_end(plan)
                return
            why = why_short(plan, iteration)
            if why or branch_is_due(engine, plan, iteration):
                safeguard.look_at_the_end(plan)  # of the one policy, as it was
                watch.say(
                    learn_faster(engine, plan, iteration, why)
                    if why
                    else branch(engine, plan, iteration)
                )
                safeguard, chunk = Safeguard(engine), 1
                continue
            n_updates = min(chunk, plan.last - iteration)
            # calls end where the certificate is looked at and states are kept
            n_updates = min(n_updates, KEEP_EVERY - iteration % KEEP_EVERY)
            if plan.branches_to > 1 and engine.n_policies == 1:
                n_updates = min(n_updates, plan.branch_at - iteration)
            called = time.perf_counter()
            safeguard.step(n_updates, time_fraction(plan), interrupt)
            seconds = max(time.perf_counter() - called, 1e-6) / n_updates
            chunk = next_chunk(plan, seconds, chunk, engine.seconds_per_call)


def update_finished(engine: Engine, plan: Plan, iteration: int) -> None:
    if iteration >= plan.last:
        plan.finished = True
    elif plan.seconds is not None and is_under_way(engine, plan, iteration):
        plan.finished = plan.seconds_used >= plan.seconds
    elif plan.may_stop_early and iteration and iteration % CHECK_EVERY == 0:
        plan.finished = plan.stopped_early = is_good(engine.metrics())


def is_under_way(engine: Engine, plan: Plan, iteration: int) -> bool:
    """Whatever the time, each policy gets an update of a plan."""
    return iteration - plan.first >= engine.n_policies and engine.is_begun


def branch_is_due(engine: Engine, plan: Plan, iteration: int) -> bool:
    if plan.branches_to == 1 or engine.n_policies > 1:
        return False
    is_late = iteration > plan.first and time_fraction(plan) >= BRANCH_AT
    return is_late or iteration >= plan.branch_at


def why_short(plan: Plan, iteration: int) -> str:
    """Whether the first schedule of a fit has too few updates for several policies, so
    that one is to learn faster: the reason in words, or none."""
    if plan.first > 0 or not plan.may_be_faster:
        return ""
    if iteration == 0:
        return "few updates are planned" if is_short(plan.n_iter) else ""
    part = time_fraction(plan)
    if part >= EARLY and is_short(iteration / part):
        return "few updates fit into the time"
    return ""


def learn_faster(engine: Engine, plan: Plan, iteration: int, why: str) -> str:
    engine.raise_rate(RATE_OF_A_LEARNER)
    plan.may_be_faster = False  # not once more
    plan.branches_to = 1
    return (
        f"{'learning':<12}rate times {RATE_OF_A_LEARNER:g} from update {iteration} on, "
        f"for {why}"
    )


def branch(engine: Engine, plan: Plan, iteration: int) -> str:
    """Several policies, or one with a larger learning rate; what was done, in words."""
    n_left, part = plan.last - iteration, time_fraction(plan)
    n_policies, is_learning = plan.branches_to, False
    if plan.may_be_fewer:
        n = float(n_left)
        if part > 0:  # as many updates per second as before
            n = min(n, (iteration - plan.first) * (1 - part) / part)
        n_policies, is_learning = way_on(
            engine.metrics(), engine.certificate(), n, n_policies, engine.log_ratios
        )
    if n_policies > 1:
        engine.branch(n_policies, n_left, part)
        return (
            f"{'policies':<12}{n_policies} from update {iteration} on, each with an order "
            "of its own"
        )
    plan.branches_to = 1  # not to be asked again
    if is_learning and plan.may_be_faster:
        return learn_faster(engine, plan, iteration, "updates still help much")
    return ""


def time_fraction(plan: Plan) -> float:
    if plan.seconds is None:
        return 0.0
    return min(1.0, plan.seconds_used / plan.seconds) if plan.seconds > 0 else 1.0


def next_chunk(plan: Plan, seconds_per_update: float, chunk: int, wanted: float) -> int:
    """wanted : seconds of a call"""
    if plan.seconds is not None:
        wanted = min(wanted, plan.seconds - plan.seconds_used)
    return int(max(1, min(wanted / seconds_per_update, 4 * chunk)))


class Watch:
    """Looks at a training between two calls of the core: bar, expected time, callback."""

    def __init__(self, engine: Engine, plan: Plan, bar: Bar, verbose: bool) -> None:
        self.engine = engine
        self.plan = plan
        self.bar = bar
        self.callback: Callable[[dict[str, Any]], Any] | None = None
        self.verbose = self.time_is_open = verbose
        self.begin = time.perf_counter()
        self.first = engine.trainer.iteration
        self.last_callback = -math.inf

    def look(self, iteration: int) -> bool:
        """Whether the callback asks for a stop."""
        if iteration == self.first:
            return False
        plan = self.plan
        done = plan.seconds_used if plan.is_timed else iteration - plan.first
        if self.bar.is_shown:
            self.bar.show(done, self.engine.progress_words(self.latest()))
        self.say_expected_time(iteration)
        now = time.perf_counter()
        is_due = now - self.last_callback >= SECONDS_PER_CALLBACK or plan.finished
        if self.callback is None or not is_due:
            return False
        answer = self.callback(self.info(iteration))
        self.last_callback = time.perf_counter()
        return answer is True

    def latest(self) -> dict[str, float]:
        row = self.engine.history[-1][-1].tolist()
        return dict(zip(self.engine.metric_names, row, strict=True))

    def info(self, iteration: int) -> dict[str, Any]:
        plan = self.plan
        return {
            "n_updates": iteration,
            "n_total": plan.last if plan.n_iter < UNLIMITED else None,
            "seconds": plan.seconds_used,
            "seconds_left": 0.0 if plan.finished else self.seconds_left(iteration),
            "certificate": self.engine.certificate(),
            "finished": plan.finished,
            "metrics": self.latest(),
        }

    def seconds_left(self, iteration: int) -> float:
        """As the updates of this run suggest; an early stop may come before."""
        plan = self.plan
        each = (time.perf_counter() - self.begin) / (iteration - self.first)
        left: float = (plan.last - iteration) * each
        if plan.seconds is not None:
            left = min(left, max(0.0, plan.seconds - plan.seconds_used))
        return left

    def say(self, words: str) -> None:
        if self.verbose and words:
            self.bar.write(words)

    def say_expected_time(self, iteration: int) -> None:
        """Once; not for what is over in a moment anyway, or when the limit is time."""
        seconds = time.perf_counter() - self.begin
        if not self.time_is_open or seconds < SECONDS_TO_JUDGE:
            return
        self.time_is_open = False
        if not self.plan.is_timed and not self.plan.finished:
            each = 1000 * seconds / (iteration - self.first)
            early = " at most" if self.plan.may_stop_early else ""
            self.bar.write(
                f"{'time':<12}about {duration(self.seconds_left(iteration))} to go{early}, "
                f"at {each:.3g} ms per update"
            )


@contextmanager
def watch_over(engine: Engine, plan: Plan, verbose: bool) -> Iterator[Watch]:
    total = plan.seconds if plan.is_timed else plan.n_iter
    unit = "s" if plan.is_timed else "updates"
    with progress_bar(total or 0.0, unit, verbose) as bar:
        yield Watch(engine, plan, bar, verbose)
