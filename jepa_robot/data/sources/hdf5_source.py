"""What the importers of HDF5 files have in common."""

from __future__ import annotations

import contextlib
import re
from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from jepa_robot.data.derive import shape_pictures
from jepa_robot.data.format import Episode
from jepa_robot.data.source import Progress, Source, SourceOptions, silent
from jepa_robot.data.sources.fields import Bounds, Field, bounds_of_readable
from jepa_robot.data.sources.hdf5 import Hdf5File
from jepa_robot.errors import DataError


class Hdf5Source(Source):
    """A source whose episodes lie in one HDF5 file.

    A format opens the file, reads its index, and says where the rows of an episode are.
    """

    def __init__(self, path: Path, options: SourceOptions = SourceOptions(), report: Progress = silent) -> None:
        self.path = Path(path)
        self._options = options
        self._file = self._open()
        try:
            self._read_index(report)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._file.close()

    def read(self, index: int, start: int = 0, stop: int | None = None) -> Episode:
        stop = int(self.lengths[index]) if stop is None else stop
        episode = Episode(
            frames=shape_pictures(self._pictures(index, start, stop), self._options),
            states=self._states_of(index, start, stop),
            actions=self._actions_of(index, start, stop),
            rewards=self._rewards_of(index, start, stop),
        )
        episode.check_shapes(self.contract, self.where(index))
        return episode

    # -- what a format says -----------------------------------------------------------------

    @abstractmethod
    def _open(self) -> Hdf5File:
        """The file that ``path`` stands for."""

    @abstractmethod
    def _read_index(self, report: Progress) -> None:
        """Set contract, names, lengths, recipe, splits."""

    @abstractmethod
    def _pictures(self, index: int, start: int, stop: int) -> np.ndarray:
        """uint8 [stop - start + 1, H, W, 3], as recorded."""

    @abstractmethod
    def _states_of(self, index: int, start: int, stop: int) -> np.ndarray:
        """float32 [stop - start + 1, P]."""

    @abstractmethod
    def _actions_of(self, index: int, start: int, stop: int) -> np.ndarray:
        """float32 [stop - start, A]."""

    @abstractmethod
    def _rewards_of(self, index: int, start: int, stop: int) -> np.ndarray | None:
        """float32 [stop - start]; None where there are none."""

    # -- what a format needs ----------------------------------------------------------------

    def _vectors(self, arrays: Iterable[tuple[str, Field]], start: int, stop: int, total: int) -> np.ndarray:
        """Rows ``start`` to ``stop`` (excluded) of arrays of ``total`` rows of numbers, side by side: float32 [n, D]."""
        columns = [self._file.numbers(key, start, stop, total, field) for key, field in arrays]
        return np.concatenate([np.empty((stop - start, 0), np.float32), *columns], axis=1)

    def _scalars(self, key: str, start: int, stop: int, total: int) -> np.ndarray | None:
        """The same of an array of one number a row: float32 [n]; None where there is no such array."""
        if not self._file.has(key):
            return None
        array = self._file.array(key)
        with self._file.reading(key):
            field = Field((1,) if array.shape[1:] == (1,) else (), array.dtype)
        return self._file.numbers(key, start, stop, total, field)[:, 0]

    def _seen_bounds(self, actions: int, states: int, report: Progress) -> tuple[Bounds, Bounds]:
        """Bounds of the A actions and of the P states in all episodes."""

        def read(index: int) -> tuple[np.ndarray, np.ndarray]:
            stop = int(self.lengths[index])
            return self._actions_of(index, 0, stop), self._states_of(index, 0, stop)

        return bounds_of_readable(read, len(self), (actions, states), report)


def holds(path: Path, sign: Callable[[Hdf5File], bool]) -> bool:
    """Whether ``path`` is an HDF5 file with the sign of a format: never an error."""
    try:
        with contextlib.closing(Hdf5File(path, "")) as file:
            return sign(file)
    except (DataError, OSError):
        return False


def in_order(names: Sequence[str], prefix: str, where: object) -> list[str]:
    """Names of episodes, ``prefix`` and a number, by their number.

    Raises:
        DataError: there is none, or another name.
    """
    pattern = re.compile(rf"{prefix}(\d+)")
    for name in names:
        if not pattern.fullmatch(name):
            raise DataError(f"has {name!r}", where=where, expected=f"{prefix}<number>")
    if not names:
        raise DataError("holds no episodes", where=where, expected=f"{prefix}0, {prefix}1, ...")
    return sorted(names, key=lambda name: int(name.removeprefix(prefix)))
