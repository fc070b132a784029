"""What goes into a file comes out of it; a file is the old one or the new one."""

import errno
import os
import resource
import subprocess
import sys
import time

import numpy as np
import pytest
from safetensors.numpy import save_file

import jspgfn
from jspgfn import _files

SMALL_GNN = {
    **jspgfn.PAPER,
    "batch_size": 8,
    "n_theta_samples": 2,
    "gnn_options": {"n_prefill": 30, "replay_capacity": 50},
}


@pytest.fixture(scope="module")
def sim():
    return jspgfn.simulate.linear_gaussian(
        n_variables=4, n_samples=60, interventions=0.3, random_state=1
    )


@pytest.fixture
def path(tmp_path):
    return tmp_path / "thing.safetensors"


def through_a_file(thing, path):
    thing.save(path)
    return jspgfn.load(path)


def assert_same_draws(one, other):
    np.testing.assert_array_equal(one.graphs, other.graphs)
    for name, values in one.theta.items():
        np.testing.assert_array_equal(values, other.theta[name])
    for name in ("log_prob", "log_prob_theta", "log_reward", "weights"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert one.feature_names == other.feature_names


# --- round trips ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "est",
    [
        jspgfn.JSPGFN(n_iter=30, random_state=0),
        jspgfn.JSPGFN(n_iter=9, n_policies=2, random_state=0),
        jspgfn.JSPGFN(**{**SMALL_GNN, "n_iter": 4, "random_state": 0}),
        jspgfn.ExactPosterior(model=jspgfn.NormalInverseGamma(a=2.0), random_state=0),
        jspgfn.StructureMCMC(n_chains=2, n_moves=10**6, random_state=0),
    ],
    ids=["edges", "policies", "gnn", "exact", "chains"],
)
@pytest.mark.filterwarnings("ignore::jspgfn.JspgfnWarning")
def test_estimators(est, table, path):
    est.fit(table)
    est.sample(7)  # moves the stream of draws on
    again = through_a_file(est, path)
    assert type(again) is type(est)
    assert repr(again) == repr(est)
    assert set(vars(again)) >= set(vars(est)) - {"_chains"}
    assert set(vars(again)) - set(vars(est)) <= {"_replicas"}
    assert again.random_seed_ == est.random_seed_
    assert again.feature_names_in_.tolist() == list(table.columns)
    assert again.feature_names_in_.dtype == object
    post = again.sample(20)
    assert_same_draws(est.sample(20), post)
    assert list(post.edge_probabilities().columns) == list(table.columns)


def test_what_training_has_left(fitted, path):
    again = through_a_file(fitted, path)
    assert again.n_iter_ == 120
    assert list(again.history_) == list(fitted.history_)
    for name, values in fitted.history_.items():
        np.testing.assert_array_equal(again.history_[name], values)


@pytest.mark.filterwarnings("ignore::jspgfn.JspgfnWarning")
def test_other_models_and_what_sampling_has_left(sim, path):
    mlp = {**SMALL_GNN, "model": "mlp", "head": "mlp", "n_iter": 2}
    for est in (
        jspgfn.JSPGFN(**mlp, random_state=0),
        jspgfn.JSPGFN("features", n_iter=5, random_state=0),
    ):
        post = est.fit(sim.X).sample(9)
        assert_same_draws(post, through_a_file(post, path))
        again = through_a_file(est, path)
        assert_same_draws(est.sample(9), again.sample(9))
    est = jspgfn.JSPGFN(n_iter=100, warm_start=True, random_state=0)
    est.fit(sim.X).fit(sim.X).sample(5, refine=True)
    again = through_a_file(est, path)
    assert again.refinement_ == est.refinement_
    assert again.warm_start_ == est.warm_start_


def test_interventions_and_discrete_data(sim, path):
    est = jspgfn.JSPGFN(n_iter=5, random_state=0)
    again = through_a_file(est.fit(sim.X, interventions=sim.interventions), path)
    assert_same_draws(est.sample(9), again.sample(9))
    pandas = pytest.importorskip("pandas")
    rng = np.random.default_rng(0)
    words = pandas.DataFrame(
        {
            "colour": rng.choice(["red", "blue"], 40),
            "count": rng.integers(3, size=40),
            "grade": pandas.Categorical(rng.choice(["b", "a"], 40), ["b", "a", "z"]),
            "on": rng.random(40) < 0.5,
        }
    )
    est = jspgfn.JSPGFN("bdeu", n_iter=5, random_state=0).fit(words)
    again = through_a_file(est, path)
    assert again._states == est._states
    assert_same_draws(est.sample(9), again.sample(9))


def labelled_prior():
    pandas = pytest.importorskip("pandas")
    return jspgfn.EdgeProbabilities(
        pandas.DataFrame(np.full((2, 2), 0.3), index=["a", "b"], columns=["a", "b"])
    )


@pytest.mark.parametrize(
    "parameters",
    [
        {"model": jspgfn.BGe(alpha_w=9.5)},
        {"model": jspgfn.BDeu(n_states={"a": 3})},
        {"graph_prior": jspgfn.ErdosRenyi(np.float64(0.4))},
        {"graph_prior": jspgfn.EdgeProbabilities(np.eye(3))},
        {"constraints": jspgfn.Constraints([("a", "b")], tiers=[{"a"}, ("b", "c")])},
        {"candidates": {0: [1, 2]}, "max_time": float("inf"), "n_iter": np.int32(7)},
        {"gnn_options": {"delta": 0.5}, "preprocess": None, "verbose": True},
        {"random_state": np.random.default_rng(3)},
        {"random_state": np.random.RandomState(3)},
        {"random_state": np.random.SeedSequence(3, spawn_key=(1, 2))},
    ],
    ids=lambda parameters: next(iter(parameters)),
)
def test_constructor_parameters(parameters, path):
    est = jspgfn.JSPGFN(**parameters)
    again = through_a_file(est, path)
    for name, value in est.get_params().items():
        restored = again.get_params()[name]
        assert type(restored) is type(value)
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(restored, value)
        elif not hasattr(value, "get_params") and name != "random_state":
            assert restored == value
    state = est.random_state
    if isinstance(state, np.random.Generator):
        assert state.random() == again.random_state.random()
    elif isinstance(state, np.random.RandomState):
        assert state.rand() == again.random_state.rand()
    elif state is not None:
        assert (state.generate_state(4) == again.random_state.generate_state(4)).all()


def test_a_prior_with_names(path):
    again = through_a_file(jspgfn.JSPGFN(graph_prior=labelled_prior()), path)
    assert again.graph_prior.P.equals(labelled_prior().P)


def test_what_cannot_be_saved_is_named(fitted, path):
    class Odd(jspgfn.JSPGFN):
        pass

    with pytest.raises(TypeError, match=r"only JSPGFN, .* can be saved, got Odd"):
        Odd().save(path)
    with pytest.raises(TypeError, match=r"parameter\.constraints\.0 cannot be saved"):
        jspgfn.JSPGFN(constraints=[print]).save(path)
    assert not list(path.parent.iterdir())


def test_posteriors(fitted, posterior, path):
    again = through_a_file(posterior, path)
    assert_same_draws(posterior, again)
    assert posterior.edge_table(weighted=True).equals(again.edge_table(weighted=True))
    assert path.stat().st_size < 300 * (2 + 8 * 17) + 4000  # bits and one per edge
    factor = np.linspace(-1, 1, 300)
    again = through_a_file(posterior.reweight(factor), path)
    np.testing.assert_array_equal(again.weights, posterior.reweight(factor).weights)


@pytest.mark.filterwarnings("ignore::jspgfn.JspgfnWarning")
def test_posteriors_of_other_kinds(table, sim, path):
    chain = jspgfn.StructureMCMC(n_chains=2, n_moves=10**6, random_state=0).fit(table)
    post = chain.sample(30)
    assert_same_draws(post, through_a_file(post, path))
    gnn = jspgfn.JSPGFN(**{**SMALL_GNN, "n_iter": 2, "random_state": 0}).fit(sim.X)
    post = gnn.sample(30)
    assert_same_draws(post, through_a_file(post, path))
    discrete = jspgfn.ExactPosterior("bdeu", random_state=0)
    post = discrete.fit(np.where(sim.X > 0, "yes", "no")).sample(30)
    again = through_a_file(post, path)
    assert_same_draws(post, again)
    expected = post.conditional_table(3, "x1")
    np.testing.assert_array_equal(again.conditional_table(3, "x1"), expected)


# --- resuming ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [{"n_iter": 60}, {**SMALL_GNN, "n_iter": 12}],
    ids=["edges", "gnn"],
)
@pytest.mark.filterwarnings("ignore::jspgfn.NoiseScaleWarning")
def test_resumed_after_a_file_is_as_if_never_interrupted(settings, sim, path):
    est = jspgfn.JSPGFN(**settings, random_state=5)
    whole = jspgfn.JSPGFN(**settings, random_state=5).fit(sim.X)
    est.fit(sim.X, callback=lambda est, info: True)
    assert 0 < est.n_iter_ < settings["n_iter"]
    again = through_a_file(est, path).resume()
    assert again.n_iter_ == whole.n_iter_ == settings["n_iter"]
    for name, values in whole.history_.items():
        np.testing.assert_array_equal(again.history_[name], values)
    assert_same_draws(whole.sample(20), again.sample(20))
    state, other = (e._engine.trainer.get_state() for e in (whole, again))
    for name, value in state.items():
        np.testing.assert_array_equal(value, other[name])


def test_checkpoints_from_a_callback(sim, path):
    def checkpoint(est, info):
        est.save(path)
        raise ZeroDivisionError

    est = jspgfn.JSPGFN(n_iter=40, random_state=5)
    with pytest.raises(ZeroDivisionError):
        est.fit(sim.X, callback=checkpoint)
    again = jspgfn.load(path)
    assert again.n_iter_ == est.n_iter_
    assert_same_draws(est.resume().sample(9), again.resume().sample(9))


# --- writing: all or nothing ---------------------------------------------------------


def test_a_file_is_replaced_and_nothing_is_left_aside(fitted, path):
    path.write_bytes(b"old")
    os.chmod(path, 0o640)
    fitted.save(path)
    assert path.stat().st_mode & 0o777 == 0o640
    assert jspgfn.load(path).n_iter_ == 120
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    link = path.parent / "link"
    link.symlink_to(path)
    fitted.save(str(link))
    assert link.is_symlink()


def test_where_nothing_can_be_written(fitted, tmp_path):
    with pytest.raises(IsADirectoryError, match="is a folder"):
        fitted.save(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no folder .*absent"):
        fitted.save(tmp_path / "absent" / "file")
    with pytest.raises(OSError, match="cannot write /proc/thing"):
        fitted.save("/proc/thing")
    with pytest.raises(FileNotFoundError):
        jspgfn.load(tmp_path / "absent")
    with pytest.raises(IsADirectoryError, match="is a folder"):
        jspgfn.load(tmp_path)


def test_a_full_disk_leaves_the_old_file(fitted, path):
    path.write_bytes(b"old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, limits[1]))
    try:
        with pytest.raises(OSError, match=r"cannot write .*thing.*large"):
            fitted.save(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == b"old"
    assert len(list(path.parent.iterdir())) == 1


def test_a_failing_disk_leaves_the_old_file(fitted, path, monkeypatch):
    def fail(descriptor):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    path.write_bytes(b"old")
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match=r"cannot write .*: Input/output error"):
        fitted.save(path)
    assert path.read_bytes() == b"old"
    assert len(list(path.parent.iterdir())) == 1


# Forks, because a fresh interpreter costs a hundred times more than a save.
KILL = """
import os, random, signal, sys, time, jspgfn
path, random = sys.argv[1], random.Random(0)
est = jspgfn.load(path)
for _ in range(10):
    before = jspgfn.load(path).n_iter
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        for est.n_iter in range(before + 1, 10**9):
            est.save(path)
            os.write(writer, b".")
    os.read(reader, 1)
    time.sleep(random.uniform(0, 0.01))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(writer)
    n_saved = 1
    while more := os.read(reader, 1000):
        n_saved += len(more)
    os.close(reader)
    assert jspgfn.load(path).n_iter - before in (n_saved, n_saved + 1)
print("whole")
"""


def test_killed_at_any_moment(fitted, path):
    """The file is a whole one: the last that was reported as saved, or the next."""
    fitted.set_params(n_iter=0).save(path)
    fitted.set_params(n_iter=120)
    command = [sys.executable, "-c", KILL, str(path)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout == "whole\n"


def test_what_killed_saves_left_goes_with_the_next_save(fitted, path):
    """Only files aside of the same target, and only old ones: others may be at work."""

    def leave(target, age):
        mark = _files.name_mark(target)
        aside = target.with_name(f".{mark}.{age:016x}.jspgfn.tmp")
        aside.write_bytes(b"half")
        then = time.time() - age
        os.utime(aside, (then, then))
        return aside

    old, older = leave(path, 3700), leave(path, 10**6)
    fresh, of_another = leave(path, 10), leave(path.with_name("other"), 3700)
    fitted.save(path)
    assert not old.exists()
    assert not older.exists()
    assert {*path.parent.iterdir()} == {path, fresh, of_another}


def test_a_killed_save_leaves_a_file_that_is_known(fitted, path, monkeypatch):
    monkeypatch.setattr(_files.Path, "unlink", lambda *args, **kwargs: None)
    monkeypatch.setattr(os, "replace", lambda *args: None)
    fitted.save(path)
    monkeypatch.undo()
    (aside,) = path.parent.iterdir()
    os.utime(aside, (0, 0))
    fitted.save(path)
    assert [*path.parent.iterdir()] == [path]


@pytest.mark.parametrize("name", ["n" * 255, "é" * 100, "-", "[a-z]*?"])
def test_names_of_any_length_and_kind(fitted, tmp_path, name):
    through_a_file(fitted, tmp_path / name)
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


# --- files that are not what they should be ------------------------------------------


def test_foreign_files(path, tmp_path):
    for content in (b"", b"\x80\x04K\x01.", b"a,b\n1,2\n", bytes(100)):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"thing\.safetensors is damaged, cut off"):
            jspgfn.load(path)
    save_file({"weights": np.zeros(3)}, path)
    with pytest.raises(ValueError, match="but not one of jspgfn"):
        jspgfn.load(path)


def change(path, arrays=(), **metadata):
    """Rewrites a file with other content and a checksum that fits."""
    old, tensors = _files.read(path)
    tensors.update(arrays)
    new = {**old, **metadata}
    new["checksum"] = _files.checksum(new, tensors)
    save_file(tensors, path, new)


def test_newer_files(fitted, path):
    fitted.save(path)
    change(path, format_version="2", written_by="9.1")
    with pytest.raises(ValueError, match=r"format 2, written by jspgfn 9\.1.*update"):
        jspgfn.load(path)


def test_policies_of_an_older_generator_are_refused(fitted, path):
    older = through_a_file(fitted, path)
    del older._engine._trainer_state["policy"]
    with pytest.raises(ValueError, match="another meaning; fit again"):
        through_a_file(older, path).sample(1)


def test_unknown_content(fitted, path):
    fitted.save(path)
    change(path, kind="Popen")
    with pytest.raises(ValueError, match="unknown kind of object, 'Popen'"):
        jspgfn.load(path)
    change(path, kind="JSPGFN", content="[" * 100_000)
    with pytest.raises(ValueError, match="cannot be used"):
        jspgfn.load(path)


def test_draws_without_rewards_are_refused(posterior, path):
    posterior.save(path)
    content = _files.read(path)[0]["content"]
    assert content.count('"log_reward"') == 1
    change(path, content=content.replace('"log_reward"', '"log_prior"'))
    with pytest.raises(ValueError, match="neither log_reward nor log_reward_joint"):
        jspgfn.load(path)


def test_notes_beside_the_content(fitted, path):
    _files.save(fitted, path, about={"seed": 3})
    assert _files.read_about(path) == {"seed": 3}
    assert jspgfn.load(path).n_iter_ == 120
