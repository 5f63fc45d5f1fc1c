"""The seams of planning: what a planner needs of a world model, of an energy and of a constraint.

E robots or starts are planned for as one batch, each with S candidate plans of H actions; most often E is 1.
"""

from __future__ import annotations

from dataclasses import dataclass
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
        """What is known before planning: latents [E, T, N, D], states [E, T, P], actions [E, T - 1, A].

        Whatever all candidates share (keys and values of the past) is computed here, once.
        """
        ...

    def rollout(self, context: Any, actions: Tensor) -> Tensor:
        """Candidate actions [E, S, H, A] -> predicted latents [E, S, H, N, D], one after each action."""
        ...

    def candidates_at_once(self, horizon: int) -> int:
        """How many candidates, of all robots together, are predicted fastest as one batch; 0: all."""
        ...

    def advance(self, states: Tensor, actions: Tensor) -> Tensor:
        """States after an action: [..., P], [..., A] -> [..., P], physical units."""
        ...

    def novelty(self, latents: Tensor) -> Tensor:
        """Latents [..., N, D] -> [...]: how unlike the training data a frame is; about 1 for such as those.

        A model that cannot tell answers ones.
        """
        ...

    def metric(self, latents: Tensor) -> Tensor:
        """Latents [..., N, D] -> [..., M], the space in which energies are measured."""
        ...


@dataclass(frozen=True)
class Prediction:
    """What the model expects of candidates.

    Attributes:
        features: [E, S, H, M], the frames after each action, in the space in which energies are measured.
        latents: [E, S, H, N, D], the same frames.
        states: [E, S, H, P], proprioception after each action, physical units.
        actions: [E, S, H, A], physical units.
        previous: [E, A], the actions executed last; zeros where there is none.
    """

    features: Tensor
    latents: Tensor
    states: Tensor
    actions: Tensor
    previous: Tensor


@dataclass(frozen=True)
class Target:
    """Where to go.

    Attributes:
        features: [E, G, M], G pictures in the space in which energies are measured; any of them is as good.
        state: [E, P], proprioception, physical units, NaN for what may be anything; None where it was not given.
    """

    features: Tensor
    state: Tensor | None = None


class Energy(Protocol):
    """How far candidates end from the goal: lower is better."""

    def __call__(self, prediction: Prediction, target: Target) -> Tensor:
        """Energies [E, S]."""
        ...


class Constraint(Protocol):
    """What candidates must keep to.

    Attributes:
        name: for messages and diagnostics.
    """

    name: str

    def __call__(self, prediction: Prediction) -> Tensor:
        """By how much each violates it, [E, S]: 0 or less for those that keep to it."""
        ...
