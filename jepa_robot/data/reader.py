"""Reading recorded trajectories, lazily and with errors that say what is wrong."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin  # noqa: F401  (registers the Blosc filter with HDF5)
import numpy as np

from jepa_robot.data.arrays import StoredArrays
from jepa_robot.data.derive import choose, crop_of, picture_size, shape_pictures
from jepa_robot.data.format import OBJECT_DIMS, OBJECT_KEY, OBJECT_MOVES, REWARDED, STATE_KEY, Episode, text_of
from jepa_robot.data.journal import journal_path, recover
from jepa_robot.data.layout import DAMAGE, is_own, require_stored
from jepa_robot.data.objects import Objects
from jepa_robot.data.source import Progress, Source, SourceOptions, silent
from jepa_robot.data.sources.hdf5_guard import require_safe
from jepa_robot.data.splits import read_splits
from jepa_robot.errors import DataError
from jepa_robot.spec import Contract

EXPECTED = "recorded trajectories (HDF5)"
COLLECT = "record it again with `jepa-robot collect`"
# Finding an episode takes half as long as reading a window of it, so that what was found is kept, up to this size.
_REMEMBERED_BYTES = 64 * 2**20
_BYTES_AN_EPISODE, _BYTES_A_PICTURE = 4_000, 30  # of Python's objects; of where a picture lies and when it was taken
_FEWEST = 64


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
        except DAMAGE:
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
        try:
            self._read_index(allow_empty)
            entries = self._worth_remembering()
            self._pictures = lru_cache(entries)(self._arrays.pictures)
            self._numbers = lru_cache(entries)(self._read_numbers)
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
        frames = self._observations(name, self.contract.camera.name, start, stop, total)
        attributes = self._attributes(name)
        episode = dataclasses.replace(
            self._numbers_between(index, start, stop),
            frames=frames,
            kind=text_of(attributes.get("kind", "unknown")),
            seed=int(attributes.get("seed", 0)),
            rewards=self._array(f"{name}/rewards", slice(start, stop)) if attributes.get(REWARDED, False) else None,
            object_moves=self.object_moves(index) if stop - start == total else None,
            objects=self._objects(index, attributes, start, stop),
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

    def read_window(self, index: int, start: int, stop: int, step: int, pictures: np.ndarray) -> Episode:
        if self._options.image_size is None and self._fill(index, range(start, stop + 1, step), pictures):
            return dataclasses.replace(self._numbers_between(index, start, stop), frames=pictures)
        return super().read_window(index, start, stop, step, pictures)

    def object_moves(self, index: int) -> int | None:
        """How many actions of an episode moved the task's object; None where there is none, or nobody looked."""
        moves = self._attributes(self.names[index]).get(OBJECT_MOVES)
        return None if moves is None else int(moves)

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
            self._arrays = StoredArrays(data)
            attributes = self._arrays.attributes("")
            if not {"contract", "recipe"} <= set(attributes):  # perhaps too long for the header, and in a heap
                require_safe(self.path, "data")
                attributes = dict(data.attrs)
            names = [name for name in data if name.startswith("demo_")]
            episodes = {name: self._arrays.attributes(name, ("num_samples", "complete")) for name in names}
            lengths = {
                name: int(found["num_samples"]) for name, found in episodes.items() if bool(found.get("complete", True))
            }
        except DAMAGE as error:
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
        except DAMAGE as error:
            raise self._damaged("mask", error) from error
        if not self.names and not allow_empty:
            raise DataError("holds no complete episode", where=self.path, expected="at least one", mend=COLLECT)

    def _worth_remembering(self) -> int:
        """Of how many episodes the numbers, and where the pictures lie, are kept in memory."""
        numbers = 4 * (len(self.contract.actions) + len(self.contract.states))
        bytes_a_step = numbers + _BYTES_A_PICTURE
        mean_length = float(self.lengths.mean()) if len(self.lengths) else 0.0
        return max(_FEWEST, int(_REMEMBERED_BYTES / (_BYTES_AN_EPISODE + bytes_a_step * mean_length)))

    def _as_asked(self, contract: Contract) -> Contract:
        """The file's contract with the camera and image size of the options."""
        options = self._options
        # What the file says, too, may be given: another source, read with the same options, may need it.
        own = {"state": None, "fps": contract.fps, "task": contract.task, "contract": None}
        given = [name for name, value in own.items() if getattr(options, name) not in (None, value)]
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

    def _read_numbers(self, index: int) -> Episode:
        """What a window needs but its pictures: little enough to be read at once and kept for a while."""
        name, total = self.names[index], int(self.lengths[index])
        return Episode(
            frames=np.empty(0),
            states=self._observations(name, STATE_KEY, 0, total, total),
            actions=self._array(f"{name}/actions"),
            times=self._array(f"{name}/timestamps", optional=True),
        )

    def _numbers_between(self, index: int, start: int, stop: int) -> Episode:
        """Frames ``start`` to ``stop``, both included, without their pictures."""
        numbers = self._numbers(index)
        return dataclasses.replace(
            numbers,
            states=numbers.states[start : stop + 1],
            actions=numbers.actions[start:stop],
            times=None if numbers.times is None else numbers.times[start : stop + 1],
        )

    def _fill(self, index: int, rows: range, pictures: np.ndarray) -> bool:
        """Put pictures into an array, where they are stored in a way that allows it."""
        total, final = int(self.lengths[index]), rows[-1] == self.lengths[index]
        recorded, last = (f"{self.names[index]}/{group}/{self.contract.camera.name}" for group in ("obs", "final_obs"))
        parts = [(recorded, total, rows[: len(rows) - final], pictures)]
        if final:
            parts.append((last, 1, range(1), pictures[-1:]))
        for key, count, wanted, out in parts:
            with self._reading(key):
                stored = self._pictures(key)
                if stored is None or stored.shape != (count, *out.shape[1:]):
                    return False
                stored.read(wanted, out)
        return True

    def _objects(self, index: int, attributes: dict[str, Any], start: int, stop: int) -> Objects | None:
        """Where the objects are in frames ``start`` to ``stop``, both included."""
        if OBJECT_DIMS not in attributes:
            return None
        values = self._observations(self.names[index], OBJECT_KEY, start, stop, int(self.lengths[index]))
        return Objects.from_text(text_of(attributes[OBJECT_DIMS]), values, f"{self.where(index)}/obs/{OBJECT_KEY}")

    def _observations(self, name: str, key: str, start: int, stop: int, total: int) -> np.ndarray:
        """Rows start to stop, both included; the last of all is the final observation."""
        observations = self._array(f"{name}/obs/{key}", slice(start, min(stop + 1, total)))
        if stop < total:
            return observations
        final = self._array(f"{name}/final_obs/{key}")
        if observations.shape[1:] != final.shape or observations.dtype != final.dtype:
            raise DataError(
                f"is {final.dtype} {list(final.shape)}",
                where=f"{self.path}:data/{name}/final_obs/{key}",
                expected=f"{observations.dtype} {list(observations.shape[1:])}, like obs/{key}",
                mend=COLLECT,
            )
        return np.concatenate([observations, final[None]])

    def _array(self, key: str, rows: slice | tuple[()] = (), optional: bool = False) -> Any:
        with self._reading(key):
            stored = self._pictures(key) if key.endswith(f"/{self.contract.camera.name}") else None
            if stored is not None:
                wanted = range(rows.start, min(rows.stop, stored.shape[0])) if isinstance(rows, slice) else range(1)
                pictures = np.empty((len(wanted), *stored.shape[1:]), np.uint8)
                stored.read(wanted, pictures)
                return pictures if isinstance(rows, slice) else pictures[0]
            values = self._arrays.read(key, rows)
            if values is not None and np.ndim(values) >= 3:
                array = h5py.Dataset(self._arrays.find(key))
                require_stored(array, rows.start if isinstance(rows, slice) else 0, values, f"{self.path}:data/{key}")
        if values is None and not optional:
            raise DataError(
                "is missing", where=f"{self.path}:data/{key}", expected="the layout of datasets/README.md", mend=COLLECT
            )
        return values

    def _attributes(self, name: str) -> dict[str, Any]:
        with self._reading(name):
            return self._arrays.attributes(name)

    @contextlib.contextmanager
    def _reading(self, key: str) -> Iterator[None]:
        """Turn what h5py raises for damaged files into an error that names the key."""
        try:
            yield
        except DAMAGE as error:
            raise self._damaged(f"data/{key}", error) from error

    def _damaged(self, key: str, error: BaseException) -> DataError:
        return DataError(
            f"{key} cannot be read: truncated, damaged or still being written ({error})",
            where=self.path,
            mend=f"copy the file again, save what can be read with `jepa-robot data repair`, or {COLLECT}",
        )
