"""stable-worldmodel's HDF5 files: https://github.com/galilai-group/stable-worldmodel

One flat array a column; episode i is the rows ``ep_offset[i]`` to ``ep_offset[i] + ep_len[i]``. The action of a row
leads from its picture to the next row's, and that of an episode's last row means nothing (it is not a number, or the
action that led to the first picture): n rows are n - 1 actions here.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from jepa_robot.data.derive import make_contract, unnamed_dims
from jepa_robot.data.source import Progress
from jepa_robot.data.sources.fields import (
    Field,
    choose_camera,
    choose_state,
    dim_names,
    plausible_lengths,
    to_rgb,
)
from jepa_robot.data.sources.hdf5 import Hdf5File
from jepa_robot.data.sources.hdf5_source import Hdf5Source, holds
from jepa_robot.data.sources.paths import inside
from jepa_robot.errors import DataError

LENGTH, OFFSET, ACTION, REWARD = "ep_len", "ep_offset", "action", "reward"
DEFAULT_CAMERA = "pixels"
# What a robot feels. The columns state and observation often hold what only a simulator knows: ask for them by name.
DEFAULT_STATE = "proprio"
_EXPECTED = "a data set of stable-worldmodel (HDF5)"


class StableWorldModel(Hdf5Source):
    """A file of stable-worldmodel's columns, or the folder with the only such file.

    The camera is ``pixels``, or the first of the pictures; the state is ``proprio``, or none. The format does not
    record a frame rate: the options have to give it. Bounds are those of the data. Episodes are called episode_0,
    episode_1, ...
    """

    format = "stable_worldmodel"

    @classmethod
    def recognises(cls, path: Path) -> bool:
        try:
            file = _file_of(path)
        except (DataError, OSError):
            return False
        return holds(file, lambda file: {LENGTH, OFFSET} <= set(file.names("/")))

    # -- internals --------------------------------------------------------------------------

    def _open(self) -> Hdf5File:
        return Hdf5File(_file_of(self.path), _EXPECTED)

    def _read_index(self, report: Progress) -> None:
        file, columns = self._file, {}
        names = file.names("/")
        for name in (LENGTH, OFFSET, ACTION):
            if name not in names:
                raise DataError("is missing", where=file.where(name), expected=_EXPECTED)
        for name in names:
            array = file.array(name)
            with file.reading(name):
                columns[name] = (len(array), Field(array.shape[1:], array.dtype))
        tables = {}
        for name in (LENGTH, OFFSET):
            rows, field = columns.pop(name)
            if field.shape != () or field.dtype.kind not in "iu":
                raise DataError(f"is {field} an episode", where=file.where(name), expected="a whole number")
            tables[name] = file.rows(name, 0, rows, rows, field).astype(np.int64)
        if len(tables[LENGTH]) != len(tables[OFFSET]):
            raise DataError(
                f"has {len(tables[OFFSET])} episodes", where=file.where(OFFSET),
                expected=f"{len(tables[LENGTH])}, like {LENGTH}",
            )
        if not len(tables[LENGTH]):
            raise DataError("holds no episodes", where=file.where(LENGTH), expected="at least one")
        self._rows = columns[ACTION][0]
        self._lengths, self._offsets = tables[LENGTH], tables[OFFSET]
        self._fields = {name: field for name, (_, field) in columns.items()}
        if not self._fields[ACTION].is_numbers:
            found = self._fields[ACTION]
            raise DataError(f"is {found} a step", where=file.where(ACTION), expected="a vector of numbers")
        observed = {name: field for name, field in self._fields.items() if name != ACTION}
        self._camera = choose_camera(observed, self._options.camera, file.path, (DEFAULT_CAMERA,))
        default = [DEFAULT_STATE] if DEFAULT_STATE in observed and observed[DEFAULT_STATE].is_numbers else []
        self._state = choose_state(observed, self._options.state, file.path, default)
        for name in (self._camera, *self._state):
            if columns[name][0] != self._rows:
                raise DataError(
                    f"has {columns[name][0]} rows", where=file.where(name), expected=f"{self._rows}, like {ACTION}"
                )
        self.names = [f"episode_{i}" for i in range(len(self._lengths))]
        good = (self._lengths >= 2) & (self._offsets >= 0) & (self._offsets <= self._rows - self._lengths)
        self.lengths = plausible_lengths((self._lengths - 1).tolist(), good.tolist())
        self.recipe = {"format": self.format, "columns": sorted(self._fields)}
        self._make_contract(report)

    def _make_contract(self, report: Progress) -> None:
        actions = dim_names(ACTION, self._fields[ACTION])
        states = [dim for name in self._state for dim in dim_names(name, self._fields[name])]
        bounds = [(np.full(len(dims), -1.0), np.full(len(dims), 1.0)) for dims in (actions, states)]
        if self._options.contract is None:
            bounds = self._seen_bounds(len(actions), len(states), report)
        self.contract = make_contract(
            self.path, self._options, self._file.path.stem, self._camera, *self._fields[self._camera].size, None,
            unnamed_dims(actions, *bounds[0]), unnamed_dims(states, *bounds[1]),
        )

    def _first_row(self, index: int) -> int:
        """First row of an episode, all of whose rows are there."""
        begin, rows = int(self._offsets[index]), int(self._lengths[index])
        if begin < 0 or rows < 0 or begin + rows > self._rows:
            raise DataError(
                f"is rows {begin} to {begin + rows}", where=self.where(index),
                expected=f"rows among the {self._rows} of {ACTION}",
            )
        if rows < 2:
            raise DataError(
                f"has {rows} rows, so no action leads from one frame to another", where=self.where(index),
                expected="at least 2",
            )
        return begin

    def _pictures(self, index: int, start: int, stop: int) -> np.ndarray:
        begin, field = self._first_row(index), self._fields[self._camera]
        return to_rgb(self._file.rows(self._camera, begin + start, begin + stop + 1, self._rows, field), field)

    def _actions_of(self, index: int, start: int, stop: int) -> np.ndarray:
        begin = self._first_row(index)
        return self._vectors([(ACTION, self._fields[ACTION])], begin + start, begin + stop, self._rows)

    def _states_of(self, index: int, start: int, stop: int) -> np.ndarray:
        begin = self._first_row(index)
        arrays = [(name, self._fields[name]) for name in self._state]
        return self._vectors(arrays, begin + start, begin + stop + 1, self._rows)

    def _rewards_of(self, index: int, start: int, stop: int) -> np.ndarray | None:
        first = self._first_row(index) + 1  # a row has what the action earned that led to its picture
        return self._scalars(REWARD, first + start, first + stop, self._rows)


def _file_of(path: Path) -> Path:
    """The file itself, or the only HDF5 file in a folder, which has to lie there.

    Raises:
        DataError: there is none, there are several, or it is a link out of the folder.
    """
    if not path.is_dir():
        return path
    files = sorted(file for file in path.iterdir() if file.suffix in (".h5", ".hdf5"))
    if len(files) != 1:
        raise DataError(
            f"holds {len(files)} HDF5 files", where=path, expected="one", mend="give the path of the file itself"
        )
    return inside(path, files[0].name)
