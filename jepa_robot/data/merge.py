"""Joining files of our own without decompressing a picture."""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import h5py

from jepa_robot.data.format import fixed_text
from jepa_robot.data.layout import DAMAGE, require_layout
from jepa_robot.data.reader import TrajectoryReader
from jepa_robot.data.source import Progress, silent
from jepa_robot.data.splits import TRAIN, add_to_split, explicit
from jepa_robot.errors import ConfigError, DataError, OutputError
from jepa_robot.files import atomic_path
from jepa_robot.spec import Contract

_MEND = "copy the file again, or save what can be read with `jepa-robot data repair`"


def merge(
    parts: Sequence[Path], path: Path, report: Progress = silent, keep_splits: bool = True
) -> tuple[int, int]:
    """Write the complete episodes of all parts to ``path``, in their order, numbered anew.

    Compressed pictures are copied as they are. The new file's recipe names the parts and keeps their recipes; its
    ``env_args`` are those of the first part.

    Args:
        report: called after each episode with (episodes copied, all of them).
        keep_splits: whether episodes stay in the splits that the parts declare; then either all parts declare what
            is for training and what for validation, or none does.

    Returns:
        Episodes and actions in the new file.

    Raises:
        ConfigError: fewer than two parts, or one of them twice.
        DataError: a part cannot be read, an episode is not what the contract says, or only some parts declare splits.
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
    contract, made_from, env_args, splits = _compare(parts, keep_splits)
    total = sum(part["episodes"] for part in made_from)
    done = steps = 0
    with atomic_path(path) as temporary, h5py.File(temporary, "w") as file:
        data = file.create_group("data")
        for part in parts:
            with TrajectoryReader(part, contract=contract) as reader, h5py.File(part, "r") as source:
                for name, length in zip(reader.names, reader.lengths):
                    where = f"{part}:data/{name}"
                    with _reading(where):
                        require_layout(source["data"][name], contract, int(length), where)
                    copy_episode(source["data"], name, data, f"demo_{done}")
                    done, steps = done + 1, steps + int(length)
                    report(done, total)
        data.attrs["total"] = steps
        data.attrs["env_args"] = fixed_text(json.dumps(env_args))
        data.attrs["contract"] = fixed_text(contract.to_json())
        data.attrs["recipe"] = fixed_text(json.dumps({"merged_from": made_from}, sort_keys=True))
        data.attrs["seed"] = 0
        for split, members in splits.items():
            add_to_split(file, split, [f"demo_{i}" for i in members])
    return done, steps


def _compare(parts: Sequence[Path], keep_splits: bool) -> tuple[Contract, list[dict], dict, dict[str, list[int]]]:
    """The common contract, what the recipe says of each part, env_args, and the episodes of each split."""
    made_from: list[dict] = []
    splits: dict[str, list[int]] = {}
    splitting: dict[bool, Path] = {}  # a part that declares a split for training, and one that does not
    total = 0
    with TrajectoryReader(parts[0]) as first:
        contract, env_args = first.contract, first.env_args
    for part in parts:
        with TrajectoryReader(part) as reader:
            contract.require(reader.contract, str(parts[0]), str(part), "merge only files of the same contract")
            made_from.append({"file": part.name, "episodes": len(reader), "recipe": reader.recipe})
            declared = explicit(reader.splits, len(reader)) if keep_splits else {}
            for split, members in declared.items():
                splits.setdefault(split, []).extend((members + total).tolist())
            splitting.setdefault(TRAIN in declared, part)
            total += len(reader)
    if len(splitting) == 2:
        raise DataError(
            f"does not say which episodes are for training, as {splitting[True]} does", where=splitting[False],
            expected="splits in all parts or in none", mend="merge --without-splits leaves them out",
        )
    return contract, made_from, env_args, splits


def copy_episode(source: h5py.Group, name: str, target: h5py.Group, new: str) -> None:
    """Copy an episode of another file to ``target[new]``; chunks stay as they are.

    Raises:
        DataError: it cannot be read.
        OSError: the disk is full.
    """
    with _reading(f"{source.file.filename}:{source.name.lstrip('/')}/{name}"):
        source.copy(name, target, name=new)


@contextlib.contextmanager
def _reading(where: str) -> Iterator[None]:
    """Turn what h5py raises for damaged files into an error that says where."""
    try:
        yield
    except DAMAGE as error:
        if "No space left" in str(error):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error
        raise DataError(f"cannot be read: truncated or damaged ({error})", where=where, mend=_MEND) from error
