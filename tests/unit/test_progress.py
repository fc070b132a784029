"""Callbacks, the bar and the expected time."""

import fcntl
import os
import pty
import struct
import sys
import termios
from types import SimpleNamespace

import numpy as np
import pytest

import jspgfn
from jspgfn import _engine, _progress


@pytest.fixture(scope="module")
def sim():
    return jspgfn.simulate.linear_gaussian(n_variables=4, n_samples=60, random_state=1)


def test_what_a_callback_sees(sim):
    seen = []

    def watch(est, info):
        assert est.n_iter_ == info["n_updates"] == len(est.history_["gap"])
        assert est.sample(3).graphs.shape == (3, 4, 4)
        seen.append(info)

    est = jspgfn.JSPGFN(n_iter=300, random_state=0).fit(sim.X, callback=watch)
    assert seen[0]["n_updates"] < 300
    assert [info["finished"] for info in seen] == [False] * (len(seen) - 1) + [True]
    last = seen[-1]
    assert last["n_updates"] == last["n_total"] == 300
    assert last["seconds_left"] == 0
    assert all(info["seconds_left"] > 0 for info in seen[:-1])
    assert last["metrics"]["gap"] == est.history_["gap"][-1]
    assert last["certificate"] == pytest.approx(est.history_["gap"][-100:].mean())
    assert np.isnan(seen[0]["certificate"])


def test_a_callback_changes_no_bits(sim):
    draws = [
        jspgfn.JSPGFN(n_iter=60, random_state=0)
        .fit(sim.X, callback=callback)
        .sample(50)
        for callback in (None, lambda est, info: est.sample(5, random_state=1))
    ]
    np.testing.assert_array_equal(draws[0].graphs, draws[1].graphs)


def test_true_stops_and_resume_goes_on(sim):
    est = jspgfn.JSPGFN(n_iter=60, random_state=0)
    est.fit(sim.X, callback=lambda est, info: True)
    assert 0 < est.n_iter_ < 60
    est.resume(callback=lambda est, info: 1)  # only True is a wish to stop
    assert est.n_iter_ == 60
    whole = jspgfn.JSPGFN(n_iter=60, random_state=0).fit(sim.X)
    np.testing.assert_array_equal(est.sample(50).graphs, whole.sample(50).graphs)


@pytest.mark.filterwarnings("ignore::jspgfn.JspgfnWarning")
def test_of_the_published_method(sim):
    seen = []
    settings = {"batch_size": 8, "n_theta_samples": 2, "max_time": 0.3, "n_iter": None}
    est = jspgfn.JSPGFN(**{**jspgfn.PAPER, **settings})
    est.fit(sim.X, callback=lambda est, info: seen.append(info))
    assert seen[-1]["n_total"] is None
    assert seen[-1]["finished"]
    assert seen[-1]["certificate"] > 0


def test_exceptions_are_passed_on(sim):
    def fail(est, info):
        raise LookupError("mine")

    est = jspgfn.JSPGFN(n_iter=60, random_state=0)
    with pytest.raises(LookupError, match="mine"):
        est.fit(sim.X, callback=fail)
    assert est.resume().n_iter_ == 60
    with pytest.raises(TypeError, match="callback must be None or a function"):
        est.fit(sim.X, callback="often")
    with pytest.raises(TypeError, match="callback must be None or a function"):
        est.resume(10, callback=3)


class Clock:
    """Each look at the time is a quarter of a second after the last."""

    def __init__(self):
        self.now = 0.0

    def perf_counter(self):
        self.now += 0.25
        return self.now


def fit_on_a_terminal(est, X, monkeypatch):
    """What a fit writes to standard error when that is a terminal."""
    ours, theirs = pty.openpty()
    size = struct.pack("HHHH", 24, 120, 0, 0)
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, size)
    with os.fdopen(theirs, "w") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        est.fit(X)
        monkeypatch.undo()
    shown = b""
    try:
        while more := os.read(ours, 65536):
            shown += more
    except OSError:  # the other end is closed
        pass
    os.close(ours)
    return shown.decode()


@pytest.mark.filterwarnings("ignore::jspgfn.JspgfnWarning")  # a busy machine
def test_bar_on_a_terminal(sim, monkeypatch):
    est = jspgfn.JSPGFN(n_iter=400, random_state=0, verbose=1)
    shown = fit_on_a_terminal(est, sim.X, monkeypatch)
    assert "400/400 updates" in shown
    assert "gap=" in shown
    assert "ess=" in shown
    est = jspgfn.JSPGFN(max_time=0.3, random_state=0, verbose=1)
    assert "/0 s" in fit_on_a_terminal(est, sim.X, monkeypatch)
    silent = jspgfn.JSPGFN(n_iter=50, random_state=0)
    assert fit_on_a_terminal(silent, sim.X, monkeypatch) == ""


@pytest.mark.filterwarnings("ignore::jspgfn.NotMixedWarning")
def test_bars_of_the_other_estimators(sim, monkeypatch):
    chain = jspgfn.StructureMCMC(n_moves=10**6, n_chains=2, random_state=0, verbose=1)
    shown = fit_on_a_terminal(chain, sim.X, monkeypatch)
    assert "100%" in shown
    assert "rounds" in shown
    chain.set_params(max_time=0.2, n_moves=None)
    assert "/0 s" in fit_on_a_terminal(chain, sim.X, monkeypatch)
    exact = jspgfn.ExactPosterior(random_state=0, verbose=1)
    assert "100/100 %" in fit_on_a_terminal(exact, sim.X, monkeypatch)


def test_expected_time(sim, monkeypatch, capfd):
    monkeypatch.setattr(_engine, "time", Clock())
    monkeypatch.setattr(_engine, "SECONDS_PER_CALL", 0.0)  # one update per call
    jspgfn.JSPGFN(n_iter=20, random_state=0, verbose=1).fit(sim.X)
    output, errors = capfd.readouterr()
    assert errors == ""
    (line,) = [line for line in output.splitlines() if line.startswith("time ")]
    assert " to go, at " in line
    assert line.endswith(" ms per update")


def test_words_for_times():
    words = [_progress.duration(s) for s in (0.04, 0.5, 35.2, 90, 720, 3600, 11000)]
    assert words == ["0.0 s", "0.5 s", "35 s", "90 s", "12 min", "60 min", "3.1 h"]


@pytest.mark.parametrize("kernel", [False, True])
def test_a_notebook_is_one_with_a_kernel(monkeypatch, kernel):
    """Merely imported, by a tool that builds documentation for instance, it is none."""
    shell = SimpleNamespace(kernel=object()) if kernel else SimpleNamespace()
    module = SimpleNamespace(get_ipython=lambda: shell)
    monkeypatch.setitem(sys.modules, "IPython", module)
    monkeypatch.setitem(sys.modules, "ipykernel", SimpleNamespace())
    assert _progress.in_notebook() == kernel
