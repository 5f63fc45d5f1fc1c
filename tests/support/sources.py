"""What is asked of every source, whatever its format."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from jepa_robot.data.format import Episode
from jepa_robot.data.source import Source, SourceOptions
from jepa_robot.data.sources import open_source
from jepa_robot.errors import DataError


def read_all(source: Source) -> None:
    """Read every episode of a source, and close it."""
    with source:
        for index in range(len(source)):
            source.read(index)


def refused(format: type[Source], root: Path, *words: str, **options: object) -> str:
    """The one line with which a data set of a format is refused: it names the data set and has all words."""
    with pytest.raises(DataError) as error:
        read_all(format(root, SourceOptions(**options)))
    line = str(error.value)
    assert "\n" not in line
    for word in (root.name, *words):
        assert word in line, line
    return line


def assert_only_the_second_is_broken(source: Source, good: Source, message: str) -> None:
    """Of three episodes the second is refused with the message; the others are read as from the good source."""
    assert 1 <= source.lengths[1] <= good.lengths.max()
    with pytest.raises(DataError, match=message):
        source.read(1)
    for index in (0, 2):
        np.testing.assert_array_equal(source.read(index).frames, good.read(index).frames)


def assert_is_window(window: Episode, whole: Episode, start: int, stop: int) -> None:
    """It is what lies between frames ``start`` and ``stop`` of the whole episode."""
    for name in ("frames", "states", "times"):
        expected = getattr(whole, name)
        np.testing.assert_array_equal(getattr(window, name), None if expected is None else expected[start : stop + 1])
    np.testing.assert_array_equal(window.actions, whole.actions[start:stop])


def assert_every_window(path: Path, options: SourceOptions = SourceOptions()) -> None:
    """Every window of every episode is a part of it."""
    with open_source(path, options=options) as source:
        for index in range(len(source)):
            whole, length = source.read(index), int(source.lengths[index])
            for start in range(length):
                for stop in range(start + 1, length + 1):
                    assert_is_window(source.read(index, start, stop), whole, start, stop)


def assert_windows_in_any_order(path: Path, options: SourceOptions = SourceOptions()) -> None:
    """Windows are parts of their episodes, wherever the one before lay; none was read as a whole before."""
    with open_source(path, options=options) as source:
        whole = [source.read(i) for i in range(len(source))]
    rng = np.random.default_rng(0)
    with open_source(path, options=options) as source:
        for _ in range(80):
            index = int(rng.integers(len(source)))
            start = int(rng.integers(source.lengths[index]))
            stop = int(rng.integers(start + 1, source.lengths[index] + 1))
            assert_is_window(source.read(index, start, stop), whole[index], start, stop)
