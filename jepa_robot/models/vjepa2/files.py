"""Reading the files that V-JEPA 2's weights are published in, without running what is in them.

Tensors are mapped from the file: they take memory when they are looked at, and only then.
"""

from __future__ import annotations

import json
import pickle
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy._core.multiarray import scalar
from safetensors import SafetensorError, safe_open
from torch import Tensor

from jepa_robot.errors import CheckpointError

_POINTER = b"version https://git-lfs"
_WEIGHTS, _INDEX, _CONFIG = "model.safetensors", "model.safetensors.index.json", "config.json"
# NumPy's numbers, which a training loop may have put among its figures.
_NUMBERS = [
    *((scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")), np.dtype,
    *(type(np.dtype(kind)) for kind in (np.float32, np.float64, np.int32, np.int64)),
]
_FETCH = "download it again"


def read_torch(path: Path) -> dict[str, Any]:
    """The outer dictionary of a ``.pt`` file; of its values only tensors and plain data are read.

    Raises:
        CheckpointError: missing, incomplete, of another format, or with code in it.
    """
    _check_whole(path, "a .pt file")
    _check_archive(path)
    try:
        with torch.serialization.safe_globals(_NUMBERS):
            content = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    except pickle.UnpicklingError as error:
        named = re.search(r"GLOBAL ([\w.]+)", str(error))
        raise CheckpointError(
            f"has more than weights in it{f', {named[1]}' if named else ''}; none of it was run", where=path,
            expected="tensors and plain data", mend="do not use it unless you know where it comes from",
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise CheckpointError(f"cannot be read ({_first_line(error)})", where=path, mend=_FETCH) from error
    if not isinstance(content, dict):
        raise CheckpointError(f"holds a {type(content).__name__}", where=path, expected="a dictionary")
    return content


def read_folder(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """``config.json`` and all tensors of a Hugging Face folder, in one file or in several with an index.

    Raises:
        CheckpointError: a file is missing, incomplete, or of another format; an index and its files disagree.
    """
    config = _read_json(folder / _CONFIG)
    if config.get("model_type") != "vjepa2":
        raise CheckpointError(
            f"is of model_type {config.get('model_type')!r}", where=folder / _CONFIG, expected="'vjepa2'"
        )
    if not (folder / _INDEX).exists():
        return config, _read_safetensors(folder / _WEIGHTS)
    index = _read_json(folder / _INDEX).get("weight_map")
    if not isinstance(index, Mapping) or not all(
        isinstance(shard, str) and Path(shard).name == shard for shard in index.values()
    ):
        raise CheckpointError("has no weight_map of file names", where=folder / _INDEX, mend=_FETCH)
    tensors: dict[str, Tensor] = {}
    for shard in sorted(set(index.values())):
        found = _read_safetensors(folder / shard)
        listed = {name for name, file in index.items() if file == shard}
        if odd := sorted(listed ^ found.keys()):
            what = f"lacks {odd[0]}" if odd[0] in listed else f"has {odd[0]}, which {_INDEX} does not name"
            raise CheckpointError(what, where=folder / shard, mend=_FETCH)
        tensors |= found
    return config, tensors


def _check_archive(path: Path) -> None:
    """Check that a file is what torch.save writes: a zip with a pickle in it, and no program."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = {Path(name).name for name in archive.namelist()}
    except (zipfile.BadZipFile, OSError) as error:
        with open(path, "rb") as file:
            begun = file.read(2) == b"PK"
        raise CheckpointError(
            "is incomplete" if begun else "is no .pt file", where=path, expected="a file written by torch.save",
            mend=_FETCH if begun else "one from before torch 1.6 has to be saved again",
        ) from error
    if "data.pkl" not in names or "constants.pkl" in names:
        what = "is a TorchScript program" if "data.pkl" in names else "is a zip file of another kind"
        raise CheckpointError(what, where=path, expected="a file written by torch.save")


def _check_whole(path: Path, expected: str) -> None:
    """Check that there is a file, that it is not empty, and not what git leaves in the place of a large one."""
    try:
        with open(path, "rb") as file:
            head = file.read(len(_POINTER))
    except OSError as error:
        raise CheckpointError(
            f"cannot be read ({error.strerror})", where=path, expected=expected
        ) from error
    if not head:
        raise CheckpointError("is empty", where=path, expected=expected, mend=_FETCH)
    if head == _POINTER:
        raise CheckpointError(
            "is a git-lfs pointer, not the file itself", where=path, expected=expected, mend="run git lfs pull there"
        )


def _read_json(path: Path) -> dict[str, Any]:
    _check_whole(path, "a file of a Hugging Face folder")
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"is not JSON ({_first_line(error)})", where=path, mend=_FETCH) from error
    if not isinstance(data, dict):
        raise CheckpointError(f"holds a {type(data).__name__}", where=path, expected="an object")
    return data


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    _check_whole(path, "a .safetensors file")
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"cannot be read ({_first_line(error)})", where=path, mend=_FETCH) from error


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
