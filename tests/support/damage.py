"""Ways to damage files: what the disk, the network or another program may do to them, and JSON or HDF5 by hand."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np

# -- any file -------------------------------------------------------------------------------

WAYS = ("missing", "empty", "half", "text", "folder", "pipe", "link out", "link in a circle")


def break_file(path: Path, how: str, outside: Path) -> None:
    """Do one of `WAYS` to a file; ``outside`` is the folder to which a link out leads."""
    content = path.read_bytes()
    path.unlink()
    match how:
        case "missing":
            pass
        case "empty":
            path.touch()
        case "half":
            path.write_bytes(content[: len(content) // 2])
        case "text":
            path.write_text("time,x,y\n0,1,2\n" * 100)
        case "folder":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case "link out":
            (outside / "elsewhere").write_bytes(content)
            path.symlink_to(outside / "elsewhere")
        case "link in a circle":
            path.symlink_to(path)
        case _:
            raise ValueError(how)


def cut(path: Path, part: float) -> None:
    """Keep only this part of a file, from its beginning."""
    os.truncate(path, int(path.stat().st_size * part))


def move_behind_link(path: Path, target: Path) -> None:
    """Move a file or folder to ``target`` and leave a link to it."""
    path.rename(target)
    path.symlink_to(target)


def edit_json(path: Path, change: Callable[[dict], object]) -> None:
    """Write what ``change`` makes of a JSON file's table."""
    table = json.loads(path.read_text())
    change(table)
    path.write_text(json.dumps(table))


# -- HDF5 -----------------------------------------------------------------------------------

Hdf5Damage = Callable[[h5py.File], object]


def damage(path: Path, change: Hdf5Damage) -> None:
    """Open an HDF5 file, and change it."""
    with h5py.File(path, "r+") as file:
        change(file)


def delete(key: str) -> Hdf5Damage:
    """Without an array or a group."""

    def change(file: h5py.File) -> None:
        del file[key]

    return change


def replace(key: str, values: Callable[[np.ndarray], object]) -> Hdf5Damage:
    """With an array of what ``values`` makes of the one there is."""

    def change(file: h5py.File) -> None:
        new = values(file[key][()])
        del file[key]
        file[key] = new

    return change


def attribute(key: str, name: str, value: object) -> Hdf5Damage:
    """With another value of an attribute."""

    def change(file: h5py.File) -> None:
        file[key].attrs[name] = value

    return change


def zero_chunk(path: Path, key: str, part: float = 1.0) -> None:
    """Overwrite the stored bytes of an array's first chunk, or the first part of them, with zeros."""
    with h5py.File(path, "r") as file:
        chunk = file[key].id.get_chunk_info(0)
    with open(path, "r+b") as file:
        file.seek(chunk.byte_offset)
        file.write(bytes(int(chunk.size * part)))
