"""How episodes are handed to workers, with workers that do nothing."""

from __future__ import annotations

import threading
from concurrent.futures import Future

import pytest

from jepa_robot.errors import OutputError
from jepa_robot.evaluation.workers import ProcessPool, record_in


class Workers:
    """Each answers in a thread: at once, or where ``holds`` has an event for the episode, when that is set.

    Args:
        fails: errors by episode, and by ``"close"``. The first that is looked at sets ``failed``.
    """

    def __init__(self, size, holds=None, fails=None):
        self.size, self.holds, self.fails = size, holds or {}, fails or {}
        self.begun = [[] for _ in range(size)]
        self.closed = []
        self.busy = {}
        self.failed = threading.Event()

    def record(self, worker, index):
        assert worker not in self.busy.values() and worker not in self.closed
        self.begun[worker].append(index)
        future = Future()
        self.busy[future] = worker

        def answer():
            if index in self.holds and not self.holds[index].wait(60):
                future.set_exception(TimeoutError(f"episode {index} was waited for"))
            elif index in self.fails:
                future.set_exception(self.fails[index])
            else:
                future.set_result(None)

        threading.Thread(target=answer).start()
        return future

    def close(self, worker):
        assert worker not in self.busy.values()
        self.closed.append(worker)
        future = Future()
        if "close" in self.fails:
            future.set_exception(self.fails["close"])
        else:
            future.set_result(None)
        return future

    def result(self, future):
        self.busy.pop(future, None)
        if future.exception():
            self.failed.set()
        future.result()


def setting(event, count):
    """A report that sets the event when it is called for the ``count``th time, and the list of its calls."""
    calls = []

    def report():
        calls.append(1)
        if len(calls) == count:
            event.set()

    return report, calls


def test_who_is_free_gets_the_next():
    others_done = threading.Event()
    workers, (report, reports) = Workers(2, {1: others_done}), setting(others_done, 9)
    record_in(workers, range(10), report, threading.Event())
    assert workers.begun == [[0, *range(2, 10)], [1]]
    assert len(reports) == 10 and sorted(workers.closed) == [0, 1]


def test_fewer_episodes_than_workers():
    workers = Workers(4)
    record_in(workers, [7, 9], lambda: None, threading.Event())
    assert workers.begun == [[7], [9], [], []] and sorted(workers.closed) == [0, 1]


def test_stopped():
    """What was begun is finished, so that no episode is missing between others; nothing else is begun."""
    stop = threading.Event()
    workers, (report, reports) = Workers(2, {1: stop}), setting(stop, 3)
    record_in(workers, range(100), report, stop)
    assert workers.begun == [[0, 2, 3], [1]] and len(reports) == 4
    assert sorted(workers.closed) == [0, 1]


def test_the_first_error_is_raised_when_the_others_are_done():
    workers, reports = Workers(3, fails={4: OutputError("first"), "close": OutputError("second")}), []
    workers.holds = {1: workers.failed, 2: workers.failed}
    with pytest.raises(OutputError, match="first"):
        record_in(workers, range(100), lambda: reports.append(1), threading.Event())
    assert workers.begun == [[0, 3, 4], [1], [2]] and len(reports) == 4
    assert sorted(workers.closed) == [0, 1, 2] and not workers.busy


def test_an_error_in_closing():
    workers = Workers(2, fails={"close": OutputError("disk full")})
    with pytest.raises(OutputError, match="disk full"):
        record_in(workers, range(5), lambda: None, threading.Event())


def test_an_unexpected_error_comes_through(tmp_path):
    """With its own type, out of a process; the pool can still be left."""
    with ProcessPool("no recipe", [tmp_path / "shard-0000.h5"], "blosc") as pool:
        with pytest.raises(AttributeError, match="open"):
            record_in(pool, range(3), lambda: None, threading.Event())
    assert list(tmp_path.iterdir()) == []
