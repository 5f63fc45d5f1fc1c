"""Writing recorded trajectories, one whole episode at a time."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np

from jepa_robot.data.format import (
    COMPRESSIONS,
    OBJECT_DIMS,
    OBJECT_KEY,
    OBJECT_MOVES,
    REWARDED,
    STATE_KEY,
    Episode,
    fixed_text,
)
from jepa_robot.data.journal import JournaledFile, journal_path
from jepa_robot.data.merge import copy_episode
from jepa_robot.data.reader import TrajectoryReader
from jepa_robot.data.splits import add_to_split
from jepa_robot.errors import DataError, OutputError
from jepa_robot.files import atomic_path
from jepa_robot.spec import Contract

# Large enough to compress well and small enough that reading one window does not decode an episode.
CHUNK_BYTES = 192 * 1024


class TrajectoryWriter:
    """Appends complete episodes to a file, which it makes when there is none.

    What was appended is permanent from the next `flush` or `close` on; a process killed at any
    moment leaves the file as the last of them left it, complete and readable.

    Args:
        path: the HDF5 file.
        contract: what the episodes are; an existing file has to have the same.
        env_args: robomimic's ``env_args``: env_name, type, env_kwargs.
        recipe: everything that made the episodes, to go on only with the same (JSON-able).
        seed: stored beside them.
        compression: ``"blosc"`` (LZ4, fast), ``"gzip"`` (every HDF5 reader has it) or ``"none"``.

    Raises:
        DataError: the existing file cannot be read, or is open elsewhere.
        ContractError: the existing file has another contract.
        OutputError: the file cannot be written.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        contract: Contract,
        env_args: dict[str, Any],
        recipe: dict[str, Any] | None = None,
        seed: int = 0,
        compression: str = "blosc",
    ):
        if compression not in COMPRESSIONS:
            raise DataError(f"compression {compression!r} is unknown", expected=f"one of {', '.join(COMPRESSIONS)}")
        self.path = Path(path)
        self.contract = contract
        self._compression = compression
        if self.path.exists():
            with TrajectoryReader(self.path, allow_empty=True) as reader:
                contract.require(reader.contract, "the new episodes", str(path), "write them to another file")
        else:
            # What is left of a file that was removed must not be applied to this one.
            if journal_path(self.path).exists():
                journal_path(self.path).unlink()
            self._create(env_args, recipe or {}, seed)
        try:
            self._file = JournaledFile(self.path)
        except OSError as error:
            raise self._output_error(error) from error
        try:
            self._h5 = h5py.File(self._file, "r+")
        except OSError as error:
            self._file.close()
            raise DataError(f"cannot be opened ({error})", where=path, mend="move it away") from error
        self._data = self._h5["data"]
        self._count = len(self._data)
        self._closed = False

    def __len__(self) -> int:
        """Episodes in the file, those not yet flushed included."""
        return self._count

    def append(
        self, episode: Episode, source: str | None = None, splits: Sequence[str] = (), number: int | None = None
    ) -> None:
        """Add ``episode`` as ``demo_<len(self)>``.

        Args:
            source: what the episode is called where it comes from.
            splits: that it belongs to, such as ``"train"``; they become permanent together with it.
            number: of the episode in place of ``len(self)``, in a shard (`jepa_robot.data.shards`).

        Raises:
            DataError: the episode does not fit the contract; the file is unchanged.
            OutputError: the disk is full; the file is as after the last `flush`.
        """
        name = f"demo_{self._count if number is None else number}"
        episode.check(self.contract, f"{self.path}:data/{name}")
        with self._appending(len(episode.actions)):
            self._write(name, episode, source)
            for split in splits:
                add_to_split(self._h5, split, [name])

    def append_copy(self, source: h5py.Group, name: str, steps: int) -> None:
        """Add an episode of ``steps`` actions that another writer with this contract wrote, decompressing no picture.

        Args:
            source: the group in the other file that holds it under ``name``.

        Raises:
            DataError: it cannot be read; the file is as after the last `flush`.
            OutputError: the disk is full; the file is as after the last `flush`.
        """
        with self._appending(steps):
            copy_episode(source, name, self._data, f"demo_{self._count}")

    def flush(self) -> None:
        """Make everything appended permanent.

        Raises:
            OutputError: the disk is full; the file is as after the flush before.
        """
        try:
            self._h5.flush()
            self._file.commit()
        except BaseException as error:
            self._abandon(error)
            raise

    def close(self) -> None:
        """Flush and close."""
        if self._closed:
            return
        try:
            self.flush()
        finally:
            self._shut()

    def __enter__(self) -> TrajectoryWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextlib.contextmanager
    def _appending(self, steps: int) -> Iterator[None]:
        """Count the episode that the block adds; where it fails, the file is as after the last flush."""
        try:
            yield
            self._data.attrs["total"] = int(self._data.attrs["total"]) + steps
        except BaseException as error:
            self._abandon(error)
            raise
        self._raise_if_failed()
        self._count += 1

    def _write(self, name: str, episode: Episode, source: str | None) -> None:
        steps = len(episode.actions)
        camera = self.contract.camera.name
        group = self._data.create_group(name)
        arrays = {
            "actions": episode.actions,
            f"obs/{camera}": episode.frames[:-1],
            f"obs/{STATE_KEY}": episode.states[:-1],
            f"final_obs/{camera}": episode.frames[-1],
            f"final_obs/{STATE_KEY}": episode.states[-1],
            "rewards": np.zeros(steps, np.float32) if episode.rewards is None else episode.rewards,
            "dones": (np.arange(steps) == steps - 1).astype(np.uint8),
        }
        if episode.times is not None:
            arrays["timestamps"] = episode.times
        if episode.objects is not None:
            arrays[f"obs/{OBJECT_KEY}"] = episode.objects.values[:-1]
            arrays[f"final_obs/{OBJECT_KEY}"] = episode.objects.values[-1]
        for key, array in arrays.items():
            group.create_dataset(key, data=array, **self._layout(array))
        group.attrs["num_samples"] = steps
        group.attrs["kind"] = fixed_text(episode.kind)
        group.attrs["seed"] = episode.seed
        if episode.rewards is not None:
            group.attrs[REWARDED] = True
        if source is not None:
            group.attrs["source"] = fixed_text(source)
        if episode.object_moves is not None:
            group.attrs[OBJECT_MOVES] = episode.object_moves
        if episode.objects is not None:
            group.attrs[OBJECT_DIMS] = fixed_text(episode.objects.dims_text())
        group.attrs["complete"] = True

    def _layout(self, array: np.ndarray) -> dict[str, Any]:
        """Chunks, checksum and compression of pictures; the small rest is stored as it is."""
        if array.ndim < 3:
            return {}
        rows = max(1, min(len(array), CHUNK_BYTES // max(1, array[0].nbytes)))
        layout: dict[str, Any] = {"chunks": (rows, *array.shape[1:]) if array.ndim == 4 else array.shape}
        layout["fletcher32"] = True  # a damaged picture is an error and not noise in the training data
        if self._compression == "gzip":
            layout |= {"compression": "gzip", "compression_opts": 4}
        elif self._compression == "blosc":
            layout["compression"] = hdf5plugin.Blosc(cname="lz4", shuffle=hdf5plugin.Blosc.NOSHUFFLE)
        return layout

    def _create(self, env_args: dict[str, Any], recipe: dict[str, Any], seed: int) -> None:
        with atomic_path(self.path) as temporary, h5py.File(temporary, "w") as file:
            data = file.create_group("data")
            data.attrs["total"] = 0
            data.attrs["env_args"] = fixed_text(json.dumps(env_args))
            data.attrs["contract"] = fixed_text(self.contract.to_json())
            data.attrs["recipe"] = fixed_text(json.dumps(recipe, sort_keys=True))
            data.attrs["seed"] = seed

    def _raise_if_failed(self) -> None:
        if self._file.error is not None:
            self._abandon(self._file.error)

    def _abandon(self, error: BaseException) -> None:
        """Go back to the last flush and close."""
        cause = self._file.error or error
        self._file.rollback()
        self._shut()
        if isinstance(cause, OSError):
            raise self._output_error(cause) from error

    def _shut(self) -> None:
        if not self._closed:
            self._closed = True
            self._file.rollback()
            self._h5.close()
            self._file.close()

    def _output_error(self, error: OSError) -> OutputError:
        return OutputError(
            f"cannot be written ({error.strerror or error})",
            where=self.path,
            mend="free space there and run the same command again, or choose another file",
        )
