"""The kernels in double precision. Shapes as in csrc/kernels/jsp_kernels.h."""

import numpy as np


def exp(x):
    with np.errstate(over="ignore"):
        return np.exp(np.asarray(x, np.float64))


def log(x):
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log(np.asarray(x, np.float64))


def softplus(x):
    return np.logaddexp(0.0, np.asarray(x, np.float64))


def log_sum_exp(x, mask=None):
    x = np.asarray(x, np.float64)
    if mask is not None:
        x = x[np.asarray(mask) != 0]
    top = np.max(x, initial=-np.inf)
    if np.isinf(top):
        return top
    return top + np.log(np.sum(np.exp(x - top)))


def dense_forward(x, W, b=None, offset=None, relu=False, skip=None):
    y = np.asarray(x, np.float64) @ np.asarray(W, np.float64)
    y = y if b is None else y + b
    y = y if offset is None else y + offset
    y = np.maximum(y, 0) if relu else y
    return y if skip is None else y + skip


def dense_backward_input(dy, W, dx=None):
    """dy W^T, added to dx if that is given."""
    result = np.asarray(dy, np.float64) @ np.asarray(W, np.float64).T
    return result if dx is None else dx + result


def dense_backward_weight(x, dy, dW, db=None):
    """(dW + x^T dy, db + column sums of dy)."""
    dy = np.asarray(dy, np.float64)
    dW = dW + np.asarray(x, np.float64).T @ dy
    return dW, None if db is None else db + dy.sum(axis=0)


def rows_dot(x, w):
    return np.asarray(x, np.float64) @ np.asarray(w, np.float64)


def rows_weighted_sum(x, c, y):
    return y + np.asarray(c, np.float64) @ np.asarray(x, np.float64)


def adam(
    gradient,
    p,
    m,
    v,
    average,
    *,
    learning_rate,
    beta1,
    beta2,
    correction1,
    correction2,
    epsilon,
    gradient_scale,
    average_decay,
):
    """(p, m, v, average) after one step."""
    g = gradient_scale * np.asarray(gradient, np.float64)
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g**2
    p = p - learning_rate * (m * correction1) / (np.sqrt(v * correction2) + epsilon)
    return p, m, v, average_decay * average + (1 - average_decay) * p


def sum_squares(x):
    return float(np.sum(np.asarray(x, np.float64) ** 2))
