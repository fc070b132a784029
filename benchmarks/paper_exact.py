"""Exact answers about the published method on small linear problems.

theta of node j given parents S is normal with precision L_SS and mean
L_SS^-1 (X'x_j)_S / s^2, L = X'X / s^2 + I (prior variance 1). A head's normal has
its own mean and precision U'U.
"""

import numpy as np

from jspgfn import _core

CHUNK = 2048
LOG_2PI = np.log(2 * np.pi)


def normalised(log_weights):
    return np.exp(log_weights - np.logaddexp.reduce(log_weights))


def total_variation(p, q):
    return 0.5 * np.abs(p - q).sum()


class LinearExact:
    """Conditional posteriors of the weights of all graphs at once, as D x D matrices in
    which absent parents have precision 1 and mean 0."""

    def __init__(self, X, noise_variance=0.1):
        self.moment = X.T @ X / noise_variance
        self.precision = self.moment + np.eye(X.shape[1])

    def conditional(self, graphs):
        """Masks (n, D, D) [g, child, parent], precisions (n, D, D, D), means (n, D, D)."""
        mask = np.swapaxes(graphs, 1, 2).astype(float)
        pairs = mask[..., :, None] * mask[..., None, :]
        rest = (1 - mask)[..., None] * np.eye(mask.shape[1])
        precision = pairs * self.precision + rest
        mean = np.linalg.solve(precision, (mask * self.moment)[..., None])[..., 0]
        return mask, precision, mean

    def divergence_of_best_diag(self, graphs):
        """KL of the best independent normals, precisions L_aa, from the exact ones."""
        mask, precision, _ = self.conditional(graphs)
        log_diagonal = np.log(np.einsum("gijj->gij", precision)) * mask
        log_det = np.linalg.slogdet(precision)[1]
        return 0.5 * (log_diagonal.sum(axis=2) - log_det).sum(axis=1)

    def entropy(self, graphs):
        """Of the exact conditional posterior of every graph, all nodes together."""
        mask, precision, _ = self.conditional(graphs)
        log_det = np.linalg.slogdet(precision)[1].sum(axis=1)
        return 0.5 * (mask.sum(axis=(1, 2)) * (1 + LOG_2PI) - log_det)

    def divergence_of_head(self, graphs, trainer, kind):
        """KL(P(theta | G) of the head, exact conditional posterior) of every graph."""
        return self._of_heads(self._divergence, graphs, trainer, kind)

    def cross_entropy_of_head(self, graphs, trainer, kind):
        """-E log q(theta | G) of every graph, theta from the exact conditional."""
        return self._of_heads(self._cross_entropy, graphs, trainer, kind)

    def _of_heads(self, figure, graphs, trainer, kind):
        D = graphs.shape[1]
        network, head = _core.GnnNetwork(D), _core.GnnHead(kind, D)
        values = trainer.parameters()
        for part in (network, head):
            part.set_parameters({name: values[name] for name in part.parameters()})
        out = np.empty(len(graphs))
        for first in range(0, len(graphs), CHUNK):
            some = np.ascontiguousarray(graphs[first : first + CHUNK], np.uint8)
            nodes, whole = network.forward(some, np.zeros_like(some), 1.0)[1:]
            noise = np.zeros((len(some), 1, D, D))
            loc, factor = head.forward(some, nodes, whole, noise)[:2]
            out[first : first + CHUNK] = figure(some, loc, factor)
        return out

    def _divergence(self, graphs, loc, factor):
        mask, precision, mean = self.conditional(graphs)
        factor = padded(factor, mask)
        inverse = np.linalg.inv(factor)
        trace = np.einsum("gijk,gilk,gijl->gi", inverse, inverse, precision)
        off = loc * mask - mean
        square = np.einsum("gij,gijk,gik->gi", off, precision, off)
        log_ratio = log_det_of(factor) - np.linalg.slogdet(precision)[1]
        return 0.5 * (trace - mask.shape[1] + square + log_ratio).sum(axis=1)

    def _cross_entropy(self, graphs, loc, factor):
        mask, precision, mean = self.conditional(graphs)
        factor = padded(factor, mask)
        covariance = np.linalg.inv(precision)
        trace = np.einsum("gijk,gijl,gikl->gi", factor, factor, covariance)
        square = np.einsum("gijk,gik->gij", factor, loc * mask - mean)
        D = mask.shape[1]
        absent = D - mask.sum(axis=2)  # each adds 1 to the trace
        part = trace - absent + (square**2).sum(axis=2) - log_det_of(factor)
        return 0.5 * (part + mask.sum(axis=2) * LOG_2PI).sum(axis=1)


def padded(factor, mask):
    """U of a head, with the identity where a parent is absent."""
    pairs = mask[..., :, None] * mask[..., None, :]
    return factor * pairs + (1 - mask)[..., None] * np.eye(mask.shape[1])


def log_det_of(factor):
    """Of the precision U'U."""
    return 2 * np.log(np.einsum("gijj->gij", factor)).sum(axis=2)
