"""Formats of recorded trajectories, found by name or by looking at the path."""

from __future__ import annotations

import importlib
import os
from difflib import get_close_matches
from pathlib import Path

from jepa_robot.data.source import Progress, Source, SourceOptions, silent
from jepa_robot.data.sources.hdf5_guard import require_safe
from jepa_robot.errors import DataError

# Format -> (module, class); in the order in which they are tried. A format is imported when it is first looked
# for, so that its libraries load only where they are needed.
FORMATS = {
    "jepa_robot": ("jepa_robot.data.reader", "TrajectoryReader"),
    "robomimic": ("jepa_robot.data.sources.robomimic", "Robomimic"),
    "minari": ("jepa_robot.data.sources.minari", "Minari"),
    "stable_worldmodel": ("jepa_robot.data.sources.stable_worldmodel", "StableWorldModel"),
    "lerobot": ("jepa_robot.data.sources.lerobot", "LeRobot"),
    "droid": ("jepa_robot.data.sources.droid", "Droid"),
}


def source_class(name: str) -> type[Source]:
    """The importer of a format.

    Raises:
        DataError: there is no such format; names the known ones.
    """
    if name not in FORMATS:
        close = get_close_matches(name, FORMATS)
        expected = " or ".join(close) or f"one of {', '.join(FORMATS)}"
        raise DataError(f"there is no format {name!r}", expected=expected)
    module, attribute = FORMATS[name]
    return getattr(importlib.import_module(module), attribute)


# Our own files have this attribute near their beginning. What they hold lies where damage cannot crash HDF5.
_OWN, _BEGINNING = b"contract", 1 << 16


def detect(path: str | os.PathLike[str]) -> str:
    """The format of what lies at ``path``.

    Raises:
        DataError: nothing is there, it looks like none of the known formats, or looking would crash.
    """
    path = Path(path)
    if not path.exists():
        raise DataError(
            "no such file or folder", where=path, expected="recorded trajectories",
            mend="record some with `jepa-robot collect`",
        )
    _require_safe_to_look_at(path)
    for name in FORMATS:
        if source_class(name).recognises(path):
            return name
    # What is nearly ours says best itself what is wrong with it.
    if path.is_file() and (path.stat().st_size == 0 or path.suffix in (".h5", ".hdf5")):
        return "jepa_robot"
    raise DataError(
        "looks like none of the known formats", where=path, expected=f"one of {', '.join(FORMATS)}",
        mend="name its format: --format, or source.format for training",
    )


def _require_safe_to_look_at(path: Path) -> None:
    """Raise DataError where looking at a file of others is dangerous: all importers look at its top, some at data."""
    if not path.is_file():
        return
    try:
        with path.open("rb") as file:
            beginning = file.read(_BEGINNING)
    except OSError:
        return  # the importers say what is wrong
    if beginning and _OWN not in beginning:
        require_safe(path, "data")


def open_source(
    path: str | os.PathLike[str],
    format: str | None = None,
    options: SourceOptions = SourceOptions(),
    report: Progress = silent,
) -> Source:
    """Open recorded trajectories of any known format.

    Args:
        report: called with (episodes done, all of them) by formats that have to look at all of them.

    Raises:
        DataError: missing, damaged, or of no known format.
    """
    return source_class(detect(path) if format is None else format)(Path(path), options, report)
