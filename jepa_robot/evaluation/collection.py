"""Recording scripted episodes of a task, in several processes, with the same result for any number.

Episode i follows from the recipe and i alone (`jepa_robot.evaluation.recipe`), and the file holds episodes in their
order. So a file interrupted after n episodes goes on with episode n, and an extended file equals one recorded at
once. Several workers write shards (`jepa_robot.data.shards`), which are joined in the end, also after an error or an
interruption; what a killed run left in shards is taken over by the next run, whatever its workers.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jepa_robot.data.reader import TrajectoryReader
from jepa_robot.data.shards import Shards
from jepa_robot.data.writer import TrajectoryWriter
from jepa_robot.errors import ConfigError, DataError, JepaRobotError
from jepa_robot.evaluation.ray_pool import RayPool, RayWorkers, ray_cluster
from jepa_robot.evaluation.recipe import Recipe, record_episode
from jepa_robot.evaluation.tasks import Task
from jepa_robot.evaluation.workers import ProcessPool, record_in
from jepa_robot.interrupts import deferred_interrupts
from jepa_robot.spec import Contract

_FLUSH_SECONDS = 1.0


@dataclass(frozen=True)
class Summary:
    """What a collection left.

    Attributes:
        episodes, frames: complete ones in the file.
        new_episodes, new_frames: recorded by this run; what an earlier one left in shards is not among them.
        seconds: that this run took.
        size: of the file in bytes.
        waiting: episodes in shards that are not in the file, as they come after the last one wanted.
        object_moves: share of the actions that move the task's object; None where there is none.
    """

    path: Path
    episodes: int
    frames: int
    new_episodes: int
    new_frames: int
    seconds: float
    size: int
    waiting: int
    object_moves: float | None

    @property
    def frames_per_second(self) -> float:
        return self.new_frames / self.seconds if self.seconds > 0 else 0.0

    @property
    def bytes_per_frame(self) -> float:
        return self.size / self.frames if self.frames else 0.0


def collect(
    path: Path,
    recipe: Recipe,
    episodes: int,
    workers: int | RayWorkers = 1,
    compression: str = "blosc",
    report: Callable[[int, int], None] = lambda done, episodes: None,
) -> Summary:
    """Record episodes until ``path`` holds ``episodes`` of them.

    An existing file of the same recipe is continued. Ctrl-C (or SIGTERM) and a full disk leave
    complete episodes.

    Args:
        workers: how many processes record; one is this process. Or workers on a Ray cluster.
        report: called with (episodes recorded, episodes wanted) at first and after each.

    Raises:
        DataError: the file was made by another recipe, or cannot be read.
        OutputError: the file cannot be written, or a worker died.
        TaskError: the task is unknown or cannot run here.
        ConfigError: the mix names an unknown demonstrator, or Ray is not there.
        KeyboardInterrupt: after the complete episodes were made permanent.
    """
    began = time.monotonic()
    with contextlib.ExitStack() as opened:
        on_ray = isinstance(workers, RayWorkers)
        count = opened.enter_context(ray_cluster(workers)) if on_ray else workers
        task = opened.enter_context(recipe.open())
        _check_mix(task, recipe.mix)
        contract = task.contract
        existing = _count_existing(path, recipe, contract)
        shards = Shards(path.absolute())
        held = shards.episodes(lambda shard: _require_same(shard, recipe, contract))
        missing = [i for i in range(existing, episodes) if i not in held]
        if existing < episodes or shards.paths():
            arguments, is_new = (recipe.env_args(), recipe.to_dict(), recipe.seed, compression), not path.exists()
            with TrajectoryWriter(path, contract, *arguments) as writer, deferred_interrupts() as interrupted:
                progress = _Progress(max(existing, episodes - len(missing)), episodes, report)
                try:
                    if workers == 1:
                        _record_here(task, recipe, missing, writer, shards, progress, interrupted)
                    elif missing:
                        task.env.close()  # the workers have their own
                        paths = shards.new(min(count, len(missing)))
                        pool = (RayPool if on_ray else ProcessPool)(recipe, paths, compression)
                        _record_in_shards(pool, missing, writer, shards, progress, interrupted)
                    shards.join(writer, episodes)
                except JepaRobotError:
                    if is_new and len(writer) == 0 and not shards.paths():
                        path.unlink()  # an empty file would keep to a recipe that does not work
                    raise
                if len(writer) < episodes:
                    raise KeyboardInterrupt
    seconds = time.monotonic() - began
    with TrajectoryReader(path) as reader:
        lengths = reader.lengths + 1
        moves = [reader.object_moves(i) for i in range(len(reader))]
    looked = [(count, length - 1) for count, length in zip(moves, lengths) if count is not None]
    return Summary(
        path=path,
        episodes=len(lengths),
        frames=int(lengths.sum()),
        new_episodes=len(missing),
        new_frames=len(missing) * (recipe.steps + 1),
        seconds=seconds,
        size=os.path.getsize(path),
        waiting=sum(i >= len(lengths) for i in shards.episodes(lambda shard: _require_same(shard, recipe, contract))),
        object_moves=float(np.divide(*np.sum(looked, axis=0))) if looked else None,
    )


class _Progress:
    """Counts episodes and says so."""

    def __init__(self, done: int, episodes: int, report: Callable[[int, int], None]):
        self._done, self._episodes, self._report = done, episodes, report
        report(done, episodes)

    def advance(self) -> None:
        self._done += 1
        self._report(self._done, self._episodes)


def _check_mix(task: Task, mix: dict[str, float]) -> None:
    kinds = task.env.demonstrator_kinds()
    unknown = sorted(set(mix) - set(kinds))
    if unknown:
        raise ConfigError(f"there is no demonstrator {unknown[0]!r}", where="mix", expected=f"of {', '.join(kinds)}")


def _count_existing(path: Path, recipe: Recipe, contract: Contract) -> int:
    """Episodes already in ``path``, which has to be of the same recipe."""
    if not path.exists():
        return 0
    with TrajectoryReader(path, allow_empty=True) as reader:
        _require_same(reader, recipe, contract)
        return len(reader)


def _require_same(reader: TrajectoryReader, recipe: Recipe, contract: Contract) -> None:
    """Check that a file or a shard is of a recipe."""
    wanted = recipe.to_dict()
    for key in (field.name for field in dataclasses.fields(recipe)):
        value, found = wanted.get(key), reader.recipe.get(key)
        if found != value:
            raise DataError(
                f"was recorded with {key} {found!r}, not {value!r}",
                where=reader.path,
                mend="repeat the command that made it, or record into another file",
            )
    contract.require(reader.contract, f"task {recipe.task}", str(reader.path), "record into another file")


def _record_here(
    task: Task,
    recipe: Recipe,
    missing: Sequence[int],
    writer: TrajectoryWriter,
    shards: Shards,
    progress: _Progress,
    interrupted: threading.Event,
) -> None:
    """Record episodes into the file itself, making them permanent every second."""
    flushed = time.monotonic()
    for index in missing:
        if interrupted.is_set():
            return
        if len(writer) < index:
            shards.join(writer, index)  # an earlier run recorded what comes before
        writer.append(record_episode(task, recipe, index))
        progress.advance()
        if time.monotonic() - flushed > _FLUSH_SECONDS:
            writer.flush()
            flushed = time.monotonic()


def _record_in_shards(
    pool: RayPool | ProcessPool,
    missing: Sequence[int],
    writer: TrajectoryWriter,
    shards: Shards,
    progress: _Progress,
    interrupted: threading.Event,
) -> None:
    """Have workers record episodes into shards."""
    try:
        with pool:
            record_in(pool, missing, progress.advance, interrupted)
    except JepaRobotError:
        with contextlib.suppress(JepaRobotError):  # the first one is reported, and what is not joined now is later
            shards.join(writer, missing[-1] + 1)
        raise
