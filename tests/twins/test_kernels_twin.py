"""Every kernel of every instruction set against double precision, awkward sizes."""

import hypothesis
import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
import pytest

from jspgfn import _core
from reference import kernels

SETTINGS = hypothesis.settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture],
)
SIZES = st.integers(1, 70)


@pytest.fixture(params=_core.config()["simd_available"], autouse=True)
def simd(request):
    """Each test runs once per instruction set of this processor."""
    before = _core.config()["simd"]
    _core.select_simd(request.param)
    yield request.param
    _core.select_simd(before)


def normal(shape, seed):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def ulps(got, expected):
    """Distance to the exact value in units of the last place of a float."""
    with np.errstate(over="ignore"):
        unit = np.spacing(np.abs(expected).astype(np.float32)).astype(np.float64)
    return np.abs(got.astype(np.float64) - expected) / unit


def call(name, *arrays):
    """Calls a kernel that writes into its last array."""
    return _core.kernel(name, *arrays)


# ---------------------------------------------------------------- elementwise

FUNCTIONS = {  # largest error in ulp, and where it is measured
    "exp": (2, -87.0, 88.7),
    "log": (2, 1e-37, 1e38),
    "softplus": (4, -80.0, 200.0),
}
SPECIAL = np.array([0, -0.0, 1, -np.inf, np.inf, np.nan, 1e-45, 3e38], np.float32)


@pytest.mark.parametrize("name", FUNCTIONS)
@hypothesis.given(
    x=hnp.arrays(
        np.float32,
        st.integers(0, 100),
        elements=st.floats(-100, 300, width=32, allow_subnormal=False),
    )
)
@SETTINGS
def test_elementwise_at_any_length(name, x):
    limit, low, high = FUNCTIONS[name]
    if name == "log":
        x = np.abs(x) + np.float32(1e-30)
    y = np.full_like(x, np.nan)
    call(name, x, y)
    inside = (x > low) & (x < high)
    expected = getattr(kernels, name)(x)
    assert (ulps(y[inside], expected[inside]) <= limit).all()
    alone = np.array([call_one(name, value) for value in x], np.float32)
    np.testing.assert_array_equal(y, alone)  # neighbours do not matter
    call(name, x, x)  # in place
    np.testing.assert_array_equal(x, y)


def call_one(name, value):
    y = np.empty(1, np.float32)
    call(name, np.array([value], np.float32), y)
    return y[0]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_elementwise_error_everywhere(name):
    limit, low, high = FUNCTIONS[name]
    rng = np.random.default_rng(1)
    if name == "log":
        x = np.exp(rng.uniform(np.log(low), np.log(high), 500_000))
        x = np.append(x, 1 + rng.normal(size=100_000) * 1e-3)
    else:
        x = np.append(rng.uniform(low, high, 500_000), rng.normal(size=100_000))
    x = x.astype(np.float32)
    y = np.empty_like(x)
    call(name, x, y)
    assert ulps(y, getattr(kernels, name)(x)).max() <= limit


def test_exp_at_the_ends():
    x = np.array([-np.inf, np.inf, np.nan, 89, 1e30, -104, -1e30, 0], np.float32)
    y = np.empty_like(x)
    call("exp", x, y)
    np.testing.assert_array_equal(y, [0, np.inf, np.nan, np.inf, np.inf, 0, 0, 1])


def test_log_at_the_ends():
    x = np.array([0, -0.0, -1, -np.inf, np.inf, np.nan, 1, 1e-45], np.float32)
    y = np.empty_like(x)
    call("log", x, y)
    expected = [-np.inf, -np.inf, np.nan, np.nan, np.inf, np.nan, 0, -np.inf]
    np.testing.assert_array_equal(y, expected)


def test_softplus_at_the_ends():
    x = np.array([-np.inf, np.inf, np.nan, 1e30, -1e30], np.float32)
    y = np.empty_like(x)
    call("softplus", x, y)
    np.testing.assert_array_equal(y, [0, np.inf, np.nan, np.float32(1e30), 0])


@hypothesis.given(
    x=hnp.arrays(
        np.float32,
        st.integers(0, 100),
        elements=st.one_of(
            st.floats(-200, 200, width=32), st.sampled_from([-np.inf, np.inf])
        ),
    )
)
@SETTINGS
def test_log_sum_exp(x):
    got = _core.kernel("log_sum_exp", x)
    expected = kernels.log_sum_exp(x)
    if np.isinf(expected):
        assert got == expected
    else:
        assert got == pytest.approx(expected, abs=2e-6, rel=1e-6)


@hypothesis.given(
    x=hnp.arrays(np.float32, st.integers(0, 300), elements=st.floats(-9, 9, width=32))
)
@SETTINGS
def test_sum_squares(x):
    assert _core.kernel("sum_squares", x) == pytest.approx(
        kernels.sum_squares(x), rel=1e-12
    )


# ---------------------------------------------------------------- matrices


def close(got, expected, n_terms):
    """Rounding errors of a sum of n_terms products of normal numbers."""
    tolerance = 2e-6 * np.sqrt(n_terms) + 2e-7 * n_terms
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=tolerance)


@hypothesis.given(
    B=SIZES,
    n_in=SIZES,
    n_out=SIZES,
    relu=st.booleans(),
    present=st.tuples(st.booleans(), st.booleans(), st.booleans()),
    seed=st.integers(0, 999),
)
@SETTINGS
def test_dense_forward(B, n_in, n_out, relu, present, seed):
    x, W = normal((B, n_in), seed), normal((n_in, n_out), seed + 1)
    b = normal(n_out, seed + 2) if present[0] else None
    offset = normal((B, n_out), seed + 3) if present[1] else None
    skip = normal((B, n_out), seed + 4) if present[2] else None
    y = np.full((B, n_out), np.nan, np.float32)
    name = "dense_forward_relu" if relu else "dense_forward"
    call(name, x, W, b, offset, skip, y)
    close(y, kernels.dense_forward(x, W, b, offset, relu, skip), n_in)
    row = B // 2  # a row's bits do not depend on the rows beside it
    alone = np.empty((1, n_out), np.float32)
    parts = [None if a is None else a[row : row + 1].copy() for a in (x, offset, skip)]
    call(name, parts[0], W, b, parts[1], parts[2], alone)
    np.testing.assert_array_equal(alone[0], y[row])


@hypothesis.given(B=SIZES, n_in=SIZES, n_out=SIZES, seed=st.integers(0, 999))
@SETTINGS
def test_dense_backward(B, n_in, n_out, seed):
    x, W = normal((B, n_in), seed), normal((n_in, n_out), seed + 1)
    dy = normal((B, n_out), seed + 2)
    dx = np.full((B, n_in), np.nan, np.float32)
    call("dense_backward_input", dy, W, dx)
    close(dx, kernels.dense_backward_input(dy, W), n_out)
    dW, db = normal((n_in, n_out), seed + 3), normal(n_out, seed + 4)
    expected = kernels.dense_backward_weight(x, dy, dW.copy(), db.copy())
    without_bias = dW.copy()
    call("dense_backward_weight", x, dy, dW, db)
    close(dW, expected[0], B)
    close(db, expected[1], B)
    call("dense_backward_weight", x, dy, without_bias, None)
    np.testing.assert_array_equal(without_bias, dW)


@hypothesis.given(B=SIZES, n=SIZES, seed=st.integers(0, 999))
@SETTINGS
def test_rows(B, n, seed):
    x, w, c = normal((B, n), seed), normal(n, seed + 1), normal(B, seed + 2)
    y = np.full(B, np.nan, np.float32)
    call("rows_dot", x, w, y)
    close(y, kernels.rows_dot(x, w), n)
    total = normal(n, seed + 3)
    expected = kernels.rows_weighted_sum(x, c, total.copy())
    call("rows_weighted_sum", x, c, total)
    close(total, expected, B)


@hypothesis.given(n=st.integers(0, 100), seed=st.integers(0, 999))
@SETTINGS
def test_add(n, seed):
    x, y = normal(n, seed), normal(n, seed + 1)
    expected = x + y
    call("add", x, y)
    np.testing.assert_array_equal(y, expected)


@hypothesis.given(n=SIZES, t=st.integers(1, 50), seed=st.integers(0, 999))
@SETTINGS
def test_adam(n, t, seed):
    settings = {
        "learning_rate": 2e-3,
        "beta1": 0.9,
        "beta2": 0.99,
        "correction1": 1 / (1 - 0.9**t),
        "correction2": 1 / (1 - 0.99**t),
        "epsilon": 1e-8,
        "gradient_scale": 0.7,
        "average_decay": 0.995,
    }
    gradient, p, m = (normal(n, seed + k) for k in range(3))
    v = normal(n, seed + 3) ** 2
    average = normal(n, seed + 4)
    expected = kernels.adam(gradient, p, m, v, average, **settings)
    packed = np.array(list(settings.values()), np.float32)
    call("adam", packed, gradient, p, m, v, average)
    for got, wanted in zip((p, m, v, average), expected, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=2e-6)


def test_instruction_sets_are_listed(simd):
    config = _core.config()
    assert config["simd"] == simd
    assert config["simd_available"][0] == "base"
    _core.select_simd("auto")
    assert _core.config()["simd"] == config["simd_available"][-1]
