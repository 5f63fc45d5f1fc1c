"""Files of a data set that is a folder: never one outside of it."""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from jepa_robot.errors import DataError

OUTSIDE = "copy the data set with its links resolved (cp -rL)"


def inside(root: Path, name: str) -> Path:
    """Absolute path of the regular file that ``name`` (relative, with ``/``) stands for in the folder ``root``.

    Raises:
        DataError: it leads out of the folder (an absolute path, ``..``, a link), is missing, or is no regular file.
    """
    relative, path = PurePosixPath(name), root / name
    if relative.is_absolute() or ".." in relative.parts or "\0" in name:
        raise DataError(f"refers to the file {name!r}", where=root, expected="one inside the data set's folder")
    try:
        resolved = path.resolve()
        if not resolved.is_relative_to(root.resolve()):
            raise DataError("is a link that leads out of the data set's folder", where=path, mend=OUTSIDE)
        if not resolved.exists():
            raise DataError("no such file", where=path, mend="copy the data set again, with all of its files")
        if not resolved.is_file():
            raise DataError("is not a regular file", where=path, mend="copy the data set again")
    except (OSError, RuntimeError) as error:  # RuntimeError: links that go round in a circle
        raise DataError(f"cannot be reached ({error})", where=path) from error
    return resolved


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        DataError: cannot be read, is not JSON, or is something else than an object.
    """
    value = _load(path)
    if not isinstance(value, dict):
        raise DataError(f"is a JSON {type(value).__name__}", where=path, expected="an object")
    return value


def read_json_numbers(path: Path) -> np.ndarray:
    """The JSON list of numbers in a file, float64 [n].

    Raises:
        DataError: cannot be read, is not JSON, or is something else than a list of numbers.
    """
    value = _load(path)
    if not isinstance(value, list) or not all(type(number) in (int, float) and abs(number) < 2**53 for number in value):
        raise DataError(f"is a JSON {type(value).__name__}", where=path, expected="a list of numbers")
    return np.array(value, np.float64)


def _load(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror})", where=path) from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"is not JSON ({error})", where=path, mend="copy the file again") from error
