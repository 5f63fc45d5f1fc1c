"""Worker processes that record the episodes of a recipe."""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator

from jepa_robot.data.format import Episode
from jepa_robot.evaluation.recipe import Recipe, record_episode
from jepa_robot.evaluation.tasks import Task

# Episodes in flight for each worker: enough that none waits for the writer.
_AHEAD = 4
_POLL_SECONDS = 0.2
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@contextlib.contextmanager
def recorded_in_workers(recipe: Recipe, indices: range, workers: int) -> Iterator[Iterator[Episode | None]]:
    """The episodes in order, made by ``workers`` processes; None whenever the next is not there yet."""
    environment = {name: os.environ.get(name) for name in _THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(_THREAD_VARIABLES, "1"))
    pool = concurrent.futures.ProcessPoolExecutor(
        workers, multiprocessing.get_context("spawn"), initializer=_start_worker, initargs=(recipe,)
    )

    def submit(index: int) -> concurrent.futures.Future[Episode]:
        # Children inherit the blocked signal: Ctrl-C in a terminal reaches only this process.
        old = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            return pool.submit(_record_in_worker, index)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, old)

    def made() -> Iterator[Episode | None]:
        waiting = iter(indices)
        pending = collections.deque(submit(i) for _, i in zip(range(_AHEAD * workers), waiting))
        while pending:
            try:
                episode = pending[0].result(timeout=_POLL_SECONDS)
            except concurrent.futures.TimeoutError:
                yield None
                continue
            pending.popleft()
            pending.extend(submit(i) for _, i in zip(range(1), waiting))
            yield episode

    try:
        yield made()
    finally:
        pool.shutdown(cancel_futures=True)
        for name, value in environment.items():
            if value is None:
                os.environ.pop(name)
            else:
                os.environ[name] = value


class _Worker:
    """What a worker process keeps between episodes."""

    task: Task
    recipe: Recipe


def _start_worker(recipe: Recipe) -> None:
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    _Worker.recipe = recipe
    _Worker.task = recipe.open()


def _exit_with_parent() -> None:
    """A worker whose parent was killed would wait for work for ever."""
    multiprocessing.parent_process().join()
    os._exit(1)


def _record_in_worker(index: int) -> Episode:
    return record_episode(_Worker.task, _Worker.recipe, index)
