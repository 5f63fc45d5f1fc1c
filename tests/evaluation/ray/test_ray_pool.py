"""Collecting on a Ray cluster of two workers on this machine."""

from __future__ import annotations

import os
import signal
import socket
import threading
from pathlib import Path

import pytest
from hdf5_contents import assert_same_file

from jepa_robot.data.reader import TrajectoryReader
from jepa_robot.data.shards import Shards
from jepa_robot.errors import ConfigError, OutputError, TaskError
from jepa_robot.evaluation.collection import collect
from jepa_robot.evaluation.ray_pool import RayPool, RayWorkers, ray_cluster
from jepa_robot.evaluation.recipe import Recipe
from jepa_robot.evaluation.workers import ShardRecorder, record_in

pytestmark = pytest.mark.ray
ray = pytest.importorskip("ray", reason="needs the extra ray: run scripts/test_adapters ray")
RECIPE = Recipe("two_rooms", seed=5, steps=4, mix={"noisy": 0.5, "explore": 0.5}, image_size=32)


@pytest.fixture(scope="module", autouse=True)
def cluster():
    """Of two CPUs."""
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield
    ray.shutdown()


@pytest.fixture
def paths(tmp_path):
    """Where two shards are to be."""
    return Shards(tmp_path / "whole.h5").new(2)


def recorded(shard: Path) -> set[str]:
    with TrajectoryReader(shard, allow_empty=True) as reader:
        return set(reader.names)


def test_the_file_is_that_of_one_process(tmp_path):
    """Begun by one process, continued by a worker for each CPU, and by one worker alone."""
    path, wanted, done = tmp_path / "ray.h5", tmp_path / "wanted.h5", []
    collect(path, RECIPE, 2)
    summary = collect(path, RECIPE, 9, RayWorkers(), report=lambda *counts: done.append(counts))
    assert done == [(i, 9) for i in range(2, 10)]
    assert (summary.episodes, summary.new_episodes, summary.waiting) == (9, 7, 0)
    collect(path, RECIPE, 11, RayWorkers(1))
    collect(wanted, RECIPE, 11)
    assert_same_file(path, wanted)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["ray.h5", "wanted.h5"]


def test_there_is_a_worker_for_each_cpu():
    with ray_cluster(RayWorkers()) as count:
        assert count == 2
    with ray_cluster(RayWorkers(5)) as count:
        assert count == 5
    assert ray.is_initialized()  # it was not made by the block


def test_both_record_at_the_same_time(paths):
    """Neither gets all episodes, and each episode is recorded once."""
    with RayPool(RECIPE, paths, "blosc") as pool:
        record_in(pool, range(12), lambda: None, threading.Event())
        first, second = map(recorded, paths)
    assert first and second and not first & second
    assert first | second == {f"demo_{i}" for i in range(12)}


def test_what_a_worker_raises(paths):
    """Is the error itself, not Ray's."""
    unknown = Recipe("juggle", seed=5, steps=4, mix={"noisy": 1.0})
    with RayPool(unknown, paths, "blosc") as pool, pytest.raises(TaskError) as caught:
        record_in(pool, range(4), lambda: None, threading.Event())
    assert str(caught.value).startswith("task: there is no task 'juggle'; expected one of panda_reach")
    assert type(caught.value) is TaskError


class Unknown(ShardRecorder):
    """A class that workers cannot import."""


def test_workers_that_cannot_start(paths, monkeypatch):
    """As on a machine on which the package is not installed."""
    monkeypatch.setattr("jepa_robot.evaluation.ray_pool.ShardRecorder", Unknown)
    with RayPool(RECIPE, paths, "blosc") as pool, pytest.raises(ConfigError) as caught:
        record_in(pool, range(4), lambda: None, threading.Event())
    assert "--workers ray: a worker cannot start (" in str(caught.value) and "\n" not in str(caught.value)
    assert "Unknown" in str(caught.value) or "No module named" in str(caught.value)
    assert "install jepa-robot, of this version, on every machine of the cluster" in str(caught.value)


def test_a_worker_that_dies(paths, monkeypatch):
    """The other one finishes what it has begun, and its shard is permanent."""

    class Suicidal(ShardRecorder):
        def record(self, index: int) -> None:
            if index == 3:
                os.kill(os.getpid(), signal.SIGKILL)
            super().record(index)

    monkeypatch.setattr("jepa_robot.evaluation.ray_pool.ShardRecorder", Suicidal)
    with RayPool(RECIPE, paths, "blosc") as pool:
        with pytest.raises(OutputError, match="whole.h5.shards: a worker process died; perhaps out of memory"):
            record_in(pool, range(50), lambda: None, threading.Event())
    names = set().union(*(recorded(path) for path in paths if path.exists()))
    assert "demo_3" not in names and 0 < len(names) < 40


def test_an_address_at_which_nobody_answers_is_an_error_at_once(monkeypatch):
    """Ray itself would try for minutes."""
    with socket.socket() as bound:  # and not listening
        bound.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{bound.getsockname()[1]}"
        monkeypatch.setenv("RAY_ADDRESS", address)
        monkeypatch.setattr(ray, "is_initialized", lambda: False)
        monkeypatch.setattr(ray, "init", lambda **_: pytest.fail("it was asked to connect"))
        message = f"RAY_ADDRESS={address}: there is no Ray cluster"
        with pytest.raises(ConfigError, match=message), ray_cluster(RayWorkers()):
            pass
