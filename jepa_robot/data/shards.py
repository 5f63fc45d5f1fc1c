"""Episodes of one file that several processes record, each into a shard of its own; in the end they are joined.

A shard is a file of ours in which episode i is ``demo_i`` already, so that it says itself what it holds. Shards lie in
the folder ``.NAME.shards`` beside the file ``NAME`` until all their episodes are in it.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import h5py

from jepa_robot.data.reader import TrajectoryReader
from jepa_robot.data.writer import TrajectoryWriter
from jepa_robot.errors import DataError

_FLUSH_SECONDS = 1.0


class Shards:
    """The shards of a file.

    Args:
        path: the file that they will be joined to. Whoever uses its shards has it open for writing, so that nobody
            else does.
    """

    def __init__(self, path: Path):
        self.folder = path.with_name(f".{path.name}.shards")

    def paths(self) -> list[Path]:
        """Those that there are."""
        return sorted(self.folder.glob("shard-*.h5"))

    def new(self, count: int) -> list[Path]:
        """Paths for ``count`` more."""
        first = max((int(path.stem.removeprefix("shard-")) for path in self.paths()), default=-1) + 1
        return [self.folder / f"shard-{first + i:04}.h5" for i in range(count)]

    def episodes(self, check: Callable[[TrajectoryReader], None]) -> set[int]:
        """Numbers of the episodes that are complete in a shard.

        Args:
            check: looks whether a shard belongs to the file, and raises where it does not.

        Raises:
            DataError: a shard cannot be read.
        """
        found: set[int] = set()
        for path in self.paths():
            with _reading(path) as reader:
                check(reader)
                found |= _numbers(reader).keys()
        return found

    def join(self, writer: TrajectoryWriter, until: int) -> None:
        """Append the episodes that come next, before ``until`` and up to the first that is in no shard.

        They are permanent in the file before the shards that have nothing more to give are removed.

        Raises:
            DataError: a shard cannot be read.
            OutputError: the disk is full; what is not in the file stays in its shard.
        """
        with contextlib.ExitStack() as opened:
            where: dict[int, tuple[h5py.Group, str, int]] = {}  # episode: in which group, its name there, its actions
            last: dict[Path, int] = {}
            for path in self.paths():
                numbers = _numbers(opened.enter_context(_reading(path)))
                group = opened.enter_context(h5py.File(path, "r"))["data"]
                where |= {number: (group, name, steps) for number, (name, steps) in numbers.items()}
                last[path] = max(numbers, default=-1)
            flushed = time.monotonic()
            while len(writer) < until and len(writer) in where:
                writer.append_copy(*where[len(writer)])
                if time.monotonic() - flushed > _FLUSH_SECONDS:
                    writer.flush()
                    flushed = time.monotonic()
            writer.flush()
        used = [path for path in last if last[path] < len(writer)]
        if len(used) == len(last):
            shutil.rmtree(self.folder, ignore_errors=True)
        else:
            for path in used:
                path.unlink()


def _reading(path: Path) -> TrajectoryReader:
    try:
        return TrajectoryReader(path, allow_empty=True)
    except DataError as error:
        mend = f"{error.mend}, or remove this shard: its episodes are then recorded again"
        raise DataError(error.what, where=path, mend=mend) from error


def _numbers(reader: TrajectoryReader) -> dict[int, tuple[str, int]]:
    """Number of each complete episode: its name and how many actions it has."""
    return {
        int(name.removeprefix("demo_")): (name, int(length)) for name, length in zip(reader.names, reader.lengths)
    }
