"""Which episodes train and which are held out: as the source declares it, or drawn at random."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import IntEnum
from typing import TYPE_CHECKING

import h5py
import numpy as np

from jepa_robot.data.arrays import StoredArrays
from jepa_robot.errors import DataError

if TYPE_CHECKING:
    from jepa_robot.data.source import Source

TRAIN, VALID = "train", "valid"
MASK = "mask"
_NAME = "S20"  # demo_ and any number
_CHUNK = 512  # names
Splits = Mapping[str, np.ndarray]


class Role(IntEnum):
    """What a source declares an episode to be for."""

    DRAWN = 0  # training or validation, which is drawn
    TRAIN = 1
    VALID = 2
    UNUSED = 3


def split_episodes(count: int, valid_fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Choose validation episodes at random.

    Returns:
        Sorted int64 indices of the training and of the validation episodes. With at least two
        episodes and a fraction above zero, neither is empty.
    """
    order = np.random.default_rng(seed).permutation(count)
    valid = round(count * valid_fraction)
    if valid_fraction > 0 and count > 1:
        valid = min(max(valid, 1), count - 1)
    return np.sort(order[valid:]), np.sort(order[:valid])


def split_by_role(roles: np.ndarray, valid_fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Training and validation episodes as declared; those without a declaration by `split_episodes`.

    Args:
        roles: int8 [E], see `roles_of`.

    Returns:
        Sorted int64 indices of both.
    """
    drawn = np.flatnonzero(roles == Role.DRAWN)
    train, valid = (drawn[chosen] for chosen in split_episodes(len(drawn), valid_fraction, seed))
    declared = (np.flatnonzero(roles == role) for role in (Role.TRAIN, Role.VALID))
    train, valid = (np.sort(np.concatenate(pair)) for pair in zip((train, valid), declared))
    return train, valid


def roles_of(splits: Splits, episodes: int) -> np.ndarray:
    """The `Role` int8 [episodes] of each episode of a source that declares these splits.

    Without ``train`` every episode is for training that ``valid`` does not hold out; without ``valid``, which of the
    training episodes are held out is drawn. With both, what is in neither is not used.
    """
    roles = np.full(episodes, Role.UNUSED if TRAIN in splits else Role.TRAIN, np.int8)
    roles[splits.get(TRAIN, [])] = Role.TRAIN
    if VALID not in splits:
        roles[roles == Role.TRAIN] = Role.DRAWN
    roles[splits.get(VALID, [])] = Role.VALID
    return roles


def joint_roles(sources: Iterable[Source]) -> np.ndarray:
    """`roles_of` the episodes of several sources, one after the other: what each declares holds for its own."""
    return np.concatenate([roles_of(source.splits, len(source)) for source in sources])


def splits_from_names(lists: Mapping[str, Iterable[str]], episodes: Sequence[str], where: str) -> dict[str, np.ndarray]:
    """Declared lists of names as sorted int64 indices of ``episodes``; empty lists say nothing and are left out.

    Args:
        where: file and group, for messages.

    Raises:
        DataError: a list names an unknown episode, or train and valid share one.
    """
    position = {name: i for i, name in enumerate(episodes)}
    splits: dict[str, np.ndarray] = {}
    for split, names in lists.items():
        if "/" in split or split in ("", ".", ".."):
            raise DataError(f"there is a list {split!r}", where=where, expected="a name that HDF5 can keep")
        found: set[int] = set()
        for name in names:
            if name not in position:
                raise DataError(
                    f"names {name!r}, which there is not", where=f"{where}/{split}",
                    expected=f"some of the {len(episodes)} episodes", mend="correct the list, or remove it",
                )
            found.add(position[name])
        if found:
            splits[split] = np.array(sorted(found), np.int64)
    both = np.intersect1d(splits.get(TRAIN, []), splits.get(VALID, []))
    if len(both):
        raise DataError(
            f"{TRAIN} and {VALID} share {len(both)} episodes, the first is {episodes[int(both[0])]!r}", where=where,
            expected="none in both", mend="correct the lists, or remove them",
        )
    return splits


def read_splits(file: h5py.File, episodes: Sequence[str], path: object) -> dict[str, np.ndarray]:
    """The splits that a file of our own declares.

    Raises:
        DataError: not lists of its episodes.
    """
    return splits_from_names(read_lists(file, path), episodes, f"{path}:{MASK}")


def read_lists(file: h5py.File, path: object) -> dict[str, list[str]]:
    """The lists under ``mask``, whatever they name.

    Raises:
        DataError: something else than lists of names.
    """
    arrays, lists = StoredArrays(file), {}
    for split in arrays.names(MASK):
        key = f"{MASK}/{split}"
        array = arrays.find(key)
        if array is None or len(array.shape or ()) != 1 or array.dtype.kind != "S":
            found = "a group" if array is None else f"{array.dtype} {list(array.shape or ())}"
            raise DataError(f"is {found}", where=f"{path}:{key}", expected="names of episodes")
        lists[split] = [name.decode("utf-8", "replace") for name in arrays.read(key).tolist()]
    return lists


def explicit(splits: Splits, episodes: int) -> dict[str, np.ndarray]:
    """The same splits, with a list ``train`` wherever ``valid`` alone says what it is."""
    implied = {} if VALID not in splits else {TRAIN: np.setdiff1d(np.arange(episodes), splits[VALID])}
    return implied | dict(splits)


def add_to_split(file: h5py.File, split: str, episodes: Sequence[str]) -> None:
    """Append names of episodes to the list ``mask/<split>``, which is made with the first ones.

    Names have a fixed length, as the other texts of a file.
    """
    group = file.require_group(MASK)
    if split not in group:
        group.create_dataset(split, (0,), _NAME, maxshape=(None,), chunks=(_CHUNK,))
    names = group[split]
    names.resize(len(names) + len(episodes), axis=0)
    names[-len(episodes) :] = np.array(episodes, _NAME)
