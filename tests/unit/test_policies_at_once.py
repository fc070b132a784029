"""Updates of several policies at a time: their order, failures and interruptions."""

import threading
import time
from concurrent.futures import Future

import numpy as np
import pytest

import jspgfn
from jspgfn._policies import Policies, Turns


class Slow:
    """A trainer that writes down its updates; fails at one of them.

    At a `meeting` its second update waits for those of the others who go there.
    """

    def __init__(self, name, log, fails_at=-1, meeting=None):
        self.name, self.log, self.fails_at = name, log, fails_at
        self.meeting = meeting
        self.iteration = 0
        self.at_work = threading.Lock()

    def step(self, n_updates, time_fraction):
        assert n_updates == 1
        assert self.at_work.acquire(blocking=False), "two workers at one policy"
        time.sleep(0.001 * (1 + self.name))
        if self.iteration == self.fails_at:
            raise jspgfn.NumericalError(f"update {self.iteration} failed")
        if self.iteration == 1 and self.meeting:
            self.meeting.wait()
        row = np.array([[float(self.name), float(self.iteration)]])
        self.iteration += 1
        self.log.append((self.name, threading.current_thread().name))
        self.at_work.release()
        return row


@pytest.mark.parametrize("n_at_once", [1, 2, 3])
def test_updates_come_in_their_order_whoever_makes_them(n_at_once):
    log, meeting = [], threading.Barrier(n_at_once, timeout=60)
    trainers = [
        Slow(k, log, meeting=meeting if k < n_at_once else None) for k in (0, 1, 2)
    ]
    policies = Policies(trainers, n_at_once)
    rows = np.concatenate([policies.step(n) for n in (1, 7, 4)])
    wanted = [(t % 3, t // 3) for t in range(12)]
    np.testing.assert_array_equal(rows, wanted)
    assert [trainer.iteration for trainer in policies.trainers] == [4, 4, 4]
    assert len({thread for _, thread in log}) >= n_at_once


@pytest.mark.parametrize("n_at_once", [1, 3])
def test_a_policy_that_fails_stops_the_others(n_at_once):
    log = []
    trainers = [Slow(0, log), Slow(1, log, fails_at=2), Slow(2, log)]
    with pytest.raises(jspgfn.NumericalError, match="policy 1, its update 2 failed"):
        Policies(trainers, n_at_once).step(3000)
    done = len(log)
    assert done < 2000  # of 3,000: the others would have 1,000 each
    time.sleep(0.02)
    assert len(log) == done  # nobody is left at work


def test_workers_have_ended_when_a_signal_handler_raises(monkeypatch):
    class Raised(Exception):
        pass

    log = []
    policies = Policies([Slow(k, log) for k in range(3)], n_at_once=2)
    result = Future.result

    def interrupted(self, timeout=None):
        while len(log) < 10:
            time.sleep(0.001)
        raise Raised

    monkeypatch.setattr(Future, "result", interrupted)
    with pytest.raises(Raised):
        policies.step(3000)
    monkeypatch.setattr(Future, "result", result)
    done = len(log)
    assert done < 3000
    time.sleep(0.02)
    assert len(log) == done


def test_the_policy_with_most_updates_left_is_next():
    turns = Turns([1, 3, 2])
    assert [turns.take() for _ in range(4)] == [1, 2, 0, None]  # all are at work
    turns.give_back(2)
    turns.give_back(1)
    assert [turns.take() for _ in range(3)] == [1, 2, None]
    turns.give_back(1)
    turns.stop()
    assert turns.take() is None
