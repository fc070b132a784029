"""Damaged files give a ValueError; files made to deceive at worst an ordinary error."""

import contextlib
import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

import jspgfn
from jspgfn import _files
from long import short_or_long

pytestmark = pytest.mark.long


def examples(n):
    """The same ones at every run, twenty times as many in the long version."""
    return settings(
        max_examples=short_or_long(n, 20 * n),
        deadline=None,
        derandomize=True,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )


@pytest.fixture(scope="module")
def sim():
    return jspgfn.simulate.linear_gaussian(n_variables=4, n_samples=30, random_state=1)


@pytest.fixture(scope="module")
def things(sim):
    gnn = {"batch_size": 8, "n_theta_samples": 2, "n_iter": 3}
    gnn["gnn_options"] = {"n_prefill": 20, "replay_capacity": 40}
    est = jspgfn.JSPGFN(n_iter=10, random_state=0).fit(sim.X)
    two = jspgfn.JSPGFN(n_iter=4, n_policies=2, random_state=0).fit(sim.X)
    exact = jspgfn.ExactPosterior(random_state=0).fit(sim.X)
    discrete = jspgfn.JSPGFN("bdeu", n_iter=10, random_state=0)
    discrete.fit((sim.X > 0).astype(int))
    return {
        "edges": est,
        "policies": two,
        "gnn": jspgfn.JSPGFN(**{**jspgfn.PAPER, **gnn}, random_state=0).fit(sim.X),
        "discrete": discrete,
        "exact": exact,
        "draws": exact.sample(30),
        "tables": discrete.sample(30),
    }


@pytest.fixture(scope="module")
def files(things, tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    for name, thing in things.items():
        thing.save(folder / name)
    return {name: folder / name for name in things}


@pytest.mark.parametrize("name", ["edges", "draws"])
@examples(100)
@given(data=st.data())
def test_any_changed_byte_is_seen(name, files, tmp_path, data):
    content = bytearray(files[name].read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    damaged = tmp_path / "damaged"
    damaged.write_bytes(content)
    with pytest.raises(ValueError, match="damaged"):
        jspgfn.load(damaged)


@pytest.mark.parametrize("name", ["edges", "draws"])
@examples(100)
@given(data=st.data())
def test_files_that_are_cut_off(name, files, tmp_path, data):
    content = files[name].read_bytes()
    damaged = tmp_path / "damaged"
    damaged.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    with pytest.raises(ValueError, match="damaged"):
        jspgfn.load(damaged)


def use(thing):
    """Whatever reaches the core."""
    if isinstance(thing, jspgfn.Posterior):
        thing.edge_probabilities(weighted=True)
        thing.map_graph()
        if "table" in thing.theta:
            thing.conditional_table(0, 1)
        else:
            assert thing.coef.shape == thing.graphs.shape
        return
    post = thing.sample(5)
    thing.log_reward(post.graphs)
    thing.log_prob(post.graphs)
    if isinstance(thing, jspgfn.JSPGFN):
        thing.resume(n_iter=2)


# Errors of Python are no crashes.
ORDINARY = (ValueError, TypeError, ArithmeticError, AttributeError, LookupError)

numbers = st.one_of(
    st.integers(-3, 70),
    st.sampled_from([2**31, 2**63, 2**64, -(2**31), 10**30, 1e300, 0.5, -1.0]),
)
replacements = st.one_of(
    numbers,
    st.none(),
    st.booleans(),
    st.sampled_from(["", "fair", "bge", "linear", [], {}, [[]], {"type": "float"}]),
    st.just({"type": "shared", "part": 0}),
)


def places(tree, path=()):
    """Paths to everything inside a JSON tree."""
    inside = enumerate(tree) if isinstance(tree, list) else ()
    if isinstance(tree, dict):
        inside = tree.items()
    for key, value in inside:
        yield (*path, key)
        yield from places(value, (*path, key))


@pytest.mark.filterwarnings("ignore::jspgfn.JspgfnWarning")
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(
    "name", ["edges", "policies", "gnn", "discrete", "exact", "draws", "tables"]
)
@examples(25)
@given(data=st.data())
def test_files_made_to_deceive(name, files, tmp_path, data):
    """With one value of the content or of an array replaced and a checksum that fits."""
    metadata, arrays = _files.read(files[name])
    if arrays and data.draw(st.booleans()):
        chosen = data.draw(st.sampled_from(sorted(arrays)))
        array = arrays[chosen] = arrays[chosen].copy()
        action = data.draw(st.sampled_from(["value", "shape", "dtype"]))
        if action == "value" and array.size:
            with np.errstate(all="ignore"):
                value = np.array(data.draw(numbers), dtype=np.float64)
                place = data.draw(st.integers(0, array.size - 1))
                array.reshape(-1)[place] = value.astype(array.dtype)
        elif action == "shape":
            arrays[chosen] = array.reshape(-1)[: data.draw(st.integers(0, array.size))]
        else:
            arrays[chosen] = array.astype(
                data.draw(st.sampled_from(["u1", "f4", "i8"]))
            )
    else:
        content = json.loads(metadata["content"])
        path = data.draw(st.sampled_from(list(places(content))))
        inner = content
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = data.draw(replacements)
        metadata["content"] = json.dumps(content)
    metadata["checksum"] = _files.checksum(metadata, arrays)
    changed = tmp_path / "changed"
    save_file(arrays, changed, metadata)
    with contextlib.suppress(*ORDINARY):
        use(jspgfn.load(changed))
