"""gfnx: its environment of DAGs and its rewards, with a network and a loop written here.

The package has environments, rewards and rollouts, and leaves networks and training to its
user. Here: two hidden layers of 128 units on the adjacency matrix, the modified detailed
balance loss of Deleu et al. (UAI 2022), which is what the package's delta_score is for, 32
trajectories an update, half of the first half of them explored, Adam.
"""

import itertools
import math
import time

import _protocol as protocol
import numpy as np

N_ENVS = 32
HIDDEN = 128
N_GRAPHS = 10_000
RATE = 1e-3
EXPLORE = 0.5  # share of random actions at first, down to 0 at half of the training
BATCH = 20  # updates between looks at the clock, of five variables
DRAWING = 0.1  # share of the budget


def estimate(task):
    model, prior = protocol.expect(task, ("linear", "bge"), ("uniform", "fair"))
    import jax

    begin = time.process_time()
    agent = Agent(task, model, prior)
    state = agent.start(jax.random.PRNGKey(task.seed))
    agent.update(state, 0.0)  # compiled here, thrown away
    agent.draw(state)
    for_compilation = time.process_time() - begin
    started, updates = time.process_time(), 0
    budget, used = (1 - DRAWING) * task.budget, 0.0
    while used < budget or not updates:
        state = agent.update(state, used / budget)
        updates += agent.batch
        used = time.process_time() - started
    graphs = []
    while sum(map(len, graphs)) < N_GRAPHS and (
        not graphs or time.process_time() - started < task.budget
    ):
        state, some = agent.draw(state)
        graphs.append(some)
    graphs = np.concatenate(graphs)
    info = {
        "model": model,
        "prior": prior,
        "updates": updates,
        "trajectories": updates * N_ENVS,
        "compile_seconds": for_compilation,
        "not matched": "nothing in the target; network and loop are ours"
        + (", and so is the linear score" if model == "linear" else ""),
    }
    seconds = time.process_time() - begin
    return protocol.Found(graphs.mean(axis=0), seconds, info, graphs)


def reward_of(task, model, prior):
    """Rewards of the package, but the linear evidence, whose shipped version adds the log
    determinant where it must be taken off (gfnx 0.0.1), and the prior `fair`."""
    import jax.numpy as jnp
    from gfnx.reward.dag import DAGRewardModule
    from gfnx.reward.dag_likelihood import BGeScore, LinearGaussianScore
    from gfnx.reward.dag_prior import BaseDAGPrior, UniformDAGPrior

    x, d = protocol.prepared(task), task.n_variables
    noise = task.settings.get("noise_scale", protocol.PAPER_NOISE)
    scale = task.settings.get("weight_scale", 1.0)
    gram = jnp.asarray(x.T @ x / noise**2)

    class Linear(LinearGaussianScore):
        def _local_score(self, variables, parents, likelihood_params):
            """Log evidence of known noise, up to a constant of the data."""
            on = parents.astype(gram.dtype)
            pairs = on[:, :, None] * on[:, None, :]
            precision = pairs * gram + jnp.eye(d) / scale**2
            to_child = on * gram[variables]
            fit = jnp.linalg.solve(precision, to_child[..., None])[..., 0]
            log_det = jnp.linalg.slogdet(precision)[1] + 2 * d * math.log(scale)
            return 0.5 * ((to_child * fit).sum(axis=1) - log_det)

    class Fair(BaseDAGPrior):
        def log_prob(self, state, env_params):
            table = jnp.asarray(protocol.log_fair(d))
            return table[self.num_parents(state)].sum(axis=1)

    data = jnp.asarray(x)
    likelihood = Linear(data) if model == "linear" else BGeScore(data)
    return DAGRewardModule(
        prior=UniformDAGPrior(d) if prior == "uniform" else Fair(),
        likelihood=likelihood,
    )


class Agent:
    """Policy, its optimiser, compiled updates and draws."""

    def __init__(self, task, model, prior):
        import jax
        import optax

        jax.config.update("jax_enable_x64", True)  # rewards; the network is float32
        self.d = task.n_variables
        self.batch = max(1, int(BATCH * (5 / self.d) ** 2))
        self.env = environment(reward_of(task, model, prior), self.d)
        self.env_params = self.env.init(jax.random.PRNGKey(0))
        self.adam = optax.chain(optax.clip_by_global_norm(10.0), optax.adam(RATE))
        self.update = jax.jit(self._update)
        self._draw_some = jax.jit(self._draw)

    def start(self, key):
        import jax
        import jax.numpy as jnp

        sizes = [self.d**2, HIDDEN, HIDDEN, self.d**2 + 1]
        weights = []
        for n, m in itertools.pairwise(sizes):
            key, one = jax.random.split(key)
            spread = math.sqrt(2 / n) if m == HIDDEN else 0.01 / math.sqrt(n)
            w = spread * jax.random.normal(one, (n, m), jnp.float32)
            weights.append((w, jnp.zeros(m, jnp.float32)))
        return weights, self.adam.init(weights), key

    def logits(self, weights, adjacency):
        import jax.numpy as jnp

        y = adjacency.reshape(len(adjacency), -1).astype(jnp.float32)
        for k, (w, b) in enumerate(weights):
            y = y @ w + b
            if k < len(weights) - 1:
                y = jnp.maximum(y, 0)
        return y

    def log_policy(self, weights, state):
        """Of every legal action; the last is to stop."""
        import jax
        import jax.numpy as jnp

        invalid = self.env.get_invalid_mask(state, self.env_params)
        logits = self.logits(weights, state.adjacency_matrix)
        return jax.nn.log_softmax(jnp.where(invalid, -jnp.inf, logits), axis=1), invalid

    def walk(self, weights, key, explore):
        """One trajectory in each environment: transitions, stacked along time."""
        import jax
        import jax.numpy as jnp

        def step(carry, key):
            state = carry
            log_p, invalid = self.log_policy(weights, state)
            uniform = jnp.where(invalid, -jnp.inf, 0.0)
            by_policy, by_chance, choice = jax.random.split(key, 3)
            at_random = jax.random.uniform(choice, (N_ENVS,)) < explore
            action = jnp.where(
                at_random,
                jax.random.categorical(by_chance, uniform, axis=1),
                jax.random.categorical(by_policy, log_p, axis=1),
            )
            new, _, _ = self.env.transition(state, action, self.env_params)
            return new, (state, action, new)

        _, first = self.env.reset(N_ENVS, self.env_params)
        keys = jax.random.split(key, self.env.max_steps_in_episode)
        return jax.lax.scan(step, first, keys)

    def loss(self, weights, transitions):
        """Modified detailed balance on steps that add an edge; Huber."""
        import jax
        import jax.numpy as jnp
        import optax

        flat = jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), transitions)
        state, action, new = flat
        adds = ~state.is_terminal & (action != self.d**2)
        here, _ = self.log_policy(weights, state)
        there, _ = self.log_policy(weights, new)
        forward = jnp.take_along_axis(here, action[:, None], 1)[:, 0]
        forward = jnp.where(adds, forward, 0.0)
        edges = jnp.maximum(new.adjacency_matrix.sum(axis=(1, 2)), 1)
        action = jnp.where(adds, action, 0)
        gain = self.env.reward_module.delta_score(state, action, new, self.env_params)
        balance = gain - jnp.log(edges) + here[:, -1] - forward - there[:, -1]
        return (jnp.where(adds, optax.huber_loss(balance), 0.0)).sum() / adds.sum()

    def _update(self, state, done):
        import jax
        import jax.numpy as jnp
        import optax

        explore = EXPLORE * jnp.maximum(0.0, 1 - 2 * done)

        def one(state, _):
            weights, moments, key = state
            key, now = jax.random.split(key)
            _, transitions = self.walk(weights, now, explore)
            gradient = jax.grad(self.loss)(weights, transitions)
            change, moments = self.adam.update(gradient, moments)
            return (optax.apply_updates(weights, change), moments, key), None

        return jax.lax.scan(one, state, None, length=self.batch)[0]

    def _draw(self, state):
        import jax

        weights, moments, key = state
        key, now = jax.random.split(key)
        last, _ = self.walk(weights, now, 0.0)
        return (weights, moments, key), last.adjacency_matrix

    def draw(self, state):
        state, graphs = self._draw_some(state)
        return state, np.asarray(graphs, np.uint8)


def environment(reward, d):
    """The package's; its list of all DAGs of five variables (minutes) is not made."""
    from gfnx.environment.dag import DAGEnvironment

    class Plain(DAGEnvironment):
        is_enumerable = False

    return Plain(reward, d)


if __name__ == "__main__":
    protocol.run(estimate, "gfnx")
