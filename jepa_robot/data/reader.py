"""Reading recorded trajectories, lazily and with errors that say what is wrong."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin  # noqa: F401  (registers the Blosc filter with HDF5)
import numpy as np

from jepa_robot.data.format import STATE_KEY, Episode
from jepa_robot.data.journal import recover
from jepa_robot.errors import DataError
from jepa_robot.spec import Contract

EXPECTED = "recorded trajectories (HDF5)"
COLLECT = "record it again with `jepa-robot collect`"
# What h5py raises for damaged files, depending on where the damage lies.
_DAMAGE = (OSError, KeyError, RuntimeError, ValueError, TypeError)


class TrajectoryReader:
    """The complete episodes of a file, in the order in which they were recorded.

    Attributes:
        path, contract: the file and what its episodes are.
        env_args, recipe: how they were made, as the writer was told.
        names: the complete episodes' groups, e.g. ``["demo_0", "demo_1"]``.
        lengths: int64 [E], actions in each; an episode has one more frame.

    Args:
        path: an HDF5 file in the layout of ``datasets/README.md``.
        contract: refuse the file when its own contract differs from this one.
        allow_empty: accept a file without a complete episode.

    Raises:
        DataError: missing, truncated, being written, not HDF5, or not trajectories.
        ContractError: another contract.
    """

    def __init__(self, path: str | os.PathLike[str], contract: Contract | None = None, allow_empty: bool = False):
        self.path = Path(path)
        self._h5 = self._open()
        try:
            self._read_index(allow_empty)
            if contract is not None:
                contract.require(self.contract, "what is needed", str(path), "use data recorded for this contract")
        except BaseException:
            self.close()
            raise

    def __len__(self) -> int:
        return len(self.names)

    def read(self, index: int) -> Episode:
        """Episode ``index``, checked against the contract.

        Raises:
            DataError: names the file, the episode, the key and the step.
        """
        name = self.names[index]
        where = f"{self.path}:data/{name}"
        camera = self.contract.camera.name
        episode = Episode(
            frames=self._with_final(name, camera),
            states=self._with_final(name, STATE_KEY),
            actions=self._array(name, "actions"),
            kind=str(self._attribute(name, "kind", "unknown")),
            seed=int(self._attribute(name, "seed", 0)),
        )
        episode.check(self.contract, where)
        return episode

    def close(self) -> None:
        self._h5.close()

    def __enter__(self) -> TrajectoryReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

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
            data = self._h5.get("data")
            if not isinstance(data, h5py.Group):
                raise DataError("has no group 'data'", where=self.path, expected="robomimic's layout", mend=COLLECT)
            attributes = dict(data.attrs)
            lengths = {
                name: int(data[name].attrs["num_samples"])
                for name in data
                if name.startswith("demo_") and bool(data[name].attrs.get("complete", True))
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
        self.contract = Contract.from_json(attributes["contract"], where=f"{self.path}:data")
        self.env_args = self._json(attributes, "env_args")
        self.recipe = self._json(attributes, "recipe")
        try:
            self.names = sorted(lengths, key=lambda name: int(name.removeprefix("demo_")))
        except ValueError as error:
            raise DataError(f"episode name: {error}", where=f"{self.path}:data", expected="demo_<number>") from error
        self.lengths = np.array([lengths[name] for name in self.names], np.int64)
        if not self.names and not allow_empty:
            raise DataError("holds no complete episode", where=self.path, expected="at least one", mend=COLLECT)

    def _json(self, attributes: dict[str, Any], key: str) -> dict[str, Any]:
        try:
            return json.loads(attributes.get(key, "{}"))
        except (ValueError, TypeError) as error:
            raise DataError(f"attribute {key!r} is not JSON", where=f"{self.path}:data", mend=COLLECT) from error

    def _array(self, name: str, key: str) -> np.ndarray:
        try:
            group = self._h5["data"][name]
            if key not in group:
                where = f"{self.path}:data/{name}/{key}"
                raise DataError("is missing", where=where, expected="the layout of datasets/README.md", mend=COLLECT)
            return group[key][()]
        except _DAMAGE as error:
            raise self._damaged(f"data/{name}/{key}", error) from error

    def _with_final(self, name: str, key: str) -> np.ndarray:
        """[T + 1, ...]: the observations and the final one."""
        observations, final = self._array(name, f"obs/{key}"), self._array(name, f"final_obs/{key}")
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
            return self._h5["data"][name].attrs.get(key, default)
        except _DAMAGE as error:
            raise self._damaged(f"data/{name}", error) from error

    def _damaged(self, key: str, error: BaseException) -> DataError:
        return DataError(
            f"{key} cannot be read: truncated, damaged or still being written ({error})",
            where=self.path,
            mend=f"copy the file again, or {COLLECT}",
        )
