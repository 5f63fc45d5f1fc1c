"""Which episodes of a damaged HDF5 file are complete, and copying them as they are."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np

from jepa_robot.data.format import OBJECT_DIMS, OBJECT_KEY, STATE_KEY, Episode, text_of
from jepa_robot.data.layout import DAMAGE, is_own, read_through, require_layout
from jepa_robot.data.objects import Objects
from jepa_robot.data.splits import add_to_split, read_lists
from jepa_robot.errors import ContractError, DataError
from jepa_robot.spec import Contract

# Episodes are also asked for by name, as a damaged index may find one that it cannot list; so many names in a row
# without an episode mean that there are no more.
_MISSES = 1000
_OBSERVATIONS = ("obs", "next_obs", "observations")


@dataclass(frozen=True)
class Layout:
    """Where a file has its episodes.

    Attributes:
        group: what holds them.
        prefix: of their names, before a number; None where there is no group an episode: all of it is one thing.
        contract: of our own files.
    """

    group: str
    prefix: str | None
    contract: Contract | None = None


def find_layout(file: h5py.File) -> Layout:
    """Ours and robomimic's ``data/demo_i``, Minari's ``episode_i``, or anything else."""
    for group, prefix in (("data", "demo_"), ("/", "episode_")):
        layout = Layout(group, prefix)
        if episode_names(file, layout):
            try:
                return Layout(group, prefix, Contract.from_json(_own(file, group).attrs["contract"]))
            except (ContractError, *DAMAGE):
                return layout
    return Layout("/", None)


def episode_names(file: h5py.File, layout: Layout) -> list[str]:
    """What the group lists, in order; where it cannot be listed to its end, also what is found by name."""
    found: set[str] = set()
    pattern = re.compile(rf"{layout.prefix}\d+" if layout.prefix else ".*", re.DOTALL)
    try:
        for name in _own(file, layout.group):
            if pattern.fullmatch(name):
                found.add(name)
    except DAMAGE:
        number = misses = 0
        while layout.prefix and misses < _MISSES:
            name = f"{layout.prefix}{number}"
            misses = 0 if name in found or _holds(file, layout.group, name) else misses + 1
            if not misses:
                found.add(name)
            number += 1
    return sorted(found, key=lambda name: (int(name.removeprefix(layout.prefix)) if layout.prefix else 0, name))


def require_complete(file: h5py.File, layout: Layout, name: str, where: str) -> None:
    """Read all of an episode.

    Raises:
        DataError: it was not finished, or it is damaged.
    """
    try:
        group = _own(file, layout.group)
        if not is_own(group, name):
            raise DataError("is a link", where=where, expected="an episode of its own")
        item = group[name]
        if layout.prefix is None:
            read_through(item, where)
        elif not isinstance(item, h5py.Group):
            raise DataError("is not an episode", where=where, expected="a group")
        elif layout.contract is not None:
            _require_ours(item, layout.contract, where)
        else:
            _require_rows(item, layout, where)
    except DAMAGE as error:
        raise DataError(f"cannot be read: truncated or damaged ({error})", where=where) from error


def copy_episodes(file: h5py.File, layout: Layout, names: list[str], target: h5py.File) -> None:
    """Copy episodes, compressed as they are, their places in lists of splits, and the attributes of their group.

    What counts is counted anew.
    """
    source, group = file[layout.group], target.require_group(layout.group)
    for key, value in _attributes(source):
        group.attrs[key] = value
    steps = 0
    # Our own are numbered without gaps, so that a writer can go on.
    renamed = {name: f"{layout.prefix}{i}" if layout.contract else name for i, name in enumerate(names)}
    for name in names:
        source.copy(name, group, name=renamed[name])
        steps += len(source[name]["actions"]) if layout.prefix else 0
    if layout.prefix == "demo_":
        group.attrs["total"] = steps
        for split, members in _lists(file).items():
            kept = [renamed[name] for name in members if name in renamed]
            if kept:
                add_to_split(target, split, kept)
    elif layout.prefix == "episode_":
        group.attrs["total_episodes"], group.attrs["total_steps"] = len(names), steps


def _require_ours(demo: h5py.Group, contract: Contract, where: str) -> None:
    if not demo.attrs.get("complete", True):
        raise DataError("was not finished", where=where)
    require_layout(demo, contract, int(demo.attrs["num_samples"]), where)
    read_through(demo, where)

    def observed(key: str) -> np.ndarray:
        return np.concatenate([demo[f"obs/{key}"][:], demo[f"final_obs/{key}"][()][None]])

    objects = None
    if OBJECT_DIMS in demo.attrs:
        objects = Objects.from_text(text_of(demo.attrs[OBJECT_DIMS]), observed(OBJECT_KEY), f"{where}/obs/{OBJECT_KEY}")
    frames, states = observed(contract.camera.name), observed(STATE_KEY)
    Episode(frames, states, demo["actions"][:], objects=objects).check(contract, where)


def _require_rows(episode: h5py.Group, layout: Layout, where: str) -> None:
    """Actions as many as the episode says it has, and observations as many or one more."""
    rows = read_through(episode, where)
    steps = rows.get("actions", 0)
    stated = episode.attrs.get("num_samples" if layout.prefix == "demo_" else "total_steps")
    if stated is None and layout.prefix == "episode_":
        stated = steps  # not every version of Minari wrote it
    if not steps or stated != steps:
        raise DataError(f"has {steps} actions", where=where, expected=f"{stated}, as it says: it was not finished")
    for key, count in rows.items():
        if key.partition("/")[0] in _OBSERVATIONS and count not in (steps, steps + 1):
            raise DataError(f"has {count} rows", where=f"{where}/{key}", expected=f"{steps} or {steps + 1}")


def _own(file: h5py.File, group: str) -> h5py.Group:
    """A group of the file itself."""
    if group != "/" and not is_own(file, group):
        raise KeyError(group)
    return file[group]


def _holds(file: h5py.File, group: str, name: str) -> bool:
    try:
        return is_own(_own(file, group), name)
    except DAMAGE:
        return False


def _lists(file: h5py.File) -> dict[str, list[str]]:
    """Lists of splits; none where they are damaged."""
    try:
        return read_lists(file, "")
    except (DataError, *DAMAGE):
        return {}


def _attributes(group: h5py.Group) -> Iterator[tuple[str, Any]]:
    """Those that can be read."""
    try:
        for key in group.attrs:
            yield key, group.attrs[key]
    except DAMAGE:
        return
