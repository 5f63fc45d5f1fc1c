"""Workers that record the episodes of a recipe, each into a shard of its own."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, Protocol

from jepa_robot.data.writer import TrajectoryWriter
from jepa_robot.errors import OutputError
from jepa_robot.evaluation.recipe import Recipe, record_episode
from jepa_robot.evaluation.tasks import Task

_POLL_SECONDS = 0.2
_FLUSH_SECONDS = 1.0
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class ShardRecorder:
    """What a worker does: simulate, draw, compress and write. Task and shard are opened with the first episode."""

    def __init__(self, recipe: Recipe, shard: Path, compression: str):
        self._recipe, self._shard, self._compression = recipe, shard, compression
        self._open: tuple[Task, TrajectoryWriter] | None = None
        self._flushed = time.monotonic()

    def record(self, index: int) -> None:
        """Add episode ``index`` to the shard; it is permanent a second later, or when the recorder is closed.

        Raises:
            TaskError: the task cannot run here.
            OutputError: the shard cannot be written; it is as it was when last made permanent.
        """
        if self._open is None:
            recipe, task = self._recipe, self._recipe.open()
            arguments = recipe.env_args(), recipe.to_dict(), recipe.seed, self._compression
            self._open = task, TrajectoryWriter(self._shard, task.contract, *arguments)
        task, writer = self._open
        writer.append(record_episode(task, self._recipe, index), number=index)
        if time.monotonic() - self._flushed > _FLUSH_SECONDS:
            writer.flush()
            self._flushed = time.monotonic()

    def close(self) -> None:
        """Make everything permanent.

        Raises:
            OutputError: it cannot be written.
        """
        if self._open is not None:
            task, writer = self._open
            task.env.close()
            writer.close()


class Pool(Protocol):
    """Processes somewhere, each with a `ShardRecorder`, that do one thing at a time."""

    size: int

    def record(self, worker: int, index: int) -> Future[None]:
        """Have a worker record an episode."""
        ...

    def close(self, worker: int) -> Future[None]:
        """Have a worker make its shard permanent."""
        ...

    def result(self, future: Future[None]) -> None:
        """Raise what a worker raised; OutputError where it died."""
        ...


def record_in(pool: Pool, indices: Iterable[int], report: Callable[[], None], stop: threading.Event) -> None:
    """Have the workers record episodes, the next one whoever is free, and make their shards permanent.

    Args:
        report: called after each episode.
        stop: when it is set, the episodes that were begun are finished and no others begun.

    Raises:
        JepaRobotError: the first that a worker raised, after the others have finished theirs.
    """
    waiting = iter(indices)
    busy = {pool.record(worker, index): worker for worker, index in zip(range(pool.size), waiting)}
    idle: list[int] = []
    failed: Exception | None = None
    while busy:
        done, _ = wait(busy, _POLL_SECONDS, FIRST_COMPLETED)
        for future in done:
            worker = busy.pop(future)
            try:
                pool.result(future)
                report()
            except Exception as error:  # whatever it is, the others finish theirs
                failed = failed or error
            index = None if failed or stop.is_set() else next(waiting, None)
            if index is None:
                idle.append(worker)
            else:
                busy[pool.record(worker, index)] = worker
    for future in [pool.close(worker) for worker in idle]:
        try:
            pool.result(future)
        except Exception as error:
            failed = failed or error
    if failed:
        raise failed


def died(where: Path) -> OutputError:
    """What is said of a worker that is gone."""
    mend = "perhaps out of memory: run the same command again with fewer workers"
    return OutputError("a worker process died", where=where, mend=mend)


class ProcessPool:
    """Workers that are processes on this machine; a context manager.

    Args:
        shards: the shard of each.
    """

    def __init__(self, recipe: Recipe, shards: Sequence[Path], compression: str):
        self.size = len(shards)
        self._shards = shards
        spawn = multiprocessing.get_context("spawn")
        self._executors = [
            ProcessPoolExecutor(1, spawn, _start_worker, (ShardRecorder(recipe, shard, compression),))
            for shard in shards
        ]

    def __enter__(self) -> ProcessPool:
        return self

    def __exit__(self, *_: object) -> None:
        for executor in self._executors:
            executor.shutdown()

    def record(self, worker: int, index: int) -> Future[None]:
        return self._submit(worker, _record_in_worker, index)

    def close(self, worker: int) -> Future[None]:
        return self._submit(worker, _close_worker)

    def result(self, future: Future[None]) -> None:
        try:
            future.result()
        except BrokenProcessPool as error:
            raise died(self._shards[0].parent) from error

    def _submit(self, worker: int, function: Callable[..., None], *arguments: Any) -> Future[None]:
        # Processes are made here. They inherit blocked signals, so that only this process is interrupted by Ctrl-C in
        # a terminal, or by a SIGTERM for the whole group, and the workers finish what they have begun.
        old = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
        try:
            with _one_thread_each():
                return self._executors[worker].submit(function, *arguments)
        except BrokenProcessPool as error:
            future: Future[None] = Future()
            future.set_exception(error)
            return future
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, old)


@contextlib.contextmanager
def _one_thread_each() -> Iterator[None]:
    """Processes made in the block use one thread for linear algebra."""
    environment = {name: os.environ.get(name) for name in _THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(_THREAD_VARIABLES, "1"))
    try:
        yield
    finally:
        for name, value in environment.items():
            if value is None:
                os.environ.pop(name)
            else:
                os.environ[name] = value


class _Worker:
    """What a worker process keeps between episodes."""

    recorder: ShardRecorder


def _start_worker(recorder: ShardRecorder) -> None:
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    _Worker.recorder = recorder


def _exit_with_parent() -> None:
    """A worker whose parent was killed would wait for work for ever."""
    multiprocessing.parent_process().join()
    os._exit(1)


def _record_in_worker(index: int) -> None:
    _Worker.recorder.record(index)


def _close_worker() -> None:
    _Worker.recorder.close()
