"""Several policies in one fit, each with an order of the pairs of its own.

A policy decides pairs in one fixed order, and what it cannot express depends on that
order. So the mean of their densities, q(G) = mean_k q_k(G), is closer to the posterior
than they are on average: where one gives a graph too little, others seldom do, too.

Training begins with one. The others branch off when a part of the plan is done: they
start from what the first has learned, and all share the updates that are left.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _core
from ._streams import stream_seed

# Where several policies pay (docs/method.md): beyond so many variables, with so many
# updates each after they have branched off; fewer than LEAST_POLICIES are seldom better
# than one with a larger learning rate, more than ENOUGH_POLICIES gain little.
FEW_VARIABLES = 20
UPDATES_EACH = 400
LEAST_POLICIES = 3
ENOUGH_POLICIES = 6

MOST_POLICIES = 64  # that may be asked for

# Share of the plan after which policies branch off, and share of it that is maximum
# likelihood where they may.
BRANCH_AT = 0.3
LIKELIHOOD_BEFORE = 0.1

# A policy still learns when its loss falls faster than this power of the number of updates
# (less than LEAST_TO_JUDGE losses of each kind would not show it), or when some graphs are
# far off: among its draws the 5 % quantile of log R - log q is more than UNEVEN_TAILS times
# as far from the median as the 95 % quantile. It goes on alone, with so many times the
# default learning rate.
POWER_OF_LEARNING = -0.65
LEAST_TO_JUDGE = 50
UNEVEN_TAILS = 2.0
DRAWS_TO_JUDGE = 500
RATE_OF_A_LEARNER = 4.0
EARLY = 0.05  # share of the time after which it is known how many updates there will be
GAP_THAT_WILL_DO = 0.05  # nats


def shared_updates(n_iter: int) -> int:
    """Updates of a plan that are left when policies branch off."""
    return n_iter - int(BRANCH_AT * n_iter)


def most_policies(n_variables: int, n_iter: int, room: float = math.inf) -> int:
    """By default.

    room : for how many there is memory
    """
    if n_variables <= FEW_VARIABLES:
        return 1
    return several(min(room, ENOUGH_POLICIES, shared_updates(n_iter) // UPDATES_EACH))


def several(most: float) -> int:
    """At most so many, or one where that is too few to be worthwhile."""
    return int(most) if most >= LEAST_POLICIES else 1


def is_short(n_updates: float) -> bool:
    """Whether a plan leaves too few updates for several policies: what its one policy
    can learn is the limit then, and not its order of pairs."""
    return shared_updates(int(n_updates)) < LEAST_POLICIES * UPDATES_EACH


def way_on(
    metrics: NDArray[np.float64],
    gap: float,
    n_left: float,
    most: int,
    log_ratios: Callable[[int], NDArray[np.float64]],
) -> tuple[int, bool]:
    """Policies for the n_left updates to come, and whether one will learn faster.

    One policy where updates still help it or some graphs are far off, for several would
    all be behind it; where its gap (nats; NaN = unknown) is small already, for several
    would only be slower; and where too little is known.

    log_ratios : log R - log q of so many draws
    """
    n_policies = several(min(most, n_left // UPDATES_EACH))
    learns = still_learns(metrics)
    if learns is not False:
        return 1, learns is True
    if gap < GAP_THAT_WILL_DO or n_policies == 1:
        return 1, False
    if has_uneven_tails(log_ratios(DRAWS_TO_JUDGE)):
        return 1, True
    return n_policies, False


def has_uneven_tails(log_ratios: NDArray[np.float64]) -> bool:
    low, middle, high = np.quantile(log_ratios, [0.05, 0.5, 0.95])
    return bool(middle - low > UNEVEN_TAILS * (high - middle))


def still_learns(metrics: NDArray[np.float64]) -> bool | None:
    """By the loss of the balance phase, last quarter against second; None = unknown,
    or nothing left to learn.

    By medians: single draws far off make some losses many times as large as the others.
    """
    loss = metrics[:, _core.METRICS.index("loss")]
    n_likelihood = int(np.sum(metrics[:, _core.METRICS.index("phase")] == 0))
    n = (len(loss) - n_likelihood) // 4
    if n < LEAST_TO_JUDGE:
        return None
    early, late = np.median(loss[-3 * n : -2 * n]), np.median(loss[-n:])
    if not early > 0:
        return None
    ratio = (len(loss) - n / 2) / (len(loss) - 2.5 * n)  # of the numbers of updates
    return bool(not late > early * ratio**POWER_OF_LEARNING)


def share(n: int, k: int, n_policies: int, first: int = 0) -> int:
    """How many of the numbers first to first + n go to policy k when they go round."""
    return len(range((k - first) % n_policies, n, n_policies))


class Turns:
    """Whose turn is next: the policy with most updates left that is not at work."""

    def __init__(self, left: list[int]) -> None:
        self.left = left
        self.at_work = [False] * len(left)
        self.lock = threading.Lock()

    def take(self) -> int | None:
        with self.lock:
            free = [k for k, n in enumerate(self.left) if n and not self.at_work[k]]
            if not free:
                return None
            k = max(free, key=lambda k: self.left[k])
            self.left[k] -= 1
            self.at_work[k] = True
            return k

    def give_back(self, k: int) -> None:
        with self.lock:
            self.at_work[k] = False

    def stop(self) -> None:
        with self.lock:
            self.left = [0] * len(self.left)


class Policies:
    """Trainers with an order each, behind the interface of one `_core.Trainer`.

    Updates and sweeps go round: number t belongs to policy t mod K. So do draws, from a
    policy on that the seed decides.
    """

    def __init__(self, trainers: Sequence[_core.Trainer], n_at_once: int = 1) -> None:
        self.trainers = list(trainers)
        self.n_at_once = n_at_once  # that train at a time
        # of the time of the plan, where the schedule of each begins
        self.starts = [0.0] * len(self.trainers)

    @property
    def iteration(self) -> int:
        return sum(trainer.iteration for trainer in self.trainers)

    @property
    def n_parameters(self) -> int:
        return sum(trainer.n_parameters for trainer in self.trainers)

    def set_schedule(
        self, first_iteration: int, n_iter: int, likelihood_fraction: float
    ) -> None:
        """Each policy gets its share of the updates, at least one."""
        K = len(self.trainers)
        for k, trainer in enumerate(self.trainers):
            trainer.set_schedule(
                first_iteration=trainer.iteration,
                n_iter=max(1, share(n_iter, k, K, first_iteration)),
                likelihood_fraction=likelihood_fraction,
            )
        self.starts = [0.0] * K

    def branch_off(
        self, n_iter: int, time_fraction: float, likelihood_fraction: float
    ) -> None:
        """All go on from the first one and share the n_iter updates that are left.

        The others begin with their peak learning rate. The first, which has learned
        already, is in the middle of its schedule or, after few updates, before that.
        """
        trunk, *others = self.trainers
        self.set_schedule(trunk.iteration, n_iter, likelihood_fraction)
        for trainer in others:
            trainer.start_from(trunk)
        n = max(1, share(n_iter, 0, len(self.trainers), trunk.iteration))
        before = min(n, trunk.iteration)
        trunk.set_schedule(
            first_iteration=trunk.iteration - before,
            n_iter=n + before,
            likelihood_fraction=likelihood_fraction,
        )
        if time_fraction > 0:
            # (time_fraction - start) / (1 - start) is 1/2 for the first, 0 for the others
            self.starts = [2 * time_fraction - 1, *(time_fraction for _ in others)]

    def step(self, n_updates: int, time_fraction: float = 0.0) -> NDArray[np.float64]:
        """Policies know nothing of each other, so several are trained at a time."""
        K, first = len(self.trainers), self.iteration
        turns = Turns([share(n_updates, k, K, first) for k in range(K)])
        times = [
            (time_fraction - start) / (1 - start) if start < 1 else 1.0
            for start in self.starts
        ]
        rows: list[list[NDArray[np.float64]]] = [[] for _ in range(K)]

        def work() -> None:
            while (k := turns.take()) is not None:
                try:
                    rows[k].append(self.trainers[k].step(1, times[k]))
                except _core.NumericalError as error:
                    turns.stop()
                    raise _core.NumericalError(f"policy {k}, its {error}") from None
                turns.give_back(k)

        if self.n_at_once == 1:
            work()
        else:
            with ThreadPoolExecutor(self.n_at_once) as pool:
                try:
                    for worker in [pool.submit(work) for _ in range(self.n_at_once)]:
                        worker.result()
                finally:
                    turns.stop()
        order = [(first + t) % K for t in range(n_updates)]
        streams = [iter(of_policy) for of_policy in rows]
        return np.concatenate([next(streams[k]) for k in order])

    def sample(
        self, n: int, seed: int, n_threads: int, first_draw: int = 0
    ) -> tuple[NDArray[np.uint8], NDArray[np.float64], NDArray[np.float64]]:
        """Draws of the mixture: graphs, log q, log R.

        The seed decides which policy makes draw 0, so that any draw is one of the mixture.
        """
        K = len(self.trainers)
        first = first_draw + seed % K
        places = [np.arange((k - first) % K, n, K) for k in range(K)]

        def draw(k: int, threads: int) -> Any:
            place = places[k]
            if not len(place):
                return None
            return self.trainers[k].sample(
                len(place), stream_seed(seed, k), threads, (first + place[0]) // K
            )

        drawn = [part for part in self.each(draw, n_threads) if part is not None]
        order = np.argsort(np.concatenate(places))
        graphs, log_q, log_reward = (
            np.concatenate(arrays)[order] for arrays in zip(*drawn, strict=True)
        )

        def log_prob(k: int, threads: int) -> NDArray[np.float64]:
            of_all: NDArray[np.float64] = log_q.copy()
            others = np.delete(np.arange(n), places[k])
            if len(others):
                of_all[others] = self.trainers[k].log_prob(graphs[others], threads)
            return of_all

        return graphs, mean_density(self.each(log_prob, n_threads)), log_reward

    def log_prob(
        self, graphs: NDArray[np.uint8], n_threads: int
    ) -> NDArray[np.float64]:
        return mean_density(
            self.each(
                lambda k, threads: self.trainers[k].log_prob(graphs, threads), n_threads
            )
        )

    def each(self, do: Callable[[int, int], Any], n_threads: int) -> list[Any]:
        """do(k, threads) of every policy, several at a time.

        Each policy alone has too few draws of a piece to keep several threads busy.
        """
        K = len(self.trainers)
        n_at_once = max(1, min(K, n_threads))
        if n_at_once == 1:
            return [do(k, n_threads) for k in range(K)]
        with ThreadPoolExecutor(n_at_once) as pool:
            least, more = divmod(n_threads, n_at_once)
            threads = [least + (k % n_at_once < more) for k in range(K)]
            return list(pool.map(do, range(K), threads))

    def refine(
        self,
        graphs: NDArray[np.uint8],
        seed: int,
        n_sweeps: int,
        n_threads: int,
        first_draw: int = 0,
        first_sweep: int = 0,
    ) -> tuple[NDArray[np.uint8], NDArray[np.int32], list[int]]:
        """Each sweep keeps the posterior, so the policies may take turns."""
        accepted = []
        for sweep in range(first_sweep, first_sweep + n_sweeps):
            graphs, counts, sizes = self.trainers[sweep % len(self.trainers)].refine(
                graphs, seed, 1, n_threads, first_draw, sweep
            )
            accepted.append(counts)
        return graphs, np.sum(accepted, axis=0, dtype=np.int32), sizes

    def get_state(self) -> dict[str, Any]:
        return {
            "policies": [trainer.get_state() for trainer in self.trainers],
            "starts": list(self.starts),
        }

    def set_state(self, state: dict[str, Any]) -> None:
        states = state.get("policies")
        if not isinstance(states, list) or len(states) != len(self.trainers):
            n = len(states) if isinstance(states, list) else 1
            raise ValueError(
                f"a state with policies: {n}, where there are {len(self.trainers)}"
            )
        starts = state.get("starts", [0.0] * len(states))  # older files lack it
        if not are_starts(starts, len(states)):
            raise ValueError("'starts' of the state cannot be right")
        for trainer, part in zip(self.trainers, states, strict=True):
            trainer.set_state(part)
        self.starts = list(starts)


def start_from(
    trainer: Policies | _core.Trainer, other: Policies | _core.Trainer
) -> None:
    """Policy k goes on from policy k of `other`, or from that which comes round."""
    targets, sources = policies_of(trainer), policies_of(other)
    for k, target in enumerate(targets):
        target.start_from(sources[k % len(sources)])


def are_starts(value: object, n: int) -> bool:
    return (
        isinstance(value, list)
        and len(value) == n
        and all(isinstance(start, float) and -1 <= start <= 1 for start in value)
    )


def policies_of(trainer: Policies | _core.Trainer) -> list[_core.Trainer]:
    return trainer.trainers if isinstance(trainer, Policies) else [trainer]


def mean_density(log_qs: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Logarithm of the mean of probabilities given by their logarithms, at most 0."""
    total: NDArray[np.float64] = np.logaddexp.reduce(log_qs, axis=0)
    total -= np.log(len(log_qs))
    return np.minimum(total, 0.0, out=total)
