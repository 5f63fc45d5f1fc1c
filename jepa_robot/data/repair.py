"""Saving the complete episodes of an HDF5 file whose writer was killed, or that was damaged later."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import hdf5plugin  # noqa: F401  (registers the Blosc filter with HDF5)

from jepa_robot.data.journal import journal_path, recover
from jepa_robot.data.layout import DAMAGE
from jepa_robot.data.salvage import copy_episodes, episode_names, find_layout, require_complete
from jepa_robot.data.superblock import UnclosedFile
from jepa_robot.errors import DataError, OutputError
from jepa_robot.files import atomic_path


@dataclass
class Repair:
    """What was found and saved.

    Attributes:
        path: where the complete episodes are: the file itself where it is whole now, else a new file.
        finished: a write that was cut short was finished in the file itself.
        episodes: complete ones; None in a layout without a group an episode, which is saved whole or not at all.
        lost: one line for each of the others.
    """

    path: Path
    finished: bool = False
    episodes: int | None = None
    lost: list[str] = field(default_factory=list)


def repair(
    path: Path, output: Path | None = None, report: Callable[[int, int], None] = lambda done, total: None
) -> Repair:
    """Make the complete episodes of ``path`` readable again.

    A last write that was cut short is finished in the file itself, as by everyone who opens it here. Where HDF5
    cannot open the file, or an episode cannot be read, those that can be are copied to a new file without
    decompressing them. Lists of splits (``mask``) name only what is saved; those that are damaged are left out.

    Args:
        output: the new file; ``path`` with the ending ``.repaired.h5`` unless given.
        report: called after each episode with (episodes looked at, all of them).

    Raises:
        DataError: missing, being written by a process that is alive, or nothing can be saved.
        OutputError: the new file exists, or cannot be written.
    """
    path = Path(path)
    output = path.with_suffix(".repaired.h5") if output is None else Path(output)
    _require_abandoned(path)
    result = Repair(path)
    whole = True
    try:
        unfinished = journal_path(path).exists()
        recover(path)
        result.finished = unfinished
        h5py.File(path, "r").close()
    except (DataError, *DAMAGE):  # a damaged journal, or what HDF5 does not like about the file
        whole = False
    try:
        with UnclosedFile(path) as raw, h5py.File(raw, "r") as file:
            layout = find_layout(file)
            names, good = episode_names(file, layout), []
            for done, name in enumerate(names, start=1):
                try:
                    require_complete(file, layout, name, f"{path}:{layout.group.strip('/')}/{name}".replace(":/", ":"))
                    good.append(name)
                except DataError as error:
                    result.lost.append(str(error))
                report(done, len(names))
            if not good or (result.lost and layout.prefix is None):
                reason = f"; {result.lost[0]}" if result.lost else ""
                raise DataError(f"nothing can be saved: no complete episode can be read{reason}", where=path)
            result.episodes = len(good) if layout.prefix else None
            if whole and not result.lost:
                return result
            if output.exists():
                raise OutputError("exists", where=output, mend="choose another file with -o, or remove it")
            with atomic_path(output) as temporary, h5py.File(temporary, "w") as target:
                copy_episodes(file, layout, good, target)
    except DAMAGE as error:
        raise DataError(f"nothing can be saved: HDF5 cannot read it ({error})", where=path) from error
    result.path = output
    return result


def _require_abandoned(path: Path) -> None:
    """Refuse what is no file, and a file that another process has open for writing."""
    if not path.exists():
        raise DataError("no such file", where=path, expected="an HDF5 file")
    if not path.is_file():
        raise DataError("is no file", where=path, expected="an HDF5 file")
    if path.stat().st_size == 0:
        raise DataError("nothing can be saved: it is empty (0 bytes)", where=path)
    try:
        with open(path, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise DataError("is being written by another process", where=path, mend="wait until it is done") from error
    except OSError as error:
        raise DataError(f"cannot be read ({os.strerror(error.errno)})", where=path) from error
