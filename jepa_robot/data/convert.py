"""Writing any source of recorded trajectories as one file of our own."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from jepa_robot.data.format import Episode, text_of
from jepa_robot.data.read_ahead import read_ahead, read_here
from jepa_robot.data.reader import TrajectoryReader
from jepa_robot.data.source import Progress, Source, SourceOptions, silent
from jepa_robot.data.sources import detect, open_source
from jepa_robot.data.writer import TrajectoryWriter
from jepa_robot.errors import ConfigError, DataError
from jepa_robot.interrupts import deferred_interrupts

_FLUSH_SECONDS = 1.0
# Bytes of pictures below which a second process takes longer to start than it saves.
_WORTH_A_PROCESS = 256 * 2**20
_ANOTHER = "convert into another file"


@dataclass(frozen=True)
class Conversion:
    """What a conversion left.

    Attributes:
        format: of the source.
        episodes, frames: in the file.
        new_episodes, new_frames: written by this run.
        broken: episodes of the source that this run left out.
        seconds: that this run took.
        size: of the file in bytes.
    """

    path: Path
    format: str
    episodes: int
    frames: int
    new_episodes: int
    new_frames: int
    broken: int
    seconds: float
    size: int


def convert(
    source_path: Path,
    path: Path,
    format: str | None = None,
    options: SourceOptions = SourceOptions(),
    compression: str = "blosc",
    skip_broken: bool = False,
    report: Callable[[int, int, DataError | None], None] = lambda done, total, error: None,
    report_opening: Progress = silent,
) -> Conversion:
    """Write the episodes of a source to ``path``, one at a time, in their order.

    A file of the same source and options is continued after the last episode that it holds. Ctrl-C, a kill and a
    full disk leave complete episodes. An episode is in the splits that the source declares for it.

    Args:
        skip_broken: leave out episodes that cannot be decoded or have impossible values.
        report: called after each episode with (episodes of the source done, all of them, why one was left out).
        report_opening: called with (episodes done, all of them) before, by formats that have to look at all of them.

    Raises:
        DataError: the source cannot be read, an episode is broken (unless skipped), all of them are, or ``path``
            was made from something else.
        OutputError: ``path`` cannot be written.
        KeyboardInterrupt: after the complete episodes were made permanent.
    """
    began = time.monotonic()
    source_path, path = Path(source_path), Path(path)
    format = detect(source_path) if format is None else format
    with open_source(source_path, format, options, report_opening) as source:
        if path.exists() and os.path.samefile(path, source_path):
            raise ConfigError("is the source itself", where=path, mend=_ANOTHER)
        recipe = _recipe(source, options, compression)
        done = _done(path, source, recipe) if path.exists() else []
        start = done[-1] + 1 if done else 0
        broken = _write(source, path, recipe, compression, options, range(start, len(source)), skip_broken, report)
        if not path.exists():
            raise DataError(f"all {len(source)} episodes are broken", where=source_path, expected="one that is not")
    with TrajectoryReader(path) as reader:
        frames = reader.lengths + 1
    return Conversion(
        path=path,
        format=format,
        episodes=len(frames),
        frames=int(frames.sum()),
        new_episodes=len(frames) - len(done),
        new_frames=int(frames[len(done) :].sum()),
        broken=broken,
        seconds=time.monotonic() - began,
        size=path.stat().st_size,
    )


def _recipe(source: Source, options: SourceOptions, compression: str) -> dict[str, Any]:
    """What the file is made from, as the file keeps it."""
    recipe = {
        "converted_from": source.path.resolve().name,
        "format": source.format,
        "compression": compression,
        "camera": options.camera,
        "state": options.state,
        "image_size": options.image_size,
        "source_recipe": source.recipe,
    }
    return json.loads(json.dumps(recipe))  # lists for tuples, as when it is read back


def _env_args(source: Source) -> dict[str, Any]:
    """robomimic's ``env_args``, where the source has them."""
    if isinstance(source, TrajectoryReader):
        return source.env_args
    found = source.recipe.get("env_args")
    if isinstance(found, dict):
        return found
    return {"env_name": source.contract.task, "type": "recorded", "env_kwargs": {}}


def _done(path: Path, source: Source, recipe: dict[str, Any]) -> list[int]:
    """Which episodes of the source ``path`` already holds.

    Raises:
        DataError: it was made from another source, from other splits, or with other options.
        ContractError: with other options, too.
    """
    with TrajectoryReader(path, allow_empty=True) as reader:
        for key, value in recipe.items():
            found = reader.recipe.get(key)
            if found != value:
                raise DataError(f"was made with {key} {found!r}, not {value!r}", where=path, mend=_ANOTHER)
        source.contract.require(reader.contract, str(source.path), str(path), _ANOTHER)
        position = {name: i for i, name in enumerate(source.names)}
        with h5py.File(path, "r") as file:
            names = [text_of(file["data"][name].attrs.get("source")) for name in reader.names]
        done = [position.get(name, -1) for name in names]
        same = all(i >= 0 and source.lengths[i] == length for i, length in zip(done, reader.lengths))
        if not same or done != sorted(set(done)) or (done and not _equal(reader.read(len(done) - 1), source, done[-1])):
            raise DataError(
                "holds episodes that are not of this source", where=path, expected=str(source.path), mend=_ANOTHER
            )
        for split in sorted(source.splits.keys() | reader.splits.keys()):
            declared = np.flatnonzero(np.isin(done, source.splits.get(split, [])))
            if not np.array_equal(reader.splits.get(split, []), declared):
                raise DataError(
                    f"has other episodes in the split {split!r} than the source", where=path,
                    expected=str(source.path), mend=_ANOTHER,
                )
        return done


def _equal(written: Episode, source: Source, index: int) -> bool:
    read = source.read(index)
    return np.array_equal(written.actions, read.actions) and np.array_equal(written.states, read.states)


def _write(
    source: Source,
    path: Path,
    recipe: dict[str, Any],
    compression: str,
    options: SourceOptions,
    indices: range,
    skip_broken: bool,
    report: Callable[[int, int, DataError | None], None],
) -> int:
    """Append the episodes ``indices`` of the source; the number of broken ones among them."""
    camera = source.contract.camera
    sizes = (source.lengths[indices.start :] + 1) * (camera.height * camera.width * 3)
    if sizes.sum() <= _WORTH_A_PROCESS:
        reading = read_here(source, indices)
    else:
        reading = read_ahead(source.path, source.format, options, indices, int(sizes.max()))
    broken = 0
    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.closing(reading))
        interrupted = stack.enter_context(deferred_interrupts())
        writer: TrajectoryWriter | None = None  # made with the first good episode: a broken source leaves no file
        flushed = time.monotonic()
        for read in reading:
            if interrupted.is_set():
                raise KeyboardInterrupt
            if read is None:
                continue
            index, answer = read
            if isinstance(answer, DataError):
                if not skip_broken:
                    raise DataError(str(answer), mend="leave such episodes out with --skip-broken") from answer
                broken += 1
                report(index + 1, len(source), answer)
                continue
            if writer is None:
                made = TrajectoryWriter(path, source.contract, _env_args(source), recipe, compression=compression)
                writer = stack.enter_context(made)
            splits = [split for split, members in source.splits.items() if index in members]
            writer.append(answer, source.names[index], splits)
            report(index + 1, len(source), None)
            if time.monotonic() - flushed > _FLUSH_SECONDS:
                writer.flush()
                flushed = time.monotonic()
    return broken
