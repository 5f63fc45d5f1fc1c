"""Endless batches of training windows: any number of workers, the same order; resumable at the sample."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from jepa_robot.data.augment import Augment, augmented
from jepa_robot.data.order import SampleOrder
from jepa_robot.data.sources.hdf5_guard import KnownFile, known_files, remember
from jepa_robot.data.windows import Trajectories, WindowIndex, Windows
from jepa_robot.errors import DataError, JepaRobotError


@dataclass(frozen=True)
class LoaderConfig:
    """How windows are drawn and read.

    Attributes:
        skip: recorded steps between the frames of a window; its actions stand for so many.
        weights: relative frequency of each source; None: as many samples as it has windows.
        workers: processes that read ahead; 0 reads when asked.
        augment: changes of the pictures.
        rank, ranks: this process's share of every global batch, in training on several machines.
    """

    skip: int = 1
    weights: tuple[float, ...] | None = None
    workers: int = 0
    augment: Augment = Augment()
    rank: int = 0
    ranks: int = 1


class WindowBatches:
    """Endless batches of windows, drawn from all sources by `SampleOrder`.

    Batch number b of a global batch size of ranks * B holds the samples b * ranks * B and following, of which
    each rank takes its B.

    Args:
        trajectories: the data.
        episodes: those to draw from, e.g. the training split.
        frames: T, frames in a window.
        batch_size: B, of this process; with fewer windows in all than that, a batch holds as many.
        seed: of the order and of the augmentation.

    Raises:
        DataError: no episode is as long as a window.
    """

    def __init__(
        self,
        trajectories: Trajectories,
        episodes: np.ndarray,
        frames: int,
        batch_size: int,
        seed: int = 0,
        config: LoaderConfig = LoaderConfig(),
    ):
        episodes = np.asarray(episodes)
        parts = int(trajectories.parts.max()) + 1
        if config.weights is not None and len(config.weights) != parts:
            raise DataError(f"{len(config.weights)} weights for {parts} sources", expected="one for each")
        groups = [episodes[trajectories.parts[episodes] == part] for part in range(parts)]
        indices = [WindowIndex(trajectories, group, frames, config.skip) for group in groups]
        total = len(WindowIndex.at_least_one(trajectories, episodes, frames, config.skip, "episode"))
        try:
            order = SampleOrder([len(index) for index in indices], config.weights, seed)
        except ValueError as error:
            raise DataError(str(error), where="weights", expected="a weight above 0 for some source") from error
        self.windows = total
        self._seed, self._config = seed, config
        self._reader = _BatchReader(trajectories, indices, order, frames, min(batch_size, total), seed, config)
        self._batch = 0
        self._stream: Iterator[Windows | JepaRobotError] | None = None

    def __iter__(self) -> Iterator[Windows]:
        return self

    def __next__(self) -> Windows:
        if self._stream is None:
            self._stream = self._begin()
        batch = next(self._stream)
        if isinstance(batch, JepaRobotError):
            self._stream = None
            raise batch
        self._batch += 1
        return batch

    def state_dict(self) -> dict[str, int]:
        """Where the iteration stands, for `load_state_dict`."""
        return {"seed": self._seed, "batch": self._batch, "windows": self.windows}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on with exactly the batches that would have followed.

        Raises:
            DataError: the state belongs to other data or another seed.
        """
        for name, mine in (("windows", self.windows), ("seed", self._seed)):
            if state[name] != mine:
                raise DataError(
                    f"the data have {name} {mine}", expected=f"{state[name]}, as when training was interrupted",
                    mend="resume with the same data, window length and seed",
                )
        self._batch = state["batch"]
        self._stream = None

    def _begin(self) -> Iterator[Windows | JepaRobotError]:
        numbers = itertools.count(self._batch)
        if not self._config.workers:
            return map(self._reader.__getitem__, numbers)
        # Spawned, not forked: a fork would copy the locks of the parent's HDF5 library and threads.
        return iter(
            DataLoader(
                self._reader, batch_size=None, sampler=_Numbers(self._batch), num_workers=self._config.workers,
                multiprocessing_context="spawn",
                worker_init_fn=functools.partial(_start_worker, known_files()),
            )
        )


class _Numbers(torch.utils.data.Sampler):
    """first, first + 1, ... without end."""

    def __init__(self, first: int):
        self._first = first

    def __iter__(self) -> Iterator[int]:
        return itertools.count(self._first)


class _BatchReader(Dataset):
    """Reads batch number b, in whatever process."""

    def __init__(
        self,
        trajectories: Trajectories,
        indices: Sequence[WindowIndex],
        order: SampleOrder,
        frames: int,
        batch_size: int,
        seed: int,
        config: LoaderConfig,
    ):
        self._trajectories, self._indices, self._order = trajectories, list(indices), order
        self._frames, self._batch_size, self._seed, self._config = frames, batch_size, seed, config

    def __getitem__(self, batch: int) -> Windows | JepaRobotError:
        """The batch; or the error, which torch would turn into a page of text on its way between processes."""
        config = self._config
        first = (batch * config.ranks + config.rank) * self._batch_size
        groups, numbers = self._order.samples(first, self._batch_size)
        starts = np.empty(len(numbers), np.int64)
        for group in np.unique(groups):
            starts[groups == group] = self._indices[group].starts(numbers[groups == group])
        try:
            windows = self._trajectories.gather(starts, self._frames, config.skip)
        except JepaRobotError as error:
            return error
        samples = first + np.arange(len(starts))
        frames = augmented(windows.frames, config.augment, self._seed, samples)
        return Windows(frames, windows.states, windows.actions, windows.index)


def _start_worker(known: dict[KnownFile, dict[str, str]], worker: int) -> None:
    """One thread each: the processes are what runs at the same time, and training needs the rest.

    Args:
        known: files that need not be looked through for damage again.
    """
    remember(known)
    torch.set_num_threads(1)
