"""Reading recorded trajectories, lazily and with errors that say what is wrong."""

from __future__ import annotations

import dataclasses
import json
import os
from functools import lru_cache
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin  # noqa: F401  (registers the Blosc filter with HDF5)
import numpy as np

from jepa_robot.data.derive import choose, crop_of, picture_size, shape_pictures
from jepa_robot.data.format import REWARDED, STATE_KEY, Episode, text_of
from jepa_robot.data.journal import journal_path, recover
from jepa_robot.data.layout import is_own, own_array, own_group, require_stored
from jepa_robot.data.pictures import StoredPictures
from jepa_robot.data.source import Progress, Source, SourceOptions, silent
from jepa_robot.data.splits import read_splits
from jepa_robot.errors import DataError
from jepa_robot.spec import Contract

EXPECTED = "recorded trajectories (HDF5)"
COLLECT = "record it again with `jepa-robot collect`"
_GROUPS = 1024  # that are kept open, as looking one up takes as long as reading a small array
# What h5py raises for damaged files, depending on where the damage lies.
_DAMAGE = (OSError, KeyError, RuntimeError, ValueError, TypeError)


class TrajectoryReader(Source):
    """The complete episodes of a file of our own, in the order in which they were recorded.

    Attributes:
        env_args: how to make the environment again, as the writer was told.

    Args:
        path: an HDF5 file in the layout of ``datasets/README.md``.
        options: only ``image_size`` and ``camera``: the file says everything else.
        contract: refuse the file when its own contract differs from this one.
        allow_empty: accept a file without a complete episode.

    Raises:
        DataError: missing, truncated, being written, not HDF5, or not trajectories.
        ContractError: another contract.
    """

    format = "jepa_robot"

    @classmethod
    def recognises(cls, path: Path) -> bool:
        try:
            with h5py.File(path, "r") as file:
                return is_own(file, "data") and "contract" in file["data"].attrs
        except _DAMAGE:
            return journal_path(path).exists()  # a write that was cut short is finished by opening it here

    def __init__(
        self,
        path: str | os.PathLike[str],
        options: SourceOptions = SourceOptions(),
        report: Progress = silent,
        *,
        contract: Contract | None = None,
        allow_empty: bool = False,
    ):
        self.path = Path(path)
        self._options = options
        self._h5 = self._open()
        self._group = lru_cache(_GROUPS)(self._find_group)
        self._numbers = lru_cache(_GROUPS)(self._read_numbers)
        self._stored = lru_cache(_GROUPS)(self._find_pictures)
        try:
            self._read_index(allow_empty)
            if contract is not None:
                contract.require(self.contract, "what is needed", str(path), "use data recorded for this contract")
        except BaseException:
            self.close()
            raise

    def where(self, index: int) -> str:
        return f"{self.path}:data/{self.names[index]}"

    def read(self, index: int, start: int = 0, stop: int | None = None) -> Episode:
        name, total = self.names[index], int(self.lengths[index])
        stop = total if stop is None else stop
        numbers = self._numbers(index)
        episode = dataclasses.replace(
            numbers,
            frames=self._observations(name, self.contract.camera.name, start, stop, total),
            states=numbers.states[start : stop + 1],
            actions=numbers.actions[start:stop],
            times=None if numbers.times is None else numbers.times[start : stop + 1],
            rewards=None if numbers.rewards is None else numbers.rewards[start:stop],
        )
        if len(episode.frames) and episode.frames.ndim == 4 and self._options.image_size is not None:
            episode = dataclasses.replace(episode, frames=shape_pictures(episode.frames, self._options))
        if np.ndim(episode.actions) and len(episode.actions) != stop - start:
            raise DataError(
                f"has {start + len(episode.actions)} actions",
                where=self.where(index),
                expected=f"{total}, its attribute num_samples",
                mend="record the episode again",
            )
        episode.check_shapes(self.contract, self.where(index))
        return episode

    def close(self) -> None:
        self._h5.close()

    # -- internals --------------------------------------------------------------------------

    def _open(self) -> h5py.File:
        if not self.path.exists():
            raise DataError("no such file", where=self.path, expected=EXPECTED, mend=COLLECT)
        if self.path.is_dir():
            raise DataError("is a folder", where=self.path, expected="an HDF5 file")
        if self.path.stat().st_size == 0:
            raise DataError("is empty (0 bytes)", where=self.path, expected=EXPECTED, mend=COLLECT)
        recover(self.path)
        try:
            return h5py.File(self.path, "r")
        except PermissionError as error:
            raise DataError("may not be read", where=self.path, mend="change its permissions") from error
        except OSError as error:
            text = str(error)
            if "unable to lock" in text or "already open" in text:
                raise DataError(
                    "is still being written by another process", where=self.path, mend="wait until it is done"
                ) from error
            if "signature not found" in text:
                raise DataError("is not an HDF5 file", where=self.path, expected=EXPECTED, mend=COLLECT) from error
            raise self._damaged("file", error) from error

    def _read_index(self, allow_empty: bool) -> None:
        try:
            data = self._h5["data"] if is_own(self._h5, "data") else None
            if not isinstance(data, h5py.Group):
                raise DataError("has no group 'data'", where=self.path, expected="robomimic's layout", mend=COLLECT)
            attributes = dict(data.attrs)
            names = [name for name in data if name.startswith("demo_")]
            for name in names:
                if not is_own(data, name):
                    raise DataError("is a link", where=f"{self.path}:data/{name}", expected="an episode of its own")
            lengths = {
                name: int(data[name].attrs["num_samples"])
                for name in names
                if bool(data[name].attrs.get("complete", True))
            }
        except _DAMAGE as error:
            raise self._damaged("data", error) from error
        if "contract" not in attributes:
            raise DataError(
                "group 'data' has no attribute 'contract'",
                where=self.path,
                expected="what the frames, actions and states are",
                mend=COLLECT,
            )
        self.contract = self._as_asked(Contract.from_json(attributes["contract"], where=f"{self.path}:data"))
        self.env_args = self._json(attributes, "env_args")
        self.recipe = self._json(attributes, "recipe")
        try:
            self.names = sorted(lengths, key=lambda name: int(name.removeprefix("demo_")))
        except ValueError as error:
            raise DataError(f"episode name: {error}", where=f"{self.path}:data", expected="demo_<number>") from error
        self.lengths = np.array([lengths[name] for name in self.names], np.int64)
        try:
            self.splits = read_splits(self._h5, self.names, self.path)
        except _DAMAGE as error:
            raise self._damaged("mask", error) from error
        if not self.names and not allow_empty:
            raise DataError("holds no complete episode", where=self.path, expected="at least one", mend=COLLECT)

    def _as_asked(self, contract: Contract) -> Contract:
        """The file's contract with the camera and image size of the options."""
        options = self._options
        given = [name for name in ("state", "fps", "task", "contract") if getattr(options, name) is not None]
        if given:
            raise DataError(
                f"has a contract of its own, so {given[0]} cannot be given", where=self.path, mend="leave it out"
            )
        names = [camera.name for camera in contract.cameras]
        chosen = choose("camera", options.camera, names, self.path)
        camera = next(c for c in contract.cameras if c.name == chosen)
        others = tuple(c for c in contract.cameras if c.name != chosen)
        if options.image_size is not None:
            height, width = picture_size(camera.height, camera.width, options)
            crop = camera.crop or crop_of(camera.height, camera.width, options)
            camera = dataclasses.replace(camera, height=height, width=width, crop=crop)
        return dataclasses.replace(contract, cameras=(camera, *others))

    def _json(self, attributes: dict[str, Any], key: str) -> dict[str, Any]:
        try:
            return json.loads(attributes.get(key, "{}"))
        except (ValueError, TypeError) as error:
            raise DataError(f"attribute {key!r} is not JSON", where=f"{self.path}:data", mend=COLLECT) from error

    def _array(self, name: str, key: str, rows: slice | tuple[()] = (), optional: bool = False) -> Any:
        try:
            folder, _, camera = key.partition("/")
            if camera == self.contract.camera.name:
                stored = self._stored(f"{name}/{key}")
                if stored is not None and folder == "final_obs":
                    return stored.read(0, 1)[0]
                if stored is not None:
                    return stored.read(rows.start, min(rows.stop, stored.shape[0]))
            where = f"{self.path}:data/{name}/{key}"
            group, _, last = f"{name}/{key}".rpartition("/")
            holder = self._group(group)
            array = None if holder is None else own_array(holder, last, where)
            if array is None:
                if optional:
                    return None
                raise DataError("is missing", where=where, expected="the layout of datasets/README.md", mend=COLLECT)
            values = array[rows]
            if values.ndim >= 3:
                require_stored(array, rows.start if isinstance(rows, slice) else 0, values, where)
            return values
        except _DAMAGE as error:
            raise self._damaged(f"data/{name}/{key}", error) from error

    def _read_numbers(self, index: int) -> Episode:
        """Everything of an episode but its pictures: little enough to be read at once and kept for a while."""
        name, total = self.names[index], int(self.lengths[index])
        return Episode(
            frames=np.empty(0),
            states=self._observations(name, STATE_KEY, 0, total, total),
            actions=self._array(name, "actions"),
            kind=text_of(self._attribute(name, "kind", "unknown")),
            seed=int(self._attribute(name, "seed", 0)),
            times=self._array(name, "timestamps", optional=True),
            rewards=self._array(name, "rewards") if self._attribute(name, REWARDED, False) else None,
        )

    def _find_pictures(self, path: str) -> StoredPictures | None:
        """The pictures at ``demo_i/obs/<camera>``, where they can be read past the HDF5 library."""
        group, _, name = path.rpartition("/")
        holder = self._group(group)
        array = None if holder is None else own_array(holder, name, f"{self.path}:data/{path}")
        if array is None or not StoredPictures.readable(array):
            return None
        return StoredPictures(array, self._h5.id.get_vfd_handle())

    def _find_group(self, path: str) -> h5py.Group | None:
        """``demo_i`` or ``demo_i/obs``; None where there is none."""
        above, _, name = path.rpartition("/")
        holder = self._group(above) if above else self._h5["data"]
        return None if holder is None else own_group(holder, name, f"{self.path}:data/{path}")

    def _observations(self, name: str, key: str, start: int, stop: int, total: int) -> np.ndarray:
        """Rows start to stop, both included; the last of all is the final observation."""
        observations = self._array(name, f"obs/{key}", slice(start, min(stop + 1, total)))
        if stop < total:
            return observations
        final = self._array(name, f"final_obs/{key}")
        if observations.shape[1:] != final.shape or observations.dtype != final.dtype:
            raise DataError(
                f"is {final.dtype} {list(final.shape)}",
                where=f"{self.path}:data/{name}/final_obs/{key}",
                expected=f"{observations.dtype} {list(observations.shape[1:])}, like obs/{key}",
                mend=COLLECT,
            )
        return np.concatenate([observations, final[None]])

    def _attribute(self, name: str, key: str, default: Any) -> Any:
        try:
            return self._group(name).attrs.get(key, default)
        except _DAMAGE as error:
            raise self._damaged(f"data/{name}", error) from error

    def _damaged(self, key: str, error: BaseException) -> DataError:
        return DataError(
            f"{key} cannot be read: truncated, damaged or still being written ({error})",
            where=self.path,
            mend=f"copy the file again, or {COLLECT}",
        )
