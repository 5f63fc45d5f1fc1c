"""A data set that fits into memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from jepa_robot.data.objects import Objects, joined
from jepa_robot.data.source import Progress, Source, silent
from jepa_robot.data.splits import joint_roles
from jepa_robot.data.windows import Trajectories, Windows, repeated_actions
from jepa_robot.spec import Contract


@dataclass(frozen=True)
class TrajectoryArrays(Trajectories):
    """All episodes, one after the other; see `Trajectories`.

    Attributes:
        frames: uint8 [F, H, W, 3] RGB.
        states: float32 [F, P], physical units.
        actions: float32 [F, A], physical units; row f leads from frame f to frame f + 1. The row at an
            episode's last frame is zero and never used.
        kinds: how each episode's actions were chosen.
        objects: of all F frames; None unless every episode has the same coordinates.
    """

    contract: Contract
    frames: np.ndarray
    states: np.ndarray
    actions: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray
    parts: np.ndarray
    kinds: tuple[str, ...]
    recipe: dict[str, Any]
    roles: np.ndarray
    objects: Objects | None = None

    @classmethod
    def read(cls, sources: Sequence[Source], report: Progress = silent) -> TrajectoryArrays:
        """Read all episodes of sources with equal contracts.

        Args:
            report: called with (episodes read, all of them) after each.

        Raises:
            DataError: an episode cannot be read, or is not what the contract says.
        """
        contract = sources[0].contract
        camera = contract.camera
        lengths = np.concatenate([source.lengths for source in sources]) + 1
        starts = np.cumsum(lengths) - lengths
        total = int(lengths.sum())
        frames = np.empty((total, camera.height, camera.width, 3), np.uint8)
        states = np.empty((total, len(contract.states)), np.float32)
        actions = np.zeros((total, len(contract.actions)), np.float32)
        kinds, objects = [], []
        episodes = ((source, i) for source in sources for i in range(len(source)))
        for (source, i), start, length in zip(episodes, starts, lengths):
            episode = source.read(i)
            episode.check(contract, source.where(i))
            frames[start : start + length] = episode.frames
            states[start : start + length] = episode.states
            actions[start : start + length - 1] = episode.actions
            kinds.append(episode.kind)
            objects.append(episode.objects)
            report(len(kinds), len(starts))
        parts = np.repeat(np.arange(len(sources)), [len(source) for source in sources])
        recipe, roles = joint_recipe(sources), joint_roles(sources)
        return cls(
            contract, frames, states, actions, starts, lengths, parts, tuple(kinds), recipe, roles, joined(objects)
        )

    def gather(self, starts: np.ndarray, frames: int, skip: int = 1) -> Windows:
        index = np.asarray(starts)[:, None] + skip * np.arange(frames)
        steps = np.asarray(starts)[:, None] + np.arange(skip * (frames - 1))
        return Windows(
            frames=torch.from_numpy(self.frames[index]),
            states=torch.from_numpy(self.states[index]),
            actions=torch.from_numpy(repeated_actions(self.actions[steps], skip, self.contract)),
            index=torch.from_numpy(index),
        )

    def frames_at(self, rows: np.ndarray) -> np.ndarray:
        return self.frames[rows]

    def states_at(self, rows: np.ndarray) -> np.ndarray:
        return self.states[rows]

    def objects_at(self, rows: np.ndarray) -> Objects | None:
        return None if self.objects is None else self.objects[rows]

    def actions_of(self, episode: int) -> np.ndarray:
        start = self.starts[episode]
        return self.actions[start : start + self.lengths[episode] - 1]


def joint_recipe(sources: Sequence[Source]) -> dict[str, Any]:
    """The recipe of one source as it is; of several, all of them as ``sources``."""
    if len(sources) == 1:
        return sources[0].recipe
    return {"sources": [source.recipe for source in sources]}
