"""Recorded trajectories as one long row of frames, and windows of it for training.

F counts all frames of a data set, E its episodes. An episode of T actions has T + 1 frames, which lie one
after the other; frame numbers (rows) run through all episodes of all sources.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from jepa_robot.data.objects import Objects
from jepa_robot.data.pose import composed
from jepa_robot.errors import DataError
from jepa_robot.spec import Contract


@dataclass(frozen=True)
class Windows:
    """A batch of windows of T frames of one episode each.

    Attributes:
        frames: uint8 [B, T, H, W, 3] RGB.
        states: float32 [B, T, P], physical units.
        actions: float32 [B, T - 1, A], physical units; action t leads from frame t to t + 1.
        index: int64 [B, T], rows of the frames, e.g. to look up cached latents.
    """

    frames: torch.Tensor
    states: torch.Tensor
    actions: torch.Tensor
    index: torch.Tensor


class Trajectories(ABC):
    """Episodes of one or several sources with the same contract.

    Attributes:
        contract: what they are, as recorded (no normalisation).
        starts: int64 [E], row of each episode's first frame.
        lengths: int64 [E], frames of each episode.
        parts: int64 [E], the number of the source of each episode.
        recipe: how the data were made, as far as the sources say.
        roles: int8 [E], what the sources declare each episode to be for (`splits.Role`).
    """

    contract: Contract
    starts: np.ndarray
    lengths: np.ndarray
    parts: np.ndarray
    recipe: dict[str, Any]
    roles: np.ndarray

    @abstractmethod
    def gather(self, starts: np.ndarray, frames: int, skip: int = 1) -> Windows:
        """The windows of ``frames`` frames, every ``skip``-th from rows ``starts`` int64 [B].

        Raises:
            DataError: one cannot be read, or holds values outside the contract.
        """

    @abstractmethod
    def frames_at(self, rows: np.ndarray) -> np.ndarray:
        """Pictures uint8 [n, H, W, 3] at int64 [n]; fastest for neighbouring rows."""

    @abstractmethod
    def states_at(self, rows: np.ndarray) -> np.ndarray:
        """States float32 [n, P] at int64 [n]."""

    @abstractmethod
    def objects_at(self, rows: np.ndarray) -> Objects | None:
        """Where the objects are at int64 [n]; None where nobody recorded it, or not of the same coordinates."""

    @abstractmethod
    def actions_of(self, episode: int) -> np.ndarray:
        """All actions float32 [T, A] of an episode."""

    def __len__(self) -> int:
        return len(self.starts)

    def rows_of(self, episode: int) -> np.ndarray:
        """int64 [T + 1]: an episode's rows."""
        return self.starts[episode] + np.arange(self.lengths[episode])


class WindowIndex:
    """Every window of ``frames`` frames, ``skip`` apart, inside one of ``episodes``: numbered, not listed.

    Needs memory for the episodes only, not for the windows.
    """

    def __init__(self, trajectories: Trajectories, episodes: np.ndarray, frames: int, skip: int = 1):
        span = (frames - 1) * skip + 1
        self._first = trajectories.starts[episodes]
        counts = np.maximum(trajectories.lengths[episodes] - span + 1, 0)
        self._ends = np.cumsum(counts)

    @classmethod
    def at_least_one(
        cls, trajectories: Trajectories, episodes: np.ndarray, frames: int, skip: int, what: str
    ) -> WindowIndex:
        """The windows of ``episodes``, which are called ``what``.

        Raises:
            DataError: all episodes are too short.
        """
        index = cls(trajectories, episodes, frames, skip)
        if not len(index):
            longest = int(trajectories.lengths[episodes].max()) if len(episodes) else 0
            raise DataError(
                f"no {what} has {(frames - 1) * skip + 1} frames (the longest of {len(episodes)} has {longest})",
                mend="use shorter windows, or record longer episodes",
            )
        return index

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def starts(self, windows: np.ndarray) -> np.ndarray:
        """First rows int64 [n] of windows number int64 [n]."""
        episode = np.searchsorted(self._ends, windows, side="right")
        before = np.where(episode > 0, self._ends[episode - 1], 0)
        return self._first[episode] + windows - before


def repeated_contract(contract: Contract, skip: int) -> Contract:
    """The contract of actions that stand for ``skip`` recorded steps each, see `repeated_actions`."""
    if skip == 1:
        return contract
    actions = tuple(
        dataclasses.replace(dim, low=dim.low * skip, high=dim.high * skip) if dim.integrates or dim.composes else dim
        for dim in contract.actions
    )
    return dataclasses.replace(contract, actions=actions, action_repeat=contract.action_repeat * skip)


def repeated_actions(actions: np.ndarray, skip: int, contract: Contract) -> np.ndarray:
    """Actions [..., n * skip, A] -> [..., n, A]: what ``skip`` actions in a row amount to.

    Displacements (dimensions that integrate into a state) add up, and rotations follow each other; of every other
    dimension the mean is the constant action nearest to them.
    """
    if skip == 1:
        return actions
    grouped = actions.reshape(*actions.shape[:-2], -1, skip, actions.shape[-1])
    adds = np.array([dim.integrates is not None for dim in contract.actions])
    amount = np.where(adds, grouped.sum(-2), grouped.mean(-2)).astype(np.float32)
    if (rotation := contract.rotation()) is not None:
        amount[..., rotation[0]] = composed(grouped[..., rotation[0]])
    return amount
