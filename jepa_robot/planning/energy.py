"""Energies: small callables that add up.

Each takes predicted frames [S, H, M], the goal [M] (both in the model's metric space) and the
candidates' actions [S, H, A], and returns energies [S].
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from jepa_robot.errors import ConfigError
from jepa_robot.planning.protocols import Energy

Distance = Literal["l2", "l1", "cosine"]

_DISTANCES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "l2": lambda predicted, goal: (predicted - goal).square().mean(-1),
    "l1": lambda predicted, goal: (predicted - goal).abs().mean(-1),
    "cosine": lambda predicted, goal: 1 - F.cosine_similarity(predicted, goal, dim=-1),
}


class LatentDistance:
    """Distance of the predicted frames to the goal picture's.

    ``l2`` is the mean squared difference, ``l1`` the mean absolute one, ``cosine`` one minus the
    cosine of the angle. ``steps`` says which predictions count: the ``last`` one, or ``all`` of
    them equally. With ``all`` a plan that arrives early beats one that only arrives at the end.
    """

    def __init__(self, distance: Distance = "l2", steps: Literal["last", "all"] = "last"):
        if distance not in _DISTANCES:
            raise ConfigError(f"energy is {distance!r}", expected=f"one of {', '.join(_DISTANCES)}")
        if steps not in ("last", "all"):
            raise ConfigError(f"energy steps are {steps!r}", expected="last or all")
        self.distance = _DISTANCES[distance]
        self.steps = steps

    def __call__(self, predicted: Tensor, goal: Tensor, actions: Tensor) -> Tensor:
        """[S, H, M], [M], [S, H, A] -> [S]."""
        counted = predicted[:, -1:] if self.steps == "last" else predicted
        return self.distance(counted.float(), goal.float()).mean(-1)


class ActionCost:
    """Mean squared action, each dimension divided by its largest magnitude ``scale`` [A]."""

    def __init__(self, scale: Tensor):
        self.scale = scale

    def __call__(self, predicted: Tensor, goal: Tensor, actions: Tensor) -> Tensor:
        """[S, H, M], [M], [S, H, A] -> [S]."""
        return (actions / self.scale).square().mean((-2, -1))


class WeightedSum:
    """Energies added up: ``sum_i weight_i * energy_i``."""

    def __init__(self, terms: Sequence[tuple[float, Energy]]):
        if not terms:
            raise ConfigError("an energy has no terms", expected="at least one")
        self.terms = tuple(terms)

    def __call__(self, predicted: Tensor, goal: Tensor, actions: Tensor) -> Tensor:
        """[S, H, M], [M], [S, H, A] -> [S]."""
        return torch.stack([weight * energy(predicted, goal, actions) for weight, energy in self.terms]).sum(0)
