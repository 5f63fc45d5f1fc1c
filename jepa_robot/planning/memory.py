"""The last few frames, states and executed actions."""

from __future__ import annotations

import torch
from torch import Tensor

from jepa_robot.errors import ConfigError


class Memory:
    """Keeps up to ``frames`` observations and the actions between them.

    An observation that follows no action replaces the newest one, so that planning twice from the
    same moment does not invent a step.
    """

    def __init__(self, frames: int):
        if frames < 1:
            raise ConfigError(f"context_frames is {frames}", where="planner", expected="at least 1")
        self.frames = frames
        self.clear()

    def clear(self) -> None:
        self._latents: list[Tensor] = []  # each [N, D]
        self._states: list[Tensor] = []  # each [P]
        self._actions: list[Tensor] = []  # each [A]

    def observe(self, latents: Tensor, state: Tensor) -> None:
        """Take latents [N, D] and state [P] of the newest frame."""
        if len(self._latents) > len(self._actions):
            self._latents.pop()
            self._states.pop()
        self._latents.append(latents)
        self._states.append(state)
        if len(self._latents) > self.frames:
            del self._latents[0], self._states[0], self._actions[0]

    def act(self, action: Tensor) -> None:
        """Take the action [A] executed after the newest frame; a second one replaces the first."""
        del self._actions[max(len(self._latents) - 1, 0) :]
        if self._latents:
            self._actions.append(action)

    def tensors(self, action_dims: int) -> tuple[Tensor, Tensor, Tensor]:
        """Latents [1, T, N, D], states [1, T, P] and actions [1, T - 1, A] up to the newest frame."""
        states = torch.stack(self._states)
        past = self._actions[: len(self._latents) - 1]
        actions = torch.stack(past) if past else states.new_zeros(0, action_dims)
        return torch.stack(self._latents)[None], states[None], actions[None]
