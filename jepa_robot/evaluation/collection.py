"""Recording scripted episodes of a task, in several processes, with the same result for any number.

Episode i follows from the recipe and i alone (`jepa_robot.evaluation.recipe`), and episodes are
written in their order. So a file interrupted after n episodes goes on with episode n, and an
extended file equals one recorded at once.
"""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jepa_robot.data.format import Episode
from jepa_robot.data.reader import TrajectoryReader
from jepa_robot.data.writer import TrajectoryWriter
from jepa_robot.errors import ConfigError, DataError, OutputError
from jepa_robot.evaluation.recipe import Recipe, record_episode
from jepa_robot.evaluation.tasks import Task
from jepa_robot.evaluation.workers import recorded_in_workers
from jepa_robot.interrupts import deferred_interrupts
from jepa_robot.spec import Contract

_FLUSH_SECONDS = 1.0


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
    with recipe.open() as task:
        _check_mix(task, recipe.mix)
        existing = _check_existing(path, recipe, task.contract)
        if existing < episodes:
            with TrajectoryWriter(
                path, task.contract, _env_args(recipe), recipe.to_dict(), recipe.seed, compression
            ) as writer:
                if workers == 1:
                    made = (record_episode(task, recipe, i) for i in range(existing, episodes))
                    _write(writer, made, episodes, report)
                else:
                    with recorded_in_workers(recipe, range(existing, episodes), workers) as made:
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

    kwargs: dict[str, Any] = {} if recipe.image_size is None else {"image_size": recipe.image_size}
    if recipe.variation:
        kwargs["variation"] = list(recipe.variation)
    return {"env_name": jepa_envs.task_id(recipe.task), "type": "gymnasium", "env_kwargs": kwargs}


def _check_mix(task: Task, mix: dict[str, float]) -> None:
    kinds = task.env.demonstrator_kinds()
    unknown = sorted(set(mix) - set(kinds))
    if unknown:
        raise ConfigError(f"there is no demonstrator {unknown[0]!r}", where="mix", expected=f"of {', '.join(kinds)}")


def _check_existing(path: Path, recipe: Recipe, contract: Contract) -> int:
    """Episodes already in ``path``, which has to be of the same recipe."""
    if not path.exists():
        return 0
    with TrajectoryReader(path, allow_empty=True) as reader:
        wanted = recipe.to_dict()
        for key in (field.name for field in dataclasses.fields(recipe)):
            value, found = wanted.get(key), reader.recipe.get(key)
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
    with deferred_interrupts() as interrupted:
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
