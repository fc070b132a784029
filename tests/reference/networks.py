"""Evidence of a node that is a network, by another road than the package's.

    y = b2 + sum_u w2_u relu(b1_u + w1_u . z) + e,   e ~ N(0, s^2), weights ~ N(0, 1),
    s known, or log s ~ N(-1, 1)

All parameters, output weights and log s too, go from the prior to the posterior by
annealed importance sampling with resampling (Neal, Statistics and Computing 11, 2001; Del
Moral, Doucet and Jasra, JRSS B 68, 2006): moves are Hamiltonian trajectories at the powers
t of the likelihood. Nothing is integrated in closed form, nothing moves unit by unit.
"""

import numpy as np
from scipy.special import logsumexp

LOG_2PI = np.log(2 * np.pi)


class Networks:
    """Many networks side by side; theta [P, chains], P = U (p + 2) + 1 or one more."""

    def __init__(self, z, y, hidden=5, noise_scale=None):
        self.z1 = np.column_stack([z, np.ones(len(y))]).astype(np.float32)
        self.y = np.asarray(y, np.float32)[:, None]
        self.hidden, self.noise_scale = hidden, noise_scale
        self.size = hidden * (self.z1.shape[1] + 1) + 1 + (noise_scale is None)
        self.prior_mean = np.zeros((self.size, 1), np.float32)
        if noise_scale is None:
            self.prior_mean[-1] = -1.0

    def draw_prior(self, rng, chains):
        noise = rng.standard_normal((self.size, chains), dtype=np.float32)
        return self.prior_mean + noise

    def log_prior(self, theta):
        squares = np.sum((theta - self.prior_mean) ** 2, axis=0, dtype=float)
        return -0.5 * (squares + self.size * LOG_2PI)

    def log_likelihood(self, theta):
        """Values [chains] and slopes [P, chains]."""
        U, inputs = self.hidden, self.z1.shape[1]
        w1 = theta[: U * inputs].reshape(U, inputs, -1)
        w2 = theta[U * inputs : U * inputs + U]
        fit = np.repeat(theta[U * inputs + U][None], len(self.y), axis=0)
        active = []
        for u in range(U):
            a = self.z1 @ w1[u]
            np.maximum(a, 0, out=a)
            fit += a * w2[u]
            active.append(a)
        e = self.y - fit
        n, squares = len(e), np.einsum("nc,nc->c", e, e, dtype=float)
        if self.noise_scale is None:
            log_s = theta[-1].astype(float)
        else:
            log_s = np.log(self.noise_scale)
        precision = np.exp(-2 * log_s)
        value = -0.5 * n * LOG_2PI - n * log_s - 0.5 * precision * squares
        slope = np.empty_like(theta)
        e *= np.asarray(precision, np.float32)
        for u in range(U):
            g = e * w2[u]
            g *= active[u] > 0
            slope[u * inputs : (u + 1) * inputs] = self.z1.T @ g
            slope[U * inputs + u] = np.einsum("nc,nc->c", active[u], e)
        slope[U * inputs + U] = e.sum(axis=0)
        if self.noise_scale is None:
            slope[-1] = precision * squares - n
        return value, slope


class Moves:
    """Hamiltonian trajectories, whose steps grow and shrink with what is accepted."""

    def __init__(self, networks, rng, n_steps):
        self.networks, self.rng, self.n_steps = networks, rng, n_steps
        self.step = 0.2

    def run(self, theta, value, slope, t):
        nets, rng, before = self.networks, self.rng, theta
        shape = theta.shape
        momentum = rng.standard_normal(shape, dtype=np.float32)
        step = self.step * rng.uniform(0.7, 1.3, (1, shape[1])).astype(np.float32)
        old = t * value + nets.log_prior(theta) - 0.5 * self._energy(momentum)
        new_value, new_slope = value, slope
        with np.errstate(over="ignore", invalid="ignore"):  # paths that run away
            for _ in range(self.n_steps):
                force = np.float32(t) * new_slope - (theta - nets.prior_mean)
                momentum = momentum + 0.5 * step * force
                theta = theta + step * momentum
                new_value, new_slope = nets.log_likelihood(theta)
                force = np.float32(t) * new_slope - (theta - nets.prior_mean)
                momentum = momentum + 0.5 * step * force
            new = t * new_value + nets.log_prior(theta) - 0.5 * self._energy(momentum)
            chosen = np.log(rng.uniform(size=shape[1])) < new - old
        self.step *= np.exp(0.3 * (chosen.mean() - 0.75))
        return (
            np.where(chosen, theta, before),
            np.where(chosen, new_value, value),
            np.where(chosen, new_slope, slope),
        )

    @staticmethod
    def _energy(momentum):
        return np.sum(momentum**2, axis=0, dtype=float)


def next_step(log_weights, value, rest, kept):
    """The step of t that keeps a share of the conditional effective sample size."""
    w = log_weights - logsumexp(log_weights)

    def share(step):
        one = logsumexp(w + step * value)
        return np.exp(2 * one - logsumexp(w + 2 * step * value))

    if share(rest) >= kept:
        return rest
    low, high = 0.0, rest
    while high - low > 0.01 * high:
        middle = 0.5 * (low + high) if low > 0 else 0.1 * high
        low, high = (middle, high) if share(middle) >= kept else (low, middle)
    return low


def log_evidence(networks, rng, chains=512, kept=0.97, n_moves=3, n_steps=8):
    """Estimate of the log evidence."""
    moves = Moves(networks, rng, n_steps)
    theta = networks.draw_prior(rng, chains)
    value, slope = networks.log_likelihood(theta)
    weights = np.full(chains, -np.log(chains))
    t, total = 0.0, 0.0
    while t < 1:
        step = next_step(weights, value, 1 - t, kept)
        weights = weights + step * value
        t = 1.0 if step >= 1 - t else t + step
        one = logsumexp(weights)
        total, weights = total + one, weights - one
        if t < 1 and np.exp(-logsumexp(2 * weights)) < 0.5 * chains:
            where = (np.arange(chains) + rng.uniform()) / chains
            chosen = np.searchsorted(np.cumsum(np.exp(weights)), where)
            chosen = np.minimum(chosen, chains - 1)
            theta, value, slope = theta[:, chosen], value[chosen], slope[:, chosen]
            weights = np.full(chains, -np.log(chains))
        if t < 1:
            for _ in range(n_moves):
                theta, value, slope = moves.run(theta, value, slope, t)
    return total
