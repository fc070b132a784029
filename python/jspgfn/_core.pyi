"""The compiled core. Arrays are checked strictly: C-contiguous, exact dtype and shape.

Graphs are uint8 arrays (n, D, D) of 0 and 1, graphs[s, i, j] = 1 is the edge i -> j.
"""

from collections.abc import Callable
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

class NumericalError(ArithmeticError): ...

@final
class Scores:
    """Local scores of all parent sets of all nodes, and exact draws of parameters."""

    def __new__(
        cls,
        x: NDArray[np.float64] | NDArray[np.int32] | tuple[NDArray[Any], ...],
        mask: NDArray[np.uint8] | None,
        *,
        model: str,
        model_fields: dict[str, float],
        graph_prior: str,
        max_parents: list[int],
        candidates: list[list[int]],
        intercept: bool,
        n_threads: int,
        edge_log_odds: NDArray[np.float64] | None,
        required: NDArray[np.uint8] | None,
        n_states: list[int] | None,
        keep_rows: bool = False,
        tabulate: bool = True,
        evidences: NDArray[np.float64] | None = None,
        progress: Callable[[float], object] | None = None,
    ) -> Scores:
        """edge_log_odds (D, D): added to the log weight of every set with the edge
        i -> j; -inf forbids, +inf requires. required (D, D): 1 = edge required. Models
        of discrete data take int32 codes 0 .. n_states[j] - 1 as x; others also the tuple of
        `moments`. keep_rows: for
        minibatches. tabulate=False: no tables, what needs them raises ValueError. evidences: of
        all parent sets as fit_evidences lists them, then nothing is fitted. progress: called
        now and then with the share of the work that is done; what it raises stops the
        building of tables, as Ctrl-C does."""
    @property
    def n_variables(self) -> int: ...
    @property
    def n_bytes(self) -> int: ...
    def candidates(self, node: int) -> list[int]: ...
    def local_scores(self, node: int) -> NDArray[np.float64]:
        """Copy of l_j(S), index = bit mask over candidates(node); -inf = excluded."""
    def restricted_sum(self, node: int, parents: int, undecided: int) -> float:
        """log T_j(S, U) minus the best score of the node; local masks. For tests."""
    def log_reward(self, graphs: NDArray[np.uint8]) -> NDArray[np.float64]:
        """log w(G) + sum of log evidences; -inf for excluded graphs. No cycle check."""
    def edge_conditionals(
        self, graphs: NDArray[np.uint8], weights: NDArray[np.float64], /
    ) -> NDArray[np.float64]:
        """(D, D): sum over graphs of weights[s] P(i -> j | parents of all but i, j).

        Graphs must be acyclic and allowed, else ValueError."""
    def draw_parameters(
        self, graphs: NDArray[np.uint8], seed: int, first_draw: int = 0
    ) -> tuple[NDArray[np.float64], ...]:
        """Weights, one per edge in the order of np.nonzero(graphs); intercepts (n, D) and
        noise standard deviations (n, D) in preprocessed units; log density (n,) of
        (weights, noise variances). Models with more parameters add an array (n, D, M):
        "features" the weights of the features, whose scale counts in the density; "mlp"
        all parameters of each network: b1 (U), w1 (D, U), b2, w2 (U).
        """
    def evidence(self, node: int, parents: list[int]) -> tuple[float, float]:
        """Log evidence of a node given increasing parents, without tables or prior, and
        its standard error (0 where evidences are exact)."""
    def feature_map(
        self, node: int, parents: list[int]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Directions (M, p) and offsets (M,) of the random features of a parent set."""
    @property
    def discarded(self) -> NDArray[np.float64]:
        """(D,): estimated share of each node's mass outside its candidates; NaN where
        that would cost too much."""
    def table_sizes(self, graphs: NDArray[np.uint8]) -> NDArray[np.int64]:
        """(n, D): numbers in the conditional probability table of every node."""
    def draw_tables(
        self, graphs: NDArray[np.uint8], seed: int, first_draw: int = 0
    ) -> tuple[
        NDArray[np.float64],  # all tables [configuration, state], one after the other
        NDArray[np.int64],  # where the table of node j in graph s begins, (n, D)
        NDArray[np.float64],  # log density of all tables of a graph, (n,)
    ]: ...

@final
class Trainer:
    """The edges generator with its schedules, chains, optimiser and random streams."""

    def __new__(
        cls,
        scores: Scores,
        *,
        n_iter: int = 0,
        batch_size: int = 0,
        learning_rate: float = 0.0,
        likelihood_fraction: float = 0.0,
        seed: int = 0,
        order: int = 0,
        n_threads: int = 0,
        tuning: dict[str, float] = ...,
    ) -> Trainer: ...
    @property
    def iteration(self) -> int: ...
    @property
    def n_parameters(self) -> int: ...
    @property
    def counters(self) -> dict[str, int]:
        """Work done so far, for profiles: n_options weighed by the network, n_rows of
        odds looked up, n_rows_computed."""
    def set_schedule(
        self, first_iteration: int, n_iter: int, likelihood_fraction: float
    ) -> None:
        """Schedules now run over n_iter updates counted from first_iteration."""
    def step(self, n_updates: int, time_fraction: float = 0.0) -> NDArray[np.float64]:
        """Runs updates without the GIL.

        Progress of the schedules is max(iteration / n_iter, time_fraction). Returns one row
        per update, columns as in METRICS.
        """
    def sample(
        self, n: int, seed: int, n_threads: int, first_draw: int = 0
    ) -> tuple[NDArray[np.uint8], NDArray[np.float64], NDArray[np.float64]]:
        """Draws of the averaged policy: graphs, log q, log R. Draw k depends only on
        (seed, first_draw + k)."""
    def log_prob(
        self, graphs: NDArray[np.uint8], n_threads: int
    ) -> NDArray[np.float64]:
        """log q of acyclic graphs; -inf for excluded ones."""
    def refine(
        self,
        graphs: NDArray[np.uint8],
        seed: int,
        n_sweeps: int,
        n_threads: int,
        first_draw: int = 0,
        first_sweep: int = 0,
        moves_per_pair: int = 10,
    ) -> tuple[
        NDArray[np.uint8],  # graphs after the sweeps
        NDArray[np.int32],  # accepted blocks of each graph by size (n, number of sizes)
        list[int],  # the sizes: variables whose decisions were drawn anew, last D
    ]:
        """Sweeps of Metropolis-Hastings with the averaged policy as proposal. Graph k
        uses the random numbers of (seed, first_draw + k, first_sweep + sweep)."""
    def start_from(self, other: Trainer, /) -> None:
        """Takes over the averaged policy of a trainer of as many variables; parameters
        that belong to a pair of variables go with the pair."""
    def chain_graphs(self) -> NDArray[np.uint8]:
        """Present states of the structure chains."""
    def parameters(self) -> dict[str, NDArray[np.float64]]:
        """Copy of the averaged parameters by name."""
    def perturb(self, scale: float, seed: int) -> None:
        """Adds normal noise to every parameter of the averaged policy. For tests."""
    def get_state(self) -> dict[str, Any]:
        """Everything needed to go on with the same bits, as arrays."""
    def set_state(self, state: dict[str, Any]) -> None: ...

@final
class Chains:
    """Structure MCMC with parallel tempering, several independent chains.

    Chains of n_temperatures replicas at inverse temperatures ratio^k. A round makes
    cold_moves moves at temperature 1 and hot_moves at each other, then swaps neighbours.
    """

    def __new__(
        cls,
        scores: Scores,
        *,
        n_chains: int,
        n_temperatures: int,
        ratio: float,
        cold_moves: int,
        hot_moves: int,
        n_batches: int,
        n_stored: int,
        seed: int,
        n_threads: int,
    ) -> Chains: ...
    def step(self, n_rounds: int) -> None:
        """Runs rounds of every chain, without the GIL."""
    def batches(
        self,
    ) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
        """Rounds per batch (n,), and over those rounds, (n_chains, n, D, D): how often
        each edge was there, and the sum of its probabilities given all other nodes'
        parents. All batches are equally long but for the last one."""
    def states(self) -> NDArray[np.uint32]:
        """Stored states (n_chains, n, D), evenly spaced: local masks of parents."""
    def counters(self) -> dict[str, Any]:
        """n_rounds, thinning (rounds between stored states), accepted_moves (n_chains,
        n_temperatures), tried_swaps and accepted_swaps (n_chains, n_temperatures - 1),
        round_trips (list)."""
    def replicas(self) -> tuple[NDArray[np.uint32], NDArray[np.int8]]:
        """Local masks (n_chains, n_temperatures, D), and what each state last met: 1 cold
        end, -1 hot end, 0 neither."""
    def restore(
        self,
        *,
        rounds: NDArray[np.int64],
        counts: NDArray[np.float64],
        sums: NDArray[np.float64],
        states: NDArray[np.uint32],
        thinning: int,
        replicas: NDArray[np.uint32],
        heading: NDArray[np.int8],
        tried_swaps: NDArray[np.int64],
        accepted_swaps: NDArray[np.int64],
        accepted_moves: NDArray[np.int64],
        round_trips: NDArray[np.int64],
    ) -> None:
        """Puts chains where others of the same scores and settings stood."""

@final
class Exact:
    """The exact posterior over all DAGs. Results can be read once `step` returned 1."""

    def __new__(cls, scores: Scores, *, posterior: bool, n_threads: int) -> Exact: ...
    @staticmethod
    def plan(n_candidates: list[int], posterior: bool, n_threads: int, /) -> int:
        """Bytes that Exact will allocate for these numbers of candidate parents."""
    def step(self, n_units: int, /) -> float:
        """Runs units of work (about 10 ms of one thread each; a call goes beyond them by
        up to 0.1 s, longer above 22 variables) without the GIL; returns the share done, 1
        when finished."""
    def log_partition(self) -> float: ...
    def report(self) -> dict[str, float]:
        """Keys: n_terms_backward, n_terms_forward, cut_partition (bound on the relative
        error of Z), cut_posterior (bound on the error of probabilities), closure."""
    def edges(self) -> NDArray[np.float64]:
        """P(i -> j), (D, D). This and the rest need posterior=True."""
    def parent_sets(self, node: int, /) -> NDArray[np.float64]:
        """P(Pa_node = S), index = bit mask over Scores.candidates(node)."""
    def weight_moments(
        self,
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Means of weights and of their squares (D, D), 0 where no edge, and means of
        noise variances (D,), in preprocessed units."""
    def sample(self, n: int, seed: int, first_draw: int = 0) -> NDArray[np.uint8]:
        """Independent draws from P(G | data), (n, D, D)."""

@final
class GnnNetwork:
    """The network of the published method by itself, for tests."""

    def __new__(cls, n_variables: int, *, seed: int = 0) -> GnnNetwork: ...
    def parameters(self) -> dict[str, NDArray[np.float32]]:
        """Copies by name; vectors have shape (n, 1)."""
    def set_parameters(self, parameters: dict[str, NDArray[np.float32]], /) -> None:
        """Replaces those that are named."""
    def forward(
        self, adjacency: NDArray[np.uint8], mask: NDArray[np.uint8], logit_scale: float
    ) -> tuple[
        NDArray[np.float64],  # log-probabilities of actions (n, D D + 1)
        NDArray[np.float32],  # node features (n, D, 128)
        NDArray[np.float32],  # global features (n, 128)
    ]: ...
    def backward(
        self,
        d_log_pi: NDArray[np.float64],
        d_node_features: NDArray[np.float32],
        d_global_features: NDArray[np.float32],
    ) -> dict[str, NDArray[np.float32]]:
        """Gradients by name; once after each forward pass."""

@final
class GnnHead:
    """A head of the published method by itself, for tests; [b, k, i, p] = parameter p of
    node i, in linear models (P = D) the weight of p in the equation of i, for "mlp" b1
    (units), w1 (D, units), b2, w2 (units)."""

    def __new__(cls, kind: str, n_variables: int, n_units: int = 5) -> GnnHead: ...
    def parameters(self) -> dict[str, NDArray[np.float32]]: ...
    def set_parameters(self, parameters: dict[str, NDArray[np.float32]], /) -> None: ...
    def forward(
        self,
        adjacency: NDArray[np.uint8],
        node_features: NDArray[np.float32],
        global_features: NDArray[np.float32],
        eps: NDArray[np.float64],
    ) -> tuple[
        NDArray[np.float64],  # loc (B, D, P)
        NDArray[np.float64],  # U (B, D, D, D); mlp: scale (B, D, P)
        NDArray[np.float64],  # theta (B, K, D, P)
        NDArray[np.float64],  # log P(theta | G) (B, K)
        NDArray[np.float64],  # - d log P / d theta (B, K, D, P)
    ]: ...
    def backward(
        self,
        d_log_prob: NDArray[np.float64],
        d_theta: NDArray[np.float64],
        d_slope: NDArray[np.float64],
    ) -> tuple[
        NDArray[np.float32], NDArray[np.float32], dict[str, NDArray[np.float32]]
    ]:
        """Gradients of node features, global features, parameters. theta is fixed in
        d_log_prob; d_theta and d_slope reach loc and U through samples and slopes."""

@final
class GnnTrainer:
    """The published method in training: network, head, replay, environments, Adam.

    Edges are allowed where `allowed` is 1 and their prior log-odds are not -inf. The
    logits are multiplied by logit_scale and residuals of the loss divided by
    residual_scale; both are the number of rows as published.
    """

    def __new__(
        cls,
        scores: Scores,  # holds data and model, which must have densities given theta
        *,
        head: str,  # "diag", "full" or "mlp"
        allowed: NDArray[np.uint8],  # (D, D)
        max_parents: list[int],
        graph_prior: str,
        edge_log_odds: NDArray[np.float64] | None,
        n_iter: int,
        batch_size: int,
        n_theta_samples: int,
        learning_rate: float,
        logit_scale: float,
        residual_scale: float,
        seed: int,
        n_threads: int,
        n_environments: int = 8,
        replay_capacity: int = 100_000,
        n_prefill: int = 1000,
        decay: float = 0.0,  # share of the plan with a falling learning rate
        beta2: float = 0.999,
        clip_ratio: float = ...,  # infinity
        average_decay: float = 0.0,  # of the parameters that draws use
        exploration_start: float = 1.0,
        exploration_end: float = 0.1,
        init_scale: float = 1.0,  # of the layers that make logits
        delta: float = 1.0,
        penalty_weight: float = 1.0,
        minibatch_rows: int = 0,  # 0 = all; needs scores that keep rows
        target_period: int = 0,  # 0 = none
        local_head: bool = False,
        local_residual: bool = False,  # needs a local head
        head_spread: float = 0.0,  # units of the head's outputs, see jsp_head_units.h
    ) -> GnnTrainer: ...
    @property
    def iteration(self) -> int: ...
    @property
    def n_parameters(self) -> int: ...
    @property
    def seconds(self) -> dict[str, float]:
        """Seconds by part of the updates so far, summed over threads, for profiles:
        replay, environments, shared (what all graphs of an update have in common),
        forward (network and outputs of the head), samples (noise, densities, rewards),
        loss, backward, sum (blocks of gradients, Adam)."""
    def set_schedule(
        self, first_iteration: int, n_iter: int, exploration_start: float
    ) -> None:
        """Schedules now run over n_iter updates counted from first_iteration."""
    def step(
        self,
        n_updates: int,
        time_fraction: float = 0.0,
        is_stopped: Callable[[float], bool | None] | None = None,
    ) -> NDArray[np.float64]:
        """Runs updates without the GIL; one row per update, columns as in GNN_METRICS.

        is_stopped is asked about every 0.05 s, within updates too; a true answer leaves
        the update in hand as if it had not begun, and those before it are returned.
        """
    def sample(
        self, n: int, seed: int, n_threads: int, first_draw: int = 0
    ) -> tuple[
        NDArray[np.uint8],  # graphs (n, D, D)
        NDArray[np.float64],  # log P(trajectory) + log(edges!) (n,)
        NDArray[np.float64],  # weights of i -> j (n, D, D); mlp: parameters (n, D, P)
        NDArray[np.float64],  # intercepts (n, D)
        NDArray[np.float64],  # noise scales (n, D)
        NDArray[np.float64],  # log q(theta | G) (n,)
        NDArray[np.float64],  # log P(data, theta | G) + log w(G) (n,)
    ]: ...
    def log_prob(
        self, graphs: NDArray[np.uint8], n_runs: int, seed: int, n_threads: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """log q of acyclic graphs and its standard error: 0 up to 10 edges, where it is
        exact, else from n_runs runs of ten orders of the edges."""
    def policy(self, graphs: NDArray[np.uint8], n_threads: int) -> NDArray[np.float64]:
        """Log-probabilities of actions (n, D D + 1)."""
    def loss(
        self,
        before: NDArray[np.uint8],
        after: NDArray[np.uint8],
        mask: NDArray[np.uint8],
        mask_after: NDArray[np.uint8],
        action: NDArray[np.int32],
        noise: NDArray[np.float64],  # (n, K, D, P), as in GnnHead
        noise_after: NDArray[np.float64],
    ) -> tuple[dict[str, float], dict[str, NDArray[np.float32]]]:
        """Terms (huber, penalty, residual, residual_square) and gradient, for tests."""
    def parameters(self) -> dict[str, NDArray[np.float32]]:
        """Copies of the averaged parameters by name; vectors have shape (n, 1)."""
    def set_parameters(self, parameters: dict[str, NDArray[np.float32]], /) -> None: ...
    def get_state(self) -> dict[str, Any]:
        """Everything needed to go on with the same bits."""
    def set_state(self, state: dict[str, Any], /) -> None: ...

GNN_METRICS: tuple[str, ...]
"""Columns of GnnTrainer.step: loss, huber, penalty, residual_mean and residual_sd (nats,
over transitions and pairs of samples), gradient_norm, learning_rate, exploration, progress,
n_edges."""

METRICS: tuple[str, ...]
"""Columns of Trainer.step: phase (0 maximum likelihood, 1 balance), loss, gap (mean of
log R - log q on chain states minus the same on own draws; NaN in phase 0), own_gap_median,
own_ess, acceptance, chain_log_q, gradient_norm, learning_rate, progress, n_edges."""

def find_cycle(graphs: NDArray[np.uint8]) -> int:
    """Row of the first cyclic graph, or -1."""

def fit_evidences(
    x: NDArray[np.float64],
    mask: NDArray[np.uint8] | None,
    *,
    model: str,
    model_fields: dict[str, float],
    max_parents: list[int],
    candidates: list[list[int]],
    intercept: bool,
    first: int,
    last: int,
    n_threads: int = 1,
    progress: Callable[[float], object] | None = None,
) -> NDArray[np.float64]:
    """Log evidences, without prior weights, of sets first to last - 1 of the list of all
    parent sets: nodes in order, of each the sets of at most max_parents candidates as
    increasing bit masks. For models that fit sets one by one ("features", "mlp"). Parts
    fitted in several processes have the bits of the whole."""

def moments(
    x: NDArray[np.float64], mask: NDArray[np.uint8] | None, n_threads: int, /
) -> tuple[NDArray[Any], ...]:
    """set_of (D,), int32, and of each set of nodes that the mask treats alike: n_rows (S,)
    that count, mean (S, D) and scatter (S, D, D) over them."""

def select_candidates(
    x: NDArray[np.float64] | NDArray[np.int32] | tuple[NDArray[Any], ...],
    mask: NDArray[np.uint8] | None,
    *,
    model: str,
    model_fields: dict[str, float],
    graph_prior: str,
    max_parents: list[int],
    n_candidates: int,
    intercept: bool,
    n_threads: int,
    edge_log_odds: NDArray[np.float64] | None,
    required: NDArray[np.uint8] | None,
    n_states: list[int] | None,
) -> list[list[int]]:
    """The most promising candidate parents of every node, increasing."""

def select_simd(name: str) -> None: ...
def config() -> dict[str, Any]:
    """Keys: version, real, simd, simd_available, openmp, max_threads, compiler."""

def fail_allocation(n: int, /) -> int:
    """The n-th allocation of the core from now on fails, later ones work; 0 = none.
    Returns what was left to count of the last plan, 0 when its fault has come. For
    tests."""

def live_allocations() -> int:
    """Blocks of memory that the core holds. For tests."""

def kernel(name: str, *arrays: Any) -> Any:
    """Calls one kernel on float32 arrays, for tests: exp, log, softplus, log_sum_exp,
    dense_forward, dense_backward_input, dense_backward_weight, rows_dot,
    rows_weighted_sum, adam, sum_squares."""
