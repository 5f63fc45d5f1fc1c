"""A data set that is read as it is needed, however large it is."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from jepa_robot.data.format import Episode
from jepa_robot.data.memory import joint_recipe
from jepa_robot.data.objects import Objects, joined
from jepa_robot.data.source import Progress, Source, SourceOptions, silent
from jepa_robot.data.sources import open_source
from jepa_robot.data.splits import joint_roles
from jepa_robot.data.windows import Trajectories, Windows, repeated_actions


@dataclass(frozen=True)
class SourceSpec:
    """How to open a source, in this process or another."""

    path: Path
    format: str | None = None
    options: SourceOptions = SourceOptions()

    def open(self, report: Progress = silent) -> Source:
        return open_source(self.path, self.format, self.options, report)


class TrajectoryFiles(Trajectories):
    """See `Trajectories`. Only the lengths of the episodes are in memory.

    It can be sent to other processes, each of which opens the sources anew when it first reads from them.

    Args:
        threads: that read the windows of a batch in this process; others, which are many already, have one.
        report: called while a source is opened that has to be looked at first, with (episodes done, all of them).

    Raises:
        DataError: a source cannot be opened.
        ContractError: the sources have different contracts.
    """

    def __init__(self, specs: Sequence[SourceSpec], threads: int = 1, report: Progress = silent):
        self.specs, self._threads = tuple(specs), threads
        self._open: dict[int, Source] = {}
        self._pool: ThreadPoolExecutor | None = None
        self._owner = os.getpid()
        for part, spec in enumerate(self.specs):
            self._open[part] = spec.open(report)
        sources = self.sources
        self.contract = sources[0].contract
        for source in sources[1:]:
            mend = "name the same cameras, states and image size for all of them, or give one contract"
            self.contract.require(source.contract, str(sources[0].path), str(source.path), mend)
        counts = [len(source) for source in sources]
        self.lengths = np.concatenate([source.lengths for source in sources]) + 1
        self.starts = np.cumsum(self.lengths) - self.lengths
        self.parts = np.repeat(np.arange(len(sources)), counts)
        self._first = np.cumsum(counts) - counts  # first episode of each source
        self.recipe: dict[str, Any] = joint_recipe(sources)
        self.roles = joint_roles(sources)

    @property
    def sources(self) -> list[Source]:
        return [self.source(part) for part in range(len(self.specs))]

    def source(self, part: int) -> Source:
        """Source number ``part``, opened by this process."""
        self._leave_parent()
        if part not in self._open:
            self._open[part] = self.specs[part].open()
        return self._open[part]

    def _leave_parent(self) -> None:
        """A forked process must not share its parent's open files, and has none of its threads."""
        if self._owner != os.getpid():
            self._open, self._pool, self._owner = {}, None, os.getpid()

    def close(self) -> None:
        for source in self._open.values():
            source.close()
        self._open = {}
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_open": {}, "_pool": None, "_threads": 1}

    def gather(self, starts: np.ndarray, frames: int, skip: int = 1) -> Windows:
        starts = np.asarray(starts)
        camera, span = self.contract.camera, skip * (frames - 1)
        pictures = np.empty((len(starts), frames, camera.height, camera.width, 3), np.uint8)
        states = np.empty((len(starts), frames, len(self.contract.states)), np.float32)
        actions = np.empty((len(starts), frames - 1, len(self.contract.actions)), np.float32)

        def fill(chosen: np.ndarray) -> None:
            for b in chosen.tolist():
                source, index, first = self._find(int(starts[b]))
                piece = source.read_window(index, first, first + span, skip, pictures[b])
                piece.check(self.contract, source.where(index), skip)
                states[b] = piece.states[::skip]
                actions[b] = repeated_actions(piece.actions, skip, self.contract)

        # Neighbours in the file one after the other: the nearer, the more is still in a cache.
        order = np.argsort(starts, kind="stable")
        if self._threads > 1:
            self._leave_parent()
            # Kept: new threads would need new memory for every batch.
            self._pool = self._pool or ThreadPoolExecutor(self._threads)
            list(self._pool.map(fill, np.array_split(order, self._threads)))  # raises what a thread raised
        else:
            fill(order)
        return Windows(
            torch.from_numpy(pictures), torch.from_numpy(states), torch.from_numpy(actions),
            torch.from_numpy(starts[:, None] + skip * np.arange(frames)),
        )

    def frames_at(self, rows: np.ndarray) -> np.ndarray:
        camera = self.contract.camera
        pictures = np.empty((len(rows), camera.height, camera.width, 3), np.uint8)
        for at, piece, offset in self._runs(rows):
            pictures[at] = piece.frames[offset]
        return pictures

    def states_at(self, rows: np.ndarray) -> np.ndarray:
        states = np.empty((len(rows), len(self.contract.states)), np.float32)
        for at, piece, offset in self._runs(rows):
            states[at] = piece.states[offset]
        return states

    def objects_at(self, rows: np.ndarray) -> Objects | None:
        found: list[Objects | None] = []
        for _, piece, offset in self._runs(rows):
            if piece.objects is None:
                return None
            found.append(piece.objects[offset])
        return joined(found)

    def actions_of(self, episode: int) -> np.ndarray:
        first = int(self.starts[episode])
        return self._read(first, first + int(self.lengths[episode]) - 1).actions

    def _read(self, first: int, last: int) -> Episode:
        """Rows ``first`` to ``last`` of one episode, checked against the contract."""
        source, index, start = self._find(first)
        piece = source.read(index, start, start + last - first)
        piece.check(self.contract, source.where(index))
        return piece

    def _find(self, row: int) -> tuple[Source, int, int]:
        """The source of a row, the episode's number there, and the row's in the episode."""
        episode = int(np.searchsorted(self.starts, row, side="right")) - 1
        part = int(self.parts[episode])
        return self.source(part), episode - int(self._first[part]), row - int(self.starts[episode])

    def _runs(self, rows: np.ndarray) -> Iterator[tuple[slice, Episode, slice]]:
        """Neighbouring rows of one episode together: (which of ``rows``, what was read, where they are in it)."""
        rows = np.asarray(rows)
        episodes = np.searchsorted(self.starts, rows, side="right") - 1
        breaks = np.flatnonzero((np.diff(rows) != 1) | (np.diff(episodes) != 0)) + 1
        for at in np.split(np.arange(len(rows)), breaks) if len(rows) else []:
            first, last = int(rows[at[0]]), int(rows[at[-1]])
            end = int(self.starts[episodes[at[0]]] + self.lengths[episodes[at[0]]]) - 1
            low = min(first, end - 1)  # at least two frames are read, which have an action between them
            piece = self._read(low, max(last, low + 1))
            yield slice(int(at[0]), int(at[-1]) + 1), piece, slice(first - low, last - low + 1)
