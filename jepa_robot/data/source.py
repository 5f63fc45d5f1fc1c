"""What a source of recorded trajectories is, whatever the format of its files."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Self

import numpy as np

from jepa_robot.data.format import Episode
from jepa_robot.spec import Contract

# Called with (episodes done, all of them).
Progress = Callable[[int, int], None]


def silent(done: int, total: int) -> None:
    """Progress that nobody looks at."""


@dataclass(frozen=True)
class SourceOptions:
    """How to read what a format leaves open; None takes what the source says of itself.

    Attributes:
        camera: name of the picture stream, as the source calls it.
        state: names of the arrays that make the proprioceptive state, one after the other.
        fps: frames a second.
        image_size: pictures are cut to their middle square and scaled to this many pixels.
        task: what the contract calls the task.
        contract: names, units, frames and bounds of all dimensions, in place of those derived from the data.
    """

    camera: str | None = None
    state: tuple[str, ...] | None = None
    fps: float | None = None
    image_size: int | None = None
    task: str | None = None
    contract: Contract | None = None


class Source(ABC):
    """Complete episodes of recorded trajectories, read a few frames at a time.

    An episode is T actions and T + 1 frames: action t leads from frame t to frame t + 1. A format that
    records as many frames as actions loses its last action here. Pictures are uint8 RGB of the
    contract's size; states and actions are as recorded, not yet checked against the contract.

    Attributes:
        format: the format's name, by which it can be asked for.
        path: where the source is.
        contract: what its frames, states and actions are, without normalisation.
        names: the episodes, as the source calls them, in order.
        lengths: int64 [E], T of each episode.
        recipe: how the data were made, as far as the source says (plain data).
        splits: sorted int64 indices of the episodes of every split that the source declares, such as ``train``.
    """

    format: ClassVar[str]
    path: Path
    contract: Contract
    names: list[str]
    lengths: np.ndarray
    recipe: dict[str, Any]
    splits: Mapping[str, np.ndarray] = MappingProxyType({})

    @classmethod
    @abstractmethod
    def recognises(cls, path: Path) -> bool:
        """Whether ``path`` looks like this format: cheap, and never an error."""

    @abstractmethod
    def __init__(self, path: Path, options: SourceOptions, report: Progress) -> None:
        """Open it and read its index; pictures are left for `read`.

        Args:
            report: called while all episodes are looked at, where a format needs that.

        Raises:
            DataError: missing, damaged, or not what the format is; names the file and the key.
        """

    @abstractmethod
    def read(self, index: int, start: int = 0, stop: int | None = None) -> Episode:
        """Frames ``start`` to ``stop``, both included, and the actions between them.

        Args:
            index: of the episode, 0 <= index < len(self).
            start, stop: 0 <= start < stop <= T; None is T: the whole episode.

        Raises:
            DataError: cannot be decoded; names the file, the episode and the key.
        """

    def read_window(self, index: int, start: int, stop: int, step: int, pictures: np.ndarray) -> Episode:
        """`read` with only every ``step``-th picture, which is put into ``pictures`` uint8 [n, H, W, 3].

        Only what training takes: the episode's kind, seed and rewards may be left out. A format that can find a single
        picture should override this.
        """
        episode = self.read(index, start, stop)
        pictures[:] = episode.frames[::step]
        return dataclasses.replace(episode, frames=pictures)

    @abstractmethod
    def close(self) -> None:
        """Close what is open; twice does no harm."""

    def where(self, index: int) -> str:
        """The episode's name for messages, with the file."""
        return f"{self.path}:{self.names[index]}"

    def __len__(self) -> int:
        return len(self.names)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
