"""Slow twin of the published method's heads and loss, from their formulas.

Everything is float64 and written for clarity. The network itself is not here: features
and log-probabilities of actions come in, gradients with respect to them go out.

A graph's parameters have shape (D, P), row i = variable i; in linear models P = D and
theta[i, j] is the weight of j in the equation of i, so masks are transposed adjacencies.
With P = U (D + 2) + 1 variable i is a network with U units of its parents.
"""

import numpy as np

NOISE_VARIANCE = 0.1
LOG_2PI = np.log(2 * np.pi)


def softplus(x):
    return np.logaddexp(0, x)


def sigmoid(x):
    return np.exp(-softplus(-x))


class Mlp:
    """Linear, ReLU, linear; gradients of the weights are collected by name."""

    def __init__(self, params, first, last):
        self.params, self.names = params, (first, last)

    def forward(self, x):
        first, last = self.names
        self.x = x
        hidden = x @ self.params[first + ".w"] + self.params[first + ".b"]
        self.hidden = np.maximum(hidden, 0)
        return self.hidden @ self.params[last + ".w"] + self.params[last + ".b"]

    def backward(self, d_out, gradients):
        first, last = self.names
        rows = d_out.reshape(-1, d_out.shape[-1])
        hidden = self.hidden.reshape(len(rows), -1)
        gradients[last + ".w"] = gradients.get(last + ".w", 0) + hidden.T @ rows
        gradients[last + ".b"] = gradients.get(last + ".b", 0) + rows.sum(0)
        d_hidden = (d_out @ self.params[last + ".w"].T) * (self.hidden > 0)
        rows = d_hidden.reshape(len(rows), -1)
        x = self.x.reshape(len(rows), -1)
        gradients[first + ".w"] = gradients.get(first + ".w", 0) + x.T @ rows
        gradients[first + ".b"] = gradients.get(first + ".b", 0) + rows.sum(0)
        return d_hidden @ self.params[first + ".w"].T


def concatenate(nodes, globals_):
    wide = np.broadcast_to(globals_[:, None, :], nodes.shape)
    return np.concatenate([nodes, wide], axis=2)


class DiagonalHead:
    """Independent normals; `linear` masks loc and scale, `mlp` does not."""

    def __init__(self, params, masked=True):
        prefix = "posterior_parameters."
        self.mlp = Mlp(params, prefix + "edges.linear_0", prefix + "linear")
        self.masked = masked

    def forward(self, nodes, globals_, mask):
        out = self.mlp.forward(concatenate(nodes, globals_))
        self.mask = np.asarray(mask, float)
        inner = self.mask if self.masked else np.ones_like(self.mask)
        location, raw = np.split(out, 2, axis=2)
        self.inner, self.raw = inner, raw * inner
        self.loc, self.scale = location * inner, softplus(raw * inner)

    def sample(self, eps):
        """eps and theta (B, K, D, P)."""
        self.eps = eps
        return (self.loc[:, None] + self.scale[:, None] * eps) * self.mask[:, None]

    def log_prob(self, theta):
        """(B, K, D)"""
        self.e = (theta - self.loc[:, None]) / self.scale[:, None]
        terms = self.e**2 + LOG_2PI + 2 * np.log(self.scale)[:, None]
        return -0.5 * (terms * self.mask[:, None]).sum(3)

    def log_prob_backward(self, d):
        """d (B, K): gradient of the sum over variables of log_prob, theta fixed."""
        d = d[:, :, None, None] * self.mask[:, None] / self.scale[:, None]
        self.d_loc = (d * self.e).sum(1)
        self.d_scale = (d * (self.e**2 - 1)).sum(1)

    def negative_slope(self):
        """- d log_prob / d theta at the samples."""
        return self.eps / self.scale[:, None] * self.mask[:, None]

    def slope_backward(self, d_slope, d_theta):
        """Adds gradients through negative_slope and through the samples."""
        mask, eps = self.mask[:, None], self.eps
        self.d_loc += (d_theta * mask).sum(1)
        self.d_scale += (d_theta * mask * eps).sum(1)
        self.d_scale -= (d_slope * mask * eps / self.scale[:, None] ** 2).sum(1)

    def backward(self, gradients):
        """Gradients of node and global features."""
        d_raw = self.d_scale * sigmoid(self.raw) * self.inner
        d_out = np.concatenate([self.d_loc * self.inner, d_raw], axis=2)
        d_x = self.mlp.backward(d_out, gradients)
        half = d_x.shape[2] // 2
        return d_x[..., :half], d_x[..., half:].sum(1)


class FullHead:
    """Normals with precision U^T U, U upper triangular."""

    def __init__(self, params):
        prefix = "posterior_parameters.edges."
        self.mlp = Mlp(params, prefix + "linear_0", prefix + "linear_1")

    def forward(self, nodes, globals_, mask):
        del globals_
        B, D, _ = nodes.shape
        out = self.mlp.forward(nodes)
        self.mask = mask = np.asarray(mask, float)
        self.upper = np.triu_indices(D, 1)
        self.both = mask[..., :, None] * mask[..., None, :]
        self.raw = out[..., D : 2 * D]
        self.loc = out[..., :D] * mask
        self.U = np.zeros((B, D, D, D))
        self.U[..., self.upper[0], self.upper[1]] = out[..., 2 * D :]
        self.U *= self.both
        diagonal = np.where(mask > 0, softplus(self.raw), 1.0)
        self.U[..., range(D), range(D)] = diagonal
        self.inverse = np.linalg.inv(self.U)

    def sample(self, eps):
        self.eps = eps
        self.white = np.einsum("bdij,bkdj->bkdi", self.inverse, eps)
        return (self.loc[:, None] + self.white) * self.mask[:, None]

    def log_prob(self, theta):
        self.centred = theta - self.loc[:, None]
        self.w = np.einsum("bdij,bkdj->bkdi", self.U, self.centred)
        diagonal = np.diagonal(self.U, axis1=2, axis2=3)
        constant = self.mask.sum(2) * LOG_2PI - 2 * np.log(diagonal).sum(2)
        return -0.5 * (constant[:, None] + (self.w**2).sum(3))

    def log_prob_backward(self, d):
        d = d[:, :, None, None]
        self.d_loc = np.einsum("bdij,bkdi->bdj", self.U, d * self.w)
        self.d_U = -np.einsum("bkdi,bkdj->bdij", d * self.w, self.centred)
        diagonal = np.diagonal(self.U, axis1=2, axis2=3)
        for i in range(diagonal.shape[2]):
            self.d_U[..., i, i] += d.sum((1, 2, 3))[:, None] / diagonal[..., i]

    def negative_slope(self):
        slope = np.einsum("bdij,bkdi->bkdj", self.U, self.eps)
        return slope * self.mask[:, None]

    def slope_backward(self, d_slope, d_theta):
        mask = self.mask[:, None]
        self.d_loc += (d_theta * mask).sum(1)
        self.d_U += np.einsum("bkdi,bkdj->bdij", self.eps, d_slope * mask)
        back = np.einsum("bdji,bkdj->bkdi", self.inverse, d_theta * mask)
        self.d_U -= np.einsum("bkdi,bkdj->bdij", back, self.white)

    def backward(self, gradients):
        D = self.mask.shape[2]
        diagonal = np.diagonal(self.d_U, axis1=2, axis2=3)
        d_upper = (self.d_U * self.both)[..., self.upper[0], self.upper[1]]
        d_out = [
            self.d_loc * self.mask,
            diagonal * sigmoid(self.raw) * self.mask,
            d_upper,
        ]
        d_x = self.mlp.backward(np.concatenate(d_out, axis=2), gradients)
        assert d_x.shape[1] == D
        return d_x, np.zeros((len(d_x), d_x.shape[2]))


def make_head(name, params):
    params = {key: np.asarray(value, float) for key, value in params.items()}
    if name == "lingauss_full":
        return FullHead(params)
    return DiagonalHead(params, masked=name == "lingauss_diag")


def mlp_mask(adjacency, hidden=5):
    """(B, D, 5 D + 11): hidden-weight rows of non-parents are off."""
    B, D, _ = adjacency.shape
    mask = np.ones((B, D, hidden * D + 2 * hidden + 1))
    parents = np.swapaxes(adjacency, 1, 2)
    mask[..., hidden : hidden * (D + 1)] = np.repeat(parents, hidden, axis=2)
    return mask


def log_likelihood(theta, data, interventions):
    """(B, K), and its gradient with respect to theta."""
    model = MlpModel if theta.shape[3] != data.shape[1] else LinearModel
    return model(data, interventions).log_likelihood(theta)


class LinearModel:
    """theta[b, k, i, j] is the weight of j in the equation of i."""

    def __init__(self, data, interventions):
        self.data, self.observed = data, 1.0 - interventions

    def log_likelihood(self, theta):
        """(B, K), and its gradient with respect to theta."""
        mean = np.einsum("nj,bkij->bkni", self.data, theta)
        error = (self.data - mean) * self.observed
        value = log_normal(error, self.observed)
        return value, np.einsum("bkni,nj->bkij", error, self.data) / NOISE_VARIANCE

    def bend(self, theta, d):
        """Second derivatives of log_likelihood applied to d."""
        del theta
        gram = np.einsum("ni,nj,nk->ijk", self.observed, self.data, self.data)
        return -np.einsum("ijk,bnij->bnik", gram, d) / NOISE_VARIANCE


class MlpModel:
    """theta[b, k, i] holds b1 (U), w1 (D, U), b2, w2 (U) of variable i."""

    def __init__(self, data, interventions):
        self.data, self.observed = data, 1.0 - interventions

    def split(self, theta):
        D = self.data.shape[1]
        U = (theta.shape[3] - 1) // (D + 2)
        w1 = theta[..., U : U * (D + 1)].reshape(*theta.shape[:3], D, U)
        last = U * (D + 1)
        return theta[..., :U], w1, theta[..., last], theta[..., last + 1 :]

    def inputs(self, theta):
        """Of the units, (B, K, N, D, U)."""
        b1, w1, _, _ = self.split(theta)
        return np.einsum("nj,bkiju->bkniu", self.data, w1) + b1[:, :, None]

    def join(self, d_f, d_z):
        """Gradients of theta but for w2, whose place stays free."""
        d_b1 = d_z.sum(2)
        d_w1 = np.einsum("bkniu,nj->bkiju", d_z, self.data)
        parts = d_b1, d_w1.reshape(*d_b1.shape[:3], -1), d_f.sum(2)[..., None]
        return np.concatenate([*parts, np.zeros_like(d_b1)], axis=3)

    def log_likelihood(self, theta):
        z = self.inputs(theta)
        _, _, b2, w2 = self.split(theta)
        hidden = np.maximum(z, 0)
        mean = b2[:, :, None] + np.einsum("bkniu,bkiu->bkni", hidden, w2)
        error = (self.data - mean) * self.observed
        d_f = error / NOISE_VARIANCE
        slope = self.join(d_f, d_f[..., None] * w2[:, :, None] * (z > 0))
        slope[..., -w2.shape[3] :] = np.einsum("bkni,bkniu->bkiu", d_f, hidden)
        return log_normal(error, self.observed), slope

    def bend(self, theta, d):
        z, dz = self.inputs(theta), self.inputs(d)
        _, _, b2, w2 = self.split(theta)
        _, _, d_b2, d_w2 = self.split(d)
        hidden, d_hidden = np.maximum(z, 0), dz * (z > 0)
        mean = b2[:, :, None] + np.einsum("bkniu,bkiu->bkni", hidden, w2)
        moved = d_b2[:, :, None] + np.einsum("bkniu,bkiu->bkni", hidden, d_w2)
        moved += np.einsum("bkniu,bkiu->bkni", d_hidden, w2)
        e = (self.data - mean) * self.observed / NOISE_VARIANCE
        de = -moved * self.observed / NOISE_VARIANCE
        d_z = de[..., None] * w2[:, :, None] + e[..., None] * d_w2[:, :, None]
        bent = self.join(de, d_z * (z > 0))
        bent[..., -w2.shape[3] :] = np.einsum("bkni,bkniu->bkiu", de, hidden)
        bent[..., -w2.shape[3] :] += np.einsum("bkni,bkniu->bkiu", e, d_hidden)
        return bent


def log_normal(error, observed):
    """Summed over rows and variables; errors of cells that do not count are 0."""
    constant = np.log(2 * np.pi * NOISE_VARIANCE) * observed
    return -0.5 * (error**2 / NOISE_VARIANCE + constant).sum((2, 3))


def log_prior(theta, mask):
    return -0.5 * ((theta**2 + LOG_2PI) * mask[:, None]).sum((2, 3))


def huber(x, delta):
    size = np.abs(x)
    return np.where(size <= delta, x**2 / 2, delta * (size - delta / 2))


class Side:
    """One side of the transitions: graph G or G'."""

    def __init__(self, head, features, adjacency, eps, data, interventions):
        self.head = head
        D = adjacency.shape[1]
        self.mask = np.swapaxes(adjacency, 1, 2).astype(float)
        if eps.shape[3] != D:
            self.mask = mlp_mask(adjacency, (eps.shape[3] - 1) // (D + 2))
        model = LinearModel if eps.shape[3] == D else MlpModel
        self.model = model(data, interventions)
        head.forward(*features, self.mask)
        self.theta = head.sample(eps)
        self.log_lik, slope = self.model.log_likelihood(self.theta)
        self.log_prior = log_prior(self.theta, self.mask)
        self.score = self.log_lik + self.log_prior
        self.log_p = head.log_prob(self.theta).sum(2)
        active = np.maximum(self.mask.sum((1, 2)), 1)
        self.penalty_scale = 1 / (eps.shape[1] * active)
        # gradient of score - log_prob with respect to theta
        self.slope = (slope - self.theta + head.negative_slope()) * self.mask[:, None]
        self.penalty = (self.slope**2).sum((1, 2, 3)) * self.penalty_scale

    def backward(self, d_log_p, d_penalty, gradients):
        """Gradients of features, given those of log_p (B, K) and penalty (B,)."""
        self.head.log_prob_backward(d_log_p)
        d = (d_penalty * self.penalty_scale)[:, None, None, None] * 2 * self.slope
        d_theta = (self.model.bend(self.theta, d) - d) * self.mask[:, None]
        self.head.slope_backward(d, d_theta)
        return self.head.backward(gradients)


def loss(case, before, after, log_pi_before, log_pi_after, penalty_weight=1.0):
    """Terms of the loss by the keys of the golden files, and gradients: of log_pi on both
    sides, of log_p on both sides, and the weight of each side's penalty."""
    B, K = before.score.shape
    N, delta = float(case["N"]), float(case["delta"])
    rows = np.arange(B)
    delta_score = after.score[:, :, None] - before.score[:, None, :]
    policy = (
        log_pi_before[:, -1] - log_pi_before[rows, case["action"]] - log_pi_after[:, -1]
    )
    residual = (
        delta_score
        + (policy - np.log1p(case["num_edges"]))[:, None, None]
        + before.log_p[:, None, :]
        - after.log_p[:, :, None]
    )
    terms = huber(residual / N, delta).mean((1, 2))
    penalties = 0.5 * (before.penalty + after.penalty)
    values = {
        "delta_score": delta_score,
        "residual": residual,
        "huber_mean": terms,
        "loss_term1": terms.mean(),
        "loss": (terms + penalties).mean(),
    }
    d = np.clip(residual / N, -delta, delta) / (N * K * K * B)
    d_before, d_after = np.zeros_like(log_pi_before), np.zeros_like(log_pi_after)
    d_before[rows, case["action"]] -= d.sum((1, 2))
    d_before[:, -1] += d.sum((1, 2))
    d_after[:, -1] -= d.sum((1, 2))
    d_penalty = np.full(B, 0.5 * penalty_weight / B)
    return values, d_before, d_after, d.sum(1), -d.sum(2), d_penalty
