"""How episodes are handed to workers, with workers that do nothing."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future

import pytest

from jepa_robot.errors import OutputError
from jepa_robot.evaluation.workers import ProcessPool, record_in


class Workers:
    """Each answers in a thread, after the seconds that its episodes take; ``fails`` maps episodes to errors."""

    def __init__(self, seconds, fails=None):
        self.size, self.seconds, self.fails = len(seconds), seconds, fails or {}
        self.begun = [[] for _ in seconds]
        self.closed = []
        self.busy = set()

    def record(self, worker, index):
        assert worker not in self.busy and worker not in self.closed
        self.busy.add(worker)
        self.begun[worker].append(index)
        future = Future()

        def answer():
            time.sleep(self.seconds[worker])
            self.busy.discard(worker)
            if index in self.fails:
                future.set_exception(self.fails[index])
            else:
                future.set_result(None)

        threading.Thread(target=answer).start()
        return future

    def close(self, worker):
        assert worker not in self.busy
        self.closed.append(worker)
        future = Future()
        if "close" in self.fails:
            future.set_exception(self.fails["close"])
        else:
            future.set_result(None)
        return future

    def result(self, future):
        future.result()


def test_who_is_free_gets_the_next():
    workers, reports = Workers([0.001, 0.2]), []
    record_in(workers, range(10), lambda: reports.append(1), threading.Event())
    assert workers.begun == [[0, *range(2, 10)], [1]]
    assert len(reports) == 10 and sorted(workers.closed) == [0, 1]


def test_fewer_episodes_than_workers():
    workers = Workers([0.0] * 4)
    record_in(workers, [7, 9], lambda: None, threading.Event())
    assert workers.begun == [[7], [9], [], []] and sorted(workers.closed) == [0, 1]


def test_stopped():
    """What was begun is finished, so that no episode is missing between others; nothing else is begun."""
    workers, stop, reports = Workers([0.02, 0.03]), threading.Event(), []

    def report():
        reports.append(1)
        if len(reports) == 3:
            stop.set()

    record_in(workers, range(100), report, stop)
    begun = sorted(sum(workers.begun, []))
    assert begun == list(range(len(begun))) and len(reports) == len(begun) < 7
    assert sorted(workers.closed) == [0, 1]


def test_the_first_error_is_raised_when_the_others_are_done():
    errors = {4: OutputError("first"), "close": OutputError("second")}
    workers, reports = Workers([0.01, 0.01, 0.08], errors), []
    with pytest.raises(OutputError, match="first"):
        record_in(workers, range(100), lambda: reports.append(1), threading.Event())
    begun = sorted(sum(workers.begun, []))
    assert begun == list(range(len(begun))) and len(begun) < 10 and len(reports) == len(begun) - 1
    assert sorted(workers.closed) == [0, 1, 2] and not workers.busy


def test_an_error_in_closing():
    workers = Workers([0.0, 0.0], {"close": OutputError("disk full")})
    with pytest.raises(OutputError, match="disk full"):
        record_in(workers, range(5), lambda: None, threading.Event())


def test_an_unexpected_error_comes_through(tmp_path):
    """With its own type, out of a process; the pool can still be left."""
    with ProcessPool("no recipe", [tmp_path / "shard-0000.h5"], "blosc") as pool:
        with pytest.raises(AttributeError, match="open"):
            record_in(pool, range(3), lambda: None, threading.Event())
    assert list(tmp_path.iterdir()) == []
