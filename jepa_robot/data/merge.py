"""Joining files of our own without decompressing a picture."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import h5py

from jepa_robot.data.format import fixed_text
from jepa_robot.data.layout import DAMAGE, require_layout
from jepa_robot.data.reader import TrajectoryReader
from jepa_robot.errors import ConfigError, DataError, OutputError
from jepa_robot.files import atomic_path
from jepa_robot.spec import Contract

_MEND = "copy the file again, or save what can be read with `jepa-robot data repair`"


def merge(
    parts: Sequence[Path], path: Path, report: Callable[[int, int], None] = lambda done, total: None
) -> tuple[int, int]:
    """Write the complete episodes of all parts to ``path``, in their order, numbered anew.

    Compressed pictures are copied as they are. The new file's recipe names the parts and keeps their recipes; its
    ``env_args`` are those of the first part.

    Args:
        report: called after each episode with (episodes copied, all of them).

    Returns:
        Episodes and actions in the new file.

    Raises:
        ConfigError: fewer than two parts, or one of them twice.
        DataError: a part cannot be read, or an episode is not what the contract says.
        ContractError: the parts have different contracts.
        OutputError: ``path`` exists, or cannot be written.
    """
    parts, path = [Path(part) for part in parts], Path(path)
    if len(parts) < 2:
        raise ConfigError("there is nothing to join", expected="at least two files")
    for i, part in enumerate(parts):
        if part.exists() and any(other.exists() and os.path.samefile(part, other) for other in parts[:i]):
            raise ConfigError("is given twice", where=part, expected="each file once")
    if path.exists():
        raise OutputError("exists", where=path, mend="choose another output file, or remove it")
    contract, made_from, env_args, total = _compare(parts)
    done = steps = 0
    with atomic_path(path) as temporary, h5py.File(temporary, "w") as file:
        data = file.create_group("data")
        for part in parts:
            with TrajectoryReader(part, contract=contract) as reader, h5py.File(part, "r") as source:
                for name, length in zip(reader.names, reader.lengths):
                    _copy(source["data"], name, data, f"demo_{done}", int(length), contract, f"{part}:data/{name}")
                    done, steps = done + 1, steps + int(length)
                    report(done, total)
        data.attrs["total"] = steps
        data.attrs["env_args"] = fixed_text(json.dumps(env_args))
        data.attrs["contract"] = fixed_text(contract.to_json())
        data.attrs["recipe"] = fixed_text(json.dumps({"merged_from": made_from}, sort_keys=True))
        data.attrs["seed"] = 0
    return done, steps


def _compare(parts: Sequence[Path]) -> tuple[Contract, list[dict], dict, int]:
    """The common contract, what the recipe says of each part, env_args, and the number of all episodes."""
    made_from: list[dict] = []
    with TrajectoryReader(parts[0]) as first:
        contract, env_args = first.contract, first.env_args
    for part in parts:
        with TrajectoryReader(part) as reader:
            contract.require(reader.contract, str(parts[0]), str(part), "merge only files of the same contract")
            made_from.append({"file": part.name, "episodes": len(reader), "recipe": reader.recipe})
    return contract, made_from, env_args, sum(part["episodes"] for part in made_from)


def _copy(
    source: h5py.Group, name: str, target: h5py.Group, new: str, steps: int, contract: Contract, where: str
) -> None:
    """Copy one episode; chunks stay as they are."""
    try:
        require_layout(source[name], contract, steps, where)
        source.copy(name, target, name=new)
    except DAMAGE as error:
        if "No space left" in str(error):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error
        raise DataError(f"cannot be read: truncated or damaged ({error})", where=where, mend=_MEND) from error
