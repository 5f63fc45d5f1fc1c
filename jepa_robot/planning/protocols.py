"""The seams of planning: what a planner needs of a world model and of an energy."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from jepa_robot.spec import Contract


@runtime_checkable
class WorldModel(Protocol):
    """Predicts, in a latent space, what the camera will see after actions.

    Everything is in physical units and the contract's dimensions; normalisation and autocast are the
    model's own business. Tensors live on the device that the model was loaded to.
    """

    @property
    def contract(self) -> Contract:
        """The frames, actions and states that the model was trained on."""
        ...

    @property
    def device(self) -> torch.device:
        """Where the model lives."""
        ...

    def encode(self, frames: Tensor) -> Tensor:
        """uint8 frames [B, T, height, width, 3] -> latents [B, T, N, D]."""
        ...

    def context(self, latents: Tensor, states: Tensor, actions: Tensor) -> Any:
        """What is known before planning: latents [1, T, N, D], states [1, T, P], actions [1, T - 1, A].

        Whatever all candidates share (keys and values of the past) is computed here, once.
        """
        ...

    def rollout(self, context: Any, actions: Tensor) -> Tensor:
        """Candidate actions [S, H, A] -> predicted latents [S, H, N, D], one after each action."""
        ...

    def novelty(self, latents: Tensor) -> Tensor:
        """Latents [..., N, D] -> [...]: how unlike the training data a frame is; about 1 for such as those.

        A model that cannot tell answers ones.
        """
        ...

    def metric(self, latents: Tensor) -> Tensor:
        """Latents [..., N, D] -> [..., M], the space in which energies are measured."""
        ...


class Energy(Protocol):
    """How far candidates end from the goal: lower is better."""

    def __call__(self, predicted: Tensor, goal: Tensor, actions: Tensor) -> Tensor:
        """Predicted frames [S, H, M] and goal [M] in metric space, actions [S, H, A] -> energies [S]."""
        ...
