"""Episodes, compared value by value."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jepa_robot.data.format import Episode
from jepa_robot.data.reader import TrajectoryReader


def assert_same_episode(found: Episode, wanted: Episode) -> None:
    """The same pictures, states, actions, kind and seed."""
    np.testing.assert_array_equal(found.frames, wanted.frames)
    np.testing.assert_array_equal(found.states, wanted.states)
    np.testing.assert_array_equal(found.actions, wanted.actions)
    assert (found.kind, found.seed) == (wanted.kind, wanted.seed)


def assert_holds(path: Path, wanted: Sequence[Episode]) -> None:
    """A trajectory file holds exactly these episodes."""
    found = read_all(path)
    assert len(found) == len(wanted)
    for one, other in zip(found, wanted):
        assert_same_episode(one, other)


def read_all(path: Path) -> list[Episode]:
    """Every episode of a trajectory file."""
    with TrajectoryReader(path) as reader:
        return [reader.read(i) for i in range(len(reader))]


def seeds(path: Path) -> list[int | None]:
    """The seed of every episode of a trajectory file, which tells them apart."""
    return [episode.seed for episode in read_all(path)]
