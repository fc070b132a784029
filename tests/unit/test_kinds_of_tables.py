"""The same bits from every way to hold the same numbers, or a refusal by name."""

import decimal
import fractions

import numpy as np
import pytest

import jspgfn

RNG = np.random.default_rng(11)
WHOLE = RNG.integers(-50, 50, (40, 4))
REAL = np.round(RNG.normal(size=(40, 4)), 2).astype(np.float32).astype(np.float64)


def log_reward(X, model="bge", **more):
    est = jspgfn.ExactPosterior(model, n_jobs=1, **more).fit(X)
    graph = np.zeros((4, 4), int)
    graph[0, 2] = graph[1, 2] = graph[2, 3] = 1
    return est.log_reward(graph)[0], est.log_partition_, est.edge_probabilities()


def same(X, plain, **more):
    for found, expected in zip(
        log_reward(X, **more), log_reward(plain, **more), strict=True
    ):
        np.testing.assert_array_equal(np.asarray(found), expected)


def memory_mapped(values, tmp_path):
    path = tmp_path / "table.npy"
    np.save(path, values)
    return np.load(path, mmap_mode="r")


def read_only(values):
    copy = values.copy()
    copy.setflags(write=False)
    return copy


LAYOUTS = {
    "C": lambda x: x,
    "Fortran": np.asfortranarray,
    "every second row": lambda x: np.repeat(x, 2, axis=0)[::2],
    "every second column": lambda x: np.repeat(x, 2, axis=1)[:, ::2],
    "backwards": lambda x: x[::-1, ::-1].copy()[::-1, ::-1],
    "read-only": read_only,
    "big-endian": lambda x: x.astype(x.dtype.newbyteorder(">")),
    "little-endian": lambda x: x.astype(x.dtype.newbyteorder("<")),
    "not aligned": lambda x: (
        np.frombuffer(b"\0" + x.tobytes(), np.uint8)[1:].view(x.dtype).reshape(x.shape)
    ),
    "lists": lambda x: x.tolist(),
    "tuples": lambda x: tuple(map(tuple, x.tolist())),
    "objects": lambda x: x.astype(object),
    "long double": lambda x: x.astype(np.longdouble),
    "matrix": lambda x: np.asmatrix(x),
}


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("values", [REAL, WHOLE], ids=["real", "whole"])
def test_layouts(name, values):
    same(LAYOUTS[name](values), values.astype(float))


@pytest.mark.parametrize("values", [REAL, WHOLE], ids=["real", "whole"])
def test_memory_mapped(values, tmp_path):
    same(memory_mapped(values, tmp_path), values.astype(float))


@pytest.mark.parametrize("kind", ["i1", "i2", "i4", "i8", "f2", "f4", "f8"])
def test_kinds_of_numbers(kind):
    same(WHOLE.astype(kind), WHOLE.astype(float))


@pytest.mark.parametrize("kind", ["u1", "u2", "u4", "u8", "?"])
def test_kinds_without_sign(kind):
    values = (WHOLE > 0).astype(kind)
    same(values, values.astype(float))


def test_float32():
    same(REAL.astype(np.float32), REAL)
    sixth = (REAL / 6).astype(np.float32)
    same(sixth, sixth.astype(np.float64))


@pytest.mark.parametrize("number", [fractions.Fraction, decimal.Decimal])
def test_exact_numbers(number):
    table = [[number(str(entry)) for entry in row] for row in WHOLE.tolist()]
    same(table, WHOLE.astype(float))


@pytest.mark.parametrize(
    "dtype",
    ["Int8", "Int64", "UInt16", "Float32", "Float64", "boolean", "int64[pyarrow]"],
)
def test_nullable_types(dtype):
    pandas = pytest.importorskip("pandas")
    if "pyarrow" in dtype:
        pytest.importorskip("pyarrow")
    values = WHOLE > 0 if dtype == "boolean" else np.abs(WHOLE)
    frame = pandas.DataFrame(values, columns=list("abcd"))
    same(frame.astype(dtype), values.astype(float))
    missing = frame.astype(dtype)
    missing.loc[5, "c"] = pandas.NA
    with pytest.raises(ValueError, match=r"1 NaN entries, in columns 'c' .*row 5"):
        log_reward(missing)


def test_other_tables_of_pandas():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(REAL, columns=list("abcd"))
    same(frame[::-1][::-1], REAL)
    same(frame.set_index(np.arange(40) * 3 % 7), REAL)  # repeated labels of rows
    mixed = frame.assign(a=WHOLE[:, 0].astype(np.int8), b=frame["b"].astype(np.float32))
    same(mixed, np.column_stack([WHOLE[:, 0], REAL[:, 1:]]))
    sparse = pandas.DataFrame(WHOLE, columns=list("abcd")).astype(
        pandas.SparseDtype("int64", 0)
    )
    same(sparse, WHOLE.astype(float))


REFUSED = {
    "complex": (REAL + 1j, "complex"),
    "text": (REAL.astype(str), "'x0' is not numeric"),
    "bytes": (REAL.astype("S"), "'x0' is not numeric"),
    "dates": (WHOLE.astype("M8[D]"), "'x0' is not numeric"),
    "spans of time": (WHOLE.astype("m8[s]"), "'x0' is not numeric"),
    "records": (np.zeros(40, "f8, f8"), "2D"),
    "repeated row": (np.broadcast_to(REAL[0], (40, 4)), "constant columns: 'x0'"),
    "none": (np.full((40, 4), None), "NaN|not numeric"),
    "nothing": (np.empty((0, 4)), "n_samples=0"),
    "no columns": (np.empty((40, 0)), "0 feature"),
    "one row": (REAL[:1], "n_samples=1"),
    "signed infinity": (np.where(WHOLE > 45, -np.inf, REAL), "infinite .* 'x"),
    "too large": (np.where(WHOLE > 45, 1e200, REAL), "beyond 1e.140.* 'x"),
    "too large for a double": (
        REAL.astype(np.longdouble) * np.longdouble("1e400"),
        "inf|beyond",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("model", ["linear", "nig", "bge", "features"])
def test_refused(name, model):
    X, message = REFUSED[name]
    with pytest.raises((ValueError, TypeError), match=message):
        log_reward(X, model)


# --- discrete data -------------------------------------------------------------------


STATES = np.abs(WHOLE) % 3


@pytest.mark.parametrize(
    "name", [name for name in LAYOUTS if name not in ("long double",)]
)
def test_layouts_of_states(name):
    same(LAYOUTS[name](STATES), STATES, model="bdeu")


@pytest.mark.parametrize("kind", ["i1", "i2", "i8", "u1", "u8", "U3", "S3", "O"])
def test_kinds_of_states(kind):
    same(STATES.astype(kind), STATES, model="bdeu")


@pytest.mark.parametrize("dtype", ["Int8", "string", "category", "str"])
def test_pandas_states(dtype):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(STATES, columns=list("abcd"))
    if dtype in ("string", "category"):
        frame = frame.astype(str)
    same(frame.astype(dtype), STATES, model="bdeu")
