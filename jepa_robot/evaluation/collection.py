"""Recording scripted episodes of a task, in several processes, with the same result for any number.

Episode i is made from a seed that follows from (recipe's seed, i) and from nothing else, and episodes
are written in their order. So a file interrupted after n episodes goes on with episode n, and an
extended file equals one recorded at once.
"""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
import dataclasses
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jepa_robot.data.format import STATE_KEY, Episode
from jepa_robot.data.reader import TrajectoryReader
from jepa_robot.data.writer import TrajectoryWriter
from jepa_robot.errors import ConfigError, DataError, OutputError
from jepa_robot.evaluation.tasks import Task
from jepa_robot.spec import Contract

# Episodes in flight for each worker: enough that none waits for the writer.
_AHEAD = 4
_FLUSH_SECONDS = 1.0
_POLL_SECONDS = 0.2
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what episode i is.

    Attributes:
        task: short name of the task.
        seed: of all episodes.
        steps: actions in an episode.
        mix: share of each kind of demonstrator; they add up to one.
        image_size: height and width of the pictures in pixels; the task's own where None.
    """

    task: str
    seed: int
    steps: int
    mix: dict[str, float]
    image_size: int | None = None

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ConfigError(f"is {self.steps}", where="steps", expected="at least 1")
        shares = list(self.mix.values())
        if not shares or any(not share >= 0 for share in shares) or not np.isclose(sum(shares), 1.0):
            raise ConfigError(
                f"is {self.mix}", where="mix", expected="shares that add up to 1, such as expert=0.5,noisy=0.5"
            )

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class Summary:
    """What a collection left.

    Attributes:
        episodes, frames: complete ones in the file.
        new_episodes, new_frames: recorded by this run.
        seconds: that this run took.
        size: of the file in bytes.
    """

    path: Path
    episodes: int
    frames: int
    new_episodes: int
    new_frames: int
    seconds: float
    size: int

    @property
    def frames_per_second(self) -> float:
        return self.new_frames / self.seconds if self.seconds > 0 else 0.0

    @property
    def bytes_per_frame(self) -> float:
        return self.size / self.frames if self.frames else 0.0


def episode_seed(recipe: Recipe, index: int) -> int:
    """Seed of everything in episode ``index``, below 2**63."""
    return int(np.random.SeedSequence((recipe.seed, index)).generate_state(1, np.uint64)[0] >> np.uint64(1))


def record_episode(task: Task, recipe: Recipe, index: int) -> Episode:
    """Episode ``index`` of ``recipe``: recipe.steps actions, recipe.steps + 1 frames."""
    from jepa_envs.demonstrators import make_demonstrator

    seed = episode_seed(recipe, index)
    rng = np.random.default_rng(seed)
    kinds = sorted(recipe.mix)
    shares = np.array([recipe.mix[kind] for kind in kinds])
    kind = str(rng.choice(kinds, p=shares / shares.sum()))
    env, camera = task.env, task.contract.camera.name
    start, goal = env.sample_start_and_goal(rng)
    observation, _ = env.reset(seed=seed, options={"state": start, "goal_state": goal})
    demonstrator = make_demonstrator(kind, rng)
    low, high = env.action_space.low, env.action_space.high
    frames, states, actions = [observation[camera]], [observation[STATE_KEY]], []
    for _ in range(recipe.steps):
        action = np.clip(np.asarray(demonstrator.act(env.state(), goal), np.float32), low, high)
        observation, *_ = env.step(action)
        frames.append(observation[camera])
        states.append(observation[STATE_KEY])
        actions.append(action)
    return Episode(np.stack(frames), np.stack(states), np.stack(actions), kind=kind, seed=seed)


def collect(
    path: Path,
    recipe: Recipe,
    episodes: int,
    workers: int = 1,
    compression: str = "blosc",
    report: Callable[[int, int], None] = lambda done, episodes: None,
) -> Summary:
    """Record episodes until ``path`` holds ``episodes`` of them.

    An existing file of the same recipe is continued. Ctrl-C (or SIGTERM) and a full disk leave
    complete episodes.

    Args:
        report: called with (episodes in the file, episodes wanted) after each.

    Raises:
        DataError: the file was made by another recipe, or cannot be read.
        OutputError: the file cannot be written.
        TaskError: the task is unknown or cannot run here.
        ConfigError: the mix names an unknown demonstrator.
        KeyboardInterrupt: after the complete episodes were made permanent.
    """
    began = time.monotonic()
    with Task(recipe.task, recipe.image_size) as task:
        _check_mix(recipe.mix)
        existing = _check_existing(path, recipe, task.contract)
        if existing < episodes:
            with TrajectoryWriter(
                path, task.contract, _env_args(recipe), recipe.to_dict(), recipe.seed, compression
            ) as writer:
                if workers == 1:
                    made = (record_episode(task, recipe, i) for i in range(existing, episodes))
                    _write(writer, made, episodes, report)
                else:
                    with _pooled(recipe, range(existing, episodes), workers) as made:
                        _write(writer, made, episodes, report)
    seconds = time.monotonic() - began
    with TrajectoryReader(path) as reader:
        lengths = reader.lengths + 1
    return Summary(
        path=path,
        episodes=len(lengths),
        frames=int(lengths.sum()),
        new_episodes=len(lengths) - existing,
        new_frames=int(lengths[existing:].sum()),
        seconds=seconds,
        size=os.path.getsize(path),
    )


def _env_args(recipe: Recipe) -> dict[str, Any]:
    """robomimic's ``env_args``: how to make the environment again."""
    import jepa_envs

    kwargs = {} if recipe.image_size is None else {"image_size": recipe.image_size}
    return {"env_name": jepa_envs.TASKS[recipe.task], "type": "gymnasium", "env_kwargs": kwargs}


def _check_mix(mix: dict[str, float]) -> None:
    from jepa_envs.demonstrators import KINDS

    unknown = sorted(set(mix) - set(KINDS))
    if unknown:
        raise ConfigError(f"there is no demonstrator {unknown[0]!r}", where="mix", expected=f"of {', '.join(KINDS)}")


def _check_existing(path: Path, recipe: Recipe, contract: Contract) -> int:
    """Episodes already in ``path``, which has to be of the same recipe."""
    if not path.exists():
        return 0
    with TrajectoryReader(path, allow_empty=True) as reader:
        for key, value in recipe.to_dict().items():
            found = reader.recipe.get(key)
            if found != value:
                raise DataError(
                    f"was recorded with {key} {found!r}, not {value!r}",
                    where=path,
                    mend="repeat the command that made it, or record into another file",
                )
        contract.require(reader.contract, f"task {recipe.task}", str(path), "record into another file")
        return len(reader)


def _write(
    writer: TrajectoryWriter, made: Iterator[Episode | None], episodes: int, report: Callable[[int, int], None]
) -> None:
    """Append what ``made`` yields (None: nothing yet) until an interrupt, making it permanent every second."""
    flushed = time.monotonic()
    with _interrupts() as interrupted:
        try:
            for episode in made:
                if interrupted.is_set():
                    raise KeyboardInterrupt
                if episode is None:
                    continue
                writer.append(episode)
                report(len(writer), episodes)
                if time.monotonic() - flushed > _FLUSH_SECONDS:
                    writer.flush()
                    flushed = time.monotonic()
        except BrokenProcessPool as error:
            if interrupted.is_set():  # the signal went to the workers, too
                raise KeyboardInterrupt from error
            raise OutputError(
                "a worker process died",
                where=writer.path,
                mend="perhaps out of memory: run the same command again with fewer workers",
            ) from error
        writer.flush()


@contextlib.contextmanager
def _interrupts() -> Iterator[threading.Event]:
    """Turn Ctrl-C and SIGTERM into an event, so that they never fall into the middle of a write."""
    interrupted = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield interrupted
        return
    signals = (signal.SIGINT, signal.SIGTERM)
    previous = [signal.signal(number, lambda *_: interrupted.set()) for number in signals]
    try:
        yield interrupted
    finally:
        for number, handler in zip(signals, previous):
            signal.signal(number, handler)


@contextlib.contextmanager
def _pooled(recipe: Recipe, indices: range, workers: int) -> Iterator[Iterator[Episode | None]]:
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
    _Worker.task = Task(recipe.task, recipe.image_size)


def _exit_with_parent() -> None:
    """A worker whose parent was killed would wait for work for ever."""
    multiprocessing.parent_process().join()
    os._exit(1)


def _record_in_worker(index: int) -> Episode:
    return record_episode(_Worker.task, _Worker.recipe, index)
