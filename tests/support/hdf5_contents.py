"""Everything that an HDF5 file holds, looked at with h5py alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import hdf5plugin  # noqa: F401  (registers the Blosc filter with HDF5)
import numpy as np


def contents(path: Path) -> dict[str, Any]:
    """Values, types and chunks of all arrays, and all attributes, by path."""
    found: dict[str, Any] = {}

    def visit(name: str, item: h5py.Group | h5py.Dataset) -> None:
        for key, value in item.attrs.items():
            found[f"{name}@{key}"] = np.asarray(value).tolist()
        if isinstance(item, h5py.Dataset):
            found[name] = (str(item.dtype), item.shape, item.chunks, item[()].tobytes())
        else:
            found[name] = list(item)

    with h5py.File(path) as file:
        visit("", file)
        file.visititems(visit)
    return found


def assert_same_file(found: Path, wanted: Path) -> None:
    """Two files hold the same, wherever in them it lies."""
    one, other = contents(found), contents(wanted)
    assert one.keys() == other.keys()
    different = [key for key in one if one[key] != other[key]]
    assert not different, different[:5]
